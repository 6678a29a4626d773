#define ZLIB_CONST
#include "tools/npz.h"

#include "tools/crc.h"
#include "tools/names.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Signatures and sizes without names, extra fields and comments (APPNOTE 4.3.7 to 4.3.16). */
#define LOCAL_SIGNATURE      UINT32_C(0x04034b50)
#define DESCRIPTOR_SIGNATURE UINT32_C(0x08074b50)
#define CENTRAL_SIGNATURE    UINT32_C(0x02014b50)
#define END_SIGNATURE        UINT32_C(0x06054b50)
#define END64_SIGNATURE      UINT32_C(0x06064b50)
#define LOCATOR_SIGNATURE    UINT32_C(0x07064b50)
#define CENTRAL_SIZE         46
#define END_SIZE             22
#define END64_SIZE           56
#define LOCATOR_SIZE         20
#define LONGEST_COMMENT      65535

#define FULL16 UINT16_C(0xffff)
#define FULL32 UINT32_C(0xffffffff) /* "see the zip64 field" */

#define FLAG_ENCRYPTED  0x0001
#define FLAG_LEVEL      0x0006 /* how hard deflate tried: says nothing to a reader */
#define FLAG_DESCRIPTOR 0x0008
#define FLAG_UTF8       0x0800

#define STORED   0
#define DEFLATED 8
/* Deflate's best: 258 bytes from two bits. */
#define BEST_RATIO 1032

#define PORTION ((size_t)64 * 1024) /* that zlib, which counts in unsigned int, gets at a time */

/* The directory: where it lies and how many members it lists. */
typedef struct {
    uint64_t start, size, count;
} directory;

/* What local and central header share. */
typedef struct {
    uint16_t flags, method;
    uint32_t crc;
    uint64_t packed, size, offset;
    const uint8_t *name;
    size_t name_size;
} record;

/* Where a member lies. */
typedef struct {
    uint64_t offset;
    size_t index;
} place;

/* ---- the end of the archive ---- */

static bool damaged(const llava_npz *archive, const char *what, llava_error *e)
{
    return llava_fail(e, "%s: %s", archive->path, what);
}

/* The last record whose comment reaches exactly to the end of the file. */
static bool find_end(const llava_npz *archive, size_t *end, llava_error *e)
{
    const size_t size = archive->file.size;
    llava_cursor c = llava_cursor_over(archive->file.bytes, size);
    for (size_t back = END_SIZE; back <= size && back <= END_SIZE + LONGEST_COMMENT; back++) {
        llava_cursor_seek(&c, size - back);
        if (llava_cursor_u32(&c) == END_SIGNATURE) {
            llava_cursor_seek(&c, size - back + END_SIZE - 2);
            if (llava_cursor_u16(&c) == back - END_SIZE) {
                *end = size - back;
                return true;
            }
        }
    }
    return damaged(archive, "not a zip archive, or cut off (no end record)", e);
}

/* The zip64 record where there is one. *end: where the directory must end. */
static bool read_end64(const llava_npz *archive, size_t *end, directory *d, bool *found,
                       llava_error *e)
{
    llava_cursor c = llava_cursor_over(archive->file.bytes, *end);
    /* where less stands in front of it, this wraps around, and lies behind the end */
    *found =
        llava_cursor_seek(&c, *end - LOCATOR_SIZE) && llava_cursor_u32(&c) == LOCATOR_SIGNATURE;
    if (!*found) {
        return true;
    }
    const uint32_t disk = llava_cursor_u32(&c);
    const uint64_t offset = llava_cursor_u64(&c);
    const uint32_t disks = llava_cursor_u32(&c);
    if (disk != 0 || disks > 1 || offset > *end) {
        return damaged(archive, "the zip64 end record is damaged", e);
    }
    llava_cursor_seek(&c, (size_t)offset);
    if (llava_cursor_u32(&c) != END64_SIGNATURE ||
        llava_cursor_u64(&c) != *end - LOCATOR_SIZE - 12 - offset) {
        return damaged(archive, "the zip64 end record is damaged", e);
    }
    llava_cursor_take(&c, 4); /* versions */
    const uint32_t this_disk = llava_cursor_u32(&c), first_disk = llava_cursor_u32(&c);
    const uint64_t here = llava_cursor_u64(&c);
    d->count = llava_cursor_u64(&c);
    d->size = llava_cursor_u64(&c);
    d->start = llava_cursor_u64(&c);
    if (c.bad || llava_cursor_offset(&c) > *end - LOCATOR_SIZE || this_disk != 0 ||
        first_disk != 0 || here != d->count) {
        return damaged(archive, "the zip64 end record is damaged", e);
    }
    *end = (size_t)offset;
    return true;
}

