/* Ways of feeding the model: hidden states chosen per call, logits of the last positions, masks of
 * four dimensions, and a prefill in chunks. What transformers computes for them is in the goldens;
 * here stand the properties and the refusals. */
#include "tests/memory.h"
#include "tests/program.h"
#include "tools/session.h"
#include "tools/inputs_file.h"

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

/* ---- the file of inputs
 * --------------------------------------------------------------------------
 */

/* `damage`: letters of the file that become others, so that a checksum is wrong. */
static void test_inputs_that_are_no_inputs(void **state)
{
    static const struct {
        const char *inputs, *damage, *says;
    } rows[] = {
        {"input_ids <i8 [2,2] 1*4; position_ids <f8 [1,2] 0 1", NULL,
         "position_ids: not int64 or int32"},
        {"input_ids <i8 [2,2] 1*4; position_ids <i4 [1,2] 1179010630*2", "FFFFFFFF",
         "position_ids.npy: the CRC is wrong"},
        {"input_ids <i8 [1,1] 1; pixel_values <f2 [1,3,1,1] 0*3", NULL, "not float32 or float64"},
        {"input_ids <i8 [1,1] 1; pixel_values <f4 [0,3,2,2]", NULL,
         "its shape is not [N, 3, H, W]"},
        {"input_ids <i8 [1,1] 1; image_sizes <i8 [1,2] 1 1; pixel_values <f4 [] 1", NULL,
         "its shape is not [N, 2] of the pixel_values"},
        {"input_ids <i8 [1,1] 1; attention_mask <i8 [1,1,1,1] 9007199254740994", NULL,
         "attention_mask: an integer that is too large"},
        {"input_ids <i8 [1,1] 1; logits_to_keep <i4 [] 1179010630", "FFFF",
         "logits_to_keep.npy: the CRC is wrong"},
        {"input_ids <i2 [1,1] 1", NULL, "input_ids: not int64 or int32"},
        {"inputs_embeds <f2 [1,1,2] 0*2", NULL, "not float32 or float64"},
        {"inputs_embeds <f4 [1,1,2] 12689.568359375*2", "FFFFFFFF",
         "inputs_embeds.npy: the CRC is wrong"},
    };
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_inputs inputs;
        llava_error e;
        program_write_inputs(&folder, "in.npz", rows[i].inputs);
        if (rows[i].damage != NULL) {
            char other[16];
            snprintf(other, sizeof other, "%s", rows[i].damage);
            other[0] = 'G';
            program_edit(&folder, "in.npz", rows[i].damage, other);
        }
        assert_false(llava_inputs_read(&inputs, support_path(&folder, "in.npz"), &e));
        support_says(&e, rows[i].says);
    }
    support_folder_remove(&folder);
}

static bool read_inputs(void *self, llava_error *e)
{
    llava_inputs inputs;
    bool ok = llava_inputs_read(&inputs, self, e);
    llava_inputs_free(&inputs);
    return ok;
}

static void test_inputs_with_memory_that_runs_out(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char path[512];
    program_write_inputs(&folder, "in.npz",
                         "inputs_embeds <f4 [2,2,1] 1*4; position_ids <i8 [1,2] 0 1; "
                         "attention_mask |b1 [2,1,2,2] 1*8; labels <i4 [2,2] 1*4; "
                         "pixel_values <f4 [1,3,1,1] 0*3; image_sizes <i8 [1,2] 1 1");
    snprintf(path, sizeof path, "%s", support_path(&folder, "in.npz"));
    assert_true(memory_runs_out(read_inputs, path) > 20);
    support_folder_remove(&folder);
}

/* ---- masks of four dimensions -------------------------------------------------------------------
 */

#define TEXT     "--model $GOLDEN/text-only/model"
#define IDS      "input_ids <i8 [1,4] 5 6 7 8"
#define CAUSAL   "1 0 0 0 1 1 0 0 1 1 1 0 1 1 1 1"
#define LOW      "-3.4028234663852886e38"
#define CAUSAL_F "0 " LOW "*3 0*2 " LOW "*2 0*3 " LOW " 0*4"

static void write_masked(const support_folder *folder, const char *name, const char *mask)
{
    char text[2048];
    snprintf(text, sizeof text, "%s; attention_mask %s", IDS, mask);
    program_write_inputs(folder, name, text);
}

