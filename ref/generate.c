/* Greedy generation: generate(do_sample=False) of transformers.
 *
 *   prefill: the whole prompt with its pictures; then one token a step over the cache
 *   next = argmax of the last logits, ties to the lowest id (under islands of a float32 copy)
 *   position of the first new token = last column's position + 1, also where that column is padding
 *   a row that has ended emits the pad id; all rows ended, or `most` tokens: stop
 *
 * Source: transformers generation/utils.py; spec 9. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void llava_answer_free(llava_answer *answer)
{
    free(answer->ids);
    *answer = (llava_answer){0};
}

static bool is_stop(const llava_config *config, int64_t id)
{
    for (size_t i = 0; i < config->stop_count; i++) {
        if (config->stop_ids[i] == id) {
            return true;
        }
    }
    return false;
}

int64_t llava_argmax(bool islands, const double *logits, size_t vocab)
{
    size_t best = 0;
    double most = 0;
    for (size_t v = 0; v < vocab; v++) {
        double logit = islands ? llava_round(LLAVA_F32, logits[v]) : logits[v];
        if (v == 0 || logit > most || (logit != logit && most == most)) {
            best = v;
            most = logit;
        }
    }
    return (int64_t)best;
}

/* The mask that generate() infers where none is given: padding is masked if the pad id occurs and
 * is no stop id. NULL in *mask: all ones. */
static bool infer_mask(const llava_config *config, const llava_inputs *in, int64_t **mask,
                       llava_error *e)
{
    size_t count = in->batch * in->length, pads = 0;
    *mask = NULL;
    if (in->input_ids == NULL || config->pad_id < 0 || is_stop(config, config->pad_id)) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        pads += in->input_ids[i] == config->pad_id;
    }
    if (pads == 0) {
        return true;
    }
    *mask = llava_alloc(e, count, sizeof(int64_t));
    for (size_t i = 0; *mask != NULL && i < count; i++) {
        (*mask)[i] = in->input_ids[i] != config->pad_id;
    }
    return *mask != NULL;
}

/* State of a decoding loop: one value a sample. */
typedef struct {
    int64_t *next, *position;
    bool *ended;
} rows;

/* Takes the g-th token of every row from the logits of the last position, or from the answer that
 * is given; all_ended says whether to stop. */
static void choose(const llava_numerics *n, const llava_config *config, const llava_inputs *in,
                   size_t g, const llava_outputs *out, rows *state, bool *all_ended)
{
    *all_ended = in->answer == NULL || g == in->answer_length;
    for (size_t b = 0; b < out->batch; b++) {
        if (in->answer != NULL) {
            state->next[b] = in->answer[b * in->answer_length + g - 1];
            continue;
        }
        const double *last = out->logits + ((b + 1) * out->rows - 1) * out->vocab;
        state->next[b] =
            state->ended[b] ? config->pad_id : llava_argmax(n->islands, last, out->vocab);
        state->ended[b] = state->ended[b] || is_stop(config, state->next[b]);
        *all_ended = *all_ended && state->ended[b];
    }
}

/* What a known bug adds to the position of each step. */
static int64_t position_slip(const llava_plan *plan)
{
    switch (plan->text.cache_position) {
    case LLAVA_CACHE_REPEATED:
        return -1;
    case LLAVA_CACHE_SKIPPED:
        return 1;
    default:
        return 0;
    }
}

/* Step g: feeds the tokens chosen before, taps under "step.g.". */
static bool step(llava_run *r, const llava_goal *goal, llava_cache *cache, size_t g, rows *state,
                 llava_outputs *out)
{
    char prefix[32];
    snprintf(prefix, sizeof prefix, "step.%zu.", g);
    llava_run inner = *r;
    inner.prefix = prefix;
    llava_inputs in = {.batch = cache->batch, .length = 1, .input_ids = state->next};
    for (size_t b = 0; b < cache->batch; b++) {
        state->position[b]++;
    }
    bool ok = llava_forward(&inner, goal, &in, state->position, cache, out);
    r->scratch = inner.scratch;
    return ok;
}

/* The loop on memory that the caller holds. positions: [B, S]. */
static bool decode(llava_run *r, const llava_config *config, const llava_goal *goal,
                   const llava_goal *step_goal, const llava_inputs *in, int64_t *positions,
                   llava_cache *cache, size_t most, rows *state, llava_answer *answer)
{
    llava_outputs out;
    bool all_ended;
    bool ok = llava_forward(r, goal, in, positions, cache, &out);
    for (size_t b = 0; ok && b < in->batch; b++) {
        state->position[b] = positions[(b + 1) * in->length - 1] + position_slip(r->plan);
    }
    for (size_t g = 1; ok; g++) {
        choose(&r->plan->numerics, config, in, g, &out, state, &all_ended);
        llava_outputs_free(&out);
        for (size_t b = 0; b < in->batch; b++) {
            answer->ids[b * most + g - 1] = state->next[b];
        }
        answer->count = g;
        if (all_ended || g == most) {
            break;
        }
        ok = step(r, step_goal, cache, g, state, &out);
    }
    return ok;
}

/* [B, most] -> [B, count] in place. */
static void pack_answer(llava_answer *answer, size_t most)
{
    for (size_t b = 1; b < answer->batch; b++) {
        memmove(answer->ids + b * answer->count, answer->ids + b * most,
                answer->count * sizeof(int64_t));
    }
}

bool llava_generate(llava_run *r, const llava_config *config, const llava_goal *goal,
                    const llava_goal *step_goal, const llava_inputs *in,
                    llava_convention convention, size_t most, llava_answer *answer)
{
    llava_cache cache = {0};
    llava_inputs given = *in;
    int64_t *mask = NULL;
    size_t tokens, count = in->batch * in->length;
    *answer = (llava_answer){.batch = in->batch};
    if (!llava_mul(in->batch, most, &tokens)) {
        return llava_fail(r->error, "--generate %zu: too many tokens", most);
    }
    rows state = {
        .next = llava_alloc(r->error, in->batch, sizeof(int64_t)),
        .position = llava_alloc(r->error, in->batch, sizeof(int64_t)),
        .ended = llava_alloc(r->error, in->batch, sizeof(bool)),
    };
    int64_t *positions = llava_alloc(r->error, count, sizeof(int64_t));
    answer->ids = llava_alloc(r->error, tokens, sizeof(int64_t));
    bool ok = state.next != NULL && state.position != NULL && state.ended != NULL &&
              positions != NULL && answer->ids != NULL &&
              llava_cache_make(&cache, r->plan, in->batch, true, r->error) &&
              (in->attention_mask != NULL || infer_mask(config, in, &mask, r->error));
    if (ok) {
        given.attention_mask = mask == NULL ? in->attention_mask : mask;
        llava_positions(r->plan, &given, convention, positions);
        ok = decode(r, config, goal, step_goal, &given, positions, &cache, most, &state, answer);
    }
    if (ok) {
        pack_answer(answer, most);
        ok = llava_put_typed(r, LLAVA_I64, answer->ids,
                             (llava_shape){2, {answer->batch, answer->count}}, "generated_ids");
    }
    free(state.next);
    free(state.position);
    free(state.ended);
    free(positions);
    free(mask);
    llava_cache_free(&cache);
    if (!ok) {
        llava_answer_free(answer);
    }
    return ok;
}
