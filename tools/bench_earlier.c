#include "tools/bench_earlier.h"

#include <string.h>

bool llava_bench_earlier_open(llava_bench_earlier *earlier, const char *path, llava_error *e)
{
    const char *schema = NULL;
    *earlier = (llava_bench_earlier){path, llava_json_read(path, e)};
    if (earlier->root == NULL) {
        return false;
    }
    bool ok = cJSON_IsObject(earlier->root) ||
              llava_fail(e, "%s: not a measurement of %s", path, LLAVA_BENCH_SCHEMA);
    ok = ok && llava_json_string(path, earlier->root, "schema", &schema, e);
    if (ok && (schema == NULL || strcmp(schema, LLAVA_BENCH_SCHEMA) != 0)) {
        ok = llava_fail(e, "%s: schema: '%.100s' is not %s", path,
                        schema == NULL ? "nothing" : schema, LLAVA_BENCH_SCHEMA);
    }
    if (!ok) {
        llava_bench_earlier_close(earlier);
    }
    return ok;
}

void llava_bench_earlier_close(llava_bench_earlier *earlier)
{
    cJSON_Delete(earlier->root);
    *earlier = (llava_bench_earlier){0};
}

bool llava_bench_earlier_same(const llava_bench_earlier *earlier, const char *key, const char *now,
                              llava_error *e)
{
    const char *then = NULL;
    if (!llava_json_string(earlier->path, earlier->root, key, &then, e)) {
        return false;
    }
    if (then == NULL || strcmp(then, now) != 0) {
        return llava_fail(e, "%s: %s: '%.100s' there, '%.100s' here: not comparable", earlier->path,
                          key, then == NULL ? "nothing" : then, now);
    }
    return true;
}

static bool take_stage(const char *path, const cJSON *item, double seconds[LLAVA_BENCH_STAGES],
                       llava_error *e)
{
    const char *name = NULL;
    double spent = 0;
    if (!cJSON_IsObject(item)) {
        return llava_fail(e, "%s: stages: an element is no object", path);
    }
    if (!llava_json_string(path, item, "name", &name, e) ||
        !llava_json_double(path, item, "seconds", &spent, e)) {
        return false;
    }
    for (size_t i = 0; name != NULL && i < LLAVA_BENCH_STAGES; i++) {
        if (strcmp(name, llava_bench_stage_name((llava_bench_stage)i)) == 0) {
            seconds[i] = spent;
        }
    }
    return true;
}

bool llava_bench_earlier_seconds(const llava_bench_earlier *earlier, size_t generate,
                                 double seconds[LLAVA_BENCH_STAGES], llava_error *e)
{
    const char *path = earlier->path;
    const cJSON *stages = NULL, *item;
    size_t then = 0;
    memset(seconds, 0, LLAVA_BENCH_STAGES * sizeof *seconds);
    if (!llava_json_size(path, earlier->root, "generate", &then, e) ||
        !llava_json_array(path, earlier->root, "stages", &stages, e)) {
        return false;
    }
    if (then != generate) {
        return llava_fail(e, "%s: generate: %zu there, %zu here: not comparable", path, then,
                          generate);
    }
    cJSON_ArrayForEach(item, stages)
    {
        if (!take_stage(path, item, seconds, e)) {
            return false;
        }
    }
    return true;
}
