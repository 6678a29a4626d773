/* Trying decisions on a span: which one, taken the wrong way, makes the reference produce what the
 * port has? */
#ifndef LLAVA_TRIAL_H
#define LLAVA_TRIAL_H

#include "tools/diagnose.h"
#include "tools/replay.h"

typedef struct {
    llava_replay_spec spec; /* plan is set for each trial */
    const llava_counting *counting;
    const llava_choices *base;   /* roundings that the port has everywhere */
    llava_dtype type;            /* the port's */
    const llava_some_rows *only; /* positions that a cause is tried on; NULL: all */
    double done;                 /* of a row of trials, for a terminal; 0: not known */
} llava_trial;

/* Is an error no more than honest rounding? At most 4 times the noise in L2, 8 times in max. */
bool llava_explained(double error, double error_max, const llava_judged *judged);

/* The port's tensor against values of the same shape, a piece at a time, at some positions (only
 * NULL: at all). inherit: where both are NaN, it came from before. */
bool llava_compare_port(const llava_counting *counting, llava_port *port,
                        const llava_port_tensor *tensor, const llava_some_rows *only,
                        const double *mine, bool inherit, llava_comparison *result, llava_error *e);

/* Is the model so small that every trial costs next to nothing? Then none is spared. */
bool llava_trial_is_cheap(const llava_trial *trial);

/* The plan of an honest port of that type, with the float32 islands and sums that go with it;
 * islands: in float64, too. */
bool llava_honest_plan(const llava_config *config, const llava_choices *choices, llava_dtype type,
                       bool islands, llava_plan *plan, llava_error *e);

/* Does any of a cause's decisions act in the span? */
bool llava_cause_acts(const llava_span *span, const llava_cause *cause);

/* Adds to the noise of the tap that the span leads to what the base's own roundings to few bits may
 * do: a value near the middle of two goes either way as the last bits before it fall. */
bool llava_trial_allow_ties(const llava_trial *trial, const llava_span *span, llava_judged *judged,
                            llava_error *e);

/* Raises the noise to what honest rounding usually makes of the span: to the root of the mean
 * square over several draws of its roundings, of port's tensors that are shaken a little, for in a
 * few numbers a single one may by luck be far below it. Where few roundings make most of the error,
 * more than that, so that 4 times the noise holds in all of so many taps. */
bool llava_trial_average_noise(const llava_trial *trial, const llava_span *span, llava_dtype type,
                               bool islands, size_t taps, llava_judged *judged, llava_error *e);

/* The error that remains in the span with this cause's decisions, into cause->error, error_max.
 * A decision that the model refuses (no effect here) leaves infinity. */
bool llava_trial_cause(llava_trial *trial, const llava_span *span, llava_cause *cause,
                       llava_error *e);

/* The same for input_ids, pixel_values and image.* alone, computed from picture and prompt;
 * infinity where these choices can't, or where the inputs came from a file. */
bool llava_trial_inputs(llava_trial *trial, const llava_choices *choices, const char *tap,
                        llava_cause *cause, llava_error *e);

/* What goes into the model when a cause's image.* and tokens.* decisions are taken. The port gave
 * neither pixel_values nor ids then, or no such decision would be in question. */
typedef struct {
    llava_inputs inputs; /* borrowed from the two below and from the trial's own */
    double *pixels;
    llava_request request;
    llava_session session;
    bool has_session;
} llava_altered;

/* *made false: it cannot be made of this picture and prompt. Freed in any case. */
bool llava_altered_make(llava_altered *altered, llava_trial *trial, const llava_choices *choices,
                        const llava_cause *cause, bool *made, llava_error *e);
void llava_altered_free(llava_altered *altered);

/* Is what a cause leaves in the span, as llava_trial_cause has found it, no more than honest
 * rounding, of the right model or of the one with the cause? */
bool llava_trial_explains(llava_trial *trial, const llava_judged *judged, const llava_span *span,
                          const llava_cause *cause, bool *does, llava_error *e);

/* pixel_values alone: what these choices add to the noise of a port's, where its resize rounds
 * nothing. Its weights are float32 numbers then, and an input position p is off by p 2^-24. */
void llava_allow_float_resize(llava_judged *judged, const llava_session *session,
                              const llava_choices *choices);

/* Tries every decision that acts in the finding's span, in every value, then pairs; fills causes,
 * cause_count and confidence. */
bool llava_trial_search(llava_trial *trial, const llava_judged *judged, llava_finding *finding,
                        llava_error *e);

#endif
