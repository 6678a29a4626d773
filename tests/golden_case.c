#include "golden_case.h"

#include "ref/file.h"
#include "ref/jpeg.h"
#include "tools/command.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int is_case(const struct dirent *entry)
{
    char path[512];
    snprintf(path, sizeof path, "golden/%s/case.json", entry->d_name);
    return entry->d_name[0] != '.' && llava_file_exists(path);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

bool golden_readable(const char *folder)
{
    char path[600];
    llava_file file;
    llava_error e;
    snprintf(path, sizeof path, "%s/case.json", folder);
    assert_true(llava_file_map(&file, path, &e));
    bool jpeg = false;
    for (size_t i = 0; !jpeg && i + 4 <= file.size; i++) {
        jpeg = memcmp(file.bytes + i, ".jpg", 4) == 0;
    }
    llava_file_unmap(&file);
    return !jpeg || llava_jpeg_available();
}

size_t golden_each(void (*each)(void *self, const char *folder), void *self)
{
    struct dirent **entries;
    int count = scandir("golden", &entries, is_case, by_bytes);
    for (int i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, "golden/%s", entries[i]->d_name);
        if (golden_readable(path)) {
            each(self, path);
        } else {
            print_message("%s: left out, this build reads no JPEG\n", path);
        }
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
    return count < 0 ? 0 : (size_t)count;
}

int golden_words(const cJSON *json, char *const more[], char *words[GOLDEN_WORDS])
{
    int count = 0;
    const cJSON *word;
    cJSON_ArrayForEach(word, cJSON_GetObjectItemCaseSensitive(json, "arguments"))
    {
        assert_true(count < GOLDEN_WORDS - 16);
        words[count++] = word->valuestring;
    }
    for (int i = 0; more[i] != NULL; i++) {
        assert_true(count < GOLDEN_WORDS);
        words[count++] = more[i];
    }
    return count;
}

int golden_run(int count, char **words, const char *to, llava_error *e)
{
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(to, "w", stdout));
    int status = llava_command_run.run(count, words, e);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    return status;
}
