/* The picture stage. See picture.h; the resize is in resample.c. */
#include "picture.h"
#include "resample.h"

#include <stdlib.h>
#include <string.h>

/* ---- pictures ---- */

static bool check_size(size_t height, size_t width, llava_error *e)
{
    if (height == 0 || width == 0) {
        return llava_fail(e, "a picture of %zu x %zu pixels (height x width)", height, width);
    }
    if (width > LLAVA_MAX_PIXELS / height) {
        return llava_fail(e, "a picture of %zu x %zu (height x width), the limit is %d pixels",
                          height, width, LLAVA_MAX_PIXELS);
    }
    return true;
}

bool llava_picture_new(llava_picture *picture, size_t height, size_t width, llava_error *e)
{
    *picture = (llava_picture){0};
    if (!check_size(height, width, e)) {
        return false;
    }
    uint8_t *rgb = llava_alloc(e, height * width, 3);
    if (rgb == NULL) {
        return false;
    }
    *picture = (llava_picture){height, width, rgb};
    return true;
}

void llava_picture_free(llava_picture *picture)
{
    free(picture->rgb);
    *picture = (llava_picture){0};
}

bool llava_picture_orient(llava_picture *picture, int orientation, llava_error *e)
{
    if (orientation < 2 || orientation > 8) {
        return true;
    }
    /* Which way the stored rows and columns run when seen upright. */
    bool transposed = orientation >= 5;
    bool rows_reversed =
        orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    bool columns_reversed =
        orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    size_t h = picture->height, w = picture->width;
    llava_picture upright;
    if (!llava_picture_new(&upright, transposed ? w : h, transposed ? h : w, e)) {
        return false;
    }
    for (size_t y = 0; y < upright.height; y++) {
        for (size_t x = 0; x < upright.width; x++) {
            size_t row = transposed ? x : y, column = transposed ? y : x;
            row = rows_reversed ? h - 1 - row : row;
            column = columns_reversed ? w - 1 - column : column;
            memcpy(upright.rgb + 3 * (y * upright.width + x), picture->rgb + 3 * (row * w + column),
                   3);
        }
    }
    llava_picture_free(picture);
    *picture = upright;
    return true;
}

/* ---- the recipe: processor and plan resolved to plain numbers ---- */

typedef enum {
    SIZE_SHORTEST, /* the shorter edge becomes `shortest`, the other keeps the aspect */
    SIZE_EXACT,    /* target_height x target_width */
    SIZE_FIT,      /* the largest with this aspect inside target_height x target_width */
    SIZE_GRID,     /* at most target_height x target_width, then up to whole patches */
} size_rule;

typedef struct {
    bool present[LLAVA_STAGE_COUNT];
    bool pad_first, pad_last; /* to a square before the resize; to the target after it */
    bool pad_centered;
    double pad_color[3];
    bool resize;
    size_rule rule;
    size_t shortest, target_height, target_width;
    size_t grid_height, grid_width; /* a patch, for SIZE_GRID */
    llava_size_rounding size_rounding;
    llava_resampling resampling;
    bool crop;
    llava_crop_rounding crop_rounding;
    size_t crop_height, crop_width;
    llava_channel_order channels;
    bool rescale, normalize, fused; /* fused: torchvision's rescale and normalise in one */
    double factor;
    double mean[3], std[3];
} recipe;

static llava_resample resolve_filter(llava_filter filter, llava_resample config)
{
    switch (filter) {
    case LLAVA_FILTER_BICUBIC:
        return LLAVA_RESAMPLE_BICUBIC;
    case LLAVA_FILTER_BILINEAR:
        return LLAVA_RESAMPLE_BILINEAR;
    case LLAVA_FILTER_NEAREST:
        return LLAVA_RESAMPLE_NEAREST;
    case LLAVA_FILTER_LANCZOS:
        return LLAVA_RESAMPLE_LANCZOS;
    case LLAVA_FILTER_BOX:
        return LLAVA_RESAMPLE_BOX;
    case LLAVA_FILTER_CONFIG:
        break;
    }
    return config;
}

/* The size the model sees: what the crop, or else the resize, leaves. */
static void resolve_target(const llava_processor *p, recipe *r)
{
    r->shortest = p->shortest_edge;
    r->target_height = p->shortest_edge > 0 ? p->shortest_edge : p->resize_height;
    r->target_width = p->shortest_edge > 0 ? p->shortest_edge : p->resize_width;
    if (p->do_center_crop) {
        r->target_height = p->crop_height;
        r->target_width = p->crop_width;
    }
    r->crop_height = r->target_height;
    r->crop_width = r->target_width;
    r->grid_height = p->grid_height;
    r->grid_width = p->grid_width;
}

