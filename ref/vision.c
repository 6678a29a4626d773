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

/* Pixel of the patch's element i, in the order in which the kernel's numbers lie in the file:
 * [channel][y][x], or [y][x][channel] for a kernel read the other way. */
static double patch_pixel(const llava_vision_plan *v, const double *picture, size_t top,
                          size_t left, size_t i)
{
    size_t p = v->patch, size = v->image_size;
    size_t c = v->kernel_channels_last ? i % 3 : i / (p * p);
    size_t y = v->kernel_channels_last ? i / 3 / p : i / p % p;
    size_t x = v->kernel_channels_last ? i / 3 % p : i % p;
    return picture[(c * size + top + y) * size + left + x];
}

/* Patch convolution, kernel and stride `patch`, no padding, no bias: one product per patch. Pixels
 * right of and below the last whole patch are never read. patches: [N, P, D]. */
static bool patch_embed(llava_run *r, const double *pixels, size_t pictures, double *patches)
{
    const llava_vision_plan *v = &r->plan->vision;
    llava_numerics n = r->plan->numerics;
    n.matmul_input = n.patch_input;
    size_t inner = 3 * v->patch * v->patch, plane = 3 * v->image_size * v->image_size;
    llava_weight kernel;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *input = llava_scratch(r, v->patches, inner);
    bool ok = input != NULL &&
              llava_checkpoint_need(r->weights, &kernel, TOWER ".embeddings.patch_embedding.weight",
                                    4, (size_t[]){v->hidden, 3, v->patch, v->patch}, r->error);
    for (size_t picture = 0; ok && picture < pictures; picture++) {
        for (size_t j = 0; j < v->patches; j++) {
            size_t row = v->patches_column_major ? j % v->grid : j / v->grid;
            size_t column = v->patches_column_major ? j / v->grid : j % v->grid;
            for (size_t i = 0; i < inner; i++) {
                double pixel =
                    patch_pixel(v, pixels + picture * plane, row * v->patch, column * v->patch, i);
                input[j * inner + i] = llava_round(n.storage, pixel);
            }
        }
        ok = llava_linear(&n, patches + picture * v->patches * v->hidden, input, v->patches,
                          &kernel, NULL, r->error);
    }
    llava_scratch_release(r, mark);
    return ok && llava_put(r, patches, (llava_shape){3, {pictures, v->patches, v->hidden}},
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
        return v->patches - row;
    default:
        return row;
    }
}

/* h: [N, T, D] = class row and patches, plus positions. */
static bool embed(llava_run *r, const double *patches, size_t pictures, double *h)
{
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
                              (size_t[]){v->patches + 1, width}, r->error);
    size_t class_at = v->class_position == LLAVA_CLASS_LAST ? v->patches : 0;
    for (size_t t = 0; ok && t < v->rows; t++) {
        bool is_class = v->class_position != LLAVA_CLASS_ABSENT && t == class_at;
        size_t patch = v->class_position == LLAVA_CLASS_FIRST ? t - 1 : t;
        if (v->positions != LLAVA_POSITIONS_ABSENT) {
            llava_weight_row(n, &table, position_row(v, t), width, position);
        }
        for (size_t picture = 0; picture < pictures; picture++) {
            const double *from =
                is_class ? class_row : patches + (picture * v->patches + patch) * width;
            llava_add_rows(n, h + (picture * v->rows + t) * width, from, position, width);
        }
    }
    llava_scratch_release(r, mark);
    llava_shape shape = {3, {pictures, v->rows, width}};
    ok = ok && llava_put(r, h, shape, "vision.embed");
    if (ok && v->pre_norm) {
        ok = llava_layer_norm_by_name(r, h, h, pictures * v->rows, width, v->norm_eps,
                                      TOWER ".pre_layrnorm");
    }
    return ok && llava_put(r, h, shape, "vision.pre_norm");
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
static bool heads_of(llava_run *r, size_t i, const char *letter, const double *a, size_t pictures,
                     double *x)
{
    const llava_vision_plan *v = &r->plan->vision;
    size_t rows = pictures * v->rows;
    if (!llava_linear_by_name(r, x, a, rows, v->hidden, v->hidden, v->attn_bias,
                              TOWER ".encoder.layers.%zu.self_attn.%s_proj", i, letter)) {
        return false;
    }
    if (v->qk_permuted && letter[0] != 'v') {
        llava_scratch_block *mark = llava_scratch_mark(r);
        double *head = llava_scratch(r, 1, v->head_dim);
        if (head == NULL) {
            return false;
        }
        permute_heads(v, x, rows, head);
        llava_scratch_release(r, mark);
    }
    return llava_put(r, x, (llava_shape){4, {pictures, v->rows, v->heads, v->head_dim}},
                     "vision.layers.%zu.attn.%s", i, letter);
}

