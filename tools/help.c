/* llava-ref help and version. */
#include "tools/help.h"

#include "tools/json_out.h"
#include "tools/nearest.h"
#include "tools/page.h"

#include <stdlib.h>
#include <string.h>

const llava_command *const llava_commands[] = {
    &llava_command_run,      &llava_command_diff,
    &llava_command_diagnose, &llava_command_inspect,
    &llava_command_draw,     &llava_command_explain,
    &llava_command_bench,    &llava_command_version,
    &llava_command_help,     NULL,
};

const llava_term llava_help_statuses[] = {
    {"0", "done; compared and agrees"},
    {"1", "compared and differs; something was found"},
    {"2", "cannot run or cannot judge: bad usage, a bad file, nothing to compare. One line on "
          "standard error says why, the last one there."},
    {NULL, NULL},
};

const llava_term llava_help_files[] = {
    {"DIR/config.json", "a model folder's configuration"},
    {"DIR/model.safetensors",
     "its weights, or the shards that DIR/model.safetensors.index.json names"},
    {"DIR/preprocessor_config.json", "for pictures; or a part of DIR/processor_config.json"},
    {"DIR/tokenizer.json",
     "for text; beside it tokenizer_config.json, chat_template.jinja or chat_template.json, and "
     "generation_config.json"},
    {"llava-ref.tmp*", "an output that is being written; it stands beside its target and is "
                       "renamed when it is whole"},
    {NULL, NULL},
};

const llava_term llava_help_environment[] = {
    {"LLAVA_FAST_WIDTH",
     "portable, avx2, avx512 or avx512bf16: narrower vectors than the machine's, with --path fast"},
    {"NO_COLOR", "nothing is coloured, with it or without"},
    {"TERM", "dumb: no progress line, as where standard error is no terminal"},
    {NULL, NULL},
};

const llava_command *llava_command_find(const char *name, llava_error *e)
{
    char hint[LLAVA_HINT];
    llava_nearest nearest = {.word = name};
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        if (strcmp(llava_commands[i]->name, name) == 0) {
            return llava_commands[i];
        }
        llava_nearest_offer(&nearest, llava_commands[i]->name);
    }
    llava_did_you_mean(nearest.best, hint);
    llava_fail(e, "%s: unknown command%s", name,
               hint[0] != '\0' ? hint : " (llava-ref help lists them)");
    return NULL;
}

bool llava_help_options(const llava_command *c, llava_option options[LLAVA_OPTIONS_MOST],
                        size_t *count, void **targets, llava_error *e)
{
    *targets = llava_alloc(e, 1, c->room);
    *count = *targets == NULL || c->options == NULL ? 0 : c->options(*targets, options);
    return *targets != NULL;
}

/* ---- help in text -------------------------------------------------------------------------------
 */

enum { COLUMNS = 80, TERM = 24 };

static void paragraph(FILE *to, const char *text)
{
    llava_page_wrap(to, COLUMNS, 0, 0, text, strlen(text));
    fputc('\n', to);
}

/* "  TERM    about", a long term on a line of its own. */
static void print_term(FILE *to, const char *term, const char *about)
{
    int used = fprintf(to, "  %s", term);
    if (used > TERM - 2) {
        fputc('\n', to);
        used = 0;
    }
    fprintf(to, "%*s", TERM - used, "");
    llava_page_wrap(to, COLUMNS, TERM, TERM, about, strlen(about));
    fputc('\n', to);
}

static void print_terms(FILE *to, const char *title, const llava_term *terms)
{
    fprintf(to, "\n%s:\n", title);
    for (; terms->name != NULL; terms++) {
        print_term(to, terms->name, terms->about);
    }
}

const char *llava_help_example(const char *at, size_t *column, size_t columns, size_t *n,
                               bool *breaks)
{
    const char *next = strstr(at + 1, " --");
    *n = next == NULL ? strlen(at) : (size_t)(next - at);
    *breaks = *column > 0 && *column + *n + 2 > columns;
    *column = (*breaks ? LLAVA_HELP_INDENT : *column) + *n;
    return at + *n;
}

static void print_example(FILE *to, const char *command)
{
    size_t column = 0, n;
    bool breaks;
    fputs("  ", to);
    for (const char *at = command, *next; *at != '\0'; at = next) {
        next = llava_help_example(at, &column, COLUMNS - 2, &n, &breaks);
        fprintf(to, "%s%.*s", breaks ? " \\\n     " : "", (int)n, at);
    }
    fputc('\n', to);
}

