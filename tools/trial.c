#include "trial.h"

#include "tools/progress.h"
#include "tools/span_goal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_within(double times, double error, double error_max, const llava_judged *judged)
{
    return error <= times * judged->noise && error_max <= 2 * times * judged->noise_max;
}

enum { ALLOWED = 4 }; /* times the noise */

bool llava_explained(double error, double error_max, const llava_judged *judged)
{
    return is_within(ALLOWED, error, error_max, judged);
}

bool llava_cause_acts(const llava_span *span, const llava_cause *cause)
{
    bool acts = false;
    for (size_t i = 0; i < cause->count; i++) {
        acts |= llava_span_acts(span, cause->id[i]);
    }
    return acts;
}

/* ---- one trial
 * --------------------------------------------------------------------------------------- */

typedef struct {
    const char *target;
    llava_trial *trial;
    llava_cause *cause;
} aim;

bool llava_compare_port(const llava_counting *counting, llava_port *port,
                        const llava_port_tensor *tensor, const llava_some_rows *only,
                        const double *mine, bool inherit, llava_comparison *result, llava_error *e)
{
    enum { PIECE = 4096 };
    double own[PIECE], theirs[PIECE];
    llava_comparer *c;
    bool ok = llava_comparer_open(&c, counting, tensor->name, tensor->rank, tensor->shape, e);
    if (!ok) {
        return false;
    }
    llava_comparer_only(c, tensor);
    llava_comparer_positions(c, only);
    for (size_t first = 0, n; ok && first < tensor->count; first += n) {
        n = tensor->count - first < PIECE ? tensor->count - first : PIECE;
        memcpy(own, mine + first, n * sizeof *own);
        ok = llava_port_read(port, tensor, first, n, theirs, e);
        for (size_t i = 0; ok && inherit && i < n; i++) {
            if (theirs[i] != theirs[i] && own[i] != own[i]) {
                theirs[i] = own[i] = 0;
            }
        }
        if (ok) {
            llava_comparer_add(c, own, theirs, n);
        }
    }
    *result = llava_comparer_close(c);
    return ok;
}

/* What is left of the port's tensor against this one; infinity for another shape, NaN, infinity. */
static bool remaining(const llava_trial *trial, const llava_tap *tap,
                      const llava_port_tensor *tensor, double *error, double *error_max,
                      llava_error *e)
{
    llava_comparison c;
    *error = *error_max = (double)INFINITY;
    if (!llava_replay_same_shape(tap, tensor)) {
        return true;
    }
    bool ok = llava_compare_port(trial->counting, trial->spec.port, tensor, trial->only, tap->data,
                                 true, &c, e);
    if (ok && c.mismatched == 0) {
        *error = c.rel_l2;
        *error_max = c.rel_max;
    }
    return ok;
}

/* Looks at the target alone, and stops there. */
static bool look(void *self, const llava_tap *tap, const llava_port_tensor *tensor, llava_error *e)
{
    aim *a = self;
    if (strcmp(tap->name, a->target) != 0) {
        return true;
    }
    return remaining(a->trial, tap, tensor, &a->cause->error, &a->cause->error_max, e) &&
           llava_fail(e, "reached");
}

/* Choices of a cause on top of the base. */
static llava_choices choices_of(const llava_trial *trial, const llava_cause *cause)
{
    llava_choices c = *trial->base;
    for (size_t i = 0; i < cause->count; i++) {
        c.value[cause->id[i]] = cause->value[i];
    }
    return c;
}

/* Integer and picture stages are tried on what goes in, not by replaying. */
static bool try_input(llava_trial *trial, const llava_span *span, const llava_plan *plan,
                      const llava_choices *choices, llava_cause *cause, bool *done, llava_error *e)
{
    llava_session *s = trial->spec.session;
    const llava_inputs *in = trial->spec.inputs;
    *done = true;
    if (strcmp(span->tap, "position_ids") == 0) {
        const int64_t *theirs = in->position_ids; /* NULL: of another shape, as none makes them */
        size_t count = theirs == NULL ? 0 : in->batch * in->length, unequal = theirs == NULL;
        llava_inputs free_positions = *in;
        bool same = s->inputs.batch == in->batch && s->inputs.length == in->length;
        free_positions.position_ids = same ? s->inputs.position_ids : NULL;
        int64_t *mine = llava_alloc(e, in->batch * in->length, sizeof(int64_t));
        if (mine == NULL) {
            return false;
        }
        llava_positions(plan, &free_positions, s->convention, mine);
        for (size_t i = 0; i < count; i++) {
            bool counts = in->attention_mask == NULL || in->attention_mask[i] != 0;
            unequal += counts && mine[i] != theirs[i];
        }
        free(mine);
        cause->error = cause->error_max = unequal > 0;
        return true;
    }
    if (strcmp(span->tap, "pixel_values") == 0 || strcmp(span->tap, "input_ids") == 0 ||
        strncmp(span->tap, "image.", 6) == 0) {
        return llava_trial_inputs(trial, choices, span->tap, cause, e);
    }
    *done = false;
    return true;
}

