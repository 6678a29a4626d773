#define ZLIB_CONST
#include "tools/npz_writer.h"

#include "tools/crc.h"
#include "tools/names.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define LOCAL_SIGNATURE      UINT32_C(0x04034b50)
#define DESCRIPTOR_SIGNATURE UINT32_C(0x08074b50)
#define CENTRAL_SIGNATURE    UINT32_C(0x02014b50)
#define END_SIGNATURE        UINT32_C(0x06054b50)
#define END64_SIGNATURE      UINT32_C(0x06064b50)
#define LOCATOR_SIGNATURE    UINT32_C(0x07064b50)

#define FULL16 UINT16_C(0xffff)
#define FULL32 UINT32_C(0xffffffff)
/* From this size on a member gets zip64 sizes: deflate may make bytes a little longer. */
#define WIDE_SIZE UINT64_C(0xf0000000)

#define FLAGS     0x0808 /* a descriptor follows; the name is UTF-8 */
#define STORED    0
#define DEFLATED  8
#define VERSION   20 /* of the format, needed to read: 2.0; with zip64 4.5 */
#define VERSION64 45
#define UNIX      (3 << 8)
#define MODE      (UINT32_C(0100644) << 16)
#define DATE      0x21 /* 1980-01-01 */

#define ALIGNMENT       64
#define ALIGNMENT_EXTRA 0xd935 /* the extra field that Android's zipalign pads with */
#define LOCAL_SIZE      30
#define CENTRAL_SIZE    46

#define PIECE ((size_t)64 * 1024)
#define FEED  ((size_t)1 << 30)

typedef struct {
    char *name;
    uint32_t crc;
    uint64_t packed, size, offset;
    bool wide;
} entry;

struct llava_npz_writer {
    llava_output *output;
    bool deflate;
    z_stream z;
    entry *entries;
    size_t count, room;
    uint64_t offset; /* bytes written so far */
    uint64_t expected;
    uint8_t piece[PIECE];
};

/* A header in the making: little-endian fields one after the other. */
typedef struct {
    uint8_t bytes[256];
    size_t n;
} header;

static void put(header *h, size_t size, uint64_t value)
{
    for (size_t i = 0; i < size; i++) {
        h->bytes[h->n++] = (uint8_t)(value >> (8 * i));
    }
}

static bool write_bytes(llava_npz_writer *w, const void *bytes, size_t n, llava_error *e)
{
    w->offset += n;
    return llava_output_write(w->output, bytes, n, e);
}

static uint64_t at_most(uint64_t value, uint64_t full)
{
    return value < full ? value : full;
}

bool llava_npz_writer_open(llava_npz_writer **writer, llava_output *output, bool deflate,
                           llava_error *e)
{
    llava_npz_writer *w = llava_alloc(e, 1, sizeof *w);
    if (w == NULL) {
        return false;
    }
    w->output = output;
    w->deflate = deflate;
    if (deflate && deflateInit2(&w->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, MAX_MEM_LEVEL,
                                Z_DEFAULT_STRATEGY) != Z_OK) {
        free(w);
        return llava_fail(e, "%s: out of memory", llava_output_name(output));
    }
    *writer = w;
    return true;
}

void llava_npz_writer_close(llava_npz_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->deflate) {
        deflateEnd(&writer->z);
    }
    for (size_t i = 0; i < writer->count; i++) {
        free(writer->entries[i].name);
    }
    free(writer->entries);
    free(writer);
}

