/* The names of a dump's members: what a name may be, and finding one among many. */
#ifndef LLAVA_NAMES_H
#define LLAVA_NAMES_H

#include "ref/error.h"

#include <stdint.h>

/* Room for a name as a message shows it. */
#define LLAVA_SHOWN 200

/* A name for a message: control characters as \xHH, at most LLAVA_SHOWN - 1 bytes ("..." where it
 * was longer). The name may hold any n bytes. Returns out. */
const char *llava_shown(char out[LLAVA_SHOWN], const char *name, size_t n);

/* May a file member be called so? Valid UTF-8, not empty, no NUL, no path ('/', '\\', "." and
 * ".."). The message is "NAME: what", without a file. */
bool llava_name_check(const char *name, size_t n, llava_error *e);

/* Names in sorted order, for finding one in O(log n). */
typedef struct {
    const char *name;
    size_t index; /* as it was given */
} llava_named;

/* Sorts by name (bytes compared). Returns the first name that is there twice, or NULL. */
const char *llava_names_sort(llava_named *names, size_t n);
/* The entry of that name, or NULL. */
const llava_named *llava_names_find(const llava_named *names, size_t n, const char *name);

#endif
