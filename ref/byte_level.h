/* Bytes as characters, as byte-level tokenizers write their vocabulary (GPT-2's bytes_to_unicode):
 * printable bytes of Latin-1 stand for themselves, the 68 others, in order, are U+0100 and on. */
#ifndef LLAVA_BYTE_LEVEL_H
#define LLAVA_BYTE_LEVEL_H

#include "unicode.h"

#define LLAVA_BYTE_CHARACTERS (256 + 68)

typedef struct {
    uint16_t character[256];
    int16_t byte[LLAVA_BYTE_CHARACTERS]; /* -1 where the character stands for none */
} llava_byte_level;

void llava_byte_level_init(llava_byte_level *map);

/* Appends n bytes as characters. */
bool llava_byte_level_encode(const llava_byte_level *map, const char *text, size_t n, size_t limit,
                             llava_bytes *out, llava_error *e);
/* Appends the bytes that n bytes of UTF-8 stand for, or them themselves if one character stands for
 * none. */
bool llava_byte_level_decode(const llava_byte_level *map, const char *text, size_t n, size_t limit,
                             llava_bytes *out, llava_error *e);

#endif
