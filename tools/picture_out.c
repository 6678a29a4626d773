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

static bool start(png_image *image, size_t width, size_t height, png_uint_32 format, llava_error *e)
{
    enum { WIDEST = 16384 };
    memset(image, 0, sizeof *image);
    image->version = PNG_IMAGE_VERSION;
    image->width = (png_uint_32)width;
    image->height = (png_uint_32)height;
    image->format = format;
    return (width > 0 && height > 0 && width <= WIDEST && height <= WIDEST) ||
           llava_fail(e, "a picture of %zu x %zu cannot be encoded", width, height);
}

bool llava_png_indexed(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                       const uint8_t *colours, size_t count, llava_error *e)
{
    png_image image;
    if (!start(&image, width, height, PNG_FORMAT_RGB_COLORMAP, e)) {
        return false;
    }
    image.colormap_entries = (png_uint_32)count;
    return encode(png, &image, pixels, width, colours, e);
}

bool llava_png_rgb(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                   llava_error *e)
{
    png_image image;
    return start(&image, width, height, PNG_FORMAT_RGB, e) &&
           encode(png, &image, pixels, 3 * width, NULL, e);
}

bool llava_png_rgba(llava_png *png, const uint8_t *pixels, size_t width, size_t height,
                    llava_error *e)
{
    png_image image;
    *png = (llava_png){0};
    return start(&image, width, height, PNG_FORMAT_RGBA, e) &&
           encode(png, &image, pixels, 4 * width, NULL, e);
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

bool llava_base64(llava_output *output, const uint8_t *bytes, size_t n, llava_error *e)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0);
        char four[4] = {digits[three >> 18], digits[three >> 12 & 63],
                        left > 1 ? digits[three >> 6 & 63] : '=',
                        left > 2 ? digits[three & 63] : '='};
        if (!llava_output_write(output, four, sizeof four, e)) {
            return false;
        }
    }
    return true;
}
