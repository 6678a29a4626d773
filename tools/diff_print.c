/* A diff's table, JSON and JUnit. */
#include "tools/diff.h"

#include "tools/html.h"
#include "tools/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table
 * ------------------------------------------------------------------------------------ */

/* A name in a column: escaped, cut at the front where it is too long. */
static void print_name(FILE *to, const char *name, size_t width)
{
    size_t n = strlen(name);
    if (n > width) {
        fputs("..", to);
        llava_print_escaped(to, name + n - (width - 2));
    } else {
        llava_print_escaped(to, name);
        fprintf(to, "%*s", (int)(width - n), "");
    }
}

static void print_tensor(FILE *to, const llava_diff_tensor *t, bool first)
{
    char shape[128], other[128];
    llava_shape_text(shape, sizeof shape, t->rank, t->shape);
    fputs(first ? "> " : "  ", to);
    print_name(to, t->name, 32);
    fprintf(to, " %-20.20s", shape);
    if (t->other_shape) {
        llava_shape_text(other, sizeof other, t->actual_rank, t->actual_shape);
        fprintf(to, " port has %-25.25s", other);
    } else if (t->exact) {
        fprintf(to, " %9llu unequal%18s", (unsigned long long)t->numbers.unequal, "");
    } else if (t->numbers.mismatched > 0) {
        fprintf(to, " NaN or infinity at %-15llu", (unsigned long long)t->numbers.mismatched);
    } else {
        fprintf(to, " %8.1e %8.1e %8.1e ", t->numbers.rel_l2, t->numbers.rel_max,
                t->has_peer ? t->peer_l2 : t->bound.l2);
        if (t->ratio < 0) {
            fprintf(to, "%7s", "-");
        } else {
            fprintf(to, "%7.2g", t->ratio);
        }
    }
    fprintf(to, " %s\n", llava_verdict_name(t->verdict));
}

/* A flat index as "[0,2,3]". */
static void print_index(FILE *to, const llava_diff_tensor *t, size_t flat)
{
    size_t at[LLAVA_ARRAY_RANK] = {0};
    char text[128];
    for (int i = t->rank - 1; i >= 0; i--) {
        size_t extent = t->shape[i] == 0 ? 1 : t->shape[i];
        at[i] = flat % extent;
        flat /= extent;
    }
    fputs(llava_shape_text(text, sizeof text, t->rank, at), to);
}

static void print_mismatch(FILE *to, const llava_diff_tensor *t)
{
    const llava_comparison *c = &t->numbers;
    fprintf(to, "  %llu of %llu elements are NaN or infinite on one side, the first ",
            (unsigned long long)c->mismatched, (unsigned long long)c->count);
    print_index(to, t, c->worst_index);
    fprintf(to, ": expected %g, actual %g\n", c->worst_expected, c->worst_actual);
    fprintf(to, "  NaN: %llu expected, %llu actual; infinities: %llu, %llu\n",
            (unsigned long long)c->nan_expected, (unsigned long long)c->nan_actual,
            (unsigned long long)c->inf_expected, (unsigned long long)c->inf_actual);
}

static void print_first(FILE *to, const llava_diff_tensor *t)
{
    fputs("\nfirst divergence: ", to);
    llava_print_escaped(to, t->name);
    if (t->other_shape) {
        char shape[128], other[128];
        fprintf(to, " (another shape: expected %s, the port has %s)\n",
                llava_shape_text(shape, sizeof shape, t->rank, t->shape),
                llava_shape_text(other, sizeof other, t->actual_rank, t->actual_shape));
        return;
    }
    fprintf(to, " (%s)\n", t->why);
    if (t->numbers.mismatched > 0) {
        print_mismatch(to, t);
    } else if (t->numbers.count > 0) {
        fputs("  worst element ", to);
        print_index(to, t, t->numbers.worst_index);
        fprintf(to, ": expected %.9g, actual %.9g; %llu of %llu unequal\n",
                t->numbers.worst_expected, t->numbers.worst_actual,
                (unsigned long long)t->numbers.unequal, (unsigned long long)t->numbers.count);
        fprintf(to, "  worst row %zu: relative L2 %.2e", t->numbers.worst_row,
                t->numbers.worst_row_l2);
        if (t->numbers.worst_head_l2 > 0) {
            fprintf(to, "; worst head %zu: %.2e", t->numbers.worst_head, t->numbers.worst_head_l2);
        }
        fprintf(to, "; cosine %.9f\n", t->numbers.cosine);
    }
}

