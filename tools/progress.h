/* Progress on a terminal's stderr, and nothing elsewhere: a sink that takes nothing and watches the
 * names that the stages ask about. */
#ifndef LLAVA_PROGRESS_H
#define LLAVA_PROGRESS_H

#include "ref/tap.h"

#include <time.h>

typedef struct {
    const llava_sink *inner; /* NULL: none */
    bool shown;              /* is there a line to wipe? */
    struct timespec last;
    int terminal; /* 0 not known yet, 1 yes, -1 no */
} llava_progress;

/* A sink that passes everything on to `inner` (NULL for none) and shows where the run is. */
llava_sink llava_progress_sink(llava_progress *progress, const llava_sink *inner);
/* Wipes the line. */
void llava_progress_end(llava_progress *progress);

#endif
