/* LLaVA in the order of the data: vision -> projector -> merge -> text -> logits -> loss.
 *
 * Each stage is one function of its inputs and the plan; llava_forward calls them in order. */
#ifndef LLAVA_MODEL_H
#define LLAVA_MODEL_H

#include "stage.h"

/* ---- what goes in -----------------------------------------------------------------------------
 */

/* The arguments of transformers' forward. Arrays that are absent are NULL. */
typedef struct {
    size_t batch, length;    /* B, S */
    int64_t *input_ids;      /* [B, S], or */
    double *inputs_embeds;   /* [B, S, H] */
    size_t embeds_width;     /* H as given */
    int64_t *attention_mask; /* [B, S], 1: counts; NULL: all ones */
    /* A mask of four dimensions in place of it, used as given: no causal rule besides. */
    uint8_t *sees;         /* [B, S, S], 1: query s looks at key t; NULL: there is none */
    double *mask_bias;     /* [B, S, S]: added to the scores; NULL: nothing is, but where masked */
    llava_dtype mask_type; /* of mask_bias, what the tap shows */
    int64_t *position_ids; /* [B, S]; NULL: see llava_convention */
    int64_t *labels;       /* [B, S], -100: ignored */
    size_t logits_to_keep; /* logits of the last so many positions; 0: of all */
    size_t pictures;       /* N */
    size_t height, width;  /* of pixel_values */
    double *pixel_values;  /* [N, 3, height, width] */
    int64_t *image_sizes;  /* [N, 2]: height and width of each picture inside its pixels, which
                              are padded on the right and below; NULL: all of it (Pixtral) */
    int64_t *answer;       /* [B, answer_length]: tokens that generation takes instead of its
                              own choice: a port's, while diagnosing */
    size_t answer_length;
    llava_dtype pixel_type; /* LLAVA_F32 or LLAVA_F64: what the tap of pixel_values shows */
} llava_inputs;

void llava_inputs_free(llava_inputs *inputs);

/* Position ids when none are given: 0 .. S-1 as model(...) has them, or cumsum(mask) - 1, padding
 * 0, as generate() makes them (spec 3, "Position ids"). */
typedef enum { LLAVA_POSITIONS_FORWARD, LLAVA_POSITIONS_GENERATE } llava_convention;

/* Do the inputs fit the model and each other? Ids in range, masks 0 or 1, as many image tokens as
 * the pictures give rows. */
bool llava_inputs_check(const llava_inputs *inputs, const llava_plan *plan, llava_error *e);

/* ---- how the pictures lie in the tower's rows --------------------------------------------------
 */

/* A CLIP or SigLIP tower makes one sequence of every picture, all of one size. Pixtral takes
 * pictures of any sizes and makes one sequence of all their patches. */
typedef struct {
    size_t sequences;    /* the first axis of the tower's taps: N, or 1 */
    size_t patches;      /* P, of one sequence */
    size_t rows;         /* T: patches, and the class row where there is one */
    size_t feature_rows; /* F: those that the selection leaves */
} llava_tower_shape;

llava_tower_shape llava_tower_shape_of(const llava_plan *plan, const llava_inputs *in);

/* The tap of hidden state 0, which enters the first layer: "vision.pre_norm", or "vision.embed"
 * where the tower has no norm there (SigLIP). */
const char *llava_tower_start(llava_tower tower);

/* Patches of one picture, whole ones only. */
typedef struct {
    size_t rows, columns;
} llava_grid;

llava_grid llava_grid_of(const llava_plan *plan, const llava_inputs *in, size_t picture);

/* Rows that one picture gives the language model. */
size_t llava_picture_rows(const llava_plan *plan, const llava_inputs *in, size_t picture);

/* Does every picture lie inside its pixels, with at least one patch? Part of llava_inputs_check. */
bool llava_image_sizes_check(const llava_inputs *inputs, const llava_plan *plan, llava_error *e);

/* Positions that have logits: the last logits_to_keep, or all S. */
size_t llava_logit_rows(const llava_inputs *inputs);

/* Makes sees of a mask of four dimensions whose values [B, S, S] lie in mask_bias. added: they are
 * to be added to the scores; else 0 or 1 (seen). mask_bias stays only where something but 0 is
 * added to a seen key. Refused: NaN, +infinity, and other numbers than 0 and 1. */
bool llava_inputs_square_mask(llava_inputs *inputs, bool added, llava_error *e);

/* Does the mask that is added hold nothing but 0 and 1? Most likely it was meant to mask. */
bool llava_mask_is_of_ones(const llava_inputs *inputs);

/* A key whose additive mask is this or less is not seen: its probability is 0 in every type. */
#define LLAVA_MASKED (-1e4)

/* Number of image tokens among the ids. */
size_t llava_count_image_tokens(const llava_inputs *inputs, const llava_plan *plan);

/* ---- what is asked for ------------------------------------------------------------------------
 */

