/* A library that stands before the C library (LD_PRELOAD) and makes the n-th call of one kind fail,
 * as a full memory or a broken disk would. tools/check_faults.py drives it.
 *
 *   LLAVA_FAULT=KIND:N      the N-th call of that kind fails (1: the first); KIND+:N all from it on
 *   LLAVA_FAULT_COUNTS=FILE the number of calls of each kind, a line each, when the process ends
 *
 * Calls that the C library makes inside itself (stdio's writes) do not pass here. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ALLOC, OPEN, READ, WRITE, MAP, RENAME, PIPE, KINDS };
static const char *const names[KINDS] = {"alloc", "open", "read", "write", "map", "rename", "pipe"};
static unsigned long counts[KINDS];
static int kind = -1, onwards;
static unsigned long nth;
static pid_t owner;

__attribute__((constructor)) static void begin(void)
{
    const char *fault = getenv("LLAVA_FAULT");
    owner = getpid();
    memset(counts, 0, sizeof counts); /* what ran before main is not the program's */
    for (int k = 0; fault != NULL && k < KINDS; k++) {
        size_t n = strlen(names[k]);
        if (strncmp(fault, names[k], n) == 0 && (fault[n] == ':' || fault[n] == '+')) {
            onwards = fault[n] == '+';
            nth = strtoul(fault + n + 1 + onwards, NULL, 10);
            kind = k;
        }
    }
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("LLAVA_FAULT_COUNTS");
    if (path == NULL || getpid() != owner) {
        return;
    }
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    for (int k = 0; file >= 0 && k < KINDS; k++) {
        char line[64];
        int n = snprintf(line, sizeof line, "%s %lu\n", names[k], counts[k]);
        syscall(SYS_write, file, line, (size_t)n);
    }
}

/* Counts the call; does it fail? */
static int fails(int k, int reason)
{
    unsigned long n = ++counts[k];
    if (kind == k && (n == nth || (onwards && n > nth))) {
        errno = reason;
        return 1;
    }
    return 0;
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    return fails(ALLOC, ENOMEM) ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    return fails(ALLOC, ENOMEM) ? NULL : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    return fails(ALLOC, ENOMEM) ? NULL : __libc_realloc(p, n);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    return fails(OPEN, EIO) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

ssize_t read(int file, void *bytes, size_t n)
{
    return fails(READ, EIO) ? -1 : syscall(SYS_read, file, bytes, n);
}

ssize_t write(int file, const void *bytes, size_t n)
{
    return fails(WRITE, ENOSPC) ? -1 : syscall(SYS_write, file, bytes, n);
}

void *mmap(void *at, size_t n, int protection, int flags, int file, off_t offset)
{
    if (fails(MAP, ENOMEM)) {
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, n, protection, flags, file, offset);
}

void *mmap64(void *at, size_t n, int protection, int flags, int file, off_t offset)
    __attribute__((alias("mmap")));

int rename(const char *from, const char *to)
{
    return fails(RENAME, EIO) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int pipe(int ends[2])
{
    return fails(PIPE, EMFILE) ? -1 : (int)syscall(SYS_pipe2, ends, 0);
}
