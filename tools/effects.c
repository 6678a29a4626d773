#include "effects.h"

#include "tools/picture_sizes.h"
#include "tools/replay.h"
#include "tools/progress.h"
#include "tools/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char name[LLAVA_TAP_NAME];
    llava_bound bound;
} honest_tap;

struct llava_honest {
    llava_request request;
    char *feature_layer, *feature_select; /* that the dump was made with; NULL: the model's */
    llava_session session;
    llava_port *port; /* the dump, as a port that is right */
    llava_counting counting;
    honest_tap *taps;
    size_t count;
};

/* ---- the inputs that the dump itself holds
 * ---------------------------------------------------------- */

static bool load_ids(llava_honest *h, const char *name, int64_t **ids, llava_error *e)
{
    llava_inputs *in = &h->session.inputs;
    const llava_port_tensor *t = llava_port_find(h->port, name);
    if (t == NULL || t->floating || t->rank != 2) {
        return true;
    }
    if (in->batch == 0) {
        in->batch = t->shape[0];
        in->length = t->shape[1];
    }
    if (t->shape[0] != in->batch || t->shape[1] != in->length) {
        return llava_fail(e, "%s: %s: its shape is not input_ids'", llava_port_path(h->port), name);
    }
    return llava_port_load_integers(h->port, t, ids, e);
}

/* The pictures' sizes, without which a Pixtral tower takes each for as large as its pixels. */
static bool load_sizes(llava_honest *h, llava_error *e)
{
    llava_inputs *in = &h->session.inputs;
    llava_picture_sizes s;
    if (!llava_picture_sizes_read(&s, llava_port_path(h->port), llava_port_meta(h->port), e)) {
        return false;
    }
    if (s.count != 0 && s.count != in->pictures) {
        free(s.sizes);
        return llava_fail(e, "%s: __meta__: image_sizes: %zu pictures, but pixel_values has %zu",
                          llava_port_path(h->port), s.count, in->pictures);
    }
    in->image_sizes = s.sizes;
    return true;
}

/* A mask of four dimensions, as inputs files hold it. */
static bool load_square_mask(llava_honest *h, llava_error *e)
{
    llava_inputs *in = &h->session.inputs;
    const llava_port_tensor *t = llava_port_find(h->port, "attention_mask");
    if (t == NULL || t->rank != 4) {
        return true;
    }
    if (t->shape[0] != in->batch || t->shape[1] != 1 || t->shape[2] != in->length ||
        t->shape[3] != in->length) {
        return llava_fail(e, "%s: attention_mask: its shape does not go with input_ids'",
                          llava_port_path(h->port));
    }
    if (!llava_port_load(h->port, t, &in->mask_bias, e)) {
        return false;
    }
    return llava_inputs_square_mask(in, t->floating, e) ||
           llava_fail_in(e, llava_port_path(h->port));
}

static bool load_inputs(llava_honest *h, llava_error *e)
{
    llava_inputs *in = &h->session.inputs;
    if (!load_ids(h, "input_ids", &in->input_ids, e)) {
        return false;
    }
    if (in->input_ids == NULL) {
        return llava_fail(e, "%s: no input_ids in it, which --model needs to replay it",
                          llava_port_path(h->port));
    }
    const llava_port_tensor *pixels = llava_port_find(h->port, "pixel_values");
    if (pixels != NULL && pixels->floating && pixels->rank == 4) {
        if (pixels->shape[1] != 3) {
            return llava_fail(e, "%s: pixel_values: its shape is not [N, 3, H, W]",
                              llava_port_path(h->port));
        }
        in->pictures = pixels->shape[0];
        in->height = pixels->shape[2];
        in->width = pixels->shape[3];
        if (!llava_port_load(h->port, pixels, &in->pixel_values, e)) {
            return false;
        }
    }
    if (h->session.plan.vision.tower == LLAVA_TOWER_PIXTRAL && in->pictures > 0 &&
        !load_sizes(h, e)) {
        return false;
    }
    if (in->pixel_values == NULL && llava_count_image_tokens(in, &h->session.plan) > 0) {
        /* were there pictures? Without them an honest port would look a mile off */
        return llava_fail(e, "%s: image tokens, but no pixel_values in it",
                          llava_port_path(h->port));
    }
    const llava_port_tensor *logits = llava_port_find(h->port, "logits");
    if (logits != NULL && logits->rank == 3 && logits->shape[1] < in->length) {
        in->logits_to_keep = logits->shape[1];
    }
    return load_ids(h, "attention_mask", &in->attention_mask, e) && load_square_mask(h, e) &&
           load_ids(h, "position_ids", &in->position_ids, e) &&
           llava_inputs_check(in, &h->session.plan, e);
}

