/* Name maps: every key does what docs/maps.md says, and everything else is refused. */
#include "memory.h"
#include "support.h"

#include "tools/dump_writer.h"
#include "tools/map.h"
#include "tools/port.h"
#include "tools/sizes.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static support_folder folder;

static int set_up(void **state)
{
    (void)state;
    folder = support_folder_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    support_folder_remove(&folder);
    return 0;
}

/* ---- dumps and maps made by hand ---- */

/* A tensor whose element i is first + i. */
typedef struct {
    const char *name;
    llava_dtype type;
    int rank;
    size_t shape[LLAVA_MAX_RANK];
    double first;
} tensor;

enum { MOST = 1024 };

static void put(llava_dump_writer *writer, const tensor *t, llava_error *e)
{
    double values[MOST];
    int64_t integers[MOST];
    llava_tap tap = {.name = t->name, .dtype = t->type, .rank = t->rank};
    memcpy(tap.shape, t->shape, sizeof tap.shape);
    const size_t n = llava_tap_count(&tap);
    assert_true(n <= MOST);
    for (size_t i = 0; i < n; i++) {
        values[i] = t->first + (double)i;
        integers[i] = (int64_t)t->first + (int64_t)i;
    }
    tap.data = t->type == LLAVA_I64 ? (void *)integers : (void *)values;
    if (!llava_dump_writer_put(writer, &tap, e)) {
        fail_msg("%s", e->text);
    }
}

static const char *dump_of(const char *name, const tensor *tensors, size_t n)
{
    llava_dump_writer *writer;
    llava_error e = {""};
    const char *path = support_path(&folder, name);
    if (!llava_dump_writer_open(&writer, path, true, "{\"contract\":\"1\"}", &e)) {
        fail_msg("%s", e.text);
    }
    for (size_t i = 0; i < n; i++) {
        put(writer, &tensors[i], &e);
    }
    if (!llava_dump_writer_commit(writer, &e)) {
        fail_msg("%s", e.text);
    }
    return path;
}

/* A model with 2 heads of 4, 1 key/value head, 3 positions' worth of nothing in particular. */
static llava_plan plan_of_tiny_model(void)
{
    llava_plan p;
    memset(&p, 0, sizeof p);
    p.vision.hidden = 6;
    p.vision.heads = 2;
    p.vision.head_dim = 3;
    p.vision.grid = 2;
    p.vision.class_rows = 1;
    p.vision.feature_width = 6;
    p.vision.intermediate = 7;
    p.vision.image_size = 8;
    p.text.hidden = 8;
    p.text.heads = 2;
    p.text.kv_heads = 1;
    p.text.head_dim = 4;
    p.text.intermediate = 5;
    p.text.vocab = 11;
    return p;
}

static bool try_open(llava_port **port, const tensor *tensors, size_t n, const char *map,
                     const llava_plan *plan, llava_error *e)
{
    const char *path = dump_of("port.npz", tensors, n);
    support_write_text(&folder, "map.json", map);
    return llava_port_open(port, path, support_path(&folder, "map.json"), plan, e);
}

static llava_port *open_port(const tensor *tensors, size_t n, const char *map)
{
    llava_port *port = NULL;
    llava_error e = {""};
    const llava_plan plan = plan_of_tiny_model();
    if (!try_open(&port, tensors, n, map, &plan, &e)) {
        fail_msg("%s was refused: %s", map, e.text);
    }
    return port;
}

static void refuses(const tensor *tensors, size_t n, const char *map, const char *why)
{
    llava_port *port = NULL;
    llava_error e = {""};
    const llava_plan plan = plan_of_tiny_model();
    if (try_open(&port, tensors, n, map, &plan, &e)) {
        fail_msg("%s was taken", map);
    }
    support_says(&e, why);
}

/* The tap's tensor with exactly this shape (as text) in new memory. Read as a whole and in pieces,
 * which must agree. */
static double *values_of(llava_port *port, const char *tap, const char *shape)
{
    const llava_port_tensor *t = llava_port_find(port, tap);
    llava_error e = {""};
    double *values, *pieces;
    char text[100] = "[";
    if (t == NULL) {
        fail_msg("there is no %s", tap);
        return NULL;
    }
    for (int a = 0; a < t->rank; a++) {
        snprintf(text + strlen(text), 20, "%s%zu", a == 0 ? "" : ",", t->shape[a]);
    }
    strcat(text, "]");
    assert_string_equal(text, shape);
    if (!llava_port_load(port, t, &values, &e)) {
        fail_msg("%s", e.text);
    }
    pieces = calloc(t->count + 1, sizeof *pieces);
    for (size_t first = 0; first < t->count; first += 3) {
        const size_t n = t->count - first < 3 ? t->count - first : 3;
        assert_true(llava_port_read(port, t, first, n, pieces + first, &e));
    }
    assert_false(llava_port_read(port, t, t->count, 1, pieces + t->count, &e));
    assert_memory_equal(values, pieces, t->count * sizeof *values);
    free(pieces);
    return values;
}

static void holds(llava_port *port, const char *tap, const char *shape, size_t n,
                  const double *expected)
{
    double *values = values_of(port, tap, shape);
    for (size_t i = 0; i < n; i++) {
        if (values[i] != expected[i]) {
            fail_msg("%s[%zu] is %g, not %g", tap, i, values[i], expected[i]);
        }
    }
    free(values);
}

#define HOLDS(port, tap, shape, ...)                                                               \
    holds(port, tap, shape, sizeof((double[]){__VA_ARGS__}) / sizeof(double),                      \
          (double[]){__VA_ARGS__})
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- without a map ---- */

static void without_a_map_tensors_are_known_by_the_names_of_taps(void **state)
{
    (void)state;
    const tensor tensors[] = {{"logits", LLAVA_F64, 3, {1, 2, 2}, 5},
                              {"blk.0", LLAVA_F64, 1, {2}, 0},
                              {"step.1.text.norm", LLAVA_F32, 3, {1, 1, 2}, 0},
                              {"input_ids", LLAVA_I64, 2, {1, 2}, 7},
                              {"step.0.logits", LLAVA_F64, 1, {2}, 0}};
    llava_port *port;
    llava_error e = {""};
    int64_t *ids;
    assert_true(
        llava_port_open(&port, dump_of("plain.npz", tensors, COUNT(tensors)), NULL, NULL, &e));
    assert_int_equal(llava_port_count(port), 3);
    assert_string_equal(llava_port_at(port, 0)->name, "input_ids"); /* the order of the flow */
    assert_string_equal(llava_port_at(port, 1)->name, "logits");
    assert_string_equal(llava_port_at(port, 2)->name, "step.1.text.norm");
    assert_int_equal(llava_port_extra_count(port), 2);
    assert_string_equal(llava_port_extra_at(port, 0), "blk.0");
    assert_string_equal(llava_port_extra_at(port, 1), "step.0.logits");
    assert_string_equal(llava_port_meta(port), "{\"contract\":\"1\"}");
    HOLDS(port, "logits", "[1,2,2]", 5, 6, 7, 8);
    const llava_port_tensor *t = llava_port_find(port, "input_ids");
    assert_false(t->floating);
    assert_false(t->partial);
    assert_true(llava_port_given(t, 0, 1));
    assert_true(llava_port_load_integers(port, t, &ids, &e));
    assert_int_equal(ids[1], 8);
    free(ids);
    assert_string_equal(llava_port_stored(t)->name, "input_ids");
    assert_false(llava_port_load_integers(port, llava_port_find(port, "logits"), &ids, &e));
    llava_port_close(port);
}

/* ---- one key after the other ---- */

static void a_pattern_captures_numbers_and_skips_what_a_star_stands_for(void **state)
{
    (void)state;
    const tensor tensors[] = {{"model.lm.layers.0.norm", LLAVA_F64, 3, {1, 1, 2}, 1},
                              {"model.lm.layers.12.norm", LLAVA_F64, 3, {1, 1, 2}, 3},
                              {"model.lm.layers.x.norm", LLAVA_F64, 3, {1, 1, 2}, 3},
                              {"text.embed", LLAVA_F64, 3, {1, 1, 2}, 9}};
    llava_port *port = open_port(tensors, COUNT(tensors),
                                 "{\"*layers.{i}.norm\": {\"tap\": \"text.layers.{i}.norm1\"}}");
    HOLDS(port, "text.layers.0.norm1", "[1,1,2]", 1, 2);
    HOLDS(port, "text.layers.12.norm1", "[1,1,2]", 3, 4);
    HOLDS(port, "text.embed", "[1,1,2]", 9, 10);
    assert_string_equal(llava_port_find(port, "text.layers.12.norm1")->port_name,
                        "model.lm.layers.12.norm");
    assert_int_equal(llava_port_extra_count(port), 1);
    llava_port_close(port);
}

