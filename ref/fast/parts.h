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

/* The positions first .. length - 1 of each sample, in panels [batch][panels][feature][lanes]; a
 * sample begins with a panel of its own. */
typedef struct {
    size_t batch, first, length, lanes;
} llava_fast_rows;

/* Keys [batch * heads][capacity][even d] and values [batch * heads][d][capacity] of one layer, the
 * rows of weights of attention's two products; bfloat16 in a run of that type, else float32. */
typedef struct {
    size_t batch, heads, d, capacity;
    bool bf16;
    llava_fast_room keys, values;
} llava_fast_cache;

struct llava_fast {
    llava_fast_kernels kernel;
    llava_fast_room x, w;                               /* factors that do not lie ready */
    llava_fast_room h, a, wide, scores, vector, weight; /* activations; a bias, a norm's weight */
    llava_fast_room cosine, sine;
    size_t layers;
    llava_fast_cache *caches; /* [layers] */
};

/* rows * width 32-bit numbers; the contents are lost. NULL with an error where there is no memory.
 */
void *llava_fast_take(llava_fast_room *room, size_t rows, size_t width, llava_error *e);

/* Panels of a sample, of all samples, and how many lanes of one count. */
size_t llava_fast_panels(const llava_fast_rows *rows);
size_t llava_fast_live(const llava_fast_rows *rows, size_t panel);

/* Panels of these rows (32 numbers of each feature) from and to x: [batch, length, width]. */
float *llava_fast_pack(llava_fast *f, llava_fast_room *room, bool bf16, const llava_fast_rows *rows,
                       size_t width, const double *x, llava_error *e);
void llava_fast_unpack(const llava_fast_rows *rows, size_t width, const float *panels, double *x);

/* A panel's factor x as this kind of product wants it: itself, or laid out at `to`. x: [inner]
 * [lanes] */
const float *llava_fast_lay(const llava_fast *f, llava_fast_kind kind, const float *x, size_t inner,
                            size_t lanes, float *to);
size_t llava_fast_units(llava_fast_kind kind, size_t inner);
/* Rows of numbers of this type; of bfloat16, products of pairs where the width has them. */
llava_fast_kind llava_fast_kind_of(const llava_fast *f, bool stored_bf16, bool x_bf16);

/* y = x W^T in float32, not rounded. bf16: x and w are taken as bfloat16 (x holds such numbers).
 * x: panels of `inner` features; W: [outputs, inner]; y: panels of `outputs` features */
bool llava_fast_product(llava_fast *f, bool bf16, float *y, const float *x,
                        const llava_fast_rows *rows, size_t inner, size_t outputs,
                        const llava_weight *w, llava_error *e);

/* Room for `length` positions of each sample; the `used` ones stay. */
bool llava_fast_cache_reserve(llava_fast_cache *cache, size_t used, size_t length, llava_error *e);
void llava_fast_cache_free(llava_fast_cache *cache);
/* New rows behind the used ones. k, v: panels of heads * d features */
void llava_fast_cache_store(llava_fast_cache *cache, size_t used, const float *k, const float *v,
                            const llava_fast_rows *rows);

/* context = softmax(scale q k^T) v, heads side by side, rounded if bf16. q, context: panels of
 * heads * d features; visible: [batch, length, keys], NULL: every key. A query that sees no key has
 * the mean of all values. */
bool llava_fast_attention(llava_fast *f, bool bf16, const llava_fast_cache *cache, size_t keys,
                          const llava_fast_rows *rows, size_t heads, double scale,
                          const uint8_t *visible, const float *q, float *context, llava_error *e);

#endif
