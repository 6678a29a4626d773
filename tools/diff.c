/* llava-ref diff: two dumps held against each other, tensor by tensor (contract section 6). */
#include "tools/diff.h"
#include "tools/effects.h"
#include "tools/picture_sizes.h"

#include "ref/json.h"
#include "tools/command.h"
#include "tools/names.h"
#include "tools/nearest.h"
#include "tools/options.h"
#include "tools/json_out.h"
#include "tools/output.h"
#include "tools/port.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/sinks.h"
#include "tools/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *expected, *actual, *peer, *map, *json, *html, *junit, *taps, *require;
    llava_request model; /* --model, --profile, --vision-tower; nothing else of it */
} diff_options;

typedef struct {
    diff_options o;
    llava_dump *expected;
    llava_port *actual, *peer;
    llava_counting counting;
    llava_plan plan; /* of --model */
    llava_globs taps, require;
    llava_tower_seen tower;    /* in EXPECTED's names */
    llava_dtype types[2];      /* of ACTUAL: tower and projector, language model */
    size_t peer_flip;          /* the first step whose token PEER chose otherwise; SIZE_MAX: none */
    llava_honest *honest;      /* --model: an honest port, replayed from EXPECTED; NULL: none */
    double elements, compared; /* of EXPECTED, for the progress */
    llava_diff result;
} differ;

const char *llava_verdict_name(llava_verdict verdict)
{
    static const char *const names[] = {"pass", "warn", "cannot-judge", "differ"};
    return names[verdict];
}

static size_t list_options(void *self, llava_option *options)
{
    diff_options *o = self;
    const llava_option own[] = {
        {.name = "--peer",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->peer,
         .word = LLAVA_WORD_DUMP,
         .value = "PEER",
         .about = "an honest dump of ACTUAL's type: errors are judged by their ratio to its own"},
        llava_option_map(&o->map),
        {.name = "--model",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->model.model,
         .word = LLAVA_WORD_FOLDER,
         .value = "DIR",
         .about =
             "replay the model from EXPECTED: bounds from an honest port of ACTUAL's type, and "
             "what each wrong decision would have done beside them"},
        {.name = "--taps",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->taps,
         .word = LLAVA_WORD_TAPS,
         .value = "GLOB[,GLOB...]",
         .about = "compare only these"},
        {.name = "--require",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->require,
         .word = LLAVA_WORD_TAPS,
         .value = "GLOB[,GLOB...]",
         .about = "these must be there"},
        llava_option_json(&o->json,
                          "the result for programs (llava-ref.diff/1); - is standard output"),
        {.name = "--junit",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->junit,
         .word = LLAVA_WORD_OUT,
         .value = "FILE",
         .about = "the result as a JUnit test suite, one test a tensor"},
        {.name = "--html",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->html,
         .word = LLAVA_WORD_OUT,
         .value = "FILE",
         .about = "the result as one page, with pictures of the first tensor that differs"},
    };
    size_t count = sizeof own / sizeof own[0];
    memcpy(options, own, sizeof own);
    llava_request_spelling(&o->model, options, &count);
    return count;
}

static bool read_options(diff_options *o, int argc, char **argv, llava_error *e)
{
    llava_option options[LLAVA_OPTIONS_MOST];
    const char *words[2] = {NULL, NULL};
    llava_operands operands = {.words = words, .most = 2};
    size_t count = list_options(o, options);
    if (!llava_options_read(argc, argv, options, count, &operands, e)) {
        return false;
    }
    if (o->model.model == NULL && (o->model.profile != 0 || o->model.vision_tower != NULL)) {
        return llava_fail(e, "diff: --profile and --vision-tower go with --model");
    }
    if (operands.count != 2) {
        return llava_fail(e, "diff: two dumps are needed, EXPECTED and ACTUAL");
    }
    o->expected = words[0];
    o->actual = words[1];
    return true;
}

/* ---- opening
 * -------------------------------------------------------------------------------------- */

