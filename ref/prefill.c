/* The prompt through the language model, all at once or in chunks over a warm cache.
 *
 *   chunk c: positions c n .. c n + n - 1 see the cached keys of the chunks before and their own
 *
 * A row's sums do not depend on the rows beside it, so every chunk computes the bits of the one
 * pass. Its taps are joined along the positions and handed on when the last chunk is done, in the
 * order of the one pass. Scores of keys in later chunks, or before the window, which no query sees,
 * have not been computed by then; where they are wanted, they are afterwards, from the same q and
 * k.
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One tap of all chunks. */
typedef struct {
    char name[LLAVA_TAP_NAME];
    llava_tap tap; /* of all positions */
    int axis;      /* of the positions: 1, or 2 in scores and probabilities */
} joint;

typedef struct {
    const llava_sink *inner;
    size_t first, length, total; /* of the chunk at work; positions in all */
    joint *joints;
    size_t count;
} joining;

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* q_rope is kept where the scores of its layer are wanted. */
static bool needed_for_scores(const joining *j, const char *name)
{
    char scores[LLAVA_TAP_NAME];
    if (!ends_with(name, ".attn.q_rope")) {
        return false;
    }
    snprintf(scores, sizeof scores, "%.*s.scores", (int)(strlen(name) - strlen(".q_rope")), name);
    return j->inner->wants(j->inner->self, scores);
}

static bool wants(void *self, const char *name)
{
    const joining *j = self;
    return j->inner->wants(j->inner->self, name) || needed_for_scores(j, name);
}

static joint *find(joining *j, const char *name)
{
    for (size_t i = 0; i < j->count; i++) {
        if (strcmp(j->joints[i].name, name) == 0) {
            return &j->joints[i];
        }
    }
    return NULL;
}

/* Room for a tap of all positions. */
static joint *add(joining *j, const llava_tap *tap, llava_error *e)
{
    joint *grown = llava_realloc(e, j->joints, j->count + 1, sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    j->joints = grown;
    joint *new = &grown[j->count];
    *new = (joint){.tap = *tap, .axis = 1};
    snprintf(new->name, sizeof new->name, "%s", tap->name);
    if (ends_with(tap->name, ".scores") || ends_with(tap->name, ".probs")) {
        new->axis = 2;
        new->tap.shape[3] = j->total;
    }
    new->tap.shape[new->axis] = j->total;
    new->tap.data = llava_alloc(e, llava_tap_count(&new->tap), sizeof(double));
    j->count += new->tap.data != NULL;
    return new->tap.data == NULL ? NULL : new;
}

/* Puts the chunk's rows where they stand among all positions. Keys are the last ones before the
 * chunk's end: all of them, or as many as a window keeps. */
static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    joining *j = self;
    joint *to = find(j, tap->name);
    if (to == NULL && (to = add(j, tap, e)) == NULL) {
        return false;
    }
    bool keyed = to->axis == 2;
    size_t outer = tap->shape[0] * (keyed ? tap->shape[1] : 1), row = 1;
    for (int i = to->axis + 1; i < tap->rank; i++) {
        row *= tap->shape[i];
    }
    size_t wide = keyed ? j->total : row;
    size_t before = keyed ? j->first + j->length - row : 0;
    const double *from = tap->data;
    double *all = to->tap.data;
    for (size_t o = 0; o < outer; o++) {
        for (size_t s = 0; s < j->length; s++) {
            memcpy(all + (o * j->total + j->first + s) * wide + before,
                   from + (o * j->length + s) * row, row * sizeof(double));
        }
    }
    return true;
}

/* ---- scores of keys that a chunk did not have
 * ------------------------------------------------------------- */

typedef struct {
    const llava_tap *into; /* scores of all positions, those of keys that a chunk had not missing */
    const llava_text_plan *plan;
    size_t chunk;
    bool slides; /* a chunk does not have the keys that its window has left behind, either */
} filling;

static bool wants_scores(void *self, const char *name)
{
    const filling *f = self;
    return strcmp(name, f->into->name) == 0;
}

static bool fill(void *self, const llava_tap *tap, llava_error *e)
{
    const filling *f = self;
    size_t total = tap->shape[3], rows = tap->shape[0] * tap->shape[1] * total;
    double *into = f->into->data;
    const double *whole = tap->data;
    (void)e;
    for (size_t i = 0; i < rows; i++) {
        size_t begin = i % total / f->chunk * f->chunk;
        size_t from = f->slides ? begin - llava_keys_kept(f->plan, begin) : 0;
        for (size_t t = 0; t < total; t++) {
            bool had = t >= from && t < begin + f->chunk;
            into[i * total + t] = had ? into[i * total + t] : whole[i * total + t];
        }
    }
    return true;
}

