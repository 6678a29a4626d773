/* y = x W^T for the fast path: both factors are laid side by side for the tile of kernel.h, a block
 * of weights that fits the second cache at a time. A weight that the steps of a generation use
 * again and again is laid out once and kept, on huge pages. */
#define _DEFAULT_SOURCE /* madvise */
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* Units of one pass over a tile: sums start anew, as in any blocked product, so that the error of
 * a long sum stays small; x's block of rows stays in the first cache meanwhile. */
enum { UNITS = 384, GROUP_OUTPUTS = 256 };

static const size_t HUGE_PAGE = (size_t)1 << 21;

void *llava_fast_take(llava_fast_room *room, size_t rows, size_t width, llava_error *e)
{
    size_t count, bytes = 0;
    bool fits = llava_mul(rows, width, &count) && llava_mul(count, sizeof(uint32_t), &bytes) &&
                bytes < SIZE_MAX - HUGE_PAGE;
    if (fits && room->at != NULL && bytes <= room->bytes) {
        return room->at;
    }
    size_t page = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    free(room->at);
    room->bytes = (bytes + page) / page * page;
    room->at = fits ? aligned_alloc(page, room->bytes) : NULL;
    if (room->at == NULL) {
        llava_fail(e, "out of memory (%zu x %zu numbers)", rows, width);
    } else if (page == HUGE_PAGE) {
        madvise(room->at, room->bytes, MADV_HUGEPAGE); /* a wish: without it all works too */
    }
    return room->at;
}

size_t llava_fast_height(const llava_fast_kernels *kernel, size_t rows)
{
    size_t i = 0;
    while (kernel->heights[i] > rows) {
        i++;
    }
    return kernel->heights[i];
}

void llava_fast_interleave(uint32_t *to, size_t width, const void *of, size_t stride, size_t lanes,
                           size_t units)
{
    const uint8_t *from = of;
    size_t lane = 0;
#if defined(__x86_64__)
    for (; lane + 4 <= lanes; lane += 4) {
        const uint8_t *in = from + lane * stride;
        size_t u = 0;
        for (; u + 4 <= units; u += 4, in += 16) {
            __m128 a = _mm_loadu_ps((const float *)(const void *)in);
            __m128 b = _mm_loadu_ps((const float *)(const void *)(in + stride));
            __m128 c = _mm_loadu_ps((const float *)(const void *)(in + 2 * stride));
            __m128 d = _mm_loadu_ps((const float *)(const void *)(in + 3 * stride));
            float *out = (float *)(void *)(to + u * width + lane);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_storeu_ps(out, a);
            _mm_storeu_ps(out + width, b);
            _mm_storeu_ps(out + 2 * width, c);
            _mm_storeu_ps(out + 3 * width, d);
        }
        for (; u < units; u++, in += 4) {
            for (size_t i = 0; i < 4; i++) {
                memcpy(to + u * width + lane + i, in + i * stride, 4);
            }
        }
    }
#endif
    for (; lane < lanes; lane++) {
        for (size_t u = 0; u < units; u++) {
            memcpy(to + u * width + lane, from + lane * stride + 4 * u, 4);
        }
    }
}

/* ---- weights -----------------------------------------------------------------------------------
 */

/* n stored numbers as 32-bit units of this kind: floats, or pairs of bfloat16 (an odd one has 0
 * beside it). Rounded once. */
static void convert(llava_fast_kind kind, const llava_weight *w, size_t first, size_t n,
                    uint32_t *to)
{
    enum { AT_ONCE = 128 };
    double part[AT_ONCE];
    size_t bytes = llava_dtype_size(w->dtype);
    for (size_t done = 0; done < n; done += AT_ONCE) {
        size_t take = n - done < AT_ONCE ? n - done : AT_ONCE;
        llava_decode(w->dtype, w->bytes + (first + done) * bytes, take, LLAVA_F64, part);
        for (size_t i = 0; i < take; i++) {
            float x = (float)part[i];
            if (kind == LLAVA_FAST_FLOATS) {
                memcpy(to + done + i, &x, sizeof x);
            } else {
                uint32_t bits = llava_encode_bf16(part[i]);
                uint32_t *unit = to + (done + i) / 2;
                *unit = (done + i) % 2 == 0 ? bits : *unit | bits << 16;
            }
        }
    }
}

