/* llava-ref bench: time and rate of each stage, beside what one core of this machine can do. */
#include "tools/bench_earlier.h"
#include "tools/command.h"
#include "tools/dump_writer.h"
#include "tools/json_out.h"
#include "tools/machine.h"
#include "tools/options.h"
#include "tools/peak.h"
#include "tools/progress.h"
#include "tools/session.h"
#include "tools/stage_clock.h"
#include "tools/stage_work.h"
#include "tools/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    llava_request request;
    size_t runs;
    const char *json, *compare;
} bench_options;

typedef struct {
    bool ran;
    llava_instant least; /* of all runs, CPU and wall each by itself */
    llava_stage_work work;
    double earlier; /* seconds in the file of --compare; 0: none */
} stage_result;

typedef struct {
    bench_options options;
    char machine[160];
    llava_peak peak;
    char model_sha256[65], inputs_sha256[65];
    llava_bench_earlier earlier; /* of --compare */
    stage_result stages[LLAVA_BENCH_STAGES];
} bench;

static const char *path_name(const bench *b)
{
    return b->options.request.path == 1 ? "fast" : "plain";
}

static size_t list_options(void *self, llava_option *options)
{
    bench_options *o = self;
    size_t count = 0;
    llava_request_inputs(&o->request, options, &count);
    llava_request_numbers(&o->request, options, &count);
    const llava_option own[] = {
        {.name = "--runs",
         .kind = LLAVA_OPTION_COUNT,
         .target = &o->runs,
         .value = "R",
         .about = "runs, of which the least time of each stage counts (3)"},
        llava_option_json(&o->json,
                          "the table for programs (llava-ref.bench/1); - is standard output"),
        {.name = "--compare",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->compare,
         .word = LLAVA_WORD_FILE,
         .value = "FILE",
         .about = "ratio of each stage's seconds to those of an earlier --json; another machine, "
                  "model or input: refused"},
    };
    memcpy(options + count, own, sizeof own);
    return count + sizeof own / sizeof own[0];
}

static bool read_options(bench_options *o, int argc, char **argv, llava_error *e)
{
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count = list_options(o, options);
    if (!llava_request_read(&o->request, argc, argv, options, count, e)) {
        return false;
    }
    o->runs = o->runs == 0 ? 3 : o->runs;
    return true;
}

/* ---- an earlier measurement ---------------------------------------------------------------------
 */

/* Of the same processor? Asked before anything is measured. */
static bool open_earlier(bench *b, llava_error *e)
{
    const char *path = b->options.compare;
    return path == NULL || (llava_bench_earlier_open(&b->earlier, path, e) &&
                            llava_bench_earlier_same(&b->earlier, "machine.name", b->machine, e));
}

/* The earlier file's seconds, once it is known that it measured the same thing. */
static bool take_earlier(bench *b, llava_error *e)
{
    const llava_request *q = &b->options.request;
    double seconds[LLAVA_BENCH_STAGES];
    if (b->earlier.root == NULL) {
        return true;
    }
    if (!llava_bench_earlier_same(&b->earlier, "path", path_name(b), e) ||
        !llava_bench_earlier_same(&b->earlier, "dtype", llava_dtype_name((llava_dtype)q->dtype),
                                  e) ||
        !llava_bench_earlier_same(&b->earlier, "model", b->model_sha256, e) ||
        !llava_bench_earlier_same(&b->earlier, "inputs", b->inputs_sha256, e) ||
        !llava_bench_earlier_seconds(&b->earlier, q->generate, seconds, e)) {
        return false;
    }
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        b->stages[i].earlier = seconds[i];
    }
    return true;
}

/* ---- one run ------------------------------------------------------------------------------------
 */

/* What the dump stage writes: the states between the blocks, into the null device. So the disk is
 * not in the measurement, and nothing is left behind. */
typedef struct {
    llava_dump_writer *writer;
    double bytes;
} dumping;

static bool dump_wants(void *self, const char *name)
{
    (void)self;
    const char *dot = strrchr(name, '.');
    return strncmp(name, "step.", 5) != 0 &&
           (strcmp(name, "vision.features") == 0 || strcmp(name, "projector.out") == 0 ||
            strcmp(name, "text.inputs_embeds") == 0 || strcmp(name, "text.norm") == 0 ||
            (dot != NULL && strcmp(dot, ".output") == 0));
}

static bool dump_take(void *self, const llava_tap *tap, llava_error *e)
{
    dumping *d = self;
    d->bytes += (double)llava_dump_writer_bytes(tap);
    return llava_dump_writer_put(d->writer, tap, e);
}

