/* The result of a comparison of two dumps, for the table, JSON, JUnit and HTML. */
#ifndef LLAVA_DIFF_H
#define LLAVA_DIFF_H

#include "tools/bounds.h"
#include "tools/compare.h"
#include "tools/near_tie.h"

#include <cjson/cJSON.h>
#include <stdio.h>

/* In rising order of precedence: differ beats cannot-judge beats warn beats pass. */
typedef enum {
    LLAVA_PASS,
    LLAVA_WARN,
    LLAVA_CANNOT_JUDGE,
    LLAVA_DIFFER,
} llava_verdict;

const char *llava_verdict_name(llava_verdict verdict);

typedef struct {
    char *name;
    llava_verdict verdict;
    bool exact; /* integers, ids, masks, pictures */
    int rank;
    size_t shape[LLAVA_ARRAY_RANK];
    bool other_shape; /* ACTUAL's is this one, and nothing was compared: */
    int actual_rank;
    size_t actual_shape[LLAVA_ARRAY_RANK];
    llava_comparison numbers;
    llava_dtype type;  /* that ACTUAL's values were measured to be */
    llava_bound bound; /* 0 for exact ones */
    bool has_peer;
    double peer_l2, peer_max; /* PEER's errors */
    double ratio;             /* error / peer's error, or error / bound; negative: none (null) */
    const char *why;          /* one phrase where the verdict is not pass */
} llava_diff_tensor;

/* An effect no larger than this, relative to the tensor, is float64's own rounding: none. */
#define LLAVA_NO_EFFECT 1e-14

/* What one wrong decision would do to EXPECTED's tensors, with --model. */
typedef struct {
    llava_decision_id id;
    unsigned char value;
    char tap[LLAVA_TAP_NAME]; /* where it first shows */
    double error, error_max;  /* relative L2 and max, made there */
    llava_bound bound;        /* of that tap: an effect below it would not be seen there */
} llava_effect;

typedef struct {
    const char *expected, *actual, *peer; /* paths */
    llava_verdict verdict;
    llava_diff_tensor *tensors; /* in the order of the flow */
    size_t count;
    size_t first_divergence; /* index of the first that differs; count: none */
    llava_effect *effects;   /* with --model */
    size_t effect_count;
    llava_flips flips; /* of generated_ids */
    char **missing, **extra;
    size_t missing_count, extra_count;
    char note[256]; /* what else there is to say: why it cannot be judged; empty: nothing */
} llava_diff;

/* The table, at most 100 columns. */
void llava_diff_print(const llava_diff *diff, FILE *to);
/* {"schema":"llava-ref.diff/1", ...}; NULL where memory is out. */
cJSON *llava_diff_json(const llava_diff *diff);
/* A JUnit test suite, one test case per tensor. */
bool llava_diff_junit(const llava_diff *diff, const char *path, llava_error *e);
void llava_diff_free(llava_diff *diff);

#endif
