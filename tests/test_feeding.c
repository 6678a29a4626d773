/* Ways of feeding the model: hidden states chosen per call, logits of the last positions, masks of
 * four dimensions, and a prefill in chunks. What transformers computes for them is in the goldens;
 * here stand the properties and the refusals. */
#include "tests/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Runs a command in the folder; its standard output, which must be there. free() it. */
static char *output_of(const support_folder *folder, const char *command)
{
    program_result run = program_run(folder, command);
    if (run.status != 0 || run.out_size == 0) {
        fail_msg("%s: %d %s", command, run.status, run.err);
    }
    char *out = run.out;
    free(run.err);
    return out;
}

static void same_output(const support_folder *folder, const char *a, const char *b, bool same)
{
    char *x = output_of(folder, a), *y = output_of(folder, b);
    if ((strcmp(x, y) == 0) != same) {
        fail_msg("%s the same:\n%s\n%s\n%s\n%s", same ? "not" : "unexpectedly", a, b, x, y);
    }
    free(x);
    free(y);
}

static void refused(const support_folder *folder, const char *command, const char *says)
{
    program_result run = program_run(folder, command);
    const char *wrong = program_refusal(&run, says);
    if (wrong != NULL) {
        fail_msg("%s: %s: %s%s", command, wrong, run.err, run.out);
    }
    program_free(&run);
}

/* ---- hidden states chosen per call --------------------------------------------------------------
 */

#define FULL                                                                                       \
    "--model $GOLDEN/full-strategy/model --inputs $GOLDEN/full-strategy/inputs.npz --hash -"
#define THREE                                                                                      \
    "--model $GOLDEN/feature-layers/model --inputs $GOLDEN/feature-layers/inputs.npz --hash -"

/* The option does what the same words in config.json do. */
static void test_a_feature_layer_of_the_call_is_one_of_the_configuration(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    free(output_of(&folder, "cp -r $GOLDEN/full-strategy/model m; chmod -R u+w m; echo ok"));
    program_edit(&folder, "m/config.json", "\"vision_feature_layer\": 2",
                 "\"vision_feature_layer\": -3");
    same_output(&folder, "$LLAVA run " FULL " --feature-layer -3",
                "$LLAVA run --model m --inputs $GOLDEN/full-strategy/inputs.npz --hash -", true);
    same_output(&folder, "$LLAVA run " FULL " --feature-layer 2 --feature-select full",
                "$LLAVA run " FULL, true);
    same_output(&folder, "$LLAVA run " FULL " --feature-layer 1", "$LLAVA run " FULL, false);
    same_output(&folder, "$LLAVA run " THREE " --feature-layer=2,3,1", "$LLAVA run " THREE, false);
    same_output(&folder, "$LLAVA run " THREE " --feature-layer=-2,-1,0",
                "$LLAVA run " THREE " --feature-layer=2,3,-4", true);
    support_folder_remove(&folder);
}

static void test_what_a_call_may_not_choose(void **state)
{
    static const struct {
        const char *command, *says;
    } rows[] = {
        {"$LLAVA run " FULL " --feature-select default", "5 image tokens, but 1 picture of 4 rows"},
        {"$LLAVA run " FULL " --feature-select first", "--feature-select first: not one of"},
        {"$LLAVA run " FULL " --feature-layer 4", "--feature-layer: 4 is out of range"},
        {"$LLAVA run " FULL " --feature-layer=-5", "--feature-layer: -5 is out of range"},
        {"$LLAVA run " FULL " --feature-layer 0", "--feature-layer: 0 is refused"},
        {"$LLAVA run " FULL " --feature-layer 1,2", "2 hidden states, but the projector is built"},
        {"$LLAVA run " THREE " --feature-layer 2",
         "1 hidden state, but the projector is built for 3"},
        {"$LLAVA run " FULL " --feature-layer ''", "not whole numbers"},
        {"$LLAVA run " FULL " --feature-layer 1,", "not whole numbers"},
        {"$LLAVA run " FULL " --feature-layer 1.5", "not whole numbers"},
        {"$LLAVA run " FULL " --feature-layer ' 1'", "not whole numbers"},
        {"$LLAVA run " FULL " --feature-layer 99999999999999999999", "not whole numbers"},
        {"$LLAVA run " FULL " --feature-layer 1 --feature-layer 2", "given twice"},
    };
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refused(&folder, rows[i].command, rows[i].says);
    }
    support_folder_remove(&folder);
}

/* diff --model replays a dump as it was made: with the configuration's own layers the honest port
 * would be far off, and its bound with it. */
static void test_a_dump_says_how_it_was_called(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    free(output_of(&folder, "$LLAVA run " FULL " --feature-layer 1 --dump e.npz"));
    free(output_of(&folder,
                   "$LLAVA run " FULL
                   " --feature-layer 1 --set projector.act=none --dtype f32 --dump a.npz"));
    program_result run = program_run(
        &folder,
        "$LLAVA diff e.npz a.npz --model $GOLDEN/full-strategy/model --taps projector.act");
    assert_int_equal(run.status, 1);
    program_free(&run);
    run = program_run(&folder, "$LLAVA diff e.npz a.npz --model $GOLDEN/full-strategy/model --taps "
                               "vision.features --json -");
    assert_int_equal(run.status, 0);
    const char *bound = strstr(run.out, "\"bound\":");
    assert_true(bound != NULL && atof(bound + 8) < 1e-5);
    program_free(&run);
    support_folder_remove(&folder);
}

/* A port that was called so is diagnosed so. */
static void test_diagnose_takes_the_same_choice(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    free(output_of(&folder, "$LLAVA run " FULL " --feature-layer 1 --dump port.npz"));
    free(output_of(&folder, "$LLAVA diagnose --model $GOLDEN/full-strategy/model --inputs "
                            "$GOLDEN/full-strategy/inputs.npz --feature-layer 1 --dump port.npz"));
    program_result run =
        program_run(&folder, "$LLAVA diagnose --model $GOLDEN/full-strategy/model --inputs "
                             "$GOLDEN/full-strategy/inputs.npz --dump port.npz");
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.out, "vision.feature_layer=one-less"));
    program_free(&run);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_feature_layer_of_the_call_is_one_of_the_configuration),
        cmocka_unit_test(test_what_a_call_may_not_choose),
        cmocka_unit_test(test_a_dump_says_how_it_was_called),
        cmocka_unit_test(test_diagnose_takes_the_same_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