static void stars_and_captures_match_as_the_naive_definition_says(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"*", "", true},
        {"a*b", "ab", true},
        {"a*b", "axxb", true},
        {"a*b", "axxbc", false},
        {"*ab*", "aab", true},
        {"*a*a*", "aa", true},
        {"*a*a*", "a", false},
        {"{i}", "7", true},
        {"{i}", "", false},
        {"{i}", "7a", false},
        {"{i}{j}", "77", false},
        {"*.{i}.w", "a.b.3.w", true},
        {"*{i}.w", "l12.w", true},
        {"{i}", "1234567890", false},
        {"**a", "xxa", true},
        {"*-{i}", "a-b-3", true},
        {"{a}.{b}.{c}.{d}", "1.2.3.4", true},
        {"{a}.{b}.{c}.{d}.{e}", "1.2.3.4.5", false}, /* more than are kept */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        llava_map_captures found;
        if (llava_map_matches(cases[i].pattern, cases[i].name, strlen(cases[i].name), &found) !=
            cases[i].matches) {
            fail_msg("%s against %s", cases[i].pattern, cases[i].name);
        }
    }
    llava_map_captures found;
    size_t value = 0;
    assert_true(llava_map_matches("*layers.{layer}.x{k}", "layers.q.layers.31.x2", 21, &found));
    assert_true(llava_map_captured(&found, "layer", 5, &value));
    assert_int_equal(value, 31);
    assert_true(llava_map_captured(&found, "k", 1, &value));
    assert_int_equal(value, 2);
}

static void a_tap_is_named_where_its_numbers_are_known_and_it_fits(void **state)
{
    (void)state;
    static const char *const endings[] = {"", "{i}", "{i", "{k}"};
    const llava_map_captures found = {.count = 1, .name = {"i}"}, .value = {123456789}};
    char tap[200], name[LLAVA_TAP_NAME];
    for (size_t length = 80; length < LLAVA_TAP_NAME + 2; length++) {
        for (size_t i = 0; i < COUNT(endings); i++) {
            memset(tap, 'a', length);
            strcpy(tap + length, endings[i]);
            const size_t needs = length + (i == 1 ? 9 : 0);
            assert_int_equal(llava_map_tap(tap, &found, name), i < 2 && needs < LLAVA_TAP_NAME);
            assert_true(i > 1 || needs >= LLAVA_TAP_NAME || strlen(name) == needs);
        }
    }
}

static void reshape_takes_letters_products_own_extents_and_one_unknown(void **state)
{
    (void)state;
    const tensor q[] = {{"q", LLAVA_F64, 2, {2, 8}, 0}};
    static const char *const maps[] = {
        "[1, 2, 2, 4]",         "[1, \"n0\", \"h\", \"d\"]",       "[1, \"?\", \"h\", \"d\"]",
        "[\"B\", 2, \"h\", 4]", "[1, \"S\", \"h\", \"head_dim\"]", "[1, \"n0\", 2, \"2*k+2\"]",
    };
    for (size_t i = 0; i < COUNT(maps); i++) {
        char map[200];
        snprintf(map, sizeof map, "{\"q\": {\"tap\": \"text.layers.0.attn.q\", \"reshape\": %s}}",
                 maps[i]);
        llava_port *port = open_port(q, 1, map);
        HOLDS(port, "text.layers.0.attn.q", "[1,2,2,4]", 0, 1, 2, 3);
        llava_port_close(port);
    }
    /* the tower's heads are others: 2 of 3 */
    const tensor tower[] = {{"q", LLAVA_F64, 2, {2, 6}, 0}};
    llava_port *port = open_port(
        tower, 1,
        "{\"q\": {\"tap\": \"vision.layers.0.attn.q\", \"reshape\": [1, \"n0\", \"h\", \"d\"]}}");
    HOLDS(port, "vision.layers.0.attn.q", "[1,2,2,3]", 0, 1, 2, 3);
    llava_port_close(port);
}

static void transpose_names_for_each_axis_of_the_tap_the_axis_it_was(void **state)
{
    (void)state;
    const tensor x[] = {{"x", LLAVA_F64, 3, {2, 3, 1}, 0}};
    llava_port *port =
        open_port(x, 1, "{\"x\": {\"tap\": \"text.norm\", \"transpose\": [2, 1, 0]}}");
    HOLDS(port, "text.norm", "[1,3,2]", 0, 3, 1, 4, 2, 5);
    llava_port_close(port);
    port = open_port(x, 1, "{\"x\": {\"tap\": \"text.norm\", \"transpose\": [1, 2, 0]}}");
    HOLDS(port, "text.norm", "[3,1,2]", 0, 3, 1, 4, 2, 5);
    llava_port_close(port);
}

static void slice_takes_a_tap_out_of_a_fused_tensor(void **state)
{
    (void)state;
    /* two positions of [q0 q1 k v], heads of 4 */
    const tensor qkv[] = {{"qkv", LLAVA_F64, 2, {2, 16}, 0}};
    llava_port *port =
        open_port(qkv, 1,
                  "{\"qkv\": ["
                  "{\"tap\": \"text.layers.3.attn.q\", \"reshape\": [1, \"n0\", \"h+2*k\", \"d\"],"
                  " \"slice\": {\"axis\": 2, \"to\": \"h\"}},"
                  "{\"tap\": \"text.layers.3.attn.k\", \"reshape\": [1, \"n0\", \"h+2*k\", \"d\"],"
                  " \"slice\": {\"axis\": 2, \"from\": \"h\", \"to\": \"h+k\"}},"
                  "{\"tap\": \"text.layers.3.attn.v\", \"reshape\": [1, \"n0\", \"h+2*k\", \"d\"],"
                  " \"slice\": [{\"to\": 4, \"axis\": 2, \"from\": 2}, {\"axis\": 2, \"from\": 1, "
                  "\"to\": 2}]}]}");
    HOLDS(port, "text.layers.3.attn.q", "[1,2,2,4]", 0, 1, 2, 3, 4, 5, 6, 7, 16, 17);
    HOLDS(port, "text.layers.3.attn.k", "[1,2,1,4]", 8, 9, 10, 11, 24, 25);
    HOLDS(port, "text.layers.3.attn.v", "[1,2,1,4]", 12, 13, 14, 15, 28, 29, 30, 31);
    llava_port_close(port);
}

static void permute_puts_the_halves_of_an_interleaved_head_side_by_side(void **state)
{
    (void)state;
    const tensor q[] = {{"q", LLAVA_F64, 4, {1, 1, 2, 4}, 0}};
    llava_port *port = open_port(
        q, 1, "{\"q\": {\"tap\": \"text.layers.0.attn.q\", \"permute\": \"rope-interleaved\"}}");
    /* port index 2j+t is tap index t*2+j */
    HOLDS(port, "text.layers.0.attn.q", "[1,1,2,4]", 0, 2, 1, 3, 4, 6, 5, 7);
    llava_port_close(port);
}

static void scale_multiplies_by_a_number_or_a_power_of_a_size(void **state)
{
    (void)state;
    const tensor q[] = {{"q", LLAVA_F32, 4, {1, 1, 2, 4}, 0}};
    static const struct {
        const char *scale;
        double factor;
    } cases[] = {{"0.25", 0.25},          {"-1", -1},         {"\"head_dim^-0.5\"", 0.5},
                 {"\"head_dim^0.5\"", 2}, {"\"d^-1\"", 0.25}, {"\"h*d^1\"", 8}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char map[200];
        snprintf(map, sizeof map, "{\"q\": {\"tap\": \"text.layers.0.attn.q\", \"scale\": %s}}",
                 cases[i].scale);
        llava_port *port = open_port(q, 1, map);
        HOLDS(port, "text.layers.0.attn.q", "[1,1,2,4]", 0, cases[i].factor, 2 * cases[i].factor);
        assert_int_equal(llava_port_stored(llava_port_at(port, 0))->array.size, 4);
        llava_port_close(port);
    }
}

static void join_lines_the_chunks_up_by_number_not_by_name(void **state)
{
    (void)state;
    const tensor chunks[] = {{"c10.x", LLAVA_F64, 2, {2, 2}, 4},
                             {"c9.x", LLAVA_F64, 2, {1, 2}, 0},
                             {"c11.x", LLAVA_F64, 2, {1, 2}, 8},
                             {"c9.ids", LLAVA_I64, 1, {1}, 50},
                             {"c10.ids", LLAVA_I64, 1, {2}, 60}};
    llava_port *port =
        open_port(chunks, COUNT(chunks),
                  "{\"c{c}.x\": {\"tap\": \"text.norm\", \"reshape\": [1, \"n0\", \"n1\"],"
                  " \"join\": {\"over\": \"c\", \"axis\": 1}},"
                  "\"c{c}.ids\": {\"tap\": \"input_ids\", \"reshape\": [1, \"n0\"],"
                  " \"join\": {\"over\": \"c\", \"axis\": 1}}}");
    HOLDS(port, "text.norm", "[1,4,2]", 0, 1, 4, 5, 6, 7, 8, 9);
    assert_string_equal(llava_port_find(port, "text.norm")->port_name, "c9.x");
    int64_t *ids;
    llava_error e = {""};
    assert_true(llava_port_load_integers(port, llava_port_find(port, "input_ids"), &ids, &e));
    assert_int_equal(ids[0], 50);
    assert_int_equal(ids[2], 61);
    free(ids);
    llava_port_close(port);
}

