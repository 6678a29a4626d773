#include "decisions.h"

#include <stdio.h>
#include <string.h>

/* "a, b, c" of a decision's values, for the error line. */
static void list_values(const llava_decision *d, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t v = 0; d->values[v] != NULL && used < size; v++) {
        int n = snprintf(text + used, size - used, "%s%s", v == 0 ? "" : ", ", d->values[v]);
        used += n > 0 ? (size_t)n : 0;
    }
}

bool llava_choose(llava_choices *choices, const char *setting, llava_error *e)
{
    const char *equals = strchr(setting, '=');
    if (equals == NULL) {
        return llava_fail(e, "--set %s: not of the form DECISION=VALUE", setting);
    }
    size_t length = (size_t)(equals - setting);
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = llava_decision_at((llava_decision_id)i);
        if (strlen(d->name) != length || strncmp(d->name, setting, length) != 0) {
            continue;
        }
        for (unsigned char v = 0; d->values[v] != NULL; v++) {
            if (strcmp(d->values[v], equals + 1) == 0) {
                choices->value[i] = v;
                return true;
            }
        }
        char values[256];
        list_values(d, values, sizeof values);
        return llava_fail(e, "--set %s: unknown value (one of: %s)", setting, values);
    }
    return llava_fail(e, "--set %s: unknown decision (llava-ref explain lists them)", setting);
}
