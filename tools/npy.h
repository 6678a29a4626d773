/* The header of NumPy's .npy files: read in versions 1 to 3, written in version 1.
 *
 * A file is "\x93NUMPY", two bytes of version, the length of the header (two bytes in version 1,
 * four after), the header, and the elements. The header is the text of a Python dictionary with
 * exactly the keys descr, fortran_order and shape (numpy.lib.format). */
#ifndef LLAVA_NPY_H
#define LLAVA_NPY_H

#include "tools/array.h"

/* NumPy itself refuses a longer header (numpy.lib.format, max_header_size). */
#define LLAVA_NPY_LONGEST 10000
/* A reader that has so many bytes, or the whole file, can read the header. */
#define LLAVA_NPY_PREFIX (12 + LLAVA_NPY_LONGEST)
/* Room for any header that llava_npy_write makes. */
#define LLAVA_NPY_HEADER 512

/* Reads the header at the start of n bytes; *data is then the offset of the first element.
 * Accepted types: b1, i1-i8, u1-u8, f2, f4, f8 in both byte orders; rank 0 to 8. Everything else is
 * refused by name (object arrays, structured types, text, complex, ...). The message has no file
 * name: the caller puts it in front with llava_fail_in. */
bool llava_npy_read(llava_array *array, size_t *data, const uint8_t *bytes, size_t n,
                    llava_error *e);

/* Writes the header of a C-order, little-endian array, byte for byte as numpy.save does; returns
 * its length, a multiple of 64. */
size_t llava_npy_write(const llava_array *array, uint8_t out[LLAVA_NPY_HEADER]);

#endif
