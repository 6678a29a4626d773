/* A tiny random LLaVA, for properties that need a whole model and no golden; and a sink that keeps
 * every tap in memory. A failure in here ends the test. */
#ifndef LLAVA_TESTS_TINY_H
#define LLAVA_TESTS_TINY_H

#include "ref/taps.h"
#include "support.h"

/* Sizes that are all different, so that no axis can stand for another. The picture's last row and
 * column of pixels belong to no patch. Every bias is there; query heads share key/value heads. */
enum {
    TINY_IMAGE = 7,
    TINY_PATCHES = 9, /* of 2 x 2 pixels */
    TINY_TOWER = 12,  /* width, in 2 heads; 3 layers, of which the features need 2 */
    TINY_HIDDEN = 16, /* of the language model: 2 layers, 4 heads of width 6, 2 key/value heads */
    TINY_VOCAB = 29,
    TINY_IMAGE_TOKEN = 28,
};

typedef struct {
    support_folder folder;
    llava_config config; /* no stop token */
    llava_checkpoint *weights;
} tiny_model;

/* Writes config.json and model.safetensors (F32, seeded) into a new folder and opens them. */
void tiny_open(tiny_model *model);
void tiny_close(tiny_model *model);

/* [batch, length] ids, one picture in each sample behind its first token where length has room for
 * it (TINY_PATCHES + 1), else none. Free with llava_inputs_free. */
llava_inputs tiny_inputs(size_t batch, size_t length, uint64_t seed);
/* Gives the inputs a mask of ones, and returns it. */
int64_t *tiny_mask(llava_inputs *in);

/* ---- taps kept in memory ----------------------------------------------------------------------
 */

enum { TINY_TAPS = 512 };

typedef struct {
    char name[LLAVA_TAP_NAME];
    llava_dtype dtype;
    int rank;
    size_t shape[LLAVA_MAX_RANK];
    size_t count;
    double *values; /* integers too: all are small */
} tiny_tap;

typedef struct {
    const char *only;  /* take this name alone; NULL: every name */
    const char *watch; /* count how often the run itself asks for names that begin so */
    const char *clear; /* set this tensor to zero when it passes */
    size_t watched, count;
    tiny_tap taps[TINY_TAPS];
} tiny_taps;

llava_sink tiny_sink(tiny_taps *taps);
const tiny_tap *tiny_find(const tiny_taps *taps, const char *name);
/* Same shape and same bits? */
bool tiny_same(const tiny_tap *a, const tiny_tap *b);
void tiny_free(tiny_taps *taps);

/* ---- running ----------------------------------------------------------------------------------
 */

typedef struct {
    llava_dtype storage;
    bool islands;
    llava_convention convention;
    size_t generate; /* tokens; 0: one forward pass */
    const char *set; /* "DECISION=VALUE", or NULL */
} tiny_how;

llava_plan tiny_plan(const tiny_model *model, const tiny_how *how);
llava_tap_sizes tiny_sizes(const llava_plan *plan, const llava_inputs *in, const tiny_how *how);

/* Checks the inputs and runs as far as the wanted taps need. taps: only, watch and clear set. */
bool tiny_try(const tiny_model *model, const llava_inputs *in, const tiny_how *how, tiny_taps *taps,
              llava_error *e);
/* The same, where nothing may go wrong. */
void tiny_run(const tiny_model *model, const llava_inputs *in, const tiny_how *how,
              tiny_taps *taps);

#endif
