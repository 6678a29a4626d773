/* Attention of the fast path, a panel of queries against a block of keys at a time: the scores of
 * the block become weights, and what was summed up before them is scaled down where a larger score
 * has come (an online softmax). The score matrix is never there.
 *
 *   s = q k^T    m = max(m, s)    p = exp(scale (s - m))    context = p v / sum p
 *
 * Keys and values are kept as the rows of weights of these two products, in blocks of as many
 * positions, [blocks][batch][kv_heads]: keys [KEYS][even d], values [even d][KEYS]. They are
 * bfloat16 where the matrix kernel multiplies such, else float32. */
#include "parts.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 128 }; /* at once: their scores stay in the first cache */

/* ---- keys and values ----------------------------------------------------------------------------
 */

static size_t even(size_t n)
{
    return n + n % 2;
}

static bool is_narrow(const llava_fast *f, const llava_fast_heads *of)
{
    return of->bf16 && f->kernel.dot;
}

/* Bytes of n numbers; of a block of keys, or of values. */
static size_t size_of(bool narrow, size_t n)
{
    return n * (narrow ? sizeof(uint16_t) : sizeof(float));
}

/* The i-th number there becomes x, which is a bfloat16 where narrow. */
static inline void put(bool narrow, uint8_t *at, size_t i, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (narrow) {
        memcpy(at + 2 * i, (uint16_t[]){(uint16_t)(bits >> 16)}, sizeof(uint16_t));
    } else {
        memcpy(at + 4 * i, &bits, sizeof bits);
    }
}

bool llava_fast_keep(const llava_fast *f, const llava_fast_heads *of, size_t past,
                     const llava_fast_rows *rows, const float *k, const float *v, llava_error *e)
{
    bool narrow = is_narrow(f, of);
    size_t d = of->d, half = size_of(narrow, KEYS * even(d));
    size_t heads = rows->batch * of->kv_heads, count = llava_fast_panels(rows) * of->kv_heads;
    size_t blocks = (past + rows->length + KEYS - 1) / KEYS, bytes;
    if (!llava_mul(blocks, 2 * half * heads, &bytes)) {
        return llava_fail(e, "out of memory (keys and values of %zu positions)", past);
    }
    if (bytes > of->cache->bytes) {
        void *more = llava_realloc(e, of->cache->at, bytes, 1);
        if (more == NULL) {
            return false;
        }
        *of->cache = (llava_fast_room){more, bytes};
    }
    for (size_t i = 0; i < count; i++) {
        llava_fast_panel p = llava_fast_panel_at(rows, i / of->kv_heads);
        size_t head = p.sample * of->kv_heads + i % of->kv_heads;
        for (size_t lane = 0, some; lane < p.live; lane += some) {
            size_t t = past + p.row - p.sample * rows->length + lane, at = t % KEYS;
            uint8_t *keys = (uint8_t *)of->cache->at + (t / KEYS * heads + head) * 2 * half;
            if (at == 0) {
                memset(keys, 0, 2 * half); /* what is not there multiplies zeros, and is finite */
            }
            some = p.live - lane < KEYS - at ? p.live - lane : KEYS - at;
            for (size_t j = 0; j < d; j++) {
                const float *from = k + j * p.lanes + lane, *values = v + j * p.lanes + lane;
                for (size_t l = 0; l < some; l++) {
                    put(narrow, keys, (at + l) * even(d) + j, from[l]);
                }
                f->kernel.convert(LLAVA_F32, (const uint8_t *)values, some, narrow,
                                  keys + half + size_of(narrow, j * KEYS + at));
            }
        }
        k += d * p.lanes;
        v += d * p.lanes;
    }
    return true;
}

/* ---- a panel of queries -------------------------------------------------------------------------
 */

typedef struct {
    const llava_fast *f;
    const llava_fast_heads *of;
    bool narrow;
    size_t lanes, live, reach; /* no key from `reach` on is seen */
    float *mask; /* [reach][lanes], added to the scores: -FLT_MAX swallows one. NULL: nothing */
    float *scores, *pairs;
} panel;

/* What the live lanes see, visible: [live, keys]. -FLT_MAX for every key, where a query sees none,
 * gives them all the same weight. */
