#include "tools/map.h"

#include "ref/file.h"
#include "tools/names.h"
#include "tools/nearest.h"
#include "tools/sizes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONAL "_optional"

bool llava_map_fail(const llava_map *map, const llava_map_rule *rule, const char *what,
                    llava_error *e)
{
    char shown[LLAVA_SHOWN];
    return llava_fail(e, "%s: \"%s\": %s", map->name,
                      llava_shown(shown, rule->pattern, strlen(rule->pattern)), what);
}

/* Puts "MAP: PATTERN: KEY: " in front of the message. */
static bool fail_in(const llava_map *map, const llava_map_rule *rule, const char *key,
                    llava_error *e)
{
    if (key != NULL) {
        llava_fail_in(e, key);
    }
    const llava_error inner = *e;
    return llava_map_fail(map, rule, inner.text, e);
}

/* ---- values ---- */

static bool whole_number(const cJSON *item, int64_t least, int64_t most, int64_t *value,
                         llava_error *e)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= (double)least) ||
        !(item->valuedouble <= (double)most) ||
        item->valuedouble != (double)(int64_t)item->valuedouble) {
        return llava_fail(e, "must be a whole number from %lld to %lld", (long long)least,
                          (long long)most);
    }
    *value = (int64_t)item->valuedouble;
    return true;
}

static bool read_axis(const cJSON *item, int *axis, llava_error *e)
{
    int64_t value = 0;
    if (!whole_number(item, 0, LLAVA_ARRAY_RANK - 1, &value, e)) {
        return llava_fail_in(e, "an axis");
    }
    *axis = (int)value;
    return true;
}

static bool read_size(const cJSON *item, llava_map_size *size, llava_error *e)
{
    int64_t number = 0;
    size->text = cJSON_IsString(item) ? item->valuestring : NULL;
    if (size->text != NULL) {
        return llava_size_check(size->text, e);
    }
    if (!whole_number(item, 0, (int64_t)1 << 53, &number, e)) {
        return llava_fail_in(e, "a size is an expression like \"h*d\", or");
    }
    size->number = (size_t)number;
    return true;
}

/* Checks that it is an array of at most `most` items. */
static bool is_list(const cJSON *item, int most, llava_error *e)
{
    return (cJSON_IsArray(item) && cJSON_GetArraySize(item) <= most) ||
           llava_fail(e, "must be an array of at most %d items", most);
}

/* ---- the keys of a rule: each reads its own value ---- */

typedef bool key_reader(llava_map_rule *rule, const cJSON *item, llava_error *e);

static bool read_tap(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    rule->tap = cJSON_IsString(item) ? item->valuestring : NULL;
    return rule->tap != NULL || llava_fail(e, "must be a string");
}

static bool read_use(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    rule->has_use = true;
    return whole_number(item, -1000000, 1000000, &rule->use, e);
}

static bool read_optional(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    rule->optional = cJSON_IsTrue(item);
    return cJSON_IsBool(item) || llava_fail(e, "must be true or false");
}

static bool read_reshape(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    if (!is_list(item, LLAVA_ARRAY_RANK, e)) {
        return false;
    }
    rule->has_reshape = true;
    for (const cJSON *it = item->child; it != NULL; it = it->next) {
        if (!read_size(it, &rule->reshape[rule->reshaped++], e)) {
            return false;
        }
    }
    return true;
}

static bool read_transpose(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    bool seen[LLAVA_ARRAY_RANK] = {false};
    if (!is_list(item, LLAVA_ARRAY_RANK, e)) {
        return false;
    }
    const int n = cJSON_GetArraySize(item);
    rule->has_transpose = true;
    for (const cJSON *it = item->child; it != NULL; it = it->next) {
        int axis = 0;
        if (!read_axis(it, &axis, e)) {
            return false;
        }
        if (axis >= n || seen[axis]) {
            return llava_fail(e, "must name each axis from 0 to %d once", n - 1);
        }
        seen[axis] = true;
        rule->transpose[rule->transposed++] = axis;
    }
    return true;
}

