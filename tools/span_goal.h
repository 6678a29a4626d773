/* How little of the model has to run for one span. */
#ifndef LLAVA_SPAN_GOAL_H
#define LLAVA_SPAN_GOAL_H

#include "tools/replay.h"
#include "tools/span.h"

/* The goal of a replay that ends at the span's tap and begins at the last tensor of the flow from
 * which the whole span follows: the hidden state that enters its first layer, vision.features,
 * projector.out or text.inputs_embeds, as the port has it. What leads there is not run. From the
 * pixels where there is no such tensor, or the port supplies it in part. */
void llava_span_goal(const llava_replay_spec *spec, const llava_span *span, llava_goal *goal);

/* Likewise of a replay that ends with the last tap, but begins where the span does. */
void llava_span_goal_onward(const llava_replay_spec *spec, const llava_span *span,
                            llava_goal *goal);

/* Where the port's ids and pictures do not go together: all supplied taps of one part of the model,
 * 0 the tower and projector, 1 the language model from the first hidden state on that the port
 * supplies whole. False: there is none. */
bool llava_part_goal(const llava_replay_spec *spec, int part, llava_goal *goal);

/* The tap of the tensor that a goal begins with; "" where it begins with the pixels. */
void llava_goal_start(const llava_goal *goal, char name[LLAVA_TAP_NAME]);

/* Is this the tensor, all zeros until the port's is put there, that a goal begins with? */
bool llava_goal_begins_with(const llava_goal *goal, const char *tap);

#endif
