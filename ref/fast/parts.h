/* What the files of the fast path share: its state, products with weights, attention. */
#ifndef LLAVA_FAST_PARTS_H
#define LLAVA_FAST_PARTS_H

#include "fast.h"
#include "kernel.h"

/* Memory that grows and is used again: nothing is zeroed, so that no page is touched in vain. */
typedef struct {
    void *at;
    size_t bytes;
} llava_fast_room;

/* rows * width 32-bit numbers, large ones on huge pages; the contents are lost. NULL with an error
 * where there is no memory. */
void *llava_fast_take(llava_fast_room *room, size_t rows, size_t width, llava_error *e);

/* Keys and values of one layer as the right-hand sides of products: for each sample and head, keys
 * [capacity / tile][d][tile], values [value_tiles][capacity][tile]. */
typedef struct {
    size_t batch, heads, d, tile, value_tiles, capacity;
    llava_fast_room keys, values;
} llava_fast_cache;

typedef struct llava_fast_kept llava_fast_kept;

struct llava_fast {
    llava_fast_kernels kernel;
    llava_fast_room x, pairs, w;                /* factors laid out */
    llava_fast_room scores, sums, reach;        /* of attention */
    llava_fast_room h, a, wide, vector, weight; /* activations; a bias, a norm's weight */
    llava_fast_kept *kept;                      /* weights laid out for the steps of a generation */
    bool keep;
    size_t layers;
    llava_fast_cache *caches; /* [layers] */
};

/* The largest height of a tile that `rows` rows fill. */
size_t llava_fast_height(const llava_fast_kernels *kernel, size_t rows);

/* to[u * width + lane] = the 32 bits at from + lane * stride + 4 u, for `lanes` lanes of `units`.
 */
void llava_fast_interleave(uint32_t *to, size_t width, const void *from, size_t stride,
                           size_t lanes, size_t units);

/* y = x W^T in float32, not rounded. bf16: x and w are taken as bfloat16 (x holds such numbers).
 * x: [rows, inner]; W: [outputs, inner]; y: [rows, outputs]. */
bool llava_fast_product(llava_fast *f, bool bf16, float *y, const float *x, size_t rows,
                        size_t inner, size_t outputs, const llava_weight *w, llava_error *e);

void llava_fast_forget(llava_fast *f); /* drops the kept weights */

/* Room for `rows` positions of each sample; the `used` ones stay. */
bool llava_fast_cache_reserve(llava_fast_cache *cache, size_t used, size_t rows, llava_error *e);
void llava_fast_cache_free(llava_fast_cache *cache);
/* New rows behind the used ones. k, v: [B, length, heads, d]. */
void llava_fast_cache_store(llava_fast_cache *cache, size_t used, const float *k, const float *v,
                            size_t length);

/* context = softmax(scale q k^T) v, heads side by side, rounded if bf16. q, context: [B, length,
 * heads, d]; visible: [B, length, keys], NULL: every key. A query that sees no key has the mean of
 * all values. */
bool llava_fast_attention(llava_fast *f, bool bf16, const llava_fast_cache *cache, size_t keys,
                          size_t length, size_t heads, double scale, const uint8_t *visible,
                          const float *q, float *context, llava_error *e);

#endif
