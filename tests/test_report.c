/* The page of `diff --html` and `diagnose --html`: well-formed, whole in itself, safe with hostile
 * names, and saying what was found. */
#include "tests/memory.h"
#include "tests/program.h"
#include "tools/html.h"
#include "tools/npz_writer.h"
#include "tools/report.h"
#include "tools/view.h"
#include "tools/view_html.h"
#include "tools/words.h"

#include "ref/file.h"

#include <math.h>
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

/* ---- pages of results made by hand
 * ---------------------------------------------------------------- */

static char *diff_page(const llava_diff *r)
{
    support_folder folder = support_folder_new();
    llava_error e;
    if (!llava_report_diff(r, NULL, support_path(&folder, "page.html"), &e)) {
        fail_msg("%s", e.text);
    }
    char *page = page_of(&folder, "page.html");
    support_folder_remove(&folder);
    assert_sound(page);
    return page;
}

enum { TENSORS = 5 };

/* As many tensors as there are letters: p pass, w warn, c cannot judge, d differ. */
static llava_diff diff_of(llava_diff_tensor tensors[TENSORS], const char *letters)
{
    static char names[TENSORS][24] = {"vision.embed", "vision.features", "text.embed", "text.norm",
                                      "logits"};
    llava_diff r = {.expected = "a.npz", .actual = "b.npz", .tensors = tensors};
    r.first_divergence = r.count = strlen(letters);
    for (size_t i = r.count; i-- > 0;) {
        llava_verdict verdict = (llava_verdict)(strchr("pwcd", letters[i]) - "pwcd");
        bool counts = verdict != LLAVA_CANNOT_JUDGE;
        tensors[i] = (llava_diff_tensor){.name = names[i],
                                         .verdict = verdict,
                                         .rank = 2,
                                         .shape = {2, 3},
                                         .type = LLAVA_F16,
                                         .numbers = {.count = counts ? 6 : 0, .rel_l2 = 1e-3},
                                         .bound = {.l2 = 2e-3},
                                         .why = verdict == LLAVA_PASS ? NULL : "a reason"};
        r.verdict = counts && verdict > r.verdict ? verdict : r.verdict;
        r.first_divergence = verdict == LLAVA_DIFFER ? i : r.first_divergence;
    }
    return r;
}

static void a_comparison_is_told_in_a_sentence(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"p", "Nothing but rounding: the one tensor is within what float16 arithmetic explains."},
        {"pp", "Nothing but rounding: all 2 tensors are within what float16"},
        {"pc", "the one tensor is within what float16 arithmetic explains; 1 more could not be"},
        {"ppw", "Close, but 1 of 3 tensors are further off than an honest implementation"},
        {"d", "The two dumps part at vision.embed (a reason). "},
        {"dp", "The two dumps part at vision.embed (a reason); every other tensor agrees. "},
        {"dd", "vision.embed (a reason), and the one tensor behind it is off, too. "},
        {"ddd", "vision.embed (a reason), and all 2 tensors behind it are off, too. "},
        {"dpd", "vision.embed (a reason), and 1 of the 2 tensors behind it are off, too. "},
        {"pdd", "behind it is off, too. The tensor before it agrees."},
        {"pwdd", "behind it is off, too. Everything before it stays below the limit."},
        {"ppdpd", "and 1 of the 2 tensors behind it are off, too. Everything before it agrees."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_diff_tensor tensors[TENSORS];
        llava_diff r = diff_of(tensors, rows[i][0]);
        char *page = diff_page(&r);
        assert_says(page, rows[i][1]);
        free(page);
    }
}

static void what_a_comparison_found_besides_is_on_the_page(void **state)
{
    (void)state;
    enum { MANY = 101 };
    llava_diff_tensor tensors[TENSORS];
    llava_diff r = diff_of(tensors, "pppd");
    tensors[3].numbers = (llava_comparison){.count = 6,
                                            .mismatched = 3,
                                            .nan_expected = 1,
                                            .nan_actual = 2,
                                            .inf_expected = 4,
                                            .inf_actual = 5,
                                            .rel_l2 = 7e-3};
    tensors[3].has_peer = true, tensors[3].peer_l2 = 3e-3;
    tensors[0].exact = true, tensors[0].type = LLAVA_I64;
    char *names[MANY], name[] = "x.y";
    for (size_t i = 0; i < MANY; i++) {
        names[i] = name;
    }
    llava_effect effects[] = {
        {LLAVA_VISION_ACT, 1, "vision.layers.0.mlp.act", 1e-4, 1e-4, {.l2 = 1e-3, .max = 1e-3}},
        {LLAVA_TEXT_NORM_EPS, 1, "text.norm", 1e-2, 1e-4, {.l2 = 1e-3, .max = 1e-3}},
        {LLAVA_TEXT_NORM_EPS, 1, "text.norm", 1e-4, 1e-2, {.l2 = 1e-3, .max = 1e-3}},
        {LLAVA_TEXT_NORM_EPS, 1, "text.norm", 0, 0, {.l2 = 1e-3, .max = 1e-3}},
    };
    r.peer = "peer.npz";
    r.missing = r.extra = names, r.missing_count = 1, r.extra_count = MANY;
    r.effects = effects, r.effect_count = 4;
    char *page = diff_page(&r);
    assert_says(page, "Peer, an honest dump of the same type: peer.npz");
    assert_says(page, "1 expected, 2 actual");
    assert_says(page, "4 expected, 5 actual");
    assert_says(page, "error0.007, where the peer has 0.003");
    assert_says(page, "Of 4 known mistakes, 1 would change these tensors by less than the bound.");
    assert_says(page, "101 unknown to Expected");
    assert_says(page, "x.y, ..");
    free(page);
    r.effects[0].error = 1; /* nothing is hidden any more */
    page = diff_page(&r);
    assert_says(page, "Of 4 known mistakes, 0 would change these tensors by less than the bound.");
    free(page);
}

