#include "memory.h"
#include "support.h"

#include "ref/file.h"
#include "tools/dump.h"
#include "tools/dump_writer.h"
#include "tools/hash_sink.h"
#include "tools/npy.h"
#include "tools/npz_writer.h"
#include "tools/output.h"
#include "tools/sinks.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

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

static const char *path_of(const char *name)
{
    return support_path(&folder, name);
}

/* How many files stand in the folder: a forgotten temporary file shows here. */
static size_t files_in_folder(void)
{
    DIR *dir = opendir(folder.path);
    size_t n = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n - 2;
}

/* ---- taps to write ---- */

#define TAPS 9
static double reals[60];
static int64_t integers[6] = {0, -1, 32000, INT64_MAX, INT64_MIN, 7};
static uint8_t picture[12] = {0, 1, 2, 3, 127, 128, 129, 250, 251, 253, 254, 255};

static void make_taps(llava_tap taps[TAPS])
{
    for (int i = 0; i < 60; i++) {
        reals[i] = (double)(i - 30) / 8; /* a number of every type */
    }
    reals[3] = NAN;
    reals[4] = HUGE_VAL;
    reals[5] = -HUGE_VAL;
    reals[6] = -0.0;
    const llava_tap all[TAPS] = {
        {"loss", LLAVA_F64, 0, {0}, reals},
        {"text.norm", LLAVA_F64, 3, {3, 4, 5}, reals},
        {"f32", LLAVA_F32, 5, {2, 3, 1, 5, 2}, reals},
        {"f16", LLAVA_F16, 2, {6, 10}, reals},
        {"bf16", LLAVA_BF16, 1, {60}, reals},
        {"input_ids", LLAVA_I64, 2, {1, 6}, integers},
        {"image.rgb", LLAVA_U8, 3, {2, 2, 3}, picture},
        {"empty", LLAVA_F32, 2, {0, 7}, reals},
        {"generated_ids", LLAVA_I64, 1, {0}, integers},
    };
    memcpy(taps, all, sizeof all);
}

static void write_taps(const char *name, bool deflate, const char *meta)
{
    llava_tap taps[TAPS];
    llava_dump_writer *writer;
    llava_error e;
    make_taps(taps);
    if (!llava_dump_writer_open(&writer, path_of(name), deflate, meta, &e)) {
        fail_msg("%s", e.text);
    }
    for (size_t i = 0; i < TAPS; i++) {
        assert_true(llava_dump_writer_put(writer, &taps[i], &e));
    }
    if (!llava_dump_writer_commit(writer, &e)) {
        fail_msg("%s", e.text);
    }
}

static llava_dump *open_dump(const char *name)
{
    llava_dump *dump;
    llava_error e;
    if (!llava_dump_open(&dump, path_of(name), &e)) {
        fail_msg("%s", e.text);
    }
    return dump;
}

static bool same_double(double x, double y)
{
    return memcmp(&x, &y, sizeof x) == 0 || (x != x && y != y);
}

static void check_tap(llava_dump *dump, const llava_tap *tap)
{
    llava_error e;
    const llava_dump_entry *entry = llava_dump_find(dump, tap->name);
    assert_non_null(entry);
    const llava_array expected = llava_array_of_tap(tap);
    assert_true(entry->array.kind == expected.kind && entry->array.size == expected.size);
    assert_int_equal(entry->array.rank, tap->rank);
    for (int i = 0; i < tap->rank; i++) {
        assert_int_equal(entry->array.shape[i], tap->shape[i]);
    }
    double *x;
    int64_t *k;
    if (tap->dtype == LLAVA_I64 || tap->dtype == LLAVA_U8) {
        assert_true(llava_dump_load_integers(dump, entry, &k, &e));
        for (size_t i = 0; i < expected.count; i++) {
            assert_true(k[i] == (tap->dtype == LLAVA_U8 ? ((uint8_t *)tap->data)[i]
                                                        : ((int64_t *)tap->data)[i]));
        }
        free(k);
        return;
    }
    assert_true(llava_dump_load(dump, entry, &x, &e));
    for (size_t i = 0; i < expected.count; i++) {
        assert_true(same_double(x[i], ((double *)tap->data)[i]));
    }
    free(x);
    assert_false(llava_dump_load_integers(dump, entry, &k, &e));
    assert_non_null(strstr(e.text, "integers are needed"));
}

static void check_dump(const char *name)
{
    llava_tap taps[TAPS];
    make_taps(taps);
    llava_dump *dump = open_dump(name);
    assert_int_equal(llava_dump_count(dump), TAPS);
    for (size_t i = 0; i < TAPS; i++) {
        check_tap(dump, &taps[i]);
    }
    assert_null(llava_dump_find(dump, "text"));
    assert_null(llava_dump_find(dump, LLAVA_DUMP_META));
    llava_dump_close(dump);
}

/* ---- round trips ---- */

static void every_type_and_shape_comes_back(void **state)
{
    (void)state;
    write_taps("plain.npz", false, NULL);
    check_dump("plain.npz");
    write_taps("packed.npz", true, NULL);
    check_dump("packed.npz");
    write_taps("folder/", false, NULL);
    check_dump("folder/");
    check_dump("folder");
    assert_int_equal(files_in_folder(), 3);
}

static void an_archive_keeps_the_order_of_the_flow(void **state)
{
    (void)state;
    llava_tap taps[TAPS];
    make_taps(taps);
    write_taps("order.npz", false, "{}");
    llava_dump *dump = open_dump("order.npz");
    for (size_t i = 0; i < TAPS; i++) {
        assert_string_equal(llava_dump_at(dump, i)->name, taps[i].name);
    }
    llava_dump_close(dump);
}

