/* The page of `diff --html` and `diagnose --html`: well-formed, whole in itself, safe with hostile
 * names, and saying what was found. */
#include "tests/program.h"
#include "tools/html.h"
#include "tools/npz_writer.h"
#include "tools/report.h"
#include "tools/view.h"

#include "ref/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>

/* ---- reading a page
 * ----------------------------------------------------------------------------- */

static char *page_of(const support_folder *folder, const char *name)
{
    llava_file file;
    llava_error e;
    assert_true(llava_file_map(&file, support_path(folder, name), &e));
    char *text = calloc(file.size + 1, 1);
    assert_non_null(text);
    memcpy(text, file.bytes, file.size);
    assert_int_equal(strlen(text), file.size); /* no NUL */
    llava_file_unmap(&file);
    return text;
}

static bool is_void(const char *tag, size_t n)
{
    static const char *const names[] = {"meta", "img", "br", "!DOCTYPE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == n && strncmp(tag, names[i], n) == 0) {
            return true;
        }
    }
    return false;
}

/* The end of a tag: quotes may hold '>', and nothing else may hold '<'. NULL: there is none. */
static const char *tag_end(const char *at)
{
    bool quoted = false;
    for (; *at != '\0' && (quoted || *at != '>'); at++) {
        if (*at == '"') {
            quoted = !quoted;
        } else if (*at == '<') {
            return NULL;
        }
    }
    return *at == '>' ? at : NULL;
}

/* What is wrong with the tags, or NULL. */
static const char *tags_wrong(const char *page)
{
    enum { DEEPEST = 64 };
    struct {
        const char *at;
        size_t n;
    } open[DEEPEST];
    size_t depth = 0;
    for (const char *at = page; (at = strchr(at, '<')) != NULL;) {
        bool closes = *++at == '/';
        at += closes;
        size_t n = strcspn(at, " >");
        const char *end = tag_end(at);
        if (n == 0 || end == NULL) {
            return "a tag without a name or an end";
        }
        if (closes) {
            if (depth == 0 || open[depth - 1].n != n || memcmp(open[depth - 1].at, at, n) != 0) {
                return at;
            }
            depth--;
        } else if (!is_void(at, n)) {
            if (depth == DEEPEST) {
                return "too deep";
            }
            open[depth].at = at;
            open[depth++].n = n;
        }
        at = end + 1;
    }
    return depth == 0 ? NULL : open[depth - 1].at;
}

/* The words of a page, tags and style left out. Free with free(). */
static char *words_of(const char *page)
{
    char *words = calloc(strlen(page) + 1, 1), *to = words;
    assert_non_null(words);
    const char *at = strstr(page, "<body>");
    assert_non_null(at);
    for (; *at != '\0'; at++) {
        if (*at == '<') {
            at = tag_end(at + 1);
            assert_non_null(at);
        } else {
            *to++ = *at;
        }
    }
    return words;
}

static void assert_says(const char *page, const char *sentence)
{
    char *words = words_of(page);
    if (strstr(words, sentence) == NULL) {
        fail_msg("the page does not say: %s\n%.600s", sentence, words);
    }
    free(words);
}

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* Decodes base64 up to the quote; returns the number of bytes. */
static size_t decode(const char *text, uint8_t *bytes)
{
    size_t n = 0;
    for (; *text != '"'; text += 4) {
        int d[4];
        for (int i = 0; i < 4; i++) {
            d[i] = digit_of(text[i]);
            assert_true(d[i] >= 0 || (i > 1 && text[i] == '='));
        }
        uint32_t three = (uint32_t)d[0] << 18 | (uint32_t)d[1] << 12 |
                         (uint32_t)(d[2] < 0 ? 0 : d[2]) << 6 | (uint32_t)(d[3] < 0 ? 0 : d[3]);
        bytes[n++] = (uint8_t)(three >> 16);
        if (d[2] >= 0) {
            bytes[n++] = (uint8_t)(three >> 8);
        }
        if (d[3] >= 0) {
            bytes[n++] = (uint8_t)three;
        }
    }
    return n;
}

/* Decodes every picture of a page with libpng; returns how many there are. */
static size_t count_pictures(const char *page)
{
    static const char start[] = "src=\"data:image/png;base64,";
    size_t count = 0;
    for (const char *at = page; (at = strstr(at, start)) != NULL; count++) {
        at += strlen(start);
        uint8_t *bytes = malloc(strlen(at));
        assert_non_null(bytes);
        size_t n = decode(at, bytes);
        png_image image = {.version = PNG_IMAGE_VERSION};
        assert_true(png_image_begin_read_from_memory(&image, bytes, n));
        image.format = PNG_FORMAT_RGB;
        uint8_t *pixels = malloc(PNG_IMAGE_SIZE(image));
        assert_non_null(pixels);
        assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
        assert_true(image.width > 0 && image.height > 0 && image.width <= 512);
        free(pixels);
        free(bytes);
    }
    return count;
}

