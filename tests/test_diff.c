/* llava-ref diff: the verdicts at their edges, what cannot be judged, and its three outputs. Dumps
 * are written by hand, with errors that are known exactly. */
#include "ref/file.h"
#include "ref/json.h"
#include "tests/memory.h"
#include "tests/program.h"
#include "tools/command.h"
#include "tools/dump_writer.h"
#include "tools/diff.h"
#include "tools/effects.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- running it in this process
 * ------------------------------------------------------------------ */

typedef struct {
    support_folder folder;
    int status;
    llava_error error;
    char table[1 << 16];
    cJSON *json; /* NULL where it was not asked for or not written */
} outcome;

static outcome *open_outcome(void)
{
    outcome *o = calloc(1, sizeof *o);
    assert_non_null(o);
    o->folder = support_folder_new();
    return o;
}

static void close_outcome(outcome *o)
{
    support_folder_remove(&o->folder);
    cJSON_Delete(o->json);
    free(o);
}

static size_t read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    size_t n = file == NULL ? 0 : fread(text, 1, size - 1, file);
    text[n] = '\0';
    if (file != NULL) {
        fclose(file);
    }
    return n;
}

/* Runs diff with these words ("a.npz b.npz --peer c.npz"); names of .npz and .json files are of
 * the outcome's folder unless they begin with golden/. */
static void run_diff(outcome *o, const char *words)
{
    char text[1024], paths[16][512], *argv[18];
    int argc = 0;
    snprintf(text, sizeof text, "%s", words);
    for (char *w = strtok(text, " "); w != NULL; w = strtok(NULL, " ")) {
        bool local = (strstr(w, ".npz") != NULL || strstr(w, ".json") != NULL) &&
                     strncmp(w, "golden/", 7) != 0;
        snprintf(paths[argc], sizeof paths[0], "%s", local ? support_path(&o->folder, w) : w);
        argv[argc] = paths[argc];
        argc++;
    }
    static char json[] = "--json";
    char json_path[512];
    snprintf(json_path, sizeof json_path, "%s", support_path(&o->folder, "out.json"));
    unlink(json_path);
    argv[argc++] = json;
    argv[argc++] = json_path;
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(support_path(&o->folder, "table"), "w", stdout));
    o->error.text[0] = '\0';
    o->status = llava_command_diff.run(argc, argv, &o->error);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    read_text(support_path(&o->folder, "table"), o->table, sizeof o->table);
    static char json_text[1 << 20];
    size_t n = read_text(json_path, json_text, sizeof json_text);
    cJSON_Delete(o->json);
    o->json = n == 0 ? NULL : llava_json_parse(json_path, json_text, n, &o->error);
    assert_true(n == 0 || o->json != NULL); /* strict: no bare NaN passes this parser */
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "(none)";
}

static const cJSON *tensor(const outcome *o, const char *name)
{
    const cJSON *t;
    cJSON_ArrayForEach(t, cJSON_GetObjectItemCaseSensitive(o->json, "tensors"))
    {
        if (strcmp(text_of(t, "name"), name) == 0) {
            return t;
        }
    }
    fail_msg("no tensor %s in the JSON", name);
    return NULL;
}

static void expect(const outcome *o, const char *verdict, int status)
{
    if (o->status != status || strcmp(text_of(o->json, "verdict"), verdict) != 0) {
        fail_msg("%s, exit status %d, where %s, %d is expected: %s\n%s",
                 text_of(o->json, "verdict"), o->status, verdict, status, o->error.text, o->table);
    }
}

/* ---- verdicts
 * -------------------------------------------------------------------------------------- */

/* EXPECTED is one row 1 0 0 0 in float64, PEER is off by 0.25 in its last element: the errors are
 * exact, so are the ratios. ACTUAL is off in one element or in two. */