/* What a reader needs that maps a tensor in place of copying it: the very bytes stand there. */
static void a_stored_tensor_lies_where_it_is_said_to(void **state)
{
    static const char *const dumps[] = {"place.npz", "place/", "deflated.npz"};
    (void)state;
    for (size_t d = 0; d < 3; d++) {
        write_taps(dumps[d], d == 2, NULL);
        llava_dump *dump = open_dump(dumps[d]);
        assert_int_equal(llava_dump_is_archive(dump), d != 1);
        for (size_t i = 0; i < llava_dump_count(dump); i++) {
            const llava_dump_entry *entry = llava_dump_at(dump, i);
            char name[64];
            size_t offset = 0;
            llava_file file;
            llava_error e;
            int64_t *values, there;
            if (!llava_dump_place(dump, entry, &offset)) {
                assert_int_equal(d, 2);
                continue;
            }
            assert_true(d < 2);
            if (strcmp(entry->name, "input_ids") != 0) {
                continue;
            }
            snprintf(name, sizeof name, "%s%s", dumps[d], d == 1 ? "input_ids.npy" : "");
            assert_true(llava_file_map(&file, path_of(name), &e));
            assert_true(llava_dump_load_integers(dump, entry, &values, &e));
            for (size_t k = 0; k < 6; k++) {
                assert_true(offset + (k + 1) * sizeof there <= file.size);
                memcpy(&there, file.bytes + offset + k * sizeof there, sizeof there);
                assert_true(there == values[k] && there == integers[k]);
            }
            free(values);
            llava_file_unmap(&file);
        }
        llava_dump_close(dump);
    }
}

static void an_archive_of_nothing_is_a_dump_without_tensors(void **state)
{
    (void)state;
    llava_dump_writer *writer;
    llava_error e;
    assert_true(llava_dump_writer_open(&writer, path_of("nil.npz"), false, NULL, &e));
    assert_true(llava_dump_writer_commit(writer, &e));
    llava_dump *dump = open_dump("nil.npz");
    assert_int_equal(llava_dump_count(dump), 0);
    assert_null(llava_dump_find(dump, "logits"));
    llava_dump_close(dump);
}

static void the_description_is_no_tensor(void **state)
{
    (void)state;
    static const char *const names[] = {"meta.npz", "packed-meta.npz", "meta/"};
    for (size_t i = 0; i < 3; i++) {
        write_taps(names[i], i == 1, "{\"contract\": 1}");
        check_dump(names[i]);
        llava_dump *dump = open_dump(names[i]);
        assert_string_equal(llava_dump_meta(dump), "{\"contract\": 1}");
        llava_dump_close(dump);
    }
}

/* ---- reading in pieces ---- */

#define LONG 200000

/* A member longer than the buffers, stored and deflated: any stretch equals the whole. */
static void any_stretch_of_a_long_tensor_is_read(void **state)
{
    (void)state;
    llava_error e;
    double *x = calloc(LONG, sizeof *x), *y = calloc(LONG, sizeof *y);
    assert_true(x != NULL && y != NULL);
    for (size_t i = 0; i < LONG; i++) {
        x[i] = (double)(i * i % 65536);
    }
    const llava_tap tap = {"long", LLAVA_F32, 2, {LONG / 100, 100}, x};
    for (int deflate = 0; deflate < 2; deflate++) {
        llava_dump_writer *writer;
        assert_true(llava_dump_writer_open(&writer, path_of("l.npz"), deflate != 0, NULL, &e));
        assert_true(llava_dump_writer_put(writer, &tap, &e));
        assert_true(llava_dump_writer_commit(writer, &e));
        llava_dump *dump = open_dump("l.npz");
        const llava_dump_entry *entry = llava_dump_find(dump, "long");
        static const size_t steps[] = {70001, LONG, 999};
        for (size_t s = 0; s < 3; s++) {
            memset(y, 0, LONG * sizeof *y);
            for (size_t i = 0; i < LONG; i += steps[s]) {
                const size_t n = LONG - i < steps[s] ? LONG - i : steps[s];
                assert_true(llava_dump_read(dump, entry, i, n, y + i, &e));
            }
            assert_memory_equal(x, y, LONG * sizeof *x);
        }
        assert_true(llava_dump_read(dump, entry, 5, 10, y, &e)); /* back */
        assert_memory_equal(x + 5, y, 10 * sizeof *x);
        assert_true(llava_dump_read(dump, entry, LONG, 0, y, &e));
        assert_false(llava_dump_read(dump, entry, LONG, 1, y, &e));
        assert_false(llava_dump_read(dump, entry, LONG + 1, 1, y, &e));
        assert_false(llava_dump_read(dump, entry, 1, SIZE_MAX, y, &e));
        llava_dump_close(dump);
    }
    free(x);
    free(y);
}

/* ---- what others write ---- */

typedef struct {
    uint8_t bytes[20000];
    size_t n;
} buffer;

static buffer npy(const char *descr, bool fortran, const char *shape, const void *data, size_t n)
{
    buffer b = {.n = 10};
    b.n += (size_t)snprintf((char *)b.bytes + 10, 1000,
                            "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr,
                            fortran ? "True" : "False", shape);
    memcpy(b.bytes, "\x93NUMPY\x01\x00", 8);
    b.bytes[8] = (uint8_t)(b.n - 10);
    memcpy(b.bytes + b.n, data, n);
    b.n += n;
    return b;
}

