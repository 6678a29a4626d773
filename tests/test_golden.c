/* Every golden case, end to end: the program runs as case.json says, and its dump is held against
 * what transformers computed. Integers, ids and pictures exactly; the rest relative to the largest
 * value of the golden's row, with the tolerance that the case states (golden/README.md derives it).
 */
#include "ref/file.h"
#include "ref/json.h"
#include "tests/golden_case.h"
#include "tests/support.h"
#include "tools/command.h"
#include "tools/dump.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    const char *folder; /* golden/CASE */
    char home[4096];    /* where the test began */
    cJSON *json;
} golden;

/* ---- running ------------------------------------------------------------------------------------
 */

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

/* The printed answer is the golden's, one line per sample (a line may hold a line feed itself). */
static void check_answer(const golden *g, const char *printed)
{
    const cJSON *answers = cJSON_GetObjectItemCaseSensitive(g->json, "answer"), *answer;
    llava_file file;
    llava_error e;
    if (answers == NULL) {
        return;
    }
    assert_true(llava_file_map(&file, printed, &e));
    size_t at = 0;
    cJSON_ArrayForEach(answer, answers)
    {
        size_t n = strlen(answer->valuestring);
        assert_true(file.size >= at + n + 1);
        assert_memory_equal(file.bytes + at, answer->valuestring, n);
        assert_int_equal(file.bytes[at + n], '\n');
        at += n + 1;
    }
    assert_int_equal(at, file.size);
    llava_file_unmap(&file);
}

/* ---- comparing ----------------------------------------------------------------------------------
 */

/* Which positions count: the attention mask, the decoding step's new columns added. */
typedef struct {
    size_t batch, length;
    int64_t *mask; /* [B, S]; NULL: all */
    double *sees;  /* [B, S, S]: a mask of four dimensions, as it is added or seen; NULL */
    bool added;
} counting;

