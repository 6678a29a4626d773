#include "tools/sizes.h"

#include <string.h>

/* The letters, in the order of llava_sizes; the run's first. */
static const char *const names[LLAVA_SIZE_NAMES] = {
    "B", "S", "N", "S'", "G", "P", "T", "D", "M", "F", "C", "H", "I", "A", "V", "h", "k", "d", "w",
};
enum { B, S, N, KEYS, G, OF_MODEL };
static const size_t longest = 512; /* characters of an expression */

static int find(const char *name, size_t n)
{
    if (n == 8 && memcmp(name, "head_dim", n) == 0) {
        return find("d", 1);
    }
    for (int i = 0; i < LLAVA_SIZE_NAMES; i++) {
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0) {
            return i;
        }
    }
    return -1;
}

llava_sizes_of llava_sizes_part(const llava_tap_kind *kind)
{
    return kind->at == LLAVA_AT_IMAGE                                      ? LLAVA_SIZES_IMAGE
           : kind->at >= LLAVA_AT_VISION && kind->at <= LLAVA_AT_PROJECTOR ? LLAVA_SIZES_VISION
                                                                           : LLAVA_SIZES_TEXT;
}

/* B, S and N are the same everywhere; but a Pixtral tower has one sequence of all N pictures. */
static void set(llava_sizes *sizes, llava_sizes_of part, int name, size_t value)
{
    for (int p = 0; p < 3; p++) {
        if ((p == (int)part || name < OF_MODEL) && !sizes->known[p][name]) {
            sizes->known[p][name] = true;
            sizes->value[p][name] = value;
        }
    }
}

static void set_everywhere(llava_sizes *sizes, const char *name, size_t value)
{
    for (int p = 0; p < 3; p++) {
        set(sizes, (llava_sizes_of)p, find(name, strlen(name)), value);
    }
}

void llava_sizes_from_plan(llava_sizes *sizes, const llava_plan *plan)
{
    memset(sizes, 0, sizeof *sizes);
    if (plan == NULL) {
        return;
    }
    const llava_vision_plan *v = &plan->vision;
    const llava_text_plan *t = &plan->text;
    if (v->tower == LLAVA_TOWER_PIXTRAL) { /* how many patches only the pictures tell */
        sizes->known[LLAVA_SIZES_VISION][N] = true;
        sizes->value[LLAVA_SIZES_VISION][N] = 1;
    } else {
        const llava_inputs one = {.pictures = 1};
        const llava_tower_shape of = llava_tower_shape_of(plan, &one);
        set_everywhere(sizes, "P", of.patches);
        set_everywhere(sizes, "T", of.rows);
        set_everywhere(sizes, "F", of.feature_rows);
        set_everywhere(sizes, "w", v->image_size);
        set(sizes, LLAVA_SIZES_IMAGE, find("h", 1), v->image_size);
    }
    set_everywhere(sizes, "D", v->hidden);
    set_everywhere(sizes, "M", v->intermediate);
    set_everywhere(sizes, "C", v->feature_width);
    set_everywhere(sizes, "H", t->hidden);
    set_everywhere(sizes, "I", t->intermediate);
    set_everywhere(sizes, "A", t->heads * t->head_dim);
    set_everywhere(sizes, "V", t->vocab);
    set(sizes, LLAVA_SIZES_VISION, find("h", 1), v->heads);
    set(sizes, LLAVA_SIZES_VISION, find("k", 1), v->heads);
    set(sizes, LLAVA_SIZES_VISION, find("d", 1), v->head_dim);
    set(sizes, LLAVA_SIZES_TEXT, find("h", 1), t->heads);
    set(sizes, LLAVA_SIZES_TEXT, find("k", 1), t->kv_heads);
    set(sizes, LLAVA_SIZES_TEXT, find("d", 1), t->head_dim);
    sizes->text = t;
}

void llava_sizes_learn(llava_sizes *sizes, const char *tap, int rank, const size_t *shape)
{
    llava_tap_place place;
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    if (!llava_tap_find(tap, &place) || place.step > 0) {
        return;
    }
    const llava_tap_kind *kind = &kinds[place.kind];
    const char *letter = kind->shape;
    int letters = *letter == '\0' ? 0 : 1;
    for (const char *at = letter; *at != '\0'; at++) {
        letters += *at == ',' ? 1 : 0;
    }
    for (int axis = 0; axis < rank; axis++) {
        if (shape[axis] == 0) {
            return; /* an empty tensor's other extents are any numbers */
        }
    }
    for (int axis = 0; letters == rank && axis < rank; axis++) {
        const size_t n = strcspn(letter, ",");
        const int name = find(letter, n);
        const llava_sizes_of part = llava_sizes_part(kind);
        if (name >= 0 && name != KEYS && name != G && !sizes->known[part][name]) {
            set(sizes, part, name, shape[axis]);
        }
        letter += letter[n] == ',' ? n + 1 : n;
    }
}

/* ---- expressions ------------------------------------------------------------------------------
 */

typedef struct {
    const llava_sizes_at *at; /* NULL: only the form is looked at */
    const char *text, *next;
    bool lone; /* the whole text is this one factor: it may stay open */
    bool *open;
} reading;