static void write_member(const char *file, const char *member, const buffer *b, bool deflate)
{
    llava_output *output;
    llava_npz_writer *writer;
    llava_error e;
    assert_true(llava_output_open(&output, path_of(file), &e));
    assert_true(llava_npz_writer_open(&writer, output, deflate, &e));
    assert_true(llava_npz_writer_begin(writer, member, b->n, &e));
    assert_true(llava_npz_writer_add(writer, b->bytes, b->n, &e));
    assert_true(llava_npz_writer_end(writer, &e));
    assert_true(llava_npz_writer_finish(writer, &e));
    llava_npz_writer_close(writer);
    assert_true(llava_output_commit(output, &e));
}

static void fortran_order_and_big_endian_become_c_order(void **state)
{
    (void)state;
    /* [[1, 2, 3], [4, 5, 6]] as '>i2' in Fortran order. */
    const buffer b = npy(">i2", true, "(2, 3)", "\0\1\0\4\0\2\0\5\0\3\0\6", 12);
    assert_int_equal(mkdir(path_of("f"), 0777), 0);
    support_write(&folder, "f/x.npy", b.bytes, b.n);
    write_member("f.npz", "x.npy", &b, false);
    write_member("fd.npz", "x.npy", &b, true);
    static const char *const names[] = {"f", "f.npz", "fd.npz"};
    for (size_t i = 0; i < 3; i++) {
        llava_error e;
        llava_dump *dump = open_dump(names[i]);
        double x[6];
        const llava_dump_entry *entry = llava_dump_find(dump, "x");
        char dtype[LLAVA_ARRAY_DTYPE];
        llava_array_dtype(&entry->array, dtype);
        assert_string_equal(dtype, ">i2");
        assert_true(llava_dump_read(dump, entry, 4, 2, x + 4, &e));
        assert_true(llava_dump_read(dump, entry, 0, 4, x, &e));
        for (int j = 0; j < 6; j++) {
            assert_true(x[j] == j + 1);
        }
        llava_dump_close(dump);
    }
}

/* More files than there is room for at first. */
static void a_folder_of_many_files_is_read(void **state)
{
    (void)state;
    const buffer b = npy("|u1", true, "(2,)", "xy", 2);
    assert_int_equal(mkdir(path_of("many"), 0777), 0);
    for (int i = 0; i < 70; i++) {
        char name[32];
        snprintf(name, sizeof name, "many/%d.npy", i);
        support_write(&folder, name, b.bytes, b.n);
    }
    llava_dump *dump = open_dump("many");
    llava_error e;
    double *x;
    assert_int_equal(llava_dump_count(dump), 70);
    assert_true(llava_dump_load(dump, llava_dump_find(dump, "69"), &x, &e));
    assert_true(x[0] == 'x' && x[1] == 'y'); /* of one dimension both orders are the same */
    free(x);
    llava_dump_close(dump);
}

static void safetensors_are_read(void **state)
{
    (void)state;
    const char header[] = "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                          "\"i\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[4,12]}}";
    buffer b = {.n = 8};
    b.bytes[0] = (uint8_t)(sizeof header - 1);
    memcpy(b.bytes + 8, header, sizeof header - 1);
    memcpy(b.bytes + 8 + sizeof header - 1, "\x80\x3f\x20\xc0\xfe\xff\xff\xff\xff\xff\xff\xff", 12);
    b.n += sizeof header - 1 + 12;
    support_write(&folder, "s.safetensors", b.bytes, b.n);
    llava_dump *dump = open_dump("s.safetensors");
    llava_error e;
    double *x;
    int64_t *k;
    char dtype[LLAVA_ARRAY_DTYPE];
    assert_int_equal(llava_dump_count(dump), 2);
    llava_array_dtype(&llava_dump_at(dump, 0)->array, dtype);
    assert_string_equal(dtype, "BF16");
    assert_true(llava_dump_load(dump, llava_dump_find(dump, "b"), &x, &e));
    assert_true(x[0] == 1 && x[1] == -2.5);
    assert_true(llava_dump_load_integers(dump, llava_dump_find(dump, "i"), &k, &e));
    assert_true(k[0] == -2);
    free(x);
    free(k);
    assert_false(llava_dump_load_integers(dump, llava_dump_find(dump, "b"), &k, &e));
    support_says(&e, "integers are needed here");
    size_t offset = 0;
    assert_true(llava_dump_place(dump, llava_dump_find(dump, "i"), &offset));
    assert_int_equal(offset, 8 + sizeof header - 1 + 4);
    llava_dump_close(dump);
}

