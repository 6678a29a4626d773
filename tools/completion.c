/* What bash and zsh offer behind each word of a command line, made from the tables of commands,
 * taps, decisions and maps. */
#include "ref/decisions.h"
#include "ref/taps.h"
#include "tools/help.h"
#include "tools/map.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists that both have -----------------------------------------------------------------------
 */

/* The tap's name with `layer` for its number. */
static void put_tap(FILE *to, const char *name, const char *layer)
{
    const char *number = strstr(name, "{i}");
    fputs(" '", to);
    if (number == NULL) {
        fputs(name, to);
    } else {
        fprintf(to, "%.*s%s%s", (int)(number - name), name, layer, number + 3);
    }
    fputc('\'', to);
}

static void put_taps(FILE *to, const char *layer)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    for (size_t i = 0; i < count; i++) {
        put_tap(to, kinds[i].name, layer);
    }
}

static void put_decisions(FILE *to)
{
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        fprintf(to, " %s", llava_decision_at((llava_decision_id)i)->name);
    }
}

/* "    NAME) OUT=(value value ...);;" of each decision. */
static void put_values(FILE *to)
{
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)i);
        fprintf(to, "        %s) words=(", d->name);
        for (size_t v = 0; d->values[v] != NULL; v++) {
            fprintf(to, "%s%s", v == 0 ? "" : " ", d->values[v]);
        }
        fputs(") ;;\n", to);
    }
}

static void put_maps(FILE *to)
{
    for (size_t i = 0; llava_built_in_maps[i].name != NULL; i++) {
        fprintf(to, " %s", llava_built_in_maps[i].name);
    }
}

static void put_choices(FILE *to, const char *const *choices)
{
    for (size_t i = 0; choices[i] != NULL; i++) {
        fprintf(to, "%s%s", i == 0 ? "" : " ", choices[i]);
    }
}

/* The word's kind, as the scripts call it. */
static const char *kind_of(llava_word word)
{
    static const char *const names[] = {
        [LLAVA_WORD_ANY] = "any",      [LLAVA_WORD_FILE] = "file",
        [LLAVA_WORD_OUT] = "file",     [LLAVA_WORD_FOLDER] = "folder",
        [LLAVA_WORD_DUMP] = "file",    [LLAVA_WORD_MAP] = "map",
        [LLAVA_WORD_TAPS] = "taps",    [LLAVA_WORD_DECISION] = "decision",
        [LLAVA_WORD_TOPIC] = "topic",  [LLAVA_WORD_COMMAND] = "command",
        [LLAVA_WORD_ITSELF] = "words",
    };
    return names[word];
}

/* Of an operand that stands for itself, the names that may stand in its place, between `open` and
 * `close`; of any other, `none`. Returns the next operand. */
static const llava_operand *put_alternatives(FILE *to, const llava_operand *o, const char *open,
                                             const char *close, const char *none)
{
    if (o->word != LLAVA_WORD_ITSELF) {
        fputs(none, to);
        return o + 1;
    }
    const char *between = open;
    for (; o->name != NULL && o->word == LLAVA_WORD_ITSELF; o++, between = " ") {
        fprintf(to, "%s%s", between, o->name);
    }
    fputs(close, to);
    return o;
}

/* Calls each(to, command) for every command. */
static bool each_command(FILE *to,
                         void (*each)(FILE *to, const llava_command *c, const llava_option *options,
                                      size_t count),
                         llava_error *e)
{
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        llava_option options[LLAVA_OPTIONS_MOST];
        size_t count;
        void *targets;
        if (!llava_help_options(llava_commands[i], options, &count, &targets, e)) {
            return false;
        }
        each(to, llava_commands[i], options, count);
        free(targets);
    }
    return true;
}

/* ---- bash ---------------------------------------------------------------------------------------
 */

