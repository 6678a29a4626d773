#include "original.h"

#include "config_source.h"
#include "file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *read_object(const char *path, llava_error *e)
{
    cJSON *root = llava_json_read(path, e);
    if (root != NULL && !cJSON_IsObject(root)) {
        llava_fail(e, "%s: must be an object", path);
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

bool llava_original_is(const char *folder)
{
    llava_error ignored;
    char *path = llava_path(NULL, folder, "config.json");
    cJSON *root = path == NULL ? NULL : read_object(path, &ignored);
    bool is = root != NULL && llava_json_has(root, "mm_vision_tower");
    cJSON_Delete(root);
    free(path);
    return is;
}

const char *llava_original_lacks(const char *folder)
{
    bool weights = llava_file_in(folder, "model.safetensors") ||
                   llava_file_in(folder, "model.safetensors.index.json");
    if (weights) {
        return NULL;
    }
    if (llava_file_in(folder, "adapter_config.json")) {
        return "a LoRA adapter, no whole model (adapter_config.json): merge it into the model that "
               "it was trained on and save that as safetensors";
    }
    /* Before the projector: a whole model may hold its file besides. */
    if (llava_file_in(folder, "pytorch_model.bin") ||
        llava_file_in(folder, "pytorch_model.bin.index.json")) {
        return "its weights are pickles (pytorch_model.bin), which are programs and are not read: "
               "save them as safetensors (save_pretrained with safe_serialization)";
    }
    if (llava_file_in(folder, "mm_projector.bin") ||
        llava_file_in(folder, "non_lora_trainables.bin")) {
        return "a projector alone, no whole model (mm_projector.bin): load it into the language "
               "model that it was trained on and save that as safetensors";
    }
    return NULL;
}

/* ---- the translation ---------------------------------------------------------------------------
 */

/* Keys that say how the model was trained, or what is read here itself: no part of text_config. */
static bool is_text_key(const char *key)
{
    static const char *const others[] = {
        "model_type",
        "architectures",
        "image_aspect_ratio",
        "image_crop_resolution",
        "image_grid_pinpoints",
        "image_split_resolution",
        "tune_mm_mlp_adapter",
        "freeze_mm_mlp_adapter",
        "pretrain_mm_mlp_adapter",
        "use_mm_proj",
        "unfreeze_mm_vision_tower",
        "tokenizer_model_max_length",
        "tokenizer_padding_side",
        "freeze_mm_vision_resampler",
        "tune_mm_vision_resampler",
        "vision_tower",
        "s2",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(key, others[i]) == 0) {
            return false;
        }
    }
    return strncmp(key, "mm_", 3) != 0;
}

/* What is a LLaVA of its own kind and not this one's arithmetic. */
static bool check_kind(const llava_source *s, bool *pad)
{
    static const char *const aspects[] = {"square", "pad", NULL}, *const merges[] = {"flat", NULL};
    size_t aspect = 0, merge = 0;
    bool s2 = false;
    if (llava_json_has(s->root, "mm_resampler_type")) {
        return llava_refuse(s, "mm_resampler_type", "resamplers are not supported");
    }
    if (!llava_json_bool(s->path, s->root, "s2", &s2, s->e) ||
        !llava_read_word(s, "image_aspect_ratio", aspects, &aspect) ||
        !llava_read_word(s, "mm_patch_merge_type", merges, &merge)) {
        return false;
    }
    *pad = aspect == 1;
    return !s2 || llava_refuse(s, "s2", "towers of several scales are not supported");
}

/* Takes the item, also where it fails. */
static bool add(cJSON *object, const char *key, cJSON *item, llava_error *e)
{
    if (object != NULL && item != NULL && cJSON_AddItemToObject(object, key, item)) {
        return true;
    }
    cJSON_Delete(item);
    return llava_fail(e, "out of memory (config.json)");
}

/* config.json's own keys as the language model's. */
static cJSON *text_part(const llava_source *s)
{
    static const char *const types[] = {"llava_llama", "llava", "llava_mistral", NULL};
    size_t type = 1;
    cJSON *text = cJSON_CreateObject();
    bool ok = llava_read_word(s, "model_type", types, &type);
    for (const cJSON *item = s->root->child; ok && item != NULL; item = item->next) {
        ok = !is_text_key(item->string) ||
             add(text, item->string, cJSON_Duplicate(item, true), s->e);
    }
    ok = ok && add(text, "model_type", cJSON_CreateString(type == 2 ? "mistral" : "llama"), s->e);
    if (!ok) {
        cJSON_Delete(text);
        return NULL;
    }
    return text;
}

/* vision_config of a CLIPConfig, or the whole of a CLIPVisionConfig. */
static cJSON *vision_part(const char *tower, llava_error *e)
{
    char *path = llava_path(e, tower, "config.json");
    cJSON *root = path == NULL ? NULL : read_object(path, e), *vision = NULL;
    if (root != NULL) {
        const cJSON *part = cJSON_GetObjectItemCaseSensitive(root, "vision_config");
        vision = cJSON_Duplicate(part != NULL && !cJSON_IsNull(part) ? part : root, true);
        if (vision == NULL) {
            llava_fail(e, "out of memory (%s)", path);
        } else if (!cJSON_IsObject(vision)) {
            llava_fail(e, "%s: vision_config: must be an object", path);
            cJSON_Delete(vision);
            vision = NULL;
        }
    }
    cJSON_Delete(root);
    free(path);
    return vision;
}

/* The hidden state and rows, under their other names. */
static bool translate_features(const llava_source *s, cJSON *to)
{
    static const char *const rows[] = {"patch", "cls_patch", NULL};
    int64_t layer = -2;
    size_t row = 0;
    return llava_json_int(s->path, s->root, "mm_vision_select_layer", &layer, s->e) &&
           llava_read_word(s, "mm_vision_select_feature", rows, &row) &&
           add(to, "vision_feature_layer", cJSON_CreateNumber((double)layer), s->e) &&
           add(to, "vision_feature_select_strategy",
               cJSON_CreateString(row == 1 ? "full" : "default"), s->e);
}

/* The whole of it as transformers would write it. NULL with the error set. */
static cJSON *translate(const llava_source *s, const char *tower)
{
    static const char *const tokens[] = {"eos_token_id", "pad_token_id", "bos_token_id",
                                         "tie_word_embeddings"};
    cJSON *to = cJSON_CreateObject(), *text = text_part(s);
    bool ok = text != NULL && add(to, "text_config", text, s->e);
    cJSON *vision = ok ? vision_part(tower, s->e) : NULL;
    ok = vision != NULL && add(to, "vision_config", vision, s->e) && translate_features(s, to) &&
         add(to, "model_type", cJSON_CreateString("llava"), s->e) &&
         add(to, "image_token_index", cJSON_CreateNumber(LLAVA_ORIGINAL_IMAGE), s->e);
    for (size_t i = 0; ok && i < sizeof tokens / sizeof *tokens; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(s->root, tokens[i]);
        ok = item == NULL || add(to, tokens[i], cJSON_Duplicate(item, true), s->e);
    }
    if (!ok) {
        cJSON_Delete(to);
        return NULL;
    }
    return to;
}

/* What the translation has no word for. */
static bool read_rest(const llava_source *s, llava_config *c)
{
    static const char *const projectors[] = {"linear", "mlp2x_gelu", NULL};
    size_t projector = 0, width = c->vision.hidden;
    c->original = true;
    if (!check_kind(s, &c->pad_square) ||
        !llava_read_word(s, "mm_projector_type", projectors, &projector) ||
        !llava_json_bool(s->path, s->root, "mm_use_im_start_end", &c->start_end, s->e) ||
        !llava_read_size(s, "mm_hidden_size", LLAVA_MAX_SIZE, &width)) {
        return false;
    }
    c->projector_linear = projector == 0;
    return width == c->vision.hidden ||
           llava_fail(s->e, "%s: mm_hidden_size: %zu, but the vision tower is %zu wide", s->path,
                      width, c->vision.hidden);
}

bool llava_original_config(llava_config *config, const char *folder, const char *tower,
                           llava_error *e)
{
    char *path = llava_path(e, folder, "config.json");
    cJSON *root = path == NULL ? NULL : read_object(path, e);
    llava_source s = {path, root, e};
    cJSON *translated = root == NULL ? NULL : translate(&s, tower);
    bool ok = translated != NULL && llava_config_of(config, path, translated, folder, e) &&
              read_rest(&s, config);
    cJSON_Delete(translated);
    cJSON_Delete(root);
    free(path);
    return ok;
}
