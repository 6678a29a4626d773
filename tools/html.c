#include "tools/html.h"

#include "tools/words.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool llava_html_open(llava_html *h, const char *path, llava_error *e)
{
    *h = (llava_html){.e = e};
    h->ok = llava_output_open(&h->output, path, e);
    return h->ok;
}

bool llava_html_close(llava_html *h)
{
    if (!h->ok) {
        llava_output_abort(h->output);
        return false;
    }
    return llava_output_commit(h->output, h->e);
}

static void write_bytes(llava_html *h, const char *bytes, size_t n)
{
    h->ok = h->ok && llava_output_write(h->output, bytes, n, h->e);
}

void llava_html_put(llava_html *h, const char *markup)
{
    write_bytes(h, markup, strlen(markup));
}

void llava_html_format(llava_html *h, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (n >= (int)sizeof text) { /* the program's own mistake */
        h->ok = h->ok && llava_fail(h->e, "a part of the report is too long");
        return;
    }
    write_bytes(h, text, (size_t)n);
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

/* One character of text, of n bytes; n 0: a byte that is not UTF-8. */
static void put_character(llava_html *h, const char *text, size_t n, uint32_t code)
{
    const char *word = entity(text[0]);
    if (word != NULL) {
        llava_html_put(h, word);
    } else if (n > 0 && !llava_character_acts(code)) {
        write_bytes(h, text, n);
    } else {
        for (size_t i = 0; i < (n == 0 ? 1 : n); i++) {
            llava_html_format(h, "\\x%02x", (unsigned char)text[i]);
        }
    }
}

void llava_html_cut(llava_html *h, const char *text, size_t most)
{
    for (size_t used = 0; text[used] != '\0';) {
        uint32_t code = 0;
        size_t n = llava_character(text + used, &code);
        size_t bytes = n == 0 ? 1 : n;
        if (used + bytes > most) {
            llava_html_put(h, "..");
            return;
        }
        put_character(h, text + used, n, code);
        used += bytes;
    }
}

void llava_html_text(llava_html *h, const char *text)
{
    llava_html_cut(h, text, (size_t)-2);
}

void llava_html_png(llava_html *h, const llava_png *png)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    llava_html_put(h, "data:image/png;base64,");
    for (size_t i = 0; i < png->size; i += 3) {
        const uint8_t *at = png->bytes + i;
        size_t left = png->size - i;
        uint32_t three =
            (uint32_t)at[0] << 16 | (left > 1 ? (uint32_t)at[1] << 8 : 0) | (left > 2 ? at[2] : 0);
        char four[4] = {digits[three >> 18], digits[three >> 12 & 63],
                        left > 1 ? digits[three >> 6 & 63] : '=',
                        left > 2 ? digits[three & 63] : '='};
        write_bytes(h, four, sizeof four);
    }
}

/* Without the zeros that C puts into an exponent: 1.2e-07 -> 1.2e-7. */
static void shorten_exponent(char *text)
{
    char *e = strchr(text, 'e'); /* %e always writes one */
    char *to = e + 1, *from = e + 1;
    if (*from == '-') {
        to++;
    }
    from++;
    while (*from == '0') { /* the exponent is not 0 here */
        from++;
    }
    memmove(to, from, strlen(from) + 1);
}

llava_short_number llava_short(double value)
{
    llava_short_number s = {""};
    double size = fabs(value);
    if (isnan(value)) {
        snprintf(s.text, sizeof s.text, "NaN");
    } else if (isinf(value)) {
        snprintf(s.text, sizeof s.text, "%sinfinite", value < 0 ? "-" : "");
    } else if (size == 0) {
        snprintf(s.text, sizeof s.text, "0");
    } else if (size < 1e-3 || size >= 1e5) {
        snprintf(s.text, sizeof s.text, "%.1e", value);
        shorten_exponent(s.text);
    } else if (size >= 100) {
        snprintf(s.text, sizeof s.text, "%.0f", value);
    } else {
        snprintf(s.text, sizeof s.text, "%.3g", value);
    }
    return s;
}
