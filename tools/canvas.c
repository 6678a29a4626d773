#include "tools/canvas.h"

#include "ref/elementary.h"
#include "tools/picture_out.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- colours ---- */

/* Linear light to a byte of sRGB (IEC 61966-2-1); what no screen shows is cut off. */
static uint8_t srgb(double light)
{
    if (!(light > 0)) {
        return 0;
    }
    double x = light <= 0.0031308 ? 12.92 * light : 1.055 * llava_pow(light, 1 / 2.4) - 0.055;
    return x < 1 ? (uint8_t)(255 * x + 0.5) : 255;
}

/* Ottosson, "A perceptual color space for image processing": Oklab to linear sRGB. */
static llava_colour oklab(double lightness, double a, double b)
{
    double l = lightness + 0.3963377774 * a + 0.2158037573 * b;
    double m = lightness - 0.1055613458 * a - 0.0638541728 * b;
    double s = lightness - 0.0894841775 * a - 1.2914855480 * b;
    l *= l * l;
    m *= m * m;
    s *= s * s;
    return llava_colour_rgb(srgb(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
                            srgb(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
                            srgb(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s));
}

/* chroma at `turn` turns of the hue circle. */
static llava_colour oklch(double lightness, double chroma, double turn)
{
    const double around = 6.283185307179586;
    return oklab(lightness, chroma * llava_cos(turn * around), chroma * llava_sin(turn * around));
}

llava_colour llava_colour_rgb(uint8_t red, uint8_t green, uint8_t blue)
{
    return (llava_colour){{red, green, blue, 255}};
}

llava_colour llava_colour_size(double part)
{
    if (isnan(part)) {
        return llava_colour_rgb(0, 255, 0);
    }
    part = part > 1 ? 1 : part < 0 ? 0 : part;
    /* from violet by red to yellow, strongest in the middle */
    return oklch(0.2 + 0.74 * part, 0.05 + 0.5 * part * (1 - part) + 0.07 * part, 0.8 + 0.5 * part);
}

llava_colour llava_colour_signed(double part)
{
    if (isnan(part)) {
        return llava_colour_rgb(0, 255, 0);
    }
    double size = fabs(part) > 1 ? 1 : fabs(part);
    return oklch(0.98 - 0.5 * size, 0.19 * size, part < 0 ? 0.73 : 0.07);
}

llava_colour llava_colour_angle(double cosine, double sine)
{
    double length = llava_sqrt(cosine * cosine + sine * sine);
    return length > 0 ? oklab(0.72, 0.12 * cosine / length, 0.12 * sine / length)
                      : llava_colour_rgb(0, 255, 0);
}

llava_colour llava_colour_curve(size_t i)
{
    static const double turns[] = {0.73, 0.12, 0.42, 0.9, 0.28, 0.58};
    return oklch(0.64, 0.16, turns[i % (sizeof turns / sizeof turns[0])]);
}

llava_colour llava_colour_ink(void)
{
    return oklab(0.62, 0, 0);
}

/* ---- drawing ---- */

bool llava_canvas_open(llava_canvas *canvas, size_t width, size_t height, llava_error *e)
{
    enum { WIDEST = 16384 };
    *canvas = (llava_canvas){.width = width, .height = height};
    if (width == 0 || height == 0 || width > WIDEST || height > WIDEST) {
        return llava_fail(e, "draw: a picture of %zu x %zu pixels (the limit is %d a side)", width,
                          height, WIDEST);
    }
    canvas->rgba = llava_alloc(e, width * height, 4);
    return canvas->rgba != NULL;
}

void llava_canvas_close(llava_canvas *canvas)
{
    free(canvas->rgba);
    canvas->rgba = NULL;
}

void llava_canvas_fill(llava_canvas *canvas, size_t x, size_t y, size_t width, size_t height,
                       llava_colour colour)
{
    for (size_t i = y; i < y + height && i < canvas->height; i++) {
        for (size_t j = x; j < x + width && j < canvas->width; j++) {
            memcpy(canvas->rgba + (i * canvas->width + j) * 4, colour.rgba, 4);
        }
    }
}

void llava_canvas_frame(llava_canvas *canvas, size_t x, size_t y, size_t width, size_t height,
                        size_t thick, llava_colour colour)
{
    if (width < thick || height < thick) {
        return;
    }
    llava_canvas_fill(canvas, x, y, width, thick, colour);
    llava_canvas_fill(canvas, x, y + height - thick, width, thick, colour);
    llava_canvas_fill(canvas, x, y, thick, height, colour);
    llava_canvas_fill(canvas, x + width - thick, y, thick, height, colour);
}

void llava_canvas_line(llava_canvas *canvas, size_t x0, size_t y0, size_t x1, size_t y1,
                       llava_colour colour)
{
    size_t across = x1 > x0 ? x1 - x0 : x0 - x1, down = y1 > y0 ? y1 - y0 : y0 - y1;
    size_t steps = across > down ? across : down;
    for (size_t i = 0; i <= steps; i++) {
        double part = steps > 0 ? (double)i / (double)steps : 0;
        double x = (double)x0 + ((double)x1 - (double)x0) * part;
        double y = (double)y0 + ((double)y1 - (double)y0) * part;
        llava_canvas_fill(canvas, (size_t)(x + 0.5), (size_t)(y + 0.5), 3, 3, colour);
    }
}

size_t llava_canvas_figures(llava_canvas *canvas, size_t x, size_t y, const char *text,
                            llava_colour colour)
{
    enum { DOT = 2, COLUMNS = 3, ROWS = 5 };
    static const char known[] = "0123456789-.e";
    /* five rows of three dots, the highest bit at the top left */
    static const uint16_t shapes[] = {075557, 026227, 071747, 071717, 055711, 074717, 074757,
                                      071222, 075757, 075717, 000700, 000002, 003743};
    for (const char *c = text; *c != '\0'; c++, x += LLAVA_FIGURE_WIDE) {
        const char *at = strchr(known, *c);
        for (int i = 0; canvas != NULL && at != NULL && i < ROWS * COLUMNS; i++) {
            if (shapes[at - known] >> (ROWS * COLUMNS - 1 - i) & 1) {
                llava_canvas_fill(canvas, x + (size_t)(i % COLUMNS) * DOT,
                                  y + (size_t)(i / COLUMNS) * DOT, DOT, DOT, colour);
            }
        }
    }
    return strlen(text) * LLAVA_FIGURE_WIDE;
}

bool llava_canvas_write(const llava_canvas *canvas, const char *path, llava_error *e)
{
    llava_png png;
    bool ok = llava_png_rgba(&png, canvas->rgba, canvas->width, canvas->height, e) &&
              llava_png_write(&png, path, e);
    free(png.bytes);
    return ok;
}
