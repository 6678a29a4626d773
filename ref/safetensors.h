/* One safetensors file: 8 bytes of length, a JSON header, the tensors' bytes.
 *
 * Checked when it is opened, as the format's text says: the header begins with '{', no name comes
 * twice, every size is shape x type, and the tensors follow each other without hole or overlap from
 * the header's end to the file's end. So a tensor of an opened file can be read without a check. */
#ifndef LLAVA_SAFETENSORS_H
#define LLAVA_SAFETENSORS_H

#include "error.h"
#include "file.h"
#include "number.h"

#define LLAVA_SAFETENSORS_RANK   8
#define LLAVA_SAFETENSORS_HEADER 100000000u /* bytes, the format's own limit */

typedef struct {
    char *name;
    const char *type_name; /* as the file spells it: "F32", "I64", ... */
    bool is_float;         /* F64, F32, F16 or BF16: then dtype says which */
    llava_dtype dtype;
    int rank;
    size_t shape[LLAVA_SAFETENSORS_RANK];
    size_t count;         /* product of the shape */
    size_t begin, end;    /* bytes, from the header's end */
    const uint8_t *bytes; /* little-endian, C order, any alignment */
} llava_safetensor;

typedef struct {
    char *path;
    llava_file file;
    const uint8_t *header; /* the JSON text */
    size_t header_size;
    size_t count;
    llava_safetensor *tensors; /* in the order of their bytes */
} llava_safetensors;

/* Maps and checks a file. On failure nothing is left to close. */
bool llava_safetensors_open(llava_safetensors *file, const char *path, llava_error *e);
void llava_safetensors_close(llava_safetensors *file);

#endif
