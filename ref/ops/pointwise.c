/* Norms, activations, sums, rotary embedding and softmax: what acts on a row or an element. */
#include "ops.h"

#include "many.h"
#include "ref/elementary.h"

#include <math.h>

/* One rounding to float32 where transformers has a float32 island, else x itself. */
static double island(const llava_numerics *n, double x)
{
    return n->islands ? llava_round(LLAVA_F32, x) : x;
}

void llava_layer_norm(const llava_numerics *n, double *y, const double *x, size_t rows,
                      size_t width, const double *weight, const double *bias, double eps)
{
    for (size_t r = 0; r < rows; r++) {
        const double *in = x + r * width;
        double *out = y + r * width;
        double sum = 0, squares = 0;
        for (size_t i = 0; i < width; i++) {
            sum += in[i];
        }
        double mean = sum / (double)width;
        for (size_t i = 0; i < width; i++) {
            squares += (in[i] - mean) * (in[i] - mean);
        }
        double deviation = llava_sqrt(squares / (double)width + eps);
        for (size_t i = 0; i < width; i++) {
            double scaled = (in[i] - mean) / deviation * weight[i];
            out[i] = llava_round(n->storage, bias == NULL ? scaled : scaled + bias[i]);
        }
    }
}

void llava_rms_norm(const llava_numerics *n, double *y, const double *x, size_t rows, size_t width,
                    const double *weight, double eps)
{
    for (size_t r = 0; r < rows; r++) {
        const double *in = x + r * width;
        double *out = y + r * width;
        double squares = 0;
        for (size_t i = 0; i < width; i++) {
            double u = island(n, in[i]);
            squares += island(n, u * u);
        }
        double mean = island(n, squares / (double)width);
        double root = llava_sqrt(island(n, mean + eps));
        for (size_t i = 0; i < width; i++) {
            /* float32 multiplies by a rounded reciprocal root; float64 divides: one error less */
            double u =
                n->islands ? island(n, island(n, in[i]) * island(n, 1 / root)) : in[i] / root;
            out[i] = llava_round(n->storage, weight[i] * llava_round(n->storage, u));
        }
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + llava_exp(-x));
}

/* gelu(x) = x/2 (1 + f(u)): erf of u = x / sqrt 2, or tanh of u = sqrt(2/pi) (x + 0.044715 x^3) */
static double gelu_argument(llava_act act, double x)
{
    return act == LLAVA_ACT_GELU ? x * 0.70710678118654752440
                                 : 0.79788456080286535588 * (x + 0.044715 * x * x * x);
}

static double gelu_of(double x, double f)
{
    return 0.5 * x * (1 + f);
}

/* The activation as one function of one number, before any rounding. */
static double activation(llava_act act, double x)
{
    switch (act) {
    case LLAVA_ACT_NONE:
        return x;
    case LLAVA_ACT_QUICK_GELU:
        return x * sigmoid(1.702 * x);
    case LLAVA_ACT_QUICK_GELU_1773:
        return x * sigmoid(1.773 * x);
    case LLAVA_ACT_GELU:
        return gelu_of(x, llava_erf(gelu_argument(act, x)));
    case LLAVA_ACT_GELU_TANH:
        return gelu_of(x, llava_tanh(gelu_argument(act, x)));
    case LLAVA_ACT_SILU:
        return x * sigmoid(x);
    case LLAVA_ACT_RELU:
        return x < 0 ? 0 : x;
    }
    return x;
}

/* GELU's tanh form, every operation rounded to float32: where 1 + tanh nearly cancels, that decides
 * which float16 is nearest. */
static double gelu_tanh_f32(double x)
{
    const llava_dtype f32 = LLAVA_F32;
    const double a = (double)0.044715f, c = (double)0.79788456080286535588f;
    double inner = llava_round(f32, 1 + llava_round(f32, llava_round(f32, a * x) * x));
    double t = llava_tanh(llava_round(f32, llava_round(f32, c * x) * inner));
    return llava_round(f32, 0.5 * x * llava_round(f32, 1 + llava_round(f32, t)));
}

/* The exact form as vector kernels of float32 compute it (torch on CPUs): erf by Abramowitz and
 * Stegun 7.1.26, off by up to 1.5e-7, which is much where 1 + erf nearly cancels:
 *   erf(u) = 1 - (a1 t + a2 t^2 + ... + a5 t^5) exp(-u^2),  t = 1 / (1 + p u),  u >= 0 */
