/* A dump opened for reading: an .npz archive, a folder of .npy files, or a .safetensors file.
 *
 * A tensor may be larger than memory: llava_dump_read gives any stretch of it. Stored members,
 * files and safetensors are mapped and not copied. No value of an archive's member is handed out
 * before the member's CRC has been checked over the whole of it. */
#ifndef LLAVA_DUMP_H
#define LLAVA_DUMP_H

#include "tools/array.h"

/* The member that describes the run: a u8 array with JSON text. No tensor of the dump. */
#define LLAVA_DUMP_META "__meta__"
/* A longer description is refused. */
#define LLAVA_DUMP_META_LONGEST ((size_t)16 * 1024 * 1024)

typedef struct llava_dump llava_dump;

/* One tensor. Its name is the member's or file's without ".npy". */
typedef struct {
    const char *name;
    llava_array array; /* type, rank, shape, count */
} llava_dump_entry;

/* Opens path and reads every tensor's header. The kind is seen from the content, not the name. In a
 * folder only files whose names end in .npy count. */
bool llava_dump_open(llava_dump **dump, const char *path, llava_error *e);
void llava_dump_close(llava_dump *dump);

const char *llava_dump_path(const llava_dump *dump);
/* The tensors: in the archive's order; a folder's by name; a safetensors file's by offset. */
size_t llava_dump_count(const llava_dump *dump);
const llava_dump_entry *llava_dump_at(const llava_dump *dump, size_t i);
/* By name, or NULL. */
const llava_dump_entry *llava_dump_find(const llava_dump *dump, const char *name);
/* The text of __meta__ and a NUL, or NULL where there is none. Not yet parsed as JSON. */
const char *llava_dump_meta(const llava_dump *dump);
/* A string member of such a text, copied (free() it); NULL where there is none, nor JSON that it
 * could stand in. path: of the dump. False: no memory, and it may be there. */
bool llava_dump_meta_string(const char *path, const char *meta, const char *key, char **value,
                            llava_error *e);

/* Elements first .. first+n-1 in C order, whatever the file's order and byte order. To double:
 * every type; an integer beyond 2^53 is refused. To int64_t: integers and booleans only. Going
 * forward through one tensor is fast, also where it is deflated; going back inflates it again. */
bool llava_dump_read(llava_dump *dump, const llava_dump_entry *entry, size_t first, size_t n,
                     double *values, llava_error *e);
bool llava_dump_read_integers(llava_dump *dump, const llava_dump_entry *entry, size_t first,
                              size_t n, int64_t *values, llava_error *e);
/* The whole tensor in new memory. */
bool llava_dump_load(llava_dump *dump, const llava_dump_entry *entry, double **values,
                     llava_error *e);
bool llava_dump_load_integers(llava_dump *dump, const llava_dump_entry *entry, int64_t **values,
                              llava_error *e);

/* Where the tensor's elements begin, from the start of the file (in a folder: of its own); they lie
 * there as they are and may be mapped. false: deflated. */
bool llava_dump_place(const llava_dump *dump, const llava_dump_entry *entry, size_t *offset);
/* One archive? Its members may be stored or deflated. */
bool llava_dump_is_archive(const llava_dump *dump);

/* Writes "DUMP: TENSOR: what" and returns false. */
bool llava_dump_fail(const llava_dump *dump, const llava_dump_entry *entry, const char *what,
                     llava_error *e);

#endif
