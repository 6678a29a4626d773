#define ZLIB_CONST
#include "memory.h"
#include "support.h"

#include "tools/crc.h"
#include "tools/npz.h"
#include "tools/npz_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

/* ---- archives made by hand, so that each can be wrong in one place ---- */

typedef struct {
    const char *name;
    size_t name_size; /* 0: strlen(name) */
    const char *text; /* the member's bytes */
    bool deflate;
    size_t descriptor; /* bytes of it: 0, 12, 16, 20 or 24 */
    bool zip64;        /* sizes in extra fields although they are small */
    const char *extra; /* 4 bytes of another extra field in front, or NULL */
} part;

typedef struct {
    uint8_t bytes[4096];
    size_t n;
    size_t local[4], data[4], packed[4], central[4];
    size_t directory, end;
} zip;

static void put(zip *z, size_t size, uint64_t value)
{
    assert_true(z->n + size <= sizeof z->bytes);
    for (size_t i = 0; i < size; i++) {
        z->bytes[z->n++] = (uint8_t)(value >> (8 * i));
    }
}

static void put_bytes(zip *z, const void *bytes, size_t n)
{
    assert_true(z->n + n <= sizeof z->bytes);
    memcpy(z->bytes + z->n, bytes, n);
    z->n += n;
}

static size_t name_size(const part *p)
{
    return p->name_size != 0 ? p->name_size : strlen(p->name);
}

static uint32_t crc_of(const part *p)
{
    return (uint32_t)crc32_z(0, (const uint8_t *)p->text, strlen(p->text));
}

static void put_common(zip *z, const part *p, uint32_t crc, uint64_t packed, uint64_t size)
{
    put(z, 2, p->zip64 ? 45 : 20);
    put(z, 2, p->descriptor > 0 ? 0x0808 : 0x0800);
    put(z, 2, p->deflate ? 8 : 0);
    put(z, 4, 0x00210000);
    put(z, 4, crc);
    put(z, 4, p->zip64 ? 0xffffffff : packed);
    put(z, 4, p->zip64 ? 0xffffffff : size);
    put(z, 2, name_size(p));
}

static void put_extra(zip *z, const part *p, size_t fields, const uint64_t *values)
{
    if (p->extra != NULL) {
        put_bytes(z, p->extra, 4);
    }
    if (p->zip64) {
        put(z, 2, 1);
        put(z, 2, 8 * fields);
        for (size_t i = 0; i < fields; i++) {
            put(z, 8, values[i]);
        }
    }
}

static size_t extra_size(const part *p, size_t fields)
{
    return (p->extra != NULL ? 4 : 0) + (p->zip64 ? 4 + 8 * fields : 0);
}

static void put_packed(zip *z, const part *p)
{
    if (!p->deflate) {
        put_bytes(z, p->text, strlen(p->text));
        return;
    }
    z_stream s = {0};
    assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    s.next_in = (const uint8_t *)p->text;
    s.avail_in = (uInt)strlen(p->text);
    s.next_out = z->bytes + z->n;
    s.avail_out = (uInt)(sizeof z->bytes - z->n);
    assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
    z->n += s.total_out;
    deflateEnd(&s);
}

static void put_member(zip *z, const part *p, size_t i)
{
    const bool later = p->descriptor > 0;
    const uint64_t size = strlen(p->text);
    z->local[i] = z->n;
    put(z, 4, 0x04034b50);
    put_common(z, p, later ? 0 : crc_of(p), 0, later ? 0 : size);
    put(z, 2, extra_size(p, 2));
    put_bytes(z, p->name, name_size(p));
    const size_t fields = z->n + (p->extra != NULL ? 4 : 0) + 4;
    const uint64_t values[2] = {later ? 0 : size, 0};
    put_extra(z, p, 2, values);
    z->data[i] = z->n;
    put_packed(z, p);
    z->packed[i] = z->n - z->data[i];
    if (!later) { /* the packed size is known only now */
        zip patch = {.n = 0};
        put(&patch, 8, z->packed[i]);
        memcpy(z->bytes + (p->zip64 ? fields + 8 : z->local[i] + 18), patch.bytes,
               p->zip64 ? 8 : 4);
        return;
    }
    const size_t width = p->descriptor >= 20 ? 8 : 4;
    put(z, p->descriptor % 8 == 0 ? 4 : 0, 0x08074b50);
    put(z, 4, crc_of(p));
    put(z, width, z->packed[i]);
    put(z, width, size);
}

static void put_central(zip *z, const part *p, size_t i)
{
    const uint64_t values[3] = {strlen(p->text), z->packed[i], z->local[i]};
    z->central[i] = z->n;
    put(z, 4, 0x02014b50);
    put(z, 2, 0x0314);
    put_common(z, p, crc_of(p), z->packed[i], strlen(p->text));
    put(z, 2, extra_size(p, 3));
    put(z, 8, 0); /* comment, disk, attributes */
    put(z, 2, 0);
    put(z, 4, p->zip64 ? 0xffffffff : z->local[i]);
    put_bytes(z, p->name, name_size(p));
    put_extra(z, p, 3, values);
}

