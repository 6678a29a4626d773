#include "tools/npy.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A file of the given version around a header's text, in memory of exactly its size, so that the
 * address sanitizer sees a read beyond it. */
static uint8_t *make(int major, const char *header, size_t *n)
{
    const size_t length = strlen(header), start = major == 1 ? 10 : 12;
    uint8_t *bytes = calloc(1, start + length);
    assert_non_null(bytes);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (uint8_t)major;
    bytes[8] = (uint8_t)(length & 0xff);
    bytes[9] = (uint8_t)(length >> 8);
    memcpy(bytes + start, header, length);
    *n = start + length;
    return bytes;
}

static bool read_text(int major, const char *header, llava_array *array, llava_error *e)
{
    size_t n, data;
    uint8_t *bytes = make(major, header, &n);
    const bool ok = llava_npy_read(array, &data, bytes, n, e);
    assert_true(!ok || data == n);
    free(bytes);
    return ok;
}

static void refused(const char *header, const char *why)
{
    llava_array array;
    llava_error e = {""};
    if (read_text(1, header, &array, &e)) {
        fail_msg("accepted: %s", header);
    }
    if (strstr(e.text, why) == NULL) {
        fail_msg("%s: \"%s\" does not say \"%s\"", header, e.text, why);
    }
}

#define FLOATS(shape) "{'descr': '<f8', 'fortran_order': False, 'shape': " shape ", }\n"
#define TYPE(descr)   "{'descr': " descr ", 'fortran_order': False, 'shape': (2,), }\n"

static void every_version_and_order_of_keys(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }          \n",
        "{'shape': (2, 3), 'descr': '>f4', 'fortran_order': True}\n",
        "{\"fortran_order\":True,\"shape\":(2,3,),\"descr\":\">f4\",}",
        "{'descr': '>f4', 'fortran_order': True, 'shape': (2L, 3L), }\n", /* Python 2 */
    };
    for (int major = 1; major <= 3; major++) {
        for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
            llava_array a;
            llava_error e;
            assert_true(read_text(major, headers[i], &a, &e));
            assert_true(a.kind == 'f' && a.size == 4 && a.big_endian && a.fortran);
            assert_int_equal(a.rank, 2);
            assert_int_equal(a.shape[0], 2);
            assert_int_equal(a.shape[1], 3);
            assert_int_equal(a.count, 6);
            assert_int_equal(a.bytes, 24);
        }
    }
}

static void every_shape_up_to_rank_8(void **state)
{
    (void)state;
    llava_array a;
    llava_error e;
    assert_true(read_text(1, FLOATS("()"), &a, &e));
    assert_true(a.rank == 0 && a.count == 1 && a.bytes == 8);
    assert_true(read_text(1, FLOATS("(0,)"), &a, &e));
    assert_true(a.rank == 1 && a.count == 0 && a.bytes == 0);
    assert_true(read_text(1, FLOATS("(1, 2, 1, 2, 1, 2, 1, 2)"), &a, &e));
    assert_true(a.rank == 8 && a.count == 16);
    refused(FLOATS("(1, 1, 1, 1, 1, 1, 1, 1, 1)"), "more than 8 dimensions");
}

static void other_types_are_refused_by_name(void **state)
{
    (void)state;
    refused(TYPE("'|O'"), "object arrays");
    refused(TYPE("'O'"), "not supported");
    refused(TYPE("[('a', '<f8'), ('b', '<i4')]"), "structured");
    refused(TYPE("('<f8', (2,))"), "structured");
    refused(TYPE("'|V2'"), "structured and void");
    refused(TYPE("'<U5'"), "Unicode text");
    refused(TYPE("'|S5'"), "byte text");
    refused(TYPE("'<c8'"), "complex");
    refused(TYPE("'<c16'"), "complex");
    refused(TYPE("'<M8[ns]'"), "dates and times");
    refused(TYPE("'<m8'"), "dates and times");
    refused(TYPE("'<f16'"), "not supported (descr '<f16')");
    refused(TYPE("'<f3'"), "not supported");
    refused(TYPE("'<i16'"), "not supported");
    refused(TYPE("'|b2'"), "not supported");
    refused(TYPE("'=f8'"), "byte order");
    refused(TYPE("'|f8'"), "byte order");
    refused(TYPE("'f8'"), "not supported");
    refused(TYPE("''"), "not supported");
    refused(TYPE("'<f\\x38'"), "not a type");
    refused(TYPE("'<f8\x01'"), "not a type");
    refused(TYPE("8"), "not a type");
    refused(TYPE("'<f8 and on, longer than any type that there is or will be'"), "not a type");
}

