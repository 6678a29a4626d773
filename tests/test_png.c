#include "ref/exif.h"
#include "ref/png.h"
#include "tests/memory.h"
#include "tests/picture_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "png_vectors.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void every_kind_of_file_gives_the_bytes_that_transformers_loads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(png_vectors); i++) {
        const png_vector *want = &png_vectors[i];
        for (int alpha = LLAVA_ALPHA_DROP; alpha <= LLAVA_ALPHA_BLACK; alpha++) {
            llava_image_plan plan = {.alpha = (llava_alpha)alpha};
            picture_file_is("png", "", want->name, plan, want->height, want->width,
                            want->rgb[alpha]);
        }
    }
}

/* What the message of each refused file must say. */
static const char *const reasons[][2] = {
    {"crc-header", "CRC does not match (chunk IHDR at byte 8)"},
    {"crc-data", "CRC does not match (chunk IDAT"},
    {"crc-palette", "CRC does not match (chunk PLTE"},
    {"crc-end", "CRC does not match (chunk IEND"},
    {"crc-text-before-data", "CRC does not match (chunk tEXt"},
    {"cut-header", "no whole header chunk"},
    {"cut-before-data", "before any whole image data"},
    {"cut-in-data", "before any whole image data"},
    {"cut-in-crc", "before any whole image data"},
    {"data-short", "ot enough image data"},
    {"data-none", "before any whole image data"},
    {"data-not-deflate", "IDAT"},
    {"data-filter", "filter"},
    {"critical", "unknown critical chunk (chunk ABCD"},
    {"critical-behind-data", "unknown critical chunk (chunk ABCD"},
    {"palette-absent", "no palette before the image data"},
    {"palette-behind-data", "no palette before the image data"},
    {"palette-behind-rgb", "the palette comes after the image data"},
    {"palette-twice", "a second palette"},
    {"palette-in-grey", "a palette in a grey picture"},
    {"palette-length", "not 1 to 256 colours"},
    {"palette-empty", "not 1 to 256 colours"},
    {"key-short", "chunk tRNS"},
    {"zero-width", "without pixels"},
    {"zero-height", "without pixels"},
    {"too-many-pixels", "more than 178956970 pixels"},
    {"huge", "more than 178956970 pixels"},
    {"depth", "IHDR"},
    {"color-type", "IHDR"},
    {"interlace", "IHDR"},
    {"header-second", "a second header"},
    {"header-not-first", "no IHDR"},
    {"chunk-name", "before any whole image data (at byte 33)"},
    {"chunk-length", "before any whole image data (at byte 33)"},
    {"text", "neither a PNG nor a JPEG"},
    {"empty", "neither a PNG nor a JPEG"},
};

static void every_kind_of_fault_is_refused_with_its_reason(void **state)
{
    (void)state;
    assert_int_equal(COUNT(reasons), COUNT(bad_pngs));
    picture_files_are_refused("png", bad_pngs, COUNT(bad_pngs), reasons);
}

/* Under the sanitizers this finds reads past the end and leaks. Cut behind the image data the file
 * is whole enough; before that it is not. */
static void a_file_cut_anywhere_is_refused_until_its_data_is_whole(void **state)
{
    (void)state;
    static const char *const names[] = {"rgb8", "interlaced-rgb8", "palette4", "alphas-palette8"};
    for (size_t i = 0; i < COUNT(names); i++) {
        llava_file file;
        picture_file_map(&file, "png", "good-", names[i]);
        size_t end_of_data = file.size - 12; /* IEND */
        for (size_t n = 0; n <= file.size; n++) {
            uint8_t *exact = malloc(n + 1); /* its own block, so that an overrun is seen */
            assert_non_null(exact);
            memcpy(exact, file.bytes, n);
            llava_error e = {""};
            llava_picture picture;
            llava_image_plan plan = {.alpha = LLAVA_ALPHA_WHITE};
            bool ok = llava_picture_read(&picture, "cut", exact, n, &plan, &e);
            assert_int_equal(ok, n >= end_of_data);
            llava_picture_free(&picture);
            free(exact);
        }
        llava_file_unmap(&file);
    }
}

