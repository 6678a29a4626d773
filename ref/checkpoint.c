/* The weights of a model folder under their canonical names. */
#include "checkpoint.h"

#include "json.h"
#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE "model.safetensors"
#define INDEX  "model.safetensors.index.json"
/* The largest models in use have some 200 shards. */
#define MAX_SHARDS 4096

_Static_assert(LLAVA_WEIGHT_RANK == LLAVA_SAFETENSORS_RANK, "a weight holds any file's shape");

typedef struct {
    llava_weight weight;
    const char *type_name;
    bool is_float, used;
    char *canonical; /* NULL: no tensor that the model knows */
} entry;

/* Whose spelling the names are in. */
typedef enum { SPELT_RELEASED, SPELT_ORIGINAL, SPELT_TOWER } spelling;

struct llava_checkpoint {
    spelling spelling;
    llava_checkpoint *tower; /* a folder of its own for what is not here, or NULL */
    char *source;            /* the single file or the index, for messages */
    size_t file_count;
    llava_safetensors *files; /* in the order of their names */
    size_t count;
    entry *entries;
    size_t known_count;
    entry **known; /* those with a canonical name, sorted by it */
};

/* ---- Names ---- */

typedef struct {
    const char *from, *to;
} spelling_row;

static const spelling_row released_spellings[] = {
    /* The first row that fits counts, so the longer beginnings stand first. */
    {"language_model.model.", "language_model.model."},
    {"language_model.lm_head.", "language_model.lm_head."},
    {"language_model.", "language_model.model."},
    {"lm_head.", "language_model.lm_head."},
    {"vision_tower.vision_model.", "vision_tower.vision_model."},
    /* Pixtral's, which have one spelling */
    {"vision_tower.patch_conv.", "vision_tower.patch_conv."},
    {"vision_tower.ln_pre.", "vision_tower.ln_pre."},
    {"vision_tower.transformer.", "vision_tower.transformer."},
    {"vision_tower.", "vision_tower.vision_model."},
    {"multi_modal_projector.", "multi_modal_projector."},
    {NULL, NULL},
};

/* The original project's, behind "model." as well. */
static const spelling_row original_spellings[] = {
    {"layers.", "language_model.model.layers."},
    {"embed_tokens.", "language_model.model.embed_tokens."},
    {"norm.", "language_model.model.norm."},
    {"lm_head.", "language_model.lm_head."},
    {"mm_projector.0.", "multi_modal_projector.linear_1."},
    {"mm_projector.2.", "multi_modal_projector.linear_2."},
    {"mm_projector.weight", "multi_modal_projector.linear.weight"},
    {"mm_projector.bias", "multi_modal_projector.linear.bias"},
    {"vision_tower.vision_tower.vision_model.", "vision_tower.vision_model."},
    {NULL, NULL},
};

/* A tower alone, as CLIPModel and CLIPVisionModel save it. */
static const spelling_row tower_spellings[] = {
    {"vision_model.", "vision_tower.vision_model."},
    {"embeddings.", "vision_tower.vision_model.embeddings."},
    {"encoder.", "vision_tower.vision_model.encoder."},
    {"pre_layrnorm.", "vision_tower.vision_model.pre_layrnorm."},
    {"post_layernorm.", "vision_tower.vision_model.post_layernorm."},
    {NULL, NULL},
};

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* Buffers that old versions saved and that the model computes anyway (spec 8.1). */
static bool is_ignored(const char *name)
{
    return ends_with(name, ".rotary_emb.inv_freq") || ends_with(name, ".embeddings.position_ids");
}

/* The canonical spelling of a file's name in new memory; *canonical NULL where the name is none of
 * this model's. */
static bool canonicalize(spelling spelt, const char *name, char **canonical, llava_error *e)
{
    *canonical = NULL;
    if (is_ignored(name)) {
        return true;
    }
    static const spelling_row *const tables[] = {released_spellings, original_spellings,
                                                 tower_spellings};
    const spelling_row *spellings = tables[spelt];
    const char *inner = starts_with(name, "model.") ? name + strlen("model.") : name;
    for (size_t i = 0; spellings[i].from != NULL; i++) {
        if (!starts_with(inner, spellings[i].from)) {
            continue;
        }
        const char *rest = inner + strlen(spellings[i].from);
        size_t size = strlen(spellings[i].to) + strlen(rest) + 1;
        *canonical = llava_alloc(e, size, 1);
        if (*canonical == NULL) {
            return false;
        }
        snprintf(*canonical, size, "%s%s", spellings[i].to, rest);
        return true;
    }
    return true;
}

