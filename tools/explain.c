/* llava-ref explain: what a tap or a decision is. */
#include "tools/command.h"

#include "ref/decisions.h"
#include "ref/taps.h"
#include "tools/json_out.h"
#include "tools/nearest.h"
#include "tools/options.h"
#include "tools/page.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 100, LABEL = 13 };

/* ---- text on a page -----------------------------------------------------------------------------
 */

static size_t wrap(size_t column, size_t indent, const char *text, size_t n)
{
    return llava_page_wrap(stdout, COLUMNS, column, indent, text, n);
}

/* "  LABEL    text", wrapped. An empty label continues the one above. */
static void field(const char *label, const char *text, size_t n)
{
    printf("  %-*s", LABEL - 2, label);
    wrap(LABEL, LABEL, text, n);
    putchar('\n');
}

/* "a, b, c" of a NULL-terminated list, ` (default)` behind the first if marked. */
static void join(char *out, size_t size, const char *const *words, bool mark)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; words[i] != NULL && used < size; i++) {
        int n = snprintf(out + used, size - used, "%s%s%s", i == 0 ? "" : ", ", words[i],
                         mark && i == 0 ? " (default)" : "");
        used += n > 0 ? (size_t)n : 0;
    }
}

enum { LIST = 1024 };

/* ---- decisions --------------------------------------------------------------------------------
 */

static const llava_decision *decision(size_t i)
{
    return llava_decision_at((llava_decision_id)i);
}

/* Each port on lines of its own, NAME in front where one is given. */
static void print_ports(const char *label, const char *name, const char *ports)
{
    for (const char *at = ports, *next; at != NULL; at = next, label = "") {
        const char *end = strstr(at, "; ");
        size_t n = end == NULL ? strlen(at) : (size_t)(end - at), column = LABEL;
        next = end == NULL ? NULL : end + 2;
        printf("  %-*s", LABEL - 2, label);
        if (name != NULL) {
            column += (size_t)printf("%s: ", name);
        }
        wrap(column, LABEL + 2, at, n);
        putchar('\n');
    }
}

static bool has_ports(const llava_decision *d)
{
    return strcmp(d->ports, "no report known") != 0;
}

static void print_legend(void)
{
    printf("%*s(R reported, F fixed, C read in its source, X measured; numbers: docs, port bugs)\n",
           LABEL, "");
}

static void explain_decision(const llava_decision *d)
{
    char list[LIST];
    printf("%s\n", d->name);
    join(list, sizeof list, d->values, true);
    field("values", list, strlen(list));
    field("what", d->what, strlen(d->what));
    field("first seen", d->acts[0], strlen(d->acts[0]));
    if (d->acts[1] != NULL) {
        join(list, sizeof list, d->acts + 1, false);
        field("acts also", list, strlen(list));
    }
    field("source", d->source, strlen(d->source));
    print_ports("ports", NULL, d->ports);
    if (has_ports(d)) {
        print_legend();
    }
    printf("  %-*sllava-ref run --set %s=%s --model DIR ...\n", LABEL - 2, "try it", d->name,
           d->values[1]);
}

/* ---- taps ---------------------------------------------------------------------------------------
 */

