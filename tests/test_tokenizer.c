/* The tokenizer: equal to the tokenizers library on committed cases, decisions, refusals, time. */
#include "ref/bpe.h"
#include "ref/json.h"
#include "ref/tokenizer.h"
#include "ref/unicode.h"

#include "memory.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define META "\xe2\x96\x81" /* U+2581 */

static const llava_token_plan config_plan = {.bos = LLAVA_BOS_CONFIG};

/* ---- Small tokenizers written on the spot ---- */

/* The parts of a tokenizer.json; NULL takes the usual one. */
typedef struct {
    const char *added, *normalizer, *pre_tokenizer, *post_processor, *decoder;
    const char *vocab, *merges, *settings;
    const char *config; /* tokenizer_config.json, or none */
} parts;

/* A special added token without flags, as the usual list has them. */
#define ADDED(id, content) "{\"id\":" #id ",\"content\":\"" content "\",\"special\":true}"

static const parts usual = {
    .added = "[" ADDED(0, "<unk>") "," ADDED(1, "<s>") "," ADDED(9, "<image>") "]",
    .normalizer =
        "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" META
        "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" META "\"}]}",
    .pre_tokenizer = "null",
    .post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
                      "\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
                      "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":"
                      "[\"<s>\"]}}}",
    .decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
               "\"" META "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
               "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}",
    .vocab = "{\"<unk>\":0,\"<s>\":1,\"" META "\":2,\"a\":3,\"b\":4,\"ab\":5,\"" META
             "a\":6,\"<0xC3>\":7,\"<0xA9>\":8}",
    .merges = "[[\"a\",\"b\"],[\"" META "\",\"a\"]]",
    .settings = "\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true",
};

static const char *or_usual(const char *own, const char *other)
{
    return own != NULL ? own : other;
}

static bool open_parts(const parts *p, llava_tokenizer **t, llava_error *e)
{
    support_folder folder = support_folder_new();
    size_t room = 1 << 16;
    room += p->added == NULL ? 0 : strlen(p->added);
    char *text = malloc(room);
    assert_non_null(text);
    int n = snprintf(text, room,
                     "{\"version\":\"1.0\",\"truncation\":null,\"added_tokens\":%s,"
                     "\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":%s,\"decoder\":%s,"
                     "\"model\":{\"type\":\"BPE\",%s,\"vocab\":%s,\"merges\":%s}}",
                     or_usual(p->added, usual.added), or_usual(p->normalizer, usual.normalizer),
                     or_usual(p->pre_tokenizer, usual.pre_tokenizer),
                     or_usual(p->post_processor, usual.post_processor),
                     or_usual(p->decoder, usual.decoder), or_usual(p->settings, usual.settings),
                     or_usual(p->vocab, usual.vocab), or_usual(p->merges, usual.merges));
    assert_true(n > 0 && (size_t)n < room);
    support_write_text(&folder, "tokenizer.json", text);
    free(text);
    if (p->config != NULL) {
        support_write_text(&folder, "tokenizer_config.json", p->config);
    }
    bool good = llava_tokenizer_open(t, folder.path, e);
    support_folder_remove(&folder);
    return good;
}

static llava_tokenizer *opened(const parts *p)
{
    llava_tokenizer *t;
    llava_error e;
    if (!open_parts(p, &t, &e)) {
        fail_msg("refused: %s", e.text);
    }
    return t;
}

static void refused(const parts *p, const char *message)
{
    llava_tokenizer *t = (llava_tokenizer *)-1;
    llava_error e;
    if (open_parts(p, &t, &e)) {
        llava_tokenizer_close(t);
        fail_msg("taken, not refused for: %s", message);
    }
    assert_null(t);
    support_says(&e, message);
    support_says(&e, "tokenizer");
}

/* Encodes and compares with the `n` ids that follow. */
static void gives(const llava_tokenizer *t, const llava_token_plan *plan, const char *text,
                  size_t n, ...)
{
    int64_t *ids;
    size_t count;
    llava_error e;
    if (!llava_tokenizer_encode(t, plan, text, strlen(text), &ids, &count, &e)) {
        fail_msg("%s: %s", text, e.text);
    }
    va_list wanted;
    va_start(wanted, n);
    for (size_t i = 0; i < n && i < count; i++) {
        int id = va_arg(wanted, int);
        if (ids[i] != id) {
            print_error("%s: id %zu is %lld, not %d\n", text, i, (long long)ids[i], id);
        }
        assert_int_equal(ids[i], id);
    }
    va_end(wanted);
    assert_int_equal(count, n);
    free(ids);
}

static void decodes(const llava_tokenizer *t, const int64_t *ids, size_t n, bool skip,
                    const char *wanted)
{
    char *text;
    size_t length;
    llava_error e;
    assert_true(llava_tokenizer_decode(t, ids, n, skip, &text, &length, &e));
    assert_string_equal(text, wanted);
    assert_int_equal(length, strlen(wanted));
    free(text);
}

/* ---- The library's own answers ---- */

/* How many of the folder's cases give other ids or other text than the library did. */
static size_t differing_cases(const char *folder, const llava_tokenizer *t, size_t *total)
{
    char path[256];
    llava_error e;
    snprintf(path, sizeof path, "%s/cases.json", folder);
    cJSON *cases = llava_json_read(path, &e);
    if (cases == NULL) {
        fail_msg("%s", e.text);
    }
    size_t wrong = 0;
    *total = 0;
    for (const cJSON *item = cases->child; item != NULL; item = item->next, ++*total) {
        const char *text = NULL, *decoded[2] = {NULL, NULL};
        const cJSON *wanted = NULL;
        assert_true(llava_json_string(path, item, "text", &text, &e));
        assert_true(llava_json_string(path, item, "all", &decoded[0], &e));
        assert_true(llava_json_string(path, item, "plain", &decoded[1], &e));
        assert_true(llava_json_array(path, item, "ids", &wanted, &e));
        int64_t *ids;
        size_t count, i = 0;
        assert_true(llava_tokenizer_encode(t, &config_plan, text, strlen(text), &ids, &count, &e));
        bool same = true;
        for (const cJSON *id = wanted->child; id != NULL; id = id->next, i++) {
            int64_t value = 0;
            assert_true(llava_json_item_int(path, id, "id", &value, &e));
            same = same && i < count && ids[i] == value;
        }
        same = same && i == count;
        for (size_t skip = 0; skip < 2; skip++) {
            char *back;
            size_t n;
            assert_true(llava_tokenizer_decode(t, ids, count, skip == 1, &back, &n, &e));
            same = same && strcmp(back, decoded[skip]) == 0;
            free(back);
        }
        free(ids);
        wrong += !same;
    }
    cJSON_Delete(cases);
    return wrong;
}

static void ids_and_texts_are_those_of_the_library(void **state)
{
    (void)state;
    static const char *const names[] = {"prepend", "metaspace", "flags",  "qwen2",
                                        "llama-3", "mistral",   "pixtral"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        llava_tokenizer *t;
        llava_error e;
        size_t total;
        char folder[64];
        snprintf(folder, sizeof folder, "tests/data/tokenizer/%s", names[i]);
        if (!llava_tokenizer_open(&t, folder, &e)) {
            fail_msg("%s", e.text);
        }
        assert_int_equal(differing_cases(folder, t, &total), 0);
        assert_true(total > 70);
        llava_tokenizer_close(t);
    }
}

