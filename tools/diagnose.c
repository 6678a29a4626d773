/* llava-ref diagnose: where a port departs from the model, and why.
 *
 * 1. What goes in (ids, mask, positions, pixel values) is compared; from there on the port's is
 * used.
 * 2. The model is replayed from the port's own tensors twice, in float64 and in the port's own type
 *    with its roundings: the first tells the error made in each span (local), the second how much
 *    of it honest rounding explains (noise).
 * 3. Rounding steps of the port that hold in every span (numerics.*) become part of the model it is
 *    held against, and 2 is repeated: a fault may show only then.
 * 4. In each span that is still wrong, every decision that acts there is tried, then pairs. */
#include "tools/diagnose.h"

#include "tools/command.h"
#include "tools/json_out.h"
#include "tools/output.h"
#include "tools/picture_trial.h"
#include "tools/replay.h"
#include "tools/report.h"
#include "tools/trial.h"
#include "tools/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    llava_request request;
    const char *dump, *map, *json, *html;
} diagnose_options;

typedef struct {
    diagnose_options o;
    llava_session session;
    llava_port *port;
    llava_inputs inputs; /* the session's, the port's own in their place where it supplies them */
    llava_counting counting;
    llava_choices base;   /* the roundings found to hold everywhere */
    llava_dtype types[2]; /* of the tower and projector, and of the language model */
    bool shows_islands;   /* are there probabilities or rotary tables to recognise islands by? */
    llava_trial trial;
    llava_diagnosis result;
} diagnoser;

static bool read_options(diagnose_options *o, int argc, char **argv, llava_error *e)
{
    llava_option options[LLAVA_REQUEST_OPTIONS + 4] = {
        {.name = "--dump", .kind = LLAVA_OPTION_TEXT, .target = &o->dump},
        {.name = "--map", .kind = LLAVA_OPTION_TEXT, .target = &o->map},
        {.name = "--json", .kind = LLAVA_OPTION_TEXT, .target = &o->json},
        {.name = "--html", .kind = LLAVA_OPTION_TEXT, .target = &o->html},
    };
    size_t count = 4;
    llava_operands none = {0};
    llava_request_options(&o->request, options, &count);
    return llava_options_read(argc, argv, options, count, &none, e) &&
           (o->dump != NULL || llava_fail(e, "--dump PORT is missing"));
}

/* ---- what goes in
 * ----------------------------------------------------------------------------------- */

/* The port's integers of [B, S], or NULL in *ids where it supplies none. */
static bool load_ids(diagnoser *d, const char *name, int64_t **ids, size_t *batch, size_t *length,
                     llava_error *e)
{
    const llava_port_tensor *t = llava_port_find(d->port, name);
    *ids = NULL;
    if (t == NULL || t->floating || t->rank != 2 || t->partial) {
        return true;
    }
    *batch = t->shape[0];
    *length = t->shape[1];
    return llava_port_load_integers(d->port, t, ids, e);
}

static bool copy_ids(int64_t **to, const int64_t *from, size_t count, llava_error *e)
{
    if (from == NULL) {
        return true;
    }
    *to = llava_alloc(e, count, sizeof(int64_t));
    if (*to != NULL) {
        memcpy(*to, from, count * sizeof(int64_t));
    }
    return *to != NULL;
}

static bool copy_square_mask(llava_inputs *to, const llava_inputs *from, llava_error *e)
{
    size_t count = from->batch * from->length * from->length;
    if (from->sees == NULL) {
        return true;
    }
    to->sees = llava_alloc(e, count, 1);
    to->mask_bias = from->mask_bias == NULL ? NULL : llava_alloc(e, count, sizeof(double));
    if (to->sees == NULL || (from->mask_bias != NULL && to->mask_bias == NULL)) {
        return false;
    }
    memcpy(to->sees, from->sees, count);
    if (to->mask_bias != NULL) {
        memcpy(to->mask_bias, from->mask_bias, count * sizeof(double));
    }
    return true;
}

/* A copy of the run's inputs, for the port's own to be put in. */
static bool copy_inputs(diagnoser *d, llava_error *e)
{
    const llava_inputs *from = &d->session.inputs;
    llava_inputs *to = &d->inputs;
    size_t count = from->batch * from->length;
    size_t pixels = from->pictures * 3 * from->height * from->width;
    *to = *from;
    to->input_ids = to->attention_mask = to->position_ids = to->labels = to->answer = NULL;
    to->image_sizes = NULL;
    to->inputs_embeds = to->pixel_values = to->mask_bias = NULL;
    to->sees = NULL;
    bool ok = copy_ids(&to->input_ids, from->input_ids, count, e) &&
              copy_ids(&to->attention_mask, from->attention_mask, count, e) &&
              copy_ids(&to->position_ids, from->position_ids, count, e) &&
              copy_ids(&to->labels, from->labels, count, e) &&
              copy_ids(&to->image_sizes, from->image_sizes, 2 * from->pictures, e) &&
              copy_square_mask(to, from, e);
    if (ok && from->pixel_values != NULL) {
        to->pixel_values = llava_alloc(e, pixels, sizeof(double));
        ok = to->pixel_values != NULL;
        if (ok) {
            memcpy(to->pixel_values, from->pixel_values, pixels * sizeof(double));
        }
    }
    if (ok && from->inputs_embeds != NULL) {
        size_t wide = count * from->embeds_width;
        to->inputs_embeds = llava_alloc(e, wide, sizeof(double));
        ok = to->inputs_embeds != NULL;
        if (ok) {
            memcpy(to->inputs_embeds, from->inputs_embeds, wide * sizeof(double));
        }
    }
    return ok;
}

