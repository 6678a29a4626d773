/* The model's invariants, which need no golden: probabilities, causality, the cache, batches,
 * padding, pictures; what is refused; and what each decision changes first. */
#include "ref/rope.h"
#include "tiny.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tiny_model model;
static tiny_taps base, other; /* what two runs put out */

static int set_up(void **state)
{
    (void)state;
    tiny_open(&model);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tiny_close(&model);
    return 0;
}

static const tiny_how plain = {.storage = LLAVA_F64};

/* Every storage type, with and without islands. */
static const tiny_how every_how[] = {
    {.storage = LLAVA_F64},  {.storage = LLAVA_F64, .islands = true},
    {.storage = LLAVA_F32},  {.storage = LLAVA_F32, .islands = true},
    {.storage = LLAVA_F16},  {.storage = LLAVA_F16, .islands = true},
    {.storage = LLAVA_BF16}, {.storage = LLAVA_BF16, .islands = true},
};

enum { HOWS = sizeof every_how / sizeof every_how[0] };

static void run_all(tiny_taps *taps, const llava_inputs *in, const tiny_how *how)
{
    *taps = (tiny_taps){0};
    tiny_run(&model, in, how, taps);
}

static void run_one(tiny_taps *taps, const llava_inputs *in, const tiny_how *how, const char *name)
{
    *taps = (tiny_taps){.only = name};
    tiny_run(&model, in, how, taps);
}

/* Rows [from, to) of sample b of [B, rows, ..] against rows of sample c, `later` further on: the
 * same bits? */
static bool same_rows(const tiny_tap *x, size_t b, size_t from, size_t to, const tiny_tap *y,
                      size_t c, size_t later)
{
    size_t width = x->count / x->shape[0] / x->shape[1];
    assert_int_equal(width, y->count / y->shape[0] / y->shape[1]);
    return memcmp(x->values + (b * x->shape[1] + from) * width,
                  y->values + (c * y->shape[1] + from + later) * width,
                  (to - from) * width * sizeof(double)) == 0;
}

/* Largest difference over the largest size. */
static double distance(const double *x, const double *y, size_t count)
{
    double most = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs(x[i] - y[i]));
        size = fmax(size, fabs(x[i]));
    }
    return most / size;
}

static bool any_nan(const double *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (isnan(x[i])) {
            return true;
        }
    }
    return false;
}

/* ---- attention ---------------------------------------------------------------------------------
 */

static void probabilities_sum_to_one_and_are_zero_behind_the_mask(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(2, 13, 1);
    tiny_mask(&in)[12] = 0; /* the last position of sample 0 */
    run_all(&base, &in, &plain);
    size_t found = 0;
    for (size_t i = 0; i < base.count; i++) {
        const tiny_tap *t = &base.taps[i];
        if (strstr(t->name, ".probs") == NULL) {
            continue;
        }
        size_t keys = t->shape[3];
        for (size_t row = 0; row < t->count / keys; row++) {
            const double *p = t->values + row * keys;
            double sum = 0;
            for (size_t k = 0; k < keys; k++) {
                size_t query = row % t->shape[2];
                bool text = t->name[0] == 't';
                bool seen = !text || (k <= query && !(k == 12 && row < t->count / keys / 2));
                assert_true(seen ? p[k] > 0 : p[k] == 0);
                sum += p[k];
            }
            /* each is `keys` + 3 roundings off at most, and the sum here adds `keys` more */
            assert_true(fabs(sum - 1) <= (double)(2 * keys + 3) * DBL_EPSILON / 2);
        }
        found++;
    }
    assert_int_equal(found, 4); /* two tower layers, two of the language model */
    tiny_free(&base);
    llava_inputs_free(&in);
}

/* A tap of layer 0: NAME.layers.0.attn.WHAT. */
static const tiny_tap *attention_tap(const char *name, const char *what)
{
    char full[LLAVA_TAP_NAME];
    snprintf(full, sizeof full, "%s.layers.0.attn.%s", name, what);
    return tiny_find(&base, full);
}

/* scores = round(round(q . k) / sqrt(d)) and context = round(probs v), by the formula's loops, with
 * head h of q reading head h * kv_heads / heads of k and v. */
static void check_attention(const char *name, const char *q_name, const char *k_name,
                            llava_dtype type)
{
    const tiny_tap *q = attention_tap(name, q_name), *k = attention_tap(name, k_name);
    const tiny_tap *v = attention_tap(name, "v"), *scores = attention_tap(name, "scores");
    const tiny_tap *probs = attention_tap(name, "probs"), *out = attention_tap(name, "context");
    size_t rows = q->shape[1], heads = q->shape[2], d = q->shape[3], kv = k->shape[2];
    double scale = 1 / sqrt((double)d);
    for (size_t i = 0; i < scores->count; i++) {
        size_t b = i / (heads * rows * rows), h = i / (rows * rows) % heads;
        const double *left = q->values + ((b * rows + i / rows % rows) * heads + h) * d;
        const double *right = k->values + ((b * rows + i % rows) * kv + h * kv / heads) * d;
        double sum = 0;
        for (size_t j = 0; j < d; j++) {
            sum += left[j] * right[j];
        }
        assert_true(scores->values[i] == llava_round(type, llava_round(type, sum) * scale));
    }
    for (size_t i = 0; i < out->count; i++) {
        size_t row = i / (heads * d), h = i / d % heads, b = row / rows;
        const double *p = probs->values + ((b * heads + h) * rows + row % rows) * rows;
        double sum = 0;
        for (size_t t = 0; t < rows; t++) {
            sum += p[t] * v->values[((b * rows + t) * kv + h * kv / heads) * d + i % d];
        }
        assert_true(out->values[i] == llava_round(type, sum));
    }
}

static void attention_is_its_formula_bit_for_bit(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(2, 13, 23);
    for (size_t h = 0; h < HOWS; h++) {
        run_all(&base, &in, &every_how[h]);
        check_attention("vision", "q", "k", every_how[h].storage);
        check_attention("text", "q_rope", "k_rope", every_how[h].storage);
        tiny_free(&base);
    }
    llava_inputs_free(&in);
}

static void a_token_changes_nothing_in_front_of_it(void **state)
{
    (void)state;
    enum { S = 14 };
    for (size_t h = 0; h < HOWS; h++) {
        llava_inputs in = tiny_inputs(1, S, 2);
        run_one(&base, &in, &every_how[h], "logits");
        for (size_t s = 0; s < S; s++) {
            if (in.input_ids[s] == TINY_IMAGE_TOKEN) {
                continue;
            }
            int64_t kept = in.input_ids[s];
            in.input_ids[s] = (kept + 5) % TINY_IMAGE_TOKEN;
            run_one(&other, &in, &every_how[h], "logits");
            assert_true(same_rows(&base.taps[0], 0, 0, s, &other.taps[0], 0, 0));
            /* planted, so to say: from there on it does change */
            assert_false(same_rows(&base.taps[0], 0, s, s + 1, &other.taps[0], 0, 0));
            assert_false(same_rows(&base.taps[0], 0, S - 1, S, &other.taps[0], 0, 0));
            tiny_free(&other);
            in.input_ids[s] = kept;
        }
        tiny_free(&base);
        llava_inputs_free(&in);
    }
}