static void the_cases_tell_one_tokenizer_from_another(void **state)
{
    (void)state;
    llava_tokenizer *t;
    llava_error e;
    size_t total;
    assert_true(llava_tokenizer_open(&t, "tests/data/tokenizer/metaspace", &e));
    assert_true(differing_cases("tests/data/tokenizer/prepend", t, &total) > 40);
    llava_tokenizer_close(t);
    /* mistral's and pixtral's differ in their split patterns alone */
    assert_true(llava_tokenizer_open(&t, "tests/data/tokenizer/mistral", &e));
    assert_true(differing_cases("tests/data/tokenizer/pixtral", t, &total) > 3);
    llava_tokenizer_close(t);
}

/* ---- The pipeline ---- */

static void every_segment_gets_a_blank_and_added_tokens_keep_theirs(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){0});
    gives(t, &config_plan, "", 1, 1);
    gives(t, &config_plan, "ab", 3, 1, 2, 5);
    gives(t, &config_plan, " a", 3, 1, 2, 6);
    gives(t, &config_plan, "a<image>b", 5, 1, 6, 9, 2, 4);
    gives(t, &config_plan, "\xc3\xa9", 4, 1, 2, 7, 8);
    gives(t, &config_plan, "zz", 3, 1, 2, 0);
    llava_tokenizer_close(t);
}

static void merge_ranks_decide_not_vocabulary_order(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){.merges = "[\"#version: 0.2\",\"" META " a\",\"a b\"]"});
    gives(t, &config_plan, "ab", 3, 1, 6, 4);
    llava_tokenizer_close(t);
}

static void ties_go_to_the_left_and_stale_pairs_are_dropped(void **state)
{
    (void)state;
    llava_tokenizer *t =
        opened(&(parts){.normalizer = "null",
                        .post_processor = "null",
                        .vocab = "{\"a\":0,\"b\":1,\"c\":2,\"aa\":3,\"bc\":4,\"ab\":5,\"abc\":6}",
                        .merges = "[\"b c\",\"a b\",\"a bc\",\"a a\"]",
                        .added = "[]"});
    gives(t, &config_plan, "aaa", 2, 3, 0);
    /* b+c comes first; then the waiting a+b stands for a pair that is a+bc by now */
    gives(t, &config_plan, "abc", 1, 6);
    llava_tokenizer_close(t);
}

static void decisions_change_what_they_name(void **state)
{
    (void)state;
    llava_token_plan no_bos = {.bos = LLAVA_BOS_NONE}, never = {.prefix_space = LLAVA_PREFIX_NEVER},
                     every = {.prefix_space = LLAVA_PREFIX_EVERY_SEGMENT};
    llava_tokenizer *t = opened(&(parts){0});
    gives(t, &no_bos, "b", 2, 2, 4);
    gives(t, &never, "b<image>b", 4, 1, 4, 9, 4);
    gives(t, &every, "b<image>b", 6, 1, 2, 4, 9, 2, 4);
    assert_true(llava_tokenizer_bos_acts(t, LLAVA_BOS_NONE));
    assert_false(llava_tokenizer_bos_acts(t, LLAVA_BOS_CONFIG));
    assert_true(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_NEVER));
    assert_false(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_EVERY_SEGMENT));
    llava_tokenizer_close(t);

    t = opened(&(parts){.normalizer = "null",
                        .post_processor = "null",
                        .pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"" META
                                         "\",\"prepend_scheme\":\"first\",\"split\":false}"});
    gives(t, &config_plan, "b<image>b", 4, 2, 4, 9, 4);
    gives(t, &config_plan, "<image>b", 2, 9, 4);
    gives(t, &never, "b<image>b", 3, 4, 9, 4);
    gives(t, &every, "b<image>b", 5, 2, 4, 9, 2, 4);
    gives(t, &every, " b", 2, 2, 4);
    assert_false(llava_tokenizer_bos_acts(t, LLAVA_BOS_NONE));
    assert_true(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_EVERY_SEGMENT));
    llava_tokenizer_close(t);
    static const struct {
        const char *scheme;
        bool never, every;
    } schemes[] = {{"first", true, true}, {"always", true, false}, {"never", false, true}};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        char pre[128];
        snprintf(pre, sizeof pre,
                 "{\"type\":\"Metaspace\",\"replacement\":\"" META "\",\"prepend_scheme\":\"%s\"}",
                 schemes[i].scheme);
        t = opened(&(parts){.normalizer = "null", .pre_tokenizer = pre});
        assert_int_equal(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_NEVER), schemes[i].never);
        assert_int_equal(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_EVERY_SEGMENT),
                         schemes[i].every);
        assert_false(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_CONFIG));
        llava_tokenizer_close(t);
    }
}

static void decisions_act_on_byte_level_tokenizers_where_they_can(void **state)
{
    (void)state;
    llava_token_plan never = {.prefix_space = LLAVA_PREFIX_NEVER},
                     every = {.prefix_space = LLAVA_PREFIX_EVERY_SEGMENT};
    parts p = {.normalizer = "{\"type\":\"NFC\"}",
               .post_processor = "{\"type\":\"ByteLevel\"}",
               .decoder = "{\"type\":\"ByteLevel\"}",
               .added = "[" ADDED(8, "<image>") "]",
               .settings = "\"ignore_merges\":true",
               .pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}",
               .vocab = "{\"x\":0,\"y\":1,\"a\":2,\"b\":3,\"\u0120\":4,\"\u0120b\":5,\"\u00c3\":6,"
                        "\"\u00a9\":7}",
               .merges = "[\"\u0120 b\"]"};
    const char *first = p.vocab;
    llava_tokenizer *t = opened(&p);
    gives(t, &config_plan, "b<image>b", 3, 3, 8, 3);
    gives(t, &config_plan, "e\xcc\x81", 2, 6, 7); /* one composed character, two bytes */
    gives(t, &every, "b<image>b", 3, 5, 8, 5);
    gives(t, &every, " b", 1, 5);
    assert_false(llava_tokenizer_bos_acts(t, LLAVA_BOS_NONE));
    assert_false(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_NEVER));
    assert_true(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_EVERY_SEGMENT));
    decodes(t, (int64_t[]){5, 6, 8, 7, 6, 7}, 6, false,
            " b\xef\xbf\xbd<image>\xef\xbf\xbd\xc3\xa9");
    llava_tokenizer_close(t);

    p.vocab = "{\"\xe4\xb8\xad\":0,\"\u00c3\":1,\"\u00a9\":2,\"\u0120\":3,\"b\":4,\"\u0120b\":5}";
    p.added = "[]";
    t = opened(&p); /* a character that stands for no byte is itself */
    decodes(t, (int64_t[]){0, 1, 2}, 3, false, "\xe4\xb8\xad\xc3\xa9");
    llava_tokenizer_close(t);

    p.vocab = first;
    p.added = "[" ADDED(8, "<image>") "]";
    p.pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}";
    t = opened(&p);
    gives(t, &config_plan, "b<image>b", 3, 5, 8, 5);
    gives(t, &never, "b<image>b", 3, 3, 8, 3);
    assert_true(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_NEVER));
    assert_false(llava_tokenizer_prefix_acts(t, LLAVA_PREFIX_EVERY_SEGMENT));
    llava_tokenizer_close(t);
}

static void a_tokenizer_without_added_tokens_works(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){.added = "[]", .decoder = "null"});
    gives(t, &config_plan, "ab", 3, 1, 2, 5);
    decodes(t, (int64_t[]){1, 2, 5}, 3, true, "<s> " META " ab"); /* blanks between tokens */
    llava_tokenizer_close(t);
}

