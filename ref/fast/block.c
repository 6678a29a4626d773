/* The blocks of the fast path: the formulas of ref/vision.c's and ref/text.c's layers in float32,
 * rounded behind every operation where the run is in bfloat16.
 *
 * Names of taps inside a block are announced, not handed out: bench's clock listens. */
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 160 };

/* ---- the run ------------------------------------------------------------------------------------
 */

bool llava_fast_check(const llava_plan *plan, llava_error *e)
{
    const uint16_t one = 1;
    /* LCOV_EXCL_START: another machine's */
    if (memcmp(&one, "\1", 1) != 0) {
        return llava_fail(e, "--path fast: a big-endian machine: only the plain path runs there");
    }
    /* LCOV_EXCL_STOP */
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)i);
        if (plan->choices.value[i] != 0) {
            return llava_fail(e, "--path fast: takes no decision, and %s=%s is set", d->name,
                              d->values[plan->choices.value[i]]);
        }
    }
    llava_dtype type = plan->numerics.storage;
    if (type != LLAVA_F32 && type != LLAVA_BF16) {
        return llava_fail(e, "--path fast: --dtype %s: only f32 and bf16", llava_dtype_name(type));
    }
    if (plan->numerics.islands) {
        return llava_fail(e, "--path fast: --numerics hf: only on the plain path");
    }
    if (plan->vision.tower == LLAVA_TOWER_PIXTRAL) {
        return llava_fail(e, "--path fast: a Pixtral tower: only CLIP and SigLIP");
    }
    for (size_t i = 0; i < plan->text.layers; i++) {
        if (plan->text.slides[i]) {
            return llava_fail(e,
                              "--path fast: text layer %zu has a sliding window: only the plain "
                              "path has them",
                              i);
        }
    }
    return true;
}

bool llava_fast_open(llava_fast **fast, llava_dtype type, const char *width, llava_error *e)
{
    llava_fast *f = llava_alloc(e, 1, sizeof *f);
    *fast = f;
    if (f == NULL) {
        return false;
    }
    f->bf16 = type == LLAVA_BF16;
    for (size_t i = 0; i < LLAVA_FAST_LANES; i++) {
        f->ones[i] = 1;
    }
    if (!llava_fast_choose(&f->kernel, width, llava_cpu_here(), f->bf16, e)) {
        free(f);
        *fast = NULL;
    }
    return *fast != NULL;
}

void llava_fast_close(llava_fast *f)
{
    if (f != NULL) {
        free(f->cache);
        free(f);
    }
}

bool llava_fast_has_tap(const char *name)
{
    const char *layer = strstr(name, ".layers.");
    return layer == NULL || strstr(layer, ".output") != NULL;
}

/* ---- small steps --------------------------------------------------------------------------------
 */

/* Scratch memory for panels, from a line of the cache on, so that vectors do not cross them. */
static float *take(llava_run *r, size_t rows, size_t width)
{
    enum { LINE = 64 };
    uint8_t *at = (uint8_t *)llava_scratch(r, rows, width / 2 + 1 + LINE / sizeof(double));
    return at == NULL ? NULL : (float *)(void *)(at + (LINE - (uintptr_t)at % LINE) % LINE);
}

/* Numbers of each feature in all panels. */
static size_t numbers(const llava_fast_rows *rows)
{
    llava_fast_panel p = {0};
    while (llava_fast_next(rows, &p)) {
    }
    return p.before;
}

bool llava_fast_linear(llava_run *r, double *y, const double *x, size_t rows, const llava_weight *w,
                       const llava_weight *bias)
{
    size_t outputs = w->shape[0], inner = w->shape[1];
    llava_fast_rows all = {1, 0, rows, r->fast->kernel.lanes};
    llava_scratch_block *mark = llava_scratch_mark(r);
    float *in = take(r, numbers(&all), inner), *out = take(r, numbers(&all), outputs);
    bool ok = in != NULL && out != NULL;
    if (ok) {
        llava_fast_pack(&all, inner, x, in);
        for (llava_fast_panel p = {0}; llava_fast_next(&all, &p);) {
            r->fast->kernel.lay(in + p.before * inner, inner, p.lanes, r->fast->bf16);
        }
        llava_fast_product(r->fast, out, in, &all, w, bias);
        llava_fast_unpack(&all, outputs, out, y);
    }
    llava_scratch_release(r, mark);
    return ok;
}

