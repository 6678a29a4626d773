/* What every stage works with, at its ends: names that are too long, sizes that wrap, memory that
 * runs out at any point of any kind of run. */
#include "memory.h"
#include "tiny.h"
#include "tools/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool wants_all(void *self, const char *name)
{
    size_t *asked = self;
    (void)name;
    ++*asked;
    return true;
}

static bool take_none(void *self, const llava_tap *tap, llava_error *e)
{
    (void)self;
    return llava_fail(e, "%s is not taken", tap->name);
}

static void names_that_do_not_fit_are_no_taps(void **state)
{
    (void)state;
    char longest[LLAVA_TAP_NAME], longer[LLAVA_TAP_NAME + 1];
    memset(longest, 'n', sizeof longest - 1);
    memset(longer, 'n', sizeof longer - 1);
    longest[sizeof longest - 1] = longer[sizeof longer - 1] = '\0';
    size_t asked = 0;
    llava_error e;
    llava_plan plan = {0};
    llava_sink sink = {wants_all, take_none, &asked};
    llava_run r = {.plan = &plan, .sink = &sink, .prefix = "", .error = &e};
    double x[] = {1};
    llava_shape one = {1, {1}};
    assert_true(llava_wanted(&r, "%s", longest));
    assert_false(llava_wanted(&r, "%s", longer));
    assert_int_equal(asked, 1);
    assert_false(llava_put(&r, x, one, "%s", longest));
    support_says(&e, " is not taken");
    assert_false(llava_put(&r, x, one, "%s", longer));
    support_says(&e, "the tap's name is too long");
    assert_false(llava_put_typed(&r, LLAVA_F64, x, one, longer));
    support_says(&e, "the tap's name is too long");
    r.prefix = longer; /* no room for any name */
    assert_false(llava_wanted(&r, "x"));
    assert_false(llava_put(&r, x, one, "x"));
    support_says(&e, "the tap's name is too long");
    r.prefix = longest;
    assert_false(llava_wanted(&r, "x"));
    assert_int_equal(asked, 2);
}

static void sizes_that_wrap_are_no_memory(void **state)
{
    (void)state;
    llava_error e;
    llava_run r = {.error = &e};
    const size_t rows[][2] = {{SIZE_MAX, 2}, {SIZE_MAX / 4, 1}, {SIZE_MAX / 8, 1}};
    for (size_t i = 0; i < 3; i++) {
        e.text[0] = '\0';
        assert_null(llava_scratch(&r, rows[i][0], rows[i][1]));
        assert_true(llava_out_of_memory(&e));
        assert_null(r.scratch);
    }
}

static void errors_are_written_where_there_is_a_place(void **state)
{
    (void)state;
    llava_error e, inner = {"out of memory (3 bytes)"};
    assert_false(llava_fail(NULL, "nobody listens"));
    assert_false(llava_fail_in(NULL, "nobody"));
    assert_false(llava_fail(&e, "%d is wrong", 7));
    assert_false(llava_fail_in(&e, "file"));
    assert_string_equal(e.text, "file: 7 is wrong");
    assert_true(llava_may_go_on(&e, &inner));
    assert_false(llava_may_go_on(&inner, &e));
    assert_string_equal(e.text, "out of memory (3 bytes)");
    char *p = llava_alloc(&e, 0, 8), *q = llava_alloc(&e, 8, 0);
    assert_true(p != NULL && q != NULL);
    p = llava_realloc(&e, p, 0, 8); /* still something to free */
    assert_non_null(p);
    assert_null(llava_realloc(&e, p, SIZE_MAX, 2));
    assert_true(llava_out_of_memory(&e));
    e.text[0] = '\0';
    assert_null(llava_text(&e, "", SIZE_MAX));
    assert_true(llava_out_of_memory(&e));
    free(p);
    free(q);
}

/* ---- memory -------------------------------------------------------------------------------------
 */

