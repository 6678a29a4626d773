#define _GNU_SOURCE /* memfd_create */
#include "tests/fuzz/targets.h"

#include "ref/chat.h"
#include "ref/checkpoint.h"
#include "ref/exif.h"
#include "ref/jpeg.h"
#include "ref/json.h"
#include "ref/plan.h"
#include "ref/png.h"
#include "ref/safetensors.h"
#include "ref/tokenizer.h"
#include "tools/dump.h"
#include "tools/inputs_file.h"
#include "tools/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- what every target needs --------------------------------------------------------------------
 */

static void expect(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "fuzz: %s\n", what);
        abort();
    }
}

/* done, or refused with a message. (The program escapes what a file smuggles into it where it
 * prints, in llava_complain.) */
static bool settled(bool done, const llava_error *e)
{
    size_t n = strnlen(e->text, sizeof e->text);
    expect(n < sizeof e->text && (done || n > 0), "a refusal without a message");
    return done;
}

/* A regular file in memory with these bytes; its path stays the same. */
static const char *file_with(const uint8_t *bytes, size_t n)
{
    static char path[64];
    static int file = -1;
    if (file < 0) {
        file = memfd_create("fuzz", 0);
        expect(file >= 0, "no file in memory");
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    expect(ftruncate(file, 0) == 0 && ftruncate(file, (off_t)n) == 0, "no room for the file");
    for (size_t done = 0; done < n;) {
        ssize_t wrote = pwrite(file, bytes + done, n - done, (off_t)done);
        expect(wrote > 0, "the file cannot be written");
        done += (size_t)wrote;
    }
    return path;
}

static char folder[] = "/tmp/llava-fuzz-XXXXXX"; /* made at the first use */
static char link_path[sizeof folder + 64];

static void remove_folder(void)
{
    unlink(link_path);
    rmdir(folder);
}

/* A folder in which the one file `name` has these bytes. */
static const char *folder_with(const char *name, const uint8_t *bytes, size_t n)
{
    const char *file = file_with(bytes, n);
    if (link_path[0] == '\0') { /* the first time */
        expect(mkdtemp(folder) != NULL, "no folder");
        atexit(remove_folder);
    }
    char path[sizeof link_path];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (strcmp(path, link_path) != 0) {
        unlink(link_path);
        memcpy(link_path, path, sizeof path);
        expect(symlink(file, link_path) == 0, "no link");
    }
    return folder;
}

/* ---- the targets --------------------------------------------------------------------------------
 */

static void fuzz_json(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    cJSON *json = llava_json_parse("fuzz", bytes, n, &e);
    if (settled(json != NULL, &e)) {
        char *text = cJSON_PrintUnformatted(json);
        expect(text != NULL, "an accepted document does not print");
        cJSON_free(text);
    }
    cJSON_Delete(json);
}

static void fuzz_safetensors(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_safetensors file;
    if (!settled(llava_safetensors_open(&file, file_with(bytes, n), &e), &e)) {
        return;
    }
    for (size_t i = 0; i < file.count; i++) {
        const llava_safetensor *t = &file.tensors[i];
        size_t size = t->end - t->begin;
        expect(t->begin <= t->end && t->bytes >= file.file.bytes && size <= file.file.size &&
                   (size_t)(t->bytes - file.file.bytes) <= file.file.size - size,
               "a tensor lies outside the file");
    }
    llava_safetensors_close(&file);
}

static void fuzz_index(const uint8_t *bytes, size_t n)
{
    llava_error e = {""}, warning = {""};
    llava_checkpoint *checkpoint = NULL;
    /* no shard is there, so nothing is ever accepted */
    expect(!settled(llava_checkpoint_open(&checkpoint,
                                          folder_with("model.safetensors.index.json", bytes, n),
                                          &warning, &e),
                    &e),
           "an index of shards that are not there is accepted");
}

static void fuzz_config(const uint8_t *bytes, size_t n)
{
    static const llava_choices none;
    llava_error e = {""};
    llava_config config;
    llava_plan plan;
    if (settled(llava_config_read(&config, folder_with("config.json", bytes, n), &e), &e)) {
        settled(llava_plan_make(&plan, &config, &none, LLAVA_F64, false, &e), &e);
    }
}

static void fuzz_processor(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_processor processor;
    settled(llava_processor_read(&processor, folder_with("processor_config.json", bytes, n), &e),
            &e);
}

static void fuzz_tokenizer(const uint8_t *bytes, size_t n)
{
    static const char text[] =
        "USER: <image>\nWhat's in 2024's caf\xc3\xa9?  \xf0\x9f\x98\x80 </s>";
    static const llava_token_plan plain;
    llava_error e = {""};
    llava_tokenizer *tokenizer = NULL;
    if (!settled(llava_tokenizer_open(&tokenizer, folder_with("tokenizer.json", bytes, n), &e),
                 &e)) {
        return;
    }
    int64_t *ids = NULL;
    size_t count, size;
    char *back = NULL;
    if (settled(llava_tokenizer_encode(tokenizer, &plain, text, sizeof text - 1, &ids, &count, &e),
                &e)) {
        settled(llava_tokenizer_decode(tokenizer, ids, count, false, &back, &size, &e), &e);
    }
    free(back);
    free(ids);
    llava_tokenizer_close(tokenizer);
}

/* The demo model's tokenizer on any text. */
static void fuzz_text(const uint8_t *bytes, size_t n)
{
    static const llava_token_plan plain;
    static llava_tokenizer *tokenizer; /* opened once, never closed: still reachable at the end */
    llava_error e = {""};
    if (tokenizer == NULL) {
        expect(llava_tokenizer_open(&tokenizer, "golden/demo/model", &e), "no demo tokenizer");
    }
    int64_t *ids = NULL;
    size_t count, size;
    char *back = NULL;
    if (settled(llava_tokenizer_encode(tokenizer, &plain, (const char *)bytes, n, &ids, &count, &e),
                &e)) {
        for (size_t i = 0; i < count; i++) {
            expect(ids[i] >= 0 && ids[i] < llava_tokenizer_size(tokenizer), "an id of no token");
        }
        settled(llava_tokenizer_decode(tokenizer, ids, count, true, &back, &size, &e), &e);
    }
    free(back);
    free(ids);
}

static void fuzz_template(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_chat chat;
    settled(llava_chat_recognise("fuzz", (const char *)bytes, n, &chat, &e), &e);
}

static void fuzz_png(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_picture picture = {0};
    int orientation = 0;
    if (settled(llava_png_read(&picture, "fuzz", bytes, n, LLAVA_ALPHA_WHITE, &orientation, &e),
                &e)) {
        expect(picture.height > 0 && picture.width > 0, "an empty picture");
        expect(orientation >= 0 && orientation <= 8, "no orientation");
    }
    llava_picture_free(&picture);
}

static void fuzz_jpeg(const uint8_t *bytes, size_t n)
{
    static const llava_image_plan plain;
    llava_error e = {""};
    llava_picture picture = {0};
    int orientation = 0;
    if (settled(llava_jpeg_read(&picture, "fuzz", bytes, n, &plain, &orientation, &e), &e)) {
        expect(picture.height > 0 && picture.width > 0, "an empty picture");
        expect(orientation >= 0 && orientation <= 8, "no orientation");
    }
    llava_picture_free(&picture);
}

static void fuzz_exif(const uint8_t *bytes, size_t n)
{
    int seen[] = {llava_exif_orientation(bytes, n), llava_xmp_orientation(bytes, n),
                  llava_raw_profile_orientation(bytes, n)};
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        expect(seen[i] >= LLAVA_EXIF_UNREADABLE && seen[i] <= 8, "no orientation");
    }
}

