/* Diagnosis, causes held against the whole port: a rounding that it has everywhere is its
 * precision, and of several likely causes those remain that spoil no right span. */
#include "tools/diagnoser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_rounding(llava_decision_id id)
{
    return strncmp(llava_decision_at(id)->name, "numerics.", 9) == 0;
}

/* What a cause does to the taps that do not share it as their finding. */
typedef struct {
    size_t mended, broken; /* wrong taps that it explains, right ones that it spoils */
    double left;           /* sum of squares of what remains in the mended ones */
} effect_on_all;

/* Taps of one kind, right ones and wrong ones apart, that a cause is tried on: layers are alike,
 * and a whole pass for every cause would cost more than everything else. */
enum { ENOUGH = 2 };

typedef struct {
    size_t tried[LLAVA_SPAN_KINDS][2];
} sampled;

static bool sample(sampled *s, const llava_judged *j)
{
    llava_tap_place place;
    llava_tap_find(j->name, &place);
    return s->tried[place.kind][j->wrong]++ < ENOUGH;
}

/* Tries a cause on one judged tap, if it acts in the span that leads there. */
static bool add_effect(llava_diagnoser *d, llava_judged *j, const llava_cause *cause, sampled *s,
                       effect_on_all *on, llava_error *e)
{
    llava_span span;
    llava_cause trial = *cause;
    if (!llava_span_find(&span, j->name, d->port, &d->session.plan, e)) {
        return false;
    }
    bool acts = llava_cause_acts(&span, cause) && sample(s, j);
    bool ok = !acts || llava_trial_cause(&d->trial, &span, &trial, e);
    if (ok && acts && !llava_explained(trial.error, trial.error_max, j)) {
        ok = llava_diagnose_noise(d, j, &span, e); /* the least may be too little here */
    }
    bool explained = ok && acts && llava_explained(trial.error, trial.error_max, j);
    if (ok && acts && j->wrong && !explained) {
        ok = llava_trial_explains(&d->trial, j, &span, &trial, &explained, e);
    }
    if (ok && acts) {
        /* matrices that the port may have left as they are: that is tried once this holds */
        bool apart = cause->count == 1 && cause->id[0] == LLAVA_NUMERICS_WEIGHTS &&
                     llava_span_acts(&span, LLAVA_NUMERICS_WEIGHTS_KEPT);
        on->mended += j->wrong && explained;
        on->broken += !j->wrong && !explained && !apart;
        on->left += j->wrong && explained ? trial.error * trial.error : 0;
    }
    llava_span_free(&span);
    return ok;
}

/* A resize that rounds nothing, where the port's pixel values come from the bytes that it shows. */
static bool goes_on_with_bytes(const llava_diagnoser *d, const llava_cause *cause)
{
    bool floats = false, right = false;
    for (size_t i = 0; i < cause->count; i++) {
        floats |=
            cause->id[i] == LLAVA_IMAGE_RESIZE_ROUNDING && cause->value[i] == LLAVA_RESIZE_FLOAT;
    }
    for (size_t i = 0; i < d->inputs_judged; i++) {
        const llava_judged *j = &d->result.taps[i];
        right |= strcmp(j->name, "pixel_values") == 0 && !j->wrong;
    }
    return floats && right && llava_port_find(d->port, "image.resized") != NULL;
}

static bool survey(llava_diagnoser *d, const llava_cause *cause, effect_on_all *on, llava_error *e)
{
    const llava_diagnosis *r = &d->result;
    sampled s = {{{0}}};
    *on = (effect_on_all){.broken = goes_on_with_bytes(d, cause)};
    for (size_t i = 0; i < r->count; i++) {
        bool picture = i < d->inputs_judged && strstr(r->taps[i].name, "_ids") == NULL;
        if (!picture && !add_effect(d, &r->taps[i], cause, &s, on, e)) {
            return false;
        }
    }
    return true;
}

/* Is the one better than the other as an account of the whole port? What remains must be half as
 * large to count: below that it is luck. */
static bool accounts_better(const effect_on_all *a, const effect_on_all *b)
{
    if (a->broken != b->broken) {
        return a->broken < b->broken;
    }
    return a->mended != b->mended ? a->mended > b->mended : a->left < b->left / 4;
}

/* Are all decisions of all causes of a finding roundings? */
static bool all_roundings(const llava_finding *f)
{
    bool all = f->cause_count > 0;
    for (size_t c = 0; c < f->cause_count; c++) {
        for (size_t k = 0; k < f->causes[c].count; k++) {
            all &= is_rounding(f->causes[c].id[k]);
        }
    }
    return all;
}

/* The best account of the whole port so far. */
typedef struct {
    llava_cause cause; /* count 0: none */
    effect_on_all on;
} account;

/* Another value of the best account's one decision that accounts as well: float16 and TF32 are the
 * same numbers in float16's range. The first in the table is named, the others with it. */
