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

bool llava_fast_open(llava_fast **fast, const char *width, llava_error *e)
{
    llava_fast_kernels kernel;
    *fast = NULL;
    if (!llava_fast_choose(&kernel, width, llava_fast_machine_has, e) ||
        (*fast = llava_alloc(e, 1, sizeof **fast)) == NULL) {
        return false;
    }
    (*fast)->kernel = kernel;
    return true;
}

void llava_fast_close(llava_fast *f)
{
    if (f == NULL) {
        return;
    }
    llava_fast_room *rooms[] = {&f->w,    &f->vector, &f->weight, &f->h,   &f->a,
                                &f->wide, &f->scores, &f->cosine, &f->sine};
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        free(rooms[i]->at);
    }
    for (size_t i = 0; i < f->layers; i++) {
        free(f->caches[i].at);
    }
    free(f->caches);
    free(f);
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

static bool is_bf16(const llava_run *r)
{
    return r->plan->numerics.storage == LLAVA_BF16;
}

/* The last `count` of `length` rows of each sample. */
static llava_fast_rows last_rows(const llava_run *r, size_t batch, size_t length, size_t count)
{
    return (llava_fast_rows){batch, length - count, length, r->fast->kernel.lanes};
}

/* The vector NAME + suffix [count] in the run's type. */
static float *vector(llava_run *r, llava_fast_room *room, size_t count, const char *name,
                     const char *suffix)
{
    float *out = llava_fast_take(room, 1, count, r->error);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *exact = llava_scratch(r, 1, count);
    bool ok =
        out != NULL && exact != NULL && llava_vector_by_name(r, exact, count, "%s%s", name, suffix);
    for (size_t i = 0; ok && i < count; i++) {
        out[i] = (float)exact[i];
    }
    llava_scratch_release(r, mark);
    return ok ? out : NULL;
}

static bool linear(llava_run *r, float *y, const float *x, const llava_fast_rows *rows,
                   size_t inner, size_t outputs, bool biased, const char *name)
{
    char full[NAME + sizeof ".weight"];
    llava_weight w;
    float *bias = NULL;
    snprintf(full, sizeof full, "%s.weight", name);
    return llava_checkpoint_need(r->weights, &w, full, 2, (size_t[]){outputs, inner}, r->error) &&
           (!biased || (bias = vector(r, &r->fast->vector, outputs, name, ".bias")) != NULL) &&
           llava_fast_product(r->fast, is_bf16(r), y, x, rows, inner, outputs, &w, bias, r->error);
}

bool llava_fast_linear(llava_run *r, double *y, const double *x, size_t rows, size_t inner,
                       size_t outputs, bool biased, const char *name)
{
    llava_fast *f = r->fast;
    llava_fast_rows all = last_rows(r, 1, rows, rows);
    float *in = llava_fast_pack(f, &f->a, is_bf16(r), &all, inner, x, r->error);
    float *out = llava_fast_take(&f->wide, llava_fast_numbers(&all), outputs, r->error);
    if (in == NULL || out == NULL) {
        return false;
    }
    for (size_t t = 0; t < llava_fast_panels(&all); t++) {
        llava_fast_panel p = llava_fast_panel_at(&all, t);
        llava_fast_lay(f, is_bf16(r), in + p.before * inner, inner, p.lanes);
    }
    if (!linear(r, out, in, &all, inner, outputs, biased, name)) {
        return false;
    }
    llava_fast_unpack(&all, outputs, out, y);
    return true;
}

/* y = act(x), times `up` unless NULL. Activations that are neither quick_gelu nor silu go the plain
 * path's way. */
static void activate(const llava_run *r, llava_act act, float *y, const float *x, const float *up,
                     size_t count)
{
    const llava_fast_kernels *kernel = &r->fast->kernel;
    if (act == LLAVA_ACT_QUICK_GELU || act == LLAVA_ACT_SILU) {
        kernel->gate(y, x, up, act == LLAVA_ACT_SILU ? 1 : 1.702f, count, is_bf16(r));
        return;
    }
    enum { AT_ONCE = 256 };
    double part[AT_ONCE];
    for (size_t done = 0; done < count; done += AT_ONCE) {
        size_t n = count - done < AT_ONCE ? count - done : AT_ONCE;
        for (size_t i = 0; i < n; i++) {
            part[i] = (double)x[done + i];
        }
        llava_activate(&r->plan->numerics, act, part, part, n);
        for (size_t i = 0; i < n; i++) {
            y[done + i] = (float)part[i] * (up == NULL ? 1 : up[done + i]);
        }
        kernel->add(y + done, y + done, NULL, n, 1, is_bf16(r));
    }
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
    const names *of;
    size_t layer, hidden, intermediate;
    struct {
        bool norm, qkv, out, mlp;
    } biased;
    double eps;
    llava_act act;
    llava_fast_heads heads;
    const llava_fast_pass *pass; /* NULL: the tower, no rotation, no mask, no past */
    llava_fast_rows rows;        /* that are computed */
} block;

