/* The kernels of the fast path: products of weights with a panel, and a few that go along the
 * activations. Each is compiled for several widths of vectors; the machine's own is chosen when it
 * runs (kernel.c).
 *
 * Activations lie in panels, x[feature][lane]: `lanes` positions side by side, or one (then a panel
 * is a row). Vectors run over the lanes, so that the weights are read one at a time, as they lie in
 * the file, and nothing is laid out anew. All arithmetic is float32; what is summed along a row of
 * its own (lanes 1) depends in its last digits on the width of the vectors.
 *
 * The factors of a product come in units of 32 bits: a float32, or two bfloat16, the lower index
 * first, where the width multiplies such. */
#ifndef LLAVA_FAST_KERNEL_H
#define LLAVA_FAST_KERNEL_H

#include "ref/cpu.h"
#include "ref/error.h"
#include "ref/number.h"

#include <stddef.h>
#include <stdint.h>

/* Rows of weights, `stride` bytes apart. narrow: bfloat16, always in a width of pairs; elsewhere
 * only for panels of one lane */
typedef struct {
    const void *rows;
    size_t stride;
    bool narrow;
} llava_fast_factor;

enum { LLAVA_FAST_LANES = 32 }; /* of the widest panel */

/* A softmax taken a few keys at a time, for each lane (or all the same, where there is one), begun
 * as {0}. */
typedef struct {
    float most[LLAVA_FAST_LANES], sum[LLAVA_FAST_LANES]; /* so far: largest score; sum of weights */
    float factor[LLAVA_FAST_LANES]; /* what was weighted before is to be multiplied by this */
} llava_fast_softmax;

typedef struct {
    const char *name; /* "portable", "avx2", "avx512", "avx512bf16" */
    size_t lanes;     /* of a panel: two vectors */
    size_t per_unit;  /* numbers: 2 is for runs in bfloat16 only */

    /* y[o][lane] = sum over k of w[o][k] x[k][lane], plus keep[lane] times what y was unless keep
     * is NULL. The matrix kernel: each sum in the order of k; one lane: the row kernel. live: lanes
     * that count, the others may be left alone. x: [n][lanes], laid; y: [outputs][lanes] */
    void (*product)(llava_fast_factor w, float *y, const float *x, size_t n, size_t outputs,
                    size_t lanes, size_t live, const float *keep);
    /* Makes x: [n][lanes] a factor of a product, in place: rounded where the run is in bfloat16,
     * and in pairs (beside an odd last one a zero) where the width has them. */
    void (*lay)(float *x, size_t n, size_t lanes, bool bf16);
    /* n numbers of a file as float32, rounded to that, and from there to bfloat16 where bf16.
     * narrow: as bfloat16, [n]. For little-endian machines. */
    void (*convert)(llava_dtype from, const uint8_t *bytes, size_t n, bool bf16, bool narrow,
                    void *to);

    /* Along a panel of n features; y may be an input. bf16: rounded where the formula has more
     * operations to come. */

    /* y = a + b, rounded. b: [n]; NULL: 0 */
    void (*add)(float *y, const float *a, const float *b, size_t n, size_t lanes, bool bf16);
    /* x = x / (1 + exp(-factor x)), then times `up` unless NULL */
    void (*gate)(float *x, const float *up, float factor, size_t n, bool bf16);
    /* (x_j, x_(j + n)) turned by the angle of cosine_j and sine_j. All: [n][lanes], x: twice that
     */
    void (*rotate)(float *x, const float *cosine, const float *sine, size_t n);
    /* y = (x - mean) / sqrt(var + eps) * weight + bias; bias NULL: RMSNorm, mean taken as 0, the
     * normalised vector rounded before it is weighted. weight, bias: [n] */
    void (*norm)(float *y, const float *x, const float *weight, const float *bias, double eps,
                 size_t n, size_t lanes, bool bf16);
    /* s = exp(scale (s - largest so far)) */
    void (*softmax)(llava_fast_softmax *of, float *s, float scale, size_t n, size_t lanes);
} llava_fast_kernels;

/* Those of each llava_cpu, NULL behind the last. */
extern const llava_fast_kernels *const llava_fast_widths[];

/* The kernels of this name, or the widest of a processor where name is NULL. Unknown, or not among
 * the processor's: refused. A run in float32 has no pairs: it takes the next narrower kernels. */
bool llava_fast_choose(llava_fast_kernels *kernels, const char *name, llava_cpu here, bool bf16,
                       llava_error *e);

#endif
