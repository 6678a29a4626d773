/* Products: every block width against the definition, bit for bit; the definition against long
 * double; and the roundings of weights and inputs against plain ones. */
#include "ref/ops/decode.h"
#include "ref/ops/tile.h"
#include "support.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double unit = DBL_EPSILON / 2; /* largest relative error of one rounding */
static const double rogue = -7.25e77;       /* in every place that must not be written */

static const llava_dtype types[] = {LLAVA_F64, LLAVA_F32, LLAVA_F16, LLAVA_BF16};

/* ---- what goes in ------------------------------------------------------------------------------
 */

static double *numbers(size_t count, uint64_t seed)
{
    double *x = calloc(count + 1, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) {
        x[i] = support_random(&seed);
    }
    return x;
}

/* values as a file of this type would hold them; weight.bytes is at an odd address, as files have
 * them. */
typedef struct {
    uint8_t *memory;
    llava_weight weight;
} stored;

/* The number's bits in a file of this type. */
static uint64_t bits_of(llava_dtype type, double value)
{
    float single = (float)value;
    uint64_t bits;
    uint32_t half;
    switch (type) {
    case LLAVA_F64:
        memcpy(&bits, &value, sizeof bits);
        return bits;
    case LLAVA_F32:
        memcpy(&half, &single, sizeof half);
        return half;
    default:
        return type == LLAVA_F16 ? llava_encode_f16(value) : llava_encode_bf16(value);
    }
}

static stored store(llava_dtype type, const double *values, int rank, size_t rows, size_t width)
{
    size_t size = llava_dtype_size(type), count = rank == 1 ? width : rows * width;
    stored s = {.memory = calloc(count * size + 2, 1)};
    assert_non_null(s.memory);
    uint8_t *at = s.memory + 1;
    for (size_t i = 0; i < count; i++, at += size) {
        uint64_t bits = bits_of(type, values[i]);
        for (size_t byte = 0; byte < size; byte++) {
            at[byte] = (uint8_t)(bits >> 8 * byte); /* little-endian, as files are */
        }
    }
    s.weight = (llava_weight){.name = "w",
                              .file = "memory",
                              .bytes = s.memory + 1,
                              .dtype = type,
                              .rank = rank,
                              .shape = {rank == 1 ? width : rows, rank == 1 ? 0 : width},
                              .count = count};
    return s;
}

/* ---- every width gives the definition's bits ---------------------------------------------------
 */

/* One product: x [rows, inner] with NaN between its rows, y [rows, outputs] with rogue values all
 * around. */
typedef struct {
    size_t rows, inner, outputs, x_stride, y_stride;
    double *x;
} trial;

static trial trial_new(size_t rows, size_t inner, size_t outputs)
{
    trial t = {rows, inner, outputs, inner + 2, outputs + 3, NULL};
    t.x = numbers(rows * t.x_stride, 11 * rows + inner);
    for (size_t r = 0; r < rows; r++) {
        t.x[r * t.x_stride + inner] = t.x[r * t.x_stride + inner + 1] = (double)NAN;
    }
    return t;
}

/* Runs it (tile NULL: the definition; one without run: llava_product) into new memory with a rogue
 * row above and below. */
static double *trial_run(const trial *t, const llava_tile *tile, const llava_numerics *n,
                         const llava_factor *w)
{
    llava_error e;
    size_t count = (t->rows + 2) * t->y_stride;
    double *y = calloc(count, sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; i < count; i++) {
        y[i] = rogue;
    }
    double *first = y + t->y_stride;
    bool ok = tile == NULL ? llava_product_plain(n, first, t->y_stride, t->x, t->x_stride, t->rows,
                                                 t->inner, t->outputs, w, &e)
              : tile->run == NULL
                  ? llava_product(n, first, t->y_stride, t->x, t->x_stride, t->rows, t->inner,
                                  t->outputs, w, &e)
                  : llava_product_with(*tile, n, first, t->y_stride, t->x, t->x_stride, t->rows,
                                       t->inner, t->outputs, w, &e);
    assert_true(ok);
    return y;
}

static void untouched_around(const trial *t, const double *y)
{
    for (size_t i = 0; i < (t->rows + 2) * t->y_stride; i++) {
        size_t row = i / t->y_stride, column = i % t->y_stride;
        bool inside = row > 0 && row <= t->rows && column < t->outputs;
        if (!inside && y[i] != rogue) {
            fail_msg("[%zu, %zu] x %zu: wrote at row %zu, column %zu", t->rows, t->outputs,
                     t->inner, row, column);
        }
    }
}

