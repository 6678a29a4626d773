/* The manual page, made from the table of commands, in mdoc. */
#include "tools/help.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 78, EXAMPLE = 66 };

/* One character of a text as roff shows it unchanged. */
static size_t put_character(FILE *to, char c)
{
    switch (c) {
    case '\\':
        return (size_t)fprintf(to, "\\e");
    case '-':
        return (size_t)fprintf(to, "\\-");
    case '\'':
        return (size_t)fprintf(to, "\\(aq");
    case '`':
        return (size_t)fprintf(to, "\\(ga");
    case '"':
        return (size_t)fprintf(to, "\\(dq");
    case '^':
        return (size_t)fprintf(to, "\\(ha");
    case '~':
        return (size_t)fprintf(to, "\\(ti");
    default:
        fputc(c, to);
        return 1;
    }
}

/* n characters; a line of roff must not begin with a control character. */
static size_t put_word(FILE *to, const char *text, size_t n, bool begins)
{
    size_t used = 0;
    if (begins && (text[0] == '.' || text[0] == '\'')) {
        used = (size_t)fprintf(to, "\\&");
    }
    for (size_t i = 0; i < n; i++) {
        used += put_character(to, text[i]);
    }
    return used;
}

/* Text lines, each sentence beginning one. */
static void put_text(FILE *to, const char *text)
{
    size_t column = 0;
    bool sentence = true;
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, " ");
        bool begins = sentence || column + 1 + n > LINE;
        if (at != text) {
            fputc(begins ? '\n' : ' ', to);
            column = begins ? 0 : column + 1;
        }
        column += put_word(to, at, n, begins);
        sentence = n > 1 && at[n - 1] == '.' && at[n - 2] != '.';
        at += n + (at[n] == ' ');
    }
    fputc('\n', to);
}

static void put_terms(FILE *to, const char *macro, const llava_term *terms)
{
    fputs(".Bl -tag -width Ds\n", to);
    for (; terms->name != NULL; terms++) {
        fprintf(to, ".It %s ", macro);
        put_word(to, terms->name, strlen(terms->name), false);
        fputc('\n', to);
        put_text(to, terms->about);
    }
    fputs(".El\n", to);
}

static void put_synopsis(FILE *to)
{
    fputs(".Sh SYNOPSIS\n", to);
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        const llava_command *c = llava_commands[i];
        for (size_t j = 0; c->synopsis[j] != NULL; j++) {
            fprintf(to, ".Nm\n.Cm %s\n", c->name);
            put_text(to, c->synopsis[j]);
        }
    }
}

/* ".It Fl -dump Ar OUT" */
static void put_option(FILE *to, const llava_option *o)
{
    char value[128];
    llava_option_value(o, value, sizeof value);
    fprintf(to, ".It Fl %s", o->name + 1);
    if (value[0] != '\0') {
        fputs(o->value == NULL ? " Cm " : " Ar ", to);
        put_word(to, value, strlen(value), false);
    }
    fputc('\n', to);
    put_text(to, o->about);
}

static bool put_command(FILE *to, const llava_command *c, llava_error *e)
{
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count;
    void *targets;
    if (!llava_help_options(c, options, &count, &targets, e)) {
        return false;
    }
    fprintf(to, ".Ss %s\n", c->name);
    put_text(to, c->about);
    if (c->details != NULL) {
        fputs(".Pp\n", to);
        put_text(to, c->details);
    }
    fputs(".Bl -tag -width Ds\n", to);
    for (const llava_operand *o = c->operands; o != NULL && o->name != NULL; o++) {
        fprintf(to, ".It Ar %s\n", o->name);
        put_text(to, o->about);
    }
    for (size_t i = 0; i < count; i++) {
        put_option(to, &options[i]);
    }
    fputs(".El\n", to);
    if (c->status != NULL) {
        fputs(".Pp\nExit status: ", to);
        put_text(to, c->status);
    }
    free(targets);
    return true;
}

static void put_example(FILE *to, const char *command)
{
    size_t column = 0, n;
    bool breaks;
    for (const char *at = command, *next; *at != '\0'; at = next) {
        next = llava_help_example(at, &column, EXAMPLE, &n, &breaks);
        fputs(breaks ? " \\e\n   " : "", to);
        put_word(to, at, n, false);
    }
    fputc('\n', to);
}

static void put_examples(FILE *to)
{
    fputs(".Sh EXAMPLES\nIn the source tree:\n", to);
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        fputs(".Bd -literal -offset indent\n", to);
        for (const llava_example *x = llava_commands[i]->examples; x->command != NULL; x++) {
            put_example(to, x->command);
        }
        fputs(".Ed\n", to);
    }
}

bool llava_manual_print(FILE *to, llava_error *e)
{
    fprintf(to,
            ".\\\" Made by `llava-ref help --man`: do not edit.\n"
            ".Dd %s\n.Dt LLAVA-REF 1\n.Os\n.Sh NAME\n.Nm llava-ref\n"
            ".Nd reference implementation and test oracle of LLaVA\n",
            LLAVA_DATE);
    put_synopsis(to);
    fputs(".Sh DESCRIPTION\n", to);
    put_text(to, "Every layer of LLaVA as transformers computes it, in float64 or any narrower "
                 "type, from the picture file and the prompt to logits and text; every tensor of "
                 "it can be dumped, compared with a port's, and a port's errors traced to where "
                 "they are made.");
    fputs(".Pp\n", to);
    put_text(to, "Options may stand before, between and behind other words; --name=VALUE is the "
                 "same as --name VALUE, and -- ends the options. A file name of - means standard "
                 "output. Long work shows its progress on a terminal's standard error, and nothing "
                 "elsewhere.");
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        if (!put_command(to, llava_commands[i], e)) {
            return false;
        }
    }
    fputs(".Sh ENVIRONMENT\n", to);
    put_terms(to, "Ev", llava_help_environment);
    fputs(".Sh FILES\n", to);
    put_terms(to, "Pa", llava_help_files);
    fputs(".Sh EXIT STATUS\n", to);
    put_terms(to, "Sy", llava_help_statuses);
    put_examples(to);
    return true;
}
