/* Pictures: from 8-bit RGB to pixel_values.
 *
 *     rgb [h, w, 3] -> (pad to a square) -> (resize) -> (centre crop) -> rescale, normalise
 *         -> pixel_values [3, height, width]
 *
 * Everything is what transformers' PIL image processors compute, to the last bit (spec 6.3 to 6.11;
 * CLIPImageProcessorPil, LlavaImageProcessorPil, SiglipImageProcessorPil,
 * PixtralImageProcessorPil). Each point where ports went another way is a decision of
 * llava_image_plan, whose zero is the right way. */
#ifndef LLAVA_PICTURE_H
#define LLAVA_PICTURE_H

#include "config.h"
#include "error.h"

#include <stdint.h>

/* No picture at any stage is larger: Pillow refuses to open anything beyond 2 * 89478485. (Fuzzing
 * lowers it: one such picture takes seconds, in which a thousand small ones could be tried.) */
#ifndef LLAVA_MAX_PIXELS
#define LLAVA_MAX_PIXELS 178956970
#endif

typedef struct {
    size_t height, width;
    uint8_t *rgb; /* [height, width, 3]; NULL where there is no picture */
} llava_picture;

/* A black picture. Refuses a zero size and more than LLAVA_MAX_PIXELS. */
bool llava_picture_new(llava_picture *picture, size_t height, size_t width, llava_error *e);
void llava_picture_free(llava_picture *picture);

/* Turns and mirrors the picture as its EXIF orientation asks (2 to 8; anything else: nothing), so
 * that it is seen upright. Source: ImageOps.exif_transpose, called by transformers' load_image. */
bool llava_picture_orient(llava_picture *picture, int orientation, llava_error *e);

/* The image.* decisions (contract section 5). The first value of each is the default, and the order
 * is that of the table of decisions. "config" means: what llava_processor says. */

typedef enum {
    LLAVA_CHANNELS_RGB,
    LLAVA_CHANNELS_BGR,      /* exchanged before the first step */
    LLAVA_CHANNELS_BGR_LATE, /* behind padding, resize and crop; this and the next are no values of
                              * the decision, but places where a port may have done it */
    LLAVA_CHANNELS_BGR_LAST, /* behind the normalisation */
} llava_channel_order;

typedef enum {
    LLAVA_GEOMETRY_CONFIG,
    LLAVA_GEOMETRY_CROP,    /* shortest edge to the size, then centre crop */
    LLAVA_GEOMETRY_PAD,     /* to a square, then resize to the model's size */
    LLAVA_GEOMETRY_STRETCH, /* both edges to the model's size, aspect lost */
} llava_geometry;

typedef enum { LLAVA_PAD_MEAN, LLAVA_PAD_BLACK, LLAVA_PAD_WHITE } llava_pad_color;
typedef enum { LLAVA_PAD_CENTER, LLAVA_PAD_TOP_LEFT } llava_pad_align;
typedef enum {
    LLAVA_PAD_FIRST,
    LLAVA_PAD_RESIZE_FIRST, /* the picture is fitted into the model's size, then padded: both
                             * happen in the resize stage, and the padded stage is its input */
} llava_pad_order;

typedef enum {
    LLAVA_FILTER_CONFIG,
    LLAVA_FILTER_BICUBIC,
    LLAVA_FILTER_BILINEAR,
    LLAVA_FILTER_NEAREST,
    LLAVA_FILTER_LANCZOS,
    LLAVA_FILTER_BOX,
} llava_filter;

typedef enum {
    LLAVA_ANTIALIAS_ON,
    LLAVA_ANTIALIAS_OFF, /* the kernel is not widened when shrinking, and reads the nearest edge
                          * pixel beyond the border (as OpenCV and torch's interpolate do) */
} llava_antialias;

typedef enum { LLAVA_CUBIC_A_HALF, LLAVA_CUBIC_A_THREE_QUARTERS } llava_cubic_a;

typedef enum {
    LLAVA_RESIZE_PILLOW,      /* weights of 22 bits, u8 after each pass */
    LLAVA_RESIZE_TORCHVISION, /* int16 weights (spec 6.8), u8 after each pass; its rescale and
                               * normalise are one step (spec 6.7), and come with this value */
    LLAVA_RESIZE_FLOAT,       /* nothing is rounded or clipped: the u8 stages are rounded for
                               * showing only, and pixel_values come from the exact values */
    LLAVA_RESIZE_ONCE,        /* nothing between the passes, then clipped and rounded to u8, ties
                               * to even (float resizers that give a picture back) */
    LLAVA_RESIZE_OPENCV,      /* OpenCV's cv::resize of bytes whole, in its fixed-point numbers: no
                               * antialias, a = -3/4, its own grid, whatever else is chosen; of its
                               * filters LINEAR is bilinear, CUBIC bicubic, AREA box, NEAREST nearest */
} llava_resize_rounding;

typedef enum {
    LLAVA_GRID_HALF_PIXEL,    /* output i lies over input (i + 0.5) * n/m - 0.5 */
    LLAVA_GRID_CORNER,        /* over i * n/m */
    LLAVA_GRID_ALIGN_CORNERS, /* over i * (n-1)/(m-1) */
} llava_resize_grid;

