/* config.json, generation_config.json and the processor files: defaults, aliases, refusals.
 * Expected values were taken from transformers 5.23.0's AutoConfig and AutoImageProcessor. */
#include "ref/config.h"

#include "memory.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static support_folder folder;

static int set_up(void **state)
{
    (void)state;
    folder = support_folder_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    support_folder_remove(&folder);
    return 0;
}

/* Reads a config.json; generation NULL means no such file. */
static bool try_config(llava_config *c, const char *config, const char *generation, llava_error *e)
{
    static bool has_generation = false;
    const char *name = "generation_config.json";
    support_write_text(&folder, "config.json", config);
    if (generation != NULL) {
        support_write_text(&folder, name, generation);
    } else if (has_generation) {
        assert_int_equal(remove(support_path(&folder, name)), 0);
    }
    has_generation = generation != NULL;
    return llava_config_read(c, folder.path, e);
}

static llava_config config_of(const char *config, const char *generation)
{
    llava_config c;
    llava_error e;
    if (!try_config(&c, config, generation, &e)) {
        fail_msg("%s was refused: %s", config, e.text);
    }
    return c;
}

static void refused(const char *config, const char *message)
{
    llava_config c;
    llava_error e;
    if (try_config(&c, config, NULL, &e)) {
        fail_msg("%s was taken", config);
    }
    support_says(&e, message);
    support_says(&e, "/config.json: ");
}

/* {"text_config": {members}} and so on */
static const char *text_with(const char *members)
{
    static char json[1024];
    snprintf(json, sizeof json, "{\"text_config\":{%s}}", members);
    return json;
}

static const char *vision_with(const char *members)
{
    static char json[1024];
    snprintf(json, sizeof json, "{\"vision_config\":{%s}}", members);
    return json;
}

/* ---- config.json ---- */

static void without_parts_the_tower_is_vit_l_at_336(void **state)
{
    (void)state;
    const char *texts[] = {"{\"model_type\":\"llava\"}",
                           "{\"vision_config\":null,\"text_config\":null}"};
    for (size_t i = 0; i < 2; i++) {
        llava_config c = config_of(texts[i], NULL);
        assert_int_equal(c.vision.hidden, 1024);
        assert_int_equal(c.vision.intermediate, 4096);
        assert_int_equal(c.vision.layers, 24);
        assert_int_equal(c.vision.heads, 16);
        assert_int_equal(c.vision.image_size, 336);
        assert_int_equal(c.vision.patch_size, 14);
        assert_int_equal(c.text.vocab, 32000);
        assert_int_equal(c.text.hidden, 4096);
        assert_int_equal(c.text.intermediate, 11008);
        assert_int_equal(c.text.layers, 32);
        assert_int_equal(c.text.kv_heads, 32);
        assert_int_equal(c.text.head_dim, 128);
        assert_int_equal(c.text.max_positions, 2048);
        assert_true(c.text.norm_eps == 1e-6 && c.text.rope.theta == 10000.0);
        assert_int_equal(c.text.act, LLAVA_ACT_SILU);
        assert_false(c.text.qkv_bias || c.text.out_bias || c.text.mlp_bias || c.tied_head);
        assert_int_equal(c.image_token, 32000);
        assert_int_equal(c.projector_act, LLAVA_ACT_GELU);
        assert_true(c.projector_bias);
        assert_int_equal(c.select, LLAVA_SELECT_DEFAULT);
        assert_int_equal(c.feature_layer_count, 1);
        assert_int_equal(c.feature_layers[0], 23);
    }
}

static void an_empty_vision_config_means_the_class_defaults(void **state)
{
    (void)state;
    llava_config c = config_of("{\"vision_config\":{}}", NULL);
    assert_int_equal(c.vision.hidden, 768);
    assert_int_equal(c.vision.intermediate, 3072);
    assert_int_equal(c.vision.layers, 12);
    assert_int_equal(c.vision.heads, 12);
    assert_int_equal(c.vision.channels, 3);
    assert_int_equal(c.vision.image_size, 224);
    assert_int_equal(c.vision.patch_size, 32);
    assert_int_equal(c.vision.act, LLAVA_ACT_QUICK_GELU);
    assert_true(c.vision.norm_eps == 1e-5);
    assert_int_equal(c.feature_layers[0], 11);
}

static void the_config_of_llava_1_5_is_read(void **state)
{
    (void)state;
    /* the old form, which writes only what differs from the defaults */
    llava_config c = config_of(
        "{\"architectures\":[\"LlavaForConditionalGeneration\"],\"ignore_index\":-100,"
        "\"image_token_index\":32000,\"model_type\":\"llava\",\"pad_token_id\":32001,"
        "\"projector_hidden_act\":\"gelu\",\"text_config\":{\"max_position_embeddings\":4096,"
        "\"model_type\":\"llama\",\"rms_norm_eps\":1e-05,\"torch_dtype\":\"float16\","
        "\"vocab_size\":32064},\"tie_word_embeddings\":false,\"torch_dtype\":\"float16\","
        "\"vision_config\":{\"hidden_size\":1024,\"image_size\":336,\"intermediate_size\":4096,"
        "\"model_type\":\"clip_vision_model\",\"num_attention_heads\":16,\"num_hidden_layers\":24,"
        "\"patch_size\":14,\"projection_dim\":768,\"vocab_size\":32000},"
        "\"vision_feature_layer\":-2,\"vision_feature_select_strategy\":\"default\","
        "\"vocab_size\":32064}",
        "{\"_from_model_config\":true,\"bos_token_id\":1,\"eos_token_id\":2,"
        "\"pad_token_id\":32001}");
    assert_int_equal(c.text.vocab, 32064);
    assert_int_equal(c.text.max_positions, 4096);
    assert_true(c.text.norm_eps == 1e-5);
    assert_int_equal(c.vision.act, LLAVA_ACT_QUICK_GELU);
    assert_true(c.vision.norm_eps == 1e-5);
    assert_int_equal(c.feature_layers[0], 23);
    assert_int_equal(c.stop_count, 1);
    assert_int_equal(c.stop_ids[0], 2);
    assert_int_equal(c.pad_id, 32001);
    assert_int_equal(c.bos_id, 1);
}

static void theta_is_found_wherever_a_version_wrote_it(void **state)
{
    (void)state;
    const struct {
        const char *members;
        double theta;
    } cases[] = {
        {"\"rope_theta\":5e5", 5e5},
        {"\"rope_parameters\":{\"rope_theta\":7,\"rope_type\":\"default\"}", 7},
        {"\"rope_parameters\":{\"rope_theta\":7},\"rope_theta\":5e5", 7},
        {"\"rope_parameters\":{\"rope_type\":\"default\"},\"rope_theta\":5e5", 5e5},
        {"\"rope_scaling\":null,\"rope_theta\":8", 8},
        {"\"rope_scaling\":{\"type\":\"default\",\"rope_theta\":11}", 11},
        /* a rope_scaling that is not empty hides rope_parameters altogether */
        {"\"rope_scaling\":{\"type\":\"default\"},\"rope_parameters\":{\"rope_theta\":3}", 10000},
        {"\"rope_scaling\":{},\"rope_parameters\":{\"rope_theta\":3}", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llava_config c = config_of(text_with(cases[i].members), NULL);
        assert_true(c.text.rope.theta == cases[i].theta);
    }
}

/* ---- the rotary types; every number below is what LlamaConfig and ROPE_INIT_FUNCTIONS make of it
 */

static llava_rope rope_of(const char *members)
{
    llava_config c = config_of(text_with(members), NULL);
    return c.text.rope;
}

static void rotary_types_are_read_in_both_spellings(void **state)
{
    (void)state;
    const char *const texts[] = {
        "\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,"
        "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}",
        "\"rope_theta\":1e4,\"rope_scaling\":null,\"rope_parameters\":{\"rope_type\":\"llama3\","
        "\"rope_theta\":5e5,\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":8192}",
        /* the key beside the object wins */
        "\"original_max_position_embeddings\":8192,\"rope_parameters\":{\"rope_theta\":5e5,"
        "\"rope_type\":\"llama3\",\"type\":\"yarn\",\"factor\":8,\"low_freq_factor\":1,"
        "\"high_freq_factor\":4,\"original_max_position_embeddings\":7}",
        /* without it, max_position_embeddings */
        "\"max_position_embeddings\":8192,\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":"
        "\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        llava_rope r = rope_of(texts[i]);
        assert_int_equal(r.type, LLAVA_ROPE_LLAMA3);
        assert_true(r.theta == 5e5 && r.factor == 8 && r.low_factor == 1 && r.high_factor == 4);
        assert_true(r.original_positions == 8192 && r.attention_factor == 1);
    }
    llava_rope r = rope_of("\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}");
    assert_true(r.type == LLAVA_ROPE_LINEAR && r.factor == 2.5);
    r = rope_of("\"max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"dynamic\","
                "\"factor\":3,\"original_max_position_embeddings\":8}");
    assert_true(r.type == LLAVA_ROPE_DYNAMIC && r.max_positions == 64);
}

#define YARN                                                                                       \
    "\"max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"yarn\","                          \
    "\"original_max_position_embeddings\":16,"