static void put_end(zip *z, size_t count)
{
    const size_t size = z->n - z->directory;
    z->end = z->n;
    put(z, 4, 0x06054b50);
    put(z, 4, 0);
    put(z, 2, count);
    put(z, 2, count);
    put(z, 4, size);
    put(z, 4, z->directory);
    put(z, 2, 0);
}

static zip make(const part *parts, size_t count)
{
    zip z = {.n = 0};
    for (size_t i = 0; i < count; i++) {
        put_member(&z, &parts[i], i);
    }
    z.directory = z.n;
    for (size_t i = 0; i < count; i++) {
        put_central(&z, &parts[i], i);
    }
    put_end(&z, count);
    return z;
}

/* ---- the test's folder ---- */

static support_folder folder;

static int set_up(void **state)
{
    (void)state;
    folder = support_folder_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    support_folder_remove(&folder);
    return 0;
}

/* Opens and reads every byte. */
static bool read_file(const char *name, llava_npz *archive, llava_error *e)
{
    if (!llava_npz_open(archive, support_path(&folder, name), e)) {
        return false;
    }
    for (size_t i = 0; i < archive->count; i++) {
        if (!llava_npz_verify(archive, &archive->members[i], e)) {
            llava_npz_close(archive);
            return false;
        }
    }
    return true;
}

static bool read_zip(const zip *z, llava_npz *archive, llava_error *e)
{
    support_write(&folder, "x.npz", z->bytes, z->n);
    return read_file("x.npz", archive, e);
}

static void refused(const zip *z, const char *why)
{
    llava_npz archive;
    llava_error e = {""};
    if (read_zip(z, &archive, &e)) {
        llava_npz_close(&archive);
        fail_msg("accepted, though: %s", why);
    }
    if (strstr(e.text, why) == NULL || strstr(e.text, "x.npz: ") == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
    }
}

static void member_is(const llava_npz *archive, const llava_npz_member *member, const char *text)
{
    llava_error e;
    char got[256] = "";
    assert_int_equal(member->size, strlen(text));
    if (member->deflated) {
        llava_npz_stream *stream;
        assert_true(llava_npz_stream_open(&stream, archive, member, &e));
        for (size_t i = 0; i < member->size; i++) {
            assert_int_equal(llava_npz_stream_offset(stream), i);
            assert_true(llava_npz_stream_read(stream, (uint8_t *)got + i, 1, &e));
        }
        llava_npz_stream_close(stream);
    } else {
        memcpy(got, member->bytes, member->size);
    }
    assert_string_equal(got, text);
}

#define A "the first member, the first member, the first member"
#define B "the second"
static const part two[2] = {{.name = "a.npy", .text = A},
                            {.name = "b.npy", .text = B, .deflate = true}};

/* ---- accepted ---- */

static void stored_and_deflated_members_are_read(void **state)
{
    (void)state;
    for (int shape = 0; shape < 64; shape++) {
        static const size_t descriptors[5] = {0, 12, 16, 20, 24};
        part parts[2] = {two[0], two[1]};
        parts[0].deflate = (shape & 1) != 0;
        parts[0].zip64 = (shape & 2) != 0;
        parts[1].zip64 = (shape & 4) != 0;
        parts[0].descriptor = descriptors[shape / 8 % 5];
        parts[1].descriptor = descriptors[(shape / 8 + 2) % 5];
        parts[1].extra = (shape & 1) != 0 ? "UT\0\0" : NULL;
        const zip z = make(parts, 2);
        llava_npz archive;
        llava_error e;
        if (!read_zip(&z, &archive, &e)) {
            fail_msg("shape %d: %s", shape, e.text);
        }
        assert_int_equal(archive.count, 2);
        assert_string_equal(archive.members[1].name, "b.npy");
        member_is(&archive, &archive.members[0], A);
        member_is(&archive, &archive.members[1], B);
        llava_npz_close(&archive);
    }
}

static void an_archive_without_members_is_read(void **state)
{
    (void)state;
    const zip z = make(two, 0);
    llava_npz archive;
    llava_error e;
    assert_true(read_zip(&z, &archive, &e));
    assert_int_equal(archive.count, 0);
    llava_npz_close(&archive);
}

static void a_comment_at_the_end_is_passed_over(void **state)
{
    (void)state;
    zip z = make(two, 2);
    llava_npz archive;
    llava_error e;
    z.bytes[z.end + 20] = 5;
    put_bytes(&z, "hello", 5);
    assert_true(read_zip(&z, &archive, &e));
    llava_npz_close(&archive);
    z.n--;
    refused(&z, "no end record");
}

/* It is looked for no farther back than a comment can be long. */
static void an_end_record_far_from_the_end_is_none(void **state)
{
    (void)state;
    static uint8_t bytes[22 + 70000];
    memcpy(bytes, "PK\5\6", 4); /* of an empty archive */
    llava_npz archive;
    llava_error e;
    support_write(&folder, "far.zip", bytes, sizeof bytes);
    assert_false(read_file("far.zip", &archive, &e));
    support_says(&e, "no end record");
}

static void set16(zip *z, size_t at, unsigned value)
{
    z->bytes[at] = (uint8_t)value;
    z->bytes[at + 1] = (uint8_t)(value >> 8);
}

