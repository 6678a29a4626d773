#include "plan.h"

#include "elementary.h"
#include "rope.h"

#include <string.h>

static unsigned chosen(const llava_choices *c, llava_decision_id id)
{
    return c->value[id];
}

/* The name of the chosen value. */
static const char *value_name(const llava_choices *c, llava_decision_id id)
{
    return llava_decision_at(id)->values[c->value[id]];
}

static bool no_effect(llava_error *e, const llava_choices *c, llava_decision_id id, const char *why)
{
    return llava_fail(e, "--set %s=%s: no effect here: %s", llava_decision_at(id)->name,
                      value_name(c, id), why);
}

/* An activation by the name that decisions use; value "config" leaves *act as it is. */
static void choose_act(const llava_choices *c, llava_decision_id id, llava_act *act)
{
    static const struct {
        const char *name;
        llava_act act;
    } names[] = {
        {"quick_gelu", LLAVA_ACT_QUICK_GELU},
        {"gelu", LLAVA_ACT_GELU},
        {"gelu_tanh", LLAVA_ACT_GELU_TANH},
        {"quick_gelu_1.773", LLAVA_ACT_QUICK_GELU_1773},
        {"silu", LLAVA_ACT_SILU},
        {"relu", LLAVA_ACT_RELU},
        {"none", LLAVA_ACT_NONE},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(value_name(c, id), names[i].name) == 0) {
            *act = names[i].act;
        }
    }
}

/* Number v of values[], the model's own number for v = 0. */
static double choose_number(const llava_choices *c, llava_decision_id id, double own,
                            const double *values)
{
    unsigned v = chosen(c, id);
    return v == 0 ? own : values[v - 1];
}

/* head: d^-0.5, none: 1, width: D^-0.5, double: d^-1. */
static double attention_scale(unsigned choice, size_t head_dim, size_t width)
{
    switch (choice) {
    case 1:
        return 1;
    case 2:
        return 1 / llava_sqrt((double)width);
    case 3:
        return 1 / (double)head_dim;
    default:
        return 1 / llava_sqrt((double)head_dim);
    }
}

/* The chosen hidden states, moved as vision.feature_layer says. */
static bool plan_features(llava_vision_plan *v, const llava_config *config, const llava_choices *c,
                          llava_error *e)
{
    v->feature_count = config->feature_layer_count;
    v->layers_needed = 0;
    for (size_t i = 0; i < v->feature_count; i++) {
        size_t layer = config->feature_layers[i];
        switch (chosen(c, LLAVA_VISION_FEATURE_LAYER)) {
        case 1:
            if (layer == 0) {
                return no_effect(e, c, LLAVA_VISION_FEATURE_LAYER, "no such layer");
            }
            layer--;
            break;
        case 2:
            if (layer == v->layers) {
                return no_effect(e, c, LLAVA_VISION_FEATURE_LAYER, "no such layer");
            }
            layer++;
            break;
        case 3:
            layer = v->layers;
            break;
        default:
            break;
        }
        v->feature_layers[i] = layer;
        /* the config's own layers too: a decision never removes a tap */
        size_t end = layer > config->feature_layers[i] ? layer : config->feature_layers[i];
        v->layers_needed = end > v->layers_needed ? end : v->layers_needed;
    }
    return true;
}

