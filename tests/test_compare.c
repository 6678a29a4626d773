/* Comparison of two tensors: every statistic against a plain evaluation of its formula, what counts
 * and what does not, and that the pieces a tensor comes in change nothing. */
#include "tests/memory.h"
#include "tests/support.h"
#include "tools/compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a tensor and its plain evaluation
 * ---------------------------------------------------------- */

enum { ROOM = 1 << 12 };

typedef struct {
    const char *name;
    int rank;
    size_t shape[4];
    llava_counting counting;
    double expected[ROOM], actual[ROOM];
    size_t count;
} pair;

/* Random expected values, and actual ones off by about `off`. */
static void fill(pair *p, uint64_t seed, double off)
{
    p->count = 1;
    for (int i = 0; i < p->rank; i++) {
        p->count *= p->shape[i];
    }
    assert_true(p->count <= ROOM);
    for (size_t i = 0; i < p->count; i++) {
        p->expected[i] = support_random(&seed);
        p->actual[i] = p->expected[i] + off * support_random(&seed);
    }
}

/* Does element i count? From the contract's words: not the rows of padded positions, not keys that
 * are padded or later than the query. The tensor's layout is told by its name. */
static bool counts(const pair *p, size_t i)
{
    const llava_counting *c = &p->counting;
    if (c->length == 0 || strncmp(p->name, "text.", 5) != 0) {
        return true;
    }
    size_t width = p->shape[p->rank - 1];
    bool keys = strstr(p->name, "scores") != NULL;
    size_t sample = i / (p->count / p->shape[0]);
    size_t query = keys           ? i / width % p->shape[2]
                   : p->rank == 4 ? i / width / p->shape[2] % p->shape[1]
                                  : i / width % p->shape[1];
    const int64_t *mask = c->mask + sample * c->length;
    return mask[query] != 0 && (!keys || (i % width <= query && mask[i % width] != 0));
}

typedef struct {
    double dd, ee, aa, ea, max_abs, rel_max;
    size_t count, unequal, worst, worst_row;
} plain;

static plain evaluate(const pair *p)
{
    plain r = {0};
    size_t width = p->rank == 0 ? 1 : p->shape[p->rank - 1];
    double worst_row = 0, head_d[ROOM] = {0}, head_e[ROOM] = {0};
    /* [B,h,S,S'] by heads and [N,3,h,w] by channels, not by rows */
    bool apart = strstr(p->name, "scores") != NULL || strcmp(p->name, "pixel_values") == 0;
    for (size_t row = 0; row < p->count / width; row++) {
        double dd = 0, max_d = 0, max_e = 0;
        for (size_t i = row * width; i < (row + 1) * width; i++) {
            if (!counts(p, i)) {
                continue;
            }
            double d = p->actual[i] - p->expected[i];
            r.count++;
            r.unequal += d != 0;
            dd += d * d;
            r.ee += p->expected[i] * p->expected[i];
            r.aa += p->actual[i] * p->actual[i];
            r.ea += p->expected[i] * p->actual[i];
            if (fabs(d) > r.max_abs) {
                r.max_abs = fabs(d);
                r.worst = i;
            }
            max_d = fmax(max_d, fabs(d));
            max_e = fmax(max_e, fabs(p->expected[i]));
        }
        r.dd += dd;
        size_t of = apart ? row / p->shape[2] % p->shape[1] : row;
        head_d[of] = fmax(head_d[of], max_d);
        head_e[of] = fmax(head_e[of], max_e);
        if (dd > worst_row) {
            worst_row = dd;
            r.worst_row = row;
        }
    }
    for (size_t of = 0; of < ROOM; of++) {
        r.rel_max = head_d[of] > 0 ? fmax(r.rel_max, head_d[of] / head_e[of]) : r.rel_max;
    }
    return r;
}

