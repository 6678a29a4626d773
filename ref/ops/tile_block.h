/* The block itself, included once for each vector width with TILE_NAME, TILE_LANES and TILE_TARGET
 * defined. Eight named accumulators: an array would live in memory at -O0 to -O2. The multiply and
 * the add stay two roundings because the build says -ffp-contract=off. */
TILE_TARGET static void TILE_NAME(double *y, size_t y_stride, const double *const *x,
                                  const double *w, size_t inner)
{
    typedef double vec
        __attribute__((vector_size(TILE_LANES * sizeof(double)), aligned(8), may_alias));
    vec *y0 = (vec *)(void *)y;
    vec *y1 = (vec *)(void *)(y + y_stride);
    vec *y2 = (vec *)(void *)(y + 2 * y_stride);
    vec *y3 = (vec *)(void *)(y + 3 * y_stride);
    vec a00 = y0[0], a01 = y0[1], a10 = y1[0], a11 = y1[1];
    vec a20 = y2[0], a21 = y2[1], a30 = y3[0], a31 = y3[1];
    const double *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    for (size_t k = 0; k < inner; k++) {
        const vec *row = (const vec *)(const void *)(w + k * 2 * TILE_LANES);
        vec w0 = row[0], w1 = row[1];
        a00 = a00 + w0 * x0[k];
        a01 = a01 + w1 * x0[k];
        a10 = a10 + w0 * x1[k];
        a11 = a11 + w1 * x1[k];
        a20 = a20 + w0 * x2[k];
        a21 = a21 + w1 * x2[k];
        a30 = a30 + w0 * x3[k];
        a31 = a31 + w1 * x3[k];
    }
    y0[0] = a00, y0[1] = a01, y1[0] = a10, y1[1] = a11;
    y2[0] = a20, y2[1] = a21, y3[0] = a30, y3[1] = a31;
}
