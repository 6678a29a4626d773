/* What several tests share: a temporary folder and files in it. A failure ends the test. */
#ifndef LLAVA_TESTS_SUPPORT_H
#define LLAVA_TESTS_SUPPORT_H

#include "ref/error.h"

#include <stddef.h>
#include <stdint.h>

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
/* Copies into the folder what stands in folder `from`, links followed, but names that begin with
 * one of the letters `but`. */
void support_copy(const support_folder *folder, const char *from, const char *but);
/* A safetensors file: the header's length, the header, then n bytes 0, 1, 2, ... */
void support_write_safetensors(const support_folder *folder, const char *name, const char *header,
                               size_t n);

/* The next of a fixed sequence of numbers in [-1, 1), multiples of 2^-31. Same seed, same numbers.
 */
double support_random(uint64_t *seed);

/* LLAVA_TESTS=long, as in .ci/run: the longest sweeps run whole; else a sample of each. */
bool support_long(void);
/* The step through the rows of a sweep: 1 where it runs whole, else `step`, and eight times as much
 * with LLAVA_TESTS=short, where each row takes fifty times as long (valgrind). */
size_t support_step(size_t step);

/* What the rows say of `name` ({name, reason}, count of them); fails where none does. */
const char *support_reason(const char *const (*rows)[2], size_t count, const char *name);

/* Fails unless the message holds `part`, and is one line. */
void support_says(const llava_error *e, const char *part);

#endif
