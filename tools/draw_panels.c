/* draw: panels of one size that show a picture, or a number of each of its patches. */
#include "tools/draw_panels.h"

#include <math.h>

enum { ACROSS = 4 };

size_t llava_panels_zoom(const llava_picture *picture, size_t side)
{
    size_t longer = picture->height > picture->width ? picture->height : picture->width;
    return longer < side ? side / longer : 1;
}

bool llava_panels_open(llava_panels *p, const llava_picture *picture, size_t count, llava_error *e)
{
    p->picture = picture;
    p->zoom = llava_panels_zoom(picture, LLAVA_PANELS_SIDE);
    p->count = 0;
    size_t across = count < ACROSS ? count : ACROSS, lines = (count - 1) / ACROSS + 1;
    return llava_canvas_open(
        p->canvas, across * (picture->width * p->zoom + LLAVA_PANELS_GAP) - LLAVA_PANELS_GAP,
        lines * (picture->height * p->zoom + LLAVA_PANELS_LABEL + LLAVA_PANELS_GAP) -
            LLAVA_PANELS_GAP,
        e);
}

void llava_panels_next(llava_panels *p, const char *number, size_t *x, size_t *y)
{
    *x = p->count % ACROSS * (p->picture->width * p->zoom + LLAVA_PANELS_GAP);
    *y = p->count / ACROSS * (p->picture->height * p->zoom + LLAVA_PANELS_LABEL + LLAVA_PANELS_GAP);
    llava_canvas_figures(p->canvas, *x, *y, number, llava_colour_ink());
    *y += LLAVA_PANELS_LABEL;
    p->count++;
}

void llava_paint_picture(llava_canvas *canvas, const llava_picture *picture, size_t zoom, size_t x,
                         size_t y, const double *light)
{
    for (size_t i = 0; i < picture->height * picture->width; i++) {
        const uint8_t *rgb = picture->rgb + 3 * i;
        double part = light != NULL ? light[i] : 1;
        llava_canvas_fill(canvas, x + i % picture->width * zoom, y + i / picture->width * zoom,
                          zoom, zoom,
                          llava_colour_rgb((uint8_t)(rgb[0] * part), (uint8_t)(rgb[1] * part),
                                           (uint8_t)(rgb[2] * part)));
    }
}

llava_extent llava_extent_of(const double *values, size_t n)
{
    llava_extent s = {values[0], values[0], 0};
    for (size_t i = 1; i < n; i++) {
        s.least = values[i] < s.least ? values[i] : s.least;
        if (values[i] > s.most || (isnan(values[i]) && !isnan(s.most))) {
            s.most = values[i];
            s.at = i;
        }
    }
    return s;
}

void llava_paint_values(llava_canvas *canvas, const double *values, size_t rows, size_t columns,
                        size_t side, size_t x, size_t y, double most)
{
    for (size_t i = 0; i < rows * columns; i++) {
        double part = most > 0 ? values[i] / most : isnan(values[i]) ? values[i] : 0;
        llava_canvas_fill(canvas, x + i % columns * side, y + i / columns * side, side, side,
                          llava_colour_size(part));
    }
}
