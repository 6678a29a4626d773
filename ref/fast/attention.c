/* Attention of the fast path, a panel of queries against a block of keys at a time: the scores of
 * the block become weights, and what was summed up before them is scaled down where a larger score
 * has come (an online softmax). The score matrix is never there.
 *
 *   s = q k^T    m = max(m, s)    p = exp(scale (s - m))    context = p v / sum p
 *
 * Keys and values are kept as the rows of weights of these two products, in blocks of as many
 * positions, [blocks][layers][batch][kv_heads]: keys [KEYS][d], values [d][KEYS], d filled up to
 * whole units. */
#include "parts.h"

#include <float.h>
#include <string.h>

enum { KEYS = LLAVA_FAST_KEYS };

/* Units of a block's keys, or values, of one head. */
static size_t half_of(const llava_fast_block *b)
{
    return KEYS * llava_fast_units(b->f, b->d);
}

/* The block of a panel's head where the position t is. */
static uint32_t *block_of(const llava_fast_block *b, const llava_fast_panel *p, size_t head,
                          size_t t)
{
    size_t sample = p->row / b->rows.length, layer = t / KEYS * b->slots + b->slot;
    size_t at = (layer * b->rows.batch + sample) * b->kv_heads + head;
    return b->f->cache + at * 2 * half_of(b);
}

static bool reserve(const llava_fast_block *b)
{
    size_t count = b->pass->past + b->rows.length, bytes;
    size_t each = b->slots * b->rows.batch * b->kv_heads * 2 * half_of(b) * sizeof *b->f->cache;
    if (!llava_mul((count + KEYS - 1) / KEYS, each, &bytes)) {
        return llava_fail(b->r->error, "out of memory (keys and values of %zu positions)", count);
    }
    if (bytes > b->f->cache_bytes) {
        uint32_t *more = llava_realloc(b->r->error, b->f->cache, bytes, 1);
        if (more == NULL) {
            return false;
        }
        b->f->cache = more;
        b->f->cache_bytes = bytes;
    }
    return true;
}

/* Puts a panel's k and v: [d][lanes] of one head there. */
static void keep(const llava_fast_block *b, const llava_fast_panel *p, size_t head, const float *k,
                 const float *v)
{
    const llava_fast_kernels *kernel = &b->f->kernel;
    bool narrow = kernel->per_unit == 2;
    size_t half = half_of(b), wide = half / KEYS;
    for (size_t lane = 0, some; lane < p->live; lane += some) {
        size_t t = b->pass->past + p->row % b->rows.length + lane, at = t % KEYS;
        uint32_t *keys = block_of(b, p, head, t);
        if (at == 0) {
            memset(keys, 0, 2 * half * sizeof *keys); /* what is not there is finite */
        }
        some = llava_fast_least(p->live - lane, KEYS - at);
        for (size_t j = 0; j < wide; j++) {
            for (size_t l = 0; l < some; l++) {
                memcpy(keys + (at + l) * wide + j, k + j * p->lanes + lane + l, sizeof *keys);
            }
        }
        for (size_t j = 0; j < b->d; j++) {
            uint8_t *values = (uint8_t *)(keys + half) + (j * KEYS + at) * (narrow ? 2 : 4);
            kernel->convert(LLAVA_F32, (const uint8_t *)(v + j * p->lanes + lane), some, b->f->bf16,
                            narrow, values);
        }
    }
}

bool llava_fast_keep(const llava_fast_block *b, float *k, const float *v)
{
    if (!reserve(b)) {
        return false;
    }
    for (llava_fast_panel p = {0}; llava_fast_next(&b->rows, &p);) {
        for (size_t h = 0; h < b->kv_heads; h++, k += b->d * p.lanes, v += b->d * p.lanes) {
            b->f->kernel.lay(k, b->d, p.lanes, b->f->bf16);
            keep(b, &p, h, k, v);
        }
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

/* One query head of a panel against the first `reach` keys. mask: NULL: none; q, context:
 * [d][lanes] */
static void attend(const llava_fast_block *b, const llava_fast_panel *p, size_t head, size_t reach,
                   const float *mask, float *q, float *context)
{
    const llava_fast_kernels *kernel = &b->f->kernel;
    size_t d = b->d, lanes = p->lanes, half = half_of(b);
    float *scores = b->pass->scores;
    llava_fast_factor k = {.stride = half / KEYS * sizeof(uint32_t)}, v = k;
    v.stride = llava_fast_units(b->f, KEYS) * sizeof(uint32_t);
    v.narrow = k.narrow = kernel->per_unit == 2;
    llava_fast_softmax soft = {.sum = {0}};
    kernel->lay(q, d, lanes, b->f->bf16);
    for (size_t t = 0; t < reach; t += KEYS) {
        size_t n = llava_fast_least(reach - t, KEYS);
        k.rows = block_of(b, p, head / (b->heads / b->kv_heads), t);
        v.rows = (const uint32_t *)k.rows + half;
        kernel->product(k, scores, q, d, n, lanes, p->live, NULL);
        if (mask != NULL) {
            kernel->add(scores, scores, mask + t * lanes, n * lanes, 1, false);
        }
        kernel->softmax(&soft, scores, (float)b->scale, n, lanes);
        kernel->lay(scores, n, lanes, b->f->bf16);
        kernel->product(v, context, scores, n, d, lanes, p->live, t == 0 ? NULL : soft.factor);
    }
    for (size_t i = 0; i < LLAVA_FAST_LANES; i++) {
        soft.sum[i] = 1 / soft.sum[i];
    }
    /* a product of nothing: what was is scaled */
    kernel->product(v, context, scores, 0, d, lanes, p->live, soft.sum);
}

void llava_fast_attention(const llava_fast_block *b, float *q, float *context)
{
    const uint8_t *visible = b->pass->visible;
    size_t keys = b->pass->past + b->rows.length, reach = keys;
    float *mask = visible == NULL ? NULL : b->pass->scores + KEYS * b->rows.lanes;
    for (llava_fast_panel p = {0}; llava_fast_next(&b->rows, &p);) {
        size_t width = b->d * p.lanes;
        if (mask != NULL) {
            reach = look(mask, visible + p.row * keys, keys, &p);
        }
        for (size_t h = 0; h < b->heads; h++) {
            attend(b, &p, h, reach, mask, q + h * width, context + h * width);
        }
        b->f->kernel.lay(context, b->heads * b->d, p.lanes, b->f->bf16);
        q += b->heads * width;
        context += b->heads * width;
    }
}
