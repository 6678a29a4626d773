/* draw attention: where a row looks, on the picture. */
#include "tools/draw_panels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What row d->row, or the family's own choice, pays to each patch: the mean of the heads, or one.
 */
static bool pay(llava_drawing *d, llava_dump *dump, const llava_dump_entry *entry,
                const llava_patches *patches, const size_t *shape, double *paid, llava_error *e)
{
    const size_t *of = entry->array.shape; /* [samples, heads, queries, keys] */
    bool text = strncmp(llava_drawing_letters(entry->name), "B,", 2) == 0;
    size_t row = d->row != SIZE_MAX ? d->row : text ? of[2] - 1 : 0, count;
    size_t first = d->head != SIZE_MAX ? d->head : 0, heads = d->head != SIZE_MAX ? 1 : of[1];
    double *values;
    count = patches->rows * patches->columns;
    bool there = row < of[2] && first < of[1];
    for (size_t i = 0; there && i < count; i++) {
        there = patches->row[i] / shape[1] < of[0] && patches->row[i] % shape[1] < of[3];
    }
    if (!there) {
        return llava_fail(e, "%s: %s has %zu samples, %zu heads, %zu rows, %zu keys",
                          llava_dump_path(dump), entry->name, of[0], of[1], of[2], of[3]);
    }
    llava_drawing_show(d, entry->name, 1);
    if (!llava_dump_load(dump, entry, &values, e)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t sample = patches->row[i] / shape[1], key = patches->row[i] % shape[1];
        paid[i] = 0;
        for (size_t h = first; h < first + heads; h++) {
            paid[i] += values[((sample * of[1] + h) * of[2] + row) * of[3] + key];
        }
        paid[i] /= (double)heads;
    }
    free(values);
    return true;
}

/* Where the row looks the picture is lit, and dark elsewhere. */
static bool paint_attention(llava_panels *p, const llava_patches *patches, const double *paid,
                            double most, llava_error *e)
{
    enum { DARK = 25 }; /* per cent that stay visible */
    const llava_picture *picture = p->picture;
    double *light = llava_alloc(e, picture->height * picture->width, sizeof *light);
    size_t x, y;
    char number[24];
    for (size_t i = 0; light != NULL && i < picture->height * picture->width; i++) {
        size_t row = i / picture->width / patches->size,
               column = i % picture->width / patches->size;
        bool inside = row < patches->rows && column < patches->columns && most > 0;
        double part = inside ? paid[row * patches->columns + column] / most : 0;
        light[i] = 0.01 * (DARK + (100 - DARK) * (part > 0 ? part : 0)); /* nor NaN */
    }
    if (light != NULL) {
        snprintf(number, sizeof number, "%zu", p->count);
        llava_panels_next(p, number, &x, &y);
        llava_paint_picture(p->canvas, picture, p->zoom, x, y, light);
    }
    free(light);
    return light != NULL;
}

static bool draw_one_attention(llava_drawing *d, llava_dump *dump, const char *tap, llava_panels *p,
                               cJSON *panels, llava_error *e)
{
    const llava_dump_entry *entry = llava_drawing_entry(dump, tap, e);
    const char *letters = llava_drawing_letters(tap);
    llava_patches patches;
    if (entry == NULL) {
        return false;
    }
    size_t n = strlen(tap);
    if (n < 6 || strcmp(tap + n - 6, ".probs") != 0 || entry->array.rank != 4) {
        return llava_fail(e, "draw attention: %s is no tap ...attn.probs", tap);
    }
    bool text = strncmp(letters, "B,", 2) == 0;
    const llava_dump_entry *ids = text ? llava_drawing_entry(dump, "input_ids", e) : NULL;
    size_t tower[2] = {entry->array.shape[0], entry->array.shape[3]};
    const size_t *shape = text && ids != NULL ? ids->array.shape : tower;
    if ((text && ids == NULL) ||
        !llava_patches_find(&patches, d, dump, text ? "B,S" : "N,T", shape, e)) {
        return false;
    }
    size_t count = patches.rows * patches.columns;
    double *paid = llava_alloc(e, count, sizeof *paid), sum = 0;
    bool ok = paid != NULL && pay(d, dump, entry, &patches, shape, paid, e);
    if (ok) {
        llava_extent s = llava_extent_of(paid, count);
        for (size_t i = 0; i < count; i++) {
            sum += paid[i];
        }
        fprintf(d->table, "  %5zu  %-36s %14.3f %9.3f  (%zu,%zu)\n", p->count, tap, sum, s.most,
                s.at / patches.columns, s.at % patches.columns);
        cJSON *panel = llava_drawing_item(d, panels, "tap", tap);
        llava_drawing_put(d, panel, "on_picture", sum);
        llava_drawing_put(d, panel, "largest", s.most);
        llava_drawing_at(d, panel, s.at, patches.columns);
        llava_drawing_grid(d, panel, "patches", paid, patches.rows, patches.columns);
        ok = paint_attention(p, &patches, paid, s.most, e);
    }
    free(paid);
    llava_patches_free(&patches);
    return ok;
}

bool llava_draw_attention(llava_drawing *d, llava_error *e)
{
    llava_dump *dump;
    llava_picture picture;
    llava_panels p = {.canvas = &d->canvas};
    size_t x, y;
    if (d->count < 2) {
        return llava_fail(e, "draw attention: DUMP and TAP... are needed");
    }
    if (!llava_dump_open(&dump, d->words[0], e)) {
        return false;
    }
    cJSON *panels = llava_drawing_list(d, "panels");
    d->work = (double)(d->count - 1);
    bool ok = llava_drawing_picture(d, dump, false, &picture, e) &&
              llava_panels_open(&p, &picture, d->count, e);
    if (ok) {
        llava_panels_next(&p, "0", &x, &y);
        llava_paint_picture(p.canvas, &picture, p.zoom, x, y, NULL);
        fprintf(d->table, "  panel  %-36s on the picture   largest  at patch\n", "tap");
    }
    for (size_t i = 1; ok && i < d->count; i++) {
        ok = draw_one_attention(d, dump, d->words[i], &p, panels, e);
    }
    llava_picture_free(&picture);
    llava_dump_close(dump);
    return ok;
}
