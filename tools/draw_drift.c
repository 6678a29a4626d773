/* draw drift: the error from tap to tap, a curve for each dump. */
#include "tools/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    llava_drawing *d;
    llava_dump *expected;
    llava_counting counting;
    const char **tap; /* [taps] */
    size_t taps, curves;
    double *error; /* [curves, taps] */
} drift;

static bool choose_taps(drift *r, llava_error *e)
{
    r->tap = llava_alloc(e, llava_dump_count(r->expected), sizeof *r->tap);
    for (size_t i = 0; r->tap != NULL && i < llava_dump_count(r->expected); i++) {
        const llava_dump_entry *entry = llava_dump_at(r->expected, i);
        if (entry->array.kind == 'f' && entry->array.count > 0 &&
            llava_drawing_wants(r->d, entry->name, "*")) {
            r->tap[r->taps++] = entry->name;
            r->d->work += (double)entry->array.count * (double)r->curves;
        }
    }
    return r->tap != NULL && (r->taps > 0 || llava_drawing_none(r->d, llava_dump_path(r->expected),
                                                                "no tap of numbers to draw", e));
}

static bool add_curve(drift *r, size_t curve, llava_error *e)
{
    llava_port *port;
    bool ok = true;
    if (!llava_port_open_beside(&port, r->d->words[curve + 1], r->d->map,
                                r->d->has_plan ? &r->d->plan : NULL, r->expected, e)) {
        return false;
    }
    for (size_t i = 0; ok && i < r->taps; i++) {
        llava_drawing_pair pair;
        llava_comparison c;
        ok = llava_drawing_load(r->d, r->expected, port, r->tap[i], &pair, e);
        if (ok) {
            const llava_array *array = &pair.entry->array;
            ok = llava_compare(&r->counting, r->tap[i], array->rank, array->shape, pair.expected,
                               pair.actual, &c, e);
            r->error[curve * r->taps + i] = c.mismatched > 0 ? (double)NAN : c.rel_l2;
            llava_drawing_unload(&pair);
        }
    }
    llava_port_close(port);
    return ok;
}

static void print_drift(const drift *r)
{
    fprintf(r->d->table, "%-32s", "");
    for (size_t c = 0; c < r->curves; c++) {
        fprintf(r->d->table, " %11zu", c + 1);
    }
    for (size_t i = 0; i < r->taps; i++) {
        fprintf(r->d->table, "\n%4zu  %-26s", i + 1, r->tap[i]);
        for (size_t c = 0; c < r->curves; c++) {
            fprintf(r->d->table, " %11.1e", r->error[c * r->taps + i]);
        }
    }
    fputs("\n", r->d->table);
    for (size_t c = 0; c < r->curves; c++) {
        fprintf(r->d->table, "curve %zu: %s\n", c + 1, r->d->words[c + 1]);
    }
}

static void put_drift(const drift *r)
{
    llava_drawing *d = r->d;
    cJSON *taps = llava_drawing_list(d, "taps"), *curves = llava_drawing_list(d, "curves");
    for (size_t i = 0; i < r->taps; i++) {
        llava_json_put(&d->lost, taps, NULL, cJSON_CreateString(r->tap[i]));
    }
    for (size_t c = 0; c < r->curves; c++) {
        cJSON *curve = llava_drawing_item(d, curves, "dump", d->words[c + 1]);
        cJSON *errors = llava_json_put(&d->lost, curve, "rel_l2", cJSON_CreateArray());
        for (size_t i = 0; i < r->taps; i++) {
            llava_drawing_put(d, errors, NULL, r->error[c * r->taps + i]);
        }
    }
}

enum { PLOT_WIDE = 720, PLOT_TALL = 360, PLOT_LEFT = 48, PLOT_BELOW = 20, PLOT_RIGHT = 20 };

typedef struct {
    int low, high; /* powers of ten */
} scale;

static size_t height_of(const scale *s, double power)
{
    double part = (power - s->low) / (s->high - s->low);
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    return (size_t)(8 + (1 - part) * (PLOT_TALL - 16));
}

