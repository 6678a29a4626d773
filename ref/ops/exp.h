/* e^x of many numbers, with llava_exp's bits: vectors run over elements, each lane does what the
 * scalar function does. */
#ifndef LLAVA_EXP_H
#define LLAVA_EXP_H

#include <stddef.h>

/* y[i] = llava_exp(x[i]). y may be x. */
void llava_exp_all(double *y, const double *x, size_t n);

/* One vector width: a whole number of its vectors, all x within +-llava_exp_range. */
typedef struct {
    size_t lanes;
    void (*run)(double *y, const double *x, size_t n);
} llava_exp_block;

/* Within it the result is a normal number and nothing has to be held back from overflow. */
extern const double llava_exp_range;

/* All widths that this machine runs, narrowest first; returns how many. */
size_t llava_exp_widths(llava_exp_block blocks[4]);
/* llava_exp_all with a width of the caller's choice, for the test that compares them. */
void llava_exp_all_with(llava_exp_block block, double *y, const double *x, size_t n);

#endif
