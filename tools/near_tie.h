/* Two generations held against each other: is the first token in which a sample differs a near tie,
 * which rounding alone may turn, or a divergence?
 *
 *   margin = |logits[expected] - logits[actual]|       of EXPECTED, where the token was chosen
 *   bound  = sqrt(2) l2 rms(logits)                    l2: what honest rounding does to that tensor
 *
 * An error of relative size l2 is one of l2 rms in each logit, and the difference of two
 * independent ones is sqrt(2) times that; l2 holds four standard deviations already
 * (docs/tolerances.md). Up to that token both have read the same text; behind it they read
 * different ones, so nothing that follows in the sample can be compared. */
#ifndef LLAVA_NEAR_TIE_H
#define LLAVA_NEAR_TIE_H

#include "tools/counting.h"
#include "tools/dump.h"
#include "tools/port.h"

/* The first token of a sample that differs. */
typedef struct {
    size_t sample, step; /* step: index among the new tokens */
    int64_t expected, actual;
    double margin, bound; /* NaN: not known */
    bool near_tie;
    const char *why; /* one phrase */
} llava_flip;

typedef struct {
    llava_flip *flips; /* [count], by sample */
    size_t count;
    size_t compared;   /* tokens up to and with the first that differs, over the samples */
    bool other_length; /* one goes on where the other ended, and no differing token explains it */
    const char *why;   /* of the worst flip; NULL: none */
    bool all_near_ties;
} llava_flips;

/* The l2 bound of the logits tap `name`, `width` wide. */
typedef bool llava_logits_bound(void *self, const char *name, size_t width, double *l2,
                                llava_error *e);

/* Compares `generated_ids`, both [B, any length]. bound NULL: the type that the port computes in is
 * not known, and no differing token can be called a near tie. Where the port supplies its own
 * logits of the step, they must prefer its token. */
bool llava_flips_find(llava_flips *flips, llava_dump *expected, llava_port *actual,
                      llava_logits_bound *bound, void *self, llava_error *e);
void llava_flips_free(llava_flips *flips);

/* Judges one flip by the logits [vocab] of its step. actual NULL: the port does not supply them. */
void llava_flip_judge(llava_flip *flip, const double *expected, const double *actual, size_t vocab,
                      double l2);

/* Tells what counts about the flips, one at least: flipped[b], steps from which on sample b is not
 * compared. */
bool llava_flips_count(const llava_flips *flips, size_t batch, llava_counting *counting,
                       llava_error *e);

/* The lowest step at which any sample of the port's generated_ids differs from EXPECTED's;
 * SIZE_MAX: none, or one side has none. */
bool llava_first_flip(llava_dump *expected, llava_port *actual, size_t *step, llava_error *e);

#endif