/* Joining along the heads' axis interleaves the parts; by hand. */
static void join_along_an_inner_axis(void **state)
{
    (void)state;
    const tensor parts[] = {{"r0", LLAVA_F64, 3, {1, 2, 2}, 0},
                            {"r1", LLAVA_F64, 3, {1, 2, 1}, 10}};
    llava_port *port = open_port(
        parts, 2, "{\"r{r}\": {\"tap\": \"text.norm\", \"join\": {\"over\": \"r\", \"axis\": 2}}}");
    HOLDS(port, "text.norm", "[1,2,3]", 0, 1, 10, 2, 3, 11);
    llava_port_close(port);
}

static void use_picks_one_of_several_nodes_of_a_name(void **state)
{
    (void)state;
    const tensor nodes[] = {{"q-0", LLAVA_F64, 3, {1, 1, 1}, 0},
                            {"q-0#1", LLAVA_F64, 3, {1, 1, 1}, 1},
                            {"q-0#2", LLAVA_F64, 3, {1, 1, 1}, 2},
                            {"q-1", LLAVA_F64, 3, {1, 1, 1}, 5},
                            {"q-1#1", LLAVA_F64, 3, {1, 1, 1}, 6}};
    llava_port *port = open_port(nodes, COUNT(nodes),
                                 "{\"q-{i}\": [{\"tap\": \"text.layers.{i}.norm1\", \"use\": 0},"
                                 "{\"tap\": \"text.layers.{i}.norm2\", \"use\": -1},"
                                 "{\"tap\": \"text.layers.{i}.mlp.out\", \"use\": 2}]}");
    HOLDS(port, "text.layers.0.norm1", "[1,1,1]", 0);
    HOLDS(port, "text.layers.0.norm2", "[1,1,1]", 2);
    HOLDS(port, "text.layers.0.mlp.out", "[1,1,1]", 2);
    HOLDS(port, "text.layers.1.norm2", "[1,1,1]", 6);
    assert_null(llava_port_find(port, "text.layers.1.mlp.out"));
    assert_string_equal(llava_port_extra_at(port, 0), "q-0#1");
    llava_port_close(port);
}

static void crop_keeps_the_keys_in_use_and_marks_those_that_lack(void **state)
{
    (void)state;
    /* two chunks of one query and two; the cache holds 4 cells, then 2 of the 3 */
    const tensor kq[] = {{"input_ids", LLAVA_I64, 2, {1, 3}, 1},
                         {"c0.kq", LLAVA_F64, 4, {1, 1, 1, 4}, 0},
                         {"c1.kq", LLAVA_F64, 4, {1, 1, 2, 2}, 10}};
    llava_port *port = open_port(kq, COUNT(kq),
                                 "{\"c{c}.kq\": {\"tap\": \"text.layers.0.attn.scores\", \"crop\": "
                                 "{\"axis\": 3, \"to\": \"S'\"},"
                                 " \"join\": {\"over\": \"c\", \"axis\": 2}}}");
    HOLDS(port, "text.layers.0.attn.scores", "[1,1,3,3]", 0, 1, 2, 10, 11, 0, 12, 13, 0);
    const llava_port_tensor *t = llava_port_find(port, "text.layers.0.attn.scores");
    assert_true(t->partial);
    assert_true(llava_port_given(t, 0, 2));
    assert_true(llava_port_given(t, 1, 1));
    assert_false(llava_port_given(t, 1, 2));
    assert_false(llava_port_given(t, 2, 2));
    llava_port_close(port);
    const tensor few[] = {{"input_ids", LLAVA_I64, 2, {1, 3}, 1},
                          {"kq", LLAVA_F64, 4, {1, 1, 3, 2}, 0}};
    port = open_port(few, 2,
                     "{\"kq\": {\"tap\": \"text.layers.0.attn.scores\","
                     " \"crop\": {\"axis\": 3, \"to\": \"S'\"}}}");
    HOLDS(port, "text.layers.0.attn.scores", "[1,1,3,3]", 0, 1, 0, 2, 3, 0, 4, 5, 0);
    llava_port_close(port);
    const tensor all[] = {{"kq", LLAVA_F64, 4, {1, 1, 1, 4}, 0}};
    port = open_port(all, 1,
                     "{\"kq\": {\"tap\": \"text.layers.0.attn.scores\","
                     " \"crop\": {\"axis\": 3, \"from\": 1, \"to\": 3}}}");
    HOLDS(port, "text.layers.0.attn.scores", "[1,1,1,2]", 1, 2);
    assert_false(llava_port_at(port, 0)->partial);
    llava_port_close(port);
}

static void cells_that_lack_in_some_rows_and_rows_that_lack_besides(void **state)
{
    (void)state;
    const tensor kq[] = {{"input_ids", LLAVA_I64, 2, {1, 4}, 1},
                         {"c0", LLAVA_F64, 4, {1, 1, 1, 3}, 0},
                         {"c1", LLAVA_F64, 4, {1, 1, 1, 4}, 10}};
    llava_port *port = open_port(kq, COUNT(kq),
                                 "{\"c{c}\": {\"tap\": \"text.layers.0.attn.scores\", \"crop\": "
                                 "{\"axis\": 3, \"to\": \"S'\"}, \"rows\": [1, 3],"
                                 " \"join\": {\"over\": \"c\", \"axis\": 2}}}");
    HOLDS(port, "text.layers.0.attn.scores", "[1,1,4,4]", 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 10,
          11, 12, 13);
    const llava_port_tensor *t = llava_port_find(port, "text.layers.0.attn.scores");
    assert_true(!llava_port_given(t, 0, 0) && llava_port_given(t, 1, 2) &&
                !llava_port_given(t, 1, 3) && !llava_port_given(t, 2, 0) &&
                llava_port_given(t, 3, 3));
    llava_port_close(port);
}

/* Nothing is where there are no elements; a number has no axis at all. */
static void tensors_without_elements_and_without_axes(void **state)
{
    (void)state;
    const tensor x[] = {{"x", LLAVA_F64, 3, {4, 0, 1}, 0}, {"s", LLAVA_F64, 0, {0}, 7}};
    llava_port *port = open_port(x, 2,
                                 "{\"x\": {\"tap\": \"text.norm\", \"transpose\": [2, 1, 0]},"
                                 " \"s\": {\"tap\": \"loss\", \"scale\": 2}}");
    free(values_of(port, "text.norm", "[1,0,4]"));
    HOLDS(port, "loss", "[]", 14);
    llava_port_close(port);
}

/* A map with this "rows" on a logits tensor of so many rows, where the run has four positions. */
static llava_port *port_with_rows(size_t rows, const char *spec)
{
    const tensor tensors[] = {{"input_ids", LLAVA_I64, 2, {1, 4}, 1},
                              {"out", LLAVA_F64, 3, {1, rows, 2}, 10}};
    char map[200];
    snprintf(map, sizeof map, "{\"out\": {\"tap\": \"logits\", \"rows\": %s}}", spec);
    return open_port(tensors, 2, map);
}

static void rows_given_are(llava_port *port, const char *expected)
{
    const llava_port_tensor *t = llava_port_find(port, "logits");
    char given[5] = "";
    for (size_t row = 0; row < 4; row++) {
        given[row] = llava_port_given(t, row, 1) ? '1' : '0';
    }
    assert_string_equal(given, expected);
    assert_int_equal(t->partial, strchr(expected, '0') != NULL);
    llava_port_close(port);
}

static void rows_say_where_the_rows_of_the_port_belong(void **state)
{
    (void)state;
    llava_port *port = port_with_rows(1, "\"last\"");
    HOLDS(port, "logits", "[1,4,2]", 0, 0, 0, 0, 0, 0, 10, 11);
    rows_given_are(port, "0001");
    port = port_with_rows(2, "\"last 2\"");
    HOLDS(port, "logits", "[1,4,2]", 0, 0, 0, 0, 10, 11, 12, 13);
    rows_given_are(port, "0011");
    port = port_with_rows(3, "\"from 1\"");
    HOLDS(port, "logits", "[1,4,2]", 0, 0, 10, 11, 12, 13, 14, 15);
    rows_given_are(port, "0111");
    port = port_with_rows(3, "[0, \"2..3\"]");
    HOLDS(port, "logits", "[1,4,2]", 10, 11, 0, 0, 12, 13, 14, 15);
    rows_given_are(port, "1011");
    port = port_with_rows(1, "\"last or all\"");
    HOLDS(port, "logits", "[1,4,2]", 0, 0, 0, 0, 0, 0, 10, 11);
    rows_given_are(port, "0001");
    port = port_with_rows(4, "\"last or all\"");
    HOLDS(port, "logits", "[1,4,2]", 10, 11, 12, 13, 14, 15, 16, 17);
    rows_given_are(port, "1111");
}

static void rows_of_a_full_tensor_mark_the_others_as_not_computed(void **state)
{
    (void)state;
    llava_port *port = port_with_rows(4, "[1, 3]");
    HOLDS(port, "logits", "[1,4,2]", 10, 11, 12, 13, 14, 15, 16, 17);
    rows_given_are(port, "0101");
    rows_given_are(port_with_rows(4, "\"last\""), "0001");
    rows_given_are(port_with_rows(4, "\"from 0\""), "1111");
}

