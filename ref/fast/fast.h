/* The reduced optimized path (--path fast): the inside of the blocks and the products with weights,
 * in float32, or in bfloat16 with float32 sums, one thread, as fast as one core allows. Everything
 * around them is the plain path's own text.
 *
 * Reduced: blocks as CLIP and Llama have them, no decisions, no taps inside a block. It is a port
 * like any other and is judged like one: its last digits depend on the machine, and
 * `llava-ref diff --peer` says whether they are honest. */
#ifndef LLAVA_FAST_H
#define LLAVA_FAST_H

#include "ref/stage.h"

/* Can this plan be run at all? What the fast path lacks is refused by name. */
bool llava_fast_check(const llava_plan *plan, llava_error *e);

/* For runs in this type. width: the vectors to use, "portable", "avx2", "avx512" or "avx512bf16"
 * (with float32 the same as avx512); NULL: the widest that this machine has. */
bool llava_fast_open(llava_fast **fast, llava_dtype type, const char *width, llava_error *e);
void llava_fast_close(llava_fast *fast);

/* Does the fast path hand out this tap? */
bool llava_fast_has_tap(const char *name);

/* y = x W^T (+ b), rounded, as llava_linear has it. x: [rows, inner]; y: [rows, outputs] */
bool llava_fast_linear(llava_run *r, double *y, const double *x, size_t rows, const llava_weight *w,
                       const llava_weight *bias);

/* One pass over layers of the tower or of the language model. */
typedef struct {
    size_t batch, length, past;  /* B, S, cached positions; pictures, their rows, 0 */
    size_t needed;               /* last positions of each sample that the last layer finishes */
    bool keep;                   /* keys and values stay for the steps that follow, in r->fast */
    const double *cosine, *sine; /* [B, S, d]; the tower has none */
    const uint8_t *visible;      /* [B, S, past + S], NULL: everything */
    /* The state between two layers is in the path's own panels, with the caller's rows stale until
     * a layer hands them out. It does so where its tap is wanted, or `out` asks for it. */
    bool inside, out;
    /* panels in scratch memory, which the caller releases. NULL before the first layer: the state;
     * three to work with; tables */
    float *h, *a, *wide, *scores, *cosines, *sines;
} llava_fast_pass;

/* One encoder layer of the tower on h: [N, T, D]. */
bool llava_fast_vision_layer(llava_run *r, size_t layer, llava_fast_pass *pass, double *h);
/* One decoder layer on x: [B, S, H]. */
bool llava_fast_text_layer(llava_run *r, size_t layer, llava_fast_pass *pass, double *x);

#endif
