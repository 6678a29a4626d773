/* Progress: what is said of the time left, how much of a run lies before each tap, what a terminal
 * gets (tools/check_manners.py tries the whole program on one). */
#define _XOPEN_SOURCE 700 /* posix_openpt */
#include "ref/taps.h"
#include "tests/golden_case.h"
#include "tests/program.h"
#include "tools/progress.h"
#include "tools/session.h"
#include "tools/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

/* A prompt in chunks passes the language model once for each. */
static void chunks_share_the_language_models_work(void **state)
{
    (void)state;
    llava_request q = {.model = "golden/text-only/model", .inputs = "golden/text-only/inputs.npz"};
    llava_session s;
    llava_error e;
    assert_true(llava_session_open(&s, &q, &e));
    llava_work whole = llava_work_of(&s.plan, &s.inputs, NULL, 0, 2);
    llava_work parts = llava_work_of(&s.plan, &s.inputs, NULL, (s.inputs.length + 2) / 3, 2);
    assert_int_equal(whole.passes, 1);
    assert_int_equal(parts.passes, 3);
    double before[4];
    for (size_t pass = 0; pass < 4; pass++) {
        before[pass] = llava_work_before(&parts, "text.layers.1.norm1", pass);
    }
    assert_true(before[0] < before[1] && before[1] < before[2] && before[2] == before[3]);
    assert_true(llava_work_before(&parts, "text.norm", 0) < before[1]);
    assert_true(llava_work_before(&parts, "text.norm", 2) ==
                llava_work_before(&whole, "text.norm", 0));
    /* a replay from the second layer on: what lies before is not done again */
    llava_work later = whole;
    later.text_first = 1, later.text_layers = 1;
    later.all -= later.text_layer;
    assert_true(llava_work_before(&later, "text.layers.0.norm1", 0) == 0);
    assert_true(llava_work_before(&later, "text.layers.1.norm1", 0) == 0);
    assert_true(llava_work_before(&later, "text.layers.1.attn.q", 0) > 0);
    assert_true(llava_work_before(&later, "text.layers.3.norm1", 0) ==
                llava_work_before(&later, "text.norm", 0));
    /* steps alone */
    llava_work steps = {.step = 1, .steps = 2, .passes = 1, .all = 2};
    assert_true(llava_work_before(&steps, "step.2.text.layers.0.norm1", 0) == 0.5);
    assert_true(llava_work_before(&steps, "step.9.logits", 0) == 1);
    assert_true(llava_work_before(&whole, "no.tap", 0) == 0);
    assert_true(llava_work_before(&(llava_work){0}, "logits", 0) == 0);
    llava_session_close(&s);
}

/* ---- a terminal ---------------------------------------------------------------------------------
 */

/* What a terminal of so many columns gets from act, in a process of its own. */
static size_t terminal_gets(const char *kind, unsigned short columns, void (*act)(const void *),
                            const void *self, char *text, size_t room)
{
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    int master = posix_openpt(O_RDWR | O_NOCTTY), status;
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0 && ioctl(slave, TIOCSWINSZ, &size) == 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kind == NULL ? unsetenv("TERM") : setenv("TERM", kind, 1);
        alarm(20);
        dup2(slave, STDERR_FILENO);
        act(self);
        _exit(0);
    }
    close(slave);
    size_t n = 0;
    for (ssize_t got; n < room - 1 && (got = read(master, text + n, room - 1 - n)) > 0;) {
        n += (size_t)got; /* the last reading fails: nobody has the terminal any more */
    }
    text[n] = '\0';
    close(master);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return n;
}

#define WIPE "\r\033[K"

typedef struct {
    bool begun;
    double done;
    const char *what, *where;
} shown;

static void show(const void *self)
{
    const shown *s = self;
    if (s->begun) {
        llava_progress_begin();
    }
    llava_progress_show(s->done, s->what, s->where);
    llava_progress_show(0.99, "too soon for a second line", NULL);
}