static void tokens_that_tie_are_a_sentence_of_their_own(void **state)
{
    (void)state;
    llava_diff_tensor tensors[TENSORS];
    llava_diff r = diff_of(tensors, "pw");
    llava_flip flips[2] = {{.sample = 0,
                            .step = 3,
                            .expected = 5,
                            .actual = 6,
                            .margin = 1e-3,
                            .bound = 2e-3,
                            .near_tie = true,
                            .why = "near tie"},
                           {.sample = 1, .step = 0, .margin = (double)NAN, .why = "unknown"}};
    r.flips = (llava_flips){.flips = flips, .count = 1};
    char *page = diff_page(&r);
    assert_says(page, "Nothing but rounding: 1 sample goes over to another text");
    free(page);
    r.flips.count = 2;
    page = diff_page(&r);
    assert_says(page, "Nothing but rounding: 2 samples go over to another text");
    assert_says(page, "unknown");
    free(page);
    r = diff_of(tensors, "ww"); /* more than the tokens */
    r.flips = (llava_flips){.flips = flips, .count = 1};
    page = diff_page(&r);
    assert_says(page, "Close, but 2 of 2 tensors");
    free(page);
}

static char *diagnosis_page(const llava_diagnosis *d)
{
    support_folder folder = support_folder_new();
    llava_request q = {.model = "golden/text-only/model", .inputs = "golden/text-only/inputs.npz"};
    llava_session session;
    llava_error e;
    assert_true(llava_session_open(&session, &q, &e));
    if (!llava_report_diagnosis(d, &session, NULL, support_path(&folder, "page.html"), &e)) {
        fail_msg("%s", e.text);
    }
    char *page = page_of(&folder, "page.html");
    llava_session_close(&session);
    support_folder_remove(&folder);
    assert_sound(page);
    return page;
}

