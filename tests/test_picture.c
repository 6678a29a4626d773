#include "ref/picture.h"
#include "ref/resample.h"
#include "tests/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "picture_vectors.h"
#include "support.h"
#include "opencv_vectors.h"
#include "torchvision_vectors.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The tests' picture: every row, column and channel is different. */
static llava_picture picture_of(size_t height, size_t width)
{
    llava_error e;
    llava_picture picture;
    assert_true(llava_picture_new(&picture, height, width, &e));
    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            for (size_t c = 0; c < 3; c++) {
                picture.rgb[3 * (y * width + x) + c] =
                    (uint8_t)(37 * y * y + 11 * x * x + 5 * x * y + 71 * c);
            }
        }
    }
    return picture;
}

static llava_plane resized(const llava_picture *picture, llava_resampling how, size_t height,
                           size_t width)
{
    llava_plane in = {picture->height, picture->width, picture->rgb, NULL}, out;
    llava_error e = {""};
    if (!llava_resize(&how, &in, height, width, &out, &e)) {
        fail_msg("%s", e.text);
    }
    return out;
}

static const llava_resampling bicubic = {
    .filter = LLAVA_RESAMPLE_BICUBIC, .antialias = true, .cubic_a = -0.5};

/* One channel of a resize, given as a row of levels in all three channels. */
static void check_row(const uint8_t *levels, size_t n, const uint8_t *want, size_t m)
{
    llava_error e;
    llava_picture picture;
    assert_true(llava_picture_new(&picture, 1, n, &e));
    for (size_t i = 0; i < 3 * n; i++) {
        picture.rgb[i] = levels[i / 3];
    }
    llava_plane out = resized(&picture, bicubic, 1, m);
    for (size_t i = 0; i < 3 * m; i++) {
        assert_int_equal(out.u8[i], want[i / 3]);
    }
    llava_plane_free(&out);
    llava_picture_free(&picture);
}

static void the_rows_of_the_specification(void **state)
{
    (void)state;
    static const uint8_t ramp[] = {0, 10, 20, 30, 40, 50, 60, 70, 80, 90};
    static const uint8_t ramp_to_4[] = {8, 32, 58, 82};
    check_row(ramp, COUNT(ramp), ramp_to_4, COUNT(ramp_to_4));
    static const uint8_t teeth[] = {0, 255, 0, 255, 0, 255, 0};
    static const uint8_t teeth_to_16[] = {0,   29, 167, 254, 139, 6,   70, 224,
                                          224, 70, 6,   139, 254, 167, 29, 0};
    check_row(teeth, COUNT(teeth), teeth_to_16, COUNT(teeth_to_16));
    static const uint8_t ends[] = {255, 0, 0, 255};
    static const uint8_t ends_to_3[] = {192, 0, 192};
    check_row(ends, COUNT(ends), ends_to_3, COUNT(ends_to_3));
}

static void check_resizes(const resize_vector *vectors, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const resize_vector *v = &vectors[i];
        llava_picture picture = picture_of(v->height, v->width);
        llava_resampling how = bicubic;
        how.filter = v->filter;
        how.rounding = v->rounding;
        llava_plane out = resized(&picture, how, v->new_height, v->new_width);
        if (memcmp(out.u8, v->rgb, 3 * v->new_height * v->new_width) != 0) {
            fail_msg("vector %zu, filter %d: other bytes", i, (int)v->filter);
        }
        llava_plane_free(&out);
        llava_picture_free(&picture);
    }
}

static void every_filter_resizes_to_the_bytes_of_pillow_torch_and_opencv(void **state)
{
    (void)state;
    check_resizes(resize_vectors, COUNT(resize_vectors));
    check_resizes(torchvision_resizes, COUNT(torchvision_resizes));
    check_resizes(opencv_resizes, COUNT(opencv_resizes));
}

/* Does any of OpenCV's bytes with this filter come out otherwise? */
static bool opencv_vectors_see(const llava_resampling *how)
{
    bool seen = false;
    for (size_t i = 0; i < COUNT(opencv_resizes) && !seen; i++) {
        const resize_vector *v = &opencv_resizes[i];
        if (v->filter != how->filter) {
            continue;
        }
        llava_picture picture = picture_of(v->height, v->width);
        llava_plane out = resized(&picture, *how, v->new_height, v->new_width);
        for (size_t k = 0; k < 3 * v->new_height * v->new_width; k++) {
            seen = seen || llava_plane_get(&out, k) != (double)v->rgb[k];
        }
        llava_plane_free(&out);
        llava_picture_free(&picture);
    }
    return seen;
}