/* Decisions about what only some towers have. */
static bool acts_in_tower(llava_tower tower, const llava_choices *c, llava_error *e)
{
    enum { CLIP = 1 << LLAVA_TOWER_CLIP, SIGLIP = 1 << LLAVA_TOWER_SIGLIP };
    enum { PIXTRAL = 1 << LLAVA_TOWER_PIXTRAL };
    static const struct {
        llava_decision_id id;
        unsigned towers;
        const char *else_why;
    } some[] = {
        {LLAVA_VISION_PATCH_BIAS, SIGLIP, "this tower's convolution has no bias"},
        {LLAVA_VISION_CLS_POSITION, CLIP, "this tower has no class row"},
        {LLAVA_VISION_POSITIONS, CLIP | SIGLIP, "this tower has no position table"},
        {LLAVA_VISION_PRE_NORM, CLIP | PIXTRAL, "this tower has no norm in front of its layers"},
        {LLAVA_VISION_ATTN_BIAS, CLIP | SIGLIP, "this tower's attention has no biases"},
        {LLAVA_VISION_POST_NORM, CLIP | SIGLIP, "this tower has no norm behind its layers"},
        {LLAVA_VISION_IMAGE_SIZES, PIXTRAL, "this tower's pictures are all of one size"},
        {LLAVA_VISION_PICTURE_MASK, PIXTRAL, "this tower has a sequence for each picture"},
        {LLAVA_VISION_ROPE_AXES, PIXTRAL, "this tower has no rotary embedding"},
        {LLAVA_VISION_ROPE_FREQUENCIES, PIXTRAL, "this tower has no rotary embedding"},
        {LLAVA_VISION_ROPE_THETA, PIXTRAL, "this tower has no rotary embedding"},
        {LLAVA_VISION_ROPE_POSITIONS, PIXTRAL, "this tower has no rotary embedding"},
        {LLAVA_VISION_ROPE_PAIRING, PIXTRAL, "this tower has no rotary embedding"},
        {LLAVA_VISION_MLP_ORDER, PIXTRAL, "this tower's MLP has no gate"},
    };
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        if (chosen(c, some[i].id) != 0 && (some[i].towers & (1u << tower)) == 0) {
            return no_effect(e, c, some[i].id, some[i].else_why);
        }
    }
    return true;
}

/* CLIP's table begins with the class row's position; SigLIP's with the first patch's. */
static void plan_position_table(llava_vision_plan *v)
{
    bool has_class = v->tower == LLAVA_TOWER_CLIP;
    v->position_rows = v->grid * v->grid + (has_class ? 1 : 0);
    v->first_position = has_class && v->class_position == LLAVA_CLASS_ABSENT ? 1 : 0;
}

static void plan_axial_rope(llava_vision_plan *v, const llava_vision_config *from,
                            const llava_choices *c)
{
    static const double theta[] = {1e4, 1e6, 1e9};
    v->rope_theta = choose_number(c, LLAVA_VISION_ROPE_THETA, from->rope_theta, theta);
    v->rope_pairing = (llava_rope_pairing)chosen(c, LLAVA_VISION_ROPE_PAIRING);
    v->rope_frequencies = (llava_axial_frequencies)chosen(c, LLAVA_VISION_ROPE_FREQUENCIES);
    v->rope_positions = (llava_axial_positions)chosen(c, LLAVA_VISION_ROPE_POSITIONS);
    v->rope_columns_first = chosen(c, LLAVA_VISION_ROPE_AXES) == 1;
    v->pictures_apart = chosen(c, LLAVA_VISION_PICTURE_MASK) == 0;
    v->sizes_ignored = chosen(c, LLAVA_VISION_IMAGE_SIZES) == 1;
    v->gate_up_swapped = chosen(c, LLAVA_VISION_MLP_ORDER) == 1;
}

