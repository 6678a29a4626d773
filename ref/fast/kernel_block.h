/* The kernels themselves, included once for each width with WIDTH, LANES, PER_UNIT, TARGET and FMA
 * defined (kernel.c). A panel is two vectors wide. A panel of one lane is taken for two vectors all
 * the same, every so many features side by side; what was summed up in each of them is put together
 * in the end. */
typedef float NAME(vector) __attribute__((vector_size(LANES * sizeof(float))));
typedef uint32_t NAME(words) __attribute__((vector_size(LANES * sizeof(float))));
typedef uint16_t NAME(halves) __attribute__((vector_size(LANES * sizeof(uint16_t))));
typedef double NAME(doubles) __attribute__((vector_size(LANES * sizeof(double))));

INLINE ints NAME(bits)(const void *from)
{
    ints v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* LCOV_EXCL_BR_START: these are inlined, and without optimisation every copy has the branches of
 * all kinds, counts and lanes: tests/test_fast.c takes each kernel with every remainder. */

/* Up to LANES numbers of the `count` at x, from the i-th on; behind the last: rest. What is not a
 * whole vector goes through memory, apart, so that whole ones stay in registers. */
APART vec NAME(load_some)(const float *x, size_t count, float rest)
{
    vec v = (vec){0} + rest;
    memcpy(&v, x, count * sizeof *x);
    return v;
}

INLINE vec NAME(load)(const float *x, size_t i, size_t count, float rest)
{
    return i + LANES <= count ? (vec)NAME(bits)(x + i)
                              : NAME(load_some)(x + i, i < count ? count - i : 0, rest);
}

/* To bfloat16, nearest even; NaN stays one. The processor's own instruction takes subnormal numbers
 * for 0, as its products do. */
INLINE vec NAME(rounded)(vec v)
{
#if PER_UNIT == 2
    return (vec)((ints)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)v)) << 16);
#else
    /* NOLINTNEXTLINE(misc-redundant-expression): a lane differs from itself where it is NaN */
    ints bits = (ints)v, nan = (ints)(v != v);
    ints near = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
    return (vec)((near & ~nan) | (0x7fc00000u & nan));
#endif
}

APART void NAME(store_some)(float *y, size_t count, vec v)
{
    memcpy(y, &v, count * sizeof *y);
}

INLINE void NAME(store)(float *y, size_t i, size_t count, vec v)
{
    if (i + LANES <= count) {
        memcpy(y + i, &v, sizeof v);
    } else if (i < count) {
        NAME(store_some)(y + i, count - i, v);
    }
}

INLINE float NAME(sum_of)(vec v)
{
    quad part[LANES / 4];
    memcpy(part, &v, sizeof v);
    LLAVA_UNROLLED
    for (size_t i = 1; i < LANES / 4; i++) {
        part[0] += part[i];
    }
    return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
}

/* ---- products ---------------------------------------------------------------------------------
 */

/* sum + x w for one unit of each lane */
INLINE vec NAME(step)(vec sum, ints x, ints w)
{
#if PER_UNIT == 2
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)w);
#else
    return FMA((vec)x, (vec)w, sum);
#endif
}

/* The matrix kernel: some rows of weights against one or both vectors of a panel. */
INLINE void NAME(tile)(const size_t rows, const size_t vectors, const uint8_t *w, size_t stride,
                       float *y, const float *x, size_t units, const float *keep)
{
    vec sum[ROWS][2];
    LLAVA_UNROLLED
    for (size_t r = 0; r < rows; r++) {
        sum[r][0] = sum[r][1] = (vec){0};
    }
    for (size_t u = 0; u < units; u++, w += 4, x += PANEL) {
        ints x0 = NAME(bits)(x), x1 = NAME(bits)(x + LANES);
        LLAVA_UNROLLED
        for (size_t r = 0; r < rows; r++) {
            uint32_t unit;
            memcpy(&unit, w + r * stride, sizeof unit);
            sum[r][0] = NAME(step)(sum[r][0], x0, unit - (ints){0});
            if (vectors == 2) {
                sum[r][1] = NAME(step)(sum[r][1], x1, unit - (ints){0});
            }
        }
    }
    LLAVA_UNROLLED
    for (size_t i = 0; i < 2 * rows; i += 3 - vectors) {
        vec to = sum[i / 2][i % 2];
        if (keep != NULL) {
            to = FMA((vec)NAME(bits)(y + i * LANES), (vec)NAME(bits)(keep + i % 2 * LANES), to);
        }
        memcpy(y + i * LANES, &to, sizeof to);
    }
}

