/* Command-line options: each command declares a table, one function reads it. */
#ifndef LLAVA_OPTIONS_H
#define LLAVA_OPTIONS_H

#include "ref/error.h"

/* What an option takes. Its value goes to `target`. */
typedef enum {
    LLAVA_OPTION_FLAG,   /* bool *: true where given */
    LLAVA_OPTION_TEXT,   /* const char **: the word as it stands */
    LLAVA_OPTION_COUNT,  /* size_t *: a whole number from 1 */
    LLAVA_OPTION_CHOICE, /* size_t *: the index of the word among `choices` */
    LLAVA_OPTION_EACH,   /* called for each use: bool (*each)(void *target, const char *word, e) */
} llava_option_kind;

typedef struct {
    const char *name; /* with its dashes */
    llava_option_kind kind;
    void *target;
    const char *const *choices; /* NULL-terminated */
    bool (*each)(void *target, const char *word, llava_error *e);
    bool given; /* set by the reader */
} llava_option;

/* Words of a command line that are no options. */
typedef struct {
    const char **words;
    size_t count, most;
} llava_operands;

/* Reads argv[0 .. argc). "--name VALUE" and "--name=VALUE"; "--" ends the options; "-" is an
 * operand. An unknown option (with the nearest known one), a missing value, an option given twice
 * that may not be, too many operands: refused. */
bool llava_options_read(int argc, char **argv, llava_option *options, size_t count,
                        llava_operands *operands, llava_error *e);

/* The word of `words` (NULL-terminated) that `word` was probably meant to be, or NULL. */
const char *llava_did_you_mean(const char *word, const char *const *words);

#endif
