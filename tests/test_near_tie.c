/* Near ties of two generations: what is a legal flip, what is a divergence, what is compared behind
 * either, and what cannot be said. */
#include "ref/json.h"
#include "tests/program.h"
#include "tools/near_tie.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* diff --json of two dumps written from descriptions (program_write_inputs). */
typedef struct {
    support_folder folder;
    program_result run;
    cJSON *json;
} outcome;

static outcome compare(const char *expected, const char *actual, const char *words)
{
    outcome o = {.folder = support_folder_new()};
    char command[256];
    llava_error e;
    program_write_inputs(&o.folder, "e.npz", expected);
    program_write_inputs(&o.folder, "a.npz", actual);
    snprintf(command, sizeof command, "$LLAVA diff e.npz a.npz --json - --html page.html%s", words);
    o.run = program_run(&o.folder, command);
    o.json = llava_json_parse("out", o.run.out, o.run.out_size, &e);
    if (o.json == NULL) {
        fail_msg("%s: %s %s", command, o.run.out, o.run.err);
    }
    return o;
}

static void done(outcome *o)
{
    cJSON_Delete(o->json);
    program_free(&o->run);
    support_folder_remove(&o->folder);
}

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const char *verdict_of(const outcome *o, const char *name)
{
    const cJSON *t;
    cJSON_ArrayForEach(t, member(o->json, "tensors"))
    {
        if (strcmp(member(t, "name")->valuestring, name) == 0) {
            return member(t, "verdict")->valuestring;
        }
    }
    return "(none)";
}

/* "WB": 'W' a near tie, 'X' none, in the order of the samples that differ. */
static void flips_of(const outcome *o, char text[16])
{
    const cJSON *f;
    size_t n = 0;
    cJSON_ArrayForEach(f, member(o->json, "flips"))
    {
        text[n++] = cJSON_IsTrue(member(f, "near_tie")) ? 'W' : 'X';
    }
    text[n] = '\0';
}

