#include "tools/hash_sink.h"

#include "tools/array.h"
#include "tools/output.h"
#include "tools/sha256.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIECE = 16 * 1024 };

struct llava_hash {
    llava_output *output;
};

bool llava_hash_open(llava_hash **hash, const char *path, llava_error *e)
{
    llava_hash *h = llava_alloc(e, 1, sizeof *h);
    if (h == NULL || !llava_output_open(&h->output, path, e)) {
        free(h);
        return false;
    }
    *hash = h;
    return true;
}

/* "[1,4,8]", "[]". */
static void write_shape(const llava_array *array, char *text, size_t room)
{
    int n = snprintf(text, room, "[");
    for (int i = 0; i < array->rank; i++) {
        n += snprintf(text + n, room - (size_t)n, i == 0 ? "%zu" : ",%zu", array->shape[i]);
    }
    snprintf(text + n, room - (size_t)n, "]");
}

void llava_tap_sha256(const llava_tap *tap, char digest[LLAVA_SHA256_TEXT])
{
    const llava_array array = llava_array_of_tap(tap);
    const size_t most = PIECE / array.size;
    uint8_t piece[PIECE];
    llava_sha256 sha;
    llava_sha256_start(&sha);
    for (size_t done = 0; done < array.count;) {
        const size_t n = array.count - done < most ? array.count - done : most;
        llava_array_encode(tap->dtype, tap->data, done, n, piece);
        llava_sha256_add(&sha, piece, n * array.size);
        done += n;
    }
    llava_sha256_end_text(&sha, digest);
}

bool llava_hash_put(llava_hash *hash, const llava_tap *tap, llava_error *e)
{
    const llava_array array = llava_array_of_tap(tap);
    char digest[LLAVA_SHA256_TEXT], dtype[LLAVA_ARRAY_DTYPE], shape[256];
    llava_tap_sha256(tap, digest);
    llava_array_dtype(&array, dtype);
    write_shape(&array, shape, sizeof shape);
    return llava_output_print(hash->output, e, "%s  %s  %s  %s\n", digest, tap->name, dtype, shape);
}

bool llava_hash_commit(llava_hash *hash, llava_error *e)
{
    const bool ok = llava_output_commit(hash->output, e);
    free(hash);
    return ok;
}

void llava_hash_abort(llava_hash *hash)
{
    if (hash != NULL) {
        llava_output_abort(hash->output);
        free(hash);
    }
}

static bool wants_all(void *self, const char *name)
{
    (void)self;
    (void)name;
    return true;
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    return llava_hash_put(self, tap, e);
}

llava_sink llava_hash_sink(llava_hash *hash)
{
    return (llava_sink){.wants = wants_all, .take = take, .self = hash};
}
