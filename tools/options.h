/* Command-line options: each command declares one table. The reader, `help`, the manual page and
 * the completions of the shells are all made from it. */
#ifndef LLAVA_OPTIONS_H
#define LLAVA_OPTIONS_H

#include "ref/error.h"

/* What an option takes. Its value goes to `target`. */
typedef enum {
    LLAVA_OPTION_FLAG,   /* bool *: true where given */
    LLAVA_OPTION_TEXT,   /* const char **: the word as it stands, one of `choices` if there are */
    LLAVA_OPTION_COUNT,  /* size_t *: a whole number from 1 */
    LLAVA_OPTION_CHOICE, /* size_t *: the index of the word among `choices` */
    LLAVA_OPTION_EACH,   /* called for each use: bool (*each)(void *target, const char *word, e) */
} llava_option_kind;

/* What a word of the command line names: what a shell offers for it. */
typedef enum {
    LLAVA_WORD_ANY,      /* a text, a number: nothing to offer */
    LLAVA_WORD_FILE,     /* a file that is read */
    LLAVA_WORD_OUT,      /* a file that is written; "-": standard output */
    LLAVA_WORD_FOLDER,   /* */
    LLAVA_WORD_DUMP,     /* a file or a folder of .npy */
    LLAVA_WORD_MAP,      /* a file, or a map that comes with the program */
    LLAVA_WORD_TAPS,     /* GLOB[,GLOB...] */
    LLAVA_WORD_DECISION, /* DECISION=VALUE */
    LLAVA_WORD_TOPIC,    /* a tap or a decision */
    LLAVA_WORD_COMMAND,  /* a command of the program */
    LLAVA_WORD_ITSELF, /* of an operand: its name, or that of another such beside it in the table */
} llava_word;

typedef struct {
    const char *name; /* with its dashes */
    llava_option_kind kind;
    void *target;
    const char *const *choices; /* NULL-terminated */
    bool (*each)(void *target, const char *word, llava_error *e);
    bool *said;        /* set where it is given; NULL: nobody asks */
    const char *alone; /* its value where it is the last word, without one; NULL: refused */
    llava_word word;
    const char *value; /* what help calls the value; NULL: the choices, or nothing for a flag */
    const char *about; /* for people: one clause or several */
    bool given;        /* set by the reader */
} llava_option;

enum { LLAVA_OPTIONS_MOST = 32 };

/* What several commands have. --json FILE: a result for programs, of which `about` says what. */
llava_option llava_option_json(const char **target, const char *about);
llava_option llava_option_map(const char **target);

/* Words of a command line that are no options. */
typedef struct {
    const char **words;
    size_t count, most;
} llava_operands;

/* Reads argv[0 .. argc). "--name VALUE" and "--name=VALUE"; "--" ends the options; "-" is an
 * operand. An unknown option (with the nearest known one), a missing value, an empty name of a
 * file, an option given twice that may not be, one file for two outputs, an output that cannot be
 * created, too many operands: refused. */
bool llava_options_read(int argc, char **argv, llava_option *options, size_t count,
                        llava_operands *operands, llava_error *e);

/* The value as help shows it, "f64|f32" or "FILE"; empty for a flag. */
void llava_option_value(const llava_option *option, char *text, size_t size);

#endif
