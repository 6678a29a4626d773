/* The language model: Llama, Mistral, Qwen2.
 *
 *   each layer:  x += W_o attention(rotate(W_q a), rotate(W_k a), W_v a),   a = RMSNorm(x)
 *                x += W_down(act(W_gate m) * (W_up m)),                     m = RMSNorm(x)
 *   logits = W_head RMSNorm(x)
 *
 * Query position s sees key position t where t <= s and t is not padding. heads / kv_heads query
 * heads share one key/value head. Source: transformers models/llama/modeling_llama.py; spec 4.1. */
#include "fast/fast.h"
#include "model.h"

#include "elementary.h"
#include "rope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL "language_model.model"

/* ---- the cache ----------------------------------------------------------------------------------
 */

bool llava_cache_make(llava_cache *cache, const llava_plan *plan, size_t batch, bool keep,
                      llava_error *e)
{
    const llava_text_plan *t = &plan->text;
    *cache = (llava_cache){.batch = batch, .layers = keep ? t->layers : 1};
    if (!llava_mul(t->kv_heads, t->head_dim, &cache->width)) {
        return llava_fail(e, "config.json: text_config: key/value heads too wide");
    }
    return true;
}

void llava_cache_free(llava_cache *cache)
{
    free(cache->keys);
    free(cache->values);
    free(cache->counts);
    *cache = (llava_cache){0};
}

/* Where layer i's rows of sample b begin. */
static double *cache_rows(const llava_cache *cache, double *base, size_t i, size_t b)
{
    size_t layer = cache->layers == 1 ? 0 : i;
    return base + (layer * cache->batch + b) * cache->capacity * cache->width;
}

/* Copies the cached rows of every layer and sample into a wider array. */
static void cache_move(const llava_cache *from, const double *old, const llava_cache *to,
                       double *new)
{
    size_t spans = from->layers * from->batch;
    for (size_t i = 0; i < spans && from->length > 0; i++) {
        memcpy(new + i * to->capacity * to->width, old + i * from->capacity * from->width,
               from->length * from->width * sizeof(double));
    }
}

/* Makes room for `rows` positions: at least doubling, so that a long answer copies little. */
static bool cache_reserve(llava_cache *cache, size_t rows, llava_error *e)
{
    if (rows <= cache->capacity) {
        return true;
    }
    llava_cache wider = *cache;
    size_t count = 0, twice;
    wider.capacity = llava_mul(cache->capacity, 2, &twice) && twice > rows ? twice : rows;
    bool fits = llava_mul(cache->batch, wider.capacity, &count) &&
                llava_mul(count, cache->width, &count) && llava_mul(count, cache->layers, &count);
    wider.keys = fits ? llava_alloc(e, count, sizeof(double)) : NULL;
    wider.values = fits ? llava_alloc(e, count, sizeof(double)) : NULL;
    wider.counts = fits ? llava_alloc(e, cache->batch * wider.capacity, 1) : NULL;
    if (wider.keys == NULL || wider.values == NULL || wider.counts == NULL) {
        llava_cache_free(&wider);
        return llava_fail(e, "out of memory (a cache of %zu x %zu positions)", cache->batch, rows);
    }
    cache_move(cache, cache->keys, &wider, wider.keys);
    cache_move(cache, cache->values, &wider, wider.values);
    for (size_t b = 0; b < cache->batch && cache->length > 0; b++) {
        memcpy(wider.counts + b * wider.capacity, cache->counts + b * cache->capacity,
               cache->length);
    }
    llava_cache_free(cache);
    *cache = wider;
    return true;
}

/* Copies new rows [B, S, kv * d] behind layer i's cached ones, rounded as the cache keeps them. */
static void cache_store(const llava_run *r, const llava_cache *cache, double *base, size_t i,
                        const double *rows, size_t length)
{
    size_t count = length * cache->width;
    for (size_t b = 0; b < cache->batch; b++) {
        double *to = cache_rows(cache, base, i, b) + cache->length * cache->width;
        memcpy(to, rows + b * count, count * sizeof(double));
        llava_round_input(r->plan->numerics.kv_cache, to, count);
    }
}

/* ---- norms ------------------------------------------------------------------------------------
 */

