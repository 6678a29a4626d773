/* Signals: nothing half-written stays, and a file that shrinks is a bad file like any other. Each
 * case is a process of its own, which the signal ends. */
#include "ref/file.h"
#include "tests/program.h"
#include "tools/interrupt.h"
#include "tools/output.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs act in a process of its own, in the folder, signals installed; returns its status as
 * waitpid has it. stderr goes to the file "err". */
static int in_child(const support_folder *work, void (*act)(int signal), int signal_number)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(20);
        if (chdir(work->path) != 0 || freopen("err", "w", stderr) == NULL) {
            _exit(99);
        }
        signal(signal_number,
               SIG_DFL); /* nohup leaves SIGHUP ignored, and so does what it starts */
        llava_interrupt_install();
        act(signal_number);
        _exit(98); /* a signal should have ended it */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* Half a file and half a folder, one finished file; then the signal. */
static void write_and_die(int signal_number)
{
    llava_error e;
    llava_output *whole, *half;
    llava_folder *folder;
    if (!llava_output_open(&whole, "whole.npz", &e) || !llava_output_write(whole, "done", 4, &e) ||
        !llava_output_commit(whole, &e) || !llava_output_open(&half, "half.npz", &e) ||
        !llava_output_write(half, "ha", 2, &e) || !llava_folder_open(&folder, "taps/", &e)) {
        _exit(97);
    }
    char *path = llava_path(&e, llava_folder_path(folder), "logits.npy");
    FILE *file = path == NULL ? NULL : fopen(path, "w");
    free(path);
    if (file == NULL || fclose(file) != 0) {
        _exit(96);
    }
    raise(signal_number);
}

static void temporary_files_and_folders_go_with_the_signal(void **state)
{
    (void)state;
    const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        support_folder work = support_folder_new();
        int status = in_child(&work, write_and_die, signals[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signals[i]);
        assert_true(program_leaves(&work, "whole.npz"));
        assert_false(program_leaves(&work, "llava-ref.tmp"));
        assert_false(program_leaves(&work, "half"));
        assert_false(program_leaves(&work, "taps"));
        support_folder_remove(&work);
    }
}

/* SIGKILL can't be caught: the target is as it was, whatever else lies there. */
static void overwrite_and_die(int signal_number)
{
    llava_error e;
    llava_output *half;
    if (!llava_output_open(&half, "old.npz", &e) || !llava_output_write(half, "new", 3, &e)) {
        _exit(97);
    }
    raise(signal_number);
}

static void an_old_file_stays_whole_under_every_signal(void **state)
{
    (void)state;
    const int signals[] = {SIGTERM, SIGKILL};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        support_folder work = support_folder_new();
        llava_error e;
        llava_file file;
        support_write_text(&work, "old.npz", "old");
        int status = in_child(&work, overwrite_and_die, signals[i]);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
        assert_true(llava_file_map(&file, support_path(&work, "old.npz"), &e));
        assert_int_equal(file.size, 3);
        assert_memory_equal(file.bytes, "old", 3);
        llava_file_unmap(&file);
        support_folder_remove(&work);
    }
}

/* What the one who starts the program ignores (nohup) does not end it. */
static void go_on_where_it_is_ignored(int signal_number)
{
    llava_error e;
    llava_output *whole;
    signal(signal_number, SIG_IGN);
    llava_interrupt_install();
    if (!llava_output_open(&whole, "whole.npz", &e)) {
        _exit(97);
    }
    raise(signal_number);
    _exit(llava_output_write(whole, "done", 4, &e) && llava_output_commit(whole, &e) ? 0 : 96);
}

static void an_ignored_signal_stays_ignored(void **state)
{
    (void)state;
    support_folder work = support_folder_new();
    int status = in_child(&work, go_on_where_it_is_ignored, SIGHUP);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(program_leaves(&work, "whole.npz"));
    support_folder_remove(&work);
}

#define WEIGHTS "wei\x1bgh\x7fts" /* a name must not reach the terminal's controls */

/* Maps a file of two pages, cuts it, and reads what is gone. */
static void read_what_is_gone(int signal_number)
{
    (void)signal_number;
    llava_error e;
    llava_file file;
    llava_output *half;
    if (!llava_output_open(&half, "half.npz", &e) || !llava_file_map(&file, WEIGHTS, &e) ||
        truncate(WEIGHTS, 10) != 0) {
        _exit(97);
    }
    volatile const uint8_t *bytes = file.bytes;
    _exit(bytes[file.size - 1] == 0 ? 95 : 94);
}

