/* One forward pass of LlavaForConditionalGeneration. Reading llava_forward is reading LLaVA. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

/* Above it a float64 angle does not know its position any more, and position + 1 might overflow. */
#define MAX_POSITION (INT64_C(1) << 53)

void llava_inputs_free(llava_inputs *in)
{
    free(in->input_ids);
    free(in->inputs_embeds);
    free(in->attention_mask);
    free(in->sees);
    free(in->mask_bias);
    free(in->position_ids);
    free(in->labels);
    free(in->pixel_values);
    free(in->image_sizes);
    free(in->answer);
    *in = (llava_inputs){0};
}

void llava_outputs_free(llava_outputs *out)
{
    free(out->logits);
    *out = (llava_outputs){0};
}

size_t llava_count_image_tokens(const llava_inputs *in, const llava_plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; in->input_ids != NULL && i < in->batch * in->length; i++) {
        count += in->input_ids[i] == plan->image_token;
    }
    return count;
}

/* Every id of ids[B, S] is in [0, vocab), or `besides`. */
static bool check_ids(const llava_inputs *in, const char *name, const int64_t *ids, size_t vocab,
                      int64_t besides, llava_error *e)
{
    for (size_t i = 0; ids != NULL && i < in->batch * in->length; i++) {
        if ((ids[i] < 0 || (size_t)ids[i] >= vocab) && ids[i] != besides) {
            return llava_fail(e, "%s: %lld at [%zu, %zu] is not below the vocabulary's %zu", name,
                              (long long)ids[i], i / in->length, i % in->length, vocab);
        }
    }
    return true;
}

bool llava_image_sizes_check(const llava_inputs *in, const llava_plan *plan, llava_error *e)
{
    if (in->image_sizes == NULL) {
        return true;
    }
    if (plan->vision.tower != LLAVA_TOWER_PIXTRAL) {
        return llava_fail(e, "image_sizes: only a Pixtral tower takes them");
    }
    if (plan->vision.select != LLAVA_ROWS_FULL) {
        return llava_fail(e, "image_sizes: with the strategy `default` one row of all pictures is "
                             "dropped, and transformers cannot split the others among them");
    }
    if (in->pixel_values == NULL) {
        return llava_fail(e, "image_sizes: there are no pixel_values");
    }
    int64_t patch = (int64_t)plan->vision.patch;
    for (size_t i = 0; i < in->pictures; i++) {
        int64_t height = in->image_sizes[2 * i], width = in->image_sizes[2 * i + 1];
        if (height < patch || width < patch || (uint64_t)height > in->height ||
            (uint64_t)width > in->width) {
            return llava_fail(e,
                              "image_sizes: %lldx%lld at [%zu] is not from one patch, %lldx%lld, "
                              "to the pixels' %zux%zu",
                              (long long)height, (long long)width, i, (long long)patch,
                              (long long)patch, in->height, in->width);
        }
    }
    return true;
}

/* Pixels of the tower's size, and as many image tokens as they give rows. */
static bool check_pictures(const llava_inputs *in, const llava_plan *plan, llava_error *e)
{
    const llava_vision_plan *v = &plan->vision;
    size_t side = v->image_size;
    if (!llava_image_sizes_check(in, plan, e)) {
        return false;
    }
    if (in->pixel_values == NULL) {
        return true;
    }
    if (v->tower == LLAVA_TOWER_PIXTRAL) {
        if (in->height < v->patch || in->width < v->patch) {
            return llava_fail(e, "pixel_values: %zux%zu, less than one patch of %zux%zu",
                              in->height, in->width, v->patch, v->patch);
        }
    } else if (in->height != side || in->width != side) {
        return llava_fail(e, "pixel_values: %zux%zu, but the tower takes %zux%zu", in->height,
                          in->width, side, side);
    }
    llava_tower_shape shape = llava_tower_shape_of(plan, in);
    size_t tokens = llava_count_image_tokens(in, plan);
    size_t rows = shape.sequences * shape.feature_rows;
    const char *plural = in->pictures == 1 ? "" : "s";
    if (in->input_ids == NULL || tokens == rows) {
        return true;
    }
    return v->tower == LLAVA_TOWER_PIXTRAL
               ? llava_fail(e,
                            "input_ids: %zu image tokens, but %zu picture%s of their sizes need "
                            "%zu",
                            tokens, in->pictures, plural, rows)
               : llava_fail(e,
                            "input_ids: %zu image tokens, but %zu picture%s of %zu rows need %zu",
                            tokens, in->pictures, plural, shape.feature_rows, rows);
}

size_t llava_logit_rows(const llava_inputs *in)
{
    size_t keep = in->logits_to_keep;
    return keep == 0 || keep > in->length ? in->length : keep;
}