static bool norm(llava_run *r, double *y, const double *x, size_t rows, const char *name, size_t i)
{
    const llava_text_plan *t = &r->plan->text;
    const llava_numerics *n = &r->plan->numerics;
    char full[128];
    snprintf(full, sizeof full, name, i);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *weight = llava_scratch(r, 1, t->hidden);
    bool ok = weight != NULL && llava_vector_by_name(r, weight, t->hidden, "%s.weight", full);
    for (size_t j = 0; ok && t->norm_plus_one && j < t->hidden; j++) {
        weight[j] = llava_round(n->storage, weight[j] + 1);
    }
    if (ok && t->norm_layer) {
        llava_layer_norm(n, y, x, rows, t->hidden, weight, NULL, t->norm_eps);
    } else if (ok) {
        llava_rms_norm(n, y, x, rows, t->hidden, weight, t->norm_eps);
    }
    llava_scratch_release(r, mark);
    return ok;
}

/* ---- one pass over new positions ---------------------------------------------------------------
 */

/* The keys of a layer: those of all positions, or the last of them that a window can reach. */
typedef struct {
    size_t first;     /* position of the first one */
    size_t count;     /* S' */
    uint8_t *visible; /* [B, S, S'] */
    double *bias;     /* [B, S, S'], added to the scores; NULL: nothing */
} llava_keys;

typedef struct {
    llava_run *r;
    llava_cache *cache;
    size_t batch, length; /* B, S: new positions */
    size_t needed;        /* how many of each sample's, the last, the last layer has to finish */
    double *cosine, *sine;
    llava_keys full, sliding; /* what the two kinds of layers see; sliding only where some slide */
} pass;

/* The longest context that the rotary table is for: the highest position of this pass + 1, over the
 * whole batch; dynamic's grows with the passes before it. */
static double longest(const pass *p, const int64_t *positions)
{
    const llava_rope *recipe = &p->r->plan->text.rope;
    int64_t last = 0;
    for (size_t i = 0; i < p->batch * p->length; i++) {
        last = positions[i] > last ? positions[i] : last;
    }
    double length = (double)(last + 1);
    if (recipe->type != LLAVA_ROPE_DYNAMIC) {
        return length;
    }
    p->cache->longest = llava_rope_remember(recipe, p->cache->longest, length);
    return p->cache->longest;
}

static bool rope(pass *p, const int64_t *positions)
{
    llava_run *r = p->r;
    size_t d = r->plan->text.head_dim;
    llava_shape shape = {3, {p->batch, p->length, d}};
    double *frequency = llava_scratch(r, 1, d);
    if (frequency == NULL) {
        return false;
    }
    const llava_rope *recipe = &r->plan->text.rope;
    llava_rope_frequencies(&r->plan->numerics, recipe, d, longest(p, positions), frequency);
    llava_rope_table(&r->plan->numerics, p->cosine, p->sine, positions, p->batch * p->length, d,
                     frequency, recipe->attention_factor);
    return llava_put(r, p->cosine, shape, "text.rope.cos") &&
           llava_put(r, p->sine, shape, "text.rope.sin");
}

/* Which positions are padding: of the new ones, behind those of the cache. */
static void count_new(const pass *p, const llava_mask *mask)
{
    llava_cache *cache = p->cache;
    for (size_t b = 0; b < p->batch; b++) {
        uint8_t *counts = cache->counts + b * cache->capacity + cache->length;
        for (size_t s = 0; s < p->length; s++) {
            counts[s] = mask->counts[b * p->length + s] != 0 || !p->r->plan->text.padding_mask;
        }
    }
}

/* A mask that was given whole stands in place of the causal rule and of windows; a port that
 * overlooks it has the rule alone. */
static bool see_as_given(const pass *p, const llava_mask *mask, llava_keys *keys)
{
    size_t rows = p->batch * p->length, n = keys->count;
    if (mask->sees == NULL || !p->r->plan->text.padding_mask) {
        return true;
    }
    if (mask->bias != NULL && (keys->bias = llava_scratch(p->r, rows, n)) == NULL) {
        return false;
    }
    for (size_t i = 0; i < rows; i++) {
        size_t query = i / p->length * mask->total + p->cache->length + i % p->length;
        size_t from = query * mask->total + keys->first;
        memcpy(keys->visible + i * n, mask->sees + from, n);
        if (mask->bias != NULL) {
            memcpy(keys->bias + i * n, mask->bias + from, n * sizeof(double));
        }
    }
    return true;
}

