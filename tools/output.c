#define _XOPEN_SOURCE 700 /* realpath */
#include "tools/output.h"

#include "ref/file.h"
#include "tools/interrupt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BUFFER  ((size_t)64 * 1024)
#define LONGEST ((size_t)1 << 30) /* of one write(2): some systems take no more than 2^31 - 1 */
#define TRIES   1000

struct llava_output {
    int fd;
    char *name;
    char *target;    /* where the file will stand; NULL when written directly */
    char *temporary; /* where it stands now */
    uint8_t *buffer;
    size_t held;
};

struct llava_folder {
    char *name, *target, *temporary;
    mode_t mode; /* of the empty folder that is replaced, or 0 */
};

/* ---- names ---- */

/* The folder that path lies in: "a/b" -> "a", "b" -> ".", "/b" -> "/". */
static char *parent_of(const char *path, llava_error *e)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return llava_text(e, ".", 1);
    }
    return llava_text(e, path, slash == path ? 1 : (size_t)(slash - path));
}

/* A short name of its own, so that it fits wherever the target's name fits. */
static char *temporary_name(const char *target, int attempt, llava_error *e)
{
    char name[64];
    snprintf(name, sizeof name, "llava-ref.tmp%ld.%d", (long)getpid(), attempt);
    char *parent = parent_of(target, e);
    char *path = parent == NULL ? NULL : llava_path(e, parent, name);
    free(parent);
    return path;
}

/* The target without its trailing slashes, symbolic links resolved where it exists. */
static char *target_of(const char *path, bool exists, llava_error *e)
{
    if (exists) {
        char *resolved = realpath(path, NULL);
        if (resolved == NULL) {
            llava_fail(e, "%s: %s", path, strerror(errno));
        }
        return resolved;
    }
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    return llava_text(e, path, n);
}

/* ---- files ---- */

static int create_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

static int create_folder(const char *path)
{
    return mkdir(path, 0777);
}

/* Makes something new beside target: *temporary is its name, the result what `create` gave. */
static int create_beside(const char *name, const char *target, char **temporary,
                         int (*create)(const char *path), llava_error *e)
{
    for (int attempt = 0; attempt < TRIES; attempt++) {
        *temporary = temporary_name(target, attempt, e);
        if (*temporary == NULL) {
            return -1;
        }
        const int made = create(*temporary);
        if (made >= 0) {
            llava_interrupt_watch(*temporary);
            return made;
        }
        const int reason = errno;
        free(*temporary);
        *temporary = NULL;
        if (reason != EEXIST || attempt + 1 == TRIES) {
            llava_fail(e, "%s: cannot be created (%s)", name, strerror(reason));
            break;
        }
    }
    return -1;
}

static bool open_beside(llava_output *output, const char *path, const struct stat *old,
                        llava_error *e)
{
    /* LCOV_EXCL_START: root, as whom tests run, may write everything */
    if (old != NULL && access(path, W_OK) != 0) { /* a rename would not ask */
        return llava_fail(e, "%s: cannot be written (%s)", output->name, strerror(errno));
    }
    /* LCOV_EXCL_STOP */
    output->target = target_of(path, old != NULL, e);
    if (output->target == NULL) {
        return false;
    }
    output->fd = create_beside(output->name, output->target, &output->temporary, create_file, e);
    if (output->fd >= 0 && old != NULL) {
        /* Best effort: a file of somebody else's keeps our permissions instead of theirs. */
        (void)!fchmod(output->fd, old->st_mode & 0777);
    }
    return output->fd >= 0;
}

static bool open_target(llava_output *output, const char *path, llava_error *e)
{
    struct stat status;
    if (strcmp(path, "-") == 0) {
        output->fd = STDOUT_FILENO;
        return true;
    }
    if (path[0] == '\0') {
        return llava_fail(e, "an output file has an empty name");
    }
    if (stat(path, &status) != 0) {
        if (errno != ENOENT) {
            return llava_fail(e, "%s: %s", output->name, strerror(errno));
        }
        return open_beside(output, path, NULL, e);
    }
    if (S_ISDIR(status.st_mode)) {
        return llava_fail(e, "%s: is a folder", output->name);
    }
    if (S_ISREG(status.st_mode)) {
        return open_beside(output, path, &status, e);
    }
    output->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return output->fd >= 0 || llava_fail(e, "%s: %s", output->name, strerror(errno));
}

static void free_output(llava_output *output)
{
    free(output->name);
    free(output->target);
    free(output->temporary);
    free(output->buffer);
    free(output);
}

