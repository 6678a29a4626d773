#include "tools/layout.h"

#include "ref/elementary.h"
#include "tools/names.h"
#include "tools/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Elements that are read and put in their places at a time. */
#define PIECE ((size_t)32 * 1024)
/* In a table of places: this index is left out. */
#define NOWHERE SIZE_MAX
/* Room for a shape in a message. */
#define SHAPE_TEXT 200

/* Puts "tensor NAME [shape]: " in front of the message. */
static bool fail_at(const llava_dump_entry *entry, llava_error *e)
{
    char name[LLAVA_SHOWN], shape[SHAPE_TEXT], prefix[LLAVA_SHOWN + SHAPE_TEXT + 20];
    snprintf(prefix, sizeof prefix, "tensor %s %s",
             llava_shown(name, entry->name, strlen(entry->name)),
             llava_shape_text(shape, sizeof shape, entry->array.rank, entry->array.shape));
    return llava_fail_in(e, prefix);
}

/* ---- the row axis ---- */

/* The letter of axis a in a tap's shape, "S'" the longest, as text with a NUL. */
static bool axis_letter(const llava_tap_kind *kind, int a, char letter[4])
{
    const char *at = kind->shape;
    for (; a > 0 && *at != '\0'; at++) {
        a -= *at == ',' ? 1 : 0;
    }
    const size_t n = strcspn(at, ",");
    if (a > 0 || n == 0) {
        return false;
    }
    memcpy(letter, at, n);
    letter[n] = '\0';
    return true;
}

static int kind_rank(const llava_tap_kind *kind)
{
    char letter[4];
    int rank = 0;
    while (axis_letter(kind, rank, letter)) {
        rank++;
    }
    return rank;
}

static int row_axis(const llava_tap_kind *kind)
{
    char letter[4];
    for (int a = 0; axis_letter(kind, a, letter); a++) {
        if (strchr("SPTFG", letter[0]) != NULL) {
            return a;
        }
    }
    return -1;
}

/* ---- a part: reshape, transpose, slice, crop ---- */

static bool size_of(const llava_sizes_at *at, const llava_map_size *size, size_t *value, bool *open,
                    llava_error *e)
{
    *value = size->number;
    *open = false;
    return size->text == NULL || llava_size_of(at, size->text, value, open, e);
}

/* A size that must be known. */
static bool closed_size_of(const llava_sizes_at *at, const llava_map_size *size, size_t *value,
                           llava_error *e)
{
    bool open;
    return size_of(at, size, value, &open, e) &&
           (!open || llava_fail(e, "%s is not known here; write a number, or dump input_ids, too",
                                size->text));
}

/* The one open extent is what makes the elements fit. */
static bool reshape(llava_layout_part *part, const llava_map_rule *rule, const llava_sizes_at *at,
                    llava_error *e)
{
    const size_t count = part->entry->array.count;
    size_t product = 1;
    int open_axis = -1, second = -1;
    part->rank = rule->reshaped;
    for (int a = 0; a < part->rank; a++) {
        bool open;
        if (!size_of(at, &rule->reshape[a], &part->shape[a], &open, e)) {
            return llava_fail_in(e, "reshape");
        }
        second = open && open_axis >= 0 ? a : second;
        open_axis = open && open_axis < 0 ? a : open_axis;
        if (!llava_mul(product, part->shape[a], &product)) {
            return llava_fail(e, "reshape: too large");
        }
    }
    if (second >= 0) {
        return llava_fail(e, "reshape: axes %d and %d are both unknown", open_axis, second);
    }
    if (open_axis >= 0 && product > 0 && count % product == 0) {
        part->shape[open_axis] = count / product;
        product = count;
    }
    char text[SHAPE_TEXT];
    return product == count ||
           llava_fail(e, "its elements do not reshape to %s",
                      llava_shape_text(text, sizeof text, part->rank, part->shape));
}

static bool transpose(llava_layout_part *part, const llava_map_rule *rule, llava_error *e)
{
    if (rule->has_transpose && rule->transposed != part->rank) {
        return llava_fail(e, "transpose names %d axes; there are %d", rule->transposed, part->rank);
    }
    for (int a = 0; a < part->rank; a++) {
        part->axis[rule->has_transpose ? rule->transpose[a] : a] = a;
    }
    for (int a = 0; a < part->rank; a++) {
        const int tap = part->axis[a];
        part->from[tap] = 0;
        part->to[tap] = part->extent[tap] = part->shape[a];
    }
    return true;
}

