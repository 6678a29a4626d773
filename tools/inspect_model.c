/* llava-ref inspect on a model folder. */
#include "tools/inspect.h"

#include "ref/checkpoint.h"
#include "ref/file.h"
#include "ref/model.h"
#include "tools/needed.h"
#include "tools/progress.h"
#include "tools/words.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Text tokens beside one picture's in the count of multiplications. */
enum { TEXT_TOKENS = 32, PROBLEMS_SHOWN = 20, PARTS = LLAVA_PART_OTHER + 1 };

typedef struct {
    llava_inspection *of;
    llava_config config;
    llava_plan plan;
    const char *vision_type, *text_type;
    llava_checkpoint *weights; /* NULL: the folder holds none */
    llava_tower_shape tower;   /* for one picture of the config's size */
    size_t positions;          /* of the pass whose multiplications are counted */
    double macs[LLAVA_PER_COUNT];
    size_t problems;
    cJSON *problem_list;
    bool reads_name; /* does the model read the weight whose canonical name was asked for? */
} model;

/* ---- reading -----------------------------------------------------------------------------------
 */

/* The families' names in config.json. */
static void name_families(model *m)
{
    static const char *const towers[] = {[LLAVA_TOWER_CLIP] = "clip_vision_model",
                                         [LLAVA_TOWER_SIGLIP] = "siglip_vision_model",
                                         [LLAVA_TOWER_PIXTRAL] = "pixtral"};
    static const char *const texts[] = {[LLAVA_TEXT_LLAMA] = "llama",
                                        [LLAVA_TEXT_MISTRAL] = "mistral",
                                        [LLAVA_TEXT_QWEN2] = "qwen2"};
    m->vision_type = towers[m->config.vision.tower];
    m->text_type = texts[m->config.text.family];
}

/* Is there a file of weights? A folder that only tokenises has none. */
static bool has_weights(const char *folder)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    return llava_file_in(folder, names[0]) || llava_file_in(folder, names[1]);
}

static bool open_model(model *m, llava_error *e)
{
    llava_choices choices = {{0}};
    const char *folder = m->of->path;
    if (!llava_request_config(&m->config, &m->of->request, e) ||
        !llava_plan_make(&m->plan, &m->config, &choices, LLAVA_F64, false, e)) {
        return false;
    }
    name_families(m);
    /* one picture of the config's size */
    size_t side = m->plan.vision.image_size;
    llava_inputs one = {.pictures = 1, .height = side, .width = side};
    m->tower = llava_tower_shape_of(&m->plan, &one);
    m->positions = m->tower.feature_rows + TEXT_TOKENS;
    if (has_weights(folder) &&
        !llava_request_weights(&m->of->request, &m->config, &m->weights, e)) {
        return false;
    }
    llava_warn_unknown_keys(&m->config, folder);
    return true;
}

/* ---- configuration -----------------------------------------------------------------------------
 */

static void show_ids(const model *m)
{
    const llava_config *c = &m->config;
    FILE *to = m->of->table;
    fprintf(to, "ids         image %" PRId64 ", stop", c->image_token);
    for (size_t i = 0; i < c->stop_count && i < 8; i++) {
        fprintf(to, " %" PRId64, c->stop_ids[i]);
    }
    fputs(c->stop_count == 0 ? " none" : c->stop_count > 8 ? " ..." : "", to);
    c->pad_id < 0 ? fputs(", pad none", to) : fprintf(to, ", pad %" PRId64, c->pad_id);
    c->bos_id < 0 ? fputs(", bos none\n", to) : fprintf(to, ", bos %" PRId64 "\n", c->bos_id);
}

static const char *rope_type_name(llava_rope_type type)
{
    static const char *const names[] = {"default", "linear",   "dynamic",
                                        "yarn",    "longrope", "llama3"};
    return names[type];
}

static size_t sliding_layers(const llava_text_plan *t)
{
    size_t count = 0;
    for (size_t i = 0; i < t->layers; i++) {
        count += t->slides[i];
    }
    return count;
}

