/* The yardsticks of bench: that they compute what they say. Their speed is no test's business. */
#include "tools/peak.h"

#include "ref/number.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = LLAVA_PEAK_CHAINS * 16 };

/* The state's i-th number, in the type that the block computes in. */
static double number(const llava_peak_block *b, const void *state, size_t i)
{
    return b->size == 8 ? ((const double *)state)[i] : (double)((const float *)state)[i];
}

/* A different start in every number, so that a chain that is left out or done twice shows. */
static void fill(const llava_peak_block *b, void *state)
{
    for (size_t i = 0; i < MOST; i++) {
        double x = 1 + (double)i / 7;
        if (b->size == 8) {
            ((double *)state)[i] = x;
        } else {
            ((float *)state)[i] = (float)x;
        }
    }
}

/* One step as the block's type rounds it. 0.3 and 0.7 have no short binary form, so that one
 * rounding and two differ. */
static double step(const llava_peak_block *b, double x)
{
    if (b->size == 8) {
        volatile double product = x * 0.3; /* rounded: no fusing here */
        return product + 0.7;
    }
    if (b->pairs) { /* both products are exact, their sum too: bfloat16 has 8 bits */
        double pair = 2 * llava_round(LLAVA_BF16, 0.3) * llava_round(LLAVA_BF16, 0.7);
        return (double)(float)(x + pair);
    }
    if (b->fused) { /* the product of two floats is exact in double, the sum nearly */
        return (double)fmaf((float)x, 0.3f, 0.7f);
    }
    volatile float product = (float)x * 0.3f;
    return (double)(product + 0.7f);
}

static const llava_peak_kind kinds[] = {LLAVA_PEAK_F64, LLAVA_PEAK_F32, LLAVA_PEAK_BF16};

static void every_width_is_the_plain_recurrence(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < 3; k++) {
        llava_peak_block blocks[LLAVA_PEAK_BLOCKS];
        size_t count = llava_peak_all(kinds[k], blocks);
        assert_true(count >= 1 && count <= LLAVA_PEAK_BLOCKS);
        for (size_t b = 0; b < count; b++) {
            double state[MOST], start[MOST];
            size_t n = LLAVA_PEAK_CHAINS * blocks[b].lanes;
            assert_true(n <= MOST && (blocks[b].size == 8) == (kinds[k] == LLAVA_PEAK_F64));
            fill(&blocks[b], state);
            fill(&blocks[b], start);
            blocks[b].run(state, 0.3, 0.7, 11);
            for (size_t i = 0; i < MOST; i++) {
                double expected = number(&blocks[b], start, i);
                for (int s = 0; i < n && s < 11; s++) {
                    expected = step(&blocks[b], expected);
                }
                assert_true(number(&blocks[b], state, i) == expected);
            }
        }
    }
}

static void no_step_changes_nothing(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < 3; k++) {
        llava_peak_block blocks[LLAVA_PEAK_BLOCKS];
        size_t count = llava_peak_all(kinds[k], blocks);
        for (size_t b = 0; b < count; b++) {
            double state[MOST], expected[MOST];
            fill(&blocks[b], state);
            fill(&blocks[b], expected);
            blocks[b].run(state, 0.3, 0.7, 0);
            for (size_t i = 0; i < MOST; i++) {
                assert_true(number(&blocks[b], state, i) == number(&blocks[b], expected, i));
            }
        }
    }
}

static void the_sum_takes_every_number_once(void **unused)
{
    (void)unused;
    uint64_t x[43], sum = 0;
    for (size_t i = 0; i < 43; i++) {
        x[i] = (uint64_t)1 << i;
    }
    for (size_t n = 0; n <= 43; n++) {
        assert_true(llava_peak_sum(x, n) == sum);
        sum += n < 43 ? x[n] : 0;
    }
}

static void both_rates_are_found(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < 3; k++) {
        llava_peak peak;
        llava_error e;
        assert_true(llava_peak_measure(&peak, kinds[k], &e));
        assert_true(peak.gflops > 0 && peak.gbps > 0);
        assert_true(peak.best.lanes >= 2 && peak.read_bytes >= (size_t)64 << 20);
        assert_true(strstr(llava_peak_about(&peak.best), k == 0 ? "float64" : "float32") != NULL);
    }
}

static void what_was_measured_is_named(void **unused)
{
    (void)unused;
    static const struct {
        llava_peak_block block;
        const char *about;
    } rows[] = {
        {{.size = 8}, "float64, multiply and add apart"},
        {{.size = 4, .pairs = true, .fused = true}, "bfloat16 pairs into float32"},
        {{.size = 4, .fused = true}, "float32, multiply-add in one"},
        {{.size = 4}, "float32, multiply and add apart"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(llava_peak_about(&rows[i].block), rows[i].about);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_is_the_plain_recurrence),
        cmocka_unit_test(no_step_changes_nothing),
        cmocka_unit_test(the_sum_takes_every_number_once),
        cmocka_unit_test(both_rates_are_found),
        cmocka_unit_test(what_was_measured_is_named),
    };
    return cmocka_run_group_tests_name("peak", tests, NULL, NULL);
}
