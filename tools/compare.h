/* Two tensors held against each other, in one pass over pieces of any size.
 *
 * Over the elements that count, with d = actual - expected:
 *   max_abs = max |d|               rel_max = max over rows of max |d| / max |expected| of the row
 *             (of attention scores: over heads, max of the head; of pixel_values: of the channel)
 *   rel_l2  = |d|_2 / |expected|_2  cosine  = <expected, actual> / (|expected|_2 |actual|_2)
 * A NaN on either side, and an infinity on one side or of the other sign, is a mismatch whatever
 * the rest says; such elements are left out of the sums. Equal infinities agree. */
#ifndef LLAVA_COMPARE_H
#define LLAVA_COMPARE_H

#include "tools/counting.h"
#include "tools/port.h"

enum { LLAVA_QUANTILES = 4 }; /* 50 %, 90 %, 99 %, 99.9 % */

typedef struct {
    uint64_t count;      /* elements that count */
    uint64_t unequal;    /* of these: not equal (-0 equals 0) */
    uint64_t mismatched; /* of these: a NaN or an infinity on one side */
    uint64_t nan_expected, nan_actual, inf_expected, inf_actual;
    double max_abs, rel_max, rel_l2, cosine;
    double norm;        /* |expected|_2 */
    size_t worst_index; /* flat index of max |d|, or of the first mismatch */
    double worst_expected, worst_actual;
    size_t worst_row;     /* row with the largest |d|_2 (relative to the rms row of expected) */
    double worst_row_l2;  /* its |d|_2 relative to its own |expected|_2 */
    size_t worst_head;    /* for [B,S,h,d] and [B,h,S,S'] taps */
    double worst_head_l2; /* |d|_2 / |expected|_2 of that head; 0: no heads */
    /* where asked for: */
    double quantiles[LLAVA_QUANTILES]; /* of |d|, from at most 16384 evenly spaced elements */
    double equal_bits; /* median over the same elements of -log2(|d| / |expected|), at most 53 */
} llava_comparison;

typedef struct llava_comparer llava_comparer;

/* For a tap of this name and shape. */
bool llava_comparer_open(llava_comparer **comparer, const llava_counting *counting,
                         const char *name, int rank, const size_t *shape, llava_error *e);
/* Leaves out what the port never computed (tensor->partial); NULL: nothing. Call before adding. */
void llava_comparer_only(llava_comparer *comparer, const llava_port_tensor *tensor);
/* Leaves out the rows of other positions than the wanted ones: rows.count is that of the batch's
 * positions, or of the tower's rows. NULL: none. Call before adding. */
void llava_comparer_positions(llava_comparer *comparer, const llava_some_rows *rows);
/* The position, over the whole batch, that a row of a tap of this name and shape belongs to. */
size_t llava_position_of_row(const char *name, int rank, const size_t *shape, size_t row);
/* Asks for quantiles and equal_bits, whose sorting costs more than all the rest. Call before
 * adding; after a failure the comparer is to be closed all the same. */
bool llava_comparer_quantiles(llava_comparer *comparer, llava_error *e);
/* The next n elements in C order. */
void llava_comparer_add(llava_comparer *comparer, const double *expected, const double *actual,
                        size_t n);
/* The result; frees the comparer. */
llava_comparison llava_comparer_close(llava_comparer *comparer);

/* In one go, without quantiles. */
bool llava_compare(const llava_counting *counting, const char *name, int rank, const size_t *shape,
                   const double *expected, const double *actual, llava_comparison *result,
                   llava_error *e);

#endif