typedef enum {
    LLAVA_PASSES_PILLOW,           /* Pillow 13: the vertical pass first where the height loses more
                                    * than twice the pixels that the width loses */
    LLAVA_PASSES_HORIZONTAL_FIRST, /* Pillow up to 12, and most ports */
} llava_pass_order;

typedef enum {
    LLAVA_SIZE_TRUNC,
    LLAVA_SIZE_ROUND, /* halves up */
    LLAVA_SIZE_CEIL,
    LLAVA_SIZE_CEIL_F32, /* long * (size / short), both steps in float32 */
} llava_size_rounding;

/* Half of the spare rows or columns, which are negative where the picture is smaller than the crop.
 */
typedef enum {
    LLAVA_CROP_FLOOR, /* so the larger part of an odd lack comes first */
    LLAVA_CROP_CEIL,
    LLAVA_CROP_TRUNC, /* toward 0: torchvision's processors put the larger part of a lack last */
} llava_crop_rounding;

typedef enum {
    LLAVA_ALPHA_DROP,  /* a picture given as a file, as load_image converts it */
    LLAVA_ALPHA_WHITE, /* composited on white, as convert_to_rgb does with a PIL object */
    LLAVA_ALPHA_BLACK,
} llava_alpha;

typedef enum {
    LLAVA_EXIF_APPLIED, /* the picture is seen upright, as load_image turns it */
    LLAVA_EXIF_IGNORED, /* as its rows are stored */
} llava_exif;

typedef enum {
    LLAVA_UPSAMPLING_FANCY, /* chroma of a JPEG by a triangle filter, libjpeg's default */
    LLAVA_UPSAMPLING_PLAIN, /* every sample repeated */
} llava_jpeg_upsampling;

typedef enum { LLAVA_DCT_ISLOW, LLAVA_DCT_IFAST } llava_jpeg_dct; /* as libjpeg names them */

typedef enum { LLAVA_RESCALE_CONFIG, LLAVA_RESCALE_NONE } llava_rescale;
typedef enum {
    LLAVA_NORMALIZE_CONFIG,
    LLAVA_NORMALIZE_NONE,
    LLAVA_NORMALIZE_HALF,     /* mean and std 0.5 */
    LLAVA_NORMALIZE_IMAGENET, /* mean 0.485 0.456 0.406, std 0.229 0.224 0.225 */
    LLAVA_NORMALIZE_CLIP,     /* where the folder has other numbers */
} llava_normalize;

typedef struct {
    llava_channel_order channel_order;
    llava_geometry geometry;
    llava_pad_color pad_color;
    llava_pad_align pad_align;
    llava_pad_order pad_order;
    llava_filter resize_filter;
    llava_antialias antialias;
    llava_cubic_a cubic_a;
    llava_resize_rounding resize_rounding;
    llava_resize_grid resize_grid;
    llava_pass_order pass_order; /* torchvision's rounding always goes horizontally first */
    llava_size_rounding size_rounding;
    llava_crop_rounding crop_rounding;
    llava_alpha alpha; /* these four act when the file is read: llava_picture_read */
    llava_exif exif;
    llava_jpeg_upsampling jpeg_upsampling;
    llava_jpeg_dct jpeg_dct;
    llava_rescale rescale;
    llava_normalize normalize;
    double tie; /* added to a float level before it becomes a byte: 0, or which way a level goes
                 * that lies within this of the middle of two */
} llava_image_plan;

/* The stages, in the order of the flow; taps image.rgb, .padded, .resized, .cropped. */
typedef enum {
    LLAVA_STAGE_RGB,
    LLAVA_STAGE_PADDED,
    LLAVA_STAGE_RESIZED,
    LLAVA_STAGE_CROPPED,
    LLAVA_STAGE_COUNT,
} llava_image_stage;

typedef struct {
    /* rgb NULL where the stage is absent: a stage is there iff the config enables its step or the
     * geometry asks for it. A step that the config enables and the geometry does not take passes
     * its input through. */
    llava_picture stage[LLAVA_STAGE_COUNT];
    size_t height, width; /* of pixel_values */
    float *pixel_values;  /* [3, height, width] */
} llava_image_stages;

/* Takes a decoded picture through all stages. stage[LLAVA_STAGE_RGB] is a copy of it, red and blue
 * exchanged where the plan says bgr. With zeros in the plan: bit for bit what transformers 5.23
 * with Pillow 13 gives. Errors: a size that is zero or beyond LLAVA_MAX_PIXELS, a pad colour that
 * is no byte, memory. On failure *stages is empty. The message does not name the file. */
bool llava_picture_process(const llava_processor *processor, const llava_image_plan *plan,
                           const llava_picture *rgb, llava_image_stages *stages, llava_error *e);

/* The same from a later stage on: `picture` is the port's own tensor of stage `from`, and only the
 * stages behind it are computed. */
bool llava_picture_process_from(const llava_processor *processor, const llava_image_plan *plan,
                                llava_image_stage from, const llava_picture *picture,
                                llava_image_stages *stages, llava_error *e);

/* pixel_values into out [3, height, width], at least as large: zeros right of them and below, as
 * PixtralImageProcessorPil pads a batch after it has normalised. */
void llava_image_stages_put(const llava_image_stages *stages, size_t height, size_t width,
                            double *out);

void llava_image_stages_free(llava_image_stages *stages);

#endif
