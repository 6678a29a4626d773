/* Prompts with pictures. */
#include "ref/prompt.h"

#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Characters as tokens, <s> in front, a blank in front of every segment: ids are easy to read. */
static const char tokenizer_json[] =
    "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true},{\"id\":7,\"content\":"
    "\"<image>\",\"special\":true},{\"id\":8,\"content\":\"[IMG]\",\"special\":true},{\"id\":9,"
    "\"content\":\"[BREAK]\",\"special\":true},"
    "{\"id\":10,\"content\":\"[END]\",\"special\":true}],"
    "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\" \"},\"post_processor\":{\"type\":"
    "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":"
    "\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[1]}}},\"model\":{\"vocab\":{\"<unk>\":0,"
    "\"<s>\":1,\" \":2,\"a\":3,\"b\":4,\"c\":5,\"d\":6},\"merges\":[]}}";

static llava_tokenizer *tokenizer(void)
{
    support_folder folder = support_folder_new();
    support_write_text(&folder, "tokenizer.json", tokenizer_json);
    llava_tokenizer *t;
    llava_error e;
    if (!llava_tokenizer_open(&t, folder.path, &e)) {
        fail_msg("%s", e.text);
    }
    support_folder_remove(&folder);
    return t;
}

static void gives(const llava_token_plan *plan, const llava_prompt *prompt, size_t n,
                  const int64_t *wanted)
{
    llava_tokenizer *t = tokenizer();
    int64_t *ids;
    size_t count;
    llava_error e;
    if (!llava_prompt_encode(t, plan, prompt, &ids, &count, &e)) {
        fail_msg("%s: %s", prompt->text, e.text);
    }
    assert_int_equal(count, n);
    assert_memory_equal(ids, wanted, n * sizeof *ids);
    free(ids);
    llava_tokenizer_close(t);
}

static void refused(const llava_prompt *prompt, const char *message)
{
    static const llava_token_plan plan = {.bos = LLAVA_BOS_CONFIG};
    llava_tokenizer *t = tokenizer();
    int64_t *ids;
    size_t count;
    llava_error e;
    assert_false(llava_prompt_encode(t, &plan, prompt, &ids, &count, &e));
    assert_null(ids);
    support_says(&e, message);
    llava_tokenizer_close(t);
}

#define IDS(...)                                                                                   \
    sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[])                                \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void placeholders_become_as_many_as_the_picture_has_rows(void **state)
{
    (void)state;
    const llava_token_plan plan = {.bos = LLAVA_BOS_CONFIG};
    const llava_image_run counts[] = {{3, 0}, {1, 0}};
    llava_prompt prompt = {"a<image>b<image>", "<image>", 7, counts, 2, NULL, NULL};
    assert_int_equal(llava_prompt_placeholders(&prompt), 2);
    gives(&plan, &prompt, IDS(1, 2, 3, 7, 7, 7, 2, 4, 7));
    gives(&plan, &(llava_prompt){"ab", NULL, 7, NULL, 0, NULL, NULL}, IDS(1, 2, 3, 4));
    gives(&plan, &(llava_prompt){"", NULL, 7, NULL, 0, NULL, NULL}, IDS(1));
}

static void the_general_placeholder_works_for_any_model(void **state)
{
    (void)state;
    const llava_token_plan plan = {.bos = LLAVA_BOS_CONFIG};
    const llava_image_run counts[] = {{2, 0}, {1, 0}};
    gives(&plan, &(llava_prompt){"<image>a[IMG]", "[IMG]", 8, counts, 2, NULL, NULL},
          IDS(1, 8, 8, 2, 3, 8));
    /* without pictures nothing is expanded, and the model's own token is what stands there */
    llava_prompt bare = {"<image>a", "[IMG]", 8, NULL, 0, NULL, NULL};
    gives(&plan, &bare, IDS(1, 8, 2, 3));
    assert_int_equal(llava_prompt_placeholders(&bare), 1);
}