static void flags_of_added_tokens_act(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){
        .normalizer = "null",
        .post_processor = "null",
        .added = "[{\"id\":9,\"content\":\"<l>\",\"lstrip\":true,\"special\":true},"
                 "{\"id\":10,\"content\":\"<r>\",\"rstrip\":true,\"special\":true},"
                 "{\"id\":11,\"content\":\"word\",\"single_word\":true,\"normalized\":false},"
                 "{\"id\":12,\"content\":\"<l><r>\",\"special\":true}]"});
    gives(t, &config_plan, "a \xe3\x80\x80\n<l>a", 3, 3, 9, 3);
    gives(t, &config_plan, "a<r> \t\xc2\xa0 a", 3, 3, 10, 3);
    gives(t, &config_plan, "<r>   <l>a", 3, 10, 9, 3);
    gives(t, &config_plan, "<l><r>", 1, 12);
    gives(t, &config_plan, "-word-", 3, 0, 11, 0);
    gives(t, &config_plan, "word\xe4\xb8\xad", 1, 0); /* a letter follows */
    gives(t, &config_plan, "word\xcc\x81", 1, 0);     /* a mark follows */
    gives(t, &config_plan, "word\xe2\x80\x94", 2, 11, 0);
    llava_tokenizer_close(t);
}

static void texts_and_ids_are_found(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){.config = "{\"image_token\":\"<image>\"}"});
    assert_int_equal(llava_tokenizer_id_of(t, "<image>"), 9);
    assert_int_equal(llava_tokenizer_id_of(t, "ab"), 5);
    assert_int_equal(llava_tokenizer_id_of(t, "none"), -1);
    assert_int_equal(llava_tokenizer_id_of(t, "<im"), -1);
    assert_string_equal(llava_tokenizer_text_of(t, 9), "<image>");
    assert_string_equal(llava_tokenizer_text_of(t, 5), "ab");
    assert_null(llava_tokenizer_text_of(t, 10));
    assert_true(llava_tokenizer_is_special(t, 9));
    assert_false(llava_tokenizer_is_special(t, 5));
    assert_int_equal(llava_tokenizer_size(t), 10);
    assert_string_equal(llava_tokenizer_image_token(t), "<image>");
    llava_tokenizer_close(t);

    static const char *const below[] = {"[]", "[" ADDED(0, "<unk>") "]"};
    for (size_t i = 0; i < 2; i++) {
        t = opened(&(parts){.added = below[i]});
        assert_int_equal(llava_tokenizer_size(t), 9); /* the vocabulary's own */
        llava_tokenizer_close(t);
    }
}

static void decoding_joins_bytes_and_marks_broken_ones(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){0});
    decodes(t, (int64_t[]){1, 6, 5, 7, 8}, 5, true, "aab\xc3\xa9");
    decodes(t, (int64_t[]){1, 6, 9, 6}, 4, false, "<s> a<image> a");
    decodes(t, (int64_t[]){6, 9, 6}, 3, true, "a a");
    decodes(t, (int64_t[]){7, 7, 8, 3, 8}, 5, true,
            "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
            "a\xef\xbf\xbd");
    decodes(t, (int64_t[]){3, 12345, 4}, 3, true, "ab"); /* an id that no token has */
    decodes(t, NULL, 0, true, "");
    char *text;
    size_t n;
    llava_error e;
    assert_false(llava_tokenizer_decode(t, (int64_t[]){-1}, 1, true, &text, &n, &e));
    support_says(&e, "negative");
    llava_tokenizer_close(t);

    /* Rust reads a plus sign as the first digit */
    t = opened(&(parts){.vocab = "{\"<unk>\":0,\"<s>\":1,\"<0x+A>\":2,\"<0xg1>\":3,\"<0x4+>\":4,"
                                 "\"<0xaF!\":5}",
                        .merges = "[]",
                        .settings = "\"unk_token\":\"<unk>\""});
    decodes(t, (int64_t[]){2, 3, 4, 5}, 4, true, "\n<0xg1><0x4+><0xaF!");
    llava_tokenizer_close(t);
}

static void decoders_strip_both_ends_and_keep_or_drop_the_first_blank(void **state)
{
    (void)state;
    parts p = {.added = "[]",
               .vocab = "{\"<unk>\":0,\"<s>\":1,\"" META META "aa\":2,\"aaa\":3,\"b\":4}",
               .merges = "[]",
               .decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Strip\",\"content\":"
                          "\"a\",\"start\":0,\"stop\":2},{\"type\":\"Fuse\"}]}"};
    llava_tokenizer *t = opened(&p);
    decodes(t, (int64_t[]){2, 3, 4}, 3, true, META META "ab");
    llava_tokenizer_close(t);
    p.decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Strip\",\"content\":"
                "\"" META "\",\"start\":0,\"stop\":1},{\"type\":\"Fuse\"}]}";
    t = opened(&p); /* b is shorter than what would be stripped */
    decodes(t, (int64_t[]){2, 3, 4}, 3, true, META META "aaaaab");
    llava_tokenizer_close(t);
    static const char *const schemes[][2] = {{"never", "  aab"}, {"always", "aab"}};
    for (size_t i = 0; i < 2; i++) {
        char decoder[200];
        snprintf(decoder, sizeof decoder,
                 "{\"type\":\"Metaspace\",\"replacement\":\"" META "\",\"prepend_scheme\":\"%s\"}",
                 schemes[i][0]);
        p.decoder = decoder;
        t = opened(&p);
        decodes(t, (int64_t[]){2, 4}, 2, true, schemes[i][1]);
        llava_tokenizer_close(t);
    }
}

typedef struct {
    const llava_tokenizer *t;
    llava_token_plan plan;
    const char *text;
} there_and_back;

static bool go_there_and_back(void *self, llava_error *e)
{
    const there_and_back *s = self;
    int64_t *ids;
    size_t count, n;
    char *text;
    if (!llava_tokenizer_encode(s->t, &s->plan, s->text, strlen(s->text), &ids, &count, e)) {
        return false;
    }
    bool ok = llava_tokenizer_decode(s->t, ids, count, false, &text, &n, e);
    free(ids);
    if (ok) {
        free(text);
    }
    return ok;
}

#define TEMPLATE(single, specials)                                                                 \
    "{\"type\":\"TemplateProcessing\",\"single\":" single ",\"special_tokens\":" specials "}"
#define FORTY      "0123456789012345678901234567890123456789"
#define LONG_TOKEN FORTY FORTY FORTY

/* The text's buffers grow at other places. */
static void runs_out_at_every_length(const there_and_back *of)
{
    static const char *const pieces[] = {"b", " ", "\xc3\xa9", "a", "e\xcc\x81", "<image>", " "};
    char text[256] = "";
    there_and_back s = {of->t, of->plan, text};
    for (size_t i = 0; i < 60; i++) {
        strcat(text, pieces[i % (sizeof pieces / sizeof pieces[0])]);
        assert_true(memory_runs_out(go_there_and_back, &s) > 3);
    }
}