static void print_names(FILE *to, const char *what, char **names, size_t count)
{
    for (size_t i = 0; i < count && i < 8; i++) {
        fprintf(to, "%s ", what);
        llava_print_escaped(to, names[i]);
        fputc('\n', to);
    }
    if (count > 8) {
        fprintf(to, "%s ... and %zu more\n", what, count - 8);
    }
}

/* The first differing token of each sample, and whether rounding explains it. */
static void print_flips(FILE *to, const llava_flips *f)
{
    for (size_t i = 0; i < f->count && i < 8; i++) {
        const llava_flip *x = &f->flips[i];
        fprintf(to, "%s%s: generated_ids[%zu,%zu]: %lld, expected %lld", i == 0 ? "\n" : "",
                x->near_tie ? "near tie" : "divergence", x->sample, x->step, (long long)x->actual,
                (long long)x->expected);
        if (x->margin == x->margin) {
            fprintf(to, "; margin %.2e, bound %.2e", x->margin, x->bound);
        }
        fprintf(to, "%s%s\n", x->near_tie ? "" : "\n  ", x->near_tie ? "" : x->why);
    }
    if (f->count > 8) {
        fprintf(to, "... and %zu more samples\n", f->count - 8);
    }
    if (f->count > 0) {
        fputs("  what follows a differing token in its sample is not compared\n", to);
    }
}

/* Decisions whose effect, where it first shows, is below the bound: this comparison can't see them.
 */
static void print_effects(const llava_diff *r, FILE *to)
{
    size_t hidden = 0, none = 0;
    for (size_t i = 0; i < r->effect_count; i++) {
        const llava_effect *x = &r->effects[i];
        const llava_decision *d = llava_decision_at(x->id);
        if (x->error <= LLAVA_NO_EFFECT) {
            none++;
            continue;
        }
        if (x->error > x->bound.l2 || x->error_max > x->bound.max) {
            continue;
        }
        if (hidden++ == 0) {
            fputs("\nnot visible here (effect where it first shows, and the bound there):\n", to);
        }
        fprintf(to, "  %s=%s  %.1e of %.1e at %s\n", d->name, d->values[x->value], x->error,
                x->bound.l2, x->tap);
    }
    if (r->effect_count > 0) {
        fprintf(
            to,
            "%sof %zu wrong decisions %zu would show above the bounds, %zu would not, %zu change "
            "nothing on these data\n",
            hidden == 0 ? "\n" : "", r->effect_count, r->effect_count - hidden - none, hidden,
            none);
    }
}

void llava_diff_print(const llava_diff *r, FILE *to)
{
    fprintf(to, "  %-32s %-20s %8s %8s %8s %7s verdict\n", "tap", "shape", "rel L2", "max/row",
            r->peer == NULL ? "bound" : "peer L2", "ratio");
    for (size_t i = 0; i < r->count; i++) {
        print_tensor(to, &r->tensors[i], i == r->first_divergence);
    }
    print_names(to, "missing:", r->missing, r->missing_count);
    print_names(to, "extra:", r->extra, r->extra_count);
    if (r->first_divergence < r->count) {
        print_first(to, &r->tensors[r->first_divergence]);
    }
    print_flips(to, &r->flips);
    print_effects(r, to);
    fprintf(to, "\n%s: %zu of %zu tensors compared%s", llava_verdict_name(r->verdict), r->count,
            r->count + r->missing_count, r->note[0] == '\0' ? "" : "; ");
    llava_print_escaped(to, r->note);
    fputc('\n', to);
}

/* ---- JSON
 * ------------------------------------------------------------------------------------------ */

/* A number; null where it is NaN or infinite, which JSON has not. */
static bool add_number(cJSON *object, const char *key, double value)
{
    return isfinite(value) ? cJSON_AddNumberToObject(object, key, value) != NULL
                           : cJSON_AddNullToObject(object, key) != NULL;
}

/* Text with control characters spelt out, as contract section 9 wants it in every output. */
static bool add_text(cJSON *object, const char *key, const char *text)
{
    return cJSON_AddStringToObject(object, key, text) != NULL;
}

/* A flat index as the list of its coordinates. */
static bool add_index(cJSON *object, const char *key, const llava_diff_tensor *t, size_t flat)
{
    size_t at[LLAVA_ARRAY_RANK] = {0};
    cJSON *list = cJSON_AddArrayToObject(object, key);
    bool ok = list != NULL;
    for (int i = t->rank - 1; i >= 0; i--) {
        size_t extent = t->shape[i] == 0 ? 1 : t->shape[i];
        at[i] = flat % extent;
        flat /= extent;
    }
    for (int i = 0; ok && i < t->rank; i++) {
        ok = cJSON_AddItemToArray(list, cJSON_CreateNumber((double)at[i]));
    }
    return ok;
}

