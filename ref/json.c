/* Strict JSON over cJSON, in three passes: our own scan decides what is JSON (RFC 8259, and the
 * limits of json.h), cJSON builds the tree, and a walk over the tree refuses duplicate keys and
 * numbers that are not finite.
 *
 * cJSON converts numbers with strtod and puts the locale's decimal point in first, so the values
 * are right under any LC_ALL; the program never calls setlocale anyway. */
#include "json.h"

#include "file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A value takes cJSON 64 bytes and more: a small hostile file must not fill the memory. The largest
 * tokenizers in use hold 2.5 million values. */
#define MAX_VALUES 8000000u
/* cJSON 1.7 cuts a number after 63 characters. */
#define MAX_NUMBER 63u
#define EXACT      9007199254740992.0 /* 2^53: below it every whole double is one integer */

/* ---- The scan ---- */

typedef struct {
    const char *name;
    const uint8_t *bytes;
    size_t n, at;
    size_t values;
    llava_error *e;
} scanner;

static bool scan_value(scanner *s, int depth);

static bool scan_fail(const scanner *s, const char *what)
{
    return llava_fail(s->e, "%s: %s (byte %zu)", s->name, what, s->at);
}

/* The next byte, or -1 at the end. */
static int peek(const scanner *s)
{
    return s->at < s->n ? s->bytes[s->at] : -1;
}

static bool accept(scanner *s, int byte)
{
    if (peek(s) != byte) {
        return false;
    }
    s->at++;
    return true;
}

static void skip_space(scanner *s)
{
    while (accept(s, ' ') || accept(s, '\n') || accept(s, '\r') || accept(s, '\t')) {
    }
}

static bool is_digit(int byte)
{
    return byte >= '0' && byte <= '9';
}