/* A pass of a golden case's model over its inputs, all taps taken. */
typedef struct {
    llava_session session;
    llava_request request;
    llava_goal goal, step;
    size_t generate, chunk;
    size_t refused;     /* the sink takes no more than this many taps less one; 0: all */
    const char *unseen; /* taps whose names hold this are not wanted; NULL: all are */
} passing;

static bool wants_most(void *self, const char *name)
{
    const passing *p = self;
    return p->chunk == 0 && (p->unseen == NULL || strstr(name, p->unseen) == NULL);
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    passing *p = self;
    return p->refused == 0 || --p->refused > 0 || llava_fail(e, "%s is refused", tap->name);
}

static bool generate(passing *p, llava_run *r)
{
    const llava_session *s = &p->session;
    llava_answer answer;
    bool ok = llava_generate(r, &s->config, &p->goal, &p->step, &s->inputs, s->convention,
                             p->generate, &answer);
    if (ok) {
        llava_answer_free(&answer);
    }
    return ok;
}

static bool pass(void *self, llava_error *e)
{
    passing *p = self;
    const llava_session *s = &p->session;
    llava_sink sink = {wants_most, take, p};
    llava_run r = {.weights = s->weights,
                   .plan = &s->plan,
                   .sink = &sink,
                   .prefix = "",
                   .chunk = p->chunk,
                   .error = e};
    if (p->request.path == 1 && !llava_fast_open(&r.fast, LLAVA_F32, NULL, e)) {
        return false;
    }
    if (p->generate > 0) {
        bool ok = generate(p, &r);
        llava_fast_close(r.fast);
        return ok;
    }
    llava_outputs out;
    int64_t *positions = llava_alloc(e, s->inputs.batch * s->inputs.length, sizeof *positions);
    if (positions == NULL) {
        llava_fast_close(r.fast);
        return false;
    }
    llava_positions(&s->plan, &s->inputs, s->convention, positions);
    bool ok = llava_forward(&r, &p->goal, &s->inputs, positions, NULL, &out);
    free(positions);
    llava_fast_close(r.fast);
    if (ok) {
        llava_outputs_free(&out);
    }
    assert_null(r.scratch); /* everything is given back */
    return ok;
}

/* Opens a golden case's model, and a case's inputs. some: only the last row's logits. */
static void open_pass(passing *p, const char *name, const char *inputs_of, bool some)
{
    static char model[128], inputs[128];
    static bool wanted[256];
    static llava_some_rows only;
    llava_error e;
    snprintf(model, sizeof model, "golden/%s/model", name);
    snprintf(inputs, sizeof inputs, "golden/%s/inputs.npz", inputs_of);
    p->request.model = model;
    p->request.inputs = inputs;
    p->request.generate = p->generate;
    if (!llava_session_open(&p->session, &p->request, &e) ||
        !llava_session_weights(&p->session, &e)) {
        fail_msg("%s", e.text);
    }
    size_t count = p->session.inputs.batch * p->session.inputs.length;
    assert_in_range(count, 1, sizeof wanted);
    memset(wanted, 0, sizeof wanted);
    wanted[count - 1] = true;
    only = (llava_some_rows){wanted, count};
    llava_tap_sizes sizes = llava_session_sizes(&p->session, false);
    p->goal.last_logits = true;
    llava_sink all = {wants_most, take, p};
    llava_taps_goal(&p->session.plan, &sizes, &all, &p->goal, &p->step);
    p->goal.only = some ? &only : NULL;
}

