/* Output files: written beside the target under a temporary name and renamed when they are whole,
 * so that a partly written file never stands under its final name. Dumps, hashes, JSON and HTML all
 * go through here.
 *
 * "-" is standard output. A target that is a device or a FIFO is written directly. A target that is
 * a regular file keeps its permissions and is replaced in one step (through a symbolic link, the
 * file that it names). Nothing ever seeks. Without fsync: what is written here can be made again,
 * and waiting for the disk would double the time of a dump.
 *
 * The caller must ignore SIGPIPE, or a closed pipe ends the program before the error is seen. */
#ifndef LLAVA_OUTPUT_H
#define LLAVA_OUTPUT_H

#include "ref/error.h"

#include <stdint.h>

typedef struct llava_output llava_output;

bool llava_output_open(llava_output **output, const char *path, llava_error *e);
/* Could it be opened now? Leaves nothing behind. Devices, pipes and folders ("out/") are not tried:
 * the first two would notice, and a folder is made before anything is computed for it. */
bool llava_output_possible(const char *path, llava_error *e);
/* llava_output_open for a file within a folder in the making: messages call it `name`. */
bool llava_output_open_as(llava_output **output, const char *path, const char *name,
                          llava_error *e);
/* Would both be written to one file, under whatever names ("x" and "./x", links, "-" and what
 * standard output is)? Where neither is there yet: one name in one folder. */
bool llava_output_same(const char *one, const char *other, bool *same, llava_error *e);
bool llava_output_write(llava_output *output, const void *bytes, size_t n, llava_error *e);
bool llava_output_print(llava_output *output, llava_error *e, const char *format, ...)
    LLAVA_PRINTF(3, 4);
/* The name for messages: the path as it was given, or "standard output". */
const char *llava_output_name(const llava_output *output);
/* Writes what is held back, closes, renames. Frees output in any case; on failure the temporary
 * file is gone and an older target untouched. */
bool llava_output_commit(llava_output *output, llava_error *e);
/* Removes the temporary file and frees output (NULL is fine). */
void llava_output_abort(llava_output *output);

/* A folder built aside and renamed. The target must not exist, or be an empty folder. */
typedef struct llava_folder llava_folder;

bool llava_folder_open(llava_folder **folder, const char *path, llava_error *e);
/* Where its files are to be written until commit. */
const char *llava_folder_path(const llava_folder *folder);
/* The path as it was given. */
const char *llava_folder_name(const llava_folder *folder);
bool llava_folder_commit(llava_folder *folder, llava_error *e);
void llava_folder_abort(llava_folder *folder);

/* Does the disk that will hold path have room for so many bytes? True for "-", devices and FIFOs.
 * False with a message where it has not. */
bool llava_output_room(const char *path, uint64_t bytes, llava_error *e);

#endif
