/* Diagnosis, the page: the first wrong tap as pictures, the reference's own values and the port's.
 */
#include "tools/diagnoser.h"

#include "tools/report.h"
#include "tools/span_goal.h"

#include <string.h>

typedef struct {
    llava_diagnoser *d;
    const llava_judged *judged;
    const double *mine; /* or */
    const int64_t *ids;
    const llava_port_tensor *tensor;
    llava_view **view;
    bool seen; /* what can be: of a single number there is no picture */
} sight;

static bool read_sight(void *self, size_t first, size_t n, double *expected, double *actual,
                       llava_error *e)
{
    const sight *s = self;
    for (size_t i = 0; i < n; i++) {
        expected[i] = s->mine != NULL ? s->mine[first + i] : (double)s->ids[first + i];
    }
    return llava_port_read(s->d->port, s->tensor, first, n, actual, e);
}

static bool make_view(sight *s, llava_error *e)
{
    const llava_judged *j = s->judged;
    llava_view_source source = {.read = read_sight,
                                .self = s,
                                .counting = &s->d->counting,
                                .given = s->tensor,
                                .name = j->name,
                                .rank = j->rank,
                                .shape = j->shape,
                                .comparison = &j->local};
    return llava_view_make(s->view, &source, e);
}

/* While replaying: looks at the one tap, and stops there. */
static bool see(void *self, const llava_tap *tap, const llava_port_tensor *tensor, llava_error *e)
{
    sight *s = self;
    if (strcmp(tap->name, s->judged->name) != 0) {
        return true;
    }
    s->mine = tap->data;
    s->tensor = tensor;
    s->seen = make_view(s, e);
    return s->seen && llava_fail(e, "seen");
}

/* What goes in lies in the session. *done: there is nothing else to be seen, as nothing is beside
 * a tensor of another shape. */
static bool see_input(sight *s, bool *done, llava_error *e)
{
    const llava_inputs *in = &s->d->session.inputs;
    const char *name = s->judged->name;
    const size_t *shape = s->judged->shape;
    s->tensor = llava_port_find(s->d->port, name);
    s->mine = strcmp(name, "pixel_values") == 0 ? in->pixel_values : NULL;
    s->ids = strcmp(name, "input_ids") == 0        ? in->input_ids
             : strcmp(name, "attention_mask") == 0 ? in->attention_mask
                                                   : NULL;
    bool pixels = s->mine != NULL && s->judged->rank == 4 && shape[0] == in->pictures &&
                  shape[1] == 3 && shape[2] == in->height && shape[3] == in->width;
    bool ids =
        s->ids != NULL && s->judged->rank == 2 && shape[0] == in->batch && shape[1] == in->length;
    *done = s->judged->exact || s->judged->other_shape || strcmp(name, "pixel_values") == 0;
    return !(pixels || ids) || make_view(s, e);
}

/* The first wrong tap as pictures; NULL where nothing is wrong, or it cannot be seen. */
static bool view_first(llava_diagnoser *d, llava_view **view, llava_error *e)
{
    bool done;
    llava_plan plan;
    *view = NULL;
    if (d->result.finding_count == 0) {
        return true;
    }
    sight s = {.d = d, .judged = &d->result.taps[d->result.findings[0].judged], .view = view};
    if (!see_input(&s, &done, e)) {
        return false;
    }
    if (done) {
        return true;
    }
    if (!llava_plan_make(&plan, &d->session.config, &d->base, LLAVA_F64, false, e)) {
        return false;
    }
    llava_replay_spec spec = d->trial.spec;
    llava_goal goal;
    spec.plan = &plan;
    llava_span_goal(&spec, &d->result.findings[0].span, &goal);
    return llava_replay_run(&spec, &goal, see, &s, e) || s.seen;
}

bool llava_diagnose_page(llava_diagnoser *d, const char *path, llava_error *e)
{
    llava_view *view;
    bool ok =
        view_first(d, &view, e) && llava_report_diagnosis(&d->result, &d->session, view, path, e);
    llava_view_free(view);
    return ok;
}
