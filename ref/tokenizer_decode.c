/* Token ids to text. */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

static bool put(llava_bytes *out, const char *text, size_t n, llava_error *e)
{
    return llava_bytes_put(out, text, n, LLAVA_TEXT_LIMIT, e);
}

/* A list of token texts: token i is the bytes from end[i-1] (0 at first) to end[i]. */
typedef struct {
    llava_bytes bytes;
    size_t *end;
    size_t n, room;
} texts;

/* Ends a token after the bytes put so far. */
static bool end_token(texts *list, llava_error *e)
{
    if (list->n == list->room) {
        size_t room = list->room + list->room / 2 + 32;
        size_t *grown = llava_realloc(e, list->end, room, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        list->end = grown;
        list->room = room;
    }
    list->end[list->n++] = list->bytes.n;
    return true;
}

static bool put_token(texts *list, const char *text, size_t n, llava_error *e)
{
    return put(&list->bytes, text, n, e) && end_token(list, e);
}

/* The byte that a token like <0x0A> stands for, or -1. Digits as Rust's parser takes them: either
 * case, and a plus sign for the first. */
static int byte_of(const char *text, size_t n)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') {
        return -1;
    }
    int value = 0;
    for (size_t i = 3; i < 5; i++) {
        const char *digit = memchr(digits, text[i], sizeof digits - 1);
        if (i == 3 && text[i] == '+') {
            continue;
        }
        if (digit == NULL) {
            return -1;
        }
        int d = (int)(digit - digits);
        value = value * 16 + (d < 16 ? d : d - 6);
    }
    return value;
}

/* A run of byte tokens: its text if it is UTF-8 as a whole, else one U+FFFD per byte. */
static bool flush_run(llava_bytes *run, texts *to, llava_error *e)
{
    bool good = true;
    if (run->n > 0 && llava_utf8_valid(run->at, run->n)) {
        good = put_token(to, run->at, run->n, e);
    } else {
        for (size_t i = 0; i < run->n && good; i++) {
            good = put_token(to, "\xef\xbf\xbd", 3, e);
        }
    }
    run->n = 0;
    return good;
}

static bool byte_fallback(const texts *from, texts *to, llava_error *e)
{
    llava_bytes run = {0};
    bool good = true;
    for (size_t i = 0, start = 0; i < from->n && good; start = from->end[i++]) {
        const char *text = from->bytes.at + start;
        int byte = byte_of(text, from->end[i] - start);
        if (byte >= 0) {
            char one = (char)byte;
            good = put(&run, &one, 1, e);
        } else {
            good = flush_run(&run, to, e) && put_token(to, text, from->end[i] - start, e);
        }
    }
    good = good && flush_run(&run, to, e);
    free(run.at);
    return good;
}

/* Appends the bytes as one token, every broken character as U+FFFD. */
static bool put_lossy(const char *text, size_t n, texts *to, llava_error *e)
{
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t point;
        length = llava_utf8_next(text + i, n - i, &point);
        bool whole = length > 0;
        length = whole ? length : llava_utf8_broken(text + i, n - i);
        if (!put(&to->bytes, whole ? text + i : "\xef\xbf\xbd", whole ? length : 3, e)) {
            return false;
        }
    }
    return end_token(to, e);
}

static bool byte_level(const llava_byte_level *map, const texts *from, texts *to, llava_error *e)
{
    llava_bytes raw = {0};
    bool good = put(&raw, "", 0, e);
    for (size_t i = 0, start = 0; i < from->n && good; start = from->end[i++]) {
        good = llava_byte_level_decode(map, from->bytes.at + start, from->end[i] - start,
                                       LLAVA_TEXT_LIMIT, &raw, e);
    }
    good = good && put_lossy(raw.at, raw.n, to, e);
    free(raw.at);
    return good;
}

