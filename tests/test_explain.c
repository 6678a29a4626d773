/* llava-ref explain: every name is explained, on a page of 100 columns. */
#include "ref/decisions.h"
#include "ref/taps.h"
#include "tests/support.h"
#include "tools/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 1 << 16 };

/* What explain prints about a word (NULL: none), in a buffer that the next call overwrites. */
static const char *page_of(const char *word, int *status, llava_error *e)
{
    static char page[PAGE];
    support_folder folder = support_folder_new();
    char copy[512], *words[] = {copy};
    snprintf(copy, sizeof copy, "%s", word == NULL ? "" : word);
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(support_path(&folder, "page"), "w", stdout));
    *status = llava_command_explain.run(word != NULL, words, e);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    FILE *file = fopen(support_path(&folder, "page"), "r");
    assert_non_null(file);
    page[fread(page, 1, PAGE - 1, file)] = '\0';
    fclose(file);
    support_folder_remove(&folder);
    return page;
}

static const char *explained(const char *word)
{
    llava_error e = {""};
    int status;
    const char *page = page_of(word, &status, &e);
    if (status != LLAVA_DONE) {
        fail_msg("%s: %s", word, e.text);
    }
    return page;
}

/* No line is longer than 100 columns, unless it is one long word. */
static void check_columns(const char *page)
{
    for (const char *line = page; *line != '\0';) {
        size_t n = strcspn(line, "\n"), indent = strspn(line, " ");
        if (n > 100 && memchr(line + indent, ' ', n - indent) != NULL) {
            fail_msg("%zu columns: %.*s", n, (int)n, line);
        }
        line += n + (line[n] == '\n');
    }
}

static void holds(const char *page, const char *part)
{
    if (strstr(page, part) == NULL) {
        fail_msg("'%s' is missing in:\n%.500s", part, page);
    }
}

static void every_decision_is_explained(void **state)
{
    (void)state;
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)i);
        const char *page = explained(d->name);
        char part[128];
        check_columns(page);
        for (size_t v = 0; d->values[v] != NULL; v++) {
            holds(page, d->values[v]);
        }
        snprintf(part, sizeof part, "%s (default)", d->values[0]);
        holds(page, part);
        snprintf(part, sizeof part, "--set %s=%s", d->name, d->values[1]);
        holds(page, part);
        holds(page, d->acts[0]);
    }
}

static void every_tap_is_explained(void **state)
{
    (void)state;
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    for (size_t k = 0; k < count; k++) {
        const char *page = explained(kinds[k].name);
        char part[64];
        check_columns(page);
        holds(page, "formula");
        holds(page, "source");
        snprintf(part, sizeof part, "[%s]", kinds[k].shape);
        holds(page, part);
    }
}

/* Each letter of a shape that is no number has its word. */
static void shapes_have_their_letters_explained(void **state)
{
    (void)state;
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    for (size_t k = 0; k < count; k++) {
        const char *page = explained(kinds[k].name);
        for (const char *at = kinds[k].shape; *at != '\0'; at++) {
            char first[8], later[8];
            snprintf(first, sizeof first, ": %c%s ", *at, at[1] == '\'' ? "'" : "");
            snprintf(later, sizeof later, ", %c%s ", *at, at[1] == '\'' ? "'" : "");
            if (strchr(",'3", *at) == NULL && strstr(page, first) == NULL &&
                strstr(page, later) == NULL) {
                fail_msg("%s: %c of [%s]", kinds[k].name, *at, kinds[k].shape);
            }
        }
    }
}

static void numbered_names_work(void **state)
{
    (void)state;
    holds(explained("text.layers.31.attn.q_rope"), "text.layers.{i}.attn.q_rope");
    holds(explained("text.layers.i.attn.q_rope"), "text.rope_pairing");
    holds(explained("step.3.logits"), "step.{g}.logits");
    holds(explained("step.12.text.layers.0.norm1"), "step.{g}.text.layers.{i}.norm1");
    holds(explained("step.1.position_ids"), "cache.position");
    assert_null(strstr(explained("position_ids"), "cache.position"));
    holds(explained("image.3.resized"), "image.antialias");
}

static void both_are_explained_where_a_tap_and_a_decision_share_a_name(void **state)
{
    (void)state;
    const char *page = explained("vision.pre_norm");
    holds(page, "formula");
    holds(page, "--set vision.pre_norm=absent");
}

static void the_list_has_everything_in_the_order_of_the_flow(void **state)
{
    (void)state;
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    const char *page = explained(NULL), *at = page;
    check_columns(page);
    for (size_t k = 0; k < count; k++) {
        char line[128];
        snprintf(line, sizeof line, "\n%-32s [%s]\n", kinds[k].name, kinds[k].shape);
        at = strstr(at, line);
        if (at == NULL) {
            fail_msg("%s: not in its place", kinds[k].name);
        }
    }
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "\n    %s ", llava_decision_at((llava_decision_id)i)->name);
        holds(page, name);
    }
}

static void unknown_words_are_refused_with_a_guess(void **state)
{
    (void)state;
    static const struct {
        const char *word, *guess;
    } cases[] = {
        {"text.layer.3.attn.q", "did you mean text.layers.{i}.attn.q?"},
        {"vision.norm_esp", "did you mean vision.norm_eps?"},
        {"cls_position", "did you mean vision.cls_position?"},
        {"vision.act=gelu", "did you mean vision.act?"},
        {"step.1.vision.embed", "did you mean vision.embed?"},
        {"xyzzy", "explain lists them"},
        {"", "explain lists them"},
        {"step.", "explain lists them"},
    };
    llava_error e = {""};
    int status;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(page_of(cases[i].word, &status, &e), "");
        assert_int_equal(status, LLAVA_CANNOT);
        support_says(&e, cases[i].guess);
    }
    char endless[400];
    memset(endless, 'q', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    page_of(endless, &status, &e);
    assert_int_equal(status, LLAVA_CANNOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_decision_is_explained),
        cmocka_unit_test(every_tap_is_explained),
        cmocka_unit_test(shapes_have_their_letters_explained),
        cmocka_unit_test(numbered_names_work),
        cmocka_unit_test(both_are_explained_where_a_tap_and_a_decision_share_a_name),
        cmocka_unit_test(the_list_has_everything_in_the_order_of_the_flow),
        cmocka_unit_test(unknown_words_are_refused_with_a_guess),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