/* In float32, with logits of rms 1.41, the bound is some 5e-6: the margins stand on either side. */
static void test_verdicts(void **state)
{
    static const struct {
        const char *what, *expected, *actual, *verdict, *flips;
    } rows[] = {
        {"a margin below the bound",
         "generated_ids <i8 [1,2] 0 1; logits <f8 [1,1,4] 2 1.9999995 0 0",
         "generated_ids <i8 [1,2] 1 1; logits <f4 [1,1,4] 1.9999995 2 0 0", "warn", "W"},
        {"a margin above it", "generated_ids <i8 [1,2] 0 1; logits <f8 [1,1,4] 2 1.99 0 0",
         "generated_ids <i8 [1,2] 1 1; logits <f4 [1,1,4] 2 1.99 0 0", "differ", "X"},
        {"an exact tie, broken the other way",
         "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 2 0 0",
         "generated_ids <i8 [1,1] 1; logits <f4 [1,1,4] 2 2 0 0", "warn", "W"},
        {"against ACTUAL's own logits",
         "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 1.9999995 0 0",
         "generated_ids <i8 [1,1] 1; logits <f4 [1,1,4] 2 1.9999995 0 0", "differ", "X"},
        {"at a later step, by that step's logits",
         "generated_ids <i8 [1,3] 3 0 2; logits <f8 [1,1,4] 0 0 0 9; "
         "step.1.logits <f8 [1,1,4] 2 1.9999995 0 0",
         "generated_ids <i8 [1,3] 3 1 0; logits <f4 [1,1,4] 0 0 0 9", "warn", "W"},
        {"a later step without logits", "generated_ids <i8 [1,3] 3 0 2; logits <f8 [1,1,4] 0 0 0 9",
         "generated_ids <i8 [1,3] 3 1 0; logits <f4 [1,1,4] 0 0 0 9", "differ", "X"},
        {"the last position's logits of the prefill",
         "generated_ids <i8 [1,1] 0; logits <f8 [1,2,4] 0 0 0 9 2 1.9999995 0 0",
         "generated_ids <i8 [1,1] 1; text.norm <f4 [1,2,2] 0.1 0.2 0.3 0.4", "warn", "W"},
        {"a type that nothing shows", "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 2 0 0",
         "generated_ids <i8 [1,1] 1", "differ", "X"},
        {"samples each by themselves: a tie, none, equal",
         "generated_ids <i8 [3,1] 0 0 0; "
         "logits <f8 [3,1,4] 2 1.9999995 0 0 2 1 0 0 2 1 0 0",
         "generated_ids <i8 [3,1] 1 1 0; text.norm <f4 [3,1,1] 0.1 0.2 0.3", "differ", "WX"},
        {"NaN is no tie", "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 nan 0 0",
         "generated_ids <i8 [1,1] 1; text.norm <f4 [1,1,1] 0.1", "differ", "X"},
        {"a token outside the vocabulary", "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 2 0 0",
         "generated_ids <i8 [1,1] -7; text.norm <f4 [1,1,1] 0.1", "differ", "X"},
        {"the flip ends one answer early",
         "generated_ids <i8 [1,3] 0 1 2; logits <f8 [1,1,4] 2 1.9999995 0 0",
         "generated_ids <i8 [1,1] 1; text.norm <f4 [1,1,1] 0.1", "warn", "W"},
        {"a flip, and an equal sample that goes on padding",
         "generated_ids <i8 [2,3] 0 1 2 2 3 3; logits <f8 [2,1,4] 2 1.9999995 0 0 0 0 1 0",
         "generated_ids <i8 [2,1] 1 2; text.norm <f4 [2,1,1] 0.1 0.2", "warn", "W"},
        {"a flip, and an equal sample that goes on talking",
         "generated_ids <i8 [2,3] 0 1 2 2 3 1; logits <f8 [2,1,4] 2 1.9999995 0 0 0 0 1 0",
         "generated_ids <i8 [2,1] 1 2; text.norm <f4 [2,1,1] 0.1 0.2", "differ", "W"},
        {"two ties",
         "generated_ids <i8 [2,1] 0 0; logits <f8 [2,1,4] 2 1.9999995 0 0 2 1.9999995 0 0",
         "generated_ids <i8 [2,1] 1 1; text.norm <f4 [2,1,1] 0.1 0.2", "warn", "WW"},
        {"a tie after a divergence, and the words are the divergence's",
         "generated_ids <i8 [2,1] 0 0; logits <f8 [2,1,4] 2 1 0 0 2 1.9999995 0 0",
         "generated_ids <i8 [2,1] 1 1; text.norm <f4 [2,1,1] 0.1 0.2", "differ", "XW"},
        {"a token of EXPECTED below 0", "generated_ids <i8 [1,1] -7; logits <f8 [1,1,4] 2 2 0 0",
         "generated_ids <i8 [1,1] 0; text.norm <f4 [1,1,1] 0.1", "differ", "X"},
        {"a token of EXPECTED beyond its logits",
         "generated_ids <i8 [1,1] 4; logits <f8 [1,1,4] 2 2 0 0",
         "generated_ids <i8 [1,1] 0; text.norm <f4 [1,1,1] 0.1", "differ", "X"},
        {"a token of ACTUAL beyond EXPECTED's logits",
         "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 2 0 0",
         "generated_ids <i8 [1,1] 4; text.norm <f4 [1,1,1] 0.1", "differ", "X"},
        {"logits of two dimensions", "generated_ids <i8 [1,1] 0; logits <f8 [1,4] 2 2 0 0",
         "generated_ids <i8 [1,1] 1; text.norm <f4 [1,1,1] 0.1", "differ", "X"},
        {"logits of another batch", "generated_ids <i8 [1,1] 0; logits <f8 [2,1,2] 2 2 0 0",
         "generated_ids <i8 [1,1] 1; text.norm <f4 [1,1,1] 0.1", "differ", "X"},
        {"logits of no vocabulary", "generated_ids <i8 [1,1] 0; logits <f8 [1,1,0]",
         "generated_ids <i8 [1,1] 1; text.norm <f4 [1,1,1] 0.1", "differ", "X"},
        /* what ACTUAL has under the name of logits does not speak where it is not like EXPECTED's
         */
        {"ACTUAL's logits of another shape",
         "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 1.9999995 0 0",
         "generated_ids <i8 [1,1] 1; logits <f4 [1,1,3] 2 1.9999995 0.1", "warn", "W"},
        {"ACTUAL's logits of two dimensions",
         "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 1.9999995 0 0",
         "generated_ids <i8 [1,1] 1; logits <f4 [1,4] 2 1.9999995 0.1 0", "warn", "W"},
        {"ACTUAL's logits as integers",
         "generated_ids <i8 [1,1] 0; logits <f8 [1,1,4] 2 1.9999995 0 0",
         "generated_ids <i8 [1,1] 1; logits <i8 [1,1,4] 2 1 0 0; text.norm <f4 [1,1,1] 0.1", "warn",
         "W"},
        /* no answers that can be held against each other: what remains is that they are not equal
         */
        {"ids of one dimension", "generated_ids <i8 [1] 0; logits <f8 [1,1,2] 2 2",
         "generated_ids <i8 [1] 1; text.norm <f4 [1,1,1] 0.1", "differ", ""},
        {"ACTUAL's ids of one dimension", "generated_ids <i8 [1,1] 0; logits <f8 [1,1,2] 2 2",
         "generated_ids <i8 [1] 1; text.norm <f4 [1,1,1] 0.1", "differ", ""},
        {"ids of another batch", "generated_ids <i8 [2,1] 0 0; logits <f8 [2,1,2] 2 2 2 2",
         "generated_ids <i8 [1,1] 1; text.norm <f4 [1,1,1] 0.1", "differ", ""},
        {"EXPECTED's ids as floats", "generated_ids <f8 [1,1] 0; logits <f8 [1,1,2] 2 2",
         "generated_ids <i8 [1,1] 1; text.norm <f4 [1,1,1] 0.1", "differ", ""},
        {"ACTUAL's ids as floats", "generated_ids <i8 [1,1] 0; logits <f8 [1,1,2] 2 2",
         "generated_ids <f4 [1,1] 1; text.norm <f4 [1,1,1] 0.1", "differ", ""},
        {"another length without any differing token", "generated_ids <i8 [1,2] 0 1",
         "generated_ids <i8 [1,1] 0", "differ", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        outcome o = compare(rows[i].expected, rows[i].actual, " --taps generated_ids");
        char flips[16];
        flips_of(&o, flips);
        const char *verdict = member(o.json, "verdict")->valuestring;
        int status = strcmp(rows[i].verdict, "differ") == 0;
        if (strcmp(verdict, rows[i].verdict) != 0 || strcmp(flips, rows[i].flips) != 0 ||
            o.run.status != status) {
            fail_msg("%s: %s (%d), flips \"%s\"\n%s", rows[i].what, verdict, o.run.status, flips,
                     o.run.err);
        }
        assert_true(flips[0] == '\0' ||
                    strstr(o.run.err, flips[0] == 'W' ? "near tie: " : "divergence: ") != NULL);
        done(&o);
    }
}

/* The margin, the bound and where, as numbers. */
static void test_json_gives_margin_and_bound(void **state)
{
    (void)state;
    outcome o = compare("generated_ids <i8 [1,3] 3 0 2; step.1.logits <f8 [1,1,4] 2.1 1.85 0 0",
                        "generated_ids <i8 [1,3] 3 1 0; text.norm <f4 [1,1,1] 0.1", "");
    const cJSON *f = cJSON_GetArrayItem(member(o.json, "flips"), 0);
    assert_int_equal(member(f, "sample")->valueint, 0);
    assert_int_equal(member(f, "step")->valueint, 1);
    assert_int_equal(member(f, "expected")->valueint, 0);
    assert_int_equal(member(f, "actual")->valueint, 1);
    assert_true(fabs(member(f, "margin")->valuedouble - 0.25) < 1e-15);
    assert_true(member(f, "bound")->valuedouble > 1e-6 && member(f, "bound")->valuedouble < 1e-4);
    done(&o);
    o = compare("generated_ids <i8 [1,1] 0", "generated_ids <i8 [1,1] 1; text.norm <f4 [1,1,1] 0.1",
                "");
    f = cJSON_GetArrayItem(member(o.json, "flips"), 0);
    assert_true(cJSON_IsNull(member(f, "margin")) && cJSON_IsNull(member(f, "bound")));
    done(&o);
}

/* Steps behind a differing token read another text: they are left out, sample by sample. */
static void test_what_follows_is_not_compared(void **state)
{
    static const char expected[] =
        "generated_ids <i8 [2,3] 0 1 2 0 1 2; logits <f8 [2,1,4] 2 1.9999995 0 0 2 1 0 0; "
        "step.1.logits <f8 [2,1,4] 1 2 3 4 5.1 6 7 8; step.2.logits <f8 [2,1,4] 1 2 3 4 5.1 6 7 8";
    (void)state;
    /* sample 0 flips at once: its step 1 and 2 may hold anything */
    outcome o = compare(expected,
                        "generated_ids <i8 [2,3] 1 1 1 0 1 2; "
                        "logits <f4 [2,1,4] 1.9999995 2 0 0 2 1 0 0; "
                        "step.1.logits <f4 [2,1,4] 9*4 5.1 6 7 8; "
                        "step.2.logits <f4 [2,1,4] nan*4 5.1 6 7 8",
                        "");
    assert_string_equal(member(o.json, "verdict")->valuestring, "warn");
    assert_string_equal(verdict_of(&o, "step.1.logits"), "pass");
    assert_string_equal(verdict_of(&o, "step.2.logits"), "pass");
    done(&o);
    /* sample 1's own error still shows */
    o = compare(expected,
                "generated_ids <i8 [2,3] 1 1 1 0 1 2; "
                "logits <f4 [2,1,4] 1.9999995 2 0 0 2 1 0 0; "
                "step.1.logits <f4 [2,1,4] 9*4 5.1 6 7.5 8",
                "");
    assert_string_equal(member(o.json, "verdict")->valuestring, "differ");
    assert_string_equal(member(o.json, "first_divergence")->valuestring, "step.1.logits");
    done(&o);
    /* and so does an error before the flip */
    o = compare(expected,
                "generated_ids <i8 [2,3] 0 1 1 0 1 2; logits <f4 [2,1,4] 2 1.9999995 0 0 2 1 0 0; "
                "step.1.logits <f4 [2,1,4] 9*4 5.1 6 7 8",
                "");
    assert_string_equal(verdict_of(&o, "step.1.logits"), "differ");
    done(&o);
}

/* Nothing of a step counts where every sample is behind its flip, and the table says why. */
static void test_a_step_behind_every_flip_is_not_judged(void **state)
{
    (void)state;
    outcome o = compare("generated_ids <i8 [1,2] 0 1; logits <f8 [1,1,4] 2 1.9999995 0 0; "
                        "step.1.text.norm <f8 [1,1,2] 1 2",
                        "generated_ids <i8 [1,2] 1 1; logits <f4 [1,1,4] 1.9999995 2 0 0; "
                        "step.1.text.norm <f4 [1,1,2] 7 8",
                        "");
    assert_string_equal(member(o.json, "verdict")->valuestring, "warn");
    assert_string_equal(verdict_of(&o, "step.1.text.norm"), "cannot-judge");
    assert_non_null(strstr(o.run.err, "what follows a differing token"));
    done(&o);
}

/* A peer that went over to another text has no error to be measured by there. */
static void test_a_peer_behind_its_own_flip_is_not_used(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_write_inputs(&folder, "e.npz",
                         "generated_ids <i8 [1,2] 0 1; step.1.logits <f8 [1,1,4] 1.1 2 3 4");
    program_write_inputs(&folder, "a.npz",
                         "generated_ids <i8 [1,2] 0 1; step.1.logits <f4 [1,1,4] 1.1 2 3 4.5");
    program_write_inputs(&folder, "p.npz",
                         "generated_ids <i8 [1,2] 3 1; step.1.logits <f4 [1,1,4] 4 3 2 1");
    program_result run = program_run(&folder, "$LLAVA diff e.npz a.npz --peer p.npz");
    assert_int_equal(run.status, 1);
    program_free(&run);
    /* of several samples the first that went over counts, wherever it stands */
    program_write_inputs(&folder, "e.npz",
                         "generated_ids <i8 [2,2] 0 1 0 1; step.1.logits <f8 [2,1,2] 1.1 2 3 4");
    program_write_inputs(&folder, "a.npz",
                         "generated_ids <i8 [2,2] 0 1 0 1; step.1.logits <f4 [2,1,2] 1.1 2 3 4.5");
    program_write_inputs(&folder, "p.npz",
                         "generated_ids <i8 [2,2] 3 1 0 3; step.1.logits <f4 [2,1,2] 4 3 2 1");
    run = program_run(&folder, "$LLAVA diff e.npz a.npz --peer p.npz");
    assert_int_equal(run.status, 1);
    program_free(&run);
    support_folder_remove(&folder);
}

/* The formula itself: sqrt(2) l2 rms. */
static void test_the_bound(void **state)
{
    static const double logits[4] = {2, 1, 0, 0};
    (void)state;
    double rms = sqrt(5.0 / 4);
    double edge = 1 / (sqrt(2) * rms); /* the l2 at which the margin of 1 is just inside */
    llava_flip flip = {.expected = 0, .actual = 1};
    llava_flip_judge(&flip, logits, NULL, 4, edge * (1 + 1e-12));
    assert_true(flip.near_tie && flip.margin == 1);
    llava_flip_judge(&flip, logits, NULL, 4, edge * (1 - 1e-12));
    assert_false(flip.near_tie);
    llava_flip_judge(&flip, logits, NULL, 4, (double)NAN);
    assert_false(flip.near_tie);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_json_gives_margin_and_bound),
        cmocka_unit_test(test_what_follows_is_not_compared),
        cmocka_unit_test(test_a_step_behind_every_flip_is_not_judged),
        cmocka_unit_test(test_a_peer_behind_its_own_flip_is_not_used),
        cmocka_unit_test(test_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