bool llava_trial_cause(llava_trial *trial, const llava_span *span, llava_cause *cause,
                       llava_error *e)
{
    llava_choices choices = choices_of(trial, cause);
    llava_plan plan;
    llava_goal goal;
    llava_error refused;
    bool done;
    char tried[256];
    cause->error = cause->error_max = (double)INFINITY;
    llava_cause_text(cause, tried, sizeof tried);
    llava_progress_show(trial->done > 0 ? trial->done : -1, "trying", tried);
    if (!llava_plan_make(&plan, &trial->spec.session->config, &choices, LLAVA_F64, false,
                         &refused)) {
        return true; /* this decision has nothing to act on in this model */
    }
    if (!try_input(trial, span, &plan, &choices, cause, &done, e)) {
        return false;
    }
    if (done) {
        return true;
    }
    llava_altered altered;
    bool made, ok = llava_altered_make(&altered, trial, &choices, cause, &made, e);
    if (ok && made) {
        aim a = {.target = span->tap, .trial = trial, .cause = cause};
        llava_replay_spec spec = trial->spec;
        spec.plan = &plan;
        spec.inputs = &altered.inputs;
        spec.doing = NULL;
        llava_error stopped = {""};
        llava_span_goal(&spec, span, &goal);
        goal.only = trial->only;
        llava_replay_run(&spec, &goal, look, &a, &stopped);
        /* a trial that cannot run to the target (another shape, a missing weight) explains nothing
         */
        if (llava_out_of_memory(&stopped)) {
            *e = stopped;
            ok = false;
        }
    }
    llava_altered_free(&altered);
    return ok;
}

/* ---- noise with a rounding
 * ---------------------------------------------------------------------------- */

/* A copy of the target as the reference has it. */
typedef struct {
    const char *target;
    llava_tap tap;
    double *data;
} capture;

static bool capture_target(void *self, const llava_tap *tap, const llava_port_tensor *tensor,
                           llava_error *e)
{
    capture *c = self;
    size_t count = llava_tap_count(tap);
    (void)tensor;
    if (strcmp(tap->name, c->target) != 0) {
        return true;
    }
    c->tap = *tap;
    c->data = llava_alloc(e, count, sizeof(double));
    if (c->data == NULL) {
        return false;
    }
    memcpy(c->data, tap->data, count * sizeof(double));
    return llava_fail(e, "reached");
}

bool llava_honest_plan(const llava_config *config, const llava_choices *choices, llava_dtype type,
                       bool islands, llava_plan *plan, llava_error *e)
{
    bool narrow = type != LLAVA_F64;
    bool ok = llava_plan_make(plan, config, choices, type, narrow || islands, e);
    plan->numerics.sums_f32 = narrow;
    return ok;
}

/* The span's tap with these choices, in float64 or as an honest port has it; no data where that
 * cannot be computed. False: no memory. */
static bool capture_span(const llava_trial *trial, const llava_span *span,
                         const llava_choices *choices, llava_dtype type, bool islands,
                         capture *taken, llava_error *e)
{
    llava_plan plan;
    llava_goal goal;
    llava_replay_spec spec = trial->spec;
    llava_error stopped = {""};
    *taken = (capture){.target = span->tap};
    if (!llava_honest_plan(&trial->spec.session->config, choices, type, islands, &plan, &stopped)) {
        return true; /* nothing of this model for these choices to act on */
    }
    spec.plan = &plan;
    spec.doing = NULL;
    llava_span_goal(&spec, span, &goal);
    llava_replay_run(&spec, &goal, capture_target, taken, &stopped);
    if (llava_out_of_memory(&stopped)) {
        *e = stopped;
        return false;
    }
    return true;
}

/* *both: they are there, and c says how far the one is from the other. They differ in numerics
 * alone, so they have one shape. False: no memory. */
static bool compare_captured(const llava_trial *trial, const capture *a, const capture *b,
                             llava_comparison *c, bool *both, llava_error *e)
{
    *both = a->data != NULL && b->data != NULL;
    return !*both || llava_compare(trial->counting, a->target, a->tap.rank, a->tap.shape, a->data,
                                   b->data, c, e);
}

/* Roundings of weights, done once; and of what is computed, done anew in every row. */
static bool is_of_weights(size_t id)
{
    return id == LLAVA_NUMERICS_WEIGHTS || id == LLAVA_NUMERICS_WEIGHTS_KEPT;
}

