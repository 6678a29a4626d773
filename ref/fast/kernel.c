#include "kernel.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* A loop of a constant count whose sums must stay in registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

#define NAME_OF(name, width) name##_##width
#define NAME_IN(name, width) NAME_OF(name, width)
#define NAME(name)           NAME_IN(name, WIDTH)
#define TEXT_OF(width)       #width
#define TEXT_IN(width)       TEXT_OF(width)
#define PANEL                ((size_t)2 * LANES) /* lanes: two vectors */
#define INLINE               TARGET static inline __attribute__((always_inline))
#define vec                  NAME(vector)
#define ints                 NAME(words)
#define shorts               NAME(halves)

/* Vectors of 4 floats are in every x86-64 and aarch64. Product and sum are two roundings. */
#define WIDTH portable
#define LANES 4
#define ROWS  4
#define TARGET
#define FMA(a, b, c) ((a) * (b) + (c))
#include "kernel_block.h"

#if defined(__x86_64__)
#define WIDTH        avx2
#define LANES        8
#define ROWS         4
#define TARGET       __attribute__((target("avx2,fma")))
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#include "kernel_block.h"

#define WIDTH        avx512
#define LANES        16
#define ROWS         8
#define TARGET       __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma")))
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#include "kernel_block.h"

#define WIDTH          avx512bf16
#define LANES          16
#define ROWS           8
#define TARGET         __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,fma")))
#define FMA(a, b, c)   _mm512_fmadd_ps(a, b, c)
#define DOT(sum, a, b) (__m512) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
#include "kernel_block.h"
#endif

const char *const *llava_fast_widths(void)
{
    static const char *const names[] = {"portable", "avx2", "avx512", "avx512bf16", NULL};
    return names;
}

bool llava_fast_machine_has(const char *name)
{
    if (strcmp(name, "portable") == 0) {
        return true;
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* LCOV_EXCL_BR_START: the other branch is another processor's */
    bool narrow = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool wide = narrow && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    /* LCOV_EXCL_BR_STOP */
    if (strcmp(name, "avx2") == 0) {
        return narrow;
    }
    if (strcmp(name, "avx512") == 0) {
        return wide;
    }
    return wide && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

bool llava_fast_choose(llava_fast_kernels *kernels, const char *name, bool (*has)(const char *name),
                       llava_error *e)
{
    static const llava_fast_kernels *const all[] = {
        &kernels_portable,
#if defined(__x86_64__)
        &kernels_avx2,
        &kernels_avx512,
        &kernels_avx512bf16,
#endif
    };
    const char *const *known = llava_fast_widths();
    for (size_t i = sizeof all / sizeof all[0]; i-- > 0;) {
        if (has(all[i]->name) && (name == NULL || strcmp(name, all[i]->name) == 0)) {
            *kernels = *all[i];
            return true;
        }
    }
    for (size_t i = 0; name != NULL && known[i] != NULL; i++) {
        if (strcmp(name, known[i]) == 0) {
            return llava_fail(
                e, "the fast path's width %s: this processor has not the instructions", name);
        }
    }
    return llava_fail(e, "the fast path's width %s: not one of portable, avx2, avx512, avx512bf16",
                      name == NULL ? "" : name);
}
