/* A diagnosis as text and JSON. */
#include "tools/diagnose.h"

#include "tools/json_out.h"
#include "tools/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *llava_confidence_name(llava_confidence confidence)
{
    static const char *const names[] = {"certain", "likely", "unknown"};
    return names[confidence];
}

void llava_cause_text(const llava_cause *cause, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < cause->count && used < size; i++) {
        const llava_decision *d = llava_decision_at(cause->id[i]);
        int n = snprintf(text + used, size - used, "%s%s=%s", i == 0 ? "" : " + ", d->name,
                         d->values[cause->value[i]]);
        used += n > 0 ? (size_t)n : 0;
    }
}

void llava_rounding_text(const llava_cause *rounding, char *text, size_t size)
{
    llava_cause_text(rounding, text, size);
    for (unsigned char v = 0; v < LLAVA_MAX_VALUES; v++) {
        size_t used = strlen(text);
        if ((rounding->alike >> v & 1) != 0) {
            snprintf(text + used, size - used, " or %s, which these data cannot tell apart",
                     llava_decision_at(rounding->id[0])->values[v]);
        }
    }
}

/* ---- text
 * ------------------------------------------------------------------------------------------ */

static void print_from(const llava_finding *f, FILE *to)
{
    if (f->span.from_count == 0) {
        return;
    }
    fputs("  computed from the port's ", to);
    for (size_t i = 0; i < f->span.from_count && i < 4; i++) {
        fprintf(to, "%s%s", i == 0 ? "" : ", ", f->span.from[i]);
    }
    fputs(f->span.from_count > 4 ? ", ...\n" : "\n", to);
}

static void print_finding(const llava_diagnosis *d, const llava_finding *f, FILE *to)
{
    const llava_judged *j = &d->taps[f->judged];
    char text[256];
    fprintf(to, "\nfirst wrong at %s", j->name);
    if (f->also_count > 0) {
        fprintf(to, " (and %zu more taps, to %s)", f->also_count,
                d->taps[f->also[f->also_count - 1]].name);
    }
    fputc('\n', to);
    print_from(f, to);
    if (j->other_shape || j->local.mismatched > 0) {
        fprintf(to, "  %s\n", f->where);
    } else if (j->exact) {
        fprintf(to, "  %llu of %llu values differ%s%s\n", (unsigned long long)j->local.unequal,
                (unsigned long long)j->local.count, f->where[0] == '\0' ? "" : ": ", f->where);
    } else {
        fprintf(to, "  local error %.2e, honest rounding %.1e%s%s\n", j->local.rel_l2, j->noise,
                f->where[0] == '\0' ? "" : "; ", f->where);
    }
    for (size_t i = 0; i < f->cause_count; i++) {
        llava_cause_text(&f->causes[i], text, sizeof text);
        fprintf(to, "  %s: %s  leaves %.1e\n", i == 0 ? llava_confidence_name(f->confidence) : "or",
                text, f->causes[i].error);
    }
    if (f->cause_count == 0 && !(j->exact && f->where[0] != '\0')) {
        fputs("  unknown: no decision that acts here explains it\n", to);
    } else if (f->cause_count > 1) {
        fputs(
            "  these data cannot tell them apart: a dump of more taps, or of inputs on which they "
            "differ, would\n",
            to);
    }
}

