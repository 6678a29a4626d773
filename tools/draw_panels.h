/* Panels of one size, four in a line, each with its number above: a picture, or a number of each of
 * its patches or pixels as a colour. */
#ifndef LLAVA_DRAW_PANELS_H
#define LLAVA_DRAW_PANELS_H

#include "tools/draw.h"

/* Between panels, for a panel's number, and about the longer side of a panel, in pixels. */
enum { LLAVA_PANELS_GAP = 12, LLAVA_PANELS_LABEL = LLAVA_FIGURE_TALL + 6, LLAVA_PANELS_SIDE = 192 };

typedef struct {
    llava_canvas *canvas;
    const llava_picture *picture; /* a panel is of its size */
    size_t zoom, count;           /* panels so far */
} llava_panels;

/* How many times a picture is enlarged so that it is not longer than `side`; at least once. */
size_t llava_panels_zoom(const llava_picture *picture, size_t side);

/* Room for `count` panels. */
bool llava_panels_open(llava_panels *panels, const llava_picture *picture, size_t count,
                       llava_error *e);
/* The next panel's corner, and `number` above it. */
void llava_panels_next(llava_panels *panels, const char *number, size_t *x, size_t *y);

/* light: of each pixel, from 0 to 1; NULL: all 1. */
void llava_paint_picture(llava_canvas *canvas, const llava_picture *picture, size_t zoom, size_t x,
                         size_t y, const double *light);
/* A colour for each of rows x columns values, `side` pixels a side, `most` the brightest. */
void llava_paint_values(llava_canvas *canvas, const double *values, size_t rows, size_t columns,
                        size_t side, size_t x, size_t y, double most);

typedef struct {
    double least, most; /* NaN is the most */
    size_t at;          /* of the most */
} llava_extent;

llava_extent llava_extent_of(const double *values, size_t n);

#endif
