/* The vision tower: CLIP's picture encoder as LLaVA uses it.
 *
 *   e = [class; conv(pixels)] + positions                      rows: 1 + grid * grid
 *   h_0 = LayerNorm(e)                                          "pre_layrnorm", so spelt in the
 * files each layer:  h += attention(LayerNorm(h));  h += fc2(act(fc1(LayerNorm(h)))) features =
 * rows 1.. of h_i for each chosen i, side by side  (LLaVA-1.5: i = L - 1)
 *
 * Layers behind the last chosen one and the post norm can't reach the answer and are not computed.
 * Source: transformers models/clip/modeling_clip.py, models/llava/modeling_llava.py; spec 2.1, 3.
 */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#define TOWER "vision_tower.vision_model"

/* A pass through the tower. */
typedef struct {
    llava_run *r;
    const llava_inputs *in;
    llava_tower_shape of;
    size_t rows; /* of all sequences */
} tower;

/* [sequences, T, width] */
static llava_shape rows_of(const tower *t, size_t width)
{
    return (llava_shape){3, {t->of.sequences, t->of.rows, width}};
}

/* Pixel of the patch's element i, in the order in which the kernel's numbers lie in the file:
 * [channel][y][x], or [y][x][channel] for a kernel read the other way. picture: [3, H, W]. */
static double patch_pixel(const tower *t, const double *picture, size_t top, size_t left, size_t i)
{
    const llava_vision_plan *v = &t->r->plan->vision;
    size_t p = v->patch;
    size_t c = v->kernel_channels_last ? i % 3 : i / (p * p);
    size_t y = v->kernel_channels_last ? i / 3 / p : i / p % p;
    size_t x = v->kernel_channels_last ? i / 3 % p : i % p;
    return picture[(c * t->in->height + top + y) * t->in->width + left + x];
}

/* Patch convolution, kernel and stride `patch`, no padding, no bias: one product per patch. Pixels
 * right of and below the last whole patch are never read. patches: [N, P, D]. */
static bool patch_embed(const tower *t, double *patches)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    llava_numerics n = r->plan->numerics;
    n.matmul_input = n.patch_input;
    size_t inner = 3 * v->patch * v->patch, plane = 3 * t->in->height * t->in->width;
    llava_weight kernel;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *input = llava_scratch(r, t->of.patches, inner);
    bool ok = input != NULL &&
              llava_checkpoint_need(r->weights, &kernel, TOWER ".embeddings.patch_embedding.weight",
                                    4, (size_t[]){v->hidden, 3, v->patch, v->patch}, r->error);
    for (size_t picture = 0; ok && picture < t->in->pictures; picture++) {
        for (size_t j = 0; j < t->of.patches; j++) {
            size_t row = v->patches_column_major ? j % v->grid : j / v->grid;
            size_t column = v->patches_column_major ? j / v->grid : j % v->grid;
            for (size_t i = 0; i < inner; i++) {
                double pixel = patch_pixel(t, t->in->pixel_values + picture * plane, row * v->patch,
                                           column * v->patch, i);
                input[j * inner + i] = llava_round(n.storage, pixel);
            }
        }
        ok = llava_linear(&n, patches + picture * t->of.patches * v->hidden, input, t->of.patches,
                          &kernel, NULL, r->error);
    }
    llava_scratch_release(r, mark);
    return ok &&
           llava_put(r, patches, (llava_shape){3, {t->of.sequences, t->of.patches, v->hidden}},
                     "vision.patch_embed");
}

/* The row of the position table that row t of the sequence gets. */
static size_t position_row(const llava_vision_plan *v, size_t t)
{
    size_t row = v->class_position == LLAVA_CLASS_ABSENT ? t + 1 : t;
    switch (v->positions) {
    case LLAVA_POSITIONS_SHIFTED: /* patch j, in row j + 1, gets row j; the class row keeps 0 */
        return row == 0 ? 0 : row - 1;
    case LLAVA_POSITIONS_REVERSED:
        return v->grid * v->grid - row;
    default:
        return row;
    }
}

/* h: [N, T, D] = class row and patches, plus positions. */
static bool embed(const tower *t, const double *patches, double *h)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    const llava_numerics *n = &r->plan->numerics;
    size_t width = v->hidden;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *class_row = llava_scratch(r, 1, width), *position = llava_scratch(r, 1, width);
    llava_weight table;
    bool ok =
        class_row != NULL && position != NULL &&
        llava_vector_by_name(r, class_row, width, TOWER ".embeddings.class_embedding") &&
        llava_checkpoint_need(r->weights, &table, TOWER ".embeddings.position_embedding.weight", 2,
                              (size_t[]){v->grid * v->grid + 1, width}, r->error);
    size_t class_at = v->class_position == LLAVA_CLASS_LAST ? t->of.patches : 0;
    for (size_t row = 0; ok && row < t->of.rows; row++) {
        bool is_class = v->class_position != LLAVA_CLASS_ABSENT && row == class_at;
        size_t patch = v->class_position == LLAVA_CLASS_FIRST ? row - 1 : row;
        if (v->positions != LLAVA_POSITIONS_ABSENT) {
            llava_weight_row(n, &table, position_row(v, row), width, position);
        }
        for (size_t picture = 0; picture < t->of.sequences; picture++) {
            const double *from =
                is_class ? class_row : patches + (picture * t->of.patches + patch) * width;
            llava_add_rows(n, h + (picture * t->of.rows + row) * width, from, position, width);
        }
    }
    llava_scratch_release(r, mark);
    ok = ok && llava_put(r, h, rows_of(t, width), "vision.embed");
    if (ok && v->pre_norm) {
        ok = llava_layer_norm_by_name(r, h, h, t->rows, width, v->norm_eps, TOWER ".pre_layrnorm");
    }
    return ok && llava_put(r, h, rows_of(t, width), "vision.pre_norm");
}

