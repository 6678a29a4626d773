/* Faults on output: whatever becomes of the file, disk, pipe or process, there is one line and
 * status 2, an old file stays whole, and nothing half-written stands under a final name. */
#include "tests/memory.h"
#include "tests/program.h"
#include "tools/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define RUN      "\"$LLAVA\" run --model model --inputs inputs.npz "
#define DIFF     "\"$LLAVA\" diff true.npz f32.npz "
#define DIAGNOSE "\"$LLAVA\" diagnose --model model --inputs inputs.npz --dump f32.npz "

/* Every option that writes a file, behind a command that is quick. */
static const char *const writers[] = {
    RUN "--taps logits --dump",
    RUN "--taps logits --compress --dump",
    RUN "--taps logits --hash",
    DIFF "--json",
    DIFF "--html",
    DIFF "--junit",
    DIAGNOSE "--json",
    DIAGNOSE "--html",
    "\"$LLAVA\" inspect model --json",
    "\"$LLAVA\" inspect f32.npz --json",
    "\"$LLAVA\" inspect f32.npz logits --png",
    "\"$LLAVA\" draw drift true.npz f32.npz --png",
    "\"$LLAVA\" draw drift true.npz f32.npz --png drawn.png --json",
    "\"$LLAVA\" help draw --json",
    "\"$LLAVA\" explain logits --json",
    "\"$LLAVA\" bench --model model --inputs inputs.npz --runs 1 --json",
};
enum { WRITERS = sizeof writers / sizeof writers[0] };

/* A way to go wrong: a shell command around "WRITER FILE", and the last line's end. */
typedef struct {
    const char *what, *before, *file, *behind, *says;
} fault;

static const fault faults[] = {
    {"a full disk", "", "/dev/full", ">/dev/null",
     "/dev/full: cannot be written (No space left on device)"},
    {"standard output on a full disk", "", "-", ">/dev/full",
     "standard output: cannot be written (No space left on device)"},
    /* its only reader is gone when `wait` comes back */
    {"a closed pipe", "mkfifo pipe; : <pipe & exec 3>pipe; wait; rm pipe; ", "-", ">&3",
     "standard output: cannot be written (Broken pipe)"},
    {"a closed standard output", "", "-", ">&-",
     "standard output: cannot be written (Bad file descriptor)"},
    {"a folder that isn't there", "", "no/out", ">/dev/null",
     "no/out: cannot be created (No such file or directory)"},
    {"a folder that takes no files", "", "/proc/out", ">/dev/null",
     "/proc/out: cannot be created (No such file or directory)"},
    {"a file where a folder is meant", "", "inputs.npz/out", ">/dev/null",
     "inputs.npz/out: Not a directory"},
    {"a folder where a file is meant", "", "model", ">/dev/null", "model: is a folder"},
    /* the shell's own files are no longer written then: status and message go through pipes */
    {"a file beyond the size that the shell allows", "exit $({ { (ulimit -f 0; ", "old",
     ">/dev/null; echo $? >&3) 2>&1 | cat >&2; } 3>&1; })",
     "old: cannot be written (File too large)"},
};
enum { FAULTS = sizeof faults / sizeof faults[0] };

static support_folder folder;

static int set_up(void **state)
{
    (void)state;
    folder = support_folder_new();
    program_result made = program_run(
        &folder, "cp -rL --no-preserve=mode \"$GOLDEN\"/plain/model \"$GOLDEN\"/plain/*.npz . && "
                 "printf old > old");
    int status = made.status;
    program_free(&made);
    return status;
}

static int tear_down(void **state)
{
    (void)state;
    support_folder_remove(&folder);
    return 0;
}

/* Fails unless the shell command ends with this status; returns what it prints: free() it. */
static char *says(int status, const char *command)
{
    program_result r = program_run(&folder, command);
    if (r.status != status) {
        fail_msg("%s\nexit status %d, stderr: %s", command, r.status, r.err);
    }
    free(r.err);
    return r.out;
}

/* What is wrong with the outcome, or NULL. Tables of diff and inspect go to stderr where standard
 * output is taken, so only the last line counts, which must be the only complaint. */
