/* bench: which interval belongs to which stage, how much work is counted, the shape of what comes
 * out, and what is refused. No test looks at how long anything takes. */
#include "ref/json.h"
#include "tests/support.h"
#include "tools/bench_earlier.h"
#include "tools/command.h"
#include "tools/machine.h"
#include "tools/session.h"
#include "tools/stage_clock.h"
#include "tools/stage_work.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GENERATE "golden/generate"
#define TEXT     "golden/text-only"

/* ---- which interval belongs to which stage ------------------------------------------------------
 */

/* A clock that a test sets; every look at it costs nothing. */
static llava_instant hand;

static llava_instant look(void)
{
    return hand;
}

static bool wants_projector(void *self, const char *name)
{
    (void)self;
    return strcmp(name, "projector.out") == 0;
}

static bool take_slowly(void *self, const llava_tap *tap, llava_error *e)
{
    (void)self;
    (void)tap;
    (void)e;
    hand.cpu += 1000;
    hand.wall += 3000;
    return true;
}

/* Announces names as the stages do; each costs 1, 2, 4, ... seconds, so a sum tells its parts. */
static void announce(const llava_sink *sink, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        llava_error e;
        llava_tap tap = {.name = names[i]};
        hand.cpu += (double)(1u << i);
        hand.wall += 2 * (double)(1u << i);
        if (sink->wants(sink->self, names[i])) {
            assert_true(sink->take(sink->self, &tap, &e));
        }
    }
}

static void an_interval_belongs_to_the_name_that_ends_it(void **unused)
{
    (void)unused;
    static const char *const names[] = {
        "position_ids",                 /* 1: nobody's */
        "vision.patch_embed",           /* 2 */
        "vision.layers.0.norm1",        /* 4 */
        "vision.layers.0.attn.q",       /* 8 */
        "vision.layers.0.attn.scores",  /* 16: asked ahead */
        "vision.layers.0.attn.probs",   /* 32: asked ahead */
        "vision.layers.0.attn.context", /* 64 */
        "vision.layers.0.mlp.fc1",      /* 128 */
        "vision.features",              /* 256 */
        "projector.out",                /* 512, and the sink's 1000 */
        "text.embed",                   /* 1024 */
        "text.layers.0.attn.v",         /* 2048 */
        "text.layers.0.attn.k_rope",    /* 4096 */
        "text.layers.0.attn.scores",    /* 8192 */
        "text.layers.0.attn.context",   /* 16384 */
        "text.layers.0.mlp.act",        /* 32768 */
        "text.layers.0.mlp.out",        /* 65536 */
        "text.norm",                    /* 131072 */
        "step.1.position_ids",          /* 262144: the prefill's logits */
        "step.1.text.layers.0.attn.q",  /* 524288 */
        "step.1.logits",                /* 1048576 */
        "step.2.position_ids",          /* 2097152 */
        "step.2.logits",                /* 4194304 */
    };
    llava_stage_clock clock;
    llava_sink slow = {wants_projector, take_slowly, NULL};
    hand = (llava_instant){5, 7};
    llava_sink sink = llava_stage_clock_sink(&clock, look, &slow);
    announce(&sink, names, sizeof names / sizeof names[0]);
    hand.cpu += 8388608; /* the last token chosen */
    llava_stage_clock_end(&clock);
    const double expected[LLAVA_BENCH_STAGES] = {
        [LLAVA_BENCH_VISION] = 2 + 4 + 8 + 16 + 32 + 64 + 128 + 256,
        [LLAVA_BENCH_VISION_LINEAR] = 2 + 8 + 128,
        [LLAVA_BENCH_PROJECTOR] = 512,
        [LLAVA_BENCH_TEXT] = 1024 + 2048 + 4096 + 8192 + 16384 + 32768 + 65536 + 131072,
        [LLAVA_BENCH_TEXT_LINEAR] = 2048 + 65536,
        [LLAVA_BENCH_TEXT_ATTENTION] = 8192 + 16384,
        [LLAVA_BENCH_LOGITS] = 262144,
        [LLAVA_BENCH_DECODE] = 524288 + 1048576 + 2097152 + 4194304 + 8388608,
        [LLAVA_BENCH_DUMP] = 1000,
    };
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        assert_true(clock.spent[i].cpu == expected[i]);
        assert_int_equal(clock.ran[i], expected[i] > 0);
    }
    assert_true(clock.spent[LLAVA_BENCH_PROJECTOR].wall == 2 * 512);
    assert_true(clock.spent[LLAVA_BENCH_DUMP].wall == 3000);
    assert_int_equal(clock.steps, 2);
}

