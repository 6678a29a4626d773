/* The inner block of a product, for vectors of several widths.
 *
 * One block takes LLAVA_TILE_ROWS rows of x and a few vectors of outputs and continues their sums
 * over a range of k: y[r][o] += x[r][k] * w[o][k], k upward, product and addition rounded apart. */
#ifndef LLAVA_TILE_H
#define LLAVA_TILE_H

#include "ops.h"

#define LLAVA_TILE_ROWS    ((size_t)4)
#define LLAVA_TILE_OUTPUTS ((size_t)64) /* of the widest */

/* y: rows y[0..3] of outputs, stride y_stride. x: the four rows, [inner] each, where they lie.
 * w: [inner][outputs] packed numbers. */
typedef void llava_tile_run(double *y, size_t y_stride, const double *const *x, const void *w,
                            size_t inner);

typedef struct {
    size_t outputs; /* two vectors, or four where there are 32 registers for the sums */
    size_t number;  /* bytes of a packed weight: a float64, or a float32 where the sums are */
    llava_tile_run *run;
} llava_tile;

/* The widest block that this machine runs. Every width gives the same bits. sums_f32: of those that
 * round every factor, product and sum to float32 (numerics->sums_f32). */
llava_tile llava_tile_best(bool sums_f32);
/* All that this machine runs, narrowest first; returns how many. For the test that compares them.
 */
size_t llava_tile_all(bool sums_f32, llava_tile tiles[4]);

/* llava_product with a block of the caller's choice, which llava_product makes the best. */
bool llava_product_with(llava_tile tile, const llava_numerics *n, double *y, size_t y_stride,
                        const double *x, size_t x_stride, size_t rows, size_t inner, size_t outputs,
                        const llava_factor *w, llava_error *e);

#endif