static llava_judged *add_judged(diagnoser *d, const char *name, int rank, const size_t *shape,
                                llava_error *e)
{
    llava_diagnosis *r = &d->result;
    llava_judged *grown = llava_realloc(e, r->taps, r->count + 1, sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    r->taps = grown;
    llava_judged *j = &grown[r->count];
    *j = (llava_judged){.rank = rank, .total = -1};
    memcpy(j->shape, shape, (size_t)rank * sizeof *shape);
    j->name = llava_text(e, name, strlen(name));
    r->count += j->name != NULL;
    return j->name == NULL ? NULL : j;
}

/* Ids that must be equal. other: a second right answer, or NULL. */
static bool judge_ids(diagnoser *d, const char *name, const int64_t *right, const int64_t *other,
                      size_t batch, size_t length, const int64_t *theirs, size_t their_batch,
                      size_t their_length, llava_error *e)
{
    size_t shape[2] = {their_batch, their_length}, unequal = 0, unlike = 0;
    llava_judged *j = add_judged(d, name, 2, shape, e);
    if (j == NULL) {
        return false;
    }
    j->exact = true;
    bool same = batch == their_batch && length == their_length;
    for (size_t i = 0; same && i < batch * length; i++) {
        bool counts = strcmp(name, "position_ids") != 0 || d->inputs.attention_mask == NULL ||
                      d->inputs.attention_mask[i] != 0;
        unequal += counts && right[i] != theirs[i];
        unlike += counts && other != NULL && other[i] != theirs[i];
    }
    size_t wrong = other != NULL && unlike < unequal ? unlike : unequal;
    j->local.count = their_batch * their_length;
    j->local.unequal = same ? wrong : j->local.count;
    j->local.rel_l2 = same && wrong == 0 ? 0 : 1;
    j->wrong = j->local.unequal > 0;
    return true;
}

/* position_ids: without --positions, either convention is honest. */
static bool judge_positions(diagnoser *d, const int64_t *theirs, llava_error *e)
{
    size_t batch = d->inputs.batch, length = d->inputs.length;
    int64_t *forward = llava_alloc(e, batch * length, sizeof(int64_t));
    int64_t *generate = llava_alloc(e, batch * length, sizeof(int64_t));
    bool ok = forward != NULL && generate != NULL;
    if (ok) {
        bool said = d->o.request.positions_given;
        llava_convention own = d->session.convention;
        llava_positions(&d->session.plan, &d->inputs, said ? own : LLAVA_POSITIONS_FORWARD,
                        forward);
        llava_positions(&d->session.plan, &d->inputs, said ? own : LLAVA_POSITIONS_GENERATE,
                        generate);
        ok = judge_ids(d, "position_ids", forward, generate, batch, length, theirs, batch, length,
                       e);
    }
    free(forward);
    free(generate);
    return ok;
}

/* A mask of four dimensions, held against the inputs'; what follows is computed with theirs. */
static bool judge_square_mask(diagnoser *d, llava_error *e)
{
    const llava_inputs *in = &d->inputs;
    const llava_port_tensor *t = llava_port_find(d->port, "attention_mask");
    if (in->sees == NULL || t == NULL || t->rank != 4) {
        return true;
    }
    size_t shape[4] = {in->batch, 1, in->length, in->length};
    llava_judged *j = add_judged(d, t->name, t->rank, t->shape, e);
    double *theirs;
    if (j == NULL || !llava_port_load(d->port, t, &theirs, e)) {
        return false;
    }
    bool same = memcmp(t->shape, shape, sizeof shape) == 0;
    j->exact = true;
    j->local.count = t->count;
    for (size_t i = 0; same && i < t->count; i++) {
        double seen = t->floating ? theirs[i] > LLAVA_MASKED : theirs[i] != 0;
        j->local.unequal += seen != in->sees[i];
    }
    j->local.unequal = same ? j->local.unequal : t->count;
    j->wrong = j->local.unequal > 0;
    j->local.rel_l2 = j->wrong;
    free(theirs);
    return true;
}

static bool take_ids(diagnoser *d, llava_error *e)
{
    llava_inputs *in = &d->inputs;
    int64_t *ids, *mask, *positions, *ones = NULL;
    size_t batch = in->batch, length = in->length;
    if (!load_ids(d, "input_ids", &ids, &batch, &length, e)) {
        return false;
    }
    bool ok = true;
    if (ids != NULL && in->input_ids != NULL) {
        ok = judge_ids(d, "input_ids", in->input_ids, NULL, in->batch, in->length, ids, batch,
                       length, e);
        if (batch != in->batch || length != in->length) {
            free(in->attention_mask);
            free(in->position_ids);
            free(in->labels);
            free(in->sees);
            free(in->mask_bias);
            in->attention_mask = in->position_ids = in->labels = NULL;
            in->sees = NULL;
            in->mask_bias = NULL;
        }
        free(in->input_ids);
        in->input_ids = ids;
        in->batch = batch;
        in->length = length;
    } else {
        free(ids);
    }
    ok = ok && load_ids(d, "attention_mask", &mask, &batch, &length, e);
    if (ok && mask != NULL && batch == in->batch && length == in->length) {
        ones = llava_alloc(e, batch * length, sizeof(int64_t));
        for (size_t i = 0; ones != NULL && i < batch * length; i++) {
            ones[i] = in->attention_mask == NULL ? 1 : in->attention_mask[i];
        }
        ok = ones != NULL &&
             judge_ids(d, "attention_mask", ones, NULL, batch, length, mask, batch, length, e);
        free(ones);
        free(in->attention_mask);
        in->attention_mask = mask;
    } else if (ok) {
        free(mask);
    }
    ok = ok && judge_square_mask(d, e);
    ok = ok && load_ids(d, "position_ids", &positions, &batch, &length, e);
    if (ok && positions != NULL && batch == in->batch && length == in->length) {
        ok = judge_positions(d, positions, e);
        free(in->position_ids);
        in->position_ids = positions;
    } else if (ok) {
        free(positions);
    }
    return ok;
}

/* The tokens that the port generated, for its own steps to be replayed. */
static bool take_answer(diagnoser *d, llava_error *e)
{
    size_t batch, length;
    llava_inputs *in = &d->inputs;
    if (!load_ids(d, "generated_ids", &in->answer, &batch, &length, e)) {
        return false;
    }
    if (in->answer != NULL && (batch != in->batch || length == 0)) {
        free(in->answer);
        in->answer = NULL;
    }
    in->answer_length = in->answer == NULL ? 0 : length;
    return true;
}

/* The port's stages of the pictures, each held against what the reference makes of the one before.
 */
static bool judge_pictures(diagnoser *d, llava_error *e)
{
    static const llava_choices right = {0};
    for (size_t i = 0; d->session.pictures != NULL && i < llava_port_count(d->port); i++) {
        const llava_port_tensor *t = llava_port_at(d->port, i);
        if (strncmp(t->name, "image.", 6) != 0) {
            continue;
        }
        llava_judged *j = add_judged(d, t->name, t->rank, t->shape, e);
        bool made;
        if (j == NULL || !llava_picture_compare(&d->session, &right, d->port, d->port, t->name,
                                                &j->local, &made, e)) {
            return false;
        }
        j->exact = true;
        j->other_shape = !made;
        j->wrong = !made || j->local.unequal > 0;
        j->local.rel_l2 = made ? j->local.rel_l2 : (double)INFINITY;
    }
    return true;
}

/* pixel_values that are not supplied are made of the last stages that are. */
static bool make_pixels(diagnoser *d, llava_error *e)
{
    static const llava_choices right = {0};
    double *values;
    if (d->session.pictures == NULL) {
        return true;
    }
    if (!llava_picture_values(&d->session, &right, d->port, &values, e)) {
        return false;
    }
    if (values != NULL) {
        free(d->inputs.pixel_values);
        d->inputs.pixel_values = values;
    }
    return true;
}

/* pixel_values: judged, then the port's own are what the tower is replayed from. */
static bool take_pixels(diagnoser *d, llava_error *e)
{
    llava_inputs *in = &d->inputs;
    const llava_port_tensor *t = llava_port_find(d->port, "pixel_values");
    if (t == NULL || in->pixel_values == NULL || !t->floating) {
        return make_pixels(d, e);
    }
    size_t shape[4] = {in->pictures, 3, in->height, in->width};
    llava_judged *j = add_judged(d, "pixel_values", t->rank, t->shape, e);
    double *theirs;
    if (j == NULL || !llava_port_load(d->port, t, &theirs, e)) {
        return false;
    }
    bool same = t->rank == 4 && memcmp(t->shape, shape, sizeof shape) == 0;
    bool ok = true;
    j->type = llava_narrowest(theirs, t->count);
    /* two float32 operations behind u8 values: an ulp or two, whatever their order */
    j->noise = 2 * llava_unit(j->type == LLAVA_F64 ? LLAVA_F32 : j->type);
    j->noise_max = 4 * j->noise;
    if (same) {
        /* from the port's own stages, where it gives any */
        ok = make_pixels(d, e) && llava_compare(&d->counting, "pixel_values", 4, shape,
                                                in->pixel_values, theirs, &j->local, e);
        j->wrong =
            !llava_explained(j->local.rel_l2, j->local.rel_max, j) || j->local.mismatched > 0;
        free(in->pixel_values);
        in->pixel_values = theirs;
    } else {
        j->wrong = j->other_shape = true;
        j->model_rank = 4;
        memcpy(j->model_shape, shape, sizeof shape);
        j->local.rel_l2 = (double)INFINITY;
        free(theirs);
    }
    return ok;
}

/* ---- replaying
 * --------------------------------------------------------------------------------------- */

/* The type that most of the port's tensors were computed in, and whether a float64 port has float32
 * islands: probabilities and rotary tables that are float32 numbers. */
static bool measure_types(diagnoser *d, llava_error *e)
{
    size_t votes[3][LLAVA_BF16 + 1] = {{0}}, islands = 0, tables = 0; /* the parts, and all */
    for (size_t i = 0; i < llava_port_count(d->port); i++) {
        const llava_port_tensor *t = llava_port_at(d->port, i);
        size_t n = t->count < 4096 ? t->count : 4096;
        double values[4096];
        int part = llava_part_of_tap(t->name);
        if (!t->floating || n == 0 || part < 0) {
            continue;
        }
        if (!llava_port_read(d->port, t, 0, n, values, e)) {
            return false;
        }
        llava_dtype type = llava_narrowest(values, n);
        bool table = strstr(t->name, ".probs") != NULL || strstr(t->name, ".rope.") != NULL;
        if (table) {
            tables++;
            islands += type != LLAVA_F64;
        } else {
            votes[part][type]++;
            votes[2][type]++;
        }
    }
    llava_dtype most[3] = {LLAVA_F64, LLAVA_F64, LLAVA_F64};
    for (int part = 0; part < 3; part++) {
        for (llava_dtype type = LLAVA_F64; type <= LLAVA_BF16; type++) {
            most[part] = votes[part][type] > votes[part][most[part]] ? type : most[part];
        }
    }
    d->result.type = most[2];
    for (int part = 0; part < 2; part++) {
        bool silent = votes[part][most[part]] == 0; /* nothing supplied: as the other part */
        d->types[part] = silent ? most[2] : most[part];
    }
    d->result.islands = d->result.type == LLAVA_F64 && tables > 0 && islands == tables;
    d->shows_islands = tables > 0;
    return true;
}

/* The plan of the port itself: its type, and with the islands and float32 sums that an honest port
 * of such a type has. */
static bool typed_plan(const diagnoser *d, llava_dtype type, llava_plan *plan, llava_error *e)
{
    bool narrow = type != LLAVA_F64;
    bool ok =
        llava_plan_make(plan, &d->session.config, &d->base, type, narrow || d->result.islands, e);
    plan->numerics.sums_f32 = narrow;
    return ok;
}

/* Where both are NaN, computed from the port's own tensors, the NaN came from before. */
static void forgive_nan(double *mine, double *typed, double *theirs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (theirs[i] != theirs[i] && (mine[i] != mine[i] || typed[i] != typed[i])) {
            mine[i] = typed[i] = theirs[i] = 0;
        }
    }
}