/* The end record full, the zip64 record in front of it. */
static zip make_zip64_end(void)
{
    zip z = make(two, 2);
    const size_t size = z.n - z.directory - 22;
    z.n = z.end;
    const size_t at = z.n;
    put(&z, 4, 0x06064b50);
    put(&z, 8, 44);
    put(&z, 4, 0x002d002d);
    put(&z, 8, 0);
    put(&z, 8, 2);
    put(&z, 8, 2);
    put(&z, 8, size);
    put(&z, 8, z.directory);
    put(&z, 4, 0x07064b50);
    put(&z, 4, 0);
    put(&z, 8, at);
    put(&z, 4, 1);
    z.end = z.n;
    put(&z, 4, 0x06054b50);
    put(&z, 4, 0);
    put(&z, 8, UINT64_MAX);
    put(&z, 4, 0xffffffff);
    put(&z, 2, 0);
    return z;
}

static void a_zip64_end_record_is_read(void **state)
{
    (void)state;
    const zip z = make_zip64_end();
    llava_npz archive;
    llava_error e;
    assert_true(read_zip(&z, &archive, &e));
    assert_int_equal(archive.count, 2);
    llava_npz_close(&archive);
    for (size_t i = z.end - 76; i < z.end; i++) {
        const bool version = i - (z.end - 76) >= 12 && i - (z.end - 76) < 16;
        zip bad = z;
        bad.bytes[i] ^= 0x40;
        if (!version) {
            refused(&bad, "");
        }
    }
    zip bad = z;
    bad.bytes[bad.end + 8] = 3; /* neither full nor the same */
    refused(&bad, "several disks");
    bad.bytes[bad.end + 10] = 3;
    bad.bytes[bad.end + 9] = bad.bytes[bad.end + 11] = 0;
    refused(&bad, "disagree");
    static const size_t disks[] = {4, 6};
    for (size_t i = 0; i < 2; i++) { /* the short record's disks: 0, or left to the zip64 record */
        bad = z;
        set16(&bad, bad.end + disks[i], 1);
        refused(&bad, "several disks");
        set16(&bad, bad.end + disks[i], 0xffff);
        assert_true(read_zip(&bad, &archive, &e));
        llava_npz_close(&archive);
    }
    for (size_t field = 12; field <= 16; field += 4) { /* its size and start */
        bad = z;
        memset(bad.bytes + bad.end + field, 1, 4);
        refused(&bad, "disagree");
    }
    for (uint8_t length = 16; length <= 30;
         length += 14) { /* a record that ends too early for its fields */
        bad = z;
        const size_t at = bad.end - 20 - 12 - length;
        memcpy(bad.bytes + at, (const uint8_t[12]){0x50, 0x4b, 6, 6, length}, 12);
        memset(bad.bytes + bad.end - 12, 0, 8);
        set16(&bad, bad.end - 12, (unsigned)at);
        refused(&bad, "the zip64 end record is damaged");
    }
    bad = z; /* more members than could be listed: refused before memory is taken for them */
    bad.bytes[z.end - 76 + 24 + 5] = bad.bytes[z.end - 76 + 32 + 5] = 1;
    refused(&bad, "the directory does not end at the end record");
}

/* ---- refused ---- */

static void names_that_are_no_file_names_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
        const char *why;
    } cases[] = {
        {"a\0b.npy", 7, "a\\x00b.npy: the name holds a NUL"},
        {"../a.npy", 8, "holds a path"},
        {"a/b.npy", 7, "holds a path"},
        {"/a.npy", 6, "holds a path"},
        {"a\\b.npy", 7, "holds a path"},
        {"..", 2, "not a name"},
        {".", 1, "not a name"},
        {"", 0, "'': not a name"},
        {"\x7f/.npy", 6, "\\x7f/.npy: the name holds a path"},
        {"\xff.npy", 5, "not UTF-8"},
        {"\xc0\xaf.npy", 6, "not UTF-8"},         /* an overlong '/' */
        {"\xed\xa0\x80.npy", 7, "not UTF-8"},     /* a surrogate */
        {"\xf4\x90\x80\x80.npy", 8, "not UTF-8"}, /* beyond U+10FFFF */
        {"a.np\xc3", 5, "not UTF-8"},             /* cut off */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const part p = {.name = cases[i].name, .name_size = cases[i].size, .text = A};
        const zip z = make(&p, 1);
        refused(&z, cases[i].why);
    }
}

static void a_hostile_name_stays_on_one_line(void **state)
{
    (void)state;
    const part p = {.name = "a\n\x1b[31m/.npy", .text = A};
    const zip z = make(&p, 1);
    refused(&z, "a\\x0a\\x1b[31m/.npy: the name holds a path");
}