/* A field of the short record must be full (see zip64) or say the same. */
static bool agrees(uint64_t value, uint64_t full, uint64_t wide)
{
    return value == full || value == wide;
}

static bool find_directory(const llava_npz *archive, directory *d, llava_error *e)
{
    size_t end = 0;
    bool wide;
    if (!find_end(archive, &end, e)) {
        return false;
    }
    llava_cursor c = llava_cursor_over(archive->file.bytes, archive->file.size);
    llava_cursor_seek(&c, end + 4);
    const uint16_t disk = llava_cursor_u16(&c), first_disk = llava_cursor_u16(&c);
    const uint16_t here = llava_cursor_u16(&c), count = llava_cursor_u16(&c);
    const uint32_t size = llava_cursor_u32(&c), start = llava_cursor_u32(&c);
    *d = (directory){.start = start, .size = size, .count = count};
    if (!read_end64(archive, &end, d, &wide, e)) {
        return false;
    }
    const bool one_disk = wide ? agrees(disk, FULL16, 0) && agrees(first_disk, FULL16, 0)
                               : disk == 0 && first_disk == 0;
    if (!one_disk || here != count) {
        return damaged(archive, "archives of several disks are not supported", e);
    }
    if (!agrees(count, FULL16, d->count) || !agrees(size, FULL32, d->size) ||
        !agrees(start, FULL32, d->start)) {
        return damaged(archive, "the end record and its zip64 record disagree", e);
    }
    if (d->start > end || d->size != end - d->start || d->count > d->size / CENTRAL_SIZE) {
        return damaged(archive, "the directory does not end at the end record", e);
    }
    return true;
}

/* ---- headers ---- */

/* Replaces the full ones of three 32-bit values by the zip64 extra field's (4.5.3). False where
 * the field is needed and missing, damaged, or there twice. */
static bool widen(llava_cursor extra, uint64_t *const values[3])
{
    bool needed = false, found = false;
    for (int i = 0; i < 3; i++) {
        needed = needed || *values[i] == FULL32;
    }
    while (needed && llava_cursor_left(&extra) > 0) {
        const uint16_t id = llava_cursor_u16(&extra), size = llava_cursor_u16(&extra);
        const uint8_t *field = llava_cursor_take(&extra, size);
        if (extra.bad || (id == 1 && found)) {
            return false;
        }
        if (id == 1) {
            found = true;
            llava_cursor c = llava_cursor_over(field, size);
            for (int i = 0; i < 3; i++) {
                *values[i] = *values[i] == FULL32 ? llava_cursor_u64(&c) : *values[i];
            }
            if (c.bad) {
                return false;
            }
        }
    }
    return found || !needed;
}

/* flags, method, time, date, crc, packed, size: alike in both headers. */
static void read_common(llava_cursor *c, record *r)
{
    r->flags = llava_cursor_u16(c);
    r->method = llava_cursor_u16(c);
    llava_cursor_take(c, 4);
    r->crc = llava_cursor_u32(c);
    r->packed = llava_cursor_u32(c);
    r->size = llava_cursor_u32(c);
    r->name_size = llava_cursor_u16(c);
}

/* One entry of the directory. Returns what is wrong, or NULL. */
static const char *read_central(llava_cursor *c, record *r)
{
    if (llava_cursor_u32(c) != CENTRAL_SIGNATURE) {
        return "the directory is damaged";
    }
    llava_cursor_take(c, 4); /* versions */
    read_common(c, r);
    const uint16_t extra_size = llava_cursor_u16(c), comment_size = llava_cursor_u16(c);
    const uint16_t disk = llava_cursor_u16(c);
    llava_cursor_take(c, 6); /* attributes */
    r->offset = llava_cursor_u32(c);
    r->name = llava_cursor_take(c, r->name_size);
    const uint8_t *extra = llava_cursor_take(c, extra_size);
    llava_cursor_take(c, comment_size);
    if (c->bad) {
        return "the directory is damaged";
    }
    if (disk != 0) {
        return "archives of several disks are not supported";
    }
    uint64_t *const values[3] = {&r->size, &r->packed, &r->offset};
    return widen(llava_cursor_over(extra, extra_size), values)
               ? NULL
               : "a member's zip64 field is missing or damaged";
}