/* The pass itself, as run would make it without --taps: logits of the last position only. */
static bool run_model(const llava_session *s, llava_run *r)
{
    const llava_inputs *in = &s->inputs;
    size_t most = s->request->generate;
    llava_tap_sizes sizes = llava_session_sizes(s, false);
    llava_goal goal = {.last_logits = true}, step = {0};
    llava_taps_goal(&s->plan, &sizes, NULL, &goal, &step);
    if (most > 0) {
        llava_answer answer;
        bool ok = llava_generate(r, &s->config, &goal, &step, in, s->convention, most, &answer);
        if (ok) {
            llava_answer_free(&answer);
        }
        return ok;
    }
    int64_t *positions = llava_alloc(r->error, in->batch * in->length, sizeof(int64_t));
    if (positions == NULL) {
        return false;
    }
    llava_outputs out;
    llava_positions(&s->plan, in, s->convention, positions);
    bool ok = llava_forward(r, &goal, in, positions, NULL, &out);
    free(positions);
    if (ok) {
        llava_outputs_free(&out);
    }
    return ok;
}

static bool timed_pass(llava_session *s, llava_stage_clock *clock, dumping *d,
                       llava_progress *progress, llava_error *e)
{
    llava_instant from = llava_instant_now();
    if (!llava_dump_writer_open(&d->writer, "/dev/null", false, NULL, e)) {
        return false;
    }
    llava_instant opened = llava_instant_now();
    llava_sink inner = {dump_wants, dump_take, d};
    llava_sink sink = llava_stage_clock_sink(clock, llava_instant_now, &inner);
    llava_sink shown = llava_progress_sink(progress, &sink);
    llava_run r = {.weights = s->weights,
                   .plan = &s->plan,
                   .sink = &shown,
                   .prefix = "",
                   .fast = s->fast,
                   .error = e};
    if (!run_model(s, &r)) {
        llava_dump_writer_abort(d->writer);
        return false;
    }
    llava_stage_clock_end(clock);
    llava_instant closing = clock->last;
    bool ok = llava_dump_writer_commit(d->writer, e);
    llava_stage_clock_add(clock, LLAVA_BENCH_DUMP, closing);
    clock->spent[LLAVA_BENCH_DUMP].cpu += opened.cpu - from.cpu;
    clock->spent[LLAVA_BENCH_DUMP].wall += opened.wall - from.wall;
    return ok;
}

/* Keeps the least of what the runs took; a step's mean for decode. */
static void keep_least(bench *b, const llava_stage_clock *clock, size_t run)
{
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        stage_result *stage = &b->stages[i];
        llava_instant spent = clock->spent[i];
        if (i == LLAVA_BENCH_DECODE && clock->steps > 0) {
            spent.cpu /= (double)clock->steps;
            spent.wall /= (double)clock->steps;
        }
        if (run == 0 || spent.cpu < stage->least.cpu) {
            stage->least.cpu = spent.cpu;
        }
        if (run == 0 || spent.wall < stage->least.wall) {
            stage->least.wall = spent.wall;
        }
        stage->ran = clock->ran[i];
    }
}

/* Whose measurement it is; an earlier one of something else is refused before the time is spent. */
static bool identify(bench *b, llava_session *s, llava_error *e)
{
    memcpy(b->inputs_sha256, s->inputs_sha256, sizeof b->inputs_sha256);
    return llava_session_model_sha256(s, b->model_sha256, e) && take_earlier(b, e);
}

static void count_work(bench *b, const llava_session *s, size_t steps, double dumped)
{
    llava_stage_work work[LLAVA_BENCH_STAGES];
    llava_stage_work_count(work, &s->plan, s->weights, &s->inputs, steps);
    work[LLAVA_BENCH_DUMP].bytes = dumped;
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        b->stages[i].work = work[i];
    }
}

/* One run from opening the files on, so that a page of the file that is touched for the first time
 * is paid for in every run. */
