/* Properties of the towers other than CLIP, on the models under golden/: what Pixtral does with
 * pictures of several sizes, and what is refused. */
#include "tests/support.h"
#include "tools/session.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a run's features ---------------------------------------------------------------------------
 */

typedef struct {
    double *values;
    size_t rows, width;
} features;

static bool wants_features(void *self, const char *name)
{
    (void)self;
    return strcmp(name, "vision.features") == 0;
}

/* Scores too: then they are computed for the whole sequence, and masked. */
static bool wants_scores(void *self, const char *name)
{
    return wants_features(self, name) || strcmp(name, "vision.layers.1.attn.scores") == 0;
}

static bool keep_features(void *self, const llava_tap *tap, llava_error *e)
{
    features *f = self;
    size_t count = llava_tap_count(tap);
    if (tap->rank == 4) {
        return true;
    }
    f->rows = tap->shape[0] * tap->shape[1];
    f->width = tap->shape[2];
    f->values = llava_alloc(e, count, sizeof(double));
    assert_non_null(f->values);
    memcpy(f->values, tap->data, count * sizeof(double));
    return true;
}

static features run_with(const llava_session *s, const llava_inputs *in,
                         bool (*wants)(void *self, const char *name))
{
    features f = {0};
    llava_error e = {""};
    llava_sink sink = {wants, keep_features, &f};
    llava_goal goal = {.vision = true, .features = true};
    llava_run run = {
        .weights = s->weights, .plan = &s->plan, .sink = &sink, .prefix = "", .error = &e};
    double *unused;
    if (!llava_vision(&run, &goal, in, &unused)) {
        fail_msg("%s", e.text);
    }
    llava_scratch_release(&run, NULL);
    return f;
}

static features run_tower(const llava_session *s, const llava_inputs *in)
{
    return run_with(s, in, wants_features);
}

static llava_request request;

static void open_case(llava_session *s, const char *name, const char *set)
{
    static char model[128], inputs[128];
    llava_error e = {""};
    snprintf(model, sizeof model, "golden/%s/model", name);
    snprintf(inputs, sizeof inputs, "golden/%s/inputs.npz", name);
    request = (llava_request){.model = model, .inputs = inputs};
    if ((set != NULL && !llava_choose(&request.choices, set, &e)) ||
        !llava_session_open(s, &request, &e) || !llava_session_weights(s, &e)) {
        fail_msg("%s", e.text);
    }
}

/* Rows first .. of `a` and `count` rows of `b`: the same bits? */
static void assert_same_rows(const features *a, size_t first, const features *b, size_t count)
{
    assert_int_equal(a->width, b->width);
    assert_true(first + count <= a->rows && count <= b->rows);
    assert_memory_equal(a->values + first * a->width, b->values, count * a->width * sizeof(double));
}

/* ---- several pictures ---------------------------------------------------------------------------
 */

static void a_picture_alone_equals_its_rows_among_others(void **state)
{
    (void)state;
    llava_session s;
    open_case(&s, "pixtral", NULL);
    features all = run_tower(&s, &s.inputs);
    const llava_inputs *in = &s.inputs;
    size_t plane = 3 * in->height * in->width, first = 0;
    assert_int_equal(in->pictures, 3);
    for (size_t i = 0; i < in->pictures; i++) {
        llava_inputs one = *in;
        one.pictures = 1;
        one.pixel_values = in->pixel_values + i * plane;
        one.image_sizes = in->image_sizes + 2 * i;
        features alone = run_tower(&s, &one);
        assert_same_rows(&all, first, &alone, alone.rows);
        assert_int_equal(alone.rows, llava_picture_rows(&s.plan, in, i));
        first += alone.rows;
        free(alone.values);
    }
    assert_int_equal(first, all.rows);
    free(all.values);
    llava_session_close(&s);
}

/* Without anyone looking, each picture's scores are computed by themselves; with, all are, and
 * those between pictures masked. */