static void the_factor_of_the_rotary_tables_is_given_or_follows(void **state)
{
    (void)state;
    const struct {
        const char *members;
        double factor, attention;
    } cases[] = {
        {YARN "\"factor\":4}", 4, 1.138629436111989},
        {YARN "\"factor\":null}", 4, 1.138629436111989}, /* 64 / 16 */
        {YARN "\"factor\":1}", 1, 1},
        {YARN "\"factor\":4,\"attention_factor\":1.5}", 4, 1.5},
        {YARN "\"factor\":4,\"mscale\":1.4,\"mscale_all_dim\":0.7}", 4, 1.088456712369153},
        {YARN "\"factor\":4,\"mscale\":1.4,\"mscale_all_dim\":0}", 4, 1.138629436111989},
        {"\"head_dim\":4,\"max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"longrope\","
         "\"original_max_position_embeddings\":16,\"short_factor\":[1,2],\"long_factor\":[3,4]}",
         4, 1.224744871391589},
        {"\"head_dim\":4,\"rope_scaling\":{\"type\":\"longrope\",\"factor\":0.5,"
         "\"short_factor\":[1,2],\"long_factor\":[3,4]}",
         0.5, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llava_rope r = rope_of(cases[i].members);
        double error = r.attention_factor - cases[i].attention;
        if (r.factor != cases[i].factor || !(error < 1e-15 && error > -1e-15)) {
            fail_msg("%s: %g, %.17g", cases[i].members, r.factor, r.attention_factor);
        }
    }
    assert_true(rope_of(YARN "\"factor\":4}").truncate);
    assert_false(rope_of(YARN "\"factor\":4,\"truncate\":false}").truncate);
    assert_false(rope_of(YARN "\"factor\":4,\"truncate\":null}").truncate); /* as in Python */
}

static void rotary_types_that_lack_a_key_or_make_no_sense_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *members, *says;
    } cases[] = {
        {"\"rope_scaling\":{\"type\":\"su\"}", "rope_scaling.type: 'su' is not supported yet ("},
        {"\"rope_parameters\":{\"rope_type\":\"proportional\"}",
         "rope_type: 'proportional' is not"},
        {"\"rope_scaling\":[1]", "text_config.rope_scaling: must be an object"},
        {"\"rope_scaling\":{\"type\":\"linear\"}", "rope_scaling.factor: is missing"},
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}",
         "rope_scaling.factor: must be a pos"},
        {"\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":\"2\"}", "rope_scaling.factor: "},
        {"\"head_dim\":2,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}",
         "head_dim: must be ab"},
        {"\"rope_scaling\":{\"type\":\"yarn\"}", "rope_scaling.factor: is missing"},
        {YARN "\"factor\":-1}", "factor: must be a positive number"},
        {YARN "\"factor\":4,\"attention_factor\":0}",
         "attention_factor: must be a positive number"},
        {YARN "\"factor\":4,\"rope_theta\":1}", "rope_theta: must not be 1 here"},
        {YARN "\"factor\":4,\"partial_rotary_factor\":0.5}", "partial_rotary_factor: other than 1"},
        {"\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1}",
         "high_freq_factor: is missing"},
        {"\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":0,"
         "\"high_freq_factor\":4}",
         "low_freq_factor: must be a positive number"},
        {"\"head_dim\":4,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,2]}",
         "long_factor: is missing"},
        {"\"head_dim\":4,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,2,3],"
         "\"long_factor\":[1,2]}",
         "short_factor: must be a list of 2 numbers"},
        {"\"head_dim\":4,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,0],"
         "\"long_factor\":[1,2]}",
         "short_factor: must hold positive numbers"},
        {"\"head_dim\":4,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1],"
         "\"long_factor\":[1,2],\"original_max_position_embeddings\":1}",
         "original_max_position_embeddings: must be above 1"},
        {"\"rope_parameters\":{\"full_attention\":{\"rope_theta\":2}}",
         "full_attention: is not supp"},
        {"\"rope_scaling\":{\"mrope_section\":[1]}",
         "rope_scaling.mrope_section: is not supported"},
        {"\"rope_parameters\":{\"mrope_section\":[1]}", "rope_parameters.mrope_section: is not"},
        {"\"original_max_position_embeddings\":0,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2}",
         "text_config.original_max_position_embeddings: must be from 1"},
        {"\"hidden_size\":4096,\"num_attention_heads\":1,\"rope_scaling\":{\"type\":\"longrope\","
         "\"short_factor\":[1]}",
         "short_factor: must be a list of 2048 numbers, half the head's width, and of at most"},
        {"\"head_dim\":4,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1],"
         "\"long_factor\":[1,2],\"partial_rotary_factor\":2}",
         "partial_rotary_factor: other than 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(text_with(cases[i].members), cases[i].says);
    }
    llava_rope given =
        rope_of("\"head_dim\":4,\"rope_scaling\":{\"type\":\"longrope\","
                "\"short_factor\":[1,1],\"long_factor\":[1,2],\"attention_factor\":3}");
    assert_true(given.attention_factor == 3);
    /* a factor below 1 stretches nothing */
    assert_true(
        rope_of(YARN "\"factor\":0.5,\"mscale\":2,\"mscale_all_dim\":1}").attention_factor == 1);
    /* `default` leaves a partial rotation out of account, as transformers' Llama does */
    assert_int_equal(rope_of("\"partial_rotary_factor\":0.5").type, LLAVA_ROPE_DEFAULT);
}

/* ---- the families
 */

static llava_config family(const char *name, const char *members)
{
    char text[900];
    snprintf(text, sizeof text, "\"model_type\":\"%s\"%s%s", name, *members == '\0' ? "" : ",",
             members);
    return config_of(text_with(text), NULL);
}

static void mistral_has_its_own_defaults(void **state)
{
    (void)state;
    llava_config c = family("mistral", "");
    assert_int_equal(c.text.vocab, 32000);
    assert_int_equal(c.text.intermediate, 14336);
    assert_int_equal(c.text.kv_heads, 8);
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.text.max_positions, 131072);
    assert_int_equal(c.text.window, 4096);
    assert_true(c.text.slides[0] && c.text.slides[31] && c.text.norm_eps == 1e-6);
    assert_false(c.text.qkv_bias || c.text.out_bias || c.text.mlp_bias);
    c = family("mistral", "\"sliding_window\":null,\"num_key_value_heads\":null");
    assert_int_equal(c.text.window, 0);
    assert_int_equal(c.text.kv_heads, 32);
    assert_false(c.text.slides[0]);
    c = family("mistral", "\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]");
    assert_true(c.text.slides[0]);
    c = family("llama",
               "\"num_hidden_layers\":2,\"layer_types\":[\"attention\",\"full_attention\"]");
    assert_false(c.text.slides[0] || c.text.slides[1]);
    /* the class knows no biases, whatever the file says */
    assert_false(family("mistral", "\"attention_bias\":true,\"mlp_bias\":true").text.qkv_bias);
}

static void qwen2_has_its_own_defaults(void **state)
{
    (void)state;
    llava_config c = family("qwen2", "");
    assert_int_equal(c.text.vocab, 151936);
    assert_int_equal(c.text.intermediate, 22016);
    assert_int_equal(c.text.kv_heads, 32);
    assert_int_equal(c.text.max_positions, 32768);
    assert_int_equal(c.text.window, 0);
    assert_true(c.text.qkv_bias && !c.text.out_bias && !c.text.mlp_bias && !c.text.slides[31]);
    /* without use_sliding_window, whatever stands in sliding_window */
    c = family("qwen2", "\"sliding_window\":0,\"max_window_layers\":0");
    assert_int_equal(c.text.window, 0);
    c = family("qwen2", "\"use_sliding_window\":true");
    assert_int_equal(c.text.window, 4096);
    assert_true(!c.text.slides[27] && c.text.slides[28] && c.text.slides[31]);
    c = family("qwen2", "\"use_sliding_window\":true,\"sliding_window\":7,\"num_hidden_layers\":2,"
                        "\"layer_types\":[\"sliding_attention\",\"full_attention\"]");
    assert_true(c.text.slides[0] && !c.text.slides[1] && c.text.window == 7);
    c = family("qwen2", "\"use_sliding_window\":true,\"sliding_window\":null");
    assert_true(c.text.window == 0 && !c.text.slides[31]);
}

static void windows_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *members, *says;
    } cases[] = {
        {"\"sliding_window\":4096", "text_config.sliding_window: is not supported yet"},
        {"\"attention_chunk_size\":8", "attention_chunk_size: is not supported yet"},
        {"\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]",
         "not supported in llama"},
        {"\"model_type\":\"mistral\",\"sliding_window\":0", "sliding_window: must be from 1"},
        {"\"model_type\":\"mistral\",\"sliding_window\":1", "sliding_window: must be above 1"},
        {"\"model_type\":\"mistral\",\"sliding_window\":-3", "sliding_window: "},
        {"\"model_type\":\"mistral\",\"num_hidden_layers\":1,\"layer_types\":[\"full_attention\"]",
         "layer_types: contradicts sliding_window"},
        {"\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\"]",
         "layer_types: 1 entries for 2 layers"},
        {"\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"chunked_attention\"]",
         "'chunked_attention' is not supported yet (supported: full_attention, sliding_attention)"},
        {"\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]",
         "layer_types: sliding_attention without use_sliding_window"},
        {"\"model_type\":\"gemma\"",
         "text_config.model_type: 'gemma' is not supported yet (supported: llama, mistral, qwen2)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(text_with(cases[i].members), cases[i].says);
    }
}

