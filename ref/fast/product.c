/* y = x W^T for the fast path. Weights are read where the file is mapped, a block of rows at a time
 * for all panels; only what has another type than the run, or an odd number of bfloat16 in a row,
 * is written into a block of its own first. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

/* OUTPUTS rows of weights stay in the second cache while the panels pass. After UNITS units sums
 * start anew, as in any blocked product, so that the error of a long sum stays small. */
enum { OUTPUTS = 64, UNITS = 512, COLUMNS = 64 };

void *llava_fast_take(llava_fast_room *room, size_t rows, size_t width, llava_error *e)
{
    size_t count, bytes = 0;
    if (!llava_mul(rows, width, &count) || !llava_mul(count, sizeof(float), &bytes) ||
        bytes > SIZE_MAX - 64) {
        llava_fail(e, "out of memory (%zu x %zu numbers)", rows, width);
        return NULL;
    }
    if (room->at == NULL || bytes > room->bytes) {
        free(room->at);
        room->bytes = (bytes + 64) / 64 * 64;
        room->at = aligned_alloc(64, room->bytes);
        if (room->at == NULL) {
            llava_fail(e, "out of memory (%zu x %zu numbers)", rows, width);
            return NULL;
        }
        memset(room->at, 0, room->bytes);
    }
    return room->at;
}

/* ---- panels -------------------------------------------------------------------------------------
 */

size_t llava_fast_panels(const llava_fast_rows *rows)
{
    return (rows->length - rows->first + rows->lanes - 1) / rows->lanes;
}

size_t llava_fast_live(const llava_fast_rows *rows, size_t panel)
{
    size_t left = rows->length - rows->first - panel * rows->lanes;
    return left < rows->lanes ? left : rows->lanes;
}

/* Where panel t's first row begins in x: [batch, length, width]. */
static size_t panel_start(const llava_fast_rows *rows, size_t t, size_t width)
{
    size_t panels = llava_fast_panels(rows);
    return (t / panels * rows->length + rows->first + t % panels * rows->lanes) * width;
}

/* COLUMNS features at a time: they fit the first cache. */
float *llava_fast_pack(llava_fast *f, llava_fast_room *room, bool bf16, const llava_fast_rows *rows,
                       size_t width, const double *x, llava_error *e)
{
    size_t panels = llava_fast_panels(rows), lanes = rows->lanes, size = width * lanes;
    float *to = llava_fast_take(room, rows->batch * panels, size, e);
    for (size_t t = 0; to != NULL && t < rows->batch * panels; t++) {
        const double *from = x + panel_start(rows, t, width);
        float *panel = to + t * size;
        for (size_t j = 0; j < width; j += COLUMNS) {
            for (size_t lane = 0; lane < llava_fast_live(rows, t % panels); lane++) {
                for (size_t k = j; k < j + COLUMNS && k < width; k++) {
                    panel[k * lanes + lane] = (float)from[lane * width + k];
                }
            }
        }
        f->kernel.add(panel, panel, NULL, false, size, 1, bf16);
    }
    return to;
}

void llava_fast_unpack(const llava_fast_rows *rows, size_t width, const float *panels, double *x)
{
    size_t each = llava_fast_panels(rows), lanes = rows->lanes;
    for (size_t t = 0; t < rows->batch * each; t++, panels += width * lanes) {
        double *to = x + panel_start(rows, t, width);
        for (size_t j = 0; j < width; j += COLUMNS) {
            for (size_t lane = 0; lane < llava_fast_live(rows, t % each); lane++) {
                for (size_t k = j; k < j + COLUMNS && k < width; k++) {
                    to[lane * width + k] = (double)panels[k * lanes + lane];
                }
            }
        }
    }
}

/* ---- factors ------------------------------------------------------------------------------------
 */

size_t llava_fast_units(llava_fast_kind kind, size_t inner)
{
    return kind == LLAVA_FAST_FLOATS ? inner : (inner + 1) / 2;
}

llava_fast_kind llava_fast_kind_of(const llava_fast *f, bool stored_bf16, bool x_bf16)
{
    return !stored_bf16              ? LLAVA_FAST_FLOATS
           : x_bf16 && f->kernel.dot ? LLAVA_FAST_DOT
                                     : LLAVA_FAST_BRAIN;
}

const float *llava_fast_lay(const llava_fast *f, llava_fast_kind kind, const float *x, size_t inner,
                            size_t lanes, float *to)
{
    if (kind == LLAVA_FAST_DOT) {
        f->kernel.pair((uint32_t *)(void *)to, x, inner, lanes);
        return to;
    }
    if (kind == LLAVA_FAST_BRAIN && inner % 2 == 1) {
        memcpy(to, x, inner * lanes * sizeof *to);
        memset(to + inner * lanes, 0, lanes * sizeof *to);
        return to;
    }
    return x;
}

