/* llava-ref explain: what a tap or a decision is. */
#include "tools/command.h"

#include "ref/decisions.h"
#include "ref/taps.h"
#include "tools/options.h"

#include <stdio.h>
#include <string.h>

static void print_values(const llava_decision *d)
{
    for (size_t v = 0; d->values[v] != NULL; v++) {
        printf("%s%s", v == 0 ? "" : ", ", d->values[v]);
    }
}

static int list_all(void)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    puts("taps, in the order of the flow:");
    for (size_t k = 0; k < count; k++) {
        printf("  %-32s [%s]\n", kinds[k].name, kinds[k].shape);
    }
    puts("\ndecisions, the right value first:");
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)i);
        printf("  %-24s ", d->name);
        print_values(d);
        putchar('\n');
    }
    return LLAVA_DONE;
}

/* Is `word` this kind's name, with a number or {i} for the layer, perhaps behind "step.G."? */
static bool is_kind(const llava_tap_kind *kind, const char *word)
{
    if (strncmp(word, "step.", 5) == 0) {
        word += 5;
        word += strspn(word, "0123456789g");
        word += *word == '.';
    }
    const char *name = kind->name;
    const char *layer = strstr(name, "{i}");
    size_t before = layer == NULL ? strlen(name) : (size_t)(layer - name);
    if (layer == NULL) {
        return strcmp(word, name) == 0;
    }
    if (strncmp(word, name, before) != 0) {
        return false;
    }
    size_t digits = strspn(word + before, "0123456789");
    size_t skip = strncmp(word + before, "{i}", 3) == 0 ? 3 : word[before] == 'i' ? 1 : digits;
    return skip > 0 && strcmp(word + before + skip, layer + 3) == 0;
}

static int explain(int argc, char **argv, llava_error *e)
{
    const char *word = NULL;
    llava_operands operands = {.words = &word, .most = 1};
    if (!llava_options_read(argc, argv, NULL, 0, &operands, e)) {
        return LLAVA_CANNOT;
    }
    if (word == NULL) {
        return list_all();
    }
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    for (size_t k = 0; k < count; k++) {
        if (is_kind(&kinds[k], word)) {
            printf("%s  [%s]\n  %s\n  source: %s\n", kinds[k].name, kinds[k].shape,
                   kinds[k].formula, kinds[k].source);
            return LLAVA_DONE;
        }
    }
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)i);
        if (strcmp(d->name, word) == 0) {
            printf("%s: ", d->name);
            print_values(d);
            printf("\n  %s\n  source: %s\n  ports: %s\n", d->what, d->source, d->ports);
            return LLAVA_DONE;
        }
    }
    llava_fail(e, "%s: neither a tap nor a decision (llava-ref explain lists them)", word);
    return LLAVA_CANNOT;
}

const llava_command llava_command_explain = {
    "explain", explain, "[TAP|DECISION]",
    "the formula, shape, source and known port bugs of a tap or a decision",
    "\nWithout an argument: the list.\n\nexample:\n  llava-ref explain vision.cls_position\n"};
