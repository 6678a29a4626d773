/* Elementary functions with the same bits on every compiler, C library and CPU.
 *
 * They use only IEEE +, -, *, / and integer operations, so no libm can change a digit. Error below
 * 1 ulp over the whole domain (tests/test_elementary.c measures it against committed
 * high-precision values). NaN in, NaN out; infinities and zeros as C11 Annex F says. */
#ifndef LLAVA_ELEMENTARY_H
#define LLAVA_ELEMENTARY_H

double llava_exp(double x);
double llava_log(double x);
double llava_pow(double base, double exponent); /* base > 0, finite */
double llava_sin(double x);                     /* any finite x; radians */
double llava_cos(double x);
double llava_tanh(double x);
double llava_erf(double x);
double llava_sqrt(double x); /* correctly rounded, as IEEE 754 demands of sqrt */

#endif
