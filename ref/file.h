/* Regular files, mapped read-only, and the one bounded cursor over raw bytes. */
#ifndef LLAVA_FILE_H
#define LLAVA_FILE_H

#include "error.h"

#include <stdint.h>

typedef struct {
    const uint8_t *bytes; /* never NULL after a successful map, also for an empty file */
    size_t size;
    void *mapping;
} llava_file;

/* Maps path, which must be a regular file (symbolic links are followed). A FIFO, a device or a
 * folder is refused at once, without waiting for it. The message starts with path. */
bool llava_file_map(llava_file *file, const char *path, llava_error *e);
void llava_file_unmap(llava_file *file);

/* Is there something at this path (of any kind)? */
bool llava_file_exists(const char *path);

/* Likewise of folder/name. Takes no memory, so the answer is never no for want of it. */
bool llava_file_in(const char *folder, const char *name);

/* folder + "/" + name in new memory. */
char *llava_path(llava_error *e, const char *folder, const char *name);

/* A cursor: the only code that steps through a file's raw bytes. A read past the end sets `bad`
 * and gives zeros, so that a reader may check once after several reads. Little-endian. */
typedef struct {
    const uint8_t *start, *at, *end;
    bool bad;
} llava_cursor;

llava_cursor llava_cursor_over(const void *bytes, size_t n);
size_t llava_cursor_left(const llava_cursor *c);
size_t llava_cursor_offset(const llava_cursor *c);
bool llava_cursor_seek(llava_cursor *c, size_t offset);
const uint8_t *llava_cursor_take(llava_cursor *c, size_t n); /* NULL and bad where n bytes lack */
uint8_t llava_cursor_u8(llava_cursor *c);
uint16_t llava_cursor_u16(llava_cursor *c);
uint32_t llava_cursor_u32(llava_cursor *c);
uint64_t llava_cursor_u64(llava_cursor *c);

#endif