static const char *judge(const program_result *r, const char *end)
{
    const size_t n = strlen(r->err), length = strlen(end);
    size_t complaints = 0;
    for (const char *at = r->err; (at = strstr(at, "llava-ref: ")) != NULL; at++) {
        complaints += (at == r->err || at[-1] == '\n') && strncmp(at + 11, "warning: ", 9) != 0;
    }
    char old[8] = "";
    FILE *file = fopen(support_path(&folder, "old"), "r");
    const bool whole =
        file != NULL && fread(old, 1, sizeof old - 1, file) == 3 && strcmp(old, "old") == 0;
    if (file != NULL) {
        fclose(file);
    }
    return r->status != 2    ? "the exit status is not 2"
           : complaints != 1 ? "there is not one complaint"
           : n < length + 1 || r->err[n - 1] != '\n' ||
                   strncmp(r->err + n - 1 - length, end, length) != 0
               ? "the last line is another"
           : !whole                                   ? "the old file is gone"
           : program_leaves(&folder, "llava-ref.tmp") ? "a temporary file is left"
           : program_leaves(&folder, "no")            ? "a folder was made"
                                                      : NULL;
}

/* Files opened later must not take their numbers, or what is printed would go into them. */
static void closed_standard_files_stay_closed(void **state)
{
    (void)state;
    free(says(0, RUN "--dump right.npz >/dev/null"));
    free(says(2, RUN "--dump out.npz >&-"));
    free(says(0, "cmp out.npz right.npz"));
    free(says(0, RUN "--dump out.npz 2>&- >/dev/null && cmp out.npz right.npz"));
    free(says(0, RUN "--dump out.npz <&- >/dev/null && cmp out.npz right.npz"));
    free(says(0, RUN "--hash - --taps logits <&- 2>&- | wc -l | grep -q '^ *1$'"));
}

static void every_writer_refuses_every_fault(void **state)
{
    (void)state;
    size_t failed = 0;
    for (size_t w = 0; w < WRITERS; w++) {
        for (size_t f = 0; f < FAULTS; f++) {
            char command[1024];
            snprintf(command, sizeof command, "%s%s %s %s", faults[f].before, writers[w],
                     faults[f].file, faults[f].behind);
            program_result r = program_run(&folder, command);
            const char *wrong = judge(&r, faults[f].says);
            if (wrong != NULL) {
                print_error("%s: %s: %s; exit status %d, stderr: %s\n", writers[w], faults[f].what,
                            wrong, r.status, r.err);
                failed++;
            }
            program_free(&r);
        }
    }
    assert_int_equal(failed, 0);
}

/* ---- while it is written ------------------------------------------------------------------------
 */

/* Shell: `met WHAT` starts a run of the demo model, of a copy `demo` of its folder, does WHAT as
 * soon as something stands in the run's temporary file, and leaves the run's exit status in the
 * file `ended`; the run's process is in the file `pid`. The shell looks without starting a process,
 * and WHAT should start none: on a busy machine the run would be done first. */
#define MET                                                                                        \
    "there() { [ -s \"$1\" ]; }; "                                                                 \
    "met() { rm -rf demo ended pid; cp -rL --no-preserve=mode \"$GOLDEN\"/demo/model demo; "       \
    "{ sh -c 'echo $$ >pid; exec \"$LLAVA\" run --model demo --image "                             \
    "\"$GOLDEN\"/demo/pictures/2-red-triangle.png --prompt \"USER: <image> Once\" "                \
    "--generate 400 --dump target.npz' >/dev/null; echo $? >ended; } & "                           \
    "until there llava-ref.tmp* || [ -e ended ]; do :; done; "                                     \
    "eval \"$1\"; wait; }; "

/* Tries until the run was met in the middle and ended with this status: it may still be done before
 * the shell looks. */
#define UNTIL(status, what)                                                                        \
    MET "for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do "                       \
        "rm -f llava-ref.tmp* target.npz; printf old >target.npz; met '" what                      \
        "' 2>said; [ \"$(cat ended)\" = " status " ] && break; done; "