static void safetensors_that_are_no_dump_are_refused(void **state)
{
    static const struct {
        const char *type, *shape, *why;
        size_t n;
    } cases[] = {
        {"F8_E5M2", "[2]", "o.safetensors: b: type F8_E5M2 is not supported", 2},
        /* no elements, yet a stride would overflow */
        {"U8", "[0,4294967296,4294967296]", "o.safetensors: b: the shape is too large", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[128];
        snprintf(header, sizeof header,
                 "{\"b\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%zu]}}", cases[i].type,
                 cases[i].shape, cases[i].n);
        support_write_safetensors(&folder, "o.safetensors", header, cases[i].n);
        llava_dump *dump;
        llava_error e;
        assert_false(llava_dump_open(&dump, path_of("o.safetensors"), &e));
        support_says(&e, cases[i].why);
    }
}

/* ---- refused ---- */

static void refused(const char *name, const char *why)
{
    llava_dump *dump;
    llava_error e = {""};
    if (llava_dump_open(&dump, path_of(name), &e)) {
        llava_dump_close(dump);
        fail_msg("%s accepted, though: %s", name, why);
    }
    if (strstr(e.text, why) == NULL || strstr(e.text, path_of(name)) != e.text) {
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
    }
}

static void members_that_are_no_plain_arrays_are_refused(void **state)
{
    (void)state;
    const char zeros[64] = {0};
    const struct {
        buffer b;
        const char *why;
    } cases[] = {
        {npy("|O", false, "(1,)", zeros, 8), "x: object arrays are not supported"},
        {npy("<f8", false, "(2,)", zeros, 15), "the elements are cut off"},
        {npy("<f8", false, "(2,)", zeros, 0), "the elements are cut off"},
        {npy("<f8", false, "(2,)", zeros, 17), "1 bytes behind the elements"},
        {npy("<f8", false, "(0,)", zeros, 1), "1 bytes behind the elements"},
        {npy("<f8", false, "(1000000000000,)", zeros, 64), "the elements are cut off"},
        {{.bytes = "PK", .n = 2}, "not an .npy file"},
        {{.bytes = "", .n = 0}, "not an .npy file"},
    };
    assert_int_equal(mkdir(path_of("bad"), 0777), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_member("bad.npz", "x.npy", &cases[i].b, false);
        refused("bad.npz", cases[i].why);
        write_member("bad.npz", "x.npy", &cases[i].b, true);
        refused("bad.npz", cases[i].why);
        support_write(&folder, "bad/x.npy", cases[i].b.bytes, cases[i].b.n);
        refused("bad", cases[i].why + (strncmp(cases[i].why, "x: ", 3) == 0 ? 3 : 0));
    }
}

static void members_without_the_suffix_are_refused(void **state)
{
    (void)state;
    const buffer b = npy("<f8", false, "()", "\0\0\0\0\0\0\0\0", 8);
    static const char *const names[] = {"x", "x.txt", ".npy", "x.NPY"};
    for (size_t i = 0; i < 4; i++) {
        write_member("bad.npz", names[i], &b, false);
        refused("bad.npz", "does not end in .npy");
    }
}

static void a_member_that_comes_twice_is_refused(void **state)
{
    (void)state;
    /* Our writer refuses to write it: a second name is patched in both headers. */
    llava_error e;
    llava_dump_writer *writer;
    llava_file file;
    llava_tap tap = {"xx", LLAVA_F64, 0, {0}, reals};
    assert_true(llava_dump_writer_open(&writer, path_of("twice.npz"), false, NULL, &e));
    assert_true(llava_dump_writer_put(writer, &tap, &e));
    tap.name = "xy";
    assert_true(llava_dump_writer_put(writer, &tap, &e));
    assert_true(llava_dump_writer_commit(writer, &e));
    assert_true(llava_file_map(&file, path_of("twice.npz"), &e));
    const size_t n = file.size;
    uint8_t *copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, file.bytes, n);
    llava_file_unmap(&file);
    for (size_t i = 0; i + 6 <= n; i++) {
        if (memcmp(copy + i, "xy.npy", 6) == 0) {
            copy[i + 1] = 'x';
        }
    }
    support_write(&folder, "twice.npz", copy, n);
    free(copy);
    refused("twice.npz", "xx: there are two tensors of this name");
}

static void things_that_are_no_dump_are_refused(void **state)
{
    (void)state;
    support_write_text(&folder, "text", "hello, world");
    refused("text", "neither an .npz archive nor a .safetensors file nor a folder");
    support_write_text(&folder, "nothing", "");
    refused("nothing", "neither an .npz");
    refused("absent", "No such file");
    assert_int_equal(mkdir(path_of("void"), 0777), 0);
    refused("void", "no .npy files in this folder");
    support_write(&folder, "bad.safetensors", "\2\0\0\0\0\0\0\0{]", 10);
    refused("bad.safetensors", "a string is missing");
    assert_int_equal(mkfifo(path_of("fifo"), 0666), 0);
    refused("fifo", "not a regular file");
    assert_int_equal(mkdir(path_of("void/x.npy"), 0777), 0);
    refused("void", "not a regular file");
}

static void a_file_name_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    const buffer b = npy("<f8", false, "()", "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(mkdir(path_of("latin"), 0777), 0);
    support_write(&folder, "latin/\xe4.npy", b.bytes, b.n);
    refused("latin", "\\xe4.npy: the name is not UTF-8");
}

