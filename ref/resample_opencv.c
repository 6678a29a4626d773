/* Resizing bytes as OpenCV's cv::resize does it (image.resize_rounding=opencv).
 *
 * n input pixels become m output pixels, scale = 1 / (m/n), both quotients rounded. Output i lies
 * at
 *
 *     at = float32((i + 0.5) scale - 0.5),  j = floor(at),  t = at - j,
 *
 * and INTER_LINEAR has weights 1 - t and t for the pixels j and j + 1, INTER_CUBIC Keys' cubic with
 * a = -3/4 for j - 1 to j + 2, in float32. No kernel is widened: what lies between the pixels that
 * a smaller picture reads is lost. The weights are rounded to multiples of 1/2048. Along a row the
 * sums S of level * weight are exact; down a column, with weights w in 1/2048,
 *
 *     linear   floor((sum of floor(floor(S / 2^4) w / 2^16) + 2) / 4)
 *     cubic    sum of S w / 2^22 in float32, the last one first, to nearest even; but in the last
 *              3 * width mod 8 bytes of a row (vectors are 8 bytes) exactly, halves up
 *
 * so that a linear level is 0.25 too low on average where its two weights both truncate something.
 * INTER_AREA, made smaller, averages the input under an output pixel in float32, parts of pixels
 * included; by whole factors, the pixels' sum times float32(1/count). By 2 x 2 that is
 * floor((sum + 2) / 4), and INTER_LINEAR then does the same. Where one side grows, INTER_AREA is a
 * linear of another t. INTER_NEAREST takes floor(i * scale).
 *
 * Measured, no byte of 250 sizes differs: OpenCV 4.5.5, 4.14.0, 5.0.0 on x86-64. Its builds with
 * Intel's IPP (pip's for x86) have another INTER_CUBIC: nothing is rounded before the end, which is
 * image.antialias=off, image.cubic_a=-0.75 and image.resize_rounding=once. */
#include "resample.h"

#include <math.h>
#include <stdlib.h>

typedef enum {
    METHOD_NEAREST,
    METHOD_LINEAR,
    METHOD_CUBIC,
    METHOD_BLOCK,       /* whole factors: every pixel under the output, weight 1 */
    METHOD_AREA,        /* any factor of 1 and more */
    METHOD_AREA_LINEAR, /* INTER_AREA where a side grows */
} method;

/* How products are summed along an axis. */
typedef enum {
    SUM_EXACT,
    SUM_FLOAT32, /* product and sum rounded */
    SUM_SHIFTED, /* the linear's, down a column */
} summing;

typedef struct {
    method by;
    bool vertical;
    summing sum;
    size_t n, m;
    double scale;
    size_t count;  /* of the pixels of one output, in the order in which they are summed */
    size_t *pixel; /* [count] */
    double *weight;
} axis;

/* ---- the pixels and weights of one output ---- */

/* Pixel j, or the edge's where that is outside; how = -1 .. 2. */
static void put(axis *a, double j, double weight)
{
    double last = (double)(a->n - 1);
    a->pixel[a->count] = (size_t)(j < 0.0 ? 0.0 : j > last ? last : j);
    a->weight[a->count++] = weight;
}

/* j + t between two pixels. Along a row, what lies outside is the edge pixel; down a column it is
 * two times the edge pixel, truncated twice. */
static void linear_pixels(axis *a, double j, float t)
{
    if (!a->vertical && (j < 0.0 || j >= (double)(a->n - 1))) {
        t = 0.0F;
    }
    put(a, j, rint((double)((1.0F - t) * 2048.0F)));
    put(a, j + 1.0, rint((double)(t * 2048.0F)));
}

/* Keys' cubic at t of 0..1 from its pixel, and at 1 + t. */
static float cubic_near(float t)
{
    const float a = -0.75F;
    return ((a + 2.0F) * t - (a + 3.0F)) * t * t + 1.0F;
}

static float cubic_far(float t)
{
    const float a = -0.75F;
    float u = t + 1.0F;
    return ((a * u - 5.0F * a) * u + 8.0F * a) * u - 4.0F * a;
}

static void cubic_pixels(axis *a, double j, float t)
{
    float w[4] = {cubic_far(t), cubic_near(t), cubic_near(1.0F - t), 0.0F};
    w[3] = 1.0F - w[0] - w[1] - w[2];
    for (int k = 3; k >= 0; k--) {
        put(a, j + (double)(k - 1), rint((double)(w[k] * 2048.0F)));
    }
}

