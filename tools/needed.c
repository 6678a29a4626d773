#include "tools/needed.h"

#include <stdio.h>
#include <string.h>

typedef enum {
    ALWAYS,
    ENCODER, /* CLIP's and SigLIP's kind of tower */
    PIXTRAL,
    PIXTRAL_NORM,
    CLASS_ROW,
    PATCH_BIAS,
    PRE_NORM,
    TOWER_BIAS,
    TWO_LAYERS, /* of the projector */
    TWO_BIASES,
    ONE_LAYER, /* the original project's first */
    ONE_BIAS,
    QKV_BIAS,
    OUT_BIAS,
    MLP_BIAS,
    FINAL_NORM,
    HEAD,
} condition;

typedef struct {
    const char *name;  /* with %zu: one for each layer */
    const char *shape; /* a letter for each axis, see size_of */
    llava_part part;
    llava_per per;
    condition when;
} row;

#define VISION    LLAVA_PART_VISION
#define PROJECTOR LLAVA_PART_PROJECTOR
#define TEXT      LLAVA_PART_TEXT
#define TOWER     "vision_tower.vision_model."
#define LAYER     TOWER "encoder.layers.%zu."
#define MODEL     "language_model.model."
#define BLOCK     MODEL "layers.%zu."
#define PATCHES   "vision_tower.transformer.layers.%zu."

