/* The few kernels LLaVA is made of. Each computes in float64 in one fixed order and rounds each
 * operation's result once to n->storage (contract section 4).
 *
 * Every sum is the textbook's: one accumulator, from index 0 upward, product and addition rounded
 * separately, a bias added last. Vectors run over outputs, never along a sum, so their width
 * changes no bit and a row's result does not depend on the rows beside it. */
#ifndef LLAVA_OPS_H
#define LLAVA_OPS_H

#include "ref/checkpoint.h"
#include "ref/config.h"
#include "ref/numerics.h"

/* ---- products ---------------------------------------------------------------------------- */

/* The right-hand side of a product: element (o, k), output o, summation index k. Either a weight as
 * it lies in the file ([outputs, inner], decoded piece by piece), or a float64 matrix in memory
 * with any strides: keys (o strides over rows) and values (k strides over rows) of attention. */
typedef struct {
    const llava_weight *weight; /* NULL: `matrix` */
    const double *matrix;
    size_t output_stride, inner_stride;
} llava_factor;

/* y[r][o] = sum over k of x[r][k] * w(o, k), unrounded float64.
 * x: [rows, inner] with row stride x_stride; y: [rows, outputs] with row stride y_stride.
 * Rounds nothing but the float64 operations themselves; weights are first rounded as
 * numerics.weights says, then to storage. */
bool llava_product(const llava_numerics *n, double *y, size_t y_stride, const double *x,
                   size_t x_stride, size_t rows, size_t inner, size_t outputs,
                   const llava_factor *w, llava_error *e);

/* The same sums by the definition's three loops: what llava_product must equal bit for bit. */
bool llava_product_plain(const llava_numerics *n, double *y, size_t y_stride, const double *x,
                         size_t x_stride, size_t rows, size_t inner, size_t outputs,
                         const llava_factor *w, llava_error *e);

/* y = x W^T + b; bias NULL for none. x: [rows, inner]; W: [outputs, inner]; y: [rows, outputs].
 * One rounding, after the bias. */
bool llava_linear(const llava_numerics *n, double *y, const double *x, size_t rows,
                  const llava_weight *weight, const llava_weight *bias, llava_error *e);

/* The numbers by which such a matrix is used: with weights as stored where it is kept so. */
llava_numerics llava_numerics_of(const llava_numerics *n, llava_kept_matrix matrix);

/* x[i] rounded as a port rounds what enters a product. */
void llava_round_input(llava_rounding rounding, double *x, size_t count);

/* n elements of a weight from `first`, rounded to storage (vectors: norm weights, biases; the
 * matrix roundings of numerics.weights do not apply). */
void llava_weight_vector(const llava_numerics *n, const llava_weight *w, size_t first, size_t count,
                         double *out);

/* Row `row` of a table [.., width] of tokens or positions, a matrix like any other: rounded as
 * numerics.weights says, then to storage. */
void llava_weight_row(const llava_numerics *n, const llava_weight *w, size_t row, size_t width,
                      double *out);

/* ---- norms ------------------------------------------------------------------------------- */

/* y = (x - mean) / sqrt(var + eps) * weight + bias along each row, var the biased variance; one
 * rounding. bias NULL for none. y may be x. [rows, width] */
void llava_layer_norm(const llava_numerics *n, double *y, const double *x, size_t rows,
                      size_t width, const double *weight, const double *bias, double eps);

/* u = x / sqrt(mean(x^2) + eps), rounded; y = weight * u, rounded. Under islands the statistics and
 * u are float32 first (spec 4.1). y may be x. [rows, width] */
void llava_rms_norm(const llava_numerics *n, double *y, const double *x, size_t rows, size_t width,
                    const double *weight, double eps);

/* ---- activations ------------------------------------------------------------------------- */

/* y[i] = act(x[i]). quick_gelu is three operations, x * sigmoid(1.702 x), with three roundings; the
 * others are one. y may be x. */
void llava_activate(const llava_numerics *n, llava_act act, double *y, const double *x,
                    size_t count);

/* ---- elementwise ------------------------------------------------------------------------- */

void llava_add_rows(const llava_numerics *n, double *y, const double *a, const double *b,
                    size_t count); /* y = a + b */
void llava_multiply(const llava_numerics *n, double *y, const double *a, const double *b,
                    size_t count); /* y = a * b */

/* ---- rotary embedding -------------------------------------------------------------------- */

typedef enum { LLAVA_ROPE_HALF, LLAVA_ROPE_INTERLEAVED } llava_rope_pairing;

/* factor times the cos and sin of position * frequency: cosine, sine: [rows, d], frequency: [d/2],
 * element j and j + d/2 share an angle. Angles are float64 (float32 under islands). */
void llava_rope_table(const llava_numerics *n, double *cosine, double *sine,
                      const int64_t *positions, size_t rows, size_t d, const double *frequency,
                      double factor);

/* y = x * cos + rotate_half(x) * sin for each head: three operations, three roundings.
 * x, y: [rows, heads, d]; cosine, sine: [rows, d]. sign -1 turns the other way. */
void llava_rotate(const llava_numerics *n, double *y, const double *x, const double *cosine,
                  const double *sine, size_t rows, size_t heads, size_t d,
                  llava_rope_pairing pairing, double sign);

/* ---- attention --------------------------------------------------------------------------- */

/* probabilities over the keys of each query row: p = exp(s - max) / sum over the visible keys, 0
 * for the others, one rounding. scores, probs: [rows, keys]; visible: [rows, keys] bytes, NULL for
 * all. A row that sees no key is uniform over all keys; under islands in float64 it is NaN, as
 * transformers computes it (spec 14.4). May be in place. */
void llava_softmax(const llava_numerics *n, double *probs, const double *scores,
                   const uint8_t *visible, size_t rows, size_t keys);

#endif