static void test_ratios_to_a_peer_at_their_edges(void **state)
{
    static const struct {
        const char *actual;
        const char *verdict;
        int status;
    } rows[] = {
        {"1 0 0 0.25", "pass", 0},      {"1 0 0 0.4999999", "pass", 0}, {"1 0 0 0.5", "warn", 0},
        {"1 0 0 0.9999999", "warn", 0}, {"1 0 0 1", "differ", 1},       {"1 0 0 0", "pass", 0},
        {"1 0 0 nan", "differ", 1},     {"1 0 0 inf", "differ", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome *o = open_outcome();
        char text[256];
        program_write_inputs(&o->folder, "e.npz", "vision.embed <f8 [1,1,4] 1 0 0 0");
        program_write_inputs(&o->folder, "p.npz", "vision.embed <f8 [1,1,4] 1 0 0 0.25");
        snprintf(text, sizeof text, "vision.embed <f8 [1,1,4] %s", rows[i].actual);
        program_write_inputs(&o->folder, "a.npz", text);
        run_diff(o, "e.npz a.npz --peer p.npz");
        expect(o, rows[i].verdict, rows[i].status);
        close_outcome(o);
    }
}

/* The same in max: two rows, the peer's error spread over both so that L2 stays below its limits.
 */
static void test_ratios_in_max_at_their_edges(void **state)
{
    static const struct {
        const char *actual;
        const char *verdict;
    } rows[] = {
        /* peer: each of 64 elements off by 1, L2 8; ACTUAL: one element off */
        {"1003.9*1 1000*63", "pass"},
        {"1004*1 1000*63", "warn"},
        {"1007.9*1 1000*63", "warn"},
        {"1008*1 1000*63", "differ"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome *o = open_outcome();
        char text[256];
        program_write_inputs(&o->folder, "e.npz", "vision.embed <f8 [1,1,64] 1000*64");
        program_write_inputs(&o->folder, "p.npz", "vision.embed <f8 [1,1,64] 1001*64");
        snprintf(text, sizeof text, "vision.embed <f8 [1,1,64] %s", rows[i].actual);
        program_write_inputs(&o->folder, "a.npz", text);
        run_diff(o, "e.npz a.npz --peer p.npz");
        expect(o, rows[i].verdict, strcmp(rows[i].verdict, "differ") == 0);
        close_outcome(o);
    }
}

/* A peer without error gives no ratio: the bound decides. */
static void test_a_peer_without_error_leaves_it_to_the_bound(void **state)
{
    (void)state;
    outcome *o = open_outcome();
    program_write_inputs(&o->folder, "e.npz", "vision.embed <f8 [1,1,4] 0.3 0.1 0.7 0.9");
    program_write_inputs(&o->folder, "a.npz",
                         "vision.embed <f8 [1,1,4] 0.3 0.1 0.7 0.9000000000000001");
    run_diff(o, "e.npz a.npz --peer e.npz");
    expect(o, "pass", 0);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(tensor(o, "vision.embed"), "ratio")));
    program_write_inputs(&o->folder, "b.npz", "vision.embed <f8 [1,1,4] 0.3 0.1 0.7 0.90001");
    run_diff(o, "e.npz b.npz --peer e.npz");
    expect(o, "differ", 1);
    close_outcome(o);
}

