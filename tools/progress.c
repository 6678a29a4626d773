#include "progress.h"

#include "ref/taps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define WIPE "\r\033[K"

static struct {
    int terminal;          /* 0 not known yet, 1 yes, -1 no */
    volatile char shown;   /* is there a line to wipe? */
    struct timespec began; /* 0: not yet */
    struct timespec last;  /* when a line was written; 0: none was */
} state;

static double seconds_since(const struct timespec *from, const struct timespec *now)
{
    return (double)(now->tv_sec - from->tv_sec) + (double)(now->tv_nsec - from->tv_nsec) * 1e-9;
}

static bool on_terminal(void)
{
    if (state.terminal == 0) {
        const char *kind = getenv("TERM");
        bool dumb = kind == NULL || strcmp(kind, "dumb") == 0;
        state.terminal = isatty(STDERR_FILENO) && !dumb ? 1 : -1;
    }
    return state.terminal == 1;
}

static size_t columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

const char *llava_duration(double seconds, char text[LLAVA_DURATION])
{
    double most = 359999;
    long s = (long)(seconds < most ? seconds + 0.5 : most);
    if (s < 60) {
        snprintf(text, LLAVA_DURATION, "%ld s", s);
    } else if (s < 3600) {
        snprintf(text, LLAVA_DURATION, "%ld min %ld s", s / 60, s % 60);
    } else {
        snprintf(text, LLAVA_DURATION, "%ld h %ld min", s / 3600, s / 60 % 60);
    }
    return text;
}

void llava_progress_begin(void)
{
    clock_gettime(CLOCK_MONOTONIC, &state.began);
}

/* The line; an estimate only once there is something to go by. */
static void write_line(double passed, double done, const char *what, const char *where)
{
    enum { MOST = 512 };
    char text[MOST + sizeof WIPE], left[LLAVA_DURATION], part[64] = "";
    if (done >= 0 && passed >= 1 && done >= 0.005) {
        snprintf(part, sizeof part, "%.0f %%, %s left: ", 100 * done,
                 llava_duration(passed * (1 - done) / done, left));
    } else if (done >= 0) {
        snprintf(part, sizeof part, "%.0f %%: ", 100 * done);
    }
    size_t room = columns() - 1, start = sizeof WIPE - 1;
    room = room < MOST ? room : MOST;
    memcpy(text, WIPE, sizeof WIPE);
    snprintf(text + start, room + 1, "%s%s%s%s", part, what == NULL ? "" : what,
             what == NULL || where == NULL ? "" : " ", where == NULL ? "" : where);
    for (char *c = text + start; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e ? '?' : *c;
    }
    state.shown = 1;
    (void)!write(STDERR_FILENO, text, strlen(text)); /* at once, and whole */
}

void llava_progress_show(double done, const char *what, const char *where)
{
    struct timespec now;
    if (!on_terminal() || clock_gettime(CLOCK_MONOTONIC, &now) != 0 ||
        (state.last.tv_sec != 0 && seconds_since(&state.last, &now) < 0.1)) {
        return;
    }
    state.last = now;
    write_line(seconds_since(&state.began, &now), done, what, where);
}

void llava_progress_end(void)
{
    if (state.shown) {
        state.shown = 0;
        (void)!write(STDERR_FILENO, WIPE, sizeof WIPE - 1);
    }
}

void llava_progress_mute(void)
{
    state.terminal = -1;
    state.shown = 0;
}

/* ---- what a run has to do -----------------------------------------------------------------------
 */

/* What it costs to read and decode a weight, in products with it: a step of one row takes as long
 * as some twelve rows of a prompt (measured, float64, float32 weights). */
enum { DECODE = 12 };

/* A layer's products with weights on `rows` rows, and those of attention among them. */
static double layer_work(double rows, double keys, double width, double inner, double kv_width,
                         double mlp, double mlp_products)
{
    return (rows + DECODE) *
               (2 * width * inner + 2 * width * kv_width + mlp_products * width * mlp) +
           2 * rows * keys * inner;
}