/* These choices without their roundings of one kind; says whether any of them acts in the span. */
static bool without_roundings(const llava_span *span, bool of_weights, llava_choices *choices)
{
    bool any = false;
    for (size_t i = LLAVA_NUMERICS_WEIGHTS; i < LLAVA_NUMERICS_ISLANDS; i++) {
        if (is_of_weights(i) == of_weights) {
            any |= choices->value[i] != 0 && llava_span_acts(span, (llava_decision_id)i);
            choices->value[i] = 0;
        }
    }
    return any;
}

/* The part of what roundings make of a tap that may be left of it, for a value near the middle of
 * two goes either way as the last bits before it fall. It is off by a whole unit then, where all
 * are off by a half at most, u, and u / sqrt(3) rms. One in 1024 does so: sqrt(12 / 1024) in L2 for
 * weights, of which everybody rounds the same bits. Of what is computed, twice that; and as one
 * large value may hold most of a row's error, three rows off by twice as much, but no more than a
 * half of all. */
static double turned_part(const llava_tap *tap, bool of_weights)
{
    double few = sqrt(12.0 / 1024);
    size_t width = tap->rank == 0 ? 1 : tap->shape[tap->rank - 1];
    double rows = (double)llava_tap_count(tap) / (double)width;
    return of_weights ? few : fmin(fmax(2 * few, 2 * sqrt(3 / rows)), 0.5);
}

/* Raises the noise so that so many times it is what the roundings of these choices may leave of the
 * span, `with` being the span with them. */
static bool add_ties(const llava_trial *trial, const llava_span *span, const llava_choices *choices,
                     const capture *with, double times, llava_judged *judged, llava_error *e)
{
    bool ok = true;
    for (int kind = 0; ok && kind < 2; kind++) {
        llava_choices plain = *choices;
        llava_comparison c;
        capture without = {.data = NULL};
        bool both = false;
        if (!without_roundings(span, kind == 1, &plain)) {
            continue;
        }
        ok = capture_span(trial, span, &plain, LLAVA_F64, false, &without, e) &&
             compare_captured(trial, with, &without, &c, &both, e);
        if (ok && both) {
            double left = turned_part(&with->tap, kind == 1) * c.rel_l2;
            judged->noise = fmax(judged->noise, left / times);
            judged->noise_max = fmax(judged->noise_max, c.rel_max / times);
        }
        free(without.data);
    }
    return ok;
}

bool llava_trial_allow_ties(const llava_trial *trial, const llava_span *span, llava_judged *judged,
                            llava_error *e)
{
    llava_choices plain = *trial->base;
    capture with = {.data = NULL};
    bool any = without_roundings(span, true, &plain), more = without_roundings(span, false, &plain);
    bool ok =
        (!any && !more) || (capture_span(trial, span, trial->base, LLAVA_F64, false, &with, e) &&
                            add_ties(trial, span, trial->base, &with, 4, judged, e));
    free(with.data);
    return ok;
}

/* How far honest rounding is off in the span with these choices; exact: the span in float64. */
static bool measure_rounding(const llava_trial *trial, const llava_span *span,
                             const llava_choices *choices, llava_dtype type, bool islands,
                             capture *exact, llava_comparison *c, bool *measured, llava_error *e)
{
    capture typed = {.data = NULL};
    bool ok = capture_span(trial, span, choices, LLAVA_F64, false, exact, e) &&
              capture_span(trial, span, choices, type, islands, &typed, e) &&
              compare_captured(trial, exact, &typed, c, measured, e);
    free(typed.data);
    return ok;
}

/* What honest rounding leaves of a span depends on what is computed there. A rounding turns the
 * port's tiny errors before it into whole units, larger rotary angles have larger errors, a softmax
 * of other scores passes more of them on. So the noise is measured anew, with the cause, for one
 * that explains most of the error but not all. */
static bool explained_anew(const llava_trial *trial, const llava_judged *judged,
                           const llava_span *span, const llava_cause *cause, double times,
                           bool *does, llava_error *e)
{
    llava_choices choices = choices_of(trial, cause);
    capture exact = {.data = NULL};
    llava_judged anew = *judged;
    llava_comparison c;
    bool measured = false;
    bool ok = llava_part_of_tap(span->tap) < 0 ||
              measure_rounding(trial, span, &choices, trial->type, false, &exact, &c, &measured, e);
    *does = ok && measured;
    if (*does) {
        anew.noise = fmax(anew.noise, c.rel_l2);
        anew.noise_max = fmax(anew.noise_max, c.rel_max);
        ok = add_ties(trial, span, &choices, &exact, times, &anew, e);
        *does = is_within(times, cause->error, cause->error_max, &anew);
    }
    free(exact.data);
    return ok;
}

