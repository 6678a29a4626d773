/* llava-ref run: one forward pass, or greedy generation, with dumps and hashes of the taps. */
#include "ref/fast/fast.h"
#include "tools/command.h"
#include "tools/dump_writer.h"
#include "tools/hash_sink.h"
#include "tools/nearest.h"
#include "tools/options.h"
#include "tools/output.h"
#include "tools/picture_sizes.h"
#include "tools/progress.h"
#include "tools/run_json.h"
#include "tools/session.h"
#include "tools/sinks.h"
#include "tools/words.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    llava_request request;
    const char *dump, *taps, *hash, *json;
    size_t chunk; /* positions of a prefill's chunk; 0: all at once */
    bool compress;
} run_options;

/* Everything that must be given back when the run ends. */
typedef struct {
    run_options options;
    llava_session session;
    llava_globs globs;
    llava_dump_writer *writer;
    llava_hash *hash;
    llava_run_json *json;
    llava_progress progress;
    llava_glob_filter filter;
    llava_fan fan;
    bool listens; /* is any sink there? */
    llava_sink sink;
    llava_error no_weights; /* why they could not be opened for __meta__; empty where they were */
} running;

/* ---- what is asked for -------------------------------------------------------------------------
 */

/* A decision that acts only where this run never comes would be taken in vain. */
static bool acts_in_vain(const llava_request *q, const char *start, const char *why, llava_error *e)
{
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)i);
        if (q->choices.value[i] != 0 && strncmp(d->name, start, strlen(start)) == 0) {
            llava_fail(e, "--set %s=%s: no effect here: %s", d->name,
                       d->values[q->choices.value[i]], why);
            return true;
        }
    }
    return false;
}

static bool choices_check(const llava_request *q, llava_error *e)
{
    if (q->inputs != NULL && (acts_in_vain(q, "image.", "--inputs holds no picture files", e) ||
                              acts_in_vain(q, "tokens.", "--inputs holds no text", e))) {
        return false;
    }
    return q->generate > 0 || !acts_in_vain(q, "cache.", "there is no --generate", e);
}

