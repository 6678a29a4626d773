/* The vision tower: the picture encoder as LLaVA uses it. CLIP and SigLIP; Pixtral's own parts are
 * in pixtral.c.
 *
 *   e = [class; conv(pixels)] + positions           rows: grid * grid, CLIP one more
 *   h_0 = LayerNorm(e)                              CLIP alone: "pre_layrnorm", so spelt
 *   each layer:  h += attention(LayerNorm(h))
 *                h += fc2(act(fc1(LayerNorm(h))))
 *   features = the chosen h_i side by side, their first row dropped (`default`) or not (`full`)
 *
 * SigLIP has no class row and no norm in front, but a bias in the convolution. Layers behind the
 * last chosen one, the post norm and SigLIP's pooling head can't reach the answer and are not
 * computed.
 * Source: transformers models/clip/modeling_clip.py, models/siglip/modeling_siglip.py,
 * models/llava/modeling_llava.py; spec 2.1, 2.2, 3. */
#include "vision.h"

#include "fast/fast.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOWER "vision_tower.vision_model"

/* How the files call a tower's tensors. */
typedef struct {
    const char *kernel;                 /* of the patch convolution */
    const char *layers, *norm1, *norm2; /* LAYERS.i.NORM1.weight */
    const char *attention, *out;        /* LAYERS.i.ATTENTION.q_proj.weight, .OUT.weight */
} tower_names;

static const tower_names *names_of(const llava_vision_plan *v)
{
    static const tower_names clip = {TOWER ".embeddings.patch_embedding",
                                     TOWER ".encoder.layers",
                                     "layer_norm1",
                                     "layer_norm2",
                                     "self_attn",
                                     "out_proj"};
    static const tower_names pixtral = {"vision_tower.patch_conv",
                                        "vision_tower.transformer.layers",
                                        "attention_norm",
                                        "ffn_norm",
                                        "attention",
                                        "o_proj"};
    return v->tower == LLAVA_TOWER_PIXTRAL ? &pixtral : &clip;
}

llava_shape llava_tower_rows(const llava_tower_pass *t, size_t width)
{
    return (llava_shape){3, {t->of.sequences, t->of.rows, width}};
}

/* Pixel of the patch's element i, in the order in which the kernel's numbers lie in the file:
 * [channel][y][x], or [y][x][channel] for a kernel read the other way. picture: [3, H, W]. */
static double patch_pixel(const llava_tower_pass *t, const double *picture, size_t top, size_t left,
                          size_t i)
{
    const llava_vision_plan *v = &t->r->plan->vision;
    size_t p = v->patch;
    size_t c = v->kernel_channels_last ? i % 3 : i / (p * p);
    size_t y = v->kernel_channels_last ? i / 3 / p : i / p % p;
    size_t x = v->kernel_channels_last ? i / 3 % p : i % p;
    return picture[(c * t->in->height + top + y) * t->in->width + left + x];
}

/* The patches of one picture as rows of a product, in the type of the run. input: [patches, inner].
 */
static void cut_patches(const llava_tower_pass *t, size_t picture, llava_grid grid, double *input)
{
    const llava_vision_plan *v = &t->r->plan->vision;
    size_t inner = 3 * v->patch * v->patch, plane = 3 * t->in->height * t->in->width;
    const double *pixels = t->in->pixel_values + picture * plane;
    for (size_t j = 0; j < grid.rows * grid.columns; j++) {
        size_t row = v->patches_column_major ? j % grid.rows : j / grid.columns;
        size_t column = v->patches_column_major ? j / grid.rows : j % grid.columns;
        for (size_t i = 0; i < inner; i++) {
            double pixel = patch_pixel(t, pixels, row * v->patch, column * v->patch, i);
            input[j * inner + i] = llava_round(t->r->plan->numerics.storage, pixel);
        }
    }
}

/* Patch convolution, kernel and stride `patch`, no padding: one product per patch. Pixels right of
 * and below the last whole patch are never read. patches: [sequences, P, D]. */
