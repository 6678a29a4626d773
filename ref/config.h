/* What a model folder says: config.json, the processor files and generation_config.json,
 * with every default of transformers (spec sections 1, 6, 9). */
#ifndef LLAVA_CONFIG_H
#define LLAVA_CONFIG_H

#include "error.h"
#include "number.h"

#include <stdint.h>

#define LLAVA_MAX_FEATURE_LAYERS 64
#define LLAVA_MAX_STOP_IDS       64
#define LLAVA_MAX_LAYERS         10000u
#define LLAVA_MAX_ROPE_PAIRS     512 /* half a head's width, where each pair has a factor */

typedef enum {
    LLAVA_ACT_NONE, /* the identity; only a decision can ask for it */
    LLAVA_ACT_QUICK_GELU,
    LLAVA_ACT_QUICK_GELU_1773, /* MLX's old constant; only a decision can ask for it */
    LLAVA_ACT_GELU,
    LLAVA_ACT_GELU_TANH,
    LLAVA_ACT_SILU,
    LLAVA_ACT_RELU,
} llava_act;

typedef enum { LLAVA_SELECT_DEFAULT, LLAVA_SELECT_FULL } llava_select;

typedef enum { LLAVA_TOWER_CLIP, LLAVA_TOWER_SIGLIP, LLAVA_TOWER_PIXTRAL } llava_tower;

typedef struct {
    llava_tower tower;
    size_t hidden, intermediate, layers, heads;
    size_t channels; /* 3 */
    size_t image_size, patch_size;
    llava_act act;
    double norm_eps;
    double rope_theta; /* Pixtral */
    bool pooling_head; /* SigLIP has one that no feature comes from */
} llava_vision_config;

typedef enum {
    LLAVA_ROPE_DEFAULT,
    LLAVA_ROPE_LINEAR,
    LLAVA_ROPE_DYNAMIC, /* its table changes with the length of the context */
    LLAVA_ROPE_YARN,
    LLAVA_ROPE_LONGROPE, /* so does this one's */
    LLAVA_ROPE_LLAMA3,
} llava_rope_type;

/* How one half of the pairs between the unscaled and the scaled frequencies is treated. */
typedef enum { LLAVA_RAMP_PLAIN, LLAVA_RAMP_ABSENT, LLAVA_RAMP_ALL } llava_rope_ramp;
/* Which of the tables that a type has: by the length, or always the same. */
typedef enum { LLAVA_TABLE_BY_LENGTH, LLAVA_TABLE_SHORT, LLAVA_TABLE_LONG } llava_rope_choice;

/* The recipe of the rotary frequencies; rope.h turns it into numbers. */
typedef struct {
    llava_rope_type type;
    double theta;
    double factor;                  /* linear, dynamic, yarn, llama3 */
    double attention_factor;        /* of cos and sin: yarn, longrope; else 1 */
    double max_positions;           /* max_position_embeddings: dynamic */
    double original_positions;      /* original_max_position_embeddings: yarn, longrope, llama3 */
    double low_factor, high_factor; /* llama3 */
    double beta_fast, beta_slow;    /* yarn */
    bool truncate;                  /* yarn */
    double short_factor[LLAVA_MAX_ROPE_PAIRS], long_factor[LLAVA_MAX_ROPE_PAIRS]; /* longrope */
    llava_rope_ramp ramp;     /* llama3, yarn: other than plain only by a decision */
    llava_rope_choice choice; /* dynamic, longrope: the same */
} llava_rope;

typedef enum { LLAVA_TEXT_LLAMA, LLAVA_TEXT_MISTRAL, LLAVA_TEXT_QWEN2 } llava_text_family;

typedef struct {
    llava_text_family family;
    size_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim;
    llava_act act;
    double norm_eps;
    llava_rope rope;
    bool qkv_bias, out_bias, mlp_bias;
    size_t max_positions;
    size_t window;                 /* keys that a sliding layer's query sees, its own included; 0 */
    bool slides[LLAVA_MAX_LAYERS]; /* which layers do */
} llava_text_config;