static void headers_that_are_not_the_dictionary_are_refused(void **state)
{
    (void)state;
    refused("", "not NumPy's dictionary");
    refused("{", "not NumPy's dictionary");
    refused("{}\n", "lacks one of");
    refused("{'descr': '<f8', 'shape': (2,), }\n", "lacks one of");
    refused("{'descr': '<f8', 'fortran_order': False, }\n", "lacks one of");
    refused("{'fortran_order': False, 'shape': (2,), }\n", "lacks one of");
    refused("{'descr': '<f8', 'fortran_order': ", "neither");
    refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2", "not a tuple");
    refused("{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", "twice");
    refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'x': 1}", "unknown key 'x'");
    refused("{'descr': '<f8' 'fortran_order': False, 'shape': (2,)}", "not NumPy's dictionary");
    refused("{'descr': '<f8', 'fortran_order': 0, 'shape': (2,)}", "neither True nor False");
    refused("{'descr': '<f8', 'fortran_order': false, 'shape': (2,)}", "neither True nor False");
    refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)} {}", "goes on");
    refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)", "not NumPy's dictionary");
    refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2,", "not a natural number");
    refused("{'descr': '<f8', 'fortran_order': Fals", "neither");
    refused("{'descr': '<f8", "not a type");
}

static void shapes_that_are_no_shapes_are_refused(void **state)
{
    (void)state;
    refused(FLOATS("(3)"), "not a tuple");
    refused(FLOATS("3"), "not a tuple");
    refused(FLOATS("[3]"), "not a tuple");
    refused(FLOATS("(2 3)"), "not a tuple");
    refused(FLOATS("(,)"), "not a natural number");
    refused(FLOATS("(2,,3)"), "not a natural number");
    refused(FLOATS("(-1,)"), "not a natural number");
    refused(FLOATS("(2.0,)"), "not a tuple");
    refused(FLOATS("(0x2,)"), "not a tuple");
    refused(FLOATS("(02,)"), "leading zero");
    refused(FLOATS("(99999999999999999999999,)"), "too large");
    refused(FLOATS("(18446744073709551615,)"), "too large");
    refused(FLOATS("(18446744073709551616,)"), "too large"); /* 2^64, by its last digit */
    refused(FLOATS("(4294967296, 4294967296)"), "too large");
    /* The product is zero, yet a stride would overflow. */
    refused(FLOATS("(0, 4294967296, 4294967296)"), "too large");
    refused(FLOATS("(4294967296, 4294967296, 0)"), "too large");
}

static void a_file_cut_anywhere_in_its_header_is_refused(void **state)
{
    (void)state;
    for (int major = 1; major <= 3; major++) {
        size_t n, data;
        uint8_t *bytes = make(major, FLOATS("(2, 3)"), &n);
        for (size_t cut = 0; cut < n; cut++) {
            llava_array array;
            llava_error e;
            uint8_t *part = malloc(cut + 1);
            assert_non_null(part);
            memcpy(part, bytes, cut);
            assert_false(llava_npy_read(&array, &data, part, cut, &e));
            free(part);
        }
        free(bytes);
    }
}

static void other_magic_versions_and_lengths_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } cases[] = {
        {0, 0x92, "not an .npy"}, {5, 'Z', "not an .npy"}, {6, 0, "version 0.0"},
        {6, 4, "version 4.0"},    {7, 1, "version 1.1"},   {9, 0x40, "longer than 10000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n, data;
        llava_array array;
        llava_error e;
        uint8_t *bytes = make(1, FLOATS("(2, 3)"), &n);
        bytes[cases[i].at] = cases[i].value;
        assert_false(llava_npy_read(&array, &data, bytes, n, &e));
        assert_non_null(strstr(e.text, cases[i].why));
        free(bytes);
    }
}

