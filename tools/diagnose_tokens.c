/* Diagnosis, the tokens of a generation: is each the one that its logits choose? The port's own
 * logits of the step say so where it supplies them; else the reference's, computed from what the
 * port has of the step, within what rounding may turn (tools/near_tie.h). */
#include "tools/diagnoser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define IDS "generated_ids"

typedef struct {
    llava_diagnoser *d;
    bool type_known;
    double *own; /* [V], the port's logits */
    bool *ended; /* [B]: what follows is padding */
    size_t step;
    size_t judged, wrong;
    llava_flip first; /* of the wrong ones */
    bool by_own;      /* it is wrong by the port's own logits */
} reading;

/* What honest rounding does to the step's logits. */
static double logits_bound(const llava_diagnoser *d, const char *name, size_t vocab)
{
    const llava_vision_plan *vision = &d->session.plan.vision;
    llava_tower_seen tower = {vision->tower, vision->layers};
    bool islands = d->result.islands || !d->shows_islands;
    llava_dtype type = d->types[1] == LLAVA_F64 && islands ? LLAVA_F32 : d->types[1];
    return llava_bound_alone(name, vocab, &tower, LLAVA_F64, type).l2;
}

/* The port's logits of sample b, if it computed them; any of another shape end it before. */
static bool read_own(const reading *r, const llava_tap *tap, const llava_port_tensor *t, size_t b,
                     bool *there, llava_error *e)
{
    size_t vocab = tap->shape[2];
    *there = t != NULL;
    if (!*there) {
        return true;
    }
    size_t row = (b + 1) * t->shape[1] - 1;
    for (size_t v = 0; v < vocab && *there; v++) {
        *there = !t->partial || llava_port_given(t, row, v);
    }
    return !*there || llava_port_read(r->d->port, t, row * vocab, vocab, r->own, e);
}

static bool any_nan(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (x[i] != x[i]) {
            return true;
        }
    }
    return false;
}

static void note_wrong(reading *r, const llava_flip *flip, bool by_own)
{
    if (r->wrong++ == 0) {
        r->first = *flip;
        r->by_own = by_own;
    }
}

/* A near tie is told of, and is no fault. */
static void note_tie(llava_diagnosis *result, const llava_flip *flip)
{
    if (flip->near_tie && result->near_ties++ == 0) {
        result->first_tie = *flip;
    }
}

/* One token. mine: the reference's logits; own: the port's, or NULL. */
static void judge_token(reading *r, const char *name, llava_flip flip, const double *mine,
                        const double *own, size_t vocab)
{
    bool has_own = own != NULL && !any_nan(own, vocab);
    if (any_nan(mine, vocab) || (own != NULL && !has_own)) {
        return; /* a finding of the logits, or of what they are made of */
    }
    flip.expected = llava_argmax(false, mine, vocab);
    if (r->type_known && flip.expected != flip.actual) {
        llava_flip_judge(&flip, mine, own, vocab, logits_bound(r->d, name, vocab));
    }
    if (has_own) {
        int64_t chosen = llava_argmax(false, own, vocab);
        r->judged++;
        /* transformers chooses by a float32 copy */
        if (chosen != flip.actual && llava_argmax(true, own, vocab) != flip.actual) {
            flip.expected = chosen;
            note_wrong(r, &flip, true);
        } else {
            note_tie(&r->d->result, &flip);
        }
    } else if (r->type_known) {
        r->judged++;
        note_tie(&r->d->result, &flip);
        if (flip.expected != flip.actual && !flip.near_tie) {
            note_wrong(r, &flip, false);
        }
    }
}

