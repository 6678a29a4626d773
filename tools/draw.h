/* What the parts of `draw` share. Each draws one kind of picture from dumps, and prints the numbers
 * that its colours stand for. */
#ifndef LLAVA_DRAW_H
#define LLAVA_DRAW_H

#include "ref/picture.h"
#include "tools/canvas.h"
#include "tools/compare.h"
#include "tools/json_out.h"
#include "tools/nearest.h"
#include "tools/sinks.h"

#include <stdio.h>

typedef struct {
    const char **words; /* [count]: dumps, and for attention taps */
    size_t count;
    const char *map;       /* of the actual dumps; NULL */
    llava_globs taps;      /* none: the kind's own choice */
    llava_nearest nearest; /* to the text of --taps, of the names that were asked about */
    size_t sample;         /* picture, or sample of the batch */
    size_t row, head;      /* SIZE_MAX: not named */
    bool has_plan;         /* --model */
    llava_plan plan;
    double mean[3], std[3]; /* of pixel_values: the folder's, else CLIP's */
    FILE *table;            /* the numbers that the colours stand for */
    cJSON *json;            /* the same for programs: each kind's own members */
    bool lost;              /* of json: there was no memory for some of it */
    double work, done;      /* of what is read, in units of the kind's own */
    llava_canvas canvas; /* what is drawn; opened by the kind, written and closed by the command */
} llava_drawing;

bool llava_draw_picture(llava_drawing *d, llava_error *e);
bool llava_draw_attention(llava_drawing *d, llava_error *e);
bool llava_draw_patches(llava_drawing *d, llava_error *e);
bool llava_draw_rows(llava_drawing *d, llava_error *e);
bool llava_draw_drift(llava_drawing *d, llava_error *e);
bool llava_draw_angles(llava_drawing *d, llava_error *e);

/* A tensor that must be there. */
const llava_dump_entry *llava_drawing_entry(const llava_dump *dump, const char *name,
                                            llava_error *e);
/* The letters of a tap's shape ("N,T,D"), empty for a name that is no tap. */
const char *llava_drawing_letters(const char *name);
/* A number of the kind's JSON: under a key, or at an array's end. */
void llava_drawing_put(llava_drawing *d, cJSON *to, const char *key, double value);
void llava_drawing_count(llava_drawing *d, cJSON *to, const char *key, size_t value);
/* An array of `rows` arrays of `columns` numbers. */
void llava_drawing_grid(llava_drawing *d, cJSON *to, const char *key, const double *values,
                        size_t rows, size_t columns);
/* "at": [row, column] of place i in a grid. */
void llava_drawing_at(llava_drawing *d, cJSON *to, size_t i, size_t columns);
/* A list under a key, and a new object at its end. */
cJSON *llava_drawing_list(llava_drawing *d, const char *key);
cJSON *llava_drawing_item(llava_drawing *d, cJSON *list, const char *key, const char *name);
/* Shows that this tensor comes next, `amount` of the work. */
void llava_drawing_show(llava_drawing *d, const char *name, double amount);
/* Is it asked for? Without --taps: is it `otherwise`, a pattern of fnmatch? */
bool llava_drawing_wants(llava_drawing *d, const char *name, const char *otherwise);
/* "PATH: WHAT", with the name that --taps was probably meant to be; returns false. */
bool llava_drawing_none(const llava_drawing *d, const char *path, const char *what, llava_error *e);

/* EXPECTED's tensor beside ACTUAL's, whole, as the comparisons of a drawing need them. */
typedef struct {
    const llava_dump_entry *entry;
    double *expected, *actual; /* [entry->array.count] */
} llava_drawing_pair;

/* Shown as work of as many elements as it has. Refused: not there in both, another shape. */
bool llava_drawing_load(llava_drawing *d, llava_dump *expected, llava_port *actual,
                        const char *name, llava_drawing_pair *pair, llava_error *e);
void llava_drawing_unload(llava_drawing_pair *pair);
/* |actual - expected|_2 / |expected|_2 of n values; 0 where both are 0, NaN where one is. */
double llava_drawing_error(const double *expected, const double *actual, size_t n);

/* What counts: EXPECTED's mask, where it has one of two dimensions. */
bool llava_drawing_mask(llava_counting *counting, llava_dump *expected, llava_error *e);

/* The power of ten that an error is, with the same digits everywhere, and none lower than that. */
enum { LLAVA_LOWEST_POWER = -17 };
double llava_power_of_ten(double value);
/* "1e-7"; "1" for 0. */
void llava_decade_text(char text[16], int decade);

/* ---- pictures and their patches ---- */

/* pixel_values with planes of that picture; NULL: not in the dump. */
const llava_dump_entry *llava_drawing_planes(const llava_dump *dump, size_t picture);
/* image.rgb and so on of a picture; NULL: not in the dump, or no picture. */
const llava_dump_entry *llava_drawing_stage(const llava_dump *dump, size_t picture,
                                            llava_image_stage stage);
bool llava_drawing_bytes(llava_dump *dump, const llava_dump_entry *stage, llava_picture *picture,
                         llava_error *e);
/* The planes [3, height, width] of pixel_values as the bytes that they were made from. */
bool llava_drawing_pixels(const llava_drawing *d, const double *planes, size_t height, size_t width,
                          llava_picture *picture, llava_error *e);
/* Picture d->sample: the last stage that the dump has, else, or from_pixels, its pixel_values. */
bool llava_drawing_picture(const llava_drawing *d, llava_dump *dump, bool from_pixels,
                           llava_picture *picture, llava_error *e);

typedef struct {
    size_t size;          /* pixels of a patch's side */
    size_t rows, columns; /* patches */
    size_t *row; /* [rows * columns]: of each, its row among a tap's, leading axes flattened */
} llava_patches;

/* Those of picture d->sample in a tap of these letters and this shape ("N,T", "N,F": rows of the
 * tower; "B,S": of the language model, where input_ids say which are the picture's). Needs a plan.
 */
bool llava_patches_find(llava_patches *patches, const llava_drawing *d, llava_dump *dump,
                        const char *letters, const size_t *shape, llava_error *e);
void llava_patches_free(llava_patches *patches);

#endif
