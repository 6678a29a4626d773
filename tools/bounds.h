/* How far an honest port may be from the truth: docs/tolerances.md derives what stands here. */
#ifndef LLAVA_BOUNDS_H
#define LLAVA_BOUNDS_H

#include "ref/number.h"
#include "tools/dump.h"
#include "tools/port.h"

/* Unit roundoff: half the distance from 1 to the next number. */
double llava_unit(llava_dtype type);

/* The narrowest floating type that holds every one of these values: what a tensor was really
 * computed in, whatever the file calls it. NaN and infinities fit every type. */
llava_dtype llava_narrowest(const double *values, size_t n);

/* The same piece by piece; begins as {{0}}. */
typedef struct {
    bool too_narrow[3]; /* bfloat16, float16, float32 */
    bool tells;         /* some value has bits enough to tell types apart by */
} llava_type_probe;

void llava_probe_add(llava_type_probe *probe, const double *values, size_t n);
llava_dtype llava_probe_type(const llava_type_probe *probe);

/* The same for a dump's tensor, from at most 65536 of its elements. */
bool llava_measure_type(llava_dump *dump, const llava_dump_entry *entry, llava_dtype *type,
                        llava_error *e);

/* And for a port's tensor. */
bool llava_measure_port_type(llava_port *port, const llava_port_tensor *tensor, llava_dtype *type,
                             llava_error *e);

/* Which part of the model a tap is of: 0 the tower and the projector, 1 the language model; -1:
 * what goes in, and names that are no taps. */
int llava_part_of_tap(const char *name);

/* What a port's tensors carry: how many of each type there are in the tower and projector [0] and
 * in the language model [1]. A single tensor that is narrower than the rest is no excuse for
 * itself, so most votes count. A tensor of zeros, ones and the like fits every type and has no
 * vote, nor has the loss, which is float32 in every port. Probabilities and rotary tables have none
 * beside others: they are counted apart, and those that float32 holds: in a wider port they show
 * transformers' float32 islands. */
typedef struct {
    size_t votes[2][LLAVA_BF16 + 1], of_tables[2][LLAVA_BF16 + 1];
    size_t silent[2]; /* without a vote */
    size_t tables, narrow_tables;
} llava_port_votes;

bool llava_count_votes(llava_port *port, llava_port_votes *votes, llava_error *e);

/* The type with the most votes in a part; where there are none, that of most probabilities and
 * rotary tables (float32 tables may be a float64 port's: they get the units of the coarser);
 * float32 if some tensor is there that every type holds; else float64. part 2: both together. */
llava_dtype llava_most_votes(const llava_port_votes *votes, int part);

/* Are all its tables float32 numbers, and are there any? */
bool llava_votes_for_islands(const llava_port_votes *votes);

/* Is the type of this part known (2: of either)? By its floating tensors, or else by what the
 * dump's __meta__ says, which then goes into both types. */
bool llava_port_type_known(llava_port *port, int part, llava_dtype types[2], bool *known,
                           llava_error *e);

typedef struct {
    double l2;  /* of |d|_2 / |expected|_2 */
    double max; /* of max |d| / max |expected| of the row */
} llava_bound;

/* The tower that a dump's names show: begins as all zeros, CLIP's kind without layers. */
typedef struct {
    llava_tower kind; /* LLAVA_TOWER_PIXTRAL where a tap is there that only Pixtral has */
    size_t layers;
} llava_tower_seen;

/* Notes what the place of one tap shows. */
void llava_tower_see(llava_tower_seen *tower, const llava_tap_place *place);

/* The bound of a tap from its place in the flow, its width and the two types alone:
 *     l2 = 4 u sqrt(n) + 2^-24 sqrt(n width),  max = 8 l2
 * u the sum of both unit roundoffs, n the number of rounded operations that lead to the tap: errors
 * of independent roundings add in squares. The second term is for sums kept in float32, and absent
 * between two float64 tensors. tower: in front of the language model. */
llava_bound llava_bound_alone(const char *name, size_t width, const llava_tower_seen *tower,
                              llava_dtype expected, llava_dtype actual);

#endif
