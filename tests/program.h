/* Running the program as a user does: a shell command in a folder, its output and exit status. */
#ifndef LLAVA_TESTS_PROGRAM_H
#define LLAVA_TESTS_PROGRAM_H

#include "tests/support.h"

typedef struct {
    int status;      /* exit status; 128 + the signal's number where one ended it */
    char *out, *err; /* NUL-terminated; free with program_free */
    size_t out_size;
} program_result;

/* Runs a POSIX shell command in the folder. "$LLAVA" is the program (the environment's LLAVA_REF,
 * else build/llava-ref), "$GOLDEN" the folder golden/. A command that takes a minute is ended. */
program_result program_run(const support_folder *folder, const char *command);
void program_free(program_result *result);

/* What is wrong with a refusal, or NULL: exit status 2, nothing on standard output, nothing but
 * warnings and then one line "llava-ref: ...says..." on stderr. */
const char *program_refusal(const program_result *result, const char *says);

/* Writes an inputs file (.npz) from a description:
 *     "input_ids <i8 [1,4] 1 57*2 9; labels <i8 [1,4] -100*4"
 * Each member: name, NumPy's type, shape, values with repetitions. A type that is not a plain
 * number ("|O") gets zero bytes. */
void program_write_inputs(const support_folder *folder, const char *name, const char *description);

/* Replaces the first `from` in folder/name by `to`; `from` must be there. In a .safetensors file
 * the header's length is kept true. */
void program_edit(const support_folder *folder, const char *name, const char *from, const char *to);

/* Is there a file or folder in `folder` whose name begins so? */
bool program_leaves(const support_folder *folder, const char *start);

#endif
