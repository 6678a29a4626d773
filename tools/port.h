/* A port: the dump of another implementation, seen through a name map (docs/maps.md). Its tensors
 * stand here under the names of taps and in the taps' layout, in the order of the flow.
 *
 * Without a map only tensors that are called as a tap is are the port's; everything that no tap and
 * no pattern claims is "extra". */
#ifndef LLAVA_PORT_H
#define LLAVA_PORT_H

#include "ref/taps.h"
#include "tools/dump.h"

typedef struct llava_port llava_port;

typedef struct {
    const char *name;      /* the tap */
    const char *port_name; /* what the port calls it (the first part where several are joined) */
    bool floating;         /* false: integers, booleans, u8 */
    int rank;
    size_t shape[LLAVA_ARRAY_RANK];
    size_t count;
    bool partial; /* some rows or keys were never computed: llava_port_given tells which */
} llava_port_tensor;

/* Opens the dump at path. map: NULL; a JSON file; or, where there is no such file, the name of a
 * map that comes with the program. plan: gives the sizes that a map may name (contract section 2:
 * B S N P T D H h k d V ...); NULL: a map that names one is refused, saying that --model is needed.
 */
bool llava_port_open(llava_port **port, const char *path, const char *map, const llava_plan *plan,
                     llava_error *e);
/* The same, where another dump under tap names stands beside it (diff's EXPECTED): sizes that the
 * plan does not give are read off its shapes. beside NULL: as above. It need not stay open. */
bool llava_port_open_beside(llava_port **port, const char *path, const char *map,
                            const llava_plan *plan, const llava_dump *beside, llava_error *e);
void llava_port_close(llava_port *port);

const char *llava_port_path(const llava_port *port);
size_t llava_port_count(const llava_port *port);
const llava_port_tensor *llava_port_at(const llava_port *port, size_t i);
/* By the tap's name, or NULL. */
const llava_port_tensor *llava_port_find(const llava_port *port, const char *tap);

/* Elements first .. first+n-1 of the tensor in the TAP's C order. What was never computed reads as
 * 0. A tensor as it lies in the dump is read piece by piece; one that a map permutes, cuts or joins
 * is put together whole at the first read and kept until another one is read. */
bool llava_port_read(llava_port *port, const llava_port_tensor *t, size_t first, size_t n,
                     double *values, llava_error *e);
/* The whole tensor in new memory. Integers: only where t->floating is false. */
bool llava_port_load(llava_port *port, const llava_port_tensor *t, double **values, llava_error *e);
bool llava_port_load_integers(llava_port *port, const llava_port_tensor *t, int64_t **values,
                              llava_error *e);
/* Did the port compute element i of this row (all axes but the last, flattened)? Always true unless
 * the tensor is partial. */
bool llava_port_given(const llava_port_tensor *t, size_t row, size_t i);

/* The text of the dump's __meta__, or NULL. */
const char *llava_port_meta(const llava_port *port);
/* The dump's tensors that no tap's name and no pattern claims, in the dump's order. */
size_t llava_port_extra_count(const llava_port *port);
const char *llava_port_extra_at(const llava_port *port, size_t i);

/* What the file holds of this tensor, as it is stored (of the first part where several are joined),
 * before any scale: the port's type is to be measured on these values. */
llava_dump *llava_port_dump(llava_port *port);
const llava_dump_entry *llava_port_stored(const llava_port_tensor *t);

#endif