static entry *new_entry(llava_npz_writer *w, const char *name, llava_error *e)
{
    const size_t n = strlen(name);
    if (n > FULL16) {
        llava_fail(e, "%s: a member's name is too long", llava_output_name(w->output));
        return NULL;
    }
    if (w->count == w->room) {
        const size_t room = w->room == 0 ? 64 : 2 * w->room;
        entry *grown = llava_realloc(e, w->entries, room, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        w->entries = grown;
        w->room = room;
    }
    entry *added = &w->entries[w->count];
    *added = (entry){.name = llava_text(e, name, n)};
    if (added->name == NULL) {
        return NULL;
    }
    w->count++;
    return added;
}

/* version, flags, method, time, date, crc, sizes, length of the name: alike in both headers. */
static void put_common(header *h, const llava_npz_writer *w, const entry *m)
{
    put(h, 2, m->wide ? VERSION64 : VERSION);
    put(h, 2, FLAGS);
    put(h, 2, w->deflate ? DEFLATED : STORED);
    put(h, 2, 0);
    put(h, 2, DATE);
    put(h, 4, m->crc);
    put(h, 4, at_most(m->packed, FULL32));
    put(h, 4, at_most(m->size, FULL32));
    put(h, 2, strlen(m->name));
}

bool llava_npz_writer_begin(llava_npz_writer *w, const char *name, uint64_t size, llava_error *e)
{
    entry *m = new_entry(w, name, e);
    if (m == NULL) {
        return false;
    }
    m->offset = w->offset;
    m->wide = size >= WIDE_SIZE;
    w->expected = size;
    if (w->deflate) {
        deflateReset(&w->z);
    }
    /* crc and sizes are 0 here: the descriptor has them. A wide member says so by full sizes. */
    header h = {.n = 0}, extra = {.n = 0};
    const entry unknown = {.name = m->name,
                           .wide = m->wide,
                           .packed = m->wide ? FULL32 : 0,
                           .size = m->wide ? FULL32 : 0};
    if (m->wide) {
        put(&extra, 2, 1);
        put(&extra, 2, 16);
        put(&extra, 8, 0);
        put(&extra, 8, 0);
    }
    const size_t used = LOCAL_SIZE + strlen(name) + extra.n + 6;
    const size_t padding = (size_t)(-(w->offset + used) % ALIGNMENT);
    put(&extra, 2, ALIGNMENT_EXTRA);
    put(&extra, 2, 2 + padding);
    put(&extra, 2, ALIGNMENT);
    for (size_t i = 0; i < padding; i++) {
        put(&extra, 1, 0);
    }
    put(&h, 4, LOCAL_SIGNATURE);
    put_common(&h, w, &unknown);
    put(&h, 2, extra.n);
    return write_bytes(w, h.bytes, h.n, e) && write_bytes(w, name, strlen(name), e) &&
           write_bytes(w, extra.bytes, extra.n, e);
}

/* Deflates what is fed (and, at the end, what zlib holds back) and writes it. */
static bool deflate_fed(llava_npz_writer *w, entry *m, int flush, llava_error *e)
{
    do {
        w->z.next_out = w->piece;
        w->z.avail_out = PIECE;
        deflate(&w->z, flush); /* cannot fail: there is room, and the state is sound */
        const size_t made = PIECE - w->z.avail_out;
        m->packed += made;
        if (!write_bytes(w, w->piece, made, e)) {
            return false;
        }
    } while (w->z.avail_out == 0);
    return true;
}

bool llava_npz_writer_add(llava_npz_writer *w, const uint8_t *bytes, size_t n, llava_error *e)
{
    entry *m = &w->entries[w->count - 1];
    m->crc = llava_crc32(m->crc, bytes, n);
    m->size += n;
    if (!w->deflate) {
        m->packed += n;
        return write_bytes(w, bytes, n, e);
    }
    while (n > 0) {
        const size_t fed = n < FEED ? n : FEED;
        w->z.next_in = bytes;
        w->z.avail_in = (uInt)fed;
        if (!deflate_fed(w, m, Z_NO_FLUSH, e)) {
            return false;
        }
        bytes += fed;
        n -= fed;
    }
    return true;
}

bool llava_npz_writer_end(llava_npz_writer *w, llava_error *e)
{
    entry *m = &w->entries[w->count - 1];
    if (m->size != w->expected) {
        return llava_fail(e, "%s: %s: not the number of bytes that was announced",
                          llava_output_name(w->output), m->name);
    }
    w->z.avail_in = 0;
    if (w->deflate && !deflate_fed(w, m, Z_FINISH, e)) {
        return false;
    }
    header h = {.n = 0};
    put(&h, 4, DESCRIPTOR_SIGNATURE);
    put(&h, 4, m->crc);
    const size_t bytes =
        m->wide ? 8 : 4; /* LCOV_EXCL_BR_LINE: 4 GB, tools/check_dumps.py --large */
    put(&h, bytes, m->packed);
    put(&h, bytes, m->size);
    return write_bytes(w, h.bytes, h.n, e);
}

/* ---- the directory ---- */

static bool check_names(const llava_npz_writer *w, llava_error *e)
{
    llava_named *names = llava_alloc(e, w->count, sizeof *names);
    if (names == NULL) {
        return false;
    }
    for (size_t i = 0; i < w->count; i++) {
        names[i].name = w->entries[i].name;
    }
    const char *twice = llava_names_sort(names, w->count);
    free(names);
    return twice == NULL ||
           llava_fail(e, "%s: %s: written twice", llava_output_name(w->output), twice);
}

static bool write_central(llava_npz_writer *w, const entry *m, llava_error *e)
{
    header h = {.n = 0}, extra = {.n = 0};
    const uint64_t values[3] = {m->size, m->packed, m->offset};
    size_t full = 0;
    for (int i = 0; i < 3; i++) {
        full += values[i] >= FULL32;
    }
    /* LCOV_EXCL_START: archives beyond 4 GB are tools/check_dumps.py --large's */
    if (full > 0) {
        put(&extra, 2, 1);
        put(&extra, 2, 8 * full);
    }
    for (int i = 0; i < 3; i++) {
        put(&extra, values[i] >= FULL32 ? 8 : 0, values[i]);
    }
    entry shown = *m;
    shown.wide = m->wide || full > 0;
    /* LCOV_EXCL_STOP */
    put(&h, 4, CENTRAL_SIGNATURE);
    put(&h, 2, UNIX | VERSION64);
    put_common(&h, w, &shown);
    put(&h, 2, extra.n);
    put(&h, 2, 0); /* comment */
    put(&h, 2, 0); /* disk */
    put(&h, 2, 0);
    put(&h, 4, MODE);
    put(&h, 4, at_most(m->offset, FULL32));
    return write_bytes(w, h.bytes, h.n, e) && write_bytes(w, m->name, strlen(m->name), e) &&
           write_bytes(w, extra.bytes, extra.n, e);
}

static void put_end64(header *h, uint64_t count, uint64_t size, uint64_t start)
{
    put(h, 4, END64_SIGNATURE);
    put(h, 8, 44); /* bytes that follow */
    put(h, 2, UNIX | VERSION64);
    put(h, 2, VERSION64);
    put(h, 4, 0);
    put(h, 4, 0);
    put(h, 8, count);
    put(h, 8, count);
    put(h, 8, size);
    put(h, 8, start);
    put(h, 4, LOCATOR_SIGNATURE);
    put(h, 4, 0);
    put(h, 8, start + size); /* where this record begins */
    put(h, 4, 1);
}

bool llava_npz_writer_finish(llava_npz_writer *w, llava_error *e)
{
    const uint64_t start = w->offset;
    if (!check_names(w, e)) {
        return false;
    }
    for (size_t i = 0; i < w->count; i++) {
        if (!write_central(w, &w->entries[i], e)) {
            return false;
        }
    }
    const uint64_t size = w->offset - start;
    header h = {.n = 0};
    const bool large = size >= FULL32 || start >= FULL32; /* LCOV_EXCL_BR_LINE: as above */
    if (w->count >= FULL16 || large) {
        put_end64(&h, w->count, size, start);
    }
    put(&h, 4, END_SIGNATURE);
    put(&h, 2, 0);
    put(&h, 2, 0);
    put(&h, 2, at_most(w->count, FULL16));
    put(&h, 2, at_most(w->count, FULL16));
    put(&h, 4, at_most(size, FULL32));
    put(&h, 4, at_most(start, FULL32));
    put(&h, 2, 0);
    return write_bytes(w, h.bytes, h.n, e);
}

uint64_t llava_npz_member_bytes(const char *name, uint64_t size)
{
    const uint64_t local = LOCAL_SIZE + 20 + 6 + ALIGNMENT - 1;
    const uint64_t central = CENTRAL_SIZE + 28;
    const uint64_t descriptor = 24;
    return local + central + descriptor + 2 * strlen(name) + size;
}
