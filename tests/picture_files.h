/* The picture files below tests/data, which the tests of each format read in the same way. */
#ifndef LLAVA_TESTS_PICTURE_FILES_H
#define LLAVA_TESTS_PICTURE_FILES_H

#include "ref/file.h"
#include "ref/picture_file.h"

/* tests/data/FORMAT/KIND NAME.FORMAT: FORMAT "png" or "jpg", KIND "good-", "bad-" or "". It must be
 * there. */
void picture_file_map(llava_file *file, const char *format, const char *kind, const char *name);
bool picture_file_read(llava_picture *picture, const char *format, const char *kind,
                       const char *name, llava_image_plan plan, llava_error *e);

/* Fails unless the file gives these bytes ([height, width, 3]). */
void picture_file_is(const char *format, const char *kind, const char *name, llava_image_plan plan,
                     size_t height, size_t width, const uint8_t *rgb);

/* Fails unless each of the files bad-NAME is refused in one line that begins with its name and says
 * what `reasons` has for it. */
void picture_files_are_refused(const char *format, const char *const *names, size_t count,
                               const char *const (*reasons)[2]);

#endif