/* Every way that a text takes. */
static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    static const parts kinds[] = {
        {0},
        {.normalizer = "null",
         .pre_tokenizer =
             "{\"type\":\"Metaspace\",\"replacement\":\"" META "\",\"prepend_scheme\":\"always\"}",
         .decoder = "{\"type\":\"Metaspace\",\"replacement\":\"" META "\"}"},
        {.decoder = "null"},
        {.normalizer = "{\"type\":\"NFC\"}",
         .post_processor = "{\"type\":\"ByteLevel\"}",
         .decoder = "{\"type\":\"ByteLevel\"}",
         .added = "[" ADDED(8, "<image>") "]",
         .settings = "\"ignore_merges\":true",
         .pre_tokenizer =
             "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":"
             "\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
             "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+"
             "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}},{\"type\":\"ByteLevel\","
             "\"add_prefix_space\":true,\"use_regex\":false}]}",
         .vocab = "{\"x\":0,\"y\":1,\"a\":2,\"b\":3,\"\u0120\":4,\"\u0120b\":5,\"\u00c3\":6,"
                  "\"\u00a9\":7}",
         .merges = "[\"\u0120 b\"]"},
    };
    static const char *const texts[] = {"ab\xc3\xa9 b<image>a  b", "ab\xc3\xa9 b<image>a  b",
                                        "ab<image>a", "b e\xcc\x81<image>b"};
    static const llava_prefix_space prefixes[] = {LLAVA_PREFIX_CONFIG, LLAVA_PREFIX_EVERY_SEGMENT};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (size_t k = 0; k < 2; k++) {
            llava_tokenizer *t = opened(&kinds[i]);
            there_and_back s = {t, {.prefix_space = prefixes[k]}, texts[i]};
            assert_true(memory_runs_out(go_there_and_back, &s) > 8);
            runs_out_at_every_length(&s);
            llava_tokenizer_close(t);
        }
    }
}

typedef struct {
    const llava_tokenizer *t;
    int64_t ids[60];
    size_t count;
} decoding;

static bool decode(void *self, llava_error *e)
{
    const decoding *d = self;
    char *text;
    size_t n;
    if (!llava_tokenizer_decode(d->t, d->ids, d->count, true, &text, &n, e)) {
        return false;
    }
    free(text);
    return true;
}

/* Bytes that make characters and bytes that make none, between texts. */
static void memory_that_runs_out_while_bytes_are_gathered(void **state)
{
    (void)state;
    static const char *const decoders[] = {
        "null", "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},"
                "{\"type\":\"Strip\",\"content\":\"a\",\"start\":1,\"stop\":1},"
                "{\"type\":\"Replace\",\"pattern\":{\"String\":\"b\"},\"content\":\"bbb\"},"
                "{\"type\":\"Fuse\"}]}"};
    static const size_t periods[] = {2, 3, 4, 5};
    for (size_t i = 0; i < 2; i++) {
        llava_tokenizer *t = opened(&(parts){.added = "[]",
                                             .vocab = "{\"<0xC3>\":0,\"<0xA9>\":1,\"aa\":2,\"b\":3,"
                                                      "\"<0x80>\":4,\"<unk>\":5,\"<s>\":6}",
                                             .merges = "[]",
                                             .decoder = decoders[i]});
        decodes(t, (int64_t[]){0, 1, 2, 3, 4}, 5, true,
                i == 0 ? "<0xC3> <0xA9> aa b <0x80>"
                       : "\xc3\xa9"
                         "bbb\xef\xbf\xbd");
        for (size_t k = 0; k < sizeof periods / sizeof periods[0]; k++) {
            decoding d = {.t = t};
            for (; d.count < sizeof d.ids / sizeof d.ids[0]; d.count++) {
                d.ids[d.count] = (int64_t)(d.count % periods[k]);
                d.count++;
                assert_true(memory_runs_out(decode, &d) > 1);
                d.count--;
            }
        }
        llava_tokenizer_close(t);
    }
}

static bool open_once(void *self, llava_error *e)
{
    llava_tokenizer *t;
    bool ok = llava_tokenizer_open(&t, self, e);
    llava_tokenizer_close(t);
    return ok;
}

/* Every part of a folder's files, with a merge so long that its text needs more room twice. */
static void memory_that_runs_out_while_a_folder_is_read(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    support_write_text(
        &folder, "tokenizer.json",
        "{\"added_tokens\":[" ADDED(
            9,
            "<image>") ",{\"id\":10,\"content\":\"x\",\"normalized\":true}],"
                       "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"" META "\"},"
                       "\"post_processor\":" TEMPLATE(
                           "[{\"Sequence\":{\"id\":\"A\"}}]",
                           "{}") ","
                                 "\"decoder\":{\"type\":\"Strip\",\"content\":\" "
                                 "\",\"start\":1,\"stop\":0},"
                                 "\"model\":{\"unk_token\":\"a\",\"vocab\":{\"a\":0,\"" LONG_TOKEN
                                 "\":1,\"a" LONG_TOKEN "\":2},"
                                 "\"merges\":[\"a " LONG_TOKEN "\"]}}");
    support_write_text(
        &folder, "tokenizer_config.json",
        "{\"image_token\":\"<image>\",\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},"
        "\"extra_special_tokens\":[\"<e>\"]}");
    support_write_text(&folder, "special_tokens_map.json", "{\"bos_token\":{\"content\":\"<s>\"}}");
    assert_true(memory_runs_out(open_once, folder.path) > 50);
    support_folder_remove(&folder);
}

/* Numbers of candidates at which the heap of merges is full, so that the next needs more room. */
static void memory_that_runs_out_while_tokens_are_merged(void **state)
{
    (void)state;
    static char text[2 * 32 + 1];
    llava_tokenizer *t = opened(&(parts){.added = "[]",
                                         .normalizer = "null",
                                         .vocab = "{\"<unk>\":0,\"<s>\":1,\"a\":3,\"b\":4,\"ab\":5,"
                                                  "\"aba\":6,\"abab\":7}",
                                         .merges = "[\"a b\",\"ab a\",\"ab ab\"]"});
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        text[i] = i % 2 == 0 ? 'a' : 'b';
    }
    there_and_back s = {t, {.prefix_space = LLAVA_PREFIX_CONFIG}, text};
    assert_true(memory_runs_out(go_there_and_back, &s) > 8);
    memset(text, 'a', sizeof text - 1); /* which do not merge: 64 ids */
    assert_true(memory_runs_out(go_there_and_back, &s) > 8);
    llava_tokenizer_close(t);
}

static void tokenizer_config_adds_and_changes_tokens_but_no_bos(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){
        .config = "{\"add_bos_token\":false,\"add_eos_token\":true,\"eos_token\":\"</s>\","
                  "\"pad_token\":{\"__type\":\"AddedToken\",\"content\":\"<pad>\"},"
                  "\"extra_special_tokens\":[\"b\"],\"added_tokens_decoder\":{\"9\":{\"content\":"
                  "\"<image>\",\"lstrip\":true,\"special\":true,\"normalized\":false},"
                  "\"500\":{\"content\":\"<new>\",\"special\":false,\"normalized\":false}}}"});
    gives(t, &config_plan, "a <image>", 3, 1, 6, 9);
    assert_int_equal(llava_tokenizer_id_of(t, "<new>"), 10);
    assert_int_equal(llava_tokenizer_id_of(t, "</s>"), 11);
    assert_int_equal(llava_tokenizer_id_of(t, "<pad>"), 12);
    assert_true(llava_tokenizer_is_special(t, 12));
    assert_false(llava_tokenizer_is_special(t, 10));
    assert_true(llava_tokenizer_is_special(t, 4)); /* "b" keeps its id */
    llava_tokenizer_close(t);
}