/* What is nearest to OpenCV's arithmetic is still another. */
static void opencv_rounds_as_nothing_else_does(void **state)
{
    (void)state;
    static const llava_resample filters[] = {LLAVA_RESAMPLE_NEAREST, LLAVA_RESAMPLE_BILINEAR,
                                             LLAVA_RESAMPLE_BICUBIC, LLAVA_RESAMPLE_BOX};
    for (size_t f = 0; f < COUNT(filters); f++) {
        llava_resampling how = {.filter = filters[f], .cubic_a = -0.75};
        for (int r = LLAVA_RESIZE_PILLOW; r <= LLAVA_RESIZE_OPENCV; r++) {
            how.rounding = (llava_resize_rounding)r;
            for (int antialias = 0; antialias < 2; antialias++) {
                how.antialias = antialias == 1;
                assert_true(opencv_vectors_see(&how) == (r != LLAVA_RESIZE_OPENCV));
            }
        }
    }
}

static void a_filter_that_opencv_has_not_is_refused(void **state)
{
    (void)state;
    static const llava_resample filters[] = {LLAVA_RESAMPLE_LANCZOS, LLAVA_RESAMPLE_HAMMING};
    static const char *const names[] = {"OpenCV has no Lanczos-3 filter",
                                        "OpenCV has no Hamming filter"};
    llava_picture picture = picture_of(5, 6);
    for (size_t i = 0; i < 2; i++) {
        llava_resampling how = {.filter = filters[i], .rounding = LLAVA_RESIZE_OPENCV};
        llava_plane in = {picture.height, picture.width, picture.rgb, NULL}, out;
        llava_error e;
        assert_false(llava_resize(&how, &in, 3, 4, &out, &e));
        assert_non_null(strstr(e.text, names[i]));
        assert_true(out.u8 == NULL && out.f64 == NULL);
    }
    llava_picture_free(&picture);
}

/* The planted errors that the vectors above must be able to see. */
static void the_vectors_see_a_wrong_filter_rounding_or_pass_order(void **state)
{
    (void)state;
    static const llava_resampling wrong[] = {
        {.filter = LLAVA_RESAMPLE_BICUBIC, .antialias = true, .cubic_a = -0.75},
        {.filter = LLAVA_RESAMPLE_BICUBIC, .antialias = false, .cubic_a = -0.5},
        {.filter = LLAVA_RESAMPLE_BICUBIC,
         .antialias = true,
         .cubic_a = -0.5,
         .grid = LLAVA_GRID_CORNER},
        {.filter = LLAVA_RESAMPLE_BICUBIC,
         .antialias = true,
         .cubic_a = -0.5,
         .grid = LLAVA_GRID_ALIGN_CORNERS},
        {.filter = LLAVA_RESAMPLE_BICUBIC,
         .antialias = true,
         .cubic_a = -0.5,
         .rounding = LLAVA_RESIZE_TORCHVISION},
        {.filter = LLAVA_RESAMPLE_BICUBIC,
         .antialias = true,
         .cubic_a = -0.5,
         .rounding = LLAVA_RESIZE_ONCE},
        {.filter = LLAVA_RESAMPLE_BICUBIC,
         .antialias = true,
         .cubic_a = -0.5,
         .horizontal_first = true},
    };
    for (size_t w = 0; w < COUNT(wrong); w++) {
        bool seen = false;
        for (size_t i = 0; i < COUNT(resize_vectors) && !seen; i++) {
            const resize_vector *v = &resize_vectors[i];
            if (v->filter != LLAVA_RESAMPLE_BICUBIC || v->rounding != LLAVA_RESIZE_PILLOW) {
                continue;
            }
            llava_picture picture = picture_of(v->height, v->width);
            llava_plane out = resized(&picture, wrong[w], v->new_height, v->new_width);
            seen = memcmp(out.u8, v->rgb, 3 * v->new_height * v->new_width) != 0;
            llava_plane_free(&out);
            llava_picture_free(&picture);
        }
        if (!seen) {
            fail_msg("no vector sees wrong[%zu]", w);
        }
    }
}