static void without_steps_the_end_belongs_to_the_logits(void **unused)
{
    (void)unused;
    static const char *const names[] = {"position_ids", "text.embed", "text.norm"};
    llava_stage_clock clock;
    hand = (llava_instant){0, 0};
    llava_sink sink = llava_stage_clock_sink(&clock, look, NULL);
    announce(&sink, names, 3);
    hand.cpu += 100;
    llava_stage_clock_end(&clock);
    assert_true(clock.spent[LLAVA_BENCH_LOGITS].cpu == 100);
    assert_false(clock.ran[LLAVA_BENCH_DECODE]);
    assert_false(clock.ran[LLAVA_BENCH_VISION]);
}

/* ---- how much work ------------------------------------------------------------------------------
 */

/* golden/generate by hand: counted from its configuration's numbers, not from its weights. */
static void the_work_is_what_the_sizes_say(void **unused)
{
    (void)unused;
    llava_request q = {.model = GENERATE "/model", .inputs = GENERATE "/inputs.npz"};
    llava_session s;
    llava_error e;
    llava_stage_work work[LLAVA_BENCH_STAGES];
    assert_true(llava_session_open(&s, &q, &e) && llava_session_weights(&s, &e));
    llava_stage_work_count(work, &s.plan, s.weights, &s.inputs, 3);
    const llava_vision_plan *v = &s.plan.vision;
    const llava_text_plan *t = &s.plan.text;
    llava_tower_shape of = llava_tower_shape_of(&s.plan, &s.inputs);
    size_t N = s.inputs.pictures, B = s.inputs.batch, S = s.inputs.length;
    size_t layer = of.rows * v->hidden * (4 * v->hidden + 2 * v->intermediate);
    size_t linear =
        N * (of.patches * v->hidden * 3 * v->patch * v->patch + v->layers_needed * layer);
    size_t square = N * 2 * of.rows * of.rows * v->hidden * v->layers_needed;
    assert_true(work[LLAVA_BENCH_VISION_LINEAR].flop == 2 * (double)linear);
    assert_true(work[LLAVA_BENCH_VISION].flop == 2 * (double)(linear + square));
    assert_true(work[LLAVA_BENCH_PROJECTOR].flop ==
                2 * (double)(N * of.feature_rows * (v->feature_width + t->hidden) * t->hidden));
    size_t q_width = t->heads * t->head_dim, kv_width = t->kv_heads * t->head_dim;
    size_t row = t->layers * t->hidden * (2 * q_width + 2 * kv_width + 3 * t->intermediate);
    /* the last layer: keys and values of all positions, the rest of the last one */
    size_t spared = (S - 1) * t->hidden * (2 * q_width + 3 * t->intermediate);
    assert_true(work[LLAVA_BENCH_TEXT_LINEAR].flop == 2 * (double)(B * (S * row - spared)));
    assert_true(work[LLAVA_BENCH_TEXT_ATTENTION].flop ==
                2 * (double)(B * 2 * S * (S * (t->layers - 1) + 1) * q_width));
    assert_true(work[LLAVA_BENCH_LOGITS].flop == 2 * (double)(B * t->vocab * t->hidden));
    /* three steps see S + 1, S + 2, S + 3 keys: S + 2 in the mean */
    assert_true(work[LLAVA_BENCH_DECODE].flop ==
                2 * (double)(B * (row + t->vocab * t->hidden + 2 * (S + 2) * q_width * t->layers)));
    assert_true(work[LLAVA_BENCH_LOGITS].bytes == 4 * (double)(t->vocab * t->hidden)); /* f32 */
    llava_session_close(&s);
}

