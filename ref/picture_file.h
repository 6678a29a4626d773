/* A picture file to RGB bytes: PNG or JPEG, by its content and not by its name, seen upright. */
#ifndef LLAVA_PICTURE_FILE_H
#define LLAVA_PICTURE_FILE_H

#include "picture.h"

/* Decodes a file's n bytes as transformers' load_image does: to RGB, then turned by its EXIF
 * orientation. The plan's alpha, exif, jpeg_upsampling and jpeg_dct act
 * here. `name` starts every message.
 * Errors: png.h, jpeg.h; a file that is neither. */
bool llava_picture_read(llava_picture *picture, const char *name, const uint8_t *bytes, size_t n,
                        const llava_image_plan *plan, llava_error *e);

#endif
