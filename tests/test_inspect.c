/* What inspect's numbers rest on: the table of needed weights is what a run reads, statistics are
 * exact where the plain formula is not. How it prints is tested in test_cli. */
#include "ref/file.h"
#include "ref/json.h"
#include "tests/support.h"
#include "tools/command.h"
#include "tools/json_out.h"
#include "tools/needed.h"
#include "tools/session.h"
#include "tools/statistics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- needed weights -----------------------------------------------------------------------------
 */

static bool mark(void *self, const llava_needed *needed)
{
    llava_checkpoint *weights = self;
    llava_weight weight;
    llava_error e;
    if (needed->optional && llava_checkpoint_find(weights, needed->name) == NULL) {
        return true;
    }
    if (!llava_checkpoint_need(weights, &weight, needed->name, needed->rank, needed->shape, &e)) {
        fail_msg("%s", e.text);
    }
    return true;
}

/* One forward pass with all logits of a golden case, without a sink. */
static void run_forward(llava_session *s)
{
    llava_error e = {""};
    llava_goal goal = {.last_logits = true};
    llava_tap_sizes sizes = llava_session_sizes(s, false);
    llava_goal step = {0};
    llava_outputs out;
    int64_t *positions = calloc(s->inputs.batch * s->inputs.length, sizeof *positions);
    assert_non_null(positions);
    llava_taps_goal(&s->plan, &sizes, NULL, &goal, &step);
    llava_run run = {.weights = s->weights, .plan = &s->plan, .prefix = "", .error = &e};
    llava_positions(&s->plan, &s->inputs, s->convention, positions);
    if (!llava_forward(&run, &goal, &s->inputs, positions, NULL, &out)) {
        fail_msg("%s", e.text);
    }
    llava_outputs_free(&out);
    free(positions);
}

/* Every weight that a pass with pictures reads is in the table, with its shape, and no other. */
static void needed_weights_are_those_a_run_reads(void **state)
{
    static const char *const cases[] = {
        "plain",          "sharded",       "no-projector-bias", "grouped-heads", "tied",
        "feature-layers", "full-strategy", "one-layer",         "qwen2",         "mistral"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char model[64], inputs[64];
        llava_error e = {""};
        llava_session s;
        llava_checkpoint *fresh = NULL;
        snprintf(model, sizeof model, "golden/%s/model", cases[i]);
        snprintf(inputs, sizeof inputs, "golden/%s/inputs.npz", cases[i]);
        llava_request request = {.model = model, .inputs = inputs};
        if (!llava_session_open(&s, &request, &e) || !llava_session_weights(&s, &e) ||
            !llava_checkpoint_open(&fresh, model, NULL, &e)) {
            fail_msg("%s", e.text);
        }
        assert_true(s.inputs.pictures > 0);
        run_forward(&s);
        llava_needed_list(&s.plan, mark, fresh);
        for (size_t k = 0; k < llava_checkpoint_count(fresh); k++) {
            llava_checkpoint_entry a = llava_checkpoint_at(fresh, k);
            llava_checkpoint_entry b = llava_checkpoint_at(s.weights, k);
            /* the session counts the tower layers that are there by their first norm */
            bool probe = strstr(a.weight.name, "layer_norm1.weight") != NULL;
            if (a.used != b.used && !probe) {
                fail_msg("%s: %s is %sread", model, a.weight.name, b.used ? "" : "not ");
            }
        }
        llava_checkpoint_close(fresh);
        llava_session_close(&s);
    }
}

static void parts_are_known_in_every_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        llava_part part;
    } rows[] = {
        {"vision_tower.embeddings.class_embedding", LLAVA_PART_VISION},
        {"model.vision_tower.vision_model.post_layernorm.bias", LLAVA_PART_VISION},
        {"multi_modal_projector.linear_1.bias", LLAVA_PART_PROJECTOR},
        {"model.multi_modal_projector.linear_1.bias", LLAVA_PART_PROJECTOR},
        {"language_model.lm_head.weight", LLAVA_PART_TEXT},
        {"model.language_model.norm.weight", LLAVA_PART_TEXT},
        {"lm_head.weight", LLAVA_PART_TEXT},
        {"model.", LLAVA_PART_OTHER},
        {"model.norm.weight", LLAVA_PART_OTHER},
        {"vision_tower", LLAVA_PART_OTHER},
        {"", LLAVA_PART_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(llava_part_of(rows[i].name, false), rows[i].part);
    }
    assert_int_equal(llava_part_of("model.norm.weight", true), LLAVA_PART_TEXT);
    assert_int_equal(llava_part_of("model.mm_projector.0.bias", true), LLAVA_PART_PROJECTOR);
    assert_int_equal(llava_part_of("vision_model.post_layernorm.bias", true), LLAVA_PART_VISION);
    assert_int_equal(llava_part_of("image_newline", true), LLAVA_PART_OTHER);
}

