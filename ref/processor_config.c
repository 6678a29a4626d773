/* The processor files of a model folder (spec 6.1, 6.2, 6.9 to 6.11).
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

/* Pixtral's patch size, where no file names one. */
#define PIXTRAL_PATCH 16

/* A file being read. */
typedef struct {
    const char *path;
    const cJSON *root; /* the object that holds its keys */
    llava_error *e;
} source;

static bool refuse(const source *s, const char *key, const char *what)
{
    return llava_fail(s->e, "%s: %s: %s", s->path, key, what);
}

/* ---- the image processor's class and its defaults ---- */

/* Sets the image processor's part of *p; the rest stays. */
static void set_defaults(llava_processor *p, llava_images images)
{
    static const double clip_mean[3] = {0.48145466, 0.4578275, 0.40821073};
    static const double clip_std[3] = {0.26862954, 0.26130258, 0.27577711};
    bool siglip = images == LLAVA_IMAGES_SIGLIP, pixtral = images == LLAVA_IMAGES_PIXTRAL;
    bool crops = !siglip && !pixtral;
    p->images = images;
    p->do_resize = p->do_rescale = p->do_normalize = true;
    p->do_center_crop = crops;
    p->do_pad = pixtral;
    p->shortest_edge = crops ? 224 : 0;
    p->resize_height = p->resize_width = siglip ? 224 : pixtral ? 1024 : 0;
    p->crop_height = p->crop_width = crops ? 224 : 0;
    p->grid_height = p->grid_width = pixtral ? PIXTRAL_PATCH : 0;
    p->resample = LLAVA_RESAMPLE_BICUBIC;
    p->rescale_factor = 1.0 / 255.0;
    for (int c = 0; c < 3; c++) {
        p->mean[c] = siglip ? 0.5 : clip_mean[c];
        p->std[c] = siglip ? 0.5 : clip_std[c];
    }
}

/* A class's name, as it stands or with the ending of another backend of the same class. */
static bool find_images(const char *type, const char *class_ending, llava_images *images)
{
    static const char *const bases[] = {[LLAVA_IMAGES_CLIP] = "CLIP",
                                        [LLAVA_IMAGES_LLAVA] = "Llava",
                                        [LLAVA_IMAGES_SIGLIP] = "Siglip",
                                        [LLAVA_IMAGES_PIXTRAL] = "Pixtral"};
    static const char *const backends[] = {"", "Fast", "Pil", "PilFast"};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        for (size_t k = 0; k < sizeof backends / sizeof *backends; k++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s%s", bases[i], class_ending, backends[k]);
            if (strcmp(type, name) == 0) {
                *images = (llava_images)i;
                return true;
            }
        }
    }
    return false;
}

/* Which class; a file that names none gets LLaVA's own, as in transformers, and the old key is read
 * where there is no new one. */
