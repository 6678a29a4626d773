/* The split patterns of byte-level tokenizers. */
#include "split_pattern.h"

#include "unicode.h"

#include <string.h>

typedef enum {
    CONTRACTIONS_NONE,
    CONTRACTIONS_SMALL,    /* 's 't 're 've 'm 'll 'd */
    CONTRACTIONS_ANY_CASE, /* the same under Unicode's simple case folding */
} contractions;

struct llava_split_pattern {
    const char *regex;
    contractions contractions;
    /* A word is capitals, then small letters; marks and letters without case are both. */
    bool cased;
    /* Only a blank is taken along in front of letters, one is in front of numbers too, and line
     * ends are white space like any other. */
    bool gpt2;
    size_t digits;    /* numbers in one piece; 0: any */
    const char *tail; /* characters that may follow what is neither letter, number nor space */
};

#define SPACES    "|\\s+(?!\\S)|\\s+"
#define CASELESS  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define OTHERS    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+" SPACES
#define GPT2_REST "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+" SPACES
#define UPPER     "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER     "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"

static const llava_split_pattern patterns[] = {
    /* GPT-2: first, because ByteLevel's use_regex means this one; both spellings of it */
    {"'(?:[sdmt]|ll|ve|re)" GPT2_REST, CONTRACTIONS_SMALL, .gpt2 = true, .tail = ""},
    {"'s|'t|'re|'ve|'m|'ll|'d" GPT2_REST, CONTRACTIONS_SMALL, .gpt2 = true, .tail = ""},
    /* Qwen2 */
    {CASELESS "\\p{N}" OTHERS, CONTRACTIONS_ANY_CASE, .digits = 1, .tail = "\r\n"},
    /* Llama-3, and Mistral's tekken as it was converted at first (pixtral-12b) */
    {CASELESS "\\p{N}{1,3}" OTHERS, CONTRACTIONS_ANY_CASE, .digits = 3, .tail = "\r\n"},
    /* Mistral's tekken */
    {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
     "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+" SPACES,
     CONTRACTIONS_NONE, .cased = true, .digits = 1, .tail = "\r\n/"},
};

const llava_split_pattern *llava_split_pattern_of(const char *regex)
{
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        if (strcmp(patterns[i].regex, regex) == 0) {
            return &patterns[i];
        }
    }
    return NULL;
}

const llava_split_pattern *llava_split_pattern_byte_level(void)
{
    return &patterns[0];
}

/* ---- Characters ---- */

typedef struct {
    const llava_split_pattern *pattern;
    const char *text;
    size_t n;
} reader;

/* The classes of the character at `at`, and its length; none and 0 at the end. */
static unsigned class_at(const reader *r, size_t at, size_t *length)
{
    uint32_t point;
    *length = llava_utf8_next(r->text + at, r->n - at, &point);
    return *length == 0 ? 0 : llava_char_class(point);
}

/* Where the run of characters of these classes that begins at `at` ends. */
static size_t run_end(const reader *r, size_t at, unsigned classes)
{
    size_t length;
    while ((class_at(r, at, &length) & classes) != 0) {
        at += length;
    }
    return at;
}

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

/* ---- The alternatives: each gives the length of its match, or 0 ---- */

/* The letter at `at` as a small one of ASCII, or 0. U+017F is the only other character that folds
 * into a letter of the contractions. */
static char small_letter(const reader *r, size_t at, size_t *length)
{
    char c = r->text[at];
    *length = 1;
    if (r->pattern->contractions == CONTRACTIONS_ANY_CASE) {
        if (r->n - at >= 2 && memcmp(r->text + at, "\xc5\xbf", 2) == 0) {
            *length = 2;
            return 's';
        }
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return c;
}

static size_t contraction(const reader *r)
{
    size_t first, second;
    if (r->pattern->contractions == CONTRACTIONS_NONE || r->text[0] != '\'' || r->n < 2) {
        return 0;
    }
    char a = small_letter(r, 1, &first);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 1 + first;
    }
    if (r->n < 3) {
        return 0;
    }
    char b = small_letter(r, 2, &second);
    bool two = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
    return two ? 1 + first + second : 0;
}