static void resolve_geometry(const llava_processor *p, llava_geometry geometry, recipe *r)
{
    bool squares = p->do_pad && p->images != LLAVA_IMAGES_PIXTRAL;
    resolve_target(p, r);
    r->present[LLAVA_STAGE_PADDED] = squares || geometry == LLAVA_GEOMETRY_PAD;
    r->present[LLAVA_STAGE_RESIZED] = p->do_resize || geometry != LLAVA_GEOMETRY_CONFIG;
    r->present[LLAVA_STAGE_CROPPED] = p->do_center_crop || geometry == LLAVA_GEOMETRY_CROP;
    r->resize = r->present[LLAVA_STAGE_RESIZED];
    switch (geometry) {
    case LLAVA_GEOMETRY_CONFIG:
        r->pad_first = squares;
        r->crop = p->do_center_crop;
        r->rule = p->shortest_edge > 0 ? SIZE_SHORTEST
                  : p->grid_height > 0 ? SIZE_GRID
                                       : SIZE_EXACT;
        if (r->rule != SIZE_SHORTEST) {
            r->target_height = p->resize_height;
            r->target_width = p->resize_width;
        }
        break;
    case LLAVA_GEOMETRY_CROP:
        r->crop = true;
        r->rule = SIZE_SHORTEST;
        if (r->shortest == 0) {
            r->shortest = p->resize_height < p->resize_width ? p->resize_height : p->resize_width;
        }
        break;
    case LLAVA_GEOMETRY_PAD:
        r->pad_first = true;
        r->rule = SIZE_EXACT;
        break;
    case LLAVA_GEOMETRY_STRETCH:
        r->rule = SIZE_EXACT;
        break;
    }
}

/* Padding behind the resize needs a resize to come behind. */
static void resolve_pad_order(const llava_processor *p, llava_pad_order order, recipe *r)
{
    if (order != LLAVA_PAD_RESIZE_FIRST || !r->pad_first || !r->resize) {
        return;
    }
    r->pad_first = false;
    r->pad_last = true;
    if (r->rule == SIZE_SHORTEST) { /* what a square with this shortest edge would become */
        r->target_height = p->shortest_edge;
        r->target_width = p->shortest_edge;
    }
    r->rule = SIZE_FIT;
}

static bool resolve_pad_color(const llava_processor *p, llava_pad_color color, recipe *r,
                              llava_error *e)
{
    for (int c = 0; c < 3; c++) {
        if (color != LLAVA_PAD_MEAN) {
            r->pad_color[c] = color == LLAVA_PAD_WHITE ? 255.0 : 0.0;
            continue;
        }
        double level = p->mean[c] * 255.0;
        if (!(level > -1.0 && level < 256.0)) {
            return llava_fail(e, "image_mean: %g times 255 is no colour to pad with", p->mean[c]);
        }
        r->pad_color[c] = (double)(int)level; /* 0.48145466 gives 122, not 123 */
    }
    return true;
}

