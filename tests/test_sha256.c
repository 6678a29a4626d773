#include "tools/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void digest(const void *bytes, size_t n, size_t step, char text[LLAVA_SHA256_TEXT])
{
    llava_sha256 sha;
    llava_sha256_start(&sha);
    for (size_t i = 0; i < n; i += step) {
        llava_sha256_add(&sha, (const char *)bytes + i, n - i < step ? n - i : step);
    }
    llava_sha256_end_text(&sha, text);
}

/* The examples of FIPS 180-4's companion document (one block, two blocks) and the empty message. */
static void published_digests_are_met(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[LLAVA_SHA256_TEXT];
        digest(cases[i][0], strlen(cases[i][0]), 64, text);
        assert_string_equal(text, cases[i][1]);
    }
}

static void a_million_letters_in_any_steps(void **state)
{
    (void)state;
    const size_t n = 1000000;
    char *a = malloc(n);
    assert_non_null(a);
    memset(a, 'a', n);
    static const size_t steps[] = {1000000, 63, 64, 65, 1, 4096};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char text[LLAVA_SHA256_TEXT];
        digest(a, n, steps[i], text);
        assert_string_equal(text,
                            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    free(a);
}

/* The padding changes its shape between 55 and 56 bytes and at 64. Steps of 1 and one step must
 * agree on every length around, and no two lengths may share a digest. */
static void every_length_around_a_block(void **state)
{
    (void)state;
    char zeros[130] = {0}, last[LLAVA_SHA256_TEXT] = "";
    for (size_t n = 0; n <= sizeof zeros; n++) {
        char whole[LLAVA_SHA256_TEXT], bytes[LLAVA_SHA256_TEXT];
        digest(zeros, n, sizeof zeros, whole);
        digest(zeros, n, 1, bytes);
        assert_string_equal(whole, bytes);
        assert_string_not_equal(whole, last);
        memcpy(last, whole, sizeof last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_digests_are_met),
        cmocka_unit_test(a_million_letters_in_any_steps),
        cmocka_unit_test(every_length_around_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
