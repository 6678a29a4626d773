/* One safetensors file: what the format's text allows is read, everything else refused. */
#include "ref/safetensors.h"

#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

static bool open_header(llava_safetensors *file, const char *header, size_t n, llava_error *e)
{
    support_write_safetensors(&folder, "m.safetensors", header, n);
    return llava_safetensors_open(file, support_path(&folder, "m.safetensors"), e);
}

static void refused(const char *header, size_t n, const char *message)
{
    llava_safetensors file;
    llava_error e;
    if (open_header(&file, header, n, &e)) {
        llava_safetensors_close(&file);
        fail_msg("%s was taken", header);
    }
    support_says(&e, message);
    support_says(&e, "m.safetensors: ");
}

static void taken(const char *header, size_t n)
{
    llava_safetensors file;
    llava_error e;
    if (!open_header(&file, header, n, &e)) {
        fail_msg("%s was refused: %s", header, e.text);
    }
    llava_safetensors_close(&file);
}

static void refused_bytes(const void *bytes, size_t n, const char *message)
{
    llava_safetensors file;
    llava_error e;
    support_write(&folder, "raw.safetensors", bytes, n);
    assert_false(llava_safetensors_open(&file, support_path(&folder, "raw.safetensors"), &e));
    support_says(&e, message);
}

#define F32(name, shape, begin, end)                                                               \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void tensors_come_in_the_order_of_their_bytes(void **state)
{
    (void)state;
    llava_safetensors file;
    llava_error e;
    const char *header =
        "{\"__metadata__\":{\"format\":\"pt\"}," F32("b", "[2]", "4", "12") "," F32(
            "a", "[]", "0",
            "4") ",\"c\":{\"shape\":[2,1],\"dtype\":\"BF16\",\"data_offsets\":[12,16],"
                 "\"new\":0}}  ";
    assert_true(open_header(&file, header, 16, &e));
    assert_int_equal(file.count, 3);
    assert_string_equal(file.tensors[0].name, "a");
    assert_int_equal(file.tensors[0].rank, 0);
    assert_int_equal(file.tensors[0].count, 1);
    assert_string_equal(file.tensors[1].name, "b");
    assert_int_equal(file.tensors[1].bytes[0], 4); /* the data count 0, 1, 2, ... */
    assert_int_equal(file.tensors[2].bytes[3], 15);
    assert_int_equal(file.tensors[2].dtype, LLAVA_BF16);
    assert_true(file.tensors[2].is_float);
    assert_int_equal(file.tensors[2].shape[0], 2);
    assert_int_equal(file.header_size, strlen(header));
    assert_memory_equal(file.header, header, strlen(header));
    llava_safetensors_close(&file);
}

static void every_type_of_the_format_has_its_size(void **state)
{
    (void)state;
    const struct {
        const char *name;
        size_t bits;
        bool is_float;
    } types[] = {
        {"F64", 64, true},     {"F32", 32, true},     {"F16", 16, true},  {"BF16", 16, true},
        {"I64", 64, false},    {"U64", 64, false},    {"I32", 32, false}, {"U32", 32, false},
        {"I16", 16, false},    {"U16", 16, false},    {"I8", 8, false},   {"U8", 8, false},
        {"BOOL", 8, false},    {"F8_E4M3", 8, false}, {"F4", 4, false},   {"F6_E2M3", 6, false},
        {"F8_E5M2", 8, false}, {"F8_E8M0", 8, false}, {"C64", 64, false}, {"F6_E3M2", 6, false},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char header[160];
        llava_safetensors file;
        llava_error e;
        size_t n = types[i].bits; /* 8 elements */
        snprintf(header, sizeof header,
                 "{\"t\":{\"dtype\":\"%s\",\"shape\":[8],\"data_offsets\":[0,%zu]}}", types[i].name,
                 n);
        assert_true(open_header(&file, header, n, &e));
        assert_int_equal(file.tensors[0].is_float, types[i].is_float);
        assert_string_equal(file.tensors[0].type_name, types[i].name);
        llava_safetensors_close(&file);
    }
    refused("{\"t\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1,
            "tensor 't': data_offsets do not fit the shape and the type");
    refused("{\"t\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
            "tensor 't': unknown dtype 'f32'");
}

static void files_without_tensors_or_elements_are_files(void **state)
{
    (void)state;
    taken("{}", 0);
    taken("{\"__metadata__\":{}}", 0);
    taken("{" F32("a", "[0,3]", "0", "0") "," F32("b", "[0]", "0", "0") "," F32("c", "[1]", "0",
                                                                                "4") "}",
          4);
    taken("{" F32("c", "[1]", "0", "4") "," F32("a", "[0,3]", "0", "0") "}", 4);
    taken("{" F32("a", "[1,1,1,1,1,1,1,1]", "0", "4") "}", 4);
}

