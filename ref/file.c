/* Regular files, mapped read-only, and the bounded cursor. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Maps the open file. mmap refuses a length of 0, so an empty file stays unmapped. */
static bool map_open(llava_file *file, int fd, const char *path, llava_error *e)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return llava_fail(e, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return llava_fail(e, "%s: not a regular file", path);
    }
    /* LCOV_EXCL_START: only on a machine of 32 bits are there larger files */
    if ((uintmax_t)status.st_size > PTRDIFF_MAX) {
        return llava_fail(e, "%s: the file is too large to be mapped", path);
    }
    /* LCOV_EXCL_STOP */
    file->size = (size_t)status.st_size;
    if (file->size == 0) {
        file->bytes = (const uint8_t *)"";
        return true;
    }
    void *mapping = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED) {
        return llava_fail(e, "%s: %s", path, strerror(errno));
    }
    file->mapping = mapping;
    file->bytes = mapping;
    return true;
}

bool llava_file_map(llava_file *file, const char *path, llava_error *e)
{
    *file = (llava_file){0};
    /* Without O_NONBLOCK, opening a FIFO would wait for a writer before we can look at its kind. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return llava_fail(e, "%s: %s", path, strerror(errno));
    }
    bool ok = map_open(file, fd, path, e);
    close(fd);
    if (!ok) {
        *file = (llava_file){0};
    }
    return ok;
}

void llava_file_unmap(llava_file *file)
{
    if (file->mapping != NULL) {
        munmap(file->mapping, file->size);
    }
    *file = (llava_file){0};
}

bool llava_file_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

bool llava_file_in(const char *folder, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return (size_t)n < sizeof path && llava_file_exists(path);
}

char *llava_path(llava_error *e, const char *folder, const char *name)
{
    size_t a = strlen(folder), b = strlen(name);
    char *path = llava_alloc(e, a + b + 2, 1);
    if (path != NULL) {
        memcpy(path, folder, a);
        path[a] = '/';
        memcpy(path + a + 1, name, b + 1);
    }
    return path;
}

llava_cursor llava_cursor_over(const void *bytes, size_t n)
{
    const uint8_t *start = bytes;
    return (llava_cursor){.start = start, .at = start, .end = start + n, .bad = false};
}

size_t llava_cursor_left(const llava_cursor *c)
{
    return (size_t)(c->end - c->at);
}

size_t llava_cursor_offset(const llava_cursor *c)
{
    return (size_t)(c->at - c->start);
}

bool llava_cursor_seek(llava_cursor *c, size_t offset)
{
    if (offset > (size_t)(c->end - c->start)) {
        c->bad = true;
        return false;
    }
    c->at = c->start + offset;
    return true;
}

const uint8_t *llava_cursor_take(llava_cursor *c, size_t n)
{
    if (c->bad || n > llava_cursor_left(c)) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *taken = c->at;
    c->at += n;
    return taken;
}

/* n <= 8 bytes, the lowest first. */
static uint64_t take_number(llava_cursor *c, size_t n)
{
    const uint8_t *bytes = llava_cursor_take(c, n);
    uint64_t value = 0;
    for (size_t i = 0; bytes != NULL && i < n; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

uint8_t llava_cursor_u8(llava_cursor *c)
{
    return (uint8_t)take_number(c, 1);
}

uint16_t llava_cursor_u16(llava_cursor *c)
{
    return (uint16_t)take_number(c, 2);
}

uint32_t llava_cursor_u32(llava_cursor *c)
{
    return (uint32_t)take_number(c, 4);
}

uint64_t llava_cursor_u64(llava_cursor *c)
{
    return take_number(c, 8);
}
