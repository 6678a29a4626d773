/* The page of `llava-ref diagnose --html`. */
#include "tools/report.h"

#include "tools/view_html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the verdict in a sentence
 * ----------------------------------------------------------------- */

static size_t count_inherited(const llava_diagnosis *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->count; i++) {
        n += d->taps[i].inherited;
    }
    return n;
}

/* ": vision.cls_position=last where the model has first" */
static void write_settings(llava_html *h, const llava_cause *cause)
{
    for (size_t i = 0; i < cause->count; i++) {
        const llava_decision *d = llava_decision_at(cause->id[i]);
        llava_html_format(h, "%s<code>%s=%s</code>", i == 0 ? "" : " and ", d->name,
                          d->values[cause->value[i]]);
        if (strcmp(d->values[0], "config") == 0) {
            llava_html_put(h, ", against the model's configuration");
        } else {
            llava_html_format(h, " where the model has <code>%s</code>", d->values[0]);
        }
    }
}

/* "the place of the class row" */
static void write_phrases(llava_html *h, const llava_cause *cause)
{
    for (size_t i = 0; i < cause->count; i++) {
        llava_html_format(h, "%s%s", i == 0 ? "" : " and ", llava_report_phrase(cause->id[i]));
    }
}

static void write_one_fault(llava_html *h, const llava_diagnosis *d, const llava_finding *f)
{
    if (strcmp(d->taps[f->judged].name, "generated_ids") == 0) {
        llava_html_put(h, "This port generates a token that its logits do not choose: ");
        llava_html_text(h, f->where);
        return;
    }
    if (f->cause_count == 0) {
        llava_html_put(h, "This port computes ");
        llava_report_code(h, d->taps[f->judged].name);
        llava_html_put(h, " wrongly, and no known mistake explains it");
        return;
    }
    llava_html_put(h, "This port gets ");
    write_phrases(h, &f->causes[0]);
    llava_html_put(h, f->confidence == LLAVA_CERTAIN ? " wrong: " : " wrong, most likely: ");
    write_settings(h, &f->causes[0]);
    if (f->confidence == LLAVA_LIKELY) {
        llava_html_format(h, " (%zu explanations fit)", f->cause_count);
    }
    llava_html_put(h, ". It is first seen in ");
    llava_report_code(h, d->taps[f->judged].name);
}

static void write_faults(llava_html *h, const llava_diagnosis *d)
{
    enum { NAMED = 3 };
    llava_html_format(h, "This port has %zu separate faults: ", d->finding_count);
    for (size_t i = 0; i < d->finding_count && i < NAMED; i++) {
        const llava_finding *f = &d->findings[i];
        llava_html_put(h, i == 0 ? "" : "; ");
        if (f->cause_count > 0) {
            write_phrases(h, &f->causes[0]);
            llava_html_put(h, f->confidence == LLAVA_CERTAIN ? " (" : " (most likely ");
            write_settings(h, &f->causes[0]);
            llava_html_put(h, "), first seen in ");
        } else {
            bool token = strcmp(d->taps[f->judged].name, "generated_ids") == 0;
            llava_html_put(h, token ? "a token that its logits do not choose, in "
                                    : "an unknown one in ");
        }
        llava_report_code(h, d->taps[f->judged].name);
    }
    if (d->finding_count > NAMED) {
        llava_html_format(h, "; and %zu more", d->finding_count - NAMED);
    }
}

static void write_sentence(llava_html *h, const llava_diagnosis *d)
{
    size_t inherited = count_inherited(d);
    if (d->finding_count == 0 && d->verdict == LLAVA_CANNOT_JUDGE) {
        llava_html_put(h, "There is nothing to judge: ");
        llava_html_text(h, d->note == NULL ? "no tap was compared" : d->note);
    } else if (d->finding_count == 0) {
        llava_html_format(h,
                          "Nothing but rounding: each of the %zu tensors of this port is what the "
                          "model computes, within what %s arithmetic explains",
                          d->count, llava_report_type(d->type));
    } else if (d->finding_count == 1) {
        write_one_fault(h, d, &d->findings[0]);
    } else {
        write_faults(h, d);
    }
    if (inherited > 0) {
        llava_html_format(h, "; %zu later tensor%s wrong only because of %s", inherited,
                          inherited == 1 ? " is" : "s are", d->finding_count == 1 ? "it" : "them");
    }
    llava_html_put(h, ".</p>");
}