/* The causal rule as a mask changes no bit behind it, in whatever type it is written. */
static void test_a_causal_mask_is_the_causal_rule(void **state)
{
    static const char *const masks[] = {
        "|b1 [1,1,4,4] " CAUSAL,
        "<i8 [1,1,4,4] " CAUSAL,
        "<i4 [1,1,4,4] " CAUSAL,
        "<f4 [1,1,4,4] " CAUSAL_F,
        "<f8 [1,1,4,4] " CAUSAL_F,
        "<f8 [1,1,4,4] 0 -inf*3 0*2 -inf*2 0*3 -inf 0*4",
        "<f2 [1,1,4,4] 0 -65504*3 0*2 -65504*2 0*3 -65504 0*4",
        "<f4 [1,1,4,4] 0 -1e4*3 0*2 -1e4*2 0*3 -1e4 0*4",
    };
    static const char *const kinds[] = {"", " --dtype bf16", " --numerics hf --dtype f32"};
    static const char run[] =
        "$LLAVA run " TEXT " --inputs %s.npz --taps 'text.*,logits' --hash -%s";
    (void)state;
    support_folder folder = support_folder_new();
    program_write_inputs(&folder, "plain.npz", IDS);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        char command[512];
        snprintf(command, sizeof command, run, "plain", kinds[k]);
        char *plain = output_of(&folder, command);
        snprintf(command, sizeof command, run, "masked", kinds[k]);
        for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
            write_masked(&folder, "masked.npz", masks[i]);
            char *masked = output_of(&folder, command);
            if (strcmp(plain, masked) != 0) {
                fail_msg("%s: not the causal rule:\n%s\n%s", masks[i], plain, masked);
            }
            free(masked);
        }
        free(plain);
    }
    support_folder_remove(&folder);
}

/* It is used as given: no causal rule besides, and numbers in it are added. */
static void test_a_mask_is_used_as_given(void **state)
{
    static const char *const other[] = {
        "|b1 [1,1,4,4] 1*16",                            /* everyone sees everything */
        "<f4 [1,1,4,4] 0*16",                            /* the same, as what is added */
        "|b1 [1,1,4,4] 1 0 0 0 1 1 0 0 0 0 1 0 0 0 1 1", /* two blocks */
        "<f4 [1,1,4,4] 0 " LOW "*3 0.5 0 " LOW "*2 0*3 " LOW " 0*4",
    };
    (void)state;
    support_folder folder = support_folder_new();
    program_write_inputs(&folder, "plain.npz", IDS);
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        write_masked(&folder, "masked.npz", other[i]);
        same_output(&folder, "$LLAVA run " TEXT " --inputs masked.npz --taps logits --hash -",
                    "$LLAVA run " TEXT " --inputs plain.npz --taps logits --hash -", false);
        same_output(
            &folder, /* scores are before the mask */
            "$LLAVA run " TEXT " --inputs masked.npz --taps text.layers.0.attn.scores --hash -",
            "$LLAVA run " TEXT " --inputs plain.npz --taps text.layers.0.attn.scores --hash -",
            true);
    }
    write_masked(&folder, "bools.npz", other[0]);
    write_masked(&folder, "floats.npz", other[1]);
    same_output(&folder, "$LLAVA run " TEXT " --inputs bools.npz --hash -",
                "$LLAVA run " TEXT " --inputs floats.npz --hash -", true);
    /* a port that overlooks it has the causal rule */
    same_output(&folder,
                "$LLAVA run " TEXT
                " --inputs bools.npz --set text.padding_mask=ignored --taps logits --hash -",
                "$LLAVA run " TEXT " --inputs plain.npz --taps logits --hash -", true);
    support_folder_remove(&folder);
}

static void test_masks_that_cannot_be_used(void **state)
{
    static const struct {
        const char *mask, *more, *says;
    } rows[] = {
        {"<i8 [1,4,4] 1*16", "", "its shape is not [B, S]"},
        {"|b1 [2,1,4,4] 1*32", "", "not [B, S] or [B, 1, S, S]"},
        {"|b1 [1,2,4,4] 1*32", "", "not [B, S] or [B, 1, S, S]"},
        {"|b1 [1,1,4,5] 1*20", "", "not [B, S] or [B, 1, S, S]"},
        {"|b1 [1,4] 1*4", "", "attention_mask: not int64 or int32"},
        {"|u1 [1,1,4,4] 1*16", "", "not booleans, int64, int32 or floats"},
        {"<i8 [1,1,4,4] 1*15 2", "", "2 at [0, 0, 3, 3] is neither 0 nor 1"},
        {"<i8 [1,1,4,4] 1*4 -1 1*11", "", "-1 at [0, 0, 1, 0] is neither 0 nor 1"},
        {"<f4 [1,1,4,4] 0*15 nan", "", "nan at [0, 0, 3, 3] is nothing to be added"},
        {"<f4 [1,1,4,4] inf 0*15", "", "inf at [0, 0, 0, 0] is nothing to be added"},
        {"|b1 [1,1,4,4] " CAUSAL, "--generate 2", "--generate takes [B, S]"},
        {"|b1 [1,1,4,4] " CAUSAL, "--positions generate", "--positions generate counts [B, S]"},
        {"|b1 [1,1,4,4] 1*16", "--prefill-chunk 3",
         "query 0 of sample 0 sees key 3, which a chunk of 3 positions does not hold"},
    };
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char command[256];
        write_masked(&folder, "in.npz", rows[i].mask);
        snprintf(command, sizeof command, "$LLAVA run " TEXT " --inputs in.npz --dump out.npz %s",
                 rows[i].more);
        refused(&folder, command, rows[i].says);
        assert_false(program_leaves(&folder, "out"));
    }
    support_folder_remove(&folder);
}

