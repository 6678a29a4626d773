/* One tensor of two dumps made small enough to look at: expected, actual and their difference as
 * matrices of at most LLAVA_VIEW_EDGE x LLAVA_VIEW_EDGE cells, read once from front to back.
 *
 * A cell of expected and actual is one value of its block (the first that counts), a cell of the
 * difference the value of largest size among the block's, so that one wrong value out of millions
 * is still seen. */
#ifndef LLAVA_VIEW_H
#define LLAVA_VIEW_H

#include "tools/compare.h"

enum {
    LLAVA_VIEW_EDGE = 384,
    LLAVA_VIEW_PHOTO = 224, /* the edge of a picture in colour, which compresses badly */
    LLAVA_VIEW_HEADS = 64,
    LLAVA_VIEW_LISTED = 12
};

/* Where the elements of a tensor lie. */
typedef enum {
    LLAVA_VIEW_ROWS,         /* [.., rows, columns] */
    LLAVA_VIEW_HEADS_INSIDE, /* [N, rows, heads, columns]: q, k, v */
    LLAVA_VIEW_HEADS_FIRST,  /* [N, heads, rows, columns]: scores, probs */
    LLAVA_VIEW_PLANES,       /* [N, 3, rows, columns]: pixel_values */
    LLAVA_VIEW_PIXELS,       /* [rows, columns, 3]: image.* */
} llava_view_kind;

typedef struct {
    llava_view_kind kind;
    size_t samples, heads, rows, columns;
} llava_view_layout;

/* Of a tap of this name and shape; a name that is no tap is plain rows. */
llava_view_layout llava_view_lay_out(const char *name, int rank, const size_t *shape);

typedef struct {
    size_t sample, head, row;
} llava_view_place;

/* Where a row of a comparison (all axes but the last, flattened) lies. */
llava_view_place llava_view_place_of(const llava_view_layout *layout, size_t flat_row);

typedef struct {
    size_t rows, columns; /* cells */
    size_t tall, wide;    /* values in a cell's block */
    double *expected, *actual, *difference;
    uint8_t *counted; /* 0: nothing in the block counts */
} llava_heat;

typedef struct {
    size_t index;
    double expected, actual;
} llava_unequal;

typedef struct {
    char *name;
    llava_view_layout layout;
    llava_view_place worst; /* what `whole` shows: its sample and head */
    llava_heat whole;
    llava_heat heads[LLAVA_VIEW_HEADS]; /* the first heads of that sample; difference only */
    size_t head_count;                  /* 0: no heads */
    uint8_t *expected_rgb, *actual_rgb; /* pictures: [whole.rows, whole.columns, 3] */
    double *row_error;                  /* |d|_2 / |expected|_2 of the rows of `whole` */
    size_t row_error_count;             /* 0: too many rows */
    llava_unequal unequal[LLAVA_VIEW_LISTED];
    size_t unequal_count;
} llava_view;

/* Where the tensor comes from. */
typedef struct {
    /* Elements first .. first+n-1 of both, asked for in rising order. */
    bool (*read)(void *self, size_t first, size_t n, double *expected, double *actual,
                 llava_error *e);
    void *self;
    const llava_counting *counting;
    const llava_port_tensor *given; /* what the port never computed is left out; or NULL */
    const char *name;
    int rank;
    const size_t *shape;
    const llava_comparison *comparison; /* says where the worst is */
} llava_view_source;

/* view NULL where there is nothing to be seen: no elements, rank 0. */
bool llava_view_make(llava_view **view, const llava_view_source *source, llava_error *e);
void llava_view_free(llava_view *view);

#endif