llava_work llava_work_of(const llava_plan *plan, const llava_inputs *in, const llava_goal *goal,
                         size_t chunk, size_t steps)
{
    const llava_vision_plan *v = &plan->vision;
    const llava_text_plan *t = &plan->text;
    llava_tower_shape tower = llava_tower_shape_of(plan, in);
    bool sees = in->pictures > 0 && (goal == NULL || goal->vision);
    bool reads = goal == NULL || goal->text;
    double batch = (double)in->batch, length = (double)in->length, width = (double)t->hidden;
    double rows = (double)(tower.sequences * tower.rows);
    double text_inner = (double)(t->heads * t->head_dim), kv = (double)(t->kv_heads * t->head_dim);
    llava_work w = {
        .vision_first = goal == NULL ? 0 : goal->vision_first,
        .vision_layers = goal == NULL ? v->layers_needed : goal->vision_layers,
        .text_first = goal == NULL ? 0 : goal->text_first,
        .text_layers = !reads         ? 0
                       : goal == NULL ? t->layers
                                      : goal->text_layers,
        .steps = steps,
        .passes = chunk == 0 || chunk >= in->length ? 1 : (in->length + chunk - 1) / chunk,
        .vision_layer = layer_work(rows, (double)tower.rows, (double)v->hidden, (double)v->hidden,
                                   (double)v->hidden, (double)v->intermediate,
                                   v->tower == LLAVA_TOWER_PIXTRAL ? 3 : 2),
        .text_layer =
            layer_work(batch * length, length, width, text_inner, kv, (double)t->intermediate, 3),
    };
    bool chosen = goal != NULL && goal->features && w.vision_layers < v->layers_needed;
    w.vision_layers = !sees ? 0 : chosen ? v->layers_needed : w.vision_layers;
    w.vision_layers -= w.vision_first < w.vision_layers ? w.vision_first : w.vision_layers;
    w.text_layers -= w.text_first < w.text_layers ? w.text_first : w.text_layers;
    double head = (batch + DECODE) * width * (double)t->vocab;
    if (sees && (goal == NULL || goal->projector)) {
        double features = (double)(tower.sequences * tower.feature_rows);
        w.projector = features * width * ((double)v->feature_width + width);
    }
    w.logits = goal == NULL || goal->last_logits ? head : 0;
    w.logits =
        goal != NULL && goal->all_logits ? batch * length * width * (double)t->vocab : w.logits;
    w.step = head + (double)t->layers * layer_work(batch, length, width, text_inner, kv,
                                                   (double)t->intermediate, 3);
    w.all = w.vision_layer * (double)w.vision_layers + w.projector +
            w.text_layer * (double)w.text_layers + w.logits + w.step * (double)steps;
    return w;
}

/* Of a layer's own work, in its taps' order. */
static double within(const llava_tap_place *place)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds), end = place->block;
    while (end < count && kinds[end].at == kinds[place->block].at) {
        end++;
    }
    return (double)(place->kind - place->block) / (double)(end - place->block);
}

/* Layers before this place, from `first` on. */
static double layers_before(const llava_tap_place *place, size_t first, size_t layers)
{
    double before = place->layer < first ? 0 : (double)(place->layer - first) + within(place);
    return before < (double)layers ? before : (double)layers;
}

double llava_work_before(const llava_work *w, const char *tap, size_t pass)
{
    const llava_tap_kind *kinds;
    llava_tap_place place;
    llava_tap_kinds(&kinds);
    if (w->all <= 0 || !llava_tap_find(tap, &place)) {
        return 0;
    }
    llava_at at = kinds[place.kind].at;
    double vision = w->vision_layer * (double)w->vision_layers, done = 0;
    double text = w->text_layer * (double)w->text_layers, prefill = vision + w->projector + text;
    double in_text = at == LLAVA_AT_TEXT_LAYER
                         ? layers_before(&place, w->text_first, w->text_layers)
                     : at > LLAVA_AT_TEXT_LAYER ? (double)w->text_layers
                                                : 0;
    if (place.step > 0) {
        double layers = w->text_layers > 0 ? in_text / (double)w->text_layers : 0;
        done = prefill + w->logits + w->step * ((double)(place.step - 1) + layers);
    } else if (at >= LLAVA_AT_EMBED) {
        double parts = (double)(pass < w->passes ? pass : w->passes - 1);
        done = at > LLAVA_AT_TEXT_LAYER && pass + 1 >= w->passes
                   ? prefill
                   : vision + w->projector +
                         (text * parts + w->text_layer * in_text) / (double)w->passes;
    } else if (at == LLAVA_AT_VISION_LAYER) {
        done = w->vision_layer * layers_before(&place, w->vision_first, w->vision_layers);
    } else if (at > LLAVA_AT_VISION_LAYER) {
        done = vision + (at == LLAVA_AT_PROJECTOR ? within(&place) * w->projector : 0);
    }
    return done < w->all ? done / w->all : 1;
}

/* ---- the sink -----------------------------------------------------------------------------------
 */

static bool wants(void *self, const char *name)
{
    llava_progress *p = self;
    llava_tap_place place;
    if (on_terminal() && llava_tap_find(name, &place)) {
        bool text = strncmp(name, "text.layers.", 12) == 0;
        p->pass += text && place.layer < p->layer; /* the next chunk of the prompt */
        p->layer = text ? place.layer : p->layer;
        double done = llava_work_before(&p->work, name, p->pass);
        p->done = done > p->done ? done : p->done; /* scores are asked for ahead of their work */
        llava_progress_show(p->share > 0 ? p->from + p->share * p->done : p->done, p->what, name);
    }
    return p->inner != NULL && p->inner->wants(p->inner->self, name);
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    llava_progress *p = self;
    return p->inner->take(p->inner->self, tap, e);
}

llava_sink llava_progress_sink(llava_progress *progress, const llava_sink *inner)
{
    progress->inner = inner;
    return (llava_sink){wants, take, progress};
}