static void rows_of_the_heads_of_a_sample_belong_together(void **state)
{
    (void)state;
    /* [B=2,S=2,h=2,d=4] with position 1 alone; given() is asked by flat row (b,s,h) */
    const tensor tensors[] = {{"input_ids", LLAVA_I64, 2, {2, 2}, 1},
                              {"q", LLAVA_F64, 4, {2, 1, 2, 4}, 1}};
    llava_port *port =
        open_port(tensors, 2, "{\"q\": {\"tap\": \"text.layers.0.attn.q\", \"rows\": \"last\"}}");
    const llava_port_tensor *t = llava_port_find(port, "text.layers.0.attn.q");
    static const bool expected[8] = {false, false, true, true, false, false, true, true};
    for (size_t row = 0; row < 8; row++) {
        assert_int_equal(llava_port_given(t, row, 3), expected[row]);
    }
    HOLDS(port, "text.layers.0.attn.q", "[2,2,2,4]", 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
          0);
    llava_port_close(port);
    /* positions: the rows are the last axis */
    const tensor ids[] = {{"embeds", LLAVA_F64, 3, {1, 3, 8}, 0}, {"pos", LLAVA_I64, 2, {1, 1}, 2}};
    port = open_port(ids, 2,
                     "{\"embeds\": {\"tap\": \"text.embed\"},"
                     "\"pos\": {\"tap\": \"position_ids\", \"rows\": \"last\"}}");
    t = llava_port_find(port, "position_ids");
    assert_false(llava_port_given(t, 0, 1));
    assert_true(llava_port_given(t, 0, 2));
    HOLDS(port, "position_ids", "[1,3]", 0, 0, 2);
    llava_port_close(port);
}

static void repeat_gives_every_sample_the_one_that_is_there(void **state)
{
    (void)state;
    const tensor tensors[] = {{"input_ids", LLAVA_I64, 2, {3, 2}, 1},
                              {"cos", LLAVA_F64, 3, {1, 2, 2}, 4},
                              {"sin", LLAVA_F64, 3, {3, 2, 2}, 4}};
    llava_port *port = open_port(tensors, 3,
                                 "{\"cos\": {\"tap\": \"text.rope.cos\", \"repeat\": \"B\"},"
                                 "\"sin\": {\"tap\": \"text.rope.sin\", \"repeat\": \"B\"}}");
    HOLDS(port, "text.rope.cos", "[3,2,2]", 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    HOLDS(port, "text.rope.sin", "[3,2,2]", 4, 5, 6, 7, 8, 9, 10, 11, 12);
    llava_port_close(port);
}

static void rules_of_the_prefill_hold_behind_a_steps_prefix(void **state)
{
    (void)state;
    const tensor tensors[] = {{"x", LLAVA_F64, 2, {3, 2}, 0},
                              {"step.1.x", LLAVA_F64, 2, {1, 2}, 20},
                              {"step.2.kq", LLAVA_F64, 4, {1, 1, 1, 8}, 0},
                              {"step.2.pixels", LLAVA_F64, 1, {1}, 0},
                              {"pixels", LLAVA_F64, 4, {1, 1, 1, 1}, 0}};
    llava_port *port = open_port(
        tensors, COUNT(tensors),
        "{\"*x\": {\"tap\": \"text.norm\", \"reshape\": [1, \"n0\", \"n1\"]},"
        "\"kq\": {\"tap\": \"text.layers.1.attn.probs\", \"crop\": {\"axis\": 3, \"to\": \"S'\"}},"
        "\"pixels\": {\"tap\": \"pixel_values\"}}");
    HOLDS(port, "text.norm", "[1,3,2]", 0, 1, 2, 3, 4, 5);
    HOLDS(port, "step.1.text.norm", "[1,1,2]", 20, 21);
    /* three positions and two steps: five keys */
    HOLDS(port, "step.2.text.layers.1.attn.probs", "[1,1,1,5]", 0, 1, 2, 3, 4);
    /* a picture is no part of a step */
    assert_string_equal(llava_port_extra_at(port, 0), "step.2.pixels");
    llava_port_close(port);
}

/* Every layout at once against the formula, element by element. */
static void all_keys_together_follow_the_stated_order(void **state)
{
    (void)state;
    /* chunks [d=4, rows, h+1 heads], of which the first two heads are q; 1 + 2 rows of 4 */
    const tensor tensors[] = {{"input_ids", LLAVA_I64, 2, {1, 4}, 0},
                              {"c0", LLAVA_F64, 3, {4, 1, 3}, 0},
                              {"c1", LLAVA_F64, 3, {4, 2, 3}, 100}};
    llava_port *port =
        open_port(tensors, 3,
                  "{\"c{c}\": {\"rows\": [0, \"2..3\"], \"join\": {\"over\": \"c\", \"axis\": 1}, "
                  "\"scale\": 2,"
                  " \"permute\": \"rope-interleaved\", \"slice\": {\"axis\": 2, \"to\": \"h\"},"
                  " \"transpose\": [0, 2, 3, 1], \"reshape\": [1, \"d\", \"n1\", \"h+k\"],"
                  " \"tap\": \"text.layers.0.attn.q_rope\"}}");
    double expected[4][2][4] = {{{0}}};
    for (size_t row = 0; row < 3; row++) {
        for (size_t head = 0; head < 2; head++) {
            for (size_t i = 0; i < 4; i++) {
                const size_t rows = row == 0 ? 1 : 2, at = row == 0 ? 0 : row - 1;
                const double in_port = (row == 0 ? 0 : 100) + (double)((i * rows + at) * 3 + head);
                expected[row == 0 ? 0 : row + 1][head][i % 2 * 2 + i / 2] = 2 * in_port;
            }
        }
    }
    holds(port, "text.layers.0.attn.q_rope", "[1,4,2,4]", 32, &expected[0][0][0]);
    llava_port_close(port);
}

static void sizes_come_from_another_dump_where_there_is_no_model(void **state)
{
    (void)state;
    const tensor expected[] = {{"text.layers.0.attn.q", LLAVA_F64, 4, {1, 3, 2, 4}, 0}};
    const tensor q[] = {{"q", LLAVA_F64, 2, {3, 8}, 0}};
    const char *map =
        "{\"q\": {\"tap\": \"text.layers.0.attn.q\", \"reshape\": [\"B\", \"S\", \"h\", \"d\"]}}";
    llava_dump *beside;
    llava_port *port = NULL;
    llava_error e = {""};
    assert_true(llava_dump_open(&beside, dump_of("expected.npz", expected, 1), &e));
    support_write_text(&folder, "map.json", map);
    const char *path = dump_of("port.npz", q, 1), *map_path = support_path(&folder, "map.json");
    assert_true(llava_port_open_beside(&port, path, map_path, NULL, beside, &e));
    llava_dump_close(beside);
    HOLDS(port, "text.layers.0.attn.q", "[1,3,2,4]", 0, 1, 2);
    llava_port_close(port);
    assert_false(llava_port_open(&port, path, map_path, NULL, &e));
    support_says(&e, "--model is needed");
}

static void comments_and_optional_patterns(void **state)
{
    (void)state;
    const tensor x[] = {{"x", LLAVA_F64, 3, {1, 1, 2}, 0}};
    llava_port *port = open_port(x, 1,
                                 "{\"_about\": {\"any\": [\"thing\"]}, \"_optional\": true,"
                                 "\"y\": {\"tap\": \"logits\"}, \"x\": {\"tap\": \"text.norm\"}}");
    assert_int_equal(llava_port_count(port), 1);
    llava_port_close(port);
    port = open_port(x, 1,
                     "{\"y\": {\"tap\": \"logits\", \"optional\": true},"
                     "\"x\": {\"tap\": \"text.norm\", \"optional\": false}}");
    llava_port_close(port);
}

/* ---- what is refused ---- */

#define TEN     "aaaaaaaaaa"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void refused_rules(void **state)
{
    (void)state;
    const tensor x[] = {{"x", LLAVA_F64, 3, {1, 2, 4}, 0}, {"y", LLAVA_F64, 3, {1, 2, 4}, 0}};
    static const struct {
        const char *map, *why;
    } cases[] = {
        {"", "map.json"},
        {"[]", "a map is a JSON object"},
        {"{}", "no patterns"},
        {"{\"_about\": 1}", "no patterns"},
        {"{\"_optional\": 1, \"x\": {\"tap\": \"logits\"}}", "_optional must be true or false"},
        {"{\"x\": 1}", "must be an object"},
        {"{\"x\": [1]}", "must be an object"},
        {"{\"x\": {}}", "has no \"tap\""},
        {"{\"x\": {\"tap\": 1}}", "tap: must be a string"},
        {"{\"x\": {\"tap\": \"text.layers.1.attn.Q\"}}", "there is no tap"},
        {"{\"x\": {\"tap\": \"step.0.logits\"}}", "there is no tap"},
        {"{\"x\": {\"tap\": \"text.layers.{i}.attn.q\"}}", "must stand in the pattern"},
        {"{\"x{i}\": {\"tap\": \"text.layers.{i\"}}", "\"text.layers.{i\": a number in a name is"},
        {"{\"x{i}\": {\"tap\": \"text.layers.i}.norm1\"}}", "a number in a name is written {i}"},
        {"{\"x{i}\": {\"tap\": \"text.layers.{}.norm1\"}}", "a number in a name is written {i}"},
        {"{\"x\": {\"tap\": \"logits\", \"Scale\": 1}}", "unknown key \"Scale\""},
        {"{\"x\": {\"tap\": \"logits\", \"a\\u0007b\": 1}}", "unknown key \"a\\x07b\""},
        {"{\"x\": {\"tap\": \"logits\", \"tap\": \"loss\"}}", "tap"},
        {"{\"x\": {\"tap\": \"logits\"}, \"x\": {\"tap\": \"loss\"}}", "x"},
        {"{\"x{i\": {\"tap\": \"logits\"}}", "is written {i}"},
        {"{\"x{I}\": {\"tap\": \"logits\"}}", "is written {i}"},
        {"{\"x}\": {\"tap\": \"logits\"}}", "is written {i}"},
        {"{\"x{i}.{i}\": {\"tap\": \"logits\"}}", "{i} stands twice"},
        {"{\"{a}{b}{c}{d}{e}\": {\"tap\": \"logits\"}}", "more than 4 numbers"},
        {"{\"\": {\"tap\": \"logits\"}}", "1 to 256 characters"},
        {"{\"x\": {\"tap\": \"logits\", \"use\": 0.5}}", "use: must be a whole number"},
        {"{\"x\": {\"tap\": \"logits\", \"use\": \"last\"}}", "use: must be a whole number"},
        {"{\"x\": {\"tap\": \"logits\", \"optional\": 1}}", "optional: must be true"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": 3}}", "reshape: must be an array"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [1,1,1,1,1,1,1,1,1]}}", "at most 8"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [-1]}}", "must be a whole number"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"Q\"]}}", "no size is called so"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"h*\"]}}", "is no size"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"\"]}}", "is no size"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"h/2\"]}}", "a size is letters"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"99999999999999999999999\"]}}", "too large"},
        {"{\"x\": {\"tap\": \"logits\", \"transpose\": [0, 0, 1]}}", "each axis from 0 to 2 once"},
        {"{\"x\": {\"tap\": \"logits\", \"transpose\": [0, 3, 1]}}", "each axis from 0 to 2 once"},
        {"{\"x\": {\"tap\": \"logits\", \"transpose\": [0, 9, 1]}}", "an axis: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": 1}}", "slice: must be an array"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": {\"axis\": 1}}}", "needs axis and to"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": {\"axis\": 1, \"too\": 1}}}",
         "has only the keys"},
        {"{\"x\": {\"tap\": \"logits\", \"crop\": []}}", "crop: must be an object"},
        {"{\"x\": {\"tap\": \"logits\", \"permute\": \"other\"}}", "rope-interleaved"},
        {"{\"x\": {\"tap\": \"logits\", \"scale\": 0}}", "must not be 0"},
        {"{\"x\": {\"tap\": \"logits\", \"scale\": \"d^-0.25\"}}", "one of the powers"},
        {"{\"x\": {\"tap\": \"logits\", \"scale\": \"d\"}}", "one of the powers"},
        {"{\"x\": {\"tap\": \"logits\", \"scale\": \"^1\"}}", "is no size"},
        {"{\"x\": {\"tap\": \"logits\", \"join\": \"c\"}}", "join: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"join\": {\"over\": \"c\"}}}", "join: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"join\": {\"over\": \"c\", \"axis\": 1}}}",
         "must stand in the pattern"},
        {"{\"x{i}\": {\"tap\": \"text.layers.{i}.norm1\","
         " \"join\": {\"over\": \"i\", \"axis\": 1}}}",
         "can't be in the tap"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": \"first\"}}", "rows: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": \"last -1\"}}", "rows: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": \"from 1 \"}}", "rows: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": []}}", "the list is empty"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": [1, 1]}}", "must rise"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": [\"3..1\"]}}", "must rise"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": [\"3-1\"]}}", "is written \"3..7\""},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": [true]}}", "a row: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": 5}}", "rows: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": [\"..3\"]}}", "is written \"3..7\""},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": \"from 1x\"}}", "rows: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": \"from 1234567890\"}}", "rows: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"transpose\": 3}}", "transpose: must be an array"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": {\"to\": 1}}}", "needs axis and to"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": {\"to\": 1, \"axis\": 9}}}", "an axis: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": [{\"axis\": 9}]}}", "an axis: must be"},
        {"{\"x\": {\"tap\": \"logits\", \"permute\": 1}}", "rope-interleaved"},
        {"{\"x\": {\"tap\": \"logits\", \"scale\": []}}", "scale: must be a number"},
        {"{\"x\": {\"tap\": \"logits\", \"join\": {\"over\": \"c\", \"axis\": 1, \"x\": 2}}}",
         "join: must be"},
        {"{\"x{i}.{ij}\": {\"tap\": \"text.layers.{ij}.norm1\","
         " \"join\": {\"over\": \"i\", \"axis\": 1}}}",
         "matches no tensor"}, /* which is another number than the tap's */
        {"{\"x{i}\": {\"tap\": \"text.layers.{i}\"}}", "there is no tap \"text.layers.{i}\""},
        {"{\"x\": {\"tap\": \"" HUNDRED "\"}}", "there is no tap \"aaaaaaaaaa"},
        {"{\"" HUNDRED HUNDRED HUNDRED "\": {\"tap\": \"logits\"}}", "1 to 256 characters"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        refuses(x, 2, cases[i].map, cases[i].why);
    }
}