static bool one_run(bench *b, size_t run, llava_error *e)
{
    llava_session s;
    llava_stage_clock clock;
    dumping d = {0};
    llava_instant from = llava_instant_now();
    if (!llava_session_open(&s, &b->options.request, e)) {
        return false;
    }
    bool ok = llava_session_weights(&s, e);
    llava_instant loaded = llava_instant_now();
    if (run == 0) {
        llava_warn_unknown_keys(&s.config, b->options.request.model);
    }
    ok = ok && (run > 0 || identify(b, &s, e));
    if (ok) {
        const llava_request *q = s.request;
        size_t steps = q->generate > 0 ? q->generate - 1 : 0;
        double runs = (double)b->options.runs;
        llava_progress progress = {.from = (double)run / runs,
                                   .share = 1 / runs,
                                   .work = llava_work_of(&s.plan, &s.inputs, NULL, 0, steps)};
        ok = timed_pass(&s, &clock, &d, &progress, e);
    }
    if (ok) {
        clock.ran[LLAVA_BENCH_LOAD] = true;
        clock.spent[LLAVA_BENCH_LOAD] =
            (llava_instant){loaded.cpu - from.cpu, loaded.wall - from.wall};
        keep_least(b, &clock, run);
        count_work(b, &s, clock.steps, d.bytes);
    }
    llava_session_close(&s);
    return ok;
}

/* ---- what comes out -----------------------------------------------------------------------------
 */

/* amount / seconds in 1e9, or 0 where it is not known. */
static double rate(double amount, double seconds)
{
    return amount > 0 && seconds > 0 ? amount / seconds * 1e-9 : 0;
}

static void print_number(FILE *to, const char *format, int width, double x)
{
    if (x > 0) {
        fprintf(to, format, width, x);
    } else {
        fprintf(to, "%*s", width, "-");
    }
}

static void print_table(const bench *b, FILE *to)
{
    const llava_request *q = &b->options.request;
    fprintf(to, "machine: ");
    llava_print_escaped(to, b->machine);
    fprintf(to,
            "\none core: %.1f Gflop/s (%s, %zu lanes), reads %.1f "
            "GB/s\npath %s, dtype %s, 1 thread, least of %zu runs\n\n",
            b->peak.gflops, llava_peak_about(&b->peak.best), b->peak.best.lanes, b->peak.gbps,
            path_name(b), llava_dtype_name((llava_dtype)q->dtype), b->options.runs);
    fprintf(to, "%-15s%12s%12s%10s%9s%9s%s\n", "stage", "CPU s", "wall s", "Gflop/s", "of peak",
            "GB/s", b->earlier.root == NULL ? "" : "    ratio");
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        const stage_result *s = &b->stages[i];
        double seconds = s->ran ? s->least.cpu : 0, gflops = rate(s->work.flop, seconds);
        fprintf(to, "%-15s", llava_bench_stage_name((llava_bench_stage)i));
        print_number(to, "%*.6f", 12, seconds);
        print_number(to, "%*.6f", 12, s->ran ? s->least.wall : 0);
        print_number(to, "%*.2f", 10, gflops);
        print_number(to, "%*.3f", 9, gflops / b->peak.gflops);
        print_number(to, "%*.2f", 9, rate(s->work.bytes, seconds));
        if (b->earlier.root != NULL) {
            print_number(to, "%*.3f", 9, s->earlier > 0 ? seconds / s->earlier : 0);
        }
        fputc('\n', to);
    }
}

/* A number, or null where it is 0: not known, or the stage was not run. */
static cJSON *known(double x)
{
    return x > 0 ? cJSON_CreateNumber(x) : cJSON_CreateNull();
}

static void put_stage(const bench *b, bool *lost, cJSON *stages, size_t i)
{
    const stage_result *s = &b->stages[i];
    double seconds = s->ran ? s->least.cpu : 0, gflops = rate(s->work.flop, seconds);
    const char *name = llava_bench_stage_name((llava_bench_stage)i);
    cJSON *item = llava_json_put(lost, stages, NULL, cJSON_CreateObject());
    llava_json_put(lost, item, "name", cJSON_CreateString(name));
    llava_json_put(lost, item, "seconds", known(seconds));
    llava_json_put(lost, item, "wall_seconds", known(s->ran ? s->least.wall : 0));
    llava_json_put(lost, item, "gflops", known(gflops));
    llava_json_put(lost, item, "of_peak", known(gflops / b->peak.gflops));
    llava_json_put(lost, item, "gbps", known(rate(s->work.bytes, seconds)));
    if (b->earlier.root != NULL) {
        double ratio = s->earlier > 0 ? seconds / s->earlier : 0;
        llava_json_put(lost, item, "ratio", known(ratio));
    }
}

