#include "tools/view_html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- colours
 * ----------------------------------------------------------------------------------- */

/* Palette: what does not count, NaN, the lines between heads, then the scale from - to +. */
enum { GREY, NAN_COLOUR, LINE, SCALE, LEVELS = 33, COLOURS = SCALE + LEVELS };

/* Blue for -1, near white for 0, red for +1: told apart by people who can't see red and green. */
static void scale_colour(double x, uint8_t rgb[3])
{
    static const double ends[2][2][3] = {{{103, 169, 207}, {5, 48, 97}},
                                         {{239, 138, 98}, {103, 0, 31}}};
    static const double middle[3] = {247, 247, 247};
    double size = fabs(x);
    const double(*side)[3] = ends[x > 0];
    for (int c = 0; c < 3; c++) {
        double from = size < 0.5 ? middle[c] : side[0][c];
        double to = size < 0.5 ? side[0][c] : side[1][c];
        double part = size < 0.5 ? 2 * size : 2 * size - 1;
        rgb[c] = (uint8_t)(from + (to - from) * part + 0.5);
    }
}

static void make_palette(uint8_t palette[3 * COLOURS])
{
    static const uint8_t fixed[SCALE][3] = {{150, 150, 150}, {255, 0, 220}, {40, 40, 40}};
    memcpy(palette, fixed, sizeof fixed);
    for (size_t i = 0; i < LEVELS; i++) {
        scale_colour((double)(2 * i) / (LEVELS - 1) - 1, palette + 3 * (SCALE + i));
    }
}

