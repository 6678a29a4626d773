/* Attention of the fast path, a panel of queries against a block of keys at a time: the scores of
 * the block become weights, and what was summed up before them is scaled down where a larger score
 * has come (an online softmax). The score matrix is never there.
 *
 *   s = q k^T    m = max(m, s)    p = exp(scale (s - m))    context = p v / sum p
 */
#include "parts.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 128 }; /* at once: their scores stay in the first cache */

/* ---- keys and values ----------------------------------------------------------------------------
 */

static size_t even(size_t n)
{
    return n + n % 2;
}

static size_t size_of(const llava_fast_cache *c)
{
    return c->bf16 ? sizeof(uint16_t) : sizeof(float);
}

void llava_fast_cache_free(llava_fast_cache *c)
{
    free(c->keys.at);
    free(c->values.at);
    c->keys = c->values = (llava_fast_room){0};
    c->capacity = 0;
}

bool llava_fast_cache_reserve(llava_fast_cache *c, size_t used, size_t length, llava_error *e)
{
    if (length <= c->capacity) {
        return true;
    }
    llava_fast_cache wider = *c;
    size_t heads = c->batch * c->heads, size = size_of(c), d = even(c->d);
    wider.capacity = even(length < 2 * c->capacity ? 2 * c->capacity : length);
    wider.keys = wider.values = (llava_fast_room){0};
    if (length > SIZE_MAX / 4 ||
        llava_fast_take(&wider.keys, heads * d, wider.capacity, e) == NULL ||
        llava_fast_take(&wider.values, heads * d, wider.capacity, e) == NULL) {
        llava_fast_cache_free(&wider);
        return false;
    }
    for (size_t i = 0; used > 0 && i < heads; i++) {
        memcpy((uint8_t *)wider.keys.at + i * wider.capacity * d * size,
               (uint8_t *)c->keys.at + i * c->capacity * d * size, used * d * size);
    }
    for (size_t i = 0; used > 0 && i < heads * c->d; i++) {
        memcpy((uint8_t *)wider.values.at + i * wider.capacity * size,
               (uint8_t *)c->values.at + i * c->capacity * size, used * size);
    }
    llava_fast_cache_free(c);
    *c = wider;
    return true;
}

/* x, which is a bfloat16 where the cache has those. */
static inline void put(const llava_fast_cache *c, void *base, size_t i, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (c->bf16) {
        ((uint16_t *)base)[i] = (uint16_t)(bits >> 16);
    } else {
        ((float *)base)[i] = x;
    }
}

void llava_fast_cache_store(llava_fast_cache *c, size_t used, const float *k, const float *v,
                            const llava_fast_rows *rows)
{
    size_t panels = llava_fast_panels(rows), lanes = rows->lanes, d = c->d;
    for (size_t i = 0; i < c->batch * panels * c->heads; i++) {
        size_t p = i / c->heads % panels, at = used + p * lanes, live = llava_fast_live(rows, p);
        size_t head = i / c->heads / panels * c->heads + i % c->heads;
        const float *key = k + i * d * lanes, *value = v + i * d * lanes;
        for (size_t lane = 0; lane < live; lane++) {
            for (size_t j = 0; j < d; j++) {
                put(c, c->keys.at, (head * c->capacity + at + lane) * even(d) + j,
                    key[j * lanes + lane]);
            }
        }
        for (size_t j = 0; j < d; j++) {
            for (size_t lane = 0; lane < live; lane++) {
                put(c, c->values.at, (head * d + j) * c->capacity + at + lane,
                    value[j * lanes + lane]);
            }
        }
    }
}

/* ---- a panel of queries -------------------------------------------------------------------------
 */

typedef struct {
    llava_fast *f;
    const llava_fast_cache *cache;
    bool bf16;
    llava_fast_kind kind;
    float scale;
    size_t keys, lanes, live;
    const uint8_t *visible;       /* [live, keys], NULL: all */
    bool blind[LLAVA_FAST_LANES]; /* sees no key */
    size_t hidden, reach; /* no key before `hidden` is hidden, none from `reach` on is seen */
    float *q, *scores, *weights; /* factors laid out, and the scores of a block */
} panel;