static void a_file_that_shrinks_is_one_line_and_status_2(void **state)
{
    (void)state;
    support_folder work = support_folder_new();
    size_t size = (size_t)sysconf(_SC_PAGESIZE) * 2;
    uint8_t *zeros = calloc(size, 1);
    assert_non_null(zeros);
    support_write(&work, WEIGHTS, zeros, size);
    free(zeros);
    int status = in_child(&work, read_what_is_gone, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_false(program_leaves(&work, "llava-ref.tmp"));
    llava_error e;
    llava_file said;
    assert_true(llava_file_map(&said, support_path(&work, "err"), &e));
    char *text = llava_text(&e, (const char *)said.bytes, said.size);
    llava_file_unmap(&said);
    assert_non_null(text);
    const char *end = "/wei?gh?ts: the file became shorter while it was read\n";
    assert_int_equal(strncmp(text, "llava-ref: /", 12), 0);
    assert_true(strlen(text) > strlen(end));
    assert_string_equal(text + strlen(text) - strlen(end), end);
    free(text);
    support_folder_remove(&work);
}

/* The signal without an address that a file is mapped at. */
static void break_nowhere(int signal_number)
{
    (void)signal_number;
    kill(getpid(), SIGBUS);
}

/* No file can be opened any more: not even the list of what is mapped. */
static void break_without_a_list(int signal_number)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        _exit(97);
    }
    files.rlim_cur = 0;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
        _exit(97);
    }
    break_nowhere(signal_number);
}

/* A process of its own, as a replay is: who reads its pipe says what is wrong. */
static void break_in_a_second_process(int signal_number)
{
    llava_error e;
    llava_output *half;
    int status = 0;
    (void)signal_number;
    if (!llava_output_open(&half, "half.npz", &e)) {
        _exit(97);
    }
    pid_t second = fork();
    if (second == 0) {
        kill(getpid(), SIGBUS);
    }
    bool ended = waitpid(second, &status, 0) == second && WIFEXITED(status);
    /* what the first one writes is still there */
    bool whole = llava_output_write(half, "whole", 5, &e) && llava_output_commit(half, &e);
    _exit(ended && WEXITSTATUS(status) == 2 && whole ? 0 : 96);
}

static void a_broken_mapping_without_a_file_is_said_as_well(void **state)
{
    (void)state;
    static const struct {
        void (*act)(int signal_number);
        int status;
        const char *says;
    } rows[] = {
        {break_nowhere, 2, "llava-ref: a mapped file: the file became shorter while it was read\n"},
        {break_without_a_list, 2,
         "llava-ref: a mapped file: the file became shorter while it was read\n"},
        {break_in_a_second_process, 0, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        support_folder work = support_folder_new();
        char said[256];
        int status = in_child(&work, rows[i].act, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), rows[i].status);
        FILE *err = fopen(support_path(&work, "err"), "r");
        assert_non_null(err);
        said[fread(said, 1, sizeof said - 1, err)] = '\0';
        fclose(err);
        assert_string_equal(said, rows[i].says);
        support_folder_remove(&work);
    }
}

/* What is watched is forgotten, and more than fits does no harm. */
static void the_list_of_paths_is_bounded(void **state)
{
    (void)state;
    char name[32];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2 * LLAVA_INTERRUPT_PATHS; i++) {
            snprintf(name, sizeof name, "none/%d", i);
            llava_interrupt_watch(name);
        }
        for (int i = 0; i < 2 * LLAVA_INTERRUPT_PATHS; i++) {
            snprintf(name, sizeof name, "none/%d", i);
            llava_interrupt_forget(name);
        }
    }
    static char longest[PATH_MAX + 1]; /* no path that a system takes: it is not kept either */
    memset(longest, 'n', PATH_MAX);
    const char *const never[] = {"", longest};
    for (size_t i = 0; i < 2; i++) {
        llava_interrupt_watch(never[i]);
        llava_interrupt_forget(never[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temporary_files_and_folders_go_with_the_signal),
        cmocka_unit_test(an_old_file_stays_whole_under_every_signal),
        cmocka_unit_test(an_ignored_signal_stays_ignored),
        cmocka_unit_test(a_file_that_shrinks_is_one_line_and_status_2),
        cmocka_unit_test(a_broken_mapping_without_a_file_is_said_as_well),
        cmocka_unit_test(the_list_of_paths_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
