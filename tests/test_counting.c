/* What counts: to which tensors the mask speaks, each condition by itself; a shape that does not
 * fit the mask is compared whole. */
#include "tests/memory.h"
#include "tests/support.h"
#include "tools/counting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int64_t mask[] = {0, 0, 1, 1, 1, 1, 1, 1, 1, 1}; /* two samples of five positions */

typedef struct {
    const char *name; /* of the tap */
    int rank;
    size_t shape[5];
    char speaks; /* 'r': of rows, 'k': of rows and keys, 'p': of positions along the last axis, '-':
                    not */
} row;

/* Groups of rows, the first of each fits, and each of the others in one thing not. */
static const row rows[] = {
    {"text.norm", 3, {2, 5, 7}, 'r'},
    {"vision.embed", 3, {2, 5, 7}, '-'},
    {"no.such.tap", 3, {2, 5, 7}, '-'},
    {"text.norm", 3, {1, 5, 7}, '-'},
    {"text.norm", 3, {2, 4, 7}, '-'},
    {"text.norm", 3, {2, 6, 7}, '-'},

    {"text.embed", 3, {2, 5, 7}, 'r'},
    {"text.inputs_embeds", 3, {2, 5, 7}, 'r'},
    {"text.rope.cos", 3, {2, 5, 7}, 'r'},
    {"text.layers.0.attn.q", 4, {2, 5, 3, 7}, 'r'},
    {"projector.out", 3, {2, 5, 7}, '-'},

    {"logits", 3, {2, 5, 9}, 'r'},
    {"logits", 3, {2, 3, 9}, 'r'}, /* logits_to_keep */
    {"logits", 3, {2, 6, 9}, '-'},
    {"step.1.logits", 3, {2, 1, 9}, 'r'},
    {"step.1.logits", 3, {1, 1, 9}, '-'},

    {"text.layers.0.attn.scores", 4, {2, 3, 5, 5}, 'k'},
    {"text.layers.0.attn.probs", 4, {2, 3, 5, 5}, 'k'},
    {"text.layers.0.attn.scores", 4, {1, 3, 5, 5}, '-'},
    {"text.layers.0.attn.scores", 4, {2, 3, 5, 6}, '-'},
    {"text.layers.0.attn.scores", 4, {2, 3, 5, 4}, '-'},
    {"text.layers.0.attn.scores", 4, {2, 3, 4, 4}, '-'},
    {"text.layers.0.attn.scores", 3, {2, 3, 5}, '-'},
    {"vision.layers.0.attn.scores", 4, {2, 3, 5, 5}, '-'},

    {"step.2.text.layers.0.attn.probs", 4, {2, 3, 1, 7}, 'k'},
    {"step.2.text.layers.0.attn.probs", 4, {2, 3, 1, 6}, 'k'}, /* the last keys of a window */
    {"step.2.text.layers.0.attn.probs", 4, {2, 3, 1, 8}, '-'},
    {"step.2.text.layers.0.attn.probs", 4, {2, 3, 2, 1}, '-'},

    {"position_ids", 2, {2, 5}, 'p'},
    {"position_ids", 2, {1, 5}, '-'},
    {"position_ids", 2, {2, 4}, '-'},
    {"position_ids", 1, {5}, '-'},
    {"step.1.position_ids", 2, {2, 5}, '-'},
    {"input_ids", 2, {2, 5}, '-'},
    {"loss", 0, {0}, '-'},
};

static void test_to_which_tensors_the_mask_speaks(void **state)
{
    (void)state;
    const llava_counting counting = {.batch = 2, .length = 5, .mask = mask}, none = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        llava_row_counting c = llava_count_rows(&counting, r->name, r->rank, r->shape);
        char speaks = c.keys ? 'k' : c.text ? 'r' : c.positions ? 'p' : '-';
        if (speaks != r->speaks) {
            fail_msg("%s, row %zu: '%c', not '%c'", r->name, i, speaks, r->speaks);
        }
        c = llava_count_rows(&none, r->name, r->rank, r->shape);
        assert_true(!c.keys && !c.text && !c.positions); /* no mask, and all of it counts */
    }
}

/* Two samples; of the first, nothing counts from step 2 on. */
static void test_behind_a_flip(void **state)
{
    static const struct {
        const char *name;
        int rank;
        size_t shape[3];
        bool first, second; /* does the first row of either sample count? */
    } steps[] = {
        {"step.1.logits", 3, {2, 1, 9}, true, true},
        {"step.2.logits", 3, {2, 1, 9}, false, true},
        {"logits", 3, {2, 1, 9}, true, true},
        {"step.2.logits",
         3,
         {3, 1, 9},
         true,
         true}, /* another batch: not known whose rows they are */
        {"step.2.position_ids", 2, {2, 1}, true, true},
    };
    (void)state;
    size_t flipped[] = {2, SIZE_MAX};
    const llava_counting counting = {.flipped = flipped, .flipped_batch = 2};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        llava_row_counting c =
            llava_count_rows(&counting, steps[i].name, steps[i].rank, steps[i].shape);
        assert_int_equal(llava_row_counts(&c, 0), steps[i].first);
        assert_int_equal(llava_row_counts(&c, 1), steps[i].second);
    }
}

