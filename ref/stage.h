/* What every stage of the model works with: the run (weights, plan, sink, scratch memory) and the
 * few helpers that keep a stage's text close to its formula. */
#ifndef LLAVA_STAGE_H
#define LLAVA_STAGE_H

#include "checkpoint.h"
#include "plan.h"
#include "tap.h"

typedef struct llava_scratch_block llava_scratch_block;
typedef struct llava_fast llava_fast;

/* Some of the rows of a matrix. */
typedef struct {
    const bool *wanted; /* [count] */
    size_t count;
} llava_some_rows;

typedef struct {
    const llava_checkpoint *weights;
    const llava_plan *plan;
    const llava_sink *sink; /* NULL: nobody listens */
    const char *prefix;     /* in front of every tap's name: "", or "step.3." while decoding */
    llava_fast *fast;       /* --path fast: its state; NULL: the plain path */
    llava_error *error;
    llava_scratch_block *scratch;
    /* While diagnosing: products by name of so many rows, and the attention of so many queries, are
     * computed for the wanted ones alone, in the others stays what was there. NULL: for all. */
    const llava_some_rows *only;
    size_t chunk; /* positions of the prompt at a time, over a warm cache; 0: all at once. The sink
                     must not change taps of the language model then. */
} llava_run;

/* ---- scratch memory: taken in any order, given back all at once down to a mark ------------- */

/* rows * width doubles, zeroed; NULL with the run's error set where there is no memory. */
double *llava_scratch(llava_run *r, size_t rows, size_t width);
llava_scratch_block *llava_scratch_mark(const llava_run *r);
void llava_scratch_release(llava_run *r, llava_scratch_block *mark);

/* ---- taps ---------------------------------------------------------------------------------- */

typedef struct {
    int rank;
    size_t size[LLAVA_MAX_RANK];
} llava_shape;

/* Is the tap of this name (printf format, then layer numbers) asked for? */
bool llava_wanted(const llava_run *r, const char *format, ...) LLAVA_PRINTF(2, 3);

/* Hands a tensor of the storage type to the sink, which may change it. */
bool llava_put(llava_run *r, double *x, llava_shape shape, const char *format, ...)
    LLAVA_PRINTF(4, 5);
/* The same for a tensor of a given type (ids, masks, pictures, pixel values). */
bool llava_put_typed(llava_run *r, llava_dtype type, void *data, llava_shape shape,
                     const char *name);

/* ---- operations on weights by name (printf format, then layer numbers) ------------------------
 */

/* y = x W^T (+ b) with NAME.weight [outputs, inner] and, if biased, NAME.bias [outputs]. */
bool llava_linear_by_name(llava_run *r, double *y, const double *x, size_t rows, size_t inner,
                          size_t outputs, bool biased, const char *format, ...) LLAVA_PRINTF(8, 9);
/* The same of this very name, by numbers of its own. */
bool llava_linear_by(llava_run *r, const llava_numerics *n, double *y, const double *x, size_t rows,
                     size_t inner, size_t outputs, bool biased, const char *name);

/* What that is made of: NAME.weight and, if biased, NAME.bias, looked up and of these shapes. */
bool llava_linear_weights(llava_run *r, llava_weight *weight, llava_weight *bias, size_t inner,
                          size_t outputs, bool biased, const char *name);

/* LayerNorm with NAME.weight and NAME.bias [width]. */
bool llava_layer_norm_by_name(llava_run *r, double *y, const double *x, size_t rows, size_t width,
                              double eps, const char *format, ...) LLAVA_PRINTF(7, 8);

/* RMSNorm with NAME.weight [width]. */
bool llava_rms_norm_by_name(llava_run *r, double *y, const double *x, size_t rows, size_t width,
                            double eps, const char *format, ...) LLAVA_PRINTF(7, 8);

/* A whole vector NAME [count] in the storage type. */
bool llava_vector_by_name(llava_run *r, double *out, size_t count, const char *format, ...)
    LLAVA_PRINTF(4, 5);

/* ---- attention, the same in the tower and in the language model -------------------------------
 */

typedef struct {
    const char *name; /* "vision" or "text": taps are NAME.layers.LAYER.attn.* */
    size_t layer;
    size_t batch, queries, keys; /* B, S, S' */
    size_t heads, kv_heads, head_dim;
    bool kv_interleaved; /* query head i reads k/v head i mod kv_heads, not i / group */
    double scale;
    const double *q;        /* [B, S, heads, d] */
    const double *k, *v;    /* [B, kv_rows, kv_heads, d], the first S' rows of each sample count */
    size_t kv_rows;         /* rows between two samples of k and v */
    const uint8_t *visible; /* [B, S, S'], NULL: every key is seen */
    const double *bias;     /* [B, S, S'], added to the scores of seen keys; NULL: nothing */
    /* A sample whose positions lie in runs that see only each other: their lengths. Each run is
     * then computed by itself, in the square of its own length: the same bits, as keys behind a
     * mask add exact zeros. NULL: one run of all. With visible NULL, one sample, and no tap of
     * scores. */
    const size_t *runs;
    size_t run_count;
} llava_attention_of;

/* context[b,s,h,:] = sum over t of softmax(scale q k^T)[b,h,s,t] v[b,t,h',:], heads concatenated.
 * Source: transformers eager_attention_forward, spec 2.1, 4.1, 5.2. */
bool llava_attention(llava_run *r, const llava_attention_of *a, double *context);

#endif
