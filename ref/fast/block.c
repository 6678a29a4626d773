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
    if (memcmp(&one, "\1", 1) != 0) { /* LCOV_EXCL_BR_LINE */
        return llava_fail(e, "--path fast: a big-endian machine: only the plain path runs there");
    }
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

enum { FEW = 4 }; /* rows of a sample for which a panel would be mostly empty */

static bool is_bf16(const llava_run *r)
{
    return r->plan->numerics.storage == LLAVA_BF16;
}

/* The last `count` of `length` rows of each sample. */
static llava_fast_rows last_rows(const llava_run *r, size_t batch, size_t length, size_t count)
{
    size_t lanes = count <= FEW ? 1 : r->fast->kernel.lanes;
    return (llava_fast_rows){batch, length - count, length, lanes};
}

/* 32-bit numbers of each feature in them. */
static size_t room_for(const llava_fast_rows *rows)
{
    return llava_fast_panels(rows) * rows->lanes;
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
    char full[NAME];
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
    float *out = llava_fast_take(&f->wide, room_for(&all), outputs, r->error);
    if (in == NULL || out == NULL) {
        return false;
    }
    for (size_t t = 0; t < llava_fast_panels(&all); t++) {
        llava_fast_lay(f, is_bf16(r), in + t * inner * all.lanes, inner, all.lanes);
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
        kernel->add(y + done, y + done, NULL, false, n, 1, is_bf16(r));
    }
}

/* ---- a block ------------------------------------------------------------------------------------
 */

/* What CLIP's and Llama's layers differ in. */
typedef struct {
    const char *name, *weights; /* of the taps; of the weights, with the layer's number in it */
    const char *norm1, *out, *norm2, *first, *up, *last; /* parts of the weights' names */
    bool norm_bias, qkv_bias, out_bias, mlp_bias;
    size_t layer, hidden, intermediate;
    double eps;
    llava_act act;
    llava_fast_heads heads;
    const llava_fast_pass *pass; /* NULL: the tower, no rotation, no mask, no past */
    llava_fast_rows rows;        /* that are computed */
} block;

static void announce(const llava_run *r, const block *b, const char *tap)
{
    (void)llava_wanted(r, "%s.layers.%zu.%s", b->name, b->layer, tap);
}

static const char *part_name(const block *b, char name[NAME], const char *part)
{
    int n = snprintf(name, NAME, b->weights, b->layer);
    snprintf(name + n, NAME - (size_t)n, ".%s", part);
    return name;
}

/* a = norm(h), laid */
static bool norm(llava_run *r, const block *b, const char *part, float *a, const float *h)
{
    llava_fast *f = r->fast;
    char name[NAME];
    part_name(b, name, part);
    const float *bias = NULL, *weight = vector(r, &f->weight, b->hidden, name, ".weight");
    if (weight == NULL ||
        (b->norm_bias && (bias = vector(r, &f->vector, b->hidden, name, ".bias")) == NULL)) {
        return false;
    }
    size_t lanes = b->rows.lanes, size = b->hidden * lanes;
    for (size_t t = 0; t < llava_fast_panels(&b->rows); t++, a += size, h += size) {
        f->kernel.norm(a, h, weight, bias, b->eps, b->hidden, lanes, is_bf16(r));
        llava_fast_lay(f, is_bf16(r), a, b->hidden, lanes);
    }
    return true;
}

static bool part(llava_run *r, const block *b, const char *of, float *y, const float *x,
                 size_t inner, size_t outputs, bool biased)
{
    char name[NAME];
    return linear(r, y, x, &b->rows, inner, outputs, biased, part_name(b, name, of));
}

/* q or k in place, by the tables of the pass. */
static bool rotate(llava_run *r, const block *b, float *x, size_t heads)
{
    llava_fast *f = r->fast;
    const llava_fast_rows *rows = &b->rows;
    size_t d = b->heads.d, size = d * rows->lanes;
    if (b->pass == NULL) {
        return true;
    }
    float *cosine = llava_fast_pack(f, &f->cosine, false, rows, d, b->pass->cosine, r->error);
    float *sine = llava_fast_pack(f, &f->sine, false, rows, d, b->pass->sine, r->error);
    for (size_t i = 0; cosine != NULL && sine != NULL && i < llava_fast_panels(rows) * heads; i++) {
        f->kernel.rotate(x + i * size, cosine + i / heads * size, sine + i / heads * size, size / 2,
                         is_bf16(r));
    }
    return cosine != NULL && sine != NULL;
}

