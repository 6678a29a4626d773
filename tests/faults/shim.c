/* A library that stands before the C library (LD_PRELOAD) and makes the n-th call of one kind fail,
 * as a full memory or a broken disk would. tools/check_faults.py drives it.
 *
 *   LLAVA_FAULT=KIND:N      the N-th call of that kind fails (1: the first); KIND+:N all from it on
 *   LLAVA_FAULT_COUNTS=FILE the number of calls of each kind when the process ends, and the numbers
 * of those that came from a place (the last frames of the stack) for the first time
 *
 * Calls that the C library makes inside itself (stdio's writes) do not pass here. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ALLOC, OPEN, READ, WRITE, MAP, RENAME, PIPE, FORK, STAT, KINDS };
enum { FRAMES = 8, PLACES = 1 << 14 };
static const char *const names[KINDS] = {"alloc",  "open", "read", "write", "map",
                                         "rename", "pipe", "fork", "stat"};
static unsigned long counts[KINDS];
static int kind = -1, onwards, ended;
static unsigned long nth;
static pid_t owner, (*true_fork)(void);

/* Places seen, by a hash of their frames; 0: an empty slot. */
typedef struct {
    uint64_t frames;
    unsigned long call;
    int kind;
} place;
static place places[PLACES];
static int counting;

__attribute__((constructor)) static void begin(void)
{
    const char *fault = getenv("LLAVA_FAULT");
    owner = getpid();
    *(void **)&true_fork = dlsym(RTLD_NEXT, "fork");
    if (getenv("LLAVA_FAULT_COUNTS") != NULL) {
        void *frames[FRAMES];
        backtrace(frames, FRAMES); /* loads its library, which takes memory */
        counting = 1;
    }
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

static void say(int file, const char *word, unsigned long number)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s %lu", word, number);
    syscall(SYS_write, file, text, (size_t)n);
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("LLAVA_FAULT_COUNTS");
    if (path == NULL || getpid() != owner) {
        return;
    }
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    for (int k = 0; file >= 0 && k < KINDS; k++) {
        say(file, names[k], counts[k]);
        for (size_t i = 0; i < PLACES; i++) {
            if (places[i].frames != 0 && places[i].kind == k) {
                say(file, "", places[i].call);
            }
        }
        syscall(SYS_write, file, "\n", 1);
    }
}

/* Keeps the call's number when nothing was called from this place before. */
static void note_place(int k, unsigned long call)
{
    void *frames[FRAMES];
    uint64_t hash = (uint64_t)k + 1;
    int n = backtrace(frames, FRAMES);
    for (int i = 0; i < n; i++) {
        hash = (hash ^ (uintptr_t)frames[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    for (size_t tried = 0; tried < PLACES; tried++) {
        place *p = &places[(hash + tried) % PLACES];
        if (p->frames == 0) {
            *p = (place){.frames = hash | 1, .call = call, .kind = k};
        }
        if (p->frames == (hash | 1)) {
            return;
        }
    }
}

/* Called before the counters of `make coverage` are written, which is not the program's own work.
 */
void llava_faults_end(void)
{
    ended = 1;
}

/* Counts the call; does it fail? */
static int fails(int k, int reason)
{
    if (ended) {
        return 0;
    }
    unsigned long n = ++counts[k];
    if (counting) {
        counting = 0; /* what the unwinder calls is not the program's */
        note_place(k, n);
        counting = 1;
    }
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

/* Of a file that is open: what a path leads to may be nothing, which is no fault. */
int fstat(int file, struct stat *status)
{
    return fails(STAT, EIO) ? -1 : (int)syscall(SYS_newfstatat, file, "", status, AT_EMPTY_PATH);
}

int fstat64(int file, struct stat64 *status)
{
    return fails(STAT, EIO) ? -1 : (int)syscall(SYS_newfstatat, file, "", status, AT_EMPTY_PATH);
}

int pipe(int ends[2])
{
    return fails(PIPE, EMFILE) ? -1 : (int)syscall(SYS_pipe2, ends, 0);
}

pid_t fork(void)
{
    return fails(FORK, EAGAIN) ? -1 : true_fork();
}