static void test_cannot_judge(void **state)
{
    static const struct {
        const char *what, *expected, *actual, *peer, *words, *verdict;
        int status;
    } rows[] = {
        {"nothing in common", "vision.embed <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", NULL, "",
         "cannot-judge", 2},
        {"only empty tensors", "vision.embed <f8 [0,1,2]", "vision.embed <f8 [0,1,2]", NULL, "",
         "cannot-judge", 2},
        {"--require of what is missing", "vision.embed <f8 [1,1,2] 1 2; logits <f8 [1,1,2] 1 2",
         "logits <f8 [1,1,2] 1 2", NULL, "--require vision.*", "cannot-judge", 2},
        {"--require that matches nothing", "logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", NULL,
         "--require vision.*", "cannot-judge", 2},
        {"--taps that match nothing", "logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", NULL,
         "--taps logits,vision.*", "cannot-judge", 2},
        {"differ beats cannot-judge", "logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 3", NULL,
         "--require vision.*", "differ", 1},
        {"NaN in the peer", "logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2",
         "logits <f8 [1,1,2] 1 nan", "--peer p.npz", "cannot-judge", 2},
        {"another shape in the peer", "logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2",
         "logits <f8 [1,1,3] 1 2 3", "--peer p.npz", "cannot-judge", 2},
        {"NaN in the peer, twice", "vision.embed <f8 [1,1,1] 1; logits <f8 [1,1,2] 1 2",
         "vision.embed <f8 [1,1,1] 1; logits <f8 [1,1,2] 1 2",
         "vision.embed <f8 [1,1,1] nan; logits <f8 [1,1,2] 1 nan", "--peer p.npz", "cannot-judge",
         2},
        {"no answer in ACTUAL", "generated_ids <i8 [1,1] 0; logits <f8 [1,1,2] 1 2",
         "logits <f8 [1,1,2] 1 2", NULL, "", "pass", 0},
        {"a step of nothing", "step.1.logits <f8 [0,1,2]; logits <f8 [1,1,2] 1 2",
         "step.1.logits <f8 [0,1,2]; logits <f8 [1,1,2] 1 2", NULL, "", "pass", 0},
        {"a peer's step before any token of its own",
         "generated_ids <i8 [1,2] 0 1; step.1.logits <f8 [1,1,2] 1 2",
         "generated_ids <i8 [1,2] 0 1; step.1.logits <f8 [1,1,2] 1 2.5",
         "generated_ids <i8 [1,2] 0 1; step.1.logits <f8 [1,1,2] 1 2.5", "--peer p.npz", "pass", 0},
        {"missing alone is no fault", "vision.embed <f8 [1,1,2] 1 2; logits <f8 [1,1,2] 1 2",
         "logits <f8 [1,1,2] 1 2", NULL, "", "pass", 0},
        {"another shape", "logits <f8 [1,1,2] 1 2", "logits <f8 [1,2,1] 1 2", NULL, "", "differ",
         1},
        {"ids are exact", "input_ids <i8 [1,3] 1 2 3", "input_ids <i8 [1,3] 1 2 4", NULL, "",
         "differ", 1},
        {"equal ids", "input_ids <i8 [1,3] 1 2 3", "input_ids <i4 [1,3] 1 2 3", NULL, "", "pass",
         0},
        {"ids that are stored as floats", "input_ids <f8 [1,3] 1 2 300",
         "input_ids <f4 [1,3] 1 2 301", NULL, "", "differ", 1},
        {"a picture that is stored as floats", "image.rgb <f4 [1,1,3] 1 2 201",
         "image.rgb |u1 [1,1,3] 1 2 200", NULL, "", "differ", 1},
        {"numbers that fit every type are no excuse", "logits <f8 [1,1,2] 1 2",
         "logits <f8 [1,1,2] 1 2.0001", NULL, "", "differ", 1},
        {"rows of padding", "attention_mask <i8 [1,2] 0 1; text.norm <f8 [1,2,2] nan 1 2 3",
         "text.norm <f8 [1,2,2] 7 8 2 3", NULL, "", "pass", 0},
        {"ACTUAL's mask where EXPECTED has none", "text.norm <f8 [1,2,2] nan 1 2 3",
         "attention_mask <i8 [1,2] 0 1; text.norm <f8 [1,2,2] 7 8 2 3", NULL, "", "pass", 0},
        {"ACTUAL's mask of four dimensions", "text.norm <f8 [1,2,2] nan 1 2 3",
         "attention_mask <i8 [1,1,2,2] 0 0 1 1; text.norm <f8 [1,2,2] 7 8 2 3", NULL, "", "pass",
         0},
        {"the same as floats, which are added", "text.norm <f8 [1,2,2] nan 1 2 3",
         "attention_mask <f8 [1,1,2,2] -inf*2 0 0; text.norm <f8 [1,2,2] 7 8 2 3", NULL, "", "pass",
         0},
        {"EXPECTED's mask as floats",
         "attention_mask <f8 [1,1,2,2] -inf*2 0 0; text.norm <f8 [1,2,2] nan 1 2 3",
         "text.norm <f8 [1,2,2] 7 8 2 3", NULL, "", "pass", 0},
        {"masks that are no masks: then everything counts, here of no sample",
         "attention_mask <i8 [0,1,2,2]; text.norm <f8 [1,1,2] 1 2", "text.norm <f8 [1,1,2] 1 nan",
         NULL, "", "differ", 1},
        {"of two heads", "attention_mask <i8 [1,2,1,1] 0 0; text.norm <f8 [1,1,2] 1 2",
         "text.norm <f8 [1,1,2] 1 nan", NULL, "", "differ", 1},
        {"of no query", "attention_mask <i8 [1,1,0,0]; text.norm <f8 [1,1,2] 1 2",
         "text.norm <f8 [1,1,2] 1 nan", NULL, "", "differ", 1},
        {"of another length of keys", "attention_mask <i8 [1,1,1,2] 0 0; text.norm <f8 [1,1,2] 1 2",
         "text.norm <f8 [1,1,2] 1 nan", NULL, "", "differ", 1},
        {"EXPECTED's of three dimensions",
         "attention_mask <i8 [1,1,1] 0; text.norm <f8 [1,1,2] 1 2", "text.norm <f8 [1,1,2] 1 nan",
         NULL, "", "differ", 1},
        {"ACTUAL's of three dimensions", "text.norm <f8 [1,1,2] 1 2",
         "attention_mask <i8 [1,1,1] 0; text.norm <f8 [1,1,2] 1 nan", NULL, "", "differ", 1},
        {"NaN on both sides", "logits <f8 [1,1,2] nan 1", "logits <f8 [1,1,2] nan 1", NULL, "",
         "differ", 1},
        {"a name that no tap has", "mine <f8 [1,1,2] 1 2", "mine <f8 [1,1,2] 1 2", NULL, "",
         "cannot-judge", 2},
        {"several of them", "mine <f8 [1,1,2] 1 2; his <f8 [1] 1; hers <f8 [1] 1",
         "mine <f8 [1,1,2] 1 2", NULL, "", "cannot-judge", 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome *o = open_outcome();
        char words[256];
        program_write_inputs(&o->folder, "e.npz", rows[i].expected);
        program_write_inputs(&o->folder, "a.npz", rows[i].actual);
        if (rows[i].peer != NULL) {
            program_write_inputs(&o->folder, "p.npz", rows[i].peer);
        }
        snprintf(words, sizeof words, "e.npz a.npz %s", rows[i].words);
        run_diff(o, words);
        if (o->status != rows[i].status ||
            strcmp(text_of(o->json, "verdict"), rows[i].verdict) != 0) {
            fail_msg("%s: %s, exit status %d: %s\n%s", rows[i].what, text_of(o->json, "verdict"),
                     o->status, o->error.text, o->table);
        }
        assert_true((o->status == 2) == (o->error.text[0] != '\0'));
        close_outcome(o);
    }
}

/* What is no pair of dumps, or cannot be read: refused before anything is printed or written. */
static void test_refusals(void **state)
{
    static const struct {
        const char *expected, *actual, *words, *says;
    } rows[] = {
        {"logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", "e.npz", "two dumps are needed"},
        {"logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", "e.npz a.npz --profile original",
         "--profile and --vision-tower go with --model"},
        {"logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", "e.npz a.npz --vision-tower tower",
         "--profile and --vision-tower go with --model"},
        {"logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", "e.npz a.npz --require ,",
         "empty pattern"},
        {"logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", "e.npz a.npz --taps ,",
         "empty pattern"},
        {"logits <f8 [1,1,2] 1 2", "logits <f8 [1,1,2] 1 2", "e.npz a.npz --nope", "--nope"},
        {"text.norm <f8 [1,1,2] 1 2",
         "attention_mask <i8 [1,1,1,1] 9007199254740994; text.norm <f8 [1,1,2] 1 2", "e.npz a.npz",
         "a.npz: attention_mask: an integer that is too large"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome *o = open_outcome();
        program_write_inputs(&o->folder, "e.npz", rows[i].expected);
        program_write_inputs(&o->folder, "a.npz", rows[i].actual);
        run_diff(o, rows[i].words);
        assert_int_equal(o->status, 2);
        support_says(&o->error, rows[i].says);
        assert_true(o->json == NULL && o->table[0] == '\0');
        close_outcome(o);
    }
    outcome *o = open_outcome(); /* damage that nothing but the comparison reads */
    program_write_inputs(&o->folder, "e.npz", "input_ids |i1 [1,8] 70*8");
    program_write_inputs(&o->folder, "a.npz", "input_ids |i1 [1,8] 70*8");
    program_edit(&o->folder, "a.npz", "FFFFFFFF", "FFFGFFFF");
    run_diff(o, "e.npz a.npz");
    assert_int_equal(o->status, 2);
    support_says(&o->error, "a.npz: input_ids.npy: the CRC is wrong");
    close_outcome(o);
}

/* EXPECTED may be a safetensors file, whose BF16 has no counterpart in NumPy. */
static void test_expected_in_bfloat16(void **state)
{
    (void)state;
    outcome *o = open_outcome();
    support_write_safetensors(
        &o->folder, "e.npz",
        "{\"logits\":{\"dtype\":\"BF16\",\"shape\":[1,1,2],\"data_offsets\":[0,4]}}", 4);
    run_diff(o, "e.npz e.npz");
    expect(o, "pass", 0);
    close_outcome(o);
}

/* Rows that a port never computed are not held against it, be they of logits or of an answer. */
static void test_rows_that_are_not_given(void **state)
{
    static const struct {
        const char *what, *expected, *actual, *map, *verdict;
        int status;
    } rows[] = {
        {"the last row of two", "input_ids <i8 [1,2] 5 6; logits <f8 [1,2,2] 1 2 3 4",
         "out <f8 [1,1,2] 3 4", "{\"out\": {\"tap\": \"logits\", \"rows\": \"last\"}}", "pass", 0},
        {"and that one is wrong", "input_ids <i8 [1,2] 5 6; logits <f8 [1,2,2] 1 2 3 4",
         "out <f8 [1,1,2] 3 5", "{\"out\": {\"tap\": \"logits\", \"rows\": \"last\"}}", "differ",
         1},
        {"a near tie by logits that ACTUAL has a part of",
         "input_ids <i8 [1,2] 5 6; generated_ids <i8 [1,1] 0; "
         "logits <f8 [1,2,4] 0 0 0 9 2 1.9999995 0 0",
         "ids <i8 [1,1] 1; out <f4 [1,1,4] 1.9999995 2 0 0",
         "{\"out\": {\"tap\": \"logits\", \"rows\": \"last\"}, \"ids\": {\"tap\": "
         "\"generated_ids\"}}",
         "warn", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome *o = open_outcome();
        program_write_inputs(&o->folder, "e.npz", rows[i].expected);
        program_write_inputs(&o->folder, "a.npz", rows[i].actual);
        support_write_text(&o->folder, "map.json", rows[i].map);
        run_diff(o, "e.npz a.npz --map map.json");
        expect(o, rows[i].verdict, rows[i].status);
        close_outcome(o);
    }
}

/* One float64 tensor rounded to float16 in the middle of a float64 port is a difference. */
static void test_one_narrow_tensor_is_no_excuse_for_itself(void **state)
{
    (void)state;
    outcome *o = open_outcome();
    program_write_inputs(&o->folder, "e.npz",
                         "vision.embed <f8 [1,1,2] 0.1 0.2; vision.pre_norm <f8 [1,1,2] 0.3 0.7; "
                         "logits <f8 [1,1,2] 0.1 0.2");
    program_write_inputs(&o->folder, "a.npz",
                         "vision.embed <f8 [1,1,2] 0.1 0.2; vision.pre_norm <f2 [1,1,2] 0.3 0.7; "
                         "logits <f8 [1,1,2] 0.1 0.2");
    run_diff(o, "e.npz a.npz");
    expect(o, "differ", 1);
    assert_string_equal(text_of(o->json, "first_divergence"), "vision.pre_norm");
    close_outcome(o);
}

/* ---- goldens
 * --------------------------------------------------------------------------------------- */

static void test_honest_goldens_pass(void **state)
{
    static const char *const dumps[] = {"hf", "f32", "bf16", "f16"};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        outcome *o = open_outcome();
        char words[256];
        snprintf(words, sizeof words, "golden/plain/true.npz golden/plain/%s.npz", dumps[i]);
        run_diff(o, words);
        expect(o, "pass", 0);
        snprintf(words, sizeof words,
                 "golden/plain/true.npz golden/plain/%s.npz --model golden/plain/model", dumps[i]);
        run_diff(o, words);
        expect(o, "pass", 0);
        close_outcome(o);
    }
}

/* bfloat16 measured against float16's error is far off: a bound that lets it through is none. */
static void test_a_coarser_type_than_the_peers_differs(void **state)
{
    (void)state;
    outcome *o = open_outcome();
    run_diff(o, "golden/plain/true.npz golden/plain/bf16.npz --peer golden/plain/f16.npz");
    expect(o, "differ", 1);
    assert_string_equal(text_of(o->json, "first_divergence"), "vision.patch_embed");
    close_outcome(o);
}

/* A dump of one tensor with this text as its __meta__ (NULL: none). */
static void write_meta(const outcome *o, const char *name, const char *json)
{
    char bytes[1024] = "", text[1200];
    for (size_t i = 0; json != NULL && json[i] != '\0'; i++) {
        snprintf(bytes + strlen(bytes), sizeof bytes - strlen(bytes), " %d", json[i]);
    }
    snprintf(text, sizeof text, "logits <f8 [1,1,2] 1 2");
    if (json != NULL) {
        snprintf(text, sizeof text, "__meta__ |u1 [%zu]%s; logits <f8 [1,1,2] 1 2", strlen(json),
                 bytes);
    }
    program_write_inputs(&o->folder, name, text);
}

static void test_descriptions_that_do_not_fit(void **state)
{
    static const struct {
        const char *expected, *actual;
        int status;
        const char *says;
    } rows[] = {
        {"{\"inputs\":\"aa\",\"model\":\"cc\"}", "{\"inputs\":\"bb\",\"model\":\"dd\"}", 2,
         "other inputs"},
        {"{\"inputs\":\"aa\",\"model\":\"cc\"}", "{\"inputs\":\"aa\",\"model\":\"dd\"}", 0, ""},
        {"{\"inputs\":\"aa\",\"model\":\"cc\"}", NULL, 0, ""}, /* it does not say */
        {"{\"image_sizes\":[[4,4]],\"patch_size\":2}", NULL, 0, ""},
        {"{\"image_sizes\":7}", NULL, 2, "e.npz: image_sizes: must be an array"},
        {NULL, "{\"image_sizes\":[[4]],\"patch_size\":2}", 2,
         "a.npz: __meta__: image_sizes: not pairs"},
        {"{\"image_sizes\":[[99999,99999]],\"patch_size\":2}", NULL, 2,
         "more than 4194304 patches"},
        {"{\"image_sizes\":[[4000,4000],[4000,4000]],\"patch_size\":2}", NULL, 2,
         "more than 4194304 patches"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome *o = open_outcome();
        write_meta(o, "e.npz", rows[i].expected);
        write_meta(o, "a.npz", rows[i].actual);
        run_diff(o, "e.npz a.npz");
        assert_int_equal(o->status, rows[i].status);
        support_says(&o->error, rows[i].says);
        close_outcome(o);
    }
}

/* ---- with a model
 * ---------------------------------------------------------------------------------- */

/* Writes a dump whose __meta__ is this JSON. */
static void write_with_meta(outcome *o, const char *name, const char *meta, const char *members)
{
    char bytes[1024] = "", text[4096];
    for (size_t i = 0; meta[i] != '\0'; i++) {
        snprintf(bytes + strlen(bytes), sizeof bytes - strlen(bytes), " %d", meta[i]);
    }
    snprintf(text, sizeof text, "__meta__ |u1 [%zu]%s; %s", strlen(meta), bytes, members);
    program_write_inputs(&o->folder, name, text);
}

static void cannot_replay(const outcome *o, const char *model, const char *says)
{
    llava_request q = {.model = model};
    llava_honest *honest;
    llava_error e;
    if (llava_honest_open(&honest, &q, support_path(&o->folder, "e.npz"), LLAVA_F32, &e)) {
        fail_msg("replayed, not refused for: %s", says);
    }
    assert_null(honest);
    support_says(&e, says);
}

/* EXPECTED must hold what the model needs to replay it. */
static void test_a_dump_that_cannot_be_replayed_is_refused(void **state)
{
    (void)state;
#define IDS "input_ids <i8 [1,3] 1 2 3; "
    static const struct {
        const char *members, *says;
    } rows[] = {
        {"text.norm <f8 [1,1,2] 1 2", "no input_ids in it, which --model needs"},
        {"input_ids <f4 [1,3] 1 2 3", "no input_ids in it"},
        {"input_ids <i8 [3] 1 2 3", "no input_ids in it"},
        {"input_ids <i8 [1,3] 1 57 3", "image tokens, but no pixel_values in it"},
        {"input_ids <i8 [1,3] 1 57 3; pixel_values <i8 [1,3,12,12] 1*432",
         "image tokens, but no pixel_values in it"},
        {"input_ids <i8 [1,3] 1 57 3; pixel_values <f8 [3,12,12] 1*432",
         "image tokens, but no pixel_values in it"},
        {"input_ids <i8 [1,11] 1 57*9 3; pixel_values <f8 [1,1,12,12] 0*144",
         "pixel_values: its shape is not [N, 3, H, W]"},
        {"input_ids <i8 [1,11] 1 57*9 3; pixel_values <f8 [1,4,12,12] 0*576",
         "pixel_values: its shape is not [N, 3, H, W]"},
        {IDS "attention_mask <i8 [1,4] 1*4", "attention_mask: its shape is not input_ids'"},
        {IDS "position_ids <i8 [2,3] 0*6", "position_ids: its shape is not input_ids'"},
        {IDS "attention_mask <i8 [2,1,3,3] 1*18", "its shape does not go with input_ids'"},
        {IDS "attention_mask <i8 [1,2,3,3] 1*18", "its shape does not go with input_ids'"},
        {IDS "attention_mask <i8 [1,1,4,3] 1*12", "its shape does not go with input_ids'"},
        {IDS "attention_mask <i8 [1,1,3,4] 1*12", "its shape does not go with input_ids'"},
        {IDS "attention_mask <i8 [1,1,3,3] 1*8 2", "is neither 0 nor 1"},
        {"input_ids <i8 [1,3] 1 2 99", "input_ids"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome *o = open_outcome();
        program_write_inputs(&o->folder, "e.npz", rows[i].members);
        cannot_replay(o, "golden/plain/model", rows[i].says);
        close_outcome(o);
    }
    /* Pixtral's pictures have sizes */
    static const char *const metas[][2] = {
        {"{\"image_sizes\":[[8,8],[8,8]],\"patch_size\":4}", "2 pictures, but pixel_values has 1"},
        {"{\"image_sizes\":[8],\"patch_size\":4}", "image_sizes: not pairs of numbers"},
    };
    for (size_t i = 0; i < 2; i++) {
        outcome *o = open_outcome();
        write_with_meta(o, "e.npz", metas[i][0],
                        "input_ids <i8 [1,6] 1 57*4 3; pixel_values <f8 [1,3,8,8] 0*192");
        cannot_replay(o, "golden/pixtral/model", metas[i][1]);
        close_outcome(o);
    }
}

/* The bound is what an honest port of these very inputs makes: pictures of several sizes, masks of
 * four dimensions, logits of the last rows alone. */
static void test_honest_dumps_of_all_kinds_of_inputs_pass_with_their_model(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"pixtral", "pixtral"}, {"mask-packed", "plain"}, {"mask-added", "plain"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome *o = open_outcome();
        char words[256];
        snprintf(words, sizeof words, "golden/%s/true.npz golden/%s/hf.npz --model golden/%s/model",
                 rows[i][0], rows[i][0], rows[i][1]);
        run_diff(o, words);
        expect(o, "pass", 0);
        assert_true(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(o->json, "effects")) > 5);
        close_outcome(o);
    }
}

/* ---- outputs
 * --------------------------------------------------------------------------------------- */

static void test_first_divergence_in_the_order_of_the_flow(void **state)
{
    (void)state;
    outcome *o = open_outcome();
    program_write_inputs(&o->folder, "e.npz",
                         "logits <f8 [1,1,2] 1 2; text.layers.1.output <f8 [1,1,2] 1 2; "
                         "text.layers.0.output <f8 [1,1,2] 1 2; vision.embed <f8 [1,1,2] 1 2");
    program_write_inputs(&o->folder, "a.npz",
                         "logits <f8 [1,1,2] 5 2; text.layers.1.output <f8 [1,1,2] 5 2; "
                         "text.layers.0.output <f8 [1,1,2] 5 2; vision.embed <f8 [1,1,2] 1 2; "
                         "extra <f8 [1] 1");
    run_diff(o, "e.npz a.npz");
    expect(o, "differ", 1);
    assert_string_equal(text_of(o->json, "first_divergence"), "text.layers.0.output");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(o->json, "tensors");
    assert_string_equal(text_of(cJSON_GetArrayItem(list, 0), "name"), "vision.embed");
    assert_string_equal(text_of(cJSON_GetArrayItem(list, 3), "name"), "logits");
    const cJSON *extra = cJSON_GetObjectItemCaseSensitive(o->json, "extra");
    assert_int_equal(cJSON_GetArraySize(extra), 1);
    close_outcome(o);
}

static void test_json_has_every_field_and_null_for_what_is_no_number(void **state)
{
    static const char *const fields[] = {
        "name",   "verdict", "shape",       "max_abs",      "rel_max",    "rel_l2",
        "cosine", "bound",   "worst_index", "nan_expected", "nan_actual", "ratio",
    };
    (void)state;
    outcome *o = open_outcome();
    program_write_inputs(&o->folder, "e.npz", "vision.embed <f8 [1,2,2] 0 0 0 0");
    program_write_inputs(&o->folder, "a.npz", "vision.embed <f8 [1,2,2] 0 0 nan 1");
    run_diff(o, "e.npz a.npz");
    expect(o, "differ", 1);
    assert_string_equal(text_of(o->json, "schema"), "llava-ref.diff/1");
    const cJSON *t = tensor(o, "vision.embed");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        assert_true(cJSON_HasObjectItem(t, fields[i]));
    }
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(t, "rel_l2"))); /* 1 / 0 */
    const cJSON *worst = cJSON_GetObjectItemCaseSensitive(t, "worst_index");
    assert_int_equal(cJSON_GetArrayItem(worst, 1)->valueint, 1); /* the NaN at [0, 1, 0] */
    assert_int_equal(cJSON_GetArrayItem(worst, 2)->valueint, 0);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(t, "nan_actual")->valueint, 1);
    close_outcome(o);
}