/* Dumps of other inputs can't be compared; of another model they can, with a warning. */
static bool check_meta(const differ *d, llava_error *e)
{
    const char *const paths[2] = {d->o.expected, d->o.actual};
    const char *const metas[2] = {llava_dump_meta(d->expected), llava_port_meta(d->actual)};
    char *inputs[2] = {NULL}, *models[2] = {NULL};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) {
        ok = llava_dump_meta_string(paths[i], metas[i], "inputs", &inputs[i], e) &&
             llava_dump_meta_string(paths[i], metas[i], "model", &models[i], e);
    }
    if (ok && inputs[0] != NULL && inputs[1] != NULL && strcmp(inputs[0], inputs[1]) != 0) {
        ok = llava_fail(e, "%s: made from other inputs than %s (inputs SHA-256 %.12s.., %.12s..)",
                        d->o.actual, d->o.expected, inputs[1], inputs[0]);
    }
    if (models[0] != NULL && models[1] != NULL && strcmp(models[0], models[1]) != 0) {
        char text[1024];
        snprintf(text, sizeof text, "%s: made with another model than %s", d->o.actual,
                 d->o.expected);
        llava_warn(text);
    }
    for (int i = 0; i < 2; i++) {
        free(inputs[i]);
        free(models[i]);
    }
    return ok;
}

/* The plain path adds in float64 whatever the type, so its float32 dump is nearer to the truth than
 * a port whose sums are float32's: 4 to 5 times at a product of a few hundred terms. */
static bool warn_of_exact_sums(const differ *d, llava_error *e)
{
    const char *meta = d->peer == NULL ? NULL : llava_port_meta(d->peer);
    char *program = NULL, *path = NULL, *dtype = NULL;
    bool ok = llava_dump_meta_string(d->o.peer, meta, "program", &program, e) &&
              llava_dump_meta_string(d->o.peer, meta, "path", &path, e) &&
              llava_dump_meta_string(d->o.peer, meta, "dtype", &dtype, e);
    if (program != NULL && strncmp(program, "llava-ref ", 10) == 0 && path != NULL &&
        strcmp(path, "plain") == 0 && dtype != NULL && strcmp(dtype, "f32") == 0) {
        char text[1024];
        snprintf(text, sizeof text,
                 "%s: the plain path adds in float64, so ports that add in float32 may differ much "
                 "more than this peer; one made with --path fast adds as they do",
                 d->o.peer);
        llava_warn(text);
    }
    free(program);
    free(path);
    free(dtype);
    return ok;
}

/* One of four dimensions: what is above LLAVA_MASKED is seen where floats are added, what is not 0
 * otherwise. *square: there is one. */
static bool read_square_mask(differ *d, bool *square, llava_error *e)
{
    const llava_dump_entry *mine = llava_dump_find(d->expected, "attention_mask");
    const llava_port_tensor *theirs = llava_port_find(d->actual, "attention_mask");
    bool from_mine = mine != NULL && mine->array.rank == 4;
    const size_t *shape = from_mine ? mine->array.shape : theirs == NULL ? NULL : theirs->shape;
    *square = from_mine || (mine == NULL && theirs != NULL && theirs->rank == 4);
    if (!*square || shape[0] == 0 || shape[1] != 1 || shape[2] == 0 || shape[2] != shape[3]) {
        *square = false;
        return true;
    }
    double *values;
    size_t count = from_mine ? mine->array.count : theirs->count;
    bool added = from_mine ? mine->array.kind == 'f' : theirs->floating;
    if (from_mine ? !llava_dump_load(d->expected, mine, &values, e)
                  : !llava_port_load(d->actual, theirs, &values, e)) {
        return false;
    }
    uint8_t *sees = llava_alloc(e, count, 1);
    for (size_t i = 0; sees != NULL && i < count; i++) {
        sees[i] = added ? values[i] > LLAVA_MASKED : values[i] != 0;
    }
    bool ok = sees != NULL && llava_counting_square(&d->counting, shape[0], shape[2], sees, e);
    free(values);
    free(sees);
    return ok;
}

/* The attention mask decides what counts: EXPECTED's, else ACTUAL's, else all ones. */
static bool read_mask(differ *d, llava_error *e)
{
    bool square = false;
    if (!read_square_mask(d, &square, e)) {
        return false;
    }
    if (square) {
        return true;
    }
    const llava_dump_entry *mine = llava_dump_find(d->expected, "attention_mask");
    const llava_port_tensor *theirs = llava_port_find(d->actual, "attention_mask");
    if (mine != NULL && mine->array.rank == 2) {
        d->counting.batch = mine->array.shape[0];
        d->counting.length = mine->array.shape[1];
        return llava_dump_load_integers(d->expected, mine, &d->counting.mask, e);
    }
    if (theirs != NULL && theirs->rank == 2) {
        d->counting.batch = theirs->shape[0];
        d->counting.length = theirs->shape[1];
        return llava_port_load_integers(d->actual, theirs, &d->counting.mask, e);
    }
    return true;
}