/* visible[b,s,t]: may new position s (absolute: past + s) look at the t-th of the keys? */
static bool see(const pass *p, const llava_mask *mask, bool slides, llava_keys *keys)
{
    const llava_text_plan *t = &p->r->plan->text;
    const llava_cache *cache = p->cache;
    const size_t rows = p->batch * p->length, window = slides ? t->window : 0;
    size_t past = slides ? llava_keys_kept(t, cache->length) : cache->length;
    keys->first = cache->length - past;
    keys->count = past + p->length;
    keys->visible = llava_alloc(p->r->error, rows, keys->count);
    for (size_t row = 0; keys->visible != NULL && row < rows; row++) {
        const uint8_t *counts = cache->counts + row / p->length * cache->capacity;
        size_t own = cache->length + row % p->length;
        /* the causal rule as a count of keys from 0 on; one more or one less is a known bug */
        size_t reach = t->sees == LLAVA_SEES_ALL      ? cache->length + p->length
                       : t->sees == LLAVA_SEES_BEFORE ? own
                       : t->sees == LLAVA_SEES_NEXT   ? own + 2
                                                      : own + 1;
        size_t from = window > 0 && own + 1 > window ? own + 1 - window : 0;
        for (size_t i = 0; i < keys->count; i++) {
            size_t k = keys->first + i;
            keys->visible[row * keys->count + i] = k >= from && k < reach && counts[k];
        }
    }
    return keys->visible != NULL && see_as_given(p, mask, keys);
}

/* What each kind of layer sees. */
static bool see_all(pass *p, const llava_mask *mask)
{
    const llava_text_plan *t = &p->r->plan->text;
    bool some_slide = false, all_slide = true;
    for (size_t i = 0; i < t->layers; i++) {
        some_slide |= t->slides[i];
        all_slide &= t->slides[i];
    }
    return (all_slide || see(p, mask, false, &p->full)) &&
           (!some_slide || see(p, mask, true, &p->sliding));
}

/* Only the last rows of x count from here on: [B, S, width] becomes [B, needed, width]. */
static double *last_rows(const pass *p, const double *x, size_t width)
{
    double *rows = x == NULL ? NULL : llava_scratch(p->r, p->batch * p->needed, width);
    for (size_t b = 0; rows != NULL && b < p->batch; b++) {
        memcpy(rows + b * p->needed * width, x + ((b + 1) * p->length - p->needed) * width,
               p->needed * width * sizeof(double));
    }
    return rows;
}

/* The pass as its last rows see it, which alone the logits of the last position need; keys and
 * values are still those of all. In scratch memory. */
static bool cut(const pass *p, size_t i, pass *of)
{
    const llava_text_plan *t = &p->r->plan->text;
    const llava_keys *all = t->slides[i] ? &p->sliding : &p->full;
    llava_keys *keys = t->slides[i] ? &of->sliding : &of->full;
    *of = *p;
    of->length = p->needed;
    of->cosine = last_rows(p, p->cosine, t->head_dim);
    of->sine = last_rows(p, p->sine, t->head_dim);
    keys->bias = last_rows(p, all->bias, all->count);
    size_t bytes = p->needed * all->count;
    keys->visible = (uint8_t *)llava_scratch(p->r, p->batch, bytes / sizeof(double) + 1);
    for (size_t b = 0; keys->visible != NULL && b < p->batch; b++) {
        memcpy(keys->visible + b * bytes,
               all->visible + ((b + 1) * p->length - p->needed) * all->count, bytes);
    }
    return of->cosine != NULL && of->sine != NULL && keys->visible != NULL &&
           (all->bias == NULL || keys->bias != NULL);
}

/* q, k or v: [B, S, heads, d] = W a (+ b). */
static bool heads_of(pass *p, size_t i, const char *letter, size_t heads, const double *a,
                     double *x)
{
    llava_run *r = p->r;
    const llava_text_plan *t = &r->plan->text;
    const llava_some_rows *only = r->only;
    r->only = letter[0] == 'q' ? only : NULL; /* any query may look at any key */
    bool ok = llava_linear_by_name(r, x, a, p->batch * p->length, t->hidden, heads * t->head_dim,
                                   t->qkv_bias, MODEL ".layers.%zu.self_attn.%s_proj", i, letter);
    r->only = only;
    return ok && llava_put(r, x, (llava_shape){4, {p->batch, p->length, heads, t->head_dim}},
                           "text.layers.%zu.attn.%s", i, letter);
}