/* How many times its root mean square r the error of honest rounding may be: in one of ONE_DUMP_IN
 * dumps of so many taps it is more in any of them. Made of `freedom` roundings of equal weight,
 * |error|^2 is r^2 chi^2 / freedom, and chi^2 of f degrees of freedom is above f + 2 sqrt(f t) + 2
 * t with a chance of exp(-t) at most (Laurent and Massart 2000, lemma 1). Of 600 taps, the four
 * times that are allowed anyway hold from f = 3.9 on. */
static double most_of_rms(double freedom, size_t taps)
{
    const double ONE_DUMP_IN = 1e6;
    double t = log((double)taps * ONE_DUMP_IN) / freedom;
    return sqrt(1 + 2 * sqrt(t) + 2 * t);
}

enum { DRAWS = 16 };

/* The error of honest rounding in each of them: its square in L2, and in max. */
typedef struct {
    double square[DRAWS], square_max[DRAWS];
    bool complete; /* false: the span cannot be computed in all of them */
} draws;

static bool draw_with(llava_trial *shaken, const llava_span *span, bool islands, draws *made,
                      llava_error *e)
{
    for (unsigned i = 0; i < DRAWS; i++) {
        capture exact = {.data = NULL};
        llava_comparison c = {.mismatched = 1}; /* until it is measured */
        bool measured;
        shaken->spec.shaken = i + 1;
        bool ok = measure_rounding(shaken, span, shaken->base, shaken->type, islands, &exact, &c,
                                   &measured, e);
        free(exact.data);
        made->complete = c.mismatched == 0;
        if (!ok || !made->complete) {
            return ok;
        }
        made->square[i] = c.rel_l2 * c.rel_l2;
        made->square_max[i] = c.rel_max * c.rel_max;
    }
    return true;
}

static bool pass_by(void *self, const llava_tap *tap, const llava_port_tensor *tensor,
                    llava_error *e)
{
    (void)self;
    (void)tap;
    (void)tensor;
    (void)e;
    return true;
}

/* Tokens that the port does not supply are those that its tensors lead to as they are: shaken, a
 * near tie would go the other way. */
static bool draw(const llava_trial *trial, const llava_span *span, llava_dtype type, bool islands,
                 draws *made, llava_error *e)
{
    llava_trial shaken = *trial;
    llava_inputs in = *trial->spec.inputs;
    llava_answer tokens = {.ids = NULL};
    llava_replay_spec *spec = &shaken.spec;
    bool ok = true;
    if (spec->generates && in.answer == NULL) {
        llava_plan plan;
        llava_replay_spec plain = trial->spec;
        plain.plan = &plan;
        plain.doing = NULL;
        plain.answer = &tokens;
        ok = llava_honest_plan(&spec->session->config, trial->base, LLAVA_F64, false, &plan, e) &&
             llava_replay_run(&plain, NULL, pass_by, NULL, e);
        in.answer = tokens.ids;
        in.answer_length = tokens.count;
    }
    shaken.type = spec->shaken_type = type;
    spec->inputs = &in;
    ok = ok && draw_with(&shaken, span, islands, made, e);
    llava_answer_free(&tokens);
    return ok;
}

static double mean_of(const double values[DRAWS])
{
    double sum = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        sum += values[i];
    }
    return sum / DRAWS;
}

bool llava_trial_average_noise(const llava_trial *trial, const llava_span *span, llava_dtype type,
                               bool islands, size_t taps, llava_judged *judged, llava_error *e)
{
    draws d;
    if (!draw(trial, span, type, islands, &d, e)) {
        return false;
    }
    if (!d.complete) {
        return true;
    }
    double mean = mean_of(d.square), variance = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        variance += (d.square[i] - mean) * (d.square[i] - mean) / (DRAWS - 1);
    }
    /* of a mean times chi^2 / freedom: 2 mean^2 / freedom */
    double freedom = variance > 0 ? fmax(1, 2 * mean * mean / variance) : (double)INFINITY;
    double raised = fmax(1, most_of_rms(freedom, taps) / ALLOWED);
    judged->noise = fmax(judged->noise, raised * sqrt(mean));
    judged->noise_max = fmax(judged->noise_max, raised * sqrt(mean_of(d.square_max)));
    return true;
}

/* Is what a cause leaves no more than so many times the honest rounding, of the right model or of
 * the one with the cause? */
static bool leaves_within(const llava_trial *trial, const llava_judged *judged,
                          const llava_span *span, const llava_cause *cause, double times,
                          bool *does, llava_error *e)
{
    llava_choices choices = choices_of(trial, cause);
    llava_judged allowed = *judged;
    llava_allow_float_resize(&allowed, trial->spec.session, &choices);
    *does = is_within(times, cause->error, cause->error_max, &allowed);
    return *does || cause->error > judged->local.rel_l2 / 4 ||
           explained_anew(trial, judged, span, cause, times, does, e);
}

