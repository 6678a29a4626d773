/* Strict JSON: what is taken, what is refused and with which words. */
#include "ref/json.h"

#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cJSON *parse(const char *text, llava_error *e)
{
    return llava_json_parse("f.json", text, strlen(text), e);
}

static void taken(const char *text)
{
    llava_error e;
    cJSON *tree = parse(text, &e);
    if (tree == NULL) {
        fail_msg("%s was refused: %s", text, e.text);
    }
    cJSON_Delete(tree);
}

static void refused(const char *text, const char *message)
{
    llava_error e;
    cJSON *tree = parse(text, &e);
    if (tree != NULL) {
        cJSON_Delete(tree);
        fail_msg("%s was taken", text);
    }
    support_says(&e, message);
    assert_memory_equal(e.text, "f.json: ", 8);
}

/* n times `open`, then `close` n times, in new memory. */
static char *nested(size_t n, const char *open, const char *close)
{
    size_t a = strlen(open), b = strlen(close);
    char *text = malloc(n * (a + b) + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        memcpy(text + i * a, open, a);
        memcpy(text + n * a + i * b, close, b);
    }
    text[n * (a + b)] = '\0';
    return text;
}

static void every_kind_of_value_is_taken(void **state)
{
    (void)state;
    const char *texts[] = {
        "null",
        "true",
        " false ",
        "0",
        "-0",
        "-12.5e-3",
        "1E+2",
        "\"\"",
        "[]",
        "{}",
        "[1, [2], {}]",
        "\t\r\n{\"a\" : [ ] , \"b\":{\"a\":1}}\n",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude0a\"",
        "\"\xC2\x80 \xE2\x82\xAC \xED\x9F\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF\"",
        "\xEF\xBB\xBF{\"a\": 1}",
        "\xEF\xBB\xBF 1",
        "{\"a\": 1, \"A\": 2}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        taken(texts[i]);
    }
}

static void broken_grammar_is_refused_with_the_byte(void **state)
{
    (void)state;
    refused("", "the text ends where a value is meant (byte 0)");
    refused("  ", "(byte 2)");
    refused("[1,]", "not a JSON value (byte 3)");
    refused("[1 2]", "a comma or a closing bracket is missing (byte 3)");
    refused("[1}", "(byte 2)");
    refused("[", "(byte 1)");
    refused("{\"a\" 1}", "a colon is missing (byte 5)");
    refused("{\"a\":1,}", "a string is missing (byte 7)");
    refused("{a:1}", "a string is missing (byte 1)");
    refused("'a'", "not a JSON value (byte 0)");
    refused("nul", "not a JSON value");
    refused("True", "not a JSON value");
    refused("[1] // x", "bytes behind the end");
    refused("\"abc", "the text ends within a string (byte 4)");
}

static void bytes_behind_the_value_are_refused(void **state)
{
    (void)state;
    llava_error e;
    refused("{} {}", "bytes behind the end of the JSON value (byte 3)");
    refused("1 x", "bytes behind the end");
    assert_null(llava_json_parse("f.json", "{}\0", 3, &e)); /* a NUL is a byte like others */
    support_says(&e, "bytes behind the end");
    assert_null(llava_json_parse("f.json", "\0", 1, &e));
}

