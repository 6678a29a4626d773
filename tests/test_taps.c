/* The table of taps says what a run puts out; wanting one tap computes no more than it needs and
 * the same bits as wanting all. */
#include "tiny.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tiny_model model;

static int set_up(void **state)
{
    (void)state;
    tiny_open(&model);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tiny_close(&model);
    return 0;
}

/* ---- the runs that are looked at ---------------------------------------------------------------
 */

typedef struct {
    const char *name;
    size_t batch, length; /* below 10: no picture */
    bool embeds, labels;
    tiny_how how;
} scene;

static const scene scenes[] = {
    {"text only", 2, 5, false, false, {.storage = LLAVA_F64}},
    {"a picture", 1, 12, false, false, {.storage = LLAVA_F64}},
    {"several pictures, bf16", 3, 11, false, false, {.storage = LLAVA_BF16}},
    {"labels", 2, 12, false, true, {.storage = LLAVA_F64}},
    {"labels, bf16", 1, 12, false, true, {.storage = LLAVA_BF16}},
    {"labels, bf16, islands", 1, 12, false, true, {.storage = LLAVA_BF16, .islands = true}},
    {"inputs_embeds", 1, 12, true, false, {.storage = LLAVA_F32}},
    {"generation", 2, 12, false, false, {.storage = LLAVA_F64, .generate = 4}},
    {"one token", 1, 12, false, false, {.storage = LLAVA_F64, .generate = 1}},
};

enum { SCENES = sizeof scenes / sizeof scenes[0] };

/* ids -> their rows of the token table, read off a run. */
static void embed(llava_inputs *in)
{
    static tiny_taps taps;
    taps = (tiny_taps){.only = "text.embed"};
    tiny_run(&model, in, &(tiny_how){.storage = LLAVA_F64}, &taps);
    in->inputs_embeds = taps.taps[0].values;
    in->embeds_width = TINY_HIDDEN;
    free(in->input_ids);
    in->input_ids = NULL;
}

static llava_inputs scene_inputs(const scene *s)
{
    llava_inputs in = tiny_inputs(s->batch, s->length, 7);
    if (s->embeds) {
        embed(&in);
    }
    if (s->labels) {
        in.labels = calloc(s->batch * s->length, sizeof *in.labels);
        assert_non_null(in.labels);
        for (size_t i = 0; i < s->batch * s->length; i++) {
            in.labels[i] = i % 3 == 0 ? -100 : (int64_t)(i % TINY_VOCAB);
        }
    }
    return in;
}

/* ---- the list is what a run puts out -----------------------------------------------------------
 */

typedef struct {
    const scene *scene;
    const tiny_taps *taps;
    size_t next;
} reading;

static bool equals_the_next(void *self, const llava_tap *listed)
{
    reading *r = self;
    if (r->next == r->taps->count) {
        fail_msg("%s: %s is listed and does not come", r->scene->name, listed->name);
    }
    const tiny_tap *put = &r->taps->taps[r->next++];
    bool same = strcmp(put->name, listed->name) == 0 && put->dtype == listed->dtype &&
                put->rank == listed->rank;
    for (int i = 0; same && i < put->rank; i++) {
        same = put->shape[i] == listed->shape[i];
    }
    if (!same || listed->data != NULL) {
        fail_msg("%s: listed is %s of type %s, what comes is %s of type %s", r->scene->name,
                 listed->name, llava_dtype_name(listed->dtype), put->name,
                 llava_dtype_name(put->dtype));
    }
    return true;
}

static void list_is_what_a_run_puts_out(void **state)
{
    (void)state;
    static tiny_taps taps;
    for (size_t i = 0; i < SCENES; i++) {
        llava_inputs in = scene_inputs(&scenes[i]);
        llava_plan plan = tiny_plan(&model, &scenes[i].how);
        llava_tap_sizes sizes = tiny_sizes(&plan, &in, &scenes[i].how);
        reading r = {&scenes[i], &taps, 0};
        taps = (tiny_taps){0};
        tiny_run(&model, &in, &scenes[i].how, &taps);
        assert_true(llava_taps_list(&plan, &sizes, equals_the_next, &r));
        assert_int_equal(r.next, taps.count);
        for (size_t k = 0; k < taps.count; k++) { /* no name twice */
            assert_ptr_equal(tiny_find(&taps, taps.taps[k].name), &taps.taps[k]);
        }
        tiny_free(&taps);
        llava_inputs_free(&in);
    }
}

typedef struct {
    size_t count, last;
} stopping;

static bool stop_at_last(void *self, const llava_tap *tap)
{
    stopping *s = self;
    (void)tap;
    return ++s->count < s->last;
}

