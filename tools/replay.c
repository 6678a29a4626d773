#include "replay.h"

#include "tools/bounds.h"
#include "tools/progress.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in this process
 * ------------------------------------------------------------------------------ */

typedef struct {
    const llava_replay_spec *spec;
    bool (*take)(void *self, const llava_tap *tap, const llava_port_tensor *tensor, llava_error *e);
    void *self;
} forcing;

static bool is_step_positions(const char *name)
{
    size_t n = strlen(name);
    return strncmp(name, "step.", 5) == 0 && strcmp(name + n - 12, "position_ids") == 0;
}

/* The port's tensor for a tap, if it is a floating one or a step's positions; NULL where it
 * supplies none. What goes into the prefill is no part of the replay: it is given. */
static const llava_port_tensor *supplied(const forcing *f, const char *name)
{
    const llava_port_tensor *t = llava_port_find(f->spec->port, name);
    bool wanted = t != NULL && t->floating == !is_step_positions(name);
    return wanted && strcmp(name, "pixel_values") != 0 ? t : NULL;
}

/* Where the language model begins, whether the port supplies it or not. */
static bool is_embeds(const char *name)
{
    return llava_tap_matches("text.inputs_embeds", name);
}

bool llava_is_logits(const char *name)
{
    return llava_tap_matches("logits", name);
}

static bool wants(void *self, const char *name)
{
    const forcing *f = self;
    return supplied(f, name) != NULL || (f->spec->logits && llava_is_logits(name)) ||
           (f->spec->shaken > 0 && is_embeds(name));
}

bool llava_replay_same_shape(const llava_tap *tap, const llava_port_tensor *t)
{
    bool same = tap->rank == t->rank;
    for (int i = 0; same && i < tap->rank; i++) {
        same = tap->shape[i] == t->shape[i];
    }
    return same;
}

/* Puts the port's values in place of the reference's, where the port computed any. */
static bool replace(const forcing *f, const llava_tap *tap, const llava_port_tensor *t,
                    llava_error *e)
{
    double *data = tap->data;
    if (!t->partial) {
        return llava_port_read(f->spec->port, t, 0, t->count, data, e);
    }
    double *values;
    if (!llava_port_load(f->spec->port, t, &values, e)) {
        return false;
    }
    size_t width = t->shape[t->rank - 1]; /* a number is never partial */
    for (size_t i = 0; i < t->count; i++) {
        if (llava_port_given(t, i / width, i % width)) {
            data[i] = values[i];
        }
    }
    free(values);
    return true;
}

/* Moves every value nearer to zero by 0 to 3 units in the last place, as chance would have it: that
 * of the draw, the tap and the place in it. */
static void shake(const llava_replay_spec *spec, const llava_tap *tap)
{
    uint64_t state = spec->shaken;
    double *values = tap->data, unit = llava_unit(spec->shaken_type);
    size_t count = llava_tap_count(tap);
    for (const char *c = tap->name; *c != '\0'; c++) {
        state = 31 * state + (unsigned char)*c;
    }
    for (size_t i = 0; i < count; i++) {
        int exponent;
        state = state * 6364136223846793005U + 1442695040888963407U; /* Knuth's MMIX */
        double places = (double)(state >> 62);
        if (isfinite(values[i])) {
            frexp(values[i], &exponent);
            values[i] -= copysign(ldexp(places * unit, exponent), values[i]);
        }
    }
}

