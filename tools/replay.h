/* The model run along a port's tensors: at every tap that the port supplies, the reference's own
 * tensor is handed out and then replaced by the port's, so that each span between two supplied taps
 * is computed from what the port had. An error shows where it is made and not where it arrives. */
#ifndef LLAVA_REPLAY_H
#define LLAVA_REPLAY_H

#include "tools/port.h"
#include "tools/session.h"

typedef struct {
    llava_session *session; /* config, inputs and weights */
    const llava_inputs *inputs;
    const llava_plan *plan;
    llava_port *port;  /* its taps are the ones handed out */
    bool forced;       /* false: the port's tensors replace nothing (the plain reference) */
    bool generates;    /* the port's dump is of a generation */
    size_t tokens;     /* of it */
    llava_fast *fast;  /* the fast path instead of the plain one; NULL: plain */
    const char *doing; /* what a terminal is told of it; NULL: nothing */
    bool logits;       /* every step's logits are handed out, those too that the port has not */
    /* Not 0: the port's tensors go in with every value 0 to 3 units of the last place of that type
     * nearer to zero, other ones for every number. */
    unsigned shaken;
    llava_dtype shaken_type;
    llava_answer *answer; /* takes the tokens of a generation; NULL: nobody asks */
} llava_replay_spec;

/* The sizes of the run that it follows. */
llava_tap_sizes llava_replay_sizes(const llava_replay_spec *spec);

/* Has the port's tensor the shape that the model's tap has? */
bool llava_replay_same_shape(const llava_tap *tap, const llava_port_tensor *t);

/* Is this the name of the prefill's or of a step's logits? */
bool llava_is_logits(const char *name);

/* Runs in this process. take: called with every tap that the port supplies as a floating tensor,
 * before it is replaced (tensor NULL: logits that it does not supply); false from it ends the run.
 * A tensor of another shape replaces nothing: what comes after it is computed from the reference's
 * own. goal NULL: what those taps need. */
bool llava_replay_run(const llava_replay_spec *spec, const llava_goal *goal,
                      bool (*take)(void *self, const llava_tap *tap,
                                   const llava_port_tensor *tensor, llava_error *e),
                      void *self, llava_error *e);

/* The same in a child process, its taps read here one after the other: two passes can be held
 * against each other in the memory of one tensor each. */
typedef struct llava_replay llava_replay;

bool llava_replay_start(llava_replay **replay, const llava_replay_spec *spec,
                        const llava_goal *goal, llava_error *e);
/* The next tap; its data is NULL: read piece by piece, what is left of the one before is passed
 * over. *end: there is none. */
bool llava_replay_next(llava_replay *replay, llava_tap *tap, bool *end, llava_error *e);
/* The next n elements of that tap. */
bool llava_replay_read(llava_replay *replay, double *values, size_t n, llava_error *e);
void llava_replay_stop(llava_replay *replay);

#endif