static void a_diagnosis_is_told_in_a_sentence(void **state)
{
    (void)state;
    enum { FINDINGS = 42 };
    llava_judged taps[] = {
        {.name = (char[]){"vision.embed"}, .noise = 1e-7, .local = {.rel_l2 = 0.5}},
        {.name = (char[]){"generated_ids"}, .exact = true},
        {.name = (char[]){"logits"}, .inherited = true},
        {.name = (char[]){"no.tap"}, .local = {.mismatched = 2}}};
    llava_cause act = {.id = {LLAVA_VISION_ACT}, .value = {1}, .count = 1},
                both = {.id = {LLAVA_VISION_ACT, LLAVA_TEXT_LAYERS}, .value = {1, 1}, .count = 2};
    llava_finding findings[FINDINGS] = {
        {.judged = 0, .causes = {act}, .cause_count = 1, .confidence = LLAVA_CERTAIN},
        {.judged = 0, .causes = {act, both}, .cause_count = 2, .confidence = LLAVA_LIKELY},
        {.judged = 0, .confidence = LLAVA_UNKNOWN},
        {.judged = 1, .confidence = LLAVA_UNKNOWN, .where = "sample 0, step 2"},
        {.judged = 0, .causes = {both}, .cause_count = 1, .confidence = LLAVA_CERTAIN},
        {.judged = 3, .confidence = LLAVA_UNKNOWN},
    };
    for (size_t i = 6; i < FINDINGS; i++) {
        findings[i] = findings[2];
    }
    const struct {
        size_t first, count, taps;
        const char *says;
    } rows[] = {
        {0, 1, 1, "This port gets the activation function of the vision tower wrong: vision.act="},
        {0, 1, 3, "; 1 later tensor is wrong only because of it."},
        {1, 1, 1, "wrong, most likely: vision.act="},
        {1, 1, 1, " (2 explanations fit)"},
        {1, 1, 1, "2 explain it equally well on these data"},
        {2, 1, 1, "This port computes vision.embed wrongly, and no known mistake explains it."},
        {2, 1, 1, "No mistake that can act here, nor two together, comes down to it."},
        {3, 1, 2, "This port generates a token that its logits do not choose: sample 0, step 2."},
        {4, 1, 1, "the activation function of the vision tower and the number of the language "},
        {5, 1, 4, "2 values on one side only"},
        {0, 4, 3, "This port has 4 separate faults: the activation function of the vision tower ("},
        {0, 4, 3, "; the activation function of the vision tower (most likely vision.act="},
        {0, 4, 3, "; an unknown one in vision.embed; and 1 more"},
        {0, 4, 3, "; 1 later tensor is wrong only because of them."},
        {3, 2, 2, "a token that its logits do not choose, in generated_ids; "},
        {0, 42, 4, "2 more findings are not shown here."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_diagnosis d = {.port = "port.npz",
                             .verdict = LLAVA_DIFFER,
                             .type = LLAVA_F32,
                             .taps = taps,
                             .count = rows[i].taps,
                             .findings = findings + rows[i].first,
                             .finding_count = rows[i].count};
        char *page = diagnosis_page(&d);
        assert_says(page, rows[i].says);
        free(page);
    }
}

static void a_diagnosis_without_findings_says_why(void **state)
{
    (void)state;
    llava_judged tap = {.name = (char[]){"logits"}};
    llava_diagnosis d = {.port = "port.npz", .verdict = LLAVA_CANNOT_JUDGE, .type = LLAVA_BF16};
    char *page = diagnosis_page(&d);
    assert_says(page, "There is nothing to judge: no tap was compared.");
    free(page);
    d.note = "another model";
    page = diagnosis_page(&d);
    assert_says(page, "There is nothing to judge: another model.");
    free(page);
    d.verdict = LLAVA_PASS, d.taps = &tap, d.count = 1, d.islands = true;
    d.rounding[0] = (llava_cause){.id = {LLAVA_NUMERICS_WEIGHTS}, .value = {1}, .count = 1};
    d.rounding[1] = (llava_cause){.id = {LLAVA_NUMERICS_KV_CACHE}, .value = {1}, .count = 1};
    d.rounding_count = 2;
    page = diagnosis_page(&d);
    assert_says(page, "within what bfloat16 arithmetic explains.");
    assert_says(page, "with some steps in float32 as transformers does. Its own rounding "
                      "everywhere, which is no fault: numerics.weights=");
    assert_says(page, ", numerics.kv_cache=");
    free(page);
}

/* Terms of a finding: what is wrong, from what it was computed, how to make the same mistake. */
static void a_finding_says_where_and_how_to_repeat_it(void **state)
{
    (void)state;
    char *also_name = (char[]){"vision.layers.1.mlp.act"};
    char from[][LLAVA_TAP_NAME] = {"a", "b", "c", "d", "e"};
    llava_judged taps[] = {
        {.name = (char[]){"attention_mask"}, .exact = true, .local = {.count = 8, .unequal = 3}},
        {.name = also_name}};
    size_t also[] = {1, 1};
    llava_finding f = {.span = {.from = from, .from_count = 5},
                       .causes = {{.id = {LLAVA_VISION_ACT}, .value = {1}, .count = 1}},
                       .cause_count = 1,
                       .rest = {{.id = {LLAVA_NUMERICS_WEIGHTS}, .value = {1}, .count = 1},
                                {.id = {LLAVA_TEXT_LAYERS}, .value = {1}, .count = 1, .error = 2}},
                       .rest_count = 2,
                       .also = also,
                       .also_count = 2};
    llava_diagnosis d = {.port = "",
                         .verdict = LLAVA_DIFFER,
                         .type = LLAVA_F64,
                         .rounding = {{.id = {LLAVA_NUMERICS_WEIGHTS}, .value = {1}, .count = 1}},
                         .rounding_count = 1,
                         .taps = taps,
                         .count = 2,
                         .findings = &f,
                         .finding_count = 1};
    char *page = diagnosis_page(&d), longer[400];
    assert_says(page, "3 of 8 values");
    assert_says(page, "a, b, c, d, ..");
    assert_says(page, "2 more taps, to vision.layers.1.mlp.act");
    assert_says(page, "--set numerics.weights=");
    assert_says(page, "diff wrong.npz &#39;&#39;");
    assert_says(page, "text.layers="); /* what else was tried; a rounding says little beside it */
    free(page);
    /* a long word is written in parts, none of which ends within a character */
    memset(longer, ' ', sizeof longer);
    for (size_t i = 1; i + 2 < sizeof longer; i += 2) {
        memcpy(longer + i, "\xc3\xa9", 2);
    }
    longer[sizeof longer - 1] = '\0';
    d.port = longer, f.span.from_count = 1, f.also_count = 1;
    snprintf(f.where, sizeof f.where, "row 7");
    page = diagnosis_page(&d);
    assert_null(strstr(page, "\\x"));
    assert_says(page, "3 of 8 values: row 7");
    assert_says(page, "1 more tap: vision.layers.1.mlp.act");
    free(page);
}

/* ---- the flow
 * ---------------------------------------------------------------------------------- */

static char *flow_page(llava_flow_tap *taps, size_t count)
{
    support_folder folder = support_folder_new();
    llava_html h;
    llava_error e;
    llava_flow_sort(taps, count);
    assert_true(llava_html_open(&h, support_path(&folder, "flow.html"), &e));
    llava_html_put(&h, "<body>");
    llava_flow_write(&h, taps, count, false);
    llava_flow_numbers(&h, taps, count, false);
    llava_html_put(&h, "</body>");
    assert_true(llava_html_close(&h));
    char *page = page_of(&folder, "flow.html");
    assert_null(tags_wrong(page));
    support_folder_remove(&folder);
    return page;
}

static size_t times(const char *page, const char *part)
{
    size_t count = 0;
    for (const char *at = page; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

/* A model of any depth gives a page that opens: so many layers, steps, names and rows are drawn,
 * the rest is counted. */
static void a_flow_without_end_is_cut_and_counted(void **state)
{
    (void)state;
    enum { LAYERS = 130, STEPS = 66, OTHERS = 66, MANY = 4100 };
    static char names[MANY][40];
    static llava_flow_tap taps[MANY];
    size_t n = 0;
    for (size_t i = 0; i < LAYERS; i++) {
        snprintf(names[n++], 40, "text.layers.%zu.norm1", i);
        if (i % 2 == 0) { /* every other layer has no such tap */
            snprintf(names[n++], 40, "text.layers.%zu.output", i);
        }
    }
    for (size_t i = 1; i <= STEPS; i++) {
        snprintf(names[n++], 40, "step.%zu.text.layers.0.output", i);
        snprintf(names[n++], 40, "step.%zu.text.layers.1.output", i);
    }
    size_t known = n;
    for (size_t i = 0; i < OTHERS; i++) {
        snprintf(names[n++], 40, "other.%zu", i);
    }
    for (size_t i = 0; i < n; i++) {
        bool inner = strstr(names[i], "layers.0.output") != NULL;
        taps[i] = (llava_flow_tap){.name = names[n - 1 - i],
                                   .state = inner ? LLAVA_FLOW_OFF : LLAVA_FLOW_WITHIN,
                                   .error = 1e-9,
                                   .allowed = 1e-7,
                                   .total = -1};
    }
    char *page = flow_page(taps, n);
    assert_string_equal(taps[0].name, "text.layers.0.norm1");
    assert_string_equal(taps[known].name, "other.0"); /* names that are no taps come last */
    assert_says(page, "2 more layers are not drawn.");
    assert_says(page, "2 more steps are not drawn.");
    assert_says(page, "and 2 more");
    *strstr(page, "class=\"numbers\"") = '\0'; /* of the grid alone: a layer without such a tap */
    assert_int_equal(times(page, "<td></td>"), (LAYERS - 2) / 2);
    free(page);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], 40, "other.%zu", i);
        taps[i] = (llava_flow_tap){.name = names[i],
                                   .state = i < 50 ? LLAVA_FLOW_ABSENT : LLAVA_FLOW_WITHIN,
                                   .exact = true};
    }
    page = flow_page(taps, MANY);
    assert_says(page, "50 more rows are not drawn.");
    free(page);
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

/* What a terminal acts on: control characters, marks of direction, separators of lines. */
static void characters_that_act_are_known_to_their_edges(void **state)
{
    (void)state;
    static const uint32_t ranges[][2] = {{0, 0x1f},        {0x7f, 0x9f},     {0x200e, 0x200f},
                                         {0x2028, 0x202e}, {0x2066, 0x2069}, {0xfeff, 0xfeff}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        assert_true(llava_character_acts(ranges[i][0]) && llava_character_acts(ranges[i][1]));
        assert_false(llava_character_acts(ranges[i][1] + 1));
        assert_true(i == 0 || !llava_character_acts(ranges[i][0] - 1));
    }
}

/* A page is written whole or not at all: to a disk that fills, or with a part that is too long. */
static void a_page_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    static char longest[3000];
    llava_html h;
    llava_error e;
    memset(longest, 'x', sizeof longest - 1);
    assert_true(llava_html_open(&h, "/dev/full", &e));
    for (int i = 0; i < 100; i++) {
        llava_html_put(&h, longest);
    }
    llava_html_format(&h, "%s", longest); /* the first error is the one that is kept */
    assert_false(llava_html_close(&h));
    support_says(&e, "/dev/full: cannot be written");
    assert_true(llava_html_open(&h, support_path(&folder, "page"), &e));
    llava_html_format(&h, "%s", longest);
    assert_false(llava_html_close(&h));
    support_says(&e, "a part of the report is too long");
    assert_false(program_leaves(&folder, "page"));
    support_folder_remove(&folder);
}

