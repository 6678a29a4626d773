/* Diagnosis, the findings: which decision explains what a wrong span has; of several spans, which
 * have one cause together. */
#include "tools/words.h"
#include "tools/diagnoser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

llava_finding *llava_add_finding(llava_diagnoser *d, size_t judged, llava_span *span,
                                 llava_error *e)
{
    llava_diagnosis *r = &d->result;
    llava_finding *grown = llava_realloc(e, r->findings, r->finding_count + 1, sizeof *grown);
    if (grown == NULL) {
        llava_span_free(span);
        return NULL;
    }
    r->findings = grown;
    llava_finding *f = &grown[r->finding_count++];
    *f = (llava_finding){.judged = judged, .span = *span, .confidence = LLAVA_UNKNOWN};
    return f;
}

static bool add_also(llava_finding *f, size_t judged, llava_error *e)
{
    size_t *grown = llava_realloc(e, f->also, f->also_count + 1, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    f->also = grown;
    f->also[f->also_count++] = judged;
    return true;
}

/* Is what a cause leaves of this wrong tap no more than honest rounding? The least that there is
 * may do; if not, it is measured, and the tap may turn out not to be wrong. */
static bool explains(llava_diagnoser *d, llava_judged *j, const llava_span *span,
                     const llava_cause *cause, bool *does, llava_error *e)
{
    *does = llava_explained(cause->error, cause->error_max, j);
    if (*does) {
        return true;
    }
    if (!llava_diagnose_noise(d, j, span, e)) {
        return false;
    }
    return !j->wrong || llava_trial_explains(&d->trial, j, span, cause, does, e);
}

/* Does an earlier finding's cause explain this tap too? Then it is one fault, not two; and of
 * several likely causes only those remain that explain both. */
static bool join_earlier(llava_diagnoser *d, size_t judged, const llava_span *span, bool *joined,
                         llava_error *e)
{
    llava_diagnosis *r = &d->result;
    llava_judged *j = &r->taps[judged];
    *joined = false;
    for (size_t i = 0; i < r->finding_count && !*joined && j->wrong; i++) {
        llava_finding *f = &r->findings[i];
        llava_cause left[LLAVA_MOST_CAUSES];
        size_t count = 0;
        for (size_t c = 0; c < f->cause_count; c++) {
            llava_cause cause = f->causes[c];
            if (!llava_cause_acts(span, &cause)) {
                continue;
            }
            bool does;
            if (!llava_trial_cause(&d->trial, span, &cause, e) ||
                !explains(d, j, span, &cause, &does, e)) {
                return false;
            }
            if (does) {
                left[count++] = f->causes[c];
            }
        }
        if (count > 0 && j->wrong) {
            memcpy(f->causes, left, count * sizeof *left);
            f->cause_count = count;
            f->confidence = count == 1 ? LLAVA_CERTAIN : LLAVA_LIKELY;
            *joined = true;
            if (!add_also(f, judged, e)) {
                return false;
            }
        }
    }
    return true;
}

/* Where in the tensor: rows and heads that stand out. */
static void locate(const llava_judged *j, char *where, size_t size)
{
    const llava_comparison *c = &j->local;
    where[0] = '\0';
    if (j->other_shape) {
        char mine[64], theirs[64];
        snprintf(where, size, "the model has %s, the port %s",
                 j->model_rank == 0
                     ? "another shape"
                     : llava_shape_text(mine, sizeof mine, j->model_rank, j->model_shape),
                 llava_shape_text(theirs, sizeof theirs, j->rank, j->shape));
        return;
    }
    if (c->mismatched > 0) {
        snprintf(where, size, "NaN or infinity in %llu of %llu elements, the first at %zu",
                 (unsigned long long)c->mismatched, (unsigned long long)c->count, c->worst_index);
        return;
    }
    if (j->exact || c->count == 0) {
        return;
    }
    size_t used =
        (size_t)snprintf(where, size, "worst row %zu (%.1e)", c->worst_row, c->worst_row_l2);
    if (c->worst_head_l2 > 4 * c->rel_l2 / 3 && used < size) {
        snprintf(where + used, size - used, ", worst head %zu (%.1e)", c->worst_head,
                 c->worst_head_l2);
    }
}

/* Is it computed from a tensor of another shape than the model's? Then the reference's own stood in
 * for that, and what is wrong here came from before; a picture is gone on with in any size. */
static bool behind_other_shape(const llava_diagnosis *r, const llava_span *span)
{
    for (size_t i = 0; i < span->from_count; i++) {
        for (size_t k = 0; k < r->count; k++) {
            const llava_judged *j = &r->taps[k];
            bool picture = strncmp(j->name, "image.", 6) == 0 && j->rank == 3 && j->shape[2] == 3;
            if (j->other_shape && !picture && strcmp(j->name, span->from[i]) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool llava_diagnose_causes(llava_diagnoser *d, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    for (size_t i = 0; i < r->count; i++) {
        llava_span span;
        bool joined = false;
        if (!r->taps[i].wrong) {
            continue;
        }
        if (!llava_span_find(&span, r->taps[i].name, d->port, &d->session.plan, e)) {
            return false;
        }
        bool ok = join_earlier(d, i, &span, &joined, e);
        ok = ok && (joined || !r->taps[i].wrong || llava_diagnose_noise(d, &r->taps[i], &span, e));
        r->taps[i].inherited = !joined && behind_other_shape(r, &span);
        if (!ok || joined || r->taps[i].inherited || !r->taps[i].wrong) {
            llava_span_free(&span);
            if (!ok) {
                return false;
            }
            continue;
        }
        llava_finding *f = llava_add_finding(d, i, &span, e);
        if (f == NULL || !llava_trial_search(&d->trial, &r->taps[i], f, e)) {
            return false;
        }
        locate(&r->taps[i], f->where, sizeof f->where);
    }
    return true;
}

void llava_forget_findings(llava_diagnosis *r)
{
    for (size_t i = 0; i < r->finding_count; i++) {
        llava_span_free(&r->findings[i].span);
        free(r->findings[i].also);
    }
    free(r->findings);
    r->findings = NULL;
    r->finding_count = 0;
}