/* Pixtral: three patches of one picture and two of the next in one sequence. */
static void test_patches_of_other_pictures(void **state)
{
    static const struct {
        const char *name;
        int rank;
        size_t shape[4];
        bool apart;
    } taps[] = {
        {"vision.layers.0.attn.scores", 4, {1, 2, 5, 5}, true},
        {"vision.layers.0.attn.probs", 4, {1, 2, 5, 5}, true},
        {"vision.layers.0.attn.scores", 3, {2, 5, 5}, false},
        {"vision.layers.0.attn.scores", 4, {1, 2, 4, 5}, false},
        {"vision.layers.0.attn.scores", 4, {1, 2, 5, 4}, false},
        {"vision.layers.0.attn.q", 4, {1, 5, 5, 5}, false},
        {"text.layers.0.attn.scores", 4, {1, 2, 5, 5}, false},
    };
    (void)state;
    llava_error e;
    llava_counting counting = {0};
    assert_true(llava_counting_add_picture(&counting, 3, &e));
    llava_row_counting c =
        llava_count_rows(&counting, taps[0].name, 4, (const size_t[]){1, 2, 3, 3});
    assert_null(c.picture_of); /* one picture alone */
    assert_true(llava_counting_add_picture(&counting, 2, &e));
    for (size_t i = 0; i < sizeof taps / sizeof *taps; i++) {
        c = llava_count_rows(&counting, taps[i].name, taps[i].rank, taps[i].shape);
        assert_int_equal(c.picture_of != NULL, taps[i].apart);
        if (taps[i].apart) {
            assert_true(llava_element_counts(
                &c, 5 + 2, 0)); /* second head, patch 2: patch 0 is of its picture */
            assert_false(llava_element_counts(&c, 5 + 2, 3)); /* and patch 3 is not */
        }
    }
    assert_false(llava_counting_add_picture(&counting, SIZE_MAX - 1, &e));
    support_says(&e, "too many patches");
    llava_counting_free(&counting);
}

/* Queries see three keys in a sliding layer; without a plan, or in another layer, all before them.
 */
static void test_a_window_is_of_its_layers(void **state)
{
    static const struct {
        const char *name;
        size_t shape[4], window;
    } taps[] = {
        {"text.layers.0.attn.scores", {2, 3, 5, 5}, 0},
        {"text.layers.1.attn.scores", {2, 3, 5, 5}, 3},
        {"text.layers.2.attn.scores", {2, 3, 5, 5}, 0}, /* the plan has two layers */
        {"text.layers.1.attn.q", {2, 5, 3, 4}, 0},
    };
    (void)state;
    static llava_text_plan plan;
    plan.layers = 2;
    plan.window = 3;
    plan.slides[1] = true;
    llava_counting counting = {.batch = 2, .length = 5, .mask = mask, .text_plan = &plan};
    for (size_t i = 0; i < sizeof taps / sizeof *taps; i++) {
        llava_row_counting c = llava_count_rows(&counting, taps[i].name, 4, taps[i].shape);
        assert_int_equal(c.window, taps[i].window);
    }
    llava_row_counting c = llava_count_rows(&counting, taps[1].name, 4, taps[1].shape);
    size_t last = c.per_sample + 4; /* the second sample's last query */
    assert_false(llava_element_counts(&c, last, 1));
    assert_true(llava_element_counts(&c, last, 2));
    counting.text_plan = NULL;
    c = llava_count_rows(&counting, taps[1].name, 4, taps[1].shape);
    assert_int_equal(c.window, 0);
    assert_true(llava_element_counts(&c, last, 1));
}

static bool count_pixtral(void *self, llava_error *e)
{
    static llava_plan plan;
    static const uint8_t sees[4] = {1, 0, 1, 1};
    const llava_inputs in = {.pictures = 2, .height = 4, .width = 6};
    llava_counting *counting = self;
    plan.vision.tower = LLAVA_TOWER_PIXTRAL;
    plan.vision.patch = 2;
    bool ok = llava_counting_add_pictures(counting, &plan, &in, e) &&
              llava_counting_square(counting, 1, 2, sees, e);
    assert_true(!ok || counting->patches == 12);
    llava_counting_free(counting);
    return ok;
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    llava_counting counting = {0};
    assert_int_equal(memory_runs_out(count_pixtral, &counting), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_which_tensors_the_mask_speaks),
        cmocka_unit_test(test_behind_a_flip),
        cmocka_unit_test(test_patches_of_other_pictures),
        cmocka_unit_test(test_a_window_is_of_its_layers),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