static bool plan_vision(llava_vision_plan *v, const llava_config *config, const llava_choices *c,
                        llava_error *e)
{
    static const double eps[] = {1e-5, 1e-6, 1e-7, 1e-12};
    const llava_vision_config *from = &config->vision;
    if (!acts_in_tower(from->tower, c, e)) {
        return false;
    }
    v->tower = from->tower;
    v->hidden = from->hidden;
    v->intermediate = from->intermediate;
    v->heads = from->heads;
    v->head_dim = from->hidden / from->heads;
    v->layers = from->layers;
    v->image_size = from->image_size;
    v->patch = from->patch_size;
    v->grid = from->image_size / from->patch_size;
    v->act = from->act;
    choose_act(c, LLAVA_VISION_ACT, &v->act);
    v->norm_eps = choose_number(c, LLAVA_VISION_NORM_EPS, from->norm_eps, eps);
    v->patches_column_major = chosen(c, LLAVA_VISION_PATCH_ORDER) == 1;
    v->kernel_channels_last = chosen(c, LLAVA_VISION_PATCH_KERNEL) == 1;
    v->class_position = v->tower == LLAVA_TOWER_CLIP
                            ? (llava_class_position)chosen(c, LLAVA_VISION_CLS_POSITION)
                            : LLAVA_CLASS_ABSENT;
    v->class_rows = v->class_position == LLAVA_CLASS_ABSENT ? 0 : 1;
    v->positions = (llava_position_rows)chosen(c, LLAVA_VISION_POSITIONS);
    plan_position_table(v);
    v->patch_bias = v->tower == LLAVA_TOWER_SIGLIP && chosen(c, LLAVA_VISION_PATCH_BIAS) == 0;
    v->pre_norm = v->tower != LLAVA_TOWER_SIGLIP && chosen(c, LLAVA_VISION_PRE_NORM) == 0;
    v->post_norm = chosen(c, LLAVA_VISION_POST_NORM) == 1;
    v->attn_scale = attention_scale(chosen(c, LLAVA_VISION_ATTN_SCALE), v->head_dim, v->hidden);
    v->causal = chosen(c, LLAVA_VISION_ATTN_MASK) == 1;
    v->attn_bias = v->tower != LLAVA_TOWER_PIXTRAL && chosen(c, LLAVA_VISION_ATTN_BIAS) == 0;
    v->qk_permuted = chosen(c, LLAVA_VISION_QK_LAYOUT) == 1;
    if (v->qk_permuted && v->head_dim % 2 != 0) {
        return no_effect(e, c, LLAVA_VISION_QK_LAYOUT, "the head width is odd");
    }
    plan_axial_rope(v, from, c);
    if (!plan_features(v, config, c, e)) {
        return false;
    }
    static const llava_rows select[] = {LLAVA_ROWS_DROP_FIRST, LLAVA_ROWS_FULL,
                                        LLAVA_ROWS_DROP_LAST, LLAVA_ROWS_DROP_FIRST};
    v->select = config->select == LLAVA_SELECT_FULL && chosen(c, LLAVA_VISION_SELECT) == 0
                    ? LLAVA_ROWS_FULL
                    : select[chosen(c, LLAVA_VISION_SELECT)];
    if (chosen(c, LLAVA_VISION_CLS_POSITION) == LLAVA_CLASS_ABSENT) {
        v->select = LLAVA_ROWS_FULL; /* no row to drop: the patches are all there is */
    }
    if (!llava_mul(v->hidden, v->feature_count, &v->feature_width)) {
        return llava_fail(e, "config.json: vision_feature_layer: too many layers");
    }
    return true;
}

static bool plan_rope(llava_text_plan *t, const llava_text_config *from, const llava_choices *c,
                      llava_error *e)
{
    static const double theta[] = {1e4, 5e5, 1e6};
    static const char *const plain = "this model's rotary type is `default`";
    llava_rope *rope = &t->rope;
    llava_rope_type type = from->rope.type;
    *rope = from->rope;
    rope->theta = choose_number(c, LLAVA_TEXT_ROPE_THETA, rope->theta, theta);
    rope->ramp = (llava_rope_ramp)chosen(c, LLAVA_TEXT_ROPE_RAMP);
    rope->choice = (llava_rope_choice)chosen(c, LLAVA_TEXT_ROPE_TABLE);
    if (chosen(c, LLAVA_TEXT_ROPE_SCALING) != 0) {
        rope->type = LLAVA_ROPE_DEFAULT;
        rope->attention_factor = 1;
        if (type == LLAVA_ROPE_DEFAULT) {
            return no_effect(e, c, LLAVA_TEXT_ROPE_SCALING, plain);
        }
    }
    if (chosen(c, LLAVA_TEXT_ROPE_ATTN_FACTOR) != 0) {
        double other =
            chosen(c, LLAVA_TEXT_ROPE_ATTN_FACTOR) == 1 ? 1 : llava_rope_attention_factor(rope);
        if (other == rope->attention_factor) {
            return no_effect(e, c, LLAVA_TEXT_ROPE_ATTN_FACTOR,
                             "this model multiplies cos and sin by just that");
        }
        rope->attention_factor = other;
    }
    if (rope->ramp != LLAVA_RAMP_PLAIN && type != LLAVA_ROPE_YARN && type != LLAVA_ROPE_LLAMA3) {
        return no_effect(e, c, LLAVA_TEXT_ROPE_RAMP,
                         "this model's rotary type is neither `yarn` nor `llama3`");
    }
    bool tables = type == LLAVA_ROPE_LONGROPE ||
                  (type == LLAVA_ROPE_DYNAMIC && rope->choice != LLAVA_TABLE_LONG);
    return rope->choice == LLAVA_TABLE_BY_LENGTH || tables ||
           no_effect(e, c, LLAVA_TEXT_ROPE_TABLE, "this model's rotary type has no such table");
}

