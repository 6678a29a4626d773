/* Patterns of name maps against names. */
#include "tools/map.h"

#include <stdio.h>
#include <string.h>

/* At most nine digits are a number, so that it fits anywhere. */
static size_t number_length(const char *text, size_t n)
{
    size_t digits = 0;
    while (digits < n && text[digits] >= '0' && text[digits] <= '9') {
        digits++;
    }
    return digits <= 9 ? digits : 0;
}

static size_t number_value(const char *text, size_t digits)
{
    size_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (size_t)(text[i] - '0');
    }
    return value;
}

/* Takes one piece of the pattern (a character or a capture) off both. False: it does not match. */
static bool match_piece(const char **pattern, const char **name, const char *end,
                        llava_map_captures *found)
{
    if (**pattern != '{') {
        return *name < end && *(*pattern)++ == *(*name)++;
    }
    const size_t digits = number_length(*name, (size_t)(end - *name));
    if (digits == 0 || found->count == LLAVA_MAP_CAPTURES) {
        return false;
    }
    found->name[found->count] = *pattern + 1;
    found->value[found->count++] = number_value(*name, digits);
    *pattern = strchr(*pattern, '}') + 1;
    *name += digits;
    return true;
}

bool llava_map_matches(const char *pattern, const char *name, size_t n, llava_map_captures *found)
{
    const char *const end = name + n;
    const char *star = NULL, *star_name = NULL; /* where the last * may be given one more */
    int star_captures = 0;
    found->count = 0;
    /* A * takes as little as it can. What follows it ends no later when it begins earlier, so only
     * the last * ever has to be tried again. */
    while (*pattern != '\0' || name < end) {
        if (*pattern == '*') {
            star = ++pattern;
            star_name = name;
            star_captures = found->count;
        } else if (*pattern == '\0' || !match_piece(&pattern, &name, end, found)) {
            if (star == NULL || star_name == end) {
                return false;
            }
            pattern = star;
            name = ++star_name;
            found->count = star_captures;
        }
    }
    return true;
}

bool llava_map_captured(const llava_map_captures *found, const char *name, size_t n, size_t *value)
{
    for (int i = 0; i < found->count; i++) {
        if (strcspn(found->name[i], "}") == n && memcmp(found->name[i], name, n) == 0) {
            *value = found->value[i];
            return true;
        }
    }
    return false;
}

bool llava_map_tap(const char *tap, const llava_map_captures *found, char out[LLAVA_TAP_NAME])
{
    size_t used = 0;
    while (*tap != '\0') {
        const size_t plain = strcspn(tap, "{");
        size_t value;
        if (plain >= LLAVA_TAP_NAME - used) {
            return false;
        }
        memcpy(out + used, tap, plain);
        used += plain;
        tap += plain;
        if (*tap == '\0') {
            break;
        }
        const size_t n = strcspn(++tap, "}");
        if (tap[n] == '\0' || !llava_map_captured(found, tap, n, &value)) {
            return false;
        }
        const int wrote = snprintf(out + used, LLAVA_TAP_NAME - used, "%zu", value);
        if ((size_t)wrote >= LLAVA_TAP_NAME - used) {
            return false;
        }
        used += (size_t)wrote;
        tap += n + 1;
    }
    out[used] = '\0';
    return true;
}