/* The pictures that share one sequence of the tower: EXPECTED's word, else ACTUAL's. */
static bool read_pictures(differ *d, llava_error *e)
{
    const size_t most = 1 << 22; /* patches: the square of them is beyond any dump */
    llava_picture_sizes s;
    if (!llava_picture_sizes_read(&s, d->o.expected, llava_dump_meta(d->expected), e) ||
        (s.count == 0 &&
         !llava_picture_sizes_read(&s, d->o.actual, llava_port_meta(d->actual), e))) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < s.count; i++) {
        /* sizes are below 2^31 */
        int64_t patches = s.sizes[2 * i] / s.patch * (s.sizes[2 * i + 1] / s.patch);
        ok = patches <= (int64_t)(most - d->counting.patches) ||
             llava_fail(e, "%s: __meta__: image_sizes: more than %zu patches", d->o.expected, most);
        ok = ok && llava_counting_add_picture(&d->counting, (size_t)patches, e);
    }
    free(s.sizes);
    return ok;
}

static bool open_all(differ *d, llava_error *e)
{
    const diff_options *o = &d->o;
    llava_config config;
    llava_choices right = {0};
    const llava_plan *sizes = NULL;
    if (o->model.model != NULL) {
        if (!llava_request_config(&config, &o->model, e)) {
            return false;
        }
        /* LCOV_EXCL_START: in 64 bits no size that a configuration may have overflows */
        if (!llava_plan_make(&d->plan, &config, &right, LLAVA_F64, false, e)) {
            return false;
        }
        /* LCOV_EXCL_STOP */
        sizes = &d->plan;
        d->counting.text_plan = &d->plan.text;
    }
    if (!llava_dump_open(&d->expected, o->expected, e) ||
        !llava_port_open_beside(&d->actual, o->actual, o->map, sizes, d->expected, e) ||
        (o->peer != NULL && !llava_port_open(&d->peer, o->peer, NULL, NULL, e))) {
        return false;
    }
    return warn_of_exact_sums(d, e) && check_meta(d, e) && read_mask(d, e) && read_pictures(d, e) &&
           (o->taps == NULL || llava_globs_parse(&d->taps, o->taps, e)) &&
           (o->require == NULL || llava_globs_parse(&d->require, o->require, e));
}

/* ---- one tensor
 * ----------------------------------------------------------------------------------- */

enum { PIECE = 65536 };

/* EXPECTED's entry against a port's tensor of the same shape, piece by piece. */
static bool compare_tensors(differ *d, const llava_dump_entry *entry, llava_port *port,
                            const llava_port_tensor *tensor, llava_comparison *result,
                            llava_error *e)
{
    llava_comparer *comparer;
    double *x = llava_alloc(e, PIECE, sizeof(double)), *y = llava_alloc(e, PIECE, sizeof(double));
    bool ok = x != NULL && y != NULL &&
              llava_comparer_open(&comparer, &d->counting, entry->name, entry->array.rank,
                                  entry->array.shape, e);
    if (ok) {
        llava_comparer_only(comparer, tensor);
        ok = llava_comparer_quantiles(comparer, e);
        for (size_t at = 0; ok && at < entry->array.count; at += PIECE) {
            llava_progress_show((d->compared + (double)at) / d->elements, NULL, entry->name);
            size_t n = entry->array.count - at < PIECE ? entry->array.count - at : PIECE;
            ok = llava_dump_read(d->expected, entry, at, n, x, e) &&
                 llava_port_read(port, tensor, at, n, y, e);
            if (ok) {
                llava_comparer_add(comparer, x, y, n);
            }
        }
        *result = llava_comparer_close(comparer);
    }
    free(x);
    free(y);
    return ok;
}

static bool same_shape(const llava_dump_entry *entry, const llava_port_tensor *tensor)
{
    bool same = entry->array.rank == tensor->rank;
    for (int i = 0; same && i < tensor->rank; i++) {
        same = entry->array.shape[i] == tensor->shape[i];
    }
    return same;
}

