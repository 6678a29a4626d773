/* The processor files of a model folder (spec 6.1, 6.2, 6.9).
 *
 * save_pretrained of today writes the image processor into processor_config.json; before, it stood
 * alone in preprocessor_config.json. Where a folder has both, transformers 5.23 takes the former.
 */
#include "config.h"

#include "file.h"
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest edge, in pixels, that a resize or crop may ask for. */
#define MAX_EDGE 16384u

/* An image processor being read. */
typedef struct {
    const char *path;
    const cJSON *root; /* the object that holds its keys */
    bool pads;         /* LlavaImageProcessor: do_pad makes the picture a square first */
    llava_error *e;
} source;

static bool refuse(const source *s, const char *key, const char *what)
{
    return llava_fail(s->e, "%s: %s: %s", s->path, key, what);
}

/* CLIPImageProcessor and LlavaImageProcessor have the same defaults, do_pad apart. */
static void set_defaults(llava_processor *p)
{
    *p = (llava_processor){
        .do_resize = true,
        .do_center_crop = true,
        .do_rescale = true,
        .do_normalize = true,
        .shortest_edge = 224,
        .crop_height = 224,
        .crop_width = 224,
        .resample = LLAVA_RESAMPLE_BICUBIC,
        .rescale_factor = 1.0 / 255.0,
        .mean = {0.48145466, 0.4578275, 0.40821073},
        .std = {0.26862954, 0.26130258, 0.27577711},
        .select = LLAVA_SELECT_FULL,
        .image_token = "<image>",
    };
}

/* Which of the two classes; a file that names none gets LLaVA's own, as in transformers. The
 * endings name other backends of the same class. */
static bool read_type(source *s)
{
    const char *type = NULL, *old = NULL;
    if (!llava_json_string(s->path, s->root, "image_processor_type", &type, s->e) ||
        !llava_json_string(s->path, s->root, "feature_extractor_type", &old, s->e)) {
        return false;
    }
    if (type == NULL && old != NULL && strcmp(old, "CLIPFeatureExtractor") != 0) {
        return llava_fail(s->e, "%s: feature_extractor_type: '%.200s' is not supported yet",
                          s->path, old);
    }
    if (type == NULL) {
        s->pads = old == NULL;
        return true;
    }
    static const char *const bases[] = {"CLIPImageProcessor", "LlavaImageProcessor"};
    static const char *const endings[] = {"", "Fast", "Pil", "PilFast"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(bases[i]);
        for (size_t k = 0; k < sizeof endings / sizeof *endings; k++) {
            if (strncmp(type, bases[i], n) == 0 && strcmp(type + n, endings[k]) == 0) {
                s->pads = i == 1;
                return true;
            }
        }
    }
    return llava_fail(s->e,
                      "%s: image_processor_type: '%.200s' is not supported yet (supported: "
                      "CLIPImageProcessor, LlavaImageProcessor)",
                      s->path, type);
}

/* In an image processor null is not "absent": transformers sets it over the class's default. */
static bool is_null(const source *s, const char *key)
{
    return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(s->root, key));
}

static bool read_flag(const source *s, const char *key, bool *flag)
{
    if (is_null(s, key)) {
        *flag = false;
        return true;
    }
    return llava_json_bool(s->path, s->root, key, flag, s->e);
}

static bool read_flags(const source *s, llava_processor *p)
{
    bool rgb = true, square = false;
    if (!read_flag(s, "do_pad", &p->do_pad) || !read_flag(s, "do_resize", &p->do_resize) ||
        !read_flag(s, "do_center_crop", &p->do_center_crop) ||
        !read_flag(s, "do_rescale", &p->do_rescale) ||
        !read_flag(s, "do_normalize", &p->do_normalize) || !read_flag(s, "do_convert_rgb", &rgb) ||
        !read_flag(s, "use_square_size", &square)) {
        return false;
    }
    if (p->do_pad && !s->pads) {
        return refuse(s, "do_pad", "is supported in LlavaImageProcessor only");
    }
    if (!rgb) {
        return refuse(s, "do_convert_rgb", "false is not supported yet");
    }
    return !square || refuse(s, "use_square_size", "true is not supported yet");
}

static bool read_edge(const source *s, const cJSON *item, const char *key, size_t *edge)
{
    int64_t number;
    if (!llava_json_item_int(s->path, item, key, &number, s->e)) {
        return false;
    }
    if (number < 1 || number > MAX_EDGE) {
        return refuse(s, key, "must be from 1 to 16384");
    }
    *edge = (size_t)number;
    return true;
}

/* The forms that a size is written in. Exactly one of (height, width) and shortest is set. */
typedef struct {
    size_t height, width, shortest;
} size_forms;

