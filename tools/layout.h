/* How a tap's tensor lies in a port's dump: which tensors it is made of, and where each of their
 * elements goes. tools/map.h says it with names and letters; here it is numbers. */
#ifndef LLAVA_LAYOUT_H
#define LLAVA_LAYOUT_H

#include "tools/map.h"
#include "tools/sizes.h"

/* One tensor of the dump. */
typedef struct {
    const llava_dump_entry *entry;
    int rank;
    size_t shape[LLAVA_ARRAY_RANK]; /* as reshaped, in the file's order */
    int axis[LLAVA_ARRAY_RANK];     /* the tap's axis that each of these becomes */
    /* By the tap's axes: the elements that are kept, and how many there are then. extent is larger
     * than to - from only where cells of the last axis lack. */
    size_t from[LLAVA_ARRAY_RANK], to[LLAVA_ARRAY_RANK], extent[LLAVA_ARRAY_RANK];
    size_t start; /* where it begins on the joined axis */
} llava_layout_part;

typedef struct {
    const llava_map_rule *rule; /* NULL: one part, as it lies in the file */
    llava_layout_part *parts;
    size_t parts_count;
    int rank;
    size_t shape[LLAVA_ARRAY_RANK];
    size_t count;   /* all repeats included */
    int row_axis;   /* that of positions, patches, features; -1: none */
    size_t *row_of; /* the tap's row of each of the port's rows; NULL: the same */
    size_t *given;  /* by row: how many cells of the last axis were computed (where the rows are
                       the last axis: 0 or 1); NULL: all */
    size_t repeats; /* how often the values stand one behind the other: alike in every sample */
    double factor;  /* what the values are multiplied by */
    bool direct;    /* the elements follow each other as in the file */
} llava_layout;

/* A tensor whose name is a tap's. */
bool llava_layout_plain(llava_layout *layout, const llava_dump_entry *entry, llava_error *e);
/* Applies a rule to the tensors that it joins (one without a join). The message says what is wrong
 * and with which tensor, but not in which map. */
bool llava_layout_make(llava_layout *layout, const llava_map_rule *rule,
                       const llava_dump_entry *const *entries, size_t n, const llava_sizes *sizes,
                       llava_sizes_pass pass, llava_error *e);
void llava_layout_free(llava_layout *layout);

/* Was element i of this row (all axes but the last, flattened) computed? */
bool llava_layout_given(const llava_layout *layout, size_t row, size_t i);

/* Puts the whole tensor together. values: [count], zeroed. */
bool llava_layout_load(const llava_layout *layout, llava_dump *dump, double *values,
                       llava_error *e);

#endif
