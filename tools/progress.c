#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* At most ten lines a second. */
static bool due(llava_progress *p)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return false;
    }
    double passed =
        (double)(now.tv_sec - p->last.tv_sec) + (double)(now.tv_nsec - p->last.tv_nsec) * 1e-9;
    if (passed < 0.1) {
        return false;
    }
    p->last = now;
    return true;
}

static bool wants(void *self, const char *name)
{
    llava_progress *p = self;
    if (p->terminal == 0) {
        const char *kind = getenv("TERM");
        bool dumb = kind == NULL || strcmp(kind, "dumb") == 0;
        p->terminal = isatty(STDERR_FILENO) && !dumb ? 1 : -1;
    }
    if (p->terminal == 1 && due(p)) {
        fprintf(stderr, "\r\033[K%s", name);
        p->shown = true;
    }
    return p->inner != NULL && p->inner->wants(p->inner->self, name);
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    llava_progress *p = self;
    return p->inner->take(p->inner->self, tap, e);
}

llava_sink llava_progress_sink(llava_progress *progress, const llava_sink *inner)
{
    progress->inner = inner;
    return (llava_sink){wants, take, progress};
}

void llava_progress_end(llava_progress *progress)
{
    if (progress->shown) {
        fputs("\r\033[K", stderr);
        progress->shown = false;
    }
}
