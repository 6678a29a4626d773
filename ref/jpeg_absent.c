/* In the place of jpeg.c where the library was not there at build time. */
#include "jpeg.h"

bool llava_jpeg_available(void)
{
    return false;
}

bool llava_jpeg_is(const uint8_t *bytes, size_t n)
{
    return n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

bool llava_jpeg_read(llava_picture *picture, const char *name, const uint8_t *bytes, size_t n,
                     const llava_image_plan *plan, int *orientation, llava_error *e)
{
    (void)bytes;
    (void)n;
    (void)plan;
    *picture = (llava_picture){0};
    *orientation = 0;
    return llava_fail(e,
                      "%s: a JPEG file, which this build does not read (it was built without "
                      "libjpeg-turbo)",
                      name);
}