/* True, so that it stands between the steps. */
static bool announce(const block *b, const char *tap)
{
    (void)llava_wanted(b->r, "%s.layers.%zu.%s", b->of->taps, b->layer, tap);
    return true;
}

static const char *name_of(const block *b, char name[NAME], const char *part)
{
    int n = snprintf(name, NAME, b->of->weights, b->layer);
    snprintf(name + n, NAME - (size_t)n, ".%s", part);
    return name;
}

/* a = norm(h), laid */
static bool norm(const block *b, const char *part, float *a)
{
    llava_fast *f = b->r->fast;
    char name[NAME];
    const float *h = f->h.at, *bias = NULL, *weight;
    if ((weight = vector(b->r, &f->weight, b->hidden, name_of(b, name, part), ".weight")) == NULL ||
        (b->biased.norm && (bias = vector(b->r, &f->vector, b->hidden, name, ".bias")) == NULL)) {
        return false;
    }
    for (size_t t = 0; t < llava_fast_panels(&b->rows); t++) {
        llava_fast_panel p = llava_fast_panel_at(&b->rows, t);
        size_t at = p.before * b->hidden;
        f->kernel.norm(a + at, h + at, weight, bias, b->eps, b->hidden, p.lanes, b->heads.bf16);
        llava_fast_lay(f, b->heads.bf16, a + at, b->hidden, p.lanes);
    }
    return true;
}

static bool project(const block *b, const char *part, float *y, const float *x, size_t inner,
                    size_t outputs, bool biased)
{
    char name[NAME];
    return linear(b->r, y, x, &b->rows, inner, outputs, biased, name_of(b, name, part));
}

/* q or k in place, by the tables of the pass. */
static bool rotate(const block *b, float *x, size_t heads)
{
    llava_fast *f = b->r->fast;
    llava_error *e = b->r->error;
    size_t d = b->heads.d;
    if (b->pass == NULL) {
        return true;
    }
    float *cosine = llava_fast_pack(f, &f->cosine, false, &b->rows, d, b->pass->cosine, e);
    float *sine = llava_fast_pack(f, &f->sine, false, &b->rows, d, b->pass->sine, e);
    if (cosine == NULL || sine == NULL) {
        return false;
    }
    for (size_t i = 0; i < llava_fast_panels(&b->rows) * heads; i++) {
        llava_fast_panel p = llava_fast_panel_at(&b->rows, i / heads);
        size_t at = p.before * d, half = d / 2 * p.lanes;
        f->kernel.rotate(x, cosine + at, sine + at, half, b->heads.bf16);
        x += 2 * half;
    }
    return true;
}

/* Keys and values of all rows, from a = norm1(h). wide: room for both */
static bool keep(const block *b, size_t past, const float *a, float *wide)
{
    size_t width = b->heads.kv_heads * b->heads.d;
    float *v = wide + llava_fast_numbers(&b->rows) * width;
    return project(b, "self_attn.k_proj", wide, a, b->hidden, width, b->biased.qkv) &&
           project(b, "self_attn.v_proj", v, a, b->hidden, width, b->biased.qkv) &&
           rotate(b, wide, b->heads.kv_heads) &&
           llava_fast_keep(b->r->fast, &b->heads, past, &b->rows, wide, v, b->r->error);
}

/* LCOV_EXCL_BR_START: announce and add are true always */

/* wide = W_o attention(W_q a, keys and values); a is lost. */
static bool attend(const block *b, size_t keys, float *a, float *wide)
{
    size_t width = b->heads.heads * b->heads.d;
    return project(b, "self_attn.q_proj", wide, a, b->hidden, width, b->biased.qkv) &&
           announce(b, "attn.v") && rotate(b, wide, b->heads.heads) && announce(b, "attn.k_rope") &&
           llava_fast_attention(b->r->fast, &b->heads, keys, &b->rows, wide, a, b->r->error) &&
           announce(b, "attn.context") &&
           project(b, b->of->out, wide, a, width, b->hidden, b->biased.out) &&
           announce(b, "attn.out");
}

/* a = W_last(act(W_first a) (* W_up a)). wide: room for two intermediates. */
static bool mlp(const block *b, float *a, float *wide)
{
    size_t inner = b->intermediate;
    float *up = b->of->up == NULL ? NULL : wide + llava_fast_numbers(&b->rows) * inner;
    if (!project(b, b->of->first, wide, a, b->hidden, inner, b->biased.mlp) ||
        (up != NULL && !project(b, b->of->up, up, a, b->hidden, inner, b->biased.mlp))) {
        return false;
    }
    announce(b, up == NULL ? "mlp.fc1" : "mlp.up");
    for (size_t t = 0; t < llava_fast_panels(&b->rows); t++) {
        llava_fast_panel p = llava_fast_panel_at(&b->rows, t);
        size_t at = p.before * inner;
        float *x = wide + at;
        activate(b->r, b->act, x, x, up == NULL ? NULL : up + at, inner * p.lanes);
        llava_fast_lay(b->r->fast, b->heads.bf16, x, inner, p.lanes);
    }
    announce(b, "mlp.act");
    return project(b, b->of->last, a, wide, inner, b->hidden, b->biased.mlp) &&
           announce(b, "mlp.out");
}