/* Which layers slide: max_window_layers taken for the number of sliding layers in front, or none of
 * this looked at. */
static bool plan_slides(llava_text_plan *t, const llava_text_config *from, const llava_choices *c,
                        llava_error *e)
{
    size_t sliding = 0;
    unsigned layers = chosen(c, LLAVA_TEXT_WINDOW_LAYERS);
    for (size_t i = 0; i < t->layers; i++) {
        sliding += from->slides[i];
        t->slides[i] = layers == 0 ? from->slides[i] : layers == 1 || !from->slides[i];
    }
    if (layers != 0 && (sliding == 0 || sliding == t->layers)) {
        return no_effect(e, c, LLAVA_TEXT_WINDOW_LAYERS, "all layers of this model are alike");
    }
    t->window = sliding == 0 ? 0 : from->window;
    return true;
}

static bool plan_window(llava_text_plan *t, const llava_text_config *from, const llava_choices *c,
                        llava_error *e)
{
    if (!plan_slides(t, from, c, e)) {
        return false;
    }
    if (chosen(c, LLAVA_TEXT_SLIDING_WINDOW) != 0 && t->window == 0) {
        return no_effect(e, c, LLAVA_TEXT_SLIDING_WINDOW, "this model has no sliding window");
    }
    switch (chosen(c, LLAVA_TEXT_SLIDING_WINDOW)) {
    case 1:
        t->window = 0;
        break;
    case 2:
        t->window--;
        break;
    case 3:
        t->window++;
        break;
    default:
        break;
    }
    return true;
}

size_t llava_keys_kept(const llava_text_plan *text, size_t past)
{
    size_t window = text->window;
    return window > 0 && past > window - 1 ? window - 1 : past;
}

static bool plan_text(llava_text_plan *t, const llava_config *config, const llava_choices *c,
                      llava_error *e)
{
    static const double eps[] = {1e-5, 1e-6, 1e-8};
    const llava_text_config *from = &config->text;
    t->vocab = from->vocab;
    t->hidden = from->hidden;
    t->intermediate = from->intermediate;
    t->heads = from->heads;
    t->kv_heads = from->kv_heads;
    t->head_dim = from->head_dim;
    t->layers = from->layers;
    t->last_layer_absent = chosen(c, LLAVA_TEXT_LAYERS) == 1;
    t->norm_eps = choose_number(c, LLAVA_TEXT_NORM_EPS, from->norm_eps, eps);
    t->norm_plus_one = chosen(c, LLAVA_TEXT_NORM_WEIGHT) == 1;
    t->norm_layer = chosen(c, LLAVA_TEXT_NORM_KIND) == 1;
    t->final_norm = chosen(c, LLAVA_TEXT_FINAL_NORM) == 0;
    t->rope_sign = chosen(c, LLAVA_TEXT_ROPE_SIGN) == 1 ? -1 : 1;
    t->rope_pairing = (llava_rope_pairing)chosen(c, LLAVA_TEXT_ROPE_PAIRING);
    t->attn_scale = attention_scale(chosen(c, LLAVA_TEXT_ATTN_SCALE), t->head_dim, t->hidden);
    t->sees = (llava_sees)chosen(c, LLAVA_TEXT_ATTN_MASK);
    t->padding_mask = chosen(c, LLAVA_TEXT_PADDING_MASK) == 0;
    t->kv_interleaved = chosen(c, LLAVA_TEXT_KV_GROUPS) == 1;
    t->out_bias = from->out_bias;
    t->qkv_bias = from->qkv_bias && chosen(c, LLAVA_TEXT_QKV_BIAS) == 0;
    t->mlp_bias = from->mlp_bias;
    t->act = from->act;
    choose_act(c, LLAVA_TEXT_MLP_ACT, &t->act);
    t->gate_up_swapped = chosen(c, LLAVA_TEXT_MLP_ORDER) == 1;
    t->tied_head = config->tied_head;
    t->positions = (llava_text_positions)chosen(c, LLAVA_TEXT_POSITIONS);
    t->cache_position = (llava_cache_position)chosen(c, LLAVA_CACHE_POSITION);
    if (chosen(c, LLAVA_TEXT_QKV_BIAS) != 0 && !from->qkv_bias) {
        return no_effect(e, c, LLAVA_TEXT_QKV_BIAS, "q, k and v have no bias in this model");
    }
    if (chosen(c, LLAVA_TEXT_KV_GROUPS) != 0 && (t->kv_heads == t->heads || t->kv_heads == 1)) {
        return no_effect(e, c, LLAVA_TEXT_KV_GROUPS, "this model's heads are not grouped");
    }
    return plan_rope(t, from, c, e) && plan_window(t, from, c, e);
}