/* What every page is: tags in balance, one language and character set, no script, nothing that a
 * browser would fetch, small enough to send by mail. */
static void assert_sound(const char *page)
{
    static const char *const never[] = {"<script", "src=\"http", "href=",      "url(",  "@import",
                                        "https:",  "http:",      "javascript", "<link", "onload"};
    const char *wrong = tags_wrong(page);
    if (wrong != NULL) {
        fail_msg("tags: %.80s", wrong);
    }
    assert_int_equal(strncmp(page, "<!DOCTYPE html>", 15), 0);
    assert_non_null(strstr(page, "<meta charset=\"utf-8\">"));
    assert_non_null(strstr(page, "prefers-color-scheme:dark"));
    assert_non_null(strstr(page, "name=\"viewport\""));
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (strstr(page, never[i]) != NULL) {
            fail_msg("the page holds %s", never[i]);
        }
    }
    for (const char *at = page; *at != '\0'; at++) {
        assert_true((unsigned char)*at >= 0x20 || *at == '\n');
    }
    assert_true(strlen(page) < 1000000);
}

/* ---- diagnose
 * ----------------------------------------------------------------------------------- */

/* Runs a command, expects this exit status, returns page.html. */
static char *page_after(const support_folder *folder, const char *command, int status)
{
    program_result r = program_run(folder, command);
    if (r.status != status) {
        fail_msg("exit %d: %s", r.status, r.err);
    }
    program_free(&r);
    return page_of(folder, "page.html");
}

#define RUN                                                                                        \
    "\"$LLAVA\" run --model \"$GOLDEN/plain/model\" --inputs \"$GOLDEN/plain/inputs.npz\" "        \
    "--dtype f32 --dump port.npz >run.txt && "
#define DIAGNOSE                                                                                   \
    "\"$LLAVA\" diagnose --model \"$GOLDEN/plain/model\" --inputs \"$GOLDEN/plain/inputs.npz\" "   \
    "--dump port.npz --html page.html"

static void diagnosis_names_the_fault_in_its_first_sentence(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char *page = page_after(&folder,
                            "\"$LLAVA\" run --model \"$GOLDEN/plain/model\" --inputs "
                            "\"$GOLDEN/plain/inputs.npz\" --dtype f32 --set "
                            "vision.cls_position=last --dump port.npz >run.txt && " DIAGNOSE,
                            1);
    assert_sound(page);
    assert_says(page, "This port gets the place of the class row wrong: vision.cls_position=last "
                      "where the model has first. It is first seen in vision.embed; ");
    assert_says(page, "--set vision.cls_position=last --dtype f32");
    assert_says(page, "wrong here");
    assert_says(page, "inherited");
    assert_int_equal(count_pictures(page), 4); /* three matrices, and the error over the patches */
    free(page);
    support_folder_remove(&folder);
}

static void attention_is_shown_head_by_head(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char *page = page_after(&folder,
                            "\"$LLAVA\" run --model \"$GOLDEN/plain/model\" --inputs "
                            "\"$GOLDEN/plain/inputs.npz\" --dtype f32 --set "
                            "text.attn_mask=none --dump port.npz >run.txt && " DIAGNOSE,
                            1);
    assert_sound(page);
    assert_says(page, "difference, head by head");
    assert_int_equal(count_pictures(page), 4);
    free(page);
    support_folder_remove(&folder);
}

static void a_right_port_gets_a_calm_page(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char *page = page_after(&folder, RUN DIAGNOSE, 0);
    assert_sound(page);
    assert_says(page, "Nothing but rounding: each of the ");
    assert_null(strstr(page, "class=\"w\""));
    assert_int_equal(count_pictures(page), 0);
    free(page);
    support_folder_remove(&folder);
}

static void a_page_on_standard_output_stands_there_alone(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_result r = program_run(
        &folder, "\"$LLAVA\" diff \"$GOLDEN/plain/true.npz\" \"$GOLDEN/plain/f32.npz\" --html -");
    assert_int_equal(r.status, 0);
    assert_sound(r.out);
    assert_non_null(strstr(r.err, "pass"));
    program_free(&r);
    r = program_run(&folder, RUN "\"$LLAVA\" diagnose --model \"$GOLDEN/plain/model\" --inputs "
                                 "\"$GOLDEN/plain/inputs.npz\" --dump port.npz --html -");
    assert_int_equal(r.status, 0);
    assert_sound(r.out);
    program_free(&r);
    support_folder_remove(&folder);
}