static void test_floats_of_ones_are_warned_of(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    write_masked(&folder, "in.npz", "<f4 [1,1,4,4] " CAUSAL);
    program_result run = program_run(&folder, "$LLAVA run " TEXT " --inputs in.npz");
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.err, "floats of 0 and 1 mask nothing"));
    program_free(&run);
    support_folder_remove(&folder);
}

/* What counts is what the mask shows: a score that its query does not see may be anything, also
 * before the diagonal; a query that sees nothing has no row that counts. */
static void test_what_counts_under_a_mask(void **state)
{
    static const char mask[] = "attention_mask <i8 [1,1,3,3] 1 0 0 0 1 0 0 0 0";
    static const struct {
        const char *expected, *actual;
        int status;
    } rows[] = {
        {"text.layers.0.attn.scores <f8 [1,1,3,3] 1 2 3 4 5 6 7 8 9",
         "text.layers.0.attn.scores <f8 [1,1,3,3] 1 0 0 0 5 0 0 nan 0", 0},
        {"text.layers.0.attn.scores <f8 [1,1,3,3] 1 2 3 4 5 6 7 8 9",
         "text.layers.0.attn.scores <f8 [1,1,3,3] 1 2 3 4 50 6 7 8 9", 1},
        {"text.norm <f8 [1,3,1] 1 2 3", "text.norm <f8 [1,3,1] 1 2 nan", 0},
        {"text.norm <f8 [1,3,1] 1 2 3", "text.norm <f8 [1,3,1] 1 20 3", 1},
        {"logits <f8 [1,2,1] 2 3", "logits <f8 [1,2,1] 2 9", 0}, /* the last two positions */
        {"logits <f8 [1,2,1] 2 3", "logits <f8 [1,2,1] 20 3", 1},
    };
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s; %s", mask, rows[i].expected);
        program_write_inputs(&folder, "e.npz", text);
        program_write_inputs(&folder, "a.npz", rows[i].actual);
        program_result run = program_run(&folder, "$LLAVA diff e.npz a.npz");
        if (run.status != rows[i].status) {
            fail_msg("%s, %s: %d\n%s", rows[i].expected, rows[i].actual, run.status, run.out);
        }
        program_free(&run);
    }
    support_folder_remove(&folder);
}

/* A port is diagnosed under the mask it was given; that it overlooked it is a cause. */
static void test_diagnosis_under_a_mask(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    const char *run = "--model $GOLDEN/plain/model --inputs $GOLDEN/mask-packed/inputs.npz";
    const struct {
        const char *set, *finds;
        int status;
    } rows[] = {
        {"", "nothing", 0},
        {"--set text.padding_mask=ignored", "certain: text.padding_mask=ignored", 1},
        {"--set text.norm_eps=1e-6", "certain: text.norm_eps=1e-6", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "$LLAVA run %s %s --dtype f32 --dump port.npz && $LLAVA diagnose %s --dump "
                 "port.npz; s=$?; rm port.npz; exit $s",
                 run, rows[i].set, run);
        program_result result = program_run(&folder, command);
        if (result.status != rows[i].status ||
            (rows[i].status == 1 && strstr(result.out, rows[i].finds) == NULL)) {
            fail_msg("%s: %d\n%s%s", rows[i].set, result.status, result.out, result.err);
        }
        program_free(&result);
    }
    support_folder_remove(&folder);
}

