/* In the build of `make coverage` alone, before the C library (-Wl,--wrap): a process that ends
 * without exit() (a replaying child, a signal's handler) writes down what it ran, too. Below the
 * faults of tests/faults/shim.c the counters are written without faults. */
#include <unistd.h>

#include <signal.h>

void __gcov_dump(void);
void __gcov_reset(void);
void llava_faults_end(void) __attribute__((weak));
void __real__exit(int status) __attribute__((noreturn));
int __real_raise(int number);
void __wrap__exit(int status) __attribute__((noreturn));
int __wrap_raise(int number);

static void write_counters(void)
{
    if (llava_faults_end != NULL) {
        llava_faults_end();
    }
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
    if (llava_faults_end != NULL) {
        llava_faults_end();
    }
}