static bool add_quantiles(cJSON *object, const llava_comparison *c)
{
    static const char *const names[LLAVA_QUANTILES] = {"0.5", "0.9", "0.99", "0.999"};
    cJSON *quantiles = cJSON_AddObjectToObject(object, "quantiles");
    bool ok = quantiles != NULL;
    for (size_t i = 0; ok && i < LLAVA_QUANTILES; i++) {
        ok = add_number(quantiles, names[i], c->quantiles[i]);
    }
    return ok;
}

static bool add_tensor(cJSON *list, const llava_diff_tensor *t)
{
    const llava_comparison *c = &t->numbers;
    cJSON *o = cJSON_CreateObject();
    if (o == NULL || !cJSON_AddItemToArray(list, o)) {
        cJSON_Delete(o);
        return false;
    }
    cJSON *shape = NULL;
    bool ok = add_text(o, "name", t->name) &&
              add_text(o, "verdict", llava_verdict_name(t->verdict)) &&
              (shape = cJSON_AddArrayToObject(o, "shape")) != NULL;
    for (int i = 0; ok && i < t->rank; i++) {
        ok = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[i]));
    }
    cJSON *other = NULL;
    ok = ok && (!t->other_shape || (other = cJSON_AddArrayToObject(o, "actual_shape")) != NULL);
    for (int i = 0; ok && t->other_shape && i < t->actual_rank; i++) {
        ok = cJSON_AddItemToArray(other, cJSON_CreateNumber((double)t->actual_shape[i]));
    }
    /* sums over what is left beside a NaN would read as agreement */
    double none = t->other_shape || c->mismatched > 0 ? (double)NAN : 0;
    ok = ok && add_number(o, "max_abs", c->max_abs + none) &&
         add_number(o, "rel_max", c->rel_max + none) && add_number(o, "rel_l2", c->rel_l2 + none) &&
         add_number(o, "cosine", c->cosine + none) &&
         add_index(o, "worst_index", t, c->worst_index) &&
         add_number(o, "worst_expected", c->worst_expected) &&
         add_number(o, "worst_actual", c->worst_actual) &&
         add_number(o, "worst_row", (double)c->worst_row) &&
         add_number(o, "worst_row_l2", c->worst_row_l2) &&
         (c->worst_head_l2 > 0 ? add_number(o, "worst_head", (double)c->worst_head)
                               : cJSON_AddNullToObject(o, "worst_head") != NULL) &&
         add_number(o, "bound", t->exact ? 0 : t->bound.l2) &&
         add_number(o, "bound_max", t->exact ? 0 : t->bound.max) &&
         add_number(o, "ratio", t->ratio < 0 ? (double)NAN : t->ratio) &&
         add_number(o, "peer_l2", t->has_peer ? t->peer_l2 : (double)NAN) &&
         add_number(o, "peer_max", t->has_peer ? t->peer_max : (double)NAN) &&
         add_number(o, "count", (double)c->count) && add_number(o, "unequal", (double)c->unequal) &&
         add_number(o, "nan_expected", (double)c->nan_expected) &&
         add_number(o, "nan_actual", (double)c->nan_actual) &&
         add_number(o, "inf_expected", (double)c->inf_expected) &&
         add_number(o, "inf_actual", (double)c->inf_actual) &&
         add_number(o, "equal_bits", c->equal_bits) && add_quantiles(o, c) &&
         add_text(o, "type", t->exact ? "exact" : llava_dtype_name(t->type));
    return ok &&
           (t->why == NULL ? cJSON_AddNullToObject(o, "why") != NULL : add_text(o, "why", t->why));
}

static bool add_flip(cJSON *list, const llava_flip *x)
{
    cJSON *o = cJSON_CreateObject();
    if (o == NULL || !cJSON_AddItemToArray(list, o)) {
        cJSON_Delete(o);
        return false;
    }
    return add_number(o, "sample", (double)x->sample) && add_number(o, "step", (double)x->step) &&
           add_number(o, "expected", (double)x->expected) &&
           add_number(o, "actual", (double)x->actual) && add_number(o, "margin", x->margin) &&
           add_number(o, "bound", x->bound) &&
           cJSON_AddBoolToObject(o, "near_tie", x->near_tie) != NULL && add_text(o, "why", x->why);
}