static bool patch_embed(const llava_tower_pass *t, double *patches)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    const char *name = names_of(v)->kernel;
    llava_numerics n = llava_numerics_of(&r->plan->numerics, LLAVA_KEEPS_PATCHES);
    n.matmul_input = n.patch_input;
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    llava_weight kernel, shift;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *input = llava_scratch(r, t->of.patches, 3 * v->patch * v->patch);
    bool ok = input != NULL &&
              llava_checkpoint_need(r->weights, &kernel, weight, 4,
                                    (size_t[]){v->hidden, 3, v->patch, v->patch}, r->error) &&
              (!v->patch_bias ||
               llava_checkpoint_need(r->weights, &shift, bias, 1, (size_t[]){v->hidden}, r->error));
    double *to = patches;
    for (size_t picture = 0; ok && picture < t->in->pictures; picture++) {
        llava_grid grid = llava_grid_of(r->plan, t->in, picture);
        cut_patches(t, picture, grid, input);
        ok = llava_linear(&n, to, input, grid.rows * grid.columns, &kernel,
                          v->patch_bias ? &shift : NULL, r->error);
        to += grid.rows * grid.columns * v->hidden;
    }
    llava_scratch_release(r, mark);
    llava_shape shape = {3, {t->of.sequences, t->of.patches, v->hidden}};
    return ok && llava_put(r, patches, shape, "vision.patch_embed");
}

/* The row of the position table that row t of the sequence gets. */
static size_t position_row(const llava_vision_plan *v, size_t t)
{
    size_t last = v->position_rows - 1, row = t + v->first_position;
    bool has_class = v->tower == LLAVA_TOWER_CLIP; /* a row of the table for the class row */
    switch (v->positions) {
    case LLAVA_POSITIONS_SHIFTED: /* as if there were no class row; or, in SigLIP, one */
        return has_class ? (row == 0 ? 0 : row - 1) : (row == last ? last : row + 1);
    case LLAVA_POSITIONS_REVERSED:
        return last - row;
    default:
        return row;
    }
}

/* h: [N, T, D] = class row and patches, plus positions. */
static bool add_positions(const llava_tower_pass *t, const double *patches, double *h)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    llava_numerics n = llava_numerics_of(&r->plan->numerics, LLAVA_KEEPS_POSITIONS);
    size_t width = v->hidden;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *class_row = llava_scratch(r, 1, width), *position = llava_scratch(r, 1, width);
    llava_weight table;
    bool ok =
        class_row != NULL && position != NULL &&
        (v->class_rows == 0 ||
         llava_vector_by_name(r, class_row, width, TOWER ".embeddings.class_embedding")) &&
        llava_checkpoint_need(r->weights, &table, TOWER ".embeddings.position_embedding.weight", 2,
                              (size_t[]){v->position_rows, width}, r->error);
    size_t class_at = v->class_position == LLAVA_CLASS_LAST ? t->of.patches : 0;
    for (size_t row = 0; ok && row < t->of.rows; row++) {
        bool is_class = v->class_position != LLAVA_CLASS_ABSENT && row == class_at;
        size_t patch = v->class_position == LLAVA_CLASS_FIRST ? row - 1 : row;
        if (v->positions != LLAVA_POSITIONS_ABSENT) {
            llava_weight_row(&n, &table, position_row(v, row), width, position);
        }
        for (size_t picture = 0; picture < t->of.sequences; picture++) {
            const double *from =
                is_class ? class_row : patches + (picture * t->of.patches + patch) * width;
            llava_add_rows(&n, h + (picture * t->of.rows + row) * width, from, position, width);
        }
    }
    llava_scratch_release(r, mark);
    return ok;
}

/* Hidden state 0. h: [sequences, T, D]. */
static bool embed(const llava_tower_pass *t, const double *patches, double *h)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    llava_shape shape = llava_tower_rows(t, v->hidden);
    bool pixtral = v->tower == LLAVA_TOWER_PIXTRAL, ok = true;
    if (pixtral) {
        memcpy(h, patches, t->rows * v->hidden * sizeof(double));
    } else {
        ok = add_positions(t, patches, h);
    }
    ok = ok && llava_put(r, h, shape, "vision.embed");
    if (ok && v->pre_norm) {
        ok = pixtral ? llava_rms_norm_by_name(r, h, h, t->rows, v->hidden, v->norm_eps,
                                              "vision_tower.ln_pre")
                     : llava_layer_norm_by_name(r, h, h, t->rows, v->hidden, v->norm_eps,
                                                TOWER ".pre_layrnorm");
    }
    return ok && (v->tower == LLAVA_TOWER_SIGLIP || llava_put(r, h, shape, "vision.pre_norm"));
}

