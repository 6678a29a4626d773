#include "tiny.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the model ---------------------------------------------------------------------------------
 */

/* Every tensor: {} for the layer's number, a letter for each axis (size_of). */
static const struct {
    const char *name, *axes;
} tensors[] = {
    {"vision_tower.vision_model.embeddings.class_embedding", "D"},
    {"vision_tower.vision_model.embeddings.patch_embedding.weight", "D3pp"},
    {"vision_tower.vision_model.embeddings.position_embedding.weight", "RD"},
    {"vision_tower.vision_model.pre_layrnorm.weight", "D"},
    {"vision_tower.vision_model.pre_layrnorm.bias", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.layer_norm1.weight", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.layer_norm1.bias", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.q_proj.weight", "DD"},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.q_proj.bias", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.k_proj.weight", "DD"},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.k_proj.bias", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.v_proj.weight", "DD"},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.v_proj.bias", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.out_proj.weight", "DD"},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.out_proj.bias", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.layer_norm2.weight", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.layer_norm2.bias", "D"},
    {"vision_tower.vision_model.encoder.layers.{}.mlp.fc1.weight", "MD"},
    {"vision_tower.vision_model.encoder.layers.{}.mlp.fc1.bias", "M"},
    {"vision_tower.vision_model.encoder.layers.{}.mlp.fc2.weight", "DM"},
    {"vision_tower.vision_model.encoder.layers.{}.mlp.fc2.bias", "D"},
    {"vision_tower.vision_model.post_layernorm.weight", "D"},
    {"vision_tower.vision_model.post_layernorm.bias", "D"},
    {"multi_modal_projector.linear_1.weight", "HF"},
    {"multi_modal_projector.linear_1.bias", "H"},
    {"multi_modal_projector.linear_2.weight", "HH"},
    {"multi_modal_projector.linear_2.bias", "H"},
    {"language_model.model.embed_tokens.weight", "VH"},
    {"language_model.model.layers.{}.input_layernorm.weight", "H"},
    {"language_model.model.layers.{}.self_attn.q_proj.weight", "QH"},
    {"language_model.model.layers.{}.self_attn.q_proj.bias", "Q"},
    {"language_model.model.layers.{}.self_attn.k_proj.weight", "KH"},
    {"language_model.model.layers.{}.self_attn.k_proj.bias", "K"},
    {"language_model.model.layers.{}.self_attn.v_proj.weight", "KH"},
    {"language_model.model.layers.{}.self_attn.v_proj.bias", "K"},
    {"language_model.model.layers.{}.self_attn.o_proj.weight", "HQ"},
    {"language_model.model.layers.{}.self_attn.o_proj.bias", "H"},
    {"language_model.model.layers.{}.post_attention_layernorm.weight", "H"},
    {"language_model.model.layers.{}.mlp.gate_proj.weight", "IH"},
    {"language_model.model.layers.{}.mlp.gate_proj.bias", "I"},
    {"language_model.model.layers.{}.mlp.up_proj.weight", "IH"},
    {"language_model.model.layers.{}.mlp.up_proj.bias", "I"},
    {"language_model.model.layers.{}.mlp.down_proj.weight", "HI"},
    {"language_model.model.layers.{}.mlp.down_proj.bias", "H"},
    {"language_model.model.norm.weight", "H"},
    {"language_model.lm_head.weight", "VH"},
};

const tiny_shape tiny_default = {
    .image = TINY_IMAGE,
    .patch = 2,
    .tower = TINY_TOWER,
    .tower_heads = 2,
    .tower_wide = 14,
    .tower_layers = 3,
    .hidden = TINY_HIDDEN,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 6,
    .wide = 18,
    .layers = 2,
    .vocab = TINY_VOCAB,
    .stored = LLAVA_F32,
};

size_t tiny_patches(const tiny_shape *s)
{
    return s->image / s->patch * (s->image / s->patch);
}

size_t tiny_picture_rows(const tiny_shape *s)
{
    return tiny_patches(s) + (s->full ? 1 : 0);
}

static size_t size_of(const tiny_shape *s, char axis)
{
    switch (axis) {
    case '3':
        return 3;
    case 'p':
        return s->patch;
    case 'R':
        return tiny_patches(s) + 1;
    case 'D':
        return s->tower;
    case 'M':
        return s->tower_wide;
    case 'F':
        return s->tower * (s->two_features ? 2 : 1);
    case 'H':
        return s->hidden;
    case 'I':
        return s->wide;
    case 'Q':
        return s->heads * s->head_dim;
    case 'K':
        return s->kv_heads * s->head_dim;
    default:
        return s->vocab;
    }
}