/* Contract section 11: a very low number, or a 0 that is not to be added, hides a key. */
static bool sees(const counting *c, size_t b, size_t query, size_t key)
{
    double value = c->sees[(b * c->length + query) * c->length + key];
    return c->added ? value > -1e4 : value != 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Does query row `row` (all axes but the last flattened) of this tap count, and in scores its key?
 * Contract section 2: not in padded rows, nor for keys that are masked. */
static bool counts(const counting *c, const char *name, const llava_array *a, size_t row,
                   size_t key)
{
    bool step = strncmp(name, "step.", 5) == 0;
    bool text = strstr(name, "text.") != NULL || ends_with(name, "logits");
    if (!text || (c->mask == NULL && c->sees == NULL) || a->rank < 3) {
        return true;
    }
    size_t rows = 1; /* rows of one sample */
    for (int i = 1; i < a->rank - 1; i++) {
        rows *= a->shape[i];
    }
    size_t b = row / rows, inner = row % rows;
    bool keyed = ends_with(name, ".scores") || ends_with(name, ".probs");
    if (c->sees != NULL && keyed) {
        return sees(c, b, inner % a->shape[2], key);
    }
    if (c->sees != NULL) {
        return true; /* in the cases that there are, every query sees itself */
    }
    if (keyed) {
        size_t query = inner % a->shape[2], past = a->shape[3] - a->shape[2];
        bool query_counts = step || c->mask[b * c->length + query] != 0;
        bool key_counts = key >= c->length || c->mask[b * c->length + key] != 0;
        return query_counts && key_counts && key <= past + query;
    }
    size_t query = a->rank == 4 ? inner / a->shape[2] : inner;
    query += strcmp(name, "logits") == 0 ? c->length - a->shape[1] : 0; /* the last positions */
    return step || c->mask[b * c->length + query] != 0;
}

/* Largest difference relative to the golden row's largest value, over what counts; infinity where
 * only one side is NaN. */
static double difference(const counting *c, const char *name, const llava_array *a,
                         const double *expected, const double *actual)
{
    size_t width = a->rank == 0 ? 1 : a->shape[a->rank - 1];
    double worst = 0;
    for (size_t row = 0; row < a->count / width; row++) {
        double scale = 0, most = 0;
        for (size_t i = 0; i < width; i++) {
            double x = expected[row * width + i], y = actual[row * width + i];
            if (isfinite(x)) {
                scale = fmax(scale, fabs(x));
            }
            if (!counts(c, name, a, row, i) || (isnan(x) && isnan(y))) {
                continue;
            }
            if (isnan(x) || isnan(y)) {
                return INFINITY;
            }
            most = fmax(most, fabs(x - y));
        }
        double relative = most == 0 ? 0 : most / scale;
        worst = fmax(worst, relative);
    }
    return worst;
}

static bool exact(const llava_dump_entry *entry)
{
    return entry->array.kind != 'f' || strcmp(entry->name, "pixel_values") == 0;
}

/* The tolerance of one tap: the dump's one number, or its own in the file that the dump names. */
static double tolerance_of(const cJSON *dump, const cJSON *own, const char *name)
{
    const cJSON *one = cJSON_GetObjectItemCaseSensitive(dump, "tolerance");
    const cJSON *number = one != NULL ? one : cJSON_GetObjectItemCaseSensitive(own, name);
    assert_true(cJSON_IsNumber(number));
    return number->valuedouble;
}

static void check_tap(const golden *g, const counting *c, const cJSON *dump, const cJSON *own,
                      llava_dump *expected, llava_dump *actual, const llava_dump_entry *want)
{
    llava_error e;
    const llava_dump_entry *have = llava_dump_find(actual, want->name);
    if (have == NULL) {
        fail_msg("%s: %s: missing", g->folder, want->name);
    }
    bool same = have->array.rank == want->array.rank;
    for (int i = 0; same && i < want->array.rank; i++) {
        same = have->array.shape[i] == want->array.shape[i];
    }
    if (!same) {
        fail_msg("%s: %s: another shape", g->folder, want->name);
    }
    double *x, *y;
    assert_true(llava_dump_load(expected, want, &x, &e));
    assert_true(llava_dump_load(actual, have, &y, &e));
    double tolerance = exact(want) ? 0 : tolerance_of(dump, own, want->name);
    double found = difference(c, want->name, &want->array, x, y);
    if (!(found <= tolerance)) {
        fail_msg("%s: %s: %s: %.3g, tolerance %.3g", g->folder, text_of(dump, "file"), want->name,
                 found, tolerance);
    }
    free(x);
    free(y);
}

static void read_mask(llava_dump *dump, counting *c)
{
    llava_error e;
    const llava_dump_entry *mask = llava_dump_find(dump, "attention_mask");
    *c = (counting){0};
    if (mask != NULL && mask->array.rank == 4) {
        c->length = mask->array.shape[2];
        c->added = mask->array.kind == 'f';
        assert_true(llava_dump_load(dump, mask, &c->sees, &e));
    } else if (mask != NULL) {
        c->batch = mask->array.shape[0];
        c->length = mask->array.shape[1];
        assert_true(llava_dump_load_integers(dump, mask, &c->mask, &e));
    }
}

static void check_dump(const golden *g, const cJSON *dump, const char *out)
{
    llava_error e;
    llava_dump *expected, *actual;
    const cJSON *tolerances = cJSON_GetObjectItemCaseSensitive(dump, "tolerances");
    cJSON *own = tolerances == NULL ? NULL : llava_json_read(tolerances->valuestring, &e);
    assert_true(llava_dump_open(&expected, text_of(dump, "file"), &e));
    assert_true(llava_dump_open(&actual, out, &e));
    counting c;
    read_mask(actual, &c);
    for (size_t i = 0; i < llava_dump_count(expected); i++) {
        check_tap(g, &c, dump, own, expected, actual, llava_dump_at(expected, i));
    }
    assert_int_equal(llava_dump_count(actual), llava_dump_count(expected));
    free(c.mask);
    free(c.sees);
    llava_dump_close(expected);
    llava_dump_close(actual);
    cJSON_Delete(own);
}

static void golden_case_agrees(void **state)
{
    golden *g = *state;
    llava_error e = {""};
    support_folder folder = support_folder_new();
    assert_int_equal(chdir(g->folder), 0);
    char out[300], printed[300];
    snprintf(out, sizeof out, "%s", support_path(&folder, "out.npz"));
    snprintf(printed, sizeof printed, "%s", support_path(&folder, "printed"));
    g->json = llava_json_read("case.json", &e);
    assert_non_null(g->json);
    size_t compared = 0;
    const cJSON *dump;
    cJSON_ArrayForEach(dump, cJSON_GetObjectItemCaseSensitive(g->json, "dumps"))
    {
        if (!cJSON_HasObjectItem(dump, "tolerance") && !cJSON_HasObjectItem(dump, "tolerances")) {
            continue; /* a peer: nothing is promised tap by tap */
        }
        char *words[GOLDEN_WORDS];
        char *const more[] = {"--dtype",    (char *)text_of(dump, "dtype"),
                              "--numerics", (char *)text_of(dump, "numerics"),
                              "--dump",     out,
                              NULL};
        int count = golden_words(g->json, more, words);
        if (golden_run(count, words, printed, &e) != LLAVA_DONE) {
            fail_msg("%s: %s", g->folder, e.text);
        }
        check_dump(g, dump, out);
        check_answer(g, printed);
        compared++;
    }
    assert_true(compared > 0);
    cJSON_Delete(g->json);
    support_folder_remove(&folder);
}

static int remember_folder(void **state)
{
    golden *g = *state;
    return getcwd(g->home, sizeof g->home) == NULL ? -1 : 0;
}

static int return_to_folder(void **state)
{
    golden *g = *state;
    return chdir(g->home);
}

/* The comparison itself sees an error just above the tolerance, a NaN, and nothing in padded rows.
 */
static void comparison_sees_planted_errors(void **state)
{
    (void)state;
    int64_t mask[] = {0, 1, 1};
    counting c = {.batch = 1, .length = 3, .mask = mask};
    llava_array a = {.kind = 'f', .size = 8, .rank = 3, .shape = {1, 3, 2}, .count = 6};
    double x[] = {9, 9, 1, -4, 2, 3}, y[] = {NAN, 7, 1, -4, 2, 3};
    assert_true(difference(&c, "text.norm", &a, x, y) == 0);
    y[2] = 1 + 8e-12;
    double found = difference(&c, "text.norm", &a, x, y);
    assert_true(found > 1e-12 && found < 3e-12);
    y[2] = NAN;
    assert_true(isinf(difference(&c, "text.norm", &a, x, y)));
    assert_true(isinf(difference(&c, "vision.norm", &a, x, y)));
}

/* ---- the cases ----------------------------------------------------------------------------------
 */

enum { MOST = 128 };

typedef struct {
    struct CMUnitTest tests[MOST];
    golden goldens[MOST];
    size_t count;
} listing;

static void add_case(void *self, const char *folder)
{
    listing *l = self;
    if (l->count == MOST - 1) {
        fputs("test_golden: more cases than MOST\n", stderr);
        exit(1);
    }
    golden *g = &l->goldens[l->count];
    g->folder = strdup(folder);
    l->tests[l->count++] = (struct CMUnitTest){.name = g->folder,
                                               .test_func = golden_case_agrees,
                                               .setup_func = remember_folder,
                                               .teardown_func = return_to_folder,
                                               .initial_state = g};
}

int main(void)
{
    listing *l = calloc(1, sizeof *l);
    if (l == NULL || golden_each(add_case, l) < 20) {
        fputs("test_golden: run from the top of the tree, where golden/ has at least 20 cases\n",
              stderr);
        return 1;
    }
    l->tests[l->count] = (struct CMUnitTest)cmocka_unit_test(comparison_sees_planted_errors);
    int failed = _cmocka_run_group_tests("golden", l->tests, l->count + 1, NULL, NULL);
    for (size_t i = 0; i < l->count; i++) {
        free((char *)l->goldens[i].folder);
    }
    free(l);
    return failed;
}