/* Names keep their ends, lists their beginnings. */
static void the_table_cuts_what_is_long(void **state)
{
    (void)state;
    enum { FLIPS = 9 };
    llava_diff_tensor tensors[TENSORS];
    llava_diff r = diff_of(tensors, "pdw");
    llava_flip flips[FLIPS];
    char name[] = "an.extra.name", *names[FLIPS], text[8192], longer[64];
    for (size_t i = 0; i < FLIPS; i++) {
        flips[i] = (llava_flip){
            .sample = i, .near_tie = i % 2 == 0, .margin = (double)NAN, .why = "no tie"};
        names[i] = name;
    }
    snprintf(longer, sizeof longer, "text.layers.0123456789.0123456789.self_attn.q");
    llava_effect effects[] = {
        {LLAVA_VISION_ACT, 1, "vision.layers.0.mlp.act", 1e-4, 1e-4, {.l2 = 1e-3, .max = 1e-3}},
        {LLAVA_TEXT_NORM_EPS, 1, "text.norm", 1e-4, 1, {.l2 = 1e-3, .max = 1e-3}},
        {LLAVA_TEXT_NORM_EPS, 1, "text.norm", 0, 0, {.l2 = 1e-3, .max = 1e-3}}};
    tensors[0].name = longer;
    tensors[1].numbers = (llava_comparison){.count = 0};
    r.flips = (llava_flips){.flips = flips, .count = FLIPS};
    r.effects = effects, r.effect_count = 3;
    r.extra = names, r.extra_count = FLIPS;
    FILE *to = tmpfile();
    assert_non_null(to);
    llava_diff_print(&r, to);
    rewind(to);
    text[fread(text, 1, sizeof text - 1, to)] = '\0';
    fclose(to);
    static const char *const says[] = {
        "  ..3456789.0123456789.self_attn.q [2,3]",
        "first divergence: vision.features (a reason)\n\n", /* nothing counted: no worst element */
        "near tie: generated_ids[0,0]",
        "divergence: generated_ids[7,0]: 0, expected 0\n  no tie\n... and 1 more samples\n",
        "an.extra.name\n",
        " ... and 1 more\n",
        "  vision.act=",
    };
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        if (strstr(text, says[i]) == NULL) {
            fail_msg("the table does not say '%s': %s", says[i], text);
        }
    }
}