/* Do the file's own bytes hold the units? */
static bool lies_ready(llava_fast_kind kind, const llava_weight *w, size_t inner)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    bool little = first == 1; /* the machine's byte order is the file's */
    return little && (kind == LLAVA_FAST_FLOATS ? w->dtype == LLAVA_F32
                                                : w->dtype == LLAVA_BF16 && inner % 2 == 0);
}

/* Units first .. first + count of outputs o .. o + outputs into to[count][tile]. */
static void lay_weights(llava_fast_kind kind, const llava_weight *w, size_t inner, size_t o,
                        size_t outputs, size_t tile, size_t first, size_t count, uint32_t *to)
{
    size_t per_unit = kind == LLAVA_FAST_FLOATS ? 1 : 2, size = llava_dtype_size(w->dtype);
    if (outputs < tile) {
        memset(to, 0, count * tile * sizeof *to);
    }
    if (lies_ready(kind, w, inner)) {
        llava_fast_interleave(to, tile, w->bytes + (o * inner + first * per_unit) * size,
                              inner * size, outputs, count);
        return;
    }
    uint32_t row[UNITS];
    for (size_t lane = 0; lane < outputs; lane++) {
        for (size_t done = 0; done < count; done += UNITS) {
            size_t take = count - done < UNITS ? count - done : UNITS;
            size_t k = (first + done) * per_unit;
            size_t numbers = inner - k < take * per_unit ? inner - k : take * per_unit;
            convert(kind, w, (o + lane) * inner + k, numbers, row);
            for (size_t u = 0; u < take; u++) {
                to[(done + u) * tile + lane] = row[u];
            }
        }
    }
}

struct llava_fast_kept {
    llava_fast_kept *below;
    const uint8_t *bytes;  /* of the weight, which tells it from all others */
    llava_fast_room units; /* [tiles][units][tile] */
};

void llava_fast_forget(llava_fast *f)
{
    while (f->kept != NULL) {
        llava_fast_kept *below = f->kept->below;
        free(f->kept->units.at);
        free(f->kept);
        f->kept = below;
    }
}

/* The whole weight laid out, from the first time it is asked for on. */
static const uint32_t *keep(llava_fast *f, llava_fast_kind kind, const llava_weight *w,
                            size_t inner, size_t outputs, size_t units, llava_error *e)
{
    size_t tile = f->kernel.outputs, tiles = (outputs + tile - 1) / tile;
    for (llava_fast_kept *k = f->kept; k != NULL; k = k->below) {
        if (k->bytes == w->bytes) {
            return k->units.at;
        }
    }
    llava_fast_kept *k = llava_alloc(e, 1, sizeof *k);
    if (k == NULL || llava_fast_take(&k->units, tiles * tile, units, e) == NULL) {
        free(k);
        return NULL;
    }
    k->below = f->kept;
    k->bytes = w->bytes;
    f->kept = k;
    uint32_t *at = k->units.at;
    for (size_t o = 0; o < outputs; o += tile) {
        size_t lanes = outputs - o < tile ? outputs - o : tile;
        for (size_t u = 0; u < units; u += UNITS) {
            size_t count_here = units - u < UNITS ? units - u : UNITS;
            lay_weights(kind, w, inner, o, lanes, tile, u, count_here,
                        at + (o / tile * units + u) * tile);
        }
    }
    return at;
}

/* ---- rows --------------------------------------------------------------------------------------
 */

/* x, whose numbers are bfloat16, as pairs. units: [ceil(inner / 2)] */
static void pair_up(const float *x, size_t inner, uint32_t *units)
{
    const uint32_t *bits = (const uint32_t *)(const void *)x;
    size_t i = 0;
    for (; i + 2 <= inner; i += 2) {
        units[i / 2] = bits[i] >> 16 | (bits[i + 1] & 0xffff0000u);
    }
    if (i < inner) {
        units[i / 2] = bits[i] >> 16;
    }
}

