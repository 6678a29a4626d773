/* --profile original: checkpoints in the original project's spelling, its conversations, its
 * tokenisation. What its own package computes is in golden/original-v1 and original-v15; here stand
 * the refusals, and what the options have to do with each other. */
#include "ref/original.h"
#include "tests/memory.h"
#include "tests/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V15                                                                                        \
    "--model $GOLDEN/original-v15/model --profile original --vision-tower "                        \
    "$GOLDEN/original-v15/tower "
#define V1                                                                                         \
    "--model $GOLDEN/original-v1/model --profile original --vision-tower "                         \
    "$GOLDEN/original-v1/tower "
#define WIDE "--image $GOLDEN/picture-pad/wide.png "
#define SYSTEM                                                                                     \
    "A chat between a curious user and an artificial intelligence assistant. The "                 \
    "assistant gives helpful, detailed, and polite answers to the user's questions. "
#define HUMAN                                                                                      \
    "A chat between a curious human and an artificial intelligence assistant. The "                \
    "assistant gives helpful, detailed, and polite answers to the human's questions. "

static void refused(const support_folder *folder, const char *command, const char *says)
{
    program_result run = program_run(folder, command);
    const char *wrong = program_refusal(&run, says);
    if (wrong != NULL) {
        fail_msg("%s: %s: %s%s", command, wrong, run.err, run.out);
    }
    program_free(&run);
}

static void same(const support_folder *folder, const char *a, const char *b, bool equal)
{
    program_result x = program_run(folder, a), y = program_run(folder, b);
    if (x.status != 0 || y.status != 0 || x.out_size == 0 || (strcmp(x.out, y.out) == 0) != equal) {
        fail_msg("%s\n%s%s\n%s\n%s%s", a, x.out, x.err, b, y.out, y.err);
    }
    program_free(&x);
    program_free(&y);
}

/* Makes files in the folder. */
static void prepare(const support_folder *folder, const char *command)
{
    program_result run = program_run(folder, command);
    assert_int_equal(run.status, 0);
    program_free(&run);
}

/* The conversations as they are written down. */
static void test_conversations_print_what_the_package_prints(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
#define IDS "--taps input_ids --hash -"
    same(&folder, "$LLAVA run " V15 WIDE IDS " --chat 'What is it?'",
         "$LLAVA run " V15 WIDE IDS " --prompt \"" SYSTEM "USER: <image>\nWhat is it? ASSISTANT:\"",
         true);
    same(&folder, "$LLAVA run " V1 WIDE IDS " --conv llava_v1 --chat 'What is it?'",
         "$LLAVA run " V1 WIDE IDS " --prompt \"" HUMAN
         "USER: <im_start><image><im_end>\nWhat is it? ASSISTANT:\"",
         true);
    same(&folder, "$LLAVA run " V15 IDS " --chat Hello",
         "$LLAVA run " V15 IDS " --prompt \"" SYSTEM "USER: Hello ASSISTANT:\"", true);
    same(&folder, "$LLAVA run " V15 IDS " --chat Hello",
         "$LLAVA run " V15 IDS " --chat Hello --conv llava_v1", false);
    prepare(&folder, "printf '%s' '[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                     "\"text\":\"Hi\"},{\"type\":\"image\"}]},{\"role\":\"assistant\","
                     "\"content\":\"It is.\"},{\"role\":\"user\",\"content\":\"More\"}]' "
                     "> m.json; printf '%s' '[{\"role\":\"assistant\",\"content\":\"It "
                     "is.\"}]' > bad.json; printf '%s' '[{\"role\":\"system\","
                     "\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"}]' "
                     "> s.json; echo");
    same(&folder, "$LLAVA run " V15 WIDE IDS " --messages m.json",
         "$LLAVA run " V15 WIDE IDS " --prompt \"" SYSTEM
         "USER: <image>\nHi ASSISTANT: It is.</s>USER: More ASSISTANT:\"",
         true);
    same(&folder, "$LLAVA run " V15 IDS " --messages s.json",
         "$LLAVA run " V15 IDS " --prompt \"Be brief. USER: Hi ASSISTANT:\"", true);
    refused(&folder, "$LLAVA run " V15 " --messages bad.json",
            "message 0 is the assistant's, where the user's turn is");
    support_folder_remove(&folder);
}

