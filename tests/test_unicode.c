/* Character classes, the normal form, the split patterns: equal to the tokenizers library. */
#include "ref/byte_level.h"
#include "ref/json.h"
#include "ref/nfc.h"
#include "ref/split_pattern.h"
#include "tools/sha256.h"

#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include <cmocka.h>

#define DATA  "tests/data/tokenizer/unicode.json"
#define LIMIT ((size_t)1 << 24)

static cJSON *library(void)
{
    llava_error e;
    cJSON *root = llava_json_read(DATA, &e);
    if (root == NULL) {
        fail_msg("%s", e.text);
    }
    return root;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    assert_non_null(text);
    return text;
}

/* Fails with the version of utf8proc, which is the first thing to look at. */
static void same_digest(llava_sha256 *sha, const char *key)
{
    cJSON *root = library();
    char digest[LLAVA_SHA256_TEXT];
    llava_sha256_end_text(sha, digest);
    if (strcmp(digest, text_of(root, key)) != 0) {
        fail_msg("%s: not the library's (utf8proc %s, Unicode %s)", key, utf8proc_version(),
                 utf8proc_unicode_version());
    }
    cJSON_Delete(root);
}

static void classes_of_all_code_points_are_those_of_the_library(void **state)
{
    (void)state;
    llava_sha256 sha;
    llava_sha256_start(&sha);
    for (uint32_t point = 0; point < 0x110000; point++) {
        bool surrogate = point >= 0xd800 && point < 0xe000;
        unsigned class = llava_char_class(point) | (llava_is_word(point) ? 64u : 0u);
        uint8_t byte = surrogate ? 0 : (uint8_t) class;
        llava_sha256_add(&sha, &byte, 1);
    }
    same_digest(&sha, "classes");
}

static size_t put_point(char *to, uint32_t point)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)point, (utf8proc_uint8_t *)to);
}

/* Six texts that show a code point's decomposition, its combining class, whether it composes: as
 * nfc_probe in tools/check_tokenizer.py. 0 stands for the code point. */
static size_t probe(char *to, uint32_t point)
{
    static const uint32_t form[] = {'a',    0,     0x334, 1,      0x345, 0, 0x301,  1,
                                    0,      0x5b0, 0xe38, 1,      0x327, 0, 0x302a, 1,
                                    0x3099, 0,     1,     0xac00, 0,     1};
    size_t n = 0;
    for (size_t i = 0; i < sizeof form / sizeof form[0]; i++) {
        n += put_point(to + n, form[i] == 0 ? point : form[i]);
    }
    return n;
}

/* Blocks that have characters; the others hold what composes with nothing. */
static bool in_a_block(uint32_t point)
{
    return point < 0x34000 || (point >= 0xe0000 && point < 0xe1000);
}

static void the_normal_form_of_all_code_points_is_the_librarys(void **state)
{
    (void)state;
    const bool all = support_long();
    llava_sha256 sha;
    llava_bytes out = {0};
    llava_error e;
    llava_sha256_start(&sha);
    for (uint32_t point = 0; point < 0x110000; point++) {
        char text[128];
        if ((point < 0xd800 || point >= 0xe000) && (all || in_a_block(point))) {
            out.n = 0;
            assert_true(llava_nfc(text, probe(text, point), LIMIT, &out, &e));
            llava_sha256_add(&sha, out.at, out.n);
        }
    }
    free(out.at);
    same_digest(&sha, all ? "nfc" : "nfc_in_blocks");
}

/* Does the pattern split the text into pieces of these lengths? */
static bool splits_into(const llava_split_pattern *pattern, const char *text, const cJSON *lengths)
{
    size_t at = 0, n = strlen(text);
    const cJSON *wanted = lengths->child;
    for (; at < n && wanted != NULL; wanted = wanted->next) {
        size_t length = llava_split_pattern_piece(pattern, text + at, n - at);
        if ((double)length != wanted->valuedouble) {
            return false;
        }
        at += length;
    }
    return at == n && wanted == NULL;
}