/* The kind of each option's value, and of the words that are none. */
static void bash_kinds(FILE *to, const llava_command *c, const llava_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (options[i].kind == LLAVA_OPTION_FLAG) {
            continue;
        }
        fprintf(to, "        '%s %s') kind=", c->name, options[i].name);
        if (options[i].choices == NULL) {
            fprintf(to, "%s ;;\n", kind_of(options[i].word));
            continue;
        }
        fputs("words words=(", to);
        put_choices(to, options[i].choices);
        fputs(") ;;\n", to);
    }
    const llava_operand *o = c->operands;
    for (size_t place = 0; o != NULL && o->name != NULL; place++) {
        fprintf(to, "        '%s %zu') kind=%s", c->name, place, kind_of(o->word));
        o = put_alternatives(to, o, " words=(", ") ;;\n", " ;;\n");
    }
}

static void bash_options(FILE *to, const llava_command *c, const llava_option *options,
                         size_t count)
{
    fprintf(to, "        %s) words=(--help", c->name);
    for (size_t i = 0; i < count; i++) {
        fprintf(to, " %s", options[i].name);
    }
    fputs(") ;;\n", to);
}

static const char bash_start[] =
    "# bash completion for llava-ref. Made by `llava-ref help --completion bash`: do not edit.\n";

static const char bash_body[] =
    "# The words up to the cursor in `line`: readline breaks them at \"=\", too.\n"
    "_llava_ref_line() {\n"
    "    local i piece blank rest=${COMP_LINE:0:COMP_POINT}\n"
    "    line=()\n"
    "    for ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "        piece=${COMP_WORDS[i]} blank=${rest%%[![:blank:]]*}\n"
    "        rest=${rest#\"$blank\"}\n"
    "        ((i == COMP_CWORD)) && piece=$rest\n"
    "        if ((i > 0)) && [[ -z $blank ]]; then\n"
    "            line[${#line[@]}-1]+=$piece\n"
    "        else\n"
    "            line+=(\"$piece\")\n"
    "        fi\n"
    "        rest=${rest#\"$piece\"}\n"
    "    done\n"
    "}\n"
    "\n"
    "# The kind of the operand at the cursor: as many stand before it as are no options and no "
    "values.\n"
    "_llava_ref_operand() {\n"
    "    local i n=0\n"
    "    for ((i = 2; i < ${#line[@]} - 1; i++)); do\n"
    "        if [[ ${line[i]} != -* ]]; then ((n += 1))\n"
    "        elif _llava_ref_kind \"$command ${line[i]}\"; then ((i += 1)); fi\n"
    "    done\n"
    "    kind=\n"
    "    until _llava_ref_kind \"$command $n\" || ((n == 0)); do ((n -= 1)); done\n"
    "}\n"
    "\n"
    "# The words that begin like `cur`, each behind `before`.\n"
    "_llava_ref_offer() {\n"
    "    local word\n"
    "    for word in \"${words[@]}\"; do\n"
    "        [[ $word == \"$cur\"* ]] && COMPREPLY+=(\"$before$word\")\n"
    "    done\n"
    "}\n"
    "\n"
    "_llava_ref_files() {\n"
    "    local word\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    while IFS= read -r word; do COMPREPLY+=(\"$word\"); done < <(compgen \"$1\" -- \"$cur\")\n"
    "}\n"
    "\n"
    "_llava_ref() {\n"
    "    local cur command= option= kind= before= typed word\n"
    "    local -a line words\n"
    "    COMPREPLY=()\n"
    "    _llava_ref_line\n"
    "    cur=${line[${#line[@]}-1]} typed=${line[${#line[@]}-1]}\n"
    "    if ((${#line[@]} < 3)); then\n"
    "        kind=command\n"
    "    else\n"
    "        command=${line[1]}\n"
    "        if [[ $cur == --*=* ]]; then\n"
    "            option=${cur%%=*} cur=${cur#*=}\n"
    "            before=$option=\n"
    "            _llava_ref_kind \"$command $option\"\n"
    "        elif _llava_ref_kind \"$command ${line[${#line[@]}-2]}\"; then\n"
    "            :\n"
    "        elif [[ $cur == -* ]]; then\n"
    "            kind=option\n"
    "        else\n"
    "            _llava_ref_operand\n"
    "        fi\n"
    "    fi\n"
    "    cur=${cur#[\\'\\\"]}\n"
    "    case $kind in\n"
    "    command) _llava_ref_commands; _llava_ref_offer ;;\n"
    "    option) _llava_ref_options; _llava_ref_offer ;;\n"
    "    words) _llava_ref_offer ;;\n"
    "    file) before=; _llava_ref_files -f ;;\n"
    "    folder) before=; _llava_ref_files -d ;;\n"
    "    map) _llava_ref_maps; _llava_ref_offer; before=; _llava_ref_files -f ;;\n"
    "    topic) _llava_ref_topics; _llava_ref_offer ;;\n"
    "    taps)\n"
    "        compopt -o nospace 2>/dev/null\n"
    "        [[ $cur == *,* ]] && before+=${cur%,*},\n"
    "        cur=${cur##*,}\n"
    "        _llava_ref_taps\n"
    "        _llava_ref_offer ;;\n"
    "    decision)\n"
    "        if [[ $cur == *=* ]]; then\n"
    "            before+=${cur%%=*}=\n"
    "            _llava_ref_values \"${cur%%=*}\"\n"
    "            cur=${cur#*=}\n"
    "        else\n"
    "            compopt -o nospace 2>/dev/null\n"
    "            _llava_ref_decisions\n"
    "        fi\n"
    "        _llava_ref_offer ;;\n"
    "    esac\n"
    "    # readline replaces what stands behind its last break alone\n"
    "    if [[ $COMP_WORDBREAKS == *=* && -n $before && $typed == *=* ]]; then\n"
    "        COMPREPLY=(\"${COMPREPLY[@]#\"${typed%\"${typed##*=}\"}\"}\")\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -F _llava_ref llava-ref\n";