/* What lies from i * scale to (i + 1) * scale; parts of pixels below a thousandth are none. */
static void area_pixels(axis *a, size_t i)
{
    double from = (double)i * a->scale, to = from + a->scale;
    double room = (double)a->n - from, width = a->scale < room ? a->scale : room;
    double end = floor(to), first = -floor(-from);
    end = end < (double)(a->n - 1) ? end : (double)(a->n - 1);
    first = first < end ? first : end;
    if (first - from > 1e-3) {
        put(a, first - 1.0, (double)(float)((first - from) / width));
    }
    for (size_t k = (size_t)first; k < (size_t)end; k++) {
        put(a, (double)k, (double)(float)(1.0 / width));
    }
    if (to - end > 1e-3) {
        double part = to - end < 1.0 ? to - end : 1.0;
        put(a, end, (double)(float)((part < width ? part : width) / width));
    }
}

static void area_linear_pixels(axis *a, size_t i)
{
    double grows = (double)a->m / (double)a->n;
    double j = floor((double)i * a->scale);
    float t = (float)((double)(i + 1) - (j + 1.0) * grows);
    t = t <= 0.0F ? 0.0F : t - (float)floor((double)t);
    linear_pixels(a, j, t);
}

static void find_pixels(axis *a, size_t i)
{
    float at = (float)(((double)i + 0.5) * a->scale - 0.5);
    double j = floor((double)at);
    float t = at - (float)j;
    a->count = 0;
    switch (a->by) {
    case METHOD_NEAREST:
        put(a, floor((double)i * a->scale), 1.0);
        break;
    case METHOD_LINEAR:
        linear_pixels(a, j, t);
        break;
    case METHOD_CUBIC:
        cubic_pixels(a, j, t);
        break;
    case METHOD_BLOCK:
        for (size_t k = i * (a->n / a->m); k < (i + 1) * (a->n / a->m); k++) {
            put(a, (double)k, 1.0);
        }
        break;
    case METHOD_AREA:
        area_pixels(a, i);
        break;
    case METHOD_AREA_LINEAR:
        area_linear_pixels(a, i);
        break;
    }
}

/* ---- passes ---- */

static double scale_of(size_t n, size_t m)
{
    return 1.0 / ((double)m / (double)n);
}

static bool axis_new(axis *a, method by, bool vertical, size_t n, size_t m, llava_error *e)
{
    bool linear = by == METHOD_LINEAR || by == METHOD_AREA_LINEAR;
    *a = (axis){.by = by, .vertical = vertical, .n = n, .m = m, .scale = scale_of(n, m)};
    a->sum = by == METHOD_AREA ? SUM_FLOAT32 : vertical && linear ? SUM_SHIFTED : SUM_EXACT;
    size_t most = n / m + 4;
    a->pixel = llava_alloc(e, most, sizeof *a->pixel);
    a->weight = llava_alloc(e, most, sizeof *a->weight);
    return a->pixel != NULL && a->weight != NULL;
}

static void axis_free(axis *a)
{
    free(a->pixel);
    free(a->weight);
}

static double added(summing how, double sum, double x, double weight)
{
    switch (how) {
    case SUM_EXACT:
        return sum + x * weight;
    case SUM_FLOAT32:
        return (double)((float)sum + (float)x * (float)weight);
    case SUM_SHIFTED:
        break;
    }
    return sum + floor(floor(x / 16.0) * weight / 65536.0);
}

/* The sum for line `line` of channel c along the axis. */
static double summed(const axis *a, const llava_plane *in, summing how, size_t line, size_t c)
{
    double sum = 0.0;
    for (size_t k = 0; k < a->count; k++) {
        size_t row = a->vertical ? a->pixel[k] : line, column = a->vertical ? line : a->pixel[k];
        double x = llava_plane_get(in, 3 * (row * in->width + column) + c);
        sum = added(how, sum, x, a->weight[k]);
    }
    return sum;
}

static bool along_rows(method by, const llava_plane *in, size_t width, llava_plane *out,
                       llava_error *e)
{
    axis a;
    bool ok = axis_new(&a, by, false, in->width, width, e) &&
              llava_plane_new(out, in->height, width, true, e);
    for (size_t i = 0; ok && i < width; i++) {
        find_pixels(&a, i);
        for (size_t line = 0; line < in->height; line++) {
            for (size_t c = 0; c < 3; c++) {
                out->f64[3 * (line * width + i) + c] = summed(&a, in, a.sum, line, c);
            }
        }
    }
    axis_free(&a);
    return ok;
}