/* With --model, diff replays EXPECTED under its own mask, and with as many logits. */
static void test_diff_with_a_model_under_a_mask(void **state)
{
    static const char *const cases[] = {"mask-packed", "mask-added", "logits-to-keep"};
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "$LLAVA run --model $GOLDEN/plain/model --inputs $GOLDEN/%s/inputs.npz --dtype "
                 "f32 --dump a.npz >&2 && $LLAVA diff $GOLDEN/%s/true.npz a.npz --model "
                 "$GOLDEN/plain/model --taps logits --json -; s=$?; rm a.npz; exit $s",
                 cases[i], cases[i]);
        program_result run = program_run(&folder, command);
        const char *bound = strstr(run.out, "\"bound\":");
        if (run.status != 0 || bound == NULL || !(atof(bound + 8) < 1e-5)) {
            fail_msg("%s: %d, bound%.20s\n%s", cases[i], run.status, bound, run.err);
        }
        program_free(&run);
    }
    support_folder_remove(&folder);
}

/* ---- logits of the last positions ---------------------------------------------------------------
 */

static void test_logits_of_the_last_positions(void **state)
{
    static const struct {
        const char *keep, *shape;
    } rows[] = {
        {"0", "logits  <f8  [1,4,61]"},  {"1", "logits  <f8  [1,1,61]"},
        {"3", "logits  <f8  [1,3,61]"},  {"4", "logits  <f8  [1,4,61]"},
        {"99", "logits  <f8  [1,4,61]"},
    };
    static const struct {
        const char *members, *says;
    } bad[] = {
        {"logits_to_keep <i8 [] -1", "logits_to_keep: is negative"},
        {"logits_to_keep <i8 [1] 2", "logits_to_keep: its shape is not []"},
        {"logits_to_keep <i8 [2] 0 1", "logits_to_keep: its shape is not []"},
        {"logits_to_keep <f8 [] 2", "logits_to_keep: not int64 or int32"},
        {"logits_to_keep <i8 [] 2; labels <i8 [1,4] 5 6 7 8", "labels need the logits of all"},
    };
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s; logits_to_keep <i8 [] %s", IDS, rows[i].keep);
        program_write_inputs(&folder, "in.npz", text);
        char *out = output_of(&folder, "$LLAVA run " TEXT " --inputs in.npz --hash -");
        assert_non_null(strstr(out, rows[i].shape));
        free(out);
        /* what is printed is of the last position in any case */
        program_write_inputs(&folder, "all.npz", IDS);
        same_output(&folder, "$LLAVA run " TEXT " --inputs in.npz",
                    "$LLAVA run " TEXT " --inputs all.npz", true);
        same_output(&folder, "$LLAVA run " TEXT " --inputs in.npz --generate 3",
                    "$LLAVA run " TEXT " --inputs all.npz --generate 3", true);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s; %s", IDS, bad[i].members);
        program_write_inputs(&folder, "in.npz", text);
        refused(&folder, "$LLAVA run " TEXT " --inputs in.npz", bad[i].says);
    }
    program_write_inputs(&folder, "in.npz", /* as many as there are: labels have theirs */
                         IDS "; logits_to_keep <i8 [] 4; labels <i8 [1,4] 5 6 7 8");
    free(output_of(&folder, "$LLAVA run " TEXT " --inputs in.npz"));
    support_folder_remove(&folder);
}

/* ---- a prefill in chunks ------------------------------------------------------------------------
 */

/* Every tap, of every kind of run, has the bits of the one pass. */
static void test_chunks_have_the_bits_of_one_pass(void **state)
{
    static const struct {
        const char *model, *inputs, *more;
    } runs[] = {
        {"grouped-heads", "grouped-heads", ""},
        {"plain", "plain", "--dtype bf16"},
        {"plain", "mask-packed", ""},
        {"plain", "mask-added", "--dtype f16"},
        {"batch-right", "batch-right", ""},
        {"mistral", "mistral", ""}, /* its window is shorter than the prompt */
        {"rope-yarn", "rope-yarn", ""},
        {"given-positions", "given-positions", "--dtype f32 --numerics hf"},
        {"inputs-embeds", "inputs-embeds", ""},
        {"generate", "generate", "--generate 5"},
        {"plain", "plain", "--set numerics.kv_cache=f16"},
        {"plain", "plain", "--taps 'text.layers.1.attn.scores'"},
        {"plain", "plain", "--taps 'text.layers.0.attn.probs,logits'"},
    };
    static const int chunks[] = {1, 4, 5, 17, 18, 1000};
    (void)state;
    const size_t step = support_step(2); /* every size has its turn with one run or another */
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        char a[512], b[600], *whole, *chunked;
        snprintf(a, sizeof a,
                 "$LLAVA run --model $GOLDEN/%s/model --inputs $GOLDEN/%s/inputs.npz --hash - %s",
                 runs[i].model, runs[i].inputs, runs[i].more);
        whole = output_of(&folder, a);
        for (size_t c = i % step; c < sizeof chunks / sizeof chunks[0]; c += step) {
            snprintf(b, sizeof b, "%s --prefill-chunk %d", a, chunks[c]);
            chunked = output_of(&folder, b);
            if (strcmp(whole, chunked) != 0) {
                fail_msg("not the same bits: %s\n%s\n%s", b, whole, chunked);
            }
            free(chunked);
        }
        free(whole);
    }
    support_folder_remove(&folder);
}

