/* JPEG files to RGB bytes, through libjpeg-turbo, as Pillow 13 decodes and converts them (spec 6.3,
 * contract sections 9 and 10). Without the library at build time jpeg_absent.c stands in for
 * jpeg.c, and refuses every such file. */
#ifndef LLAVA_JPEG_H
#define LLAVA_JPEG_H

#include "picture.h"

/* Was the library there at build time? */
bool llava_jpeg_available(void);

/* Does the file begin as a JPEG file does? */
bool llava_jpeg_is(const uint8_t *bytes, size_t n);

/* Decodes a JPEG file's n bytes. `name` starts every message. *orientation is what the metadata
 * asks for: the EXIF segments, joined, else an XMP segment's; 0 where they say nothing.
 *
 * Baseline, progressive, arithmetic-coded, any sampling that the library knows; grey, YCbCr or RGB,
 * CMYK or YCCK. The plan's jpeg_upsampling and jpeg_dct act here. Where the library finds the coded
 * data damaged and goes on, so does this, as Pillow does. Four components are taken as inverted
 * ("Adobe"), whether a marker says so or not, and are converted without a colour profile: r =
 * max(0, nk - C nk / 255), nk = 255 - K.
 *
 * Refused: what the library cannot decode (12 bits, lossless before its version 3); a file that
 * ends before its data does; 2 or more than 4 components; more than LLAVA_MAX_PIXELS; more than
 * LLAVA_JPEG_SCANS scans, each of which costs a pass over the picture whatever its size in bytes.
 */
bool llava_jpeg_read(llava_picture *picture, const char *name, const uint8_t *bytes, size_t n,
                     const llava_image_plan *plan, int *orientation, llava_error *e);

#define LLAVA_JPEG_SCANS 500

#endif