/* Two vectors of units further along a row. */
INLINE void NAME(dot_step)(const bool narrow, vec sum[2], const uint8_t *x, const uint8_t *w)
{
    LLAVA_UNROLLED
    for (size_t v = 0; v < 2; v++) {
        ints of_w, of_x = NAME(bits)(x + v * sizeof of_x);
        if (narrow && PER_UNIT == 1) {
            shorts halves;
            memcpy(&halves, w + v * sizeof halves, sizeof halves);
            of_w = __builtin_convertvector(halves, ints) << 16;
        } else {
            of_w = NAME(bits)(w + v * sizeof of_w);
        }
        sum[v] = NAME(step)(sum[v], of_x, of_w);
    }
}

/* The row kernel. */
INLINE void NAME(dots)(const bool narrow, llava_fast_factor w, float *y, const uint8_t *x, size_t n,
                       size_t outputs, const float *keep)
{
    const size_t of_x = 4 / PER_UNIT, of_w = narrow ? 2 : 4, step = PANEL * PER_UNIT;
    const uint8_t *row = w.rows;
    size_t whole = n / step * step;
    for (size_t o = 0; o < outputs; o++, row += w.stride) {
        vec sum[2] = {{0}};
        for (size_t i = 0; i < whole; i += step) {
            NAME(dot_step)(narrow, sum, x + i * of_x, row + i * of_w);
        }
        if (whole < n) {
            uint8_t last_x[PANEL * sizeof(float)] = {0}, last_w[PANEL * sizeof(float)] = {0};
            memcpy(last_x, x + whole * of_x, (n - whole) * of_x);
            memcpy(last_w, row + whole * of_w, (n - whole) * of_w);
            NAME(dot_step)(narrow, sum, last_x, last_w);
        }
        y[o] = (keep == NULL ? 0 : y[o] * keep[0]) + NAME(sum_of)(sum[0] + sum[1]);
    }
}

TARGET static void NAME(product)(llava_fast_factor w, float *y, const float *x, size_t n,
                                 size_t outputs, size_t lanes, size_t live, const float *keep)
{
    const uint8_t *rows = w.rows;
    size_t units = (n + PER_UNIT - 1) / PER_UNIT, o = 0;
    if (lanes == 1) {
        w.narrow ? NAME(dots)(true, w, y, (const uint8_t *)x, n, outputs, keep)
                 : NAME(dots)(false, w, y, (const uint8_t *)x, n, outputs, keep);
        return;
    }
    for (; o + ROWS <= outputs; o += ROWS, rows += ROWS * w.stride, y += ROWS * PANEL) {
        live > LANES ? NAME(tile)(ROWS, 2, rows, w.stride, y, x, units, keep)
                     : NAME(tile)(ROWS, 1, rows, w.stride, y, x, units, keep);
    }
    for (; o < outputs; o++, rows += w.stride, y += PANEL) {
        NAME(tile)(1, 2, rows, w.stride, y, x, units, keep);
    }
}

/* ---- along a panel ----------------------------------------------------------------------------
 */

/* What the numbers of a panel from the i-th on have of `of`, one number a feature. */
INLINE vec NAME(feature)(const float *of, size_t i, size_t count, size_t lanes)
{
    return lanes == 1 ? NAME(load)(of, i, count, 0) : (vec){0} + of[i < count ? i / PANEL : 0];
}

/* For each lane the sum over the features of x - mean, or of its square; of a panel of one lane,
 * in every place. */
INLINE void NAME(total)(vec sum[2], const bool squares, const float *x, const vec mean[2],
                        size_t count, size_t lanes)
{
    sum[0] = sum[1] = (vec){0};
    for (size_t i = 0; i < count; i += PANEL) {
        LLAVA_UNROLLED
        for (size_t v = 0; v < 2; v++) {
            vec d = NAME(load)(x, i + v * LANES, count, mean[0][0]) - mean[v];
            sum[v] += squares ? d * d : d;
        }
    }
    if (lanes == 1) {
        sum[0] = sum[1] = (vec){0} + NAME(sum_of)(sum[0] + sum[1]);
    }
}

/* LCOV_EXCL_BR_STOP */

/* a's lanes where `mask` is all ones, else b's. */
INLINE vec NAME(pick)(ints mask, vec a, vec b)
{
    return (vec)(((ints)a & mask) | ((ints)b & ~mask));
}

/* exp to within 1.5 units of the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]. 0
 * below the smallest normal number, infinity from 88.4 on: there n is -127 and 128, whose powers'
 * bits are those of 0 and infinity. NaN stays NaN. */
