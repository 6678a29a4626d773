/* Norms, activations, sums, rotary embedding and softmax against long double, and their
 * invariants. */
#include "ref/ops/ops.h"
#include "ref/rope.h"
#include "support.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double unit = DBL_EPSILON / 2; /* largest relative error of one rounding */
static const double rogue = -7.25e77;       /* behind every output */

enum { MOST = 300 };

static const size_t widths[] = {1, 3, 5, 7, 13, 257, MOST};
static const llava_dtype types[] = {LLAVA_F64, LLAVA_F32, LLAVA_F16, LLAVA_BF16};
static const llava_numerics exact = {.storage = LLAVA_F64};
static const llava_numerics islands = {.storage = LLAVA_F64, .islands = true};

static void fill(double *x, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        x[i] = support_random(&seed);
    }
}

/* The value that one rounding of something within `relative` of v must give; false where that is
 * too close to the middle of two neighbours to tell. */
static bool settled(llava_dtype type, long double v, double relative, double *rounded)
{
    double low = (double)(v - fabsl(v) * relative), high = (double)(v + fabsl(v) * relative);
    *rounded = llava_round(type, low);
    return *rounded == llava_round(type, high);
}

/* ---- norms -------------------------------------------------------------------------------------
 */

/* Row statistics in long double. */
typedef struct {
    long double mean, size, deviation, root;
} statistics;

static statistics statistics_of(const double *x, size_t width, double eps)
{
    statistics s = {0};
    long double squares = 0, around = 0;
    for (size_t i = 0; i < width; i++) {
        s.mean += x[i];
        s.size += fabsl((long double)x[i]);
        squares += (long double)x[i] * x[i];
    }
    s.mean /= width;
    s.size /= width;
    for (size_t i = 0; i < width; i++) {
        around += (x[i] - s.mean) * (x[i] - s.mean);
    }
    s.deviation = sqrtl(around / width + eps);
    s.root = sqrtl(squares / width + eps);
    return s;
}

/* Largest error / bound of LayerNorm. The mean is off by at most (width + 1) units of the mean
 * size, which moves every element by that over the deviation; the variance's sum of width squares
 * by width + 4 units, of which the root keeps half; the four operations behind it add four. */
static double layer_norm_gauge(const double *y, const double *x, size_t width, const double *weight,
                               const double *bias, double eps)
{
    statistics s = statistics_of(x, width, eps);
    double worst = 0;
    for (size_t i = 0; i < width; i++) {
        long double u = (x[i] - s.mean) / s.deviation, b = bias == NULL ? 0 : bias[i];
        long double right = u * weight[i] + b;
        long double bound = fabsl((long double)weight[i]) *
                            ((width + 1) * s.size / s.deviation + fabsl(u) * (width / 2.0L + 6));
        bound = unit * (bound + fabsl(right));
        double ratio = (double)(fabsl(y[i] - right) / bound);
        worst = ratio > worst ? ratio : worst;
    }
    return worst;
}

static void layer_norm_stays_within_its_bound(void **state)
{
    (void)state;
    double x[2 * MOST], weight[MOST], bias[MOST], y[2 * MOST + 1];
    for (size_t i = 0; i < 7; i++) {
        size_t width = widths[i];
        fill(x, 2 * width, 10 + i);
        fill(weight, width, 20 + i);
        fill(bias, width, 30 + i);
        for (size_t k = width; k < 2 * width; k++) {
            x[k] += 100; /* a mean far from zero */
        }
        y[2 * width] = rogue;
        llava_layer_norm(&exact, y, x, 2, width, weight, bias, 1e-5);
        assert_true(y[2 * width] == rogue);
        for (size_t r = 0; r < 2; r++) {
            const double *row = x + r * width;
            assert_true(layer_norm_gauge(y + r * width, row, width, weight, bias, 1e-5) <= 1);
            /* planted: no bias; another eps (1 element is 0 whatever eps) */
            assert_true(layer_norm_gauge(y + r * width, row, width, weight, NULL, 1e-5) > 1);
            assert_true(width == 1 ||
                        layer_norm_gauge(y + r * width, row, width, weight, bias, 1.0001e-5) > 1);
        }
        llava_layer_norm(&exact, x, x, 2, width, weight, bias, 1e-5);
        assert_memory_equal(x, y, 2 * width * sizeof(double)); /* in place */
        llava_layer_norm(&exact, y, x, 1, width, weight, NULL, 1e-5);
        assert_true(layer_norm_gauge(y, x, width, weight, NULL, 1e-5) <= 1);
    }
}