/* A step's positions: shown as numbers, replaced as integers. */
static bool take_integers(const forcing *f, const llava_tap *tap, const llava_port_tensor *t,
                          bool force, llava_error *e)
{
    size_t count = llava_tap_count(tap);
    int64_t *mine = tap->data, *theirs = NULL;
    llava_tap shown = *tap;
    double *values = llava_alloc(e, count, sizeof(double));
    for (size_t i = 0; values != NULL && i < count; i++) {
        values[i] = (double)mine[i];
    }
    shown.data = values;
    bool ok = values != NULL && f->take(f->self, &shown, t, e);
    if (ok && force) {
        ok = llava_port_load_integers(f->spec->port, t, &theirs, e);
        for (size_t i = 0; ok && i < count; i++) {
            mine[i] = theirs[i] >= 0 && theirs[i] <= INT32_MAX ? theirs[i] : mine[i];
        }
    }
    free(values);
    free(theirs);
    return ok;
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    const forcing *f = self;
    const llava_port_tensor *t = supplied(f, tap->name);
    bool force = f->spec->forced && t != NULL && llava_replay_same_shape(tap, t);
    if (tap->dtype == LLAVA_I64) {
        return take_integers(f, tap, t, force, e);
    }
    bool shown = t != NULL || (f->spec->logits && llava_is_logits(tap->name));
    if ((shown && !f->take(f->self, tap, t, e)) || (force && !replace(f, tap, t, e))) {
        return false;
    }
    if (f->spec->shaken > 0 && !llava_is_logits(tap->name)) { /* whose largest chooses the token */
        shake(f->spec, tap);
    }
    return true;
}

llava_tap_sizes llava_replay_sizes(const llava_replay_spec *spec)
{
    llava_tap_sizes sizes = llava_session_sizes(spec->session, true);
    sizes.batch = spec->inputs->batch;
    sizes.length = spec->inputs->length;
    sizes.logit_rows = llava_logit_rows(spec->inputs);
    sizes.square_mask = spec->inputs->sees != NULL;
    sizes.generates = spec->generates;
    sizes.steps = spec->generates ? spec->tokens - 1 : 0;
    return sizes;
}

bool llava_replay_run(const llava_replay_spec *spec, const llava_goal *goal,
                      bool (*taker)(void *self, const llava_tap *tap,
                                    const llava_port_tensor *tensor, llava_error *e),
                      void *self, llava_error *e)
{
    forcing f = {spec, taker, self};
    llava_sink sink = {wants, take, &f};
    llava_goal whole = {0}, step = {0};
    llava_tap_sizes sizes = llava_replay_sizes(spec);
    whole.last_logits = spec->generates;
    llava_taps_goal(spec->plan, &sizes, &sink, &whole, &step);
    if (goal == NULL) {
        goal = &whole;
    }
    llava_progress progress = {
        .what = spec->doing,
        .work = llava_work_of(spec->plan, spec->inputs, goal, 0, sizes.steps),
    };
    if (spec->doing != NULL) {
        llava_progress_begin();
    }
    llava_sink shown = spec->doing == NULL ? sink : llava_progress_sink(&progress, &sink);
    llava_run run = {.weights = spec->session->weights,
                     .plan = spec->plan,
                     .sink = &shown,
                     .fast = spec->fast,
                     .prefix = "",
                     .error = e};
    if (spec->generates) {
        llava_answer answer;
        bool ok = llava_generate(&run, &spec->session->config, goal, &step, spec->inputs,
                                 spec->session->convention, spec->tokens, &answer);
        if (ok && spec->answer != NULL) {
            *spec->answer = answer;
        } else if (ok) {
            llava_answer_free(&answer);
        }
        return ok;
    }
    size_t count = spec->inputs->batch * spec->inputs->length;
    int64_t *positions = llava_alloc(e, count, sizeof(int64_t));
    if (positions == NULL) {
        return false;
    }
    llava_positions(spec->plan, spec->inputs, spec->session->convention, positions);
    llava_outputs out;
    bool ok = llava_forward(&run, goal, spec->inputs, positions, NULL, &out);
    free(positions);
    if (ok) {
        llava_outputs_free(&out);
    }
    return ok;
}

/* ---- in a child
 * ------------------------------------------------------------------------------------- */

/* What goes through the pipe: a head, the tap's name, its doubles. name_size 0: the end, with an
 * error message in the head's place of a name if `failed`. */
typedef struct {
    size_t name_size;
    bool failed;
    int rank;
    size_t shape[LLAVA_MAX_RANK];
} frame;

struct llava_replay {
    int from; /* reading end */
    pid_t child;
    char name[LLAVA_TAP_NAME];
    size_t left; /* elements of the tap that were not read yet */
};