/* h = x in panels, unless it is there; a = norm1(h) */
static bool begin(const block *b, bool inside, const double *x, float *a)
{
    llava_fast *f = b->r->fast;
    return (inside || llava_fast_pack(f, &f->h, b->heads.bf16, &b->rows, b->hidden, x,
                                      b->r->error) != NULL) &&
           norm(b, b->of->norm1, a);
}

/* h = h + x; true */
static bool add(const block *b, const float *x)
{
    llava_fast *f = b->r->fast;
    size_t count = llava_fast_numbers(&b->rows) * b->hidden;
    f->kernel.add(f->h.at, f->h.at, x, count, 1, b->heads.bf16);
    return true;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* x: [B, S, H], of which the last `needed` positions of each sample become the layer's output. */
static bool layer(block *b, size_t needed, double *x, llava_fast_state *state)
{
    llava_fast *f = b->r->fast;
    size_t length = b->rows.length, past = b->pass == NULL ? 0 : b->pass->past;
    size_t rows = llava_fast_numbers(&b->rows), d = b->heads.d;
    size_t inner = larger(b->hidden, b->heads.heads * d);
    size_t both = b->intermediate * (b->of->up == NULL ? 1 : 2);
    size_t widest = larger(inner, larger(2 * b->heads.kv_heads * d, both));
    float *a = llava_fast_take(&f->a, rows, inner, b->r->error);
    float *wide = llava_fast_take(&f->wide, rows, widest, b->r->error);
    bool ok = a != NULL && wide != NULL && b->heads.cache != NULL &&
              begin(b, state->inside, x, a) && announce(b, "norm1") && keep(b, past, a, wide);
    if (ok && needed < length) {
        if (state->inside) {
            llava_fast_unpack(&b->rows, b->hidden, f->h.at, x);
        }
        b->rows = last_rows(b->r, b->rows.batch, length, needed);
        ok = begin(b, false, x, a);
    }
    ok = ok && attend(b, past + length, a, wide) && add(b, wide) && norm(b, b->of->norm2, a) &&
         announce(b, "norm2") && mlp(b, a, wide) && add(b, a);
    bool wanted = ok && llava_wanted(b->r, "%s.layers.%zu.output", b->of->taps, b->layer);
    state->inside = !wanted && !state->out;
    if (ok && !state->inside) {
        llava_fast_unpack(&b->rows, b->hidden, f->h.at, x);
    }
    return ok &&
           (!wanted || llava_put(b->r, x, (llava_shape){3, {b->rows.batch, length, b->hidden}},
                                 "%s.layers.%zu.output", b->of->taps, b->layer));
}

/* LCOV_EXCL_BR_STOP */

/* The room for keys and values of a layer; the tower, and a pass without a future, need one at a
 * time. NULL with an error where there is no memory. */
static llava_fast_room *cache_of(llava_run *r, size_t layer)
{
    llava_fast *f = r->fast;
    if (f->caches == NULL) {
        size_t layers = r->plan->text.layers + 1; /* one for the tower where there is no other */
        f->caches = llava_alloc(r->error, layers, sizeof *f->caches);
        f->layers = f->caches == NULL ? 0 : layers;
    }
    return f->caches == NULL ? NULL : &f->caches[layer];
}

bool llava_fast_vision_layer(llava_run *r, size_t i, size_t pictures, size_t rows, double *h,
                             llava_fast_state *state)
{
    const llava_vision_plan *v = &r->plan->vision;
    block b = {.r = r, .of = &clip, .layer = i, .hidden = v->hidden, .eps = v->norm_eps};
    b.act = v->act;
    b.intermediate = v->intermediate;
    b.biased.norm = b.biased.qkv = b.biased.out = b.biased.mlp = true;
    b.heads = (llava_fast_heads){v->heads,      v->heads, v->head_dim,   is_bf16(r),
                                 v->attn_scale, NULL,     cache_of(r, 0)};
    b.rows = last_rows(r, pictures, rows, rows);
    return layer(&b, rows, h, state);
}

bool llava_fast_text_layer(llava_run *r, size_t i, const llava_fast_pass *pass, double *x,
                           llava_fast_state *state)
{
    const llava_text_plan *t = &r->plan->text;
    llava_fast_room *cache = cache_of(r, pass->keep ? i : 0);
    block b = {.r = r, .of = &llama, .layer = i, .hidden = t->hidden, .eps = t->norm_eps};
    b.act = t->act;
    b.intermediate = t->intermediate;
    b.biased.qkv = t->qkv_bias;
    b.biased.out = t->out_bias;
    b.biased.mlp = t->mlp_bias;
    b.heads = (llava_fast_heads){t->heads,      t->kv_heads,   t->head_dim, is_bf16(r),
                                 t->attn_scale, pass->visible, cache};
    b.pass = pass;
    b.rows = last_rows(r, pass->batch, pass->length, pass->length);
    return layer(&b, i + 1 < t->layers ? pass->length : pass->needed, x, state);
}
