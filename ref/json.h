/* Strict JSON over cJSON.
 *
 * cJSON alone is lenient: it looks keys up without regard to case, keeps duplicate keys, takes
 * trailing bytes, saturates integers, and does not check UTF-8. Everything that reads JSON here
 * goes through these functions, which refuse what contract section 9 says. */
#ifndef LLAVA_JSON_H
#define LLAVA_JSON_H

#include "error.h"

#include <cjson/cJSON.h>
#include <stdint.h>

/* Nesting deeper than this is refused (docs/limits.md). */
#define LLAVA_JSON_DEPTH 64

/* Parses n bytes as one JSON document, strictly: valid UTF-8, no byte after the value, no duplicate
 * key in any object (names compared exactly), numbers finite and of at most 63 characters, nesting
 * at most LLAVA_JSON_DEPTH, at most 8 million values, no raw control characters in strings, no
 * \u0000 or lone surrogates in strings; a byte-order mark is skipped. `name` (a path) starts every
 * message, which gives the byte offset of a syntax error. Free with cJSON_Delete. */
cJSON *llava_json_parse(const char *name, const void *bytes, size_t n, llava_error *e);
/* The same for a file. */
cJSON *llava_json_read(const char *path, llava_error *e);

/* Typed members. A dot in `key` descends: "vision_config.hidden_size" is the member hidden_size of
 * the member vision_config (and reads so in messages). `object` NULL or a key that is absent or
 * null leaves *value as it is and succeeds: the caller puts the default there first. A value of
 * another kind, or out of range, is refused with "name: key: ...". Integers must be whole and below
 * 2^53 in size (16.0 is taken for 16). */
bool llava_json_size(const char *name, const cJSON *object, const char *key, size_t *value,
                     llava_error *e); /* 0 .. 2^53 - 1 */
bool llava_json_int(const char *name, const cJSON *object, const char *key, int64_t *value,
                    llava_error *e);
bool llava_json_double(const char *name, const cJSON *object, const char *key, double *value,
                       llava_error *e);
bool llava_json_bool(const char *name, const cJSON *object, const char *key, bool *value,
                     llava_error *e);
/* *value points into the tree. */
bool llava_json_string(const char *name, const cJSON *object, const char *key, const char **value,
                       llava_error *e);
/* A member that is an object / an array, or NULL in *value where absent or null. */
bool llava_json_object(const char *name, const cJSON *object, const char *key, const cJSON **value,
                       llava_error *e);
bool llava_json_array(const char *name, const cJSON *object, const char *key, const cJSON **value,
                      llava_error *e);
/* One item as an integer (an array's element, a value at hand). */
bool llava_json_item_int(const char *name, const cJSON *item, const char *what, int64_t *value,
                         llava_error *e);
/* Is the key there with a value that is not null? */
bool llava_json_has(const cJSON *object, const char *key);

#endif