static size_t word_length(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_'");
}

static bool is_own_extent(const char *text, size_t n)
{
    return n == 1 && text[0] == 'n' && text[1] >= '0' && text[1] <= '9';
}

static bool read_number(reading *r, size_t *value, llava_error *e)
{
    for (*value = 0; *r->next >= '0' && *r->next <= '9'; r->next++) {
        if (!llava_mul(*value, 10, value) || !llava_add(*value, (size_t)(*r->next - '0'), value)) {
            return llava_fail(e, "\"%s\": the number is too large", r->text);
        }
    }
    return true;
}

static bool read_own_extent(reading *r, size_t *value, llava_error *e)
{
    size_t axis;
    r->next++;
    if (!read_number(r, &axis, e)) {
        return false;
    }
    *value = 1;
    if (r->at != NULL && axis >= (size_t)r->at->rank) {
        return llava_fail(e, "\"%s\": the port's tensor has no axis %zu, only %d axes", r->text,
                          axis, r->at->rank);
    }
    if (r->at != NULL) {
        *value = r->at->shape[axis];
    }
    return true;
}

/* S' of a decoding step, the prefill's positions being known. */
static size_t keys_of_step(const llava_sizes_at *at, size_t prefill)
{
    const llava_text_plan *text = at->sizes->text;
    const size_t past = prefill + at->pass.step - 1, layer = at->pass.layer;
    const bool slides = text != NULL && layer < text->layers && text->slides[layer];
    return (slides ? llava_keys_kept(text, past) : past) + 1;
}

static bool known_size(const llava_sizes_at *at, int name, size_t *value)
{
    const llava_sizes_of part = llava_sizes_part(at->kind);
    if (at->pass.step > 0 && name == S) {
        *value = 1;
        return true;
    }
    const bool keys = name == KEYS;
    name = keys ? S : name;
    *value = at->sizes->known[part][name] ? at->sizes->value[part][name] : 1;
    if (keys && at->pass.step > 0 && at->sizes->known[part][name]) {
        *value = keys_of_step(at, *value);
    }
    return at->sizes->known[part][name];
}

static bool read_name(reading *r, size_t n, size_t *value, llava_error *e)
{
    const int name = find(r->next, n);
    if (name < 0) {
        return llava_fail(e,
                          "\"%s\": no size is called so (B S S' N G P T D M F C H I A V h k d, "
                          "n0 n1 ..., or ?)",
                          r->text);
    }
    r->next += n;
    *value = 1;
    if (r->at == NULL || known_size(r->at, name, value)) {
        return true;
    }
    if (name >= OF_MODEL) {
        return llava_fail(e, "\"%s\": the size %s is the model's: --model is needed", r->text,
                          names[name]);
    }
    *r->open = r->lone;
    return r->lone || llava_fail(e,
                                 "\"%s\": %s is not known here; write a number, n0 n1 ... or ?, "
                                 "or dump input_ids, too",
                                 r->text, names[name]);
}

static bool read_factor(reading *r, size_t *value, llava_error *e)
{
    const size_t n = word_length(r->next);
    if (*r->next >= '0' && *r->next <= '9') {
        return read_number(r, value, e);
    }
    if (is_own_extent(r->next, n)) {
        return read_own_extent(r, value, e);
    }
    return n > 0 ? read_name(r, n, value, e)
                 : llava_fail(e, "\"%s\": is no size (\"h*d\", \"h+2*k\", \"n1\", \"?\")", r->text);
}

static bool read_sum(reading *r, size_t *value, llava_error *e)
{
    size_t product = 1;
    *value = 0;
    for (;;) {
        size_t factor;
        if (!read_factor(r, &factor, e)) {
            return false;
        }
        const bool fits = llava_mul(product, factor, &product);
        const char after = *r->next;
        if (!fits || (after != '*' && !llava_add(*value, product, value))) {
            return llava_fail(e, "\"%s\": is too large", r->text);
        }
        if (after == '\0') {
            return true;
        }
        if (after != '*' && after != '+') {
            return llava_fail(e, "\"%s\": is no size (\"h*d\", \"h+2*k\", \"n1\", \"?\")", r->text);
        }
        product = after == '+' ? 1 : product;
        r->next++;
    }
}

static bool evaluate(const llava_sizes_at *at, const char *text, size_t *value, bool *open,
                     llava_error *e)
{
    const size_t n = strlen(text);
    if (n > longest || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_'?*+"
                                    "0123456789") < n) {
        return llava_fail(e, "a size is letters, numbers, * and +, at most %zu of them", longest);
    }
    *value = 1;
    *open = strcmp(text, "?") == 0;
    reading r = {
        .at = at, .text = text, .next = text, .open = open, .lone = strpbrk(text, "*+") == NULL};
    return *open || read_sum(&r, value, e);
}

bool llava_size_check(const char *text, llava_error *e)
{
    size_t value;
    bool open;
    return evaluate(NULL, text, &value, &open, e);
}

bool llava_size_of(const llava_sizes_at *at, const char *text, size_t *value, bool *open,
                   llava_error *e)
{
    return evaluate(at, text, value, open, e);
}
