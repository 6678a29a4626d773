#include "tools/stage_work.h"

#include <stdio.h>
#include <string.h>

/* The work of multiplying `rows` rows with the weights NAME for layers 0 .. layers; a %zu in the
 * name is the layer's number. A weight that is absent adds nothing. */
static llava_stage_work product(const llava_checkpoint *weights, double rows, size_t layers,
                                const char *const *names)
{
    llava_stage_work sum = {0, 0};
    for (size_t i = 0; i < layers; i++) {
        for (const char *const *format = names; *format != NULL; format++) {
            char name[160];
            const char *number = strstr(*format, "{i}");
            int before = number == NULL ? (int)strlen(*format) : (int)(number - *format);
            if (number == NULL) {
                snprintf(name, sizeof name, "%s", *format);
            } else {
                snprintf(name, sizeof name, "%.*s%zu%s", before, *format, i, number + 3);
            }
            const llava_weight *w = llava_checkpoint_find(weights, name);
            if (w != NULL) {
                sum.flop += 2 * rows * (double)w->count;
                sum.bytes += (double)w->count * (double)llava_dtype_size(w->dtype);
            }
        }
    }
    return sum;
}

static llava_stage_work plus(llava_stage_work a, llava_stage_work b)
{
    return (llava_stage_work){a.flop + b.flop, a.bytes + b.bytes};
}

/* Two products, q k^T and p v, of every layer. */
static llava_stage_work attention(double batch, double queries, double keys, double heads,
                                  double kv_heads, double d, double layers)
{
    return (llava_stage_work){
        .flop = 2 * 2 * batch * heads * queries * keys * d * layers,
        .bytes = 2 * 8 * batch * kv_heads * keys * d * layers,
    };
}

static void count_vision(llava_stage_work *work, const llava_plan *plan,
                         const llava_checkpoint *weights, const llava_inputs *in)
{
#define TOWER   "vision_tower.vision_model."
#define PIXTRAL "vision_tower.transformer.layers.{i}."
    static const char *const patches[] = {TOWER "embeddings.patch_embedding.weight",
                                          "vision_tower.patch_conv.weight", NULL};
    static const char *const layers[] = {
        TOWER "encoder.layers.{i}.self_attn.q_proj.weight",
        TOWER "encoder.layers.{i}.self_attn.k_proj.weight",
        TOWER "encoder.layers.{i}.self_attn.v_proj.weight",
        TOWER "encoder.layers.{i}.self_attn.out_proj.weight",
        TOWER "encoder.layers.{i}.mlp.fc1.weight",
        TOWER "encoder.layers.{i}.mlp.fc2.weight",
        PIXTRAL "attention.q_proj.weight",
        PIXTRAL "attention.k_proj.weight",
        PIXTRAL "attention.v_proj.weight",
        PIXTRAL "attention.o_proj.weight",
        PIXTRAL "feed_forward.gate_proj.weight",
        PIXTRAL "feed_forward.up_proj.weight",
        PIXTRAL "feed_forward.down_proj.weight",
        NULL,
    };
    static const char *const projector[] = {"multi_modal_projector.linear_1.weight",
                                            "multi_modal_projector.linear_2.weight", NULL};
#undef TOWER
#undef PIXTRAL
    const llava_vision_plan *v = &plan->vision;
    llava_tower_shape of = llava_tower_shape_of(plan, in);
    double pictures = (double)of.sequences;
    work[LLAVA_BENCH_VISION_LINEAR] =
        plus(product(weights, pictures * (double)of.patches, 1, patches),
             product(weights, pictures * (double)of.rows, v->layers_needed, layers));
    work[LLAVA_BENCH_VISION] = work[LLAVA_BENCH_VISION_LINEAR];
    for (size_t i = 0; i < in->pictures; i++) { /* a picture's rows see each other, and no others */
        llava_grid grid = llava_grid_of(plan, in, i);
        double rows = (double)(grid.rows * grid.columns + v->class_rows), heads = (double)v->heads;
        work[LLAVA_BENCH_VISION] = plus(
            work[LLAVA_BENCH_VISION],
            attention(1, rows, rows, heads, heads, (double)v->head_dim, (double)v->layers_needed));
    }
    work[LLAVA_BENCH_PROJECTOR] =
        product(weights, pictures * (double)of.feature_rows, 1, projector);
}

