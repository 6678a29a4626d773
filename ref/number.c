#include "number.h"

#include <float.h>
#include <math.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "double operations must be rounded to double");
_Static_assert(DBL_MANT_DIG == 53 && FLT_MANT_DIG == 24, "float and double must be IEEE's");

/* A 16-bit format: mantissa bits stored, the exponent of its least and greatest normal numbers. */
typedef struct {
    int stored, least, greatest;
} small_format;

static const small_format half_format = {10, -14, 15};
static const small_format brain_format = {7, -126, 127};

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

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [LLAVA_F64] = {"f64", 8},   [LLAVA_F32] = {"f32", 4}, [LLAVA_F16] = {"f16", 2},
    [LLAVA_BF16] = {"bf16", 2}, [LLAVA_I64] = {"i64", 8}, [LLAVA_U8] = {"u8", 1},
};

const char *llava_dtype_name(llava_dtype type)
{
    return types[type].name;
}

size_t llava_dtype_size(llava_dtype type)
{
    return types[type].size;
}

bool llava_dtype_parse(const char *name, llava_dtype *type)
{
    static const llava_dtype floating[] = {LLAVA_F64, LLAVA_F32, LLAVA_F16, LLAVA_BF16};
    for (size_t i = 0; i < sizeof floating / sizeof *floating; i++) {
        if (strcmp(name, types[floating[i]].name) == 0) {
            *type = floating[i];
            return true;
        }
    }
    return false;
}

/* ---- rounding ---- */

/* Adding a number whose last place is as large as the last place that the format keeps at |x| makes
 * the addition itself round, to nearest even, once; subtracting it again is exact. Below the
 * format's least normal number that place stops shrinking: subnormals need nothing more. No
 * branches, so the loops below become vector code. NaN stays NaN, since NaN + anything is. */
static inline double round_small(small_format format, double x)
{
    const int bias = 1023, lowest = bias + format.least, above = bias + format.greatest + 1;
    const uint64_t least = (uint64_t)lowest, beyond = (uint64_t)above;
    double size = of_bits(bits_of(x) & ~sign_bit);
    uint64_t exponent = bits_of(size) >> 52;
    exponent = exponent > least ? exponent : least;
    exponent = exponent < beyond ? exponent : beyond;
    double coarse = of_bits((exponent + 52 - (uint64_t)format.stored) << 52);
    double rounded = (size + coarse) - coarse;
    rounded = rounded >= of_bits(beyond << 52) ? INFINITY : rounded;
    return of_bits(bits_of(rounded) | (bits_of(x) & sign_bit));
}

double llava_round(llava_dtype type, double x)
{
    switch (type) {
    case LLAVA_F32:
        return (double)(float)x;
    case LLAVA_F16:
        return round_small(half_format, x);
    case LLAVA_BF16:
        return round_small(brain_format, x);
    default:
        return x;
    }
}

void llava_round_all(llava_dtype type, double *x, size_t n)
{
    switch (type) {
    case LLAVA_F32:
        for (size_t i = 0; i < n; i++) {
            x[i] = (double)(float)x[i];
        }
        return;
    case LLAVA_F16:
        for (size_t i = 0; i < n; i++) {
            x[i] = round_small(half_format, x[i]);
        }
        return;
    case LLAVA_BF16:
        for (size_t i = 0; i < n; i++) {
            x[i] = round_small(brain_format, x[i]);
        }
        return;
    default:
        return;
    }
}

/* ---- bit patterns ---- */

/* sign, exponent, mantissa from the highest bit down; the exponent is all ones for infinity and NaN
 * and all zeros for subnormals, whose unit is 2^(least - stored). */
static uint16_t encode_small(small_format format, double x)
{
    const unsigned infinity = (0x7fffU >> format.stored) << format.stored;
    if (x != x) {
        return (uint16_t)(infinity | 1U << (format.stored - 1));
    }
    double rounded = round_small(format, x);
    double size = of_bits(bits_of(rounded) & ~sign_bit);
    unsigned sign = (unsigned)(bits_of(rounded) >> 63) << 15;
    unsigned pattern;
    if (size < of_bits((uint64_t)(1023 + format.least) << 52)) {
        pattern = (unsigned)(size * of_bits((uint64_t)(1023 - format.least + format.stored) << 52));
    } else if (size > DBL_MAX) {
        pattern = infinity;
    } else {
        uint64_t rebased = bits_of(size) - ((uint64_t)(1023 + format.least - 1) << 52);
        pattern = (unsigned)(rebased >> (52 - format.stored));
    }
    return (uint16_t)(sign | pattern);
}

uint16_t llava_encode_f16(double x)
{
    return encode_small(half_format, x);
}

uint16_t llava_encode_bf16(double x)
{
    return encode_small(brain_format, x);
}

/* The exponent is moved from bias 15 to bias 1023. A subnormal m 2^-24 becomes 2^-14 (1 + m 2^-10)
 * with 2^-14 taken off again. Selects, not branches, for the sake of the loops. */