/* slice: all of from .. to-1 must be there. */
static bool slice(llava_layout_part *part, const llava_map_window *window, const llava_sizes_at *at,
                  llava_error *e)
{
    const int a = window->axis;
    size_t from, to;
    if (!closed_size_of(at, &window->from, &from, e) || !closed_size_of(at, &window->to, &to, e)) {
        return llava_fail_in(e, "slice");
    }
    if (a >= part->rank || from > to || to > part->extent[a]) {
        char text[SHAPE_TEXT];
        return llava_fail(e, "slice: %zu to %zu of axis %d is not within %s", from, to, a,
                          llava_shape_text(text, sizeof text, part->rank, part->extent));
    }
    part->to[a] = part->from[a] + to;
    part->from[a] += from;
    part->extent[a] = to - from;
    return true;
}

/* crop: what is behind `to` goes, what lacks before it was never computed. */
static bool crop(llava_layout_part *part, const llava_map_window *window, const llava_sizes_at *at,
                 llava_error *e)
{
    const int a = window->axis;
    size_t from, to;
    if (!closed_size_of(at, &window->from, &from, e) || !closed_size_of(at, &window->to, &to, e)) {
        return llava_fail_in(e, "crop");
    }
    if (a >= part->rank || from > to) {
        return llava_fail(e, "crop: there is no axis %d from %zu to %zu", a, from, to);
    }
    if (to > part->extent[a] && a != part->rank - 1) {
        return llava_fail(e, "crop: axis %d has %zu of %zu; only the last axis may lack some", a,
                          part->extent[a], to);
    }
    const size_t end = to < part->extent[a] ? to : part->extent[a];
    const size_t begin = from < end ? from : end;
    part->to[a] = part->from[a] + end;
    part->from[a] += begin;
    part->extent[a] = to - from;
    return (to <= end || part->entry->array.count > 0) || llava_fail(e, "crop: it is empty");
}

static bool lacks_cells(const llava_layout_part *part)
{
    const int last = part->rank - 1;
    return last >= 0 && part->to[last] - part->from[last] < part->extent[last];
}

static bool make_part(llava_layout_part *part, const llava_map_rule *rule,
                      const llava_dump_entry *entry, const llava_sizes *sizes,
                      llava_sizes_pass pass, llava_error *e)
{
    const llava_array *array = &entry->array;
    const llava_sizes_at at = {sizes, rule->kind, pass, array->rank, array->shape};
    *part = (llava_layout_part){.entry = entry, .rank = array->rank};
    memcpy(part->shape, array->shape, sizeof part->shape);
    bool ok = (!rule->has_reshape || reshape(part, rule, &at, e)) && transpose(part, rule, e);
    for (int i = 0; ok && i < rule->slices; i++) {
        ok = slice(part, &rule->slice[i], &at, e);
    }
    ok = ok && (!rule->has_crop || crop(part, &rule->crop, &at, e));
    if (ok && part->rank != kind_rank(rule->kind)) {
        ok = llava_fail(e, "has %d axes; the tap's are [%s]: a reshape is needed", part->rank,
                        rule->kind->shape);
    }
    return ok || fail_at(entry, e);
}

/* ---- the parts together ---- */

static bool join(llava_layout *layout, llava_error *e)
{
    const llava_map_rule *rule = layout->rule;
    const llava_layout_part *first = &layout->parts[0];
    layout->rank = first->rank;
    memcpy(layout->shape, first->extent, sizeof layout->shape);
    if (rule->join != NULL && rule->join_axis >= layout->rank) {
        return llava_fail(e, "join: the tap has no axis %d", rule->join_axis);
    }
    for (size_t p = 1; p < layout->parts_count; p++) {
        llava_layout_part *part = &layout->parts[p];
        for (int a = 0; a < layout->rank; a++) {
            if (a != rule->join_axis && part->extent[a] != layout->shape[a]) {
                llava_fail(e, "join: axis %d differs from that of the first part (%zu)", a,
                           layout->shape[a]);
                return fail_at(part->entry, e);
            }
        }
        part->start = layout->shape[rule->join_axis];
        if (!llava_add(part->start, part->extent[rule->join_axis],
                       &layout->shape[rule->join_axis])) {
            return llava_fail(e, "join: too large");
        }
    }
    return true;
}

static bool measure(llava_layout *layout, llava_error *e)
{
    llava_array array = {.kind = 'f', .size = 8, .rank = layout->rank};
    memcpy(array.shape, layout->shape, sizeof array.shape);
    layout->count = 1;
    if (!llava_array_measure(&array)) {
        return llava_fail(e, "the tensor is too large");
    }
    layout->count = array.count;
    return true;
}

/* ---- rows and cells that were never computed ---- */

