/* llava-ref diagnose: where a port departs from the model, and why.
 *
 * 1. What goes in (ids, mask, positions, pixel values) is compared; from there on the port's is
 * used.
 * 2. The model is replayed from the port's own tensors in float64, which tells the error made in
 *    each span (local). Where that is more than the tensor's own rounding allows, the span is
 *    replayed in the port's own type with its roundings, too, which tells how much of it honest
 *    rounding explains (noise).
 * 3. Rounding steps of the port that hold in every span (numerics.*) become part of the model it is
 *    held against, and 2 is repeated: a fault may show only then.
 * 4. In each span that is still wrong, every decision that acts there is tried, then pairs. */
#include "tools/diagnoser.h"

#include "tools/command.h"
#include "tools/json_out.h"
#include "tools/progress.h"
#include "tools/words.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    llava_request request;
    const char *dump, *map, *json, *html;
    bool all_noise;
} diagnose_options;

static size_t list_options(void *self, llava_option *options)
{
    diagnose_options *o = self;
    size_t count = 0;
    llava_request_inputs(&o->request, options, &count);
    const llava_option own[] = {
        {.name = "--dump",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->dump,
         .word = LLAVA_WORD_DUMP,
         .value = "PORT",
         .about = "the port's dump: all taps or a few"},
        llava_option_map(&o->map),
        llava_option_json(&o->json,
                          "the result for programs (llava-ref.diagnose/1); - is standard output"),
        {.name = "--html",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->html,
         .word = LLAVA_WORD_OUT,
         .value = "FILE",
         .about = "the result as one page, with pictures of the first wrong tensor"},
        {.name = "--all-noise",
         .kind = LLAVA_OPTION_FLAG,
         .target = &o->all_noise,
         .about =
             "measure the honest rounding of every span, not only where the error is in doubt"},
    };
    memcpy(options + count, own, sizeof own);
    return count + sizeof own / sizeof own[0];
}

static bool read_options(diagnose_options *o, int argc, char **argv, llava_error *e)
{
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count = list_options(o, options);
    return llava_request_read(&o->request, argc, argv, options, count, e) &&
           (o->dump != NULL || llava_fail(e, "--dump PORT is missing"));
}

void llava_diagnosis_free(llava_diagnosis *r)
{
    llava_forget_findings(r);
    llava_forget_taps(r, 0);
    free(r->taps);
    *r = (llava_diagnosis){0};
}

/* Is there a step tap among the port's? Then its dump is of a generation. */
static size_t port_steps(const llava_diagnoser *d)
{
    size_t steps = 0;
    for (size_t i = 0; i < llava_port_count(d->port); i++) {
        llava_tap_place place;
        const char *name = llava_port_at(d->port, i)->name;
        llava_tap_find(name, &place);
        if (strncmp(name, "step.", 5) == 0) {
            steps = place.step > steps ? place.step : steps;
        }
    }
    return steps;
}

static void note_unknown(llava_diagnosis *r, const char *name)
{
    if (r->unknown_count++ == 0) {
        snprintf(r->unknown, sizeof r->unknown, "%s", name);
    }
}

/* Integers that are used, not replayed: what goes in, and the tokens. */
static bool is_used(const llava_port_tensor *t)
{
    const llava_tap_kind *kinds;
    llava_tap_place place;
    llava_tap_kinds(&kinds);
    llava_tap_find(t->name, &place);
    llava_at at = kinds[place.kind].at;
    return !t->floating && (at <= LLAVA_AT_INPUT || at == LLAVA_AT_ANSWER);
}

