/* What the stages of a run have to do: the arithmetic of their products and the bytes that they
 * must read or write, counted from the plan and the weights. */
#ifndef LLAVA_STAGE_WORK_H
#define LLAVA_STAGE_WORK_H

#include "ref/model.h"
#include "tools/stage_clock.h"

/* flop: 2 for each multiply and add of a product; norms, activations, softmax and rotation are not
 * counted. Attention counts every query with every key, masked ones too, because they are computed.
 * bytes: weights as they lie in the file, each once; keys and values as float64, each once. 0:
 * nothing of that kind is counted for this stage. */
typedef struct {
    double flop, bytes;
} llava_stage_work;

/* steps: decoding steps that were made; decode is the mean of one. dump and load are left 0. */
void llava_stage_work_count(llava_stage_work work[LLAVA_BENCH_STAGES], const llava_plan *plan,
                            const llava_checkpoint *weights, const llava_inputs *in, size_t steps);

#endif
