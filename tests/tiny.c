#include "tiny.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the model ---------------------------------------------------------------------------------
 */

static const char config_text[] =
    "{\"model_type\":\"llava\",\"image_token_index\":28,"
    "\"vision_config\":{\"model_type\":\"clip_vision_model\",\"hidden_size\":12,"
    "\"intermediate_size\":14,\"num_hidden_layers\":3,\"num_attention_heads\":2,"
    "\"image_size\":7,\"patch_size\":2,\"layer_norm_eps\":1e-5},"
    "\"text_config\":{\"model_type\":\"llama\",\"hidden_size\":16,\"intermediate_size\":18,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":6,"
    "\"vocab_size\":29,\"rms_norm_eps\":1e-5,\"attention_bias\":true,\"mlp_bias\":true}}";

/* Every tensor, {} for the layer's number. Shapes end with 0. */
static const struct {
    const char *name;
    size_t layers, shape[4];
} tensors[] = {
    {"vision_tower.vision_model.embeddings.class_embedding", 0, {12}},
    {"vision_tower.vision_model.embeddings.patch_embedding.weight", 0, {12, 3, 2, 2}},
    {"vision_tower.vision_model.embeddings.position_embedding.weight", 0, {10, 12}},
    {"vision_tower.vision_model.pre_layrnorm.weight", 0, {12}},
    {"vision_tower.vision_model.pre_layrnorm.bias", 0, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.layer_norm1.weight", 3, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.layer_norm1.bias", 3, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.q_proj.weight", 3, {12, 12}},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.q_proj.bias", 3, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.k_proj.weight", 3, {12, 12}},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.k_proj.bias", 3, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.v_proj.weight", 3, {12, 12}},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.v_proj.bias", 3, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.out_proj.weight", 3, {12, 12}},
    {"vision_tower.vision_model.encoder.layers.{}.self_attn.out_proj.bias", 3, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.layer_norm2.weight", 3, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.layer_norm2.bias", 3, {12}},
    {"vision_tower.vision_model.encoder.layers.{}.mlp.fc1.weight", 3, {14, 12}},
    {"vision_tower.vision_model.encoder.layers.{}.mlp.fc1.bias", 3, {14}},
    {"vision_tower.vision_model.encoder.layers.{}.mlp.fc2.weight", 3, {12, 14}},
    {"vision_tower.vision_model.encoder.layers.{}.mlp.fc2.bias", 3, {12}},
    {"vision_tower.vision_model.post_layernorm.weight", 0, {12}},
    {"vision_tower.vision_model.post_layernorm.bias", 0, {12}},
    {"multi_modal_projector.linear_1.weight", 0, {16, 12}},
    {"multi_modal_projector.linear_1.bias", 0, {16}},
    {"multi_modal_projector.linear_2.weight", 0, {16, 16}},
    {"multi_modal_projector.linear_2.bias", 0, {16}},
    {"language_model.model.embed_tokens.weight", 0, {29, 16}},
    {"language_model.model.layers.{}.input_layernorm.weight", 2, {16}},
    {"language_model.model.layers.{}.self_attn.q_proj.weight", 2, {24, 16}},
    {"language_model.model.layers.{}.self_attn.q_proj.bias", 2, {24}},
    {"language_model.model.layers.{}.self_attn.k_proj.weight", 2, {12, 16}},
    {"language_model.model.layers.{}.self_attn.k_proj.bias", 2, {12}},
    {"language_model.model.layers.{}.self_attn.v_proj.weight", 2, {12, 16}},
    {"language_model.model.layers.{}.self_attn.v_proj.bias", 2, {12}},
    {"language_model.model.layers.{}.self_attn.o_proj.weight", 2, {16, 24}},
    {"language_model.model.layers.{}.self_attn.o_proj.bias", 2, {16}},
    {"language_model.model.layers.{}.post_attention_layernorm.weight", 2, {16}},
    {"language_model.model.layers.{}.mlp.gate_proj.weight", 2, {18, 16}},
    {"language_model.model.layers.{}.mlp.gate_proj.bias", 2, {18}},
    {"language_model.model.layers.{}.mlp.up_proj.weight", 2, {18, 16}},
    {"language_model.model.layers.{}.mlp.up_proj.bias", 2, {18}},
    {"language_model.model.layers.{}.mlp.down_proj.weight", 2, {16, 18}},
    {"language_model.model.layers.{}.mlp.down_proj.bias", 2, {16}},
    {"language_model.model.norm.weight", 0, {16}},
    {"language_model.lm_head.weight", 0, {29, 16}},
};

enum { HEADER = 40000, NUMBERS = 20000 };

/* A file in the making: the header's text behind room for its length, and the numbers. */
typedef struct {
    char header[HEADER];
    float numbers[NUMBERS];
    size_t length, count;
    uint64_t seed;
} writing;

static void add_tensor(writing *w, const char *name, size_t layer, const size_t *shape)
{
    const char *mark = strstr(name, "{}");
    int front = (int)(mark == NULL ? strlen(name) : (size_t)(mark - name));
    char full[128], sizes[64];
    size_t count = 1, at = 0;
    snprintf(full, sizeof full, mark == NULL ? "%.*s" : "%.*s%zu%s", front, name, layer,
             mark == NULL ? "" : mark + 2);
    for (size_t i = 0; i < 4 && shape[i] != 0; i++) {
        at += (size_t)snprintf(sizes + at, sizeof sizes - at, i == 0 ? "%zu" : ",%zu", shape[i]);
        count *= shape[i];
    }
    w->length += (size_t)snprintf(
        w->header + w->length, HEADER - w->length,
        "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
        w->count == 0 ? "{" : ",", full, sizes, 4 * w->count, 4 * (w->count + count));
    assert_true(w->length < HEADER - 1 && w->count + count <= NUMBERS);
    /* norms around 1; matrices so that a product keeps the size of what it is given */
    bool is_norm = shape[1] == 0 && strstr(full, "norm") != NULL && strstr(full, "weight") != NULL;
    for (size_t i = 0; i < count; i++) {
        double x = support_random(&w->seed);
        w->numbers[w->count++] = (float)(is_norm ? 1 + x / 4 : x / 2);
    }
}

static void write_weights(const support_folder *folder)
{
    writing *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->seed = 20240229;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        for (size_t layer = 0; layer == 0 || layer < tensors[i].layers; layer++) {
            add_tensor(w, tensors[i].name, layer, tensors[i].shape);
        }
    }
    w->header[w->length++] = '}';
    size_t bytes = 8 + w->length + 4 * w->count;
    uint8_t *file = calloc(bytes, 1), *data = file + 8 + w->length;
    assert_non_null(file);
    for (size_t i = 0; i < 8; i++) {
        file[i] = (uint8_t)((uint64_t)w->length >> (8 * i));
    }
    memcpy(file + 8, w->header, w->length);
    for (size_t i = 0; i < w->count; i++) {
        uint32_t bits;
        memcpy(&bits, &w->numbers[i], 4);
        for (size_t k = 0; k < 4; k++) {
            data[4 * i + k] = (uint8_t)(bits >> (8 * k));
        }
    }
    support_write(folder, "model.safetensors", file, bytes);
    free(file);
    free(w);
}