static void methods_and_flags_that_are_not_known_are_refused(void **state)
{
    (void)state;
    static const struct {
        unsigned flags, method;
        const char *why;
    } cases[] = {{0x0801, 0, "encrypted"},       {0x0841, 0, "encrypted"}, /* strong encryption */
                 {0x2800, 0, "flags"},           {0x0820, 0, "flags"},
                 {0x0800, 12, "compression"},    {0x0800, 14, "compression"},
                 {0x0800, 93, "compression"},    {0x0800, 99, "compression"},
                 {0x0800, 9, "this compression"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        zip z = make(two, 2);
        set16(&z, z.local[0] + 6, cases[i].flags);
        set16(&z, z.local[0] + 8, cases[i].method);
        set16(&z, z.central[0] + 8, cases[i].flags);
        set16(&z, z.central[0] + 10, cases[i].method);
        refused(&z, cases[i].why);
    }
}

static void a_name_outside_ascii_needs_the_utf8_flag(void **state)
{
    (void)state;
    const part p = {.name = "\xc3\xa4.npy", .text = A};
    zip z = make(&p, 1);
    llava_npz archive;
    llava_error e;
    assert_true(read_zip(&z, &archive, &e));
    llava_npz_close(&archive);
    z.bytes[z.local[0] + 7] = 0;
    z.bytes[z.central[0] + 9] = 0;
    refused(&z, "not marked as UTF-8");
}

static void local_and_central_header_must_agree(void **state)
{
    (void)state;
    /* Offsets in the local header: flags, method, crc, packed, size, and a letter of the name. */
    static const size_t fields[] = {6, 8, 14, 18, 22, 30};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        zip z = make(two, 2);
        z.bytes[z.local[0] + fields[i]] ^= 2;
        refused(&z, "local header and directory disagree");
    }
}

static void a_wrong_crc_is_found_in_both_methods(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        zip z = make(two, 2);
        z.bytes[z.local[i] + 14] ^= 1;
        z.bytes[z.central[i] + 16] ^= 1;
        refused(&z, i == 0 ? "a.npy: the CRC is wrong" : "b.npy: the CRC is wrong");
    }
    zip z = make(two, 2);
    z.bytes[z.data[0]] ^= 1;
    refused(&z, "a.npy: the CRC is wrong");
}

