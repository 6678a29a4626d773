/* The rotary embedding's keys, wherever a version wrote them (transformers
 * RotaryEmbeddingConfigMixin; spec 1.5, 4.2). */
#include "config_source.h"
#include "elementary.h"
#include "rope.h"

#include <stdio.h>
#include <string.h>

/* The object that holds the keys. */
typedef struct {
    const llava_source *s;
    const char *object; /* "rope_scaling" or "rope_parameters" */
    char key[96];       /* the one at hand */
} keys;

static const char *key_of(keys *k, const char *name)
{
    snprintf(k->key, sizeof k->key, "text_config.%s.%s", k->object, name);
    return k->key;
}

bool llava_rope_object(const llava_source *s, const char *part, const char **object)
{
    char scaling[64], parameters[64];
    const cJSON *found, *other;
    snprintf(scaling, sizeof scaling, "%s.rope_scaling", part);
    snprintf(parameters, sizeof parameters, "%s.rope_parameters", part);
    if (!llava_json_object(s->path, s->root, scaling, &found, s->e) ||
        !llava_json_object(s->path, s->root, parameters, &other, s->e)) {
        return false;
    }
    *object = found != NULL && found->child != NULL ? "rope_scaling" : "rope_parameters";
    return true;
}

static bool is_there(keys *k, const char *name)
{
    return llava_json_has(k->s->root, key_of(k, name)) || llava_is_null(k->s, k->key);
}

static bool require(keys *k, const char *name)
{
    return is_there(k, name) || llava_refuse(k->s, k->key, "is missing, which this type needs");
}

static bool positive(keys *k, const char *name, double *value)
{
    return llava_read_positive(k->s, key_of(k, name), value);
}

/* rope_type, else the older spelling, else `default`. */
static bool read_type(keys *k, llava_rope_type *type)
{
    static const char *const words[] = {"default",  "linear", "dynamic", "yarn",
                                        "longrope", "llama3", NULL};
    size_t index = 0;
    const char *name = is_there(k, "rope_type") ? "rope_type" : "type";
    if (!llava_read_word(k->s, key_of(k, name), words, &index)) {
        return false;
    }
    *type = (llava_rope_type)index;
    return true;
}

/* A factor below 1 shortens the context: transformers warns and goes on. */
static bool read_factor(keys *k, llava_rope *rope)
{
    return require(k, "factor") && positive(k, "factor", &rope->factor);
}

/* Beside rope_scaling before in it, and last max_position_embeddings. */
static bool read_original(keys *k, const llava_text_config *t, llava_rope *rope)
{
    size_t original = t->max_positions;
    if (!llava_read_size(k->s, key_of(k, "original_max_position_embeddings"), LLAVA_MAX_SIZE,
                         &original) ||
        !llava_read_size(k->s, "text_config.original_max_position_embeddings", LLAVA_MAX_SIZE,
                         &original)) {
        return false;
    }
    rope->original_positions = (double)original;
    return true;
}

static bool read_factors(keys *k, const char *name, size_t pairs, double *factors)
{
    const cJSON *list = NULL;
    if (!require(k, name) ||
        !llava_json_array(k->s->path, k->s->root, key_of(k, name), &list, k->s->e)) {
        return false;
    }
    if (pairs > LLAVA_MAX_ROPE_PAIRS || (size_t)cJSON_GetArraySize(list) != pairs) {
        return llava_fail(k->s->e,
                          "%s: %s: must be a list of %zu numbers, half the head's width, and of at "
                          "most %d",
                          k->s->path, k->key, pairs, LLAVA_MAX_ROPE_PAIRS);
    }
    size_t i = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble > 0)) {
            return llava_refuse(k->s, k->key, "must hold positive numbers");
        }
        factors[i++] = item->valuedouble;
    }
    return true;
}

/* attention_factor, in *given 0 where the file has none. */
static bool read_attention_factor(keys *k, double *given)
{
    *given = 0;
    return !llava_json_has(k->s->root, key_of(k, "attention_factor")) ||
           llava_read_positive(k->s, k->key, given);
}

/* 1 where the context was not stretched; else 0.1 m ln(factor) + 1. */
static double yarn_scale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * llava_log(factor) + 1;
}

