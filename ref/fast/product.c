/* y = x W^T for the fast path. Weights are read where the file is mapped, a block of rows at a time
 * for all panels; only what has another type than the run, or an odd number of bfloat16 in a row,
 * is written into a block of its own first. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

/* OUTPUTS rows of weights stay in the second cache while the panels pass. After UNITS units sums
 * start anew, as in any blocked product, so that the error of a long sum stays small. */
enum { OUTPUTS = 64, UNITS = 1024, COLUMNS = 64 };
enum { APART = 16 }; /* units between a block's rows: a power of two would have them in one set */

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

/* Rows behind a sample's last whole panel: so few take a panel each, the row kernel's. */
enum { FEW = 4 };

/* The panels of one sample. */
static size_t panels_each(const llava_fast_rows *rows)
{
    size_t count = rows->length - rows->first, rest = count % rows->lanes;
    return count / rows->lanes + (rest <= FEW ? rest : 1);
}

/* Numbers of each feature in a sample's first panels. */
static size_t numbers_in(const llava_fast_rows *rows, size_t panels)
{
    size_t count = rows->length - rows->first, whole = count / rows->lanes;
    bool apart = count % rows->lanes <= FEW && panels > whole;
    return apart ? whole * rows->lanes + panels - whole : panels * rows->lanes;
}

size_t llava_fast_panels(const llava_fast_rows *rows)
{
    return rows->batch * panels_each(rows);
}

size_t llava_fast_numbers(const llava_fast_rows *rows)
{
    return rows->batch * numbers_in(rows, panels_each(rows));
}

llava_fast_panel llava_fast_panel_at(const llava_fast_rows *rows, size_t t)
{
    size_t each = panels_each(rows), sample = t / each, i = t % each;
    size_t before = numbers_in(rows, i), lanes = numbers_in(rows, i + 1) - before;
    size_t left = rows->length - rows->first - before;
    return (llava_fast_panel){sample, sample * rows->length + rows->first + before, lanes,
                              left < lanes ? left : lanes,
                              sample * numbers_in(rows, each) + before};
}

/* COLUMNS features at a time: they fit the first cache. */
float *llava_fast_pack(llava_fast *f, llava_fast_room *room, bool bf16, const llava_fast_rows *rows,
                       size_t width, const double *x, llava_error *e)
{
    float *to = llava_fast_take(room, llava_fast_numbers(rows), width, e);
    for (size_t t = 0; to != NULL && t < llava_fast_panels(rows); t++) {
        llava_fast_panel p = llava_fast_panel_at(rows, t);
        const double *from = x + p.row * width;
        float *panel = to + p.before * width;
        for (size_t j = 0; j < width; j += COLUMNS) {
            for (size_t lane = 0; lane < p.live; lane++) {
                for (size_t k = j; k < j + COLUMNS && k < width; k++) {
                    panel[k * p.lanes + lane] = (float)from[lane * width + k];
                }
            }
        }
        f->kernel.add(panel, panel, NULL, width * p.lanes, 1, bf16);
    }
    return to;
}

void llava_fast_unpack(const llava_fast_rows *rows, size_t width, const float *panels, double *x)
{
    for (size_t t = 0; t < llava_fast_panels(rows); t++) {
        llava_fast_panel p = llava_fast_panel_at(rows, t);
        const float *panel = panels + p.before * width;
        double *to = x + p.row * width;
        for (size_t j = 0; j < width; j += COLUMNS) {
            for (size_t lane = 0; lane < p.live; lane++) {
                for (size_t k = j; k < j + COLUMNS && k < width; k++) {
                    to[lane * width + k] = (double)panel[k * p.lanes + lane];
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
    size_t apart = units + APART;
    for (uint32_t *to = block; to < block + count * apart; to += apart, from += inner * size) {
        to[units - 1] = 0; /* beside an odd last number */
        f->kernel.convert(w->dtype, from, n, narrow, to);
        if (bf16 && !narrow) {
            f->kernel.add((float *)to, (float *)to, NULL, n, 1, true);
        }
    }
    return (llava_fast_factor){kind, (const uint8_t *)block, apart * sizeof *block};
}

void llava_fast_lay(const llava_fast *f, bool bf16, float *panel, size_t inner, size_t lanes)
{
    if (bf16 && f->kernel.dot) {
        f->kernel.pair((uint32_t *)(void *)panel, panel, inner, lanes);
    }
}

void llava_fast_multiply(const llava_fast *f, llava_fast_factor w, float *y, const float *x,
                         size_t inner, size_t outputs, size_t lanes, size_t live, bool add)
{
    if (lanes == 1) {
        f->kernel.dots(w, y, x, inner, outputs, add);
    } else {
        size_t units = w.kind == LLAVA_FAST_PAIRS ? (inner + 1) / 2 : inner;
        f->kernel.tile(w, y, x, units, outputs, live, add);
    }
}

bool llava_fast_product(llava_fast *f, bool bf16, float *y, const float *x,
                        const llava_fast_rows *rows, size_t inner, size_t outputs,
                        const llava_weight *w, const float *bias, llava_error *e)
{
    size_t count = llava_fast_panels(rows);
    bool pairs = bf16 && f->kernel.dot, single = llava_fast_panel_at(rows, 0).lanes == 1;
    bool widen = single && (bf16 || w->dtype == LLAVA_BF16);
    llava_fast_kind kind = pairs ? LLAVA_FAST_PAIRS : widen ? LLAVA_FAST_WIDEN : LLAVA_FAST_FLOATS;
    size_t per_unit = pairs ? 2 : 1;
    size_t most = single ? inner : UNITS * per_unit; /* rows alone: from end to end */
    uint32_t *block = llava_fast_take(&f->w, OUTPUTS, (most < inner ? most : inner) + APART, e);
    for (size_t o = 0; block != NULL && o < outputs; o += OUTPUTS) {
        size_t some = outputs - o < OUTPUTS ? outputs - o : OUTPUTS;
        for (size_t k = 0; k < inner; k += most) {
            size_t n = inner - k < most ? inner - k : most;
            llava_fast_factor of = weights(f, bf16, kind, w, o, some, k, n, block);
            for (size_t t = 0; t < count; t++) {
                llava_fast_panel p = llava_fast_panel_at(rows, t);
                float *to = y + p.before * outputs + o * p.lanes;
                const float *from = x + p.before * inner + k / per_unit * p.lanes;
                llava_fast_multiply(f, of, to, from, n, some, p.lanes, p.live, k > 0);
                if (k + n == inner && (bias != NULL || bf16)) {
                    f->kernel.add(to, to, bias == NULL ? NULL : bias + o, some, p.lanes, bf16);
                }
            }
        }
    }
    return block != NULL;
}
