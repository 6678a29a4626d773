/* config.json and generation_config.json, with transformers' defaults (spec 1.1, 1.2, 1.5, 9). */
#include "config.h"

#include "file.h"
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above every real size, and small enough that a product of two fits 64 bits. */
#define MAX_SIZE   2147483647u
#define MAX_LAYERS 10000u

/* A file being read. */
typedef struct {
    const char *path;
    const cJSON *root;
    llava_error *e;
} source;

static bool refuse(const source *s, const char *key, const char *what)
{
    return llava_fail(s->e, "%s: %s: %s", s->path, key, what);
}

/* 1 .. most; *value holds the default. */
static bool read_size(const source *s, const char *key, size_t most, size_t *value)
{
    if (!llava_json_size(s->path, s->root, key, value, s->e)) {
        return false;
    }
    if (*value == 0 || *value > most) {
        return llava_fail(s->e, "%s: %s: must be from 1 to %zu, not %zu", s->path, key, most,
                          *value);
    }
    return true;
}

static bool read_positive(const source *s, const char *key, double *value)
{
    return llava_json_double(s->path, s->root, key, value, s->e) &&
           (*value > 0 || refuse(s, key, "must be a positive number"));
}

/* A string that must be `only`, which is its default as well. */
static bool read_word(const source *s, const char *key, const char *only)
{
    const char *word = only;
    if (!llava_json_string(s->path, s->root, key, &word, s->e)) {
        return false;
    }
    return strcmp(word, only) == 0 ||
           llava_fail(s->e, "%s: %s: '%.200s' is not supported yet (supported: %s)", s->path, key,
                      word, only);
}

/* Keys that would change the result and that nothing here knows yet. */
static bool refuse_present(const source *s, const char *key)
{
    return !llava_json_has(s->root, key) || refuse(s, key, "is not supported yet");
}

/* ---- Activations ---- */

static const struct {
    const char *name;
    llava_act act;
} act_names[] = {
    {"quick_gelu", LLAVA_ACT_QUICK_GELU},
    {"gelu", LLAVA_ACT_GELU},
    {"gelu_pytorch_tanh", LLAVA_ACT_GELU_TANH},
    {"silu", LLAVA_ACT_SILU},
    {"swish", LLAVA_ACT_SILU},
    {"relu", LLAVA_ACT_RELU},
    {"none", LLAVA_ACT_NONE},
    {"quick_gelu_1.773", LLAVA_ACT_QUICK_GELU_1773},
};
/* The last two are names of decisions: no config may ask for them. */
#define CONFIG_ACTS (sizeof act_names / sizeof *act_names - 2)

const char *llava_act_name(llava_act act)
{
    for (size_t i = 0; i < sizeof act_names / sizeof *act_names; i++) {
        if (act_names[i].act == act) {
            return act_names[i].name;
        }
    }
    return "unknown";
}

static bool read_act(const source *s, const char *key, llava_act *act)
{
    const char *name = NULL;
    if (!llava_json_string(s->path, s->root, key, &name, s->e)) {
        return false;
    }
    if (name == NULL) {
        return true;
    }
    for (size_t i = 0; i < CONFIG_ACTS; i++) {
        if (strcmp(act_names[i].name, name) == 0) {
            *act = act_names[i].act;
            return true;
        }
    }
    return llava_fail(s->e,
                      "%s: %s: '%.200s' is not supported yet (supported: quick_gelu, gelu, "
                      "gelu_pytorch_tanh, silu, swish, relu)",
                      s->path, key, name);
}

/* ---- The vision tower ---- */

/* CLIPVisionConfig's defaults where vision_config is there, ViT-L/14 at 336 pixels (LlavaConfig's
 * own) where it is not. llava-hf's files write neither hidden_act nor layer_norm_eps. */
static llava_vision_config vision_defaults(bool has_config)
{
    llava_vision_config v = {
        .tower = LLAVA_TOWER_CLIP,
        .hidden = 768,
        .intermediate = 3072,
        .layers = 12,
        .heads = 12,
        .channels = 3,
        .image_size = 224,
        .patch_size = 32,
        .act = LLAVA_ACT_QUICK_GELU,
        .norm_eps = 1e-5,
    };
    if (!has_config) {
        v.hidden = 1024;
        v.intermediate = 4096;
        v.layers = 24;
        v.heads = 16;
        v.image_size = 336;
        v.patch_size = 14;
    }
    return v;
}