static void refused_applications(void **state)
{
    (void)state;
    const tensor x[] = {
        {"x", LLAVA_F64, 3, {1, 2, 4}, 0},  {"y", LLAVA_F64, 3, {1, 2, 4}, 0},
        {"c0", LLAVA_F64, 3, {1, 2, 4}, 0}, {"c1", LLAVA_F64, 3, {1, 2, 3}, 0},
        {"c3", LLAVA_F64, 3, {1, 2, 4}, 0}, {"b7", LLAVA_I64, 2, {1, 1}, 0},
        {"b07", LLAVA_I64, 2, {1, 1}, 0},   {"text.norm", LLAVA_F64, 3, {1, 5, 1}, 0},
        {"image.0", LLAVA_F64, 1, {1}, 0}};
    static const struct {
        const char *map, *why;
    } cases[] = {
        {"{\"z\": {\"tap\": \"logits\"}}", "matches no tensor"},
        {"{\"_optional\": true, \"z\": {\"tap\": \"logits\"}}", "no pattern matches any tensor"},
        {"{\"x\": {\"tap\": \"logits\"}, \"y\": {\"tap\": \"logits\"}}",
         "two patterns give the tap"},
        {"{\"x\": [{\"tap\": \"logits\"}, {\"tap\": \"logits\"}]}", "two patterns give the tap"},
        {"{\"c*\": {\"tap\": \"logits\"}}", "two tensors give the tap"},
        {"{\"c{c}\": {\"tap\": \"logits\"}}", "two tensors give the tap"},
        {"{\"x\": {\"tap\": \"text.norm\"}}", "two tensors give the tap"},
        {"{\"b{c}\": {\"tap\": \"input_ids\", \"join\": {\"over\": \"c\", \"axis\": 1}}}",
         "two tensors give the tap"},
        {"{\"image.{i}\": {\"tap\": \"image.{i}.rgb\"}}", "gives no tap for image.0"},
        {"{\"c{c}\": {\"tap\": \"logits\", \"join\": {\"over\": \"c\", \"axis\": 1}}}",
         "part 2 is missing"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [1, 2, 5]}}", "do not reshape to [1,2,5]"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"?\", 3, 1]}}", "do not reshape to"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"?\", 0, 1]}}", "do not reshape to"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"?\", \"?\", 1]}}", "are both unknown"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [\"B\", \"G\", 1]}}", "axes 0 and 1 are both"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [1, \"2*B\", 4]}}", "B is not known here"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [1, \"n3\", 4]}}", "has no axis 3"},
        {"{\"x\": {\"tap\": \"logits\", \"reshape\": [2, 4]}}",
         "has 2 axes; the tap's are [B,S,V]"},
        {"{\"x\": {\"tap\": \"logits\", \"transpose\": [1, 0]}}", "transpose names 2 axes"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": {\"axis\": 2, \"to\": 5}}}", "is not within"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": {\"axis\": 3, \"to\": 1}}}", "is not within"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": {\"axis\": 2, \"from\": 3, \"to\": 2}}}",
         "is not within"},
        {"{\"x\": {\"tap\": \"logits\", \"slice\": {\"axis\": 2, \"to\": \"?\"}}}", "is not known"},
        {"{\"x\": {\"tap\": \"logits\", \"crop\": {\"axis\": 1, \"to\": 3}}}",
         "only the last axis may lack"},
        {"{\"x\": {\"tap\": \"logits\", \"crop\": {\"axis\": 5, \"to\": 3}}}", "there is no axis"},
        {"{\"b7\": {\"tap\": \"input_ids\", \"crop\": {\"axis\": 1, \"to\": 3}}}",
         "possible only in rows"},
        {"{\"x\": {\"tap\": \"logits\", \"permute\": \"rope-interleaved\"}}", "not that of a head"},
        {"{\"c1\": {\"tap\": \"text.rope.cos\", \"permute\": \"rope-interleaved\"}}",
         "no two halves"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": \"last 6\"}}", "the tap has only 5"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": [5]}}", "the tap has only 5"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": \"last\"}}", "the port has 2; the tap has 5"},
        {"{\"x\": {\"tap\": \"logits\", \"rows\": \"last or all\"}}",
         "the port has 2; the tap has 5"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        /* text.norm tells that B is 1 and S is 5, where a case is not about not knowing it */
        const bool unknown =
            strstr(cases[i].why, "axes 0") != NULL || strstr(cases[i].why, "B is") != NULL;
        refuses(x, unknown ? 7 : 9, cases[i].map, cases[i].why);
    }
    refuses(x, 9, "{\"x\": {\"tap\": \"logits\", \"transpose\": [1, 0, 2], \"repeat\": 3}}",
            "the first axis is neither 1 nor 3");
    refuses(x, 9, "{\"x\": {\"tap\": \"logits\", \"repeat\": \"?\"}}", "repeat: ? is not known");
    /* joins of different widths */
    refuses(x, 4, "{\"c{c}\": {\"tap\": \"logits\", \"join\": {\"over\": \"c\", \"axis\": 1}}}",
            "join: axis 2 differs");
    refuses(x, 3, "{\"c{c}\": {\"tap\": \"logits\", \"join\": {\"over\": \"c\", \"axis\": 4}}}",
            "the tap has no axis 4");
    refuses(x, 1, "{\"x\": {\"tap\": \"logits\", \"rows\": \"last\"}}", "S is not known here");
    static const struct {
        const char *map, *why;
    } odd[] = {
        {"{\"s\": {\"tap\": \"logits\"}}", "tensor s []: has 0 axes; the tap's are [B,S,V]"},
        {"{\"s\": {\"tap\": \"loss\", \"rows\": \"last\"}}", "rows: this tap has none"},
        {"{\"s\": {\"tap\": \"loss\", \"repeat\": 2}}", "the first axis is neither 1 nor 2"},
        {"{\"s\": {\"tap\": \"loss\", \"permute\": \"rope-interleaved\"}}", "not that of a head"},
        {"{\"r\": {\"tap\": \"vision.rope.sin\", \"repeat\": 2}}", "the first axis is neither"},
        {"{\"r\": {\"tap\": \"position_ids\", \"repeat\": 0}}", "repeat: 0 times"},
        {"{\"i\": {\"tap\": \"image.rgb\", \"crop\": {\"axis\": 2, \"to\": 9}}}",
         "possible only in rows"},
        {"{\"k{k}\": {\"tap\": \"text.layers.0.attn.scores\", \"crop\": {\"axis\": 3, \"to\": 9},"
         " \"join\": {\"over\": \"k\", \"axis\": 1}}}",
         "possible only in rows, joined by rows"},
        {"{\"i\": {\"tap\": \"logits\", \"reshape\": [9007199254740992, 9007199254740992]}}",
         "reshape: too large"},
        {"{\"i\": {\"tap\": \"text.norm\", \"crop\": {\"axis\": 2, \"to\": 9007199254740992}}}",
         "the tensor is too large"},
        {"{\"i\": {\"tap\": \"logits\", \"slice\": {\"axis\": 1, \"from\": \"n9\", \"to\": 1}}}",
         "slice: \"n9\": the port's tensor has no axis 9"},
        {"{\"i\": {\"tap\": \"logits\", \"slice\": {\"axis\": 1, \"to\": \"n9\"}}}",
         "slice: \"n9\""},
        {"{\"i\": {\"tap\": \"logits\", \"crop\": {\"axis\": 1, \"from\": \"n9\", \"to\": 1}}}",
         "crop: \"n9\""},
        {"{\"i\": {\"tap\": \"logits\", \"crop\": {\"axis\": 1, \"to\": \"n9\"}}}", "crop: \"n9\""},
        {"{\"i\": {\"tap\": \"logits\", \"crop\": {\"axis\": 1, \"from\": 2, \"to\": 1}}}",
         "crop: there is no axis 1 from 2 to 1"},
        {"{\"i\": {\"tap\": \"logits\", \"scale\": \"n9^1\"}}", "scale: \"n9\""},
        {"{\"z\": {\"tap\": \"logits\", \"scale\": \"n2^1\"}}", "scale: the size is 0"},
        {"{\"z{z}\": {\"tap\": \"logits\", \"join\": {\"over\": \"z\", \"axis\": 1}}}",
         "join: too large"},
    };
    enum { ODD = 6, PARTS = 130 };
    tensor many[ODD + PARTS] = {
        {"s", LLAVA_F64, 0, {0}, 0},           {"r", LLAVA_F64, 2, {1, 1}, 0},
        {"i", LLAVA_F64, 3, {64, 2, 3}, 0},    {"k0", LLAVA_F64, 4, {1, 1, 1, 1}, 0},
        {"k1", LLAVA_F64, 4, {1, 1, 1, 1}, 0}, {"z", LLAVA_F64, 3, {1, 2, 0}, 0},
    };
    static char names[PARTS][8];
    for (size_t i = 0; i < PARTS; i++) { /* without elements an extent may be any number */
        snprintf(names[i], sizeof names[i], "z%zu", i);
        many[ODD + i] = (tensor){names[i], LLAVA_F64, 3, {1, (size_t)1 << 57, 0}, 0};
    }
    for (size_t i = 0; i < COUNT(odd); i++) {
        refuses(many, i + 1 < COUNT(odd) ? ODD : ODD + PARTS, odd[i].map, odd[i].why);
    }
    /* nothing but empty tensors: their other extents say nothing */
    const tensor empty[] = {{"x", LLAVA_F64, 4, {1, 1, 2, 0}, 0},
                            {"text.norm", LLAVA_F64, 3, {1, 9, 0}, 0}};
    refuses(empty, 2,
            "{\"x\": {\"tap\": \"text.layers.0.attn.scores\", \"crop\": {\"axis\": 3, \"to\": 3}}}",
            "crop: it is empty");
    refuses(empty, 2, "{\"x\": {\"tap\": \"text.layers.0.attn.q\", \"rows\": \"last\"}}",
            "S is not known here");
}

static void a_map_that_is_neither_a_file_nor_built_in_is_refused_by_name(void **state)
{
    (void)state;
    llava_map map;
    llava_error e = {""};
    assert_false(llava_map_read(&map, "nosuch", &e));
    support_says(&e, "nosuch: neither a file nor a map that comes with the program (");
    support_says(&e, "llama.cpp, mlx, transformers, vllm");
    assert_false(llava_map_read(&map, folder.path, &e));
}

static void too_many_patterns_are_refused(void **state)
{
    (void)state;
    const size_t n = LLAVA_MAP_RULES + 2;
    char *text = malloc(n * 40 + 2), *at = text;
    llava_map map;
    llava_error e = {""};
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        at += sprintf(at, "%s\"x%zu\":{\"tap\":\"logits\"}", i == 0 ? "{" : ",", i);
    }
    strcpy(at, "}");
    assert_false(llava_map_parse(&map, "m", text, strlen(text), &e));
    support_says(&e, "m: more than 1024 patterns");
    at = text + sprintf(text, "{\"x\": {\"tap\": \"logits\", \"rows\": [0");
    for (size_t i = 1; i <= LLAVA_MAP_ROWS; i++) {
        at += sprintf(at, ",%zu", i);
    }
    strcpy(at, "]}}");
    assert_false(llava_map_parse(&map, "m", text, strlen(text), &e));
    support_says(&e, "rows: must be an array of at most");
    free(text);
}

/* ---- memory ---- */

static bool read_mapped(void *self, llava_error *e)
{
    const llava_plan plan = plan_of_tiny_model();
    const char *const *paths = self;
    llava_port *port;
    double *values;
    if (!llava_port_open(&port, paths[0], paths[1], &plan, e)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < llava_port_count(port); i++) {
        ok = llava_port_load(port, llava_port_at(port, i), &values, e);
        free(ok ? values : NULL);
    }
    llava_port_close(port);
    return ok;
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    const tensor tensors[] = {{"input_ids", LLAVA_I64, 2, {1, 4}, 1},
                              {"c0", LLAVA_F64, 4, {1, 1, 1, 3}, 0},
                              {"c1", LLAVA_F64, 4, {1, 1, 1, 4}, 10},
                              {"x", LLAVA_F64, 3, {4, 1, 2}, 0}};
    const char *paths[2] = {dump_of("port.npz", tensors, COUNT(tensors)), NULL};
    support_write_text(&folder, "map.json",
                       "{\"c{c}\": {\"tap\": \"text.layers.0.attn.scores\", \"crop\": "
                       "{\"axis\": 3, \"to\": \"S'\"}, \"rows\": [1, 3],"
                       " \"join\": {\"over\": \"c\", \"axis\": 2}},"
                       " \"x\": {\"tap\": \"text.norm\", \"transpose\": [1, 0, 2]}}");
    paths[1] = support_path(&folder, "map.json");
    assert_true(memory_runs_out(read_mapped, paths) > 30);
}

/* ---- the maps that come with the program ---- */

static llava_port *open_built_in(const tensor *tensors, size_t n, const char *map)
{
    llava_port *port = NULL;
    llava_error e = {""};
    const llava_plan plan = plan_of_tiny_model();
    if (!llava_port_open(&port, dump_of("port.npz", tensors, n), map, &plan, &e)) {
        fail_msg("%s", e.text);
    }
    return port;
}

static void built_in_maps_are_read_and_say_how_to_measure(void **state)
{
    (void)state;
    size_t count = 0;
    for (const llava_built_in_map *m = llava_built_in_maps; m->name != NULL; m++, count++) {
        llava_map map;
        llava_error e = {""};
        if (!llava_map_read(&map, m->name, &e)) {
            fail_msg("%s", e.text);
        }
        assert_true(map.count > 20);
        assert_true(cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(map.json, "_settings")));
        assert_true(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(map.json, "_about")));
        llava_map_free(&map);
    }
    assert_int_equal(count, 4);
}