static void memory_that_runs_out_ends_every_kind_of_run(void **state)
{
    (void)state;
    static const struct {
        const char *model, *inputs, *unseen;
        size_t generate, chunk;
        bool some, fast;
    } rows[] = {
        {"plain", "plain", NULL, 0, 0, false, false},
        {"plain", "plain", "attn.", 0, 0, true, false},
        {"plain", "mask-added", NULL, 0, 0, false, false},
        {"plain", "mask-added", "attn.", 0, 0, true, false},
        {"plain", "mask-packed", "attn.", 0, 0, true, false},
        {"labels", "labels", NULL, 0, 0, false, false},
        {"siglip", "siglip", NULL, 0, 0, false, false},
        {"pixtral", "pixtral", NULL, 0, 0, false, false},
        {"pixtral", "pixtral", "probs", 0, 0, false, false},
        {"generate", "generate", NULL, 2, 0, false, false},
        {"mistral-left", "mistral-left", NULL, 0, 3, false, false},
        {"rope-longrope-grows", "rope-longrope-grows", NULL, 4, 0, false, false},
        {"plain", "plain", NULL, 0, 0, true, true},
        {"siglip", "siglip", NULL, 0, 0, false, true},
        {"generate", "generate", NULL, 2, 0, false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        passing p = {.generate = rows[i].generate, .chunk = rows[i].chunk};
        p.request.path = rows[i].fast;
        p.request.dtype = rows[i].fast ? LLAVA_F32 : LLAVA_F64;
        p.unseen = rows[i].unseen;
        open_pass(&p, rows[i].model, rows[i].inputs, rows[i].some);
        assert_true(memory_runs_out(pass, &p) > 40);
        llava_session_close(&p.session);
    }
}

/* Without a mask generate() makes one, of the ids that are no padding. */
static void memory_that_runs_out_ends_an_inferred_mask(void **state)
{
    (void)state;
    passing p = {.generate = 2};
    open_pass(&p, "generate", "generate", false);
    free(p.session.inputs.attention_mask);
    p.session.inputs.attention_mask = NULL;
    p.session.config.pad_id = (long long)p.session.plan.text.vocab - 1;
    assert_true(memory_runs_out(pass, &p) > 40);
    llava_session_close(&p.session);
}

static void the_fast_path_refuses_numbers_that_are_added(void **state)
{
    (void)state;
    passing p = {.request = {.path = 1, .dtype = LLAVA_F32}};
    llava_error e = {""};
    open_pass(&p, "plain", "mask-added", false);
    assert_false(pass(&p, &e));
    support_says(&e, "--path fast: attention_mask: numbers to be added to the scores");
    llava_session_close(&p.session);
}

/* A full disk ends the run at whichever tap it comes. */
static void a_tap_that_is_refused_ends_every_kind_of_run(void **state)
{
    (void)state;
    static const struct {
        const char *model, *inputs, *unseen;
        size_t generate;
        bool fast;
    } rows[] = {
        {"plain", "plain", NULL, 0, false},      {"labels", "labels", NULL, 0, false},
        {"siglip", "siglip", NULL, 0, false},    {"pixtral", "pixtral", NULL, 0, false},
        {"plain", "mask-added", NULL, 0, false}, {"generate", "generate", "layers.1", 2, false},
        {"plain", "plain", NULL, 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        passing p = {.generate = rows[i].generate, .unseen = rows[i].unseen};
        p.request.path = rows[i].fast;
        p.request.dtype = rows[i].fast ? LLAVA_F32 : LLAVA_F64;
        open_pass(&p, rows[i].model, rows[i].inputs, false);
        for (size_t taps = 1;; taps++) {
            llava_error e = {""};
            p.refused = taps;
            if (pass(&p, &e)) {
                if (taps <= (rows[i].fast ? 10U : 40U)) {
                    fail_msg("%s: %zu taps", rows[i].inputs, taps);
                }
                break;
            }
            support_says(&e, " is refused");
        }
        llava_session_close(&p.session);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_do_not_fit_are_no_taps),
        cmocka_unit_test(sizes_that_wrap_are_no_memory),
        cmocka_unit_test(errors_are_written_where_there_is_a_place),
        cmocka_unit_test(memory_that_runs_out_ends_every_kind_of_run),
        cmocka_unit_test(memory_that_runs_out_ends_an_inferred_mask),
        cmocka_unit_test(the_fast_path_refuses_numbers_that_are_added),
        cmocka_unit_test(a_tap_that_is_refused_ends_every_kind_of_run),
    };
    return cmocka_run_group_tests_name("stage", tests, NULL, NULL);
}
