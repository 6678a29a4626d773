/* UTF-8, character classes, the growing byte buffer. */
#include "unicode.h"

#include "word_table.h"

#include <stdlib.h>
#include <string.h>

size_t llava_utf8_next(const char *text, size_t n, uint32_t *point)
{
    /* The smallest code point that needs a form of this length: below it the form is too long. */
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    *point = 0;
    if (n == 0) {
        return 0;
    }
    uint8_t lead = (uint8_t)text[0];
    if (lead < 0x80) {
        *point = lead;
        return 1;
    }
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc0 || lead > 0xf4 || length > n) {
        return 0;
    }
    uint32_t value = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        uint8_t byte = (uint8_t)text[i];
        if ((byte & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (byte & 0x3fu);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
        return 0;
    }
    *point = value;
    return length;
}

bool llava_utf8_valid(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t point;
        size_t length = llava_utf8_next(text + i, n - i, &point);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

bool llava_is_space(uint32_t point)
{
    return (point >= 0x9 && point <= 0xd) || point == 0x20 || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 ||
           point == 0x2029 || point == 0x202f || point == 0x205f || point == 0x3000;
}

bool llava_is_word(uint32_t point)
{
    size_t low = 0, high = sizeof llava_word_table / sizeof llava_word_table[0];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (point > llava_word_table[middle][1]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < sizeof llava_word_table / sizeof llava_word_table[0] &&
           point >= llava_word_table[low][0];
}

bool llava_bytes_put(llava_bytes *bytes, const char *text, size_t n, size_t limit, llava_error *e)
{
    if (n > limit || bytes->n > limit - n) {
        return llava_fail(e, "the text grows beyond the limit of %zu bytes", limit);
    }
    size_t need = bytes->n + n;
    if (need > bytes->room || bytes->at == NULL) {
        size_t room = need + need / 2 + 64; /* need <= limit, far from overflow */
        char *grown = llava_realloc(e, bytes->at, room, 1);
        if (grown == NULL) {
            return false;
        }
        bytes->at = grown;
        bytes->room = room;
    }
    if (n > 0) {
        memcpy(bytes->at + bytes->n, text, n);
    }
    bytes->n = need;
    return true;
}
