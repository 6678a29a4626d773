/* Progress of long work: one line on a terminal's stderr, and nothing elsewhere.
 *
 * Like interrupt.h, this keeps state for the whole process: there is one terminal, and whoever
 * writes to it must know whether a line stands there that has to go first. */
#ifndef LLAVA_PROGRESS_H
#define LLAVA_PROGRESS_H

#include "ref/model.h"

/* The clock of the work that follows starts now. */
void llava_progress_begin(void);
/* "42 %, 3 min 10 s left: WHAT WHERE", at most ten times a second, cut to the terminal's width.
 * done: the part of the work that is behind, 0 to 1; below 0 where it isn't known. Control
 * characters in `where` (names from files) are shown as ?; what, where: NULL for none. */
void llava_progress_show(double done, const char *what, const char *where);
/* Wipes the line, if there is one: before anything else is written to the terminal. A signal
 * handler may call it. */
void llava_progress_end(void);
/* From here on nothing is shown: in a child process, which shares the terminal. */
void llava_progress_mute(void);

/* "59 s", "3 min 10 s", "2 h 5 min". */
enum { LLAVA_DURATION = 32 };
const char *llava_duration(double seconds, char text[LLAVA_DURATION]);

/* What a run has to do, in multiplications; how much of it lies before a tap. */
typedef struct {
    double vision_layer, projector, text_layer, logits, step;
    size_t vision_first, vision_layers, text_first, text_layers, steps;
    size_t passes; /* of the language model over the prompt: its chunks */
    double all;
} llava_work;

/* goal NULL: everything. chunk: of the prefill, 0: none. steps: decoding steps at most. */
llava_work llava_work_of(const llava_plan *plan, const llava_inputs *inputs, const llava_goal *goal,
                         size_t chunk, size_t steps);
/* 0 to 1. pass: of the language model, from 0. */
double llava_work_before(const llava_work *work, const char *tap, size_t pass);

/* A sink that passes everything on to `inner` (NULL for none) and shows where the run is, on a
 * clock that began before. */
typedef struct {
    const llava_sink *inner;
    const char *what; /* in front of the tap's name; NULL: nothing */
    llava_work work;
    double from,
        share; /* this run is a part of something longer: its place there; share 0: it isn't */
    double done;
    size_t pass, layer; /* of the language model */
} llava_progress;

llava_sink llava_progress_sink(llava_progress *progress, const llava_sink *inner);

#endif