static llava_replay_spec spec_of(llava_honest *h, const llava_plan *plan, bool forced)
{
    return (llava_replay_spec){.doing = "replaying",
                               .session = &h->session,
                               .inputs = &h->session.inputs,
                               .plan = plan,
                               .port = h->port,
                               .forced = forced};
}

/* ---- an honest port
 * ---------------------------------------------------------------------------------- */

static bool measure_tap(void *self, const llava_tap *tap, const llava_port_tensor *t,
                        llava_error *e)
{
    llava_honest *h = self;
    honest_tap *grown = llava_realloc(e, h->taps, h->count + 1, sizeof *grown);
    double *right;
    llava_comparison c;
    if (grown == NULL) {
        return false;
    }
    h->taps = grown;
    if (!llava_replay_same_shape(tap, t)) {
        return true;
    }
    if (!llava_port_load(h->port, t, &right, e)) {
        return false;
    }
    bool ok =
        llava_compare(&h->counting, tap->name, tap->rank, tap->shape, right, tap->data, &c, e);
    free(right);
    if (ok && c.mismatched == 0) {
        honest_tap *one = &h->taps[h->count++];
        snprintf(one->name, sizeof one->name, "%s", tap->name);
        one->bound = (llava_bound){4 * c.rel_l2, 8 * c.rel_max};
    }
    return ok;
}

static bool run_honest(llava_honest *h, llava_dtype type, llava_error *e)
{
    llava_plan plan;
    llava_choices right = {0};
    if (!llava_honest_plan(&h->session.config, &right, type, false, &plan, e)) {
        return false;
    }
    llava_replay_spec spec = spec_of(h, &plan, false);
    return llava_replay_run(&spec, NULL, measure_tap, h, e);
}

static bool set_counting(llava_honest *h, llava_error *e)
{
    const llava_inputs *in = &h->session.inputs;
    h->counting.text_plan = &h->session.plan.text;
    if (in->sees != NULL) {
        return llava_counting_square(&h->counting, in->batch, in->length, in->sees, e);
    }
    h->counting.batch = in->batch;
    h->counting.length = in->attention_mask == NULL ? 0 : in->length;
    h->counting.mask = in->attention_mask;
    return true;
}

/* What the dump says of the hidden states that were chosen for it. */
static bool know_call(llava_honest *h, const char *path, llava_error *e)
{
    llava_dump *dump;
    if (!llava_dump_open(&dump, path, e)) {
        return false;
    }
    const char *meta = llava_dump_meta(dump);
    bool ok = llava_dump_meta_string(path, meta, "feature_layer", &h->feature_layer, e) &&
              llava_dump_meta_string(path, meta, "feature_select", &h->feature_select, e);
    h->request.feature_layer = h->feature_layer;
    h->request.feature_select = h->feature_select;
    llava_dump_close(dump);
    return ok;
}

bool llava_honest_open(llava_honest **honest, const llava_request *model, const char *expected,
                       llava_dtype type, llava_error *e)
{
    llava_choices right = {0};
    llava_honest *h = *honest = llava_alloc(e, 1, sizeof *h);
    if (h == NULL) {
        return false;
    }
    h->request = *model; /* which folder, in which spelling */
    h->session.request = &h->request;
    /* the names and shapes of the dump first: it says how the model was called */
    bool ok = know_call(h, expected, e) &&
              llava_request_config(&h->session.config, &h->request, e) &&
              llava_plan_make(&h->session.plan, &h->session.config, &right, LLAVA_F64, false, e) &&
              llava_port_open(&h->port, expected, NULL, &h->session.plan, e) && load_inputs(h, e);
    if (ok) {
        ok = set_counting(h, e) &&
             llava_counting_add_pictures(&h->counting, &h->session.plan, &h->session.inputs, e) &&
             llava_session_weights(&h->session, e) && run_honest(h, type, e);
    }
    if (!ok) {
        llava_honest_close(h);
        *honest = NULL;
    }
    return ok;
}

