#include "tools/peak.h"

#include "ref/cpu.h"
#include "ref/number.h"
#include "tools/machine.h"
#include "tools/stage_clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define PEAK_NAME   f64_2
#define PEAK_NUMBER double
#define PEAK_LANES  2
#define PEAK_TARGET
#define PEAK_FACTOR(x)     (x)
#define PEAK_STEP(s, m, t) ((s) * (m) + (t))
#include "tools/peak_block.h"

#define PEAK_NAME   f32_4
#define PEAK_NUMBER float
#define PEAK_LANES  4
#define PEAK_TARGET
#define PEAK_FACTOR(x)     (float)(x)
#define PEAK_STEP(s, m, t) ((s) * (m) + (t))
#include "tools/peak_block.h"

#if defined(__x86_64__)
#define PEAK_NAME          f64_4
#define PEAK_NUMBER        double
#define PEAK_LANES         4
#define PEAK_TARGET        __attribute__((target("avx2")))
#define PEAK_FACTOR(x)     (x)
#define PEAK_STEP(s, m, t) ((s) * (m) + (t))
#include "tools/peak_block.h"

#define PEAK_NAME          f64_8
#define PEAK_NUMBER        double
#define PEAK_LANES         8
#define PEAK_TARGET        __attribute__((target("avx512f")))
#define PEAK_FACTOR(x)     (x)
#define PEAK_STEP(s, m, t) ((s) * (m) + (t))
#include "tools/peak_block.h"

#define PEAK_NAME          f32_8
#define PEAK_NUMBER        float
#define PEAK_LANES         8
#define PEAK_TARGET        __attribute__((target("avx2,fma")))
#define PEAK_FACTOR(x)     (float)(x)
#define PEAK_STEP(s, m, t) (vec) _mm256_fmadd_ps((__m256)(s), (__m256)(m), (__m256)(t))
#include "tools/peak_block.h"

#define PEAK_NAME          f32_16
#define PEAK_NUMBER        float
#define PEAK_LANES         16
#define PEAK_TARGET        __attribute__((target("avx512f")))
#define PEAK_FACTOR(x)     (float)(x)
#define PEAK_STEP(s, m, t) (vec) _mm512_fmadd_ps((__m512)(s), (__m512)(m), (__m512)(t))
#include "tools/peak_block.h"

/* Two bfloat16 side by side, as the bits of a float. */
static float pair_of(double x)
{
    uint32_t bits = llava_encode_bf16(x) * UINT32_C(0x10001);
    float pair;
    memcpy(&pair, &bits, sizeof pair);
    return pair;
}

#define PEAK_NAME          pairs_16
#define PEAK_NUMBER        float
#define PEAK_LANES         16
#define PEAK_TARGET        __attribute__((target("avx512f,avx512bf16")))
#define PEAK_FACTOR(x)     pair_of(x)
#define PEAK_STEP(s, m, t) (vec) _mm512_dpbf16_ps((__m512)(s), (__m512bh)(m), (__m512bh)(t))
#include "tools/peak_block.h"
#endif

enum { STEPS = 200000, COMPUTE_TRIES = 8, READ_TRIES = 3 };

size_t llava_peak_all(llava_peak_kind kind, llava_peak_block blocks[LLAVA_PEAK_BLOCKS])
{
    size_t count = 0;
    bool f64 = kind == LLAVA_PEAK_F64;
    blocks[count++] = f64 ? (llava_peak_block){2, 8, false, false, f64_2}
                          : (llava_peak_block){4, 4, false, false, f32_4};
#if defined(__x86_64__)
    llava_cpu here = llava_cpu_here();
    /* LCOV_EXCL_BR_START: the other branches are other processors' */
    if (here >= LLAVA_CPU_AVX2) {
        blocks[count++] = f64 ? (llava_peak_block){4, 8, false, false, f64_4}
                              : (llava_peak_block){8, 4, true, false, f32_8};
    }
    if (here >= LLAVA_CPU_AVX512) {
        blocks[count++] = f64 ? (llava_peak_block){8, 8, false, false, f64_8}
                              : (llava_peak_block){16, 4, true, false, f32_16};
    }
    if (kind == LLAVA_PEAK_BF16 && here == LLAVA_CPU_AVX512_BF16) {
        blocks[count++] = (llava_peak_block){16, 4, true, true, pairs_16};
    }
    /* LCOV_EXCL_BR_STOP */
#endif
    return count;
}

const char *llava_peak_about(const llava_peak_block *block)
{
    return block->size == 8 ? "float64, multiply and add apart"
           : block->pairs   ? "bfloat16 pairs into float32"
           : block->fused   ? "float32, multiply-add in one"
                            : "float32, multiply and add apart";
}

uint64_t llava_peak_sum(const uint64_t *x, size_t n)
{
    uint64_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        s0 += x[i], s1 += x[i + 1], s2 += x[i + 2], s3 += x[i + 3];
        s4 += x[i + 4], s5 += x[i + 5], s6 += x[i + 6], s7 += x[i + 7];
    }
    for (; i < n; i++) {
        s0 += x[i];
    }
    return s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
}

/* The best rate of one width. The widest is not always the fastest: some CPUs split or slow it. */
static double compute_rate(llava_peak_block block)
{
    double state[LLAVA_PEAK_CHAINS * 8] = {0};
    double each = block.pairs ? 4 : 2, least = INFINITY;
    double operations = each * LLAVA_PEAK_CHAINS * (double)block.lanes * STEPS;
    for (int i = 0; i < COMPUTE_TRIES; i++) {
        llava_instant from = llava_instant_now();
        block.run(state, 0.5, 1, STEPS);
        double seconds = llava_instant_now().cpu - from.cpu;
        least = fmin(least, seconds);
    }
    return operations / least * 1e-9;
}

/* Of a buffer that the caches do not hold. */
static size_t read_size(void)
{
    long told = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    told = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    size_t bytes = llava_machine_read_size(file, told);
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}

static bool read_rate(llava_peak *peak, llava_error *e)
{
    size_t bytes = read_size();
    uint64_t *buffer = malloc(bytes);
    double least = INFINITY;
    volatile uint64_t sum = 0; /* somebody wants the sum, or the compiler leaves it out */
    if (buffer == NULL) {
        return llava_fail(e, "out of memory (%zu bytes to measure the memory with)", bytes);
    }
    memset(buffer, 1, bytes); /* pages of zeros that nobody wrote are all the same page */
    peak->read_bytes = bytes;
    for (int i = 0; i < READ_TRIES; i++) {
        llava_instant from = llava_instant_now();
        sum = sum + llava_peak_sum(buffer, bytes / sizeof *buffer);
        double seconds = llava_instant_now().cpu - from.cpu;
        least = fmin(least, seconds);
    }
    peak->gbps = (double)bytes / least * 1e-9;
    free(buffer);
    return true;
}

bool llava_peak_measure(llava_peak *peak, llava_peak_kind kind, llava_error *e)
{
    llava_peak_block blocks[LLAVA_PEAK_BLOCKS];
    size_t count = llava_peak_all(kind, blocks);
    *peak = (llava_peak){0};
    for (size_t i = 0; i < count; i++) {
        double rate = compute_rate(blocks[i]);
        if (rate > peak->gflops) {
            peak->gflops = rate;
            peak->best = blocks[i];
        }
    }
    return read_rate(peak, e);
}
