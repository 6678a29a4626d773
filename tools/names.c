#include "tools/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *llava_shown(char out[LLAVA_SHOWN], const char *name, size_t n)
{
    const size_t room = LLAVA_SHOWN - 4; /* for "..." and the NUL */
    size_t used = 0, i = 0;
    for (; i < n; i++) {
        const unsigned char c = (unsigned char)name[i];
        const bool plain = c >= 0x20 && c != 0x7f && c < 0x80;
        if (used + (plain ? 1 : 4) > room) {
            break;
        }
        used += (size_t)snprintf(out + used, LLAVA_SHOWN - used, plain ? "%c" : "\\x%02x", c);
    }
    memcpy(out + used, "...", 4);
    if (i == n) {
        out[used] = '\0';
    }
    return out;
}

/* Bytes of the UTF-8 sequence at p, 0 where there is none: shortest form only, no surrogates,
 * nothing above U+10FFFF. */
static size_t sequence(const unsigned char *p, size_t n)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t length = p[0] < 0x80             ? 1
                          : (p[0] & 0xe0) == 0xc0 ? 2
                          : (p[0] & 0xf0) == 0xe0 ? 3
                          : (p[0] & 0xf8) == 0xf0 ? 4
                                                  : 0;
    if (length <= 1 || length > n) {
        return length > n ? 0 : length;
    }
    uint32_t code = p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3fu);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < smallest[length] || code > 0x10ffff || surrogate ? 0 : length;
}

bool llava_name_check(const char *name, size_t n, llava_error *e)
{
    char shown[LLAVA_SHOWN];
    llava_shown(shown, name, n);
    for (size_t i = 0, length; i < n; i += length) {
        length = sequence((const unsigned char *)name + i, n - i);
        if (length == 0) {
            return llava_fail(e, "%s: the name is not UTF-8", shown);
        }
        if (name[i] == '\0') {
            return llava_fail(e, "%s: the name holds a NUL", shown);
        }
        if (name[i] == '/' || name[i] == '\\') {
            return llava_fail(e, "%s: the name holds a path", shown);
        }
    }
    if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && memcmp(name, "..", 2) == 0)) {
        return llava_fail(e, "'%s': not a name", shown);
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const llava_named *)a)->name, ((const llava_named *)b)->name);
}

const char *llava_names_sort(llava_named *names, size_t n)
{
    qsort(names, n, sizeof *names, compare);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(names[i - 1].name, names[i].name) == 0) {
            return names[i].name;
        }
    }
    return NULL;
}

const llava_named *llava_names_find(const llava_named *names, size_t n, const char *name)
{
    const llava_named key = {.name = name};
    return n == 0 ? NULL : bsearch(&key, names, n, sizeof *names, compare);
}