/* ---- the cache ---------------------------------------------------------------------------------
 */

/* Everything, and the logits of all positions or of the last. */
static llava_goal whole_pass(bool all)
{
    return (llava_goal){.vision = true,
                        .features = true,
                        .projector = true,
                        .embed = true,
                        .merge = true,
                        .rope = true,
                        .text = true,
                        .text_layers = 2,
                        .norm = true,
                        .last_logits = !all,
                        .all_logits = all};
}

/* Positions from .. to of `in` behind a cache that holds those in front; all their logits. */
static void pass_on(llava_run *run, const llava_inputs *in, size_t from, size_t to,
                    llava_cache *cache, llava_outputs *out)
{
    const llava_goal goal = whole_pass(true);
    llava_inputs part = *in;
    int64_t positions[64];
    part.length = to - from;
    part.input_ids += from;
    if (from > 0) {
        part.pictures = 0;
        part.pixel_values = NULL;
    }
    for (size_t s = from; s < to; s++) {
        positions[s - from] = (int64_t)s;
    }
    if (!llava_forward(run, &goal, &part, positions, cache, out)) {
        fail_msg("%s", run->error->text);
    }
}

/* Models whose attention forgets, or whose rotary table is scaled, both at any length alike. */
static void in_every_variant(void (*check)(void))
{
    const llava_config kept = model.config;
    llava_text_config *t = &model.config.text;
    for (int variant = 0; variant < 6; variant++) {
        t->window = variant == 1 ? 3 : variant == 2 ? 5 : variant == 3 ? 14 : 0;
        t->slides[0] = variant == 1 || variant == 3;
        t->slides[1] = variant >= 1 && variant <= 3;
        if (variant >= 4) {
            t->rope.type = variant == 4 ? LLAVA_ROPE_LLAMA3 : LLAVA_ROPE_YARN;
            t->rope.factor = 4;
            t->rope.original_positions = 8;
            t->rope.low_factor = 0.1;
            t->rope.high_factor = 1.5;
            t->rope.beta_fast = 3;
            t->rope.beta_slow = 0.1;
            t->rope.attention_factor = 1.25;
        }
        check();
        model.config = kept;
    }
}

static void check_cached_steps(void)
{
    enum { S = 16 };
    const size_t cuts[][5] = {{12, 13, 14, 15, S}, {10, 15, S, S, S}, {15, S, S, S, S}};
    llava_inputs in = tiny_inputs(1, S, 3);
    for (size_t h = 0; h < HOWS; h++) {
        llava_plan plan = tiny_plan(&model, &every_how[h]);
        llava_error e = {""};
        llava_run run = {.weights = model.weights, .plan = &plan, .prefix = "", .error = &e};
        llava_outputs whole, part;
        pass_on(&run, &in, 0, S, NULL, &whole);
        for (size_t c = 0; c < 3; c++) {
            llava_cache cache;
            assert_true(llava_cache_make(&cache, &plan, 1, true, &e));
            size_t from = 0;
            for (size_t i = 0; i < 5 && from < S; i++) {
                pass_on(&run, &in, from, cuts[c][i], &cache, &part);
                assert_int_equal(cache.length, cuts[c][i]);
                assert_memory_equal(part.logits, whole.logits + from * TINY_VOCAB,
                                    (cuts[c][i] - from) * TINY_VOCAB * sizeof(double));
                from = cuts[c][i];
                llava_outputs_free(&part);
            }
            llava_cache_free(&cache);
        }
        llava_outputs_free(&whole);
        assert_null(run.scratch);
    }
    llava_inputs_free(&in);
}

static void cached_steps_equal_the_longer_pass(void **state)
{
    (void)state;
    in_every_variant(check_cached_steps);
}

/* A whole pass whose answer is the logits of the last position, or of all. */
static void pass_to(llava_run *run, const llava_inputs *in, bool all, llava_cache *cache,
                    llava_outputs *out)
{
    const llava_goal goal = whole_pass(all);
    int64_t positions[64];
    llava_positions(run->plan, in, LLAVA_POSITIONS_GENERATE, positions);
    if (!llava_forward(run, &goal, in, positions, cache, out)) {
        fail_msg("%s", run->error->text);
    }
}

/* What the last layer leaves out for them changes no bit, neither of theirs nor of the cache. */
static void check_last_position(void)
{
    enum { B = 2, S = 14 };
    llava_inputs in = tiny_inputs(B, S, 3);
    int64_t *mask = tiny_mask(&in);
    mask[S - 1] = mask[S - 2] = 0;
    for (size_t h = 0; h < HOWS; h++) {
        llava_plan plan = tiny_plan(&model, &every_how[h]);
        llava_error e = {""};
        llava_outputs out[2];
        llava_cache caches[2];
        for (int all = 0; all < 2; all++) {
            llava_run run = {.weights = model.weights, .plan = &plan, .prefix = "", .error = &e};
            assert_true(llava_cache_make(&caches[all], &plan, B, true, &e));
            pass_to(&run, &in, all, &caches[all], &out[all]);
            assert_null(run.scratch);
        }
        assert_int_equal(out[0].rows, 1);
        for (size_t b = 0; b < B; b++) {
            assert_memory_equal(out[0].logits + b * TINY_VOCAB,
                                out[1].logits + ((b + 1) * S - 1) * TINY_VOCAB,
                                TINY_VOCAB * sizeof(double));
        }
        size_t count = caches[0].layers * B * caches[0].capacity * caches[0].width;
        assert_memory_equal(caches[0].keys, caches[1].keys, count * sizeof(double));
        assert_memory_equal(caches[0].values, caches[1].values, count * sizeof(double));
        for (int all = 0; all < 2; all++) {
            llava_outputs_free(&out[all]);
            llava_cache_free(&caches[all]);
        }
    }
    llava_inputs_free(&in);
}

static void logits_of_the_last_position_alone_are_the_same(void **state)
{
    (void)state;
    in_every_variant(check_last_position);
}