/* Whatever the damage: a picture or a message, no crash, no leak. */
static void a_file_with_any_byte_changed_gives_a_picture_or_a_message(void **state)
{
    (void)state;
    static const uint8_t changes[] = {0x01, 0x20, 0x80, 0xff};
    llava_file file;
    picture_file_map(&file, "png", "good-", "exif-raw-profile");
    uint8_t *bytes = malloc(file.size);
    assert_non_null(bytes);
    llava_image_plan right = {0};
    size_t read = 0;
    for (size_t at = 0; at < file.size; at++) {
        for (size_t i = 0; i < COUNT(changes); i++) {
            memcpy(bytes, file.bytes, file.size);
            bytes[at] ^= changes[i];
            llava_error e = {""};
            llava_picture picture;
            if (llava_picture_read(&picture, "damaged", bytes, file.size, &right, &e)) {
                read++;
            } else {
                assert_true(strncmp(e.text, "damaged: ", 9) == 0);
            }
            llava_picture_free(&picture);
        }
    }
    assert_true(read < 4 * 12 * COUNT(changes)); /* a CRC guards nearly all of it */
    free(bytes);
    llava_file_unmap(&file);
}

/* ---- files made by hand ---- */

typedef struct {
    uint8_t bytes[2048];
    size_t n;
} made;

