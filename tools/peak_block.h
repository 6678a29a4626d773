/* The block itself, included once for each type and vector width with PEAK_NAME, PEAK_NUMBER,
 * PEAK_LANES, PEAK_TARGET and PEAK_STEP defined. Named accumulators: an array would live in memory
 * at -O0 to -O2. */
PEAK_TARGET static void PEAK_NAME(void *state, double factor, double term, size_t steps)
{
    typedef PEAK_NUMBER vec
        __attribute__((vector_size(PEAK_LANES * sizeof(PEAK_NUMBER)), aligned(8), may_alias));
    vec *s = state;
    vec a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5];
    vec g = s[6], h = s[7], i = s[8], j = s[9], k = s[10], l = s[11];
    vec zero = {0}, m = zero + PEAK_FACTOR(factor), t = zero + PEAK_FACTOR(term);
    for (size_t n = 0; n < steps; n++) {
        a = PEAK_STEP(a, m, t), b = PEAK_STEP(b, m, t), c = PEAK_STEP(c, m, t);
        d = PEAK_STEP(d, m, t), e = PEAK_STEP(e, m, t), f = PEAK_STEP(f, m, t);
        g = PEAK_STEP(g, m, t), h = PEAK_STEP(h, m, t), i = PEAK_STEP(i, m, t);
        j = PEAK_STEP(j, m, t), k = PEAK_STEP(k, m, t), l = PEAK_STEP(l, m, t);
    }
    s[0] = a, s[1] = b, s[2] = c, s[3] = d, s[4] = e, s[5] = f;
    s[6] = g, s[7] = h, s[8] = i, s[9] = j, s[10] = k, s[11] = l;
}
#undef PEAK_NAME
#undef PEAK_NUMBER
#undef PEAK_LANES
#undef PEAK_TARGET
#undef PEAK_FACTOR
#undef PEAK_STEP
