/* What fuzzing found stays mended: every file below tests/fuzz/found/TARGET goes through its
 * target, as do the seeds below tests/fuzz/seeds/TARGET, and a few bytes that are no file of any
 * kind through all of them. */
#include "tests/fuzz/targets.h"
#include "ref/file.h"
#include "tests/support.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static size_t replay_folder(const char *kind, const fuzz_target *target)
{
    char folder[256], path[1024];
    size_t count = 0;
    snprintf(folder, sizeof folder, "tests/fuzz/%s/%s", kind, target->name);
    DIR *files = opendir(folder);
    if (files == NULL) {
        return 0; /* nothing was ever found, or golden/ has seeds enough */
    }
    for (const struct dirent *file; (file = readdir(files)) != NULL;) {
        llava_error e;
        llava_file mapped;
        if (file->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        assert_true(llava_file_map(&mapped, path, &e));
        target->run(mapped.bytes, mapped.size);
        llava_file_unmap(&mapped);
        count++;
    }
    closedir(files);
    return count;
}

static void what_was_found_stays_mended(void **state)
{
    (void)state;
    size_t found = 0, seeds = 0;
    for (const fuzz_target *t = fuzz_targets; t->name != NULL; t++) {
        found += replay_folder("found", t);
        seeds += replay_folder("seeds", t);
    }
    print_message("%zu found, %zu seeds\n", found, seeds);
    assert_true(found > 0 && seeds > 0);
}

static void no_reader_takes_bytes_of_no_kind(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0xff, 0xd8, 0, '{', '"', 0x80, 'P', 'K', 3, 4, 0x93, 'N'};
    for (const fuzz_target *t = fuzz_targets; t->name != NULL; t++) {
        for (size_t n = 0; n <= sizeof bytes; n++) {
            t->run(bytes, n);
        }
    }
}

/* A target without words, or words without a target, would be left out of tests/fuzz/run.sh. */
static void every_target_has_a_dictionary(void **state)
{
    (void)state;
    size_t targets = 0, dictionaries = 0;
    for (const fuzz_target *t = fuzz_targets; t->name != NULL; t++) {
        char path[256];
        llava_error e;
        llava_file file;
        snprintf(path, sizeof path, "tests/fuzz/dictionaries/%s.dict", t->name);
        assert_true(llava_file_map(&file, path, &e));
        llava_file_unmap(&file);
        targets++;
    }
    DIR *files = opendir("tests/fuzz/dictionaries");
    assert_non_null(files);
    for (const struct dirent *file; (file = readdir(files)) != NULL;) {
        dictionaries += file->d_name[0] != '.';
    }
    closedir(files);
    assert_int_equal(targets, dictionaries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_found_stays_mended),
        cmocka_unit_test(no_reader_takes_bytes_of_no_kind),
        cmocka_unit_test(every_target_has_a_dictionary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
