#include "counting.h"

#include <stdlib.h>
#include <string.h>

bool llava_counting_add_picture(llava_counting *c, size_t patches, llava_error *e)
{
    size_t all;
    if (!llava_add(c->patches, patches, &all)) {
        return llava_fail(e, "too many patches");
    }
    size_t *grown = llava_realloc(e, c->picture_of, all, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    c->picture_of = grown;
    while (c->patches < all) {
        c->picture_of[c->patches++] = c->pictures;
    }
    c->pictures++;
    return true;
}

bool llava_counting_add_pictures(llava_counting *c, const llava_plan *plan, const llava_inputs *in,
                                 llava_error *e)
{
    bool ok = true, shared = plan->vision.tower == LLAVA_TOWER_PIXTRAL;
    for (size_t i = 0; ok && shared && i < in->pictures; i++) {
        llava_grid grid = llava_grid_of(plan, in, i);
        ok = llava_counting_add_picture(c, grid.rows * grid.columns, e);
    }
    return ok;
}

void llava_counting_free(llava_counting *c)
{
    free(c->mask);
    free(c->sees);
    free(c->flipped);
    free(c->picture_of);
    *c = (llava_counting){0};
}

bool llava_counting_square(llava_counting *counting, size_t batch, size_t length,
                           const uint8_t *sees, llava_error *e)
{
    size_t rows = batch * length;
    counting->batch = batch;
    counting->length = length;
    counting->mask = llava_alloc(e, rows, sizeof(int64_t));
    counting->sees = llava_alloc(e, rows, length);
    if (counting->mask == NULL || counting->sees == NULL) {
        return false;
    }
    memcpy(counting->sees, sees, rows * length);
    for (size_t i = 0; i < rows; i++) {
        counting->mask[i] = memchr(sees + i * length, 1, length) != NULL;
    }
    return true;
}

static bool is_key_kind(const char *kind)
{
    size_t n = strlen(kind);
    return n > 7 && (strcmp(kind + n - 7, ".scores") == 0 || strcmp(kind + n - 6, ".probs") == 0);
}

llava_row_counting llava_count_rows(const llava_counting *counting, const char *name, int rank,
                                    const size_t *shape)
{
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    llava_tap_place place;
    llava_row_counting c = {.counting = counting, .per_sample = 1, .per_query = 1};
    c.width = rank == 0 ? 1 : shape[rank - 1];
    if (rank < 2 || !llava_tap_find(name, &place)) {
        return c;
    }
    if (counting->flipped != NULL && rank > 2 && shape[0] == counting->flipped_batch) {
        c.step = place.step;
        c.of_sample = 1;
        for (int i = 1; i < rank - 1; i++) {
            c.of_sample *= shape[i];
        }
    }
    const llava_tap_kind *kind = &kinds[place.kind];
    if (kind->at == LLAVA_AT_VISION_LAYER && is_key_kind(kind->name) && rank == 4 &&
        counting->pictures > 1 && shape[2] == counting->patches && shape[3] == shape[2]) {
        c.queries = shape[2];
        c.picture_of = counting->picture_of;
    }
    if (counting->length == 0) {
        return c;
    }
    if (rank == 2) { /* what stands at padding is each implementation's own choice: 0, 1, or on */
        c.positions = place.step == 0 && strcmp(name, "position_ids") == 0 &&
                      shape[0] == counting->batch && shape[1] == counting->length;
        return c;
    }
    bool text = kind->at == LLAVA_AT_EMBED || kind->at == LLAVA_AT_MERGE ||
                kind->at == LLAVA_AT_ROPE || kind->at == LLAVA_AT_TEXT_LAYER ||
                kind->at == LLAVA_AT_NORM || kind->at == LLAVA_AT_LOGITS;
    bool keys = text && is_key_kind(kind->name);
    size_t queries = keys ? shape[2] : shape[1];
    size_t past = place.step == 0 ? 0 : counting->length + place.step - 1;
    if (kind->at == LLAVA_AT_LOGITS && place.step == 0 && queries < counting->length) {
        past = counting->length - queries; /* logits_to_keep: the last positions */
    }
    bool fits = shape[0] == counting->batch &&
                (place.step > 0 || past + queries == counting->length) &&
                (!keys || (rank == 4 && shape[3] >= queries &&
                           (place.step > 0 ? shape[3] <= past + queries : shape[3] == queries)));
    if (!text || !fits) {
        return c;
    }
    c.text = true;
    c.keys = keys;
    c.queries = queries;
    c.past = past;
    c.first_key = keys ? past + queries - shape[3] : 0;
    const llava_text_plan *plan = counting->text_plan;
    c.window = keys && plan != NULL && place.layer < plan->layers && plan->slides[place.layer]
                   ? plan->window
                   : 0;
    for (int i = 1; i < rank - 1; i++) {
        c.per_sample *= shape[i];
    }
    c.per_query = keys || rank < 4 ? 1 : shape[2];
    return c;
}

/* Position (prefill and decoded) of a sample: padding or not. Decoded tokens always count. */
static bool position_counts(const llava_counting *c, size_t sample, size_t position)
{
    return position >= c->length || c->mask[sample * c->length + position] != 0;
}

bool llava_row_counts(const llava_row_counting *c, size_t row)
{
    if (c->step > 0 && c->step >= c->counting->flipped[row / c->of_sample]) {
        return false;
    }
    if (!c->text) {
        return true;
    }
    size_t query = row % c->per_sample / c->per_query % c->queries;
    return position_counts(c->counting, row / c->per_sample, c->past + query);
}

bool llava_element_counts(const llava_row_counting *c, size_t row, size_t i)
{
    if (c->positions) {
        return position_counts(c->counting, row, i);
    }
    if (c->picture_of != NULL) {
        return c->picture_of[row % c->queries] == c->picture_of[i];
    }
    if (!c->keys) {
        return true;
    }
    const size_t own = c->past + row % c->per_sample % c->queries, key = c->first_key + i;
    if (c->counting->sees != NULL) {
        size_t sample = row / c->per_sample, length = c->counting->length;
        return c->counting->sees[(sample * length + own) * length + key] != 0;
    }
    return key <= own && (c->window == 0 || key + c->window > own) &&
           position_counts(c->counting, row / c->per_sample, key);
}
