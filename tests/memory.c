#include "memory.h"

#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);

/* Allocations that are granted until one fails; below 0: no more fails. */
static long long granted = -1;

static bool fails(void)
{
    if (granted < 0) {
        return false;
    }
    return granted-- == 0;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return fails() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, n);
}

size_t memory_runs_out(bool (*step)(void *self, llava_error *e), void *self)
{
    cJSON_Hooks hooks = {__wrap_malloc, free};
    const bool sample = support_step(1) > 1; /* under valgrind: fewer of the later ones */
    for (size_t n = 0;; n += sample ? 1 + n / 8 : 1) {
        llava_error e = {""};
        cJSON_InitHooks(&hooks);
        granted = (long long)n;
        bool ok = step(self, &e), failed = granted < 0;
        granted = -1;
        cJSON_InitHooks(NULL);
        if (!failed) {
            if (!ok) {
                fail_msg("it fails where every allocation is granted: %s", e.text);
            }
            return n;
        }
        if (ok || !llava_out_of_memory(&e)) {
            fail_msg("allocation %zu fails, and the step says: %s", n, ok ? "done" : e.text);
        }
    }
}
