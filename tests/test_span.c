/* Spans: what a tap is computed from, given what a port supplies, and where a replay of it begins.
 */
#include "memory.h"
#include "program.h"
#include "tools/span_goal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    llava_request request;
    llava_session session;
    llava_port *port;
} scene;

/* golden/plain's model and a port of these taps, each [1,1,1]. */
static void open_scene(scene *s, const char *taps)
{
    support_folder folder = support_folder_new();
    char text[1024] = "", copy[512];
    llava_error e;
    *s = (scene){.request = {.model = "golden/plain/model", .inputs = "golden/plain/inputs.npz"}};
    snprintf(copy, sizeof copy, "%s", taps);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s <f8 [1,1,1] 1", n == 0 ? "" : "; ", word);
    }
    program_write_inputs(&folder, "port.npz", text);
    if (!llava_session_open(&s->session, &s->request, &e) ||
        !llava_port_open(&s->port, support_path(&folder, "port.npz"), NULL, &s->session.plan, &e)) {
        fail_msg("%s", e.text);
    }
    support_folder_remove(&folder);
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
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scene s;
        llava_goal goal;
        char start[LLAVA_TAP_NAME];
        open_scene(&s, rows[i].port);
        llava_span span = span_of(&s, rows[i].tap);
        llava_replay_spec spec = spec_of(&s);
        llava_span_goal(&spec, &span, &goal);
        llava_goal_start(&goal, start);
        assert_string_equal(start, rows[i].start);
        assert_true(llava_goal_begins_with(&goal, rows[i].start));
        llava_span_free(&span);
        close_scene(&s);
    }
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
    static const char *const taps[] = {"logits", "text.layers.0.output", "vision.features",
                                       "pixel_values", "image.resized"};
    for (size_t i = 0; i < sizeof taps / sizeof taps[0]; i++) {
        finding f = {&s, taps[i]};
        assert_true(memory_runs_out(find, &f) > 1);
    }
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_ends_at_what_the_port_supplies),
        cmocka_unit_test(what_is_no_tap_of_the_model_has_no_span),
        cmocka_unit_test(a_replay_begins_as_late_as_it_can),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}
