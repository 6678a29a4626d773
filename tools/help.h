/* The table of commands as text for people and for shells. */
#ifndef LLAVA_HELP_H
#define LLAVA_HELP_H

#include "tools/command.h"

#include <stdio.h>

/* A word and what it means, for help and manual; the last one's name is NULL. */
typedef struct {
    const char *name, *about;
} llava_term;

extern const llava_term llava_help_statuses[], llava_help_files[], llava_help_environment[];

/* What `help` says of one command, in 80 columns; NULL: of all of them in short. */
bool llava_help_print(FILE *to, const llava_command *command, llava_error *e);

/* The manual page, in mdoc (man(1), mandoc). */
bool llava_manual_print(FILE *to, llava_error *e);

/* What bash and zsh offer behind each word. */
bool llava_completion_bash(FILE *to, llava_error *e);
bool llava_completion_zsh(FILE *to, llava_error *e);

/* The next piece of an example's command line, n characters from `at` on: up to an option. breaks:
 * it begins a line, behind a backslash and indented, or *column would pass `columns`. Returns where
 * the piece ends. */
enum { LLAVA_HELP_INDENT = 3 };
const char *llava_help_example(const char *at, size_t *column, size_t columns, size_t *n,
                               bool *breaks);

/* The options of a command, with targets that nobody reads, which are freed with free(*targets);
 * false: memory is out. */
bool llava_help_options(const llava_command *command, llava_option options[LLAVA_OPTIONS_MOST],
                        size_t *count, void **targets, llava_error *e);

#endif
