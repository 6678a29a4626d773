#include "stage.h"

#include "fast/fast.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct llava_scratch_block {
    llava_scratch_block *below;
    double data[];
};

double *llava_scratch(llava_run *r, size_t rows, size_t width)
{
    size_t count, bytes;
    if (!llava_mul(rows, width, &count) || !llava_mul(count, sizeof(double), &bytes) ||
        !llava_add(bytes, sizeof(llava_scratch_block), &bytes)) {
        llava_fail(r->error, "out of memory (%zu x %zu numbers)", rows, width);
        return NULL;
    }
    llava_scratch_block *block = llava_alloc(r->error, 1, bytes);
    if (block == NULL) {
        return NULL;
    }
    block->below = r->scratch;
    r->scratch = block;
    return block->data;
}

llava_scratch_block *llava_scratch_mark(const llava_run *r)
{
    return r->scratch;
}

void llava_scratch_release(llava_run *r, llava_scratch_block *mark)
{
    while (r->scratch != mark) {
        llava_scratch_block *below = r->scratch->below;
        free(r->scratch);
        r->scratch = below;
    }
}

/* prefix + format, or false where it is too long for a name. */
static bool tap_name(const llava_run *r, char name[LLAVA_TAP_NAME], const char *format,
                     va_list arguments)
{
    int used = snprintf(name, LLAVA_TAP_NAME, "%s", r->prefix);
    if (used < 0 || used >= LLAVA_TAP_NAME) {
        return false;
    }
    int more = vsnprintf(name + used, LLAVA_TAP_NAME - (size_t)used, format, arguments);
    return more >= 0 && more < LLAVA_TAP_NAME - used;
}

bool llava_wanted(const llava_run *r, const char *format, ...)
{
    if (r->sink == NULL) {
        return false;
    }
    char name[LLAVA_TAP_NAME];
    va_list arguments;
    va_start(arguments, format);
    bool fits = tap_name(r, name, format, arguments);
    va_end(arguments);
    return fits && r->sink->wants(r->sink->self, name);
}

static bool put_named(llava_run *r, llava_dtype type, void *data, llava_shape shape,
                      const char *name)
{
    if (r->sink == NULL || !r->sink->wants(r->sink->self, name)) {
        return true;
    }
    llava_tap tap = {.name = name, .dtype = type, .rank = shape.rank, .data = data};
    memcpy(tap.shape, shape.size, sizeof tap.shape);
    return r->sink->take(r->sink->self, &tap, r->error);
}

bool llava_put(llava_run *r, double *x, llava_shape shape, const char *format, ...)
{
    char name[LLAVA_TAP_NAME];
    va_list arguments;
    va_start(arguments, format);
    bool fits = tap_name(r, name, format, arguments);
    va_end(arguments);
    if (!fits) {
        return llava_fail(r->error, "%s: the tap's name is too long", format);
    }
    return put_named(r, r->plan->numerics.storage, x, shape, name);
}

bool llava_put_typed(llava_run *r, llava_dtype type, void *data, llava_shape shape,
                     const char *name)
{
    char full[LLAVA_TAP_NAME];
    int length = snprintf(full, sizeof full, "%s%s", r->prefix, name);
    if (length < 0 || length >= LLAVA_TAP_NAME) {
        return llava_fail(r->error, "%s: the tap's name is too long", name);
    }
    return put_named(r, type, data, shape, full);
}

enum { NAME = 256 };

/* NAME + suffix with exactly this shape. */
static bool need(llava_run *r, llava_weight *w, const char *name, const char *suffix, int rank,
                 const size_t *shape)
{
    char full[NAME + 16];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    return llava_checkpoint_need(r->weights, w, full, rank, shape, r->error);
}