/* A token of the decoder's list that is there already changes it only where a flag is another. */
static void flags_in_tokenizer_config_count(void **state)
{
    static const struct {
        const char *members;
        bool special;
    } rows[] = {
        {"\"special\":true", true},
        {"\"special\":false", false},
        {"\"special\":true,\"lstrip\":true", true},
        {"\"special\":true,\"rstrip\":true", true},
        {"\"special\":true,\"normalized\":true", false}, /* its normal form is no such text */
        {"\"special\":true,\"single_word\":true", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char config[300];
        snprintf(
            config, sizeof config,
            "{\"x\":1,\"extra_special_tokens\":null,\"added_tokens_decoder\":{\"500\":{\"content\":"
            "\"<new>\"},\"9\":{\"content\":\"<image>\",%s}}}",
            rows[i].members);
        llava_tokenizer *t = opened(&(parts){.config = config});
        assert_int_equal(llava_tokenizer_id_of(t, "<image>"), 9);
        assert_int_equal(llava_tokenizer_id_of(t, "<new>"), 10);
        assert_int_equal(llava_tokenizer_is_special(t, 9), rows[i].special);
        llava_tokenizer_close(t);
    }
    llava_tokenizer *t =
        opened(&(parts){.config = "{\"extra_special_tokens\":{\"image_token\":\"<image>\"}}"});
    assert_string_equal(llava_tokenizer_image_token(t), "<image>");
    llava_tokenizer_close(t);
    /* a token without a text is none */
    t = opened(&(parts){.added = "[{\"id\":9,\"content\":\"\"}]"});
    assert_int_equal(llava_tokenizer_id_of(t, ""), -1);
    llava_tokenizer_close(t);
}

/* ---- Refusals ---- */

#define SEQUENCE(list) "{\"type\":\"Sequence\",\"pretokenizers\":[" list "]}"
#define SPLIT(behavior, invert, pattern)                                                           \
    "{\"type\":\"Split\",\"behavior\":\"" behavior "\",\"invert\":" invert ",\"pattern\":" pattern \
    "}"
#define GPT2                                                                                       \
    "{\"Regex\":\"'(?:[sdmt]|ll|ve|re)| ?\\\\p{L}+| ?\\\\p{N}+| "                                  \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!"                                                         \
    "\\\\S)|\\\\s+\"}"

static void what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    refused(&(parts){.pre_tokenizer = "{\"type\":\"Whitespace\"}"},
            "pre_tokenizer Whitespace is not supported yet");
    refused(&(parts){.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[]}"},
            "pre_tokenizer Sequence without ByteLevel is not supported yet");
    refused(
        &(parts){.pre_tokenizer = SEQUENCE(SPLIT("Isolated", "false", "{\"Regex\":\"\\\\s+\"}"))},
        "the split pattern \\s+ is none of the known ones");
    refused(&(parts){.pre_tokenizer = SEQUENCE(SPLIT("Isolated", "false", "{\"String\":\" \"}"))},
            "Split by other than a Regex");
    refused(&(parts){.pre_tokenizer = SEQUENCE(SPLIT("Removed", "false", "{\"Regex\":\" \"}"))},
            "Split that does not keep the matches apart");
    refused(
        &(parts){.pre_tokenizer = SEQUENCE(SPLIT("MergedWithNext", "true", "{\"Regex\":\" \"}"))},
        "Split that does not keep the matches apart");
    refused(
        &(parts){.pre_tokenizer = SEQUENCE("{\"type\":\"ByteLevel\"},{\"type\":\"ByteLevel\"}")},
        "Sequence of other than Split, ByteLevel");
    refused(&(parts){.pre_tokenizer = SEQUENCE("{\"type\":\"Digits\"}")},
            "Sequence of other than Split, ByteLevel");
    refused(&(parts){.pre_tokenizer = "{\"type\":\"ByteLevel\",\"use_regex\":1}"}, "use_regex");
    refused(&(parts){.normalizer = "{\"type\":\"NFKC\"}"}, "normalizer NFKC is not supported yet");
    refused(&(parts){.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
                                   "\"Lowercase\"}]}"},
            "normalizer Lowercase is not supported yet");
    refused(&(parts){.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},"
                                   "\"content\":\"\"}"},
            "Replace of a Regex is not supported yet");
    refused(&(parts){.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},"
                                   "\"content\":\"\"}"},
            "a pattern of 0 bytes");
    refused(&(parts){.decoder = "{\"type\":\"WordPiece\"}"}, "decoder WordPiece");
    refused(&(parts){.post_processor = "{\"type\":\"BertProcessing\"}"},
            "post_processor BertProcessing");
    refused(&(parts){.post_processor = "{\"type\":\"Sequence\"}"}, "processors is missing");
    refused(&(parts){.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"" META
                                      "\",\"prepend_scheme\":\"first\"}"},
            "first behind a normalizer");
    refused(&(parts){.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"},
            "replacement is not one character");
    refused(&(parts){.settings = "\"dropout\":0.1"}, "dropout");
    refused(&(parts){.settings = "\"end_of_word_suffix\":\"</w>\""}, "end_of_word_suffix");
    refused(&(parts){.settings = "\"continuing_subword_prefix\":\"##\""},
            "continuing_subword_prefix");
    refused(&(parts){.settings = "\"x\":0},\"version\":\"2.0\",\"y\":{\"z\":0"}, "version");
}

/* Every key that is read, with a value of a kind that it never has, and what is counted, once too
 * often. */
