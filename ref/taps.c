#include "taps.h"

#include <stdio.h>
#include <string.h>

static const llava_tap_kind kinds[] = {
    {"image.rgb", "h,w,3", LLAVA_AT_IMAGE, "",
     "the file decoded, converted to RGB, turned as its EXIF orientation says", "spec 6.3"},
    {"image.padded", "h,w,3", LLAVA_AT_IMAGE, "image.rgb",
     "the picture centred in a square of the mean colour", "spec 6.9, LlavaImageProcessor"},
    {"image.resized", "h,w,3", LLAVA_AT_IMAGE, "image.padded image.rgb",
     "Pillow resize to the shortest edge (or to both sizes), rounded to u8 after each pass",
     "spec 6.4, 6.5"},
    {"image.cropped", "h,w,3", LLAVA_AT_IMAGE, "image.resized image.padded image.rgb",
     "the centre of the resized picture", "spec 6.6"},
    {"pixel_values", "N,3,h,w", LLAVA_AT_IMAGE,
     "image.cropped image.resized image.padded image.rgb",
     "(float32(u8 * rescale_factor) - mean) / std in float32", "spec 6.7"},
    {"input_ids", "B,S", LLAVA_AT_INPUT, "",
     "the prompt tokenised, each picture expanded to its image tokens", "spec 6.1, 7"},
    {"attention_mask", "B,S", LLAVA_AT_INPUT, "",
     "1 where a position counts, 0 for padding; or, given as [B,1,S,S], the keys each query sees",
     "spec 4.5"},
    {"position_ids", "B,S", LLAVA_AT_INPUT, "attention_mask input_ids",
     "0..S-1 (forward), or cumsum(mask) - 1 with padding 0 (generate)", "spec 3"},
    {"vision.patch_embed", "N,P,D", LLAVA_AT_VISION, "pixel_values",
     "conv(pixel_values), kernel and stride patch_size; row-major patches; a bias in SigLIP alone",
     "CLIPVisionEmbeddings, SiglipVisionEmbeddings, PixtralVisionModel"},
    {"vision.embed", "N,T,D", LLAVA_AT_VISION, "vision.patch_embed",
     "[class_embedding; patch_embed] + position_embedding; SigLIP without the class row; Pixtral: "
     "patch_embed",
     "CLIPVisionEmbeddings, SiglipVisionEmbeddings"},
    {"vision.pre_norm", "N,T,D", LLAVA_AT_VISION, "vision.embed",
     "LayerNorm(embed) with pre_layrnorm, Pixtral RMSNorm with ln_pre: hidden state 0",
     "CLIPVisionTransformer, PixtralVisionModel"},
    {"vision.rope.cos", "T,d", LLAVA_AT_VISION, "pixel_values",
     "cos(row f_0, row f_2, ..., column f_1, column f_3, ...) twice over; f_j = theta^(-2j/d)",
     "PixtralVisionRotaryEmbedding"},
    {"vision.rope.sin", "T,d", LLAVA_AT_VISION, "pixel_values",
     "sin(row f_0, row f_2, ..., column f_1, column f_3, ...) twice over; f_j = theta^(-2j/d)",
     "PixtralVisionRotaryEmbedding"},
    {"vision.layers.{i}.norm1", "N,T,D", LLAVA_AT_VISION_LAYER, "{below}",
     "LayerNorm(x) with layer_norm1; Pixtral: RMSNorm(x) with attention_norm",
     "CLIPEncoderLayer, PixtralAttentionLayer"},
    {"vision.layers.{i}.attn.q", "N,T,h,d", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.norm1",
     "W_q norm1 + b_q, split into heads", "CLIPAttention"},
    {"vision.layers.{i}.attn.k", "N,T,h,d", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.norm1",
     "W_k norm1 + b_k, split into heads", "CLIPAttention"},
    {"vision.layers.{i}.attn.v", "N,T,h,d", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.norm1",
     "W_v norm1 + b_v, split into heads", "CLIPAttention"},
    {"vision.layers.{i}.attn.q_rope", "N,T,h,d", LLAVA_AT_VISION_LAYER,
     "vision.layers.{i}.attn.q vision.rope.cos vision.rope.sin", "q cos + rotate_half(q) sin",
     "models/pixtral, apply_rotary_pos_emb"},
    {"vision.layers.{i}.attn.k_rope", "N,T,h,d", LLAVA_AT_VISION_LAYER,
     "vision.layers.{i}.attn.k vision.rope.cos vision.rope.sin", "k cos + rotate_half(k) sin",
     "models/pixtral, apply_rotary_pos_emb"},
    {"vision.layers.{i}.attn.scores", "N,h,T,T", LLAVA_AT_VISION_LAYER,
     "vision.layers.{i}.attn.q_rope|vision.layers.{i}.attn.q "
     "vision.layers.{i}.attn.k_rope|vision.layers.{i}.attn.k",
     "(q . k) * d^-0.5; Pixtral: (q_rope . k_rope) * d^-0.5, before the mask",
     "eager_attention_forward"},
    {"vision.layers.{i}.attn.probs", "N,h,T,T", LLAVA_AT_VISION_LAYER,
     "vision.layers.{i}.attn.scores",
     "softmax over the keys; Pixtral: over those of the own picture, 0 for the others",
     "eager_attention_forward"},
    {"vision.layers.{i}.attn.context", "N,T,D", LLAVA_AT_VISION_LAYER,
     "vision.layers.{i}.attn.probs vision.layers.{i}.attn.v", "probs v, heads concatenated",
     "eager_attention_forward"},
    {"vision.layers.{i}.attn.out", "N,T,D", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.attn.context",
     "W_out context + b_out", "CLIPAttention"},
    {"vision.layers.{i}.resid1", "N,T,D", LLAVA_AT_VISION_LAYER,
     "{below} vision.layers.{i}.attn.out", "x + attn.out", "CLIPEncoderLayer"},
    {"vision.layers.{i}.norm2", "N,T,D", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.resid1",
     "LayerNorm(resid1) with layer_norm2; Pixtral: RMSNorm(resid1) with ffn_norm",
     "CLIPEncoderLayer, PixtralAttentionLayer"},
    {"vision.layers.{i}.mlp.fc1", "N,T,M", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.norm2",
     "W_1 norm2 + b_1", "CLIPMLP"},
    {"vision.layers.{i}.mlp.gate", "N,T,M", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.norm2",
     "W_gate norm2", "PixtralMLP"},
    {"vision.layers.{i}.mlp.up", "N,T,M", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.norm2",
     "W_up norm2", "PixtralMLP"},
    {"vision.layers.{i}.mlp.act", "N,T,M", LLAVA_AT_VISION_LAYER,
     "vision.layers.{i}.mlp.fc1|vision.layers.{i}.mlp.gate vision.layers.{i}.mlp.up",
     "act(fc1); quick_gelu(x) = x sigmoid(1.702 x) in CLIP; Pixtral: act(gate) * up",
     "CLIPMLP, PixtralMLP, activations.py"},
    {"vision.layers.{i}.mlp.out", "N,T,D", LLAVA_AT_VISION_LAYER, "vision.layers.{i}.mlp.act",
     "W_2 act + b_2", "CLIPMLP"},
    {"vision.layers.{i}.output", "N,T,D", LLAVA_AT_VISION_LAYER,
     "vision.layers.{i}.resid1 vision.layers.{i}.mlp.out", "resid1 + mlp.out: hidden state i + 1",
     "CLIPEncoderLayer"},
    {"vision.features", "N,F,C", LLAVA_AT_FEATURES, "{chosen}",
     "the chosen hidden states side by side, rows selected", "LlavaModel.get_image_features"},
    {"projector.fc1", "N,F,H", LLAVA_AT_PROJECTOR, "vision.features", "W_1 features + b_1",
     "LlavaMultiModalProjector"},
    {"projector.act", "N,F,H", LLAVA_AT_PROJECTOR, "projector.fc1",
     "act(fc1); gelu(x) = x/2 (1 + erf(x / sqrt 2)) in LLaVA", "LlavaMultiModalProjector"},
    {"projector.out", "N,F,H", LLAVA_AT_PROJECTOR, "projector.act", "W_2 act + b_2",
     "LlavaMultiModalProjector"},
    {"text.embed", "B,S,H", LLAVA_AT_EMBED, "input_ids",
     "row input_ids[b,s] of the token table, or the inputs_embeds given",
     "LlamaModel.embed_tokens"},
    {"text.inputs_embeds", "B,S,H", LLAVA_AT_MERGE, "text.embed projector.out input_ids",
     "embed, with the picture rows where the image tokens are: hidden state 0",
     "LlavaModel.forward, masked_scatter"},
    {"text.rope.cos", "B,S,d", LLAVA_AT_ROPE, "position_ids",
     "a cos(position f_j), f_j = theta^(-2j/d) scaled as the rotary type says, a the attention "
     "factor (1 but for yarn and longrope); j and j + d/2 alike",
     "LlamaRotaryEmbedding, modeling_rope_utils.py"},
    {"text.rope.sin", "B,S,d", LLAVA_AT_ROPE, "position_ids",
     "a sin(position f_j), f_j and a as in text.rope.cos; j and j + d/2 alike",
     "LlamaRotaryEmbedding, modeling_rope_utils.py"},
    {"text.layers.{i}.norm1", "B,S,H", LLAVA_AT_TEXT_LAYER, "{below}",
     "weight * x / sqrt(mean(x^2) + eps) with input_layernorm", "LlamaRMSNorm"},
    {"text.layers.{i}.attn.q", "B,S,h,d", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.norm1",
     "W_q norm1, split into heads", "LlamaAttention"},
    {"text.layers.{i}.attn.k", "B,S,k,d", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.norm1",
     "W_k norm1, split into key/value heads", "LlamaAttention"},
    {"text.layers.{i}.attn.v", "B,S,k,d", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.norm1",
     "W_v norm1, split into key/value heads", "LlamaAttention"},
    {"text.layers.{i}.attn.q_rope", "B,S,h,d", LLAVA_AT_TEXT_LAYER,
     "text.layers.{i}.attn.q text.rope.cos text.rope.sin", "q cos + rotate_half(q) sin",
     "apply_rotary_pos_emb"},
    {"text.layers.{i}.attn.k_rope", "B,S,k,d", LLAVA_AT_TEXT_LAYER,
     "text.layers.{i}.attn.k text.rope.cos text.rope.sin", "k cos + rotate_half(k) sin",
     "apply_rotary_pos_emb"},
    {"text.layers.{i}.attn.scores", "B,h,S,S'", LLAVA_AT_TEXT_LAYER,
     "text.layers.{i}.attn.q_rope text.layers.{i}.attn.k_rope",
     "(q_rope . k_rope) * d^-0.5, before the mask", "eager_attention_forward"},
    {"text.layers.{i}.attn.probs", "B,h,S,S'", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.attn.scores",
     "softmax over the visible keys, 0 for the others", "eager_attention_forward"},
    {"text.layers.{i}.attn.context", "B,S,A", LLAVA_AT_TEXT_LAYER,
     "text.layers.{i}.attn.probs text.layers.{i}.attn.v", "probs v, heads concatenated",
     "eager_attention_forward"},
    {"text.layers.{i}.attn.out", "B,S,H", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.attn.context",
     "W_o context", "LlamaAttention"},
    {"text.layers.{i}.resid1", "B,S,H", LLAVA_AT_TEXT_LAYER, "{below} text.layers.{i}.attn.out",
     "x + attn.out", "LlamaDecoderLayer"},
    {"text.layers.{i}.norm2", "B,S,H", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.resid1",
     "RMSNorm(resid1) with post_attention_layernorm", "LlamaRMSNorm"},
    {"text.layers.{i}.mlp.gate", "B,S,I", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.norm2",
     "W_gate norm2", "LlamaMLP"},
    {"text.layers.{i}.mlp.up", "B,S,I", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.norm2", "W_up norm2",
     "LlamaMLP"},
    {"text.layers.{i}.mlp.act", "B,S,I", LLAVA_AT_TEXT_LAYER,
     "text.layers.{i}.mlp.gate text.layers.{i}.mlp.up",
     "act(gate) * up; silu(x) = x sigmoid(x) in Llama", "LlamaMLP"},
    {"text.layers.{i}.mlp.out", "B,S,H", LLAVA_AT_TEXT_LAYER, "text.layers.{i}.mlp.act",
     "W_down act", "LlamaMLP"},
    {"text.layers.{i}.output", "B,S,H", LLAVA_AT_TEXT_LAYER,
     "text.layers.{i}.resid1 text.layers.{i}.mlp.out", "resid1 + mlp.out, before the final norm",
     "LlamaDecoderLayer"},
    {"text.norm", "B,S,H", LLAVA_AT_NORM, "{top}", "RMSNorm(output of the last layer) with norm",
     "LlamaModel"},
    {"logits", "B,S,V", LLAVA_AT_LOGITS, "text.norm",
     "W_head norm, no bias; of the last positions alone where logits_to_keep says so",
     "LlavaForConditionalGeneration"},
    {"loss", "", LLAVA_AT_LOSS, "logits",
     "mean of -log softmax(logits[b,s])[labels[b,s+1]], labels of -100 left out",
     "ForCausalLMLoss, spec 5.6"},
    {"generated_ids", "B,G", LLAVA_AT_ANSWER, "logits", "argmax of the last logits, step by step",
     "generate(do_sample=False), spec 9"},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

size_t llava_tap_kinds(const llava_tap_kind **table)
{
    *table = kinds;
    return KINDS;
}

/* Length of a number at `text`, or of what stands for one: "12", "{i}", "i" before a dot; else 0.
 */
static size_t number_at(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits > 0) {
        return digits;
    }
    if (text[0] == '{' && text[1] != '\0' && text[2] == '}') {
        return 3;
    }
    return text[0] >= 'a' && text[0] <= 'z' && text[1] == '.' ? 1 : 0;
}

