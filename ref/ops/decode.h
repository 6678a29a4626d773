/* llava_decode to float64 in vectors, for the weights of products. */
#ifndef LLAVA_OPS_DECODE_H
#define LLAVA_OPS_DECODE_H

#include "ref/number.h"

/* llava_decode(from, bytes, n, LLAVA_F64, out). */
void llava_decode_f64(llava_dtype from, const uint8_t *bytes, size_t n, double *out);

#endif