static bool turn(pass *p, size_t i, const char *letter, size_t heads, const double *x, double *y)
{
    llava_run *r = p->r;
    const llava_text_plan *t = &r->plan->text;
    llava_rotate(&r->plan->numerics, y, x, p->cosine, p->sine, p->batch * p->length, heads,
                 t->head_dim, t->rope_pairing, t->rope_sign);
    return llava_put(r, y, (llava_shape){4, {p->batch, p->length, heads, t->head_dim}},
                     "text.layers.%zu.attn.%s_rope", i, letter);
}

/* out: [B, S, H] = W_o attention(rotate(q), rotate(k), v). Keys and values come from all positions
 * of a, queries from those of p, `last`. */
static bool attend(pass *p, pass *all, size_t i, const double *last, const double *a, double *out)
{
    llava_run *r = p->r;
    const llava_text_plan *t = &r->plan->text;
    size_t rows = p->batch * p->length, width = t->heads * t->head_dim;
    size_t kv_rows = all->batch * all->length;
    size_t kv_width = t->kv_heads * t->head_dim;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *q = llava_scratch(r, rows, width), *k = llava_scratch(r, kv_rows, kv_width);
    double *v = llava_scratch(r, kv_rows, kv_width), *q_rope = llava_scratch(r, rows, width);
    double *k_rope = llava_scratch(r, kv_rows, kv_width), *context = llava_scratch(r, rows, width);
    bool ok = q != NULL && k != NULL && v != NULL && q_rope != NULL && k_rope != NULL &&
              context != NULL && heads_of(p, i, "q", t->heads, last, q) &&
              heads_of(all, i, "k", t->kv_heads, a, k) &&
              heads_of(all, i, "v", t->kv_heads, a, v) && turn(p, i, "q", t->heads, q, q_rope) &&
              turn(all, i, "k", t->kv_heads, k, k_rope);
    if (ok) {
        cache_store(r, p->cache, p->cache->keys, i, k_rope, all->length);
        cache_store(r, p->cache, p->cache->values, i, v, all->length);
        const llava_keys *keys = t->slides[i] ? &p->sliding : &p->full;
        size_t before = keys->first * p->cache->width; /* that the window has left behind */
        llava_attention_of attention = {
            .name = "text",
            .layer = i,
            .batch = p->batch,
            .queries = p->length,
            .keys = keys->count,
            .heads = t->heads,
            .kv_heads = t->kv_heads,
            .head_dim = t->head_dim,
            .kv_interleaved = t->kv_interleaved,
            .scale = t->attn_scale,
            .q = q_rope,
            .k = cache_rows(p->cache, p->cache->keys, i, 0) + before,
            .v = cache_rows(p->cache, p->cache->values, i, 0) + before,
            .kv_rows = p->cache->capacity,
            .visible = keys->visible,
            .bias = keys->bias,
        };
        ok = llava_attention(r, &attention, context);
    }
    ok = ok &&
         llava_linear_by_name(r, out, context, rows, width, t->hidden, t->out_bias,
                              MODEL ".layers.%zu.self_attn.o_proj", i) &&
         llava_put(r, out, (llava_shape){3, {p->batch, p->length, t->hidden}},
                   "text.layers.%zu.attn.out", i);
    llava_scratch_release(r, mark);
    return ok;
}

