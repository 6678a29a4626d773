#define _GNU_SOURCE /* memfd_create, memmem */
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
#include "ref/messages.h"
#include "ref/model.h"
#include "ref/original.h"
#include "ref/prompt.h"
#include "tools/bench_earlier.h"
#include "tools/command.h"
#include "tools/dump.h"
#include "tools/inputs_file.h"
#include "tools/map.h"
#include "tools/port.h"
#include "tools/sinks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

/* A regular file in memory. */
typedef struct {
    int number;    /* its descriptor + 1; 0: not made yet */
    char path[64]; /* stays the same */
} memory_file;

static const char *fill(memory_file *file, const uint8_t *bytes, size_t n)
{
    if (file->number == 0) {
        file->number = memfd_create("fuzz", MFD_CLOEXEC) + 1;
        expect(file->number > 0, "no file in memory");
        snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->number - 1);
    }
    int fd = file->number - 1;
    expect(ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)n) == 0, "no room for the file");
    for (size_t done = 0; done < n;) {
        ssize_t wrote = pwrite(fd, bytes + done, n - done, (off_t)done);
        expect(wrote > 0, "the file cannot be written");
        done += (size_t)wrote;
    }
    return file->path;
}

static const char *file_with(const uint8_t *bytes, size_t n)
{
    static memory_file file;
    return fill(&file, bytes, n);
}

/* A folder of links to such files. */
static char folder[] = "/tmp/llava-fuzz-XXXXXX"; /* made at the first use */
static char tower[sizeof folder + 8];            /* a folder in it */
static struct {
    memory_file file;
    char link[sizeof folder + 64];
    bool used; /* in this run */
} entries[16];
enum { ENTRIES = sizeof entries / sizeof entries[0] };

static void remove_folder(void)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        unlink(entries[i].link);
    }
    rmdir(tower);
    rmdir(folder);
}

static void empty_folder(void)
{
    if (tower[0] == '\0') {
        expect(mkdtemp(folder) != NULL, "no folder");
        snprintf(tower, sizeof tower, "%s/tower", folder);
        expect(mkdir(tower, 0700) == 0, "no folder");
        expect(atexit(remove_folder) == 0, "no folder");
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        entries[i].used = false;
    }
}

/* A link stays from run to run where the names stay. */
static void put_file(const char *name, const uint8_t *bytes, size_t n)
{
    char link[sizeof entries[0].link];
    size_t i = 0, at = ENTRIES;
    snprintf(link, sizeof link, "%s/%s", folder, name);
    for (; i < ENTRIES && strcmp(entries[i].link, link) != 0; i++) {
        at = at == ENTRIES && !entries[i].used && entries[i].link[0] == '\0' ? i : at;
    }
    if (i < ENTRIES) {
        fill(&entries[i].file, bytes, n);
        entries[i].used = true;
        return;
    }
    expect(at < ENTRIES, "too many files");
    memcpy(entries[at].link, link, sizeof link);
    entries[at].used = true;
    expect(symlink(fill(&entries[at].file, bytes, n), link) == 0, "no link");
}

/* What an earlier run put there and this one did not. */
static const char *filled_folder(void)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        if (!entries[i].used && entries[i].link[0] != '\0') {
            unlink(entries[i].link);
            entries[i].link[0] = '\0';
        }
    }
    return folder;
}

/* A folder in which the one file `name` has these bytes. */
static const char *folder_with(const char *name, const uint8_t *bytes, size_t n)
{
    empty_folder();
    put_file(name, bytes, n);
    return filled_folder();
}

/* What was printed on standard output must leave a terminal alone. */
static void expect_harmless(int fd)
{
    char text[4096];
    off_t at = 0;
    for (ssize_t n; (n = pread(fd, text, sizeof text, at)) > 0; at += n) {
        for (ssize_t i = 0; i < n; i++) {
            const unsigned char c = (unsigned char)text[i];
            expect((c >= 0x20 || c == '\n') && c != 0x7f, "a control character is printed");
        }
    }
    expect(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0, "the file cannot be emptied");
}

