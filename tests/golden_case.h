/* Golden cases as several tests run them: the arguments of case.json, and the program in this
 * process. */
#ifndef LLAVA_TESTS_GOLDEN_CASE_H
#define LLAVA_TESTS_GOLDEN_CASE_H

#include "ref/error.h"

#include <cjson/cJSON.h>

enum { GOLDEN_WORDS = 128 };

/* Calls each(self, folder) for every golden/CASE that holds a case.json, by name; returns how many.
 * A build that reads no JPEG leaves out, and says so, those that need it.
 */
size_t golden_each(void (*each)(void *self, const char *folder), void *self);

/* Is this a case that the build can run? A JPEG needs libjpeg-turbo. */
bool golden_readable(const char *folder);

/* The case's arguments, then the pairs that `more` holds (ends with NULL); returns how many. The
 * words belong to json and more. */
int golden_words(const cJSON *json, char *const more[], char *words[GOLDEN_WORDS]);

/* `llava-ref run WORDS` with standard output going to the file `to`; the exit status. */
int golden_run(int count, char **words, const char *to, llava_error *e);

#endif
