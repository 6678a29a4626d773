/* Every verdict as a truth table: each condition that decides one is shown to do so by itself. A
 * row names the row it is held against, differs from that in one thing, and comes to another
 * outcome; the tests check both, so a row that shows nothing fails. contract.md, sections 6, 7, 9
 * and 10. */
#include "ref/file.h"
#include "ref/json.h"
#include "tests/program.h"
#include "tools/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- running a command in this process ---------------------------------------------------------
 */

enum { MOST_WORDS = 24 };

typedef struct {
    int status;
    llava_error error;
    cJSON *json; /* NULL: none was written */
} outcome;

static cJSON *read_json(const char *path)
{
    llava_file file;
    llava_error e;
    if (!llava_file_map(&file, path, &e)) {
        return NULL;
    }
    cJSON *json = llava_json_parse(path, (const char *)file.bytes, file.size, &e);
    llava_file_unmap(&file);
    assert_non_null(json); /* strict: no bare NaN passes this parser */
    return json;
}

/* @NAME is a file of the folder. What is printed goes nowhere. */
static outcome run(const llava_command *command, const support_folder *folder, const char *words)
{
    char text[1024], paths[MOST_WORDS][512], *argv[MOST_WORDS], *rest = NULL;
    int argc = 0;
    snprintf(text, sizeof text, "%s", words);
    for (char *w = strtok_r(text, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < MOST_WORDS);
        snprintf(paths[argc], sizeof paths[0], "%s", w[0] == '@' ? support_path(folder, w + 1) : w);
        argv[argc] = paths[argc];
        argc++;
    }
    outcome o = {.error = {""}};
    fflush(NULL);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    assert_non_null(freopen("/dev/null", "w", stdout));
    assert_non_null(freopen("/dev/null", "w", stderr));
    o.status = command->run(argc, argv, &o.error);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    o.json = read_json(support_path(folder, "out.json"));
    return o;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "(none)";
}

/* ---- diff --------------------------------------------------------------------------------------
 */

typedef struct {
    const char *name, *base; /* base: the name of the row that it is held against; NULL: none */
    const char *expected, *actual, *peer, *words;
    const char *verdict; /* "refused": no verdict at all, exit status 2 */
    const char *first;   /* the verdict of the first tensor; NULL: none was compared */
} diff_row;

#define X  "vision.embed <f8 [1,1,4] 1 0 0 0"
#define Y  "; logits <f8 [1,1,2] 1 2"
#define P  "vision.embed <f8 [1,1,4] 1 0 0 0.25" /* its error is a quarter in L2 and in max */
#define E8 "vision.embed <f8 [1,1,64] 1000*64"
#define P8 "vision.embed <f8 [1,1,64] 1001*64" /* 8 in L2 and 1 in max, of one element's error */

/* Numbers that no narrower type holds: the bound is then that of two float64 dumps, 4 * 2^-52 *
 * sqrt(10) in L2 behind ten rounded operations, 2.8e-15, and eight times that in max. */
#define ONE      "vision.embed <f8 [1,1,1] "
#define TWO_ROWS "vision.embed <f8 [1,2,2] 1e9 1e9 1e-3 1e-3"