static void feature_layers_index_the_hidden_states_as_in_python(void **state)
{
    (void)state;
    /* 12 layers, so 13 states */
    llava_config c = config_of("{\"vision_config\":{},\"vision_feature_layer\":-13}", NULL);
    assert_int_equal(c.feature_layers[0], 0);
    c = config_of("{\"vision_config\":{},\"vision_feature_layer\":null}", NULL);
    assert_true(c.feature_layer_count == 1 && c.feature_layers[0] == 11); /* -2 */
    c = config_of("{\"vision_config\":{},\"vision_feature_layer\":12}", NULL);
    assert_int_equal(c.feature_layers[0], 12);
    c = config_of("{\"vision_config\":{},\"vision_feature_layer\":[-1]}", NULL);
    assert_int_equal(c.feature_layer_count, 1);
    assert_int_equal(c.feature_layers[0], 12);
    c = config_of("{\"vision_config\":{},\"vision_feature_layer\":[-2,0,5,5]}", NULL);
    assert_int_equal(c.feature_layer_count, 4);
    assert_int_equal(c.feature_layers[0], 11);
    assert_int_equal(c.feature_layers[1], 0); /* in a list, transformers runs it */
    assert_int_equal(c.feature_layers[3], 5);
}

static void feature_layers_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    const char *values[] = {"0", "13", "-14", "[]", "[-1,13]", "true", "\"-2\"", "1.5", "{}"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char json[100];
        snprintf(json, sizeof json, "{\"vision_config\":{},\"vision_feature_layer\":%s}",
                 values[i]);
        refused(json, "vision_feature_layer: ");
    }
    char many[400] = "{\"vision_feature_layer\":[1";
    for (int i = 0; i < LLAVA_MAX_FEATURE_LAYERS; i++) {
        strcat(many, ",1");
    }
    refused(strcat(many, "]}"), "vision_feature_layer: more than 64 layers");
}

static void head_sizes_follow_from_the_others(void **state)
{
    (void)state;
    llava_config c = config_of(text_with("\"hidden_size\":32,\"num_attention_heads\":4,"
                                         "\"num_key_value_heads\":null,\"head_dim\":null"),
                               NULL);
    assert_int_equal(c.text.kv_heads, 4);
    assert_int_equal(c.text.head_dim, 8);
    c = config_of(text_with("\"hidden_size\":32,\"num_attention_heads\":4,"
                            "\"num_key_value_heads\":2,\"head_dim\":16"),
                  NULL);
    assert_int_equal(c.text.kv_heads, 2);
    assert_int_equal(c.text.head_dim, 16);
}

static void either_tie_key_ties_the_head(void **state)
{
    (void)state;
    assert_true(config_of("{\"tie_word_embeddings\":true}", NULL).tied_head);
    assert_true(config_of("{\"tie_word_embeddings\":false,"
                          "\"text_config\":{\"tie_word_embeddings\":true}}",
                          NULL)
                    .tied_head);
    assert_false(config_of("{\"vision_config\":{\"tie_word_embeddings\":true}}", NULL).tied_head);
}

static void the_image_token_has_two_names(void **state)
{
    (void)state;
    assert_int_equal(config_of("{\"image_token_index\":5}", NULL).image_token, 5);
    assert_int_equal(config_of("{\"image_token_id\":6}", NULL).image_token, 6);
    assert_int_equal(config_of("{\"image_token_id\":6,\"image_token_index\":5}", NULL).image_token,
                     6);
    refused("{\"image_token_index\":true}", "image_token_index: must be a whole number");
}

static void switches_and_activations_are_read(void **state)
{
    (void)state;
    llava_config c = config_of(
        "{\"projector_hidden_act\":\"relu\",\"multimodal_projector_bias\":false,"
        "\"vision_feature_select_strategy\":\"full\",\"vision_config\":{\"hidden_act\":"
        "\"gelu_pytorch_tanh\"},\"text_config\":{\"hidden_act\":\"swish\",\"attention_bias\":true,"
        "\"mlp_bias\":true}}",
        NULL);
    assert_int_equal(c.projector_act, LLAVA_ACT_RELU);
    assert_false(c.projector_bias);
    assert_int_equal(c.select, LLAVA_SELECT_FULL);
    assert_int_equal(c.vision.act, LLAVA_ACT_GELU_TANH);
    assert_int_equal(c.text.act, LLAVA_ACT_SILU);
    assert_true(c.text.qkv_bias && c.text.out_bias && c.text.mlp_bias);
    assert_string_equal(llava_act_name(LLAVA_ACT_SILU), "silu");
    assert_string_equal(llava_act_name(LLAVA_ACT_GELU_TANH), "gelu_pytorch_tanh");
}

static void activations_that_are_not_supported_are_named(void **state)
{
    (void)state;
    /* gelu_new is the tanh form in several roundings; the decisions' own names are no config's */
    const char *names[] = {"gelu_new", "gelu_10", "mish", "none", "quick_gelu_1.773", "GELU"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char members[100], message[100];
        snprintf(members, sizeof members, "\"hidden_act\":\"%s\"", names[i]);
        snprintf(message, sizeof message, "_config.hidden_act: '%s' is not supported yet",
                 names[i]);
        refused(text_with(members), message);
        refused(vision_with(members), message);
    }
    refused("{\"projector_hidden_act\":\"tanh\"}", "projector_hidden_act: 'tanh' is not");
}

static void other_families_are_refused_by_name(void **state)
{
    (void)state;
    refused("{\"model_type\":\"llava_next\"}",
            "model_type: 'llava_next' is not supported yet (supported: llava)");
    refused(vision_with("\"model_type\":\"dinov2\""),
            "vision_config.model_type: 'dinov2' is not supported yet (supported: "
            "clip_vision_model, siglip_vision_model, pixtral)");
    refused(text_with("\"model_type\":\"gemma\""), "text_config.model_type: 'gemma' is not");
}

/* Every default of SiglipVisionConfig and PixtralVisionConfig. */
static void other_towers_have_their_own_defaults(void **state)
{
    (void)state;
    llava_vision_config v =
        config_of(vision_with("\"model_type\":\"siglip_vision_model\""), NULL).vision;
    assert_int_equal(v.tower, LLAVA_TOWER_SIGLIP);
    assert_int_equal(v.hidden, 768);
    assert_int_equal(v.intermediate, 3072);
    assert_int_equal(v.layers, 12);
    assert_int_equal(v.heads, 12);
    assert_int_equal(v.image_size, 224);
    assert_int_equal(v.patch_size, 16);
    assert_int_equal(v.act, LLAVA_ACT_GELU_TANH);
    assert_true(v.norm_eps == 1e-6 && v.pooling_head);
    v = config_of(vision_with("\"model_type\":\"siglip_vision_model\",\"vision_use_head\":false"),
                  NULL)
            .vision;
    assert_false(v.pooling_head);
    v = config_of(vision_with("\"model_type\":\"pixtral\",\"layer_norm_eps\":7"), NULL).vision;
    assert_int_equal(v.tower, LLAVA_TOWER_PIXTRAL);
    assert_int_equal(v.hidden, 1024);
    assert_int_equal(v.intermediate, 4096);
    assert_int_equal(v.layers, 24);
    assert_int_equal(v.heads, 16);
    assert_int_equal(v.image_size, 1024);
    assert_int_equal(v.patch_size, 16);
    assert_int_equal(v.act, LLAVA_ACT_GELU);
    assert_true(v.norm_eps == 1e-5); /* no key of the configuration */
    assert_true(v.rope_theta == 1e4);
}

static double pixtral_theta(const char *members)
{
    char more[300];
    snprintf(more, sizeof more, "\"model_type\":\"pixtral\",%s", members);
    return config_of(vision_with(more), NULL).vision.rope_theta;
}

/* As 5.23 reads them: measured with PixtralVisionConfig. */
static void pixtrals_theta_stands_in_several_places(void **state)
{
    (void)state;
    assert_true(pixtral_theta("\"rope_theta\":3") == 3);
    assert_true(pixtral_theta("\"head_dim\":64") == 1e4);
    assert_true(pixtral_theta("\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":"
                              "5},\"rope_theta\":7") == 5);
    assert_true(pixtral_theta("\"rope_scaling\":{\"type\":\"axial\",\"rope_theta\":22},"
                              "\"rope_parameters\":{\"rope_theta\":5}") == 22);
}