static llava_comparison compared(const pair *p)
{
    llava_comparison c;
    llava_error e;
    assert_true(
        llava_compare(&p->counting, p->name, p->rank, p->shape, p->expected, p->actual, &c, &e));
    return c;
}

/* Sums of a few thousand squares in another order: below 1e-12 of each other. */
static void near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12 * fabs(b))) {
        fail_msg("%.17g is not %.17g", a, b);
    }
}

static void check(const pair *p)
{
    llava_comparison c = compared(p);
    plain r = evaluate(p);
    assert_int_equal(c.count, r.count);
    assert_int_equal(c.unequal, r.unequal);
    near(c.rel_l2, sqrt(r.dd / r.ee));
    near(c.norm, sqrt(r.ee));
    near(c.cosine, r.ea / sqrt(r.ee * r.aa));
    assert_true(c.max_abs == r.max_abs);
    assert_true(c.rel_max == r.rel_max);
    assert_int_equal(c.worst_index, r.worst);
    assert_true(c.worst_expected == p->expected[r.worst]);
    assert_true(c.worst_actual == p->actual[r.worst]);
    assert_int_equal(c.worst_row, r.worst_row);
    assert_int_equal(c.mismatched, 0);
}

static int64_t left_padded[] = {0, 0, 1, 1, 1, 1, 1, 1, 1, 1};

static void test_statistics_are_their_formulas(void **state)
{
    static const struct {
        const char *name;
        int rank;
        size_t shape[4];
        bool masked;
    } rows[] = {
        {"a port's own", 4, {1, 2, 3, 2}, true},
        {"pixel_values", 4, {2, 3, 4, 5}, false},
        {"vision.embed", 3, {2, 7, 13}, false},
        {"vision.layers.1.attn.scores", 4, {1, 3, 5, 5}, true},
        {"text.norm", 3, {2, 5, 11}, true},
        {"text.layers.0.attn.q", 4, {2, 5, 3, 4}, true},
        {"text.layers.0.attn.scores", 4, {2, 3, 5, 5}, true},
        {"loss", 0, {0}, false},
        {"logits of a port", 2, {3, 8}, true},
        {"pixel_values", 4, {1, 3, 4, 5}, true}, /* four axes, and none of them heads */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static pair p;
        p = (pair){.name = rows[i].name, .rank = rows[i].rank};
        memcpy(p.shape, rows[i].shape, sizeof p.shape);
        if (rows[i].masked) {
            p.counting = (llava_counting){.batch = 2, .length = 5, .mask = left_padded};
        }
        fill(&p, i + 1, 1e-3);
        check(&p);
    }
}

static void test_what_does_not_count_may_be_anything(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "text.layers.0.attn.scores", .rank = 4, .shape = {2, 3, 5, 5}};
    p.counting = (llava_counting){.batch = 2, .length = 5, .mask = left_padded};
    fill(&p, 7, 1e-3);
    llava_comparison before = compared(&p);
    for (size_t i = 0; i < p.count; i++) {
        if (!counts(&p, i)) {
            p.expected[i] = i % 3 == 0 ? (double)NAN : 1e30;
            p.actual[i] = i % 2 == 0 ? (double)-INFINITY : -1e30;
        }
    }
    llava_comparison after = compared(&p);
    assert_true(memcmp(&before, &after, sizeof before) == 0);
}

static void test_positions_of_padding_do_not_count(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "position_ids", .rank = 2, .shape = {2, 5}};
    p.counting = (llava_counting){.batch = 2, .length = 5, .mask = left_padded};
    fill(&p, 7, 0);
    p.actual[1] = 1;
    assert_int_equal(compared(&p).unequal, 0);
    p.actual[2] = 1;
    assert_int_equal(compared(&p).unequal, 1);
}