/* {"shortest_edge": s} or {"height": h, "width": w}. */
static bool read_size_object(const source *s, const cJSON *object, const char *key,
                             size_forms *forms)
{
    const cJSON *shortest = cJSON_GetObjectItemCaseSensitive(object, "shortest_edge");
    const cJSON *height = cJSON_GetObjectItemCaseSensitive(object, "height");
    const cJSON *width = cJSON_GetObjectItemCaseSensitive(object, "width");
    int members = cJSON_GetArraySize(object);
    if (shortest != NULL && members == 1) {
        return read_edge(s, shortest, key, &forms->shortest);
    }
    if (height != NULL && width != NULL && members == 2) {
        return read_edge(s, height, key, &forms->height) && read_edge(s, width, key, &forms->width);
    }
    return refuse(s, key, "must hold shortest_edge, or height and width, and nothing else");
}

/* A number (a square where `square`, else the shortest edge), [height, width], or an object.
 * *forms stays as it is where the key is absent. */
static bool read_size(const source *s, const char *key, bool square, size_forms *forms)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(s->root, key);
    if (value == NULL || cJSON_IsNull(value)) {
        return true;
    }
    *forms = (size_forms){0};
    if (cJSON_IsObject(value)) {
        return read_size_object(s, value, key, forms);
    }
    if (cJSON_IsArray(value)) {
        if (cJSON_GetArraySize(value) != 2) {
            return refuse(s, key, "must be [height, width]");
        }
        return read_edge(s, value->child, key, &forms->height) &&
               read_edge(s, value->child->next, key, &forms->width);
    }
    if (!square) {
        return read_edge(s, value, key, &forms->shortest);
    }
    if (!read_edge(s, value, key, &forms->height)) {
        return false;
    }
    forms->width = forms->height;
    return true;
}

static bool read_sizes(const source *s, llava_processor *p)
{
    bool square = false;
    size_forms resize = {.shortest = p->shortest_edge};
    size_forms crop = {.height = p->crop_height, .width = p->crop_width};
    if (!read_flag(s, "default_to_square", &square) || !read_size(s, "size", square, &resize) ||
        !read_size(s, "crop_size", true, &crop)) {
        return false;
    }
    p->shortest_edge = resize.shortest;
    p->resize_height = resize.height;
    p->resize_width = resize.width;
    p->crop_height = crop.height;
    p->crop_width = crop.width;
    return crop.shortest == 0 || refuse(s, "crop_size", "must hold height and width");
}

/* Three numbers, or one for all three channels. */
static bool read_channels(const source *s, const char *key, double values[3])
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(s->root, key);
    if (value == NULL || cJSON_IsNull(value)) {
        return true;
    }
    bool is_list = cJSON_IsArray(value);
    if (is_list && cJSON_GetArraySize(value) != 3) {
        return refuse(s, key, "must hold three numbers");
    }
    const cJSON *item = is_list ? value->child : value;
    for (int i = 0; i < 3; i++) {
        if (!cJSON_IsNumber(item)) {
            return refuse(s, key, "must hold numbers");
        }
        values[i] = item->valuedouble;
        item = is_list ? item->next : item;
    }
    return true;
}

static bool read_numbers(const source *s, llava_processor *p)
{
    /* Both backends take bilinear where the resampling is null. */
    size_t resample = is_null(s, "resample") ? LLAVA_RESAMPLE_BILINEAR : p->resample;
    if (!llava_json_size(s->path, s->root, "resample", &resample, s->e) ||
        !llava_json_double(s->path, s->root, "rescale_factor", &p->rescale_factor, s->e) ||
        !read_channels(s, "image_mean", p->mean) || !read_channels(s, "image_std", p->std)) {
        return false;
    }
    if (resample > LLAVA_RESAMPLE_HAMMING) {
        return refuse(s, "resample", "must be from 0 to 5");
    }
    p->resample = (llava_resample)resample;
    if (!(p->rescale_factor > 0)) {
        return refuse(s, "rescale_factor", "must be a positive number");
    }
    if (!(p->std[0] > 0 && p->std[1] > 0 && p->std[2] > 0)) {
        return refuse(s, "image_std", "must hold positive numbers");
    }
    return true;
}

/* A step that is on needs its values. */
static bool refuse_nulls(const source *s, const llava_processor *p)
{
    const struct {
        const char *key;
        bool needed;
    } keys[] = {
        {"size", p->do_resize},
        {"crop_size", p->do_center_crop},
        {"rescale_factor", p->do_rescale},
        {"image_mean", p->do_normalize || p->do_pad},
        {"image_std", p->do_normalize},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i].needed && is_null(s, keys[i].key)) {
            return refuse(s, keys[i].key, "must not be null");
        }
    }
    return true;
}