static void transformers_old_and_new_module_paths(void **state)
{
    (void)state;
    const tensor tensors[] = {
        {"model.vision_tower.embeddings.patch_embedding.output", LLAVA_F64, 4, {1, 6, 2, 2}, 0},
        {"vision_tower.vision_model.encoder.layers.1.self_attn.k_proj.output",
         LLAVA_F64,
         3,
         {1, 5, 6},
         0},
        {"model.language_model.layers.0.input_layernorm.output", LLAVA_F64, 3, {1, 3, 8}, 0},
        {"model.language_model.norm.output", LLAVA_F64, 3, {1, 3, 8}, 7},
        {"language_model.model.layers.1.self_attn.k_proj.output", LLAVA_F64, 3, {1, 3, 4}, 0},
        {"model.language_model.layers.0.self_attn.attn.q_rope", LLAVA_F64, 4, {1, 2, 3, 4}, 0},
        {"lm_head.output", LLAVA_F64, 3, {1, 1, 11}, 0},
        {"step.1.lm_head.output", LLAVA_F64, 3, {1, 1, 11}, 5},
    };
    llava_port *port = open_built_in(tensors, COUNT(tensors), "transformers");
    assert_int_equal(llava_port_count(port), COUNT(tensors));
    HOLDS(port, "vision.patch_embed", "[1,4,6]", 0, 4, 8, 12, 16, 20, 1);
    HOLDS(port, "vision.layers.1.attn.k", "[1,5,2,3]", 0, 1, 2);
    HOLDS(port, "text.norm", "[1,3,8]", 7, 8);
    HOLDS(port, "text.layers.1.attn.k", "[1,3,1,4]", 0, 1);
    HOLDS(port, "text.layers.0.attn.q_rope", "[1,3,2,4]", 0, 1, 2, 3, 12, 13, 14, 15, 4);
    free(values_of(port, "logits", "[1,3,11]"));
    assert_true(llava_port_find(port, "logits")->partial);
    HOLDS(port, "step.1.logits", "[1,1,11]", 5, 6);
    llava_port_close(port);
}