/* {"axis": A, "from": F, "to": T}; from is 0 where it is absent. */
static bool read_window(llava_map_window *window, const cJSON *item, llava_error *e)
{
    bool axis = false, to = false;
    *window = (llava_map_window){0};
    if (!cJSON_IsObject(item)) {
        return llava_fail(e, "must be an object with axis, from and to");
    }
    for (const cJSON *it = item->child; it != NULL; it = it->next) {
        const bool is_axis = strcmp(it->string, "axis") == 0, is_to = strcmp(it->string, "to") == 0;
        if (!is_axis && !is_to && strcmp(it->string, "from") != 0) {
            return llava_fail(e, "has only the keys axis, from and to");
        }
        if (is_axis ? !read_axis(it, &window->axis, e)
                    : !read_size(it, is_to ? &window->to : &window->from, e)) {
            return false;
        }
        axis = axis || is_axis;
        to = to || is_to;
    }
    return (axis && to) || llava_fail(e, "needs axis and to");
}

static bool read_slice(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    if (cJSON_IsObject(item)) {
        return read_window(&rule->slice[rule->slices++], item, e);
    }
    if (!is_list(item, LLAVA_MAP_SLICES, e)) {
        return false;
    }
    for (const cJSON *it = item->child; it != NULL; it = it->next) {
        if (!read_window(&rule->slice[rule->slices++], it, e)) {
            return false;
        }
    }
    return true;
}

static bool read_crop(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    rule->has_crop = true;
    return read_window(&rule->crop, item, e);
}

static bool read_permute(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    rule->interleaved = cJSON_IsString(item) && strcmp(item->valuestring, "rope-interleaved") == 0;
    return rule->interleaved || llava_fail(e, "must be \"rope-interleaved\"");
}

/* A number, or "SIZE^POWER". */
static bool read_scale(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    static const struct {
        const char *text;
        double value;
    } powers[] = {{"^-1", -1}, {"^-0.5", -0.5}, {"^0.5", 0.5}, {"^1", 1}};
    rule->has_scale = true;
    rule->scale = 1;
    if (cJSON_IsNumber(item)) {
        rule->scale = item->valuedouble;
        return rule->scale != 0 || llava_fail(e, "must not be 0");
    }
    char *power = cJSON_IsString(item) ? strchr(item->valuestring, '^') : NULL;
    for (size_t i = 0; power != NULL && i < sizeof powers / sizeof powers[0]; i++) {
        if (strcmp(power, powers[i].text) == 0) {
            *power = '\0'; /* the tree is the map's own */
            rule->scale_base = item->valuestring;
            rule->scale_power = powers[i].value;
            return llava_size_check(rule->scale_base, e);
        }
    }
    return llava_fail(e, "must be a number, or a size with one of the powers -1, -0.5, 0.5 and 1 "
                         "(\"head_dim^-0.5\")");
}

/* {"over": CAPTURE, "axis": A} */
static bool read_join(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    const cJSON *over = cJSON_GetObjectItemCaseSensitive(item, "over");
    const cJSON *axis = cJSON_GetObjectItemCaseSensitive(item, "axis");
    if (!cJSON_IsObject(item) || !cJSON_IsString(over) || axis == NULL ||
        cJSON_GetArraySize(item) != 2) {
        return llava_fail(e, "must be {\"over\": a capture's name, \"axis\": a number}");
    }
    rule->join = over->valuestring;
    return read_axis(axis, &rule->join_axis, e);
}

/* Takes a number of at most nine digits off the text; false where there is none. */
static bool take_number(const char **text, size_t *value)
{
    const char *const start = *text;
    for (*value = 0; **text >= '0' && **text <= '9' && *text - start < 9; (*text)++) {
        *value = *value * 10 + (size_t)(**text - '0');
    }
    return *text > start;
}

