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
    static const char *const inside[] = {".norm1", ".attn.", ".resid1", ".norm2", ".mlp."};
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        if (strstr(name, inside[i]) != NULL) {
            return false;
        }
    }
    return true;
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

/* The vector NAME + suffix [count] in the run's type, in scratch memory. */
static float *vector(llava_run *r, size_t count, const char *name, const char *suffix)
{
    double *exact = llava_scratch(r, 1, count);
    float *out = take(r, 1, count);
    if (exact == NULL || out == NULL ||
        !llava_vector_by_name(r, exact, count, "%s%s", name, suffix)) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)exact[i];
    }
    return out;
}

static bool linear(llava_run *r, float *y, const float *x, const llava_fast_rows *rows,
                   size_t inner, size_t outputs, bool biased, const char *name)
{
    char full[NAME + sizeof ".weight"];
    llava_weight w;
    llava_scratch_block *mark = llava_scratch_mark(r);
    float *bias = NULL;
    snprintf(full, sizeof full, "%s.weight", name);
    bool ok =
        llava_checkpoint_need(r->weights, &w, full, 2, (size_t[]){outputs, inner}, r->error) &&
        (!biased || (bias = vector(r, outputs, name, ".bias")) != NULL);
    if (ok) {
        llava_fast_product(r->fast, y, x, rows, &w, bias);
    }
    llava_scratch_release(r, mark);
    return ok;
}

bool llava_fast_linear(llava_run *r, double *y, const double *x, size_t rows, size_t inner,
                       size_t outputs, bool biased, const char *name)
{
    llava_fast_rows all = {1, 0, rows, r->fast->kernel.lanes};
    llava_scratch_block *mark = llava_scratch_mark(r);
    float *in = take(r, numbers(&all), inner), *out = take(r, numbers(&all), outputs);
    bool ok = in != NULL && out != NULL;
    if (ok) {
        llava_fast_pack(&all, inner, x, in);
        for (llava_fast_panel p = {0}; llava_fast_next(&all, &p);) {
            r->fast->kernel.lay(in + p.before * inner, inner, p.lanes, r->fast->bf16);
        }
        ok = linear(r, out, in, &all, inner, outputs, biased, name);
    }
    if (ok) {
        llava_fast_unpack(&all, outputs, out, y);
    }
    llava_scratch_release(r, mark);
    return ok;
}

/* ---- a block ------------------------------------------------------------------------------------
 */

/* Names: of the taps; of the weights, with the layer's number in it; of the parts that CLIP and
 * Llama call differently. */