static void layer_norm_rounds_its_result_once(void **state)
{
    (void)state;
    double x[257], weight[257], bias[257], y[257], wide[257];
    fill(x, 257, 1);
    fill(weight, 257, 2);
    fill(bias, 257, 3);
    llava_layer_norm(&exact, wide, x, 1, 257, weight, bias, 1e-5);
    for (size_t s = 1; s < 4; s++) {
        const llava_numerics n = {.storage = types[s], .islands = s == 2};
        llava_layer_norm(&n, y, x, 1, 257, weight, bias, 1e-5);
        for (size_t i = 0; i < 257; i++) {
            assert_true(y[i] == llava_round(types[s], wide[i]));
        }
    }
}

/* Largest error / bound of RMSNorm: width + 2 units in the mean of squares, of which the root keeps
 * half, and three operations behind it. */
static double rms_norm_gauge(const double *y, const double *x, size_t width, const double *weight,
                             double eps)
{
    statistics s = statistics_of(x, width, eps);
    double worst = 0;
    for (size_t i = 0; i < width; i++) {
        long double right = x[i] / s.root * weight[i];
        long double bound = unit * (width / 2.0L + 5) * fabsl(right);
        double ratio = (double)(fabsl(y[i] - right) / bound);
        worst = ratio > worst ? ratio : worst;
    }
    return worst;
}

static void rms_norm_stays_within_its_bound(void **state)
{
    (void)state;
    double x[2 * MOST], weight[MOST], y[2 * MOST + 1];
    for (size_t i = 0; i < 7; i++) {
        size_t width = widths[i];
        fill(x, 2 * width, 40 + i);
        fill(weight, width, 50 + i);
        y[2 * width] = rogue;
        llava_rms_norm(&exact, y, x, 2, width, weight, 1e-5);
        assert_true(y[2 * width] == rogue);
        for (size_t r = 0; r < 2; r++) {
            assert_true(rms_norm_gauge(y + r * width, x + r * width, width, weight, 1e-5) <= 1);
            assert_true(rms_norm_gauge(y + r * width, x + r * width, width, weight, 1.001e-5) > 1);
        }
        llava_rms_norm(&exact, x, x, 2, width, weight, 1e-5);
        assert_memory_equal(x, y, 2 * width * sizeof(double)); /* in place */
    }
}

/* round(weight * round(u)): transformers casts u to the tensor type before the weight. */
static void rms_norm_rounds_before_and_behind_the_weight(void **state)
{
    (void)state;
    double x[257], weight[257], y[257], u;
    fill(x, 257, 60);
    fill(weight, 257, 61);
    statistics s = statistics_of(x, 257, 1e-6);
    for (size_t t = 1; t < 4; t++) {
        const llava_numerics n = {.storage = types[t]};
        size_t told = 0, one_rounding_differs = 0;
        llava_rms_norm(&n, y, x, 1, 257, weight, 1e-6);
        for (size_t i = 0; i < 257; i++) {
            if (settled(types[t], x[i] / s.root, 1e-13, &u)) {
                assert_true(y[i] == llava_round(types[t], weight[i] * u));
                one_rounding_differs +=
                    y[i] != llava_round(types[t], (double)(weight[i] * (x[i] / s.root)));
                told++;
            }
        }
        assert_true(told > 250 && one_rounding_differs > 0); /* planted: one rounding is seen */
    }
}

/* Under islands the normalised vector is float32's, within a few of its roundings of the truth. */
static void rms_norm_has_a_float32_island(void **state)
{
    (void)state;
    double x[300], ones[300], y[300], truth[300];
    fill(x, 300, 70);
    for (size_t i = 0; i < 300; i++) {
        ones[i] = 1;
    }
    llava_rms_norm(&islands, y, x, 1, 300, ones, 1e-5);
    llava_rms_norm(&exact, truth, x, 1, 300, ones, 1e-5);
    size_t other = 0;
    for (size_t i = 0; i < 300; i++) {
        assert_true(y[i] == (double)(float)y[i]);
        /* x, the squares, mean, mean + eps, 1 / root, product: 6 roundings, halves under the root
         */
        assert_true(fabs(y[i] - truth[i]) <= 5 * (double)FLT_EPSILON / 2 * fabs(truth[i]));
        other += y[i] != (double)(float)truth[i];
    }
    assert_true(other > 0); /* not merely the truth rounded at the end */
}

