/* What several tests share: a temporary folder and files in it. A failure ends the test. */
#ifndef LLAVA_TESTS_SUPPORT_H
#define LLAVA_TESTS_SUPPORT_H

#include <stddef.h>

typedef struct {
    char path[256];
} support_folder;

/* A new empty folder below TMPDIR (or /tmp). */
support_folder support_folder_new(void);
/* Removes it with everything in it. */
void support_folder_remove(const support_folder *folder);

/* folder/name. The text lies in a buffer that the fourth next call overwrites. */
const char *support_path(const support_folder *folder, const char *name);
/* Writes (replaces) folder/name. */
void support_write(const support_folder *folder, const char *name, const void *bytes, size_t n);
void support_write_text(const support_folder *folder, const char *name, const char *text);

#endif