/* Pixtral's modules, of which one input is two taps, and of which other models have none. */
static void pixtrals_modules_in_transformers_and_vllm(void **state)
{
    (void)state;
    const tensor transformers[] = {
        {"model.vision_tower.ln_pre.input", LLAVA_F64, 3, {1, 5, 6}, 0},
        {"model.vision_tower.ln_pre.output", LLAVA_F64, 3, {1, 5, 6}, 1},
        {"model.vision_tower.patch_positional_embedding.output.1", LLAVA_F64, 2, {5, 3}, 2},
        {"model.vision_tower.transformer.layers.1.attention.k_proj.output",
         LLAVA_F64,
         3,
         {1, 5, 6},
         0},
        {"vision_tower.transformer.layers.0.attention.attn.q_rope", LLAVA_F64, 4, {1, 2, 5, 3}, 0},
        {"vision_tower.transformer.layers.0.feed_forward.down_proj.input",
         LLAVA_F64,
         3,
         {1, 5, 7},
         3},
    };
    llava_port *port = open_built_in(transformers, COUNT(transformers), "transformers");
    assert_int_equal(llava_port_count(port), COUNT(transformers) + 1);
    HOLDS(port, "vision.patch_embed", "[1,5,6]", 0, 1);
    HOLDS(port, "vision.embed", "[1,5,6]", 0, 1);
    HOLDS(port, "vision.pre_norm", "[1,5,6]", 1, 2);
    HOLDS(port, "vision.rope.sin", "[5,3]", 2, 3);
    HOLDS(port, "vision.layers.1.attn.k", "[1,5,2,3]", 0, 1, 2);
    HOLDS(port, "vision.layers.0.attn.q_rope", "[1,5,2,3]", 0, 1, 2, 15, 16, 17, 3);
    HOLDS(port, "vision.layers.0.mlp.act", "[1,5,7]", 3, 4);
    llava_port_close(port);
    const tensor vllm[] = {
        {"vision_tower.transformer.layers.0.attention.qkv_proj.output",
         LLAVA_F64,
         3,
         {1, 5, 18},
         0},
        {"vision_tower.transformer.layers.0.feed_forward.gate_up_proj.output",
         LLAVA_F64,
         3,
         {1, 5, 14},
         0},
    };
    port = open_built_in(vllm, COUNT(vllm), "vllm");
    HOLDS(port, "vision.layers.0.attn.k", "[1,5,2,3]", 6, 7, 8, 9, 10, 11, 24);
    HOLDS(port, "vision.layers.0.mlp.up", "[1,5,7]", 7, 8, 9, 10, 11, 12, 13, 21);
    llava_port_close(port);
}

static void llama_cpp_chunks_uses_cells_and_last_rows(void **state)
{
    (void)state;
    const tensor tensors[] = {
        {"picture.0.Qcur-0", LLAVA_F32, 4, {1, 5, 2, 3}, 0},
        {"picture.1.Qcur-0", LLAVA_F32, 4, {1, 5, 2, 3}, 100},
        {"picture.0.ffn_gelu_quick-0", LLAVA_F32, 4, {1, 1, 5, 7}, 0},
        {"chunk.0.Qcur-1", LLAVA_F32, 4, {1, 1, 2, 8}, 0},
        {"chunk.0.Qcur-1#1", LLAVA_F32, 4, {1, 2, 2, 4}, 50},
        {"chunk.1.Qcur-1", LLAVA_F32, 4, {1, 1, 1, 8}, 16},
        {"chunk.1.Qcur-1#1", LLAVA_F32, 4, {1, 1, 2, 4}, 70},
        {"chunk.0.kq-1", LLAVA_F32, 4, {1, 2, 2, 6}, 0},
        {"chunk.1.kq-1", LLAVA_F32, 4, {1, 2, 1, 6}, 0},
        {"chunk.1.result_output", LLAVA_F32, 4, {1, 1, 1, 11}, 0},
        {"step.1.chunk.0.kq_soft_max_ext-1", LLAVA_F32, 4, {1, 2, 1, 6}, 0},
        {"chunk.0.node_17", LLAVA_F32, 1, {1}, 0},
    };
    llava_port *port = open_built_in(tensors, COUNT(tensors), "llama.cpp");
    HOLDS(port, "vision.layers.0.attn.q", "[2,5,2,3]", 0, 1, 2); /* the tower's are not permuted */
    free(values_of(port, "vision.layers.0.mlp.act", "[1,5,7]"));
    HOLDS(port, "text.layers.1.attn.q", "[1,3,2,4]", 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11);
    HOLDS(port, "text.layers.1.attn.q_rope", "[1,3,2,4]", 50, 52, 51, 53);
    HOLDS(port, "text.layers.1.attn.scores", "[1,2,3,3]", 0, 0.5, 1, 3, 3.5, 4, 0, 0.5, 1, 6);
    free(values_of(port, "logits", "[1,3,11]"));
    assert_true(llava_port_given(llava_port_find(port, "logits"), 2, 0));
    assert_false(llava_port_given(llava_port_find(port, "logits"), 1, 0));
    HOLDS(port, "step.1.text.layers.1.attn.probs", "[1,2,1,4]", 0, 1, 2, 3, 6, 7, 8, 9);
    assert_int_equal(llava_port_extra_count(port), 1);
    llava_port_close(port);
}

