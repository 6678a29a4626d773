/* The fast path: every kernel of every width that this machine has against the definition; whole
 * models of awkward shapes against the plain path in float64, judged as the oracle judges a port;
 * the goldens through `diff` and `diagnose` themselves; what is refused. */
#include "ref/fast/parts.h"
#include "ref/json.h"
#include "tests/golden_case.h"
#include "tests/support.h"
#include "tests/tiny.h"
#include "tools/command.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const double unit = FLT_EPSILON / 2; /* largest relative error of one rounding */
static const float rogue = -7.25e29f;       /* in every place that must not be written */

static double bf16(double x)
{
    return llava_round(LLAVA_BF16, x);
}

/* Calls each for the kernels of every width that this machine has; at least `portable`. */
static void for_each_width(void (*each)(const llava_fast_kernels *kernel))
{
    for (size_t w = 0; w <= (size_t)llava_cpu_here(); w++) {
        each(llava_fast_widths[w]);
    }
}

/* ---- the two kernels of products ----------------------------------------------------------------
 */

enum { MOST_NUMBERS = 140, MOST_OUTPUTS = 11, GAP = 3 };

/* A product's factors as numbers, and as the kernels want them. */
typedef struct {
    size_t lanes, outputs, n;
    double x[LLAVA_FAST_LANES][MOST_NUMBERS], w[MOST_OUTPUTS][MOST_NUMBERS];
    float laid_x[LLAVA_FAST_LANES * MOST_NUMBERS];
    uint32_t laid_w[MOST_OUTPUTS * (MOST_NUMBERS + GAP)]; /* rows lie apart */
} factors;

static uint32_t pair(double low, double high)
{
    return llava_encode_bf16(low) | (uint32_t)llava_encode_bf16(high) << 16;
}

/* w_bf16: rows of bfloat16; pairs: x in pairs */
static void make_factors(factors *f, bool w_bf16, bool pairs)
{
    uint64_t seed = 31 * f->lanes + f->n;
    for (size_t k = 0; k < f->n; k++) {
        for (size_t r = 0; r < f->lanes; r++) {
            double x = support_random(&seed);
            f->x[r][k] = pairs ? bf16(x) : (double)(float)x;
            f->laid_x[k * f->lanes + r] = (float)f->x[r][k];
        }
        for (size_t o = 0; o < f->outputs; o++) {
            double w = support_random(&seed);
            size_t at = o * (f->n + GAP) + k;
            f->w[o][k] = w_bf16 ? bf16(w) : (double)(float)w;
            if (w_bf16) {
                ((uint16_t *)f->laid_w)[at] = llava_encode_bf16(w);
            } else {
                ((float *)f->laid_w)[at] = (float)w;
            }
        }
    }
    for (size_t u = 0; pairs && u < (f->n + 1) / 2; u++) {
        for (size_t r = 0; r < f->lanes; r++) {
            double next = 2 * u + 1 < f->n ? f->x[r][2 * u + 1] : 0;
            uint32_t bits = pair(f->x[r][2 * u], next);
            memcpy(&f->laid_x[u * f->lanes + r], &bits, sizeof bits);
        }
    }
}

/* Largest error of y over the bound (k + 2) unit * sum |x w| that float32 sums keep in any order,
 * what is kept of the number that was there before counted as one more product. */
static double error_of(const factors *f, const float *y, size_t live, double before)
{
    double worst = 0;
    for (size_t i = 0; i < f->outputs * live; i++) {
        size_t r = i % live, o = i / live, k = 0;
        double sum = before / (double)(r + 2), size = fabs(sum);
        for (; k < f->n; k++) {
            sum += f->x[r][k] * f->w[o][k];
            size += fabs(f->x[r][k] * f->w[o][k]);
        }
        double error = fabs((double)y[o * f->lanes + r] - sum);
        worst =
            fmax(worst, isnan(error) ? (double)INFINITY : error / ((double)(k + 2) * unit * size));
    }
    return worst;
}

/* The matrix kernel on `live` of the panel's lanes; lanes 1: the row kernel. keep: what was there
 * is kept, times a number of each lane. */
static void product_of(const llava_fast_kernels *kernel, bool narrow, size_t lanes, size_t live,
                       size_t outputs, size_t n, bool keep)
{
    factors *f = calloc(1, sizeof *f);
    float y[(MOST_OUTPUTS + 2) * LLAVA_FAST_LANES], *of = y + lanes, kept[LLAVA_FAST_LANES];
    assert_non_null(f);
    f->lanes = lanes;
    f->outputs = outputs;
    f->n = n;
    make_factors(f, narrow, kernel->per_unit == 2);
    for (size_t i = 0; i < (outputs + 2) * lanes; i++) {
        bool inside = i / lanes > 0 && i / lanes <= outputs;
        y[i] = inside ? 0.75f : rogue;
    }
    for (size_t lane = 0; lane < lanes; lane++) {
        kept[lane] = 1 / (float)(lane + 2);
    }
    llava_fast_factor w = {f->laid_w, (n + GAP) * (narrow ? 2 : 4), narrow};
    kernel->product(w, of, f->laid_x, n, outputs, lanes, live, keep ? kept : NULL);
    double error = error_of(f, of, live, keep ? 0.75 : 0);
    if (!(error <= 1)) {
        fail_msg("%s, narrow %d, %zu lanes, %zu outputs, %zu numbers: %.2g times the bound",
                 kernel->name, (int)narrow, lanes, outputs, n, error);
    }
    for (size_t i = 0; i < lanes; i++) {
        assert_true(y[i] == rogue && of[outputs * lanes + i] == rogue);
    }
    /* the bound sees a last product that is left out, and a row in another's place */
    f->n -= n > 1 ? 1 : 0;
    assert_true(n == 1 || error_of(f, of, live, keep ? 0.75 : 0) > 1);
    f->n = n;
    memcpy(f->w[0], f->w[outputs - 1], sizeof f->w[0]);
    assert_true(outputs == 1 || error_of(f, of, live, keep ? 0.75 : 0) > 1);
    free(f);
}

