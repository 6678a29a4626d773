/* Products: y[r][o] = sum over k of x[r][k] w(o, k), k upward.
 *
 * The definition is llava_product_plain's three loops. llava_product gives the same bits faster: it
 * takes a block of w (INNER values of k by OUTPUTS outputs), decodes it once into float64 with the
 * outputs side by side, and for each few rows of x continues their sums over that block. Only the
 * order in which different sums advance differs, never the order within one. */
#include "decode.h"
#include "tile.h"

#include <stdlib.h>
#include <string.h>

enum { INNER = 256, OUTPUTS = 128 };

/* Largest |w| of `count` stored elements from `first`. */
static double largest(const llava_weight *w, size_t first, size_t count)
{
    double most = 0;
    double piece[INNER];
    size_t bytes = llava_dtype_size(w->dtype);
    for (size_t done = 0; done < count;) {
        size_t take = count - done < INNER ? count - done : INNER;
        llava_decode(w->dtype, w->bytes + (first + done) * bytes, take, LLAVA_F64, piece);
        for (size_t i = 0; i < take; i++) {
            double size = piece[i] < 0 ? -piece[i] : piece[i];
            most = size > most ? size : most;
        }
        done += take;
    }
    return most;
}

/* x to the nearest integer, ties to even, |x| < 2^51. */
static double nearest(double x)
{
    const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
    return (x + shift) - shift;
}

/* out[i] = kept * round(out[i] / step): what int8 storage gives back. step: float32 of the largest
 * |w| over 127, the quotient in float32 as converters have it, or weights in the middle of two go
 * the other way; kept: the step as the file holds it. Dividing by the kept one instead, a float16
 * in llama.cpp's q8_0, would leave int8's range where that is subnormal. */
static void quantise(double *out, size_t count, double largest_size, llava_dtype kept_as)
{
    double step = llava_round(LLAVA_F32, largest_size / 127), kept = llava_round(kept_as, step);
    for (size_t i = 0; i < count; i++) {
        out[i] = step > 0 ? nearest(llava_round(LLAVA_F32, out[i] / step)) * kept : 0;
    }
}

/* count elements of row `o` of a matrix [.., inner] from k on, as the weights decision keeps them.
 */
static void weight_piece(const llava_numerics *n, const llava_weight *w, size_t inner, size_t o,
                         size_t k, size_t count, double *out)
{
    size_t first = o * inner + k;
    const uint8_t *bytes = w->bytes + first * llava_dtype_size(w->dtype);
    llava_dtype to = n->weights == LLAVA_WEIGHTS_STORED ? n->storage : LLAVA_F64;
    if (to == LLAVA_F64 || to == w->dtype) {
        llava_decode_f64(w->dtype, bytes, count, out);
    } else {
        llava_decode(w->dtype, bytes, count, to, out);
    }
    switch (n->weights) {
    case LLAVA_WEIGHTS_STORED:
        break;
    case LLAVA_WEIGHTS_F16:
        llava_round_all(LLAVA_F16, out, count);
        break;
    case LLAVA_WEIGHTS_BF16:
        llava_round_all(LLAVA_BF16, out, count);
        break;
    case LLAVA_WEIGHTS_INT8:
        quantise(out, count, largest(w, o * inner, inner), LLAVA_F32);
        break;
    case LLAVA_WEIGHTS_INT8_BLOCK32: /* k is a multiple of INNER, and so of 32 */
        for (size_t i = 0; i < count; i += 32) {
            size_t block = count - i < 32 ? count - i : 32;
            quantise(out + i, block, largest(w, first + i, block), LLAVA_F16);
        }
        break;
    }
    if (n->weights != LLAVA_WEIGHTS_STORED) {
        llava_round_all(n->storage, out, count);
    }
}

llava_numerics llava_numerics_of(const llava_numerics *n, llava_kept_matrix matrix)
{
    llava_numerics own = *n;
    if ((n->keeps & matrix) != 0) {
        own.weights = LLAVA_WEIGHTS_STORED;
    }
    return own;
}

