/* Reading PNG in two steps: a walk over the chunks, which checks the file's structure and remembers
 * where the metadata lies, and libpng, which inflates and unfilters the rows. No transformation of
 * libpng's touches a sample: what Pillow makes of them is written out in pixel_at(). */
#include "png.h"
#include "exif.h"
#include "file.h"

#include <png.h> /* NOLINT(readability-duplicate-include): libpng's, the other is ours */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Metadata texts that inflate to more are not looked at (Pillow's limit). */
#define MAX_TEXT 1048576

/* ---- step 1: the chunks ---- */

typedef struct {
    size_t offset; /* of the chunk in the file */
    char type[5];
    const uint8_t *data;
    size_t size;
    bool crc_ok;
} chunk;

typedef struct {
    const uint8_t *bytes; /* NULL: none */
    size_t size;
    bool deflated;
} text_value;

typedef struct {
    const char *name;
    uint32_t width, height;
    unsigned depth, color_type;
    bool image_data;        /* seen so far */
    const uint8_t *palette; /* [colours, 3]; NULL: none so far */
    size_t colours;
    const uint8_t *transparency; /* tRNS */
    size_t transparency_size;
    text_value exif, raw_profile, xmp; /* the last of each kind */
} png_layout;

static uint32_t big_endian_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Takes one chunk: length, type, data, CRC over type and data. False where what is left of the file
 * is no whole chunk. */
static bool next_chunk(llava_cursor *c, chunk *out)
{
    out->offset = llava_cursor_offset(c);
    const uint8_t *head = llava_cursor_take(c, 8);
    if (head == NULL) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        if (!is_letter(head[4 + i])) {
            return false;
        }
        out->type[i] = (char)head[4 + i];
    }
    out->type[4] = '\0';
    out->size = big_endian_u32(head);
    out->data = llava_cursor_take(c, out->size);
    const uint8_t *stored = out->data != NULL ? llava_cursor_take(c, 4) : NULL;
    if (stored == NULL) {
        return false;
    }
    /* crc32_z takes a size_t; crc32 would cut it to 32 bits. Type and data lie side by side. */
    uLong crc = crc32_z(crc32_z(0, NULL, 0), head + 4, out->size + 4);
    out->crc_ok = crc == big_endian_u32(stored);
    return true;
}

static bool is_type(const chunk *c, const char *type)
{
    return memcmp(c->type, type, 4) == 0;
}

static bool fail_at(const png_layout *p, const chunk *c, const char *what, llava_error *e)
{
    return llava_fail(e, "%s: %s (chunk %s at byte %zu)", p->name, what, c->type, c->offset);
}

static bool read_header(png_layout *p, const chunk *c, llava_error *e)
{
    if (!is_type(c, "IHDR") || c->size != 13) {
        return fail_at(p, c, "the first chunk is no IHDR of 13 bytes", e);
    }
    p->width = big_endian_u32(c->data);
    p->height = big_endian_u32(c->data + 4);
    p->depth = c->data[8];
    p->color_type = c->data[9];
    if (p->width == 0 || p->height == 0) {
        return fail_at(p, c, "a picture without pixels", e);
    }
    if (p->height > LLAVA_MAX_PIXELS / p->width) {
        return llava_fail(e, "%s: %lu x %lu is more than %d pixels (chunk IHDR)", p->name,
                          (unsigned long)p->width, (unsigned long)p->height, LLAVA_MAX_PIXELS);
    }
    return true;
}

static bool read_palette(png_layout *p, const chunk *c, llava_error *e)
{
    if (p->palette != NULL) {
        return fail_at(p, c, "a second palette", e);
    }
    if (p->image_data) {
        return fail_at(p, c, "the palette comes after the image data", e);
    }
    if ((p->color_type & PNG_COLOR_MASK_COLOR) == 0) {
        return fail_at(p, c, "a palette in a grey picture", e);
    }
    if (c->size == 0 || c->size % 3 != 0 || c->size / 3 > 256) {
        return fail_at(p, c, "a palette that is not 1 to 256 colours of 3 bytes", e);
    }
    p->palette = c->data;
    p->colours = c->size / 3;
    return true;
}