/* Is it all of "BEFORE number"? */
static bool is_phrase(const char *text, const char *before, size_t *value)
{
    const size_t n = strlen(before);
    return strncmp(text, before, n) == 0 && (text += n, take_number(&text, value)) && *text == '\0';
}

/* One item of a list of rows: 3, or "3..7", both included. */
static bool read_listed_rows(llava_map_rows *rows, const cJSON *item, llava_error *e)
{
    const size_t i = rows->count;
    int64_t row = 0;
    if (cJSON_IsString(item)) {
        const char *text = item->valuestring;
        if (!take_number(&text, &rows->first[i]) || !is_phrase(text, "..", &rows->last[i])) {
            return llava_fail(e, "a range of rows is written \"3..7\"");
        }
    } else if (whole_number(item, 0, 999999999, &row, e)) {
        rows->first[i] = rows->last[i] = (size_t)row;
    } else {
        return llava_fail_in(e, "a row");
    }
    rows->count++;
    return (rows->first[i] <= rows->last[i] && (i == 0 || rows->last[i - 1] < rows->first[i])) ||
           llava_fail(e, "the rows must rise");
}

static bool read_row_list(llava_map_rows *rows, const cJSON *list, llava_error *e)
{
    rows->kind = LLAVA_ROWS_LISTED;
    if (!is_list(list, LLAVA_MAP_ROWS, e)) {
        return false;
    }
    for (const cJSON *it = list->child; it != NULL; it = it->next) {
        if (!read_listed_rows(rows, it, e)) {
            return false;
        }
    }
    return rows->count > 0 || llava_fail(e, "the list is empty");
}

static bool read_rows(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    llava_map_rows *rows = &rule->rows;
    if (cJSON_IsArray(item)) {
        return read_row_list(rows, item, e);
    }
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    rows->count = 1;
    if (strcmp(text, "last or all") == 0) {
        rows->kind = LLAVA_ROWS_LAST_OR_ALL;
    } else if (strcmp(text, "last") == 0 || is_phrase(text, "last ", &rows->count)) {
        rows->kind = LLAVA_ROWS_LAST_OF;
    } else if (is_phrase(text, "from ", &rows->count)) {
        rows->kind = LLAVA_ROWS_FROM;
    } else {
        return llava_fail(e,
                          "must be \"last\", \"last or all\", \"last N\", \"from N\", or a list of "
                          "numbers and ranges \"3..7\"");
    }
    return true;
}

static bool read_repeat(llava_map_rule *rule, const cJSON *item, llava_error *e)
{
    rule->has_repeat = true;
    return read_size(item, &rule->repeat, e);
}

static const struct {
    const char *key;
    key_reader *read;
} keys[] = {
    {"tap", read_tap},
    {"use", read_use},
    {"optional", read_optional},
    {"reshape", read_reshape},
    {"transpose", read_transpose},
    {"slice", read_slice},
    {"crop", read_crop},
    {"permute", read_permute},
    {"scale", read_scale},
    {"join", read_join},
    {"rows", read_rows},
    {"repeat", read_repeat},
};

/* ---- one rule ---- */

static const char how_written[] = "a number in a name is written {i}, with small letters";

/* Length of "{name}" at this brace; 0 where it is none: braces stand for nothing else. */
static size_t capture_at(const char *brace)
{
    const size_t n = *brace == '{' ? strspn(brace + 1, "abcdefghijklmnopqrstuvwxyz") : 0;
    return n > 0 && brace[1 + n] == '}' ? n + 2 : 0;
}

/* "{x}" only, each name once, few enough, nothing else in braces. */
static bool check_pattern(const llava_map_rule *rule, llava_error *e)
{
    llava_map_captures found = {0};
    size_t value;
    const char *at = rule->pattern;
    if (strlen(at) > LLAVA_MAP_NAME || *at == '\0') {
        return llava_fail(e, "a pattern has 1 to %d characters", LLAVA_MAP_NAME);
    }
    while ((at = strpbrk(at, "{}")) != NULL) {
        const size_t n = capture_at(at);
        if (n == 0) {
            return llava_fail(e, "%s", how_written);
        }
        if (llava_map_captured(&found, at + 1, n - 2, &value)) {
            return llava_fail(e, "%.*s stands twice", (int)n, at);
        }
        if (found.count == LLAVA_MAP_CAPTURES) {
            return llava_fail(e, "more than %d numbers", LLAVA_MAP_CAPTURES);
        }
        found.name[found.count] = at + 1;
        found.value[found.count++] = 1;
        at += n;
    }
    return true;
}

