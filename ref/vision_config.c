/* vision_config: the three towers' configuration classes with their defaults (spec 1.2 to 1.4). */
#include "config_source.h"

#include <stdio.h>

/* The tower's own configuration class's defaults where vision_config is there, CLIP ViT-L/14 at 336
 * pixels (LlavaConfig's own) where it is not. llava-hf's files write neither hidden_act nor
 * layer_norm_eps. Pixtral's eps is no key at all. */
static llava_vision_config vision_defaults(llava_tower tower, bool has_config)
{
    if (tower == LLAVA_TOWER_PIXTRAL) {
        return (llava_vision_config){
            .tower = tower,
            .hidden = 1024,
            .intermediate = 4096,
            .layers = 24,
            .heads = 16,
            .channels = 3,
            .image_size = 1024,
            .patch_size = 16,
            .act = LLAVA_ACT_GELU,
            .norm_eps = 1e-5,
        };
    }
    llava_vision_config v = {
        .tower = tower,
        .hidden = 768,
        .intermediate = 3072,
        .layers = 12,
        .heads = 12,
        .channels = 3,
        .image_size = 224,
        .patch_size = 32,
        .act = LLAVA_ACT_QUICK_GELU,
        .norm_eps = 1e-5,
    };
    if (tower == LLAVA_TOWER_SIGLIP) {
        v.patch_size = 16;
        v.act = LLAVA_ACT_GELU_TANH;
        v.norm_eps = 1e-6;
    }
    if (!has_config) {
        v.hidden = 1024;
        v.intermediate = 4096;
        v.layers = 24;
        v.heads = 16;
        v.image_size = 336;
        v.patch_size = 14;
    }
    return v;
}

/* Pixtral's rotary embedding. Its type is called `axial` since 5.2x, `default` before; a head_dim
 * in the file must be what the weights have. */
static bool read_axial_rope(const llava_source *s, llava_vision_config *v)
{
    const char *dict;
    if (!llava_rope_object(s, "vision_config", &dict)) {
        return false;
    }
    char theta[64], type[64], old_type[64];
    snprintf(theta, sizeof theta, "vision_config.%s.rope_theta", dict);
    snprintf(type, sizeof type, "vision_config.%s.rope_type", dict);
    snprintf(old_type, sizeof old_type, "vision_config.%s.type", dict);
    static const char *const types[] = {"axial", "default", NULL};
    size_t head_dim = v->hidden / v->heads, own = head_dim, ignored = 0;
    v->rope_theta = 10000.0;
    if (!llava_read_positive(s, "vision_config.rope_theta", &v->rope_theta) ||
        !llava_read_positive(s, theta, &v->rope_theta) ||
        !llava_read_word(s, llava_json_has(s->root, type) ? type : old_type, types, &ignored) ||
        !llava_read_size(s, "vision_config.head_dim", LLAVA_MAX_SIZE, &own)) {
        return false;
    }
    if (own != head_dim) {
        return llava_refuse(s, "vision_config.head_dim",
                            "is not hidden_size / num_attention_heads");
    }
    return (head_dim % 2 == 0 && head_dim > 2) ||
           llava_refuse(s, "vision_config.num_attention_heads",
                        "the head width must be even and at least 4, for two axes of rotation");
}

bool llava_read_vision(const llava_source *s, llava_vision_config *v)
{
    static const char *const families[] = {
        [LLAVA_TOWER_CLIP] = "clip_vision_model",
        [LLAVA_TOWER_SIGLIP] = "siglip_vision_model",
        [LLAVA_TOWER_PIXTRAL] = "pixtral",
        NULL,
    };
    size_t family = LLAVA_TOWER_CLIP;
    bool tied = false, head = true;
    if (!llava_read_word(s, "vision_config.model_type", families, &family)) {
        return false;
    }
    llava_tower tower = (llava_tower)family;
    *v = vision_defaults(tower, llava_json_has(s->root, "vision_config"));
    if (!llava_read_size(s, "vision_config.hidden_size", LLAVA_MAX_SIZE, &v->hidden) ||
        !llava_read_size(s, "vision_config.intermediate_size", LLAVA_MAX_SIZE, &v->intermediate) ||
        !llava_read_size(s, "vision_config.num_hidden_layers", LLAVA_MAX_LAYERS, &v->layers) ||
        !llava_read_size(s, "vision_config.num_attention_heads", LLAVA_MAX_SIZE, &v->heads) ||
        !llava_read_size(s, "vision_config.num_channels", LLAVA_MAX_SIZE, &v->channels) ||
        !llava_read_size(s, "vision_config.image_size", LLAVA_MAX_SIZE, &v->image_size) ||
        !llava_read_size(s, "vision_config.patch_size", LLAVA_MAX_SIZE, &v->patch_size) ||
        !llava_read_act(s, "vision_config.hidden_act", &v->act) ||
        (tower != LLAVA_TOWER_PIXTRAL &&
         !llava_read_positive(s, "vision_config.layer_norm_eps", &v->norm_eps)) ||
        !llava_json_bool(s->path, s->root, "vision_config.vision_use_head", &head, s->e) ||
        !llava_json_bool(s->path, s->root, "vision_config.tie_last_hidden_states", &tied, s->e)) {
        return false;
    }
    v->pooling_head = head && tower == LLAVA_TOWER_SIGLIP;
    if (tied) {
        return llava_refuse(s, "vision_config.tie_last_hidden_states", "true is not supported yet");
    }
    if (v->hidden % v->heads != 0) {
        return llava_refuse(s, "vision_config.hidden_size",
                            "is no multiple of num_attention_heads");
    }
    if (v->channels != 3) {
        return llava_refuse(s, "vision_config.num_channels", "only 3 is supported");
    }
    if (v->image_size < v->patch_size) {
        return llava_refuse(s, "vision_config.image_size", "is smaller than patch_size");
    }
    return tower != LLAVA_TOWER_PIXTRAL || read_axial_rope(s, v);
}
