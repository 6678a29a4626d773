#include "tools/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- where an element lies
 * --------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static llava_view_kind kind_of(const char *name, int rank, const size_t *shape)
{
    const llava_tap_kind *kinds;
    llava_tap_place place;
    llava_tap_kinds(&kinds);
    if (!llava_tap_find(name, &place)) {
        return LLAVA_VIEW_ROWS;
    }
    const char *letters = kinds[place.kind].shape;
    if (rank == 3 && ends_with(letters, ",3") && shape[2] == 3) {
        return LLAVA_VIEW_PIXELS;
    }
    if (rank != 4) {
        return LLAVA_VIEW_ROWS;
    }
    if (strstr(letters, ",3,") != NULL) {
        return shape[1] == 3 ? LLAVA_VIEW_PLANES : LLAVA_VIEW_ROWS;
    }
    return ends_with(letters, ",d")         ? LLAVA_VIEW_HEADS_INSIDE
           : strstr(letters, ",h,") != NULL ? LLAVA_VIEW_HEADS_FIRST
                                            : LLAVA_VIEW_ROWS;
}

llava_view_layout llava_view_lay_out(const char *name, int rank, const size_t *shape)
{
    llava_view_layout l = {.samples = 1, .heads = 1, .rows = 1, .columns = 1};
    l.kind = kind_of(name, rank, shape);
    if (l.kind == LLAVA_VIEW_PIXELS) {
        l.rows = shape[0];
        l.columns = shape[1];
        return l;
    }
    l.columns = rank > 0 ? shape[rank - 1] : 1;
    l.rows = rank > 1 ? shape[rank - 2] : 1;
    if (l.kind == LLAVA_VIEW_ROWS) {
        for (int i = 0; i < rank - 2; i++) {
            l.samples *= shape[i]; /* of an array in memory or file: no overflow */
        }
        return l;
    }
    bool inside = l.kind == LLAVA_VIEW_HEADS_INSIDE;
    l.samples = shape[0];
    l.heads = inside ? shape[2] : shape[1];
    l.rows = inside ? shape[1] : shape[2];
    return l;
}

llava_view_place llava_view_place_of(const llava_view_layout *l, size_t row)
{
    llava_view_place p = {0};
    switch (l->kind) {
    case LLAVA_VIEW_PIXELS:
        p.row = row / l->columns;
        break;
    case LLAVA_VIEW_HEADS_INSIDE:
        p.head = row % l->heads;
        p.row = row / l->heads % l->rows;
        p.sample = row / l->heads / l->rows;
        break;
    default:
        p.row = row % l->rows;
        p.head = row / l->rows % l->heads;
        p.sample = row / l->rows / l->heads;
    }
    return p;
}

/* ---- one small matrix
 * -------------------------------------------------------------------------- */

static void free_heat(llava_heat *h)
{
    free(h->expected);
    free(h->actual);
    free(h->difference);
    free(h->counted);
}

/* For a matrix of rows x columns, at most edge x edge cells. full: with expected and actual. */
static bool open_heat(llava_heat *h, size_t rows, size_t columns, size_t edge, bool full,
                      llava_error *e)
{
    h->tall = (rows - 1) / edge + 1;
    h->wide = (columns - 1) / edge + 1;
    h->rows = (rows - 1) / h->tall + 1;
    h->columns = (columns - 1) / h->wide + 1;
    size_t cells = h->rows * h->columns;
    h->difference = llava_alloc(e, cells, sizeof(double));
    h->counted = llava_alloc(e, cells, 1);
    if (full) {
        h->expected = llava_alloc(e, cells, sizeof(double));
        h->actual = llava_alloc(e, cells, sizeof(double));
    }
    return h->difference != NULL && h->counted != NULL &&
           (!full || (h->expected != NULL && h->actual != NULL));
}

/* actual - expected; 0 where both are the same NaN or infinity; NaN where only one is. */
static double difference_of(double expected, double actual)
{
    if (expected == actual || (isnan(expected) && isnan(actual))) {
        return 0;
    }
    double d = actual - expected;
    return isfinite(d) ? d : (double)NAN;
}

static void add_to_heat(llava_heat *h, size_t row, size_t column, double expected, double actual)
{
    size_t at = row / h->tall * h->columns + column / h->wide;
    double d = difference_of(expected, actual);
    if (!h->counted[at] && h->expected != NULL) {
        h->expected[at] = expected;
        h->actual[at] = actual;
    }
    if (!h->counted[at] || isnan(d) || fabs(d) > fabs(h->difference[at])) {
        h->difference[at] = d;
    }
    h->counted[at] = 1;
}

