/* The readers of files as functions of bytes, for fuzzing (libFuzzer and AFL++ run the same ones)
 * and for replaying what fuzzing found. */
#ifndef LLAVA_FUZZ_TARGETS_H
#define LLAVA_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    /* Gives the bytes to the reader. It ends normally whether they are accepted or refused; it
     * aborts where a refusal has no message, or where what was accepted breaks a promise of the
     * reader's header. */
    void (*run)(const uint8_t *bytes, size_t n);
} fuzz_target;

/* All targets; the last one's name is NULL. */
extern const fuzz_target fuzz_targets[];

/* The target of that name, or NULL. */
const fuzz_target *fuzz_target_find(const char *name);

#endif
