#include "tools/dump_writer.h"

#include "ref/file.h"
#include "tools/dump.h"
#include "tools/names.h"
#include "tools/npy.h"
#include "tools/npz_writer.h"
#include "tools/output.h"

#include <stdlib.h>
#include <string.h>

#define SUFFIX ".npy"
/* Bytes that are converted at a time: they stay in the cache while they are summed and written. */
#define PIECE ((size_t)256 * 1024)

struct llava_dump_writer {
    llava_output *output; /* an archive's file; a folder's file in the making */
    llava_npz_writer *archive;
    llava_folder *folder;
    uint8_t piece[PIECE];
};

/* ---- where the bytes of one member go ---- */

static char *file_name(const char *name, llava_error *e)
{
    const size_t n = strlen(name);
    char *file = llava_alloc(e, n + sizeof SUFFIX, 1);
    if (file != NULL) {
        memcpy(file, name, n);
        memcpy(file + n, SUFFIX, sizeof SUFFIX);
    }
    return file;
}

static bool begin_member(llava_dump_writer *w, const char *file, uint64_t size, llava_error *e)
{
    if (w->archive != NULL) {
        return llava_npz_writer_begin(w->archive, file, size, e);
    }
    char *path = llava_path(e, llava_folder_path(w->folder), file);
    char *shown = path == NULL ? NULL : llava_path(e, llava_folder_name(w->folder), file);
    bool ok = shown != NULL;
    if (ok && llava_file_exists(path)) {
        ok = llava_fail(e, "%s: written twice", shown);
    }
    ok = ok && llava_output_open_as(&w->output, path, shown, e);
    free(path);
    free(shown);
    return ok;
}

static bool add_bytes(llava_dump_writer *w, const uint8_t *bytes, size_t n, llava_error *e)
{
    return w->archive != NULL ? llava_npz_writer_add(w->archive, bytes, n, e)
                              : llava_output_write(w->output, bytes, n, e);
}

static bool end_member(llava_dump_writer *w, llava_error *e)
{
    if (w->archive != NULL) {
        return llava_npz_writer_end(w->archive, e);
    }
    llava_output *output = w->output;
    w->output = NULL;
    return llava_output_commit(output, e);
}

/* ---- taps ---- */

static bool put_elements(llava_dump_writer *w, const llava_tap *tap, const llava_array *array,
                         llava_error *e)
{
    const size_t most = PIECE / array->size;
    for (size_t done = 0; done < array->count;) {
        const size_t n = array->count - done < most ? array->count - done : most;
        const uint8_t *bytes = w->piece;
        if (llava_array_lies_ready(tap->dtype, tap->data, done, n)) {
            bytes = (const uint8_t *)tap->data + done * array->size;
        } else {
            llava_array_encode(tap->dtype, tap->data, done, n, w->piece);
        }
        if (!add_bytes(w, bytes, n * array->size, e)) {
            return false;
        }
        done += n;
    }
    return true;
}

bool llava_dump_writer_put(llava_dump_writer *w, const llava_tap *tap, llava_error *e)
{
    uint8_t header[LLAVA_NPY_HEADER];
    const llava_array array = llava_array_of_tap(tap);
    const size_t n = llava_npy_write(&array, header);
    if (!llava_name_check(tap->name, strlen(tap->name), e)) {
        return false;
    }
    char *file = file_name(tap->name, e);
    const bool ok = file != NULL && begin_member(w, file, (uint64_t)n + array.bytes, e) &&
                    add_bytes(w, header, n, e) && put_elements(w, tap, &array, e) &&
                    end_member(w, e);
    free(file);
    return ok;
}

static bool put_meta(llava_dump_writer *w, const char *meta, llava_error *e)
{
    if (meta == NULL) {
        return true;
    }
    char *text = llava_text(e, meta, strlen(meta));
    const llava_tap tap = {.name = LLAVA_DUMP_META,
                           .dtype = LLAVA_U8,
                           .rank = 1,
                           .shape = {strlen(meta)},
                           .data = text};
    const bool ok = text != NULL && llava_dump_writer_put(w, &tap, e);
    free(text);
    return ok;
}

static bool open_target(llava_dump_writer *w, const char *path, bool deflate, llava_error *e)
{
    const size_t n = strlen(path);
    if (n > 0 && path[n - 1] == '/') {
        return llava_folder_open(&w->folder, path, e);
    }
    return llava_output_open(&w->output, path, e) &&
           llava_npz_writer_open(&w->archive, w->output, deflate, e);
}

bool llava_dump_writer_open(llava_dump_writer **writer, const char *path, bool deflate,
                            const char *meta, llava_error *e)
{
    llava_dump_writer *w = llava_alloc(e, 1, sizeof *w);
    if (w == NULL) {
        return false;
    }
    if (!open_target(w, path, deflate, e) || !put_meta(w, meta, e)) {
        llava_dump_writer_abort(w);
        return false;
    }
    *writer = w;
    return true;
}

bool llava_dump_writer_commit(llava_dump_writer *w, llava_error *e)
{
    bool ok = w->archive == NULL || llava_npz_writer_finish(w->archive, e);
    if (ok && w->archive != NULL) {
        llava_output *output = w->output;
        w->output = NULL;
        ok = llava_output_commit(output, e);
    } else if (ok) {
        llava_folder *folder = w->folder;
        w->folder = NULL;
        ok = llava_folder_commit(folder, e);
    }
    llava_dump_writer_abort(w);
    return ok;
}

void llava_dump_writer_abort(llava_dump_writer *w)
{
    if (w != NULL) {
        llava_npz_writer_close(w->archive);
        llava_output_abort(w->output);
        llava_folder_abort(w->folder);
        free(w);
    }
}

/* ---- as a sink ---- */

static bool wants_all(void *self, const char *name)
{
    (void)self;
    (void)name;
    return true;
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    return llava_dump_writer_put(self, tap, e);
}

llava_sink llava_dump_writer_sink(llava_dump_writer *writer)
{
    return (llava_sink){.wants = wants_all, .take = take, .self = writer};
}

uint64_t llava_dump_writer_bytes(const llava_tap *tap)
{
    const llava_array array = llava_array_of_tap(tap);
    return llava_npz_member_bytes(tap->name, (uint64_t)LLAVA_NPY_HEADER + array.bytes) +
           2 * strlen(SUFFIX);
}
