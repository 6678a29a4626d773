/* Every key of config.json that is known: those that are read, those that cannot change a result of
 * these models, and those that would and are not supported.
 *
 * Collected from to_dict() of LlavaConfig, CLIPVisionConfig, SiglipVisionConfig,
 * PixtralVisionConfig, LlamaConfig, MistralConfig and Qwen2Config of transformers 5.23, from what
 * PretrainedConfig of 4.36 to 4.57 wrote beside them, and from the published checkpoints (spec 11).
 */
#include "config_source.h"

#include <stdio.h>
#include <string.h>

enum {
    TOP = 1,
    CLIP = 2,
    SIGLIP = 4,
    PIXTRAL = 8,
    LLAMA = 16,
    MISTRAL = 32,
    QWEN2 = 64,
    ROPE = 128, /* rope_scaling and rope_parameters */
    VISION = CLIP | SIGLIP | PIXTRAL,
    TEXT = LLAMA | MISTRAL | QWEN2,
    PART = VISION | TEXT,
    EVERY = TOP | PART,
};

typedef enum {
    READ,       /* by the readers of these files */
    IRRELEVANT, /* whatever it says, transformers 5.23 computes the same */
    REFUSED,    /* it would compute something else */
} kind;

typedef struct {
    const char *key;
    unsigned where;
    kind is;
} row;

