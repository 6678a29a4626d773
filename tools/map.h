/* Name maps: what a port calls the taps, and how its tensors lie (docs/maps.md). A map is data
 * only; tools/port.c applies it. */
#ifndef LLAVA_MAP_H
#define LLAVA_MAP_H

#include "ref/json.h"
#include "ref/taps.h"
#include "tools/array.h"

/* Limits (docs/limits.md). */
enum {
    LLAVA_MAP_RULES = 1024,
    LLAVA_MAP_NAME = 256, /* characters of a pattern; a longer name matches nothing */
    LLAVA_MAP_CAPTURES = 4,
    LLAVA_MAP_SLICES = 4,
    LLAVA_MAP_ROWS = 64, /* items of "rows" */
};

/* An extent: a number, or an expression of tools/sizes.h. */
typedef struct {
    const char *text; /* NULL: the number */
    size_t number;
} llava_map_size;

/* Elements from .. to-1 of an axis. */
typedef struct {
    int axis; /* of the tap */
    llava_map_size from, to;
} llava_map_window;

typedef enum {
    LLAVA_ROWS_ALL,
    LLAVA_ROWS_LAST_OF,     /* the last `count` */
    LLAVA_ROWS_LAST_OR_ALL, /* the last `count`; all where there are as many as the tap has */
    LLAVA_ROWS_FROM,        /* `count` and up */
    LLAVA_ROWS_LISTED,      /* first[0] .. last[0], first[1] .. last[1], ... rising */
} llava_map_rows_kind;

typedef struct {
    llava_map_rows_kind kind;
    size_t count; /* of the last ones, the first one, or items listed */
    size_t first[LLAVA_MAP_ROWS], last[LLAVA_MAP_ROWS];
} llava_map_rows;

/* What becomes of one port tensor. The steps are taken in the order of the members. */
typedef struct {
    const char *pattern;
    const char *tap;            /* "{i}" stands for what the pattern's {i} captured */
    const llava_tap_kind *kind; /* of that tap */
    bool optional;              /* may match nothing */
    bool has_use;
    int64_t use; /* 0: NAME, 1: NAME#1 ...; -1: the last of them */
    int reshaped;
    bool has_reshape, has_transpose;
    llava_map_size reshape[LLAVA_ARRAY_RANK];
    int transposed;
    int transpose[LLAVA_ARRAY_RANK]; /* tap axis a is the reshaped tensor's axis transpose[a] */
    int slices;
    llava_map_window slice[LLAVA_MAP_SLICES];
    bool has_crop;
    llava_map_window crop; /* as a slice, but what lacks at its end was never computed */
    bool interleaved;      /* the last axis: port 2j+t is tap t*(d/2)+j */
    bool has_scale;
    double scale;           /* tap = scale * base^power * port */
    const char *scale_base; /* an expression, or NULL */
    double scale_power;     /* -1, -0.5, 0.5 or 1 */
    const char *join;       /* the capture that counts the parts, or NULL */
    int join_axis;
    llava_map_rows rows;
    bool has_repeat;
    llava_map_size repeat; /* a first axis of 1 stands for so many alike */
} llava_map_rule;

typedef struct {
    char *name; /* for messages */
    cJSON *json;
    llava_map_rule *rules;
    size_t count;
} llava_map;

/* Reads the map of that built-in name, or else the file. */
bool llava_map_read(llava_map *map, const char *name, llava_error *e);
/* Reads n bytes of JSON; name starts the messages. */
bool llava_map_parse(llava_map *map, const char *name, const void *bytes, size_t n, llava_error *e);
void llava_map_free(llava_map *map);
/* "MAP: PATTERN: what"; returns false. */
bool llava_map_fail(const llava_map *map, const llava_map_rule *rule, const char *what,
                    llava_error *e);

/* The numbers that the pattern's captures matched. */
typedef struct {
    int count;
    const char *name[LLAVA_MAP_CAPTURES]; /* points into the pattern, up to '}' */
    size_t value[LLAVA_MAP_CAPTURES];
} llava_map_captures;

/* Does the pattern match the n characters of name? {x}: a number; *: anything; else itself. */
bool llava_map_matches(const char *pattern, const char *name, size_t n, llava_map_captures *found);
/* The number captured under a name; false where there is none. */
bool llava_map_captured(const llava_map_captures *found, const char *name, size_t n, size_t *value);
/* Writes the tap's name with the captured numbers in it; false where it is too long. */
bool llava_map_tap(const char *tap, const llava_map_captures *found, char out[LLAVA_TAP_NAME]);

/* The maps that come with the program. */
typedef struct {
    const char *name;
    const unsigned char *json;
    size_t size;
} llava_built_in_map;

/* Made from tools/maps/ when the program is built; the last one's name is NULL. */
extern const llava_built_in_map llava_built_in_maps[];

#endif
