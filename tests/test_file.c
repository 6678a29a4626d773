/* Regular files and the bounded cursor. */
#include "ref/file.h"

#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static void a_mapped_file_has_its_bytes(void **state)
{
    (void)state;
    llava_file file;
    llava_error e;
    support_write(&folder, "a", "x\0y", 3);
    assert_true(llava_file_map(&file, support_path(&folder, "a"), &e));
    assert_int_equal(file.size, 3);
    assert_memory_equal(file.bytes, "x\0y", 3);
    llava_file_unmap(&file);
}

static void an_empty_file_is_a_file(void **state)
{
    (void)state;
    llava_file file;
    llava_error e;
    support_write(&folder, "empty", "", 0);
    assert_true(llava_file_map(&file, support_path(&folder, "empty"), &e));
    assert_int_equal(file.size, 0);
    assert_non_null(file.bytes);
    llava_file_unmap(&file);
}

static void a_symbolic_link_is_followed(void **state)
{
    (void)state;
    llava_file file;
    llava_error e;
    support_write(&folder, "target", "t", 1);
    assert_int_equal(symlink("target", support_path(&folder, "link")), 0);
    assert_true(llava_file_map(&file, support_path(&folder, "link"), &e));
    assert_int_equal(file.bytes[0], 't');
    llava_file_unmap(&file);
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    (void)state;
    llava_file file;
    llava_error e;
    /* Nobody writes into this FIFO: an open that waits would hang here. */
    assert_int_equal(mkfifo(support_path(&folder, "fifo"), 0600), 0);
    const char *paths[] = {support_path(&folder, "fifo"), folder.path, "/dev/null"};
    for (size_t i = 0; i < 3; i++) {
        assert_false(llava_file_map(&file, paths[i], &e));
        support_says(&e, "not a regular file");
        assert_memory_equal(e.text, paths[i], strlen(paths[i]));
    }
}

static void a_missing_file_is_named_with_the_reason(void **state)
{
    (void)state;
    llava_file file;
    llava_error e;
    assert_false(llava_file_exists(support_path(&folder, "missing")));
    assert_false(llava_file_map(&file, support_path(&folder, "missing"), &e));
    support_says(&e, "/missing: No such file or directory");
}

static void the_cursor_reads_little_endian(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    llava_cursor c = llava_cursor_over(bytes, sizeof bytes);
    assert_int_equal(llava_cursor_u8(&c), 0x01);
    assert_int_equal(llava_cursor_u16(&c), 0x0302);
    assert_int_equal(llava_cursor_u32(&c), 0x07060504);
    assert_true(llava_cursor_u64(&c) == UINT64_C(0x0F0E0D0C0B0A0908));
    assert_int_equal(llava_cursor_left(&c), 0);
    assert_false(c.bad);
}

static void a_read_past_the_end_gives_zeros_and_is_remembered(void **state)
{
    (void)state;
    const uint8_t bytes[] = {255, 255, 255};
    llava_cursor c = llava_cursor_over(bytes, sizeof bytes);
    assert_int_equal(llava_cursor_u32(&c), 0);
    assert_true(c.bad);
    assert_int_equal(llava_cursor_u8(&c), 0); /* although a byte is left */
    c = llava_cursor_over(bytes, sizeof bytes);
    assert_null(llava_cursor_take(&c, SIZE_MAX));
    assert_true(c.bad);
    c = llava_cursor_over(bytes, sizeof bytes);
    assert_true(llava_cursor_seek(&c, 3));
    assert_int_equal(llava_cursor_offset(&c), 3);
    assert_false(llava_cursor_seek(&c, 4));
    assert_true(c.bad);
}

static void a_path_is_folder_slash_name(void **state)
{
    (void)state;
    llava_error e;
    char *path = llava_path(&e, "a/b", "c");
    assert_string_equal(path, "a/b/c");
    free(path);
}

static void a_file_is_looked_for_in_a_folder(void **state)
{
    (void)state;
    static char far[5000];
    support_write(&folder, "there", "", 0);
    assert_true(llava_file_in(folder.path, "there"));
    assert_false(llava_file_in(folder.path, "not there"));
    memset(far, '/', sizeof far - 1); /* a path that is longer than any may be */
    assert_false(llava_file_in(far, "tmp"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapped_file_has_its_bytes),
        cmocka_unit_test(an_empty_file_is_a_file),
        cmocka_unit_test(a_symbolic_link_is_followed),
        cmocka_unit_test(what_is_no_regular_file_is_refused_at_once),
        cmocka_unit_test(a_missing_file_is_named_with_the_reason),
        cmocka_unit_test(the_cursor_reads_little_endian),
        cmocka_unit_test(a_read_past_the_end_gives_zeros_and_is_remembered),
        cmocka_unit_test(a_path_is_folder_slash_name),
        cmocka_unit_test(a_file_is_looked_for_in_a_folder),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