/* The rows that `rows` stands for in a tensor of `full` rows, as stretches first .. last. */
static bool expand_rows(const llava_map_rows *rows, size_t full, llava_map_rows *out,
                        llava_error *e)
{
    *out = *rows;
    if (rows->kind == LLAVA_ROWS_LISTED) {
        return rows->last[rows->count - 1] < full ||
               llava_fail(e, "rows: the tap has only %zu", full);
    }
    if (rows->count > full) {
        return llava_fail(e, "rows: the tap has only %zu", full);
    }
    out->first[0] = rows->kind == LLAVA_ROWS_FROM ? rows->count : full - rows->count;
    out->last[0] = full - 1;
    out->count = out->first[0] < full ? 1 : 0;
    return true;
}

static size_t rows_listed(const llava_map_rows *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->count; i++) {
        n += rows->last[i] - rows->first[i] + 1;
    }
    return n;
}

/* Lists the rows' indices. */
static size_t *list_rows(const llava_map_rows *rows, llava_error *e)
{
    size_t *list = llava_alloc(e, rows_listed(rows), sizeof *list), n = 0;
    for (size_t i = 0; list != NULL && i < rows->count; i++) {
        for (size_t row = rows->first[i]; row <= rows->last[i]; row++) {
            list[n++] = row;
        }
    }
    return list;
}

/* How many rows the whole tap has. */
static bool full_rows(const llava_layout *layout, const llava_sizes *sizes, llava_sizes_pass pass,
                      size_t *full, llava_error *e)
{
    char letter[4];
    const llava_sizes_at at = {sizes, layout->rule->kind, pass, 0, NULL};
    const llava_map_size size = {.text = letter};
    if (layout->row_axis < 0) {
        return llava_fail(e, "rows: this tap has none");
    }
    axis_letter(layout->rule->kind, layout->row_axis, letter);
    return closed_size_of(&at, &size, full, e) || llava_fail_in(e, "rows");
}

/* given: of all rows that the port has, all cells, or fewer in parts that lack some. */
static bool count_cells(llava_layout *layout, llava_error *e)
{
    const int r = layout->row_axis, last = layout->rank - 1;
    const bool by_rows = layout->parts_count == 1 || layout->rule->join_axis == r;
    if (r < 0 || r == last || !by_rows) {
        return llava_fail(e, "crop: cells that lack are possible only in rows, joined by rows");
    }
    layout->given = llava_alloc(e, layout->shape[r], sizeof *layout->given);
    if (layout->given == NULL) {
        return false;
    }
    for (size_t p = 0; p < layout->parts_count; p++) {
        const llava_layout_part *part = &layout->parts[p];
        const size_t cells = part->to[last] - part->from[last];
        for (size_t i = 0; i < part->extent[r]; i++) {
            layout->given[part->start + i] = cells;
        }
    }
    return true;
}

/* The port's rows go to the rows listed; the others are not given. */
static bool spread_rows(llava_layout *layout, const llava_map_rows *rows, size_t full,
                        llava_error *e)
{
    const int r = layout->row_axis;
    const size_t have = layout->shape[r];
    const size_t all = r < layout->rank - 1 ? layout->shape[layout->rank - 1] : 1;
    size_t *of = list_rows(rows, e);
    size_t *given = of == NULL ? NULL : llava_alloc(e, full, sizeof *given);
    if (given == NULL) {
        free(of);
        return false;
    }
    const size_t listed = rows_listed(rows);
    for (size_t i = 0; i < listed; i++) {
        const size_t in_port = have == full ? of[i] : i;
        given[of[i]] = layout->given == NULL ? all : layout->given[in_port];
    }
    free(layout->given);
    layout->given = given;
    layout->row_of = have == full ? NULL : of;
    if (have == full) {
        free(of);
    }
    layout->shape[r] = full;
    return true;
}

static bool place_rows(llava_layout *layout, const llava_sizes *sizes, llava_sizes_pass pass,
                       llava_error *e)
{
    const llava_map_rows *rows = &layout->rule->rows;
    llava_map_rows listed;
    size_t full;
    if (!full_rows(layout, sizes, pass, &full, e) || !expand_rows(rows, full, &listed, e)) {
        return false;
    }
    const size_t have = layout->shape[layout->row_axis];
    if (have == full && (rows->kind == LLAVA_ROWS_LAST_OR_ALL || rows_listed(&listed) == full)) {
        return true;
    }
    if (have != full && have != rows_listed(&listed)) {
        return llava_fail(e, "rows: the port has %zu; the tap has %zu, and the map names %zu", have,
                          full, rows_listed(&listed));
    }
    return spread_rows(layout, &listed, full, e);
}