/* Is the machine's byte order the files'? */
static bool little_endian(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* Do the file's own bytes hold the units? */
static bool lies_ready(llava_fast_kind kind, const llava_weight *w, size_t inner)
{
    return little_endian() &&
           (kind == LLAVA_FAST_FLOATS ? w->dtype == LLAVA_F32
                                      : w->dtype == LLAVA_BF16 && inner % 2 == 0);
}

/* Row o, of `inner` numbers, as units, each rounded once. */
static void convert(const llava_fast *f, llava_fast_kind kind, const llava_weight *w, size_t o,
                    size_t inner, uint32_t *units)
{
    enum { AT_ONCE = 128 };
    double part[AT_ONCE];
    size_t bytes = llava_dtype_size(w->dtype);
    units[llava_fast_units(kind, inner) - 1] = 0; /* beside an odd last number */
    if (little_endian() && w->dtype != LLAVA_F64) {
        f->kernel.convert(w->dtype, w->bytes + o * inner * bytes, inner, kind != LLAVA_FAST_FLOATS,
                          units);
        return;
    }
    for (size_t done = 0; done < inner; done += AT_ONCE) {
        size_t take = inner - done < AT_ONCE ? inner - done : AT_ONCE;
        llava_decode(w->dtype, w->bytes + (o * inner + done) * bytes, take, LLAVA_F64, part);
        for (size_t i = 0; i < take; i++) {
            float x = (float)part[i];
            uint32_t bits = llava_encode_bf16(part[i]), *unit = units + (done + i) / 2;
            if (kind == LLAVA_FAST_FLOATS) {
                memcpy(units + done + i, &x, sizeof x);
            } else {
                *unit = i % 2 == 0 ? bits : *unit | bits << 16;
            }
        }
    }
}

/* Rows o .. o + count of W, where they lie or in `block`. */
static llava_fast_factor weights(const llava_fast *f, llava_fast_kind kind, const llava_weight *w,
                                 size_t inner, size_t o, size_t count, uint32_t *block)
{
    size_t units = llava_fast_units(kind, inner), stride = inner * llava_dtype_size(w->dtype);
    if (lies_ready(kind, w, inner)) {
        return (llava_fast_factor){kind, w->bytes + o * stride, stride};
    }
    for (size_t i = 0; i < count; i++) {
        convert(f, kind, w, o + i, inner, block + i * units);
    }
    return (llava_fast_factor){kind, (const uint8_t *)block, units * sizeof *block};
}

/* ---- the product --------------------------------------------------------------------------------
 */

bool llava_fast_product(llava_fast *f, bool bf16, float *y, const float *x,
                        const llava_fast_rows *rows, size_t inner, size_t outputs,
                        const llava_weight *w, llava_error *e)
{
    llava_fast_kind kind = llava_fast_kind_of(f, bf16 || w->dtype == LLAVA_BF16, bf16);
    size_t panels = llava_fast_panels(rows), all = rows->batch * panels, lanes = rows->lanes;
    size_t units = llava_fast_units(kind, inner), wide = kind == LLAVA_FAST_BRAIN ? 2 : 1;
    size_t most = lanes == 1 ? units : UNITS; /* rows are read from end to end */
    float *room = llava_fast_take(&f->x, all, wide * units * lanes, e);
    uint32_t *block = llava_fast_take(&f->w, OUTPUTS, units, e);
    if (room == NULL || block == NULL) {
        return false;
    }
    const float *laid = x;
    for (size_t t = 0; t < all; t++) {
        float *to = room + t * wide * units * lanes;
        laid = llava_fast_lay(f, kind, x + t * inner * lanes, inner, lanes, to) == to ? room : x;
    }
    for (size_t o = 0; o < outputs; o += OUTPUTS) {
        size_t count = outputs - o < OUTPUTS ? outputs - o : OUTPUTS;
        llava_fast_factor of = weights(f, kind, w, inner, o, count, block);
        for (size_t u = 0; u < units; u += most, of.rows += most * sizeof *block) {
            size_t n = units - u < most ? units - u : most;
            for (size_t t = 0; t < all; t++) {
                float *to = y + (t * outputs + o) * lanes;
                const float *from = laid + (t * units + u) * wide * lanes;
                if (lanes == 1) {
                    f->kernel.dots(of, to, from, n, count, u > 0);
                } else {
                    f->kernel.tile(of, to, from, n, count, llava_fast_live(rows, t % panels),
                                   u > 0);
                }
            }
        }
    }
    return true;
}
