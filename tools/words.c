#include "words.h"

#include "ref/unicode.h"
#include "tools/progress.h"

#include <string.h>
#include <unistd.h>

size_t llava_character(const char *text, uint32_t *code)
{
    return llava_utf8_next(text, strnlen(text, 4), code);
}

bool llava_character_acts(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200e && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
           code == 0xfeff;
}

/* lines: line feeds and tabs stay what they are. */
static void put_escaped(FILE *to, const char *text, size_t n, bool lines)
{
    while (n > 0) {
        uint32_t code = 0;
        size_t length = llava_utf8_next(text, n < 4 ? n : 4, &code);
        bool kept = length > 0 && (!llava_character_acts(code) ||
                                   (lines && (code == (uint32_t)'\n' || code == (uint32_t)'\t')));
        length = length == 0 ? 1 : length;
        for (size_t i = 0; i < length; i++) {
            fprintf(to, kept ? "%c" : "\\x%02x", (unsigned char)text[i]);
        }
        text += length;
        n -= length;
    }
}

void llava_print_escaped(FILE *to, const char *text)
{
    put_escaped(to, text, strlen(text), false);
}

void llava_print_text(FILE *to, const char *text, size_t n)
{
    if (isatty(fileno(to))) {
        put_escaped(to, text, n, true);
    } else {
        fwrite(text, 1, n, to);
    }
}

static void line(const char *before, const char *text)
{
    llava_progress_end();
    fputs(before, stderr);
    llava_print_escaped(stderr, text);
    fputc('\n', stderr);
}

void llava_complain(const char *text)
{
    line("llava-ref: ", text);
}

void llava_warn(const char *text)
{
    line("llava-ref: warning: ", text);
}

void llava_warn_unknown_keys(const llava_config *config, const char *folder)
{
    char text[1024];
    if (config->unknown_keys[0] != '\0') {
        snprintf(text, sizeof text, "%.500s/config.json: unknown keys, ignored: %s", folder,
                 config->unknown_keys);
        llava_warn(text);
    }
}

const char *llava_shape_text(char *text, size_t size, int rank, const size_t *shape)
{
    size_t used = 1;
    snprintf(text, size, "[");
    for (int i = 0; i < rank && used + 24 < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i == 0 ? "" : ",", shape[i]);
    }
    snprintf(text + used, size - used, "]");
    return text;
}