/* Only the rows of padding that see no key have fewer of them to be uniform over. */
static void test_chunks_under_padding(void **state)
{
    static const char *const cases[] = {"batch-left", "mistral-left", "mistral-right",
                                        "qwen2-layers"};
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "rm -f *.npz; m=$GOLDEN/%s; run=\"$LLAVA run --model $m/model --inputs "
                 "$m/inputs.npz\"; $run --dump one.npz >&2 && $run --prefill-chunk 3 --dump "
                 "many.npz >&2 && $LLAVA diff one.npz many.npz --json - --model $m/model",
                 cases[i]);
        char *out = output_of(&folder, command);
        for (const char *at = out; (at = strstr(at, "\"max_abs\":")) != NULL; at++) {
            assert_true(atof(at + 10) == 0);
        }
        free(out);
    }
    support_folder_remove(&folder);
}

static void test_chunks_that_cannot_be(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_write_inputs(&folder, "in.npz", IDS);
    refused(&folder, "$LLAVA run " TEXT " --inputs in.npz --prefill-chunk 0",
            "--prefill-chunk 0: not a whole number from 1");
    refused(&folder,
            "$LLAVA run " TEXT " --inputs in.npz --prefill-chunk 2 --set "
            "text.attn_mask=none",
            "a query would look at keys of a later chunk");
    refused(&folder,
            "$LLAVA run " TEXT " --inputs in.npz --prefill-chunk 2 --set "
            "text.attn_mask=next-included",
            "a query would look at keys of a later chunk");
    support_folder_remove(&folder);
}

/* "-2", "-2,3,0". */
static void layers_are_whole_numbers_between_commas(void **state)
{
    (void)state;
    char many[2 * 65];
    static const char *const bad[] = {"",
                                      "-",
                                      "a",
                                      "1,",
                                      ",1",
                                      "1;2",
                                      "1, 2",
                                      "+1",
                                      "1.",
                                      "/",
                                      ":",
                                      "-:,-/",
                                      "99999999999999999999"};
    llava_config config;
    llava_error e;
    llava_request q = {.model = "golden/feature-layers/model", .feature_layer = "-2,3,0"};
    assert_true(llava_request_config(&config, &q, &e));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        q.feature_layer = bad[i];
        assert_false(llava_request_config(&config, &q, &e));
        support_says(&e, ": not whole numbers between commas");
    }
    for (size_t i = 0; i < 65; i++) {
        many[2 * i] = '1';
        many[2 * i + 1] = i < 64 ? ',' : '\0';
    }
    q.feature_layer = many;
    assert_false(llava_request_config(&config, &q, &e));
    support_says(&e, "--feature-layer: more than 64 layers");
    q.feature_layer = NULL, q.feature_select = "first"; /* as a dump's __meta__ may have it */
    assert_false(llava_request_config(&config, &q, &e));
    support_says(&e, "--feature-select first: not one of default, full");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_feature_layer_of_the_call_is_one_of_the_configuration),
        cmocka_unit_test(test_what_a_call_may_not_choose),
        cmocka_unit_test(test_a_dump_says_how_it_was_called),
        cmocka_unit_test(test_diagnose_takes_the_same_choice),
        cmocka_unit_test(test_inputs_that_are_no_inputs),
        cmocka_unit_test(test_inputs_with_memory_that_runs_out),
        cmocka_unit_test(test_a_causal_mask_is_the_causal_rule),
        cmocka_unit_test(test_a_mask_is_used_as_given),
        cmocka_unit_test(test_masks_that_cannot_be_used),
        cmocka_unit_test(test_floats_of_ones_are_warned_of),
        cmocka_unit_test(test_what_counts_under_a_mask),
        cmocka_unit_test(test_diagnosis_under_a_mask),
        cmocka_unit_test(test_diff_with_a_model_under_a_mask),
        cmocka_unit_test(test_logits_of_the_last_positions),
        cmocka_unit_test(test_chunks_have_the_bits_of_one_pass),
        cmocka_unit_test(test_chunks_under_padding),
        cmocka_unit_test(test_chunks_that_cannot_be),
        cmocka_unit_test(layers_are_whole_numbers_between_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
