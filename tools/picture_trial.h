/* The picture stage along a port's tensors: a stage computed from the nearest one before it that
 * the port supplies, and from the picture file where it supplies none. */
#ifndef LLAVA_PICTURE_TRIAL_H
#define LLAVA_PICTURE_TRIAL_H

#include "tools/bounds.h"
#include "tools/compare.h"
#include "tools/session.h"

/* Holds the port's tensor `tap` (image.*, or pixel_values) against what these choices make of
 * `from`'s nearest stage before it; from NULL: of the file. *made: false where they make no such
 * tap, or one of another shape. Errors: memory, and files that cannot be read; a choice that a
 * picture refuses makes nothing. */
bool llava_picture_compare(const llava_session *session, const llava_choices *choices,
                           llava_port *from, llava_port *port, const char *tap,
                           llava_comparison *result, bool *made, llava_error *e);

/* Does the port show any stage of any picture before pixel_values? */
bool llava_picture_shows_stage(const llava_session *session, llava_port *port);

/* Where each picture has a size of its own (Pixtral): puts the sizes of the port's pictures, as the
 * right steps make them of its nearest stages, into the inputs: image_sizes, height, width. */
bool llava_picture_sizes(const llava_session *session, llava_port *port, llava_inputs *inputs,
                         llava_error *e);

/* The same where the port shows no picture: the sizes that the rows of image tokens in its ids
 * state (breaks end them), if there are as many as pictures and the largest make these pixels.
 * Nothing changes and false where not. */
bool llava_picture_sizes_of_ids(const llava_session *session, const int64_t *ids, size_t n,
                                size_t height, size_t width, llava_inputs *inputs);

/* Where the port's pixel values are cast to 16 bits, each of mine that may round to the port's is
 * taken as the port has it: what remains is no cast. */
void llava_cast_pixels(double *mine, const double *theirs, size_t n);

/* pixel_values [N, 3, h, w] that these choices make of the port's last stages, in new memory; NULL
 * where they are refused or of another shape than the inputs'. */
bool llava_picture_values(const llava_session *session, const llava_inputs *inputs,
                          const llava_choices *choices, llava_port *port, double **values,
                          llava_error *e);

#endif