void tiny_open(tiny_model *model)
{
    llava_error e = {""};
    model->folder = support_folder_new();
    support_write_text(&model->folder, "config.json", config_text);
    write_weights(&model->folder);
    if (!llava_config_read(&model->config, model->folder.path, &e) ||
        !llava_checkpoint_open(&model->weights, model->folder.path, NULL, &e)) {
        fail_msg("%s", e.text);
    }
}

void tiny_close(tiny_model *model)
{
    llava_checkpoint_close(model->weights);
    support_folder_remove(&model->folder);
}

/* ---- inputs ------------------------------------------------------------------------------------
 */

llava_inputs tiny_inputs(size_t batch, size_t length, uint64_t seed)
{
    llava_inputs in = {.batch = batch, .length = length, .pixel_type = LLAVA_F32};
    bool pictures = length > TINY_PATCHES;
    in.input_ids = calloc(batch * length, sizeof *in.input_ids);
    assert_non_null(in.input_ids);
    for (size_t i = 0; i < batch * length; i++) {
        size_t s = i % length;
        bool image = pictures && s >= 1 && s <= TINY_PATCHES;
        int64_t id = (int64_t)((support_random(&seed) + 1) / 2 * TINY_IMAGE_TOKEN);
        in.input_ids[i] = image ? TINY_IMAGE_TOKEN : id;
    }
    if (pictures) {
        in.pictures = batch;
        in.height = in.width = TINY_IMAGE;
        in.pixel_values = calloc(batch * 3 * TINY_IMAGE * TINY_IMAGE, sizeof *in.pixel_values);
        assert_non_null(in.pixel_values);
        for (size_t i = 0; i < batch * 3 * TINY_IMAGE * TINY_IMAGE; i++) {
            in.pixel_values[i] = (double)(float)(2 * support_random(&seed));
        }
    }
    return in;
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
    llava_run run = {
        .weights = model->weights, .plan = &plan, .sink = &sink, .prefix = "", .error = e};
    taps->count = 0;
    if (!llava_inputs_check(in, &plan, e)) {
        return false;
    }
    llava_taps_goal(&plan, &sizes, &sink, &goal, &step);
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