static bool read_type(const source *s, llava_processor *p)
{
    const char *type = NULL, *old = NULL;
    if (!llava_json_string(s->path, s->root, "image_processor_type", &type, s->e) ||
        !llava_json_string(s->path, s->root, "feature_extractor_type", &old, s->e)) {
        return false;
    }
    llava_images images = LLAVA_IMAGES_LLAVA;
    bool known = type != NULL  ? find_images(type, "ImageProcessor", &images)
                 : old != NULL ? find_images(old, "FeatureExtractor", &images)
                               : true;
    set_defaults(p, images);
    return known ||
           llava_fail(s->e,
                      "%s: %s: '%.200s' is not supported (supported: CLIPImageProcessor, "
                      "LlavaImageProcessor, SiglipImageProcessor, PixtralImageProcessor)",
                      s->path, type != NULL ? "image_processor_type" : "feature_extractor_type",
                      type != NULL ? type : old);
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

/* do_convert_rgb changes nothing: a picture file is loaded as RGB. */
static bool read_flags(const source *s, llava_processor *p)
{
    bool square = false;
    if (!read_flag(s, "do_pad", &p->do_pad) || !read_flag(s, "do_resize", &p->do_resize) ||
        !read_flag(s, "do_center_crop", &p->do_center_crop) ||
        !read_flag(s, "do_rescale", &p->do_rescale) ||
        !read_flag(s, "do_normalize", &p->do_normalize) ||
        !read_flag(s, "use_square_size", &square)) {
        return false;
    }
    if (p->do_pad && p->images != LLAVA_IMAGES_LLAVA && p->images != LLAVA_IMAGES_PIXTRAL) {
        return refuse(s, "do_pad",
                      "is supported in LlavaImageProcessor and PixtralImageProcessor "
                      "only");
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
    bool longest; /* height and width were given as a longest edge */
} size_forms;

static bool read_square(const source *s, const cJSON *item, const char *key, size_forms *forms)
{
    if (!read_edge(s, item, key, &forms->height)) {
        return false;
    }
    forms->width = forms->height;
    return true;
}

/* {"shortest_edge": s} or {"height": h, "width": w}; {"longest_edge": l} is the latter with both
 * the same, for Pixtral, where they are the most a picture may have. */
static bool read_size_object(const source *s, const cJSON *object, const char *key,
                             size_forms *forms)
{
    const cJSON *shortest = cJSON_GetObjectItemCaseSensitive(object, "shortest_edge");
    const cJSON *longest = cJSON_GetObjectItemCaseSensitive(object, "longest_edge");
    const cJSON *height = cJSON_GetObjectItemCaseSensitive(object, "height");
    const cJSON *width = cJSON_GetObjectItemCaseSensitive(object, "width");
    int members = cJSON_GetArraySize(object);
    if (shortest != NULL && members == 1) {
        return read_edge(s, shortest, key, &forms->shortest);
    }
    if (longest != NULL && members == 1) {
        forms->longest = true;
        return read_square(s, longest, key, forms);
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
    return square ? read_square(s, value, key, forms) : read_edge(s, value, key, &forms->shortest);
}

static bool read_sizes(const source *s, llava_processor *p)
{
    bool pixtral = p->images == LLAVA_IMAGES_PIXTRAL;
    bool square = pixtral; /* default_to_square */
    size_forms resize = {p->resize_height, p->resize_width, p->shortest_edge, pixtral};
    size_forms crop = {.height = p->crop_height, .width = p->crop_width};
    size_forms grid = {.height = p->grid_height, .width = p->grid_width};
    if (!read_flag(s, "default_to_square", &square) || !read_size(s, "size", square, &resize) ||
        !read_size(s, "crop_size", true, &crop) ||
        (pixtral && !read_size(s, "patch_size", true, &grid))) {
        return false;
    }
    if (pixtral ? resize.shortest > 0 : resize.longest) {
        return refuse(s, "size",
                      pixtral ? "must hold longest_edge, or height and width"
                              : "longest_edge is for PixtralImageProcessor only");
    }
    p->shortest_edge = resize.shortest;
    p->resize_height = resize.height;
    p->resize_width = resize.width;
    p->crop_height = crop.height;
    p->crop_width = crop.width;
    p->grid_height = grid.height;
    p->grid_width = grid.width;
    if (crop.shortest > 0 || crop.longest || grid.shortest > 0 || grid.longest) {
        bool of_crop = crop.shortest > 0 || crop.longest;
        return refuse(s, of_crop ? "crop_size" : "patch_size", "must hold height and width");
    }
    return !p->do_center_crop || p->crop_height > 0 ||
           refuse(s, "crop_size", "is missing, and do_center_crop is true");
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

/* The processor's class, by which placeholders are expanded. It stands in processor_config.json,
 * where another one is refused, or beside the image processor's keys, where it may be that of the
 * model which the processor was taken from. */
static bool read_class(const source *s, bool refuse_others, llava_processor *p)
{
    static const char *const names[] = {
        [LLAVA_PROCESSOR_LLAVA] = "LlavaProcessor", [LLAVA_PROCESSOR_PIXTRAL] = "PixtralProcessor"};
    const char *class = NULL;
    if (!llava_json_string(s->path, s->root, "processor_class", &class, s->e)) {
        return false;
    }
    for (size_t i = LLAVA_PROCESSOR_LLAVA; class != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(class, names[i]) == 0) {
            p->class = (llava_processor_class)i;
            return true;
        }
    }
    return class == NULL || !refuse_others ||
           llava_fail(s->e,
                      "%s: processor_class: '%.200s' is not supported (supported: LlavaProcessor, "
                      "PixtralProcessor)",
                      s->path, class);
}

static bool read_image_processor(const char *path, const cJSON *root, llava_processor *p,
                                 llava_error *e)
{
    source s = {path, root, e};
    if (!cJSON_IsObject(root)) {
        return llava_fail(e, "%s: must be an object", path);
    }
    return (p->class != LLAVA_PROCESSOR_UNNAMED || read_class(&s, false, p)) && read_type(&s, p) &&
           read_flags(&s, p) && refuse_nulls(&s, p) && read_sizes(&s, p) && read_numbers(&s, p);
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

/* *text stays as it is where the key is absent. */
static bool read_token(const source *s, const char *key, char text[128])
{
    const char *given = NULL;
    if (!llava_json_string(s->path, s->root, key, &given, s->e)) {
        return false;
    }
    if (given == NULL) {
        return true;
    }
    size_t n = strlen(given);
    if (n == 0 || n >= 128) {
        return refuse(s, key, "must have 1 to 127 bytes");
    }
    memcpy(text, given, n + 1);
    return true;
}

static bool read_patch_size(const source *s, llava_processor *p)
{
    size_t merge = 1;
    if (!llava_json_size(s->path, s->root, "patch_size", &p->patch_size, s->e) ||
        !llava_json_size(s->path, s->root, "spatial_merge_size", &merge, s->e)) {
        return false;
    }
    p->has_processor = llava_json_has(s->root, "patch_size");
    if (p->has_processor && (p->patch_size < 1 || p->patch_size > MAX_EDGE)) {
        return refuse(s, "patch_size", "must be from 1 to 16384");
    }
    if (p->class == LLAVA_PROCESSOR_PIXTRAL && (merge < 1 || merge > MAX_EDGE)) {
        return refuse(s, "spatial_merge_size", "must be from 1 to 16384");
    }
    if (p->class == LLAVA_PROCESSOR_PIXTRAL) {
        p->patch_size = (p->has_processor ? p->patch_size : PIXTRAL_PATCH) * merge;
        p->has_processor = true;
    }
    return true;
}

/* The fields around the image processor. Early files name nothing but the class: without a patch
 * size LLaVA's counts come from the model's own config. */
static bool read_processor(const source *s, llava_processor *p)
{
    if (!read_class(s, true, p) || !read_patch_size(s, p) ||
        !llava_json_size(s->path, s->root, "num_additional_image_tokens", &p->additional_tokens,
                         s->e) ||
        !read_strategy(s, p) || !read_token(s, "image_token", p->image_token) ||
        !read_token(s, "image_break_token", p->image_break_token) ||
        !read_token(s, "image_end_token", p->image_end_token)) {
        return false;
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
    source s = {path, root, e};
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

/* PixtralProcessor hands its own patch size to the image processor, whatever that one's file says,
 * and needs the sizes that only Pixtral's gives. */
static bool join(llava_processor *p, const char *folder, llava_error *e)
{
    if (p->class != LLAVA_PROCESSOR_PIXTRAL) {
        return true;
    }
    if (p->images != LLAVA_IMAGES_PIXTRAL) {
        return llava_fail(e, "%s: processor_class: PixtralProcessor needs a PixtralImageProcessor",
                          folder);
    }
    if (!p->has_processor) { /* named beside the image processor's keys only */
        p->has_processor = true;
        p->patch_size = PIXTRAL_PATCH;
    }
    p->grid_height = p->grid_width = p->patch_size;
    return true;
}

bool llava_processor_read(llava_processor *processor, const char *folder, llava_error *e)
{
    *processor = (llava_processor){.select = LLAVA_SELECT_FULL};
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
    return ok && join(processor, folder, e);
}
