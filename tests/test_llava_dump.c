/* tools/llava_dump.h, the header for ports, read back with the program's own reader. */
#include "tools/llava_dump.h"

#include "tests/support.h"
#include "tools/dump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static support_folder folder;

static int set_up(void **state)
{
    (void)state;
    folder = support_folder_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    support_folder_remove(&folder);
    return 0;
}

/* A folder of this test alone. */
static const char *dump_path(const char *name)
{
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder.path, name);
    return path;
}

static llava_dump *open_dump(const char *path)
{
    llava_dump *dump;
    llava_error e = {""};
    if (!llava_dump_open(&dump, path, &e)) {
        fail_msg("%s", e.text);
    }
    return dump;
}

/* The tensor has that type and shape and those numbers. */
static void holds(llava_dump *dump, const char *name, const char *dtype, int rank,
                  const size_t *shape, const double *expected)
{
    llava_error e = {""};
    char text[LLAVA_ARRAY_DTYPE];
    double *values;
    const llava_dump_entry *entry = llava_dump_find(dump, name);
    assert_non_null(entry);
    llava_array_dtype(&entry->array, text);
    assert_string_equal(text, dtype);
    assert_int_equal(entry->array.rank, rank);
    for (int i = 0; i < rank; i++) {
        assert_int_equal(entry->array.shape[i], shape[i]);
    }
    if (!llava_dump_load(dump, entry, &values, &e)) {
        fail_msg("%s", e.text);
    }
    assert_memory_equal(values, expected, entry->array.count * sizeof *values);
    free(values);
}

static void every_type_comes_back(void **state)
{
    (void)state;
    static const size_t shape[] = {2, 1, 3};
    static const double f64[] = {0, -1.5, 1e300, 0.1, -0.0, 3};
    static const float f32[] = {0, -1.5F, 1e30F, 0.1F, -0.0F, 3};
    static const uint16_t f16[] = {0, 0xbe00, 0x7bff, 0x0001, 0x8000, 0x4200};
    static const uint16_t bf16[] = {0, 0xbfc0, 0x7f00, 0x0001, 0x8000, 0x4040};
    static const int64_t i64[] = {0, -1, (int64_t)1 << 53, -5, 5, 6};
    static const int32_t i32[] = {0, -1, INT32_MAX, INT32_MIN, 5, 6};
    static const uint8_t u8[] = {0, 1, 255, 128, 5, 6};
    const char *path = dump_path("types");
    assert_int_equal(llava_dump_f64(path, "f64", f64, 3, shape), LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_f32(path, "f32", f32, 3, shape), LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_f16(path, "f16", f16, 3, shape), LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_bf16(path, "bf16", bf16, 3, shape), LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_i64(path, "i64", i64, 3, shape), LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_i32(path, "i32", i32, 3, shape), LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_u8(path, "u8", u8, 3, shape), LLAVA_DUMP_OK);

    llava_dump *dump = open_dump(path);
    assert_int_equal(llava_dump_count(dump), 7);
    holds(dump, "f64", "<f8", 3, shape, f64);
    holds(dump, "f32", "<f4", 3, shape,
          (const double[]){0, -1.5, (double)1e30F, (double)0.1F, -0.0, 3});
    holds(dump, "f16", "<f2", 3, shape, (const double[]){0, -1.5, 65504, 0x1p-24, -0.0, 3});
    holds(dump, "bf16", "<f4", 3, shape, (const double[]){0, -1.5, 0x1p127, 0x1p-133, -0.0, 3});
    holds(dump, "i64", "<i8", 3, shape, (const double[]){0, -1, 0x1p53, -5, 5, 6});
    holds(dump, "i32", "<i4", 3, shape, (const double[]){0, -1, 2147483647, -2147483648.0, 5, 6});
    holds(dump, "u8", "|u1", 3, shape, (const double[]){0, 1, 255, 128, 5, 6});
    llava_dump_close(dump);
}