/* A decoding step sees the prompt's unpadded keys and itself. */
static void test_a_step_sees_all_keys_but_padding(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "step.2.text.layers.0.attn.probs", .rank = 4, .shape = {2, 1, 1, 7}};
    p.counting = (llava_counting){.batch = 2, .length = 5, .mask = left_padded};
    fill(&p, 3, 1e-3);
    assert_int_equal(compared(&p).count, 14 - 2);
    p.actual[1] = (double)NAN; /* padding */
    assert_int_equal(compared(&p).mismatched, 0);
    p.actual[6] = (double)NAN; /* the step's own key */
    assert_int_equal(compared(&p).mismatched, 1);
}

/* ---- NaN, infinities, zeros -------------------------------------------------------------------
 */

static void test_nan_and_infinities(void **state)
{
    static const struct {
        double expected, actual;
        bool mismatch;
    } rows[] = {
        {NAN, 1, true},
        {1, NAN, true},
        {NAN, NAN, true},
        {INFINITY, 1, true},
        {1, -INFINITY, true},
        {INFINITY, -INFINITY, true},
        {INFINITY, INFINITY, false},
        {-INFINITY, -INFINITY, false},
        {0.0, -0.0, false},
        {1e300, 1e300, false}, /* its square is an infinity, it is not */
    };
    static pair p;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        p = (pair){.name = "vision.embed", .rank = 3, .shape = {1, 3, 11}};
        fill(&p, 5, 0);
        p.expected[17] = rows[i].expected;
        p.actual[17] = rows[i].actual;
        llava_comparison c = compared(&p);
        assert_int_equal(c.mismatched, rows[i].mismatch);
        assert_int_equal(c.unequal, rows[i].mismatch);
        assert_int_equal(c.nan_expected, isnan(rows[i].expected) != 0);
        assert_int_equal(c.nan_actual, isnan(rows[i].actual) != 0);
        assert_int_equal(c.inf_expected, isinf(rows[i].expected) != 0);
        assert_int_equal(c.inf_actual, isinf(rows[i].actual) != 0);
        assert_int_equal(c.worst_index, rows[i].mismatch ? 17 : 0);
        assert_true(c.rel_l2 == 0); /* the rest is equal */
    }
}

static void test_differences_whose_square_vanishes_are_seen(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "vision.embed", .rank = 3, .shape = {1, 2, 9}};
    fill(&p, 5, 0);
    p.expected[4] = 0;
    p.actual[4] = 1e-200;
    llava_comparison c = compared(&p);
    assert_int_equal(c.unequal, 1);
    assert_true(c.max_abs == 1e-200);
    assert_int_equal(c.worst_index, 4);
}

static void test_zeros_against_something(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "vision.embed", .rank = 3, .shape = {1, 2, 9}};
    fill(&p, 5, 0);
    memset(p.expected, 0, sizeof p.expected);
    llava_comparison c = compared(&p);
    assert_true(c.rel_l2 == (double)INFINITY && c.rel_max == (double)INFINITY && c.cosine == 0);
    memset(p.actual, 0, sizeof p.actual);
    c = compared(&p);
    assert_true(c.rel_l2 == 0 && c.rel_max == 0 && c.cosine == 1 && c.unequal == 0);
}

/* A head whose expected values are all zero is infinitely far off, and not the others. */
static void test_a_head_of_zeros(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "vision.layers.0.attn.q", .rank = 4, .shape = {1, 2, 3, 4}};
    fill(&p, 5, 1e-3);
    for (size_t i = 0; i < p.count; i++) {
        p.expected[i] = i / 4 % 3 == 1 ? 0 : p.expected[i];
    }
    llava_comparison c = compared(&p);
    assert_true(c.worst_head == 1 && c.worst_head_l2 == (double)INFINITY);
    assert_true(isfinite(c.rel_l2));
}

