#include "tools/port.h"

#include "tools/layout.h"
#include "tools/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More tensors than this from one map are refused. */
#define MOST_MATCHES ((size_t)1 << 20)

/* One tensor of the port. */
typedef struct {
    llava_port_tensor shown; /* first, so that a tensor given out is the item itself */
    char name[LLAVA_TAP_NAME];
    llava_tap_place place;
    llava_layout layout;
} item;

/* A tensor of the dump, and which use of a repeated name it is. */
typedef struct {
    const llava_dump_entry *entry;
    size_t base;      /* characters of the name without "#2" */
    size_t use, uses; /* counted from 0; of how many */
    bool claimed;     /* by a pattern */
} source;

/* A tensor that a rule takes. */
typedef struct {
    const llava_map_rule *rule;
    const llava_dump_entry *entry;
    size_t part;
    llava_sizes_pass pass;
    char tap[LLAVA_TAP_NAME];
} match;

struct llava_port {
    llava_dump *dump;
    llava_map map;
    item *items; /* in the order of the flow */
    size_t count;
    llava_named *names;
    const char **extra;
    size_t extra_count;
    const item *whole_of; /* the tensor that was put together last */
    double *whole;
};

/* While it is opened. */
typedef struct {
    llava_port *port;
    llava_sizes sizes;
    source *sources;
    size_t sources_count;
    match *matches;
    size_t matches_count, room;
} opening;

static bool is_floating(const llava_array *array)
{
    return array->kind == 'f' || array->kind == 'B';
}

/* ---- repeated names ---- */

/* "NAME#2" is use 2 of NAME, plain NAME use 0. */
static void split_use(source *s)
{
    const char *name = s->entry->name, *mark = strrchr(name, '#');
    s->base = strlen(name);
    s->uses = 1;
    if (mark == NULL || mark == name) {
        return;
    }
    const size_t digits = strspn(mark + 1, "0123456789");
    if (digits > 0 && digits <= 9 && mark[1 + digits] == '\0') {
        s->base = (size_t)(mark - name);
        s->use = (size_t)strtoul(mark + 1, NULL, 10);
    }
}

static int by_base_and_use(const void *a, const void *b)
{
    const source *x = *(source *const *)a, *y = *(source *const *)b;
    const size_t n = x->base < y->base ? x->base : y->base;
    const int order = memcmp(x->entry->name, y->entry->name, n);
    return order != 0           ? order
           : x->base != y->base ? (x->base < y->base ? -1 : 1)
                                : (x->use > y->use) - (x->use < y->use);
}

/* Every source's uses: the highest one's number, plus 1. */
static bool count_uses(opening *o, llava_error *e)
{
    source **sorted = llava_alloc(e, o->sources_count, sizeof(source *));
    if (sorted == NULL) {
        return false;
    }
    for (size_t i = 0; i < o->sources_count; i++) {
        sorted[i] = &o->sources[i];
    }
    qsort(sorted, o->sources_count, sizeof(source *), by_base_and_use);
    for (size_t i = o->sources_count; i-- > 0;) {
        const source *next = i + 1 < o->sources_count ? sorted[i + 1] : NULL;
        const bool same = next != NULL && next->base == sorted[i]->base &&
                          memcmp(next->entry->name, sorted[i]->entry->name, next->base) == 0;
        sorted[i]->uses = same ? next->uses : sorted[i]->use + 1;
    }
    free(sorted);
    return true;
}

static bool list_sources(opening *o, llava_error *e)
{
    o->sources_count = llava_dump_count(o->port->dump);
    o->sources = llava_alloc(e, o->sources_count, sizeof *o->sources);
    if (o->sources == NULL) {
        return false;
    }
    for (size_t i = 0; i < o->sources_count; i++) {
        o->sources[i].entry = llava_dump_at(o->port->dump, i);
        split_use(&o->sources[i]);
    }
    return count_uses(o, e);
}

/* ---- which rule takes which tensor ---- */

