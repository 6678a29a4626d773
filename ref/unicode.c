/* UTF-8, character classes, the growing byte buffer. */
#include "unicode.h"

#include "unicode_since.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

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

size_t llava_utf8_broken(const char *text, size_t n)
{
    uint8_t lead = (uint8_t)text[0];
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2, i = 1;
    if (lead < 0xc2 || lead > 0xf4) {
        return 1;
    }
    while (i < length && i < n) {
        uint8_t low = i > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = i > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if ((uint8_t)text[i] < low || (uint8_t)text[i] > high) {
            break;
        }
        i++;
    }
    return i;
}

bool llava_is_space(uint32_t point)
{
    return (point >= 0x9 && point <= 0xd) || point == 0x20 || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 ||
           point == 0x2029 || point == 0x202f || point == 0x205f || point == 0x3000;
}

/* The row of a sorted table that the code point is in, or `count`. */
static size_t row_of(const llava_unicode_range *table, size_t count, uint32_t point)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (point > table[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && point >= table[low].first ? low : count;
}

static utf8proc_category_t category_of(uint32_t point)
{
    const size_t count = sizeof llava_unicode_since / sizeof llava_unicode_since[0];
    size_t row = row_of(llava_unicode_since, count, point);
    return row < count ? (utf8proc_category_t)llava_unicode_since[row].category
                       : utf8proc_category((utf8proc_int32_t)point);
}

bool llava_is_inert(uint32_t point)
{
    const size_t count = sizeof llava_unicode_inert / sizeof llava_unicode_inert[0];
    return point >= llava_unicode_inert[0].first &&
           row_of(llava_unicode_inert, count, point) < count;
}

static unsigned class_of_category(utf8proc_category_t category)
{
    switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
        return LLAVA_CHAR_LETTER | LLAVA_CHAR_UPPER;
    case UTF8PROC_CATEGORY_LL:
        return LLAVA_CHAR_LETTER | LLAVA_CHAR_LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LLAVA_CHAR_LETTER | LLAVA_CHAR_UPPER | LLAVA_CHAR_LOWER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return LLAVA_CHAR_OTHER | LLAVA_CHAR_UPPER | LLAVA_CHAR_LOWER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return LLAVA_CHAR_NUMBER;
    default:
        return LLAVA_CHAR_OTHER;
    }
}

unsigned llava_char_class(uint32_t point)
{
    return llava_is_space(point) ? LLAVA_CHAR_SPACE : class_of_category(category_of(point));
}

/* Symbols that are letters to \w (Other_Alphabetic beyond letters, marks and numbers), and the two
 * joiners. */
static bool is_word_symbol(uint32_t point)
{
    return (point >= 0x24b6 && point <= 0x24e9) || (point >= 0x1f130 && point <= 0x1f149) ||
           (point >= 0x1f150 && point <= 0x1f169) || (point >= 0x1f170 && point <= 0x1f189) ||
           point == 0x200c || point == 0x200d;
}

bool llava_is_word(uint32_t point)
{
    utf8proc_category_t category = category_of(point);
    unsigned words = LLAVA_CHAR_LETTER | LLAVA_CHAR_UPPER; /* letters; marks are UPPER, too */
    return (class_of_category(category) & words) != 0 || category == UTF8PROC_CATEGORY_ND ||
           category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_PC ||
           is_word_symbol(point);
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

void llava_parts_put(llava_parts *parts, const char *text, size_t n)
{
    parts->failed =
        parts->failed || !llava_bytes_put(&parts->bytes, text, n, parts->limit, parts->e);
}

void llava_parts_add(llava_parts *parts, const char *text)
{
    llava_parts_put(parts, text, strlen(text));
}
