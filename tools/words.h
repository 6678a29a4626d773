/* Lines for people: names from hostile files can't move the cursor, break a line or colour it. */
#ifndef LLAVA_WORDS_H
#define LLAVA_WORDS_H

#include <stdio.h>

/* Writes text with every control character (C0, DEL, C1), every byte that is not UTF-8 and every
 * Unicode line or direction control shown as \xHH. */
void llava_print_escaped(FILE *to, const char *text);

/* "llava-ref: TEXT" or "llava-ref: warning: TEXT" on stderr, one line. */
void llava_complain(const char *text);
void llava_warn(const char *text);

#endif