static void judge(llava_diff_tensor *t, llava_verdict verdict, const char *why)
{
    t->verdict = verdict;
    t->why = why;
}

/* Error against bound, both ways of measuring: the larger ratio counts. NaN never passes. */
static void judge_by_bound(llava_diff_tensor *t)
{
    double l2 = t->numbers.rel_l2 / t->bound.l2, max = t->numbers.rel_max / t->bound.max;
    t->ratio = l2 > max ? l2 : max;
    if (!(l2 <= 1) || !(max <= 1)) {
        judge(t, LLAVA_DIFFER, "error above the bound");
    }
}

/* Contract section 6: in L2 below 2 passes, below 4 warns; in max 4 and 8. */
static void judge_by_peer(llava_diff_tensor *t)
{
    double l2 = t->numbers.rel_l2 / t->peer_l2, max = t->numbers.rel_max / t->peer_max;
    t->ratio = l2;
    if (!(l2 < 4) || !(max < 8)) {
        judge(t, LLAVA_DIFFER, "much further off than the peer");
    } else if (!(l2 < 2) || !(max < 4)) {
        judge(t, LLAVA_WARN, "further off than the peer");
    }
}

/* PEER's own errors of this tensor; has_peer where they can be used. */
static bool measure_peer(differ *d, const llava_dump_entry *entry, llava_diff_tensor *t,
                         llava_error *e)
{
    const llava_port_tensor *tensor =
        d->peer == NULL ? NULL : llava_port_find(d->peer, entry->name);
    if (tensor == NULL) {
        return true;
    }
    llava_comparison numbers;
    llava_tap_place place;
    llava_tap_find(entry->name, &place); /* a port's tensors are taps */
    if (place.step > d->peer_flip) {
        return true;
    }
    if (!same_shape(entry, tensor)) {
        judge(t, LLAVA_CANNOT_JUDGE, "the peer's shape is another");
        return true;
    }
    if (!compare_tensors(d, entry, d->peer, tensor, &numbers, e)) {
        return false;
    }
    if (numbers.mismatched > 0) {
        judge(t, LLAVA_CANNOT_JUDGE, "NaN or infinity in the peer");
        return true;
    }
    t->has_peer = true;
    t->peer_l2 = numbers.rel_l2;
    t->peer_max = numbers.rel_max;
    return true;
}

/* What honest rounding does to a tensor: as the replayed honest port shows, else from the types. */
static llava_bound bound_of(const differ *d, const char *name, size_t width, llava_dtype expected,
                            llava_dtype type)
{
    llava_bound replayed;
    if (d->honest != NULL && expected == LLAVA_F64 && type != LLAVA_F64 &&
        llava_honest_bound(d->honest, name, &replayed)) {
        /* no port gets below its own tensor's rounding, even where this honest one was lucky */
        return (llava_bound){fmax(replayed.l2, llava_unit(type)),
                             fmax(replayed.max, 4 * llava_unit(type))};
    }
    return llava_bound_alone(name, width, &d->tower, expected, type);
}

static bool judge_numbers(differ *d, const llava_dump_entry *entry, llava_diff_tensor *t,
                          llava_dtype expected_type, llava_error *e)
{
    size_t width = t->rank == 0 ? 1 : t->shape[t->rank - 1];
    int part = llava_part_of_tap(entry->name);
    llava_dtype type = part < 0 ? t->type : d->types[part];
    t->bound = bound_of(d, entry->name, width, expected_type, type);
    t->ratio = -1;
    if (t->numbers.mismatched > 0) {
        judge(t, LLAVA_DIFFER, "NaN or infinity");
        return true;
    }
    if (!measure_peer(d, entry, t, e)) {
        return false;
    }
    if (t->verdict == LLAVA_CANNOT_JUDGE) {
        return true;
    }
    if (t->has_peer && t->peer_l2 > 0) { /* then its error in max is not 0 either */
        judge_by_peer(t);
    } else {
        judge_by_bound(t);
        t->ratio = t->has_peer ? -1 : t->ratio;
    }
    return true;
}

