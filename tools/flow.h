/* The flow of the model as a page shows it: one card per stage, one row per layer, one cell per
 * tap, each with a colour, a sign and a text that say how it stands. */
#ifndef LLAVA_FLOW_H
#define LLAVA_FLOW_H

#include "ref/taps.h"
#include "tools/html.h"

typedef enum {
    LLAVA_FLOW_ABSENT,    /* not supplied */
    LLAVA_FLOW_WITHIN,    /* within rounding */
    LLAVA_FLOW_INHERITED, /* off only because of what came before */
    LLAVA_FLOW_DOUBTFUL,  /* diff: further off than the peer */
    LLAVA_FLOW_UNJUDGED,
    LLAVA_FLOW_OFF,   /* diff: off, whether by itself or not */
    LLAVA_FLOW_FIRST, /* diff: the first that is off */
    LLAVA_FLOW_WRONG, /* wrong here */
    LLAVA_FLOW_STATES,
} llava_flow_state;

typedef struct {
    const char *name; /* not copied */
    llava_flow_state state;
    int rank;
    size_t shape[LLAVA_MAX_RANK];
    bool exact;
    double error;    /* made here (diagnose) or in all (diff); negative: not known, as below */
    double allowed;  /* what honest rounding makes of it */
    double total;    /* against the plain reference */
    const char *why; /* or NULL */
    llava_tap_place place; /* set by llava_flow_sort */
    bool known;            /* the name is a tap's */
} llava_flow_tap;

/* Into the order of the flow; names that are no taps last. */
void llava_flow_sort(llava_flow_tap *taps, size_t count);

/* Taps as llava_flow_sort leaves them. local: the errors are those made in each span. */
void llava_flow_write(llava_html *h, const llava_flow_tap *taps, size_t count, bool local);
/* The same taps in numbers, as a table. */
void llava_flow_numbers(llava_html *h, const llava_flow_tap *taps, size_t count, bool local);

#endif
