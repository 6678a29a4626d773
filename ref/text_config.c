/* text_config: LlamaConfig, MistralConfig, Qwen2Config with transformers' defaults (spec 1.5, 1.6).
 *
 *             biases             sliding layers
 *   llama     as the file says   none
 *   mistral   none               all, where sliding_window is not null
 *   qwen2     q, k and v         where use_sliding_window: those from max_window_layers on, or as
 *                                layer_types says */
#include "config_source.h"

#include <string.h>

static bool check_sizes(const llava_source *s, const llava_text_config *t)
{
    if (t->hidden % t->heads != 0) {
        return llava_refuse(s, "text_config.hidden_size", "is no multiple of num_attention_heads");
    }
    if (t->heads % t->kv_heads != 0) {
        return llava_refuse(s, "text_config.num_attention_heads",
                            "is no multiple of num_key_value_heads");
    }
    return t->head_dim % 2 == 0 || llava_refuse(s, "text_config.head_dim", "must be even");
}

static void set_defaults(llava_text_config *t)
{
    t->hidden = 4096;
    t->layers = 32;
    t->heads = 32;
    t->act = LLAVA_ACT_SILU;
    t->norm_eps = 1e-6;
    switch (t->family) {
    case LLAVA_TEXT_MISTRAL:
        t->vocab = 32000;
        t->intermediate = 14336;
        t->kv_heads = 8;
        t->max_positions = 131072;
        t->window = 4096;
        break;
    case LLAVA_TEXT_QWEN2:
        t->vocab = 151936;
        t->intermediate = 22016;
        t->kv_heads = 32;
        t->max_positions = 32768;
        t->window = 4096;
        t->qkv_bias = true;
        break;
    default:
        t->vocab = 32000;
        t->intermediate = 11008;
        t->max_positions = 2048;
        break;
    }
}

static bool read_sizes(const llava_source *s, llava_text_config *t)
{
    if (!llava_read_size(s, "text_config.vocab_size", LLAVA_MAX_SIZE, &t->vocab) ||
        !llava_read_size(s, "text_config.hidden_size", LLAVA_MAX_SIZE, &t->hidden) ||
        !llava_read_size(s, "text_config.intermediate_size", LLAVA_MAX_SIZE, &t->intermediate) ||
        !llava_read_size(s, "text_config.num_hidden_layers", LLAVA_MAX_LAYERS, &t->layers) ||
        !llava_read_size(s, "text_config.num_attention_heads", LLAVA_MAX_SIZE, &t->heads) ||
        !llava_read_size(s, "text_config.max_position_embeddings", LLAVA_MAX_SIZE,
                         &t->max_positions)) {
        return false;
    }
    /* null is as many as there are heads, which is also what Llama makes of a key that is absent */
    const char *kv_key = "text_config.num_key_value_heads";
    if (t->family == LLAVA_TEXT_LLAMA || llava_is_null(s, kv_key)) {
        t->kv_heads = t->heads;
    }
    /* Rounded down here; check_sizes refuses it where it does not divide, as transformers' Llama
     * does even with a head_dim in the file. The maximum only keeps a bad size from being called
     * head_dim. */
    t->head_dim = t->hidden < t->heads ? 1 : t->hidden / t->heads;
    return llava_read_size(s, kv_key, LLAVA_MAX_SIZE, &t->kv_heads) &&
           llava_read_size(s, "text_config.head_dim", LLAVA_MAX_SIZE, &t->head_dim) &&
           check_sizes(s, t);
}

/* ---- the sliding window ------------------------------------------------------------------------
 */

/* Every entry of layer_types, one for each layer; *given false where there is no such key. */
static bool read_layer_types(const llava_source *s, llava_text_config *t, bool *given)
{
    const char *key = "text_config.layer_types";
    const cJSON *list = NULL;
    if (!llava_json_array(s->path, s->root, key, &list, s->e)) {
        return false;
    }
    *given = list != NULL;
    if (*given && (size_t)cJSON_GetArraySize(list) != t->layers) {
        return llava_fail(s->e, "%s: %s: %d entries for %zu layers", s->path, key,
                          cJSON_GetArraySize(list), t->layers);
    }
    size_t i = 0;
    for (const cJSON *item = *given ? list->child : NULL; item != NULL; item = item->next) {
        const char *word = cJSON_IsString(item) ? item->valuestring : "?";
        t->slides[i] = strcmp(word, "sliding_attention") == 0;
        /* "attention" is the older name of the latter */
        if (!t->slides[i++] && strcmp(word, "full_attention") != 0 &&
            strcmp(word, "attention") != 0) {
            return llava_fail(s->e,
                              "%s: %s: '%.200s' is not supported yet (supported: full_attention, "
                              "sliding_attention)",
                              s->path, key, word);
        }
    }
    return true;
}