bool llava_output_open_as(llava_output **output, const char *path, const char *name, llava_error *e)
{
    llava_output *o = llava_alloc(e, 1, sizeof *o);
    if (o == NULL) {
        return false;
    }
    o->fd = -1;
    o->name = llava_text(e, name, strlen(name));
    o->buffer = llava_alloc(e, BUFFER, 1);
    if (o->name == NULL || o->buffer == NULL || !open_target(o, path, e)) {
        llava_output_abort(o);
        return false;
    }
    *output = o;
    return true;
}

bool llava_output_open(llava_output **output, const char *path, llava_error *e)
{
    const char *name = strcmp(path, "-") == 0 ? "standard output" : path;
    return llava_output_open_as(output, path, name, e);
}

bool llava_output_possible(const char *path, llava_error *e)
{
    struct stat status;
    const size_t n = strlen(path);
    llava_output *output;
    if (strcmp(path, "-") == 0 || (n > 0 && path[n - 1] == '/') ||
        (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) {
        return true;
    }
    if (!llava_output_open(&output, path, e)) {
        return false;
    }
    llava_output_abort(output);
    return true;
}

/* What an output's name stands for: a file, or else a name in a folder. */
typedef struct {
    bool known; /* neither is there: it can't be written anyway */
    dev_t device;
    ino_t node;
    char *name; /* in that folder; NULL: the file is there */
} place;

static bool place_of(const char *path, place *p, llava_error *e)
{
    struct stat status;
    bool out = strcmp(path, "-") == 0, ok = true;
    *p = (place){0};
    p->known = out ? fstat(STDOUT_FILENO, &status) == 0 : stat(path, &status) == 0;
    if (!out && !p->known) {
        char *target = target_of(path, false, e);
        char *parent = target == NULL ? NULL : parent_of(target, e);
        const char *slash = target == NULL ? NULL : strrchr(target, '/');
        const char *name = slash == NULL ? target : slash + 1;
        p->name = parent == NULL ? NULL : llava_text(e, name, strlen(name));
        ok = p->name != NULL;
        p->known = ok && stat(parent, &status) == 0;
        free(target);
        free(parent);
    }
    if (p->known) {
        p->device = status.st_dev;
        p->node = status.st_ino;
    }
    return ok;
}

bool llava_output_same(const char *one, const char *other, bool *same, llava_error *e)
{
    place a, b = {0};
    bool ok = place_of(one, &a, e) && place_of(other, &b, e);
    bool together = a.known && b.known && a.device == b.device && a.node == b.node;
    bool named = a.name != NULL && b.name != NULL && strcmp(a.name, b.name) == 0;
    *same = strcmp(one, other) == 0 || (together && (named || (a.name == NULL && b.name == NULL)));
    free(a.name);
    free(b.name);
    return ok;
}

static bool write_all(llava_output *output, const uint8_t *bytes, size_t n, llava_error *e)
{
    while (n > 0) {
        const ssize_t written = write(output->fd, bytes, n < LONGEST ? n : LONGEST);
        if (written < 0 && errno == EINTR) { /* LCOV_EXCL_BR_LINE: our own signals end us */
            continue;                        /* LCOV_EXCL_LINE: as above */
        }
        if (written <= 0) {
            return llava_fail(e, "%s: cannot be written (%s)", output->name, strerror(errno));
        }
        bytes += written;
        n -= (size_t)written;
    }
    return true;
}

static bool flush(llava_output *output, llava_error *e)
{
    const size_t held = output->held;
    output->held = 0;
    return write_all(output, output->buffer, held, e);
}

bool llava_output_write(llava_output *output, const void *bytes, size_t n, llava_error *e)
{
    if (n > BUFFER - output->held && !flush(output, e)) {
        return false;
    }
    if (n > BUFFER) {
        return write_all(output, bytes, n, e);
    }
    memcpy(output->buffer + output->held, bytes, n);
    output->held += n;
    return true;
}

bool llava_output_print(llava_output *output, llava_error *e, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = llava_alloc(e, (size_t)n + 1, 1);
    if (text != NULL) {
        vsnprintf(text, (size_t)n + 1, format, again);
    }
    va_end(again);
    const bool ok = text != NULL && llava_output_write(output, text, (size_t)n, e);
    free(text);
    return ok;
}

const char *llava_output_name(const llava_output *output)
{
    return output->name;
}

bool llava_output_commit(llava_output *output, llava_error *e)
{
    bool ok = flush(output, e);
    if (ok && output->fd != STDOUT_FILENO) {
        const int fd = output->fd;
        output->fd = -1;
        /* LCOV_EXCL_START: network disks report a full disk only here */
        ok = close(fd) == 0 ||
             llava_fail(e, "%s: cannot be written (%s)", output->name, strerror(errno));
        /* LCOV_EXCL_STOP */
    }
    if (ok && output->temporary != NULL) {
        ok = rename(output->temporary, output->target) == 0 ||
             llava_fail(e, "%s: cannot be written (%s)", output->name, strerror(errno));
        if (ok) {
            llava_interrupt_forget(output->temporary);
            free(output->temporary);
            output->temporary = NULL;
        }
    }
    llava_output_abort(output);
    return ok;
}

void llava_output_abort(llava_output *output)
{
    if (output == NULL) {
        return;
    }
    if (output->fd >= 0 && output->fd != STDOUT_FILENO) {
        close(output->fd);
    }
    if (output->temporary != NULL) {
        unlink(output->temporary);
        llava_interrupt_forget(output->temporary);
    }
    free_output(output);
}

/* ---- folders ---- */

static bool folder_is_empty(const char *path, llava_error *e)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return llava_fail(e, "%s: %s", path, strerror(errno));
    }
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    }
    closedir(dir);
    return empty || llava_fail(e, "%s: the folder exists and is not empty", path);
}

