/* Diagnosis, the spans: the model replayed from the port's own tensors in float64, which tells the
 * error made in each span (local); and, where the tensor's own rounding does not account for that,
 * in the port's own type with its roundings, which tells how much honest rounding explains (noise).
 */
#include "tools/diagnoser.h"

#include "ref/fast/fast.h"
#include "tools/span_goal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

llava_judged *llava_add_judged(llava_diagnoser *d, const char *name, int rank, const size_t *shape,
                               llava_error *e)
{
    llava_diagnosis *r = &d->result;
    llava_judged *grown = llava_realloc(e, r->taps, r->count + 1, sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    r->taps = grown;
    llava_judged *j = &grown[r->count];
    *j = (llava_judged){.rank = rank, .total = -1, .noise_measured = true};
    memcpy(j->shape, shape, (size_t)rank * sizeof *shape);
    j->name = llava_text(e, name, strlen(name));
    r->count += j->name != NULL;
    return j->name == NULL ? NULL : j;
}

bool llava_diagnose_types(llava_diagnoser *d, llava_error *e)
{
    llava_port_votes votes;
    if (!llava_count_votes(d->port, &votes, e)) {
        return false;
    }
    d->result.type = llava_most_votes(&votes, 2);
    for (int part = 0; part < 2; part++) {
        llava_dtype most = llava_most_votes(&votes, part);
        bool silent = votes.votes[part][most] == 0; /* nothing supplied: as the other part */
        d->types[part] = silent ? d->result.type : most;
    }
    d->result.islands = d->result.type == LLAVA_F64 && llava_votes_for_islands(&votes);
    d->shows_islands = votes.tables > 0;
    return true;
}

/* The plan of the port itself: its type, and with the islands and float32 sums that an honest port
 * of such a type has. */
static bool typed_plan(const llava_diagnoser *d, llava_dtype type, llava_plan *plan, llava_error *e)
{
    return llava_honest_plan(&d->session.config, &d->base, type, d->result.islands, plan, e);
}

/* One tap of the replays against the port's, a piece at a time: the memory of a few pages beside
 * the replays themselves. */
enum { PIECE = 4096 };

typedef struct {
    double mine[PIECE], typed[PIECE], theirs[PIECE];
    llava_comparer *local, *noise;
    llava_type_probe type;
    const llava_port_tensor *scores; /* that the probabilities were made of; NULL: none supplied */
    llava_comparer *turned;          /* the probabilities of scores a unit off */
    double unit;
} judging;

/* Where both are NaN, computed from the port's own tensors, the NaN came from before. */
static void forgive_nan(judging *g, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (g->theirs[i] != g->theirs[i] &&
            (g->mine[i] != g->mine[i] || g->typed[i] != g->typed[i])) {
            g->mine[i] = g->typed[i] = g->theirs[i] = 0;
        }
    }
}

/* What a port shows of its scores need not be, to the last digit, what its softmax took: fused
 * kernels round them elsewhere or not at all, and a kit computes them once more. Either is a unit
 * off; one unit in a score s moves its probability by p (1 - p) |s| units. */
static bool add_turned(llava_diagnoser *d, judging *g, size_t first, size_t n, llava_error *e)
{
    double *turned = g->theirs; /* of no more use for this piece */
    if (!llava_port_read(d->port, g->scores, first, n, turned, e)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        double p = g->mine[i], s = isfinite(turned[i]) ? turned[i] : 0;
        turned[i] = p + 2 * g->unit * p * (1 - p) * fabs(s);
    }
    llava_comparer_add(g->turned, g->mine, turned, n);
    return true;
}

/* typed NULL: only the local error is of interest; theirs NULL: only the noise. */
static bool judge_pieces(llava_diagnoser *d, judging *g, const llava_tap *mine, llava_replay *typed,
                         const llava_port_tensor *theirs, llava_error *e)
{
    size_t count = llava_tap_count(mine);
    const double *data = mine->data;
    for (size_t first = 0, n; first < count; first += n) {
        n = count - first < PIECE ? count - first : PIECE;
        memcpy(g->mine, data + first, n * sizeof *data);
        memcpy(g->typed, data + first, n * sizeof *data);
        if ((typed != NULL && !llava_replay_read(typed, g->typed, n, e)) ||
            (theirs != NULL && !llava_port_read(d->port, theirs, first, n, g->theirs, e))) {
            return false;
        }
        if (theirs != NULL) {
            forgive_nan(g, n);
            llava_probe_add(&g->type, g->theirs, n);
            llava_comparer_add(g->local, g->mine, g->theirs, n);
        }
        if (typed != NULL) {
            llava_comparer_add(g->noise, g->mine, g->typed, n);
        }
        if (g->scores != NULL && !add_turned(d, g, first, n, e)) {
            return false;
        }
    }
    return true;
}

