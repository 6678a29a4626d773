/* The kernels of the fast path: one for matrices, and a few that go along a row. Each is compiled
 * for several widths of vectors; the machine's own is chosen when it runs (kernel.c).
 *
 * All arithmetic is float32. The matrix kernel sums each output in the order of k, so its result
 * does not depend on the width of the vectors nor on how many rows there are; it does depend on
 * whether the machine multiplies and adds in one rounding (all widths but `portable`) and on
 * whether it has a product of bfloat16 pairs (`avx512bf16`). */
#ifndef LLAVA_FAST_KERNEL_H
#define LLAVA_FAST_KERNEL_H

#include "ref/error.h"

#include <stdint.h>

/* How the two factors of a product lie side by side. A unit is 32 bits of each output. */
typedef enum {
    LLAVA_FAST_FLOATS, /* w: one float32; x: one float32 */
    LLAVA_FAST_PAIRS,  /* w: two bfloat16, the lower k in the lower half; x: two float32 */
    LLAVA_FAST_DOT,    /* w and x: two bfloat16 each. Only where the width has it */
} llava_fast_kind;

enum { LLAVA_FAST_HEIGHTS = 4 };

typedef struct {
    const char *name; /* "portable", "avx2", "avx512", "avx512bf16" */
    bool dot;         /* has LLAVA_FAST_DOT */
    size_t outputs;   /* of one tile */
    /* How many rows a tile may have: the largest first, then smaller ones down to 1. */
    size_t heights[LLAVA_FAST_HEIGHTS];

    /* y[r][o] = sum over u of x[u][r] w[u][o], or that added to y where `add`.
     * x: [units, rows], w: [units, outputs], y: [rows, outputs] with row stride y_stride; rows is
     * one of the heights. */
    void (*tile)(llava_fast_kind kind, float *y, size_t y_stride, const float *x, const uint32_t *w,
                 size_t units, size_t rows, bool add);

    /* Along a row of n numbers; y may be an input. bf16: results are rounded to bfloat16. */
    void (*add)(float *y, const float *a, const float *b, size_t n, bool bf16); /* b NULL: 0 */
    /* y = x / (1 + exp(-factor x)), then times `up` unless NULL */
    void (*gate)(float *y, const float *x, const float *up, float factor, size_t n, bool bf16);
    /* y = (x - mean) / sqrt(var + eps) * weight + bias; bias NULL: RMSNorm, mean taken as 0, the
     * normalised vector rounded before it is weighted */
    void (*norm)(float *y, const float *x, const float *weight, const float *bias, double eps,
                 size_t n, bool bf16);
    /* s = exp(s - max s); returns the sum. -infinity gives 0 */
    float (*exp_row)(float *s, size_t n);
} llava_fast_kernels;

/* The kernels of this name, or the widest that the machine has where name is NULL. `has`: can this
 * machine run that width? (llava_fast_machine_has, or a test's.) Unknown, or not on this machine:
 * refused. */
bool llava_fast_choose(llava_fast_kernels *kernels, const char *name, bool (*has)(const char *name),
                       llava_error *e);
bool llava_fast_machine_has(const char *name);
/* Names of all widths, narrowest first, NULL behind the last. */
const char *const *llava_fast_widths(void);

#endif
