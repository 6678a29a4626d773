/* The picture stage along a port's tensors: where it starts, what cannot be one, and what rows of
 * image tokens say of a picture's size. */
#include "memory.h"
#include "program.h"
#include "tools/llava_dump.h"
#include "tools/picture_trial.h"
#include "tools/port.h"
#include "tools/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const llava_choices right = {0};

/* ---- sessions and ports -------------------------------------------------------------------------
 */

typedef struct {
    llava_request request;
    llava_session session;
    llava_port *port; /* NULL until one is opened */
} scene;

static const char *plain_images[] = {"golden/picture-prompt/p.png"};
static const char *pixtral_images[] = {"golden/picture-pixtral/wide.jpg",
                                       "golden/picture-pixtral/turned.jpg",
                                       "golden/picture-pixtral/as-it-is.png"};

/* One picture of 43 x 61, resized to 21 x 29, cut to 21 x 21; or Pixtral's three. */
static void open_scene(scene *s, bool pixtral)
{
    llava_error e;
    *s = (scene){.request = {.model = "golden/picture-prompt/model",
                             .images = plain_images,
                             .image_count = 1,
                             .prompt = "<image>"}};
    if (pixtral) {
        s->request.model = "golden/picture-pixtral/model";
        s->request.images = pixtral_images, s->request.image_count = 3;
        s->request.prompt = "[IMG][IMG][IMG]";
    }
    if (!llava_session_open(&s->session, &s->request, &e)) {
        fail_msg("%s", e.text);
    }
}

static void close_scene(scene *s)
{
    llava_port_close(s->port);
    llava_session_close(&s->session);
}

static void open_port(scene *s, const char *path)
{
    llava_error e;
    llava_port_close(s->port);
    s->port = NULL;
    if (!llava_port_open(&s->port, path, NULL, &s->session.plan, &e)) {
        fail_msg("%s", e.text);
    }
}

static void make_port(scene *s, const char *description)
{
    support_folder folder = support_folder_new();
    program_write_inputs(&folder, "port.npz", description);
    open_port(s, support_path(&folder, "port.npz"));
    support_folder_remove(&folder);
}

/* A comparison of `tap` that could be made, or not. */
static bool compares_by(scene *s, const llava_choices *choices, llava_port *from, const char *tap,
                        llava_comparison *c)
{
    bool made;
    llava_error e;
    if (!llava_picture_compare(&s->session, choices, from, s->port, tap, c, &made, &e)) {
        fail_msg("%s: %s", tap, e.text);
    }
    return made;
}

static bool compares(scene *s, llava_port *from, const char *tap, llava_comparison *c)
{
    return compares_by(s, &right, from, tap, c);
}

/* ---- one stage from the one before --------------------------------------------------------------
 */

static void a_right_port_is_what_the_file_gives(void **state)
{
    (void)state;
    static const char *const taps[2][8] = {
        {"image.rgb", "image.resized", "image.cropped", "pixel_values", NULL},
        {"image.rgb", "image.1.rgb", "image.1.resized", "image.2.resized", "pixel_values", NULL}};
    for (int pixtral = 0; pixtral < 2; pixtral++) {
        scene s;
        open_scene(&s, pixtral);
        open_port(&s,
                  pixtral ? "golden/picture-pixtral/true.npz" : "golden/picture-prompt/true.npz");
        for (size_t i = 0; taps[pixtral][i] != NULL; i++) {
            llava_comparison c;
            assert_true(compares(&s, s.port, taps[pixtral][i], &c));
            assert_true(c.rel_l2 < 1e-6);
            assert_true(compares(&s, NULL, taps[pixtral][i], &c));
            assert_true(c.rel_l2 < 1e-6);
        }
        close_scene(&s);
    }
}

