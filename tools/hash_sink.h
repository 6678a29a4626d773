/* --hash: one line per tap, in the order of the flow:
 *     sha256  name  dtype  shape
 * over the tap's raw little-endian bytes in C order, in the type that a dump would have (so the
 * lines of two builds are equal when, and only when, their dumps are). */
#ifndef LLAVA_HASH_SINK_H
#define LLAVA_HASH_SINK_H

#include "ref/tap.h"
#include "tools/sha256.h"

typedef struct llava_hash llava_hash;

/* path "-" is standard output; a file is written beside and renamed by commit. */
bool llava_hash_open(llava_hash **hash, const char *path, llava_error *e);
bool llava_hash_put(llava_hash *hash, const llava_tap *tap, llava_error *e);
/* Both free the hash; abort takes NULL. */
bool llava_hash_commit(llava_hash *hash, llava_error *e);
void llava_hash_abort(llava_hash *hash);

/* The checksum alone, as text. */
void llava_tap_sha256(const llava_tap *tap, char digest[LLAVA_SHA256_TEXT]);

/* As a sink that wants every tap. */
llava_sink llava_hash_sink(llava_hash *hash);

#endif
