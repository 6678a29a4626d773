#include "tools/dump.h"

#include "ref/file.h"
#include "ref/json.h"
#include "ref/safetensors.h"
#include "tools/names.h"
#include "tools/npy.h"
#include "tools/npz.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SUFFIX ".npy"
/* Bytes that are decoded at a time where they cannot be decoded in place. */
#define PIECE ((size_t)256 * 1024)

typedef enum { ARCHIVE, FOLDER, SAFETENSORS } dump_kind;

typedef struct {
    llava_dump_entry shown; /* first, so that an entry given out is the item itself */
    char *name;
    size_t data;                    /* offset of the first element in the member or file */
    const llava_npz_member *member; /* archives */
    const uint8_t *bytes;           /* safetensors: the elements */
    bool verified;
} item;

/* The one item whose bytes are at hand: a mapped file, or a deflate stream somewhere in it. A dump
 * may have more files than a process may map. */
typedef struct {
    item *of;
    llava_file file;
    llava_npz_stream *stream;
    uint8_t *whole; /* a deflated tensor in Fortran order, inflated as a whole */
} current_item;

struct llava_dump {
    char *path;
    dump_kind kind;
    llava_npz archive;
    llava_safetensors safetensors;
    item *items;
    size_t count;
    llava_named *names;
    char *meta;
    current_item current;
    uint8_t *piece;
};

bool llava_dump_fail(const llava_dump *dump, const llava_dump_entry *entry, const char *what,
                     llava_error *e)
{
    char shown[LLAVA_SHOWN];
    return llava_fail(e, "%s: %s: %s", dump->path,
                      llava_shown(shown, entry->name, strlen(entry->name)), what);
}

/* Puts "DUMP: TENSOR: " in front of e's message. */
static bool fail_in(const llava_dump *dump, const char *name, llava_error *e)
{
    char shown[LLAVA_SHOWN];
    llava_fail_in(e, llava_shown(shown, name, strlen(name)));
    return llava_fail_in(e, dump->path);
}

/* ---- headers ---- */

/* Takes the header at the start of a member or file of `size` bytes, of which n are at hand. */
static bool read_header(item *it, const uint8_t *bytes, size_t n, size_t size, llava_error *e)
{
    llava_array *array = &it->shown.array;
    if (!llava_npy_read(array, &it->data, bytes, n, e)) {
        return false;
    }
    if (array->bytes > size - it->data) {
        return llava_fail(e, "the elements are cut off (%zu bytes, the shape needs %zu)",
                          size - it->data, array->bytes);
    }
    if (array->bytes < size - it->data) {
        return llava_fail(e, "%zu bytes behind the elements", size - it->data - array->bytes);
    }
    return true;
}

/* "x.npy" -> item x; NULL where it cannot be added. */
static item *add_item(llava_dump *dump, const char *file_name, llava_error *e)
{
    const size_t n = strlen(file_name), suffix = strlen(SUFFIX);
    if (n <= suffix || strcmp(file_name + n - suffix, SUFFIX) != 0) {
        llava_fail(e, "the name does not end in .npy");
        fail_in(dump, file_name, e);
        return NULL;
    }
    item *it = &dump->items[dump->count];
    it->name = llava_text(e, file_name, n - suffix);
    if (it->name == NULL) {
        return NULL;
    }
    it->shown.name = it->name;
    dump->count++;
    return it;
}

static bool read_member_header(llava_dump *dump, item *it, llava_error *e)
{
    const llava_npz_member *member = it->member;
    if (!member->deflated) {
        return read_header(it, member->bytes, member->size, member->size, e) ||
               fail_in(dump, it->name, e);
    }
    uint8_t prefix[LLAVA_NPY_PREFIX];
    const size_t n = member->size < sizeof prefix ? member->size : sizeof prefix;
    llava_npz_stream *stream;
    if (!llava_npz_stream_open(&stream, &dump->archive, member, e)) {
        return false;
    }
    const bool read = llava_npz_stream_read(stream, prefix, n, e);
    llava_npz_stream_close(stream);
    return read && (read_header(it, prefix, n, member->size, e) || fail_in(dump, it->name, e));
}

static bool open_archive(llava_dump *dump, llava_error *e)
{
    if (!llava_npz_open(&dump->archive, dump->path, e)) {
        return false;
    }
    dump->items = llava_alloc(e, dump->archive.count, sizeof *dump->items);
    if (dump->items == NULL) {
        return false;
    }
    for (size_t i = 0; i < dump->archive.count; i++) {
        item *it = add_item(dump, dump->archive.members[i].name, e);
        if (it == NULL) {
            return false;
        }
        it->member = &dump->archive.members[i];
        if (!read_member_header(dump, it, e)) {
            return false;
        }
    }
    return true;
}

