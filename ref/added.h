/* Added tokens: the texts that become one id before the model sees them (spec 7.2, steps 1 and 2;
 * tokenizers tokenizer/added_vocabulary).
 *
 * Of several added tokens that could match, the one that begins first is taken, and of those the
 * longest; matches do not overlap. All starts are found in one backward pass of an Aho-Corasick
 * automaton over the reversed tokens: linear in the text, whatever the tokens are. */
#ifndef LLAVA_ADDED_H
#define LLAVA_ADDED_H

#include "unicode.h"

typedef struct {
    const char *content; /* as the file has it */
    size_t content_n;
    char *pattern; /* what is searched: the content, normalised where `normalized` asks for it */
    size_t pattern_n;
    uint32_t id;
    bool special, lstrip, rstrip, normalized, single_word;
    /* Is the pattern's text that of a special token? That is what decoding skips: a special token
     * whose normalised text differs from its content is not skipped (as in tokenizers). */
    bool skipped;
} llava_added;

/* Text and, at `token`, which of them. */
typedef struct {
    size_t start, end; /* bytes [start, end) */
    int64_t token;     /* index of the added token, or -1: text between them */
} llava_split;

typedef struct {
    llava_split *at;
    size_t n, room;
} llava_splits;

typedef struct llava_matcher llava_matcher;

/* Builds the search for those of the n tokens whose `normalized` is as asked; *matcher is NULL
 * where there are none. Two tokens with the same pattern, or an empty pattern: refused. */
bool llava_matcher_build(llava_matcher **matcher, const llava_added *tokens, size_t n,
                         bool normalized, llava_error *e);
void llava_matcher_free(llava_matcher *matcher);

/* Splits n bytes of UTF-8 into added tokens and the text between them, in order, appended to
 * *splits (free(splits->at) when done). A single_word token is dropped where a word character
 * stands beside it; lstrip and rstrip widen a match over the white space beside it, to the left no
 * further than the match before. As in tokenizers, a token may then begin inside white space that
 * the one before has taken; both are kept. n below 2^31. */
bool llava_matcher_split(const llava_matcher *matcher, const llava_added *tokens, const char *text,
                         size_t n, llava_splits *splits, llava_error *e);

#endif