static void a_description_that_is_no_text_is_refused(void **state)
{
    (void)state;
    const struct {
        buffer b;
        const char *why;
    } cases[] = {
        {npy("<f8", false, "(1,)", "\0\0\0\0\0\0\0\0", 8), "not a u8 array"},
        {npy("|u1", false, "()", "x", 1), "not a u8 array"},
        {npy("<u2", false, "(1,)", "xx", 2), "not a u8 array"},
        {npy("|u1", false, "(3,)", "{}\0", 3), "a NUL in the text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_member("m.npz", "__meta__.npy", &cases[i].b, false);
        refused("m.npz", cases[i].why);
    }
    /* damaged: the last letter of a stored text, which stands in front of the directory */
    llava_file file;
    llava_error e;
    const buffer text = npy("|u1", false, "(3,)", "{#}", 3);
    write_member("m.npz", "__meta__.npy", &text, false);
    assert_true(llava_file_map(&file, path_of("m.npz"), &e));
    uint8_t copy[1024];
    const size_t n = file.size;
    assert_true(n <= sizeof copy);
    memcpy(copy, file.bytes, n);
    llava_file_unmap(&file);
    ((uint8_t *)memchr(copy, '#', n))[0] = ' ';
    support_write(&folder, "m.npz", copy, n);
    refused("m.npz", "__meta__.npy: the CRC is wrong");
}

static void integers_that_a_double_cannot_hold_are_refused(void **state)
{
    (void)state;
    const buffer b = npy("<i8", false, "()", "\1\0\0\0\0\0\x20\0", 8);
    llava_error e;
    double *x;
    int64_t *k;
    write_member("i.npz", "x.npy", &b, false);
    llava_dump *dump = open_dump("i.npz");
    assert_false(llava_dump_load(dump, llava_dump_at(dump, 0), &x, &e));
    assert_non_null(strstr(e.text, "i.npz: x: an integer that is too large"));
    assert_true(llava_dump_load_integers(dump, llava_dump_at(dump, 0), &k, &e));
    free(k);
    llava_dump_close(dump);
}

static void a_file_that_changes_under_the_reader_is_noticed(void **state)
{
    const char bytes[] = "0123456789abcdef";
    const struct {
        buffer b;
        const char *why;
    } later[] = {
        {npy("<f8", false, "(1,)", bytes, 8), "has changed"},
        {npy("<f8", false, "(2,)  ", bytes, 16), "has changed"}, /* its elements lie elsewhere */
        {npy("<i8", false, "(2,)", bytes, 16), "has changed"},
        {npy("<f4", false, "(4,)", bytes, 16), "has changed"},
        {npy(">f8", false, "(2,)", bytes, 16), "has changed"},
        {npy("<f8", true, "(2,) ", bytes, 16), "has changed"},
        {npy("<f8", false, "()  ", bytes, 8), "has changed"},
        {{.n = 0}, "not an .npy file"},
    };
    const buffer b = npy("<f8", false, "(2,)", bytes, 16);
    llava_error e;
    double x[2];
    (void)state;
    assert_int_equal(mkdir(path_of("c"), 0777), 0);
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        support_write(&folder, "c/x.npy", b.bytes, b.n);
        llava_dump *dump = open_dump("c");
        support_write(&folder, "c/x.npy", later[i].b.bytes, later[i].b.n);
        assert_false(llava_dump_read(dump, llava_dump_at(dump, 0), 0, 2, x, &e));
        support_says(&e, later[i].why);
        llava_dump_close(dump);
    }
}

/* Deflated, and longer than what is read for its header: found where its elements are read. */
static void damage_behind_a_deflated_header_is_found(void **state)
{
    (void)state;
    static uint8_t elements[16384];
    llava_error e;
    double *x;
    uint64_t seed = 3;
    for (size_t i = 0; i < sizeof elements; i++) {
        elements[i] = (uint8_t)(int)(support_random(&seed) * 127);
    }
    for (int fortran = 0; fortran < 2; fortran++) {
        const buffer b = npy("|i1", fortran != 0, "(128, 128)", elements, sizeof elements);
        write_member("late.npz", "x.npy", &b, true);
        llava_file file;
        assert_true(llava_file_map(&file, path_of("late.npz"), &e));
        uint8_t *copy = malloc(file.size);
        const size_t n = file.size;
        assert_non_null(copy);
        memcpy(copy, file.bytes, n);
        llava_file_unmap(&file);
        copy[n - 500] ^= 1;
        support_write(&folder, "late.npz", copy, n);
        free(copy);
        llava_dump *dump = open_dump("late.npz");
        assert_false(llava_dump_load(dump, llava_dump_at(dump, 0), &x, &e));
        support_says(&e, "late.npz: x.npy: ");
        llava_dump_close(dump);
    }
}

/* ---- planted corruption ---- */

/* Every value of the dump, as the bytes of doubles, in the dump's order; 0 where it is refused. */
static size_t values_of(const char *name, uint8_t *out)
{
    llava_dump *dump;
    llava_error e;
    size_t n = 0;
    if (!llava_dump_open(&dump, path_of(name), &e)) {
        assert_true(strlen(e.text) > 0 && strchr(e.text, '\n') == NULL);
        return 0;
    }
    for (size_t i = 0; i < llava_dump_count(dump); i++) {
        const llava_dump_entry *entry = llava_dump_at(dump, i);
        double *x;
        n += (size_t)snprintf((char *)out + n, 100, "%s %d", entry->name, entry->array.rank);
        if (!llava_dump_load(dump, entry, &x, &e)) {
            llava_dump_close(dump);
            return 0;
        }
        memcpy(out + n, x, entry->array.count * sizeof *x);
        n += entry->array.count * sizeof *x;
        free(x);
    }
    llava_dump_close(dump);
    return n;
}

/* Changes one byte where it lies: thousands of new files would take longer than all the reading. */
static void put_byte(const char *name, size_t at, uint8_t byte)
{
    FILE *file = fopen(path_of(name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fclose(file), 0);
}

static void flip_every_byte(const char *name, size_t *harmless)
{
    static uint8_t expected[4096], got[65536];
    llava_file file;
    llava_error e;
    assert_true(llava_file_map(&file, path_of(name), &e));
    const size_t size = file.size, n = values_of(name, expected);
    uint8_t *copy = malloc(size);
    assert_true(copy != NULL && n > 0);
    memcpy(copy, file.bytes, size);
    llava_file_unmap(&file);
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    support_write(&folder, "flipped.npz", copy, size);
    for (size_t i = 0; i < 3 * size; i++) {
        put_byte("flipped.npz", i / 3, copy[i / 3] ^ masks[i % 3]);
        const size_t m = values_of("flipped.npz", got);
        if (m != 0 && (m != n || memcmp(expected, got, n) != 0)) {
            fail_msg("%s: byte %zu flipped by %#x changes the values", name, i / 3, masks[i % 3]);
        }
        *harmless += m != 0;
        put_byte("flipped.npz", i / 3, copy[i / 3]);
    }
    free(copy);
    /* Only versions, times, attributes and padding may change unnoticed. */
    assert_true(*harmless < size);
}

static void no_flipped_byte_changes_a_value_unnoticed(void **state)
{
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        llava_dump_writer *writer;
        llava_error e;
        size_t harmless = 0;
        double x[3] = {1.5, -2, 1e300};
        int64_t k[2] = {5, -6};
        const llava_tap a = {"a", LLAVA_F64, 1, {3}, x}, b = {"b.c", LLAVA_I64, 2, {1, 2}, k};
        assert_true(llava_dump_writer_open(&writer, path_of("small.npz"), deflate != 0, NULL, &e));
        assert_true(llava_dump_writer_put(writer, &a, &e));
        assert_true(llava_dump_writer_put(writer, &b, &e));
        assert_true(llava_dump_writer_commit(writer, &e));
        flip_every_byte("small.npz", &harmless);
    }
}

