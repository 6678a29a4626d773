/* The block in float32, included once for each vector width with TILE_NAME, TILE_LANES and
 * TILE_TARGET defined: as tile_block.h, but every factor, product and sum is a float. Weights and
 * rows are narrowed once for all that is done with them here: apart, that would take longer than
 * the sums. */
TILE_TARGET static void TILE_NAME(double *y, size_t y_stride, const double *const *x,
                                  const double *w, size_t inner)
{
    enum { CHUNK = 64, OUTPUTS = 2 * TILE_LANES };
    typedef float vec __attribute__((vector_size(TILE_LANES * sizeof(float))));
    typedef float narrow __attribute__((vector_size(TILE_LANES / 2 * sizeof(float))));
    typedef double wide __attribute__((vector_size(TILE_LANES / 2 * sizeof(double))));
    float sums[LLAVA_TILE_ROWS][OUTPUTS], weights[CHUNK * OUTPUTS], rows[LLAVA_TILE_ROWS][CHUNK];
    vec a00, a01, a10, a11, a20, a21, a30, a31;
    for (size_t r = 0; r < LLAVA_TILE_ROWS; r++) {
        for (size_t o = 0; o < OUTPUTS; o++) {
            sums[r][o] = (float)y[r * y_stride + o];
        }
    }
    memcpy(&a00, sums[0], sizeof a00), memcpy(&a01, sums[0] + TILE_LANES, sizeof a01);
    memcpy(&a10, sums[1], sizeof a10), memcpy(&a11, sums[1] + TILE_LANES, sizeof a11);
    memcpy(&a20, sums[2], sizeof a20), memcpy(&a21, sums[2] + TILE_LANES, sizeof a21);
    memcpy(&a30, sums[3], sizeof a30), memcpy(&a31, sums[3] + TILE_LANES, sizeof a31);
    for (size_t done = 0; done < inner; done += CHUNK) {
        size_t take = inner - done < CHUNK ? inner - done : CHUNK;
        for (size_t i = 0; i < take * OUTPUTS; i += TILE_LANES / 2) {
            wide from;
            memcpy(&from, w + done * OUTPUTS + i, sizeof from);
            narrow to = __builtin_convertvector(from, narrow);
            memcpy(weights + i, &to, sizeof to);
        }
        for (size_t r = 0; r < LLAVA_TILE_ROWS; r++) {
            size_t k = 0;
            for (; k + TILE_LANES / 2 <= take; k += TILE_LANES / 2) {
                wide from;
                memcpy(&from, x[r] + done + k, sizeof from);
                narrow to = __builtin_convertvector(from, narrow);
                memcpy(rows[r] + k, &to, sizeof to);
            }
            for (; k < take; k++) {
                rows[r][k] = (float)x[r][done + k];
            }
        }
        for (size_t k = 0; k < take; k++) {
            vec w0, w1;
            memcpy(&w0, weights + k * OUTPUTS, sizeof w0);
            memcpy(&w1, weights + k * OUTPUTS + TILE_LANES, sizeof w1);
            a00 = a00 + w0 * rows[0][k];
            a01 = a01 + w1 * rows[0][k];
            a10 = a10 + w0 * rows[1][k];
            a11 = a11 + w1 * rows[1][k];
            a20 = a20 + w0 * rows[2][k];
            a21 = a21 + w1 * rows[2][k];
            a30 = a30 + w0 * rows[3][k];
            a31 = a31 + w1 * rows[3][k];
        }
    }
    memcpy(sums[0], &a00, sizeof a00), memcpy(sums[0] + TILE_LANES, &a01, sizeof a01);
    memcpy(sums[1], &a10, sizeof a10), memcpy(sums[1] + TILE_LANES, &a11, sizeof a11);
    memcpy(sums[2], &a20, sizeof a20), memcpy(sums[2] + TILE_LANES, &a21, sizeof a21);
    memcpy(sums[3], &a30, sizeof a30), memcpy(sums[3] + TILE_LANES, &a31, sizeof a31);
    for (size_t r = 0; r < LLAVA_TILE_ROWS; r++) {
        for (size_t o = 0; o < OUTPUTS; o++) {
            y[r * y_stride + o] = (double)sums[r][o];
        }
    }
}
