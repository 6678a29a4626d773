/* The original project's LLaVA (haotian-liu/LLaVA): its checkpoints and its conversations.
 *
 * A folder in its spelling has the language model's configuration at the top of config.json and
 * what makes it a LLaVA under mm_*; the vision tower lies in a folder of its own, which
 * mm_vision_tower only names. It says the same things as transformers' form, so it is translated:
 *
 *   text_config                     config.json without its mm_* keys; llava_mistral: Mistral
 *   vision_config                   of TOWER/config.json
 *   vision_feature_layer            mm_vision_select_layer
 *   vision_feature_select_strategy  mm_vision_select_feature: patch, cls_patch
 *   projector                       mm_projector_type: linear (one layer), mlp2x_gelu
 *   image token                     -200, which no table has: "<image>" is no word there
 *
 * Source: L llava/model, llava/mm_utils.py, llava/conversation.py; spec 6.9, 8.3, 12. */
#ifndef LLAVA_ORIGINAL_H
#define LLAVA_ORIGINAL_H

#include "chat.h"
#include "config.h"

/* IMAGE_TOKEN_INDEX: stands in input_ids for each row of a picture. */
#define LLAVA_ORIGINAL_IMAGE (-200)

/* Is config.json in the original spelling (has it mm_vision_tower)? False too where there is none.
 */
bool llava_original_is(const char *folder);

/* Why this folder is no whole model, or NULL: a LoRA adapter, a projector alone, weights that are
 * pickles. Says what there is and what to do. */
const char *llava_original_lacks(const char *folder);

/* Reads FOLDER/config.json in the original spelling, and TOWER's. Refused: what llava_config_read
 * refuses (keys of the language model are named as text_config.KEY), a projector, aspect ratio or
 * resampler that is none of the above. */
bool llava_original_config(llava_config *config, const char *folder, const char *tower,
                           llava_error *e);

/* ---- conversations --------------------------------------------------------------------------- */

typedef enum { LLAVA_CONV_VICUNA_V1, LLAVA_CONV_LLAVA_V1, LLAVA_CONV_COUNT } llava_conv;

/* SYSTEM USER: <image>\nWhat? ASSISTANT: It is.</s>USER: More. ASSISTANT:
 * A first system message stands in place of the format's own. In a list of items the pictures come
 * first, each on its line, the texts joined by blanks. start_end: each picture between <im_start>
 * and <im_end>. Refused: roles that do not alternate, beginning with the user. *prompt: free() it.
 */
bool llava_conv_render(llava_conv conv, const llava_conversation *conversation, bool start_end,
                       char **prompt, llava_error *e);
/* The same for one user turn, its pictures first, and the place of the answer. */
bool llava_conv_render_turn(llava_conv conv, const char *user, size_t pictures, bool start_end,
                            char **prompt, llava_error *e);

#endif