static bool print_command(FILE *to, const llava_command *c, llava_error *e)
{
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count;
    void *targets;
    if (!llava_help_options(c, options, &count, &targets, e)) {
        return false;
    }
    for (size_t i = 0; c->synopsis[i] != NULL; i++) {
        size_t column = (size_t)fprintf(to, "llava-ref %s ", c->name);
        llava_page_wrap(to, COLUMNS, column, column, c->synopsis[i], strlen(c->synopsis[i]));
        fputc('\n', to);
    }
    fputs("  ", to);
    llava_page_wrap(to, COLUMNS, 2, 2, c->about, strlen(c->about));
    fputs("\n\n", to);
    for (const llava_operand *o = c->operands; o != NULL && o->name != NULL; o++) {
        print_term(to, o->name, o->about);
    }
    for (size_t i = 0; i < count; i++) {
        char value[128], term[256];
        llava_option_value(&options[i], value, sizeof value);
        snprintf(term, sizeof term, "%s%s%s", options[i].name, value[0] == '\0' ? "" : " ", value);
        print_term(to, term, options[i].about);
    }
    free(targets);
    if (c->details != NULL) {
        fputc('\n', to);
        paragraph(to, c->details);
    }
    fprintf(to, "\nexit status: %s\n\nexample%s (in the source tree):\n",
            c->status == NULL ? "0 done, 2 cannot run" : c->status,
            c->examples[1].command == NULL ? "" : "s");
    for (const llava_example *x = c->examples; x->command != NULL; x++) {
        print_example(to, x->command);
    }
    return true;
}

bool llava_help_print(FILE *to, const llava_command *command, llava_error *e)
{
    if (command != NULL) {
        return print_command(to, command, e);
    }
    fputs("llava-ref: a reference implementation and test oracle of LLaVA\n\n", to);
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        fprintf(to, "  %-9s %s\n", llava_commands[i]->name, llava_commands[i]->about);
    }
    fputs("\nllava-ref help COMMAND tells more, man llava-ref all of it.\n", to);
    print_terms(to, "exit status", llava_help_statuses);
    print_terms(to, "files", llava_help_files);
    print_terms(to, "environment", llava_help_environment);
    return true;
}

/* ---- help for programs --------------------------------------------------------------------------
 */

/* An object {"name", "about"} at the list's end. */
static cJSON *put_term(bool *lost, cJSON *list, const char *name, const char *about)
{
    cJSON *term = llava_json_put(lost, list, NULL, cJSON_CreateObject());
    llava_json_text(lost, term, "name", name);
    llava_json_text(lost, term, "about", about);
    return term;
}

static void put_terms(bool *lost, cJSON *to, const char *key, const llava_term *terms)
{
    cJSON *list = llava_json_put(lost, to, key, cJSON_CreateArray());
    for (; terms->name != NULL; terms++) {
        put_term(lost, list, terms->name, terms->about);
    }
}

static void put_option(bool *lost, cJSON *list, const llava_option *o)
{
    char value[128];
    llava_option_value(o, value, sizeof value);
    cJSON *option = put_term(lost, list, o->name, o->about);
    llava_json_text(lost, option, "value", o->kind == LLAVA_OPTION_FLAG ? NULL : value);
    if (o->choices != NULL) {
        llava_json_words(lost, option, "choices", o->choices);
    }
}

static bool put_command(bool *lost, cJSON *commands, const llava_command *c, llava_error *e)
{
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count;
    void *targets;
    if (!llava_help_options(c, options, &count, &targets, e)) {
        return false;
    }
    cJSON *command = put_term(lost, commands, c->name, c->about);
    llava_json_words(lost, command, "synopsis", c->synopsis);
    cJSON *list = llava_json_put(lost, command, "operands", cJSON_CreateArray());
    for (const llava_operand *o = c->operands; o != NULL && o->name != NULL; o++) {
        put_term(lost, list, o->name, o->about);
    }
    list = llava_json_put(lost, command, "options", cJSON_CreateArray());
    for (size_t i = 0; i < count; i++) {
        put_option(lost, list, &options[i]);
    }
    free(targets);
    llava_json_text(lost, command, "details", c->details);
    llava_json_text(lost, command, "status", c->status);
    list = llava_json_put(lost, command, "examples", cJSON_CreateArray());
    for (const llava_example *x = c->examples; x->command != NULL; x++) {
        cJSON *example = llava_json_put(lost, list, NULL, cJSON_CreateObject());
        llava_json_text(lost, example, "command", x->command);
        llava_json_put(lost, example, "status", cJSON_CreateNumber(x->status));
    }
    return true;
}

/* All commands, or one. */
static bool help_json(const llava_command *only, const char *path, llava_error *e)
{
    cJSON *json = cJSON_CreateObject();
    bool lost = json == NULL, ok = true;
    llava_json_text(&lost, json, "schema", "llava-ref.help/1");
    cJSON *commands = llava_json_put(&lost, json, "commands", cJSON_CreateArray());
    for (size_t i = 0; ok && llava_commands[i] != NULL; i++) {
        ok = (only != NULL && only != llava_commands[i]) ||
             put_command(&lost, commands, llava_commands[i], e);
    }
    if (only == NULL) {
        put_terms(&lost, json, "statuses", llava_help_statuses);
        put_terms(&lost, json, "files", llava_help_files);
        put_terms(&lost, json, "environment", llava_help_environment);
    }
    ok = ok && llava_json_write(lost ? NULL : json, path, e);
    cJSON_Delete(json);
    return ok;
}