/* In chunks no query can look at keys of a later chunk. */
static bool chunk_check(const run_options *o, llava_error *e)
{
    unsigned char sees = o->request.choices.value[LLAVA_TEXT_ATTN_MASK];
    return o->chunk == 0 || sees == LLAVA_SEES_CAUSAL || sees == LLAVA_SEES_BEFORE ||
           llava_fail(e,
                      "--prefill-chunk: with --set text.attn_mask=%s a query would look at keys "
                      "of a later chunk",
                      llava_decision_at(LLAVA_TEXT_ATTN_MASK)->values[sees]);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Does what --dump, --taps, --hash, --json and --compress say go together? */
static bool outputs_check(const run_options *o, llava_error *e)
{
    if (o->dump != NULL && (ends_with(o->dump, ".safetensors") || ends_with(o->dump, ".npy"))) {
        return llava_fail(e, "--dump %s: a dump is written as OUT.npz, or as a folder, OUT/",
                          o->dump);
    }
    if (o->taps != NULL && o->dump == NULL && o->hash == NULL && o->json == NULL) {
        return llava_fail(e,
                          "--taps: names what --dump, --hash or --json takes, and none is given");
    }
    if (o->compress && (o->dump == NULL || strchr(o->dump, '\0')[-1] == '/')) {
        return llava_fail(e, "--compress: packs an archive, and --dump names none");
    }
    return true;
}

static size_t list_options(void *self, llava_option *options)
{
    run_options *o = self;
    size_t count = 0;
    llava_request_inputs(&o->request, options, &count);
    llava_request_numbers(&o->request, options, &count);
    const llava_option own[] = {
        {.name = "--prefill-chunk",
         .kind = LLAVA_OPTION_COUNT,
         .target = &o->chunk,
         .value = "N",
         .about = "the prompt N positions at a time over a warm cache: the same bits"},
        {.name = "--dump",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->dump,
         .word = LLAVA_WORD_OUT,
         .value = "OUT",
         .about = "write the taps to OUT.npz, or to a folder of .npy (OUT/)"},
        {.name = "--taps",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->taps,
         .word = LLAVA_WORD_TAPS,
         .value = "GLOB[,GLOB...]",
         .about = "only these; the run stops behind the last one"},
        {.name = "--hash",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->hash,
         .word = LLAVA_WORD_OUT,
         .value = "FILE",
         .about = "one line 'sha256  name  dtype  shape' per tap; - is standard output"},
        llava_option_json(
            &o->json,
            "what was run, the SHA-256 of what each stage handed on (with --taps, of those), "
            "and the answer, for programs (llava-ref.run/1); - is standard output"),
        {.name = "--compress",
         .kind = LLAVA_OPTION_FLAG,
         .target = &o->compress,
         .about = "deflate the archive's members"},
    };
    memcpy(options + count, own, sizeof own);
    return count + sizeof own / sizeof own[0];
}

static bool read_options(run_options *o, int argc, char **argv, llava_error *e)
{
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count = list_options(o, options);
    return llava_request_read(&o->request, argc, argv, options, count, e) && outputs_check(o, e) &&
           choices_check(&o->request, e) && chunk_check(o, e);
}

/* ---- sinks -------------------------------------------------------------------------------------
 */

/* Adds up a dump's size and lets the globs see every name. */
typedef struct {
    llava_globs *globs; /* NULL: every tap */
    llava_nearest near; /* to a glob that matches none; no word: nobody asks */
    bool fast;          /* only those that the fast path hands out */
    uint64_t bytes;
} survey;

static bool survey_one(void *self, const llava_tap *tap)
{
    survey *s = self;
    if (s->fast && !llava_fast_has_tap(tap->name)) {
        return true;
    }
    if (s->near.word != NULL) {
        llava_nearest_offer(&s->near, tap->name);
    } else if (s->globs == NULL || llava_globs_match(s->globs, tap->name)) {
        s->bytes += llava_dump_writer_bytes(tap);
    }
    return true;
}

static void survey_all(const running *r, survey *s)
{
    llava_tap_sizes sizes = llava_session_sizes(&r->session, r->options.taps != NULL);
    llava_session_list_pictures(&r->session, survey_one, s);
    llava_taps_list(&r->session.plan, &sizes, survey_one, s);
}

/* A glob of --taps that matches no tap of this run. */
static bool refuse_glob(const running *r, const char *glob, llava_error *e)
{
    bool fast = r->session.fast != NULL;
    char hint[LLAVA_HINT];
    survey s = {.near = {.word = glob}, .fast = fast};
    survey_all(r, &s);
    return llava_fail(e, "--taps %s: no tap of this run has such a name%s%s", glob,
                      fast ? " (the fast path has those between its blocks only)" : "",
                      llava_did_you_mean(s.near.best, hint));
}

/* What __meta__ says of a run (contract section 3); NULL with a message. */
static cJSON *make_meta(running *r, llava_error *e)
{
    const llava_request *q = &r->options.request;
    char model[65];
    if (!llava_session_model_sha256(&r->session, model, e)) {
        return NULL;
    }
    cJSON *meta = cJSON_CreateObject();
    bool ok = meta != NULL && cJSON_AddStringToObject(meta, "contract", LLAVA_CONTRACT) &&
              cJSON_AddStringToObject(meta, "program", "llava-ref " LLAVA_VERSION) &&
              cJSON_AddStringToObject(meta, "model", model) &&
              cJSON_AddStringToObject(meta, "dtype", llava_dtype_name((llava_dtype)q->dtype)) &&
              cJSON_AddStringToObject(meta, "numerics",
                                      r->session.plan.numerics.islands ? "hf" : "true") &&
              cJSON_AddStringToObject(meta, "path", r->session.fast == NULL ? "plain" : "fast");
    cJSON *decisions = ok ? cJSON_AddObjectToObject(meta, "decisions") : NULL;
    ok = ok && decisions != NULL;
    for (size_t i = 0; ok && i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)i);
        unsigned char v = q->choices.value[i];
        ok = v == 0 || cJSON_AddStringToObject(decisions, d->name, d->values[v]) != NULL;
    }
    ok = ok && cJSON_AddStringToObject(meta, "inputs", r->session.inputs_sha256) &&
         llava_picture_sizes_put(meta, &r->session.plan, &r->session.inputs) &&
         (q->feature_layer == NULL ||
          cJSON_AddStringToObject(meta, "feature_layer", q->feature_layer)) &&
         (q->feature_select == NULL ||
          cJSON_AddStringToObject(meta, "feature_select", q->feature_select));
    if (!ok) {
        cJSON_Delete(meta);
        llava_fail(e, "out of memory (__meta__)");
        return NULL;
    }
    return meta;
}