/* The header in front of a member's bytes. Returns what is wrong, or NULL. */
static const char *read_local(llava_cursor *c, record *r)
{
    if (llava_cursor_u32(c) != LOCAL_SIGNATURE) {
        return "no local header where the directory says, or members overlap";
    }
    llava_cursor_take(c, 2); /* version */
    read_common(c, r);
    const uint16_t extra_size = llava_cursor_u16(c);
    r->name = llava_cursor_take(c, r->name_size);
    const uint8_t *extra = llava_cursor_take(c, extra_size);
    uint64_t none = 0;
    uint64_t *const values[3] = {&r->size, &r->packed, &none};
    if (c->bad || !widen(llava_cursor_over(extra, extra_size), values)) {
        return "the local header is damaged, or members overlap";
    }
    return NULL;
}

/* Can this member be read at all? Returns what is wrong, or NULL. */
static const char *check_member(const record *r)
{
    if ((r->flags & FLAG_ENCRYPTED) != 0) {
        return "encrypted members are not supported";
    }
    if (r->method != STORED && r->method != DEFLATED) {
        return "this compression is not supported (only stored and deflated)";
    }
    if ((r->flags & ~(FLAG_LEVEL | FLAG_DESCRIPTOR | FLAG_UTF8)) != 0) {
        return "flags that are not supported";
    }
    if ((r->flags & FLAG_UTF8) == 0) {
        for (size_t i = 0; i < r->name_size; i++) {
            if (r->name[i] >= 0x80) {
                return "the name is not marked as UTF-8";
            }
        }
    }
    if (r->method == STORED && r->packed != r->size) {
        return "a stored member has two sizes";
    }
    if (r->size / BEST_RATIO > r->packed) {
        return "more inflated bytes promised than deflate can make";
    }
    return NULL;
}

/* With a descriptor the local header may leave crc and sizes at zero. */
static bool headers_agree(const record *central, const record *local)
{
    const bool later = (central->flags & FLAG_DESCRIPTOR) != 0;
    return central->flags == local->flags && central->method == local->method &&
           central->name_size == local->name_size &&
           memcmp(central->name, local->name, central->name_size) == 0 &&
           (central->crc == local->crc || (later && local->crc == 0)) &&
           (central->packed == local->packed || (later && local->packed == 0)) &&
           (central->size == local->size || (later && local->size == 0));
}

/* What stands between a member's bytes and what follows: nothing, or its descriptor, which comes
 * with or without a signature and in two widths (4.3.9). */
static bool descriptor_agrees(const record *r, const uint8_t *bytes, size_t n)
{
    if ((r->flags & FLAG_DESCRIPTOR) == 0) {
        return n == 0;
    }
    llava_cursor c = llava_cursor_over(bytes, n);
    if (n % 8 == 0 && llava_cursor_u32(&c) != DESCRIPTOR_SIGNATURE) {
        return false;
    }
    const bool wide = n >= 20;
    const uint32_t crc = llava_cursor_u32(&c);
    const uint64_t packed = wide ? llava_cursor_u64(&c) : llava_cursor_u32(&c);
    const uint64_t size = wide ? llava_cursor_u64(&c) : llava_cursor_u32(&c);
    return !c.bad && llava_cursor_left(&c) == 0 && crc == r->crc && packed == r->packed &&
           size == r->size;
}

/* ---- opening ---- */

static int compare_places(const void *a, const void *b)
{
    const uint64_t x = ((const place *)a)->offset, y = ((const place *)b)->offset;
    return x < y ? -1 : x > y;
}

bool llava_npz_fail(const llava_npz *archive, const llava_npz_member *member, const char *what,
                    llava_error *e)
{
    char shown[LLAVA_SHOWN];
    return llava_fail(e, "%s: %s: %s", archive->path,
                      llava_shown(shown, member->name, strlen(member->name)), what);
}

