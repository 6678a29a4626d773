/* The one table of decisions: every point where a port can go wrong (contract section 5).
 *
 * The right value is always the first, number 0. A llava_choices filled with zeros is the model as
 * it should be; a known bug is one other number in it. Stages never look here: plan.c turns config
 * and choices into plain numbers. */
#ifndef LLAVA_DECISIONS_H
#define LLAVA_DECISIONS_H

#include "error.h"

#define LLAVA_MAX_VALUES 11

typedef enum {
    LLAVA_IMAGE_CHANNEL_ORDER,
    LLAVA_IMAGE_GEOMETRY,
    LLAVA_IMAGE_PAD_COLOR,
    LLAVA_IMAGE_PAD_ALIGN,
    LLAVA_IMAGE_PAD_ORDER,
    LLAVA_IMAGE_RESIZE_FILTER,
    LLAVA_IMAGE_ANTIALIAS,
    LLAVA_IMAGE_CUBIC_A,
    LLAVA_IMAGE_RESIZE_ROUNDING,
    LLAVA_IMAGE_RESIZE_GRID,
    LLAVA_IMAGE_SIZE_ROUNDING,
    LLAVA_IMAGE_CROP_ROUNDING,
    LLAVA_IMAGE_PASS_ORDER,
    LLAVA_IMAGE_ALPHA,
    LLAVA_IMAGE_EXIF,
    LLAVA_IMAGE_JPEG_UPSAMPLING,
    LLAVA_IMAGE_JPEG_DCT,
    LLAVA_IMAGE_RESCALE,
    LLAVA_IMAGE_NORMALIZE,
    LLAVA_TOKENS_BOS,
    LLAVA_TOKENS_IMAGE_COUNT,
    LLAVA_TOKENS_IMAGE_BREAKS,
    LLAVA_TOKENS_PREFIX_SPACE,
    LLAVA_VISION_PATCH_ORDER,
    LLAVA_VISION_PATCH_KERNEL,
    LLAVA_VISION_PATCH_BIAS,
    LLAVA_VISION_IMAGE_SIZES,
    LLAVA_VISION_CLS_POSITION,
    LLAVA_VISION_POSITIONS,
    LLAVA_VISION_PRE_NORM,
    LLAVA_VISION_NORM_EPS,
    LLAVA_VISION_ACT,
    LLAVA_VISION_ATTN_SCALE,
    LLAVA_VISION_ATTN_MASK,
    LLAVA_VISION_PICTURE_MASK,
    LLAVA_VISION_ATTN_BIAS,
    LLAVA_VISION_QK_LAYOUT,
    LLAVA_VISION_ROPE_AXES,
    LLAVA_VISION_ROPE_FREQUENCIES,
    LLAVA_VISION_ROPE_THETA,
    LLAVA_VISION_ROPE_POSITIONS,
    LLAVA_VISION_ROPE_PAIRING,
    LLAVA_VISION_MLP_ORDER,
    LLAVA_VISION_FEATURE_LAYER,
    LLAVA_VISION_POST_NORM,
    LLAVA_VISION_SELECT,
    LLAVA_PROJECTOR_ACT,
    LLAVA_PROJECTOR_BIAS,
    LLAVA_MERGE_SCALE,
    LLAVA_MERGE_PLACEMENT,
    LLAVA_MERGE_ORDER,
    LLAVA_TEXT_NORM_EPS,
    LLAVA_TEXT_NORM_WEIGHT,
    LLAVA_TEXT_NORM_KIND,
    LLAVA_TEXT_ROPE_PAIRING,
    LLAVA_TEXT_ROPE_THETA,
    LLAVA_TEXT_ROPE_SCALING,
    LLAVA_TEXT_ROPE_RAMP,
    LLAVA_TEXT_ROPE_ATTN_FACTOR,
    LLAVA_TEXT_ROPE_TABLE,
    LLAVA_TEXT_ROPE_SIGN,
    LLAVA_TEXT_POSITIONS,
    LLAVA_TEXT_ATTN_SCALE,
    LLAVA_TEXT_ATTN_MASK,
    LLAVA_TEXT_PADDING_MASK,
    LLAVA_TEXT_KV_GROUPS,
    LLAVA_TEXT_QKV_BIAS,
    LLAVA_TEXT_SLIDING_WINDOW,
    LLAVA_TEXT_WINDOW_LAYERS,
    LLAVA_TEXT_MLP_ACT,
    LLAVA_TEXT_MLP_ORDER,
    LLAVA_TEXT_LAYERS,
    LLAVA_TEXT_FINAL_NORM,
    LLAVA_CACHE_POSITION,
    LLAVA_NUMERICS_WEIGHTS,
    LLAVA_NUMERICS_WEIGHTS_KEPT,
    LLAVA_NUMERICS_PATCH_INPUT,
    LLAVA_NUMERICS_MATMUL_INPUT,
    LLAVA_NUMERICS_ACT_TABLE,
    LLAVA_NUMERICS_ATTN_ACCUMULATE,
    LLAVA_NUMERICS_KV_CACHE,
    LLAVA_NUMERICS_ISLANDS,
    LLAVA_DECISION_COUNT,
} llava_decision_id;

typedef struct {
    const char *name;
    const char *values[LLAVA_MAX_VALUES]; /* ends with NULL; the first is the default */
    /* The taps whose own computation, from the taps right before them, the decision changes: names
     * of ref/taps.c's table, in the order of the flow, ending with NULL. The first is where it
     * shows first. "step.{g}." stands where only decoding steps are meant. For image.* alone, or
     * together with another choice of the picture stage. */
    const char *const *acts;
    const char *what;   /* what is decided here, and what each wrong value is */
    const char *source; /* where the right value stands */
    /* Who got it wrong, entries "; " apart: "PORT: what (EVIDENCE CATALOGUE) LINK". */
    const char *ports;
} llava_decision;

/* The decision of this number. */
const llava_decision *llava_decision_at(llava_decision_id id);

typedef struct {
    unsigned char value[LLAVA_DECISION_COUNT];
} llava_choices;

/* Takes one "NAME=VALUE". An unknown name or value is refused, listing what there is. */
bool llava_choose(llava_choices *choices, const char *setting, llava_error *e);

#endif
