#include "support.h"

#include "ref/file.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

support_folder support_folder_new(void)
{
    const char *base = getenv("TMPDIR");
    support_folder folder;
    int n = snprintf(folder.path, sizeof folder.path, "%s/llava-ref-test-XXXXXX",
                     base == NULL || base[0] == '\0' ? "/tmp" : base);
    assert_true(n > 0 && (size_t)n < sizeof folder.path);
    assert_non_null(mkdtemp(folder.path));
    return folder;
}

static void remove_tree(const char *path)
{
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        DIR *listing = opendir(path);
        assert_non_null(listing);
        for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
            char inner[1024];
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                int n = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
                assert_true(n > 0 && (size_t)n < sizeof inner);
                remove_tree(inner);
            }
        }
        closedir(listing);
    }
    assert_int_equal(remove(path), 0);
}

void support_folder_remove(const support_folder *folder)
{
    remove_tree(folder->path);
}

static bool tests_are(const char *word)
{
    const char *tests = getenv("LLAVA_TESTS");
    return tests != NULL && strcmp(tests, word) == 0;
}

bool support_long(void)
{
    return tests_are("long");
}

size_t support_step(size_t step)
{
    return support_long() ? 1 : tests_are("short") ? 8 * step : step;
}

const char *support_path(const support_folder *folder, const char *name)
{
    static char paths[4][1024];
    static unsigned next;
    char *path = paths[next++ % 4];
    int n = snprintf(path, sizeof paths[0], "%s/%s", folder->path, name);
    assert_true(n > 0 && (size_t)n < sizeof paths[0]);
    return path;
}

void support_write(const support_folder *folder, const char *name, const void *bytes, size_t n)
{
    /* a new file: ext4 puts one that was cut to nothing and filled again on the disk at once */
    unlink(support_path(folder, name));
    FILE *file = fopen(support_path(folder, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

void support_write_text(const support_folder *folder, const char *name, const char *text)
{
    support_write(folder, name, text, strlen(text));
}

static void copy_file(const char *from, const char *to)
{
    llava_file file;
    llava_error e;
    if (!llava_file_map(&file, from, &e)) {
        fail_msg("%s", e.text);
    }
    FILE *copy = fopen(to, "wb");
    assert_non_null(copy);
    assert_int_equal(fwrite(file.bytes, 1, file.size, copy), file.size);
    assert_int_equal(fclose(copy), 0);
    llava_file_unmap(&file);
}

static void copy_folder(const char *from, const char *to, const char *but)
{
    DIR *listing = opendir(from);
    assert_non_null(listing);
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char source[1024], target[1024];
        struct stat status;
        if (entry->d_name[0] == '.' || strchr(but, entry->d_name[0]) != NULL) {
            continue;
        }
        int n = snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        int m = snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        assert_true(n > 0 && m > 0 && (size_t)n < sizeof source && (size_t)m < sizeof target);
        assert_int_equal(stat(source, &status), 0);
        if (S_ISDIR(status.st_mode)) {
            assert_int_equal(mkdir(target, 0777), 0);
            copy_folder(source, target, "");
        } else {
            copy_file(source, target);
        }
    }
    closedir(listing);
}

void support_copy(const support_folder *folder, const char *from, const char *but)
{
    copy_folder(from, folder->path, but);
}

void support_write_safetensors(const support_folder *folder, const char *name, const char *header,
                               size_t n)
{
    size_t length = strlen(header);
    uint8_t *bytes = calloc(8 + length + n, 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    }
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < n; i++) {
        bytes[8 + length + i] = (uint8_t)i;
    }
    support_write(folder, name, bytes, 8 + length + n);
    free(bytes);
}

double support_random(uint64_t *seed)
{
    *seed =
        *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407); /* Knuth's MMIX */
    return (double)(*seed >> 32) / 2147483648.0 - 1;
}

void support_says(const llava_error *e, const char *part)
{
    if (strstr(e->text, part) == NULL || strchr(e->text, '\n') != NULL) {
        fail_msg("the message is '%s', not '...%s...'", e->text, part);
    }
}

const char *support_reason(const char *const (*rows)[2], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i][0], name) == 0) {
            return rows[i][1];
        }
    }
    fail_msg("no reason stands here for %s", name);
    return "";
}
