/* llava-ref: the program. Finds the subcommand, and reports what it returns. */
#include "ref/number.h"
#include "tools/help.h"
#include "tools/interrupt.h"
#include "tools/words.h"

#include <fcntl.h>
#include <float.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(FLT_EVAL_METHOD == 0, "float64 operations must be rounded to float64");

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Does this option of the command take the next word as its value? */
static bool takes_value(const llava_option *options, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(options[i].name, word) == 0) {
            return options[i].kind != LLAVA_OPTION_FLAG;
        }
    }
    return false;
}

/* --help among a command's words, where it is no option's value. *help: it is there. */
static bool find_help(const llava_command *c, int argc, char **argv, bool *help, llava_error *e)
{
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count;
    void *targets;
    *help = false;
    if (!llava_help_options(c, options, &count, &targets, e)) {
        return false;
    }
    for (int i = 0; i < argc && !*help && strcmp(argv[i], "--") != 0; i++) {
        *help = asks_for_help(argv[i]);
        i += takes_value(options, count, argv[i]);
    }
    free(targets);
    return true;
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
    bool help;
    if (!find_help(c, argc - 2, argv + 2, &help, e)) {
        return LLAVA_CANNOT;
    }
    return help ? llava_command_help.run(1, argv + 1, e) : c->run(argc - 2, argv + 2, e);
}

/* Where the caller has closed standard input, output or error, the next file opened would take its
 * number, and what is printed would go into a dump. What stands there instead fails like a closed
 * one: opened the wrong way round. */
static void hold_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1) {
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

int main(int argc, char **argv)
{
    llava_error e = {""};
    int status = LLAVA_CANNOT;
    hold_standard_files();
    llava_interrupt_install();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, reported like any other; */
    signal(SIGXFSZ, SIG_IGN); /* so is a file beyond the size that the shell allows */
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