/* "B batch, S sequence, ..." of a kind's shape. */
static void shape_words(const llava_tap_kind *kind, char *out, size_t size)
{
    static const struct {
        const char *letter, *word;
    } words[] = {
        {"N", "pictures"},
        {"P", "patches of a picture"},
        {"T", "tower rows (patches and the class row)"},
        {"D", "tower width"},
        {"M", "tower MLP width"},
        {"F", "feature rows of a picture"},
        {"C", "tower width times chosen layers"},
        {"B", "batch"},
        {"S'", "keys, cached ones included (a sliding layer's step: its window's)"},
        {"S", "sequence (new tokens alone in a step)"},
        {"H", "text width"},
        {"I", "text MLP width"},
        {"A", "heads times head width"},
        {"V", "vocabulary"},
        {"G", "new tokens"},
        {"k", "key/value heads"},
        {"d", "head width"},
        {"w", "pixel columns"},
    };
    bool pixels = kind->at == LLAVA_AT_IMAGE;
    size_t used = (size_t)snprintf(out, size, "[%s]", kind->shape);
    const char *separator = ": ";
    for (const char *at = kind->shape; *at != '\0' && used < size;) {
        size_t n = strcspn(at, ",");
        const char *word = *at == 'h' ? (pixels ? "pixel rows" : "heads") : NULL;
        for (size_t i = 0; word == NULL && i < sizeof words / sizeof words[0]; i++) {
            bool same = strlen(words[i].letter) == n && strncmp(words[i].letter, at, n) == 0;
            word = same ? words[i].word : NULL;
        }
        /* a letter that stands twice, T by T, is explained once */
        size_t before = (size_t)(at - kind->shape);
        bool again = before >= n + 1 && strncmp(at - n - 1, at, n) == 0;
        if (word != NULL && !again) {
            used +=
                (size_t)snprintf(out + used, size - used, "%s%.*s %s", separator, (int)n, at, word);
            separator = ", ";
        }
        at += n + (at[n] == ',');
    }
}

/* Does the decision act at this tap; is it where it is first seen? */
static bool acts_at(const llava_decision *d, const char *name, bool *first)
{
    for (size_t a = 0; d->acts[a] != NULL; a++) {
        if (llava_tap_matches(d->acts[a], name)) {
            *first = a == 0;
            return true;
        }
    }
    return false;
}

static void print_decisions_at(const char *name)
{
    const char *label = "decisions";
    bool first;
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = decision(i);
        if (!acts_at(d, name, &first)) {
            continue;
        }
        char values[LIST], line[2 * LIST];
        join(values, sizeof values, d->values, false);
        snprintf(line, sizeof line, "%s: %s%s", d->name, values, first ? " (first seen here)" : "");
        field(label, line, strlen(line));
        label = "";
    }
    if (label[0] != '\0') {
        field(label, "none acts here", 14);
    }
}

static void print_ports_at(const char *name)
{
    const char *label = "port bugs";
    bool first;
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = decision(i);
        if (acts_at(d, name, &first) && has_ports(d)) {
            print_ports(label, d->name, d->ports);
            label = "";
        }
    }
    if (label[0] != '\0') {
        field(label, "no report known", 15);
    } else {
        print_legend();
    }
}

/* A tower's tap says which towers have it, and what its letters mean in Pixtral. */
static void print_towers(const llava_tap_kind *kind)
{
    static const char *const names[] = {"CLIP", "SigLIP", "Pixtral"};
    char text[LIST] = "";
    size_t used = 0;
    if (kind->at < LLAVA_AT_VISION || kind->at > LLAVA_AT_PROJECTOR) {
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (llava_tap_of_tower(kind, (llava_tower)i)) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used == 0 ? "" : ", ",
                                     names[i]);
        }
    }
    if (llava_tap_of_tower(kind, LLAVA_TOWER_PIXTRAL)) {
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 " (all its pictures are one sequence: N is 1)");
    }
    field("towers", text, used);
}

/* name: as it was asked for, so that step.1.position_ids shows what acts in steps alone. */
static void explain_tap(const llava_tap_kind *kind, const char *name)
{
    char shape[LIST];
    shape_words(kind, shape, sizeof shape);
    printf("%s%s\n", strncmp(name, "step.", 5) == 0 ? "step.{g}." : "", kind->name);
    field("shape", shape, strlen(shape));
    field("formula", kind->formula, strlen(kind->formula));
    print_towers(kind);
    field("source", kind->source, strlen(kind->source));
    print_decisions_at(name);
    print_ports_at(name);
}

/* Is `name` a tap of this kind? Decoding steps have the language model's alone. */
static bool is_kind(const llava_tap_kind *kind, const char *name)
{
    bool in_step = strcmp(kind->name, "position_ids") == 0 ||
                   (kind->at >= LLAVA_AT_EMBED && kind->at <= LLAVA_AT_LOGITS);
    return llava_tap_matches(kind->name, name) && (in_step || strncmp(name, "step.", 5) != 0);
}

