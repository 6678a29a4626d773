/* A conversation in a JSON file. */
#include "messages.h"

#include "file.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    llava_messages *m;
    const char *path;
    size_t items, images; /* used so far */
    size_t message, item; /* where we are, for messages */
    llava_error *e;
} reader;

static bool refuse(const reader *r, const char *what)
{
    return llava_fail(r->e, "%s: messages[%zu].content[%zu]: %s", r->path, r->message, r->item,
                      what);
}

/* The file's folder and the name, or the name alone where it is absolute or the file is here. */
static char *beside(const char *file, const char *name, llava_error *e)
{
    const char *slash = strrchr(file, '/');
    if (name[0] == '/' || slash == NULL) {
        return llava_text(e, name, strlen(name));
    }
    char *folder = llava_text(e, file, (size_t)(slash - file)); /* "" is the root */
    char *path = folder == NULL ? NULL : llava_path(e, folder, name);
    free(folder);
    return path;
}

/* "http:", "data:" and the like: letters before a colon that no slash comes before. */
static bool is_address(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    return n > 1 && name[n] == ':';
}

/* Where an image item's picture is. */
static bool read_image(reader *r, const cJSON *object)
{
    static const char *const addresses[] = {"url", "base64", "image_url"};
    static const char *const keys[] = {"path", "image"};
    for (size_t i = 0; i < 3; i++) {
        if (llava_json_has(object, addresses[i])) {
            return refuse(r, "nothing is fetched or decoded: give a picture's file as \"path\"");
        }
    }
    const char *found[2] = {NULL, NULL};
    for (size_t i = 0; i < 2; i++) {
        if (!llava_json_string(r->path, object, keys[i], &found[i], r->e)) {
            return false;
        }
    }
    if (found[0] != NULL && found[1] != NULL) {
        return refuse(r, "both path and image");
    }
    const char *name = found[0] != NULL ? found[0] : found[1];
    char **place = &r->m->images[r->images++];
    if (name == NULL) {
        return true;
    }
    if (name[0] == '\0' || is_address(name)) {
        return refuse(r, name[0] == '\0' ? "an empty path"
                                         : "nothing is fetched: give a picture's file as \"path\"");
    }
    *place = beside(r->path, name, r->e);
    return *place != NULL;
}

static bool read_item(reader *r, const cJSON *object, llava_chat_item *item)
{
    const char *type = NULL;
    if (!cJSON_IsObject(object)) {
        return refuse(r, "not an object");
    }
    if (!llava_json_string(r->path, object, "type", &type, r->e)) {
        return false;
    }
    item->image = type != NULL && strcmp(type, "image") == 0;
    if (item->image) {
        return read_image(r, object);
    }
    if (type == NULL || strcmp(type, "text") != 0) {
        return refuse(r, "its type is neither text nor image");
    }
    if (!llava_json_string(r->path, object, "text", &item->text, r->e) ||
        !llava_json_string(r->path, object, "content", &item->content, r->e)) {
        return false;
    }
    return item->text != NULL || item->content != NULL || refuse(r, "a text item without text");
}

static bool read_content(reader *r, const cJSON *content, llava_chat_message *message)
{
    if (cJSON_IsString(content)) {
        message->text = content->valuestring;
        return true;
    }
    if (!cJSON_IsArray(content)) {
        return llava_fail(r->e, "%s: messages[%zu]: its content is neither a text nor a list",
                          r->path, r->message);
    }
    message->items = r->m->items + r->items;
    r->item = 0;
    for (const cJSON *item = content->child; item != NULL; item = item->next, r->item++) {
        if (!read_item(r, item, &message->items[r->item])) {
            return false;
        }
    }
    message->count = r->item;
    r->items += r->item;
    return true;
}

static bool read_message(reader *r, const cJSON *object, llava_chat_message *message)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *role = NULL;
    if (!cJSON_IsObject(object)) {
        return llava_fail(r->e, "%s: messages[%zu]: not an object", r->path, r->message);
    }
    if (!llava_json_string(r->path, object, "role", &role, r->e)) {
        return false;
    }
    for (size_t i = 0; role != NULL && i < 3; i++) {
        message->role = strcmp(role, roles[i]) == 0 ? roles[i] : message->role;
    }
    if (message->role == NULL || llava_json_has(object, "tool_calls")) {
        return llava_fail(r->e, "%s: messages[%zu]: %s", r->path, r->message,
                          message->role == NULL ? "its role is none of system, user, assistant"
                                                : "tool_calls are not supported");
    }
    return read_content(r, cJSON_GetObjectItemCaseSensitive(object, "content"), message);
}

/* The list of messages, and what stands beside it. */
static bool find_list(reader *r, const cJSON *root, const cJSON **list)
{
    static const char *const others[] = {"tools", "documents", "continue_final_message"};
    *list = root;
    if (cJSON_IsArray(root)) {
        return true;
    }
    if (!cJSON_IsObject(root)) {
        return llava_fail(r->e, "%s: neither a list of messages nor an object with one", r->path);
    }
    for (size_t i = 0; i < 3; i++) {
        if (llava_json_has(root, others[i])) {
            return llava_fail(r->e, "%s: %s is not supported", r->path, others[i]);
        }
    }
    if (!llava_json_array(r->path, root, "messages", list, r->e) ||
        !llava_json_bool(r->path, root, "add_generation_prompt", &r->m->generation, r->e)) {
        return false;
    }
    return *list != NULL || llava_fail(r->e, "%s: messages is missing", r->path);
}

static bool read_list(reader *r, const cJSON *list)
{
    llava_messages *m = r->m;
    size_t count = 0, items = 0;
    for (const cJSON *one = list->child; one != NULL; one = one->next, count++) {
        const cJSON *content = cJSON_GetObjectItemCaseSensitive(one, "content");
        items += cJSON_IsArray(content) ? (size_t)cJSON_GetArraySize(content) : 0;
    }
    if (count == 0) {
        return llava_fail(r->e, "%s: there are no messages", r->path);
    }
    m->messages = llava_alloc(r->e, count, sizeof *m->messages);
    m->items = llava_alloc(r->e, items, sizeof *m->items);
    m->images = llava_alloc(r->e, items, sizeof *m->images);
    if (m->messages == NULL || m->items == NULL || m->images == NULL) {
        return false;
    }
    for (const cJSON *one = list->child; one != NULL; one = one->next, r->message++) {
        bool good = read_message(r, one, &m->messages[m->count++]);
        m->image_count = r->images;
        if (!good) {
            return false;
        }
    }
    return true;
}

bool llava_messages_read(llava_messages *m, const char *path, llava_error *e)
{
    *m = (llava_messages){.generation = true};
    reader r = {.m = m, .path = path, .e = e};
    const cJSON *list;
    m->root = llava_json_read(path, e);
    if (m->root == NULL || !find_list(&r, m->root, &list) || !read_list(&r, list)) {
        llava_messages_free(m);
        return false;
    }
    return true;
}

void llava_messages_free(llava_messages *m)
{
    for (size_t i = 0; i < m->image_count; i++) {
        free(m->images[i]);
    }
    free(m->images);
    free(m->items);
    free(m->messages);
    cJSON_Delete(m->root);
    *m = (llava_messages){0};
}