/* keyword, NUL, text. */
static void read_text(png_layout *p, const chunk *c)
{
    const uint8_t *nul = c->size > 0 ? memchr(c->data, 0, c->size) : NULL;
    if (nul == NULL) {
        return;
    }
    text_value value = {nul + 1, c->size - (size_t)(nul + 1 - c->data), is_type(c, "zTXt")};
    size_t prefix = value.deflated ? 1 : 0; /* compression method */
    if (is_type(c, "iTXt")) { /* compression flag and method, language, NUL, keyword, NUL */
        value.deflated = value.size > 0 && value.bytes[0] != 0;
        prefix = 2;
        for (int i = 0; i < 2 && prefix <= value.size; i++) {
            const uint8_t *end =
                value.size > prefix ? memchr(value.bytes + prefix, 0, value.size - prefix) : NULL;
            prefix = end != NULL ? (size_t)(end - value.bytes) + 1 : value.size + 1;
        }
    }
    if (prefix > value.size) {
        return;
    }
    value.bytes += prefix;
    value.size -= prefix;
    const char *keyword = (const char *)c->data;
    if (strcmp(keyword, "Raw profile type exif") == 0) {
        p->raw_profile = value;
    } else if (strcmp(keyword, "XML:com.adobe.xmp") == 0) {
        p->xmp = value;
    }
}

static bool is_known_critical(const chunk *c)
{
    return is_type(c, "IHDR") || is_type(c, "PLTE") || is_type(c, "IDAT") || is_type(c, "IEND");
}

static bool read_chunk(png_layout *p, const chunk *c, llava_error *e)
{
    bool critical = (c->type[0] & 0x20) == 0;
    if (!c->crc_ok && (critical || !p->image_data)) {
        return fail_at(p, c, "the CRC does not match", e);
    }
    if (critical && !is_known_critical(c)) {
        return fail_at(p, c, "an unknown critical chunk", e);
    }
    if (is_type(c, "IHDR")) {
        return fail_at(p, c, "a second header", e);
    }
    if (is_type(c, "PLTE")) {
        return read_palette(p, c, e);
    }
    if (is_type(c, "IDAT")) {
        if (p->color_type == PNG_COLOR_TYPE_PALETTE && p->palette == NULL) {
            return fail_at(p, c, "no palette before the image data", e);
        }
        p->image_data = true;
    } else if (is_type(c, "tRNS") && !p->image_data) {
        p->transparency = c->data;
        p->transparency_size = c->size;
    } else if (is_type(c, "eXIf")) {
        p->exif = (text_value){.bytes = c->data, .size = c->size};
    } else if (is_type(c, "tEXt") || is_type(c, "zTXt") || is_type(c, "iTXt")) {
        read_text(p, c);
    }
    return true;
}

static bool check_transparency(const png_layout *p, llava_error *e)
{
    size_t needed = p->color_type == PNG_COLOR_TYPE_GRAY  ? 2
                    : p->color_type == PNG_COLOR_TYPE_RGB ? 6
                                                          : 0;
    if (p->transparency != NULL && p->transparency_size < needed) {
        return llava_fail(e, "%s: %zu bytes of transparency, %zu needed (chunk tRNS)", p->name,
                          p->transparency_size, needed);
    }
    return true;
}

/* Walks over all chunks. What ends the walk behind the image data is the file's end. */
static bool walk(png_layout *p, llava_cursor c, llava_error *e)
{
    chunk at = {0};
    if (!next_chunk(&c, &at)) {
        return llava_fail(e, "%s: no whole header chunk (at byte %zu)", p->name, at.offset);
    }
    if (!at.crc_ok) {
        return fail_at(p, &at, "the CRC does not match", e);
    }
    if (!read_header(p, &at, e)) {
        return false;
    }
    while (next_chunk(&c, &at)) {
        if (!read_chunk(p, &at, e)) {
            return false;
        }
        if (is_type(&at, "IEND")) {
            break;
        }
    }
    if (!p->image_data) {
        return llava_fail(
            e, "%s: the chunks end or break off before any whole image data (at byte %zu)", p->name,
            at.offset);
    }
    return check_transparency(p, e);
}

/* ---- orientation ---- */

/* The text itself, or what it inflates to, in *owned (to be freed). False where it is none, does
 * not inflate, is too long, or memory is out. */
static bool open_text(const text_value *text, const uint8_t **bytes, size_t *n, uint8_t **owned,
                      bool *out_of_memory)
{
    *out_of_memory = false;
    *bytes = text->bytes;
    *n = text->size;
    *owned = NULL;
    if (!text->deflated) {
        return text->bytes != NULL;
    }
    uLongf size = MAX_TEXT;
    *owned = malloc(MAX_TEXT);
    int status =
        *owned == NULL ? Z_MEM_ERROR : uncompress(*owned, &size, text->bytes, (uLong)text->size);
    if (status != Z_OK) {
        *out_of_memory = status == Z_MEM_ERROR;
        return false;
    }
    *bytes = *owned;
    *n = size;
    return true;
}

static int text_orientation(const text_value *text, int (*orientation)(const uint8_t *, size_t))
{
    const uint8_t *bytes;
    size_t n;
    uint8_t *owned;
    bool out_of_memory;
    int found = open_text(text, &bytes, &n, &owned, &out_of_memory) ? orientation(bytes, n) : 0;
    free(owned);
    return out_of_memory ? LLAVA_EXIF_NO_MEMORY : found;
}