/* ---- the list -----------------------------------------------------------------------------------
 */

static void list_decisions(const char *first)
{
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = decision(i);
        if (strcmp(d->acts[0], first) != 0) {
            continue;
        }
        char values[LIST];
        join(values, sizeof values, d->values, false);
        printf("    %-26s ", d->name);
        wrap(31, 31, values, strlen(values));
        printf("\n%*s", 31, "");
        wrap(31, 31, d->source, strlen(d->source));
        putchar('\n');
    }
}

static void list_all(void)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    puts("Taps in the order of the flow and, below each, the decisions that are first seen there:\n"
         "their values, the default first, and where the right one stands.\n");
    for (size_t k = 0; k < count; k++) {
        printf("%-32s [%s]\n", kinds[k].name, kinds[k].shape);
        list_decisions(kinds[k].name);
        if (strcmp(kinds[k].name, "logits") == 0) {
            printf("%-32s [B,1]; step.{g}.NAME: text taps and logits of decoding step g\n",
                   "step.{g}.position_ids");
            list_decisions("step.{g}.position_ids");
        }
    }
}

/* ---- unknown words ------------------------------------------------------------------------------
 */

enum { NAMES = 256 };

/* All names of taps and decisions, NULL behind them. */
static void all_names(const char *names[NAMES])
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds), n = 0;
    for (size_t k = 0; k < count && n < NAMES - 1; k++) {
        names[n++] = kinds[k].name;
    }
    for (size_t i = 0; i < LLAVA_DECISION_COUNT && n < NAMES - 1; i++) {
        names[n++] = decision(i)->name;
    }
    names[n] = NULL;
}

/* The word with its step taken away and its layer's number as {i}, to be compared with names. */
static void plain_word(const char *word, char *out, size_t size)
{
    if (strncmp(word, "step.", 5) == 0) {
        const char *behind = strchr(word + 5, '.');
        word = behind == NULL ? word : behind + 1;
    }
    const char *layers = strstr(word, "layers.");
    size_t before = layers == NULL ? strlen(word) : (size_t)(layers - word) + 7;
    size_t digits = strspn(word + before, "0123456789");
    snprintf(out, size, "%.*s%s%s", (int)before, word, digits > 0 ? "{i}" : "",
             word + before + digits);
}

static int unknown(const char *word, llava_error *e)
{
    const char *names[NAMES];
    char plain[64];
    all_names(names);
    plain_word(word, plain, sizeof plain);
    const char *near = NULL;
    for (size_t i = 0; near == NULL && plain[0] != '\0' && names[i] != NULL; i++) {
        near = strstr(names[i], plain) != NULL ? names[i] : NULL; /* cls_position alone */
    }
    if (near == NULL && strlen(word) < sizeof plain) {
        near = llava_nearest_of(plain, names);
    }
    char hint[LLAVA_HINT];
    llava_did_you_mean(near, hint);
    llava_fail(e, "%s: neither a tap nor a decision%s", word,
               near != NULL ? hint : " (llava-ref explain lists them)");
    return LLAVA_CANNOT;
}

/* ---- the command --------------------------------------------------------------------------------
 */

/* vision.pre_norm is both a tap and a decision: both are explained. */
static void explain_word(const char *word)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds), found = 0;
    for (size_t k = 0; k < count; k++) {
        if (is_kind(&kinds[k], word)) {
            explain_tap(&kinds[k], word);
            found++;
        }
    }
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        if (strcmp(decision(i)->name, word) == 0) {
            printf("%s", found > 0 ? "\n" : "");
            explain_decision(decision(i));
        }
    }
}

/* Is there a tap or a decision of that name? */
static bool known(const char *word)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    bool any = false;
    for (size_t k = 0; k < count; k++) {
        any = any || is_kind(&kinds[k], word);
    }
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        any = any || strcmp(decision(i)->name, word) == 0;
    }
    return any;
}

