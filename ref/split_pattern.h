/* The regular expressions that byte-level tokenizers split a text with, each written out
 * (spec 7.5).
 *
 * A tokenizer.json names its expression as text. The known ones are told by that text; none is
 * interpreted, so an unknown one is refused. All of them cover every character, so a text falls
 * into pieces without gaps:
 *
 *   contraction | letters | numbers | everything else but white space | line ends | white space */
#ifndef LLAVA_SPLIT_PATTERN_H
#define LLAVA_SPLIT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

typedef struct llava_split_pattern llava_split_pattern;

/* The pattern with this text, or NULL. */
const llava_split_pattern *llava_split_pattern_of(const char *regex);
/* The one that ByteLevel has built in (GPT-2's). */
const llava_split_pattern *llava_split_pattern_byte_level(void);

/* The length of the piece at the start of n bytes of valid UTF-8, n > 0. What stands before them
 * does not matter, what stands behind them does: the text ends at n. Pieces in turn take time that
 * grows with the text's length only. */
size_t llava_split_pattern_piece(const llava_split_pattern *pattern, const char *text, size_t n);

#endif
