/* Text on a page for people. */
#ifndef LLAVA_PAGE_H
#define LLAVA_PAGE_H

#include <stddef.h>
#include <stdio.h>

/* Writes n bytes of text from `column` on, broken at blanks so that no line passes `columns`;
 * further lines begin at `indent`. A word longer than a line (a link) gets a line of its own.
 * Returns the column behind the last word. */
size_t llava_page_wrap(FILE *to, size_t columns, size_t column, size_t indent, const char *text,
                       size_t n);

#endif
