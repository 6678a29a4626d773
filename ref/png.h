/* PNG files to RGB bytes, through libpng, as Pillow 13 and transformers' load_image convert them
 * (spec 6.3 and 14, contract sections 9 and 10). */
#ifndef LLAVA_PNG_H
#define LLAVA_PNG_H

#include "picture.h"

/* Does the file begin as a PNG file does? */
bool llava_png_is(const uint8_t *bytes, size_t n);

/* Decodes a PNG file's n bytes. `name` starts every message.
 *
 * Grey gives r = g = b, 1, 2 and 4 bits spread to 0..255. 16-bit grey is clipped: 256 and more is
 * 255; 16-bit colour and 16-bit grey with alpha keep the high byte. A palette index beyond the
 * palette is black. Transparency (an alpha channel, a tRNS chunk): dropped, or composited on white
 * or black as Image.alpha_composite does. Gamma, colour profiles and APNG's further frames are not
 * looked at. *orientation is the EXIF orientation: of the eXIf chunk, else of a "Raw profile type
 * exif" text, else of an XMP text; 0 where they say nothing.
 *
 * Refused: what is not a PNG file; a bad CRC (in a critical chunk anywhere, in any chunk before the
 * image data); missing or undecodable image data; an unknown critical chunk; a palette absent where
 * needed, not allowed, repeated, or behind the image data; a zero size, more than LLAVA_MAX_PIXELS.
 * Tolerated: a missing end (IEND, or anything behind the image data cut off), a bad Adler sum. */
bool llava_png_read(llava_picture *picture, const char *name, const uint8_t *bytes, size_t n,
                    llava_alpha alpha, int *orientation, llava_error *e);

#endif