/* What is left of `name` behind "BEFORE number.", or NULL where it does not begin so. */
static const char *behind_number(const char *name, const char *before)
{
    size_t n = strlen(before);
    if (strncmp(name, before, n) != 0) {
        return NULL;
    }
    size_t number = number_at(name + n);
    return number > 0 && name[n + number] == '.' ? name + n + number + 1 : NULL;
}

bool llava_tap_matches(const char *pattern, const char *name)
{
    const char *plain = behind_number(pattern, "step."), *in_step = behind_number(name, "step.");
    if (plain != NULL && in_step == NULL) {
        return false;
    }
    pattern = plain == NULL ? pattern : plain;
    name = in_step == NULL ? name : in_step;
    const char *of_picture = behind_number(name, "image.");
    if (of_picture != NULL && strncmp(pattern, "image.", 6) == 0) {
        return strcmp(pattern + 6, of_picture) == 0;
    }
    const char *layer = strstr(pattern, "{i}");
    if (layer == NULL) {
        return strcmp(pattern, name) == 0;
    }
    size_t before = (size_t)(layer - pattern);
    if (strncmp(pattern, name, before) != 0) {
        return false;
    }
    size_t number = number_at(name + before);
    return number > 0 && strcmp(name + before + number, layer + 3) == 0;
}

