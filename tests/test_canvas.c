/* Drawing into memory, and pictures as PNG: what lies outside is cut off, what cannot be is
 * refused. */
#include "memory.h"
#include "support.h"
#include "tools/canvas.h"
#include "tools/picture_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>

static const llava_colour ink = {{1, 2, 3, 255}};

static size_t inked(const llava_canvas *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->width * c->height; i++) {
        count += memcmp(c->rgba + 4 * i, ink.rgba, 4) == 0;
    }
    return count;
}

static bool at(const llava_canvas *c, size_t x, size_t y)
{
    return memcmp(c->rgba + 4 * (y * c->width + x), ink.rgba, 4) == 0;
}

static void a_canvas_has_a_size_that_can_be(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{0, 5}, {5, 0}, {16385, 5}, {5, 16385}};
    llava_canvas c;
    llava_error e;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_false(llava_canvas_open(&c, sizes[i][0], sizes[i][1], &e));
        support_says(&e, "the limit is 16384 a side");
    }
    assert_true(llava_canvas_open(&c, 16384, 1, &e));
    llava_canvas_close(&c);
}

static void frames_and_lines_are_where_they_are_said_to_be(void **state)
{
    (void)state;
    llava_canvas c;
    llava_error e;
    assert_true(llava_canvas_open(&c, 20, 10, &e));
    llava_canvas_frame(&c, 1, 1, 1, 8, 2, ink); /* thinner than its lines */
    llava_canvas_frame(&c, 1, 1, 8, 1, 2, ink);
    assert_int_equal(inked(&c), 0);
    llava_canvas_frame(&c, 1, 1, 6, 5, 1, ink);
    assert_int_equal(inked(&c), 6 * 5 - 4 * 3);
    llava_canvas_fill(&c, 18, 8, 50, 50, ink); /* what is outside is cut off */
    assert_int_equal(inked(&c), 6 * 5 - 4 * 3 + 4);
    llava_canvas_close(&c);
    /* in each direction, and of no length: squares of 3 at both ends */
    static const size_t lines[][4] = {
        {2, 2, 15, 5}, {15, 5, 2, 2}, {2, 6, 4, 1}, {4, 1, 2, 6}, {9, 4, 9, 4}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const size_t *l = lines[i];
        assert_true(llava_canvas_open(&c, 20, 10, &e));
        llava_canvas_line(&c, l[0], l[1], l[2], l[3], ink);
        assert_true(at(&c, l[0], l[1]) && at(&c, l[2] + 2, l[3] + 2));
        assert_true(i < 4 || inked(&c) == 9);
        llava_canvas_close(&c);
    }
}

static void figures_have_one_width_and_unknown_ones_are_blank(void **state)
{
    (void)state;
    llava_canvas c;
    llava_error e;
    assert_true(llava_canvas_open(&c, 60, 12, &e));
    assert_int_equal(llava_canvas_figures(&c, 0, 0, "x?", ink), 2 * LLAVA_FIGURE_WIDE);
    assert_int_equal(inked(&c), 0);
    assert_int_equal(llava_canvas_figures(NULL, 0, 0, "8", ink), LLAVA_FIGURE_WIDE);
    llava_canvas_figures(&c, 0, 0, "8", ink);
    assert_int_equal(inked(&c), 13 * 4); /* all but two of fifteen dots of 2 x 2 */
    llava_canvas_close(&c);
}

/* ---- PNG ---- */

static void what_is_encoded_is_what_is_decoded(void **state)
{
    (void)state;
    const uint8_t rgb[] = {1, 2, 3, 4, 5, 6}, palette[] = {9, 8, 7, 6, 5, 4}, indices[] = {1, 0};
    for (int kind = 0; kind < 2; kind++) {
        llava_png p;
        llava_error e;
        uint8_t back[6];
        assert_true(kind == 0 ? llava_png_rgb(&p, rgb, 2, 1, &e)
                              : llava_png_indexed(&p, indices, 2, 1, palette, 2, &e));
        png_image image = {.version = PNG_IMAGE_VERSION};
        assert_true(png_image_begin_read_from_memory(&image, p.bytes, p.size));
        assert_true(image.width == 2 && image.height == 1);
        image.format = PNG_FORMAT_RGB;
        assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
        static const uint8_t of_palette[] = {6, 5, 4, 9, 8, 7};
        assert_memory_equal(back, kind == 0 ? rgb : of_palette, sizeof back);
        free(p.bytes);
    }
}

static void a_picture_without_an_edge_is_refused(void **state)
{
    (void)state;
    const uint8_t pixels[4] = {0};
    llava_png p;
    llava_error e;
    assert_false(llava_png_rgba(&p, pixels, 0, 1, &e));
    support_says(&e, "a picture of the report cannot be encoded");
    assert_null(p.bytes);
    assert_false(llava_png_rgb(&p, pixels, 1, 0, &e));
    assert_null(p.bytes);
}

static bool write_canvas(void *self, llava_error *e)
{
    llava_canvas c;
    bool ok = llava_canvas_open(&c, 30, 20, e) && llava_canvas_write(&c, self, e);
    llava_canvas_close(&c);
    return ok;
}

static void memory_that_runs_out_leaves_no_picture(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char path[512];
    snprintf(path, sizeof path, "%s", support_path(&folder, "p.png"));
    assert_true(memory_runs_out(write_canvas, path) > 4);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_canvas_has_a_size_that_can_be),
        cmocka_unit_test(frames_and_lines_are_where_they_are_said_to_be),
        cmocka_unit_test(figures_have_one_width_and_unknown_ones_are_blank),
        cmocka_unit_test(what_is_encoded_is_what_is_decoded),
        cmocka_unit_test(a_picture_without_an_edge_is_refused),
        cmocka_unit_test(memory_that_runs_out_leaves_no_picture),
    };
    return cmocka_run_group_tests_name("canvas", tests, NULL, NULL);
}
