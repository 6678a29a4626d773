#include "bounds.h"

#include "ref/taps.h"

#include <math.h>
#include <stdlib.h>

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

llava_dtype llava_narrowest(const double *values, size_t n)
{
    static const llava_dtype types[] = {LLAVA_BF16, LLAVA_F16, LLAVA_F32};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        size_t i = 0;
        while (i < n && (values[i] != values[i] || llava_round(types[t], values[i]) == values[i])) {
            i++;
        }
        if (i == n) {
            return types[t];
        }
    }
    return LLAVA_F64;
}

bool llava_measure_type(llava_dump *dump, const llava_dump_entry *entry, llava_dtype *type,
                        llava_error *e)
{
    size_t n = entry->array.count < 65536 ? entry->array.count : 65536;
    double *values = llava_alloc(e, n, sizeof(double));
    bool ok = values != NULL && llava_dump_read(dump, entry, 0, n, values, e);
    if (ok) {
        *type = llava_narrowest(values, n);
    }
    free(values);
    return ok;
}

/* Rounded operations before a tap: one for each kind of tap that the flow passes, layer by layer;
 * prefill and steps alike. */
static double operations_before(const char *name, size_t tower_layers)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds), operations = 0;
    llava_tap_place place;
    if (!llava_tap_find(name, &place)) {
        return (double)count;
    }
    for (size_t k = 0; k <= place.kind; k++) {
        /* a layered kind in an earlier block has been passed once a layer of the tower */
        bool tower = kinds[k].at == LLAVA_AT_VISION_LAYER;
        bool own = kinds[k].at == kinds[place.kind].at;
        operations += own ? 1 : tower ? tower_layers : 1;
    }
    size_t block = 0;
    for (size_t k = place.block; k < count && kinds[k].at == kinds[place.block].at; k++) {
        block++;
    }
    return (double)(operations + place.layer * block);
}

llava_bound llava_bound_alone(const char *name, size_t width, size_t tower_layers,
                              llava_dtype expected, llava_dtype actual)
{
    double u = llava_unit(expected) + llava_unit(actual);
    double n = operations_before(name, tower_layers);
    bool doubles = expected == LLAVA_F64 && actual == LLAVA_F64;
    double l2 = 4 * u * sqrt(n) + (doubles ? 0 : 0x1p-24 * sqrt(n * (double)width));
    return (llava_bound){l2, 8 * l2};
}