static void a_page_that_cannot_be_written_leaves_nothing(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_result r = program_run(&folder, "\"$LLAVA\" diff \"$GOLDEN/plain/true.npz\" "
                                            "\"$GOLDEN/plain/f32.npz\" --html no/page.html");
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, "no/page.html"));
    assert_false(program_leaves(&folder, "page"));
    program_free(&r);
    support_folder_remove(&folder);
}

/* ---- diff
 * --------------------------------------------------------------------------------------- */

static void diff_names_where_the_dumps_part(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char *page = page_after(&folder,
                            "\"$LLAVA\" run --model \"$GOLDEN/plain/model\" --inputs "
                            "\"$GOLDEN/plain/inputs.npz\" --set projector.act=relu --dump "
                            "port.npz >run.txt && \"$LLAVA\" diff \"$GOLDEN/plain/true.npz\" "
                            "port.npz --html page.html",
                            1);
    assert_sound(page);
    assert_says(page, "The two dumps part at projector.act (error above the bound)");
    assert_says(page, "first to differ");
    assert_int_equal(count_pictures(page), 4);
    free(page);
    page = page_after(&folder,
                      "\"$LLAVA\" diff \"$GOLDEN/plain/true.npz\" \"$GOLDEN/plain/bf16.npz\" "
                      "--html page.html",
                      0);
    assert_sound(page);
    assert_says(page, "what bfloat16 arithmetic explains");
    free(page);
    support_folder_remove(&folder);
}

static void a_comparison_of_nothing_says_that_it_proves_nothing(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_write_inputs(&folder, "a.npz", "x <f8 [2] 1 2");
    program_write_inputs(&folder, "b.npz", "y <f8 [2] 1 2");
    char *page = page_after(&folder, "\"$LLAVA\" diff a.npz b.npz --html page.html", 2);
    assert_sound(page);
    assert_says(page, "This comparison proves nothing: nothing was compared.");
    free(page);
    support_folder_remove(&folder);
}

/* A safetensors file's names may hold anything. */
static void hostile_names_stay_words(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    support_write_safetensors(
        &folder, "a.safetensors",
        "{\"<script>alert(1)&'\\\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
        "\"<img src=http:x>\\u0007\\u202e\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"
        "}}",
        8);
    support_write_safetensors(
        &folder, "b.safetensors",
        "{\"<script>alert(1)&'\\\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    char *page =
        page_after(&folder, "\"$LLAVA\" diff a.safetensors b.safetensors --html page.html", 2);
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "<img src=http"));
    assert_null(tags_wrong(page));
    assert_non_null(strstr(page, "&lt;script&gt;alert(1)&amp;&#39;&quot;"));
    assert_non_null(strstr(page, "&lt;img src=http:x&gt;\\x07\\xe2\\x80\\xae"));
    free(page);
    support_folder_remove(&folder);
}

static void a_shell_word_in_the_command_is_quoted(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char *page = page_after(&folder,
                            "\"$LLAVA\" run --model \"$GOLDEN/plain/model\" --inputs "
                            "\"$GOLDEN/plain/inputs.npz\" --set vision.act=relu --dump "
                            "port.npz >run.txt && cp port.npz \"it's <b>.npz\" && \"$LLAVA\" "
                            "diagnose --model \"$GOLDEN/plain/model\" --inputs "
                            "\"$GOLDEN/plain/inputs.npz\" --dump \"it's <b>.npz\" --html page.html",
                            1);
    assert_sound(page);
    assert_non_null(
        strstr(page, "diff wrong.npz &#39;it&#39;\\&#39;&#39;s &lt;b&gt;.npz&#39;</pre>"));
    free(page);
    support_folder_remove(&folder);
}

/* ---- parts
 * -------------------------------------------------------------------------------------- */

static void text_is_escaped_and_cut_at_whole_characters(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    llava_html h;
    llava_error e;
    assert_true(llava_html_open(&h, support_path(&folder, "t"), &e));
    llava_html_text(&h, "<&>\"'\x01\x7f\xff\xc3\xa9|");
    llava_html_cut(&h, "a\xc3\xa9z", 2);
    assert_true(llava_html_close(&h));
    char *text = page_of(&folder, "t");
    assert_string_equal(text, "&lt;&amp;&gt;&quot;&#39;\\x01\\x7f\\xff\xc3\xa9|a..");
    free(text);
    support_folder_remove(&folder);
}

