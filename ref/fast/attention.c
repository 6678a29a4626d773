/* Attention of the fast path: keys and values lie in the cache as the tile wants them, and only the
 * scores of a few queries (a block of rows: all query heads of one key/value head together) are
 * there at any time.
 *
 *   s = scale q k^T    p = exp(s - max s)    context = p v / sum p
 */
#include "parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_AT_ONCE = 384 }; /* of a sum over keys, as for other products */

static float *keys_of(const llava_fast_cache *c, size_t head)
{
    return (float *)c->keys.at + head * c->capacity * c->d;
}

static float *values_of(const llava_fast_cache *c, size_t head, size_t value_tile)
{
    return (float *)c->values.at + (head * c->value_tiles + value_tile) * c->capacity * c->tile;
}

bool llava_fast_cache_reserve(llava_fast_cache *c, size_t used, size_t rows, llava_error *e)
{
    if (rows <= c->capacity) {
        return true;
    }
    llava_fast_cache wider = *c;
    size_t wanted = rows < 2 * c->capacity ? 2 * c->capacity : rows, heads = c->batch * c->heads;
    wider.capacity = (wanted + c->tile - 1) / c->tile * c->tile;
    wider.keys = wider.values = (llava_fast_room){0};
    if (wanted > SIZE_MAX / 2 ||
        llava_fast_take(&wider.keys, heads * c->d, wider.capacity, e) == NULL ||
        llava_fast_take(&wider.values, heads * c->value_tiles * c->tile, wider.capacity, e) ==
            NULL) {
        llava_fast_cache_free(&wider);
        return false;
    }
    /* keys behind the last are scored with the others of their tile, and then left out */
    memset(wider.keys.at, 0, wider.keys.bytes);
    for (size_t i = 0; used > 0 && i < heads; i++) {
        memcpy(keys_of(&wider, i), keys_of(c, i), c->capacity * c->d * sizeof(float));
        for (size_t v = 0; v < c->value_tiles; v++) {
            memcpy(values_of(&wider, i, v), values_of(c, i, v), used * c->tile * sizeof(float));
        }
    }
    llava_fast_cache_free(c);
    *c = wider;
    return true;
}

void llava_fast_cache_free(llava_fast_cache *c)
{
    free(c->keys.at);
    free(c->values.at);
    c->keys = c->values = (llava_fast_room){0};
    c->capacity = 0;
}

void llava_fast_cache_store(llava_fast_cache *c, size_t used, const float *k, const float *v,
                            size_t length)
{
    size_t tile = c->tile, d = c->d;
    for (size_t i = 0; i < c->batch * length * c->heads; i++) {
        size_t head = i / c->heads / length * c->heads + i % c->heads;
        size_t t = used + i / c->heads % length;
        float *key = keys_of(c, head) + t / tile * tile * d + t % tile;
        for (size_t j = 0; j < d; j++) {
            key[j * tile] = k[i * d + j];
        }
        for (size_t first = 0; first < d; first += tile) {
            size_t there = d - first < tile ? d - first : tile;
            float *value = values_of(c, head, first / tile) + t * tile;
            memcpy(value, v + i * d + first, there * sizeof *value);
            memset(value + there, 0, (tile - there) * sizeof *value);
        }
    }
}

/* Rows first .. first + height of one key/value head, row i being query i / group of head i %
 * group. */
typedef struct {
    llava_fast *f;
    const llava_fast_cache *cache;
    size_t keys, length, group; /* keys there; queries; query heads of a key/value head */
    size_t head, first, height;
    size_t reach;  /* keys that some row of the block sees, counted from 0 on */
    size_t stride; /* of the scores */
    const uint8_t *visible;
    float *x, *scores, *sums;
} block;

/* Where row i's query begins in q: [B, length, heads, d]. */
static size_t query_at(const block *p, size_t i)
{
    size_t row = p->first + i, b = p->head / p->cache->heads, h = p->head % p->cache->heads;
    return (((b * p->length + row / p->group) * p->cache->heads + h) * p->group + row % p->group) *
           p->cache->d;
}

/* Row i's place among [B, length]. */
static size_t query_row(const block *p, size_t i)
{
    return p->head / p->cache->heads * p->length + (p->first + i) / p->group;
}

/* reach[i]: keys that query i of [B, length] sees, counted from 0 on to the last; all of them where
 * it sees none. */