static bool open_folder(llava_folder *folder, const char *path, llava_error *e)
{
    struct stat status;
    const bool exists = stat(path, &status) == 0;
    if (!exists && errno != ENOENT) {
        return llava_fail(e, "%s: %s", path, strerror(errno));
    }
    if (exists && !S_ISDIR(status.st_mode)) {
        return llava_fail(e, "%s: exists and is not a folder", path);
    }
    if (exists && !folder_is_empty(path, e)) {
        return false;
    }
    folder->mode = exists ? status.st_mode & 07777 : 0;
    folder->target = target_of(path, exists, e);
    return folder->target != NULL &&
           create_beside(path, folder->target, &folder->temporary, create_folder, e) >= 0;
}

bool llava_folder_open(llava_folder **folder, const char *path, llava_error *e)
{
    if (path[0] == '\0') {
        return llava_fail(e, "an output folder has an empty name");
    }
    llava_folder *f = llava_alloc(e, 1, sizeof *f);
    if (f == NULL) {
        return false;
    }
    f->name = llava_text(e, path, strlen(path));
    if (f->name == NULL || !open_folder(f, path, e)) {
        llava_folder_abort(f);
        return false;
    }
    *folder = f;
    return true;
}

const char *llava_folder_path(const llava_folder *folder)
{
    return folder->temporary;
}

const char *llava_folder_name(const llava_folder *folder)
{
    return folder->name;
}

bool llava_folder_commit(llava_folder *folder, llava_error *e)
{
    if (folder->mode != 0) {
        (void)!chmod(folder->temporary, folder->mode); /* best effort, as for files */
    }
    const bool ok = rename(folder->temporary, folder->target) == 0 ||
                    llava_fail(e, "%s: cannot be written (%s)", folder->name, strerror(errno));
    if (ok) {
        llava_interrupt_forget(folder->temporary);
        free(folder->temporary);
        folder->temporary = NULL;
    }
    llava_folder_abort(folder);
    return ok;
}

/* The folder is ours and holds only files, all of them ours. Needs no memory: it cleans up after
 * running out of it, too. */
static void remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (dir != NULL) { /* LCOV_EXCL_BR_LINE: it takes memory inside of the C library */
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
            unlinkat(dirfd(dir), entry->d_name, 0); /* does nothing to "." and ".." */
        }
        closedir(dir);
    }
    rmdir(path);
}

void llava_folder_abort(llava_folder *folder)
{
    if (folder == NULL) {
        return;
    }
    if (folder->temporary != NULL) {
        remove_folder(folder->temporary);
        llava_interrupt_forget(folder->temporary);
    }
    free(folder->name);
    free(folder->target);
    free(folder->temporary);
    free(folder);
}

/* ---- room ---- */

bool llava_output_room(const char *path, uint64_t bytes, llava_error *e)
{
    struct stat status;
    struct statvfs disk;
    if (strcmp(path, "-") == 0 ||
        (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) {
        return true;
    }
    char *target = target_of(path, llava_file_exists(path), e);
    char *parent = target == NULL ? NULL : parent_of(target, e);
    free(target);
    if (parent == NULL) {
        return false;
    }
    const bool known = statvfs(parent, &disk) == 0 && disk.f_frsize > 0;
    free(parent);
    if (!known) {
        return true; /* opening the output says better what is wrong */
    }
    const uint64_t block = disk.f_frsize;
    if (bytes / block < disk.f_bavail) {
        return true;
    }
    return llava_fail(e, "%s: no room on the disk (%" PRIu64 " MB needed, %" PRIu64 " MB free)",
                      path, bytes / 1000000 + 1, (uint64_t)disk.f_bavail * block / 1000000);
}
