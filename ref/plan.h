/* The plan: what one run does, as plain numbers and enumerations.
 *
 * Made once from the model folder's configuration and the choices; the stages read it and never ask
 * whether it is right. So the model stays a clean text, and a known bug is a different plan. */
#ifndef LLAVA_PLAN_H
#define LLAVA_PLAN_H

#include "config.h"
#include "decisions.h"
#include "numerics.h"
#include "ops/ops.h"

typedef enum { LLAVA_CLASS_FIRST, LLAVA_CLASS_LAST, LLAVA_CLASS_ABSENT } llava_class_position;
typedef enum {
    LLAVA_POSITIONS_PLAIN,
    LLAVA_POSITIONS_SHIFTED,
    LLAVA_POSITIONS_REVERSED,
    LLAVA_POSITIONS_ABSENT,
} llava_position_rows;
/* Which of the rotary frequencies f_0 .. f_(d/2-1) a patch's row and column have: even ones and odd
 * ones; the first half and the second; the even ones, both. */
typedef enum {
    LLAVA_AXIAL_ALTERNATING,
    LLAVA_AXIAL_SPLIT,
    LLAVA_AXIAL_SHARED
} llava_axial_frequencies;
/* A patch's row and column in its picture; rows counted on from picture to picture; both its number
 * in the sequence. */
typedef enum {
    LLAVA_AXIAL_IN_PICTURE,
    LLAVA_AXIAL_CONTINUED,
    LLAVA_AXIAL_IN_SEQUENCE,
} llava_axial_positions;
typedef enum { LLAVA_ROWS_FULL, LLAVA_ROWS_DROP_FIRST, LLAVA_ROWS_DROP_LAST } llava_rows;

typedef struct {
    llava_tower tower;
    size_t hidden, intermediate, heads, head_dim;
    size_t layers;     /* in the config */
    size_t image_size; /* pixels, height and width */
    size_t patch;      /* pixels */
    size_t grid;       /* image_size / patch, rounded down: the position table's side */
    llava_act act;
    double norm_eps;
    bool patches_column_major, kernel_channels_last;
    llava_class_position class_position;
    size_t class_rows; /* of a sequence: 1, or 0 */
    llava_position_rows positions;
    size_t position_rows;  /* of the position table */
    size_t first_position; /* the table's row for row 0 of a sequence */
    bool patch_bias;       /* of the convolution */
    bool pre_norm, post_norm;
    double attn_scale;
    bool causal, attn_bias, qk_permuted;
    /* Pixtral */
    double rope_theta;
    llava_rope_pairing rope_pairing;
    llava_axial_frequencies rope_frequencies;
    llava_axial_positions rope_positions;
    bool rope_columns_first; /* a patch's column where its row belongs, and the reverse */
    bool pictures_apart;     /* a patch sees its own picture only */
    bool sizes_ignored;      /* every picture is all of its pixels */
    bool gate_up_swapped;
    size_t feature_count;                            /* chosen hidden states */
    size_t feature_layers[LLAVA_MAX_FEATURE_LAYERS]; /* 0: the state before layer 0 */
    size_t layers_needed;                            /* the highest of them and the config's */
    llava_rows select;
    size_t feature_width; /* hidden * feature_count */
} llava_vision_plan;

typedef enum {
    LLAVA_PLACE_AT_TOKENS,
    LLAVA_PLACE_ONE_EARLY,
    LLAVA_PLACE_ONE_LATE,
    LLAVA_PLACE_FRONT,
} llava_placement;

typedef enum {
    LLAVA_TEXT_POSITIONS_CONFIG,
    LLAVA_TEXT_POSITIONS_ONE_BASED,
    LLAVA_TEXT_POSITIONS_IMAGE_SHARED,
    LLAVA_TEXT_POSITIONS_MASK_IGNORED,
    LLAVA_TEXT_POSITIONS_MASK_CUMULATIVE,
} llava_text_positions;

typedef enum {
    LLAVA_SEES_CAUSAL,
    LLAVA_SEES_ALL,
    LLAVA_SEES_BEFORE, /* itself excluded */
    LLAVA_SEES_NEXT,   /* the next position included */
} llava_sees;

typedef enum { LLAVA_CACHE_NEXT, LLAVA_CACHE_REPEATED, LLAVA_CACHE_SKIPPED } llava_cache_position;

typedef struct {
    size_t vocab, hidden, intermediate, heads, kv_heads, head_dim;
    size_t layers;
    bool last_layer_absent; /* the last layer's taps are there, but it hands on what it gets */
    double norm_eps;
    bool norm_plus_one, norm_layer, final_norm;
    llava_rope rope;
    double rope_sign;
    llava_rope_pairing rope_pairing;
    double attn_scale;
    llava_sees sees;
    bool padding_mask;
    bool kv_interleaved;
    bool qkv_bias, out_bias, mlp_bias;
    llava_act act;
    bool gate_up_swapped;
    bool tied_head;
    llava_text_positions positions;
    llava_cache_position cache_position;
    size_t window; /* keys that a sliding layer's query sees, its own included; 0: no window */
    bool slides[LLAVA_MAX_LAYERS];
} llava_text_plan;

typedef struct {
    llava_numerics numerics;
    llava_vision_plan vision;
    llava_act projector_act;
    bool projector_bias;
    bool projector_linear; /* one layer and no activation */
    double merge_scale;    /* 1: not scaled at all */
    llava_placement placement;
    bool pictures_reversed;
    llava_text_plan text;
    int64_t image_token;
    llava_choices choices;
} llava_plan;

/* config + choices -> plan. Refused: a choice that can't act on this model ("no such layer", a bias
 * that the model has not). storage and islands: --dtype and --numerics. */
bool llava_plan_make(llava_plan *plan, const llava_config *config, const llava_choices *choices,
                     llava_dtype storage, bool islands, llava_error *e);

/* Of `past` cached keys, those that a sliding layer is still handed: what transformers'
 * DynamicSlidingWindowLayer keeps, one fewer than the window holds. */
size_t llava_keys_kept(const llava_text_plan *text, size_t past);

#endif
