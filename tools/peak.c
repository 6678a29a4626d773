#include "tools/peak.h"

#include "tools/stage_clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEAK_NAME  peak_2
#define PEAK_LANES 2
#define PEAK_TARGET
#include "tools/peak_block.h"
#undef PEAK_NAME
#undef PEAK_LANES
#undef PEAK_TARGET

#if defined(__x86_64__)
#define PEAK_NAME   peak_4
#define PEAK_LANES  4
#define PEAK_TARGET __attribute__((target("avx2")))
#include "tools/peak_block.h"
#undef PEAK_NAME
#undef PEAK_LANES
#undef PEAK_TARGET

#define PEAK_NAME   peak_8
#define PEAK_LANES  8
#define PEAK_TARGET __attribute__((target("avx512f")))
#include "tools/peak_block.h"
#undef PEAK_NAME
#undef PEAK_LANES
#undef PEAK_TARGET
#endif

enum { STEPS = 200000, COMPUTE_TRIES = 8, READ_TRIES = 3 };

size_t llava_peak_all(llava_peak_block blocks[4])
{
    size_t count = 0;
    blocks[count++] = (llava_peak_block){2, peak_2};
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        blocks[count++] = (llava_peak_block){4, peak_4};
    }
    if (__builtin_cpu_supports("avx512f")) {
        blocks[count++] = (llava_peak_block){8, peak_8};
    }
#endif
    return count;
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
    double operations = 2.0 * LLAVA_PEAK_CHAINS * (double)block.lanes * STEPS, best = 0;
    for (int i = 0; i < COMPUTE_TRIES; i++) {
        llava_instant from = llava_instant_now();
        block.run(state, 0.5, 1, STEPS);
        double seconds = llava_instant_now().cpu - from.cpu;
        double rate = seconds > 0 ? operations / seconds * 1e-9 : 0;
        best = rate > best ? rate : best;
    }
    return best;
}

/* Twice the last cache, so that reading it over and over finds nothing there, at least 64 MiB;
 * 256 MiB where the system does not tell the cache's size. */
static size_t read_size(void)
{
    const size_t mib = (size_t)1 << 20;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (cache > 0 && (size_t)cache < 1024 * mib) {
        return (size_t)cache * 2 > 64 * mib ? (size_t)cache * 2 : 64 * mib;
    }
#endif
    return 256 * mib;
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

bool llava_peak_measure(llava_peak *peak, llava_error *e)
{
    llava_peak_block blocks[4];
    size_t count = llava_peak_all(blocks);
    *peak = (llava_peak){0};
    for (size_t i = 0; i < count; i++) {
        double rate = compute_rate(blocks[i]);
        if (rate > peak->gflops) {
            peak->gflops = rate;
            peak->lanes = blocks[i].lanes;
        }
    }
    return read_rate(peak, e);
}
