/* ref/number.c: rounding once, bit patterns, decoding of files' bytes. */
#include "ref/number.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double of_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Equal, with the sign of zero; all NaN are one. */
static bool same(double a, double b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

static uint64_t random_state = 1;

/* xorshift64* */
static uint64_t random_bits(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

/* ---- the slow definition ---- */

typedef struct {
    llava_dtype type;
    int stored, least; /* mantissa bits, exponent of the least normal number */
    uint32_t infinity; /* its pattern; one more than that of the largest finite number */
} format;

static const format formats[] = {
    {LLAVA_F16, 10, -14, 0x7c00},
    {LLAVA_BF16, 7, -126, 0x7f80},
    {LLAVA_F32, 23, -126, 0x7f800000},
};

/* The pattern's value by IEEE 754's definition. For infinity's pattern it is the number that would
 * come after the largest: 2^(greatest + 1), which is where rounding to nearest puts the tie's other
 * side. */
static double value_of(const format *f, uint32_t pattern)
{
    uint32_t mantissa = pattern & ((1U << f->stored) - 1);
    int exponent = (int)(pattern >> f->stored);
    if (exponent == 0) {
        return ldexp(mantissa, f->least - f->stored);
    }
    return ldexp(mantissa + (1U << f->stored), f->least - f->stored + exponent - 1);
}

/* The nearest of all patterns by searching, for x >= 0: find the neighbours, compare with their
 * middle (a double, exactly), and on a tie take the even pattern. */
static uint32_t nearest_pattern(const format *f, double x)
{
    if (x >= value_of(f, f->infinity)) {
        return f->infinity;
    }
    uint32_t below = 0, above = f->infinity;
    while (above - below > 1) {
        uint32_t middle = below + (above - below) / 2;
        *(value_of(f, middle) <= x ? &below : &above) = middle;
    }
    double half_way = (value_of(f, below) + value_of(f, above)) / 2;
    if (x == half_way) {
        return below % 2 == 0 ? below : above;
    }
    return x < half_way ? below : above;
}

static double slow_round(const format *f, double x)
{
    if (isnan(x)) {
        return x;
    }
    uint32_t pattern = nearest_pattern(f, fabs(x));
    return copysign(pattern == f->infinity ? INFINITY : value_of(f, pattern), x);
}

static uint16_t encode(llava_dtype type, double x)
{
    return type == LLAVA_F16 ? llava_encode_f16(x) : llava_encode_bf16(x);
}

static double decode(llava_dtype type, uint16_t bits)
{
    return type == LLAVA_F16 ? llava_decode_f16(bits) : llava_decode_bf16(bits);
}

/* ---- tests ---- */

static void every_16_bit_pattern_survives_decoding_and_encoding(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        const format *f = &formats[k];
        for (uint32_t bits = 0; bits < 0x10000; bits++) {
            uint32_t size = bits & 0x7fff;
            double x = decode(f->type, (uint16_t)bits);
            if (size > f->infinity) {
                assert_true(isnan(x));
                uint32_t quiet = f->infinity | 1U << (f->stored - 1);
                assert_int_equal(encode(f->type, x), quiet);
                assert_true(isnan(llava_round(f->type, x)));
                continue;
            }
            double expected = size == f->infinity ? INFINITY : value_of(f, size);
            assert_true(same(x, bits >> 15 != 0 ? -expected : expected));
            assert_int_equal(encode(f->type, x), bits);
            assert_true(same(llava_round(f->type, x), x));
        }
    }
}

/* Between all neighbours, the infinite one included: the middle goes to the even one, one double
 * below it and one above it to their own sides. */
static void ties_go_to_even_and_their_neighbours_do_not(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        const format *f = &formats[k];
        for (uint32_t below = 0; below < f->infinity; below++) {
            double middle = (value_of(f, below) + value_of(f, below + 1)) / 2;
            double xs[] = {nextafter(middle, 0), middle, nextafter(middle, INFINITY)};
            uint32_t expected[] = {below, below + below % 2, below + 1};
            for (int i = 0; i < 3; i++) {
                double y = decode(f->type, (uint16_t)expected[i]);
                assert_int_equal(encode(f->type, xs[i]), expected[i]);
                assert_int_equal(encode(f->type, -xs[i]), expected[i] | 0x8000);
                assert_true(same(llava_round(f->type, xs[i]), y));
                assert_true(same(llava_round(f->type, -xs[i]), -y));
            }
        }
    }
}

/* All of double's range, all of the format's, its subnormals, its upper end, and near ties. */
static double any_double(const format *f, unsigned i)
{
    uint64_t bits = random_bits();
    uint32_t pattern = (uint32_t)(bits >> 8) % f->infinity;
    double near = (value_of(f, pattern) + value_of(f, pattern + 1)) / 2;
    double low = value_of(f, 1) / 4;
    switch (i % 6) {
    case 0:
        return of_bits(bits);
    case 1:
        return of_bits(bits_of(low) + bits % (bits_of(value_of(f, f->infinity)) - bits_of(low)));
    case 2:
        return -ldexp((double)(bits >> 11), f->least - 53);
    case 3:
        return value_of(f, f->infinity - 1) * (1 + ldexp((double)(bits >> 11), -53 - f->stored));
    case 4:
        return near * (1 + ldexp((double)(bits >> 11), -53) * 0x1p-30);
    default:
        return -near;
    }
}