static bool plan_numerics(llava_numerics *n, const llava_choices *c, llava_dtype storage,
                          bool islands, llava_error *e)
{
    enum { TABLES = LLAVA_KEEPS_POSITIONS | LLAVA_KEEPS_TOKENS };
    static const unsigned kept[] = {0,
                                    LLAVA_KEEPS_POSITIONS,
                                    LLAVA_KEEPS_TOKENS,
                                    TABLES,
                                    LLAVA_KEEPS_PATCHES,
                                    LLAVA_KEEPS_HEAD,
                                    TABLES | LLAVA_KEEPS_HEAD,
                                    TABLES | LLAVA_KEEPS_PATCHES,
                                    LLAVA_KEEPS_PATCHES | LLAVA_KEEPS_HEAD,
                                    TABLES | LLAVA_KEEPS_PATCHES | LLAVA_KEEPS_HEAD};
    static const llava_rounding kv[] = {LLAVA_ROUNDING_EXACT, LLAVA_ROUNDING_F16,
                                        LLAVA_ROUNDING_BF16};
    n->storage = storage;
    n->islands = islands || chosen(c, LLAVA_NUMERICS_ISLANDS) == 1;
    n->weights = (llava_weight_rounding)chosen(c, LLAVA_NUMERICS_WEIGHTS);
    n->keeps = kept[chosen(c, LLAVA_NUMERICS_WEIGHTS_KEPT)];
    n->patch_input = (llava_rounding)chosen(c, LLAVA_NUMERICS_PATCH_INPUT);
    n->matmul_input = (llava_rounding)chosen(c, LLAVA_NUMERICS_MATMUL_INPUT);
    n->act_table_f16 = chosen(c, LLAVA_NUMERICS_ACT_TABLE) == 1;
    n->attn_accumulate_f16 = chosen(c, LLAVA_NUMERICS_ATTN_ACCUMULATE) == 1;
    n->attn_flash_f16 = chosen(c, LLAVA_NUMERICS_ATTN_ACCUMULATE) == 2;
    n->kv_cache = kv[chosen(c, LLAVA_NUMERICS_KV_CACHE)];
    return n->keeps == 0 || n->weights != LLAVA_WEIGHTS_STORED ||
           no_effect(e, c, LLAVA_NUMERICS_WEIGHTS_KEPT, "numerics.weights rounds none");
}

bool llava_plan_make(llava_plan *plan, const llava_config *config, const llava_choices *choices,
                     llava_dtype storage, bool islands, llava_error *e)
{
    memset(plan, 0, sizeof *plan);
    plan->choices = *choices;
    plan->projector_linear = config->projector_linear;
    if (!plan_numerics(&plan->numerics, choices, storage, islands, e)) {
        return false;
    }
    if (config->projector_linear && chosen(choices, LLAVA_PROJECTOR_ACT) != 0) {
        return no_effect(e, choices, LLAVA_PROJECTOR_ACT, "the projector is one linear layer");
    }
    plan->projector_act = config->projector_act;
    choose_act(choices, LLAVA_PROJECTOR_ACT, &plan->projector_act);
    plan->projector_bias = config->projector_bias && chosen(choices, LLAVA_PROJECTOR_BIAS) == 0;
    if (chosen(choices, LLAVA_PROJECTOR_BIAS) != 0 && !config->projector_bias) {
        return no_effect(e, choices, LLAVA_PROJECTOR_BIAS, "the projector has no bias");
    }
    plan->merge_scale =
        chosen(choices, LLAVA_MERGE_SCALE) == 0 ? 1 : llava_sqrt((double)config->text.hidden);
    plan->placement = (llava_placement)chosen(choices, LLAVA_MERGE_PLACEMENT);
    plan->pictures_reversed = chosen(choices, LLAVA_MERGE_ORDER) == 1;
    plan->image_token = config->image_token;
    return plan_vision(&plan->vision, config, choices, e) &&
           plan_text(&plan->text, config, choices, e);
}
