/* What the files of the fast path share: panels, products with weights, attention. */
#ifndef LLAVA_FAST_PARTS_H
#define LLAVA_FAST_PARTS_H

#include "fast.h"
#include "kernel.h"

enum {
    /* so many rows of weights, of so many units, stay in the second cache while panels pass */
    LLAVA_FAST_OUTPUTS = 64,
    LLAVA_FAST_UNITS = 1024,
    LLAVA_FAST_APART = 16, /* units between rows: a power of two would have them in one set */
    LLAVA_FAST_KEYS = 128  /* at once: their scores stay in the first cache */
};

struct llava_fast {
    llava_fast_kernels kernel;
    bool bf16;                    /* the run's type, else float32 */
    float ones[LLAVA_FAST_LANES]; /* keeps what was */
    uint32_t *cache;              /* keys and values (attention.c) */
    size_t cache_bytes;
    /* weights that do not lie ready */
    uint32_t block[LLAVA_FAST_OUTPUTS][LLAVA_FAST_UNITS + LLAVA_FAST_APART];
};

static inline size_t llava_fast_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The positions first .. length - 1 of each sample, `lanes` to a panel, [feature][lane]. The few of
 * a sample that do not fill one are panels of one lane; if they are many, a panel in part. */
typedef struct {
    size_t batch, first, length, lanes;
} llava_fast_rows;

/* One panel: its first row among all batch * length; its lanes and those that count; numbers of
 * each feature in the panels before it. */
typedef struct {
    size_t row, lanes, live, before;
} llava_fast_panel;

/* The panel behind this one, behind {0} the first. False behind the last: `before` counts all. */
bool llava_fast_next(const llava_fast_rows *rows, llava_fast_panel *panel);

/* Panels of these rows from and to x: [batch, length, width]. */
void llava_fast_pack(const llava_fast_rows *rows, size_t width, const double *x, float *panels);
void llava_fast_unpack(const llava_fast_rows *rows, size_t width, const float *panels, double *x);

/* Units that n numbers of a factor take. */
size_t llava_fast_units(const llava_fast *f, size_t n);
/* y = x W^T (+ b), rounded. x: panels of `inner` features, laid; W: [outputs, inner]; bias:
 * [outputs], NULL: none; y: panels of `outputs` features */
void llava_fast_product(llava_fast *f, float *y, const float *x, const llava_fast_rows *rows,
                        const llava_weight *w, const llava_weight *bias);

/* A layer at work. */
typedef struct {
    llava_run *r;
    llava_fast *f;
    llava_fast_pass *pass;
    const struct llava_fast_names *of; /* block.c */
    size_t layer, hidden, intermediate;
    bool norm_bias, qkv_bias, out_bias, mlp_bias;
    double eps;
    llava_act act;
    size_t heads, kv_heads, d; /* of queries; of keys and values; numbers of each */
    double scale;
    size_t slot, slots;   /* whose keys and values these are, of how many that are kept */
    llava_fast_rows rows; /* that are computed */
} llava_fast_block;

/* Puts new rows behind the past ones. k, v: panels of kv_heads * d features; k is lost */
bool llava_fast_keep(const llava_fast_block *b, float *k, const float *v);
/* context = softmax(scale q k^T) v over all kept rows, laid. A query that sees no key has the mean
 * of all values. q, context: panels of heads * d features; q is lost */
void llava_fast_attention(const llava_fast_block *b, float *q, float *context);

#endif
