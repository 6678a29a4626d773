#define _XOPEN_SOURCE 700 /* sigaction's siginfo */
#include "tools/interrupt.h"

#include "tools/command.h"
#include "tools/progress.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A slot is in use while its first byte isn't NUL; that byte is written last and cleared first, so
 * a signal in between sees a whole path or none. */
static char paths[LLAVA_INTERRUPT_PATHS][PATH_MAX];
static pid_t owner;

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGBUS};

/* ---- in the handler: calls that POSIX allows there, and nothing else ---- */

static void say(const char *text, size_t n)
{
    (void)!write(STDERR_FILENO, text, n);
}

/* A folder's files need opendir, which takes memory: another program does it. */
static void remove_folder(const char *path)
{
    pid_t child = fork();
    /* LCOV_EXCL_START: exec takes the counters with it; no second process: nothing can be done */
    if (child == 0) {
        execl("/bin/rm", "rm", "-rf", "--", path, (char *)NULL);
        _exit(1);
    }
    if (child > 0) {
        waitpid(child, NULL, 0);
    }
    /* LCOV_EXCL_STOP */
}

static void remove_all(void)
{
    for (size_t i = 0; i < LLAVA_INTERRUPT_PATHS; i++) {
        if (paths[i][0] != '\0' && unlink(paths[i]) != 0) {
            remove_folder(paths[i]);
        }
    }
}

/* The number in hexadecimal at *text, which moves behind it. */
static uintptr_t hexadecimal(const char **text)
{
    static const char digits[] = "0123456789abcdef";
    uintptr_t value = 0;
    for (const char *digit; (digit = memchr(digits, **text, sizeof digits - 1)) != NULL;) {
        value = value * 16 + (uintptr_t)(digit - digits);
        ++*text;
    }
    return value;
}

/* Writes the name of the file that is mapped at the address, as /proc/self/maps has it ("from-to
 * ... /path"); false where it can't be told. */
static bool say_mapped(uintptr_t address)
{
    static char line[PATH_MAX + 128];
    size_t n = 0;
    bool found = false;
    int maps = open("/proc/self/maps", O_RDONLY);
    for (char c; maps >= 0 && !found && read(maps, &c, 1) == 1;) {
        if (c != '\n') {
            n += n + 1 < sizeof line;
            line[n - 1] = c < 0x20 || c == 0x7f ? '?' : c;
            continue;
        }
        line[n] = '\0';
        const char *at = line;
        uintptr_t from = hexadecimal(&at);
        at += *at == '-';
        uintptr_t to = hexadecimal(&at);
        const char *path = strchr(line, '/');
        if (from <= address && address < to && path != NULL) {
            say(path, strlen(path));
            found = true;
        }
        n = 0;
    }
    if (maps >= 0) {
        close(maps);
    }
    return found;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    bool ours = getpid() == owner;
    if (ours) {
        llava_progress_end();
        remove_all();
    }
    if (number != SIGBUS) {
        signal(number, SIG_DFL);
        raise(number); /* delivered when the handler returns */
        return;
    }
    if (ours) { /* a replaying process says nothing: who reads its pipe does */
        static const char before[] = "llava-ref: ",
                          after[] = ": the file became shorter while it was read\n",
                          unknown[] = "a mapped file";
        say(before, sizeof before - 1);
        if (!say_mapped((uintptr_t)info->si_addr)) {
            say(unknown, sizeof unknown - 1);
        }
        say(after, sizeof after - 1);
    }
    _exit(LLAVA_CANNOT);
}

/* ---- outside of it ---- */

void llava_interrupt_install(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    owner = getpid();
    action.sa_sigaction = on_signal;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct sigaction old;
        /* what the caller has ignored (nohup) stays ignored */
        if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(ends[i], &action, NULL);
        }
    }
}

void llava_interrupt_watch(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < LLAVA_INTERRUPT_PATHS && n > 0 && n < PATH_MAX; i++) {
        if (paths[i][0] == '\0') {
            memcpy(paths[i] + 1, path + 1, n);
            *(volatile char *)paths[i] = path[0];
            return;
        }
    }
}

void llava_interrupt_forget(const char *path)
{
    for (size_t i = 0; i < LLAVA_INTERRUPT_PATHS; i++) {
        if (strcmp(paths[i], path) == 0) {
            *(volatile char *)paths[i] = '\0';
        }
    }
}