static void a_cut_or_overlong_header_is_refused(void **state)
{
    (void)state;
    refused_bytes("", 0, "the file ends before its header does");
    refused_bytes("\2\0\0\0\0\0\0", 7, "the file ends before its header does");
    refused_bytes("\3\0\0\0\0\0\0\0{}", 10, "the file ends before its header does");
    refused_bytes("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10, "the file ends before its header does");
    refused_bytes("\0\0\0\0\0\0\0\0", 8, "does not begin with '{'");
}

static void a_header_above_the_formats_limit_is_refused(void **state)
{
    (void)state;
    /* A hole in the file takes no disk space. */
    llava_safetensors file;
    llava_error e;
    const char *path = support_path(&folder, "large.safetensors");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    const uint8_t length[8] = {0x01, 0xE1, 0xF5, 0x05}; /* 100,000,001 */
    fwrite(length, 1, 8, f);
    assert_int_equal(fseek(f, 8 + 100000001 - 1, SEEK_SET), 0);
    fputc('}', f);
    assert_int_equal(fclose(f), 0);
    assert_false(llava_safetensors_open(&file, path, &e));
    support_says(&e, "the header has more than 100000000 bytes");
}

static void a_header_that_is_no_plain_object_is_refused(void **state)
{
    (void)state;
    refused(" {}", 0, "does not begin with '{'");
    refused("\xEF\xBB\xBF{}", 0, "does not begin with '{'");
    refused("[]", 0, "does not begin with '{'");
    refused("{", 0, "a string is missing");
    refused("{}x", 0, "bytes behind the end");
    refused("{" F32("a", "[1]", "0", "4") "," F32("a", "[1]", "4", "8") "}", 8,
            "duplicate key 'a'");
    refused("{\"a\":1}", 0, "tensor 'a': must be an object");
    refused("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ must hold strings only");
    refused("{\"__metadata__\":1}", 0, "__metadata__");
    refused("{\"__metadata__\":{\"a\":1,\"b\":\"x\"}}", 0, "__metadata__ must hold strings only");
}

static void a_broken_entry_is_refused(void **state)
{
    (void)state;
    refused("{\"a\":{}}", 0, "tensor 'a': dtype must be a string");
    refused("{\"a\":{\"dtype\":\"U8\"}}", 0, "tensor 'a': shape must be an array");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets must be [begin, end]");
    refused("{" F32("a", "[1]", "4", "0") "}", 4, "data_offsets must be [begin, end]");
    refused("{" F32("a", "[1]", "-4", "0") "}", 4, "data_offsets must be [begin, end]");
    refused("{" F32("a", "[1]", "0,2", "4") "}", 4, "data_offsets must be [begin, end]");
    refused("{" F32("a", "[1]", "0", "\"4\"") "}", 4, "data_offsets must be [begin, end]");
    refused("{" F32("a", "[1.5]", "0", "4") "}", 4, "shape must hold whole numbers");
    refused("{" F32("a", "[-1]", "0", "4") "}", 4, "shape must hold whole numbers");
    refused("{" F32("a", "[2]", "0", "4") "}", 4, "do not fit the shape and the type");
    refused("{" F32("a", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "more than 8 dimensions");
}

static void a_long_name_does_not_push_the_complaint_away(void **state)
{
    (void)state;
    char header[3000];
    snprintf(header, sizeof header, "{\"%02000d\":{}}", 0);
    refused(header, 0, "000': dtype must be a string");
}

static void products_that_overflow_are_refused(void **state)
{
    (void)state;
    refused("{" F32("a", "[4294967296,4294967296]", "0", "0") "}", 0, "product is too large");
    /* The product fits, its bits do not. */
    refused("{" F32("a", "[4294967296,1073741824]", "0", "0") "}", 0, "do not fit");
}

static void holes_overlaps_and_a_wrong_end_are_refused(void **state)
{
    (void)state;
    refused("{" F32("a", "[1]", "4", "8") "}", 8, "tensor 'a': there is a hole in front");
    refused("{" F32("a", "[1]", "0", "4") "," F32("b", "[1]", "8", "12") "}", 12,
            "tensor 'b': there is a hole in front");
    refused("{" F32("a", "[2]", "0", "8") "," F32("b", "[1]", "4", "8") "}", 8,
            "tensor 'b': its bytes overlap");
    refused("{" F32("a", "[1]", "0", "4") "," F32("b", "[1]", "0", "4") "}", 4, "overlap");
    refused("{" F32("a", "[2]", "0", "8") "}", 7, "tensor 'a': the file ends before its bytes do");
    refused("{" F32("a", "[1]", "0", "4") "}", 6, "2 bytes behind the last tensor");
    refused("{}", 1, "1 bytes behind the last tensor");
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    llava_safetensors file;
    llava_error e;
    assert_int_equal(mkfifo(support_path(&folder, "fifo"), 0600), 0);
    assert_false(llava_safetensors_open(&file, support_path(&folder, "fifo"), &e));
    support_says(&e, "not a regular file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_come_in_the_order_of_their_bytes),
        cmocka_unit_test(every_type_of_the_format_has_its_size),
        cmocka_unit_test(files_without_tensors_or_elements_are_files),
        cmocka_unit_test(a_cut_or_overlong_header_is_refused),
        cmocka_unit_test(a_header_above_the_formats_limit_is_refused),
        cmocka_unit_test(a_header_that_is_no_plain_object_is_refused),
        cmocka_unit_test(a_broken_entry_is_refused),
        cmocka_unit_test(a_long_name_does_not_push_the_complaint_away),
        cmocka_unit_test(products_that_overflow_are_refused),
        cmocka_unit_test(holes_overlaps_and_a_wrong_end_are_refused),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