/* Tensors that are computed in the span of a tap, each rounded to float32, or of them the norms,
 * softmaxes and rotary tables: steps of float32 in every type but a true float64, each off by a
 * unit of its own; 1 where there are none. */
static double roundings_inside(const llava_diagnoser *d, const char *tap, bool islands_only)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds), inside = 0;
    llava_span span;
    llava_error ignored;
    if (!llava_span_find(&span, tap, d->port, &d->session.plan, &ignored)) {
        return 1;
    }
    for (size_t k = 0; k < count; k++) {
        const char *name = kinds[k].name;
        bool island = strstr(name, "norm") != NULL || strstr(name, ".probs") != NULL ||
                      strstr(name, ".rope.") != NULL;
        bool rounds = kinds[k].at > LLAVA_AT_INPUT && (island || !islands_only);
        size_t times = kinds[k].at == LLAVA_AT_VISION_LAYER
                           ? span.last_vision_layer - span.first_vision_layer + 1
                       : kinds[k].at == LLAVA_AT_TEXT_LAYER
                           ? span.last_text_layer - span.first_text_layer + 1
                           : 1;
        inside += span.kinds[k] && rounds ? times : 0;
    }
    llava_span_free(&span);
    return inside > 0 ? (double)inside : 1;
}

/* How far honest rounding in the port's type is from the truth in this span; noise NULL: at least,
 * whatever is computed there. */
static void set_noise(const llava_diagnoser *d, const char *tap, const llava_comparison *noise,
                      llava_judged *j)
{
    /* The tensor's own rounding is always there; the floor in float64 is a sum's usual error. In
     * float32, and where transformers' float32 islands change anything, one unit: a norm's or a
     * softmax's divisor is itself a float32 number, off for a whole row at once, and the emulation
     * may by luck not be (torch's float32 LayerNorm is 1.4 units off: docs/tolerances.md). */
    const llava_comparison nothing = {0}, *measured = noise == NULL ? &nothing : noise;
    bool island = d->result.islands && measured->rel_l2 > 2.5e-13;
    bool all = j->type == LLAVA_F32, floats = all || (j->type == LLAVA_F64 && island);
    double steps = floats && noise != NULL ? sqrt(roundings_inside(d, tap, !all)) : 1;
    double own = floats                 ? steps * llava_unit(LLAVA_F32)
                 : j->type != LLAVA_F64 ? 0.5 * llava_unit(j->type)
                                        : 2.5e-13;
    j->noise_measured = noise != NULL;
    j->noise = fmax(own, measured->rel_l2);
    j->noise_max = fmax(4 * own, measured->rel_max);
}

/* 0: tower and projector; 1: the language model, and what is of neither (a step's positions). */
static size_t part_of(const char *name)
{
    return llava_part_of_tap(name) == 0 ? 0 : 1;
}

enum { BEYOND_DOUBT = 16 }; /* times the noise */

static bool is_wrong(const llava_judged *j)
{
    return j->local.mismatched > 0 || !llava_explained(j->local.rel_l2, j->local.rel_max, j);
}

/* What the comparisons say; noise NULL: the local one alone. */
static void judge(const llava_diagnoser *d, const judging *g, const llava_tap *mine,
                  const llava_port_tensor *t, const llava_comparison *local,
                  const llava_comparison *noise, llava_judged *j)
{
    if (!llava_replay_same_shape(mine, t)) {
        j->wrong = j->other_shape = true;
        j->model_rank = mine->rank;
        memcpy(j->model_shape, mine->shape, (size_t)mine->rank * sizeof *mine->shape);
        j->local.rel_l2 = j->local.rel_max = (double)INFINITY;
        j->type = d->result.type;
        set_noise(d, mine->name, noise, j);
        return;
    }
    j->local = *local;
    j->type = llava_probe_type(&g->type);
    llava_dtype usual = d->types[part_of(mine->name)];
    if (llava_unit(j->type) > llava_unit(usual)) {
        j->type = usual; /* one narrow tensor among wider ones is a step to be explained */
    }
    set_noise(d, mine->name, noise, j);
    j->exact = !t->floating;
    if (j->exact) { /* positions of a step */
        j->noise = j->noise_max = 0;
    }
    j->noise_complete = false;
    j->wrong = is_wrong(j);
}

