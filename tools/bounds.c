#include "bounds.h"

#include "ref/taps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double llava_unit(llava_dtype type)
{
    switch (type) {
    case LLAVA_F32:
        return 0x1p-24;
    case LLAVA_F16:
        return 0x1p-11;
    case LLAVA_BF16:
        return 0x1p-8;
    default:
        return 0x1p-53;
    }
}

static const llava_dtype narrow_types[] = {LLAVA_BF16, LLAVA_F16, LLAVA_F32};

/* Does it need more than four significant bits? Zeros, ones and small multiples of a power of two
 * fit every type and tell of none. */
static bool is_generic(double x)
{
    int exponent;
    double scaled = 16 * frexp(x, &exponent);
    return isfinite(x) && scaled != floor(scaled);
}

void llava_probe_add(llava_type_probe *probe, const double *values, size_t n)
{
    for (size_t i = 0; i < n && !probe->tells; i++) {
        probe->tells = is_generic(values[i]);
    }
    for (size_t t = 0; t < 3; t++) {
        llava_dtype type = narrow_types[t];
        for (size_t i = 0; i < n && !probe->too_narrow[t]; i++) {
            double x = values[i];
            probe->too_narrow[t] = x == x && llava_round(type, x) != x;
        }
    }
}

llava_dtype llava_probe_type(const llava_type_probe *probe)
{
    size_t t = 0;
    while (t < 3 && probe->too_narrow[t]) {
        t++;
    }
    return t < 3 ? narrow_types[t] : LLAVA_F64;
}

llava_dtype llava_narrowest(const double *values, size_t n)
{
    llava_type_probe probe = {.tells = false};
    llava_probe_add(&probe, values, n);
    return llava_probe_type(&probe);
}

/* The type that a file stores a tensor in; integers are exact numbers. */
static llava_dtype stored_type(const llava_array *array)
{
    bool narrow = array->kind == 'f' || array->kind == 'B';
    return !narrow || array->size == 8 ? LLAVA_F64
           : array->size == 4          ? LLAVA_F32
           : array->kind == 'f'        ? LLAVA_F16
                                       : LLAVA_BF16;
}

bool llava_measure_type(llava_dump *dump, const llava_dump_entry *entry, llava_dtype *type,
                        llava_error *e)
{
    size_t n = entry->array.count < 65536 ? entry->array.count : 65536;
    llava_type_probe probe = {.tells = false};
    double *values = llava_alloc(e, n, sizeof(double));
    bool ok = values != NULL && llava_dump_read(dump, entry, 0, n, values, e);
    if (ok) {
        llava_probe_add(&probe, values, n);
        *type = probe.tells ? llava_probe_type(&probe) : stored_type(&entry->array);
    }
    free(values);
    return ok;
}

static bool probe_port(llava_port *port, const llava_port_tensor *tensor, llava_type_probe *probe,
                       llava_error *e)
{
    size_t n = tensor->count < 65536 ? tensor->count : 65536;
    double *values = llava_alloc(e, n, sizeof(double));
    bool ok = values != NULL && llava_port_read(port, tensor, 0, n, values, e);
    *probe = (llava_type_probe){.tells = false};
    if (ok) {
        llava_probe_add(probe, values, n);
    }
    free(values);
    return ok;
}

bool llava_measure_port_type(llava_port *port, const llava_port_tensor *tensor, llava_dtype *type,
                             llava_error *e)
{
    llava_type_probe probe;
    bool ok = probe_port(port, tensor, &probe, e);
    *type = llava_probe_type(&probe);
    return ok;
}

int llava_part_of_tap(const char *name)
{
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    llava_tap_place place;
    if (!llava_tap_find(name, &place) || kinds[place.kind].at <= LLAVA_AT_INPUT) {
        return -1;
    }
    return kinds[place.kind].at > LLAVA_AT_PROJECTOR;
}

static bool is_table(const char *name)
{
    return strstr(name, ".probs") != NULL || strstr(name, ".rope.") != NULL;
}