static void write_facts(llava_html *h, const llava_diagnosis *d, const llava_session *s)
{
    llava_html_put(h, "<div class=\"facts\"><p>Port: ");
    llava_report_code(h, d->port);
    llava_html_put(h, "<br>Model: ");
    llava_report_code(h, s->request->model);
    llava_html_format(h, "</p><p>%zu tensors compared. The port computes in %s%s", d->count,
                      llava_report_type(d->type),
                      d->islands ? ", with some steps in float32 as transformers does" : "");
    for (size_t i = 0; i < d->rounding_count; i++) {
        char text[256];
        llava_rounding_text(&d->rounding[i], text, sizeof text);
        llava_html_put(h, i == 0 ? ". Its own rounding everywhere, which is no fault: " : ", ");
        llava_report_code(h, text);
    }
    llava_html_put(h, ".</p></div></header>");
}

/* ---- suspects
 * ---------------------------------------------------------------------------------- */

typedef struct {
    double low, high; /* decimal logarithms of the bars' ends */
} bar_axis;

static double log_of(double error)
{
    return error > 1e-17 ? log10(error < 1e6 ? error : 1e6) : -17;
}

static double part_of(const bar_axis *axis, double error)
{
    double part = (log_of(error) - axis->low) / (axis->high - axis->low);
    return part < 0.01 ? 0.01 : part > 1 ? 1 : part;
}

/* Whole powers of ten around the noise and everything shown. */
static bar_axis axis_of(const llava_judged *j, const llava_finding *f)
{
    double low = log_of(j->noise), high = fmax(low, log_of(j->local.rel_l2));
    for (size_t i = 0; i < f->cause_count; i++) {
        low = fmin(low, log_of(f->causes[i].error));
        high = fmax(high, log_of(f->causes[i].error));
    }
    for (size_t i = 0; i < f->rest_count; i++) {
        high = fmax(high, log_of(f->rest[i].error));
    }
    return (bar_axis){floor(low - 0.5), floor(high) + 1};
}

static void write_suspect(llava_html *h, const char *words, double error, const llava_judged *j,
                          const bar_axis *axis, const char *kind)
{
    llava_html_format(h, "<tr class=\"%s\"><th scope=\"row\">", kind);
    llava_html_text(h, words);
    llava_html_format(h, "</th><td>%s</td><td>", llava_short(error).text);
    if (j->noise > 0 && isfinite(error)) {
        double times = error / j->noise;
        llava_html_format(h, "%s&#215;",
                          llava_short(times < 10 ? floor(10 * times + 0.5) / 10 : times).text);
    }
    llava_html_format(h,
                      "</td><td class=\"bar %s\"><div style=\"--n:%.1f%%\"><span "
                      "style=\"width:%.1f%%\"></span></div></td></tr>",
                      kind, 100 * part_of(axis, j->noise), 100 * part_of(axis, error));
}

/* Roundings say little beside mistakes. */
static bool rounds_only(const llava_cause *cause)
{
    for (size_t i = 0; i < cause->count; i++) {
        if (strncmp(llava_decision_at(cause->id[i])->name, "numerics.", 9) != 0) {
            return false;
        }
    }
    return true;
}

static void write_suspects(llava_html *h, const llava_judged *j, const llava_finding *f)
{
    enum { REST = 5 };
    bar_axis axis = axis_of(j, f);
    char text[256];
    llava_html_put(h, "<div class=\"scroll\"><table class=\"numbers suspects\"><thead><tr><th "
                      "scope=\"col\">the model computed with</th><th scope=\"col\">error "
                      "left</th><th scope=\"col\">&#215; rounding</th><th "
                      "scope=\"col\"></th></tr></thead><tbody>");
    write_suspect(h, "everything right",
                  j->local.mismatched > 0 ? (double)INFINITY : j->local.rel_l2, j, &axis, "bad");
    for (size_t i = 0; i < f->cause_count; i++) {
        llava_cause_text(&f->causes[i], text, sizeof text);
        write_suspect(h, text, f->causes[i].error, j, &axis, "good");
    }
    for (size_t i = 0, shown = 0; i < f->rest_count && shown < REST; i++) {
        if (rounds_only(&f->rest[i])) {
            continue;
        }
        llava_cause_text(&f->rest[i], text, sizeof text);
        write_suspect(h, text, f->rest[i].error, j, &axis, "rest");
        shown++;
    }
    llava_html_format(
        h,
        "</tbody></table></div><p class=\"note\">The bars are logarithmic, from 1e%.0f "
        "to 1e%.0f; the line is what rounding explains, %s. ",
        axis.low, axis.high, llava_short(j->noise).text);
    if (f->cause_count == 0) {
        llava_html_put(h, "No mistake that can act here, nor two together, comes down to it.</p>");
    } else if (f->cause_count == 1) {
        llava_html_put(h, "One mistake alone brings the port's tensor about.</p>");
    } else {
        llava_html_format(h,
                          "%zu explain it equally well on these data: a dump of more taps, or of "
                          "inputs on which they differ, would tell them apart.</p>",
                          f->cause_count);
    }
}