/* generated_ids with differing tokens. Its numbers are of the tokens that can be compared. */
static void judge_tokens(const llava_flips *f, llava_diff_tensor *t,
                         const llava_port_tensor *theirs)
{
    t->numbers.count = f->compared;
    t->numbers.unequal = f->count;
    t->numbers.rel_l2 = 1; /* of ids only equality means something */
    t->numbers.max_abs = t->numbers.rel_max = t->numbers.cosine = (double)NAN;
    t->numbers.worst_index = f->flips[0].sample * t->shape[1] + f->flips[0].step;
    t->numbers.worst_expected = (double)f->flips[0].expected;
    t->numbers.worst_actual = (double)f->flips[0].actual;
    if (f->other_length) {
        t->other_shape = true;
        t->actual_rank = theirs->rank;
        memcpy(t->actual_shape, theirs->shape, sizeof t->actual_shape);
        judge(t, LLAVA_DIFFER, "another shape");
        return;
    }
    judge(t, f->all_near_ties ? LLAVA_WARN : LLAVA_DIFFER, f->why);
}

/* Integers, masks, ids and pictures are compared exactly, whatever type a dump stores them in. */
static bool is_exact(const llava_dump_entry *entry)
{
    const size_t n = strlen(entry->name);
    bool ids = n > 4 && strcmp(entry->name + n - 4, "_ids") == 0;
    bool floating = entry->array.kind == 'f' || entry->array.kind == 'B';
    return !floating || ids || strncmp(entry->name, "image.", 6) == 0;
}

static bool diff_tensor(differ *d, const llava_dump_entry *entry, const llava_port_tensor *tensor,
                        llava_diff_tensor *t, llava_error *e)
{
    llava_dtype expected_type;
    llava_tap_place place;
    t->name = llava_text(e, entry->name, strlen(entry->name));
    t->rank = entry->array.rank;
    memcpy(t->shape, entry->array.shape, sizeof t->shape);
    t->exact = is_exact(entry);
    t->ratio = -1;
    if (t->name == NULL) {
        return false;
    }
    if (d->result.flips.count > 0 && strcmp(t->name, "generated_ids") == 0) {
        judge_tokens(&d->result.flips, t, tensor);
        return true;
    }
    if (!same_shape(entry, tensor)) {
        t->other_shape = true;
        t->actual_rank = tensor->rank;
        memcpy(t->actual_shape, tensor->shape, sizeof t->actual_shape);
        judge(t, LLAVA_DIFFER, "another shape");
        return true;
    }
    if (!compare_tensors(d, entry, d->actual, tensor, &t->numbers, e)) {
        return false;
    }
    if (t->numbers.count == 0) {
        llava_tap_find(entry->name, &place); /* a port's tensors are taps */
        bool behind = place.step > 0 && d->counting.flipped != NULL;
        judge(t, LLAVA_CANNOT_JUDGE,
              behind ? "behind a token that differs" : "nothing in it counts");
        return true;
    }
    if (t->exact) {
        if (t->numbers.unequal > 0) {
            judge(t, LLAVA_DIFFER, "must be equal");
        }
        return true;
    }
    return llava_measure_type(d->expected, entry, &expected_type, e) &&
           llava_measure_port_type(d->actual, tensor, &t->type, e) &&
           judge_numbers(d, entry, t, expected_type, e);
}

/* ---- all tensors
 * ---------------------------------------------------------------------------------- */

/* The bound of a logits tensor in L2, for a token's near tie. */
static bool logits_bound(void *self, const char *name, size_t width, double *l2, llava_error *e)
{
    const differ *d = self;
    llava_dtype mine = LLAVA_F64;
    if (!llava_measure_type(d->expected, llava_dump_find(d->expected, name), &mine, e)) {
        return false;
    }
    *l2 = bound_of(d, name, width, mine, d->types[1]).l2;
    return true;
}

/* Tokens first: what stands behind one that differs does not count. */
static bool find_flips(differ *d, llava_error *e)
{
    const llava_dump_entry *ids = llava_dump_find(d->expected, "generated_ids");
    llava_flips *f = &d->result.flips;
    bool known;
    if (!llava_port_type_known(d->actual, 2, d->types, &known, e) ||
        !llava_flips_find(f, d->expected, d->actual, known ? logits_bound : NULL, d, e) ||
        (d->peer != NULL && !llava_first_flip(d->expected, d->peer, &d->peer_flip, e))) {
        return false;
    }
    return f->count == 0 || llava_flips_count(f, ids->array.shape[0], &d->counting, e);
}