static void a_stage_starts_at_the_nearest_that_is_a_picture(void **state)
{
    (void)state;
    static const struct {
        const char *before; /* what the port has beside a black image.cropped */
        bool black;         /* it is what the cut one is made of */
    } rows[] = {
        {"image.resized |u1 [21,29,3] 0*1827", true},
        {"image.rgb |u1 [43,61,3] 0*7869", true},
        /* no pictures: so it starts at the file */
        {"image.resized |u1 [21,29] 0*609", false},
        {"image.resized |u1 [21,29,4] 0*2436", false},
        {"image.resized <f8 [21,29,3] 0*1826 -1", false},
        {"image.resized <f8 [21,29,3] 0*1826 256", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        scene s;
        llava_comparison c;
        snprintf(text, sizeof text, "%s; image.cropped |u1 [21,21,3] 0*1323", rows[i].before);
        open_scene(&s, false);
        make_port(&s, text);
        assert_true(compares(&s, s.port, "image.cropped", &c));
        assert_true((c.unequal == 0) == rows[i].black);
        close_scene(&s);
    }
}

static void what_no_choice_makes_is_not_compared(void **state)
{
    (void)state;
    static const char *const taps[] = {
        "image.cropped |u1 [21,20,3] 0*1260",  "image.cropped |u1 [20,21,3] 0*1260",
        "image.cropped |u1 [21,21,1] 0*441",   "image.cropped |u1 [21,21] 0*441",
        "image.padded |u1 [43,61,3] 0*7869",   "image.1.rgb |u1 [43,61,3] 0*7869",
        "pixel_values <f4 [3,21,21] 0*1323",   "pixel_values <f4 [2,3,21,21] 0*2646",
        "pixel_values <f4 [1,1,21,21] 0*441",  "pixel_values <f4 [1,3,20,21] 0*1260",
        "pixel_values <f4 [1,3,21,20] 0*1260", "pixel_values <f4 [1,3,22,21] 0*1386",
    };
    for (size_t i = 0; i < sizeof taps / sizeof taps[0]; i++) {
        char name[32];
        scene s;
        llava_comparison c;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(taps[i], " "), taps[i]);
        open_scene(&s, false);
        make_port(&s, taps[i]);
        assert_false(compares(&s, s.port, name, &c));
        close_scene(&s);
    }
    /* larger than the largest of several padded pictures */
    scene s;
    llava_comparison c;
    open_scene(&s, true);
    make_port(&s, "pixel_values <f4 [3,3,31,30] 0*8370");
    assert_false(compares(&s, s.port, "pixel_values", &c));
    close_scene(&s);
}

/* A picture so thin that no row of it is left cannot be resized. */
static void what_the_steps_refuse_makes_nothing(void **state)
{
    (void)state;
    scene s;
    llava_comparison c;
    double *values;
    llava_error e;
    open_scene(&s, true);
    make_port(&s, "image.rgb |u1 [1,2000,3] 0*6000; pixel_values <f4 [3,3,30,30] 0*8100");
    llava_inputs in = s.session.inputs;
    int64_t sizes[6];
    memcpy(sizes, in.image_sizes, sizeof sizes);
    in.image_sizes = sizes;
    assert_false(compares(&s, s.port, "pixel_values", &c));
    assert_true(llava_picture_sizes(&s.session, s.port, &in, &e));
    assert_memory_equal(sizes, s.session.inputs.image_sizes, sizeof sizes);
    assert_true(llava_picture_values(&s.session, &in, &right, s.port, &values, &e));
    assert_null(values);
    close_scene(&s);
}

/* ---- what a port does besides -------------------------------------------------------------------
 */

static const llava_choices bgr = {.value = {[LLAVA_IMAGE_CHANNEL_ORDER] = 1}};
static const llava_choices linear = {
    .value = {[LLAVA_IMAGE_RESIZE_FILTER] = LLAVA_FILTER_BILINEAR}};
static const llava_choices linear_once = {
    .value = {[LLAVA_IMAGE_RESIZE_FILTER] = LLAVA_FILTER_BILINEAR,
              [LLAVA_IMAGE_ANTIALIAS] = LLAVA_ANTIALIAS_OFF,
              [LLAVA_IMAGE_RESIZE_ROUNDING] = LLAVA_RESIZE_ONCE}};