/* Tensors of the port that the diagnosis never came to. Inputs count as seen: they are used. */
static void find_unknown(llava_diagnoser *d)
{
    llava_diagnosis *r = &d->result;
    for (size_t i = 0; i < llava_port_extra_count(d->port); i++) {
        note_unknown(r, llava_port_extra_at(d->port, i));
    }
    for (size_t i = 0; i < llava_port_count(d->port); i++) {
        const llava_port_tensor *t = llava_port_at(d->port, i);
        bool seen = is_used(t) || strcmp(t->name, "pixel_values") == 0;
        for (size_t k = 0; k < r->count && !seen; k++) {
            seen = strcmp(r->taps[k].name, t->name) == 0;
        }
        if (!seen) {
            note_unknown(r, t->name);
        }
    }
}

static void conclude(llava_diagnoser *d)
{
    find_unknown(d);
    llava_diagnosis *r = &d->result;
    r->verdict = r->count == 0          ? LLAVA_CANNOT_JUDGE
                 : r->finding_count > 0 ? LLAVA_DIFFER
                                        : LLAVA_PASS;
    r->note = r->count == 0 ? "it holds no tap of this model" : NULL;
}

/* What the trials and replays are of. */
static void aim_trials(llava_diagnoser *d, size_t steps)
{
    d->trial = (llava_trial){
        .spec = {.doing = "replaying",
                 .session = &d->session,
                 .inputs = &d->inputs,
                 .port = d->port,
                 .forced = true,
                 .generates = steps > 0,
                 /* without generated_ids: what follows from the port's own logits */
                 .tokens = d->inputs.answer != NULL ? d->inputs.answer_length : steps + 1},
        .counting = &d->counting,
        .base = &d->base,
        .type = d->result.type,
    };
}

/* Replays and findings, until no rounding and no other convention is adopted any more. */
static bool settle(llava_diagnoser *d, llava_error *e)
{
    for (bool moved = true; moved;) {
        llava_forget_findings(&d->result);
        if (!llava_diagnose_spans(d, e) || !llava_diagnose_causes(d, e)) {
            return false;
        }
        moved = llava_take_other_convention(d);
        if (!moved && !llava_adopt_rounding(d, &moved, e)) {
            return false;
        }
    }
    return true;
}

static bool examine(llava_diagnoser *d, llava_error *e)
{
    size_t steps = port_steps(d);
    bool generated = steps > 0 || llava_port_find(d->port, "generated_ids") != NULL;
    if (generated && !d->positions_given) {
        d->session.convention = LLAVA_POSITIONS_GENERATE; /* as generate() counts */
    }
    if (!llava_diagnose_types(d, e) || !llava_diagnose_inputs(d, e)) {
        return false;
    }
    aim_trials(d, steps);
    if (d->session.weights == NULL) { /* nothing behind pictures and ids is supplied */
        return llava_diagnose_causes(d, e) && llava_narrow_causes(d, e);
    }
    return settle(d, e) && llava_narrow_causes(d, e) && llava_diagnose_totals(d, e) &&
           llava_diagnose_tokens(d, e);
}

/* Does the port supply anything behind the picture stage and the ids? */
static bool needs_weights(const llava_diagnoser *d)
{
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    for (size_t i = 0; i < llava_port_count(d->port); i++) {
        llava_tap_place place;
        llava_tap_find(llava_port_at(d->port, i)->name, &place);
        if (kinds[place.kind].at > LLAVA_AT_INPUT) {
            return true;
        }
    }
    return false;
}

/* Was the dump made from these inputs, and with this model? Where its __meta__ says so. */
static bool check_meta(llava_diagnoser *d, const diagnose_options *o, llava_error *e)
{
    char own[65] = "";
    const char *meta = llava_port_meta(d->port);
    char *inputs = NULL, *model = NULL;
    bool ok = llava_dump_meta_string(o->dump, meta, "inputs", &inputs, e) &&
              llava_dump_meta_string(o->dump, meta, "model", &model, e);
    if (ok && inputs != NULL && strcmp(inputs, d->session.inputs_sha256) != 0) {
        ok = llava_fail(e, "%s: made from other inputs (inputs SHA-256 %.12s.., here %.12s..)",
                        o->dump, inputs, d->session.inputs_sha256);
    }
    ok = ok && (model == NULL || llava_session_model_sha256(&d->session, own, e));
    if (ok && model != NULL && strcmp(model, own) != 0) {
        char text[1024];
        snprintf(text, sizeof text, "%s: made with another model than %s", o->dump,
                 o->request.model);
        llava_warn(text);
    }
    free(inputs);
    free(model);
    return ok;
}

