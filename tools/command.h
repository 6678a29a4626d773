/* The program's subcommands. Each gets the words behind its name and returns the exit status:
 * 0 done or agrees, 1 compared and differs, 2 cannot run or cannot judge, with one line in e.
 *
 * What else stands in the table is for people and for shells: `help`, the manual page and the
 * completions are made from it, and from nothing else. */
#ifndef LLAVA_COMMAND_H
#define LLAVA_COMMAND_H

#include "ref/error.h"
#include "tools/options.h"

#define LLAVA_VERSION  "0.1.0"
#define LLAVA_DATE     "November 28, 2026" /* of the version, for the manual page */
#define LLAVA_CONTRACT "1"

enum { LLAVA_DONE = 0, LLAVA_DIFFERS = 1, LLAVA_CANNOT = 2 };

/* A word that is no option. "NAME...": it, and what follows. */
typedef struct {
    const char *name, *about; /* name NULL: the list's end */
    llava_word word;
} llava_operand;

/* A command line that works in the source tree, one behind the other in one folder, and the exit
 * status that it ends with. */
typedef struct {
    const char *command; /* NULL: the list's end */
    int status;
} llava_example;

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv, llava_error *e);
    const char *about;             /* one line */
    const char *const *synopsis;   /* what stands behind the name, a line each; ends with NULL */
    const llava_operand *operands; /* NULL: none */
    /* Writes the options to a table of LLAVA_OPTIONS_MOST and returns how many there are; their
     * targets lie in *self, which is `room` bytes of zeros. NULL: none. */
    size_t (*options)(void *self, llava_option *options);
    size_t room;
    const char *details; /* a paragraph, or NULL */
    const char *status;  /* what the exit statuses mean here; NULL: 0 done, 2 cannot run */
    const llava_example *examples;
} llava_command;

extern const llava_command llava_command_run;
extern const llava_command llava_command_diff;
extern const llava_command llava_command_diagnose;
extern const llava_command llava_command_inspect;
extern const llava_command llava_command_draw;
extern const llava_command llava_command_explain;
extern const llava_command llava_command_bench;
extern const llava_command llava_command_version;
extern const llava_command llava_command_help;

/* All of them in the order of `help`, NULL behind them. */
extern const llava_command *const llava_commands[];
/* The command of that name; NULL with a message, with the nearest name, where there is none. */
const llava_command *llava_command_find(const char *name, llava_error *e);

#endif
