/* The sizes of the pictures in a dump's __meta__: where all pictures are one sequence of the tower
 * (Pixtral), its taps don't show where each begins.
 *
 *   "image_sizes": [[height, width], ...] in pixels, "patch_size": pixels */
#ifndef LLAVA_PICTURE_SIZES_H
#define LLAVA_PICTURE_SIZES_H

#include "ref/json.h"
#include "ref/model.h"

/* Adds them where the model's tower is such a one; false where there is no memory. */
bool llava_picture_sizes_put(cJSON *meta, const llava_plan *plan, const llava_inputs *in);

typedef struct {
    size_t count;   /* 0: the dump does not say */
    int64_t *sizes; /* [count, 2], each at least one patch; free() it */
    int64_t patch;
} llava_picture_sizes;

/* Reads them; meta NULL or without them: none. path: for messages. */
bool llava_picture_sizes_read(llava_picture_sizes *sizes, const char *path, const char *meta,
                              llava_error *e);

#endif
