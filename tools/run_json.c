#include "tools/run_json.h"

#include "tools/array.h"
#include "tools/hash_sink.h"
#include "tools/json_out.h"
#include "tools/sha256.h"

#include <stdlib.h>
#include <string.h>

struct llava_run_json {
    char *path;
    bool all, lost;
    cJSON *root, *stages, *samples, *top; /* top: of the sample that was begun last */
};

bool llava_run_json_open(llava_run_json **json, const char *path, cJSON *meta, bool all,
                         llava_error *e)
{
    llava_run_json *j = llava_alloc(e, 1, sizeof *j);
    if (j == NULL || (j->path = llava_text(e, path, strlen(path))) == NULL) {
        cJSON_Delete(meta);
        free(j);
        return false;
    }
    j->all = all;
    j->root = cJSON_CreateObject();
    llava_json_put(&j->lost, j->root, "schema", cJSON_CreateString("llava-ref.run/1"));
    for (cJSON *item; meta != NULL && meta->child != NULL;) {
        item = cJSON_DetachItemViaPointer(meta, meta->child);
        llava_json_put(&j->lost, j->root, item->string, item);
    }
    cJSON_Delete(meta);
    j->stages = llava_json_put(&j->lost, j->root, "stages", cJSON_CreateArray());
    j->samples = llava_json_put(&j->lost, j->root, "samples", cJSON_CreateArray());
    *json = j;
    return true;
}

/* ---- stages -------------------------------------------------------------------------------------
 */

static bool wants(void *self, const char *name)
{
    static const char *const ends[] = {"pixel_values",       "input_ids",       "attention_mask",
                                       "position_ids",       "vision.features", "projector.out",
                                       "text.inputs_embeds", "text.norm",       "generated_ids"};
    const llava_run_json *j = self;
    bool wanted = j->all || strncmp(name, "image.", 6) == 0;
    for (size_t i = 0; !wanted && i < sizeof ends / sizeof ends[0]; i++) {
        wanted = strcmp(name, ends[i]) == 0;
    }
    return wanted;
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    llava_run_json *j = self;
    llava_array array = llava_array_of_tap(tap);
    char dtype[LLAVA_ARRAY_DTYPE], digest[LLAVA_SHA256_TEXT];
    (void)e;
    llava_array_dtype(&array, dtype);
    llava_tap_sha256(tap, digest);
    cJSON *stage = llava_json_put(&j->lost, j->stages, NULL, cJSON_CreateObject());
    llava_json_put(&j->lost, stage, "name", cJSON_CreateString(tap->name));
    llava_json_put(&j->lost, stage, "dtype", cJSON_CreateString(dtype));
    cJSON *shape = llava_json_put(&j->lost, stage, "shape", cJSON_CreateArray());
    for (int i = 0; i < array.rank; i++) {
        llava_json_put(&j->lost, shape, NULL, cJSON_CreateNumber((double)array.shape[i]));
    }
    llava_json_put(&j->lost, stage, "sha256", cJSON_CreateString(digest));
    return true;
}

llava_sink llava_run_json_sink(llava_run_json *json)
{
    return (llava_sink){.wants = wants, .take = take, .self = json};
}

/* ---- the answer ---------------------------------------------------------------------------------
 */

void llava_run_json_loss(llava_run_json *j, double loss)
{
    llava_json_put(&j->lost, j->root, "loss",
                   cJSON_CreateNumber(loss)); /* NaN is printed as null */
}

/* A text may hold NUL, which cJSON's strings can't: it stands there as U+FFFD. */
static cJSON *text_of(const char *text, size_t n)
{
    char *copy = malloc(3 * n + 1);
    size_t used = 0;
    for (size_t i = 0; copy != NULL && i < n; i++) {
        size_t length = text[i] == '\0' ? 3 : 1;
        memcpy(copy + used, text[i] == '\0' ? "\xef\xbf\xbd" : text + i, length);
        used += length;
    }
    if (copy != NULL) {
        copy[used] = '\0';
    }
    cJSON *string = copy == NULL ? NULL : cJSON_CreateString(copy);
    free(copy);
    return string;
}

void llava_run_json_answer(llava_run_json *j, const char *text, size_t n, const int64_t *ids,
                           size_t count)
{
    cJSON *sample = llava_json_put(&j->lost, j->samples, NULL, cJSON_CreateObject());
    llava_json_put(&j->lost, sample, "answer",
                   text == NULL ? cJSON_CreateNull() : text_of(text, n));
    cJSON *list = llava_json_put(&j->lost, sample, "generated_ids", cJSON_CreateArray());
    for (size_t i = 0; i < count; i++) {
        llava_json_put(&j->lost, list, NULL, cJSON_CreateNumber((double)ids[i]));
    }
}

void llava_run_json_sample(llava_run_json *j)
{
    cJSON *sample = llava_json_put(&j->lost, j->samples, NULL, cJSON_CreateObject());
    j->top = llava_json_put(&j->lost, sample, "top", cJSON_CreateArray());
}

void llava_run_json_logit(llava_run_json *j, size_t id, double logit, const char *text)
{
    cJSON *one = llava_json_put(&j->lost, j->top, NULL, cJSON_CreateObject());
    llava_json_put(&j->lost, one, "id", cJSON_CreateNumber((double)id));
    llava_json_put(&j->lost, one, "logit", cJSON_CreateNumber(logit));
    llava_json_text(&j->lost, one, "text", text);
}

/* ---- the end ------------------------------------------------------------------------------------
 */

void llava_run_json_abort(llava_run_json *j)
{
    if (j != NULL) {
        cJSON_Delete(j->root);
        free(j->path);
        free(j);
    }
}

bool llava_run_json_commit(llava_run_json *j, llava_error *e)
{
    bool ok = llava_json_write(j->lost ? NULL : j->root, j->path, e);
    llava_run_json_abort(j);
    return ok;
}