/* ---- one finding
 * ------------------------------------------------------------------------------- */

/* Entries "; " apart, without "https://", so that the page names no address that a browser could
 * fetch. */
static void write_ports(llava_html *h, const char *ports)
{
    llava_html_put(h, "<ul>");
    while (*ports != '\0') {
        const char *end = strstr(ports, "; ");
        size_t n = end == NULL ? strlen(ports) : (size_t)(end - ports);
        const char *link = strstr(ports, "https://");
        char text[512];
        bool has = link != NULL && (size_t)(link - ports) < n;
        size_t before = has ? (size_t)(link - ports) : n, behind = has ? before + 8 : n;
        snprintf(text, sizeof text, "%.*s%.*s", (int)before, ports, (int)(n - behind),
                 ports + behind);
        llava_html_put(h, "<li>");
        llava_html_text(h, text);
        llava_html_put(h, "</li>");
        ports += n + (end == NULL ? 0 : 2);
    }
    llava_html_put(h, "</ul>");
}

static void write_decision(llava_html *h, llava_decision_id id)
{
    const llava_decision *d = llava_decision_at(id);
    llava_html_format(h, "<h3><code>%s</code></h3><p>", d->name);
    llava_html_text(h, d->what);
    llava_html_put(h, "</p><p class=\"note\">Right as in: ");
    llava_html_text(h, d->source);
    llava_html_put(h, "</p>");
    if (strcmp(d->ports, "no report known") != 0) {
        llava_html_put(h, "<details><summary>Ports that got it wrong</summary>");
        write_ports(h, d->ports);
        llava_html_put(h, "</details>");
    }
}

/* A word of a shell's command line, quoted where it must be. */
static void write_word(llava_html *h, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./=,:+@%";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        llava_html_text(h, word);
        return;
    }
    llava_html_put(h, "&#39;");
    for (const char *at = word; *at != '\0';) {
        size_t n = strcspn(at, "'");
        char part[256];
        n = n < sizeof part ? n : sizeof part - 1;
        while (n > 1 && ((unsigned char)at[n] & 0xc0) == 0x80) {
            n--; /* not within a character */
        }
        memcpy(part, at, n);
        part[n] = '\0';
        llava_html_text(h, part);
        at += n;
        if (*at == '\'') {
            llava_html_put(h, "&#39;\\&#39;&#39;");
            at++;
        }
    }
    llava_html_put(h, "&#39;");
}

static void write_option(llava_html *h, const char *option, const char *value)
{
    if (value != NULL) {
        llava_html_format(h, " %s ", option);
        write_word(h, value);
    }
}

/* The port's fault made by the reference, to look at it or to test a mend against it. */
static void write_command(llava_html *h, const llava_diagnosis *d, const llava_session *s,
                          const llava_cause *cause)
{
    const llava_request *q = s->request;
    char text[256];
    llava_html_put(h, "<p>The same mistake, made by the reference:</p><pre>llava-ref run");
    write_option(h, "--model", q->model);
    write_option(h, "--inputs", q->inputs);
    for (size_t i = 0; i < q->image_count; i++) {
        write_option(h, "--image", q->images[i]);
    }
    write_option(h, "--prompt", q->prompt);
    write_option(h, "--chat", q->chat);
    write_option(h, "--messages", q->messages);
    for (size_t i = 0; i < cause->count; i++) {
        const llava_decision *one = llava_decision_at(cause->id[i]);
        snprintf(text, sizeof text, "%s=%s", one->name, one->values[cause->value[i]]);
        write_option(h, "--set", text);
    }
    for (size_t i = 0; i < d->rounding_count; i++) {
        llava_cause_text(&d->rounding[i], text, sizeof text);
        write_option(h, "--set", text);
    }
    llava_html_format(h, " --dtype %s --dump wrong.npz\nllava-ref diff wrong.npz ",
                      llava_dtype_name(d->type));
    write_word(h, d->port);
    llava_html_put(h, "</pre>");
}