/* A window of 1 is what transformers' own cache does not crop to: a decoded token would see
 * everything. */
static bool read_window(const llava_source *s, llava_text_config *t)
{
    const char *key = "text_config.sliding_window";
    if (llava_is_null(s, key)) {
        t->window = 0;
        return true;
    }
    return llava_read_size(s, key, LLAVA_MAX_SIZE, &t->window) &&
           (t->window > 1 || llava_refuse(s, key, "must be above 1, or null"));
}

static bool read_llama_window(const llava_source *s, llava_text_config *t)
{
    bool given;
    if (!read_layer_types(s, t, &given)) {
        return false;
    }
    for (size_t i = 0; given && i < t->layers; i++) {
        if (t->slides[i]) {
            return llava_refuse(s, "text_config.layer_types",
                                "sliding_attention is not supported in llama");
        }
    }
    return true;
}

/* All layers slide, or none. */
static bool read_mistral_window(const llava_source *s, llava_text_config *t)
{
    bool given;
    if (!read_window(s, t) || !read_layer_types(s, t, &given)) {
        return false;
    }
    for (size_t i = 0; i < t->layers; i++) {
        if (given && t->slides[i] != (t->window > 0)) {
            return llava_refuse(s, "text_config.layer_types",
                                "contradicts sliding_window, which mistral follows in every layer");
        }
        t->slides[i] = t->window > 0;
    }
    return true;
}

static bool read_qwen2_window(const llava_source *s, llava_text_config *t)
{
    bool active = false, given;
    size_t from = 28;
    if (!llava_read_bool(s, "text_config.use_sliding_window", &active) ||
        (active && !read_window(s, t)) ||
        !llava_json_size(s->path, s->root, "text_config.max_window_layers", &from, s->e) ||
        !read_layer_types(s, t, &given)) {
        return false;
    }
    t->window = active ? t->window : 0;
    for (size_t i = 0; i < t->layers; i++) {
        if (!given) {
            t->slides[i] = t->window > 0 && i >= from;
        } else if (t->slides[i] && t->window == 0) {
            return llava_refuse(s, "text_config.layer_types",
                                "sliding_attention without use_sliding_window and sliding_window");
        }
    }
    return true;
}

static bool read_family(const llava_source *s, llava_text_config *t)
{
    switch (t->family) {
    case LLAVA_TEXT_MISTRAL:
        return read_mistral_window(s, t);
    case LLAVA_TEXT_QWEN2:
        return read_qwen2_window(s, t);
    default:
        if (!llava_read_bool(s, "text_config.attention_bias", &t->qkv_bias) ||
            !llava_read_bool(s, "text_config.mlp_bias", &t->mlp_bias)) {
            return false;
        }
        t->out_bias = t->qkv_bias;
        return read_llama_window(s, t);
    }
}

bool llava_read_text(const llava_source *s, llava_text_config *t)
{
    static const char *const families[] = {"llama", "mistral", "qwen2", NULL};
    size_t family = 0;
    bool causal = true;
    *t = (llava_text_config){0};
    if (!llava_read_word(s, "text_config.model_type", families, &family)) {
        return false;
    }
    t->family = (llava_text_family)family;
    set_defaults(t);
    return read_sizes(s, t) && llava_read_act(s, "text_config.hidden_act", &t->act) &&
           llava_read_positive(s, "text_config.rms_norm_eps", &t->norm_eps) && read_family(s, t) &&
           llava_read_bool(s, "text_config.is_causal", &causal) &&
           (causal || llava_refuse(s, "text_config.is_causal", "false is not supported yet")) &&
           llava_read_rope(s, t);
}
