/* draw patches: how wrong each patch is, or each pixel. */
#include "tools/draw_panels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of pixel_values: |actual - expected| of each pixel over its channels, and ACTUAL's picture. */
static bool paint_pixel_errors(llava_drawing *d, const llava_drawing_pair *pair, llava_panels *p,
                               const char *number, llava_extent *s, size_t *columns, llava_error *e)
{
    size_t height = pair->entry->array.shape[2], width = pair->entry->array.shape[3], x, y;
    size_t plane = height * width, first = d->sample * 3 * plane;
    llava_picture actual;
    if (!llava_drawing_pixels(d, pair->actual + first, height, width, &actual, e)) {
        return false;
    }
    double *error = llava_alloc(e, plane, sizeof *error);
    for (size_t i = 0; error != NULL && i < 3 * plane; i++) {
        double off = pair->actual[first + i] - pair->expected[first + i];
        error[i % plane] += off * off;
    }
    for (size_t i = 0; error != NULL && i < plane; i++) {
        error[i] = sqrt(error[i]);
    }
    if (error != NULL) {
        *s = llava_extent_of(error, plane);
        *columns = width;
        llava_panels_next(p, number, &x, &y);
        llava_paint_picture(p->canvas, &actual, p->zoom, x, y, NULL);
        llava_panels_next(p, "", &x, &y);
        llava_paint_values(p->canvas, error, height, width, p->zoom, x, y, s->most);
    }
    llava_picture_free(&actual);
    free(error);
    return error != NULL;
}

/* Of rows: the relative L2 error of each patch's. */
static bool paint_row_errors(llava_drawing *d, llava_dump *dump, const llava_drawing_pair *pair,
                             llava_panels *p, const char *number, llava_extent *s, size_t *columns,
                             cJSON *panel, llava_error *e)
{
    const llava_array *array = &pair->entry->array;
    size_t rows = array->shape[0] * array->shape[1], width = array->count / rows, x, y;
    llava_patches patches;
    if (!llava_patches_find(&patches, d, dump, llava_drawing_letters(pair->entry->name),
                            array->shape, e)) {
        return false;
    }
    size_t count = patches.rows * patches.columns;
    double *error = llava_alloc(e, count, sizeof *error);
    for (size_t i = 0; error != NULL && i < count; i++) {
        size_t at = patches.row[i] * width;
        error[i] = llava_drawing_error(pair->expected + at, pair->actual + at, width);
    }
    if (error != NULL) {
        *s = llava_extent_of(error, count);
        *columns = patches.columns;
        llava_panels_next(p, number, &x, &y);
        llava_paint_values(p->canvas, error, patches.rows, patches.columns, patches.size * p->zoom,
                           x, y, s->most);
        llava_drawing_grid(d, panel, "patches", error, patches.rows, patches.columns);
    }
    free(error);
    llava_patches_free(&patches);
    return error != NULL;
}

static bool draw_one_error(llava_drawing *d, llava_dump *dump, size_t i, const char *tap,
                           llava_panels *p, cJSON *panels, llava_error *e)
{
    llava_port *port;
    llava_drawing_pair pair;
    char number[24];
    llava_extent s;
    size_t columns;
    bool pixels = strcmp(tap, "pixel_values") == 0;
    const llava_plan *plan = d->has_plan ? &d->plan : NULL;
    if (!llava_port_open_beside(&port, d->words[i], d->map, plan, dump, e)) {
        return false;
    }
    bool ok = llava_drawing_load(d, dump, port, tap, &pair, e);
    if (ok) {
        snprintf(number, sizeof number, "%zu", i);
        cJSON *panel = llava_drawing_item(d, panels, "dump", d->words[i]);
        ok = pixels ? paint_pixel_errors(d, &pair, p, number, &s, &columns, e)
                    : paint_row_errors(d, dump, &pair, p, number, &s, &columns, panel, e);
        if (ok) {
            double error = llava_drawing_error(pair.expected, pair.actual, pair.entry->array.count);
            fprintf(d->table, "  %5zu  %-36s %9.1e %9.1e %9.1e  (%zu,%zu)\n", i, d->words[i], error,
                    s.least, s.most, s.at / columns, s.at % columns);
            llava_drawing_put(d, panel, "rel_l2", error);
            llava_drawing_put(d, panel, "least", s.least);
            llava_drawing_put(d, panel, "largest", s.most);
            llava_drawing_at(d, panel, s.at, columns);
        }
        llava_drawing_unload(&pair);
    }
    llava_port_close(port);
    return ok;
}

static bool can_be_drawn(const llava_drawing *d, const llava_dump_entry *entry)
{
    const char *letters = llava_drawing_letters(entry->name);
    const llava_array *array = &entry->array;
    bool pixels = strcmp(entry->name, "pixel_values") == 0 && array->rank == 4 &&
                  array->shape[1] == 3 && array->shape[0] > d->sample;
    bool rows =
        array->rank >= 3 && (strncmp(letters, "N,P,", 4) == 0 || strncmp(letters, "N,T,", 4) == 0 ||
                             strncmp(letters, "N,F,", 4) == 0 || strncmp(letters, "B,S,", 4) == 0);
    return array->kind == 'f' && array->count > 0 && (pixels || rows);
}

/* The one tap of the drawing: what --taps names, or else the features. */
static const char *one_tap(llava_drawing *d, const llava_dump *dump, llava_error *e)
{
    const char *found = NULL;
    for (size_t i = 0; i < llava_dump_count(dump); i++) {
        const char *name = llava_dump_at(dump, i)->name;
        if (!can_be_drawn(d, llava_dump_at(dump, i)) ||
            !llava_drawing_wants(d, name, "vision.features")) {
            continue;
        }
        if (found != NULL) {
            llava_fail(e, "draw patches: one tap at a time, not %s and %s", found, name);
            return NULL;
        }
        found = name;
    }
    if (found == NULL) {
        llava_drawing_none(d, llava_dump_path(dump),
                           "no tap to draw (--taps NAME: pixel_values, or one with a row for each "
                           "patch or token)",
                           e);
    }
    return found;
}

bool llava_draw_patches(llava_drawing *d, llava_error *e)
{
    llava_dump *dump;
    llava_picture picture = {0};
    llava_panels p = {.canvas = &d->canvas};
    if (d->count < 2) {
        return llava_fail(e, "draw patches: EXPECTED and ACTUAL... are needed");
    }
    if (!llava_dump_open(&dump, d->words[0], e)) {
        return false;
    }
    const char *tap = one_tap(d, dump, e);
    bool pixels = tap != NULL && strcmp(tap, "pixel_values") == 0;
    bool ok = tap != NULL && llava_drawing_picture(d, dump, pixels, &picture, e) &&
              llava_panels_open(&p, &picture, (d->count - 1) * (pixels ? 2 : 1), e);
    if (ok) {
        llava_json_put(&d->lost, d->json, "tap", cJSON_CreateString(tap));
        d->work = (double)(d->count - 1) * (double)llava_dump_find(dump, tap)->array.count;
        fprintf(d->table, "%s\n  panel  %-36s %9s %9s %9s  at %s\n", tap, "dump", "rel L2", "least",
                "largest", pixels ? "pixel" : "patch");
    }
    cJSON *panels = llava_drawing_list(d, "panels");
    for (size_t i = 1; ok && i < d->count; i++) {
        ok = draw_one_error(d, dump, i, tap, &p, panels, e);
    }
    llava_picture_free(&picture);
    llava_dump_close(dump);
    return ok;
}