static bool read_vision(const source *s, llava_vision_config *v)
{
    *v = vision_defaults(llava_json_has(s->root, "vision_config"));
    bool tied = false;
    if (!read_word(s, "vision_config.model_type", "clip_vision_model") ||
        !read_size(s, "vision_config.hidden_size", MAX_SIZE, &v->hidden) ||
        !read_size(s, "vision_config.intermediate_size", MAX_SIZE, &v->intermediate) ||
        !read_size(s, "vision_config.num_hidden_layers", MAX_LAYERS, &v->layers) ||
        !read_size(s, "vision_config.num_attention_heads", MAX_SIZE, &v->heads) ||
        !read_size(s, "vision_config.num_channels", MAX_SIZE, &v->channels) ||
        !read_size(s, "vision_config.image_size", MAX_SIZE, &v->image_size) ||
        !read_size(s, "vision_config.patch_size", MAX_SIZE, &v->patch_size) ||
        !read_act(s, "vision_config.hidden_act", &v->act) ||
        !read_positive(s, "vision_config.layer_norm_eps", &v->norm_eps) ||
        !refuse_present(s, "vision_config.per_layer_config") ||
        !llava_json_bool(s->path, s->root, "vision_config.tie_last_hidden_states", &tied, s->e)) {
        return false;
    }
    if (tied) {
        return refuse(s, "vision_config.tie_last_hidden_states", "true is not supported yet");
    }
    if (v->hidden % v->heads != 0) {
        return refuse(s, "vision_config.hidden_size", "is no multiple of num_attention_heads");
    }
    if (v->channels != 3) {
        return refuse(s, "vision_config.num_channels", "only 3 is supported");
    }
    return v->image_size >= v->patch_size ||
           refuse(s, "vision_config.image_size", "is smaller than patch_size");
}

/* ---- The language model ---- */

static bool is_filled_object(const cJSON *object)
{
    return object != NULL && object->child != NULL;
}

/* Base and type of the rotary embedding, wherever a version wrote them: a rope_scaling that is not
 * empty comes before rope_parameters, and a rope_theta inside it before the one beside it
 * (transformers RotaryEmbeddingConfigMixin, spec 1.5). */
static bool read_rope(const source *s, llava_text_config *t)
{
    const cJSON *scaling, *parameters;
    if (!llava_json_object(s->path, s->root, "text_config.rope_scaling", &scaling, s->e) ||
        !llava_json_object(s->path, s->root, "text_config.rope_parameters", &parameters, s->e)) {
        return false;
    }
    const char *dict = is_filled_object(scaling) ? "rope_scaling" : "rope_parameters";
    char theta[64], type[64], old_type[64];
    snprintf(theta, sizeof theta, "text_config.%s.rope_theta", dict);
    snprintf(type, sizeof type, "text_config.%s.rope_type", dict);
    snprintf(old_type, sizeof old_type, "text_config.%s.type", dict);
    t->rope_theta = 10000.0;
    return read_positive(s, "text_config.rope_theta", &t->rope_theta) &&
           read_positive(s, theta, &t->rope_theta) &&
           read_word(s, llava_json_has(s->root, type) ? type : old_type, "default");
}

static bool check_text(const source *s, const llava_text_config *t)
{
    if (t->hidden % t->heads != 0) {
        return refuse(s, "text_config.hidden_size", "is no multiple of num_attention_heads");
    }
    if (t->heads % t->kv_heads != 0) {
        return refuse(s, "text_config.num_attention_heads",
                      "is no multiple of num_key_value_heads");
    }
    return t->head_dim % 2 == 0 || refuse(s, "text_config.head_dim", "must be even");
}

/* LlamaConfig. */
static bool read_text(const source *s, llava_text_config *t)
{
    *t = (llava_text_config){
        .vocab = 32000,
        .hidden = 4096,
        .intermediate = 11008,
        .layers = 32,
        .heads = 32,
        .act = LLAVA_ACT_SILU,
        .norm_eps = 1e-6,
        .max_positions = 2048,
    };
    bool causal = true;
    if (!read_word(s, "text_config.model_type", "llama") ||
        !read_size(s, "text_config.vocab_size", MAX_SIZE, &t->vocab) ||
        !read_size(s, "text_config.hidden_size", MAX_SIZE, &t->hidden) ||
        !read_size(s, "text_config.intermediate_size", MAX_SIZE, &t->intermediate) ||
        !read_size(s, "text_config.num_hidden_layers", MAX_LAYERS, &t->layers) ||
        !read_size(s, "text_config.num_attention_heads", MAX_SIZE, &t->heads)) {
        return false;
    }
    t->kv_heads = t->heads;
    /* Rounded down here; check_text refuses it where it does not divide, as transformers does even
     * with a head_dim in the file. The maximum only keeps a bad size from being called head_dim. */
    t->head_dim = t->hidden < t->heads ? 1 : t->hidden / t->heads;
    if (!read_size(s, "text_config.num_key_value_heads", MAX_SIZE, &t->kv_heads) ||
        !read_size(s, "text_config.head_dim", MAX_SIZE, &t->head_dim) ||
        !read_size(s, "text_config.max_position_embeddings", MAX_SIZE, &t->max_positions) ||
        !read_act(s, "text_config.hidden_act", &t->act) ||
        !read_positive(s, "text_config.rms_norm_eps", &t->norm_eps) ||
        !llava_json_bool(s->path, s->root, "text_config.attention_bias", &t->attention_bias,
                         s->e) ||
        !llava_json_bool(s->path, s->root, "text_config.mlp_bias", &t->mlp_bias, s->e) ||
        !llava_json_bool(s->path, s->root, "text_config.is_causal", &causal, s->e) ||
        !refuse_present(s, "text_config.per_layer_config") ||
        !refuse_present(s, "text_config.quantization_config") || !read_rope(s, t)) {
        return false;
    }
    return causal ? check_text(s, t)
                  : refuse(s, "text_config.is_causal", "false is not supported yet");
}