/* out: [N, T, D] = W_o attention(W_q a, W_k a, W_v a). */
static bool attend(llava_run *r, size_t i, const double *a, size_t pictures, double *out)
{
    const llava_vision_plan *v = &r->plan->vision;
    size_t rows = pictures * v->rows;
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *q = llava_scratch(r, rows, v->hidden), *k = llava_scratch(r, rows, v->hidden);
    double *values = llava_scratch(r, rows, v->hidden),
           *context = llava_scratch(r, rows, v->hidden);
    uint8_t *visible = v->causal ? llava_alloc(r->error, rows, v->rows) : NULL;
    for (size_t c = 0; visible != NULL && c < rows * v->rows; c++) {
        visible[c] = c % v->rows <= c / v->rows % v->rows;
    }
    llava_attention_of attention = {
        .name = "vision",
        .layer = i,
        .batch = pictures,
        .queries = v->rows,
        .keys = v->rows,
        .heads = v->heads,
        .kv_heads = v->heads,
        .head_dim = v->head_dim,
        .scale = v->attn_scale,
        .q = q,
        .k = k,
        .v = values,
        .kv_rows = v->rows,
        .visible = visible,
    };
    bool ok = q != NULL && k != NULL && values != NULL && context != NULL &&
              (visible != NULL || !v->causal) && heads_of(r, i, "q", a, pictures, q) &&
              heads_of(r, i, "k", a, pictures, k) && heads_of(r, i, "v", a, pictures, values) &&
              llava_attention(r, &attention, context) &&
              llava_linear_by_name(r, out, context, rows, v->hidden, v->hidden, v->attn_bias,
                                   TOWER ".encoder.layers.%zu.self_attn.out_proj", i) &&
              llava_put(r, out, (llava_shape){3, {pictures, v->rows, v->hidden}},
                        "vision.layers.%zu.attn.out", i);
    free(visible);
    llava_scratch_release(r, mark);
    return ok;
}

/* out: [N, T, D] = fc2(act(fc1(m))). */
static bool mlp(llava_run *r, size_t i, const double *m, size_t pictures, double *out)
{
    const llava_vision_plan *v = &r->plan->vision;
    size_t rows = pictures * v->rows;
    llava_shape wide = {3, {pictures, v->rows, v->intermediate}};
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *f = llava_scratch(r, rows, v->intermediate);
    bool ok = f != NULL &&
              llava_linear_by_name(r, f, m, rows, v->hidden, v->intermediate, true,
                                   TOWER ".encoder.layers.%zu.mlp.fc1", i) &&
              llava_put(r, f, wide, "vision.layers.%zu.mlp.fc1", i);
    if (ok) {
        llava_activate(&r->plan->numerics, v->act, f, f, rows * v->intermediate);
    }
    ok = ok && llava_put(r, f, wide, "vision.layers.%zu.mlp.act", i) &&
         llava_linear_by_name(r, out, f, rows, v->intermediate, v->hidden, true,
                              TOWER ".encoder.layers.%zu.mlp.fc2", i) &&
         llava_put(r, out, (llava_shape){3, {pictures, v->rows, v->hidden}},
                   "vision.layers.%zu.mlp.out", i);
    llava_scratch_release(r, mark);
    return ok;
}