static void list_stops_where_the_caller_does(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(1, 12, 1);
    const tiny_how how = {.storage = LLAVA_F64, .generate = 3};
    llava_plan plan = tiny_plan(&model, &how);
    llava_tap_sizes sizes = tiny_sizes(&plan, &in, &how);
    stopping all = {0, SIZE_MAX};
    assert_true(llava_taps_list(&plan, &sizes, stop_at_last, &all));
    assert_true(all.count > 100);
    for (size_t last = 1; last <= all.count; last++) {
        stopping s = {0, last};
        assert_false(llava_taps_list(&plan, &sizes, stop_at_last, &s));
        assert_int_equal(s.count, last);
    }
    llava_inputs_free(&in);
}

static bool count_last_layer(void *self, const llava_tap *tap)
{
    size_t *count = self;
    *count += strncmp(tap->name, "vision.layers.2.", 16) == 0;
    return true;
}

/* The tower's last layer is behind the chosen one: listed only where taps are named. */
static void tower_layers_behind_the_chosen_one_are_there_by_name_only(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(1, 12, 1);
    const tiny_how how = {.storage = LLAVA_F64};
    llava_plan plan = tiny_plan(&model, &how);
    llava_tap_sizes sizes = tiny_sizes(&plan, &in, &how);
    size_t count = 0;
    assert_true(llava_taps_list(&plan, &sizes, count_last_layer, &count) && count == 0);
    sizes.all_vision_layers = true;
    assert_true(llava_taps_list(&plan, &sizes, count_last_layer, &count) && count > 10);
    sizes.vision_layers_there = 0; /* a checkpoint that was cut behind the chosen layer */
    count = 0;
    assert_true(llava_taps_list(&plan, &sizes, count_last_layer, &count) && count == 0);
    llava_inputs_free(&in);
}

static void every_kind_is_described(void **state)
{
    (void)state;
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    assert_true(count > 50);
    for (size_t i = 0; i < count; i++) {
        assert_true(strlen(kinds[i].formula) > 5 && strchr(kinds[i].formula, '\n') == NULL);
        assert_true(strlen(kinds[i].source) > 5);
        assert_true(i == 0 || kinds[i].at >= kinds[i - 1].at); /* in the order of the flow */
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(kinds[i].name, kinds[k].name);
        }
    }
}

/* ---- one tap alone -----------------------------------------------------------------------------
 */

static void one_tap_alone_has_the_full_runs_bits(void **state)
{
    (void)state;
    static tiny_taps all, one;
    for (size_t i = 0; i < SCENES; i++) {
        llava_inputs in = scene_inputs(&scenes[i]);
        all = (tiny_taps){0};
        tiny_run(&model, &in, &scenes[i].how, &all);
        for (size_t k = 0; k < all.count; k++) {
            one = (tiny_taps){.only = all.taps[k].name};
            tiny_run(&model, &in, &scenes[i].how, &one);
            if (one.count != 1 || !tiny_same(&one.taps[0], &all.taps[k])) {
                fail_msg("%s: %s alone is another", scenes[i].name, all.taps[k].name);
            }
            tiny_free(&one);
        }
        tiny_free(&all);
        llava_inputs_free(&in);
    }
}

/* The parts that `only` makes a forward pass of a picture with text compute. */
static llava_goal goal_of(const char *only, size_t generate, llava_goal *step)
{
    static tiny_taps taps;
    llava_inputs in = tiny_inputs(1, 12, 1);
    const tiny_how how = {.storage = LLAVA_F64, .generate = generate};
    llava_plan plan = tiny_plan(&model, &how);
    llava_tap_sizes sizes = tiny_sizes(&plan, &in, &how);
    sizes.labels = generate == 0;
    sizes.all_vision_layers = true;
    llava_goal goal = {.last_logits = generate > 0};
    *step = (llava_goal){0};
    taps = (tiny_taps){.only = only};
    llava_sink sink = tiny_sink(&taps);
    llava_taps_goal(&plan, &sizes, only == NULL ? NULL : &sink, &goal, step);
    llava_inputs_free(&in);
    return goal;
}

/* "vision 2 features projector embed merge rope text 1 norm last all loss" of what is set. */
static const char *goal_text(const llava_goal *g)
{
    static char text[128];
    size_t at = 0;
    const struct {
        bool set;
        const char *word;
        size_t layers;
    } parts[] = {
        {g->vision, "vision", g->vision_layers},
        {g->features, "features", 0},
        {g->projector, "projector", 0},
        {g->embed, "embed", 0},
        {g->merge, "merge", 0},
        {g->rope, "rope", 0},
        {g->text, "text", g->text_layers},
        {g->norm, "norm", 0},
        {g->last_logits, "last", 0},
        {g->all_logits, "all", 0},
        {g->loss, "loss", 0},
    };
    text[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].set) {
            at += (size_t)snprintf(text + at, sizeof text - at, at == 0 ? "%s" : " %s",
                                   parts[i].word);
        }
        if (parts[i].set && parts[i].layers > 0) {
            at += (size_t)snprintf(text + at, sizeof text - at, " %zu", parts[i].layers);
        }
    }
    return text;
}

