/* Diagnosis, what goes in: ids, mask, positions and pictures of the port against the run's own;
 * from there on the port's are used. */
#include "tools/diagnoser.h"

#include "tools/picture_trial.h"
#include "tools/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The port's integers of [B, S], or NULL in *ids where it supplies none. */
static bool load_ids(llava_diagnoser *d, const char *name, int64_t **ids, size_t *batch,
                     size_t *length, llava_error *e)
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
static bool copy_inputs(llava_diagnoser *d, llava_error *e)
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

/* Ids that must be equal. other: a second right answer, or NULL. */
static bool judge_ids(llava_diagnoser *d, const char *name, const int64_t *right,
                      const int64_t *other, size_t batch, size_t length, const int64_t *theirs,
                      size_t their_batch, size_t their_length, llava_error *e)
{
    size_t shape[2] = {their_batch, their_length}, unequal = 0, unlike = 0;
    llava_judged *j = llava_add_judged(d, name, 2, shape, e);
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
static bool judge_positions(llava_diagnoser *d, const int64_t *theirs, size_t batch, size_t length,
                            llava_error *e)
{
    const llava_inputs *in = &d->inputs;
    int64_t *forward = llava_alloc(e, in->batch * in->length, sizeof(int64_t));
    int64_t *generate = llava_alloc(e, in->batch * in->length, sizeof(int64_t));
    bool ok = forward != NULL && generate != NULL;
    if (ok) {
        bool said = d->positions_given;
        llava_convention own = d->session.convention;
        llava_positions(&d->session.plan, &d->inputs, said ? own : LLAVA_POSITIONS_FORWARD,
                        forward);
        llava_positions(&d->session.plan, &d->inputs, said ? own : LLAVA_POSITIONS_GENERATE,
                        generate);
        ok = judge_ids(d, "position_ids", forward, generate, in->batch, in->length, theirs, batch,
                       length, e);
    }
    free(forward);
    free(generate);
    return ok;
}

/* A mask of four dimensions, held against the inputs'; what follows is computed with theirs. */
static bool judge_square_mask(llava_diagnoser *d, llava_error *e)
{
    const llava_inputs *in = &d->inputs;
    const llava_port_tensor *t = llava_port_find(d->port, "attention_mask");
    if (in->sees == NULL || t == NULL || t->rank != 4) {
        return true;
    }
    size_t shape[4] = {in->batch, 1, in->length, in->length};
    llava_judged *j = llava_add_judged(d, t->name, t->rank, t->shape, e);
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

static bool fits(const llava_inputs *in, size_t batch, size_t length)
{
    return batch == in->batch && length == in->length;
}

static bool take_mask(llava_diagnoser *d, llava_error *e)
{
    llava_inputs *in = &d->inputs;
    int64_t *mask, *right;
    size_t batch, length, count = in->batch * in->length;
    if (!load_ids(d, "attention_mask", &mask, &batch, &length, e)) {
        return false;
    }
    if (mask == NULL) {
        return true;
    }
    right = llava_alloc(e, count, sizeof *right);
    for (size_t i = 0; right != NULL && i < count; i++) {
        right[i] = in->attention_mask == NULL ? 1 : in->attention_mask[i];
    }
    bool ok = right != NULL && judge_ids(d, "attention_mask", right, NULL, in->batch, in->length,
                                         mask, batch, length, e);
    free(right);
    if (fits(in, batch, length)) {
        free(in->attention_mask);
        in->attention_mask = mask;
    } else {
        free(mask);
    }
    return ok;
}

/* Positions of one sample hold for all, as in transformers. */
static bool take_positions(llava_diagnoser *d, llava_error *e)
{
    llava_inputs *in = &d->inputs;
    int64_t *positions;
    size_t batch, length;
    if (!load_ids(d, "position_ids", &positions, &batch, &length, e)) {
        return false;
    }
    if (positions == NULL) {
        return true;
    }
    if (batch == 1 && length == in->length) {
        int64_t *every = llava_realloc(e, positions, in->batch * length, sizeof *every);
        if (every == NULL) {
            free(positions);
            return false;
        }
        for (batch = 1; batch < in->batch; batch++) {
            memcpy(every + batch * length, every, length * sizeof *every);
        }
        positions = every;
    }
    bool ok = judge_positions(d, positions, batch, length, e);
    if (fits(in, batch, length)) {
        free(in->position_ids);
        in->position_ids = positions;
    } else {
        free(positions);
    }
    return ok;
}

static bool take_ids(llava_diagnoser *d, llava_error *e)
{
    llava_inputs *in = &d->inputs;
    int64_t *ids;
    size_t batch = in->batch, length = in->length;
    if (!load_ids(d, "input_ids", &ids, &batch, &length, e)) {
        return false;
    }
    bool ok = true;
    if (ids != NULL && in->input_ids != NULL) {
        ok = judge_ids(d, "input_ids", in->input_ids, NULL, in->batch, in->length, ids, batch,
                       length, e);
        if (!fits(in, batch, length)) {
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
    return ok && take_mask(d, e) && judge_square_mask(d, e) && take_positions(d, e);
}

/* The tokens that the port generated, for its own steps to be replayed. */
static bool take_answer(llava_diagnoser *d, llava_error *e)
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
static bool judge_pictures(llava_diagnoser *d, llava_error *e)
{
    static const llava_choices right = {0};
    for (size_t i = 0; d->session.pictures != NULL && i < llava_port_count(d->port); i++) {
        const llava_port_tensor *t = llava_port_at(d->port, i);
        if (strncmp(t->name, "image.", 6) != 0) {
            continue;
        }
        llava_judged *j = llava_add_judged(d, t->name, t->rank, t->shape, e);
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
static bool make_pixels(llava_diagnoser *d, llava_error *e)
{
    static const llava_choices right = {0};
    double *values;
    if (d->session.pictures == NULL) {
        return true;
    }
    if (!llava_picture_values(&d->session, &d->inputs, &right, d->port, &values, e)) {
        return false;
    }
    if (values != NULL) {
        free(d->inputs.pixel_values);
        d->inputs.pixel_values = values;
    }
    return true;
}

/* What the port's own pictures ask for, where their sizes are not the reference's: pixels of other
 * shapes, and other ids. What is wrong with the sizes has been said of the pictures. */
static bool take_sizes(llava_diagnoser *d, llava_error *e)
{
    static const llava_choices right = {0};
    llava_inputs *in = &d->inputs;
    const llava_inputs *own = &d->session.inputs;
    size_t bytes = 2 * in->pictures * sizeof *in->image_sizes;
    if (!llava_picture_sizes(&d->session, d->port, in, e)) {
        return false;
    }
    if (in->image_sizes == NULL || d->session.pictures == NULL ||
        memcmp(in->image_sizes, own->image_sizes, bytes) == 0) {
        return true;
    }
    free(in->pixel_values);
    in->pixel_values = llava_alloc(e, in->pictures * 3 * in->height * in->width, sizeof(double));
    free(in->input_ids);
    in->input_ids = NULL;
    return in->pixel_values != NULL && llava_session_encode(&d->session, &right, in->image_sizes,
                                                            &in->input_ids, &in->length, e);
}

/* Wrong pixel_values have been found, and no picture shows its size: what the port's ids say of it
 * goes on from there, with the port's pixels where they are of another shape (*theirs, taken). */
static bool take_stated_sizes(llava_diagnoser *d, const llava_port_tensor *t, double **theirs,
                              llava_error *e)
{
    static const llava_choices right = {0};
    llava_inputs *in = &d->inputs;
    int64_t *ids, *expected;
    size_t batch, length, n;
    if (t->rank != 4 || t->shape[0] != in->pictures || t->shape[1] != 3) {
        return true;
    }
    if (!load_ids(d, "input_ids", &ids, &batch, &length, e)) {
        return false;
    }
    bool stated =
        ids != NULL && batch == 1 &&
        llava_picture_sizes_of_ids(&d->session, ids, length, t->shape[2], t->shape[3], in);
    free(ids);
    if (!stated) {
        return true;
    }
    if (!llava_session_encode(&d->session, &right, in->image_sizes, &expected, &n, e)) {
        return false;
    }
    free(in->input_ids);
    in->input_ids = expected;
    in->length = n;
    if (*theirs != NULL) {
        free(in->pixel_values);
        in->pixel_values = *theirs;
        *theirs = NULL;
    }
    return true;
}

/* Two float32 operations behind bytes, whatever their order: an ulp or two, of (x - mean) / std
 * before x and mean cancel, so that a picture near the mean has more. A cast to 16 bits adds
 * nothing (llava_cast_pixels); a port whose tower computes in 16 bits may have computed these so.
 */
static void set_pixel_noise(const llava_diagnoser *d, llava_judged *j, const double *values,
                            size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += values[i] * values[i];
    }
    double cancelled = fmin(256, fmax(1, sqrt((double)n / squares)));
    bool narrow = j->type == LLAVA_F16 || j->type == LLAVA_BF16;
    double own = narrow && d->types[0] == j->type ? 0.5 * llava_unit(j->type) : 0;
    j->noise = cancelled * (own + 2 * llava_unit(LLAVA_F32));
    j->noise_max = 4 * j->noise;
}

/* pixel_values: judged, then the port's own are what the tower is replayed from. */
static bool take_pixels(llava_diagnoser *d, llava_error *e)
{
    llava_inputs *in = &d->inputs;
    const llava_port_tensor *t = llava_port_find(d->port, "pixel_values");
    if (t == NULL || in->pixel_values == NULL || !t->floating) {
        return make_pixels(d, e);
    }
    size_t shape[4] = {in->pictures, 3, in->height, in->width};
    llava_judged *j = llava_add_judged(d, "pixel_values", t->rank, t->shape, e);
    double *theirs;
    if (j == NULL || !llava_port_load(d->port, t, &theirs, e)) {
        return false;
    }
    bool same = t->rank == 4 && memcmp(t->shape, shape, sizeof shape) == 0;
    bool ok = true;
    j->type = llava_narrowest(theirs, t->count);
    set_pixel_noise(d, j, theirs, t->count);
    if (same) {
        /* from the port's own stages, where it gives any */
        ok = make_pixels(d, e);
        if (ok) {
            llava_cast_pixels(in->pixel_values, theirs, t->count);
            ok = llava_compare(&d->counting, "pixel_values", 4, shape, in->pixel_values, theirs,
                               &j->local, e);
        }
        j->wrong =
            !llava_explained(j->local.rel_l2, j->local.rel_max, j) || j->local.mismatched > 0;
        free(in->pixel_values);
        in->pixel_values = theirs;
        theirs = NULL;
    } else {
        j->wrong = j->other_shape = true;
        j->model_rank = 4;
        memcpy(j->model_shape, shape, sizeof shape);
        j->local.rel_l2 = (double)INFINITY;
    }
    if (ok && j->wrong) {
        ok = take_stated_sizes(d, t, &theirs, e);
    }
    free(theirs);
    return ok;
}

/* The mask of what counts; without one every position does, but still not a later key's score. */
static bool count_positions(llava_diagnoser *d, llava_error *e)
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

/* As many image tokens among the port's ids as there are rows of its pictures? If not, tower and
 * language model are judged apart. */
static void check_together(llava_diagnoser *d)
{
    llava_error why;
    d->inputs_fit = d->ids_fit = llava_inputs_check(&d->inputs, &d->session.plan, &why);
    if (!d->inputs_fit) {
        llava_inputs without = d->inputs;
        llava_error ignored;
        without.pixel_values = NULL;
        without.image_sizes = NULL;
        d->ids_fit = llava_inputs_check(&without, &d->session.plan, &ignored);
        llava_warn(why.text);
    }
}

bool llava_diagnose_inputs(llava_diagnoser *d, llava_error *e)
{
    bool ok = copy_inputs(d, e) && judge_pictures(d, e) && take_sizes(d, e) && take_pixels(d, e) &&
              take_ids(d, e) && take_answer(d, e);
    if (!ok) {
        return false;
    }
    d->inputs_judged = d->result.count;
    d->counting.batch = d->inputs.batch;
    d->counting.length = d->inputs.length;
    d->counting.text_plan = &d->session.plan.text;
    check_together(d);
    return count_positions(d, e) &&
           llava_counting_add_pictures(&d->counting, &d->session.plan, &d->inputs, e);
}