/* ---- folders ---- */

/* Maps the file of an item and reads its header; `file` stays mapped. */
static bool map_item(const llava_dump *dump, item *it, llava_file *file, llava_error *e)
{
    char *stem = llava_path(e, dump->path, it->name);
    char *path = stem == NULL ? NULL : llava_realloc(e, stem, strlen(stem) + sizeof SUFFIX, 1);
    if (path == NULL) {
        free(stem);
        return false;
    }
    strcat(path, SUFFIX);
    bool ok = llava_file_map(file, path, e);
    if (ok && !read_header(it, file->bytes, file->size, file->size, e)) {
        llava_fail_in(e, path);
        llava_file_unmap(file);
        ok = false;
    }
    free(path);
    return ok;
}

static bool is_npy(const char *name)
{
    const size_t n = strlen(name);
    return n > strlen(SUFFIX) && strcmp(name + n - strlen(SUFFIX), SUFFIX) == 0;
}

static bool list_folder(llava_dump *dump, DIR *dir, llava_error *e)
{
    size_t room = 0;
    for (struct dirent *found; (found = readdir(dir)) != NULL;) {
        if (!is_npy(found->d_name)) {
            continue;
        }
        if (!llava_name_check(found->d_name, strlen(found->d_name), e)) {
            return llava_fail_in(e, dump->path);
        }
        if (dump->count == room) {
            room = room == 0 ? 64 : 2 * room;
            item *grown = llava_realloc(e, dump->items, room, sizeof *grown);
            if (grown == NULL) {
                return false;
            }
            dump->items = grown;
        }
        dump->items[dump->count] = (item){.verified = true};
        if (add_item(dump, found->d_name, e) == NULL) {
            return false;
        }
    }
    return true;
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const item *)a)->name, ((const item *)b)->name);
}

static bool open_folder(llava_dump *dump, llava_error *e)
{
    DIR *dir = opendir(dump->path);
    if (dir == NULL) {
        return llava_fail(e, "%s: %s", dump->path, strerror(errno));
    }
    const bool listed = list_folder(dump, dir, e);
    closedir(dir);
    if (!listed) {
        return false;
    }
    if (dump->count == 0) {
        return llava_fail(e, "%s: no .npy files in this folder", dump->path);
    }
    qsort(dump->items, dump->count, sizeof *dump->items, compare_items);
    for (size_t i = 0; i < dump->count; i++) {
        llava_file file;
        if (!map_item(dump, &dump->items[i], &file, e)) {
            return false;
        }
        llava_file_unmap(&file);
    }
    return true;
}

/* ---- safetensors ---- */

typedef struct {
    const char *name;
    char kind;
    size_t size;
} safetensors_type;

static bool set_type(llava_array *array, const char *name)
{
    static const safetensors_type types[] = {
        {"F64", 'f', 8}, {"F32", 'f', 4}, {"F16", 'f', 2}, {"BF16", 'B', 2}, {"BOOL", 'b', 1},
        {"I8", 'i', 1},  {"I16", 'i', 2}, {"I32", 'i', 4}, {"I64", 'i', 8},  {"U8", 'u', 1},
        {"U16", 'u', 2}, {"U32", 'u', 4}, {"U64", 'u', 8},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0) {
            array->kind = types[i].kind;
            array->size = types[i].size;
            return true;
        }
    }
    return false;
}

static bool open_safetensors(llava_dump *dump, llava_error *e)
{
    if (!llava_safetensors_open(&dump->safetensors, dump->path, e)) {
        return false;
    }
    dump->items = llava_alloc(e, dump->safetensors.count, sizeof *dump->items);
    if (dump->items == NULL) {
        return false;
    }
    for (size_t i = 0; i < dump->safetensors.count; i++) {
        const llava_safetensor *tensor = &dump->safetensors.tensors[i];
        item *it = &dump->items[dump->count];
        it->name = llava_text(e, tensor->name, strlen(tensor->name));
        if (it->name == NULL) {
            return false;
        }
        dump->count++;
        it->shown.name = it->name;
        it->shown.array.rank = tensor->rank;
        memcpy(it->shown.array.shape, tensor->shape, sizeof tensor->shape);
        it->bytes = tensor->bytes;
        it->verified = true;
        if (!set_type(&it->shown.array, tensor->type_name)) {
            llava_fail(e, "type %s is not supported", tensor->type_name);
            return fail_in(dump, it->name, e);
        }
        if (!llava_array_measure(&it->shown.array)) {
            return llava_dump_fail(dump, &it->shown, "the shape is too large", e);
        }
    }
    return true;
}

