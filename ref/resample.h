/* Resizing a picture, as Pillow does it: the separable kernels of spec 6.5, and what ports do
 * instead. The room behind picture.c. */
#ifndef LLAVA_RESAMPLE_H
#define LLAVA_RESAMPLE_H

#include "picture.h"

/* A picture between two steps, [height, width, 3]: bytes, or doubles where a port does not round
 * between its steps. At most one of the pointers is not NULL. */
typedef struct {
    size_t height, width;
    uint8_t *u8;
    double *f64;
} llava_plane;

bool llava_plane_new(llava_plane *plane, size_t height, size_t width, bool doubles, llava_error *e);
void llava_plane_free(llava_plane *plane);
/* Doubles become bytes: plus `tie`, clipped to 0..255 and rounded, ties to even. */
bool llava_plane_to_u8(llava_plane *plane, double tie, llava_error *e);

static inline double llava_plane_get(const llava_plane *plane, size_t i)
{
    return plane->u8 != NULL ? (double)plane->u8[i] : plane->f64[i];
}

/* x is a whole number of 0..255 where the plane holds bytes. */
static inline void llava_plane_put(llava_plane *plane, size_t i, double x)
{
    if (plane->u8 != NULL) {
        plane->u8[i] = (uint8_t)x;
    } else {
        plane->f64[i] = x;
    }
}

typedef struct {
    llava_resample filter;
    bool antialias;
    double cubic_a;
    llava_resize_rounding rounding;
    llava_resize_grid grid;
    bool horizontal_first; /* whatever the sizes */
    double tie;            /* as llava_image_plan's */
} llava_resampling;

/* in [h, w] to out [height, width]. Each axis that keeps its size is left alone; horizontal first
 * unless the height loses far more (see resample.c). Sizes: at most LLAVA_MAX_PIXELS each.
 * Time O(pixels * taps); memory for one row of weights only, whatever the sizes. */
bool llava_resize(const llava_resampling *how, const llava_plane *in, size_t height, size_t width,
                  llava_plane *out, llava_error *e);

/* The same as OpenCV does it, for llava_resize: resample_opencv.c. `in` holds bytes or whole
 * levels. Refuses the filters that OpenCV has not; memory for the picture between its passes. */
bool llava_resize_opencv(const llava_resampling *how, const llava_plane *in, size_t height,
                         size_t width, llava_plane *out, llava_error *e);

#endif
