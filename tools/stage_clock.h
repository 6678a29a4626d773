/* The time of each stage of a run, taken from outside: a sink that watches the names which the
 * stages announce, in the order of the flow.
 *
 * The time between two announcements belongs to the stages that the second name ends:
 *
 *   vision         every vision.*: from the last input to vision.features
 *   vision.linear  patch_embed, attn.q .k .v .out, mlp.fc1 .out: the products with weights, bias
 *                  and rounding included, and the zeroed memory of their results
 *   projector      every projector.*: both products and the activation
 *   text.prefill   every text.*: token table, merge, rotary tables, layers, final norm
 *   text.linear    attn.q .k .v .out, mlp.gate .up .out
 *   text.attention attn.context: from the rotated k on, so storing the keys and values, scores,
 *                  softmax and the weighted sum, but not the rotation
 *   logits         from text.norm to the end of the pass, or the first step (its token chosen)
 *   decode         every step.*, all of a step together
 *   dump           what the inner sink spends on the taps it is given
 *
 * attn.scores and attn.probs are no marks: attention asks about them ahead of its work. */
#ifndef LLAVA_STAGE_CLOCK_H
#define LLAVA_STAGE_CLOCK_H

#include "ref/tap.h"

typedef enum {
    LLAVA_BENCH_LOAD,
    LLAVA_BENCH_VISION,
    LLAVA_BENCH_VISION_LINEAR,
    LLAVA_BENCH_PROJECTOR,
    LLAVA_BENCH_TEXT,
    LLAVA_BENCH_TEXT_LINEAR,
    LLAVA_BENCH_TEXT_ATTENTION,
    LLAVA_BENCH_LOGITS,
    LLAVA_BENCH_DECODE,
    LLAVA_BENCH_DUMP,
    LLAVA_BENCH_STAGES,
} llava_bench_stage;

/* "load", "vision", ... as the contract spells them. */
const char *llava_bench_stage_name(llava_bench_stage stage);

/* Seconds: CPU time of the process (all threads, user and system), and of the clock on the wall. */
typedef struct {
    double cpu, wall;
} llava_instant;

llava_instant llava_instant_now(void);

typedef struct {
    llava_instant (*now)(void);
    const llava_sink *inner; /* NULL: none */
    llava_instant last;      /* the mark before */
    bool decoding;
    size_t steps; /* decoding steps begun */
    llava_instant spent[LLAVA_BENCH_STAGES];
    bool ran[LLAVA_BENCH_STAGES];
} llava_stage_clock;

/* Adds the time since `from` to a stage, and makes this moment the mark. */
void llava_stage_clock_add(llava_stage_clock *clock, llava_bench_stage stage, llava_instant from);
/* A sink for one run that begins now. now: llava_instant_now, or a test's clock. */
llava_sink llava_stage_clock_sink(llava_stage_clock *clock, llava_instant (*now)(void),
                                  const llava_sink *inner);
/* The run is over: what came behind the last name. */
void llava_stage_clock_end(llava_stage_clock *clock);

#endif