/* Keys and values of all rows, from a = norm1(h). wide: room for both */
static bool keep(llava_run *r, const block *b, size_t past, const float *a, float *wide)
{
    size_t width = b->heads.kv_heads * b->heads.d;
    float *v = wide + room_for(&b->rows) * width;
    return part(r, b, "self_attn.k_proj", wide, a, b->hidden, width, b->qkv_bias) &&
           part(r, b, "self_attn.v_proj", v, a, b->hidden, width, b->qkv_bias) &&
           rotate(r, b, wide, b->heads.kv_heads) &&
           llava_fast_keep(r->fast, &b->heads, past, &b->rows, wide, v, r->error);
}

/* wide = W_o attention(W_q a, keys and values); a is lost. */
static bool attend(llava_run *r, const block *b, size_t past, float *a, float *wide)
{
    size_t width = b->heads.heads * b->heads.d;
    bool ok = part(r, b, "self_attn.q_proj", wide, a, b->hidden, width, b->qkv_bias);
    announce(r, b, "attn.v");
    ok = ok && rotate(r, b, wide, b->heads.heads);
    announce(r, b, "attn.k_rope");
    ok = ok && llava_fast_attention(r->fast, &b->heads, past + b->rows.length, &b->rows, wide, a,
                                    r->error);
    announce(r, b, "attn.context");
    ok = ok && part(r, b, b->out, wide, a, width, b->hidden, b->out_bias);
    announce(r, b, "attn.out");
    return ok;
}

/* a = W_last(act(W_first a) (* W_up a)). wide: room for two intermediates. */
static bool mlp(llava_run *r, const block *b, float *a, float *wide)
{
    size_t lanes = b->rows.lanes, size = b->intermediate * lanes;
    float *up = b->up == NULL ? NULL : wide + room_for(&b->rows) * b->intermediate;
    bool ok = part(r, b, b->first, wide, a, b->hidden, b->intermediate, b->mlp_bias) &&
              (up == NULL || part(r, b, b->up, up, a, b->hidden, b->intermediate, b->mlp_bias));
    announce(r, b, up == NULL ? "mlp.fc1" : "mlp.up");
    for (size_t t = 0; ok && t < llava_fast_panels(&b->rows); t++) {
        float *x = wide + t * size;
        activate(r, b->act, x, x, up == NULL ? NULL : up + t * size, size);
        llava_fast_lay(r->fast, is_bf16(r), x, b->intermediate, lanes);
    }
    announce(r, b, "mlp.act");
    ok = ok && part(r, b, b->last, a, wide, b->intermediate, b->hidden, b->mlp_bias);
    announce(r, b, "mlp.out");
    return ok;
}

/* h = h + x */
static void add(const llava_run *r, const block *b, float *h, const float *x)
{
    r->fast->kernel.add(h, h, x, true, room_for(&b->rows) * b->hidden, 1, is_bf16(r));
}

/* h = x in panels, a = norm1(h) */
static bool begin(llava_run *r, const block *b, const double *x, float *a)
{
    llava_fast *f = r->fast;
    float *h = llava_fast_pack(f, &f->h, is_bf16(r), &b->rows, b->hidden, x, r->error);
    return h != NULL && norm(r, b, b->norm1, a, h);
}