static void numbers_outside_the_grammar_or_range_are_refused(void **state)
{
    (void)state;
    const char *texts[] = {"NaN", "Infinity", "-Infinity", "+1",   ".5",
                           "1.",  "1e",       "-",         "0x10", "[1.e3]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        refused(texts[i], "(byte");
    }
    refused("01", "a number begins with 0");
    refused("1e999", "a number is out of range");
    refused("{\"eps\": [-1e400]}", "a number is out of range");
    /* cJSON would cut it in two without a word. */
    refused("0.1000000000000000000000000000000000000000000000000000000000000001",
            "a number has more than 63 characters");
}

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    const char *texts[] = {
        "\"\x80\"",             /* a continuation alone */
        "\"\xC3\"",             /* cut */
        "\"\xC0\xAF\"",         /* overlong, two bytes */
        "\"\xE0\x9F\xBF\"",     /* overlong, three */
        "\"\xF0\x8F\xBF\xBF\"", /* overlong, four */
        "\"\xED\xA0\x80\"",     /* a surrogate */
        "\"\xF4\x90\x80\x80\"", /* beyond U+10FFFF */
        "\"\xFF\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        refused(texts[i], "the text is not UTF-8 (byte");
    }
    refused("{\xC3\xA9: 1}", "(byte 1)");
}

static void strings_with_control_characters_or_odd_escapes_are_refused(void **state)
{
    (void)state;
    refused("\"a\nb\"", "a control character in a string (byte 2)");
    refused("\"\\x\"", "an unknown escape");
    refused("\"\\u12g4\"", "four hexadecimal digits");
    refused("\"\\u0000\"", "\\u0000 in a string");
    refused("\"\\uD800\"", "half a surrogate pair");
    refused("\"\\uDC00\"", "half a surrogate pair");
    refused("\"\\uD800x\"", "half a surrogate pair");
    refused("\"\\uD800\\n\"", "half a surrogate pair");
    refused("\"\\uD800\\uE000\"", "half a surrogate pair");
    refused("\"\\uD800\\u00g0\"", "four hexadecimal digits");
    refused("\"\\u00 0\"", "four hexadecimal digits");
    refused("\"\\u00Z0\"", "four hexadecimal digits");
    refused("\"\\", "an unknown escape");
    refused("\"\\uD800\\u0041\"", "half a surrogate pair");
}

static void duplicate_keys_are_refused_at_every_depth(void **state)
{
    (void)state;
    refused("{\"a\":1,\"b\":2,\"a\":3}", "duplicate key 'a'");
    refused("[{\"x\":{\"b\":1,\"b\":1}}]", "duplicate key 'b'");
    refused("{\"a\":1,\"\\u0061\":2}", "duplicate key 'a'"); /* two spellings of one name */
    refused("{\"\":1,\"\":2}", "duplicate key ''");
}

static void a_vocabulary_of_150000_keys_is_read_in_no_time(void **state)
{
    (void)state;
    /* A comparison of all pairs would take minutes. */
    enum { keys = 150000 };
    char *text = malloc(keys * 24 + 2);
    assert_non_null(text);
    size_t at = 0;
    for (int i = 0; i < keys; i++) {
        at += (size_t)sprintf(text + at, "%s\"token%d\":%d", i == 0 ? "{" : ",", i, i);
    }
    text[at++] = '}';
    llava_error e;
    cJSON *tree = llava_json_parse("f.json", text, at, &e);
    assert_non_null(tree);
    assert_int_equal(cJSON_GetArraySize(tree), keys);
    cJSON_Delete(tree);
    free(text);
}

static void nesting_ends_at_the_stated_depth(void **state)
{
    (void)state;
    char *deep = nested(LLAVA_JSON_DEPTH, "[", "]");
    taken(deep);
    free(deep);
    deep = nested(LLAVA_JSON_DEPTH + 1, "[", "]");
    refused(deep, "the nesting is too deep");
    free(deep);
    deep = nested(100000, "{\"a\":", "}");
    refused(deep, "the nesting is too deep");
    free(deep);
}

static void numbers_are_read_to_the_last_bit(void **state)
{
    (void)state;
    llava_error e;
    cJSON *tree = parse("{\"eps\":1e-05,\"scale\":0.00392156862745098,\"tiny\":5e-324}", &e);
    double eps = 0, scale = 0, tiny = 0;
    assert_true(llava_json_double("f", tree, "eps", &eps, &e));
    assert_true(llava_json_double("f", tree, "scale", &scale, &e));
    assert_true(llava_json_double("f", tree, "tiny", &tiny, &e));
    assert_true(eps == 1e-5 && scale == 1.0 / 255.0 && tiny == 5e-324);
    cJSON_Delete(tree);
}

static void an_absent_or_null_member_leaves_the_default(void **state)
{
    (void)state;
    llava_error e;
    cJSON *tree = parse("{\"a\":null,\"B\":1}", &e);
    size_t size = 7;
    int64_t number = -7;
    double real = 0.5;
    bool flag = true;
    const char *text = "t";
    const cJSON *inner = tree;
    const char *keys[] = {"a", "b", "a.c", "x.y.z"};
    for (size_t i = 0; i < 4; i++) {
        assert_true(llava_json_size("f", tree, keys[i], &size, &e));
        assert_true(llava_json_int("f", tree, keys[i], &number, &e));
        assert_true(llava_json_double("f", tree, keys[i], &real, &e));
        assert_true(llava_json_bool("f", tree, keys[i], &flag, &e));
        assert_true(llava_json_string("f", tree, keys[i], &text, &e));
        assert_false(llava_json_has(tree, keys[i]));
    }
    assert_true(llava_json_size("f", NULL, "a", &size, &e));
    assert_true(size == 7 && number == -7 && real == 0.5 && flag && strcmp(text, "t") == 0);
    assert_true(llava_json_object("f", tree, "a", &inner, &e));
    assert_null(inner);
    assert_true(llava_json_has(tree, "B"));
    cJSON_Delete(tree);
}

static void a_dotted_key_descends(void **state)
{
    (void)state;
    llava_error e;
    cJSON *tree = parse("{\"a\":{\"b\":{\"c\":5}, \"bc\":6}, \"a.b\": 9, \"n\": 1}", &e);
    size_t value = 0;
    assert_true(llava_json_size("f", tree, "a.b.c", &value, &e));
    assert_int_equal(value, 5);
    assert_true(llava_json_size("f", tree, "a.bc", &value, &e));
    assert_int_equal(value, 6);
    assert_false(llava_json_size("f", tree, "a.b", &value, &e));
    support_says(&e, "f: a.b: must be a whole number");
    assert_false(llava_json_size("f", tree, "n.x", &value, &e));
    support_says(&e, "f: n: must be an object");
    /* whatever is looked for there */
    int64_t number;
    double real;
    bool flag;
    const char *text;
    const cJSON *inner;
    assert_false(llava_json_int("f", tree, "n.x", &number, &e));
    assert_false(llava_json_double("f", tree, "n.x", &real, &e));
    assert_false(llava_json_bool("f", tree, "n.x", &flag, &e));
    assert_false(llava_json_string("f", tree, "n.x", &text, &e));
    assert_false(llava_json_object("f", tree, "n.x", &inner, &e));
    assert_false(llava_json_array("f", tree, "n.x", &inner, &e));
    support_says(&e, "f: n: must be an object");
    assert_false(llava_json_has(tree, "n.x"));
    cJSON_Delete(tree);
}

static void a_member_of_another_kind_is_refused(void **state)
{
    (void)state;
    llava_error e;
    cJSON *tree = parse("{\"s\":\"1\",\"n\":1,\"b\":true,\"h\":1.5,\"m\":-1,\"w\":16.0,"
                        "\"big\":9007199254740992,\"most\":-9007199254740991}",
                        &e);
    size_t size;
    int64_t number;
    double real;
    bool flag;
    const char *text;
    const cJSON *inner;
    assert_false(llava_json_size("f", tree, "s", &size, &e));
    assert_false(llava_json_size("f", tree, "b", &size, &e)); /* true is not 1 */
    assert_false(llava_json_size("f", tree, "h", &size, &e));
    support_says(&e, "f: h: must be a whole number");
    assert_false(llava_json_size("f", tree, "m", &size, &e));
    support_says(&e, "f: m: must be a whole number, not negative");
    assert_false(llava_json_int("f", tree, "big", &number, &e));
    assert_false(llava_json_double("f", tree, "s", &real, &e));
    assert_false(llava_json_bool("f", tree, "n", &flag, &e));
    assert_false(llava_json_string("f", tree, "n", &text, &e));
    assert_false(llava_json_object("f", tree, "n", &inner, &e));
    assert_false(llava_json_array("f", tree, "s", &inner, &e));
    support_says(&e, "f: s: must be an array");
    assert_true(llava_json_int("f", tree, "most", &number, &e));
    assert_true(number == -9007199254740991);
    assert_true(llava_json_size("f", tree, "w", &size, &e));
    assert_int_equal(size, 16);
    cJSON_Delete(tree);
}

static void a_file_is_read_and_named_in_messages(void **state)
{
    (void)state;
    llava_error e;
    support_folder folder = support_folder_new();
    support_write_text(&folder, "good.json", "{\"a\":1}");
    cJSON *tree = llava_json_read(support_path(&folder, "good.json"), &e);
    assert_non_null(tree);
    cJSON_Delete(tree);
    support_write_text(&folder, "bad.json", "{");
    assert_null(llava_json_read(support_path(&folder, "bad.json"), &e));
    support_says(&e, "/bad.json: a string is missing (byte 1)");
    assert_null(llava_json_read(folder.path, &e));
    support_says(&e, "not a regular file");
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_taken),
        cmocka_unit_test(broken_grammar_is_refused_with_the_byte),
        cmocka_unit_test(bytes_behind_the_value_are_refused),
        cmocka_unit_test(numbers_outside_the_grammar_or_range_are_refused),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(strings_with_control_characters_or_odd_escapes_are_refused),
        cmocka_unit_test(duplicate_keys_are_refused_at_every_depth),
        cmocka_unit_test(a_vocabulary_of_150000_keys_is_read_in_no_time),
        cmocka_unit_test(nesting_ends_at_the_stated_depth),
        cmocka_unit_test(numbers_are_read_to_the_last_bit),
        cmocka_unit_test(an_absent_or_null_member_leaves_the_default),
        cmocka_unit_test(a_dotted_key_descends),
        cmocka_unit_test(a_member_of_another_kind_is_refused),
        cmocka_unit_test(a_file_is_read_and_named_in_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
