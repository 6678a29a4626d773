/* A diagnosis as text and JSON. */
#include "tools/diagnose.h"

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
        char text[128];
        llava_cause_text(&d->rounding[i], text, sizeof text);
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

static bool add_number(cJSON *object, const char *key, double value)
{
    return isfinite(value) ? cJSON_AddNumberToObject(object, key, value) != NULL
                           : cJSON_AddNullToObject(object, key) != NULL;
}

/* {"decision": NAME, "value": VALUE} of choice i, added to `object`. */
static bool add_choice(cJSON *object, const llava_cause *cause, size_t i)
{
    const llava_decision *d = llava_decision_at(cause->id[i]);
    return cJSON_AddStringToObject(object, "decision", d->name) != NULL &&
           cJSON_AddStringToObject(object, "value", d->values[cause->value[i]]) != NULL;
}

/* A new object at the list's end, or NULL. */
static cJSON *append(cJSON *list)
{
    cJSON *object = cJSON_CreateObject();
    if (object != NULL && !cJSON_AddItemToArray(list, object)) {
        cJSON_Delete(object);
        return NULL;
    }
    return object;
}

static bool add_cause(cJSON *list, const llava_cause *cause)
{
    cJSON *object = append(list);
    cJSON *with = NULL;
    bool ok = object != NULL && add_choice(object, cause, 0) &&
              (with = cJSON_AddArrayToObject(object, "with")) != NULL;
    for (size_t i = 1; ok && i < cause->count; i++) {
        cJSON *more = append(with);
        ok = more != NULL && add_choice(more, cause, i);
    }
    return ok && add_number(object, "error", cause->error);
}

static bool add_precision(cJSON *root, const llava_diagnosis *d)
{
    cJSON *precision = cJSON_AddObjectToObject(root, "precision");
    cJSON *decisions = NULL;
    bool ok = precision != NULL &&
              cJSON_AddStringToObject(precision, "type", llava_dtype_name(d->type)) != NULL &&
              cJSON_AddBoolToObject(precision, "islands", d->islands) != NULL &&
              (decisions = cJSON_AddArrayToObject(precision, "decisions")) != NULL;
    if (ok && d->islands) {
        llava_cause islands = {.id = {LLAVA_NUMERICS_ISLANDS}, .value = {1}, .count = 1};
        cJSON *object = append(decisions);
        ok = object != NULL && add_choice(object, &islands, 0);
    }
    for (size_t i = 0; ok && i < d->rounding_count; i++) {
        cJSON *object = append(decisions);
        ok = object != NULL && add_choice(object, &d->rounding[i], 0);
    }
    return ok;
}

static bool add_finding(cJSON *list, const llava_diagnosis *d, const llava_finding *f)
{
    const llava_judged *j = &d->taps[f->judged];
    cJSON *object = append(list), *from = NULL, *causes = NULL, *also = NULL;
    bool ok = object != NULL && cJSON_AddStringToObject(object, "tap", j->name) != NULL &&
              (from = cJSON_AddArrayToObject(object, "from")) != NULL;
    for (size_t i = 0; ok && i < f->span.from_count; i++) {
        ok = cJSON_AddItemToArray(from, cJSON_CreateString(f->span.from[i]));
    }
    ok = ok && add_number(object, "local_error", j->local.mismatched > 0 ? NAN : j->local.rel_l2) &&
         add_number(object, "noise", j->noise) &&
         (causes = cJSON_AddArrayToObject(object, "causes")) != NULL;
    for (size_t i = 0; ok && i < f->cause_count; i++) {
        ok = add_cause(causes, &f->causes[i]);
    }
    ok = ok &&
         cJSON_AddStringToObject(object, "confidence", llava_confidence_name(f->confidence)) !=
             NULL &&
         cJSON_AddStringToObject(object, "where", f->where) != NULL &&
         (also = cJSON_AddArrayToObject(object, "also")) != NULL;
    for (size_t i = 0; ok && i < f->also_count; i++) {
        ok = cJSON_AddItemToArray(also, cJSON_CreateString(d->taps[f->also[i]].name));
    }
    return ok;
}

/* Tokens that the reference would not choose, but rounding may: how many, and the first of them. */
static bool add_near_ties(cJSON *root, const llava_diagnosis *d)
{
    const llava_flip *t = &d->first_tie;
    cJSON *ties = cJSON_AddObjectToObject(root, "near_ties"), *first = NULL;
    bool ok = ties != NULL && add_number(ties, "count", (double)d->near_ties);
    if (!ok || d->near_ties == 0) {
        return ok;
    }
    first = cJSON_AddObjectToObject(ties, "first");
    return first != NULL && add_number(first, "sample", (double)t->sample) &&
           add_number(first, "step", (double)t->step) &&
           add_number(first, "expected", (double)t->expected) &&
           add_number(first, "actual", (double)t->actual) &&
           add_number(first, "margin", t->margin) && add_number(first, "bound", t->bound);
}

static bool add_tap(cJSON *list, const llava_judged *j)
{
    cJSON *object = append(list);
    return object != NULL && cJSON_AddStringToObject(object, "name", j->name) != NULL &&
           add_number(object, "local_error", j->local.mismatched > 0 ? NAN : j->local.rel_l2) &&
           add_number(object, "noise", j->noise) &&
           add_number(object, "local_error_max",
                      j->local.mismatched > 0 ? NAN : j->local.rel_max) &&
           add_number(object, "noise_max", j->noise_max) &&
           add_number(object, "total_error", j->total < 0 ? (double)NAN : j->total) &&
           cJSON_AddBoolToObject(object, "wrong", j->wrong) != NULL;
}

cJSON *llava_diagnosis_json(const llava_diagnosis *d)
{
    cJSON *root = cJSON_CreateObject(), *findings = NULL, *inherited = NULL, *taps = NULL;
    bool ok =
        root != NULL && cJSON_AddStringToObject(root, "schema", "llava-ref.diagnose/1") != NULL &&
        cJSON_AddStringToObject(root, "verdict", llava_verdict_name(d->verdict)) != NULL &&
        add_precision(root, d) && (findings = cJSON_AddArrayToObject(root, "findings")) != NULL;
    for (size_t i = 0; ok && i < d->finding_count; i++) {
        ok = add_finding(findings, d, &d->findings[i]);
    }
    ok = ok && (inherited = cJSON_AddArrayToObject(root, "inherited")) != NULL;
    for (size_t i = 0; ok && i < d->count; i++) {
        ok = !d->taps[i].inherited ||
             cJSON_AddItemToArray(inherited, cJSON_CreateString(d->taps[i].name));
    }
    ok = ok && add_near_ties(root, d) &&
         add_number(root, "not_looked_at", (double)d->unknown_count) &&
         (taps = cJSON_AddArrayToObject(root, "taps")) != NULL;
    for (size_t i = 0; ok && i < d->count; i++) {
        ok = add_tap(taps, &d->taps[i]);
    }
    if (!ok) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}