bool llava_trial_explains(llava_trial *trial, const llava_judged *judged, const llava_span *span,
                          const llava_cause *cause, bool *does, llava_error *e)
{
    return leaves_within(trial, judged, span, cause, 4, does, e);
}

/* ---- the search
 * --------------------------------------------------------------------------------------- */

typedef struct {
    llava_cause *list;
    size_t count, room;
} causes;

static bool add_cause(causes *c, const llava_cause *cause, llava_error *e)
{
    if (c->count == c->room) {
        size_t room = c->room == 0 ? 64 : 2 * c->room;
        llava_cause *grown = llava_realloc(e, c->list, room, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        c->list = grown;
        c->room = room;
    }
    c->list[c->count++] = *cause;
    return true;
}

static int by_error(const void *a, const void *b)
{
    const llava_cause *x = a, *y = b;
    if (x->error == y->error) { /* the simpler one first */
        return x->count < y->count ? -1 : x->count > y->count;
    }
    return x->error < y->error ? -1 : 1;
}

/* Some act only where another one has been taken: how a square is padded, or a side rounded, where
 * the folder asks for neither; which matrices stay as stored, where none is rounded. */
static bool is_shaping(llava_decision_id id)
{
    return id == LLAVA_IMAGE_GEOMETRY || id == LLAVA_IMAGE_PAD_COLOR ||
           id == LLAVA_IMAGE_PAD_ALIGN || id == LLAVA_IMAGE_PAD_ORDER ||
           id == LLAVA_IMAGE_SIZE_ROUNDING || id == LLAVA_NUMERICS_WEIGHTS ||
           id == LLAVA_NUMERICS_WEIGHTS_KEPT;
}

static bool shapes(const llava_cause *cause)
{
    bool all = true;
    for (size_t i = 0; i < cause->count; i++) {
        all = all && is_shaping(cause->id[i]);
    }
    return all;
}

/* ---- a few rows
 * --------------------------------------------------------------------------------------- */

/* On a model of real size a cause is first tried at a few positions of the span's last layer, whose
 * keys and values alone are made of all of them: a small part of the whole span's cost. What does
 * not help there is no cause: it would have to halve the error of the whole. */
typedef struct {
    llava_some_rows rows; /* wanted NULL: the span is not one to be tried so */
    bool *wanted;         /* evenly spaced, and the one with the largest error */
    llava_cause nothing;  /* what is left there without any cause */
    double scale;         /* to the error of the whole */
} sample;

enum { SAMPLED = 32 };

/* At how many positions the target has rows that a trial may leave out. */
static size_t positions_of(const llava_trial *trial, const llava_judged *j)
{
    const llava_tap_kind *kinds;
    llava_tap_place place;
    llava_tap_kinds(&kinds);
    llava_tap_find(j->name, &place);
    if (trial->spec.generates || j->other_shape || j->rank < 3) {
        return 0;
    }
    llava_at at = kinds[place.kind].at;
    bool layer = at == LLAVA_AT_VISION_LAYER || at == LLAVA_AT_TEXT_LAYER;
    bool behind = at == LLAVA_AT_NORM || at == LLAVA_AT_LOGITS;
    const llava_inputs *in = trial->spec.inputs;
    const size_t length = in->length;
    size_t rows = at == LLAVA_AT_VISION_LAYER
                      ? llava_tower_shape_of(&trial->spec.session->plan, in).rows
                      : length;
    size_t sequences = j->shape[0];
    bool whole = j->shape[1] == rows || (j->rank == 4 && j->shape[2] == rows);
    return (layer || behind) && whole ? sequences * rows : 0;
}

static void free_sample(llava_trial *trial, sample *s)
{
    free(s->wanted);
    trial->only = NULL;
}

/* Chooses the rows and looks at what is left there; trial->only is them from then on. */
static bool take_sample(llava_trial *trial, const llava_judged *j, const llava_span *span,
                        sample *s, llava_error *e)
{
    size_t count = positions_of(trial, j), stride = count / SAMPLED;
    *s = (sample){.nothing = {.error = j->local.rel_l2, .error_max = j->local.rel_max}, .scale = 1};
    if (llava_trial_is_cheap(trial) || stride < 2 || j->local.mismatched > 0) {
        return true;
    }
    s->wanted = llava_alloc(e, count, sizeof(bool));
    if (s->wanted == NULL) {
        return false;
    }
    for (size_t i = stride / 2; i < count; i += stride) {
        s->wanted[i] = true;
    }
    s->wanted[llava_position_of_row(j->name, j->rank, j->shape, j->local.worst_row)] = true;
    s->rows = (llava_some_rows){s->wanted, count};
    trial->only = &s->rows;
    llava_cause nothing = {.count = 0};
    bool ok = llava_trial_cause(trial, span, &nothing, e);
    if (ok && isfinite(nothing.error) && nothing.error > 0) {
        s->nothing = nothing;
        s->scale = j->local.rel_l2 / nothing.error;
    } else {
        trial->only = NULL;
    }
    return ok;
}

/* Of causes that were tried at a few positions: those that help are tried in the whole span, of the
 * others the error is scaled to it. */
static bool weigh_sampled(llava_trial *trial, const llava_span *span, const sample *s,
                          causes *found, llava_error *e)
{
    const llava_some_rows *only = trial->only;
    bool ok = true;
    trial->only = NULL;
    for (size_t i = 0; only != NULL && ok && i < found->count; i++) {
        llava_cause *c = &found->list[i];
        if (c->error <= 0.75 * s->nothing.error) {
            ok = llava_trial_cause(trial, span, c, e);
        } else {
            c->error *= s->scale;
        }
    }
    trial->only = only;
    return ok;
}

/* ---- the search itself
 * -------------------------------------------------------------------------------- */

/* The best first. */
static bool sort_found(llava_trial *trial, const sample *s, const llava_span *span, causes *found,
                       llava_error *e)
{
    bool ok = weigh_sampled(trial, span, s, found, e);
    if (found->count > 1) {
        qsort(found->list, found->count, sizeof *found->list, by_error);
    }
    return ok;
}

/* Is each decision of the part in the whole, with its value? */
static bool holds(const llava_cause *whole, const llava_cause *part)
{
    size_t there = 0;
    for (size_t i = 0; i < whole->count; i++) {
        for (size_t j = 0; j < part->count; j++) {
            there += whole->id[i] == part->id[j] && whole->value[i] == part->value[j];
        }
    }
    return there == part->count;
}

/* One call of a library decides several things: torch's interpolate without antialias has a cubic
 * of -3/4 and rounds by the tensor's type, OpenCV's resize is linear unless told otherwise. They
 * are one cause: with the wrong geometry and channel order beside them they would be too many.
 * Zero: left. */
static const struct {
    llava_filter filter;
    llava_antialias antialias;
    llava_cubic_a cubic_a;
    llava_resize_rounding rounding;
} calls[] = {
    {0, LLAVA_ANTIALIAS_OFF, 0, LLAVA_RESIZE_TORCHVISION},
    {0, LLAVA_ANTIALIAS_OFF, 0, LLAVA_RESIZE_FLOAT},
    {0, LLAVA_ANTIALIAS_OFF, 0, LLAVA_RESIZE_ONCE},
    {0, LLAVA_ANTIALIAS_OFF, LLAVA_CUBIC_A_THREE_QUARTERS, 0},
    {0, LLAVA_ANTIALIAS_OFF, LLAVA_CUBIC_A_THREE_QUARTERS, LLAVA_RESIZE_TORCHVISION},
    {0, LLAVA_ANTIALIAS_OFF, LLAVA_CUBIC_A_THREE_QUARTERS, LLAVA_RESIZE_FLOAT},
    {0, LLAVA_ANTIALIAS_OFF, LLAVA_CUBIC_A_THREE_QUARTERS, LLAVA_RESIZE_ONCE},
    {LLAVA_FILTER_BILINEAR, LLAVA_ANTIALIAS_OFF, 0, 0},
    {LLAVA_FILTER_BILINEAR, LLAVA_ANTIALIAS_OFF, 0, LLAVA_RESIZE_TORCHVISION},
    {LLAVA_FILTER_BILINEAR, LLAVA_ANTIALIAS_OFF, 0, LLAVA_RESIZE_FLOAT},
    {LLAVA_FILTER_BILINEAR, LLAVA_ANTIALIAS_OFF, 0, LLAVA_RESIZE_ONCE},
    {LLAVA_FILTER_BILINEAR, 0, 0, LLAVA_RESIZE_OPENCV},
    {LLAVA_FILTER_BOX, 0, 0, LLAVA_RESIZE_OPENCV},
    {LLAVA_FILTER_NEAREST, 0, 0, LLAVA_RESIZE_OPENCV},
};

static void take(llava_cause *cause, llava_decision_id id, unsigned value)
{
    if (value != 0) {
        cause->id[cause->count] = id;
        cause->value[cause->count++] = (unsigned char)value;
    }
}

/* Those that leave just what a part of them leaves are left out. */
static bool try_calls(llava_trial *trial, const llava_span *span, causes *found, llava_error *e)
{
    const bool acts = llava_span_acts(span, LLAVA_IMAGE_RESIZE_FILTER);
    bool ok = true;
    for (size_t i = 0; acts && ok && i < sizeof calls / sizeof *calls; i++) {
        llava_cause cause = {.without = (double)INFINITY};
        take(&cause, LLAVA_IMAGE_RESIZE_FILTER, calls[i].filter);
        take(&cause, LLAVA_IMAGE_ANTIALIAS, calls[i].antialias);
        take(&cause, LLAVA_IMAGE_CUBIC_A, calls[i].cubic_a);
        take(&cause, LLAVA_IMAGE_RESIZE_ROUNDING, calls[i].rounding);
        for (size_t k = 0; k < found->count; k++) {
            bool part = holds(&cause, &found->list[k]);
            cause.without = part ? fmin(cause.without, found->list[k].error) : cause.without;
        }
        ok = llava_trial_cause(trial, span, &cause, e);
        if (ok && isfinite(cause.error) && cause.error != cause.without) {
            ok = add_cause(found, &cause, e);
        }
    }
    return ok;
}

/* Every value of every decision that acts in the span. Those that change nothing are left out, or
 * put behind the others with an infinite error where they might beside another one. */
static bool try_singles(llava_trial *trial, const sample *s, const llava_span *span, bool shapeless,
                        causes *found, llava_error *e)
{
    llava_progress_begin();
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        llava_decision_id id = (llava_decision_id)i;
        if (!llava_span_acts(span, id) || trial->base->value[id] != 0) {
            continue;
        }
        trial->done = (double)i / LLAVA_DECISION_COUNT;
        for (unsigned char v = 1; llava_decision_at(id)->values[v] != NULL; v++) {
            llava_cause cause = {.id = {id}, .value = {v}, .count = 1};
            if (!llava_trial_cause(trial, span, &cause, e)) {
                return false;
            }
            bool changes = isfinite(cause.error) && (cause.error != s->nothing.error ||
                                                     cause.error_max != s->nothing.error_max);
            cause.error = changes ? cause.error : (double)INFINITY;
            if ((changes || shapeless || is_shaping(id)) && !add_cause(found, &cause, e)) {
                return false;
            }
        }
    }
    trial->done = 0;
    return try_calls(trial, span, found, e) && sort_found(trial, s, span, found, e);
}

