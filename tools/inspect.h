/* What the parts of `inspect` share: where the table and the JSON go. */
#ifndef LLAVA_INSPECT_H
#define LLAVA_INSPECT_H

#include "ref/error.h"
#include "tools/dump.h"
#include "tools/nearest.h"
#include "tools/session.h"
#include "tools/statistics.h"

#include <cjson/cJSON.h>
#include <stdio.h>

/* No line of a table is wider. */
#define LLAVA_INSPECT_COLUMNS 100
/* Room for a shape's text. */
#define LLAVA_INSPECT_SHAPE 192
/* So many values from a tensor's beginning, and as many from its end, are shown. */
#define LLAVA_INSPECT_ENDS 8
/* Values decoded at a time. */
#define LLAVA_INSPECT_PIECE ((size_t)32 * 1024)

typedef struct {
    const char *path, *name; /* name NULL: all of path */
    llava_request request;   /* of a model folder: --profile, --vision-tower */
    const char *png;         /* where a picture of tensor `name` goes, or NULL */
    FILE *table;
    cJSON *json; /* an object to fill, or NULL where nobody asked for JSON */
    bool out_of_memory;
} llava_inspection;

/* A model folder (it has a config.json). */
bool llava_inspect_model(llava_inspection *of, llava_error *e);
/* A dump, or anything else that is read like one. */
bool llava_inspect_dump(llava_inspection *of, llava_error *e);

/* Values first .. first + n - 1 of any type as float64; integers beyond 2^53 lose their last
 * digits. integers: room for n. */
bool llava_inspect_read(llava_dump *dump, const llava_dump_entry *entry, size_t first, size_t n,
                        double *values, int64_t *integers, llava_error *e);

/* "PATH: there is no tensor NAME", with the nearest that was offered; returns false. */
bool llava_inspect_no_tensor(const llava_inspection *of, const llava_nearest *nearest,
                             llava_error *e);

/* ---- the table ---- */

/* Writes text escaped, at most `most` columns ("..." where it is longer); returns the columns. */
size_t llava_inspect_text(FILE *to, const char *text, size_t most);
/* The same in a column of that width; a longer one stands on a line of its own. */
void llava_inspect_cell(FILE *to, const char *text, size_t width);
/* "[1,4,8]", "[]". */
const char *llava_inspect_shape(char text[LLAVA_INSPECT_SHAPE], int rank, const size_t *shape);
/* "count ...  min ...": the lines of one tensor. */
void llava_inspect_statistics(FILE *to, const llava_statistics *s);

/* ---- JSON: nothing happens where object is NULL ---- */

void llava_inspect_put_text(llava_inspection *of, cJSON *object, const char *key, const char *text);
void llava_inspect_put_number(llava_inspection *of, cJSON *object, const char *key, double value);
void llava_inspect_put_bool(llava_inspection *of, cJSON *object, const char *key, bool value);
void llava_inspect_put_shape(llava_inspection *of, cJSON *object, int rank, const size_t *shape);
/* "count", "nan", "inf", "min" ...: null where there is no finite value. */
void llava_inspect_put_statistics(llava_inspection *of, cJSON *object, const llava_statistics *s);
/* A new array or object under key, or a new object at an array's end. */
cJSON *llava_inspect_put_array(llava_inspection *of, cJSON *object, const char *key);
cJSON *llava_inspect_put_object(llava_inspection *of, cJSON *object, const char *key);
/* Takes the item (NULL: it could not be made). */
void llava_inspect_push(llava_inspection *of, cJSON *array, cJSON *item);
cJSON *llava_inspect_put_item(llava_inspection *of, cJSON *array);

#endif