static bool scan_digits(scanner *s)
{
    if (!is_digit(peek(s))) {
        return scan_fail(s, "a digit is missing");
    }
    while (is_digit(peek(s))) {
        s->at++;
    }
    return true;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static bool scan_number(scanner *s)
{
    size_t start = s->at;
    accept(s, '-');
    if (accept(s, '0')) {
        if (is_digit(peek(s))) {
            return scan_fail(s, "a number begins with 0");
        }
    } else if (!scan_digits(s)) {
        return false;
    }
    if (accept(s, '.') && !scan_digits(s)) {
        return false;
    }
    if (accept(s, 'e') || accept(s, 'E')) {
        if (!accept(s, '+')) {
            accept(s, '-');
        }
        if (!scan_digits(s)) {
            return false;
        }
    }
    if (s->at - start > MAX_NUMBER) {
        s->at = start;
        return scan_fail(s, "a number has more than 63 characters");
    }
    return true;
}

/* Four hexadecimal digits; -1 with a message where they are not there. */
static int scan_hex4(scanner *s)
{
    int code = 0;
    for (int i = 0; i < 4; i++) {
        int byte = peek(s);
        int digit = is_digit(byte)               ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                    : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                 : -1;
        if (digit < 0) {
            scan_fail(s, "\\u needs four hexadecimal digits");
            return -1;
        }
        code = code * 16 + digit;
        s->at++;
    }
    return code;
}

/* The part of \uXXXX behind the u, and the second half of a surrogate pair. */
static bool scan_unicode_escape(scanner *s)
{
    int code = scan_hex4(s);
    if (code < 0) {
        return false;
    }
    if (code == 0) {
        return scan_fail(s, "\\u0000 in a string");
    }
    if (code < 0xD800 || code > 0xDFFF) {
        return true;
    }
    if (code >= 0xDC00 || !accept(s, '\\') || !accept(s, 'u')) {
        return scan_fail(s, "half a surrogate pair in a string");
    }
    int low = scan_hex4(s);
    if (low < 0) {
        return false;
    }
    return (low >= 0xDC00 && low <= 0xDFFF) || scan_fail(s, "half a surrogate pair in a string");
}

static bool scan_escape(scanner *s)
{
    if (accept(s, 'u')) {
        return scan_unicode_escape(s);
    }
    int byte = peek(s);
    if (byte <= 0 || strchr("\"\\/bfnrt", byte) == NULL) {
        return scan_fail(s, "an unknown escape in a string");
    }
    s->at++;
    return true;
}

/* One character of two to four bytes. Overlong forms, surrogates and codes beyond U+10FFFF are
 * refused by the range of the second byte (Unicode standard, table 3-7). */
static bool scan_utf8(scanner *s)
{
    int first = peek(s);
    int low = 0x80, high = 0xBF, more;
    if (first >= 0xC2 && first <= 0xDF) {
        more = 1;
    } else if (first >= 0xE0 && first <= 0xEF) {
        more = 2;
        low = first == 0xE0 ? 0xA0 : low;
        high = first == 0xED ? 0x9F : high;
    } else if (first >= 0xF0 && first <= 0xF4) {
        more = 3;
        low = first == 0xF0 ? 0x90 : low;
        high = first == 0xF4 ? 0x8F : high;
    } else {
        return scan_fail(s, "the text is not UTF-8");
    }
    s->at++;
    for (int i = 0; i < more; i++) {
        if (peek(s) < low || peek(s) > high) {
            return scan_fail(s, "the text is not UTF-8");
        }
        s->at++;
        low = 0x80;
        high = 0xBF;
    }
    return true;
}

/* A string, its opening quotation mark included. */
static bool scan_string(scanner *s)
{
    if (!accept(s, '"')) {
        return scan_fail(s, "a string is missing");
    }
    for (;;) {
        int byte = peek(s);
        if (byte < 0) {
            return scan_fail(s, "the text ends within a string");
        }
        if (byte < 0x20) {
            return scan_fail(s, "a control character in a string");
        }
        if (byte >= 0x80) {
            if (!scan_utf8(s)) {
                return false;
            }
            continue;
        }
        s->at++;
        if (byte == '"') {
            return true;
        }
        if (byte == '\\' && !scan_escape(s)) {
            return false;
        }
    }
}

static bool scan_word(scanner *s, const char *word)
{
    size_t length = strlen(word);
    if (s->n - s->at < length || memcmp(s->bytes + s->at, word, length) != 0) {
        return scan_fail(s, "not a JSON value");
    }
    s->at += length;
    return true;
}

/* What stands between the brackets of an array or an object, and the closing bracket. */
static bool scan_members(scanner *s, int close, int depth)
{
    if (depth > LLAVA_JSON_DEPTH) {
        return scan_fail(s, "the nesting is too deep");
    }
    skip_space(s);
    if (accept(s, close)) {
        return true;
    }
    do {
        skip_space(s);
        if (close == '}') {
            if (!scan_string(s)) {
                return false;
            }
            skip_space(s);
            if (!accept(s, ':')) {
                return scan_fail(s, "a colon is missing");
            }
        }
        if (!scan_value(s, depth)) {
            return false;
        }
    } while (accept(s, ','));
    return accept(s, close) || scan_fail(s, "a comma or a closing bracket is missing");
}

/* A value with the white space around it. Recursion ends at LLAVA_JSON_DEPTH. */
static bool scan_value(scanner *s, int depth)
{
    if (++s->values > MAX_VALUES) {
        return scan_fail(s, "more than 8 million values");
    }
    skip_space(s);
    bool ok;
    switch (peek(s)) {
    case '{':
    case '[':
        ok = scan_members(s, s->bytes[s->at++] == '{' ? '}' : ']', depth + 1);
        break;
    case '"':
        ok = scan_string(s);
        break;
    case 't':
        ok = scan_word(s, "true");
        break;
    case 'f':
        ok = scan_word(s, "false");
        break;
    case 'n':
        ok = scan_word(s, "null");
        break;
    case -1:
        return scan_fail(s, "the text ends where a value is meant");
    default:
        if (peek(s) != '-' && !is_digit(peek(s))) {
            return scan_fail(s, "not a JSON value");
        }
        ok = scan_number(s);
    }
    skip_space(s);
    return ok;
}

/* ---- The walk over the tree ---- */

typedef struct {
    const char *name;
    const char **keys; /* room for the keys of one object */
    size_t room;
    llava_error *e;
} walker;

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No two keys alike. Sorted, because a vocabulary has 150,000 keys. */
static bool walk_keys(walker *w, const cJSON *object)
{
    size_t count = 0;
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        if (count == w->room) {
            size_t room = w->room * 2 + 16;
            void *grown = llava_realloc(w->e, w->keys, room, sizeof *w->keys);
            if (grown == NULL) {
                return llava_fail_in(w->e, w->name);
            }
            w->keys = grown;
            w->room = room;
        }
        w->keys[count++] = member->string;
    }
    if (count < 2) {
        return true;
    }
    qsort(w->keys, count, sizeof *w->keys, compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(w->keys[i - 1], w->keys[i]) == 0) {
            return llava_fail(w->e, "%s: duplicate key '%.200s'", w->name, w->keys[i]);
        }
    }
    return true;
}

static bool walk(walker *w, const cJSON *value)
{
    if (cJSON_IsNumber(value) && !isfinite(value->valuedouble)) {
        return llava_fail(w->e, "%s: a number is out of range (key '%.200s')", w->name,
                          value->string == NULL ? "" : value->string);
    }
    if (cJSON_IsObject(value) && !walk_keys(w, value)) {
        return false;
    }
    for (const cJSON *member = value->child; member != NULL; member = member->next) {
        if (!walk(w, member)) {
            return false;
        }
    }
    return true;
}

/* ---- Parsing ---- */

cJSON *llava_json_parse(const char *name, const void *bytes, size_t n, llava_error *e)
{
    scanner s = {.name = name, .bytes = bytes, .n = n, .e = e};
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
        s.at = 3; /* a byte-order mark, tolerated */
    }
    size_t start = s.at;
    if (!scan_value(&s, 0)) {
        return NULL;
    }
    if (s.at != n) {
        scan_fail(&s, "bytes behind the end of the JSON value");
        return NULL;
    }
    /* The text is right, so the only thing that can still go wrong is the memory. */
    cJSON *tree = cJSON_ParseWithLength((const char *)bytes + start, n - start);
    if (tree == NULL) {
        llava_fail(e, "%s: out of memory (JSON of %zu bytes)", name, n);
        return NULL;
    }
    walker w = {.name = name, .e = e};
    bool ok = walk(&w, tree);
    free((void *)w.keys);
    if (!ok) {
        cJSON_Delete(tree);
        return NULL;
    }
    return tree;
}

