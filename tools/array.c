#include "tools/array.h"

#include <string.h>

#define F64_NAN UINT64_C(0x7ff8000000000000)
#define F32_NAN UINT32_C(0x7fc00000)

bool llava_array_measure(llava_array *array)
{
    size_t extent = array->size;
    bool empty = false;
    for (int i = 0; i < array->rank; i++) {
        if (array->shape[i] == 0) {
            empty = true;
        } else if (!llava_mul(extent, array->shape[i], &extent)) {
            return false;
        }
    }
    array->bytes = empty ? 0 : extent;
    array->count = array->bytes / array->size;
    return extent <= SIZE_MAX / sizeof(double); /* so that the decoded tensor fits too */
}

llava_array llava_array_of_tap(const llava_tap *tap)
{
    llava_array array = {.kind = 'f', .size = 8, .rank = tap->rank};
    switch (tap->dtype) {
    case LLAVA_F64:
        break;
    case LLAVA_F32:
    case LLAVA_BF16:
        array.size = 4;
        break;
    case LLAVA_F16:
        array.size = 2;
        break;
    case LLAVA_I64:
        array.kind = 'i';
        break;
    default: /* LLAVA_U8 */
        array.kind = 'u';
        array.size = 1;
        break;
    }
    memcpy(array.shape, tap->shape, (size_t)tap->rank * sizeof tap->shape[0]);
    llava_array_measure(&array);
    return array;
}

void llava_array_dtype(const llava_array *array, char text[LLAVA_ARRAY_DTYPE])
{
    if (array->kind == 'B') {
        memcpy(text, "BF16", 5);
        return;
    }
    text[0] = array->size == 1 ? '|' : array->big_endian ? '>' : '<';
    text[1] = array->kind;
    text[2] = (char)('0' + array->size);
    text[3] = '\0';
}

/* ---- bits and bytes ---- */

static bool host_is_big(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 0;
}

static uint16_t swap16(uint16_t v)
{
    return (uint16_t)(v << 8 | v >> 8);
}

static uint32_t swap32(uint32_t v)
{
    return (uint32_t)swap16((uint16_t)v) << 16 | swap16((uint16_t)(v >> 16));
}

static uint64_t swap64(uint64_t v)
{
    return (uint64_t)swap32((uint32_t)v) << 32 | swap32((uint32_t)(v >> 32));
}

static uint16_t load16(const uint8_t *p, bool swap)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return swap ? swap16(v) : v;
}

static uint32_t load32(const uint8_t *p, bool swap)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return swap ? swap32(v) : v;
}

static uint64_t load64(const uint8_t *p, bool swap)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return swap ? swap64(v) : v;
}

enum { SIDE = 8 }; /* elements side by side: a compiler makes vectors of such loops */

/* LCOV_EXCL_BR_START: half of each is a big-endian machine's; make bits runs it on s390x */
static void store16(uint8_t *p, uint16_t v, bool swap)
{
    v = swap ? swap16(v) : v;
    memcpy(p, &v, sizeof v);
}

static void store32(uint8_t *p, uint32_t v, bool swap)
{
    v = swap ? swap32(v) : v;
    memcpy(p, &v, sizeof v);
}

static void store64(uint8_t *p, uint64_t v, bool swap)
{
    v = swap ? swap64(v) : v;
    memcpy(p, &v, sizeof v);
}

/* Of n elements those that are taken side by side, in the machine's own order of bytes. */
static size_t side_by_side(size_t n)
{
    return host_is_big() ? 0 : n - n % SIDE;
}
/* LCOV_EXCL_BR_STOP */

/* ---- tap to file ---- */

static void encode_f64(const double *x, size_t n, bool swap, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        store64(out + 8 * i, x[i] != x[i] ? F64_NAN : bits, swap);
    }
}

static bool any_nan(const double x[SIDE])
{
    int nan = 0;
    for (size_t j = 0; j < SIDE; j++) {
        nan |= x[j] != x[j];
    }
    return nan != 0;
}

static void encode_f32_one(const double *x, size_t n, bool swap, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const float rounded = (float)x[i];
        uint32_t bits;
        memcpy(&bits, &rounded, sizeof bits);
        store32(out + 4 * i, x[i] != x[i] ? F32_NAN : bits, swap);
    }
}