/* The size that a letter stands for. keys: S' where it is not S. */
static size_t letter_size(const llava_plan *p, const llava_tap_sizes *z, bool text, size_t length,
                          size_t keys, const char *letter)
{
    switch (letter[0]) {
    case 'N':
        return z->tower.sequences;
    case 'P':
        return z->tower.patches;
    case 'T':
        return z->tower.rows;
    case 'D':
        return p->vision.hidden;
    case 'M':
        return p->vision.intermediate;
    case 'F':
        return z->tower.feature_rows;
    case 'C':
        return p->vision.feature_width;
    case 'w':
        return z->width;
    case '3':
        return 3;
    case 'B':
        return z->batch;
    case 'S':
        return letter[1] == '\'' ? keys : length;
    case 'H':
        return p->text.hidden;
    case 'I':
        return p->text.intermediate;
    case 'A':
        return p->text.heads * p->text.head_dim;
    case 'k':
        return p->text.kv_heads;
    case 'V':
        return p->text.vocab;
    case 'G':
        return z->steps + 1;
    case 'h':
        return text ? p->text.heads : p->vision.heads;
    case 'd':
        return text ? p->text.head_dim : p->vision.head_dim;
    default:
        return 0;
    }
}

/* Fills rank and shape from the kind's letters. */
static void fill_shape(const llava_tap_kind *kind, const llava_plan *p, const llava_tap_sizes *z,
                       size_t length, size_t keys, llava_tap *tap)
{
    bool text = strncmp(kind->name, "vision", 6) != 0;
    tap->rank = 0;
    for (const char *at = kind->shape; *at != '\0'; at++) {
        if (*at == ',' || *at == '\'') {
            continue;
        }
        size_t size = letter_size(p, z, text, length, keys, at);
        /* pixel_values are [N,3,h,w]: here N counts pictures, and h is their height */
        if (kind->at == LLAVA_AT_IMAGE) {
            size = *at == 'N' ? z->pictures : *at == 'h' ? z->height : size;
        }
        if (kind->at == LLAVA_AT_LOGITS && *at == 'S' && z->logit_rows > 0 && length > 1) {
            size = z->logit_rows;
        }
        tap->shape[tap->rank++] = size;
    }
    if (z->square_mask && strcmp(kind->name, "attention_mask") == 0) {
        tap->rank = 4;
        tap->shape[1] = 1;
        tap->shape[2] = tap->shape[3] = length;
    }
}