/* A member that promises fewer or more inflated bytes than its deflate stream holds. */
static void a_wrong_inflated_size_is_found(void **state)
{
    (void)state;
    static const struct {
        int change;
        const char *why;
    } cases[] = {{-1, "more inflated bytes than promised"},
                 {-10, "more inflated bytes than promised"},
                 {+1, "fewer inflated bytes than promised"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        zip z = make(two, 2);
        const unsigned size = (unsigned)((int)strlen(B) + cases[i].change);
        set16(&z, z.local[1] + 22, size);
        set16(&z, z.central[1] + 24, size);
        refused(&z, cases[i].why);
    }
}

static void more_than_deflate_can_make_is_refused_before_it_is_made(void **state)
{
    (void)state;
    zip z = make(two, 2);
    set16(&z, z.local[1] + 24, 0x7000);
    set16(&z, z.central[1] + 26, 0x7000);
    llava_npz archive;
    llava_error e;
    support_write(&folder, "x.npz", z.bytes, z.n);
    assert_false(llava_npz_open(&archive, support_path(&folder, "x.npz"), &e));
    assert_non_null(strstr(e.text, "more inflated bytes promised than deflate can make"));
}

static void damaged_deflate_streams_are_refused(void **state)
{
    (void)state;
    part p = {.name = "b.npy", .text = B, .deflate = true};
    zip z = make(&p, 1);
    z.bytes[z.data[0]] |= 6; /* block type 3 does not exist */
    refused(&z, "damaged");
    /* A stored member that says it is deflated, and ends within a block's header. */
    p = (part){.name = "b.npy", .text = "\x01\x01"};
    z = make(&p, 1);
    set16(&z, z.local[0] + 8, 8);
    set16(&z, z.central[0] + 10, 8);
    refused(&z, "cut off");
}

static void bytes_behind_a_deflate_stream_are_refused(void **state)
{
    (void)state;
    /* A stored block of three bytes, then two bytes that belong to nothing. */
    const char stream[] = "\x01\x03\x00\xfc\xff"
                          "abcXY";
    zip z = {.n = 0};
    const part p = {.name = "b.npy", .text = "abc", .deflate = true};
    z.local[0] = 0;
    put(&z, 4, 0x04034b50);
    put_common(&z, &p, crc_of(&p), sizeof stream - 1, 3);
    put(&z, 2, 0);
    put_bytes(&z, "b.npy", 5);
    put_bytes(&z, stream, sizeof stream - 1);
    z.packed[0] = sizeof stream - 1;
    z.directory = z.n;
    put_central(&z, &p, 0);
    put_end(&z, 1);
    refused(&z, "bytes behind the deflated ones");
}

static void a_stored_member_has_one_size(void **state)
{
    (void)state;
    zip z = make(two, 2);
    z.bytes[z.local[0] + 22] ^= 1;
    z.bytes[z.central[0] + 24] ^= 1;
    refused(&z, "two sizes");
}

static void members_that_overlap_are_refused(void **state)
{
    (void)state;
    /* Two entries for one local header. */
    const part same[2] = {two[0], two[0]};
    zip z = make(same, 2);
    z.bytes[z.central[1] + 42] = (uint8_t)z.local[0];
    z.bytes[z.central[1] + 43] = (uint8_t)(z.local[0] >> 8);
    refused(&z, "overlap");
    /* The first reaches into the second (both headers say so). */
    z = make(two, 2);
    for (int i = 0; i < 2; i++) {
        z.bytes[(i == 0 ? z.local[0] + 18 : z.central[0] + 20)] += 8;
        z.bytes[(i == 0 ? z.local[0] + 22 : z.central[0] + 24)] += 8;
    }
    refused(&z, "overlap");
    /* The last reaches into the directory, and far beyond the file. */
    z = make(&two[0], 1);
    for (int i = 0; i < 2; i++) {
        z.bytes[(i == 0 ? z.local[0] + 20 : z.central[0] + 22)] = 0x70;
        z.bytes[(i == 0 ? z.local[0] + 24 : z.central[0] + 26)] = 0x70;
    }
    refused(&z, "overlap");
}

static void bytes_that_belong_to_no_member_are_refused(void **state)
{
    (void)state;
    const zip whole = make(two, 2);
    /* In front of the first: everything moved by one. */
    zip z = {.n = 1};
    put_bytes(&z, whole.bytes, whole.n);
    refused(&z, "the directory does not end at the end record");
    /* The first member's entry is gone from the directory: its bytes are hidden. */
    z = make(two, 2);
    const size_t entry = z.central[1] - z.central[0];
    memmove(z.bytes + z.central[0], z.bytes + z.central[1], z.n - z.central[1]);
    z.n -= entry;
    z.end -= entry;
    set16(&z, z.end + 8, 1);
    set16(&z, z.end + 10, 1);
    set16(&z, z.end + 12, (unsigned)(z.end - z.directory));
    refused(&z, "bytes in front of the first member");
    /* The same with the second: its bytes stand behind the first. */
    z = make(two, 2);
    memmove(z.bytes + z.central[1], z.bytes + z.end, 22);
    z.n = z.central[1] + 22;
    z.end = z.central[1];
    set16(&z, z.end + 8, 1);
    set16(&z, z.end + 10, 1);
    set16(&z, z.end + 12, (unsigned)(z.end - z.directory));
    refused(&z, "a.npy: the bytes behind the member");
}

static void a_descriptor_that_lies_is_refused(void **state)
{
    (void)state;
    static const size_t sizes[] = {12, 16, 20, 24};
    for (size_t s = 0; s < 4; s++) {
        const part p = {.name = "a.npy", .text = A, .descriptor = sizes[s]};
        const zip z = make(&p, 1);
        for (size_t i = 0; i < sizes[s]; i++) {
            zip bad = z;
            bad.bytes[z.data[0] + z.packed[0] + i] ^= 0x10;
            refused(&bad, "the bytes behind the member");
        }
    }
    /* its signature and its CRC alone */
    const part p = {.name = "a.npy", .text = A, .descriptor = 16};
    zip z = make(&p, 1);
    const size_t cut = z.data[0] + z.packed[0] + 8;
    memmove(z.bytes + cut, z.bytes + cut + 8, z.n - cut - 8);
    z.n -= 8;
    set16(&z, z.end - 8 + 16, (unsigned)(z.directory - 8));
    refused(&z, "the bytes behind the member");
}

static void missing_or_damaged_zip64_fields_are_refused(void **state)
{
    (void)state;
    const part p = {.name = "a.npy", .text = A, .zip64 = true, .extra = "UT\0\0"};
    const zip z = make(&p, 1);
    zip bad = z;
    bad.bytes[z.central[0] + 46 + 5 + 4] = 2; /* the field's id */
    refused(&bad, "zip64 field is missing");
    bad = z;
    bad.bytes[z.central[0] + 46 + 5 + 6] = 16; /* shorter than three sizes */
    refused(&bad, "zip64 field is missing or damaged");
    bad = z;
    bad.bytes[z.central[0] + 46 + 5 + 6] = 40; /* longer than the extra */
    refused(&bad, "zip64 field is missing or damaged");
    bad = z;
    bad.bytes[z.central[0] + 46 + 5 + 8 + 7] = 0x80; /* a size of 2^63 */
    refused(&bad, "two sizes");
    bad = z;
    bad.bytes[z.local[0] + 30 + 5 + 4] = 2;
    refused(&bad, "local header is damaged");
    bad = z;
    bad.bytes[z.central[0] + 46 + 5 + 8 + 16 + 7] = 0x80; /* an offset of 2^63 */
    refused(&bad, "bytes in front of the first member");
    bad = make(two, 2);
    bad.bytes[bad.central[1] + 45] = 0x70;
    refused(&bad, "a member begins behind the directory");
}

static void a_zip64_field_that_comes_twice_is_refused(void **state)
{
    (void)state;
    const part p = {.name = "a.npy", .text = A, .zip64 = true};
    zip z = make(&p, 1);
    const uint8_t n = (uint8_t)strlen(A);
    /* Only the size is full now; in place of the field of 24 bytes, two of 8 and an empty one. */
    memcpy(z.bytes + z.central[0] + 20, (const uint8_t[4]){n}, 4);
    memset(z.bytes + z.central[0] + 42, 0, 4);
    uint8_t *extra = z.bytes + z.central[0] + 46 + 5;
    memcpy(extra, (const uint8_t[28]){1, 0, 8, 0, n, [12] = 'X', [14] = 8, [16] = n, [24] = 'U'},
           28);
    llava_npz archive;
    llava_error e;
    assert_true(read_zip(&z, &archive, &e));
    llava_npz_close(&archive);
    extra[12] = 1;
    refused(&z, "zip64 field is missing or damaged");
}

static void archives_of_several_disks_are_refused(void **state)
{
    (void)state;
    static const size_t fields[] = {4, 6, 8};
    for (size_t i = 0; i < 3; i++) {
        zip z = make(two, 2);
        z.bytes[z.end + fields[i]] ^= 1;
        refused(&z, "several disks");
    }
    zip z = make(two, 2);
    z.bytes[z.central[0] + 34] = 1;
    refused(&z, "several disks");
}

static void an_archive_cut_anywhere_is_refused(void **state)
{
    (void)state;
    zip z = make(two, 2);
    for (z.n--; z.n > 0; z.n--) {
        refused(&z, "");
    }
}

static void other_counts_of_members_are_refused(void **state)
{
    (void)state;
    for (unsigned count = 0; count < 5; count++) {
        zip z = make(two, 2);
        set16(&z, z.end + 8, count);
        set16(&z, z.end + 10, count);
        if (count != 2) {
            refused(&z, "directory");
        }
    }
    zip z = make(two, 2);
    set16(&z, z.end + 8, 0xffff);
    set16(&z, z.end + 10, 0xffff);
    refused(&z, "directory");
}

/* ---- written ---- */

static void write_parts(const char *name, const part *parts, size_t count, bool deflate)
{
    llava_output *output;
    llava_npz_writer *writer;
    llava_error e;
    assert_true(llava_output_open(&output, support_path(&folder, name), &e));
    assert_true(llava_npz_writer_open(&writer, output, deflate, &e));
    for (size_t i = 0; i < count; i++) {
        const size_t n = strlen(parts[i].text);
        const uint8_t *bytes = (const uint8_t *)parts[i].text;
        assert_true(llava_npz_writer_begin(writer, parts[i].name, n, &e));
        assert_true(llava_npz_writer_add(writer, bytes, n / 2, &e));
        assert_true(llava_npz_writer_add(writer, bytes + n / 2, n - n / 2, &e));
        assert_true(llava_npz_writer_end(writer, &e));
    }
    assert_true(llava_npz_writer_finish(writer, &e));
    llava_npz_writer_close(writer);
    assert_true(llava_output_commit(output, &e));
}

static void what_is_written_is_read_and_aligned(void **state)
{
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        llava_npz archive;
        llava_error e;
        write_parts("w.npz", two, 2, deflate != 0);
        assert_true(read_file("w.npz", &archive, &e));
        assert_int_equal(archive.count, 2);
        member_is(&archive, &archive.members[0], A);
        member_is(&archive, &archive.members[1], B);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(archive.members[i].deflated, deflate);
            assert_int_equal((archive.members[i].bytes - archive.file.bytes) % 64, 0);
        }
        llava_npz_close(&archive);
    }
}