static bool read_image_processor(const char *path, const cJSON *root, llava_processor *p,
                                 llava_error *e)
{
    source s = {path, root, false, e};
    if (!cJSON_IsObject(root)) {
        return llava_fail(e, "%s: must be an object", path);
    }
    return read_type(&s) && read_flags(&s, p) && refuse_nulls(&s, p) && read_sizes(&s, p) &&
           read_numbers(&s, p);
}

/* ---- processor_config.json ---- */

/* A strategy that the file does not name drops no row from the count, as in transformers. */
static bool read_strategy(const source *s, llava_processor *p)
{
    const char *key = "vision_feature_select_strategy";
    const char *word = "full";
    if (!llava_json_string(s->path, s->root, key, &word, s->e)) {
        return false;
    }
    p->select = strcmp(word, "default") == 0 ? LLAVA_SELECT_DEFAULT : LLAVA_SELECT_FULL;
    return p->select == LLAVA_SELECT_DEFAULT || strcmp(word, "full") == 0 ||
           refuse(s, key, "must be 'default' or 'full'");
}

static bool read_image_token(const source *s, llava_processor *p)
{
    const char *key = "image_token";
    const char *text = p->image_token;
    if (!llava_json_string(s->path, s->root, key, &text, s->e)) {
        return false;
    }
    size_t n = strlen(text);
    if (n == 0 || n >= sizeof p->image_token) {
        return refuse(s, key, "must have 1 to 127 bytes");
    }
    memmove(p->image_token, text, n + 1);
    return true;
}

/* The fields around the image processor. Early files name nothing but the class: without a patch
 * size the counts come from the model's own config. */
static bool read_processor(const source *s, llava_processor *p)
{
    const char *class = "LlavaProcessor";
    if (!llava_json_string(s->path, s->root, "processor_class", &class, s->e)) {
        return false;
    }
    if (strcmp(class, "LlavaProcessor") != 0) {
        return llava_fail(s->e,
                          "%s: processor_class: '%.200s' is not supported yet (supported: "
                          "LlavaProcessor)",
                          s->path, class);
    }
    if (!llava_json_size(s->path, s->root, "patch_size", &p->patch_size, s->e) ||
        !llava_json_size(s->path, s->root, "num_additional_image_tokens", &p->additional_tokens,
                         s->e) ||
        !read_strategy(s, p) || !read_image_token(s, p)) {
        return false;
    }
    p->has_processor = llava_json_has(s->root, "patch_size");
    if (p->has_processor && (p->patch_size < 1 || p->patch_size > MAX_EDGE)) {
        return refuse(s, "patch_size", "must be from 1 to 16384");
    }
    return p->additional_tokens <= MAX_EDGE ||
           refuse(s, "num_additional_image_tokens", "must be at most 16384");
}

/* Reads the file where it is there; *has_image tells whether it held an image processor. */
static bool read_processor_file(const char *path, llava_processor *p, bool *has_image,
                                llava_error *e)
{
    cJSON *root = llava_json_read(path, e);
    if (root == NULL) {
        return false;
    }
    source s = {path, root, false, e};
    const cJSON *image = NULL;
    bool ok = cJSON_IsObject(root) || llava_fail(e, "%s: must be an object", path);
    ok = ok && llava_json_object(path, root, "image_processor", &image, e) &&
         read_processor(&s, p) && (image == NULL || read_image_processor(path, image, p, e));
    *has_image = image != NULL;
    cJSON_Delete(root);
    return ok;
}

static bool read_preprocessor_file(const char *path, llava_processor *p, llava_error *e)
{
    cJSON *root = llava_json_read(path, e);
    bool ok = root != NULL && read_image_processor(path, root, p, e);
    cJSON_Delete(root);
    return ok;
}

bool llava_processor_read(llava_processor *processor, const char *folder, llava_error *e)
{
    set_defaults(processor);
    char *outer = llava_path(e, folder, "processor_config.json");
    char *inner = outer == NULL ? NULL : llava_path(e, folder, "preprocessor_config.json");
    bool has_image = false;
    bool ok = inner != NULL;
    if (ok && llava_file_exists(outer)) {
        ok = read_processor_file(outer, processor, &has_image, e);
    }
    if (ok && !has_image) {
        ok = llava_file_exists(inner)
                 ? read_preprocessor_file(inner, processor, e)
                 : llava_fail(e,
                              "%s: is missing, and processor_config.json holds no image_processor",
                              inner);
    }
    free(inner);
    free(outer);
    return ok;
}