static double gelu_f32(double x)
{
    static const double p = 0.3275911,
                        a[] = {0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429};
    const llava_dtype f32 = LLAVA_F32;
    double u = llava_round(f32, fabs(x) * 0.70710678118654752440);
    double t = llava_round(f32, 1 / llava_round(f32, 1 + p * u)), sum = 0;
    for (size_t i = 5; i-- > 0;) {
        sum = llava_round(f32, llava_round(f32, (sum + a[i])) * t);
    }
    double tail = llava_round(f32, sum * llava_round(f32, llava_exp(-llava_round(f32, u * u))));
    double e = llava_round(f32, 1 - tail);
    return llava_round(f32, 0.5 * x * llava_round(f32, x < 0 ? 1 - e : 1 + e));
}

/* float16(act(x)) for float16 x, from a table that a port made in float32 (ggml). Its tanh GELU has
 * no entries beyond 10: x, or 0. */
static double table_entry(llava_act act, double x)
{
    if (act == LLAVA_ACT_GELU_TANH && fabs(x) >= 10) {
        return x > 0 ? x : 0;
    }
    double half = llava_round(LLAVA_F16, x);
    double entry = act == LLAVA_ACT_GELU_TANH ? gelu_tanh_f32(half) : activation(act, half);
    return llava_round(LLAVA_F16, entry);
}

/* y = x sigmoid(factor x), with the roundings of `between` behind the scaling and the sigmoid: the
 * storage type for quick_gelu's three tensor operations, float64 for silu's one. */
static void gated(const llava_numerics *n, double factor, llava_dtype between, double *y,
                  const double *x, size_t count)
{
    enum { AT_ONCE = 128 };
    double gate[AT_ONCE];
    for (size_t done = 0; done < count; done += AT_ONCE) {
        size_t take = count - done < AT_ONCE ? count - done : AT_ONCE;
        for (size_t i = 0; i < take; i++) {
            gate[i] = factor * x[done + i];
        }
        llava_round_all(between, gate, take);
        for (size_t i = 0; i < take; i++) {
            gate[i] = -gate[i];
        }
        llava_exp_all(gate, gate, take);
        for (size_t i = 0; i < take; i++) {
            gate[i] = 1 / (1 + gate[i]);
        }
        llava_round_all(between, gate, take);
        for (size_t i = 0; i < take; i++) {
            y[done + i] = x[done + i] * gate[i];
        }
    }
    llava_round_all(n->storage, y, count);
}

/* y = act(x) for either GELU, many at once */
static void gelu(const llava_numerics *n, llava_act act, double *y, const double *x, size_t count)
{
    enum { AT_ONCE = 128 };
    double f[AT_ONCE];
    for (size_t done = 0; done < count; done += AT_ONCE) {
        size_t take = count - done < AT_ONCE ? count - done : AT_ONCE;
        for (size_t i = 0; i < take; i++) {
            f[i] = gelu_argument(act, x[done + i]);
        }
        (act == LLAVA_ACT_GELU ? llava_erf_all : llava_tanh_all)(f, f, take);
        for (size_t i = 0; i < take; i++) {
            y[done + i] = gelu_of(x[done + i], f[i]);
        }
    }
    llava_round_all(n->storage, y, count);
}

void llava_activate(const llava_numerics *n, llava_act act, double *y, const double *x,
                    size_t count)
{
    if (n->act_table_f16 && act != LLAVA_ACT_NONE) {
        for (size_t i = 0; i < count; i++) {
            y[i] = llava_round(n->storage, table_entry(act, x[i]));
        }
    } else if (act == LLAVA_ACT_QUICK_GELU) {
        gated(n, 1.702, n->storage, y, x, count);
    } else if (act == LLAVA_ACT_QUICK_GELU_1773) {
        gated(n, 1.773, n->storage, y, x, count);
    } else if (act == LLAVA_ACT_SILU) {
        gated(n, 1, LLAVA_F64, y, x, count);
    } else if (n->sums_f32 && (act == LLAVA_ACT_GELU || act == LLAVA_ACT_GELU_TANH)) {
        for (size_t i = 0; i < count; i++) {
            y[i] = llava_round(n->storage,
                               act == LLAVA_ACT_GELU ? gelu_f32(x[i]) : gelu_tanh_f32(x[i]));
        }
    } else if (act == LLAVA_ACT_GELU || act == LLAVA_ACT_GELU_TANH) {
        gelu(n, act, y, x, count);
    } else {
        for (size_t i = 0; i < count; i++) {
            y[i] = llava_round(n->storage, activation(act, x[i]));
        }
    }
}

