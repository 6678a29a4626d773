/* tokenizer.json: the pipeline. The added tokens are in tokenizer_added.c. */
#include "tokenizer_parts.h"

#include "file.h"

#include <stdlib.h>
#include <string.h>

/* ---- Steps of a normaliser and of a decoder ---- */

static bool unsupported(const char *name, const char *place, const char *type, llava_error *e)
{
    return llava_fail(e, "%s: %s %.60s is not supported yet", name, place, type);
}

/* The object's "type"; NULL where it has none. */
static const char *read_type(const char *name, const char *place, const cJSON *object,
                             llava_error *e)
{
    const char *type = NULL;
    if (!cJSON_IsObject(object)) {
        llava_fail(e, "%s: %s is not an object", name, place);
    } else if (llava_json_string(name, object, "type", &type, e) && type == NULL) {
        llava_fail(e, "%s: type is missing (%s)", name, place);
    }
    return type;
}

/* A string member that must be there, copied. */
static bool copy_string(const char *name, const cJSON *object, const char *key, char **text,
                        size_t *n, llava_error *e)
{
    const char *found = NULL;
    if (!llava_json_string(name, object, key, &found, e)) {
        return false;
    }
    if (found == NULL) {
        return llava_fail(e, "%s: %s is missing", name, key);
    }
    *n = strlen(found);
    *text = llava_text(e, found, *n);
    return *text != NULL || llava_fail_in(e, name);
}

/* A member that is exactly one character. */
static bool copy_character(const char *name, const cJSON *object, const char *key, char **text,
                           size_t *n, llava_error *e)
{
    uint32_t point;
    if (!copy_string(name, object, key, text, n, e)) {
        return false;
    }
    if (*n == 0 || llava_utf8_next(*text, *n, &point) != *n) {
        return llava_fail(e, "%s: %s is not one character", name, key);
    }
    return true;
}

static bool read_prepend_scheme(const char *name, const cJSON *object, llava_prepend *prepend,
                                llava_error *e)
{
    static const char *const names[] = {"always", "first", "never"};
    const char *scheme = "always";
    bool prefix = true;
    if (!llava_json_string(name, object, "prepend_scheme", &scheme, e) ||
        !llava_json_bool(name, object, "add_prefix_space", &prefix, e)) {
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(scheme, names[i]) == 0) {
            *prepend = (llava_prepend)i;
            if (!prefix && *prepend != LLAVA_PREPEND_NEVER) {
                return llava_fail(e, "%s: add_prefix_space contradicts prepend_scheme %s", name,
                                  scheme);
            }
            return true;
        }
    }
    return llava_fail(e, "%s: prepend_scheme %.60s is unknown", name, scheme);
}

static bool read_replace(const char *name, const char *place, const cJSON *object, llava_step *step,
                         llava_error *e)
{
    const cJSON *pattern = NULL;
    if (!llava_json_object(name, object, "pattern", &pattern, e) ||
        !copy_string(name, object, "content", &step->content, &step->content_n, e)) {
        return false;
    }
    if (pattern == NULL || !llava_json_has(pattern, "String")) {
        return unsupported(name, place, "Replace of a Regex", e);
    }
    if (!copy_string(name, pattern, "String", &step->pattern, &step->pattern_n, e)) {
        return false;
    }
    if (step->pattern_n == 0 || step->pattern_n > LLAVA_MAX_PATTERN) {
        return llava_fail(e, "%s: a pattern of %zu bytes is not supported (%s)", name,
                          step->pattern_n, place);
    }
    return true;
}

/* The kinds that each place takes. */
static bool normalizer_step(const char *name, const char *type, const cJSON *object,
                            llava_step *step, llava_error *e)
{
    if (strcmp(type, "Prepend") == 0) {
        step->kind = LLAVA_STEP_PREPEND;
        return copy_string(name, object, "prepend", &step->content, &step->content_n, e);
    }
    if (strcmp(type, "Replace") == 0) {
        step->kind = LLAVA_STEP_REPLACE;
        return read_replace(name, "normalizer", object, step, e);
    }
    if (strcmp(type, "NFC") == 0) {
        step->kind = LLAVA_STEP_NFC;
        return true;
    }
    return unsupported(name, "normalizer", type, e);
}