static bool names(const llava_cause *cause, llava_decision_id id)
{
    for (size_t i = 0; i < cause->count; i++) {
        if (cause->id[i] == id) {
            return true;
        }
    }
    return false;
}

/* Both together; false where they name the same decision, or too many. */
static bool join(llava_cause *cause, const llava_cause *more)
{
    bool ok = cause->count + more->count <= LLAVA_MOST_CHOICES;
    for (size_t i = 0; ok && i < more->count; i++) {
        ok = !names(cause, more->id[i]);
        cause->id[cause->count] = more->id[i];
        cause->value[cause->count++] = more->value[i];
    }
    cause->without = fmin(cause->error, more->error);
    return ok;
}

/* The best `wide` seeds, each with each of `singles`; shaping decisions with each other whatever
 * they leave alone. Where the port's shape is another, one that leaves that shape has no error of
 * its own to be told by. */
static bool extend(llava_trial *trial, const sample *s, const llava_span *span, bool shapeless,
                   const causes *seeds, size_t wide, const causes *singles, causes *found,
                   llava_error *e)
{
    for (size_t i = 0; i < seeds->count; i++) {
        for (size_t j = seeds == singles ? i : 0; j < singles->count; j++) { /* (j, i) was tried */
            llava_cause cause = seeds->list[i];
            const llava_cause *more = &singles->list[j];
            bool best = i < wide && isfinite(cause.error) && (isfinite(more->error) || shapeless);
            if ((!best && !(shapes(&cause) && shapes(more))) || !join(&cause, more)) {
                continue;
            }
            if (!llava_trial_cause(trial, span, &cause, e) ||
                (isfinite(cause.error) && !add_cause(found, &cause, e))) {
                return false;
            }
        }
    }
    return sort_found(trial, s, span, found, e);
}

