/* Merging: the token table, and the picture rows put where the image tokens stand.
 *
 *   embeds[b,s] = table[ids[b,s]]
 *   walking (b, s) in row-major order, each image token takes the next picture row
 *
 * Pictures are used up globally in batch order: nothing but the counts ties a picture to a prompt.
 * Source: transformers models/llava/modeling_llava.py (masked_scatter); spec 3. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#define TABLE "language_model.model.embed_tokens.weight"

/* Row `id` of the token table. The inputs' own ids are checked before a run; the image token and
 * the pad id come from the configuration and are refused here, where they are used. */
static bool token_row(llava_run *r, const llava_numerics *n, int64_t id, double *row)
{
    const llava_text_plan *t = &r->plan->text;
    llava_weight table;
    if (id < 0 || (uint64_t)id >= t->vocab) {
        return llava_fail(r->error,
                          "config.json: image or pad token %lld is not below the vocabulary's %zu",
                          (long long)id, t->vocab);
    }
    if (!llava_checkpoint_need(r->weights, &table, TABLE, 2, (size_t[]){t->vocab, t->hidden},
                               r->error)) {
        return false;
    }
    llava_weight_row(n, &table, (size_t)id, t->hidden, row);
    return true;
}

bool llava_embed(llava_run *r, const llava_inputs *in, double *embeds)
{
    llava_numerics n = llava_numerics_of(&r->plan->numerics, LLAVA_KEEPS_TOKENS);
    size_t width = r->plan->text.hidden;
    if (in->inputs_embeds != NULL) {
        memcpy(embeds, in->inputs_embeds, in->batch * in->length * width * sizeof(double));
        llava_round_all(r->plan->numerics.storage, embeds, in->batch * in->length * width);
    }
    for (size_t i = 0; in->input_ids != NULL && i < in->batch * in->length; i++) {
        if (in->input_ids[i] < 0) { /* the original project's image token, which is no word */
            memset(embeds + i * width, 0, width * sizeof(double));
            continue;
        }
        if (!token_row(r, &n, in->input_ids[i], embeds + i * width)) {
            return false;
        }
    }
    return llava_put(r, embeds, (llava_shape){3, {in->batch, in->length, width}}, "text.embed");
}

/* given: as it came in, not yet of the run's type. */
static bool same_row(llava_dtype type, const double *given, const double *b, size_t width)
{
    size_t i = 0;
    while (i < width &&
           llava_round(type, given[i]) == b[i]) { /* as numbers: -0 equals 0, NaN equals nothing */
        i++;
    }
    return i == width;
}

/* places[i] = 1 where position i of [B, S] is an image token. With inputs_embeds the ids are not
 * known: a position is an image token where its whole row equals the image token's, as transformers
 * looks for it. (In what was given: text.embed may hold a port's own tensor by now.) */
static bool find_places(llava_run *r, const llava_inputs *in, uint8_t *places, size_t *found)
{
    size_t width = r->plan->text.hidden;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *row = llava_scratch(r, 1, width);
    llava_numerics stored = r->plan->numerics; /* embeddings given come from the model's table */
    stored.weights = LLAVA_WEIGHTS_STORED;
    *found = 0;
    if (row == NULL ||
        (in->input_ids == NULL && !token_row(r, &stored, r->plan->image_token, row))) {
        return false;
    }
    for (size_t i = 0; i < in->batch * in->length; i++) {
        bool image = in->input_ids != NULL
                         ? in->input_ids[i] == r->plan->image_token
                         : same_row(stored.storage, in->inputs_embeds + i * width, row, width);
        places[i] = image;
        *found += image;
    }
    llava_scratch_release(r, mark);
    return true;
}

/* The position of sample-relative index s that a row meant for s goes to. */
static size_t placed_at(llava_placement placement, size_t s, size_t length, size_t nth)
{
    switch (placement) {
    case LLAVA_PLACE_ONE_EARLY:
        return (s + length - 1) % length;
    case LLAVA_PLACE_ONE_LATE:
        return (s + 1) % length;
    case LLAVA_PLACE_FRONT:
        return nth;
    default:
        return s;
    }
}

/* order[i]: which of the pictures' rows the i-th image token takes. */
static void order_rows(const llava_plan *p, const llava_inputs *in, size_t count, size_t *order)
{
    size_t begin = 0; /* of the picture's rows */
    for (size_t picture = 0, next = 0; picture < in->pictures; picture++) {
        size_t rows = llava_picture_rows(p, in, picture);
        size_t at = p->pictures_reversed ? count - begin - rows : next;
        for (size_t row = 0; row < rows; row++) {
            order[at + row] = begin + row;
        }
        begin += rows;
        next += rows;
    }
}

static void scatter(const llava_plan *p, const llava_inputs *in, const uint8_t *places,
                    const size_t *order, const double *rows, double *embeds)
{
    size_t width = p->text.hidden, next = 0;
    for (size_t b = 0; b < in->batch; b++) {
        for (size_t s = 0, nth = 0; s < in->length; s++) {
            if (!places[b * in->length + s]) {
                continue;
            }
            size_t to = placed_at(p->placement, s, in->length, nth++);
            memcpy(embeds + (b * in->length + to) * width, rows + order[next++] * width,
                   width * sizeof(double));
        }
    }
}

/* Puts every picture row in its place. */
static bool place_rows(llava_run *r, const llava_inputs *in, const double *rows, double *embeds)
{
    llava_tower_shape of = llava_tower_shape_of(r->plan, in);
    size_t found, have = of.sequences * of.feature_rows;
    uint8_t *places = llava_alloc(r->error, in->batch * in->length, 1);
    size_t *order = places == NULL ? NULL : llava_alloc(r->error, have, sizeof *order);
    bool ok = order != NULL && find_places(r, in, places, &found);
    if (ok && found != have) {
        ok = llava_fail(r->error, "%zu image tokens in the text, but %zu picture%s give%s %zu rows",
                        found, in->pictures, in->pictures == 1 ? "" : "s",
                        in->pictures == 1 ? "s" : "", have);
    }
    if (ok) {
        order_rows(r->plan, in, have, order);
        scatter(r->plan, in, places, order, rows, embeds);
    }
    free(order);
    free(places);
    return ok;
}

bool llava_merge(llava_run *r, const llava_inputs *in, const double *rows, double *embeds)
{
    const llava_plan *p = r->plan;
    size_t positions = in->batch * in->length, width = p->text.hidden;
    if (rows != NULL && !place_rows(r, in, rows, embeds)) {
        return false;
    }
    for (size_t i = 0; p->merge_scale != 1 && i < positions * width; i++) {
        embeds[i] = llava_round(p->numerics.storage, embeds[i] * p->merge_scale);
    }
    return llava_put(r, embeds, (llava_shape){3, {in->batch, in->length, width}},
                     "text.inputs_embeds");
}
