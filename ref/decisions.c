#include "decisions.h"

#include <stdio.h>
#include <string.h>

static const llava_decision decisions[LLAVA_DECISION_COUNT] = {
    [LLAVA_IMAGE_CHANNEL_ORDER] = {"image.channel_order", {"rgb", "bgr", NULL}, "", "", ""},
    [LLAVA_IMAGE_GEOMETRY] =
        {"image.geometry", {"config", "crop", "pad", "stretch", NULL}, "", "", ""},
    [LLAVA_IMAGE_PAD_COLOR] = {"image.pad_color", {"mean", "black", "white", NULL}, "", "", ""},
    [LLAVA_IMAGE_PAD_ALIGN] = {"image.pad_align", {"center", "top-left", NULL}, "", "", ""},
    [LLAVA_IMAGE_PAD_ORDER] = {"image.pad_order", {"pad-first", "resize-first", NULL}, "", "", ""},
    [LLAVA_IMAGE_RESIZE_FILTER] = {"image.resize_filter",
                                   {"config", "bicubic", "bilinear", "nearest", "lanczos", "box",
                                    NULL},
                                   "",
                                   "",
                                   ""},
    [LLAVA_IMAGE_ANTIALIAS] = {"image.antialias", {"on", "off", NULL}, "", "", ""},
    [LLAVA_IMAGE_CUBIC_A] = {"image.cubic_a", {"-0.5", "-0.75", NULL}, "", "", ""},
    [LLAVA_IMAGE_RESIZE_ROUNDING] =
        {"image.resize_rounding", {"pillow", "torchvision", "float", "once", NULL}, "", "", ""},
    [LLAVA_IMAGE_RESIZE_GRID] =
        {"image.resize_grid", {"half-pixel", "corner", "align-corners", NULL}, "", "", ""},
    [LLAVA_IMAGE_SIZE_ROUNDING] =
        {"image.size_rounding", {"trunc", "round", "ceil", "ceil-f32", NULL}, "", "", ""},
    [LLAVA_IMAGE_CROP_ROUNDING] = {"image.crop_rounding", {"floor", "ceil", NULL}, "", "", ""},
    [LLAVA_IMAGE_PASS_ORDER] =
        {"image.pass_order", {"pillow", "horizontal-first", NULL}, "", "", ""},
    [LLAVA_IMAGE_ALPHA] = {"image.alpha", {"drop", "white", "black", NULL}, "", "", ""},
    [LLAVA_IMAGE_RESCALE] = {"image.rescale", {"config", "none", NULL}, "", "", ""},
    [LLAVA_IMAGE_NORMALIZE] =
        {"image.normalize", {"config", "none", "half", "imagenet", NULL}, "", "", ""},
    [LLAVA_TOKENS_BOS] = {"tokens.bos", {"config", "none", "every-segment", NULL}, "", "", ""},
    [LLAVA_TOKENS_IMAGE_COUNT] =
        {"tokens.image_count", {"exact", "one-less", "one-more", "single", NULL}, "", "", ""},
    [LLAVA_TOKENS_PREFIX_SPACE] =
        {"tokens.prefix_space", {"config", "never", "every-segment", NULL}, "", "", ""},
    [LLAVA_VISION_PATCH_ORDER] =
        {"vision.patch_order", {"row-major", "column-major", NULL}, "", "", ""},
    [LLAVA_VISION_PATCH_KERNEL] = {"vision.patch_kernel", {"oihw", "ohwi", NULL}, "", "", ""},
    [LLAVA_VISION_CLS_POSITION] =
        {"vision.cls_position", {"first", "last", "absent", NULL}, "", "", ""},
    [LLAVA_VISION_POSITIONS] =
        {"vision.positions", {"config", "shifted", "reversed", "absent", NULL}, "", "", ""},
    [LLAVA_VISION_PRE_NORM] = {"vision.pre_norm", {"config", "absent", NULL}, "", "", ""},
    [LLAVA_VISION_NORM_EPS] =
        {"vision.norm_eps", {"config", "1e-5", "1e-6", "1e-7", "1e-12", NULL}, "", "", ""},
    [LLAVA_VISION_ACT] = {"vision.act",
                          {"config", "quick_gelu", "gelu", "gelu_tanh", "quick_gelu_1.773", "silu",
                           "relu", NULL},
                          "",
                          "",
                          ""},
    [LLAVA_VISION_ATTN_SCALE] =
        {"vision.attn_scale", {"head", "none", "width", "double", NULL}, "", "", ""},
    [LLAVA_VISION_ATTN_MASK] = {"vision.attn_mask", {"none", "causal", NULL}, "", "", ""},
    [LLAVA_VISION_ATTN_BIAS] = {"vision.attn_bias", {"config", "absent", NULL}, "", "", ""},
    [LLAVA_VISION_QK_LAYOUT] = {"vision.qk_layout", {"plain", "permuted", NULL}, "", "", ""},
    [LLAVA_VISION_FEATURE_LAYER] =
        {"vision.feature_layer", {"config", "one-less", "one-more", "last", NULL}, "", "", ""},
    [LLAVA_VISION_POST_NORM] = {"vision.post_norm", {"absent", "applied", NULL}, "", "", ""},
    [LLAVA_VISION_SELECT] = {"vision.select", {"config", "full", "drop-last", NULL}, "", "", ""},
    [LLAVA_PROJECTOR_ACT] = {"projector.act",
                             {"config", "gelu", "gelu_tanh", "quick_gelu", "silu", "relu", "none",
                              NULL},
                             "",
                             "",
                             ""},
    [LLAVA_PROJECTOR_BIAS] = {"projector.bias", {"config", "absent", NULL}, "", "", ""},
    [LLAVA_MERGE_SCALE] = {"merge.scale", {"none", "sqrt-width", NULL}, "", "", ""},
    [LLAVA_MERGE_PLACEMENT] =
        {"merge.placement", {"at-tokens", "one-early", "one-late", "front", NULL}, "", "", ""},
    [LLAVA_MERGE_ORDER] = {"merge.order", {"row-major", "reversed", NULL}, "", "", ""},
    [LLAVA_TEXT_NORM_EPS] = {"text.norm_eps", {"config", "1e-5", "1e-6", "1e-8", NULL}, "", "", ""},
    [LLAVA_TEXT_NORM_WEIGHT] = {"text.norm_weight", {"plain", "plus-one", NULL}, "", "", ""},
    [LLAVA_TEXT_NORM_KIND] = {"text.norm_kind", {"rms", "layer", NULL}, "", "", ""},
    [LLAVA_TEXT_ROPE_PAIRING] = {"text.rope_pairing", {"half", "interleaved", NULL}, "", "", ""},
    [LLAVA_TEXT_ROPE_THETA] =
        {"text.rope_theta", {"config", "1e4", "5e5", "1e6", NULL}, "", "", ""},
    [LLAVA_TEXT_ROPE_SCALING] = {"text.rope_scaling", {"config", "none", NULL}, "", "", ""},
    [LLAVA_TEXT_ROPE_SIGN] = {"text.rope_sign", {"plain", "reversed", NULL}, "", "", ""},
    [LLAVA_TEXT_POSITIONS] = {"text.positions",
                              {"config", "one-based", "image-shared", "mask-ignored",
                               "mask-cumulative", NULL},
                              "",
                              "",
                              ""},
    [LLAVA_TEXT_ATTN_SCALE] =
        {"text.attn_scale", {"head", "none", "width", "double", NULL}, "", "", ""},
    [LLAVA_TEXT_ATTN_MASK] =
        {"text.attn_mask", {"causal", "none", "self-excluded", "next-included", NULL}, "", "", ""},
    [LLAVA_TEXT_PADDING_MASK] = {"text.padding_mask", {"applied", "ignored", NULL}, "", "", ""},
    [LLAVA_TEXT_KV_GROUPS] = {"text.kv_groups", {"block", "interleaved", NULL}, "", "", ""},
    [LLAVA_TEXT_QKV_BIAS] = {"text.qkv_bias", {"config", "absent", NULL}, "", "", ""},
    [LLAVA_TEXT_SLIDING_WINDOW] =
        {"text.sliding_window", {"config", "ignored", "one-less", NULL}, "", "", ""},
    [LLAVA_TEXT_MLP_ACT] =
        {"text.mlp_act", {"config", "silu", "gelu", "gelu_tanh", "relu", NULL}, "", "", ""},
    [LLAVA_TEXT_MLP_ORDER] = {"text.mlp_order", {"plain", "gate-up-swapped", NULL}, "", "", ""},
    [LLAVA_TEXT_LAYERS] = {"text.layers", {"config", "one-less", NULL}, "", "", ""},
    [LLAVA_TEXT_FINAL_NORM] = {"text.final_norm", {"applied", "absent", NULL}, "", "", ""},
    [LLAVA_CACHE_POSITION] = {"cache.position", {"next", "repeated", "skipped", NULL}, "", "", ""},
    [LLAVA_NUMERICS_WEIGHTS] =
        {"numerics.weights", {"stored", "f16", "bf16", "int8", "int8-block32", NULL}, "", "", ""},
    [LLAVA_NUMERICS_PATCH_INPUT] =
        {"numerics.patch_input", {"exact", "f16", "bf16", "tf32", NULL}, "", "", ""},
    [LLAVA_NUMERICS_MATMUL_INPUT] =
        {"numerics.matmul_input", {"exact", "f16", "bf16", "tf32", NULL}, "", "", ""},
    [LLAVA_NUMERICS_ACT_TABLE] = {"numerics.act_table", {"exact", "f16", NULL}, "", "", ""},
    [LLAVA_NUMERICS_ATTN_ACCUMULATE] =
        {"numerics.attn_accumulate", {"exact", "f16", NULL}, "", "", ""},
    [LLAVA_NUMERICS_KV_CACHE] = {"numerics.kv_cache", {"exact", "f16", "bf16", NULL}, "", "", ""},
    [LLAVA_NUMERICS_ISLANDS] = {"numerics.islands", {"none", "hf", NULL}, "", "", ""},
};

