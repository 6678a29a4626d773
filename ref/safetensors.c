/* One safetensors file, checked as the format's text says. */
#include "safetensors.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    size_t bits; /* of one element: the 4- and 6-bit types make whole bytes only together */
    bool is_float;
    llava_dtype dtype;
} type_row;

static const type_row types[] = {
    {"F64", 64, true, LLAVA_F64}, {"F32", 32, true, LLAVA_F32},
    {"F16", 16, true, LLAVA_F16}, {"BF16", 16, true, LLAVA_BF16},
    {"BOOL", 8, false, 0},        {"U8", 8, false, 0},
    {"I8", 8, false, 0},          {"U16", 16, false, 0},
    {"I16", 16, false, 0},        {"U32", 32, false, 0},
    {"I32", 32, false, 0},        {"U64", 64, false, 0},
    {"I64", 64, false, 0},        {"C64", 64, false, 0},
    {"F8_E5M2", 8, false, 0},     {"F8_E4M3", 8, false, 0},
    {"F8_E8M0", 8, false, 0},     {"F6_E2M3", 6, false, 0},
    {"F6_E3M2", 6, false, 0},     {"F4", 4, false, 0},
    {"F8_E4M3FNUZ", 8, false, 0}, {"F8_E5M2FNUZ", 8, false, 0},
};