static void pieces_and_normal_forms_are_those_of_the_library(void **state)
{
    (void)state;
    cJSON *root = library();
    const cJSON *patterns = cJSON_GetObjectItemCaseSensitive(root, "patterns");
    const cJSON *cases = cJSON_GetObjectItemCaseSensitive(root, "splits");
    size_t total = 0, crossed = 0;
    llava_bytes out = {0};
    llava_error e;
    for (const cJSON *item = cases->child; item != NULL; item = item->next, total++) {
        const char *text = text_of(item, "text"), *normal = text_of(item, "nfc");
        const cJSON *lengths = cJSON_GetObjectItemCaseSensitive(item, "lengths");
        const cJSON *wanted = lengths->child;
        for (const cJSON *p = patterns->child; p != NULL; p = p->next, wanted = wanted->next) {
            const llava_split_pattern *pattern = llava_split_pattern_of(p->valuestring);
            assert_non_null(pattern);
            if (!splits_into(pattern, text, wanted)) {
                fail_msg("%s splits %s otherwise", p->valuestring, text);
            }
            crossed += !splits_into(pattern, text, lengths->child);
        }
        out.n = 0;
        assert_true(llava_nfc(text, strlen(text), LIMIT, &out, &e));
        assert_int_equal(out.n, strlen(normal));
        assert_memory_equal(out.at, normal, out.n);
    }
    assert_int_equal(total, 150);
    assert_true(crossed > 200); /* the cases tell the patterns apart */
    free(out.at);
    cJSON_Delete(root);
}

static void pieces_without_letters(void **state)
{
    (void)state;
    const llava_split_pattern *gpt2 = llava_split_pattern_byte_level();
    assert_int_equal(llava_split_pattern_piece(gpt2, "'ve", 3), 3);
    assert_int_equal(llava_split_pattern_piece(gpt2, "'va", 3), 1); /* no contraction */
    assert_int_equal(llava_split_pattern_piece(gpt2, "!\0a", 3), 2);
    /* line ends behind them are theirs where the pattern has a tail; a NUL behind those is not */
    cJSON *root = library();
    const cJSON *patterns = cJSON_GetObjectItemCaseSensitive(root, "patterns");
    for (const cJSON *p = patterns->child; p != NULL; p = p->next) {
        const llava_split_pattern *pattern = llava_split_pattern_of(p->valuestring);
        size_t length = p == patterns->child ? 1 : 3; /* the first is GPT-2's */
        assert_int_equal(llava_split_pattern_piece(pattern, "!\r\n\0a", 5), length);
    }
    cJSON_Delete(root);
}

static void patterns_with_one_character_changed_are_unknown(void **state)
{
    (void)state;
    cJSON *root = library();
    const cJSON *patterns = cJSON_GetObjectItemCaseSensitive(root, "patterns");
    for (const cJSON *p = patterns->child; p != NULL; p = p->next) {
        assert_non_null(llava_split_pattern_of(p->valuestring));
        p->valuestring[strlen(p->valuestring) / 2] ^= 1;
        assert_null(llava_split_pattern_of(p->valuestring));
    }
    assert_null(llava_split_pattern_of(""));
    cJSON_Delete(root);
}

static void bytes_become_characters_and_back(void **state)
{
    (void)state;
    llava_byte_level map;
    llava_bytes out = {0}, back = {0};
    llava_error e;
    char all[256];
    llava_byte_level_init(&map);
    for (size_t i = 0; i < 256; i++) {
        all[i] = (char)i;
    }
    assert_true(llava_byte_level_encode(&map, all, 256, LIMIT, &out, &e));
    assert_memory_equal(out.at, "\xc4\x80\xc4\x81", 4); /* U+0100 U+0101 */
    assert_true(llava_byte_level_decode(&map, out.at, out.n, LIMIT, &back, &e));
    assert_int_equal(back.n, 256);
    assert_memory_equal(back.at, all, 256);
    back.n = 0; /* a blank stands for no byte: the token is its own bytes */
    assert_true(llava_byte_level_decode(&map, "\xc4\xa0 a", 4, LIMIT, &back, &e));
    assert_int_equal(back.n, 4);
    assert_memory_equal(back.at, "\xc4\xa0 a", 4);
    free(out.at);
    free(back.at);
}