static llava_dtype kind_type(const llava_tap_kind *kind, const llava_plan *p,
                             const llava_tap_sizes *z)
{
    switch (kind->at) {
    case LLAVA_AT_IMAGE:
        return z->pixel_type;
    case LLAVA_AT_INPUT:
        return z->square_mask && strcmp(kind->name, "attention_mask") == 0 ? z->mask_type
                                                                           : LLAVA_I64;
    case LLAVA_AT_ANSWER:
        return LLAVA_I64;
    case LLAVA_AT_LOSS:
        return p->numerics.islands ? LLAVA_F32 : p->numerics.storage;
    default:
        return p->numerics.storage;
    }
}

bool llava_tap_of_tower(const llava_tap_kind *kind, llava_tower tower)
{
    enum { CLIP = 1 << LLAVA_TOWER_CLIP, SIGLIP = 1 << LLAVA_TOWER_SIGLIP };
    enum { PIXTRAL = 1 << LLAVA_TOWER_PIXTRAL };
    static const struct {
        const char *name;
        unsigned towers;
    } some[] = {
        {"vision.pre_norm", CLIP | PIXTRAL},
        {"vision.rope.cos", PIXTRAL},
        {"vision.rope.sin", PIXTRAL},
        {"vision.layers.{i}.attn.q_rope", PIXTRAL},
        {"vision.layers.{i}.attn.k_rope", PIXTRAL},
        {"vision.layers.{i}.mlp.fc1", CLIP | SIGLIP},
        {"vision.layers.{i}.mlp.gate", PIXTRAL},
        {"vision.layers.{i}.mlp.up", PIXTRAL},
    };
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        if (strcmp(some[i].name, kind->name) == 0) {
            return (some[i].towers & (1u << tower)) != 0;
        }
    }
    return true;
}