/* ---- a block ------------------------------------------------------------------------------------
 */

/* Names: of the taps; of the weights, with the layer's number in it; of the parts that CLIP and
 * Llama call differently. */
typedef struct llava_fast_names {
    const char *taps, *weights, *norm1, *out, *norm2, *first, *up, *last;
} names;

static const names clip = {"vision",      "vision_tower.vision_model.encoder.layers.%zu",
                           "layer_norm1", "self_attn.out_proj",
                           "layer_norm2", "mlp.fc1",
                           NULL,          "mlp.fc2"};
static const names llama = {"text",
                            "language_model.model.layers.%zu",
                            "input_layernorm",
                            "self_attn.o_proj",
                            "post_attention_layernorm",
                            "mlp.gate_proj",
                            "mlp.up_proj",
                            "mlp.down_proj"};

typedef llava_fast_block block;

static void announce(const block *b, const char *tap)
{
    (void)llava_wanted(b->r, "%s.layers.%zu.%s", b->of->taps, b->layer, tap);
}

static const char *name_of(const block *b, char name[NAME], const char *part, const char *suffix)
{
    int n = snprintf(name, NAME, b->of->weights, b->layer);
    snprintf(name + n, NAME - (size_t)n, ".%s%s", part, suffix);
    return name;
}

/* The vector PART + suffix [hidden] in the run's type, in scratch memory. */
static float *vector(const block *b, const char *part, const char *suffix)
{
    char name[NAME];
    llava_weight w;
    float *out = take(b->r, 1, b->hidden);
    if (out == NULL || !llava_checkpoint_need(b->r->weights, &w, name_of(b, name, part, suffix), 1,
                                              &b->hidden, b->r->error)) {
        return NULL;
    }
    b->f->kernel.convert(w.dtype, w.bytes, b->hidden, b->f->bf16, false, out);
    return out;
}

/* a = norm(h), laid */
static bool norm(const block *b, const char *part, const char *tap)
{
    llava_scratch_block *mark = llava_scratch_mark(b->r);
    const float *weight = vector(b, part, ".weight"), *bias = NULL;
    bool ok = weight != NULL && (!b->norm_bias || (bias = vector(b, part, ".bias")) != NULL);
    for (llava_fast_panel p = {0}; ok && llava_fast_next(&b->rows, &p);) {
        float *a = b->pass->a + p.before * b->hidden, *h = b->pass->h + p.before * b->hidden;
        b->f->kernel.norm(a, h, weight, bias, b->eps, b->hidden, p.lanes, b->f->bf16);
        b->f->kernel.lay(a, b->hidden, p.lanes, b->f->bf16);
    }
    llava_scratch_release(b->r, mark);
    announce(b, tap);
    return ok;
}

static bool project(const block *b, const char *part, const char *tap, float *y, const float *x,
                    size_t inner, size_t outputs, bool biased)
{
    char name[NAME];
    llava_weight w, bias;
    if (!llava_linear_weights(b->r, &w, &bias, inner, outputs, biased,
                              name_of(b, name, part, ""))) {
        return false;
    }
    llava_fast_product(b->f, y, x, &b->rows, &w, biased ? &bias : NULL);
    announce(b, tap);
    return true;
}

/* q or k in place, by the tables of the pass. */
static void rotate(const block *b, float *x, size_t heads)
{
    for (llava_fast_panel p = {0}; b->pass->cosine != NULL && llava_fast_next(&b->rows, &p);) {
        const float *cosine = b->pass->cosines + p.before * b->d;
        const float *sine = b->pass->sines + p.before * b->d;
        for (size_t h = 0; h < heads; h++, x += b->d * p.lanes) {
            b->f->kernel.rotate(x, cosine, sine, b->d / 2 * p.lanes);
        }
    }
}