static void values_of_another_kind_are_refused_at_every_key(void **state)
{
    (void)state;
    static const struct {
        parts p;
        const char *says;
    } rows[] = {
        {{.normalizer = "7"}, "normalizer"},
        {{.normalizer = "{}"}, "type is missing"},
        {{.normalizer = "{\"type\":7}"}, "type"},
        {{.normalizer = "{\"type\":\"Sequence\"}"}, "normalizers is missing"},
        {{.normalizer = "{\"type\":\"Sequence\",\"normalizers\":7}"}, "normalizers"},
        {{.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[7]}"}, "not an object"},
        {{.normalizer = "{\"type\":\"Prepend\"}"}, "prepend is missing"},
        {{.normalizer = "{\"type\":\"Prepend\",\"prepend\":7}"}, "prepend"},
        {{.normalizer = "{\"type\":\"Replace\",\"content\":\"x\"}"}, "Replace of a Regex"},
        {{.normalizer = "{\"type\":\"Replace\",\"pattern\":7,\"content\":\"x\"}"}, "pattern"},
        {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"}}"},
         "content is missing"},
        {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"String\":7},\"content\":\"x\"}"},
         "String"},
        {{.normalizer =
              "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"NFC\"},{"
              "\"type\":\"NFC\"},{\"type\":\"NFC\"},{\"type\":\"NFC\"},{\"type\":\"NFC\"},{"
              "\"type\":\"NFC\"},{\"type\":\"NFC\"},{\"type\":\"NFC\"},{\"type\":\"NFC\"},{"
              "\"type\":\"NFC\"},{\"type\":\"NFC\"},{\"type\":\"NFC\"},{\"type\":\"NFC\"},{"
              "\"type\":\"NFC\"},{\"type\":\"NFC\"},{\"type\":\"NFC\"}]}"},
         "steps"},
        {{.pre_tokenizer = "7"}, "pre_tokenizer"},
        {{.pre_tokenizer = "{\"type\":7}"}, "type"},
        {{.pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":7}"}, "add_prefix_space"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":7}"}, "pretokenizers"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[7]}"}, "not an object"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\","
                           "\"use_regex\":7}]}"},
         "use_regex"},
        {{.pre_tokenizer =
              "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":7}]}"},
         "pattern"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                           "\"pattern\":{\"Regex\":7}}]}"},
         "Regex"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                           "\"pattern\":{\"Regex\":\"x\"},\"behavior\":7}]}"},
         "behavior"},
        {{.pre_tokenizer =
              "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{"
              "\"Regex\":\"x\"},\"behavior\":\"Isolated\",\"invert\":7}]}"},
         "invert"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                           "\"pattern\":{\"Regex\":\"x\"}}]}"},
         "Split that does not keep"},
        {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"" META "x\"}"},
         "not one character"},
        {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"\"}"}, "not one character"},
        {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":7}"}, "replacement"},
        {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"" META "\",\"split\":7}"},
         "split"},
        {{.pre_tokenizer =
              "{\"type\":\"Metaspace\",\"replacement\":\"" META "\",\"prepend_scheme\":7}"},
         "prepend_scheme"},
        {{.pre_tokenizer =
              "{\"type\":\"Metaspace\",\"replacement\":\"" META "\",\"prepend_scheme\":\"x\"}"},
         "prepend_scheme x is unknown"},
        {{.pre_tokenizer =
              "{\"type\":\"Metaspace\",\"replacement\":\"" META "\",\"add_prefix_space\":7}"},
         "add_prefix_space"},
        {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"" META
                           "\",\"add_prefix_space\":false,\"prepend_scheme\":\"always\"}"},
         "contradicts"},
        {{.decoder = "7"}, "decoder"},
        {{.decoder = "{\"type\":\"Strip\",\"content\":\" \",\"start\":\"x\",\"stop\":0}"}, "start"},
        {{.decoder = "{\"type\":\"Strip\",\"content\":\" \",\"start\":0,\"stop\":\"x\"}"}, "stop"},
        {{.decoder = "{\"type\":\"Strip\",\"content\":\"xy\",\"start\":0,\"stop\":0}"},
         "not one character"},
        {{.decoder =
              "{\"type\":\"Metaspace\",\"replacement\":\"" META "\",\"prepend_scheme\":\"x\"}"},
         "prepend_scheme x"},
        {{.decoder = "{\"type\":\"Metaspace\"}"}, "replacement is missing"},
        {{.post_processor = "7"}, "post_processor"},
        {{.post_processor = "{}"}, "type is missing"},
        {{.post_processor = "{\"type\":\"Sequence\",\"processors\":7}"}, "processors"},
        {{.post_processor = "{\"type\":\"Sequence\",\"processors\":[7]}"}, "not an object"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":7}"}, "single"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[],\"special_tokens\":7}"},
         "special_tokens"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\"}"}, "must hold the text once"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":"
                            "\"A\"}},{\"Sequence\":{\"id\":\"A\"}}]}"},
         "must hold the text once"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{}]}"}, "not understood"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":7}]}"},
         "not understood"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":7}]}"},
         "not understood"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{}}]}"},
         "not understood"},
        {{.post_processor =
              "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":7}}]}"},
         "not understood"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
                            "\"id\":\"x\"}}],\"special_tokens\":{\"x\":7}}"},
         "x"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
                            "\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":7}}}"},
         "ids"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
                            "\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":[\"x\"]}}}"},
         "ids"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
                            "\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":[2147483648]}}}"},
         "out of range"},
        {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
                            "\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":[1,1,1,1,1,1,1,1,1,"
                            "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
                            "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}}}"},
         "out of range"},
        {{.post_processor =
              "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},{"
              "\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":"
              "\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
              "\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{"
              "\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":"
              "\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
              "\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{"
              "\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":"
              "\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
              "\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{"
              "\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":"
              "\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
              "\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{"
              "\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":"
              "\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
              "\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{"
              "\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":"
              "\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
              "\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{"
              "\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":"
              "\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
              "\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{"
              "\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":"
              "\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{"
              "\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}}]}"},
         ""},
        {{.post_processor =
              "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"TemplateProcessing\",\"single\":["
              "{\"Sequence\":{\"id\":\"A\"}}]},{\"type\":\"TemplateProcessing\",\"single\":[{"
              "\"Sequence\":{\"id\":\"A\"}}]}]}"},
         "Sequence of templates"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\"}"}, "Sequence without ByteLevel"},
        {{.pre_tokenizer =
              SEQUENCE(SPLIT("Removed", "true", GPT2) "," SPLIT("Isolated", "false", GPT2))},
         "Sequence of other than Split, ByteLevel"},
        {{.merges = "[[\"" LONG_TOKEN "\",\"" LONG_TOKEN "\"]]"},
         "its left part is not in the voc"},
        {{.vocab = "{\"z\":2147483647}",
          .merges = "[]",
          .added = "[" ADDED(0, "z") "]",
          .config = "{\"bos_token\":\"<s>\"}"},
         "the added token <s> would get the id 2147483648"},
        {{.config = "{\"added_tokens_decoder\":{\"5\":{\"content\":\"y\"},\"6\":{\"content\":\"y\","
                    "\"lstrip\":true}}}"},
         "y is listed twice (added_tokens_decoder)"},
        {{.config = "{\"bos_token\":{\"content\":7}}"}, "content"},
        {{.config = "{\"my_token\":{\"content\":7}}"}, "content"},
        {{.config = "{\"extra_special_tokens\":[{\"content\":7}]}"}, "content"},
        {{.settings = "\"byte_fallback\":7"}, "byte_fallback"},
        {{.settings = "\"fuse_unk\":7"}, "fuse_unk"},
        {{.settings = "\"ignore_merges\":7"}, "ignore_merges"},
        {{.settings = "\"unk_token\":7"}, "unk_token"},
        {{.settings = "\"continuing_subword_prefix\":7"}, "continuing_subword_prefix"},
        {{.settings = "\"end_of_word_suffix\":7"}, "end_of_word_suffix"},
        {{.vocab = "7"}, "vocab"},
        {{.merges = "7"}, "merges"},
        {{.merges = "[7]"}, "model.merges[0]"},
        {{.merges = "[[\"a\",\"b\",\"c\"]]"}, "model.merges[0]"},
        {{.merges = "[[\"a\",7]]"}, "model.merges[0]"},
        {{.merges = "[[7,\"a\"]]"}, "model.merges[0]"},
        {{.merges = "[[]]"}, "model.merges[0]"},
        {{.merges = "[\"ab\"]"}, "model.merges[0]"},
        {{.added = "7"}, "added_tokens"},
        {{.added = "[{\"id\":9,\"content\":7}]"}, "content"},
        {{.added = "[{\"id\":9,\"content\":\"x\",\"special\":7}]"}, "special"},
        {{.added = "[{\"id\":9,\"content\":\"x\",\"lstrip\":7}]"}, "lstrip"},
        {{.added = "[{\"id\":9,\"content\":\"x\",\"rstrip\":7}]"}, "rstrip"},
        {{.added = "[{\"id\":9,\"content\":\"x\",\"single_word\":7}]"}, "single_word"},
        {{.added = "[{\"id\":9,\"content\":\"x\",\"normalized\":7}]"}, "normalized"},
        {{.added = "[{\"id\":\"x\",\"content\":\"x\"}]"}, "id"},
        {{.added = "[{\"id\":-1,\"content\":\"x\"}]"}, "out of range"},
        {{.added = "[{\"id\":2147483648,\"content\":\"x\"}]"}, "out of range"},
        {{.config = "{\"added_tokens_decoder\":7}"}, "added_tokens_decoder"},
        {{.config = "{\"added_tokens_decoder\":{\"9\":7}}"}, "not an object"},
        {{.config = "{\"added_tokens_decoder\":{\"\":{\"content\":\"y\"}}}"}, "is not an id"},
        {{.config = "{\"added_tokens_decoder\":{\"12345678901\":{\"content\":\"y\"}}}"},
         "is not an id"},
        {{.config = "{\"added_tokens_decoder\":{\"9x\":{\"content\":\"y\"}}}"}, "is not an id"},
        {{.config = "{\"added_tokens_decoder\":{\"9\":{}}}"}, "no content"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        refused(&rows[i].p, rows[i].says);
    }
}