/* Each piece between pictures is a text of its own to the tokenizer: one more blank than in a row.
 */
static void test_pieces_are_tokenised_by_themselves(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_result run = program_run(&folder, "$LLAVA run " V15 WIDE
                                              " --prompt 'a<image>b' --dump o/ --taps input_ids && "
                                              "$LLAVA inspect o input_ids");
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.out, "-200"));
    program_free(&run);
    refused(&folder, "$LLAVA run " V15 " --prompt 'a<image>b'", "1 placeholders (<image>) for 0");
    refused(&folder, "$LLAVA run " V15 WIDE " --prompt 'a'", "0 placeholders (<image>) for 1");
    refused(&folder, "$LLAVA run " V15 WIDE " --prompt '<image><image>'",
            "2 placeholders (<image>) for 1");
    support_folder_remove(&folder);
}

/* A folder in transformers' form takes the profile as well: padded, not turned, its own token. */
static void test_a_converted_folder_takes_the_profile(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
#define CONVERTED "--model $GOLDEN/picture-prompt/model "
    same(&folder,
         "$LLAVA run " CONVERTED WIDE
         "--profile original --prompt '<image>' --taps image.padded,pixel_values --hash -",
         "$LLAVA run --model $GOLDEN/picture-pad/model " WIDE
         "--prompt '<image>' --taps image.padded,pixel_values --hash -",
         true);
    same(&folder,
         "$LLAVA run " CONVERTED
         "--image $GOLDEN/picture-modes/8-turned.png --profile original --prompt '<image>' --taps "
         "image.rgb --hash -",
         "$LLAVA run " CONVERTED "--image $GOLDEN/picture-modes/8-turned.png --prompt '<image>' "
         "--set image.exif=ignored --taps image.rgb --hash -",
         true);
    program_result run =
        program_run(&folder, "$LLAVA run " CONVERTED WIDE "--profile original --chat Hi");
    assert_int_equal(run.status, 0);
    program_free(&run);
    support_folder_remove(&folder);
}

/* One linear layer has no taps inside, and no activation that could be wrong. */
static void test_one_linear_layer(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    refused(&folder, "$LLAVA run " V1 WIDE "--chat Hi --taps projector.fc1 --hash -",
            "no tap of this run has such a name");
    refused(&folder, "$LLAVA run " V1 WIDE "--chat Hi --set projector.act=none",
            "no effect here: the projector is one linear layer");
    same(&folder, "$LLAVA run " V1 WIDE "--chat Hi --taps projector.* --hash -",
         "$LLAVA run " V1 WIDE "--chat Hi --taps projector.out --hash -", true);
    same(&folder, "$LLAVA run " V1 WIDE "--chat Hi --set projector.bias=absent",
         "$LLAVA run " V1 WIDE "--chat Hi", false);
    support_folder_remove(&folder);
}

/* A fault of a port is found from the first pixel on. */
static void test_a_port_is_diagnosed(void **state)
{
    static const char *const faults[] = {"projector.bias=absent", "image.pad_color=black",
                                         "text.norm_eps=1e-6"};
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        char command[1024];
        snprintf(command, sizeof command,
                 "rm -f p.npz; $LLAVA run " V15 WIDE "--chat Hi --set %s --dump p.npz >&2 && "
                 "$LLAVA diagnose " V15 WIDE "--chat Hi --dump p.npz",
                 faults[i]);
        program_result run = program_run(&folder, command);
        if (run.status != 1 || strstr(run.out, faults[i]) == NULL) {
            fail_msg("%s: %d %s%s", faults[i], run.status, run.out, run.err);
        }
        program_free(&run);
    }
    support_folder_remove(&folder);
}