static void pixtral_values_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *members, *says;
    } cases[] = {
        {"\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2}",
         "vision_config.rope_parameters.rope_type: 'linear' is not supported yet (supported: "
         "axial, "
         "default)"},
        {"\"rope_scaling\":{\"type\":\"yarn\"}", "vision_config.rope_scaling.type: 'yarn'"},
        {"\"rope_theta\":0", "vision_config.rope_theta: must be a positive number"},
        {"\"head_dim\":66", "vision_config.head_dim: is not hidden_size / num_attention_heads"},
        {"\"num_attention_heads\":512", "vision_config.num_attention_heads: the head width must"},
        {"\"hidden_size\":48", "vision_config.num_attention_heads: the head width must"},
        {"\"hidden_size\":1000", "vision_config.hidden_size: is no multiple"},
        {"\"patch_size\":0", "vision_config.patch_size: must be"},
        {"\"patch_size\":[16,16]", "vision_config.patch_size: must be"},
        {"\"hidden_act\":\"mish\"", "vision_config.hidden_act: 'mish'"},
        {"\"rope_parameters\":{\"rope_theta\":-1}",
         "rope_parameters.rope_theta: must be a positive"},
        {"\"rope_parameters\":{\"mrope_section\":[1]}",
         "vision_config.rope_parameters.mrope_section: is not supported yet"},
        {"\"tie_last_hidden_states\":7", "tie_last_hidden_states: must be true or false"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char more[300];
        snprintf(more, sizeof more, "\"model_type\":\"pixtral\",%s", cases[i].members);
        refused(vision_with(more), cases[i].says);
    }
    refused(vision_with("\"model_type\":\"siglip_vision_model\",\"vision_use_head\":3"),
            "vision_config.vision_use_head: must be");
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const char *text[] = {"vocab_size",
                          "hidden_size",
                          "intermediate_size",
                          "num_hidden_layers",
                          "num_attention_heads",
                          "num_key_value_heads",
                          "head_dim",
                          "max_position_embeddings"};
    const char *vision[] = {"hidden_size",         "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "image_size",        "patch_size",
                            "num_channels"};
    const char *values[] = {"0", "-1", "1.5", "true", "1e12"};
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        char members[100], message[100];
        for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
            snprintf(members, sizeof members, "\"%s\":%s", text[i], values[v]);
            snprintf(message, sizeof message, "text_config.%s: must be", text[i]);
            refused(text_with(members), message);
        }
        for (size_t i = 0; i < sizeof vision / sizeof *vision; i++) {
            snprintf(members, sizeof members, "\"%s\":%s", vision[i], values[v]);
            snprintf(message, sizeof message, "vision_config.%s: must be", vision[i]);
            refused(vision_with(members), message);
        }
    }
}

static void sizes_that_do_not_divide_are_refused(void **state)
{
    (void)state;
    refused(text_with("\"hidden_size\":30,\"num_attention_heads\":4"),
            "text_config.hidden_size: is no multiple of num_attention_heads");
    refused(text_with("\"hidden_size\":30,\"num_attention_heads\":4,\"head_dim\":8"),
            "text_config.hidden_size: is no multiple");
    refused(text_with("\"hidden_size\":2,\"num_attention_heads\":4"), "text_config.hidden_size");
    refused(text_with("\"num_key_value_heads\":3"),
            "text_config.num_attention_heads: is no multiple of num_key_value_heads");
    refused(text_with("\"head_dim\":7"), "text_config.head_dim: must be even");
    refused(text_with("\"hidden_size\":12,\"num_attention_heads\":4"), "head_dim: must be even");
    refused(vision_with("\"num_attention_heads\":7"), "vision_config.hidden_size: is no multiple");
    refused(vision_with("\"image_size\":31"), "vision_config.image_size: is smaller");
    refused(vision_with("\"num_channels\":4"), "vision_config.num_channels: only 3");
    /* the convolution leaves out what is left over */
    assert_int_equal(config_of(vision_with("\"image_size\":225"), NULL).vision.image_size, 225);
}

static void eps_and_theta_must_be_positive(void **state)
{
    (void)state;
    const char *values[] = {"0", "-1e-5", "\"1e-5\"", "true", "1e999"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char members[100];
        snprintf(members, sizeof members, "\"rms_norm_eps\":%s", values[i]);
        refused(text_with(members), "rms_norm_eps");
        snprintf(members, sizeof members, "\"layer_norm_eps\":%s", values[i]);
        refused(vision_with(members), "layer_norm_eps");
        snprintf(members, sizeof members, "\"rope_theta\":%s", values[i]);
        refused(text_with(members), "rope_theta");
        snprintf(members, sizeof members, "\"rope_parameters\":{\"rope_theta\":%s}", values[i]);
        refused(text_with(members), "rope_theta");
    }
}

static void keys_that_change_the_result_unseen_are_refused(void **state)
{
    (void)state;
    refused("{\"quantization_config\":{}}", "quantization_config: is not supported yet");
    refused(text_with("\"quantization_config\":{\"bits\":4}"), "text_config.quantization_config");
    refused(text_with("\"per_layer_config\":{}"), "text_config.per_layer_config: is not");
    refused(vision_with("\"per_layer_config\":{}"), "vision_config.per_layer_config: is not");
    refused(text_with("\"is_causal\":false"), "text_config.is_causal: false is not");
    refused(vision_with("\"tie_last_hidden_states\":true"), "tie_last_hidden_states: true is not");
    refused("{\"vision_feature_select_strategy\":\"cls\"}",
            "vision_feature_select_strategy: must be 'default' or 'full'");
    refused("{\"text_config\":[]}", "text_config: must be an object");
    refused("{\"vision_config\":7}", "vision_config: must be an object");
    refused("[]", "must be an object");
}

static void unknown_and_case_variant_keys_are_ignored_and_named(void **state)
{
    (void)state;
    llava_config c = config_of("{\"Image_Token_Index\":5,\"foo\":{\"bar\":[1]},"
                               "\"text_config\":{\"VOCAB_SIZE\":3,\"pretraining_tp\":2,"
                               "\"rope_scaling\":{\"type\":\"default\",\"alpha\":1}},"
                               "\"vision_config\":{\"pretraining_tp\":1}}",
                               NULL);
    assert_int_equal(c.image_token, 32000);
    assert_int_equal(c.text.vocab, 32000);
    assert_string_equal(c.unknown_keys, "Image_Token_Index, foo, vision_config.pretraining_tp, "
                                        "text_config.VOCAB_SIZE, text_config.rope_scaling.alpha");
    char many[4096] = "{";
    for (int i = 0; i < 200; i++) {
        snprintf(many + strlen(many), 20, "%s\"key%d\":0", i == 0 ? "" : ",", i);
    }
    c = config_of(strcat(many, "}"), NULL);
    size_t n = strlen(c.unknown_keys);
    assert_true(n < sizeof c.unknown_keys && strcmp(c.unknown_keys + n - 5, ", ...") == 0);
    snprintf(many, sizeof many, "{\"%0*d\":0,\"%0*d\":1}", (int)sizeof c.unknown_keys, 1,
             (int)sizeof c.unknown_keys, 2);
    assert_string_equal(config_of(many, NULL).unknown_keys, "..."); /* none of them fits */
}

/* What 4.x wrote into every configuration, and generation's keys, which 5.x drops. */
static void keys_known_to_be_irrelevant_are_ignored_silently(void **state)
{
    (void)state;
    const char *common =
        "\"_name_or_path\":\"\",\"_attn_implementation_autoset\":true,\"torch_dtype\":\"float16\","
        "\"use_cache\":false,\"repetition_penalty\":1.2,\"num_beams\":4,\"id2label\":{\"0\":\"a\"},"
        "\"pruned_heads\":{},\"chunk_size_feed_forward\":0,\"attention_dropout\":0.5";
    char text[2048];
    snprintf(
        text, sizeof text,
        "{%s,\"ignore_index\":-100,\"vocab_size\":7,\"image_seq_length\":3,\"text_config\":{%s,"
        "\"pretraining_tp\":4},\"vision_config\":{%s,\"projection_dim\":5,\"vocab_size\":9}}",
        common, common, common);
    assert_string_equal(config_of(text, NULL).unknown_keys, "");
    /* null says nothing, not even under a key that is refused */
    assert_string_equal(config_of("{\"quantization_config\":null}", NULL).unknown_keys, "");
}

static void broken_files_are_named(void **state)
{
    (void)state;
    llava_config c;
    llava_error e;
    refused("{\"a\":1,\"a\":1}", "duplicate key 'a'");
    assert_false(try_config(&c, "{}", "{", &e));
    support_says(&e, "/generation_config.json: a string is missing (byte 1)");
    assert_false(try_config(&c, "{}", "[]", &e));
    support_says(&e, "/generation_config.json: must be an object");
    remove(support_path(&folder, "config.json"));
    assert_false(llava_config_read(&c, folder.path, &e));
    support_says(&e, "/config.json: No such file or directory");
}

/* ---- generation ---- */

static void stop_ids_come_from_the_generation_file_alone_where_it_is_there(void **state)
{
    (void)state;
    const char *config = "{\"eos_token_id\":9,\"pad_token_id\":8,\"text_config\":{\"eos_token_id\":"
                         "3,\"bos_token_id\":4}}";
    llava_config c = config_of(config, "{\"eos_token_id\":[5,6],\"bos_token_id\":1}");
    assert_int_equal(c.stop_count, 2);
    assert_int_equal(c.stop_ids[1], 6);
    assert_int_equal(c.pad_id, 5); /* the first stop id */
    assert_int_equal(c.bos_id, 1);
    c = config_of(config, "{}");
    assert_int_equal(c.stop_count, 0);
    assert_int_equal(c.pad_id, -1);
    assert_int_equal(c.bos_id, -1);
    c = config_of(config, "{\"eos_token_id\":null,\"pad_token_id\":4}");
    assert_int_equal(c.stop_count, 0);
    assert_int_equal(c.pad_id, 4);
}