/* The port's scores that belong to these probabilities, of the same shape; else NULL. */
static const llava_port_tensor *scores_of(const llava_diagnoser *d, const llava_tap *probs)
{
    static const char end[] = ".attn.probs";
    char name[LLAVA_TAP_NAME];
    size_t n = strlen(probs->name), m = strlen(end);
    if (n < m || strcmp(probs->name + n - m, end) != 0) {
        return NULL;
    }
    snprintf(name, sizeof name, "%.*s.attn.scores", (int)(n - m), probs->name);
    const llava_port_tensor *t = llava_port_find(d->port, name);
    bool whole = t != NULL && t->floating && !t->partial && llava_replay_same_shape(probs, t);
    return whole ? t : NULL;
}

static bool open_comparers(const llava_diagnoser *d, judging *g, const llava_tap *mine,
                           llava_error *e)
{
    llava_comparer **all[] = {&g->noise, &g->local, &g->turned};
    for (size_t i = 0; i < (g->scores == NULL ? 2 : 3); i++) {
        if (!llava_comparer_open(all[i], &d->counting, mine->name, mine->rank, mine->shape, e)) {
            while (i > 0) {
                llava_comparer_close(*all[--i]);
            }
            return false;
        }
    }
    return true;
}

/* typed NULL: without the noise. */
static bool judge_tap(llava_diagnoser *d, const llava_tap *mine, llava_replay *typed,
                      llava_judged *j, llava_error *e)
{
    const llava_port_tensor *t = llava_port_find(d->port, mine->name);
    judging g = {.scores = typed == NULL ? NULL : scores_of(d, mine)};
    g.unit = llava_unit(d->types[part_of(mine->name)]);
    if (!open_comparers(d, &g, mine, e)) {
        return false;
    }
    bool same = llava_replay_same_shape(mine, t);
    llava_comparer_only(g.local, same ? t : NULL);
    bool ok = judge_pieces(d, &g, mine, typed, same ? t : NULL, e);
    llava_comparison noise = llava_comparer_close(g.noise);
    llava_comparison local = llava_comparer_close(g.local);
    if (g.scores != NULL) {
        llava_comparison turned = llava_comparer_close(g.turned);
        noise.rel_l2 = fmax(noise.rel_l2, turned.rel_l2);
        noise.rel_max = fmax(noise.rel_max, turned.rel_max);
    }
    judge(d, &g, mine, t, &local, typed == NULL ? NULL : &noise, j);
    return ok;
}

/* The replay in float64 runs here. What honest rounding makes of a span is asked for where the
 * tensor's own rounding does not account for the error; then the replay in the port's type runs
 * beside it in a child, from the last tensor on that the whole span follows from. */
typedef struct {
    llava_diagnoser *d;
    const llava_goal *goal; /* NULL: everything */
    llava_judged *only;     /* the noise of this tap alone; NULL: every tap is judged */
    llava_plan plan;        /* of the child */
    llava_replay *typed;
    size_t part;                /* whose type it has */
    char start[LLAVA_TAP_NAME]; /* the tap that it began with; "": the pixels */
    char at[LLAVA_TAP_NAME];    /* the last tap that it was asked for */
} replaying;

static void stop_typed(replaying *r)
{
    llava_replay_stop(r->typed);
    r->typed = NULL;
}

/* Where the child that judges this tap should begin. */
static bool typed_goal(const replaying *r, const llava_replay_spec *spec, const char *name,
                       llava_goal *goal, llava_error *e)
{
    llava_span span;
    if (r->goal != NULL) {
        *goal = *r->goal;
        return true;
    }
    if (!llava_span_find(&span, name, r->d->port, spec->plan, e)) {
        return false;
    }
    llava_span_goal_onward(spec, &span, goal);
    llava_span_free(&span);
    return true;
}

