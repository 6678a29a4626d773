#include "near_tie.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS "generated_ids"

/* Both answers, loaded. */
typedef struct {
    int64_t *ids[2]; /* EXPECTED's, ACTUAL's */
    size_t batch, length[2];
} answers;

static void answers_free(answers *a)
{
    free(a->ids[0]);
    free(a->ids[1]);
}

/* a->ids stay NULL where one side has none, or they are not of one batch. */
static bool answers_load(answers *a, llava_dump *expected, llava_port *actual, llava_error *e)
{
    const llava_dump_entry *mine = llava_dump_find(expected, IDS);
    const llava_port_tensor *theirs = llava_port_find(actual, IDS);
    *a = (answers){0};
    if (mine == NULL || theirs == NULL || mine->array.rank != 2 || theirs->rank != 2 ||
        mine->array.kind == 'f' || theirs->floating || /* never partial: no size tells its rows */
        mine->array.shape[0] != theirs->shape[0]) {
        return true;
    }
    a->batch = theirs->shape[0];
    a->length[0] = mine->array.shape[1];
    a->length[1] = theirs->shape[1];
    bool ok = llava_dump_load_integers(expected, mine, &a->ids[0], e) &&
              llava_port_load_integers(actual, theirs, &a->ids[1], e);
    if (!ok) {
        answers_free(a);
    }
    return ok;
}

/* Index of the first token in which sample b differs, or the common length. */
static size_t first_difference(const answers *a, size_t b)
{
    size_t common = a->length[0] < a->length[1] ? a->length[0] : a->length[1], g = 0;
    while (g < common && a->ids[0][b * a->length[0] + g] == a->ids[1][b * a->length[1] + g]) {
        g++;
    }
    return g;
}

/* What the longer answer has behind the shorter one's end is padding: one and the same id. */
static bool only_padding(const answers *a, size_t b)
{
    size_t longer = a->length[1] > a->length[0], common = a->length[1 - longer];
    const int64_t *row = a->ids[longer] + b * a->length[longer];
    for (size_t g = common; g < a->length[longer]; g++) {
        if (row[g] != row[common]) {
            return false;
        }
    }
    return true;
}

/* ---- one flip ---------------------------------------------------------------------------------
 */

void llava_flip_judge(llava_flip *flip, const double *expected, const double *actual, size_t vocab,
                      double l2)
{
    double squares = 0;
    if (flip->expected < 0 || flip->actual < 0 || (uint64_t)flip->expected >= vocab ||
        (uint64_t)flip->actual >= vocab) {
        flip->why = "a token that the logits do not have";
        return;
    }
    for (size_t v = 0; v < vocab; v++) {
        squares += expected[v] * expected[v];
    }
    flip->margin = fabs(expected[flip->expected] - expected[flip->actual]);
    flip->bound = sqrt(2) * l2 * sqrt(squares / (double)vocab);
    flip->near_tie = flip->margin <= flip->bound; /* NaN is no tie */
    flip->why = flip->near_tie ? "a near tie" : "another token, and no near tie";
    if (actual != NULL && actual[flip->expected] > actual[flip->actual]) {
        flip->near_tie = false;
        flip->why = "another token, against ACTUAL's own logits";
    }
}

/* Floats and shape of ACTUAL's logits as EXPECTED's are, and all of it computed. */
static bool same_logits(const llava_dump_entry *mine, const llava_port_tensor *theirs)
{
    return theirs != NULL && theirs->floating && !theirs->partial && theirs->rank == 3 &&
           memcmp(theirs->shape, mine->array.shape, 3 * sizeof(size_t)) == 0;
}