static void put_chunk(made *m, const char *type, const void *data, size_t n)
{
    uint8_t *at = m->bytes + m->n;
    assert_true(m->n + n + 12 <= sizeof m->bytes);
    memcpy(at, (const uint8_t[4]){0, 0, (uint8_t)(n >> 8), (uint8_t)n}, 4);
    memcpy(at + 4, type, 4);
    memcpy(at + 8, data, n);
    uLong crc = crc32_z(0, at + 4, n + 4);
    for (size_t i = 0; i < 4; i++) {
        at[8 + n + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
    m->n += n + 12;
}

/* One pixel of up to three bytes, with one more chunk before its data and one behind it. */
typedef struct {
    uint8_t depth, color_type, pixel[3];
    const char *before, *behind; /* types, or NULL */
    const char *data;            /* of both */
    size_t n;
} recipe;

static made make(const recipe *r)
{
    made m = {.n = 8};
    uint8_t header[13] = {[3] = 1, [7] = 1, [8] = r->depth, [9] = r->color_type};
    const uint8_t row[4] = {0, r->pixel[0], r->pixel[1], r->pixel[2]};
    uint8_t packed[64];
    uLongf n = sizeof packed;
    assert_int_equal(compress(packed, &n, row, r->color_type == 2 ? 4 : 2), Z_OK);
    memcpy(m.bytes, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&m, "IHDR", header, sizeof header);
    if (r->before != NULL) {
        put_chunk(&m, r->before, r->data, r->n);
    }
    put_chunk(&m, "IDAT", packed, n);
    if (r->behind != NULL) {
        put_chunk(&m, r->behind, r->data, r->n);
    }
    put_chunk(&m, "IEND", "", 0);
    return m;
}

static bool read_made(const made *m, llava_alpha alpha, uint8_t rgb[3], int *orientation,
                      llava_error *e)
{
    llava_picture picture;
    if (!llava_png_read(&picture, "made", m->bytes, m->n, alpha, orientation, e)) {
        return false;
    }
    memcpy(rgb, picture.rgb, 3);
    llava_picture_free(&picture);
    return true;
}

#define XMP "XML:com.adobe.xmp\0"

/* A text that cannot be read says nothing, and is no reason to refuse the picture. */
static void texts_that_say_nothing_turn_nothing(void **state)
{
    static const struct {
        const char *type, *data;
        size_t n;
    } rows[] = {
        {"tEXt", "", 0},
        {"tEXt", "XML:com.adobe.xmp", 17},
        {"iTXt", XMP, 18},                /* no compression flag */
        {"iTXt", XMP "\1", 19},           /* no method */
        {"iTXt", XMP "\0\0", 20},         /* no language */
        {"iTXt", XMP "\0\0en", 22},       /* which does not end */
        {"iTXt", XMP "\0\0en\0", 23},     /* no keyword of that language */
        {"iTXt", XMP "\1\0\0\0abcd", 26}, /* not deflated */
        {"tEXt", "Comment\0tiff:Orientation=\"6\"", 29},
        {"zTXt", "Raw profile type exif\0", 22},
        {"zTXt", "Raw profile type exif\0\0abcd", 27},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const made m = make(&(recipe){.depth = 8,
                                      .pixel = {7},
                                      .before = rows[i].type,
                                      .data = rows[i].data,
                                      .n = rows[i].n});
        uint8_t rgb[3];
        int orientation = -1;
        llava_error e = {""};
        if (!read_made(&m, LLAVA_ALPHA_WHITE, rgb, &orientation, &e) || orientation != 0) {
            fail_msg("row %zu: %d %s", i, orientation, e.text);
        }
    }
}

static void a_deflated_xmp_is_read(void **state)
{
    (void)state;
    static const char xmp[] = "tiff:Orientation=\"6\"";
    uint8_t data[128];
    uLongf n = sizeof data - 22;
    memcpy(data, XMP "\1\0\0\0", 22);
    assert_int_equal(compress(data + 22, &n, (const uint8_t *)xmp, sizeof xmp - 1), Z_OK);
    const made m =
        make(&(recipe){.depth = 8, .before = "iTXt", .data = (const char *)data, .n = 22 + n});
    uint8_t rgb[3];
    int orientation = 0;
    llava_error e;
    assert_true(read_made(&m, LLAVA_ALPHA_WHITE, rgb, &orientation, &e));
    assert_int_equal(orientation, 6);
}

/* The one colour that is transparent becomes the background, here black; compared channel by
 * channel. */
static void one_colour_is_transparent(void **state)
{
    static const struct {
        recipe r;
        uint8_t red;
    } rows[] = {
        {{8, 2, {7, 8, 9}, "tRNS", NULL, "\0\7\0\10\0\11", 6}, 0},
        {{8, 2, {7, 8, 9}, "tRNS", NULL, "\0\1\0\10\0\11", 6}, 7},
        {{8, 2, {7, 8, 9}, "tRNS", NULL, "\0\7\0\1\0\11", 6}, 7},
        {{8, 2, {7, 8, 9}, "tRNS", NULL, "\0\7\0\10\0\1", 6}, 7},
        {{8, 2, {7, 8, 9}, NULL, "tRNS", "\0\7\0\10\0\11", 6}, 7}, /* too late */
        {{1, 0, {0x80, 0, 0}, "tRNS", NULL, "\0\1", 2}, 0},
        {{1, 0, {0x80, 0, 0}, "tRNS", NULL, "\0\0", 2}, 255},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const made m = make(&rows[i].r);
        uint8_t rgb[3];
        int orientation;
        llava_error e = {""};
        if (!read_made(&m, LLAVA_ALPHA_BLACK, rgb, &orientation, &e) || rgb[0] != rows[i].red) {
            fail_msg("row %zu: %d %s", i, rgb[0], e.text);
        }
    }
}

static void files_made_wrong_are_refused(void **state)
{
    (void)state;
    static const char palette[771];
    uint8_t rgb[3];
    int orientation;
    llava_error e;
    made m =
        make(&(recipe){.depth = 8, .color_type = 2, .before = "PLTE", .data = palette, .n = 771});
    assert_false(read_made(&m, LLAVA_ALPHA_WHITE, rgb, &orientation, &e));
    assert_non_null(strstr(e.text, "made: a palette that is not 1 to 256 colours"));
    m = (made){.n = 8};
    memcpy(m.bytes, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&m, "IHDR", palette, 12);
    assert_false(read_made(&m, LLAVA_ALPHA_WHITE, rgb, &orientation, &e));
    assert_non_null(strstr(e.text, "the first chunk is no IHDR of 13 bytes"));
    /* whole chunks, but half of the picture's data, and then nothing */
    m = (made){.n = 8};
    memcpy(m.bytes, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&m, "IHDR", (const uint8_t[13]){[3] = 1, [7] = 1, [8] = 8}, 13);
    put_chunk(&m, "IDAT", "\x78\x9c", 2);
    assert_false(read_made(&m, LLAVA_ALPHA_WHITE, rgb, &orientation, &e));
    assert_non_null(strstr(e.text, "made: missing image data: the file ends too early"));
}

/* A raw profile that is deflated: its text, what it means, the pixels. */
static bool read_profile(void *self, llava_error *e)
{
    uint8_t rgb[3];
    int orientation = 0;
    bool ok = read_made(self, LLAVA_ALPHA_WHITE, rgb, &orientation, e);
    assert_true(!ok || orientation == 6);
    return ok;
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    static const char profile[] = "\nexif\n26\n49492a00080000000100120103000100000006000000";
    uint8_t data[128];
    uLongf n = sizeof data - 23;
    memcpy(data, "Raw profile type exif\0", 23);
    assert_int_equal(compress(data + 23, &n, (const uint8_t *)profile, sizeof profile - 1), Z_OK);
    made m = make(&(recipe){.depth = 8, .before = "zTXt", .data = (const char *)data, .n = 23 + n});
    assert_int_equal(memory_runs_out(read_profile, &m), 4);
}

#define EXIF(text) llava_exif_orientation((const uint8_t *)(text), sizeof(text) - 1)

static void exif_is_read_in_both_byte_orders_and_types(void **state)
{
    (void)state;
    assert_int_equal(6, EXIF("II*\0\10\0\0\0"
                             "\1\0"
                             "\22\1"
                             "\3\0"
                             "\1\0\0\0"
                             "\6\0\0\0"));
    assert_int_equal(6, EXIF("MM\0*\0\0\0\10"
                             "\0\1"
                             "\1\22"
                             "\0\3"
                             "\0\0\0\1"
                             "\0\6\0\0"));
    assert_int_equal(8, EXIF("MM\0*\0\0\0\10"
                             "\0\1"
                             "\1\22"
                             "\0\4"
                             "\0\0\0\1"
                             "\0\0\0\10"));
    assert_int_equal(LLAVA_EXIF_UNREADABLE,
                     EXIF("Exif\0\0Exif\0\0Exif\0\0II*\0")); /* twice at most */
    assert_int_equal(3, EXIF("Exif\0\0II*\0\10\0\0\0"
                             "\1\0"
                             "\22\1"
                             "\3\0"
                             "\1\0\0\0"
                             "\3\0\0\0"));
    /* three values elsewhere: the first */
    assert_int_equal(5, EXIF("II*\0\10\0\0\0"
                             "\1\0"
                             "\22\1"
                             "\3\0"
                             "\3\0\0\0"
                             "\26\0\0\0"
                             "\5\0\1\0\1\0"));
}

/* A value is a number of some width: shorts and longs with a sign or without, signed bytes; others
 * say nothing. */
static void exif_of_every_type(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        int found;
    } rows[] = {{0, 0}, {1, 1},  {2, 1},  {3, 6},  {4, 6},  {5, 1},  {6, 6},  {7, 1},  {8, 6},
                {9, 6}, {10, 1}, {11, 1}, {12, 1}, {13, 6}, {14, 0}, {15, 0}, {16, 1}, {17, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t tiff[] = "II*\0\10\0\0\0\1\0\22\1\0\0\1\0\0\0\6\0\0\0";
        tiff[12] = rows[i].type;
        assert_int_equal(llava_exif_orientation(tiff, sizeof tiff - 1), rows[i].found);
    }
}

static void xmp_as_attribute_and_element(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int found;
    } rows[] = {
        {"<x tiff:Orientation=\"6\"/>", 6},
        {"<tiff:Orientation>6</tiff:Orientation>", 6},
        {"tiff:Orientation=\"1", 1},
        {"tiff:Orientation=\"9", 1},
        {"tiff:Orientation=\"0", 1},
        {"tiff:Orientation=\"x", 0},
        {"tiff:Orientation=\"", 0},
        {"tiff:Orientation>", 0},
        {"tiff:Orientation='6'", 0},
        {"tiff:Orientation=6", 0},
        {"tiff:Orientation=", 0},
        {"tiff:Orientation", 0},
        {"tiff:Orientation=\"/", 0},
        {"tiff:Orientation=\":", 0},
        {"tiff:Orientation tiff:Orientation=\"3\"", 3},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(llava_xmp_orientation((const uint8_t *)rows[i].text, strlen(rows[i].text)),
                         rows[i].found);
    }
}

static void a_raw_profile_is_hexadecimal_behind_three_lines(void **state)
{
    (void)state;
#define TIFF "49492A0008000000 0100 1201 0300 01000000"
    static const struct {
        const char *text;
        int found;
    } rows[] = {
        {"\nexif\n26\n" TIFF "06000000", 6},
        {"\nexif\n26\n" TIFF "g06/00:00@00`\n", 6},
        {"\nexif\n26\n49492a00080000000100120103000100000008000000", 8},
        {"\nexif\n26", 0},
        {"\nexif\n", 0},
        {"", 0},
        {"\n\n\n", 0},
        {"\n\n\nzz", 0},
        {"\n\n\n49", LLAVA_EXIF_UNREADABLE},
    };
#undef TIFF
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int found =
            llava_raw_profile_orientation((const uint8_t *)rows[i].text, strlen(rows[i].text));
        if (found != rows[i].found) {
            fail_msg("row %zu: %d", i, found);
        }
    }
}

