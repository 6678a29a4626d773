/* Scaled dot-product attention.
 *
 *   scores[b,h,s,t] = scale * (q[b,s,h] . k[b,t,h'])     h' = the k/v head that h shares
 *   probs[b,h,s,:]  = softmax over the visible keys t (an additive mask added first, where given)
 *   context[b,s,h]  = sum over t of probs[b,h,s,t] v[b,t,h']
 *
 * The product and the scale are two tensor operations in transformers, so the scores are rounded
 * twice. CLIP's eager path scaled q before the product until 4.52: the same in exact arithmetic,
 * other digits in bfloat16. */
#include "ref/elementary.h"
#include "stage.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A head of k or v as the right-hand side of a product. */
static const double *head_rows(const llava_attention_of *a, const double *kv, size_t b, size_t h)
{
    size_t group = a->heads / a->kv_heads;
    size_t shared = a->kv_interleaved ? h % a->kv_heads : h / group;
    return kv + (b * a->kv_rows * a->kv_heads + shared) * a->head_dim;
}

static bool score(llava_run *r, const llava_attention_of *a, size_t b, size_t h, double *scores)
{
    const llava_numerics *n = &r->plan->numerics;
    size_t d = a->head_dim;
    const double *q = a->q + (b * a->queries * a->heads + h) * d;
    llava_factor keys = {
        .matrix = head_rows(a, a->k, b, h), .output_stride = a->kv_heads * d, .inner_stride = 1};
    if (!llava_product(n, scores, a->keys, q, a->heads * d, a->queries, d, a->keys, &keys,
                       r->error)) {
        return false;
    }
    size_t count = a->queries * a->keys;
    llava_round_all(n->storage, scores, count);
    for (size_t i = 0; i < count; i++) {
        scores[i] *= a->scale;
    }
    llava_round_all(n->storage, scores, count);
    return true;
}

static bool all_finite(const llava_attention_of *a, const double *v)
{
    for (size_t t = 0; t < a->keys; t++) {
        for (size_t j = 0; j < a->head_dim; j++) {
            if (!isfinite(v[t * a->kv_heads * a->head_dim + j])) {
                return false;
            }
        }
    }
    return true;
}

/* The weighted sum with every step in sight: a masked key is left out, so that an infinity or a NaN
 * behind the mask stays there (0 times NaN is NaN; transformers multiplies all the same, which the
 * islands mode keeps); the running sum may be kept in float16, as some ports do. */
static void weigh_plainly(const llava_numerics *n, const llava_attention_of *a, const double *probs,
                          const double *v, const uint8_t *visible, double *context, size_t stride)
{
    for (size_t s = 0; s < a->queries; s++) {
        for (size_t j = 0; j < a->head_dim; j++) {
            double sum = 0;
            for (size_t t = 0; t < a->keys; t++) {
                double p = probs[s * a->keys + t];
                bool masked = visible != NULL && !visible[s * a->keys + t] && p == 0;
                if (masked && !n->islands) {
                    continue;
                }
                sum += p * v[t * a->kv_heads * a->head_dim + j];
                sum = n->attn_accumulate_f16 ? llava_round(LLAVA_F16, sum) : sum;
            }
            context[s * stride + j] = sum;
        }
    }
}

/* exp(score - highest), in float32. */
static double flash_weight(double score, double highest)
{
    return llava_round(LLAVA_F32, llava_exp(llava_round(LLAVA_F32, score - highest)));
}

/* One query's row in one pass, as flash attention goes (ggml's on CPU): float16 q, k and v; the sum
 * of unnormalised weights times values kept in float16, rescaled when a higher score comes. */