/* Every step of a generation against the pass over the prompt and its answer so far. */
static void check_generation(void)
{
    enum { S = 12, STEPS = 5 };
    llava_inputs in = tiny_inputs(1, S, 4), longer = tiny_inputs(1, S + STEPS, 4);
    memcpy(longer.pixel_values, in.pixel_values, 3 * TINY_IMAGE * TINY_IMAGE * sizeof(double));
    memcpy(longer.input_ids, in.input_ids, S * sizeof(int64_t));
    for (size_t h = 0; h < HOWS; h++) {
        tiny_how how = every_how[h];
        how.generate = STEPS + 1;
        run_all(&base, &in, &how);
        const tiny_tap *ids = tiny_find(&base, "generated_ids");
        for (size_t g = 0; g < STEPS; g++) {
            longer.input_ids[S + g] = (int64_t)ids->values[g];
        }
        run_all(&other, &longer, &every_how[h]);
        const tiny_tap *logits = tiny_find(&other, "logits");
        assert_true(same_rows(tiny_find(&base, "logits"), 0, 0, S, logits, 0, 0));
        for (size_t g = 1; g <= STEPS; g++) {
            char name[LLAVA_TAP_NAME];
            snprintf(name, sizeof name, "step.%zu.logits", g);
            assert_true(same_rows(tiny_find(&base, name), 0, 0, 1, logits, 0, S + g - 1));
            snprintf(name, sizeof name, "step.%zu.position_ids", g);
            assert_true(tiny_find(&base, name)->values[0] == (double)(S + g - 1));
            snprintf(name, sizeof name, "step.%zu.text.layers.1.output", g);
            assert_true(same_rows(tiny_find(&base, name), 0, 0, 1,
                                  tiny_find(&other, "text.layers.1.output"), 0, S + g - 1));
        }
        tiny_free(&base);
        tiny_free(&other);
    }
    llava_inputs_free(&in);
    llava_inputs_free(&longer);
}

static void generation_equals_the_pass_over_its_own_answer(void **state)
{
    (void)state;
    in_every_variant(check_generation);
}

/* A sliding layer's scores while decoding are of the window's keys alone. */
static void a_sliding_layer_shows_the_keys_of_its_window(void **state)
{
    (void)state;
    const llava_config kept = model.config;
    llava_inputs in = tiny_inputs(1, 12, 4);
    model.config.text.window = 14;
    model.config.text.slides[1] = true;
    run_all(&base, &in, &(tiny_how){.storage = LLAVA_F64, .generate = 5});
    const size_t keys[] = {13, 14, 14, 14};
    for (size_t g = 1; g <= 4; g++) {
        char name[LLAVA_TAP_NAME];
        snprintf(name, sizeof name, "step.%zu.text.layers.0.attn.probs", g);
        assert_int_equal(tiny_find(&base, name)->shape[3], 12 + g);
        snprintf(name, sizeof name, "step.%zu.text.layers.1.attn.probs", g);
        assert_int_equal(tiny_find(&base, name)->shape[3], keys[g - 1]);
    }
    tiny_free(&base);
    llava_inputs_free(&in);
    model.config = kept;
}

/* The table of dynamic grows with the longest context and shrinks when a short one follows. */
static void a_growing_table_remembers_the_longest_context(void **state)
{
    (void)state;
    const llava_rope r = {.type = LLAVA_ROPE_DYNAMIC, .max_positions = 10};
    assert_true(llava_rope_remember(&r, 0, 4) == 10);
    assert_true(llava_rope_remember(&r, 0, 12) == 12);
    assert_true(llava_rope_remember(&r, 12, 11) == 12);
    assert_true(llava_rope_remember(&r, 12, 10) == 12);
    assert_true(llava_rope_remember(&r, 12, 9) == 10);
    assert_true(llava_rope_remember(&r, 10, 9) == 10);
}

/* transformers' generate() masks pad tokens where no mask is given, unless they may end a row. */
static void a_mask_is_inferred_from_the_pad_id(void **state)
{
    (void)state;
    enum { PAD = 3, LENGTH = 9 };
    llava_inputs in = tiny_inputs(2, LENGTH, 5); /* too short for pictures */
    tiny_how how = {.storage = LLAVA_F64, .convention = LLAVA_POSITIONS_GENERATE, .generate = 3};
    for (size_t i = 0; i < 2 * LENGTH; i++) {
        in.input_ids[i] = i < 2 ? PAD : in.input_ids[i] == PAD ? PAD + 1 : in.input_ids[i];
    }
    tiny_model padded = model, ending = model;
    padded.config.pad_id = ending.config.pad_id = PAD;
    ending.config.stop_count = 1;
    ending.config.stop_ids[0] = PAD;
    tiny_taps plain_run = {.only = "step.2.logits"}, inferred = plain_run, given = plain_run,
              stopping = plain_run;
    tiny_run(&model, &in, &how, &plain_run);
    tiny_run(&padded, &in, &how, &inferred);
    tiny_run(&ending, &in, &how, &stopping);
    int64_t *mask = tiny_mask(&in);
    mask[0] = mask[1] = 0;
    tiny_run(&model, &in, &how, &given);
    assert_true(tiny_same(&inferred.taps[0], &given.taps[0]));
    assert_false(tiny_same(&inferred.taps[0], &plain_run.taps[0]));
    assert_true(tiny_same(&stopping.taps[0], &plain_run.taps[0]));
    tiny_free(&plain_run);
    tiny_free(&inferred);
    tiny_free(&given);
    tiny_free(&stopping);
    in.input_ids[0] = in.input_ids[1] = PAD + 1; /* no pad in it: nothing is masked */
    free(in.attention_mask);
    in.attention_mask = NULL;
    plain_run = inferred = (tiny_taps){.only = "step.2.logits"};
    tiny_run(&model, &in, &how, &plain_run);
    tiny_run(&padded, &in, &how, &inferred);
    assert_true(tiny_same(&inferred.taps[0], &plain_run.taps[0]));
    tiny_free(&plain_run);
    tiny_free(&inferred);
    llava_inputs_free(&in);
}

/* A row that has ended emits the pad id; when all have, it stops. */
static void ended_rows_emit_the_pad_id_until_all_have_ended(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(3, 12, 5);
    tiny_how how = {.storage = LLAVA_F64, .generate = 8};
    run_one(&base, &in, &how, "generated_ids");
    const double *ids = base.taps[0].values;
    assert_true(ids[0] != ids[8] || ids[0] != ids[16]); /* not all end with the first token */
    tiny_model stopping = model;
    stopping.config.stop_count = 1;
    stopping.config.stop_ids[0] = (int64_t)ids[0];
    stopping.config.pad_id = 3;
    other = (tiny_taps){.only = "generated_ids"};
    tiny_run(&stopping, &in, &how, &other);
    size_t count = other.taps[0].shape[1];
    for (size_t b = 0; b < 3; b++) {
        bool ended = false;
        for (size_t g = 0; g < count; g++) {
            double id = other.taps[0].values[b * count + g];
            assert_true(id == (ended ? 3 : ids[b * 8 + g]));
            ended = ended || id == ids[0];
        }
    }
    tiny_free(&other);
    stopping.config.stop_count = 3; /* now every row ends with its first token */
    stopping.config.stop_ids[1] = (int64_t)ids[8];
    stopping.config.stop_ids[2] = (int64_t)ids[16];
    other = (tiny_taps){.only = "generated_ids"};
    tiny_run(&stopping, &in, &how, &other);
    assert_int_equal(other.taps[0].shape[1], 1);
    tiny_free(&other);
    tiny_free(&base);
    llava_inputs_free(&in);
}