static void without_a_generation_file_the_config_tells_the_stop_ids(void **state)
{
    (void)state;
    llava_config c = config_of("{\"eos_token_id\":9,\"text_config\":{\"eos_token_id\":3,"
                               "\"pad_token_id\":7,\"bos_token_id\":4}}",
                               NULL);
    assert_int_equal(c.stop_count, 1);
    assert_int_equal(c.stop_ids[0], 9);
    assert_int_equal(c.pad_id, 7);
    assert_int_equal(c.bos_id, 4);
    c = config_of(text_with("\"eos_token_id\":[4,5]"), NULL);
    assert_int_equal(c.stop_count, 2);
    c = config_of("{}", NULL); /* no default, unlike LlamaConfig's 2 */
    assert_int_equal(c.stop_count, 0);
}

static void stop_ids_of_another_kind_are_refused(void **state)
{
    (void)state;
    llava_config c;
    llava_error e;
    const char *values[] = {"[]", "\"2\"", "[1.5]", "true", "{}"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char json[100];
        snprintf(json, sizeof json, "{\"eos_token_id\":%s}", values[i]);
        assert_false(try_config(&c, "{}", json, &e));
        support_says(&e, "/generation_config.json: eos_token_id: ");
    }
    char many[400] = "{\"eos_token_id\":[1";
    for (int i = 0; i < LLAVA_MAX_STOP_IDS; i++) {
        strcat(many, ",1");
    }
    static const char *const ids[] = {"pad_token_id", "bos_token_id"};
    for (size_t i = 0; i < 2; i++) {
        char json[100];
        snprintf(json, sizeof json, "{\"%s\":\"x\"}", ids[i]);
        assert_false(try_config(&c, "{}", json, &e));
        support_says(&e, ids[i]);
    }
    assert_false(try_config(&c, "{\"eos_token_id\":\"x\"}", NULL, &e));
    support_says(&e, "/config.json: eos_token_id: must be a whole number");
    assert_false(try_config(&c, text_with("\"eos_token_id\":\"x\""), NULL, &e));
    support_says(&e, "/config.json: text_config.eos_token_id: must be a whole number");
    assert_false(try_config(&c, "{}", strcat(many, "]}"), &e));
    support_says(&e, "more than 64 ids");
}

static void keys_that_change_greedy_decoding_are_reported(void **state)
{
    (void)state;
    assert_string_equal(config_of("{}", "{\"do_sample\":true,\"temperature\":0.2,\"num_beams\":1,"
                                        "\"repetition_penalty\":1.0,\"min_length\":0}")
                            .unsupported_generation,
                        "");
    assert_string_equal(config_of("{}", "{\"repetition_penalty\":1.1}").unsupported_generation,
                        "repetition_penalty");
    assert_string_equal(config_of("{}", "{\"num_beams\":4}").unsupported_generation, "num_beams");
    assert_string_equal(config_of("{}", "{\"num_beams\":\"4\"}").unsupported_generation,
                        "num_beams");
    assert_string_equal(config_of("{}", "{\"suppress_tokens\":[1]}").unsupported_generation,
                        "suppress_tokens");
}

/* ---- the processor ---- */

static bool try_processor(llava_processor *p, const char *outer, const char *inner, llava_error *e)
{
    const char *names[] = {"processor_config.json", "preprocessor_config.json"};
    const char *texts[] = {outer, inner};
    for (size_t i = 0; i < 2; i++) {
        remove(support_path(&folder, names[i]));
        if (texts[i] != NULL) {
            support_write_text(&folder, names[i], texts[i]);
        }
    }
    return llava_processor_read(p, folder.path, e);
}

static llava_processor processor_of(const char *outer, const char *inner)
{
    llava_processor p;
    llava_error e;
    if (!try_processor(&p, outer, inner, &e)) {
        fail_msg("%s", e.text);
    }
    return p;
}

static void refused_image(const char *inner, const char *message)
{
    llava_processor p;
    llava_error e;
    if (try_processor(&p, NULL, inner, &e)) {
        fail_msg("%s was taken", inner);
    }
    support_says(&e, message);
    support_says(&e, "/preprocessor_config.json: ");
}

static void refused_processor(const char *outer, const char *message)
{
    llava_processor p;
    llava_error e;
    if (try_processor(&p, outer, "{}", &e)) {
        fail_msg("%s was taken", outer);
    }
    support_says(&e, message);
}

static void missing_keys_of_an_image_processor_have_clips_defaults(void **state)
{
    (void)state;
    const char *types[] = {"{}", "{\"image_processor_type\":\"CLIPImageProcessor\"}",
                           "{\"image_processor_type\":\"CLIPImageProcessorFast\"}",
                           "{\"image_processor_type\":\"LlavaImageProcessorPil\"}",
                           "{\"feature_extractor_type\":\"CLIPFeatureExtractor\"}"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        llava_processor p = processor_of(NULL, types[i]);
        assert_true(!p.do_pad && p.do_resize && p.do_center_crop && p.do_rescale && p.do_normalize);
        assert_int_equal(p.shortest_edge, 224);
        assert_int_equal(p.resize_height, 0);
        assert_int_equal(p.crop_height, 224);
        assert_int_equal(p.crop_width, 224);
        assert_int_equal(p.resample, LLAVA_RESAMPLE_BICUBIC);
        assert_true(p.rescale_factor == 0.00392156862745098);
        assert_true(p.mean[0] == 0.48145466 && p.mean[2] == 0.40821073);
        assert_true(p.std[0] == 0.26862954 && p.std[2] == 0.27577711);
        assert_false(p.has_processor);
        assert_string_equal(p.image_token, "");
        assert_int_equal(p.class, LLAVA_PROCESSOR_UNNAMED);
        assert_int_equal(p.grid_height, 0);
    }
}

static void sizes_come_in_four_forms(void **state)
{
    (void)state;
    llava_processor p = processor_of(NULL, "{\"size\":30,\"crop_size\":7}");
    assert_true(p.shortest_edge == 30 && p.crop_height == 7 && p.crop_width == 7);
    p = processor_of(NULL, "{\"size\":{\"shortest_edge\":336},\"crop_size\":{\"height\":5,"
                           "\"width\":6}}");
    assert_true(p.shortest_edge == 336 && p.crop_height == 5 && p.crop_width == 6);
    p = processor_of(NULL, "{\"size\":{\"height\":3,\"width\":4}}");
    assert_true(p.shortest_edge == 0 && p.resize_height == 3 && p.resize_width == 4);
    p = processor_of(NULL, "{\"size\":[3,4]}");
    assert_true(p.shortest_edge == 0 && p.resize_height == 3 && p.resize_width == 4);
    p = processor_of(NULL, "{\"size\":9,\"default_to_square\":true}");
    assert_true(p.shortest_edge == 0 && p.resize_height == 9 && p.resize_width == 9);
}

static void siglips_processor_takes_both_edges(void **state)
{
    (void)state;
    /* as llava-interleave's folder has it */
    llava_processor p = processor_of(
        NULL,
        "{\"do_convert_rgb\":null,\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,"
        "\"image_mean\":[0.5,0.5,0.5],\"image_processor_type\":\"SiglipImageProcessor\","
        "\"image_std\":[0.5,0.5,0.5],\"processor_class\":\"LlavaProcessor\",\"resample\":3,"
        "\"rescale_factor\":0.00392156862745098,\"size\":{\"height\":384,\"width\":384}}");
    assert_int_equal(p.images, LLAVA_IMAGES_SIGLIP);
    assert_int_equal(p.class, LLAVA_PROCESSOR_LLAVA);
    assert_true(p.do_resize && !p.do_center_crop && !p.do_pad);
    assert_true(p.shortest_edge == 0 && p.resize_height == 384 && p.resize_width == 384);
    p = processor_of(NULL, "{\"image_processor_type\":\"SiglipImageProcessorFast\"}");
    assert_true(p.resize_height == 224 && p.resize_width == 224 && p.crop_height == 0);
    assert_true(p.mean[0] == 0.5 && p.mean[2] == 0.5 && p.std[0] == 0.5 && p.std[2] == 0.5);
    p = processor_of(NULL, "{\"image_processor_type\":\"SiglipImageProcessor\",\"size\":9}");
    assert_true(p.shortest_edge == 9 && p.resize_height == 0); /* default_to_square is false */
}