/* ---- reading ---- */

static void release_current(llava_dump *dump)
{
    llava_npz_stream_close(dump->current.stream);
    llava_file_unmap(&dump->current.file);
    free(dump->current.whole);
    dump->current = (current_item){0};
}

static bool same_layout(const item *a, const item *b)
{
    const llava_array *x = &a->shown.array, *y = &b->shown.array;
    return a->data == b->data && x->kind == y->kind && x->size == y->size &&
           x->big_endian == y->big_endian && x->fortran == y->fortran && x->rank == y->rank &&
           memcmp(x->shape, y->shape, sizeof x->shape) == 0;
}

/* Makes `it` the current item. */
static bool select_item(llava_dump *dump, item *it, llava_error *e)
{
    if (dump->current.of == it) {
        return true;
    }
    release_current(dump);
    if (dump->kind == FOLDER) {
        item now = {.name = it->name};
        if (!map_item(dump, &now, &dump->current.file, e)) {
            return false;
        }
        if (!same_layout(&now, it)) {
            return llava_dump_fail(dump, &it->shown, "the file has changed since it was opened", e);
        }
    }
    dump->current.of = it;
    return true;
}

/* The elements where they lie in a mapping, or NULL for a deflated member. */
static const uint8_t *mapped_elements(const llava_dump *dump, const item *it)
{
    switch (dump->kind) {
    case ARCHIVE:
        return it->member->deflated ? NULL : it->member->bytes + it->data;
    case FOLDER:
        return dump->current.file.bytes + it->data;
    default: /* SAFETENSORS */
        return it->bytes;
    }
}

bool llava_dump_is_archive(const llava_dump *dump)
{
    return dump->kind == ARCHIVE;
}

bool llava_dump_place(const llava_dump *dump, const llava_dump_entry *entry, size_t *offset)
{
    const item *it = (const item *)(const void *)entry;
    switch (dump->kind) {
    case ARCHIVE:
        *offset = (size_t)(it->member->bytes - dump->archive.file.bytes) + it->data;
        return !it->member->deflated;
    case FOLDER:
        *offset = it->data;
        return true;
    default: /* SAFETENSORS */
        *offset = (size_t)(it->bytes - dump->safetensors.file.bytes);
        return true;
    }
}

/* Inflates n bytes from that offset of the current item's elements to out. */
static bool inflate_elements(llava_dump *dump, size_t offset, size_t n, uint8_t *out,
                             llava_error *e)
{
    current_item *current = &dump->current;
    offset += current->of->data;
    if (current->stream != NULL && llava_npz_stream_offset(current->stream) > offset) {
        llava_npz_stream_close(current->stream);
        current->stream = NULL;
    }
    if (current->stream == NULL &&
        !llava_npz_stream_open(&current->stream, &dump->archive, current->of->member, e)) {
        return false;
    }
    const size_t skipped = offset - llava_npz_stream_offset(current->stream);
    return llava_npz_stream_read(current->stream, NULL, skipped, e) &&
           llava_npz_stream_read(current->stream, out, n, e);
}

/* All elements of the current item, which lie in Fortran order. */
static const uint8_t *whole_tensor(llava_dump *dump, llava_error *e)
{
    current_item *current = &dump->current;
    const uint8_t *mapped = mapped_elements(dump, current->of);
    if (mapped != NULL || current->whole != NULL) {
        return mapped != NULL ? mapped : current->whole;
    }
    const size_t bytes = current->of->shown.array.bytes;
    current->whole = llava_alloc(e, bytes, 1);
    if (current->whole != NULL && !inflate_elements(dump, 0, bytes, current->whole, e)) {
        free(current->whole);
        current->whole = NULL;
    }
    return current->whole;
}

/* Elements first .. first+n-1 of the current item in C order: at most PIECE bytes, in place where
 * that can be, else in dump->piece. NULL with a message where they cannot be read. */
static const uint8_t *some_elements(llava_dump *dump, size_t first, size_t n, llava_error *e)
{
    const llava_array *array = &dump->current.of->shown.array;
    if (array->fortran && array->rank > 1) {
        const uint8_t *whole = whole_tensor(dump, e);
        if (whole != NULL) {
            llava_array_gather(array, whole, first, n, dump->piece);
        }
        return whole == NULL ? NULL : dump->piece;
    }
    const uint8_t *mapped = mapped_elements(dump, dump->current.of);
    if (mapped != NULL) {
        return mapped + first * array->size;
    }
    return inflate_elements(dump, first * array->size, n * array->size, dump->piece, e)
               ? dump->piece
               : NULL;
}