static void equal_members_give_equal_archives(void **state)
{
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        llava_file a, b;
        llava_error e;
        write_parts("1.npz", two, 2, deflate != 0);
        write_parts("2.npz", two, 2, deflate != 0);
        assert_true(llava_file_map(&a, support_path(&folder, "1.npz"), &e));
        assert_true(llava_file_map(&b, support_path(&folder, "2.npz"), &e));
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.bytes, b.bytes, a.size);
        llava_file_unmap(&a);
        llava_file_unmap(&b);
    }
}

/* More members than 16 bits count: the zip64 end record, written and read. */
static void seventy_thousand_members(void **state)
{
    (void)state;
    const size_t count = 70000;
    llava_output *output;
    llava_npz_writer *writer;
    llava_npz archive;
    llava_error e;
    assert_true(llava_output_open(&output, support_path(&folder, "many.npz"), &e));
    assert_true(llava_npz_writer_open(&writer, output, false, &e));
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "%zu.npy", i);
        assert_true(llava_npz_writer_begin(writer, name, 1, &e));
        assert_true(llava_npz_writer_add(writer, (const uint8_t *)name, 1, &e));
        assert_true(llava_npz_writer_end(writer, &e));
    }
    assert_true(llava_npz_writer_finish(writer, &e));
    llava_npz_writer_close(writer);
    assert_true(llava_output_commit(output, &e));
    assert_true(read_file("many.npz", &archive, &e));
    assert_int_equal(archive.count, count);
    assert_string_equal(archive.members[count - 1].name, "69999.npy");
    llava_npz_close(&archive);
}

