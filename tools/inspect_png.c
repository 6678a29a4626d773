#include "tools/inspect_png.h"

#include "tools/inspect.h"
#include "tools/picture_out.h"
#include "tools/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS = 126, BLACK = 2 * LEVELS + 1, GREY, COLOURS }; /* -LEVELS .. LEVELS, from 0 on */

typedef struct {
    llava_view_layout layout;
    size_t channels;      /* 3: a picture in colour */
    size_t tall, wide;    /* values in a cell's block */
    size_t rows, columns; /* cells of one tile */
    double *cell;         /* [samples, heads, rows, columns, channels] */
    double most;          /* the largest finite size */
} mosaic;

/* Blocks such that `tiles` tiles of `size` values, and a line between them, fit. */
static bool fit(size_t size, size_t tiles, size_t *block, size_t *cells)
{
    size_t room = tiles < LLAVA_INSPECT_PNG_EDGE / 2 ? (LLAVA_INSPECT_PNG_EDGE + 1) / tiles - 1 : 1;
    *block = (size - 1) / room + 1;
    *cells = (size - 1) / *block + 1;
    return tiles <= LLAVA_INSPECT_PNG_EDGE / 2;
}

static bool open_mosaic(mosaic *m, const llava_dump_entry *entry, llava_error *e)
{
    const llava_array *array = &entry->array;
    *m = (mosaic){.layout = llava_view_lay_out(entry->name, array->rank, array->shape)};
    m->channels = m->layout.kind == LLAVA_VIEW_PIXELS ? 3 : 1;
    if (array->count == 0) {
        return llava_fail(e, "%.200s: no elements, nothing to be seen", entry->name);
    }
    if (!fit(m->layout.rows, m->layout.samples, &m->tall, &m->rows) ||
        !fit(m->layout.columns, m->layout.heads, &m->wide, &m->columns)) {
        return llava_fail(
            e, "%.200s: %zu x %zu matrices do not fit into one picture (the limit is %d)",
            entry->name, m->layout.samples, m->layout.heads, LLAVA_INSPECT_PNG_EDGE / 2);
    }
    size_t cells = m->layout.samples * m->layout.heads * m->rows * m->columns * m->channels;
    m->cell = llava_alloc(e, cells, sizeof(double));
    for (size_t i = 0; m->cell != NULL && i < cells; i++) {
        m->cell[i] = 0;
    }
    return m->cell != NULL;
}

/* Element `index` of the tensor goes to its cell, where the largest size stays, and a NaN. */
static void add(mosaic *m, size_t index, double value)
{
    size_t channel = index % m->channels, at = index / m->channels;
    size_t column = at % m->layout.columns;
    llava_view_place p = llava_view_place_of(
        &m->layout, m->layout.kind == LLAVA_VIEW_PIXELS ? at : at / m->layout.columns);
    size_t tile = p.sample * m->layout.heads + p.head;
    size_t cell = (tile * m->rows + p.row / m->tall) * m->columns + column / m->wide;
    double *kept = m->cell + cell * m->channels + channel;
    if (isnan(value) || fabs(value) > fabs(*kept)) {
        *kept = value;
    }
    if (isfinite(value) && fabs(value) > m->most) {
        m->most = fabs(value);
    }
}

static bool fill(mosaic *m, llava_dump *dump, const llava_dump_entry *entry, llava_error *e)
{
    double *values = llava_alloc(e, LLAVA_INSPECT_PIECE, sizeof *values);
    int64_t *integers = llava_alloc(e, LLAVA_INSPECT_PIECE, sizeof *integers);
    bool ok = values != NULL && integers != NULL;
    for (size_t done = 0; ok && done < entry->array.count;) {
        size_t left = entry->array.count - done;
        size_t n = left < LLAVA_INSPECT_PIECE ? left : LLAVA_INSPECT_PIECE;
        ok = llava_inspect_read(dump, entry, done, n, values, integers, e);
        for (size_t i = 0; ok && i < n; i++) {
            add(m, done + i, values[i]);
        }
        done += n;
    }
    free(values);
    free(integers);
    return ok;
}

/* The colours of -LEVELS .. LEVELS: blue, white, red; then black and grey. */
static void make_colours(uint8_t colours[COLOURS][3])
{
    for (int i = 0; i <= 2 * LEVELS; i++) {
        int size = i < LEVELS ? LEVELS - i : i - LEVELS;
        uint8_t faded = (uint8_t)(255 - 2 * size);
        uint8_t strong = (uint8_t)(255 - size / 2);
        colours[i][0] = i < LEVELS ? faded : strong;
        colours[i][1] = faded;
        colours[i][2] = i < LEVELS ? strong : faded;
    }
    memset(colours[BLACK], 0, 3);
    memset(colours[GREY], 160, 3);
}

static uint8_t level(double value, double most)
{
    if (isnan(value)) {
        return BLACK;
    }
    double part = most > 0 ? value / most : 0; /* an infinity is beyond the strongest colour */
    part = part > 1 ? 1 : part < -1 ? -1 : part;
    return (uint8_t)(int)(LEVELS + floor(part * LEVELS + 0.5));
}

static uint8_t byte(double value)
{
    return value > 0 ? value < 255 ? (uint8_t)value : 255 : 0;
}

/* The picture's bytes: [height, width, channels], every cell `zoom` pixels a side. */
static uint8_t *paint(const mosaic *m, size_t zoom, size_t height, size_t width, llava_error *e)
{
    uint8_t *pixels = llava_alloc(e, height * width, m->channels);
    for (size_t y = 0; pixels != NULL && y < height; y++) {
        size_t sample = y / zoom / (m->rows + 1), row = y / zoom % (m->rows + 1);
        for (size_t x = 0; x < width; x++) {
            size_t head = x / zoom / (m->columns + 1), column = x / zoom % (m->columns + 1);
            bool between = row == m->rows || column == m->columns;
            size_t cell = ((sample * m->layout.heads + head) * m->rows + row) * m->columns + column;
            for (size_t c = 0; c < m->channels; c++) {
                uint8_t *to = pixels + (y * width + x) * m->channels + c;
                *to = between            ? GREY
                      : m->channels == 3 ? byte(m->cell[cell * 3 + c])
                                         : level(m->cell[cell], m->most);
            }
        }
    }
    return pixels;
}

bool llava_inspect_png(llava_dump *dump, const llava_dump_entry *entry, const char *path,
                       llava_error *e)
{
    mosaic m;
    llava_png png = {0};
    uint8_t colours[COLOURS][3], *pixels = NULL;
    bool ok = open_mosaic(&m, entry, e) && fill(&m, dump, entry, e);
    if (ok) {
        size_t height = m.layout.samples * (m.rows + 1) - 1;
        size_t width = m.layout.heads * (m.columns + 1) - 1;
        size_t side = height > width ? height : width;
        size_t zoom = side < LLAVA_INSPECT_PNG_SIDE ? LLAVA_INSPECT_PNG_SIDE / side : 1;
        height *= zoom;
        width *= zoom;
        make_colours(colours);
        pixels = paint(&m, zoom, height, width, e);
        ok = pixels != NULL && (m.channels == 3 ? llava_png_rgb(&png, pixels, width, height, e)
                                                : llava_png_indexed(&png, pixels, width, height,
                                                                    colours[0], COLOURS, e));
    }
    ok = ok && llava_png_write(&png, path, e);
    free(png.bytes);
    free(pixels);
    free(m.cell);
    return ok;
}