static void products_of(const llava_fast_kernels *kernel)
{
    static const size_t numbers[] = {1, 2, 3, 14, 33, 64, MOST_NUMBERS};
    static const size_t outputs[] = {1, 4, 8, MOST_OUTPUTS};
    const size_t lives[] = {1, kernel->lanes / 2, kernel->lanes / 2 + 1, kernel->lanes};
    assert_true(kernel->lanes <= LLAVA_FAST_LANES);
    for (size_t i = 0; i < 7 * 4 * 4; i++) {
        size_t n = numbers[i % 7], o = outputs[i / 7 % 4], live = lives[i / 28];
        product_of(kernel, kernel->per_unit == 2, kernel->lanes, live, o, n, i % 2 > 0);
        product_of(kernel, true, 1, 1, o, n, i % 2 > 0);
        if (kernel->per_unit == 1) {
            product_of(kernel, false, 1, 1, o, n, i % 2 > 0);
        }
    }
}

/* A product of no numbers: what was there, scaled. */
static void nothing_of(const llava_fast_kernels *kernel)
{
    for (size_t lanes = 1; lanes <= kernel->lanes; lanes += kernel->lanes - 1) {
        float y[MOST_OUTPUTS * LLAVA_FAST_LANES], by[LLAVA_FAST_LANES], none = 0;
        for (size_t i = 0; i < MOST_OUTPUTS * lanes; i++) {
            y[i] = (float)i;
            by[i % lanes] = 1 / (float)(i % lanes + 1);
        }
        llava_fast_factor w = {&none, 0, kernel->per_unit == 2};
        kernel->product(w, y, &none, 0, MOST_OUTPUTS, lanes, lanes, by);
        for (size_t i = 0; i < MOST_OUTPUTS * lanes; i++) {
            assert_true(y[i] == (float)i * by[i % lanes]);
        }
    }
}

static void a_product_is_the_definition_within_float32(void **unused)
{
    (void)unused;
    for_each_width(products_of);
    for_each_width(nothing_of);
}

static void laid_of(const llava_fast_kernels *kernel)
{
    for (size_t lanes = 1; lanes <= kernel->lanes; lanes += kernel->lanes - 1) {
        for (size_t n = 1; n <= 5; n++) {
            float x[6 * LLAVA_FAST_LANES + 1], laid[6 * LLAVA_FAST_LANES + 1];
            uint64_t seed = lanes + n;
            for (size_t i = 0; i < n * lanes; i++) {
                x[i] = (float)support_random(&seed);
            }
            x[n * lanes] = rogue;
            memcpy(laid, x, sizeof x);
            kernel->lay(laid, n, lanes, true);
            for (size_t i = 0; kernel->per_unit == 2 && i < (n + 1) / 2 * lanes; i++) {
                size_t k = i / lanes * 2, lane = i % lanes;
                double next = k + 1 < n ? bf16((double)x[(k + 1) * lanes + lane]) : 0;
                uint32_t right = pair(bf16((double)x[k * lanes + lane]), next);
                assert_memory_equal(&laid[i], &right, sizeof right);
            }
            for (size_t i = 0; kernel->per_unit == 1 && i < n * lanes; i++) {
                assert_true((double)laid[i] == bf16((double)x[i]));
            }
            assert_true(laid[n * lanes] == rogue);
            memcpy(laid, x, sizeof x);
            if (kernel->per_unit == 1) { /* in float32 they are factors as they are */
                kernel->lay(laid, n, lanes, false);
                assert_memory_equal(laid, x, (n * lanes + 1) * sizeof *x);
            }
        }
    }
}

static void panels_are_made_factors(void **unused)
{
    (void)unused;
    for_each_width(laid_of);
}

/* `got` is the number `right` of a file, rounded as asked; NaN stays one. */
static void is_converted(const llava_fast_kernels *kernel, double right, bool as_bf16, float got)
{
    float single = (float)right;
    if (kernel->per_unit == 2 && fabsf(single) < FLT_MIN) {
        single = copysignf(0, single); /* the processor's own instruction takes it for 0 */
    }
    single = as_bf16 ? (float)bf16((double)single) : single;
    assert_true(isnan(right) ? isnan(got) : memcmp(&got, &single, sizeof got) == 0);
}

static void convert_of(const llava_fast_kernels *kernel, llava_dtype type, const uint8_t *bytes,
                       const double *right, size_t n)
{
    float *wide = calloc(n, sizeof *wide);
    uint16_t *narrow = calloc(n, sizeof *narrow);
    assert_true(wide != NULL && narrow != NULL);
    for (int as_bf16 = kernel->per_unit == 2; as_bf16 < 2; as_bf16++) {
        bool pairs = kernel->per_unit == 2;
        kernel->convert(type, bytes, n, as_bf16 == 1, pairs, pairs ? (void *)narrow : wide);
        for (size_t i = 0; i < n; i++) {
            float got = pairs ? (float)llava_decode_bf16(narrow[i]) : wide[i];
            is_converted(kernel, right[i], as_bf16 == 1, got);
        }
    }
    free(wide);
    free(narrow);
}

/* Every float16 and bfloat16, and float32 and float64 around them, against the definition. */
static void weights_of(const llava_fast_kernels *kernel)
{
    enum { N = 65536 };
    static double bytes[N], right[N];
    static const llava_dtype types[] = {LLAVA_F16, LLAVA_BF16, LLAVA_F32, LLAVA_F64};
    for (size_t t = 0; t < 4; t++) {
        for (uint32_t i = 0; i < N; i++) {
            uint32_t single = i << 16 | (i * 40503u & 0xffffu);
            uint16_t half = (uint16_t)i;
            float number;
            memcpy(&number, &single, sizeof number);
            double exact = (double)number * (1 + 0x1p-30 * (double)(i % 7));
            memcpy((uint8_t *)bytes + i * llava_dtype_size(types[t]),
                   t < 2    ? (void *)&half
                   : t == 2 ? (void *)&single
                            : (void *)&exact,
                   llava_dtype_size(types[t]));
        }
        llava_decode(types[t], (uint8_t *)bytes, N, LLAVA_F64, right);
        for (size_t n = N - 33; n <= N; n += 11) {
            convert_of(kernel, types[t], (uint8_t *)bytes, right, n);
        }
    }
}

