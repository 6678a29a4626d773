/* UTF-8 and the character classes that the tokenizer needs; and the growing byte buffer.
 *
 * The classes are those of the tokenizers library (its regular expressions know Unicode 16),
 * whatever Unicode utf8proc knows beyond 15: ref/unicode_since.h has what came between. */
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

/* How many bytes at the start of n > 0 bytes that begin no character one U+FFFD stands for: the
 * longest beginning of a character (Unicode 3.9, "maximal subpart"), at least 1. */
size_t llava_utf8_broken(const char *text, size_t n);

/* White_Space of Unicode. */
bool llava_is_space(uint32_t point);

/* A word character (\w): letters, marks, decimal digits, letter-like numbers and symbols,
 * connectors, joiners. */
bool llava_is_word(uint32_t point);

/* What a code point is to a regular expression, as bits. */
enum {
    LLAVA_CHAR_LETTER = 1, /* \p{L} */
    LLAVA_CHAR_NUMBER = 2, /* \p{N} */
    LLAVA_CHAR_SPACE = 4,  /* \s, White_Space */
    LLAVA_CHAR_OTHER = 8,  /* none of these */
    LLAVA_CHAR_UPPER = 16, /* \p{Lu} \p{Lt} \p{Lm} \p{Lo} \p{M} */
    LLAVA_CHAR_LOWER = 32, /* \p{Ll} \p{Lm} \p{Lo} \p{M} */
};
unsigned llava_char_class(uint32_t point);

/* Is this code point younger than the library's tables of normal forms (Unicode 9), and would it
 * change a text there if it were not? */
bool llava_is_inert(uint32_t point);

/* Bytes that grow up to a limit. Zero it to start; free(bytes.at) when done. */
typedef struct {
    char *at; /* NULL while nothing was put */
    size_t n, room;
} llava_bytes;

/* Appends n bytes; refuses to grow beyond `limit` bytes in all. */
bool llava_bytes_put(llava_bytes *bytes, const char *text, size_t n, size_t limit, llava_error *e);

/* A text in the making, of many parts. Once one does not fit nothing more is put, and e says why.
 * {.limit = most bytes, .e = e} to start; free(bytes.at) when done. */
typedef struct {
    llava_bytes bytes;
    size_t limit;
    bool failed;
    llava_error *e;
} llava_parts;

void llava_parts_put(llava_parts *parts, const char *text, size_t n);
void llava_parts_add(llava_parts *parts, const char *text); /* all of it, without its NUL */

#endif