/* ---- The index ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A relative path without an empty, "." or ".." part: one spelling for each file, inside the
 * folder. Where it is a symbolic link, the link is followed: model caches consist of them. */
static bool stays_inside(const char *path)
{
    for (;;) {
        size_t length = strcspn(path, "/");
        if (length == 0 || (length == 1 && path[0] == '.') ||
            (length == 2 && path[0] == '.' && path[1] == '.')) {
            return false;
        }
        if (path[length] == '\0') {
            return true;
        }
        path += length + 1;
    }
}

/* The distinct shards of the weight map, sorted, in *names (they point into the map). */
static bool list_shards(const char *index, const cJSON *map, const char ***names, size_t *count,
                        llava_error *e)
{
    *count = 0;
    *names = llava_alloc(e, (size_t)cJSON_GetArraySize(map), sizeof **names);
    if (*names == NULL) {
        return false;
    }
    for (const cJSON *item = map->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item)) {
            return llava_fail(e, "%s: weight_map: '%.200s': must be a string", index, item->string);
        }
        if (!stays_inside(item->valuestring)) {
            return llava_fail(e, "%s: weight_map: '%.200s': the shard '%.200s' leaves the folder",
                              index, item->string, item->valuestring);
        }
        (*names)[(*count)++] = item->valuestring;
    }
    if (*count == 0) {
        return llava_fail(e, "%s: weight_map: names no tensor", index);
    }
    qsort((void *)*names, *count, sizeof **names, compare_texts);
    size_t distinct = 1;
    for (size_t i = 1; i < *count; i++) {
        if (strcmp((*names)[i], (*names)[distinct - 1]) != 0) {
            (*names)[distinct++] = (*names)[i];
        }
    }
    *count = distinct;
    if (distinct > MAX_SHARDS) {
        return llava_fail(e, "%s: weight_map: more than %d shards", index, MAX_SHARDS);
    }
    return true;
}

/* ---- Opening ---- */

static bool open_files(llava_checkpoint *c, const char *folder, const char *const *names,
                       size_t count, llava_error *e)
{
    c->files = llava_alloc(e, count, sizeof *c->files);
    if (c->files == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        char *path = llava_path(e, folder, names[i]);
        if (path == NULL) {
            return false;
        }
        bool ok = llava_safetensors_open(&c->files[i], path, e);
        free(path);
        if (!ok) {
            return false;
        }
        c->file_count++;
    }
    return true;
}

static bool fill_entry(spelling spelt, entry *filled, const llava_safetensors *file,
                       const llava_safetensor *tensor, llava_error *e)
{
    filled->weight = (llava_weight){
        .name = tensor->name,
        .file = file->path,
        .bytes = tensor->bytes,
        .dtype = tensor->dtype,
        .rank = tensor->rank,
        .count = tensor->count,
    };
    memcpy(filled->weight.shape, tensor->shape, sizeof tensor->shape);
    filled->type_name = tensor->type_name;
    filled->is_float = tensor->is_float;
    return canonicalize(spelt, tensor->name, &filled->canonical, e);
}

