/* llava-ref: the program. A table of subcommands, and nothing else. */
#include "ref/number.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/options.h"
#include "tools/words.h"

#include <float.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "float64 operations must be rounded to float64");

static int version(int argc, char **argv, llava_error *e);
static int help(int argc, char **argv, llava_error *e);

static const llava_command command_version = {"version", version, "",
                                              "print the program's and the contract's version", ""};
static const llava_command command_help = {"help", help, "[COMMAND]", "explain a command", ""};

static const llava_command *const commands[] = {
    &llava_command_run,     &llava_command_diff,  &llava_command_diagnose, &llava_command_inspect,
    &llava_command_explain, &llava_command_bench, &command_version,        &command_help,
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const llava_command *find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown(const char *name, llava_error *e)
{
    const char *names[COMMANDS + 1];
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i]->name;
    }
    names[COMMANDS] = NULL;
    const char *near = llava_did_you_mean(name, names);
    if (near != NULL) {
        llava_fail(e, "%s: unknown command (did you mean %s?)", name, near);
    } else {
        llava_fail(e, "%s: unknown command (llava-ref help lists them)", name);
    }
    return LLAVA_CANNOT;
}

static int version(int argc, char **argv, llava_error *e)
{
    if (argc > 0) {
        llava_fail(e, "%s: version takes no words", argv[0]);
        return LLAVA_CANNOT;
    }
    printf("llava-ref %s\ncontract %s\n", LLAVA_VERSION, LLAVA_CONTRACT);
    return LLAVA_DONE;
}

static int help(int argc, char **argv, llava_error *e)
{
    if (argc == 0) {
        puts("llava-ref: a reference implementation and test oracle of LLaVA\n");
        for (size_t i = 0; i < COMMANDS; i++) {
            printf("  %-9s %s\n", commands[i]->name, commands[i]->about);
        }
        puts("\nllava-ref help COMMAND tells more. Exit status: 0 done or agrees, 1 compared and "
             "differs,\n2 cannot run or cannot judge.");
        return LLAVA_DONE;
    }
    const llava_command *c = find(argv[0]);
    if (c == NULL) {
        return unknown(argv[0], e);
    }
    printf("llava-ref %s%s%s\n  %s\n%s", c->name, c->usage[0] == '\0' ? "" : " ", c->usage,
           c->about, c->help);
    return LLAVA_DONE;
}

int main(int argc, char **argv)
{
    llava_error e = {""};
    int status;
    llava_interrupt_install();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, reported like any other */
    const char *fault = llava_arithmetic_fault();
    if (fault != NULL) {
        llava_fail(&e, "%s: no result could be trusted", fault);
        status = LLAVA_CANNOT;
    } else if (argc < 2) {
        llava_fail(&e, "no command (llava-ref help lists them)");
        status = LLAVA_CANNOT;
    } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        status = help(0, argv, &e);
    } else if (strcmp(argv[1], "--version") == 0) {
        status = version(0, argv, &e);
    } else {
        const llava_command *c = find(argv[1]);
        bool asks = argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
        status = c == NULL ? unknown(argv[1], &e)
                 : asks    ? help(1, argv + 1, &e)
                           : c->run(argc - 2, argv + 2, &e);
    }
    if (status != LLAVA_CANNOT && (fflush(stdout) != 0 || ferror(stdout))) {
        llava_fail(&e, "standard output: cannot write");
        status = LLAVA_CANNOT;
    }
    if (status == LLAVA_CANNOT && e.text[0] != '\0') {
        llava_complain(e.text);
    }
    return status;
}