/* Reading all of a deflated tensor in one go checks it on the way; anything else checks first. */
static bool verify(llava_dump *dump, item *it, bool everything, llava_error *e)
{
    if (!it->verified && !(everything && it->member->deflated)) {
        it->verified = llava_npz_verify(&dump->archive, it->member, e);
        return it->verified;
    }
    return true;
}

typedef size_t decoder(const llava_array *array, const uint8_t *bytes, size_t n, void *out,
                       size_t at);

static size_t decode_doubles(const llava_array *array, const uint8_t *bytes, size_t n, void *out,
                             size_t at)
{
    return llava_array_decode(array, bytes, n, (double *)out + at);
}

static size_t decode_integers(const llava_array *array, const uint8_t *bytes, size_t n, void *out,
                              size_t at)
{
    return llava_array_decode_integers(array, bytes, n, (int64_t *)out + at);
}

static bool read_elements(llava_dump *dump, const llava_dump_entry *entry, size_t first, size_t n,
                          decoder *decode, void *out, llava_error *e)
{
    item *it = &dump->items[(const item *)entry - dump->items];
    const llava_array *array = &it->shown.array;
    if (first > array->count || n > array->count - first) {
        return llava_dump_fail(dump, entry, "asked for elements that it has not", e);
    }
    if (!select_item(dump, it, e) || !verify(dump, it, n == array->count, e)) {
        return false;
    }
    const size_t most = PIECE / array->size;
    for (size_t done = 0; done < n;) {
        const size_t some = n - done < most ? n - done : most;
        const uint8_t *bytes = some_elements(dump, first + done, some, e);
        if (bytes == NULL) {
            return false;
        }
        if (decode(array, bytes, some, out, done) < some) {
            return llava_dump_fail(dump, entry, "an integer that is too large", e);
        }
        done += some;
    }
    it->verified = true;
    return true;
}

bool llava_dump_read(llava_dump *dump, const llava_dump_entry *entry, size_t first, size_t n,
                     double *values, llava_error *e)
{
    return read_elements(dump, entry, first, n, decode_doubles, values, e);
}

bool llava_dump_read_integers(llava_dump *dump, const llava_dump_entry *entry, size_t first,
                              size_t n, int64_t *values, llava_error *e)
{
    const char kind = entry->array.kind;
    if (kind == 'f' || kind == 'B') {
        return llava_dump_fail(dump, entry, "integers are needed here", e);
    }
    return read_elements(dump, entry, first, n, decode_integers, values, e);
}

bool llava_dump_load(llava_dump *dump, const llava_dump_entry *entry, double **values,
                     llava_error *e)
{
    *values = llava_alloc(e, entry->array.count, sizeof **values);
    if (*values != NULL && llava_dump_read(dump, entry, 0, entry->array.count, *values, e)) {
        return true;
    }
    free(*values);
    *values = NULL;
    return false;
}

bool llava_dump_load_integers(llava_dump *dump, const llava_dump_entry *entry, int64_t **values,
                              llava_error *e)
{
    *values = llava_alloc(e, entry->array.count, sizeof **values);
    if (*values != NULL &&
        llava_dump_read_integers(dump, entry, 0, entry->array.count, *values, e)) {
        return true;
    }
    free(*values);
    *values = NULL;
    return false;
}

/* ---- opening ---- */

/* What the first bytes say. An archive without members begins with its end record. */
static bool see_kind(llava_dump *dump, llava_error *e)
{
    struct stat status;
    if (stat(dump->path, &status) != 0) {
        return llava_fail(e, "%s: %s", dump->path, strerror(errno));
    }
    if (S_ISDIR(status.st_mode)) {
        dump->kind = FOLDER;
        return true;
    }
    llava_file file;
    if (!llava_file_map(&file, dump->path, e)) {
        return false;
    }
    const bool zip = file.size >= 4 &&
                     (memcmp(file.bytes, "PK\3\4", 4) == 0 || memcmp(file.bytes, "PK\5\6", 4) == 0);
    const bool safetensors = file.size >= 9 && file.bytes[8] == '{';
    llava_file_unmap(&file);
    dump->kind = zip ? ARCHIVE : SAFETENSORS;
    return zip || safetensors ||
           llava_fail(e, "%s: neither an .npz archive nor a .safetensors file nor a folder",
                      dump->path);
}

