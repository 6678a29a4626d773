/* llava_exp, llava_tanh and llava_erf for one vector width, included once for each with MANY(name),
 * MANY_LANES and MANY_TARGET defined. These are ref/elementary.c's steps, where they are explained,
 * without a branch: tanh and erf on any x, exp on x within llava_exp_range, where the scaling by
 * 2^k is exact. tests/test_many.c holds both against each other. The functions stay inside one
 * target, so vectors of any width may be handed over. */
typedef double MANY(vec)
    __attribute__((vector_size(MANY_LANES * sizeof(double)), aligned(8), may_alias));
typedef uint64_t MANY(bits)
    __attribute__((vector_size(MANY_LANES * sizeof(double)), aligned(8), may_alias));

/* hi + lo in each lane */
typedef struct {
    MANY(vec) hi, lo;
} MANY(pair);

MANY_INLINE MANY(vec) MANY(each)(double x)
{
    return (MANY(vec)){0} + x;
}

/* a in the lanes of `where` that are all ones, b where they are 0 */
MANY_INLINE MANY(vec) MANY(chosen)(MANY(bits) where, MANY(vec) a, MANY(vec) b)
{
    return (MANY(vec))((where & (MANY(bits))a) | (~where & (MANY(bits))b));
}

MANY_INLINE MANY(bits) MANY(below)(MANY(vec) a, double b)
{
    return (MANY(bits))(a < MANY(each)(b));
}

MANY_INLINE MANY(vec) MANY(magnitude)(MANY(vec) x)
{
    return (MANY(vec))((MANY(bits))x << 1 >> 1);
}

/* size >= 0 with the sign of x; NAN for NaN */
MANY_INLINE MANY(vec) MANY(odd)(MANY(vec) size, MANY(vec) x)
{
    MANY(bits) sign = (MANY(bits))x >> 63 << 63;
    MANY(bits) ordered = (MANY(bits))(MANY(magnitude)(x) <= MANY(each)((double)INFINITY));
    return MANY(chosen)(ordered, (MANY(vec))((MANY(bits))size | sign), MANY(each)((double)NAN));
}

MANY_INLINE MANY(pair) MANY(ordered_sum)(MANY(vec) a, MANY(vec) b)
{
    MANY(vec) sum = a + b;
    return (MANY(pair)){sum, b - (sum - a)};
}

MANY_INLINE MANY(pair) MANY(exact_sum)(MANY(vec) a, MANY(vec) b)
{
    MANY(vec) sum = a + b, of_b = sum - a, of_a = sum - of_b;
    return (MANY(pair)){sum, (a - of_a) + (b - of_b)};
}

MANY_INLINE MANY(pair) MANY(halves)(MANY(vec) x)
{
    MANY(vec) big = x * 0x1.000002p27, hi = big - (big - x);
    return (MANY(pair)){hi, x - hi};
}

MANY_INLINE MANY(pair) MANY(exact_product)(MANY(vec) a, MANY(vec) b)
{
    MANY(pair) x = MANY(halves)(a), y = MANY(halves)(b);
    MANY(vec) product = a * b;
    MANY(vec) rest = ((x.hi * y.hi - product) + x.hi * y.lo + x.lo * y.hi) + x.lo * y.lo;
    return (MANY(pair)){product, rest};
}