enum { SIDE = 21, PLANE = SIDE * SIDE };

/* The port's pixel values are what these choices make of the file, cast, and with its planes in
 * that order. */
static void make_pixels(scene *s, const support_folder *folder, const llava_choices *choices,
                        llava_dtype cast, const int planes[3])
{
    static const size_t shape[] = {1, 3, SIDE, SIDE};
    llava_error e;
    double *values;
    float given[3 * PLANE];
    assert_true(llava_picture_values(&s->session, &s->session.inputs, choices, NULL, &values, &e));
    for (size_t i = 0; i < 3 * PLANE; i++) {
        double x = values[(size_t)planes[i / PLANE] * PLANE + i % PLANE];
        given[i] = (float)llava_round(cast, x);
    }
    free(values);
    assert_int_equal(llava_dump_f32(support_path(folder, "p"), "pixel_values", given, 4, shape), 0);
    open_port(s, support_path(folder, "p"));
}

/* A cast to 16 bits is no error, however small what it would hide. */
static void pixels_cast_to_16_bits_are_held_against_a_cast(void **state)
{
    (void)state;
    static const int in_order[] = {0, 1, 2};
    static const llava_dtype types[] = {LLAVA_F32, LLAVA_F16, LLAVA_BF16};
    support_folder folder = support_folder_new();
    for (size_t t = 0; t < 3; t++) {
        scene s;
        llava_comparison c;
        open_scene(&s, false);
        make_pixels(&s, &folder, &right, types[t], in_order);
        assert_true(compares(&s, s.port, "pixel_values", &c) && c.rel_l2 == 0);
        assert_true(compares_by(&s, &linear, s.port, "pixel_values", &c) && c.rel_l2 > 0.01);
        make_pixels(&s, &folder, &linear, types[t], in_order);
        assert_true(compares_by(&s, &linear, s.port, "pixel_values", &c) && c.rel_l2 == 0);
        close_scene(&s);
    }
    support_folder_remove(&folder);
    /* an error of a few units of bfloat16 is one in float32, also where its numbers are short */
    double mine[2] = {1.0, 0.75}, theirs[2] = {1.0 + 3 * 0x1p-8, 0.75};
    llava_cast_pixels(mine, theirs, 2);
    assert_true(mine[0] == 1.0);
}

static void red_and_blue_are_exchanged_anywhere(void **state)
{
    (void)state;
    static const int in_order[] = {0, 1, 2}, exchanged[] = {2, 1, 0};
    support_folder folder = support_folder_new();
    scene s;
    llava_comparison c;
    open_scene(&s, false);
    make_pixels(&s, &folder, &bgr, LLAVA_F32, in_order); /* before the steps */
    assert_true(compares_by(&s, &bgr, NULL, "pixel_values", &c) && c.rel_l2 < 1e-6);
    make_pixels(&s, &folder, &right, LLAVA_F32, exchanged); /* behind them */
    assert_true(compares(&s, NULL, "pixel_values", &c) && c.rel_l2 > 0.1);
    assert_true(compares_by(&s, &bgr, NULL, "pixel_values", &c) && c.rel_l2 < 1e-6);
    close_scene(&s);
    support_folder_remove(&folder);
}

/* Columns of 0 and 1 in turn, halved in size: every value is 0.5, in the middle of two bytes. */
static void a_float_in_the_middle_of_two_bytes_becomes_either(void **state)
{
    (void)state;
    static const size_t rgb[] = {2 * SIDE, 2 * SIDE, 3}, resized[] = {SIDE, SIDE, 3};
    for (uint8_t most = 1; most < 3; most++) {
        uint8_t before[12 * PLANE], after[3 * PLANE];
        support_folder folder = support_folder_new();
        const char *path = support_path(&folder, "p");
        scene s;
        llava_comparison c;
        for (size_t i = 0; i < sizeof before; i++) {
            before[i] = i / 3 % 2;
        }
        for (size_t i = 0; i < sizeof after; i++) {
            after[i] = i % 5 == 0 ? most : 0;
        }
        assert_int_equal(llava_dump_u8(path, "image.rgb", before, 3, rgb), 0);
        assert_int_equal(llava_dump_u8(path, "image.resized", after, 3, resized), 0);
        open_scene(&s, false);
        open_port(&s, path);
        assert_true(compares_by(&s, &linear_once, s.port, "image.resized", &c));
        assert_true((c.unequal == 0) == (most == 1));
        close_scene(&s);
        support_folder_remove(&folder);
    }
}

