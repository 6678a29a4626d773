/* Elementary functions in double-double arithmetic.
 *
 * Each function is reduced to a small argument, a short polynomial is evaluated there in plain
 * double, and the few terms before it, which decide the result, are carried as an unevaluated sum
 * of two doubles (`pair`, about 106 bits). So the rounding of the final sum, half an ulp, is
 * nearly the whole error; what stands beside each function is what comes on top of it.
 *
 * u = 2^-53 is the largest relative rounding error of one operation. Every operation used is
 * defined to the last bit by IEEE 754 in its default rounding. Products may not be contracted into
 * fused multiply-adds (-ffp-contract=off): that would change digits from one CPU to the next.
 *
 * A NaN that comes out is always NAN, not whatever an invalid operation leaves: its sign differs
 * between CPUs, and between the CPU and a compiler that computes ahead.
 *
 * exp, tanh, erf and the main path of sin and cos are straight-line arithmetic with selects. */
#include "elementary.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "double operations must be rounded to double");
_Static_assert(DBL_MANT_DIG == 53 && DBL_MAX_EXP == 1024, "double must be IEEE binary64");

/* hi + lo, |lo| <= u |hi| */
typedef struct {
    double hi, lo;
} pair;

#include "elementary_tables.h"

static const uint64_t sign_bit = UINT64_C(1) << 63;

static inline uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double of_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline double magnitude(double x)
{
    return of_bits(bits_of(x) & ~sign_bit);
}

/* size >= 0 with the sign of x: how the odd functions become exactly odd, and keep -0. */
static inline double with_sign(double size, double x)
{
    return of_bits(bits_of(size) | (bits_of(x) & sign_bit));
}

/* 2^k for -1022 <= k <= 1023. */
static inline double power_of_two(int64_t k)
{
    return of_bits((uint64_t)(k + 1023) << 52);
}

/* The integer nearest to y, |y| < 2^51; it is also stored as a double. In 1.5 * 2^52 + y the last
 * place is 1, so the addition itself rounds and the low bits hold the integer, offset by 2^51. */
static inline int64_t nearest(double y, double *as_double)
{
    double shifted = y + 0x1.8p52;
    *as_double = shifted - 0x1.8p52;
    return (int64_t)(bits_of(shifted) & ((UINT64_C(1) << 52) - 1)) - (INT64_C(1) << 51);
}

/* ---- pairs ---- */

/* a + b exactly; |a| >= |b| or a = 0 (Dekker 1971). */
static inline pair ordered_sum(double a, double b)
{
    double sum = a + b;
    return (pair){sum, b - (sum - a)};
}

/* a + b exactly, in any order (Knuth, The Art of Computer Programming 2, 4.2.2). */
static inline pair exact_sum(double a, double b)
{
    double sum = a + b;
    double of_b = sum - a;
    double of_a = sum - of_b;
    return (pair){sum, (a - of_a) + (b - of_b)};
}

/* x as a sum of two doubles of at most 26 bits each (Veltkamp); |x| < 2^996. */
static inline pair halves(double x)
{
    double big = x * 0x1.000002p27; /* 2^27 + 1 */
    double hi = big - (big - x);
    return (pair){hi, x - hi};
}

/* a * b exactly (Dekker), as long as |a b| is 0 or above 2^-968: below it the rest underflows. */
static inline pair exact_product(double a, double b)
{
    pair x = halves(a), y = halves(b);
    double product = a * b;
    double rest = ((x.hi * y.hi - product) + x.hi * y.lo + x.lo * y.hi) + x.lo * y.lo;
    return (pair){product, rest};
}

/* a + b with a relative error below 4 u^2, where a and b do not cancel. */
static inline pair plus(pair a, double b)
{
    pair sum = exact_sum(a.hi, b);
    return ordered_sum(sum.hi, sum.lo + a.lo);
}

static inline pair plus_pair(pair a, pair b)
{
    pair sum = exact_sum(a.hi, b.hi);
    return ordered_sum(sum.hi, sum.lo + (a.lo + b.lo));
}

