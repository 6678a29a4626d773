/* A folder's weights: shards, spellings, and what is refused. */
#include "ref/checkpoint.h"

#include "memory.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NORM "language_model.model.norm.weight"

/* Every test has a folder of its own. */
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

/* A file with one tensor of two F32 elements for each name, in their order. */
static void write_tensors(const char *file, const char *const *names, size_t count)
{
    char header[4096];
    size_t at = (size_t)snprintf(header, sizeof header, "{");
    for (size_t i = 0; i < count; i++) {
        at += (size_t)snprintf(header + at, sizeof header - at,
                               "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[%zu,%"
                               "zu]}",
                               i == 0 ? "" : ",", names[i], 8 * i, 8 * i + 8);
    }
    snprintf(header + at, sizeof header - at, "}");
    support_write_safetensors(&folder, file, header, 8 * count);
}

static void write_one(const char *file, const char *name)
{
    write_tensors(file, &name, 1);
}

static void write_index(const char *map)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":8},\"weight_map\":%s}", map);
    support_write_text(&folder, "model.safetensors.index.json", text);
}

static llava_checkpoint *opened(void)
{
    llava_checkpoint *c;
    llava_error e, warning;
    if (!llava_checkpoint_open(&c, folder.path, &warning, &e)) {
        fail_msg("%s", e.text);
    }
    return c;
}

static void refused(const char *message)
{
    llava_checkpoint *c;
    llava_error e;
    assert_false(llava_checkpoint_open(&c, folder.path, NULL, &e));
    assert_null(c);
    support_says(&e, message);
}