static const row rows[] = {
    /* LlavaConfig */
    {"model_type", EVERY, READ},
    {"vision_config", TOP, READ},
    {"text_config", TOP, READ},
    {"image_token_index", TOP, READ},
    {"image_token_id", TOP, READ},
    {"projector_hidden_act", TOP, READ},
    {"vision_feature_layer", TOP, READ},
    {"vision_feature_select_strategy", TOP, READ},
    {"multimodal_projector_bias", TOP, READ},
    {"tie_word_embeddings", TOP | TEXT, READ},
    {"image_seq_length", TOP, IRRELEVANT}, /* stored only */
    {"ignore_index", TOP, IRRELEVANT},     /* of the loss until 4.5x; always -100 now */
    {"tie_word_embeddings", VISION, IRRELEVANT},
    {"vocab_size", TOP | VISION, IRRELEVANT}, /* the language model's own counts */
    {"hidden_size", TOP, IRRELEVANT},
    {"num_hidden_layers", TOP, IRRELEVANT},
    {"num_attention_heads", TOP, IRRELEVANT},
    {"intermediate_size", TOP, IRRELEVANT},
    {"max_position_embeddings", TOP, IRRELEVANT},

    /* the towers */
    {"hidden_size", PART, READ},
    {"intermediate_size", PART, READ},
    {"num_hidden_layers", PART, READ},
    {"num_attention_heads", PART, READ},
    {"hidden_act", PART, READ},
    {"num_channels", VISION, READ},
    {"image_size", VISION, READ},
    {"patch_size", VISION, READ},
    {"layer_norm_eps", CLIP | SIGLIP, READ},
    {"layer_norm_eps", PIXTRAL, IRRELEVANT}, /* its RMSNorm has 1e-5 */
    {"rms_norm_eps", PIXTRAL, IRRELEVANT},
    {"vision_use_head", SIGLIP, READ},
    {"vision_use_head", CLIP | PIXTRAL, IRRELEVANT},
    {"tie_last_hidden_states", VISION, READ},
    {"head_dim", PIXTRAL, READ},
    {"rope_theta", PIXTRAL, READ},
    {"rope_scaling", PIXTRAL, READ},
    {"rope_parameters", PIXTRAL, READ},
    {"projection_dim", VISION, IRRELEVANT}, /* of CLIP's contrastive head */
    {"initializer_factor", EVERY, IRRELEVANT},
    {"dropout", PART, IRRELEVANT},
    {"logit_scale_init_value", VISION, IRRELEVANT},
    {"is_composition", EVERY, IRRELEVANT},

    /* the language models */
    {"vocab_size", TEXT, READ},
    {"num_key_value_heads", TEXT, READ},
    {"head_dim", TEXT, READ},
    {"max_position_embeddings", TEXT, READ},
    {"rms_norm_eps", TEXT, READ},
    {"rope_theta", TEXT, READ},
    {"rope_scaling", TEXT, READ},
    {"rope_parameters", TEXT, READ},
    {"original_max_position_embeddings", TEXT, READ},
    {"partial_rotary_factor", TEXT, READ},
    {"is_causal", TEXT, READ},
    {"sliding_window", MISTRAL | QWEN2, READ},
    /* Llama's class knows no window, but its cache would take the key for one and drop keys that
     * the mask still shows */
    {"sliding_window", LLAMA, REFUSED},
    {"layer_types", TEXT, READ},
    {"attention_bias", LLAMA, READ},
    {"mlp_bias", LLAMA, READ},
    {"attention_bias", MISTRAL | QWEN2, IRRELEVANT}, /* fixed by the class */
    {"mlp_bias", MISTRAL | QWEN2, IRRELEVANT},
    {"use_sliding_window", QWEN2, READ},
    {"max_window_layers", QWEN2, READ},
    {"use_sliding_window", LLAMA | MISTRAL, IRRELEVANT}, /* the classes do not look at it */
    {"max_window_layers", LLAMA | MISTRAL, IRRELEVANT},
    {"pretraining_tp", TEXT, IRRELEVANT}, /* split the products until 4.4x; the same sums */
    {"use_mrope", QWEN2, IRRELEVANT},
    {"attention_chunk_size", TEXT, REFUSED},
    {"kv_sharing_modes", TEXT, REFUSED},
    {"eos_token_id", TOP | TEXT, READ},
    {"pad_token_id", TOP | TEXT, READ},
    {"bos_token_id", TOP | TEXT, READ},
    {"eos_token_id", VISION, IRRELEVANT},
    {"pad_token_id", VISION, IRRELEVANT},
    {"bos_token_id", VISION, IRRELEVANT},

    /* rotary parameters */
    {"rope_type", ROPE, READ},
    {"type", ROPE, READ},
    {"rope_theta", ROPE, READ},
    {"factor", ROPE, READ},
    {"original_max_position_embeddings", ROPE, READ},
    {"attention_factor", ROPE, READ},
    {"beta_fast", ROPE, READ},
    {"beta_slow", ROPE, READ},
    {"mscale", ROPE, READ},
    {"mscale_all_dim", ROPE, READ},
    {"truncate", ROPE, READ},
    {"short_factor", ROPE, READ},
    {"long_factor", ROPE, READ},
    {"low_freq_factor", ROPE, READ},
    {"high_freq_factor", ROPE, READ},
    {"partial_rotary_factor", ROPE, READ},
    {"full_attention", ROPE, REFUSED},
    {"sliding_attention", ROPE, REFUSED},
    {"mrope_section", ROPE, REFUSED},

    /* any configuration */
    {"quantization_config", EVERY, REFUSED},
    {"compression_config", EVERY, REFUSED},
    {"per_layer_config", EVERY, REFUSED},
    {"initializer_range", EVERY, IRRELEVANT},
    {"attention_dropout", EVERY, IRRELEVANT}, /* dropout is for training */
    {"hidden_dropout", EVERY, IRRELEVANT},
    {"use_cache", EVERY, IRRELEVANT}, /* the same numbers with and without */
    {"dtype", EVERY, IRRELEVANT},     /* --dtype says what is computed in */
    {"torch_dtype", EVERY, IRRELEVANT},
    {"use_bfloat16", EVERY, IRRELEVANT},
    {"transformers_version", EVERY, IRRELEVANT},
    {"architectures", EVERY, IRRELEVANT},
    {"auto_map", EVERY, IRRELEVANT},
    {"_name_or_path", EVERY, IRRELEVANT},
    {"name_or_path", EVERY, IRRELEVANT},
    {"_commit_hash", EVERY, IRRELEVANT},
    {"_attn_implementation", EVERY, IRRELEVANT},
    {"_attn_implementation_autoset", EVERY, IRRELEVANT},
    {"_attn_implementation_internal", EVERY, IRRELEVANT},
    {"_experts_implementation_internal", EVERY, IRRELEVANT},
    {"attn_implementation", EVERY, IRRELEVANT},
    {"_from_model_config", EVERY, IRRELEVANT},
    {"return_dict", EVERY, IRRELEVANT},
    {"use_return_dict", EVERY, IRRELEVANT},
    {"output_attentions", EVERY, IRRELEVANT},
    {"output_hidden_states", EVERY, IRRELEVANT},
    {"torchscript", EVERY, IRRELEVANT},
    {"tf_legacy_loss", EVERY, IRRELEVANT},
    {"pruned_heads", EVERY, IRRELEVANT}, /* not looked at since 5.0, and never by these models */
    {"chunk_size_feed_forward", EVERY, IRRELEVANT},
    {"is_encoder_decoder", EVERY, IRRELEVANT},
    {"is_decoder", EVERY, IRRELEVANT},
    {"add_cross_attention", EVERY, IRRELEVANT},
    {"cross_attention_hidden_size", EVERY, IRRELEVANT},
    {"tie_encoder_decoder", EVERY, IRRELEVANT},
    {"id2label", EVERY, IRRELEVANT},
    {"label2id", EVERY, IRRELEVANT},
    {"num_labels", EVERY, IRRELEVANT},
    {"problem_type", EVERY, IRRELEVANT},
    {"finetuning_task", EVERY, IRRELEVANT},
    {"task_specific_params", EVERY, IRRELEVANT},
    {"tokenizer_class", EVERY, IRRELEVANT},
    {"prefix", EVERY, IRRELEVANT},
    {"sep_token_id", EVERY, IRRELEVANT},
    {"decoder_start_token_id", EVERY, IRRELEVANT},
    {"unsloth_version", EVERY, IRRELEVANT},
    {"unsloth_fixed", EVERY, IRRELEVANT},

    /* keys of generation that older versions wrote here; 5.23 drops them (generation_config.json
     * alone counts) */
    {"assistant_confidence_threshold", EVERY, IRRELEVANT},
    {"assistant_lookbehind", EVERY, IRRELEVANT},
    {"bad_words_ids", EVERY, IRRELEVANT},
    {"begin_suppress_tokens", EVERY, IRRELEVANT},
    {"diversity_penalty", EVERY, IRRELEVANT},
    {"do_sample", EVERY, IRRELEVANT},
    {"early_stopping", EVERY, IRRELEVANT},
    {"encoder_no_repeat_ngram_size", EVERY, IRRELEVANT},
    {"encoder_repetition_penalty", EVERY, IRRELEVANT},
    {"epsilon_cutoff", EVERY, IRRELEVANT},
    {"eta_cutoff", EVERY, IRRELEVANT},
    {"exponential_decay_length_penalty", EVERY, IRRELEVANT},
    {"forced_bos_token_id", EVERY, IRRELEVANT},
    {"forced_eos_token_id", EVERY, IRRELEVANT},
    {"length_penalty", EVERY, IRRELEVANT},
    {"max_length", EVERY, IRRELEVANT},
    {"min_length", EVERY, IRRELEVANT},
    {"no_repeat_ngram_size", EVERY, IRRELEVANT},
    {"num_assistant_tokens", EVERY, IRRELEVANT},
    {"num_assistant_tokens_schedule", EVERY, IRRELEVANT},
    {"num_beam_groups", EVERY, IRRELEVANT},
    {"num_beams", EVERY, IRRELEVANT},
    {"num_return_sequences", EVERY, IRRELEVANT},
    {"output_scores", EVERY, IRRELEVANT},
    {"remove_invalid_values", EVERY, IRRELEVANT},
    {"repetition_penalty", EVERY, IRRELEVANT},
    {"return_dict_in_generate", EVERY, IRRELEVANT},
    {"suppress_tokens", EVERY, IRRELEVANT},
    {"target_lookbehind", EVERY, IRRELEVANT},
    {"temperature", EVERY, IRRELEVANT},
    {"top_k", EVERY, IRRELEVANT},
    {"top_p", EVERY, IRRELEVANT},
    {"typical_p", EVERY, IRRELEVANT},
};

