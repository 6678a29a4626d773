/* The bound that stands by itself, counted by hand; what a dump shows of the types that it was
 * computed in. */
#include "tools/bounds.h"

#include "tests/program.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* docs/tolerances.md: 4 u sqrt(n) in L2, and 2^-24 sqrt(n width) where a type is narrower; 8 times
 * that in max. */
static void check_bound(const char *name, const llava_tower_seen *tower, double n)
{
    const double u = 0x1p-53 + 0x1p-53, narrow = 0x1p-53 + 0x1p-8;
    llava_bound b = llava_bound_alone(name, 16, tower, LLAVA_F64, LLAVA_F64);
    assert_true(b.l2 == 4 * u * sqrt(n) && b.max == 8 * b.l2);
    b = llava_bound_alone(name, 16, tower, LLAVA_F64, LLAVA_BF16);
    assert_true(b.l2 == 4 * narrow * sqrt(n) + 0x1p-24 * sqrt(n * 16) && b.max == 8 * b.l2);
}

/* The kinds of a CLIP tower up to the tap, those of its layers as often as it has layers. */
static void test_the_bound_counts_what_was_rounded_before(void **state)
{
    (void)state;
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds), before = 0, layer = 0;
    const llava_tower_seen two = {.layers = 2};
    for (size_t k = 0; k < count && strcmp(kinds[k].name, "vision.embed") != 0; k++) {
        before += llava_tap_of_tower(&kinds[k], LLAVA_TOWER_CLIP);
    }
    check_bound("vision.embed", &two, (double)before + 1);
    for (size_t k = 0; k < count; k++) {
        layer +=
            kinds[k].at == LLAVA_AT_VISION_LAYER && llava_tap_of_tower(&kinds[k], LLAVA_TOWER_CLIP);
    }
    const double norm = (double)before + 3; /* pre_norm, norm1 */
    check_bound("vision.layers.0.norm1", &two, norm);
    check_bound("vision.layers.1.norm1", &two, norm + (double)layer);
    check_bound("vision.features", &two, norm + 2 * (double)layer);
    check_bound("a port's own name", &two, (double)count); /* every kind: the widest there is */
    size_t all = 0;
    const llava_tower_seen one = {.layers = 1};
    for (size_t k = 0; k < count; k++) {
        all += llava_tap_of_tower(&kinds[k], LLAVA_TOWER_CLIP);
    }
    check_bound(kinds[count - 1].name, &one, (double)all); /* the last of all */
}

/* Taps tell the tower, and how many layers of it were run. */
static void test_the_tower_is_seen_by_its_taps(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t layers;
        int kind;
    } taps[] = {
        {"logits", 0, LLAVA_TOWER_CLIP},
        {"vision.layers.4.norm1", 5, LLAVA_TOWER_CLIP},
        {"vision.layers.2.norm1", 5, LLAVA_TOWER_CLIP},
        {"vision.layers.5.attn.q_rope", 6, LLAVA_TOWER_PIXTRAL},
        {"vision.embed", 6, LLAVA_TOWER_PIXTRAL},
    };
    llava_tower_seen tower = {0};
    for (size_t i = 0; i < sizeof taps / sizeof *taps; i++) {
        llava_tap_place place;
        assert_true(llava_tap_find(taps[i].name, &place));
        llava_tower_see(&tower, &place);
        assert_int_equal(tower.layers, taps[i].layers);
        assert_int_equal((int)tower.kind, taps[i].kind);
    }
}

static void test_parts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int part;
    } taps[] = {
        {"pixel_values", -1}, {"input_ids", -1},    {"a port's own name", -1},
        {"vision.embed", 0},  {"projector.out", 0}, {"text.embed", 1},
        {"logits", 1},        {"step.3.logits", 1},
    };
    for (size_t i = 0; i < sizeof taps / sizeof *taps; i++) {
        assert_int_equal(llava_part_of_tap(taps[i].name), taps[i].part);
    }
}

/* The narrowest type that holds all of them. NaN is of every type. */
static void test_the_narrowest_type(void **state)
{
    (void)state;
    static const struct {
        double values[2];
        llava_dtype type;
    } rows[] = {
        {{1, (double)NAN}, LLAVA_BF16},
        {{1, 1 + 0x1p-7}, LLAVA_BF16},
        {{1, 1 + 0x1p-8}, LLAVA_F16},
        {{65536 * 256.0, 1 + 0x1p-8}, LLAVA_F32}, /* float16 ends before */
        {{1, 1 + 0x1p-23}, LLAVA_F32},
        {{1, 1 + 0x1p-24}, LLAVA_F64},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal((int)llava_narrowest(rows[i].values, 2), (int)rows[i].type);
    }
}

/* Numbers of four bits at most fit every type and tell of none. */
static void test_which_values_tell_of_a_type(void **state)
{
    (void)state;
    static const struct {
        double values[3];
        bool tells;
    } rows[] = {
        {{0, -0.0, 1}, false},        {{-2, 0.5, 0x1p-140}, false},
        {{15, 0.9375, -1.5}, false},  {{0, 0, 17}, true},
        {{0, 1, 0x1.1p-3}, true},     {{0, 0, 1 + 0x1p-30}, true},
        {{(double)NAN, 0, 0}, false}, {{(double)INFINITY, 0, 3}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        llava_type_probe probe = {.tells = false};
        llava_probe_add(&probe, rows[i].values, 3);
        assert_int_equal(probe.tells, rows[i].tells);
    }
}

/* What fits every type is of the type that its file has. */
static void test_numbers_that_tell_nothing_have_their_files_type(void **state)
{
    (void)state;
    static const struct {
        const char *stored;
        llava_dtype type;
    } rows[] = {
        {"<f8", LLAVA_F64}, {"<f4", LLAVA_F32},   {"<f2", LLAVA_F16},
        {"<i8", LLAVA_F64}, {"BF16", LLAVA_BF16},
    };
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[64];
        llava_dump *dump;
        llava_dtype type;
        llava_error e;
        snprintf(text, sizeof text, "x %s [2] 0 1", rows[i].stored);
        if (rows[i].stored[0] == 'B') {
            support_write_safetensors(
                &folder, "d.npz",
                "{\"x\":{\"dtype\":\"BF16\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0);
        } else {
            program_write_inputs(&folder, "d.npz", text);
        }
        assert_true(llava_dump_open(&dump, support_path(&folder, "d.npz"), &e));
        assert_true(llava_measure_type(dump, llava_dump_at(dump, 0), &type, &e));
        assert_int_equal((int)type, (int)rows[i].type);
        llava_dump_close(dump);
    }
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_bound_counts_what_was_rounded_before),
        cmocka_unit_test(test_the_tower_is_seen_by_its_taps),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_the_narrowest_type),
        cmocka_unit_test(test_which_values_tell_of_a_type),
        cmocka_unit_test(test_numbers_that_tell_nothing_have_their_files_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
