/* What one core of this machine can do at best, measured on the spot: the yardstick of bench.
 *
 * Each path has its own. The plain path computes in float64 with the product and the addition
 * rounded apart (a fused multiply-add would change the bits); the fast path multiplies and adds
 * float32 in one instruction where there is one, and bfloat16 two pairs at a time where the
 * processor does. */
#ifndef LLAVA_PEAK_H
#define LLAVA_PEAK_H

#include "ref/error.h"

#include <stdint.h>

typedef enum { LLAVA_PEAK_F64, LLAVA_PEAK_F32, LLAVA_PEAK_BF16 } llava_peak_kind;

/* Independent chains of one block: enough to hide the latency of a multiply and an add behind each
 * other, few enough that with the two constants they fit into 16 registers. */
#define LLAVA_PEAK_CHAINS 12

typedef struct {
    size_t lanes; /* numbers of one vector */
    size_t size;  /* bytes of one number of the state: 8, or 4 */
    bool fused;   /* product and sum are one rounding */
    bool pairs;   /* state + 2 factor * term, both bfloat16, instead */
    /* state[i] = state[i] * factor + term, `steps` times; i counts CHAINS * lanes numbers. */
    void (*run)(void *state, double factor, double term, size_t steps);
} llava_peak_block;

enum { LLAVA_PEAK_BLOCKS = 8 };

/* The blocks of this kind that the machine runs, narrowest first; returns how many. bfloat16's are
 * float32's and the one of pairs: without that instruction such a path computes in float32. */
size_t llava_peak_all(llava_peak_kind kind, llava_peak_block blocks[LLAVA_PEAK_BLOCKS]);

/* "float64, multiply and add apart" and so on. */
const char *llava_peak_about(const llava_peak_block *block);

/* The sum of n numbers modulo 2^64, read once from the first to the last. */
uint64_t llava_peak_sum(const uint64_t *x, size_t n);

typedef struct {
    double gflops; /* 1e9 multiplies and adds a second, the best of all widths */
    double gbps;   /* 1e9 bytes read a second from a buffer larger than the caches */
    llava_peak_block best;
    size_t read_bytes; /* of that buffer */
} llava_peak;

/* Measures both in CPU seconds, the best of several tries; about a quarter of a second. */
bool llava_peak_measure(llava_peak *peak, llava_peak_kind kind, llava_error *e);

#endif