/* The whole tree, or NULL where memory is out. */
static cJSON *make_json(const bench *b)
{
    const llava_request *q = &b->options.request;
    bool lost = false;
    cJSON *root = cJSON_CreateObject();
    const struct {
        const char *key;
        cJSON *value;
    } about[] = {
        {"schema", cJSON_CreateString(LLAVA_BENCH_SCHEMA)},
        {"program", cJSON_CreateString("llava-ref " LLAVA_VERSION)},
        {"path", cJSON_CreateString(path_name(b))},
        {"dtype", cJSON_CreateString(llava_dtype_name((llava_dtype)q->dtype))},
        {"threads", cJSON_CreateNumber(1)},
        {"runs", cJSON_CreateNumber((double)b->options.runs)},
        {"generate", cJSON_CreateNumber((double)q->generate)},
        {"model", cJSON_CreateString(b->model_sha256)},
        {"inputs", cJSON_CreateString(b->inputs_sha256)},
    };
    for (size_t i = 0; i < sizeof about / sizeof about[0]; i++) {
        llava_json_put(&lost, root, about[i].key, about[i].value);
    }
    cJSON *machine = llava_json_put(&lost, root, "machine", cJSON_CreateObject());
    const char *peak_of = llava_peak_about(&b->peak.best);
    llava_json_put(&lost, machine, "name", cJSON_CreateString(b->machine));
    llava_json_put(&lost, machine, "peak_gflops", cJSON_CreateNumber(b->peak.gflops));
    llava_json_put(&lost, machine, "read_gbps", cJSON_CreateNumber(b->peak.gbps));
    llava_json_put(&lost, machine, "peak_of", cJSON_CreateString(peak_of));
    llava_json_put(&lost, machine, "lanes", cJSON_CreateNumber((double)b->peak.best.lanes));
    cJSON *stages = llava_json_put(&lost, root, "stages", cJSON_CreateArray());
    for (size_t i = 0; i < LLAVA_BENCH_STAGES; i++) {
        put_stage(b, &lost, stages, i);
    }
    if (lost) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

static bool write_results(const bench *b, llava_error *e)
{
    bool taken = b->options.json != NULL && strcmp(b->options.json, "-") == 0;
    if (b->options.json != NULL) {
        cJSON *json = make_json(b);
        bool ok = llava_json_write(json, b->options.json, e);
        cJSON_Delete(json);
        if (!ok) {
            return false;
        }
    }
    print_table(b, taken ? stderr : stdout);
    return true;
}

static bool measure(bench *b, llava_error *e)
{
    FILE *cpuinfo = fopen("/proc/cpuinfo", "r");
    llava_machine_name(cpuinfo, b->machine, sizeof b->machine);
    if (cpuinfo != NULL) {
        fclose(cpuinfo);
    }
    if (!open_earlier(b, e)) {
        return false;
    }
    llava_progress_begin();
    for (size_t run = 0; run < b->options.runs; run++) {
        if (!one_run(b, run, e)) {
            return false;
        }
    }
    llava_progress_end();
    const llava_request *q = &b->options.request;
    llava_peak_kind kind = q->path == 0             ? LLAVA_PEAK_F64
                           : q->dtype == LLAVA_BF16 ? LLAVA_PEAK_BF16
                                                    : LLAVA_PEAK_F32;
    return llava_peak_measure(&b->peak, kind, e) && write_results(b, e);
}

static int run_bench(int argc, char **argv, llava_error *e)
{
    bench b = {0};
    bool ok = read_options(&b.options, argc, argv, e) && measure(&b, e);
    llava_bench_earlier_close(&b.earlier);
    llava_request_free(&b.options.request);
    return ok ? LLAVA_DONE : LLAVA_CANNOT;
}

static const char *const synopsis[] = {
    "--model DIR --inputs IN.npz [--generate N] [--path plain|fast] [--dtype TYPE] [OPTION]...",
    NULL,
};

static const llava_example examples[] = {
    {"llava-ref bench --model golden/generate/model --inputs golden/generate/inputs.npz "
     "--generate 4 --runs 1",
     LLAVA_DONE},
    {NULL, 0},
};

const llava_command llava_command_bench = {
    .name = "bench",
    .run = run_bench,
    .about = "time and rate of each stage, beside this machine's own measured peak",
    .synopsis = synopsis,
    .room = sizeof(bench_options),
    .options = list_options,
    .details =
        "Seconds are CPU seconds of the process; with --generate the stage `decode` is one token. "
        "Gflop/s counts 2 for each multiply and add of a product; `of peak` divides by what one "
        "core reaches: with separate multiplies and adds in float64, which is what the plain path "
        "computes with; on the fast path with fused float32 ones, or bfloat16 pairs. GB/s counts "
        "each weight once, as it lies in the file. docs/performance.md says what each stage takes "
        "in.",
    .examples = examples,
};