static void numbers_are_short(void **state)
{
    (void)state;
    assert_string_equal(llava_short(1.234e-7).text, "1.2e-7");
    assert_string_equal(llava_short(-2.5e12).text, "-2.5e12");
    assert_string_equal(llava_short(0.03126).text, "0.0313");
    assert_string_equal(llava_short(577).text, "577");
    assert_string_equal(llava_short(0).text, "0");
}

static void every_decision_has_words(void **state)
{
    (void)state;
    for (int i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const char *phrase = llava_report_phrase((llava_decision_id)i);
        assert_string_not_equal(phrase, llava_decision_at((llava_decision_id)i)->name);
    }
}

typedef struct {
    size_t count;
    size_t wrong; /* the one element that is off */
    size_t next;  /* must rise: a deflated member can't be read backwards */
} made;

static bool read_made(void *self, size_t first, size_t n, double *expected, double *actual,
                      llava_error *e)
{
    made *m = self;
    (void)e;
    assert_int_equal(first, m->next);
    m->next += n;
    assert_true(m->next <= m->count);
    for (size_t i = 0; i < n; i++) {
        expected[i] = 1;
        actual[i] = first + i == m->wrong ? 3 : 1;
    }
    return true;
}

static void one_wrong_value_of_a_million_is_seen(void **state)
{
    (void)state;
    enum { ROWS = 1000, COLUMNS = 1500 };
    const size_t shape[] = {1, ROWS, COLUMNS};
    made m = {.count = ROWS * COLUMNS, .wrong = 777 * COLUMNS + 1234};
    llava_counting counting = {0};
    llava_comparison comparison = {.worst_row = 777};
    llava_view_source source = {.read = read_made,
                                .self = &m,
                                .counting = &counting,
                                .name = "vision.embed",
                                .rank = 3,
                                .shape = shape,
                                .comparison = &comparison};
    llava_view *view;
    llava_error e;
    assert_true(llava_view_make(&view, &source, &e));
    const llava_heat *heat = &view->whole;
    assert_true(heat->rows <= LLAVA_VIEW_EDGE && heat->columns <= LLAVA_VIEW_EDGE);
    size_t seen = 0;
    for (size_t i = 0; i < heat->rows * heat->columns; i++) {
        seen += heat->difference[i] != 0;
    }
    assert_int_equal(seen, 1);
    assert_true(heat->difference[777 / heat->tall * heat->columns + 1234 / heat->wide] == 2);
    assert_int_equal(view->worst.row, 777);
    assert_int_equal(view->unequal_count, 1);
    assert_int_equal(view->unequal[0].index, m.wrong);
    llava_view_free(view);
}

static void heads_are_told_apart_by_where_they_stand_in_the_shape(void **state)
{
    (void)state;
    const size_t q[] = {2, 5, 3, 4}, scores[] = {2, 3, 5, 5};
    llava_view_layout inside = llava_view_lay_out("text.layers.0.attn.q", 4, q);
    llava_view_layout first = llava_view_lay_out("text.layers.0.attn.scores", 4, scores);
    assert_int_equal(inside.heads, 3);
    assert_int_equal(first.heads, 3);
    llava_view_place a = llava_view_place_of(&inside, (1 * 5 + 4) * 3 + 2);
    llava_view_place b = llava_view_place_of(&first, (1 * 3 + 2) * 5 + 4);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(a.sample, 1);
    assert_int_equal(a.head, 2);
    assert_int_equal(a.row, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diagnosis_names_the_fault_in_its_first_sentence),
        cmocka_unit_test(attention_is_shown_head_by_head),
        cmocka_unit_test(a_right_port_gets_a_calm_page),
        cmocka_unit_test(a_page_on_standard_output_stands_there_alone),
        cmocka_unit_test(a_page_that_cannot_be_written_leaves_nothing),
        cmocka_unit_test(diff_names_where_the_dumps_part),
        cmocka_unit_test(a_comparison_of_nothing_says_that_it_proves_nothing),
        cmocka_unit_test(hostile_names_stay_words),
        cmocka_unit_test(a_shell_word_in_the_command_is_quoted),
        cmocka_unit_test(text_is_escaped_and_cut_at_whole_characters),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(every_decision_has_words),
        cmocka_unit_test(one_wrong_value_of_a_million_is_seen),
        cmocka_unit_test(heads_are_told_apart_by_where_they_stand_in_the_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