static void a_killed_run_leaves_the_old_file_whole(void **state)
{
    (void)state;
    free(says(0, UNTIL("137", "read -r p <pid; kill -9 $p") "[ \"$(cat ended)\" = 137 ] && "
                                                            "[ \"$(cat target.npz)\" = old ]"));
    /* what is left lies there under another name, and is in nobody's way */
    free(says(0, RUN "--taps logits --dump target.npz >/dev/null && ls llava-ref.tmp* && "
                     "\"$LLAVA\" inspect target.npz logits && rm llava-ref.tmp* target.npz"));
}

/* The one who comes last wins; nobody ever reads a mixture. */
static void two_writers_of_one_file_leave_one_of_theirs(void **state)
{
    (void)state;
    free(says(0, RUN "--dump a.npz >/dev/null; " RUN "--dtype f32 --dump b.npz >/dev/null; "
                     "for i in 1 2 3; do "
                     "{ " RUN "--dump both.npz >/dev/null; echo $? >one; } & p=$!; " RUN
                     "--dtype f32 --dump both.npz >/dev/null && wait $p && [ $(cat one) = 0 ] && "
                     "{ cmp both.npz a.npz || cmp both.npz b.npz; } || exit 8; done; "
                     "! ls | grep llava-ref.tmp"));
}

/* A folder is made whole by the first, and refused to the second. */
static void two_writers_of_one_folder_leave_the_firsts(void **state)
{
    (void)state;
    free(says(0,
              RUN "--dump a/ >/dev/null; " RUN "--dtype f32 --dump b/ >/dev/null; "
                  "{ " RUN "--dump both/ >/dev/null; echo $? >one; } & p=$!; " RUN
                  "--dtype f32 --dump both/ >/dev/null; two=$?; wait $p; "
                  "case \"$(cat one) $two\" in '0 2') diff -r both a ;; '2 0') diff -r both b ;; "
                  "*) exit 7 ;; esac && ! ls | grep llava-ref.tmp"));
}

static void weights_that_shrink_under_a_run_are_refused(void **state)
{
    (void)state;
    program_result r = program_run(
        &folder, UNTIL("2", ": >demo/model.safetensors") "cat said >&2; exit $(cat ended)");
    const char *wrong =
        program_refusal(&r, "/demo/model.safetensors: the file became shorter while it was read");
    if (wrong != NULL) {
        fail_msg("%s; exit status %d, stderr: %s", wrong, r.status, r.err);
    }
    program_free(&r);
    assert_false(program_leaves(&folder, "llava-ref.tmp"));
    free(says(0, "[ \"$(cat target.npz)\" = old ]"));
}

/* ---- names, in this process ---- */

static void names_that_cannot_be_written_are_refused(void **state)
{
    (void)state;
    support_folder own = support_folder_new();
    llava_folder *taps;
    llava_output *output;
    llava_error e;
    char file[512], empty[512], listening[512];
    snprintf(file, sizeof file, "%s", support_path(&own, "file"));
    snprintf(empty, sizeof empty, "%s", support_path(&own, "empty"));
    snprintf(listening, sizeof listening, "%s", support_path(&own, "socket"));
    support_write_text(&own, "file", "old");
    assert_int_equal(mkdir(empty, 0777), 0);
    assert_false(llava_folder_open(&taps, "", &e));
    support_says(&e, "an output folder has an empty name");
    assert_false(llava_folder_open(&taps, file, &e));
    support_says(&e, "exists and is not a folder");
    assert_false(llava_folder_open(&taps, own.path, &e));
    support_says(&e, "the folder exists and is not empty");
    assert_true(llava_folder_open(&taps, empty, &e));
    llava_folder_abort(taps);
    assert_false(llava_output_open(&output, "", &e));
    support_says(&e, "an output file has an empty name");
    assert_false(llava_output_open(&output, own.path, &e));
    support_says(&e, "is a folder");
    /* something that is no file and cannot be opened */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", listening);
    int bound = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(bound >= 0 && bind(bound, (struct sockaddr *)&address, sizeof address) == 0);
    assert_false(llava_output_open(&output, listening, &e));
    support_says(&e, "socket: ");
    close(bound);
    /* what can be asked without a file being left */
    assert_true(llava_output_possible("-", &e) && llava_output_possible("no/such/folder/", &e));
    assert_true(llava_output_possible("/dev/null", &e) && llava_output_possible(file, &e));
    assert_false(llava_output_possible("", &e));
    assert_false(llava_output_possible(own.path, &e));
    support_folder_remove(&own);
}