MANY_INLINE MANY(pair) MANY(times)(MANY(pair) a, MANY(pair) b)
{
    MANY(pair) product = MANY(exact_product)(a.hi, b.hi);
    return MANY(ordered_sum)(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

MANY_INLINE MANY(pair) MANY(plus)(MANY(pair) a, MANY(vec) b)
{
    MANY(pair) sum = MANY(exact_sum)(a.hi, b);
    return MANY(ordered_sum)(sum.hi, sum.lo + a.lo);
}

MANY_INLINE MANY(pair) MANY(plus_pair)(MANY(pair) a, MANY(pair) b)
{
    MANY(pair) sum = MANY(exact_sum)(a.hi, b.hi);
    return MANY(ordered_sum)(sum.hi, sum.lo + (a.lo + b.lo));
}

MANY_INLINE MANY(pair) MANY(over)(MANY(pair) a, MANY(pair) b)
{
    MANY(vec) quotient = a.hi / b.hi;
    MANY(pair) back = MANY(exact_product)(quotient, b.hi);
    MANY(vec) rest = ((a.hi - back.hi) - back.lo) + a.lo - quotient * b.lo;
    return MANY(ordered_sum)(quotient, rest / b.hi);
}

/* ---- exp, tanh ---- */

/* x = k ln 2 + r; gives r, and 2^k */
MANY_INLINE MANY(pair) MANY(reduce)(MANY(vec) x, MANY(vec) * scale)
{
    MANY(vec) shifted = x * log2_e + 0x1.8p52, multiple = shifted - 0x1.8p52;
    /* k is in the lowest bits of `shifted` */
    *scale = (MANY(vec))(((MANY(bits))shifted + 1023) << 52);
    MANY(pair) rest = MANY(exact_sum)(x - multiple * ln2_head, -(multiple * ln2_rest));
    return MANY(ordered_sum)(rest.hi, rest.lo);
}

MANY_INLINE MANY(pair) MANY(exp_minus_1)(MANY(pair) r)
{
    MANY(vec) tail = r.hi * exp_tail_terms[0] + exp_tail_terms[1];
    for (size_t term = 2; term < EXP_TERMS; term++) {
        tail = tail * r.hi + exp_tail_terms[term];
    }
    MANY(pair) inner = MANY(ordered_sum)(MANY(each)(0.5), r.hi * tail);
    return MANY(times)(r, MANY(plus)(MANY(times)(r, inner), MANY(each)(1)));
}

MANY_TARGET static void MANY(exp)(double *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i += MANY_LANES) {
        MANY(vec) in = *(const MANY(vec) *)(const void *)(x + i), scale;
        MANY(pair) r = MANY(reduce)(in, &scale);
        MANY(vec) result = MANY(plus)(MANY(exp_minus_1)(r), MANY(each)(1)).hi * scale;
        *(MANY(vec) *)(void *)(y + i) = result;
    }
}

MANY_TARGET static void MANY(tanh)(double *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i += MANY_LANES) {
        MANY(vec) in = *(const MANY(vec) *)(const void *)(x + i), scale;
        MANY(vec) a = MANY(magnitude)(in);
        MANY(vec) bounded = MANY(chosen)(MANY(below)(a, 20), a, MANY(each)(20));
        MANY(pair) r = MANY(reduce)(2.0 * bounded, &scale);
        MANY(pair) e = MANY(exp_minus_1)(r);
        e = MANY(plus)((MANY(pair)){scale * e.hi, scale * e.lo}, scale - 1.0);
        MANY(vec) result = MANY(over)(e, MANY(plus)(e, MANY(each)(2))).hi;
        result = MANY(odd)(MANY(chosen)(MANY(below)(a, 0x1p-28), a, result), in);
        *(MANY(vec) *)(void *)(y + i) = result;
    }
}

/* ---- erf ---- */

/* erf at the table's point of each lane, and its slope there */
typedef struct {
    MANY(pair) value, slope;
} MANY(row);

MANY_INLINE MANY(row) MANY(row_at)(MANY(bits) index)
{
    double part[4][MANY_LANES];
    for (size_t lane = 0; lane < MANY_LANES; lane++) {
        const erf_row *row = &erf_rows[index[lane]];
        part[0][lane] = row->value.hi;
        part[1][lane] = row->value.lo;
        part[2][lane] = row->slope.hi;
        part[3][lane] = row->slope.lo;
    }
    const MANY(vec) *of = (const MANY(vec) *)(const void *)part;
    return (MANY(row)){{of[0], of[1]}, {of[2], of[3]}};
}

/* The series' sum behind its first term, 1 */
MANY_INLINE MANY(vec) MANY(erf_series)(MANY(vec) u, MANY(vec) v)
{
    MANY(vec) before = MANY(each)(1), term = u, sum = 0.5 * u;
    for (size_t k = 2; k <= ERF_TERMS; k++) {
        MANY(vec) next = (u * term + v * before) * inverse[k];
        before = term;
        term = next;
        sum += term * inverse[k + 1];
    }
    return sum;
}

MANY_TARGET static void MANY(erf)(double *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i += MANY_LANES) {
        MANY(vec) in = *(const MANY(vec) *)(const void *)(x + i);
        MANY(vec) a = MANY(magnitude)(in);
        MANY(bits) tiny = MANY(below)(a, 0x1p-900);
        MANY(vec) at = MANY(chosen)(tiny, a * 0x1p200, a);
        at = MANY(chosen)(MANY(below)(at, 6), at, MANY(each)(6));
        /* the row is in the lowest bits of `shifted` */
        MANY(vec) shifted = at * 16.0 + 0x1.8p52, c = (shifted - 0x1.8p52) * 0.0625, h = at - c;
        MANY(row) row = MANY(row_at)((MANY(bits))shifted & 127);
        MANY(vec) sum = MANY(erf_series)(-2.0 * c * h, -2.0 * h * h);
        MANY(pair) step = MANY(times)(row.slope, (MANY(pair)){h, MANY(each)(0)});
        MANY(pair) total = MANY(plus_pair)(row.value, MANY(plus)(step, step.hi * sum));
        /* scaled() by 2^-200 where x is tiny, else by 1 */
        MANY(vec) least = MANY(chosen)(tiny, MANY(each)(0x1p-822), MANY(each)(0x1p-1022));
        MANY(vec) coarse = MANY(chosen)((MANY(bits))(total.hi < least), least, MANY(each)(0));
        MANY(pair) rounded = MANY(exact_sum)(coarse, total.hi);
        MANY(vec) result = (rounded.hi + (rounded.lo + total.lo)) - coarse;
        MANY(vec) down = MANY(chosen)(tiny, MANY(each)(0x1p-100), MANY(each)(1));
        result = MANY(odd)(result * down * down, in);
        *(MANY(vec) *)(void *)(y + i) = result;
    }
}