/* A cubic's level. `vector`: one of those that are computed in vectors of float32. */
static double cubic_level(axis *a, const llava_plane *in, bool vector, size_t line, size_t c)
{
    if (vector) {
        return summed(a, in, SUM_FLOAT32, line, c);
    }
    return summed(a, in, SUM_EXACT, line, c) + 0x1p-24; /* halves up: sums are whole 2^-22 */
}

/* The level of a sum down a column. It is no whole number yet where it is rounded to nearest even
 * last. area: the pixels of a block. */
static double finished(method by, double sum, double area)
{
    switch (by) {
    case METHOD_LINEAR:
    case METHOD_AREA_LINEAR:
        return floor((sum + 2.0) / 4.0);
    case METHOD_BLOCK:
        return area == 4.0 ? floor((sum + 2.0) / 4.0) : (double)((float)sum * (1.0F / (float)area));
    case METHOD_NEAREST:
    case METHOD_CUBIC:
    case METHOD_AREA:
        break;
    }
    return sum;
}

/* area: how many pixels of the picture become one. */
static bool down_columns(method by, const llava_plane *in, size_t height, double area,
                         llava_plane *out, llava_error *e)
{
    axis a;
    const size_t width = in->width, vectors = 3 * width / 8 * 8;
    bool ok = axis_new(&a, by, true, in->height, height, e) &&
              llava_plane_new(out, height, width, true, e);
    for (size_t i = 0; ok && i < height; i++) {
        find_pixels(&a, i);
        for (size_t k = 0; by == METHOD_CUBIC && k < a.count; k++) {
            a.weight[k] *= 0x1p-22;
        }
        for (size_t at = 0; at < 3 * width; at++) {
            double sum = by == METHOD_CUBIC ? cubic_level(&a, in, at < vectors, at / 3, at % 3)
                                            : summed(&a, in, a.sum, at / 3, at % 3);
            out->f64[3 * i * width + at] = finished(by, sum, area);
        }
    }
    axis_free(&a);
    return ok;
}

/* ---- which ---- */

/* Not 49: 1 / (1/49) is no whole number. */
static bool is_whole(double scale)
{
    double off = scale - rint(scale);
    return off < 0x1p-52 && off > -0x1p-52;
}

static bool find_method(llava_resample filter, double down, double across, method *by,
                        llava_error *e)
{
    bool whole = is_whole(down) && is_whole(across);
    switch (filter) {
    case LLAVA_RESAMPLE_NEAREST:
        *by = METHOD_NEAREST;
        return true;
    case LLAVA_RESAMPLE_BILINEAR:
        *by = down == 2.0 && across == 2.0 ? METHOD_BLOCK : METHOD_LINEAR;
        return true;
    case LLAVA_RESAMPLE_BICUBIC:
        *by = METHOD_CUBIC;
        return true;
    case LLAVA_RESAMPLE_BOX:
        *by = down < 1.0 || across < 1.0 ? METHOD_AREA_LINEAR : whole ? METHOD_BLOCK : METHOD_AREA;
        return true;
    case LLAVA_RESAMPLE_LANCZOS:
    case LLAVA_RESAMPLE_HAMMING:
        break;
    }
    return llava_fail(e, "image.resize_rounding=opencv: OpenCV has no %s filter",
                      filter == LLAVA_RESAMPLE_LANCZOS ? "Lanczos-3" : "Hamming");
}

bool llava_resize_opencv(const llava_resampling *how, const llava_plane *in, size_t height,
                         size_t width, llava_plane *out, llava_error *e)
{
    double down = scale_of(in->height, height), across = scale_of(in->width, width);
    llava_plane between = {0};
    method by = METHOD_NEAREST;
    *out = (llava_plane){0};
    bool ok = find_method(how->filter, down, across, &by, e) &&
              along_rows(by, in, width, &between, e) &&
              down_columns(by, &between, height, down * across, out, e) &&
              llava_plane_to_u8(out, how->tie, e);
    llava_plane_free(&between);
    if (!ok) {
        llava_plane_free(out);
    }
    return ok;
}
