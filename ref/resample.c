/* Resizing. For each axis, n input pixels to m output pixels (spec 6.5):
 *
 *     scale = n/m, stretch = max(scale, 1), c = (i + 0.5) scale
 *     out_i = sum_j w_j in_j,   w_j = K((j + 0.5 - c) / stretch) / sum of them,
 *
 * over the pixels j whose centre lies within the kernel's support times the stretch.
 *
 * The weights are then whole numbers: round(w * 2^22) in Pillow, round(w * 2^p) with p below 22 in
 * torchvision. Sums of products of whole numbers are exact in a double, so one loop serves them
 * all, and the variants differ in the unit of the weights and in the last rounding only. */
#include "resample.h"
#include "elementary.h"

#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

/* ---- planes ---- */

bool llava_plane_new(llava_plane *plane, size_t height, size_t width, bool doubles, llava_error *e)
{
    *plane = (llava_plane){.height = height, .width = width};
    size_t pixels;
    if (!llava_mul(height, width, &pixels) || pixels > LLAVA_MAX_PIXELS) {
        return llava_fail(e, "a picture of %zu x %zu (height x width), the limit is %d pixels",
                          height, width, LLAVA_MAX_PIXELS);
    }
    if (doubles) {
        plane->f64 = llava_alloc(e, pixels, 3 * sizeof *plane->f64);
    } else {
        plane->u8 = llava_alloc(e, pixels, 3);
    }
    return plane->f64 != NULL || plane->u8 != NULL;
}

void llava_plane_free(llava_plane *plane)
{
    free(plane->u8);
    free(plane->f64);
    *plane = (llava_plane){0};
}

/* Clipped to 0..255 and rounded, ties to even. */
static double nearest_level(double x)
{
    if (!(x > 0.0)) {
        return 0.0;
    }
    if (x >= 255.0) {
        return 255.0;
    }
    int whole = (int)x;
    double rest = x - whole;
    bool up = rest > 0.5 || (rest == 0.5 && whole % 2 != 0);
    return up ? whole + 1 : whole;
}

bool llava_plane_to_u8(llava_plane *plane, double tie, llava_error *e)
{
    if (plane->f64 == NULL) {
        return true;
    }
    llava_plane bytes;
    if (!llava_plane_new(&bytes, plane->height, plane->width, false, e)) {
        return false;
    }
    size_t n = 3 * plane->height * plane->width;
    for (size_t i = 0; i < n; i++) {
        bytes.u8[i] = (uint8_t)nearest_level(plane->f64[i] + tie);
    }
    llava_plane_free(plane);
    *plane = bytes;
    return true;
}

/* ---- kernels ---- */

static double support_of(llava_resample filter)
{
    static const double supports[] = {
        [LLAVA_RESAMPLE_LANCZOS] = 3.0,  [LLAVA_RESAMPLE_BICUBIC] = 2.0,
        [LLAVA_RESAMPLE_BILINEAR] = 1.0, [LLAVA_RESAMPLE_HAMMING] = 1.0,
        [LLAVA_RESAMPLE_BOX] = 0.5,      [LLAVA_RESAMPLE_NEAREST] = 0.5};
    return supports[filter];
}

/* sin(pi t) / (pi t) */
static double sinc(double t)
{
    return t == 0.0 ? 1.0 : llava_sin(t * PI) / (t * PI);
}

/* Keys' cubic. Pillow's weights depend on this very order of operations. */
static double cubic(double t, double a)
{
    t = t < 0.0 ? -t : t;
    if (t < 1.0) {
        return ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
    }
    return t < 2.0 ? (((t - 5.0) * t + 8.0) * t - 4.0) * a : 0.0;
}

/* 0.54 and 0.46 are float32 constants in Pillow. */
static double hamming(double t)
{
    t = t < 0.0 ? -t : t;
    return t >= 1.0 ? 0.0 : sinc(t) * ((double)0.54f + (double)0.46f * llava_cos(t * PI));
}

/* Not of the nearest pixel, which has no weights. */
static double kernel(const llava_resampling *how, double t)
{
    double size = t < 0.0 ? -t : t;
    switch (how->filter) {
    case LLAVA_RESAMPLE_LANCZOS:
        return t >= -3.0 && t < 3.0 ? sinc(t) * sinc(t / 3.0) : 0.0;
    case LLAVA_RESAMPLE_BICUBIC:
        return cubic(t, how->cubic_a);
    case LLAVA_RESAMPLE_BILINEAR:
        return size < 1.0 ? 1.0 - size : 0.0;
    case LLAVA_RESAMPLE_HAMMING:
        return hamming(t);
    default: /* box: half open, so that a pixel on the border counts once */
        return t > -0.5 && t <= 0.5 ? 1.0 : 0.0;
    }
}

/* ---- the taps of one output pixel ---- */

typedef struct {
    size_t n;
    size_t *pixel; /* [n] indices along the axis */
    double *weight;
} tap_list;

typedef struct {
    const llava_resampling *how;
    size_t n, m;
    double scale, stretch, reach; /* reach: the support in input pixels */
    double unit;                  /* weights are whole multiples of 1/unit; 0: not rounded */
    double nearest_at;            /* nearest: the running position of the next output */
    tap_list taps;
} axis;

