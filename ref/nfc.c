/* Normalization Form C. */
#include "nfc.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* The longest canonical decomposition of one code point. */
#define MAX_DECOMPOSED 4

/* Code points that wait for what comes behind them. */
typedef struct {
    int32_t *at, *sorted; /* both [room] */
    size_t n, room;
} pending;

static bool reserve(pending *p, llava_error *e)
{
    if (p->room - p->n >= MAX_DECOMPOSED) {
        return true;
    }
    size_t room = p->room + p->room / 2 + 64;
    int32_t *at = llava_realloc(e, p->at, room, sizeof *at);
    if (at == NULL) {
        return false;
    }
    p->at = at;
    int32_t *sorted = llava_realloc(e, p->sorted, room, sizeof *sorted);
    if (sorted == NULL) {
        return false;
    }
    p->sorted = sorted;
    p->room = room;
    return true;
}

static size_t class_of(int32_t point)
{
    return (size_t)utf8proc_get_property(point)->combining_class & 0xff;
}

/* Puts n marks in the order of their combining classes, equal ones as they stood: a counting sort,
 * because utf8proc's own reordering takes the square of n. */
static void sort_marks(int32_t *marks, size_t n, int32_t *sorted)
{
    size_t start[256] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++) {
        start[class_of(marks[i])]++;
    }
    for (size_t i = 0; i < 256; i++) {
        size_t count = start[i];
        start[i] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) {
        sorted[start[class_of(marks[i])]++] = marks[i];
    }
    memcpy(marks, sorted, n * sizeof *marks);
}

/* Orders every run of marks. */
static void order(pending *p)
{
    for (size_t i = 0; i < p->n;) {
        size_t end = i;
        while (end < p->n && class_of(p->at[end]) != 0) {
            end++;
        }
        if (end > i + 1) {
            sort_marks(p->at + i, end - i, p->sorted);
        }
        i = end > i ? end : i + 1;
    }
}

/* Composes what waits, and writes it. */
static bool flush(pending *p, size_t limit, llava_bytes *out, llava_error *e)
{
    if (p->n == 0) {
        return true;
    }
    order(p);
    utf8proc_ssize_t n = utf8proc_normalize_utf32(
        p->at, (utf8proc_ssize_t)p->n, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        utf8proc_uint8_t bytes[4];
        utf8proc_ssize_t length = utf8proc_encode_char(p->at[i], bytes);
        if (!llava_bytes_put(out, (const char *)bytes, (size_t)length, limit, e)) {
            return false;
        }
    }
    p->n = 0;
    return n >= 0 || /* LCOV_EXCL_BR_LINE: these are code points that utf8proc made itself */
           llava_fail(e, "utf8proc: %s", utf8proc_errmsg(n)); /* LCOV_EXCL_LINE: as above */
}

/* Decomposes one code point into what waits. */
static bool add(pending *p, uint32_t point, llava_error *e)
{
    if (!reserve(p, e)) {
        return false;
    }
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(
        (utf8proc_int32_t)point, p->at + p->n, (utf8proc_ssize_t)(p->room - p->n),
        (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary);
    /* LCOV_EXCL_START: every code point decomposes into no more than that; a library that errs */
    if (n < 0 || n > MAX_DECOMPOSED) {
        return llava_fail(e, "utf8proc cannot decompose U+%04X", (unsigned)point);
    }
    /* LCOV_EXCL_STOP */
    p->n += (size_t)n;
    return true;
}

bool llava_nfc(const char *text, size_t n, size_t limit, llava_bytes *out, llava_error *e)
{
    pending p = {0};
    bool good = llava_bytes_put(out, "", 0, limit, e); /* never NULL, even for no text */
    for (size_t i = 0, length; i < n && good; i += length) {
        uint32_t point;
        length = llava_utf8_next(text + i, n - i, &point);
        if (length == 0) {
            good = llava_fail(e, "the text is not UTF-8");
            break;
        }
        if (llava_is_inert(point)) {
            good = flush(&p, limit, out, e) && llava_bytes_put(out, text + i, length, limit, e);
            continue;
        }
        /* nothing before an ASCII character composes with it */
        good = (point >= 0x80 || flush(&p, limit, out, e)) && add(&p, point, e);
    }
    good = good && flush(&p, limit, out, e);
    free(p.at);
    free(p.sorted);
    return good;
}