/* The pattern's captures, each standing for 1. */
static llava_map_captures sample(const llava_map_rule *rule)
{
    llava_map_captures found = {0};
    for (const char *at = rule->pattern; (at = strchr(at, '{')) != NULL; at++) {
        found.name[found.count] = at + 1;
        found.value[found.count++] = 1;
    }
    return found;
}

/* shown: the tap's name, fit for a message. */
static bool fail_no_tap(const char *shown, llava_error *e)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    char hint[LLAVA_HINT];
    llava_nearest near = {.word = shown};
    for (size_t i = 0; i < count; i++) {
        llava_nearest_offer(&near, kinds[i].name);
    }
    llava_did_you_mean(near.best, hint);
    return llava_fail(e, "there is no tap \"%s\"%s", shown,
                      hint[0] != '\0' ? hint : " (llava-ref explain lists them)");
}

/* Is there such a tap, and are its captures, and join's, in the pattern? */
static bool check_tap(llava_map_rule *rule, llava_error *e)
{
    const llava_tap_kind *kinds;
    const llava_map_captures found = sample(rule);
    char name[LLAVA_TAP_NAME], shown[LLAVA_SHOWN];
    llava_tap_place place;
    size_t value;
    if (rule->tap == NULL) {
        return llava_fail(e, "has no \"tap\"");
    }
    llava_shown(shown, rule->tap, strlen(rule->tap));
    for (const char *at = rule->tap; (at = strpbrk(at, "{}")) != NULL; at += capture_at(at)) {
        if (capture_at(at) == 0) {
            return llava_fail(e, "tap \"%s\": %s", shown, how_written);
        }
    }
    if (strlen(rule->tap) >= LLAVA_TAP_NAME) {
        return fail_no_tap(shown, e);
    }
    if (!llava_map_tap(rule->tap, &found, name)) {
        return llava_fail(e, "tap \"%s\": its {...} must stand in the pattern, too", shown);
    }
    if (!llava_tap_find(name, &place)) {
        return fail_no_tap(shown, e);
    }
    llava_tap_kinds(&kinds);
    rule->kind = &kinds[place.kind];
    if (rule->join == NULL) {
        return true;
    }
    const size_t n = strlen(rule->join);
    const char *in_tap = strchr(rule->tap, '{');
    for (; in_tap != NULL; in_tap = strchr(in_tap + 1, '{')) {
        if (strncmp(in_tap + 1, rule->join, n) == 0 && in_tap[1 + n] == '}') {
            return llava_fail(e, "join: the number that counts the parts can't be in the tap");
        }
    }
    return llava_map_captured(&found, rule->join, n, &value) ||
           llava_fail(e, "join: what it runs over must stand in the pattern as {...}");
}

static bool read_key(llava_map_rule *rule, const cJSON *item, const char **key, llava_error *e)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(item->string, keys[i].key) == 0) {
            *key = keys[i].key;
            return keys[i].read(rule, item, e);
        }
    }
    char shown[LLAVA_SHOWN];
    *key = NULL;
    return llava_fail(e, "unknown key \"%s\"",
                      llava_shown(shown, item->string, strlen(item->string)));
}