/* ---- activations -------------------------------------------------------------------------------
 */

static long double sigmoid(long double x)
{
    return 1 / (1 + expl(-x));
}

/* The value, and the error that the formula's own float64 roundings can make of it, in units. gelu
 * cancels for negative x, so its bounds go with |x| and not with the value. */
static long double activation(llava_act act, double x, long double *units)
{
    long double size = fabsl((long double)x), value = x;
    *units = 0;
    switch (act) {
    case LLAVA_ACT_QUICK_GELU:
    case LLAVA_ACT_QUICK_GELU_1773: {
        /* the argument's rounding moves exp by |argument| units; exp, sum, quotient, product */
        double factor = act == LLAVA_ACT_QUICK_GELU ? 1.702 : 1.773;
        value = x * sigmoid((long double)factor * x);
        *units = fabsl(value) * (6 + factor * size);
        break;
    }
    case LLAVA_ACT_SILU:
        value = x * sigmoid(x);
        *units = fabsl(value) * 6;
        break;
    case LLAVA_ACT_GELU: /* erf and its argument: 2 units of a number below 1 each; sum, product */
        value = 0.5L * x * (1 + erfl(x * 0.70710678118654752440L));
        *units = size * 4;
        break;
    case LLAVA_ACT_GELU_TANH: { /* z sech^2 z < 1/2, so the argument's six roundings count 3 */
        long double cube = x + 0.044715L * x * x * x;
        value = 0.5L * x * (1 + tanhl(0.79788456080286535588L * cube));
        *units = size * 5;
        break;
    }
    case LLAVA_ACT_RELU:
        value = x > 0 ? x : 0;
        break;
    case LLAVA_ACT_NONE:
        break;
    }
    return value;
}

static const llava_act acts[] = {LLAVA_ACT_NONE, LLAVA_ACT_QUICK_GELU, LLAVA_ACT_QUICK_GELU_1773,
                                 LLAVA_ACT_GELU, LLAVA_ACT_GELU_TANH,  LLAVA_ACT_SILU,
                                 LLAVA_ACT_RELU};

static void activations_stay_within_their_bounds(void **state)
{
    (void)state;
    enum { COUNT = 4001 };
    static double x[COUNT], y[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++) {
        x[i] = ((double)i - 2000) / 128 + 1e-3 * (double)(i % 7);
    }
    for (size_t a = 0; a < sizeof acts / sizeof *acts; a++) {
        size_t seen = 0;
        y[COUNT] = rogue;
        llava_activate(&exact, acts[a], y, x, COUNT);
        assert_true(y[COUNT] == rogue);
        for (size_t i = 0; i < COUNT; i++) {
            long double units, right = activation(acts[a], x[i], &units);
            assert_true(fabsl(y[i] - right) <= units * unit);
            /* planted: the argument off by 1e-12 */
            right = activation(acts[a], x[i] * (1 + 1e-12), &units);
            seen += fabsl(y[i] - right) > units * unit;
        }
        assert_true(seen > COUNT / 3);
    }
}

static void activations_at_the_ends(void **state)
{
    (void)state;
    for (size_t a = 1; a < sizeof acts / sizeof *acts; a++) {
        double x[] = {0, -0.0, 1e300, 800, (double)NAN, -800};
        llava_activate(&exact, acts[a], x, x, 6); /* in place */
        assert_true(x[0] == 0 && x[1] == 0 && x[2] == 1e300 && x[3] == 800);
        assert_true(isnan(x[4]) && x[5] == 0);
    }
}

static void one_formula_activations_round_once(void **state)
{
    (void)state;
    double x[257], y[257], rounded;
    fill(x, 257, 80);
    for (size_t s = 1; s < 4; s++) {
        for (size_t a = 3; a < sizeof acts / sizeof *acts; a++) {
            const llava_numerics n = {.storage = types[s]};
            size_t told = 0;
            llava_round_all(types[s], x, 257);
            llava_activate(&n, acts[a], y, x, 257);
            for (size_t i = 0; i < 257; i++) {
                long double units, right = activation(acts[a], x[i], &units);
                double relative = right == 0 ? 0 : (double)(units * unit / fabsl(right));
                if (settled(types[s], right, relative, &rounded)) {
                    assert_true(y[i] == rounded);
                    told++;
                }
            }
            assert_true(told > 250);
        }
    }
}