/* Does such a run have taps of this kind? Pictures' u8 stages are the caller's to list. */
static bool kind_exists(const llava_tap_kind *kind, const llava_plan *p, const llava_tap_sizes *z)
{
    if (!llava_tap_of_tower(kind, p->vision.tower)) {
        return false;
    }
    switch (kind->at) {
    case LLAVA_AT_IMAGE:
        return z->pictures > 0 && strcmp(kind->name, "pixel_values") == 0;
    case LLAVA_AT_INPUT:
        return !z->embeds_given || strcmp(kind->name, "input_ids") != 0;
    case LLAVA_AT_VISION:
    case LLAVA_AT_VISION_LAYER:
    case LLAVA_AT_FEATURES:
        return z->pictures > 0;
    case LLAVA_AT_PROJECTOR:
        return z->pictures > 0 &&
               (!p->projector_linear || strcmp(kind->name, "projector.out") == 0);
    case LLAVA_AT_LOSS:
        return z->labels && !z->generates;
    case LLAVA_AT_ANSWER:
        return z->generates;
    default:
        return true;
    }
}

/* Does a decoding step have it? */
static bool kind_in_step(const llava_tap_kind *kind)
{
    return strcmp(kind->name, "position_ids") == 0 ||
           (kind->at >= LLAVA_AT_EMBED && kind->at <= LLAVA_AT_LOGITS);
}