static void broken_vocabularies_and_merges_are_refused(void **state)
{
    (void)state;
    refused(&(parts){.merges = "[[\"a\",\"z\"]]"}, "its right part is not in the vocabulary");
    refused(&(parts){.merges = "[[\"z\",\"a\"]]"}, "its left part is not in the vocabulary");
    refused(&(parts){.merges = "[\"b a\"]"}, "its result is not in the vocabulary");
    refused(&(parts){.merges = "[\"a b\",[\"a\",\"b\"]]"}, "model.merges[1]");
    refused(&(parts){.merges = "[\"a b c\"]"}, "model.merges[0]");
    refused(&(parts){.merges = "[[\"a\"]]"}, "model.merges[0]");
    refused(&(parts){.merges = "[[\"a\",\"z\"],[\"a\",\"b\"]]"}, "model.merges[0]");
    refused(&(parts){.merges = "null"}, "merges is missing");
    refused(&(parts){.vocab = "null"}, "vocab is missing");
    refused(&(parts){.vocab = "{\"a\":0,\"b\":0,\"ab\":1,\"" META "\":2,\"" META "a\":3}"},
            "two tokens have the id 0");
    refused(&(parts){.vocab = "{\"a\":-1}"}, "out of range");
    refused(&(parts){.vocab = "{\"a\":2147483648}"}, "out of range");
    refused(&(parts){.vocab = "{\"a\":1.5}"}, "model.vocab");
    refused(&(parts){.vocab = "{\"a\":0,\"a\":1}"}, "tokenizer.json");
}

static void broken_templates_and_added_tokens_are_refused(void **state)
{
    (void)state;
    refused(&(parts){.post_processor = TEMPLATE("[]", "{}")}, "must hold the text once");
    refused(&(parts){.post_processor = TEMPLATE("[{\"Sequence\":{\"id\":\"B\"}}]", "{}")},
            "must hold the text once");
    refused(&(parts){.post_processor = TEMPLATE("[{\"SpecialToken\":{\"id\":\"x\"}}]", "{}")},
            "x has no ids");
    refused(&(parts){.post_processor = TEMPLATE("[3]", "{}")}, "not understood");
    refused(&(parts){.post_processor =
                         TEMPLATE("[{\"SpecialToken\":{\"id\":\"x\"}}]", "{\"x\":{\"ids\":[-1]}}")},
            "out of range");
    refused(&(parts){.added = "[{\"id\":9}]"}, "no content");
    refused(&(parts){.added = "[{\"content\":\"x\"}]"}, "missing or out of range");
    refused(&(parts){.added = "[7]"}, "not an object");
    refused(&(parts){.vocab = "{\"" META "\":0,\"a\":1,\"b\":2,\"ab\":3,\"" META "a\":6}"},
            "would get the id");
    refused(&(parts){.config = "{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}"},
            "x is not an id");
    refused(&(parts){.config = "[]"}, "tokenizer_config.json: not an object");
    /* two tokens that are one text once normalised */
    refused(&(parts){.added = "[{\"id\":9,\"content\":\"x y\",\"normalized\":true},{\"id\":10,"
                              "\"content\":\"x" META "y\",\"normalized\":true}]"},
            "the same as another");
}

/* The whole of tokenizer.json. */
static void files_that_are_no_tokenizer_are_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"[]", "tokenizer.json: not an object"},
        {"{}", "tokenizer.json: model is missing"},
        {"{\"version\":7}", "version: must be a string"},
        {"{\"version\":\"2.0\"}", "version 2.0 is not supported yet"},
        {"{\"model\":7}", "model: must be an object"},
        {"{\"model\":{\"type\":7}}", "type: must be a string"},
        {"{\"model\":{\"type\":\"Unigram\"}}", "model type Unigram is not supported yet"},
        {"{\"model\":{\"vocab\":{},\"merges\":[]}}", NULL},
        {"{\"model\":{\"vocab\":{},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Metaspace\","
         "\"replacement\":\"_\",\"prepend_scheme\":\"never\",\"add_prefix_space\":false}}",
         NULL},
    };
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_tokenizer *t;
        llava_error e;
        support_write_text(&folder, "tokenizer.json", rows[i].text);
        assert_int_equal(llava_tokenizer_open(&t, folder.path, &e), rows[i].says == NULL);
        if (rows[i].says != NULL) {
            support_says(&e, rows[i].says);
        }
        llava_tokenizer_close(t);
    }
    support_folder_remove(&folder);
}

static void characters_without_a_token(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){.settings = "\"fuse_unk\":false"});
    gives(t, &config_plan, "zab", 3, 1, 2, 5); /* no unknown token: left out */
    llava_tokenizer_close(t);
    t = opened(&(parts){.settings = "\"unk_token\":\"<unk>\",\"fuse_unk\":false"});
    gives(t, &config_plan, "zz", 4, 1, 2, 0, 0);
    llava_tokenizer_close(t);
    t = opened(&(parts){.settings = "\"unk_token\":\"<unk>\",\"fuse_unk\":true"});
    gives(t, &config_plan, "zzbz", 5, 1, 2, 0, 4, 0);
    llava_tokenizer_close(t);
    t = opened(&(parts){.merges = "[\"a b\",\"a b\"]"}); /* listed twice: the last counts */
    gives(t, &config_plan, "ab", 3, 1, 2, 5);
    llava_tokenizer_close(t);
    /* what no tokenizer hands on */
    llava_bpe none = {.unk = -1};
    llava_ids ids = {0};
    llava_error e;
    assert_true(llava_bpe_encode(&none, "", 0, &ids, &e));
    assert_false(llava_bpe_encode(&none, "\xff", 1, &ids, &e));
    support_says(&e, "the text is not UTF-8");
    assert_false(llava_bpe_encode(&none, "", SIZE_MAX, &ids, &e));
    support_says(&e, "is too long");
    assert_int_equal(ids.n, 0);
}

static void older_files_that_add_tokens_are_refused(void **state)
{
    (void)state;
    const char *texts[] = {"{\"<image>\":9}", "{\"<other>\":10,\"<more>\":11}"};
    for (size_t i = 0; i < 2; i++) {
        support_folder folder = support_folder_new();
        support_write_text(
            &folder, "tokenizer.json",
            "{\"added_tokens\":[" ADDED(0, "<image>") "],"
                                                      "\"model\":{\"vocab\":{},\"merges\":[]}}");
        support_write_text(&folder, "added_tokens.json", texts[i]);
        llava_tokenizer *t;
        llava_error e;
        bool good = llava_tokenizer_open(&t, folder.path, &e);
        assert_true(good == (i == 0));
        if (good) {
            llava_tokenizer_close(t);
        } else {
            support_says(&e, "added_tokens.json: the token <other>");
        }
        support_folder_remove(&folder);
    }
}