/* How far honest rounding in the port's type is from the truth in this span. */
static bool measure_noise(const diagnoser *d, const llava_tap *mine, const llava_tap *typed,
                          llava_judged *j, llava_error *e)
{
    llava_comparison noise;
    if (!llava_compare(&d->counting, mine->name, mine->rank, mine->shape, mine->data, typed->data,
                       &noise, e)) {
        return false;
    }
    /* The tensor's own rounding is always there; the floor in float64 is a sum's usual error. In
     * float32, and where transformers' float32 islands change anything, one unit: a norm's or a
     * softmax's divisor is itself a float32 number, off for a whole row at once, and the emulation
     * may by luck not be (torch's float32 LayerNorm is 1.4 units off: docs/tolerances.md). */
    bool island = d->result.islands && noise.rel_l2 > 2.5e-13;
    double own = j->type == LLAVA_F32   ? llava_unit(LLAVA_F32)
                 : j->type != LLAVA_F64 ? 0.5 * llava_unit(j->type)
                 : island               ? llava_unit(LLAVA_F32)
                                        : 2.5e-13;
    double ties = llava_half_ties(&d->base, mine->name);
    j->noise = fmax(fmax(own, noise.rel_l2), ties);
    j->noise_max = fmax(fmax(4 * own, noise.rel_max), 8 * ties);
    return true;
}