INLINE vec NAME(exp_of)(vec x)
{
    typedef int32_t wholes __attribute__((vector_size(sizeof(vec))));
    const vec zero = {0};
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    const vec least = zero - 88.0f, most = zero + 88.5f;
    static const float terms[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1, 1};
    vec in = NAME(pick)((ints)(x < least), least, x);
    in = NAME(pick)((ints)(in > most), most, in);
    vec n = (in * 1.44269504f + shift) - shift;
    vec r = FMA(n, zero - 0.693359375f, in);
    r = FMA(n, zero + 2.12194440e-4f, r);
    vec p = zero + 1.0f / 5040;
    LLAVA_UNROLLED
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        p = FMA(p, r, zero + terms[i]);
    }
    return p * (vec)((__builtin_convertvector(n, wholes) + 127) << 23);
}

/* A float16's exponent moves by 112; subnormal ones become what they are by the product. */
INLINE vec NAME(of_half)(ints half)
{
    ints size = (half & 0x7fffu) << 13, special = (ints)(size >= 0x0f800000u);
    ints finite = (ints)((vec)size * 0x1p112f);
    return (vec)((special & (size | 0x7f800000u)) | (~special & finite) | (half & 0x8000u) << 16);
}

/* A vector of numbers of a file as float32. */
INLINE vec NAME(read)(llava_dtype from, const uint8_t *bytes)
{
    NAME(doubles) widest;
    shorts narrow;
    if (from == LLAVA_F64) {
        memcpy(&widest, bytes, sizeof widest);
        return __builtin_convertvector(widest, vec);
    }
    if (from == LLAVA_F32) {
        return (vec)NAME(bits)(bytes);
    }
    memcpy(&narrow, bytes, sizeof narrow);
    ints wide = __builtin_convertvector(narrow, ints);
    return from == LLAVA_F16 ? NAME(of_half)(wide) : (vec)(wide << 16);
}

TARGET static void NAME(convert)(llava_dtype from, const uint8_t *bytes, size_t n, bool bf16,
                                 bool narrow, void *to)
{
    size_t size = llava_dtype_size(from), whole = n / LANES * LANES;
    uint8_t last[LANES * sizeof(double)] = {0};
    memcpy(last, bytes + whole * size, (n - whole) * size);
    for (size_t i = 0; i < n; i += LANES) {
        vec v = NAME(read)(from, i < whole ? bytes + i * size : last);
        v = bf16 ? NAME(rounded)(v) : v;
        shorts halves = __builtin_convertvector((ints)v >> 16, shorts);
        if (!narrow) {
            NAME(store)(to, i, n, v);
        } else if (i < whole) {
            memcpy((uint16_t *)to + i, &halves, sizeof halves);
        } else {
            memcpy((uint16_t *)to + i, &halves, (n - i) * sizeof(uint16_t));
        }
    }
}

TARGET static void NAME(add)(float *y, const float *a, const float *b, size_t n, size_t lanes,
                             bool bf16)
{
    size_t count = n * lanes;
    for (size_t i = 0; i < count; i += LANES) {
        vec v = NAME(load)(a, i, count, 0);
        v = b == NULL ? v : v + NAME(feature)(b, i, count, lanes);
        NAME(store)(y, i, count, bf16 ? NAME(rounded)(v) : v);
    }
}

TARGET static void NAME(lay)(float *x, size_t n, size_t lanes, bool bf16)
{
#if PER_UNIT == 2
    if (lanes == 1) {
        NAME(convert)(LLAVA_F32, (const uint8_t *)x, n, bf16, true, x);
        memset((uint16_t *)(void *)x + n, 0, n % 2 * sizeof(uint16_t));
        return;
    }
    float *pairs = x;
    for (size_t k = 0; k < n; k += 2, x += 2 * PANEL, pairs += PANEL) {
        for (size_t i = 0; i < PANEL; i += LANES) {
            ints low = (ints)NAME(rounded)((vec)NAME(bits)(x + i)) >> 16;
            if (k + 1 < n) {
                low |= (ints)NAME(rounded)((vec)NAME(bits)(x + PANEL + i));
            }
            memcpy(pairs + i, &low, sizeof low);
        }
    }
#else
    if (bf16) {
        NAME(add)(x, x, NULL, n, lanes, true);
    }
#endif
}

TARGET static void NAME(gate)(float *x, const float *up, float factor, size_t n, bool bf16)
{
    for (size_t i = 0; i < n; i += LANES) {
        vec v = NAME(load)(x, i, n, 0);
        v /= 1.0f + NAME(exp_of)(v * -factor);
        if (up != NULL) {
            v = (bf16 ? NAME(rounded)(v) : v) * NAME(load)(up, i, n, 0);
        }
        NAME(store)(x, i, n, v);
    }
}