/* All rows, block after block, each block [units or 2 units][height]. */
static float *lay_rows(llava_fast *f, llava_fast_kind kind, const float *x, size_t rows,
                       size_t inner, size_t units, llava_error *e)
{
    size_t width = kind == LLAVA_FAST_PAIRS ? 2 * units : units;
    float *to = llava_fast_take(&f->x, rows, width, e);
    uint32_t *pairs = llava_fast_take(&f->pairs, f->kernel.heights[0], units, e);
    if (to == NULL || pairs == NULL) {
        return NULL;
    }
    for (size_t r = 0, height; r < rows; r += height) {
        uint32_t *block = (uint32_t *)(void *)(to + r * width);
        const float *from = x + r * inner;
        height = llava_fast_height(&f->kernel, rows - r);
        if (kind == LLAVA_FAST_DOT) {
            for (size_t i = 0; i < height; i++) {
                pair_up(from + i * inner, inner, pairs + i * units);
            }
            llava_fast_interleave(block, height, pairs, units * 4, height, units);
        } else {
            llava_fast_interleave(block, height, from, inner * 4, height, inner);
            for (size_t i = inner * height; i < width * height; i++) {
                block[i] = 0; /* beside an odd last number */
            }
        }
    }
    return to;
}

/* ---- the product -------------------------------------------------------------------------------
 */

typedef struct {
    llava_fast *f;
    llava_fast_kind kind;
    const float *x; /* laid out */
    size_t rows, outputs, units;
} product;

/* Outputs o .. o + group, units u .. u + count. w: the first tile's units, the next `stride` on. A
 * tile that outputs do not fill is done beside y. */
static void one_block(const product *p, float *y, size_t o, size_t group, size_t u, size_t count,
                      const uint32_t *w, size_t stride)
{
    const llava_fast_kernels *kernel = &p->f->kernel;
    size_t tile = kernel->outputs, outputs = p->outputs,
           per_unit = p->kind == LLAVA_FAST_PAIRS ? 2 : 1;
    float beside[16 * 32] = {0};
    for (size_t r = 0, height; r < p->rows; r += height) {
        height = llava_fast_height(kernel, p->rows - r);
        const float *x = p->x + (r * p->units + u * height) * per_unit;
        for (size_t i = o; i < o + group && i < outputs; i += tile) {
            size_t there = outputs - i < tile ? outputs - i : tile;
            float *to = there == tile ? y + r * outputs + i : beside;
            for (size_t row = 0; to == beside && row < height; row++) {
                memcpy(beside + row * tile, y + (r + row) * outputs + i, there * sizeof *y);
            }
            kernel->tile(p->kind, to, to == beside ? tile : outputs, x, w + (i - o) / tile * stride,
                         count, height, u > 0);
            for (size_t row = 0; to == beside && row < height; row++) {
                memcpy(y + (r + row) * outputs + i, beside + row * tile, there * sizeof *y);
            }
        }
    }
}

bool llava_fast_product(llava_fast *f, bool bf16, float *y, const float *x, size_t rows,
                        size_t inner, size_t outputs, const llava_weight *w, llava_error *e)
{
    llava_fast_kind kind = !bf16 && w->dtype != LLAVA_BF16 ? LLAVA_FAST_FLOATS
                           : bf16 && f->kernel.dot         ? LLAVA_FAST_DOT
                                                           : LLAVA_FAST_PAIRS;
    size_t tile = f->kernel.outputs, units = kind == LLAVA_FAST_FLOATS ? inner : (inner + 1) / 2;
    size_t most = kind == LLAVA_FAST_PAIRS ? UNITS / 2 : UNITS;
    product p = {f, kind, lay_rows(f, kind, x, rows, inner, units, e), rows, outputs, units};
    const uint32_t *kept = f->keep ? keep(f, kind, w, inner, outputs, units, e) : NULL;
    /* a single block of rows goes through the memory of a kept weight from end to end */
    size_t group = rows <= f->kernel.heights[0] ? tile : GROUP_OUTPUTS;
    uint32_t *block = llava_fast_take(&f->w, GROUP_OUTPUTS, UNITS, e);
    if (p.x == NULL || block == NULL || (f->keep && kept == NULL)) {
        return false;
    }
    for (size_t o = 0; o < outputs; o += group) {
        for (size_t u = 0; u < units; u += most) {
            size_t count = units - u < most ? units - u : most;
            for (size_t i = o; !f->keep && i < o + group && i < outputs; i += tile) {
                size_t lanes = outputs - i < tile ? outputs - i : tile;
                lay_weights(kind, w, inner, i, lanes, tile, u, count, block + (i - o) * count);
            }
            const uint32_t *at = f->keep ? kept + (o * units + u * tile) : block;
            one_block(&p, y, o, group, u, count, at, (f->keep ? units : count) * tile);
        }
    }
    return true;
}
