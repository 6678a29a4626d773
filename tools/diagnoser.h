/* A diagnosis at work: what its parts share, diagnose_*.c, one file each. */
#ifndef LLAVA_DIAGNOSER_H
#define LLAVA_DIAGNOSER_H

#include "tools/diagnose.h"
#include "tools/trial.h"

typedef struct {
    llava_session session;
    llava_port *port;
    llava_inputs inputs; /* the session's, the port's own in their place where it supplies them */
    llava_counting counting;
    llava_choices base;   /* the roundings found to hold everywhere */
    llava_dtype types[2]; /* of the tower and projector, and of the language model */
    bool shows_islands;   /* are there probabilities or rotary tables to recognise islands by? */
    bool all_noise;       /* --all-noise: of every span, not only of those in doubt */
    bool positions_given; /* --positions: only that convention is right */
    /* The port's ids and pictures go together; if not, its ids alone do for the language model. */
    bool inputs_fit, ids_fit;
    size_t inputs_judged; /* taps of the result that are no part of the replay */
    llava_trial trial;
    llava_diagnosis result;
} llava_diagnoser;

/* ---- diagnose_inputs.c */

/* Judges what the port supplies of ids, mask, positions, pictures and pixel values, and puts it
 * into inputs, with what follows from it. */
bool llava_diagnose_inputs(llava_diagnoser *d, llava_error *e);

/* ---- diagnose_spans.c */

/* A new tap behind the others, nothing known of it yet; NULL: no memory. */
llava_judged *llava_add_judged(llava_diagnoser *d, const char *name, int rank, const size_t *shape,
                               llava_error *e);

/* The types that most of the port's tensors were computed in. */
bool llava_diagnose_types(llava_diagnoser *d, llava_error *e);

/* Local errors of every span, in the order of the flow, behind the inputs, and the noise of those
 * whose error is more than the least noise of the type allows; what was judged there before is
 * forgotten. Where a float64 port supplies nothing to recognise float32
 * islands by, they are assumed if with them fewer spans are wrong. */
bool llava_diagnose_spans(llava_diagnoser *d, llava_error *e);
/* Measures the noise of the span that leads to a judged tap, what the port's own roundings add to
 * it too, unless that has been done; the tap may turn out not to be wrong. */
bool llava_diagnose_noise(llava_diagnoser *d, llava_judged *judged, const llava_span *span,
                          llava_error *e);
void llava_forget_taps(llava_diagnosis *r, size_t keep);

/* Total errors from the first wrong tap on, and which right taps inherit them: the port against a
 * reference that goes on from what was right before it. */
bool llava_diagnose_totals(llava_diagnoser *d, llava_error *e);

/* ---- diagnose_findings.c */

/* A finding for every wrong tap that no earlier finding's cause explains. */
/* One more, of unknown cause so far; takes the span, in any case. */
llava_finding *llava_add_finding(llava_diagnoser *d, size_t judged, llava_span *span,
                                 llava_error *e);
bool llava_diagnose_causes(llava_diagnoser *d, llava_error *e);
void llava_forget_findings(llava_diagnosis *r);

/* ---- diagnose_precision.c */

/* Moves the rounding among the findings' causes that holds in every span, and explains most, into
 * the base that the port is held against; *moved says whether there was one. A rounding that acts
 * in one layer and not in the others stays a finding. */
bool llava_adopt_rounding(llava_diagnoser *d, bool *moved, llava_error *e);

/* Of each finding's likely causes, those remain that account best for the whole port: a decision
 * is taken once, so one that would spoil right taps elsewhere is not it. */
bool llava_narrow_causes(llava_diagnoser *d, llava_error *e);

/* Where neither the port's positions nor --positions are there, both conventions are honest: a
 * finding that the other one explains is none. Says whether the convention has changed so. */
bool llava_take_other_convention(llava_diagnoser *d);

/* ---- diagnose_tokens.c */

/* Judges generated_ids: is each token the one that its logits choose? Behind all other findings. */
bool llava_diagnose_tokens(llava_diagnoser *d, llava_error *e);

/* ---- diagnose_view.c */

/* The result as a page, with pictures of the first wrong tap. */
bool llava_diagnose_page(llava_diagnoser *d, const char *path, llava_error *e);

#endif
