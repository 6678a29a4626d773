/* Sizes by the letters of contract section 2, for name maps: "h*d" is a number once the model, or
 * another dump of the same run, is known. */
#ifndef LLAVA_SIZES_H
#define LLAVA_SIZES_H

#include "ref/taps.h"
#include "tools/dump.h"

enum { LLAVA_SIZE_NAMES = 19 };

/* h and d of the tower are not those of the language model. */
typedef enum { LLAVA_SIZES_IMAGE, LLAVA_SIZES_VISION, LLAVA_SIZES_TEXT } llava_sizes_of;

typedef struct {
    bool known[3][LLAVA_SIZE_NAMES];
    size_t value[3][LLAVA_SIZE_NAMES];
    const llava_text_plan *text; /* whose sliding layers have a smaller S'; NULL: no model known */
} llava_sizes;

/* The decoding step of a tap, 0 in the prefill, and its layer. S is 1 in a step, S' is S + step, or
 * what a sliding layer's window holds. */
typedef struct {
    size_t step, layer;
} llava_sizes_pass;

/* All sizes that the plan, which has to stay, knows; none for NULL. Not B, S, N: those are a run's.
 */
void llava_sizes_from_plan(llava_sizes *sizes, const llava_plan *plan);
/* Those that a tap of this name and shape shows, where they are not known yet. Names that are no
 * taps, decoding steps and shapes of another rank show nothing. */
void llava_sizes_learn(llava_sizes *sizes, const char *tap, int rank, const size_t *shape);

/* Where an expression stands. */
typedef struct {
    const llava_sizes *sizes;
    const llava_tap_kind *kind; /* of the tap */
    llava_sizes_pass pass;
    int rank; /* of the port's tensor, whose extents are n0, n1, ... */
    const size_t *shape;
} llava_sizes_at;

/* The part of the model that a tap belongs to. */
llava_sizes_of llava_sizes_part(const llava_tap_kind *kind);

/* Is it a sum of products of numbers and names: "1", "S", "h*d", "h+2*k", "n1"? "?" is one, too. */
bool llava_size_check(const char *text, llava_error *e);

/* Its value. *open: it is "?", or the one name of a run's size that nobody knows, so that the
 * element count may tell; *value is then 1. False: a size of the model that is not known, or an
 * open name inside a longer expression. */
bool llava_size_of(const llava_sizes_at *at, const char *text, size_t *value, bool *open,
                   llava_error *e);

#endif
