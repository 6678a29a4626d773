/* What the files of the fast path share: its state, panels, products with weights, attention. */
#ifndef LLAVA_FAST_PARTS_H
#define LLAVA_FAST_PARTS_H

#include "fast.h"
#include "kernel.h"

/* Memory that grows and is used again. */
typedef struct {
    void *at;
    size_t bytes;
} llava_fast_room;

struct llava_fast {
    llava_fast_kernels kernel;
    llava_fast_room w, vector, weight;  /* weights that do not lie ready; a bias, a norm's weight */
    llava_fast_room h, a, wide, scores; /* activations */
    llava_fast_room cosine, sine;
    size_t layers;
    llava_fast_room *caches; /* [layers]: keys and values (attention.c) */
};

/* rows * width 32-bit numbers; the contents are lost. NULL with an error where there is no memory.
 */
void *llava_fast_take(llava_fast_room *room, size_t rows, size_t width, llava_error *e);

/* The positions first .. length - 1 of each sample, `lanes` to a panel, [feature][lane]. The few of
 * a sample that do not fill one are panels of one lane; if they are many, a panel in part. */
typedef struct {
    size_t batch, first, length, lanes;
} llava_fast_rows;

/* One panel: its sample, its first row among all batch * length, its lanes and those that count;
 * numbers of each feature in the panels before it. */
typedef struct {
    size_t sample, row, lanes, live, before;
} llava_fast_panel;

size_t llava_fast_panels(const llava_fast_rows *rows);
llava_fast_panel llava_fast_panel_at(const llava_fast_rows *rows, size_t panel);
/* Numbers of each feature in all of them. */
size_t llava_fast_numbers(const llava_fast_rows *rows);

/* Panels of these rows from and to x: [batch, length, width]. */
float *llava_fast_pack(llava_fast *f, llava_fast_room *room, bool bf16, const llava_fast_rows *rows,
                       size_t width, const double *x, llava_error *e);
void llava_fast_unpack(const llava_fast_rows *rows, size_t width, const float *panels, double *x);

/* Makes a panel a factor of a product, in place: pairs, where bfloat16 is multiplied in such. */
void llava_fast_lay(const llava_fast *f, bool bf16, float *panel, size_t inner, size_t lanes);
/* y = w x, or that added to y, for one panel: the matrix kernel, or the row kernel where the panel
 * has one lane. x: a laid panel of `inner` features; y: [outputs][lanes] */
void llava_fast_multiply(const llava_fast *f, llava_fast_factor w, float *y, const float *x,
                         size_t inner, size_t outputs, size_t lanes, size_t live, bool add);
/* y = x W^T (+ b), in bfloat16 where bf16. x: panels of `inner` features, laid; W: [outputs,
 * inner]; bias: [outputs], NULL: none; y: panels of `outputs` features */
bool llava_fast_product(llava_fast *f, bool bf16, float *y, const float *x,
                        const llava_fast_rows *rows, size_t inner, size_t outputs,
                        const llava_weight *w, const float *bias, llava_error *e);

/* The attention of one layer: `heads` of queries to kv_heads of keys and values, d numbers each. */
typedef struct {
    size_t heads, kv_heads, d;
    bool bf16; /* the run's type: weights and context are rounded, q, k and v hold such numbers */
    double scale;
    const uint8_t *visible; /* [batch, length, keys], NULL: every key */
    llava_fast_room *cache;
} llava_fast_heads;

/* Puts new rows behind the `past` ones. k, v: panels of kv_heads * d features */
bool llava_fast_keep(const llava_fast *f, const llava_fast_heads *of, size_t past,
                     const llava_fast_rows *rows, const float *k, const float *v, llava_error *e);
/* context = softmax(scale q k^T) v over the first `keys` kept rows, laid. A query that sees no key
 * has the mean of all values. q, context: panels of heads * d features */
bool llava_fast_attention(llava_fast *f, const llava_fast_heads *of, size_t keys,
                          const llava_fast_rows *rows, const float *q, float *context,
                          llava_error *e);

#endif