/* What tells a rotary type, a window or a bias apart: the language models' families. */
static void show_attention(const model *m)
{
    const llava_text_plan *t = &m->plan.text;
    FILE *to = m->of->table;
    fprintf(to, "            rotary type %s", rope_type_name(t->rope.type));
    if (t->rope.type != LLAVA_ROPE_DEFAULT) {
        fprintf(to, ", factor %g", t->rope.factor);
    }
    if (t->rope.attention_factor != 1) {
        fprintf(to, ", cos and sin times %g", t->rope.attention_factor);
    }
    fprintf(to, "; biases of%s%s%s%s; ", t->qkv_bias ? " q k v" : "", t->out_bias ? " o" : "",
            t->mlp_bias ? " MLP" : "", t->qkv_bias || t->out_bias || t->mlp_bias ? "" : " nothing");
    size_t sliding = sliding_layers(t);
    sliding == 0 ? fputs("no window\n", to)
                 : fprintf(to, "window of %zu keys in %zu layers\n", t->window, sliding);
}

static void show_config(const model *m)
{
    const llava_vision_plan *v = &m->plan.vision;
    const llava_text_plan *t = &m->plan.text;
    FILE *to = m->of->table;
    fprintf(to,
            "vision      %s, %zu layers (%zu needed), width %zu, %zu heads of %zu, MLP %zu %s\n",
            m->vision_type, v->layers, v->layers_needed, v->hidden, v->heads, v->head_dim,
            v->intermediate, llava_act_name(v->act));
    bool pixtral = v->tower == LLAVA_TOWER_PIXTRAL;
    fprintf(to, "            %s eps %g", pixtral ? "RMSNorm" : "LayerNorm", v->norm_eps);
    if (pixtral) {
        fprintf(to, ", rotary theta %g", v->rope_theta);
    }
    fprintf(to, "; hidden states");
    for (size_t i = 0; i < v->feature_count && i < 8; i++) {
        fprintf(to, " %zu", v->feature_layers[i]);
    }
    fprintf(to, "%s are the features\n", v->feature_count > 8 ? " ..." : "");
    fprintf(to, "picture     %s%zux%zu pixels, patches of %zux%zu: %zux%zu, %s %s\n",
            pixtral ? "any size; one of " : "", v->image_size, v->image_size, v->patch, v->patch,
            v->grid, v->grid, v->class_rows > 0 ? "class row" : "no class row, first patch",
            v->select == LLAVA_ROWS_FULL ? "kept" : "dropped");
    fprintf(to, "            %zu image tokens per picture\n", m->tower.feature_rows);
    fprintf(to, "projector   %zu to %zu, %s, %s\n", v->feature_width, t->hidden,
            m->plan.projector_linear ? "one layer" : llava_act_name(m->plan.projector_act),
            m->plan.projector_bias ? "biased" : "no bias");
    fprintf(to,
            "text        %s, %zu layers, width %zu, %zu heads of %zu (%zu key/value), MLP %zu %s\n",
            m->text_type, t->layers, t->hidden, t->heads, t->head_dim, t->kv_heads, t->intermediate,
            llava_act_name(t->act));
    fprintf(
        to,
        "            RMSNorm eps %g, theta %g, vocabulary %zu, at most %zu positions, head %s\n",
        t->norm_eps, t->rope.theta, t->vocab, m->config.text.max_positions,
        t->tied_head ? "tied" : "its own");
    show_attention(m);
    show_ids(m);
}

static void put_sizes(model *m, cJSON *object, const char *const *keys, const size_t *sizes,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        llava_inspect_put_number(m->of, object, keys[i], (double)sizes[i]);
    }
}

/* -1 stands for "none", which JSON has a word for: NaN is written as null. */
static double id_or_null(int64_t id)
{
    return id < 0 ? NAN : (double)id;
}

