/* The sizes of the pictures in a dump's __meta__, and what they make of a comparison: scores and
 * probabilities of another picture's patches do not count. */
#include "tests/memory.h"
#include "tests/support.h"
#include "tools/counting.h"
#include "tools/picture_sizes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What is put is what is read. */
static void sizes_come_back(void **state)
{
    (void)state;
    int64_t sizes[] = {13, 8, 8, 14, 4, 5};
    llava_plan plan = {.vision = {.tower = LLAVA_TOWER_PIXTRAL, .patch = 4}};
    llava_inputs in = {.pictures = 3, .height = 13, .width = 14, .image_sizes = sizes};
    for (int given = 0; given < 2; given++) {
        llava_picture_sizes read;
        llava_error e = {""};
        cJSON *meta = cJSON_CreateObject();
        in.image_sizes = given ? sizes : NULL; /* not given: all of the pixels */
        assert_true(llava_picture_sizes_put(meta, &plan, &in));
        char *text = cJSON_PrintUnformatted(meta);
        assert_true(llava_picture_sizes_read(&read, "d.npz", text, &e));
        assert_int_equal(read.count, 3);
        assert_int_equal(read.patch, 4);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(read.sizes[2 * i], given ? sizes[2 * i] : 13);
            assert_int_equal(read.sizes[2 * i + 1], given ? sizes[2 * i + 1] : 14);
        }
        free(read.sizes);
        free(text);
        cJSON_Delete(meta);
    }
}

static void other_towers_say_nothing(void **state)
{
    (void)state;
    llava_plan plan = {.vision = {.tower = LLAVA_TOWER_SIGLIP, .patch = 4}};
    llava_inputs in = {.pictures = 1, .height = 8, .width = 8};
    cJSON *meta = cJSON_CreateObject();
    assert_true(llava_picture_sizes_put(meta, &plan, &in));
    assert_null(meta->child);
    plan.vision.tower = LLAVA_TOWER_PIXTRAL; /* of which there is no picture */
    in.pictures = 0;
    assert_true(llava_picture_sizes_put(meta, &plan, &in));
    assert_null(meta->child);
    cJSON_Delete(meta);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const char *const good[] = {
        NULL, "", "{}", "{\"image_sizes\":[]}", "not json", "{\"image_sizes\":null}"};
    static const struct {
        const char *meta, *says;
    } bad[] = {
        {"{\"image_sizes\":3,\"patch_size\":4}", "image_sizes: must be"},
        {"{\"image_sizes\":[[8,8]]}", "patch_size: must be positive"},
        {"{\"image_sizes\":[[8,8]],\"patch_size\":0}", "patch_size: must be positive"},
        {"{\"image_sizes\":[[8,8]],\"patch_size\":-4}", "patch_size: must be positive"},
        {"{\"image_sizes\":[8,8],\"patch_size\":4}", "image_sizes: not pairs of numbers"},
        {"{\"image_sizes\":[[8,8,8]],\"patch_size\":4}", "image_sizes: not pairs of numbers"},
        {"{\"image_sizes\":[[8,\"8\"]],\"patch_size\":4}", "__meta__: image_sizes"},
        {"{\"image_sizes\":[[\"8\",8]],\"patch_size\":4}", "__meta__: image_sizes"},
        {"{\"image_sizes\":[[8,8]],\"patch_size\":\"4\"}", "patch_size"},
        {"{\"image_sizes\":[[3,8]],\"patch_size\":4}", "no size of a picture of patches"},
        {"{\"image_sizes\":[[4294967296,8]],\"patch_size\":4}", "no size of a picture of patches"},
        {"{\"image_sizes\":[[8,3]],\"patch_size\":4}", "no size of a picture of patches"},
        {"{\"image_sizes\":[[8,-8]],\"patch_size\":4}", "no size of a picture of patches"},
        {"{\"image_sizes\":[[8,4294967296]],\"patch_size\":4}", "no size of a picture of patches"},
    };
    llava_picture_sizes s;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        llava_error e = {""};
        assert_true(llava_picture_sizes_read(&s, "d.npz", good[i], &e));
        assert_int_equal(s.count, 0);
        assert_null(s.sizes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        llava_error e = {""};
        assert_false(llava_picture_sizes_read(&s, "d.npz", bad[i].meta, &e));
        support_says(&e, "d.npz: ");
        support_says(&e, bad[i].says);
        assert_null(s.sizes);
    }
}

static bool read_sizes(void *self, llava_error *e)
{
    llava_picture_sizes s;
    bool ok = llava_picture_sizes_read(&s, "d.npz", self, e);
    if (ok) { /* not absent for want of memory */
        assert_int_equal(s.count, 1);
        free(s.sizes);
    }
    return ok;
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    char meta[] = "{\"image_sizes\":[[8,8]],\"patch_size\":4}";
    assert_true(memory_runs_out(read_sizes, meta) > 5);
}

/* Pictures of 2 and 3 patches in one sequence of 5, two heads. */
static void another_pictures_patches_do_not_count(void **state)
{
    (void)state;
    llava_counting c = {0};
    llava_error e = {""};
    assert_true(llava_counting_add_picture(&c, 2, &e) && llava_counting_add_picture(&c, 3, &e));
    const char *const names[] = {"vision.layers.1.attn.scores", "vision.layers.1.attn.probs"};
    for (size_t k = 0; k < 2; k++) {
        llava_row_counting rows = llava_count_rows(&c, names[k], 4, (const size_t[]){1, 2, 5, 5});
        for (size_t row = 0; row < 10; row++) {
            assert_true(llava_row_counts(&rows, row));
            for (size_t i = 0; i < 5; i++) {
                assert_int_equal(llava_element_counts(&rows, row, i), (row % 5 < 2) == (i < 2));
            }
        }
    }
    /* other shapes and taps: everything counts */
    llava_row_counting rows = llava_count_rows(&c, names[0], 4, (const size_t[]){1, 2, 6, 6});
    assert_true(llava_element_counts(&rows, 0, 5));
    rows = llava_count_rows(&c, "vision.layers.1.norm1", 3, (const size_t[]){1, 5, 5});
    assert_true(llava_element_counts(&rows, 0, 4));
    rows = llava_count_rows(&c, "text.layers.1.attn.scores", 4, (const size_t[]){1, 2, 5, 5});
    assert_true(llava_element_counts(&rows, 0, 4));
    llava_counting_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_come_back),
        cmocka_unit_test(other_towers_say_nothing),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(another_pictures_patches_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