static void flash_row(const llava_numerics *n, const llava_attention_of *a, const double *q,
                      const double *k, const double *v, const uint8_t *visible, const double *bias,
                      double *sum)
{
    const size_t d = a->head_dim, stride = a->kv_heads * d;
    double highest = -(double)INFINITY, weights = 0;
    for (size_t j = 0; j < d; j++) {
        sum[j] = 0;
    }
    for (size_t t = 0; t < a->keys; t++) {
        if (visible != NULL && !visible[t]) {
            continue;
        }
        double score = 0;
        for (size_t j = 0; j < d; j++) {
            score += llava_round(LLAVA_F16, q[j]) * llava_round(LLAVA_F16, k[t * stride + j]);
            score = n->sums_f32 ? llava_round(LLAVA_F32, score) : score;
        }
        score = llava_round(LLAVA_F32, llava_round(LLAVA_F32, score) * a->scale);
        score = bias == NULL ? score : llava_round(LLAVA_F32, score + bias[t]);
        double weight = score > highest ? 1 : flash_weight(score, highest);
        if (score > highest) {
            double shrink = flash_weight(highest, score);
            for (size_t j = 0; j < d; j++) {
                sum[j] = llava_round(LLAVA_F16, sum[j] * shrink);
            }
            weights = llava_round(LLAVA_F32, weights * shrink);
            highest = score;
        }
        for (size_t j = 0; j < d; j++) {
            double term = weight * llava_round(LLAVA_F16, v[t * stride + j]);
            sum[j] = llava_round(LLAVA_F16, sum[j] + term);
        }
        weights = llava_round(LLAVA_F32, weights + weight);
    }
    for (size_t j = 0; j < d && weights > 0; j++) {
        sum[j] = sum[j] / weights;
    }
}

static bool weigh(llava_run *r, const llava_attention_of *a, size_t b, size_t h,
                  const double *probs, double *context)
{
    const llava_numerics *n = &r->plan->numerics;
    size_t d = a->head_dim, stride = a->heads * d;
    const double *v = head_rows(a, a->v, b, h);
    const uint8_t *visible = a->visible == NULL ? NULL : a->visible + b * a->queries * a->keys;
    double *out = context + (b * a->queries * a->heads + h) * d;
    if (n->attn_flash_f16) {
        for (size_t s = 0; s < a->queries; s++) {
            flash_row(n, a, a->q + ((b * a->queries + s) * a->heads + h) * d,
                      head_rows(a, a->k, b, h), v, visible == NULL ? NULL : visible + s * a->keys,
                      a->bias == NULL ? NULL : a->bias + (b * a->queries + s) * a->keys,
                      out + s * stride);
        }
    } else if (n->attn_accumulate_f16 || !all_finite(a, v)) {
        weigh_plainly(n, a, probs, v, visible, out, stride);
    } else {
        llava_factor values = {.matrix = v, .output_stride = 1, .inner_stride = a->kv_heads * d};
        if (!llava_product(n, out, stride, probs, a->keys, a->queries, a->keys, d, &values,
                           r->error)) {
            return false;
        }
    }
    for (size_t s = 0; s < a->queries; s++) {
        llava_round_all(n->storage, out + s * stride, d);
    }
    return true;
}

/* The scores with the additive mask, one more operation; where there is none, as they are. */
static const double *add_bias(const llava_numerics *n, const llava_attention_of *a, size_t b,
                              const double *scores, double *sums)
{
    size_t square = a->queries * a->keys;
    if (a->bias == NULL) {
        return scores;
    }
    for (size_t i = 0; i < square; i++) {
        bool seen = a->visible == NULL || a->visible[b * square + i];
        sums[i] = seen ? scores[i] + a->bias[b * square + i] : scores[i];
    }
    llava_round_all(n->storage, sums, square);
    return sums;
}

/* Heads first .. first + count (over batch and heads): scores, probabilities, context. */
static bool some_heads(llava_run *r, const llava_attention_of *a, size_t first, size_t count,
                       double *scores, double *probs, double *context)
{
    const llava_numerics *n = &r->plan->numerics;
    llava_shape shape = {4, {a->batch, a->heads, a->queries, a->keys}};
    size_t square = a->queries * a->keys;
    for (size_t i = 0; i < count; i++) {
        if (!score(r, a, (first + i) / a->heads, (first + i) % a->heads, scores + i * square)) {
            return false;
        }
    }
    bool whole = count == a->batch * a->heads;
    if (whole && !llava_put(r, scores, shape, "%s.layers.%zu.attn.scores", a->name, a->layer)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t b = (first + i) / a->heads;
        llava_softmax(n, probs + i * square,
                      add_bias(n, a, b, scores + i * square, probs + i * square),
                      a->visible == NULL ? NULL : a->visible + b * square, a->queries, a->keys);
    }
    if (whole && !llava_put(r, probs, shape, "%s.layers.%zu.attn.probs", a->name, a->layer)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!weigh(r, a, (first + i) / a->heads, (first + i) % a->heads, probs + i * square,
                   context)) {
            return false;
        }
    }
    return true;
}