/* ---- the command --------------------------------------------------------------------------------
 */

enum { WORDS = 24 };

/* Runs bench with standard output in the folder's file "table". */
static int bench(const support_folder *folder, const char *const *words, llava_error *e)
{
    char *copy[WORDS];
    int count = 0;
    for (; words[count] != NULL; count++) {
        assert_true(count < WORDS);
        copy[count] = (char *)(uintptr_t)words[count];
    }
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    e->text[0] = '\0';
    assert_non_null(freopen(support_path(folder, "table"), "w", stdout));
    int status = llava_command_bench.run(count, copy, e);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    return status;
}

static const char *const stage_names[LLAVA_BENCH_STAGES] = {
    "load",        "vision",         "vision.linear", "projector", "text.prefill",
    "text.linear", "text.attention", "logits",        "decode",    "dump",
};

static const cJSON *member(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_non_null(item);
    return item;
}

/* Stage i, which must have the contract's name and every key: numbers above 0 where it ran. */
static const cJSON *stage(const cJSON *json, size_t i, bool ran)
{
    static const char *const keys[] = {"seconds", "wall_seconds", "gflops", "of_peak", "gbps"};
    const cJSON *item = cJSON_GetArrayItem(member(json, "stages"), (int)i);
    assert_string_equal(member(item, "name")->valuestring, stage_names[i]);
    for (size_t k = 0; k < 5; k++) {
        const cJSON *value = member(item, keys[k]);
        bool counted = i != LLAVA_BENCH_LOAD && (i != LLAVA_BENCH_DUMP || k == 4);
        assert_true(ran && (k < 2 || counted) ? cJSON_IsNumber(value) && value->valuedouble > 0
                                              : cJSON_IsNull(value));
    }
    return item;
}

static cJSON *read_json(const support_folder *folder, const char *name)
{
    llava_error e;
    cJSON *json = llava_json_read(support_path(folder, name), &e);
    assert_non_null(json);
    assert_string_equal(member(json, "schema")->valuestring, "llava-ref.bench/1");
    return json;
}

static void lines_are_at_most(const support_folder *folder, size_t most)
{
    char line[512];
    FILE *file = fopen(support_path(folder, "table"), "r");
    size_t lines = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        assert_true(strcspn(line, "\n") <= most);
        lines++;
    }
    fclose(file);
    assert_true(lines > LLAVA_BENCH_STAGES);
}

