/* UTF-8 and the two character classes that the tokenizer needs; and the growing byte buffer. */
#ifndef LLAVA_UNICODE_H
#define LLAVA_UNICODE_H

#include "error.h"

#include <stdint.h>

/* Reads the character at the start of n bytes. Returns its length, 1 to 4, and its code point; 0
 * where there is none: n is 0, or the bytes are not strict UTF-8 (too long a form, a surrogate,
 * above U+10FFFF, cut off). */
size_t llava_utf8_next(const char *text, size_t n, uint32_t *point);

/* Are all n bytes strict UTF-8? */
bool llava_utf8_valid(const char *text, size_t n);

/* White_Space of Unicode. */
bool llava_is_space(uint32_t point);

/* A word character (\w) of Unicode 16: letters, marks, decimal digits, connectors, joiners. */
bool llava_is_word(uint32_t point);

/* Bytes that grow up to a limit. Zero it to start; free(bytes.at) when done. */
typedef struct {
    char *at; /* NULL while nothing was put */
    size_t n, room;
} llava_bytes;

/* Appends n bytes; refuses to grow beyond `limit` bytes in all. */
bool llava_bytes_put(llava_bytes *bytes, const char *text, size_t n, size_t limit, llava_error *e);

#endif