/* Same decisions and values, as many of each, in whatever order? */
static bool same_cause(const llava_cause *a, const llava_cause *b)
{
    return a->count == b->count && holds(a, b);
}

static void keep(llava_cause *list, size_t *count, const llava_cause *cause)
{
    for (size_t i = 0; i < *count; i++) {
        if (same_cause(&list[i], cause)) {
            return;
        }
    }
    if (*count < LLAVA_MOST_CAUSES) {
        list[(*count)++] = *cause;
    }
}

/* How many times the noise a cause may leave. The right one leaves twice it at most, and what
 * leaves more is one near it (another base of the rotary frequencies), or one of two faults; in a
 * step's one row of numbers honest ports come to three times (docs/tolerances.md). */
static double most_left(const char *tap)
{
    return strncmp(tap, "step.", 5) == 0 ? 4 : 2;
}

static llava_cause without(const llava_cause *cause, size_t i)
{
    llava_cause less = *cause;
    less.count--;
    less.without = (double)INFINITY;
    for (size_t k = i; k < less.count; k++) {
        less.id[k] = cause->id[k + 1];
        less.value[k] = cause->value[k + 1];
    }
    return less;
}

/* Takes decisions of the picture stage back without which no more is left: a call of a library has
 * some that do nothing to this picture, as antialias where it grows. */