static const diff_row diff_rows[] = {
    /* one tensor without a peer */
    {"equal", NULL, X, X, NULL, "", "pass", "pass"},
    {"one number", NULL, ONE "0.3", ONE "0.3", NULL, "", "pass", "pass"},
    {"off in L2, not in max", "one number", ONE "0.3", ONE "0.3000000000000024", NULL, "", "differ",
     "differ"},
    {"a small row right", NULL, TWO_ROWS, TWO_ROWS, NULL, "", "pass", "pass"},
    {"off in max, not in L2", "a small row right", TWO_ROWS,
     "vision.embed <f8 [1,2,2] 1e9 1e9 1e-3 1.000001e-3", NULL, "", "differ", "differ"},
    {"within the bound", "off in L2, not in max", ONE "0.3", ONE "0.3000000000000005", NULL, "",
     "pass", "pass"},
    {"NaN in ACTUAL", "equal", X, "vision.embed <f8 [1,1,4] 1 0 0 nan", NULL, "", "differ",
     "differ"},
    {"NaN in EXPECTED", "equal", "vision.embed <f8 [1,1,4] 1 0 0 nan", X, NULL, "", "differ",
     "differ"},
    {"NaN in both", "NaN, padded", "attention_mask <i8 [1,2] 1 1; text.norm <f8 [1,2,2] nan 1 2 3",
     "text.norm <f8 [1,2,2] nan 1 2 3", NULL, "--taps text.norm", "differ", "differ"},
    {"NaN, padded", NULL, "attention_mask <i8 [1,2] 0 1; text.norm <f8 [1,2,2] nan 1 2 3",
     "text.norm <f8 [1,2,2] nan 1 2 3", NULL, "--taps text.norm", "pass", "pass"},
    {"infinity in both", NULL, "vision.embed <f8 [1,1,4] 1 0 0 inf",
     "vision.embed <f8 [1,1,4] 1 0 0 inf", NULL, "", "pass", "pass"},
    {"infinity in EXPECTED", "infinity in both", "vision.embed <f8 [1,1,4] 1 0 0 inf", X, NULL, "",
     "differ", "differ"},
    {"infinity in ACTUAL", "infinity in both", X, "vision.embed <f8 [1,1,4] 1 0 0 inf", NULL, "",
     "differ", "differ"},
    {"infinity, other sign", "infinity in both", "vision.embed <f8 [1,1,4] 1 0 0 inf",
     "vision.embed <f8 [1,1,4] 1 0 0 -inf", NULL, "", "differ", "differ"},
    {"NaN against infinity", "infinity in both", "vision.embed <f8 [1,1,4] 1 0 0 inf",
     "vision.embed <f8 [1,1,4] 1 0 0 nan", NULL, "", "differ", "differ"},
    {"minus zero is zero", "NaN in ACTUAL", X, "vision.embed <f8 [1,1,4] 1 0 0 -0", NULL, "",
     "pass", "pass"},
    {"another rank", "equal", X, "vision.embed <f8 [1,4] 1 0 0 0", NULL, "", "differ", "differ"},
    {"another shape", "equal", X, "vision.embed <f8 [1,4,1] 1 0 0 0", NULL, "", "differ", "differ"},
    {"the mask is ACTUAL's", "no mask", "text.norm <f8 [1,2,2] 9 1 2 3",
     "text.norm <f8 [1,2,2] 1 1 2 3; attention_mask <i8 [1,2] 0 1", NULL, "", "pass", "pass"},
    {"no mask", NULL, "text.norm <f8 [1,2,2] 9 1 2 3", "text.norm <f8 [1,2,2] 1 1 2 3", NULL, "",
     "differ", "differ"},
    {"EXPECTED's mask wins", "the mask is ACTUAL's",
     "text.norm <f8 [1,2,2] 9 1 2 3; attention_mask <i8 [1,2] 1 1",
     "text.norm <f8 [1,2,2] 1 1 2 3; attention_mask <i8 [1,2] 0 1", NULL, "", "differ", "differ"},
    {"a type that is not read", "equal", X, "vision.embed <c8 [1,1,4] 0", NULL, "", "refused",
     NULL},

    /* exact ones */
    {"ids", NULL, "input_ids <i8 [1,3] 1 2 3", "input_ids <i8 [1,3] 1 2 3", NULL, "", "pass",
     "pass"},
    {"another id", "ids", "input_ids <i8 [1,3] 1 2 3", "input_ids <i8 [1,3] 1 2 4", NULL, "",
     "differ", "differ"},
    {"one byte of a picture", "the same picture", "image.rgb |u1 [1,1,3] 9 9 9",
     "image.rgb |u1 [1,1,3] 9 9 8", NULL, "", "differ", "differ"},
    {"the same picture", NULL, "image.rgb |u1 [1,1,3] 9 9 9", "image.rgb |u1 [1,1,3] 9 9 9", NULL,
     "", "pass", "pass"},
    {"a mask", NULL, "attention_mask <i8 [1,2] 1 1", "attention_mask <i8 [1,2] 1 1", NULL, "",
     "pass", "pass"},
    {"another mask", "a mask", "attention_mask <i8 [1,2] 1 1", "attention_mask <i8 [1,2] 0 1", NULL,
     "", "differ", "differ"},

    /* with a peer: L2 2 and 4, max 4 and 8 */
    {"as far off as the peer", NULL, X, P, P, "--peer @p.npz", "pass", "pass"},
    {"no peer", "as far off as the peer", X, P, P, "", "differ", "differ"},
    {"L2 just below 2", "L2 2", X, "vision.embed <f8 [1,1,4] 1 0 0 0.4999999", P, "--peer @p.npz",
     "pass", "pass"},
    {"L2 2", "as far off as the peer", X, "vision.embed <f8 [1,1,4] 1 0 0 0.5", P, "--peer @p.npz",
     "warn", "warn"},
    {"L2 just below 4", "L2 4", X, "vision.embed <f8 [1,1,4] 1 0 0 0.9999999", P, "--peer @p.npz",
     "warn", "warn"},
    {"L2 4", "L2 2", X, "vision.embed <f8 [1,1,4] 1 0 0 1", P, "--peer @p.npz", "differ", "differ"},
    {"max just below 4", "max 4", E8, "vision.embed <f8 [1,1,64] 1003.9 1000*63", P8,
     "--peer @p.npz", "pass", "pass"},
    {"max 4", "max just below 4", E8, "vision.embed <f8 [1,1,64] 1004 1000*63", P8, "--peer @p.npz",
     "warn", "warn"},
    {"max just below 8", "max 8", E8, "vision.embed <f8 [1,1,64] 1007.9 1000*63", P8,
     "--peer @p.npz", "warn", "warn"},
    {"max 8", "max 4", E8, "vision.embed <f8 [1,1,64] 1008 1000*63", P8, "--peer @p.npz", "differ",
     "differ"},
    {"NaN in ACTUAL, with a peer", "as far off as the peer", X,
     "vision.embed <f8 [1,1,4] 1 0 0 nan", P, "--peer @p.npz", "differ", "differ"},
    {"NaN in the peer", "as far off as the peer", X, P, "vision.embed <f8 [1,1,4] 1 0 0 nan",
     "--peer @p.npz", "cannot-judge", "cannot-judge"},
    {"infinity in the peer", "L2 4", X, "vision.embed <f8 [1,1,4] 1 0 0 1",
     "vision.embed <f8 [1,1,4] 1 0 0 inf", "--peer @p.npz", "cannot-judge", "cannot-judge"},
    {"another shape in the peer", "as far off as the peer", X, P,
     "vision.embed <f8 [1,4,1] 1 0 0 0.25", "--peer @p.npz", "cannot-judge", "cannot-judge"},
    {"the peer lacks it", "as far off as the peer", X, P, "logits <f8 [1,1,2] 1 2", "--peer @p.npz",
     "differ", "differ"},
    {"the peer has no error", "as far off as the peer", X, P, X, "--peer @p.npz", "differ",
     "differ"},
    {"a peer of zeros' errors", "as far off as the peer", "vision.embed <f8 [1,1,4] 0 0 0 0", P, P,
     "--peer @p.npz", "differ", "differ"},

    /* what is there */
    {"nothing in common", "equal", X, "logits <f8 [1,1,2] 1 2", NULL, "", "cannot-judge", NULL},
    {"one is missing", "nothing in common", X Y, "logits <f8 [1,1,2] 1 2", NULL, "", "pass",
     "pass"},
    {"the missing one is required", "one is missing", X Y, "logits <f8 [1,1,2] 1 2", NULL,
     "--require vision.*", "cannot-judge", "pass"},
    {"the required one is there", "the missing one is required", X Y, X Y, NULL,
     "--require vision.*", "pass", "pass"},
    {"--require matches nothing", "equal", X, X, NULL, "--require logits", "cannot-judge", "pass"},
    {"--taps match nothing", "equal", X, X, NULL, "--taps logits", "cannot-judge", NULL},
    {"one of --taps matches nothing", "equal", X, X, NULL, "--taps vision.*,logits", "cannot-judge",
     "pass"},
    {"a second one differs", NULL, X Y, X "; logits <f8 [1,1,2] 1 3", NULL, "", "differ", "pass"},
    {"it is not of --taps", "a second one differs", X Y, X "; logits <f8 [1,1,2] 1 3", NULL,
     "--taps vision.*", "pass", "pass"},
    {"empty", "a row in it", "vision.embed <f8 [0,1,4]", "vision.embed <f8 [0,1,4]", NULL, "",
     "cannot-judge", "cannot-judge"},
    {"a row in it", NULL, X, X, NULL, "", "pass", "pass"},
    {"all of it padded", "NaN, padded",
     "attention_mask <i8 [1,2] 0 0; text.norm <f8 [1,2,2] nan 1 2 3",
     "text.norm <f8 [1,2,2] nan 1 2 3", NULL, "--taps text.norm", "cannot-judge", "cannot-judge"},
    {"an empty one beside another", "empty", "vision.embed <f8 [0,1,4]" Y,
     "vision.embed <f8 [0,1,4]" Y, NULL, "", "pass", "cannot-judge"},
    {"one more in ACTUAL", "a second one differs", X, X "; logits <f8 [1,1,2] 1 3", NULL, "",
     "pass", "pass"},

    /* differ before cannot-judge before warn before pass */
    {"pass and pass", NULL, X Y, P Y, P Y, "--peer @p.npz", "pass", "pass"},
    {"warn and pass", "pass and pass", X Y, "vision.embed <f8 [1,1,4] 1 0 0 0.5" Y, P Y,
     "--peer @p.npz", "warn", "warn"},
    {"cannot-judge and warn", "warn and pass", X Y, "vision.embed <f8 [1,1,4] 1 0 0 0.5" Y,
     P "; logits <f8 [1,1,2] 1 nan", "--peer @p.npz", "cannot-judge", "warn"},
    {"cannot-judge and pass", "pass and pass", X Y, P Y, P "; logits <f8 [1,1,2] 1 nan",
     "--peer @p.npz", "cannot-judge", "pass"},
    {"differ and cannot-judge", "cannot-judge and warn", X Y, "vision.embed <f8 [1,1,4] 1 0 0 1" Y,
     P "; logits <f8 [1,1,2] 1 nan", "--peer @p.npz", "differ", "differ"},
    {"warn and a required one missing", "warn and pass", X Y,
     "vision.embed <f8 [1,1,4] 1 0 0 0.5" Y, P Y, "--peer @p.npz --require loss", "cannot-judge",
     "warn"},
    {"differ and a required one missing", "warn and a required one missing", X Y,
     "vision.embed <f8 [1,1,4] 1 0 0 1" Y, P Y, "--peer @p.npz --require loss", "differ", "differ"},
    {"differ and warn", "warn and pass", X Y,
     "vision.embed <f8 [1,1,4] 1 0 0 0.5; logits <f8 [1,1,2] 1 3", P Y, "--peer @p.npz", "differ",
     "warn"},
};

