/* Elementary functions with the same bits on every compiler, C library and CPU.
 *
 * They use only IEEE +, -, *, / (and sqrt) on double and integer operations, so no libm can change
 * a digit; the rounding mode must be the default one, to nearest. Error below 1 ulp over the whole
 * domain, subnormals included. The largest seen over millions of points each, against MPFR:
 *   exp 0.514   log 0.50001   pow 0.515   sin 0.538   cos 0.536   tanh 0.544   erf 0.503 ulp
 * tests/test_elementary.c measures it against committed high-precision values, and holds the bits.
 *
 * Infinities and zeros as C11 Annex F says; no floating-point flag or errno is promised. NaN in,
 * NaN out, except pow(1, NaN) = pow(NaN, 0) = 1; every NaN that comes out is NAN. sin, tanh and erf
 * are exactly odd, cos exactly even. */
#ifndef LLAVA_ELEMENTARY_H
#define LLAVA_ELEMENTARY_H

double llava_exp(double x);
double llava_log(double x);
/* base > 0; -0 counts as 0 and a negative base gives NaN, whatever the exponent (but 0). */
double llava_pow(double base, double exponent);
double llava_sin(double x); /* any finite x; radians */
double llava_cos(double x);
double llava_tanh(double x);
double llava_erf(double x);
double llava_sqrt(double x); /* correctly rounded, as IEEE 754 demands of C's own sqrt */

#endif