static void write_mismatches(llava_html *h, const llava_comparison *c)
{
    if (c->mismatched > 0) {
        llava_html_format(h,
                          "<dt>NaN or infinite</dt><dd>%llu values on one side only, the first "
                          "at element %zu</dd>",
                          (unsigned long long)c->mismatched, c->worst_index);
    }
}

static void write_terms(llava_html *h, const llava_diagnosis *d, const llava_finding *f)
{
    const llava_judged *j = &d->taps[f->judged];
    llava_tap_place place;
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    llava_html_put(h, "<dl class=\"terms\">");
    if (llava_tap_find(j->name, &place)) {
        llava_html_put(h, "<dt>what it is</dt><dd>");
        llava_html_text(h, kinds[place.kind].formula);
        llava_html_put(h, "</dd>");
    }
    if (f->span.from_count > 0) {
        llava_html_put(h, "<dt>computed anew from the port&#39;s</dt><dd>");
        for (size_t i = 0; i < f->span.from_count && i < 4; i++) {
            llava_html_put(h, i == 0 ? "" : ", ");
            llava_report_code(h, f->span.from[i]);
        }
        llava_html_put(h, f->span.from_count > 4 ? ", ..</dd>" : "</dd>");
    }
    if (j->other_shape) { /* nothing was compared: no row is worst */
        llava_html_put(h, "<dt>shape</dt><dd>");
        llava_html_text(h, f->where);
        llava_html_put(h, "</dd>");
    } else if (j->exact) {
        llava_html_format(h, "<dt>not equal</dt><dd>%llu of %llu values%s%s</dd>",
                          (unsigned long long)j->local.unequal, (unsigned long long)j->local.count,
                          f->where[0] == '\0' ? "" : ": ", f->where);
    } else {
        if (j->local.mismatched == 0) {
            llava_html_format(h,
                              "<dt>made here</dt><dd>error <span class=\"x\">%s</span>, where "
                              "rounding explains <span class=\"x\">%s</span></dd>",
                              llava_short(j->local.rel_l2).text, llava_short(j->noise).text);
        }
        llava_report_worst(h, j->name, j->rank, j->shape, &j->local);
        write_mismatches(h, &j->local);
    }
    if (f->also_count > 0) {
        llava_html_format(h, "<dt>the same again in</dt><dd>%zu more tap%s", f->also_count,
                          f->also_count == 1 ? ": " : "s, to ");
        llava_report_code(h, d->taps[f->also[f->also_count - 1]].name);
        llava_html_put(h, "</dd>");
    }
    llava_html_put(h, "</dl>");
}

static void write_finding(llava_html *h, const llava_diagnosis *d, const llava_session *s,
                          const llava_finding *f, size_t number)
{
    llava_html_put(h, "<section class=\"finding\"><h2>");
    if (d->finding_count > 1) {
        llava_html_format(h, "%zu. ", number + 1);
    }
    llava_html_put(h, "Wrong at ");
    llava_report_code(h, d->taps[f->judged].name);
    llava_html_format(h, " <span class=\"note\">cause %s</span></h2><div class=\"card\">",
                      llava_confidence_name(f->confidence));
    write_terms(h, d, f);
    if (!d->taps[f->judged].exact || f->cause_count > 0) {
        write_suspects(h, &d->taps[f->judged], f);
    }
    if (f->cause_count > 0) {
        for (size_t i = 0; i < f->causes[0].count; i++) {
            write_decision(h, f->causes[0].id[i]);
        }
        write_command(h, d, s, &f->causes[0]);
    }
    llava_html_put(h, "</div></section>");
}

/* ---- the flow
 * ---------------------------------------------------------------------------------- */

typedef struct {
    const llava_diagnosis *d;
    llava_flow_tap *taps;
    size_t count, room;
    char (*names)[LLAVA_TAP_NAME]; /* of those that are not supplied */
    size_t name_count, name_room;
    llava_error *e;
} flow_list;

static bool grow(flow_list *l)
{
    if (l->count < l->room) {
        return true;
    }
    size_t room = l->room == 0 ? 256 : 2 * l->room;
    llava_flow_tap *grown = llava_realloc(l->e, l->taps, room, sizeof *grown);
    if (grown != NULL) {
        l->taps = grown;
        l->room = room;
    }
    return grown != NULL;
}

