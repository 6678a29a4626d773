#include "tools/npy.h"

#include "ref/file.h"

#include <stdio.h>
#include <string.h>

#define MAGIC      "\x93NUMPY"
#define MAGIC_SIZE 6
#define ALIGNMENT  64
/* numpy.save leaves room to let the first extent grow to so many digits. */
#define GROWTH_DIGITS 21
#define WORD          40

/* ---- the dictionary: a small strict reader of what NumPy writes ---- */

typedef struct {
    const uint8_t *at, *end;
} text;

static int peek(text *t)
{
    while (t->at < t->end && *t->at == ' ') {
        t->at++;
    }
    return t->at < t->end ? *t->at : -1;
}

static bool accept(text *t, char c)
{
    if (peek(t) != c) {
        return false;
    }
    t->at++;
    return true;
}

static bool accept_word(text *t, const char *word)
{
    const size_t n = strlen(word);
    if (peek(t) < 0 || (size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0) {
        return false;
    }
    t->at += n;
    return true;
}

/* A quoted string of printable ASCII without escapes, which is all that the three keys and the
 * accepted types need. */
static bool read_string(text *t, char word[WORD])
{
    const int quote = peek(t);
    if (quote != '\'' && quote != '"') {
        return false;
    }
    t->at++;
    size_t n = 0;
    while (t->at < t->end && *t->at != quote) {
        const uint8_t c = *t->at++;
        if (n + 1 == WORD || c < 0x20 || c > 0x7e || c == '\\') {
            return false;
        }
        word[n++] = (char)c;
    }
    word[n] = '\0';
    return accept(t, (char)quote);
}

static bool read_extent(text *t, size_t *extent, llava_error *e)
{
    const int first = peek(t);
    if (first < '0' || first > '9') {
        return llava_fail(e, "a dimension in the header's shape is not a natural number");
    }
    const uint8_t *start = t->at;
    *extent = 0;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9') {
        const size_t digit = (size_t)(*t->at++ - '0');
        if (!llava_mul(*extent, 10, extent) || !llava_add(*extent, digit, extent)) {
            return llava_fail(e, "a dimension in the header's shape is too large");
        }
    }
    if (first == '0' && t->at - start > 1) {
        return llava_fail(e, "a dimension in the header's shape has a leading zero");
    }
    if (t->at < t->end && *t->at == 'L') { /* Python 2 wrote its long integers so */
        t->at++;
    }
    return true;
}

/* "()", "(3,)", "(2, 3)": one element needs its comma, or it is no tuple. */
static bool read_shape(text *t, llava_array *array, llava_error *e)
{
    if (!accept(t, '(')) {
        return llava_fail(e, "the header's shape is not a tuple");
    }
    bool comma = true;
    array->rank = 0;
    while (!accept(t, ')')) {
        if (!comma) {
            return llava_fail(e, "the header's shape is not a tuple");
        }
        if (array->rank == LLAVA_ARRAY_RANK) {
            return llava_fail(e, "more than %d dimensions are not supported", LLAVA_ARRAY_RANK);
        }
        if (!read_extent(t, &array->shape[array->rank], e)) {
            return false;
        }
        array->rank++;
        comma = accept(t, ',');
    }
    if (array->rank == 1 && !comma) {
        return llava_fail(e, "the header's shape is not a tuple");
    }
    return true;
}

static const char *refused_kind(char kind)
{
    switch (kind) {
    case 'O':
        return "object arrays are";
    case 'V':
        return "structured and void types are";
    case 'U':
        return "Unicode text is";
    case 'S':
    case 'a':
        return "byte text is";
    case 'c':
        return "complex numbers are";
    case 'm':
    case 'M':
        return "dates and times are";
    default:
        return "this type is";
    }
}

static bool known_size(char kind, size_t size)
{
    switch (kind) {
    case 'b':
        return size == 1;
    case 'i':
    case 'u':
        return size == 1 || size == 2 || size == 4 || size == 8;
    case 'f':
        return size == 2 || size == 4 || size == 8;
    default:
        return false;
    }
}

/* "<f8": byte order, kind, bytes. */
static bool read_type(const char *descr, llava_array *array, llava_error *e)
{
    const size_t length = strlen(descr);
    const char order = length > 0 ? descr[0] : '\0';
    const char kind = length > 1 ? descr[1] : '\0';
    const size_t size = length == 3 ? (size_t)((unsigned char)descr[2] - (unsigned char)'0') : 0;
    if (!known_size(kind, size)) {
        return llava_fail(e, "%s not supported (descr '%s')", refused_kind(kind), descr);
    }
    if (order != '<' && order != '>' && !(order == '|' && size == 1)) {
        return llava_fail(e, "no byte order in the type (descr '%s')", descr);
    }
    array->kind = kind;
    array->size = size;
    array->big_endian = order == '>';
    return true;
}