/* ---- batches and padding -----------------------------------------------------------------------
 */

/* Sample b of `in` alone, padding included. */
static llava_inputs sample_of(const llava_inputs *in, size_t b)
{
    llava_inputs one = tiny_inputs(1, in->length, 1);
    size_t pixels = 3 * TINY_IMAGE * TINY_IMAGE;
    memcpy(one.input_ids, in->input_ids + b * in->length, in->length * sizeof(int64_t));
    memcpy(one.pixel_values, in->pixel_values + b * pixels, pixels * sizeof(double));
    if (in->attention_mask != NULL) {
        memcpy(tiny_mask(&one), in->attention_mask + b * in->length, in->length * sizeof(int64_t));
    }
    return one;
}

static void a_sample_alone_equals_its_row_in_a_batch(void **state)
{
    (void)state;
    for (size_t padded = 0; padded < 2; padded++) {
        llava_inputs in = tiny_inputs(3, 13, 6);
        if (padded) {
            int64_t *mask = tiny_mask(&in);
            mask[12] = mask[13 + 12] = mask[13 + 11] = 0;
        }
        for (size_t h = 0; h < HOWS; h++) {
            run_all(&base, &in, &every_how[h]);
            for (size_t b = 0; b < 3; b++) {
                llava_inputs one = sample_of(&in, b);
                run_all(&other, &one, &every_how[h]);
                assert_int_equal(other.count, base.count);
                for (size_t i = 0; i < base.count; i++) {
                    const tiny_tap *x = &base.taps[i], *y = &other.taps[i];
                    assert_true(memcmp(x->values + b * y->count, y->values,
                                       y->count * sizeof(double)) == 0);
                }
                tiny_free(&other);
                llava_inputs_free(&one);
            }
            tiny_free(&base);
        }
        llava_inputs_free(&in);
    }
}

/* `in` with `pads` masked positions in front of (left) or behind every sample. */
static llava_inputs padded_inputs(const llava_inputs *in, size_t pads, bool left)
{
    llava_inputs wide = tiny_inputs(in->batch, in->length + pads, 1);
    int64_t *mask = tiny_mask(&wide);
    memcpy(wide.pixel_values, in->pixel_values,
           in->pictures * 3 * TINY_IMAGE * TINY_IMAGE * sizeof(double));
    for (size_t i = 0; i < wide.batch * wide.length; i++) {
        size_t b = i / wide.length, s = i % wide.length, first = left ? pads : 0;
        bool own = s >= first && s < first + in->length;
        wide.input_ids[i] = own ? in->input_ids[b * in->length + s - first] : 4;
        mask[i] = own;
    }
    return wide;
}

static void padding_changes_no_bit_of_the_rows_that_count(void **state)
{
    (void)state;
    enum { S = 12, PADS = 3 };
    llava_inputs in = tiny_inputs(2, S, 8);
    for (size_t left = 0; left < 2; left++) {
        llava_inputs wide = padded_inputs(&in, PADS, left);
        for (size_t h = 0; h < HOWS; h++) {
            tiny_how how = every_how[h];
            how.convention = LLAVA_POSITIONS_GENERATE;
            run_one(&base, &in, &how, "logits");
            run_one(&other, &wide, &how, "logits");
            size_t first = left ? PADS : 0;
            if (left && how.islands && how.storage == LLAVA_F64) {
                /* transformers' own: a blind query is NaN, and 0 times NaN spreads it (14.4) */
                assert_true(any_nan(other.taps[0].values, other.taps[0].count));
            } else {
                for (size_t b = 0; b < 2; b++) {
                    assert_true(same_rows(&base.taps[0], b, 0, S, &other.taps[0], b, first));
                }
            }
            tiny_free(&other);
            /* planted: positions that count the padding are another result */
            how.convention = LLAVA_POSITIONS_FORWARD;
            run_one(&other, &wide, &how, "logits");
            assert_true(same_rows(&base.taps[0], 0, 0, S, &other.taps[0], 0, first) == !left);
            tiny_free(&other);
            tiny_free(&base);
        }
        llava_inputs_free(&wide);
    }
    llava_inputs_free(&in);
}

static void padded_generation_gives_the_same_answer(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(2, 12, 9), wide = padded_inputs(&in, 4, true);
    const tiny_how how = {
        .storage = LLAVA_F64, .convention = LLAVA_POSITIONS_GENERATE, .generate = 6};
    run_all(&base, &in, &how);
    run_all(&other, &wide, &how);
    const char *names[] = {"generated_ids", "step.1.logits", "step.5.logits"};
    for (size_t i = 0; i < 3; i++) { /* the steps see no padding either */
        assert_true(tiny_same(tiny_find(&base, names[i]), tiny_find(&other, names[i])));
    }
    tiny_free(&base);
    tiny_free(&other);
    llava_inputs_free(&in);
    llava_inputs_free(&wide);
}

static void a_mask_of_zeros_runs(void **state)
{
    (void)state;
    enum { S = 12 };
    llava_inputs in = tiny_inputs(1, S, 10);
    memset(tiny_mask(&in), 0, S * sizeof(int64_t));
    for (size_t h = 0; h < HOWS; h++) {
        run_all(&base, &in, &every_how[h]);
        const tiny_tap *logits = tiny_find(&base, "logits");
        const tiny_tap *probs = tiny_find(&base, "text.layers.0.attn.probs");
        bool broken = every_how[h].islands && every_how[h].storage == LLAVA_F64;
        assert_true(any_nan(logits->values, logits->count) == broken);
        for (size_t i = 0; i < probs->count; i++) {
            assert_true(broken ? isnan(probs->values[i]) : probs->values[i] == probs->values[0]);
        }
        tiny_free(&base);
    }
    llava_inputs_free(&in);
}

/* ---- positions ---------------------------------------------------------------------------------
 */

/* Rotary embedding knows differences only. An angle of 70 is off by 70 units in the last place, so
 * scores by about 1e-14, and two layers of this model multiply errors by less than 100. */
