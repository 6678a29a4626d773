/* The table of commands, as people and shells get it: help, the manual page, completions. What one
 * of them says, all of them say, and every example works. */
#include "tests/program.h"
#include "tools/help.h"
#include "tools/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static program_result done(const support_folder *folder, const char *command)
{
    program_result r = program_run(folder, command);
    if (r.status != 0) {
        fail_msg("%s: exit status %d: %s", command, r.status, r.err);
    }
    return r;
}

/* One behind the other in one folder, where golden/ is the tree's; nothing but what a command is
 * for stands on standard error. */
static void every_example_works(void **state)
{
    (void)state;
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        support_folder folder = support_folder_new();
        program_result made = done(&folder, "ln -s \"$GOLDEN\" golden; ln -s \"$LLAVA\" llava-ref");
        program_free(&made);
        assert_non_null(llava_commands[i]->examples[0].command);
        for (const llava_example *x = llava_commands[i]->examples; x->command != NULL; x++) {
            char command[1024];
            snprintf(command, sizeof command, "PATH=.:$PATH; %s", x->command);
            program_result r = program_run(&folder, command);
            bool table = strstr(x->command, " --json -") != NULL;
            if (r.status != x->status || (r.err[0] != '\0' && !table)) {
                fail_msg("%s: exit status %d, %s", x->command, r.status, r.err);
            }
            program_free(&r);
        }
        support_folder_remove(&folder);
    }
}

static void no_line_of_help_is_too_wide(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        char command[64];
        snprintf(command, sizeof command, "\"$LLAVA\" help %s", llava_commands[i]->name);
        program_result r = done(&folder, command);
        for (const char *line = r.out; *line != '\0'; line += strcspn(line, "\n") + 1) {
            if (strcspn(line, "\n") > 80) {
                fail_msg("%s: %.*s", command, (int)strcspn(line, "\n"), line);
            }
        }
        program_free(&r);
    }
    support_folder_remove(&folder);
}

/* Does the text hold the word with nothing of a longer word around it? */
static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        if (strchr("abcdefghijklmnopqrstuvwxyz-", at[n]) == NULL || at[n] == '\0') {
            return true;
        }
    }
    return false;
}

static void every_option_is_in_help_manual_and_completions(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_result pages[] = {done(&folder, "\"$LLAVA\" help --man"),
                              done(&folder, "\"$LLAVA\" help --completion bash"),
                              done(&folder, "\"$LLAVA\" help --completion zsh")};
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        const llava_command *c = llava_commands[i];
        llava_option options[LLAVA_OPTIONS_MOST];
        size_t count;
        void *targets;
        llava_error e;
        assert_true(llava_help_options(c, options, &count, &targets, &e));
        char command[64];
        snprintf(command, sizeof command, "\"$LLAVA\" help %s", c->name);
        program_result help = done(&folder, command);
        for (size_t j = 0; j < count; j++) {
            char bash[96], man[96];
            snprintf(bash, sizeof bash, "'%s %s') kind=", c->name, options[j].name);
            snprintf(man, sizeof man, ".It Fl %s", options[j].name + 1);
            assert_non_null(options[j].about);
            assert_true(has_word(help.out, options[j].name));
            assert_true(has_word(pages[0].out, man));
            assert_true(options[j].kind == LLAVA_OPTION_FLAG || strstr(pages[1].out, bash) != NULL);
            assert_true(has_word(pages[2].out, options[j].name));
            for (const char *const *w = options[j].choices; w != NULL && *w != NULL; w++) {
                assert_true(has_word(help.out, *w) && has_word(pages[0].out, *w));
            }
        }
        free(targets);
        program_free(&help);
    }
    for (size_t i = 0; i < 3; i++) {
        program_free(&pages[i]);
    }
    support_folder_remove(&folder);
}

/* ---- bash ---------------------------------------------------------------------------------------
 */

/* Sources the script and asks it as readline would, whose words break at "=", too. */
static const char asking[] =
    "source ./script\n"
    "ask() {\n"
    "    local rest=$1 piece\n"
    "    COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=() COMPREPLY=()\n"
    "    while [[ -n $rest ]]; do\n"
    "        rest=${rest#\"${rest%%[! ]*}\"}\n"
    "        if [[ $rest == =* ]]; then piece==; else piece=${rest%%[ =]*}; fi\n"
    "        [[ -z $rest ]] || COMP_WORDS+=(\"$piece\")\n"
    "        rest=${rest#\"$piece\"}\n"
    "    done\n"
    "    [[ $1 == *' ' ]] && COMP_WORDS+=('')\n"
    "    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
    "    _llava_ref\n"
    "    printf '%s' \"${COMPREPLY[*]}\"\n"
    "}\n"
    "mkdir -p folder; : > file.npz\n";

