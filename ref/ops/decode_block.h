/* The loops themselves, included once for each target with WIDEN_NAME and WIDEN_TARGET defined. */
WIDEN_TARGET static size_t WIDEN_NAME(llava_dtype from, const uint8_t *bytes, size_t n, double *out)
{
    typedef uint16_t shorts __attribute__((vector_size(LANES * sizeof(uint16_t))));
    typedef uint32_t words __attribute__((vector_size(LANES * sizeof(uint32_t))));
    typedef float floats __attribute__((vector_size(LANES * sizeof(float))));
    typedef double doubles __attribute__((vector_size(LANES * sizeof(double))));
    size_t done = 0;
    for (; from == LLAVA_BF16 && done + LANES <= n; done += LANES) {
        shorts brain;
        memcpy(&brain, bytes + done * sizeof(uint16_t), sizeof brain);
        words upper = __builtin_convertvector(brain, words) << 16; /* the upper half of a float */
        floats single;
        memcpy(&single, &upper, sizeof single);
        doubles wide = __builtin_convertvector(single, doubles);
        memcpy(out + done, &wide, sizeof wide);
    }
    for (; from == LLAVA_F32 && done + LANES <= n; done += LANES) {
        floats single;
        memcpy(&single, bytes + done * sizeof(float), sizeof single);
        doubles wide = __builtin_convertvector(single, doubles);
        memcpy(out + done, &wide, sizeof wide);
    }
    return done;
}