/* Element (o, k .. k + count) of a factor. */
static void factor_piece(const llava_numerics *n, const llava_factor *w, size_t inner, size_t o,
                         size_t k, size_t count, double *out)
{
    if (w->weight != NULL) {
        weight_piece(n, w->weight, inner, o, k, count, out);
        return;
    }
    const double *at = w->matrix + o * w->output_stride + k * w->inner_stride;
    for (size_t i = 0; i < count; i++) {
        out[i] = at[i * w->inner_stride];
    }
}

/* Sum over k of a[k] b[k], k upward: in float64, or every factor, product and sum in float32. */
static double sum_of_products(bool sums_f32, const double *a, const double *b, size_t count)
{
    double sum = 0;
    float sum_f32 = 0;
    for (size_t k = 0; k < count; k++) {
        if (sums_f32) {
            sum_f32 += (float)a[k] * (float)b[k];
        } else {
            sum += a[k] * b[k];
        }
    }
    return sums_f32 ? (double)sum_f32 : sum;
}

bool llava_product_plain(const llava_numerics *n, double *y, size_t y_stride, const double *x,
                         size_t x_stride, size_t rows, size_t inner, size_t outputs,
                         const llava_factor *w, llava_error *e)
{
    double *column = llava_alloc(e, inner, sizeof(double));
    if (column == NULL) {
        return false;
    }
    for (size_t o = 0; o < outputs; o++) {
        for (size_t k = 0; k < inner; k += INNER) {
            factor_piece(n, w, inner, o, k, inner - k < INNER ? inner - k : INNER, column + k);
        }
        for (size_t r = 0; r < rows; r++) {
            y[r * y_stride + o] = sum_of_products(n->sums_f32, x + r * x_stride, column, inner);
        }
    }
    free(column);
    return true;
}

/* tile[k][lane] = rows[lane][k] for two lanes at `lane`: 2 x 2 at a time in vectors, for each value
 * apart would take twice as long. */
static void interleave(const double *row_a, const double *row_b, size_t kn, size_t width,
                       double *tile)
{
    typedef double two __attribute__((vector_size(2 * sizeof(double))));
    size_t k = 0;
    for (; k + 2 <= kn; k += 2) {
        two a, b;
        memcpy(&a, row_a + k, sizeof a);
        memcpy(&b, row_b + k, sizeof b);
        two first = {a[0], b[0]}, second = {a[1], b[1]};
        memcpy(tile + k * width, &first, sizeof first);
        memcpy(tile + (k + 1) * width, &second, sizeof second);
    }
    for (; k < kn; k++) {
        tile[k * width] = row_a[k];
        tile[k * width + 1] = row_b[k];
    }
}

/* Decodes w(o0 .. o0 + on, k0 .. k0 + kn) into panel: tiles of [kn][width], outputs side by side,
 * width even. Outputs behind the last are zero. */
static void pack_factor(const llava_numerics *n, const llava_factor *w, size_t inner, size_t o0,
                        size_t on, size_t k0, size_t kn, size_t width, double *panel)
{
    double piece[2][INNER];
    for (size_t o = 0; o < on; o += width) {
        double *tile = panel + o * kn;
        for (size_t lane = 0; lane < width; lane += 2) {
            for (size_t i = 0; i < 2; i++) {
                if (o + lane + i < on) {
                    factor_piece(n, w, inner, o0 + o + lane + i, k0, kn, piece[i]);
                } else {
                    memset(piece[i], 0, kn * sizeof piece[i][0]);
                }
            }
            interleave(piece[0], piece[1], kn, width, tile + lane);
        }
    }
}

/* The panel's numbers as float32, from its beginning on. */
static void narrow_panel(double *panel, size_t count)
{
    float *to = (float *)(void *)panel;
    for (size_t i = 0; i < count; i++) {
        float single = (float)panel[i];
        memcpy(to + i, &single, sizeof single);
    }
}

/* Continues the sums of up to four rows and `on` outputs over one block of k. What has less than
 * four rows or a whole tile of outputs is done beside y: a row that is not there is the first once
 * more, and its sums are dropped. */
