/* Zip archives of .npy members, read: what numpy.savez, numpy.savez_compressed and this program
 * write. (PKWARE's APPNOTE 6.3.)
 *
 * Reading is strict, because an archive that two readers understand differently is a way to hide
 * something. Accepted: stored and deflated members, zip64, data descriptors, a comment at the end.
 * Refused: duplicate names, names that are not UTF-8 or hold a NUL or a path, encryption, other
 * methods, several disks, a member whose local header disagrees with the central one, members that
 * overlap, bytes that belong to no member, sizes and CRCs that are wrong. */
#ifndef LLAVA_NPZ_H
#define LLAVA_NPZ_H

#include "ref/file.h"

typedef struct {
    char *name; /* as in the archive, with ".npy" */
    bool deflated;
    uint32_t crc; /* of the inflated bytes */
    size_t size;  /* inflated; never more than deflate can make of the packed bytes */
    size_t packed;
    const uint8_t *bytes; /* [packed], in the mapped file: the member itself where it is stored */
} llava_npz_member;

typedef struct {
    char *path;
    llava_file file;
    size_t count;
    llava_npz_member *members; /* in the order of the central directory */
} llava_npz;

/* Maps the archive and checks its directory and every local header, not yet the members' bytes. On
 * failure nothing is left to close. Duplicate names are the caller's to find (it sorts the names
 * anyway). */
bool llava_npz_open(llava_npz *archive, const char *path, llava_error *e);
void llava_npz_close(llava_npz *archive);

/* Writes "FILE: MEMBER: what" and returns false. */
bool llava_npz_fail(const llava_npz *archive, const llava_npz_member *member, const char *what,
                    llava_error *e);

/* A deflated member's bytes from first to last. With the last byte, the stream checks that the
 * deflate stream ends there, that it used all packed bytes, and the CRC. */
typedef struct llava_npz_stream llava_npz_stream;

bool llava_npz_stream_open(llava_npz_stream **stream, const llava_npz *archive,
                           const llava_npz_member *member, llava_error *e);
/* The next n bytes (at most what is left) to out; where out is NULL they are passed over. */
bool llava_npz_stream_read(llava_npz_stream *stream, uint8_t *out, size_t n, llava_error *e);
size_t llava_npz_stream_offset(const llava_npz_stream *stream);
void llava_npz_stream_close(llava_npz_stream *stream);

/* Reads the whole member once, keeping nothing: sizes and CRC. */
bool llava_npz_verify(const llava_npz *archive, const llava_npz_member *member, llava_error *e);

#endif