/* The scores of one layer once more, from all of q and the cache. */
static bool fill_scores(llava_run *r, joining *j, const llava_cache *cache, joint *scores)
{
    const llava_text_plan *t = &r->plan->text;
    char name[LLAVA_TAP_NAME];
    size_t n = strlen(scores->name) - strlen(".scores");
    snprintf(name, sizeof name, "%.*s.q_rope", (int)n, scores->name);
    joint *q = find(j, name);
    const char *number = strstr(scores->name, "layers.") + strlen("layers.");
    size_t layer = strtoul(number, NULL, 10);
    size_t block = cache->batch * cache->capacity * cache->width;
    scores->tap.name = scores->name;
    filling f = {&scores->tap, t, r->chunk, t->slides[layer]};
    llava_sink sink = {wants_scores, fill, &f};
    llava_run again = *r;
    again.sink = &sink;
    llava_attention_of all = {
        .name = "text",
        .layer = layer,
        .batch = cache->batch,
        .queries = j->total,
        .keys = j->total,
        .heads = t->heads,
        .kv_heads = t->kv_heads,
        .head_dim = t->head_dim,
        .kv_interleaved = t->kv_interleaved,
        .scale = t->attn_scale,
        .q = q->tap.data,
        .k = cache->keys + layer * block,
        .v = cache->values + layer * block,
        .kv_rows = cache->capacity,
    };
    llava_scratch_block *mark = llava_scratch_mark(&again);
    double *context = llava_scratch(&again, cache->batch * j->total, t->heads * t->head_dim);
    bool ok = context != NULL && llava_attention(&again, &all, context);
    llava_scratch_release(&again, mark);
    r->scratch = again.scratch;
    return ok;
}

/* Hands on what was joined, in the order in which it came. */
static bool hand_on(llava_run *r, joining *j, const llava_cache *cache)
{
    for (size_t i = 0; i < j->count; i++) {
        joint *x = &j->joints[i];
        x->tap.name = x->name;
        if (ends_with(x->name, ".scores") && !fill_scores(r, j, cache, x)) {
            return false;
        }
        if (j->inner->wants(j->inner->self, x->name) &&
            !j->inner->take(j->inner->self, &x->tap, r->error)) {
            return false;
        }
    }
    return true;
}

/* ---- the chunks
 * ----------------------------------------------------------------------------------- */

/* In chunks no query can look at a key behind its chunk, nor at one that a window has dropped. */
static bool sees_no_later_chunk(const llava_run *r, const llava_mask *mask, size_t batch)
{
    size_t total = mask->total;
    for (size_t i = 0; mask->sees != NULL && i < r->plan->text.layers; i++) {
        if (r->plan->text.slides[i]) {
            return llava_fail(r->error, "attention_mask: [B, 1, S, S] in chunks goes with no "
                                        "sliding window, whose cache forgets");
        }
    }
    for (size_t i = 0; mask->sees != NULL && i < batch * total; i++) {
        for (size_t t = (i % total / r->chunk + 1) * r->chunk; t < total; t++) {
            if (mask->sees[i * total + t]) {
                return llava_fail(r->error,
                                  "attention_mask: query %zu of sample %zu sees key %zu, which a "
                                  "chunk of %zu positions does not hold",
                                  i % total, i / total, t, r->chunk);
            }
        }
    }
    return true;
}

/* Positions first .. first + n - 1 of every sample. x: [B, S, H]. */
static bool chunk_of(llava_run *r, const llava_goal *goal, llava_cache *cache, size_t first,
                     size_t n, const int64_t *positions, const llava_mask *mask, double *x)
{
    size_t width = r->plan->text.hidden, total = mask->total;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *some = llava_scratch(r, cache->batch * n, width);
    int64_t *places = llava_alloc(r->error, cache->batch * n, sizeof(int64_t));
    int64_t *counts = llava_alloc(r->error, cache->batch * n, sizeof(int64_t));
    bool ok = some != NULL && places != NULL && counts != NULL;
    for (size_t b = 0; ok && b < cache->batch; b++) {
        size_t from = b * total + first;
        memcpy(some + b * n * width, x + from * width, n * width * sizeof(double));
        memcpy(places + b * n, positions + from, n * sizeof(int64_t));
        memcpy(counts + b * n, mask->counts + from, n * sizeof(int64_t));
    }
    llava_mask part = *mask;
    part.counts = counts;
    ok = ok && llava_language_model(r, goal, cache, n, places, &part, some);
    for (size_t b = 0; ok && b < cache->batch; b++) {
        memcpy(x + (b * total + first) * width, some + b * n * width, n * width * sizeof(double));
    }
    free(places);
    free(counts);
    llava_scratch_release(r, mark);
    return ok;
}

bool llava_prefill(llava_run *r, const llava_goal *goal, llava_cache *cache,
                   const int64_t *positions, const llava_mask *mask, double *x)
{
    size_t total = mask->total;
    if (r->chunk == 0 || r->chunk >= total) {
        return llava_language_model(r, goal, cache, total, positions, mask, x);
    }
    joining j = {.inner = r->sink, .total = total};
    llava_sink sink = {wants, take, &j};
    llava_run inner = *r;
    inner.sink = r->sink == NULL ? NULL : &sink;
    bool ok = sees_no_later_chunk(r, mask, cache->batch);
    for (j.first = 0; ok && j.first < total; j.first += r->chunk) {
        j.length = total - j.first < r->chunk ? total - j.first : r->chunk;
        ok = chunk_of(&inner, goal, cache, j.first, j.length, positions, mask, x);
    }
    r->scratch = inner.scratch;
    ok = ok && hand_on(r, &j, cache);
    for (size_t i = 0; i < j.count; i++) {
        free(j.joints[i].tap.data);
    }
    free(j.joints);
    return ok;
}