static void every_width_equals_plain(const trial *t, const llava_numerics *n, const llava_factor *w)
{
    llava_tile tiles[5];
    size_t count = llava_tile_all(n->sums_f32, tiles),
           bytes = (t->rows + 2) * t->y_stride * sizeof(double);
    double *expected = trial_run(t, NULL, n, w);
    assert_true(count >= 1 && llava_tile_best(n->sums_f32).run == tiles[count - 1].run);
    untouched_around(t, expected);
    tiles[count] = (llava_tile){0}; /* llava_product's own choice, which for few rows is no tile */
    for (size_t i = 0; i <= count; i++) {
        double *y = trial_run(t, &tiles[i], n, w);
        if (memcmp(y, expected, bytes) != 0) {
            fail_msg("[%zu, %zu] x %zu: blocks of %zu outputs give other bits", t->rows, t->outputs,
                     t->inner, tiles[i].outputs);
        }
        free(y);
    }
    free(expected);
}

static void product_of_sizes(const llava_numerics *n, llava_dtype type, size_t rows, size_t inner,
                             size_t outputs)
{
    trial t = trial_new(rows, inner, outputs);
    double *values = numbers(outputs * inner, 5 * inner + outputs);
    stored w = store(type, values, 2, outputs, inner);
    llava_factor factor = {.weight = &w.weight};
    every_width_equals_plain(&t, n, &factor);
    free(w.memory);
    free(values);
    free(t.x);
}

static void every_block_width_gives_the_definitions_bits(void **state)
{
    (void)state;
    const size_t rows[] = {1, 2, 4, 5, 9}, inner[] = {0, 1, 255, 256, 257, 600};
    const llava_numerics n = {.storage = LLAVA_F64}, f32 = {.storage = LLAVA_F64, .sums_f32 = true};
    for (size_t r = 0; r < 5; r++) {
        for (size_t k = 0; k < 6; k++) {
            for (size_t o = 1; o <= 20; o++) {
                size_t outputs = o <= 17 ? o : 109 + o; /* 127, 128, 129 behind 17 */
                product_of_sizes(&n, LLAVA_F32, rows[r], inner[k], outputs);
                product_of_sizes(&f32, LLAVA_F32, rows[r], inner[k], outputs + o % 3 * 15);
            }
        }
    }
}

static void every_stored_type_gives_the_definitions_bits(void **state)
{
    (void)state;
    for (size_t s = 0; s < 4; s++) {
        for (size_t i = 0; i < 4; i++) {
            for (int weights = 0; weights <= LLAVA_WEIGHTS_INT8_BLOCK32; weights++) {
                llava_numerics n = {.storage = types[s], .weights = (llava_weight_rounding)weights};
                product_of_sizes(&n, types[i], 2, 257, 13);
                product_of_sizes(&n, types[i], 5, 7, 129);
            }
        }
    }
}

/* Keys and values of attention: heads side by side, and NaN in the heads that are not meant. */
static void strided_matrices_give_the_definitions_bits(void **state)
{
    (void)state;
    enum { HEADS = 3, HEAD = 1, D = 10 };
    const llava_numerics n = {.storage = LLAVA_F64};
    const size_t keys[] = {1, 5, 13, 257, 300};
    for (size_t i = 0; i < 5; i++) {
        double *kv = numbers(keys[i] * HEADS * D, 3 + i);
        for (size_t j = 0; j < keys[i] * HEADS * D; j++) {
            kv[j] = j / D % HEADS == HEAD ? kv[j] : (double)NAN;
        }
        llava_factor key = {.matrix = kv + HEAD * D, .output_stride = HEADS * D, .inner_stride = 1};
        llava_factor value = {
            .matrix = kv + HEAD * D, .output_stride = 1, .inner_stride = HEADS * D};
        trial scores = trial_new(7, D, keys[i]), context = trial_new(7, keys[i], D);
        every_width_equals_plain(&scores, &n, &key);
        every_width_equals_plain(&context, &n, &value);
        free(scores.x);
        free(context.x);
        free(kv);
    }
}