/* A resize without rounding is off by what float32 weights of a large picture are. */
static void a_float_resize_has_the_noise_of_its_positions(void **state)
{
    (void)state;
    static char pixels[] = "pixel_values", cropped[] = "image.cropped";
    static const llava_choices floats = {
        .value = {[LLAVA_IMAGE_RESIZE_ROUNDING] = LLAVA_RESIZE_FLOAT}};
    scene s;
    open_scene(&s, false);
    llava_judged j = {.name = pixels, .noise = 0x1p-23, .noise_max = 0x1p-21}, before = j;
    llava_allow_float_resize(&j, &s.session, &right);
    assert_memory_equal(&j, &before, sizeof j);
    llava_allow_float_resize(&j, &s.session, &floats);
    assert_true(j.noise == 63 * 0x1p-24 && j.noise_max == 63 * 0x1p-22); /* 61 columns */
    before = j = (llava_judged){.name = cropped};
    llava_allow_float_resize(&j, &s.session, &floats);
    assert_memory_equal(&j, &before, sizeof j);
    close_scene(&s);
}

/* ---- sizes --------------------------------------------------------------------------------------
 */

static void sizes_are_those_of_the_ports_own_pictures(void **state)
{
    (void)state;
    scene s;
    llava_error e;
    int64_t sizes[6] = {0};
    open_scene(&s, true);
    make_port(&s, "image.1.resized |u1 [24,12,3] 0*864");
    llava_inputs in = s.session.inputs;
    in.image_sizes = sizes;
    in.height = in.width = 0;
    assert_true(llava_picture_sizes(&s.session, s.port, &in, &e));
    const int64_t expected[] = {12, 30, 24, 12, 12, 18};
    assert_memory_equal(sizes, expected, sizeof sizes);
    assert_int_equal(in.height, 24);
    assert_int_equal(in.width, 30);
    in.image_sizes = NULL; /* not of such a kind: nothing to be said */
    in.height = 7;
    assert_true(llava_picture_sizes(&s.session, s.port, &in, &e));
    assert_int_equal(in.height, 7);
    close_scene(&s);
}