/* ---- making one ---- */

/* A first axis of 1, for as many samples as there are. */
static bool repeat(llava_layout *layout, const llava_sizes *sizes, llava_sizes_pass pass,
                   llava_error *e)
{
    const llava_map_rule *rule = layout->rule;
    const llava_array *array = &layout->parts[0].entry->array;
    const llava_sizes_at at = {sizes, rule->kind, pass, array->rank, array->shape};
    size_t times;
    layout->repeats = 1;
    if (!rule->has_repeat) {
        return true;
    }
    if (!closed_size_of(&at, &rule->repeat, &times, e)) {
        return llava_fail_in(e, "repeat");
    }
    if (layout->rank == 0 || layout->row_axis == 0 || times == 0 ||
        (layout->shape[0] != 1 && layout->shape[0] != times)) {
        return times == 0 ? llava_fail(e, "repeat: 0 times")
                          : llava_fail(e, "repeat: the first axis is neither 1 nor %zu", times);
    }
    layout->repeats = layout->shape[0] == 1 ? times : 1;
    layout->shape[0] *= layout->repeats;
    return true;
}

/* Do the elements follow each other as in the file? */
static bool is_direct(const llava_layout *layout)
{
    const llava_layout_part *part = &layout->parts[0];
    bool direct = layout->parts_count == 1 && layout->repeats == 1 && layout->row_of == NULL &&
                  !lacks_cells(part) && !layout->rule->interleaved;
    for (int a = 0; direct && a < part->rank; a++) {
        direct = part->axis[a] == a && part->from[a] == 0 && part->to[a] == part->shape[a];
    }
    return direct;
}

static bool find_factor(llava_layout *layout, const llava_sizes *sizes, llava_sizes_pass pass,
                        llava_error *e)
{
    const llava_map_rule *rule = layout->rule;
    const llava_array *array = &layout->parts[0].entry->array;
    const llava_sizes_at at = {sizes, rule->kind, pass, array->rank, array->shape};
    const llava_map_size base = {.text = rule->scale_base};
    size_t size;
    layout->factor = rule->has_scale ? rule->scale : 1;
    if (rule->scale_base == NULL) {
        return true;
    }
    if (!closed_size_of(&at, &base, &size, e)) {
        return llava_fail_in(e, "scale");
    }
    const bool root = rule->scale_power == 0.5 || rule->scale_power == -0.5;
    const double power = root ? llava_sqrt((double)size) : (double)size;
    if (size == 0) {
        return llava_fail(e, "scale: the size is 0");
    }
    layout->factor *= rule->scale_power < 0 ? 1 / power : power;
    return true;
}

static bool check_permute(const llava_layout *layout, llava_error *e)
{
    char letter[4];
    const int last = layout->rank - 1;
    if (!layout->rule->interleaved) {
        return true;
    }
    if (!axis_letter(layout->rule->kind, last, letter) || strcmp(letter, "d") != 0) {
        return llava_fail(e, "permute: the tap's last axis is not that of a head");
    }
    return layout->shape[last] % 2 == 0 ||
           llava_fail(e, "permute: a head of %zu has no two halves", layout->shape[last]);
}

bool llava_layout_make(llava_layout *layout, const llava_map_rule *rule,
                       const llava_dump_entry *const *entries, size_t n, const llava_sizes *sizes,
                       llava_sizes_pass pass, llava_error *e)
{
    bool lacking = false;
    *layout = (llava_layout){.rule = rule, .row_axis = row_axis(rule->kind), .parts_count = n};
    layout->parts = llava_alloc(e, n, sizeof *layout->parts);
    bool ok = layout->parts != NULL;
    for (size_t p = 0; ok && p < n; p++) {
        ok = make_part(&layout->parts[p], rule, entries[p], sizes, pass, e);
        lacking = lacking || lacks_cells(&layout->parts[p]);
    }
    ok = ok && join(layout, e) && (!lacking || count_cells(layout, e)) &&
         (rule->rows.kind == LLAVA_ROWS_ALL || place_rows(layout, sizes, pass, e)) &&
         repeat(layout, sizes, pass, e) && measure(layout, e) && check_permute(layout, e) &&
         find_factor(layout, sizes, pass, e);
    if (!ok) {
        llava_layout_free(layout);
        return false;
    }
    layout->direct = is_direct(layout);
    return true;
}