/* Infinity and NaN come through as IEEE says, also from rows and outputs that fill a block up. */
static void infinities_and_nans_stay_in_their_row_and_output(void **state)
{
    (void)state;
    enum { ROWS = 5, INNER = 3, OUTPUTS = 9 };
    const llava_numerics n = {.storage = LLAVA_F64};
    double *values = numbers(OUTPUTS * INNER, 1);
    values[4 * INNER] = INFINITY;
    trial t = trial_new(ROWS, INNER, OUTPUTS);
    t.x[3 * t.x_stride + 2] = (double)NAN;
    stored w = store(LLAVA_F64, values, 2, OUTPUTS, INNER);
    llava_factor factor = {.weight = &w.weight};
    every_width_equals_plain(&t, &n, &factor);
    double *y = trial_run(&t, NULL, &n, &factor);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t o = 0; o < OUTPUTS; o++) {
            double v = y[(r + 1) * t.y_stride + o];
            assert_true(r == 3 ? isnan(v) : o == 4 ? isinf(v) : isfinite(v));
        }
    }
    free(y);
    free(w.memory);
    free(values);
    free(t.x);
}

/* ---- the definition itself ---------------------------------------------------------------------
 */

/* y[0] of one row and one output, by every block width; fails where they differ. */
static double dot(const double *x, const double *w, size_t inner)
{
    const llava_numerics n = {.storage = LLAVA_F64};
    llava_factor factor = {.matrix = w, .output_stride = inner, .inner_stride = 1};
    trial t = {1, inner, 1, inner, 1, (double *)x};
    every_width_equals_plain(&t, &n, &factor);
    double *y = trial_run(&t, NULL, &n, &factor), result = y[1];
    free(y);
    return result;
}

/* Orders are told apart by numbers that swallow others: 2^53 + 1 is 2^53. */
static void sums_run_from_index_0_upward_across_blocks(void **state)
{
    (void)state;
    double x[600], ones[600];
    for (size_t i = 0; i < 600; i++) {
        x[i] = 0;
        ones[i] = 1;
    }
    x[0] = 1; /* swallowed at 255, and gone when 256 takes the large number away again */
    x[255] = 0x1p53;
    x[256] = -0x1p53;
    x[599] = 5;
    assert_true(dot(x, ones, 600) == 5);
    x[0] = 0;
    x[257] = 1; /* behind the cancellation it counts */
    assert_true(dot(x, ones, 600) == 6);
}

/* (1 + 2^-30)^2 = 1 + 2^-29 + 2^-60, whose last term a product rounded by itself loses. */
static void product_and_addition_are_rounded_apart(void **state)
{
    (void)state;
    const double a = 1 + 0x1p-30, x[2] = {-1, a}, w[2] = {1 + 0x1p-29, a};
    assert_true(dot(x, w, 2) == 0);
    assert_true(fma(a, a, -(1 + 0x1p-29)) == 0x1p-60);
}

/* Largest error / bound of a dot product against long double. The bound is the textbook's: each of
 * the `inner` products and additions is rounded once, so |error| <= inner * unit * sum |x||w|. */
static double gauge(double computed, const double *x, const double *w, size_t inner)
{
    long double sum = 0, size = 0;
    for (size_t k = 0; k < inner; k++) {
        sum += (long double)x[k] * w[k];
        size += fabsl((long double)x[k] * w[k]);
    }
    return (double)(fabsl(computed - sum) / ((long double)inner * unit * size));
}

static void definition_stays_within_the_bound_of_long_double(void **state)
{
    (void)state;
    const size_t inner[] = {1, 3, 5, 7, 13, 257, 300};
    for (size_t i = 0; i < 7; i++) {
        size_t n = inner[i];
        double *x = numbers(n, 100 + n), *w = numbers(n, 200 + n);
        double found = dot(x, w, n);
        assert_true(gauge(found, x, w, n) <= 1);
        /* planted: the last product left out; in short sums, one product off by 1e-12 */
        assert_true(gauge(found - x[n - 1] * w[n - 1], x, w, n) > 1);
        if (n <= 13) {
            assert_true(gauge(found + 1e-12 * x[n / 2] * w[n / 2], x, w, n) > 1);
        }
        free(x);
        free(w);
    }
}

/* Small whole numbers: no rounding at all, so any order must give exactly this. */
static void whole_numbers_are_exact(void **state)
{
    (void)state;
    double x[300], w[300], sum = 0;
    for (size_t k = 0; k < 300; k++) {
        x[k] = (double)(k % 17) - 8;
        w[k] = (double)(k % 5) - 2;
        sum += x[k] * w[k];
    }
    assert_true(dot(x, w, 300) == sum);
}

