/* Progress: what is said of the time left, and how much of a run lies before each tap. What a
 * terminal shows of it is tried on one in tools/check_manners.py. */
#include "ref/taps.h"
#include "tests/golden_case.h"
#include "tests/program.h"
#include "tools/progress.h"
#include "tools/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void durations_are_for_people(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } rows[] = {
        {0, "0 s"},          {0.4, "0 s"},        {59.4, "59 s"},      {59.6, "1 min 0 s"},
        {190, "3 min 10 s"}, {3600, "1 h 0 min"}, {7500, "2 h 5 min"}, {1e30, "99 h 59 min"},
    };
    char text[LLAVA_DURATION];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(llava_duration(rows[i].seconds, text), rows[i].text);
    }
}

typedef struct {
    const llava_work *work;
    double last;
    size_t count, rises;
} rising;

static bool look(void *self, const llava_tap *tap)
{
    rising *r = self;
    double before = llava_work_before(r->work, tap->name, 0);
    if (!(before >= r->last) || !(before <= 1)) {
        fail_msg("%s: %g behind %g", tap->name, before, r->last);
    }
    r->rises += before > r->last;
    r->last = before;
    r->count++;
    return true;
}

/* In the order of the flow, from nothing to nearly all. */
static void what_lies_before_a_tap_grows_with_the_flow(void **state)
{
    static const struct {
        const char *model, *inputs;
        size_t generate;
    } rows[] = {
        {"golden/plain/model", "golden/plain/inputs.npz", 0},
        {"golden/generate/model", "golden/generate/inputs.npz", 5},
        {"golden/pixtral/model", "golden/pixtral/inputs.npz", 0},
        {"golden/siglip/model", "golden/siglip/inputs.npz", 0},
        {"golden/text-only/model", "golden/text-only/inputs.npz", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_request q = {
            .model = rows[i].model, .inputs = rows[i].inputs, .generate = rows[i].generate};
        llava_session s;
        llava_error e;
        if (!llava_session_open(&s, &q, &e)) {
            fail_msg("%s", e.text);
        }
        llava_tap_sizes sizes = llava_session_sizes(&s, false);
        llava_work work = llava_work_of(&s.plan, &s.inputs, NULL, 0, sizes.steps);
        rising r = {.work = &work};
        assert_true(llava_taps_list(&s.plan, &sizes, look, &r));
        assert_true(r.count > 20 && r.rises > r.count / 3 && r.last > 0.5);
        llava_session_close(&s);
    }
}

/* A goal that stops early is all of the work; chunks of a prompt follow each other. */
static void a_part_of_a_run_is_a_whole(void **state)
{
    (void)state;
    llava_request q = {.model = "golden/plain/model", .inputs = "golden/plain/inputs.npz"};
    llava_session s;
    llava_error e;
    assert_true(llava_session_open(&s, &q, &e));
    llava_goal goal = {.vision = true, .vision_layers = 2};
    llava_work work = llava_work_of(&s.plan, &s.inputs, &goal, 0, 0);
    double before = llava_work_before(&work, "vision.layers.1.norm1", 0);
    assert_true(before > 0.49 && before < 0.51);
    assert_true(llava_work_before(&work, "vision.features", 0) == 1);
    work = llava_work_of(&s.plan, &s.inputs, NULL, 5, 0);
    assert_int_equal(work.passes, (s.inputs.length + 4) / 5);
    for (size_t pass = 0; pass + 1 < work.passes; pass++) {
        double here = llava_work_before(&work, "text.layers.1.norm1", pass);
        double next = llava_work_before(&work, "text.layers.0.norm1", pass + 1);
        assert_true(here < next);
    }
    llava_session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_for_people),
        cmocka_unit_test(what_lies_before_a_tap_grows_with_the_flow),
        cmocka_unit_test(a_part_of_a_run_is_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