static void write_config(const support_folder *folder, const tiny_shape *s)
{
    char text[2048];
    snprintf(
        text, sizeof text,
        "{\"model_type\":\"llava\",\"image_token_index\":%zu,\"tie_word_embeddings\":%s,"
        "\"vision_feature_layer\":%s,\"vision_feature_select_strategy\":\"%s\","
        "\"vision_config\":{\"model_type\":\"clip_vision_model\",\"hidden_size\":%zu,"
        "\"intermediate_size\":%zu,\"num_hidden_layers\":%zu,\"num_attention_heads\":%zu,"
        "\"image_size\":%zu,\"patch_size\":%zu,\"layer_norm_eps\":1e-5},"
        "\"text_config\":{\"model_type\":\"llama\",\"hidden_size\":%zu,\"intermediate_size\":%zu,"
        "\"num_hidden_layers\":%zu,\"num_attention_heads\":%zu,\"num_key_value_heads\":%zu,"
        "\"head_dim\":%zu,\"vocab_size\":%zu,\"rms_norm_eps\":1e-5,\"attention_bias\":true,"
        "\"mlp_bias\":true}}",
        s->vocab - 1, s->tied ? "true" : "false", s->two_features ? "[-1, 1]" : "-2",
        s->full ? "full" : "default", s->tower, s->tower_wide, s->tower_layers, s->tower_heads,
        s->image, s->patch, s->hidden, s->wide, s->layers, s->heads, s->kv_heads, s->head_dim,
        s->vocab);
    support_write_text(folder, "config.json", text);
}

enum { HEADER = 80000 };

/* A file in the making: the header's text, and the bytes of the numbers. */
typedef struct {
    const tiny_shape *shape;
    char header[HEADER];
    uint8_t *bytes;
    size_t length, count, room;
    uint64_t seed;
} writing;

/* The bytes of x as files have them. */
static void add_number(writing *w, double x)
{
    llava_dtype type = w->shape->stored;
    float single = (float)x;
    uint64_t bits = 0;
    uint32_t narrow;
    memcpy(&narrow, &single, sizeof narrow);
    memcpy(&bits, &x, sizeof bits);
    bits = type == LLAVA_F32    ? narrow
           : type == LLAVA_F16  ? llava_encode_f16(x)
           : type == LLAVA_BF16 ? llava_encode_bf16(x)
                                : bits;
    size_t size = llava_dtype_size(type), at = w->count++ * size;
    if (at + size > w->room) {
        w->room = 2 * w->room + 4096;
        w->bytes = realloc(w->bytes, w->room);
        assert_non_null(w->bytes);
    }
    for (size_t i = 0; i < size; i++) {
        w->bytes[at + i] = (uint8_t)(bits >> (8 * i));
    }
}

static void add_tensor(writing *w, const char *name, size_t layer, const char *axes)
{
    static const char *const types[] = {
        [LLAVA_F64] = "F64", [LLAVA_F32] = "F32", [LLAVA_F16] = "F16", [LLAVA_BF16] = "BF16"};
    const char *mark = strstr(name, "{}");
    int front = (int)(mark == NULL ? strlen(name) : (size_t)(mark - name));
    char full[128], sizes[64];
    size_t count = 1, at = 0, size = llava_dtype_size(w->shape->stored);
    snprintf(full, sizeof full, mark == NULL ? "%.*s" : "%.*s%zu%s", front, name, layer,
             mark == NULL ? "" : mark + 2);
    for (size_t i = 0; axes[i] != '\0'; i++) {
        size_t axis = size_of(w->shape, axes[i]);
        at += (size_t)snprintf(sizes + at, sizeof sizes - at, i == 0 ? "%zu" : ",%zu", axis);
        count *= axis;
    }
    w->length +=
        (size_t)snprintf(w->header + w->length, HEADER - w->length,
                         "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                         w->count == 0 ? "{" : ",", full, types[w->shape->stored], sizes,
                         size * w->count, size * (w->count + count));
    assert_true(w->length < HEADER - 1);
    /* norms around 1; matrices so that a product keeps the size of what it is given: the default's
     * numbers are those of [-1/2, 1/2), wider ones shrink with the width */
    bool is_norm =
        axes[1] == '\0' && strstr(full, "norm") != NULL && strstr(full, "weight") != NULL;
    size_t inner = count / size_of(w->shape, axes[0]);
    double scale = inner > 24 ? 24 / (double)inner : 1;
    for (size_t i = 0; i < count; i++) {
        double x = support_random(&w->seed);
        add_number(w, is_norm ? 1 + x / 4 : x / 2 * scale);
    }
}

static void write_weights(const support_folder *folder, const tiny_shape *shape)
{
    writing *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->seed = 20240229;
    w->shape = shape;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const char *name = tensors[i].name;
        bool vision = strncmp(name, "vision", 6) == 0;
        size_t layers = strstr(name, "{}") == NULL ? 1
                        : vision                   ? shape->tower_layers
                                                   : shape->layers;
        bool head = strcmp(name, "language_model.lm_head.weight") == 0;
        for (size_t layer = 0; layer < layers && !(head && shape->tied); layer++) {
            add_tensor(w, name, layer, tensors[i].axes);
        }
    }
    w->header[w->length++] = '}';
    size_t data = w->count * llava_dtype_size(shape->stored), bytes = 8 + w->length + data;
    uint8_t *file = calloc(bytes, 1);
    assert_non_null(file);
    for (size_t i = 0; i < 8; i++) {
        file[i] = (uint8_t)((uint64_t)w->length >> (8 * i));
    }
    memcpy(file + 8, w->header, w->length);
    memcpy(file + 8 + w->length, w->bytes, data);
    support_write(folder, "model.safetensors", file, bytes);
    free(file);
    free(w->bytes);
    free(w);
}