static bool read_yarn(keys *k, const llava_text_config *t, llava_rope *rope)
{
    double given = 0, m = 0, m_all = 0;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    rope->truncate = true;
    if (!read_original(k, t, rope) || !require(k, "factor")) {
        return false;
    }
    rope->factor = (double)t->max_positions / rope->original_positions;
    if (!positive(k, "factor", &rope->factor) || !read_attention_factor(k, &given) ||
        !llava_json_double(k->s->path, k->s->root, key_of(k, "mscale"), &m, k->s->e) ||
        !llava_json_double(k->s->path, k->s->root, key_of(k, "mscale_all_dim"), &m_all, k->s->e) ||
        !positive(k, "beta_fast", &rope->beta_fast) ||
        !positive(k, "beta_slow", &rope->beta_slow) ||
        !llava_read_bool(k->s, key_of(k, "truncate"), &rope->truncate)) {
        return false;
    }
    rope->truncate = rope->truncate && !llava_is_null(k->s, k->key); /* null is no yes in Python */
    bool both = m != 0 && m_all != 0;
    rope->attention_factor = given > 0 ? given
                             : both ? yarn_scale(rope->factor, m) / yarn_scale(rope->factor, m_all)
                                    : llava_rope_attention_factor(rope);
    return rope->theta != 1 || llava_refuse(k->s, key_of(k, "rope_theta"), "must not be 1 here");
}

static bool read_longrope(keys *k, const llava_text_config *t, llava_rope *rope)
{
    double given = 0;
    if (!read_original(k, t, rope) ||
        !read_factors(k, "short_factor", t->head_dim / 2, rope->short_factor) ||
        !read_factors(k, "long_factor", t->head_dim / 2, rope->long_factor)) {
        return false;
    }
    rope->factor = (double)t->max_positions / rope->original_positions;
    if (!positive(k, "factor", &rope->factor) || !read_attention_factor(k, &given)) {
        return false;
    }
    if (given == 0 && rope->factor > 1 && rope->original_positions == 1) {
        return llava_refuse(k->s, key_of(k, "original_max_position_embeddings"),
                            "must be above 1 where no attention_factor is given");
    }
    rope->attention_factor = given > 0 ? given : llava_rope_attention_factor(rope);
    return true;
}

static bool read_llama3(keys *k, const llava_text_config *t, llava_rope *rope)
{
    return read_factor(k, rope) && read_original(k, t, rope) && require(k, "low_freq_factor") &&
           positive(k, "low_freq_factor", &rope->low_factor) && require(k, "high_freq_factor") &&
           positive(k, "high_freq_factor", &rope->high_factor);
}

static bool read_dynamic(keys *k, const llava_text_config *t, llava_rope *rope)
{
    rope->max_positions = (double)t->max_positions;
    return read_factor(k, rope) &&
           (t->head_dim > 2 || llava_refuse(k->s, "text_config.head_dim",
                                            "must be above 2 for a dynamic rotary type"));
}

/* Only `default` leaves a partial rotation out of account; the other types' tables are then too
 * narrow for a head, and transformers fails. */
static bool check_partial(keys *k, const llava_text_config *t)
{
    double part = 1;
    if (!positive(k, "partial_rotary_factor", &part) ||
        (!is_there(k, "partial_rotary_factor") &&
         !llava_read_positive(k->s, "text_config.partial_rotary_factor", &part))) {
        return false;
    }
    double width = (double)t->head_dim * part;
    return (width >= (double)t->head_dim && width < (double)t->head_dim + 1) ||
           llava_refuse(k->s, key_of(k, "partial_rotary_factor"), "other than 1 is not supported");
}

bool llava_read_rope(const llava_source *s, llava_text_config *t)
{
    keys k = {.s = s};
    if (!llava_rope_object(s, "text_config", &k.object)) {
        return false;
    }
    llava_rope *rope = &t->rope;
    *rope = (llava_rope){.theta = 10000.0, .factor = 1, .attention_factor = 1};
    if (!llava_read_positive(s, "text_config.rope_theta", &rope->theta) ||
        !positive(&k, "rope_theta", &rope->theta) || !read_type(&k, &rope->type)) {
        return false;
    }
    switch (rope->type) {
    case LLAVA_ROPE_LINEAR:
        return read_factor(&k, rope) && check_partial(&k, t);
    case LLAVA_ROPE_DYNAMIC:
        return read_dynamic(&k, t, rope) && check_partial(&k, t);
    case LLAVA_ROPE_YARN:
        return read_yarn(&k, t, rope) && check_partial(&k, t);
    case LLAVA_ROPE_LONGROPE:
        return read_longrope(&k, t, rope) && check_partial(&k, t);
    case LLAVA_ROPE_LLAMA3:
        return read_llama3(&k, t, rope) && check_partial(&k, t);
    default:
        return true;
    }
}
