/* The page of `llava-ref diff --html`. */
#include "tools/report.h"
#include "tools/view_html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the verdict in a sentence
 * ----------------------------------------------------------------- */

static size_t count_of(const llava_diff *r, llava_verdict verdict)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        n += r->tensors[i].verdict == verdict;
    }
    return n;
}

/* The type that most of ACTUAL's floating tensors have. */
static llava_dtype usual_type(const llava_diff *r)
{
    size_t votes[LLAVA_BF16 + 1] = {0};
    llava_dtype best = LLAVA_F64;
    for (size_t i = 0; i < r->count; i++) {
        if (!r->tensors[i].exact) {
            votes[r->tensors[i].type]++;
        }
    }
    for (llava_dtype t = LLAVA_F64; t <= LLAVA_BF16; t++) {
        best = votes[t] > votes[best] ? t : best;
    }
    return best;
}

static void write_agreement(llava_html *h, const llava_diff *r)
{
    size_t unjudged = count_of(r, LLAVA_CANNOT_JUDGE);
    size_t within = r->count - unjudged;
    llava_html_put(h, "Nothing but rounding: ");
    if (within == 1) {
        llava_html_put(h, "the one tensor is");
    } else {
        llava_html_format(h, "all %zu tensors are", within);
    }
    llava_html_format(h, " within what %s arithmetic explains", llava_report_type(usual_type(r)));
    if (unjudged > 0) {
        llava_html_format(h, "; %zu more could not be judged", unjudged);
    }
    llava_html_put(h, ".");
}

static void write_difference(llava_html *h, const llava_diff *r)
{
    const llava_diff_tensor *t = &r->tensors[r->first_divergence];
    size_t off = count_of(r, LLAVA_DIFFER);
    llava_html_put(h, "The two dumps part at ");
    llava_report_code(h, t->name);
    llava_html_put(h, " (");
    llava_html_text(h, t->why);
    llava_html_put(h, ")");
    size_t behind = r->count - r->first_divergence - 1;
    if (off == 2 && behind == 1) {
        llava_html_put(h, ", and the one tensor behind it is off, too");
    } else if (off > 1 && off - 1 == behind) {
        llava_html_format(h, ", and all %zu tensors behind it are off, too", behind);
    } else if (off > 1) {
        llava_html_format(h, ", and %zu of the %zu tensors behind it are off, too", off - 1,
                          behind);
    } else if (r->count > 1) {
        llava_html_put(h, "; every other tensor agrees");
    }
    llava_html_put(h, ". ");
    if (r->first_divergence > 0 && off > 1) {
        llava_html_format(h, "%s before it %s.",
                          r->first_divergence == 1 ? "The tensor" : "Everything",
                          count_of(r, LLAVA_WARN) > 0 ? "stays below the limit" : "agrees");
    }
}

static void write_sentence(llava_html *h, const llava_diff *r)
{
    if (r->verdict == LLAVA_DIFFER && r->first_divergence < r->count) {
        write_difference(h, r);
    } else if (r->verdict == LLAVA_CANNOT_JUDGE) {
        llava_html_put(h, "This comparison proves nothing: ");
        llava_html_text(h, r->note);
        llava_html_put(h, ".");
    } else if (r->verdict == LLAVA_WARN && count_of(r, LLAVA_WARN) == 1 && r->flips.count > 0) {
        llava_html_format(h,
                          "Nothing but rounding: %zu sample%s to another text at a token that was "
                          "all but tied with the expected one.",
                          r->flips.count, r->flips.count == 1 ? " goes over" : "s go over");
    } else if (r->verdict == LLAVA_WARN) {
        llava_html_format(h,
                          "Close, but %zu of %zu tensors are further off than an honest "
                          "implementation of the same type should be.",
                          count_of(r, LLAVA_WARN), r->count);
    } else {
        write_agreement(h, r);
    }
    llava_html_put(h, "</p>");
}

static void write_facts(llava_html *h, const llava_diff *r)
{
    llava_html_put(h, "<div class=\"facts\"><p>Expected: ");
    llava_report_code(h, r->expected);
    llava_html_put(h, "<br>Actual: ");
    llava_report_code(h, r->actual);
    if (r->peer != NULL) {
        llava_html_put(h, "<br>Peer, an honest dump of the same type: ");
        llava_report_code(h, r->peer);
    }
    llava_html_format(h,
                      "</p><p>%zu tensors compared; %zu of Expected's missing in Actual, %zu "
                      "of Actual's unknown to Expected. Actual was computed in %s.</p></div>",
                      r->count, r->missing_count, r->extra_count, llava_report_type(usual_type(r)));
}

