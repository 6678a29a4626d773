/* A mask of four dimensions: attention_mask [B, 1, S, S], used as it is given.
 *
 *   scores[b,h,s,t] + mask[b,0,s,t]          in place of the causal rule and of padding
 *
 * transformers' masking_utils hands such a mask on untouched, and the attention adds it. Floats are
 * therefore added here, whatever they are; 0 is seen and a very low number is not. Booleans (and
 * integers of 0 and 1, which PyTorch's attention refuses and the eager path would add) mean what
 * they mean in two dimensions: 1 is seen. Source: spec 4.5, transformers masking_utils.py. */
#include "model.h"

#include <math.h>
#include <stdlib.h>

bool llava_inputs_square_mask(llava_inputs *in, bool added, llava_error *e)
{
    size_t square = in->length * in->length, count = in->batch * square, biased = 0;
    in->sees = llava_alloc(e, count, 1);
    if (in->sees == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        double value = in->mask_bias[i];
        if (added ? !(value < (double)INFINITY) : value != 0 && value != 1) {
            return llava_fail(e, "attention_mask: %g at [%zu, 0, %zu, %zu] is %s", value,
                              i / square, i / in->length % in->length, i % in->length,
                              added ? "nothing to be added to scores" : "neither 0 nor 1");
        }
        in->sees[i] = added ? value > LLAVA_MASKED : value != 0;
        biased += added && in->sees[i] && value != 0;
    }
    if (biased == 0) {
        free(in->mask_bias);
        in->mask_bias = NULL;
    }
    return true;
}

bool llava_mask_is_of_ones(const llava_inputs *in)
{
    size_t count = in->batch * in->length * in->length, ones = 0;
    for (size_t i = 0; in->mask_bias != NULL && i < count; i++) {
        if (in->mask_bias[i] != 0 && in->mask_bias[i] != 1) {
            return false;
        }
        ones += in->mask_bias[i] == 1;
    }
    return ones > 0;
}