static void rounding_agrees_with_searching_the_nearest(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        const format *f = &formats[k];
        for (unsigned i = 0; i < 60000; i++) {
            double x = any_double(f, i);
            double y = slow_round(f, x);
            if (!same(llava_round(f->type, x), y)) {
                fail_msg("%s of %a", llava_dtype_name(f->type), x);
            }
            if (f->type != LLAVA_F32) {
                assert_true(same(decode(f->type, encode(f->type, x)), y));
            }
        }
    }
}

/* Just beyond a tie by less than float keeps: through float it would become the tie, and go the
 * other way. The second assertion is the planted error: a rounding through float is seen. */
static void nothing_is_rounded_twice(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        const format *f = &formats[k];
        size_t trapped = 0;
        for (uint32_t below = 0; below < f->infinity; below += 2) {
            double middle = (value_of(f, below) + value_of(f, below + 1)) / 2;
            double x = nextafter(middle, INFINITY);
            double through_float = llava_round(f->type, (double)(float)x);
            assert_true(same(llava_round(f->type, x), decode(f->type, (uint16_t)(below + 1))));
            trapped += !same(through_float, llava_round(f->type, x));
        }
        assert_true(trapped > 0x3000); /* nearly all of the even patterns */
    }
    assert_true(llava_round(LLAVA_F16, 1 + 0x1p-11 + 0x1p-40) == 1 + 0x1p-10);
    assert_true(llava_round(LLAVA_BF16, 1 + 0x1p-8 + 0x1p-40) == 1 + 0x1p-7);
    assert_true(llava_round(LLAVA_F32, 1 + 0x1p-24 + 0x1p-52) == 1 + 0x1p-23);
}

static void ends_of_the_range(void **state)
{
    (void)state;
    static const struct {
        llava_dtype type;
        double largest, first_infinite, half_of_least;
    } ends[] = {
        {LLAVA_F16, 65504, 65520, 0x1p-25},
        {LLAVA_BF16, 0x1.fep127, 0x1.ffp127, 0x1p-134},
        {LLAVA_F32, 0x1.fffffep127, 0x1.ffffffp127, 0x1p-150},
    };
    for (size_t k = 0; k < 3; k++) {
        llava_dtype type = ends[k].type;
        double edge = ends[k].first_infinite, half = ends[k].half_of_least;
        assert_true(llava_round(type, nextafter(edge, 0)) == ends[k].largest);
        assert_true(llava_round(type, edge) == INFINITY);
        assert_true(llava_round(type, -edge) == -INFINITY);
        assert_true(llava_round(type, DBL_MAX) == INFINITY);
        assert_true(llava_round(type, INFINITY) == INFINITY);
        assert_true(llava_round(type, -INFINITY) == -INFINITY);
        assert_true(same(llava_round(type, half), 0));
        assert_true(same(llava_round(type, -half), -0.0));
        assert_true(llava_round(type, nextafter(half, 1)) == 2 * half);
        assert_true(same(llava_round(type, 0), 0));
        assert_true(same(llava_round(type, -0.0), -0.0));
        assert_true(same(llava_round(type, -0x1p-1074), -0.0));
        assert_true(isnan(llava_round(type, NAN)));
        assert_true(isnan(llava_round(type, of_bits(UINT64_C(0xfff8000000000001)))));
    }
    assert_true(same(llava_round(LLAVA_F64, 0x1.23456789abcdep-1060), 0x1.23456789abcdep-1060));
    assert_int_equal(llava_encode_f16(NAN), 0x7e00);
    assert_int_equal(llava_encode_f16(of_bits(UINT64_C(0xfff0000000000001))), 0x7e00);
    assert_int_equal(llava_encode_bf16(NAN), 0x7fc0);
    assert_int_equal(llava_encode_bf16(of_bits(UINT64_C(0xfff0000000000001))), 0x7fc0);
}

#define ROGUE (-12345.678)

/* The loops compile to vector code with odd ends: every length, nothing behind the end touched. */
static void rounding_an_array_is_rounding_each_number(void **state)
{
    (void)state;
    static const llava_dtype all[] = {LLAVA_F64, LLAVA_F32, LLAVA_F16, LLAVA_BF16};
    for (size_t k = 0; k < 4; k++) {
        for (size_t n = 0; n < 70; n++) {
            double x[70], y[71];
            for (size_t i = 0; i < n; i++) {
                x[i] = any_double(&formats[k % 3], (unsigned)i);
                y[i] = x[i];
            }
            y[n] = ROGUE;
            llava_round_all(all[k], y, n);
            for (size_t i = 0; i < n; i++) {
                assert_true(same(y[i], llava_round(all[k], x[i])));
            }
            assert_true(y[n] == ROGUE);
        }
    }
}