bool llava_count_votes(llava_port *port, llava_port_votes *votes, llava_error *e)
{
    *votes = (llava_port_votes){0};
    for (size_t i = 0; i < llava_port_count(port); i++) {
        const llava_port_tensor *t = llava_port_at(port, i);
        int part = llava_part_of_tap(t->name);
        llava_type_probe probe;
        if (part < 0 || !t->floating || t->count == 0) {
            continue;
        }
        if (!probe_port(port, t, &probe, e)) {
            return false;
        }
        /* the loss is float32 in every port */
        if (!probe.tells || strcmp(t->name, "loss") == 0) {
            votes->silent[part]++;
            continue;
        }
        llava_dtype type = llava_probe_type(&probe);
        if (is_table(t->name)) {
            votes->of_tables[part][type]++;
            votes->tables++;
            votes->narrow_tables += type != LLAVA_F64;
        } else {
            votes->votes[part][type]++;
        }
    }
    return true;
}

/* False: there are none. */
static bool most_of(const size_t votes[2][LLAVA_BF16 + 1], int part, llava_dtype *most)
{
    size_t best = 0;
    for (llava_dtype t = LLAVA_F64; t <= LLAVA_BF16; t++) {
        size_t n = part == 2 ? votes[0][t] + votes[1][t] : votes[part][t];
        *most = n > best ? t : *most;
        best = n > best ? n : best;
    }
    return best > 0;
}

llava_dtype llava_most_votes(const llava_port_votes *v, int part)
{
    bool silent = part == 2 ? v->silent[0] + v->silent[1] > 0 : v->silent[part] > 0;
    llava_dtype most = silent ? LLAVA_F32 : LLAVA_F64;
    if (!most_of(v->votes, part, &most)) {
        most_of(v->of_tables, part, &most);
    }
    return most;
}

bool llava_votes_for_islands(const llava_port_votes *v)
{
    return v->tables > 0 && v->narrow_tables == v->tables;
}

bool llava_port_type_known(llava_port *port, int part, llava_dtype types[2], bool *known,
                           llava_error *e)
{
    for (size_t i = 0; i < llava_port_count(port); i++) {
        const llava_port_tensor *t = llava_port_at(port, i);
        int of = llava_part_of_tap(t->name);
        if (t->floating && t->count > 0 && of >= 0 && (part == 2 || part == of)) {
            *known = true;
            return true;
        }
    }
    char *said;
    *known = false;
    if (!llava_dump_meta_string(llava_port_path(port), llava_port_meta(port), "dtype", &said, e)) {
        return false;
    }
    for (llava_dtype t = LLAVA_F64; said != NULL && t <= LLAVA_BF16; t++) {
        if (strcmp(said, llava_dtype_name(t)) == 0) {
            types[0] = types[1] = t;
            *known = true;
        }
    }
    free(said);
    return true;
}

/* Rounded operations before a tap: one for each kind of tap that the flow passes, layer by layer;
 * prefill and steps alike. */
static double operations_before(const char *name, const llava_tower_seen *tower)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds), operations = 0;
    llava_tap_place place;
    if (!llava_tap_find(name, &place)) {
        return (double)count;
    }
    for (size_t k = 0; k <= place.kind; k++) {
        /* a layered kind in an earlier block has been passed once a layer of the tower */
        bool layered = kinds[k].at == LLAVA_AT_VISION_LAYER;
        bool own = kinds[k].at == kinds[place.kind].at;
        size_t times = own || !layered ? 1 : tower->layers;
        operations += llava_tap_of_tower(&kinds[k], tower->kind) ? times : 0;
    }
    size_t block = 0;
    for (size_t k = place.block; k < count && kinds[k].at == kinds[place.block].at; k++) {
        block += llava_tap_of_tower(&kinds[k], tower->kind);
    }
    return (double)(operations + place.layer * block);
}

void llava_tower_see(llava_tower_seen *tower, const llava_tap_place *place)
{
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    const llava_tap_kind *kind = &kinds[place->kind];
    if (!llava_tap_of_tower(kind, tower->kind)) {
        tower->kind = LLAVA_TOWER_PIXTRAL; /* the one with taps that CLIP has not */
    }
    if (kind->at == LLAVA_AT_VISION_LAYER && place->layer >= tower->layers) {
        tower->layers = place->layer + 1;
    }
}

llava_bound llava_bound_alone(const char *name, size_t width, const llava_tower_seen *tower,
                              llava_dtype expected, llava_dtype actual)
{
    double u = llava_unit(expected) + llava_unit(actual);
    double n = operations_before(name, tower);
    bool doubles = expected == LLAVA_F64 && actual == LLAVA_F64;
    double l2 = 4 * u * sqrt(n) + (doubles ? 0 : 0x1p-24 * sqrt(n * (double)width));
    return (llava_bound){l2, 8 * l2};
}