static void every_rank_from_0_to_8_comes_back(void **state)
{
    (void)state;
    static const size_t shape[] = {1, 2, 1, 3, 1, 2, 1, 1};
    static const double values[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    char name[LLAVA_DUMP_NAME];
    const char *path = dump_path("ranks");
    for (int rank = 0; rank <= 8; rank++) {
        llava_dump_layer(name, "rank", rank, "x");
        assert_int_equal(llava_dump_f64(path, name, values, rank, rank > 0 ? shape : NULL), 0);
    }
    llava_dump *dump = open_dump(path);
    assert_int_equal(llava_dump_count(dump), 9);
    for (int rank = 0; rank <= 8; rank++) {
        holds(dump, llava_dump_layer(name, "rank", rank, "x"), "<f8", rank, shape, values);
    }
    llava_dump_close(dump);
}

static void an_empty_tensor_is_a_tensor(void **state)
{
    (void)state;
    static const size_t shape[] = {3, 0, 2};
    assert_int_equal(llava_dump_f32(dump_path("empty"), "nothing", NULL, 3, shape), LLAVA_DUMP_OK);
    llava_dump *dump = open_dump(dump_path("empty"));
    assert_int_equal(llava_dump_at(dump, 0)->array.count, 0);
    assert_int_equal(llava_dump_at(dump, 0)->array.shape[0], 3);
    llava_dump_close(dump);
}

/* More elements than the writer's buffer holds, and none lost at its edges. */
static void a_long_tensor_comes_back_whole(void **state)
{
    (void)state;
    enum { N = 5000 };
    static const size_t shape[] = {N};
    double *values = malloc(N * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < N; i++) {
        values[i] = (double)i / 7;
    }
    assert_int_equal(llava_dump_f64(dump_path("long"), "x", values, 1, shape), LLAVA_DUMP_OK);
    llava_dump *dump = open_dump(dump_path("long"));
    holds(dump, "x", "<f8", 1, shape, values);
    llava_dump_close(dump);
    free(values);
}

/* A view as frameworks have it: transposed, with gaps, backwards, one row repeated. */
static void a_view_is_written_in_c_order(void **state)
{
    (void)state;
    static const float x[2][4] = {{0, 1, 2, 3}, {4, 5, 6, 7}};
    const ptrdiff_t one = sizeof x[0][0], row = sizeof x[0];
    static const size_t turned[] = {3, 2}, rows[] = {2, 2};
    const char *path = dump_path("views");
    assert_int_equal(llava_dump_view(path, "transposed", LLAVA_DUMP_F32, x, 2, turned,
                                     (const ptrdiff_t[]){one, row}),
                     LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_view(path, "backwards", LLAVA_DUMP_F32, &x[1][3], 2, rows,
                                     (const ptrdiff_t[]){-row, -2 * one}),
                     LLAVA_DUMP_OK);
    assert_int_equal(
        llava_dump_view(path, "repeated", LLAVA_DUMP_F32, x, 2, rows, (const ptrdiff_t[]){0, one}),
        LLAVA_DUMP_OK);
    llava_dump *dump = open_dump(path);
    holds(dump, "transposed", "<f4", 2, turned, (const double[]){0, 4, 1, 5, 2, 6});
    holds(dump, "backwards", "<f4", 2, rows, (const double[]){7, 5, 3, 1});
    holds(dump, "repeated", "<f4", 2, rows, (const double[]){0, 1, 0, 1});
    llava_dump_close(dump);
}

static void folders_are_made_and_files_replaced(void **state)
{
    (void)state;
    static const size_t shape[] = {1};
    static const double first[] = {1}, second[] = {2};
    char path[LLAVA_DUMP_PATH];
    (void)snprintf(path, sizeof path, "%s/a/b//c/", folder.path);
    assert_int_equal(llava_dump_f64(path, "x", first, 1, shape), LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_f64(path, "x", second, 1, shape), LLAVA_DUMP_OK);
    llava_dump *dump = open_dump(path);
    assert_int_equal(llava_dump_count(dump), 1); /* no .part beside it */
    holds(dump, "x", "<f8", 1, shape, second);
    llava_dump_close(dump);
}

static void bad_arguments_are_codes_and_leave_no_file(void **state)
{
    (void)state;
    static const double x[] = {1};
    static const size_t one[] = {1}, huge[] = {SIZE_MAX / 4, 3}, hidden[] = {0, SIZE_MAX, 2};
    static const char *const names[] = {"", ".", "..", ".x", "a/b", "a\\b", "c:", "a\nb", "\x7f"};
    const char *path = dump_path("bad");
    char name[LLAVA_DUMP_NAME + 8];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(llava_dump_f64(path, names[i], x, 1, one), LLAVA_DUMP_BAD_NAME);
    }
    assert_int_equal(llava_dump_f64(path, NULL, x, 1, one), LLAVA_DUMP_BAD_NAME);
    memset(name, 'n', sizeof name);
    name[LLAVA_DUMP_NAME] = '\0';
    assert_int_equal(llava_dump_f64(path, name, x, 1, one), LLAVA_DUMP_BAD_NAME);
    assert_string_equal(llava_dump_layer(name, "a", 1, names[0]), "a.1.");
    assert_int_equal(llava_dump_f64(path, "x", x, -1, one), LLAVA_DUMP_BAD_SHAPE);
    assert_int_equal(llava_dump_f64(path, "x", x, 9, one), LLAVA_DUMP_BAD_SHAPE);
    assert_int_equal(llava_dump_f64(path, "x", x, 1, NULL), LLAVA_DUMP_BAD_SHAPE);
    assert_int_equal(llava_dump_f64(path, "x", NULL, 1, one), LLAVA_DUMP_BAD_SHAPE);
    assert_int_equal(llava_dump_f64(path, "x", x, 2, huge), LLAVA_DUMP_BAD_SHAPE);
    assert_int_equal(llava_dump_f64(path, "x", x, 3, hidden), LLAVA_DUMP_BAD_SHAPE);
    assert_int_equal(llava_dump_view(path, "x", LLAVA_DUMP_TYPES, x, 1, one, NULL),
                     LLAVA_DUMP_BAD_TYPE);
    assert_int_equal(llava_dump_f64(NULL, "x", x, 1, one), LLAVA_DUMP_NO_FOLDER);
    assert_int_equal(llava_dump_f64("", "x", x, 1, one), LLAVA_DUMP_NO_FOLDER);
    llava_dump *dump;
    llava_error e;
    assert_false(llava_dump_open(&dump, path, &e)); /* nothing was made */
}