static const diff_row *diff_row_of(const char *name)
{
    for (size_t i = 0; i < sizeof diff_rows / sizeof *diff_rows; i++) {
        if (strcmp(diff_rows[i].name, name) == 0) {
            return &diff_rows[i];
        }
    }
    fail_msg("no row is called '%s'", name);
    return NULL;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* How many things are other ones; a tensor and its equal count as one. */
static int changes(const diff_row *r, const diff_row *b)
{
    bool copies = same(r->expected, r->actual) && same(b->expected, b->actual);
    return !same(r->expected, b->expected) + (!copies && !same(r->actual, b->actual)) +
           !same(r->peer, b->peer) + !same(r->words, b->words);
}

static void test_a_row_of_diff_shows_one_condition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof diff_rows / sizeof *diff_rows; i++) {
        const diff_row *r = &diff_rows[i], *b = r->base == NULL ? NULL : diff_row_of(r->base);
        if (b != NULL && (changes(r, b) != 1 || same(r->verdict, b->verdict))) {
            fail_msg("'%s' differs from '%s' in %d things, its verdict is %s", r->name, b->name,
                     changes(r, b), r->verdict);
        }
    }
}

static int status_of(const char *verdict)
{
    return same(verdict, "pass") || same(verdict, "warn") ? 0 : same(verdict, "differ") ? 1 : 2;
}

