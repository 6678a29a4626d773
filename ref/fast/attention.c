/* Attention of the fast path, a panel of queries against a block of keys at a time: the scores of
 * the block become weights, and what was summed up before them is scaled down where a larger score
 * has come (an online softmax). The score matrix is never there.
 *
 *   s = q k^T    m = max(m, s)    p = exp(scale (s - m))    context = p v / sum p
 *
 * Keys and values are kept as the rows of weights of these two products, in blocks of as many
 * positions, [blocks][layers][batch][kv_heads]: keys [KEYS][d], values [d][KEYS], each row in
 * units of its own. */
#include "parts.h"

#include <float.h>
#include <string.h>

enum { KEYS = LLAVA_FAST_KEYS };

/* Units in a block's keys, in a block of one head, in those of all layers and samples' heads. */
typedef struct {
    size_t wide, keys, block, all;
} sizes;

static sizes sizes_of(const llava_fast *f, const llava_fast_heads *of, const llava_fast_rows *rows)
{
    size_t wide = llava_fast_units(f, of->d), keys = KEYS * wide;
    size_t block = keys + of->d * llava_fast_units(f, KEYS);
    return (sizes){wide, keys, block, of->layers * rows->batch * of->kv_heads * block};
}

/* The block where the position t of a sample's head is. */
static uint32_t *block_of(const llava_fast *f, const llava_fast_heads *of,
                          const llava_fast_rows *rows, size_t t, size_t sample, size_t head)
{
    sizes n = sizes_of(f, of, rows);
    size_t at = (of->layer * rows->batch + sample) * of->kv_heads + head;
    return f->cache + t / KEYS * n.all + at * n.block;
}

bool llava_fast_keep(llava_fast *f, const llava_fast_heads *of, size_t past,
                     const llava_fast_rows *rows, float *k, const float *v, llava_error *e)
{
    sizes n = sizes_of(f, of, rows);
    size_t d = of->d, size = sizeof(uint32_t) / f->kernel.per_unit, bytes;
    if (!llava_mul((past + rows->length + KEYS - 1) / KEYS, n.all * sizeof(uint32_t), &bytes)) {
        return llava_fail(e, "out of memory (keys and values of %zu positions)", past);
    }
    if (bytes > f->cache_bytes) {
        uint32_t *more = llava_realloc(e, f->cache, bytes, 1);
        if (more == NULL) {
            return false;
        }
        f->cache = more;
        f->cache_bytes = bytes;
    }
    llava_fast_panel p = {0};
    for (size_t i = 0; i > 0 || llava_fast_next(rows, &p); i = (i + 1) % of->kv_heads) {
        f->kernel.lay(k, d, p.lanes, f->bf16);
        for (size_t lane = 0, some; lane < p.live; lane += some) {
            size_t t = past + p.row % rows->length + lane, at = t % KEYS;
            uint32_t *keys = block_of(f, of, rows, t, p.row / rows->length, i);
            uint8_t *values = (uint8_t *)(keys + n.keys);
            if (at == 0) {
                memset(keys, 0, n.block * sizeof *keys); /* what is not there is finite */
            }
            some = llava_fast_least(p.live - lane, KEYS - at);
            for (size_t j = 0; j < n.wide; j++) {
                for (size_t l = 0; l < some; l++) {
                    memcpy(keys + (at + l) * n.wide + j, k + j * p.lanes + lane + l, sizeof *keys);
                }
            }
            for (size_t j = 0; j < d; j++) {
                f->kernel.convert(LLAVA_F32, (const uint8_t *)(v + j * p.lanes + lane), some,
                                  f->bf16, values + (j * KEYS + at) * size);
            }
        }
        k += d * p.lanes;
        v += d * p.lanes;
    }
    return true;
}

/* What the live lanes see, visible: [live, keys], as what is added to their scores, mask:
 * [keys][lanes]; no key from the result on is seen. -FLT_MAX swallows a score; for every key, where
 * a query sees none, it gives them all the same weight. */
static size_t look(float *mask, const uint8_t *visible, size_t keys, const llava_fast_panel *p)
{
    size_t reach = 0;
    for (size_t lane = 0; lane < p->live; lane++, visible += keys) {
        size_t end = 0;
        for (size_t t = 0; t < keys; t++) {
            mask[t * p->lanes + lane] = visible[t] ? 0 : -FLT_MAX;
            end = visible[t] ? t + 1 : end;
        }
        end = end == 0 ? keys : end;
        reach = end > reach ? end : reach;
    }
    return reach;
}

/* One query head of a panel against `reach` keys, their first block at `keys`. mask: NULL: none;
 * q, context: [d][lanes] */
static void attend(const llava_fast *f, const llava_fast_heads *of, sizes size,
                   const llava_fast_panel *p, size_t reach, const float *mask, const uint32_t *keys,
                   float *q, float *context)
{
    const llava_fast_kernels *kernel = &f->kernel;
    size_t d = of->d, lanes = p->lanes, wide = llava_fast_units(f, KEYS);
    bool narrow = kernel->per_unit == 2;
    llava_fast_softmax soft = {.sum = {0}};
    for (size_t i = 0; i < LLAVA_FAST_LANES; i++) {
        soft.most[i] = -FLT_MAX;
    }
    kernel->lay(q, d, lanes, f->bf16);
    for (size_t t = 0; t < reach; t += KEYS) {
        size_t n = llava_fast_least(reach - t, KEYS);
        const uint32_t *at = keys + t / KEYS * size.all;
        llava_fast_factor k = {at, size.wide * sizeof *at, narrow};
        llava_fast_factor v = {at + size.keys, wide * sizeof *at, narrow};
        kernel->product(k, of->scores, q, d, n, lanes, p->live, NULL);
        if (mask != NULL) {
            kernel->add(of->scores, of->scores, mask + t * lanes, n * lanes, 1, false);
        }
        kernel->softmax(&soft, of->scores, of->scale, n, lanes);
        kernel->lay(of->scores, n, lanes, f->bf16);
        kernel->product(v, context, of->scores, n, d, lanes, p->live, t == 0 ? NULL : soft.factor);
    }
    for (size_t i = 0; i < LLAVA_FAST_LANES; i++) {
        soft.sum[i] = 1 / soft.sum[i];
    }
    /* a product of nothing: what was is scaled */
    kernel->product((llava_fast_factor){keys, 0, narrow}, context, q, 0, d, lanes, p->live,
                    soft.sum);
}

void llava_fast_attention(const llava_fast *f, const llava_fast_heads *of, size_t keys,
                          const llava_fast_rows *rows, float *q, float *context)
{
    size_t d = of->d, group = of->heads / of->kv_heads, reach = keys;
    for (llava_fast_panel p = {0}; llava_fast_next(rows, &p);) {
        float *mask = of->visible == NULL ? NULL : of->scores + KEYS * rows->lanes;
        if (mask != NULL) {
            reach = look(mask, of->visible + p.row * keys, keys, &p);
        }
        for (size_t h = 0; h < of->heads; h++, q += d * p.lanes, context += d * p.lanes) {
            const uint32_t *from = block_of(f, of, rows, 0, p.row / rows->length, h / group);
            attend(f, of, sizes_of(f, of, rows), &p, reach, mask, from, q, context);
        }
        f->kernel.lay(context - of->heads * d * p.lanes, of->heads * d, p.lanes, f->bf16);
    }
}