typedef struct {
    llava_vision_config vision;
    llava_text_config text;
    bool tied_head; /* lm_head is the token table */
    int64_t image_token;
    llava_act projector_act;
    bool projector_bias;
    bool projector_linear; /* one layer and no activation: the original project's first version */
    /* A checkpoint in the original project's spelling (ref/original.h) */
    bool original;
    bool pad_square; /* image_aspect_ratio: pad */
    bool start_end;  /* mm_use_im_start_end */
    llava_select select;
    size_t feature_layer_count;
    /* Indices into the hidden states, resolved: 0 is the state before layer 0, L the last layer's
     * output. Order and repetition as written. */
    size_t feature_layers[LLAVA_MAX_FEATURE_LAYERS];
    /* generation_config.json; only where there is none, config.json and its text part. Nothing is
     * defaulted, as in transformers: a model may have no stop id. */
    size_t stop_count;
    int64_t stop_ids[LLAVA_MAX_STOP_IDS]; /* eos_token_id */
    int64_t pad_id;                       /* pad, or the first stop id, or -1 */
    int64_t bos_id;                       /* -1 where none */
    /* The key of generation_config.json, if any, for which greedy decoding in transformers would
     * differ from ours (repetition_penalty, ...): generating must be refused, naming it. */
    char unsupported_generation[48];
    /* "text_config.foo, bar": keys of config.json that nobody knows and nobody reads, for a
     * warning;
     * "..." at its end where there are more. */
    char unknown_keys[400];
} llava_config;

/* Reads FOLDER/config.json (required) and FOLDER/generation_config.json (optional). A value that is
 * impossible, a model type or activation that is not supported: refused, naming file and key. */
bool llava_config_read(llava_config *config, const char *folder, llava_error *e);

/* Other hidden states than the configuration's, as forward's argument of that name chooses them for
 * one call: as many as the projector is built for, each counted as in config.json. `where` begins
 * an error. */
bool llava_config_feature_layers(llava_config *config, const char *where, const int64_t *layers,
                                 size_t count, llava_error *e);

/* The activation's name as transformers spells it ("quick_gelu", "gelu", "gelu_pytorch_tanh", ...).
 */
const char *llava_act_name(llava_act act);

typedef enum {
    LLAVA_RESAMPLE_NEAREST = 0, /* Pillow's numbers */
    LLAVA_RESAMPLE_LANCZOS = 1,
    LLAVA_RESAMPLE_BILINEAR = 2,
    LLAVA_RESAMPLE_BICUBIC = 3,
    LLAVA_RESAMPLE_BOX = 4,
    LLAVA_RESAMPLE_HAMMING = 5,
} llava_resample;

/* The image processor's class. */
typedef enum {
    LLAVA_IMAGES_CLIP,
    LLAVA_IMAGES_LLAVA,   /* do_pad makes a picture square before the resize */
    LLAVA_IMAGES_SIGLIP,  /* both edges to the size */
    LLAVA_IMAGES_PIXTRAL, /* its own size for every picture, given as image_sizes */
} llava_images;

/* The class of the processor around it: how placeholders are expanded. */
typedef enum {
    LLAVA_PROCESSOR_UNNAMED, /* no file names one: by the vision model's family */
    LLAVA_PROCESSOR_LLAVA,   /* one run of image tokens */
    LLAVA_PROCESSOR_PIXTRAL, /* a row of image tokens for each row of patches, breaks between */
} llava_processor_class;

/* The image processor (spec 6.2 to 6.11) and the processor around it (6.1, 6.11). */
typedef struct {
    llava_images images;
    /* do_pad: to a square first (LLaVA); to the batch's common size at last (Pixtral) */
    bool do_pad, do_resize, do_center_crop, do_rescale, do_normalize;
    /* Either shortest_edge is positive, or both sizes are. */
    size_t shortest_edge, resize_height, resize_width;
    /* Pixtral: resize_height and resize_width are the most; a picture keeps its aspect and is
     * rounded up to whole multiples of these. 0 otherwise. */
    size_t grid_height, grid_width;
    size_t crop_height, crop_width;
    llava_resample resample;
    double rescale_factor;
    double mean[3], std[3];
    /* processor_config.json; has_processor false where the folder has none, or LLaVA's without a
     * patch_size: then the counts are taken from the model's own config */
    llava_processor_class class;
    bool has_processor;
    size_t patch_size; /* Pixtral's: times spatial_merge_size */
    llava_select select;
    size_t additional_tokens;
    /* The placeholder's text, and Pixtral's behind a row and behind the last one. "" where the file
     * says nothing: then the class's own. */
    char image_token[128], image_break_token[128], image_end_token[128];
} llava_processor;

/* Reads processor_config.json, and the image processor in it or else preprocessor_config.json.
 * Call it only where a picture is given: a folder without an image processor is refused. */
bool llava_processor_read(llava_processor *processor, const char *folder, llava_error *e);

#endif