static void a_line_says_how_much_is_done_and_where(void **state)
{
    (void)state;
    static const struct {
        shown it;
        const char *line;
    } rows[] = {
        {{true, 0.25, "run", "vision.embed"}, WIPE "25 %: run vision.embed"},
        {{true, 0.25, NULL, "vision.embed"}, WIPE "25 %: vision.embed"},
        {{true, 0, "load", NULL}, WIPE "0 %: load"},
        {{true, -1, "read", "a\x01\xc3\xa9\x7f z"}, WIPE "read a???? z"},
        {{false, 0.001, "run", NULL}, WIPE "0 %: run"}, /* nothing to go by yet */
    };
    char text[2048], where[700];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        terminal_gets("xterm", 100, show, &rows[i].it, text, sizeof text);
        assert_string_equal(text, rows[i].line);
        assert_int_equal(terminal_gets("dumb", 100, show, &rows[i].it, text, sizeof text), 0);
    }
    assert_int_equal(terminal_gets(NULL, 100, show, &rows[0].it, text, sizeof text), 0);
    /* the clock did not begin, so that it shows what the machine has run for */
    terminal_gets("xterm", 100, show, &(shown){false, 0.5, "run", NULL}, text, sizeof text);
    assert_int_equal(strncmp(text, WIPE "50 %, ", 10), 0);
    assert_non_null(strstr(text, " left: run"));
    /* as wide as the terminal, less the last column; 80 where it does not say; never beyond 512 */
    static const struct {
        unsigned short columns;
        size_t length;
    } widths[] = {{20, 19}, {0, 79}, {5000, 512}};
    memset(where, 'w', sizeof where - 1);
    where[sizeof where - 1] = '\0';
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        shown wide = {true, -1, NULL, where};
        size_t n = terminal_gets("xterm", widths[i].columns, show, &wide, text, sizeof text);
        assert_int_equal(n, strlen(WIPE) + widths[i].length);
    }
}

static void show_and_end(const void *self)
{
    (void)self;
    llava_progress_end(); /* there is no line yet */
    llava_progress_show(-1, "a", NULL);
    llava_progress_end();
    llava_progress_end();
    nanosleep(&(struct timespec){.tv_nsec = 110000000}, NULL);
    llava_progress_show(-1, "b", NULL);
    llava_progress_mute();
    llava_progress_end();
    llava_progress_show(-1, "c", NULL);
}

static void a_line_is_wiped_once_and_none_is_shown_when_muted(void **state)
{
    (void)state;
    char text[256];
    terminal_gets("xterm", 80, show_and_end, NULL, text, sizeof text);
    assert_string_equal(text, WIPE "a" WIPE WIPE "b");
}

/* Two chunks of two layers, scores asked for ahead of their work; half of something longer. */
static void run_names(const void *self)
{
    static const char *const names[] = {"text.layers.0.norm1",
                                        "text.layers.1.attn.scores",
                                        "text.layers.1.norm2",
                                        "text.layers.0.norm1",
                                        "no.tap",
                                        "text.layers.1.mlp.out"};
    llava_progress p = {.what = "run",
                        .work = {.text_layer = 1, .text_layers = 2, .passes = 2, .all = 2}};
    const bool *part = self;
    double last = 0;
    p.from = *part ? 0.5 : 0, p.share = *part ? 0.5 : 0;
    llava_sink sink = llava_progress_sink(&p, NULL);
    llava_progress_begin();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (sink.wants(sink.self, names[i]) || p.done < last || p.pass != (i > 2)) {
            _exit(1 + (int)i);
        }
        last = p.done;
        nanosleep(&(struct timespec){.tv_nsec = i == 4 ? 110000000 : 0}, NULL);
    }
}

static void a_run_shows_where_it_is(void **state)
{
    (void)state;
    char text[512];
    terminal_gets("xterm", 80, run_names, &(bool){false}, text, sizeof text);
    assert_string_equal(text,
                        WIPE "0 %: run text.layers.0.norm1" WIPE "97 %: run text.layers.1.mlp.out");
    terminal_gets("xterm", 80, run_names, &(bool){true}, text, sizeof text);
    assert_string_equal(text, WIPE "50 %: run text.layers.0.norm1" WIPE
                                   "99 %: run text.layers.1.mlp.out");
}

/* An answer: what acts on a terminal is shown there, lines and tabs stay; elsewhere it is what it
 * is. */
static const char answer[] = "two\n\tl\303\251gs\033[2J\r\200 \342\200\250\0end";

static void print_answer(const void *self)
{
    (void)self;
    llava_print_text(stderr, answer, sizeof answer - 1);
}

static void an_answer_does_not_act_on_a_terminal(void **state)
{
    char text[200];
    (void)state;
    terminal_gets("xterm", 80, print_answer, NULL, text, sizeof text);
    assert_string_equal(text, "two\r\n\tl\303\251gs\\x1b[2J\\x0d\\x80 \\xe2\\x80\\xa8\\x00end");
    FILE *file = tmpfile();
    assert_non_null(file);
    llava_print_text(file, answer, sizeof answer - 1);
    rewind(file);
    assert_int_equal(fread(text, 1, sizeof text, file), sizeof answer - 1);
    assert_memory_equal(text, answer, sizeof answer - 1);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_for_people),
        cmocka_unit_test(what_lies_before_a_tap_grows_with_the_flow),
        cmocka_unit_test(a_part_of_a_run_is_a_whole),
        cmocka_unit_test(chunks_share_the_language_models_work),
        cmocka_unit_test(a_line_says_how_much_is_done_and_where),
        cmocka_unit_test(a_line_is_wiped_once_and_none_is_shown_when_muted),
        cmocka_unit_test(a_run_shows_where_it_is),
        cmocka_unit_test(an_answer_does_not_act_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