static void test_the_table_fits_100_columns(void **state)
{
    (void)state;
    outcome *o = open_outcome();
    program_write_inputs(&o->folder, "e.npz",
                         "vision.layers.10.attn.scores <f8 [1,2,2,2] 1*8; input_ids <i8 [1,2] 1 2; "
                         "step.12.text.layers.31.attn.context_of_a_very_long_name <f8 [1,1,2] 1 2");
    program_write_inputs(
        &o->folder, "a.npz",
        "vision.layers.10.attn.scores <f8 [1,2,2,2] 1*7 1e30; input_ids <i8 [1,2] 1 3; "
        "step.12.text.layers.31.attn.context_of_a_very_long_name <f8 [1,1,2] 1 2");
    run_diff(o, "e.npz a.npz");
    for (const char *line = o->table; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        if (n > 100) {
            fail_msg("%zu columns: %.*s", n, (int)n, line);
        }
        line += n + (line[n] == '\n');
    }
    close_outcome(o);
}

/* Every element is closed, in order; attributes hold no bare < or &. */
static void check_xml(const char *text)
{
    char open[16][32];
    size_t depth = 0;
    for (const char *at = strchr(text, '<'); at != NULL; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');
        assert_non_null(end);
        size_t n = strcspn(at + 1 + (at[1] == '/'), " >/");
        if (at[1] == '?') {
            continue;
        }
        if (at[1] == '/') {
            assert_true(depth > 0 && strlen(open[depth - 1]) == n &&
                        strncmp(open[depth - 1], at + 2, n) == 0);
            depth--;
        } else if (end[-1] != '/') {
            assert_true(depth < 16 && n < 32);
            snprintf(open[depth++], 32, "%.*s", (int)n, at + 1);
        }
    }
    assert_int_equal(depth, 0);
    for (const char *at = strchr(text, '&'); at != NULL; at = strchr(at + 1, '&')) {
        assert_true(strcspn(at, ";") <= 6);
    }
}