void tiny_open_as(tiny_model *model, const tiny_shape *shape)
{
    llava_error e = {""};
    model->shape = *shape;
    model->folder = support_folder_new();
    write_config(&model->folder, shape);
    write_weights(&model->folder, shape);
    if (!llava_config_read(&model->config, model->folder.path, &e) ||
        !llava_checkpoint_open(&model->weights, model->folder.path, NULL, &e)) {
        fail_msg("%s", e.text);
    }
}

void tiny_open(tiny_model *model)
{
    tiny_open_as(model, &tiny_default);
}

void tiny_close(tiny_model *model)
{
    llava_checkpoint_close(model->weights);
    support_folder_remove(&model->folder);
}

/* ---- inputs ------------------------------------------------------------------------------------
 */

llava_inputs tiny_inputs_of(const tiny_shape *shape, size_t batch, size_t length, size_t pictures,
                            uint64_t seed)
{
    llava_inputs in = {.batch = batch, .length = length, .pixel_type = LLAVA_F32};
    size_t rows = pictures * tiny_picture_rows(shape);
    in.input_ids = calloc(batch * length, sizeof *in.input_ids);
    assert_non_null(in.input_ids);
    for (size_t i = 0; i < batch * length; i++) {
        size_t s = i % length;
        int64_t id = (int64_t)((support_random(&seed) + 1) / 2 * (double)(shape->vocab - 1));
        in.input_ids[i] = s >= 1 && s <= rows ? (int64_t)shape->vocab - 1 : id;
    }
    if (pictures > 0) {
        size_t count = batch * pictures * 3 * shape->image * shape->image;
        in.pictures = batch * pictures;
        in.height = in.width = shape->image;
        in.pixel_values = calloc(count, sizeof *in.pixel_values);
        assert_non_null(in.pixel_values);
        for (size_t i = 0; i < count; i++) {
            in.pixel_values[i] = (double)(float)(2 * support_random(&seed));
        }
    }
    return in;
}

llava_inputs tiny_inputs(size_t batch, size_t length, uint64_t seed)
{
    return tiny_inputs_of(&tiny_default, batch, length, length > TINY_PATCHES ? 1 : 0, seed);
}

int64_t *tiny_mask(llava_inputs *in)
{
    in->attention_mask = calloc(in->batch * in->length, sizeof *in->attention_mask);
    assert_non_null(in->attention_mask);
    for (size_t i = 0; i < in->batch * in->length; i++) {
        in->attention_mask[i] = 1;
    }
    return in->attention_mask;
}

/* ---- taps --------------------------------------------------------------------------------------
 */

static bool wants(void *self, const char *name)
{
    tiny_taps *t = self;
    t->watched += t->watch != NULL && strncmp(name, t->watch, strlen(t->watch)) == 0;
    return t->only == NULL || strcmp(name, t->only) == 0;
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    tiny_taps *t = self;
    (void)e;
    assert_true(t->count < TINY_TAPS && strlen(tap->name) < LLAVA_TAP_NAME);
    tiny_tap *kept = &t->taps[t->count++];
    *kept = (tiny_tap){.dtype = tap->dtype, .rank = tap->rank, .count = llava_tap_count(tap)};
    snprintf(kept->name, sizeof kept->name, "%s", tap->name);
    memcpy(kept->shape, tap->shape, sizeof kept->shape);
    kept->values = calloc(kept->count, sizeof *kept->values);
    assert_non_null(kept->values);
    for (size_t i = 0; i < kept->count; i++) {
        kept->values[i] = tap->dtype == LLAVA_I64 ? (double)((const int64_t *)tap->data)[i]
                                                  : ((const double *)tap->data)[i];
    }
    if (t->clear != NULL && strcmp(t->clear, tap->name) == 0) {
        memset(tap->data, 0, kept->count * 8);
    }
    return true;
}