static void a_name_written_twice_and_a_wrong_size_are_errors(void **state)
{
    (void)state;
    llava_output *output;
    llava_npz_writer *writer;
    llava_error e;
    assert_true(llava_output_open(&output, support_path(&folder, "t.npz"), &e));
    assert_true(llava_npz_writer_open(&writer, output, false, &e));
    for (int i = 0; i < 2; i++) {
        assert_true(llava_npz_writer_begin(writer, "a.npy", 2, &e));
        assert_true(llava_npz_writer_add(writer, (const uint8_t *)"xy", 2, &e));
        assert_true(llava_npz_writer_end(writer, &e));
    }
    assert_false(llava_npz_writer_finish(writer, &e));
    assert_non_null(strstr(e.text, "t.npz: a.npy: written twice"));
    assert_true(llava_npz_writer_begin(writer, "b.npy", 3, &e));
    assert_true(llava_npz_writer_add(writer, (const uint8_t *)"xy", 2, &e));
    assert_false(llava_npz_writer_end(writer, &e));
    llava_npz_writer_close(writer);
    llava_output_abort(output);
    assert_false(llava_file_exists(support_path(&folder, "t.npz")));
}

/* Whatever library makes it: zlib's, of the whole and in parts. */
static void the_checksum_is_zlibs(void **state)
{
    (void)state;
    uint8_t bytes[1000];
    uint64_t seed = 5;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(int)(support_random(&seed) * 127);
    }
    assert_int_equal(llava_crc32(0, "123456789", 9), 0xcbf43926); /* the polynomial's check value */
    for (size_t n = 0; n <= sizeof bytes; n += 1 + n / 9) {
        uint32_t whole = (uint32_t)crc32_z(0, bytes, n);
        assert_int_equal(llava_crc32(0, bytes, n), whole);
        assert_int_equal(llava_crc32(llava_crc32(0, bytes, n / 3), bytes + n / 3, n - n / 3),
                         whole);
    }
}

/* ---- the writer's ends ---- */

typedef struct {
    char path[512];
    bool deflate;
} writing;

/* More members than the first table has room for. */
static bool write_many(void *self, llava_error *e)
{
    const writing *w = self;
    llava_output *output;
    llava_npz_writer *writer = NULL;
    if (!llava_output_open(&output, w->path, e)) {
        return false;
    }
    bool ok = llava_npz_writer_open(&writer, output, w->deflate, e);
    for (int i = 0; ok && i < 70; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        ok = llava_npz_writer_begin(writer, name, 3, e) &&
             llava_npz_writer_add(writer, (const uint8_t *)"abc", 3, e) &&
             llava_npz_writer_end(writer, e);
    }
    ok = ok && llava_npz_writer_finish(writer, e);
    llava_npz_writer_close(writer);
    if (!ok) {
        llava_output_abort(output);
        return false;
    }
    return llava_output_commit(output, e);
}

static void memory_that_runs_out_leaves_no_archive(void **state)
{
    (void)state;
    writing w = {.deflate = false};
    snprintf(w.path, sizeof w.path, "%s", support_path(&folder, "a.npz"));
    assert_true(memory_runs_out(write_many, &w) > 75);
    w.deflate = true;
    assert_true(memory_runs_out(write_many, &w) > 75);
}

/* A disk that is full anywhere: each part of the archive is the first that does not fit. */
static void a_full_disk_ends_the_archive_wherever_it_is(void **state)
{
    (void)state;
    static const uint8_t bytes[200000] = {0};
    for (int deflate = 0; deflate < 2; deflate++) {
        for (size_t members = 1; members < 6000; members += 999) {
            llava_output *output;
            llava_npz_writer *writer;
            llava_error e;
            assert_true(llava_output_open(&output, "/dev/full", &e));
            assert_true(llava_npz_writer_open(&writer, output, deflate, &e));
            bool ok = true;
            for (size_t i = 0; ok && i < members; i++) {
                char name[64];
                size_t n = members == 1 ? sizeof bytes : 1;
                snprintf(name, sizeof name, "a member with a long name, %zu", i);
                ok = llava_npz_writer_begin(writer, name, n, &e) &&
                     llava_npz_writer_add(writer, bytes, n, &e) && llava_npz_writer_end(writer, &e);
            }
            ok = ok && llava_npz_writer_finish(writer, &e);
            llava_npz_writer_close(writer);
            if (ok) {
                ok = llava_output_commit(output, &e);
            } else {
                llava_output_abort(output);
            }
            assert_false(ok);
            support_says(&e, "/dev/full: cannot be written");
        }
    }
}

/* A stored member that leaves so much of the output's buffer free, a small one of random bytes
 * behind it: false where the disk, which is full, was asked before the end. */
static bool fits_the_buffer(size_t before, bool deflate, size_t small, llava_error *e)
{
    static uint8_t bytes[80000];
    llava_output *output;
    llava_npz_writer *writer;
    uint64_t seed = 3;
    for (size_t i = 0; bytes[0] == 0 && i < sizeof bytes; i++) {
        bytes[sizeof bytes - 1 - i] = (uint8_t)(128 + 127 * support_random(&seed));
    }
    assert_true(llava_output_open(&output, "/dev/full", e));
    assert_true(llava_npz_writer_open(&writer, output, deflate, e));
    const size_t sizes[] = {before, small};
    bool ok = true;
    for (size_t i = 0; ok && i < 2; i++) {
        ok = llava_npz_writer_begin(writer, i == 0 ? "first" : "second", sizes[i], e) &&
             llava_npz_writer_add(writer, bytes, sizes[i], e) && llava_npz_writer_end(writer, e);
    }
    ok = ok && llava_npz_writer_finish(writer, e);
    llava_npz_writer_close(writer);
    llava_output_abort(output);
    return ok;
}