/* Replaces the one occurrence of `from` in folder/json; the result is folder/changed. */
static void write_changed(const support_folder *folder, const char *from, const char *to)
{
    static char text[16384], changed[16384];
    FILE *file = fopen(support_path(folder, "json"), "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    support_write_text(folder, "changed", changed);
}

static void refuses_to_compare(const support_folder *folder, const char *from, const char *to,
                               const char *says)
{
    llava_error e;
    write_changed(folder, from, to);
    const char *const words[] = {"--model",    GENERATE "/model",
                                 "--inputs",   GENERATE "/inputs.npz",
                                 "--generate", "3",
                                 "--compare",  support_path(folder, "changed"),
                                 NULL};
    assert_int_equal(bench(folder, words, &e), LLAVA_CANNOT);
    support_says(&e, says);
}

static void a_generation_has_every_stage_and_compares_with_itself(void **unused)
{
    (void)unused;
    support_folder folder = support_folder_new();
    llava_error e;
    char path[512];
    snprintf(path, sizeof path, "%s", support_path(&folder, "json"));
    const char *const words[] = {"--model",    GENERATE "/model",
                                 "--inputs",   GENERATE "/inputs.npz",
                                 "--generate", "3",
                                 "--runs",     "2",
                                 "--json",     path,
                                 NULL};
    assert_int_equal(bench(&folder, words, &e), LLAVA_DONE);
    lines_are_at_most(&folder, 100);
    cJSON *json = read_json(&folder, "json");
    double seconds[LLAVA_BENCH_STAGES];
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        seconds[i] = member(stage(json, i, true), "seconds")->valuedouble;
    }
    /* parts of one run's whole; of two runs the least of each still is, because both runs obey */
    assert_true(seconds[LLAVA_BENCH_VISION_LINEAR] < seconds[LLAVA_BENCH_VISION]);
    assert_true(seconds[LLAVA_BENCH_TEXT_LINEAR] < seconds[LLAVA_BENCH_TEXT]);
    assert_true(seconds[LLAVA_BENCH_TEXT_ATTENTION] < seconds[LLAVA_BENCH_TEXT]);
    assert_int_equal(member(json, "threads")->valueint, 1);
    assert_string_equal(member(json, "dtype")->valuestring, "f64");
    assert_string_equal(member(json, "path")->valuestring, "plain");
    assert_true(member(member(json, "machine"), "peak_gflops")->valuedouble > 0);
    assert_true(member(member(json, "machine"), "read_gbps")->valuedouble > 0);
    cJSON_Delete(json);

    refuses_to_compare(&folder, "llava-ref.bench/1", "llava-ref.bench/0", "schema");
    refuses_to_compare(&folder, "\"machine\":{\"name\":\"", "\"machine\":{\"name\":\"Another, ",
                       "machine.name");
    refuses_to_compare(&folder, "\"machine\"", "\"engine\"", "machine.name");
    refuses_to_compare(&folder, "\"stages\"", "\"schema\"", "schema");
    refuses_to_compare(&folder, "}]}", "}]", "changed");
    refuses_to_compare(&folder, "\"generate\":3", "\"generate\":4", "generate: 4 there, 3 here");
    support_folder_remove(&folder);
}

/* What stands in a file of --compare, and what is said where it is no measurement of the same. */
static void an_earlier_file_is_read_key_by_key(void **unused)
{
    (void)unused;
#define HEAD "{\"schema\":\"llava-ref.bench/1\",\"dtype\":\"f64\","
    static const struct {
        const char *text, *says; /* says NULL: taken */
    } rows[] = {
        {HEAD "\"generate\":3,\"stages\":[{\"name\":\"decode\",\"seconds\":0.5},{\"name\":\"new\","
              "\"seconds\":1},{\"seconds\":2}]}",
         NULL},
        {HEAD "\"generate\":3,\"stages\":[{\"name\":\"decode\",\"seconds\":null}]}", NULL},
        {"[]", "earlier: not a measurement of llava-ref.bench/1"},
        {"{}", "schema: 'nothing' is not llava-ref.bench/1"},
        {"{\"schema\":1}", "schema"},
        {"{\"schema\":\"llava-ref.bench/1\"}", "dtype: 'nothing' there, 'f64' here"},
        {"{\"schema\":\"llava-ref.bench/1\",\"dtype\":[]}", "dtype"},
        {HEAD "\"generate\":4,\"stages\":[]}", "generate: 4 there, 3 here: not comparable"},
        {HEAD "\"generate\":-1,\"stages\":[]}", "generate"},
        {HEAD "\"generate\":3,\"stages\":{}}", "stages"},
        {HEAD "\"generate\":3,\"stages\":[7]}", "stages: an element is no object"},
        {HEAD "\"generate\":3,\"stages\":[{\"name\":7}]}", "name"},
        {HEAD "\"generate\":3,\"stages\":[{\"name\":\"decode\",\"seconds\":\"1\"}]}", "seconds"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        support_folder folder = support_folder_new();
        llava_bench_earlier earlier;
        double seconds[LLAVA_BENCH_STAGES];
        llava_error e;
        support_write_text(&folder, "earlier", rows[i].text);
        bool ok = llava_bench_earlier_open(&earlier, support_path(&folder, "earlier"), &e) &&
                  llava_bench_earlier_same(&earlier, "dtype", "f64", &e) &&
                  llava_bench_earlier_seconds(&earlier, 3, seconds, &e);
        assert_int_equal(ok, rows[i].says == NULL);
        if (ok) {
            assert_true(seconds[LLAVA_BENCH_DECODE] == (i == 0 ? 0.5 : 0));
            assert_true(seconds[LLAVA_BENCH_LOAD] == 0);
        } else {
            support_says(&e, rows[i].says);
        }
        llava_bench_earlier_close(&earlier);
        support_folder_remove(&folder);
    }
}

/* ---- the machine --------------------------------------------------------------------------------
 */

static FILE *text_file(const char *text)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    rewind(file);
    return file;
}