void llava_diagnosis_print(const llava_diagnosis *d, FILE *to)
{
    size_t inherited = 0;
    fprintf(to, "%zu tap%s compared; the port computes in %s%s\n", d->count,
            d->count == 1 ? "" : "s", llava_dtype_name(d->type),
            d->islands ? " with transformers' float32 islands" : "");
    if (d->unknown_count > 0) {
        fprintf(to, "%zu tensors were not looked at, because no tap of this model is called so: ",
                d->unknown_count);
        llava_print_escaped(to, d->unknown);
        fputs(d->unknown_count > 1 ? ", ...\n" : "\n", to);
    }
    for (size_t i = 0; i < d->rounding_count; i++) {
        char text[256];
        llava_rounding_text(&d->rounding[i], text, sizeof text);
        fprintf(to, "rounding of its own, everywhere: %s\n", text);
    }
    for (size_t i = 0; i < d->finding_count; i++) {
        print_finding(d, &d->findings[i], to);
    }
    if (d->near_ties > 0) {
        const llava_flip *t = &d->first_tie;
        fprintf(
            to,
            "\n%zu near tie%s, no fault: token %zu of sample %zu is %lld, the reference's logits "
            "choose %lld by a margin of %.1e (bound %.1e)\n",
            d->near_ties, d->near_ties == 1 ? "" : "s", t->step, t->sample, (long long)t->actual,
            (long long)t->expected, t->margin, t->bound);
    }
    for (size_t i = 0; i < d->count; i++) {
        inherited += d->taps[i].inherited;
    }
    if (inherited > 0) {
        fprintf(to, "\n%zu tap%s off only because of what came before\n", inherited,
                inherited == 1 ? " is" : "s are");
    }
    fprintf(to, "\n%s%s%s\n", llava_verdict_name(d->verdict), d->note == NULL ? "" : ": ",
            d->note == NULL ? "" : d->note);
}

/* ---- JSON
 * ------------------------------------------------------------------------------------------ */

/* {"decision": NAME, "value": VALUE} of choice i, put into `object`. */
static void put_choice(bool *lost, cJSON *object, const llava_cause *cause, size_t i)
{
    const llava_decision *d = llava_decision_at(cause->id[i]);
    llava_json_put(lost, object, "decision", cJSON_CreateString(d->name));
    llava_json_put(lost, object, "value", cJSON_CreateString(d->values[cause->value[i]]));
}

static void put_number(bool *lost, cJSON *object, const char *key, double value)
{
    llava_json_put(lost, object, key, cJSON_CreateNumber(value)); /* NaN becomes null */
}

static void put_cause(bool *lost, cJSON *list, const llava_cause *cause)
{
    cJSON *object = llava_json_put(lost, list, NULL, cJSON_CreateObject());
    put_choice(lost, object, cause, 0);
    cJSON *with = llava_json_put(lost, object, "with", cJSON_CreateArray());
    for (size_t i = 1; i < cause->count; i++) {
        put_choice(lost, llava_json_put(lost, with, NULL, cJSON_CreateObject()), cause, i);
    }
    put_number(lost, object, "error", cause->error);
}

/* "or": the values that account for the port as well, where there are any. */
static void put_alike(bool *lost, cJSON *object, const llava_cause *rounding)
{
    cJSON *list =
        rounding->alike == 0 ? NULL : llava_json_put(lost, object, "or", cJSON_CreateArray());
    for (unsigned char v = 0; list != NULL && v < LLAVA_MAX_VALUES; v++) {
        if ((rounding->alike >> v & 1) != 0) {
            const char *value = llava_decision_at(rounding->id[0])->values[v];
            llava_json_put(lost, list, NULL, cJSON_CreateString(value));
        }
    }
}

static void put_precision(bool *lost, cJSON *root, const llava_diagnosis *d)
{
    cJSON *precision = llava_json_put(lost, root, "precision", cJSON_CreateObject());
    llava_json_put(lost, precision, "type", cJSON_CreateString(llava_dtype_name(d->type)));
    llava_json_put(lost, precision, "islands", cJSON_CreateBool(d->islands));
    cJSON *decisions = llava_json_put(lost, precision, "decisions", cJSON_CreateArray());
    if (d->islands) {
        llava_cause islands = {.id = {LLAVA_NUMERICS_ISLANDS}, .value = {1}, .count = 1};
        put_choice(lost, llava_json_put(lost, decisions, NULL, cJSON_CreateObject()), &islands, 0);
    }
    for (size_t i = 0; i < d->rounding_count; i++) {
        cJSON *object = llava_json_put(lost, decisions, NULL, cJSON_CreateObject());
        put_choice(lost, object, &d->rounding[i], 0);
        put_alike(lost, object, &d->rounding[i]);
    }
}