typedef struct {
    const llava_plan *plan;
    const llava_tap_sizes *sizes;
    bool (*each)(void *self, const llava_tap *tap);
    void *self;
    const char *prefix;
    size_t length, keys;
} listing;

/* S' of text layer i: past the window a sliding layer's cache keeps nothing. */
static size_t keys_of(const listing *l, const llava_tap_kind *kind, size_t i)
{
    const llava_text_plan *t = &l->plan->text;
    bool slides = kind->at == LLAVA_AT_TEXT_LAYER && t->slides[i];
    return slides ? llava_keys_kept(t, l->keys - l->length) + l->length : l->keys;
}

/* One tap of a kind, layer i. */
static bool list_one(const listing *l, const llava_tap_kind *kind, size_t i)
{
    char name[LLAVA_TAP_NAME];
    const char *layer = strstr(kind->name, "{i}");
    if (layer == NULL) {
        snprintf(name, sizeof name, "%s%s", l->prefix, kind->name);
    } else {
        snprintf(name, sizeof name, "%s%.*s%zu%s", l->prefix, (int)(layer - kind->name), kind->name,
                 i, layer + 3);
    }
    llava_tap tap = {.name = name, .dtype = kind_type(kind, l->plan, l->sizes)};
    fill_shape(kind, l->plan, l->sizes, l->length, keys_of(l, kind, i), &tap);
    return l->each(l->self, &tap);
}

/* The kinds from..to of one layer block, for each of `layers` layers. */
static bool list_layers(const listing *l, size_t from, size_t to, size_t layers)
{
    for (size_t i = 0; i < layers; i++) {
        for (size_t k = from; k < to; k++) {
            if (llava_tap_of_tower(&kinds[k], l->plan->vision.tower) &&
                !list_one(l, &kinds[k], i)) {
                return false;
            }
        }
    }
    return true;
}

static size_t layer_count(const llava_plan *p, const llava_tap_sizes *z, llava_at at)
{
    if (at == LLAVA_AT_TEXT_LAYER) {
        return p->text.layers;
    }
    return z->all_vision_layers && z->vision_layers_there > p->vision.layers_needed
               ? z->vision_layers_there
               : p->vision.layers_needed;
}

