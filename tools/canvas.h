/* A picture to draw on, and its colours.
 *
 * What is not drawn is transparent, and figures and curves have colours of a middle lightness, so
 * that a drawing can be read on a light page and on a dark one. Colours are made in Oklab (Ottosson
 * 2020), where equal steps look equally large: lightness rises evenly with a size, and stays the
 * same around the circle of an angle. No libm: the same picture everywhere. */
#ifndef LLAVA_CANVAS_H
#define LLAVA_CANVAS_H

#include "ref/error.h"

#include <stdint.h>

typedef struct {
    uint8_t rgba[4];
} llava_colour;

/* A size from 0, dark, to 1, bright: beyond either end as the end; NaN: green, as nothing else. */
llava_colour llava_colour_size(double part);
/* A signed number from -1, blue, by 0, white, to 1, red. */
llava_colour llava_colour_signed(double part);
/* The direction (cos, sin): lightness does not change. */
llava_colour llava_colour_angle(double cosine, double sine);
/* Of the i-th curve. */
llava_colour llava_colour_curve(size_t i);
/* Of figures and lines. */
llava_colour llava_colour_ink(void);
llava_colour llava_colour_rgb(uint8_t red, uint8_t green, uint8_t blue);

typedef struct {
    size_t width, height;
    uint8_t *rgba; /* [height, width, 4] */
} llava_canvas;

/* All transparent. Refused: more than 16384 pixels a side. */
bool llava_canvas_open(llava_canvas *canvas, size_t width, size_t height, llava_error *e);
void llava_canvas_close(llava_canvas *canvas);
/* A rectangle; what lies outside is cut off. */
void llava_canvas_fill(llava_canvas *canvas, size_t x, size_t y, size_t width, size_t height,
                       llava_colour colour);
/* Its outline, `thick` pixels inwards. */
void llava_canvas_frame(llava_canvas *canvas, size_t x, size_t y, size_t width, size_t height,
                        size_t thick, llava_colour colour);
/* A line of 3 pixels between two points. */
void llava_canvas_line(llava_canvas *canvas, size_t x0, size_t y0, size_t x1, size_t y1,
                       llava_colour colour);
/* Digits, '-', '.' and 'e', LLAVA_FIGURE_TALL pixels high; anything else is a blank. Returns the
 * width; canvas NULL only measures. */
enum { LLAVA_FIGURE_TALL = 10, LLAVA_FIGURE_WIDE = 8 };
size_t llava_canvas_figures(llava_canvas *canvas, size_t x, size_t y, const char *text,
                            llava_colour colour);
/* As PNG; "-": standard output. */
bool llava_canvas_write(const llava_canvas *canvas, const char *path, llava_error *e);

#endif