static void weights_of_other_types_are_converted(void **unused)
{
    const uint16_t one = 1;
    (void)unused;
    if (*(const uint8_t *)&one == 1) { /* elsewhere nobody calls it */
        for_each_width(weights_of);
    }
}

/* ---- along a panel ------------------------------------------------------------------------------
 */

enum { MOST = 37 };

/* One lane of what a panel's kernels are given, and what is right there. */
typedef struct {
    float x[MOST], up[MOST], weight[MOST], bias[MOST];
    double mean, square, variance, most, sum; /* of x; sum of exp(x - most) */
} lane_of;

static void make_lane(lane_of *l, size_t n, uint64_t seed)
{
    uint64_t shared = n; /* weight and bias are of a feature, in every lane */
    *l = (lane_of){.most = -INFINITY};
    for (size_t i = 0; i < n; i++) {
        l->x[i] = (float)(8 * support_random(&seed));
        l->up[i] = (float)support_random(&seed);
        l->weight[i] = (float)support_random(&shared);
        l->bias[i] = (float)support_random(&shared);
        l->mean += (double)l->x[i] / (double)n;
        l->square += (double)l->x[i] * (double)l->x[i] / (double)n;
        l->most = fmax(l->most, (double)l->x[i]);
    }
    for (size_t i = 0; i < n; i++) {
        l->variance += ((double)l->x[i] - l->mean) * ((double)l->x[i] - l->mean) / (double)n;
        l->sum += exp((double)l->x[i] - l->most);
    }
}

/* The kernels that go along one panel, held against a lane each time. */
typedef struct {
    const llava_fast_kernels *kernel;
    size_t n, lanes;
    bool narrow;
    lane_of *of; /* [lanes] */
    float x[MOST * LLAVA_FAST_LANES], up[MOST * LLAVA_FAST_LANES], y[MOST * LLAVA_FAST_LANES + 1];
} along;

static void elementwise(along *p)
{
    const llava_fast_kernels *kernel = p->kernel;
    size_t count = p->n * p->lanes;
    double near = p->narrow ? 0x1p-8 : 0; /* of one rounding, before the last operation */
    kernel->add(p->y, p->x, p->up, count, 1, p->narrow);
    for (size_t i = 0; i < count; i++) {
        float plain = p->x[i] + p->up[i];
        assert_true((double)p->y[i] == (p->narrow ? bf16((double)plain) : (double)plain));
    }
    kernel->add(p->y, p->x, p->of->bias, p->n, p->lanes, p->narrow);
    for (size_t i = 0; i < count; i++) {
        float plain = p->x[i] + p->of->bias[i / p->lanes];
        assert_true((double)p->y[i] == (p->narrow ? bf16((double)plain) : (double)plain));
    }
    memcpy(p->y, p->x, count * sizeof *p->y);
    kernel->gate(p->y, p->up, 1.702f, count, p->narrow);
    for (size_t i = 0; i < count; i++) {
        double x = (double)p->x[i], right = x / (1 + exp(-1.702 * x)) * (double)p->up[i];
        assert_true(fabs((double)p->y[i] - right) <= (near + 28 * unit) * fabs(right));
    }
    size_t half = count / 2;
    memcpy(p->y, p->x, count * sizeof *p->y);
    kernel->rotate(p->y, p->up, p->x, half);
    for (size_t i = 0; i < half; i++) {
        double c = (double)p->up[i], s = (double)p->x[i], a = s, b = (double)p->x[half + i];
        double size = fabs(a * c) + fabs(b * s) + fabs(b * c) + fabs(a * s);
        assert_true(fabs((double)p->y[i] - (a * c - b * s)) <= 12 * unit * size);
        assert_true(fabs((double)p->y[half + i] - (b * c + a * s)) <= 12 * unit * size);
    }
    assert_true(p->y[count] == rogue);
}

static void norms(along *p)
{
    size_t lanes = p->lanes;
    double near = p->narrow ? 0x1p-8 : 0; /* RMSNorm's one rounding, before it is weighted */
    p->kernel->norm(p->y, p->x, p->of->weight, p->of->bias, 1e-5, p->n, lanes, p->narrow);
    for (size_t i = 0; i < p->n * lanes; i++) {
        const lane_of *l = &p->of[i % lanes];
        double w = (double)l->weight[i / lanes], b = (double)l->bias[i / lanes];
        double scaled = ((double)p->x[i] - l->mean) / sqrt(l->variance + 1e-5) * w;
        double scale = fabs(scaled) + fabs(b) + 8 / sqrt(l->variance + 1e-5);
        assert_true(fabs((double)p->y[i] - (scaled + b)) <= 40 * unit * scale);
    }
    p->kernel->norm(p->y, p->x, p->of->weight, NULL, 1e-5, p->n, lanes, p->narrow);
    for (size_t i = 0; i < p->n * lanes; i++) {
        const lane_of *l = &p->of[i % lanes];
        double right = (double)p->x[i] / sqrt(l->square + 1e-5) * (double)l->weight[i / lanes];
        assert_true(fabs((double)p->y[i] - right) <= (near + 52 * unit) * fabs(right));
    }
    assert_true(p->y[p->n * lanes] == rogue);
}

