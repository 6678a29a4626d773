#include "inputs_file.h"

#include "tools/dump.h"
#include "tools/words.h"

#include <stdlib.h>
#include <string.h>

/* Everything about one member that is being read. */
typedef struct {
    llava_dump *dump;
    llava_inputs *in;
    llava_error *e;
} reader;

static bool shape_is(const llava_dump_entry *entry, int rank, const size_t *shape)
{
    bool same = entry->array.rank == rank;
    for (int i = 0; same && i < rank; i++) {
        same = entry->array.shape[i] == shape[i];
    }
    return same;
}

static bool is_id_type(const llava_dump_entry *entry)
{
    return entry->array.kind == 'i' && (entry->array.size == 8 || entry->array.size == 4);
}

/* [B, S] of int64 or int32; B and S are taken from the first such member. */
static bool read_ids(reader *r, const llava_dump_entry *entry, int64_t **ids)
{
    if (!is_id_type(entry)) {
        return llava_dump_fail(r->dump, entry, "not int64 or int32", r->e);
    }
    size_t shape[2] = {r->in->batch, r->in->length};
    if (!shape_is(entry, 2, shape)) {
        return llava_dump_fail(r->dump, entry, "its shape is not [B, S] of the ids or embeddings",
                               r->e);
    }
    return llava_dump_load_integers(r->dump, entry, ids, r->e);
}

/* [B, S] or [1, S], repeated for every sample. */
static bool read_positions(reader *r, const llava_dump_entry *entry)
{
    llava_inputs *in = r->in;
    size_t one[2] = {1, in->length};
    if (in->batch == 1 || !shape_is(entry, 2, one)) {
        return read_ids(r, entry, &in->position_ids);
    }
    if (!is_id_type(entry)) {
        return llava_dump_fail(r->dump, entry, "not int64 or int32", r->e);
    }
    /* the ids or embeddings have as many elements: the product is no overflow */
    in->position_ids = llava_alloc(r->e, in->batch * in->length, sizeof(int64_t));
    if (in->position_ids == NULL ||
        !llava_dump_read_integers(r->dump, entry, 0, in->length, in->position_ids, r->e)) {
        return false;
    }
    for (size_t b = 1; b < in->batch; b++) {
        memcpy(in->position_ids + b * in->length, in->position_ids, in->length * sizeof(int64_t));
    }
    return true;
}

static bool is_float(reader *r, const llava_dump_entry *entry)
{
    bool fits = entry->array.kind == 'f' && (entry->array.size == 4 || entry->array.size == 8);
    return fits || llava_dump_fail(r->dump, entry, "not float32 or float64", r->e);
}

/* [N, 3, H, W]. */
static bool read_pixels(reader *r, const llava_dump_entry *entry)
{
    llava_inputs *in = r->in;
    if (!is_float(r, entry)) {
        return false;
    }
    const size_t *shape = entry->array.shape;
    if (entry->array.rank != 4 || shape[1] != 3 || entry->array.count == 0) {
        return llava_dump_fail(r->dump, entry, "its shape is not [N, 3, H, W]", r->e);
    }
    in->pictures = shape[0];
    in->height = shape[2];
    in->width = shape[3];
    in->pixel_type = entry->array.size == 4 ? LLAVA_F32 : LLAVA_F64;
    return llava_dump_load(r->dump, entry, &in->pixel_values, r->e);
}

/* [N, 2] of int64 or int32, N as pixel_values has it. */
static bool read_image_sizes(reader *r, const llava_dump_entry *entry)
{
    const llava_dump_entry *pixels = llava_dump_find(r->dump, "pixel_values");
    if (!is_id_type(entry)) {
        return llava_dump_fail(r->dump, entry, "not int64 or int32", r->e);
    }
    if (pixels == NULL) {
        return llava_dump_fail(r->dump, entry, "there are no pixel_values beside it", r->e);
    }
    size_t shape[2] = {pixels->array.rank == 0 ? 0 : pixels->array.shape[0], 2};
    if (!shape_is(entry, 2, shape)) {
        return llava_dump_fail(r->dump, entry, "its shape is not [N, 2] of the pixel_values", r->e);
    }
    return llava_dump_load_integers(r->dump, entry, &r->in->image_sizes, r->e);
}

/* ---- masks of four dimensions
 * ----------------------------------------------------------------------- */