/* What another output takes standard output for is printed elsewhere. */
static void test_pages_and_tests_on_standard_output(void **state)
{
    static const char *const words[] = {"--html", "--junit"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        outcome *o = open_outcome();
        char text[100];
        program_write_inputs(&o->folder, "e.npz", "logits <f8 [1,1,2] 1 2");
        snprintf(text, sizeof text, "e.npz e.npz %s -", words[i]);
        run_diff(o, text);
        expect(o, "pass", 0);
        assert_int_equal(o->table[0], '<'); /* and nothing before it */
        snprintf(text, sizeof text, "e.npz e.npz %s /dev/full", words[i]);
        run_diff(o, text);
        assert_int_equal(o->status, 2);
        support_says(&o->error, "/dev/full: cannot be written");
        close_outcome(o);
    }
}

static void test_junit_is_well_formed(void **state)
{
    static char text[1 << 16];
    (void)state;
    outcome *o = open_outcome();
    program_write_inputs(&o->folder, "e.npz",
                         "a<&\">b <f8 [1,2] 1 2; vision.embed <f8 [1,1,2] 1 2; logits <f8 [0,1,2]");
    program_write_inputs(&o->folder, "a.npz",
                         "a<&\">b <f8 [1,2] 1 2; vision.embed <f8 [1,1,2] 1 3; logits <f8 [0,1,2]");
    char words[600];
    snprintf(words, sizeof words, "e.npz a.npz --junit %s", support_path(&o->folder, "out.xml"));
    run_diff(o, words);
    expect(o, "differ", 1);
    read_text(support_path(&o->folder, "out.xml"), text, sizeof text);
    check_xml(text);
    assert_non_null(strstr(text, "failures=\"1\""));
    assert_non_null(strstr(text, "errors=\"1\""));
    assert_non_null(strstr(text, "<failure"));
    /* what the user asked for and is not there stands in the message */
    snprintf(words, sizeof words, "e.npz a.npz --taps <x>&\" --junit %s",
             support_path(&o->folder, "out.xml"));
    run_diff(o, words);
    assert_int_equal(o->status, 2);
    read_text(support_path(&o->folder, "out.xml"), text, sizeof text);
    check_xml(text);
    assert_non_null(strstr(text, "<error message=\"--taps &lt;x&gt;&amp;&quot; matches no tensor"));
    close_outcome(o);
}