/* A command with these words, as the program runs it. */
static void command(const llava_command *of, int argc, char **argv)
{
    static int printed = -1;
    llava_error e = {""};
    if (printed < 0) {
        printed = memfd_create("printed", MFD_CLOEXEC);
        expect(printed >= 0, "no file in memory");
    }
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    expect(kept >= 0 && dup2(printed, STDOUT_FILENO) >= 0, "standard output cannot be changed");
    int status = of->run(argc, argv, &e);
    fflush(stdout);
    expect(dup2(kept, STDOUT_FILENO) >= 0, "standard output cannot be changed");
    close(kept);
    expect_harmless(printed);
    expect(status >= LLAVA_DONE && status <= LLAVA_CANNOT, "no exit status");
    settled(status != LLAVA_CANNOT, &e);
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

/* The text as a prompt with as many pictures as it has places for, as both projects encode it. */
static void fuzz_prompt(const llava_tokenizer *tokenizer, const uint8_t *bytes, size_t n)
{
    static const llava_token_plan plain;
    static const llava_image_run runs[] = {{3, 0}, {2, 0}, {4, 2}, {1, 1}};
    bool (*const encode[])(const llava_tokenizer *, const llava_token_plan *, const llava_prompt *,
                           int64_t **, size_t *,
                           llava_error *) = {llava_prompt_encode, llava_prompt_encode_pieces};
    llava_error e = {""};
    char *text = llava_text(&e, (const char *)bytes, n);
    llava_prompt prompt = {.text = text,
                           .image_text = LLAVA_PLACEHOLDER,
                           .image_id = llava_tokenizer_id_of(tokenizer, LLAVA_PLACEHOLDER),
                           .runs = runs,
                           .break_text = "<s>",
                           .end_text = "</s>"};
    expect(text != NULL, "out of memory");
    prompt.pictures = llava_prompt_placeholders(&prompt);
    for (size_t i = 0; i < 2 && prompt.pictures <= 4; i++) {
        int64_t *ids = NULL;
        size_t count;
        if (settled(encode[i](tokenizer, &plain, &prompt, &ids, &count, &e), &e)) {
            free(ids);
        }
    }
    free(text);
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
    fuzz_prompt(tokenizer, bytes, n);
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

/* The plan of golden/plain's model: made once. */
static const llava_plan *plan_of_plain(void)
{
    static const llava_choices none;
    static llava_config config;
    static llava_plan plan;
    llava_error e = {""};
    if (config.text.hidden == 0) {
        expect(llava_config_read(&config, "golden/plain/model", &e) &&
                   llava_plan_make(&plan, &config, &none, LLAVA_F64, false, &e),
               "no plan");
    }
    return &plan;
}

static void fuzz_inputs(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_inputs inputs = {0};
    if (settled(llava_inputs_read(&inputs, file_with(bytes, n), &e), &e)) {
        expect(inputs.batch > 0 && inputs.length > 0, "inputs without a position");
        settled(llava_inputs_check(&inputs, plan_of_plain(), &e), &e);
    }
    llava_inputs_free(&inputs);
}

/* What a small port wrote: `run --taps` on golden/generate, see tests/fuzz/run.sh. */
#define SMALL_DUMP "tests/fuzz/seeds/diff/small.npz"

/* Every tensor of a port's dump, through a map (or NULL). */
static void read_port(const char *dump, const char *map)
{
    llava_error e = {""};
    llava_port *port = NULL;
    if (!settled(llava_port_open(&port, dump, map, plan_of_plain(), &e), &e)) {
        return;
    }
    for (size_t i = 0; i < llava_port_count(port); i++) {
        const llava_port_tensor *t = llava_port_at(port, i);
        double *values = NULL;
        if (t->count <= 1u << 20 && settled(llava_port_load(port, t, &values, &e), &e)) {
            for (size_t k = 0; t->partial && k < t->count && t->rank > 0; k++) {
                const size_t width = t->shape[t->rank - 1];
                llava_port_given(t, k / width, k % width);
            }
        }
        free(values);
    }
    llava_port_close(port);
}

/* A map, and what it makes of a dump. */
static void fuzz_map(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_map map;
    if (settled(llava_map_parse(&map, "fuzz", bytes, n, &e), &e)) {
        llava_map_free(&map);
        read_port(SMALL_DUMP, file_with(bytes, n));
    }
}

/* Commands take their time with large tensors, and a step for each generated token: those are left
 * to the npz target, which only reads them. Extents count beside a 0, too. */
static bool is_small(const char *path)
{
    enum { MOST = 4096 };
    llava_error e;
    llava_dump *dump;
    bool small = true;
    if (!llava_dump_open(&dump, path, &e)) {
        return true;
    }
    for (size_t i = 0; i < llava_dump_count(dump); i++) {
        const llava_array *array = &llava_dump_at(dump, i)->array;
        small = small && array->count <= MOST;
        for (int a = 0; a < array->rank; a++) {
            small = small && array->shape[a] <= MOST;
        }
    }
    llava_dump_close(dump);
    return small;
}

/* A dump as the port's, and as the one that is held to be right. */
static void fuzz_diff(const uint8_t *bytes, size_t n)
{
    static char small[] = SMALL_DUMP, json[] = "--json=/dev/null", html[] = "--html=/dev/zero",
                junit[] = "--junit=/dev/urandom"; /* no file may be written twice */
    char path[64];
    snprintf(path, sizeof path, "%s", file_with(bytes, n));
    if (!is_small(path)) {
        return;
    }
    command(&llava_command_diff, 5, (char *[]){small, path, json, html, junit, NULL});
    command(&llava_command_diff, 2, (char *[]){path, small, NULL});
}

static void fuzz_inspect(const uint8_t *bytes, size_t n)
{
    static char null[] = "/dev/null", json[] = "--json", png[] = "--png", logits[] = "logits";
    char path[64];
    snprintf(path, sizeof path, "%s", file_with(bytes, n));
    if (!is_small(path)) {
        return;
    }
    command(&llava_command_inspect, 3, (char *[]){path, json, null, NULL});
    command(&llava_command_inspect, 4, (char *[]){path, logits, png, null, NULL});
}

/* A port's dump of a generation with a model that is there. */
static void fuzz_diagnose(const uint8_t *bytes, size_t n)
{
    static char model[] = "--model=golden/generate/model", json[] = "--json=/dev/null",
                inputs[] = "--inputs=golden/generate/inputs.npz", html[] = "--html=/dev/zero";
    char dump[80];
    snprintf(dump, sizeof dump, "--dump=%s", file_with(bytes, n));
    if (!is_small(strchr(dump, '=') + 1)) {
        return;
    }
    command(&llava_command_diagnose, 5, (char *[]){model, inputs, dump, json, html, NULL});
}

/* Every picture that is drawn of a dump. */
static void fuzz_draw(const uint8_t *bytes, size_t n)
{
    static char model[] = "--model=golden/picture-chat/model", png[] = "--png=/dev/null";
    static char picture[] = "picture", angles[] = "angles", drift[] = "drift", rows[] = "rows",
                patches[] = "patches", attention[] = "attention",
                probs[] = "vision.layers.0.attn.probs";
    char path[64];
    snprintf(path, sizeof path, "%s", file_with(bytes, n));
    if (!is_small(path)) {
        return;
    }
    command(&llava_command_draw, 3, (char *[]){picture, path, png, NULL});
    command(&llava_command_draw, 3, (char *[]){angles, path, png, NULL});
    command(&llava_command_draw, 4, (char *[]){drift, path, path, png, NULL});
    command(&llava_command_draw, 4, (char *[]){rows, path, path, png, NULL});
    command(&llava_command_draw, 5, (char *[]){patches, path, path, model, png, NULL});
    command(&llava_command_draw, 5, (char *[]){attention, path, probs, model, png, NULL});
}

/* A conversation, in every format. */
static void fuzz_messages(const uint8_t *bytes, size_t n)
{
    llava_error e = {""}, warning;
    llava_messages m;
    if (!settled(llava_messages_read(&m, file_with(bytes, n), &e), &e)) {
        return;
    }
    const llava_conversation whole = {m.messages, m.count, m.generation, "<s>", "</s>"};
    for (int chat = 0; chat < LLAVA_CHAT_COUNT; chat++) {
        char *prompt = NULL;
        settled(llava_chat_render((llava_chat)chat, &whole, &prompt, &warning, &e), &e);
        free(prompt);
    }
    for (int conv = 0; conv < LLAVA_CONV_COUNT; conv++) {
        char *prompt = NULL;
        settled(llava_conv_render((llava_conv)conv, &whole, conv == 0, &prompt, &e), &e);
        free(prompt);
    }
    llava_messages_free(&m);
}

/* An earlier measurement of bench's. */
static void fuzz_measurement(const uint8_t *bytes, size_t n)
{
    static const char *const keys[] = {"machine.name", "path", "dtype", "model", "inputs"};
    llava_error e = {""};
    llava_bench_earlier earlier;
    double seconds[LLAVA_BENCH_STAGES];
    if (!settled(llava_bench_earlier_open(&earlier, file_with(bytes, n), &e), &e)) {
        return;
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        settled(llava_bench_earlier_same(&earlier, keys[i], "f32", &e), &e);
    }
    settled(llava_bench_earlier_seconds(&earlier, 2, seconds, &e), &e);
    llava_bench_earlier_close(&earlier);
}

/* ---- a whole model folder ----------------------------------------------------------------------
 */

/* The files, one behind the other: "=== NAME", a line end, and what it holds. */
static void unpack_folder(const char *text, size_t n)
{
    static const char *const names[] = {
        "config.json",           "generation_config.json",   "tower/config.json",
        "processor_config.json", "preprocessor_config.json", "tokenizer.json",
        "tokenizer_config.json", "added_tokens.json",        "special_tokens_map.json",
        "chat_template.json",    "chat_template.jinja",      "model.safetensors.index.json",
    };
    static const char mark[] = "=== ";
    const char *end = text + n, *at = memmem(text, n, mark, sizeof mark - 1);
    empty_folder();
    while (at != NULL) {
        const char *name = at + sizeof mark - 1;
        const char *line = memchr(name, '\n', (size_t)(end - name));
        if (line == NULL) {
            break;
        }
        const char *next = memmem(line, (size_t)(end - line), mark, sizeof mark - 1);
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (strlen(names[i]) == (size_t)(line - name) &&
                memcmp(names[i], name, (size_t)(line - name)) == 0) {
                put_file(names[i], (const uint8_t *)line + 1,
                         (size_t)((next == NULL ? end : next) - line - 1));
            }
        }
        at = next;
    }
    filled_folder();
}

/* A picture of 24 x 36 pixels through the folder's image processor. */
static void process_picture(const llava_processor *processor)
{
    static const llava_image_plan plain;
    llava_error e = {""};
    llava_picture rgb = {0};
    llava_image_stages stages = {0};
    expect(llava_picture_new(&rgb, 24, 36, &e), "out of memory");
    settled(llava_picture_process(processor, &plain, &rgb, &stages, &e), &e);
    llava_image_stages_free(&stages);
    llava_picture_free(&rgb);
}

/* One question about it. */
static void ask_folder(const llava_config *config, const llava_processor *processor,
                       const llava_tokenizer *tokenizer)
{
    static const llava_token_plan plain;
    llava_error e = {""};
    llava_image_run run;
    llava_chat chat;
    char *text = NULL;
    int64_t *ids = NULL;
    size_t n;
    if (settled(llava_chat_of(folder, &chat, &e), &e) &&
        settled(llava_chat_render_turn(chat, "What?", 1, llava_tokenizer_bos_token(tokenizer),
                                       &text, &e),
                &e) &&
        settled(llava_image_token_count(processor, config, 24, 36, LLAVA_COUNT_EXACT, &run, &e),
                &e)) {
        llava_prompt prompt = {.text = text,
                               .image_text = llava_image_text(processor, config, tokenizer),
                               .image_id = config->image_token,
                               .runs = &run,
                               .pictures = 1,
                               .break_text = llava_image_break_text(processor),
                               .end_text = llava_image_end_text(processor)};
        settled(llava_prompt_encode(tokenizer, &plain, &prompt, &ids, &n, &e), &e);
    }
    free(ids);
    free(text);
}

static void fuzz_folder(const uint8_t *bytes, size_t n)
{
    static const llava_choices none;
    static char profile[] = "--profile=original", from[] = "--vision-tower";
    llava_error e = {""};
    llava_config config;
    llava_plan plan;
    llava_processor processor;
    llava_tokenizer *tokenizer = NULL;
    unpack_folder((const char *)bytes, n);
    bool original = llava_original_is(folder);
    bool configured = settled(original ? llava_original_config(&config, folder, tower, &e)
                                       : llava_config_read(&config, folder, &e),
                              &e);
    if (configured) {
        settled(llava_plan_make(&plan, &config, &none, LLAVA_F64, false, &e), &e);
    }
    bool pictures = settled(llava_processor_read(&processor, folder, &e), &e);
    if (pictures) {
        process_picture(&processor);
    }
    if (settled(llava_tokenizer_open(&tokenizer, folder, &e), &e)) {
        if (configured && pictures) {
            ask_folder(&config, &processor, tokenizer);
        }
        llava_tokenizer_close(tokenizer);
    }
    command(&llava_command_inspect, original ? 4 : 1,
            (char *[]){folder, profile, from, tower, NULL});
}

/* ---- words of the command line -----------------------------------------------------------------
 */

static void fuzz_words(const uint8_t *bytes, size_t n)
{
    llava_error e = {""};
    llava_globs globs;
    llava_choices choices = {{0}};
    llava_tap_place place;
    char *text = llava_text(&e, (const char *)bytes, n);
    expect(text != NULL, "out of memory");
    text[strnlen(text, 200)] = '\0'; /* looking for the word that was meant takes its square */
    if (settled(llava_globs_parse(&globs, text, &e), &e)) {
        llava_globs_match(&globs, "text.layers.0.attn.q");
        llava_globs_unmatched(&globs);
        llava_globs_free(&globs);
    }
    settled(llava_choose(&choices, text, &e), &e);
    llava_tap_find(text, &place);
    command(&llava_command_explain, 1, (char *[]){text, NULL});
    free(text);
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
    {"diff", fuzz_diff},
    {"inspect", fuzz_inspect},
    {"diagnose", fuzz_diagnose},
    {"draw", fuzz_draw},
    {"messages", fuzz_messages},
    {"measurement", fuzz_measurement},
    {"folder", fuzz_folder},
    {"words", fuzz_words},
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