static llava_processor clip_of(size_t shortest_edge, size_t crop_height, size_t crop_width)
{
    return (llava_processor){
        .do_resize = true,
        .do_center_crop = true,
        .do_rescale = true,
        .do_normalize = true,
        .shortest_edge = shortest_edge,
        .crop_height = crop_height,
        .crop_width = crop_width,
        .resample = LLAVA_RESAMPLE_BICUBIC,
        .rescale_factor = 0.00392156862745098,
        .mean = {0.48145466, 0.4578275, 0.40821073},
        .std = {0.26862954, 0.26130258, 0.27577711},
    };
}

static llava_image_stages processed(const llava_processor *processor, llava_image_plan plan,
                                    const llava_picture *picture)
{
    llava_image_stages stages;
    llava_error e = {""};
    if (!llava_picture_process(processor, &plan, picture, &stages, &e)) {
        fail_msg("%s", e.text);
    }
    return stages;
}

static llava_processor processor_of(const char *json)
{
    support_folder folder = support_folder_new();
    support_write_text(&folder, "preprocessor_config.json", json);
    llava_processor p;
    llava_error e;
    if (!llava_processor_read(&p, folder.path, &e)) {
        fail_msg("%s", e.text);
    }
    support_folder_remove(&folder);
    return p;
}

/* Whether the vector's picture gives its bits under this plan. */
static bool gives_bits(const value_vector *v, llava_image_plan plan)
{
    llava_processor p = processor_of(v->processor);
    llava_picture picture = picture_of(v->height, v->width);
    llava_image_stages stages = processed(&p, plan, &picture);
    bool same =
        stages.height == v->new_height && stages.width == v->new_width &&
        memcmp(stages.pixel_values, v->bits, 3 * v->new_height * v->new_width * sizeof(float)) == 0;
    bool squares = p.do_pad && p.images == LLAVA_IMAGES_LLAVA;
    assert_int_equal(stages.stage[LLAVA_STAGE_PADDED].rgb != NULL, squares);
    assert_int_equal(stages.stage[LLAVA_STAGE_RESIZED].rgb != NULL, p.do_resize);
    assert_int_equal(stages.stage[LLAVA_STAGE_CROPPED].rgb != NULL, p.do_center_crop);
    llava_image_stages_free(&stages);
    llava_picture_free(&picture);
    return same;
}

static const llava_image_plan fast = {.resize_rounding = LLAVA_RESIZE_TORCHVISION,
                                      .crop_rounding = LLAVA_CROP_TRUNC};

static void pixel_values_are_those_of_transformers_to_the_last_bit(void **state)
{
    (void)state;
    assert_int_equal(COUNT(pil_vectors), COUNT(torchvision_vectors));
    for (size_t i = 0; i < COUNT(pil_vectors); i++) {
        if (!gives_bits(&pil_vectors[i], (llava_image_plan){0})) {
            fail_msg("%s: other bits", pil_vectors[i].name);
        }
        if (!gives_bits(&torchvision_vectors[i], fast)) {
            fail_msg("%s: other bits", torchvision_vectors[i].name);
        }
    }
}

/* Both backends differ in every processor, if only in the last bits, and trunc is needed where the
 * picture is smaller than the crop. */
static void the_backends_are_told_apart(void **state)
{
    (void)state;
    size_t cropped_otherwise = 0;
    for (size_t i = 0; i < COUNT(pil_vectors); i++) {
        if (gives_bits(&torchvision_vectors[i], (llava_image_plan){0}) !=
            (strstr(torchvision_vectors[i].name, "not_scaled") != NULL)) {
            fail_msg("%s: not told apart", torchvision_vectors[i].name);
        }
        llava_image_plan floor = {.resize_rounding = LLAVA_RESIZE_TORCHVISION};
        cropped_otherwise += !gives_bits(&torchvision_vectors[i], floor);
    }
    assert_int_equal(cropped_otherwise, 1);
}