static void vllm_fused_tensors_and_mlx_channels(void **state)
{
    (void)state;
    const tensor vllm[] = {
        {"language_model.model.layers.0.input_layernorm.output", LLAVA_F32, 2, {3, 8}, 0},
        {"language_model.model.layers.1.input_layernorm.output.0", LLAVA_F32, 2, {3, 8}, 9},
        {"language_model.model.layers.1.self_attn.qkv_proj.output", LLAVA_F32, 2, {3, 16}, 0},
        {"language_model.model.layers.1.mlp.gate_up_proj.output", LLAVA_F32, 2, {3, 10}, 0},
        {"vision_tower.vision_model.encoder.layers.0.self_attn.qkv_proj.output",
         LLAVA_F32,
         3,
         {1, 5, 18},
         0},
        {"language_model.logits_processor.output", LLAVA_F32, 2, {1, 12}, 0},
    };
    llava_port *port = open_built_in(vllm, COUNT(vllm), "vllm");
    HOLDS(port, "text.layers.0.norm1", "[1,3,8]", 0, 1);
    HOLDS(port, "text.layers.1.norm1", "[1,3,8]", 9, 10);
    HOLDS(port, "text.layers.1.attn.k", "[1,3,1,4]", 8, 9, 10, 11, 24);
    HOLDS(port, "text.layers.1.mlp.up", "[1,3,5]", 5, 6, 7, 8, 9, 15);
    HOLDS(port, "vision.layers.0.attn.v", "[1,5,2,3]", 12, 13, 14, 15, 16, 17, 30);
    HOLDS(port, "logits", "[1,3,11]", 0, 0);
    llava_port_close(port);
    const tensor mlx[] = {
        {"vision_tower.input", LLAVA_F32, 4, {1, 2, 2, 3}, 0},
        {"language_model.model.layers.0.self_attn.rope.output", LLAVA_F32, 4, {1, 2, 3, 4}, 0},
        {"language_model.model.layers.0.self_attn.rope.output#1", LLAVA_F32, 4, {1, 1, 3, 4}, 40},
    };
    port = open_built_in(mlx, COUNT(mlx), "mlx");
    HOLDS(port, "pixel_values", "[1,3,2,2]", 0, 3, 6, 9, 1, 4);
    HOLDS(port, "text.layers.0.attn.q_rope", "[1,3,2,4]", 0, 1, 2, 3, 12);
    HOLDS(port, "text.layers.0.attn.k_rope", "[1,3,1,4]", 40, 41);
    llava_port_close(port);
}

/* ---- hostile maps ---- */

/* Maps with a few bytes changed: whatever happens, it happens without a fault, and a refusal is one
 * line. */
static void mutated_maps_are_read_or_refused_in_one_line(void **state)
{
    (void)state;
    static const char alphabet[] = "{}[]\":,0123456789-*?+.^nhdS_ eax\\";
    uint64_t seed = 20260;
    for (const llava_built_in_map *m = llava_built_in_maps; m->name != NULL; m++) {
        char *text = malloc(m->size);
        assert_non_null(text);
        for (int round = 0; round < 150; round++) {
            memcpy(text, m->json, m->size);
            for (int change = 0; change <= round % 3; change++) {
                const double where = (support_random(&seed) + 1) / 2;
                const double what = (support_random(&seed) + 1) / 2;
                text[(size_t)(where * (double)m->size)] =
                    alphabet[(size_t)(what * (double)(sizeof alphabet - 1))];
            }
            llava_map map;
            llava_error e = {""};
            if (llava_map_parse(&map, "m", text, m->size, &e)) {
                llava_map_free(&map);
            } else {
                support_says(&e, "m");
            }
        }
        free(text);
    }
}

/* ---- sizes ---- */

static void sizes_are_sums_of_products_of_what_has_a_size(void **state)
{
    (void)state;
    char longest[600];
    memset(longest, '1', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    static const char *const good[] = {"1",     "S",  "S'",   "h*d", "head_dim",
                                       "h+2*k", "n0", "n1*2", "?"};
    const char *const bad[][2] = {
        {"", "is no size"},
        {"h*", "is no size"},
        {"2h", "is no size"},
        {"h?", "is no size"},
        {"+", "is no size"},
        {"n", "no size is called so"},
        {"head", "no size is called so"},
        {"99999999999999999999", "the number is too large"},
        {"18446744073709551616", "the number is too large"},
        {"n99999999999999999999", "the number is too large"},
        {"4294967296*4294967296", "is too large"},
        {"18446744073709551615+1", "is too large"},
        {"h-1", "a size is letters, numbers, * and +"},
        {longest, "at most 512 of them"},
    };
    llava_error e;
    for (size_t k = 0; k < COUNT(good); k++) {
        assert_true(llava_size_check(good[k], &e));
    }
    for (size_t k = 0; k < COUNT(bad); k++) {
        assert_false(llava_size_check(bad[k][0], &e));
        support_says(&e, bad[k][1]);
    }
}

/* An empty tensor's extents, and those of a tap with another number of axes, teach nothing. */
static void sizes_are_learnt_from_whole_tensors(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{2, 0, 8}, {2, 5, 8}};
    llava_sizes sizes;
    size_t value;
    bool open;
    llava_error e;
    llava_tap_place place;
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    assert_true(llava_tap_find("text.norm", &place));
    llava_sizes_at at = {.sizes = &sizes, .kind = &kinds[place.kind]};
    llava_sizes_from_plan(&sizes, NULL);
    llava_sizes_learn(&sizes, "text.norm", 3, shapes[0]);
    llava_sizes_learn(&sizes, "text.norm", 2, shapes[1]);
    llava_sizes_learn(&sizes, "step.1.text.norm", 3, shapes[1]);
    llava_sizes_learn(&sizes, "no.tap", 3, shapes[1]);
    assert_true(llava_size_of(&at, "S", &value, &open, &e));
    assert_true(open);
    llava_sizes_learn(&sizes, "text.norm", 3, shapes[1]);
    assert_true(llava_size_of(&at, "B*S", &value, &open, &e));
    assert_true(!open && value == 10);
    assert_true(llava_size_of(&at, "S'", &value, &open, &e));
    assert_true(!open && value == 5);
    at.pass.step = 3; /* one new position behind the prompt and two steps */
    assert_true(llava_size_of(&at, "S", &value, &open, &e));
    assert_int_equal(value, 1);
    assert_true(llava_size_of(&at, "S'", &value, &open, &e));
    assert_int_equal(value, 8);
    assert_false(llava_size_of(&at, "n0", &value, &open, &e));
    support_says(&e, "the port's tensor has no axis 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_map_tensors_are_known_by_the_names_of_taps),
        cmocka_unit_test(a_pattern_captures_numbers_and_skips_what_a_star_stands_for),
        cmocka_unit_test(stars_and_captures_match_as_the_naive_definition_says),
        cmocka_unit_test(a_tap_is_named_where_its_numbers_are_known_and_it_fits),
        cmocka_unit_test(reshape_takes_letters_products_own_extents_and_one_unknown),
        cmocka_unit_test(transpose_names_for_each_axis_of_the_tap_the_axis_it_was),
        cmocka_unit_test(slice_takes_a_tap_out_of_a_fused_tensor),
        cmocka_unit_test(permute_puts_the_halves_of_an_interleaved_head_side_by_side),
        cmocka_unit_test(scale_multiplies_by_a_number_or_a_power_of_a_size),
        cmocka_unit_test(join_lines_the_chunks_up_by_number_not_by_name),
        cmocka_unit_test(join_along_an_inner_axis),
        cmocka_unit_test(use_picks_one_of_several_nodes_of_a_name),
        cmocka_unit_test(crop_keeps_the_keys_in_use_and_marks_those_that_lack),
        cmocka_unit_test(cells_that_lack_in_some_rows_and_rows_that_lack_besides),
        cmocka_unit_test(tensors_without_elements_and_without_axes),
        cmocka_unit_test(rows_say_where_the_rows_of_the_port_belong),
        cmocka_unit_test(rows_of_a_full_tensor_mark_the_others_as_not_computed),
        cmocka_unit_test(rows_of_the_heads_of_a_sample_belong_together),
        cmocka_unit_test(repeat_gives_every_sample_the_one_that_is_there),
        cmocka_unit_test(rules_of_the_prefill_hold_behind_a_steps_prefix),
        cmocka_unit_test(all_keys_together_follow_the_stated_order),
        cmocka_unit_test(sizes_come_from_another_dump_where_there_is_no_model),
        cmocka_unit_test(comments_and_optional_patterns),
        cmocka_unit_test(refused_rules),
        cmocka_unit_test(refused_applications),
        cmocka_unit_test(a_map_that_is_neither_a_file_nor_built_in_is_refused_by_name),
        cmocka_unit_test(too_many_patterns_are_refused),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(built_in_maps_are_read_and_say_how_to_measure),
        cmocka_unit_test(transformers_old_and_new_module_paths),
        cmocka_unit_test(pixtrals_modules_in_transformers_and_vllm),
        cmocka_unit_test(llama_cpp_chunks_uses_cells_and_last_rows),
        cmocka_unit_test(vllm_fused_tensors_and_mlx_channels),
        cmocka_unit_test(mutated_maps_are_read_or_refused_in_one_line),
        cmocka_unit_test(sizes_are_sums_of_products_of_what_has_a_size),
        cmocka_unit_test(sizes_are_learnt_from_whole_tensors),
    };
    return cmocka_run_group_tests_name("map", tests, set_up, tear_down);
}