/* Behind "step.G.", for which the rules of the prefill hold as well; 0: it is no such name. */
static size_t behind_step(const char *name)
{
    const size_t digits = strncmp(name, "step.", 5) == 0 ? strspn(name + 5, "0123456789") : 0;
    return digits > 0 && digits <= 9 && name[5 + digits] == '.' ? 5 + digits + 1 : 0;
}

/* Does the rule take this tensor? Then *found tells the tap. False with *wrong: the rule gives no
 * tap for it. */
static bool rule_takes(const llava_map_rule *rule, const source *s, match *found, bool *wrong)
{
    const char *name = s->entry->name;
    size_t n = strlen(name);
    llava_map_captures captures;
    char tap[LLAVA_TAP_NAME];
    llava_tap_place place;
    *wrong = false;
    if (rule->has_use) {
        const int64_t use = rule->use < 0 ? (int64_t)s->uses + rule->use : rule->use;
        n = s->base;
        if (use != (int64_t)s->use) {
            return false;
        }
    }
    /* Where the pattern does not speak of steps itself, it holds for what is behind "step.G.". */
    const size_t step = strncmp(rule->pattern, "step.", 5) == 0 ? 0 : behind_step(name);
    if (n > LLAVA_MAP_NAME || step >= n ||
        !llava_map_matches(rule->pattern, name + step, n - step, &captures)) {
        return false;
    }
    *found = (match){.rule = rule, .entry = s->entry};
    if (rule->join != NULL) {
        llava_map_captured(&captures, rule->join, strlen(rule->join), &found->part);
    }
    const bool named = llava_map_tap(rule->tap, &captures, tap) &&
                       (size_t)snprintf(found->tap, sizeof found->tap, "%.*s%s", (int)step, name,
                                        tap) < sizeof found->tap &&
                       llava_tap_find(found->tap, &place);
    if (named) {
        const bool decoding = strncmp(found->tap, "step.", 5) == 0;
        found->pass = (llava_sizes_pass){decoding ? place.step : 0, place.layer};
    }
    *wrong = step == 0 && !named;
    return named;
}

