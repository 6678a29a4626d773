/* JSON for other programs. */
#ifndef LLAVA_JSON_OUT_H
#define LLAVA_JSON_OUT_H

#include "ref/error.h"

#include <cjson/cJSON.h>

/* Writes the tree and a line feed to path ("-": standard output), whole or not at all. Numbers that
 * are not finite become null; characters that a terminal acts on become \uXXXX, bytes that are not
 * UTF-8 U+FFFD. json NULL: out of memory, the caller's tree could not be made. */
bool llava_json_write(const cJSON *json, const char *path, llava_error *e);

#endif
