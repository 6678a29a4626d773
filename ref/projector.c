/* The projector: two linear layers that carry picture rows to the language model's width.
 *
 *   y = W_2 act(W_1 x + b_1) + b_2        act: the exact erf GELU in LLaVA-1.5
 *   y = W_1 x + b_1                       in the original project's first version
 *
 * "gelu" means other things elsewhere: llama.cpp computes the tanh form here, read from a float16
 * table. Source: transformers models/llava/modeling_llava.py, LlavaMultiModalProjector; spec 3. */
#include "model.h"

bool llava_projector(llava_run *r, const llava_tower_shape *of, const double *features,
                     double **rows)
{
    const llava_plan *p = r->plan;
    size_t count = of->sequences * of->feature_rows, width = p->text.hidden;
    llava_shape shape = {3, {of->sequences, of->feature_rows, width}};
    *rows = llava_scratch(r, count, width);
    if (p->projector_linear) {
        return *rows != NULL &&
               llava_linear_by_name(r, *rows, features, count, p->vision.feature_width, width,
                                    p->projector_bias, "multi_modal_projector.linear") &&
               llava_put(r, *rows, shape, "projector.out");
    }
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *f = llava_scratch(r, count, width);
    bool ok = *rows != NULL && f != NULL &&
              llava_linear_by_name(r, f, features, count, p->vision.feature_width, width,
                                   p->projector_bias, "multi_modal_projector.linear_1") &&
              llava_put(r, f, shape, "projector.fc1");
    if (ok) {
        llava_activate(&p->numerics, p->projector_act, f, f, count * width);
    }
    ok = ok && llava_put(r, f, shape, "projector.act") &&
         llava_linear_by_name(r, *rows, f, count, width, width, p->projector_bias,
                              "multi_modal_projector.linear_2") &&
         llava_put(r, *rows, shape, "projector.out");
    llava_scratch_release(r, mark);
    return ok;
}