/* bf16(x * bf16(sigmoid(bf16(1.702 x)))): transformers' three tensor operations. */
static void quick_gelu_rounds_three_times(void **state)
{
    (void)state;
    const llava_numerics n = {.storage = LLAVA_BF16};
    size_t told = 0, single_differs = 0;
    for (int i = -1024; i <= 1024; i++) {
        double x = llava_round(LLAVA_BF16, i / 128.0), y, gate;
        double scaled = llava_round(LLAVA_BF16, 1.702 * x);
        llava_activate(&n, LLAVA_ACT_QUICK_GELU, &y, &x, 1);
        if (!settled(LLAVA_BF16, sigmoid(scaled), 1e-13, &gate)) {
            continue;
        }
        assert_true(y == llava_round(LLAVA_BF16, x * gate));
        single_differs += y != llava_round(LLAVA_BF16, (double)(x * sigmoid(1.702L * x)));
        told++;
    }
    assert_true(told > 2000 && single_differs > 100); /* planted: one rounding is seen */
    /* by hand: 1.702 is 1.703125 in bf16; its sigmoid 0.84594... is 0x1.b2p-1; times 1 */
    double x = 1, y;
    llava_activate(&n, LLAVA_ACT_QUICK_GELU, &y, &x, 1);
    assert_true(y == 0x1.b2p-1);
}

/* A port's table: float16 in, float16 out. */
static void activation_table_goes_through_float16(void **state)
{
    (void)state;
    const llava_numerics n = {.storage = LLAVA_F32, .act_table_f16 = true};
    double x[100], y[100];
    fill(x, 100, 90);
    llava_activate(&n, LLAVA_ACT_GELU, y, x, 100);
    for (size_t i = 0; i < 100; i++) {
        double entry, half = llava_decode_f16(llava_encode_f16(x[i]));
        llava_activate(&exact, LLAVA_ACT_GELU, &entry, &half, 1);
        assert_true(y[i] == llava_decode_f16(llava_encode_f16(entry)));
    }
    /* Three entries of the table that llama.cpp makes (measured: docs/ports/llama.cpp.md), where
     * 1 + tanh cancels in float32 and the exact value would round otherwise; and beyond its ends.
     */
    const double put[6] = {-0x1.078p+1, -0x1.e8p+1, -0x1.2e8p+2, 10.375244140625, -11, 9.99};
    const double got[6] = {-0x1.4c4p-5, -0x1.5d4p-13, -0x1.8p-20, 10.375244140625, 0, 9.9921875};
    llava_activate(&n, LLAVA_ACT_GELU_TANH, y, put, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_true(y[i] == got[i]);
    }
    llava_activate(&n, LLAVA_ACT_NONE, y, x, 100); /* no activation, no table */
    for (size_t i = 0; i < 100; i++) {
        assert_true(y[i] == (double)(float)x[i]);
    }
}

/* ---- sums and products -------------------------------------------------------------------------
 */

static void sums_and_products_round_once(void **state)
{
    (void)state;
    double a[13], b[13], y[14];
    fill(a, 13, 100);
    fill(b, 13, 101);
    for (size_t s = 0; s < 4; s++) {
        const llava_numerics n = {.storage = types[s]};
        y[13] = rogue;
        llava_add_rows(&n, y, a, b, 13);
        for (size_t i = 0; i < 13; i++) {
            assert_true(y[i] == llava_round(types[s], a[i] + b[i]));
        }
        llava_multiply(&n, y, a, b, 13);
        for (size_t i = 0; i < 13; i++) {
            assert_true(y[i] == llava_round(types[s], a[i] * b[i]));
        }
        assert_true(y[13] == rogue);
    }
    llava_add_rows(&exact, a, a, b, 0);
    llava_add_rows(&exact, y, a, b, 13);
    llava_add_rows(&exact, a, a, b, 13); /* in place */
    assert_memory_equal(a, y, sizeof a);
}

/* ---- rotary embedding --------------------------------------------------------------------------
 */

enum { D = 10, HEADS = 3, ROWS = 5 };

static void frequencies(double f[D / 2])
{
    for (size_t j = 0; j < D / 2; j++) {
        f[j] = (double)powl(10000, -2.0L * j / D);
    }
}