/* LLAVA_EXIF_NO_MEMORY where memory is out. In Pillow's order: EXIF, or where there is no eXIf
 * chunk the raw profile; XMP when these say nothing. */
static int orientation_of(const png_layout *p)
{
    int found = p->exif.bytes != NULL
                    ? llava_exif_orientation(p->exif.bytes, p->exif.size)
                    : text_orientation(&p->raw_profile, llava_raw_profile_orientation);
    return found > 0 || found == LLAVA_EXIF_NO_MEMORY
               ? found
               : text_orientation(&p->xmp, llava_xmp_orientation);
}

/* ---- step 2: the pixels ---- */

typedef struct {
    png_structp png;
    png_infop info;
    llava_cursor file;
    const png_layout *layout;
    llava_alpha alpha;
    uint8_t *row;
    llava_picture *picture;
    llava_error *e;
} decoder;

typedef struct {
    uint8_t rgb[3];
    uint8_t alpha;
} pixel;

/* One sample of a row as a byte: the high one of 16 bits. Bytes of less than 8 bits hold one sample
 * each already. */
static uint8_t sample_at(const png_layout *p, const uint8_t *row, size_t i)
{
    return p->depth == 16 ? row[2 * i] : row[i];
}

static uint8_t grey_at(const png_layout *p, const uint8_t *row, size_t x)
{
    if (p->depth == 16) { /* clipped, not scaled: so does Pillow's I;16 to RGB */
        return row[2 * x] != 0 ? 255 : row[2 * x + 1];
    }
    unsigned largest = (1U << p->depth) - 1;
    return (uint8_t)(row[x] * (255 / largest));
}

/* tRNS of a grey or colour picture names one colour that is transparent. Pillow compares the low
 * byte of it with the converted pixel, also where the file has 2, 4 or 16 bits (then the colour
 * meant is mostly missed); for 1 bit anything but 0 is white. */
static bool is_transparent(const png_layout *p, const uint8_t rgb[3])
{
    if (p->transparency == NULL) {
        return false;
    }
    if (p->color_type == PNG_COLOR_TYPE_RGB) {
        const uint8_t *key = p->transparency;
        return rgb[0] == key[1] && rgb[1] == key[3] && rgb[2] == key[5];
    }
    uint8_t level = p->transparency[1];
    if (p->depth == 1) {
        level = (p->transparency[0] | level) != 0 ? 255 : 0;
    }
    return rgb[0] == level;
}

static pixel palette_at(const png_layout *p, size_t index)
{
    pixel out = {{0, 0, 0}, 255};
    if (index < p->colours) {
        memcpy(out.rgb, p->palette + 3 * index, 3);
    }
    if (p->transparency != NULL && index < p->transparency_size) {
        out.alpha = p->transparency[index];
    }
    return out;
}

static pixel pixel_at(const png_layout *p, const uint8_t *row, size_t x)
{
    pixel out = {{0, 0, 0}, 255};
    size_t channels = p->color_type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                      : p->color_type == PNG_COLOR_TYPE_RGB      ? 3
                      : p->color_type == PNG_COLOR_TYPE_RGBA     ? 4
                                                                 : 1;
    switch (p->color_type) {
    case PNG_COLOR_TYPE_PALETTE:
        return palette_at(p, row[x]);
    case PNG_COLOR_TYPE_GRAY:
        memset(out.rgb, grey_at(p, row, x), 3);
        break;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
        memset(out.rgb, sample_at(p, row, 2 * x), 3);
        break;
    default:
        for (size_t c = 0; c < 3; c++) {
            out.rgb[c] = sample_at(p, row, channels * x + c);
        }
    }
    if ((p->color_type & PNG_COLOR_MASK_ALPHA) != 0) {
        out.alpha = sample_at(p, row, channels * x + channels - 1);
    } else if (is_transparent(p, out.rgb)) {
        out.alpha = 0;
    }
    return out;
}

/* (c alpha + background (255 - alpha)) / 255, rounded to nearest: never a tie, 255 being odd. */
static uint8_t over(uint8_t c, uint8_t alpha, unsigned background)
{
    return (uint8_t)((c * alpha + background * (255U - alpha) + 127U) / 255U);
}

