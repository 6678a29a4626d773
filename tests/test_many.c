/* exp, tanh and erf of many numbers against the scalar functions, bit for bit, for every vector
 * width of this machine. */
#include "ref/elementary.h"
#include "ref/ops/many.h"
#include "tests/support.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 1 << 15 };

typedef struct {
    const char *name;
    double (*one)(double);
    llava_many_run *all;
    void (*with)(const llava_many_width *, double *, const double *, size_t);
} function;

static const function functions[] = {
    {"exp", llava_exp, llava_exp_all, llava_exp_all_with},
    {"tanh", llava_tanh, llava_tanh_all, llava_tanh_all_with},
    {"erf", llava_erf, llava_erf_all, llava_erf_all_with},
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

static void one_by_one(const function *f, double *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = f->one(x[i]);
    }
}

/* Do all widths, and the one that is taken, give the scalar function's bits, also in place? */
static bool agrees(const function *f, const double *x, size_t n)
{
    static double expected[MOST], y[MOST];
    llava_many_width widths[4];
    size_t count = llava_many_widths(widths);
    one_by_one(f, expected, x, n);
    bool same = count >= 1;
    for (size_t i = 0; i < count; i++) {
        f->with(&widths[i], y, x, n);
        same = same && memcmp(y, expected, n * sizeof *y) == 0;
    }
    memcpy(y, x, n * sizeof *y);
    f->all(y, y, n);
    return same && memcmp(y, expected, n * sizeof *y) == 0;
}

static void all_agree(const double *x, size_t n)
{
    for (size_t f = 0; f < FUNCTIONS; f++) {
        if (!agrees(&functions[f], x, n)) {
            fail_msg("%s: other bits among %zu numbers from %a on", functions[f].name, n, x[0]);
        }
    }
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
    static const double limits[][2] = {
        {-1, 1},        {-40, 40},      {-708, 708},        {-760, 720},       {-1e-8, 1e-8},
        {-0.35, -0.34}, {707, 710},     {-746, -707},       {-1e-300, 1e-300}, {-6.1, 6.1},
        {5.9, 6},       {-20.1, -18.9}, {0x1p-29, 0x1p-27}, {0, 0x1p-899},     {0, 0x1p-1021}};
    const size_t rounds = support_long() ? 4 : 1, n = support_long() ? MOST : MOST / 8;
    for (size_t r = 0; r < rounds * sizeof limits / sizeof *limits; r++) {
        const double *limit = limits[r / rounds];
        for (size_t i = 0; i < n; i++) {
            x[i] = between(limit[0], limit[1], i + MOST * r);
        }
        all_agree(x, n);
    }
    for (size_t i = 0; i < n; i++) { /* any bits at all: infinities and NaNs among them */
        uint64_t bits = mixed(i + 1000000);
        memcpy(&x[i], &bits, sizeof bits);
    }
    all_agree(x, n);
}

/* Adds x and its two neighbours. */
static size_t add_near(double *to, double x)
{
    to[0] = x;
    to[1] = nextafter(x, INFINITY);
    to[2] = nextafter(x, -INFINITY);
    return 3;
}

/* Around every half multiple of ln 2, where exp's k changes, every quarter, where tanh's does, and
 * every 1/32, where erf's row of the table does. */
static void every_step_has_the_scalar_functions_bits(void **state)
{
    (void)state;
    static double x[MOST];
    size_t n = 0;
    for (int k = -2160; k <= 2060; k++) {
        n += add_near(x + n, 0.5 * k * 0.6931471805599453);
    }
    for (int k = -120; k <= 120; k++) {
        n += add_near(x + n, 0.25 * k * 0.6931471805599453);
    }
    for (int row = -200; row <= 200; row++) {
        n += add_near(x + n, row * 0.03125);
    }
    assert_true(n <= MOST);
    all_agree(x, n);
}

/* One special value at each place of a vector, and lengths that are no multiple of a vector. */
static void specials_and_ends_have_the_scalar_functions_bits(void **state)
{
    (void)state;
    static const double specials[] = {
        0,       -0.0,     INFINITY,  -INFINITY, (double)NAN, -(double)NAN, 5e-324,
        -5e-324, -1e9,     1e9,       708,       -708,        709.9,        -708.5,
        -745,    0x1p-60,  0x1p-28,   20,        -6.0,        0x1p-900,     6,
        DBL_MAX, -DBL_MAX, 0x1p-1022, 0x1p-901,  -0x1p-1000,  0x1p-969};
    double x[80];
    for (size_t s = 0; s < sizeof specials / sizeof *specials; s++) {
        for (size_t n = 0; n <= 80; n++) {
            for (size_t i = 0; i < n; i++) {
                x[i] = i == (7 * n + s) % 80 ? specials[s] : between(-20, 20, 80 * n + i);
            }
            all_agree(x, n);
        }
    }
}

/* Planted: a width whose result is one ulp off in one lane. */
static void off_by_one(double *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] < 0 ? -0.5 : 0.5;
    }
    if (n > 1) {
        y[1] = nextafter(y[1], INFINITY);
    }
}

static double half(double x)
{
    return x < 0 ? -0.5 : 0.5;
}

static void planted_errors_are_seen_and_lengths_kept(void **state)
{
    (void)state;
    const llava_many_width planted = {2, off_by_one, off_by_one, off_by_one};
    for (size_t f = 0; f < FUNCTIONS; f++) {
        const function *real = &functions[f];
        double x[40], y[41], expected[40];
        for (size_t i = 0; i < 40; i++) {
            x[i] = between(-20, 20, i);
        }
        one_by_one(&(function){.one = half}, expected, x, 40);
        real->with(&planted, y, x, 40);
        assert_true(memcmp(y, expected, sizeof expected) != 0);
        y[40] = -7.25e77;
        one_by_one(real, expected, x, 40);
        real->all(y, x, 40);
        assert_memory_equal(y, expected, sizeof expected);
        assert_true(y[40] == -7.25e77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_regime_has_the_scalar_functions_bits),
        cmocka_unit_test(every_step_has_the_scalar_functions_bits),
        cmocka_unit_test(specials_and_ends_have_the_scalar_functions_bits),
        cmocka_unit_test(planted_errors_are_seen_and_lengths_kept),
    };
    return cmocka_run_group_tests_name("exp, tanh and erf of many numbers", tests, NULL, NULL);
}