/* ---- linear ------------------------------------------------------------------------------------
 */

/* Numbers of few bits: the sum and the bias are exact in float64, so the result is the one rounding
 * of the exact value, for every storage type. */
static void linear_rounds_once_behind_the_bias(void **state)
{
    (void)state;
    enum { ROWS = 3, INNER = 300, OUTPUTS = 7 };
    double x[ROWS * INNER], w[OUTPUTS * INNER], b[OUTPUTS], y[ROWS * OUTPUTS + 1];
    llava_error e;
    for (size_t i = 0; i < ROWS * INNER; i++) {
        x[i] = ((double)(i % 29) - 14) / 8;
    }
    for (size_t i = 0; i < OUTPUTS * INNER; i++) {
        w[i] = ((double)(i % 31) - 15) / 16;
    }
    for (size_t i = 0; i < OUTPUTS; i++) {
        b[i] = (double)(i + 1) / 4;
    }
    for (size_t s = 0; s < 4; s++) {
        const llava_numerics n = {.storage = types[s]};
        stored weight = store(types[s], w, 2, OUTPUTS, INNER);
        stored bias = store(types[s], b, 1, 1, OUTPUTS);
        y[ROWS * OUTPUTS] = rogue;
        assert_true(llava_linear(&n, y, x, ROWS, &weight.weight, &bias.weight, &e));
        assert_true(y[ROWS * OUTPUTS] == rogue);
        size_t without = 0;
        for (size_t i = 0; i < ROWS * OUTPUTS; i++) {
            double sum = 0;
            for (size_t k = 0; k < INNER; k++) {
                sum += x[i / OUTPUTS * INNER + k] * w[i % OUTPUTS * INNER + k];
            }
            assert_true(y[i] == llava_round(types[s], sum + b[i % OUTPUTS]));
            without += y[i] != llava_round(types[s], sum);
        }
        assert_true(without > 0); /* planted: a dropped bias is seen */
        free(weight.memory);
        free(bias.memory);
    }
}

static void bias_is_added_last(void **state)
{
    (void)state;
    const double x[2] = {0x1p53, -0x1p53}, ones[2] = {1, 1}, one = 1;
    const llava_numerics n = {.storage = LLAVA_F64};
    stored weight = store(LLAVA_F64, ones, 2, 1, 2), bias = store(LLAVA_F64, &one, 1, 1, 1);
    llava_error e;
    double y;
    assert_true(llava_linear(&n, &y, x, 1, &weight.weight, &bias.weight, &e));
    assert_true(y == 1); /* added first it would be swallowed */
    free(weight.memory);
    free(bias.memory);
}

static void vectors_are_decoded_from_anywhere_and_rounded(void **state)
{
    (void)state;
    double *values = numbers(300, 9), out[300];
    for (size_t i = 0; i < 4; i++) {
        stored w = store(types[i], values, 2, 3, 100);
        for (size_t s = 0; s < 4; s++) {
            const llava_numerics n = {.storage = types[s], .weights = LLAVA_WEIGHTS_INT8};
            out[299] = rogue;
            llava_weight_vector(&n, &w.weight, 101, 199, out + 100);
            for (size_t k = 101; k < 300; k++) {
                double kept = llava_round(types[s], llava_round(types[i], values[k]));
                assert_true(out[k - 1] == kept); /* int8 is for matrices only */
            }
            assert_true(out[299] == rogue);
        }
        free(w.memory);
    }
    free(values);
}

/* ---- numerics.weights --------------------------------------------------------------------------
 */

/* The matrix as the product sees it: its product with unit vectors. seen: [outputs, inner]. */
static void see_matrix(const llava_numerics *n, const llava_weight *w, double *seen)
{
    size_t outputs = w->shape[0], inner = w->shape[1];
    double *x = calloc(inner, sizeof *x), *y = calloc(outputs, sizeof *y);
    llava_factor factor = {.weight = w};
    llava_error e;
    assert_true(x != NULL && y != NULL);
    for (size_t k = 0; k < inner; k++) {
        x[k] = 1;
        assert_true(llava_product(n, y, outputs, x, inner, 1, inner, outputs, &factor, &e));
        x[k] = 0;
        for (size_t o = 0; o < outputs; o++) {
            seen[o * inner + k] = y[o];
        }
    }
    free(x);
    free(y);
}

/* int8's definition: whole steps of max |w| / 127 in float32, the quotient too, given back with the
 * step as kept. */
