#include "exp.h"

#include "ref/elementary.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    double hi, lo;
} pair;

#include "ref/elementary_tables.h"

/* exp_tail's coefficients, the highest power first. */
enum { EXP_TERMS = 11 };
static const double exp_tail_terms[EXP_TERMS] = {
    0x1.61b2b02877046p-33, 0x1.1f72fc83bcbc7p-29, 0x1.ae64344d76c0cp-26, 0x1.27e4db67ac2b0p-22,
    0x1.71de3a5904949p-19, 0x1.a01a01a6d7831p-16, 0x1.a01a01a019b2bp-13, 0x1.6c16c16c162d6p-10,
    0x1.1111111111111p-7,  0x1.5555555555556p-5,  0x1.5555555555555p-3};

#define EXP(name) name##_2
#define EXP_LANES 2
#define EXP_TARGET
#include "exp_block.h"
#undef EXP
#undef EXP_LANES
#undef EXP_TARGET

#if defined(__x86_64__)
#define EXP(name)  name##_4
#define EXP_LANES  4
#define EXP_TARGET __attribute__((target("avx2")))
#include "exp_block.h"
#undef EXP
#undef EXP_LANES
#undef EXP_TARGET

#define EXP(name)  name##_8
#define EXP_LANES  8
#define EXP_TARGET __attribute__((target("avx512f")))
#include "exp_block.h"
#undef EXP
#undef EXP_LANES
#undef EXP_TARGET
#endif

/* 708 < 1022 ln 2 */
const double llava_exp_range = 708;

size_t llava_exp_widths(llava_exp_block blocks[4])
{
    size_t count = 0;
    blocks[count++] = (llava_exp_block){2, run_2};
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* LCOV_EXCL_BR_START: the other branch is another processor's */
    if (__builtin_cpu_supports("avx2")) {
        blocks[count++] = (llava_exp_block){4, run_4};
    }
    if (__builtin_cpu_supports("avx512f")) {
        blocks[count++] = (llava_exp_block){8, run_8};
    }
    /* LCOV_EXCL_BR_STOP */
#endif
    return count;
}

/* false for NaN too */
static bool all_in_range(const double *x, size_t n)
{
    bool in = true;
    for (size_t i = 0; i < n; i++) {
        in &= x[i] <= llava_exp_range && x[i] >= -llava_exp_range;
    }
    return in;
}

void llava_exp_all_with(llava_exp_block block, double *y, const double *x, size_t n)
{
    enum { AT_ONCE = 32 };
    for (size_t i = 0; i < n; i += AT_ONCE) {
        size_t count = n - i < AT_ONCE ? n - i : AT_ONCE, done = 0;
        if (all_in_range(x + i, count)) {
            done = count / block.lanes * block.lanes;
            block.run(y + i, x + i, done);
        }
        for (; done < count; done++) {
            y[i + done] = llava_exp(x[i + done]);
        }
    }
}

void llava_exp_all(double *y, const double *x, size_t n)
{
    llava_exp_block blocks[4];
    llava_exp_all_with(blocks[llava_exp_widths(blocks) - 1], y, x, n);
}