static bool all_heads(llava_run *r, const llava_attention_of *a, double *context)
{
    llava_scratch_block *mark = llava_scratch_mark(r);
    size_t heads = a->batch * a->heads, square;
    /* All heads at once only where someone wants to see them: scores grow with the square of S. */
    bool seen = llava_wanted(r, "%s.layers.%zu.attn.scores", a->name, a->layer) ||
                llava_wanted(r, "%s.layers.%zu.attn.probs", a->name, a->layer);
    size_t at_once = seen ? heads : 1;
    if (!llava_mul(a->queries, a->keys, &square)) {
        return llava_fail(r->error, "out of memory (%zu x %zu scores)", a->queries, a->keys);
    }
    double *scores = llava_scratch(r, at_once, square);
    double *probs = scores == NULL ? NULL : llava_scratch(r, at_once, square);
    bool ok = probs != NULL;
    for (size_t h = 0; ok && h < heads; h += at_once) {
        ok = some_heads(r, a, h, at_once, scores, probs, context);
    }
    llava_scratch_release(r, mark);
    return ok;
}

/* The wanted queries of sample b (llava_run's only), side by side, as an attention of their own. */
static bool some_queries(llava_run *r, const llava_attention_of *a, size_t b, double *context)
{
    const bool *wanted = r->only->wanted + b * a->queries;
    size_t width = a->heads * a->head_dim, first = b * a->queries, count = 0;
    size_t before = b * a->kv_rows * a->kv_heads * a->head_dim;
    for (size_t s = 0; s < a->queries; s++) {
        count += wanted[s];
    }
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *q = llava_scratch(r, count, width), *out = llava_scratch(r, count, width);
    double *bias = a->bias == NULL ? NULL : llava_scratch(r, count, a->keys);
    uint8_t *visible = a->visible == NULL ? NULL : llava_alloc(r->error, count, a->keys);
    bool ok = q != NULL && out != NULL && (a->bias == NULL || bias != NULL) &&
              (a->visible == NULL || visible != NULL);
    for (size_t s = 0, at = 0; ok && s < a->queries; at += wanted[s++]) {
        if (wanted[s] && visible != NULL) {
            memcpy(visible + at * a->keys, a->visible + (first + s) * a->keys, a->keys);
        }
        if (wanted[s] && bias != NULL) {
            memcpy(bias + at * a->keys, a->bias + (first + s) * a->keys, a->keys * sizeof *bias);
        }
        if (wanted[s]) {
            memcpy(q + at * width, a->q + (first + s) * width, width * sizeof *q);
        }
    }
    llava_attention_of some = *a;
    some.batch = 1;
    some.queries = count;
    some.q = q;
    some.k += before;
    some.v += before;
    some.visible = visible;
    some.bias = bias;
    ok = ok && all_heads(r, &some, out);
    for (size_t s = 0, at = 0; ok && s < a->queries; at += wanted[s++]) {
        if (wanted[s]) {
            memcpy(context + (first + s) * width, out + at * width, width * sizeof *out);
        }
    }
    free(visible);
    llava_scratch_release(r, mark);
    return ok;
}

/* All queries, or, where nobody looks at scores and probabilities, the wanted ones. */
static bool all_samples(llava_run *r, const llava_attention_of *a, double *context)
{
    bool some = r->only != NULL && r->only->count == a->batch * a->queries &&
                !llava_wanted(r, "%s.layers.%zu.attn.scores", a->name, a->layer) &&
                !llava_wanted(r, "%s.layers.%zu.attn.probs", a->name, a->layer);
    bool ok = some || all_heads(r, a, context);
    for (size_t b = 0; some && ok && b < a->batch; b++) {
        ok = some_queries(r, a, b, context);
    }
    return ok;
}

bool llava_attention(llava_run *r, const llava_attention_of *a, double *context)
{
    bool ok = a->runs != NULL || all_samples(r, a, context);
    size_t first = 0; /* of a run's positions */
    for (size_t i = 0; ok && i < a->run_count; i++) {
        llava_attention_of run = *a;
        run.queries = run.keys = run.kv_rows = a->runs[i];
        run.q += first * a->heads * a->head_dim;
        run.k += first * a->kv_heads * a->head_dim;
        run.v += first * a->kv_heads * a->head_dim;
        ok = all_heads(r, &run, context + first * a->heads * a->head_dim);
        first += a->runs[i];
    }
    return ok &&
           llava_put(r, context, (llava_shape){3, {a->batch, a->queries, a->heads * a->head_dim}},
                     "%s.layers.%zu.attn.context", a->name, a->layer);
}