/* n pixels of a row, to every step-th pixel from `to` on. */
static void put_row(const decoder *d, const uint8_t *row, size_t n, uint8_t *to, size_t step)
{
    for (size_t x = 0; x < n; x++) {
        pixel p = pixel_at(d->layout, row, x);
        for (size_t c = 0; c < 3; c++) {
            unsigned background = d->alpha == LLAVA_ALPHA_WHITE ? 255 : 0;
            to[3 * step * x + c] =
                d->alpha == LLAVA_ALPHA_DROP ? p.rgb[c] : over(p.rgb[c], p.alpha, background);
        }
    }
}

/* libpng hands out the rows of an interlaced file pass by pass, seven small pictures; any other
 * file is one pass. So no second copy of the picture is needed. */
typedef struct {
    uint32_t x, y, step_x, step_y;
} pass;

static void read_rows(decoder *d)
{
    static const pass whole[] = {{0, 0, 1, 1}};
    static const pass adam7[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                 {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    bool interlaced = png_get_interlace_type(d->png, d->info) != PNG_INTERLACE_NONE;
    const pass *passes = interlaced ? adam7 : whole;
    uint32_t width = d->layout->width, height = d->layout->height;
    for (int i = 0; i < (interlaced ? 7 : 1); i++) {
        pass at = passes[i];
        if (at.x >= width) { /* a pass without columns is not in the file, whatever its rows */
            continue;
        }
        size_t n = (width - at.x + at.step_x - 1) / at.step_x;
        for (uint32_t y = at.y; y < height; y += at.step_y) {
            png_read_row(d->png, d->row, NULL);
            put_row(d, d->row, n, d->picture->rgb + 3 * ((size_t)y * width + at.x), at.step_x);
        }
    }
}

static void take_bytes(png_structp png, png_bytep to, size_t n)
{
    decoder *d = png_get_io_ptr(png);
    const uint8_t *bytes = llava_cursor_take(&d->file, n);
    if (bytes == NULL) {
        png_error(png, "missing image data: the file ends too early");
    }
    memcpy(to, bytes, n);
}

static PNG_NORETURN void on_error(png_structp png, png_const_charp message)
{
    decoder *d = png_get_error_ptr(png);
    llava_fail(d->e, "%s: %s", d->layout->name, message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

/* The only function with a setjmp. libpng's errors come back to it with the message written;
 * everything it allocates hangs on *d, so that the caller frees it either way. */
static bool decode(decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)) != 0) {
        return false;
    }
    png_set_benign_errors(d->png, 1);
    png_set_user_limits(d->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_keep_unknown_chunks(d->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1); /* no metadata */
#ifdef PNG_IGNORE_ADLER32
    png_set_option(d->png, PNG_IGNORE_ADLER32, PNG_OPTION_ON);
#endif
    png_read_info(d->png, d->info);
    png_set_packing(d->png); /* 1, 2 and 4 bits: one byte a sample */
    png_read_update_info(d->png, d->info);
    d->row = llava_alloc(d->e, png_get_rowbytes(d->png, d->info), 1);
    if (d->row == NULL) {
        return false;
    }
    read_rows(d);
    return true;
}

static bool decode_file(decoder *d, const uint8_t *bytes, size_t n)
{
    d->file = llava_cursor_over(bytes, n);
    d->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, d, on_error, on_warning);
    d->info = d->png != NULL ? png_create_info_struct(d->png) : NULL;
    bool ok = false;
    if (d->info != NULL) {
        png_set_read_fn(d->png, d, take_bytes);
        ok = decode(d);
    } else {
        llava_fail(d->e, "%s: out of memory (libpng)", d->layout->name);
    }
    png_destroy_read_struct(&d->png, &d->info, NULL);
    free(d->row);
    return ok;
}

bool llava_png_is(const uint8_t *bytes, size_t n)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    return n >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

bool llava_png_read(llava_picture *picture, const char *name, const uint8_t *bytes, size_t n,
                    llava_alpha alpha, int *orientation, llava_error *e)
{
    *picture = (llava_picture){0};
    *orientation = 0;
    png_layout layout = {.name = name};
    if (!llava_png_is(bytes, n)) {
        return llava_fail(e, "%s: not a PNG file (at byte 0)", name);
    }
    llava_cursor chunks = llava_cursor_over(bytes, n);
    llava_cursor_seek(&chunks, 8);
    if (!walk(&layout, chunks, e)) {
        return false;
    }
    if (!llava_picture_new(picture, layout.height, layout.width, e)) {
        return llava_fail_in(e, name);
    }
    decoder d = {.layout = &layout, .alpha = alpha, .picture = picture, .e = e};
    if (!decode_file(&d, bytes, n)) {
        llava_picture_free(picture);
        return false;
    }
    *orientation = orientation_of(&layout);
    if (*orientation == LLAVA_EXIF_NO_MEMORY) {
        llava_picture_free(picture);
        return llava_fail(e, "%s: out of memory (its orientation)", name);
    }
    return true;
}