static void a_look_at_the_scores_changes_no_bit(void **state)
{
    (void)state;
    static const llava_dtype types[] = {LLAVA_F64, LLAVA_F32, LLAVA_F16, LLAVA_BF16};
    static const char *const settings[] = {NULL, "numerics.attn_accumulate=f16",
                                           "numerics.attn_accumulate=flash-f16"};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        llava_session s;
        open_case(&s, "pixtral", settings[i]);
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            s.plan.numerics.storage = types[k];
            features apart = run_tower(&s, &s.inputs);
            features whole = run_with(&s, &s.inputs, wants_scores);
            assert_int_equal(apart.rows, whole.rows);
            assert_same_rows(&apart, 0, &whole, whole.rows);
            free(apart.values);
            free(whole.values);
        }
        llava_session_close(&s);
    }
}

static bool wants_nothing(void *self, const char *name)
{
    (void)self;
    (void)name;
    return false;
}

/* Two keys alike, the second with ln 3 added to its score: a quarter of the first value and three
 * of the second, in one pass as in two. */
static void flash_sums_add_the_masks_numbers(void **state)
{
    (void)state;
    const double zero[] = {0, 0}, v[] = {1, 3}, bias[] = {0, 1.0986122886681098};
    llava_attention_of a = {.name = "text", .batch = 1, .queries = 1, .keys = 2, .heads = 1};
    a.kv_heads = a.head_dim = 1, a.kv_rows = 2, a.scale = 1;
    a.q = a.k = zero, a.v = v;
    for (int flash = 0; flash < 2; flash++) {
        llava_error e = {""};
        llava_plan plan = {.numerics = {.storage = LLAVA_F64, .attn_flash_f16 = flash}};
        llava_sink sink = {.wants = wants_nothing};
        llava_run run = {.plan = &plan, .sink = &sink, .prefix = "", .error = &e};
        double context = 0;
        a.bias = NULL;
        assert_true(llava_attention(&run, &a, &context));
        assert_true(context == 2);
        a.bias = bias;
        assert_true(llava_attention(&run, &a, &context));
        assert_true(fabs(context - 2.5) < (flash ? 1e-3 : 1e-15)); /* float16 sums; float64 */
        a.queries = SIZE_MAX;
        assert_false(llava_attention(&run, &a, &context));
        assert_true(llava_out_of_memory(&e));
        a.queries = 1;
    }
}

/* The padding of the smaller pictures, and what is left over beside the last whole patch. */
static void pixels_outside_a_pictures_patches_are_never_read(void **state)
{
    (void)state;
    llava_session s;
    open_case(&s, "pixtral", NULL);
    llava_inputs *in = &s.inputs;
    features before = run_tower(&s, in);
    size_t changed = 0, patch = s.plan.vision.patch;
    for (size_t i = 0; i < in->pictures * 3 * in->height * in->width; i++) {
        size_t picture = i / (3 * in->height * in->width), x = i % in->width;
        size_t y = i / in->width % in->height;
        llava_grid grid = llava_grid_of(&s.plan, in, picture);
        if (y >= grid.rows * patch || x >= grid.columns * patch) {
            in->pixel_values[i] = (double)NAN;
            changed++;
        }
    }
    assert_true(changed > 100);
    features after = run_tower(&s, in);
    assert_same_rows(&before, 0, &after, before.rows);
    free(before.values);
    free(after.values);
    llava_session_close(&s);
}

static void a_nan_stays_in_its_picture(void **state)
{
    (void)state;
    llava_session s;
    open_case(&s, "pixtral", NULL);
    llava_inputs *in = &s.inputs;
    features before = run_tower(&s, in);
    in->pixel_values[3 * in->height * in->width] = (double)NAN; /* of the second picture */
    features after = run_tower(&s, in);
    size_t first = llava_picture_rows(&s.plan, in, 0), own = llava_picture_rows(&s.plan, in, 1);
    assert_same_rows(&before, 0, &after, first);
    for (size_t i = first * after.width; i < (first + own) * after.width; i++) {
        assert_true(isnan(after.values[i]));
    }
    features last = {after.values + (first + own) * after.width, 1, after.width};
    assert_same_rows(&before, first + own, &last, llava_picture_rows(&s.plan, in, 2));
    free(before.values);
    free(after.values);
    llava_session_close(&s);
}

