/* Errors and checked sizes.
 *
 * Every function that can fail returns bool and, on false, has written one line into the caller's
 * llava_error: "FILE: what is wrong (where)", without the program's name and without a newline.
 * The library never prints, exits or asserts on what came from a file. */
#ifndef LLAVA_ERROR_H
#define LLAVA_ERROR_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char text[1024];
} llava_error;

#if defined(__GNUC__)
#define LLAVA_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LLAVA_PRINTF(text, first)
#endif

/* Writes the message and returns false, so that `return llava_fail(e, ...)` is one line. */
bool llava_fail(llava_error *e, const char *format, ...) LLAVA_PRINTF(2, 3);

/* Puts "prefix: " in front of the message that e already holds; returns false. */
bool llava_fail_in(llava_error *e, const char *prefix);

/* Does the message say that memory was out? Every such message here does, and a caller that goes on
 * after other failures (a trial that can't run shows nothing) must not go on after this one. */
bool llava_out_of_memory(const llava_error *e);

/* After a failure that may be a refusal: true, and the caller goes on without; false where memory
 * was out, and e says so. */
bool llava_may_go_on(const llava_error *refused, llava_error *e);

/* *product = a * b, *sum = a + b; false where it does not fit a size_t. */
bool llava_mul(size_t a, size_t b, size_t *product);
bool llava_add(size_t a, size_t b, size_t *sum);

/* count * size bytes, zeroed; NULL with a message where the product overflows or memory is out.
 * count 0 gives a valid pointer. Freed with free(). */
void *llava_alloc(llava_error *e, size_t count, size_t size);

/* Grows p to count * size bytes (contents kept); NULL with a message, and p still valid, where not.
 */
void *llava_realloc(llava_error *e, void *p, size_t count, size_t size);

/* A copy of n bytes of text with a NUL behind it, or NULL with a message. */
char *llava_text(llava_error *e, const char *text, size_t n);

#endif