/* out: [B, S, H] = W_down(act(W_gate m) * (W_up m)). */
static bool mlp(pass *p, size_t i, const double *m, double *out)
{
    llava_run *r = p->r;
    const llava_text_plan *t = &r->plan->text;
    const llava_numerics *n = &r->plan->numerics;
    size_t rows = p->batch * p->length, count = rows * t->intermediate;
    llava_shape wide = {3, {p->batch, p->length, t->intermediate}};
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *gate = llava_scratch(r, rows, t->intermediate);
    double *up = llava_scratch(r, rows, t->intermediate);
    bool ok = gate != NULL && up != NULL &&
              llava_linear_by_name(r, gate, m, rows, t->hidden, t->intermediate, t->mlp_bias,
                                   MODEL ".layers.%zu.mlp.gate_proj", i) &&
              llava_put(r, gate, wide, "text.layers.%zu.mlp.gate", i) &&
              llava_linear_by_name(r, up, m, rows, t->hidden, t->intermediate, t->mlp_bias,
                                   MODEL ".layers.%zu.mlp.up_proj", i) &&
              llava_put(r, up, wide, "text.layers.%zu.mlp.up", i);
    if (ok) {
        double *active = t->gate_up_swapped ? up : gate;
        llava_activate(n, t->act, active, active, count);
        llava_multiply(n, gate, gate, up, count);
    }
    ok = ok && llava_put(r, gate, wide, "text.layers.%zu.mlp.act", i) &&
         llava_linear_by_name(r, out, gate, rows, t->intermediate, t->hidden, t->mlp_bias,
                              MODEL ".layers.%zu.mlp.down_proj", i) &&
         llava_put(r, out, (llava_shape){3, {p->batch, p->length, t->hidden}},
                   "text.layers.%zu.mlp.out", i);
    llava_scratch_release(r, mark);
    return ok;
}

/* x += attention and MLP, on the rows of p; `last`: those of a = norm1 of all of them. */
static bool residuals(pass *p, pass *all, size_t i, const double *last, double *a, double *x)
{
    llava_run *r = p->r;
    const llava_numerics *n = &r->plan->numerics;
    size_t width = r->plan->text.hidden, rows = p->batch * p->length;
    llava_shape shape = {3, {p->batch, p->length, width}};
    bool absent = r->plan->text.last_layer_absent && i + 1 == r->plan->text.layers;
    double *out = llava_scratch(r, rows, width),
           *below = llava_scratch(r, absent ? rows : 0, width);
    bool ok = out != NULL && below != NULL && attend(p, all, i, last, a, out);
    if (ok) {
        memcpy(below, x, (absent ? rows : 0) * width * sizeof *x);
        llava_add_rows(n, x, x, out, rows * width);
    }
    ok = ok && llava_put(r, x, shape, "text.layers.%zu.resid1", i) &&
         norm(r, a, x, rows, MODEL ".layers.%zu.post_attention_layernorm", i) &&
         llava_put(r, a, shape, "text.layers.%zu.norm2", i) && mlp(p, i, a, out);
    if (ok && absent) { /* what the layer hands on is what it got */
        memcpy(x, below, rows * width * sizeof *x);
    } else if (ok) {
        llava_add_rows(n, x, x, out, rows * width);
    }
    return ok && llava_put(r, x, shape, "text.layers.%zu.output", i);
}

/* One pre-norm decoder layer on x: [B, S, H]. */
static bool layer(pass *p, size_t i, double *x)
{
    llava_run *r = p->r;
    size_t width = r->plan->text.hidden, rows = p->batch * p->length;
    llava_shape shape = {3, {p->batch, p->length, width}};
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *a = llava_scratch(r, rows, width);
    bool ok = a != NULL && norm(r, a, x, rows, MODEL ".layers.%zu.input_layernorm", i) &&
              llava_put(r, a, shape, "text.layers.%zu.norm1", i);
    if (p->needed == p->length || i + 1 < r->plan->text.layers) {
        ok = ok && residuals(p, p, i, a, a, x);
    } else if (ok) {
        pass of;
        double *last_a = last_rows(p, a, width), *last_x = last_rows(p, x, width);
        ok = last_a != NULL && last_x != NULL && cut(p, i, &of) &&
             residuals(&of, p, i, last_a, a, last_x);
        for (size_t b = 0; ok && b < p->batch; b++) {
            memcpy(x + ((b + 1) * p->length - p->needed) * width, last_x + b * p->needed * width,
                   p->needed * width * sizeof(double));
        }
    }
    llava_scratch_release(r, mark);
    return ok;
}

