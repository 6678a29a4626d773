/* The block in float32, included once for each vector width with TILE_NAME, TILE_LANES,
 * TILE_VECTORS and TILE_TARGET defined: as tile_block.h, but every factor, product and sum is a
 * float. The weights lie there as such; the rows and the sums so far are narrowed here, half a
 * vector at a time. */
TILE_TARGET static void TILE_NAME(double *y, size_t y_stride, const double *const *x,
                                  const void *weights, size_t inner)
{
    enum { CHUNK = 64, HALF = TILE_LANES / 2, OUTPUTS = TILE_VECTORS * TILE_LANES };
    typedef float vec __attribute__((vector_size(TILE_LANES * sizeof(float))));
    typedef float narrow __attribute__((vector_size(HALF * sizeof(float))));
    typedef double wide __attribute__((vector_size(HALF * sizeof(double))));
    float sums[LLAVA_TILE_ROWS * OUTPUTS], rows[LLAVA_TILE_ROWS][CHUNK];
    vec sum[LLAVA_TILE_ROWS][TILE_VECTORS], of_w[TILE_VECTORS];
    wide exact;
    narrow single;
    for (size_t i = 0; i < LLAVA_TILE_ROWS * OUTPUTS; i += HALF) {
        memcpy(&exact, y + i / OUTPUTS * y_stride + i % OUTPUTS, sizeof exact);
        single = __builtin_convertvector(exact, narrow);
        memcpy(sums + i, &single, sizeof single);
    }
    LLAVA_UNROLLED
    for (size_t i = 0; i < LLAVA_TILE_ROWS * TILE_VECTORS; i++) {
        memcpy(&sum[i / TILE_VECTORS][i % TILE_VECTORS], sums + i * TILE_LANES, sizeof(vec));
    }
    const float *w = weights;
    for (size_t done = 0; done < inner; done += CHUNK) {
        size_t take = inner - done < CHUNK ? inner - done : CHUNK;
        for (size_t r = 0; r < LLAVA_TILE_ROWS; r++) {
            size_t k = 0;
            for (; k + HALF <= take; k += HALF) {
                memcpy(&exact, x[r] + done + k, sizeof exact);
                single = __builtin_convertvector(exact, narrow);
                memcpy(rows[r] + k, &single, sizeof single);
            }
            for (; k < take; k++) {
                rows[r][k] = (float)x[r][done + k];
            }
        }
        for (size_t k = 0; k < take; k++, w += OUTPUTS) {
            LLAVA_UNROLLED
            for (size_t v = 0; v < TILE_VECTORS; v++) {
                memcpy(&of_w[v], w + v * TILE_LANES, sizeof of_w[v]);
                sum[0][v] = sum[0][v] + of_w[v] * rows[0][k];
                sum[1][v] = sum[1][v] + of_w[v] * rows[1][k];
                sum[2][v] = sum[2][v] + of_w[v] * rows[2][k];
                sum[3][v] = sum[3][v] + of_w[v] * rows[3][k];
            }
        }
    }
    LLAVA_UNROLLED
    for (size_t i = 0; i < LLAVA_TILE_ROWS * TILE_VECTORS; i++) {
        memcpy(sums + i * TILE_LANES, &sum[i / TILE_VECTORS][i % TILE_VECTORS], sizeof(vec));
    }
    for (size_t i = 0; i < LLAVA_TILE_ROWS * OUTPUTS; i += HALF) {
        memcpy(&single, sums + i, sizeof single);
        exact = __builtin_convertvector(single, wide);
        memcpy(y + i / OUTPUTS * y_stride + i % OUTPUTS, &exact, sizeof exact);
    }
}