bool llava_completion_bash(FILE *to, llava_error *e)
{
    fputs(bash_start, to);
    fputs("\n# What stands behind this option of this command; fails where nothing does.\n"
          "_llava_ref_kind() {\n    case $1 in\n",
          to);
    if (!each_command(to, bash_kinds, e)) {
        return false;
    }
    fputs("        *) return 1 ;;\n    esac\n}\n\n_llava_ref_options() {\n    words=()\n"
          "    case $command in\n",
          to);
    if (!each_command(to, bash_options, e)) {
        return false;
    }
    fputs("    esac\n}\n\n_llava_ref_values() {\n    words=()\n    case $1 in\n", to);
    put_values(to);
    fputs("    esac\n}\n\n_llava_ref_commands() {\n    words=(--help --version", to);
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        fprintf(to, " %s", llava_commands[i]->name);
    }
    fputs(")\n    [[ $command == '' ]] || words=(\"${words[@]:2}\")\n}\n\n_llava_ref_maps() {\n"
          "    words=(",
          to);
    put_maps(to);
    fputs(")\n}\n\n_llava_ref_taps() {\n    words=(", to);
    put_taps(to, "*");
    fputs(")\n}\n\n_llava_ref_topics() {\n    words=(", to);
    put_taps(to, "0");
    put_decisions(to);
    fputs(")\n}\n\n_llava_ref_decisions() {\n    words=(", to);
    put_decisions(to);
    fputs(")\n    words=(\"${words[@]/%/=}\")\n}\n\n", to);
    fputs(bash_body, to);
    return true;
}

/* ---- zsh ----------------------------------------------------------------------------------------
 */

/* A description within the quotes and brackets of an _arguments specification. */
static void zsh_about(FILE *to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", to);
            continue;
        }
        if (strchr("[]:\\", *text) != NULL) {
            fputc('\\', to);
        }
        fputc(*text, to);
    }
}

