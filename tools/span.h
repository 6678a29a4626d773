/* A span: the computation between a tap that a port supplies and the nearest taps before it that
 * the port supplies too. Missing taps widen it. */
#ifndef LLAVA_SPAN_H
#define LLAVA_SPAN_H

#include "tools/port.h"

enum { LLAVA_SPAN_KINDS = 64 };

typedef struct {
    char tap[LLAVA_TAP_NAME];
    /* The kinds of taps that are computed inside, the tap's own included: which decisions can act.
     */
    bool kinds[LLAVA_SPAN_KINDS];
    /* Layers that it reaches into; first > last: none. */
    size_t first_vision_layer, last_vision_layer, first_text_layer, last_text_layer;
    /* Taps that it is computed from, in the order of the flow. */
    char (*from)[LLAVA_TAP_NAME];
    size_t from_count;
} llava_span;

/* The span that ends at a tap. Inputs of the run (ids, mask, positions, pixel_values) end a span
 * whether the port supplies them or not; where it does not, what makes them is inside. */
bool llava_span_find(llava_span *span, const char *tap, const llava_port *port,
                     const llava_plan *plan, llava_error *e);
void llava_span_free(llava_span *span);

/* Does a decision act inside? */
bool llava_span_acts(const llava_span *span, llava_decision_id id);

#endif
