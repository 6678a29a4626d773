#include "config_source.h"

#include <stdio.h>
#include <string.h>

bool llava_refuse(const llava_source *s, const char *key, const char *what)
{
    return llava_fail(s->e, "%s: %s: %s", s->path, key, what);
}

bool llava_read_size(const llava_source *s, const char *key, size_t most, size_t *value)
{
    if (!llava_json_size(s->path, s->root, key, value, s->e)) {
        return false;
    }
    if (*value == 0 || *value > most) {
        return llava_fail(s->e, "%s: %s: must be from 1 to %zu, not %zu", s->path, key, most,
                          *value);
    }
    return true;
}

bool llava_read_positive(const llava_source *s, const char *key, double *value)
{
    return llava_json_double(s->path, s->root, key, value, s->e) &&
           (*value > 0 || llava_refuse(s, key, "must be a positive number"));
}

bool llava_read_bool(const llava_source *s, const char *key, bool *value)
{
    return llava_json_bool(s->path, s->root, key, value, s->e);
}

/* "a, b, c": our own words, of which no list is so long that the room would end. */
static void join(const char *const *words, char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; words[i] != NULL; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
}

bool llava_read_word(const llava_source *s, const char *key, const char *const *words,
                     size_t *index)
{
    const char *word = words[*index];
    char all[256];
    if (!llava_json_string(s->path, s->root, key, &word, s->e)) {
        return false;
    }
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0) {
            *index = i;
            return true;
        }
    }
    join(words, all, sizeof all);
    return llava_fail(s->e, "%s: %s: '%.200s' is not supported yet (supported: %s)", s->path, key,
                      word, all);
}

bool llava_is_null(const llava_source *s, const char *key)
{
    const cJSON *at = s->root;
    char name[64];
    while (at != NULL) {
        size_t n = strcspn(key, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, key);
        at = cJSON_GetObjectItemCaseSensitive(at, name);
        if (key[n] == '\0') {
            return cJSON_IsNull(at);
        }
        key += n + 1;
    }
    return false;
}

/* ---- Activations ---- */

static const struct {
    const char *name;
    llava_act act;
} act_names[] = {
    {"quick_gelu", LLAVA_ACT_QUICK_GELU},
    {"gelu", LLAVA_ACT_GELU},
    {"gelu_pytorch_tanh", LLAVA_ACT_GELU_TANH},
    {"silu", LLAVA_ACT_SILU},
    {"swish", LLAVA_ACT_SILU},
    {"relu", LLAVA_ACT_RELU},
    {"none", LLAVA_ACT_NONE},
    {"quick_gelu_1.773", LLAVA_ACT_QUICK_GELU_1773},
};
/* The last two are names of decisions: no config may ask for them. */
#define CONFIG_ACTS (sizeof act_names / sizeof *act_names - 2)

const char *llava_act_name(llava_act act)
{
    size_t i = 0;
    while (act_names[i].act != act) { /* each has a name */
        i++;
    }
    return act_names[i].name;
}

bool llava_read_act(const llava_source *s, const char *key, llava_act *act)
{
    const char *words[CONFIG_ACTS + 1] = {NULL};
    size_t index = 0;
    for (size_t i = 0; i < CONFIG_ACTS; i++) {
        words[i] = act_names[i].name;
        index = act_names[i].act == *act ? i : index;
    }
    if (!llava_read_word(s, key, words, &index)) {
        return false;
    }
    *act = act_names[index].act;
    return true;
}
