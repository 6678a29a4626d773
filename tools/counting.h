/* What counts in a comparison (contract sections 2, 10): not the rows of padded positions, not the
 * scores and probabilities of keys that a query may not see. */
#ifndef LLAVA_COUNTING_H
#define LLAVA_COUNTING_H

#include "ref/taps.h"

typedef struct {
    size_t batch, length; /* of the prefill; 0: no mask known, everything counts */
    int64_t *mask;        /* [batch, length], 1: counts */
    /* Whose sliding layers see no key before their window; NULL: no model is known, and all keys up
     * to the query's own count. */
    const llava_text_plan *text_plan;
    uint8_t *sees; /* [batch, length, length]: a mask of four dimensions; NULL: causal */
    /* [flipped_batch]: the decoding step from which on a sample reads other tokens than the one it
     * is compared with (tools/near_tie.h), so that nothing of it counts; NULL: none. */
    size_t *flipped;
    size_t flipped_batch;
    /* [patches]: the picture of each patch where all pictures are one sequence of the tower, whose
     * patches don't see those of other pictures (Pixtral); NULL: not so, or not known. */
    size_t *picture_of;
    size_t patches, pictures;
} llava_counting;

/* The next picture of a Pixtral sequence, of so many patches. */
bool llava_counting_add_picture(llava_counting *counting, size_t patches, llava_error *e);
/* The pictures of a run, where they share one sequence. */
bool llava_counting_add_pictures(llava_counting *counting, const llava_plan *plan,
                                 const llava_inputs *in, llava_error *e);
void llava_counting_free(llava_counting *counting);

/* How one tensor's rows (all axes but the last, flattened) count. */
typedef struct {
    const llava_counting *counting;
    bool text;         /* rows belong to positions of the text */
    bool keys;         /* the last axis is over keys: scores or probabilities */
    bool positions;    /* the last axis is over the text's positions: position_ids */
    size_t per_sample; /* rows of one sample */
    size_t per_query;  /* consecutive rows of one position (heads of q); 1 in scores */
    size_t queries;    /* S of this tensor */
    size_t past;       /* positions before its first query */
    size_t first_key;  /* the position of a row's first element: a sliding layer's cache forgets */
    size_t window;     /* keys that a query sees, its own included; 0: all before it */
    size_t width;      /* elements of a row */
    size_t step;       /* decoding step whose rows may be behind a flip; 0: none is */
    size_t of_sample;  /* rows of one sample, where step > 0 */
    /* [queries]: the last axis is over the patches of several pictures, those of the query's own
     * count; NULL: not so */
    const size_t *picture_of;
} llava_row_counting;

/* Counts by a mask of four dimensions, [batch, 1, length, length]: keys by what their query sees, a
 * position by whether it sees anything. sees is copied. */
bool llava_counting_square(llava_counting *counting, size_t batch, size_t length,
                           const uint8_t *sees, llava_error *e);

/* For a tap of this name and shape. Names that are no tap, and shapes that do not fit the mask:
 * every row counts. */
llava_row_counting llava_count_rows(const llava_counting *counting, const char *name, int rank,
                                    const size_t *shape);
/* Does anything in this row count? */
bool llava_row_counts(const llava_row_counting *c, size_t row);
/* In a row that counts: does element i? Never false but for c->keys, c->positions and
 * c->picture_of. */
bool llava_element_counts(const llava_row_counting *c, size_t row, size_t i);

#endif