static void names_that_do_not_fit_become_empty(void **state)
{
    (void)state;
    char name[LLAVA_DUMP_NAME], longest[LLAVA_DUMP_NAME];
    memset(longest, 'n', sizeof longest);
    longest[LLAVA_DUMP_NAME - 1] = '\0';
    assert_string_equal(llava_dump_layer(name, "vision.layers", 12, "mlp.fc1"),
                        "vision.layers.12.mlp.fc1");
    assert_string_equal(llava_dump_layer(name, longest, 1, "x"), "");
}

static void what_the_disk_refuses_is_a_code(void **state)
{
    (void)state;
    static const double x[] = {1};
    static const size_t one[] = {1};
    char path[LLAVA_DUMP_PATH];
    support_write_text(&folder, "file", "no folder");
    assert_int_equal(llava_dump_f64(dump_path("file"), "x", x, 1, one), LLAVA_DUMP_NO_FILE);
    assert_int_equal(llava_dump_f64(dump_path("file/below"), "x", x, 1, one), LLAVA_DUMP_NO_FOLDER);
    /* The final name is taken by a folder: the file cannot be given it, and does not remain. */
    (void)snprintf(path, sizeof path, "%s/taken/x.npy/inside", folder.path);
    assert_int_equal(llava_dump_f64(path, "y", x, 1, one), LLAVA_DUMP_OK);
    assert_int_equal(llava_dump_f64(dump_path("taken"), "x", x, 1, one), LLAVA_DUMP_NO_ROOM);
    FILE *part = fopen(dump_path("taken/x.npy.part"), "rb");
    assert_null(part);
    /* A disk that is full when the file is closed, and before. */
    static const double many[10000] = {1};
    static const size_t counts[][1] = {{1}, {10000}};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(symlink("/dev/full", dump_path("taken/y.npy.part")), 0);
        assert_int_equal(llava_dump_f64(dump_path("taken"), "y", many, 1, counts[i]),
                         LLAVA_DUMP_NO_ROOM);
        assert_int_not_equal(access(dump_path("taken/y.npy"), F_OK), 0);
    }
    memset(path, 'n', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(llava_dump_f64(path, "x", x, 1, one), LLAVA_DUMP_NO_FOLDER);
    char longer[LLAVA_DUMP_PATH + 1];
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(llava_dump_f64(longer, "x", x, 1, one), LLAVA_DUMP_NO_FOLDER);
}

static void every_code_has_words(void **state)
{
    (void)state;
    for (int code = 0; code <= LLAVA_DUMP_NO_ROOM; code++) {
        assert_string_not_equal(llava_dump_problem(code), "unknown code");
    }
    assert_string_equal(llava_dump_problem(-1), "unknown code");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(every_rank_from_0_to_8_comes_back),
        cmocka_unit_test(an_empty_tensor_is_a_tensor),
        cmocka_unit_test(a_long_tensor_comes_back_whole),
        cmocka_unit_test(a_view_is_written_in_c_order),
        cmocka_unit_test(folders_are_made_and_files_replaced),
        cmocka_unit_test(bad_arguments_are_codes_and_leave_no_file),
        cmocka_unit_test(names_that_do_not_fit_become_empty),
        cmocka_unit_test(what_the_disk_refuses_is_a_code),
        cmocka_unit_test(every_code_has_words),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
