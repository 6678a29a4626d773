/* An earlier measurement, as `bench --json` wrote it, for `bench --compare`. */
#ifndef LLAVA_BENCH_EARLIER_H
#define LLAVA_BENCH_EARLIER_H

#include "ref/json.h"
#include "tools/stage_clock.h"

#define LLAVA_BENCH_SCHEMA "llava-ref.bench/1"

typedef struct {
    const char *path;
    cJSON *root; /* NULL: there is none */
} llava_bench_earlier;

/* Reads the file; refused where it is no measurement of this schema. path must outlive it. */
bool llava_bench_earlier_open(llava_bench_earlier *earlier, const char *path, llava_error *e);
void llava_bench_earlier_close(llava_bench_earlier *earlier);

/* Is this member ("dtype", "machine.name") the text that it is now? Refused where not. */
bool llava_bench_earlier_same(const llava_bench_earlier *earlier, const char *key, const char *now,
                              llava_error *e);
/* The seconds of each stage that the file has, 0 for others. generate: tokens asked for now;
 * refused where there were more or fewer. */
bool llava_bench_earlier_seconds(const llava_bench_earlier *earlier, size_t generate,
                                 double seconds[LLAVA_BENCH_STAGES], llava_error *e);

#endif
