/* How a tensor's elements lie in a dump file, and the one piece of code that converts them: the
 * dump writer, the hash and every reader share it. */
#ifndef LLAVA_ARRAY_H
#define LLAVA_ARRAY_H

#include "ref/tap.h"

#define LLAVA_ARRAY_RANK  8
#define LLAVA_ARRAY_DTYPE 8

typedef struct {
    char kind;   /* 'f' IEEE float, 'i' signed, 'u' unsigned, 'b' boolean, 'B' bfloat16 (only in
                    safetensors; NumPy has no such type) */
    size_t size; /* bytes of one element: 1, 2, 4 or 8 */
    bool big_endian;
    bool fortran; /* first index fastest */
    int rank;
    size_t shape[LLAVA_ARRAY_RANK];
    size_t count; /* elements: product of the shape, 1 for a scalar */
    size_t bytes; /* count * size */
} llava_array;

/* Fills count and bytes from rank, shape and size. False where they do not fit: an extent of zero
 * does not excuse the others, so that no stride can overflow later. */
bool llava_array_measure(llava_array *array);

/* The layout that a dump gives a tap: contract section 3 (bf16 becomes `<f4`). */
llava_array llava_array_of_tap(const llava_tap *tap);

/* The type as NumPy writes it: "<f8", ">f4", "|u1"; "bfloat16" does not exist there: "BF16". */
void llava_array_dtype(const llava_array *array, char text[LLAVA_ARRAY_DTYPE]);

/* Elements first .. first+n-1 of a tap's data (double[], int64_t[] or uint8_t[], as llava_tap says)
 * to the bytes of llava_array_of_tap: little-endian, rounded once to nearest even, every NaN the
 * positive quiet NaN without payload. out: [n * size] bytes. */
void llava_array_encode(llava_dtype type, const void *data, size_t first, size_t n, uint8_t *out);
/* Are these elements' bytes in memory already what llava_array_encode would make of them? */
bool llava_array_lies_ready(llava_dtype type, const void *data, size_t first, size_t n);

/* n elements that follow each other at bytes (any alignment) to double / int64_t. Both return n, or
 * the index of the first element that the result cannot hold exactly (an integer beyond 2^53, an
 * unsigned one beyond 2^63 - 1). Integers: kind 'i', 'u' or 'b' only. Booleans give 0 or 1. */
size_t llava_array_decode(const llava_array *array, const uint8_t *bytes, size_t n, double *out);
size_t llava_array_decode_integers(const llava_array *array, const uint8_t *bytes, size_t n,
                                   int64_t *out);

/* Copies elements first .. first+n-1 in C order out of a whole tensor's bytes that lie in Fortran
 * order. out: [n * size] bytes. */
void llava_array_gather(const llava_array *array, const uint8_t *bytes, size_t first, size_t n,
                        uint8_t *out);

#endif
