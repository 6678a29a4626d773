/* The program's subcommands. Each gets the words behind its name and returns the exit status:
 * 0 done or agrees, 1 compared and differs, 2 cannot run or cannot judge, with one line in e. */
#ifndef LLAVA_COMMAND_H
#define LLAVA_COMMAND_H

#include "ref/error.h"

#define LLAVA_VERSION  "0.1.0"
#define LLAVA_CONTRACT "1"

enum { LLAVA_DONE = 0, LLAVA_DIFFERS = 1, LLAVA_CANNOT = 2 };

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv, llava_error *e);
    const char *usage; /* one line, behind the name */
    const char *about; /* one line */
    const char *help;  /* the rest of `help NAME` */
} llava_command;

extern const llava_command llava_command_run;
extern const llava_command llava_command_explain;
extern const llava_command llava_command_inspect;
extern const llava_command llava_command_bench;
extern const llava_command llava_command_diff;
extern const llava_command llava_command_diagnose;

#endif