/* In one go, and with the first keys before the others. */
static void softmaxes(along *p)
{
    size_t lanes = p->lanes, count = p->n * lanes;
    for (size_t first = 0; first < p->n; first += (p->n + 1) / 2) {
        llava_fast_softmax soft = {.sum = {0}};
        memcpy(p->y, p->x, count * sizeof *p->y);
        if (first > 0) {
            p->kernel->softmax(&soft, p->y, 1, first, lanes);
        }
        p->kernel->softmax(&soft, p->y + first * lanes, 1, p->n - first, lanes);
        for (size_t i = 0; i < count; i++) {
            const lane_of *l = &p->of[i % lanes];
            double right = exp((double)p->x[i] - l->most);
            double by = i / lanes < first ? (double)soft.factor[i % lanes] : 1;
            assert_true(fabs((double)soft.sum[i % lanes] - l->sum) <= 40 * unit * l->sum);
            assert_true(fabs((double)p->y[i] * by - right) <= 40 * unit * right);
        }
        assert_true(p->y[count] == rogue);
    }
}

static void panels_of(const llava_fast_kernels *kernel)
{
    static lane_of lanes_of[LLAVA_FAST_LANES];
    static along p;
    for (size_t n = 1; n <= MOST; n += n < 5 ? 1 : 4) {
        for (int i = 0; i < 4; i++) {
            p = (along){.kernel = kernel, .n = n, .of = lanes_of, .narrow = i % 2 == 1};
            p.lanes = i < 2 ? 1 : kernel->lanes;
            for (size_t lane = 0; lane < p.lanes; lane++) {
                make_lane(&lanes_of[lane], n, 100 * n + lane);
                for (size_t j = 0; j < n; j++) {
                    p.x[j * p.lanes + lane] = lanes_of[lane].x[j];
                    p.up[j * p.lanes + lane] = lanes_of[lane].up[j];
                }
            }
            p.y[n * p.lanes] = rogue;
            elementwise(&p);
            norms(&p);
            softmaxes(&p);
        }
    }
}

static void far_out(const llava_fast_kernels *kernel)
{
    float s[19], y[19];
    llava_fast_softmax soft = {.sum = {0}}, other = soft;
    for (size_t i = 0; i < 19; i++) {
        s[i] = i == 7 ? 3.0f : -INFINITY;
    }
    /* keys that are all hidden, before the first that is seen */
    kernel->softmax(&soft, s, 1, 7, 1);
    assert_true(soft.sum[0] == 0 && s[0] == 0);
    kernel->softmax(&soft, s + 7, 1, 12, 1);
    assert_true(soft.sum[0] == 1 && soft.factor[0] == 0 && s[7] == 1 && s[18] == 0);
    s[3] = NAN;
    kernel->softmax(&other, s, 1, 19, 1);
    assert_true(isnan(other.sum[0]) && isnan(s[3]));
    for (size_t i = 0; i < 19; i++) {
        y[i] = s[i] = i % 2 == 0 ? 200.0f : -200.0f;
    }
    kernel->gate(y, NULL, 1, 19, false);
    assert_true(y[0] == 200 && fabsf(y[1]) < 1e-30f && y[18] == 200);
    s[5] = NAN;
    s[6] = INFINITY;
    kernel->add(y, s, NULL, 19, 1, true);
    assert_true(isnan(y[5]) && isinf(y[6]));
}

static void a_panel_is_the_definition_within_float32(void **unused)
{
    (void)unused;
    for_each_width(panels_of);
    for_each_width(far_out);
}

/* ---- whole models -------------------------------------------------------------------------------
 */

/* Relative L2 distance over the rows that count: padding does not (text taps are [B, S, ..]). */
static double distance(const llava_inputs *in, const tiny_tap *right, const tiny_tap *other)
{
    double squares = 0, size = 0;
    bool text = strncmp(right->name, "text.", 5) == 0 || strcmp(right->name, "logits") == 0;
    size_t positions = in->batch * in->length;
    assert_int_equal(right->count, other->count);
    for (size_t i = 0; i < right->count; i++) {
        if (text && in->attention_mask != NULL &&
            in->attention_mask[i / (right->count / positions)] == 0) {
            continue;
        }
        double d = other->values[i] - right->values[i];
        squares += d * d;
        size += right->values[i] * right->values[i];
    }
    return isnan(squares) ? (double)INFINITY : size > 0 ? sqrt(squares / size) : 0;
}

/* Squared relative errors of all taps of all models, of the fast path and of an honest port. */
typedef struct {
    double ours, honest, worst;
    size_t taps;
} score;

/* One run's taps by the plain path: in float64, which is right, and with sums in the port's
 * precision, as an honest port has them (what diagnose takes for one). */
typedef struct {
    tiny_taps right, honest;
} measure;

static void run_right(const tiny_model *model, const llava_inputs *in, tiny_how how, measure *m)
{
    how.storage = LLAVA_F64;
    how.fast = NULL;
    tiny_run(model, in, &how, &m->right);
}

static void run_honest(const tiny_model *model, const llava_inputs *in, tiny_how how, measure *m)
{
    how.fast = NULL;
    how.sums_f32 = true;
    tiny_run(model, in, &how, &m->honest);
}

/* Adds the taps of the fast path. */
static void add_run(const tiny_model *model, const llava_inputs *in, tiny_how how, const measure *m,
                    score *sum)
{
    tiny_taps *ours = calloc(1, sizeof *ours);
    assert_non_null(ours);
    tiny_run(model, in, &how, ours);
    for (size_t i = 0; i < ours->count; i++) {
        const char *name = ours->taps[i].name;
        const tiny_tap *of = tiny_find(&m->right, name);
        assert_true(llava_fast_has_tap(name));
        double error = distance(in, of, &ours->taps[i]);
        double peer = distance(in, of, tiny_find(&m->honest, name));
        if (of->dtype == LLAVA_I64) {
            assert_true(error == 0);
            continue;
        }
        double ratio = error / fmax(peer, how.storage == LLAVA_F32 ? 0x1p-25 : 0x1p-10);
        sum->worst = fmax(sum->worst, ratio);
        sum->ours += error * error;
        sum->honest += peer * peer;
        sum->taps++;
    }
    assert_true(ours->count > 4);
    tiny_free(ours);
    free(ours);
}

