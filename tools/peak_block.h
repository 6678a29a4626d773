/* The block itself, included once for each vector width with PEAK_NAME, PEAK_LANES and PEAK_TARGET
 * defined. Named accumulators: an array would live in memory at -O0 to -O2. */
PEAK_TARGET static void PEAK_NAME(double *state, double factor, double term, size_t steps)
{
    typedef double vec
        __attribute__((vector_size(PEAK_LANES * sizeof(double)), aligned(8), may_alias));
    vec *s = (vec *)(void *)state;
    vec a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5];
    vec g = s[6], h = s[7], i = s[8], j = s[9], k = s[10], l = s[11];
    vec zero = a - a, m = zero + factor, t = zero + term;
    for (size_t n = 0; n < steps; n++) {
        a = a * m + t, b = b * m + t, c = c * m + t, d = d * m + t;
        e = e * m + t, f = f * m + t, g = g * m + t, h = h * m + t;
        i = i * m + t, j = j * m + t, k = k * m + t, l = l * m + t;
    }
    s[0] = a, s[1] = b, s[2] = c, s[3] = d, s[4] = e, s[5] = f;
    s[6] = g, s[7] = h, s[8] = i, s[9] = j, s[10] = k, s[11] = l;
}
