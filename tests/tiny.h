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

/* Sizes of a model; its image token is the last of the vocabulary. */
typedef struct {
    size_t image, patch, tower, tower_heads, tower_wide, tower_layers;
    size_t hidden, heads, kv_heads, head_dim, wide, layers, vocab;
    bool full;         /* the class row is a feature, too */
    bool two_features; /* of the last layer and of the first */
    bool tied;         /* no head of its own */
    llava_dtype stored;
} tiny_shape;

extern const tiny_shape tiny_default; /* the sizes above, F32 */

size_t tiny_patches(const tiny_shape *shape);
size_t tiny_picture_rows(const tiny_shape *shape); /* that one picture gives the text */

typedef struct {
    tiny_shape shape;
    support_folder folder;
    llava_config config; /* no stop token */
    llava_checkpoint *weights;
} tiny_model;

/* Writes config.json and model.safetensors (seeded) into a new folder and opens them. */
void tiny_open(tiny_model *model); /* the default */
void tiny_open_as(tiny_model *model, const tiny_shape *shape);
void tiny_close(tiny_model *model);

/* [batch, length] ids, one picture in each sample behind its first token where length has room for
 * it (TINY_PATCHES + 1), else none. Free with llava_inputs_free. */
llava_inputs tiny_inputs(size_t batch, size_t length, uint64_t seed);
/* The same for any model: `pictures` of them behind each sample's first token. */
llava_inputs tiny_inputs_of(const tiny_shape *shape, size_t batch, size_t length, size_t pictures,
                            uint64_t seed);
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
    size_t generate;             /* tokens; 0: one forward pass */
    const char *set;             /* "DECISION=VALUE", or NULL */
    bool sums_f32;               /* as an honest port sums (ref/numerics.h) */
    llava_fast *fast;            /* NULL: the plain path */
    const llava_some_rows *only; /* rows that count (llava_goal); NULL: all */
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
