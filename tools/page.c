#include "tools/page.h"

#include <stdbool.h>

size_t llava_page_wrap(FILE *to, size_t columns, size_t column, size_t indent, const char *text,
                       size_t n)
{
    bool begins = true; /* nothing written yet: no blank before the word */
    for (size_t at = 0; at < n;) {
        size_t length = 0;
        while (at + length < n && text[at + length] != ' ') {
            length++;
        }
        if (!begins && column + 1 + length > columns) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
            begins = true;
        }
        fprintf(to, "%s%.*s", begins ? "" : " ", (int)length, text + at);
        column += length + (begins ? 0 : 1);
        begins = false;
        at += length + 1;
    }
    return column;
}