static void look(panel *p, const uint8_t *visible, size_t keys)
{
    p->reach = 0;
    for (size_t lane = 0; lane < p->live; lane++, visible += keys) {
        size_t end = 0;
        for (size_t t = 0; t < keys; t++) {
            p->mask[t * p->lanes + lane] = visible[t] ? 0 : -FLT_MAX;
            end = visible[t] ? t + 1 : end;
        }
        end = end == 0 ? keys : end;
        p->reach = end > p->reach ? end : p->reach;
    }
}

/* y (+)= w x. w: [outputs][stride] */
static void multiply(const panel *p, const uint8_t *w, size_t stride, float *y, const float *x,
                     size_t inner, size_t outputs, bool add)
{
    llava_fast_factor of = {p->narrow ? LLAVA_FAST_PAIRS : LLAVA_FAST_FLOATS, w,
                            size_of(p->narrow, stride)};
    if (p->narrow) {
        p->f->kernel.pair((uint32_t *)(void *)p->pairs, x, inner, p->lanes);
    }
    llava_fast_multiply(p->f, of, y, p->narrow ? p->pairs : x, inner, outputs, p->lanes, p->live,
                        add);
}

/* One query head. q, context: [d][lanes]; keys: its first block; the next is `step` bytes behind */
static void attend(const panel *p, const uint8_t *keys, size_t step, const float *q, float *context)
{
    const llava_fast_kernels *kernel = &p->f->kernel;
    size_t d = p->of->d, half = size_of(p->narrow, KEYS * even(d));
    llava_fast_softmax soft = {.sum = {0}};
    for (size_t i = 0; i < LLAVA_FAST_LANES; i++) {
        soft.most[i] = -FLT_MAX;
    }
    for (size_t t = 0; t < p->reach; t += KEYS, keys += step) {
        size_t n = p->reach - t < KEYS ? p->reach - t : KEYS;
        multiply(p, keys, even(d), p->scores, q, d, n, false);
        if (p->mask != NULL) {
            kernel->add(p->scores, p->scores, p->mask + t * p->lanes, n * p->lanes, 1, false);
        }
        kernel->softmax(&soft, p->scores, (float)p->of->scale, n, p->lanes, p->of->bf16);
        if (t > 0) {
            kernel->times(context, soft.factor, d, p->lanes, false);
        }
        size_t inner = p->lanes == 1 ? KEYS : n; /* a row is taken whole: behind it are zeros */
        memset(p->scores + n * p->lanes, 0, (inner - n) * sizeof *p->scores);
        multiply(p, keys + half, KEYS, context, p->scores, inner, d, t > 0);
    }
    for (size_t i = 0; i < LLAVA_FAST_LANES; i++) {
        soft.sum[i] = 1 / soft.sum[i];
    }
    kernel->times(context, soft.sum, d, p->lanes, p->of->bf16);
}

bool llava_fast_attention(llava_fast *f, const llava_fast_heads *of, size_t keys,
                          const llava_fast_rows *rows, const float *q, float *context,
                          llava_error *e)
{
    size_t d = of->d, masked = of->visible == NULL ? 0 : keys;
    panel p = {f, of, is_narrow(f, of), 0, 0, keys, NULL, NULL, NULL};
    size_t both = 2 * size_of(p.narrow, KEYS * even(d)), step = rows->batch * of->kv_heads * both;
    p.scores = llava_fast_take(&f->scores, (size_t)2 * KEYS + even(d) + masked, rows->lanes, e);
    if (p.scores == NULL) {
        return false;
    }
    p.pairs = p.scores + KEYS * rows->lanes;
    p.mask = masked == 0 ? NULL : p.pairs + (KEYS + even(d)) * rows->lanes;
    for (size_t t = 0; t < llava_fast_panels(rows); t++) {
        llava_fast_panel at = llava_fast_panel_at(rows, t);
        p.lanes = at.lanes;
        p.live = at.live;
        if (masked > 0) {
            look(&p, of->visible + at.row * keys, keys);
        }
        for (size_t h = 0; h < of->heads; h++, q += d * p.lanes, context += d * p.lanes) {
            size_t head = at.sample * of->kv_heads + h / (of->heads / of->kv_heads);
            attend(&p, (const uint8_t *)of->cache->at + head * both, step, q, context);
        }
        llava_fast_lay(f, of->bf16, context - of->heads * d * p.lanes, of->heads * d, p.lanes);
    }
    return true;
}