/* Two samples of which one chose another token, by a near tie; a wrong tensor, and one too much. */
static void write_deflated(const outcome *o, const char *name, bool port)
{
    const double off = port ? 1e-3 : 0;
    double tie[8] = {port ? 1.9999995 : 2, port ? 2 : 1.9999995, 0, 0, 0.1, 0, 3, 0};
    double norm[4] = {0.1, 0.2, 0.3, 0.4 + off};
    int64_t ids[2] = {port ? 1 : 0, 2};
    const llava_tap taps[] = {
        {"generated_ids", LLAVA_I64, 2, {2, 1}, ids},
        {"logits", port ? LLAVA_F32 : LLAVA_F64, 3, {2, 1, 4}, tie},
        {"text.norm", port ? LLAVA_F32 : LLAVA_F64, 3, {2, 1, 2}, norm},
        {"text.embed", LLAVA_F64, 3, {2, 1, 2}, norm},
        {"a port's own", LLAVA_F64, 1, {4}, norm},
        {"projector.out", LLAVA_F64, 2, {2, 2}, norm},
    };
    llava_dump_writer *writer;
    llava_error e;
    assert_true(llava_dump_writer_open(&writer, support_path(&o->folder, name), true,
                                       "{\"inputs\":\"one\",\"dtype\":\"f32\"}", &e));
    for (size_t i = 0; i < (port ? 6 : 4); i++) {
        if (!port || i != 3) { /* one that it lacks */
            assert_true(llava_dump_writer_put(writer, &taps[i], &e));
        }
    }
    assert_true(llava_dump_writer_commit(writer, &e));
}