/* With --model: how far an honest port of ACTUAL's type gets, and what each wrong decision does. */
static bool replay_model(differ *d, llava_error *e)
{
    llava_dtype type = d->types[1];
    llava_error why;
    if (d->o.model.model == NULL) {
        return true;
    }
    if (!llava_honest_open(&d->honest, &d->o.model, d->o.expected, type, &why)) {
        llava_warn(why.text);
        llava_warn("--model: EXPECTED cannot be replayed; the bounds come from types and shapes");
        return true;
    }
    return llava_effects_measure(d->honest, &d->result.effects, &d->result.effect_count, e);
}

/* EXPECTED's tensors in the order of the flow; names that are no taps come last, as they lie. */
typedef struct {
    const llava_dump_entry *entry;
    llava_tap_place place;
    size_t index;
    bool known;
} placed;

static int in_flow(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->known != y->known) {
        return x->known ? -1 : 1;
    }
    int by_place = x->known ? llava_tap_compare(&x->place, &y->place) : 0;
    return by_place != 0 ? by_place : (x->index > y->index) - (x->index < y->index);
}

static placed *sort_expected(differ *d, size_t *count, llava_error *e)
{
    *count = llava_dump_count(d->expected);
    placed *list = llava_alloc(e, *count, sizeof *list);
    for (size_t i = 0; list != NULL && i < *count; i++) {
        list[i].entry = llava_dump_at(d->expected, i);
        list[i].index = i;
        list[i].known = llava_tap_find(list[i].entry->name, &list[i].place);
        if (list[i].known) {
            llava_tower_see(&d->tower, &list[i].place);
        }
    }
    if (list != NULL) {
        qsort(list, *count, sizeof *list, in_flow);
    }
    return list;
}