static void bos_in_every_segment_follows_each_picture(void **state)
{
    (void)state;
    const llava_token_plan plan = {.bos = LLAVA_BOS_EVERY_SEGMENT}, none = {.bos = LLAVA_BOS_NONE};
    const llava_image_run counts[] = {{2, 0}, {1, 0}, {1, 0}};
    gives(&plan, &(llava_prompt){"a<image><image>b<image>", NULL, 7, counts, 3, NULL, NULL},
          IDS(1, 2, 3, 7, 7, 7, 1, 2, 4, 7));
    gives(&plan, &(llava_prompt){"<image>b", NULL, 7, counts + 1, 1, NULL, NULL},
          IDS(1, 7, 1, 2, 4));
    gives(&none, &(llava_prompt){"a<image>b", NULL, 7, counts, 1, NULL, NULL},
          IDS(2, 3, 7, 7, 2, 4));
}

static void other_numbers_of_pictures_are_refused_with_both(void **state)
{
    (void)state;
    const llava_image_run counts[] = {{1, 0}, {1, 0}, {1, 0}};
    refused(&(llava_prompt){"a<image>", NULL, 7, counts, 3, NULL, NULL},
            "1 placeholders (<image>) for 3");
    refused(&(llava_prompt){"<image><image>", NULL, 7, counts, 1, NULL, NULL},
            "2 placeholders (<image>) for 1");
    refused(&(llava_prompt){"a", NULL, 7, counts, 1, NULL, NULL}, "0 placeholders (<image>) for 1");
}

static void an_image_token_with_another_id_is_refused(void **state)
{
    (void)state;
    const llava_image_run counts[] = {{1, 0}}, huge[] = {{(size_t)1 << 40, 0}};
    refused(&(llava_prompt){"a<image>", NULL, 99, counts, 1, NULL, NULL},
            "has the id 7, but config.json says 99");
    refused(&(llava_prompt){"a<image>", "<img>", 7, counts, 1, NULL, NULL}, "has the id -1");
    refused(&(llava_prompt){"a<image>", "d", 6, huge, 1, NULL, NULL}, "grows beyond the limit");
    /* a literal <s><image> would be fine; the general placeholder inside of a longer one is not cut
     */
    refused(&(llava_prompt){"<image>", "", 7, counts, 1, NULL, NULL}, "has the id -1");
}

static void image_tokens_outside_of_placeholders_are_refused(void **state)
{
    (void)state;
    const llava_image_run counts[] = {{1, 0}};
    /* "d" is the image token here: no placeholder text can be told from it, all three count */
    refused(&(llava_prompt){"d<image>d", "d", 6, counts, 1, NULL, NULL},
            "3 placeholders (d) for 1");
    /* a word of the vocabulary that no merge makes: it is torn apart */
    refused(&(llava_prompt){"a<image>", "<unk>", 0, counts, 1, NULL, NULL},
            "the prompt gives 0 image tokens, the pictures need 1");
}

/* The original project's way: piece by piece, and only the first keeps what stands in front. */
static void pieces_lose_the_front_that_the_tokenizer_gives_each(void **state)
{
    (void)state;
    const llava_image_run counts[] = {{2, 0}, {1, 0}}, rows[] = {{2, 1}};
    static const struct {
        llava_bos bos;
        const char *text;
        size_t n;
        int64_t ids[10];
    } cases[] = {
        {LLAVA_BOS_CONFIG, "a<image>b<image>", 8, {1, 2, 3, 7, 7, 2, 4, 7}},
        {LLAVA_BOS_EVERY_SEGMENT, "a<image>b<image>", 10, {1, 2, 3, 7, 7, 1, 2, 4, 7, 1}},
        {LLAVA_BOS_NONE, "<image><image>", 3, {7, 7, 7}},
    };
    llava_tokenizer *t = tokenizer();
    llava_error e;
    int64_t *ids;
    size_t n;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const llava_token_plan plan = {.bos = cases[i].bos};
        llava_prompt prompt = {cases[i].text, NULL, 7, counts, 2, NULL, NULL};
        assert_true(llava_prompt_encode_pieces(t, &plan, &prompt, &ids, &n, &e));
        assert_int_equal(n, cases[i].n);
        assert_memory_equal(ids, cases[i].ids, cases[i].n * sizeof *ids);
        free(ids);
    }
    const llava_token_plan plan = {.bos = LLAVA_BOS_CONFIG};
    llava_prompt pixtral = {"<image>", NULL, 7, rows, 1, "[BREAK]", "[END]"};
    assert_false(llava_prompt_encode_pieces(t, &plan, &pixtral, &ids, &n, &e));
    support_says(&e, "--profile original: it has no Pixtral");
    llava_tokenizer_close(t);
}

