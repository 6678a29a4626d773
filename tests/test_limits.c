/* The limits of docs/limits.md that no other test goes to: one element beyond each is refused, by
 * name, and the last one that fits is not. */
#include "ref/chat.h"
#include "ref/checkpoint.h"
#include "ref/config.h"
#include "ref/json.h"
#include "ref/tokenizer.h"
#include "tests/program.h"
#include "tools/dump.h"
#include "tools/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* `text` n times, between two others; free() it. */
static char *repeat(const char *before, const char *text, size_t n, const char *after)
{
    size_t a = strlen(before), b = strlen(text);
    char *whole = malloc(a + n * b + strlen(after) + 1);
    assert_non_null(whole);
    memcpy(whole, before, a);
    for (size_t i = 0; i < n; i++) {
        memcpy(whole + a + i * b, text, b);
    }
    memcpy(whole + a + n * b, after, strlen(after) + 1);
    return whole;
}

/* [0,0,...]: the array is a value as well. Refused while counting, before any is kept. */
static void json_of_more_values_is_refused(void **state)
{
    (void)state;
    llava_error e;
    char *text = repeat("[", "0,", 7999999, "0]");
    assert_null(llava_json_parse("f", text, strlen(text), &e));
    support_says(&e, "more than 8 million values");
    free(text);
}

static void an_index_of_more_shards_is_refused(void **state)
{
    (void)state;
    for (size_t shards = 4096; shards <= 4097; shards++) {
        support_folder folder = support_folder_new();
        FILE *file = fopen(support_path(&folder, "model.safetensors.index.json"), "w");
        llava_checkpoint *c;
        llava_error e;
        assert_non_null(file);
        fputs("{\"weight_map\":{", file);
        for (size_t i = 0; i < shards; i++) {
            fprintf(file, "%s\"t%zu\":\"s%zu\"", i == 0 ? "" : ",", i, i);
        }
        fputs("}}", file);
        fclose(file);
        assert_false(llava_checkpoint_open(&c, folder.path, NULL, &e));
        support_says(&e, shards == 4097 ? "more than 4096 shards" : "No such file");
        support_folder_remove(&folder);
    }
}

/* A file of n bytes of which only the header is written: the rest is a hole of zeros. */
static void a_longer_description_is_refused(void **state)
{
    (void)state;
    for (size_t n = LLAVA_DUMP_META_LONGEST; n <= LLAVA_DUMP_META_LONGEST + 1; n++) {
        support_folder folder = support_folder_new();
        char header[129];
        llava_dump *dump;
        llava_error e;
        int written = snprintf(header, sizeof header,
                               "\x93NUMPY\x01%cv%c{'descr': '|u1', 'fortran_order': False, "
                               "'shape': (%zu,), }",
                               0, 0, n);
        assert_true(written > 0 && written < 127);
        memset(header + written, ' ', (size_t)(127 - written));
        header[127] = '\n';
        support_write(&folder, "__meta__.npy", header, 128);
        assert_int_equal(truncate(support_path(&folder, "__meta__.npy"), (off_t)(128 + n)), 0);
        assert_false(llava_dump_open(&dump, folder.path, &e));
        support_says(&e, n == LLAVA_DUMP_META_LONGEST ? "a NUL in the text" : "at most 16 MiB");
        support_folder_remove(&folder);
    }
}

/* Text of a template that grows beyond 1 MiB is no known template. */
static void a_longer_chat_template_is_refused(void **state)
{
    (void)state;
    llava_chat chat;
    llava_error e;
    char *text = repeat("", " ", ((size_t)1 << 20) + 1, "");
    assert_false(llava_chat_recognise("t.jinja", text, strlen(text), &chat, &e));
    support_says(&e, "--prompt");
    free(text);
}

/* A copy of a golden tokenizer with `from` replaced in tokenizer.json. */
static void tokenizer_says(const char *from, const char *to, const char *says)
{
    support_folder folder = support_folder_new();
    llava_tokenizer *t = NULL;
    llava_error e;
    program_result r = program_run(&folder, "cp \"$GOLDEN\"/picture-chat/model/*.json .");
    assert_int_equal(r.status, 0);
    program_free(&r);
    program_edit(&folder, "tokenizer.json", from, to);
    bool opened = llava_tokenizer_open(&t, folder.path, &e);
    assert_int_equal(opened, says == NULL);
    if (!opened) {
        support_says(&e, says);
    }
    llava_tokenizer_close(t);
    support_folder_remove(&folder);
}

static void longer_tokenizer_parts_are_refused(void **state)
{
    (void)state;
    static const char step[] =
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"q\"},\"content\":\"q\"},";
    static const char piece[] = "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},";
    static const struct {
        const char *from, *item, *start;
        size_t n;
        const char *says;
    } rows[] = {
        {"\"normalizers\": [", step, "\"normalizers\": [", 14, NULL}, /* two are there */
        {"\"normalizers\": [", step, "\"normalizers\": [", 15, "more than 16 steps (normalizer)"},
        {"\"decoders\": [", step, "\"decoders\": [", 13, "more than 16 steps (decoder)"},
        {"\"single\": [", piece, "\"single\": [", 63, "more than 64 pieces"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *to = repeat(rows[i].start, rows[i].item, rows[i].n, "");
        tokenizer_says(rows[i].from, to, rows[i].says);
        free(to);
    }
    char *pattern = repeat("\"String\": \"", "q", 65, "\"");
    tokenizer_says("\"String\": \" \"", pattern, "a pattern of 65 bytes");
    free(pattern);
}

static void more_stop_ids_are_refused(void **state)
{
    (void)state;
    for (size_t n = LLAVA_MAX_STOP_IDS; n <= LLAVA_MAX_STOP_IDS + 1; n++) {
        support_folder folder = support_folder_new();
        llava_config config;
        llava_error e = {""};
        program_result r = program_run(&folder, "cp \"$GOLDEN\"/plain/model/config.json .");
        assert_int_equal(r.status, 0);
        program_free(&r);
        char *ids = repeat("{\"eos_token_id\":[", "1,", n - 1, "1]}");
        support_write_text(&folder, "generation_config.json", ids);
        free(ids);
        bool read = llava_config_read(&config, folder.path, &e);
        assert_int_equal(read, n == LLAVA_MAX_STOP_IDS);
        if (!read) {
            support_says(&e, "eos_token_id: more than 64 ids");
        }
        support_folder_remove(&folder);
    }
}

/* However long the names in it, a message keeps its end or is cut; it never overflows. */
static void messages_are_cut(void **state)
{
    (void)state;
    llava_error e;
    char *name = repeat("", "n", 5000, "");
    assert_false(llava_fail(&e, "%s: what", name));
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_false(llava_fail_in(&e, name));
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    char shown[LLAVA_SHOWN];
    llava_shown(shown, name, strlen(name));
    assert_true(strlen(shown) < LLAVA_SHOWN);
    free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_of_more_values_is_refused),
        cmocka_unit_test(an_index_of_more_shards_is_refused),
        cmocka_unit_test(a_longer_description_is_refused),
        cmocka_unit_test(a_longer_chat_template_is_refused),
        cmocka_unit_test(longer_tokenizer_parts_are_refused),
        cmocka_unit_test(more_stop_ids_are_refused),
        cmocka_unit_test(messages_are_cut),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