/* ---- one pass over the tensor
 * ------------------------------------------------------------------ */

typedef struct {
    llava_view *view;
    const llava_view_source *source;
    llava_row_counting counts;
    size_t width;     /* of a row of the tensor */
    double low, high; /* of a picture's values, to show them as bytes */
    double *norm;     /* |expected|^2 of each row of `whole` */
} viewer;

static bool is_picture(const llava_view *v)
{
    return v->layout.kind == LLAVA_VIEW_PLANES || v->layout.kind == LLAVA_VIEW_PIXELS;
}

static void note_unequal(llava_view *v, size_t index, double expected, double actual)
{
    if (difference_of(expected, actual) != 0 && v->unequal_count < LLAVA_VIEW_LISTED) {
        v->unequal[v->unequal_count++] = (llava_unequal){index, expected, actual};
    }
}

static void add_rgb(const viewer *w, size_t row, size_t column, size_t channel, double expected,
                    double actual)
{
    const llava_heat *h = &w->view->whole;
    if (row % h->tall != 0 || column % h->wide != 0) {
        return;
    }
    size_t at = (row / h->tall * h->columns + column / h->wide) * 3 + channel;
    double scale = 255 / (w->high - w->low);
    double x = (expected - w->low) * scale, y = (actual - w->low) * scale;
    w->view->expected_rgb[at] = (uint8_t)(x > 0 ? (x < 255 ? x : 255) : 0);
    w->view->actual_rgb[at] = (uint8_t)(y > 0 ? (y < 255 ? y : 255) : 0);
}

static void add_value(viewer *w, const llava_view_place *p, size_t column, double expected,
                      double actual)
{
    llava_view *v = w->view;
    if (p->head < v->head_count) {
        add_to_heat(&v->heads[p->head], p->row, column, expected, actual);
    }
    if (v->head_count > 0 && p->head != v->worst.head) {
        return;
    }
    add_to_heat(&v->whole, p->row, column, expected, actual);
    double d = difference_of(expected, actual);
    if (v->row_error != NULL) {
        v->row_error[p->row] += d * d;
        w->norm[p->row] += expected * expected;
    }
}

/* n values of a row, from column `first` on. */
static void add_values(viewer *w, size_t row, size_t first, size_t n, const double *expected,
                       const double *actual)
{
    llava_view *v = w->view;
    const llava_port_tensor *given = w->source->given;
    llava_view_place p = llava_view_place_of(&v->layout, row);
    if (!llava_row_counts(&w->counts, row)) {
        return;
    }
    for (size_t i = first; i < first + n; i++, expected++, actual++) {
        if (!llava_element_counts(&w->counts, row, i) ||
            (given != NULL && !llava_port_given(given, row, i))) {
            continue;
        }
        note_unequal(v, row * w->width + i, *expected, *actual);
        if (p.sample != v->worst.sample) {
            continue;
        }
        if (is_picture(v)) {
            bool planes = v->layout.kind == LLAVA_VIEW_PLANES;
            size_t column = planes ? i : row % v->layout.columns;
            add_to_heat(&v->whole, p.row, column, *expected, *actual);
            add_rgb(w, p.row, column, planes ? p.head : i, *expected, *actual);
        } else {
            add_value(w, &p, i, *expected, *actual);
        }
    }
}

/* Many short rows at once, a long one in parts. */
static bool read_all(viewer *w, size_t rows, llava_error *e)
{
    enum { PIECE = 65536 };
    size_t at_once = w->width < PIECE ? PIECE / w->width : 1;
    size_t part = w->width < PIECE ? w->width : PIECE;
    double *expected = llava_alloc(e, at_once * part, sizeof(double));
    double *actual = llava_alloc(e, at_once * part, sizeof(double));
    bool ok = expected != NULL && actual != NULL;
    for (size_t row = 0; ok && row < rows; row += at_once) {
        size_t n = rows - row < at_once ? rows - row : at_once;
        for (size_t first = 0; ok && first < w->width; first += part) {
            size_t m = w->width - first < part ? w->width - first : part;
            ok = w->source->read(w->source->self, row * w->width + first, n * m, expected, actual,
                                 e);
            for (size_t i = 0; ok && i < n; i++) {
                add_values(w, row + i, first, m, expected + i * m, actual + i * m);
            }
        }
    }
    free(expected);
    free(actual);
    return ok;
}

/* ---- the whole
 * --------------------------------------------------------------------------------- */

