#include "tools/json_out.h"

#include "tools/output.h"
#include "tools/words.h"

#include <stdlib.h>
#include <string.h>

cJSON *llava_json_put(bool *lost, cJSON *to, const char *key, cJSON *item)
{
    bool ok = to != NULL && item != NULL &&
              (key == NULL ? cJSON_AddItemToArray(to, item) : cJSON_AddItemToObject(to, key, item));
    if (!ok) {
        cJSON_Delete(item);
        *lost = true;
        return NULL;
    }
    return item;
}

void llava_json_text(bool *lost, cJSON *to, const char *key, const char *text)
{
    llava_json_put(lost, to, key, text == NULL ? cJSON_CreateNull() : cJSON_CreateString(text));
}

void llava_json_words(bool *lost, cJSON *to, const char *key, const char *const *words)
{
    cJSON *list = llava_json_put(lost, to, key, cJSON_CreateArray());
    for (; *words != NULL; words++) {
        llava_json_text(lost, list, NULL, *words);
    }
}

/* Within printed JSON such characters stand in strings only, where an escape may take their place.
 */
static bool write_escaped(llava_output *output, const char *text, llava_error *e)
{
    while (*text != '\0') {
        uint32_t code;
        size_t n = llava_character(text, &code);
        bool ok = n == 0 ? llava_output_print(output, e, "\\ufffd")
                  : llava_character_acts(code)
                      ? llava_output_print(output, e, "\\u%04x", (unsigned)code)
                      : llava_output_write(output, text, n, e);
        if (!ok) {
            return false;
        }
        text += n == 0 ? 1 : n;
    }
    return llava_output_write(output, "\n", 1, e);
}

bool llava_json_write(const cJSON *json, const char *path, llava_error *e)
{
    llava_output *output;
    char *text = json == NULL ? NULL : cJSON_PrintUnformatted(json);
    if (text == NULL) {
        return llava_fail(e, "%s: out of memory (JSON)", path);
    }
    bool ok = llava_output_open(&output, path, e);
    if (ok && write_escaped(output, text, e)) {
        ok = llava_output_commit(output, e);
    } else if (ok) {
        llava_output_abort(output);
        ok = false;
    }
    free(text);
    return ok;
}