static void put_finding(bool *lost, cJSON *list, const llava_diagnosis *d, const llava_finding *f)
{
    const llava_judged *j = &d->taps[f->judged];
    cJSON *object = llava_json_put(lost, list, NULL, cJSON_CreateObject());
    llava_json_put(lost, object, "tap", cJSON_CreateString(j->name));
    cJSON *from = llava_json_put(lost, object, "from", cJSON_CreateArray());
    for (size_t i = 0; i < f->span.from_count; i++) {
        llava_json_put(lost, from, NULL, cJSON_CreateString(f->span.from[i]));
    }
    put_number(lost, object, "local_error", j->local.mismatched > 0 ? NAN : j->local.rel_l2);
    put_number(lost, object, "noise", j->noise);
    cJSON *causes = llava_json_put(lost, object, "causes", cJSON_CreateArray());
    for (size_t i = 0; i < f->cause_count; i++) {
        put_cause(lost, causes, &f->causes[i]);
    }
    const char *confidence = llava_confidence_name(f->confidence);
    llava_json_put(lost, object, "confidence", cJSON_CreateString(confidence));
    llava_json_put(lost, object, "where", cJSON_CreateString(f->where));
    cJSON *also = llava_json_put(lost, object, "also", cJSON_CreateArray());
    for (size_t i = 0; i < f->also_count; i++) {
        llava_json_put(lost, also, NULL, cJSON_CreateString(d->taps[f->also[i]].name));
    }
}

/* Tokens that the reference would not choose, but rounding may: how many, and the first of them. */
static void put_near_ties(bool *lost, cJSON *root, const llava_diagnosis *d)
{
    const llava_flip *tie = &d->first_tie;
    cJSON *ties = llava_json_put(lost, root, "near_ties", cJSON_CreateObject());
    put_number(lost, ties, "count", (double)d->near_ties);
    if (d->near_ties > 0) {
        cJSON *first = llava_json_put(lost, ties, "first", cJSON_CreateObject());
        put_number(lost, first, "sample", (double)tie->sample);
        put_number(lost, first, "step", (double)tie->step);
        put_number(lost, first, "expected", (double)tie->expected);
        put_number(lost, first, "actual", (double)tie->actual);
        put_number(lost, first, "margin", tie->margin);
        put_number(lost, first, "bound", tie->bound);
    }
}

static void put_tap(bool *lost, cJSON *list, const llava_judged *j)
{
    bool whole = j->local.mismatched == 0;
    cJSON *object = llava_json_put(lost, list, NULL, cJSON_CreateObject());
    llava_json_put(lost, object, "name", cJSON_CreateString(j->name));
    put_number(lost, object, "local_error", whole ? j->local.rel_l2 : (double)NAN);
    put_number(lost, object, "noise", j->noise);
    put_number(lost, object, "local_error_max", whole ? j->local.rel_max : (double)NAN);
    put_number(lost, object, "noise_max", j->noise_max);
    put_number(lost, object, "total_error", j->total < 0 ? (double)NAN : j->total);
    llava_json_put(lost, object, "wrong", cJSON_CreateBool(j->wrong));
}

cJSON *llava_diagnosis_json(const llava_diagnosis *d)
{
    bool lost = false;
    cJSON *root = cJSON_CreateObject();
    llava_json_put(&lost, root, "schema", cJSON_CreateString("llava-ref.diagnose/1"));
    llava_json_put(&lost, root, "verdict", cJSON_CreateString(llava_verdict_name(d->verdict)));
    put_precision(&lost, root, d);
    cJSON *findings = llava_json_put(&lost, root, "findings", cJSON_CreateArray());
    for (size_t i = 0; i < d->finding_count; i++) {
        put_finding(&lost, findings, d, &d->findings[i]);
    }
    cJSON *inherited = llava_json_put(&lost, root, "inherited", cJSON_CreateArray());
    for (size_t i = 0; i < d->count; i++) {
        if (d->taps[i].inherited) {
            llava_json_put(&lost, inherited, NULL, cJSON_CreateString(d->taps[i].name));
        }
    }
    put_near_ties(&lost, root, d);
    put_number(&lost, root, "not_looked_at", (double)d->unknown_count);
    cJSON *taps = llava_json_put(&lost, root, "taps", cJSON_CreateArray());
    for (size_t i = 0; i < d->count; i++) {
        put_tap(&lost, taps, &d->taps[i]);
    }
    if (lost) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}