/* The centre of output i on the input's axis, on which pixel j covers [j, j + 1]. */
static double centre(const axis *a, size_t i)
{
    double at = (double)i;
    if (a->how->grid == LLAVA_GRID_CORNER) {
        return at * a->scale + 0.5;
    }
    if (a->how->grid == LLAVA_GRID_ALIGN_CORNERS) {
        return a->m > 1 ? at * ((double)(a->n - 1) / (double)(a->m - 1)) + 0.5 : 0.5;
    }
    return (at + 0.5) * a->scale;
}

/* One tap, or none where the position has run past the end. Pillow adds the step up instead of
 * multiplying, and its last bits decide now and then: so the outputs must be asked in order. */
static void nearest_tap(axis *a, size_t i)
{
    double at = a->nearest_at;
    a->nearest_at += a->scale;
    if (a->how->grid == LLAVA_GRID_CORNER) {
        at = (double)i * a->scale; /* floor(i n/m): OpenCV's and torch's nearest */
    } else if (a->how->grid == LLAVA_GRID_ALIGN_CORNERS) {
        at = centre(a, i);
    }
    a->taps.pixel[0] = (size_t)at;
    a->taps.weight[0] = 1.0;
    a->taps.n = a->taps.pixel[0] < a->n ? 1 : 0;
}

/* The unwidened kernel of the ports: all its taps, the edge pixel standing in for what lies
 * beyond. */
static void plain_taps(axis *a, double c)
{
    double low = c - a->reach + 0.5;
    int64_t first = (int64_t)low;
    first -= low < (double)first ? 1 : 0; /* floor */
    int64_t last = (int64_t)a->n - 1;
    a->taps.n = (size_t)(2.0 * a->reach);
    for (size_t k = 0; k < a->taps.n; k++) {
        int64_t j = first + (int64_t)k;
        a->taps.weight[k] = kernel(a->how, (double)j - c + 0.5);
        a->taps.pixel[k] = (size_t)(j < 0 ? 0 : j > last ? last : j);
    }
}

static void widened_taps(axis *a, double c)
{
    double low = c - a->reach + 0.5, high = c + a->reach + 0.5;
    size_t first = low > 0.0 ? (size_t)low : 0;
    size_t end = (size_t)high;
    end = end > a->n ? a->n : end;
    double narrow = 1.0 / a->stretch;
    a->taps.n = end > first ? end - first : 0;
    for (size_t k = 0; k < a->taps.n; k++) {
        a->taps.pixel[k] = first + k;
        a->taps.weight[k] = kernel(a->how, ((double)(k + first) - c + 0.5) * narrow);
    }
}

/* The weights of output i, divided by their sum but not rounded yet. In order i = 0, 1, ... */
static void find_taps(axis *a, size_t i)
{
    if (a->how->filter == LLAVA_RESAMPLE_NEAREST) {
        nearest_tap(a, i);
        return;
    }
    if (a->how->antialias) {
        widened_taps(a, centre(a, i));
    } else {
        plain_taps(a, centre(a, i));
    }
    double sum = 0.0;
    for (size_t k = 0; k < a->taps.n; k++) {
        sum += a->taps.weight[k];
    }
    for (size_t k = 0; sum != 0.0 && k < a->taps.n; k++) {
        a->taps.weight[k] /= sum;
    }
}

/* w * unit rounded to a whole number, halves away from zero. Weights are of the order of 1. */
static void round_weights(const tap_list *taps, double unit)
{
    for (size_t k = 0; k < taps->n; k++) {
        double w = taps->weight[k] * unit;
        taps->weight[k] = (double)(int64_t)(w < 0.0 ? w - 0.5 : w + 0.5);
    }
}

/* torchvision's unit of an axis: 2^p, p the least below 22 with which the largest weight would no
 * longer fit 15 bits when doubled (spec 6.8). */
static double int16_unit(axis *a)
{
    double largest = 0.0;
    for (size_t i = 0; i < a->m; i++) {
        find_taps(a, i);
        for (size_t k = 0; k < a->taps.n; k++) {
            largest = a->taps.weight[k] > largest ? a->taps.weight[k] : largest;
        }
    }
    a->nearest_at = 0.5 * a->scale;
    double unit = 1.0;
    for (int p = 0; p < 22 && 0.5 + largest * (unit * 2.0) < 32768.0; p++) {
        unit *= 2.0;
    }
    return unit;
}

static void axis_free(axis *a)
{
    free(a->taps.pixel);
    free(a->taps.weight);
}

