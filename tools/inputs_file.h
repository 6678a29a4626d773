/* The inputs file: the arguments of a forward pass as an .npz (contract section 1). */
#ifndef LLAVA_INPUTS_FILE_H
#define LLAVA_INPUTS_FILE_H

#include "ref/model.h"

/* Reads path. Refused, naming file and member: an unknown member, a type or shape that is not the
 * member's, members that contradict each other. Does not look at the model: llava_inputs_check
 * does. */
bool llava_inputs_read(llava_inputs *inputs, const char *path, llava_error *e);

#endif