static bool decoder_step(const char *name, const char *type, const cJSON *object, llava_step *step,
                         llava_error *e)
{
    if (strcmp(type, "Replace") == 0) {
        step->kind = LLAVA_STEP_REPLACE;
        return read_replace(name, "decoder", object, step, e);
    }
    if (strcmp(type, "ByteFallback") == 0 || strcmp(type, "Fuse") == 0) {
        step->kind = type[0] == 'B' ? LLAVA_STEP_BYTE_FALLBACK : LLAVA_STEP_FUSE;
        return true;
    }
    if (strcmp(type, "ByteLevel") == 0) {
        step->kind = LLAVA_STEP_BYTE_LEVEL;
        return true;
    }
    if (strcmp(type, "Strip") == 0) {
        step->kind = LLAVA_STEP_STRIP;
        return llava_json_size(name, object, "start", &step->strip_start, e) &&
               llava_json_size(name, object, "stop", &step->strip_end, e) &&
               copy_character(name, object, "content", &step->content, &step->content_n, e);
    }
    if (strcmp(type, "Metaspace") == 0) {
        step->kind = LLAVA_STEP_METASPACE;
        return read_prepend_scheme(name, object, &step->prepend, e) &&
               copy_character(name, object, "replacement", &step->content, &step->content_n, e);
    }
    return unsupported(name, "decoder", type, e);
}

typedef bool step_reader(const char *name, const char *type, const cJSON *object, llava_step *step,
                         llava_error *e);

static bool add_step(const char *name, const char *place, const cJSON *object, step_reader *read,
                     llava_steps *steps, llava_error *e)
{
    const char *type = read_type(name, place, object, e);
    if (type == NULL) {
        return false;
    }
    if (steps->n == LLAVA_MAX_STEPS) {
        return llava_fail(e, "%s: more than %d steps (%s)", name, LLAVA_MAX_STEPS, place);
    }
    return read(name, type, object, &steps->at[steps->n++], e);
}

/* One step, a Sequence of steps (`list` is its key), or null. */
static bool read_steps(const char *name, const cJSON *root, const char *place, const char *list,
                       step_reader *read, llava_steps *steps, llava_error *e)
{
    const cJSON *object = NULL, *items = NULL;
    if (!llava_json_object(name, root, place, &object, e)) {
        return false;
    }
    if (object == NULL) {
        return true;
    }
    const char *type = read_type(name, place, object, e);
    if (type == NULL) {
        return false;
    }
    if (strcmp(type, "Sequence") != 0) {
        return add_step(name, place, object, read, steps, e);
    }
    if (!llava_json_array(name, object, list, &items, e)) {
        return false;
    }
    if (items == NULL) {
        return llava_fail(e, "%s: %s is missing (%s)", name, list, place);
    }
    for (const cJSON *item = items->child; item != NULL; item = item->next) {
        if (!add_step(name, place, item, read, steps, e)) {
            return false;
        }
    }
    return true;
}

/* ---- Pre-tokeniser ---- */

/* `first` means the piece whose offset in the given text is 0, and a normaliser that replaces the
 * text's beginning moves that offset in ways of its own (seen in the library). */
static bool check_first(const llava_tokenizer *t, llava_error *e)
{
    return t->pre.metaspace.prepend != LLAVA_PREPEND_FIRST || t->normalizer.n == 0 ||
           unsupported(t->path, "pre_tokenizer",
                       "Metaspace with prepend_scheme first behind a normalizer", e);
}

static bool read_metaspace(llava_tokenizer *t, const cJSON *object, llava_error *e)
{
    llava_step *meta = &t->pre.metaspace;
    t->pre.kind = LLAVA_PRE_METASPACE;
    t->pre.metaspace_splits = true;
    return llava_json_bool(t->path, object, "split", &t->pre.metaspace_splits, e) &&
           read_prepend_scheme(t->path, object, &meta->prepend, e) &&
           copy_character(t->path, object, "replacement", &meta->content, &meta->content_n, e) &&
           check_first(t, e);
}

/* trim_offsets changes no id. */
static bool read_byte_level(llava_tokenizer *t, const cJSON *object, llava_error *e)
{
    bool own_pattern = true;
    t->pre.kind = LLAVA_PRE_BYTE_LEVEL;
    if (!llava_json_bool(t->path, object, "add_prefix_space", &t->pre.prefix_space, e) ||
        !llava_json_bool(t->path, object, "use_regex", &own_pattern, e)) {
        return false;
    }
    t->pre.byte_split = own_pattern ? llava_split_pattern_byte_level() : NULL;
    return true;
}

static bool read_split(llava_tokenizer *t, const cJSON *object, llava_error *e)
{
    const cJSON *pattern = NULL;
    const char *regex = NULL, *behavior = "";
    bool invert = false;
    if (!llava_json_object(t->path, object, "pattern", &pattern, e) ||
        !llava_json_string(t->path, pattern, "Regex", &regex, e) ||
        !llava_json_string(t->path, object, "behavior", &behavior, e) ||
        !llava_json_bool(t->path, object, "invert", &invert, e)) {
        return false;
    }
    if (regex == NULL) {
        return unsupported(t->path, "pre_tokenizer", "Split by other than a Regex", e);
    }
    /* The patterns match every character: there is nothing between the matches to tell these apart.
     */
    bool matches =
        strcmp(behavior, "Isolated") == 0 || (strcmp(behavior, "Removed") == 0 && invert);
    if (!matches) {
        return unsupported(t->path, "pre_tokenizer", "Split that does not keep the matches apart",
                           e);
    }
    t->pre.split = llava_split_pattern_of(regex);
    return t->pre.split != NULL ||
           llava_fail(e,
                      "%s: the split pattern %.300s is none of the known ones (pre_tokenizer, "
                      "docs/contract.md section 11)",
                      t->path, regex);
}