static void every_spelling_leads_to_the_canonical_name(void **state)
{
    (void)state;
    const struct {
        const char *file, *canonical;
    } names[] = {
        {"language_model.model.norm.weight", NORM},
        {"language_model.norm.weight", NORM},
        {"model.language_model.norm.weight", NORM},
        {"model.language_model.model.norm.weight", NORM},
        {"language_model.lm_head.weight", "language_model.lm_head.weight"},
        {"lm_head.weight", "language_model.lm_head.weight"},
        {"model.lm_head.weight", "language_model.lm_head.weight"},
        {"vision_tower.vision_model.pre_layrnorm.bias",
         "vision_tower.vision_model.pre_layrnorm.bias"},
        {"vision_tower.pre_layrnorm.bias", "vision_tower.vision_model.pre_layrnorm.bias"},
        {"model.vision_tower.pre_layrnorm.bias", "vision_tower.vision_model.pre_layrnorm.bias"},
        {"model.vision_tower.vision_model.pre_layrnorm.bias",
         "vision_tower.vision_model.pre_layrnorm.bias"},
        {"multi_modal_projector.linear_1.bias", "multi_modal_projector.linear_1.bias"},
        {"model.multi_modal_projector.linear_1.bias", "multi_modal_projector.linear_1.bias"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        write_one("model.safetensors", names[i].file);
        llava_checkpoint *c = opened();
        const llava_weight *w = llava_checkpoint_find(c, names[i].canonical);
        if (w == NULL) {
            fail_msg("%s was not found as %s", names[i].file, names[i].canonical);
        }
        assert_string_equal(w->name, names[i].file);
        llava_checkpoint_close(c);
    }
}

static void spellings_may_be_mixed_in_one_file(void **state)
{
    (void)state;
    /* as save_pretrained of transformers 5.23 writes them */
    const char *names[] = {NORM, "vision_tower.post_layernorm.weight", "lm_head.weight",
                           "model.multi_modal_projector.linear_2.bias"};
    write_tensors("model.safetensors", names, 4);
    llava_checkpoint *c = opened();
    assert_non_null(llava_checkpoint_find(c, NORM));
    assert_non_null(llava_checkpoint_find(c, "vision_tower.vision_model.post_layernorm.weight"));
    assert_non_null(llava_checkpoint_find(c, "language_model.lm_head.weight"));
    assert_non_null(llava_checkpoint_find(c, "multi_modal_projector.linear_2.bias"));
    assert_null(llava_checkpoint_find(c, "multi_modal_projector.linear_2.weight"));
    assert_null(llava_checkpoint_find(c, "lm_head.weight")); /* not a canonical name */
    llava_checkpoint_close(c);
}

static void two_spellings_of_one_tensor_are_refused(void **state)
{
    (void)state;
    const char *names[] = {NORM, "model.language_model.norm.weight"};
    write_tensors("model.safetensors", names, 2);
    refused("'model.language_model.norm.weight' is there twice (also 'language_model.model.norm");
}

static void saved_buffers_and_foreign_tensors_are_only_listed(void **state)
{
    (void)state;
    const char *names[] = {"language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
                           "language_model.layers.0.self_attn.rotary_emb.inv_freq",
                           "vision_tower.embeddings.position_ids", "model.image_newline", NORM};
    write_tensors("model.safetensors", names, 5);
    llava_checkpoint *c = opened();
    assert_int_equal(llava_checkpoint_count(c), 5);
    assert_null(llava_checkpoint_find(c, names[0]));
    assert_non_null(llava_checkpoint_find(c, NORM));
    size_t used = 0;
    for (size_t i = 0; i < 5; i++) {
        llava_checkpoint_entry entry = llava_checkpoint_at(c, i);
        assert_string_equal(entry.weight.name, names[i]);
        assert_string_equal(entry.type_name, "F32");
        used += entry.used;
    }
    assert_int_equal(used, 1);
    llava_checkpoint_close(c);
}

static void a_needed_tensor_has_the_shape_and_a_float_type(void **state)
{
    (void)state;
    const char *header =
        "{\"language_model.norm.weight\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[0,4]}"
        ","
        "\"lm_head.weight\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[4,12]},"
        "\"multi_modal_projector.linear_1.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],"
        "\"data_offsets\":[12,13]},"
        "\"multi_modal_projector.linear_1.bias\":{\"dtype\":\"BOOL\",\"shape\":[1],"
        "\"data_offsets\":[13,14]},"
        "\"extra\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1],\"data_offsets\":[14,18]}}";
    support_write_safetensors(&folder, "model.safetensors", header, 18);
    llava_checkpoint *c = opened();
    llava_weight w;
    llava_error e;
    assert_true(llava_checkpoint_need(c, &w, NORM, 2, (size_t[]){2, 1}, &e));
    assert_int_equal(w.dtype, LLAVA_F16);
    assert_int_equal(w.count, 2);
    assert_int_equal(w.bytes[3], 3);
    assert_false(llava_checkpoint_need(c, &w, NORM, 2, (size_t[]){1, 2}, &e));
    support_says(&e, "/model.safetensors: tensor 'language_model.norm.weight' has the shape [2, 1],"
                     " where config.json means [1, 2]");
    assert_false(llava_checkpoint_need(c, &w, NORM, 1, (size_t[]){2}, &e));
    support_says(&e, "means [2]");
    assert_false(
        llava_checkpoint_need(c, &w, "language_model.lm_head.weight", 1, (size_t[]){1}, &e));
    support_says(&e, "tensor 'lm_head.weight' has the type I64");
    assert_false(llava_checkpoint_need(c, &w, "multi_modal_projector.linear_1.weight", 1,
                                       (size_t[]){1}, &e));
    support_says(&e, "has the type F8_E4M3");
    assert_false(
        llava_checkpoint_need(c, &w, "multi_modal_projector.linear_1.bias", 1, (size_t[]){1}, &e));
    support_says(&e, "has the type BOOL");
    assert_false(
        llava_checkpoint_need(c, &w, "multi_modal_projector.linear_2.bias", 1, (size_t[]){1}, &e));
    support_says(&e, "/model.safetensors: tensor 'multi_modal_projector.linear_2.bias' is missing");
    assert_int_equal(llava_checkpoint_at(c, 4).weight.rank, 6);
    llava_checkpoint_close(c);
}

static void shards_are_one_checkpoint(void **state)
{
    (void)state;
    write_one("model-00002-of-2.safetensors", NORM);
    write_one("model-00001-of-2.safetensors", "lm_head.weight");
    write_index("{\"" NORM "\":\"model-00002-of-2.safetensors\","
                "\"lm_head.weight\":\"model-00001-of-2.safetensors\"}");
    llava_checkpoint *c = opened();
    const char *path;
    const uint8_t *bytes;
    size_t n;
    assert_non_null(llava_checkpoint_find(c, NORM));
    assert_non_null(llava_checkpoint_find(c, "language_model.lm_head.weight"));
    assert_int_equal(llava_checkpoint_files(c), 2);
    llava_checkpoint_header(c, 0, &path, &bytes, &n);
    assert_non_null(strstr(path, "/model-00001-of-2.safetensors")); /* by name */
    assert_true(n > 0 && bytes[0] == '{' && bytes[n - 1] == '}');
    llava_checkpoint_close(c);
}

static void links_are_followed_but_paths_stay_in_the_folder(void **state)
{
    (void)state;
    assert_int_equal(mkdir(support_path(&folder, "sub"), 0700), 0);
    write_one("sub/blob", NORM);
    assert_int_equal(symlink("sub/blob", support_path(&folder, "a.safetensors")), 0);
    const char *inside[] = {"a.safetensors", "sub/blob"};
    for (size_t i = 0; i < 2; i++) {
        char map[200];
        snprintf(map, sizeof map, "{\"" NORM "\":\"%s\"}", inside[i]);
        write_index(map);
        llava_checkpoint_close(opened());
    }
    const char *outside[] = {
        "../a.safetensors", "/etc/passwd", "sub/../a.safetensors", "..", "", "./a.safetensors",
        "sub//blob",        "sub/"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char map[200];
        snprintf(map, sizeof map, "{\"" NORM "\":\"%s\"}", outside[i]);
        write_index(map);
        refused("leaves the folder");
    }
}

static void a_tensor_that_its_shard_lacks_is_refused(void **state)
{
    (void)state;
    write_one("a.safetensors", NORM);
    write_one("b.safetensors", "lm_head.weight");
    write_index("{\"" NORM "\":\"a.safetensors\",\"lm_head.weight\":\"b.safetensors\","
                "\"x\":\"a.safetensors\"}");
    refused("weight_map: tensor 'x' is not in the shard 'a.safetensors'");
    /* in the other shard */
    write_index("{\"" NORM "\":\"b.safetensors\",\"lm_head.weight\":\"a.safetensors\"}");
    refused("tensor '" NORM "' is not in the shard 'b.safetensors'");
    /* a shard whose name ends like the one that holds it */
    assert_int_equal(mkdir(support_path(&folder, "s"), 0700), 0);
    write_one("s/a.safetensors", "lm_head.weight");
    write_index("{\"lm_head.weight\":\"a.safetensors\",\"" NORM "\":\"s/a.safetensors\"}");
    refused("is not in the shard");
}

static void one_tensor_in_two_shards_is_refused(void **state)
{
    (void)state;
    const char *names[] = {"extra", "lm_head.weight"};
    write_one("a.safetensors", "extra");
    write_tensors("b.safetensors", names, 2);
    write_index("{\"extra\":\"a.safetensors\",\"lm_head.weight\":\"b.safetensors\"}");
    refused("tensor 'extra' is there twice");
}

static void a_broken_index_is_refused(void **state)
{
    (void)state;
    const char *path = "model.safetensors.index.json";
    support_write_text(&folder, path, "{\"metadata\":{}}");
    refused("index.json: weight_map: is missing");
    support_write_text(&folder, path, "{\"weight_map\":[]}");
    refused("index.json: weight_map: must be an object");
    support_write_text(&folder, path, "[]");
    refused("index.json: must be an object");
    write_index("{}");
    refused("weight_map: names no tensor");
    write_index("{\"a\":1}");
    refused("weight_map: 'a': must be a string");
    write_index("{\"a\":\"x\",\"a\":\"x\"}");
    refused("duplicate key 'a'");
    write_index("{\"a\":\"missing.safetensors\"}");
    refused("/missing.safetensors: No such file or directory");
    write_index("{\"a\":\".a\"}"); /* a name like others */
    refused("/.a: No such file or directory");
}

/* A tower's folder without weights has nothing to say; one whose weights cannot be read ends it. */
static void a_tower_of_its_own_is_opened_or_refused(void **state)
{
    (void)state;
    llava_checkpoint *c;
    llava_error e;
    char tower[512];
    snprintf(tower, sizeof tower, "%s", support_path(&folder, "tower"));
    assert_int_equal(mkdir(tower, 0700), 0);
    write_one("model.safetensors", "model.norm.weight");
    assert_true(llava_checkpoint_open_original(&c, folder.path, tower, NULL, &e));
    assert_int_equal(llava_checkpoint_count(c), 1);
    llava_checkpoint_close(c);
    support_write_text(&folder, "tower/model.safetensors.index.json", "{");
    assert_false(llava_checkpoint_open_original(&c, folder.path, tower, NULL, &e));
    assert_null(c);
    support_says(&e, "tower/model.safetensors.index.json: a string is missing");
}

static bool open_whole(void *self, llava_error *e)
{
    llava_checkpoint *c;
    bool ok = llava_checkpoint_open_original(&c, folder.path, self, NULL, e);
    llava_checkpoint_close(c);
    return ok;
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    char tower[512];
    snprintf(tower, sizeof tower, "%s", support_path(&folder, "tower"));
    assert_int_equal(mkdir(tower, 0700), 0);
    write_one("a.safetensors", "model.norm.weight");
    write_index("{\"model.norm.weight\":\"a.safetensors\"}");
    write_one("tower/model.safetensors", "vision_model.pre_layrnorm.bias");
    assert_true(memory_runs_out(open_whole, tower) > 20);
}

static void too_many_shards_are_refused(void **state)
{
    (void)state;
    char *map = malloc(5000 * 32);
    assert_non_null(map);
    size_t at = (size_t)sprintf(map, "{\"weight_map\":{");
    for (int i = 0; i < 5000; i++) {
        at += (size_t)sprintf(map + at, "%s\"%d\":\"%d\"", i == 0 ? "" : ",", i, i);
    }
    sprintf(map + at, "}}");
    support_write_text(&folder, "model.safetensors.index.json", map);
    free(map);
    refused("more than 4096 shards");
}

static void a_single_file_wins_over_an_index_with_a_warning(void **state)
{
    (void)state;
    llava_checkpoint *c;
    llava_error e, warning;
    write_one("model.safetensors", NORM);
    assert_true(llava_checkpoint_open(&c, folder.path, &warning, &e));
    assert_string_equal(warning.text, "");
    llava_checkpoint_close(c);
    write_index("{\"nonsense\":\"/nowhere\"}");
    assert_true(llava_checkpoint_open(&c, folder.path, &warning, &e));
    support_says(&warning, "/model.safetensors: is read; model.safetensors.index.json beside it is"
                           " not");
    llava_checkpoint_close(c);
}

static void a_folder_without_weights_is_refused(void **state)
{
    (void)state;
    refused("holds neither model.safetensors nor model.safetensors.index.json");
    assert_int_equal(mkdir(support_path(&folder, "model.safetensors"), 0700), 0);
    refused("/model.safetensors: not a regular file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_spelling_leads_to_the_canonical_name, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(spellings_may_be_mixed_in_one_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_spellings_of_one_tensor_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(saved_buffers_and_foreign_tensors_are_only_listed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_needed_tensor_has_the_shape_and_a_float_type, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(shards_are_one_checkpoint, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_are_followed_but_paths_stay_in_the_folder, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_tensor_that_its_shard_lacks_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_tensor_in_two_shards_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_index_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_tower_of_its_own_is_opened_or_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_that_runs_out_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_shards_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_single_file_wins_over_an_index_with_a_warning, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_folder_without_weights_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