static void broken_utf8_is_cut_at_its_longest_beginning_of_a_character(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n, wanted;
    } cases[] = {
        {"\x80", 1, 1},          {"\xff\x80", 2, 1},     {"\xc1\x80", 2, 1},
        {"\xc3", 1, 1},          {"\xc3z", 2, 1},        {"\xe2\x96", 2, 2},
        {"\xe2\x96z", 3, 2},     {"\xe0\x80\x80", 3, 1}, {"\xed\xa0\x80", 3, 1},
        {"\xf0\x9f\x98", 3, 3},  {"\xf0\x80\x80", 3, 1}, {"\xf4\x90\x80\x80", 4, 1},
        {"\xf4\x8f\xbfz", 4, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(llava_utf8_broken(cases[i].text, cases[i].n), cases[i].wanted);
    }
}

/* ---- Time ---- */

/* Work that grew with the square would be 1e11 steps, or 3.6e9 for each text of the sample. */
enum { LONG = 300000, SHORTER = 60000 };

static void hostile_texts_take_linear_time(void **state)
{
    (void)state;
    const size_t most = support_long() ? LONG : SHORTER;
    static const char *const units[] = {
        " ",        "\n", " \n", "A",         "a",         "\xe4\xb8\xad\x41",
        "\xcc\x81", "'",  "7",   " \xcc\x81", "A\xcc\x81", "/\n"};
    cJSON *root = library();
    const cJSON *patterns = cJSON_GetObjectItemCaseSensitive(root, "patterns");
    char *text = malloc(LONG + 8);
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t n = 0;
        while (n < most) {
            n += (size_t)snprintf(text + n, 8, "%s", units[u]);
        }
        for (const cJSON *p = patterns->child; p != NULL; p = p->next) {
            const llava_split_pattern *pattern = llava_split_pattern_of(p->valuestring);
            for (size_t at = 0; at < n;) {
                at += llava_split_pattern_piece(pattern, text + at, n - at);
            }
        }
    }
    llava_bytes out = {0}; /* marks in the worst order for an exchange sort */
    llava_error e;
    size_t n = 0;
    static const uint32_t falling[] = {0x345, 0x301, 0x327, 0x5b0, 0x334};
    for (size_t i = 0; n < most; i++) {
        n += put_point(text + n, falling[i * 5 * 2 / most % 5]);
    }
    assert_true(llava_nfc(text, n, LIMIT, &out, &e));
    assert_int_equal(out.n, n);
    free(out.at);
    free(text);
    cJSON_Delete(root);
}

static void the_normal_form_keeps_to_its_limit(void **state)
{
    (void)state;
    llava_bytes out = {0};
    llava_error e;
    /* U+0958 is decomposed for good: three bytes become six */
    assert_true(llava_nfc("\xe0\xa5\x98", 3, 6, &out, &e));
    assert_int_equal(out.n, 6);
    out.n = 0;
    assert_false(llava_nfc("\xe0\xa5\x98", 3, 5, &out, &e));
    support_says(&e, "grows beyond the limit of 5 bytes");
    assert_false(llava_nfc("a\xff", 2, 9, &out, &e));
    support_says(&e, "not UTF-8");
    free(out.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_of_all_code_points_are_those_of_the_library),
        cmocka_unit_test(the_normal_form_of_all_code_points_is_the_librarys),
        cmocka_unit_test(pieces_and_normal_forms_are_those_of_the_library),
        cmocka_unit_test(pieces_without_letters),
        cmocka_unit_test(patterns_with_one_character_changed_are_unknown),
        cmocka_unit_test(bytes_become_characters_and_back),
        cmocka_unit_test(broken_utf8_is_cut_at_its_longest_beginning_of_a_character),
        cmocka_unit_test(hostile_texts_take_linear_time),
        cmocka_unit_test(the_normal_form_keeps_to_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
