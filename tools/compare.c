#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 16384 };

/* Sums over one row, or over many. */
typedef struct {
    double dd, ee, aa, ea; /* |d|^2, |e|^2, |a|^2, <e, a> */
} sums;

/* Largest |d| and |expected| of several rows together. */
typedef struct {
    double d, e;
} extremes;

struct llava_comparer {
    llava_row_counting rows;
    const llava_port_tensor *given;   /* NULL: everything is there */
    const llava_some_rows *positions; /* NULL: of all */
    llava_comparison result;
    size_t total;     /* elements of the tensor */
    size_t at;        /* elements taken */
    double *expected; /* the row being gathered, where a piece ends inside it */
    double *actual;
    size_t held;
    sums all;
    size_t row_count;       /* rows that count */
    double worst_row_error; /* |d|_2 of the worst row */
    size_t heads, per_head; /* head of row r: r / per_head % heads; 0: no heads */
    sums *head;
    size_t scales, per_scale; /* row r is held against the largest of r / per_scale % scales */
    extremes *range;          /* [scales]; NULL: against its own largest */
    size_t stride;          /* every stride-th element is sampled, where quantiles are asked for */
    double *sampled, *bits; /* else NULL */
    size_t samples;
};

/* ---- one row --------------------------------------------------------------------------------- */

/* Eight sums side by side: a compiler makes vectors of them without reordering any sum. */
enum { LANES = 8 };

static double across(const double v[LANES])
{
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

static double largest(const double v[LANES])
{
    double most = v[0];
    for (size_t j = 1; j < LANES; j++) {
        most = v[j] > most ? v[j] : most;
    }
    return most;
}

/* Sums and maxima of a row in which everything counts. Any NaN or infinity makes a sum not finite,
 * which the caller looks for. */
static sums whole_row(const double *e, const double *a, size_t n, double *max_d, double *max_e)
{
    double dd[LANES] = {0}, ee[LANES] = {0}, aa[LANES] = {0}, ea[LANES] = {0};
    double md[LANES] = {0}, me[LANES] = {0};
    size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            double x = e[i + j], y = a[i + j], d = y - x;
            double size_d = d < 0 ? -d : d, size_e = x < 0 ? -x : x;
            dd[j] += d * d;
            ee[j] += x * x;
            aa[j] += y * y;
            ea[j] += x * y;
            md[j] = size_d > md[j] ? size_d : md[j];
            me[j] = size_e > me[j] ? size_e : me[j];
        }
    }
    sums s = {across(dd), across(ee), across(aa), across(ea)};
    *max_d = largest(md);
    *max_e = largest(me);
    for (size_t i = whole; i < n; i++) {
        double d = a[i] - e[i];
        s.dd += d * d;
        s.ee += e[i] * e[i];
        s.aa += a[i] * a[i];
        s.ea += e[i] * a[i];
        *max_d = fmax(*max_d, fabs(d));
        *max_e = fmax(*max_e, fabs(e[i]));
    }
    return s;
}

static bool element_counts(const llava_comparer *c, size_t row, size_t i)
{
    return llava_element_counts(&c->rows, row, i) &&
           (c->given == NULL || llava_port_given(c->given, row, i));
}

/* The same, element by element: keys that do not count, NaN and infinities. */
static sums careful_row(llava_comparer *c, size_t row, const double *e, const double *a, size_t n,
                        double *max_d, double *max_e)
{
    llava_comparison *r = &c->result;
    sums s = {0};
    *max_d = 0;
    *max_e = 0;
    for (size_t i = 0; i < n; i++) {
        if (!element_counts(c, row, i)) {
            continue;
        }
        r->count++;
        r->unequal += !(e[i] == a[i]);
        r->nan_expected += isnan(e[i]) != 0;
        r->nan_actual += isnan(a[i]) != 0;
        r->inf_expected += isinf(e[i]) != 0;
        r->inf_actual += isinf(a[i]) != 0;
        if (!isfinite(e[i]) || !isfinite(a[i])) {
            if (!(e[i] == a[i])) {
                if (r->mismatched++ == 0) {
                    r->worst_index = row * n + i;
                    r->worst_expected = e[i];
                    r->worst_actual = a[i];
                }
            }
            continue;
        }
        double d = a[i] - e[i];
        s.dd += d * d;
        s.ee += e[i] * e[i];
        s.aa += a[i] * a[i];
        s.ea += e[i] * a[i];
        *max_d = fmax(*max_d, fabs(d));
        *max_e = fmax(*max_e, fabs(e[i]));
    }
    return s;
}

static void add_sums(sums *to, const sums *s)
{
    to->dd += s->dd;
    to->ee += s->ee;
    to->aa += s->aa;
    to->ea += s->ea;
}

