/* Reading JPEG. libjpeg-turbo does the decoding, with the settings that Pillow leaves at their
 * defaults; what Pillow does around it (which segments hold the orientation, what four components
 * mean, when a file counts as cut off) is here. */
#include "jpeg.h"
#include "exif.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h> /* needs stdio.h before it */

#include <jerror.h>

/* Everything that a decoding holds, so that one function frees it whichever way it ended. */
typedef struct {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    const char *name;
    size_t n; /* bytes of the file */
    const llava_image_plan *plan;
    uint8_t *row, *exif;
    int orientation;
    llava_picture *picture;
    llava_error *e;
} decoder;

/* ---- what the library calls ---- */

static void on_error(j_common_ptr jpeg)
{
    decoder *d = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    llava_fail(d->e, "%s: JPEG: %s", d->name, text);
    longjmp(d->failed, 1);
}

static void on_message(j_common_ptr jpeg, int level)
{
    (void)jpeg;
    (void)level;
}

/* A hostile file may hold a scan in a few bytes, and every scan walks over the whole picture. */
static void on_progress(j_common_ptr jpeg)
{
    decoder *d = jpeg->client_data;
    if (d->jpeg.input_scan_number > LLAVA_JPEG_SCANS) {
        llava_fail(d->e, "%s: JPEG: more than %d scans", d->name, LLAVA_JPEG_SCANS);
        longjmp(d->failed, 1);
    }
}

