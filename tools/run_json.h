/* run --json: what was run, the stages it went through, and its answer, for programs. */
#ifndef LLAVA_RUN_JSON_H
#define LLAVA_RUN_JSON_H

#include "ref/tap.h"

#include <cjson/cJSON.h>
#include <stdint.h>

typedef struct llava_run_json llava_run_json;

/* meta: what __meta__ of a dump says, taken over, in any case. all: every tap that it is given
 * becomes a stage, else those between the stages. */
bool llava_run_json_open(llava_run_json **json, const char *path, cJSON *meta, bool all,
                         llava_error *e);
/* Each tap as {"name", "dtype", "shape", "sha256"}, as --hash has it. */
llava_sink llava_run_json_sink(llava_run_json *json);

/* NaN: null. */
void llava_run_json_loss(llava_run_json *json, double loss);
/* The next sample of the batch, of a generation. text: n bytes, NULL without a tokenizer. */
void llava_run_json_answer(llava_run_json *json, const char *text, size_t n, const int64_t *ids,
                           size_t count);
/* The next sample, of a pass; then its highest logits, the highest first. */
void llava_run_json_sample(llava_run_json *json);
void llava_run_json_logit(llava_run_json *json, size_t id, double logit, const char *text);

/* Both free it; abort takes NULL. Memory that was out before is reported here. */
bool llava_run_json_commit(llava_run_json *json, llava_error *e);
void llava_run_json_abort(llava_run_json *json);

#endif