static void advance(const llava_tile *tile, double *y, size_t y_stride, const double *x,
                    size_t x_stride, size_t rows, size_t on, const uint8_t *panel, size_t kn)
{
    double block[LLAVA_TILE_ROWS * LLAVA_TILE_OUTPUTS] = {0};
    const double *of_row[LLAVA_TILE_ROWS];
    for (size_t r = 0; r < LLAVA_TILE_ROWS; r++) {
        of_row[r] = x + (r < rows ? r : 0) * x_stride;
    }
    for (size_t o = 0; o < on; o += tile->outputs) {
        size_t width = on - o < tile->outputs ? on - o : tile->outputs;
        const uint8_t *w = panel + o * kn * tile->number;
        if (rows == LLAVA_TILE_ROWS && width == tile->outputs) {
            tile->run(y + o, y_stride, of_row, w, kn);
            continue;
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(block + r * tile->outputs, y + r * y_stride + o, width * sizeof(double));
        }
        tile->run(block, tile->outputs, of_row, w, kn);
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + r * y_stride + o, block + r * tile->outputs, width * sizeof(double));
        }
    }
}

enum { FEW_ROWS = 2, FEW_OUTPUTS = 8 };

/* Continues the sums of one row and eight outputs over one block of k. Eight named accumulators:
 * an addition waits for the one before it in its own sum only. */
static void continue_eight(double *y, const double *x, double piece[FEW_OUTPUTS][INNER], size_t kn)
{
    double a = y[0], b = y[1], c = y[2], d = y[3], e = y[4], f = y[5], g = y[6], h = y[7];
    for (size_t k = 0; k < kn; k++) {
        a = a + piece[0][k] * x[k], b = b + piece[1][k] * x[k];
        c = c + piece[2][k] * x[k], d = d + piece[3][k] * x[k];
        e = e + piece[4][k] * x[k], f = f + piece[5][k] * x[k];
        g = g + piece[6][k] * x[k], h = h + piece[7][k] * x[k];
    }
    y[0] = a, y[1] = b, y[2] = c, y[3] = d, y[4] = e, y[5] = f, y[6] = g, y[7] = h;
}

/* The same for a row or two, as in a decoding step: laying the weights out side by side would take
 * longer than the sums. */
static void product_of_few(const llava_numerics *n, double *y, size_t y_stride, const double *x,
                           size_t x_stride, size_t rows, size_t inner, size_t outputs,
                           const llava_factor *w)
{
    double piece[FEW_OUTPUTS][INNER];
    for (size_t o = 0; o < outputs; o += FEW_OUTPUTS) {
        size_t on = outputs - o < FEW_OUTPUTS ? outputs - o : FEW_OUTPUTS;
        double sums[FEW_ROWS][FEW_OUTPUTS] = {{0}};
        for (size_t k = 0; k < inner; k += INNER) {
            size_t kn = inner - k < INNER ? inner - k : INNER;
            for (size_t i = 0; i < on; i++) {
                factor_piece(n, w, inner, o + i, k, kn, piece[i]);
            }
            for (size_t i = on; i < FEW_OUTPUTS; i++) {
                memset(piece[i], 0, kn * sizeof piece[i][0]);
            }
            for (size_t r = 0; r < rows; r++) {
                continue_eight(sums[r], x + r * x_stride + k, piece, kn);
            }
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + r * y_stride + o, sums[r], on * sizeof(double));
        }
    }
}

bool llava_product(const llava_numerics *n, double *y, size_t y_stride, const double *x,
                   size_t x_stride, size_t rows, size_t inner, size_t outputs,
                   const llava_factor *w, llava_error *e)
{
    if (rows <= FEW_ROWS && !n->sums_f32) {
        product_of_few(n, y, y_stride, x, x_stride, rows, inner, outputs, w);
        return true;
    }
    return llava_product_with(llava_tile_best(n->sums_f32), n, y, y_stride, x, x_stride, rows,
                              inner, outputs, w, e);
}

