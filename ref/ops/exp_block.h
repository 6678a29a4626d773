/* llava_exp for one vector width, included once for each with EXP(name), EXP_LANES and EXP_TARGET
 * defined. These are ref/elementary.c's steps, where they are explained, on x within
 * llava_exp_range: there the scaling by 2^k is exact. tests/test_exp.c holds both against each
 * other. The functions stay inside one target, so vectors of any width may be handed over. */
typedef double EXP(vec) __attribute__((vector_size(EXP_LANES * sizeof(double)), aligned(8)));
typedef uint64_t EXP(bits) __attribute__((vector_size(EXP_LANES * sizeof(double)), aligned(8)));

/* hi + lo in each lane */
typedef struct {
    EXP(vec) hi, lo;
} EXP(pair);

EXP_TARGET static inline EXP(pair) EXP(ordered_sum)(EXP(vec) a, EXP(vec) b)
{
    EXP(vec) sum = a + b;
    return (EXP(pair)){sum, b - (sum - a)};
}

EXP_TARGET static inline EXP(pair) EXP(exact_sum)(EXP(vec) a, EXP(vec) b)
{
    EXP(vec) sum = a + b, of_b = sum - a, of_a = sum - of_b;
    return (EXP(pair)){sum, (a - of_a) + (b - of_b)};
}

EXP_TARGET static inline EXP(pair) EXP(halves)(EXP(vec) x)
{
    EXP(vec) big = x * 0x1.000002p27, hi = big - (big - x);
    return (EXP(pair)){hi, x - hi};
}

EXP_TARGET static inline EXP(pair) EXP(times)(EXP(pair) a, EXP(pair) b)
{
    EXP(pair) x = EXP(halves)(a.hi), y = EXP(halves)(b.hi);
    EXP(vec) product = a.hi * b.hi;
    EXP(vec) rest = ((x.hi * y.hi - product) + x.hi * y.lo + x.lo * y.hi) + x.lo * y.lo;
    return EXP(ordered_sum)(product, rest + (a.hi * b.lo + a.lo * b.hi));
}

EXP_TARGET static inline EXP(pair) EXP(plus_1)(EXP(pair) a)
{
    EXP(pair) sum = EXP(exact_sum)(a.hi, (EXP(vec)){0} + 1);
    return EXP(ordered_sum)(sum.hi, sum.lo + a.lo);
}

/* x = k ln 2 + r; gives r, and 2^k */
EXP_TARGET static inline EXP(pair) EXP(reduce)(EXP(vec) x, EXP(vec) * scale)
{
    EXP(vec) shifted = x * log2_e + 0x1.8p52, multiple = shifted - 0x1.8p52;
    /* k is in the lowest bits of `shifted` */
    *scale = (EXP(vec))(((EXP(bits))shifted + 1023) << 52);
    EXP(pair) rest = EXP(exact_sum)(x - multiple * ln2_head, -(multiple * ln2_rest));
    return EXP(ordered_sum)(rest.hi, rest.lo);
}

EXP_TARGET static void EXP(run)(double *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i += EXP_LANES) {
        EXP(vec) in, scale;
        memcpy(&in, x + i, sizeof in);
        EXP(pair) r = EXP(reduce)(in, &scale);
        EXP(vec) tail = r.hi * exp_tail_terms[0] + exp_tail_terms[1];
        for (size_t term = 2; term < EXP_TERMS; term++) {
            tail = tail * r.hi + exp_tail_terms[term];
        }
        EXP(vec) half = (EXP(vec)){0} + 0.5;
        EXP(pair) minus_1 = EXP(times)(r, EXP(ordered_sum)(half, r.hi * tail));
        minus_1 = EXP(times)(r, EXP(plus_1)(minus_1));
        EXP(vec) result = EXP(plus_1)(minus_1).hi * scale;
        memcpy(y + i, &result, sizeof result);
    }
}