static const row rows[] = {
    {TOWER "embeddings.class_embedding", "D", VISION, LLAVA_PER_NOTHING, CLASS_ROW},
    {TOWER "embeddings.patch_embedding.weight", "D3pp", VISION, LLAVA_PER_PATCH, ENCODER},
    {TOWER "embeddings.patch_embedding.bias", "D", VISION, LLAVA_PER_NOTHING, PATCH_BIAS},
    {TOWER "embeddings.position_embedding.weight", "TD", VISION, LLAVA_PER_NOTHING, ENCODER},
    {TOWER "pre_layrnorm.weight", "D", VISION, LLAVA_PER_NOTHING, PRE_NORM},
    {TOWER "pre_layrnorm.bias", "D", VISION, LLAVA_PER_NOTHING, PRE_NORM},
    {"vision_tower.patch_conv.weight", "D3pp", VISION, LLAVA_PER_PATCH, PIXTRAL},
    {"vision_tower.ln_pre.weight", "D", VISION, LLAVA_PER_NOTHING, PIXTRAL_NORM},
    {LAYER "layer_norm1.weight", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {LAYER "layer_norm1.bias", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {LAYER "self_attn.q_proj.weight", "DD", VISION, LLAVA_PER_VISION_ROW, ENCODER},
    {LAYER "self_attn.q_proj.bias", "D", VISION, LLAVA_PER_NOTHING, TOWER_BIAS},
    {LAYER "self_attn.k_proj.weight", "DD", VISION, LLAVA_PER_VISION_ROW, ENCODER},
    {LAYER "self_attn.k_proj.bias", "D", VISION, LLAVA_PER_NOTHING, TOWER_BIAS},
    {LAYER "self_attn.v_proj.weight", "DD", VISION, LLAVA_PER_VISION_ROW, ENCODER},
    {LAYER "self_attn.v_proj.bias", "D", VISION, LLAVA_PER_NOTHING, TOWER_BIAS},
    {LAYER "self_attn.out_proj.weight", "DD", VISION, LLAVA_PER_VISION_ROW, ENCODER},
    {LAYER "self_attn.out_proj.bias", "D", VISION, LLAVA_PER_NOTHING, TOWER_BIAS},
    {LAYER "layer_norm2.weight", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {LAYER "layer_norm2.bias", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {LAYER "mlp.fc1.weight", "MD", VISION, LLAVA_PER_VISION_ROW, ENCODER},
    {LAYER "mlp.fc1.bias", "M", VISION, LLAVA_PER_NOTHING, ENCODER},
    {LAYER "mlp.fc2.weight", "DM", VISION, LLAVA_PER_VISION_ROW, ENCODER},
    {LAYER "mlp.fc2.bias", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {PATCHES "attention_norm.weight", "D", VISION, LLAVA_PER_NOTHING, PIXTRAL},
    {PATCHES "attention.q_proj.weight", "DD", VISION, LLAVA_PER_VISION_ROW, PIXTRAL},
    {PATCHES "attention.k_proj.weight", "DD", VISION, LLAVA_PER_VISION_ROW, PIXTRAL},
    {PATCHES "attention.v_proj.weight", "DD", VISION, LLAVA_PER_VISION_ROW, PIXTRAL},
    {PATCHES "attention.o_proj.weight", "DD", VISION, LLAVA_PER_VISION_ROW, PIXTRAL},
    {PATCHES "ffn_norm.weight", "D", VISION, LLAVA_PER_NOTHING, PIXTRAL},
    {PATCHES "feed_forward.gate_proj.weight", "MD", VISION, LLAVA_PER_VISION_ROW, PIXTRAL},
    {PATCHES "feed_forward.up_proj.weight", "MD", VISION, LLAVA_PER_VISION_ROW, PIXTRAL},
    {PATCHES "feed_forward.down_proj.weight", "DM", VISION, LLAVA_PER_VISION_ROW, PIXTRAL},
    {"multi_modal_projector.linear_1.weight", "HC", PROJECTOR, LLAVA_PER_FEATURE_ROW, TWO_LAYERS},
    {"multi_modal_projector.linear_1.bias", "H", PROJECTOR, LLAVA_PER_NOTHING, TWO_BIASES},
    {"multi_modal_projector.linear_2.weight", "HH", PROJECTOR, LLAVA_PER_FEATURE_ROW, TWO_LAYERS},
    {"multi_modal_projector.linear_2.bias", "H", PROJECTOR, LLAVA_PER_NOTHING, TWO_BIASES},
    {"multi_modal_projector.linear.weight", "HC", PROJECTOR, LLAVA_PER_FEATURE_ROW, ONE_LAYER},
    {"multi_modal_projector.linear.bias", "H", PROJECTOR, LLAVA_PER_NOTHING, ONE_BIAS},
    {MODEL "embed_tokens.weight", "VH", TEXT, LLAVA_PER_NOTHING, ALWAYS},
    {BLOCK "input_layernorm.weight", "H", TEXT, LLAVA_PER_NOTHING, ALWAYS},
    {BLOCK "self_attn.q_proj.weight", "AH", TEXT, LLAVA_PER_POSITION, ALWAYS},
    {BLOCK "self_attn.q_proj.bias", "A", TEXT, LLAVA_PER_NOTHING, QKV_BIAS},
    {BLOCK "self_attn.k_proj.weight", "KH", TEXT, LLAVA_PER_POSITION, ALWAYS},
    {BLOCK "self_attn.k_proj.bias", "K", TEXT, LLAVA_PER_NOTHING, QKV_BIAS},
    {BLOCK "self_attn.v_proj.weight", "KH", TEXT, LLAVA_PER_POSITION, ALWAYS},
    {BLOCK "self_attn.v_proj.bias", "K", TEXT, LLAVA_PER_NOTHING, QKV_BIAS},
    {BLOCK "self_attn.o_proj.weight", "HA", TEXT, LLAVA_PER_POSITION, ALWAYS},
    {BLOCK "self_attn.o_proj.bias", "H", TEXT, LLAVA_PER_NOTHING, OUT_BIAS},
    {BLOCK "post_attention_layernorm.weight", "H", TEXT, LLAVA_PER_NOTHING, ALWAYS},
    {BLOCK "mlp.gate_proj.weight", "IH", TEXT, LLAVA_PER_POSITION, ALWAYS},
    {BLOCK "mlp.gate_proj.bias", "I", TEXT, LLAVA_PER_NOTHING, MLP_BIAS},
    {BLOCK "mlp.up_proj.weight", "IH", TEXT, LLAVA_PER_POSITION, ALWAYS},
    {BLOCK "mlp.up_proj.bias", "I", TEXT, LLAVA_PER_NOTHING, MLP_BIAS},
    {BLOCK "mlp.down_proj.weight", "HI", TEXT, LLAVA_PER_POSITION, ALWAYS},
    {BLOCK "mlp.down_proj.bias", "H", TEXT, LLAVA_PER_NOTHING, MLP_BIAS},
    {MODEL "norm.weight", "H", TEXT, LLAVA_PER_NOTHING, FINAL_NORM},
    {"language_model.lm_head.weight", "VH", TEXT, LLAVA_PER_LOGITS_ROW, HEAD},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

/* Of CLIP's and SigLIP's towers, and read by nobody here: what makes the pooled vector. */
static const row post_norm[] = {
    {TOWER "post_layernorm.weight", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {TOWER "post_layernorm.bias", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
};
#define POOL TOWER "head."
static const row pooling_head[] = {
    {POOL "probe", "11D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "attention.in_proj_weight", "QD", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "attention.in_proj_bias", "Q", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "attention.out_proj.weight", "DD", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "attention.out_proj.bias", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "layernorm.weight", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "layernorm.bias", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "mlp.fc1.weight", "MD", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "mlp.fc1.bias", "M", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "mlp.fc2.weight", "DM", VISION, LLAVA_PER_NOTHING, ENCODER},
    {POOL "mlp.fc2.bias", "D", VISION, LLAVA_PER_NOTHING, ENCODER},
};

const char *llava_part_name(llava_part part)
{
    static const char *const names[] = {"vision", "projector", "text", "other"};
    return names[part];
}

llava_part llava_part_of(const char *name, bool original)
{
    static const struct {
        const char *start;
        llava_part part;
    } starts[] = {{"vision_tower.", VISION},
                  {"multi_modal_projector.", PROJECTOR},
                  {"language_model.", TEXT},
                  {"lm_head.", TEXT},
                  /* the original project's, and its towers' own */
                  {"mm_projector.", PROJECTOR},
                  {"vision_model.", VISION},
                  {"embed_tokens.", TEXT},
                  {"layers.", TEXT},
                  {"norm.", TEXT}};
    enum { OF_TRANSFORMERS = 4 };
    size_t count = original ? sizeof starts / sizeof starts[0] : OF_TRANSFORMERS;
    name += strncmp(name, "model.", 6) == 0 ? 6 : 0;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(name, starts[i].start, strlen(starts[i].start)) == 0) {
            return starts[i].part;
        }
    }
    return LLAVA_PART_OTHER;
}

static size_t size_of(const llava_plan *p, char letter)
{
    const llava_vision_plan *v = &p->vision;
    const llava_text_plan *t = &p->text;
    switch (letter) {
    case 'D':
        return v->hidden;
    case 'p':
        return v->patch;
    case 'T': /* of the position table */
        return v->position_rows;
    case 'M':
        return v->intermediate;
    case 'Q':
        return 3 * v->hidden;
    case '1':
        return 1;
    case 'C':
        return v->feature_width;
    case 'H':
        return t->hidden;
    case 'A':
        return t->heads * t->head_dim;
    case 'K':
        return t->kv_heads * t->head_dim;
    case 'I':
        return t->intermediate;
    case 'V':
        return t->vocab;
    default: /* '3' */
        return 3;
    }
}

static bool holds(const llava_plan *p, condition when)
{
    switch (when) {
    case ENCODER:
        return p->vision.tower != LLAVA_TOWER_PIXTRAL;
    case PIXTRAL:
        return p->vision.tower == LLAVA_TOWER_PIXTRAL;
    case PIXTRAL_NORM:
        return p->vision.tower == LLAVA_TOWER_PIXTRAL && p->vision.pre_norm;
    case CLASS_ROW:
        return p->vision.class_rows > 0;
    case PATCH_BIAS:
        return p->vision.patch_bias;
    case PRE_NORM:
        return p->vision.tower == LLAVA_TOWER_CLIP && p->vision.pre_norm;
    case TOWER_BIAS:
        return p->vision.attn_bias;
    case TWO_LAYERS:
        return !p->projector_linear;
    case TWO_BIASES:
        return !p->projector_linear && p->projector_bias;
    case ONE_LAYER:
        return p->projector_linear;
    case ONE_BIAS:
        return p->projector_linear && p->projector_bias;
    case QKV_BIAS:
        return p->text.qkv_bias;
    case OUT_BIAS:
        return p->text.out_bias;
    case MLP_BIAS:
        return p->text.mlp_bias;
    case FINAL_NORM:
        return p->text.final_norm;
    default:
        return true;
    }
}

typedef struct {
    const llava_plan *plan;
    bool (*each)(void *self, const llava_needed *weight);
    void *self;
} listing;

static bool list_one(const listing *l, const row *r, size_t layer)
{
    char name[128];
    const char *digits = strstr(r->name, "%zu");
    if (!holds(l->plan, r->when)) {
        return true;
    }
    if (digits == NULL) {
        snprintf(name, sizeof name, "%s", r->name);
    } else {
        snprintf(name, sizeof name, "%.*s%zu%s", (int)(digits - r->name), r->name, layer,
                 digits + 3);
    }
    llava_needed weight = {.name = name, .part = r->part, .per = r->per};
    weight.optional = r->when == HEAD && l->plan->text.tied_head;
    for (; r->shape[weight.rank] != '\0'; weight.rank++) {
        weight.shape[weight.rank] = size_of(l->plan, r->shape[weight.rank]);
    }
    return l->each(l->self, &weight);
}

static bool is_layered(const row *r)
{
    return strstr(r->name, "%zu") != NULL;
}

/* count rows, for each of the layers first .. end - 1 (one pass where they belong to none). */
static bool list_rows(const listing *l, const row *from, size_t count, size_t first, size_t end)
{
    for (size_t layer = first; layer < end; layer++) {
        for (size_t k = 0; k < count; k++) {
            if (!list_one(l, &from[k], layer)) {
                return false;
            }
        }
    }
    return true;
}

/* The rows from i on that are of layers, or of none, alike. */
static size_t run_length(size_t i)
{
    size_t end = i;
    while (end < ROWS && is_layered(&rows[end]) == is_layered(&rows[i])) {
        end++;
    }
    return end - i;
}

bool llava_needed_list(const llava_plan *plan, bool (*each)(void *self, const llava_needed *weight),
                       void *self)
{
    listing l = {plan, each, self};
    for (size_t i = 0; i < ROWS; i += run_length(i)) {
        size_t layers = !is_layered(&rows[i])    ? 1
                        : rows[i].part == VISION ? plan->vision.layers_needed
                                                 : plan->text.layers;
        if (!list_rows(&l, &rows[i], run_length(i), 0, layers)) {
            return false;
        }
    }
    return true;
}

bool llava_spare_list(const llava_plan *plan, const llava_config *config,
                      bool (*each)(void *self, const llava_needed *weight), void *self)
{
    listing l = {plan, each, self};
    size_t first = 0;
    while (!is_layered(&rows[first])) {
        first++;
    }
    return list_rows(&l, &rows[first], run_length(first), plan->vision.layers_needed,
                     plan->vision.layers) &&
           list_rows(&l, post_norm, sizeof post_norm / sizeof *post_norm, 0, 1) &&
           (!config->vision.pooling_head ||
            list_rows(&l, pooling_head, sizeof pooling_head / sizeof *pooling_head, 0, 1));
}
