/* The kernels of the fast path: one for matrices, one for rows, and a few that go along the
 * activations. Each is compiled for several widths of vectors; the machine's own is chosen when it
 * runs (kernel.c).
 *
 * Activations lie in panels, x[feature][lane]: `lanes` positions side by side, or one (then a panel
 * is a row). Vectors run over the lanes, so that the weights are read one at a time, as they lie in
 * the file, and nothing is laid out anew. All arithmetic is float32; what is summed along a row of
 * its own (lanes 1) depends in its last digits on the width of the vectors. */
#ifndef LLAVA_FAST_KERNEL_H
#define LLAVA_FAST_KERNEL_H

#include "ref/error.h"
#include "ref/number.h"

#include <stddef.h>
#include <stdint.h>

/* What the two factors of a product are. */
typedef enum {
    LLAVA_FAST_FLOATS, /* float32 both */
    LLAVA_FAST_WIDEN,  /* w: bfloat16, x: float32. Only the row kernel */
    LLAVA_FAST_PAIRS,  /* bfloat16 both, in pairs, the lower k first. Only where the width has it */
} llava_fast_kind;

/* Rows of weights, `stride` bytes apart. */
typedef struct {
    llava_fast_kind kind;
    const uint8_t *rows;
    size_t stride;
} llava_fast_factor;

enum { LLAVA_FAST_LANES = 32 }; /* of the widest panel */

/* A softmax taken a few keys at a time, for each lane (or all the same, where there is one). */
typedef struct {
    float most[LLAVA_FAST_LANES], sum[LLAVA_FAST_LANES]; /* so far: largest score; sum of weights */
    float factor[LLAVA_FAST_LANES]; /* what was weighted before is to be multiplied by this */
} llava_fast_softmax;

typedef struct {
    const char *name; /* "portable", "avx2", "avx512", "avx512bf16" */
    bool dot;         /* has LLAVA_FAST_PAIRS */
    size_t lanes;     /* of a panel: two vectors */

    /* The matrix kernel: y[o][lane] = sum over u of w[o][u] x[u][lane], or that added to y where
     * `add`; each sum in the order of u. A unit is 32 bits: a float32, or a pair. live: lanes that
     * count, the others may be left alone. x: [units][lanes]; y: [outputs][lanes] */
    void (*tile)(llava_fast_factor w, float *y, const float *x, size_t units, size_t outputs,
                 size_t live, bool add);
    /* The row kernel: the same for one lane, n numbers to a sum. x: [n]; y: [outputs] */
    void (*dots)(llava_fast_factor w, float *y, const float *x, size_t n, size_t outputs, bool add);
    /* x, whose numbers are bfloat16, in pairs; beside an odd last one a zero. x: [features][lanes],
     * may be the same memory; pairs: [ceil(features / 2)][lanes] */
    void (*pair)(uint32_t *pairs, const float *x, size_t features, size_t lanes);
    /* n numbers of a file as float[n], or as the uint16_t[n] of bfloat16: rounded to float32, and
     * from there to bfloat16. For little-endian machines. */
    void (*convert)(llava_dtype from, const uint8_t *bytes, size_t n, bool bf16, void *to);

    /* Along a panel of n features; y may be an input. bf16: results are rounded to bfloat16. */

    /* y = a + b, b: [n]; NULL: 0 */
    void (*add)(float *y, const float *a, const float *b, size_t n, size_t lanes, bool bf16);
    /* y = x / (1 + exp(-factor x)), then times `up` unless NULL */
    void (*gate)(float *y, const float *x, const float *up, float factor, size_t n, bool bf16);
    /* (x_j, x_(j + n)) turned by the angle of cosine_j and sine_j. All: [n][lanes], x: twice that
     */
    void (*rotate)(float *x, const float *cosine, const float *sine, size_t n, bool bf16);
    /* y = (x - mean) / sqrt(var + eps) * weight + bias; bias NULL: RMSNorm, mean taken as 0, the
     * normalised vector rounded before it is weighted. weight, bias: [n] */
    void (*norm)(float *y, const float *x, const float *weight, const float *bias, double eps,
                 size_t n, size_t lanes, bool bf16);
    /* s = exp(scale (s - largest so far)) */
    void (*softmax)(llava_fast_softmax *of, float *s, float scale, size_t n, size_t lanes,
                    bool bf16);
    /* y = y * by[lane]; one lane: by[0] everywhere in by */
    void (*times)(float *y, const float *by, size_t n, size_t lanes, bool bf16);
} llava_fast_kernels;

/* Those of all widths, narrowest first, NULL behind the last; and can this machine run one? */
extern const llava_fast_kernels *const llava_fast_widths[];
bool llava_fast_machine_has(const llava_fast_kernels *width);

/* The kernels of this name, or the widest that the machine has where name is NULL. Unknown, or not
 * on this machine by the word of `has`: refused. */
bool llava_fast_choose(llava_fast_kernels *kernels, const char *name,
                       bool (*has)(const llava_fast_kernels *width), llava_error *e);

#endif
