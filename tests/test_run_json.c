/* run --json: what it says is what --hash and standard output say, and it is JSON whatever the
 * model prints. */
#include "ref/json.h"
#include "tests/memory.h"
#include "tests/program.h"
#include "tools/json_out.h"
#include "tools/run_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PLAIN                                                                                      \
    "\"$LLAVA\" run --model \"$GOLDEN\"/plain/model --inputs \"$GOLDEN\"/plain/inputs.npz "
#define CHAT                                                                                       \
    "\"$LLAVA\" run --model \"$GOLDEN\"/demo/model --image "                                       \
    "\"$GOLDEN\"/demo/pictures/2-red-triangle.png --chat 'What is in the picture?' "

static program_result done(const support_folder *folder, const char *command)
{
    program_result r = program_run(folder, command);
    if (r.status != 0) {
        fail_msg("%s: exit status %d: %s", command, r.status, r.err);
    }
    return r;
}

/* Standard output of a command as strict JSON; cJSON_Delete it. */
static cJSON *printed(const support_folder *folder, const char *command)
{
    llava_error e;
    program_result r = done(folder, command);
    cJSON *json = llava_json_parse("stdout", r.out, r.out_size, &e);
    if (json == NULL) {
        fail_msg("%s: %s", command, e.text);
    }
    program_free(&r);
    return json;
}