/* Does the one tap come behind the other? "" is in front of them all. */
static bool is_behind(const char *tap, const char *other)
{
    llava_tap_place a, b;
    return llava_tap_find(tap, &a) && (!llava_tap_find(other, &b) || llava_tap_compare(&a, &b) > 0);
}

/* Brings the replay in the port's type to this tap. A child that is on its way goes on, unless it
 * has left out what this span begins with, or the port's tensors spare a new one what lies between.
 */
static bool typed_at(replaying *r, const char *name, llava_error *e)
{
    llava_replay_spec spec = r->d->trial.spec;
    llava_goal goal;
    llava_tap typed = {.name = ""};
    char start[LLAVA_TAP_NAME];
    size_t part = part_of(name);
    bool other_type = r->d->types[0] != r->d->types[1] && r->part != part;
    spec.plan = &r->plan;
    if (!typed_plan(r->d, r->d->types[part], &r->plan, e) ||
        !typed_goal(r, &spec, name, &goal, e)) {
        return false;
    }
    llava_goal_start(&goal, start);
    if (r->typed != NULL && (other_type || is_behind(start, r->at) || is_behind(r->start, start))) {
        stop_typed(r);
    }
    if (r->typed == NULL) {
        snprintf(r->start, sizeof r->start, "%s", start);
        if (!llava_replay_start(&r->typed, &spec, &goal, e)) {
            return false;
        }
    }
    r->part = part;
    snprintf(r->at, sizeof r->at, "%s", name);
    while (strcmp(typed.name, name) != 0) { /* it passes what was judged before */
        bool end;
        if (!llava_replay_next(r->typed, &typed, &end, e)) {
            return false;
        }
        if (end) {
            return llava_fail(e, "%s: not reached in the port's type", name);
        }
    }
    return true;
}

/* A child is of no more use when the next layer begins well: its memory is given back. In decoding
 * steps it stays, for a new one would have to run from the prompt on. */
static void leave_typed(replaying *r, const char *name)
{
    llava_tap_place a, b;
    llava_tap_find(r->at, &a);
    llava_tap_find(name, &b);
    if (r->typed != NULL && r->goal == NULL && b.step == 0 &&
        (a.block != b.block || a.layer != b.layer)) {
        stop_typed(r);
    }
}

/* Is the same tap of the layer before wrong, and this one by many times the noise that the last
 * measured of them has? Then most likely the same mistake is in this one, and whether it explains
 * the error shows without the noise (diagnose_findings.c). */
static bool is_like_before(const llava_diagnoser *d, const llava_judged *j)
{
    const llava_diagnosis *r = &d->result;
    llava_tap_place own, other;
    llava_tap_find(j->name, &own);
    if (d->all_noise || r->type == LLAVA_F64 || j->local.mismatched > 0 || own.step > 0) {
        return false;
    }
    bool like = false;
    for (size_t i = r->count - 1; i-- > d->inputs_judged;) {
        const llava_judged *b = &r->taps[i];
        llava_tap_find(b->name, &other);
        if (other.kind != own.kind) {
            continue;
        }
        like |= other.layer + 1 == own.layer && b->wrong;
        if (!like || b->noise_measured) {
            return like && b->wrong && j->local.rel_l2 > BEYOND_DOUBT * b->noise;
        }
    }
    return false;
}

static bool judge_next(void *self, const llava_tap *mine, const llava_port_tensor *tensor,
                       llava_error *e)
{
    replaying *r = self;
    llava_judged *j = r->only;
    if ((r->goal != NULL && llava_goal_begins_with(r->goal, mine->name)) ||
        (j != NULL && strcmp(j->name, mine->name) != 0)) {
        return true;
    }
    bool known = j == NULL && !r->d->all_noise && llava_replay_same_shape(mine, tensor);
    if (j == NULL) {
        j = llava_add_judged(r->d, mine->name, tensor->rank, tensor->shape, e);
    }
    if (j == NULL || (known && !judge_tap(r->d, mine, NULL, j, e))) {
        return false;
    }
    if (known && (!j->wrong || j->exact || is_like_before(r->d, j))) {
        leave_typed(r, mine->name);
        return true;
    }
    return typed_at(r, mine->name, e) && judge_tap(r->d, mine, r->typed, j, e);
}