/* ---- Counts ---- */

static size_t counted(const llava_processor *p, size_t height, size_t width,
                      llava_image_count decision)
{
    llava_config config = {.vision = {.patch_size = 14}, .select = LLAVA_SELECT_DEFAULT};
    llava_image_run run;
    llava_error e;
    assert_true(llava_image_token_count(p, &config, height, width, decision, &run, &e));
    assert_int_equal(run.columns, 0);
    return run.count;
}

static void counts_are_those_of_the_processor(void **state)
{
    (void)state;
    llava_processor p = {.has_processor = true,
                         .patch_size = 14,
                         .additional_tokens = 1,
                         .select = LLAVA_SELECT_DEFAULT};
    assert_int_equal(counted(&p, 336, 336, LLAVA_COUNT_EXACT), 576);
    assert_int_equal(counted(&p, 336, 336, LLAVA_COUNT_ONE_LESS), 575);
    assert_int_equal(counted(&p, 336, 336, LLAVA_COUNT_ONE_MORE), 577);
    assert_int_equal(counted(&p, 336, 336, LLAVA_COUNT_SINGLE), 1);
    assert_int_equal(counted(&p, 29, 43, LLAVA_COUNT_EXACT), 6); /* what is over does not count */
    p.select = LLAVA_SELECT_FULL;
    assert_int_equal(counted(&p, 336, 336, LLAVA_COUNT_EXACT), 577);
    p.additional_tokens = 0; /* the default of old processor configs: one too few */
    p.select = LLAVA_SELECT_DEFAULT;
    assert_int_equal(counted(&p, 336, 336, LLAVA_COUNT_EXACT), 575);
    llava_processor none = {.has_processor = false};
    assert_int_equal(counted(&none, 336, 336, LLAVA_COUNT_EXACT), 576);
}

static void without_a_processor_file_the_tower_decides(void **state)
{
    (void)state;
    llava_processor none = {0};
    llava_config c = {.vision = {.patch_size = 14, .tower = LLAVA_TOWER_SIGLIP},
                      .select = LLAVA_SELECT_FULL};
    llava_image_run run;
    llava_error e;
    assert_true(llava_image_token_count(&none, &c, 384, 384, LLAVA_COUNT_EXACT, &run, &e));
    assert_true(run.count == 729 && run.columns == 0); /* no class token to add */
    c.vision.tower = LLAVA_TOWER_PIXTRAL;
    c.vision.patch_size = 16;
    assert_true(llava_image_token_count(&none, &c, 32, 48, LLAVA_COUNT_EXACT, &run, &e));
    assert_true(run.count == 6 && run.columns == 3);
    none.class = LLAVA_PROCESSOR_LLAVA; /* named after all */
    assert_true(llava_image_token_count(&none, &c, 32, 48, LLAVA_COUNT_EXACT, &run, &e));
    assert_true(run.count == 6 && run.columns == 0);
}

/* JoyCaption's folder adds 1 and takes it away again, on a tower without a class token. */
static void additional_tokens_and_strategy_are_taken_as_written(void **state)
{
    (void)state;
    llava_processor p = {.has_processor = true,
                         .class = LLAVA_PROCESSOR_LLAVA,
                         .patch_size = 14,
                         .additional_tokens = 1,
                         .select = LLAVA_SELECT_DEFAULT};
    assert_int_equal(counted(&p, 384, 384, LLAVA_COUNT_EXACT), 729);
}