/* ---- what is printed ----------------------------------------------------------------------------
 */

/* What `inspect WORDS` prints, in this process; free it. */
static char *printed(const support_folder *folder, const char *words)
{
    char text[1024], *argv[16];
    int argc = 0;
    llava_error e = {""};
    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(support_path(folder, "printed"), "w", stdout));
    int status = llava_command_inspect.run(argc, argv, &e);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    if (status != LLAVA_DONE) {
        fail_msg("%s: %s", words, e.text);
    }
    llava_file file;
    assert_true(llava_file_map(&file, support_path(folder, "printed"), &e));
    char *all = calloc(file.size + 1, 1);
    assert_non_null(all);
    memcpy(all, file.bytes, file.size);
    llava_file_unmap(&file);
    return all;
}

static void says(const support_folder *folder, const char *words, const char *part)
{
    char *all = printed(folder, words);
    if (strstr(all, part) == NULL) {
        fail_msg("inspect %s: no '%s' in %s", words, part, all);
    }
    free(all);
}

static void what_tells_models_apart_is_printed(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char words[512];
    says(&folder, "golden/rope-yarn/model", "rotary type yarn, factor");
    says(&folder, "golden/rope-yarn/model", ", cos and sin times ");
    says(&folder, "golden/plain/model", "rotary type default; biases of nothing; no window");
    says(&folder, "golden/grouped-heads/model", "; biases of q k v o MLP; ");
    says(&folder, "golden/qwen2/model", "; biases of q k v; window of ");
    /* a folder without weights, and long lists in its files */
    const int layers[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    llava_error e;
    cJSON *config = llava_json_read("golden/text-only/model/config.json", &e);
    assert_true(
        cJSON_ReplaceItemInObject(config, "vision_feature_layer", cJSON_CreateIntArray(layers, 9)));
    char *text = cJSON_Print(config);
    support_write_text(&folder, "config.json", text);
    free(text);
    cJSON_Delete(config);
    snprintf(words, sizeof words, "%s", folder.path);
    support_write_text(&folder, "generation_config.json", "{\"eos_token_id\":null}");
    says(&folder, words, "stop none, pad ");
    support_write_text(&folder, "generation_config.json",
                       "{\"eos_token_id\":[1,2,3,4,5,6,7,8,9],\"pad_token_id\":7}");
    says(&folder, words, "stop 1 2 3 4 5 6 7 8 ..., pad ");
    says(&folder, words, "hidden states 1 1 1 1 1 1 1 1 ... are the features");
    support_folder_remove(&folder);
}

static void one_tensor_is_found_in_both_spellings(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char words[512];
    llava_error e;
    says(&folder, "golden/plain/model multi_modal_projector.linear_1.bias", "used by the model");
    /* newer files spell it otherwise; its canonical name finds it all the same, and marks it */
    llava_file file;
    assert_true(llava_file_map(&file, "golden/text-only/model/config.json", &e));
    support_write(&folder, "config.json", file.bytes, file.size);
    llava_file_unmap(&file);
    support_write_safetensors(
        &folder, "model.safetensors",
        "{\"model.multi_modal_projector.linear_1.bias\":{\"dtype\":\"F32\",\"shape\":[2],"
        "\"data_offsets\":[0,8]},\"counts\":{\"dtype\":\"I64\",\"shape\":[1],"
        "\"data_offsets\":[8,16]}}",
        16);
    snprintf(words, sizeof words, "%s multi_modal_projector.linear_1.bias", folder.path);
    says(&folder, words, "model.multi_modal_projector.linear_1.bias\n");
    snprintf(words, sizeof words, "%s counts", folder.path);
    char *all = printed(&folder, words); /* nothing here decodes it */
    assert_non_null(strstr(all, "type    I64"));
    assert_null(strstr(all, "first values"));
    free(all);
    snprintf(words, sizeof words,
             "golden/plain/model multi_modal_projector.linear_1.bias --json %s",
             support_path(&folder, "json"));
    free(printed(&folder, words));
    cJSON *json = llava_json_read(support_path(&folder, "json"), &e);
    const cJSON *first = cJSON_GetObjectItemCaseSensitive(json, "first");
    assert_true(cJSON_GetArraySize(first) > 3 && cJSON_IsNumber(first->child));
    cJSON_Delete(json);
    support_folder_remove(&folder);
}

/* ---- statistics ---------------------------------------------------------------------------------
 */

/* 1e9 + {0, 1, 2} repeated: the std is sqrt(2/3). sum x^2 / n - mean^2 gives 0 or 11 here: float64
 * near 1e18 has steps of 128. Ours sums deviations of a block from its own mean: 1e-9 is what
 * 1e9's own last digit (1e-7) makes of a difference of 1, squared and averaged, with room. */
static void statistics_keep_their_digits_beside_a_large_mean(void **state)
{
    (void)state;
    enum { N = 30000 };
    double *x = calloc(N, sizeof *x), sum = 0, squares = 0;
    assert_non_null(x);
    for (size_t i = 0; i < N; i++) {
        x[i] = 1e9 + (double)(i % 3);
        sum += x[i];
        squares += x[i] * x[i];
    }
    llava_statistics s = {0};
    llava_statistics_add(&s, x, N);
    double plain = squares / N - sum / N * (sum / N);
    assert_true(fabs(plain - 2.0 / 3) > 1); /* the planted error: the one-pass formula */
    assert_true(fabs(llava_statistics_std(&s) - sqrt(2.0 / 3)) < 1e-9);
    assert_true(s.mean == 1e9 + 1 && s.min == 1e9 && s.max == 1e9 + 2);
    assert_true(fabs(llava_statistics_rms(&s) / (1e9 + 1) - 1) < 1e-15);
    free(x);
}

static void statistics_do_not_depend_on_the_pieces(void **state)
{
    (void)state;
    enum { N = 5000 };
    double x[N];
    for (size_t i = 0; i < N; i++) {
        x[i] = (double)((i * 7919) % 1000) / 8 - 40; /* multiples of 1/8: sums are exact */
    }
    x[17] = NAN;
    x[4999] = -INFINITY;
    llava_statistics one = {0}, many = {0};
    llava_statistics_add(&one, x, N);
    for (size_t at = 0, n = 1; at < N; at += n, n = n % 1500 + 7) {
        n = n > N - at ? N - at : n;
        llava_statistics_add(&many, x + at, n);
    }
    assert_int_equal(one.finite, N - 2);
    assert_int_equal(one.nan, 1);
    assert_int_equal(one.inf, 1);
    assert_int_equal(many.finite, one.finite);
    assert_int_equal(many.nan + many.inf, 2);
    assert_true(many.min == one.min && many.max == one.max);
    /* joins round: a few hundred of them, each within 2^-53 of values below 100 */
    assert_true(fabs(many.mean - one.mean) < 1e-11);
    assert_true(fabs(llava_statistics_std(&many) - llava_statistics_std(&one)) < 1e-11);
}

static void statistics_of_nothing_are_zero(void **state)
{
    (void)state;
    llava_statistics s = {0};
    double bad[] = {NAN, INFINITY};
    llava_statistics_add(&s, bad, 0);
    llava_statistics_add(&s, bad, 2);
    assert_int_equal(s.finite, 0);
    assert_true(llava_statistics_std(&s) == 0 && llava_statistics_rms(&s) == 0);
}

/* ---- JSON ---------------------------------------------------------------------------------------
 */

static void json_holds_no_control_characters_and_no_bad_bytes(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    llava_error e;
    char read[256] = "";
    cJSON *json = cJSON_CreateObject();
    /* NOLINTNEXTLINE(misc-misleading-bidirectional): what must not come through */
    cJSON_AddStringToObject(json, "a\x7f", "\x1b\n\xc2\x9b\xe2\x80\xae\xff\xc3\xa9\"");
    assert_true(llava_json_write(json, support_path(&folder, "j"), &e));
    FILE *file = fopen(support_path(&folder, "j"), "r");
    assert_non_null(file);
    assert_true(fread(read, 1, sizeof read - 1, file) > 0);
    fclose(file);
    assert_string_equal(read, "{\"a\\u007f\":\"\\u001b\\n\\u009b\\u202e\\ufffd\xc3\xa9\\\"\"}\n");
    assert_false(llava_json_write(NULL, "j", &e));
    support_says(&e, "j: out of memory");
    cJSON_Delete(json);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needed_weights_are_those_a_run_reads),
        cmocka_unit_test(parts_are_known_in_every_spelling),
        cmocka_unit_test(what_tells_models_apart_is_printed),
        cmocka_unit_test(one_tensor_is_found_in_both_spellings),
        cmocka_unit_test(statistics_keep_their_digits_beside_a_large_mean),
        cmocka_unit_test(statistics_do_not_depend_on_the_pieces),
        cmocka_unit_test(statistics_of_nothing_are_zero),
        cmocka_unit_test(json_holds_no_control_characters_and_no_bad_bytes),
    };
    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
