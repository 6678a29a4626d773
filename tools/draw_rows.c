/* draw rows: how wrong each token is in each tap. */
#include "tools/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FLOOR = -7, CELL = 14, MARGIN = 40, LEGEND = 28 };

typedef struct {
    llava_drawing *d;
    llava_dump *expected;
    llava_port *actual;
    llava_counting counting;
    size_t columns;                /* rows of a sample; 0: no tap yet */
    size_t lines;                  /* taps */
    const llava_dump_entry **line; /* [lines] */
    double *error;                 /* [lines, columns]; negative: does not count */
    cJSON *json;                   /* a list, an object for each line */
} row_errors;

static void put_line(row_errors *r, const char *tap, const double *line, double least, double most,
                     size_t at)
{
    llava_drawing *d = r->d;
    cJSON *object = llava_drawing_item(d, r->json, "tap", tap);
    llava_drawing_put(d, object, "least", least);
    llava_drawing_put(d, object, "largest", most);
    llava_drawing_count(d, object, "at", at);
    cJSON *rows = llava_json_put(&d->lost, object, "rows", cJSON_CreateArray());
    for (size_t i = 0; i < r->columns; i++) {
        llava_drawing_put(d, rows, NULL, line[i] < 0 ? (double)NAN : line[i]);
    }
}

/* Rows of one sample's tensor against each other. */
static bool add_line(row_errors *r, size_t at_line, llava_error *e)
{
    const llava_dump_entry *entry = r->line[at_line];
    const llava_array *array = &entry->array;
    llava_drawing_pair pair;
    if (!llava_drawing_load(r->d, r->expected, r->actual, entry->name, &pair, e)) {
        return false;
    }
    size_t per = array->count / (array->shape[0] * array->shape[1]);
    size_t per_row = per / array->shape[array->rank - 1]; /* heads of q */
    llava_row_counting counts =
        llava_count_rows(&r->counting, entry->name, array->rank, array->shape);
    double *line = r->error + at_line * r->columns, least = HUGE_VAL, most = 0;
    size_t at = 0;
    for (size_t i = 0; i < r->columns; i++) {
        size_t row = r->d->sample * r->columns + i;
        line[i] = -1;
        if (!llava_row_counts(&counts, row * per_row)) {
            continue;
        }
        line[i] = llava_drawing_error(pair.expected + row * per, pair.actual + row * per, per);
        least = line[i] < least ? line[i] : least;
        if (!(line[i] <= most) && !isnan(most)) {
            most = line[i];
            at = i;
        }
    }
    fprintf(r->d->table, "  %4zu  %-36s %9.1e %9.1e  %zu\n", at_line + 1, entry->name, least, most,
            at);
    put_line(r, entry->name, line, least, most, at);
    llava_drawing_unload(&pair);
    return true;
}

/* The taps with a row for each token that both dumps have. */
static bool choose_lines(row_errors *r, llava_error *e)
{
    size_t count = llava_dump_count(r->expected);
    r->line = llava_alloc(e, count, sizeof(void *));
    for (size_t i = 0; r->line != NULL && i < count; i++) {
        const llava_dump_entry *entry = llava_dump_at(r->expected, i);
        const char *letters = llava_drawing_letters(entry->name);
        bool rows = strncmp(letters, "B,S,", 4) == 0 || strncmp(letters, "N,T,", 4) == 0;
        if (!rows || entry->array.kind != 'f' || entry->array.rank < 3 || entry->array.count == 0 ||
            llava_port_find(r->actual, entry->name) == NULL ||
            (r->columns > 0 && entry->array.shape[1] != r->columns) ||
            !llava_drawing_wants(r->d, entry->name, "text.*")) {
            continue;
        }
        if (entry->array.shape[0] <= r->d->sample) {
            return llava_fail(e, "%s: %s has no sample %zu", llava_dump_path(r->expected),
                              entry->name, r->d->sample);
        }
        r->columns = entry->array.shape[1];
        r->d->work += (double)entry->array.count;
        r->line[r->lines++] = entry;
    }
    return r->line != NULL &&
           (r->lines > 0 ||
            llava_drawing_none(r->d, llava_dump_path(r->expected),
                               "no tap with a row for each token is in both dumps", e));
}