static void test_options_that_do_not_go_together(void **state)
{
    static const struct {
        const char *command, *says;
    } rows[] = {
        {"$LLAVA run --model $GOLDEN/original-v15/model --chat Hi", "wants --profile original"},
        {"$LLAVA run --model $GOLDEN/original-v15/model --profile original --chat Hi",
         "mm_vision_tower: give its folder"},
        {"$LLAVA run --model $GOLDEN/plain/model --vision-tower x --chat Hi",
         "--vision-tower: goes with --profile original"},
        {"$LLAVA run --model $GOLDEN/plain/model --conv llava_v1 --chat Hi",
         "--conv: goes with --profile original"},
        {"$LLAVA run --model $GOLDEN/plain/model --profile original --vision-tower x --chat Hi",
         "has no mm_vision_tower"},
        {"$LLAVA run " V15 "--conv v1 --chat Hi", "--conv v1: not one of vicuna_v1, llava_v1"},
        {"$LLAVA run " V15 "--conv llava_v1 --conv llava_v1 --chat Hi", "--conv: given twice"},
        {"$LLAVA run " V15 "--conv llava_v1 --prompt Hi", "--conv: shapes --chat and --messages"},
        {"$LLAVA run " V15 "--profile hf --chat Hi", "given twice"},
        {"$LLAVA run --model $GOLDEN/plain/model --profile hf --chat Hi",
         "--profile hf: not one of transformers, original"},
        {"$LLAVA inspect $GOLDEN/original-v15/model", "wants --profile original"},
        {"$LLAVA inspect $GOLDEN/original-v15/model --profile original",
         "mm_vision_tower: give its folder"},
        {"$LLAVA inspect $GOLDEN/original-v15/true.npz --profile original",
         "--profile and --vision-tower go with a model folder"},
        {"$LLAVA diff $GOLDEN/original-v15/true.npz $GOLDEN/original-v15/true.npz --profile "
         "original",
         "--profile and --vision-tower go with --model"},
        {"$LLAVA diff $GOLDEN/original-v15/true.npz $GOLDEN/original-v15/true.npz --model "
         "$GOLDEN/original-v15/model",
         "wants --profile original"},
    };
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refused(&folder, rows[i].command, rows[i].says);
    }
    support_folder_remove(&folder);
}

/* The command succeeds, and says this. */
static void says(const support_folder *folder, const char *command, const char *text)
{
    program_result run = program_run(folder, command);
    if (run.status != 0 || strstr(run.out, text) == NULL) {
        fail_msg("%s: not \"%s\":\n%s%s", command, text, run.out, run.err);
    }
    program_free(&run);
}

#define INSPECT(which)                                                                             \
    "$LLAVA inspect $GOLDEN/original-" which "/model --profile original --vision-tower "           \
    "$GOLDEN/original-" which "/tower "

/* 576 = (18 + 1) 16 + (16 + 1) 16: two layers from the tower's 18 to the text's 16; 304: one. */
static void test_inspect_and_diff_read_the_original_spelling(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    says(&folder, INSPECT("v15"), "\nprojector               576                0\n");
    says(&folder, INSPECT("v15"), "\nother                     0                0\n");
    says(&folder, INSPECT("v15"), "9 image tokens per picture");
    says(&folder, INSPECT("v15") "--json -", "\"problems\":[]");
    says(&folder, INSPECT("v15") "model.mm_projector.0.bias", "used by the model");
    says(&folder, INSPECT("v1"), "projector   18 to 16, one layer, biased");
    says(&folder, INSPECT("v1"), "\nprojector               304                0\n");
    says(&folder, INSPECT("v1") "--json -", "\"problems\":[]");
    says(&folder,
         "$LLAVA run " V15 WIDE "--chat Hi --dump a.npz >/dev/null && $LLAVA run " V15 WIDE
         "--chat Hi --dtype bf16 --dump b.npz >/dev/null && $LLAVA diff a.npz b.npz " V15,
         "wrong decisions");
    support_folder_remove(&folder);
}