static bool read_rule(llava_map *map, const char *pattern, const cJSON *item, bool optional,
                      llava_error *e)
{
    llava_map_rule *rule = &map->rules[map->count++];
    rule->pattern = pattern;
    rule->optional = optional;
    if (!cJSON_IsObject(item)) {
        return llava_map_fail(map, rule, "must be an object, or an array of objects", e);
    }
    if (!check_pattern(rule, e)) {
        return fail_in(map, rule, NULL, e);
    }
    for (const cJSON *it = item->child; it != NULL; it = it->next) {
        const char *key;
        if (!read_key(rule, it, &key, e)) {
            return fail_in(map, rule, key, e);
        }
    }
    return check_tap(rule, e) || fail_in(map, rule, NULL, e);
}

/* ---- the map ---- */

/* Rules of all patterns: a pattern may have several. Stops counting behind the limit. */
static size_t count_rules(const cJSON *tree)
{
    size_t count = 0;
    for (const cJSON *it = tree->child; it != NULL && count <= LLAVA_MAP_RULES; it = it->next) {
        const bool comment = it->string[0] == '_';
        count += comment ? 0 : cJSON_IsArray(it) ? (size_t)cJSON_GetArraySize(it) : 1;
    }
    return count;
}

static bool read_rules(llava_map *map, llava_error *e)
{
    const cJSON *tree = map->json;
    const cJSON *optional = cJSON_GetObjectItemCaseSensitive(tree, OPTIONAL);
    if (!cJSON_IsObject(tree)) {
        return llava_fail(e, "%s: a map is a JSON object", map->name);
    }
    if (optional != NULL && !cJSON_IsBool(optional)) {
        return llava_fail(e, "%s: " OPTIONAL " must be true or false", map->name);
    }
    const size_t count = count_rules(tree);
    if (count == 0 || count > LLAVA_MAP_RULES) {
        return llava_fail(e,
                          count == 0 ? "%s: the map has no patterns" : "%s: more than %d patterns",
                          map->name, LLAVA_MAP_RULES);
    }
    map->rules = llava_alloc(e, count, sizeof *map->rules);
    if (map->rules == NULL) {
        return false;
    }
    for (const cJSON *it = tree->child; it != NULL; it = it->next) {
        if (it->string[0] == '_') {
            continue;
        }
        const bool several = cJSON_IsArray(it);
        for (const cJSON *rule = several ? it->child : it; rule != NULL;
             rule = several ? rule->next : NULL) {
            if (!read_rule(map, it->string, rule, cJSON_IsTrue(optional), e)) {
                return false;
            }
        }
    }
    return true;
}

bool llava_map_parse(llava_map *map, const char *name, const void *bytes, size_t n, llava_error *e)
{
    *map = (llava_map){.name = llava_text(e, name, strlen(name))};
    if (map->name == NULL || (map->json = llava_json_parse(name, bytes, n, e)) == NULL ||
        !read_rules(map, e)) {
        llava_map_free(map);
        return false;
    }
    return true;
}

/* "no such map": with the names that there are. */
static bool fail_unknown(const char *name, llava_error *e)
{
    char list[400] = "", hint[LLAVA_HINT];
    llava_nearest near = {.word = name};
    for (const llava_built_in_map *m = llava_built_in_maps; m->name != NULL; m++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used == 0 ? "" : ", ", m->name);
        llava_nearest_offer(&near, m->name);
    }
    return llava_fail(e, "%s: neither a file nor a map that comes with the program (%s)%s", name,
                      list, llava_did_you_mean(near.best, hint));
}

bool llava_map_read(llava_map *map, const char *name, llava_error *e)
{
    llava_file file;
    for (const llava_built_in_map *m = llava_built_in_maps; m->name != NULL; m++) {
        if (strcmp(m->name, name) == 0) {
            return llava_map_parse(map, name, m->json, m->size, e);
        }
    }
    if (!llava_file_exists(name)) {
        return fail_unknown(name, e);
    }
    if (!llava_file_map(&file, name, e)) {
        return false;
    }
    const bool read = llava_map_parse(map, name, file.bytes, file.size, e);
    llava_file_unmap(&file);
    return read;
}

void llava_map_free(llava_map *map)
{
    cJSON_Delete(map->json);
    free(map->name);
    free(map->rules);
    *map = (llava_map){0};
}
