/* y = x W^T for the fast path. Weights are read where the file is mapped, a block of rows at a time
 * for all panels; only what has another type than the run, or an odd number of bfloat16 in a row,
 * is written into a block of its own first. */
#include "parts.h"

enum { OUTPUTS = LLAVA_FAST_OUTPUTS, UNITS = LLAVA_FAST_UNITS, COLUMNS = 64 };

/* Rows behind a sample's last whole panel: so few take a panel each, the row kernel's. */
enum { FEW = 4 };

bool llava_fast_next(const llava_fast_rows *rows, llava_fast_panel *p)
{
    p->before += p->lanes;
    p->row += p->live;
    p->row += p->row % rows->length == 0 ? rows->first : 0; /* a sample begins */
    size_t left = rows->length - p->row % rows->length;
    p->lanes = left > FEW ? rows->lanes : 1;
    p->live = llava_fast_least(left, p->lanes);
    return p->row < rows->batch * rows->length;
}

/* COLUMNS features at a time: they fit the first cache. */
void llava_fast_pack(const llava_fast_rows *rows, size_t width, const double *x, float *panels)
{
    for (llava_fast_panel p = {0}; llava_fast_next(rows, &p);) {
        for (size_t j = 0; j < width; j += COLUMNS) {
            for (size_t lane = 0; lane < p.live; lane++) {
                for (size_t k = j; k < j + COLUMNS && k < width; k++) {
                    panels[p.before * width + k * p.lanes + lane] =
                        (float)x[(p.row + lane) * width + k];
                }
            }
        }
    }
}

void llava_fast_unpack(const llava_fast_rows *rows, size_t width, const float *panels, double *x)
{
    for (llava_fast_panel p = {0}; llava_fast_next(rows, &p);) {
        for (size_t j = 0; j < width; j += COLUMNS) {
            for (size_t lane = 0; lane < p.live; lane++) {
                for (size_t k = j; k < j + COLUMNS && k < width; k++) {
                    x[(p.row + lane) * width + k] =
                        (double)panels[p.before * width + k * p.lanes + lane];
                }
            }
        }
    }
}

size_t llava_fast_units(const llava_fast *f, size_t n)
{
    return (n + f->kernel.per_unit - 1) / f->kernel.per_unit;
}

/* n numbers of each of `count` rows, `stride` bytes apart, as the kernel wants them. */
static llava_fast_factor convert(llava_fast *f, llava_dtype type, const uint8_t *from,
                                 size_t stride, size_t count, size_t n)
{
    bool narrow = f->kernel.per_unit == 2;
    for (size_t i = 0; i < count; i++, from += stride) {
        f->block[i][llava_fast_units(f, n) - 1] = 0; /* beside an odd last number */
        f->kernel.convert(type, from, n, f->bf16, narrow, f->block[i]);
    }
    return (llava_fast_factor){f->block, sizeof f->block[0], narrow};
}

/* OUTPUTS rows of weights pass all panels before the next. After UNITS units sums start anew, as in
 * any blocked product, so that the error of a long sum stays small. */
void llava_fast_product(llava_fast *f, float *y, const float *x, const llava_fast_rows *rows,
                        const llava_weight *w, const llava_weight *bias)
{
    float numbers[OUTPUTS];
    llava_fast_panel p = {0};
    size_t outputs = w->shape[0], inner = w->shape[1], stride = inner * llava_dtype_size(w->dtype);
    size_t per = f->kernel.per_unit;
    bool single = llava_fast_next(rows, &p) && p.lanes == 1;
    /* the last pair of an odd row would be half the next row's */
    bool narrow = w->dtype == LLAVA_BF16 && (per == 2 ? inner % 2 == 0 : single);
    bool ready = narrow || (w->dtype == LLAVA_F32 && !f->bf16);
    size_t most = ready && single ? inner : UNITS * per; /* rows alone: from end to end */
    for (size_t o = 0; o < outputs; o += OUTPUTS) {
        size_t some = llava_fast_least(outputs - o, OUTPUTS);
        if (bias != NULL) {
            size_t size = llava_dtype_size(bias->dtype);
            f->kernel.convert(bias->dtype, bias->bytes + o * size, some, f->bf16, false, numbers);
        }
        for (size_t k = 0; k < inner; k += most) {
            size_t n = llava_fast_least(inner - k, most);
            const uint8_t *from = w->bytes + o * stride + k * llava_dtype_size(w->dtype);
            llava_fast_factor of = {from, stride, narrow};
            if (!ready) {
                of = convert(f, w->dtype, from, stride, some, n);
            }
            for (p = (llava_fast_panel){0}; llava_fast_next(rows, &p);) {
                float *to = y + p.before * outputs + o * p.lanes;
                f->kernel.product(of, to, x + p.before * inner + k / per * p.lanes, n, some,
                                  p.lanes, p.live, k == 0 ? NULL : f->ones);
                if (k + n == inner && (bias != NULL || f->bf16)) {
                    f->kernel.add(to, to, bias == NULL ? NULL : numbers, some, p.lanes, f->bf16);
                }
            }
        }
    }
}
