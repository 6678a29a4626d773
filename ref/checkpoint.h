/* The weights of a model folder: model.safetensors, or model.safetensors.index.json and its shards,
 * memory-mapped; every spelling of the names. */
#ifndef LLAVA_CHECKPOINT_H
#define LLAVA_CHECKPOINT_H

#include "error.h"
#include "number.h"

#include <stdint.h>

#define LLAVA_WEIGHT_RANK 8 /* tensors that the model does not use may have as many */

/* One tensor as it lies in the file. Nothing is copied: elements are decoded piece by piece. */
typedef struct {
    const char *name;     /* as the file spells it */
    const char *file;     /* path of the file it lies in */
    const uint8_t *bytes; /* little-endian, C order, any alignment */
    llava_dtype dtype;    /* LLAVA_F64, F32, F16 or BF16 */
    int rank;             /* 0 .. LLAVA_WEIGHT_RANK */
    size_t shape[LLAVA_WEIGHT_RANK];
    size_t count; /* product of the shape */
} llava_weight;

typedef struct llava_checkpoint llava_checkpoint;

/* Opens the folder's weights: reads and checks every header, maps every shard. Where both a single
 * file and an index are there, the single file wins (as in transformers); *warning, when not NULL,
 * then receives one line, else an empty string. */
bool llava_checkpoint_open(llava_checkpoint **checkpoint, const char *folder, llava_error *warning,
                           llava_error *e);
/* The same in the original project's spelling: model.layers.*, lm_head.*, model.mm_projector.* (.0
 * and .2, or one layer without a number), model.vision_tower.vision_tower.*. A vision tower that
 * the folder lacks is taken from the folder `tower` (vision_model.*), whose weights may be missing.
 */
bool llava_checkpoint_open_original(llava_checkpoint **checkpoint, const char *folder,
                                    const char *tower, llava_error *warning, llava_error *e);
void llava_checkpoint_close(llava_checkpoint *checkpoint);

/* Finds a tensor by its canonical name, which is the oldest spelling (spec 8.1):
 *   language_model.model.layers.0.self_attn.q_proj.weight     language_model.lm_head.weight
 *   multi_modal_projector.linear_1.weight vision_tower.vision_model.embeddings... whatever of the
 * spellings of contract section 1 the files use; the prefixes are resolved one by one, so a mixed
 * file works. Two spellings of one tensor in the same folder are refused when the checkpoint is
 * opened. NULL where it is absent. It may be of a type that is no weight: `need` refuses that. */
const llava_weight *llava_checkpoint_find(const llava_checkpoint *checkpoint,
                                          const char *canonical);

/* As find, but the tensor must be there with exactly this shape and a floating type:
 * otherwise false, naming the file, the tensor, and both shapes. */
bool llava_checkpoint_need(const llava_checkpoint *checkpoint, llava_weight *weight,
                           const char *canonical, int rank, const size_t *shape, llava_error *e);

/* Every tensor in the files, in file order: for inspect. `used` tells whether find or need ever
 * returned it. Types that are no weights (I64, ...) are listed with weight->bytes and dtype
 * meaningless and type_name as the file spells it. */
typedef struct {
    llava_weight weight;
    const char *type_name;
    bool used;
} llava_checkpoint_entry;
size_t llava_checkpoint_count(const llava_checkpoint *checkpoint);
llava_checkpoint_entry llava_checkpoint_at(const llava_checkpoint *checkpoint, size_t i);

/* Raw header bytes (the JSON text) of each safetensors file, in the order of their file names: what
 * the model's SHA-256 is taken over (contract section 10). */
size_t llava_checkpoint_files(const llava_checkpoint *checkpoint);
void llava_checkpoint_header(const llava_checkpoint *checkpoint, size_t i, const char **path,
                             const uint8_t **bytes, size_t *n);

#endif