/* One pre-norm encoder layer on h: [N, T, D]. */
static bool layer(llava_run *r, size_t i, size_t pictures, double *h)
{
    const llava_vision_plan *v = &r->plan->vision;
    const llava_numerics *n = &r->plan->numerics;
    size_t rows = pictures * v->rows, width = v->hidden;
    llava_shape shape = {3, {pictures, v->rows, width}};
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *a = llava_scratch(r, rows, width), *out = llava_scratch(r, rows, width);
    bool ok = a != NULL && out != NULL &&
              llava_layer_norm_by_name(r, a, h, rows, width, v->norm_eps,
                                       TOWER ".encoder.layers.%zu.layer_norm1", i) &&
              llava_put(r, a, shape, "vision.layers.%zu.norm1", i) &&
              attend(r, i, a, pictures, out);
    if (ok) {
        llava_add_rows(n, h, h, out, rows * width);
    }
    ok = ok && llava_put(r, h, shape, "vision.layers.%zu.resid1", i) &&
         llava_layer_norm_by_name(r, a, h, rows, width, v->norm_eps,
                                  TOWER ".encoder.layers.%zu.layer_norm2", i) &&
         llava_put(r, a, shape, "vision.layers.%zu.norm2", i) && mlp(r, i, a, pictures, out);
    if (ok) {
        llava_add_rows(n, h, h, out, rows * width);
    }
    llava_scratch_release(r, mark);
    return ok && llava_put(r, h, shape, "vision.layers.%zu.output", i);
}

/* Copies hidden state `index` into its columns of features, rows selected. */
static bool select_rows(llava_run *r, size_t index, const double *h, size_t pictures,
                        double *features)
{
    const llava_vision_plan *v = &r->plan->vision;
    size_t width = v->hidden, first = v->select == LLAVA_ROWS_DROP_FIRST ? 1 : 0;
    llava_scratch_block *mark = llava_scratch_mark(r);
    if (v->post_norm) {
        double *normed = llava_scratch(r, pictures * v->rows, width);
        if (normed == NULL || !llava_layer_norm_by_name(r, normed, h, pictures * v->rows, width,
                                                        v->norm_eps, TOWER ".post_layernorm")) {
            return false;
        }
        h = normed;
    }
    for (size_t j = 0; j < v->feature_count; j++) {
        for (size_t row = 0; v->feature_layers[j] == index && row < pictures * v->feature_rows;
             row++) {
            size_t picture = row / v->feature_rows, t = first + row % v->feature_rows;
            memcpy(features + row * v->feature_width + j * width,
                   h + (picture * v->rows + t) * width, width * sizeof(double));
        }
    }
    llava_scratch_release(r, mark);
    return true;
}

/* Lets the sink put hidden state `index` in place of one that was not computed. */
static bool put_state(llava_run *r, size_t index, size_t pictures, double *h)
{
    llava_shape shape = {3, {pictures, r->plan->vision.rows, r->plan->vision.hidden}};
    return index == 0 ? llava_put(r, h, shape, "vision.pre_norm")
                      : llava_put(r, h, shape, "vision.layers.%zu.output", index - 1);
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

bool llava_vision(llava_run *r, const llava_goal *goal, const double *pixels, size_t pictures,
                  double **features)
{
    const llava_vision_plan *v = &r->plan->vision;
    *features = NULL;
    if (goal->features) {
        *features = llava_scratch(r, pictures * v->feature_rows, v->feature_width);
        if (*features == NULL) {
            return false;
        }
    }
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *patches = llava_scratch(r, pictures * v->patches, v->hidden);
    double *h = llava_scratch(r, pictures * v->rows, v->hidden);
    bool ok = patches != NULL && h != NULL;
    size_t first = goal->vision_first;
    if (ok && first == 0) {
        ok = patch_embed(r, pixels, pictures, patches) && embed(r, patches, pictures, h);
    }
    size_t last = goal->vision_layers;
    if (goal->features && last < v->layers_needed) {
        last = v->layers_needed;
    }
    for (size_t index = 0; ok && index <= last; index++) {
        if (index > first) {
            ok = layer(r, index - 1, pictures, h);
        } else if (first > 0) {
            ok = put_state(r, index, pictures, h);
        }
        if (ok && goal->features && is_chosen(v, index)) {
            ok = select_rows(r, index, h, pictures, *features);
        }
    }
    llava_scratch_release(r, mark);
    return ok &&
           (!goal->features ||
            llava_put(r, *features, (llava_shape){3, {pictures, v->feature_rows, v->feature_width}},
                      "vision.features"));
}