static size_t place_of(const drift *r, size_t tap)
{
    return PLOT_LEFT + 8 + tap * (PLOT_WIDE - 16) / (r->taps > 1 ? r->taps - 1 : 1);
}

static void paint_axes(const drift *r, const scale *s, llava_canvas *canvas)
{
    char text[24];
    llava_colour ink = llava_colour_ink(), faint = ink;
    faint.rgba[3] = 90;
    for (int decade = s->low; decade <= s->high; decade++) {
        size_t y = height_of(s, decade);
        llava_canvas_fill(canvas, PLOT_LEFT, y + 1, PLOT_WIDE, 1, faint);
        llava_decade_text(text, decade);
        llava_canvas_figures(canvas, 0, y - 4, text, ink);
    }
    size_t every = (r->taps - 1) / 24 + 1;
    for (size_t i = 0; i < r->taps; i += every) {
        snprintf(text, sizeof text, "%zu", i + 1);
        llava_canvas_figures(canvas, place_of(r, i) - 4, PLOT_TALL + 8, text, ink);
    }
}

static void paint_curve(const drift *r, const scale *s, size_t curve, llava_canvas *canvas)
{
    char text[24];
    const double *error = r->error + curve * r->taps;
    llava_colour colour = llava_colour_curve(curve);
    size_t x = 0, y = 0;
    bool begun = false;
    for (size_t i = 0; i < r->taps; i++) {
        if (isnan(error[i])) {
            begun = false;
            continue;
        }
        size_t to = place_of(r, i), up = height_of(s, llava_power_of_ten(error[i]));
        if (begun) {
            llava_canvas_line(canvas, x, y, to, up, colour);
        }
        llava_canvas_fill(canvas, to - 2, up - 2, 7, 7, colour);
        x = to;
        y = up;
        begun = true;
    }
    snprintf(text, sizeof text, "%zu", curve + 1);
    llava_canvas_figures(canvas, PLOT_LEFT + PLOT_WIDE + 6, y - 3, text, colour);
}

static bool paint_drift(const drift *r, llava_error *e)
{
    scale s = {0, LLAVA_LOWEST_POWER};
    for (size_t i = 0; i < r->curves * r->taps; i++) {
        if (r->error[i] > 0 && isfinite(r->error[i])) {
            int decade = (int)floor(llava_power_of_ten(r->error[i]));
            s.low = decade < s.low ? decade : s.low;
            s.high = decade + 1 > s.high ? decade + 1 : s.high;
        }
    }
    s.high = s.high <= s.low ? s.low + 1 : s.high;
    if (!llava_canvas_open(&r->d->canvas, PLOT_LEFT + PLOT_WIDE + PLOT_RIGHT,
                           PLOT_TALL + PLOT_BELOW, e)) {
        return false;
    }
    paint_axes(r, &s, &r->d->canvas);
    for (size_t i = 0; i < r->curves; i++) {
        paint_curve(r, &s, i, &r->d->canvas);
    }
    return true;
}

bool llava_draw_drift(llava_drawing *d, llava_error *e)
{
    drift r = {.d = d};
    if (d->count < 2) {
        return llava_fail(e, "draw drift: EXPECTED and ACTUAL... are needed");
    }
    r.curves = d->count - 1;
    bool ok = llava_dump_open(&r.expected, d->words[0], e) &&
              llava_drawing_mask(&r.counting, r.expected, e) && choose_taps(&r, e);
    r.error = ok ? llava_alloc(e, r.curves * r.taps, sizeof *r.error) : NULL;
    ok = r.error != NULL;
    for (size_t i = 0; ok && i < r.curves; i++) {
        ok = add_curve(&r, i, e);
    }
    if (ok) {
        print_drift(&r);
        put_drift(&r);
        ok = paint_drift(&r, e);
    }
    free(r.error);
    free(r.tap);
    llava_counting_free(&r.counting);
    llava_dump_close(r.expected);
    return ok;
}