/* One pass of all layers of the language model over `rows` new positions. */
static llava_stage_work layers_of(const llava_plan *plan, const llava_checkpoint *weights,
                                  double rows)
{
#define LAYER "language_model.model.layers.{i}."
    static const char *const names[] = {
        LAYER "self_attn.q_proj.weight", LAYER "self_attn.k_proj.weight",
        LAYER "self_attn.v_proj.weight", LAYER "self_attn.o_proj.weight",
        LAYER "mlp.gate_proj.weight",    LAYER "mlp.up_proj.weight",
        LAYER "mlp.down_proj.weight",    NULL,
    };
#undef LAYER
    return product(weights, rows, plan->text.layers, names);
}

/* The same for a prompt of `length` positions, of which the last layer finishes only the last: its
 * keys and values are those of all. */
static llava_stage_work prompt_layers(const llava_plan *plan, const llava_checkpoint *weights,
                                      double batch, double length)
{
    const llava_text_plan *t = &plan->text;
    double hidden = (double)t->hidden, q = (double)(t->heads * t->head_dim);
    llava_stage_work sum = layers_of(plan, weights, batch * length);
    sum.flop -= 2 * batch * (length - 1) * hidden * (2 * q + 3 * (double)t->intermediate);
    return sum;
}

static llava_stage_work text_attention(const llava_plan *plan, double batch, double queries,
                                       double keys)
{
    const llava_text_plan *t = &plan->text;
    llava_stage_work sum = {0};
    for (size_t i = 0; i < t->layers; i++) {
        double past = keys - queries, kept = (double)llava_keys_kept(t, (size_t)past);
        double shown = t->slides[i] && kept < past ? kept + queries : keys;
        double finished = i + 1 < t->layers ? queries : 1;
        sum = plus(sum, attention(batch, finished, shown, (double)t->heads, (double)t->kv_heads,
                                  (double)t->head_dim, 1));
    }
    return sum;
}

/* The head on one row of each sample. */
static llava_stage_work head(const llava_plan *plan, const llava_checkpoint *weights, double rows)
{
    static const char *const own[] = {"language_model.lm_head.weight", NULL};
    static const char *const tied[] = {"language_model.model.embed_tokens.weight", NULL};
    bool has = !plan->text.tied_head || llava_checkpoint_find(weights, own[0]) != NULL;
    return product(weights, rows, 1, has ? own : tied);
}

void llava_stage_work_count(llava_stage_work work[LLAVA_BENCH_STAGES], const llava_plan *plan,
                            const llava_checkpoint *weights, const llava_inputs *in, size_t steps)
{
    double batch = (double)in->batch, length = (double)in->length;
    memset(work, 0, LLAVA_BENCH_STAGES * sizeof *work);
    count_vision(work, plan, weights, in);
    work[LLAVA_BENCH_TEXT_LINEAR] = prompt_layers(plan, weights, batch, length);
    work[LLAVA_BENCH_TEXT_ATTENTION] = text_attention(plan, batch, length, length);
    work[LLAVA_BENCH_TEXT] = plus(work[LLAVA_BENCH_TEXT_LINEAR], work[LLAVA_BENCH_TEXT_ATTENTION]);
    work[LLAVA_BENCH_LOGITS] = head(plan, weights, batch);
    /* step g sees length + g keys: their mean over g = 1 .. steps */
    double keys = length + ((double)steps + 1) / 2;
    work[LLAVA_BENCH_DECODE] =
        plus(plus(layers_of(plan, weights, batch), text_attention(plan, batch, 1, keys)),
             work[LLAVA_BENCH_LOGITS]);
}