/* Numbers so large that a square of theirs is an infinity are no infinities. */
static void test_squares_that_overflow(void **state)
{
    static const struct {
        double expected, actual;
    } rows[] = {{1e154, 1.5e154}, {1.5e154, 1e154}, {-1e154, 1e154}, {1e200, 1e200}};
    static pair p;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        p = (pair){.name = "vision.embed", .rank = 3, .shape = {1, 1, 1}, .count = 1};
        p.expected[0] = rows[i].expected;
        p.actual[0] = rows[i].actual;
        llava_comparison c = compared(&p);
        assert_int_equal(c.count, 1);
        assert_int_equal(c.mismatched, 0);
        assert_int_equal(c.unequal, rows[i].expected != rows[i].actual);
        assert_true(c.max_abs == fabs(rows[i].actual - rows[i].expected));
    }
}

/* ---- where ------------------------------------------------------------------------------------
 */

/* One wrong row of 577 vanishes in the average, and stands out as the worst row. */
static void test_one_wrong_row_and_one_wrong_head_are_named(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "vision.layers.0.attn.q", .rank = 4, .shape = {1, 60, 4, 8}};
    fill(&p, 9, 1e-6);
    for (size_t s = 0; s < 60; s++) {
        p.actual[(s * 4 + 2) * 8 + 1] += 1e-3;
    }
    llava_comparison c = compared(&p);
    assert_int_equal(c.worst_head, 2);
    assert_true(c.worst_head_l2 > 1.9 * c.rel_l2); /* a quarter of the squares holds all of it */

    p = (pair){.name = "vision.layers.0.attn.scores", .rank = 4, .shape = {1, 3, 9, 9}};
    fill(&p, 9, 1e-6);
    p.actual[(1 * 9 + 5) * 9 + 4] += 0.1;
    c = compared(&p);
    assert_int_equal(c.worst_head, 1);
    assert_int_equal(c.worst_row, 1 * 9 + 5);
    assert_int_equal(c.worst_index, (1 * 9 + 5) * 9 + 4);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static llava_comparison compared_in_pieces(const pair *p, size_t piece)
{
    llava_comparer *c;
    llava_error e;
    assert_true(llava_comparer_open(&c, &p->counting, p->name, p->rank, p->shape, &e));
    assert_true(llava_comparer_quantiles(c, &e));
    for (size_t at = 0; at < p->count; at += piece) {
        size_t n = p->count - at < piece ? p->count - at : piece;
        llava_comparer_add(c, p->expected + at, p->actual + at, n);
    }
    return llava_comparer_close(c);
}

static void test_quantiles_are_order_statistics(void **state)
{
    static pair p;
    static double d[ROOM];
    (void)state;
    p = (pair){.name = "vision.embed", .rank = 3, .shape = {1, 11, 91}};
    fill(&p, 9, 1e-3);
    for (size_t i = 0; i < p.count; i++) {
        d[i] = fabs(p.actual[i] - p.expected[i]);
    }
    qsort(d, p.count, sizeof d[0], ascending);
    llava_comparison c = compared_in_pieces(&p, p.count);
    assert_true(c.quantiles[0] == d[500]);
    assert_true(c.quantiles[1] == d[900]);
    assert_true(c.quantiles[2] == d[990]);
    assert_true(c.quantiles[3] == d[999]);
    /* values of about 2^-1, differences of about 2^-11 */
    assert_true(c.equal_bits > 8 && c.equal_bits < 12);
}