static bool is_stop(const llava_config *config, int64_t id)
{
    for (size_t i = 0; i < config->stop_count; i++) {
        if (config->stop_ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* At a step's logits: its token of every sample that has not ended. */
static bool see_logits(void *self, const llava_tap *tap, const llava_port_tensor *t, llava_error *e)
{
    reading *r = self;
    const llava_inputs *in = &r->d->inputs;
    if (!llava_is_logits(tap->name)) {
        return true;
    }
    size_t rows = tap->shape[1], vocab = tap->shape[2];
    for (size_t b = 0; b < in->batch; b++) {
        llava_flip flip = {.sample = b,
                           .step = r->step,
                           .actual = in->answer[b * in->answer_length + r->step],
                           .margin = (double)NAN,
                           .bound = (double)NAN};
        const double *mine = (const double *)tap->data + ((b + 1) * rows - 1) * vocab;
        bool there;
        if (r->ended[b]) {
            continue;
        }
        if (!read_own(r, tap, t, b, &there, e)) {
            return false;
        }
        judge_token(r, tap->name, flip, mine, there ? r->own : NULL, vocab);
        r->ended[b] = is_stop(&r->d->session.config, flip.actual);
    }
    r->step++;
    return true;
}

/* What the first wrong token was chosen from: the port's logits, or what those come from. */
static bool find_span(const reading *r, llava_span *span, llava_error *e)
{
    char name[LLAVA_TAP_NAME] = "logits";
    if (r->first.step > 0) {
        snprintf(name, sizeof name, "step.%zu.logits", r->first.step);
    }
    if (!r->by_own) {
        return llava_span_find(span, name, r->d->port, &r->d->session.plan, e);
    }
    *span = (llava_span){.first_vision_layer = 1, .first_text_layer = 1};
    span->from = llava_alloc(e, 1, sizeof *span->from);
    if (span->from == NULL) {
        return false;
    }
    memcpy(span->from[0], name, sizeof name);
    span->from_count = 1;
    return true;
}

static void say_where(const reading *r, char *where, size_t size)
{
    const llava_flip *f = &r->first;
    char margin[64] = "";
    if (!r->by_own && f->margin == f->margin) {
        snprintf(margin, sizeof margin, ", by a margin of %.1e (near tie: %.1e)", f->margin,
                 f->bound);
    }
    snprintf(where, size, "token %zu of sample %zu is %lld; %s %lld%s", f->step, f->sample,
             (long long)f->actual,
             r->by_own ? "the port's own logits choose" : "its tensors lead to",
             (long long)f->expected, margin);
}

/* The judged tap, and its finding. */
static bool report(reading *r, llava_error *e)
{
    llava_diagnoser *d = r->d;
    const llava_port_tensor *t = llava_port_find(d->port, IDS);
    llava_judged *j = r->judged == 0 ? NULL : llava_add_judged(d, IDS, t->rank, t->shape, e);
    if (j == NULL) {
        return r->judged == 0;
    }
    j->exact = true;
    j->local.count = r->judged;
    j->local.unequal = r->wrong;
    j->local.rel_l2 = r->wrong > 0 ? 1 : 0;
    j->wrong = r->wrong > 0;
    if (!j->wrong) {
        return true;
    }
    llava_span span;
    if (!find_span(r, &span, e)) {
        return false;
    }
    snprintf(span.tap, sizeof span.tap, IDS);
    llava_finding *f = llava_add_finding(d, d->result.count - 1, &span, e);
    if (f != NULL) {
        say_where(r, f->where, sizeof f->where);
    }
    return f != NULL;
}

/* Reads all tokens. islands: by a model with transformers' float32 islands. */
static bool read_tokens(reading *r, bool islands, llava_error *e)
{
    llava_plan plan;
    llava_diagnoser *d = r->d;
    llava_replay_spec spec = d->trial.spec;
    spec.plan = &plan;
    spec.generates = spec.logits = true;
    spec.tokens = d->inputs.answer_length;
    d->result.near_ties = 0;
    r->step = r->judged = r->wrong = 0;
    r->own = NULL;
    r->ended = NULL;
    bool ok = llava_plan_make(&plan, &d->session.config, &d->base, LLAVA_F64, islands, e) &&
              (r->own = llava_alloc(e, plan.text.vocab, sizeof(double))) != NULL &&
              (r->ended = llava_alloc(e, d->inputs.batch, sizeof(bool))) != NULL &&
              llava_replay_run(&spec, NULL, see_logits, r, e);
    free(r->own);
    free(r->ended);
    return ok;
}

bool llava_diagnose_tokens(llava_diagnoser *d, llava_error *e)
{
    const llava_inputs *in = &d->inputs;
    if (in->answer == NULL || !d->inputs_fit || in->sees != NULL) {
        return true;
    }
    for (size_t i = 0; i < d->result.count; i++) {
        if (d->result.taps[i].other_shape) {
            return true; /* the reference's own would stand in for the port's */
        }
    }
    reading r = {.d = d};
    bool islands = d->result.islands;
    if (!llava_port_type_known(d->port, 1, d->types, &r.type_known, e) ||
        !read_tokens(&r, islands, e)) {
        return false;
    }
    /* Where nothing shows whether there are islands, both are honest; with them a padded sample of
     * a float64 model is NaN. */
    bool either = d->types[1] == LLAVA_F64 && !islands && !d->shows_islands;
    if (r.wrong > 0 && either && !read_tokens(&r, true, e)) {
        return false;
    }
    return report(&r, e);
}
