#include "many.h"

#include "ref/cpu.h"
#include "ref/elementary.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

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

/* or vectors would be handed over in memory */
#define MANY_INLINE MANY_TARGET static inline __attribute__((always_inline))

#define MANY(name) name##_2
#define MANY_LANES 2
#define MANY_TARGET
#include "many_block.h"
#undef MANY
#undef MANY_LANES
#undef MANY_TARGET

#if defined(__x86_64__)
#define MANY(name)  name##_4
#define MANY_LANES  4
#define MANY_TARGET __attribute__((target("avx2")))
#include "many_block.h"
#undef MANY
#undef MANY_LANES
#undef MANY_TARGET

#define MANY(name)  name##_8
#define MANY_LANES  8
#define MANY_TARGET __attribute__((target("avx512f")))
#include "many_block.h"
#undef MANY
#undef MANY_LANES
#undef MANY_TARGET
#endif

/* 708 < 1022 ln 2 */
const double llava_exp_range = 708;

size_t llava_many_widths(llava_many_width widths[4])
{
    size_t count = 0;
    widths[count++] = (llava_many_width){2, exp_2, tanh_2, erf_2};
#if defined(__x86_64__)
    /* LCOV_EXCL_BR_START: the other branch is another processor's */
    if (llava_cpu_here() >= LLAVA_CPU_AVX2) {
        widths[count++] = (llava_many_width){4, exp_4, tanh_4, erf_4};
    }
    if (llava_cpu_here() >= LLAVA_CPU_AVX512) {
        widths[count++] = (llava_many_width){8, exp_8, tanh_8, erf_8};
    }
    /* LCOV_EXCL_BR_STOP */
#endif
    return count;
}

static llava_many_width widest(void)
{
    llava_many_width widths[4];
    return widths[llava_many_widths(widths) - 1];
}

/* Whole vectors by `run`, the rest one by one. */
static void all(size_t lanes, llava_many_run *run, double (*one)(double), double *y,
                const double *x, size_t n)
{
    size_t done = n / lanes * lanes;
    run(y, x, done);
    for (; done < n; done++) {
        y[done] = one(x[done]);
    }
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

void llava_exp_all_with(const llava_many_width *width, double *y, const double *x, size_t n)
{
    enum { AT_ONCE = 32 };
    for (size_t i = 0; i < n; i += AT_ONCE) {
        size_t count = n - i < AT_ONCE ? n - i : AT_ONCE;
        /* vectors that are too long for any: one by one */
        size_t lanes = all_in_range(x + i, count) ? width->lanes : AT_ONCE + 1;
        all(lanes, width->exp, llava_exp, y + i, x + i, count);
    }
}

void llava_tanh_all_with(const llava_many_width *width, double *y, const double *x, size_t n)
{
    all(width->lanes, width->tanh, llava_tanh, y, x, n);
}

void llava_erf_all_with(const llava_many_width *width, double *y, const double *x, size_t n)
{
    all(width->lanes, width->erf, llava_erf, y, x, n);
}

void llava_exp_all(double *y, const double *x, size_t n)
{
    llava_many_width width = widest();
    llava_exp_all_with(&width, y, x, n);
}

void llava_tanh_all(double *y, const double *x, size_t n)
{
    llava_many_width width = widest();
    llava_tanh_all_with(&width, y, x, n);
}

void llava_erf_all(double *y, const double *x, size_t n)
{
    llava_many_width width = widest();
    llava_erf_all_with(&width, y, x, n);
}