/* image_sizes left out, and every size as large as the pixels. */
static void no_sizes_mean_all_of_the_pixels(void **state)
{
    (void)state;
    llava_session s;
    open_case(&s, "pixtral-one", NULL);
    llava_inputs given = s.inputs;
    int64_t size[2] = {(int64_t)given.height, (int64_t)given.width};
    assert_null(given.image_sizes);
    given.image_sizes = size;
    features without = run_tower(&s, &s.inputs), with = run_tower(&s, &given);
    assert_int_equal(with.rows, without.rows);
    assert_same_rows(&without, 0, &with, with.rows);
    free(without.values);
    free(with.values);
    llava_session_close(&s);
}

/* A port that ignores the sizes makes rows of the padding, too. */
static void ignored_sizes_give_more_rows(void **state)
{
    (void)state;
    llava_session s;
    open_case(&s, "pixtral", NULL);
    llava_choices choices = {{0}};
    llava_error e = {""};
    assert_true(llava_choose(&choices, "vision.image_sizes=ignored", &e) &&
                llava_plan_make(&s.plan, &s.config, &choices, LLAVA_F64, false, &e));
    features f = run_tower(&s, &s.inputs);
    size_t patch = s.plan.vision.patch;
    assert_int_equal(f.rows, 3 * (s.inputs.height / patch) * (s.inputs.width / patch));
    free(f.values);
    llava_session_close(&s);
}

/* ---- `default` without a class row --------------------------------------------------------------
 */

/* transformers drops the first row of the one sequence, and, where image_sizes are given, fails as
 * it splits the others among the pictures (measured). */
static void the_default_strategy_drops_a_patch(void **state)
{
    (void)state;
    llava_session s;
    llava_error e = {""};
    llava_choices right = {{0}};
    open_case(&s, "pixtral", NULL);
    features full = run_tower(&s, &s.inputs);
    s.config.select = LLAVA_SELECT_DEFAULT;
    assert_true(llava_plan_make(&s.plan, &s.config, &right, LLAVA_F64, false, &e));
    assert_false(llava_image_sizes_check(&s.inputs, &s.plan, &e));
    support_says(&e, "image_sizes: with the strategy `default`");
    features one_less = run_tower(&s, &s.inputs);
    assert_int_equal(one_less.rows, full.rows - 1);
    assert_same_rows(&full, 1, &one_less, one_less.rows);
    size_t rows = 0;
    for (size_t i = 0; i < s.inputs.pictures; i++) {
        rows += llava_picture_rows(&s.plan, &s.inputs, i);
    }
    assert_int_equal(rows, one_less.rows);
    free(full.values);
    free(one_less.values);
    llava_session_close(&s);
}

/* ---- refused ------------------------------------------------------------------------------------
 */

