/* What the model itself says about a dump of right tensors: how far an honest port of some type
 * gets from them, and how far each wrong decision would. Both are measured by replaying the model
 * from the dump's own inputs and tensors, and no constant stands for them. */
#ifndef LLAVA_EFFECTS_H
#define LLAVA_EFFECTS_H

#include "tools/bounds.h"
#include "tools/diff.h"
#include "tools/session.h"

typedef struct llava_honest llava_honest;

/* The dump at `expected` must hold input_ids (and pixel_values where there are pictures). Every tap
 * that it holds is computed once more in `type`, with that type's rounding after every operation
 * and sums in float32: an honest port. */
bool llava_honest_open(llava_honest **honest, const llava_request *model, const char *expected,
                       llava_dtype type, llava_error *e);
/* The bound of a tap: 4 times the honest port's error in L2, 8 times in max; false where the tap
 * was not computed. */
bool llava_honest_bound(const llava_honest *honest, const char *name, llava_bound *bound);
void llava_honest_close(llava_honest *honest);

/* For each wrong value of each decision that acts on what the dump holds: the first tap at which it
 * shows, and the error that it makes there, computed from right tensors (llava_effect in
 * tools/diff.h). */
bool llava_effects_measure(llava_honest *honest, llava_effect **effects, size_t *count,
                           llava_error *e);

#endif