static void shifting_all_positions_changes_roundings_only(void **state)
{
    (void)state;
    enum { S = 14, SHIFT = 57 };
    llava_inputs in = tiny_inputs(1, S, 11);
    in.position_ids = calloc(S, sizeof *in.position_ids);
    assert_non_null(in.position_ids);
    for (size_t s = 0; s < S; s++) {
        in.position_ids[s] = (int64_t)s;
    }
    run_all(&base, &in, &plain);
    const tiny_tap *logits = tiny_find(&base, "logits");
    for (size_t s = 0; s < S; s++) {
        in.position_ids[s] += SHIFT;
    }
    run_all(&other, &in, &plain);
    const char *turned = "text.layers.0.attn.q_rope";
    assert_false(tiny_same(tiny_find(&base, turned), tiny_find(&other, turned)));
    double found = distance(logits->values, tiny_find(&other, "logits")->values, logits->count);
    assert_true(found < 1e-12);
    tiny_free(&other);
    in.position_ids[S - 1] += 1; /* planted: one position further than its neighbours */
    run_all(&other, &in, &plain);
    found = distance(logits->values, tiny_find(&other, "logits")->values, logits->count);
    assert_true(found > 1e-6);
    tiny_free(&other);
    tiny_free(&base);
    llava_inputs_free(&in);
}

static void position_conventions_are_transformers(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(1, 5, 12);
    int64_t *mask = tiny_mask(&in), positions[5];
    mask[0] = mask[1] = 0;
    static const struct {
        const char *set;
        llava_convention convention;
        int64_t expected[5];
    } cases[] = {
        {NULL, LLAVA_POSITIONS_FORWARD, {0, 1, 2, 3, 4}},
        {NULL, LLAVA_POSITIONS_GENERATE, {0, 0, 0, 1, 2}},
        {"text.positions=one-based", LLAVA_POSITIONS_GENERATE, {1, 1, 1, 2, 3}},
        {"text.positions=mask-ignored", LLAVA_POSITIONS_GENERATE, {0, 1, 2, 3, 4}},
        {"text.positions=mask-cumulative", LLAVA_POSITIONS_FORWARD, {0, 0, 0, 1, 2}},
        {"text.positions=image-shared", LLAVA_POSITIONS_FORWARD, {0, 1, 2, 2, 3}},
    };
    in.input_ids[2] = in.input_ids[3] = TINY_IMAGE_TOKEN;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const tiny_how how = {.storage = LLAVA_F64, .set = cases[i].set};
        llava_plan plan = tiny_plan(&model, &how);
        llava_positions(&plan, &in, cases[i].convention, positions);
        assert_memory_equal(positions, cases[i].expected, sizeof positions);
    }
    llava_inputs_free(&in);
}

/* ---- pictures ----------------------------------------------------------------------------------
 */

/* Without position rows the tower does not know where a patch is: patches in another order give the
 * features in that order. Only the order of sums over keys differs: T = 10 terms, two layers. */
static void permuted_patches_give_permuted_features(void **state)
{
    (void)state;
    enum { GRID = 3, P = 2 };
    const tiny_how blind = {.storage = LLAVA_F64, .set = "vision.positions=absent"};
    llava_inputs in = tiny_inputs(1, 10, 13), moved = tiny_inputs(1, 10, 13);
    for (size_t i = 0; i < 3 * TINY_IMAGE * TINY_IMAGE; i++) {
        size_t c = i / (TINY_IMAGE * TINY_IMAGE), y = i / TINY_IMAGE % TINY_IMAGE;
        size_t x = i % TINY_IMAGE;
        if (y < GRID * P && x < GRID * P) { /* patch j goes to (j + 2) mod 9 */
            size_t j = (y / P * GRID + x / P + 2) % TINY_PATCHES;
            moved.pixel_values[(c * TINY_IMAGE + j / GRID * P + y % P) * TINY_IMAGE + j % GRID * P +
                               x % P] = in.pixel_values[i];
        }
    }
    for (int known = 0; known < 2; known++) {
        const tiny_how *how = known ? &plain : &blind;
        run_one(&base, &in, how, "vision.features");
        run_one(&other, &moved, how, "vision.features");
        double worst = 0;
        for (size_t j = 0; j < TINY_PATCHES; j++) {
            double found =
                distance(base.taps[0].values + j * TINY_TOWER,
                         other.taps[0].values + (j + 2) % TINY_PATCHES * TINY_TOWER, TINY_TOWER);
            worst = fmax(worst, found);
        }
        assert_true(known ? worst > 1e-3 : worst < 1e-13); /* planted: the positions do count */
        tiny_free(&base);
        tiny_free(&other);
    }
    llava_inputs_free(&in);
    llava_inputs_free(&moved);
}

static void a_nan_pixel_stays_in_its_picture_and_behind_its_tokens(void **state)
{
    (void)state;
    enum { S = 12 };
    llava_inputs in = tiny_inputs(3, S, 14);
    for (size_t h = 0; h < HOWS; h += 2) { /* under islands NaN passes the causal mask as well */
        run_one(&base, &in, &every_how[h], "logits");
        double *pixel = in.pixel_values + 3 * TINY_IMAGE * TINY_IMAGE + 17, kept = *pixel;
        *pixel = (double)NAN;
        run_one(&other, &in, &every_how[h], "logits");
        *pixel = kept;
        assert_true(same_rows(&base.taps[0], 0, 0, S, &other.taps[0], 0, 0));
        assert_true(same_rows(&base.taps[0], 2, 0, S, &other.taps[0], 2, 0));
        assert_true(same_rows(&base.taps[0], 1, 0, 1, &other.taps[0], 1, 0));
        assert_true(isnan(other.taps[0].values[(S + 1) * TINY_VOCAB]));
        assert_true(isnan(other.taps[0].values[(2 * S - 1) * TINY_VOCAB]));
        tiny_free(&base);
        tiny_free(&other);
    }
    llava_inputs_free(&in);
}

/* The pixels behind the last whole patch (7 = 3 * 2 + 1) are never read. */
static void pixels_behind_the_last_patch_do_not_count(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(1, 10, 15);
    run_one(&base, &in, &plain, "vision.features");
    for (size_t i = 0; i < 3 * TINY_IMAGE * TINY_IMAGE; i++) {
        if (i % TINY_IMAGE == 6 || i / TINY_IMAGE % TINY_IMAGE == 6) {
            in.pixel_values[i] = (double)NAN;
        }
    }
    run_one(&other, &in, &plain, "vision.features");
    assert_true(tiny_same(&base.taps[0], &other.taps[0]));
    tiny_free(&base);
    tiny_free(&other);
    llava_inputs_free(&in);
}

/* Rows of the table, given as embeddings, are found again as ids would be; -0 is 0. */
static void embeddings_stand_for_their_ids(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(2, 12, 16);
    run_all(&base, &in, &plain);
    const tiny_tap *embed = tiny_find(&base, "text.embed");
    free(in.input_ids);
    in.input_ids = NULL;
    in.inputs_embeds = calloc(embed->count, sizeof(double));
    assert_non_null(in.inputs_embeds);
    memcpy(in.inputs_embeds, embed->values, embed->count * sizeof(double));
    in.embeds_width = TINY_HIDDEN;
    run_all(&other, &in, &plain);
    assert_int_equal(other.count, base.count - 1); /* no input_ids */
    assert_true(tiny_same(tiny_find(&base, "logits"), tiny_find(&other, "logits")));
    tiny_free(&base);
    tiny_free(&other);
    llava_inputs_free(&in);
}