/* x: [B, S, H], of which the last `needed` positions of each sample become the layer's output. */
static bool layer(llava_run *r, block *b, size_t needed, double *x)
{
    llava_fast *f = r->fast;
    const llava_fast_heads *of = &b->heads;
    size_t length = b->rows.length, past = b->pass == NULL ? 0 : b->pass->past;
    size_t rows = room_for(&b->rows), q_width = of->heads * of->d;
    size_t widths[] = {b->hidden, q_width, 2 * of->kv_heads * of->d, 2 * b->intermediate}, most = 0;
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        most = widths[i] > most ? widths[i] : most;
    }
    float *a = llava_fast_take(&f->a, rows, b->hidden > q_width ? b->hidden : q_width, r->error);
    float *wide = llava_fast_take(&f->wide, rows, most, r->error);
    bool ok = a != NULL && wide != NULL && begin(r, b, x, a);
    announce(r, b, "norm1");
    ok = ok && keep(r, b, past, a, wide);
    if (ok && needed < length) {
        b->rows = last_rows(r, b->rows.batch, length, needed);
        ok = begin(r, b, x, a);
    }
    ok = ok && attend(r, b, past, a, wide);
    if (ok) {
        add(r, b, f->h.at, wide);
    }
    ok = ok && norm(r, b, b->norm2, a, f->h.at);
    announce(r, b, "norm2");
    ok = ok && mlp(r, b, a, wide);
    if (ok) {
        add(r, b, f->h.at, a);
        llava_fast_unpack(&b->rows, b->hidden, f->h.at, x);
    }
    return ok && llava_put(r, x, (llava_shape){3, {b->rows.batch, length, b->hidden}},
                           "%s.layers.%zu.output", b->name, b->layer);
}

/* The room for keys and values number `at`. */
static llava_fast_room *cache_at(llava_run *r, size_t at)
{
    llava_fast *f = r->fast;
    if (at >= f->layers) {
        llava_fast_room *more = llava_realloc(r->error, f->caches, at + 1, sizeof *more);
        if (more == NULL) {
            return NULL;
        }
        memset(more + f->layers, 0, (at + 1 - f->layers) * sizeof *more);
        f->caches = more;
        f->layers = at + 1;
    }
    return &f->caches[at];
}

bool llava_fast_vision_layer(llava_run *r, size_t i, size_t pictures, size_t rows, double *h)
{
    const llava_vision_plan *v = &r->plan->vision;
    llava_fast_room *cache = cache_at(r, 0);
    block b = {.name = "vision",
               .weights = "vision_tower.vision_model.encoder.layers.%zu",
               .norm1 = "layer_norm1",
               .out = "self_attn.out_proj",
               .norm2 = "layer_norm2",
               .first = "mlp.fc1",
               .last = "mlp.fc2",
               .norm_bias = true,
               .qkv_bias = true,
               .out_bias = true,
               .mlp_bias = true,
               .layer = i,
               .hidden = v->hidden,
               .intermediate = v->intermediate,
               .eps = v->norm_eps,
               .act = v->act,
               .heads = {v->heads, v->heads, v->head_dim, is_bf16(r), v->attn_scale, NULL, cache},
               .rows = last_rows(r, pictures, rows, rows)};
    return cache != NULL && layer(r, &b, rows, h);
}

bool llava_fast_text_layer(llava_run *r, size_t i, const llava_fast_pass *pass, double *x)
{
    const llava_text_plan *t = &r->plan->text;
    /* a pass without a future needs one layer's keys and values at a time */
    llava_fast_room *cache = cache_at(r, pass->keep ? i : 0);
    block b = {.name = "text",
               .weights = "language_model.model.layers.%zu",
               .norm1 = "input_layernorm",
               .out = "self_attn.o_proj",
               .norm2 = "post_attention_layernorm",
               .first = "mlp.gate_proj",
               .up = "mlp.up_proj",
               .last = "mlp.down_proj",
               .qkv_bias = t->qkv_bias,
               .out_bias = t->out_bias,
               .mlp_bias = t->mlp_bias,
               .layer = i,
               .hidden = t->hidden,
               .intermediate = t->intermediate,
               .eps = t->norm_eps,
               .act = t->act,
               .heads = {t->heads, t->kv_heads, t->head_dim, is_bf16(r), t->attn_scale,
                         pass->visible, cache},
               .pass = pass,
               .rows = last_rows(r, pass->batch, pass->length, pass->length)};
    return cache != NULL && layer(r, &b, i + 1 < t->layers ? pass->length : pass->needed, x);
}