bool llava_honest_bound(const llava_honest *h, const char *name, llava_bound *bound)
{
    for (size_t i = 0; i < h->count; i++) {
        if (strcmp(h->taps[i].name, name) == 0 && h->taps[i].bound.l2 > 0) {
            *bound = h->taps[i].bound;
            return true;
        }
    }
    return false;
}

void llava_honest_close(llava_honest *h)
{
    if (h == NULL) {
        return;
    }
    if (h->counting.sees != NULL) {
        free(h->counting.mask); /* else it is the session's */
        free(h->counting.sees);
    }
    llava_port_close(h->port);
    llava_session_close(&h->session);
    free(h->counting.picture_of);
    free(h->feature_layer);
    free(h->feature_select);
    free(h->taps);
    free(h);
}

/* ---- wrong decisions
 * --------------------------------------------------------------------------------- */

/* The span of tap i, and whether the decision acts in it; freed where not. */
static bool span_of(llava_honest *h, size_t i, llava_decision_id id, llava_span *span, bool *acts,
                    llava_error *e)
{
    if (!llava_span_find(span, h->taps[i].name, h->port, &h->session.plan, e)) {
        return false;
    }
    *acts = llava_span_acts(span, id);
    if (!*acts) {
        llava_span_free(span);
    }
    return true;
}

static bool add_effect(llava_effect **effects, size_t *count, const llava_effect *one,
                       llava_error *e)
{
    llava_effect *grown = llava_realloc(e, *effects, *count + 1, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    *effects = grown;
    grown[(*count)++] = *one;
    return true;
}

/* One wrong value in one span. */
static bool measure_value(llava_honest *h, const llava_span *span, llava_decision_id id,
                          unsigned char value, llava_effect *effect, llava_error *e)
{
    llava_choices right = {0};
    llava_trial trial = {.spec = spec_of(h, NULL, true),
                         .counting = &h->counting,
                         .base = &right,
                         .done = (double)(id - LLAVA_VISION_PATCH_ORDER) /
                                 (LLAVA_DECISION_COUNT - LLAVA_VISION_PATCH_ORDER)};
    llava_cause cause = {.id = {id}, .value = {value}, .count = 1};
    bool ok = llava_trial_cause(&trial, span, &cause, e);
    *effect = (llava_effect){
        .id = id, .value = value, .error = cause.error, .error_max = cause.error_max};
    snprintf(effect->tap, sizeof effect->tap, "%s", span->tap);
    llava_honest_bound(h, span->tap, &effect->bound);
    return ok;
}

/* Every wrong value of one decision, at the first tap that it changes: the first at which it acts,
 * or the last (a missing last layer acts on every layer's taps by name, and changes the last ones).
 */
static bool measure_decision(llava_honest *h, llava_decision_id id, llava_effect **effects,
                             size_t *count, llava_error *e)
{
    llava_span first = {0}, last = {0};
    size_t from = 0, to = h->count;
    bool acts = false, ok = true;
    for (; ok && from < h->count && !acts; from++) {
        ok = span_of(h, from, id, &first, &acts, e);
    }
    if (!ok || !acts) {
        return ok;
    }
    for (acts = false; ok && to > 0 && !acts; to--) {
        ok = span_of(h, to - 1, id, &last, &acts, e);
    }
    for (unsigned char v = 1; ok && llava_decision_at(id)->values[v] != NULL; v++) {
        llava_effect one, other;
        ok = measure_value(h, &first, id, v, &one, e);
        if (ok && !(one.error > LLAVA_NO_EFFECT)) {
            ok = measure_value(h, &last, id, v, &other, e);
            one = ok && other.error > LLAVA_NO_EFFECT ? other : one;
        }
        ok = ok && (!isfinite(one.error) || add_effect(effects, count, &one, e));
    }
    llava_span_free(&first);
    llava_span_free(&last);
    return ok;
}

bool llava_effects_measure(llava_honest *h, llava_effect **effects, size_t *count, llava_error *e)
{
    *effects = NULL;
    *count = 0;
    llava_progress_begin();
    for (size_t i = LLAVA_VISION_PATCH_ORDER; i < LLAVA_DECISION_COUNT; i++) {
        if (!measure_decision(h, (llava_decision_id)i, effects, count, e)) {
            free(*effects);
            *effects = NULL;
            return false;
        }
    }
    return true;
}
