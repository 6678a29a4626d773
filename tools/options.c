#include "options.h"

#include "tools/nearest.h"
#include "tools/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "a, b, c" or "a|b|c". */
static void join(const char *const *words, const char *between, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; words[i] != NULL && used < size; i++) {
        int n = snprintf(text + used, size - used, "%s%s", i == 0 ? "" : between, words[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

void llava_option_value(const llava_option *o, char *text, size_t size)
{
    if (o->value == NULL && o->choices != NULL) {
        join(o->choices, "|", text, size);
    } else {
        snprintf(text, size, "%s", o->value == NULL ? "" : o->value);
    }
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

/* length: of the option's name in the word. */
static bool unknown(const llava_option *options, size_t count, const char *word, size_t length,
                    llava_error *e)
{
    char hint[LLAVA_HINT];
    char *name = llava_text(e, word, length);
    if (name == NULL) {
        return false;
    }
    llava_nearest nearest = {.word = name};
    for (size_t i = 0; i < count; i++) {
        llava_nearest_offer(&nearest, options[i].name);
    }
    llava_fail(e, "%s: unknown option%s", name, llava_did_you_mean(nearest.best, hint));
    free(name);
    return false;
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

/* The index of the word among the choices. */
static bool choose(const llava_option *o, const char *word, size_t *index, llava_error *e)
{
    for (*index = 0; o->choices[*index] != NULL; (*index)++) {
        if (strcmp(o->choices[*index], word) == 0) {
            return true;
        }
    }
    char all[256], hint[LLAVA_HINT];
    join(o->choices, ", ", all, sizeof all);
    return llava_fail(e, "%s %s: not one of %s%s", o->name, word, all,
                      llava_did_you_mean(llava_nearest_of(word, o->choices), hint));
}

static bool take_text(const llava_option *o, const char *word, llava_error *e)
{
    size_t ignored;
    if (word[0] == '\0' && o->word != LLAVA_WORD_ANY) {
        return llava_fail(e, "%s: an empty name", o->name);
    }
    *(const char **)o->target = word;
    return o->choices == NULL || choose(o, word, &ignored, e);
}

static bool take(llava_option *o, const char *word, llava_error *e)
{
    if (o->given && o->kind != LLAVA_OPTION_EACH) {
        return llava_fail(e, "%s: given twice", o->name);
    }
    o->given = true;
    if (o->said != NULL) {
        *o->said = true;
    }
    switch (o->kind) {
    case LLAVA_OPTION_FLAG:
        *(bool *)o->target = true;
        return true;
    case LLAVA_OPTION_TEXT:
        return take_text(o, word, e);
    case LLAVA_OPTION_COUNT:
        return take_count(o, word, e);
    case LLAVA_OPTION_CHOICE:
        return choose(o, word, o->target, e);
    case LLAVA_OPTION_EACH:
        return o->each(o->target, word, e);
    }
    return false;
}

/* What stands in argv[*i]: an option, with its value behind it or in the next word. */
static bool read_option(int argc, char **argv, int *i, llava_option *options, size_t count,
                        llava_error *e)
{
    const char *word = argv[*i], *equals = strchr(word, '=');
    size_t length = equals == NULL ? strlen(word) : (size_t)(equals - word);
    llava_option *o = find(options, count, word, length);
    if (o == NULL) {
        return unknown(options, count, word, length, e);
    }
    const char *value = equals == NULL ? "" : equals + 1;
    if (o->kind == LLAVA_OPTION_FLAG && equals != NULL) {
        return llava_fail(e, "%s: takes no value", o->name);
    }
    if (o->kind != LLAVA_OPTION_FLAG && equals == NULL) {
        bool last = *i + 1 == argc;
        if (last && o->alone == NULL) {
            return llava_fail(e, "%s: a value is missing", o->name);
        }
        value = last ? o->alone : argv[++*i];
    }
    return take(o, value, e);
}

static const char *output_of(const llava_option *o)
{
    bool out = o->given && o->kind == LLAVA_OPTION_TEXT && o->word == LLAVA_WORD_OUT;
    return out ? *(const char **)o->target : NULL;
}

/* No file, standard output included, can hold two results. */
static bool outputs_differ(const llava_option *options, size_t count, llava_error *e)
{
    for (size_t i = 0; i < count; i++) {
        const char *mine = output_of(&options[i]);
        for (size_t j = 0; mine != NULL && j < i; j++) {
            const char *other = output_of(&options[j]);
            bool same = false;
            if (other != NULL && !llava_output_same(other, mine, &same, e)) {
                return false;
            }
            if (same) {
                return llava_fail(e, "%s and %s: both would be %s", options[j].name,
                                  options[i].name,
                                  strcmp(mine, "-") == 0 ? "standard output" : mine);
            }
        }
    }
    return true;
}

/* Asked before hours go into what could not be written then. */
static bool outputs_possible(const llava_option *options, size_t count, llava_error *e)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const char *path = output_of(&options[i]);
        ok = path == NULL || llava_output_possible(path, e);
    }
    return ok;
}

llava_option llava_option_json(const char **target, const char *about)
{
    return (llava_option){.name = "--json",
                          .kind = LLAVA_OPTION_TEXT,
                          .target = target,
                          .word = LLAVA_WORD_OUT,
                          .value = "FILE",
                          .about = about};
}

llava_option llava_option_map(const char **target)
{
    return (llava_option){.name = "--map",
                          .kind = LLAVA_OPTION_TEXT,
                          .target = target,
                          .word = LLAVA_WORD_MAP,
                          .value = "MAP",
                          .about = "the port's names and layouts: a file, or the name of a map "
                                   "that comes with the program"};
}

bool llava_options_read(int argc, char **argv, llava_option *options, size_t count,
                        llava_operands *operands, llava_error *e)
{
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!only_operands && strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (!only_operands && word[0] == '-' && word[1] != '\0') {
            if (!read_option(argc, argv, &i, options, count, e)) {
                return false;
            }
        } else if (operands->count == operands->most) {
            return llava_fail(e, "%s: one word too many", word);
        } else {
            operands->words[operands->count++] = word;
        }
    }
    return outputs_differ(options, count, e) && outputs_possible(options, count, e);
}
