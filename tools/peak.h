/* What one core of this machine can do at best, measured on the spot: the yardstick of bench.
 *
 * The plain path computes in float64 with the product and the addition rounded apart (no fused
 * multiply-add, which would change the bits), so its peak is that of separate multiplies and adds.
 */
#ifndef LLAVA_PEAK_H
#define LLAVA_PEAK_H

#include "ref/error.h"

#include <stdint.h>

/* Independent chains of one block: enough to hide the latency of a multiply and an add behind each
 * other, few enough that with the two constants they fit into 16 registers. */
#define LLAVA_PEAK_CHAINS 12

/* state[i] = state[i] * factor + term, `steps` times; i counts CHAINS * lanes numbers. */
typedef void llava_peak_run(double *state, double factor, double term, size_t steps);

typedef struct {
    size_t lanes; /* doubles of one vector */
    llava_peak_run *run;
} llava_peak_block;

/* The blocks that this machine runs, narrowest first; returns how many. */
size_t llava_peak_all(llava_peak_block blocks[4]);

/* The sum of n numbers modulo 2^64, read once from the first to the last. */
uint64_t llava_peak_sum(const uint64_t *x, size_t n);

typedef struct {
    double gflops;     /* 1e9 multiplies and adds a second, the best of all widths */
    double gbps;       /* 1e9 bytes read a second from a buffer larger than the caches */
    size_t lanes;      /* of the width that was best */
    size_t read_bytes; /* of that buffer */
} llava_peak;

/* Measures both in CPU seconds, the best of several tries; about a quarter of a second. */
bool llava_peak_measure(llava_peak *peak, llava_error *e);

#endif