static void room_is_asked_of_the_disk_that_is_written_to(void **state)
{
    (void)state;
    support_folder own = support_folder_new();
    llava_error e;
    char file[512];
    snprintf(file, sizeof file, "%s", support_path(&own, "file"));
    support_write_text(&own, "file", "old");
    assert_true(llava_output_room("-", UINT64_MAX, &e));
    assert_true(llava_output_room("/dev/null", UINT64_MAX, &e));
    assert_true(llava_output_room("/file", 0, &e)); /* of the root */
    assert_true(llava_output_room("file", 0, &e));  /* of the current folder */
    assert_true(llava_output_room("no/such/folder/file", UINT64_MAX, &e)); /* said by the opening */
    assert_true(llava_output_room(file, 1, &e));
    assert_false(llava_output_room(file, UINT64_MAX / 2, &e));
    support_says(&e, "file: no room on the disk (");
    support_folder_remove(&own);
}

/* Names that others have taken are passed over, but not for ever. */
static void temporary_names_give_way(void **state)
{
    (void)state;
    support_folder own = support_folder_new();
    llava_output *output;
    llava_error e;
    char path[512];
    snprintf(path, sizeof path, "%s", support_path(&own, "out"));
    for (int i = 0; i < 1000; i++) {
        char name[64];
        if (i == 999) {
            assert_true(llava_output_open(&output, path, &e));
            llava_output_abort(output);
        }
        snprintf(name, sizeof name, "llava-ref.tmp%ld.%d", (long)getpid(), i);
        support_write_text(&own, name, "");
    }
    assert_false(llava_output_open(&output, path, &e));
    support_says(&e, "out: cannot be created (File exists)");
    support_folder_remove(&own);
}

/* ---- is it the same file? ---- */

static bool compare(void *self, llava_error *e)
{
    char *const *paths = self;
    bool same = false;
    if (!llava_output_same(paths[0], paths[1], &same, e)) {
        return false;
    }
    assert_int_equal(same, strcmp(paths[2], "same") == 0);
    return true;
}

static void two_names_of_one_file_are_known(void **state)
{
    (void)state;
    support_folder own = support_folder_new();
    char here[512], again[600], other[512], old[512], nowhere[512];
    snprintf(here, sizeof here, "%s", support_path(&own, "new"));
    snprintf(again, sizeof again, "%s/../%s/new", own.path, strrchr(own.path, '/') + 1);
    snprintf(other, sizeof other, "%s", support_path(&own, "other"));
    snprintf(old, sizeof old, "%s", support_path(&own, "old"));
    snprintf(nowhere, sizeof nowhere, "%s", support_path(&own, "none/new"));
    support_write_text(&own, "old", "");
    char *pairs[][3] = {{here, here, "same"},      {here, again, "same"},  {here, other, "two"},
                        {here, old, "two"},        {old, here, "two"},     {old, old, "same"},
                        {here, nowhere, "two"},    {nowhere, here, "two"}, {"-", here, "two"},
                        {nowhere, nowhere, "same"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        (void)memory_runs_out(compare, pairs[i]);
    }
    support_folder_remove(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_writer_refuses_every_fault),
        cmocka_unit_test(closed_standard_files_stay_closed),
        cmocka_unit_test(a_killed_run_leaves_the_old_file_whole),
        cmocka_unit_test(two_writers_of_one_file_leave_one_of_theirs),
        cmocka_unit_test(two_writers_of_one_folder_leave_the_firsts),
        cmocka_unit_test(weights_that_shrink_under_a_run_are_refused),
        cmocka_unit_test(names_that_cannot_be_written_are_refused),
        cmocka_unit_test(room_is_asked_of_the_disk_that_is_written_to),
        cmocka_unit_test(temporary_names_give_way),
        cmocka_unit_test(two_names_of_one_file_are_known),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
