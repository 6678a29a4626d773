/* The orientation of a picture, from the metadata that Pillow looks at. */
#ifndef LLAVA_EXIF_H
#define LLAVA_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* The Orientation tag of an EXIF block: a TIFF header and its first directory, "Exif\0\0" in front
 * of it or not, in either byte order. 0 where there is no such tag, LLAVA_EXIF_UNREADABLE where the
 * block is no TIFF, else the tag's value, or 1 (upright) where it is no number from 1 to 8. */
#define LLAVA_EXIF_UNREADABLE (-1)
int llava_exif_orientation(const uint8_t *bytes, size_t n);

/* The first tiff:Orientation of an XMP packet, as an attribute or an element; 0 where there is
 * none.
 */
int llava_xmp_orientation(const uint8_t *bytes, size_t n);

/* The same from ImageMagick's "Raw profile type exif" text: three lines of preamble, then an EXIF
 * block in hexadecimal. 0 where it is not that, LLAVA_EXIF_NO_MEMORY where memory is out. */
#define LLAVA_EXIF_NO_MEMORY (-2)
int llava_raw_profile_orientation(const uint8_t *text, size_t n);

#endif
