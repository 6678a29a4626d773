#include "tools/sinks.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* ---- globs ---- */

static size_t count_globs(const char *list)
{
    size_t n = 1;
    for (const char *p = list; *p != '\0'; p++) {
        n += *p == ',';
    }
    return n;
}

bool llava_globs_parse(llava_globs *globs, const char *list, llava_error *e)
{
    const size_t count = count_globs(list);
    *globs = (llava_globs){.globs = llava_alloc(e, count, sizeof *globs->globs),
                           .matched = llava_alloc(e, count, sizeof *globs->matched)};
    bool ok = globs->globs != NULL && globs->matched != NULL;
    for (const char *p = list; ok && globs->count < count;) {
        const size_t n = strcspn(p, ",");
        ok = n > 0 || llava_fail(e, "%s: an empty pattern in the list", list);
        char *glob = ok ? llava_text(e, p, n) : NULL;
        ok = glob != NULL;
        if (ok) {
            globs->globs[globs->count++] = glob;
            p += n + (p[n] == ',');
        }
    }
    if (!ok) {
        llava_globs_free(globs);
    }
    return ok;
}

void llava_globs_free(llava_globs *globs)
{
    for (size_t i = 0; i < globs->count; i++) {
        free(globs->globs[i]);
    }
    free(globs->globs);
    free(globs->matched);
    *globs = (llava_globs){0};
}

static bool matches(const char *glob, const char *name)
{
    return fnmatch(glob, name, 0) == 0;
}

bool llava_globs_match(llava_globs *globs, const char *name)
{
    bool any = false;
    for (size_t i = 0; i < globs->count; i++) {
        const bool match = matches(globs->globs[i], name);
        globs->matched[i] = globs->matched[i] || match;
        any = any || match;
    }
    return any;
}

const char *llava_globs_unmatched(const llava_globs *globs)
{
    for (size_t i = 0; i < globs->count; i++) {
        if (!globs->matched[i]) {
            return globs->globs[i];
        }
    }
    return NULL;
}

/* ---- filter ---- */

static bool filter_wants(void *self, const char *name)
{
    const llava_glob_filter *filter = self;
    for (size_t i = 0; i < filter->globs->count; i++) {
        if (matches(filter->globs->globs[i], name)) {
            return filter->inner.wants(filter->inner.self, name);
        }
    }
    return false;
}

static bool filter_take(void *self, const llava_tap *tap, llava_error *e)
{
    llava_glob_filter *filter = self;
    return !llava_globs_match(filter->globs, tap->name) ||
           filter->inner.take(filter->inner.self, tap, e);
}

llava_sink llava_filter_sink(llava_glob_filter *filter)
{
    return (llava_sink){.wants = filter_wants, .take = filter_take, .self = filter};
}

/* ---- fan ---- */

static bool fan_wants(void *self, const char *name)
{
    const llava_fan *fan = self;
    for (size_t i = 0; i < fan->count; i++) {
        if (fan->sinks[i].wants(fan->sinks[i].self, name)) {
            return true;
        }
    }
    return false;
}

static bool fan_take(void *self, const llava_tap *tap, llava_error *e)
{
    const llava_fan *fan = self;
    for (size_t i = 0; i < fan->count; i++) {
        const llava_sink *sink = &fan->sinks[i];
        if (sink->wants(sink->self, tap->name) && !sink->take(sink->self, tap, e)) {
            return false;
        }
    }
    return true;
}

llava_sink llava_fan_sink(llava_fan *fan)
{
    return (llava_sink){.wants = fan_wants, .take = fan_take, .self = fan};
}