/* All kinds of one pass: the prefill (step false) or a decoding step. */
static bool list_pass(const listing *l, bool step)
{
    for (size_t k = 0; k < KINDS; k++) {
        const llava_tap_kind *kind = &kinds[k];
        if (!kind_exists(kind, l->plan, l->sizes) || (step && !kind_in_step(kind)) ||
            kind->at == LLAVA_AT_ANSWER) {
            continue;
        }
        if (kind->at == LLAVA_AT_VISION_LAYER || kind->at == LLAVA_AT_TEXT_LAYER) {
            size_t end = k;
            while (end < KINDS && kinds[end].at == kind->at) {
                end++;
            }
            if (!list_layers(l, k, end, layer_count(l->plan, l->sizes, kind->at))) {
                return false;
            }
            k = end - 1;
        } else if (!list_one(l, kind, 0)) {
            return false;
        }
    }
    return true;
}

bool llava_taps_list(const llava_plan *plan, const llava_tap_sizes *sizes,
                     bool (*each)(void *self, const llava_tap *tap), void *self)
{
    listing l = {plan, sizes, each, self, "", sizes->length, sizes->length};
    if (!list_pass(&l, false)) {
        return false;
    }
    for (size_t g = 1; sizes->generates && g <= sizes->steps; g++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "step.%zu.", g);
        listing step = {plan, sizes, each, self, prefix, 1, sizes->length + g};
        if (!list_pass(&step, true)) {
            return false;
        }
    }
    return !sizes->generates || list_one(&l, &kinds[KINDS - 1], 0);
}

/* ---- what a set of wanted taps needs ------------------------------------------------------------
 */

typedef struct {
    const llava_plan *plan;
    const llava_sink *sink;
    llava_goal *goal, *step_goal;
} wanting;

/* The number behind "layers." in a tap's name, plus one. */
static size_t layer_end(const char *name)
{
    const char *at = strstr(name, "layers.");
    size_t i = 0;
    for (at = at == NULL ? "" : at + 7; *at >= '0' && *at <= '9'; at++) {
        i = i * 10 + (size_t)(*at - '0');
    }
    return i + 1;
}

/* Marks what one wanted tap needs directly; what that needs in turn is added at the end. */
static bool want_one(void *self, const llava_tap *tap)
{
    wanting *w = self;
    if (!w->sink->wants(w->sink->self, tap->name)) {
        return true;
    }
    llava_goal *g = w->goal;
    const char *name = tap->name;
    if (strncmp(name, "step.", 5) == 0) {
        g = w->step_goal;
        name = strchr(name + 5, '.') + 1;
    }
    if (strncmp(name, "vision.layers.", 14) == 0) {
        size_t end = layer_end(name);
        g->vision = true;
        g->vision_layers = end > g->vision_layers ? end : g->vision_layers;
    } else if (strcmp(name, "vision.features") == 0) {
        g->features = true;
    } else if (strncmp(name, "vision.", 7) == 0) {
        g->vision = true;
    } else if (strncmp(name, "projector.", 10) == 0) {
        g->projector = true;
    } else if (strcmp(name, "text.embed") == 0) {
        g->embed = true;
    } else if (strcmp(name, "text.inputs_embeds") == 0) {
        g->merge = true;
    } else if (strncmp(name, "text.rope.", 10) == 0) {
        g->rope = true;
    } else if (strncmp(name, "text.layers.", 12) == 0) {
        size_t end = layer_end(name);
        g->text = true;
        g->text_layers = end > g->text_layers ? end : g->text_layers;
        g->every_row = g->every_row || end == w->plan->text.layers;
    } else if (strcmp(name, "text.norm") == 0) {
        g->norm = g->every_row = true;
    } else if (strcmp(name, "logits") == 0) {
        g->all_logits = true;
    } else if (strcmp(name, "loss") == 0) {
        g->loss = true;
    }
    return true;
}