/* The bytes of numpy.save(numpy.zeros((2, 3), '<f4')) and of a scalar, written down from NumPy. */
static void a_written_header_is_numpys_own(void **state)
{
    (void)state;
    uint8_t out[LLAVA_NPY_HEADER];
    llava_array a = {.kind = 'f', .size = 4, .rank = 2, .shape = {2, 3}};
    assert_int_equal(llava_npy_write(&a, out), 128);
    assert_memory_equal(out, "\x93NUMPY\x01\x00\x76\x00", 10);
    const char *text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    assert_memory_equal(out + 10, text, strlen(text));
    for (size_t i = 10 + strlen(text); i < 127; i++) {
        assert_int_equal(out[i], ' ');
    }
    assert_int_equal(out[127], '\n');
    a = (llava_array){.kind = 'f', .size = 8, .rank = 0};
    assert_int_equal(llava_npy_write(&a, out), 128);
    assert_memory_equal(out + 10, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 55);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    for (int rank = 0; rank <= LLAVA_MAX_RANK; rank++) {
        for (llava_dtype type = LLAVA_F64; type <= LLAVA_U8; type++) {
            llava_tap tap = {.dtype = type, .rank = rank, .shape = {3, 1, 0, 7, 1000000}};
            const llava_array a = llava_array_of_tap(&tap);
            llava_array b;
            llava_error e;
            uint8_t out[LLAVA_NPY_HEADER];
            size_t data;
            const size_t n = llava_npy_write(&a, out);
            assert_int_equal(n % 64, 0);
            assert_true(llava_npy_read(&b, &data, out, n, &e));
            assert_int_equal(data, n);
            assert_true(a.kind == b.kind && a.size == b.size && a.rank == b.rank);
            assert_memory_equal(a.shape, b.shape, sizeof a.shape);
            assert_true(a.count == b.count && a.bytes == b.bytes && !b.fortran && !b.big_endian);
        }
    }
}

/* ---- elements ---- */

static void a_nan_has_one_pattern_whatever_its_payload(void **state)
{
    (void)state;
    const uint64_t pattern = UINT64_C(0xfff4000000000123); /* negative, signalling, payload */
    double x;
    memcpy(&x, &pattern, sizeof x);
    uint8_t out[8];
    llava_array_encode(LLAVA_F64, &x, 0, 1, out);
    assert_memory_equal(out, "\0\0\0\0\0\0\xf8\x7f", 8);
    llava_array_encode(LLAVA_F32, &x, 0, 1, out);
    assert_memory_equal(out, "\0\0\xc0\x7f", 4);
    llava_array_encode(LLAVA_BF16, &x, 0, 1, out);
    assert_memory_equal(out, "\0\0\xc0\x7f", 4);
    llava_array_encode(LLAVA_F16, &x, 0, 1, out);
    assert_memory_equal(out, "\0\x7e", 2);
}

static void has_bytes(const uint8_t *at, uint32_t bits, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(at[i], bits >> (8 * i) & 255);
    }
}

/* Every way of encoding gives what one number alone gives: all float16 and bfloat16 numbers, their
 * neighbours that are none, NaN among them, in pieces of every length. */
