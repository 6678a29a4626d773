/* How numbers are kept between operations: the storage type, transformers' float32 islands, and the
 * rounding steps of a port's own that the numerics.* decisions stand for. */
#ifndef LLAVA_NUMERICS_H
#define LLAVA_NUMERICS_H

#include "number.h"

/* A rounding that an operand goes through before it is used. */
typedef enum {
    LLAVA_ROUNDING_EXACT,
    LLAVA_ROUNDING_F16,
    LLAVA_ROUNDING_BF16,
    LLAVA_ROUNDING_TF32, /* 10 bits of mantissa, the exponent of float32 */
} llava_rounding;

typedef enum {
    LLAVA_WEIGHTS_STORED,
    LLAVA_WEIGHTS_F16,
    LLAVA_WEIGHTS_BF16,
    LLAVA_WEIGHTS_INT8,         /* one scale a row: max |w| / 127 */
    LLAVA_WEIGHTS_INT8_BLOCK32, /* one float16 scale for each 32 weights of a row */
} llava_weight_rounding;

/* Matrices that ports round less often than the others: tables are read and not multiplied with,
 * and those that see pixels and make logits are left alone by many quantisers. */
typedef enum {
    LLAVA_KEEPS_PATCHES = 1, /* the patch convolution's kernel */
    LLAVA_KEEPS_POSITIONS = 2,
    LLAVA_KEEPS_TOKENS = 4,
    LLAVA_KEEPS_HEAD = 8,
} llava_kept_matrix;

typedef struct {
    llava_dtype storage; /* every operation's result is rounded once to this */
    bool islands;        /* --numerics hf */
    llava_weight_rounding weights;
    unsigned keeps; /* llava_kept_matrix: as stored, whatever `weights` says */
    llava_rounding patch_input, matmul_input;
    bool act_table_f16;
    bool attn_accumulate_f16, attn_flash_f16;
    bool sums_f32; /* products are summed in float32, one rounding a step, and GELU computed in it,
                      where 1 + erf nearly cancels: no decision and never in a reference's numbers,
                      but what an honest port of a narrow type does. The oracle simulates such a
                      port to learn how much rounding is to be expected. */
    llava_rounding kv_cache;
} llava_numerics;

#endif
