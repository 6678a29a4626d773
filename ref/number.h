/* The storage types and the one rounding that separates operations.
 *
 * The reference computes in float64 and keeps every tensor as double[]; after each operation the
 * values are rounded once, to nearest even, to the storage type. So a "bf16 tensor" is a double[]
 * whose values all are bfloat16 numbers. */
#ifndef LLAVA_NUMBER_H
#define LLAVA_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    LLAVA_F64,
    LLAVA_F32,
    LLAVA_F16,
    LLAVA_BF16,
    LLAVA_I64,
    LLAVA_U8,
} llava_dtype;

/* "f64", "f32", "f16", "bf16", "i64", "u8". */
const char *llava_dtype_name(llava_dtype type);
/* The other way round, for the four floating types; false for anything else. */
bool llava_dtype_parse(const char *name, llava_dtype *type);
/* Bytes of one element as a file holds it: 8, 4, 2, 2, 8, 1. */
size_t llava_dtype_size(llava_dtype type);

/* x rounded once to the storage type, ties to even; overflow gives infinity, NaN stays NaN.
 * One rounding straight from double: going through float would round twice. */
double llava_round(llava_dtype type, double x);
void llava_round_all(llava_dtype type, double *x, size_t n);

/* Bit patterns. Encoding rounds once, to nearest even; a NaN becomes the positive quiet NaN
 * without payload. Decoding is exact. */
uint16_t llava_encode_f16(double x);
uint16_t llava_encode_bf16(double x);
double llava_decode_f16(uint16_t bits);
double llava_decode_bf16(uint16_t bits);

/* n elements of a little-endian file's bytes, any alignment, to double and rounded to `to`
 * (pass LLAVA_F64 for the exact values). from: one of the four floating types. */
void llava_decode(llava_dtype from, const uint8_t *bytes, size_t n, llava_dtype to, double *out);

/* Why this thread's arithmetic is not IEEE's, or NULL where it is: subnormal numbers flushed to
 * zero (code linked with fast-math sets that for the whole process) or another rounding than to
 * nearest even would change digits silently. */
const char *llava_arithmetic_fault(void);

#endif
