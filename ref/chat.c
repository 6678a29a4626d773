/* Which conversation format a folder has. */
#include "chat.h"

#include "file.h"
#include "json.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TEMPLATE ((size_t)1 << 20)

/* ---- Normalising a template ---- */

/* The normal form is a list of marks and texts: T text, then one letter of the tag's opening brace
 * ('{' prints, '%' is a statement) with the words of the tag behind it, each of which ends in byte
 * 1. The byte cannot come from a template: control characters other than white space are refused.
 */
typedef struct {
    const char *text;
    size_t n, at;
    llava_parts out;
    llava_bytes plain; /* text since the last tag */
    bool after_block;  /* the tag before was a statement or a comment: trim_blocks */
    bool after_minus;  /* ... and it ended in "-" */
    llava_error *e;
} reader;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void emit(reader *r, const char *text, size_t n)
{
    llava_parts_put(&r->out, text, n);
}

/* The text up to the next tag, after what the tag before takes away from its beginning. */
static bool read_plain(reader *r)
{
    size_t start = r->at;
    while (r->at < r->n && !(r->text[r->at] == '{' && r->at + 1 < r->n &&
                             strchr("{%#", r->text[r->at + 1]) != NULL)) {
        r->at++;
    }
    while (r->after_minus && start < r->at && is_blank(r->text[start])) {
        start++;
    }
    if (r->after_block && !r->after_minus && start < r->at && r->text[start] == '\n') {
        start++;
    }
    return llava_bytes_put(&r->plain, r->text + start, r->at - start, MAX_TEMPLATE, r->e);
}

/* What the coming tag takes away from the end of the text before it: everything blank for "-", the
 * blanks before it in its line for a statement or comment if nothing else is there (lstrip_blocks),
 * nothing for "+". `from` is where that text begins in r->plain: what stands before a comment is
 * out of reach. */
static void trim_plain(reader *r, size_t from, bool block, char sign)
{
    size_t line = r->at;
    while (line > 0 && (r->text[line - 1] == ' ' || r->text[line - 1] == '\t')) {
        line--;
    }
    bool alone = line == 0 || r->text[line - 1] == '\n';
    size_t blanks = sign == '-' ? r->at : block && sign != '+' && alone ? r->at - line : 0;
    while (blanks > 0 && r->plain.n > from && is_blank(r->plain.at[r->plain.n - 1])) {
        r->plain.n--;
        blanks--;
    }
}

/* Writes the text gathered so far. */
static void flush_plain(reader *r)
{
    if (r->plain.n > 0) {
        emit(r, "T", 1);
        emit(r, r->plain.at, r->plain.n);
        emit(r, "\1", 1);
    }
    r->plain.n = 0;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Writes n bytes of a string; a newline as the escape that means it. */
static void emit_string(reader *r, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bool newline = text[i] == '\n';
        emit(r, newline ? "\\n" : &text[i], newline ? 2 : 1);
    }
}

/* A quoted string, in single quotes if it holds none and no backslash before a quote. It ends
 * within its tag: tag_end has jumped over it. */
static void read_string(reader *r)
{
    char quote = r->text[r->at];
    size_t start = ++r->at;
    bool plain = true;
    while (r->text[r->at] != quote) {
        if (r->text[r->at] == '\\') {
            r->at++;
            plain &= r->text[r->at] != '\'' && r->text[r->at] != '"';
        }
        plain &= r->text[r->at] != '\'';
        r->at++;
    }
    const char *mark = plain ? "'" : &r->text[r->at];
    emit(r, mark, 1);
    emit_string(r, r->text + start, r->at - start);
    emit(r, mark, 1);
    emit(r, "\1", 1);
    r->at++;
}

/* The words of a tag, white space left out: names and numbers whole, other characters one by one.
 * (Jinja's longer operators, as "!=", are never the same as their characters apart, which are an
 * error in Jinja: a template with one of these is not rendered at all. So a blank inside of an
 * operator is kept.) */
static void read_words(reader *r, size_t end)
{
    while (r->at < end) {
        size_t start = r->at;
        if (is_blank(r->text[r->at])) {
            r->at++;
            continue;
        }
        if (r->text[r->at] == '\'' || r->text[r->at] == '"') {
            read_string(r);
            continue;
        }
        bool name = is_name(r->text[r->at]);
        do {
            r->at++;
        } while (r->at < end && name && is_name(r->text[r->at]));
        bool glued = !name && r->at < end && strchr("=*/", r->text[r->at]) != NULL;
        emit(r, r->text + start, r->at - start);
        emit(r, glued ? "\2" : "\1", 1);
    }
}

/* Where the tag that begins at r->at ends: the place of its closing two characters, strings jumped
 * over; n where it is not closed. */
static size_t tag_end(const reader *r, char kind)
{
    char close = kind == '{' ? '}' : kind;
    char quote = 0;
    for (size_t i = r->at; i + 1 < r->n; i++) {
        char c = r->text[i];
        if (quote != 0) {
            i += c == '\\';
            quote = c == quote ? 0 : quote;
        } else if (kind != '#' && (c == '\'' || c == '"')) {
            quote = c;
        } else if (c == close && r->text[i + 1] == '}') {
            return i;
        }
    }
    return r->n;
}

