/* A prompt with pictures to token ids (spec 6.1, 6.11; transformers LlavaProcessor,
 * PixtralProcessor).
 *
 *   "USER: <image>\nWhat?"  ->  "USER: <image><image>...<image>\nWhat?"  ->  ids
 *   "[INST][IMG]What?[/INST]"  ->  "[INST][IMG][IMG][IMG_BREAK][IMG][IMG][IMG_END]What?[/INST]"
 *
 * The placeholder's text is repeated once per row that the picture will fill, and the longer text
 * is what the tokenizer sees. */
#ifndef LLAVA_PROMPT_H
#define LLAVA_PROMPT_H

#include "config.h"
#include "tokenizer.h"

/* The placeholder that stands for a picture with any model. */
#define LLAVA_PLACEHOLDER "<image>"

/* The class that expands the placeholders: the one that a file names, else PixtralProcessor for a
 * Pixtral tower and LlavaProcessor for any other. */
llava_processor_class llava_processor_class_of(const llava_processor *processor,
                                               const llava_config *config);

/* The model's placeholder: Pixtral's from its processor; LLaVA's from the tokenizer, else from the
 * processor, else NULL. */
const char *llava_image_text(const llava_processor *processor, const llava_config *config,
                             const llava_tokenizer *tokenizer);

/* What ends a row of Pixtral's patches, and the last one. */
const char *llava_image_break_text(const llava_processor *processor);
const char *llava_image_end_text(const llava_processor *processor);

/* What stands for one picture. */
typedef struct {
    size_t count;   /* placeholders: rows that the picture fills in the language model */
    size_t columns; /* Pixtral: after so many comes a break, after the last the end; else 0 */
} llava_image_run;

/* How many placeholders a picture of height x width (of the processed pixels) gets.
 *   LlavaProcessor: (height / patch) * (width / patch) + additional - (1 if strategy "default"),
 * patch, additional and strategy from the processor's config; without a processor_config.json from
 * the model's: its patch size and strategy, and additional = 1 for a CLIP tower's class token.
 *   PixtralProcessor: height / patch rows of width / patch.
 * Refused: a patch size of 0, no placeholder at all. one-less of 1 is 0. */
bool llava_image_token_count(const llava_processor *processor, const llava_config *config,
                             size_t height, size_t width, llava_image_count decision,
                             llava_image_run *run, llava_error *e);

typedef struct {
    const char *text;            /* the prompt, NUL-terminated */
    const char *image_text;      /* the model's placeholder; NULL for LLAVA_PLACEHOLDER alone */
    int64_t image_id;            /* the model's image_token_index */
    const llava_image_run *runs; /* one per picture, from llava_image_token_count */
    size_t pictures;
    const char *break_text, *end_text; /* Pixtral's; may be NULL where no run has columns */
} llava_prompt;

/* How many placeholders (image_text or LLAVA_PLACEHOLDER) the prompt holds. */
size_t llava_prompt_placeholders(const llava_prompt *prompt);

/* Expands and encodes. *ids (free() it) gets *n ids. Without pictures nothing is expanded: each
 * placeholder stays one token, and the caller warns if llava_prompt_placeholders is not 0. Refused:
 * placeholders unlike pictures in number; a placeholder that is not the model's image token for the
 * tokenizer; ids that hold another number of image tokens than asked for; a text beyond
 * LLAVA_TEXT_LIMIT. With LLAVA_BOS_EVERY_SEGMENT the template's front ids also stand before the
 * text behind every run of image tokens (llama.cpp pull request 3645). */
bool llava_prompt_encode(const llava_tokenizer *tokenizer, const llava_token_plan *plan,
                         const llava_prompt *prompt, int64_t **ids, size_t *n, llava_error *e);

/* The same as the original project does it: the text is cut at each LLAVA_PLACEHOLDER, each piece
 * is encoded by itself, and image_id stands between them as often as the picture has rows. Of the
 * ids that the tokenizer puts in front only the first piece's stay. Source: L llava/mm_utils.py,
 * tokenizer_image_token; spec 12. Refused: placeholders unlike pictures in number; without
 * pictures, any placeholder whose id no table has. */
bool llava_prompt_encode_pieces(const llava_tokenizer *tokenizer, const llava_token_plan *plan,
                                const llava_prompt *prompt, int64_t **ids, size_t *n,
                                llava_error *e);

#endif