static void announce(uint64_t bytes)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "dump: at most %.1f MB\n", (double)bytes / 1e6);
    }
}

static bool open_dump(running *r, uint64_t bytes, llava_error *e)
{
    const run_options *o = &r->options;
    if (!llava_output_room(o->dump, bytes, e)) {
        return false;
    }
    announce(bytes);
    cJSON *meta = make_meta(r, e);
    if (meta == NULL) {
        return false;
    }
    char *text = cJSON_PrintUnformatted(meta);
    bool ok = text != NULL ? llava_dump_writer_open(&r->writer, o->dump, o->compress, text, e)
                           : llava_fail(e, "out of memory (__meta__)");
    cJSON_Delete(meta);
    free(text);
    return ok;
}

static bool open_json(running *r, llava_error *e)
{
    const run_options *o = &r->options;
    cJSON *meta = make_meta(r, e);
    return meta != NULL && llava_run_json_open(&r->json, o->json, meta, o->taps != NULL, e);
}

/* Opens what --dump, --hash and --json name, once it is known that every glob names a tap and that
 * the disk has room. */
static bool open_sinks(running *r, llava_error *e)
{
    const run_options *o = &r->options;
    if (o->dump == NULL && o->hash == NULL && o->json == NULL) {
        return true;
    }
    if (o->taps != NULL && !llava_globs_parse(&r->globs, o->taps, e)) {
        return llava_fail_in(e, "--taps");
    }
    survey s = {.globs = o->taps == NULL ? NULL : &r->globs, .fast = r->session.fast != NULL};
    survey_all(r, &s);
    const char *unmatched = llava_globs_unmatched(&r->globs);
    if (unmatched != NULL) {
        return refuse_glob(r, unmatched, e);
    }
    if ((o->dump != NULL && !open_dump(r, s.bytes, e)) ||
        (o->hash != NULL && !llava_hash_open(&r->hash, o->hash, e)) ||
        (o->json != NULL && !open_json(r, e))) {
        return false;
    }
    if (r->writer != NULL) {
        r->fan.sinks[r->fan.count++] = llava_dump_writer_sink(r->writer);
    }
    if (r->hash != NULL) {
        r->fan.sinks[r->fan.count++] = llava_hash_sink(r->hash);
    }
    if (r->json != NULL) {
        r->fan.sinks[r->fan.count++] = llava_run_json_sink(r->json);
    }
    r->sink = llava_fan_sink(&r->fan);
    if (o->taps != NULL) {
        r->filter = (llava_glob_filter){.globs = &r->globs, .inner = r->sink};
        r->sink = llava_filter_sink(&r->filter);
    }
    r->listens = true;
    return true;
}

static bool commit_sinks(running *r, llava_error *e)
{
    llava_dump_writer *writer = r->writer;
    llava_hash *hash = r->hash;
    r->writer = NULL;
    r->hash = NULL;
    if (writer != NULL && !llava_dump_writer_commit(writer, e)) {
        llava_hash_abort(hash);
        return false;
    }
    return hash == NULL || llava_hash_commit(hash, e);
}

static void close_running(running *r)
{
    llava_dump_writer_abort(r->writer);
    llava_hash_abort(r->hash);
    llava_run_json_abort(r->json);
    llava_globs_free(&r->globs);
    llava_session_close(&r->session);
    llava_request_free(&r->options.request);
}

/* ---- the answer --------------------------------------------------------------------------------
 */

/* The answer goes to stderr where standard output holds a dump, hashes or JSON. */
static FILE *answer_stream(const running *r)
{
    const run_options *o = &r->options;
    bool taken = (o->dump != NULL && strcmp(o->dump, "-") == 0) ||
                 (o->hash != NULL && strcmp(o->hash, "-") == 0) ||
                 (o->json != NULL && strcmp(o->json, "-") == 0);
    return taken ? stderr : stdout;
}