cJSON *llava_json_read(const char *path, llava_error *e)
{
    llava_file file;
    if (!llava_file_map(&file, path, e)) {
        return NULL;
    }
    cJSON *tree = llava_json_parse(path, file.bytes, file.size, e);
    llava_file_unmap(&file);
    return tree;
}

/* ---- Typed members ---- */

static const cJSON *child(const cJSON *object, const char *key, size_t length)
{
    const cJSON *member = object->child;
    while (member != NULL &&
           (strncmp(member->string, key, length) != 0 || member->string[length] != '\0')) {
        member = member->next;
    }
    return member == NULL || cJSON_IsNull(member) ? NULL : member;
}

/* Follows the dotted path. *member NULL where it, or an object on the way, is absent or null. */
static bool find(const char *name, const cJSON *object, const char *key, const cJSON **member,
                 llava_error *e)
{
    *member = NULL;
    for (const char *at = key; object != NULL; at += strcspn(at, ".") + 1) {
        if (!cJSON_IsObject(object)) {
            size_t length = at == key ? 0 : (size_t)(at - key) - 1;
            return llava_fail(e, "%s: %.*s%smust be an object", name, (int)length, key,
                              length == 0 ? "" : ": ");
        }
        size_t length = strcspn(at, ".");
        object = child(object, at, length);
        if (at[length] == '\0') {
            *member = object;
            return true;
        }
    }
    return true;
}

static bool wrong_kind(const char *name, const char *key, const char *meant, llava_error *e)
{
    return llava_fail(e, "%s: %s: must be %s", name, key, meant);
}

bool llava_json_item_int(const char *name, const cJSON *item, const char *what, int64_t *value,
                         llava_error *e)
{
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) ||
        fabs(item->valuedouble) >= EXACT) {
        return wrong_kind(name, what, "a whole number", e);
    }
    *value = (int64_t)item->valuedouble;
    return true;
}

bool llava_json_int(const char *name, const cJSON *object, const char *key, int64_t *value,
                    llava_error *e)
{
    const cJSON *item;
    if (!find(name, object, key, &item, e)) {
        return false;
    }
    return item == NULL || llava_json_item_int(name, item, key, value, e);
}

bool llava_json_size(const char *name, const cJSON *object, const char *key, size_t *value,
                     llava_error *e)
{
    const cJSON *item;
    if (!find(name, object, key, &item, e)) {
        return false;
    }
    if (item == NULL) {
        return true;
    }
    int64_t number = 0; /* gcc -O3 does not see that the next call sets it */
    if (!llava_json_item_int(name, item, key, &number, e)) {
        return false;
    }
    if (number < 0 || (uint64_t)number > SIZE_MAX) {
        return wrong_kind(name, key, "a whole number, not negative", e);
    }
    *value = (size_t)number;
    return true;
}

bool llava_json_double(const char *name, const cJSON *object, const char *key, double *value,
                       llava_error *e)
{
    const cJSON *item;
    if (!find(name, object, key, &item, e)) {
        return false;
    }
    if (item != NULL) {
        if (!cJSON_IsNumber(item)) {
            return wrong_kind(name, key, "a number", e);
        }
        *value = item->valuedouble;
    }
    return true;
}

bool llava_json_bool(const char *name, const cJSON *object, const char *key, bool *value,
                     llava_error *e)
{
    const cJSON *item;
    if (!find(name, object, key, &item, e)) {
        return false;
    }
    if (item != NULL) {
        if (!cJSON_IsBool(item)) {
            return wrong_kind(name, key, "true or false", e);
        }
        *value = cJSON_IsTrue(item);
    }
    return true;
}

bool llava_json_string(const char *name, const cJSON *object, const char *key, const char **value,
                       llava_error *e)
{
    const cJSON *item;
    if (!find(name, object, key, &item, e)) {
        return false;
    }
    if (item != NULL) {
        if (!cJSON_IsString(item)) {
            return wrong_kind(name, key, "a string", e);
        }
        *value = item->valuestring;
    }
    return true;
}

bool llava_json_object(const char *name, const cJSON *object, const char *key, const cJSON **value,
                       llava_error *e)
{
    if (!find(name, object, key, value, e)) {
        return false;
    }
    return *value == NULL || cJSON_IsObject(*value) || wrong_kind(name, key, "an object", e);
}

bool llava_json_array(const char *name, const cJSON *object, const char *key, const cJSON **value,
                      llava_error *e)
{
    if (!find(name, object, key, value, e)) {
        return false;
    }
    return *value == NULL || cJSON_IsArray(*value) || wrong_kind(name, key, "an array", e);
}

bool llava_json_has(const cJSON *object, const char *key)
{
    const cJSON *member;
    return find("", object, key, &member, NULL) && member != NULL;
}