/* A Sequence of Split and ByteLevel; either alone in one is taken, too, if it is ByteLevel. */
static bool read_pre_sequence(llava_tokenizer *t, const cJSON *object, llava_error *e)
{
    const cJSON *list = NULL;
    if (!llava_json_array(t->path, object, "pretokenizers", &list, e)) {
        return false;
    }
    for (const cJSON *item = list == NULL ? NULL : list->child; item != NULL; item = item->next) {
        const char *type = read_type(t->path, "pre_tokenizer", item, e);
        if (type == NULL) {
            return false;
        }
        bool split = strcmp(type, "Split") == 0;
        if (t->pre.kind != LLAVA_PRE_NONE ||
            (split ? t->pre.split != NULL : strcmp(type, "ByteLevel") != 0)) {
            return unsupported(t->path, "pre_tokenizer", "Sequence of other than Split, ByteLevel",
                               e);
        }
        if (!(split ? read_split(t, item, e) : read_byte_level(t, item, e))) {
            return false;
        }
    }
    return t->pre.kind == LLAVA_PRE_BYTE_LEVEL ||
           unsupported(t->path, "pre_tokenizer", "Sequence without ByteLevel", e);
}

static bool read_pre_tokenizer(llava_tokenizer *t, const cJSON *root, llava_error *e)
{
    const cJSON *object = NULL;
    if (!llava_json_object(t->path, root, "pre_tokenizer", &object, e)) {
        return false;
    }
    if (object == NULL) {
        return true;
    }
    const char *type = read_type(t->path, "pre_tokenizer", object, e);
    if (type == NULL) {
        return false;
    }
    if (strcmp(type, "Metaspace") == 0) {
        return read_metaspace(t, object, e);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        return read_byte_level(t, object, e);
    }
    return strcmp(type, "Sequence") == 0 ? read_pre_sequence(t, object, e)
                                         : unsupported(t->path, "pre_tokenizer", type, e);
}

/* ---- Post-processor ---- */

/* Appends the ids of one special token of the template. */
static bool template_token(const char *name, const cJSON *specials, const char *id,
                           llava_template_ids *to, llava_error *e)
{
    const cJSON *special = NULL, *ids = NULL;
    if (!llava_json_object(name, specials, id, &special, e) ||
        !llava_json_array(name, special, "ids", &ids, e)) {
        return false;
    }
    if (ids == NULL) {
        return llava_fail(e, "%s: %.60s has no ids (post_processor.special_tokens)", name, id);
    }
    for (const cJSON *item = ids->child; item != NULL; item = item->next) {
        int64_t value = 0;
        if (!llava_json_item_int(name, item, "post_processor ids", &value, e)) {
            return false;
        }
        if (value < 0 || value > INT32_MAX || to->n == LLAVA_MAX_TEMPLATE) {
            return llava_fail(e, "%s: the ids of %.60s are out of range (post_processor)", name,
                              id);
        }
        to->at[to->n++] = value;
    }
    return true;
}

/* One piece of the template; *seen: the text's own place was there. */
static bool template_piece(llava_tokenizer *t, const cJSON *piece, const cJSON *specials,
                           bool *seen, llava_error *e)
{
    const cJSON *sequence = NULL, *special = NULL;
    const char *id = NULL;
    if (!cJSON_IsObject(piece) || !llava_json_object(t->path, piece, "Sequence", &sequence, e) ||
        !llava_json_object(t->path, piece, "SpecialToken", &special, e) ||
        !llava_json_string(t->path, sequence != NULL ? sequence : special, "id", &id, e) ||
        id == NULL) {
        return llava_fail(
            e, "%s: a piece of the template is not understood (post_processor.single)", t->path);
    }
    if (sequence == NULL) {
        return template_token(t->path, specials, id, *seen ? &t->back : &t->front, e);
    }
    if (strcmp(id, "A") != 0 || *seen) {
        return llava_fail(e, "%s: the template must hold the text once (post_processor.single)",
                          t->path);
    }
    *seen = true;
    return true;
}

