/* Small pictures as PNG files in memory, to stand inside a page or in a file. */
#ifndef LLAVA_PICTURE_OUT_H
#define LLAVA_PICTURE_OUT_H

#include "tools/output.h"

typedef struct {
    uint8_t *bytes; /* free with free() */
    size_t size;
} llava_png;

/* colours: [count, 3] bytes, count at most 256; pixels: [height, width] indices of them. */
bool llava_png_indexed(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                       const uint8_t *colours, size_t count, llava_error *e);
/* pixels: [height, width, 3]. */
bool llava_png_rgb(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                   llava_error *e);
/* pixels: [height, width, 4], the last one from 0, transparent, to 255. */
bool llava_png_rgba(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                    llava_error *e);
/* Into a file; "-": standard output. */
bool llava_png_write(const llava_png *png, const char *path, llava_error *e);

#endif