static bool open_heads(llava_view *v, llava_error *e)
{
    const llava_view_layout *l = &v->layout;
    if (l->heads < 2 || is_picture(v)) {
        return true;
    }
    size_t count = l->heads < LLAVA_VIEW_HEADS ? l->heads : LLAVA_VIEW_HEADS, across = 1;
    while (across * across < count) {
        across++;
    }
    for (; v->head_count < count; v->head_count++) {
        llava_heat *h = &v->heads[v->head_count];
        if (!open_heat(h, l->rows, l->columns, LLAVA_VIEW_EDGE / across, false, e)) {
            free_heat(h);
            return false;
        }
    }
    return true;
}

static bool open_rows(viewer *w, llava_error *e)
{
    enum { MOST_ROWS = 16384 };
    llava_view *v = w->view;
    if (is_picture(v) || v->layout.rows > MOST_ROWS) {
        return true;
    }
    v->row_error = llava_alloc(e, v->layout.rows, sizeof(double));
    w->norm = llava_alloc(e, v->layout.rows, sizeof(double));
    v->row_error_count = v->layout.rows;
    return v->row_error != NULL && w->norm != NULL;
}

static bool open_rgb(viewer *w, llava_error *e)
{
    llava_view *v = w->view;
    size_t cells = v->whole.rows * v->whole.columns;
    bool bytes = v->layout.kind == LLAVA_VIEW_PIXELS;
    /* normalised pixels lie within about two deviations of the mean */
    w->low = bytes ? 0 : -2.2;
    w->high = bytes ? 255 : 2.7;
    v->expected_rgb = llava_alloc(e, cells, 3);
    v->actual_rgb = llava_alloc(e, cells, 3);
    return v->expected_rgb != NULL && v->actual_rgb != NULL;
}

/* The sample and head that the pictures show: those of the first NaN, else of the worst row. */
static llava_view_place choose(const llava_view_layout *l, const llava_comparison *c, size_t width)
{
    bool mismatched = c->mismatched > 0;
    llava_view_place p = llava_view_place_of(l, mismatched ? c->worst_index / width : c->worst_row);
    if (!mismatched && c->worst_head_l2 > 0 && l->heads > 1) {
        p.head = c->worst_head;
    }
    return p;
}

/* Relative errors, and the worst row of what is shown: that of another head says nothing here. */
static void finish_rows(viewer *w)
{
    llava_view *v = w->view;
    double worst = -1;
    for (size_t i = 0; i < v->row_error_count; i++) {
        double error = isnan(v->row_error[i]) ? (double)INFINITY : v->row_error[i];
        if (error > worst) {
            worst = error;
            v->worst.row = i;
        }
        v->row_error[i] = w->norm[i] > 0 ? sqrt(error / w->norm[i])
                          : error != 0   ? (double)INFINITY
                                         : 0;
    }
}

bool llava_view_make(llava_view **out, const llava_view_source *s, llava_error *e)
{
    size_t rows = s->rank > 0;
    *out = NULL;
    for (int i = 0; i < s->rank; i++) {
        rows *= i < s->rank - 1 || s->shape[i] == 0 ? s->shape[i] : 1;
    }
    if (rows == 0) {
        return true;
    }
    llava_view *v = llava_alloc(e, 1, sizeof *v);
    if (v == NULL) {
        return false;
    }
    viewer w = {.view = v, .source = s, .width = s->shape[s->rank - 1]};
    w.counts = llava_count_rows(s->counting, s->name, s->rank, s->shape);
    v->layout = llava_view_lay_out(s->name, s->rank, s->shape);
    v->worst = choose(&v->layout, s->comparison, w.width);
    v->name = llava_text(e, s->name, strlen(s->name));
    bool ok = v->name != NULL && open_heads(v, e) && open_rows(&w, e) &&
              open_heat(&v->whole, v->layout.rows, v->layout.columns,
                        is_picture(v) ? LLAVA_VIEW_PHOTO : LLAVA_VIEW_EDGE, true, e) &&
              (!is_picture(v) || open_rgb(&w, e)) && read_all(&w, rows, e);
    if (ok && v->row_error != NULL) {
        finish_rows(&w);
    }
    free(w.norm);
    if (!ok) {
        llava_view_free(v);
        return false;
    }
    *out = v;
    return true;
}

void llava_view_free(llava_view *v)
{
    if (v == NULL) {
        return;
    }
    free_heat(&v->whole);
    for (size_t i = 0; i < v->head_count; i++) {
        free_heat(&v->heads[i]);
    }
    free(v->expected_rgb);
    free(v->actual_rgb);
    free(v->row_error);
    free(v->name);
    free(v);
}