bool llava_inputs_check(const llava_inputs *in, const llava_plan *plan, llava_error *e)
{
    size_t vocab = plan->text.vocab;
    if (in->batch == 0 || in->length == 0) {
        return llava_fail(e, "no tokens: [%zu, %zu]", in->batch, in->length);
    }
    if ((in->input_ids == NULL) == (in->inputs_embeds == NULL)) {
        return llava_fail(e, "exactly one of input_ids and inputs_embeds is needed");
    }
    if (in->inputs_embeds != NULL && in->embeds_width != plan->text.hidden) {
        return llava_fail(e, "inputs_embeds: width %zu, but the language model's is %zu",
                          in->embeds_width, plan->text.hidden);
    }
    for (size_t i = 0; in->attention_mask != NULL && i < in->batch * in->length; i++) {
        if (in->attention_mask[i] != 0 && in->attention_mask[i] != 1) {
            return llava_fail(e, "attention_mask: %lld at [%zu, %zu] is neither 0 nor 1",
                              (long long)in->attention_mask[i], i / in->length, i % in->length);
        }
    }
    if (in->labels != NULL && llava_logit_rows(in) < in->length) {
        return llava_fail(e,
                          "logits_to_keep: %zu of %zu positions, but labels need the logits of all",
                          in->logits_to_keep, in->length);
    }
    for (size_t i = 0; in->position_ids != NULL && i < in->batch * in->length; i++) {
        if (in->position_ids[i] < 0) {
            return llava_fail(e, "position_ids: %lld at [%zu, %zu] is negative",
                              (long long)in->position_ids[i], i / in->length, i % in->length);
        }
        if (in->position_ids[i] > MAX_POSITION) {
            return llava_fail(e, "position_ids: %lld at [%zu, %zu] is above 2^53",
                              (long long)in->position_ids[i], i / in->length, i % in->length);
        }
    }
    return check_pictures(in, plan, e) &&
           check_ids(in, "input_ids", in->input_ids, vocab,
                     plan->image_token < 0 ? plan->image_token : 0, e) &&
           check_ids(in, "labels", in->labels, vocab, -100, e);
}

void llava_positions(const llava_plan *plan, const llava_inputs *in, llava_convention convention,
                     int64_t *positions)
{
    llava_text_positions rule = plan->text.positions;
    bool cumulative = convention == LLAVA_POSITIONS_GENERATE;
    bool given = in->position_ids != NULL;
    if (rule == LLAVA_TEXT_POSITIONS_MASK_IGNORED || rule == LLAVA_TEXT_POSITIONS_MASK_CUMULATIVE) {
        cumulative = rule == LLAVA_TEXT_POSITIONS_MASK_CUMULATIVE;
        given = false;
    }
    for (size_t b = 0; b < in->batch; b++) {
        int64_t *row = positions + b * in->length;
        int64_t seen = 0, shared = 0;
        bool after_image = false;
        for (size_t s = 0; s < in->length; s++) {
            size_t at = b * in->length + s;
            bool counts = in->attention_mask == NULL || in->attention_mask[at] != 0;
            seen += counts;
            int64_t position = cumulative ? (counts ? seen - 1 : 0) : (int64_t)s;
            row[s] = given ? in->position_ids[at] : position;
            bool image = in->input_ids != NULL && in->input_ids[at] == plan->image_token;
            if (rule == LLAVA_TEXT_POSITIONS_IMAGE_SHARED) {
                shared += image && after_image;
                row[s] -= shared < row[s] ? shared : row[s];
            } else if (rule == LLAVA_TEXT_POSITIONS_ONE_BASED) {
                row[s] += 1;
            }
            after_image = image;
        }
    }
}

/* attention_mask as it was given: [B, S], or [B, 1, S, S] of 0 and 1 or of what is added. */
static bool put_mask(llava_run *r, const llava_inputs *in, int64_t *mask)
{
    llava_shape square = {4, {in->batch, 1, in->length, in->length}};
    size_t count = in->batch * in->length * in->length;
    if (in->sees == NULL) {
        return llava_put_typed(r, LLAVA_I64, mask, (llava_shape){2, {in->batch, in->length}},
                               "attention_mask");
    }
    if (in->mask_bias != NULL) {
        return llava_put_typed(r, in->mask_type, in->mask_bias, square, "attention_mask");
    }
    if (!llava_wanted(r, "attention_mask")) {
        return true;
    }
    int64_t *shown = llava_alloc(r->error, count, sizeof(int64_t));
    for (size_t i = 0; shown != NULL && i < count; i++) {
        shown[i] = in->sees[i];
    }
    bool ok = shown != NULL && llava_put_typed(r, LLAVA_I64, shown, square, "attention_mask");
    free(shown);
    return ok;
}

/* The taps of what goes in. */
static bool put_inputs(llava_run *r, const llava_inputs *in, int64_t *mask, int64_t *positions)
{
    llava_shape shape = {2, {in->batch, in->length}};
    if (r->prefix[0] != '\0') { /* a decoding step: its ids are in generated_ids */
        return llava_put_typed(r, LLAVA_I64, positions, shape, "position_ids");
    }
    return (in->pixel_values == NULL ||
            llava_put_typed(r, in->pixel_type, in->pixel_values,
                            (llava_shape){4, {in->pictures, 3, in->height, in->width}},
                            "pixel_values")) &&
           (in->input_ids == NULL ||
            llava_put_typed(r, LLAVA_I64, in->input_ids, shape, "input_ids")) &&
           put_mask(r, in, mask) && llava_put_typed(r, LLAVA_I64, positions, shape, "position_ids");
}