/* ---- what is refused ---------------------------------------------------------------------------
 */

static void refused_by(const tiny_model *m, const llava_inputs *in, const tiny_how *how,
                       const char *words)
{
    llava_error e = {""};
    other = (tiny_taps){0};
    assert_false(tiny_try(m, in, how, &other, &e));
    support_says(&e, words);
    tiny_free(&other);
}

static void refused(const llava_inputs *in, const char *words)
{
    refused_by(&model, in, &plain, words);
}

static void ids_out_of_range_are_refused(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(2, 12, 17);
    const int64_t bad[] = {TINY_VOCAB, -1, -100, INT64_MAX, INT64_MIN};
    in.labels = calloc(24, sizeof *in.labels);
    assert_non_null(in.labels);
    for (size_t i = 0; i < 5; i++) {
        in.input_ids[12 + 11] = bad[i];
        refused(&in, "at [1, 11] is not below the vocabulary's 29");
        in.input_ids[12 + 11] = 0;
        in.labels[23] = bad[i];
        if (bad[i] != -100) {
            refused(&in, "labels: ");
        } else {
            tiny_run(&model, &in, &plain, &other);
            tiny_free(&other);
        }
        in.labels[23] = 0;
    }
    llava_inputs_free(&in);
}

static void image_tokens_and_pictures_must_fit_each_other(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(2, 12, 18);
    in.input_ids[3] = 1;
    refused(&in, "17 image tokens");
    refused(&in, "2 pictures of 9 rows need 18");
    in.input_ids[3] = in.input_ids[0] = in.input_ids[10] = TINY_IMAGE_TOKEN;
    refused(&in, "20 image tokens");
    /* the same count in another sample: nothing ties a picture to a prompt */
    in.input_ids[12 + 1] = in.input_ids[12 + 2] = 0;
    run_one(&other, &in, &plain, "logits");
    tiny_free(&other);
    free(in.pixel_values);
    in.pixel_values = NULL;
    in.pictures = 0;
    run_one(&other, &in, &plain, "logits"); /* no picture: they keep their table rows */
    tiny_free(&other);
    llava_inputs_free(&in);
}

static void embeddings_must_hold_as_many_image_rows(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(1, 12, 19);
    free(in.input_ids);
    in.input_ids = NULL;
    in.embeds_width = TINY_HIDDEN;
    in.inputs_embeds = calloc(12 * TINY_HIDDEN, sizeof(double));
    assert_non_null(in.inputs_embeds);
    refused(&in, "0 image tokens in the text, but 1 picture gives 9 rows");
    tiny_model far = model; /* its image token lies beyond the table */
    const int64_t tokens[] = {TINY_VOCAB, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < 4; i++) {
        far.config.image_token = tokens[i];
        refused_by(&far, &in, &plain, "is not below the vocabulary's 29");
    }
    in.embeds_width = TINY_HIDDEN - 1;
    refused(&in, "inputs_embeds: width 15, but the language model's is 16");
    llava_inputs_free(&in);
}

/* A row that has ended would feed the pad id into the table. */
static void a_pad_id_beyond_the_vocabulary_is_refused_when_used(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(3, 12, 5);
    const tiny_how how = {.storage = LLAVA_F64, .generate = 4};
    run_one(&base, &in, &how, "generated_ids");
    tiny_model far = model;
    far.config.stop_count = 1;
    far.config.stop_ids[0] = (int64_t)base.taps[0].values[0];
    far.config.pad_id = INT64_C(1) << 40;
    refused_by(&far, &in, &how, "pad token 1099511627776 is not below");
    tiny_free(&base);
    llava_inputs_free(&in);
}

static void masks_positions_and_sizes_are_checked(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(1, 12, 20);
    int64_t *mask = tiny_mask(&in);
    mask[4] = 2;
    refused(&in, "attention_mask: 2 at [0, 4] is neither 0 nor 1");
    mask[4] = 1;
    in.position_ids = calloc(12, sizeof *in.position_ids);
    assert_non_null(in.position_ids);
    in.position_ids[7] = -1;
    refused(&in, "position_ids: -1 at [0, 7] is negative");
    in.position_ids[7] = INT64_MAX;
    refused(&in, "is above 2^53");
    in.position_ids[7] = INT64_C(1) << 53;
    run_one(&other, &in, &plain, "logits");
    tiny_free(&other);
    in.height = 8;
    refused(&in, "pixel_values: 8x7, but the tower takes 7x7");
    in.height = 7;
    in.length = 0;
    refused(&in, "no tokens");
    in.length = 12;
    in.inputs_embeds = calloc(1, sizeof(double));
    refused(&in, "exactly one of input_ids and inputs_embeds");
    llava_inputs_free(&in);
    in = (llava_inputs){.batch = 1, .length = 1};
    refused(&in, "exactly one of input_ids and inputs_embeds");
}

/* ---- decisions ---------------------------------------------------------------------------------
 */