static const char *zsh_action(llava_word word)
{
    switch (word) {
    case LLAVA_WORD_FOLDER:
        return "_files -/";
    case LLAVA_WORD_FILE:
    case LLAVA_WORD_OUT:
    case LLAVA_WORD_DUMP:
        return "_files";
    case LLAVA_WORD_MAP:
        return "_llava_ref_map";
    case LLAVA_WORD_TAPS:
        return "_llava_ref_taps";
    case LLAVA_WORD_DECISION:
        return "_llava_ref_decision";
    case LLAVA_WORD_TOPIC:
        return "_llava_ref_topic";
    case LLAVA_WORD_COMMAND:
        return "_llava_ref_commands";
    case LLAVA_WORD_ITSELF:
        return "";
    case LLAVA_WORD_ANY:
        break;
    }
    return " ";
}

static void zsh_option(FILE *to, const llava_option *o)
{
    bool flag = o->kind == LLAVA_OPTION_FLAG;
    fprintf(to, " \\\n            '%s%s%s[", o->kind == LLAVA_OPTION_EACH ? "*" : "", o->name,
            flag ? "" : "=");
    zsh_about(to, o->about);
    fputc(']', to);
    if (flag) {
        fputc('\'', to);
        return;
    }
    fputc(':', to);
    zsh_about(to, o->value == NULL ? "value" : o->value);
    fputc(':', to);
    if (o->choices != NULL) {
        fputc('(', to);
        put_choices(to, o->choices);
        fputs(")'", to);
    } else {
        fprintf(to, "%s'", zsh_action(o->word));
    }
}

static void zsh_command(FILE *to, const llava_command *c, const llava_option *options, size_t count)
{
    fprintf(to, "        %s)\n            _arguments -S '--help[explain this command]'", c->name);
    for (size_t i = 0; i < count; i++) {
        zsh_option(to, &options[i]);
    }
    for (const llava_operand *o = c->operands; o != NULL && o->name != NULL;) {
        bool itself = o->word == LLAVA_WORD_ITSELF;
        fprintf(to, " \\\n            '%s:", strstr(o->name, "...") != NULL ? "*" : "");
        zsh_about(to, itself ? "what" : o->name);
        fprintf(to, ":%s", zsh_action(o->word));
        o = put_alternatives(to, o, "(", ")'", "'");
    }
    fputs(" ;;\n", to);
}

bool llava_completion_zsh(FILE *to, llava_error *e)
{
    fputs("#compdef llava-ref\n# Made by `llava-ref help --completion zsh`: do not edit.\n\n"
          "_llava_ref_commands() {\n    local -a commands=(",
          to);
    for (size_t i = 0; llava_commands[i] != NULL; i++) {
        fprintf(to, "\n        '%s:", llava_commands[i]->name);
        zsh_about(to, llava_commands[i]->about);
        fputc('\'', to);
    }
    fputs(")\n    _describe command commands\n}\n\n_llava_ref_map() {\n    local -a maps=(", to);
    put_maps(to);
    fputs(")\n    compadd -a maps\n    _files\n}\n\n_llava_ref_taps() {\n    local -a taps=(", to);
    put_taps(to, "*");
    fputs(")\n    compset -P '*,'\n    compadd -S '' -a taps\n}\n\n_llava_ref_topic() {\n"
          "    local -a topics=(",
          to);
    put_taps(to, "0");
    put_decisions(to);
    fputs(")\n    compadd -a topics\n}\n\n_llava_ref_decision() {\n    local -a words=(", to);
    put_decisions(to);
    fputs(
        ")\n    local name=${${PREFIX#--set=}%%=*}\n"
        "    if ! compset -P '*='; then\n        compadd -S '=' -a words\n        return\n    fi\n"
        "    case $name in\n",
        to);
    put_values(to);
    fputs("    esac\n    compadd -a words\n}\n\n"
          "_llava_ref() {\n    local curcontext=$curcontext state line\n"
          "    _arguments -C '--help[what there is]' '--version[print the version]' \\\n"
          "        ':command:_llava_ref_commands' '*::word:->words' && return\n"
          "    case $words[1] in\n",
          to);
    if (!each_command(to, zsh_command, e)) {
        return false;
    }
    fputs("    esac\n}\n\n_llava_ref \"$@\"\n", to);
    return true;
}