static void rows_of_image_tokens_state_a_size(void **state)
{
    (void)state;
    scene s;
    llava_error e;
    open_scene(&s, true);
    assert_true(llava_session_tokenizer(&s.session, &e));
    const int64_t img = s.session.config.image_token,
                  brk = llava_tokenizer_id_of(s.session.tokenizer, "[IMG_BREAK]"),
                  end = llava_tokenizer_id_of(s.session.tokenizer, "[IMG_END]");
    /* i: an image token, b: the end of a row, e: the end of a picture, t: a word */
    static const struct {
        const char *ids;
        size_t height, width;
        bool stated;
        int64_t sizes[6];
    } rows[] = {
        {"iibiieieitiiie", 12, 18, false, {0}},
        {"tiibiietieiiiet", 12, 18, true, {12, 12, 6, 6, 6, 18}},
        {"iibiieieiiie", 12, 18, true, {12, 12, 6, 6, 6, 18}},
        {"iibiieieiiie", 13, 20, true, {12, 12, 6, 6, 6, 18}}, /* what is over is no patch */
        {"iibiieieiiie", 18, 18, false, {0}},                  /* no picture is so large */
        {"iibiieieiiie", 12, 24, false, {0}},
        {"iibiieieiiie", 6, 18, false, {0}}, /* one is larger than the pixels */
        {"iibiieieiiie", 12, 12, false, {0}},
        {"iibieieiiie", 12, 18, false, {0}}, /* rows of different lengths */
        {"iibbieieiiie", 12, 18, false, {0}},
        {"eieiiie", 12, 18, false, {0}},
        {"iibtiieieiiie", 12, 18, false, {0}}, /* a word within a picture */
        {"iibiieie", 12, 18, false, {0}},      /* two pictures of three */
        {"iibiieieiii", 12, 18, false, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ids[32], sizes[6] = {0};
        size_t n = strlen(rows[i].ids);
        for (size_t k = 0; k < n; k++) {
            char c = rows[i].ids[k];
            ids[k] = c == 'i' ? img : c == 'b' ? brk : c == 'e' ? end : 3;
        }
        llava_inputs in = s.session.inputs;
        in.image_sizes = sizes;
        assert_int_equal(
            llava_picture_sizes_of_ids(&s.session, ids, n, rows[i].height, rows[i].width, &in),
            rows[i].stated);
        assert_memory_equal(sizes, rows[i].sizes, sizeof sizes);
        in.image_sizes = NULL;
        assert_false(llava_picture_sizes_of_ids(&s.session, ids, n, 12, 18, &in));
    }
    close_scene(&s);
    /* another processor's pictures all have one size */
    int64_t ids[] = {1}, sizes[2] = {0};
    open_scene(&s, false);
    llava_inputs in = s.session.inputs;
    in.image_sizes = sizes;
    assert_false(llava_picture_sizes_of_ids(&s.session, ids, 1, 21, 21, &in));
    assert_true(llava_session_tokenizer(&s.session, &e));
    assert_false(llava_picture_sizes_of_ids(&s.session, ids, 1, 21, 21, &in));
    close_scene(&s);
}

/* ---- memory -------------------------------------------------------------------------------------
 */

static bool judge(void *self, llava_error *e)
{
    scene *s = self;
    llava_comparison c;
    int64_t sizes[6];
    double *values;
    bool made;
    llava_inputs in = s->session.inputs;
    in.image_sizes = sizes;
    bool ok = llava_picture_sizes(&s->session, s->port, &in, e) &&
              llava_picture_compare(&s->session, &right, s->port, s->port, "image.1.resized", &c,
                                    &made, e) &&
              llava_picture_compare(&s->session, &right, s->port, s->port, "pixel_values", &c,
                                    &made, e) &&
              llava_picture_values(&s->session, &in, &right, s->port, &values, e);
    if (ok) {
        free(values);
    }
    return ok;
}

static void memory_that_runs_out_is_no_refusal(void **state)
{
    (void)state;
    scene s;
    open_scene(&s, true);
    make_port(&s, "image.1.rgb |u1 [41,20,3] 0*2460; image.1.resized |u1 [30,12,3] 0*1080; "
                  "pixel_values <f4 [3,3,30,30] 0*8100");
    assert_true(memory_runs_out(judge, &s) > 20);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_port_is_what_the_file_gives),
        cmocka_unit_test(a_stage_starts_at_the_nearest_that_is_a_picture),
        cmocka_unit_test(what_no_choice_makes_is_not_compared),
        cmocka_unit_test(what_the_steps_refuse_makes_nothing),
        cmocka_unit_test(pixels_cast_to_16_bits_are_held_against_a_cast),
        cmocka_unit_test(red_and_blue_are_exchanged_anywhere),
        cmocka_unit_test(a_float_in_the_middle_of_two_bytes_becomes_either),
        cmocka_unit_test(a_float_resize_has_the_noise_of_its_positions),
        cmocka_unit_test(sizes_are_those_of_the_ports_own_pictures),
        cmocka_unit_test(rows_of_image_tokens_state_a_size),
        cmocka_unit_test(memory_that_runs_out_is_no_refusal),
    };
    return cmocka_run_group_tests_name("picture_trial", tests, NULL, NULL);
}
