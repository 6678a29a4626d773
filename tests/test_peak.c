/* The yardsticks of bench: that they compute what they say. Their speed is no test's business. */
#include "tools/peak.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST = LLAVA_PEAK_CHAINS * 8 };

/* A different start in every number, so that a chain that is left out or done twice shows. */
static void fill(double *state, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        state[i] = 1 + (double)i / 7;
    }
}

/* Bit for bit: one rounding after the product and one after the sum. 0.3 and 0.7 have no short
 * binary form, so a fused multiply-add, with one rounding, would differ. */
static void every_width_is_the_plain_recurrence(void **unused)
{
    (void)unused;
    llava_peak_block blocks[4];
    size_t count = llava_peak_all(blocks);
    assert_true(count >= 1 && count <= 4);
    for (size_t b = 0; b < count; b++) {
        double state[MOST], expected[MOST];
        size_t n = LLAVA_PEAK_CHAINS * blocks[b].lanes;
        assert_true(n <= MOST);
        fill(state, MOST);
        fill(expected, MOST);
        blocks[b].run(state, 0.3, 0.7, 11);
        for (size_t i = 0; i < n; i++) {
            for (int step = 0; step < 11; step++) {
                volatile double product = expected[i] * 0.3; /* rounded: no fusing here */
                expected[i] = product + 0.7;
            }
        }
        assert_memory_equal(state, expected, sizeof state); /* and nothing behind it is touched */
    }
}

static void no_step_changes_nothing(void **unused)
{
    (void)unused;
    llava_peak_block blocks[4];
    size_t count = llava_peak_all(blocks);
    for (size_t b = 0; b < count; b++) {
        double state[MOST], expected[MOST];
        fill(state, MOST);
        fill(expected, MOST);
        blocks[b].run(state, 0.3, 0.7, 0);
        assert_memory_equal(state, expected, sizeof state);
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
    llava_peak peak;
    llava_error e;
    assert_true(llava_peak_measure(&peak, &e));
    assert_true(peak.gflops > 0 && peak.gbps > 0);
    assert_true(peak.lanes >= 2 && peak.read_bytes >= (size_t)64 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_is_the_plain_recurrence),
        cmocka_unit_test(no_step_changes_nothing),
        cmocka_unit_test(the_sum_takes_every_number_once),
        cmocka_unit_test(both_rates_are_found),
    };
    return cmocka_run_group_tests_name("peak", tests, NULL, NULL);
}