static inline double decode_half(uint16_t bits)
{
    uint64_t wide = (uint64_t)(bits & 0x7fffU) << 42;
    double subnormal = of_bits(wide + (UINT64_C(1009) << 52)) - 0x1p-14;
    double normal = of_bits(wide + (UINT64_C(1008) << 52));
    double special = of_bits(wide | UINT64_C(2047) << 52);
    double size = (bits & 0x7c00U) == 0 ? subnormal : normal;
    size = (bits & 0x7c00U) == 0x7c00U ? special : size;
    return of_bits(bits_of(size) | (uint64_t)(bits & 0x8000U) << 48);
}

/* A bfloat16 is the upper half of a float. */
static inline double decode_brain(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return (double)x;
}

double llava_decode_f16(uint16_t bits)
{
    return decode_half(bits);
}

double llava_decode_bf16(uint16_t bits)
{
    return decode_brain(bits);
}

/* ---- files' bytes ---- */

/* Compilers know the answer, so on a little-endian machine the loads below are plain loads, which
 * (unlike bytes put together by shifts) the loops' vector code can use. */
static inline bool big_endian(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 0;
}

/* LCOV_EXCL_START: half of each is a big-endian machine's; make bits runs it on s390x */
static inline uint16_t load16(const uint8_t *bytes)
{
    uint16_t x;
    memcpy(&x, bytes, sizeof x);
    if (big_endian()) {
        x = (uint16_t)((unsigned)x >> 8 | (unsigned)x << 8);
    }
    return x;
}

static inline uint64_t load_bytes(const uint8_t *bytes, unsigned n)
{
    uint64_t x = 0;
    for (unsigned i = n; i-- > 0;) {
        x = x << 8 | bytes[i];
    }
    return x;
}

static inline float load_float(const uint8_t *bytes)
{
    float x;
    memcpy(&x, bytes, sizeof x);
    if (big_endian()) {
        uint32_t bits = (uint32_t)load_bytes(bytes, 4);
        memcpy(&x, &bits, sizeof x);
    }
    return x;
}

static inline double load_double(const uint8_t *bytes)
{
    uint64_t bits;
    memcpy(&bits, bytes, sizeof bits);
    return of_bits(big_endian() ? load_bytes(bytes, 8) : bits);
}
/* LCOV_EXCL_STOP */

static void decode_exactly(llava_dtype from, const uint8_t *bytes, size_t n, double *out)
{
    switch (from) {
    case LLAVA_F64:
        for (size_t i = 0; i < n; i++) {
            out[i] = load_double(bytes + 8 * i);
        }
        return;
    case LLAVA_F32:
        for (size_t i = 0; i < n; i++) {
            out[i] = (double)load_float(bytes + 4 * i);
        }
        return;
    case LLAVA_F16:
        for (size_t i = 0; i < n; i++) {
            out[i] = decode_half(load16(bytes + 2 * i));
        }
        return;
    case LLAVA_BF16:
        for (size_t i = 0; i < n; i++) {
            out[i] = decode_brain(load16(bytes + 2 * i));
        }
        return;
    default: /* a caller's mistake, never a file's: seen at once */
        for (size_t i = 0; i < n; i++) {
            out[i] = NAN;
        }
        return;
    }
}

/* Can `to` hold every value of `from`? */
static bool holds(llava_dtype to, llava_dtype from)
{
    return to == from || to == LLAVA_F64 || (to == LLAVA_F32 && from != LLAVA_F64);
}

void llava_decode(llava_dtype from, const uint8_t *bytes, size_t n, llava_dtype to, double *out)
{
    const size_t block = 1024; /* small enough to still be in the first cache when it is rounded */
    if (holds(to, from)) {
        decode_exactly(from, bytes, n, out);
        return;
    }
    for (size_t done = 0; done < n; done += block) {
        size_t count = n - done < block ? n - done : block;
        decode_exactly(from, bytes + done * llava_dtype_size(from), count, out + done);
        llava_round_all(to, out + done, count);
    }
}

/* ---- the machine's state ---- */

const char *llava_arithmetic_fault(void)
{
    /* volatile: asked of the machine as it runs, not of the compiler */
    volatile double least = DBL_MIN, one = 1, place = 0x1p-53;
    volatile float least_single = FLT_MIN;
    volatile double subnormal = of_bits(1);
    volatile float half_single = least_single * 0.5F;
    /* asked first: with it set, a comparison takes the next test's results for zero as well */
    if (subnormal * 0x1p1000 == 0) {
        return "the processor takes subnormal numbers for zero (denormals-are-zero is set)";
    }
    if (least * 0.5 == 0 || half_single == 0.0F) {
        return "the processor flushes subnormal results to zero (flush-to-zero is set)";
    }
    if (one + place != 1 || -one - place != -1 || one + 1.5 * place == 1) {
        return "the processor does not round to nearest";
    }
    return NULL;
}
