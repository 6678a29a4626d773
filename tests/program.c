#define _XOPEN_SOURCE 700 /* realpath */
#include "tests/program.h"

#include "ref/file.h"
#include "ref/number.h"
#include "tools/npz_writer.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- running ------------------------------------------------------------------------------------
 */

static void set_path(const char *variable, const char *path)
{
    char *full = realpath(path, NULL);
    if (full == NULL) {
        fprintf(stderr, "%s: not there (set LLAVA_REF, run from the top of the tree)\n", path);
        _exit(99);
    }
    setenv(variable, full, 1);
}

/* In the child: never returns. */
static void become(const support_folder *folder, const char *command)
{
    const char *program = getenv("LLAVA_REF");
    set_path("LLAVA", program == NULL ? "build/llava-ref" : program);
    set_path("GOLDEN", "golden");
    unlink(support_path(folder, ".out")); /* as in support_write */
    unlink(support_path(folder, ".err"));
    int out = open(support_path(folder, ".out"), O_WRONLY | O_CREAT, 0666);
    int err = open(support_path(folder, ".err"), O_WRONLY | O_CREAT, 0666);
    if (out < 0 || err < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0 ||
        chdir(folder->path) != 0) {
        _exit(98);
    }
    alarm(60); /* outlives exec: a reader that waits for a FIFO is ended */
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(97);
}

static char *contents(const support_folder *folder, const char *name, size_t *size)
{
    llava_file file;
    llava_error e;
    assert_true(llava_file_map(&file, support_path(folder, name), &e));
    char *text = calloc(file.size + 1, 1);
    assert_non_null(text);
    memcpy(text, file.bytes, file.size);
    *size = file.size;
    llava_file_unmap(&file);
    return text;
}

program_result program_run(const support_folder *folder, const char *command)
{
    fflush(NULL); /* or the child would write our buffers, too */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        become(folder, command);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    program_result result = {.status =
                                 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
    size_t ignored;
    result.out = contents(folder, ".out", &result.out_size);
    result.err = contents(folder, ".err", &ignored);
    return result;
}

void program_free(program_result *result)
{
    free(result->out);
    free(result->err);
    *result = (program_result){0};
}

const char *program_refusal(const program_result *result, const char *says)
{
    static const char warning[] = "llava-ref: warning: ", start[] = "llava-ref: ";
    const char *line = result->err;
    if (result->status != 2) {
        return "the exit status is not 2";
    }
    if (result->out_size != 0) {
        return "something stands on standard output";
    }
    while (strncmp(line, warning, strlen(warning)) == 0) {
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    if (strncmp(line, start, strlen(start)) != 0) {
        return "stderr has no line that begins 'llava-ref: '";
    }
    if (line[strcspn(line, "\n")] == '\0' || line[strcspn(line, "\n") + 1] != '\0') {
        return "stderr is not one whole line";
    }
    return strstr(line, says) == NULL ? "the line does not say what is wrong" : NULL;
}

bool program_leaves(const support_folder *folder, const char *start)
{
    bool found = false;
    DIR *listing = opendir(folder->path);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        found = found || strncmp(entry->d_name, start, strlen(start)) == 0;
    }
    closedir(listing);
    return found;
}

/* ---- making files ------------------------------------------------------------------------------
 */

enum { LONGEST = 64 * 1024 };

typedef struct {
    uint8_t bytes[LONGEST];
    size_t n;
} buffer;

static void put(buffer *b, const void *bytes, size_t n)
{
    assert_true(n <= LONGEST - b->n);
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

/* One value in the type "<i8", "<f4", ...; zeros for any other type. */
static void put_value(buffer *b, const char *dtype, double value)
{
    uint64_t bits = 0;
    float single = (float)value;
    size_t size = (size_t)atoi(dtype + 2);
    size = size == 0 ? 8 : size;
    if (dtype[1] == 'f' && size == 8) {
        memcpy(&bits, &value, 8);
    } else if (dtype[1] == 'f' && size == 4) {
        uint32_t word;
        memcpy(&word, &single, 4);
        bits = word;
    } else if (dtype[1] == 'f') {
        bits = llava_encode_f16(value);
    } else if (dtype[1] == 'i' || dtype[1] == 'u' || dtype[1] == 'b') {
        bits = (uint64_t)(int64_t)value;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(bits >> (8 * i));
        put(b, &byte, 1);
    }
}

/* The .npy header; shape: "[1,4]" as it will stand there in round brackets. */
static void put_header(buffer *b, const char *dtype, const char *shape)
{
    char text[256], inner[64] = "";
    snprintf(inner, sizeof inner, "%.*s", (int)strlen(shape) - 2, shape + 1);
    int n =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }\n",
                 dtype, inner, inner[0] != '\0' ? "," : "");
    uint8_t start[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)n, 0};
    assert_true(n > 0 && n < 256);
    put(b, start, sizeof start);
    put(b, text, (size_t)n);
}

