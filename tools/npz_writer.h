/* Zip archives of .npy members, written front to back: sizes and CRC follow each member in a data
 * descriptor, so the output need not seek and a member need not fit memory. A stored member's bytes
 * begin at a multiple of 64, for readers that map them. Times are 1980-01-01, so that equal members
 * give equal archives. zip64 where it is needed. */
#ifndef LLAVA_NPZ_WRITER_H
#define LLAVA_NPZ_WRITER_H

#include "tools/output.h"

typedef struct llava_npz_writer llava_npz_writer;

/* deflate: pack the members. The output stays the caller's, to commit after finish or to abort. */
bool llava_npz_writer_open(llava_npz_writer **writer, llava_output *output, bool deflate,
                           llava_error *e);
/* name: with ".npy". size: the exact number of bytes that will be added. */
bool llava_npz_writer_begin(llava_npz_writer *writer, const char *name, uint64_t size,
                            llava_error *e);
bool llava_npz_writer_add(llava_npz_writer *writer, const uint8_t *bytes, size_t n, llava_error *e);
bool llava_npz_writer_end(llava_npz_writer *writer, llava_error *e);
/* The central directory. Two members of one name are refused here. */
bool llava_npz_writer_finish(llava_npz_writer *writer, llava_error *e);
void llava_npz_writer_close(llava_npz_writer *writer);

/* Bytes that a stored member of that name and size adds to an archive, at most. */
uint64_t llava_npz_member_bytes(const char *name, uint64_t size);

#endif
