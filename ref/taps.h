/* The one table of taps: every named tensor of the contract in the order of the data's flow, with
 * its shape, the formula that makes it, and its source. What can be asked for, what a dump will
 * hold and how large it is, and what a run must compute for it, all come from this table. */
#ifndef LLAVA_TAPS_H
#define LLAVA_TAPS_H

#include "model.h"

typedef enum {
    LLAVA_AT_IMAGE, /* the picture file up to pixel_values */
    LLAVA_AT_INPUT, /* ids, mask, positions */
    LLAVA_AT_VISION,
    LLAVA_AT_VISION_LAYER,
    LLAVA_AT_FEATURES,
    LLAVA_AT_PROJECTOR,
    LLAVA_AT_EMBED,
    LLAVA_AT_MERGE,
    LLAVA_AT_ROPE,
    LLAVA_AT_TEXT_LAYER,
    LLAVA_AT_NORM,
    LLAVA_AT_LOGITS,
    LLAVA_AT_LOSS,
    LLAVA_AT_ANSWER,
} llava_at;

typedef struct {
    const char *name;  /* "{i}" stands for the layer's number */
    const char *shape; /* letters, as contract section 2 has them: "N,T,h,d" */
    llava_at at;
    /* What it is computed from, separated by blanks: kinds by name, and {below} the hidden state
     * that enters the layer, {top} the last layer's output, {chosen} the chosen hidden states of
     * the tower. a|b: the first of them that the tower has. Where several stand in a row of image
     * stages, the nearest that exists. */
    const char *from;
    const char *formula; /* one line */
    const char *source;  /* where it stands in transformers / in the spec */
} llava_tap_kind;

size_t llava_tap_kinds(const llava_tap_kind **kinds);

/* Does a model with such a tower have taps of this kind? */
bool llava_tap_of_tower(const llava_tap_kind *kind, llava_tower tower);

/* Is this the name of a tap that the pattern (a name of the table, or of a decision's acts) stands
 * for? Numbers, or the letters themselves, stand for "{i}" and "{g}"; a pattern without "step.{g}."
 * means the prefill and every decoding step, "image.rgb" every picture ("image.3.rgb"). */
bool llava_tap_matches(const char *pattern, const char *name);

/* Sizes of one run, for the shapes. */
typedef struct {
    size_t batch, length, pictures; /* B, S, N */
    size_t height, width;           /* of pixel_values */
    llava_tower_shape tower;
    bool embeds_given; /* inputs_embeds: no input_ids */
    bool labels;
    size_t logit_rows;     /* positions with logits; 0: all */
    bool square_mask;      /* attention_mask is [B, 1, S, S] */
    llava_dtype mask_type; /* its type */
    size_t steps;          /* decoding steps at most: N of --generate, less one; 0 without */
    bool generates;
    llava_dtype pixel_type;
    bool all_vision_layers;     /* list tower layers behind the last chosen one too */
    size_t vision_layers_there; /* tower layers that the checkpoint has */
} llava_tap_sizes;

/* Calls each(self, tap) for every tap that such a run has behind the picture stage, in order, with
 * tap->data NULL. Stops with false where each does. */
bool llava_taps_list(const llava_plan *plan, const llava_tap_sizes *sizes,
                     bool (*each)(void *self, const llava_tap *tap), void *self);

/* Adds to *goal what has to be computed so that every wanted tap of this run appears, and
 * everything that needs in turn; *step_goal is the same for a decoding step. sink NULL: no tap is
 * wanted. The caller first sets what its own answer needs (last_logits, loss), the rest being false
 * and 0. */
void llava_taps_goal(const llava_plan *plan, const llava_tap_sizes *sizes, const llava_sink *sink,
                     llava_goal *goal, llava_goal *step_goal);

/* Where a tap stands in the flow. Compared field by field, in this order. */
typedef struct {
    size_t step;  /* decoding step; 0: the prefill */
    size_t block; /* index of its kind, or of the first kind of its layer's block */
    size_t layer; /* or the picture's number */
    size_t kind;  /* index into llava_tap_kinds */
} llava_tap_place;

/* The place of a tap's name; false where no tap is called so. */
bool llava_tap_find(const char *name, llava_tap_place *place);
/* < 0, 0, > 0 as a stands before, at, behind b. */
int llava_tap_compare(const llava_tap_place *a, const llava_tap_place *b);

#endif
