/* The kernels themselves, included once for each width with WIDTH, LANES, ROWS, HEIGHTS, TARGET,
 * FMA and, where there is one, DOT defined (kernel.c). Vectors run over outputs, or along a row;
 * only the sums of the norms and of the softmax are taken lane by lane and depend on the width. */
#define NAME_OF(name, width) name##_##width
#define NAME_IN(name, width) NAME_OF(name, width)
#define NAME(name)           NAME_IN(name, WIDTH)
#define INLINE               TARGET static inline __attribute__((always_inline))

typedef float NAME(vec) __attribute__((vector_size(LANES * sizeof(float))));
typedef uint32_t NAME(ints) __attribute__((vector_size(LANES * sizeof(float))));
#define vec  NAME(vec)
#define ints NAME(ints)

/* ---- the matrix kernel ------------------------------------------------------------------------
 */

INLINE ints NAME(units)(const uint32_t *from)
{
    ints v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* The bits of x in every lane: they may be a pair of bfloat16. */
INLINE ints NAME(splat)(const float *x)
{
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    return bits - (ints){0};
}

/* Continues the sums by one k: x: [rows], w0 and w1: the outputs. */
INLINE void NAME(step)(const size_t rows, vec sum[][2], const float *x, vec w0, vec w1)
{
    UNROLLED
    for (size_t r = 0; r < rows; r++) {
        vec xr = (vec)NAME(splat)(x + r);
        sum[r][0] = FMA(xr, w0, sum[r][0]);
        sum[r][1] = FMA(xr, w1, sum[r][1]);
    }
}

/* rows and kind are constants where it is called. */
INLINE void NAME(tile_of)(const llava_fast_kind kind, const size_t rows, float *y, size_t y_stride,
                          const float *x, const uint32_t *w, size_t units, bool add)
{
    vec sum[ROWS][2];
    UNROLLED
    for (size_t r = 0; r < rows; r++) {
        sum[r][0] = sum[r][1] = (vec){0};
    }
    for (size_t u = 0; u < units; u++, w += (size_t)2 * LANES) {
        ints w0 = NAME(units)(w), w1 = NAME(units)(w + LANES);
        if (kind == LLAVA_FAST_FLOATS) {
            NAME(step)(rows, sum, x, (vec)w0, (vec)w1);
            x += rows;
        } else if (kind == LLAVA_FAST_PAIRS) {
            NAME(step)(rows, sum, x, (vec)(w0 << 16), (vec)(w1 << 16));
            x += rows;
            NAME(step)(rows, sum, x, (vec)(w0 & 0xffff0000u), (vec)(w1 & 0xffff0000u));
            x += rows;
        } else {
#ifdef DOT
            UNROLLED
            for (size_t r = 0; r < rows; r++) {
                sum[r][0] = DOT(sum[r][0], NAME(splat)(x + r), w0);
                sum[r][1] = DOT(sum[r][1], NAME(splat)(x + r), w1);
            }
            x += rows;
#endif
        }
    }
    UNROLLED
    for (size_t r = 0; r < rows; r++) {
        float *to = y + r * y_stride;
        vec old0 = {0}, old1 = {0};
        if (add) {
            memcpy(&old0, to, sizeof old0);
            memcpy(&old1, to + LANES, sizeof old1);
        }
        old0 += sum[r][0];
        old1 += sum[r][1];
        memcpy(to, &old0, sizeof old0);
        memcpy(to + LANES, &old1, sizeof old1);
    }
}

INLINE void NAME(tile_by_rows)(const llava_fast_kind kind, float *y, size_t y_stride,
                               const float *x, const uint32_t *w, size_t units, size_t rows,
                               bool add)
{
#define CASE(height)                                                                               \
    case height:                                                                                   \
        NAME(tile_of)(kind, height, y, y_stride, x, w, units, add);                                \
        break;
    switch (rows) {
        HEIGHTS(CASE)
    }
#undef CASE
}

TARGET static void NAME(tile)(llava_fast_kind kind, float *y, size_t y_stride, const float *x,
                              const uint32_t *w, size_t units, size_t rows, bool add)
{
    if (kind == LLAVA_FAST_FLOATS) {
        NAME(tile_by_rows)(LLAVA_FAST_FLOATS, y, y_stride, x, w, units, rows, add);
    } else if (kind == LLAVA_FAST_PAIRS) {
        NAME(tile_by_rows)(LLAVA_FAST_PAIRS, y, y_stride, x, w, units, rows, add);
    } else {
        NAME(tile_by_rows)(LLAVA_FAST_DOT, y, y_stride, x, w, units, rows, add);
    }
}

/* ---- along a row ------------------------------------------------------------------------------
 */

/* Up to LANES numbers from x[i] on; the lanes behind the n-th are `rest`. */
INLINE vec NAME(load)(const float *x, size_t i, size_t n, float rest)
{
    float part[LANES];
    vec v;
    if (n - i >= LANES) {
        memcpy(&v, x + i, sizeof v);
        return v;
    }
    for (size_t lane = 0; lane < LANES; lane++) {
        part[lane] = i + lane < n ? x[i + lane] : rest;
    }
    memcpy(&v, part, sizeof v);
    return v;
}

/* Stores them, rounded to bfloat16 (nearest even; NaN stays one) where asked. */
INLINE void NAME(store)(float *y, size_t i, size_t n, vec v, bool bf16)
{
    if (bf16) {
        /* NOLINTNEXTLINE(misc-redundant-expression): a lane differs from itself where it is NaN */
        ints bits = (ints)v, nan = (ints)(v != v);
        ints rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
        v = (vec)((rounded & ~nan) | (0x7fc00000u & nan));
    }
    if (n - i >= LANES) {
        memcpy(y + i, &v, sizeof v);
    } else {
        memcpy(y + i, &v, (n - i) * sizeof *y);
    }
}

INLINE float NAME(sum_of)(vec v)
{
    float sum = 0;
    for (size_t lane = 0; lane < LANES; lane++) {
        sum += v[lane];
    }
    return sum;
}

/* exp to within 1.5 units of the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; 0
 * below the smallest normal number, 2.4e38 above the largest argument. NaN stays NaN. */
INLINE vec NAME(exp_of)(vec x)
{
    typedef int32_t wholes __attribute__((vector_size(sizeof(vec))));
    const vec zero = {0}, most = zero + 88.37f, least = zero - 87.33f;
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    ints below = (ints)(x < least), above = (ints)(x > most);
    vec in = (vec)(((ints)x & ~above & ~below) | ((ints)most & above));
    vec n = (in * 1.44269504f + shift) - shift;
    vec r = FMA(n, zero - 0.693359375f, in);
    r = FMA(n, zero + 2.12194440e-4f, r);
    vec p = zero + 1.0f / 5040;
    p = FMA(p, r, zero + 1.0f / 720);
    p = FMA(p, r, zero + 1.0f / 120);
    p = FMA(p, r, zero + 1.0f / 24);
    p = FMA(p, r, zero + 1.0f / 6);
    p = FMA(p, r, zero + 0.5f);
    p = FMA(p, r, zero + 1.0f);
    p = FMA(p, r, zero + 1.0f);
    ints power = (ints)((__builtin_convertvector(n, wholes) + 127) << 23);
    return (vec)((ints)(p * (vec)power) & ~below);
}

TARGET static void NAME(add)(float *y, const float *a, const float *b, size_t n, bool bf16)
{
    for (size_t i = 0; i < n; i += LANES) {
        vec v = NAME(load)(a, i, n, 0);
        NAME(store)(y, i, n, b == NULL ? v : v + NAME(load)(b, i, n, 0), bf16);
    }
}

TARGET static void NAME(gate)(float *y, const float *x, const float *up, float factor, size_t n,
                              bool bf16)
{
    for (size_t i = 0; i < n; i += LANES) {
        vec v = NAME(load)(x, i, n, 0);
        NAME(store)(y, i, n, v / (1.0f + NAME(exp_of)(v * -factor)), bf16);
        if (up != NULL) {
            NAME(store)(y, i, n, NAME(load)(y, i, n, 0) * NAME(load)(up, i, n, 0), bf16);
        }
    }
}

TARGET static void NAME(norm)(float *y, const float *x, const float *weight, const float *bias,
                              double eps, size_t n, bool bf16)
{
    vec sum = {0}, squares = {0};
    for (size_t i = 0; bias != NULL && i < n; i += LANES) {
        sum += NAME(load)(x, i, n, 0);
    }
    float mean = NAME(sum_of)(sum) / (float)n;
    for (size_t i = 0; i < n; i += LANES) {
        vec v = NAME(load)(x, i, n, mean) - mean;
        squares += v * v;
    }
    float scale = (float)(1 / sqrt((double)NAME(sum_of)(squares) / (double)n + eps));
    for (size_t i = 0; i < n; i += LANES) {
        vec v = (NAME(load)(x, i, n, 0) - mean) * scale, w = NAME(load)(weight, i, n, 0);
        if (bias != NULL) {
            NAME(store)(y, i, n, v * w + NAME(load)(bias, i, n, 0), bf16);
        } else {
            NAME(store)(y, i, n, v, bf16);
            NAME(store)(y, i, n, NAME(load)(y, i, n, 0) * w, bf16);
        }
    }
}

TARGET static float NAME(exp_row)(float *s, size_t n)
{
    float most = s[0];
    vec best = (vec){0} + s[0], sum = {0};
    for (size_t i = 0; i < n; i += LANES) {
        vec v = NAME(load)(s, i, n, s[0]);
        ints larger = (ints)(v > best);
        best = (vec)(((ints)v & larger) | ((ints)best & ~larger));
    }
    for (size_t lane = 0; lane < LANES; lane++) {
        most = best[lane] > most ? best[lane] : most;
    }
    for (size_t i = 0; i < n; i += LANES) {
        vec v = NAME(exp_of)(NAME(load)(s, i, n, -INFINITY) - most);
        sum += v;
        NAME(store)(s, i, n, v, false);
    }
    return NAME(sum_of)(sum);
}

static const llava_fast_kernels NAME(kernels) = {
    .name = NAME_TEXT,
#ifdef DOT
    .dot = true,
#endif
    .outputs = (size_t)2 * LANES,
#define LISTED(height) height,
    .heights = {HEIGHTS(LISTED)},
#undef LISTED
    .tile = NAME(tile),
    .add = NAME(add),
    .gate = NAME(gate),
    .norm = NAME(norm),
    .exp_row = NAME(exp_row),
};

#undef vec
#undef ints
#undef INLINE
#undef NAME
#undef NAME_IN
#undef NAME_OF
#undef NAME_TEXT
#undef WIDTH
#undef LANES
#undef ROWS
#undef HEIGHTS
#undef TARGET
#undef FMA
#undef DOT
