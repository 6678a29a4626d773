#include "ref/jpeg.h"
#include "tests/memory.h"
#include "tests/picture_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "jpeg_vectors.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void skip_if_built_without(void)
{
    if (!llava_jpeg_available()) {
        skip();
    }
}

static void a_build_without_the_library_says_so(void **state)
{
    (void)state;
    llava_picture picture;
    llava_error e = {""};
    bool ok = picture_file_read(&picture, "jpg", "good-", "444", (llava_image_plan){0}, &e);
    llava_picture_free(&picture);
    assert_int_equal(ok, llava_jpeg_available());
    assert_string_equal(e.text, ok ? ""
                                   : "444: a JPEG file, which this build does not read (it was "
                                     "built without libjpeg-turbo)");
}

static void every_kind_of_file_gives_the_bytes_that_transformers_loads(void **state)
{
    (void)state;
    skip_if_built_without();
    for (size_t i = 0; i < COUNT(jpeg_vectors); i++) {
        const jpeg_vector *want = &jpeg_vectors[i];
        picture_file_is("jpg", "good-", want->name, (llava_image_plan){0}, want->height,
                        want->width, want->rgb);
    }
}

/* The planted errors that the vectors must be able to see. */
static void the_vectors_see_another_decoder(void **state)
{
    (void)state;
    skip_if_built_without();
    static const struct {
        const char *name;
        llava_image_plan wrong;
    } cases[] = {
        {"420", {.jpeg_upsampling = LLAVA_UPSAMPLING_PLAIN}},
        {"422", {.jpeg_upsampling = LLAVA_UPSAMPLING_PLAIN}},
        {"progressive-420", {.jpeg_upsampling = LLAVA_UPSAMPLING_PLAIN}},
        {"444", {.jpeg_dct = LLAVA_DCT_IFAST}},
        {"grey", {.jpeg_dct = LLAVA_DCT_IFAST}},
        {"exif-6", {.exif = LLAVA_EXIF_IGNORED}},
        {"xmp", {.exif = LLAVA_EXIF_IGNORED}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        llava_error e = {""};
        llava_picture a, b;
        assert_true(
            picture_file_read(&a, "jpg", "good-", cases[i].name, (llava_image_plan){0}, &e));
        assert_true(picture_file_read(&b, "jpg", "good-", cases[i].name, cases[i].wrong, &e));
        if (a.height == b.height && memcmp(a.rgb, b.rgb, 3 * a.height * a.width) == 0) {
            fail_msg("%s: case %zu is not seen", cases[i].name, i);
        }
        llava_picture_free(&a);
        llava_picture_free(&b);
    }
}

/* What the message of each refused file must say. */
static const char *const reasons[][2] = {
    {"cut-mark", "JPEG: the file ends within its header"},
    {"cut-header", "JPEG: the file ends within its header"},
    {"cut-data", "JPEG: the file ends within its image data"},
    {"cut-data-progressive", "JPEG: the file ends within its image data"},
    {"cut-segment", "JPEG: the file ends within its header"},
    {"no-data", "JPEG: "},
    {"no-frame", "SOS before SOF"},
    {"no-quantisation", "uantization table 0x00 was not defined"},
    {"two-frames", "two SOF markers"},
    {"two-components", "2 components (1, 3 and 4 are read)"},
    {"five-components", "5 components (1, 3 and 4 are read)"},
    {"twelve-bits", "precision 12"},
    {"lossless", "JPEG: "},
    {"zero-height", "Empty JPEG image"},
    {"zero-width", "Empty JPEG image"},
    {"sampling-zero", "Bogus sampling factors"},
    {"too-many-pixels", "13378 x 13378 is more than 178956970 pixels"},
    {"huffman-code", "JPEG: "},
    {"scans", "more than 500 scans"},
};

static void every_kind_of_fault_is_refused_with_its_reason(void **state)
{
    (void)state;
    skip_if_built_without();
    assert_int_equal(COUNT(reasons), COUNT(bad_jpegs));
    picture_files_are_refused("jpg", bad_jpegs, COUNT(bad_jpegs), reasons);
}

/* Under the sanitizers this finds reads past the end and leaks. Nothing behind the last bytes of
 * the data is needed, nothing before them may lack; where they end depends on how the library reads
 * ahead. */
static void a_file_cut_anywhere_is_refused_until_its_data_is_whole(void **state)
{
    (void)state;
    skip_if_built_without();
    static const char *const names[] = {"420", "progressive-420", "restart", "cmyk", "exif-in-two"};
    for (size_t i = 0; i < COUNT(names); i++) {
        llava_file file;
        picture_file_map(&file, "jpg", "good-", names[i]);
        bool before = false;
        for (size_t n = 0; n <= file.size; n++) {
            uint8_t *exact = malloc(n + 1); /* its own block, so that an overrun is seen */
            assert_non_null(exact);
            memcpy(exact, file.bytes, n);
            llava_error e = {""};
            llava_picture picture;
            llava_image_plan plan = {0};
            bool ok = llava_picture_read(&picture, "cut", exact, n, &plan, &e);
            assert_true(ok || !before); /* more bytes never make it worse */
            assert_true(!ok || n + 16 > file.size);
            before = ok;
            llava_picture_free(&picture);
            free(exact);
        }
        assert_true(before);
        llava_file_unmap(&file);
    }
}

/* Whatever the damage: a picture or a message, no crash, no leak. */
static void a_file_with_any_byte_changed_gives_a_picture_or_a_message(void **state)
{
    (void)state;
    skip_if_built_without();
    static const char *const names[] = {"made-420-one", "made-420-progressive", "exif-before-xmp"};
    static const uint8_t changes[] = {0x01, 0x20, 0x80, 0xff};
    for (size_t k = 0; k < COUNT(names); k++) {
        llava_file file;
        picture_file_map(&file, "jpg", "good-", names[k]);
        uint8_t *bytes = malloc(file.size);
        assert_non_null(bytes);
        for (size_t at = 2; at < file.size; at++) {
            for (size_t i = 0; i < COUNT(changes); i++) {
                memcpy(bytes, file.bytes, file.size);
                bytes[at] ^= changes[i];
                llava_error e = {""};
                llava_picture picture;
                llava_image_plan plan = {0};
                if (!llava_picture_read(&picture, "damaged", bytes, file.size, &plan, &e)) {
                    assert_true(strncmp(e.text, "damaged: ", 9) == 0);
                }
                llava_picture_free(&picture);
            }
        }
        free(bytes);
        llava_file_unmap(&file);
    }
}

static void the_content_decides_and_not_the_name(void **state)
{
    (void)state;
    static const uint8_t text[] = "hello, this is no picture";
    llava_error e = {""};
    llava_picture picture;
    llava_image_plan plan = {0};
    assert_false(llava_picture_read(&picture, "a.jpg", text, sizeof text, &plan, &e));
    assert_string_equal(e.text, "a.jpg: neither a PNG nor a JPEG file (at byte 0)");
    llava_file file;
    picture_file_map(&file, "jpg", "good-", "444");
    bool ok = llava_picture_read(&picture, "a.png", file.bytes, file.size, &plan, &e);
    assert_int_equal(ok, llava_jpeg_available());
    llava_picture_free(&picture);
    llava_file_unmap(&file);
}

/* A stream of tables alone in front of the picture's own, as the format allows. */
static void tables_may_come_first(void **state)
{
    (void)state;
    skip_if_built_without();
    static const uint8_t tables[] = {0xff, 0xd8, 0xff, 0xd9};
    static const llava_image_plan plain;
    llava_file file;
    picture_file_map(&file, "jpg", "good-", "444");
    uint8_t *bytes = malloc(sizeof tables + file.size);
    assert_non_null(bytes);
    memcpy(bytes, tables, sizeof tables);
    memcpy(bytes + sizeof tables, file.bytes, file.size);
    llava_picture with, without;
    llava_error e = {""};
    if (!llava_picture_read(&with, "444", bytes, sizeof tables + file.size, &plain, &e)) {
        fail_msg("%s", e.text);
    }
    assert_true(llava_picture_read(&without, "444", file.bytes, file.size, &plain, &e));
    assert_int_equal(with.height, without.height);
    assert_memory_equal(with.rgb, without.rgb, 3 * with.height * with.width);
    llava_picture_free(&with);
    llava_picture_free(&without);
    free(bytes);
    llava_file_unmap(&file);
    assert_false(llava_jpeg_is((const uint8_t *)"\xff\xd9\xff", 3));
}

/* Turned by its EXIF segment, which takes memory of its own. */
static bool read_turned(void *self, llava_error *e)
{
    (void)self;
    llava_picture picture;
    llava_image_plan plan = {.exif = LLAVA_EXIF_APPLIED};
    bool ok = picture_file_read(&picture, "jpg", "good-", "exif-6", plan, e);
    llava_picture_free(&picture);
    return ok;
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    skip_if_built_without();
    assert_int_equal(memory_runs_out(read_turned, NULL), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_build_without_the_library_says_so),
        cmocka_unit_test(every_kind_of_file_gives_the_bytes_that_transformers_loads),
        cmocka_unit_test(the_vectors_see_another_decoder),
        cmocka_unit_test(every_kind_of_fault_is_refused_with_its_reason),
        cmocka_unit_test(a_file_cut_anywhere_is_refused_until_its_data_is_whole),
        cmocka_unit_test(a_file_with_any_byte_changed_gives_a_picture_or_a_message),
        cmocka_unit_test(the_content_decides_and_not_the_name),
        cmocka_unit_test(tables_may_come_first),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