static bool same_values(const llava_image_stages *a, const llava_image_stages *b)
{
    return a->height == b->height && a->width == b->width &&
           memcmp(a->pixel_values, b->pixel_values, 3 * a->height * a->width * sizeof(float)) == 0;
}

/* Sizes at which every rounding has something to round: the longer edge up and down, an odd number
 * of rows to crop, an odd number of columns to pad. */
static void every_wrong_decision_changes_the_values(void **state)
{
    (void)state;
    static const llava_image_plan wrong[] = {
        {.channel_order = LLAVA_CHANNELS_BGR},
        {.geometry = LLAVA_GEOMETRY_PAD},
        {.geometry = LLAVA_GEOMETRY_STRETCH},
        {.resize_filter = LLAVA_FILTER_BILINEAR},
        {.resize_filter = LLAVA_FILTER_NEAREST},
        {.resize_filter = LLAVA_FILTER_LANCZOS},
        {.resize_filter = LLAVA_FILTER_BOX},
        {.antialias = LLAVA_ANTIALIAS_OFF},
        {.cubic_a = LLAVA_CUBIC_A_THREE_QUARTERS},
        {.resize_rounding = LLAVA_RESIZE_TORCHVISION},
        {.resize_rounding = LLAVA_RESIZE_FLOAT},
        {.resize_rounding = LLAVA_RESIZE_ONCE},
        {.resize_rounding = LLAVA_RESIZE_OPENCV},
        {.resize_grid = LLAVA_GRID_CORNER},
        {.resize_grid = LLAVA_GRID_ALIGN_CORNERS},
        {.pass_order = LLAVA_PASSES_HORIZONTAL_FIRST},
        {.size_rounding = LLAVA_SIZE_ROUND},
        {.size_rounding = LLAVA_SIZE_CEIL},
        {.size_rounding = LLAVA_SIZE_CEIL_F32},
        {.crop_rounding = LLAVA_CROP_CEIL},
        {.rescale = LLAVA_RESCALE_NONE},
        {.normalize = LLAVA_NORMALIZE_NONE},
        {.normalize = LLAVA_NORMALIZE_HALF},
        {.normalize = LLAVA_NORMALIZE_IMAGENET},
        {.geometry = LLAVA_GEOMETRY_PAD, .pad_color = LLAVA_PAD_BLACK},
        {.geometry = LLAVA_GEOMETRY_PAD, .pad_color = LLAVA_PAD_WHITE},
        {.geometry = LLAVA_GEOMETRY_PAD, .pad_align = LLAVA_PAD_TOP_LEFT},
        {.geometry = LLAVA_GEOMETRY_PAD, .pad_order = LLAVA_PAD_RESIZE_FIRST},
    };
    llava_processor p = clip_of(8, 8, 8);
    llava_picture tall = picture_of(31, 13);  /* 8 * 31 / 13 = 19.1: 11 rows to crop */
    llava_picture round = picture_of(22, 15); /* 8 * 22 / 15 = 11.7 */
    for (size_t i = 0; i < COUNT(wrong); i++) {
        llava_image_plan right = {0};
        if (i >= COUNT(wrong) - 4) { /* padding decisions: against right padding */
            right.geometry = LLAVA_GEOMETRY_PAD;
        }
        const llava_picture *pictures[] = {&tall, &round};
        bool seen = false;
        for (size_t k = 0; k < COUNT(pictures); k++) {
            llava_image_stages a = processed(&p, right, pictures[k]);
            llava_image_stages b = processed(&p, wrong[i], pictures[k]);
            seen = seen || !same_values(&a, &b);
            llava_image_stages_free(&a);
            llava_image_stages_free(&b);
        }
        if (!seen) {
            fail_msg("wrong[%zu] changes nothing", i);
        }
    }
    llava_picture_free(&tall);
    llava_picture_free(&round);
}

static void check_resized_size(llava_image_plan plan, size_t edge, size_t height, size_t width,
                               size_t new_height, size_t new_width)
{
    llava_processor p = clip_of(edge, edge, edge);
    llava_picture picture = picture_of(height, width);
    llava_image_stages stages = processed(&p, plan, &picture);
    assert_int_equal(stages.stage[LLAVA_STAGE_RESIZED].height, new_height);
    assert_int_equal(stages.stage[LLAVA_STAGE_RESIZED].width, new_width);
    llava_image_stages_free(&stages);
    llava_picture_free(&picture);
}