/* One entry of a type whose values stand behind the directory. */
static int exif_of(const char *type, const char *count, const char *value)
{
    char text[26 + 16] = "II*\0\10\0\0\0"
                         "\1\0"
                         "\22\1";
    memcpy(text + 12, type, 2);
    memcpy(text + 14, count, 4);
    memcpy(text + 18, "\32\0\0\0", 4);
    memcpy(text + 26, value, 16);
    return llava_exif_orientation((const uint8_t *)text, 26 + 16);
}

/* Pillow looks the value up in a table: a number counts, whatever its type. */
static void exif_is_a_number_of_any_type(void **state)
{
    (void)state;
    static const struct {
        const char *type, *count, *value;
        int orientation;
    } rows[] = {
        {"\5\0", "\1\0\0\0", "\14\0\0\0\2\0\0\0\0\0\0\0\0\0\0", 6},
        {"\5\0", "\1\0\0\0", "\15\0\0\0\2\0\0\0\0\0\0\0\0\0\0", 1}, /* 6.5 */
        {"\5\0", "\1\0\0\0", "\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1},  /* 6/0 */
        {"\5\0", "\2\0\0\0", "\6\0\0\0\1\0\0\0\3\0\0\0\1\0\0", 6},  /* the first of two */
        {"\12\0", "\1\0\0\0", "\364\377\377\377\376\377\377\377\0\0\0\0\0\0\0", 6},
        {"\12\0", "\1\0\0\0", "\364\377\377\377\2\0\0\0\0\0\0\0\0\0\0", 1},
        {"\12\0", "\1\0\0\0", "\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1},    /* 6/0 */
        {"\13\0", "\2\0\0\0", "\0\0\20\101\0\0\0\0\0\0\0\0\0\0\0", 1}, /* 9 */
        {"\13\0", "\2\0\0\0", "\0\0\300\100\0\0\0\0\0\0\0\0\0\0\0", 6},
        {"\13\0", "\2\0\0\0", "\0\0\320\100\0\0\0\0\0\0\0\0\0\0\0", 1}, /* 6.5 */
        {"\13\0", "\2\0\0\0", "\0\0\300\177\0\0\0\0\0\0\0\0\0\0\0", 1}, /* NaN */
        {"\14\0", "\1\0\0\0", "\0\0\0\0\0\0\30\100\0\0\0\0\0\0\0", 6},
        {"\14\0", "\1\0\0\0", "\0\0\0\0\0\0\360\177\0\0\0\0\0\0\0", 1}, /* infinite */
        {"\20\0", "\1\0\0\0", "\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 6},
        {"\20\0", "\1\0\0\0", "\6\0\0\0\1\0\0\0\0\0\0\0\0\0\0", 1}, /* 2^32 + 6 */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int found = exif_of(rows[i].type, rows[i].count, rows[i].value);
        if (found != rows[i].orientation) {
            fail_msg("row %zu: %d, not %d", i, found, rows[i].orientation);
        }
    }
    static const char big[] =
        "MM\0*\0\0\0\10\0\1\1\22\0\20\0\0\0\1\0\0\0\32\0\0\0\0\0\0\0\0\0\0\0\6";
    assert_int_equal(llava_exif_orientation((const uint8_t *)big, sizeof big - 1), 6);
}

static void exif_that_says_nothing_or_nonsense_turns_nothing(void **state)
{
    (void)state;
    assert_int_equal(0, EXIF(""));
    assert_int_equal(0, EXIF("Exif\0\0"));
    assert_int_equal(LLAVA_EXIF_UNREADABLE, EXIF("II*\0\10\0\0"));
    assert_int_equal(LLAVA_EXIF_UNREADABLE, EXIF("IM*\0\10\0\0\0"));
    assert_int_equal(0, EXIF("II*\0\377\377\377\377")); /* the directory lies outside */
    assert_int_equal(0, EXIF("II*\0\10\0\0\0"           /* a type that there is not */
                             "\1\0"
                             "\22\1"
                             "\16\0"
                             "\1\0\0\0"
                             "\6\0\0\0"));
    assert_int_equal(0, EXIF("II*\0\10\0\0\0"
                             "\377\377"
                             "\22\1"));
    assert_int_equal(0, EXIF("II*\0\10\0\0\0"
                             "\1\0"
                             "\22\1"
                             "\3\0"
                             "\377\377\377\377"
                             "\0\0\0\0"));
    assert_int_equal(0, EXIF("II*\0\10\0\0\0" /* three values outside */
                             "\1\0"
                             "\22\1"
                             "\3\0"
                             "\3\0\0\0"
                             "\377\377\377\377"));
    assert_int_equal(1, EXIF("II*\0\10\0\0\0"
                             "\1\0"
                             "\22\1"
                             "\3\0"
                             "\1\0\0\0"
                             "\11\0\0\0"));
    assert_int_equal(1, EXIF("II*\0\10\0\0\0"
                             "\1\0"
                             "\22\1"
                             "\1\0"
                             "\1\0\0\0"
                             "\6\0\0\0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_file_gives_the_bytes_that_transformers_loads),
        cmocka_unit_test(every_kind_of_fault_is_refused_with_its_reason),
        cmocka_unit_test(a_file_cut_anywhere_is_refused_until_its_data_is_whole),
        cmocka_unit_test(a_file_with_any_byte_changed_gives_a_picture_or_a_message),
        cmocka_unit_test(exif_is_read_in_both_byte_orders_and_types),
        cmocka_unit_test(exif_is_a_number_of_any_type),
        cmocka_unit_test(exif_that_says_nothing_or_nonsense_turns_nothing),
        cmocka_unit_test(exif_of_every_type),
        cmocka_unit_test(xmp_as_attribute_and_element),
        cmocka_unit_test(a_raw_profile_is_hexadecimal_behind_three_lines),
        cmocka_unit_test(texts_that_say_nothing_turn_nothing),
        cmocka_unit_test(a_deflated_xmp_is_read),
        cmocka_unit_test(one_colour_is_transparent),
        cmocka_unit_test(files_made_wrong_are_refused),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
