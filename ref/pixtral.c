/* Pixtral's part of the vision tower: pictures of any sizes in one sequence.
 *
 *   h_0 = RMSNorm(conv(pixels)), each picture's patches row by row, one picture behind the other
 *   each layer:  h += W_o attention(rotate(W_q a), rotate(W_k a), W_v a),   a = RMSNorm(h)
 *                h += W_down(act(W_gate m) * (W_up m)),                     m = RMSNorm(h)
 *
 * A patch sees the patches of its own picture only. It is rotated by its row and its column in the
 * picture: with f_j = theta^(-2j/d), the angles are
 *
 *   row f_0, row f_2, row f_4, ..., column f_1, column f_3, ...        (d/2 of them)
 *
 * for elements 0 .. d/2 - 1, and the same again for the other half. No biases, no position table,
 * no norm behind the last layer. Source: transformers models/pixtral/modeling_pixtral.py; spec 2.3.
 */
#include "vision.h"

#include "rope.h"

#include <stdlib.h>

#define LAYERS "vision_tower.transformer.layers"

/* theta^(-2j/d), in the order in which the angles stand. all, frequency: [d/2]. */
static void frequencies(const llava_plan *p, double *all, double *frequency)
{
    const llava_vision_plan *v = &p->vision;
    const llava_rope rope = {.type = LLAVA_ROPE_DEFAULT, .theta = v->rope_theta};
    size_t half = v->head_dim / 2, of_rows = (half + 1) / 2;
    llava_rope_frequencies(&p->numerics, &rope, v->head_dim, 0, all);
    for (size_t k = 0; k < half; k++) {
        size_t nth = k < of_rows ? k : k - of_rows, own = k < of_rows ? 0 : 1;
        frequency[k] = v->rope_frequencies == LLAVA_AXIAL_ALTERNATING ? all[2 * nth + own]
                       : v->rope_frequencies == LLAVA_AXIAL_SPLIT     ? all[k]
                                                                      : all[2 * nth];
    }
}

/* The row and the column of every patch of the sequence. positions: [2, T]. */
static void place_patches(const llava_tower_pass *t, int64_t *positions)
{
    const llava_plan *p = t->r->plan;
    const llava_vision_plan *v = &p->vision;
    size_t at = 0, above = 0; /* above: the rows of the pictures before */
    for (size_t picture = 0; picture < t->in->pictures; picture++) {
        llava_grid grid = llava_grid_of(p, t->in, picture);
        for (size_t j = 0; j < grid.rows * grid.columns; j++, at++) {
            positions[at] = (int64_t)(above + j / grid.columns);
            positions[t->of.rows + at] = (int64_t)(j % grid.columns);
            if (v->rope_positions == LLAVA_AXIAL_IN_SEQUENCE) {
                positions[at] = positions[t->of.rows + at] = (int64_t)at;
            }
        }
        above += v->rope_positions == LLAVA_AXIAL_CONTINUED ? grid.rows : 0;
    }
}

/* cosine, sine: [T, d]. Both axes have all d/2 frequencies here; each keeps its own. */
static bool rope(llava_tower_pass *t)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    size_t d = v->head_dim, half = d / 2, of_rows = (half + 1) / 2, rows = t->of.rows;
    t->cosine = llava_scratch(r, rows, d);
    t->sine = llava_scratch(r, rows, d);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *frequency = llava_scratch(r, 1, half), *all = llava_scratch(r, 1, half);
    double *cosine = llava_scratch(r, rows, d), *sine = llava_scratch(r, rows, d);
    int64_t *positions = llava_alloc(r->error, 2 * rows, sizeof(int64_t));
    bool ok = t->cosine != NULL && t->sine != NULL && frequency != NULL && all != NULL &&
              cosine != NULL && sine != NULL && positions != NULL;
    if (ok) {
        const llava_numerics *n = &r->plan->numerics;
        size_t first = v->rope_columns_first ? rows : 0; /* of positions: rows, or columns */
        frequencies(r->plan, all, frequency);
        place_patches(t, positions);
        llava_rope_table(n, t->cosine, t->sine, positions + first, rows, d, frequency, 1);
        llava_rope_table(n, cosine, sine, positions + (rows - first), rows, d, frequency, 1);
        for (size_t i = 0; i < rows * d; i++) {
            if (i % d % half >= of_rows) {
                t->cosine[i] = cosine[i];
                t->sine[i] = sine[i];
            }
        }
    }
    free(positions);
    llava_scratch_release(r, mark);
    llava_shape shape = {2, {rows, d}};
    return ok && llava_put(r, t->cosine, shape, "vision.rope.cos") &&
           llava_put(r, t->sine, shape, "vision.rope.sin");
}