static void pixtrals_processor_takes_whole_patches(void **state)
{
    (void)state;
    /* as pixtral-12b's folder has it */
    llava_processor p = processor_of(
        "{\"image_break_token\":\"[IMG_BREAK]\",\"image_end_token\":\"[IMG_END]\","
        "\"image_token\":\"[IMG]\",\"patch_size\":16,\"processor_class\":\"PixtralProcessor\"}",
        "{\"do_convert_rgb\":true,\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,"
        "\"image_mean\":[0.48145466,0.4578275,0.40821073],\"image_processor_type\":"
        "\"PixtralImageProcessor\",\"image_std\":[0.26862954,0.26130258,0.27577711],"
        "\"patch_size\":{\"height\":14,\"width\":14},\"processor_class\":\"PixtralProcessor\","
        "\"resample\":3,\"rescale_factor\":0.00392156862745098,\"size\":{\"longest_edge\":1024}}");
    assert_int_equal(p.images, LLAVA_IMAGES_PIXTRAL);
    assert_int_equal(p.class, LLAVA_PROCESSOR_PIXTRAL);
    assert_true(p.do_pad && !p.do_center_crop);
    assert_true(p.resize_height == 1024 && p.resize_width == 1024 && p.shortest_edge == 0);
    assert_true(p.grid_height == 16 && p.grid_width == 16); /* the processor's wins */
    assert_true(p.has_processor && p.patch_size == 16);
    assert_string_equal(p.image_token, "[IMG]");
    assert_string_equal(p.image_end_token, "[IMG_END]");
    const char *bare = "{\"image_processor_type\":\"PixtralImageProcessor\"}";
    p = processor_of("{\"processor_class\":\"PixtralProcessor\",\"patch_size\":14,"
                     "\"spatial_merge_size\":2}",
                     bare);
    assert_true(p.patch_size == 28 && p.grid_width == 28);
    p = processor_of("{\"processor_class\":\"PixtralProcessor\"}", bare);
    assert_true(p.has_processor && p.patch_size == 16 && p.grid_height == 16);
    p = processor_of(NULL, "{\"image_processor_type\":\"PixtralImageProcessor\",\"size\":64,"
                           "\"patch_size\":8}");
    assert_true(p.class == LLAVA_PROCESSOR_UNNAMED && !p.has_processor);
    assert_true(p.resize_height == 64 && p.resize_width == 64 && p.grid_height == 8);
    p = processor_of(NULL,
                     "{\"image_processor_type\":\"PixtralImageProcessor\",\"processor_class\":"
                     "\"PixtralProcessor\",\"patch_size\":8}");
    assert_true(p.class == LLAVA_PROCESSOR_PIXTRAL && p.has_processor && p.grid_height == 16);
    p = processor_of("{\"processor_class\":\"LlavaProcessor\",\"patch_size\":4}", bare);
    assert_true(p.patch_size == 4 && p.grid_height == 16);
}

/* A folder may have taken the processor of another model along with its image processor. */
static void a_class_beside_the_image_processor_counts_if_it_is_known(void **state)
{
    (void)state;
    llava_processor p = processor_of(NULL, "{\"processor_class\":\"CLIPProcessor\"}");
    assert_int_equal(p.class, LLAVA_PROCESSOR_UNNAMED);
    p = processor_of("{\"patch_size\":3}", "{\"processor_class\":\"LlavaProcessor\"}");
    assert_int_equal(p.class, LLAVA_PROCESSOR_LLAVA);
    p = processor_of("{\"processor_class\":\"LlavaProcessor\"}",
                     "{\"processor_class\":\"PixtralProcessor\"}");
    assert_int_equal(p.class, LLAVA_PROCESSOR_LLAVA);
}

static void steps_and_numbers_are_read(void **state)
{
    (void)state;
    llava_processor p = processor_of(
        NULL,
        "{\"image_processor_type\":\"LlavaImageProcessor\",\"do_pad\":true,\"do_resize\":"
        "false,\"do_center_crop\":false,\"do_rescale\":false,\"do_normalize\":false,"
        "\"resample\":2,\"rescale_factor\":0.5,\"image_mean\":[0.1,0.2,0.3],\"image_std\":2}");
    assert_true(p.do_pad && !p.do_resize && !p.do_center_crop && !p.do_rescale && !p.do_normalize);
    assert_int_equal(p.resample, LLAVA_RESAMPLE_BILINEAR);
    assert_true(p.rescale_factor == 0.5 && p.mean[1] == 0.2 && p.std[0] == 2 && p.std[2] == 2);
}

static void null_is_a_value_in_an_image_processor(void **state)
{
    (void)state;
    llava_processor p = processor_of(NULL, "{\"resample\":null,\"do_center_crop\":null,"
                                           "\"crop_size\":null,\"do_pad\":null}");
    assert_int_equal(p.resample, LLAVA_RESAMPLE_BILINEAR);
    assert_false(p.do_center_crop || p.do_pad);
    p = processor_of(NULL, "{\"do_normalize\":null,\"image_mean\":null,\"image_std\":null}");
    assert_false(p.do_normalize);
    refused_image("{\"image_processor_type\":\"LlavaImageProcessor\",\"do_normalize\":false,"
                  "\"do_pad\":true,\"image_mean\":null}",
                  "image_mean: must not be null"); /* the padding has its colour */
    refused_image("{\"size\":null}", "size: must not be null");
    refused_image("{\"crop_size\":null}", "crop_size: must not be null");
    refused_image("{\"rescale_factor\":null}", "rescale_factor: must not be null");
    refused_image("{\"image_mean\":null}", "image_mean: must not be null");
    refused_image("{\"image_std\":null}", "image_std: must not be null");
}

static void the_nested_image_processor_wins(void **state)
{
    (void)state;
    llava_processor p = processor_of("{\"image_processor\":{\"size\":31}}", "{\"size\":30}");
    assert_int_equal(p.shortest_edge, 31);
    p = processor_of("{\"image_processor\":null}", "{\"size\":30}");
    assert_int_equal(p.shortest_edge, 30);
    p = processor_of("{\"image_processor\":{\"size\":31}}", NULL);
    assert_int_equal(p.shortest_edge, 31);
}

static void the_processors_counts_are_read(void **state)
{
    (void)state;
    llava_processor p = processor_of(
        "{\"image_token\":\"<img>\",\"num_additional_image_tokens\":1,\"patch_size\":14,"
        "\"processor_class\":\"LlavaProcessor\",\"vision_feature_select_strategy\":\"default\"}",
        "{}");
    assert_true(p.has_processor);
    assert_int_equal(p.patch_size, 14);
    assert_int_equal(p.additional_tokens, 1);
    assert_int_equal(p.select, LLAVA_SELECT_DEFAULT);
    assert_string_equal(p.image_token, "<img>");
    p = processor_of("{\"patch_size\":2}", "{}");
    assert_int_equal(p.select, LLAVA_SELECT_FULL); /* no strategy takes no row away */
    assert_int_equal(p.additional_tokens, 0);
    p = processor_of("{\"processor_class\":\"LlavaProcessor\"}", "{}");
    assert_false(p.has_processor);
}

static void image_processors_that_are_not_supported_are_named(void **state)
{
    (void)state;
    const char *types[] = {"ViTImageProcessor", "LlavaNextImageProcessor", "CLIPImageProcessorX",
                           "SiglipFeatureExtractor", ""};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char json[100], message[100];
        snprintf(json, sizeof json, "{\"image_processor_type\":\"%s\"}", types[i]);
        snprintf(message, sizeof message, "image_processor_type: '%s' is not supported (",
                 types[i]);
        refused_image(json, message);
    }
    refused_image("{\"image_processor_type\":\"X\"}",
                  "(supported: CLIPImageProcessor, LlavaImageProcessor, SiglipImageProcessor, "
                  "PixtralImageProcessor)");
    refused_image("{\"feature_extractor_type\":\"ViTFeatureExtractor\"}", "feature_extractor_type");
    refused_processor("{\"processor_class\":\"LlavaNextProcessor\"}",
                      "/processor_config.json: processor_class: 'LlavaNextProcessor' is not "
                      "supported (supported: LlavaProcessor, PixtralProcessor)");
    refused_processor("{\"processor_class\":\"PixtralProcessor\"}",
                      "PixtralProcessor needs a PixtralImageProcessor");
}

static void image_processor_values_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *json, *message;
    } cases[] = {
        {"{\"size\":0}", "size: must be from 1 to 16384"},
        {"{\"size\":{\"shortest_edge\":-1}}", "size: must be from 1"},
        {"{\"size\":{\"height\":3}}", "size: must hold shortest_edge, or height and width"},
        {"{\"size\":{\"shortest_edge\":3,\"longest_edge\":4}}", "size: must hold"},
        {"{\"size\":{\"height\":1,\"width\":2,\"depth\":3}}", "size: must hold shortest_edge"},
        {"{\"crop_size\":{\"longest_edge\":3}}", "crop_size: must hold height and width"},
        {"{\"image_processor_type\":\"PixtralImageProcessor\",\"patch_size\":{\"shortest_edge\":3}"
         "}",
         "patch_size: must hold height and width"},
        {"{\"image_processor_type\":\"PixtralImageProcessor\",\"patch_size\":{\"longest_edge\":3}}",
         "patch_size: must hold height and width"},
        {"{\"size\":[1,2,3]}", "size: must be [height, width]"},
        {"{\"size\":[]}", "size: must be [height, width]"},
        {"{\"size\":\"224\"}", "size: must be a whole number"},
        {"{\"crop_size\":{\"shortest_edge\":3}}", "crop_size: must hold height and width"},
        {"{\"crop_size\":100000}", "crop_size: must be from 1 to 16384"},
        {"{\"resample\":6}", "resample: must be from 0 to 5"},
        {"{\"resample\":\"bicubic\"}", "resample: must be a whole number"},
        {"{\"rescale_factor\":0}", "rescale_factor: must be a positive number"},
        {"{\"image_mean\":[1,2]}", "image_mean: must hold three numbers"},
        {"{\"image_mean\":[1,2,\"3\"]}", "image_mean: must hold numbers"},
        {"{\"image_std\":[1,0,1]}", "image_std: must hold positive numbers"},
        {"{\"do_resize\":1}", "do_resize: must be true or false"},
        {"{\"image_processor_type\":\"PixtralImageProcessor\",\"size\":{\"shortest_edge\":3}}",
         "size: must hold longest_edge, or height and width"},
        {"{\"size\":{\"longest_edge\":3}}", "longest_edge is for PixtralImageProcessor only"},
        {"{\"image_processor_type\":\"PixtralImageProcessor\",\"patch_size\":0}",
         "patch_size: must be from 1"},
        {"{\"image_processor_type\":\"PixtralImageProcessor\",\"patch_size\":{\"height\":2}}",
         "patch_size: must hold"},
        {"{\"image_processor_type\":\"SiglipImageProcessor\",\"do_center_crop\":true}",
         "crop_size: is missing, and do_center_crop is true"},
        {"{\"use_square_size\":true}", "use_square_size: true is not supported yet"},
        {"{\"processor_class\":5}", "processor_class: must be a string"},
        {"{", "a string is missing"},
        {"{\"image_processor_type\":\"CLIPImageProcessor\",\"do_pad\":true}",
         "do_pad: is supported in LlavaImageProcessor and PixtralImageProcessor"},
        {"[]", "must be an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused_image(cases[i].json, cases[i].message);
    }
}