/* llama.cpp's row permutation for weights of interleaved rotary embeddings, [h, 2, d/2] ->
 * [h, d/2, 2], which q and k must not go through: a tower has none, or, Pixtral, the half kind. In
 * place on each head of each row. */
static void permute_heads(const llava_vision_plan *v, double *x, size_t rows, double *head)
{
    size_t d = v->head_dim;
    for (size_t i = 0; i < rows * v->heads; i++) {
        memcpy(head, x + i * d, d * sizeof(double));
        for (size_t j = 0; j < d / 2; j++) {
            x[i * d + 2 * j] = head[j];
            x[i * d + 2 * j + 1] = head[d / 2 + j];
        }
    }
}

static llava_shape head_rows(const llava_tower_pass *t)
{
    const llava_vision_plan *v = &t->r->plan->vision;
    return (llava_shape){4, {t->of.sequences, t->of.rows, v->heads, v->head_dim}};
}

/* q, k or v of layer i: [N, T, heads, d] = W a (+ b). */
static bool heads_of(const llava_tower_pass *t, size_t i, const char *letter, const double *a,
                     double *x)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    const tower_names *names = names_of(v);
    const llava_some_rows *only = r->only;
    r->only = letter[0] == 'q' ? only : NULL; /* any query may look at any key */
    bool ok = llava_linear_by_name(r, x, a, t->rows, v->hidden, v->hidden, v->attn_bias,
                                   "%s.%zu.%s.%s_proj", names->layers, i, names->attention, letter);
    r->only = only;
    if (!ok) {
        return false;
    }
    if (v->qk_permuted && letter[0] != 'v') {
        llava_scratch_block *mark = llava_scratch_mark(r);
        double *head = llava_scratch(r, 1, v->head_dim);
        if (head == NULL) {
            return false;
        }
        permute_heads(v, x, t->rows, head);
        llava_scratch_release(r, mark);
    }
    return llava_put(r, x, head_rows(t), "vision.layers.%zu.attn.%s", i, letter);
}

/* q or k turned by the rotary tables, in place; where there are none, as it is. */
static bool turn(const llava_tower_pass *t, size_t i, const char *letter, double *x)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    if (t->cosine == NULL) {
        return true;
    }
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *turned = llava_scratch(r, t->rows, v->hidden);
    if (turned == NULL) {
        return false;
    }
    llava_rotate(&r->plan->numerics, turned, x, t->cosine, t->sine, t->rows, v->heads, v->head_dim,
                 v->rope_pairing, 1);
    memcpy(x, turned, t->rows * v->hidden * sizeof(double));
    llava_scratch_release(r, mark);
    return llava_put(r, x, head_rows(t), "vision.layers.%zu.attn.%s_rope", i, letter);
}

/* out: [N, T, D] = W_o attention(W_q a, W_k a, W_v a). */
static bool attend(const llava_tower_pass *t, size_t i, const double *a, double *out)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    const tower_names *names = names_of(v);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *q = llava_scratch(r, t->rows, v->hidden), *k = llava_scratch(r, t->rows, v->hidden);
    double *values = llava_scratch(r, t->rows, v->hidden),
           *context = llava_scratch(r, t->rows, v->hidden);
    llava_attention_of attention = {
        .name = "vision",
        .layer = i,
        .batch = t->of.sequences,
        .queries = t->of.rows,
        .keys = t->of.rows,
        .heads = v->heads,
        .kv_heads = v->heads,
        .head_dim = v->head_dim,
        .scale = v->attn_scale,
        .q = q,
        .k = k,
        .v = values,
        .kv_rows = t->of.rows,
        .visible = t->visible,
        .runs = t->runs,
        .run_count = t->runs == NULL ? 0 : t->in->pictures,
    };
    bool ok =
        q != NULL && k != NULL && values != NULL && context != NULL && heads_of(t, i, "q", a, q) &&
        heads_of(t, i, "k", a, k) && heads_of(t, i, "v", a, values) && turn(t, i, "q", q) &&
        turn(t, i, "k", k) && llava_attention(r, &attention, context) &&
        llava_linear_by_name(r, out, context, t->rows, v->hidden, v->hidden, v->attn_bias,
                             "%s.%zu.%s.%s", names->layers, i, names->attention, names->out) &&
        llava_put(r, out, llava_tower_rows(t, v->hidden), "vision.layers.%zu.attn.out", i);
    llava_scratch_release(r, mark);
    return ok;
}

