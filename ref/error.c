#include "error.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool llava_fail(llava_error *e, const char *format, ...)
{
    if (e == NULL) {
        return false;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(e->text, sizeof e->text, format, arguments);
    va_end(arguments);
    return false;
}

bool llava_fail_in(llava_error *e, const char *prefix)
{
    if (e == NULL) {
        return false;
    }
    llava_error inner = *e;
    return llava_fail(e, "%s: %s", prefix, inner.text);
}

bool llava_out_of_memory(const llava_error *e)
{
    return strstr(e->text, "out of memory") != NULL;
}

bool llava_may_go_on(const llava_error *refused, llava_error *e)
{
    return !llava_out_of_memory(refused) || llava_fail(e, "%s", refused->text);
}

bool llava_mul(size_t a, size_t b, size_t *product)
{
    if (b != 0 && a > SIZE_MAX / b) {
        return false;
    }
    *product = a * b;
    return true;
}

bool llava_add(size_t a, size_t b, size_t *sum)
{
    if (a > SIZE_MAX - b) {
        return false;
    }
    *sum = a + b;
    return true;
}

void *llava_alloc(llava_error *e, size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (p == NULL) {
        llava_fail(e, "out of memory (%zu x %zu bytes)", count, size);
    }
    return p;
}

void *llava_realloc(llava_error *e, void *p, size_t count, size_t size)
{
    size_t bytes;
    void *grown = NULL;
    if (llava_mul(count, size, &bytes)) {
        grown = realloc(p, bytes == 0 ? 1 : bytes);
    }
    if (grown == NULL) {
        llava_fail(e, "out of memory (%zu x %zu bytes)", count, size);
    }
    return grown;
}

char *llava_text(llava_error *e, const char *text, size_t n)
{
    size_t bytes;
    char *copy = NULL;
    if (llava_add(n, 1, &bytes)) {
        copy = malloc(bytes);
    }
    if (copy == NULL) {
        llava_fail(e, "out of memory (%zu bytes)", n);
        return NULL;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}