static bool open_all(llava_diagnoser *d, const diagnose_options *o, llava_error *e)
{
    d->positions_given = o->request.positions_given;
    d->all_noise = o->all_noise;
    if (!llava_session_open(&d->session, &o->request, e)) {
        return false;
    }
    llava_warn_unknown_keys(&d->session.config, o->request.model);
    return llava_port_open(&d->port, o->dump, o->map, &d->session.plan, e) &&
           (!needs_weights(d) || llava_session_weights(&d->session, e)) && check_meta(d, o, e);
}

static bool write_json(const llava_diagnosis *r, const char *path, llava_error *e)
{
    cJSON *json = llava_diagnosis_json(r);
    bool ok = llava_json_write(json, path, e);
    cJSON_Delete(json);
    return ok;
}

static int diagnose(int argc, char **argv, llava_error *e)
{
    diagnose_options o = {0};
    llava_diagnoser d = {0};
    bool ok = read_options(&o, argc, argv, e) && open_all(&d, &o, e) && examine(&d, e);
    llava_progress_end();
    if (ok) {
        d.result.port = o.dump;
        conclude(&d);
        bool taken = (o.json != NULL && strcmp(o.json, "-") == 0) ||
                     (o.html != NULL && strcmp(o.html, "-") == 0);
        llava_diagnosis_print(&d.result, taken ? stderr : stdout);
        ok = (o.json == NULL || write_json(&d.result, o.json, e)) &&
             (o.html == NULL || llava_diagnose_page(&d, o.html, e));
    }
    llava_verdict verdict = d.result.verdict;
    if (ok && verdict == LLAVA_CANNOT_JUDGE) {
        llava_fail(e, "%s: %s", o.dump, d.result.note);
    }
    llava_diagnosis_free(&d.result);
    llava_port_close(d.port);
    llava_inputs_free(&d.inputs);
    llava_counting_free(&d.counting);
    llava_session_close(&d.session);
    llava_request_free(&o.request);
    return !ok || verdict == LLAVA_CANNOT_JUDGE ? LLAVA_CANNOT
           : verdict == LLAVA_DIFFER            ? LLAVA_DIFFERS
                                                : LLAVA_DONE;
}

static const char *const synopsis[] = {
    "--model DIR --inputs IN.npz --dump PORT [OPTION]...",
    "--model DIR [--image FILE]... (--prompt TEXT | --chat TEXT | --messages FILE) --dump PORT "
    "[OPTION]...",
    NULL,
};

static const llava_example examples[] = {
    {"llava-ref run --model golden/plain/model --inputs golden/plain/inputs.npz --dtype f32 "
     "--set projector.act=gelu_tanh --dump port.npz",
     LLAVA_DONE},
    {"llava-ref diagnose --model golden/plain/model --inputs golden/plain/inputs.npz "
     "--dump port.npz",
     LLAVA_DIFFERS},
    {NULL, 0},
};

const llava_command llava_command_diagnose = {
    .name = "diagnose",
    .run = diagnose,
    .about = "find where a port departs from the model, and why",
    .synopsis = synopsis,
    .room = sizeof(diagnose_options),
    .options = list_options,
    .details = "The model is replayed along the port's own tensors, so an error shows where it is "
               "made. With --positions only that convention is right, else either is; with "
               "--generate, and where the dump holds decoding steps, positions are counted as "
               "generate() counts them.",
    .status = "0 nothing but rounding, 1 something was found, 2 cannot judge",
    .examples = examples,
};