static void quantise_plainly(double *w, size_t count, bool half)
{
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs(w[i]));
    }
    float step = (float)(most / 127);
    double kept = half ? llava_decode_f16(llava_encode_f16((double)step)) : (double)step;
    for (size_t i = 0; i < count; i++) {
        double whole = step > 0 ? rint((double)(float)(w[i] / (double)step)) : 0;
        assert_true(fabs(whole) <= 127);
        w[i] = whole * kept;
    }
}

static void round_plainly(llava_weight_rounding rounding, double *w, size_t rows, size_t inner)
{
    for (size_t r = 0; r < rows; r++, w += inner) {
        for (size_t k = 0; k < inner; k++) {
            w[k] = rounding == LLAVA_WEIGHTS_F16    ? llava_decode_f16(llava_encode_f16(w[k]))
                   : rounding == LLAVA_WEIGHTS_BF16 ? llava_decode_bf16(llava_encode_bf16(w[k]))
                                                    : w[k];
        }
        if (rounding == LLAVA_WEIGHTS_INT8) {
            quantise_plainly(w, inner, false);
        }
        for (size_t k = 0; rounding == LLAVA_WEIGHTS_INT8_BLOCK32 && k < inner; k += 32) {
            quantise_plainly(w + k, inner - k < 32 ? inner - k : 32, true);
        }
    }
}

static void weights_are_rounded_as_their_definition_says(void **state)
{
    (void)state;
    enum { ROWS = 4, MOST = 300 };
    const size_t inner[] = {1, 31, 32, 33, 257, MOST};
    double seen[ROWS * MOST];
    for (size_t i = 0; i < 6; i++) {
        size_t count = ROWS * inner[i];
        double *values = numbers(count, 77 + i);
        for (size_t k = 0; k < inner[i]; k++) {
            values[inner[i] + k] *= 2e-6;   /* its blocks' steps are subnormal in float16 */
            values[2 * inner[i] + k] = 0;   /* no step at all */
            values[3 * inner[i] + k] *= 30; /* rows have steps of their own */
        }
        for (size_t k = 0; k < count; k++) {
            values[k] = (double)(float)values[k];
        }
        stored w = store(LLAVA_F32, values, 2, ROWS, inner[i]);
        for (int rounding = 0; rounding <= LLAVA_WEIGHTS_INT8_BLOCK32; rounding++) {
            llava_numerics n = {.storage = LLAVA_F64, .weights = (llava_weight_rounding)rounding};
            double expected[ROWS * MOST];
            memcpy(expected, values, count * sizeof(double));
            round_plainly(n.weights, expected, ROWS, inner[i]);
            see_matrix(&n, &w.weight, seen);
            for (size_t k = 0; k < count; k++) {
                assert_true(seen[k] == expected[k]);
            }
            /* planted: the rounding left out is seen wherever it does anything */
            bool same = memcmp(seen, values, count * sizeof(double)) == 0;
            assert_true(same == (rounding == LLAVA_WEIGHTS_STORED));
            n.storage = LLAVA_BF16; /* rounded weights then go to the storage type */
            see_matrix(&n, &w.weight, seen);
            for (size_t k = 0; k < count; k++) {
                assert_true(seen[k] == llava_round(LLAVA_BF16, expected[k]));
            }
        }
        free(w.memory);
        free(values);
    }
}

/* ---- rounded inputs ----------------------------------------------------------------------------
 */

/* 11 significant bits of a float, at least 2^-136 apart, by scaling. */
static double tf32_plainly(double x)
{
    double single = (double)(float)x;
    int exponent;
    frexp(single, &exponent);
    double place = ldexp(1, exponent - 11 < -136 ? -136 : exponent - 11);
    double rounded = rint(single / place) * place;
    return fabs(rounded) >= 0x1p128 ? copysign(INFINITY, x) : rounded;
}

static double tf32(double x)
{
    llava_round_input(LLAVA_ROUNDING_TF32, &x, 1);
    return x;
}