TARGET static void NAME(rotate)(float *x, const float *cosine, const float *sine, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        vec c = NAME(load)(cosine, i, n, 0), s = NAME(load)(sine, i, n, 0);
        vec left = NAME(load)(x, i, n, 0), right = NAME(load)(x + n, i, n, 0);
        NAME(store)(x, i, n, left * c - right * s);
        NAME(store)(x + n, i, n, right * c + left * s);
    }
}

TARGET static void NAME(norm)(float *y, const float *x, const float *weight, const float *bias,
                              double eps, size_t n, size_t lanes, bool bf16)
{
    size_t count = n * lanes;
    vec mean[2] = {{0}}, scale[2];
    if (bias != NULL) {
        NAME(total)(scale, false, x, mean, count, lanes);
        mean[0] = scale[0] / (float)n;
        mean[1] = scale[1] / (float)n;
    }
    NAME(total)(scale, true, x, mean, count, lanes);
    for (size_t lane = 0; lane < PANEL; lane++) {
        double variance = (double)scale[lane / LANES][lane % LANES] / (double)n;
        scale[lane / LANES][lane % LANES] = (float)(1 / sqrt(variance + eps));
    }
    for (size_t i = 0; i < count; i += PANEL) {
        LLAVA_UNROLLED
        for (size_t v = 0; v < 2; v++) {
            size_t at = i + v * LANES;
            vec out = (NAME(load)(x, at, count, 0) - mean[v]) * scale[v];
            out = bias == NULL && bf16 ? NAME(rounded)(out) : out;
            out *= NAME(feature)(weight, at, count, lanes);
            if (bias != NULL) {
                out += NAME(feature)(bias, at, count, lanes);
            }
            NAME(store)(y, at, count, out);
        }
    }
}

TARGET static void NAME(softmax)(llava_fast_softmax *of, float *s, float scale, size_t n,
                                 size_t lanes)
{
    size_t count = n * lanes;
    vec most[2], before[2], total[2], factor[2], sum[2] = {{0}};
    memcpy(before, of->most, sizeof before);
    memcpy(total, of->sum, sizeof total);
    LLAVA_UNROLLED
    for (size_t v = 0; v < 2; v++) { /* where nothing has been summed up, no score is smaller */
        before[v] = NAME(pick)((ints)(total[v] > 0), before[v], (vec){0} - FLT_MAX);
        most[v] = before[v];
    }
    for (size_t i = 0; i < count; i += PANEL) {
        LLAVA_UNROLLED
        for (size_t v = 0; v < 2; v++) {
            vec x = NAME(load)(s, i + v * LANES, count, -INFINITY);
            most[v] = NAME(pick)((ints)(x > most[v]), x, most[v]);
        }
    }
    if (lanes == 1) {
        float top = most[0][0];
        for (size_t i = 1; i < PANEL; i++) {
            float other = most[i / LANES][i % LANES];
            top = other > top ? other : top;
        }
        most[0] = most[1] = (vec){0} + top;
    }
    for (size_t i = 0; i < count; i += PANEL) {
        LLAVA_UNROLLED
        for (size_t v = 0; v < 2; v++) {
            vec x = NAME(load)(s, i + v * LANES, count, -INFINITY);
            vec weight = NAME(exp_of)((x - most[v]) * scale);
            sum[v] += weight;
            NAME(store)(s, i + v * LANES, count, weight);
        }
    }
    if (lanes == 1) {
        sum[0] = sum[1] = (vec){0} + NAME(sum_of)(sum[0] + sum[1]);
    }
    LLAVA_UNROLLED
    for (size_t v = 0; v < 2; v++) {
        factor[v] = NAME(exp_of)((before[v] - most[v]) * scale);
        total[v] = total[v] * factor[v] + sum[v];
    }
    memcpy(of->most, most, sizeof most);
    memcpy(of->sum, total, sizeof total);
    memcpy(of->factor, factor, sizeof factor);
}

static const llava_fast_kernels NAME(kernels) = {
    .name = TEXT_IN(WIDTH),
    .lanes = PANEL,
    .per_unit = PER_UNIT,
    .product = NAME(product),
    .lay = NAME(lay),
    .convert = NAME(convert),
    .add = NAME(add),
    .gate = NAME(gate),
    .rotate = NAME(rotate),
    .norm = NAME(norm),
    .softmax = NAME(softmax),
};

#undef WIDTH
#undef LANES
#undef TARGET
#undef FMA
#undef PER_UNIT