static void encode_f32(const double *x, size_t n, bool swap, uint8_t *out)
{
    const size_t whole = side_by_side(n);
    size_t i = 0;
    for (; i < whole; i += SIDE) {
        float rounded[SIDE];
        for (size_t j = 0; j < SIDE; j++) {
            rounded[j] = (float)x[i + j];
        }
        if (any_nan(x + i)) {
            encode_f32_one(x + i, SIDE, swap, out + 4 * i);
        } else {
            memcpy(out + 4 * i, rounded, sizeof rounded);
        }
    }
    encode_f32_one(x + i, n - i, swap, out + 4 * i);
}

/* to = x; were all of them bfloat16, the upper halves of floats, already? */
static bool are_bf16(const double x[SIDE], uint32_t to[SIDE])
{
    float narrow[SIDE];
    uint32_t low = 0;
    int other = 0;
    for (size_t j = 0; j < SIDE; j++) {
        narrow[j] = (float)x[j];
    }
    for (size_t j = 0; j < SIDE; j++) {
        other |= (double)narrow[j] != x[j];
    }
    memcpy(to, narrow, sizeof narrow);
    for (size_t j = 0; j < SIDE; j++) {
        low |= to[j];
    }
    return other == 0 && (low & 0xffffU) == 0;
}

/* Numbers of a run in bfloat16 keep their bits; others are rounded one by one. */
static void encode_bf16(const double *x, size_t n, bool swap, uint8_t *out)
{
    const size_t whole = side_by_side(n);
    size_t i = 0;
    uint32_t bits[SIDE];
    for (; i < whole; i += SIDE) {
        bool same = are_bf16(x + i, bits);
        for (size_t j = 0; !same && j < SIDE; j++) {
            bits[j] = (uint32_t)llava_encode_bf16(x[i + j]) << 16;
        }
        memcpy(out + 4 * i, bits, sizeof bits);
    }
    for (; i < n; i++) {
        store32(out + 4 * i, (uint32_t)llava_encode_bf16(x[i]) << 16, swap);
    }
}

/* A number that is a normal float16 already: sign, the exponent's bias moved from 1023 to 15, the
 * upper 10 bits of the mantissa. All others are rounded. */
static void encode_f16(const double *x, size_t n, bool swap, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        uint64_t exponent = bits >> 52 & 2047;
        bool same = (bits & ((UINT64_C(1) << 42) - 1)) == 0 && exponent > 1008 && exponent < 1039;
        uint16_t half =
            (uint16_t)((bits >> 48 & 0x8000U) | ((bits >> 42) - (1008U << 10)) % 0x8000U);
        store16(out + 2 * i, same ? half : llava_encode_f16(x[i]), swap);
    }
}

bool llava_array_lies_ready(llava_dtype type, const void *data, size_t first, size_t n)
{
    const double *x = (const double *)data + first;
    bool nan = false, big = host_is_big();
    for (size_t i = 0; type == LLAVA_F64 && i + SIDE <= n; i += SIDE) {
        nan |= any_nan(x + i);
    }
    for (size_t i = n - n % SIDE; type == LLAVA_F64 && i < n; i++) {
        nan |= x[i] != x[i];
    }
    return !(nan | big) && (type == LLAVA_F64 || type == LLAVA_I64 || type == LLAVA_U8);
}

void llava_array_encode(llava_dtype type, const void *data, size_t first, size_t n, uint8_t *out)
{
    const bool swap = host_is_big();
    const double *x = data;
    const int64_t *integers = data;
    switch (type) {
    case LLAVA_F64:
        encode_f64(x + first, n, swap, out);
        break;
    case LLAVA_F32:
        encode_f32(x + first, n, swap, out);
        break;
    case LLAVA_F16:
        encode_f16(x + first, n, swap, out);
        break;
    case LLAVA_BF16:
        encode_bf16(x + first, n, swap, out);
        break;
    case LLAVA_I64:
        for (size_t i = 0; i < n; i++) {
            store64(out + 8 * i, (uint64_t)integers[first + i], swap);
        }
        break;
    default: /* LLAVA_U8 */
        memcpy(out, (const uint8_t *)data + first, n);
        break;
    }
}

