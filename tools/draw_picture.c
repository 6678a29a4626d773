/* draw picture: the steps from the file to the tower, and the three planes that it gets. */
#include "tools/draw_panels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where `small` was cut out of `large`, if it was; false where its bytes are not found there. */
static bool cut_from(const llava_picture *large, const llava_picture *small, size_t *top,
                     size_t *left)
{
    if (large->height < small->height || large->width < small->width) {
        return false;
    }
    for (size_t i = 0; i < 4; i++) { /* half of what is left over, rounded down or up */
        *top = (large->height - small->height + i / 2) / 2;
        *left = (large->width - small->width + i % 2) / 2;
        bool same = true;
        for (size_t y = 0; same && y < small->height; y++) {
            const uint8_t *row = large->rgb + ((*top + y) * large->width + *left) * 3;
            same = memcmp(row, small->rgb + y * small->width * 3, small->width * 3) == 0;
        }
        if (same) {
            return small->height < large->height || small->width < large->width;
        }
    }
    return false;
}

static void rule_patches(llava_canvas *canvas, const llava_picture *picture, size_t zoom, size_t x,
                         size_t y, size_t patch)
{
    size_t rows = picture->height / patch, columns = picture->width / patch;
    llava_colour white = llava_colour_rgb(255, 255, 255);
    for (size_t i = 0; i <= rows; i++) {
        llava_canvas_fill(canvas, x, y + i * patch * zoom, columns * patch * zoom, 1, white);
    }
    for (size_t i = 0; i <= columns; i++) {
        llava_canvas_fill(canvas, x + i * patch * zoom, y, 1, rows * patch * zoom, white);
    }
}

/* The steps side by side, each where it was cut from framed, the last one in patches. */
static void paint_steps(llava_canvas *canvas, const llava_picture *steps, size_t count, size_t zoom,
                        size_t patch)
{
    size_t x = 0, top, left;
    for (size_t i = 0; i < count; i++) {
        const llava_picture *p = &steps[i];
        llava_paint_picture(canvas, p, zoom, x, 0, NULL);
        if (i + 1 < count && cut_from(p, &steps[i + 1], &top, &left)) {
            llava_canvas_frame(canvas, x + left * zoom, top * zoom, steps[i + 1].width * zoom,
                               steps[i + 1].height * zoom, 2, llava_colour_rgb(255, 255, 255));
        }
        if (i + 1 == count && patch > 0) {
            rule_patches(canvas, p, zoom, x, 0, patch);
        }
        x += p->width * zoom + LLAVA_PANELS_GAP;
    }
}

static void paint_planes(llava_canvas *canvas, const double *planes, size_t height, size_t width,
                         size_t zoom, size_t y, double most)
{
    for (size_t i = 0; i < 3 * height * width; i++) {
        size_t plane = i / (height * width), at = i % (height * width);
        llava_canvas_fill(canvas, (plane * width + at % width) * zoom + plane * LLAVA_PANELS_GAP,
                          y + at / width * zoom, zoom, zoom,
                          llava_colour_signed(most > 0 ? planes[i] / most : planes[i]));
    }
}

static double largest(const double *values, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double size = fabs(values[i]);
        most = isfinite(size) && size > most ? size : most;
    }
    return most;
}

typedef struct {
    llava_picture step[LLAVA_STAGE_COUNT];
    size_t count;
    double *pixels;       /* all of pixel_values; NULL: not there */
    const double *planes; /* of the picture, [3, height, width] */
    size_t height, width;
} sequence;

static bool load_sequence(sequence *s, llava_drawing *d, llava_dump *dump, llava_error *e)
{
    cJSON *steps = llava_drawing_list(d, "steps");
    for (int i = 0; i < LLAVA_STAGE_COUNT; i++) {
        const llava_dump_entry *entry = llava_drawing_stage(dump, d->sample, (llava_image_stage)i);
        if (entry == NULL) {
            continue;
        }
        if (!llava_drawing_bytes(dump, entry, &s->step[s->count], e)) {
            return false;
        }
        s->count++;
        fprintf(d->table, "  %-16s %zu x %zu\n", entry->name, entry->array.shape[0],
                entry->array.shape[1]);
        cJSON *step = llava_drawing_item(d, steps, "name", entry->name);
        llava_drawing_count(d, step, "height", entry->array.shape[0]);
        llava_drawing_count(d, step, "width", entry->array.shape[1]);
    }
    const llava_dump_entry *entry = llava_drawing_planes(dump, d->sample);
    if (entry == NULL) {
        return s->count > 0 || llava_fail(e, "%s: picture %zu is needed: image.* or pixel_values",
                                          llava_dump_path(dump), d->sample);
    }
    s->height = entry->array.shape[2];
    s->width = entry->array.shape[3];
    if (!llava_dump_load(dump, entry, &s->pixels, e)) {
        return false;
    }
    s->planes = s->pixels + d->sample * 3 * s->height * s->width;
    return true;
}

static bool paint_sequence(const sequence *s, llava_drawing *d, llava_error *e)
{
    size_t zoom = s->count > 0 ? llava_panels_zoom(&s->step[0], (size_t)3 * LLAVA_PANELS_SIDE) : 1,
           wide = 0, tall = 0;
    double most = s->planes != NULL ? largest(s->planes, 3 * s->height * s->width) : 0;
    for (size_t i = 0; i < s->count; i++) {
        wide += s->step[i].width * zoom + (i > 0 ? LLAVA_PANELS_GAP : 0);
        tall = s->step[i].height * zoom > tall ? s->step[i].height * zoom : tall;
    }
    size_t below = tall > 0 && s->planes != NULL ? tall + LLAVA_PANELS_GAP : 0;
    if (s->planes != NULL) {
        size_t planes = 3 * s->width * zoom + (size_t)2 * LLAVA_PANELS_GAP;
        wide = planes > wide ? planes : wide;
        tall = below + s->height * zoom;
        fprintf(d->table, "  %-16s 3 planes of %zu x %zu, colours from %.2f (blue) to %.2f (red)\n",
                "pixel_values", s->height, s->width, -most, most);
        cJSON *pixels = llava_json_put(&d->lost, d->json, "pixel_values", cJSON_CreateObject());
        llava_drawing_count(d, pixels, "height", s->height);
        llava_drawing_count(d, pixels, "width", s->width);
        llava_drawing_put(d, pixels, "largest", most);
    }
    if (!llava_canvas_open(&d->canvas, wide, tall, e)) {
        return false;
    }
    paint_steps(&d->canvas, s->step, s->count, zoom, d->has_plan ? d->plan.vision.patch : 0);
    if (s->planes != NULL) {
        paint_planes(&d->canvas, s->planes, s->height, s->width, zoom, below, most);
    }
    return true;
}

bool llava_draw_picture(llava_drawing *d, llava_error *e)
{
    llava_dump *dump;
    sequence s = {.count = 0};
    if (d->count != 1) {
        return llava_fail(e, "draw picture: DUMP is needed");
    }
    if (!llava_dump_open(&dump, d->words[0], e)) {
        return false;
    }
    bool ok = load_sequence(&s, d, dump, e) && paint_sequence(&s, d, e);
    for (size_t i = 0; i < s.count; i++) {
        llava_picture_free(&s.step[i]);
    }
    free(s.pixels);
    llava_dump_close(dump);
    return ok;
}
