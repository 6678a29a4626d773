/* Statistics of a stream of numbers: one pass, any length, no memory.
 *
 *   mean = sum x / n      std = sqrt(sum (x - mean)^2 / n)      rms = sqrt(sum x^2 / n)
 *
 * over the finite values; NaN and infinities are counted apart, so that one bad number doesn't hide
 * what the others are. */
#ifndef LLAVA_STATISTICS_H
#define LLAVA_STATISTICS_H

#include <stddef.h>

typedef struct {
    size_t finite, nan, inf;
    double min, max;  /* of the finite values; 0 where there are none */
    double mean;      /* 0 where there are none */
    double deviation; /* sum of (x - mean)^2 */
} llava_statistics;

/* Starts from {0}. */
void llava_statistics_add(llava_statistics *s, const double *x, size_t n);
double llava_statistics_std(const llava_statistics *s);
double llava_statistics_rms(const llava_statistics *s);

#endif