static void find_reach(const uint8_t *visible, size_t queries, size_t keys, uint32_t *reach)
{
    for (size_t i = 0; i < queries; i++) {
        size_t own = keys;
        while (visible != NULL && own > 0 && !visible[i * keys + own - 1]) {
            own--;
        }
        reach[i] = (uint32_t)(own == 0 ? keys : own);
    }
}

/* scores: [height, stride] */
static void score(const block *p, const float *q, float scale)
{
    const llava_fast_cache *c = p->cache;
    const float *k = keys_of(c, p->head);
    for (size_t i = 0; i < p->height; i++) {
        for (size_t j = 0; j < c->d; j++) {
            p->x[j * p->height + i] = q[query_at(p, i) + j] * scale;
        }
    }
    for (size_t t = 0; t < p->reach; t += c->tile) {
        p->f->kernel.tile(LLAVA_FAST_FLOATS, p->scores + t, p->stride, p->x,
                          (const uint32_t *)(const void *)(k + t * c->d), c->d, p->height, false);
    }
}

/* Scores to weights; sums[i] is their sum. */
static void weigh(const block *p)
{
    for (size_t i = 0; i < p->height; i++) {
        float *s = p->scores + i * p->stride;
        const uint8_t *of = p->visible == NULL ? NULL : p->visible + query_row(p, i) * p->keys;
        const uint8_t *hidden = of == NULL ? NULL : memchr(of, 0, p->reach);
        bool blind = hidden != NULL && memchr(of, 1, p->keys) == NULL;
        for (size_t t = hidden == NULL ? p->reach : (size_t)(hidden - of); t < p->reach; t++) {
            s[t] = of[t] ? s[t] : blind ? 0 : -INFINITY;
        }
        p->sums[i] = p->f->kernel.exp_row(s, p->reach);
    }
}

static void mix(const block *p, bool bf16, float *context)
{
    const llava_fast_cache *c = p->cache;
    size_t width = c->value_tiles * c->tile;
    float *out = p->sums + p->height;
    llava_fast_interleave((uint32_t *)(void *)p->x, p->height, p->scores, p->stride * sizeof *out,
                          p->height, p->reach);
    for (size_t v = 0; v < c->value_tiles; v++) {
        const float *values = values_of(c, p->head, v);
        for (size_t t = 0; t < p->reach; t += KEYS_AT_ONCE) {
            size_t count = p->reach - t < KEYS_AT_ONCE ? p->reach - t : KEYS_AT_ONCE;
            p->f->kernel.tile(LLAVA_FAST_FLOATS, out + v * c->tile, width, p->x + t * p->height,
                              (const uint32_t *)(const void *)(values + t * c->tile), count,
                              p->height, t > 0);
        }
    }
    for (size_t i = 0; i < p->height; i++) {
        float *to = context + query_at(p, i);
        for (size_t j = 0; j < c->d; j++) {
            to[j] = out[i * width + j] / p->sums[i];
        }
        p->f->kernel.add(to, to, NULL, c->d, bf16);
    }
}

bool llava_fast_attention(llava_fast *f, bool bf16, const llava_fast_cache *c, size_t keys,
                          size_t length, size_t heads, double scale, const uint8_t *visible,
                          const float *q, float *context, llava_error *e)
{
    size_t most = f->kernel.heights[0], stride = (keys + c->tile - 1) / c->tile * c->tile;
    block p = {.f = f, .cache = c, .keys = keys, .length = length, .group = heads / c->heads};
    p.stride = stride;
    p.visible = visible;
    p.x = llava_fast_take(&f->x, most, stride > c->d ? stride : c->d, e);
    p.scores = llava_fast_take(&f->scores, most, stride, e);
    p.sums = llava_fast_take(&f->sums, most, 1 + c->value_tiles * c->tile, e);
    uint32_t *reach = llava_fast_take(&f->reach, c->batch, length, e);
    if (p.x == NULL || p.scores == NULL || p.sums == NULL || reach == NULL) {
        return false;
    }
    find_reach(visible, c->batch * length, keys, reach);
    for (p.head = 0; p.head < c->batch * c->heads; p.head++) {
        for (p.first = 0; p.first < length * p.group; p.first += p.height) {
            p.height = llava_fast_height(&f->kernel, length * p.group - p.first);
            p.reach = 0;
            for (size_t i = 0; i < p.height; i++) {
                size_t own = reach[query_row(&p, i)];
                p.reach = own > p.reach ? own : p.reach;
            }
            score(&p, q, (float)scale);
            weigh(&p);
            mix(&p, bf16, context);
        }
    }
    return true;
}
