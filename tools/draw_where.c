/* draw: where a picture's patches are among the rows of a tensor. */
#include "tools/draw.h"
#include "tools/picture_sizes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the picture ---- */

const llava_dump_entry *llava_drawing_stage(const llava_dump *dump, size_t picture,
                                            llava_image_stage stage)
{
    static const char *const stages[] = {"rgb", "padded", "resized", "cropped"};
    char name[LLAVA_TAP_NAME];
    if (picture == 0) {
        snprintf(name, sizeof name, "image.%s", stages[stage]);
    } else {
        snprintf(name, sizeof name, "image.%zu.%s", picture, stages[stage]);
    }
    const llava_dump_entry *entry = llava_dump_find(dump, name);
    bool rgb = entry != NULL && entry->array.rank == 3 && entry->array.shape[2] == 3;
    return rgb ? entry : NULL;
}

static const llava_dump_entry *last_stage(const llava_dump *dump, size_t picture)
{
    const llava_dump_entry *found = NULL;
    for (int i = LLAVA_STAGE_COUNT - 1; found == NULL && i >= 0; i--) {
        found = llava_drawing_stage(dump, picture, (llava_image_stage)i);
    }
    return found;
}

const llava_dump_entry *llava_drawing_planes(const llava_dump *dump, size_t picture)
{
    const llava_dump_entry *entry = llava_dump_find(dump, "pixel_values");
    bool there = entry != NULL && entry->array.rank == 4 && entry->array.shape[1] == 3 &&
                 entry->array.shape[0] > picture;
    return there ? entry : NULL;
}

static bool no_picture(const llava_dump *dump, size_t picture, llava_error *e)
{
    return llava_fail(e, "%s: picture %zu is needed: image.* or pixel_values",
                      llava_dump_path(dump), picture);
}

/* Height and width of a picture as the tower gets it. */
static bool picture_size(const llava_dump *dump, size_t picture, size_t *height, size_t *width,
                         llava_error *e)
{
    const llava_dump_entry *stage = last_stage(dump, picture),
                           *pixels = llava_drawing_planes(dump, picture);
    if (stage == NULL && pixels == NULL) {
        return no_picture(dump, picture, e);
    }
    *height = stage != NULL ? stage->array.shape[0] : pixels->array.shape[2];
    *width = stage != NULL ? stage->array.shape[1] : pixels->array.shape[3];
    return true;
}

static uint8_t byte_of(double value)
{
    return value > 0 ? value < 255 ? (uint8_t)value : 255 : 0;
}

bool llava_drawing_bytes(llava_dump *dump, const llava_dump_entry *stage, llava_picture *picture,
                         llava_error *e)
{
    double *values;
    if (!llava_picture_new(picture, stage->array.shape[0], stage->array.shape[1], e)) {
        return false;
    }
    if (!llava_dump_load(dump, stage, &values, e)) {
        llava_picture_free(picture);
        return false;
    }
    for (size_t i = 0; i < stage->array.count; i++) {
        picture->rgb[i] = byte_of(values[i]);
    }
    free(values);
    return true;
}

bool llava_drawing_pixels(const llava_drawing *d, const double *planes, size_t height, size_t width,
                          llava_picture *picture, llava_error *e)
{
    if (!llava_picture_new(picture, height, width, e)) {
        return false;
    }
    for (size_t i = 0; i < 3 * height * width; i++) {
        double value = planes[i % 3 * height * width + i / 3];
        picture->rgb[i] = byte_of(255 * (value * d->std[i % 3] + d->mean[i % 3]) + 0.5);
    }
    return true;
}

bool llava_drawing_picture(const llava_drawing *d, llava_dump *dump, bool from_pixels,
                           llava_picture *picture, llava_error *e)
{
    double *values;
    const llava_dump_entry *stage = from_pixels ? NULL : last_stage(dump, d->sample);
    const llava_dump_entry *pixels = llava_drawing_planes(dump, d->sample);
    *picture = (llava_picture){0};
    if (stage != NULL) {
        return llava_drawing_bytes(dump, stage, picture, e);
    }
    if (pixels == NULL) {
        return no_picture(dump, d->sample, e);
    }
    if (!llava_dump_load(dump, pixels, &values, e)) {
        return false;
    }
    size_t height = pixels->array.shape[2], width = pixels->array.shape[3];
    bool ok =
        llava_drawing_pixels(d, values + d->sample * 3 * height * width, height, width, picture, e);
    free(values);
    return ok;
}

/* ---- its patches ---- */

/* Pixtral's pictures may be smaller than the pixel_values that they lie in; their dump says how
 * large they are. */
static bool size_in_meta(const llava_dump *dump, size_t picture, size_t *height, size_t *width,
                         llava_error *e)
{
    llava_picture_sizes s;
    if (!llava_picture_sizes_read(&s, llava_dump_path(dump), llava_dump_meta(dump), e)) {
        return false;
    }
    if (picture < s.count) {
        *height = (size_t)s.sizes[2 * picture];
        *width = (size_t)s.sizes[2 * picture + 1];
    }
    free(s.sizes);
    return true;
}

