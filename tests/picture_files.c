#include "tests/picture_files.h"

#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void picture_file_map(llava_file *file, const char *format, const char *kind, const char *name)
{
    char path[256]; /* the tests run in the repository's root */
    const char *folder = strcmp(format, "jpg") == 0 ? "jpeg" : format;
    snprintf(path, sizeof path, "tests/data/%s/%s%s.%s", folder, kind, name, format);
    llava_error e = {""};
    if (!llava_file_map(file, path, &e)) {
        fail_msg("%s", e.text);
    }
}

bool picture_file_read(llava_picture *picture, const char *format, const char *kind,
                       const char *name, llava_image_plan plan, llava_error *e)
{
    llava_file file;
    picture_file_map(&file, format, kind, name);
    bool ok = llava_picture_read(picture, name, file.bytes, file.size, &plan, e);
    llava_file_unmap(&file);
    return ok;
}

void picture_file_is(const char *format, const char *kind, const char *name, llava_image_plan plan,
                     size_t height, size_t width, const uint8_t *rgb)
{
    llava_error e = {""};
    llava_picture picture;
    if (!picture_file_read(&picture, format, kind, name, plan, &e)) {
        fail_msg("%s", e.text);
    }
    if (picture.height != height || picture.width != width ||
        memcmp(picture.rgb, rgb, 3 * height * width) != 0) {
        fail_msg("%s, alpha %d: other bytes", name, (int)plan.alpha);
    }
    llava_picture_free(&picture);
}

void picture_files_are_refused(const char *format, const char *const *names, size_t count,
                               const char *const (*reasons)[2])
{
    for (size_t i = 0; i < count; i++) {
        const char *name = names[i];
        llava_error e = {""};
        llava_picture picture;
        if (picture_file_read(&picture, format, "bad-", name, (llava_image_plan){0}, &e)) {
            fail_msg("%s was read", name);
        }
        assert_null(picture.rgb);
        if (strncmp(e.text, name, strlen(name)) != 0 ||
            strstr(e.text, support_reason(reasons, count, name)) == NULL ||
            strpbrk(e.text, "\n\x1b") != NULL) {
            fail_msg("%s: the message is: %s", name, e.text);
        }
    }
}