static bool add_member(llava_npz *archive, const record *r, llava_error *e)
{
    if (!llava_name_check((const char *)r->name, r->name_size, e)) {
        return llava_fail_in(e, archive->path);
    }
    llava_npz_member *member = &archive->members[archive->count];
    member->name = llava_text(e, (const char *)r->name, r->name_size);
    if (member->name == NULL) {
        return false;
    }
    archive->count++;
    member->deflated = r->method == DEFLATED;
    member->crc = r->crc;
    member->size = (size_t)r->size;
    member->packed = (size_t)r->packed;
    const char *wrong = check_member(r);
    return wrong == NULL || llava_npz_fail(archive, member, wrong, e);
}

static bool read_directory(llava_npz *archive, const directory *d, record *records, place *places,
                           llava_error *e)
{
    llava_cursor c = llava_cursor_over(archive->file.bytes + d->start, (size_t)d->size);
    for (size_t i = 0; i < d->count; i++) {
        const char *wrong = read_central(&c, &records[i]);
        if (wrong != NULL) {
            return damaged(archive, wrong, e);
        }
        if (!add_member(archive, &records[i], e)) {
            return false;
        }
        places[i] = (place){.offset = records[i].offset, .index = i};
    }
    return llava_cursor_left(&c) == 0 || damaged(archive, "the directory is damaged", e);
}

/* The member at the cursor; it must fill everything up to the cursor's end. */
static bool read_member(llava_npz *archive, llava_npz_member *member, const record *central,
                        llava_cursor *c, llava_error *e)
{
    record local;
    const char *wrong = read_local(c, &local);
    if (wrong != NULL) {
        return llava_npz_fail(archive, member, wrong, e);
    }
    if (!headers_agree(central, &local)) {
        return llava_npz_fail(archive, member, "local header and directory disagree", e);
    }
    member->bytes = llava_cursor_take(c, (size_t)central->packed);
    if (member->bytes == NULL) {
        return llava_npz_fail(archive, member, "the member is cut off, or members overlap", e);
    }
    const size_t rest = llava_cursor_left(c);
    if (!descriptor_agrees(central, llava_cursor_take(c, rest), rest)) {
        return llava_npz_fail(archive, member,
                              "the bytes behind the member are not what the directory says", e);
    }
    return true;
}

/* Members and directory must tile the file: no hole, no overlap. */
static bool read_members(llava_npz *archive, const directory *d, const record *records,
                         place *places, llava_error *e)
{
    qsort(places, archive->count, sizeof *places, compare_places);
    const uint64_t first = archive->count > 0 ? places[0].offset : d->start;
    if (first != 0) {
        return damaged(archive, "bytes in front of the first member", e);
    }
    for (size_t i = 0; i < archive->count; i++) {
        const uint64_t next = i + 1 < archive->count ? places[i + 1].offset : d->start;
        if (next > d->start) {
            return damaged(archive, "a member begins behind the directory", e);
        }
        llava_cursor c = llava_cursor_over(archive->file.bytes, (size_t)next);
        llava_cursor_seek(&c, (size_t)places[i].offset);
        const size_t index = places[i].index;
        if (!read_member(archive, &archive->members[index], &records[index], &c, e)) {
            return false;
        }
    }
    return true;
}

static bool read_archive(llava_npz *archive, llava_error *e)
{
    directory d;
    if (!find_directory(archive, &d, e)) {
        return false;
    }
    const size_t count = (size_t)d.count; /* at most the file's size / 46 */
    archive->members = llava_alloc(e, count, sizeof *archive->members);
    record *records = llava_alloc(e, count, sizeof *records);
    place *places = llava_alloc(e, count, sizeof *places);
    const bool ok = archive->members != NULL && records != NULL && places != NULL &&
                    read_directory(archive, &d, records, places, e) &&
                    read_members(archive, &d, records, places, e);
    free(records);
    free(places);
    return ok;
}

bool llava_npz_open(llava_npz *archive, const char *path, llava_error *e)
{
    *archive = (llava_npz){0};
    archive->path = llava_text(e, path, strlen(path));
    if (archive->path == NULL || !llava_file_map(&archive->file, path, e) ||
        !read_archive(archive, e)) {
        llava_npz_close(archive);
        return false;
    }
    return true;
}

void llava_npz_close(llava_npz *archive)
{
    for (size_t i = 0; i < archive->count; i++) {
        free(archive->members[i].name);
    }
    free(archive->members);
    free(archive->path);
    llava_file_unmap(&archive->file);
    *archive = (llava_npz){0};
}

/* ---- a member's bytes ---- */