typedef struct {
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

typedef struct {
    llava_run *r;
    llava_fast *f;
    llava_fast_state *s;
    const names *of;
    size_t layer, hidden, intermediate;
    bool norm_bias, qkv_bias, out_bias, mlp_bias;
    double eps;
    llava_act act;
    llava_fast_heads heads;
    const llava_fast_pass *pass; /* NULL: the tower, no rotation, no mask, no past */
    llava_fast_rows rows;        /* that are computed */
} block;

static void announce(const block *b, const char *tap)
{
    (void)llava_wanted(b->r, "%s.layers.%zu.%s", b->of->taps, b->layer, tap);
}

static const char *name_of(const block *b, char name[NAME], const char *part)
{
    int n = snprintf(name, NAME, b->of->weights, b->layer);
    snprintf(name + n, NAME - (size_t)n, ".%s", part);
    return name;
}

/* a = norm(h), laid */
static bool norm(const block *b, const char *part, const char *tap)
{
    char name[NAME];
    llava_scratch_block *mark = llava_scratch_mark(b->r);
    const float *weight = vector(b->r, b->hidden, name_of(b, name, part), ".weight"), *bias = NULL;
    bool ok = weight != NULL &&
              (!b->norm_bias || (bias = vector(b->r, b->hidden, name, ".bias")) != NULL);
    for (llava_fast_panel p = {0}; ok && llava_fast_next(&b->rows, &p);) {
        float *a = b->s->a + p.before * b->hidden, *h = b->s->h + p.before * b->hidden;
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
    bool ok = linear(b->r, y, x, &b->rows, inner, outputs, biased, name_of(b, name, part));
    announce(b, tap);
    return ok;
}

/* q or k in place, by the tables of the pass. */
static void rotate(const block *b, float *x, size_t heads)
{
    size_t d = b->heads.d;
    for (llava_fast_panel p = {0}; b->pass != NULL && llava_fast_next(&b->rows, &p);) {
        const float *cosine = b->s->cosine + p.before * d, *sine = b->s->sine + p.before * d;
        for (size_t h = 0; h < heads; h++, x += d * p.lanes) {
            b->f->kernel.rotate(x, cosine, sine, d / 2 * p.lanes);
        }
    }
}

/* Keys and values of all rows, from a = norm1(h). */
static bool keep(const block *b, size_t past)
{
    size_t width = b->heads.kv_heads * b->heads.d;
    float *k = b->s->wide, *v = k + numbers(&b->rows) * width;
    if (!project(b, "self_attn.k_proj", "attn.k", k, b->s->a, b->hidden, width, b->qkv_bias) ||
        !project(b, "self_attn.v_proj", "attn.v", v, b->s->a, b->hidden, width, b->qkv_bias)) {
        return false;
    }
    rotate(b, k, b->heads.kv_heads);
    return llava_fast_keep(b->f, &b->heads, past, &b->rows, k, v, b->r->error);
}

/* wide = W_o attention(W_q a, keys and values); a is lost. */
static bool attend(const block *b, size_t keys)
{
    size_t width = b->heads.heads * b->heads.d;
    float *a = b->s->a, *wide = b->s->wide;
    if (!project(b, "self_attn.q_proj", "attn.q", wide, a, b->hidden, width, b->qkv_bias)) {
        return false;
    }
    rotate(b, wide, b->heads.heads);
    announce(b, "attn.q_rope");
    llava_fast_attention(b->f, &b->heads, keys, &b->rows, wide, a);
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
    float *a = b->s->a, *wide = b->s->wide;
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
    b->f->kernel.add(b->s->h, b->s->h, x, count, 1, b->f->bf16);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Memory for all layers of the pass. */
static bool reserve(const block *b)
{
    llava_run *r = b->r;
    llava_fast_state *s = b->s;
    size_t rows = numbers(&b->rows), d = b->heads.d, inner = larger(b->hidden, b->heads.heads * d);
    size_t wide = larger(2 * b->heads.kv_heads * d, b->intermediate * (b->of->up == NULL ? 1 : 2));
    size_t mask = b->pass == NULL ? 0 : b->pass->past + b->pass->length;
    s->a = take(r, rows, inner);
    s->wide = take(r, rows, larger(inner, wide));
    s->scores = take(r, LLAVA_FAST_KEYS + mask, b->rows.lanes);
    s->cosine = take(r, rows, d);
    s->sine = take(r, rows, d);
    s->h = take(r, rows, b->hidden);
    return s->a != NULL && s->wide != NULL && s->scores != NULL && s->cosine != NULL &&
           s->sine != NULL && s->h != NULL;
}

/* h = the state x: [B, S, H] of the rows, and tables for them. */
static void begin(const block *b, const double *x)
{
    llava_fast_pack(&b->rows, b->hidden, x, b->s->h);
    if (b->pass != NULL) {
        llava_fast_pack(&b->rows, b->heads.d, b->pass->cosine, b->s->cosine);
        llava_fast_pack(&b->rows, b->heads.d, b->pass->sine, b->s->sine);
    }
}

/* x: [B, S, H], of which the last `needed` positions of each sample become the layer's output. */
static bool layer(block *b, size_t needed, double *x)
{
    llava_fast_state *s = b->s;
    size_t length = b->rows.length, past = b->pass == NULL ? 0 : b->pass->past;
    if (s->h == NULL && !reserve(b)) {
        return false;
    }
    b->heads.scores = s->scores;
    if (!s->inside) {
        begin(b, x);
    }
    bool ok = norm(b, b->of->norm1, "norm1") && keep(b, past);
    if (ok && needed < length) {
        llava_fast_unpack(&b->rows, b->hidden, s->h, x);
        b->rows.first = length - needed;
        begin(b, x);
        ok = norm(b, b->of->norm1, "norm1");
    }
    if (!ok || !attend(b, past + length)) {
        return false;
    }
    add(b, s->wide);
    if (!norm(b, b->of->norm2, "norm2") || !mlp(b)) {
        return false;
    }
    add(b, s->a);
    s->inside = !s->out && !llava_wanted(b->r, "%s.layers.%zu.output", b->of->taps, b->layer);
    if (s->inside) {
        return true;
    }
    llava_fast_unpack(&b->rows, b->hidden, s->h, x);
    return llava_put(b->r, x, (llava_shape){3, {b->rows.batch, length, b->hidden}},
                     "%s.layers.%zu.output", b->of->taps, b->layer);
}

bool llava_fast_vision_layer(llava_run *r, size_t i, size_t pictures, size_t rows, double *h,
                             llava_fast_state *state)
{
    const llava_vision_plan *v = &r->plan->vision;
    block b = {.r = r, .f = r->fast, .s = state, .of = &clip, .layer = i};
    b.hidden = v->hidden;
    b.intermediate = v->intermediate;
    b.norm_bias = b.qkv_bias = b.out_bias = b.mlp_bias = true;
    b.eps = v->norm_eps;
    b.act = v->act;
    b.heads = (llava_fast_heads){.heads = v->heads, .kv_heads = v->heads, .d = v->head_dim};
    b.heads.layers = 1;
    b.heads.scale = (float)v->attn_scale;
    b.rows = (llava_fast_rows){pictures, 0, rows, r->fast->kernel.lanes};
    return layer(&b, rows, h);
}

bool llava_fast_text_layer(llava_run *r, size_t i, const llava_fast_pass *pass, double *x,
                           llava_fast_state *state)
{
    const llava_text_plan *t = &r->plan->text;
    block b = {.r = r, .f = r->fast, .s = state, .of = &llama, .layer = i, .pass = pass};
    b.hidden = t->hidden;
    b.intermediate = t->intermediate;
    b.qkv_bias = t->qkv_bias;
    b.out_bias = t->out_bias;
    b.mlp_bias = t->mlp_bias;
    b.eps = t->norm_eps;
    b.act = t->act;
    b.heads = (llava_fast_heads){.heads = t->heads, .kv_heads = t->kv_heads, .d = t->head_dim};
    b.heads.layer = pass->keep ? i : 0;
    b.heads.layers = pass->keep ? t->layers : 1;
    b.heads.scale = (float)t->attn_scale;
    b.heads.visible = pass->visible;
    b.rows = (llava_fast_rows){pass->batch, 0, pass->length, r->fast->kernel.lanes};
    return layer(&b, i + 1 < t->layers ? pass->length : pass->needed, x);
}