/* [B, S], or [B, 1, S, S] (transformers' 4D mask, used as it is given). */
static bool read_mask(reader *r, const llava_dump_entry *entry)
{
    const llava_array *a = &entry->array;
    size_t square[4] = {r->in->batch, 1, r->in->length, r->in->length};
    if (a->rank != 4) {
        return read_ids(r, entry, &r->in->attention_mask);
    }
    if (!shape_is(entry, 4, square)) {
        return llava_dump_fail(r->dump, entry,
                               "its shape is not [B, S] or [B, 1, S, S] of the ids "
                               "or embeddings",
                               r->e);
    }
    if (a->kind != 'b' && a->kind != 'f' && !is_id_type(entry)) {
        return llava_dump_fail(r->dump, entry, "not booleans, int64, int32 or floats", r->e);
    }
    if (!llava_dump_load(r->dump, entry, &r->in->mask_bias, r->e)) {
        return false;
    }
    r->in->mask_type = a->size == 8 ? LLAVA_F64 : a->size == 4 ? LLAVA_F32 : LLAVA_F16;
    if (!llava_inputs_square_mask(r->in, a->kind == 'f', r->e)) {
        return llava_fail_in(r->e, llava_dump_path(r->dump));
    }
    if (llava_mask_is_of_ones(r->in)) {
        llava_warn("attention_mask: floats of 0 and 1 mask nothing: they are added to the scores, "
                   "as transformers adds them (booleans mask)");
    }
    return true;
}

/* One whole number, not negative: 0 keeps all. transformers also takes lists of positions. */
static bool read_keep(reader *r, const llava_dump_entry *entry)
{
    int64_t keep;
    if (!is_id_type(entry)) {
        return llava_dump_fail(r->dump, entry, "not int64 or int32", r->e);
    }
    if (entry->array.rank != 0) {
        return llava_dump_fail(r->dump, entry,
                               "its shape is not []: one number of positions, not a list of them",
                               r->e);
    }
    if (!llava_dump_read_integers(r->dump, entry, 0, 1, &keep, r->e)) {
        return false;
    }
    r->in->logits_to_keep = (size_t)keep;
    return keep >= 0 || llava_dump_fail(r->dump, entry, "is negative", r->e);
}

/* B and S from input_ids [B, S] or inputs_embeds [B, S, H]. */
static bool read_sizes(reader *r)
{
    const llava_dump_entry *ids = llava_dump_find(r->dump, "input_ids");
    const llava_dump_entry *embeds = llava_dump_find(r->dump, "inputs_embeds");
    const char *path = llava_dump_path(r->dump);
    if ((ids == NULL) == (embeds == NULL)) {
        return llava_fail(r->e, "%s: exactly one of input_ids and inputs_embeds is needed", path);
    }
    const llava_dump_entry *first = ids == NULL ? embeds : ids;
    if (first->array.rank != (ids == NULL ? 3 : 2)) {
        return llava_dump_fail(
            r->dump, first, ids == NULL ? "its shape is not [B, S, H]" : "its shape is not [B, S]",
            r->e);
    }
    if (first->array.count == 0) {
        return llava_dump_fail(r->dump, first, "it is empty", r->e);
    }
    r->in->batch = first->array.shape[0];
    r->in->length = first->array.shape[1];
    return true;
}

static bool read_member(reader *r, const llava_dump_entry *entry)
{
    llava_inputs *in = r->in;
    if (strcmp(entry->name, "input_ids") == 0) {
        return read_ids(r, entry, &in->input_ids);
    }
    if (strcmp(entry->name, "attention_mask") == 0) {
        return read_mask(r, entry);
    }
    if (strcmp(entry->name, "logits_to_keep") == 0) {
        return read_keep(r, entry);
    }
    if (strcmp(entry->name, "position_ids") == 0) {
        return read_positions(r, entry);
    }
    if (strcmp(entry->name, "labels") == 0) {
        return read_ids(r, entry, &in->labels);
    }
    if (strcmp(entry->name, "pixel_values") == 0) {
        return read_pixels(r, entry);
    }
    if (strcmp(entry->name, "inputs_embeds") == 0) {
        in->embeds_width = entry->array.shape[2];
        return is_float(r, entry) && llava_dump_load(r->dump, entry, &in->inputs_embeds, r->e);
    }
    if (strcmp(entry->name, "image_sizes") == 0) {
        return read_image_sizes(r, entry);
    }
    return llava_dump_fail(r->dump, entry,
                           "unknown member (known: input_ids, attention_mask, position_ids, "
                           "pixel_values, image_sizes, inputs_embeds, labels, logits_to_keep)",
                           r->e);
}

bool llava_inputs_read(llava_inputs *inputs, const char *path, llava_error *e)
{
    *inputs = (llava_inputs){0};
    reader r = {.in = inputs, .e = e};
    if (!llava_dump_open(&r.dump, path, e)) {
        return false;
    }
    bool ok = read_sizes(&r);
    for (size_t i = 0; ok && i < llava_dump_count(r.dump); i++) {
        ok = read_member(&r, llava_dump_at(r.dump, i));
    }
    llava_dump_close(r.dump);
    if (!ok) {
        llava_inputs_free(inputs);
    }
    return ok;
}