/* Folders that are no whole model say what they are, and what to do. */
static void test_folders_that_are_no_model(void **state)
{
    static const struct {
        const char *file, *says;
    } rows[] = {
        {"adapter_config.json", "a LoRA adapter, no whole model"},
        {"mm_projector.bin", "a projector alone, no whole model"},
        {"non_lora_trainables.bin", "a projector alone, no whole model"},
        {"pytorch_model.bin", "its weights are pickles"},
        {"pytorch_model.bin.index.json", "its weights are pickles"},
        {"pytorch_model.bin.index.json; echo > m/mm_projector.bin", "its weights are pickles"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        support_folder folder = support_folder_new();
        char command[512];
        snprintf(command, sizeof command,
                 "cp -r $GOLDEN/original-v15/model m; chmod -R u+w m; rm m/model.safetensors; echo "
                 "{} > m/%s; $LLAVA run --model m --profile original --vision-tower "
                 "$GOLDEN/original-v15/tower --chat Hi",
                 rows[i].file);
        refused(&folder, command, rows[i].says);
        support_folder_remove(&folder);
    }
    support_folder folder =
        support_folder_new(); /* in transformers' form, where weights are read */
    refused(&folder,
            "cp -r $GOLDEN/plain/model m; chmod -R u+w m; rm m/model.safetensors; echo > "
            "m/pytorch_model.bin; $LLAVA run --model m --inputs $GOLDEN/plain/inputs.npz",
            "m: its weights are pickles");
    support_folder_remove(&folder);
}

static void test_configurations_that_are_another_kind(void **state)
{
    static const struct {
        const char *from, *to, *says;
    } rows[] = {
        {"\"mlp2x_gelu\"", "\"mlp3x_gelu\"", "mm_projector_type: 'mlp3x_gelu'"},
        {"\"mlp2x_gelu\"", "\"identity\"", "mm_projector_type: 'identity'"},
        {"\"mlp2x_gelu\"", "\"linear\"", "'multi_modal_projector.linear.weight' is missing"},
        {"\"pad\"", "\"anyres\"", "image_aspect_ratio: 'anyres'"},
        {"\"mm_hidden_size\": 18", "\"mm_hidden_size\": 19", "mm_hidden_size: 19, but the vision"},
        {"\"patch\"", "\"cls\"", "mm_vision_select_feature: 'cls'"},
        {"\"mm_vision_select_layer\": -2", "\"mm_vision_select_layer\": -9", "-9 is out of range"},
        {"\"mm_vision_select_layer\": -2", "\"mm_vision_select_layer\": 0.5", "mm_vision_select"},
        {"\"llava_llama\"", "\"llava_mpt\"", "model_type: 'llava_mpt'"},
        {"\"mm_vision_tower\"", "\"s2\": true, \"mm_vision_tower\"", "s2: towers of several"},
        {"\"mm_vision_tower\"", "\"mm_resampler_type\": \"perceiver\", \"mm_vision_tower\"",
         "mm_resampler_type: resamplers are not supported"},
        {"\"mm_vision_tower\"", "\"mm_patch_merge_type\": \"spatial_unpad\", \"mm_vision_tower\"",
         "mm_patch_merge_type: 'spatial_unpad'"},
        {"\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0", "text_config.rms_norm_eps"},
        {"\"mm_vision_tower\"", "\"s2\": 7, \"mm_vision_tower\"", "s2: must be true or false"},
        {"\"mm_use_im_start_end\": false", "\"mm_use_im_start_end\": 7",
         "mm_use_im_start_end: must"},
        {"\"mm_hidden_size\": 18", "\"mm_hidden_size\": 0", "mm_hidden_size: must be from 1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        support_folder folder = support_folder_new();
        prepare(&folder, "cp -r $GOLDEN/original-v15/model m; chmod -R u+w m");
        program_edit(&folder, "m/config.json", rows[i].from, rows[i].to);
        program_result run = program_run(
            &folder, "$LLAVA run --model m --profile original --vision-tower "
                     "$GOLDEN/original-v15/tower --image $GOLDEN/picture-pad/wide.png --chat Hi");
        const char *wrong = program_refusal(&run, rows[i].says);
        /* a linear projector's weights have other names: what is missing is named */
        if (wrong != NULL) {
            fail_msg("%s: %s: %s%s", rows[i].to, wrong, run.err, run.out);
        }
        program_free(&run);
        support_folder_remove(&folder);
    }
}

/* The configuration alone: the model's file, and the tower's. */
static void test_files_that_are_no_configuration(void **state)
{
    static const struct {
        const char *model, *tower, *says;
    } rows[] = {
        {"[]", "{}", "m/config.json: must be an object"},
        {"{", "{}", "m/config.json: a string is missing"},
        {"{}", "[]", "t/config.json: must be an object"},
        {"{}", "{\"vision_config\": 3}", "t/config.json: vision_config: must be an object"},
        {"{}", "{\"vision_config\": null, \"hidden_size\": 0}",
         "vision_config.hidden_size: must be"},
        {"{\"mm_vision_select_layer\": \"x\"}", "{}", "mm_vision_select_layer: must be a whole"},
        {"{\"model_type\": \"llava_mistral\", \"sliding_window\": 0}", "{}",
         "text_config.sliding_window: must be from 1"},
        {"{\"mm_vision_select_feature\": 7}", "{}", "mm_vision_select_feature: must be a string"},
    };
    (void)state;
    support_folder folder = support_folder_new();
    prepare(&folder, "mkdir m t");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char model[512], tower[512];
        llava_config config;
        llava_error e;
        support_write_text(&folder, "m/config.json", rows[i].model);
        support_write_text(&folder, "t/config.json", rows[i].tower);
        snprintf(model, sizeof model, "%s", support_path(&folder, "m"));
        snprintf(tower, sizeof tower, "%s", support_path(&folder, "t"));
        assert_false(llava_original_is(model));
        assert_false(llava_original_config(&config, model, tower, &e));
        support_says(&e, rows[i].says);
    }
    support_folder_remove(&folder);
}

static bool read_v15(void *self, llava_error *e)
{
    llava_config *config = self;
    return llava_original_config(config, "golden/original-v15/model", "golden/original-v15/tower",
                                 e);
}

static void test_memory_that_runs_out(void **state)
{
    (void)state;
    static llava_config config;
    assert_true(memory_runs_out(read_v15, &config) > 100);
}

static void a_conversations_texts_are_joined_and_end_with_the_users(void **state)
{
    (void)state;
    llava_chat_item items[] = {{.text = "a"}, {.image = true}, {.text = "b"}};
    const llava_chat_message messages[] = {{.role = "user", .items = items, .count = 3},
                                           {.role = "assistant", .text = "c"}};
    llava_conversation c = {messages, 1, true, NULL, NULL};
    llava_error e = {""};
    char *prompt;
    assert_true(llava_conv_render(LLAVA_CONV_VICUNA_V1, &c, false, &prompt, &e));
    const char *end = " USER: <image>\na b ASSISTANT:";
    assert_true(strlen(prompt) > strlen(end));
    assert_string_equal(prompt + strlen(prompt) - strlen(end), end);
    free(prompt);
    c.count = 2;
    assert_false(llava_conv_render(LLAVA_CONV_VICUNA_V1, &c, false, &prompt, &e));
    support_says(&e, "the last message is no user's");
    c.generation = false;
    assert_true(llava_conv_render(LLAVA_CONV_VICUNA_V1, &c, false, &prompt, &e));
    assert_non_null(strstr(prompt, " ASSISTANT: c</s>"));
    free(prompt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations_print_what_the_package_prints),
        cmocka_unit_test(test_pieces_are_tokenised_by_themselves),
        cmocka_unit_test(test_a_converted_folder_takes_the_profile),
        cmocka_unit_test(test_one_linear_layer),
        cmocka_unit_test(test_a_port_is_diagnosed),
        cmocka_unit_test(test_options_that_do_not_go_together),
        cmocka_unit_test(test_inspect_and_diff_read_the_original_spelling),
        cmocka_unit_test(test_folders_that_are_no_model),
        cmocka_unit_test(test_configurations_that_are_another_kind),
        cmocka_unit_test(test_files_that_are_no_configuration),
        cmocka_unit_test(test_memory_that_runs_out),
        cmocka_unit_test(a_conversations_texts_are_joined_and_end_with_the_users),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