static const row *find(const char *key, unsigned where)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if ((rows[i].where & where) != 0 && strcmp(rows[i].key, key) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Adds a key to the list, as far as there is room: the last entry is then "...". */
static void add_unknown(llava_config *c, const char *prefix, const char *key)
{
    size_t used = strlen(c->unknown_keys), room = sizeof c->unknown_keys;
    const char *comma = used == 0 ? "" : ", ";
    if (used + strlen(prefix) + strlen(key) + 7 < room) {
        snprintf(c->unknown_keys + used, room - used, "%s%s%s", comma, prefix, key);
    } else if (used < 3 || strcmp(c->unknown_keys + used - 3, "...") != 0) {
        snprintf(c->unknown_keys + used, room - used, "%s...", comma);
    }
}

/* The keys of one object. A key that is null says nothing. */
static bool check_object(const llava_source *s, const cJSON *object, const char *prefix,
                         unsigned where, llava_config *c)
{
    for (const cJSON *item = object == NULL ? NULL : object->child; item != NULL;
         item = item->next) {
        const row *known = find(item->string, where);
        if (known == NULL) {
            add_unknown(c, prefix, item->string);
        } else if (known->is == REFUSED && !cJSON_IsNull(item)) {
            return llava_fail(s->e, "%s: %s%s: is not supported yet", s->path, prefix,
                              item->string);
        }
    }
    return true;
}

bool llava_check_keys(const llava_source *s, llava_config *c)
{
    static const unsigned towers[] = {
        [LLAVA_TOWER_CLIP] = CLIP, [LLAVA_TOWER_SIGLIP] = SIGLIP, [LLAVA_TOWER_PIXTRAL] = PIXTRAL};
    static const unsigned families[] = {
        [LLAVA_TEXT_LLAMA] = LLAMA, [LLAVA_TEXT_MISTRAL] = MISTRAL, [LLAVA_TEXT_QWEN2] = QWEN2};
    const cJSON *vision = cJSON_GetObjectItemCaseSensitive(s->root, "vision_config");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(s->root, "text_config");
    const cJSON *scaling = cJSON_GetObjectItemCaseSensitive(text, "rope_scaling");
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(text, "rope_parameters");
    const cJSON *axial = cJSON_GetObjectItemCaseSensitive(vision, "rope_parameters");
    return check_object(s, s->root, "", TOP, c) &&
           check_object(s, vision, "vision_config.", towers[c->vision.tower], c) &&
           check_object(s, text, "text_config.", families[c->text.family], c) &&
           check_object(s, scaling, "text_config.rope_scaling.", ROPE, c) &&
           check_object(s, parameters, "text_config.rope_parameters.", ROPE, c) &&
           check_object(s, axial, "vision_config.rope_parameters.", ROPE, c);
}
