/* JSON for other programs. */
#ifndef LLAVA_JSON_OUT_H
#define LLAVA_JSON_OUT_H

#include "ref/error.h"

#include <cjson/cJSON.h>

/* Puts an item under a key, or at an array's end (key NULL), and returns it. Where memory was
 * lacking, for it or for what it goes into (NULL), *lost is set, and NULL comes back: a tree may be
 * made without asking at each step. */
cJSON *llava_json_put(bool *lost, cJSON *to, const char *key, cJSON *item);
/* A string, null for NULL; an array of strings that ends with NULL. */
void llava_json_text(bool *lost, cJSON *to, const char *key, const char *text);
void llava_json_words(bool *lost, cJSON *to, const char *key, const char *const *words);
/* Writes the tree and a line feed to path ("-": standard output), whole or not at all. Numbers that
 * are not finite become null; characters that a terminal acts on become \uXXXX, bytes that are not
 * UTF-8 U+FFFD. json NULL: out of memory, the caller's tree could not be made. */
bool llava_json_write(const cJSON *json, const char *path, llava_error *e);

#endif
