/* llava-ref inspect on a folder that holds nothing but a published checkpoint's config.json
 * (tests/configs, docs/spec.md section 11): parameters, image tokens and multiplications are those
 * that transformers and torch's own counter find (tools/count_published.py). */
#include "ref/json.h"
#include "tests/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COLUMNS = 6, CHECKPOINTS = 13 };

/* A number of the JSON at a dotted key. */
static double number_at(const cJSON *json, const char *key)
{
    llava_error e;
    double value = -1;
    if (!llava_json_double("inspect", json, key, &value, &e)) {
        fail_msg("%s", e.text);
    }
    return value;
}

static cJSON *inspect(const char *name)
{
    char command[512];
    llava_error e;
    support_folder folder = support_folder_new();
    snprintf(command, sizeof command,
             "cp \"$GOLDEN/../tests/configs/%s.json\" config.json && \"$LLAVA\" inspect . --json "
             "out.json",
             name);
    program_result r = program_run(&folder, command);
    if (r.status != 0 || r.err[0] != '\0') { /* no key of these is unknown: no warning either */
        fail_msg("%s: %s", name, r.err);
    }
    program_free(&r);
    cJSON *json = llava_json_read(support_path(&folder, "out.json"), &e);
    assert_non_null(json);
    support_folder_remove(&folder);
    return json;
}

static void inspect_counts_what_transformers_counts(void **state)
{
    (void)state;
    static const char *const keys[COLUMNS] = {"parameters.vision",   "parameters.projector",
                                              "parameters.text",     "parameters.total",
                                              "config.image_tokens", "macs.total"};
    char line[512], name[128];
    double expected[COLUMNS];
    int rows = 0;
    FILE *table = fopen("tests/configs/counts.tsv", "r");
    assert_non_null(table);
    assert_non_null(fgets(line, sizeof line, table)); /* the header */
    while (fgets(line, sizeof line, table) != NULL) {
        assert_int_equal(sscanf(line, "%127s %lf %lf %lf %lf %lf %lf", name, &expected[0],
                                &expected[1], &expected[2], &expected[3], &expected[4],
                                &expected[5]),
                         1 + COLUMNS);
        cJSON *json = inspect(name);
        for (int i = 0; i < COLUMNS; i++) {
            double found = number_at(json, keys[i]);
            if (found != expected[i]) {
                fail_msg("%s: %s is %.0f, not %.0f", name, keys[i], found, expected[i]);
            }
        }
        cJSON_Delete(json);
        rows++;
    }
    fclose(table);
    assert_int_equal(rows, CHECKPOINTS);
}

static void families_show_what_tells_them_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name, *rope, *vision, *text;
        double window, sliding, theta, head_dim;
        bool tied, qkv_bias;
    } rows[] = {
        {"bakLlava-v1-hf", "default", "clip_vision_model", "mistral", 4096, 32, 1e4, 128, false,
         false},
        {"llava-interleave-qwen-0.5b-hf", "default", "siglip_vision_model", "qwen2", 0, 0, 1e6, 64,
         true, true},
        {"pixtral-12b", "default", "pixtral", "mistral", 0, 0, 1e9, 128, false, false},
        {"llama-joycaption-alpha-two-hf-llava", "llama3", "siglip_vision_model", "llama", 0, 0, 5e5,
         128, false, false},
        {"tiny-llava-5.0", "default", "clip_vision_model", "llama", 0, 0, 1e4, 2, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cJSON *json = inspect(rows[i].name);
        const char *rope = "", *vision = "", *text = "";
        bool tied = !rows[i].tied, biased = !rows[i].qkv_bias;
        assert_true(llava_json_string("", json, "config.text.rope_type", &rope, NULL) &&
                    llava_json_string("", json, "config.vision.model_type", &vision, NULL) &&
                    llava_json_string("", json, "config.text.model_type", &text, NULL) &&
                    llava_json_bool("", json, "config.text.tied_head", &tied, NULL) &&
                    llava_json_bool("", json, "config.text.qkv_bias", &biased, NULL));
        assert_string_equal(rope, rows[i].rope);
        assert_string_equal(vision, rows[i].vision);
        assert_string_equal(text, rows[i].text);
        assert_true(tied == rows[i].tied && biased == rows[i].qkv_bias);
        assert_true(number_at(json, "config.text.window") == rows[i].window);
        assert_true(number_at(json, "config.text.sliding_layers") == rows[i].sliding);
        assert_true(number_at(json, "config.text.rope_theta") == rows[i].theta);
        assert_true(number_at(json, "config.text.head_dim") == rows[i].head_dim);
        cJSON_Delete(json);
    }
}

/* The number of times that a text stands in another. */
static size_t occurrences(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part)) {
        count++;
    }
    return count;
}

/* A misspelt key must not pass in silence. */
static void an_unknown_key_is_named_once_a_command(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    support_write_text(&folder, "config.json",
                       "{\"text_config\":{\"slidng_window\":7,\"use_cache\":true}}");
    program_result r = program_run(&folder, "\"$LLAVA\" inspect .");
    assert_int_equal(r.status, 0);
    assert_string_equal(r.err, "llava-ref: warning: ./config.json: unknown keys, ignored: "
                               "text_config.slidng_window\n");
    program_free(&r);
    r = program_run(&folder,
                    "cp -r \"$GOLDEN/mistral-plain\" case && cd case && sed -i "
                    "'s/\"sliding_window\"/\"slidng_window\"/' model/config.json && "
                    "\"$LLAVA\" run --model model --inputs inputs.npz --dump p.npz && "
                    "\"$LLAVA\" diagnose --model model --inputs inputs.npz --dump p.npz && "
                    "\"$LLAVA\" bench --model model --inputs inputs.npz");
    assert_int_equal(r.status, 0);
    assert_int_equal(occurrences(r.err, "unknown keys, ignored: text_config.slidng_window"), 3);
    program_free(&r);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inspect_counts_what_transformers_counts),
        cmocka_unit_test(families_show_what_tells_them_apart),
        cmocka_unit_test(an_unknown_key_is_named_once_a_command),
    };
    return cmocka_run_group_tests_name("published", tests, NULL, NULL);
}