static void sizes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    llava_session s;
    open_case(&s, "pixtral", NULL);
    static const int64_t wrong[][2] = {{3, 8},  {8, 3},         {0, 8}, {-8, 8},
                                       {14, 8}, {8, INT64_MAX}, {8, 15}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        llava_error e = {""};
        int64_t kept[2] = {s.inputs.image_sizes[2], s.inputs.image_sizes[3]};
        memcpy(s.inputs.image_sizes + 2, wrong[i], sizeof wrong[i]);
        assert_false(llava_inputs_check(&s.inputs, &s.plan, &e));
        support_says(&e, "at [1] is not from one patch, 4x4, to the pixels' 13x14");
        memcpy(s.inputs.image_sizes + 2, kept, sizeof kept);
    }
    llava_error e = {""};
    s.inputs.image_sizes[0] = 8; /* 2 x 2 patches, where the text has tokens for 3 x 2 */
    assert_false(llava_inputs_check(&s.inputs, &s.plan, &e));
    support_says(&e, "input_ids: 13 image tokens, but 3 pictures of their sizes need 11");
    llava_inputs wrong_one = s.inputs;
    wrong_one.pixel_values = NULL;
    assert_false(llava_inputs_check(&wrong_one, &s.plan, &e));
    support_says(&e, "image_sizes: there are no pixel_values");
    wrong_one = s.inputs;
    wrong_one.image_sizes = NULL;
    wrong_one.height = s.plan.vision.patch - 1;
    assert_false(llava_inputs_check(&wrong_one, &s.plan, &e));
    support_says(&e, "pixel_values: 3x14, less than one patch of 4x4");
    wrong_one.height = s.inputs.height;
    wrong_one.width = s.plan.vision.patch - 1;
    assert_false(llava_inputs_check(&wrong_one, &s.plan, &e));
    support_says(&e, "pixel_values: 13x3, less than one patch of 4x4");
    wrong_one.length = 0;
    assert_false(llava_inputs_check(&wrong_one, &s.plan, &e));
    support_says(&e, "no tokens: [");
    llava_session_close(&s);
    open_case(&s, "siglip", NULL);
    int64_t sizes[6] = {10, 10, 10, 10, 10, 10};
    s.inputs.image_sizes = sizes;
    assert_false(llava_inputs_check(&s.inputs, &s.plan, &e));
    support_says(&e, "image_sizes: only a Pixtral tower takes them");
    s.inputs.image_sizes = NULL;
    llava_session_close(&s);
}

/* What only some towers have, asked of another. */
static void decisions_of_other_towers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *model, *setting, *says;
    } cases[] = {
        {"siglip", "vision.cls_position=last", "this tower has no class row"},
        {"siglip", "vision.pre_norm=absent", "no norm in front"},
        {"siglip", "vision.rope_theta=1e6", "no rotary embedding"},
        {"siglip", "vision.picture_mask=ignored", "a sequence for each picture"},
        {"siglip", "vision.image_sizes=ignored", "all of one size"},
        {"siglip", "vision.mlp_order=gate-up-swapped", "no gate"},
        {"pixtral", "vision.cls_position=absent", "this tower has no class row"},
        {"pixtral", "vision.positions=shifted", "no position table"},
        {"pixtral", "vision.attn_bias=absent", "attention has no biases"},
        {"pixtral", "vision.patch_bias=absent", "convolution has no bias"},
        {"pixtral", "vision.post_norm=applied", "no norm behind"},
        {"plain", "vision.patch_bias=absent", "convolution has no bias"},
        {"plain", "vision.rope_axes=column-row", "no rotary embedding"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char model[128];
        llava_config config;
        llava_choices choices = {{0}};
        llava_plan plan;
        llava_error e = {""};
        snprintf(model, sizeof model, "golden/%s/model", cases[i].model);
        assert_true(llava_config_read(&config, model, &e) &&
                    llava_choose(&choices, cases[i].setting, &e));
        assert_false(llava_plan_make(&plan, &config, &choices, LLAVA_F64, false, &e));
        support_says(&e, cases[i].setting);
        support_says(&e, "no effect here: ");
        support_says(&e, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_alone_equals_its_rows_among_others),
        cmocka_unit_test(a_look_at_the_scores_changes_no_bit),
        cmocka_unit_test(flash_sums_add_the_masks_numbers),
        cmocka_unit_test(pixels_outside_a_pictures_patches_are_never_read),
        cmocka_unit_test(a_nan_stays_in_its_picture),
        cmocka_unit_test(no_sizes_mean_all_of_the_pixels),
        cmocka_unit_test(ignored_sizes_give_more_rows),
        cmocka_unit_test(the_default_strategy_drops_a_patch),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(decisions_of_other_towers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