static const cJSON *get(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (item == NULL) {
        fail_msg("no %s", key);
    }
    return item;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = get(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

/* The stages as --hash prints them, in new memory. */
static char *as_hashes(const cJSON *json)
{
    size_t room = 1 << 16, used = 0;
    char *lines = malloc(room);
    const cJSON *stage;
    assert_non_null(lines);
    lines[0] = '\0';
    cJSON_ArrayForEach(stage, get(json, "stages"))
    {
        char *shape = cJSON_PrintUnformatted(get(stage, "shape"));
        used += (size_t)snprintf(lines + used, room - used, "%s  %s  %s  %s\n",
                                 text_of(stage, "sha256"), text_of(stage, "name"),
                                 text_of(stage, "dtype"), shape);
        free(shape);
        assert_true(used < room);
    }
    return lines;
}

static void stages_are_what_hash_says(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    cJSON *all = printed(&folder, PLAIN "--taps '*' --json -");
    char *lines = as_hashes(all);
    program_result hashed = done(&folder, PLAIN "--taps '*' --hash -");
    assert_string_equal(lines, hashed.out);
    free(lines);
    cJSON_Delete(all);
    /* without --taps: what the stages hand on, and nothing that the run would not compute */
    cJSON *few = printed(&folder, PLAIN "--json -");
    lines = as_hashes(few);
    size_t count = 0;
    for (char *rest = NULL, *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest), count++) {
        assert_non_null(strstr(hashed.out, line));
    }
    assert_int_equal(count, 8);
    free(lines);
    cJSON_Delete(few);
    program_free(&hashed);
    support_folder_remove(&folder);
}

static void what_was_run_stands_in_it(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    cJSON *json =
        printed(&folder, PLAIN "--dtype f32 --numerics hf --set projector.act=relu --json -");
    assert_string_equal(json->child->string, "schema");
    assert_string_equal(text_of(json, "schema"), "llava-ref.run/1");
    assert_string_equal(text_of(json, "dtype"), "f32");
    assert_string_equal(text_of(json, "numerics"), "hf");
    assert_string_equal(text_of(json, "path"), "plain");
    assert_string_equal(text_of(get(json, "decisions"), "projector.act"), "relu");
    assert_int_equal(strlen(text_of(json, "inputs")), 64);
    assert_int_equal(strlen(text_of(json, "model")), 64);
    cJSON_Delete(json);
    support_folder_remove(&folder);
}

static void the_answer_is_the_printed_one(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_result r = done(&folder, CHAT "--generate 12 --json out.json && cat out.json >&2");
    llava_error e;
    cJSON *json = llava_json_parse("out.json", r.err, strlen(r.err), &e);
    assert_non_null(json);
    const cJSON *samples = get(json, "samples");
    assert_int_equal(cJSON_GetArraySize(samples), 1);
    char line[64];
    snprintf(line, sizeof line, "%s\n", text_of(cJSON_GetArrayItem(samples, 0), "answer"));
    assert_string_equal(line, r.out);
    assert_int_equal(cJSON_GetArraySize(get(cJSON_GetArrayItem(samples, 0), "generated_ids")), 4);
    cJSON_Delete(json);
    program_free(&r);
    /* with standard output taken, the answer goes to standard error */
    r = done(&folder, CHAT "--generate 12 --json - >/dev/null");
    assert_string_equal(r.err, line);
    program_free(&r);
    support_folder_remove(&folder);
}

static void highest_logits_and_loss_are_the_printed_ones(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    cJSON *json = printed(&folder, "\"$LLAVA\" run --model \"$GOLDEN\"/labels/model --inputs "
                                   "\"$GOLDEN\"/labels/inputs.npz --json - 2>printed");
    program_result r = done(&folder, "cat printed");
    char line[128], *at = r.out;
    snprintf(line, sizeof line, "loss %.17g\n", get(json, "loss")->valuedouble);
    assert_memory_equal(at, line, strlen(line));
    at = strchr(at, '\n') + 1;
    const cJSON *sample, *top;
    cJSON_ArrayForEach(sample, get(json, "samples"))
    {
        at = strchr(at, '\n') + 1;
        assert_int_equal(cJSON_GetArraySize(get(sample, "top")), 5);
        cJSON_ArrayForEach(top, get(sample, "top"))
        {
            snprintf(line, sizeof line, "%8.0f  %24.17g\n", get(top, "id")->valuedouble,
                     get(top, "logit")->valuedouble);
            assert_memory_equal(at, line, strlen(line));
            assert_true(cJSON_IsNull(get(top, "text"))); /* there is no tokenizer */
            at = strchr(at, '\n') + 1;
        }
    }
    assert_string_equal(at, "");
    program_free(&r);
    cJSON_Delete(json);
    support_folder_remove(&folder);
}

static void not_a_number_is_null(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_write_inputs(&folder, "nan.npz",
                         "input_ids <i8 [1,11] 1 57*9 4; pixel_values <f4 [1,3,12,12] nan*432; "
                         "labels <i8 [1,11] 4*11");
    cJSON *json =
        printed(&folder, "\"$LLAVA\" run --model \"$GOLDEN\"/plain/model --inputs nan.npz "
                         "--json -");
    assert_true(cJSON_IsNull(get(json, "loss")));
    const cJSON *sample = cJSON_GetArrayItem(get(json, "samples"), 0);
    assert_int_equal(cJSON_GetArraySize(get(sample, "top")), 0);
    cJSON_Delete(json);
    support_folder_remove(&folder);
}

/* A file that can't be written is told of before the model is run, and nothing else is written. */
static void a_target_that_cannot_be_written_is_refused_first(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_result r = program_run(&folder, PLAIN "--dump out.npz --json no/such.json");
    assert_null(program_refusal(&r, "no/such.json: cannot be created"));
    assert_false(program_leaves(&folder, "out") || program_leaves(&folder, "llava-ref.tmp"));
    program_free(&r);
    r = program_run(&folder, PLAIN "--json /dev/full >/dev/null");
    assert_null(program_refusal(&r, "/dev/full: cannot be written"));
    program_free(&r);
    r = program_run(&folder, PLAIN "--json - --hash -");
    assert_null(program_refusal(&r, "--hash and --json: both would be standard output"));
    program_free(&r);
    support_folder_remove(&folder);
}

/* Everything that a run may say, its answer with a NUL and without a text. */
static bool say_all(void *self, llava_error *e)
{
    llava_run_json *json;
    cJSON *meta = cJSON_CreateObject();
    int64_t ids[] = {3, 4};
    double x[] = {1, 2};
    llava_tap tap = {.name = "logits", .dtype = LLAVA_F64, .rank = 1, .shape = {2}, .data = x};
    if (meta == NULL || cJSON_AddStringToObject(meta, "program", "a test") == NULL) {
        cJSON_Delete(meta);
        return llava_fail(e, "out of memory");
    }
    if (!llava_run_json_open(&json, self, meta, true, e)) {
        return false;
    }
    llava_sink sink = llava_run_json_sink(json);
    bool ok = sink.wants(sink.self, "logits") && sink.take(sink.self, &tap, e);
    llava_run_json_answer(json, "a\0b", 3, ids, 2);
    llava_run_json_answer(json, NULL, 0, ids, 2);
    llava_run_json_sample(json);
    llava_run_json_logit(json, 3, 0.5, "word");
    llava_run_json_logit(json, 4, 0.25, NULL);
    llava_run_json_loss(json, 0.125);
    return llava_run_json_commit(json, e) && ok;
}

static void memory_that_runs_out_leaves_no_json(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char path[512];
    llava_error e;
    snprintf(path, sizeof path, "%s", support_path(&folder, "out.json"));
    assert_true(memory_runs_out(say_all, path) > 40);
    cJSON *json = llava_json_read(path, &e); /* of the last attempt */
    const cJSON *first = get(json, "samples")->child;
    assert_string_equal(text_of(first, "answer"), "a\xef\xbf\xbd"
                                                  "b");
    assert_true(cJSON_IsNull(get(first->next, "answer")));
    assert_true(get(json, "loss")->valuedouble == 0.125);
    cJSON_Delete(json);
    support_folder_remove(&folder);
}

/* JSON that is longer than what is held back is written in parts, the first of which fails. */
static void json_on_a_full_disk_is_refused(void **state)
{
    (void)state;
    static char longest[200000];
    llava_error e;
    memset(longest, 'x', sizeof longest - 1);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "x", longest);
    assert_false(llava_json_write(json, "/dev/full", &e));
    support_says(&e, "/dev/full: cannot be written");
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_are_what_hash_says),
        cmocka_unit_test(what_was_run_stands_in_it),
        cmocka_unit_test(the_answer_is_the_printed_one),
        cmocka_unit_test(highest_logits_and_loss_are_the_printed_ones),
        cmocka_unit_test(not_a_number_is_null),
        cmocka_unit_test(a_target_that_cannot_be_written_is_refused_first),
        cmocka_unit_test(memory_that_runs_out_leaves_no_json),
        cmocka_unit_test(json_on_a_full_disk_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
