/* Trials on what goes in: which choices turn the picture file and the prompt into the port's
 * pixel_values and ids? */
#include "tools/picture_trial.h"
#include "tools/trial.h"

#include <stdlib.h>
#include <string.h>

/* The smaller of two errors: from the port's nearest stage, and from the file. Where a port rounds
 * nothing between its stages, what it shows of them is not what it went on with. */
static bool compare_pictures(llava_trial *trial, const llava_choices *choices, const char *tap,
                             llava_cause *cause, llava_error *e)
{
    llava_port *port = trial->spec.port, *const starts[] = {NULL, port};
    size_t count = llava_picture_shows_stage(trial->spec.session, port) ? 2 : 1;
    for (size_t i = 0; i < count; i++) {
        llava_comparison c;
        bool made;
        if (!llava_picture_compare(trial->spec.session, choices, starts[i], port, tap, &c, &made,
                                   e)) {
            return false;
        }
        if (made && c.mismatched == 0 && c.rel_l2 < cause->error) {
            cause->error = c.rel_l2;
            cause->error_max = c.rel_max;
        }
    }
    return true;
}

/* Error 0 where the prompt gives the port's ids, with the sizes of the port's own pictures. */
static bool compare_ids(llava_trial *trial, const llava_choices *choices, llava_cause *cause,
                        llava_error *e)
{
    const llava_inputs *theirs = trial->spec.inputs;
    llava_error refused;
    int64_t *ids;
    size_t n;
    if (!llava_session_encode(trial->spec.session, choices, theirs->image_sizes, &ids, &n,
                              &refused)) {
        return llava_may_go_on(&refused, e);
    }
    bool equal = theirs->batch == 1 && theirs->length == n &&
                 memcmp(ids, theirs->input_ids, n * sizeof *ids) == 0;
    cause->error = cause->error_max = equal ? 0 : 1;
    free(ids);
    return true;
}

bool llava_trial_inputs(llava_trial *trial, const llava_choices *choices, const char *tap,
                        llava_cause *cause, llava_error *e)
{
    const llava_session *session = trial->spec.session;
    if (session->request->inputs != NULL) {
        return true; /* an inputs file does not say how it was made */
    }
    if (strcmp(tap, "input_ids") == 0) {
        return compare_ids(trial, choices, cause, e);
    }
    return session->pictures == NULL || compare_pictures(trial, choices, tap, cause, e);
}

void llava_allow_float_resize(llava_judged *judged, const llava_session *session,
                              const llava_choices *choices)
{
    size_t edge = 0;
    if (choices->value[LLAVA_IMAGE_RESIZE_ROUNDING] != LLAVA_RESIZE_FLOAT ||
        strcmp(judged->name, "pixel_values") != 0) {
        return;
    }
    for (size_t i = 0; session->pictures != NULL && i < session->image_count; i++) {
        const llava_picture *rgb = &session->pictures[i].stage[LLAVA_STAGE_RGB];
        edge = rgb->height > edge ? rgb->height : edge;
        edge = rgb->width > edge ? rgb->width : edge;
    }
    judged->noise += (double)edge * llava_unit(LLAVA_F32);
    judged->noise_max += 4 * (double)edge * llava_unit(LLAVA_F32);
}

static bool in_stage(const llava_cause *cause, const char *stage)
{
    bool is = false;
    for (size_t i = 0; i < cause->count; i++) {
        const char *name = llava_decision_at(cause->id[i])->name;
        is |= strncmp(name, stage, strlen(stage)) == 0;
    }
    return is;
}

bool llava_altered_make(llava_altered *a, llava_trial *trial, const llava_choices *choices,
                        const llava_cause *cause, bool *made, llava_error *e)
{
    const llava_session *session = trial->spec.session;
    bool pictures = in_stage(cause, "image."), tokens = in_stage(cause, "tokens.");
    llava_error refused = {""};
    *a = (llava_altered){.inputs = *trial->spec.inputs, .request = *session->request};
    *made = !pictures && !tokens;
    if (*made || a->request.inputs != NULL) {
        return true;
    }
    if (pictures &&
        (session->pictures == NULL || !llava_picture_values(session, trial->spec.inputs, choices,
                                                            trial->spec.port, &a->pixels, e))) {
        return session->pictures == NULL;
    }
    *made = !pictures || a->pixels != NULL;
    a->inputs.pixel_values = pictures ? a->pixels : a->inputs.pixel_values;
    a->request.choices = *choices;
    if (tokens && *made) {
        a->has_session = llava_session_prepare(&a->session, &a->request, &refused);
        *made = a->has_session;
        if (*made) {
            const llava_inputs *in = &a->session.inputs;
            a->inputs.batch = in->batch;
            a->inputs.length = in->length;
            a->inputs.input_ids = in->input_ids;
            a->inputs.attention_mask = in->attention_mask;
            a->inputs.position_ids = in->position_ids;
        }
    }
    *made = *made && llava_inputs_check(&a->inputs, &session->plan, &refused);
    return *made || llava_may_go_on(&refused, e);
}

void llava_altered_free(llava_altered *a)
{
    free(a->pixels);
    if (a->has_session) {
        llava_session_close(&a->session);
    }
}