bool llava_product_with(llava_tile tile, const llava_numerics *n, double *y, size_t y_stride,
                        const double *x, size_t x_stride, size_t rows, size_t inner, size_t outputs,
                        const llava_factor *w, llava_error *e)
{
    size_t panel_outputs = outputs < OUTPUTS ? outputs + tile.outputs : OUTPUTS;
    double *panel = llava_alloc(e, panel_outputs * (inner < INNER ? inner : INNER), sizeof(double));
    if (panel == NULL) {
        return false;
    }
    for (size_t r = 0; r < rows; r++) {
        memset(y + r * y_stride, 0, outputs * sizeof(double));
    }
    for (size_t o = 0; o < outputs; o += OUTPUTS) {
        size_t on = outputs - o < OUTPUTS ? outputs - o : OUTPUTS;
        for (size_t k = 0; k < inner; k += INNER) {
            size_t kn = inner - k < INNER ? inner - k : INNER;
            pack_factor(n, w, inner, o, on, k, kn, tile.outputs, panel);
            if (tile.number == sizeof(float)) {
                narrow_panel(panel, (on + tile.outputs - 1) / tile.outputs * tile.outputs * kn);
            }
            for (size_t r = 0; r < rows; r += LLAVA_TILE_ROWS) {
                size_t rn = rows - r < LLAVA_TILE_ROWS ? rows - r : LLAVA_TILE_ROWS;
                advance(&tile, y + r * y_stride + o, y_stride, x + r * x_stride + k, x_stride, rn,
                        on, (const uint8_t *)panel, kn);
            }
        }
    }
    free(panel);
    return true;
}

/* By way of float32, which ports have it in: one value in 8192 is a float32 number in the middle of
 * two float16 or TF32 ones, and would go the other way by its digits behind float32's. */
static double round_input(llava_rounding rounding, double x)
{
    float f = (float)x;
    uint32_t bits;
    switch (rounding) {
    case LLAVA_ROUNDING_EXACT:
        return x;
    case LLAVA_ROUNDING_F16:
        return llava_round(LLAVA_F16, f);
    case LLAVA_ROUNDING_BF16:
        return llava_round(LLAVA_BF16, f);
    case LLAVA_ROUNDING_TF32:
        /* 13 of float32's 23 bits go, to nearest even. The carry runs into the exponent, and from
         * the largest floats into infinity, as in a float32 addition. */
        memcpy(&bits, &f, sizeof bits);
        if ((bits & 0x7f800000u) != 0x7f800000u) {
            bits += 0xfffu + ((bits >> 13) & 1u);
            bits &= ~0x1fffu;
        }
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    return x;
}

void llava_round_input(llava_rounding rounding, double *x, size_t count)
{
    if (rounding == LLAVA_ROUNDING_EXACT) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        x[i] = round_input(rounding, x[i]);
    }
}

/* A copy of x rounded as the matmul_input decision says; NULL where nothing is to be rounded. */
static bool rounded_input(const llava_numerics *n, const double *x, size_t count, double **copy,
                          llava_error *e)
{
    *copy = NULL;
    if (n->matmul_input == LLAVA_ROUNDING_EXACT) {
        return true;
    }
    *copy = llava_alloc(e, count, sizeof(double));
    if (*copy == NULL) {
        return false;
    }
    memcpy(*copy, x, count * sizeof(double));
    llava_round_input(n->matmul_input, *copy, count);
    return true;
}

bool llava_linear(const llava_numerics *n, double *y, const double *x, size_t rows,
                  const llava_weight *weight, const llava_weight *bias, llava_error *e)
{
    size_t outputs = weight->shape[0];
    size_t inner = outputs == 0 ? 0 : weight->count / outputs;
    llava_factor w = {.weight = weight};
    double *copy;
    if (!rounded_input(n, x, rows * inner, &copy, e)) {
        return false;
    }
    const double *input = copy == NULL ? x : copy;
    bool ok = llava_product(n, y, outputs, input, inner, rows, inner, outputs, &w, e);
    free(copy);
    if (ok && bias != NULL) {
        double *b = llava_alloc(e, outputs, sizeof(double));
        if (b == NULL) {
            return false;
        }
        llava_weight_vector(n, bias, 0, outputs, b);
        for (size_t r = 0; r < rows; r++) {
            for (size_t o = 0; o < outputs; o++) {
                y[r * outputs + o] += b[o];
            }
        }
        free(b);
    }
    if (ok) {
        llava_round_all(n->storage, y, rows * outputs);
    }
    return ok;
}

void llava_weight_row(const llava_numerics *n, const llava_weight *w, size_t row, size_t width,
                      double *out)
{
    weight_piece(n, w, width, row, 0, width, out);
}

void llava_weight_vector(const llava_numerics *n, const llava_weight *w, size_t first, size_t count,
                         double *out)
{
    const uint8_t *bytes = w->bytes + first * llava_dtype_size(w->dtype);
    llava_decode(w->dtype, bytes, count, n->storage, out);
}
