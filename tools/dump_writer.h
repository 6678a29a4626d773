/* Dumps out: taps written while the program runs, so a dump may be larger than memory. */
#ifndef LLAVA_DUMP_WRITER_H
#define LLAVA_DUMP_WRITER_H

#include "ref/tap.h"

typedef struct llava_dump_writer llava_dump_writer;

/* A path that ends in '/' becomes a folder of .npy files, anything else an .npz archive ("-": on
 * standard output). deflate: pack the archive's members. meta: the text of the member __meta__,
 * written first; NULL for none. Nothing stands under the final name before commit. */
bool llava_dump_writer_open(llava_dump_writer **writer, const char *path, bool deflate,
                            const char *meta, llava_error *e);
/* Writes one tap; types as contract section 3. After a failure only abort makes sense. */
bool llava_dump_writer_put(llava_dump_writer *writer, const llava_tap *tap, llava_error *e);
/* Both free the writer; abort takes NULL. */
bool llava_dump_writer_commit(llava_dump_writer *writer, llava_error *e);
void llava_dump_writer_abort(llava_dump_writer *writer);

/* The writer as a sink that wants every tap. */
llava_sink llava_dump_writer_sink(llava_dump_writer *writer);

/* Bytes that a tap of that name, type and shape (tap->data is not looked at) adds to a dump that is
 * not deflated, at most; the sum over all taps is the size to announce, and to ask
 * llava_output_room about. */
uint64_t llava_dump_writer_bytes(const llava_tap *tap);

#endif