static bool fill_entries(llava_checkpoint *c, llava_error *e)
{
    for (size_t i = 0; i < c->file_count; i++) {
        c->count += c->files[i].count;
    }
    c->entries = llava_alloc(e, c->count, sizeof *c->entries);
    if (c->entries == NULL) {
        return false;
    }
    entry *next = c->entries;
    for (size_t i = 0; i < c->file_count; i++) {
        for (size_t k = 0; k < c->files[i].count; k++) {
            if (!fill_entry(c->spelling, next++, &c->files[i], &c->files[i].tensors[k], e)) {
                return false;
            }
        }
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
    return strcmp(x->weight.name, y->weight.name);
}

static int compare_canonicals(const void *a, const void *b)
{
    const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
    return strcmp(x->canonical, y->canonical);
}

/* Sorts the entries and refuses two that are equal. */
static bool sort_distinct(entry **sorted, size_t count, int (*compare)(const void *, const void *),
                          llava_error *e)
{
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what is sorted */
    qsort(sorted, count, sizeof *sorted, compare);
    for (size_t i = 1; i < count; i++) {
        if (compare(&sorted[i - 1], &sorted[i]) == 0) {
            const llava_weight *a = &sorted[i - 1]->weight, *b = &sorted[i]->weight;
            return llava_fail(e, "%s: tensor '%.200s' is there twice (also '%.200s' in %s)",
                              b->file, b->name, a->name, a->file);
        }
    }
    return true;
}

/* Every tensor that the index names lies in the shard that it names. `sorted` is by name. */
static bool check_index(const llava_checkpoint *c, const cJSON *map, entry **sorted, llava_error *e)
{
    size_t folder =
        strlen(c->source) - strlen(INDEX); /* of "FOLDER/", which every path begins with */
    for (const cJSON *item = map->child; item != NULL; item = item->next) {
        entry key = {.weight = {.name = item->string}};
        const entry *wanted = &key;
        entry *const *found = bsearch(&wanted, sorted, c->count, sizeof(entry *), compare_names);
        if (found == NULL || strcmp((*found)->weight.file + folder, item->valuestring) != 0) {
            return llava_fail(e, "%s: weight_map: tensor '%.200s' is not in the shard '%.200s'",
                              c->source, item->string, item->valuestring);
        }
    }
    return true;
}

/* Builds the table of canonical names; map NULL for a single file. */
static bool build_names(llava_checkpoint *c, const cJSON *map, llava_error *e)
{
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): a list of pointers */
    c->known = llava_alloc(e, c->count, sizeof *c->known);
    if (c->known == NULL) {
        return false;
    }
    for (size_t i = 0; i < c->count; i++) {
        c->known[i] = &c->entries[i];
    }
    /* First all of them by the file's names, to check the index; then the known by theirs. */
    if (!sort_distinct(c->known, c->count, compare_names, e) ||
        (map != NULL && !check_index(c, map, c->known, e))) {
        return false;
    }
    for (size_t i = 0; i < c->count; i++) {
        if (c->known[i]->canonical != NULL) {
            c->known[c->known_count++] = c->known[i];
        }
    }
    return sort_distinct(c->known, c->known_count, compare_canonicals, e);
}

static bool open_single(llava_checkpoint *c, const char *folder, llava_error *e)
{
    const char *name = SINGLE;
    return open_files(c, folder, &name, 1, e) && fill_entries(c, e) && build_names(c, NULL, e);
}

static bool open_sharded(llava_checkpoint *c, const char *folder, llava_error *e)
{
    cJSON *index = llava_json_read(c->source, e);
    const char **names = NULL;
    size_t count;
    const cJSON *map = NULL;
    bool ok = index != NULL && llava_json_object(c->source, index, "weight_map", &map, e);
    if (ok && map == NULL) {
        ok = llava_fail(e, "%s: weight_map: is missing", c->source);
    }
    ok = ok && list_shards(c->source, map, &names, &count, e) &&
         open_files(c, folder, names, count, e) && fill_entries(c, e) && build_names(c, map, e);
    free((void *)names);
    cJSON_Delete(index);
    return ok;
}

/* Decides between the single file and the index. */
static bool open_folder(llava_checkpoint *c, const char *folder, llava_error *warning,
                        llava_error *e)
{
    char *single = llava_path(e, folder, SINGLE);
    char *index = single == NULL ? NULL : llava_path(e, folder, INDEX);
    if (index == NULL) {
        free(single);
        return false;
    }
    bool has_single = llava_file_exists(single), has_index = llava_file_exists(index);
    if (warning != NULL) {
        warning->text[0] = '\0';
        if (has_single && has_index) {
            llava_fail(warning, "%s: is read; %s beside it is not", single, INDEX);
        }
    }
    c->source = has_single ? single : index;
    free(has_single ? index : single);
    if (!has_single && !has_index) {
        return llava_fail(e, "%s: holds neither %s nor %s", folder, SINGLE, INDEX);
    }
    return has_single ? open_single(c, folder, e) : open_sharded(c, folder, e);
}

static bool open_spelt(llava_checkpoint **checkpoint, const char *folder, spelling spelt,
                       llava_error *warning, llava_error *e)
{
    *checkpoint = NULL;
    llava_checkpoint *c = llava_alloc(e, 1, sizeof *c);
    if (c == NULL) {
        return false;
    }
    c->spelling = spelt;
    if (!open_folder(c, folder, warning, e)) {
        llava_checkpoint_close(c);
        return false;
    }
    *checkpoint = c;
    return true;
}

bool llava_checkpoint_open(llava_checkpoint **checkpoint, const char *folder, llava_error *warning,
                           llava_error *e)
{
    return open_spelt(checkpoint, folder, SPELT_RELEASED, warning, e);
}

/* Has the folder weights? A tower's may lie in the model's own folder. */
static bool has_weights(const char *folder)
{
    return llava_file_in(folder, SINGLE) || llava_file_in(folder, INDEX);
}

