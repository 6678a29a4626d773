/* The loops themselves, included once for each target with WIDEN_NAME, WIDEN_LANES and
 * WIDEN_TARGET defined. */
WIDEN_TARGET static size_t WIDEN_NAME(llava_dtype from, const uint8_t *bytes, size_t n, double *out)
{
    typedef uint16_t shorts __attribute__((vector_size(WIDEN_LANES * sizeof(uint16_t))));
    typedef uint32_t words __attribute__((vector_size(WIDEN_LANES * sizeof(uint32_t))));
    typedef float floats __attribute__((vector_size(WIDEN_LANES * sizeof(float))));
    typedef double doubles __attribute__((vector_size(WIDEN_LANES * sizeof(double))));
    typedef uint64_t longs __attribute__((vector_size(WIDEN_LANES * sizeof(uint64_t))));
    size_t done = 0;
    for (; from == LLAVA_BF16 && done + WIDEN_LANES <= n; done += WIDEN_LANES) {
        shorts brain;
        memcpy(&brain, bytes + done * sizeof(uint16_t), sizeof brain);
        words upper = __builtin_convertvector(brain, words) << 16; /* the upper half of a float */
        floats single;
        memcpy(&single, &upper, sizeof single);
        doubles wide = __builtin_convertvector(single, doubles);
        memcpy(out + done, &wide, sizeof wide);
    }
    for (; from == LLAVA_F32 && done + WIDEN_LANES <= n; done += WIDEN_LANES) {
        floats single;
        memcpy(&single, bytes + done * sizeof(float), sizeof single);
        doubles wide = __builtin_convertvector(single, doubles);
        memcpy(out + done, &wide, sizeof wide);
    }
    for (; from == LLAVA_F16 && done + WIDEN_LANES <= n;
         done += WIDEN_LANES) { /* decode_half's steps */
        shorts half;
        memcpy(&half, bytes + done * sizeof(uint16_t), sizeof half);
        longs bits = __builtin_convertvector(half, longs), wide = (bits & 0x7fffu) << 42;
        doubles subnormal = (doubles)(wide + (UINT64_C(1009) << 52)) - 0x1p-14;
        longs low = (longs)((bits & 0x7c00u) == 0), high = (longs)((bits & 0x7c00u) == 0x7c00u);
        longs size = (low & (longs)subnormal) | (~low & (wide + (UINT64_C(1008) << 52)));
        size = (high & (wide | UINT64_C(2047) << 52)) | (~high & size) | (bits & 0x8000u) << 48;
        memcpy(out + done, &size, sizeof size);
    }
    return done;
}