/* 0: tower and projector; 1: the language model, and what is of neither (a step's positions). */
static size_t part_of(const char *name)
{
    return llava_part_of_tap(name) == 0 ? 0 : 1;
}

/* One tap of both replays against the port's. */
static bool judge_tap(diagnoser *d, const llava_tap *mine, const llava_tap *typed, llava_error *e)
{
    const llava_port_tensor *t = llava_port_find(d->port, mine->name);
    llava_judged *j = add_judged(d, mine->name, t->rank, t->shape, e);
    double *theirs;
    if (j != NULL && !llava_replay_same_shape(mine, t)) {
        j->wrong = j->other_shape = true;
        j->model_rank = mine->rank;
        memcpy(j->model_shape, mine->shape, (size_t)mine->rank * sizeof *mine->shape);
        j->local.rel_l2 = j->local.rel_max = (double)INFINITY;
        j->type = d->result.type;
        return measure_noise(d, mine, typed, j, e);
    }
    if (j == NULL || !llava_port_load(d->port, t, &theirs, e)) {
        return false;
    }
    forgive_nan(mine->data, typed->data, theirs, t->count);
    j->type = llava_narrowest(theirs, t->count);
    llava_dtype usual = d->types[part_of(mine->name)];
    if (llava_unit(j->type) > llava_unit(usual)) {
        j->type = usual; /* one narrow tensor among wider ones is a step to be explained */
    }
    bool ok = llava_compare_only(&d->counting, t, mine->data, theirs, &j->local, e) &&
              measure_noise(d, mine, typed, j, e);
    free(theirs);
    j->exact = !t->floating;
    if (j->exact) { /* positions of a step */
        j->noise = j->noise_max = 0;
    }
    j->wrong = j->local.mismatched > 0 || !llava_explained(j->local.rel_l2, j->local.rel_max, j);
    return ok;
}

/* The replays side by side: in float64, and in the type of each part of the port (typed[1] NULL:
 * both parts have one type). */
static bool replay_all(diagnoser *d, llava_replay *mine, llava_replay *const typed[2],
                       llava_error *e)
{
    for (;;) {
        llava_tap a, b[2];
        bool end = false, end_typed = false;
        if (!llava_replay_next(mine, &a, &end, e) ||
            !llava_replay_next(typed[0], &b[0], &end_typed, e) ||
            (typed[1] != NULL && !llava_replay_next(typed[1], &b[1], &end_typed, e))) {
            return false;
        }
        if (end || end_typed) {
            return true;
        }
        size_t part = typed[1] == NULL ? 0 : part_of(a.name);
        if (!judge_tap(d, &a, &b[part], e)) {
            return false;
        }
    }
}

/* Local errors and noise of every span, in the order of the flow. */
static bool replay(diagnoser *d, llava_error *e)
{
    llava_plan plan, narrow[2];
    llava_replay *mine = NULL, *typed[2] = {NULL, NULL};
    if (!llava_plan_make(&plan, &d->session.config, &d->base, LLAVA_F64, false, e)) {
        return false;
    }
    llava_replay_spec spec = d->trial.spec;
    spec.plan = &plan;
    bool ok = llava_replay_start(&mine, &spec, e);
    for (int part = 0; ok && part < (d->types[0] == d->types[1] ? 1 : 2); part++) {
        spec.plan = &narrow[part];
        ok = typed_plan(d, d->types[part], &narrow[part], e) &&
             llava_replay_start(&typed[part], &spec, e);
    }
    ok = ok && replay_all(d, mine, typed, e);
    llava_replay_stop(mine);
    llava_replay_stop(typed[0]);
    llava_replay_stop(typed[1]);
    return ok;
}

/* Total errors: the port against the plain reference, where something was found. */
static bool measure_totals(diagnoser *d, llava_error *e)
{
    llava_plan plan;
    llava_choices right = {0};
    llava_replay *plain = NULL;
    llava_replay_spec spec = d->trial.spec;
    bool same =
        d->inputs.batch == d->session.inputs.batch && d->inputs.length == d->session.inputs.length;
    if (d->result.finding_count == 0 || !same) {
        return true;
    }
    if (!llava_plan_make(&plan, &d->session.config, &right, LLAVA_F64, false, e)) {
        return false;
    }
    llava_inputs in = d->session.inputs;
    in.answer = d->inputs.answer;
    in.answer_length = d->inputs.answer_length;
    spec.plan = &plan;
    spec.inputs = &in;
    spec.forced = false;
    bool ok = llava_replay_start(&plain, &spec, e), end = false;
    for (size_t i = 0; ok && !end;) {
        llava_tap tap;
        ok = llava_replay_next(plain, &tap, &end, e);
        while (ok && !end && i < d->result.count && strcmp(d->result.taps[i].name, tap.name) != 0) {
            i++;
        }
        if (ok && !end && i < d->result.count) {
            const llava_port_tensor *t = llava_port_find(d->port, tap.name);
            double *theirs;
            llava_comparison total;
            if (!llava_replay_same_shape(&tap, t)) {
                continue;
            }
            ok = llava_port_load(d->port, t, &theirs, e);
            if (ok) {
                ok = llava_compare_only(&d->counting, t, tap.data, theirs, &total, e);
                d->result.taps[i].total = total.mismatched > 0 ? (double)INFINITY : total.rel_l2;
                free(theirs);
            }
        }
    }
    llava_replay_stop(plain);
    return ok;
}

/* ---- findings
 * ------------------------------------------------------------------------------------- */

