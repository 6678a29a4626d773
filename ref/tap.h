/* The tap sink: where a stage hands out a named tensor at a defined point.
 *
 * A stage says llava_tap_put(...) and knows no more. The dump writer, the hash, the comparer and
 * the diagnosis (which overwrites the tensor with a port's own, so that what follows is computed
 * from the port's values) are sinks. */
#ifndef LLAVA_TAP_H
#define LLAVA_TAP_H

#include "error.h"
#include "number.h"

#define LLAVA_MAX_RANK 5
#define LLAVA_TAP_NAME 96

typedef struct {
    const char *name;
    llava_dtype dtype; /* what a dump holds */
    int rank;
    size_t shape[LLAVA_MAX_RANK];
    void *data; /* C order: double[] for the floating types, int64_t[] for I64, uint8_t[] for U8 */
} llava_tap;

typedef struct {
    /* Is this tap asked for? Stages skip work that only an unasked tap needs. */
    bool (*wants)(void *self, const char *name);
    /* Takes one tap. May change tap->data in place; must not keep the pointer. */
    bool (*take)(void *self, const llava_tap *tap, llava_error *e);
    void *self;
} llava_sink;

/* Number of elements of a tap. */
size_t llava_tap_count(const llava_tap *tap);

#endif
