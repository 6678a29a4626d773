/* The same bits everywhere: the SHA-256 of every tap of every golden case, in several types, is
 * tests/bits.txt's, whatever compiler, optimisation level and vector width built this program.
 *
 * LLAVA_BITS=FILE writes the table instead: for a change that is meant to change digits, which the
 * commit then explains. */
#include "ref/file.h"
#include "ref/jpeg.h"
#include "ref/json.h"
#include "tests/golden_case.h"
#include "tests/support.h"
#include "tools/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    const char *home; /* where the test began */
    char *expected;   /* bits.txt */
    FILE *written;    /* NULL: comparing */
    size_t compared;
} bits;

/* SHA-256 of what --hash prints for one case, type and numerics. */
static void hash_of(const char *folder, const char *dtype, const char *numerics, const char *home,
                    char digest[LLAVA_SHA256_TEXT])
{
    llava_error e = {""};
    llava_file file;
    llava_sha256 sha;
    support_folder work = support_folder_new();
    char hashes[300];
    snprintf(hashes, sizeof hashes, "%s", support_path(&work, "hashes"));
    assert_int_equal(chdir(folder), 0);
    cJSON *json = llava_json_read("case.json", &e);
    assert_non_null(json);
    char *const more[] = {"--dtype", (char *)dtype, "--numerics", (char *)numerics,
                          "--hash",  hashes,        NULL};
    char *words[GOLDEN_WORDS];
    int count = golden_words(json, more, words);
    if (golden_run(count, words, "/dev/null", &e) != 0) {
        fail_msg("%s: %s", folder, e.text);
    }
    assert_true(llava_file_map(&file, hashes, &e));
    llava_sha256_start(&sha);
    llava_sha256_add(&sha, file.bytes, file.size);
    llava_sha256_end_text(&sha, digest);
    llava_file_unmap(&file);
    cJSON_Delete(json);
    assert_int_equal(chdir(home), 0);
    support_folder_remove(&work);
}

static void check_case(void *self, const char *folder)
{
    static const char *const forms[][2] = {
        {"f64", "true"}, {"f64", "hf"}, {"f32", "true"}, {"bf16", "hf"}, {"f16", "true"}};
    bits *b = self;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i += support_step(1)) {
        char digest[LLAVA_SHA256_TEXT], line[256];
        hash_of(folder, forms[i][0], forms[i][1], b->home, digest);
        snprintf(line, sizeof line, "%s  %s  %s  %s\n", digest, folder, forms[i][0], forms[i][1]);
        if (b->written != NULL) {
            fputs(line, b->written);
        } else if (strstr(b->expected, line) == NULL) {
            fail_msg("other bits than tests/bits.txt: %s", line);
        }
        b->compared++;
    }
}

static void every_tap_has_the_bits_of_the_table(void **state)
{
    (void)state;
    char home[4096];
    llava_error e;
    llava_file file;
    bits b = {.home = home};
    const char *target = getenv("LLAVA_BITS");
    assert_non_null(getcwd(home, sizeof home));
    if (target != NULL) {
        b.written = fopen(target, "w");
        assert_non_null(b.written);
        golden_each(check_case, &b);
        assert_int_equal(fclose(b.written), 0);
        return;
    }
    assert_true(llava_file_map(&file, "tests/bits.txt", &e));
    b.expected = llava_text(&e, (const char *)file.bytes, file.size);
    llava_file_unmap(&file);
    assert_non_null(b.expected);
    golden_each(check_case, &b);
    size_t lines = 0;
    for (const char *at = b.expected; *at != '\0'; at++) {
        lines += *at == '\n';
    }
    assert_true(b.compared >= 100 / support_step(1));
    if (llava_jpeg_available() && support_step(1) == 1) { /* else cases were left out */
        assert_int_equal(b.compared, lines);
    }
    free(b.expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_tap_has_the_bits_of_the_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
