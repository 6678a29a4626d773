/* How the pictures of a run lie in the rows of the vision tower. */
#include "model.h"

const char *llava_tower_start(llava_tower tower)
{
    return tower == LLAVA_TOWER_SIGLIP ? "vision.embed" : "vision.pre_norm";
}

llava_grid llava_grid_of(const llava_plan *plan, const llava_inputs *in, size_t picture)
{
    const llava_vision_plan *v = &plan->vision;
    if (v->tower != LLAVA_TOWER_PIXTRAL) {
        return (llava_grid){v->grid, v->grid};
    }
    const int64_t *size =
        in->image_sizes == NULL || v->sizes_ignored ? NULL : in->image_sizes + 2 * picture;
    size_t height = size == NULL ? in->height : (size_t)size[0];
    size_t width = size == NULL ? in->width : (size_t)size[1];
    return (llava_grid){height / v->patch, width / v->patch};
}

/* Rows of a sequence of so many patches that the selection leaves. */
static size_t selected(const llava_vision_plan *v, size_t patches)
{
    return patches + v->class_rows - (v->select == LLAVA_ROWS_FULL ? 0 : 1);
}

llava_tower_shape llava_tower_shape_of(const llava_plan *plan, const llava_inputs *in)
{
    const llava_vision_plan *v = &plan->vision;
    llava_tower_shape shape = {.sequences = in->pictures, .patches = v->grid * v->grid};
    if (v->tower == LLAVA_TOWER_PIXTRAL) {
        shape.sequences = in->pictures > 0 ? 1 : 0;
        shape.patches = 0;
        for (size_t i = 0; i < in->pictures; i++) {
            llava_grid grid = llava_grid_of(plan, in, i);
            shape.patches += grid.rows * grid.columns;
        }
    }
    shape.rows = shape.patches + v->class_rows;
    shape.feature_rows = selected(v, shape.patches);
    return shape;
}

size_t llava_picture_rows(const llava_plan *plan, const llava_inputs *in, size_t picture)
{
    const llava_vision_plan *v = &plan->vision;
    llava_grid grid = llava_grid_of(plan, in, picture);
    size_t patches = grid.rows * grid.columns;
    if (v->tower != LLAVA_TOWER_PIXTRAL) {
        return selected(v, patches);
    }
    /* one row of the one sequence may be dropped: it was the first picture's, or the last one's */
    bool short_of_one = (v->select == LLAVA_ROWS_DROP_FIRST && picture == 0) ||
                        (v->select == LLAVA_ROWS_DROP_LAST && picture + 1 == in->pictures);
    return patches - (short_of_one ? 1 : 0);
}