/* llama.cpp's row permutation for rotary weights, [h, 2, d/2] -> [h, d/2, 2], which CLIP's q and k
 * must not go through. In place on each head of each row. */
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

/* q, k or v of layer i: [N, T, heads, d] = W a (+ b). */
static bool heads_of(const tower *t, size_t i, const char *letter, const double *a, double *x)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    if (!llava_linear_by_name(r, x, a, t->rows, v->hidden, v->hidden, v->attn_bias,
                              TOWER ".encoder.layers.%zu.self_attn.%s_proj", i, letter)) {
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
    return llava_put(r, x, (llava_shape){4, {t->of.sequences, t->of.rows, v->heads, v->head_dim}},
                     "vision.layers.%zu.attn.%s", i, letter);
}

/* out: [N, T, D] = W_o attention(W_q a, W_k a, W_v a). */
static bool attend(const tower *t, size_t i, const double *a, double *out)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    size_t length = t->of.rows;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *q = llava_scratch(r, t->rows, v->hidden), *k = llava_scratch(r, t->rows, v->hidden);
    double *values = llava_scratch(r, t->rows, v->hidden),
           *context = llava_scratch(r, t->rows, v->hidden);
    uint8_t *visible = v->causal ? llava_alloc(r->error, t->rows, length) : NULL;
    for (size_t c = 0; visible != NULL && c < t->rows * length; c++) {
        visible[c] = c % length <= c / length % length;
    }
    llava_attention_of attention = {
        .name = "vision",
        .layer = i,
        .batch = t->of.sequences,
        .queries = length,
        .keys = length,
        .heads = v->heads,
        .kv_heads = v->heads,
        .head_dim = v->head_dim,
        .scale = v->attn_scale,
        .q = q,
        .k = k,
        .v = values,
        .kv_rows = length,
        .visible = visible,
    };
    bool ok = q != NULL && k != NULL && values != NULL && context != NULL &&
              (visible != NULL || !v->causal) && heads_of(t, i, "q", a, q) &&
              heads_of(t, i, "k", a, k) && heads_of(t, i, "v", a, values) &&
              llava_attention(r, &attention, context) &&
              llava_linear_by_name(r, out, context, t->rows, v->hidden, v->hidden, v->attn_bias,
                                   TOWER ".encoder.layers.%zu.self_attn.out_proj", i) &&
              llava_put(r, out, rows_of(t, v->hidden), "vision.layers.%zu.attn.out", i);
    free(visible);
    llava_scratch_release(r, mark);
    return ok;
}

/* out: [N, T, D] = fc2(act(fc1(m))). */
static bool mlp(const tower *t, size_t i, const double *m, double *out)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    llava_shape wide = rows_of(t, v->intermediate);
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
         llava_put(r, out, rows_of(t, v->hidden), "vision.layers.%zu.mlp.out", i);
    llava_scratch_release(r, mark);
    return ok;
}

/* One pre-norm encoder layer on h: [N, T, D]. */
static bool layer(const tower *t, size_t i, double *h)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    const llava_numerics *n = &r->plan->numerics;
    size_t width = v->hidden;
    llava_shape shape = rows_of(t, width);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *a = llava_scratch(r, t->rows, width), *out = llava_scratch(r, t->rows, width);
    bool ok = a != NULL && out != NULL &&
              llava_layer_norm_by_name(r, a, h, t->rows, width, v->norm_eps,
                                       TOWER ".encoder.layers.%zu.layer_norm1", i) &&
              llava_put(r, a, shape, "vision.layers.%zu.norm1", i) && attend(t, i, a, out);
    if (ok) {
        llava_add_rows(n, h, h, out, t->rows * width);
    }
    ok = ok && llava_put(r, h, shape, "vision.layers.%zu.resid1", i) &&
         llava_layer_norm_by_name(r, a, h, t->rows, width, v->norm_eps,
                                  TOWER ".encoder.layers.%zu.layer_norm2", i) &&
         llava_put(r, a, shape, "vision.layers.%zu.norm2", i) && mlp(t, i, a, out);
    if (ok) {
        llava_add_rows(n, h, h, out, t->rows * width);
    }
    llava_scratch_release(r, mark);
    return ok && llava_put(r, h, shape, "vision.layers.%zu.output", i);
}

/* Copies hidden state `index` into its columns of features, rows selected. */
static bool select_rows(const tower *t, size_t index, const double *h, double *features)
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

/* Lets the sink put hidden state `index` in place of one that was not computed. */
static bool put_state(const tower *t, size_t index, double *h)
{
    llava_shape shape = rows_of(t, t->r->plan->vision.hidden);
    return index == 0 ? llava_put(t->r, h, shape, "vision.pre_norm")
                      : llava_put(t->r, h, shape, "vision.layers.%zu.output", index - 1);
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
    tower t = {.r = r, .in = in, .of = llava_tower_shape_of(r->plan, in)};
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
    for (size_t index = 0; ok && index <= last; index++) {
        if (index > first) {
            ok = layer(&t, index - 1, h);
        } else if (first > 0) {
            ok = put_state(&t, index, h);
        }
        if (ok && goal->features && is_chosen(v, index)) {
            ok = select_rows(&t, index, h, *features);
        }
    }
    llava_scratch_release(r, mark);
    llava_shape shape = {3, {t.of.sequences, t.of.feature_rows, v->feature_width}};
    return ok && (!goal->features || llava_put(r, *features, shape, "vision.features"));
}
