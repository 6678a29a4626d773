/* llava-ref: the program. Finds the subcommand, and reports what it returns. */
#include "ref/number.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/words.h"

#include <float.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "float64 operations must be rounded to float64");

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int start(int argc, char **argv, llava_error *e)
{
    if (argc < 2) {
        llava_fail(e, "no command (llava-ref help lists them)");
        return LLAVA_CANNOT;
    }
    if (asks_for_help(argv[1])) {
        return llava_command_help.run(argc - 2, argv + 2, e);
    }
    if (strcmp(argv[1], "--version") == 0) {
        return llava_command_version.run(argc - 2, argv + 2, e);
    }
    const llava_command *c = llava_command_find(argv[1], e);
    if (c == NULL) {
        return LLAVA_CANNOT;
    }
    if (argc == 3 && asks_for_help(argv[2])) {
        return llava_command_help.run(1, argv + 1, e);
    }
    return c->run(argc - 2, argv + 2, e);
}

int main(int argc, char **argv)
{
    llava_error e = {""};
    int status = LLAVA_CANNOT;
    llava_interrupt_install();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, reported like any other */
    const char *fault = llava_arithmetic_fault();
    if (fault != NULL) {
        llava_fail(&e, "%s: no result could be trusted", fault);
    } else {
        status = start(argc, argv, &e);
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