/* ---- Between the two ---- */

/* One index into the hidden states, whose tuple has layers + 1 entries; negative ones count from
 * its end, as in Python. */
static bool add_feature_layer(const source *s, const cJSON *item, llava_config *c)
{
    const char *key = "vision_feature_layer";
    int64_t index;
    if (!llava_json_item_int(s->path, item, key, &index, s->e)) {
        return false;
    }
    int64_t states = (int64_t)c->vision.layers + 1;
    if (index < -states || index >= states) {
        return llava_fail(s->e, "%s: %s: %lld is out of range (the tower has %zu layers)", s->path,
                          key, (long long)index, c->vision.layers);
    }
    if (c->feature_layer_count == LLAVA_MAX_FEATURE_LAYERS) {
        return llava_fail(s->e, "%s: %s: more than %d layers", s->path, key,
                          LLAVA_MAX_FEATURE_LAYERS);
    }
    c->feature_layers[c->feature_layer_count++] = (size_t)(index < 0 ? index + states : index);
    return true;
}

static bool read_feature_layers(const source *s, llava_config *c)
{
    const char *key = "vision_feature_layer";
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(s->root, key);
    if (value == NULL || cJSON_IsNull(value)) {
        c->feature_layer_count = 1;
        c->feature_layers[0] = c->vision.layers - 1; /* -2 */
        return true;
    }
    if (!cJSON_IsArray(value)) {
        /* transformers takes a plain 0 for "none" and crashes (spec 14.6); in a list it works. */
        return (!cJSON_IsNumber(value) || value->valuedouble != 0 ||
                refuse(s, key, "0 is refused, as transformers cannot run it")) &&
               add_feature_layer(s, value, c);
    }
    for (const cJSON *item = value->child; item != NULL; item = item->next) {
        if (!add_feature_layer(s, item, c)) {
            return false;
        }
    }
    return c->feature_layer_count > 0 || refuse(s, key, "is an empty list");
}

static bool read_select(const source *s, llava_select *select)
{
    const char *key = "vision_feature_select_strategy";
    const char *word = "default";
    if (!llava_json_string(s->path, s->root, key, &word, s->e)) {
        return false;
    }
    *select = strcmp(word, "full") == 0 ? LLAVA_SELECT_FULL : LLAVA_SELECT_DEFAULT;
    return *select == LLAVA_SELECT_FULL || strcmp(word, "default") == 0 ||
           refuse(s, key, "must be 'default' or 'full'");
}

static bool read_llava(const source *s, llava_config *c)
{
    c->image_token = 32000;
    c->projector_act = LLAVA_ACT_GELU;
    c->projector_bias = true;
    bool tied = false, text_tied = false;
    if (!cJSON_IsObject(s->root)) {
        return llava_fail(s->e, "%s: must be an object", s->path);
    }
    if (!read_word(s, "model_type", "llava") || !refuse_present(s, "quantization_config") ||
        !read_vision(s, &c->vision) || !read_text(s, &c->text) || !read_feature_layers(s, c) ||
        !read_select(s, &c->select) ||
        /* Two names of one value; where a file has both, image_token_id is set last and wins. */
        !llava_json_int(s->path, s->root, "image_token_index", &c->image_token, s->e) ||
        !llava_json_int(s->path, s->root, "image_token_id", &c->image_token, s->e) ||
        !read_act(s, "projector_hidden_act", &c->projector_act) ||
        !llava_json_bool(s->path, s->root, "multimodal_projector_bias", &c->projector_bias, s->e) ||
        !llava_json_bool(s->path, s->root, "tie_word_embeddings", &tied, s->e) ||
        !llava_json_bool(s->path, s->root, "text_config.tie_word_embeddings", &text_tied, s->e)) {
        return false;
    }
    c->tied_head = tied || text_tied;
    return true;
}

/* ---- Generation ---- */