static bool print_diff(void *self, llava_error *e)
{
    cJSON *json = llava_diff_json(self);
    cJSON_Delete(json);
    return json != NULL || llava_fail(e, "out of memory");
}

static bool print_diagnosis(void *self, llava_error *e)
{
    cJSON *json = llava_diagnosis_json(self);
    cJSON_Delete(json);
    return json != NULL || llava_fail(e, "out of memory");
}

/* A tree that lacks a part for want of memory is none. */
static void memory_that_runs_out_leaves_no_json(void **state)
{
    (void)state;
    llava_diff_tensor tensors[TENSORS];
    llava_diff r = diff_of(tensors, "pwd");
    llava_flip flip = {.why = "near tie", .near_tie = true};
    llava_effect effect = {LLAVA_VISION_ACT, 1, "vision.layers.0.mlp.act", 1, 1, {1, 1}};
    char name[] = "x.y", *names[] = {name};
    tensors[1].other_shape = true, tensors[1].actual_rank = 2;
    r.flips = (llava_flips){.flips = &flip, .count = 1};
    r.effects = &effect, r.missing = r.extra = names;
    r.effect_count = r.missing_count = r.extra_count = 1;
    assert_true(memory_runs_out(print_diff, &r) > 100);
    char from[][LLAVA_TAP_NAME] = {"a"};
    size_t also[] = {0};
    llava_judged tap = {.name = (char[]){"logits"}, .inherited = true};
    llava_finding f = {
        .span = {.from = from, .from_count = 1},
        .causes = {{.id = {LLAVA_VISION_ACT, LLAVA_TEXT_LAYERS}, .value = {1, 1}, .count = 2}},
        .cause_count = 1,
        .also = also,
        .also_count = 1};
    llava_diagnosis d = {.taps = &tap,
                         .count = 1,
                         .findings = &f,
                         .finding_count = 1,
                         .islands = true,
                         .rounding = {{.id = {LLAVA_NUMERICS_WEIGHTS}, .value = {1}, .count = 1}},
                         .rounding_count = 1,
                         .near_ties = 1};
    assert_true(memory_runs_out(print_diagnosis, &d) > 60);
}

static void numbers_are_short(void **state)
{
    (void)state;
    assert_string_equal(llava_short(1.234e-7).text, "1.2e-7");
    assert_string_equal(llava_short(-2.5e12).text, "-2.5e12");
    assert_string_equal(llava_short(0.03126).text, "0.0313");
    assert_string_equal(llava_short(577).text, "577");
    assert_string_equal(llava_short(0).text, "0");
    assert_string_equal(llava_short((double)NAN).text, "NaN");
    assert_string_equal(llava_short(-(double)INFINITY).text, "-infinite");
    assert_string_equal(llava_short((double)INFINITY).text, "infinite");
}