/* Adds what the marked parts need. */
static void close_goal(const llava_plan *plan, llava_goal *g)
{
    g->all_logits = g->all_logits || g->loss;
    g->norm = g->norm || g->all_logits || g->last_logits;
    if (g->norm) {
        g->text = true;
        g->text_layers = plan->text.layers;
    }
    g->rope = g->rope || g->text;
    g->merge = g->merge || g->text;
    g->embed = g->embed || g->merge;
    g->projector = g->projector || g->merge;
    g->features = g->features || g->projector;
    g->vision = g->vision || g->features;
}

void llava_taps_goal(const llava_plan *plan, const llava_tap_sizes *sizes, const llava_sink *sink,
                     llava_goal *goal, llava_goal *step_goal)
{
    wanting w = {plan, sink, goal, step_goal};
    if (sink != NULL) {
        llava_taps_list(plan, sizes, want_one, &w);
    }
    close_goal(plan, goal);
    if (sizes->generates) {
        /* a step decides the next token: always to its logits */
        step_goal->all_logits = true;
        close_goal(plan, step_goal);
        step_goal->vision = step_goal->features = step_goal->projector = false;
    }
}

/* ---- names
 * --------------------------------------------------------------------------------------- */

/* Reads a number without a leading zero; false where there is none or it is too long. */
static bool read_number(const char **at, size_t *number)
{
    const char *start = *at;
    *number = 0;
    while (**at >= '0' && **at <= '9' && *at - start < 9) {
        *number = *number * 10 + (size_t)(*(*at)++ - '0');
    }
    return *at > start && (*start != '0' || *at == start + 1);
}

/* Does `name` spell this kind, with a number for {i} (or "image.N." for picture N)? */
static bool spells(const llava_tap_kind *kind, const char *name, size_t *number)
{
    const char *layer = strstr(kind->name, "{i}");
    *number = 0;
    if (strcmp(kind->name, name) == 0) {
        return layer == NULL;
    }
    if (layer != NULL) {
        size_t before = (size_t)(layer - kind->name);
        const char *at = name + before;
        return strncmp(kind->name, name, before) == 0 && read_number(&at, number) &&
               strcmp(at, layer + 3) == 0;
    }
    const char *at = name + 6;
    return strncmp(kind->name, "image.", 6) == 0 && strncmp(name, "image.", 6) == 0 &&
           read_number(&at, number) && *number > 0 && *at == '.' &&
           strcmp(at + 1, kind->name + 6) == 0;
}

bool llava_tap_find(const char *name, llava_tap_place *place)
{
    *place = (llava_tap_place){0};
    if (strncmp(name, "step.", 5) == 0) {
        name += 5;
        if (!read_number(&name, &place->step) || place->step == 0 || *name++ != '.') {
            return false;
        }
    }
    for (size_t k = 0; k < KINDS; k++) {
        if (place->step > 0 && !kind_in_step(&kinds[k])) {
            continue;
        }
        if (spells(&kinds[k], name, &place->layer)) {
            place->kind = k;
            bool layered =
                strstr(kinds[k].name, "{i}") != NULL || strncmp(kinds[k].name, "image.", 6) == 0;
            for (place->block = k;
                 layered && place->block > 0 && kinds[place->block - 1].at == kinds[k].at;) {
                place->block--;
            }
            /* the answer comes behind every step */
            place->step = kinds[k].at == LLAVA_AT_ANSWER ? (size_t)-1 : place->step;
            return true;
        }
    }
    return false;
}

static int order(size_t a, size_t b)
{
    return a < b ? -1 : a > b;
}

int llava_tap_compare(const llava_tap_place *a, const llava_tap_place *b)
{
    int by_step = order(a->step, b->step), by_block = order(a->block, b->block);
    int by_layer = order(a->layer, b->layer);
    return by_step != 0    ? by_step
           : by_block != 0 ? by_block
           : by_layer != 0 ? by_layer
                           : order(a->kind, b->kind);
}