static void the_longer_edge_is_cut_off_or_rounded(void **state)
{
    (void)state;
    llava_image_plan plan = {0};
    check_resized_size(plan, 336, 48, 64, 336, 448);
    check_resized_size(plan, 5, 10, 7, 7, 5); /* 7.14 */
    check_resized_size(plan, 5, 7, 11, 5, 7); /* 7.86 */
    plan.size_rounding = LLAVA_SIZE_ROUND;
    check_resized_size(plan, 5, 10, 7, 7, 5);
    check_resized_size(plan, 5, 7, 11, 5, 8);
    check_resized_size(plan, 3, 3, 2, 5, 3); /* 4.5 */
    plan.size_rounding = LLAVA_SIZE_CEIL;
    check_resized_size(plan, 5, 10, 7, 8, 5);
    check_resized_size(plan, 5, 10, 5, 10, 5);
    check_resized_size(plan, 5, 27, 9, 15, 5);
    plan.size_rounding = LLAVA_SIZE_CEIL_F32;
    check_resized_size(plan, 5, 27, 9, 16, 5); /* 5/9 rounds up, 27 of them are more than 15 */
    check_resized_size(plan, 5, 10, 7, 8, 5);
    check_resized_size(plan, 5, 10, 5, 10, 5);
    plan = (llava_image_plan){.geometry = LLAVA_GEOMETRY_PAD};
    check_resized_size(plan, 5, 10, 7, 5, 5);
    plan.pad_order = LLAVA_PAD_RESIZE_FIRST; /* 5 x 3 on a canvas of 5 x 5 */
    check_resized_size(plan, 5, 10, 7, 5, 5);
}

/* The pixel of `stage` at (y, x), red. */
static int red_at(const llava_picture *stage, size_t y, size_t x)
{
    return stage->rgb[3 * (y * stage->width + x)];
}

static void padding_puts_the_spare_row_behind_and_cropping_before(void **state)
{
    (void)state;
    llava_processor p = clip_of(5, 5, 5);
    p.do_pad = true;
    p.do_resize = false;
    llava_picture wide = picture_of(2, 5);
    llava_image_stages stages = processed(&p, (llava_image_plan){0}, &wide);
    const llava_picture *padded = &stages.stage[LLAVA_STAGE_PADDED];
    assert_int_equal(padded->height, 5);
    assert_int_equal(red_at(padded, 0, 1), 122); /* int(0.48145466 * 255), not 123 */
    assert_int_equal(red_at(padded, 1, 1), red_at(&wide, 0, 1));
    assert_int_equal(red_at(padded, 3, 1), 122);
    llava_image_stages_free(&stages);

    p.do_pad = false;
    stages = processed(&p, (llava_image_plan){0}, &wide);
    const llava_picture *cropped = &stages.stage[LLAVA_STAGE_CROPPED];
    assert_int_equal(red_at(cropped, 1, 1), 0);
    assert_int_equal(red_at(cropped, 2, 1), red_at(&wide, 0, 1));
    assert_null(stages.stage[LLAVA_STAGE_RESIZED].rgb);
    llava_image_stages_free(&stages);
    llava_picture_free(&wide);

    llava_picture large = picture_of(8, 5);
    stages = processed(&p, (llava_image_plan){0}, &large);
    assert_int_equal(red_at(&stages.stage[LLAVA_STAGE_CROPPED], 0, 1), red_at(&large, 1, 1));
    llava_image_stages_free(&stages);
    stages = processed(&p, (llava_image_plan){.crop_rounding = LLAVA_CROP_CEIL}, &large);
    assert_int_equal(red_at(&stages.stage[LLAVA_STAGE_CROPPED], 0, 1), red_at(&large, 2, 1));
    llava_image_stages_free(&stages);
    llava_picture_free(&large);
}