static void add_alike(account *best, const llava_cause *cause, const effect_on_all *on)
{
    unsigned alike = best->cause.alike | 1U << cause->value[0] | 1U << best->cause.value[0];
    if (cause->value[0] < best->cause.value[0]) {
        *best = (account){*cause, *on};
    }
    best->cause.alike = alike & ~(1U << best->cause.value[0]);
}

/* Is this cause a better one? It must mend something, and spoil nothing. */
static bool weigh(llava_diagnoser *d, const llava_cause *cause, account *best, llava_error *e)
{
    effect_on_all on;
    if (!survey(d, cause, &on, e)) {
        return false;
    }
    bool first = best->cause.count == 0, may = on.broken == 0 && on.mended > 0;
    if (may && (first || accounts_better(&on, &best->on))) {
        *best = (account){*cause, on};
    } else if (may && !accounts_better(&best->on, &on) && cause->count == 1 &&
               best->cause.count == 1 && best->cause.id[0] == cause->id[0] &&
               best->cause.value[0] != cause->value[0]) {
        add_alike(best, cause, &on);
    }
    return true;
}

/* A cause's roundings one by one, and together. */
static bool weigh_all(llava_diagnoser *d, const llava_cause *cause, account *best, llava_error *e)
{
    for (size_t k = 0; k < cause->count; k++) {
        llava_cause one = {.id = {cause->id[k]}, .value = {cause->value[k]}, .count = 1};
        one.error = cause->error;
        if (!weigh(d, &one, best, e)) {
            return false;
        }
    }
    return cause->count == 1 || weigh(d, cause, best, e);
}

bool llava_adopt_rounding(llava_diagnoser *d, bool *moved, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    account best = {.cause = {.count = 0}};
    for (size_t i = 0; i < r->finding_count; i++) {
        const llava_finding *f = &r->findings[i];
        for (size_t c = 0; all_roundings(f) && c < f->cause_count; c++) {
            if (!weigh_all(d, &f->causes[c], &best, e)) {
                return false;
            }
        }
    }
    const llava_cause *adopted = &best.cause;
    *moved = adopted->count > 0 && r->rounding_count + adopted->count <= LLAVA_MOST_ROUNDINGS;
    for (size_t k = 0; *moved && k < adopted->count; k++) {
        d->base.value[adopted->id[k]] = adopted->value[k];
        r->rounding[r->rounding_count++] = (llava_cause){.id = {adopted->id[k]},
                                                         .value = {adopted->value[k]},
                                                         .count = 1,
                                                         .alike = adopted->alike,
                                                         .error = adopted->error};
    }
    return true;
}

/* Of several likely causes, those remain that account best for the whole port: a decision is taken
 * once, so one that would spoil right taps elsewhere is not it. */
static bool narrow_causes(llava_diagnoser *d, llava_finding *f, llava_error *e)
{
    effect_on_all on[LLAVA_MOST_CAUSES];
    size_t best = 0, count = 0;
    for (size_t c = 0; c < f->cause_count; c++) {
        if (!survey(d, &f->causes[c], &on[c], e)) {
            return false;
        }
        best = accounts_better(&on[c], &on[best]) ? c : best;
    }
    llava_cause left[LLAVA_MOST_CAUSES];
    left[count++] = f->causes[best];
    for (size_t c = 0; c < f->cause_count; c++) {
        if (c != best && on[c].broken == on[best].broken && on[c].mended == on[best].mended) {
            left[count++] = f->causes[c];
        }
    }
    memcpy(f->causes, left, count * sizeof *left);
    f->cause_count = count;
    f->confidence = count == 1 ? LLAVA_CERTAIN : LLAVA_LIKELY;
    return true;
}

bool llava_narrow_causes(llava_diagnoser *d, llava_error *e)
{
    llava_diagnosis *r = &d->result;
    for (size_t i = 0; i < r->finding_count; i++) {
        if (r->findings[i].cause_count > 1 && !narrow_causes(d, &r->findings[i], e)) {
            return false;
        }
    }
    return true;
}

bool llava_take_other_convention(llava_diagnoser *d)
{
    const llava_diagnosis *r = &d->result;
    if (d->positions_given || d->session.convention == LLAVA_POSITIONS_GENERATE ||
        d->inputs.position_ids != NULL) {
        return false;
    }
    for (size_t i = 0; i < r->finding_count; i++) {
        for (size_t c = 0; c < r->findings[i].cause_count; c++) {
            const llava_cause *one = &r->findings[i].causes[c];
            if (one->count == 1 && one->id[0] == LLAVA_TEXT_POSITIONS &&
                one->value[0] == LLAVA_TEXT_POSITIONS_MASK_CUMULATIVE) {
                d->session.convention = LLAVA_POSITIONS_GENERATE;
                return true;
            }
        }
    }
    return false;
}
