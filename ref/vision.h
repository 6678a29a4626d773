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
    uint8_t *visible;      /* [sequences, T, T]; NULL: every row sees every row of its run */
    size_t *runs; /* [pictures]: patches of each, which see only each other; NULL: one run */
} llava_tower_pass;

/* [sequences, T, width] */
llava_shape llava_tower_rows(const llava_tower_pass *t, size_t width);

/* Pixtral: the rotary tables, and what keeps the pictures apart in the layers 0 .. layers - 1: runs
 * where nobody looks at their scores, else a mask; in memory that the caller gives back
 * (scratch; visible and runs by free). */
bool llava_pixtral_prepare(llava_tower_pass *t, size_t layers);

/* Pixtral: out = W_down(act(W_gate m) * (W_up m)) of layer i. m, out: [1, T, D]. */
bool llava_pixtral_mlp(const llava_tower_pass *t, size_t i, const double *m, double *out);

#endif
