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
#define APART                TARGET static __attribute__((noinline, cold))
#define vec                  NAME(vector)
#define ints                 NAME(words)
#define shorts               NAME(halves)

typedef float quad __attribute__((vector_size(4 * sizeof(float))));

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

const llava_fast_kernels *const llava_fast_widths[] = {
    &kernels_portable,
#if defined(__x86_64__)
    &kernels_avx2,
    &kernels_avx512,
    &kernels_avx512bf16,
#endif
    NULL,
};

bool llava_fast_machine_has(const llava_fast_kernels *width)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* LCOV_EXCL_BR_START: the other branch is another processor's */
    bool narrow = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool wide = narrow && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    bool dot = wide && __builtin_cpu_supports("avx512bf16");
    return width == &kernels_portable || (width == &kernels_avx2 && narrow) ||
           (width == &kernels_avx512 && wide) || (width == &kernels_avx512bf16 && dot);
    /* LCOV_EXCL_BR_STOP */
#else
    return width == &kernels_portable;
#endif
}

bool llava_fast_choose(llava_fast_kernels *kernels, const char *name,
                       bool (*has)(const llava_fast_kernels *width), llava_error *e)
{
    bool known = false, found = false;
    for (size_t i = 0; llava_fast_widths[i] != NULL; i++) {
        bool meant = name == NULL || strcmp(name, llava_fast_widths[i]->name) == 0;
        known = known || meant;
        if (meant && has(llava_fast_widths[i])) {
            *kernels = *llava_fast_widths[i];
            found = true;
        }
    }
    if (!known) {
        return llava_fail(
            e, "the fast path's width %s: not one of portable, avx2, avx512, avx512bf16", name);
    }
    if (!found) {
        llava_fail(e, "the fast path's width %s: this processor has not the instructions",
                   name == NULL ? "portable" : name);
    }
    return found;
}