/* out: [N, T, D] = fc2(act(fc1(m))). */
static bool mlp(const llava_tower_pass *t, size_t i, const double *m, double *out)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    llava_shape wide = llava_tower_rows(t, v->intermediate);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *f = llava_scratch(r, t->rows, v->intermediate);
    bool ok = f != NULL &&
              llava_linear_by_name(r, f, m, t->rows, v->hidden, v->intermediate, true,
                                   TOWER ".encoder.layers.%zu.mlp.fc1", i) &&
              llava_put(r, f, wide, "vision.layers.%zu.mlp.fc1", i);
    if (ok) {
        llava_activate(&r->plan->numerics, v->act, f, f, t->rows * v->intermediate);
    }
    ok = ok && llava_put(r, f, wide, "vision.layers.%zu.mlp.act", i) &&
         llava_linear_by_name(r, out, f, t->rows, v->intermediate, v->hidden, true,
                              TOWER ".encoder.layers.%zu.mlp.fc2", i) &&
         llava_put(r, out, llava_tower_rows(t, v->hidden), "vision.layers.%zu.mlp.out", i);
    llava_scratch_release(r, mark);
    return ok;
}

/* The norm in front of a layer's attention or MLP. */
static bool layer_norm(const llava_tower_pass *t, size_t i, const char *name, const double *x,
                       double *y)
{
    const llava_vision_plan *v = &t->r->plan->vision;
    const char *layers = names_of(v)->layers;
    return v->tower == LLAVA_TOWER_PIXTRAL
               ? llava_rms_norm_by_name(t->r, y, x, t->rows, v->hidden, v->norm_eps, "%s.%zu.%s",
                                        layers, i, name)
               : llava_layer_norm_by_name(t->r, y, x, t->rows, v->hidden, v->norm_eps, "%s.%zu.%s",
                                          layers, i, name);
}

/* One pre-norm encoder layer on h: [N, T, D]. */
static bool layer(const llava_tower_pass *t, size_t i, double *h)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    const llava_numerics *n = &r->plan->numerics;
    const tower_names *names = names_of(v);
    size_t count = t->rows * v->hidden;
    llava_shape shape = llava_tower_rows(t, v->hidden);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *a = llava_scratch(r, t->rows, v->hidden), *out = llava_scratch(r, t->rows, v->hidden);
    bool ok = a != NULL && out != NULL && layer_norm(t, i, names->norm1, h, a) &&
              llava_put(r, a, shape, "vision.layers.%zu.norm1", i) && attend(t, i, a, out);
    if (ok) {
        llava_add_rows(n, h, h, out, count);
    }
    ok = ok && llava_put(r, h, shape, "vision.layers.%zu.resid1", i) &&
         layer_norm(t, i, names->norm2, h, a) &&
         llava_put(r, a, shape, "vision.layers.%zu.norm2", i) &&
         (v->tower == LLAVA_TOWER_PIXTRAL ? llava_pixtral_mlp(t, i, a, out) : mlp(t, i, a, out));
    if (ok) {
        llava_add_rows(n, h, h, out, count);
    }
    llava_scratch_release(r, mark);
    return ok && llava_put(r, h, shape, "vision.layers.%zu.output", i);
}

