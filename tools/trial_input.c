/* Trials on what goes in: which choices turn the picture file and the prompt into the port's
 * pixel_values and ids? */
#include "tools/trial.h"

#include <math.h>
#include <string.h>

/* 0 where the ids are the port's, 1 where any differs. */
static double unequal_ids(const llava_inputs *mine, const llava_inputs *theirs)
{
    if (mine->batch != theirs->batch || mine->length != theirs->length) {
        return 1;
    }
    size_t bytes = mine->batch * mine->length * sizeof(int64_t);
    return memcmp(mine->input_ids, theirs->input_ids, bytes) != 0;
}

static bool compare_pixels(const llava_inputs *mine, const llava_inputs *theirs, double *error,
                           double *error_max, llava_error *e)
{
    llava_counting none = {0};
    llava_comparison c;
    size_t shape[4] = {mine->pictures, 3, mine->height, mine->width};
    if (mine->pictures != theirs->pictures || mine->height != theirs->height ||
        mine->width != theirs->width) {
        return true;
    }
    if (!llava_compare(&none, "pixel_values", 4, shape, mine->pixel_values, theirs->pixel_values,
                       &c, e)) {
        return false;
    }
    if (c.mismatched == 0) {
        *error = c.rel_l2;
        *error_max = c.rel_max;
    }
    return true;
}

bool llava_try_inputs(const llava_session *session, const llava_choices *choices, const char *tap,
                      const llava_inputs *theirs, double *error, double *error_max, llava_error *e)
{
    llava_request request = *session->request;
    llava_session other;
    llava_error refused;
    *error = *error_max = (double)INFINITY;
    request.choices = *choices;
    if (request.inputs != NULL || !llava_session_prepare(&other, &request, &refused)) {
        return true; /* an inputs file does not say how it was made */
    }
    bool ok = true;
    if (strcmp(tap, "input_ids") == 0) {
        *error = *error_max = unequal_ids(&other.inputs, theirs);
    } else {
        ok = compare_pixels(&other.inputs, theirs, error, error_max, e);
    }
    llava_session_close(&other);
    return ok;
}