/* One line per sample: the decoded text. */
static bool print_answer(running *r, const llava_answer *answer, llava_error *e)
{
    FILE *to = answer_stream(r);
    bool file = llava_session_has_tokenizer(&r->session);
    if (!file) {
        llava_warn("no tokenizer.json: printing token ids");
    } else if (!llava_session_tokenizer(&r->session, e)) {
        return false;
    }
    for (size_t b = 0; b < answer->batch; b++) {
        const int64_t *ids = answer->ids + b * answer->count;
        if (!file) {
            for (size_t i = 0; i < answer->count; i++) {
                fprintf(to, "%s%" PRId64, i == 0 ? "" : " ", ids[i]);
            }
            fputc('\n', to);
            if (r->json != NULL) {
                llava_run_json_answer(r->json, NULL, 0, ids, answer->count);
            }
            continue;
        }
        char *text;
        size_t n;
        if (!llava_tokenizer_decode(r->session.tokenizer, ids, answer->count, true, &text, &n, e)) {
            return false;
        }
        llava_print_text(to, text, n);
        fputc('\n', to);
        if (r->json != NULL) {
            llava_run_json_answer(r->json, text, n, ids, answer->count);
        }
        free(text);
    }
    return true;
}

enum { TOP = 5 };

/* The TOP highest logits of one row, ties to the lower id. NaN never wins. */
static size_t find_top(const double *row, size_t vocab, size_t top[TOP])
{
    size_t count = 0;
    for (size_t v = 0; v < vocab; v++) {
        size_t at = count;
        while (at > 0 && row[v] > row[top[at - 1]]) {
            at--;
        }
        if (row[v] != row[v] || at == TOP) {
            continue;
        }
        count += count < TOP;
        memmove(top + at + 1, top + at, (count - 1 - at) * sizeof *top);
        top[at] = v;
    }
    return count;
}

static void print_logits(running *r, const llava_outputs *out)
{
    FILE *to = answer_stream(r);
    llava_error ignored;
    bool names =
        llava_session_has_tokenizer(&r->session) && llava_session_tokenizer(&r->session, &ignored);
    if (out->has_loss) {
        fprintf(to, "loss %.17g\n", out->loss);
        if (r->json != NULL) {
            llava_run_json_loss(r->json, out->loss);
        }
    }
    for (size_t b = 0; b < out->batch; b++) {
        size_t top[TOP];
        const double *row = out->logits + ((b + 1) * out->rows - 1) * out->vocab;
        size_t count = find_top(row, out->vocab, top);
        fprintf(to, "sample %zu: highest logits of the last position\n", b);
        if (r->json != NULL) {
            llava_run_json_sample(r->json);
        }
        for (size_t i = 0; i < count; i++) {
            const char *text =
                names ? llava_tokenizer_text_of(r->session.tokenizer, (int64_t)top[i]) : NULL;
            fprintf(to, "%8zu  %24.17g%s", top[i], row[top[i]], text == NULL ? "" : "  ");
            llava_print_escaped(to, text == NULL ? "" : text);
            fputc('\n', to);
            if (r->json != NULL) {
                llava_run_json_logit(r->json, top[i], row[top[i]], text);
            }
        }
        if (count == 0) {
            fputs("all are NaN\n", to);
        }
    }
}

/* ---- the run -----------------------------------------------------------------------------------
 */

/* Spec 14.4: with float32 islands in float64, a left-padded sample is NaN in transformers. */
static void warn_of_nan(const llava_session *s, const llava_outputs *out)
{
    for (size_t b = 0; s->plan.numerics.islands && out->logits != NULL && b < out->batch; b++) {
        const double *last = out->logits + ((b + 1) * out->rows - 1) * out->vocab;
        if (last[0] != last[0] && s->inputs.attention_mask != NULL) {
            char text[160];
            snprintf(text, sizeof text,
                     "sample %zu is NaN, as transformers' float64 makes it: a query without a "
                     "visible key in a float32 softmax",
                     b);
            llava_warn(text);
        }
    }
}

static bool forward(running *r, llava_run *run, const llava_goal *goal, bool answers)
{
    llava_session *s = &r->session;
    llava_outputs out;
    size_t count = s->inputs.batch * s->inputs.length;
    int64_t *positions = llava_alloc(run->error, count, sizeof(int64_t));
    if (positions == NULL) {
        return false;
    }
    llava_positions(&s->plan, &s->inputs, s->convention, positions);
    bool ok = llava_forward(run, goal, &s->inputs, positions, NULL, &out);
    free(positions);
    if (ok) {
        llava_progress_end();
        warn_of_nan(s, &out);
        ok = commit_sinks(r, run->error);
        if (ok && answers && out.logits != NULL) {
            print_logits(r, &out);
        }
        llava_outputs_free(&out);
    }
    return ok;
}