/* As diff --peer: below 2 over all, where a single tensor of a few numbers may be off by chance up
 * to the 4 at which diff calls it different. */
static void is_honest(const score *sum, const char *what)
{
    double ratio = sqrt(sum->ours / sum->honest);
    if (!(ratio < 2 && sum->worst < 4) || sum->taps == 0) {
        fail_msg("%s: %.2f times an honest port's error over all, %.2f in one tap", what, ratio,
                 sum->worst);
    }
}

static size_t pick(uint64_t *seed, size_t least, size_t most)
{
    double share = (support_random(seed) + 1) / 2;
    size_t x = least + (size_t)(share * (double)(most - least + 1));
    return x > most ? most : x;
}

/* A model of any sizes: one head or several, grouped or not, odd widths. */
static tiny_shape any_shape(uint64_t *seed)
{
    static const llava_dtype types[] = {LLAVA_F32, LLAVA_BF16, LLAVA_F16, LLAVA_F64};
    size_t kv_heads = pick(seed, 1, 3), heads = kv_heads * pick(seed, 1, 3);
    size_t tower_heads = pick(seed, 1, 3);
    return (tiny_shape){
        .image = pick(seed, 3, 12),
        .patch = pick(seed, 1, 3),
        .tower = tower_heads * pick(seed, 1, 13),
        .tower_heads = tower_heads,
        .tower_wide = pick(seed, 1, 40),
        .tower_layers = pick(seed, 2, 3),
        .hidden = heads * pick(seed, 1, 20),
        .heads = heads,
        .kv_heads = kv_heads,
        .head_dim = 2 * pick(seed, 1, 21),
        .wide = pick(seed, 1, 90),
        .layers = pick(seed, 1, 3),
        .vocab = pick(seed, 3, 80),
        .full = pick(seed, 0, 1),
        .two_features = pick(seed, 0, 1),
        .tied = pick(seed, 0, 1),
        .stored = types[pick(seed, 0, 3)],
    };
}

/* Inputs for it: a batch, none to two pictures, one token at least, padding left or right. */
static llava_inputs any_inputs(const tiny_shape *shape, uint64_t *seed)
{
    size_t batch = pick(seed, 1, 3), pictures = pick(seed, 0, 2);
    size_t rows = pictures * tiny_picture_rows(shape), padding = pick(seed, 0, 2);
    size_t length = rows > 0 ? rows + pick(seed, 1, 9) : pick(seed, 1, 20);
    llava_inputs in = tiny_inputs_of(shape, batch, length, pictures, *seed);
    if (padding > 0 && length > rows + 1) {
        int64_t *mask = tiny_mask(&in);
        size_t padded = pick(seed, 1, length - rows - 1);
        for (size_t i = 0; i < padded; i++) {
            /* at the left only before the pictures: a padded picture row is no model's input */
            mask[(padding == 1 && rows == 0) ? i : length - 1 - i] = 0;
        }
    }
    return in;
}

/* The tokens that a generation takes, so that a near tie does not part the runs. */
static void give_answer(llava_inputs *in, const tiny_shape *shape, size_t tokens, uint64_t seed)
{
    if (tokens > 0) {
        in->answer = calloc(in->batch * tokens, sizeof *in->answer);
        assert_non_null(in->answer);
        in->answer_length = tokens;
        for (size_t i = 0; i < in->batch * tokens; i++) {
            in->answer[i] = (int64_t)pick(&seed, 0, shape->vocab - 2);
        }
    }
}

enum { FUZZ_MODELS = 40, MOST_WIDTHS = 8 };

/* The fast path in every width on one model and its inputs, in float32 and in bfloat16. */
static void score_widths(const tiny_model *model, const llava_inputs *in, size_t steps,
                         score sums[2][MOST_WIDTHS])
{
    measure *m = calloc(1, sizeof *m);
    assert_non_null(m);
    tiny_how how = {.convention = LLAVA_POSITIONS_GENERATE, .generate = steps};
    run_right(model, in, how, m);
    for (int type = 0; type < 2; type++) {
        how.storage = type == 0 ? LLAVA_F32 : LLAVA_BF16;
        run_honest(model, in, how, m);
        for (size_t w = 0; w <= (size_t)llava_cpu_here(); w++) {
            llava_error e;
            const char *name = llava_fast_widths[w]->name;
            assert_true(w < MOST_WIDTHS && llava_fast_open(&how.fast, how.storage, name, &e));
            if (strcmp(how.fast->kernel.name, name) == 0) { /* float32 has no pairs */
                add_run(model, in, how, m, &sums[type][w]);
            }
            assert_true(how.fast->kernel.per_unit == 1 || type == 1);
            llava_fast_close(how.fast);
        }
        tiny_free(&m->honest);
    }
    tiny_free(&m->right);
    free(m);
}

static void models_of_any_shape_are_as_good_as_an_honest_ports(void **unused)
{
    (void)unused;
    score sums[2][MOST_WIDTHS] = {{{.taps = 0}}};
    for (uint64_t n = 1; n <= FUZZ_MODELS; n += support_step(3)) {
        uint64_t seed = 1000 * n + 7;
        tiny_model model;
        tiny_shape shape = any_shape(&seed);
        if (shape.patch > shape.image) {
            shape.patch = shape.image;
        }
        tiny_open_as(&model, &shape);
        llava_inputs in = any_inputs(&shape, &seed);
        size_t steps = pick(&seed, 0, 3);
        give_answer(&in, &shape, steps, seed);
        score_widths(&model, &in, steps, sums);
        llava_inputs_free(&in);
        tiny_close(&model);
    }
    for (size_t w = 0; w <= (size_t)llava_cpu_here(); w++) {
        for (int type = llava_fast_widths[w]->per_unit == 2; type < 2; type++) {
            is_honest(&sums[type][w], llava_fast_widths[w]->name);
        }
    }
    assert_true(sums[0][0].taps > 0); /* the first width is every machine's */
}