static void processor_values_that_cannot_be_are_refused(void **state)
{
    (void)state;
    refused_processor("{\"patch_size\":0}", "patch_size: must be from 1");
    refused_processor("{\"patch_size\":20000}", "patch_size: must be from 1 to 16384");
    refused_processor("{\"image_processor\":{\"size\":0}}", "size: must be from 1");
    refused_processor("{\"processor_class\":\"PixtralProcessor\",\"spatial_merge_size\":20000}",
                      "spatial_merge_size: must be from 1 to 16384");
    refused_processor("{\"patch_size\":2,\"num_additional_image_tokens\":-1}",
                      "num_additional_image_tokens: must be a whole number, not negative");
    refused_processor("{\"num_additional_image_tokens\":1000000}", "must be at most 16384");
    refused_processor("{\"vision_feature_select_strategy\":\"cls\"}",
                      "vision_feature_select_strategy: must be 'default' or 'full'");
    refused_processor("{\"image_break_token\":\"\"}", "image_break_token: must have 1 to 127");
    refused_processor("{\"processor_class\":\"PixtralProcessor\",\"spatial_merge_size\":0}",
                      "spatial_merge_size: must be from 1 to 16384");
    refused_processor("{\"image_token\":\"\"}", "image_token: must have 1 to 127 bytes");
    char json[400];
    snprintf(json, sizeof json, "{\"image_token\":\"%0128d\"}", 0);
    refused_processor(json, "image_token: must have 1 to 127 bytes");
    refused_processor("{\"image_processor\":3}", "image_processor: must be an object");
    refused_processor("[]", "/processor_config.json: must be an object");
}

/* Every key that is read, with a value of a kind that it never has: refused, naming the key. */
static void values_of_another_kind_are_refused_at_every_key(void **state)
{
    (void)state;
    static const struct {
        const char *json, *key;
    } rows[] = {
        {"{\"image_token_id\":\"x\"}", "image_token_id"},
        {"{\"image_token_index\":1.5}", "image_token_index"},
        {"{\"multimodal_projector_bias\":1}", "multimodal_projector_bias"},
        {"{\"tie_word_embeddings\":\"x\"}", "tie_word_embeddings"},
        {"{\"text_config\":{\"tie_word_embeddings\":0}}", "tie_word_embeddings"},
        {"{\"vision_feature_select_strategy\":1}", "vision_feature_select_strategy"},
        {"{\"vision_feature_layer\":[]}", "is an empty list"},
        {"{\"vision_feature_layer\":\"x\"}", "vision_feature_layer"},
        {"{\"vision_feature_layer\":[\"x\"]}", "vision_feature_layer"},
        {"{\"projector_hidden_act\":7}", "projector_hidden_act"},
        {"{\"model_type\":7}", "model_type"},
        {"{\"text_config\":7}", "text_config"},
        {"{\"vision_config\":[]}", "vision_config"},
        {"[]", "must be an object"},
        {"{\"text_config\":{\"hidden_act\":1}}", "hidden_act"},
        {"{\"text_config\":{\"rms_norm_eps\":\"x\"}}", "rms_norm_eps"},
        {"{\"text_config\":{\"head_dim\":63}}", "must be even"},
        {"{\"text_config\":{\"attention_bias\":1}}", "attention_bias"},
        {"{\"text_config\":{\"mlp_bias\":\"x\"}}", "mlp_bias"},
        {"{\"text_config\":{\"is_causal\":1}}", "is_causal"},
        {"{\"text_config\":{\"is_causal\":false}}", "is_causal"},
        {"{\"text_config\":{\"max_position_embeddings\":\"x\"}}", "max_position_embeddings"},
        {"{\"text_config\":{\"model_type\":\"mistral\",\"sliding_window\":\"x\"}}",
         "sliding_window"},
        {"{\"text_config\":{\"model_type\":\"mistral\",\"layer_types\":7}}", "layer_types"},
        {"{\"text_config\":{\"model_type\":\"mistral\",\"num_hidden_layers\":1,\"layer_types\":[7]}"
         "}",
         "layer_types"},
        {"{\"text_config\":{\"num_hidden_layers\":1,\"layer_types\":7}}", "layer_types"},
        {"{\"text_config\":{\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}}",
         "layer_types"},
        {"{\"text_config\":{\"model_type\":\"qwen2\",\"use_sliding_window\":1}}",
         "use_sliding_window"},
        {"{\"text_config\":{\"model_type\":\"qwen2\",\"max_window_layers\":\"x\"}}",
         "max_window_layers"},
        {"{\"text_config\":{\"model_type\":\"qwen2\",\"layer_types\":{}}}", "layer_types"},
        {"{\"text_config\":{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"sliding_"
         "window\":1}}",
         "sliding_window"},
        {"{\"text_config\":{\"partial_rotary_factor\":\"x\",\"rope_scaling\":{\"rope_type\":"
         "\"linear\",\"factor\":2}}}",
         "partial_rotary_factor"},
        {"{\"text_config\":{\"rope_theta\":\"x\"}}", "rope_theta"},
        {"{\"text_config\":{\"rope_scaling\":7}}", "rope_scaling"},
        {"{\"text_config\":{\"rope_parameters\":7}}", "rope_parameters"},
        {"{\"text_config\":{\"rope_scaling\":{\"rope_type\":7}}}", "rope_type"},
        {"{\"text_config\":{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":\"x\"}}}",
         "factor"},
        {"{\"text_config\":{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"partial_"
         "rotary_factor\":0.5}}}",
         "partial_rotary_factor"},
        {"{\"text_config\":{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2,\"partial_"
         "rotary_factor\":0.5}}}",
         "partial_rotary_factor"},
        {"{\"text_config\":{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"partial_"
         "rotary_factor\":\"x\"}}}",
         "partial_rotary_factor"},
#define YARN_4(members)                                                                            \
    "{\"text_config\":{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4" members "}}}"
        {"{\"text_config\":{\"rope_scaling\":{\"rope_type\":\"yarn\"}}}", "factor"},
        {YARN_4(",\"original_max_position_embeddings\":\"x\""), "original_max_position_embeddings"},
        {YARN_4(",\"attention_factor\":\"x\""), "attention_factor"},
        {YARN_4(",\"mscale\":\"x\""), "mscale"},
        {YARN_4(",\"mscale_all_dim\":\"x\""), "mscale_all_dim"},
        {YARN_4(",\"beta_fast\":\"x\""), "beta_fast"},
        {YARN_4(",\"beta_slow\":\"x\""), "beta_slow"},
        {YARN_4(",\"truncate\":7"), "truncate"},
        {YARN_4(",\"partial_rotary_factor\":0.5"), "partial_rotary_factor"},
#define LONGROPE(members)                                                                          \
    "{\"text_config\":{\"hidden_size\":8,\"num_attention_heads\":2,\"rope_scaling\":{\"rope_"      \
    "type\":\"longrope\"" members "}}}"
        {LONGROPE(",\"short_factor\":7,\"long_factor\":[1,1]"), "short_factor"},
        {LONGROPE(",\"short_factor\":[1],\"long_factor\":[1,1]"), "short_factor"},
        {LONGROPE(",\"short_factor\":[1,1],\"long_factor\":[1,\"x\"]"), "long_factor"},
        {LONGROPE(",\"short_factor\":[1,0],\"long_factor\":[1,1]"), "short_factor"},
        {LONGROPE(",\"short_factor\":[1,1],\"long_factor\":[1,1],\"factor\":\"x\""), "factor"},
        {LONGROPE(",\"short_factor\":[1,1],\"long_factor\":[1,1],\"attention_factor\":\"x\""),
         "attention_factor"},
        {LONGROPE(",\"short_factor\":[1,1],\"long_factor\":[1,1],\"original_max_position_"
                  "embeddings\":\"x\""),
         "original_max_position_embeddings"},
#define LLAMA3(members) "{\"text_config\":{\"rope_scaling\":{\"rope_type\":\"llama3\"" members "}}}"
        {LLAMA3(""), "factor"},
        {LLAMA3(",\"factor\":8,\"original_max_position_embeddings\":\"x\""),
         "original_max_position_embeddings"},
        {LLAMA3(",\"factor\":8,\"original_max_position_embeddings\":512"), "low_freq_factor"},
        {LLAMA3(",\"factor\":8,\"original_max_position_embeddings\":512,\"low_freq_factor\":\"x\""),
         "low_freq_factor"},
        {LLAMA3(",\"factor\":8,\"original_max_position_embeddings\":512,\"low_freq_factor\":1"),
         "high_freq_factor"},
        {LLAMA3(",\"factor\":8,\"original_max_position_embeddings\":512,\"low_freq_factor\":1,"
                "\"high_freq_factor\":\"x\""),
         "high_freq_factor"},
        {LLAMA3(",\"factor\":8,\"original_max_position_embeddings\":512,\"low_freq_factor\":1,"
                "\"high_freq_factor\":4,"
                "\"partial_rotary_factor\":0.5"),
         "partial_rotary_factor"},
        {"{\"vision_config\":{\"layer_norm_eps\":\"x\"}}", "layer_norm_eps"},
        {"{\"vision_config\":{\"hidden_act\":7}}", "hidden_act"},
        {"{\"vision_config\":{\"model_type\":\"pixtral\",\"rope_parameters\":7}}",
         "rope_parameters"},
        {"{\"vision_config\":{\"model_type\":\"pixtral\",\"rope_theta\":\"x\"}}", "rope_theta"},
        {"{\"vision_config\":{\"model_type\":\"pixtral\",\"head_dim\":\"x\"}}", "head_dim"},
    };
#undef YARN_4
#undef LONGROPE
#undef LLAMA3
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        refused(rows[i].json, rows[i].key);
    }
}