bool llava_layout_plain(llava_layout *layout, const llava_dump_entry *entry, llava_error *e)
{
    *layout =
        (llava_layout){.row_axis = -1, .parts_count = 1, .repeats = 1, .factor = 1, .direct = true};
    layout->parts = llava_alloc(e, 1, sizeof *layout->parts);
    if (layout->parts == NULL) {
        return false;
    }
    layout->parts->entry = entry;
    layout->rank = entry->array.rank;
    memcpy(layout->shape, entry->array.shape, sizeof layout->shape);
    layout->count = entry->array.count;
    return true;
}

void llava_layout_free(llava_layout *layout)
{
    free(layout->parts);
    free(layout->row_of);
    free(layout->given);
    *layout = (llava_layout){0};
}

bool llava_layout_given(const llava_layout *layout, size_t row, size_t i)
{
    const int last = layout->rank - 1;
    if (layout->given == NULL) {
        return true;
    }
    if (layout->row_axis == last) {
        return layout->given[i] > 0;
    }
    for (int a = last - 1; a > layout->row_axis; a--) {
        row /= layout->shape[a];
    }
    return i < layout->given[row % layout->shape[layout->row_axis]];
}

/* ---- putting it together ---- */

/* For each axis of a part as it lies in the file: what an index adds to the place of an element in
 * the tap's tensor, or NOWHERE. */
typedef struct {
    size_t *of[LLAVA_ARRAY_RANK];
} places;

static size_t place_on_axis(const llava_layout *layout, const llava_layout_part *part, int tap,
                            size_t index)
{
    if (index < part->from[tap] || index >= part->to[tap]) {
        return NOWHERE;
    }
    size_t at = index - part->from[tap];
    if (layout->rule->interleaved && tap == layout->rank - 1) {
        at = at % 2 * (layout->shape[tap] / 2) + at / 2;
    }
    at += layout->rule->join != NULL && tap == layout->rule->join_axis ? part->start : 0;
    at = layout->row_of != NULL && tap == layout->row_axis ? layout->row_of[at] : at;
    for (int a = tap + 1; a < layout->rank; a++) {
        at *= layout->shape[a];
    }
    return at;
}

static bool make_places(const llava_layout *layout, const llava_layout_part *part, places *p,
                        llava_error *e)
{
    *p = (places){{NULL}};
    for (int a = 0; a < part->rank; a++) {
        p->of[a] = llava_alloc(e, part->shape[a], sizeof **p->of);
        if (p->of[a] == NULL) {
            return false;
        }
        for (size_t i = 0; i < part->shape[a]; i++) {
            p->of[a][i] = place_on_axis(layout, part, part->axis[a], i);
        }
    }
    return true;
}

static void free_places(places *p)
{
    for (int a = 0; a < LLAVA_ARRAY_RANK; a++) {
        free(p->of[a]);
    }
}

/* The next index in the file's order. */
static void step_index(const llava_layout_part *part, size_t *index)
{
    for (int a = part->rank - 1; a >= 0 && ++index[a] == part->shape[a]; a--) {
        index[a] = 0;
    }
}

static size_t place_of(const llava_layout_part *part, const places *p, const size_t *index)
{
    size_t at = 0;
    for (int a = 0; a < part->rank; a++) {
        if (p->of[a][index[a]] == NOWHERE) {
            return NOWHERE;
        }
        at += p->of[a][index[a]];
    }
    return at;
}

static bool load_part(const llava_layout *layout, const llava_layout_part *part, llava_dump *dump,
                      double *values, llava_error *e)
{
    const size_t count = part->entry->array.count;
    size_t index[LLAVA_ARRAY_RANK] = {0};
    places p;
    if (count == 0) {
        return true;
    }
    double *piece = llava_alloc(e, count < PIECE ? count : PIECE, sizeof *piece);
    bool ok = piece != NULL && make_places(layout, part, &p, e);
    for (size_t first = 0; ok && first < count; first += PIECE) {
        const size_t n = count - first < PIECE ? count - first : PIECE;
        ok = llava_dump_read(dump, part->entry, first, n, piece, e);
        for (size_t i = 0; ok && i < n; i++) {
            const size_t at = place_of(part, &p, index);
            if (at != NOWHERE) {
                values[at] = piece[i] * layout->factor;
            }
            step_index(part, index);
        }
    }
    if (piece != NULL) {
        free_places(&p);
    }
    free(piece);
    return ok;
}

bool llava_layout_load(const llava_layout *layout, llava_dump *dump, double *values, llava_error *e)
{
    for (size_t p = 0; p < layout->parts_count; p++) {
        if (!load_part(layout, &layout->parts[p], dump, values, e)) {
            return false;
        }
    }
    const size_t once = layout->count / layout->repeats;
    for (size_t i = 1; i < layout->repeats; i++) {
        memcpy(values + i * once, values, once * sizeof *values);
    }
    return true;
}