/* One tag; `from`: where in `plain` the text right before it begins. */
static bool read_tag(reader *r, size_t from)
{
    char kind = r->text[r->at + 1];
    char sign = r->at + 2 < r->n ? r->text[r->at + 2] : 0;
    trim_plain(r, from, kind != '{', sign);
    r->at += 2;
    size_t end = tag_end(r, kind);
    if (end == r->n) {
        return false;
    }
    r->at += sign == '-' || sign == '+';
    bool minus = end > r->at && r->text[end - 1] == '-';
    bool plus = end > r->at && kind != '{' && r->text[end - 1] == '+';
    size_t inner = end - ((minus || plus) ? 1 : 0);
    if (kind != '#') {
        flush_plain(r);
        emit(r, &kind, 1);
        read_words(r, inner);
        emit(r, "\1", 1);
    }
    r->at = end + 2;
    r->after_block = kind != '{' && !plus;
    r->after_minus = minus;
    return true;
}

/* Every kind of line end becomes a newline, as Jinja has it, and one at the template's end is
 * dropped (keep_trailing_newline is off). False where there is a control character. */
static bool unify_lines(const char *text, size_t n, llava_bytes *lines, llava_error *e)
{
    bool good = llava_bytes_put(lines, "", 0, MAX_TEMPLATE, e);
    for (size_t i = 0; i < n && good; i++) {
        if ((uint8_t)text[i] < 0x20 && !is_blank(text[i])) {
            return false;
        }
        if (text[i] == '\r') {
            i += i + 1 < n && text[i + 1] == '\n';
            good = llava_bytes_put(lines, "\n", 1, MAX_TEMPLATE, e);
        } else {
            good = llava_bytes_put(lines, &text[i], 1, MAX_TEMPLATE, e);
        }
    }
    lines->n -= lines->n > 0 && lines->at[lines->n - 1] == '\n';
    return good;
}

static bool read_template(reader *r)
{
    for (;;) {
        size_t from = r->plain.n;
        if (!read_plain(r)) {
            return false;
        }
        if (r->at >= r->n) {
            flush_plain(r);
            emit(r, "", 0);
            return !r->out.failed;
        }
        if (!read_tag(r, from)) {
            return false;
        }
    }
}

/* The normal form, into *out (free its `at` in any case); false, without a message, for what is no
 * template, and where memory is out. */
static bool normalise(const char *text, size_t n, llava_bytes *out, llava_error *e)
{
    llava_bytes lines = {0};
    bool good = unify_lines(text, n, &lines, e);
    reader r = {.text = lines.at, .n = lines.n, .out = {.limit = 4 * MAX_TEMPLATE, .e = e}, .e = e};
    good = good && read_template(&r);
    free(lines.at);
    free(r.plain.at);
    *out = r.out.bytes;
    return good;
}

bool llava_chat_recognise(const char *name, const char *text, size_t n, llava_chat *chat,
                          llava_error *e)
{
    llava_bytes given = {0}, known = {0};
    llava_error why = {""};
    bool found = false;
    bool readable = normalise(text, n, &given, &why);
    for (size_t i = 0; readable && !found && llava_chat_template(i, &known, chat, &why); i++) {
        llava_bytes one = {0};
        found = normalise(known.at, known.n, &one, &why) && one.n == given.n &&
                memcmp(one.at, given.at, one.n) == 0;
        free(one.at);
        free(known.at);
        known.at = NULL;
    }
    free(given.at);
    free(known.at);
    if (llava_out_of_memory(&why)) {
        return llava_fail(e, "%s: %s", name, why.text);
    }
    return found || llava_fail(e,
                               "%s: the chat template is none of the known ones; write the whole "
                               "prompt and give it with --prompt",
                               name);
}

/* ---- The folder's template ---- */

/* The template in a JSON value: a text, an object {"default": text}, or a list of
 * {"name": "default", "template": text}. */
static const char *template_in(const cJSON *value)
{
    if (cJSON_IsArray(value)) {
        for (const cJSON *item = value->child; item != NULL; item = item->next) {
            const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));
            if (name != NULL && strcmp(name, "default") == 0) {
                return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "template"));
            }
        }
        return NULL;
    }
    if (cJSON_IsObject(value)) {
        value = cJSON_GetObjectItemCaseSensitive(value, "default");
    }
    return cJSON_GetStringValue(value);
}

/* Looks into one file. *found: there was a template, and *chat is what it is. */
static bool look_into(const char *path, bool json, bool *found, llava_chat *chat, llava_error *e)
{
    *found = false;
    if (!llava_file_exists(path)) {
        return true;
    }
    if (!json) {
        llava_file file;
        *found = true;
        if (!llava_file_map(&file, path, e)) {
            return false;
        }
        bool good = llava_chat_recognise(path, (const char *)file.bytes, file.size, chat, e);
        llava_file_unmap(&file);
        return good;
    }
    cJSON *root = llava_json_read(path, e);
    if (root == NULL) {
        return false;
    }
    bool good = true;
    if (llava_json_has(root, "chat_template")) {
        const char *text = template_in(cJSON_GetObjectItemCaseSensitive(root, "chat_template"));
        *found = true;
        good = llava_chat_recognise(path, text == NULL ? "" : text, text == NULL ? 0 : strlen(text),
                                    chat, e);
    }
    cJSON_Delete(root);
    return good;
}

bool llava_chat_of(const char *folder, llava_chat *chat, llava_error *e)
{
    static const char *const files[] = {"processor_config.json", "chat_template.json",
                                        "chat_template.jinja", "tokenizer_config.json"};
    bool found = false;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && !found; i++) {
        char *path = llava_path(e, folder, files[i]);
        bool json = strstr(files[i], ".jinja") == NULL;
        bool good = path != NULL && look_into(path, json, &found, chat, e);
        free(path);
        if (!good) {
            return false;
        }
    }
    return found || llava_fail(e,
                               "%s: there is no chat template; write the whole prompt and give it "
                               "with --prompt",
                               folder);
}