const llava_decision *llava_decision_at(llava_decision_id id)
{
    return &decisions[id];
}

/* "a, b, c" of a decision's values, for the error line. */
static void list_values(const llava_decision *d, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t v = 0; d->values[v] != NULL && used < size; v++) {
        int n = snprintf(text + used, size - used, "%s%s", v == 0 ? "" : ", ", d->values[v]);
        used += n > 0 ? (size_t)n : 0;
    }
}

bool llava_choose(llava_choices *choices, const char *setting, llava_error *e)
{
    const char *equals = strchr(setting, '=');
    if (equals == NULL) {
        return llava_fail(e, "--set %s: not of the form DECISION=VALUE", setting);
    }
    size_t length = (size_t)(equals - setting);
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = &decisions[i];
        if (strlen(d->name) != length || strncmp(d->name, setting, length) != 0) {
            continue;
        }
        for (unsigned char v = 0; d->values[v] != NULL; v++) {
            if (strcmp(d->values[v], equals + 1) == 0) {
                choices->value[i] = v;
                return true;
            }
        }
        char values[256];
        list_values(d, values, sizeof values);
        return llava_fail(e, "--set %s: unknown value (one of: %s)", setting, values);
    }
    return llava_fail(e, "--set %s: unknown decision (llava-ref explain lists them)", setting);
}