/* The first tap that each decision changes. Those of the picture and the text act before. */
static const char *const first_changed[LLAVA_DECISION_COUNT] = {
    [LLAVA_VISION_PATCH_ORDER] = "vision.patch_embed",
    [LLAVA_VISION_PATCH_KERNEL] = "vision.patch_embed",
    [LLAVA_VISION_CLS_POSITION] = "vision.embed",
    [LLAVA_VISION_POSITIONS] = "vision.embed",
    [LLAVA_VISION_PRE_NORM] = "vision.pre_norm",
    [LLAVA_VISION_NORM_EPS] = "vision.pre_norm",
    [LLAVA_VISION_ACT] = "vision.layers.0.mlp.act",
    [LLAVA_VISION_ATTN_SCALE] = "vision.layers.0.attn.scores",
    [LLAVA_VISION_ATTN_MASK] = "vision.layers.0.attn.probs",
    [LLAVA_VISION_ATTN_BIAS] = "vision.layers.0.attn.q",
    [LLAVA_VISION_QK_LAYOUT] = "vision.layers.0.attn.q",
    [LLAVA_VISION_FEATURE_LAYER] = "vision.features",
    [LLAVA_VISION_POST_NORM] = "vision.features",
    [LLAVA_VISION_SELECT] = "vision.features",
    [LLAVA_PROJECTOR_ACT] = "projector.act",
    [LLAVA_PROJECTOR_BIAS] = "projector.fc1",
    [LLAVA_MERGE_SCALE] = "text.inputs_embeds",
    [LLAVA_MERGE_PLACEMENT] = "text.inputs_embeds",
    [LLAVA_MERGE_ORDER] = "text.inputs_embeds",
    [LLAVA_TEXT_NORM_EPS] = "text.layers.0.norm1",
    [LLAVA_TEXT_NORM_WEIGHT] = "text.layers.0.norm1",
    [LLAVA_TEXT_NORM_KIND] = "text.layers.0.norm1",
    [LLAVA_TEXT_ROPE_PAIRING] = "text.layers.0.attn.q_rope",
    [LLAVA_TEXT_ROPE_THETA] = "text.rope.cos",
    [LLAVA_TEXT_ROPE_SIGN] = "text.layers.0.attn.q_rope",
    [LLAVA_TEXT_POSITIONS] = "position_ids",
    [LLAVA_TEXT_ATTN_SCALE] = "text.layers.0.attn.scores",
    [LLAVA_TEXT_ATTN_MASK] = "text.layers.0.attn.probs",
    [LLAVA_TEXT_PADDING_MASK] = "text.layers.0.attn.probs",
    [LLAVA_TEXT_KV_GROUPS] = "text.layers.0.attn.scores",
    [LLAVA_TEXT_QKV_BIAS] = "text.layers.0.attn.q",
    [LLAVA_TEXT_MLP_ACT] = "text.layers.0.mlp.act",
    [LLAVA_TEXT_MLP_ORDER] = "text.layers.0.mlp.act",
    [LLAVA_TEXT_LAYERS] = "text.layers.1.output",
    [LLAVA_TEXT_FINAL_NORM] = "text.norm",
    [LLAVA_CACHE_POSITION] = "step.1.position_ids",
    [LLAVA_NUMERICS_WEIGHTS] = "vision.patch_embed",
    [LLAVA_NUMERICS_PATCH_INPUT] = "vision.patch_embed",
    [LLAVA_NUMERICS_MATMUL_INPUT] = "vision.layers.0.attn.q",
    [LLAVA_NUMERICS_ACT_TABLE] = "vision.layers.0.mlp.act",
    [LLAVA_NUMERICS_ATTN_ACCUMULATE] = "vision.layers.0.attn.context",
    [LLAVA_NUMERICS_KV_CACHE] = "text.layers.0.attn.scores",
    [LLAVA_NUMERICS_ISLANDS] = "vision.layers.0.attn.probs",
};

/* Values that say what this model has anyway. */
static bool is_the_models_own(const char *setting)
{
    static const char *const own[] = {
        "vision.norm_eps=1e-5",     "vision.act=quick_gelu", "projector.act=gelu",
        "vision.select=drop-first", "text.norm_eps=1e-5",    "text.rope_theta=1e4",
        "text.mlp_act=silu",
    };
    bool found = false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        found = found || strcmp(setting, own[i]) == 0;
    }
    return found;
}

static bool is_refused(const tiny_how *how, const char *setting, llava_error *e)
{
    llava_plan plan;
    llava_choices choices = {{0}};
    return llava_choose(&choices, setting, e) &&
           !llava_plan_make(&plan, &model.config, &choices, how->storage, how->islands, e);
}

/* The first tap of `right` that `set` lacks or has otherwise; NULL: none. */
static const char *first_difference(const tiny_taps *right, const tiny_taps *set)
{
    for (size_t i = 0; i < right->count; i++) {
        if (!tiny_same(&right->taps[i], tiny_find(set, right->taps[i].name))) {
            return right->taps[i].name;
        }
    }
    return NULL;
}

static void check_setting(const llava_inputs *in, tiny_how how, llava_decision_id id,
                          unsigned value)
{
    const llava_decision *d = llava_decision_at(id);
    char setting[96];
    snprintf(setting, sizeof setting, "%s=%s", d->name, d->values[value]);
    how.convention = strcmp(d->values[value], "mask-cumulative") == 0 ? LLAVA_POSITIONS_FORWARD
                                                                      : LLAVA_POSITIONS_GENERATE;
    run_all(&base, in, &how);
    how.set = setting;
    run_all(&other, in, &how);
    const char *expected = value == 0 || is_the_models_own(setting) ? NULL : first_changed[id];
    const char *found = first_difference(&base, &other); /* fails where a tap is gone */
    assert_true(other.count >= base.count);              /* a later tower layer may have come in */
    if ((expected == NULL) != (found == NULL) || (found != NULL && strcmp(found, expected) != 0)) {
        fail_msg("%s: first changed is %s, not %s", setting, found == NULL ? "nothing" : found,
                 expected == NULL ? "nothing" : expected);
    }
    tiny_free(&base);
    tiny_free(&other);
}

/* Two pictures, padding on the left, and a decoding step: something for every decision. */
static void each_decision_changes_its_own_tap_first_and_removes_none(void **state)
{
    (void)state;
    const tiny_how how = {.storage = LLAVA_F64, .generate = 2};
    llava_inputs short_ones = tiny_inputs(2, 11, 21), in = padded_inputs(&short_ones, 2, true);
    llava_error e;
    size_t refusals = 0;
    for (int id = 0; id < LLAVA_DECISION_COUNT; id++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)id);
        for (unsigned v = 0; d->values[v] != NULL; v++) {
            char setting[96];
            snprintf(setting, sizeof setting, "%s=%s", d->name, d->values[v]);
            if (is_refused(&how, setting, &e)) {
                support_says(&e, "no effect here");
                refusals++;
            } else if (strcmp(setting, "vision.select=full") != 0) {
                check_setting(&in, how, (llava_decision_id)id, v);
            }
        }
    }
    /* rotary scaling (1), its ramp, factor, table (2 each), window (3), its layers (2): not here;
     * 13 of SigLIP and Pixtral; 9 of matrices left out of a rounding */
    assert_int_equal(refusals, 12 + 13 + 9);
    refused_by(&model, &in, &(tiny_how){.storage = LLAVA_F64, .set = "vision.select=full"},
               "2 pictures of 10 rows need 20"); /* one row more than tokens */
    llava_inputs_free(&short_ones);
    llava_inputs_free(&in);
}

static void unknown_settings_are_refused_with_what_there_is(void **state)
{
    (void)state;
    llava_choices choices = {{0}};
    llava_error e;
    assert_false(llava_choose(&choices, "text.rope_pairing", &e));
    support_says(&e, "DECISION=VALUE");
    assert_false(llava_choose(&choices, "text.rope_pairing=both", &e));
    support_says(&e, "one of: half, interleaved");
    assert_false(llava_choose(&choices, "text.rope=half", &e));
    support_says(&e, "unknown decision");
    assert_false(llava_choose(&choices, "=", &e));
}