static void tf32_keeps_ten_bits_and_float32s_range(void **state)
{
    (void)state;
    const double greatest = 0x1.ffcp127;
    assert_true(tf32(1 + 0x1p-11) == 1 && tf32(1 + 3 * 0x1p-11) == 1 + 0x1p-9); /* ties to even */
    assert_true(tf32(1 + 0x1p-11 + 0x1p-23) == 1 + 0x1p-10);
    assert_true(tf32(greatest) == greatest);
    assert_true(tf32(0x1.ffdffep127) == greatest); /* below the half-way point */
    assert_true(tf32(-0x1.ffep127) == -INFINITY);  /* the half-way point: the even one */
    assert_true(tf32((double)FLT_MAX) == INFINITY && tf32(INFINITY) == INFINITY);
    assert_true(isnan(tf32((double)NAN)) && signbit(tf32(-0.0)));
    assert_true(tf32(0x1p-136) == 0x1p-136 && tf32(0x1p-137) == 0 && tf32(0x1p-149) == 0);
    uint64_t seed = 4;
    for (int i = 0; i < 20000; i++) {
        double x = ldexp(support_random(&seed), (int)(seed % 280) - 150);
        assert_true(tf32(x) == tf32_plainly(x));
    }
}

static void inputs_of_linear_are_rounded_first(void **state)
{
    (void)state;
    const double x[3] = {1 + 0x1p-12, 1 + 0x1p-9, 1 + 0x1p-6},
                 identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    stored weight = store(LLAVA_F64, identity, 2, 3, 3);
    const llava_dtype small[] = {LLAVA_F64, LLAVA_F16, LLAVA_BF16};
    llava_error e;
    double y[3];
    for (int rounding = LLAVA_ROUNDING_EXACT; rounding <= LLAVA_ROUNDING_TF32; rounding++) {
        llava_numerics n = {.storage = LLAVA_F64, .matmul_input = (llava_rounding)rounding};
        assert_true(llava_linear(&n, y, x, 1, &weight.weight, NULL, &e));
        for (size_t i = 0; i < 3; i++) {
            double expected = rounding == LLAVA_ROUNDING_TF32 ? tf32_plainly(x[i])
                                                              : llava_round(small[rounding], x[i]);
            assert_true(y[i] == expected);
        }
    }
    assert_true(x[0] == 1 + 0x1p-12); /* the caller's own stays */
    free(weight.memory);
}

/* Every pattern of 16 bits, and as many float32, by the vectors' way and the definition's. */
static void every_number_is_widened_to_the_definitions_bits(void **state)
{
    enum { N = 65536 };
    static const llava_dtype stored_types[] = {LLAVA_F16, LLAVA_BF16, LLAVA_F32};
    double *out = calloc(2 * (size_t)N, sizeof *out), *right = out + N;
    uint8_t *bytes = calloc(N, sizeof(uint32_t));
    (void)state;
    assert_true(out != NULL && bytes != NULL);
    for (size_t t = 0; t < 3; t++) {
        for (uint32_t i = 0; i < N; i++) {
            uint16_t half = (uint16_t)i;
            uint32_t single = i << 16 | ((i * 40503u) & 0xffffu);
            memcpy(bytes + i * llava_dtype_size(stored_types[t]),
                   t < 2 ? (const void *)&half : (const void *)&single,
                   llava_dtype_size(stored_types[t]));
        }
        for (size_t n = N - 5; n <= N; n++) {
            llava_decode(stored_types[t], bytes, n, LLAVA_F64, right);
            llava_decode_f64(stored_types[t], bytes, n, out);
            assert_memory_equal(out, right, n * sizeof *out);
        }
    }
    free(out);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_width_gives_the_definitions_bits),
        cmocka_unit_test(every_stored_type_gives_the_definitions_bits),
        cmocka_unit_test(strided_matrices_give_the_definitions_bits),
        cmocka_unit_test(infinities_and_nans_stay_in_their_row_and_output),
        cmocka_unit_test(sums_run_from_index_0_upward_across_blocks),
        cmocka_unit_test(product_and_addition_are_rounded_apart),
        cmocka_unit_test(definition_stays_within_the_bound_of_long_double),
        cmocka_unit_test(whole_numbers_are_exact),
        cmocka_unit_test(linear_rounds_once_behind_the_bias),
        cmocka_unit_test(bias_is_added_last),
        cmocka_unit_test(vectors_are_decoded_from_anywhere_and_rounded),
        cmocka_unit_test(every_number_is_widened_to_the_definitions_bits),
        cmocka_unit_test(weights_are_rounded_as_their_definition_says),
        cmocka_unit_test(tf32_keeps_ten_bits_and_float32s_range),
        cmocka_unit_test(inputs_of_linear_are_rounded_first),
    };
    return cmocka_run_group_tests_name("products", tests, NULL, NULL);
}