/* ---- memory ---- */

static bool read_all(void *self, llava_error *e)
{
    llava_dump *dump;
    double *x;
    if (!llava_dump_open(&dump, self, e)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < llava_dump_count(dump); i++) {
        ok = llava_dump_load(dump, llava_dump_at(dump, i), &x, e);
        free(ok ? x : NULL);
    }
    llava_dump_close(dump);
    return ok;
}

/* Archives, stored and deflated, folders and safetensors; Fortran order in the midst of it. */
static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    static const char *const names[] = {"mem.npz", "deflated.npz", "mem", "mem.safetensors"};
    const buffer b = npy("<i2", true, "(2, 3)", "\0\1\0\4\0\2\0\5\0\3\0\6", 12);
    write_member("mem.npz", "x.npy", &b, false);
    write_member("deflated.npz", "x.npy", &b, true);
    assert_int_equal(mkdir(path_of("mem"), 0777), 0);
    support_write(&folder, "mem/x.npy", b.bytes, b.n);
    support_write_safetensors(&folder, "mem.safetensors",
                              "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}",
                              4);
    for (size_t i = 0; i < 4; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s", path_of(names[i]));
        assert_true(memory_runs_out(read_all, path) > 5);
    }
}

static bool read_meta(void *self, llava_error *e)
{
    char *value;
    bool ok = llava_dump_meta_string("d.npz", self, "inputs", &value, e);
    if (ok) { /* not absent for want of memory */
        assert_non_null(value);
        assert_string_equal(value, "one");
        free(value);
    }
    return ok;
}

static void a_meta_that_memory_is_too_small_for_is_not_absent(void **state)
{
    (void)state;
    char meta[] = "{\"inputs\":\"one\",\"n\":1}", other[] = "{\"inputs\":", *value;
    llava_error e;
    assert_true(memory_runs_out(read_meta, meta) > 3);
    static const char *const keys[] = {"n", "model", "inputs.one"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(llava_dump_meta_string("d.npz", meta, keys[i], &value, &e));
        assert_null(value);
    }
    assert_true(llava_dump_meta_string("d.npz", other, "inputs", &value, &e)); /* no JSON */
    assert_null(value);
    assert_true(llava_dump_meta_string("d.npz", NULL, "inputs", &value, &e));
    assert_null(value);
}

/* ---- writing ---- */

static void a_full_disk_is_an_error_naming_the_file(void **state)
{
    (void)state;
    llava_dump_writer *writer;
    llava_error e = {""};
    static double x[100000];
    const llava_tap tap = {"x", LLAVA_F64, 1, {100000}, x};
    assert_true(llava_dump_writer_open(&writer, "/dev/full", false, "{}", &e));
    assert_false(llava_dump_writer_put(writer, &tap, &e));
    assert_string_equal(e.text, "/dev/full: cannot be written (No space left on device)");
    llava_dump_writer_abort(writer);
    /* What fits the buffer fails at commit. */
    assert_true(llava_dump_writer_open(&writer, "/dev/full", true, "{}", &e));
    assert_false(llava_dump_writer_commit(writer, &e));
    llava_hash *hash;
    assert_true(llava_hash_open(&hash, "/dev/full", &e));
    assert_true(llava_hash_put(hash, &tap, &e));
    assert_false(llava_hash_commit(hash, &e));
    assert_non_null(strstr(e.text, "/dev/full: cannot be written"));
}

/* The same bytes in a file and on standard output, which is put back afterwards. */
static void standard_output_gets_nothing_but_the_archive(void **state)
{
    (void)state;
    llava_tap taps[TAPS];
    llava_dump_writer *writer;
    llava_error e;
    llava_file a, b;
    make_taps(taps);
    write_taps("file.npz", false, "{}");
    fflush(stdout);
    const int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(path_of("stdout.npz"), "wb", stdout));
    bool ok = llava_dump_writer_open(&writer, "-", false, "{}", &e);
    const llava_sink sink = llava_dump_writer_sink(writer);
    for (size_t i = 0; ok && i < TAPS; i++) {
        ok = sink.wants(sink.self, taps[i].name) && sink.take(sink.self, &taps[i], &e);
    }
    ok = ok && llava_dump_writer_commit(writer, &e);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    assert_true(ok);
    assert_true(llava_file_map(&a, path_of("file.npz"), &e));
    assert_true(llava_file_map(&b, path_of("stdout.npz"), &e));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
    llava_file_unmap(&a);
    llava_file_unmap(&b);
}

static void an_aborted_dump_leaves_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"aborted.npz", "aborted/"};
    llava_tap taps[TAPS];
    make_taps(taps);
    const size_t before = files_in_folder();
    for (size_t i = 0; i < 2; i++) {
        llava_dump_writer *writer;
        llava_error e;
        assert_true(llava_dump_writer_open(&writer, path_of(names[i]), false, "{}", &e));
        assert_true(llava_dump_writer_put(writer, &taps[0], &e));
        assert_false(llava_file_exists(path_of(names[i])));
        llava_dump_writer_abort(writer);
        assert_int_equal(files_in_folder(), before);
    }
    llava_dump_writer_abort(NULL);
}

