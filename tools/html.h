/* Writing a page of HTML, or XML, piece by piece. An error is kept and everything after it is
 * skipped, so that a page reads as the sequence of its parts; llava_html_close tells. */
#ifndef LLAVA_HTML_H
#define LLAVA_HTML_H

#include "tools/picture_out.h"

typedef struct {
    llava_output *output;
    llava_error *e;
    bool ok;
} llava_html;

bool llava_html_open(llava_html *h, const char *path, llava_error *e);
/* Puts the page in its place if everything went well. */
bool llava_html_close(llava_html *h);

/* The program's own markup. */
void llava_html_put(llava_html *h, const char *markup);
/* The same with numbers and own words in it; at most 2000 bytes. */
void llava_html_format(llava_html *h, const char *format, ...) LLAVA_PRINTF(2, 3);
/* Text from anywhere: & < > " ' as entities; control characters, direction marks and what is not
 * UTF-8 spelt out as \xHH. Fits between tags and inside a quoted attribute. */
void llava_html_text(llava_html *h, const char *text);
/* The same, cut after `most` bytes with "..". */
void llava_html_cut(llava_html *h, const char *text, size_t most);
/* data:image/png;base64,... */
void llava_html_png(llava_html *h, const llava_png *png);

/* A number as it stands in the text: 3 digits at most, 1.2e-7 beyond four places. */
typedef struct {
    char text[32];
} llava_short_number;
llava_short_number llava_short(double value);

#endif