static bool axis_new(axis *a, const llava_resampling *how, size_t n, size_t m, llava_error *e)
{
    *a = (axis){.how = how, .n = n, .m = m, .scale = (double)n / (double)m};
    a->stretch = how->antialias && a->scale > 1.0 ? a->scale : 1.0;
    a->reach = support_of(how->filter) * a->stretch;
    a->nearest_at = 0.5 * a->scale;
    size_t most = (size_t)(2.0 * a->reach) + 2;
    a->taps.pixel = llava_alloc(e, most, sizeof *a->taps.pixel);
    a->taps.weight = llava_alloc(e, most, sizeof *a->taps.weight);
    if (a->taps.pixel == NULL || a->taps.weight == NULL) {
        axis_free(a);
        return false;
    }
    if (how->rounding == LLAVA_RESIZE_PILLOW) {
        a->unit = 4194304.0; /* 2^22 */
    } else if (how->rounding == LLAVA_RESIZE_TORCHVISION) {
        a->unit = int16_unit(a);
    }
    return true;
}

/* ---- passes ---- */

/* The weighted sum as it is kept: halves up and clipped to a byte where the weights are whole. */
static double finished(double sum, double unit)
{
    if (unit == 0.0) {
        return sum;
    }
    double level = sum / unit + 0.5; /* exact: both are multiples of 1/unit */
    return level < 0.0 ? 0.0 : level >= 255.0 ? 255.0 : (double)(int)level;
}

/* One axis of the picture: rows stay rows, and every line along the axis is resampled by the same
 * weights. */
static bool resample_axis(const llava_resampling *how, const llava_plane *in, bool vertical,
                          size_t m, llava_plane *out, llava_error *e)
{
    axis a;
    if (!axis_new(&a, how, vertical ? in->height : in->width, m, e)) {
        return false;
    }
    if (!llava_plane_new(out, vertical ? m : in->height, vertical ? in->width : m, a.unit == 0.0,
                         e)) {
        axis_free(&a);
        return false;
    }
    size_t lines = vertical ? in->width : in->height;
    size_t in_step = vertical ? 3 * in->width : 3, in_line = vertical ? 3 : 3 * in->width;
    size_t out_step = vertical ? 3 * out->width : 3, out_line = vertical ? 3 : 3 * out->width;
    for (size_t i = 0; i < m; i++) {
        find_taps(&a, i);
        if (a.unit != 0.0) {
            round_weights(&a.taps, a.unit);
        }
        for (size_t line = 0; line < lines; line++) {
            for (size_t c = 0; c < 3; c++) {
                double sum = 0.0;
                for (size_t k = 0; k < a.taps.n; k++) {
                    size_t from = line * in_line + a.taps.pixel[k] * in_step + c;
                    sum += llava_plane_get(in, from) * a.taps.weight[k];
                }
                llava_plane_put(out, line * out_line + i * out_step + c, finished(sum, a.unit));
            }
        }
    }
    axis_free(&a);
    return true;
}

static bool copy_plane(const llava_plane *in, llava_plane *out, llava_error *e)
{
    if (!llava_plane_new(out, in->height, in->width, in->f64 != NULL, e)) {
        return false;
    }
    size_t n = 3 * in->height * in->width;
    if (in->f64 != NULL) {
        memcpy(out->f64, in->f64, n * sizeof *in->f64);
    } else {
        memcpy(out->u8, in->u8, n);
    }
    return true;
}

/* Is the vertical pass the first? Since Pillow 13 it is where the height loses more than twice the
 * pixels that the width loses: so in every picture more than about twice as high as wide that is
 * made smaller. Before (but for extremes), and in torchvision, the horizontal pass always was, and
 * the bytes between the passes make that visible. */
static bool vertical_first(const llava_resampling *how, const llava_plane *in, size_t height,
                           size_t width)
{
    if (how->horizontal_first || how->rounding == LLAVA_RESIZE_TORCHVISION) {
        return false;
    }
    ptrdiff_t rows_lost = (ptrdiff_t)in->height - (ptrdiff_t)height;
    ptrdiff_t columns_lost = (ptrdiff_t)in->width - (ptrdiff_t)width;
    return rows_lost > 0 && rows_lost > 2 * columns_lost;
}

/* Both axes, or the one that changes. */
static bool resample_both(const llava_resampling *how, const llava_plane *in, size_t height,
                          size_t width, llava_plane *out, llava_error *e)
{
    if (width == in->width) {
        return resample_axis(how, in, true, height, out, e);
    }
    if (height == in->height) {
        return resample_axis(how, in, false, width, out, e);
    }
    bool vertical = vertical_first(how, in, height, width);
    llava_plane between;
    if (!resample_axis(how, in, vertical, vertical ? height : width, &between, e)) {
        return false;
    }
    bool ok = resample_axis(how, &between, !vertical, vertical ? width : height, out, e);
    llava_plane_free(&between);
    return ok;
}

bool llava_resize(const llava_resampling *how, const llava_plane *in, size_t height, size_t width,
                  llava_plane *out, llava_error *e)
{
    if (height == in->height && width == in->width) {
        return copy_plane(in, out, e);
    }
    if (how->rounding == LLAVA_RESIZE_OPENCV) {
        return llava_resize_opencv(how, in, height, width, out, e);
    }
    if (!resample_both(how, in, height, width, out, e)) {
        return false;
    }
    if (how->rounding == LLAVA_RESIZE_ONCE && !llava_plane_to_u8(out, how->tie, e)) {
        llava_plane_free(out);
        return false;
    }
    return true;
}