static void goal_is_what_a_tap_needs_and_no_more(void **state)
{
    (void)state;
    static const char whole[] = "vision features projector embed merge rope text 2 norm";
    char with[128];
    const struct {
        const char *only, *goal;
    } cases[] = {
        {"nothing", ""},
        {"pixel_values", ""},
        {"position_ids", ""},
        {"vision.patch_embed", "vision"},
        {"vision.pre_norm", "vision"},
        {"vision.layers.0.norm1", "vision 1"},
        {"vision.layers.1.attn.probs", "vision 2"},
        {"vision.layers.2.output", "vision 3"},
        {"vision.features", "vision features"},
        {"projector.fc1", "vision features projector"},
        {"text.embed", "embed"},
        {"text.inputs_embeds", "vision features projector embed merge"},
        {"text.rope.sin", "rope"},
        {"text.layers.0.mlp.up", "vision features projector embed merge rope text 1"},
        {"text.layers.1.output", "vision features projector embed merge rope text 2"},
        {"text.norm", whole},
    };
    llava_goal goal, step;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        goal = goal_of(cases[i].only, 0, &step);
        assert_string_equal(goal_text(&goal), cases[i].goal);
        assert_string_equal(goal_text(&step), "");
    }
    goal = goal_of("logits", 0, &step);
    snprintf(with, sizeof with, "%s all", whole);
    assert_string_equal(goal_text(&goal), with);
    goal = goal_of("loss", 0, &step);
    snprintf(with, sizeof with, "%s all loss", whole);
    assert_string_equal(goal_text(&goal), with);
    /* a decoding step always goes to its logits, and never looks at a picture */
    const char *generating[] = {NULL, "generated_ids", "step.2.logits"};
    for (size_t i = 0; i < 3; i++) {
        goal = goal_of(generating[i], 4, &step);
        snprintf(with, sizeof with, "%s last", whole);
        assert_string_equal(goal_text(&goal), with);
        assert_string_equal(goal_text(&step), "embed merge rope text 2 norm all");
    }
}

/* What is not needed is not merely left out of the goal: its taps are never asked for. */
static void run_stops_behind_the_last_wanted_tap(void **state)
{
    (void)state;
    static tiny_taps taps;
    const struct {
        const char *only, *never, *surely; /* NULL: nothing at all */
    } cases[] = {
        {"text.embed", "vision.", "text.embed"},
        {"text.embed", "projector.", "text.embed"},
        {"text.embed", "text.inputs_embeds", "text.embed"},
        {"vision.layers.0.resid1", "vision.layers.1.", "vision.layers.0."},
        {"vision.layers.1.attn.q", "vision.layers.2.", "vision.layers.1."},
        {"vision.layers.1.attn.q", "vision.features", "vision.layers.1."},
        {"vision.features", "projector.", "vision.features"},
        {"projector.out", "text.", "projector."},
        {"text.rope.cos", "text.layers.", "text.rope."},
        {"text.rope.cos", "vision.", "text.rope."},
        {"text.layers.0.norm1", "text.layers.1.", "text.layers.0."},
        {"text.layers.1.output", "text.norm", "text.layers.1."},
        {"text.norm", "logits", "text.norm"},
    };
    llava_inputs in = tiny_inputs(1, 12, 1);
    const tiny_how how = {.storage = LLAVA_F64};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        taps = (tiny_taps){.only = cases[i].only, .watch = cases[i].never};
        tiny_run(&model, &in, &how, &taps);
        assert_int_equal(taps.watched, 0);
        tiny_free(&taps);
        taps = (tiny_taps){.only = cases[i].only, .watch = cases[i].surely};
        tiny_run(&model, &in, &how, &taps);
        assert_true(taps.watched > 0);
        tiny_free(&taps);
    }
    llava_inputs_free(&in);
}