static void test_diff(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof diff_rows / sizeof *diff_rows; i++) {
        const diff_row *r = &diff_rows[i];
        support_folder folder = support_folder_new();
        char words[256];
        program_write_inputs(&folder, "e.npz", r->expected);
        program_write_inputs(&folder, "a.npz", r->actual);
        if (r->peer != NULL) {
            program_write_inputs(&folder, "p.npz", r->peer);
        }
        snprintf(words, sizeof words, "@e.npz @a.npz --json @out.json %s", r->words);
        outcome o = run(&llava_command_diff, &folder, words);
        const cJSON *tensors = cJSON_GetObjectItemCaseSensitive(o.json, "tensors");
        const char *verdict = o.json == NULL ? "refused" : text_of(o.json, "verdict");
        const char *first = cJSON_GetArraySize(tensors) == 0
                                ? NULL
                                : text_of(cJSON_GetArrayItem(tensors, 0), "verdict");
        bool line = o.error.text[0] != '\0';
        if (!same(verdict, r->verdict) || o.status != status_of(r->verdict) ||
            !same(first, r->first) || line != (o.status == 2)) {
            print_error("'%s': %s (the first tensor: %s), exit status %d, '%s'\n", r->name, verdict,
                        first == NULL ? "none" : first, o.status, o.error.text);
            wrong++;
        }
        cJSON_Delete(o.json);
        support_folder_remove(&folder);
    }
    assert_int_equal(wrong, 0);
}