static void a_processor_is_named_by_what_is_known_of_it(void **unused)
{
    (void)unused;
    static const char *const rows[][2] = {
        {"processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n"
         "flags\t:\n\nprocessor\t: 1\nmodel name\t: Another\n",
         "AMD EPYC, cpu family 25, model 17, stepping 1"},
        {"processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n",
         "processor without a name, CPU implementer 0x41, CPU part 0xd0c"},
        {"", "processor without a name"},
    };
    char text[160];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        FILE *file = text_file(rows[i][0]);
        llava_machine_name(file, text, sizeof text);
        fclose(file);
        assert_string_equal(text, rows[i][1]);
    }
    llava_machine_name(NULL, text, sizeof text);
    assert_string_equal(text, "processor without a name");
}

static void the_memory_is_read_from_beyond_the_caches(void **unused)
{
    (void)unused;
    const size_t mib = (size_t)1 << 20;
    static const struct {
        const char *sysfs;
        long told;
        size_t mib;
    } rows[] = {
        {"98304K\n", 320L << 20, 192}, /* Linux' word before sysconf's */
        {"8192K\n", 0, 64},
        {"much\n", 48L << 20, 96},
        {"0K\n", -1, 256},
        {"4194304K\n", 1L << 30, 256}, /* no cache is so large */
        {"", 0, 256},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        FILE *file = text_file(rows[i].sysfs);
        assert_int_equal(llava_machine_read_size(file, rows[i].told), rows[i].mib * mib);
        fclose(file);
    }
    assert_int_equal(llava_machine_read_size(NULL, 40L << 20), 80 * mib);
}

/* A run that gives ratios, and the refusals that need the model to be looked at. */
static void ratios_need_the_same_measurement(void **unused)
{
    (void)unused;
    support_folder folder = support_folder_new();
    llava_error e;
    char first[512], second[512];
    snprintf(first, sizeof first, "%s", support_path(&folder, "json"));
    snprintf(second, sizeof second, "%s", support_path(&folder, "second"));
    const char *words[] = {"--model", TEXT "/model", "--inputs", TEXT "/inputs.npz",
                           "--runs",  "1",           "--json",   first,
                           NULL,      NULL,          NULL};
    assert_int_equal(bench(&folder, words, &e), LLAVA_DONE);
    cJSON *json = read_json(&folder, "json");
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        bool ran = i != LLAVA_BENCH_VISION && i != LLAVA_BENCH_VISION_LINEAR &&
                   i != LLAVA_BENCH_PROJECTOR && i != LLAVA_BENCH_DECODE;
        stage(json, i, ran);
    }
    cJSON_Delete(json);

    words[7] = second, words[8] = "--compare", words[9] = first;
    assert_int_equal(bench(&folder, words, &e), LLAVA_DONE);
    lines_are_at_most(&folder, 100);
    json = read_json(&folder, "second");
    assert_true(cJSON_IsNumber(member(stage(json, LLAVA_BENCH_TEXT, true), "ratio")));
    assert_true(cJSON_IsNull(member(stage(json, LLAVA_BENCH_VISION, false), "ratio")));
    cJSON_Delete(json);

    words[5] = "1", words[6] = "--dtype", words[7] = "f32";
    assert_int_equal(bench(&folder, words, &e), LLAVA_CANNOT);
    support_says(&e, "dtype: 'f64' there, 'f32' here: not comparable");
    words[1] = GENERATE "/model", words[3] = GENERATE "/inputs.npz", words[7] = "f64";
    assert_int_equal(bench(&folder, words, &e), LLAVA_CANNOT);
    support_says(&e, "inputs: '");
    words[1] = "golden/siglip/model", words[3] = "golden/siglip/inputs.npz";
    assert_int_equal(bench(&folder, words, &e), LLAVA_CANNOT);
    support_says(&e, "model: '");
    support_folder_remove(&folder);
}