/* Ids, positions and rotary tables need no weights: none are opened here. */
static void taps_before_the_weights_need_none(void **state)
{
    (void)state;
    static tiny_taps taps;
    const char *names[] = {"pixel_values", "input_ids", "attention_mask", "position_ids",
                           "text.rope.cos"};
    tiny_model without = model;
    without.weights = NULL;
    llava_inputs in = tiny_inputs(1, 12, 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        taps = (tiny_taps){.only = names[i]};
        tiny_run(&without, &in, &(tiny_how){.storage = LLAVA_F64}, &taps);
        assert_int_equal(taps.count, 1);
        tiny_free(&taps);
    }
    llava_inputs_free(&in);
}

static void a_name_is_found_where_its_numbers_are_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t step, layer;
        bool found;
    } cases[] = {
        {"logits", 0, 0, true},
        {"step.12.logits", 12, 0, true},
        {"step.999999999.logits", 999999999, 0, true},
        {"step.1234567890.logits", 0, 0, false},
        {"step.0.logits", 0, 0, false},
        {"step.01.logits", 0, 0, false},
        {"step.x.logits", 0, 0, false},
        {"step.:.logits", 0, 0, false},
        {"step.1logits", 0, 0, false},
        {"step.1.pixel_values", 0, 0, false},
        {"image.rgb", 0, 0, true},
        {"image.3.rgb", 0, 3, true},
        {"image.0.rgb", 0, 0, false},
        {"image.03.rgb", 0, 0, false},
        {"image.3rgb", 0, 0, false},
        {"image.3.rgbs", 0, 0, false},
        {"image..rgb", 0, 0, false},
        {"step.2.text.layers.0.attn.q", 2, 0, true},
        {"text.layers.17.attn.q", 0, 17, true},
        {"text.layers.017.attn.q", 0, 0, false},
        {"text.layers.1~.attn.q", 0, 0, false},
        {"text.layers.{i}.attn.q", 0, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llava_tap_place place;
        bool found = llava_tap_find(cases[i].name, &place);
        if (found != cases[i].found ||
            (found && (place.step != cases[i].step || place.layer != cases[i].layer))) {
            fail_msg("%s: %d, step %zu, layer %zu", cases[i].name, found, place.step, place.layer);
        }
    }
}

/* ---- a sink may change a tap -------------------------------------------------------------------
 */

/* Does any tap behind number k differ? */
static bool differs_behind(const tiny_taps *a, const tiny_taps *b, size_t k)
{
    bool same = true;
    for (size_t i = k + 1; same && i < a->count; i++) {
        same = tiny_same(&a->taps[i], &b->taps[i]);
    }
    return !same;
}

/* Diagnosis puts a port's tensor in the place of ours: what follows must come from it. */
static void what_follows_is_computed_from_what_the_sink_left(void **state)
{
    (void)state;
    static tiny_taps all, changed;
    llava_error e;
    for (size_t i = 0; i < SCENES; i++) {
        bool one_pass = scenes[i].labels && scenes[i].how.storage == LLAVA_F64;
        if (!one_pass && !scenes[i].embeds && scenes[i].how.generate < 2) {
            continue; /* the others hold nothing that these have not */
        }
        llava_inputs in = scene_inputs(&scenes[i]);
        all = (tiny_taps){0};
        tiny_run(&model, &in, &scenes[i].how, &all);
        llava_inputs_free(&in);
        for (size_t k = 0; k + 1 < all.count; k++) {
            const char *name = all.taps[k].name;
            in = scene_inputs(&scenes[i]); /* the taps of the inputs are the inputs */
            changed = (tiny_taps){.clear = name};
            if (!tiny_try(&model, &in, &scenes[i].how, &changed, &e)) {
                support_says(&e, "0 image tokens"); /* cleared with the ids */
            } else if (!differs_behind(&all, &changed, k)) {
                fail_msg("%s: nothing follows from %s", scenes[i].name, name);
            }
            for (size_t before = 0; before <= k; before++) {
                assert_true(tiny_same(&changed.taps[before], &all.taps[before]));
            }
            tiny_free(&changed);
            llava_inputs_free(&in);
        }
        tiny_free(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_is_what_a_run_puts_out),
        cmocka_unit_test(list_stops_where_the_caller_does),
        cmocka_unit_test(tower_layers_behind_the_chosen_one_are_there_by_name_only),
        cmocka_unit_test(every_kind_is_described),
        cmocka_unit_test(one_tap_alone_has_the_full_runs_bits),
        cmocka_unit_test(goal_is_what_a_tap_needs_and_no_more),
        cmocka_unit_test(run_stops_behind_the_last_wanted_tap),
        cmocka_unit_test(taps_before_the_weights_need_none),
        cmocka_unit_test(a_name_is_found_where_its_numbers_are_numbers),
        cmocka_unit_test(what_follows_is_computed_from_what_the_sink_left),
    };
    return cmocka_run_group_tests_name("taps", tests, set_up, tear_down);
}