/* yarn's ramp from pair `low` to pair `high`, in plain numbers. */
static void yarn_ramps(llava_rope rope, double low, double high)
{
    double f[32];
    const size_t d = sizeof f / sizeof f[0];
    llava_rope_frequencies(&exact, &rope, d, 0, f);
    for (size_t j = 0; j < d / 2; j++) {
        double plain = pow(rope.theta, -(double)(2 * j) / (double)d);
        double ramp = fmin(fmax(((double)j - low) / (high - low), 0), 1);
        double wanted = plain * (1 - ramp) + plain / rope.factor * ramp;
        if (!(fabs(f[j] - wanted) <= 1e-14 * wanted)) {
            fail_msg("pair %zu of %zu: %g instead of %g", j, d / 2, f[j], wanted);
        }
    }
}

/* Where the ramp leaves the pairs that there are, it ends at the first and the last dimension;
 * where it would have no length, it has transformers' 0.001. */
static void yarn_scales_the_pairs_that_turn_too_slowly(void **state)
{
    (void)state;
    llava_rope rope = {.type = LLAVA_ROPE_YARN, .theta = 1e4, .factor = 4, .truncate = true};
    rope.original_positions = 4096, rope.beta_fast = 32, rope.beta_slow = 1;
    yarn_ramps(rope, 5, 12);
    rope.original_positions = 4;
    yarn_ramps(rope, 0, 0.001);
    rope.original_positions = 1e20, rope.beta_fast = 1e20, rope.theta = 10;
    yarn_ramps(rope, 0, 31);
}

/* A decision that takes one branch of a recipe for all contexts, or all pairs. */
static void a_rotary_recipe_without_one_of_its_branches(void **state)
{
    (void)state;
    enum { PAIRS = 16 };
    double without[PAIRS], with[PAIRS], plain[PAIRS];
    llava_rope rope = {.type = LLAVA_ROPE_DYNAMIC, .theta = 1e4, .factor = 2, .max_positions = 64};
    llava_rope_frequencies(&exact, &rope, (size_t)2 * PAIRS, 64, plain);
    llava_rope_frequencies(&exact, &rope, (size_t)2 * PAIRS, 100, with);
    rope.choice = LLAVA_TABLE_SHORT;
    llava_rope_frequencies(&exact, &rope, (size_t)2 * PAIRS, 100, without);
    assert_memory_equal(without, plain, sizeof plain);
    assert_true(with[0] == plain[0] && with[PAIRS - 1] < plain[PAIRS - 1]);
    rope = (llava_rope){.theta = 1e4, .factor = 8, .original_positions = 1000};
    rope.low_factor = 1, rope.high_factor = 4;
    llava_rope_frequencies(&exact, &rope, (size_t)2 * PAIRS, 0, plain);
    rope.type = LLAVA_ROPE_LLAMA3;
    llava_rope_frequencies(&exact, &rope, (size_t)2 * PAIRS, 0, with);
    rope.ramp = LLAVA_RAMP_ABSENT;
    llava_rope_frequencies(&exact, &rope, (size_t)2 * PAIRS, 0, without);
    size_t smoothed = 0;
    for (size_t j = 0; j < PAIRS; j++) {
        double turn = 2 * acos(-1.0) / plain[j];
        bool slow = turn > 1000, between = !slow && turn >= 250;
        smoothed += between;
        assert_true(fabs(without[j] - plain[j] / (slow ? 8 : 1)) <= 1e-15);
        assert_true(between ? with[j] < plain[j] && with[j] > plain[j] / 8 : with[j] == without[j]);
    }
    assert_in_range(smoothed, 1, PAIRS - 2);
}

static void rotary_tables_are_cos_and_sin_of_position_times_frequency(void **state)
{
    (void)state;
    const int64_t positions[ROWS] = {0, 1, 7, 4095, INT64_C(1) << 40};
    double c[ROWS * D + 1], s[ROWS * D + 1], f[D / 2];
    frequencies(f);
    for (int island = 0; island < 2; island++) {
        const llava_numerics *n = island ? &islands : &exact;
        c[ROWS * D] = s[ROWS * D] = rogue;
        llava_rope_table(n, c, s, positions, ROWS, D, f, 1);
        assert_true(c[ROWS * D] == rogue && s[ROWS * D] == rogue);
        for (size_t i = 0; i < ROWS * D; i++) {
            size_t row = i / D, pair = i % D % (D / 2);
            double angle = (double)positions[row] * f[pair];
            double tolerance = 1.2 * unit; /* below 1 ulp of a number up to 1, ref/elementary.h */
            if (island) {
                angle = (double)(float)angle;
                tolerance = (double)FLT_EPSILON / 2;
                assert_true(c[i] == (double)(float)c[i] && s[i] == (double)(float)s[i]);
            }
            assert_true(fabsl(c[i] - cosl((long double)angle)) <= tolerance);
            assert_true(fabsl(s[i] - sinl((long double)angle)) <= tolerance);
        }
        assert_true(c[0] == 1 && s[0] == 0);
    }
    const llava_numerics bf16 = {.storage = LLAVA_BF16};
    llava_rope_table(&exact, c, s, positions, 3, D, f, 1);
    double small[3 * D], other[3 * D];
    llava_rope_table(&bf16, small, other, positions, 3, D, f, 1);
    for (size_t i = 0; i < 3 * D; i++) {
        assert_true(small[i] == llava_round(LLAVA_BF16, c[i]));
        assert_true(other[i] == llava_round(LLAVA_BF16, s[i]));
    }
}