/* Element i of random little-endian bytes, by the definition of the type. */
static double element(llava_dtype type, const uint8_t *bytes, size_t i)
{
    size_t size = llava_dtype_size(type);
    uint64_t pattern = 0;
    for (size_t b = 0; b < size; b++) {
        pattern |= (uint64_t)bytes[size * i + b] << (8 * b);
    }
    if (type == LLAVA_F64) {
        return of_bits(pattern);
    }
    const format *f = type == LLAVA_F16 ? &formats[0] : &formats[type == LLAVA_BF16 ? 1 : 2];
    uint32_t sign = 1U << (8 * size - 1);
    uint32_t rest = (uint32_t)pattern & (sign - 1);
    double x = rest > f->infinity ? NAN : rest == f->infinity ? INFINITY : value_of(f, rest);
    return (pattern & sign) != 0 ? -x : x;
}

static void decode_reads_any_alignment_and_length(void **state)
{
    (void)state;
    static const llava_dtype all[] = {LLAVA_F64, LLAVA_F32, LLAVA_F16, LLAVA_BF16};
    static const size_t lengths[] = {0, 1, 2, 3, 7, 64, 1023, 1024, 1025, 2500};
    enum { LONGEST = 2500 };
    static double out[LONGEST + 1];
    for (size_t pair = 0; pair < 16; pair++) {
        llava_dtype from = all[pair / 4], to = all[pair % 4];
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            size_t n = lengths[l], offset = l % 8;
            /* exactly as long as needed, so that a sanitizer sees a read behind the end */
            size_t size = offset + n * llava_dtype_size(from);
            uint8_t *bytes = malloc(size + 1 - (size > 0));
            assert_non_null(bytes);
            for (size_t i = 0; i < size; i++) {
                bytes[i] = (uint8_t)(random_bits() >> 32);
            }
            out[n] = ROGUE;
            llava_decode(from, bytes + offset, n, to, out);
            for (size_t i = 0; i < n; i++) {
                double x = element(from, bytes + offset, i);
                assert_true(same(out[i], llava_round(to, x)));
            }
            assert_true(out[n] == ROGUE);
            free(bytes);
        }
    }
}

static void names_and_sizes(void **state)
{
    (void)state;
    static const struct {
        llava_dtype type;
        const char *name;
        size_t size;
        bool floating;
    } types[] = {
        {LLAVA_F64, "f64", 8, true},   {LLAVA_F32, "f32", 4, true},  {LLAVA_F16, "f16", 2, true},
        {LLAVA_BF16, "bf16", 2, true}, {LLAVA_I64, "i64", 8, false}, {LLAVA_U8, "u8", 1, false},
    };
    for (size_t i = 0; i < 6; i++) {
        llava_dtype parsed = LLAVA_U8;
        assert_string_equal(llava_dtype_name(types[i].type), types[i].name);
        assert_int_equal(llava_dtype_size(types[i].type), types[i].size);
        assert_int_equal(llava_dtype_parse(types[i].name, &parsed), types[i].floating);
        assert_int_equal(parsed, types[i].floating ? types[i].type : LLAVA_U8);
    }
    llava_dtype parsed;
    assert_false(llava_dtype_parse("F32", &parsed));
    assert_false(llava_dtype_parse("f3", &parsed));
    assert_false(llava_dtype_parse("", &parsed));
}

#if defined(__x86_64__)
static void state_set(unsigned bits)
{
    __builtin_ia32_ldmxcsr(bits);
}

/* Planted: each state that would change digits, one after the other, in the control register. */
static void arithmetic_that_is_not_ieees_is_named(void **state)
{
    (void)state;
    enum { USUAL = 0x1f80 };
    static const struct {
        unsigned bits;
        const char *says;
    } faults[] = {
        {0x8000, "flush-to-zero"}, {0x0040, "denormals-are-zero"},
        {0x2000, "nearest"},       {0x4000, "nearest"},
        {0x6000, "nearest"},
    };
    assert_null(llava_arithmetic_fault());
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        state_set(USUAL | faults[i].bits);
        const char *fault = llava_arithmetic_fault();
        state_set(USUAL);
        assert_non_null(fault);
        assert_non_null(strstr(fault, faults[i].says));
    }
}
#else
static void arithmetic_that_is_not_ieees_is_named(void **state)
{
    (void)state;
    assert_null(llava_arithmetic_fault());
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_16_bit_pattern_survives_decoding_and_encoding),
        cmocka_unit_test(ties_go_to_even_and_their_neighbours_do_not),
        cmocka_unit_test(rounding_agrees_with_searching_the_nearest),
        cmocka_unit_test(nothing_is_rounded_twice),
        cmocka_unit_test(ends_of_the_range),
        cmocka_unit_test(rounding_an_array_is_rounding_each_number),
        cmocka_unit_test(decode_reads_any_alignment_and_length),
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(arithmetic_that_is_not_ieees_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
