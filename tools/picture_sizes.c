#include "tools/picture_sizes.h"

#include <stdlib.h>
#include <string.h>

bool llava_picture_sizes_put(cJSON *meta, const llava_plan *plan, const llava_inputs *in)
{
    if (plan->vision.tower != LLAVA_TOWER_PIXTRAL || in->pictures == 0) {
        return true;
    }
    cJSON *sizes = cJSON_AddArrayToObject(meta, "image_sizes");
    bool ok = sizes != NULL &&
              cJSON_AddNumberToObject(meta, "patch_size", (double)plan->vision.patch) != NULL;
    for (size_t i = 0; ok && i < in->pictures; i++) {
        const int64_t *size = in->image_sizes == NULL ? NULL : in->image_sizes + 2 * i;
        double pair[2] = {size == NULL ? (double)in->height : (double)size[0],
                          size == NULL ? (double)in->width : (double)size[1]};
        ok = cJSON_AddItemToArray(sizes, cJSON_CreateDoubleArray(pair, 2));
    }
    return ok;
}

/* One [height, width]. */
static bool read_size(llava_picture_sizes *s, const char *path, const cJSON *item, llava_error *e)
{
    static const char what[] = "__meta__: image_sizes";
    const int64_t most = INT32_MAX;
    int64_t *size = s->sizes + 2 * s->count;
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2) {
        return llava_fail(e, "%s: %s: not pairs of numbers", path, what);
    }
    if (!llava_json_item_int(path, item->child, what, &size[0], e) ||
        !llava_json_item_int(path, item->child->next, what, &size[1], e)) {
        return false;
    }
    s->count++;
    return (size[0] >= s->patch && size[1] >= s->patch && size[0] <= most && size[1] <= most) ||
           llava_fail(e, "%s: %s: no size of a picture of patches", path, what);
}

bool llava_picture_sizes_read(llava_picture_sizes *s, const char *path, const char *meta,
                              llava_error *e)
{
    *s = (llava_picture_sizes){0};
    llava_error refused;
    cJSON *json = meta == NULL ? NULL : llava_json_parse(path, meta, strlen(meta), &refused);
    const cJSON *list = NULL;
    if (meta != NULL && json == NULL) {
        return llava_may_go_on(&refused, e); /* no JSON, no sizes */
    }
    bool ok = json == NULL || llava_json_array(path, json, "image_sizes", &list, e);
    if (ok && list != NULL && list->child != NULL) {
        ok = llava_json_int(path, json, "patch_size", &s->patch, e) &&
             (s->patch > 0 || llava_fail(e, "%s: __meta__: patch_size: must be positive", path));
        s->sizes =
            ok ? llava_alloc(e, 2 * (size_t)cJSON_GetArraySize(list), sizeof(int64_t)) : NULL;
        ok = s->sizes != NULL;
        for (const cJSON *item = list->child; ok && item != NULL; item = item->next) {
            ok = read_size(s, path, item, e);
        }
    }
    cJSON_Delete(json);
    if (!ok) {
        free(s->sizes);
        *s = (llava_picture_sizes){0};
    }
    return ok;
}