/* a * b with a relative error below 8 u^2. */
static inline pair times(pair a, pair b)
{
    pair product = exact_product(a.hi, b.hi);
    return ordered_sum(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

/* a / b with a relative error below 16 u^2. */
static inline pair over(pair a, pair b)
{
    double quotient = a.hi / b.hi;
    pair back = exact_product(quotient, b.hi);
    double rest = ((a.hi - back.hi) - back.lo) + a.lo - quotient * b.lo;
    return ordered_sum(quotient, rest / b.hi);
}

/* a * 2^k for a.hi >= 0, -1082 <= k <= 1046, rounded once also where the result is subnormal.
 * There, adding `coarse` = 2^(-1022-k) gives a sum whose last place is 2^(-1074-k), the last one
 * that will be left after the scaling, so the addition rounds where the scaling would, and the
 * scaling is exact. It is done in two steps because 2^k may be no double. */
static inline double scaled(pair a, int64_t k)
{
    double least = of_bits(k < 1 ? (uint64_t)(1 - k) << 52 : 0);
    double coarse = a.hi < least ? least : 0;
    pair sum = exact_sum(coarse, a.hi);
    double rounded = (sum.hi + (sum.lo + a.lo)) - coarse;
    int64_t first = (int64_t)((uint64_t)(k + 2048) >> 1) - 1024;
    return rounded * power_of_two(first) * power_of_two(k - first);
}

/* ---- exp, tanh ---- */

/* x = k ln 2 + r, |r| <= ln 2 / 2; returns k. |x.hi| < 1100. k * ln2_head is exact (11 + 42 bits),
 * and so is the difference from x.hi, by cancellation; k * ln2_rest errs by 2^-86. */
static inline int64_t reduce_by_ln2(pair x, pair *r)
{
    double multiple;
    int64_t k = nearest(x.hi * log2_e, &multiple);
    pair rest = exact_sum(x.hi - multiple * ln2_head, -(multiple * ln2_rest));
    *r = ordered_sum(rest.hi, rest.lo + x.lo);
    return k;
}

/* e^r - 1 = r (1 + r (1/2 + r tail)) for |r| <= 0.3466. Only r * tail (at most 0.07) is plain
 * double, with an error of 2 u: it counts for 2 u * 0.07 * 0.35 < 0.05 u of the result. */
static inline pair exp_minus_1(pair r)
{
    pair inner = ordered_sum(0.5, r.hi * exp_tail(r.hi));
    return times(r, plus(times(r, inner), 1));
}

/* e^x for any x.hi but NaN; |x.lo| is small. */
static inline double exp_of_pair(pair x)
{
    /* Beyond these bounds the result is 0 or infinity; NaN takes the first way, unharmed. */
    x.hi = x.hi < 720 ? x.hi : 720;
    x.hi = x.hi > -750 ? x.hi : -750;
    pair r;
    int64_t k = reduce_by_ln2(x, &r);
    return scaled(plus(exp_minus_1(r), 1), k);
}

double llava_exp(double x)
{
    double y = exp_of_pair((pair){x, 0});
    return x != x ? NAN : y;
}

/* tanh x = E / (E + 2), E = e^2x - 1 = 2^k (e^r - 1) + (2^k - 1). E keeps its relative error near
 * 0, where k = 0; towards 1 its error fades. From 20 on the result rounds to 1. */
double llava_tanh(double x)
{
    double a = magnitude(x);
    double bounded = a < 20 ? a : 20;
    pair r;
    int64_t k = reduce_by_ln2((pair){2 * bounded, 0}, &r);
    double scale = power_of_two(k);
    pair e = exp_minus_1(r);
    e = plus((pair){scale * e.hi, scale * e.lo}, scale - 1);
    double y = over(e, plus(e, 2)).hi;
    y = a < 0x1p-28 ? a : y; /* x - x^3/3; also keeps exact_product from underflowing */
    return x != x ? NAN : with_sign(y, x);
}

/* ---- log, pow ---- */

/* ln x for positive finite x, relative error below 2^-69: x = 2^k m with sqrt(1/2) <= m < sqrt 2,
 * s = (m - 1) / (m + 1), z = s^2 <= 0.0295,
 * ln m = 2 atanh s = 2 s (1 + z (1/3 + z (1/5 + z tail))).
 * m - 1 is exact. z * tail in plain double errs by 2^-61, times z^2 < 2^-10. For k = 0 nothing
 * cancels, so the relative error holds next to x = 1 as well. */
static inline pair log_as_pair(double x)
{
    bool subnormal = x < 0x1p-1022;
    const uint64_t one = UINT64_C(0x3ff0000000000000), sqrt_half = UINT64_C(0x3fe6a09e667f3bcd);
    uint64_t shifted = bits_of(subnormal ? x * 0x1p54 : x) + (one - sqrt_half);
    double k = (double)((int)(shifted >> 52) - 1023 - (subnormal ? 54 : 0));
    double m = of_bits((shifted & ((UINT64_C(1) << 52) - 1)) + sqrt_half);
    pair s = over((pair){m - 1, 0}, exact_sum(m, 1));
    pair z = times(s, s);
    pair series = plus_pair(third, times(z, plus(fifth, z.hi * log_tail(z.hi))));
    series = plus(times(z, series), 1);
    pair of_m = times((pair){2 * s.hi, 2 * s.lo}, series);
    return plus_pair((pair){k * ln2_head, k * ln2_rest}, of_m);
}

double llava_log(double x)
{
    if (x > 0 && x <= DBL_MAX) {
        return log_as_pair(x).hi;
    }
    if (x == 0) {
        return -INFINITY;
    }
    return x > 0 ? x : NAN;
}

/* e^(y ln x). The exponent's error, 745 * 2^-69, is the relative error that it adds: 0.02 u. */
double llava_pow(double base, double exponent)
{
    if (base == 1 || exponent == 0) {
        return 1;
    }
    double estimate = exponent * llava_log(base);
    if (!(magnitude(estimate) < 800)) {
        return llava_exp(estimate); /* 0, infinity or NaN */
    }
    return exp_of_pair(times((pair){exponent, 0}, log_as_pair(base)));
}

/* ---- sin, cos ---- */

/* a = q pi/2 + r, |r| <= pi/4, for 0 <= a <= 2^20; returns q. q < 2^20, so q times a piece of 33
 * bits is exact. a minus the first is exact by cancellation, the second and third are subtracted
 * without error. The last product errs by 2^-132; of the doubles up to 2^20 none but 0 comes nearer
 * than 2^-61 to a multiple of pi/2 (continued fractions tell, tools/make_elementary_tables.py). */
static inline int64_t reduce_by_half_pi(double a, pair *r)
{
    double q;
    int64_t quadrant = nearest(a * two_over_pi, &q);
    pair first = exact_sum(a - q * half_pi_0, -(q * half_pi_1));
    pair second = exact_sum(first.hi, -(q * half_pi_2));
    *r = ordered_sum(second.hi, (first.lo + second.lo) - q * half_pi_3);
    return quadrant;
}

/* The same for any finite a >= 2^20 (Payne and Hanek 1983). a = M 2^e with a 53-bit integer M.
 * Bits of 2/pi that are worth 4 / 2^e or more add multiples of 4 quadrants: they are skipped. The
 * next 192 bits, as an integer W, times M, modulo 2^192, are a's place in the circle in units of
 * 2^-190 quadrants. What is cut off is worth 2^-137; no double comes nearer than 2^-61 to a
 * multiple of pi/2, so r is good to 2^-75 of itself. */
enum { WORDS = 6 };
static int64_t reduce_large(double a, pair *r)
{
    uint64_t m = (bits_of(a) & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    int e = (int)(bits_of(a) >> 52) - 1075;
    unsigned skip = (unsigned)(e - 2 + 64); /* the table begins with 64 zeros */
    uint64_t place[WORDS] = {0};            /* 32 bits each, the lowest first */
    uint64_t carry_low = 0, carry_high = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        const uint32_t *at = two_over_pi_bits + skip / 32 + (WORDS - 1 - i);
        uint64_t two = (uint64_t)at[0] << 32 | at[1];
        uint64_t w = (two >> (32 - skip % 32)) & 0xffffffff;
        uint64_t low = w * (m & 0xffffffff) + carry_low;
        uint64_t high = w * (m >> 32) + carry_high + (low >> 32);
        place[i] = low & 0xffffffff;
        carry_low = high & 0xffffffff;
        carry_high = high >> 32;
    }
    int64_t quadrant = (int64_t)(place[WORDS - 1] >> 30);
    bool past_half = (place[WORDS - 1] >> 29 & 1) != 0; /* nearer to the next quadrant */
    pair fraction = {0, 0};
    double weight = 0x1p-190;
    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t word = past_half ? ~place[i] & 0xffffffff : place[i];
        word = i == WORDS - 1 ? word & 0x3fffffff : word;
        fraction = plus(fraction, (double)word * weight);
        weight *= 0x1p32;
    }
    fraction = past_half ? (pair){-fraction.hi, -fraction.lo} : fraction;
    *r = times(fraction, half_pi);
    return quadrant + past_half;
}

/* sin r = r (1 + z (-1/6 + z tail)), z = r^2 <= 0.617. z * tail is at most 0.0052 and errs by 2 u;
 * times z it counts for 0.007 u of the result. */
static inline double sin_of_pair(pair r)
{
    pair z = times(r, r);
    pair inner = plus(minus_sixth, z.hi * sin_tail(z.hi));
    return times(r, plus(times(z, inner), 1)).hi;
}

/* cos r = 1 + z (-1/2 + z tail): z * tail is at most 0.026 and counts for 2 u * 0.026 * 0.62 /
 * 0.7 < 0.05 u. */
static inline double cos_of_pair(pair r)
{
    pair z = times(r, r);
    pair inner = ordered_sum(-0.5, z.hi * cos_tail(z.hi));
    return plus(times(z, inner), 1).hi;
}

/* sin(a + turn pi/2), a >= 0 */
static inline double sin_turned(double a, int64_t turn)
{
    pair r;
    int64_t quadrant = (a <= 0x1p20 ? reduce_by_half_pi(a, &r) : reduce_large(a, &r)) + turn;
    double y = (quadrant & 1) != 0 ? cos_of_pair(r) : sin_of_pair(r);
    return (quadrant & 2) != 0 ? -y : y;
}

double llava_sin(double x)
{
    double a = magnitude(x);
    if (!(a <= DBL_MAX)) {
        return NAN;
    }
    if (a < 0x1p-27) {
        return x; /* x - x^3/6; also keeps exact_product from underflowing */
    }
    double y = sin_turned(a, 0);
    return x < 0 ? -y : y;
}

double llava_cos(double x)
{
    double a = magnitude(x);
    return a <= DBL_MAX ? sin_turned(a, 1) : NAN;
}

/* ---- erf, sqrt ---- */

/* The Taylor series at the nearest table point c = row / 16, h = a - c, |h| <= 1/32:
 *   erf(c + h) = erf c + slope * integral over 0..h of exp(-2 c t - t^2) dt
 *              = erf c + slope * h * (1 + sum over n >= 1 of T_n / (n + 1)),
 *   T_n = ((-2 c h) T_(n-1) + (-2 h^2) T_(n-2)) / n, T_0 = 1.
 * The terms left out are below 2^-62 of the result. What is plain double, the sum times the step,
 * is at most 0.002 of the result: 0.01 u. At c = 0 the step is the result, which keeps its relative
 * error down to 0. From 6 on the result rounds to 1. */
double llava_erf(double x)
{
    double a = magnitude(x);
    /* For a tiny a erf is linear: computed 2^200 higher, where exact_product does not underflow. */
    bool tiny = a < 0x1p-900;
    double y = tiny ? a * 0x1p200 : a;
    y = y < 6 ? y : 6;
    double row;
    const erf_row *at = &erf_rows[nearest(y * 16, &row)];
    double c = row * 0.0625, h = y - c;
    double u = -2 * c * h, v = -2 * h * h;
    double before = 1, term = u, sum = 0.5 * u;
    for (int n = 2; n <= ERF_TERMS; n++) {
        double next = (u * term + v * before) * inverse[n];
        before = term;
        term = next;
        sum += term * inverse[n + 1];
    }
    pair step = times(at->slope, (pair){h, 0});
    step = plus(step, step.hi * sum);
    double result = scaled(plus_pair(at->value, step), tiny ? -200 : 0);
    return x != x ? NAN : with_sign(result, x);
}

double llava_sqrt(double x)
{
    return x >= 0 ? sqrt(x) : NAN;
}