static bool read_template(llava_tokenizer *t, const cJSON *object, llava_error *e)
{
    const cJSON *single = NULL, *specials = NULL;
    bool seen = false;
    if (!llava_json_array(t->path, object, "single", &single, e) ||
        !llava_json_object(t->path, object, "special_tokens", &specials, e)) {
        return false;
    }
    size_t count = 0;
    for (const cJSON *p = single == NULL ? NULL : single->child; p != NULL; p = p->next) {
        if (count++ == LLAVA_MAX_TEMPLATE) {
            return llava_fail(e, "%s: more than %d pieces (post_processor.single)", t->path,
                              LLAVA_MAX_TEMPLATE);
        }
        if (!template_piece(t, p, specials, &seen, e)) {
            return false;
        }
    }
    return seen || llava_fail(e, "%s: the template must hold the text once (post_processor.single)",
                              t->path);
}

/* One post-processor; *templates counts those that put tokens around the text. */
static bool read_processor(llava_tokenizer *t, const cJSON *object, size_t *templates,
                           llava_error *e)
{
    const char *type = read_type(t->path, "post_processor", object, e);
    if (type == NULL) {
        return false;
    }
    if (strcmp(type, "ByteLevel") == 0) { /* it moves offsets only */
        return true;
    }
    if (strcmp(type, "TemplateProcessing") != 0) {
        return unsupported(t->path, "post_processor", type, e);
    }
    return ++*templates == 1 ? read_template(t, object, e)
                             : unsupported(t->path, "post_processor", "Sequence of templates", e);
}

static bool read_post_processor(llava_tokenizer *t, const cJSON *root, llava_error *e)
{
    const cJSON *object = NULL, *list = NULL;
    size_t templates = 0;
    if (!llava_json_object(t->path, root, "post_processor", &object, e)) {
        return false;
    }
    if (object == NULL) {
        return true;
    }
    const char *type = read_type(t->path, "post_processor", object, e);
    if (type == NULL) {
        return false;
    }
    if (strcmp(type, "Sequence") != 0) {
        return read_processor(t, object, &templates, e);
    }
    if (!llava_json_array(t->path, object, "processors", &list, e)) {
        return false;
    }
    if (list == NULL) {
        return llava_fail(e, "%s: processors is missing (post_processor)", t->path);
    }
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (!read_processor(t, item, &templates, e)) {
            return false;
        }
    }
    return true;
}

/* ---- The files ---- */

static bool read_version(const char *name, const cJSON *root, llava_error *e)
{
    const char *version = "1.0";
    if (!cJSON_IsObject(root)) {
        return llava_fail(e, "%s: not an object", name);
    }
    if (!llava_json_string(name, root, "version", &version, e)) {
        return false;
    }
    return strcmp(version, "1.0") == 0 || unsupported(name, "version", version, e);
}

static bool read_pipeline(llava_tokenizer *t, const cJSON *root, llava_error *e)
{
    const cJSON *model = NULL;
    if (!read_version(t->path, root, e) || !llava_json_object(t->path, root, "model", &model, e)) {
        return false;
    }
    if (model == NULL) {
        return llava_fail(e, "%s: model is missing", t->path);
    }
    t->has_decoder = llava_json_has(root, "decoder");
    /* the pre-tokeniser before the model: what is not supported there is refused by its name */
    return read_steps(t->path, root, "normalizer", "normalizers", normalizer_step, &t->normalizer,
                      e) &&
           read_pre_tokenizer(t, root, e) && read_post_processor(t, root, e) &&
           read_steps(t->path, root, "decoder", "decoders", decoder_step, &t->decoder, e) &&
           llava_bpe_read(&t->bpe, t->path, model, e);
}

/* Reads FOLDER/tokenizer_config.json; *config stays NULL where there is none. */
static bool read_config(const char *path, cJSON **config, llava_error *e)
{
    if (!llava_file_exists(path)) {
        return true;
    }
    *config = llava_json_read(path, e);
    if (*config == NULL) {
        return false;
    }
    return cJSON_IsObject(*config) || llava_fail(e, "%s: not an object", path);
}

bool llava_tokenizer_read(llava_tokenizer *t, const char *folder, llava_error *e)
{
    llava_byte_level_init(&t->bytes);
    t->path = llava_path(e, folder, "tokenizer.json");
    char *config_path = llava_path(e, folder, "tokenizer_config.json");
    cJSON *config = NULL;
    cJSON *root = t->path == NULL ? NULL : llava_json_read(t->path, e);
    bool good = root != NULL && config_path != NULL && read_config(config_path, &config, e) &&
                read_pipeline(t, root, e) &&
                llava_tokenizer_read_added(t, root, config_path, config, e);
    if (good && !llava_json_has(config, "added_tokens_decoder")) {
        good = llava_tokenizer_check_legacy(t, folder, e);
    }
    cJSON_Delete(root);
    cJSON_Delete(config);
    free(config_path);
    return good;
}