/* diagnose hands in a port's own tensor of some stage. */
static void starting_at_a_stage_gives_what_going_through_it_gave(void **state)
{
    (void)state;
    llava_processor p = clip_of(6, 5, 4);
    p.do_pad = true;
    llava_picture picture = picture_of(9, 14);
    llava_image_plan plan = {0};
    llava_image_stages whole = processed(&p, plan, &picture);
    for (int from = LLAVA_STAGE_RGB; from < LLAVA_STAGE_COUNT; from++) {
        llava_image_stages rest;
        llava_error e;
        assert_true(llava_picture_process_from(&p, &plan, (llava_image_stage)from,
                                               &whole.stage[from], &rest, &e));
        assert_true(same_values(&whole, &rest));
        for (int stage = LLAVA_STAGE_RGB; stage < LLAVA_STAGE_COUNT; stage++) {
            assert_int_equal(rest.stage[stage].rgb != NULL, stage >= from);
        }
        llava_image_stages_free(&rest);
    }
    llava_image_stages_free(&whole);
    llava_picture_free(&picture);
}

static void a_step_that_the_geometry_leaves_out_passes_its_input_through(void **state)
{
    (void)state;
    llava_processor p = clip_of(6, 5, 4);
    p.do_pad = true;
    llava_picture picture = picture_of(9, 14);
    llava_image_plan plan = {.geometry = LLAVA_GEOMETRY_STRETCH};
    llava_image_stages stages = processed(&p, plan, &picture);
    const llava_picture *at = stages.stage;
    assert_memory_equal(at[LLAVA_STAGE_PADDED].rgb, picture.rgb, 3 * 9 * 14);
    assert_int_equal(at[LLAVA_STAGE_RESIZED].height, 5);
    assert_int_equal(at[LLAVA_STAGE_RESIZED].width, 4);
    assert_memory_equal(at[LLAVA_STAGE_CROPPED].rgb, at[LLAVA_STAGE_RESIZED].rgb, 3 * 5 * 4);
    llava_image_stages_free(&stages);
    llava_picture_free(&picture);
}

/* A float port's picture is at most a level away from Pillow's two roundings: half a level for the
 * bytes between the passes (times the vertical kernel's sum of absolute weights, below 1.5), and
 * half for the last one. Here nothing is clipped. */
static void float_resizing_stays_within_its_two_roundings(void **state)
{
    (void)state;
    llava_picture picture = picture_of(12, 16);
    for (size_t i = 0; i < 3 * 12 * 16; i++) {
        picture.rgb[i] = (uint8_t)(96 + picture.rgb[i] / 4);
    }
    llava_resampling exact = bicubic;
    exact.rounding = LLAVA_RESIZE_FLOAT;
    llava_plane a = resized(&picture, exact, 7, 9), b = resized(&picture, bicubic, 7, 9);
    double worst = 0.0;
    for (size_t i = 0; i < 3 * 7 * 9; i++) {
        double d = a.f64[i] - b.u8[i];
        worst = d > worst ? d : -d > worst ? -d : worst;
    }
    assert_true(worst <= 0.5 * 1.5 + 0.5);
    assert_true(worst > 0.01); /* and is no copy of the other */
    llava_plane_free(&a);
    llava_plane_free(&b);
    llava_picture_free(&picture);
}

static void the_same_size_is_a_copy(void **state)
{
    (void)state;
    double levels[3 * 2 * 3];
    for (size_t i = 0; i < 18; i++) {
        levels[i] = (double)i + 0.25;
    }
    llava_plane in = {2, 3, NULL, levels}, out;
    llava_error e;
    assert_true(llava_resize(&bicubic, &in, 2, 3, &out, &e));
    assert_null(out.u8);
    assert_true(out.f64 != levels);
    assert_memory_equal(out.f64, levels, sizeof levels);
    llava_plane_free(&out);
}

/* Corner to corner: a single pixel is the first corner. */
static void one_pixel_of_aligned_corners_is_the_first(void **state)
{
    (void)state;
    llava_resampling corners = {.filter = LLAVA_RESAMPLE_BILINEAR,
                                .grid = LLAVA_GRID_ALIGN_CORNERS};
    llava_picture picture = picture_of(1, 5);
    llava_plane one = resized(&picture, corners, 1, 1), two = resized(&picture, corners, 1, 2);
    assert_memory_equal(one.u8, picture.rgb, 3);
    assert_memory_equal(two.u8, picture.rgb, 3);
    assert_memory_equal(two.u8 + 3, picture.rgb + 12, 3);
    llava_plane_free(&one);
    llava_plane_free(&two);
    llava_picture_free(&picture);
}