static bool take_back_idle(llava_trial *trial, const llava_span *span, llava_cause *cause,
                           llava_error *e)
{
    const llava_some_rows *only = trial->only;
    bool ok = true;
    trial->only = NULL;
    for (size_t i = 0; ok && cause->count > 1 && i < cause->count; i++) {
        if (strncmp(llava_decision_at(cause->id[i])->name, "image.", 6) != 0) {
            continue;
        }
        llava_cause less = without(cause, i);
        ok = llava_trial_cause(trial, span, &less, e);
        cause->without = fmin(cause->without, less.error);
        if (ok && less.error <= cause->error) {
            *cause = less;
            i = (size_t)-1; /* from the first again */
        }
    }
    trial->only = only;
    return ok;
}

/* Puts what brings the span down to the noise into the finding, and the best of the others beside
 * it. */
static bool keep_explaining(llava_trial *trial, const causes *found, const llava_judged *judged,
                            llava_finding *f, llava_error *e)
{
    f->rest_count = 0;
    /* Where the best leaves honest rounding, one that leaves more than twice as much explains it
     * less: two honest implementations of one type stay below 1.6 of each other. */
    double most = found->count == 0 ? 0 : 2 * fmax(found->list[0].error, judged->noise);
    for (size_t i = 0; i < found->count; i++) {
        llava_cause c = found->list[i];
        bool explains = false;
        if (c.error <= most &&
            !leaves_within(trial, judged, &f->span, &c, most_left(judged->name), &explains, e)) {
            return false;
        }
        if (explains && !take_back_idle(trial, &f->span, &c, e)) {
            return false;
        }
        /* an error that hardly shrank was near the noise before: that explains nothing; and each of
         * several must do as much to what the others leave */
        double before = c.count == 1 ? judged->local.rel_l2 : c.without;
        if (explains && (c.error <= before / 2 || judged->local.mismatched > 0)) {
            keep(f->causes, &f->cause_count, &c);
        } else if (isfinite(c.error)) {
            keep(f->rest, &f->rest_count, &c);
        }
    }
    f->confidence = f->cause_count == 0   ? LLAVA_UNKNOWN
                    : f->cause_count == 1 ? LLAVA_CERTAIN
                                          : LLAVA_LIKELY;
    return true;
}

bool llava_trial_is_cheap(const llava_trial *trial)
{
    const double small = 0x1p33; /* multiplications: seconds, with every pair */
    const llava_plan *p = &trial->spec.session->plan;
    const llava_inputs *in = trial->spec.inputs;
    double tower = (double)p->vision.hidden * (double)p->vision.hidden * (double)p->vision.layers;
    double text = (double)p->text.hidden * (double)p->text.hidden * (double)p->text.layers;
    return (tower + text) * (double)in->batch * (double)in->length < small &&
           getenv("LLAVA_DIAGNOSE_AS_LARGE") == NULL; /* set by tests */
}

bool llava_trial_search(llava_trial *trial, const llava_judged *judged, llava_finding *f,
                        llava_error *e)
{
    /* How many of the best single causes are tried together with every other. Of two faults neither
     * alone may leave less than both do, so many where trials cost nothing; on a model of real size
     * those that promise most. */
    enum { MANY = 24, FEW = 6 };
    size_t wide = llava_trial_is_cheap(trial) ? MANY : FEW;
    sample s;
    causes singles = {0}, pairs = {0}, triples = {0};
    bool picture =
        strcmp(judged->name, "pixel_values") == 0 || strncmp(judged->name, "image.", 6) == 0;
    const bool shapeless = judged->other_shape;
    bool ok = take_sample(trial, judged, &f->span, &s, e) &&
              try_singles(trial, &s, &f->span, shapeless, &singles, e) &&
              keep_explaining(trial, &singles, judged, f, e);
    if (ok && f->cause_count == 0) {
        ok = extend(trial, &s, &f->span, shapeless, &singles, wide, &singles, &pairs, e) &&
             keep_explaining(trial, &pairs, judged, f, e);
    }
    if (ok && f->cause_count == 0 && picture) {
        ok = extend(trial, &s, &f->span, shapeless, &pairs, wide, &singles, &triples, e) &&
             keep_explaining(trial, &triples, judged, f, e);
    }
    free_sample(trial, &s);
    free(singles.list);
    free(pairs.list);
    free(triples.list);
    return ok;
}