/* The fast path names itself, marks every stage, and is not compared with the plain one. */
static void the_fast_path_has_every_stage_and_its_own_peak(void **unused)
{
    (void)unused;
    support_folder folder = support_folder_new();
    llava_error e;
    char path[512];
    snprintf(path, sizeof path, "%s", support_path(&folder, "json"));
    const char *words[] = {"--model",    GENERATE "/model",
                           "--inputs",   GENERATE "/inputs.npz",
                           "--path",     "fast",
                           "--dtype",    "bf16",
                           "--runs",     "1",
                           "--json",     path,
                           "--generate", "3",
                           NULL};
    assert_int_equal(bench(&folder, words, &e), LLAVA_DONE);
    cJSON *json = read_json(&folder, "json");
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        stage(json, i, true);
    }
    assert_string_equal(member(json, "path")->valuestring, "fast");
    const char *of = member(member(json, "machine"), "peak_of")->valuestring;
    assert_true(strstr(of, "float32") != NULL);
    cJSON_Delete(json);
    words[5] = "plain", words[10] = "--compare";
    assert_int_equal(bench(&folder, words, &e), LLAVA_CANNOT);
    support_says(&e, "path: 'fast' there, 'plain' here: not comparable");
    support_folder_remove(&folder);
}

static void what_cannot_be_measured_is_refused(void **unused)
{
    (void)unused;
    support_folder folder = support_folder_new();
    llava_error e;
    const char *const fast[] = {"--model",          TEXT "/model", "--inputs",
                                TEXT "/inputs.npz", "--path",      "fast",
                                "--dtype",          "f64",         NULL};
    assert_int_equal(bench(&folder, fast, &e), LLAVA_CANNOT);
    support_says(&e, "--path fast: --dtype f64");
    const char *const none[] = {"--inputs", TEXT "/inputs.npz", "--runs", "0", NULL};
    assert_int_equal(bench(&folder, none, &e), LLAVA_CANNOT);
    support_says(&e, "--runs 0");
    const char *const absent[] = {"--model",   TEXT "/model",
                                  "--inputs",  TEXT "/inputs.npz",
                                  "--compare", support_path(&folder, "absent"),
                                  NULL};
    assert_int_equal(bench(&folder, absent, &e), LLAVA_CANNOT);
    support_says(&e, "absent");
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interval_belongs_to_the_name_that_ends_it),
        cmocka_unit_test(without_steps_the_end_belongs_to_the_logits),
        cmocka_unit_test(the_work_is_what_the_sizes_say),
        cmocka_unit_test(a_generation_has_every_stage_and_compares_with_itself),
        cmocka_unit_test(an_earlier_file_is_read_key_by_key),
        cmocka_unit_test(a_processor_is_named_by_what_is_known_of_it),
        cmocka_unit_test(the_memory_is_read_from_beyond_the_caches),
        cmocka_unit_test(ratios_need_the_same_measurement),
        cmocka_unit_test(the_fast_path_has_every_stage_and_its_own_peak),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
    };
    return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