static bool collect_lines(row_errors *r, llava_error *e)
{
    r->error = llava_alloc(e, r->lines * r->columns, sizeof *r->error);
    r->json = llava_drawing_list(r->d, "lines");
    fprintf(r->d->table, "  line  %-36s %9s %9s  at row\n", "tap", "least", "largest");
    bool ok = r->error != NULL;
    for (size_t i = 0; ok && i < r->lines; i++) {
        ok = add_line(r, i, e);
    }
    return ok;
}

/* The colours' meaning, from 1e-7 to 1. */
static void paint_legend(llava_canvas *canvas, size_t x, size_t y, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        llava_canvas_fill(canvas, x + i, y, 1, 10, llava_colour_size((double)i / (double)width));
    }
    for (int decade = FLOOR; decade <= 0; decade++) {
        char text[16];
        llava_decade_text(text, decade);
        size_t at = x + (size_t)(decade - FLOOR) * width / (size_t)-FLOOR;
        size_t wide = llava_canvas_figures(NULL, 0, 0, text, llava_colour_ink());
        llava_canvas_figures(canvas, at - (decade == FLOOR ? 0 : wide / (decade < 0 ? 2 : 1)),
                             y + 14, text, llava_colour_ink());
    }
}

static bool paint_lines(const row_errors *r, llava_error *e)
{
    enum { WIDE = 720 };
    llava_canvas *canvas = &r->d->canvas;
    size_t cell = r->columns < WIDE ? WIDE / r->columns : 1;
    if (!llava_canvas_open(canvas, MARGIN + r->columns * cell, r->lines * CELL + CELL + LEGEND + 16,
                           e)) {
        return false;
    }
    char text[24];
    for (size_t i = 0; i < r->lines; i++) {
        snprintf(text, sizeof text, "%zu", i + 1);
        llava_canvas_figures(canvas, 0, i * CELL + 2, text, llava_colour_ink());
        for (size_t j = 0; j < r->columns; j++) {
            double error = r->error[i * r->columns + j];
            double part = error > 0    ? 1 - llava_power_of_ten(error) / FLOOR
                          : error == 0 ? 0
                                       : error;
            if (!(error < 0)) {
                llava_canvas_fill(canvas, MARGIN + j * cell, i * CELL, cell, CELL - 1,
                                  llava_colour_size(part));
            }
        }
    }
    size_t tick = cell > 30 ? 1 : cell > 12 ? 5 : cell > 4 ? 10 : 100;
    for (size_t j = 0; j < r->columns; j += tick) {
        snprintf(text, sizeof text, "%zu", j);
        llava_canvas_figures(canvas, MARGIN + j * cell, r->lines * CELL + 3, text,
                             llava_colour_ink());
    }
    paint_legend(canvas, MARGIN, r->lines * CELL + CELL + 16, 480);
    return true;
}

bool llava_draw_rows(llava_drawing *d, llava_error *e)
{
    row_errors r = {.d = d};
    if (d->count != 2) {
        return llava_fail(e, "draw rows: EXPECTED and ACTUAL are needed");
    }
    bool ok = llava_dump_open(&r.expected, d->words[0], e) &&
              llava_port_open_beside(&r.actual, d->words[1], d->map, d->has_plan ? &d->plan : NULL,
                                     r.expected, e) &&
              llava_drawing_mask(&r.counting, r.expected, e) && choose_lines(&r, e) &&
              collect_lines(&r, e) && paint_lines(&r, e);
    free(r.error);
    free(r.line);
    llava_counting_free(&r.counting);
    llava_port_close(r.actual);
    llava_dump_close(r.expected);
    return ok;
}
