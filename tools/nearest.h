/* "did you mean ...?": the word that a mistyped one was probably meant to be. */
#ifndef LLAVA_NEAREST_H
#define LLAVA_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

enum { LLAVA_NEAREST = 96, LLAVA_HINT = LLAVA_NEAREST + 24 };

/* Words are offered one after the other; the nearest is kept. Start with {.word = WORD}. */
typedef struct {
    const char *word;
    char best[LLAVA_NEAREST + 1]; /* empty: none is near enough */
    size_t least;                 /* its distance */
} llava_nearest;

/* Each change, missing or further character counts 1, and so do two neighbours that changed places;
 * a third of the word, and one more, may be wrong. Words of more than LLAVA_NEAREST characters are
 * never near. Says whether this one is the nearest so far. */
bool llava_nearest_offer(llava_nearest *nearest, const char *known);
/* The nearest of a list that ends with NULL, or NULL. */
const char *llava_nearest_of(const char *word, const char *const *words);

/* " (did you mean BEST?)", or nothing for NULL and an empty word; returns text. */
const char *llava_did_you_mean(const char *best, char text[LLAVA_HINT]);

#endif
