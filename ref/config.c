/* config.json and generation_config.json, with transformers' defaults (spec 1.1, 1.2, 1.5, 9). */
#include "config_source.h"

#include "file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Between the two ---- */

#define FEATURE_LAYER "vision_feature_layer"

/* One index into the hidden states, whose tuple has layers + 1 entries; negative ones count from
 * its end, as in Python. `where` names the file and key, or the option, in an error. */
static bool add_feature_layer(llava_config *c, const char *where, int64_t index, llava_error *e)
{
    int64_t states = (int64_t)c->vision.layers + 1;
    if (index < -states || index >= states) {
        return llava_fail(e, "%s: %lld is out of range (the tower has %zu layers)", where,
                          (long long)index, c->vision.layers);
    }
    if (c->feature_layer_count == LLAVA_MAX_FEATURE_LAYERS) {
        return llava_fail(e, "%s: more than %d layers", where, LLAVA_MAX_FEATURE_LAYERS);
    }
    c->feature_layers[c->feature_layer_count++] = (size_t)(index < 0 ? index + states : index);
    return true;
}

static bool read_feature_layer(const llava_source *s, const cJSON *item, llava_config *c)
{
    int64_t index;
    return llava_json_item_int(s->path, item, FEATURE_LAYER, &index, s->e) &&
           (add_feature_layer(c, FEATURE_LAYER, index, s->e) || llava_fail_in(s->e, s->path));
}

static bool read_feature_layers(const llava_source *s, llava_config *c)
{
    const char *key = FEATURE_LAYER;
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(s->root, key);
    if (value == NULL || cJSON_IsNull(value)) {
        c->feature_layer_count = 1;
        c->feature_layers[0] = c->vision.layers - 1; /* -2 */
        return true;
    }
    if (!cJSON_IsArray(value)) {
        /* transformers takes a plain 0 for "none" and crashes (spec 14.6); in a list it works. */
        return (!cJSON_IsNumber(value) || value->valuedouble != 0 ||
                llava_refuse(s, key, "0 is refused, as transformers cannot run it")) &&
               read_feature_layer(s, value, c);
    }
    for (const cJSON *item = value->child; item != NULL; item = item->next) {
        if (!read_feature_layer(s, item, c)) {
            return false;
        }
    }
    return c->feature_layer_count > 0 || llava_refuse(s, key, "is an empty list");
}

bool llava_config_feature_layers(llava_config *c, const char *where, const int64_t *layers,
                                 size_t count, llava_error *e)
{
    size_t built = c->feature_layer_count;
    if (count == 1 && layers[0] == 0) {
        return llava_fail(e, "%s: 0 is refused, as transformers cannot run it", where);
    }
    c->feature_layer_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!add_feature_layer(c, where, layers[i], e)) {
            return false;
        }
    }
    return count == built ||
           llava_fail(e, "%s: %zu hidden state%s, but the projector is built for %zu (%s)", where,
                      count, count == 1 ? "" : "s", built, FEATURE_LAYER);
}

static bool read_select(const llava_source *s, llava_select *select)
{
    const char *key = "vision_feature_select_strategy";
    const char *word = "default";
    if (!llava_json_string(s->path, s->root, key, &word, s->e)) {
        return false;
    }
    *select = strcmp(word, "full") == 0 ? LLAVA_SELECT_FULL : LLAVA_SELECT_DEFAULT;
    return *select == LLAVA_SELECT_FULL || strcmp(word, "default") == 0 ||
           llava_refuse(s, key, "must be 'default' or 'full'");
}

static bool read_llava(const llava_source *s, llava_config *c)
{
    c->image_token = 32000;
    c->projector_act = LLAVA_ACT_GELU;
    c->projector_bias = true;
    static const char *const kinds[] = {"llava", NULL};
    size_t kind = 0;
    bool tied = false, text_tied = false;
    if (!cJSON_IsObject(s->root)) {
        return llava_fail(s->e, "%s: must be an object", s->path);
    }
    if (!llava_read_word(s, "model_type", kinds, &kind) || !llava_read_vision(s, &c->vision) ||
        !llava_read_text(s, &c->text) || !llava_check_keys(s, c) || !read_feature_layers(s, c) ||
        !read_select(s, &c->select) ||
        /* Two names of one value; where a file has both, image_token_id is set last and wins. */
        !llava_json_int(s->path, s->root, "image_token_index", &c->image_token, s->e) ||
        !llava_json_int(s->path, s->root, "image_token_id", &c->image_token, s->e) ||
        !llava_read_act(s, "projector_hidden_act", &c->projector_act) ||
        !llava_json_bool(s->path, s->root, "multimodal_projector_bias", &c->projector_bias, s->e) ||
        !llava_json_bool(s->path, s->root, "tie_word_embeddings", &tied, s->e) ||
        !llava_json_bool(s->path, s->root, "text_config.tie_word_embeddings", &text_tied, s->e)) {
        return false;
    }
    c->tied_head = tied || text_tied;
    return true;
}

/* ---- Generation ---- */

