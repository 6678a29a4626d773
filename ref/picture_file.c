#include "picture_file.h"
#include "jpeg.h"
#include "png.h"

bool llava_picture_read(llava_picture *picture, const char *name, const uint8_t *bytes, size_t n,
                        const llava_image_plan *plan, llava_error *e)
{
    int orientation = 0;
    bool ok;
    if (llava_png_is(bytes, n)) {
        ok = llava_png_read(picture, name, bytes, n, plan->alpha, &orientation, e);
    } else if (llava_jpeg_is(bytes, n)) {
        ok = llava_jpeg_read(picture, name, bytes, n, plan, &orientation, e);
    } else {
        *picture = (llava_picture){0};
        return llava_fail(e, "%s: neither a PNG nor a JPEG file (at byte 0)", name);
    }
    if (ok && plan->exif == LLAVA_EXIF_APPLIED && !llava_picture_orient(picture, orientation, e)) {
        llava_picture_free(picture);
        return llava_fail_in(e, name);
    }
    return ok;
}