/* Where only an answer is asked for, the last layer finishes the last row of each sample alone: by
 * the row kernel, while the others went through the matrix kernel. */
static void the_last_layer_cut_down_to_what_counts_gives_the_same_answer(void **unused)
{
    (void)unused;
    tiny_model model;
    llava_error e;
    tiny_taps *plain = calloc(2, sizeof *plain), *fast = plain + 1;
    assert_non_null(plain);
    plain->only = fast->only = "generated_ids";
    tiny_open(&model);
    llava_inputs in = tiny_inputs(3, 14, 3);
    tiny_how how = {.storage = LLAVA_F64, .generate = 4};
    tiny_run(&model, &in, &how, plain);
    how.storage = LLAVA_F32;
    assert_true(llava_fast_open(&how.fast, LLAVA_F32, NULL, &e));
    tiny_run(&model, &in, &how, fast);
    llava_fast_close(how.fast);
    assert_int_equal(plain->taps->count, 3 * 4);
    assert_memory_equal(plain->taps->values, fast->taps->values, 3 * 4 * sizeof(double));
    /* the samples' first tokens differ, so that another row would be seen */
    assert_true(plain->taps->values[0] != plain->taps->values[4]);
    tiny_free(plain);
    tiny_free(fast);
    free(plain);
    llava_inputs_free(&in);
    tiny_close(&model);
}

/* ---- weights that are not there -----------------------------------------------------------------
 */

/* What a run of both paths says of the model as its files are now; true: nothing. */
static bool both_say(tiny_model *model, const llava_inputs *in, llava_dtype type, llava_error *e)
{
    tiny_how how = {.storage = type};
    llava_error plain;
    tiny_taps *taps = calloc(1, sizeof *taps);
    assert_non_null(taps);
    taps->only = "logits";
    bool ok = tiny_try(model, in, &how, taps, &plain);
    tiny_free(taps);
    taps->count = 0;
    assert_true(llava_fast_open(&how.fast, type, NULL, e));
    assert_true(tiny_try(model, in, &how, taps, e) == ok);
    assert_true(ok || strcmp(e->text, plain.text) == 0);
    llava_fast_close(how.fast);
    tiny_free(taps);
    free(taps);
    return ok;
}

static bool of_a_later_layer(const char *name, const char *end)
{
    for (; name + 2 < end; name++) {
        if (name[0] == '.' && name[2] == '.' && name[1] > '0') {
            return true;
        }
    }
    return false;
}

/* Each tensor of the first layers and around them under another name: what the plain path says of
 * it, the fast path says, too. */
static void a_missing_weight_is_named_as_by_the_plain_path(void **unused)
{
    (void)unused;
    static char file[1 << 18];
    tiny_model model;
    llava_error e;
    size_t missed = 0;
    tiny_open(&model);
    llava_inputs in = tiny_inputs(1, 14, 3);
    FILE *f = fopen(support_path(&model.folder, "model.safetensors"), "rb");
    assert_non_null(f);
    size_t size = fread(file, 1, sizeof file, f);
    fclose(f);
    assert_true(size > 8 && size < sizeof file);
    assert_true(both_say(&model, &in, LLAVA_F32, &e));
    for (char *at = strchr(file + 8, '"'); at != NULL; at = strchr(at + 1, '"')) {
        char *end = strchr(at + 1, '"');
        bool name = end != NULL && strncmp(end, "\":{", 3) == 0 && end - at > 8;
        if (name && strncmp(at + 1, "__", 2) != 0 && !of_a_later_layer(at, end)) {
            char last = end[-1];
            end[-1] = '!';
            llava_checkpoint_close(model.weights);
            support_write(&model.folder, "model.safetensors", file, size);
            assert_true(llava_checkpoint_open(&model.weights, model.folder.path, NULL, &e));
            missed += !both_say(&model, &in, missed % 2 == 0 ? LLAVA_F32 : LLAVA_BF16, &e);
            end[-1] = last;
        }
        at = end == NULL ? at : end;
    }
    assert_true(missed >= 30);
    llava_inputs_free(&in);
    tiny_close(&model);
}

/* ---- a wrong kernel is seen ---------------------------------------------------------------------
 */

static llava_fast_kernels healthy;

/* Forgets the last unit of every sum. */
static void short_product(llava_fast_factor w, float *y, const float *x, size_t n, size_t outputs,
                          size_t lanes, size_t live, const float *keep)
{
    size_t less = n > healthy.per_unit ? n - healthy.per_unit : n;
    healthy.product(w, y, x, less, outputs, lanes, live, keep);
}

/* The same, of the matrix kernel or of the row kernel alone. */
static void short_tile(llava_fast_factor w, float *y, const float *x, size_t n, size_t outputs,
                       size_t lanes, size_t live, const float *keep)
{
    (lanes > 1 ? short_product : healthy.product)(w, y, x, n, outputs, lanes, live, keep);
}

static void short_dots(llava_fast_factor w, float *y, const float *x, size_t n, size_t outputs,
                       size_t lanes, size_t live, const float *keep)
{
    (lanes == 1 ? short_product : healthy.product)(w, y, x, n, outputs, lanes, live, keep);
}

/* Every product's result a thousandth too large: within bfloat16's noise, not within float32's. */
static void large_tile(llava_fast_factor w, float *y, const float *x, size_t n, size_t outputs,
                       size_t lanes, size_t live, const float *keep)
{
    healthy.product(w, y, x, n, outputs, lanes, live, keep);
    for (size_t i = 0; lanes > 1 && i < outputs * lanes; i++) {
        y[i] *= 1.001f;
    }
}