static bool add_names(cJSON *object, const char *key, char **names, size_t count)
{
    cJSON *list = cJSON_AddArrayToObject(object, key);
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        ok = cJSON_AddItemToArray(list, cJSON_CreateString(names[i]));
    }
    return ok;
}

static bool add_effect(cJSON *list, const llava_effect *x)
{
    const llava_decision *d = llava_decision_at(x->id);
    cJSON *o = cJSON_CreateObject();
    if (o == NULL || !cJSON_AddItemToArray(list, o)) {
        cJSON_Delete(o);
        return false;
    }
    return add_text(o, "decision", d->name) && add_text(o, "value", d->values[x->value]) &&
           add_text(o, "tap", x->tap) && add_number(o, "error", x->error) &&
           add_number(o, "error_max", x->error_max) && add_number(o, "bound", x->bound.l2) &&
           add_number(o, "bound_max", x->bound.max);
}

cJSON *llava_diff_json(const llava_diff *r)
{
    cJSON *root = cJSON_CreateObject(), *list = NULL;
    bool diverges = r->first_divergence < r->count;
    bool ok = root != NULL && add_text(root, "schema", "llava-ref.diff/1") &&
              add_text(root, "verdict", llava_verdict_name(r->verdict)) &&
              (diverges ? add_text(root, "first_divergence", r->tensors[r->first_divergence].name)
                        : cJSON_AddNullToObject(root, "first_divergence") != NULL) &&
              (list = cJSON_AddArrayToObject(root, "tensors")) != NULL;
    for (size_t i = 0; ok && i < r->count; i++) {
        ok = add_tensor(list, &r->tensors[i]);
    }
    ok = ok && (r->flips.count == 0 || (list = cJSON_AddArrayToObject(root, "flips")) != NULL);
    for (size_t i = 0; ok && i < r->flips.count; i++) {
        ok = add_flip(list, &r->flips.flips[i]);
    }
    ok = ok && (r->effect_count == 0 || (list = cJSON_AddArrayToObject(root, "effects")) != NULL);
    for (size_t i = 0; ok && i < r->effect_count; i++) {
        ok = add_effect(list, &r->effects[i]);
    }
    ok = ok && add_names(root, "missing", r->missing, r->missing_count) &&
         add_names(root, "extra", r->extra, r->extra_count);
    if (!ok) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

/* ---- JUnit
 * ----------------------------------------------------------------------------------------- */

static void write_case(llava_html *h, const llava_diff_tensor *t)
{
    llava_html_put(h, "  <testcase classname=\"llava-ref.diff\" name=\"");
    llava_html_text(h, t->name);
    if (t->verdict == LLAVA_DIFFER) {
        llava_html_put(h, "\"><failure message=\"");
        llava_html_text(h, t->why);
        llava_html_format(h, "\">relative L2 %.3g, bound %.3g, ratio %.3g</failure></testcase>\n",
                          t->numbers.rel_l2, t->bound.l2, t->ratio);
    } else if (t->verdict == LLAVA_CANNOT_JUDGE) {
        llava_html_put(h, "\"><error message=\"");
        llava_html_text(h, t->why);
        llava_html_put(h, "\"/></testcase>\n");
    } else {
        llava_html_put(h, "\"/>\n");
    }
}

bool llava_diff_junit(const llava_diff *r, const char *path, llava_error *e)
{
    llava_html h;
    size_t failures = 0, errors = 0;
    for (size_t i = 0; i < r->count; i++) {
        failures += r->tensors[i].verdict == LLAVA_DIFFER;
        errors += r->tensors[i].verdict == LLAVA_CANNOT_JUDGE;
    }
    bool cannot = r->note[0] != '\0';
    if (!llava_html_open(&h, path, e)) {
        return false;
    }
    llava_html_format(&h,
                      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"llava-ref "
                      "diff\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\">\n",
                      r->count + cannot, failures, errors + cannot);
    for (size_t i = 0; i < r->count; i++) {
        write_case(&h, &r->tensors[i]);
    }
    if (cannot) {
        llava_html_put(&h, "  <testcase classname=\"llava-ref.diff\" name=\"verdict\"><error "
                           "message=\"");
        llava_html_text(&h, r->note);
        llava_html_put(&h, "\"/></testcase>\n");
    }
    llava_html_put(&h, "</testsuite>\n");
    return llava_html_close(&h);
}