static void an_older_file_is_replaced_whole_or_not_at_all(void **state)
{
    (void)state;
    llava_output *output;
    llava_error e;
    struct stat status;
    llava_file file;
    support_write_text(&folder, "old", "old");
    assert_int_equal(chmod(path_of("old"), 0640), 0);
    assert_int_equal(symlink("old", path_of("link")), 0);
    assert_true(llava_output_open(&output, path_of("link"), &e));
    assert_true(llava_output_print(output, &e, "%s %d", "new", 1));
    llava_output_abort(output);
    assert_true(llava_file_map(&file, path_of("old"), &e));
    assert_int_equal(file.size, 3);
    llava_file_unmap(&file);
    assert_true(llava_output_open(&output, path_of("link"), &e));
    assert_true(llava_output_print(output, &e, "%s %d", "new", 1));
    assert_true(llava_output_commit(output, &e));
    assert_int_equal(lstat(path_of("link"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(stat(path_of("old"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_true(llava_file_map(&file, path_of("old"), &e));
    assert_int_equal(file.size, 5);
    assert_memory_equal(file.bytes, "new 1", 5);
    llava_file_unmap(&file);
}

static void targets_that_cannot_be_written_are_refused(void **state)
{
    (void)state;
    llava_dump_writer *writer;
    llava_error e;
    static const struct {
        const char *name, *why;
    } cases[] = {{"full/", "the folder exists and is not empty"},
                 {"full", "is a folder"},
                 {"a-file/", "Not a directory"},
                 {"no/where.npz", "No such file"},
                 {"no/where/", "No such file"}};
    assert_int_equal(mkdir(path_of("full"), 0777), 0);
    support_write_text(&folder, "full/x", "x");
    support_write_text(&folder, "a-file", "x");
    const size_t before = files_in_folder();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(llava_dump_writer_open(&writer, path_of(cases[i].name), false, NULL, &e));
        if (strstr(e.text, cases[i].why) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].why);
        }
    }
    assert_false(llava_dump_writer_open(&writer, "", false, NULL, &e));
    assert_int_equal(files_in_folder(), before);
    assert_int_equal(mkdir(path_of("vacant"), 0777), 0);
    write_taps("vacant/", false, NULL);
    check_dump("vacant");
}

static void a_tap_written_twice_is_an_error(void **state)
{
    (void)state;
    llava_tap taps[TAPS];
    make_taps(taps);
    static const char *const names[] = {"two.npz", "two/"};
    for (size_t i = 0; i < 2; i++) {
        llava_dump_writer *writer;
        llava_error e = {""};
        assert_true(llava_dump_writer_open(&writer, path_of(names[i]), false, NULL, &e));
        assert_true(llava_dump_writer_put(writer, &taps[0], &e));
        const bool put = llava_dump_writer_put(writer, &taps[0], &e);
        if (put) {
            assert_false(llava_dump_writer_commit(writer, &e));
        } else {
            llava_dump_writer_abort(writer);
        }
        assert_non_null(strstr(e.text, "written twice"));
        assert_null(
            strstr(e.text, "llava-ref.tmp")); /* the name asked for, not the temporary one */
        assert_false(llava_file_exists(path_of(names[i])));
    }
}

static void the_announced_size_is_enough(void **state)
{
    (void)state;
    llava_tap taps[TAPS];
    llava_file file;
    llava_error e;
    uint64_t announced = 100; /* the end record */
    make_taps(taps);
    for (size_t i = 0; i < TAPS; i++) {
        announced += llava_dump_writer_bytes(&taps[i]);
    }
    write_taps("size.npz", false, NULL);
    assert_true(llava_file_map(&file, path_of("size.npz"), &e));
    assert_true(file.size <= announced && announced - file.size < TAPS * 1024);
    llava_file_unmap(&file);
    assert_true(llava_output_room(path_of("size.npz"), announced, &e));
    assert_true(llava_output_room(path_of("new/"), 1, &e));
    assert_true(llava_output_room("-", UINT64_MAX, &e));
    assert_true(llava_output_room("/dev/full", UINT64_MAX, &e));
    assert_false(llava_output_room(path_of("new.npz"), UINT64_MAX / 2, &e));
    assert_non_null(strstr(e.text, "no room on the disk"));
}

/* ---- hash and sinks ---- */

static void the_hash_is_of_the_dumps_bytes(void **state)
{
    (void)state;
    double x[2] = {1, -2.5};
    int64_t k[1] = {1};
    const llava_tap taps[] = {
        {"a.b", LLAVA_BF16, 2, {1, 2}, x},
        {"ids", LLAVA_I64, 0, {0}, k},
        {"none", LLAVA_F64, 3, {1, 0, 8}, x},
    };
    /* sha256sum of "\0\0\x80\x3f\0\0\x20\xc0", of "\1\0\0\0\0\0\0\0", and of nothing. */
    const char *expected =
        "48943f7a0ea247f8e3c9386d0c5822fe181d323a9289980426638cc4e72a43e1  a.b  <f4  [1,2]\n"
        "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8  ids  <i8  []\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  none  <f8  [1,0,8]\n";
    llava_hash *hash;
    llava_file file;
    llava_error e;
    assert_true(llava_hash_open(&hash, path_of("hashes"), &e));
    llava_sink sink = llava_hash_sink(hash);
    for (size_t i = 0; i < 3; i++) {
        assert_true(sink.wants(sink.self, taps[i].name));
        assert_true(sink.take(sink.self, &taps[i], &e));
    }
    assert_true(llava_hash_commit(hash, &e));
    assert_true(llava_file_map(&file, path_of("hashes"), &e));
    assert_int_equal(file.size, strlen(expected));
    assert_memory_equal(file.bytes, expected, file.size);
    llava_file_unmap(&file);
    assert_true(llava_hash_open(&hash, path_of("hashes2"), &e));
    llava_hash_abort(hash);
    assert_false(llava_file_exists(path_of("hashes2")));
}

static void a_star_crosses_dots_and_unmatched_globs_are_named(void **state)
{
    (void)state;
    llava_globs globs;
    llava_error e;
    assert_true(llava_globs_parse(&globs, "text.layers.*.output,logits,vision.?eatures,[x]", &e));
    assert_int_equal(globs.count, 4);
    assert_true(llava_globs_match(&globs, "text.layers.0.output"));
    assert_true(llava_globs_match(&globs, "text.layers.0.mlp.output"));
    assert_false(llava_globs_match(&globs, "text.layers.0.outputs"));
    assert_false(llava_globs_match(&globs, "step.1.logits"));
    assert_string_equal(llava_globs_unmatched(&globs), "logits");
    assert_true(llava_globs_match(&globs, "logits"));
    assert_true(llava_globs_match(&globs, "vision.features"));
    assert_string_equal(llava_globs_unmatched(&globs), "[x]");
    assert_true(llava_globs_match(&globs, "x"));
    assert_null(llava_globs_unmatched(&globs));
    llava_globs_free(&globs);
    assert_false(llava_globs_parse(&globs, "", &e));
    assert_false(llava_globs_parse(&globs, "a,,b", &e));
    assert_false(llava_globs_parse(&globs, "a,", &e));
    assert_non_null(strstr(e.text, "empty pattern"));
}

static bool count_take(void *self, const llava_tap *tap, llava_error *e)
{
    (void)tap;
    ++*(int *)self;
    return *(int *)self < 3 || llava_fail(e, "enough");
}

static bool count_wants(void *self, const char *name)
{
    (void)self;
    return strcmp(name, "unwanted") != 0;
}

static void filters_and_fans_pass_on_what_is_wanted(void **state)
{
    (void)state;
    int a = 0, b = 0;
    llava_globs globs;
    llava_error e;
    assert_true(llava_globs_parse(&globs, "text.*,unwanted", &e));
    llava_glob_filter filter = {&globs, {count_wants, count_take, &a}};
    llava_fan fan = {.sinks = {llava_filter_sink(&filter), {count_wants, count_take, &b}},
                     .count = 2};
    const llava_sink sink = llava_fan_sink(&fan);
    llava_tap tap = {"text.norm", LLAVA_F64, 0, {0}, reals};
    assert_true(sink.wants(sink.self, "logits"));
    assert_false(sink.wants(sink.self, "unwanted"));
    assert_non_null(llava_globs_unmatched(&globs)); /* to ask marks nothing */
    assert_true(sink.take(sink.self, &tap, &e));
    tap.name = "logits";
    assert_true(sink.take(sink.self, &tap, &e));
    assert_true(a == 1 && b == 2);
    assert_false(sink.take(sink.self, &tap, &e));
    assert_string_equal(e.text, "enough");
    llava_globs_free(&globs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_shape_comes_back),
        cmocka_unit_test(an_archive_keeps_the_order_of_the_flow),
        cmocka_unit_test(a_stored_tensor_lies_where_it_is_said_to),
        cmocka_unit_test(an_archive_of_nothing_is_a_dump_without_tensors),
        cmocka_unit_test(a_folder_of_many_files_is_read),
        cmocka_unit_test(the_description_is_no_tensor),
        cmocka_unit_test(any_stretch_of_a_long_tensor_is_read),
        cmocka_unit_test(fortran_order_and_big_endian_become_c_order),
        cmocka_unit_test(safetensors_are_read),
        cmocka_unit_test(safetensors_that_are_no_dump_are_refused),
        cmocka_unit_test(members_that_are_no_plain_arrays_are_refused),
        cmocka_unit_test(members_without_the_suffix_are_refused),
        cmocka_unit_test(a_member_that_comes_twice_is_refused),
        cmocka_unit_test(things_that_are_no_dump_are_refused),
        cmocka_unit_test(a_file_name_that_is_not_utf8_is_refused),
        cmocka_unit_test(a_description_that_is_no_text_is_refused),
        cmocka_unit_test(integers_that_a_double_cannot_hold_are_refused),
        cmocka_unit_test(a_file_that_changes_under_the_reader_is_noticed),
        cmocka_unit_test(damage_behind_a_deflated_header_is_found),
        cmocka_unit_test(no_flipped_byte_changes_a_value_unnoticed),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(a_meta_that_memory_is_too_small_for_is_not_absent),
        cmocka_unit_test(a_full_disk_is_an_error_naming_the_file),
        cmocka_unit_test(standard_output_gets_nothing_but_the_archive),
        cmocka_unit_test(an_aborted_dump_leaves_nothing),
        cmocka_unit_test(an_older_file_is_replaced_whole_or_not_at_all),
        cmocka_unit_test(targets_that_cannot_be_written_are_refused),
        cmocka_unit_test(a_tap_written_twice_is_an_error),
        cmocka_unit_test(the_announced_size_is_enough),
        cmocka_unit_test(the_hash_is_of_the_dumps_bytes),
        cmocka_unit_test(a_star_crosses_dots_and_unmatched_globs_are_named),
        cmocka_unit_test(filters_and_fans_pass_on_what_is_wanted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
