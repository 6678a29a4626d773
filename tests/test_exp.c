/* llava_exp_all against llava_exp, bit for bit, for every vector width of this machine. */
#include "ref/elementary.h"
#include "ref/ops/exp.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 1 << 15 };

static void copy_of_scalar(double *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = llava_exp(x[i]);
    }
}

/* Do all widths, and the one that is taken, give the scalar function's bits, also in place? */
static bool agree(const double *x, size_t n)
{
    static double expected[MOST], y[MOST];
    llava_exp_block blocks[4];
    size_t count = llava_exp_widths(blocks);
    copy_of_scalar(expected, x, n);
    bool same = count >= 1;
    for (size_t i = 0; i < count; i++) {
        llava_exp_all_with(blocks[i], y, x, n);
        same = same && memcmp(y, expected, n * sizeof *y) == 0;
    }
    memcpy(y, x, n * sizeof *y);
    llava_exp_all(y, y, n);
    return same && memcmp(y, expected, n * sizeof *y) == 0;
}

/* The n-th number of splitmix64. */
static uint64_t mixed(uint64_t n)
{
    uint64_t z = n * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static double between(double low, double high, uint64_t i)
{
    return low + (high - low) * ((double)(mixed(i) >> 11) * 0x1p-53);
}

static void every_regime_has_the_scalar_functions_bits(void **state)
{
    (void)state;
    static double x[MOST];
    static const double limits[][2] = {{-1, 1},     {-40, 40},     {-708, 708},
                                       {-760, 720}, {-1e-8, 1e-8}, {-0.35, -0.34},
                                       {707, 710},  {-746, -707},  {-1e-300, 1e-300}};
    for (size_t r = 0; r < 4 * sizeof limits / sizeof *limits; r++) {
        const double *limit = limits[r / 4];
        for (size_t i = 0; i < MOST; i++) {
            x[i] = between(limit[0], limit[1], i + MOST * r);
        }
        assert_true(agree(x, MOST));
    }
    for (size_t i = 0; i < MOST; i++) { /* any bits at all: infinities and NaNs among them */
        uint64_t bits = mixed(i + 1000000);
        memcpy(&x[i], &bits, sizeof bits);
    }
    assert_true(agree(x, MOST));
}

/* Around every half multiple of ln 2, where k changes. */
static void every_step_of_k_has_the_scalar_functions_bits(void **state)
{
    (void)state;
    static double x[MOST];
    size_t n = 0;
    for (int k = -2160; k <= 2060; k++) {
        double at = 0.5 * k * 0.6931471805599453;
        x[n++] = at;
        x[n++] = nextafter(at, INFINITY);
        x[n++] = nextafter(at, -INFINITY);
    }
    assert_true(n <= MOST && agree(x, n));
}

/* One special value at each place of a vector, and lengths that are no multiple of a vector. */
static void specials_and_ends_have_the_scalar_functions_bits(void **state)
{
    (void)state;
    static const double specials[] = {0,   -0.0, INFINITY, -INFINITY, (double)NAN, 5e-324, -1e9,
                                      1e9, 708,  -708,     709.9,     -708.5,      -745,   0x1p-60};
    double x[80];
    for (size_t s = 0; s < sizeof specials / sizeof *specials; s++) {
        for (size_t n = 0; n <= 80; n++) {
            for (size_t i = 0; i < n; i++) {
                x[i] = i == (7 * n + s) % 80 ? specials[s] : between(-20, 20, 80 * n + i);
            }
            assert_true(agree(x, n));
        }
    }
}

/* Planted: a width whose result is one ulp off in one lane. */
static void off_by_one(double *y, const double *x, size_t n)
{
    copy_of_scalar(y, x, n);
    if (n > 1) {
        y[1] = nextafter(y[1], INFINITY);
    }
}

static void planted_errors_are_seen_and_lengths_kept(void **state)
{
    (void)state;
    double x[40], y[41], expected[40];
    for (size_t i = 0; i < 40; i++) {
        x[i] = between(-20, 20, i);
    }
    copy_of_scalar(expected, x, 40);
    y[40] = -7.25e77;
    llava_exp_all_with((llava_exp_block){2, off_by_one}, y, x, 40);
    assert_true(memcmp(y, expected, sizeof expected) != 0);
    llava_exp_all(y, x, 40);
    assert_memory_equal(y, expected, sizeof expected);
    assert_true(y[40] == -7.25e77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_regime_has_the_scalar_functions_bits),
        cmocka_unit_test(every_step_of_k_has_the_scalar_functions_bits),
        cmocka_unit_test(specials_and_ends_have_the_scalar_functions_bits),
        cmocka_unit_test(planted_errors_are_seen_and_lengths_kept),
    };
    return cmocka_run_group_tests_name("exp of many numbers", tests, NULL, NULL);
}