/* A word that begins at `at`: its end, or `at` where there is none. */
typedef size_t word_rule(const reader *r, size_t at);

/* \p{L}+ */
static size_t plain_word(const reader *r, size_t at)
{
    return run_end(r, at, LLAVA_CHAR_LETTER);
}

/* UPPER* LOWER+: as many UPPER as leave one LOWER behind them. */
static size_t capital_then_small(const reader *r, size_t at)
{
    size_t length, found = at;
    unsigned class;
    while ((class = class_at(r, at, &length)) & LLAVA_CHAR_UPPER) {
        at += length;
        found = class & LLAVA_CHAR_LOWER ? at : found;
    }
    size_t end = run_end(r, at, LLAVA_CHAR_LOWER);
    return end > at ? end : found;
}

/* UPPER+ LOWER* */
static size_t capitals(const reader *r, size_t at)
{
    size_t end = run_end(r, at, LLAVA_CHAR_UPPER);
    return end > at ? run_end(r, end, LLAVA_CHAR_LOWER) : at;
}

/* A word, with the character before it where it may be taken along. */
static size_t letters(const reader *r, word_rule *word)
{
    size_t length;
    unsigned class = class_at(r, 0, &length);
    bool along = r->pattern->gpt2 ? r->text[0] == ' '
                                  : (class & (LLAVA_CHAR_LETTER | LLAVA_CHAR_NUMBER)) == 0 &&
                                        !is_line_end(r->text[0]);
    size_t end = along ? word(r, length) : 0;
    return along && end > length ? end : word(r, 0);
}

static size_t numbers(const reader *r)
{
    if (r->pattern->gpt2) {
        size_t start = r->text[0] == ' ' ? 1 : 0;
        size_t end = run_end(r, start, LLAVA_CHAR_NUMBER);
        return end > start ? end : 0;
    }
    size_t at = 0, length;
    for (size_t i = 0; i < r->pattern->digits; i++) {
        if ((class_at(r, at, &length) & LLAVA_CHAR_NUMBER) == 0) {
            break;
        }
        at += length;
    }
    return at;
}

static size_t others(const reader *r)
{
    size_t start = r->text[0] == ' ' ? 1 : 0;
    size_t end = run_end(r, start, LLAVA_CHAR_OTHER);
    if (end == start) {
        return 0;
    }
    while (end < r->n && r->text[end] != '\0' && strchr(r->pattern->tail, r->text[end]) != NULL) {
        end++;
    }
    return end;
}

/* White space: up to its last line end, if it has one and the pattern cares; else all of it at the
 * text's end; else all but its last character, which stays with what follows, unless it is the only
 * one. */
static size_t spaces(const reader *r)
{
    size_t at = 0, last = 0, line = 0, length;
    while (class_at(r, at, &length) & LLAVA_CHAR_SPACE) {
        last = at;
        at += length;
        line = is_line_end(r->text[last]) ? at : line;
    }
    if (line > 0 && !r->pattern->gpt2) {
        return line;
    }
    return at == r->n || last == 0 ? at : last;
}

size_t llava_split_pattern_piece(const llava_split_pattern *pattern, const char *text, size_t n)
{
    const reader r = {pattern, text, n};
    size_t length = contraction(&r);
    if (length == 0) {
        length = letters(&r, pattern->cased ? capital_then_small : plain_word);
    }
    if (length == 0 && pattern->cased) {
        length = letters(&r, capitals);
    }
    if (length == 0) {
        length = numbers(&r);
    }
    if (length == 0) {
        length = others(&r);
    }
    return length > 0 ? length : spaces(&r);
}
