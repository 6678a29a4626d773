#include "tools/peak.h"

#include "ref/number.h"
#include "tools/stage_clock.h"

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
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && (f64 || __builtin_cpu_supports("fma"))) {
        blocks[count++] = f64 ? (llava_peak_block){4, 8, false, false, f64_4}
                              : (llava_peak_block){8, 4, true, false, f32_8};
    }
    if (__builtin_cpu_supports("avx512f")) {
        blocks[count++] = f64 ? (llava_peak_block){8, 8, false, false, f64_8}
                              : (llava_peak_block){16, 4, true, false, f32_16};
    }
    if (kind == LLAVA_PEAK_BF16 && __builtin_cpu_supports("avx512bf16")) {
        blocks[count++] = (llava_peak_block){16, 4, true, true, pairs_16};
    }
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
    double each = block.pairs ? 4 : 2, best = 0;
    double operations = each * LLAVA_PEAK_CHAINS * (double)block.lanes * STEPS;
    for (int i = 0; i < COMPUTE_TRIES; i++) {
        llava_instant from = llava_instant_now();
        block.run(state, 0.5, 1, STEPS);
        double seconds = llava_instant_now().cpu - from.cpu;
        double rate = seconds > 0 ? operations / seconds * 1e-9 : 0;
        best = rate > best ? rate : best;
    }
    return best;
}

/* Bytes of the last cache that one core reaches; 0: unknown. Linux' word goes first: where cores
 * share several caches, glibc's sysconf counts them all (320 MiB for 32). */
static size_t cache_size(void)
{
    char text[16];
    unsigned long kib = 0;
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    if (file != NULL) {
        kib = fgets(text, sizeof text, file) == NULL ? 0 : strtoul(text, NULL, 10);
        fclose(file);
    }
    long told = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    told = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return kib > 0 && kib < 1UL << 20    ? (size_t)kib << 10
           : told > 0 && told < 1L << 30 ? (size_t)told
                                         : 0;
}

/* Twice the last cache, so that reading it over and over finds nothing there, at least 64 MiB;
 * 256 MiB where the system does not tell the cache's size. */
static size_t read_size(void)
{
    const size_t mib = (size_t)1 << 20;
    size_t twice = 2 * cache_size();
    return twice == 0 ? 256 * mib : twice > 64 * mib ? twice : 64 * mib;
}

static bool read_rate(llava_peak *peak, llava_error *e)
{
    size_t bytes = read_size();
    uint64_t *buffer = malloc(bytes);
    volatile uint64_t sum = 0; /* somebody wants the sum, or the compiler leaves it out */
    if (buffer == NULL) {
        return llava_fail(e, "out of memory (%zu bytes to measure the memory with)", bytes);
    }
    memset(buffer, 1, bytes); /* pages of zeros that nobody wrote are all the same page */
    peak->read_bytes = bytes;
    peak->gbps = 0;
    for (int i = 0; i < READ_TRIES; i++) {
        llava_instant from = llava_instant_now();
        sum = sum + llava_peak_sum(buffer, bytes / sizeof *buffer);
        double seconds = llava_instant_now().cpu - from.cpu;
        double rate = seconds > 0 ? (double)bytes / seconds * 1e-9 : 0;
        peak->gbps = rate > peak->gbps ? rate : peak->gbps;
    }
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