/* Copies hidden state `index` into its columns of features, rows selected. */
static bool select_rows(const llava_tower_pass *t, size_t index, const double *h, double *features)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    size_t width = v->hidden, first = v->select == LLAVA_ROWS_DROP_FIRST ? 1 : 0;
    size_t kept = t->of.feature_rows;
    llava_scratch_block *mark = llava_scratch_mark(r);
    if (v->post_norm) {
        double *normed = llava_scratch(r, t->rows, width);
        if (normed == NULL || !llava_layer_norm_by_name(r, normed, h, t->rows, width, v->norm_eps,
                                                        TOWER ".post_layernorm")) {
            return false;
        }
        h = normed;
    }
    for (size_t j = 0; j < v->feature_count; j++) {
        for (size_t row = 0; v->feature_layers[j] == index && row < t->of.sequences * kept; row++) {
            size_t from = row / kept * t->of.rows + first + row % kept;
            memcpy(features + row * v->feature_width + j * width, h + from * width,
                   width * sizeof(double));
        }
    }
    llava_scratch_release(r, mark);
    return true;
}

/* visible[n, s, k]: a text model's causal mask, left in. */
static bool see_causally(llava_tower_pass *t)
{
    size_t length = t->of.rows;
    t->visible = llava_alloc(t->r->error, t->rows, length);
    for (size_t c = 0; t->visible != NULL && c < t->rows * length; c++) {
        t->visible[c] = c % length <= c / length % length;
    }
    return t->visible != NULL;
}

/* What the layers 0 .. layers - 1 share: Pixtral's rotary tables, and a mask where there is one. */
static bool prepare(llava_tower_pass *t, size_t layers)
{
    const llava_vision_plan *v = &t->r->plan->vision;
    return v->tower == LLAVA_TOWER_PIXTRAL ? llava_pixtral_prepare(t, layers)
                                           : !v->causal || see_causally(t);
}

/* Lets the sink put hidden state `index` in place of one that was not computed. */
static bool put_state(const llava_tower_pass *t, size_t index, double *h)
{
    llava_shape shape = llava_tower_rows(t, t->r->plan->vision.hidden);
    const char *start = llava_tower_start(t->r->plan->vision.tower);
    return index > 0 ? llava_put(t->r, h, shape, "vision.layers.%zu.output", index - 1)
                     : llava_put(t->r, h, shape, "%s", start);
}

/* Is hidden state `index` one of the chosen ones? */
static bool is_chosen(const llava_vision_plan *v, size_t index)
{
    for (size_t j = 0; j < v->feature_count; j++) {
        if (v->feature_layers[j] == index) {
            return true;
        }
    }
    return false;
}

bool llava_vision(llava_run *r, const llava_goal *goal, const llava_inputs *in, double **features)
{
    const llava_vision_plan *v = &r->plan->vision;
    llava_tower_pass t = {.r = r, .in = in, .of = llava_tower_shape_of(r->plan, in)};
    t.rows = t.of.sequences * t.of.rows;
    size_t kept = t.of.sequences * t.of.feature_rows;
    *features = NULL;
    if (goal->features) {
        *features = llava_scratch(r, kept, v->feature_width);
        if (*features == NULL) {
            return false;
        }
    }
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *patches = llava_scratch(r, t.of.sequences * t.of.patches, v->hidden);
    double *h = llava_scratch(r, t.rows, v->hidden);
    bool ok = patches != NULL && h != NULL;
    size_t first = goal->vision_first;
    if (ok && first == 0) {
        ok = patch_embed(&t, patches) && embed(&t, patches, h);
    }
    size_t last = goal->vision_layers;
    if (goal->features && last < v->layers_needed) {
        last = v->layers_needed;
    }
    ok = ok && prepare(&t, last);
    llava_fast_pass fast = {.batch = t.of.sequences, .length = t.of.rows, .needed = t.of.rows};
    for (size_t index = 0; ok && index <= last; index++) {
        bool chosen = goal->features && is_chosen(v, index);
        r->only = index == last && !goal->features ? goal->only : NULL;
        fast.out = chosen || index == last;
        if (index > first) {
            ok = r->fast != NULL ? llava_fast_vision_layer(r, index - 1, &fast, h)
                                 : layer(&t, index - 1, h);
        } else if (first > 0) {
            ok = put_state(&t, index, h);
        }
        if (ok && chosen) {
            ok = select_rows(&t, index, h, *features);
        }
    }
    r->only = NULL;
    free(t.visible);
    free(t.runs);
    llava_scratch_release(r, mark);
    llava_shape shape = {3, {t.of.sequences, t.of.feature_rows, v->feature_width}};
    return ok && (!goal->features || llava_put(r, *features, shape, "vision.features"));
}