static bool add_judged(flow_list *l, const llava_judged *j)
{
    if (!grow(l)) {
        return false;
    }
    llava_flow_tap *t = &l->taps[l->count++];
    *t = (llava_flow_tap){.name = j->name,
                          .rank = j->rank < LLAVA_MAX_RANK ? j->rank : LLAVA_MAX_RANK,
                          .exact = j->exact,
                          .error = j->local.mismatched > 0 ? (double)NAN : j->local.rel_l2,
                          .allowed = j->noise,
                          .total = j->total};
    memcpy(t->shape, j->shape, (size_t)t->rank * sizeof *t->shape);
    t->state = j->wrong       ? LLAVA_FLOW_WRONG
               : j->inherited ? LLAVA_FLOW_INHERITED
                              : LLAVA_FLOW_WITHIN;
    return true;
}

/* A tap of the model; only its name is kept, and its place in the list counts as its index. */
static bool add_name(void *self, const llava_tap *tap)
{
    flow_list *l = self;
    if (l->name_count == l->name_room) {
        size_t room = l->name_room == 0 ? 256 : 2 * l->name_room;
        char(*grown)[LLAVA_TAP_NAME] = llava_realloc(l->e, l->names, room, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        l->names = grown;
        l->name_room = room;
    }
    snprintf(l->names[l->name_count++], LLAVA_TAP_NAME, "%s", tap->name);
    return true;
}

static int by_name(const void *a, const void *b)
{
    const llava_flow_tap *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Taps of the model that the port does not supply, beside the judged ones. */
static bool add_absent(flow_list *l, const llava_session *s)
{
    llava_tap_sizes sizes = llava_session_sizes(s, false);
    size_t judged = l->count;
    sizes.steps = 0;
    if (!llava_session_list_pictures(s, add_name, l) ||
        !llava_taps_list(&s->plan, &sizes, add_name, l)) {
        return false;
    }
    if (judged > 1) {
        qsort(l->taps, judged, sizeof *l->taps, by_name);
    }
    for (size_t i = 0; i < l->name_count; i++) {
        llava_flow_tap key = {.name = l->names[i]};
        if (judged > 0 && bsearch(&key, l->taps, judged, sizeof key, by_name) != NULL) {
            continue;
        }
        if (!grow(l)) {
            return false;
        }
        l->taps[l->count++] = (llava_flow_tap){.name = l->names[i],
                                               .state = LLAVA_FLOW_ABSENT,
                                               .error = -1,
                                               .allowed = -1,
                                               .total = -1};
    }
    return true;
}

static void write_flow(llava_html *h, const llava_diagnosis *d, const llava_session *s)
{
    flow_list l = {.d = d, .e = h->e};
    for (size_t i = 0; h->ok && i < d->count; i++) {
        h->ok = add_judged(&l, &d->taps[i]);
    }
    h->ok = h->ok && add_absent(&l, s);
    if (h->ok) {
        llava_flow_sort(l.taps, l.count);
        llava_html_put(h, "<section><h2>The flow, from the first pixel to the answer</h2>");
        llava_flow_write(h, l.taps, l.count, true);
        llava_html_format(h, "<details><summary>All %zu tensors in numbers</summary>", d->count);
        llava_flow_numbers(h, l.taps, l.count, true);
        llava_html_put(h, "</details></section>");
    }
    free(l.taps);
    free(l.names);
}

bool llava_report_diagnosis(const llava_diagnosis *d, const llava_session *session,
                            const llava_view *view, const char *path, llava_error *e)
{
    enum { MOST_FINDINGS = 40 };
    static const char *const names[2] = {"expected", "actual"};
    llava_html h;
    if (!llava_html_open(&h, path, e)) {
        return false;
    }
    llava_report_head(&h, "llava-ref diagnose", d->verdict);
    write_sentence(&h, d);
    write_facts(&h, d, session);
    write_flow(&h, d, session);
    for (size_t i = 0; i < d->finding_count && i < MOST_FINDINGS; i++) {
        write_finding(&h, d, session, &d->findings[i], i);
        if (i == 0 && view != NULL) {
            llava_view_write(&h, view, names);
        }
    }
    if (d->finding_count > MOST_FINDINGS) {
        llava_html_format(&h, "<p>%zu more findings are not shown here.</p>",
                          d->finding_count - MOST_FINDINGS);
    }
    llava_report_tail(&h);
    return llava_html_close(&h);
}