/* Keys and values of all rows, from a = norm1(h). */
static bool keep(const block *b)
{
    size_t width = b->kv_heads * b->d;
    float *a = b->pass->a, *k = b->pass->wide, *v = k + numbers(&b->rows) * width;
    if (!project(b, "self_attn.k_proj", "attn.k", k, a, b->hidden, width, b->qkv_bias) ||
        !project(b, "self_attn.v_proj", "attn.v", v, a, b->hidden, width, b->qkv_bias)) {
        return false;
    }
    rotate(b, k, b->kv_heads);
    return llava_fast_keep(b, k, v);
}

/* wide = W_o attention(W_q a, keys and values); a is lost. */
static bool attend(const block *b)
{
    size_t width = b->heads * b->d;
    float *a = b->pass->a, *wide = b->pass->wide;
    if (!project(b, "self_attn.q_proj", "attn.q", wide, a, b->hidden, width, b->qkv_bias)) {
        return false;
    }
    rotate(b, wide, b->heads);
    announce(b, "attn.q_rope");
    llava_fast_attention(b, wide, a);
    announce(b, "attn.context");
    return project(b, b->of->out, "attn.out", wide, a, width, b->hidden, b->out_bias);
}

/* x = act(x), times `up` unless NULL. Activations that are neither quick_gelu nor silu go the plain
 * path's way. */
static void activate(const block *b, float *x, const float *up, size_t count)
{
    if (b->act == LLAVA_ACT_QUICK_GELU || b->act == LLAVA_ACT_SILU) {
        b->f->kernel.gate(x, up, b->act == LLAVA_ACT_SILU ? 1 : 1.702f, count, b->f->bf16);
        return;
    }
    enum { AT_ONCE = 256 };
    double part[AT_ONCE];
    for (size_t done = 0; done < count; done += AT_ONCE) {
        size_t n = llava_fast_least(count - done, AT_ONCE);
        for (size_t i = 0; i < n; i++) {
            part[i] = (double)x[done + i];
        }
        llava_activate(&b->r->plan->numerics, b->act, part, part, n);
        for (size_t i = 0; i < n; i++) {
            x[done + i] = (float)part[i] * (up == NULL ? 1 : up[done + i]);
        }
    }
}

/* a = W_last(act(W_first a) (* W_up a)) */
static bool mlp(const block *b)
{
    size_t inner = b->intermediate;
    float *a = b->pass->a, *wide = b->pass->wide;
    float *up = b->of->up == NULL ? NULL : wide + numbers(&b->rows) * inner;
    if (!project(b, b->of->first, "mlp.fc1", wide, a, b->hidden, inner, b->mlp_bias) ||
        (up != NULL && !project(b, b->of->up, "mlp.up", up, a, b->hidden, inner, b->mlp_bias))) {
        return false;
    }
    for (llava_fast_panel p = {0}; llava_fast_next(&b->rows, &p);) {
        float *x = wide + p.before * inner;
        activate(b, x, up == NULL ? NULL : up + p.before * inner, inner * p.lanes);
        b->f->kernel.lay(x, inner, p.lanes, b->f->bf16);
    }
    announce(b, "mlp.act");
    return project(b, b->of->last, "mlp.out", a, wide, inner, b->hidden, b->mlp_bias);
}