void llava_add_rows(const llava_numerics *n, double *y, const double *a, const double *b,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = llava_round(n->storage, a[i] + b[i]);
    }
}

void llava_multiply(const llava_numerics *n, double *y, const double *a, const double *b,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = llava_round(n->storage, a[i] * b[i]);
    }
}

void llava_rope_table(const llava_numerics *n, double *cosine, double *sine,
                      const int64_t *positions, size_t rows, size_t d, const double *frequency,
                      double factor)
{
    double scale = island(n, factor);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < d / 2; j++) {
            double angle = island(n, island(n, (double)positions[r]) * frequency[j]);
            double c = llava_round(n->storage, island(n, island(n, llava_cos(angle)) * scale));
            double s = llava_round(n->storage, island(n, island(n, llava_sin(angle)) * scale));
            cosine[r * d + j] = cosine[r * d + j + d / 2] = c;
            sine[r * d + j] = sine[r * d + j + d / 2] = s;
        }
    }
}

void llava_rotate(const llava_numerics *n, double *y, const double *x, const double *cosine,
                  const double *sine, size_t rows, size_t heads, size_t d,
                  llava_rope_pairing pairing, double sign)
{
    size_t half = d / 2;
    for (size_t v = 0; v < rows * heads; v++) {
        const double *in = x + v * d;
        double *out = y + v * d;
        const double *c = cosine + v / heads * d;
        const double *s = sine + v / heads * d;
        for (size_t j = 0; j < half; j++) {
            size_t a = pairing == LLAVA_ROPE_HALF ? j : 2 * j;
            size_t b = pairing == LLAVA_ROPE_HALF ? j + half : 2 * j + 1;
            /* the table's second half equals its first, unless a sink put a port's own there */
            size_t jb = pairing == LLAVA_ROPE_HALF ? j + half : j;
            double xa = in[a], xb = in[b];
            double turn_a = llava_round(n->storage, xb * s[j] * sign);
            double turn_b = llava_round(n->storage, xa * s[jb] * sign);
            out[a] = llava_round(n->storage, llava_round(n->storage, xa * c[j]) - turn_a);
            out[b] = llava_round(n->storage, llava_round(n->storage, xb * c[jb]) + turn_b);
        }
    }
}

/* A row that sees no key: uniform, as lowest-number masks make it; NaN where the lowest float64
 * became -infinity in a float32 island. */
static void softmax_blind(const llava_numerics *n, double *p, size_t keys)
{
    bool infinite = n->islands && n->storage == LLAVA_F64;
    double value = infinite ? (double)NAN : llava_round(n->storage, island(n, 1 / (double)keys));
    for (size_t t = 0; t < keys; t++) {
        p[t] = value;
    }
}

static void softmax_row(const llava_numerics *n, double *p, const double *s, const uint8_t *visible,
                        size_t keys)
{
    double most = -INFINITY, sum = 0;
    bool seen = false, broken = false;
    for (size_t t = 0; t < keys; t++) {
        bool counts = visible == NULL || visible[t];
        /* transformers adds a number to a masked score, so its NaN stays a NaN */
        broken |= isnan(s[t]) && (counts || n->islands);
        seen |= counts;
        if (counts && s[t] > most) {
            most = s[t];
        }
    }
    if (!seen) {
        softmax_blind(n, p, keys);
        return;
    }
    most = island(n, most);
    for (size_t t = 0; t < keys; t++) {
        bool counts = visible == NULL || visible[t];
        p[t] = !counts ? 0 : island(n, island(n, s[t]) - most);
    }
    llava_exp_all(p, p, keys);
    for (size_t t = 0; t < keys; t++) {
        bool counts = visible == NULL || visible[t];
        p[t] = !counts ? 0 : island(n, p[t]);
        sum += p[t];
    }
    sum = island(n, sum);
    for (size_t t = 0; t < keys; t++) {
        bool counts = visible == NULL || visible[t];
        double share = broken ? (double)NAN : island(n, p[t] / sum);
        p[t] = counts || (broken && n->islands) ? share : 0;
    }
    llava_round_all(n->storage, p, keys);
}

void llava_softmax(const llava_numerics *n, double *probs, const double *scores,
                   const uint8_t *visible, size_t rows, size_t keys)
{
    for (size_t r = 0; r < rows; r++) {
        softmax_row(n, probs + r * keys, scores + r * keys,
                    visible == NULL ? NULL : visible + r * keys, keys);
    }
}
