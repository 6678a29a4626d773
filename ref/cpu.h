/* For what compiles a loop for several widths of vectors: which of them this processor runs, and
 * how sums stay in registers. */
#ifndef LLAVA_CPU_H
#define LLAVA_CPU_H

/* A loop of a constant count whose sums must stay in registers. */
#if defined(__clang__)
#define LLAVA_UNROLLED _Pragma("unroll")
#else
#define LLAVA_UNROLLED _Pragma("GCC unroll 16")
#endif

/* Each has those before it. Every x86-64 and aarch64 has 16 bytes. */
typedef enum {
    LLAVA_CPU_16_BYTES,
    LLAVA_CPU_AVX2,       /* and FMA */
    LLAVA_CPU_AVX512,     /* F, DQ, BW, VL */
    LLAVA_CPU_AVX512_BF16 /* products of bfloat16 pairs */
} llava_cpu;

static inline llava_cpu llava_cpu_here(void)
{
    llava_cpu here = LLAVA_CPU_16_BYTES;
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* LCOV_EXCL_START: as far as the processor goes */
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        here = LLAVA_CPU_AVX2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
            here = __builtin_cpu_supports("avx512bf16") ? LLAVA_CPU_AVX512_BF16 : LLAVA_CPU_AVX512;
        }
    }
    /* LCOV_EXCL_STOP */
#endif
    return here;
}

#endif
