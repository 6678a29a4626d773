#include "span_goal.h"

#include "tools/bounds.h"

#include <stdio.h>
#include <string.h>

/* Where a replay can begin, in the order of the flow; a tower or text layer's is the hidden state
 * that enters it. */
typedef enum { AT_PIXELS, AT_TOWER, AT_FEATURES, AT_ROWS, AT_EMBEDS, AT_TEXT } cut_stage;

typedef struct {
    cut_stage stage;
    size_t layer; /* of AT_TOWER and AT_TEXT: from 1 up */
} cut;

static void cut_name(const cut *c, char name[LLAVA_TAP_NAME])
{
    static const char *const names[] = {
        "", "", "vision.features", "projector.out", "text.inputs_embeds", ""};
    if (c->stage == AT_TOWER || c->stage == AT_TEXT) {
        snprintf(name, LLAVA_TAP_NAME, "%s.layers.%zu.output",
                 c->stage == AT_TOWER ? "vision" : "text", c->layer - 1);
    } else {
        snprintf(name, LLAVA_TAP_NAME, "%s", names[c->stage]);
    }
}

/* The place before this one. */
static cut before(const cut *c, const llava_plan *plan)
{
    if ((c->stage == AT_TOWER || c->stage == AT_TEXT) && c->layer > 1) {
        return (cut){c->stage, c->layer - 1};
    }
    switch (c->stage) {
    case AT_TEXT:
        return (cut){AT_EMBEDS, 0};
    case AT_EMBEDS:
        return (cut){AT_ROWS, 0};
    case AT_ROWS:
        return (cut){AT_FEATURES, 0};
    case AT_FEATURES: {
        size_t lowest = plan->vision.layers;
        for (size_t i = 0; i < plan->vision.feature_count; i++) {
            size_t index = plan->vision.feature_layers[i];
            lowest = index < lowest ? index : lowest;
        }
        return lowest > 0 ? (cut){AT_TOWER, lowest} : (cut){AT_PIXELS, 0};
    }
    default:
        return (cut){AT_PIXELS, 0};
    }
}

/* Stages that the span computes something of. What goes in is given. A tower's rotary tables are
 * made anew wherever a trial begins in the tower, so they count only where they are all there is.
 */
static void stages_inside(const llava_span *span, bool inside[LLAVA_AT_ANSWER + 1])
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    bool tables = false, others = false;
    for (size_t k = 0; k < count; k++) {
        bool rope = strncmp(kinds[k].name, "vision.rope.", 12) == 0;
        inside[kinds[k].at] |= span->kinds[k] && !rope;
        tables |= span->kinds[k] && rope;
        others |= span->kinds[k] && !rope && kinds[k].at > LLAVA_AT_INPUT;
    }
    inside[LLAVA_AT_VISION] |= tables && !others;
}

/* The last place before everything inside the span. */
static cut last_before(const llava_span *span, const llava_plan *plan,
                       const bool inside[LLAVA_AT_ANSWER + 1])
{
    const cut features = {AT_FEATURES, 0};
    if (inside[LLAVA_AT_VISION]) {
        return (cut){AT_PIXELS, 0};
    }
    if (inside[LLAVA_AT_VISION_LAYER] || inside[LLAVA_AT_FEATURES]) {
        cut c = before(&features, plan);
        if (!inside[LLAVA_AT_FEATURES] ||
            (inside[LLAVA_AT_VISION_LAYER] && span->first_vision_layer < c.layer)) {
            c.layer = span->first_vision_layer;
        }
        return c.layer > 0 ? (cut){AT_TOWER, c.layer} : (cut){AT_PIXELS, 0};
    }
    if (inside[LLAVA_AT_PROJECTOR]) {
        return features;
    }
    if (inside[LLAVA_AT_EMBED] || inside[LLAVA_AT_MERGE]) {
        return (cut){AT_ROWS, 0};
    }
    size_t first = inside[LLAVA_AT_TEXT_LAYER] ? span->first_text_layer : plan->text.layers;
    return first > 0 ? (cut){AT_TEXT, first} : (cut){AT_EMBEDS, 0};
}

/* Is any tensor that the span is computed from supplied in part, or this one among them? */
static bool needs(const llava_span *span, const llava_port *port, const char *name)
{
    bool needed = false;
    for (size_t i = 0; i < span->from_count; i++) {
        const llava_port_tensor *t = llava_port_find(port, span->from[i]);
        needed |= (t != NULL && t->partial) || strcmp(span->from[i], name) == 0;
    }
    return needed;
}

static cut place_of(const llava_replay_spec *spec, const llava_span *span)
{
    bool inside[LLAVA_AT_ANSWER + 1] = {false};
    stages_inside(span, inside);
    cut c = last_before(span, spec->plan, inside);
    bool first = true, any = inside[LLAVA_AT_FEATURES]; /* whichever layers a trial chooses */
    for (; c.stage != AT_PIXELS; c = before(&c, spec->plan), first = false) {
        char name[LLAVA_TAP_NAME];
        cut_name(&c, name);
        const llava_port_tensor *t = llava_port_find(spec->port, name);
        bool whole = t != NULL && t->floating && !t->partial;
        /* a tensor that nothing of the span is computed from need not be there */
        if (whole || (first && !any && !needs(span, spec->port, name))) {
            break;
        }
    }
    return c;
}

