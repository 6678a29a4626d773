/* A view as pictures inside a page: PNG files in data: addresses, each with its scale. */
#ifndef LLAVA_VIEW_HTML_H
#define LLAVA_VIEW_HTML_H

#include "tools/html.h"
#include "tools/view.h"

/* names: what the two sides are called, "expected" and "actual" or the like. */
void llava_view_write(llava_html *h, const llava_view *view, const char *const names[2]);

#endif