static bool generate(running *r, llava_run *run, const llava_goal *goal, const llava_goal *step)
{
    llava_session *s = &r->session;
    llava_answer answer;
    if (!llava_generate(run, &s->config, goal, step, &s->inputs, s->convention,
                        s->request->generate, &answer)) {
        return false;
    }
    llava_progress_end();
    bool ok = commit_sinks(r, run->error) && print_answer(r, &answer, run->error);
    llava_answer_free(&answer);
    return ok;
}

/* Does the goal read weights at all? */
static bool reads_weights(const llava_goal *g)
{
    return g->vision || g->embed;
}

static bool run_model(running *r, llava_error *e)
{
    llava_session *s = &r->session;
    bool generates = s->request->generate > 0, answers = generates || r->options.taps == NULL;
    llava_tap_sizes sizes = llava_session_sizes(s, r->options.taps != NULL);
    llava_goal goal = {.last_logits = answers, .loss = answers && !generates && sizes.labels};
    llava_goal step = {0};
    llava_taps_goal(&s->plan, &sizes, r->listens ? &r->sink : NULL, &goal, &step);
    if (reads_weights(&goal)) {
        if (r->no_weights.text[0] != '\0') {
            *e = r->no_weights;
            return false;
        }
        if (!llava_session_weights(s, e) || !llava_session_check_weights(s, &goal, e)) {
            return false;
        }
    }
    if (!llava_session_put_pictures(s, r->listens ? &r->sink : NULL, e)) {
        return false;
    }
    llava_progress_begin();
    r->progress.work = llava_work_of(&s->plan, &s->inputs, &goal, r->options.chunk, sizes.steps);
    llava_sink shown = llava_progress_sink(&r->progress, r->listens ? &r->sink : NULL);
    llava_run run = {.weights = s->weights,
                     .plan = &s->plan,
                     .sink = &shown,
                     .prefix = "",
                     .fast = s->fast,
                     .error = e,
                     .chunk = r->options.chunk};
    bool ok = generates ? generate(r, &run, &goal, &step) : forward(r, &run, &goal, answers);
    llava_progress_end();
    return ok;
}

/* The weights are wanted early for a dump's __meta__, but a run that reads none must not need them.
 */
static bool open_weights_for_meta(running *r, llava_error *e)
{
    if (r->options.taps == NULL) {
        return llava_session_weights(&r->session, e);
    }
    if (llava_session_weights(&r->session, &r->no_weights)) {
        r->no_weights.text[0] = '\0';
    }
    return true;
}

static int run(int argc, char **argv, llava_error *e)
{
    running r = {0};
    bool ok = read_options(&r.options, argc, argv, e) &&
              llava_session_open(&r.session, &r.options.request, e);
    if (ok) {
        llava_warn_unknown_keys(&r.session.config, r.options.request.model);
    }
    ok = ok && open_weights_for_meta(&r, e) && open_sinks(&r, e) && run_model(&r, e);
    if (ok && r.json != NULL) {
        ok = llava_run_json_commit(r.json, e);
        r.json = NULL;
    }
    close_running(&r);
    return ok ? LLAVA_DONE : LLAVA_CANNOT;
}

static const char *const synopsis[] = {
    "--model DIR --inputs IN.npz [OPTION]...",
    "--model DIR [--image FILE]... (--prompt TEXT | --chat TEXT | --messages FILE) [OPTION]...",
    NULL,
};

static const llava_example examples[] = {
    {"llava-ref run --model golden/demo/model --image golden/demo/pictures/2-red-triangle.png "
     "--chat 'What is in the picture?' --generate 24",
     LLAVA_DONE},
    {"llava-ref run --model golden/plain/model --inputs golden/plain/inputs.npz --dump right.npz",
     LLAVA_DONE},
    {"llava-ref run --model golden/plain/model --inputs golden/plain/inputs.npz --dtype f32 "
     "--set projector.act=gelu_tanh --taps 'projector.*,logits' --dump port/",
     LLAVA_DONE},
    {"llava-ref run --model golden/plain/model --inputs golden/plain/inputs.npz --json -",
     LLAVA_DONE},
    {NULL, 0},
};

const llava_command llava_command_run = {
    .name = "run",
    .run = run,
    .about = "one forward pass, or greedy generation, printing the answer or the top logits",
    .synopsis = synopsis,
    .room = sizeof(run_options),
    .options = list_options,
    .details = "With --generate the answer's text alone is printed; else the highest logits of the "
               "last position, unless --taps asks for less. Where standard output holds a dump or "
               "hashes, the answer goes to standard error.",
    .examples = examples,
};
