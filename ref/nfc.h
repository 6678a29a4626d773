/* Normalization Form C, as the tokenizers library makes it. */
#ifndef LLAVA_NFC_H
#define LLAVA_NFC_H

#include "unicode.h"

/* Appends the composed form of n bytes of valid UTF-8 to *out, which may grow to `limit` bytes.
 * Decomposition, combining classes and composition are utf8proc's; code points that are younger
 * than the library's tables (Unicode 9; ref/unicode_since.h) stand as they are and keep what is
 * before them apart from what is behind. Time grows with n, whatever the order of the marks. */
bool llava_nfc(const char *text, size_t n, size_t limit, llava_bytes *out, llava_error *e);

#endif