/* Where in the row the largest difference is. */
static void note_worst(llava_comparer *c, size_t row, const double *e, const double *a, size_t n,
                       double max_d)
{
    llava_comparison *r = &c->result;
    if (r->mismatched > 0 || (c->row_count > 0 && !(max_d > r->max_abs))) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (fabs(a[i] - e[i]) == max_d && element_counts(c, row, i)) {
            r->worst_index = row * n + i;
            r->worst_expected = e[i];
            r->worst_actual = a[i];
            return;
        }
    }
}

static void sample(llava_comparer *c, size_t row, const double *e, const double *a, size_t n)
{
    size_t first = row * n;
    size_t i = (c->stride - first % c->stride) % c->stride;
    for (; c->bits != NULL && i < n; i += c->stride) { /* SAMPLE of them at most */
        if (isfinite(e[i]) && isfinite(a[i]) && element_counts(c, row, i)) {
            double d = fabs(a[i] - e[i]);
            c->sampled[c->samples] = d;
            c->bits[c->samples] = d == 0      ? 53
                                  : e[i] == 0 ? 0
                                              : fmin(53, fmax(0, -log2(d / fabs(e[i]))));
            c->samples++;
        }
    }
}

/* The position of a row that is one of `heads` heads' (0: of none). */
static size_t position_of(size_t heads, size_t per_head, size_t row)
{
    return heads == 0 ? row : row / (heads * per_head) * per_head + row % per_head;
}

static void take_extremes(llava_comparison *r, double max_d, double max_e)
{
    if (max_d > 0) {
        r->rel_max = fmax(r->rel_max, max_e > 0 ? max_d / max_e : (double)INFINITY);
    }
}

static void take_row(llava_comparer *c, size_t row, const double *e, const double *a)
{
    llava_comparison *r = &c->result;
    size_t n = c->rows.width;
    double max_d, max_e;
    if (!llava_row_counts(&c->rows, row) ||
        (c->positions != NULL && !c->positions->wanted[position_of(c->heads, c->per_head, row)])) {
        return;
    }
    sums s = {0};
    bool careful =
        c->rows.keys || c->rows.positions || c->rows.picture_of != NULL || c->given != NULL;
    if (!careful) {
        s = whole_row(e, a, n, &max_d, &max_e);
        /* overflow of a square looks like an infinity, and the careful way sorts it out */
        careful = !isfinite(s.dd) || !isfinite(s.ee) || !isfinite(s.aa);
    }
    if (careful) {
        s = careful_row(c, row, e, a, n, &max_d, &max_e);
    } else {
        r->count += n;
        for (size_t i = 0; max_d > 0 && i < n; i++) { /* d * d may vanish where d does not */
            r->unequal += e[i] != a[i];
        }
    }
    note_worst(c, row, e, a, n, max_d);
    r->max_abs = fmax(r->max_abs, max_d);
    if (c->range != NULL) {
        extremes *x = &c->range[row / c->per_scale % c->scales];
        *x = (extremes){fmax(x->d, max_d), fmax(x->e, max_e)};
    } else {
        take_extremes(r, max_d, max_e);
    }
    if (s.dd > c->worst_row_error) {
        c->worst_row_error = s.dd;
        r->worst_row = row;
        r->worst_row_l2 = s.ee > 0 ? sqrt(s.dd / s.ee) : (double)INFINITY;
    }
    add_sums(&c->all, &s);
    if (c->heads > 0) {
        add_sums(&c->head[row / c->per_head % c->heads], &s);
    }
    sample(c, row, e, a, n);
    c->row_count++;
}

/* ---- the tensor --------------------------------------------------------------------------------
 */

/* Which axis of a tap is its heads: the third of [B,S,h,d], the second of [B,h,S,S']; 0: none. */
static void find_heads(const char *name, int rank, const size_t *shape, size_t *heads,
                       size_t *per_head)
{
    *heads = *per_head = 0;
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    llava_tap_place place;
    if (rank != 4 || !llava_tap_find(name, &place) ||
        strstr(kinds[place.kind].name, ".attn.") == NULL) {
        return;
    }
    bool keys = kinds[place.kind].shape[2] == 'h';
    *heads = keys ? shape[1] : shape[2];
    *per_head = keys ? shape[2] : 1;
}

/* What a row's largest error is held against, where not its own largest value: that of attention
 * scores' head, as the first row of a causal mask is one product, which may cancel to anything, and
 * its rounding is that of what cancelled; and that of a picture's channel, as levels near the mean
 * cancel with it. */
static void find_scales(llava_comparer *c, const char *name, int rank, const size_t *shape)
{
    if (c->heads > 0 && strcmp(strrchr(name, '.'), ".scores") == 0) {
        c->scales = c->heads;
        c->per_scale = c->per_head;
    } else if (rank == 4 && strcmp(name, "pixel_values") == 0) {
        c->scales = shape[1];
        c->per_scale = shape[2];
    }
}

size_t llava_position_of_row(const char *name, int rank, const size_t *shape, size_t row)
{
    size_t heads, per_head;
    find_heads(name, rank, shape, &heads, &per_head);
    return position_of(heads, per_head, row);
}