llava_sink tiny_sink(tiny_taps *taps)
{
    return (llava_sink){wants, take, taps};
}

const tiny_tap *tiny_find(const tiny_taps *taps, const char *name)
{
    for (size_t i = 0; i < taps->count; i++) {
        if (strcmp(taps->taps[i].name, name) == 0) {
            return &taps->taps[i];
        }
    }
    fail_msg("no tap %s", name);
    return NULL;
}

bool tiny_same(const tiny_tap *a, const tiny_tap *b)
{
    return a->dtype == b->dtype && a->rank == b->rank && a->count == b->count &&
           memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0 &&
           memcmp(a->values, b->values, a->count * sizeof *a->values) == 0;
}

void tiny_free(tiny_taps *taps)
{
    for (size_t i = 0; i < taps->count; i++) {
        free(taps->taps[i].values);
    }
    taps->count = 0;
}

/* ---- running -----------------------------------------------------------------------------------
 */

llava_plan tiny_plan(const tiny_model *model, const tiny_how *how)
{
    llava_plan plan = {0};
    llava_choices choices = {{0}};
    llava_error e = {""};
    if ((how->set != NULL && !llava_choose(&choices, how->set, &e)) ||
        !llava_plan_make(&plan, &model->config, &choices, how->storage, how->islands, &e)) {
        fail_msg("%s", e.text);
    }
    plan.numerics.sums_f32 = how->sums_f32;
    return plan;
}

llava_tap_sizes tiny_sizes(const llava_plan *plan, const llava_inputs *in, const tiny_how *how)
{
    return (llava_tap_sizes){.batch = in->batch,
                             .length = in->length,
                             .pictures = in->pictures,
                             .height = in->height,
                             .width = in->width,
                             .tower = llava_tower_shape_of(plan, in),
                             .embeds_given = in->inputs_embeds != NULL,
                             .labels = in->labels != NULL,
                             .logit_rows = llava_logit_rows(in),
                             .square_mask = in->sees != NULL,
                             .mask_type = in->mask_bias == NULL ? LLAVA_I64 : in->mask_type,
                             .steps = how->generate > 0 ? how->generate - 1 : 0,
                             .generates = how->generate > 0,
                             .pixel_type = in->pixel_type,
                             .vision_layers_there = 3};
}

bool tiny_try(const tiny_model *model, const llava_inputs *in, const tiny_how *how, tiny_taps *taps,
              llava_error *e)
{
    llava_plan plan = tiny_plan(model, how);
    llava_tap_sizes sizes = tiny_sizes(&plan, in, how);
    llava_sink sink = tiny_sink(taps);
    llava_goal goal = {.last_logits = how->generate > 0}, step = {0};
    llava_run run = {.weights = model->weights,
                     .plan = &plan,
                     .sink = &sink,
                     .prefix = "",
                     .fast = how->fast,
                     .error = e};
    taps->count = 0;
    if (!llava_inputs_check(in, &plan, e)) {
        return false;
    }
    llava_taps_goal(&plan, &sizes, &sink, &goal, &step);
    goal.only = how->only;
    taps->watched = 0;
    if (how->generate > 0) {
        llava_answer answer;
        bool ok = llava_generate(&run, &model->config, &goal, &step, in, how->convention,
                                 how->generate, &answer);
        llava_answer_free(&answer);
        return ok;
    }
    int64_t *positions = calloc(in->batch * in->length, sizeof *positions);
    assert_non_null(positions);
    llava_outputs out;
    llava_positions(&plan, in, how->convention, positions);
    bool ok = llava_forward(&run, &goal, in, positions, NULL, &out);
    llava_outputs_free(&out);
    free(positions);
    return ok;
}

void tiny_run(const tiny_model *model, const llava_inputs *in, const tiny_how *how, tiny_taps *taps)
{
    llava_error e = {""};
    if (!tiny_try(model, in, how, taps, &e)) {
        fail_msg("%s", e.text);
    }
}