/* The parts of the forward pass that somebody needs: an answer, or a tap. */
typedef struct {
    bool vision, features, projector; /* features: rows selected from the hidden states */
    size_t vision_layers;             /* tower layers to run: index of the last one + 1 */
    bool embed, merge, rope, text;
    size_t text_layers;
    /* Layers before these are not run: the sink is handed the hidden state that enters the first
     * one (the tap below it, all zeros) and puts a port's there. Not 0 only while diagnosing. */
    size_t vision_first, text_first;
    /* The same for whole stages: the sink is handed vision.features, projector.out, or
     * text.inputs_embeds, all zeros, and what leads there is not run. */
    bool features_given, rows_given, embeds_given;
    /* Positions whose rows count of the last layer that is run, and of the logits: [B, S] of the
     * language model, or, where the goal ends in a layer of the tower, [sequences, T]. NULL: all.
     * Not NULL only while diagnosing. */
    const llava_some_rows *only;
    bool norm, last_logits, all_logits, loss;
    bool every_row; /* of the last text layer and the final norm; else only what the logits need */
} llava_goal;

/* ---- the stages --------------------------------------------------------------------------------
 */

/* Pictures -> chosen hidden states. *features: [sequences, F, feature_width] in scratch memory,
 * NULL where the goal stops before. */
bool llava_vision(llava_run *r, const llava_goal *goal, const llava_inputs *in, double **features);

/* Features -> rows of the language model's width. *rows: [sequences, F, H] in scratch memory. */
bool llava_projector(llava_run *r, const llava_tower_shape *of, const double *features,
                     double **rows);

/* Token table. embeds: [B, S, H]. */
bool llava_embed(llava_run *r, const llava_inputs *in, double *embeds);

/* Puts the picture rows where the image tokens are. rows NULL: no pictures. */
bool llava_merge(llava_run *r, const llava_inputs *in, const double *rows, double *embeds);

/* Keys and values of the positions already seen. */
typedef struct {
    size_t batch, capacity; /* rows that fit; grows as needed */
    size_t length;          /* rows there */
    size_t width;           /* kv_heads * d */
    size_t layers;          /* kept apart; 1: only the layer at work (a pass without a future) */
    double *keys, *values;  /* [layers, B, capacity, width] */
    uint8_t *counts;        /* [B, capacity]: 1 where the position is not padding */
    double longest;         /* context so far, for a rotary table that grows with it; 0: none */
} llava_cache;

/* An empty cache; keep: every layer's rows stay, for the steps that follow. */
bool llava_cache_make(llava_cache *cache, const llava_plan *plan, size_t batch, bool keep,
                      llava_error *e);
void llava_cache_free(llava_cache *cache);

/* What the new positions may look at. */
typedef struct {
    const int64_t *counts; /* [B, S]: 1 where a new position is not padding */
    /* Given whole, for all positions from the first cached one on; NULL: the causal rule. */
    const uint8_t *sees; /* [B, total, total] */
    const double *bias;  /* [B, total, total], added to the scores; NULL: nothing */
    size_t total;
} llava_mask;

/* The language model up to and including the final norm, on S new positions behind the cached ones.
 * x: [B, S, H] in place; positions: [B, S]. */
bool llava_language_model(llava_run *r, const llava_goal *goal, llava_cache *cache, size_t length,
                          const int64_t *positions, const llava_mask *mask, double *x);

/* The same for a whole prompt, in chunks of r->chunk positions where that is not 0; then the cache
 * must keep every layer. mask->total: S. Refused: a mask that lets a query see a later chunk. */
bool llava_prefill(llava_run *r, const llava_goal *goal, llava_cache *cache,
                   const int64_t *positions, const llava_mask *mask, double *x);

/* logits = x W_head^T. x: [rows, H]; logits: [rows, V]. No tap: the caller knows the shape. */
bool llava_logits(llava_run *r, const double *x, size_t rows, double *logits);

/* Mean cross entropy of logits[b, s] against labels[b, s + 1], labels of -100 left out. */
bool llava_loss(llava_run *r, const double *logits, const llava_inputs *in, double *loss);

/* ---- all of them
 * --------------------------------------------------------------------------------- */

typedef struct {
    size_t batch, rows, vocab;
    double *logits; /* [B, rows, V] of the last `rows` positions; NULL: not computed */
    bool has_loss;
    double loss;
} llava_outputs;

void llava_outputs_free(llava_outputs *out);

/* Position ids as the plan has them: given ones, or made from the mask. positions: [B, S]. */
void llava_positions(const llava_plan *plan, const llava_inputs *in, llava_convention convention,
                     int64_t *positions);

/* One forward pass. positions: [B, S], from llava_positions. cache: an empty one that keeps every
 * layer, or NULL where nothing follows. */
bool llava_forward(llava_run *r, const llava_goal *goal, const llava_inputs *in, int64_t *positions,
                   llava_cache *cache, llava_outputs *out);

/* ---- generation -------------------------------------------------------------------------------
 */

typedef struct {
    size_t batch, count;
    int64_t *ids; /* [B, count] */
} llava_answer;

/* The first of the largest; a NaN counts as larger than any number, as torch.argmax has it.
 * islands: of a float32 copy. */
int64_t llava_argmax(bool islands, const double *logits, size_t vocab);

/* Greedy decoding of at most `most` tokens, until every row has ended: the stop token included,
 * then the pad id. Ties go to the lowest index. goal: the prefill's; step_goal: that of a decoding
 * step, whose taps are named "step.G.NAME", G from 1. */
bool llava_generate(llava_run *r, const llava_config *config, const llava_goal *goal,
                    const llava_goal *step_goal, const llava_inputs *in,
                    llava_convention convention, size_t most, llava_answer *answer);
void llava_answer_free(llava_answer *answer);

#endif