bool llava_language_model(llava_run *r, const llava_goal *goal, llava_cache *cache, size_t length,
                          const int64_t *positions, const llava_mask *mask, double *x)
{
    const llava_text_plan *t = &r->plan->text;
    size_t rows = cache->batch * length;
    if (!cache_reserve(cache, cache->length + length, r->error)) {
        return false;
    }
    pass p = {.r = r, .cache = cache, .batch = cache->batch, .length = length, .needed = length};
    if (goal->last_logits && !goal->all_logits && !goal->every_row) {
        p.needed = 1;
    }
    llava_scratch_block *mark = llava_scratch_mark(r);
    p.cosine = llava_scratch(r, rows, t->head_dim);
    p.sine = llava_scratch(r, rows, t->head_dim);
    bool ok = p.cosine != NULL && p.sine != NULL && rope(&p, positions);
    if (ok) {
        count_new(&p, mask);
        ok = see_all(&p, mask);
    }
    if (ok && goal->text_first > 0) {
        ok = llava_put(r, x, (llava_shape){3, {cache->batch, length, t->hidden}},
                       "text.layers.%zu.output", goal->text_first - 1);
    }
    if (ok && r->fast != NULL && p.full.bias != NULL) {
        ok = llava_fail(r->error, "--path fast: attention_mask: numbers to be added to the scores: "
                                  "only on the plain path");
    }
    llava_fast_pass fast = {.batch = p.batch,
                            .length = p.length,
                            .past = cache->length,
                            .needed = p.needed,
                            .keep = cache->layers > 1,
                            .cosine = p.cosine,
                            .sine = p.sine,
                            .visible = p.full.visible};
    for (size_t i = goal->text_first; ok && i < goal->text_layers; i++) {
        r->only = i + 1 == goal->text_layers ? goal->only : NULL;
        fast.out = i + 1 == goal->text_layers;
        ok = r->fast != NULL ? llava_fast_text_layer(r, i, &fast, x) : layer(&p, i, x);
    }
    r->only = NULL;
    cache->length += length;
    if (ok && goal->norm) {
        ok = !t->final_norm || norm(r, x, x, rows, MODEL ".norm", 0);
        ok =
            ok && llava_put(r, x, (llava_shape){3, {cache->batch, length, t->hidden}}, "text.norm");
    }
    free(p.full.visible);
    free(p.sliding.visible);
    llava_scratch_release(r, mark);
    return ok;
}

/* ---- the head -----------------------------------------------------------------------------------
 */

bool llava_logits(llava_run *r, const double *x, size_t rows, double *logits)
{
    /* A head of its own in the files is used even where the config says tied: transformers ties
     * only what is equal or absent. */
    const llava_text_plan *t = &r->plan->text;
    bool own =
        !t->tied_head || llava_checkpoint_find(r->weights, "language_model.lm_head.weight") != NULL;
    llava_numerics n = llava_numerics_of(&r->plan->numerics, LLAVA_KEEPS_HEAD);
    return llava_linear_by(r, &n, logits, x, rows, t->hidden, t->vocab, false,
                           own ? "language_model.lm_head" : MODEL ".embed_tokens");
}

/* -log softmax(row)[target]; NaN stays NaN. */
static double cross_entropy(const llava_numerics *n, const double *row, size_t vocab, size_t target)
{
    double most = row[0], sum = 0;
    for (size_t v = 1; v < vocab; v++) {
        most = row[v] > most ? row[v] : most;
    }
    for (size_t v = 0; v < vocab; v++) {
        double logit = n->islands ? llava_round(LLAVA_F32, row[v]) : row[v];
        sum += llava_exp(logit - most);
    }
    double own = n->islands ? llava_round(LLAVA_F32, row[target]) : row[target];
    return llava_log(sum) - (own - most);
}

bool llava_loss(llava_run *r, const double *logits, const llava_inputs *in, double *loss)
{
    const llava_numerics *n = &r->plan->numerics;
    size_t vocab = r->plan->text.vocab, counted = 0;
    double sum = 0;
    for (size_t b = 0; b < in->batch; b++) {
        for (size_t s = 0; s + 1 < in->length; s++) {
            int64_t target = in->labels[b * in->length + s + 1];
            if (target != -100) {
                sum +=
                    cross_entropy(n, logits + (b * in->length + s) * vocab, vocab, (size_t)target);
                counted++;
            }
        }
    }
    /* nothing counted: 0 / 0, NaN, as torch has it */
    llava_dtype type = n->islands ? LLAVA_F32 : n->storage;
    *loss = llava_round(type, sum / (double)counted);
    return llava_put_typed(r, type, loss, (llava_shape){0, {0}}, "loss");
}
