/* Spans: what a tap is computed from, given what a port supplies, and where a replay of it begins.
 */
#include "memory.h"
#include "program.h"
#include "tools/span_goal.h"
#include "tools/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    char model[128], inputs[128];
    llava_request request;
    llava_session session;
    llava_port *port;
} scene;

/* The model of a golden case, and a port of what program_write_inputs makes; in its tensors called
 * part.TAP the last row alone was computed. */
static void open_port(scene *s, const char *name, const char *members)
{
    support_folder folder = support_folder_new();
    llava_error e;
    *s = (scene){.request = {.model = s->model, .inputs = s->inputs}};
    snprintf(s->model, sizeof s->model, "golden/%s/model", name);
    snprintf(s->inputs, sizeof s->inputs, "golden/%s/inputs.npz", name);
    program_write_inputs(&folder, "port.npz", members);
    support_write_text(&folder, "map.json",
                       "{\"part.text.layers.{i}.output\": {\"tap\": \"text.layers.{i}.output\", "
                       "\"rows\": \"last\"}}");
    const char *map = strstr(members, "part.") == NULL ? NULL : support_path(&folder, "map.json");
    if (!llava_session_open(&s->session, &s->request, &e) ||
        !llava_port_open(&s->port, support_path(&folder, "port.npz"), map, &s->session.plan, &e)) {
        fail_msg("%s", e.text);
    }
    support_folder_remove(&folder);
}

/* A port of these taps, each [1,1,1]; or two rows of 20, where one of them is called part.TAP. */
static void open_case(scene *s, const char *name, const char *taps)
{
    bool rows = strstr(taps, "part.") != NULL;
    char text[1024] = "", copy[512];
    snprintf(text, sizeof text, "%s", rows ? "input_ids <i8 [1,2] 1 1" : "");
    snprintf(copy, sizeof copy, "%s", taps);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s <f8 %s", n == 0 ? "" : "; ", word,
                 rows ? "[1,2,20] 1*40" : "[1,1,1] 1");
    }
    open_port(s, name, text);
}

static void open_scene(scene *s, const char *taps)
{
    open_case(s, "plain", taps);
}

static void close_scene(scene *s)
{
    llava_port_close(s->port);
    llava_session_close(&s->session);
}

static llava_span span_of(scene *s, const char *tap)
{
    llava_span span;
    llava_error e;
    if (!llava_span_find(&span, tap, s->port, &s->session.plan, &e)) {
        fail_msg("%s: %s", tap, e.text);
    }
    return span;
}

static llava_replay_spec spec_of(scene *s)
{
    return (llava_replay_spec){.session = &s->session,
                               .inputs = &s->session.inputs,
                               .plan = &s->session.plan,
                               .port = s->port};
}