static bool write_all(int to, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t done = write(to, at, n);
        if (done < 0 && errno == EINTR) { /* LCOV_EXCL_BR_LINE: our own signals end us */
            continue;                     /* LCOV_EXCL_LINE: as above */
        }
        if (done <= 0) {
            return false;
        }
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static bool read_all(int from, void *bytes, size_t n)
{
    char *at = bytes;
    while (n > 0) {
        ssize_t done = read(from, at, n);
        if (done < 0 && errno == EINTR) { /* LCOV_EXCL_BR_LINE: our own signals end us */
            continue;                     /* LCOV_EXCL_LINE: as above */
        }
        if (done <= 0) {
            return false;
        }
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static bool send_tap(void *self, const llava_tap *tap, const llava_port_tensor *tensor,
                     llava_error *e)
{
    const int *to = self;
    frame f = {.name_size = strlen(tap->name), .rank = tap->rank};
    memcpy(f.shape, tap->shape, sizeof f.shape);
    (void)tensor;
    return (write_all(*to, &f, sizeof f) && write_all(*to, tap->name, f.name_size) &&
            write_all(*to, tap->data, llava_tap_count(tap) * sizeof(double))) ||
           llava_fail(e, "the diagnosis ended early");
}

/* The child's whole life. */
static void live(const llava_replay_spec *spec, const llava_goal *goal, int to)
{
    llava_error e = {""};
    frame end = {0};
    llava_progress_mute();
    end.failed = !llava_replay_run(spec, goal, send_tap, &to, &e);
    bool ok = write_all(to, &end, sizeof end) && write_all(to, e.text, sizeof e.text);
    _exit(ok ? 0 : 1);
}

bool llava_replay_start(llava_replay **replay, const llava_replay_spec *spec,
                        const llava_goal *goal, llava_error *e)
{
    int ends[2];
    llava_replay *r = *replay = llava_alloc(e, 1, sizeof *r);
    if (r == NULL) {
        return false;
    }
    if (pipe(ends) != 0) {
        free(r);
        *replay = NULL;
        return llava_fail(e, "no pipe: %s", strerror(errno));
    }
    r->child = fork();
    if (r->child == 0) {
        close(ends[0]);
        live(spec, goal, ends[1]);
    }
    close(ends[1]);
    r->from = ends[0];
    if (r->child < 0) {
        close(ends[0]);
        free(r);
        *replay = NULL;
        return llava_fail(e, "no second process: %s", strerror(errno));
    }
    return true;
}

static bool died(llava_error *e)
{
    return llava_fail(e, "the replaying process died (out of memory, or a file became shorter)");
}

bool llava_replay_read(llava_replay *r, double *values, size_t n, llava_error *e)
{
    if (n > r->left) {
        return llava_fail(e, "%s: elements beyond the end", r->name);
    }
    r->left -= n;
    return read_all(r->from, values, n * sizeof *values) || died(e);
}

bool llava_replay_next(llava_replay *r, llava_tap *tap, bool *end, llava_error *e)
{
    frame f;
    *end = false;
    while (r->left > 0) {
        double passed[512];
        if (!llava_replay_read(r, passed, r->left < 512 ? r->left : 512, e)) {
            return false;
        }
    }
    if (!read_all(r->from, &f, sizeof f)) {
        return died(e);
    }
    if (f.name_size == 0) {
        llava_error theirs;
        *end = read_all(r->from, theirs.text, sizeof theirs.text) && !f.failed;
        if (!*end) {
            *e = theirs;
        }
        return *end;
    }
    *tap = (llava_tap){.name = r->name, .dtype = LLAVA_F64, .rank = f.rank};
    memcpy(tap->shape, f.shape, sizeof tap->shape);
    r->left = llava_tap_count(tap);
    r->name[f.name_size] = '\0';
    return read_all(r->from, r->name, f.name_size) || died(e);
}

void llava_replay_stop(llava_replay *r)
{
    if (r == NULL) {
        return;
    }
    close(r->from);
    kill(r->child, SIGKILL);
    while (waitpid(r->child, NULL, 0) < 0 && errno == EINTR) { /* LCOV_EXCL_BR_LINE: as above */
    }
    free(r);
}
