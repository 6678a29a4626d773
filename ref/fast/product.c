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

/* ---- the product --------------------------------------------------------------------------------
 */

/* Rows o .. o + count of W, n numbers of each from the k-th on: where they lie, if they are what
 * the kernel reads, else in `block`. bf16: rounded to it */
static llava_fast_factor weights(const llava_fast *f, bool bf16, llava_fast_kind kind,
                                 const llava_weight *w, size_t o, size_t count, size_t k, size_t n,
                                 uint32_t *block)
{
    bool narrow = kind != LLAVA_FAST_FLOATS;
    size_t size = llava_dtype_size(w->dtype), inner = w->shape[1], units = narrow ? (n + 1) / 2 : n;
    const uint8_t *from = w->bytes + (o * inner + k) * size;
    /* the last unit of an odd row would be half the next row's */
    if (narrow ? w->dtype == LLAVA_BF16 && inner % 2 == 0 : w->dtype == LLAVA_F32 && !bf16) {
        return (llava_fast_factor){kind, from, inner * size};
    }
    for (uint32_t *to = block; to < block + count * units; to += units, from += inner * size) {
        to[units - 1] = 0; /* beside an odd last number */
        f->kernel.convert(w->dtype, from, n, narrow, to);
        if (bf16 && !narrow) {
            f->kernel.add((float *)to, (float *)to, NULL, false, n, 1, true);
        }
    }
    return (llava_fast_factor){kind, (const uint8_t *)block, units * sizeof *block};
}

bool llava_fast_product(llava_fast *f, bool bf16, float *y, const float *x,
                        const llava_fast_rows *rows, size_t inner, size_t outputs,
                        const llava_weight *w, llava_error *e)
{
    size_t panels = llava_fast_panels(rows), all = rows->batch * panels, lanes = rows->lanes;
    bool pairs = bf16 && f->kernel.dot, widen = lanes == 1 && (bf16 || w->dtype == LLAVA_BF16);
    llava_fast_kind kind = pairs ? LLAVA_FAST_PAIRS : widen ? LLAVA_FAST_WIDEN : LLAVA_FAST_FLOATS;
    size_t per_unit = pairs ? 2 : 1, units = (inner + per_unit - 1) / per_unit;
    size_t most = lanes == 1 ? inner : UNITS * per_unit; /* rows are read from end to end */
    float *paired = llava_fast_take(&f->x, pairs ? all : 0, units * lanes, e);
    uint32_t *block = llava_fast_take(&f->w, OUTPUTS, most < inner ? most : inner, e);
    if (paired == NULL || block == NULL) {
        return false;
    }
    for (size_t t = 0; pairs && t < all; t++) {
        f->kernel.pair((uint32_t *)(void *)(paired + t * units * lanes), x + t * inner * lanes,
                       inner, lanes);
    }
    x = pairs ? paired : x;
    for (size_t o = 0; o < outputs; o += OUTPUTS) {
        size_t count = outputs - o < OUTPUTS ? outputs - o : OUTPUTS;
        for (size_t k = 0; k < inner; k += most) {
            size_t n = inner - k < most ? inner - k : most;
            llava_fast_factor of = weights(f, bf16, kind, w, o, count, k, n, block);
            for (size_t t = 0; t < all; t++) {
                float *to = y + (t * outputs + o) * lanes;
                const float *from = x + (t * units + k / per_unit) * lanes;
                if (lanes == 1) {
                    f->kernel.dots(of, to, from, n, count, false);
                } else {
                    f->kernel.tile(of, to, from, (n + per_unit - 1) / per_unit, count,
                                   llava_fast_live(rows, t % panels), k > 0);
                }
            }
        }
    }
    return true;
}