/* h = h + x */
static void add(const block *b, const float *x)
{
    size_t count = numbers(&b->rows) * b->hidden;
    b->f->kernel.add(b->pass->h, b->pass->h, x, count, 1, b->f->bf16);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Memory for all layers of the pass. */
static bool reserve(const block *b)
{
    llava_run *r = b->r;
    llava_fast_pass *p = b->pass;
    size_t rows = numbers(&b->rows), inner = larger(b->hidden, b->heads * b->d);
    size_t both = larger(2 * b->kv_heads * b->d, b->intermediate * (b->of->up == NULL ? 1 : 2));
    size_t mask = p->visible == NULL ? 0 : p->past + p->length;
    return (p->a = take(r, rows, inner)) != NULL &&
           (p->wide = take(r, rows, larger(inner, both))) != NULL &&
           (p->scores = take(r, LLAVA_FAST_KEYS + mask, b->rows.lanes)) != NULL &&
           (p->cosines = take(r, rows, b->d)) != NULL && (p->sines = take(r, rows, b->d)) != NULL &&
           (p->h = take(r, rows, b->hidden)) != NULL;
}

/* h = the state x: [B, S, H] of the rows, and tables for them. */
static void begin(const block *b, const double *x)
{
    llava_fast_pack(&b->rows, b->hidden, x, b->pass->h);
    if (b->pass->cosine != NULL) {
        llava_fast_pack(&b->rows, b->d, b->pass->cosine, b->pass->cosines);
        llava_fast_pack(&b->rows, b->d, b->pass->sine, b->pass->sines);
    }
}

/* x: [B, S, H], of which the last `needed` positions of each sample become the layer's output. */
static bool layer(block *b, size_t needed, double *x)
{
    llava_fast_pass *p = b->pass;
    b->f = b->r->fast;
    b->rows = (llava_fast_rows){p->batch, 0, p->length, b->f->kernel.lanes};
    if (p->h == NULL && !reserve(b)) {
        return false;
    }
    if (!p->inside) {
        begin(b, x);
    }
    bool ok = norm(b, b->of->norm1, "norm1") && keep(b);
    if (ok && needed < p->length) {
        llava_fast_unpack(&b->rows, b->hidden, p->h, x);
        b->rows.first = p->length - needed;
        begin(b, x);
        ok = norm(b, b->of->norm1, "norm1");
    }
    if (!ok || !attend(b)) {
        return false;
    }
    add(b, p->wide);
    if (!norm(b, b->of->norm2, "norm2") || !mlp(b)) {
        return false;
    }
    add(b, p->a);
    p->inside = !p->out && !llava_wanted(b->r, "%s.layers.%zu.output", b->of->taps, b->layer);
    if (p->inside) {
        return true;
    }
    llava_fast_unpack(&b->rows, b->hidden, p->h, x);
    return llava_put(b->r, x, (llava_shape){3, {p->batch, p->length, b->hidden}},
                     "%s.layers.%zu.output", b->of->taps, b->layer);
}

bool llava_fast_vision_layer(llava_run *r, size_t i, llava_fast_pass *pass, double *h)
{
    const llava_vision_plan *v = &r->plan->vision;
    block b = {.r = r, .pass = pass, .of = &clip, .layer = i, .slots = 1};
    b.norm_bias = b.qkv_bias = b.out_bias = b.mlp_bias = true;
    b.hidden = v->hidden;
    b.intermediate = v->intermediate;
    b.eps = v->norm_eps;
    b.act = v->act;
    b.heads = b.kv_heads = v->heads;
    b.d = v->head_dim;
    b.scale = v->attn_scale;
    return layer(&b, pass->needed, h);
}

bool llava_fast_text_layer(llava_run *r, size_t i, llava_fast_pass *pass, double *x)
{
    const llava_text_plan *t = &r->plan->text;
    block b = {.r = r, .pass = pass, .of = &llama, .layer = i};
    b.slot = pass->keep ? i : 0;
    b.slots = pass->keep ? t->layers : 1;
    b.qkv_bias = t->qkv_bias;
    b.out_bias = t->out_bias;
    b.mlp_bias = t->mlp_bias;
    b.hidden = t->hidden;
    b.intermediate = t->intermediate;
    b.eps = t->norm_eps;
    b.act = t->act;
    b.heads = t->heads;
    b.kv_heads = t->kv_heads;
    b.d = t->head_dim;
    b.scale = t->attn_scale;
    return layer(&b, i + 1 < t->layers ? pass->length : pass->needed, x);
}
