#include "support.h"

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

bool support_long(void)
{
    const char *tests = getenv("LLAVA_TESTS");
    return tests != NULL && strcmp(tests, "long") == 0;
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
    FILE *file = fopen(support_path(folder, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

void support_write_text(const support_folder *folder, const char *name, const char *text)
{
    support_write(folder, name, text, strlen(text));
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