static void put_member(llava_npz_writer *writer, char *description)
{
    static buffer b;
    llava_error e;
    char *rest = NULL, name[128];
    const char *key = strtok_r(description, " ", &rest), *dtype = strtok_r(NULL, " ", &rest);
    const char *shape = strtok_r(NULL, " ", &rest);
    assert_true(key != NULL && dtype != NULL && shape != NULL);
    b.n = 0;
    put_header(&b, dtype, shape);
    for (const char *word; (word = strtok_r(NULL, " ", &rest)) != NULL;) {
        const char *times = strchr(word, '*');
        for (long i = 0, n = times == NULL ? 1 : atol(times + 1); i < n; i++) {
            put_value(&b, dtype, strtod(word, NULL));
        }
    }
    snprintf(name, sizeof name, "%s.npy", key);
    assert_true(llava_npz_writer_begin(writer, name, b.n, &e));
    assert_true(llava_npz_writer_add(writer, b.bytes, b.n, &e));
    assert_true(llava_npz_writer_end(writer, &e));
}

void program_write_inputs(const support_folder *folder, const char *name, const char *description)
{
    llava_output *output;
    llava_npz_writer *writer;
    llava_error e;
    char *copy = strdup(description), *rest = NULL;
    assert_non_null(copy);
    assert_true(llava_output_open(&output, support_path(folder, name), &e));
    assert_true(llava_npz_writer_open(&writer, output, false, &e));
    for (char *m = strtok_r(copy, ";", &rest); m != NULL; m = strtok_r(NULL, ";", &rest)) {
        put_member(writer, m);
    }
    assert_true(llava_npz_writer_finish(writer, &e));
    llava_npz_writer_close(writer);
    assert_true(llava_output_commit(output, &e));
    free(copy);
}

/* The first place of `from` in n bytes. */
static size_t find(const uint8_t *bytes, size_t n, const char *from)
{
    size_t length = strlen(from);
    for (size_t i = 0; i + length <= n; i++) {
        if (memcmp(bytes + i, from, length) == 0) {
            return i;
        }
    }
    fail_msg("'%s' is not there to be edited", from);
    return 0;
}

void program_edit(const support_folder *folder, const char *name, const char *from, const char *to)
{
    llava_file file;
    llava_error e;
    assert_true(llava_file_map(&file, support_path(folder, name), &e));
    size_t at = find(file.bytes, file.size, from), behind = at + strlen(from);
    size_t n = file.size - strlen(from) + strlen(to);
    uint8_t *edited = malloc(n);
    assert_non_null(edited);
    memcpy(edited, file.bytes, at);
    memcpy(edited + at, to, strlen(to));
    memcpy(edited + at + strlen(to), file.bytes + behind, file.size - behind);
    if (strstr(name, ".safetensors") != NULL) { /* the header is shorter than 64 KiB here */
        size_t length = edited[0] + 256u * edited[1] + strlen(to) - strlen(from);
        edited[0] = (uint8_t)length;
        edited[1] = (uint8_t)(length >> 8);
    }
    llava_file_unmap(&file);
    support_write(folder, name, edited, n);
    free(edited);
}
