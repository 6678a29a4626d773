/* What the files of the vision tower share: vision.c the frame and CLIP's and SigLIP's parts,
 * pixtral.c Pixtral's. */
#ifndef LLAVA_VISION_H
#define LLAVA_VISION_H

#include "model.h"

/* A pass through the tower. */
typedef struct {
    llava_run *r;
    const llava_inputs *in;
    llava_tower_shape of;
    size_t rows;           /* of all sequences */
    double *cosine, *sine; /* [T, d]; NULL: no rotary embedding */
    uint8_t *visible;      /* [sequences, T, T]; NULL: every row sees every row */
} llava_tower_pass;

/* [sequences, T, width] */
llava_shape llava_tower_rows(const llava_tower_pass *t, size_t width);

/* Pixtral: the rotary tables and the mask between pictures, in memory that the caller gives back
 * (scratch, and visible by free). */
bool llava_pixtral_prepare(llava_tower_pass *t);

/* Pixtral: out = W_down(act(W_gate m) * (W_up m)) of layer i. m, out: [1, T, D]. */
bool llava_pixtral_mlp(const llava_tower_pass *t, size_t i, const double *m, double *out);

#endif
