/* How far an honest port may be from the truth: docs/tolerances.md derives what stands here. */
#ifndef LLAVA_BOUNDS_H
#define LLAVA_BOUNDS_H

#include "ref/number.h"
#include "tools/dump.h"

/* Unit roundoff: half the distance from 1 to the next number. */
double llava_unit(llava_dtype type);

/* The narrowest floating type that holds every one of these values: what a tensor was really
 * computed in, whatever the file calls it. NaN and infinities fit every type. */
llava_dtype llava_narrowest(const double *values, size_t n);

/* The same for a dump's tensor, from at most 65536 of its elements. */
bool llava_measure_type(llava_dump *dump, const llava_dump_entry *entry, llava_dtype *type,
                        llava_error *e);

typedef struct {
    double l2;  /* of |d|_2 / |expected|_2 */
    double max; /* of max |d| / max |expected| of the row */
} llava_bound;

/* The bound of a tap from its place in the flow, its width and the two types alone:
 *     l2 = 4 u sqrt(n) + 2^-24 sqrt(n width),  max = 8 l2
 * u the sum of both unit roundoffs, n the number of rounded operations that lead to the tap: errors
 * of independent roundings add in squares. The second term is for sums kept in float32, and absent
 * between two float64 tensors. tower_layers: of the vision tower in front of the language model. */
llava_bound llava_bound_alone(const char *name, size_t width, size_t tower_layers,
                              llava_dtype expected, llava_dtype actual);

#endif