static void bash_offers_what_the_table_says(void **state)
{
    static const char *const rows[][2] = {
        {"llava-ref d", "diff diagnose draw"},
        {"llava-ref ",
         "--help --version run diff diagnose inspect draw explain bench version help"},
        {"llava-ref run --dt", "--dtype"},
        {"llava-ref run --dtype ", "f64 f32 f16 bf16"},
        {"llava-ref run --dtype=b", "bf16"},
        {"llava-ref run --dtype f32 --pa", "--path"},
        {"llava-ref run --set vision.cls", "vision.cls_position="},
        {"llava-ref run --set vision.cls_position=", "first last absent"},
        {"llava-ref run --set vision.cls_position=l", "last"},
        {"llava-ref run --set=vision.act=gelu_", "gelu_tanh"},
        {"llava-ref run --set=vision.ac", "vision.act="},
        {"llava-ref run --set vision.nonsense=", ""},
        {"llava-ref run --taps vision.layers.*.attn.q,log", "vision.layers.*.attn.q,logits"},
        {"llava-ref run --taps 'proj", "projector.fc1 projector.act projector.out"},
        {"llava-ref run --model f", "folder"},
        {"llava-ref run --model=f", "folder"},
        {"llava-ref run --inputs f", "file.npz folder"},
        {"llava-ref run --chat ", ""},
        {"llava-ref diff f", "file.npz folder"},
        {"llava-ref diff --map l", "llama.cpp"},
        {"llava-ref explain vision.cls", "vision.cls_position"},
        {"llava-ref explain vision.layers.0.attn.k",
         "vision.layers.0.attn.k vision.layers.0.attn.k_rope"},
        {"llava-ref draw ", "picture attention patches rows drift angles"},
        {"llava-ref draw --row 3 pat", "patches"},
        {"llava-ref draw drift f", "file.npz folder"},
        {"llava-ref draw drift --png o.png file.npz f", "file.npz folder"},
        {"llava-ref inspect --json - file.npz f", ""},
        {"llava-ref run --model folder f", ""},
        {"llava-ref help diag", "diagnose"},
        {"llava-ref help --completion ", "bash zsh"},
        {"llava-ref version -", "--help --json"},
    };
    (void)state;
    support_folder folder = support_folder_new();
    program_result r = done(&folder, "\"$LLAVA\" help --completion bash > script");
    program_free(&r);
    size_t failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char script[4096];
        snprintf(script, sizeof script, "%sask \"%s\"\n", asking, rows[i][0]);
        support_write_text(&folder, "ask", script);
        r = done(&folder, "bash ask");
        if (strcmp(r.out, rows[i][1]) != 0 || r.err[0] != '\0') {
            print_error("%s: '%s' instead of '%s'; %s\n", rows[i][0], r.out, rows[i][1], r.err);
            failed++;
        }
        program_free(&r);
    }
    support_folder_remove(&folder);
    assert_int_equal(failed, 0);
}

/* ---- did you mean -------------------------------------------------------------------------------
 */

static void the_nearest_word_is_named_and_none_that_is_far(void **state)
{
    static const char *const known[] = {"run", "diff", "diagnose", "inspect", "f64", "f32", NULL};
    static const char *const rows[][2] = {
        {"rnu", "run"},
        {"dif", "diff"},
        {"dignose", "diagnose"},
        {"inspct", "inspect"},
        {"diagnsoe", "diagnose"},
        {"f65", "f64"},
        {"transmogrify", NULL},
        {"", NULL},
        {"xx", NULL},
        {"r", NULL},
        {"rub", "run"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *best = llava_nearest_of(rows[i][0], known);
        if (rows[i][1] == NULL) {
            assert_null(best);
        } else {
            assert_non_null(best);
            assert_string_equal(best, rows[i][1]);
        }
    }
    char hint[LLAVA_HINT];
    assert_string_equal(llava_did_you_mean(NULL, hint), "");
    assert_string_equal(llava_did_you_mean("run", hint), " (did you mean run?)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example_works),
        cmocka_unit_test(no_line_of_help_is_too_wide),
        cmocka_unit_test(every_option_is_in_help_manual_and_completions),
        cmocka_unit_test(bash_offers_what_the_table_says),
        cmocka_unit_test(the_nearest_word_is_named_and_none_that_is_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