/* Pictures to rows of the language model's width; *rows NULL where there are none or nobody asks.
 */
static bool look(llava_run *r, const llava_goal *goal, const llava_inputs *in, double **rows)
{
    llava_tower_shape of = llava_tower_shape_of(r->plan, in);
    llava_shape shape = {3, {of.sequences, of.feature_rows, r->plan->text.hidden}};
    size_t count = of.sequences * of.feature_rows;
    double *features = NULL;
    *rows = NULL;
    if (goal->rows_given) {
        *rows = llava_scratch(r, count, shape.size[2]);
        return *rows != NULL && llava_put(r, *rows, shape, "projector.out");
    }
    if (goal->features_given) {
        shape.size[2] = r->plan->vision.feature_width;
        features = llava_scratch(r, count, shape.size[2]);
        return features != NULL && llava_put(r, features, shape, "vision.features") &&
               llava_projector(r, &of, features, rows);
    }
    if (in->pixel_values == NULL || !goal->vision) {
        return true;
    }
    return llava_vision(r, goal, in, &features) &&
           (!goal->projector || llava_projector(r, &of, features, rows));
}

/* Logits of the positions that are to have them, or of the last one of each sample. */
static bool head(llava_run *r, const llava_goal *goal, const llava_inputs *in, const double *x,
                 llava_outputs *out)
{
    size_t width = r->plan->text.hidden, count;
    out->batch = in->batch;
    out->rows = goal->all_logits ? llava_logit_rows(in) : 1;
    out->vocab = r->plan->text.vocab;
    if (!llava_mul(out->batch * out->rows, out->vocab, &count) ||
        (out->logits = llava_alloc(r->error, count, sizeof(double))) == NULL) {
        return false;
    }
    bool whole = out->rows == in->length; /* one product for the batch: the weights are read once */
    r->only = goal->only;
    for (size_t b = 0; b < (whole ? 1 : in->batch); b++) {
        const double *last = x + ((b + 1) * in->length - out->rows) * width;
        if (!llava_logits(r, whole ? x : last, whole ? in->batch * in->length : out->rows,
                          out->logits + b * out->rows * out->vocab)) {
            return false;
        }
    }
    r->only = NULL;
    return !goal->all_logits ||
           llava_put(r, out->logits, (llava_shape){3, {out->batch, out->rows, out->vocab}},
                     "logits");
}

/* The pass itself, on memory that the caller holds. mask, positions: [B, S]. */
static bool pass(llava_run *r, const llava_goal *goal, const llava_inputs *in, llava_cache *cache,
                 int64_t *mask, int64_t *positions, llava_outputs *out)
{
    double *rows = NULL;
    double *x = llava_scratch(r, in->batch * in->length, r->plan->text.hidden);
    bool ok = x != NULL && put_inputs(r, in, mask, positions) && look(r, goal, in, &rows);
    ok = ok && (!goal->embed || llava_embed(r, in, x));
    ok = ok && (!goal->merge || llava_merge(r, in, rows, x));
    if (ok && goal->embeds_given) {
        ok = llava_put(r, x, (llava_shape){3, {in->batch, in->length, r->plan->text.hidden}},
                       "text.inputs_embeds");
    }
    llava_mask sight = {mask, in->sees, in->mask_bias, in->length};
    ok = ok && (!goal->rope || llava_prefill(r, goal, cache, positions, &sight, x));
    ok = ok && (!(goal->last_logits || goal->all_logits) || head(r, goal, in, x, out));
    if (ok && goal->loss) {
        out->has_loss = true;
        ok = llava_loss(r, out->logits, in, &out->loss);
    }
    return ok;
}

bool llava_forward(llava_run *r, const llava_goal *goal, const llava_inputs *in, int64_t *positions,
                   llava_cache *cache, llava_outputs *out)
{
    size_t count = in->batch * in->length;
    llava_cache own = {0};
    *out = (llava_outputs){0};
    if (cache == NULL) {
        if (!llava_cache_make(&own, r->plan, in->batch, r->chunk > 0, r->error)) {
            return false;
        }
        cache = &own;
    }
    llava_scratch_block *below = llava_scratch_mark(r);
    int64_t *mask = llava_alloc(r->error, count, sizeof(int64_t));
    bool ok = mask != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        mask[i] = in->attention_mask == NULL ? 1 : in->attention_mask[i];
    }
    ok = ok && pass(r, goal, in, cache, mask, positions, out);
    free(mask);
    llava_scratch_release(r, below);
    llava_cache_free(&own);
    if (!ok) {
        llava_outputs_free(out);
    }
    return ok;
}