/* The wanted rows side by side, multiplied, and put back. */
static bool linear_of_some(llava_run *r, const llava_numerics *n, double *y, const double *x,
                           const llava_weight *weight, const llava_weight *bias)
{
    const llava_some_rows *only = r->only;
    size_t outputs = weight->shape[0], inner = weight->shape[1], count = 0;
    for (size_t row = 0; row < only->count; row++) {
        count += only->wanted[row];
    }
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *some = llava_scratch(r, count, inner), *result = llava_scratch(r, count, outputs);
    bool ok = some != NULL && result != NULL;
    for (size_t row = 0, at = 0; ok && row < only->count; row++) {
        if (only->wanted[row]) {
            memcpy(some + at++ * inner, x + row * inner, inner * sizeof(double));
        }
    }
    ok = ok && llava_linear(n, result, some, count, weight, bias, r->error);
    for (size_t row = 0, at = 0; ok && row < only->count; row++) {
        if (only->wanted[row]) {
            memcpy(y + row * outputs, result + at++ * outputs, outputs * sizeof(double));
        }
    }
    llava_scratch_release(r, mark);
    return ok;
}

bool llava_linear_weights(llava_run *r, llava_weight *weight, llava_weight *bias, size_t inner,
                          size_t outputs, bool biased, const char *name)
{
    return need(r, weight, name, ".weight", 2, (size_t[]){outputs, inner}) &&
           (!biased || need(r, bias, name, ".bias", 1, (size_t[]){outputs}));
}

bool llava_linear_by(llava_run *r, const llava_numerics *n, double *y, const double *x, size_t rows,
                     size_t inner, size_t outputs, bool biased, const char *name)
{
    llava_weight weight, bias;
    if (!llava_linear_weights(r, &weight, &bias, inner, outputs, biased, name)) {
        return false;
    }
    if (r->fast != NULL) {
        return llava_fast_linear(r, y, x, rows, &weight, biased ? &bias : NULL);
    }
    if (r->only != NULL && r->only->count == rows) {
        return linear_of_some(r, n, y, x, &weight, biased ? &bias : NULL);
    }
    return llava_linear(n, y, x, rows, &weight, biased ? &bias : NULL, r->error);
}

bool llava_linear_by_name(llava_run *r, double *y, const double *x, size_t rows, size_t inner,
                          size_t outputs, bool biased, const char *format, ...)
{
    char name[NAME];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return llava_linear_by(r, &r->plan->numerics, y, x, rows, inner, outputs, biased, name);
}

bool llava_layer_norm_by_name(llava_run *r, double *y, const double *x, size_t rows, size_t width,
                              double eps, const char *format, ...)
{
    char name[NAME];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *weight = llava_scratch(r, 1, width), *bias = llava_scratch(r, 1, width);
    bool ok = weight != NULL && bias != NULL &&
              llava_vector_by_name(r, weight, width, "%s.weight", name) &&
              llava_vector_by_name(r, bias, width, "%s.bias", name);
    if (ok) {
        llava_layer_norm(&r->plan->numerics, y, x, rows, width, weight, bias, eps);
    }
    llava_scratch_release(r, mark);
    return ok;
}

bool llava_rms_norm_by_name(llava_run *r, double *y, const double *x, size_t rows, size_t width,
                            double eps, const char *format, ...)
{
    char name[NAME];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    llava_scratch_block *mark = llava_scratch_mark(r);
    double *weight = llava_scratch(r, 1, width);
    bool ok = weight != NULL && llava_vector_by_name(r, weight, width, "%s.weight", name);
    if (ok) {
        llava_rms_norm(&r->plan->numerics, y, x, rows, width, weight, eps);
    }
    llava_scratch_release(r, mark);
    return ok;
}

bool llava_vector_by_name(llava_run *r, double *out, size_t count, const char *format, ...)
{
    char name[NAME + 16];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    llava_weight w;
    if (!need(r, &w, name, "", 1, (size_t[]){count})) {
        return false;
    }
    llava_weight_vector(&r->plan->numerics, &w, 0, count, out);
    return true;
}
