#include "span.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The walk back from a tap through what it is computed from. */
typedef struct {
    llava_span *span;
    const llava_port *port;
    const llava_plan *plan;
    const llava_tap_kind *kinds;
    size_t kind_count;
    size_t step;     /* of the pass that is walked; 0: the prefill */
    char prefix[32]; /* "step.3." or "" */
    size_t picture;  /* number of the picture, for image.* */
    bool *seen;      /* [kind][layer], of the pass */
    bool *all_seen;  /* [pass][kind][layer]: the tap's own, the prefill, the step before */
    size_t layers;
    llava_error *e;
} walk;

static bool walk_from(walk *w, size_t kind, size_t layer);

static void name_of(const walk *w, size_t kind, size_t layer, char name[LLAVA_TAP_NAME])
{
    const char *pattern = w->kinds[kind].name;
    const char *at = strstr(pattern, "{i}");
    bool again = w->kinds[kind].at >= LLAVA_AT_EMBED || strcmp(pattern, "position_ids") == 0;
    const char *prefix =
        again ? w->prefix : ""; /* a step has no pictures, ids and mask of its own */
    if (strncmp(pattern, "image.", 6) == 0 && w->picture > 0) {
        snprintf(name, LLAVA_TAP_NAME, "image.%zu.%s", w->picture, pattern + 6);
    } else if (at == NULL) {
        snprintf(name, LLAVA_TAP_NAME, "%s%s", prefix, pattern);
    } else {
        snprintf(name, LLAVA_TAP_NAME, "%s%.*s%zu%s", prefix, (int)(at - pattern), pattern, layer,
                 at + 3);
    }
}

static size_t kind_called(const walk *w, const char *name, size_t length)
{
    for (size_t k = 0; k < w->kind_count; k++) {
        if (strlen(w->kinds[k].name) == length && strncmp(w->kinds[k].name, name, length) == 0) {
            return k;
        }
    }
    return w->kind_count;
}

static bool add_from(walk *w, const char *name)
{
    llava_span *s = w->span;
    /* each once: `seen` */
    void *grown = llava_realloc(w->e, s->from, s->from_count + 1, sizeof *s->from);
    if (grown == NULL) {
        return false;
    }
    s->from = grown;
    snprintf(s->from[s->from_count++], LLAVA_TAP_NAME, "%s", name);
    return true;
}

/* The stages that a picture passes before this kind, to the nearest one that the port supplies. */
static bool reach_picture(walk *w, size_t kind, bool add)
{
    const char *word = w->kinds[kind].from;
    while (*word != '\0') {
        size_t length = strcspn(word, " "), from = kind_called(w, word, length);
        char name[LLAVA_TAP_NAME];
        name_of(w, from, 0, name);
        if (llava_port_find(w->port, name) != NULL) {
            return !add || add_from(w, name);
        }
        w->span->kinds[from] = true;
        word += length;
        word += strspn(word, " ");
    }
    return true;
}

static void enter_pass(walk *w, size_t pass, size_t step)
{
    w->seen = w->all_seen + pass * w->kind_count * w->layers;
    w->step = step;
    w->prefix[0] = '\0';
    if (step > 0) {
        snprintf(w->prefix, sizeof w->prefix, "step.%zu.", step);
    }
}

static bool reach(walk *w, size_t kind, size_t layer);

/* Keys and values of a step are also those of the passes before it: of the prefill, and of the step
 * before for all steps, for they are made alike. */
static bool reach_cache(walk *w, size_t kind, size_t layer)
{
    static const char scores[] = "text.layers.{i}.attn.scores",
                      context[] = "text.layers.{i}.attn.context",
                      keys[] = "text.layers.{i}.attn.k_rope", values[] = "text.layers.{i}.attn.v";
    const char *name = w->kinds[kind].name;
    const char *cached = strcmp(name, scores) == 0    ? keys
                         : strcmp(name, context) == 0 ? values
                                                      : NULL;
    if (cached == NULL || w->step == 0) {
        return true;
    }
    const size_t step = w->step, of = kind_called(w, cached, strlen(cached));
    const bool own = w->seen == w->all_seen;
    enter_pass(w, 1, 0);
    bool ok = reach(w, of, layer);
    if (ok && own && step > 1) {
        enter_pass(w, 2, step - 1);
        ok = reach(w, of, layer);
    }
    enter_pass(w, own ? 0 : 2, step);
    return ok;
}

/* A tap that is an input of this span: its end where it is supplied or given, else part of it. */
static bool reach(walk *w, size_t kind, size_t layer)
{
    char name[LLAVA_TAP_NAME];
    if (kind >= w->kind_count || w->seen[kind * w->layers + layer]) {
        return true;
    }
    w->seen[kind * w->layers + layer] = true;
    if (w->step > 0 && w->kinds[kind].at > LLAVA_AT_INPUT && w->kinds[kind].at < LLAVA_AT_EMBED) {
        return true; /* a step has no pictures */
    }
    name_of(w, kind, layer, name);
    bool input = w->kinds[kind].at <= LLAVA_AT_INPUT;
    const llava_port_tensor *t = llava_port_find(w->port, name);
    bool given = t != NULL && (input || t->floating); /* a replay takes no other */
    if (input && !given) { /* what the port took for it is not known: it may be wrong */
        w->span->kinds[kind] = true;
        bool ok = w->kinds[kind].at != LLAVA_AT_IMAGE || reach_picture(w, kind, false);
        return ok && add_from(w, name);
    }
    if (given) {
        return add_from(w, name);
    }
    return walk_from(w, kind, layer);
}

