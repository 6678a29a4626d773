/* What `inspect --png` paints: each value in its cell, with its colour; NaN and the largest of a
 * block are seen; what cannot be shown is refused. */
#include "ref/png.h"
#include "tests/memory.h"
#include "tests/support.h"
#include "tools/inspect_png.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Writes NAME.npy, version 1. descr: as NumPy has it; shape: "2, 3". */
static void write_npy(const support_folder *folder, const char *name, const char *descr,
                      const char *shape, const void *values, size_t n)
{
    char header[128], file[64];
    size_t room = 10 + 118, used;
    uint8_t *bytes = calloc(room + n, 1);
    assert_non_null(bytes);
    memcpy(bytes, "\x93NUMPY\x01\x00\x76\x00", 10);
    used =
        (size_t)snprintf(header, sizeof header,
                         "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
    assert_true(used < 117);
    memset(bytes + 10, ' ', 118);
    memcpy(bytes + 10, header, used);
    bytes[room - 1] = '\n';
    memcpy(bytes + room, values, n);
    snprintf(file, sizeof file, "%s.npy", name);
    support_write(folder, file, bytes, room + n);
    free(bytes);
}

typedef struct {
    support_folder dump, out;
    llava_picture picture;
} painted;

/* The picture of the dump's only tensor, read again. */
static void paint(painted *p, const char *name, const char *descr, const char *shape,
                  const void *values, size_t n)
{
    llava_error e = {""};
    llava_dump *dump;
    p->dump = support_folder_new();
    p->out = support_folder_new();
    write_npy(&p->dump, name, descr, shape, values, n);
    if (!llava_dump_open(&dump, p->dump.path, &e) ||
        !llava_inspect_png(dump, llava_dump_find(dump, name), support_path(&p->out, "t.png"), &e)) {
        fail_msg("%s", e.text);
    }
    llava_dump_close(dump);
    FILE *file = fopen(support_path(&p->out, "t.png"), "rb");
    assert_non_null(file);
    static uint8_t bytes[1 << 20];
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    int orientation;
    if (!llava_png_read(&p->picture, "t.png", bytes, size, LLAVA_ALPHA_DROP, &orientation, &e)) {
        fail_msg("%s", e.text);
    }
}

static void put_away(painted *p)
{
    llava_picture_free(&p->picture);
    support_folder_remove(&p->dump);
    support_folder_remove(&p->out);
}

/* The colour in the middle of cell (row, column) of a picture that is rows x columns cells. */
static uint32_t cell(const painted *p, size_t rows, size_t columns, size_t row, size_t column)
{
    size_t zoom = p->picture.width / columns;
    assert_int_equal(p->picture.width, zoom * columns);
    assert_int_equal(p->picture.height, zoom * rows);
    size_t y = row * zoom + zoom / 2, x = column * zoom + zoom / 2;
    const uint8_t *at = p->picture.rgb + 3 * (y * p->picture.width + x);
    return (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
}

enum { WHITE = 0xffffff, RED = 0xc00303, BLUE = 0x0303c0, BLACK = 0, GREY = 0xa0a0a0 };

static void a_matrix_has_the_colours_of_its_values(void **state)
{
    (void)state;
    const double values[6] = {0, 4, -4, (double)NAN, (double)INFINITY, 2};
    painted p;
    paint(&p, "anything", "<f8", "2, 3", values, sizeof values);
    assert_int_equal(cell(&p, 2, 3, 0, 0), WHITE);
    assert_int_equal(cell(&p, 2, 3, 0, 1), RED);
    assert_int_equal(cell(&p, 2, 3, 0, 2), BLUE);
    assert_int_equal(cell(&p, 2, 3, 1, 0), BLACK);
    assert_int_equal(cell(&p, 2, 3, 1, 1), RED); /* an infinity does not pale the rest */
    assert_int_equal(cell(&p, 2, 3, 1, 2) >> 8 & 0xff, 255 - 2 * 63);
    put_away(&p);
}

/* Heads side by side, whichever axis they lie on, samples below each other, grey between. */
static void heads_stand_side_by_side(void **state)
{
    (void)state;
    const float scores[8] = {1, 0, 0, 0, 0, 0, 0, -1}; /* [1, 2 heads, 2, 2] */
    painted p;
    paint(&p, "vision.layers.0.attn.scores", "<f4", "1, 2, 2, 2", scores, sizeof scores);
    assert_int_equal(cell(&p, 2, 5, 0, 0), RED);
    assert_int_equal(cell(&p, 2, 5, 0, 2), GREY);
    assert_int_equal(cell(&p, 2, 5, 1, 4), BLUE);
    put_away(&p);
    /* [2 samples, 1, 2 heads, 2] */
    paint(&p, "vision.layers.0.attn.q", "<f4", "2, 1, 2, 2", scores, sizeof scores);
    assert_int_equal(cell(&p, 3, 5, 0, 0), RED);
    assert_int_equal(cell(&p, 3, 5, 1, 0), GREY);
    assert_int_equal(cell(&p, 3, 5, 2, 4), BLUE);
    put_away(&p);
}

static void a_picture_is_itself(void **state)
{
    (void)state;
    const uint8_t values[12] = {1, 2, 3, 255, 0, 128, 7, 8, 9, 10, 11, 12};
    painted p;
    paint(&p, "image.rgb", "|u1", "2, 2, 3", values, sizeof values);
    assert_int_equal(cell(&p, 2, 2, 0, 0), 0x010203);
    assert_int_equal(cell(&p, 2, 2, 0, 1), 0xff0080);
    assert_int_equal(cell(&p, 2, 2, 1, 1), 0x0a0b0c);
    put_away(&p);
}

/* One value of ten thousand stays visible where cells hold several. */
static void a_long_row_is_made_smaller_and_loses_no_peak(void **state)
{
    (void)state;
    static double values[10000];
    values[7777] = -3;
    painted p;
    paint(&p, "anything", "<f8", "10000,", values, sizeof values);
    assert_int_equal(p.picture.width, 3334); /* blocks of 3: 4096 do not hold 10000 */
    assert_int_equal(p.picture.height, 1);
    assert_int_equal(cell(&p, 1, 3334, 0, 7777 / 3), BLUE);
    assert_int_equal(cell(&p, 1, 3334, 0, 7777 / 3 + 1), WHITE);
    put_away(&p);
}

static void what_cannot_be_shown_is_refused(void **state)
{
    (void)state;
    static const double values[3000];
    static const struct {
        const char *name, *shape, *says;
        size_t n;
    } cases[] = {
        {"t", "0, 3", "no elements", 0},
        {"t", "3000, 1, 1", "do not fit", 3000},
        {"text.layers.0.attn.probs", "1, 3000, 1, 1", "1 x 3000 matrices do not fit", 3000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llava_error e = {""};
        llava_dump *dump;
        support_folder folder = support_folder_new(), out = support_folder_new();
        write_npy(&folder, cases[i].name, "<f8", cases[i].shape, values,
                  cases[i].n * sizeof *values);
        assert_true(llava_dump_open(&dump, folder.path, &e));
        assert_false(llava_inspect_png(dump, llava_dump_find(dump, cases[i].name),
                                       support_path(&out, "t.png"), &e));
        support_says(&e, cases[i].says);
        assert_null(fopen(support_path(&out, "t.png"), "rb"));
        llava_dump_close(dump);
        support_folder_remove(&folder);
        support_folder_remove(&out);
    }
}

static void zeros_are_white_and_a_lone_infinity_is_strongest(void **state)
{
    (void)state;
    const double zeros[2] = {0, 0}, infinite[3] = {1, (double)INFINITY, -(double)INFINITY};
    painted p;
    paint(&p, "anything", "<f8", "1, 2", zeros, sizeof zeros);
    assert_int_equal(cell(&p, 1, 2, 0, 1), WHITE);
    put_away(&p);
    paint(&p, "anything", "<f8", "1, 3", infinite, sizeof infinite);
    assert_int_equal(cell(&p, 1, 3, 0, 1), RED);
    assert_int_equal(cell(&p, 1, 3, 0, 2), BLUE);
    put_away(&p);
}

typedef struct {
    llava_dump *dump;
    char path[512];
} showing;

static bool show(void *self, llava_error *e)
{
    const showing *s = self;
    return llava_inspect_png(s->dump, llava_dump_find(s->dump, "t"), s->path, e);
}

static void memory_that_runs_out_leaves_no_picture(void **state)
{
    (void)state;
    static const double values[6] = {1, 2, 3, 4, 5, 6};
    llava_error e = {""};
    showing s;
    support_folder folder = support_folder_new(), out = support_folder_new();
    write_npy(&folder, "t", "<f8", "2, 3", values, sizeof values);
    snprintf(s.path, sizeof s.path, "%s", support_path(&out, "t.png"));
    assert_true(llava_dump_open(&s.dump, folder.path, &e));
    assert_true(memory_runs_out(show, &s) > 5);
    llava_dump_close(s.dump);
    support_folder_remove(&folder);
    support_folder_remove(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_matrix_has_the_colours_of_its_values),
        cmocka_unit_test(heads_stand_side_by_side),
        cmocka_unit_test(a_picture_is_itself),
        cmocka_unit_test(a_long_row_is_made_smaller_and_loses_no_peak),
        cmocka_unit_test(what_cannot_be_shown_is_refused),
        cmocka_unit_test(zeros_are_white_and_a_lone_infinity_is_strongest),
        cmocka_unit_test(memory_that_runs_out_leaves_no_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