static void begin_at(const cut *c, llava_goal *g)
{
    bool behind_tower = c->stage > AT_TOWER, behind_rows = c->stage >= AT_ROWS;
    g->vision_first = c->stage == AT_TOWER ? c->layer : 0;
    g->text_first = c->stage == AT_TEXT ? c->layer : 0;
    g->features_given = c->stage == AT_FEATURES;
    g->rows_given = c->stage == AT_ROWS;
    g->embeds_given = c->stage == AT_EMBEDS;
    g->vision = g->vision && !behind_tower;
    g->features = g->features && !behind_tower;
    g->projector = g->projector && !behind_rows;
    g->embed = g->embed && c->stage < AT_EMBEDS;
    g->merge = g->merge && c->stage < AT_EMBEDS;
}

/* Nothing but this tap. */
static bool is_target(void *self, const char *name)
{
    return strcmp(self, name) == 0;
}

static bool is_supplied(void *self, const char *name)
{
    return llava_port_find(self, name) != NULL;
}

static void goal_for(const llava_replay_spec *spec, const llava_span *span, const llava_sink *sink,
                     llava_goal *goal)
{
    llava_goal step = {0};
    llava_tap_sizes sizes = llava_replay_sizes(spec);
    *goal = (llava_goal){.last_logits = spec->generates};
    llava_taps_goal(spec->plan, &sizes, sink, goal, &step);
    bool decoding = strncmp(span->tap, "step.", 5) == 0;
    bool pictures = spec->inputs->pixel_values != NULL;
    cut c = decoding ? (cut){AT_PIXELS, 0} : place_of(spec, span);
    if (c.stage > AT_PIXELS && c.stage < AT_EMBEDS && !pictures) {
        c = (cut){AT_PIXELS, 0}; /* there is no tower to be skipped */
    }
    begin_at(&c, goal);
}

void llava_span_goal(const llava_replay_spec *spec, const llava_span *span, llava_goal *goal)
{
    char name[LLAVA_TAP_NAME];
    snprintf(name, sizeof name, "%s", span->tap);
    llava_sink sink = {is_target, NULL, name};
    goal_for(spec, span, &sink, goal);
}

void llava_span_goal_onward(const llava_replay_spec *spec, const llava_span *span, llava_goal *goal)
{
    llava_sink sink = {is_supplied, NULL, spec->port};
    goal_for(spec, span, &sink, goal);
}

typedef struct {
    const llava_port *port;
    int part;
} part_wanted;

static bool is_of_part(void *self, const char *name)
{
    const part_wanted *w = self;
    return llava_part_of_tap(name) == w->part && llava_port_find(w->port, name) != NULL;
}

/* Is there a hidden state of the language model that the port supplies whole? The first one. */
static bool first_text_state(const llava_replay_spec *spec, cut *first)
{
    size_t layers = spec->plan->text.layers, width = spec->plan->text.hidden;
    for (size_t i = 0; i <= layers; i++) {
        char name[LLAVA_TAP_NAME];
        *first = i == 0 ? (cut){AT_EMBEDS, 0} : (cut){AT_TEXT, i};
        cut_name(first, name);
        const llava_port_tensor *t = llava_port_find(spec->port, name);
        if (t != NULL && t->floating && !t->partial && t->rank == 3 &&
            t->shape[0] == spec->inputs->batch && t->shape[1] == spec->inputs->length &&
            t->shape[2] == width) {
            return true;
        }
    }
    return false;
}

bool llava_part_goal(const llava_replay_spec *spec, int part, llava_goal *goal)
{
    part_wanted wanted = {spec->port, part};
    llava_sink sink = {is_of_part, NULL, &wanted};
    llava_goal step = {0};
    llava_tap_sizes sizes = llava_replay_sizes(spec);
    cut first;
    *goal = (llava_goal){.last_logits = part == 1 && spec->generates};
    llava_taps_goal(spec->plan, &sizes, &sink, goal, &step);
    if (part == 0) {
        return goal->vision;
    }
    if (!first_text_state(spec, &first)) {
        return false;
    }
    begin_at(&first, goal);
    return true;
}

void llava_goal_start(const llava_goal *goal, char name[LLAVA_TAP_NAME])
{
    const cut c = goal->text_first > 0     ? (cut){AT_TEXT, goal->text_first}
                  : goal->embeds_given     ? (cut){AT_EMBEDS, 0}
                  : goal->rows_given       ? (cut){AT_ROWS, 0}
                  : goal->features_given   ? (cut){AT_FEATURES, 0}
                  : goal->vision_first > 0 ? (cut){AT_TOWER, goal->vision_first}
                                           : (cut){AT_PIXELS, 0};
    cut_name(&c, name);
}

bool llava_goal_begins_with(const llava_goal *goal, const char *tap)
{
    char name[LLAVA_TAP_NAME];
    llava_goal_start(goal, name);
    return strcmp(name, tap) == 0;
}