/* The same, byte by byte: the end of the buffer comes to lie in every field. */
static void a_full_disk_ends_the_archive_at_every_byte(void **state)
{
    (void)state;
    const size_t buffer = (size_t)64 * 1024;
    for (int deflate = 0; deflate < 2; deflate++) {
        size_t fit = 0, refused = 0;
        for (size_t left = 0; left < 700; left++) {
            llava_error e = {""};
            bool ok = fits_the_buffer(buffer - left, deflate, 20 + left % 64, &e);
            fit += ok;
            refused += !ok;
            assert_true(left < 300 ? !ok : left < 650 || ok); /* what follows the first's bytes */
            if (!ok) {
                support_says(&e, "/dev/full: cannot be written");
            }
        }
        assert_in_range(refused, 300, 650);
        assert_in_range(fit, 50, 400);
    }
    llava_error e = {""};
    assert_false(fits_the_buffer(80000, true, 20, &e)); /* more than a piece of deflate's */
    support_says(&e, "/dev/full: cannot be written");
}

/* Sizes from 4 GB on are announced in a field of their own; what does not come is refused. */
static void a_member_must_be_as_long_as_announced(void **state)
{
    (void)state;
    llava_output *output;
    llava_npz_writer *writer;
    llava_error e;
    assert_true(llava_output_open(&output, "/dev/null", &e));
    assert_true(llava_npz_writer_open(&writer, output, false, &e));
    assert_true(llava_npz_writer_begin(writer, "a", UINT64_C(1) << 33, &e));
    assert_true(llava_npz_writer_add(writer, (const uint8_t *)"abc", 3, &e));
    assert_false(llava_npz_writer_end(writer, &e));
    support_says(&e, "a: not the number of bytes that was announced");
    llava_npz_writer_close(writer);
    llava_output_abort(output);
}

static void a_members_name_has_two_bytes_for_its_length(void **state)
{
    (void)state;
    static char name[UINT16_MAX + 2];
    memset(name, 'n', UINT16_MAX + 1);
    llava_output *output;
    llava_npz_writer *writer;
    llava_error e;
    assert_true(llava_output_open(&output, "/dev/null", &e));
    assert_true(llava_npz_writer_open(&writer, output, false, &e));
    assert_false(llava_npz_writer_begin(writer, name, 3, &e));
    support_says(&e, "/dev/null: a member's name is too long");
    name[UINT16_MAX] = '\0';
    assert_true(llava_npz_writer_begin(writer, name, 3, &e));
    llava_npz_writer_close(writer);
    llava_output_abort(output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_and_deflated_members_are_read),
        cmocka_unit_test(an_archive_without_members_is_read),
        cmocka_unit_test(a_comment_at_the_end_is_passed_over),
        cmocka_unit_test(a_zip64_end_record_is_read),
        cmocka_unit_test(an_end_record_far_from_the_end_is_none),
        cmocka_unit_test(names_that_are_no_file_names_are_refused),
        cmocka_unit_test(a_hostile_name_stays_on_one_line),
        cmocka_unit_test(methods_and_flags_that_are_not_known_are_refused),
        cmocka_unit_test(a_name_outside_ascii_needs_the_utf8_flag),
        cmocka_unit_test(local_and_central_header_must_agree),
        cmocka_unit_test(the_checksum_is_zlibs),
        cmocka_unit_test(a_wrong_crc_is_found_in_both_methods),
        cmocka_unit_test(a_wrong_inflated_size_is_found),
        cmocka_unit_test(more_than_deflate_can_make_is_refused_before_it_is_made),
        cmocka_unit_test(damaged_deflate_streams_are_refused),
        cmocka_unit_test(bytes_behind_a_deflate_stream_are_refused),
        cmocka_unit_test(a_stored_member_has_one_size),
        cmocka_unit_test(members_that_overlap_are_refused),
        cmocka_unit_test(bytes_that_belong_to_no_member_are_refused),
        cmocka_unit_test(a_descriptor_that_lies_is_refused),
        cmocka_unit_test(missing_or_damaged_zip64_fields_are_refused),
        cmocka_unit_test(a_zip64_field_that_comes_twice_is_refused),
        cmocka_unit_test(archives_of_several_disks_are_refused),
        cmocka_unit_test(an_archive_cut_anywhere_is_refused),
        cmocka_unit_test(other_counts_of_members_are_refused),
        cmocka_unit_test(what_is_written_is_read_and_aligned),
        cmocka_unit_test(equal_members_give_equal_archives),
        cmocka_unit_test(seventy_thousand_members),
        cmocka_unit_test(a_name_written_twice_and_a_wrong_size_are_errors),
        cmocka_unit_test(memory_that_runs_out_leaves_no_archive),
        cmocka_unit_test(a_full_disk_ends_the_archive_wherever_it_is),
        cmocka_unit_test(a_full_disk_ends_the_archive_at_every_byte),
        cmocka_unit_test(a_member_must_be_as_long_as_announced),
        cmocka_unit_test(a_members_name_has_two_bytes_for_its_length),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
