/* Bytes as characters. */
#include "byte_level.h"

static bool stands_for_itself(size_t byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

void llava_byte_level_init(llava_byte_level *map)
{
    uint16_t next = 256;
    for (size_t i = 0; i < LLAVA_BYTE_CHARACTERS; i++) {
        map->byte[i] = -1;
    }
    for (size_t byte = 0; byte < 256; byte++) {
        map->character[byte] = stands_for_itself(byte) ? (uint16_t)byte : next++;
        map->byte[map->character[byte]] = (int16_t)byte;
    }
}

bool llava_byte_level_encode(const llava_byte_level *map, const char *text, size_t n, size_t limit,
                             llava_bytes *out, llava_error *e)
{
    for (size_t i = 0; i < n; i++) {
        unsigned point = map->character[(uint8_t)text[i]]; /* below 0x800: two bytes at most */
        const char one = (char)point;
        const char two[] = {(char)(0xc0 | point >> 6), (char)(0x80 | (point & 0x3f))};
        bool ascii = point < 0x80;
        if (!llava_bytes_put(out, ascii ? &one : two, ascii ? 1 : 2, limit, e)) {
            return false;
        }
    }
    return true;
}

bool llava_byte_level_decode(const llava_byte_level *map, const char *text, size_t n, size_t limit,
                             llava_bytes *out, llava_error *e)
{
    size_t before = out->n;
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t point;
        length = llava_utf8_next(text + i, n - i, &point);
        int byte = length == 0 || point >= LLAVA_BYTE_CHARACTERS ? -1 : map->byte[point];
        if (byte < 0) {
            out->n = before;
            return llava_bytes_put(out, text, n, limit, e);
        }
        const char one = (char)byte;
        if (!llava_bytes_put(out, &one, 1, limit, e)) {
            return false;
        }
    }
    return true;
}