/* Decisions that this family or configuration has no place for. */
static void settings_without_effect_are_refused(void **state)
{
    (void)state;
    const tiny_how how = {.storage = LLAVA_F64};
    tiny_model kept = model;
    llava_error e;
    model.config.text.qkv_bias = false;
    model.config.text.kv_heads = model.config.text.heads;
    model.config.projector_bias = false;
    model.config.feature_layers[0] = 0;
    model.config.vision.heads = 4; /* of width 3 */
    const char *const settings[] = {
        "text.qkv_bias=absent",         "text.kv_groups=interleaved",
        "projector.bias=absent",        "vision.feature_layer=one-less",
        "vision.qk_layout=permuted",    "text.rope_scaling=none",
        "text.sliding_window=ignored",  "text.rope_ramp=absent",
        "text.rope_attn_factor=absent", "text.rope_table=short",
        "text.window_layers=all",
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        assert_true(is_refused(&how, settings[i], &e));
        support_says(&e, settings[i]);
    }
    model.config.feature_layers[0] = 3;
    assert_true(is_refused(&how, "vision.feature_layer=one-more", &e));
    support_says(&e, "no such layer");
    model = kept;
}

/* ---- weights -----------------------------------------------------------------------------------
 */

static void weights_that_contradict_the_configuration_are_refused(void **state)
{
    (void)state;
    llava_inputs in = tiny_inputs(1, 12, 22);
    tiny_model wrong = model;
    wrong.config.text.layers = 3;
    refused_by(&wrong, &in, &plain, "language_model.model.layers.2.input_layernorm.weight");
    wrong = model;
    wrong.config.vision.hidden = 24;
    refused_by(&wrong, &in, &plain, "patch_embedding.weight' has the shape [12, 3, 2, 2]");
    wrong = model;
    wrong.config.text.head_dim = 8;
    refused_by(&wrong, &in, &plain, "q_proj.weight' has the shape [24, 16]");
    wrong = model;
    wrong.config.text.hidden = (size_t)1 << 62; /* products that do not fit are refused as well */
    refused_by(&wrong, &in, &plain, "out of memory");
    llava_inputs_free(&in);
}

/* Of the last layer some rows are computed, their bits those of the whole pass, and others not. */
static void only_wanted_rows_are_computed(void **state)
{
    enum { MOST = 2 * 13 };
    static const struct {
        const char *tap;
        size_t rows; /* of the batch */
    } rows[] = {{"text.layers.1.attn.q", 26},
                {"text.layers.1.attn.out", 26},
                {"text.layers.1.mlp.gate", 26},
                {"text.layers.1.output", 26},
                {"vision.layers.1.attn.out", 20},
                {"vision.layers.1.output", 20},
                {"logits", 26},
                {"text.layers.1.attn.context", 26},
                {"vision.layers.1.attn.context", 20}};
    (void)state;
    llava_inputs in = tiny_inputs(2, 13, 41);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool wanted[MOST] = {false};
        const size_t chosen[] = {0, 3, 14, rows[i].rows - 1};
        for (size_t k = 0; k < 4; k++) {
            wanted[chosen[k]] = true;
        }
        const llava_some_rows some = {wanted, rows[i].rows};
        const tiny_how how = {.storage = LLAVA_F64, .only = &some};
        run_one(&base, &in, &plain, rows[i].tap);
        run_one(&other, &in, &how, rows[i].tap);
        const tiny_tap *all = tiny_find(&base, rows[i].tap), *few = tiny_find(&other, rows[i].tap);
        size_t width = all->count / rows[i].rows;
        for (size_t row = 0; row < rows[i].rows; row++) {
            bool same = memcmp(all->values + row * width, few->values + row * width,
                               width * sizeof(double)) == 0;
            if (same != wanted[row]) {
                fail_msg("%s: row %zu", rows[i].tap, row);
            }
        }
        tiny_free(&base);
        tiny_free(&other);
    }
    llava_inputs_free(&in);
}

/* Keys and values are made of every row, whichever count. */
static void keys_and_values_are_made_of_all_rows(void **state)
{
    static const char *const taps[] = {"text.layers.1.attn.k", "text.layers.1.attn.v",
                                       "vision.layers.1.attn.k", "vision.layers.1.attn.v"};
    (void)state;
    llava_inputs in = tiny_inputs(2, 13, 42);
    for (size_t i = 0; i < 4; i++) {
        bool wanted[26] = {true};
        const llava_some_rows some = {wanted, i < 2 ? 26 : 20};
        const tiny_how how = {.storage = LLAVA_F64, .only = &some};
        run_one(&base, &in, &plain, taps[i]);
        run_one(&other, &in, &how, taps[i]);
        assert_true(tiny_same(tiny_find(&base, taps[i]), tiny_find(&other, taps[i])));
        tiny_free(&base);
        tiny_free(&other);
    }
    llava_inputs_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probabilities_sum_to_one_and_are_zero_behind_the_mask),
        cmocka_unit_test(attention_is_its_formula_bit_for_bit),
        cmocka_unit_test(only_wanted_rows_are_computed),
        cmocka_unit_test(keys_and_values_are_made_of_all_rows),
        cmocka_unit_test(a_token_changes_nothing_in_front_of_it),
        cmocka_unit_test(cached_steps_equal_the_longer_pass),
        cmocka_unit_test(logits_of_the_last_position_alone_are_the_same),
        cmocka_unit_test(a_sliding_layer_shows_the_keys_of_its_window),
        cmocka_unit_test(a_growing_table_remembers_the_longest_context),
        cmocka_unit_test(generation_equals_the_pass_over_its_own_answer),
        cmocka_unit_test(a_mask_is_inferred_from_the_pad_id),
        cmocka_unit_test(ended_rows_emit_the_pad_id_until_all_have_ended),
        cmocka_unit_test(a_sample_alone_equals_its_row_in_a_batch),
        cmocka_unit_test(padding_changes_no_bit_of_the_rows_that_count),
        cmocka_unit_test(padded_generation_gives_the_same_answer),
        cmocka_unit_test(a_mask_of_zeros_runs),
        cmocka_unit_test(shifting_all_positions_changes_roundings_only),
        cmocka_unit_test(position_conventions_are_transformers),
        cmocka_unit_test(permuted_patches_give_permuted_features),
        cmocka_unit_test(a_nan_pixel_stays_in_its_picture_and_behind_its_tokens),
        cmocka_unit_test(pixels_behind_the_last_patch_do_not_count),
        cmocka_unit_test(embeddings_stand_for_their_ids),
        cmocka_unit_test(ids_out_of_range_are_refused),
        cmocka_unit_test(image_tokens_and_pictures_must_fit_each_other),
        cmocka_unit_test(embeddings_must_hold_as_many_image_rows),
        cmocka_unit_test(a_pad_id_beyond_the_vocabulary_is_refused_when_used),
        cmocka_unit_test(masks_positions_and_sizes_are_checked),
        cmocka_unit_test(each_decision_changes_its_own_tap_first_and_removes_none),
        cmocka_unit_test(unknown_settings_are_refused_with_what_there_is),
        cmocka_unit_test(settings_without_effect_are_refused),
        cmocka_unit_test(weights_that_contradict_the_configuration_are_refused),
    };
    return cmocka_run_group_tests_name("model", tests, set_up, tear_down);
}
