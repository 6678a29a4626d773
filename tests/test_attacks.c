/* The hostile files of tests/attacks, as its index README.md lists them: every row's command is run
 * and must end with exactly the line that the row shows. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "ref/file.h"
#include "ref/jpeg.h"
#include "tests/program.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ATTACKS "tests/attacks"

static char *readme;

static int read_index(void **state)
{
    (void)state;
    llava_error e;
    llava_file file;
    if (!llava_file_map(&file, ATTACKS "/README.md", &e)) {
        return 1;
    }
    readme = llava_text(&e, (const char *)file.bytes, file.size);
    llava_file_unmap(&file);
    return readme == NULL;
}

static int free_index(void **state)
{
    (void)state;
    free(readme);
    return 0;
}

enum { CELLS = 4, LONGEST = 1024 };

/* One line of a table: file, what is wrong, command, what is said. */
typedef char row[CELLS][LONGEST];

/* Takes the next cell off the line, without blanks and the marks of code around it; "\|" is "|". */
static bool take_cell(const char **at, char cell[LONGEST])
{
    size_t n = 0;
    while (**at == '|' || **at == ' ') {
        (*at)++;
    }
    for (; **at != '\0' && **at != '|'; (*at)++) {
        *at += (*at)[0] == '\\' && (*at)[1] == '|';
        assert_true(n + 1 < LONGEST);
        cell[n++] = **at;
    }
    while (n > 0 && cell[n - 1] == ' ') {
        n--;
    }
    cell[n] = '\0';
    if (n > 1 && cell[0] == '`' && cell[n - 1] == '`') {
        memmove(cell, cell + 1, n - 2);
        cell[n - 2] = '\0';
    }
    return **at == '|';
}

/* The index's next row; false behind the last. *refused: is its table one of refusals? */
static bool next_row(const char **at, row r, bool *refused)
{
    while (**at != '\0') {
        const size_t n = strcspn(*at, "\n");
        char *line = strndup(*at, n);
        const char *rest = line;
        assert_non_null(line);
        *at += n + ((*at)[n] == '\n');
        bool is_row = line[0] == '|' && line[1] == ' ';
        for (int i = 0; is_row && i < CELLS; i++) {
            is_row = take_cell(&rest, r[i]);
        }
        free(line);
        if (is_row && strcmp(r[0], "file") != 0) {
            return true;
        }
        if (is_row) {
            *refused = strcmp(r[3], "is refused with") == 0;
            assert_true(*refused || strcmp(r[3], "prints") == 0);
        }
    }
    return false;
}

static bool has_line(const char *text, const char *line)
{
    const size_t n = strlen(line);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at++) {
        if ((at == text || at[-1] == '\n') && (at[n] == '\n' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

/* What is wrong with the outcome, or NULL. */
static const char *judge(const program_result *r, bool refused, const char *says)
{
    if (!refused) {
        return r->status != 0           ? "the exit status is not 0"
               : has_line(r->out, says) ? NULL
                                        : "the line is not printed";
    }
    const char *wrong = program_refusal(r, says);
    return wrong != NULL || has_line(r->err, says) ? wrong : "the line is another one";
}

static void put_link(const support_folder *folder, const char *name, const char *to)
{
    char *whole = realpath(to, NULL);
    assert_non_null(whole);
    assert_int_equal(symlink(whole, support_path(folder, name)), 0);
    free(whole);
}

/* A folder with what the commands name: model and inputs.npz of golden/plain, `pictures`, the file;
 * in .bin the program. */
static support_folder prepare(const char *file)
{
    support_folder folder = support_folder_new();
    char name[256];
    const char *program = getenv("LLAVA_REF");
    assert_int_equal(mkdir(support_path(&folder, ".bin"), 0777), 0);
    put_link(&folder, ".bin/llava-ref", program == NULL ? "build/llava-ref" : program);
    put_link(&folder, "pictures", "golden/picture-chat/model");
    support_copy(&folder, "golden/plain", "bfhPtc");
    snprintf(name, sizeof name, ATTACKS "/%.200s", file);
    llava_file attack;
    llava_error e;
    if (llava_file_map(&attack, name, &e)) {
        support_write(&folder, file, attack.bytes, attack.size);
        llava_file_unmap(&attack);
    }
    return folder;
}

static void every_file_ends_as_the_index_says(void **state)
{
    (void)state;
    const char *at = readme;
    bool refused = true;
    size_t rows = 0, failed = 0;
    for (row r; next_row(&at, r, &refused); rows++) {
        if (strstr(r[0], ".jpg") != NULL && !llava_jpeg_available()) {
            continue;
        }
        support_folder folder = prepare(r[0]);
        char command[LONGEST + 64];
        snprintf(command, sizeof command, "PATH=\"$PWD/.bin:$PATH\"; %s", r[2]);
        program_result result = program_run(&folder, command);
        const char *wrong = judge(&result, refused, r[3]);
        if (wrong != NULL) {
            print_error("%s: %s; expected '%s', exit status %d, stdout: %.300s, stderr: %s\n", r[2],
                        wrong, r[3], result.status, result.out, result.err);
            failed++;
        }
        program_free(&result);
        support_folder_remove(&folder);
    }
    print_message("%zu rows\n", rows);
    assert_true(rows > 50);
    assert_int_equal(failed, 0);
}

static void every_file_stands_in_the_index(void **state)
{
    (void)state;
    DIR *files = opendir(ATTACKS);
    assert_non_null(files);
    for (const struct dirent *file; (file = readdir(files)) != NULL;) {
        char cell[300];
        snprintf(cell, sizeof cell, "| `%s` |", file->d_name);
        if (file->d_name[0] != '.' && strcmp(file->d_name, "README.md") != 0 &&
            strcmp(file->d_name, "make.py") != 0 && strstr(readme, cell) == NULL) {
            fail_msg("%s is not in the index", file->d_name);
        }
    }
    closedir(files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_ends_as_the_index_says),
        cmocka_unit_test(every_file_stands_in_the_index),
    };
    return cmocka_run_group_tests(tests, read_index, free_index);
}