static bool sort_names(llava_dump *dump, llava_error *e)
{
    dump->names = llava_alloc(e, dump->count, sizeof *dump->names);
    if (dump->names == NULL) {
        return false;
    }
    for (size_t i = 0; i < dump->count; i++) {
        dump->names[i] = (llava_named){.name = dump->items[i].name, .index = i};
    }
    const char *twice = llava_names_sort(dump->names, dump->count);
    if (twice != NULL) {
        llava_fail(e, "there are two tensors of this name");
        return fail_in(dump, twice, e);
    }
    return true;
}

/* Takes item `at` out of the list. */
static void remove_item(llava_dump *dump, size_t at)
{
    free(dump->items[at].name);
    dump->count--;
    memmove(dump->items + at, dump->items + at + 1, (dump->count - at) * sizeof *dump->items);
    size_t kept = 0;
    for (size_t i = 0; i <= dump->count; i++) {
        const llava_named n = dump->names[i];
        if (n.index != at) {
            dump->names[kept] = n;
            dump->names[kept++].index -= n.index > at;
        }
    }
}

/* Reads __meta__, which is no tensor of the dump. */
static bool take_meta(llava_dump *dump, llava_error *e)
{
    const llava_dump_entry *entry = llava_dump_find(dump, LLAVA_DUMP_META);
    if (entry == NULL) {
        return true;
    }
    const llava_array *array = &entry->array;
    const size_t n = array->count;
    if (array->kind != 'u' || array->size != 1 || array->rank != 1 || n > LLAVA_DUMP_META_LONGEST) {
        return llava_dump_fail(dump, entry, "not a u8 array of one dimension and at most 16 MiB",
                               e);
    }
    int64_t *bytes;
    if (!llava_dump_load_integers(dump, entry, &bytes, e)) {
        return false;
    }
    dump->meta = llava_alloc(e, n + 1, 1);
    bool ok = dump->meta != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        dump->meta[i] = (char)bytes[i];
        ok = bytes[i] != 0 || llava_dump_fail(dump, entry, "a NUL in the text", e);
    }
    free(bytes);
    release_current(dump);
    remove_item(dump, (size_t)((const item *)entry - dump->items));
    return ok;
}

static bool open_dump(llava_dump *dump, llava_error *e)
{
    if (!see_kind(dump, e)) {
        return false;
    }
    switch (dump->kind) {
    case ARCHIVE:
        return open_archive(dump, e);
    case FOLDER:
        return open_folder(dump, e);
    default: /* SAFETENSORS */
        return open_safetensors(dump, e);
    }
}

bool llava_dump_open(llava_dump **dump, const char *path, llava_error *e)
{
    llava_dump *d = llava_alloc(e, 1, sizeof *d);
    if (d == NULL) {
        return false;
    }
    d->path = llava_text(e, path, strlen(path));
    d->piece = llava_alloc(e, PIECE, 1);
    if (d->path == NULL || d->piece == NULL || !open_dump(d, e) || !sort_names(d, e) ||
        !take_meta(d, e)) {
        llava_dump_close(d);
        return false;
    }
    *dump = d;
    return true;
}

void llava_dump_close(llava_dump *dump)
{
    if (dump == NULL) {
        return;
    }
    release_current(dump);
    for (size_t i = 0; i < dump->count; i++) {
        free(dump->items[i].name);
    }
    llava_npz_close(&dump->archive);
    llava_safetensors_close(&dump->safetensors);
    free(dump->path);
    free(dump->items);
    free(dump->names);
    free(dump->meta);
    free(dump->piece);
    free(dump);
}

const char *llava_dump_path(const llava_dump *dump)
{
    return dump->path;
}

size_t llava_dump_count(const llava_dump *dump)
{
    return dump->count;
}

const llava_dump_entry *llava_dump_at(const llava_dump *dump, size_t i)
{
    return &dump->items[i].shown;
}

const llava_dump_entry *llava_dump_find(const llava_dump *dump, const char *name)
{
    const llava_named *found = llava_names_find(dump->names, dump->count, name);
    return found == NULL ? NULL : &dump->items[found->index].shown;
}

const char *llava_dump_meta(const llava_dump *dump)
{
    return dump->meta;
}

bool llava_dump_meta_string(const char *path, const char *meta, const char *key, char **value,
                            llava_error *e)
{
    llava_error refused;
    const char *text = NULL;
    *value = NULL;
    if (meta == NULL) {
        return true;
    }
    cJSON *json = llava_json_parse(path, meta, strlen(meta), &refused);
    if (json == NULL) {
        return llava_may_go_on(&refused, e);
    }
    if (llava_json_string(path, json, key, &text, &refused) && text != NULL) {
        *value = llava_text(e, text, strlen(text));
    }
    cJSON_Delete(json);
    return text == NULL || *value != NULL;
}