static bool read_stop_ids(const llava_source *s, const char *key, const cJSON *value,
                          llava_config *c)
{
    bool is_list = cJSON_IsArray(value);
    for (const cJSON *item = is_list ? value->child : value; item != NULL;
         item = is_list ? item->next : NULL) {
        if (c->stop_count == LLAVA_MAX_STOP_IDS) {
            return llava_fail(s->e, "%s: %s: more than %d ids", s->path, key, LLAVA_MAX_STOP_IDS);
        }
        if (!llava_json_item_int(s->path, item, key, &c->stop_ids[c->stop_count++], s->e)) {
            return false;
        }
    }
    return c->stop_count > 0 || llava_refuse(s, key, "is an empty list");
}

/* The ids at the top of the file, or in the object named by `prefix` ("text_config."), each only
 * where it is not set yet. */
static bool read_ids(const llava_source *s, const char *prefix, const cJSON *object,
                     llava_config *c)
{
    char eos[64], pad[64], bos[64];
    snprintf(eos, sizeof eos, "%seos_token_id", prefix);
    snprintf(pad, sizeof pad, "%spad_token_id", prefix);
    snprintf(bos, sizeof bos, "%sbos_token_id", prefix);
    const cJSON *stop = cJSON_GetObjectItemCaseSensitive(object, "eos_token_id");
    if (c->stop_count == 0 && stop != NULL && !cJSON_IsNull(stop) &&
        !read_stop_ids(s, eos, stop, c)) {
        return false;
    }
    return (c->pad_id >= 0 || llava_json_int(s->path, s->root, pad, &c->pad_id, s->e)) &&
           (c->bos_id >= 0 || llava_json_int(s->path, s->root, bos, &c->bos_id, s->e));
}

/* A number that changes greedy decoding unless it is `neutral`. */
static bool changes(const llava_source *s, const char *key, double neutral)
{
    double value = neutral;
    return !llava_json_double(s->path, s->root, key, &value, NULL) || value != neutral;
}

/* The first key of generation_config.json that makes transformers' greedy decoding differ from the
 * plain one. Sampling keys (do_sample, temperature, top_k, ...) do not count. */
static const char *find_unsupported(const llava_source *s)
{
    static const struct {
        const char *key;
        double neutral;
    } numbers[] = {
        {"repetition_penalty", 1}, {"no_repeat_ngram_size", 0},
        {"min_length", 0},         {"min_new_tokens", 0},
        {"num_beams", 1},          {"guidance_scale", 1},
        {"penalty_alpha", 0},
    };
    static const char *const others[] = {
        "bad_words_ids",         "suppress_tokens",
        "begin_suppress_tokens", "forced_bos_token_id",
        "forced_eos_token_id",   "sequence_bias",
        "stop_strings",          "exponential_decay_length_penalty",
        "watermarking_config",   "dola_layers",
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (changes(s, numbers[i].key, numbers[i].neutral)) {
            return numbers[i].key;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (llava_json_has(s->root, others[i])) {
            return others[i];
        }
    }
    return "";
}

/* generation_config.json alone, where it is there: what it does not name is not set. */
static bool read_generation_file(const char *path, llava_config *c, llava_error *e)
{
    cJSON *root = llava_json_read(path, e);
    if (root == NULL) {
        return false;
    }
    llava_source s = {path, root, e};
    bool ok = cJSON_IsObject(root) || llava_fail(e, "%s: must be an object", path);
    ok = ok && read_ids(&s, "", root, c);
    if (ok) {
        snprintf(c->unsupported_generation, sizeof c->unsupported_generation, "%s",
                 find_unsupported(&s));
    }
    cJSON_Delete(root);
    return ok;
}

/* As transformers 5.23's from_pretrained and generate() do (measured, and unlike spec 1.5 there are
 * no LlamaConfig defaults): generation_config.json if there is one; otherwise what config.json says
 * at its top, then in text_config. A pad that nobody names is the first stop id. */
static bool read_generation(const llava_source *config, const char *folder, llava_config *c)
{
    c->pad_id = -1;
    c->bos_id = -1;
    char *path = llava_path(config->e, folder, "generation_config.json");
    if (path == NULL) {
        return false;
    }
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(config->root, "text_config");
    bool ok = llava_file_exists(path) ? read_generation_file(path, c, config->e)
                                      : read_ids(config, "", config->root, c) &&
                                            read_ids(config, "text_config.", text, c);
    free(path);
    if (ok && c->pad_id < 0 && c->stop_count > 0) {
        c->pad_id = c->stop_ids[0];
    }
    return ok;
}

bool llava_config_of(llava_config *config, const char *path, const cJSON *object,
                     const char *folder, llava_error *e)
{
    llava_source s = {path, object, e};
    *config = (llava_config){0};
    return read_llava(&s, config) && read_generation(&s, folder, config);
}

bool llava_config_read(llava_config *config, const char *folder, llava_error *e)
{
    char *path = llava_path(e, folder, "config.json");
    if (path == NULL) {
        return false;
    }
    cJSON *root = llava_json_read(path, e);
    bool ok = root != NULL;
    if (ok && cJSON_IsObject(root) && llava_json_has(root, "mm_vision_tower")) {
        ok = llava_fail(e,
                        "%s: mm_vision_tower: a checkpoint of the original project, which wants "
                        "--profile original and --vision-tower DIR",
                        path);
    }
    ok = ok && llava_config_of(config, path, root, folder, e);
    cJSON_Delete(root);
    free(path);
    return ok;
}