/* ---- for machines
 * -------------------------------------------------------------------------------- */

static void put_tap(bool *lost, cJSON *list, const llava_tap_kind *kind)
{
    cJSON *o = llava_json_put(lost, list, NULL, cJSON_CreateObject());
    llava_json_text(lost, o, "name", kind->name);
    llava_json_text(lost, o, "shape", kind->shape);
    llava_json_text(lost, o, "from", kind->from);
    llava_json_text(lost, o, "formula", kind->formula);
    llava_json_text(lost, o, "source", kind->source);
}

static void put_decision(bool *lost, cJSON *list, const llava_decision *d)
{
    cJSON *o = llava_json_put(lost, list, NULL, cJSON_CreateObject());
    llava_json_text(lost, o, "name", d->name);
    llava_json_words(lost, o, "values", d->values);
    llava_json_words(lost, o, "acts", d->acts);
    llava_json_text(lost, o, "what", d->what);
    llava_json_text(lost, o, "source", d->source);
    llava_json_text(lost, o, "ports", d->ports);
}

/* Everything, or what is called `word`. */
static bool explain_json(const char *word, const char *path, llava_error *e)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    cJSON *root = cJSON_CreateObject();
    bool lost = root == NULL;
    llava_json_text(&lost, root, "schema", "llava-ref.explain/1");
    cJSON *taps = llava_json_put(&lost, root, "taps", cJSON_CreateArray());
    cJSON *decisions = llava_json_put(&lost, root, "decisions", cJSON_CreateArray());
    for (size_t k = 0; k < count; k++) {
        if (word == NULL || is_kind(&kinds[k], word)) {
            put_tap(&lost, taps, &kinds[k]);
        }
    }
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        if (word == NULL || strcmp(decision(i)->name, word) == 0) {
            put_decision(&lost, decisions, decision(i));
        }
    }
    bool ok = llava_json_write(lost ? NULL : root, path, e);
    cJSON_Delete(root);
    return ok;
}

static size_t list_options(void *self, llava_option *options)
{
    options[0] = llava_option_json(self, "the same for programs (llava-ref.explain/1), instead; - "
                                         "is standard output, and may be left out");
    options[0].alone = "-";
    return 1;
}

static int explain(int argc, char **argv, llava_error *e)
{
    const char *word = NULL, *json = NULL;
    llava_option options[LLAVA_OPTIONS_MOST];
    llava_operands operands = {.words = &word, .most = 1};
    size_t count = list_options(&json, options);
    if (!llava_options_read(argc, argv, options, count, &operands, e)) {
        return LLAVA_CANNOT;
    }
    if (word != NULL && !known(word)) {
        return unknown(word, e);
    }
    if (json != NULL) {
        return explain_json(word, json, e) ? LLAVA_DONE : LLAVA_CANNOT;
    }
    if (word == NULL) {
        list_all();
    } else {
        explain_word(word);
    }
    return LLAVA_DONE;
}

static const char *const synopsis[] = {"[TAP|DECISION] [--json FILE]", NULL};

static const llava_operand operands_of_explain[] = {
    {"TAP, DECISION", "a name; without one: the list, in the order of the flow", LLAVA_WORD_TOPIC},
    {NULL, NULL, LLAVA_WORD_ANY},
};

static const llava_example examples[] = {
    {"llava-ref explain vision.cls_position", LLAVA_DONE},
    {"llava-ref explain text.layers.3.attn.q_rope", LLAVA_DONE},
    {"llava-ref explain step.1.logits", LLAVA_DONE},
    {NULL, 0},
};

const llava_command llava_command_explain = {
    .name = "explain",
    .run = explain,
    .about = "the formula, shape, source and known port bugs of a tap or a decision",
    .synopsis = synopsis,
    .operands = operands_of_explain,
    .room = sizeof(const char *),
    .options = list_options,
    .examples = examples,
};