static void nothing(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

/* All bytes are there from the start: being asked for more means that the file ends too early.
 * FALSE suspends the decoding, which comes back to decode(). Pillow does the same; libjpeg's own
 * source would put an end marker there and let the missing rows be grey. */
static boolean no_more(j_decompress_ptr jpeg)
{
    (void)jpeg;
    return FALSE;
}

static void skip(j_decompress_ptr jpeg, long count)
{
    struct jpeg_source_mgr *source = jpeg->src;
    size_t n = count < 0 ? 0 : (size_t)count;
    n = n > source->bytes_in_buffer ? source->bytes_in_buffer : n;
    source->next_input_byte += n;
    source->bytes_in_buffer -= n;
}

/* ---- orientation ---- */

static bool begins_with(const struct jpeg_marker_struct *m, const char *text, size_t n)
{
    return m->data_length >= n && memcmp(m->data, text, n) == 0;
}

static const char exif_name[6] = "Exif\0";
static const char xmp_name[29] = "http://ns.adobe.com/xap/1.0/";

/* The EXIF segments joined, their names left out but for the first (so does Pillow's reader), then
 * the last XMP segment where EXIF has no such tag. */
static bool find_orientation(decoder *d)
{
    size_t n = 0;
    int xmp = 0;
    d->exif = llava_alloc(d->e, d->n + 1, 1);
    if (d->exif == NULL) {
        return false;
    }
    for (const struct jpeg_marker_struct *m = d->jpeg.marker_list; m != NULL; m = m->next) {
        if (begins_with(m, exif_name, sizeof exif_name)) {
            size_t from = n > 0 ? sizeof exif_name : 0;
            memcpy(d->exif + n, m->data + from, m->data_length - from);
            n += m->data_length - from;
        } else if (begins_with(m, xmp_name, sizeof xmp_name)) {
            xmp =
                llava_xmp_orientation(m->data + sizeof xmp_name, m->data_length - sizeof xmp_name);
        }
    }
    d->orientation = llava_exif_orientation(d->exif, n);
    if (d->orientation == 0) {
        d->orientation = xmp;
    } else if (d->orientation == LLAVA_EXIF_UNREADABLE) {
        d->orientation = 0; /* Pillow does not ask further where EXIF is there but unreadable */
    }
    return true;
}

/* ---- pixels ---- */

/* One channel of an inverted four-component pixel: c * (255 - k) / 255 as Pillow rounds it, taken
 * from 255 - k. */
static uint8_t without_black(uint8_t inverted, unsigned light)
{
    unsigned product = (255U - inverted) * light + 128U;
    unsigned taken = ((product >> 8) + product) >> 8;
    return taken < light ? (uint8_t)(light - taken) : 0;
}

static void put_row(const decoder *d, uint8_t *to)
{
    size_t width = d->picture->width;
    size_t channels = (size_t)d->jpeg.output_components;
    for (size_t x = 0; x < width; x++) {
        const uint8_t *from = d->row + channels * x;
        for (size_t c = 0; c < 3; c++) {
            to[3 * x + c] = channels == 1   ? from[0]
                            : channels == 4 ? without_black(from[c], from[3])
                                            : from[c];
        }
    }
}

static bool cut_off(const decoder *d, const char *part)
{
    return llava_fail(d->e, "%s: JPEG: the file ends within its %s", d->name, part);
}

/* Grey stays grey, four components stay four; the library turns the rest into RGB. */
static bool choose_output(decoder *d)
{
    switch (d->jpeg.num_components) {
    case 1:
        d->jpeg.out_color_space = JCS_GRAYSCALE;
        break;
    case 3:
        d->jpeg.out_color_space = JCS_RGB;
        break;
    case 4:
        d->jpeg.out_color_space = JCS_CMYK;
        break;
    default:
        return llava_fail(d->e, "%s: JPEG: %d components (1, 3 and 4 are read)", d->name,
                          d->jpeg.num_components);
    }
    d->jpeg.dct_method = d->plan->jpeg_dct == LLAVA_DCT_ISLOW ? JDCT_ISLOW : JDCT_IFAST;
    d->jpeg.do_fancy_upsampling = d->plan->jpeg_upsampling == LLAVA_UPSAMPLING_FANCY;
    return true;
}

static bool read_header(decoder *d)
{
    int found;
    do {
        found = jpeg_read_header(&d->jpeg, FALSE);
    } while (found == JPEG_HEADER_TABLES_ONLY);
    if (found == JPEG_SUSPENDED) {
        return cut_off(d, "header");
    }
    if (d->jpeg.image_height > LLAVA_MAX_PIXELS / d->jpeg.image_width) { /* none of them is 0 */
        return llava_fail(d->e, "%s: JPEG: %u x %u is more than %d pixels", d->name,
                          d->jpeg.image_width, d->jpeg.image_height, LLAVA_MAX_PIXELS);
    }
    return find_orientation(d) && choose_output(d);
}

/* The only function with a setjmp; nothing that it needs afterwards is a local variable. */
static bool decode(decoder *d)
{
    if (setjmp(d->failed) != 0) {
        return false;
    }
    jpeg_create_decompress(&d->jpeg);
    d->jpeg.src = &d->source;
    d->jpeg.progress = &d->progress;
    jpeg_save_markers(&d->jpeg, JPEG_APP0 + 1, 0xffff);
    if (!read_header(d)) {
        return false;
    }
    if (!jpeg_start_decompress(&d->jpeg)) {
        return cut_off(d, "image data");
    }
    size_t width = d->jpeg.output_width, height = d->jpeg.output_height;
    d->row = llava_alloc(d->e, width, (size_t)d->jpeg.output_components);
    if (d->row == NULL || !llava_picture_new(d->picture, height, width, d->e)) {
        return llava_fail_in(d->e, d->name);
    }
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        uint8_t *to = d->picture->rgb + 3 * width * d->jpeg.output_scanline;
        if (jpeg_read_scanlines(&d->jpeg, &d->row, 1) != 1) {
            return cut_off(d, "image data");
        }
        put_row(d, to);
    }
    jpeg_finish_decompress(&d->jpeg); /* a missing end marker is no reason to refuse */
    return true;
}

bool llava_jpeg_available(void)
{
    return true;
}

bool llava_jpeg_is(const uint8_t *bytes, size_t n)
{
    return n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

bool llava_jpeg_read(llava_picture *picture, const char *name, const uint8_t *bytes, size_t n,
                     const llava_image_plan *plan, int *orientation, llava_error *e)
{
    *picture = (llava_picture){0};
    decoder d = {.name = name, .n = n, .plan = plan, .picture = picture, .e = e};
    d.source = (struct jpeg_source_mgr){.next_input_byte = bytes,
                                        .bytes_in_buffer = n,
                                        .init_source = nothing,
                                        .fill_input_buffer = no_more,
                                        .skip_input_data = skip,
                                        .resync_to_restart = jpeg_resync_to_restart,
                                        .term_source = nothing};
    d.progress.progress_monitor = on_progress;
    d.jpeg.client_data = &d;
    d.jpeg.err = jpeg_std_error(&d.errors);
    d.errors.error_exit = on_error;
    d.errors.emit_message = on_message;
    bool ok = decode(&d);
    jpeg_destroy_decompress(&d.jpeg);
    free(d.row);
    free(d.exif);
    *orientation = d.orientation;
    if (!ok) {
        llava_picture_free(picture);
    }
    return ok;
}