/* Reads the logits of the step, of the sample's last position, and judges by them. */
static bool judge(llava_flip *flip, llava_dump *expected, llava_port *actual, size_t batch,
                  llava_logits_bound *bound, void *self, llava_error *e)
{
    char name[LLAVA_TAP_NAME] = "logits";
    if (flip->step > 0) {
        snprintf(name, sizeof name, "step.%zu.logits", flip->step);
    }
    const llava_dump_entry *mine = llava_dump_find(expected, name);
    const llava_port_tensor *theirs = llava_port_find(actual, name);
    if (bound == NULL) {
        flip->why = "another token; the type that ACTUAL computes in is not known";
        return true;
    }
    if (mine == NULL || mine->array.rank != 3 || mine->array.shape[0] != batch ||
        mine->array.count == 0) {
        flip->why = "another token; EXPECTED has no logits of that step";
        return true;
    }
    size_t vocab = mine->array.shape[2], rows = mine->array.shape[1];
    size_t at = ((flip->sample + 1) * rows - 1) * vocab;
    bool both = same_logits(mine, theirs);
    double *x = llava_alloc(e, vocab, sizeof(double)), *y = llava_alloc(e, vocab, sizeof(double));
    double l2 = 0;
    bool ok = x != NULL && y != NULL && llava_dump_read(expected, mine, at, vocab, x, e) &&
              (!both || llava_port_read(actual, theirs, at, vocab, y, e)) &&
              bound(self, name, vocab, &l2, e);
    if (ok) {
        llava_flip_judge(flip, x, both ? y : NULL, vocab, l2);
    }
    free(x);
    free(y);
    return ok;
}

/* ---- all of them
 * ---------------------------------------------------------------------------------- */

static bool find(llava_flips *f, const answers *a, llava_dump *expected, llava_port *actual,
                 llava_logits_bound *bound, void *self, llava_error *e)
{
    size_t common = a->length[0] < a->length[1] ? a->length[0] : a->length[1];
    f->flips = llava_alloc(e, a->batch, sizeof *f->flips);
    if (f->flips == NULL) {
        return false;
    }
    f->all_near_ties = true;
    for (size_t b = 0; b < a->batch; b++) {
        size_t g = first_difference(a, b);
        f->compared += g < common ? g + 1 : common;
        if (g == common) {
            f->other_length |= a->length[0] != a->length[1] && !only_padding(a, b);
            continue;
        }
        llava_flip *flip = &f->flips[f->count++];
        *flip = (llava_flip){.sample = b,
                             .step = g,
                             .expected = a->ids[0][b * a->length[0] + g],
                             .actual = a->ids[1][b * a->length[1] + g],
                             .margin = (double)NAN,
                             .bound = (double)NAN};
        if (!judge(flip, expected, actual, a->batch, bound, self, e)) {
            return false;
        }
        if (f->why == NULL || (f->all_near_ties && !flip->near_tie)) {
            f->why = flip->why;
        }
        f->all_near_ties = f->all_near_ties && flip->near_tie;
    }
    f->other_length |= a->length[0] != a->length[1] && f->count == 0;
    return true;
}

bool llava_flips_find(llava_flips *f, llava_dump *expected, llava_port *actual,
                      llava_logits_bound *bound, void *self, llava_error *e)
{
    answers a;
    *f = (llava_flips){0};
    if (!answers_load(&a, expected, actual, e)) {
        return false;
    }
    bool ok = a.ids[0] == NULL || find(f, &a, expected, actual, bound, self, e);
    answers_free(&a);
    if (!ok) {
        llava_flips_free(f);
    }
    return ok;
}

void llava_flips_free(llava_flips *f)
{
    free(f->flips);
    *f = (llava_flips){0};
}

bool llava_flips_count(const llava_flips *f, size_t batch, llava_counting *counting, llava_error *e)
{
    counting->flipped = llava_alloc(e, batch, sizeof(size_t));
    if (counting->flipped == NULL) {
        return false;
    }
    counting->flipped_batch = batch;
    for (size_t b = 0; b < batch; b++) {
        counting->flipped[b] = SIZE_MAX;
    }
    for (size_t i = 0; i < f->count; i++) {
        counting->flipped[f->flips[i].sample] = f->flips[i].step + 1;
    }
    return true;
}

bool llava_first_flip(llava_dump *expected, llava_port *actual, size_t *step, llava_error *e)
{
    answers a;
    *step = SIZE_MAX;
    if (!answers_load(&a, expected, actual, e)) {
        return false;
    }
    size_t common = a.length[0] < a.length[1] ? a.length[0] : a.length[1];
    for (size_t b = 0; a.ids[0] != NULL && b < a.batch; b++) {
        size_t g = first_difference(&a, b);
        *step = g < common && g < *step ? g : *step;
    }
    answers_free(&a);
    return true;
}
