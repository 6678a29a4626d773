#include "tools/port.h"

#include "tools/names.h"

#include <stdlib.h>
#include <string.h>

/* One tensor of the port. */
typedef struct {
    llava_port_tensor shown; /* first, so that a tensor given out is the item itself */
    llava_tap_place place;
    const llava_dump_entry *stored;
} item;

struct llava_port {
    llava_dump *dump;
    item *items; /* in the order of the flow */
    size_t count;
    llava_named *names;
    const char **extra;
    size_t extra_count;
};

static bool is_floating(const llava_array *array)
{
    return array->kind == 'f' || array->kind == 'B';
}

static int by_place(const void *a, const void *b)
{
    return llava_tap_compare(&((const item *)a)->place, &((const item *)b)->place);
}

/* A tensor that is called as a tap is. */
static void add_plain(llava_port *port, const llava_dump_entry *entry, const llava_tap_place *place)
{
    item *it = &port->items[port->count++];
    it->place = *place;
    it->stored = entry;
    it->shown.name = it->shown.port_name = entry->name;
    it->shown.floating = is_floating(&entry->array);
    it->shown.rank = entry->array.rank;
    memcpy(it->shown.shape, entry->array.shape, sizeof it->shown.shape);
    it->shown.count = entry->array.count;
}

static bool fill(llava_port *port, llava_error *e)
{
    const size_t entries = llava_dump_count(port->dump);
    port->items = llava_alloc(e, entries, sizeof *port->items);
    port->names = llava_alloc(e, entries, sizeof *port->names);
    port->extra = llava_alloc(e, entries, sizeof *port->extra);
    if (port->items == NULL || port->names == NULL || port->extra == NULL) {
        return false;
    }
    for (size_t i = 0; i < entries; i++) {
        const llava_dump_entry *entry = llava_dump_at(port->dump, i);
        llava_tap_place place;
        if (llava_tap_find(entry->name, &place)) {
            add_plain(port, entry, &place);
        } else {
            port->extra[port->extra_count++] = entry->name;
        }
    }
    qsort(port->items, port->count, sizeof *port->items, by_place);
    for (size_t i = 0; i < port->count; i++) {
        port->names[i] = (llava_named){port->items[i].shown.name, i};
    }
    llava_names_sort(port->names, port->count);
    return true;
}

bool llava_port_open_beside(llava_port **port, const char *path, const char *map,
                            const llava_plan *plan, const llava_dump *beside, llava_error *e)
{
    (void)plan;
    (void)beside;
    if (map != NULL) {
        return llava_fail(e, "%s: name maps are not there yet", map);
    }
    *port = llava_alloc(e, 1, sizeof **port);
    if (*port == NULL) {
        return false;
    }
    if (!llava_dump_open(&(*port)->dump, path, e) || !fill(*port, e)) {
        llava_port_close(*port);
        *port = NULL;
        return false;
    }
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
    llava_dump_close(port->dump);
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

bool llava_port_read(llava_port *port, const llava_port_tensor *t, size_t first, size_t n,
                     double *values, llava_error *e)
{
    return llava_dump_read(port->dump, llava_port_stored(t), first, n, values, e);
}

bool llava_port_load(llava_port *port, const llava_port_tensor *t, double **values, llava_error *e)
{
    return llava_dump_load(port->dump, llava_port_stored(t), values, e);
}

bool llava_port_load_integers(llava_port *port, const llava_port_tensor *t, int64_t **values,
                              llava_error *e)
{
    return llava_dump_load_integers(port->dump, llava_port_stored(t), values, e);
}

bool llava_port_given(const llava_port_tensor *t, size_t row, size_t i)
{
    (void)row;
    (void)i;
    return !t->partial;
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
    return ((const item *)(const void *)t)->stored;
}