/* ---- diagnose ----------------------------------------------------------------------------------
 */

typedef struct {
    const char *name, *base;
    const char *input; /* the golden case whose inputs.npz both read */
    const char *port; /* what the port's run is told, after its model and inputs; "= ...": a dump as
                         it lies */
    const char *words; /* of diagnose */
    const char *verdict, *confidence,
        *rounding; /* of the first finding; the first numerics.* found; or NULL */
} diagnose_row;

static const diagnose_row diagnose_rows[] = {
    {"honest", NULL, "plain", "--dtype f64", "", "pass", NULL, NULL},
    {"honest, rounded", NULL, "plain", "--dtype bf16", "", "pass", NULL, NULL},
    {"rounded, one decision", "honest, rounded", "plain",
     "--dtype bf16 --set vision.cls_position=last", "", "differ", "certain", NULL},
    {"one decision", "honest", "plain", "--dtype f64 --set vision.cls_position=last", "", "differ",
     "certain", NULL},
    {"a rounding everywhere", "honest", "plain", "--dtype f64 --set numerics.weights=bf16", "",
     "pass", NULL, "numerics.weights"},
    {"both", "one decision", "plain",
     "--dtype f64 --set numerics.weights=bf16 --set vision.cls_position=last", "", "differ",
     "certain", "numerics.weights"},
    {"seen in float64", "honest, in part", "plain",
     "--dtype f64 --taps vision.features --set vision.act=gelu", "", "differ", "certain", NULL},
    {"honest, in part", NULL, "plain", "--dtype f64 --taps vision.features", "", "pass", NULL,
     NULL},
    /* in float16 gelu and its tanh form explain it alike */
    {"one of two, in float16", "seen in float64", "plain",
     "--dtype f16 --taps vision.features --set vision.act=gelu", "", "differ", "likely", NULL},
    {"seen behind the projector", NULL, "plain",
     "--dtype f64 --taps projector.act,projector.fc1 --set projector.act=gelu_tanh", "", "differ",
     "certain", NULL},
    {"lost in bfloat16", "seen behind the projector", "plain",
     "--dtype bf16 --taps projector.act,projector.fc1 --set projector.act=gelu_tanh", "", "pass",
     NULL, NULL},
    {"no decision makes this", "honest, in part", "plain", "= vision.features <f8 [1,9,18] 1*162",
     "", "differ", "unknown", NULL},
    {"NaN", "honest, in part", "plain", "= vision.features <f8 [1,9,18] nan*162", "", "differ",
     "unknown", NULL},
    {"another shape", "honest, in part", "plain", "= vision.features <f8 [1,9,17] 1*153", "",
     "differ", "unknown", NULL},
    {"no tap of the model", "honest", "plain", "= mine <f8 [1,9,18] 1*162", "", "cannot-judge",
     NULL, NULL},
    {"either convention", NULL, "batch-left", "--positions generate", "", "pass", NULL, NULL},
    {"its own convention", "the other one", "batch-left", "--positions generate",
     "--positions generate", "pass", NULL, NULL},
    {"the other one", "either convention", "batch-left", "--positions generate",
     "--positions forward", "differ", "certain", NULL},
};

