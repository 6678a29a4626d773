/* Sinks made of sinks: only the taps that --taps names, and several sinks at once. */
#ifndef LLAVA_SINKS_H
#define LLAVA_SINKS_H

#include "ref/tap.h"

/* A list of globs: fnmatch without flags, so `*` crosses dots. */
typedef struct {
    char **globs;
    bool *matched; /* has it matched a tap yet? */
    size_t count;
} llava_globs;

/* "GLOB[,GLOB...]". An empty list or glob is refused. */
bool llava_globs_parse(llava_globs *globs, const char *list, llava_error *e);
void llava_globs_free(llava_globs *globs);
/* Does any glob match? Marks all that do, so that afterwards llava_globs_unmatched can name the
 * ones that never did (contract: an error). */
bool llava_globs_match(llava_globs *globs, const char *name);
/* The first glob that has matched nothing, or NULL. */
const char *llava_globs_unmatched(const llava_globs *globs);

/* Passes to `inner` the taps that match. The globs must outlive the sink. wants() alone marks
 * nothing as matched: a stage may ask about a tap that its family lacks. */
typedef struct {
    llava_globs *globs;
    llava_sink inner;
} llava_glob_filter;

llava_sink llava_filter_sink(llava_glob_filter *filter);

/* Gives every tap to each of the sinks that wants it, in their order; stops at the first that
 * fails. */
#define LLAVA_FAN 8

typedef struct {
    llava_sink sinks[LLAVA_FAN];
    size_t count;
} llava_fan;

llava_sink llava_fan_sink(llava_fan *fan);

#endif