/* {below}: the hidden state that enters a layer. */
static bool reach_below(walk *w, size_t kind, size_t layer)
{
    bool text = w->kinds[kind].at == LLAVA_AT_TEXT_LAYER;
    const char *output = text ? "text.layers.{i}.output" : "vision.layers.{i}.output";
    const char *start = text ? "text.inputs_embeds" : llava_tower_start(w->plan->vision.tower);
    return layer > 0 ? reach(w, kind_called(w, output, strlen(output)), layer - 1)
                     : reach(w, kind_called(w, start, strlen(start)), 0);
}

static bool reach_chosen(walk *w)
{
    static const char output[] = "vision.layers.{i}.output";
    const llava_vision_plan *v = &w->plan->vision;
    const char *start = llava_tower_start(v->tower);
    bool ok = true;
    for (size_t j = 0; ok && j < v->feature_count; j++) {
        size_t index = v->feature_layers[j];
        ok = index > 0 ? reach(w, kind_called(w, output, strlen(output)), index - 1)
                       : reach(w, kind_called(w, start, strlen(start)), 0);
    }
    return ok;
}

/* One word of a kind's `from`. */
static bool reach_word(walk *w, size_t kind, size_t layer, const char *word, size_t length)
{
    static const char output[] = "text.layers.{i}.output";
    if (strncmp(word, "{below}", length) == 0) {
        return reach_below(w, kind, layer);
    }
    if (strncmp(word, "{chosen}", length) == 0) {
        return reach_chosen(w);
    }
    if (strncmp(word, "{top}", length) == 0) {
        return reach(w, kind_called(w, output, strlen(output)), w->plan->text.layers - 1);
    }
    while (length > 0) {
        size_t n = strcspn(word, "| "), from = kind_called(w, word, n);
        if (from < w->kind_count && llava_tap_of_tower(&w->kinds[from], w->plan->vision.tower)) {
            bool layered = strstr(w->kinds[from].name, "{i}") != NULL;
            return reach(w, from, layered ? layer : 0);
        }
        n += n < length ? 1 : 0;
        word += n;
        length -= n;
    }
    return true; /* the tower has none of them */
}

static void note_layer(llava_span *s, llava_at at, size_t layer)
{
    if (at == LLAVA_AT_VISION_LAYER) {
        s->first_vision_layer = layer < s->first_vision_layer ? layer : s->first_vision_layer;
        s->last_vision_layer = layer > s->last_vision_layer ? layer : s->last_vision_layer;
    } else if (at == LLAVA_AT_TEXT_LAYER) {
        s->first_text_layer = layer < s->first_text_layer ? layer : s->first_text_layer;
        s->last_text_layer = layer > s->last_text_layer ? layer : s->last_text_layer;
    }
}

static bool walk_from(walk *w, size_t kind, size_t layer)
{
    w->span->kinds[kind] = true;
    if (w->kinds[kind].at == LLAVA_AT_IMAGE) {
        return reach_picture(w, kind, true);
    }
    note_layer(w->span, w->kinds[kind].at, layer);
    const char *word = w->kinds[kind].from;
    while (*word != '\0') {
        size_t length = strcspn(word, " ");
        if (!reach_word(w, kind, layer, word, length)) {
            return false;
        }
        word += length;
        word += strspn(word, " ");
    }
    return reach_cache(w, kind, layer);
}

static int in_flow(const void *a, const void *b)
{
    llava_tap_place x, y;
    llava_tap_find(a, &x);
    llava_tap_find(b, &y);
    return llava_tap_compare(&x, &y);
}

bool llava_span_find(llava_span *span, const char *tap, const llava_port *port,
                     const llava_plan *plan, llava_error *e)
{
    llava_tap_place place;
    *span = (llava_span){.first_vision_layer = (size_t)-1, .first_text_layer = (size_t)-1};
    snprintf(span->tap, sizeof span->tap, "%s", tap);
    walk w = {.span = span, .port = port, .plan = plan, .e = e};
    w.kind_count = llava_tap_kinds(&w.kinds);
    w.layers = plan->vision.layers > plan->text.layers ? plan->vision.layers : plan->text.layers;
    w.layers += 1;
    bool known = llava_tap_find(tap, &place);
    if (known && w.kinds[place.kind].at == LLAVA_AT_IMAGE) {
        w.picture = place.layer;
        place.layer = 0;
    }
    if (!known || place.layer >= w.layers) {
        return llava_fail(e, "%s: no tap of this model is called so", tap);
    }
    w.all_seen = llava_alloc(e, 3 * w.kind_count, w.layers);
    bool ok = w.all_seen != NULL;
    if (ok) {
        enter_pass(&w, 0, strncmp(tap, "step.", 5) == 0 ? place.step : 0);
        w.seen[place.kind * w.layers + place.layer] = true;
        ok = walk_from(&w, place.kind, place.layer);
    }
    free(w.all_seen);
    if (!ok) {
        llava_span_free(span);
        return false;
    }
    if (span->from_count > 1) {
        qsort(span->from, span->from_count, sizeof *span->from, in_flow);
    }
    return true;
}

void llava_span_free(llava_span *span)
{
    free(span->from);
    *span = (llava_span){0};
}

bool llava_span_acts(const llava_span *span, llava_decision_id id)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    const char *const *acts = llava_decision_at(id)->acts;
    for (size_t a = 0; acts[a] != NULL; a++) {
        bool step_only = strncmp(acts[a], "step.{g}.", 9) == 0;
        if (step_only && strncmp(span->tap, "step.", 5) != 0) {
            continue;
        }
        for (size_t k = 0; k < count; k++) {
            if (span->kinds[k] && strcmp(kinds[k].name, acts[a] + (step_only ? 9 : 0)) == 0) {
                return true;
            }
        }
    }
    return false;
}