static const type_row *find_type(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

/* A tensor's complaint: "FILE: tensor 'NAME': what". */
static bool tensor_fail(const char *path, const llava_safetensor *tensor, const char *what,
                        llava_error *e)
{
    return llava_fail(e, "%s: tensor '%.200s': %s", path, tensor->name, what);
}

static bool read_size(const cJSON *item, size_t *value)
{
    int64_t number;
    if (!llava_json_item_int("", item, "", &number, NULL) || number < 0 ||
        (uint64_t)number > SIZE_MAX) {
        return false;
    }
    *value = (size_t)number;
    return true;
}

static bool read_shape(const char *path, llava_safetensor *tensor, const cJSON *shape,
                       llava_error *e)
{
    if (!cJSON_IsArray(shape)) {
        return tensor_fail(path, tensor, "shape must be an array", e);
    }
    tensor->count = 1;
    for (const cJSON *item = shape->child; item != NULL; item = item->next) {
        size_t length;
        if (tensor->rank == LLAVA_SAFETENSORS_RANK) {
            return tensor_fail(path, tensor, "more than 8 dimensions", e);
        }
        if (!read_size(item, &length)) {
            return tensor_fail(path, tensor, "shape must hold whole numbers, not negative", e);
        }
        tensor->shape[tensor->rank++] = length;
        if (!llava_mul(tensor->count, length, &tensor->count)) {
            return tensor_fail(path, tensor, "the shape's product is too large", e);
        }
    }
    return true;
}

/* data_offsets [begin, end], whose distance is the shape's product times the type's size. */
static bool read_offsets(const char *path, llava_safetensor *tensor, const cJSON *offsets,
                         size_t type_bits, llava_error *e)
{
    const cJSON *begin = cJSON_IsArray(offsets) ? offsets->child : NULL;
    const cJSON *end = begin != NULL ? begin->next : NULL;
    if (end == NULL || end->next != NULL || !read_size(begin, &tensor->begin) ||
        !read_size(end, &tensor->end) || tensor->begin > tensor->end) {
        return tensor_fail(path, tensor, "data_offsets must be [begin, end]", e);
    }
    size_t bits;
    if (!llava_mul(tensor->count, type_bits, &bits) || bits % 8 != 0 ||
        bits / 8 != tensor->end - tensor->begin) {
        return tensor_fail(path, tensor, "data_offsets do not fit the shape and the type", e);
    }
    return true;
}

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* One entry of the header. tensor->name is set even on failure, so that it can be freed. */
static bool read_tensor(const char *path, llava_safetensor *tensor, const cJSON *entry,
                        llava_error *e)
{
    tensor->name = llava_text(e, entry->string, strlen(entry->string));
    if (tensor->name == NULL) {
        return false;
    }
    if (!cJSON_IsObject(entry)) {
        return tensor_fail(path, tensor, "must be an object", e);
    }
    const char *type_name = cJSON_GetStringValue(member(entry, "dtype"));
    if (type_name == NULL) {
        return tensor_fail(path, tensor, "dtype must be a string", e);
    }
    const type_row *type = find_type(type_name);
    if (type == NULL) {
        return llava_fail(e, "%s: tensor '%.200s': unknown dtype '%.200s'", path, tensor->name,
                          type_name);
    }
    tensor->type_name = type->name;
    tensor->is_float = type->is_float;
    tensor->dtype = type->dtype;
    return read_shape(path, tensor, member(entry, "shape"), e) &&
           read_offsets(path, tensor, member(entry, "data_offsets"), type->bits, e);
}

/* "__metadata__" is a map from strings to strings, which nothing here needs. */
static bool check_metadata(const char *path, const cJSON *metadata, llava_error *e)
{
    bool ok = cJSON_IsObject(metadata);
    for (const cJSON *item = ok ? metadata->child : NULL; item != NULL; item = item->next) {
        ok = ok && cJSON_IsString(item);
    }
    return ok || llava_fail(e, "%s: __metadata__ must hold strings only", path);
}

static bool read_tensors(llava_safetensors *file, const cJSON *header, llava_error *e)
{
    size_t entries = (size_t)cJSON_GetArraySize(header);
    file->tensors = llava_alloc(e, entries, sizeof *file->tensors);
    if (file->tensors == NULL) {
        return false;
    }
    for (const cJSON *entry = header->child; entry != NULL; entry = entry->next) {
        if (strcmp(entry->string, "__metadata__") == 0) {
            if (!check_metadata(file->path, entry, e)) {
                return false;
            }
        } else if (!read_tensor(file->path, &file->tensors[file->count++], entry, e)) {
            return false;
        }
    }
    return true;
}

/* By place; tensors without bytes share a place and go by name, so that the order is one order. */
static int compare_places(const void *a, const void *b)
{
    const llava_safetensor *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

/* Every byte behind the header belongs to exactly one tensor. */
static bool check_places(llava_safetensors *file, const llava_cursor *data, llava_error *e)
{
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_places);
    size_t size = llava_cursor_left(data), at = 0;
    for (size_t i = 0; i < file->count; i++) {
        llava_safetensor *tensor = &file->tensors[i];
        if (tensor->begin != at) {
            return tensor_fail(file->path, tensor,
                               tensor->begin < at ? "its bytes overlap another tensor's"
                                                  : "there is a hole in front of its bytes",
                               e);
        }
        if (tensor->end > size) {
            return tensor_fail(file->path, tensor, "the file ends before its bytes do", e);
        }
        tensor->bytes = data->at + tensor->begin;
        at = tensor->end;
    }
    if (at != size) {
        return llava_fail(e, "%s: %zu bytes behind the last tensor", file->path, size - at);
    }
    return true;
}

static bool read_header(llava_safetensors *file, llava_error *e)
{
    llava_cursor c = llava_cursor_over(file->file.bytes, file->file.size);
    uint64_t size = llava_cursor_u64(&c);
    if (c.bad || size > llava_cursor_left(&c)) {
        return llava_fail(e, "%s: the file ends before its header does", file->path);
    }
    if (size > LLAVA_SAFETENSORS_HEADER) {
        return llava_fail(e, "%s: the header has more than %u bytes", file->path,
                          LLAVA_SAFETENSORS_HEADER);
    }
    file->header_size = (size_t)size;
    file->header = llava_cursor_take(&c, file->header_size);
    if (size == 0 || file->header[0] != '{') {
        return llava_fail(e, "%s: the header does not begin with '{'", file->path);
    }
    cJSON *header = llava_json_parse(file->path, file->header, file->header_size, e);
    if (header == NULL) {
        return false;
    }
    bool ok = read_tensors(file, header, e);
    cJSON_Delete(header);
    return ok && check_places(file, &c, e);
}

bool llava_safetensors_open(llava_safetensors *file, const char *path, llava_error *e)
{
    *file = (llava_safetensors){0};
    file->path = llava_text(e, path, strlen(path));
    if (file->path == NULL) {
        return false;
    }
    if (!llava_file_map(&file->file, path, e) || !read_header(file, e)) {
        llava_safetensors_close(file);
        return false;
    }
    return true;
}

void llava_safetensors_close(llava_safetensors *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->tensors[i].name);
    }
    free(file->tensors);
    free(file->path);
    llava_file_unmap(&file->file);
    *file = (llava_safetensors){0};
}