static void resolve_values(const llava_processor *p, const llava_image_plan *plan, recipe *r)
{
    static const double numbers[][2][3] = {
        [LLAVA_NORMALIZE_HALF] = {{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}},
        [LLAVA_NORMALIZE_IMAGENET] = {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
        [LLAVA_NORMALIZE_CLIP] = {{0.48145466, 0.4578275, 0.40821073},
                                  {0.26862954, 0.26130258, 0.27577711}},
    };
    bool config = plan->normalize == LLAVA_NORMALIZE_CONFIG;
    r->rescale = p->do_rescale && plan->rescale == LLAVA_RESCALE_CONFIG;
    r->factor = p->rescale_factor;
    r->normalize = config ? p->do_normalize : plan->normalize != LLAVA_NORMALIZE_NONE;
    r->fused = plan->resize_rounding == LLAVA_RESIZE_TORCHVISION;
    for (int c = 0; c < 3; c++) {
        r->mean[c] = config ? p->mean[c] : numbers[plan->normalize][0][c];
        r->std[c] = config ? p->std[c] : numbers[plan->normalize][1][c];
    }
}

static bool resolve(const llava_processor *p, const llava_image_plan *plan, recipe *r,
                    llava_error *e)
{
    *r = (recipe){
        .pad_centered = plan->pad_align == LLAVA_PAD_CENTER,
        .size_rounding = plan->size_rounding,
        .crop_rounding = plan->crop_rounding,
        .channels = plan->channel_order,
        .resampling = {.filter = resolve_filter(plan->resize_filter, p->resample),
                       .antialias = plan->antialias == LLAVA_ANTIALIAS_ON,
                       .cubic_a = plan->cubic_a == LLAVA_CUBIC_A_HALF ? -0.5 : -0.75,
                       .rounding = plan->resize_rounding,
                       .grid = plan->resize_grid,
                       .horizontal_first = plan->pass_order == LLAVA_PASSES_HORIZONTAL_FIRST,
                       .tie = plan->tie},
    };
    resolve_geometry(p, plan->geometry, r);
    resolve_pad_order(p, plan->pad_order, r);
    resolve_values(p, plan, r);
    return (!r->pad_first && !r->pad_last) || resolve_pad_color(p, plan->pad_color, r, e);
}

/* ---- sizes ---- */

/* size * edge / other, rounded: the quotient as Python's int / int gives it, because size * edge is
 * below 2^53 for every shortest edge whose square is within the limit of pixels. */
static size_t scaled_edge(llava_size_rounding rounding, size_t size, size_t edge, size_t other)
{
    if (rounding == LLAVA_SIZE_CEIL_F32) {
        float ratio = (float)size / (float)other;
        float scaled = (float)edge * ratio;
        size_t whole = (size_t)scaled;
        return (float)whole < scaled ? whole + 1 : whole;
    }
    double exact = (double)(size * edge) / (double)other;
    size_t whole = (size_t)exact;
    double rest = exact - (double)whole;
    bool up = (rounding == LLAVA_SIZE_ROUND && rest >= 0.5) ||
              (rounding == LLAVA_SIZE_CEIL && rest > 0.0);
    return up ? whole + 1 : whole;
}

/* An edge shrunk by `ratio` and then made up to whole patches. Rounding is what the decision says,
 * floor by default: int(floor(edge / ratio)). 0 where nothing is left of it. */
static size_t patched_edge(llava_size_rounding rounding, size_t edge, double ratio, size_t patch)
{
    double exact = (double)edge / ratio;
    if (rounding == LLAVA_SIZE_CEIL_F32) {
        exact = (double)((float)edge / (float)ratio);
    }
    size_t whole = (size_t)exact;
    double rest = exact - (double)whole;
    bool up = (rounding == LLAVA_SIZE_ROUND && rest >= 0.5) ||
              ((rounding == LLAVA_SIZE_CEIL || rounding == LLAVA_SIZE_CEIL_F32) && rest > 0.0);
    whole += up ? 1 : 0;
    return whole == 0 ? 0 : ((whole - 1) / patch + 1) * patch;
}

/* spec 6.11: the picture never grows but to whole patches, and its longest edge is at most the
 * target before that. */
static void grid_size(const recipe *r, size_t h, size_t w, size_t *height, size_t *width)
{
    double of_height = (double)h / (double)r->target_height;
    double of_width = (double)w / (double)r->target_width;
    double ratio = of_height > of_width ? of_height : of_width;
    ratio = ratio > 1.0 ? ratio : 1.0;
    *height = patched_edge(r->size_rounding, h, ratio, r->grid_height);
    *width = patched_edge(r->size_rounding, w, ratio, r->grid_width);
}

/* spec 6.4, 6.11. Checks what it gives. */
static bool resized_size(const recipe *r, size_t h, size_t w, size_t *height, size_t *width,
                         llava_error *e)
{
    *height = r->target_height;
    *width = r->target_width;
    if (r->rule == SIZE_SHORTEST) {
        *height = *width = r->shortest;
    }
    if (!check_size(*height, *width, e)) { /* bounds the products below, too */
        return false;
    }
    if (r->rule == SIZE_SHORTEST && w <= h) {
        *height = scaled_edge(r->size_rounding, r->shortest, h, w);
    } else if (r->rule == SIZE_SHORTEST) {
        *width = scaled_edge(r->size_rounding, r->shortest, w, h);
    } else if (r->rule == SIZE_GRID) {
        grid_size(r, h, w, height, width);
    } else if (r->rule == SIZE_FIT && *height * w <= *width * h) { /* the height is the limit */
        size_t fitting = scaled_edge(r->size_rounding, *height, w, h);
        *width = fitting < 1 ? 1 : fitting < *width ? fitting : *width;
    } else if (r->rule == SIZE_FIT) {
        size_t fitting = scaled_edge(r->size_rounding, *width, h, w);
        *height = fitting < 1 ? 1 : fitting < *height ? fitting : *height;
    }
    return check_size(*height, *width, e);
}

/* d/2, rounded. */
static ptrdiff_t half_of(ptrdiff_t d, llava_crop_rounding rounding)
{
    ptrdiff_t half = d / 2, rest = d % 2; /* toward 0 */
    if (rounding == LLAVA_CROP_CEIL) {
        return half + (rest > 0 ? 1 : 0);
    }
    return rounding == LLAVA_CROP_FLOOR ? half - (rest < 0 ? 1 : 0) : half;
}

/* ---- steps ---- */

/* out [height, width] is the window into `in` whose first pixel is (top, left), either of them
 * possibly negative; `color` where the window looks past the picture. Padding and cropping are both
 * this. */
static bool window(const llava_plane *in, ptrdiff_t top, ptrdiff_t left, size_t height,
                   size_t width, const double color[3], llava_plane *out, llava_error *e)
{
    if (!check_size(height, width, e) || !llava_plane_new(out, height, width, in->f64 != NULL, e)) {
        return false;
    }
    for (size_t y = 0; y < height; y++) {
        ptrdiff_t row = top + (ptrdiff_t)y;
        bool row_inside = row >= 0 && row < (ptrdiff_t)in->height;
        for (size_t x = 0; x < width; x++) {
            ptrdiff_t column = left + (ptrdiff_t)x;
            bool inside = row_inside && column >= 0 && column < (ptrdiff_t)in->width;
            size_t to = 3 * (y * width + x);
            size_t from = inside ? 3 * ((size_t)row * in->width + (size_t)column) : 0;
            for (size_t c = 0; c < 3; c++) {
                llava_plane_put(out, to + c, inside ? llava_plane_get(in, from + c) : color[c]);
            }
        }
    }
    return true;
}

/* spec 6.9: the picture on a canvas of this size, floor of the spare rows or columns before it. */
static bool pad(const recipe *r, const llava_plane *in, size_t height, size_t width,
                llava_plane *out, llava_error *e)
{
    ptrdiff_t top = 0, left = 0;
    if (r->pad_centered) {
        top = half_of((ptrdiff_t)height - (ptrdiff_t)in->height, LLAVA_CROP_FLOOR);
        left = half_of((ptrdiff_t)width - (ptrdiff_t)in->width, LLAVA_CROP_FLOOR);
    }
    return window(in, -top, -left, height, width, r->pad_color, out, e);
}

static bool pad_step(const recipe *r, const llava_plane *in, llava_plane *out, llava_error *e)
{
    size_t longest = in->height > in->width ? in->height : in->width;
    bool square = r->pad_first;
    return pad(r, in, square ? longest : in->height, square ? longest : in->width, out, e);
}

static bool resize_step(const recipe *r, const llava_plane *in, llava_plane *out, llava_error *e)
{
    size_t height, width;
    if (!resized_size(r, in->height, in->width, &height, &width, e)) {
        return false;
    }
    if (!r->pad_last) {
        return llava_resize(&r->resampling, in, height, width, out, e);
    }
    llava_plane fitted;
    if (!llava_resize(&r->resampling, in, height, width, &fitted, e)) {
        return false;
    }
    bool ok = pad(r, &fitted, r->target_height, r->target_width, out, e);
    llava_plane_free(&fitted);
    return ok;
}

/* spec 6.6. Where the picture is smaller than the crop, the first row is the floor of a negative
 * half, so that the larger part of an odd number of black rows comes first: the same as
 * transformers' canvas of zeros. */
static bool crop_step(const recipe *r, const llava_plane *in, llava_plane *out, llava_error *e)
{
    static const double black[3] = {0.0, 0.0, 0.0};
    size_t height = r->crop ? r->crop_height : in->height;
    size_t width = r->crop ? r->crop_width : in->width;
    if (!check_size(height, width, e)) {
        return false;
    }
    ptrdiff_t top = half_of((ptrdiff_t)in->height - (ptrdiff_t)height, r->crop_rounding);
    ptrdiff_t left = half_of((ptrdiff_t)in->width - (ptrdiff_t)width, r->crop_rounding);
    return window(in, top, left, height, width, black, out, e);
}

/* One value of channel c, spec 6.7: the product in float64 and rounded to float32 once, then a
 * float32 subtraction and a float32 division. */
static float normalized(const recipe *r, double value, size_t c)
{
    float mean = (float)r->mean[c], std = (float)r->std[c];
    float x = (float)value;
    if (r->fused && r->rescale && r->normalize) {
        float per_level = (float)(1.0 / r->factor); /* 255 */
        return (x - mean * per_level) / (std * per_level);
    }
    if (r->rescale) {
        x = r->fused ? x * (float)r->factor : (float)(value * r->factor);
    }
    return r->normalize ? (x - mean) / std : x;
}

static bool values_step(const recipe *r, const llava_plane *in, llava_image_stages *out,
                        llava_error *e)
{
    size_t pixels = in->height * in->width;
    float *values = llava_alloc(e, pixels, 3 * sizeof *values);
    if (values == NULL) {
        return false;
    }
    for (size_t c = 0; c < 3; c++) {
        size_t from = r->channels >= LLAVA_CHANNELS_BGR_LATE ? 2 - c : c;
        size_t as = r->channels == LLAVA_CHANNELS_BGR_LAST ? 2 - c : c;
        for (size_t i = 0; i < pixels; i++) {
            values[c * pixels + i] = normalized(r, llava_plane_get(in, 3 * i + from), as);
        }
    }
    out->pixel_values = values;
    out->height = in->height;
    out->width = in->width;
    return true;
}

/* The picture that comes in, red and blue exchanged where a port mistook one order for the other.
 */
static bool enter_step(const recipe *r, const llava_picture *picture, llava_plane *out,
                       llava_error *e)
{
    if (!check_size(picture->height, picture->width, e) ||
        !llava_plane_new(out, picture->height, picture->width, false, e)) {
        return false;
    }
    size_t n = 3 * picture->height * picture->width;
    memcpy(out->u8, picture->rgb, n);
    for (size_t i = 0; r->channels == LLAVA_CHANNELS_BGR && i < n; i += 3) {
        uint8_t red = out->u8[i];
        out->u8[i] = out->u8[i + 2];
        out->u8[i + 2] = red;
    }
    return true;
}

static bool run_steps(const recipe *r, llava_image_stage from, llava_plane planes[],
                      llava_image_stages *out, llava_error *e)
{
    static bool (*const steps[])(const recipe *, const llava_plane *, llava_plane *,
                                 llava_error *) = {
        [LLAVA_STAGE_PADDED] = pad_step,
        [LLAVA_STAGE_RESIZED] = resize_step,
        [LLAVA_STAGE_CROPPED] = crop_step,
    };
    const llava_plane *at = &planes[from];
    for (int stage = (int)from + 1; stage < LLAVA_STAGE_COUNT; stage++) {
        if (!r->present[stage]) {
            continue;
        }
        if (!steps[stage](r, at, &planes[stage], e)) {
            return false;
        }
        at = &planes[stage];
    }
    return values_step(r, at, out, e);
}

bool llava_picture_process_from(const llava_processor *processor, const llava_image_plan *plan,
                                llava_image_stage from, const llava_picture *picture,
                                llava_image_stages *stages, llava_error *e)
{
    *stages = (llava_image_stages){0};
    recipe r;
    llava_plane planes[LLAVA_STAGE_COUNT] = {{0}};
    bool ok = resolve(processor, plan, &r, e) && enter_step(&r, picture, &planes[from], e) &&
              run_steps(&r, from, planes, stages, e);
    for (int stage = 0; stage < LLAVA_STAGE_COUNT; stage++) {
        llava_plane *plane = &planes[stage];
        if (ok && llava_plane_to_u8(plane, plan->tie, e)) { /* gives its bytes away */
            stages->stage[stage] = (llava_picture){plane->height, plane->width, plane->u8};
            *plane = (llava_plane){0};
        } else {
            ok = false;
        }
        llava_plane_free(plane);
    }
    if (!ok) {
        llava_image_stages_free(stages);
    }
    return ok;
}

bool llava_picture_process(const llava_processor *processor, const llava_image_plan *plan,
                           const llava_picture *rgb, llava_image_stages *stages, llava_error *e)
{
    return llava_picture_process_from(processor, plan, LLAVA_STAGE_RGB, rgb, stages, e);
}

void llava_image_stages_put(const llava_image_stages *stages, size_t height, size_t width,
                            double *out)
{
    const float *from = stages->pixel_values;
    for (size_t c = 0; c < 3; c++) {
        for (size_t y = 0; y < height; y++) {
            for (size_t x = 0; x < width; x++) {
                bool inside = y < stages->height && x < stages->width;
                *out++ = inside ? (double)*from++ : 0.0;
            }
        }
    }
}

void llava_image_stages_free(llava_image_stages *stages)
{
    for (int stage = 0; stage < LLAVA_STAGE_COUNT; stage++) {
        llava_picture_free(&stages->stage[stage]);
    }
    free(stages->pixel_values);
    *stages = (llava_image_stages){0};
}