/* Likewise of the folder's other files. */
static void values_of_another_kind_are_refused_in_the_processor_too(void **state)
{
    (void)state;
    static const struct {
        const char *json, *key;
    } images[] = {
        {"{\"image_processor_type\":7}", "image_processor_type"},
        {"{\"feature_extractor_type\":7}", "feature_extractor_type"},
        {"{\"do_pad\":7}", "do_pad"},
        {"{\"do_resize\":7}", "do_resize"},
        {"{\"do_center_crop\":\"x\"}", "do_center_crop"},
        {"{\"do_rescale\":7}", "do_rescale"},
        {"{\"do_normalize\":\"x\"}", "do_normalize"},
        {"{\"use_square_size\":7}", "use_square_size"},
        {"{\"use_square_size\":true}", "use_square_size"},
        {"{\"default_to_square\":7}", "default_to_square"},
        {"{\"size\":\"x\"}", "size"},
        {"{\"size\":{\"height\":\"x\",\"width\":3}}", "size"},
        {"{\"size\":{\"height\":3,\"width\":\"x\"}}", "size"},
        {"{\"size\":[\"x\",3]}", "size"},
        {"{\"size\":[3,\"x\"]}", "size"},
        {"{\"crop_size\":\"x\"}", "crop_size"},
        {"{\"crop_size\":{\"shortest_edge\":3}}", "must hold height and width"},
        {"{\"rescale_factor\":\"x\"}", "rescale_factor"},
        {"{\"image_mean\":\"x\"}", "image_mean"},
        {"{\"image_std\":[0.5,\"x\",0.5]}", "image_std"},
        {"{\"image_std\":[0,0.5,0.5]}", "image_std"},
        {"{\"image_std\":[0.5,0,0.5]}", "image_std"},
        {"{\"image_std\":[0.5,0.5,0]}", "image_std"},
        {"{\"resample\":\"x\"}", "resample"},
        {"[]", "must be an object"},
    };
    static const struct {
        const char *json, *key;
    } outers[] = {
        {"{\"processor_class\":7}", "processor_class"},
        {"{\"vision_feature_select_strategy\":7}", "vision_feature_select_strategy"},
        {"{\"patch_size\":\"x\"}", "patch_size"},
        {"{\"num_additional_image_tokens\":\"x\"}", "num_additional_image_tokens"},
        {"{\"image_token\":7}", "image_token"},
        {"{\"processor_class\":\"PixtralProcessor\",\"spatial_merge_size\":\"x\"}",
         "spatial_merge_size"},
        {"{\"processor_class\":\"PixtralProcessor\",\"image_break_token\":7}", "image_break_token"},
        {"{\"processor_class\":\"PixtralProcessor\",\"image_end_token\":7}", "image_end_token"},
        {"[]", "must be an object"},
    };
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        refused_image(images[i].json, images[i].key);
    }
    for (size_t i = 0; i < sizeof outers / sizeof *outers; i++) {
        refused_processor(outers[i].json, outers[i].key);
    }
}

static void a_folder_without_an_image_processor_is_refused(void **state)
{
    (void)state;
    llava_processor p;
    llava_error e;
    assert_false(try_processor(&p, NULL, NULL, &e));
    support_says(&e, "/preprocessor_config.json: is missing");
    assert_false(try_processor(&p, "{\"patch_size\":14}", NULL, &e));
    support_says(&e, "/preprocessor_config.json: is missing, and processor_config.json holds no "
                     "image_processor");
}

static bool read_config(void *self, llava_error *e)
{
    (void)self;
    llava_config c;
    return llava_config_read(&c, folder.path, e);
}

static bool read_processor_files(void *self, llava_error *e)
{
    (void)self;
    llava_processor p;
    return llava_processor_read(&p, folder.path, e);
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    config_of("{\"vision_config\":{},\"text_config\":{}}", "{\"eos_token_id\":[1,2]}");
    assert_true(memory_runs_out(read_config, NULL) > 10);
    processor_of("{\"patch_size\":14,\"image_token\":\"x\"}", "{\"size\":[3,4]}");
    assert_true(memory_runs_out(read_processor_files, NULL) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_parts_the_tower_is_vit_l_at_336),
        cmocka_unit_test(an_empty_vision_config_means_the_class_defaults),
        cmocka_unit_test(the_config_of_llava_1_5_is_read),
        cmocka_unit_test(theta_is_found_wherever_a_version_wrote_it),
        cmocka_unit_test(rotary_types_are_read_in_both_spellings),
        cmocka_unit_test(the_factor_of_the_rotary_tables_is_given_or_follows),
        cmocka_unit_test(rotary_types_that_lack_a_key_or_make_no_sense_are_refused),
        cmocka_unit_test(mistral_has_its_own_defaults),
        cmocka_unit_test(qwen2_has_its_own_defaults),
        cmocka_unit_test(windows_that_make_no_sense_are_refused),
        cmocka_unit_test(feature_layers_index_the_hidden_states_as_in_python),
        cmocka_unit_test(feature_layers_that_do_not_exist_are_refused),
        cmocka_unit_test(head_sizes_follow_from_the_others),
        cmocka_unit_test(either_tie_key_ties_the_head),
        cmocka_unit_test(the_image_token_has_two_names),
        cmocka_unit_test(switches_and_activations_are_read),
        cmocka_unit_test(activations_that_are_not_supported_are_named),
        cmocka_unit_test(other_families_are_refused_by_name),
        cmocka_unit_test(other_towers_have_their_own_defaults),
        cmocka_unit_test(pixtrals_theta_stands_in_several_places),
        cmocka_unit_test(pixtral_values_that_cannot_be_are_refused),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(sizes_that_do_not_divide_are_refused),
        cmocka_unit_test(eps_and_theta_must_be_positive),
        cmocka_unit_test(keys_that_change_the_result_unseen_are_refused),
        cmocka_unit_test(unknown_and_case_variant_keys_are_ignored_and_named),
        cmocka_unit_test(keys_known_to_be_irrelevant_are_ignored_silently),
        cmocka_unit_test(broken_files_are_named),
        cmocka_unit_test(stop_ids_come_from_the_generation_file_alone_where_it_is_there),
        cmocka_unit_test(without_a_generation_file_the_config_tells_the_stop_ids),
        cmocka_unit_test(stop_ids_of_another_kind_are_refused),
        cmocka_unit_test(keys_that_change_greedy_decoding_are_reported),
        cmocka_unit_test(missing_keys_of_an_image_processor_have_clips_defaults),
        cmocka_unit_test(sizes_come_in_four_forms),
        cmocka_unit_test(siglips_processor_takes_both_edges),
        cmocka_unit_test(pixtrals_processor_takes_whole_patches),
        cmocka_unit_test(a_class_beside_the_image_processor_counts_if_it_is_known),
        cmocka_unit_test(steps_and_numbers_are_read),
        cmocka_unit_test(null_is_a_value_in_an_image_processor),
        cmocka_unit_test(the_nested_image_processor_wins),
        cmocka_unit_test(the_processors_counts_are_read),
        cmocka_unit_test(image_processors_that_are_not_supported_are_named),
        cmocka_unit_test(image_processor_values_that_cannot_be_are_refused),
        cmocka_unit_test(processor_values_that_cannot_be_are_refused),
        cmocka_unit_test(values_of_another_kind_are_refused_at_every_key),
        cmocka_unit_test(values_of_another_kind_are_refused_in_the_processor_too),
        cmocka_unit_test(a_folder_without_an_image_processor_is_refused),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