static void a_piece_is_encoded_as_its_numbers_are(void **state)
{
    (void)state;
    enum { MOST = 19 };
    double x[MOST];
    uint8_t out[8 * MOST];
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        size_t n = 1 + bits % MOST;
        for (size_t i = 0; i < n; i++) {
            double same = i % 2 == 0 ? llava_decode_f16((uint16_t)(bits + 7 * i))
                                     : llava_decode_bf16((uint16_t)(bits + 5 * i));
            x[i] = bits % 3 == 0 && i == n / 2 ? same * (1 + 0x1p-30) : same;
            x[i] = bits % 2 == 0 ? llava_decode_bf16((uint16_t)(bits + i)) : x[i];
        }
        llava_array_encode(LLAVA_F32, x, 0, n, out);
        for (size_t i = 0; i < n; i++) {
            float narrow = (float)x[i];
            uint32_t bits_of;
            memcpy(&bits_of, &narrow, sizeof bits_of);
            has_bytes(out + 4 * i, x[i] != x[i] ? 0x7fc00000 : bits_of, 4);
        }
        llava_array_encode(LLAVA_F16, x, 0, n, out);
        for (size_t i = 0; i < n; i++) {
            has_bytes(out + 2 * i, llava_encode_f16(x[i]), 2);
        }
        llava_array_encode(LLAVA_BF16, x, 0, n, out);
        for (size_t i = 0; i < n; i++) {
            has_bytes(out + 4 * i, (uint32_t)llava_encode_bf16(x[i]) << 16, 4);
        }
        bool nan = false;
        for (size_t i = 0; i < n; i++) {
            nan |= x[i] != x[i];
        }
        const uint16_t one = 1;
        bool little = *(const uint8_t *)&one == 1;
        assert_int_equal(llava_array_lies_ready(LLAVA_F64, x, 0, n), little && !nan);
        assert_false(llava_array_lies_ready(LLAVA_F32, x, 0, n));
    }
}

static void elements_are_encoded_little_endian_and_rounded_once(void **state)
{
    (void)state;
    const double x[4] = {1.0, -2.5, 0x1.000001p0, -0.0}; /* the third lies between two floats */
    const int64_t k[2] = {-2, INT64_C(0x0102030405060708)};
    const uint8_t u[3] = {0, 7, 255};
    uint8_t out[32];
    llava_array_encode(LLAVA_F64, x, 1, 1, out);
    assert_memory_equal(out, "\0\0\0\0\0\0\x04\xc0", 8);
    llava_array_encode(LLAVA_F32, x, 0, 4, out);
    assert_memory_equal(out, "\0\0\x80\x3f\0\0\x20\xc0\0\0\x80\x3f\0\0\0\x80", 16);
    llava_array_encode(LLAVA_F16, x, 0, 4, out);
    assert_memory_equal(out, "\0\x3c\0\xc1\0\x3c\0\x80", 8);
    llava_array_encode(LLAVA_BF16, x, 0, 4, out);
    assert_memory_equal(out, "\0\0\x80\x3f\0\0\x20\xc0\0\0\x80\x3f\0\0\0\x80", 16);
    llava_array_encode(LLAVA_I64, k, 0, 2, out);
    assert_memory_equal(out, "\xfe\xff\xff\xff\xff\xff\xff\xff\x08\x07\x06\x05\x04\x03\x02\x01",
                        16);
    llava_array_encode(LLAVA_U8, u, 1, 2, out);
    assert_memory_equal(out, "\x07\xff", 2);
}