static void pixtral_breaks_rows_and_ends_the_picture(void **state)
{
    (void)state;
    const llava_token_plan plan = {.bos = LLAVA_BOS_CONFIG};
    const llava_image_run runs[] = {{6, 3}, {1, 1}, {2, 1}};
    llava_prompt prompt = {"[IMG]d[IMG][IMG]", "[IMG]", 8, runs, 3, "[BREAK]", "[END]"};
    gives(&plan, &prompt, IDS(1, 8, 8, 8, 9, 8, 8, 8, 10, 2, 6, 8, 10, 8, 9, 8, 10));
    const llava_image_run wrong[] = {{5, 3}, {7, 3}};
    gives(&plan, &(llava_prompt){"[IMG]", "[IMG]", 8, wrong, 1, "[BREAK]", "[END]"},
          IDS(1, 8, 8, 8, 9, 8, 8, 10));
    gives(&plan, &(llava_prompt){"[IMG]", "[IMG]", 8, wrong + 1, 1, "[BREAK]", "[END]"},
          IDS(1, 8, 8, 8, 9, 8, 8, 8, 9, 8, 10));
    const llava_token_plan front = {.bos = LLAVA_BOS_EVERY_SEGMENT};
    gives(&front, &(llava_prompt){"[IMG]d", "[IMG]", 8, runs + 2, 1, "[BREAK]", "[END]"},
          IDS(1, 8, 9, 8, 10, 1, 2, 6));
    const llava_token_plan absent = {.image_breaks = LLAVA_BREAKS_ABSENT},
                           no_end = {.image_breaks = LLAVA_BREAKS_NO_END};
    gives(&absent, &(llava_prompt){"[IMG]", "[IMG]", 8, runs, 1, "[BREAK]", "[END]"},
          IDS(1, 8, 8, 8, 8, 8, 8));
    gives(&no_end, &(llava_prompt){"[IMG]", "[IMG]", 8, runs + 2, 1, "[BREAK]", "[END]"},
          IDS(1, 8, 9, 8, 9));
    refused(&(llava_prompt){"[IMG]", "[IMG]", 8, runs, 1, "[BRK]", "[END]"},
            "tokenizer.json: there is no token [BRK]");
}

static void impossible_counts_are_refused(void **state)
{
    (void)state;
    llava_processor p = {.has_processor = true, .select = LLAVA_SELECT_DEFAULT};
    llava_config config = {0};
    llava_image_run n;
    llava_error e;
    assert_false(llava_image_token_count(&p, &config, 336, 336, LLAVA_COUNT_EXACT, &n, &e));
    support_says(&e, "patch_size is missing");
    p.patch_size = 1;
    assert_false(llava_image_token_count(&p, &config, 1, 1, LLAVA_COUNT_EXACT, &n, &e));
    support_says(&e, "has no patch");
    assert_false(llava_image_token_count(&p, &config, SIZE_MAX, 2, LLAVA_COUNT_EXACT, &n, &e));
    support_says(&e, "too large");
    assert_false(llava_image_token_count(&p, &config, SIZE_MAX, 1, LLAVA_COUNT_EXACT, &n, &e));
    support_says(&e, "too large"); /* one more would be 0 */
    p.additional_tokens = SIZE_MAX;
    assert_false(llava_image_token_count(&p, &config, 2, 2, LLAVA_COUNT_EXACT, &n, &e));
    support_says(&e, "has no patch");
}

/* Pixtral's own spelling where its files name none; the others' the tokenizer's. */
static void the_image_token_is_spelled_as_the_files_say(void **state)
{
    (void)state;
    llava_tokenizer *t = tokenizer();
    llava_config config = {.vision = {.tower = LLAVA_TOWER_PIXTRAL}};
    llava_processor p = {0};
    assert_string_equal(llava_image_text(&p, &config, t), "[IMG]");
    snprintf(p.image_token, sizeof p.image_token, "<picture>");
    assert_string_equal(llava_image_text(&p, &config, t), "<picture>");
    config.vision.tower = LLAVA_TOWER_CLIP;
    assert_string_equal(llava_image_text(&p, &config, t), "<picture>");
    llava_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placeholders_become_as_many_as_the_picture_has_rows),
        cmocka_unit_test(the_general_placeholder_works_for_any_model),
        cmocka_unit_test(bos_in_every_segment_follows_each_picture),
        cmocka_unit_test(other_numbers_of_pictures_are_refused_with_both),
        cmocka_unit_test(an_image_token_with_another_id_is_refused),
        cmocka_unit_test(image_tokens_outside_of_placeholders_are_refused),
        cmocka_unit_test(counts_are_those_of_the_processor),
        cmocka_unit_test(without_a_processor_file_the_tower_decides),
        cmocka_unit_test(additional_tokens_and_strategy_are_taken_as_written),
        cmocka_unit_test(pixtral_breaks_rows_and_ends_the_picture),
        cmocka_unit_test(impossible_counts_are_refused),
        cmocka_unit_test(the_image_token_is_spelled_as_the_files_say),
        cmocka_unit_test(pieces_lose_the_front_that_the_tokenizer_gives_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
