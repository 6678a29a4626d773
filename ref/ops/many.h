/* exp, tanh and erf of many numbers, with the bits of ref/elementary.h: vectors run over elements,
 * each lane does what the scalar function does. */
#ifndef LLAVA_MANY_H
#define LLAVA_MANY_H

#include <stddef.h>

/* y[i] = llava_exp(x[i]), llava_tanh(x[i]), llava_erf(x[i]). y may be x. */
void llava_exp_all(double *y, const double *x, size_t n);
void llava_tanh_all(double *y, const double *x, size_t n);
void llava_erf_all(double *y, const double *x, size_t n);

typedef void llava_many_run(double *y, const double *x, size_t n);

/* One vector width: each takes a whole number of its vectors; exp's x are within
 * +-llava_exp_range. */
typedef struct {
    size_t lanes;
    llava_many_run *exp, *tanh, *erf;
} llava_many_width;

/* Within it the result is a normal number and nothing has to be held back from overflow. */
extern const double llava_exp_range;

/* All widths that this machine runs, narrowest first; returns how many. */
size_t llava_many_widths(llava_many_width widths[4]);
/* The functions above with a width of the caller's choice, for the test that compares them. */
void llava_exp_all_with(const llava_many_width *width, double *y, const double *x, size_t n);
void llava_tanh_all_with(const llava_many_width *width, double *y, const double *x, size_t n);
void llava_erf_all_with(const llava_many_width *width, double *y, const double *x, size_t n);

#endif