static void a_span_ends_at_what_the_port_supplies(void **state)
{
    (void)state;
    static const struct {
        const char *port, *tap, *from;
    } rows[] = {
        {"logits", "logits", "pixel_values input_ids position_ids"},
        {"text.norm", "logits", "text.norm"},
        {"text.layers.0.attn.q text.layers.0.attn.k", "text.layers.0.attn.scores",
         "position_ids text.layers.0.attn.q text.layers.0.attn.k"},
        {"image.rgb image.padded", "image.resized", "image.padded"},
        {"image.7.rgb", "image.7.resized", "image.7.rgb"},
        {"logits", "generated_ids", "logits"},
        {"vision.features", "projector.out", "vision.features"},
        {"projector.out text.embed", "text.inputs_embeds", "input_ids projector.out text.embed"},
        {"step.1.text.norm", "step.1.logits", "step.1.text.norm"},
        /* a step's keys and values are also those of the passes before it */
        {"step.1.text.layers.0.attn.q_rope step.1.text.layers.0.attn.k_rope",
         "step.1.text.layers.0.attn.scores",
         "pixel_values input_ids position_ids step.1.text.layers.0.attn.q_rope "
         "step.1.text.layers.0.attn.k_rope"},
        {"text.layers.0.attn.k_rope step.2.text.layers.0.attn.q_rope "
         "step.2.text.layers.0.attn.k_rope step.1.text.inputs_embeds",
         "step.2.text.layers.0.attn.scores",
         "text.layers.0.attn.k_rope step.1.position_ids step.1.text.inputs_embeds "
         "step.2.text.layers.0.attn.q_rope step.2.text.layers.0.attn.k_rope"},
        {"text.layers.0.attn.v step.1.text.layers.0.attn.v step.2.text.layers.0.attn.v "
         "step.2.text.layers.0.attn.probs",
         "step.2.text.layers.0.attn.context",
         "text.layers.0.attn.v step.1.text.layers.0.attn.v step.2.text.layers.0.attn.v "
         "step.2.text.layers.0.attn.probs"},
        {"step.1.text.embed projector.out", "step.1.text.inputs_embeds",
         "input_ids step.1.text.embed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scene s;
        char from[512] = "";
        open_scene(&s, rows[i].port);
        llava_span span = span_of(&s, rows[i].tap);
        for (size_t k = 0; k < span.from_count; k++) {
            size_t n = strlen(from);
            snprintf(from + n, sizeof from - n, "%s%s", n == 0 ? "" : " ", span.from[k]);
        }
        assert_string_equal(from, rows[i].from);
        llava_span_free(&span);
        close_scene(&s);
    }
}

static void what_is_no_tap_of_the_model_has_no_span(void **state)
{
    (void)state;
    static const char *const taps[] = {"no.tap", "text.layers.99.norm1", "vision.layers.99.norm1"};
    scene s;
    open_scene(&s, "logits");
    for (size_t i = 0; i < sizeof taps / sizeof taps[0]; i++) {
        llava_span span;
        llava_error e;
        assert_false(llava_span_find(&span, taps[i], s.port, &s.session.plan, &e));
        support_says(&e, "no tap of this model");
        assert_null(span.from);
    }
    close_scene(&s);
}

static void check_start(const char *name, const char *port, const char *tap, const char *expected)
{
    scene s;
    llava_goal goal;
    char start[LLAVA_TAP_NAME];
    open_case(&s, name, port);
    llava_span span = span_of(&s, tap);
    llava_replay_spec spec = spec_of(&s);
    llava_span_goal(&spec, &span, &goal);
    llava_goal_start(&goal, start);
    assert_string_equal(start, expected);
    assert_true(llava_goal_begins_with(&goal, expected));
    llava_span_free(&span);
    close_scene(&s);
}

/* A replay begins at the nearest whole tensor before everything inside. */
static void a_replay_begins_as_late_as_it_can(void **state)
{
    (void)state;
    static const struct {
        const char *port, *tap, *start;
    } rows[] = {
        {"logits", "logits", ""},
        {"text.layers.1.output", "logits", "text.layers.1.output"},
        {"text.layers.0.output", "logits", "text.layers.0.output"},
        {"text.inputs_embeds", "logits", "text.inputs_embeds"},
        {"projector.out", "logits", "projector.out"},
        {"vision.features", "logits", "vision.features"},
        {"vision.layers.0.output", "logits", "vision.layers.0.output"},
        {"vision.features", "projector.act", "vision.features"},
        {"projector.out text.embed", "text.inputs_embeds", "projector.out"},
        {"vision.layers.0.output", "vision.layers.1.output", "vision.layers.0.output"},
        {"vision.layers.0.norm2", "vision.layers.0.output", ""},
        {"text.layers.1.norm1 text.layers.0.output", "text.layers.1.output",
         "text.layers.0.output"},
        {"text.layers.0.norm1 text.inputs_embeds", "text.layers.0.attn.q", "text.inputs_embeds"},
        {"step.1.text.norm", "step.1.logits", ""},
        {"text.norm", "logits", "text.layers.1.output"},
        {"vision.embed", "vision.pre_norm", ""},
        {"vision.layers.0.output", "vision.features", "vision.layers.0.output"},
        {"vision.layers.0.resid1", "vision.features", ""},
        /* not with what was computed in part, but before it */
        {"part.text.layers.1.output text.layers.0.output", "logits", "text.layers.0.output"},
        {"part.text.layers.0.output text.inputs_embeds", "text.layers.1.output",
         "text.inputs_embeds"},
        {"part.text.layers.0.output projector.out", "text.layers.1.output", "projector.out"},
        {"part.text.layers.0.output vision.features", "text.layers.1.output", "vision.features"},
        {"part.text.layers.0.output vision.layers.0.output", "text.layers.1.output",
         "vision.layers.0.output"},
        {"part.text.layers.0.output", "text.layers.1.output", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_start("plain", rows[i].port, rows[i].tap, rows[i].start);
    }
    /* without pictures there is no tower to be passed over */
    check_start("text-only", "projector.out", "text.norm", "");
    check_start("text-only", "text.inputs_embeds", "text.norm", "text.inputs_embeds");
    /* features of the pixels' embedding, and of layers behind it */
    check_start("feature-layers", "vision.layers.1.output", "vision.features", "");
}

/* Where the ids do not go with the pictures: the tower from its pixels, the language model from its
 * first hidden state that is there, in the shape that the ids ask for. */
static void a_part_begins_with_what_it_has(void **state)
{
    (void)state;
    static const struct {
        const char *port;
        int part;
        const char *start; /* NULL: the part cannot be replayed */
    } rows[] = {
        {"vision.features <f8 [1,9,18] 1*162", 0, ""},
        {"logits <f8 [1,18,61] 1*1098", 0, NULL},
        {"vision.features <f8 [1,9,18] 1*162", 1, NULL},
        {"text.inputs_embeds <f8 [1,18,20] 1*360; text.layers.1.output <f8 [1,18,20] 1*360", 1,
         "text.inputs_embeds"},
        {"text.layers.1.output <f8 [1,18,20] 1*360", 1, "text.layers.1.output"},
        {"text.layers.1.output <i8 [1,18,20] 1*360", 1, NULL},
        {"text.layers.1.output <f8 [18,20] 1*360", 1, NULL},
        {"text.layers.1.output <f8 [2,18,20] 1*720", 1, NULL},
        {"text.layers.1.output <f8 [1,17,20] 1*340", 1, NULL},
        {"text.layers.1.output <f8 [1,18,19] 1*342", 1, NULL},
        {"input_ids <i8 [1,18] 1*18; part.text.layers.1.output <f8 [1,18,20] 1*360", 1, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scene s;
        llava_goal goal;
        char start[LLAVA_TAP_NAME];
        open_port(&s, "plain", rows[i].port);
        llava_replay_spec spec = spec_of(&s);
        assert_int_equal(llava_part_goal(&spec, rows[i].part, &goal), rows[i].start != NULL);
        if (rows[i].start != NULL) {
            llava_goal_start(&goal, start);
            assert_string_equal(start, rows[i].start);
        }
        assert_false(goal.last_logits);
        spec.generates = true;
        spec.tokens = 2;
        llava_part_goal(&spec, rows[i].part, &goal);
        assert_int_equal(goal.last_logits, rows[i].part == 1);
        close_scene(&s);
    }
}

/* ---- a replay in a child
 * ------------------------------------------------------------------------------ */

static void open_replay(scene *s, llava_replay **replay, const llava_plan *plan)
{
    llava_error e;
    open_port(s, "plain", "vision.features <f8 [1,9,18] 1*162; logits <f8 [1,18,61] 0*1098");
    llava_replay_spec spec = spec_of(s);
    llava_goal goal;
    spec.plan = plan == NULL ? spec.plan : plan;
    llava_span span = span_of(s, "vision.features");
    llava_span_goal_onward(&spec, &span, &goal);
    llava_span_free(&span);
    if (!llava_session_weights(&s->session, &e) || !llava_replay_start(replay, &spec, &goal, &e)) {
        fail_msg("%s", e.text);
    }
}

static void a_child_hands_over_its_taps(void **state)
{
    (void)state;
    scene s;
    llava_replay *replay;
    llava_tap tap;
    llava_error e;
    bool end;
    static double x[18 * 61 + 1];
    open_replay(&s, &replay, NULL);
    assert_true(llava_replay_next(replay, &tap, &end, &e) && !end);
    assert_string_equal(tap.name, "vision.features");
    assert_true(tap.rank == 3 && tap.shape[1] == 9 && tap.shape[2] == 18);
    assert_true(llava_replay_read(replay, x, 5, &e));
    assert_false(llava_replay_read(replay, x, 158, &e));
    support_says(&e, "vision.features: elements beyond the end");
    assert_true(llava_replay_next(replay, &tap, &end, &e) && !end); /* the rest is passed over */
    assert_string_equal(tap.name, "logits");
    assert_true(llava_replay_read(replay, x, 1098, &e));
    assert_false(llava_replay_read(replay, x, 1, &e));
    assert_true(llava_replay_next(replay, &tap, &end, &e) && end);
    assert_false(llava_replay_next(replay, &tap, &end, &e)); /* it has ended */
    support_says(&e, "the replaying process died");
    llava_replay_stop(replay);
    close_scene(&s);
}

static void what_stops_a_child_is_said_here(void **state)
{
    (void)state;
    scene s;
    llava_replay *replay;
    llava_tap tap;
    llava_error e;
    bool end;
    open_scene(&s, "logits");
    llava_plan deeper = s.session.plan;
    close_scene(&s);
    deeper.text.layers = 3; /* of which the weights have two */
    open_replay(&s, &replay, &deeper);
    assert_true(llava_replay_next(replay, &tap, &end, &e) && !end);
    assert_false(llava_replay_next(replay, &tap, &end, &e));
    assert_false(end);
    support_says(&e, "layers.2");
    llava_replay_stop(replay);
    close_scene(&s);
}

typedef struct {
    scene *scene;
    const char *tap;
} finding;

static bool find(void *self, llava_error *e)
{
    const finding *f = self;
    llava_span span;
    if (!llava_span_find(&span, f->tap, f->scene->port, &f->scene->session.plan, e)) {
        return false;
    }
    llava_span_free(&span);
    return true;
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    scene s;
    open_scene(&s, "image.rgb image.padded vision.layers.0.output text.layers.0.output");
    static const char *const taps[] = {"logits",          "text.layers.0.output",
                                       "vision.features", "pixel_values",
                                       "image.resized",   "step.2.text.layers.0.attn.scores"};
    for (size_t i = 0; i < sizeof taps / sizeof taps[0]; i++) {
        finding f = {&s, taps[i]};
        assert_true(memory_runs_out(find, &f) > 1);
    }
    close_scene(&s);
}

/* By what a rounding's ties may leave of the logits, and by more draws. */
static bool raise_noise(void *self, llava_error *e)
{
    scene *s = self;
    llava_choices base = {.value = {[LLAVA_NUMERICS_MATMUL_INPUT] = 2}}; /* bf16 */
    llava_counting counting = {0};
    llava_judged judged = {.name = NULL};
    llava_trial trial = {
        .spec = spec_of(s), .counting = &counting, .base = &base, .type = LLAVA_F32};
    trial.spec.forced = true;
    llava_span span;
    if (!llava_span_find(&span, "logits", s->port, &s->session.plan, e)) {
        return false;
    }
    bool ok = llava_trial_allow_ties(&trial, &span, &judged, e) &&
              llava_trial_average_noise(&trial, &span, LLAVA_F32, false, 1, &judged, e);
    llava_span_free(&span);
    assert_true(!ok || judged.noise > 0);
    return ok;
}

/* Logits beyond float16 are infinite in such a port and finite in the reference: no size of noise.
 */
static void what_overflows_raises_no_noise(void **state)
{
    (void)state;
    scene s;
    llava_error e;
    llava_span span;
    llava_choices base = {.value = {0}};
    llava_counting counting = {0};
    open_port(&s, "text-only", "text.norm <f8 [1,12,20] 64000*240; logits <f8 [1,12,61] 1*732");
    assert_true(llava_session_weights(&s.session, &e));
    llava_trial trial = {.spec = spec_of(&s), .counting = &counting, .base = &base};
    trial.spec.forced = true;
    assert_true(llava_span_find(&span, "logits", s.port, &s.session.plan, &e));
    for (llava_dtype type = LLAVA_F32; type <= LLAVA_F16; type++) {
        llava_judged judged = {.name = NULL};
        trial.type = type;
        assert_true(llava_trial_average_noise(&trial, &span, type, false, 1, &judged, &e));
        assert_true((judged.noise > 0) == (type == LLAVA_F32));
    }
    llava_span_free(&span);
    close_scene(&s);
}

static void memory_that_runs_out_is_no_small_noise(void **state)
{
    (void)state;
    scene s;
    llava_error e;
    open_port(&s, "text-only",
              "text.norm <f8 [1,12,20] 1.01 -3.3*7 5.1*220 7.7*12; logits <f8 [1,12,61] 1*732");
    assert_true(llava_session_weights(&s.session, &e));
    assert_true(memory_runs_out(raise_noise, &s) > 100);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_ends_at_what_the_port_supplies),
        cmocka_unit_test(what_is_no_tap_of_the_model_has_no_span),
        cmocka_unit_test(a_replay_begins_as_late_as_it_can),
        cmocka_unit_test(a_part_begins_with_what_it_has),
        cmocka_unit_test(a_child_hands_over_its_taps),
        cmocka_unit_test(what_stops_a_child_is_said_here),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(what_overflows_raises_no_noise),
        cmocka_unit_test(memory_that_runs_out_is_no_small_noise),
    };
    return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}