static bool replay_goal(llava_diagnoser *d, const llava_goal *goal, llava_judged *only,
                        llava_error *e)
{
    llava_plan plan;
    replaying r = {.d = d, .goal = goal, .only = only};
    llava_replay_spec spec = d->trial.spec;
    spec.plan = &plan;
    spec.doing = only == NULL ? spec.doing : NULL;
    bool ok = llava_plan_make(&plan, &d->session.config, &d->base, LLAVA_F64, false, e) &&
              llava_replay_run(&spec, goal, judge_next, &r, e);
    stop_typed(&r);
    return ok;
}

/* Is the noise, of one draw of all roundings, so uncertain that more of them may account for the
 * error? In a few numbers, such as a decoding step's one row, where a softmax makes the error of a
 * few roundings, one draw in some thousand is a quarter of the usual; of many numbers none is. */
static bool is_in_doubt(const llava_judged *j)
{
    enum { FEW = 4096 };
    return is_wrong(j) && j->local.mismatched == 0 && j->local.count <= FEW &&
           j->local.rel_l2 <= BEYOND_DOUBT * j->noise;
}

bool llava_diagnose_noise(llava_diagnoser *d, llava_judged *judged, const llava_span *span,
                          llava_error *e)
{
    llava_replay_spec spec = d->trial.spec;
    llava_goal goal;
    spec.plan = &d->session.plan;
    llava_span_goal(&spec, span, &goal);
    bool ok = judged->noise_measured || judged->exact || replay_goal(d, &goal, judged, e);
    if (ok && !judged->exact && !judged->noise_complete) {
        ok = llava_trial_allow_ties(&d->trial, span, judged, e) &&
             (!is_in_doubt(judged) ||
              llava_trial_average_noise(&d->trial, span, d->types[part_of(judged->name)],
                                        d->result.islands, d->result.count, judged, e));
        judged->noise_complete = true;
        judged->wrong = is_wrong(judged);
    }
    return ok;
}

/* Local errors and noise of every span, in the order of the flow: of the whole, or, where the ids
 * do not go with the pictures, of the tower and of the language model behind the merge. */
static bool replay(llava_diagnoser *d, llava_error *e)
{
    llava_forget_taps(&d->result, d->inputs_judged);
    if (d->inputs_fit) {
        return replay_goal(d, NULL, NULL, e);
    }
    llava_replay_spec spec = d->trial.spec;
    spec.plan = &d->session.plan;
    for (int part = 0; part < (d->ids_fit ? 2 : 1); part++) {
        llava_goal goal;
        if (llava_part_goal(&spec, part, &goal) && !replay_goal(d, &goal, NULL, e)) {
            return false;
        }
    }
    return true;
}

/* ---- totals */

typedef struct {
    llava_diagnoser *d;
    size_t at, first; /* the judged tap that comes next; the first wrong one */
} totalling;

static bool total_one(void *self, const llava_tap *tap, const llava_port_tensor *t, llava_error *e)
{
    totalling *m = self;
    llava_diagnosis *r = &m->d->result;
    size_t i = m->at;
    llava_comparison total;
    while (i < r->count && strcmp(r->taps[i].name, tap->name) != 0) {
        i++;
    }
    if (i == r->count || !llava_replay_same_shape(tap, t)) {
        return true;
    }
    m->at = i + 1;
    if (i < m->first) { /* right: what follows goes on from the port's */
        return t->partial || llava_port_read(m->d->port, t, 0, t->count, tap->data, e);
    }
    bool ok = llava_compare_port(&m->d->counting, m->d->port, t, NULL, tap->data, false, &total, e);
    r->taps[i].total = total.mismatched > 0 ? (double)INFINITY : total.rel_l2;
    return ok;
}

/* Of a port in 16 bits, whose errors are 2^-12 and more, the fast path in float32 tells the totals
 * as well, in a quarter of the time: where it hands out all that the port supplies. */