/* ---- memory ---- */

typedef struct {
    llava_processor processor;
    llava_image_plan plan;
    llava_picture picture;
} processing;

static bool process(void *self, llava_error *e)
{
    processing *p = self;
    llava_image_stages stages;
    if (!llava_picture_process(&p->processor, &p->plan, &p->picture, &stages, e)) {
        return false;
    }
    llava_image_stages_free(&stages);
    return true;
}

static void memory_that_runs_out_leaves_no_stage(void **state)
{
    (void)state;
    static const llava_image_plan plans[] = {
        {.geometry = LLAVA_GEOMETRY_CONFIG},
        {.geometry = LLAVA_GEOMETRY_PAD},
        {.geometry = LLAVA_GEOMETRY_PAD, .pad_order = LLAVA_PAD_RESIZE_FIRST},
        {.resize_rounding = LLAVA_RESIZE_FLOAT},
        {.resize_rounding = LLAVA_RESIZE_ONCE},
        {.resize_rounding = LLAVA_RESIZE_TORCHVISION},
        {.resize_rounding = LLAVA_RESIZE_OPENCV},
    };
    for (size_t i = 0; i < COUNT(plans); i++) {
        processing p = {clip_of(5, 7, 7), plans[i], picture_of(9, 12)};
        assert_true(memory_runs_out(process, &p) > 8);
        llava_picture_free(&p.picture);
    }
}

static void each_orientation_is_turned_upright(void **state)
{
    (void)state;
    /* The pixels 0 1 2 / 3 4 5 as Pillow's exif_transpose leaves them. */
    static const struct {
        size_t height, width;
        uint8_t pixels[6];
    } want[] = {
        {2, 3, {0, 1, 2, 3, 4, 5}}, {2, 3, {0, 1, 2, 3, 4, 5}}, {2, 3, {2, 1, 0, 5, 4, 3}},
        {2, 3, {5, 4, 3, 2, 1, 0}}, {2, 3, {3, 4, 5, 0, 1, 2}}, {3, 2, {0, 3, 1, 4, 2, 5}},
        {3, 2, {3, 0, 4, 1, 5, 2}}, {3, 2, {5, 2, 4, 1, 3, 0}}, {3, 2, {2, 5, 1, 4, 0, 3}},
        {2, 3, {0, 1, 2, 3, 4, 5}},
    };
    for (int orientation = 0; orientation < (int)COUNT(want); orientation++) {
        llava_error e;
        llava_picture picture;
        assert_true(llava_picture_new(&picture, 2, 3, &e));
        for (size_t i = 0; i < 18; i++) {
            picture.rgb[i] = (uint8_t)(i / 3);
        }
        assert_true(llava_picture_orient(&picture, orientation, &e));
        assert_int_equal(picture.height, want[orientation].height);
        assert_int_equal(picture.width, want[orientation].width);
        for (size_t i = 0; i < 18; i++) {
            assert_int_equal(picture.rgb[i], want[orientation].pixels[i / 3]);
        }
        llava_picture_free(&picture);
    }
}

static void check_refused(llava_processor p, llava_image_plan plan, size_t height, size_t width,
                          const char *reason)
{
    llava_picture picture = picture_of(height, width);
    llava_image_stages stages;
    llava_error e = {""};
    assert_false(llava_picture_process(&p, &plan, &picture, &stages, &e));
    assert_null(stages.pixel_values);
    assert_null(stages.stage[LLAVA_STAGE_RGB].rgb);
    if (strstr(e.text, reason) == NULL) {
        fail_msg("the message is: %s", e.text);
    }
    llava_picture_free(&picture);
}

