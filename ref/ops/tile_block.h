/* The block itself, included once for each vector width with TILE_NAME, TILE_LANES, TILE_VECTORS
 * and TILE_TARGET defined. The sums stay in registers because every loop around them is unrolled.
 * The multiply and the add stay two roundings because the build says -ffp-contract=off. */
TILE_TARGET static void TILE_NAME(double *y, size_t y_stride, const double *const *x,
                                  const void *weights, size_t inner)
{
    typedef double vec
        __attribute__((vector_size(TILE_LANES * sizeof(double)), aligned(8), may_alias));
    vec sum[LLAVA_TILE_ROWS][TILE_VECTORS], of_w[TILE_VECTORS];
    LLAVA_UNROLLED
    for (size_t i = 0; i < LLAVA_TILE_ROWS * TILE_VECTORS; i++) {
        const double *from = y + i / TILE_VECTORS * y_stride + i % TILE_VECTORS * TILE_LANES;
        sum[i / TILE_VECTORS][i % TILE_VECTORS] = *(const vec *)(const void *)from;
    }
    const double *w = weights, *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    for (size_t k = 0; k < inner; k++, w += (size_t)TILE_VECTORS * TILE_LANES) {
        LLAVA_UNROLLED
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            of_w[v] = *(const vec *)(const void *)(w + v * TILE_LANES);
            sum[0][v] = sum[0][v] + of_w[v] * x0[k];
            sum[1][v] = sum[1][v] + of_w[v] * x1[k];
            sum[2][v] = sum[2][v] + of_w[v] * x2[k];
            sum[3][v] = sum[3][v] + of_w[v] * x3[k];
        }
    }
    LLAVA_UNROLLED
    for (size_t i = 0; i < LLAVA_TILE_ROWS * TILE_VECTORS; i++) {
        double *to = y + i / TILE_VECTORS * y_stride + i % TILE_VECTORS * TILE_LANES;
        *(vec *)(void *)to = sum[i / TILE_VECTORS][i % TILE_VECTORS];
    }
}