static bool add_name(char ***names, size_t *count, const char *name, llava_error *e)
{
    char **grown = llava_realloc(e, *names, *count + 1, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    *names = grown;
    grown[*count] = llava_text(e, name, strlen(name));
    if (grown[*count] == NULL) {
        return false;
    }
    ++*count;
    return true;
}

/* ACTUAL's tensors that EXPECTED lacks. */
static bool list_extra(differ *d, llava_error *e)
{
    llava_diff *r = &d->result;
    bool ok = true;
    for (size_t i = 0; ok && i < llava_port_count(d->actual); i++) {
        const char *name = llava_port_at(d->actual, i)->name;
        ok = llava_dump_find(d->expected, name) != NULL ||
             add_name(&r->extra, &r->extra_count, name, e);
    }
    for (size_t i = 0; ok && i < llava_port_extra_count(d->actual); i++) {
        ok = add_name(&r->extra, &r->extra_count, llava_port_extra_at(d->actual, i), e);
    }
    return ok;
}

static bool diff_listed(differ *d, const placed *list, size_t count, bool *required_missing,
                        llava_error *e)
{
    llava_diff *r = &d->result;
    llava_progress_begin();
    for (size_t i = 0; i < count; i++) {
        d->elements += (double)list[i].entry->array.count;
    }
    for (size_t i = 0; i < count; i++) {
        const llava_dump_entry *entry = list[i].entry;
        d->compared += i == 0 ? 0 : (double)list[i - 1].entry->array.count;
        if (d->o.taps != NULL && !llava_globs_match(&d->taps, entry->name)) {
            continue;
        }
        bool required = d->o.require != NULL && llava_globs_match(&d->require, entry->name);
        const llava_port_tensor *tensor = llava_port_find(d->actual, entry->name);
        if (tensor == NULL) {
            *required_missing |= required;
            if (!add_name(&r->missing, &r->missing_count, entry->name, e)) {
                return false;
            }
            continue;
        }
        if (!diff_tensor(d, entry, tensor, &r->tensors[r->count++], e)) {
            return false;
        }
    }
    return true;
}

/* The whole verdict: the worst of the tensors, cannot-judge where nothing decided. A tensor in
 * which nothing counts decides nothing; one that the peer gives no measure for leaves the whole
 * undecided. */
static void conclude(differ *d, bool required_missing)
{
    llava_diff *r = &d->result;
    size_t judged = 0;
    const llava_diff_tensor *unjudged = NULL;
    r->first_divergence = r->count;
    for (size_t i = 0; i < r->count; i++) {
        const llava_diff_tensor *t = &r->tensors[i];
        bool decides = t->verdict != LLAVA_CANNOT_JUDGE;
        judged += decides;
        if (t->verdict == LLAVA_DIFFER && r->first_divergence == r->count) {
            r->first_divergence = i;
        }
        if (decides && t->verdict > r->verdict) {
            r->verdict = t->verdict;
        }
        if (!decides && t->numbers.count > 0 && unjudged == NULL) {
            unjudged = t;
        }
    }
    const char *taps = d->o.taps == NULL ? NULL : llava_globs_unmatched(&d->taps);
    const char *require = d->o.require == NULL ? NULL : llava_globs_unmatched(&d->require);
    bool cannot =
        judged == 0 || unjudged != NULL || required_missing || taps != NULL || require != NULL;
    if (taps != NULL || require != NULL) {
        char hint[LLAVA_HINT];
        llava_nearest near = {.word = taps != NULL ? taps : require};
        for (size_t i = 0; i < llava_dump_count(d->expected); i++) {
            llava_nearest_offer(&near, llava_dump_at(d->expected, i)->name);
        }
        snprintf(r->note, sizeof r->note, "%s %.*s matches no tensor of EXPECTED%s",
                 taps != NULL ? "--taps" : "--require", 100, near.word,
                 llava_did_you_mean(near.best, hint));
    } else if (unjudged != NULL) {
        snprintf(r->note, sizeof r->note, "%.120s: %s", unjudged->name, unjudged->why);
    } else if (judged == 0) {
        snprintf(r->note, sizeof r->note, "nothing was compared");
    } else if (required_missing) {
        snprintf(r->note, sizeof r->note, "a tensor that --require names is missing");
    }
    if (cannot && r->verdict < LLAVA_CANNOT_JUDGE) {
        r->verdict = LLAVA_CANNOT_JUDGE;
    }
}

static bool diff_all(differ *d, llava_error *e)
{
    size_t count;
    bool required_missing = false;
    placed *list = sort_expected(d, &count, e);
    if (list != NULL && !find_flips(d, e)) {
        free(list);
        return false;
    }
    d->result.tensors = list == NULL ? NULL : llava_alloc(e, count, sizeof *d->result.tensors);
    bool ok = d->result.tensors != NULL && diff_listed(d, list, count, &required_missing, e) &&
              list_extra(d, e);
    free(list);
    if (ok) {
        conclude(d, required_missing);
    }
    return ok;
}

void llava_diff_free(llava_diff *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->tensors[i].name);
    }
    for (size_t i = 0; i < r->missing_count; i++) {
        free(r->missing[i]);
    }
    for (size_t i = 0; i < r->extra_count; i++) {
        free(r->extra[i]);
    }
    llava_flips_free(&r->flips);
    free(r->effects);
    free(r->tensors);
    free(r->missing);
    free(r->extra);
    *r = (llava_diff){0};
}

static bool write_json(const llava_diff *r, const char *path, llava_error *e)
{
    cJSON *json = llava_diff_json(r);
    bool ok = llava_json_write(json, path, e);
    cJSON_Delete(json);
    return ok;
}

/* One tensor of both dumps, for its pictures. */
typedef struct {
    differ *d;
    const llava_dump_entry *entry;
    const llava_port_tensor *tensor;
} pair;

static bool read_pair(void *self, size_t first, size_t n, double *expected, double *actual,
                      llava_error *e)
{
    const pair *p = self;
    return llava_dump_read(p->d->expected, p->entry, first, n, expected, e) &&
           llava_port_read(p->d->actual, p->tensor, first, n, actual, e);
}

/* The first tensor that differs; NULL where there is none, or of another shape. */
static bool view_first(differ *d, llava_view **view, llava_error *e)
{
    const llava_diff *r = &d->result;
    *view = NULL;
    if (r->first_divergence == r->count || r->tensors[r->first_divergence].numbers.count == 0) {
        return true;
    }
    const llava_diff_tensor *t = &r->tensors[r->first_divergence];
    pair p = {d, llava_dump_find(d->expected, t->name), llava_port_find(d->actual, t->name)};
    if (!same_shape(p.entry, p.tensor)) {
        return true;
    }
    llava_view_source source = {.read = read_pair,
                                .self = &p,
                                .counting = &d->counting,
                                .given = p.tensor,
                                .name = t->name,
                                .rank = t->rank,
                                .shape = t->shape,
                                .comparison = &t->numbers};
    return llava_view_make(view, &source, e);
}