static void every_decision_has_words(void **state)
{
    (void)state;
    for (int i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const char *phrase = llava_report_phrase((llava_decision_id)i);
        assert_non_null(phrase);
        assert_true(strncmp(phrase, "the ", 4) == 0 || strncmp(phrase, "how ", 4) == 0 ||
                    strncmp(phrase, "which ", 6) == 0);
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

static void what_a_tap_is_says_how_it_is_laid_out(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int rank;
        size_t shape[4];
        llava_view_kind kind;
        size_t samples, heads, rows, columns;
    } rows[] = {
        {"image.rgb", 3, {5, 6, 3}, LLAVA_VIEW_PIXELS, 1, 1, 5, 6},
        {"image.rgb", 3, {5, 6, 4}, LLAVA_VIEW_ROWS, 5, 1, 6, 4},
        {"image.rgb", 2, {5, 3}, LLAVA_VIEW_ROWS, 1, 1, 5, 3},
        {"pixel_values", 4, {2, 3, 5, 6}, LLAVA_VIEW_PLANES, 2, 3, 5, 6},
        {"pixel_values", 4, {2, 4, 5, 6}, LLAVA_VIEW_ROWS, 8, 1, 5, 6},
        {"text.layers.0.attn.q", 4, {2, 5, 3, 4}, LLAVA_VIEW_HEADS_INSIDE, 2, 3, 5, 4},
        {"text.layers.0.attn.probs", 4, {2, 3, 5, 6}, LLAVA_VIEW_HEADS_FIRST, 2, 3, 5, 6},
        {"text.norm", 4, {2, 3, 5, 6}, LLAVA_VIEW_ROWS, 6, 1, 5, 6},
        {"text.norm", 1, {7}, LLAVA_VIEW_ROWS, 1, 1, 1, 7},
        {"loss", 0, {0}, LLAVA_VIEW_ROWS, 1, 1, 1, 1},
        {"no.tap", 4, {2, 3, 5, 6}, LLAVA_VIEW_ROWS, 6, 1, 5, 6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_view_layout l = llava_view_lay_out(rows[i].name, rows[i].rank, rows[i].shape);
        assert_int_equal(l.kind, rows[i].kind);
        assert_int_equal(l.samples, rows[i].samples);
        assert_int_equal(l.heads, rows[i].heads);
        assert_int_equal(l.rows, rows[i].rows);
        assert_int_equal(l.columns, rows[i].columns);
    }
}

/* Two tensors in memory. */
typedef struct {
    const char *name;
    int rank;
    size_t shape[4];
    llava_comparison comparison;
    double expected[2000], actual[2000];
    bool breaks; /* cannot be read */
} pair;

static bool read_pair(void *self, size_t first, size_t n, double *expected, double *actual,
                      llava_error *e)
{
    const pair *p = self;
    assert_true(first + n <= 2000);
    memcpy(expected, p->expected + first, n * sizeof *expected);
    memcpy(actual, p->actual + first, n * sizeof *actual);
    return !p->breaks || llava_fail(e, "it breaks");
}

static bool make_view(pair *p, llava_view **view, llava_error *e)
{
    static const llava_counting counting = {0};
    llava_view_source source = {.read = read_pair,
                                .self = p,
                                .counting = &counting,
                                .name = p->name,
                                .rank = p->rank,
                                .shape = p->shape,
                                .comparison = &p->comparison};
    return llava_view_make(view, &source, e);
}

/* What the page shows of the pair. */
static char *view_page(pair *p, llava_view **view)
{
    static const char *const names[2] = {"expected", "actual"};
    support_folder folder = support_folder_new();
    llava_html h;
    llava_error e;
    assert_true(make_view(p, view, &e));
    assert_true(llava_html_open(&h, support_path(&folder, "view.html"), &e));
    llava_html_put(&h, "<body>");
    llava_view_write(&h, *view, names);
    llava_html_put(&h, "</body>");
    assert_true(llava_html_close(&h));
    char *page = page_of(&folder, "view.html");
    assert_null(tags_wrong(page));
    support_folder_remove(&folder);
    return page;
}

static void normalised_pixels_are_shown_as_the_picture_they_are(void **state)
{
    (void)state;
    enum { PLANE = 4 * 5, SAMPLE = 3 * PLANE };
    pair p = {.name = "pixel_values", .rank = 4, .shape = {2, 3, 4, 5}};
    llava_view *view;
    /* of the second picture, which the worst row lies in: green beyond both ends, blue off */
    p.comparison.worst_row = 3 * 4 + 2 * 4 + 1;
    p.expected[SAMPLE + PLANE] = 100, p.expected[SAMPLE + PLANE + 1] = -100;
    memcpy(p.actual, p.expected, sizeof p.actual);
    p.actual[SAMPLE + 2 * PLANE + 7] = 2.7;
    char *page = view_page(&p, &view);
    uint8_t zero = (uint8_t)(2.2 * 255 / 4.9);
    assert_int_equal(view->worst.sample, 1);
    assert_int_equal(view->worst.head, 2);
    assert_int_equal(view->expected_rgb[0], zero);
    assert_int_equal(view->expected_rgb[1], 255);
    assert_int_equal(view->expected_rgb[3 + 1], 0);
    assert_int_equal(view->expected_rgb[3 * 7 + 2], zero);
    assert_int_equal(view->actual_rgb[3 * 7 + 2], 255);
    assert_int_equal(count_pictures(page), 3);
    assert_says(page,
                "4 rows from top to bottom, 5 pixels from left to right; sample 1, the worst");
    assert_says(page, "as a picture");
    assert_says(page, "The difference is that of the colour which is off most.");
    free(page);
    llava_view_free(view);
}

static void a_large_picture_is_shown_by_some_of_its_pixels(void **state)
{
    (void)state;
    enum { WIDE = 300 };
    pair p = {.name = "image.rgb", .rank = 3, .shape = {2, WIDE, 3}};
    llava_view *view;
    for (size_t i = 0; i < 6 * WIDE; i++) {
        p.expected[i] = p.actual[i] = (double)(i % 251);
    }
    char *page = view_page(&p, &view);
    assert_int_equal(view->whole.wide, 2);
    assert_int_equal(view->whole.columns, WIDE / 2);
    for (size_t i = 0; i < view->whole.columns; i++) { /* every second, all of its colours */
        assert_int_equal(view->expected_rgb[3 * i], 6 * i % 251);
        assert_int_equal(view->expected_rgb[3 * i + 2], (6 * i + 2) % 251);
    }
    assert_says(page, "A cell stands for 1");
    free(page);
    llava_view_free(view);
}

/* NaN and infinity: on both sides no difference, on one side the only one that is pointed at. */
static void what_is_not_finite_is_told_apart(void **state)
{
    (void)state;
    const double inf = (double)INFINITY, nan_ = (double)NAN;
    pair p = {.name = "vision.embed", .rank = 3, .shape = {1, 5, 2}};
    llava_view *view;
    const double expected[] = {nan_, inf, 0, 0, inf, -inf, 0, 0, 0, 0};
    const double actual[] = {nan_, inf, 0, 0, inf, -inf, inf, nan_, 0, 0};
    memcpy(p.expected, expected, sizeof expected);
    memcpy(p.actual, actual, sizeof actual);
    p.comparison.mismatched = 2, p.comparison.worst_index = 6;
    char *page = view_page(&p, &view);
    assert_int_equal(view->unequal_count, 2);
    assert_int_equal(view->unequal[0].index, 6);
    assert_int_equal(view->worst.row, 3);
    assert_true(view->whole.difference[0] == 0 && view->whole.difference[1] == 0);
    assert_true(isnan(view->whole.difference[6]) && isnan(view->whole.difference[7]));
    assert_true(isinf(view->row_error[3]) && view->row_error[2] == 0);
    assert_int_equal(count_pictures(page), 4); /* 2 x 2 patches behind the class row */
    assert_says(page, "Magenta is NaN, or infinite on one side.");
    assert_says(page, "row 0, the class row: 0");
    free(page);
    llava_view_free(view);
}

/* One huge value does not take the colours from all others; rows that are no square of patches get
 * no picture of their errors. */
static void the_scale_is_that_of_most_values(void **state)
{
    (void)state;
    pair p = {.name = "vision.embed", .rank = 3, .shape = {1, 6, 100}};
    llava_view *view;
    for (size_t i = 0; i < 600; i++) {
        p.expected[i] = p.actual[i] = i == 7 ? 1e6 : (double)(i % 3);
    }
    p.actual[8] = 5;
    char *page = view_page(&p, &view);
    assert_int_equal(count_pictures(page), 3);
    assert_says(page, "% of the cells lie beyond the scale");
    free(page);
    llava_view_free(view);
    p.name = "text.norm", p.shape[1] = 2; /* a row of zeros where something should be */
    memset(p.expected, 0, sizeof p.expected);
    page = view_page(&p, &view);
    assert_true(isinf(view->row_error[0]));
    assert_says(page, "to 1.0e6");
    free(page);
    llava_view_free(view);
    p.name = "attention_mask";
    page = view_page(&p, &view);
    assert_int_equal(count_pictures(page), 0);
    assert_says(page, "Ids: attention_mask");
    free(page);
    llava_view_free(view);
}

static void the_head_that_is_off_most_is_shown(void **state)
{
    (void)state;
    pair p = {.name = "text.layers.0.attn.scores", .rank = 4, .shape = {1, 3, 4, 5}};
    llava_view *view;
    p.actual[2 * 20 + 3 * 5] = 1;
    p.comparison.worst_row = 1;
    p.comparison.worst_head = 2, p.comparison.worst_head_l2 = 1;
    char *page = view_page(&p, &view);
    assert_int_equal(view->worst.head, 2);
    assert_int_equal(view->worst.row, 3);
    assert_int_equal(count_pictures(page), 4);
    assert_says(page, "; head 2, the worst of 3");
    assert_says(page, "heads 0 to 2 of 3, 2 in a row");
    free(page);
    llava_view_free(view);
}

static void nothing_is_shown_of_what_has_no_elements(void **state)
{
    (void)state;
    pair p = {.name = "logits", .rank = 0};
    llava_view *view = NULL;
    llava_error e;
    assert_true(make_view(&p, &view, &e));
    assert_null(view);
    for (int axis = 0; axis < 3; axis++) {
        p.rank = 3, p.shape[0] = p.shape[1] = p.shape[2] = 2;
        p.shape[axis] = 0;
        assert_true(make_view(&p, &view, &e));
        assert_null(view);
    }
    p.shape[2] = 2, p.breaks = true;
    assert_false(make_view(&p, &view, &e));
    assert_string_equal(e.text, "it breaks");
    llava_view_free(view);
}

/* Too many rows for an error of each, and a row that is read in parts. */
static void long_tensors_are_read_in_parts(void **state)
{
    (void)state;
    static const size_t shapes[2][3] = {{1, 17000, 1}, {1, 2, 70000}};
    for (size_t i = 0; i < 2; i++) {
        size_t count = shapes[i][1] * shapes[i][2];
        made m = {.count = count, .wrong = count - 2};
        llava_counting counting = {0};
        llava_comparison comparison = {0};
        llava_view_source source = {.read = read_made,
                                    .self = &m,
                                    .counting = &counting,
                                    .name = "logits",
                                    .rank = 3,
                                    .shape = shapes[i],
                                    .comparison = &comparison};
        llava_view *view;
        llava_error e;
        assert_true(llava_view_make(&view, &source, &e));
        assert_int_equal(m.next, count);
        assert_int_equal(view->row_error_count, i == 0 ? 0 : 2);
        assert_int_equal(view->unequal[0].index, m.wrong);
        llava_view_free(view);
    }
}

typedef struct {
    pair *pair;
    const support_folder *folder;
} viewing;

static bool write_view(void *self, llava_error *e)
{
    static const char *const names[2] = {"expected", "actual"};
    const viewing *v = self;
    llava_view *view;
    llava_html h;
    if (!make_view(v->pair, &view, e)) {
        return false;
    }
    bool ok = llava_html_open(&h, support_path(v->folder, "view.html"), e);
    if (ok) {
        llava_view_write(&h, view, names);
        ok = llava_html_close(&h);
    }
    llava_view_free(view);
    return ok;
}

static void memory_that_runs_out_leaves_no_page(void **state)
{
    (void)state;
    static pair pairs[] = {{.name = "pixel_values", .rank = 4, .shape = {1, 3, 4, 5}},
                           {.name = "vision.embed", .rank = 3, .shape = {1, 4, 3}},
                           {.name = "text.layers.0.attn.scores", .rank = 4, .shape = {1, 3, 4, 5}}};
    support_folder folder = support_folder_new();
    for (size_t i = 0; i < 3; i++) {
        viewing v = {&pairs[i], &folder};
        assert_true(memory_runs_out(write_view, &v) > 12);
    }
    support_folder_remove(&folder);
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
        cmocka_unit_test(a_comparison_is_told_in_a_sentence),
        cmocka_unit_test(what_a_comparison_found_besides_is_on_the_page),
        cmocka_unit_test(tokens_that_tie_are_a_sentence_of_their_own),
        cmocka_unit_test(a_diagnosis_is_told_in_a_sentence),
        cmocka_unit_test(a_diagnosis_without_findings_says_why),
        cmocka_unit_test(a_finding_says_where_and_how_to_repeat_it),
        cmocka_unit_test(a_flow_without_end_is_cut_and_counted),
        cmocka_unit_test(text_is_escaped_and_cut_at_whole_characters),
        cmocka_unit_test(characters_that_act_are_known_to_their_edges),
        cmocka_unit_test(a_page_that_does_not_fit_is_refused),
        cmocka_unit_test(the_table_cuts_what_is_long),
        cmocka_unit_test(memory_that_runs_out_leaves_no_json),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(every_decision_has_words),
        cmocka_unit_test(one_wrong_value_of_a_million_is_seen),
        cmocka_unit_test(what_a_tap_is_says_how_it_is_laid_out),
        cmocka_unit_test(normalised_pixels_are_shown_as_the_picture_they_are),
        cmocka_unit_test(a_large_picture_is_shown_by_some_of_its_pixels),
        cmocka_unit_test(what_is_not_finite_is_told_apart),
        cmocka_unit_test(the_scale_is_that_of_most_values),
        cmocka_unit_test(the_head_that_is_off_most_is_shown),
        cmocka_unit_test(nothing_is_shown_of_what_has_no_elements),
        cmocka_unit_test(long_tensors_are_read_in_parts),
        cmocka_unit_test(memory_that_runs_out_leaves_no_page),
        cmocka_unit_test(heads_are_told_apart_by_where_they_stand_in_the_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
