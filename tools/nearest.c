#include "tools/nearest.h"

#include <stdio.h>
#include <string.h>

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Damerau's distance in its simple form (no character is changed twice). Both words have at most
 * LLAVA_NEAREST characters. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][LLAVA_NEAREST + 1], m = strlen(a), n = strlen(b);
    for (size_t j = 0; j <= n; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= m; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least_of(change, above[j] + 1, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j]) {
                row[j] = before[j - 2] + 1;
            }
        }
    }
    return rows[m % 3][n];
}

bool llava_nearest_offer(llava_nearest *nearest, const char *known)
{
    size_t length = strlen(nearest->word);
    if (length == 0 || length > LLAVA_NEAREST || strlen(known) > LLAVA_NEAREST) {
        return false;
    }
    size_t d = distance(nearest->word, known);
    bool near = d < length && d <= length / 3 + 1;
    if (!near || (nearest->best[0] != '\0' && d >= nearest->least)) {
        return false;
    }
    nearest->least = d;
    strcpy(nearest->best, known);
    return true;
}

const char *llava_nearest_of(const char *word, const char *const *words)
{
    llava_nearest nearest = {.word = word};
    const char *best = NULL;
    for (size_t i = 0; words[i] != NULL; i++) {
        best = llava_nearest_offer(&nearest, words[i]) ? words[i] : best;
    }
    return best;
}

const char *llava_did_you_mean(const char *best, char text[LLAVA_HINT])
{
    text[0] = '\0';
    if (best != NULL && best[0] != '\0') {
        snprintf(text, LLAVA_HINT, " (did you mean %s?)", best);
    }
    return text;
}
