#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 64 };

/* Levenshtein distance of two words of at most LONGEST characters. */
static size_t distance(const char *a, const char *b)
{
    size_t row[LONGEST + 1], n = strlen(b);
    if (strlen(a) > LONGEST || n > LONGEST) {
        return LONGEST;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t change = corner + (a[i] != b[j]);
            corner = row[j + 1];
            size_t best = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            row[j + 1] = change < best ? change : best;
        }
    }
    return row[n];
}

const char *llava_did_you_mean(const char *word, const char *const *words)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2;
    for (size_t i = 0; words[i] != NULL; i++) {
        size_t d = distance(word, words[i]);
        if (d < least) {
            least = d;
            best = words[i];
        }
    }
    return best;
}

static llava_option *find(llava_option *options, size_t count, const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static bool unknown(const llava_option *options, size_t count, const char *word, llava_error *e)
{
    const char *names[64];
    size_t n = 0;
    for (; n < count && n < 63; n++) {
        names[n] = options[n].name;
    }
    names[n] = NULL;
    const char *near = llava_did_you_mean(word, names);
    if (near != NULL) {
        return llava_fail(e, "%s: unknown option (did you mean %s?)", word, near);
    }
    return llava_fail(e, "%s: unknown option", word);
}

static bool take_count(const llava_option *o, const char *word, llava_error *e)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(word, &end, 10);
    if (word[0] < '0' || word[0] > '9' || *end != '\0' || errno != 0 || value == 0 ||
        value > 1000000000) {
        return llava_fail(e, "%s %s: not a whole number from 1 to 1000000000", o->name, word);
    }
    *(size_t *)o->target = (size_t)value;
    return true;
}

static bool take_choice(const llava_option *o, const char *word, llava_error *e)
{
    char all[256] = "";
    for (size_t i = 0; o->choices[i] != NULL; i++) {
        if (strcmp(o->choices[i], word) == 0) {
            *(size_t *)o->target = i;
            return true;
        }
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i == 0 ? "" : ", ",
                 o->choices[i]);
    }
    return llava_fail(e, "%s %s: not one of %s", o->name, word, all);
}

static bool take(llava_option *o, const char *word, llava_error *e)
{
    if (o->given && o->kind != LLAVA_OPTION_EACH) {
        return llava_fail(e, "%s: given twice", o->name);
    }
    o->given = true;
    switch (o->kind) {
    case LLAVA_OPTION_FLAG:
        *(bool *)o->target = true;
        return true;
    case LLAVA_OPTION_TEXT:
        *(const char **)o->target = word;
        return true;
    case LLAVA_OPTION_COUNT:
        return take_count(o, word, e);
    case LLAVA_OPTION_CHOICE:
        return take_choice(o, word, e);
    case LLAVA_OPTION_EACH:
        return o->each(o->target, word, e);
    }
    return false;
}

bool llava_options_read(int argc, char **argv, llava_option *options, size_t count,
                        llava_operands *operands, llava_error *e)
{
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (only_operands || word[0] != '-' || word[1] == '\0') {
            if (operands->count == operands->most) {
                return llava_fail(e, "%s: one word too many", word);
            }
            operands->words[operands->count++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_operands = true;
            continue;
        }
        const char *equals = strchr(word, '=');
        size_t length = equals == NULL ? strlen(word) : (size_t)(equals - word);
        llava_option *o = find(options, count, word, length);
        if (o == NULL) {
            return unknown(options, count, word, e);
        }
        const char *value = equals == NULL ? "" : equals + 1;
        if (o->kind == LLAVA_OPTION_FLAG && equals != NULL) {
            return llava_fail(e, "%s: takes no value", o->name);
        }
        if (o->kind != LLAVA_OPTION_FLAG && equals == NULL) {
            if (i + 1 == argc) {
                return llava_fail(e, "%s: a value is missing", o->name);
            }
            value = argv[++i];
        }
        if (!take(o, value, e)) {
            return false;
        }
    }
    return true;
}