struct llava_npz_stream {
    const llava_npz *archive;
    const llava_npz_member *member;
    z_stream z;
    size_t unfed;  /* packed bytes that zlib has not been given */
    size_t offset; /* inflated bytes given out */
    uint32_t crc;
    bool started, ended;
    uint8_t scratch[PORTION];
};

bool llava_npz_stream_open(llava_npz_stream **stream, const llava_npz *archive,
                           const llava_npz_member *member, llava_error *e)
{
    llava_npz_stream *s = llava_alloc(e, 1, sizeof *s);
    if (s == NULL) {
        return false;
    }
    s->archive = archive;
    s->member = member;
    s->unfed = member->packed;
    s->z.next_in = member->bytes;
    s->crc = 0;
    s->started = inflateInit2(&s->z, -MAX_WBITS) == Z_OK; /* negative: no zlib header */
    if (!s->started) {
        llava_npz_stream_close(s);
        return llava_npz_fail(archive, member, "out of memory", e);
    }
    *stream = s;
    return true;
}

void llava_npz_stream_close(llava_npz_stream *stream)
{
    if (stream != NULL && stream->started) {
        inflateEnd(&stream->z);
    }
    free(stream);
}

size_t llava_npz_stream_offset(const llava_npz_stream *stream)
{
    return stream->offset;
}

/* Inflates up to n bytes to out; *made of them came. */
static bool inflate_some(llava_npz_stream *s, uint8_t *out, size_t n, size_t *made, llava_error *e)
{
    if (s->z.avail_in == 0) {
        s->z.avail_in = (uInt)(s->unfed < PORTION ? s->unfed : PORTION);
        s->unfed -= s->z.avail_in;
    }
    const uInt room = (uInt)(n < PORTION ? n : PORTION);
    s->z.next_out = out;
    s->z.avail_out = room;
    const int status = inflate(&s->z, Z_NO_FLUSH);
    *made = room - s->z.avail_out;
    s->ended = status == Z_STREAM_END;
    if (status == Z_OK || s->ended) {
        return true;
    }
    return llava_npz_fail(s->archive, s->member,
                          status == Z_BUF_ERROR   ? "the deflated bytes are cut off"
                          : status == Z_MEM_ERROR ? "out of memory"
                                                  : "the deflated bytes are damaged",
                          e);
}

/* All bytes are out: the deflate stream must end here, the packed bytes too. */
static bool finish_stream(llava_npz_stream *s, llava_error *e)
{
    while (!s->ended) {
        size_t made;
        if (!inflate_some(s, s->scratch, 1, &made, e)) {
            return false;
        }
        if (made > 0) {
            return llava_npz_fail(s->archive, s->member, "more inflated bytes than promised", e);
        }
    }
    if (s->unfed + s->z.avail_in > 0) {
        return llava_npz_fail(s->archive, s->member, "bytes behind the deflated ones", e);
    }
    if (s->crc != s->member->crc) {
        return llava_npz_fail(s->archive, s->member, "the CRC is wrong", e);
    }
    return true;
}

bool llava_npz_stream_read(llava_npz_stream *s, uint8_t *out, size_t n, llava_error *e)
{
    while (n > 0) {
        uint8_t *to = out != NULL ? out : s->scratch;
        const size_t room = out != NULL || n < PORTION ? n : PORTION;
        size_t made;
        if (s->ended) {
            return llava_npz_fail(s->archive, s->member, "fewer inflated bytes than promised", e);
        }
        if (!inflate_some(s, to, room, &made, e)) {
            return false;
        }
        s->crc = llava_crc32(s->crc, to, made);
        s->offset += made;
        n -= made;
        out = out != NULL ? out + made : NULL;
    }
    return s->offset < s->member->size || finish_stream(s, e);
}

bool llava_npz_verify(const llava_npz *archive, const llava_npz_member *member, llava_error *e)
{
    llava_npz_stream *stream = NULL; /* gcc -O3 does not see that open sets it */
    if (!member->deflated) {
        return llava_crc32(0, member->bytes, member->size) == member->crc ||
               llava_npz_fail(archive, member, "the CRC is wrong", e);
    }
    const bool ok = llava_npz_stream_open(&stream, archive, member, e);
    if (!ok) {
        return false;
    }
    const bool read = llava_npz_stream_read(stream, NULL, member->size, e);
    llava_npz_stream_close(stream);
    return read;
}