static bool read_descr(text *t, llava_array *array, llava_error *e)
{
    char descr[WORD];
    const int c = peek(t);
    if (c == '[' || c == '(') {
        return llava_fail(e, "structured types are not supported");
    }
    if (!read_string(t, descr)) {
        return llava_fail(e, "the header's descr is not a type that is supported");
    }
    return read_type(descr, array, e);
}

static bool read_order(text *t, llava_array *array, llava_error *e)
{
    array->fortran = accept_word(t, "True");
    if (!array->fortran && !accept_word(t, "False")) {
        return llava_fail(e, "the header's fortran_order is neither True nor False");
    }
    return true;
}

static bool read_item(text *t, llava_array *array, bool seen[3], llava_error *e)
{
    static const char *const keys[3] = {"descr", "fortran_order", "shape"};
    static bool (*const readers[3])(text *, llava_array *, llava_error *) = {read_descr, read_order,
                                                                             read_shape};
    char key[WORD];
    if (!read_string(t, key) || !accept(t, ':')) {
        return llava_fail(e, "the header is not NumPy's dictionary");
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(key, keys[i]) == 0) {
            if (seen[i]) {
                return llava_fail(e, "the header has the key '%s' twice", key);
            }
            seen[i] = true;
            return readers[i](t, array, e);
        }
    }
    return llava_fail(e, "the header has an unknown key '%s'", key);
}

static bool read_dictionary(text *t, llava_array *array, llava_error *e)
{
    bool seen[3] = {false, false, false};
    bool comma = true;
    if (!accept(t, '{')) {
        return llava_fail(e, "the header is not NumPy's dictionary");
    }
    while (!accept(t, '}')) {
        if (!comma) {
            return llava_fail(e, "the header is not NumPy's dictionary");
        }
        if (!read_item(t, array, seen, e)) {
            return false;
        }
        comma = accept(t, ',');
    }
    while (peek(t) == '\n') {
        t->at++;
    }
    if (t->at != t->end) {
        return llava_fail(e, "the header goes on after its dictionary");
    }
    if (!seen[0] || !seen[1] || !seen[2]) {
        return llava_fail(e, "the header lacks one of descr, fortran_order and shape");
    }
    return true;
}

bool llava_npy_read(llava_array *array, size_t *data, const uint8_t *bytes, size_t n,
                    llava_error *e)
{
    llava_cursor c = llava_cursor_over(bytes, n);
    const uint8_t *magic = llava_cursor_take(&c, MAGIC_SIZE);
    const uint8_t major = llava_cursor_u8(&c), minor = llava_cursor_u8(&c);
    if (c.bad || memcmp(magic, MAGIC, MAGIC_SIZE) != 0) {
        return llava_fail(e, "not an .npy file (its first bytes are not NumPy's)");
    }
    if (major < 1 || major > 3 || minor != 0) {
        return llava_fail(e, ".npy version %u.%u is not supported", major, minor);
    }
    const size_t length = major == 1 ? llava_cursor_u16(&c) : llava_cursor_u32(&c);
    if (!c.bad && length > LLAVA_NPY_LONGEST) {
        return llava_fail(e, "the header is longer than %d bytes", LLAVA_NPY_LONGEST);
    }
    const uint8_t *header = llava_cursor_take(&c, length);
    if (c.bad) {
        return llava_fail(e, "the file ends within its header");
    }
    memset(array, 0, sizeof *array);
    if (!read_dictionary(&(text){header, header + length}, array, e)) {
        return false;
    }
    if (!llava_array_measure(array)) {
        return llava_fail(e, "the header's shape is too large");
    }
    *data = llava_cursor_offset(&c);
    return true;
}

/* ---- writing ---- */

size_t llava_npy_write(const llava_array *array, uint8_t out[LLAVA_NPY_HEADER])
{
    const size_t start = MAGIC_SIZE + 4;
    char *header = (char *)out + start;
    const size_t room = LLAVA_NPY_HEADER - start;
    char dtype[LLAVA_ARRAY_DTYPE];
    llava_array_dtype(array, dtype);
    int n = snprintf(header, room, "{'descr': '%s', 'fortran_order': False, 'shape': (", dtype);
    for (int i = 0; i < array->rank; i++) {
        n += snprintf(header + n, room - (size_t)n, i == 0 ? "%zu" : ", %zu", array->shape[i]);
    }
    n += snprintf(header + n, room - (size_t)n, array->rank == 1 ? ",), }" : "), }");
    if (array->rank > 0) {
        n += GROWTH_DIGITS - snprintf(NULL, 0, "%zu", array->shape[0]);
    }
    const size_t used = start + (size_t)n + 1; /* and the newline */
    const size_t total = used + ALIGNMENT - used % ALIGNMENT;
    const size_t written = strlen(header);
    memset(header + written, ' ', total - start - written);
    out[total - 1] = '\n';
    memcpy(out, MAGIC "\x01\x00", MAGIC_SIZE + 2);
    out[MAGIC_SIZE + 2] = (uint8_t)((total - start) & 0xff);
    out[MAGIC_SIZE + 3] = (uint8_t)((total - start) >> 8);
    return total;
}