/* How far a run is off beside an honest port, with the kernels as `plant` leaves them. */
static double ratio_with(void (*plant)(llava_fast_kernels *kernel), size_t length, llava_dtype type)
{
    tiny_model model;
    llava_fast *fast;
    llava_error e;
    score sum = {.taps = 0};
    tiny_open(&model);
    llava_inputs in = tiny_inputs(2, length, length > 4 ? 3 : 0);
    assert_true(llava_fast_open(&fast, type, NULL, &e));
    healthy = fast->kernel;
    plant(&fast->kernel);
    tiny_how how = {.storage = type, .fast = fast};
    measure *m = calloc(1, sizeof *m);
    assert_non_null(m);
    run_right(&model, &in, how, m);
    run_honest(&model, &in, how, m);
    add_run(&model, &in, how, m, &sum);
    tiny_free(&m->right);
    tiny_free(&m->honest);
    free(m);
    llava_fast_close(fast);
    llava_inputs_free(&in);
    tiny_close(&model);
    return sqrt(sum.ours / sum.honest);
}

static void plant_nothing(llava_fast_kernels *kernel)
{
    (void)kernel;
}

static void plant_short_tile(llava_fast_kernels *kernel)
{
    kernel->product = short_tile;
}

static void plant_short_dots(llava_fast_kernels *kernel)
{
    kernel->product = short_dots;
}

static void plant_large_tile(llava_fast_kernels *kernel)
{
    kernel->product = large_tile;
}

static void a_planted_error_in_the_kernel_is_seen(void **unused)
{
    (void)unused;
    for (int type = 0; type < 2; type++) {
        llava_dtype of = type == 0 ? LLAVA_F32 : LLAVA_BF16;
        double seen = type == 0 ? 100 : 4;
        assert_true(ratio_with(plant_nothing, 14, of) < 2);
        assert_true(ratio_with(plant_nothing, 3, of) < 2);
        assert_true(ratio_with(plant_short_tile, 14, of) > seen);
        assert_true(ratio_with(plant_short_dots, 3, of) > seen);
    }
    assert_true(ratio_with(plant_large_tile, 14, LLAVA_F32) > 100);
}

/* ---- the goldens, by the oracle's own judgement -------------------------------------------------
 */

/* Runs a command in this process with standard output going to the folder's file "printed". */
static int command(const support_folder *folder, const llava_command *of, char *const *words,
                   llava_error *e)
{
    char *copy[GOLDEN_WORDS];
    int count = 0;
    for (; words[count] != NULL; count++) {
        copy[count] = words[count];
    }
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    e->text[0] = '\0';
    assert_non_null(freopen(support_path(folder, "printed"), "w", stdout));
    int status = of->run(count, copy, e);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    return status;
}

/* `run --path fast` on a golden case with a dump into the folder; its status. */
static int run_fast(const support_folder *folder, const char *golden, char *type, char *out,
                    llava_error *e)
{
    char path[300], home[4096], *words[GOLDEN_WORDS + 1];
    char *const more[] = {"--path", "fast", "--dtype", type, "--dump", out, NULL};
    snprintf(path, sizeof path, "%s/case.json", golden);
    cJSON *json = llava_json_read(path, e);
    assert_non_null(json);
    assert_non_null(getcwd(home, sizeof home));
    int count = golden_words(json, more, words);
    words[count] = NULL;
    assert_int_equal(chdir(golden), 0);
    int status = command(folder, &llava_command_run, words, e);
    assert_int_equal(chdir(home), 0);
    cJSON_Delete(json);
    return status;
}

/* The same, judged by diff against true float64: with a peer where one is committed. */
static void judge(const support_folder *folder, const char *golden, char *type, char *out)
{
    char right[300], peer[300];
    llava_error e;
    snprintf(right, sizeof right, "%s/true.npz", golden);
    snprintf(peer, sizeof peer, "%s/%s.npz", golden, type);
    char *words[] = {right, out, "--peer", peer, NULL};
    words[2] = access(peer, R_OK) == 0 ? words[2] : NULL;
    int status = command(folder, &llava_command_diff, words, &e);
    if (status != LLAVA_DONE) {
        fail_msg("%s, %s: diff ends with %d %s", golden, type, status, e.text);
    }
    /* warn is 0 too, and is not enough here */
    FILE *file = fopen(support_path(folder, "printed"), "r");
    char line[512] = "", last[512] = "";
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        memcpy(last, line, sizeof last);
    }
    fclose(file);
    if (strncmp(last, "pass: ", 6) != 0) {
        fail_msg("%s, %s: %s", golden, type, last);
    }
}

typedef struct {
    support_folder folder;
    size_t seen, judged;
} goldens;

/* Cases with weights and a float64 golden. What the path lacks must be refused by name. */
static void judge_golden(void *self, const char *golden)
{
    goldens *g = self;
    llava_error e;
    char out[300], path[300];
    snprintf(out, sizeof out, "%s", support_path(&g->folder, "out.npz"));
    snprintf(path, sizeof path, "%s/true.npz", golden);
    if (access(path, R_OK) != 0) {
        return;
    }
    if (g->seen++ % support_step(1) != 0) {
        return;
    }
    for (size_t type = 0; type < 2; type++) {
        char *dtype = type == 0 ? "f32" : "bf16";
        if (!support_long() && type != g->seen / support_step(1) % 2) { /* the types by turns */
            continue;
        }
        int status = run_fast(&g->folder, golden, dtype, out, &e);
        if (status == LLAVA_DONE) {
            judge(&g->folder, golden, dtype, out);
            g->judged++;
        } else {
            bool named = strstr(e.text, "--path fast: ") != NULL ||
                         strstr(e.text, "the fast path has those between its blocks only") != NULL;
            if (!named) {
                fail_msg("%s: %s", golden, e.text);
            }
        }
    }
}