/* A line fits a square as a line of one pixel, never of none. */
static void what_is_made_smaller_keeps_a_pixel(void **state)
{
    (void)state;
    const size_t sizes[][2] = {{1, 300}, {300, 1}};
    llava_processor p = clip_of(5, 5, 5);
    p.do_center_crop = false;
    for (size_t i = 0; i < 2; i++) {
        llava_picture picture = picture_of(sizes[i][0], sizes[i][1]);
        memset(picture.rgb, 255, 3 * sizes[i][0] * sizes[i][1]);
        llava_image_stages stages =
            processed(&p,
                      (llava_image_plan){.geometry = LLAVA_GEOMETRY_PAD,
                                         .pad_color = LLAVA_PAD_BLACK,
                                         .pad_order = LLAVA_PAD_RESIZE_FIRST},
                      &picture);
        const llava_picture *last = &stages.stage[LLAVA_STAGE_RESIZED];
        size_t white = 0;
        assert_int_equal(stages.height, 5);
        assert_int_equal(stages.width, 5);
        for (size_t k = 0; k < 3 * last->height * last->width; k++) {
            white += last->rgb[k] == 255;
        }
        assert_int_equal(white, 3 * 5);
        llava_image_stages_free(&stages);
        llava_picture_free(&picture);
    }
}

static void impossible_sizes_and_colours_are_refused(void **state)
{
    (void)state;
    llava_image_plan plan = {0};
    llava_processor p = clip_of(336, 336, 336);
    check_refused(p, plan, 1, 3000, "the limit is 178956970 pixels"); /* 336 x 1008000 */
    p.shortest_edge = (size_t)1 << 53;
    check_refused(p, plan, 3, 3, "the limit is");
    p.shortest_edge = 0; /* and no height and width either */
    check_refused(p, plan, 3, 3, "0 x 0");
    p = clip_of(3, (size_t)1 << 40, 1);
    check_refused(p, plan, 3, 3, "the limit is");
    p = clip_of(3, 3, 3);
    p.do_pad = true;
    p.mean[1] = 1.1;
    check_refused(p, plan, 3, 4, "no colour to pad with");
    p.mean[1] = -0.1;
    check_refused(p, plan, 3, 4, "no colour to pad with");
    check_refused(clip_of(3, 3, 3), (llava_image_plan){.geometry = LLAVA_GEOMETRY_PAD}, 1, 13378,
                  "the limit is");
    llava_picture picture;
    llava_error e;
    assert_false(llava_picture_new(&picture, 0, 5, &e));
    assert_false(llava_picture_new(&picture, 5, 0, &e));
    assert_false(llava_picture_new(&picture, SIZE_MAX, SIZE_MAX, &e));
    assert_null(picture.rgb);
    llava_plane plane;
    assert_false(llava_plane_new(&plane, SIZE_MAX, 2, false, &e));
    assert_false(llava_plane_new(&plane, 1 << 20, 1 << 20, true, &e));
    support_says(&e, "1048576 x 1048576 (height x width), the limit is");
    llava_image_stages stages;
    p = clip_of(3, 3, 3);
    assert_false(llava_picture_process(&p, &plan, &(llava_picture){0}, &stages, &e));
    support_says(&e, "a picture of 0 x 0 pixels");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rows_of_the_specification),
        cmocka_unit_test(every_filter_resizes_to_the_bytes_of_pillow_torch_and_opencv),
        cmocka_unit_test(opencv_rounds_as_nothing_else_does),
        cmocka_unit_test(a_filter_that_opencv_has_not_is_refused),
        cmocka_unit_test(the_vectors_see_a_wrong_filter_rounding_or_pass_order),
        cmocka_unit_test(pixel_values_are_those_of_transformers_to_the_last_bit),
        cmocka_unit_test(the_backends_are_told_apart),
        cmocka_unit_test(every_wrong_decision_changes_the_values),
        cmocka_unit_test(the_longer_edge_is_cut_off_or_rounded),
        cmocka_unit_test(padding_puts_the_spare_row_behind_and_cropping_before),
        cmocka_unit_test(starting_at_a_stage_gives_what_going_through_it_gave),
        cmocka_unit_test(a_step_that_the_geometry_leaves_out_passes_its_input_through),
        cmocka_unit_test(float_resizing_stays_within_its_two_roundings),
        cmocka_unit_test(the_same_size_is_a_copy),
        cmocka_unit_test(one_pixel_of_aligned_corners_is_the_first),
        cmocka_unit_test(memory_that_runs_out_leaves_no_stage),
        cmocka_unit_test(each_orientation_is_turned_upright),
        cmocka_unit_test(what_is_made_smaller_keeps_a_pixel),
        cmocka_unit_test(impossible_sizes_and_colours_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