/* A dump: an archive, a safetensors file, or one .npy in a folder, by its first bytes. */
static void read_dump(const char *path)
{
    llava_error e = {""};
    llava_dump *dump = NULL;
    if (!settled(llava_dump_open(&dump, path, &e), &e)) {
        return;
    }
    for (size_t i = 0; i < llava_dump_count(dump); i++) {
        const llava_dump_entry *entry = llava_dump_at(dump, i);
        double *values = NULL;
        if (entry->array.count <= 1u << 20) {
            settled(llava_dump_load(dump, entry, &values, &e), &e);
        }
        free(values);
    }
    llava_dump_close(dump);
}

static void fuzz_npz(const uint8_t *bytes, size_t n)
{
    read_dump(file_with(bytes, n));
}

static void fuzz_npy(const uint8_t *bytes, size_t n)
{
    read_dump(folder_with("logits.npy", bytes, n));
}

static void fuzz_inputs(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_inputs inputs = {0};
    if (settled(llava_inputs_read(&inputs, file_with(bytes, n), &e), &e)) {
        expect(inputs.batch > 0 && inputs.length > 0, "inputs without a position");
    }
    llava_inputs_free(&inputs);
}

static void fuzz_map(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_map map;
    if (settled(llava_map_parse(&map, "fuzz", bytes, n, &e), &e)) {
        llava_map_free(&map);
    }
}

const fuzz_target fuzz_targets[] = {
    {"json", fuzz_json},
    {"safetensors", fuzz_safetensors},
    {"index", fuzz_index},
    {"config", fuzz_config},
    {"processor", fuzz_processor},
    {"tokenizer", fuzz_tokenizer},
    {"text", fuzz_text},
    {"template", fuzz_template},
    {"png", fuzz_png},
    {"jpeg", fuzz_jpeg},
    {"exif", fuzz_exif},
    {"npz", fuzz_npz},
    {"npy", fuzz_npy},
    {"inputs", fuzz_inputs},
    {"map", fuzz_map},
    {NULL, NULL},
};

const fuzz_target *fuzz_target_find(const char *name)
{
    for (const fuzz_target *t = fuzz_targets; t->name != NULL; t++) {
        if (strcmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}