bool llava_checkpoint_open_original(llava_checkpoint **checkpoint, const char *folder,
                                    const char *tower, llava_error *warning, llava_error *e)
{
    if (!open_spelt(checkpoint, folder, SPELT_ORIGINAL, warning, e)) {
        return false;
    }
    if (!has_weights(tower) || open_spelt(&(*checkpoint)->tower, tower, SPELT_TOWER, NULL, e)) {
        return true;
    }
    llava_checkpoint_close(*checkpoint);
    *checkpoint = NULL;
    return false;
}

void llava_checkpoint_close(llava_checkpoint *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; c->entries != NULL && i < c->count; i++) {
        free(c->entries[i].canonical);
    }
    for (size_t i = 0; i < c->file_count; i++) {
        llava_safetensors_close(&c->files[i]);
    }
    llava_checkpoint_close(c->tower);
    free(c->known);
    free(c->entries);
    free(c->files);
    free(c->source);
    free(c);
}

/* ---- Looking up ---- */

static entry *find(const llava_checkpoint *c, const char *canonical)
{
    size_t low = 0, high = c->known_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(canonical, c->known[middle]->canonical);
        if (order == 0) {
            c->known[middle]->used = true;
            return c->known[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return c->tower == NULL ? NULL : find(c->tower, canonical);
}

const llava_weight *llava_checkpoint_find(const llava_checkpoint *checkpoint, const char *canonical)
{
    const entry *found = find(checkpoint, canonical);
    return found == NULL ? NULL : &found->weight;
}

/* Room for eight extents of 20 digits. */
#define SHAPE_TEXT 200

/* "[2, 3]" */
static void write_shape(char text[SHAPE_TEXT], int rank, const size_t *shape)
{
    size_t at = (size_t)snprintf(text, SHAPE_TEXT, "[");
    for (int i = 0; i < rank; i++) {
        at += (size_t)snprintf(text + at, SHAPE_TEXT - at, "%s%zu", i == 0 ? "" : ", ", shape[i]);
    }
    snprintf(text + at, SHAPE_TEXT - at, "]");
}

static bool same_shape(const llava_weight *weight, int rank, const size_t *shape)
{
    bool same = weight->rank == rank;
    for (int i = 0; same && i < rank; i++) {
        same = weight->shape[i] == shape[i];
    }
    return same;
}

bool llava_checkpoint_need(const llava_checkpoint *checkpoint, llava_weight *weight,
                           const char *canonical, int rank, const size_t *shape, llava_error *e)
{
    const entry *found = find(checkpoint, canonical);
    if (found == NULL) {
        return llava_fail(e, "%s: tensor '%.200s' is missing", checkpoint->source, canonical);
    }
    *weight = found->weight;
    if (!found->is_float) {
        return llava_fail(
            e, "%s: tensor '%.200s' has the type %s, where F64, F32, F16 or BF16 is meant",
            weight->file, weight->name, found->type_name);
    }
    if (!same_shape(weight, rank, shape)) {
        char has[SHAPE_TEXT], needs[SHAPE_TEXT];
        write_shape(has, weight->rank, weight->shape);
        write_shape(needs, rank, shape);
        return llava_fail(e, "%s: tensor '%.200s' has the shape %s, where config.json means %s",
                          weight->file, weight->name, has, needs);
    }
    return true;
}

/* ---- Listing ---- */

/* A tower's own folder stands behind the model's. */

size_t llava_checkpoint_count(const llava_checkpoint *c)
{
    return c->count + (c->tower == NULL ? 0 : c->tower->count);
}

llava_checkpoint_entry llava_checkpoint_at(const llava_checkpoint *c, size_t i)
{
    if (i >= c->count) {
        return llava_checkpoint_at(c->tower, i - c->count);
    }
    const entry *e = &c->entries[i];
    return (llava_checkpoint_entry){
        .weight = e->weight, .type_name = e->type_name, .used = e->used};
}

size_t llava_checkpoint_files(const llava_checkpoint *c)
{
    return c->file_count + (c->tower == NULL ? 0 : c->tower->file_count);
}

void llava_checkpoint_header(const llava_checkpoint *c, size_t i, const char **path,
                             const uint8_t **bytes, size_t *n)
{
    if (i >= c->file_count) {
        llava_checkpoint_header(c->tower, i - c->file_count, path, bytes, n);
        return;
    }
    *path = c->files[i].path;
    *bytes = c->files[i].header;
    *n = c->files[i].header_size;
}