/* Cuts at most strip_start of the character off the front and strip_end off the end. */
static void strip(const llava_step *step, const char **text, size_t *n)
{
    size_t width = step->content_n;
    for (size_t i = 0; i < step->strip_start && *n >= width; i++) {
        if (memcmp(*text, step->content, width) != 0) {
            break;
        }
        *text += width;
        *n -= width;
    }
    for (size_t i = 0; i < step->strip_end && *n >= width; i++) {
        if (memcmp(*text + *n - width, step->content, width) != 0) {
            break;
        }
        *n -= width;
    }
}

/* One token of one of the steps that keep tokens apart. */
static bool decode_token(const llava_step *step, const char *text, size_t n, bool first, texts *to,
                         llava_error *e)
{
    if (step->kind == LLAVA_STEP_STRIP) {
        strip(step, &text, &n);
        return put_token(to, text, n, e);
    }
    if (step->kind == LLAVA_STEP_REPLACE) {
        return llava_replace(text, n, step->pattern, step->pattern_n, step->content,
                             step->content_n, &to->bytes, e) &&
               end_token(to, e);
    }
    bool drop = first && step->prepend != LLAVA_PREPEND_NEVER; /* Metaspace */
    return llava_replace(text, n, step->content, step->content_n, " ", drop ? 0 : 1, &to->bytes,
                         e) &&
           end_token(to, e);
}

static bool decode_step(const llava_tokenizer *t, const llava_step *step, const texts *from,
                        texts *to, llava_error *e)
{
    if (step->kind == LLAVA_STEP_BYTE_FALLBACK) {
        return byte_fallback(from, to, e);
    }
    if (step->kind == LLAVA_STEP_BYTE_LEVEL) {
        return byte_level(&t->bytes, from, to, e);
    }
    if (step->kind == LLAVA_STEP_FUSE) {
        return put_token(to, from->bytes.at, from->bytes.n, e);
    }
    for (size_t i = 0, start = 0; i < from->n; start = from->end[i++]) {
        if (!decode_token(step, from->bytes.at + start, from->end[i] - start, i == 0, to, e)) {
            return false;
        }
    }
    return true;
}

/* The texts of the ids; without a decoder a blank stands between them. */
static bool gather(const llava_tokenizer *t, const int64_t *ids, size_t count, bool skip_special,
                   texts *list, llava_error *e)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0) {
            return llava_fail(e, "the id %lld is negative (id %zu)", (long long)ids[i], i);
        }
        const llava_added *added = llava_added_of(t, ids[i]);
        const llava_bpe_token *token = added == NULL ? llava_bpe_token_of(&t->bpe, ids[i]) : NULL;
        if ((added == NULL && token == NULL) || (skip_special && added != NULL && added->skipped)) {
            continue;
        }
        if (!t->has_decoder && list->n > 0 && !put(&list->bytes, " ", 1, e)) {
            return false;
        }
        if (!put_token(list, added != NULL ? added->pattern : token->text,
                       added != NULL ? added->pattern_n : token->n, e)) {
            return false;
        }
    }
    return true;
}

bool llava_tokenizer_decode(const llava_tokenizer *t, const int64_t *ids, size_t count,
                            bool skip_special, char **text, size_t *n, llava_error *e)
{
    texts now = {0}, next = {0};
    /* put() of nothing gives every list its memory, so that no pointer below is NULL */
    bool good = put(&now.bytes, "", 0, e) && put(&next.bytes, "", 0, e) &&
                gather(t, ids, count, skip_special, &now, e);
    for (size_t i = 0; i < t->decoder.n && good; i++) {
        next.bytes.n = next.n = 0;
        good = decode_step(t, &t->decoder.at[i], &now, &next, e);
        texts swap = now;
        now = next;
        next = swap;
    }
    *text = NULL;
    *n = 0;
    if (good) {
        *n = now.bytes.n;
        *text = llava_text(e, now.bytes.at, now.bytes.n);
        good = *text != NULL;
    }
    free(now.bytes.at);
    free(now.end);
    free(next.bytes.at);
    free(next.end);
    return good || llava_fail_in(e, t->path);
}
