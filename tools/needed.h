/* The one table of the weights that a forward pass with pictures reads. What a checkpoint lacks,
 * what it holds in vain, and how many multiplications the model takes all come from it. */
#ifndef LLAVA_NEEDED_H
#define LLAVA_NEEDED_H

#include "ref/plan.h"

typedef enum {
    LLAVA_PART_VISION,
    LLAVA_PART_PROJECTOR,
    LLAVA_PART_TEXT,
    LLAVA_PART_OTHER, /* of no part of this model */
} llava_part;

/* "vision", "projector", "text", "other". */
const char *llava_part_name(llava_part part);
/* The part that a tensor belongs to, by its name in any spelling of transformers, or in the
 * original project's. */
llava_part llava_part_of(const char *name, bool original);

/* On how many rows a weight is a factor: none (norms, biases, tables), or each row of ... */
typedef enum {
    LLAVA_PER_NOTHING,
    LLAVA_PER_PATCH,
    LLAVA_PER_VISION_ROW,
    LLAVA_PER_FEATURE_ROW,
    LLAVA_PER_POSITION,
    LLAVA_PER_LOGITS_ROW,
    LLAVA_PER_COUNT,
} llava_per;

typedef struct {
    const char *name; /* canonical (ref/checkpoint.h) */
    int rank;
    size_t shape[4];
    llava_part part;
    llava_per per;
    bool optional; /* a tied head: the token table stands in where it is absent */
} llava_needed;

/* Calls each for every weight, in the order of the flow; stops with false where each does. Tower
 * layers behind the last chosen hidden state are not among them. */
bool llava_needed_list(const llava_plan *plan, bool (*each)(void *self, const llava_needed *weight),
                       void *self);

/* The same for the weights that transformers' model has besides and that no feature comes from:
 * tower layers behind the last chosen hidden state, the norm behind them, SigLIP's pooling head. */
bool llava_spare_list(const llava_plan *plan, const llava_config *config,
                      bool (*each)(void *self, const llava_needed *weight), void *self);

#endif