static void every_golden_passes_diff(void **unused)
{
    (void)unused;
    goldens g = {support_folder_new(), 0, 0};
    golden_each(judge_golden, &g);
    assert_true(g.judged >= (support_long() ? 40 : 20 / support_step(1)));
    support_folder_remove(&g.folder);
}

/* golden/plain has transformers' own f32 and bf16 as peers: every width, and diagnose. */
static void every_width_passes_beside_transformers(void **unused)
{
    (void)unused;
    support_folder folder = support_folder_new();
    llava_error e;
    char out[300];
    snprintf(out, sizeof out, "%s", support_path(&folder, "out.npz"));
    for (size_t w = 0; w <= (size_t)llava_cpu_here(); w++) {
        for (int type = 0; type < 2; type++) {
            char *dtype = type == 0 ? "f32" : "bf16";
            setenv("LLAVA_FAST_WIDTH", llava_fast_widths[w]->name, 1);
            assert_int_equal(run_fast(&folder, "golden/plain", dtype, out, &e), LLAVA_DONE);
            unsetenv("LLAVA_FAST_WIDTH");
            judge(&folder, "golden/plain", dtype, out);
            char *const words[] = {"--model",  "golden/plain/model",
                                   "--inputs", "golden/plain/inputs.npz",
                                   "--dump",   out,
                                   NULL};
            int status = command(&folder, &llava_command_diagnose, words, &e);
            if (status != LLAVA_DONE) {
                fail_msg("%s, %s: diagnose ends with %d %s", llava_fast_widths[w]->name, dtype,
                         status, e.text);
            }
        }
    }
    support_folder_remove(&folder);
}

/* ---- what is refused ----------------------------------------------------------------------------
 */

static void a_width_that_is_not_there_is_refused(void **unused)
{
    (void)unused;
    llava_fast_kernels kernel;
    llava_error e;
    llava_cpu all = LLAVA_CPU_16_BYTES;
    for (; llava_fast_widths[all] != NULL; all++) {
        if (all > LLAVA_CPU_16_BYTES) {
            assert_false(
                llava_fast_choose(&kernel, llava_fast_widths[all]->name, all - 1, true, &e));
            assert_non_null(strstr(e.text, llava_fast_widths[all]->name));
            support_says(&e, ": this processor has not the instructions");
        }
        assert_true(llava_fast_choose(&kernel, NULL, all, true, &e));
        assert_string_equal(kernel.name, llava_fast_widths[all]->name);
        assert_true(llava_fast_choose(&kernel, kernel.name, all, false, &e));
        assert_true(kernel.per_unit == 1);
    }
    assert_false(llava_fast_choose(&kernel, "sse9", all, true, &e));
    support_says(&e, "width sse9: not one of portable, avx2, avx512, avx512bf16");
    assert_true(llava_fast_choose(&kernel, "portable", all, true, &e));
    assert_string_equal(kernel.name, "portable");
}

/* The program's word on `run --path fast` with these further options. */
static void refuses(char *const *more, const char *says)
{
    support_folder folder = support_folder_new();
    llava_error e;
    char *words[GOLDEN_WORDS] = {
        "--model", "golden/plain/model", "--inputs", "golden/plain/inputs.npz", "--path", "fast"};
    for (size_t i = 0; more[i] != NULL; i++) {
        words[6 + i] = more[i];
    }
    assert_int_equal(command(&folder, &llava_command_run, words, &e), LLAVA_CANNOT);
    support_says(&e, says);
    support_folder_remove(&folder);
}

static void what_the_path_lacks_is_refused_by_name(void **unused)
{
    (void)unused;
    refuses((char *[]){"--dtype", "f64", NULL}, "--path fast: --dtype f64: only f32 and bf16");
    refuses((char *[]){"--dtype", "f16", NULL}, "--path fast: --dtype f16: only f32 and bf16");
    refuses((char *[]){"--numerics", "hf", NULL}, "--path fast: --numerics hf");
    refuses((char *[]){"--set", "text.rope_theta=5e5", NULL},
            "--path fast: takes no decision, and text.rope_theta=5e5 is set");
    refuses((char *[]){"--hash", "-", "--taps", "logits,text.layers.*.mlp.act", NULL},
            "--taps text.layers.*.mlp.act: no tap of this run has such a name (the fast path has "
            "those between its blocks only)");
    setenv("LLAVA_FAST_WIDTH", "mmx", 1);
    refuses((char *[]){NULL}, "width mmx: not one of");
    unsetenv("LLAVA_FAST_WIDTH");
    llava_plan plan = {.numerics = {.storage = LLAVA_F32}};
    llava_error e;
    assert_true(llava_fast_check(&plan, &e));
    plan.vision.tower = LLAVA_TOWER_PIXTRAL;
    assert_false(llava_fast_check(&plan, &e));
    support_says(&e, "--path fast: a Pixtral tower");
    plan.vision.tower = LLAVA_TOWER_CLIP;
    plan.text.layers = 2;
    plan.text.slides[1] = true;
    assert_false(llava_fast_check(&plan, &e));
    support_says(&e, "--path fast: text layer 1 has a sliding window");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_is_the_definition_within_float32),
        cmocka_unit_test(panels_are_made_factors),
        cmocka_unit_test(weights_of_other_types_are_converted),
        cmocka_unit_test(a_panel_is_the_definition_within_float32),
        cmocka_unit_test(models_of_any_shape_are_as_good_as_an_honest_ports),
        cmocka_unit_test(the_last_layer_cut_down_to_what_counts_gives_the_same_answer),
        cmocka_unit_test(a_missing_weight_is_named_as_by_the_plain_path),
        cmocka_unit_test(a_planted_error_in_the_kernel_is_seen),
        cmocka_unit_test(every_golden_passes_diff),
        cmocka_unit_test(every_width_passes_beside_transformers),
        cmocka_unit_test(a_width_that_is_not_there_is_refused),
        cmocka_unit_test(what_the_path_lacks_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("fast", tests, NULL, NULL);
}
