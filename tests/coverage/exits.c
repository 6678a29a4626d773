/* In the build of `make coverage` alone, before the C library (-Wl,--wrap): a process that ends
 * without exit() (a replaying child, a signal's handler) writes down what it ran, too. Below the
 * faults of tests/faults/shim.c the counters are written without faults. */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

void __gcov_dump(void);
void __gcov_reset(void);
void llava_faults_end(void) __attribute__((weak));
void __real__exit(int status) __attribute__((noreturn));
int __real_raise(int number);
void __wrap__exit(int status) __attribute__((noreturn));
int __wrap_raise(int number);

/* No fault and no limit of the size or number of files concerns the counters. */
static void let_counters_be_written(void)
{
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit files;
    if (llava_faults_end != NULL) {
        llava_faults_end();
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (setrlimit(RLIMIT_FSIZE, &none) != 0) {
        setenv("GCOV_ERROR_FILE", "/dev/null", 1); /* this process is not counted, without a word */
    }
}

static void write_counters(void)
{
    let_counters_be_written();
    __gcov_dump();
    __gcov_reset(); /* or what comes between this and the process's end would not be written */
}

void __wrap__exit(int status)
{
    write_counters();
    __real__exit(status);
}

int __wrap_raise(int number)
{
    write_counters();
    return __real_raise(number);
}

__attribute__((destructor)) static void end(void)
{
    let_counters_be_written();
}
