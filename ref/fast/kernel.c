#include "kernel.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define NAME_OF(name, width) name##_##width
#define NAME_IN(name, width) NAME_OF(name, width)
#define NAME(name)           NAME_IN(name, WIDTH)
#define TEXT_OF(width)       #width
#define TEXT_IN(width)       TEXT_OF(width)
#define PANEL                ((size_t)2 * LANES) /* lanes: two vectors */
#define ROWS                 (LANES > 8 ? 8 : 4) /* at a time: their sums fill the registers */
#define INLINE               TARGET static inline __attribute__((always_inline))
#define APART                TARGET static __attribute__((noinline, cold))
#define vec                  NAME(vector)
#define ints                 NAME(words)
#define shorts               NAME(halves)

typedef float quad __attribute__((vector_size(4 * sizeof(float))));

/* Vectors of 4 floats are in every x86-64 and aarch64. Product and sum are two roundings. */
#define WIDTH    portable
#define LANES    4
#define PER_UNIT 1
#define TARGET
#define FMA(a, b, c) ((a) * (b) + (c))
#include "kernel_block.h"

#if defined(__x86_64__)
#define WIDTH        avx2
#define LANES        8
#define PER_UNIT     1
#define TARGET       __attribute__((target("avx2,fma")))
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#include "kernel_block.h"

#define WIDTH        avx512
#define LANES        16
#define PER_UNIT     1
#define TARGET       __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma")))
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#include "kernel_block.h"

#define WIDTH        avx512bf16
#define LANES        16
#define PER_UNIT     2
#define TARGET       __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,fma")))
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
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

bool llava_fast_choose(llava_fast_kernels *kernels, const char *name, llava_cpu here, bool bf16,
                       llava_error *e)
{
    for (size_t i = 0; llava_fast_widths[i] != NULL; i++) {
        const llava_fast_kernels *width = llava_fast_widths[i];
        if (name != NULL ? strcmp(name, width->name) != 0 : i != (size_t)here) {
            continue;
        }
        if (i > (size_t)here) {
            return llava_fail(
                e, "the fast path's width %s: this processor has not the instructions", name);
        }
        *kernels = *llava_fast_widths[width->per_unit == 2 && !bf16 ? i - 1 : i];
        return true;
    }
    return llava_fail(e, "the fast path's width %s: not one of portable, avx2, avx512, avx512bf16",
                      name);
}