/* Names on one side only: a typo there may be why a tensor was not compared. */
static void write_names(llava_html *h, const char *what, char **names, size_t count)
{
    enum { MOST = 100 };
    if (count == 0) {
        return;
    }
    llava_html_format(h, "<details><summary>%zu %s</summary><p>", count, what);
    for (size_t i = 0; i < count && i < MOST; i++) {
        llava_html_put(h, i == 0 ? "" : ", ");
        llava_report_code(h, names[i]);
    }
    llava_html_put(h, count > MOST ? ", ..</p></details>" : "</p></details>");
}

/* ---- the first that differs
 * -------------------------------------------------------------------- */

static void write_where(llava_html *h, const llava_diff_tensor *t)
{
    const llava_comparison *c = &t->numbers;
    llava_report_worst(h, t->name, t->rank, t->shape, c);
    llava_html_format(h,
                      "<dt>worst value</dt><dd>element %zu: expected %.9g, actual %.9g</dd>"
                      "<dt>not equal</dt><dd>%llu of %llu values; cosine %.9f</dd>",
                      c->worst_index, c->worst_expected, c->worst_actual,
                      (unsigned long long)c->unequal, (unsigned long long)c->count, c->cosine);
    if (c->mismatched > 0) {
        llava_html_format(
            h,
            "<dt>NaN</dt><dd>%llu expected, %llu actual</dd><dt>infinite</dt><dd>%llu "
            "expected, %llu actual</dd>",
            (unsigned long long)c->nan_expected, (unsigned long long)c->nan_actual,
            (unsigned long long)c->inf_expected, (unsigned long long)c->inf_actual);
    }
}

static void write_formula(llava_html *h, const char *name)
{
    llava_tap_place place;
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    if (llava_tap_find(name, &place)) {
        llava_html_put(h, "<dt>what it is</dt><dd>");
        llava_html_text(h, kinds[place.kind].formula);
        llava_html_put(h, " <span class=\"note\">(");
        llava_html_text(h, kinds[place.kind].source);
        llava_html_put(h, ")</span></dd>");
    }
}

static void write_first(llava_html *h, const llava_diff *r)
{
    const llava_diff_tensor *t = &r->tensors[r->first_divergence];
    llava_html_put(h, "<section class=\"finding\"><h2>First to differ: ");
    llava_report_code(h, t->name);
    llava_html_put(h, "</h2><div class=\"card\"><dl class=\"terms\">");
    write_formula(h, t->name);
    if (!t->exact && t->numbers.count > 0) {
        llava_html_format(h,
                          "<dt>error</dt><dd><span class=\"x\">%s</span>, where %s <span "
                          "class=\"x\">%s</span></dd>",
                          llava_short(t->numbers.rel_l2).text,
                          t->has_peer ? "the peer has" : "rounding explains",
                          llava_short(t->has_peer ? t->peer_l2 : t->bound.l2).text);
    }
    if (t->numbers.count > 0) {
        write_where(h, t);
    }
    llava_html_put(h,
                   "</dl><p class=\"note\">A comparison tells that a tensor is off, not who made "
                   "it so: <code>llava-ref diagnose</code> recomputes every step from the port's "
                   "own tensors and names the cause.</p></div></section>");
}

/* ---- tokens
 * ---------------------------------------------------------------------------------------- */

/* The first differing token of each sample. */
static void write_flips(llava_html *h, const llava_diff *r)
{
    enum { MOST = 100 };
    if (r->flips.count == 0) {
        return;
    }
    llava_html_put(h,
                   "<section><h2>Tokens that differ</h2><p>The first of each sample; what follows "
                   "it there is not compared. It is a near tie where the margin between both "
                   "tokens, in Expected's logits, is within what rounding does to "
                   "them.</p><div class=\"scroll\"><table class=\"numbers\"><thead><tr><th "
                   "scope=\"col\">sample, step</th><th scope=\"col\">expected</th><th "
                   "scope=\"col\">actual</th><th scope=\"col\">margin</th><th "
                   "scope=\"col\">bound</th><th scope=\"col\">it is</th></tr></thead><tbody>");
    for (size_t i = 0; i < r->flips.count && i < MOST; i++) {
        const llava_flip *x = &r->flips.flips[i];
        llava_html_format(h,
                          "<tr><th scope=\"row\">%zu, %zu</th><td>%lld</td><td>%lld</td>"
                          "<td>%s</td><td>%s</td><td>%s</td></tr>",
                          x->sample, x->step, (long long)x->expected, (long long)x->actual,
                          x->margin == x->margin ? llava_short(x->margin).text : "unknown",
                          x->margin == x->margin ? llava_short(x->bound).text : "unknown", x->why);
    }
    llava_html_put(h, "</tbody></table></div></section>");
}

/* ---- what could not be seen
 * -------------------------------------------------------------------- */