static bool fast_will_do(const llava_diagnoser *d, const llava_plan *plan_f32)
{
    const llava_dtype *types = d->types;
    llava_error refused;
    bool all = (types[0] == LLAVA_BF16 || types[0] == LLAVA_F16) &&
               (types[1] == LLAVA_BF16 || types[1] == LLAVA_F16) &&
               !llava_trial_is_cheap(&d->trial) && !d->trial.spec.generates &&
               d->session.inputs.mask_bias == NULL && llava_fast_check(plan_f32, &refused);
    for (size_t i = d->inputs_judged; all && i < d->result.count; i++) {
        all = llava_fast_has_tap(d->result.taps[i].name);
    }
    return all;
}

/* Is a right tap behind a wrong one off by more than 10 times its noise? Where that has not been
 * measured and is close, it is measured now; on a model of real size the port's own error in the
 * span stands for it. */
static bool is_inherited(llava_diagnoser *d, llava_judged *j, bool *is, llava_error *e)
{
    enum { FAR_OFF = 640 };
    if (!j->noise_measured && j->total > 10 * j->noise && j->total < FAR_OFF * j->noise &&
        llava_trial_is_cheap(&d->trial)) {
        llava_span span;
        if (!llava_span_find(&span, j->name, d->port, &d->session.plan, e)) {
            return false;
        }
        bool ok = llava_diagnose_noise(d, j, &span, e);
        llava_span_free(&span);
        if (!ok) {
            return false;
        }
    }
    double noise = j->noise_measured ? j->noise : fmax(j->noise, j->local.rel_l2);
    *is = j->total > 10 * noise;
    return true;
}

static bool find_inherited(llava_diagnoser *d, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    bool found = false;
    for (size_t i = 0; i < r->count; i++) {
        llava_judged *j = &r->taps[i];
        bool is = false;
        found |= j->wrong;
        if (found && !j->wrong && !is_inherited(d, j, &is, e)) {
            return false;
        }
        j->inherited |= is;
    }
    return true;
}

bool llava_diagnose_totals(llava_diagnoser *d, llava_error *e)
{
    llava_plan plan;
    llava_choices right = {0};
    llava_goal goal;
    llava_fast *fast = NULL;
    llava_replay_spec spec = d->trial.spec;
    const llava_diagnosis *r = &d->result;
    bool same =
        d->inputs.batch == d->session.inputs.batch && d->inputs.length == d->session.inputs.length;
    if (r->finding_count == 0 || !same) {
        return true;
    }
    if (!llava_plan_make(&plan, &d->session.config, &right, LLAVA_F32, false, e) ||
        (fast_will_do(d, &plan) &&
         !llava_fast_open(&fast, LLAVA_F32, getenv("LLAVA_FAST_WIDTH"), e)) ||
        (fast == NULL &&
         !llava_plan_make(&plan, &d->session.config, &right, LLAVA_F64, false, e))) {
        return false;
    }
    spec.fast = fast;
    llava_inputs in = d->session.inputs;
    in.answer = d->inputs.answer;
    in.answer_length = d->inputs.answer_length;
    spec.plan = &plan;
    spec.inputs = &in;
    spec.forced = false;
    totalling m = {.d = d, .first = r->findings[0].judged};
    bool input = m.first < d->inputs_judged;
    if (input) {
        m.first = 0;
    } else {
        llava_span_goal_onward(&spec, &r->findings[0].span, &goal);
    }
    bool ok = llava_replay_run(&spec, input ? NULL : &goal, total_one, &m, e);
    llava_fast_close(fast);
    return ok && find_inherited(d, e);
}

void llava_forget_taps(llava_diagnosis *r, size_t keep)
{
    while (r->count > keep) {
        free(r->taps[--r->count].name);
    }
}

static size_t count_wrong(const llava_diagnosis *r, size_t from)
{
    size_t wrong = 0;
    for (size_t i = from; i < r->count; i++) {
        wrong += r->taps[i].wrong;
    }
    return wrong;
}

bool llava_diagnose_spans(llava_diagnoser *d, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    if (!replay(d, e)) {
        return false;
    }
    size_t without = count_wrong(r, d->inputs_judged);
    if (r->type != LLAVA_F64 || r->islands || d->shows_islands || without == 0) {
        return true;
    }
    r->islands = true;
    if (!replay(d, e)) {
        return false;
    }
    if (count_wrong(r, d->inputs_judged) >= without) {
        r->islands = false;
        return replay(d, e);
    }
    return true;
}