static bool grid_of(const llava_drawing *d, const llava_dump *dump, size_t picture, size_t *rows,
                    size_t *columns, llava_error *e)
{
    if (!picture_size(dump, picture, rows, columns, e) ||
        (d->plan.vision.tower == LLAVA_TOWER_PIXTRAL &&
         !size_in_meta(dump, picture, rows, columns, e))) {
        return false;
    }
    *rows /= d->plan.vision.patch;
    *columns /= d->plan.vision.patch;
    return (*rows > 0 && *columns > 0) ||
           llava_fail(e, "%s: picture %zu is smaller than a patch", llava_dump_path(dump), picture);
}

/* Rows that the pictures before d->sample have, `more` beside the patches of each. */
static bool rows_before(const llava_drawing *d, const llava_dump *dump, size_t more, size_t *before,
                        llava_error *e)
{
    *before = 0;
    for (size_t i = 0; i < d->sample; i++) {
        size_t rows, columns;
        if (!grid_of(d, dump, i, &rows, &columns, e)) {
            return false;
        }
        size_t patches;
        /* LCOV_EXCL_START: the pixels of so many patches fit no file */
        if (!llava_mul(rows, columns, &patches) || !llava_add(patches, more, &patches) ||
            !llava_add(*before, patches, before)) {
            return llava_fail(e, "%s: picture %zu has too many patches", llava_dump_path(dump), i);
        }
        /* LCOV_EXCL_STOP */
    }
    return true;
}

static bool in_the_tower(llava_patches *p, const llava_drawing *d, const llava_dump *dump,
                         const size_t *shape, llava_error *e)
{
    size_t count = p->rows * p->columns, first = 0, all = shape[0] * shape[1];
    bool one_sequence = d->plan.vision.tower == LLAVA_TOWER_PIXTRAL;
    if (one_sequence && !rows_before(d, dump, 0, &first, e)) {
        return false;
    }
    if (!one_sequence) { /* the class row, where there is one, stands before the patches */
        first = d->sample * shape[1] + (shape[1] > count ? shape[1] - count : 0);
    }
    if (count > all || first > all - count) {
        return llava_fail(e, "%s: %zu x %zu patches do not fit a tensor of %zu x %zu rows",
                          llava_dump_path(dump), p->rows, p->columns, shape[0], shape[1]);
    }
    for (size_t i = 0; i < count; i++) {
        p->row[i] = first + i;
    }
    return true;
}

static bool in_the_text(llava_patches *p, const llava_drawing *d, llava_dump *dump,
                        const size_t *shape, llava_error *e)
{
    const llava_dump_entry *entry = llava_drawing_entry(dump, "input_ids", e);
    size_t count = p->rows * p->columns, first, found = 0;
    bool full = d->plan.vision.select == LLAVA_ROWS_FULL;
    size_t more = full ? d->plan.vision.class_rows : 0;
    int64_t *ids;
    if (entry == NULL || !rows_before(d, dump, more, &first, e) ||
        !llava_dump_load_integers(dump, entry, &ids, e)) {
        return false;
    }
    first += more;
    for (size_t i = 0, seen = 0; i < entry->array.count && found < count; i++) {
        if (ids[i] == d->plan.image_token && seen++ >= first) {
            p->row[found++] = i;
        }
    }
    free(ids);
    if (found < count) {
        return llava_fail(e, "%s: input_ids: too few image tokens for picture %zu",
                          llava_dump_path(dump), d->sample);
    }
    return (entry->array.rank == 2 && entry->array.shape[0] == shape[0] &&
            entry->array.shape[1] == shape[1]) ||
           llava_fail(e, "%s: input_ids has another shape than the tensor", llava_dump_path(dump));
}

bool llava_patches_find(llava_patches *p, const llava_drawing *d, llava_dump *dump,
                        const char *letters, const size_t *shape, llava_error *e)
{
    *p = (llava_patches){0};
    if (!d->has_plan) {
        return llava_fail(e, "draw: --model DIR is needed: it says where the patches are");
    }
    p->size = d->plan.vision.patch;
    if (!grid_of(d, dump, d->sample, &p->rows, &p->columns, e)) {
        return false;
    }
    p->row = llava_alloc(e, p->rows * p->columns, sizeof *p->row);
    bool tower = strncmp(letters, "N,", 2) == 0;
    bool ok = p->row != NULL &&
              (tower ? in_the_tower(p, d, dump, shape, e) : in_the_text(p, d, dump, shape, e));
    if (!ok) {
        llava_patches_free(p);
    }
    return ok;
}

void llava_patches_free(llava_patches *p)
{
    free(p->row);
    p->row = NULL;
}
