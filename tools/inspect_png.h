/* A tensor of a dump as a picture.
 *
 * image.* as it is; anything else as a matrix in colours, blue below zero, white at zero, red
 * above, the largest size full: rows downward, columns to the right, heads (or planes) side by
 * side, samples one below the other, a grey line between. A tensor of many rows or columns is made
 * smaller: a cell shows the value of largest size among its block's; NaN is black. */
#ifndef LLAVA_INSPECT_PNG_H
#define LLAVA_INSPECT_PNG_H

#include "tools/dump.h"

/* The most cells a side; more heads or samples than that are refused. */
#define LLAVA_INSPECT_PNG_EDGE 4096
/* Small tensors are enlarged until the longer side has about so many pixels. */
#define LLAVA_INSPECT_PNG_SIDE 1024

/* Writes `path` ("-": standard output). */
bool llava_inspect_png(llava_dump *dump, const llava_dump_entry *entry, const char *path,
                       llava_error *e);

#endif