static void put_config(model *m)
{
    static const char *const vision_keys[] = {"layers",     "layers_needed", "hidden",      "heads",
                                              "image_size", "patch_size",    "intermediate"};
    static const char *const text_keys[] = {"layers",   "hidden",       "heads", "kv_heads",
                                            "head_dim", "intermediate", "vocab", "max_positions"};
    const llava_vision_plan *v = &m->plan.vision;
    const llava_text_plan *t = &m->plan.text;
    llava_inspection *of = m->of;
    cJSON *config = llava_inspect_put_object(of, of->json, "config");
    cJSON *vision = llava_inspect_put_object(of, config, "vision");
    cJSON *text = llava_inspect_put_object(of, config, "text");
    llava_inspect_put_text(of, vision, "model_type", m->vision_type);
    put_sizes(m, vision, vision_keys,
              (size_t[]){v->layers, v->layers_needed, v->hidden, v->heads, v->image_size, v->patch,
                         v->intermediate},
              7);
    llava_inspect_put_text(of, vision, "act", llava_act_name(v->act));
    llava_inspect_put_number(of, vision, "eps", v->norm_eps);
    llava_inspect_put_text(of, text, "model_type", m->text_type);
    put_sizes(m, text, text_keys,
              (size_t[]){t->layers, t->hidden, t->heads, t->kv_heads, t->head_dim, t->intermediate,
                         t->vocab, m->config.text.max_positions},
              8);
    llava_inspect_put_text(of, text, "act", llava_act_name(t->act));
    llava_inspect_put_number(of, text, "eps", t->norm_eps);
    llava_inspect_put_number(of, text, "rope_theta", t->rope.theta);
    llava_inspect_put_text(of, text, "rope_type", rope_type_name(t->rope.type));
    llava_inspect_put_number(of, text, "rope_attention_factor", t->rope.attention_factor);
    llava_inspect_put_number(of, text, "window", (double)t->window);
    llava_inspect_put_number(of, text, "sliding_layers", (double)sliding_layers(t));
    llava_inspect_put_bool(of, text, "qkv_bias", t->qkv_bias);
    llava_inspect_put_bool(of, text, "tied_head", t->tied_head);
    llava_inspect_put_text(of, config, "projector_act", llava_act_name(m->plan.projector_act));
    llava_inspect_put_number(of, config, "image_tokens", (double)m->tower.feature_rows);
    llava_inspect_put_number(of, config, "image_id", (double)m->config.image_token);
    llava_inspect_put_number(of, config, "pad_id", id_or_null(m->config.pad_id));
    llava_inspect_put_number(of, config, "bos_id", id_or_null(m->config.bos_id));
    cJSON *layers = llava_inspect_put_array(of, config, "feature_layers");
    for (size_t i = 0; layers != NULL && i < v->feature_count; i++) {
        llava_inspect_push(of, layers, cJSON_CreateNumber((double)v->feature_layers[i]));
    }
    cJSON *stops = llava_inspect_put_array(of, config, "stop_ids");
    for (size_t i = 0; stops != NULL && i < m->config.stop_count; i++) {
        llava_inspect_push(of, stops, cJSON_CreateNumber((double)m->config.stop_ids[i]));
    }
}

/* ---- what the model needs ----------------------------------------------------------------------
 */

/* Rows that a weight meets in a pass with one picture. */
static double rows_of(const model *m, llava_per per)
{
    switch (per) {
    case LLAVA_PER_PATCH:
        return (double)m->tower.patches;
    case LLAVA_PER_VISION_ROW:
        return (double)m->tower.rows;
    case LLAVA_PER_FEATURE_ROW:
        return (double)m->tower.feature_rows;
    case LLAVA_PER_POSITION:
    case LLAVA_PER_LOGITS_ROW:
        return (double)m->positions;
    default:
        return 0;
    }
}

/* Looks a needed weight up, which marks it as used; false with a message where it can't be. */
static bool is_there(const model *m, const llava_needed *needed, llava_error *e)
{
    llava_weight weight;
    return m->weights == NULL ||
           (needed->optional && llava_checkpoint_find(m->weights, needed->name) == NULL) ||
           llava_checkpoint_need(m->weights, &weight, needed->name, needed->rank, needed->shape, e);
}

static bool mark(void *self, const llava_needed *needed)
{
    model *m = self;
    llava_error ignored;
    is_there(m, needed, &ignored);
    m->reads_name = m->reads_name || strcmp(needed->name, m->of->name) == 0;
    return true;
}