static void named_tokens_come_from_the_file_that_counts(void **state)
{
    (void)state;
    static const struct {
        const char *config, *map, *bos;
    } rows[] = {
        {"{}", NULL, NULL},
        {"{\"bos_token\":\"<a>\"}", NULL, "<a>"},
        {"{\"bos_token\":{\"content\":\"<a>\"}}", "{\"eos_token\":\"<b>\"}", "<a>"},
        {"{\"bos_token\":\"<a>\"}", "{\"bos_token\":\"<b>\"}", "<b>"},
        {"{\"bos_token\":\"<a>\"}", "{\"bos_token\":{\"content\":\"<b>\"},\"other\":[\"<c>\"]}",
         "<b>"},
        {"{\"bos_token\":\"<a>\",\"added_tokens_decoder\":{}}", "{\"bos_token\":\"<b>\"}", "<a>"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        support_folder folder = support_folder_new();
        support_write_text(&folder, "tokenizer.json",
                           "{\"added_tokens\":[" ADDED(0, "<a>") "," ADDED(
                               1, "<b>") "],"
                                         "\"model\":{\"vocab\":{},\"merges\":[]}}");
        support_write_text(&folder, "tokenizer_config.json", rows[i].config);
        if (rows[i].map != NULL) {
            support_write_text(&folder, "special_tokens_map.json", rows[i].map);
        }
        llava_tokenizer *t;
        llava_error e;
        assert_true(llava_tokenizer_open(&t, folder.path, &e));
        const char *bos = llava_tokenizer_bos_token(t);
        assert_true((bos == NULL) == (rows[i].bos == NULL));
        if (bos != NULL) {
            assert_string_equal(bos, rows[i].bos);
        }
        llava_tokenizer_close(t);
        support_folder_remove(&folder);
    }
}

static void cannot_encode(const llava_tokenizer *t, const char *text, size_t n, const char *message)
{
    int64_t *ids;
    size_t count;
    llava_error e;
    assert_false(llava_tokenizer_encode(t, &config_plan, text, n, &ids, &count, &e));
    assert_null(ids);
    support_says(&e, message);
}

static void texts_that_are_not_utf8_or_too_long_are_refused(void **state)
{
    (void)state;
    llava_tokenizer *t = opened(&(parts){0});
    cannot_encode(t, "a\xff", 2, "not UTF-8");
    cannot_encode(t, "\xc0\x80", 2, "not UTF-8");
    cannot_encode(t, "\xed\xa0\x80", 3, "not UTF-8");
    cannot_encode(t, "\xf4\x90\x80\x80", 4, "not UTF-8");
    cannot_encode(t, "\xe2\x96", 2, "not UTF-8");
    size_t n = LLAVA_TEXT_LIMIT + 1;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, ' ', n);
    cannot_encode(t, text, n, "the limit is");
    cannot_encode(t, text, n / 2, "grows beyond the limit"); /* every blank becomes three bytes */
    free(text);
    llava_tokenizer_close(t);

    t = opened(&(parts){.settings = "\"unk_token\":\"<none>\""});
    cannot_encode(t, "z", 1, "the unknown token <none> is not in the vocabulary");
    llava_tokenizer_close(t);
}

/* ---- Time ---- */

/* 200000 bytes: work that grew with the square would be 4e10 steps, minutes, not milliseconds. */
#define LONG 200000

static void hostile_tokens_cost_no_more_than_their_length(void **state)
{
    (void)state;
    /* "a" and "aa...ab" on a text of a's: a search that begins anew after every match is square */
    const size_t long_n = 20000;
    char *added = malloc(long_n + 300);
    char *text = malloc(LONG);
    assert_non_null(added);
    assert_non_null(text);
    int head =
        snprintf(added, 300, "[" ADDED(9, "a") ",{\"id\":10,\"special\":true,\"content\":\"");
    memset(added + head, 'a', long_n);
    strcpy(added + head + long_n, "b\"},{\"id\":11,\"content\":\"\\n\",\"rstrip\":true,\"lstrip\":"
                                  "true,\"special\":true}]");
    llava_tokenizer *t = opened(&(parts){
        .added = added, .vocab = "{\"b\":0}", .merges = "[]", .settings = "\"unk_token\":\"b\""});
    int64_t *ids;
    size_t n;
    llava_error e;
    memset(text, 'a', LONG);
    assert_true(llava_tokenizer_encode(t, &config_plan, text, LONG, &ids, &n, &e));
    assert_int_equal(n, LONG + 1);
    free(ids);
    memset(text, '\n', LONG); /* every match would scan all the white space behind it */
    assert_true(llava_tokenizer_encode(t, &config_plan, text, LONG, &ids, &n, &e));
    free(ids);
    llava_tokenizer_close(t);
    free(added);

    t = opened(&(parts){0}); /* one word of 200000 characters with a merge at every other place */
    for (size_t i = 0; i < LONG; i++) {
        text[i] = i % 2 == 0 ? 'a' : 'b';
    }
    assert_true(llava_tokenizer_encode(t, &config_plan, text, LONG, &ids, &n, &e));
    assert_int_equal(n, LONG / 2 + 2);
    free(ids);
    llava_tokenizer_close(t);
    free(text);
}

static void word_characters_are_unicodes(void **state)
{
    (void)state;
    const uint32_t words[] = {'0', '_', 'z', 0xaa, 0x300, 0x4e2d, 0x200d, 0x24b6, 0x1f130, 0xe01ef};
    const uint32_t others[] = {'-', ' ', 0xb2, 0x2014, 0x1f600, 0x2028, 0xe0001, 0x10ffff, 0};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        assert_true(llava_is_word(words[i]));
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(llava_is_word(others[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_texts_are_those_of_the_library),
        cmocka_unit_test(the_cases_tell_one_tokenizer_from_another),
        cmocka_unit_test(every_segment_gets_a_blank_and_added_tokens_keep_theirs),
        cmocka_unit_test(merge_ranks_decide_not_vocabulary_order),
        cmocka_unit_test(ties_go_to_the_left_and_stale_pairs_are_dropped),
        cmocka_unit_test(decisions_change_what_they_name),
        cmocka_unit_test(decisions_act_on_byte_level_tokenizers_where_they_can),
        cmocka_unit_test(a_tokenizer_without_added_tokens_works),
        cmocka_unit_test(flags_of_added_tokens_act),
        cmocka_unit_test(texts_and_ids_are_found),
        cmocka_unit_test(decoding_joins_bytes_and_marks_broken_ones),
        cmocka_unit_test(decoders_strip_both_ends_and_keep_or_drop_the_first_blank),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(memory_that_runs_out_while_bytes_are_gathered),
        cmocka_unit_test(memory_that_runs_out_while_a_folder_is_read),
        cmocka_unit_test(memory_that_runs_out_while_tokens_are_merged),
        cmocka_unit_test(flags_in_tokenizer_config_count),
        cmocka_unit_test(files_that_are_no_tokenizer_are_refused),
        cmocka_unit_test(characters_without_a_token),
        cmocka_unit_test(tokenizer_config_adds_and_changes_tokens_but_no_bos),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(values_of_another_kind_are_refused_at_every_key),
        cmocka_unit_test(broken_vocabularies_and_merges_are_refused),
        cmocka_unit_test(broken_templates_and_added_tokens_are_refused),
        cmocka_unit_test(older_files_that_add_tokens_are_refused),
        cmocka_unit_test(named_tokens_come_from_the_file_that_counts),
        cmocka_unit_test(texts_that_are_not_utf8_or_too_long_are_refused),
        cmocka_unit_test(hostile_tokens_cost_no_more_than_their_length),
        cmocka_unit_test(word_characters_are_unicodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