static void write_effects(llava_html *h, const llava_diff *r)
{
    size_t hidden = 0;
    for (size_t i = 0; i < r->effect_count; i++) {
        const llava_effect *x = &r->effects[i];
        hidden +=
            x->error > LLAVA_NO_EFFECT && x->error <= x->bound.l2 && x->error_max <= x->bound.max;
    }
    if (r->effect_count == 0) {
        return;
    }
    llava_html_format(h,
                      "<section><h2>What this comparison cannot see</h2><p>Of %zu known mistakes, "
                      "%zu would change these tensors by less than the bound.</p>",
                      r->effect_count, hidden);
    if (hidden > 0) {
        llava_html_put(h, "<details><summary>Which</summary><div class=\"scroll\"><table "
                          "class=\"numbers\"><thead><tr><th scope=\"col\">mistake</th><th "
                          "scope=\"col\">shows first in</th><th scope=\"col\">effect</th><th "
                          "scope=\"col\">bound</th></tr></thead><tbody>");
    }
    for (size_t i = 0; i < r->effect_count; i++) {
        const llava_effect *x = &r->effects[i];
        const llava_decision *d = llava_decision_at(x->id);
        if (x->error > LLAVA_NO_EFFECT && x->error <= x->bound.l2 && x->error_max <= x->bound.max) {
            llava_html_format(h,
                              "<tr><th scope=\"row\">%s=%s</th><td>%s</td><td>%s</td><td>%s</td>"
                              "</tr>",
                              d->name, d->values[x->value], x->tap, llava_short(x->error).text,
                              llava_short(x->bound.l2).text);
        }
    }
    llava_html_put(h, hidden > 0 ? "</tbody></table></div></details></section>" : "</section>");
}

/* ---- the flow
 * ---------------------------------------------------------------------------------- */

static llava_flow_tap flow_tap(const llava_diff_tensor *t, bool first)
{
    static const llava_flow_state states[] = {LLAVA_FLOW_WITHIN, LLAVA_FLOW_DOUBTFUL,
                                              LLAVA_FLOW_UNJUDGED, LLAVA_FLOW_OFF};
    llava_flow_tap f = {.name = t->name,
                        .state = first ? LLAVA_FLOW_FIRST : states[t->verdict],
                        .rank = t->rank < LLAVA_MAX_RANK ? t->rank : LLAVA_MAX_RANK,
                        .exact = t->exact,
                        .total = -1,
                        .why = t->why};
    memcpy(f.shape, t->shape, (size_t)f.rank * sizeof *f.shape);
    f.error = t->numbers.mismatched > 0 ? (double)NAN
              : t->numbers.count > 0    ? t->numbers.rel_l2
                                        : -1;
    f.allowed = t->has_peer ? t->peer_l2 : t->bound.l2;
    return f;
}

static void write_flow(llava_html *h, const llava_diff *r)
{
    size_t count = r->count + r->missing_count;
    llava_flow_tap *taps = h->ok ? llava_alloc(h->e, count, sizeof *taps) : NULL;
    h->ok = h->ok && taps != NULL;
    if (!h->ok) {
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        taps[i] = flow_tap(&r->tensors[i], i == r->first_divergence);
    }
    for (size_t i = 0; i < r->missing_count; i++) {
        taps[r->count + i] = (llava_flow_tap){.name = r->missing[i], .error = -1, .allowed = -1};
        taps[r->count + i].total = -1;
    }
    llava_flow_sort(taps, count);
    llava_html_put(h, "<section><h2>The flow, from the first pixel to the answer</h2>");
    llava_flow_write(h, taps, count, false);
    llava_html_format(h, "<details><summary>All %zu tensors in numbers</summary>", r->count);
    llava_flow_numbers(h, taps, count, false);
    llava_html_put(h, "</details>");
    write_names(h, "missing in Actual", r->missing, r->missing_count);
    write_names(h, "unknown to Expected", r->extra, r->extra_count);
    llava_html_put(h, "</section>");
    free(taps);
}

bool llava_report_diff(const llava_diff *r, const llava_view *view, const char *path,
                       llava_error *e)
{
    static const char *const names[2] = {"expected", "actual"};
    llava_html h;
    if (!llava_html_open(&h, path, e)) {
        return false;
    }
    llava_report_head(&h, "llava-ref diff", r->verdict);
    write_sentence(&h, r);
    write_facts(&h, r);
    llava_html_put(&h, "</header>");
    write_flow(&h, r);
    if (r->first_divergence < r->count) {
        write_first(&h, r);
    }
    if (view != NULL) {
        llava_view_write(&h, view, names);
    }
    write_flips(&h, r);
    write_effects(&h, r);
    llava_report_tail(&h);
    return llava_html_close(&h);
}