/* x: [1, 1, D] turned to one position. */
static void turned(double *y, const double *x, int64_t position, llava_rope_pairing pairing,
                   double sign)
{
    double c[D], s[D], f[D / 2];
    frequencies(f);
    llava_rope_table(&exact, c, s, &position, 1, D, f, 1);
    llava_rotate(&exact, y, x, c, s, 1, 1, D, pairing, sign);
}

static double product(const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < D; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Each element is off by at most 5 units of its pair's size (table, three operations) and its angle
 * by one unit of the angle, so a product of two by 2 (5 + angle + D) units of |q| |k|. */
static double rotary_bound(const double *q, const double *k, double angle)
{
    return 2 * (5 + angle + D) * unit * sqrt(product(q, q) * product(k, k));
}

static void rotation_keeps_lengths_and_sees_only_differences(void **state)
{
    (void)state;
    double q[D], k[D], a[D], b[D], other[D];
    fill(q, D, 110);
    fill(k, D, 111);
    for (int pairing = 0; pairing < 2; pairing++) {
        llava_rope_pairing p = (llava_rope_pairing)pairing;
        turned(a, q, 3, p, 1);
        turned(b, k, 9, p, 1);
        double score = product(a, b);
        turned(other, k, 9, p, -1);
        /* planted: one of them turned the other way */
        assert_true(fabs(product(a, other) - score) > rotary_bound(q, k, 9));
        for (int64_t shift = 0; shift < 1000; shift += 37) {
            turned(a, q, 3 + shift, p, 1);
            turned(b, k, 9 + shift, p, 1);
            double bound = rotary_bound(q, k, 9 + (double)shift);
            assert_true(fabs(product(a, a) - product(q, q)) <= rotary_bound(q, q, 0));
            assert_true(fabs(product(a, b) - score) <= bound);
            turned(b, k, 10 + shift, p, 1);
            assert_true(fabs(product(a, b) - score) > bound); /* planted: one position further */
        }
        turned(a, q, 0, p, 1);
        assert_memory_equal(a, q, sizeof a); /* position 0 turns nothing */
    }
}

/* Pair (j, j + D/2) of the one lies at (2j, 2j + 1) of the other. */
static void interleaved_pairs_are_half_pairs_in_another_order(void **state)
{
    (void)state;
    double x[D], shuffled[D], y[D], z[D];
    fill(x, D, 120);
    for (size_t j = 0; j < D / 2; j++) {
        shuffled[2 * j] = x[j];
        shuffled[2 * j + 1] = x[j + D / 2];
    }
    turned(y, x, 17, LLAVA_ROPE_HALF, 1);
    turned(z, shuffled, 17, LLAVA_ROPE_INTERLEAVED, 1);
    for (size_t j = 0; j < D / 2; j++) {
        assert_true(z[2 * j] == y[j] && z[2 * j + 1] == y[j + D / 2]);
    }
}

/* Three operations, three roundings, every head with its row's table, both halves of the table
 * read (a sink may have put a port's own there). */
static void rotation_is_its_formula_with_three_roundings(void **state)
{
    (void)state;
    double x[ROWS * HEADS * D], y[ROWS * HEADS * D + 1], c[ROWS * D], s[ROWS * D];
    for (size_t t = 0; t < 4; t++) {
        llava_dtype type = types[t];
        const llava_numerics n = {.storage = type};
        fill(x, ROWS * HEADS * D, 130);
        fill(c, ROWS * D, 131);
        fill(s, ROWS * D, 132);
        y[ROWS * HEADS * D] = rogue;
        llava_rotate(&n, y, x, c, s, ROWS, HEADS, D, LLAVA_ROPE_HALF, 1);
        for (size_t i = 0; i < ROWS * HEADS * D; i++) {
            size_t row = i / D / HEADS, j = i % D, head = i - j;
            double half = j < D / 2 ? -x[head + j + D / 2] : x[head + j - D / 2];
            double straight = llava_round(type, x[i] * c[row * D + j]);
            double across = llava_round(type, half * s[row * D + j]);
            assert_true(y[i] == llava_round(type, straight + across));
        }
        assert_true(y[ROWS * HEADS * D] == rogue);
    }
}

/* ---- softmax -----------------------------------------------------------------------------------
 */

/* Largest error / bound of one row over all keys. A score's distance to the largest is rounded
 * once, which moves exp by `distance` units; exp is one more, the sum keys, the quotient one; the
 * numerator's own share of the sum's error counts again. */
static double softmax_gauge(const double *p, const double *s, size_t keys)
{
    long double most = s[0], sum = 0;
    double worst = 0;
    for (size_t t = 0; t < keys; t++) {
        most = s[t] > most ? s[t] : most;
    }
    for (size_t t = 0; t < keys; t++) {
        sum += expl(s[t] - most);
    }
    for (size_t t = 0; t < keys; t++) {
        long double right = expl(s[t] - most) / sum;
        long double bound = unit * right * (2 * (most - s[t]) + keys + 6);
        double ratio = (double)(fabsl(p[t] - right) / bound);
        worst = ratio > worst ? ratio : worst;
    }
    return worst;
}

static void softmax_stays_within_its_bound(void **state)
{
    (void)state;
    double s[MOST], p[MOST + 1];
    for (size_t i = 0; i < 7; i++) {
        size_t keys = widths[i];
        fill(s, keys, 140 + i);
        for (size_t t = 0; t < keys; t++) {
            s[t] *= 40;
        }
        p[keys] = rogue;
        llava_softmax(&exact, p, s, NULL, 1, keys);
        assert_true(p[keys] == rogue && softmax_gauge(p, s, keys) <= 1);
        double sum = 0;
        for (size_t t = 0; t < keys; t++) {
            assert_true(p[t] >= 0 && p[t] <= 1);
            sum += p[t];
        }
        /* every p is at most keys + 3 units off its share, and so is the sum, added up here */
        assert_true(fabs(sum - 1) <= (2 * (double)keys + 3) * unit);
        if (keys > 1) { /* planted: one score off by 1e-12 */
            s[keys / 2] += keys < 100 ? 1e-12 : 1e-11;
            assert_true(softmax_gauge(p, s, keys) > 1);
            s[keys / 2] -= keys < 100 ? 1e-12 : 1e-11;
        }
        llava_softmax(&exact, p, s, NULL, 1, keys);
        llava_softmax(&exact, s, s, NULL, 1, keys);
        assert_memory_equal(s, p, keys * sizeof(double)); /* in place */
    }
}

static void softmax_masks_rows_one_by_one(void **state)
{
    (void)state;
    enum { KEYS = 7 };
    double s[3 * KEYS], p[3 * KEYS], alone[KEYS];
    uint8_t visible[3 * KEYS] = {1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0};
    fill(s, 3 * KEYS, 150);
    llava_softmax(&exact, p, s, visible, 3, KEYS);
    llava_softmax(&exact, alone, (const double[]){s[0], s[2], s[5]}, NULL, 1, 3);
    for (size_t t = 0, seen = 0; t < KEYS; t++) {
        assert_true(p[t] == (visible[t] ? alone[seen] : 0));
        seen += visible[t];
    }
    llava_softmax(&exact, alone, s + KEYS, NULL, 1, KEYS);
    assert_memory_equal(p + KEYS, alone, sizeof alone);
    assert_true(p[2 * KEYS + 3] == 1);
    s[2 * KEYS] = INFINITY; /* and NaN: behind the mask they do not count */
    s[2 * KEYS + 1] = (double)NAN;
    llava_softmax(&exact, p, s, visible, 3, KEYS);
    assert_true(p[2 * KEYS + 3] == 1 && p[2 * KEYS] == 0 && p[2 * KEYS + 1] == 0);
}

static void softmax_takes_scores_of_any_size(void **state)
{
    (void)state;
    double s[3] = {1e6, 1e6 - 1, -1e6}, p[3], small[3] = {1, 0, -1e300}, q[3];
    llava_softmax(&exact, p, s, NULL, 1, 3);
    llava_softmax(&exact, q, small, NULL, 1, 3);
    assert_memory_equal(p, q, sizeof p); /* only differences count, and these are exact */
    assert_true(p[2] == 0 && softmax_gauge(p, s, 2) <= 1);
    s[1] = (double)NAN;
    llava_softmax(&exact, p, s, NULL, 1, 3);
    assert_true(isnan(p[0]) && isnan(p[1]) && isnan(p[2]));
}

/* A row that sees nothing: uniform, but NaN in float64 with transformers' islands (spec 14.4). */
static void blind_rows_are_uniform_or_nan(void **state)
{
    (void)state;
    double s[7], p[7];
    const uint8_t blind[7] = {0};
    fill(s, 7, 160);
    for (size_t t = 0; t < 4; t++) {
        for (int island = 0; island < 2; island++) {
            const llava_numerics n = {.storage = types[t], .islands = island};
            double share = island ? (double)(1.0f / 7) : 1.0 / 7;
            llava_softmax(&n, p, s, blind, 1, 7);
            for (size_t i = 0; i < 7; i++) {
                assert_true(island && types[t] == LLAVA_F64 ? isnan(p[i])
                                                            : p[i] == llava_round(types[t], share));
            }
        }
    }
}

static void softmax_islands_are_float32_and_carry_masked_nans(void **state)
{
    (void)state;
    double s[13], p[13], truth[13];
    uint8_t visible[13];
    fill(s, 13, 170);
    memset(visible, 1, sizeof visible);
    llava_softmax(&islands, p, s, NULL, 1, 13);
    llava_softmax(&exact, truth, s, NULL, 1, 13);
    size_t other = 0;
    for (size_t i = 0; i < 13; i++) {
        assert_true(p[i] == (double)(float)p[i]);
        /* score, largest, difference (sizes up to 2), exp, sum, quotient, each to float32 */
        assert_true(fabs(p[i] - truth[i]) <= 8 * (double)FLT_EPSILON / 2 * truth[i]);
        other += p[i] != (double)(float)truth[i];
    }
    assert_true(other > 0);
    visible[4] = 0; /* transformers adds to a masked score, and NaN + x is NaN */
    s[4] = (double)NAN;
    llava_softmax(&islands, p, s, visible, 1, 13);
    assert_true(isnan(p[0]) && isnan(p[4]));
    llava_softmax(&exact, p, s, visible, 1, 13);
    assert_true(isfinite(p[0]) && p[4] == 0);
}

static void softmax_rounds_once(void **state)
{
    (void)state;
    double s[13], p[13], truth[13];
    fill(s, 13, 180);
    llava_softmax(&exact, truth, s, NULL, 1, 13);
    for (size_t t = 1; t < 4; t++) {
        const llava_numerics n = {.storage = types[t]};
        llava_softmax(&n, p, s, NULL, 1, 13);
        for (size_t i = 0; i < 13; i++) {
            assert_true(p[i] == llava_round(types[t], truth[i]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norm_stays_within_its_bound),
        cmocka_unit_test(layer_norm_rounds_its_result_once),
        cmocka_unit_test(rms_norm_stays_within_its_bound),
        cmocka_unit_test(rms_norm_rounds_before_and_behind_the_weight),
        cmocka_unit_test(rms_norm_has_a_float32_island),
        cmocka_unit_test(activations_stay_within_their_bounds),
        cmocka_unit_test(activations_at_the_ends),
        cmocka_unit_test(one_formula_activations_round_once),
        cmocka_unit_test(quick_gelu_rounds_three_times),
        cmocka_unit_test(activation_table_goes_through_float16),
        cmocka_unit_test(sums_and_products_round_once),
        cmocka_unit_test(yarn_scales_the_pairs_that_turn_too_slowly),
        cmocka_unit_test(a_rotary_recipe_without_one_of_its_branches),
        cmocka_unit_test(rotary_tables_are_cos_and_sin_of_position_times_frequency),
        cmocka_unit_test(rotation_keeps_lengths_and_sees_only_differences),
        cmocka_unit_test(interleaved_pairs_are_half_pairs_in_another_order),
        cmocka_unit_test(rotation_is_its_formula_with_three_roundings),
        cmocka_unit_test(softmax_stays_within_its_bound),
        cmocka_unit_test(softmax_masks_rows_one_by_one),
        cmocka_unit_test(softmax_takes_scores_of_any_size),
        cmocka_unit_test(blind_rows_are_uniform_or_nan),
        cmocka_unit_test(softmax_islands_are_float32_and_carry_masked_nans),
        cmocka_unit_test(softmax_rounds_once),
    };
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