/* ---- file to values ---- */

static void decode_f64(const uint8_t *p, size_t n, bool swap, double *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = load64(p + 8 * i, swap);
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void decode_f32(const uint8_t *p, size_t n, bool swap, double *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = load32(p + 4 * i, swap);
        float x;
        memcpy(&x, &bits, sizeof bits);
        out[i] = x;
    }
}

/* One integer. *fits: it is at most 2^63 - 1. */
static int64_t integer_at(const llava_array *array, const uint8_t *p, bool swap, bool *fits)
{
    uint64_t bits;
    switch (array->size) {
    case 1:
        bits = *p;
        break;
    case 2:
        bits = load16(p, swap);
        break;
    case 4:
        bits = load32(p, swap);
        break;
    default:
        bits = load64(p, swap);
        break;
    }
    *fits = true;
    if (array->kind == 'b') {
        return bits != 0;
    }
    if (array->kind == 'u') {
        *fits = bits <= INT64_MAX;
        return *fits ? (int64_t)bits : INT64_MAX;
    }
    const uint64_t sign = UINT64_C(1) << (8 * array->size - 1);
    /* Two's complement without an implementation-defined conversion. */
    return (bits & sign) == 0 ? (int64_t)bits : -1 - (int64_t)((sign - 1) - (bits - sign));
}

size_t llava_array_decode_integers(const llava_array *array, const uint8_t *bytes, size_t n,
                                   int64_t *out)
{
    const bool swap = array->big_endian != host_is_big();
    bool fits;
    for (size_t i = 0; i < n; i++) {
        out[i] = integer_at(array, bytes + i * array->size, swap, &fits);
        if (!fits) {
            return i;
        }
    }
    return n;
}

static size_t decode_integers_as_doubles(const llava_array *array, const uint8_t *bytes, size_t n,
                                         bool swap, double *out)
{
    const int64_t exact = INT64_C(1) << 53; /* every integer up to here is a double */
    bool fits;
    for (size_t i = 0; i < n; i++) {
        const int64_t v = integer_at(array, bytes + i * array->size, swap, &fits);
        if (!fits || v > exact || v < -exact) {
            return i;
        }
        out[i] = (double)v;
    }
    return n;
}

size_t llava_array_decode(const llava_array *array, const uint8_t *bytes, size_t n, double *out)
{
    const bool swap = array->big_endian != host_is_big();
    if (array->kind == 'B') {
        for (size_t i = 0; i < n; i++) {
            out[i] = llava_decode_bf16(load16(bytes + 2 * i, swap));
        }
    } else if (array->kind != 'f') {
        return decode_integers_as_doubles(array, bytes, n, swap, out);
    } else if (array->size == 8) {
        decode_f64(bytes, n, swap, out);
    } else if (array->size == 4) {
        decode_f32(bytes, n, swap, out);
    } else {
        for (size_t i = 0; i < n; i++) {
            out[i] = llava_decode_f16(load16(bytes + 2 * i, swap));
        }
    }
    return n;
}

void llava_array_gather(const llava_array *array, const uint8_t *bytes, size_t first, size_t n,
                        uint8_t *out)
{
    size_t index[LLAVA_ARRAY_RANK] = {0}, stride[LLAVA_ARRAY_RANK] = {0};
    size_t at = 0, step = array->size;
    for (int i = 0; i < array->rank; i++) {
        stride[i] = step;
        step *= array->shape[i];
    }
    for (int i = array->rank - 1; i >= 0 && n > 0; i--) {
        index[i] = first % array->shape[i];
        first /= array->shape[i];
        at += index[i] * stride[i];
    }
    for (size_t k = 0; k < n; k++) {
        memcpy(out + k * array->size, bytes + at, array->size);
        for (int i = array->rank - 1; i >= 0; i--) { /* the last index is C order's fastest */
            at += stride[i];
            if (++index[i] < array->shape[i]) {
                break;
            }
            at -= index[i] * stride[i];
            index[i] = 0;
        }
    }
}