/* Of some positions alone: rows of [B,S,H], and of each head's [B,h,S,S']. */
static void test_positions_that_are_wanted(void **state)
{
    static const struct {
        const char *name;
        int rank;
        size_t shape[4], per_position;
    } rows[] = {
        {"vision.embed", 3, {1, 4, 5}, 5},
        {"vision.layers.0.attn.scores", 4, {1, 2, 4, 4}, 2 * 4},
        {"vision.layers.0.attn.q", 4, {1, 4, 3, 2}, 3 * 2},
    };
    bool wanted[4] = {false, true, false, true};
    const llava_some_rows some = {.wanted = wanted, .count = 2};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static pair p;
        llava_comparer *c;
        llava_error e;
        p = (pair){.name = rows[i].name, .rank = rows[i].rank};
        memcpy(p.shape, rows[i].shape, sizeof p.shape);
        fill(&p, i + 1, 1e-3);
        assert_true(llava_comparer_open(&c, &p.counting, p.name, p.rank, p.shape, &e));
        llava_comparer_positions(c, &some);
        llava_comparer_add(c, p.expected, p.actual, p.count);
        assert_int_equal(llava_comparer_close(c).count, 2 * rows[i].per_position);
    }
    const size_t scores[] = {1, 2, 4, 4}, embed[] = {1, 4, 5};
    assert_int_equal(llava_position_of_row("vision.layers.0.attn.scores", 4, scores, 4 + 3), 3);
    assert_int_equal(llava_position_of_row("vision.embed", 3, embed, 3), 3);
}

/* ---- pieces -----------------------------------------------------------------------------------
 */

static void test_pieces_change_nothing(void **state)
{
    static pair p;
    static const size_t pieces[] = {1, 2, 3, 7, 13, 14, 39, 100, ROOM};
    (void)state;
    p = (pair){.name = "text.layers.0.attn.scores", .rank = 4, .shape = {2, 3, 5, 5}};
    p.counting = (llava_counting){.batch = 2, .length = 5, .mask = left_padded};
    fill(&p, 11, 1e-3);
    p.actual[60] = (double)NAN;
    llava_comparison whole = compared_in_pieces(&p, p.count);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        llava_comparison r = compared_in_pieces(&p, pieces[i]);
        assert_true(memcmp(&r, &whole, sizeof r) == 0);
    }
}

static void test_an_empty_tensor_has_nothing_that_counts(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "vision.embed", .rank = 3, .shape = {0, 7, 13}};
    assert_int_equal(compared(&p).count, 0);
    p.shape[0] = 1;
    p.shape[2] = 0;
    assert_int_equal(compared(&p).count, 0);
}

static bool compare_with_quantiles(void *self, llava_error *e)
{
    const pair *p = self;
    llava_comparer *c;
    if (!llava_comparer_open(&c, &p->counting, p->name, p->rank, p->shape, e)) {
        return false;
    }
    bool ok = llava_comparer_quantiles(c, e);
    llava_comparer_close(c);
    return ok;
}

static bool compare_alone(void *self, llava_error *e)
{
    const pair *p = self;
    llava_comparison c;
    return llava_compare(&p->counting, p->name, p->rank, p->shape, p->expected, p->actual, &c, e);
}

static void test_memory_runs_out(void **state)
{
    static pair p;
    (void)state;
    p = (pair){.name = "vision.layers.1.attn.scores", .rank = 4, .shape = {1, 3, 5, 5}};
    fill(&p, 3, 1e-3);
    assert_int_equal(memory_runs_out(compare_alone, &p), 5);
    assert_int_equal(memory_runs_out(compare_with_quantiles, &p), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statistics_are_their_formulas),
        cmocka_unit_test(test_what_does_not_count_may_be_anything),
        cmocka_unit_test(test_positions_of_padding_do_not_count),
        cmocka_unit_test(test_a_step_sees_all_keys_but_padding),
        cmocka_unit_test(test_nan_and_infinities),
        cmocka_unit_test(test_differences_whose_square_vanishes_are_seen),
        cmocka_unit_test(test_zeros_against_something),
        cmocka_unit_test(test_a_head_of_zeros),
        cmocka_unit_test(test_squares_that_overflow),
        cmocka_unit_test(test_one_wrong_row_and_one_wrong_head_are_named),
        cmocka_unit_test(test_quantiles_are_order_statistics),
        cmocka_unit_test(test_positions_that_are_wanted),
        cmocka_unit_test(test_pieces_change_nothing),
        cmocka_unit_test(test_an_empty_tensor_has_nothing_that_counts),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