/* Does anyone look at the scores or probabilities of these layers? */
static bool scores_wanted(const llava_tower_pass *t, size_t layers)
{
    for (size_t i = 0; i < layers; i++) {
        if (llava_wanted(t->r, "vision.layers.%zu.attn.scores", i) ||
            llava_wanted(t->r, "vision.layers.%zu.attn.probs", i)) {
            return true;
        }
    }
    return false;
}

/* runs[i]: the patches of picture i. */
static bool part(llava_tower_pass *t)
{
    t->runs = llava_alloc(t->r->error, t->in->pictures, sizeof *t->runs);
    for (size_t i = 0; t->runs != NULL && i < t->in->pictures; i++) {
        llava_grid grid = llava_grid_of(t->r->plan, t->in, i);
        t->runs[i] = grid.rows * grid.columns;
    }
    return t->runs != NULL;
}

/* visible[s, k]: do patches s and k lie in the same picture (and not behind s, for a mask that some
 * port left causal)? */
static bool see(llava_tower_pass *t)
{
    const llava_vision_plan *v = &t->r->plan->vision;
    size_t rows = t->of.rows, begin = 0;
    t->visible = llava_alloc(t->r->error, rows, rows);
    for (size_t picture = 0; t->visible != NULL && picture < t->in->pictures; picture++) {
        llava_grid grid = llava_grid_of(t->r->plan, t->in, picture);
        size_t end = begin + grid.rows * grid.columns;
        for (size_t s = begin; s < end; s++) {
            size_t first = v->pictures_apart ? begin : 0, last = v->pictures_apart ? end : rows;
            for (size_t k = first; k < last; k++) {
                t->visible[s * rows + k] = !v->causal || k <= s;
            }
        }
        begin = end;
    }
    return t->visible != NULL;
}

bool llava_pixtral_prepare(llava_tower_pass *t, size_t layers)
{
    const llava_vision_plan *v = &t->r->plan->vision;
    bool apart = v->pictures_apart && t->in->pictures > 1;
    if (!rope(t)) {
        return false;
    }
    if (!apart && !v->causal) {
        return true;
    }
    /* under islands a NaN goes through the mask, as 0 times NaN does in transformers */
    bool whole = v->causal || t->r->plan->numerics.islands || scores_wanted(t, layers);
    return whole ? see(t) : part(t);
}

bool llava_pixtral_mlp(const llava_tower_pass *t, size_t i, const double *m, double *out)
{
    llava_run *r = t->r;
    const llava_vision_plan *v = &r->plan->vision;
    const llava_numerics *n = &r->plan->numerics;
    size_t count = t->rows * v->intermediate;
    llava_shape wide = llava_tower_rows(t, v->intermediate);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *gate = llava_scratch(r, t->rows, v->intermediate);
    double *up = llava_scratch(r, t->rows, v->intermediate);
    bool ok = gate != NULL && up != NULL &&
              llava_linear_by_name(r, gate, m, t->rows, v->hidden, v->intermediate, false,
                                   LAYERS ".%zu.feed_forward.gate_proj", i) &&
              llava_put(r, gate, wide, "vision.layers.%zu.mlp.gate", i) &&
              llava_linear_by_name(r, up, m, t->rows, v->hidden, v->intermediate, false,
                                   LAYERS ".%zu.feed_forward.up_proj", i) &&
              llava_put(r, up, wide, "vision.layers.%zu.mlp.up", i);
    if (ok) {
        double *active = v->gate_up_swapped ? up : gate;
        llava_activate(n, v->act, active, active, count);
        llava_multiply(n, gate, gate, up, count);
    }
    ok = ok && llava_put(r, gate, wide, "vision.layers.%zu.mlp.act", i) &&
         llava_linear_by_name(r, out, gate, t->rows, v->intermediate, v->hidden, false,
                              LAYERS ".%zu.feed_forward.down_proj", i) &&
         llava_put(r, out, llava_tower_rows(t, v->hidden), "vision.layers.%zu.mlp.out", i);
    llava_scratch_release(r, mark);
    return ok;
}