static void every_type_decodes_in_both_byte_orders(void **state)
{
    (void)state;
    static const struct {
        char kind;
        size_t size;
        const char *little;
        double value;
    } cases[] = {
        {'f', 8, "\0\0\0\0\0\0\x04\xc0", -2.5},
        {'f', 4, "\0\0\x20\xc0", -2.5},
        {'f', 2, "\0\xc1", -2.5},
        {'B', 2, "\x20\xc0", -2.5},
        {'i', 1, "\x80", -128},
        {'i', 2, "\x01\x80", -32767},
        {'i', 4, "\xfe\xff\xff\xff", -2},
        {'i', 8, "\0\0\0\0\0\0\xe0\xff", -9007199254740992.0},
        {'u', 1, "\x80", 128},
        {'u', 2, "\x01\x80", 32769},
        {'u', 4, "\xfe\xff\xff\xff", 4294967294.0},
        {'u', 8, "\0\0\0\0\0\0\x20\0", 9007199254740992.0},
        {'b', 1, "\x01", 1},
        {'b', 1, "\x02", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        llava_array a = {.kind = cases[i].kind, .size = cases[i].size};
        uint8_t turned[8];
        double x;
        int64_t k;
        for (size_t b = 0; b < a.size; b++) {
            turned[b] = (uint8_t)cases[i].little[a.size - 1 - b];
        }
        for (int big = 0; big < 2; big++) {
            const uint8_t *bytes = big ? turned : (const uint8_t *)cases[i].little;
            a.big_endian = big != 0;
            assert_int_equal(llava_array_decode(&a, bytes, 1, &x), 1);
            assert_true(x == cases[i].value);
            if (a.kind != 'f' && a.kind != 'B') {
                assert_int_equal(llava_array_decode_integers(&a, bytes, 1, &k), 1);
                assert_true((double)k == cases[i].value);
            }
        }
    }
}

static void integers_that_do_not_fit_are_found(void **state)
{
    (void)state;
    const uint8_t bytes[24] = {[6] = 0x20, [8] = 1, [14] = 0x20, [23] = 0x80};
    double x[3];
    int64_t k[3];
    llava_array a = {.kind = 'u', .size = 8};
    assert_int_equal(llava_array_decode(&a, bytes, 3, x), 1);          /* 2^53 + 1 */
    assert_int_equal(llava_array_decode_integers(&a, bytes, 3, k), 2); /* 2^63 */
    assert_int_equal(llava_array_decode(&a, bytes + 16, 1, x), 0);
    a.kind = 'i';
    assert_int_equal(llava_array_decode_integers(&a, bytes, 3, k), 3);
    assert_true(k[1] == (INT64_C(1) << 53) + 1 && k[2] == INT64_MIN);
    assert_int_equal(llava_array_decode(&a, bytes + 16, 1, x), 0);
}

static void special_values_survive(void **state)
{
    (void)state;
    const double x[5] = {HUGE_VAL, -HUGE_VAL, NAN, 0x1p-1074, -0x1.fffffffffffffp1023};
    const llava_array a = {.kind = 'f', .size = 8};
    uint8_t bytes[40];
    double y[5];
    llava_array_encode(LLAVA_F64, x, 0, 5, bytes);
    assert_int_equal(llava_array_decode(&a, bytes, 5, y), 5);
    assert_true(y[0] == HUGE_VAL && y[1] == -HUGE_VAL && y[2] != y[2] && y[3] == x[3] &&
                y[4] == x[4]);
}

/* Fortran order: element (i, j, k) of shape [2, 3, 4] lies at i + 2 * (j + 3 * k). */
static void fortran_order_is_gathered_from_any_start(void **state)
{
    (void)state;
    llava_array a = {.kind = 'u', .size = 1, .fortran = true, .rank = 3, .shape = {2, 3, 4}};
    uint8_t bytes[24], expected[24], out[24];
    assert_true(llava_array_measure(&a));
    for (size_t i = 0, n = 0; i < 2; i++) {
        for (size_t j = 0; j < 3; j++) {
            for (size_t k = 0; k < 4; k++, n++) {
                bytes[i + 2 * (j + 3 * k)] = (uint8_t)n;
                expected[n] = (uint8_t)n;
            }
        }
    }
    for (size_t first = 0; first <= 24; first++) {
        for (size_t n = 0; first + n <= 24; n++) {
            memset(out, 0xee, sizeof out);
            llava_array_gather(&a, bytes, first, n, out);
            assert_memory_equal(out, expected + first, n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_and_order_of_keys),
        cmocka_unit_test(every_shape_up_to_rank_8),
        cmocka_unit_test(other_types_are_refused_by_name),
        cmocka_unit_test(headers_that_are_not_the_dictionary_are_refused),
        cmocka_unit_test(shapes_that_are_no_shapes_are_refused),
        cmocka_unit_test(a_file_cut_anywhere_in_its_header_is_refused),
        cmocka_unit_test(other_magic_versions_and_lengths_are_refused),
        cmocka_unit_test(a_written_header_is_numpys_own),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_nan_has_one_pattern_whatever_its_payload),
        cmocka_unit_test(elements_are_encoded_little_endian_and_rounded_once),
        cmocka_unit_test(a_piece_is_encoded_as_its_numbers_are),
        cmocka_unit_test(every_type_decodes_in_both_byte_orders),
        cmocka_unit_test(integers_that_do_not_fit_are_found),
        cmocka_unit_test(special_values_survive),
        cmocka_unit_test(fortran_order_is_gathered_from_any_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