static bool add_match(opening *o, const match *found, llava_error *e)
{
    if (o->matches_count == o->room) {
        const size_t room = o->room == 0 ? 256 : 2 * o->room;
        if (room > MOST_MATCHES) {
            return llava_fail(e, "%s: the map takes more than %zu tensors", o->port->map.name,
                              MOST_MATCHES);
        }
        match *grown = llava_realloc(e, o->matches, room, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        o->matches = grown;
        o->room = room;
    }
    o->matches[o->matches_count++] = *found;
    return true;
}

/* The tensors that one rule takes. */
static bool match_rule(opening *o, const llava_map_rule *rule, llava_error *e)
{
    const size_t before = o->matches_count;
    for (size_t i = 0; i < o->sources_count; i++) {
        match found;
        bool wrong;
        if (rule_takes(rule, &o->sources[i], &found, &wrong)) {
            o->sources[i].claimed = true;
            if (!add_match(o, &found, e)) {
                return false;
            }
        } else if (wrong) {
            char shown[LLAVA_SHOWN];
            const char *name = o->sources[i].entry->name;
            llava_fail(e, "gives no tap for %s", llava_shown(shown, name, strlen(name)));
            const llava_error inner = *e;
            return llava_map_fail(&o->port->map, rule, inner.text, e);
        }
    }
    return rule->optional || o->matches_count > before ||
           llava_map_fail(&o->port->map, rule, "matches no tensor of the dump", e);
}

static int by_tap(const void *a, const void *b)
{
    const match *x = a, *y = b;
    const int order = strcmp(x->tap, y->tap);
    return order != 0           ? order
           : x->rule != y->rule ? (x->rule < y->rule ? -1 : 1)
                                : (x->part > y->part) - (x->part < y->part);
}

static bool match_rules(opening *o, llava_error *e)
{
    const llava_map *map = &o->port->map;
    for (size_t r = 0; r < map->count; r++) {
        if (!match_rule(o, &map->rules[r], e)) {
            return false;
        }
    }
    if (map->count > 0 && o->matches_count == 0) {
        return llava_fail(e, "%s: no pattern matches any tensor of %s", map->name,
                          llava_dump_path(o->port->dump));
    }
    if (o->matches_count > 0) {
        qsort(o->matches, o->matches_count, sizeof *o->matches, by_tap);
    }
    return true;
}

/* ---- the tensors ---- */

static bool fail_twice(const opening *o, const char *tap, const char *a, const char *b,
                       const char *why, llava_error *e)
{
    char first[LLAVA_SHOWN], second[LLAVA_SHOWN];
    return llava_fail(e, "%s: %s give the tap %s: %s and %s", o->port->map.name, why, tap,
                      llava_shown(first, a, strlen(a)), llava_shown(second, b, strlen(b)));
}

/* Are these the parts of one tensor: one rule's, without a gap? */
static bool check_parts(const opening *o, const match *parts, size_t n, llava_error *e)
{
    for (size_t i = 1; i < n; i++) {
        const match *a = &parts[i - 1], *b = &parts[i];
        if (a->rule != b->rule) {
            return fail_twice(o, a->tap, a->rule->pattern, b->rule->pattern, "two patterns", e);
        }
        if (a->rule->join == NULL || a->part == b->part) {
            return fail_twice(o, a->tap, a->entry->name, b->entry->name, "two tensors", e);
        }
        if (a->part + 1 != b->part) {
            llava_fail(e, "join: of %s, part %zu is missing", a->tap, a->part + 1);
            const llava_error inner = *e;
            return llava_map_fail(&o->port->map, a->rule, inner.text, e);
        }
    }
    return true;
}

/* Fills in what is shown of a tensor whose layout is made. */
static void show(item *it, const char *tap)
{
    const llava_layout *layout = &it->layout;
    snprintf(it->name, sizeof it->name, "%s", tap);
    it->shown.port_name = layout->parts[0].entry->name;
    it->shown.floating = layout->rule != NULL && layout->rule->has_scale;
    for (size_t p = 0; p < layout->parts_count; p++) {
        it->shown.floating = it->shown.floating || is_floating(&layout->parts[p].entry->array);
    }
    it->shown.rank = layout->rank;
    memcpy(it->shown.shape, layout->shape, sizeof it->shown.shape);
    it->shown.count = layout->count;
    it->shown.partial = layout->given != NULL;
    llava_tap_find(tap, &it->place);
}

static bool add_mapped(opening *o, const match *parts, size_t n, llava_error *e)
{
    llava_port *port = o->port;
    const llava_dump_entry **entries = llava_alloc(e, n, sizeof(llava_dump_entry *));
    if (entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        entries[i] = parts[i].entry;
    }
    item *it = &port->items[port->count];
    const bool made =
        llava_layout_make(&it->layout, parts->rule, entries, n, &o->sizes, parts->pass, e);
    free(entries);
    if (!made) {
        const llava_error inner = *e;
        return llava_map_fail(&port->map, parts->rule, inner.text, e);
    }
    port->count++;
    show(it, parts->tap);
    llava_sizes_learn(&o->sizes, it->name, it->shown.rank, it->shown.shape);
    return true;
}

/* Rows, cropping and repeats need to know how large the whole is, so they come in a second round,
 * when the other tensors have told. */
static bool add_round(opening *o, bool second, llava_error *e)
{
    for (size_t i = 0, n; i < o->matches_count; i += n) {
        const match *first = &o->matches[i];
        const bool needs = first->rule->has_crop || first->rule->has_repeat ||
                           first->rule->rows.kind != LLAVA_ROWS_ALL;
        for (n = 1; i + n < o->matches_count && strcmp(first->tap, first[n].tap) == 0;) {
            n++;
        }
        if (!check_parts(o, first, n, e) || (needs == second && !add_mapped(o, first, n, e))) {
            return false;
        }
    }
    return true;
}

/* The tensors that no pattern claims: those called as a tap is, and the rest. */
static bool add_plain(opening *o, llava_error *e)
{
    llava_port *port = o->port;
    for (size_t i = 0; i < o->sources_count; i++) {
        const llava_dump_entry *entry = o->sources[i].entry;
        llava_tap_place place;
        if (o->sources[i].claimed) {
            continue;
        }
        if (!llava_tap_find(entry->name, &place)) {
            port->extra[port->extra_count++] = entry->name;
            continue;
        }
        item *it = &port->items[port->count];
        if (!llava_layout_plain(&it->layout, entry, e)) {
            return false;
        }
        port->count++;
        show(it, entry->name);
        llava_sizes_learn(&o->sizes, entry->name, entry->array.rank, entry->array.shape);
    }
    return true;
}

static int by_place(const void *a, const void *b)
{
    return llava_tap_compare(&((const item *)a)->place, &((const item *)b)->place);
}

/* Brings the tensors into the order of the flow, and their names into that of names. */
static bool sort_items(opening *o, llava_error *e)
{
    llava_port *port = o->port;
    qsort(port->items, port->count, sizeof *port->items, by_place);
    port->names = llava_alloc(e, port->count, sizeof *port->names);
    if (port->names == NULL) {
        return false;
    }
    for (size_t i = 0; i < port->count; i++) {
        port->items[i].shown.name = port->items[i].name;
        port->names[i] = (llava_named){port->items[i].name, i};
        if (i > 0 && strcmp(port->items[i - 1].name, port->items[i].name) == 0) {
            return fail_twice(o, port->items[i].name, port->items[i - 1].shown.port_name,
                              port->items[i].shown.port_name, "two tensors", e);
        }
    }
    llava_names_sort(port->names, port->count);
    return true;
}

static bool fill(opening *o, const llava_dump *beside, llava_error *e)
{
    llava_port *port = o->port;
    size_t room;
    if (!list_sources(o, e) || !match_rules(o, e)) {
        return false;
    }
    port->extra = llava_alloc(e, o->sources_count, sizeof *port->extra);
    if (port->extra == NULL || !llava_add(o->sources_count, o->matches_count, &room) ||
        (port->items = llava_alloc(e, room, sizeof *port->items)) == NULL || !add_plain(o, e)) {
        return false;
    }
    for (size_t i = 0; beside != NULL && i < llava_dump_count(beside); i++) {
        const llava_dump_entry *entry = llava_dump_at(beside, i);
        llava_sizes_learn(&o->sizes, entry->name, entry->array.rank, entry->array.shape);
    }
    return add_round(o, false, e) && add_round(o, true, e) && sort_items(o, e);
}

bool llava_port_open_beside(llava_port **port, const char *path, const char *map,
                            const llava_plan *plan, const llava_dump *beside, llava_error *e)
{
    opening o = {.port = llava_alloc(e, 1, sizeof **port)};
    if (o.port == NULL) {
        return false;
    }
    llava_sizes_from_plan(&o.sizes, plan);
    const bool opened = (map == NULL || llava_map_read(&o.port->map, map, e)) &&
                        llava_dump_open(&o.port->dump, path, e) && fill(&o, beside, e);
    free(o.sources);
    free(o.matches);
    if (!opened) {
        llava_port_close(o.port);
        return false;
    }
    *port = o.port;
    return true;
}

bool llava_port_open(llava_port **port, const char *path, const char *map, const llava_plan *plan,
                     llava_error *e)
{
    return llava_port_open_beside(port, path, map, plan, NULL, e);
}

void llava_port_close(llava_port *port)
{
    if (port == NULL) {
        return;
    }
    for (size_t i = 0; i < port->count; i++) {
        llava_layout_free(&port->items[i].layout);
    }
    llava_dump_close(port->dump);
    llava_map_free(&port->map);
    free(port->whole);
    free(port->items);
    free(port->names);
    free(port->extra);
    free(port);
}

const char *llava_port_path(const llava_port *port)
{
    return llava_dump_path(port->dump);
}

size_t llava_port_count(const llava_port *port)
{
    return port->count;
}

const llava_port_tensor *llava_port_at(const llava_port *port, size_t i)
{
    return &port->items[i].shown;
}

const llava_port_tensor *llava_port_find(const llava_port *port, const char *tap)
{
    const llava_named *found = llava_names_find(port->names, port->count, tap);
    return found == NULL ? NULL : &port->items[found->index].shown;
}

static const item *item_of(const llava_port_tensor *t)
{
    return (const item *)(const void *)t;
}

static void scale(double *values, size_t n, double factor)
{
    for (size_t i = 0; factor != 1 && i < n; i++) {
        values[i] *= factor;
    }
}

/* The whole of a tensor that does not lie in the file as it is. */
static bool put_together(llava_port *port, const item *it, double **values, llava_error *e)
{
    *values = llava_alloc(e, it->layout.count, sizeof **values);
    if (*values != NULL && llava_layout_load(&it->layout, port->dump, *values, e)) {
        return true;
    }
    free(*values);
    *values = NULL;
    return false;
}

bool llava_port_read(llava_port *port, const llava_port_tensor *t, size_t first, size_t n,
                     double *values, llava_error *e)
{
    const item *it = item_of(t);
    if (it->layout.direct) {
        const bool read =
            llava_dump_read(port->dump, it->layout.parts[0].entry, first, n, values, e);
        scale(values, read ? n : 0, it->layout.factor);
        return read;
    }
    if (first > t->count || n > t->count - first) {
        return llava_fail(e, "%s: %s: elements beyond the end", llava_port_path(port), t->name);
    }
    if (port->whole_of != it) {
        free(port->whole);
        port->whole_of = NULL;
        port->whole = NULL;
        if (!put_together(port, it, &port->whole, e)) {
            return false;
        }
        port->whole_of = it;
    }
    memcpy(values, port->whole + first, n * sizeof *values);
    return true;
}

bool llava_port_load(llava_port *port, const llava_port_tensor *t, double **values, llava_error *e)
{
    const item *it = item_of(t);
    if (!it->layout.direct) {
        return put_together(port, it, values, e);
    }
    const bool loaded = llava_dump_load(port->dump, it->layout.parts[0].entry, values, e);
    if (loaded) {
        scale(*values, t->count, it->layout.factor);
    }
    return loaded;
}

bool llava_port_load_integers(llava_port *port, const llava_port_tensor *t, int64_t **values,
                              llava_error *e)
{
    const item *it = item_of(t);
    double *numbers;
    if (t->floating) {
        return llava_fail(e, "%s: %s: holds no integers", llava_port_path(port), t->name);
    }
    if (it->layout.direct) {
        return llava_dump_load_integers(port->dump, it->layout.parts[0].entry, values, e);
    }
    if (!put_together(port, it, &numbers, e)) {
        return false;
    }
    *values = llava_alloc(e, t->count, sizeof **values);
    for (size_t i = 0; *values != NULL && i < t->count; i++) {
        (*values)[i] = (int64_t)numbers[i]; /* below 2^53: nothing is lost */
    }
    free(numbers);
    return *values != NULL;
}

bool llava_port_given(const llava_port_tensor *t, size_t row, size_t i)
{
    return llava_layout_given(&item_of(t)->layout, row, i);
}

const char *llava_port_meta(const llava_port *port)
{
    return llava_dump_meta(port->dump);
}

size_t llava_port_extra_count(const llava_port *port)
{
    return port->extra_count;
}

const char *llava_port_extra_at(const llava_port *port, size_t i)
{
    return port->extra[i];
}

llava_dump *llava_port_dump(llava_port *port)
{
    return port->dump;
}

const llava_dump_entry *llava_port_stored(const llava_port_tensor *t)
{
    return item_of(t)->layout.parts[0].entry;
}