static const diagnose_row *diagnose_row_of(const char *name)
{
    for (size_t i = 0; i < sizeof diagnose_rows / sizeof *diagnose_rows; i++) {
        if (strcmp(diagnose_rows[i].name, name) == 0) {
            return &diagnose_rows[i];
        }
    }
    fail_msg("no row is called '%s'", name);
    return NULL;
}

static void test_a_row_of_diagnose_shows_one_condition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof diagnose_rows / sizeof *diagnose_rows; i++) {
        const diagnose_row *r = &diagnose_rows[i],
                           *b = r->base == NULL ? NULL : diagnose_row_of(r->base);
        if (b == NULL) {
            continue;
        }
        int changed =
            !same(r->input, b->input) + !same(r->port, b->port) + !same(r->words, b->words);
        if (changed != 1 || (same(r->verdict, b->verdict) && same(r->confidence, b->confidence) &&
                             same(r->rounding, b->rounding))) {
            fail_msg("'%s' differs from '%s' in %d things", r->name, b->name, changed);
        }
    }
}

/* object[list][0][key], or NULL. */
static const char *first_of(const cJSON *object, const char *list, const char *key)
{
    const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(object, list), 0);
    return item == NULL ? NULL : text_of(item, key);
}

static void test_diagnose(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof diagnose_rows / sizeof *diagnose_rows; i++) {
        const diagnose_row *r = &diagnose_rows[i];
        support_folder folder = support_folder_new();
        char source[256], words[1024];
        snprintf(source, sizeof source, "--model golden/%s/model --inputs golden/%s/inputs.npz",
                 r->input, r->input);
        if (r->port[0] == '=') {
            program_write_inputs(&folder, "port.npz", r->port + 2);
        } else {
            snprintf(words, sizeof words, "%s --dump @port.npz %s", source, r->port);
            assert_int_equal(run(&llava_command_run, &folder, words).status, 0);
        }
        snprintf(words, sizeof words, "%s --dump @port.npz --json @out.json %s", source, r->words);
        outcome o = run(&llava_command_diagnose, &folder, words);
        const char *verdict = text_of(o.json, "verdict"),
                   *confidence = first_of(o.json, "findings", "confidence");
        const char *rounding = first_of(cJSON_GetObjectItemCaseSensitive(o.json, "precision"),
                                        "decisions", "decision");
        if (!same(verdict, r->verdict) || o.status != status_of(r->verdict) ||
            !same(confidence, r->confidence) || !same(rounding, r->rounding) ||
            (o.error.text[0] != '\0') != (o.status == 2)) {
            print_error("'%s': %s, %s, rounding %s, exit status %d, '%s'\n", r->name, verdict,
                        confidence == NULL ? "no finding" : confidence,
                        rounding == NULL ? "none" : rounding, o.status, o.error.text);
            wrong++;
        }
        cJSON_Delete(o.json);
        support_folder_remove(&folder);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_row_of_diff_shows_one_condition),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_a_row_of_diagnose_shows_one_condition),
        cmocka_unit_test(test_diagnose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