static bool diff_once(void *self, llava_error *e)
{
    return llava_command_diff.run(8, self, e) != LLAVA_CANNOT;
}

/* Every allocation of a whole diff with all its outputs. */
static void test_memory_runs_out(void **state)
{
    (void)state;
    outcome *o = open_outcome();
    static char peer[] = "--peer", json[] = "--json", html[] = "--html", null[] = "/dev/null",
                zero[] = "/dev/zero";
    char expected[512], actual[512];
    write_deflated(o, "e.npz", false);
    write_deflated(o, "a.npz", true);
    snprintf(expected, sizeof expected, "%s", support_path(&o->folder, "e.npz"));
    snprintf(actual, sizeof actual, "%s", support_path(&o->folder, "a.npz"));
    char *argv[] = {expected, actual, peer, expected, json, null, html, zero, NULL};
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen("/dev/null", "w", stdout));
    size_t allocations = memory_runs_out(diff_once, argv);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    assert_true(allocations > 100);
    close_outcome(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ratios_to_a_peer_at_their_edges),
        cmocka_unit_test(test_ratios_in_max_at_their_edges),
        cmocka_unit_test(test_a_peer_without_error_leaves_it_to_the_bound),
        cmocka_unit_test(test_cannot_judge),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_expected_in_bfloat16),
        cmocka_unit_test(test_rows_that_are_not_given),
        cmocka_unit_test(test_one_narrow_tensor_is_no_excuse_for_itself),
        cmocka_unit_test(test_honest_goldens_pass),
        cmocka_unit_test(test_a_coarser_type_than_the_peers_differs),
        cmocka_unit_test(test_a_dump_that_cannot_be_replayed_is_refused),
        cmocka_unit_test(test_honest_dumps_of_all_kinds_of_inputs_pass_with_their_model),
        cmocka_unit_test(test_descriptions_that_do_not_fit),
        cmocka_unit_test(test_first_divergence_in_the_order_of_the_flow),
        cmocka_unit_test(test_json_has_every_field_and_null_for_what_is_no_number),
        cmocka_unit_test(test_the_table_fits_100_columns),
        cmocka_unit_test(test_pages_and_tests_on_standard_output),
        cmocka_unit_test(test_junit_is_well_formed),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
