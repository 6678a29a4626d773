/* How `inspect` writes its tables and its JSON. */
#include "tools/inspect.h"

#include "tools/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table ---------------------------------------------------------------------------------
 */

size_t llava_inspect_text(FILE *to, const char *text, size_t most)
{
    size_t columns = 0;
    while (*text != '\0') {
        uint32_t code = 0;
        size_t n = llava_character(text, &code);
        bool shown = n > 0 && !llava_character_acts(code);
        size_t bytes = n == 0 ? 1 : n, wide = shown ? 1 : 4 * bytes;
        /* three columns stay free for the dots, unless this is the last character */
        if (columns + wide + (text[bytes] == '\0' ? 0 : 3) > most) {
            fputs("...", to);
            return columns + 3;
        }
        for (size_t i = 0; i < bytes; i++) {
            fprintf(to, shown ? "%c" : "\\x%02x", (unsigned char)text[i]);
        }
        columns += wide;
        text += bytes;
    }
    return columns;
}

void llava_inspect_cell(FILE *to, const char *text, size_t width)
{
    size_t columns = llava_inspect_text(to, text, LLAVA_INSPECT_COLUMNS);
    if (columns > width) {
        fputc('\n', to);
        columns = 0;
    }
    fprintf(to, "%*s", (int)(width - columns), "");
}

const char *llava_inspect_shape(char text[LLAVA_INSPECT_SHAPE], int rank, const size_t *shape)
{
    size_t at = 1;
    text[0] = '[';
    for (int i = 0; i < rank && at < LLAVA_INSPECT_SHAPE - 1; i++) {
        at += (size_t)snprintf(text + at, LLAVA_INSPECT_SHAPE - at, i == 0 ? "%zu" : ",%zu",
                               shape[i]);
    }
    snprintf(text + at, LLAVA_INSPECT_SHAPE - at, "]");
    return text;
}

void llava_inspect_statistics(FILE *to, const llava_statistics *s)
{
    fprintf(to, "  values  %zu, %zu of them NaN, %zu infinite\n", s->finite + s->nan + s->inf,
            s->nan, s->inf);
    if (s->finite > 0) {
        fprintf(to, "  min     %.17g\n  max     %.17g\n  mean    %.17g\n", s->min, s->max, s->mean);
        fprintf(to, "  std     %.17g\n  rms     %.17g\n", llava_statistics_std(s),
                llava_statistics_rms(s));
    }
}

/* ---- JSON --------------------------------------------------------------------------------------
 */

/* Notes whether an item could be made. */
static void note(llava_inspection *of, const void *made)
{
    of->out_of_memory = of->out_of_memory || made == NULL;
}

void llava_inspect_put_text(llava_inspection *of, cJSON *object, const char *key, const char *text)
{
    if (object != NULL) {
        note(of, text == NULL ? cJSON_AddNullToObject(object, key)
                              : cJSON_AddStringToObject(object, key, text));
    }
}

void llava_inspect_push(llava_inspection *of, cJSON *array, cJSON *item)
{
    if (array != NULL) {
        note(of, cJSON_AddItemToArray(array, item) ? item : NULL);
    } else {
        cJSON_Delete(item);
    }
}

void llava_inspect_put_number(llava_inspection *of, cJSON *object, const char *key, double value)
{
    if (object != NULL) {
        note(of, isfinite(value) ? cJSON_AddNumberToObject(object, key, value)
                                 : cJSON_AddNullToObject(object, key));
    }
}

void llava_inspect_put_bool(llava_inspection *of, cJSON *object, const char *key, bool value)
{
    if (object != NULL) {
        note(of, cJSON_AddBoolToObject(object, key, value));
    }
}

void llava_inspect_put_shape(llava_inspection *of, cJSON *object, int rank, const size_t *shape)
{
    cJSON *array = llava_inspect_put_array(of, object, "shape");
    for (int i = 0; array != NULL && i < rank; i++) {
        cJSON *number = cJSON_CreateNumber((double)shape[i]);
        note(of, number);
        cJSON_AddItemToArray(array, number);
    }
}

void llava_inspect_put_statistics(llava_inspection *of, cJSON *object, const llava_statistics *s)
{
    bool any = s->finite > 0;
    llava_inspect_put_number(of, object, "count", (double)(s->finite + s->nan + s->inf));
    llava_inspect_put_number(of, object, "nan", (double)s->nan);
    llava_inspect_put_number(of, object, "inf", (double)s->inf);
    llava_inspect_put_number(of, object, "min", any ? s->min : NAN);
    llava_inspect_put_number(of, object, "max", any ? s->max : NAN);
    llava_inspect_put_number(of, object, "mean", any ? s->mean : NAN);
    llava_inspect_put_number(of, object, "std", any ? llava_statistics_std(s) : NAN);
    llava_inspect_put_number(of, object, "rms", any ? llava_statistics_rms(s) : NAN);
}

cJSON *llava_inspect_put_array(llava_inspection *of, cJSON *object, const char *key)
{
    cJSON *array = object == NULL ? NULL : cJSON_AddArrayToObject(object, key);
    if (object != NULL) {
        note(of, array);
    }
    return array;
}

cJSON *llava_inspect_put_object(llava_inspection *of, cJSON *object, const char *key)
{
    cJSON *inner = object == NULL ? NULL : cJSON_AddObjectToObject(object, key);
    if (object != NULL) {
        note(of, inner);
    }
    return inner;
}

cJSON *llava_inspect_put_item(llava_inspection *of, cJSON *array)
{
    cJSON *object = array == NULL ? NULL : cJSON_CreateObject();
    if (array != NULL) {
        note(of, object);
        cJSON_AddItemToArray(array, object);
    }
    return object;
}