static void look(panel *p)
{
    p->hidden = p->visible == NULL ? p->keys : 0;
    p->reach = p->visible == NULL ? p->keys : 0;
    for (size_t lane = 0; p->visible != NULL && lane < p->live; lane++) {
        const uint8_t *sees = p->visible + lane * p->keys;
        size_t end = p->keys;
        while (end > 0 && !sees[end - 1]) {
            end--;
        }
        p->blind[lane] = end == 0;
        end = end == 0 ? p->keys : end;
        const uint8_t *gap = memchr(sees, 0, p->keys);
        size_t from = gap == NULL ? p->keys : (size_t)(gap - sees);
        p->hidden = lane == 0 || from < p->hidden ? from : p->hidden;
        p->reach = end > p->reach ? end : p->reach;
    }
}

/* y (+)= w x: the matrix kernel, or the row kernel for a panel of one lane. */
static void multiply(const panel *p, const uint8_t *w, size_t stride, float *y, const float *x,
                     size_t inner, size_t outputs, bool add)
{
    llava_fast_factor of = {p->kind, w, stride * size_of(p->cache)};
    size_t units = llava_fast_units(p->kind, inner);
    if (p->lanes == 1) {
        p->f->kernel.dots(of, y, x, units, outputs, add);
    } else {
        p->f->kernel.tile(of, y, x, units, outputs, p->live, add);
    }
}

/* One query head with its key/value head. q, context: [d][lanes] */
static void attend(const panel *p, size_t head, const float *q, float *context)
{
    const llava_fast_cache *c = p->cache;
    const llava_fast_kernels *kernel = &p->f->kernel;
    const uint8_t *keys = (uint8_t *)c->keys.at + head * c->capacity * even(c->d) * size_of(c);
    const uint8_t *values = (uint8_t *)c->values.at + head * c->d * c->capacity * size_of(c);
    llava_fast_softmax soft = {.sum = {0}};
    for (size_t i = 0; i < LLAVA_FAST_LANES; i++) {
        soft.most[i] = -FLT_MAX;
    }
    q = llava_fast_lay(p->f, p->kind, q, c->d, p->lanes, p->q);
    for (size_t t = 0; t < p->reach; t += KEYS) {
        size_t n = p->reach - t < KEYS ? p->reach - t : KEYS;
        multiply(p, keys + t * even(c->d) * size_of(c), even(c->d), p->scores, q, c->d, n, false);
        bool some_hidden = p->visible != NULL && t + n > p->hidden;
        for (size_t lane = 0; some_hidden && lane < p->live; lane++) {
            for (size_t i = 0; i < n; i++) {
                if (!p->visible[lane * p->keys + t + i]) {
                    p->scores[i * p->lanes + lane] = p->blind[lane] ? 0 : -INFINITY;
                }
            }
        }
        kernel->softmax(&soft, p->scores, p->scale, n, p->lanes, p->bf16);
        if (t > 0) {
            kernel->times(context, soft.factor, c->d, p->lanes, false);
        }
        const float *x = llava_fast_lay(p->f, p->kind, p->scores, n, p->lanes, p->weights);
        multiply(p, values + t * size_of(c), c->capacity, context, x, n, c->d, t > 0);
    }
    for (size_t i = 0; i < LLAVA_FAST_LANES; i++) {
        soft.sum[i] = 1 / soft.sum[i];
    }
    kernel->times(context, soft.sum, c->d, p->lanes, p->bf16);
}

bool llava_fast_attention(llava_fast *f, bool bf16, const llava_fast_cache *c, size_t keys,
                          const llava_fast_rows *rows, size_t heads, double scale,
                          const uint8_t *visible, const float *q, float *context, llava_error *e)
{
    size_t panels = llava_fast_panels(rows), lanes = rows->lanes, group = heads / c->heads;
    panel p = {.f = f, .cache = c, .bf16 = bf16, .keys = keys, .lanes = lanes};
    p.kind = llava_fast_kind_of(f, bf16, bf16);
    p.scale = (float)scale;
    p.scores = llava_fast_take(&f->scores, (size_t)2 * KEYS + even(c->d), lanes, e);
    if (p.scores == NULL) {
        return false;
    }
    p.weights = p.scores + KEYS * lanes;
    p.q = p.weights + KEYS * lanes;
    for (size_t t = 0; t < c->batch * panels; t++) {
        size_t row = t / panels * rows->length + rows->first + t % panels * lanes;
        p.live = llava_fast_live(rows, t % panels);
        p.visible = visible == NULL ? NULL : visible + row * keys;
        look(&p);
        for (size_t h = 0; h < heads; h++) {
            size_t at = (t * heads + h) * c->d * lanes;
            attend(&p, t / panels * c->heads + h / group, q + at, context + at);
        }
    }
    return true;
}