static bool read_stop_ids(const source *s, const char *key, const cJSON *value, llava_config *c)
{
    bool is_list = cJSON_IsArray(value);
    for (const cJSON *item = is_list ? value->child : value; item != NULL;
         item = is_list ? item->next : NULL) {
        if (c->stop_count == LLAVA_MAX_STOP_IDS) {
            return llava_fail(s->e, "%s: %s: more than %d ids", s->path, key, LLAVA_MAX_STOP_IDS);
        }
        if (!llava_json_item_int(s->path, item, key, &c->stop_ids[c->stop_count++], s->e)) {
            return false;
        }
    }
    return c->stop_count > 0 || refuse(s, key, "is an empty list");
}

/* The ids at the top of the file, or in the object named by `prefix` ("text_config."), each only
 * where it is not set yet. */
static bool read_ids(const source *s, const char *prefix, const cJSON *object, llava_config *c)
{
    char eos[64], pad[64], bos[64];
    snprintf(eos, sizeof eos, "%seos_token_id", prefix);
    snprintf(pad, sizeof pad, "%spad_token_id", prefix);
    snprintf(bos, sizeof bos, "%sbos_token_id", prefix);
    const cJSON *stop = cJSON_GetObjectItemCaseSensitive(object, "eos_token_id");
    if (c->stop_count == 0 && stop != NULL && !cJSON_IsNull(stop) &&
        !read_stop_ids(s, eos, stop, c)) {
        return false;
    }
    return (c->pad_id >= 0 || llava_json_int(s->path, s->root, pad, &c->pad_id, s->e)) &&
           (c->bos_id >= 0 || llava_json_int(s->path, s->root, bos, &c->bos_id, s->e));
}

/* A number that changes greedy decoding unless it is `neutral`. */
static bool changes(const source *s, const char *key, double neutral)
{
    double value = neutral;
    return !llava_json_double(s->path, s->root, key, &value, NULL) || value != neutral;
}

/* The first key of generation_config.json that makes transformers' greedy decoding differ from the
 * plain one. Sampling keys (do_sample, temperature, top_k, ...) do not count. */
static const char *find_unsupported(const source *s)
{
    static const struct {
        const char *key;
        double neutral;
    } numbers[] = {
        {"repetition_penalty", 1}, {"no_repeat_ngram_size", 0},
        {"min_length", 0},         {"min_new_tokens", 0},
        {"num_beams", 1},          {"guidance_scale", 1},
        {"penalty_alpha", 0},
    };
    static const char *const others[] = {
        "bad_words_ids",         "suppress_tokens",
        "begin_suppress_tokens", "forced_bos_token_id",
        "forced_eos_token_id",   "sequence_bias",
        "stop_strings",          "exponential_decay_length_penalty",
        "watermarking_config",   "dola_layers",
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (changes(s, numbers[i].key, numbers[i].neutral)) {
            return numbers[i].key;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (llava_json_has(s->root, others[i])) {
            return others[i];
        }
    }
    return "";
}

/* generation_config.json alone, where it is there: what it does not name is not set. */
static bool read_generation_file(const char *path, llava_config *c, llava_error *e)
{
    cJSON *root = llava_json_read(path, e);
    if (root == NULL) {
        return false;
    }
    source s = {path, root, e};
    bool ok = cJSON_IsObject(root) || llava_fail(e, "%s: must be an object", path);
    ok = ok && read_ids(&s, "", root, c);
    if (ok) {
        snprintf(c->unsupported_generation, sizeof c->unsupported_generation, "%s",
                 find_unsupported(&s));
    }
    cJSON_Delete(root);
    return ok;
}

/* As transformers 5.23's from_pretrained and generate() do (measured, and unlike spec 1.5 there are
 * no LlamaConfig defaults): generation_config.json if there is one; otherwise what config.json says
 * at its top, then in text_config. A pad that nobody names is the first stop id. */
static bool read_generation(const source *config, const char *folder, llava_config *c)
{
    c->pad_id = -1;
    c->bos_id = -1;
    char *path = llava_path(config->e, folder, "generation_config.json");
    if (path == NULL) {
        return false;
    }
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(config->root, "text_config");
    bool ok = llava_file_exists(path) ? read_generation_file(path, c, config->e)
                                      : read_ids(config, "", config->root, c) &&
                                            read_ids(config, "text_config.", text, c);
    free(path);
    if (ok && c->pad_id < 0 && c->stop_count > 0) {
        c->pad_id = c->stop_ids[0];
    }
    return ok;
}

bool llava_config_read(llava_config *config, const char *folder, llava_error *e)
{
    *config = (llava_config){0};
    char *path = llava_path(e, folder, "config.json");
    if (path == NULL) {
        return false;
    }
    cJSON *root = llava_json_read(path, e);
    source s = {path, root, e};
    bool ok = root != NULL && read_llava(&s, config) && read_generation(&s, folder, config);
    cJSON_Delete(root);
    free(path);
    return ok;
}