static uint8_t colour_of(double value, bool counted, double scale)
{
    if (!counted) {
        return GREY;
    }
    if (isnan(value)) {
        return NAN_COLOUR;
    }
    double x = scale > 0 ? value / scale : value > 0 ? 1 : value < 0 ? -1 : 0;
    x = x > 1 ? 1 : x < -1 ? -1 : x;
    return (uint8_t)(SCALE + (int)((x + 1) * (LEVELS - 1) / 2 + 0.5));
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The size that all but one in 200 of the finite cells keep below: a few huge activations must not
 * bleach all the others. 0 where nothing is finite. */
static bool usual_size(const llava_heat *heat, const double *values, double *size, llava_error *e)
{
    size_t cells = heat->rows * heat->columns, n = 0;
    double *sizes = llava_alloc(e, cells, sizeof(double));
    if (sizes == NULL) {
        return false;
    }
    for (size_t i = 0; i < cells; i++) {
        if (heat->counted[i] && isfinite(values[i])) {
            sizes[n++] = fabs(values[i]);
        }
    }
    if (n > 1) {
        qsort(sizes, n, sizeof *sizes, by_size);
    }
    *size = n == 0 ? 0 : sizes[n - 1 - n / 200];
    if (*size == 0 && n > 0) {
        *size = sizes[n - 1];
    }
    free(sizes);
    return true;
}

typedef struct {
    double low, high; /* finite ones that count */
    size_t beyond;    /* of a larger size than the scale */
    size_t counted;
} extent;

static extent extent_of(const llava_heat *heat, const double *values, double scale)
{
    extent x = {0};
    for (size_t i = 0; i < heat->rows * heat->columns; i++) {
        if (heat->counted[i] && isfinite(values[i])) {
            x.low = x.counted == 0 || values[i] < x.low ? values[i] : x.low;
            x.high = x.counted == 0 || values[i] > x.high ? values[i] : x.high;
            x.beyond += fabs(values[i]) > scale;
            x.counted++;
        }
    }
    return x;
}

/* ---- one picture
 * ------------------------------------------------------------------------------- */

/* Opens <img>; rows x columns say how it is stretched: never thinner than 1 to 4. */
static void write_image(llava_html *h, const llava_png *png, size_t rows, size_t columns,
                        const char *alt)
{
    double shape = (double)columns / (double)rows;
    shape = shape > 4 ? 4 : shape < 0.5 ? 0.5 : shape;
    llava_html_format(h, "<img style=\"aspect-ratio:%.3f\" alt=\"%s\" src=\"", shape, alt);
    llava_html_png(h, png);
    llava_html_put(h, "\">");
}

static void write_scale(llava_html *h, double scale, bool both)
{
    llava_html_format(h, "<div class=\"scale%s\"><span>%s</span>%s<span>%s</span></div>",
                      both ? "" : " up", both ? llava_short(-scale).text : "0",
                      both ? "<span>0</span>" : "", llava_short(scale).text);
}

static void write_indices(llava_html *h, const uint8_t *pixels, size_t rows, size_t columns,
                          size_t true_rows, size_t true_columns, const char *alt)
{
    uint8_t palette[3 * COLOURS];
    llava_png png;
    make_palette(palette);
    h->ok = h->ok && llava_png_indexed(&png, pixels, columns, rows, palette, COLOURS, h->e);
    if (h->ok) {
        write_image(h, &png, true_rows, true_columns, alt);
        free(png.bytes);
    }
}

/* A matrix of cells with its scale and caption; mark: a row to point at, or -1. */
static void write_matrix(llava_html *h, const llava_view *v, const double *values, double scale,
                         const char *title, bool mark)
{
    const llava_heat *heat = &v->whole;
    size_t cells = heat->rows * heat->columns;
    extent x = extent_of(heat, values, scale);
    uint8_t *pixels = h->ok ? llava_alloc(h->e, cells, 1) : NULL;
    h->ok = h->ok && pixels != NULL;
    for (size_t i = 0; h->ok && i < cells; i++) {
        pixels[i] = colour_of(values[i], heat->counted[i], scale);
    }
    llava_html_format(h, "<figure><figcaption><b>%s</b></figcaption><div class=\"frame\">", title);
    if (h->ok) {
        write_indices(h, pixels, heat->rows, heat->columns, v->layout.rows, v->layout.columns,
                      title);
    }
    if (mark) {
        double at = 100 * ((double)v->worst.row + 0.5) / (double)v->layout.rows;
        llava_html_format(h, "<span class=\"mark\" style=\"top:%.2f%%\">&#9664;</span>", at);
    }
    llava_html_put(h, "</div>");
    write_scale(h, scale, x.low < 0);
    llava_html_format(h, "<p class=\"note\">%s to %s", llava_short(x.low).text,
                      llava_short(x.high).text);
    if (x.beyond > 0) {
        llava_html_format(h, "; %s%% of the cells lie beyond the scale",
                          llava_short(100 * (double)x.beyond / (double)x.counted).text);
    }
    llava_html_put(h, "</p></figure>");
    free(pixels);
}

static void write_photo(llava_html *h, const llava_view *v, const uint8_t *rgb, const char *title)
{
    llava_png png;
    h->ok = h->ok && llava_png_rgb(&png, rgb, v->whole.columns, v->whole.rows, h->e);
    llava_html_format(h, "<figure><figcaption><b>%s</b></figcaption><div class=\"frame\">", title);
    if (h->ok) {
        write_image(h, &png, v->layout.rows, v->layout.columns, title);
        free(png.bytes);
    }
    llava_html_put(h, "</div><p class=\"note\">as a picture</p></figure>");
}

/* ---- all heads at once
 * ------------------------------------------------------------------------- */

static double largest(const llava_heat *heat)
{
    extent x = extent_of(heat, heat->difference, 0);
    return fmax(fabs(x.low), fabs(x.high));
}

static void write_heads(llava_html *h, const llava_view *v)
{
    size_t across = 1, tall = v->heads[0].rows + 1, wide = v->heads[0].columns + 1;
    double scale = 0;
    while (across * across < v->head_count) {
        across++;
    }
    size_t down = (v->head_count - 1) / across + 1, rows = down * tall - 1;
    size_t columns = across * wide - 1;
    uint8_t *pixels = h->ok ? llava_alloc(h->e, rows * columns, 1) : NULL;
    h->ok = h->ok && pixels != NULL;
    if (!h->ok) {
        return;
    }
    memset(pixels, LINE, rows * columns);
    for (size_t i = 0; i < v->head_count; i++) {
        scale = fmax(scale, largest(&v->heads[i]));
    }
    for (size_t i = 0; i < v->head_count; i++) {
        const llava_heat *heat = &v->heads[i];
        uint8_t *corner = pixels + i / across * tall * columns + i % across * wide;
        for (size_t c = 0; c < heat->rows * heat->columns; c++) {
            corner[c / heat->columns * columns + c % heat->columns] =
                colour_of(heat->difference[c], heat->counted[c], scale);
        }
    }
    llava_html_put(h, "<figure><figcaption><b>difference, head by head</b></figcaption><div "
                      "class=\"frame\">");
    write_indices(h, pixels, rows, columns, v->layout.rows * down, v->layout.columns * across,
                  "difference of every head");
    free(pixels);
    llava_html_put(h, "</div>");
    write_scale(h, scale, true);
    llava_html_format(h,
                      "<p class=\"note\">heads 0 to %zu of %zu, %zu in a row, from the left; one "
                      "scale for all</p></figure>",
                      v->head_count - 1, v->layout.heads, across);
}

/* ---- the error over the picture
 * ---------------------------------------------------------------- */

/* The side of the square of patches that the rows stand for: rows, or rows - 1 behind a class row;
 * 0: none. */
static size_t patch_side(const llava_view *v)
{
    llava_tap_place place;
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    if (v->row_error_count == 0 || !llava_tap_find(v->name, &place) ||
        kinds[place.kind].at < LLAVA_AT_VISION || kinds[place.kind].at > LLAVA_AT_PROJECTOR) {
        return 0;
    }
    for (size_t side = 2; side * side <= v->row_error_count; side++) {
        if (side * side == v->row_error_count || side * side + 1 == v->row_error_count) {
            return side;
        }
    }
    return 0;
}

static void write_patches(llava_html *h, const llava_view *v)
{
    size_t side = patch_side(v), first = v->row_error_count - side * side;
    double scale = 0;
    uint8_t pixels[128 * 128];
    if (side == 0) { /* a view has the errors of at most 128 * 128 rows */
        return;
    }
    for (size_t i = 0; i < side * side; i++) {
        double error = v->row_error[first + i];
        scale = isfinite(error) ? fmax(scale, error) : scale;
    }
    for (size_t i = 0; i < side * side; i++) {
        pixels[i] = colour_of(v->row_error[first + i], true, scale);
    }
    llava_html_put(
        h, "<figure class=\"small\"><figcaption><b>the error over the picture</b></figcaption><div "
           "class=\"frame\">");
    write_indices(h, pixels, side, side, side, side, "relative error of every patch");
    llava_html_put(h, "</div>");
    write_scale(h, scale, false);
    llava_html_put(h, "<p class=\"note\">relative error of the row of each patch");
    if (first == 1) {
        llava_html_format(h, "; row 0, the class row: %s", llava_short(v->row_error[0]).text);
    }
    llava_html_put(h, "</p></figure>");
}

/* ---- the whole
 * --------------------------------------------------------------------------------- */

static void write_about(llava_html *h, const llava_view *v)
{
    const llava_view_layout *l = &v->layout;
    const llava_heat *heat = &v->whole;
    llava_html_format(h, "<p class=\"note\">%zu rows from top to bottom, %zu %s from left to right",
                      l->rows, l->columns,
                      l->kind == LLAVA_VIEW_HEADS_FIRST                              ? "keys"
                      : l->kind == LLAVA_VIEW_PLANES || l->kind == LLAVA_VIEW_PIXELS ? "pixels"
                                                                                     : "channels");
    if (l->samples > 1) {
        llava_html_format(h, "; sample %zu, the worst of %zu", v->worst.sample, l->samples);
    }
    if (v->head_count > 0) {
        llava_html_format(h, "; head %zu, the worst of %zu", v->worst.head, l->heads);
    }
    llava_html_format(h, "; &#9664; the worst row, %zu.", v->worst.row);
    if (heat->tall * heat->wide > 1) {
        llava_html_format(h,
                          " A cell stands for %zu&#215;%zu values: one of them, and of the "
                          "differences the largest.",
                          heat->tall, heat->wide);
    }
    bool grey = false, odd = false;
    for (size_t i = 0; i < heat->rows * heat->columns; i++) {
        grey |= !heat->counted[i];
        odd |= isnan(heat->difference[i]);
    }
    llava_html_put(h, grey ? " Grey does not count: padding, or keys that the query may not see."
                           : "");
    llava_html_put(h, odd ? " Magenta is NaN, or infinite on one side." : "");
    llava_html_put(h, v->expected_rgb != NULL
                          ? " The difference is that of the colour which is off most.</p>"
                          : "</p>");
}

/* Ids and masks say nothing as colours. */
static bool is_ids(const llava_view *v)
{
    llava_tap_place place;
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    return llava_tap_find(v->name, &place) &&
           (kinds[place.kind].at == LLAVA_AT_INPUT || kinds[place.kind].at == LLAVA_AT_ANSWER);
}

static void write_unequal(llava_html *h, const llava_view *v, const char *const names[2])
{
    llava_html_format(h,
                      "<details%s><summary>The first values that are not equal</summary><div "
                      "class=\"scroll\"><table class=\"numbers\"><thead><tr><th "
                      "scope=\"col\">index</th><th scope=\"col\">%s</th><th "
                      "scope=\"col\">%s</th></tr></thead><tbody>",
                      is_ids(v) ? " open" : "", names[0], names[1]);
    for (size_t i = 0; i < v->unequal_count; i++) {
        const llava_unequal *u = &v->unequal[i];
        llava_html_format(h, "<tr><th scope=\"row\">%zu</th><td>%.9g</td><td>%.9g</td></tr>",
                          u->index, u->expected, u->actual);
    }
    llava_html_put(h, "</tbody></table></div></details>");
}

static void write_title(llava_html *h, const llava_view *v, const char *words)
{
    llava_html_format(h, "<section><h2>%s: <code>", words);
    llava_html_cut(h, v->name, 200);
    llava_html_put(h, "</code></h2>");
}

void llava_view_write(llava_html *h, const llava_view *v, const char *const names[2])
{
    const llava_heat *heat = &v->whole;
    double scale = 0;
    bool photo = v->expected_rgb != NULL;
    if (is_ids(v)) {
        write_title(h, v, "Ids");
        write_unequal(h, v, names);
        llava_html_put(h, "</section>");
        return;
    }
    h->ok = h->ok && usual_size(heat, heat->expected, &scale, h->e);
    if (h->ok && scale == 0) {
        h->ok = usual_size(heat, heat->actual, &scale, h->e);
    }
    write_title(h, v, "In pictures");
    write_about(h, v);
    llava_html_put(h, "<div class=\"trio\">");
    if (photo) {
        write_photo(h, v, v->expected_rgb, names[0]);
        write_photo(h, v, v->actual_rgb, names[1]);
    } else {
        write_matrix(h, v, heat->expected, scale, names[0], false);
        write_matrix(h, v, heat->actual, scale, names[1], false);
    }
    write_matrix(h, v, heat->difference, largest(heat), "difference", true);
    if (v->head_count > 1) {
        write_heads(h, v);
    }
    write_patches(h, v);
    llava_html_put(h, "</div>");
    write_unequal(h, v, names);
    llava_html_put(h, "</section>");
}