static bool write_html(differ *d, llava_error *e)
{
    llava_view *view;
    bool ok = view_first(d, &view, e) && llava_report_diff(&d->result, view, d->o.html, e);
    llava_view_free(view);
    return ok;
}

static bool report(differ *d, llava_error *e)
{
    const diff_options *o = &d->o;
    bool taken = (o->json != NULL && strcmp(o->json, "-") == 0) ||
                 (o->html != NULL && strcmp(o->html, "-") == 0) ||
                 (o->junit != NULL && strcmp(o->junit, "-") == 0);
    llava_progress_end();
    llava_diff_print(&d->result, taken ? stderr : stdout);
    return (o->json == NULL || write_json(&d->result, o->json, e)) &&
           (o->html == NULL || write_html(d, e)) &&
           (o->junit == NULL || llava_diff_junit(&d->result, o->junit, e));
}

/* What ACTUAL was computed in, part by part. The language model is no better than the tower that it
 * is fed by, and float64 with float32 islands no better than float32. */
static bool measure_types(differ *d, llava_error *e)
{
    llava_port_votes votes;
    if (!llava_count_votes(d->actual, &votes, e)) {
        return false;
    }
    for (int part = 0; part < 2; part++) {
        llava_dtype most = llava_most_votes(&votes, part);
        bool narrow = most == LLAVA_F64 && llava_votes_for_islands(&votes);
        d->types[part] = narrow ? LLAVA_F32 : most;
    }
    if (llava_unit(d->types[0]) > llava_unit(d->types[1])) {
        d->types[1] = d->types[0];
    }
    return true;
}

static int diff(int argc, char **argv, llava_error *e)
{
    differ d = {0};
    bool ok = read_options(&d.o, argc, argv, e) && open_all(&d, e);
    if (ok) {
        d.result.expected = d.o.expected;
        d.result.actual = d.o.actual;
        d.result.peer = d.o.peer;
        ok = measure_types(&d, e) && replay_model(&d, e) && diff_all(&d, e) && report(&d, e);
    }
    llava_verdict verdict = d.result.verdict;
    if (ok && verdict == LLAVA_CANNOT_JUDGE) {
        llava_fail(e, "%s: %s", d.o.actual, d.result.note);
    }
    llava_dump_close(d.expected);
    llava_port_close(d.actual);
    llava_port_close(d.peer);
    llava_honest_close(d.honest);
    llava_globs_free(&d.taps);
    llava_globs_free(&d.require);
    llava_counting_free(&d.counting);
    llava_diff_free(&d.result);
    return !ok || verdict == LLAVA_CANNOT_JUDGE ? LLAVA_CANNOT
           : verdict == LLAVA_DIFFER            ? LLAVA_DIFFERS
                                                : LLAVA_DONE;
}

static const char *const synopsis[] = {"EXPECTED ACTUAL [OPTION]...", NULL};

static const llava_operand dumps[] = {
    {"EXPECTED", "the more precise dump, normally float64: .npz, a folder of .npy, or .safetensors",
     LLAVA_WORD_DUMP},
    {"ACTUAL", "the port's", LLAVA_WORD_DUMP},
    {NULL, NULL, LLAVA_WORD_ANY},
};

static const llava_example examples[] = {
    {"llava-ref diff golden/plain/true.npz golden/plain/bf16.npz", LLAVA_DONE},
    {"llava-ref run --model golden/plain/model --inputs golden/plain/inputs.npz "
     "--set vision.cls_position=last --dump port.npz",
     LLAVA_DONE},
    {"llava-ref diff golden/plain/true.npz port.npz --taps 'vision.*' --json -", LLAVA_DIFFERS},
    {NULL, 0},
};

const llava_command llava_command_diff = {
    .name = "diff",
    .run = diff,
    .about = "compare two dumps, tensor by tensor, in the order of the flow",
    .synopsis = synopsis,
    .operands = dumps,
    .room = sizeof(diff_options),
    .options = list_options,
    .status = "0 agrees (pass, warn), 1 differs, 2 cannot judge",
    .examples = examples,
};
