#include "tools/picture_out.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

/* image: format and sizes; row: bytes of one row. */
static bool encode(llava_png *png, png_image *image, const uint8_t *pixels, size_t row,
                   const uint8_t *colours, llava_error *e)
{
    png_alloc_size_t size = 0;
    *png = (llava_png){0};
    if (!png_image_write_get_memory_size(*image, size, 0, pixels, (png_int_32)row, colours)) {
        return llava_fail(e, "a picture of the report cannot be encoded (%s)", image->message);
    }
    png->bytes = llava_alloc(e, size, 1);
    if (png->bytes == NULL) {
        return false;
    }
    if (!png_image_write_to_memory(image, png->bytes, &size, 0, pixels, (png_int_32)row, colours)) {
        free(png->bytes);
        png->bytes = NULL;
        return llava_fail(e, "a picture of the report cannot be encoded (%s)", image->message);
    }
    png->size = size;
    return true;
}

/* libpng refuses what it cannot write, an edge of 0 too. */
static png_image start(size_t width, size_t height, png_uint_32 format)
{
    return (png_image){.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = format};
}

bool llava_png_indexed(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                       const uint8_t *colours, size_t count, llava_error *e)
{
    png_image image = start(width, height, PNG_FORMAT_RGB_COLORMAP);
    image.colormap_entries = (png_uint_32)count;
    return encode(png, &image, pixels, width, colours, e);
}

bool llava_png_rgb(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                   llava_error *e)
{
    png_image image = start(width, height, PNG_FORMAT_RGB);
    return encode(png, &image, pixels, 3 * width, NULL, e);
}

bool llava_png_rgba(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                    llava_error *e)
{
    png_image image = start(width, height, PNG_FORMAT_RGBA);
    return encode(png, &image, pixels, 4 * width, NULL, e);
}

bool llava_png_write(const llava_png *png, const char *path, llava_error *e)
{
    llava_output *output;
    if (!llava_output_open(&output, path, e)) {
        return false;
    }
    if (!llava_output_write(output, png->bytes, png->size, e)) {
        llava_output_abort(output);
        return false;
    }
    return llava_output_commit(output, e);
}