/* ---- the command help ---------------------------------------------------------------------------
 */

typedef struct {
    const char *json;
    bool man;
    size_t shell; /* 0: none */
    bool shell_given;
} help_options;

static size_t list_help_options(void *self, llava_option *options)
{
    static const char *const shells[] = {"bash", "zsh", NULL};
    help_options *o = self;
    options[0] = (llava_option){.name = "--man",
                                .kind = LLAVA_OPTION_FLAG,
                                .target = &o->man,
                                .about = "the manual page, for man -l"};
    options[1] = (llava_option){.name = "--completion",
                                .kind = LLAVA_OPTION_CHOICE,
                                .target = &o->shell,
                                .choices = shells,
                                .said = &o->shell_given,
                                .about = "what the shell is to offer behind each word: a script "
                                         "for it"};
    options[2] =
        llava_option_json(&o->json, "the same for programs (llava-ref.help/1), instead; - is "
                                    "standard output, and may be left out");
    options[2].alone = "-";
    return 3;
}

static bool help_checked(const help_options *o, const char *word, llava_error *e)
{
    return o->man + o->shell_given + (word != NULL || o->json != NULL) <= 1 ||
           llava_fail(e, "help: one of COMMAND, --man and --completion at a time");
}

static int help(int argc, char **argv, llava_error *e)
{
    const char *word = NULL;
    help_options o = {0};
    llava_option options[LLAVA_OPTIONS_MOST];
    llava_operands operands = {.words = &word, .most = 1};
    size_t count = list_help_options(&o, options);
    if (!llava_options_read(argc, argv, options, count, &operands, e) ||
        !help_checked(&o, word, e)) {
        return LLAVA_CANNOT;
    }
    if (o.man) {
        return llava_manual_print(stdout, e) ? LLAVA_DONE : LLAVA_CANNOT;
    }
    if (o.shell_given) {
        bool ok = o.shell == 0 ? llava_completion_bash(stdout, e) : llava_completion_zsh(stdout, e);
        return ok ? LLAVA_DONE : LLAVA_CANNOT;
    }
    const llava_command *c = word == NULL ? NULL : llava_command_find(word, e);
    if (word != NULL && c == NULL) {
        return LLAVA_CANNOT;
    }
    bool ok = o.json != NULL ? help_json(c, o.json, e) : llava_help_print(stdout, c, e);
    return ok ? LLAVA_DONE : LLAVA_CANNOT;
}

static const char *const help_synopsis[] = {"[COMMAND] [--json FILE]",
                                            "--man | --completion bash|zsh", NULL};

static const llava_operand help_operands[] = {
    {"COMMAND", "explain this one", LLAVA_WORD_COMMAND},
    {NULL, NULL, LLAVA_WORD_ANY},
};

static const llava_example help_examples[] = {
    {"llava-ref help diagnose", LLAVA_DONE},
    {NULL, 0},
};

const llava_command llava_command_help = {
    .name = "help",
    .run = help,
    .about = "explain a command",
    .synopsis = help_synopsis,
    .operands = help_operands,
    .room = sizeof(help_options),
    .options = list_help_options,
    .examples = help_examples,
};

/* ---- the command version ------------------------------------------------------------------------
 */

static size_t list_version_options(void *self, llava_option *options)
{
    options[0] = llava_option_json(self, "the same for programs (llava-ref.version/1), instead; - "
                                         "is standard output, and may be left out");
    options[0].alone = "-";
    return 1;
}

static bool version_json(const char *path, llava_error *e)
{
    cJSON *json = cJSON_CreateObject();
    bool lost = json == NULL;
    llava_json_text(&lost, json, "schema", "llava-ref.version/1");
    llava_json_text(&lost, json, "version", LLAVA_VERSION);
    llava_json_text(&lost, json, "contract", LLAVA_CONTRACT);
    bool ok = llava_json_write(lost ? NULL : json, path, e);
    cJSON_Delete(json);
    return ok;
}

static int version(int argc, char **argv, llava_error *e)
{
    const char *json = NULL;
    llava_option options[LLAVA_OPTIONS_MOST];
    llava_operands none = {0};
    size_t count = list_version_options(&json, options);
    if (!llava_options_read(argc, argv, options, count, &none, e)) {
        return LLAVA_CANNOT;
    }
    if (json != NULL) {
        return version_json(json, e) ? LLAVA_DONE : LLAVA_CANNOT;
    }
    printf("llava-ref %s\ncontract %s\n", LLAVA_VERSION, LLAVA_CONTRACT);
    return LLAVA_DONE;
}

static const char *const version_synopsis[] = {"[--json FILE]", NULL};

static const llava_example version_examples[] = {
    {"llava-ref version", LLAVA_DONE},
    {NULL, 0},
};

const llava_command llava_command_version = {
    .name = "version",
    .run = version,
    .about = "print the program's and the contract's version",
    .synopsis = version_synopsis,
    .room = sizeof(const char *),
    .options = list_version_options,
    .examples = version_examples,
};
