/* EXIF orientation (TIFF 6.0 sections 2 and 8, EXIF 2.3 section 4.6), as far as one tag needs it.
 * Metadata is never a reason to refuse a picture: what cannot be read says nothing. */
#include "exif.h"
#include "file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TAG_ORIENTATION 274

typedef struct {
    llava_cursor c;
    bool big_endian;
} tiff_reader;

static uint16_t read_u16(tiff_reader *r)
{
    unsigned x = llava_cursor_u16(&r->c);
    return (uint16_t)(r->big_endian ? x << 8 | x >> 8 : x);
}

static uint32_t read_u32(tiff_reader *r)
{
    uint32_t first = read_u16(r), second = read_u16(r);
    return r->big_endian ? first << 16 | second : second << 16 | first;
}

/* Header "II" or "MM", 42 in either order (Pillow takes both), offset of the first directory, which
 * may lie outside: then it has no entries. */
static bool open_tiff(tiff_reader *r, const uint8_t *bytes, size_t n)
{
    *r = (tiff_reader){.c = llava_cursor_over(bytes, n)};
    const uint8_t *mark = llava_cursor_take(&r->c, 4);
    if (mark == NULL || (memcmp(mark, "II", 2) != 0 && memcmp(mark, "MM", 2) != 0) ||
        (memcmp(mark + 2, "*\0", 2) != 0 && memcmp(mark + 2, "\0*", 2) != 0)) {
        return false;
    }
    r->big_endian = mark[0] == 'M';
    uint32_t offset = read_u32(r);
    bool whole = !r->c.bad;
    llava_cursor_seek(&r->c, offset);
    return whole;
}

/* Bytes of one value of a type; 0 where there is no such type. */
static size_t size_of_type(uint16_t type)
{
    static const uint8_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static uint64_t read_u64(tiff_reader *r)
{
    uint64_t first = read_u32(r), second = read_u32(r);
    return r->big_endian ? first << 32 | second : second << 32 | first;
}

/* As Pillow looks it up: 6.0 is 6, anything between is no orientation. -1: none. */
static int64_t orientation_of(double x)
{
    return x >= 1 && x <= 8 && x == (double)(int)x ? (int)x : -1;
}

static int64_t read_number(tiff_reader *r, uint16_t type)
{
    uint32_t a, b;
    uint64_t bits;
    float narrow;
    double wide;
    switch (type) {
    case 6: /* a signed byte; a plain one is a text to Pillow */
        return llava_cursor_u8(&r->c);
    case 3: /* short, signed short */
    case 8:
        return read_u16(r);
    case 4: /* long, signed long, a directory's offset */
    case 9:
    case 13:
        return read_u32(r);
    case 5: /* fractions */
        a = read_u32(r), b = read_u32(r);
        return orientation_of(b == 0 ? 0 : (double)a / b);
    case 10:
        a = read_u32(r), b = read_u32(r);
        return orientation_of(b == 0 ? 0 : (double)(int32_t)a / (int32_t)b);
    case 11: /* float, double */
        a = read_u32(r);
        memcpy(&narrow, &a, sizeof narrow);
        return orientation_of((double)narrow);
    case 12:
        bits = read_u64(r);
        memcpy(&wide, &bits, sizeof wide);
        return orientation_of(wide);
    case 16: /* 64 bits */
        bits = read_u64(r);
        return bits <= 8 ? (int64_t)bits : -1;
    default:
        return -1;
    }
}

/* The value of the entry whose type and count come next, when it is a number: the first of them if
 * there are several. -1: another; -2: no value, so that a later entry may count. */
static int64_t read_value(tiff_reader *r)
{
    uint16_t type = read_u16(r);
    uint32_t count = read_u32(r);
    size_t size = size_of_type(type);
    if (count == 0 || size == 0) {
        return -2;
    }
    tiff_reader value = *r;
    if (count > 4 / size) { /* the field holds their offset */
        uint32_t offset = read_u32(&value);
        if (!llava_cursor_seek(&value.c, offset) || count > llava_cursor_left(&value.c) / size) {
            return -2;
        }
    }
    return read_number(&value, type);
}

int llava_exif_orientation(const uint8_t *bytes, size_t n)
{
    for (int i = 0; i < 2 && n >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0; i++) {
        bytes += 6;
        n -= 6;
    }
    tiff_reader r;
    if (n == 0) {
        return 0;
    }
    if (!open_tiff(&r, bytes, n)) {
        return LLAVA_EXIF_UNREADABLE;
    }
    uint16_t entries = read_u16(&r);
    for (uint16_t i = 0; i < entries; i++) { /* 0 where the file ends before */
        tiff_reader entry = r;
        if (llava_cursor_take(&r.c, 12) == NULL) {
            break;
        }
        if (read_u16(&entry) == TAG_ORIENTATION) {
            int64_t value = read_value(&entry);
            if (value != -2) {
                return value >= 1 && value <= 8 ? (int)value : 1;
            }
        }
    }
    return 0;
}

int llava_xmp_orientation(const uint8_t *bytes, size_t n)
{
    static const char name[] = "tiff:Orientation";
    size_t length = sizeof name - 1;
    for (size_t i = 0; i + length < n; i++) {
        if (memcmp(bytes + i, name, length) != 0) {
            continue;
        }
        const uint8_t *after = bytes + i + length;
        size_t left = n - i - length;
        size_t skip = after[0] == '>' ? 1 : left >= 2 && memcmp(after, "=\"", 2) == 0 ? 2 : 0;
        if (skip > 0 && left > skip && after[skip] >= '0' && after[skip] <= '9') {
            int value = after[skip] - '0';
            return value >= 1 && value <= 8 ? value : 1;
        }
    }
    return 0;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20; /* lower case */
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int llava_raw_profile_orientation(const uint8_t *text, size_t n)
{
    size_t at = 0;
    for (int line = 0; line < 3; line++) {
        const uint8_t *end = n > at ? memchr(text + at, '\n', n - at) : NULL;
        if (end == NULL) {
            return 0;
        }
        at = (size_t)(end - text) + 1;
    }
    uint8_t *block = malloc((n - at) / 2 + 1);
    size_t digits = 0;
    if (block == NULL) {
        return LLAVA_EXIF_NO_MEMORY;
    }
    for (; at < n; at++) {
        int digit = hex_digit(text[at]);
        if (digit >= 0) {
            block[digits / 2] = (uint8_t)(digits % 2 == 0 ? digit << 4 : block[digits / 2] | digit);
            digits++;
        }
    }
    int orientation = llava_exif_orientation(block, digits / 2);
    free(block);
    return orientation;
}