/* Adds a weight's multiplications, marks it as used, and notes what is wrong with it. */
static bool need(void *self, const llava_needed *needed)
{
    model *m = self;
    llava_error e;
    double product = 1;
    for (int i = 0; i < needed->rank; i++) {
        product *= (double)needed->shape[i];
    }
    m->macs[needed->per] += product * rows_of(m, needed->per);
    if (is_there(m, needed, &e)) {
        return true;
    }
    if (m->problems++ < PROBLEMS_SHOWN) {
        fputs("problem: ", m->of->table);
        llava_print_escaped(m->of->table, e.text);
        fputc('\n', m->of->table);
    }
    if (m->problem_list != NULL) {
        llava_inspect_push(m->of, m->problem_list, cJSON_CreateString(e.text));
    }
    return true;
}

static void check(model *m)
{
    m->problem_list = llava_inspect_put_array(m->of, m->of->json, "problems");
    llava_needed_list(&m->plan, need, m);
    if (m->problems > PROBLEMS_SHOWN) {
        fprintf(m->of->table, "problem: and %zu more\n", m->problems - PROBLEMS_SHOWN);
    }
}

/* ---- tensors -----------------------------------------------------------------------------------
 */

static bool is_parameter(const llava_checkpoint_entry *entry)
{
    static const char *const types[] = {"F64", "F32", "F16", "BF16"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(entry->type_name, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

enum { NAME_WIDTH = 70, TYPE_WIDTH = 5, SHAPE_WIDTH = 15 };

static void show_row(model *m, const llava_checkpoint_entry *entry)
{
    char shape[LLAVA_INSPECT_SHAPE];
    FILE *to = m->of->table;
    llava_inspect_shape(shape, entry->weight.rank, entry->weight.shape);
    llava_inspect_cell(to, entry->weight.name, NAME_WIDTH);
    fprintf(to, " %-*s %-*s %s\n", TYPE_WIDTH, entry->type_name, SHAPE_WIDTH, shape,
            entry->used ? "used" : "unused");
}

static void put_row(model *m, cJSON *object, const llava_checkpoint_entry *entry)
{
    llava_inspection *of = m->of;
    llava_part part = llava_part_of(entry->weight.name, m->config.original);
    llava_inspect_put_text(of, object, "name", entry->weight.name);
    llava_inspect_put_text(of, object, "type", entry->type_name);
    llava_inspect_put_shape(of, object, entry->weight.rank, entry->weight.shape);
    llava_inspect_put_number(of, object, "parameters",
                             is_parameter(entry) ? (double)entry->weight.count : 0);
    llava_inspect_put_text(of, object, "part", llava_part_name(part));
    llava_inspect_put_text(of, object, "file", entry->weight.file);
    llava_inspect_put_bool(of, object, "used", entry->used);
}

/* Parameters by part, the last for all of them. */
typedef struct {
    size_t all[PARTS + 1], unused[PARTS + 1];
    bool spare; /* what is added now is not used */
} parameters;

static void add_parameters(parameters *p, llava_part part, size_t count, bool used)
{
    p->all[part] += count;
    p->all[PARTS] += count;
    p->unused[part] += used ? 0 : count;
    p->unused[PARTS] += used ? 0 : count;
}

static void show_parameters(llava_inspection *of, const parameters *p)
{
    fprintf(of->table, "\n%-10s %16s %16s\n", "part", "parameters", "of them unused");
    cJSON *object = llava_inspect_put_object(of, of->json, "parameters");
    cJSON *in_vain = llava_inspect_put_object(of, of->json, "unused_parameters");
    for (size_t part = 0; part <= PARTS; part++) {
        const char *name = part == PARTS ? "total" : llava_part_name((llava_part)part);
        fprintf(of->table, "%-10s %16zu %16zu\n", name, p->all[part], p->unused[part]);
        llava_inspect_put_number(of, object, name, (double)p->all[part]);
        llava_inspect_put_number(of, in_vain, name, (double)p->unused[part]);
    }
}

/* What transformers' model of this configuration has, the head not counted where it is the token
 * table. */
static bool count_one(void *self, const llava_needed *weight)
{
    parameters *p = self;
    size_t count = weight->optional ? 0 : 1;
    for (int i = 0; i < weight->rank; i++) {
        count *= weight->shape[i];
    }
    add_parameters(p, weight->part, count, !p->spare);
    return true;
}

/* Lists the tensors and their parameters by part; without a file of weights, the parameters that
 * the configuration alone tells. */
static void show_tensors(model *m)
{
    llava_inspection *of = m->of;
    parameters counts = {.spare = false};
    size_t all = m->weights == NULL ? 0 : llava_checkpoint_count(m->weights);
    cJSON *tensors = llava_inspect_put_array(of, of->json, "tensors");
    if (m->weights == NULL) {
        fputs("\nno weights in this folder: parameters by the configuration\n", of->table);
        llava_needed_list(&m->plan, count_one, &counts);
        counts.spare = true;
        llava_spare_list(&m->plan, &m->config, count_one, &counts);
    } else {
        fprintf(of->table, "\n%-*s %-*s shape\n", NAME_WIDTH, "tensor", TYPE_WIDTH, "type");
    }
    for (size_t i = 0; i < all; i++) {
        llava_checkpoint_entry entry = llava_checkpoint_at(m->weights, i);
        add_parameters(&counts, llava_part_of(entry.weight.name, m->config.original),
                       is_parameter(&entry) ? entry.weight.count : 0, entry.used);
        show_row(m, &entry);
        put_row(m, llava_inspect_put_item(of, tensors), &entry);
    }
    show_parameters(of, &counts);
}

/* ---- multiplications ---------------------------------------------------------------------------
 */

static void show_macs(model *m)
{
    const llava_vision_plan *v = &m->plan.vision;
    const llava_text_plan *t = &m->plan.text;
    llava_inspection *of = m->of;
    double rows = (double)m->tower.rows, positions = (double)m->positions;
    /* scores and weighted sums, each rows^2 x width, masked keys included */
    const struct {
        const char *name;
        double macs;
    } stages[] = {
        {"vision.patch_embed", m->macs[LLAVA_PER_PATCH]},
        {"vision.linear", m->macs[LLAVA_PER_VISION_ROW]},
        {"vision.attention", 2 * rows * rows * (double)v->hidden * (double)v->layers_needed},
        {"projector", m->macs[LLAVA_PER_FEATURE_ROW]},
        {"text.linear", m->macs[LLAVA_PER_POSITION]},
        {"text.attention",
         2 * positions * positions * (double)(t->heads * t->head_dim) * (double)t->layers},
        {"logits", (double)t->vocab * (double)t->hidden * positions},
    };
    double total = 0;
    cJSON *object = llava_inspect_put_object(of, of->json, "macs");
    llava_inspect_put_number(of, object, "pictures", 1);
    llava_inspect_put_number(of, object, "picture_size", (double)v->image_size);
    llava_inspect_put_number(of, object, "text_tokens", TEXT_TOKENS);
    llava_inspect_put_number(of, object, "positions", positions);
    cJSON *list = llava_inspect_put_array(of, object, "stages");
    fprintf(of->table,
            "\nmultiplications of one pass: a picture of %zux%zu and %d text tokens, %zu positions "
            "in all\n",
            v->image_size, v->image_size, TEXT_TOKENS, m->positions);
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        fprintf(of->table, "%-18s %20.0f\n", stages[i].name, stages[i].macs);
        total += stages[i].macs;
        cJSON *stage = llava_inspect_put_item(of, list);
        llava_inspect_put_text(of, stage, "name", stages[i].name);
        llava_inspect_put_number(of, stage, "macs", stages[i].macs);
    }
    fprintf(of->table, "%-18s %20.0f\n", "total", total);
    llava_inspect_put_number(of, object, "total", total);
}

static void show_all(model *m)
{
    llava_inspect_put_text(m->of, m->of->json, "kind", "model");
    show_config(m);
    put_config(m);
    check(m);
    show_tensors(m);
    show_macs(m);
}

/* ---- one tensor --------------------------------------------------------------------------------
 */

/* By the file's own spelling, else by the canonical name (looking that up marks it as used); else
 * `near` has seen all names. */
static bool find_tensor(const model *m, llava_checkpoint_entry *found, llava_nearest *near)
{
    size_t all = m->weights == NULL ? 0 : llava_checkpoint_count(m->weights);
    for (size_t i = 0; i < all; i++) {
        *found = llava_checkpoint_at(m->weights, i);
        if (strcmp(found->weight.name, m->of->name) == 0) {
            return true;
        }
        llava_nearest_offer(near, found->weight.name);
    }
    const llava_weight *canonical =
        all == 0 ? NULL : llava_checkpoint_find(m->weights, m->of->name);
    for (size_t i = 0; canonical != NULL && i < all; i++) {
        *found = llava_checkpoint_at(m->weights, i);
        if (strcmp(found->weight.name, canonical->name) == 0) {
            found->used = m->reads_name;
            return true;
        }
    }
    return false;
}

/* Values first .. first + n - 1, one a line, with the bits that the file holds. */
static void show_values(const model *m, const llava_weight *w, size_t first, size_t n, cJSON *array)
{
    size_t size = llava_dtype_size(w->dtype);
    for (size_t i = first; i < first + n; i++) {
        double value;
        const uint8_t *bytes = w->bytes + i * size;
        llava_decode(w->dtype, bytes, 1, LLAVA_F64, &value);
        fprintf(m->of->table, "  %12zu  %-24.*g 0x", i, size == 8 ? 17 : 9, value);
        for (size_t b = size; b > 0; b--) {
            fprintf(m->of->table, "%02x", bytes[b - 1]);
        }
        fputc('\n', m->of->table);
        if (array != NULL) {
            llava_inspect_push(m->of, array, cJSON_CreateNumber(value)); /* NaN becomes null */
        }
    }
}

static bool measure(const llava_weight *w, llava_statistics *s, llava_error *e)
{
    double *values = llava_alloc(e, LLAVA_INSPECT_PIECE, sizeof(double));
    size_t size = llava_dtype_size(w->dtype);
    *s = (llava_statistics){0};
    llava_progress_begin();
    for (size_t done = 0; values != NULL && done < w->count;) {
        llava_progress_show((double)done / (double)w->count, NULL, w->name);
        size_t left = w->count - done;
        size_t n = left < LLAVA_INSPECT_PIECE ? left : LLAVA_INSPECT_PIECE;
        llava_decode(w->dtype, w->bytes + done * size, n, LLAVA_F64, values);
        llava_statistics_add(s, values, n);
        done += n;
    }
    llava_progress_end();
    free(values);
    return values != NULL;
}

static bool show_one(model *m, llava_error *e)
{
    llava_inspection *of = m->of;
    llava_checkpoint_entry entry;
    llava_needed_list(&m->plan, mark, m);
    llava_nearest near = {.word = of->name};
    if (!find_tensor(m, &entry, &near)) {
        return llava_inspect_no_tensor(of, &near, e);
    }
    const llava_weight *w = &entry.weight;
    char shape[LLAVA_INSPECT_SHAPE];
    llava_statistics s;
    llava_inspect_put_text(of, of->json, "kind", "tensor");
    put_row(m, of->json, &entry);
    llava_inspect_text(of->table, w->name, LLAVA_INSPECT_COLUMNS);
    fputs("\n  file    ", of->table);
    llava_print_escaped(of->table, w->file);
    fprintf(of->table, "\n  type    %s\n  shape   %s\n  %s\n", entry.type_name,
            llava_inspect_shape(shape, w->rank, w->shape),
            entry.used ? "used by the model" : "not used by the model");
    if (!is_parameter(&entry)) {
        return true; /* its type is no weight's: nothing here decodes it */
    }
    if (!measure(w, &s, e)) {
        return false;
    }
    size_t head = w->count < LLAVA_INSPECT_ENDS ? w->count : LLAVA_INSPECT_ENDS;
    size_t left = w->count - head, tail = left < LLAVA_INSPECT_ENDS ? left : LLAVA_INSPECT_ENDS;
    llava_inspect_statistics(of->table, &s);
    llava_inspect_put_statistics(of, of->json, &s);
    fputs("  first values, by index in C order, and their bits\n", of->table);
    show_values(m, w, 0, head, llava_inspect_put_array(of, of->json, "first"));
    fputs(tail > 0 ? "  last values\n" : "", of->table);
    show_values(m, w, w->count - tail, tail, llava_inspect_put_array(of, of->json, "last"));
    return true;
}

bool llava_inspect_model(llava_inspection *of, llava_error *e)
{
    model m = {.of = of};
    bool ok = open_model(&m, e);
    if (ok && of->name == NULL) {
        show_all(&m);
    } else if (ok) {
        ok = show_one(&m, e);
    }
    llava_checkpoint_close(m.weights);
    return ok;
}