static void free_comparer(llava_comparer *c)
{
    free(c->expected);
    free(c->actual);
    free(c->head);
    free(c->range);
    free(c->sampled);
    free(c->bits);
    free(c);
}

bool llava_comparer_open(llava_comparer **comparer, const llava_counting *counting,
                         const char *name, int rank, const size_t *shape, llava_error *e)
{
    llava_comparer *c = *comparer = llava_alloc(e, 1, sizeof *c);
    if (c == NULL) {
        return false;
    }
    c->rows = llava_count_rows(counting, name, rank, shape);
    c->total = 1;
    for (int i = 0; i < rank; i++) {
        c->total *= shape[i];
    }
    find_heads(name, rank, shape, &c->heads, &c->per_head);
    find_scales(c, name, rank, shape);
    c->stride = c->total / SAMPLE + 1;
    c->expected = llava_alloc(e, c->rows.width, sizeof(double));
    c->actual = llava_alloc(e, c->rows.width, sizeof(double));
    c->head = llava_alloc(e, c->heads, sizeof(sums));
    c->range = c->scales > 0 ? llava_alloc(e, c->scales, sizeof(extremes)) : NULL;
    if (c->expected == NULL || c->actual == NULL || c->head == NULL ||
        (c->scales > 0 && c->range == NULL)) {
        free_comparer(c);
        *comparer = NULL;
        return false;
    }
    return true;
}

bool llava_comparer_quantiles(llava_comparer *c, llava_error *e)
{
    c->sampled = llava_alloc(e, SAMPLE, sizeof(double));
    c->bits = llava_alloc(e, SAMPLE, sizeof(double));
    return c->sampled != NULL && c->bits != NULL;
}

void llava_comparer_only(llava_comparer *c, const llava_port_tensor *tensor)
{
    c->given = tensor != NULL && tensor->partial ? tensor : NULL;
}

void llava_comparer_positions(llava_comparer *c, const llava_some_rows *rows)
{
    c->positions = rows;
}

void llava_comparer_add(llava_comparer *c, const double *expected, const double *actual, size_t n)
{
    size_t width = c->rows.width;
    while (n > 0) { /* then a row is not empty */
        size_t row = c->at / width;
        if (c->held == 0 && n >= width) {
            take_row(c, row, expected, actual);
            expected += width;
            actual += width;
            n -= width;
            c->at += width;
            continue;
        }
        size_t take = width - c->held < n ? width - c->held : n;
        memcpy(c->expected + c->held, expected, take * sizeof(double));
        memcpy(c->actual + c->held, actual, take * sizeof(double));
        c->held += take;
        expected += take;
        actual += take;
        n -= take;
        if (c->held == width) {
            take_row(c, row, c->expected, c->actual);
            c->held = 0;
            c->at += width;
        }
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void finish_samples(llava_comparer *c)
{
    static const double shares[LLAVA_QUANTILES] = {0.5, 0.9, 0.99, 0.999};
    if (c->samples == 0) {
        return;
    }
    qsort(c->sampled, c->samples, sizeof(double), ascending);
    qsort(c->bits, c->samples, sizeof(double), ascending);
    for (size_t i = 0; i < LLAVA_QUANTILES; i++) {
        c->result.quantiles[i] = c->sampled[(size_t)(shares[i] * (double)(c->samples - 1))];
    }
    c->result.equal_bits = c->bits[c->samples / 2];
}

llava_comparison llava_comparer_close(llava_comparer *c)
{
    finish_samples(c);
    llava_comparison r = c->result;
    r.norm = sqrt(c->all.ee);
    r.rel_l2 = c->all.dd == 0 ? 0 : c->all.ee > 0 ? sqrt(c->all.dd / c->all.ee) : (double)INFINITY;
    double norms = sqrt(c->all.ee) * sqrt(c->all.aa);
    r.cosine = norms > 0 ? c->all.ea / norms : c->all.dd == 0 ? 1 : 0;
    for (size_t i = 0; i < c->scales; i++) {
        take_extremes(&r, c->range[i].d, c->range[i].e);
    }
    for (size_t h = 0; h < c->heads; h++) {
        const sums *s = &c->head[h];
        double l2 = s->dd == 0 ? 0 : s->ee > 0 ? sqrt(s->dd / s->ee) : (double)INFINITY;
        if (l2 > r.worst_head_l2) {
            r.worst_head_l2 = l2;
            r.worst_head = h;
        }
    }
    free_comparer(c);
    return r;
}

bool llava_compare(const llava_counting *counting, const char *name, int rank, const size_t *shape,
                   const double *expected, const double *actual, llava_comparison *result,
                   llava_error *e)
{
    llava_comparer *c;
    if (!llava_comparer_open(&c, counting, name, rank, shape, e)) {
        return false;
    }
    llava_comparer_add(c, expected, actual, c->total);
    *result = llava_comparer_close(c);
    return true;
}
