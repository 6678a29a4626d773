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

/* What the two factors of a product are. A unit is 32 bits of each row of weights. */
typedef enum {
    LLAVA_FAST_FLOATS, /* w: a float32; x: a float32 */
    LLAVA_FAST_BRAIN,  /* w: two bfloat16, the lower k first; x: two float32 */
    LLAVA_FAST_DOT,    /* w and x: two bfloat16 each. Only where the width has it */
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
    bool dot;         /* has LLAVA_FAST_DOT */
    size_t lanes;     /* of a panel: two vectors */

    /* The matrix kernel: y[o][lane] = sum over u of w[o][u] x[u][lane], or that added to y where
     * `add`; each sum in the order of u. live: lanes that count, the others may be left alone.
     * x: [units][lanes], twice the rows for LLAVA_FAST_BRAIN; y: [outputs][lanes] */
    void (*tile)(llava_fast_factor w, float *y, const float *x, size_t units, size_t outputs,
                 size_t live, bool add);
    /* The row kernel: the same for a panel of one lane. */
    void (*dots)(llava_fast_factor w, float *y, const float *x, size_t units, size_t outputs,
                 bool add);
    /* x, whose numbers are bfloat16, as LLAVA_FAST_DOT has it. x: [features][lanes]; pairs:
     * [ceil(features / 2)][lanes] */
    void (*pair)(uint32_t *pairs, const float *x, size_t features, size_t lanes);
    /* n numbers of a float16, float32 or bfloat16 file as float[n], or rounded once as the uint16_t
     * [n] of bfloat16. For little-endian machines. */
    void (*convert)(llava_dtype from, const uint8_t *bytes, size_t n, bool bf16, void *to);

    /* Along a panel of n features; y may be an input. bf16: results are rounded to bfloat16. */

    /* y = a + b, b: [n], or [n][lanes] where `each`; NULL: 0 */
    void (*add)(float *y, const float *a, const float *b, bool each, size_t n, size_t lanes,
                bool bf16);
    /* y = x / (1 + exp(-factor x)), then times `up` unless NULL */
    void (*gate)(float *y, const float *x, const float *up, float factor, size_t n, bool bf16);
    /* (x_j, x_(j + n)) turned by the angle of cosine_j and sine_j. All: [n][lanes], x: twice that
     */
    void (*rotate)(float *x, const float *cosine, const float *sine, size_t n, bool bf16);
    /* y = (x - mean) / sqrt(var + eps) * weight + bias; bias NULL: RMSNorm, mean taken as 0, the
     * normalised vector rounded before it is weighted. weight, bias: [n] */
    void (*norm)(float *y, const float *x, const float *weight, const float *bias, double eps,
                 size_t n, size_t lanes, bool bf16);
    /* s = exp(scale (s - largest so far)). -infinity gives 0 */
    void (*softmax)(llava_fast_softmax *of, float *s, float scale, size_t n, size_t lanes,
                    bool bf16);
    /* y = y * by[lane]; one lane: by[0] everywhere in by */
    void (*times)(float *y, const float *by, size_t n, size_t lanes, bool bf16);
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
