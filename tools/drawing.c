/* draw: what its kinds share. */
#include "tools/draw.h"

#include "ref/elementary.h"
#include "tools/progress.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>

const llava_dump_entry *llava_drawing_entry(const llava_dump *dump, const char *name,
                                            llava_error *e)
{
    const llava_dump_entry *entry = llava_dump_find(dump, name);
    if (entry == NULL) {
        char hint[LLAVA_HINT];
        llava_nearest nearest = {.word = name};
        for (size_t i = 0; i < llava_dump_count(dump); i++) {
            llava_nearest_offer(&nearest, llava_dump_at(dump, i)->name);
        }
        llava_fail(e, "%s: there is no tensor '%.200s'%s", llava_dump_path(dump), name,
                   llava_did_you_mean(nearest.best, hint));
    }
    return entry;
}

const char *llava_drawing_letters(const char *name)
{
    const llava_tap_kind *kinds;
    llava_tap_place place;
    llava_tap_kinds(&kinds);
    return llava_tap_find(name, &place) ? kinds[place.kind].shape : "";
}

void llava_drawing_put(llava_drawing *d, cJSON *to, const char *key, double value)
{
    llava_json_put(&d->lost, to, key, cJSON_CreateNumber(value)); /* NaN is printed as null */
}

void llava_drawing_count(llava_drawing *d, cJSON *to, const char *key, size_t value)
{
    llava_drawing_put(d, to, key, (double)value);
}

void llava_drawing_grid(llava_drawing *d, cJSON *to, const char *key, const double *values,
                        size_t rows, size_t columns)
{
    cJSON *grid = llava_json_put(&d->lost, to, key, cJSON_CreateArray());
    for (size_t i = 0; i < rows && !d->lost; i++) {
        cJSON *row = llava_json_put(&d->lost, grid, NULL, cJSON_CreateArray());
        for (size_t j = 0; j < columns; j++) {
            llava_drawing_put(d, row, NULL, values[i * columns + j]);
        }
    }
}

void llava_drawing_at(llava_drawing *d, cJSON *to, size_t i, size_t columns)
{
    cJSON *at = llava_json_put(&d->lost, to, "at", cJSON_CreateArray());
    llava_drawing_count(d, at, NULL, i / columns);
    llava_drawing_count(d, at, NULL, i % columns);
}

cJSON *llava_drawing_list(llava_drawing *d, const char *key)
{
    return llava_json_put(&d->lost, d->json, key, cJSON_CreateArray());
}

cJSON *llava_drawing_item(llava_drawing *d, cJSON *list, const char *key, const char *name)
{
    cJSON *item = llava_json_put(&d->lost, list, NULL, cJSON_CreateObject());
    llava_json_put(&d->lost, item, key, cJSON_CreateString(name));
    return item;
}

void llava_drawing_show(llava_drawing *d, const char *name, double amount)
{
    llava_progress_show(d->work > 0 ? d->done / d->work : -1, NULL, name);
    d->done += amount;
}

bool llava_drawing_wants(llava_drawing *d, const char *name, const char *otherwise)
{
    if (d->nearest.word != NULL) {
        llava_nearest_offer(&d->nearest, name);
    }
    return d->taps.count > 0 ? llava_globs_match(&d->taps, name) : fnmatch(otherwise, name, 0) == 0;
}

bool llava_drawing_none(const llava_drawing *d, const char *path, const char *what, llava_error *e)
{
    char hint[LLAVA_HINT];
    return llava_fail(e, "%s: %s%s", path, what, llava_did_you_mean(d->nearest.best, hint));
}

bool llava_drawing_load(llava_drawing *d, llava_dump *expected, llava_port *actual,
                        const char *name, llava_drawing_pair *pair, llava_error *e)
{
    *pair = (llava_drawing_pair){.entry = llava_drawing_entry(expected, name, e)};
    const llava_port_tensor *tensor = llava_port_find(actual, name);
    if (pair->entry == NULL) {
        return false;
    }
    if (tensor == NULL) {
        return llava_fail(e, "%s: there is no tensor '%s'", llava_port_path(actual), name);
    }
    bool same = tensor->rank == pair->entry->array.rank;
    for (int i = 0; same && i < tensor->rank; i++) {
        same = tensor->shape[i] == pair->entry->array.shape[i];
    }
    if (!same || pair->entry->array.count == 0) {
        return llava_fail(e, "%s: %s has another shape than in %s, or no elements",
                          llava_port_path(actual), name, llava_dump_path(expected));
    }
    llava_drawing_show(d, name, (double)pair->entry->array.count);
    if (llava_dump_load(expected, pair->entry, &pair->expected, e) &&
        llava_port_load(actual, tensor, &pair->actual, e)) {
        return true;
    }
    llava_drawing_unload(pair);
    return false;
}

void llava_drawing_unload(llava_drawing_pair *pair)
{
    free(pair->expected);
    free(pair->actual);
    *pair = (llava_drawing_pair){0};
}

double llava_drawing_error(const double *expected, const double *actual, size_t n)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = actual[i] == expected[i] ? 0 : actual[i] - expected[i];
        off += d * d;
        size += expected[i] * expected[i];
    }
    return off == 0 ? 0 : sqrt(off / size);
}

bool llava_drawing_mask(llava_counting *counting, llava_dump *expected, llava_error *e)
{
    const llava_dump_entry *mask = llava_dump_find(expected, "attention_mask");
    *counting = (llava_counting){0};
    if (mask == NULL || mask->array.rank != 2) {
        return true;
    }
    counting->batch = mask->array.shape[0];
    counting->length = mask->array.shape[1];
    return llava_dump_load_integers(expected, mask, &counting->mask, e);
}

double llava_power_of_ten(double value)
{
    const double log_of_ten = 2.302585092994046;
    double power = value > 0 ? llava_log(value) / log_of_ten : LLAVA_LOWEST_POWER;
    return power < LLAVA_LOWEST_POWER ? LLAVA_LOWEST_POWER : power;
}

void llava_decade_text(char text[16], int decade)
{
    snprintf(text, 16, decade == 0 ? "1" : "1e%d", decade);
}
