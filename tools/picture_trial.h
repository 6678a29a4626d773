/* The picture stage along a port's tensors: a stage computed from the nearest one before it that
 * the port supplies, and from the picture file where it supplies none. */
#ifndef LLAVA_PICTURE_TRIAL_H
#define LLAVA_PICTURE_TRIAL_H

#include "tools/compare.h"
#include "tools/session.h"

/* Holds the port's tensor `tap` (image.*, or pixel_values) against what these choices make of
 * `from`'s nearest stage before it; from NULL: of the file. *made: false where they make no such
 * tap, or one of another shape. Errors: memory, and files that cannot be read; a choice that a
 * picture refuses makes nothing. */
bool llava_picture_compare(const llava_session *session, const llava_choices *choices,
                           llava_port *from, llava_port *port, const char *tap,
                           llava_comparison *result, bool *made, llava_error *e);

/* pixel_values [N, 3, h, w] that these choices make of the port's last stages, in new memory; NULL
 * where they are refused or of another shape than the session's own. */
bool llava_picture_values(const llava_session *session, const llava_choices *choices,
                          llava_port *port, double **values, llava_error *e);

#endif