static llava_finding *add_finding(diagnoser *d, size_t judged, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    llava_finding *grown = llava_realloc(e, r->findings, r->finding_count + 1, sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    r->findings = grown;
    llava_finding *f = &grown[r->finding_count];
    *f = (llava_finding){.judged = judged, .confidence = LLAVA_UNKNOWN};
    if (!llava_span_find(&f->span, r->taps[judged].name, d->port, &d->session.plan, e)) {
        return NULL;
    }
    r->finding_count++;
    return f;
}

/* Does any of a cause's decisions act in the span? */
static bool acts_in(const llava_span *span, const llava_cause *cause)
{
    bool acts = false;
    for (size_t i = 0; i < cause->count; i++) {
        acts |= llava_span_acts(span, cause->id[i]);
    }
    return acts;
}

static bool add_also(llava_finding *f, size_t judged, llava_error *e)
{
    size_t *grown = llava_realloc(e, f->also, f->also_count + 1, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    f->also = grown;
    f->also[f->also_count++] = judged;
    return true;
}

/* Does an earlier finding's cause explain this tap too? Then it is one fault, not two; and of
 * several likely causes only those remain that explain both. */
static bool join_earlier(diagnoser *d, size_t judged, const llava_span *span, bool *joined,
                         llava_error *e)
{
    llava_diagnosis *r = &d->result;
    *joined = false;
    for (size_t i = 0; i < r->finding_count && !*joined; i++) {
        llava_finding *f = &r->findings[i];
        llava_cause left[LLAVA_MOST_CAUSES];
        size_t count = 0;
        for (size_t c = 0; c < f->cause_count; c++) {
            llava_cause cause = f->causes[c];
            if (!acts_in(span, &cause)) {
                continue;
            }
            if (!llava_trial_cause(&d->trial, span, &cause, e)) {
                return false;
            }
            if (llava_explained(cause.error, cause.error_max, &r->taps[judged])) {
                left[count++] = f->causes[c];
            }
        }
        if (count > 0) {
            memcpy(f->causes, left, count * sizeof *left);
            f->cause_count = count;
            f->confidence = count == 1 ? LLAVA_CERTAIN : LLAVA_LIKELY;
            *joined = true;
            if (!add_also(f, judged, e)) {
                return false;
            }
        }
    }
    return true;
}

/* Where in the tensor: rows and heads that stand out. */
static void locate(const llava_judged *j, char *where, size_t size)
{
    const llava_comparison *c = &j->local;
    where[0] = '\0';
    if (j->other_shape) {
        char mine[64], theirs[64];
        snprintf(where, size, "the model has %s, the port %s",
                 j->model_rank == 0
                     ? "another shape"
                     : llava_shape_text(mine, sizeof mine, j->model_rank, j->model_shape),
                 llava_shape_text(theirs, sizeof theirs, j->rank, j->shape));
        return;
    }
    if (c->mismatched > 0) {
        snprintf(where, size, "NaN or infinity in %llu of %llu elements, the first at %zu",
                 (unsigned long long)c->mismatched, (unsigned long long)c->count, c->worst_index);
        return;
    }
    if (j->exact || c->count == 0) {
        return;
    }
    size_t used =
        (size_t)snprintf(where, size, "worst row %zu (%.1e)", c->worst_row, c->worst_row_l2);
    if (c->worst_head_l2 > 4 * c->rel_l2 / 3 && used < size) {
        snprintf(where + used, size - used, ", worst head %zu (%.1e)", c->worst_head,
                 c->worst_head_l2);
    }
}

/* Is it computed from a tensor of another shape than the model's? Then the reference's own stood in
 * for that, and what is wrong here came from before. */
static bool behind_other_shape(const llava_diagnosis *r, const llava_span *span)
{
    for (size_t i = 0; i < span->from_count; i++) {
        for (size_t k = 0; k < r->count; k++) {
            if (r->taps[k].other_shape && strcmp(r->taps[k].name, span->from[i]) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Is this tap read off a table of the weights? Ports that keep their matrices in a narrow type may
 * or may not keep the tables of tokens and positions so: either is the same rounding. */
static bool reads_table(const llava_judged *j)
{
    return strcmp(j->name, "text.embed") == 0 || strcmp(j->name, "vision.embed") == 0;
}

/* A tap off a table, wrong with the rounding of weights that the port has everywhere else: right
 * where its tables are as stored. */
static bool forgive_table(diagnoser *d, llava_judged *j, const llava_span *span, llava_error *e)
{
    llava_cause stored = {.id = {LLAVA_NUMERICS_WEIGHTS}, .value = {0}, .count = 1};
    if (d->base.value[LLAVA_NUMERICS_WEIGHTS] == 0 || !reads_table(j)) {
        return true;
    }
    if (!llava_trial_cause(&d->trial, span, &stored, e)) {
        return false;
    }
    j->wrong = !llava_explained(stored.error, stored.error_max, j);
    return true;
}

static bool find_causes(diagnoser *d, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    for (size_t i = 0; i < r->count; i++) {
        llava_span span;
        bool joined = false;
        if (!r->taps[i].wrong) {
            continue;
        }
        if (!llava_span_find(&span, r->taps[i].name, d->port, &d->session.plan, e)) {
            return false;
        }
        bool ok = forgive_table(d, &r->taps[i], &span, e) &&
                  (!r->taps[i].wrong || join_earlier(d, i, &span, &joined, e));
        r->taps[i].inherited = !joined && behind_other_shape(r, &span);
        llava_span_free(&span);
        if (!ok) {
            return false;
        }
        if (joined || r->taps[i].inherited || !r->taps[i].wrong) {
            continue;
        }
        llava_finding *f = add_finding(d, i, e);
        if (f == NULL || !llava_trial_search(&d->trial, &r->taps[i], f, e)) {
            return false;
        }
        locate(&r->taps[i], f->where, sizeof f->where);
    }
    return true;
}

static bool is_rounding(llava_decision_id id)
{
    return strncmp(llava_decision_at(id)->name, "numerics.", 9) == 0;
}

/* What a cause does to the taps that do not share it as their finding. */
typedef struct {
    size_t mended, broken; /* wrong taps that it explains, right ones that it spoils */
    double left;           /* sum of squares of what remains in the mended ones */
} effect_on_all;

static bool survey(diagnoser *d, const llava_cause *cause, effect_on_all *on, llava_error *e)
{
    const llava_diagnosis *r = &d->result;
    *on = (effect_on_all){0};
    llava_remains *remains = llava_alloc(e, r->count, sizeof *remains);
    bool ok =
        remains != NULL && llava_trial_survey(&d->trial, cause, r->taps, r->count, remains, e);
    for (size_t i = 0; ok && i < r->count; i++) {
        const llava_judged *j = &r->taps[i];
        const llava_remains *left = &remains[i];
        if (left->error == (double)INFINITY && !j->other_shape && j->local.mismatched == 0 &&
            j->exact) {
            continue; /* an input: no part of the replay */
        }
        bool explained = llava_explained(left->error, left->error_max, j);
        on->mended += j->wrong && explained;
        bool table = cause->id[0] == LLAVA_NUMERICS_WEIGHTS && reads_table(j);
        on->broken += !j->wrong && !explained && !table && strcmp(j->name, "pixel_values") != 0;
        on->left += j->wrong && explained ? left->error * left->error : 0;
    }
    free(remains);
    return ok;
}

/* Is the one better than the other as an account of the whole port? What remains must be half as
 * large to count: below that it is luck. */
static bool accounts_better(const effect_on_all *a, const effect_on_all *b)
{
    if (a->broken != b->broken) {
        return a->broken < b->broken;
    }
    return a->mended != b->mended ? a->mended > b->mended : a->left < b->left / 4;
}

/* Are all decisions of all causes of a finding roundings? */
static bool all_roundings(const llava_finding *f)
{
    bool all = f->cause_count > 0;
    for (size_t c = 0; c < f->cause_count; c++) {
        for (size_t k = 0; k < f->causes[c].count; k++) {
            all &= is_rounding(f->causes[c].id[k]);
        }
    }
    return all;
}

/* Moves the rounding among the findings' causes that holds in every span, and explains most, into
 * the base that the port is held against; *moved says whether there was one. A rounding that acts
 * in one layer and not in the others stays a finding. */
static bool adopt_rounding(diagnoser *d, bool *moved, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    effect_on_all best = {0};
    llava_cause adopted = {.count = 0};
    *moved = false;
    for (size_t i = 0; i < r->finding_count; i++) {
        const llava_finding *f = &r->findings[i];
        for (size_t c = 0; all_roundings(f) && c < f->cause_count; c++) {
            for (size_t k = 0; k < f->causes[c].count; k++) {
                llava_cause one = {.id = {f->causes[c].id[k]}, .value = {f->causes[c].value[k]}};
                effect_on_all on;
                one.count = 1;
                one.error = f->causes[c].error;
                if (!survey(d, &one, &on, e)) {
                    return false;
                }
                if (on.broken == 0 && (adopted.count == 0 || accounts_better(&on, &best))) {
                    adopted = one;
                    best = on;
                }
            }
        }
    }
    if (adopted.count > 0 && r->rounding_count < 16) {
        *moved = true;
        d->base.value[adopted.id[0]] = adopted.value[0];
        r->rounding[r->rounding_count++] = adopted;
    }
    return true;
}

/* Of several likely causes, those remain that account best for the whole port: a decision is taken
 * once, so one that would spoil right taps elsewhere is not it. */
static bool narrow_causes(diagnoser *d, llava_finding *f, llava_error *e)
{
    effect_on_all on[LLAVA_MOST_CAUSES];
    size_t best = 0, count = 0;
    for (size_t c = 0; c < f->cause_count; c++) {
        if (!survey(d, &f->causes[c], &on[c], e)) {
            return false;
        }
        best = accounts_better(&on[c], &on[best]) ? c : best;
    }
    llava_cause left[LLAVA_MOST_CAUSES];
    left[count++] = f->causes[best];
    for (size_t c = 0; c < f->cause_count; c++) {
        if (c != best && on[c].broken == on[best].broken && on[c].mended == on[best].mended) {
            left[count++] = f->causes[c];
        }
    }
    memcpy(f->causes, left, count * sizeof *left);
    f->cause_count = count;
    f->confidence = count == 1 ? LLAVA_CERTAIN : LLAVA_LIKELY;
    return true;
}

static bool narrow_all(diagnoser *d, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    for (size_t i = 0; i < r->finding_count; i++) {
        if (r->findings[i].cause_count > 1 && !narrow_causes(d, &r->findings[i], e)) {
            return false;
        }
    }
    return true;
}

/* Where neither the port's positions nor --positions are there, both conventions are honest: a
 * finding that the other one explains is none. */
static bool take_other_convention(diagnoser *d)
{
    const llava_diagnosis *r = &d->result;
    if (d->o.request.positions_given || d->session.convention == LLAVA_POSITIONS_GENERATE ||
        d->inputs.position_ids != NULL) {
        return false;
    }
    for (size_t i = 0; i < r->finding_count; i++) {
        for (size_t c = 0; c < r->findings[i].cause_count; c++) {
            const llava_cause *one = &r->findings[i].causes[c];
            if (one->count == 1 && one->id[0] == LLAVA_TEXT_POSITIONS &&
                one->value[0] == LLAVA_TEXT_POSITIONS_MASK_CUMULATIVE) {
                d->session.convention = LLAVA_POSITIONS_GENERATE;
                return true;
            }
        }
    }
    return false;
}

static void forget_findings(llava_diagnosis *r)
{
    for (size_t i = 0; i < r->finding_count; i++) {
        llava_span_free(&r->findings[i].span);
        free(r->findings[i].also);
    }
    free(r->findings);
    r->findings = NULL;
    r->finding_count = 0;
}

static void forget_taps(llava_diagnosis *r, size_t keep)
{
    while (r->count > keep) {
        free(r->taps[--r->count].name);
    }
}

void llava_diagnosis_free(llava_diagnosis *r)
{
    forget_findings(r);
    forget_taps(r, 0);
    free(r->taps);
    *r = (llava_diagnosis){0};
}

/* ---- the whole
 * -------------------------------------------------------------------------------------- */

/* The mask of what counts; without one every position does, but still not a later key's score. */
static bool count_positions(diagnoser *d, llava_error *e)
{
    const size_t count = d->inputs.batch * d->inputs.length;
    if (d->inputs.sees != NULL) {
        return llava_counting_square(&d->counting, d->inputs.batch, d->inputs.length,
                                     d->inputs.sees, e);
    }
    if (d->inputs.attention_mask != NULL) {
        return copy_ids(&d->counting.mask, d->inputs.attention_mask, count, e);
    }
    d->counting.mask = llava_alloc(e, count, sizeof(int64_t));
    for (size_t i = 0; d->counting.mask != NULL && i < count; i++) {
        d->counting.mask[i] = 1;
    }
    return d->counting.mask != NULL;
}

static bool take_inputs(diagnoser *d, llava_error *e)
{
    bool ok = copy_inputs(d, e) && judge_pictures(d, e) && take_pixels(d, e) && take_ids(d, e) &&
              take_answer(d, e);
    if (!ok) {
        return false;
    }
    d->counting.batch = d->inputs.batch;
    d->counting.length = d->inputs.length;
    d->counting.text_plan = &d->session.plan.text;
    return count_positions(d, e) &&
           llava_counting_add_pictures(&d->counting, &d->session.plan, &d->inputs, e);
}

/* Is there a step tap among the port's? Then its dump is of a generation. */
static size_t port_steps(const diagnoser *d)
{
    size_t steps = 0;
    for (size_t i = 0; i < llava_port_count(d->port); i++) {
        llava_tap_place place;
        const char *name = llava_port_at(d->port, i)->name;
        if (strncmp(name, "step.", 5) == 0 && llava_tap_find(name, &place)) {
            steps = place.step > steps ? place.step : steps;
        }
    }
    return steps;
}

static void note_unknown(llava_diagnosis *r, const char *name)
{
    if (r->unknown_count++ == 0) {
        snprintf(r->unknown, sizeof r->unknown, "%s", name);
    }
}

/* Tensors of the port that the diagnosis never came to. Inputs count as seen: they are used. */
static void find_unknown(diagnoser *d)
{
    llava_diagnosis *r = &d->result;
    for (size_t i = 0; i < llava_port_extra_count(d->port); i++) {
        note_unknown(r, llava_port_extra_at(d->port, i));
    }
    for (size_t i = 0; i < llava_port_count(d->port); i++) {
        const llava_port_tensor *t = llava_port_at(d->port, i);
        bool seen = !t->floating || strcmp(t->name, "pixel_values") == 0;
        for (size_t k = 0; k < r->count && !seen; k++) {
            seen = strcmp(r->taps[k].name, t->name) == 0;
        }
        if (!seen) {
            note_unknown(r, t->name);
        }
    }
}

static void conclude(diagnoser *d)
{
    find_unknown(d);
    llava_diagnosis *r = &d->result;
    bool found = false;
    for (size_t i = 0; i < r->count; i++) {
        llava_judged *j = &r->taps[i];
        found |= j->wrong;
        j->inherited |= found && !j->wrong && j->total > 10 * j->noise;
    }
    r->verdict = r->count == 0          ? LLAVA_CANNOT_JUDGE
                 : r->finding_count > 0 ? LLAVA_DIFFER
                                        : LLAVA_PASS;
    r->note = r->count == 0 ? "it holds no tap of this model" : NULL;
}

static size_t count_wrong(const llava_diagnosis *r, size_t from)
{
    size_t wrong = 0;
    for (size_t i = from; i < r->count; i++) {
        wrong += r->taps[i].wrong;
    }
    return wrong;
}

/* Replays; keep: taps that were judged before. Where a float64 port supplies nothing to recognise
 * float32 islands by, they are assumed if with them fewer spans are wrong. */
static bool replay_again(diagnoser *d, size_t keep, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    forget_taps(r, keep);
    if (!replay(d, e)) {
        return false;
    }
    size_t without = count_wrong(r, keep);
    if (r->type != LLAVA_F64 || r->islands || d->shows_islands || without == 0) {
        return true;
    }
    forget_taps(r, keep);
    r->islands = true;
    if (!replay(d, e)) {
        return false;
    }
    if (count_wrong(r, keep) >= without) {
        r->islands = false;
        forget_taps(r, keep);
        return replay(d, e);
    }
    return true;
}

static bool examine(diagnoser *d, llava_error *e)
{
    size_t inputs_judged, steps = port_steps(d);
    bool moved = true;
    if (steps > 0 && !d->o.request.positions_given) {
        d->session.convention = LLAVA_POSITIONS_GENERATE; /* as generate() counts */
    }
    if (!measure_types(d, e) || !take_inputs(d, e)) {
        return false;
    }
    inputs_judged = d->result.count;
    d->trial = (llava_trial){
        .spec = {.session = &d->session,
                 .inputs = &d->inputs,
                 .port = d->port,
                 .forced = true,
                 .generates = steps > 0,
                 /* without generated_ids: what follows from the port's own logits */
                 .tokens = d->inputs.answer != NULL ? d->inputs.answer_length : steps + 1},
        .counting = &d->counting,
        .base = &d->base,
        .type = d->result.type,
    };
    llava_error fits;
    if (!llava_inputs_check(&d->inputs, &d->session.plan, &fits)) {
        /* the port's ids and pictures do not go together: only the findings so far stand */
        llava_warn(fits.text);
        return find_causes(d, e);
    }
    if (d->session.weights == NULL) { /* nothing behind pictures and ids is supplied */
        return find_causes(d, e);
    }
    while (moved) {
        forget_findings(&d->result);
        if (!replay_again(d, inputs_judged, e) || !find_causes(d, e)) {
            return false;
        }
        moved = take_other_convention(d);
        if (!moved && !adopt_rounding(d, &moved, e)) {
            return false;
        }
    }
    return narrow_all(d, e) && measure_totals(d, e);
}

/* Does the port supply anything behind the picture stage and the ids? */
static bool needs_weights(const diagnoser *d)
{
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    for (size_t i = 0; i < llava_port_count(d->port); i++) {
        llava_tap_place place;
        if (llava_tap_find(llava_port_at(d->port, i)->name, &place) &&
            kinds[place.kind].at > LLAVA_AT_INPUT) {
            return true;
        }
    }
    return false;
}

static bool open_all(diagnoser *d, llava_error *e)
{
    const diagnose_options *o = &d->o;
    return llava_session_open(&d->session, &o->request, e) &&
           llava_port_open(&d->port, o->dump, o->map, &d->session.plan, e) &&
           (!needs_weights(d) || llava_session_weights(&d->session, e));
}

static bool write_json(const llava_diagnosis *r, const char *path, llava_error *e)
{
    cJSON *json = llava_diagnosis_json(r);
    bool ok = llava_json_write(json, path, e);
    cJSON_Delete(json);
    return ok;
}

/* ---- the page's pictures
 * ------------------------------------------------------------------------ */

/* The first wrong tap: the reference's own values and the port's. */
typedef struct {
    diagnoser *d;
    const llava_judged *judged;
    const double *mine; /* or */
    const int64_t *ids;
    const llava_port_tensor *tensor;
    llava_view **view;
} sight;

static bool read_sight(void *self, size_t first, size_t n, double *expected, double *actual,
                       llava_error *e)
{
    const sight *s = self;
    for (size_t i = 0; i < n; i++) {
        expected[i] = s->mine != NULL ? s->mine[first + i] : (double)s->ids[first + i];
    }
    return llava_port_read(s->d->port, s->tensor, first, n, actual, e);
}

static bool make_view(sight *s, llava_error *e)
{
    const llava_judged *j = s->judged;
    llava_view_source source = {.read = read_sight,
                                .self = s,
                                .counting = &s->d->counting,
                                .given = s->tensor,
                                .name = j->name,
                                .rank = j->rank,
                                .shape = j->shape,
                                .comparison = &j->local};
    return llava_view_make(s->view, &source, e);
}

/* While replaying: looks at the one tap, and stops there. */
static bool see(void *self, const llava_tap *tap, const llava_port_tensor *tensor, llava_error *e)
{
    sight *s = self;
    if (strcmp(tap->name, s->judged->name) != 0) {
        return true;
    }
    s->mine = tap->data;
    s->tensor = tensor;
    return make_view(s, e) && llava_fail(e, "seen");
}

/* What goes in lies in the session. */
static bool see_input(sight *s, bool *done, llava_error *e)
{
    const llava_inputs *in = &s->d->session.inputs;
    const char *name = s->judged->name;
    const size_t *shape = s->judged->shape;
    s->tensor = llava_port_find(s->d->port, name);
    s->mine = strcmp(name, "pixel_values") == 0 ? in->pixel_values : NULL;
    s->ids = strcmp(name, "input_ids") == 0        ? in->input_ids
             : strcmp(name, "attention_mask") == 0 ? in->attention_mask
                                                   : NULL;
    bool pixels = s->mine != NULL && s->judged->rank == 4 && shape[0] == in->pictures &&
                  shape[1] == 3 && shape[2] == in->height && shape[3] == in->width;
    bool ids =
        s->ids != NULL && s->judged->rank == 2 && shape[0] == in->batch && shape[1] == in->length;
    *done = s->judged->exact || strcmp(name, "pixel_values") == 0;
    return !(pixels || ids) || make_view(s, e);
}

/* The first wrong tap as pictures; NULL where nothing is wrong, or it cannot be seen. */
static bool view_first(diagnoser *d, llava_view **view, llava_error *e)
{
    bool done;
    llava_plan plan;
    *view = NULL;
    if (d->result.finding_count == 0) {
        return true;
    }
    sight s = {.d = d, .judged = &d->result.taps[d->result.findings[0].judged], .view = view};
    if (!see_input(&s, &done, e) || done) {
        return done;
    }
    if (!llava_plan_make(&plan, &d->session.config, &d->base, LLAVA_F64, false, e)) {
        return false;
    }
    llava_replay_spec spec = d->trial.spec;
    spec.plan = &plan;
    return llava_replay_run(&spec, NULL, see, &s, e) || *view != NULL;
}

static bool write_html(diagnoser *d, llava_error *e)
{
    llava_view *view;
    bool ok = view_first(d, &view, e) &&
              llava_report_diagnosis(&d->result, &d->session, view, d->o.html, e);
    llava_view_free(view);
    return ok;
}

static int diagnose(int argc, char **argv, llava_error *e)
{
    diagnoser d = {0};
    bool ok = read_options(&d.o, argc, argv, e) && open_all(&d, e) && examine(&d, e);
    if (ok) {
        d.result.port = d.o.dump;
        conclude(&d);
        bool taken = (d.o.json != NULL && strcmp(d.o.json, "-") == 0) ||
                     (d.o.html != NULL && strcmp(d.o.html, "-") == 0);
        llava_diagnosis_print(&d.result, taken ? stderr : stdout);
        ok = (d.o.json == NULL || write_json(&d.result, d.o.json, e)) &&
             (d.o.html == NULL || write_html(&d, e));
    }
    llava_verdict verdict = d.result.verdict;
    if (ok && verdict == LLAVA_CANNOT_JUDGE) {
        llava_fail(e, "%s: %s", d.o.dump, d.result.note);
    }
    llava_diagnosis_free(&d.result);
    llava_port_close(d.port);
    llava_inputs_free(&d.inputs);
    llava_counting_free(&d.counting);
    llava_session_close(&d.session);
    llava_request_free(&d.o.request);
    return !ok || verdict == LLAVA_CANNOT_JUDGE ? LLAVA_CANNOT
           : verdict == LLAVA_DIFFER            ? LLAVA_DIFFERS
                                                : LLAVA_DONE;
}

const llava_command llava_command_diagnose = {
    "diagnose", diagnose,
    "--model DIR (--inputs IN.npz | [--image FILE]... --prompt|--chat|--messages WORDS) --dump "
    "PORT [--map MAP]",
    "find where a port departs from the model, and why",
    "\n"
    "  --dump PORT     the port's dump: all taps or a few\n"
    "  --map MAP       the port's names and layouts: a file, or a built-in map's name\n"
    "  --positions forward|generate  only this convention is right (else either is)\n"
    "  --feature-layer, --feature-select  as for run\n"
    "  --json FILE     the result for machines; - is standard output\n"
    "  --html FILE     the result as one page, with pictures of the first wrong tensor\n"
    "\n"
    "exit status: 0 nothing but rounding, 1 something found, 2 cannot judge\n"
    "\n"
    "example:\n"
    "  llava-ref diagnose --model golden/plain/model --inputs golden/plain/inputs.npz \\\n"
    "    --dump golden/plain/bf16.npz\n"};
