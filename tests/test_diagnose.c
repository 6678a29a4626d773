/* llava-ref diagnose: planted decisions are named, honest ports pass, damage is located and not
 * guessed at. The whole matrix of decisions, cases, types and dumps is tools/check_diagnosis.py. */
#include "ref/file.h"
#include "ref/json.h"
#include "ref/number.h"
#include "tests/golden_case.h"
#include "tests/opencv_ports.h"
#include "tests/program.h"
#include "tests/step_vectors.h"
#include "tests/tiny.h"
#include "tools/command.h"
#include "tools/dump_writer.h"
#include "tools/llava_dump.h"
#include "tools/session.h"
#include "tools/sinks.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- running the commands in this process
 * ------------------------------------------------------- */

enum { MOST_WORDS = 64 };

typedef struct {
    support_folder folder;
    int status;
    llava_error error;
    cJSON *json;
} bench;

static bench open_bench(void)
{
    return (bench){.folder = support_folder_new()};
}

static void close_bench(bench *b)
{
    cJSON_Delete(b->json);
    support_folder_remove(&b->folder);
}

/* Runs a command with these words, what it prints going nowhere. */
static void command(bench *b, const llava_command *c, char **words, int count)
{
    fflush(stdout);
    fflush(stderr);
    int kept = dup(STDOUT_FILENO), kept_err = dup(STDERR_FILENO);
    assert_non_null(freopen("/dev/null", "w", stdout));
    assert_non_null(freopen("/dev/null", "w", stderr));
    b->error.text[0] = '\0';
    b->status = c->run(count, words, &b->error);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    dup2(kept_err, STDERR_FILENO);
    close(kept);
    close(kept_err);
}

typedef struct {
    char *word[MOST_WORDS];
    int count;
} words;

static void add(words *w, const char *word)
{
    assert_true(w->count < MOST_WORDS);
    w->word[w->count] = strdup(word);
    assert_non_null(w->word[w->count++]);
}

/* Words separated by blanks. */
static void add_all(words *w, const char *text)
{
    char copy[2048];
    snprintf(copy, sizeof copy, "%s", text);
    char *rest = NULL;
    for (char *at = strtok_r(copy, " ", &rest); at != NULL; at = strtok_r(NULL, " ", &rest)) {
        add(w, at);
    }
}

static void free_words(words *w)
{
    for (int i = 0; i < w->count; i++) {
        free(w->word[i]);
    }
}

/* The model folder of a golden case and its inputs, as case.json has them; `running`: with its
 * --generate too. */
static void add_case(words *w, const char *name, const char *model, bool running)
{
    char path[512], text[8192];
    llava_error e;
    snprintf(path, sizeof path, "golden/%s/case.json", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text, file);
    fclose(file);
    cJSON *json = llava_json_parse(path, text, n, &e);
    const cJSON *argument = cJSON_GetObjectItemCaseSensitive(json, "arguments")->child;
    for (; argument != NULL; argument = argument->next) {
        const char *word = argument->valuestring;
        bool of_run = strcmp(word, "--generate") == 0 || strcmp(word, "--prefill-chunk") == 0;
        if (strcmp(word, "--taps") == 0 || (of_run && !running)) {
            argument = argument->next;
            continue;
        }
        add(w, word);
        if (word[0] != '-') {
            continue;
        }
        argument = argument->next;
        bool a_path = strcmp(word, "--model") == 0 || strcmp(word, "--inputs") == 0 ||
                      strcmp(word, "--image") == 0 || strcmp(word, "--messages") == 0 ||
                      strcmp(word, "--vision-tower") == 0;
        bool own = strcmp(word, "--model") == 0 && model != NULL;
        snprintf(path, sizeof path, "golden/%s/%s", name, argument->valuestring);
        add(w, own ? model : a_path ? path : argument->valuestring);
    }
    cJSON_Delete(json);
}

/* A dump of the case with these further words of `run`; false where run refuses it. */
static bool dump(bench *b, const char *name, const char *model, const char *more, const char *to)
{
    words w = {.count = 0};
    add_case(&w, name, model, true);
    add_all(&w, more);
    add(&w, "--dump");
    add(&w, support_path(&b->folder, to));
    command(b, &llava_command_run, w.word, w.count);
    free_words(&w);
    return b->status == 0;
}

static void read_json(bench *b, const char *path)
{
    static char text[1 << 20];
    cJSON_Delete(b->json);
    b->json = NULL;
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        size_t n = fread(text, 1, sizeof text, file);
        fclose(file);
        b->json = llava_json_parse(path, text, n, &b->error);
    }
}

static void diagnose(bench *b, const char *name, const char *path, const char *more)
{
    words w = {.count = 0};
    char json[512];
    snprintf(json, sizeof json, "%s", support_path(&b->folder, "out.json"));
    unlink(json);
    add_case(&w, name, NULL, false);
    add_all(&w, more);
    add(&w, "--dump");
    add(&w, path);
    add(&w, "--json");
    add(&w, json);
    command(b, &llava_command_diagnose, w.word, w.count);
    free_words(&w);
    read_json(b, json);
}

/* ---- reading the result
 * ----------------------------------------------------------------------------- */

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "(none)";
}

static const cJSON *list_of(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static double number_in(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static int finding_count(const bench *b)
{
    return cJSON_GetArraySize(list_of(b->json, "findings"));
}

static const cJSON *finding(const bench *b, int i)
{
    return cJSON_GetArrayItem(list_of(b->json, "findings"), i);
}

/* "NAME=VALUE", or "NAME=VALUE+NAME=VALUE" of cause i. */
static const char *cause(const cJSON *f, int i)
{
    static char text[256];
    const cJSON *c = cJSON_GetArrayItem(list_of(f, "causes"), i);
    snprintf(text, sizeof text, "%s=%s", text_of(c, "decision"), text_of(c, "value"));
    const cJSON *with;
    cJSON_ArrayForEach(with, list_of(c, "with"))
    {
        snprintf(text + strlen(text), sizeof text - strlen(text), "+%s=%s",
                 text_of(with, "decision"), text_of(with, "value"));
    }
    return text;
}

static bool in_precision(const bench *b, const char *choice)
{
    const cJSON *one;
    char text[128];
    cJSON_ArrayForEach(one, list_of(list_of(b->json, "precision"), "decisions"))
    {
        snprintf(text, sizeof text, "%s=%s", text_of(one, "decision"), text_of(one, "value"));
        if (strcmp(text, choice) == 0) {
            return true;
        }
    }
    return false;
}

static const char *shown(const bench *b)
{
    static char *text;
    cJSON *copy = cJSON_Duplicate(b->json, true);
    cJSON_DeleteItemFromObject(copy, "taps");
    cJSON_DeleteItemFromObject(copy, "inherited");
    free(text);
    text = copy == NULL ? NULL : cJSON_PrintUnformatted(copy);
    cJSON_Delete(copy);
    return text == NULL ? b->error.text : text;
}

/* ---- planted decisions
 * ------------------------------------------------------------------------------ */

#define PICTURES "image.*,pixel_values,input_ids"
#define SPARSE   "vision.features,projector.out,text.layers.*.output,logits"

/* One decision planted in a case: named as the only finding, first among its causes. */
typedef struct {
    const char *name, *choice;
    const char *more; /* of run */
    const char *tap;  /* where it must be found; NULL: anywhere */
    const char *with; /* of diagnose */
} planted;

static const planted full[] = {
    {"plain", "vision.patch_order=column-major", "", "vision.patch_embed", ""},
    {"plain", "vision.patch_kernel=ohwi", "", "vision.patch_embed", ""},
    {"plain", "vision.cls_position=last", "", "vision.embed", ""},
    {"plain", "vision.cls_position=absent", "", "vision.embed", ""},
    {"plain", "vision.positions=shifted", "", "vision.embed", ""},
    {"plain", "vision.pre_norm=absent", "", "vision.pre_norm", ""},
    {"plain", "vision.norm_eps=1e-6", "", "vision.pre_norm", ""},
    {"plain", "vision.act=gelu", "", "vision.layers.0.mlp.act", ""},
    {"plain", "vision.attn_scale=width", "", "vision.layers.0.attn.scores", ""},
    {"plain", "vision.attn_mask=causal", "", "vision.layers.0.attn.probs", ""},
    {"plain", "vision.attn_bias=absent", "", "vision.layers.0.attn.q", ""},
    {"full-strategy", "vision.feature_layer=one-less", "", "vision.features", ""},
    {"plain", "vision.post_norm=applied", "", "vision.features", ""},
    {"plain", "vision.select=drop-last", "", "vision.features", ""},
    {"plain", "projector.act=gelu_tanh", "", "projector.act", ""},
    {"plain", "projector.bias=absent", "", "projector.fc1", ""},
    {"plain", "merge.scale=sqrt-width", "", "text.inputs_embeds", ""},
    {"plain", "merge.placement=one-late", "", "text.inputs_embeds", ""},
    {"several-pictures", "merge.order=reversed", "", "text.inputs_embeds", ""},
    {"plain", "text.norm_eps=1e-6", "", "text.layers.0.norm1", ""},
    {"plain", "text.norm_weight=plus-one", "", "text.layers.0.norm1", ""},
    {"plain", "text.norm_kind=layer", "", "text.layers.0.norm1", ""},
    {"plain", "text.rope_pairing=interleaved", "", "text.layers.0.attn.q_rope", ""},
    {"plain", "text.rope_theta=1e6", "", "text.rope.cos", ""},
    {"plain", "text.rope_sign=reversed", "", NULL, ""},
    {"plain", "text.positions=image-shared", "", "position_ids", ""},
    {"batch-left", "text.positions=mask-cumulative", "", "position_ids", "--positions forward"},
    {"plain", "text.attn_scale=none", "", "text.layers.0.attn.scores", ""},
    {"plain", "text.attn_mask=next-included", "", "text.layers.0.attn.probs", ""},
    {"batch-left", "text.padding_mask=ignored", "", "text.layers.0.attn.probs", ""},
    {"grouped-heads", "text.kv_groups=interleaved", "", "text.layers.0.attn.scores", ""},
    {"grouped-heads", "text.qkv_bias=absent", "", "text.layers.0.attn.q", ""},
    {"plain", "text.mlp_act=gelu_tanh", "", "text.layers.0.mlp.act", ""},
    {"plain", "text.mlp_order=gate-up-swapped", "", "text.layers.0.mlp.act", ""},
    {"plain", "text.layers=one-less", "", NULL, ""},
    {"plain", "text.final_norm=absent", "", "text.norm", ""},
    {"generate", "cache.position=skipped", "", "step.1.position_ids", ""},
    /* the other towers */
    {"siglip", "vision.patch_bias=absent", "", "vision.patch_embed", ""},
    {"siglip", "vision.positions=shifted", "", "vision.embed", ""},
    {"siglip", "vision.norm_eps=1e-5", "", "vision.layers.0.norm1", ""},
    {"siglip", "vision.post_norm=applied", "", "vision.features", ""},
    {"pixtral", "vision.pre_norm=absent", "", "vision.pre_norm", ""},
    {"pixtral", "vision.rope_axes=column-row", "", "vision.rope.cos", ""},
    {"pixtral", "vision.rope_theta=1e9", "--dtype bf16 --numerics hf", "vision.rope.sin", ""},
    {"pixtral", "vision.rope_positions=continued", "", "vision.rope.cos", ""},
    {"pixtral-one", "vision.rope_frequencies=split", "", "vision.rope.cos", ""},
    {"pixtral", "vision.rope_pairing=interleaved", "", "vision.layers.0.attn.q_rope", ""},
    {"pixtral", "vision.rope_axes=column-row", "--taps vision.features", "vision.features", ""},
    {"pixtral", "vision.qk_layout=permuted", "", "vision.layers.0.attn.q", ""},
    {"pixtral", "vision.picture_mask=ignored", "", "vision.layers.0.attn.probs", ""},
    {"pixtral", "vision.mlp_order=gate-up-swapped", "", "vision.layers.0.mlp.act", ""},
    {"pixtral", "merge.order=reversed", "", "text.inputs_embeds", ""},
    {"pixtral", "vision.rope_theta=1e6", "--taps vision.rope.*", "vision.rope.cos", ""},
    /* rotary types and windows */
    {"rope-linear", "text.rope_scaling=none", "", "text.rope.cos", ""},
    {"rope-llama3", "text.rope_ramp=absent", "--dtype f32 --numerics hf", "text.rope.cos", ""},
    {"rope-yarn", "text.rope_attn_factor=absent", "--dtype bf16 --numerics hf", "text.rope.cos",
     ""},
    {"rope-yarn-given", "text.rope_attn_factor=formula", "", "text.rope.cos", ""},
    {"rope-yarn", "text.rope_ramp=all", "--taps logits", "logits", ""},
    {"rope-longrope-grows", "text.rope_table=short", "", "step.3.text.rope.cos", ""},
    {"rope-longrope-grows", "text.rope_table=long", "", "text.rope.cos", ""},
    {"qwen2", "text.qkv_bias=absent", "", "text.layers.0.attn.q", ""},
    {"qwen2", "text.window_layers=swapped", "", "text.layers.0.attn.probs", ""},
    {"qwen2", "text.sliding_window=ignored", "--taps logits,step.*.logits", "logits", ""},
    {"qwen2-layers", "text.window_layers=all", "", "text.layers.1.attn.probs", ""},
    {"mistral", "text.sliding_window=one-more", "", "step.3.text.layers.0.attn.scores", ""},
    {"mistral-left", "text.sliding_window=one-less", "", "text.layers.0.attn.probs", ""},
    {"mistral-right", "text.sliding_window=ignored", "--dtype f16 --numerics hf",
     "text.layers.0.attn.probs", ""},
    /* in the port's own narrow type */
    {"plain", "vision.cls_position=last", "--dtype bf16 --numerics hf", "vision.embed", ""},
    {"plain", "projector.act=relu", "--dtype bf16 --numerics hf", "projector.act", ""},
    {"plain", "text.rope_pairing=interleaved", "--dtype f16 --numerics hf",
     "text.layers.0.attn.q_rope", ""},
    {"plain", "text.attn_scale=width", "--dtype f32 --numerics hf", "text.layers.0.attn.scores",
     ""},
    {"plain", "vision.act=gelu_tanh", "--dtype f32 --numerics hf", "vision.layers.0.mlp.act", ""},
    /* missing taps widen the span */
    {"plain", "vision.cls_position=last", "--taps " SPARSE, "vision.features", ""},
    {"plain", "vision.act=gelu", "--taps " SPARSE, "vision.features", ""},
    {"plain", "projector.act=gelu_tanh", "--taps " SPARSE, "projector.out", ""},
    {"plain", "text.rope_theta=1e6", "--taps " SPARSE, "text.layers.0.output", ""},
    {"plain", "text.positions=image-shared", "--taps " SPARSE, "text.layers.0.output", ""},
    {"plain", "text.norm_eps=1e-6", "--taps " SPARSE " --dtype f32 --numerics hf", NULL, ""},
    {"grouped-heads", "text.kv_groups=interleaved", "--taps logits", "logits", ""},
    {"plain", "merge.placement=front", "--taps logits", "logits", ""},
    {"plain", "vision.attn_mask=causal", "--taps logits --dtype bf16 --numerics hf", "logits", ""},
    {"generate", "cache.position=repeated", "--taps logits,step.*.logits", "step.1.logits",
     "--positions generate"},
    {"generate-left-stop", "text.padding_mask=ignored", "--taps logits,step.*.logits", "logits",
     ""},
    /* a tower's rotary tables, by themselves and behind something */
    {"pixtral", "vision.rope_axes=column-row", "", "vision.rope.cos", ""},
    {"pixtral", "vision.rope_theta=1e6", "--dtype f32", "vision.rope.cos", ""},
    {"pixtral", "vision.rope_frequencies=shared", "--taps vision.features,logits",
     "vision.features", ""},
    /* from the picture and the prompt */
    {"picture-prompt", "image.channel_order=bgr", "", "image.rgb", ""},
    {"picture-prompt", "image.resize_filter=bilinear", "", "image.resized", ""},
    {"picture-prompt", "image.antialias=off", "", "image.resized", ""},
    {"picture-prompt", "image.normalize=half", "", "pixel_values", ""},
    {"picture-prompt", "image.rescale=none", "", "pixel_values", ""},
    {"picture-prompt", "image.resize_grid=align-corners", "--taps vision.patch_embed",
     "vision.patch_embed", ""},
    {"picture-prompt", "image.channel_order=bgr", "--taps logits", "logits", ""},
    {"picture-pad", "image.pad_color=black", "--taps image.*,pixel_values", "image.padded", ""},
    {"picture-pad", "image.pad_align=top-left", "--taps pixel_values", "pixel_values", ""},
    {"picture-prompt", "tokens.bos=none", "--taps input_ids", "input_ids", ""},
    {"picture-jpeg", "image.exif=ignored", "--taps " PICTURES, "image.6.rgb", ""},
    {"picture-jpeg", "image.jpeg_upsampling=plain", "--taps " PICTURES, "image.rgb", ""},
    {"picture-jpeg", "image.jpeg_dct=ifast", "--taps pixel_values", "pixel_values", ""},
    {"picture-siglip", "image.geometry=crop", "--taps " PICTURES, "image.resized", ""},
    {"picture-siglip", "image.geometry=pad", "--taps pixel_values", "pixel_values", ""},
    {"picture-siglip", "image.normalize=clip", "--taps " PICTURES, "pixel_values", ""},
    {"picture-siglip", "image.resize_rounding=torchvision", "--taps " PICTURES, "image.resized",
     ""},
    /* sizes that a picture should not have, and what follows from them: one finding */
    {"picture-pixtral", "image.geometry=stretch", "--taps " PICTURES, "image.resized", ""},
    {"picture-pixtral", "image.geometry=pad", "--taps " PICTURES, "image.padded", ""},
    {"picture-pixtral", "image.exif=ignored", "--taps " PICTURES, "image.1.rgb", ""},
    {"picture-pixtral", "image.antialias=off", "--taps pixel_values", "pixel_values", ""},
    {"picture-pixtral", "image.geometry=stretch", "--taps pixel_values,input_ids", "pixel_values",
     ""},
    {"picture-pixtral", "image.exif=ignored", "--taps pixel_values,input_ids", "pixel_values", ""},
    {"picture-pixtral", "tokens.image_breaks=absent", "--taps " PICTURES, "input_ids", ""},
    {"picture-pixtral", "tokens.image_breaks=no-end", "--taps " PICTURES, "input_ids", ""},
};

static void check_planted(const planted *rows, size_t count)
{
    size_t failed = 0;
    for (size_t i = 0; i < count; i += support_step(2)) {
        const planted *p = &rows[i];
        char folder[128];
        snprintf(folder, sizeof folder, "golden/%s", p->name);
        if (!golden_readable(folder)) {
            print_message("%s: left out, this build reads no JPEG\n", folder);
            continue;
        }
        bench b = open_bench();
        char more[256];
        snprintf(more, sizeof more, "--set %s %s", p->choice, p->more);
        if (!dump(&b, p->name, NULL, more, "port.npz")) {
            fail_msg("%s %s: %s", p->name, more, b.error.text);
        }
        diagnose(&b, p->name, support_path(&b.folder, "port.npz"), p->with);
        bool right = b.status == 1 && finding_count(&b) == 1 &&
                     strcmp(cause(finding(&b, 0), 0), p->choice) == 0 &&
                     (p->tap == NULL || strcmp(text_of(finding(&b, 0), "tap"), p->tap) == 0);
        if (!right) {
            print_error("%s %s: %s\n", p->name, more, shown(&b));
            failed++;
        }
        close_bench(&b);
    }
    if (failed > 0) {
        fail_msg("%zu of %zu rows", failed, count);
    }
}

static void test_a_planted_decision_is_named(void **state)
{
    (void)state;
    check_planted(full, sizeof full / sizeof full[0]);
}

/* No golden has a tower whose head width is even. */
static void test_a_permuted_tower_is_named(void **state)
{
    (void)state;
    bench b = open_bench();
    tiny_model model;
    words run = {.count = 0}, check = {.count = 0};
    char path[512], json[512];
    tiny_open(&model);
    program_write_inputs(&b.folder, "in.npz",
                         "input_ids <i8 [1,12] 1 28*9 4 5; pixel_values <f4 [1,3,7,7] 0.5*60 1*87");
    snprintf(path, sizeof path, "--model %s --inputs %s", model.folder.path,
             support_path(&b.folder, "in.npz"));
    add_all(&run, path);
    add_all(&check, path);
    snprintf(path, sizeof path, "%s", support_path(&b.folder, "port.npz"));
    add_all(&run, "--set vision.qk_layout=permuted --dump");
    add(&run, path);
    command(&b, &llava_command_run, run.word, run.count);
    if (b.status != 0) {
        fail_msg("%s", b.error.text);
    }
    snprintf(json, sizeof json, "%s", support_path(&b.folder, "out.json"));
    add_all(&check, "--dump");
    add(&check, path);
    add_all(&check, "--json");
    add(&check, json);
    command(&b, &llava_command_diagnose, check.word, check.count);
    read_json(&b, json);
    assert_int_equal(finding_count(&b), 1);
    assert_string_equal(cause(finding(&b, 0), 0), "vision.qk_layout=permuted");
    assert_string_equal(text_of(finding(&b, 0), "tap"), "vision.layers.0.attn.q");
    free_words(&run);
    free_words(&check);
    tiny_close(&model);
    close_bench(&b);
}

/* A rounding that holds everywhere is the port's precision, not a fault. */
static void test_roundings_everywhere_go_to_precision(void **state)
{
    static const char *const choices[] = {
        "numerics.weights=int8",      "numerics.patch_input=bf16", "numerics.matmul_input=f16",
        "numerics.act_table=f16",     "numerics.kv_cache=f16",     "numerics.attn_accumulate=f16",
        "numerics.matmul_input=tf32", "numerics.islands=hf",
    };
    (void)state;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i += support_step(1)) {
        bench b = open_bench();
        char more[128];
        snprintf(more, sizeof more, "--set %s", choices[i]);
        assert_true(dump(&b, "plain", NULL, more, "port.npz"));
        diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
        if (b.status != 0 || finding_count(&b) != 0 || !in_precision(&b, choices[i])) {
            fail_msg("%s: %s", choices[i], shown(&b));
        }
        close_bench(&b);
    }
}

/* float16 and TF32 are the same numbers in float16's range: both are said. */
static void test_roundings_that_look_alike_are_both_said(void **state)
{
    (void)state;
    bench b = open_bench();
    assert_true(dump(&b, "plain", NULL, "--set numerics.patch_input=tf32", "port.npz"));
    diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
    const cJSON *decisions = list_of(list_of(b.json, "precision"), "decisions");
    const cJSON *others = list_of(decisions->child, "or");
    assert_true(in_precision(&b, "numerics.patch_input=f16"));
    assert_int_equal(cJSON_GetArraySize(others), 1);
    assert_string_equal(others->child->valuestring, "tf32");
    close_bench(&b);
}

/* Converters differ in which matrices they leave as they are: tables, patches, the head. Where a
 * span holds one that is rounded and one that is not, both are told. */
static void test_matrices_left_out_of_a_rounding_are_told(void **state)
{
#define STATES                                                                                     \
    "pixel_values,vision.embed,*.output,projector.out,text.inputs_embeds,text.norm,logits"
    static const struct {
        const char *weights, *kept, *more;
    } ports[] = {
        {"numerics.weights=f16", "numerics.weights_kept=tables", "--taps " STATES},
        {"numerics.weights=int8", "numerics.weights_kept=tables-patches-head", ""},
        {"numerics.weights=int8-block32", "numerics.weights_kept=positions", "--taps " STATES},
        {"numerics.weights=bf16", "numerics.weights_kept=tables",
         "--taps pixel_values,vision.embed --dtype f32 --numerics hf"},
        {"numerics.weights=bf16", "numerics.weights_kept=head", "--taps text.norm,logits"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        bench b = open_bench();
        char more[512];
        snprintf(more, sizeof more, "--set %s --set %s %s", ports[i].weights, ports[i].kept,
                 ports[i].more);
        assert_true(dump(&b, "plain", NULL, more, "port.npz"));
        diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
        bool positions = strstr(more, "vision.embed --dtype") != NULL; /* all that it shows */
        if (b.status != 0 || finding_count(&b) != 0 || !in_precision(&b, ports[i].weights) ||
            !in_precision(&b, positions ? "numerics.weights_kept=positions" : ports[i].kept)) {
            fail_msg("%s: %s", more, shown(&b));
        }
        close_bench(&b);
    }
#undef STATES
}

/* The case of port-bugs section 4 N: tanh for erf shows only once the table is modelled. */
static void test_a_fault_behind_a_rounding_shows(void **state)
{
    (void)state;
    bench b = open_bench();
    assert_true(dump(&b, "plain", NULL,
                     "--set projector.act=gelu_tanh --set numerics.act_table=f16", "port.npz"));
    diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(b.status, 1);
    assert_int_equal(finding_count(&b), 1);
    assert_true(in_precision(&b, "numerics.act_table=f16"));
    assert_string_equal(cause(finding(&b, 0), 0), "projector.act=gelu_tanh");
    close_bench(&b);
}

/* ---- several faults
 * --------------------------------------------------------------------------------- */

static void test_two_faults_in_two_spans_are_two_findings(void **state)
{
    (void)state;
    bench b = open_bench();
    assert_true(dump(&b, "plain", NULL,
                     "--set vision.cls_position=last --set text.rope_pairing=interleaved",
                     "port.npz"));
    diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(finding_count(&b), 2);
    assert_string_equal(cause(finding(&b, 0), 0), "vision.cls_position=last");
    assert_string_equal(text_of(finding(&b, 0), "confidence"), "certain");
    assert_string_equal(cause(finding(&b, 1), 0), "text.rope_pairing=interleaved");
    assert_string_equal(text_of(finding(&b, 1), "tap"), "text.layers.0.attn.q_rope");
    close_bench(&b);
}

static bool is_pair(const char *cause_text, const char *a, const char *b)
{
    return strstr(cause_text, a) != NULL && strstr(cause_text, b) != NULL &&
           strlen(cause_text) == strlen(a) + strlen(b) + 1;
}

/* Bytes that OpenCV made, not this program. Of a resize that rounds once, bytes alone do not say
 * whether the port goes on with them. */
static void test_a_resize_by_opencv_is_named(void **state)
{
    (void)state;
    static const size_t shape[] = {21, 21, 3};
    static const struct {
        const uint8_t *bytes;
        const char *confidence, *decisions[4];
    } ports[] = {
        {opencv_cubic, "certain", {"image.resize_rounding=opencv"}},
        {opencv_linear,
         "certain",
         {"image.resize_filter=bilinear", "image.resize_rounding=opencv"}},
        {opencv_area, "certain", {"image.resize_filter=box", "image.resize_rounding=opencv"}},
        {opencv_cubic_stretched_ipp,
         "likely",
         {"image.geometry=stretch", "image.antialias=off", "image.cubic_a=-0.75",
          "image.resize_rounding="}},
        {opencv_linear_stretched,
         "certain",
         {"image.geometry=stretch", "image.resize_filter=bilinear",
          "image.resize_rounding=opencv"}},
    };
    for (size_t i = 0; i < sizeof ports / sizeof *ports - (support_long() ? 0 : 1); i++) {
        bench b = open_bench();
        size_t count = 0, named = 1;
        const char *port = support_path(&b.folder, "port");
        assert_int_equal(llava_dump_u8(port, "image.cropped", ports[i].bytes, 3, shape), 0);
        diagnose(&b, "picture-prompt", port, "");
        assert_int_equal(finding_count(&b), 1);
        const char *found = cause(finding(&b, 0), 0);
        for (; count < 4 && ports[i].decisions[count] != NULL; count++) {
            if (strstr(found, ports[i].decisions[count]) == NULL) {
                fail_msg("port %zu: %s", i, shown(&b));
            }
        }
        for (const char *plus = found; (plus = strchr(plus, '+')) != NULL; plus++) {
            named++;
        }
        assert_int_equal(named, count);
        assert_string_equal(text_of(finding(&b, 0), "confidence"), ports[i].confidence);
        close_bench(&b);
    }
}

/* torch's interpolate in floats leaves antialias out, too; but this picture grows. */
static void test_what_does_nothing_to_the_picture_is_not_named(void **state)
{
    (void)state;
    static const char source[] = "--model golden/picture-prompt/model --prompt <image> "
                                 "--image golden/picture-modes/a-small.png --dump";
    bench b = open_bench();
    words run = {.count = 0}, check = {.count = 0};
    char port[512], json[512];
    snprintf(port, sizeof port, "%s", support_path(&b.folder, "port.npz"));
    snprintf(json, sizeof json, "%s", support_path(&b.folder, "out.json"));
    add_all(&run, source);
    add(&run, port);
    add_all(&run, "--taps pixel_values --set image.resize_filter=bilinear "
                  "--set image.antialias=off --set image.resize_rounding=float");
    command(&b, &llava_command_run, run.word, run.count);
    assert_int_equal(b.status, 0);
    add_all(&check, source);
    add(&check, port);
    add(&check, "--json");
    add(&check, json);
    command(&b, &llava_command_diagnose, check.word, check.count);
    read_json(&b, json);
    assert_int_equal(finding_count(&b), 1);
    if (!is_pair(cause(finding(&b, 0), 0), "image.resize_filter=bilinear",
                 "image.resize_rounding=float") ||
        strcmp(text_of(finding(&b, 0), "confidence"), "certain") != 0) {
        fail_msg("%s", shown(&b));
    }
    free_words(&run);
    free_words(&check);
    close_bench(&b);
}

static void test_two_faults_in_one_span_are_a_pair(void **state)
{
    (void)state;
    bench b = open_bench();
    assert_true(dump(&b, "plain", NULL,
                     "--set vision.cls_position=last --set vision.act=gelu_tanh --taps " SPARSE,
                     "port.npz"));
    diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(finding_count(&b), 1);
    if (!is_pair(cause(finding(&b, 0), 0), "vision.cls_position=last", "vision.act=gelu_tanh")) {
        fail_msg("%s", shown(&b));
    }
    close_bench(&b);
}

/* The picture that is stretched has another shape than the model's, and so has what only one of two
 * faults makes of it. */
static void test_two_faults_that_change_a_shape_are_a_pair(void **state)
{
    (void)state;
    bench b = open_bench();
    assert_true(dump(&b, "picture-prompt", NULL,
                     "--set image.geometry=stretch --set image.resize_filter=bilinear --taps "
                     "image.rgb,image.resized",
                     "port.npz"));
    diagnose(&b, "picture-prompt", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(finding_count(&b), 1);
    if (!is_pair(cause(finding(&b, 0), 0), "image.geometry=stretch",
                 "image.resize_filter=bilinear")) {
        fail_msg("%s", shown(&b));
    }
    close_bench(&b);
}

/* A picture of another shape hides nothing of what is done to it. */
static void test_a_fault_behind_a_picture_of_another_shape_shows(void **state)
{
    (void)state;
    bench b = open_bench();
    assert_true(dump(&b, "picture-prompt", NULL,
                     "--set image.size_rounding=ceil --set image.normalize=half --taps "
                     "image.resized,pixel_values",
                     "port.npz"));
    diagnose(&b, "picture-prompt", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(finding_count(&b), 2);
    assert_string_equal(text_of(finding(&b, 0), "tap"), "image.resized");
    assert_string_equal(cause(finding(&b, 1), 0), "image.normalize=half");
    close_bench(&b);
}

/* Bytes of a float resize look alike whether or not the port goes on with them. */
static void test_pixels_tell_whether_a_resize_rounds(void **state)
{
    (void)state;
    static const char *const values[] = {"float", "once"};
    for (size_t i = 0; i < 2; i++) {
        bench b = open_bench();
        char more[128], expected[64];
        snprintf(expected, sizeof expected, "image.resize_rounding=%s", values[i]);
        snprintf(more, sizeof more, "--set %s --taps image.*,pixel_values", expected);
        assert_true(dump(&b, "picture-prompt", NULL, more, "port.npz"));
        diagnose(&b, "picture-prompt", support_path(&b.folder, "port.npz"), "");
        assert_int_equal(finding_count(&b), 1);
        assert_string_equal(cause(finding(&b, 0), 0), expected);
        assert_string_equal(text_of(finding(&b, 0), "confidence"), "certain");
        close_bench(&b);
    }
}

static void test_three_faults_in_the_picture_stage(void **state)
{
    (void)state;
    if (!support_long()) { /* two at once are above */
        skip();
    }
    bench b = open_bench();
    assert_true(dump(&b, "picture-pad", NULL,
                     "--set image.pad_color=black --set image.resize_filter=bilinear --set "
                     "image.channel_order=bgr --taps pixel_values",
                     "port.npz"));
    diagnose(&b, "picture-pad", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(finding_count(&b), 1);
    const char *found = cause(finding(&b, 0), 0);
    if (strstr(found, "image.pad_color=black") == NULL ||
        strstr(found, "image.resize_filter=bilinear") == NULL ||
        strstr(found, "image.channel_order=bgr") == NULL) {
        fail_msg("%s", shown(&b));
    }
    close_bench(&b);
}

/* ---- what goes in, by hand
 * ------------------------------------------------------------------------------- */

#define TEXT_IDS "input_ids <i8 [1,12] 1 35 54 49 46 9 36 26 45 34 49 50"
#define ONES(n)  "; attention_mask <i8 [1," #n "] 1*" #n

/* A dump that is nothing but inputs: the first tap that is wrong (NULL: none), and how the page
 * shows it: of another shape than the model's, or of four dimensions, not at all. */
static void test_inputs_are_judged_and_shown(void **state)
{
    (void)state;
    static const struct {
        const char *name, *members, *tap;
        int status;
        const char *shows; /* the heading above the values; NULL: none are shown */
    } rows[] = {
        {"text-only", TEXT_IDS, NULL, 0, NULL},
        {"text-only", "input_ids <i8 [1,12] 1 35 54 49 46 9 36 26 45 34 49 2", "input_ids", 1,
         "Ids"},
        {"text-only", "input_ids <i8 [1,11] 1 35 54 49 46 9 36 26 45 34 49", "input_ids", 1, NULL},
        {"text-only", "input_ids <i8 [2,12] 1*24", "input_ids", 1, NULL},
        {"text-only", "input_ids <f4 [1,12] 1*12", NULL, 2, NULL},
        {"text-only", "input_ids <i8 [12] 1*12", NULL, 2, NULL},
        {"text-only", TEXT_IDS ONES(12), NULL, 0, NULL},
        {"text-only", TEXT_IDS "; attention_mask <i8 [1,12] 0 1*11", "attention_mask", 1, NULL},
        {"text-only", TEXT_IDS ONES(11), "attention_mask", 1, NULL},
        {"text-only", TEXT_IDS "; attention_mask <i8 [2,12] 1*24", "attention_mask", 1, NULL},
        {"text-only", TEXT_IDS "; attention_mask <i8 [1,1,12,12] 1*144", NULL, 0, NULL},
        {"text-only", TEXT_IDS "; position_ids <i8 [1,12] 0 1 2 3 4 5 6 7 8 9 10 10",
         "position_ids", 1, NULL},
        {"text-only", TEXT_IDS "; position_ids <i8 [1,11] 0*11", "position_ids", 1, NULL},
        {"text-only", TEXT_IDS "; position_ids <i8 [2,12] 0*24", "position_ids", 1, NULL},
        {"batch-left", "position_ids <i8 [1,13] 0 1 2 3 4 5 6 7 8 9 10 11 12", NULL, 0, NULL},
        {"batch-left", "position_ids <i8 [1,13] 1 2 3 4 5 6 7 8 9 10 11 12 13", "position_ids", 1,
         NULL},
        {"text-only", TEXT_IDS "; generated_ids <i8 [2,1] 1*2", NULL, 0, NULL},
        {"text-only", TEXT_IDS "; generated_ids <i8 [1,0]", NULL, 0, NULL},
        {"batch-left", "attention_mask <i8 [3,13] 1*39", "attention_mask", 1, "Ids"},
        {"mask-packed", "attention_mask |b1 [2,1,18,18] 1*648", "attention_mask", 1, NULL},
        {"mask-packed", "attention_mask <f4 [2,1,18,18] 0*648", "attention_mask", 1, NULL},
        {"mask-packed", "attention_mask |b1 [2,1,18,17] 1*612", "attention_mask", 1, NULL},
        {"mask-packed", "attention_mask <i8 [2,18] 1*36", NULL, 0, NULL},
        {"mask-packed", "input_ids <i8 [2,18] 1*36", "input_ids", 1, "Ids"},
        {"inputs-embeds", "input_ids <i8 [1,11] 1*11", NULL, 2, NULL},
        {"plain", "pixel_values <f4 [1,3,12,12] 0*432", "pixel_values", 1, "In pictures"},
        {"plain", "pixel_values <f4 [1,3,12,11] 0*396", "pixel_values", 1, NULL},
        {"plain", "pixel_values <f4 [1,4,12,12] 0*576", "pixel_values", 1, NULL},
        {"plain", "pixel_values <f4 [2,3,12,12] 0*864", "pixel_values", 1, NULL},
        {"plain", "pixel_values <f4 [3,12,12] 0*432", "pixel_values", 1, NULL},
        {"plain", "pixel_values <i8 [1,3,12,12] 0*432", NULL, 2, NULL},
        {"plain", "pixel_values <f4 [1,3,12,12] nan*432", "pixel_values", 1, "In pictures"},
        {"picture-pixtral", "pixel_values <f4 [3,3,30,24] 0*6480", "pixel_values", 1, NULL},
        {"picture-pixtral", "pixel_values <f4 [3,3,30,30] 0*8100", "pixel_values", 1,
         "In pictures"},
        {"picture-pixtral", "image.rgb |u1 [20,51,3] 0*3060", "image.rgb", 1, NULL},
        {"picture-pixtral", "image.1.resized |u1 [24,12,3] 0*864", "image.1.resized", 1, NULL},
        {"picture-prompt", "image.rgb |u1 [43,61,3] 0*7869", "image.rgb", 1, NULL},
        {"picture-prompt", "image.rgb |u1 [43,61,3] 0*7869; pixel_values <f4 [1,3,21,21] 0*1323",
         "image.rgb", 1, NULL},
        {"picture-prompt", "input_ids <i8 [1,19] 1*19", "input_ids", 1, "Ids"},
        /* not a picture: what is made of it is not judged twice */
        {"picture-prompt", "image.resized |u1 [21,29] 0*609; image.cropped |u1 [21,21,3] 0*1323",
         "image.resized", 1, NULL},
        {"picture-prompt", "image.resized |u1 [21,29,4] 0*2436; image.cropped |u1 [21,21,3] 0*1323",
         "image.resized", 1, NULL},
        {"plain", "pixel_values <f4 [1,3,11,12] 0*396", "pixel_values", 1, NULL},
        /* other positions, of another number of ids */
        {"text-only", "input_ids <i8 [1,3] 1 1 1; position_ids <i8 [1,3] 0 1 3", "input_ids", 1,
         NULL},
        {"text-only", "input_ids <i8 [2,12] 1*24; position_ids <i8 [2,12] 0*24", "input_ids", 1,
         NULL},
        {"text-only", "input_ids <i8 [1,3] 1 1 1; text.norm <f8 [1,3,20] 1*60", "input_ids", 1,
         NULL},
        {"text-only", "input_ids <i8 [2,12] 1*24; text.norm <f8 [2,12,20] 1*480", "input_ids", 1,
         NULL},
        /* ids that go with no picture, or are none: what can be judged apart is */
        {"plain", "input_ids <i8 [1,18] 1*18; text.norm <f8 [1,18,20] 1*360", "input_ids", 1,
         "Ids"},
        {"plain", "input_ids <i8 [1,18] 61*18; vision.features <f8 [1,9,18] 1*162", "input_ids", 1,
         "Ids"},
        {"plain", "input_ids <i8 [1,18] 1*18; generated_ids <i8 [1,1] 1", "input_ids", 1, "Ids"},
        {"mask-packed", "attention_mask <i8 [2,18] 1*36; generated_ids <i8 [2,1] 1 1", NULL, 0,
         NULL},
        /* positions of a step that no table of rotations has */
        {"generate", "generated_ids <i8 [1,2] 44 24; step.1.position_ids <i8 [1,1] 11", NULL, 0,
         NULL},
        {"generate", "generated_ids <i8 [1,2] 44 24; step.1.position_ids <i8 [1,1] -1",
         "step.1.position_ids", 1, NULL},
        {"generate", "generated_ids <i8 [1,2] 44 24; step.1.position_ids <i8 [1,1] 5000000000",
         "step.1.position_ids", 1, NULL},
        /* probabilities beside scores that none can be made of */
        {"text-only",
         "text.layers.0.attn.probs <f8 [1,2,12,12] 0*288; text.layers.0.attn.scores <f8 "
         "[1,2,12,11] 0*264",
         "text.layers.0.attn.scores", 1, NULL},
        {"text-only", "text.norm <f8 [1,100,20] 1*2000", "text.norm", 1, NULL},
        {"text-only", "text.norm <f8 [1,0,20]", "text.norm", 1, NULL},
        {"pixtral", "loss <f8 [] 100", "loss", 1, NULL},
        {"text-only", "text.norm <f8 [1,12,20] 1*240", "text.norm", 1, "In pictures"},
    };
    static const char *const headings[] = {"In pictures", "Ids"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i += support_step(1)) {
        static char page[1 << 20];
        char html[512], more[600];
        bench b = open_bench();
        program_write_inputs(&b.folder, "port.npz", rows[i].members);
        snprintf(html, sizeof html, "%s", support_path(&b.folder, "page.html"));
        snprintf(more, sizeof more, "--html %s", html);
        diagnose(&b, rows[i].name, support_path(&b.folder, "port.npz"), more);
        const char *tap = finding_count(&b) == 0 ? "(no finding)" : text_of(finding(&b, 0), "tap");
        bool right = b.status == rows[i].status &&
                     (rows[i].tap == NULL ? finding_count(&b) == 0 : strcmp(tap, rows[i].tap) == 0);
        FILE *file = fopen(html, "r");
        assert_non_null(file);
        page[fread(page, 1, sizeof page - 1, file)] = '\0';
        fclose(file);
        for (size_t k = 0; k < 2; k++) {
            bool wanted = rows[i].shows != NULL && strcmp(rows[i].shows, headings[k]) == 0;
            char heading[64];
            snprintf(heading, sizeof heading, "<h2>%s: <code>", headings[k]);
            right = right && wanted == (strstr(page, heading) != NULL);
        }
        if (!right) {
            fail_msg("%s: %s: %s", rows[i].name, rows[i].members, shown(&b));
        }
        close_bench(&b);
    }
}

/* ---- damage that no decision explains
 * --------------------------------------------------------------- */

typedef enum { HALVE_ROW, NAN_ROW, BF16_ROWS, INT8_ROWS, INT8_MATRIX } damage;

/* x as int8 holds it beside one step for `most`, the largest of the row or of the matrix. */
static float as_int8(float x, float most)
{
    float step = most / 127;
    return step > 0 ? rintf(x / step) * step : 0;
}

/* Numbers as files have them, lowest byte first, whatever this machine does. */
static uint64_t take_bits(const uint8_t *bytes, size_t n)
{
    uint64_t bits = 0;
    for (size_t i = n; i-- > 0;) {
        bits = bits << 8 | bytes[i];
    }
    return bits;
}

static void put_bits(uint8_t *bytes, size_t n, uint64_t bits)
{
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(bits >> 8 * i);
    }
}

static float take_float(const uint8_t *bytes)
{
    uint32_t bits = (uint32_t)take_bits(bytes, 4);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void put_float(uint8_t *bytes, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_bits(bytes, 4, bits);
}

static float largest(const uint8_t *bytes, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++) {
        float x = take_float(bytes + 4 * i);
        most = fabsf(x) > most ? fabsf(x) : most;
    }
    return most;
}

static float damaged(damage kind, size_t row, float x, float most_of_row, float most_of_all)
{
    switch (kind) {
    case HALVE_ROW:
        return row == 3 ? x / 2 : x;
    case NAN_ROW:
        return row == 3 ? NAN : x;
    case BF16_ROWS:
        return (float)llava_round(LLAVA_BF16, x);
    case INT8_ROWS:
        return as_int8(x, most_of_row);
    case INT8_MATRIX:
        return as_int8(x, most_of_all);
    }
    return x;
}

/* A copy of golden/plain's model with rows of one float32 matrix damaged. */
static void damage_model(bench *b, const char *weight, damage kind)
{
    llava_file file;
    llava_error e;
    char name[64];
    assert_true(llava_file_map(&file, "golden/plain/model/model.safetensors", &e));
    uint8_t *bytes = malloc(file.size);
    assert_non_null(bytes);
    memcpy(bytes, file.bytes, file.size);
    size_t header = bytes[0] + 256u * bytes[1];
    cJSON *json = llava_json_parse("model", (const char *)bytes + 8, header, &e);
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(json, weight);
    assert_non_null(entry);
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    size_t at = 8 + header + (size_t)offsets->child->valuedouble;
    size_t rows = (size_t)shape->child->valueint, width = (size_t)shape->child->next->valueint;
    float of_all = largest(bytes + at, rows * width);
    for (size_t r = 0; r < rows; r++) {
        uint8_t *row = bytes + at + r * width * 4;
        float of_row = largest(row, width);
        for (size_t i = 0; i < width; i++) {
            put_float(row + 4 * i, damaged(kind, r, take_float(row + 4 * i), of_row, of_all));
        }
    }
    support_write(&b->folder, "model.safetensors", bytes, file.size);
    llava_file_unmap(&file);
    cJSON_Delete(json);
    free(bytes);
    snprintf(name, sizeof name, "config.json");
    assert_true(llava_file_map(&file, "golden/plain/model/config.json", &e));
    support_write(&b->folder, name, file.bytes, file.size);
    llava_file_unmap(&file);
}

static void check_damage(const char *weight, damage kind, const char *more, const char *tap,
                         const char *expected_cause)
{
    bench b = open_bench();
    damage_model(&b, weight, kind);
    assert_true(dump(&b, "plain", b.folder.path, more, "port.npz"));
    diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
    const cJSON *f = finding(&b, 0);
    bool right = b.status == 1 && finding_count(&b) == 1 && strcmp(text_of(f, "tap"), tap) == 0;
    if (expected_cause == NULL) {
        right = right && strcmp(text_of(f, "confidence"), "unknown") == 0 &&
                cJSON_GetArraySize(list_of(f, "causes")) == 0;
    } else {
        right = right && strstr(cause(f, 0), expected_cause) != NULL;
    }
    if (!right) {
        fail_msg("%s: %s", weight, shown(&b));
    }
    close_bench(&b);
}

#define Q1   "language_model.model.layers.1.self_attn.q_proj.weight"
#define DOWN "language_model.model.layers.0.mlp.down_proj.weight"

static void test_damage_is_located_and_not_guessed_at(void **state)
{
    (void)state;
    check_damage(Q1, HALVE_ROW, "", "text.layers.1.attn.q", NULL);
    check_damage(Q1, HALVE_ROW, "--dtype bf16 --numerics hf", "text.layers.1.attn.q", NULL);
    check_damage(DOWN, HALVE_ROW, "--taps " SPARSE, "text.layers.0.output", NULL);
    /* int8 with one step for the whole matrix is no rounding that we know; with one a row it is,
     * and in one matrix only a finding */
    check_damage(Q1, INT8_MATRIX, "", "text.layers.1.attn.q", NULL);
    check_damage(DOWN, INT8_MATRIX, "--taps " SPARSE, "text.layers.0.output", NULL);
    check_damage(Q1, INT8_ROWS, "--dtype f32 --numerics hf", "text.layers.1.attn.q",
                 "numerics.weights=int8");
}

/* ---- damage on the way: a sink that changes tensors, and no decision
 * -------------------------------- */

typedef enum { ZERO_HEAD, DROP_RESIDUAL } spoiling;

typedef struct {
    spoiling kind;
    llava_dump_writer *writer;
    llava_globs globs;
    double *entering; /* the hidden state that enters layer 1 */
} spoiler;

static bool spoiler_wants(void *self, const char *name)
{
    (void)self;
    return strncmp(name, "image.", 6) != 0;
}

static bool spoiler_take(void *self, const llava_tap *tap, llava_error *e)
{
    enum { HEAD = 1 };
    spoiler *s = self;
    size_t count = llava_tap_count(tap), width = tap->rank > 0 ? tap->shape[tap->rank - 1] : 1;
    double *x = tap->data;
    if (s->kind == ZERO_HEAD && strcmp(tap->name, "text.layers.1.attn.context") == 0) {
        for (size_t i = 0; i < count; i++) {
            x[i] = i % width / (width / 4) == HEAD ? 0 : x[i];
        }
    } else if (s->kind == DROP_RESIDUAL && strcmp(tap->name, "text.layers.0.output") == 0) {
        s->entering = malloc(count * sizeof *x);
        assert_non_null(s->entering);
        memcpy(s->entering, x, count * sizeof *x);
    } else if (s->kind == DROP_RESIDUAL && strcmp(tap->name, "text.layers.1.resid1") == 0) {
        for (size_t i = 0; i < count; i++) {
            x[i] -= s->entering[i];
        }
    }
    return !llava_globs_match(&s->globs, tap->name) || llava_dump_writer_put(s->writer, tap, e);
}

/* A dump of golden/plain, float64, spoilt on the way. */
static void dump_spoilt(const char *to, spoiling kind, const char *taps)
{
    llava_error e = {""};
    llava_request request = {.model = "golden/plain/model", .inputs = "golden/plain/inputs.npz"};
    llava_session session;
    spoiler s = {.kind = kind};
    llava_sink sink = {spoiler_wants, spoiler_take, &s};
    llava_goal goal = {0}, step = {0};
    llava_outputs out;
    assert_true(llava_session_open(&session, &request, &e) && llava_session_weights(&session, &e) &&
                llava_globs_parse(&s.globs, taps, &e) &&
                llava_dump_writer_open(&s.writer, to, false, NULL, &e));
    llava_tap_sizes sizes = llava_session_sizes(&session, true);
    llava_taps_goal(&session.plan, &sizes, &sink, &goal, &step);
    int64_t *positions = malloc(sizes.batch * sizes.length * sizeof *positions);
    assert_non_null(positions);
    llava_positions(&session.plan, &session.inputs, session.convention, positions);
    llava_run run = {.weights = session.weights,
                     .plan = &session.plan,
                     .sink = &sink,
                     .prefix = "",
                     .error = &e};
    if (!llava_forward(&run, &goal, &session.inputs, positions, NULL, &out)) {
        fail_msg("%s", e.text);
    }
    assert_true(llava_dump_writer_commit(s.writer, &e));
    llava_outputs_free(&out);
    llava_globs_free(&s.globs);
    llava_session_close(&session);
    free(positions);
    free(s.entering);
}

static void check_spoilt(spoiling kind, const char *taps, const char *tap)
{
    bench b = open_bench();
    char path[512];
    snprintf(path, sizeof path, "%s", support_path(&b.folder, "port.npz"));
    dump_spoilt(path, kind, taps);
    diagnose(&b, "plain", path, "");
    const cJSON *f = finding(&b, 0);
    if (b.status != 1 || finding_count(&b) != 1 || strcmp(text_of(f, "tap"), tap) != 0 ||
        strcmp(text_of(f, "confidence"), "unknown") != 0 ||
        cJSON_GetArraySize(list_of(f, "causes")) != 0) {
        fail_msg("%s: %s", taps, shown(&b));
    }
    close_bench(&b);
}

static void test_a_zeroed_head_is_located_and_unknown(void **state)
{
    (void)state;
    check_spoilt(ZERO_HEAD, "*", "text.layers.1.attn.context");
    check_spoilt(ZERO_HEAD, SPARSE, "text.layers.1.output");
}

static void test_a_dropped_residual_is_located_and_unknown(void **state)
{
    (void)state;
    check_spoilt(DROP_RESIDUAL, "*", "text.layers.1.resid1");
    check_spoilt(DROP_RESIDUAL, SPARSE, "text.layers.1.output");
}

/* A NaN is found where the port makes it; what comes after has it from there. */
static void test_a_nan_is_found_where_it_is_made(void **state)
{
    (void)state;
    check_damage(Q1, NAN_ROW, "", "text.layers.1.attn.q", NULL);
    check_damage(Q1, NAN_ROW, "--dtype bf16", "text.layers.1.attn.q", NULL);
    check_damage(Q1, NAN_ROW, "--taps " SPARSE, "text.layers.1.output", NULL);
}

/* Weights of one matrix in bfloat16 are a finding: the same rounding does not hold elsewhere. */
static void test_a_rounding_in_one_layer_only_is_a_finding(void **state)
{
    (void)state;
    check_damage(Q1, BF16_ROWS, "", "text.layers.1.attn.q", "numerics.weights=bf16");
}

/* ---- tokens that their logits do not choose
 * -------------------------------------------------------- */

enum { TOKENS = 5, NPY_HEADER = 128 };

/* A dump of golden/generate's first TOKENS tokens. */
static void dump_tokens(bench *b, const char *more, const char *to)
{
    words w = {.count = 0};
    add_case(&w, "generate", NULL, false);
    add_all(&w, "--generate 5");
    add_all(&w, more);
    add(&w, "--dump");
    add(&w, support_path(&b->folder, to));
    command(b, &llava_command_run, w.word, w.count);
    free_words(&w);
    assert_int_equal(b->status, 0);
}

/* Of the last step: what is chosen, the runner-up, the last in rank, by the plain
 * reference's logits. */
typedef struct {
    int64_t best, second, worst;
} ranking;

static ranking rank_last_logits(bench *b)
{
    llava_file file;
    llava_error e;
    char path[512];
    dump_tokens(b, "--taps step.4.logits", "rank/");
    snprintf(path, sizeof path, "%s/step.4.logits.npy", support_path(&b->folder, "rank"));
    assert_true(llava_file_map(&file, path, &e));
    size_t vocab = (file.size - NPY_HEADER) / sizeof(double);
    double *x = malloc(vocab * sizeof *x);
    assert_non_null(x);
    for (size_t v = 0; v < vocab; v++) {
        uint64_t bits = take_bits((const uint8_t *)file.bytes + NPY_HEADER + 8 * v, 8);
        memcpy(&x[v], &bits, sizeof bits);
    }
    llava_file_unmap(&file);
    ranking r = {.best = llava_argmax(false, x, vocab)};
    x[r.best] = -INFINITY;
    r.second = llava_argmax(false, x, vocab);
    for (size_t v = 0; v < vocab; v++) {
        r.worst = x[v] < x[r.worst] && x[v] != -INFINITY ? (int64_t)v : r.worst;
    }
    free(x);
    return r;
}

/* A generation of golden/generate with this token in the last one's place, diagnosed. */
static void diagnose_token(bench *b, const char *more, int64_t token)
{
    char folder[512], path[640];
    snprintf(folder, sizeof folder, "%s", support_path(&b->folder, "port"));
    snprintf(path, sizeof path, "rm -rf '%s'", folder);
    assert_int_equal(system(path), 0);
    dump_tokens(b, more, "port/");
    snprintf(path, sizeof path, "%s/generated_ids.npy", folder);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, NPY_HEADER + 8 * (TOKENS - 1), SEEK_SET), 0);
    uint8_t bytes[8];
    put_bits(bytes, sizeof bytes, (uint64_t)token);
    assert_int_equal(fwrite(bytes, sizeof bytes, 1, file), 1);
    fclose(file);
    snprintf(path, sizeof path, "%s/", folder);
    diagnose(b, "generate", path, "");
}

static void close_folders(bench *b)
{
    char line[700];
    snprintf(line, sizeof line, "rm -rf '%s/port' '%s/rank'", b->folder.path, b->folder.path);
    assert_int_equal(system(line), 0);
    close_bench(b);
}

static void test_a_token_against_its_logits_is_a_finding(void **state)
{
    static const struct {
        const char *more, *from;
        bool runner_up;
    } rows[] = {
        {"", "step.4.logits", true},
        {"--dtype bf16 --numerics hf", "step.4.logits", true}, /* no tie: its own logits speak */
        {"--dtype f16 --taps generated_ids,logits,step.*.logits", "step.4.logits", true},
        {"--taps generated_ids,step.*.text.norm", "step.4.text.norm", true},
        {"--dtype f32 --taps generated_ids", "pixel_values", true},
        {"--dtype bf16 --taps generated_ids", "pixel_values", false},
        {"--taps generated_ids,text.rope.cos", "pixel_values", true},
        {"--numerics hf --taps generated_ids,text.rope.cos", "pixel_values", true},
    };
    (void)state;
    bench b = open_bench();
    ranking r = rank_last_logits(&b);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        diagnose_token(&b, rows[i].more, rows[i].runner_up ? r.second : r.worst);
        const cJSON *f = finding(&b, 0), *from = cJSON_GetArrayItem(list_of(f, "from"), 0);
        if (b.status != 1 || finding_count(&b) != 1 ||
            strcmp(text_of(f, "tap"), "generated_ids") != 0 ||
            cJSON_GetArraySize(list_of(f, "causes")) != 0 || !cJSON_IsString(from) ||
            strcmp(from->valuestring, rows[i].from) != 0 ||
            strstr(text_of(f, "where"), "token 4 of sample 0") == NULL) {
            fail_msg("%s: %s", rows[i].more, shown(&b));
        }
    }
    diagnose_token(&b, "--taps generated_ids", 1 << 30); /* no token at all */
    assert_int_equal(b.status, 1);
    close_folders(&b);
}

/* Tokens and logits by hand (61 words; the model chooses 44, then 24). */
static void test_tokens_are_held_against_logits_that_can_be_read(void **state)
{
    (void)state;
    static const struct {
        const char *members, *tap,
            *where; /* of the finding about tokens; tap NULL: there is none */
    } rows[] = {
        {"generated_ids <i8 [1,2] 44 24", NULL, NULL},
        {"generated_ids <i8 [1,2] 44 3; step.1.logits <f8 [1,1,61] 0*3 5 0*57", NULL, NULL},
        {"generated_ids <i8 [1,1] 4; logits <f8 [1,11,61] 0*613 5 0*57", "logits",
         "token 0 of sample 0 is 4; the port's own logits choose 3"},
        {"generated_ids <i8 [1,2] 44 4; step.1.logits <f8 [1,1,61] 0*3 5 0*57", "step.1.logits",
         "token 1 of sample 0 is 4; the port's own logits choose 3"},
        {"generated_ids <i8 [1,1] 4; logits <f8 [1,11,61] 0*670 nan", NULL, NULL},
        /* the first of two */
        {"generated_ids <i8 [1,2] 4 4; logits <f8 [1,11,61] 0*613 5 0*57; step.1.logits <f8 "
         "[1,1,61] 0*3 5 0*57",
         "logits", "token 0 of sample 0 is 4; the port's own logits choose 3"},
        /* as transformers chooses, by a float32 copy */
        {"generated_ids <i8 [1,1] 3; logits <f8 [1,11,61] 0*613 5 5.00000001 0*56", NULL, NULL},
        {"generated_ids <i8 [1,1] 3; logits <f8 [1,11,61] 0*613 5 5.00001 0*56", "logits",
         "token 0 of sample 0 is 3; the port's own logits choose 4"},
        {"generated_ids <i8 [1,1] 4; logits <f8 [1,1,60] 0*60", NULL, NULL},
        {"generated_ids <i8 [1,1] 4; logits <f8 [1,61] 0*61", NULL, NULL},
        {"generated_ids <i8 [2,1] 4 4; logits <f8 [1,1,61] 0*3 5 0*57", NULL, NULL},
        {"generated_ids <i8 [1,0]", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench b = open_bench();
        const cJSON *about = NULL;
        program_write_inputs(&b.folder, "port.npz", rows[i].members);
        diagnose(&b, "generate", support_path(&b.folder, "port.npz"), "");
        for (int k = 0; k < finding_count(&b); k++) {
            if (strcmp(text_of(finding(&b, k), "tap"), "generated_ids") == 0) {
                about = finding(&b, k);
            }
        }
        const cJSON *from = about == NULL ? NULL : list_of(about, "from")->child;
        bool right = (about != NULL) == (rows[i].tap != NULL);
        right = right && (about == NULL || (strcmp(from->valuestring, rows[i].tap) == 0 &&
                                            strcmp(text_of(about, "where"), rows[i].where) == 0));
        if (!right) {
            fail_msg("%s: %s", rows[i].members, shown(&b));
        }
        close_bench(&b);
    }
}

/* Of logits that a map says were computed in some rows only, the last one speaks, if it is there.
 */
static void test_tokens_are_held_against_rows_that_were_computed(void **state)
{
    (void)state;
    static const struct {
        const char *rows, *where; /* of the finding about tokens; NULL: there is none */
    } rows[] = {
        {"\"last\"", "token 0 of sample 0 is 4; the port's own logits choose 3"},
        {"\"from 0\"", "token 0 of sample 0 is 4; the port's own logits choose 3"},
        {"[\"0..1\"]", "token 0 of sample 0 is 4; its tensors lead to 44, by a margin of"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench b = open_bench();
        char map[128], more[512];
        const char *where = "(none)";
        snprintf(map, sizeof map, "{\"head\": {\"tap\": \"logits\", \"rows\": %s}}", rows[i].rows);
        support_write_text(&b.folder, "map.json", map);
        program_write_inputs(&b.folder, "port.npz",
                             "input_ids <i8 [1,11] 1 9 18 57*4 9 26 55 40; generated_ids <i8 [1,1] "
                             "4; head <f8 [1,11,61] 0.1*613 5 0.1*57");
        snprintf(more, sizeof more, "--map %s", support_path(&b.folder, "map.json"));
        diagnose(&b, "generate", support_path(&b.folder, "port.npz"), more);
        for (int k = 0; k < finding_count(&b); k++) {
            const cJSON *f = finding(&b, k);
            where = strcmp(text_of(f, "tap"), "generated_ids") == 0 ? text_of(f, "where") : where;
        }
        if (strstr(where, rows[i].where) == NULL) {
            fail_msg("%s: %s", rows[i].rows, shown(&b));
        }
        close_bench(&b);
    }
}

/* The rest of a tensor that was computed in part is the reference's: of the rows that are there a
 * fault is named, and those that are not hide none behind them. */
static void test_what_is_there_in_part_is_judged(void **state)
{
    (void)state;
    static const struct {
        const char *more, *tap; /* NULL: nothing is found */
        const char *cause;
    } rows[] = {
        {"", NULL, NULL},
        {"--set text.mlp_act=gelu_tanh", "text.layers.0.output", "text.mlp_act=gelu_tanh"},
        {"--set text.final_norm=absent", "text.norm", "text.final_norm=absent"},
        {"--dtype bf16 --set text.final_norm=absent", "text.norm", "text.final_norm=absent"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench b = open_bench();
        char more[512];
        support_write_text(
            &b.folder, "map.json",
            "{\"text.layers.{i}.output\": {\"tap\": \"text.layers.{i}.output\", "
            "\"rows\": \"from 2\"}, \"text.norm\": {\"tap\": "
            "\"text.norm\", \"rows\": \"from 2\"}, \"logits\": {\"tap\": \"logits\", \"rows\": "
            "\"last\"}}");
        snprintf(more, sizeof more, "--taps input_ids,text.layers.*.output,text.norm,logits %s",
                 rows[i].more);
        assert_true(dump(&b, "plain", NULL, more, "port.npz"));
        snprintf(more, sizeof more, "--map %s", support_path(&b.folder, "map.json"));
        diagnose(&b, "plain", support_path(&b.folder, "port.npz"), more);
        int expected = rows[i].tap == NULL ? 0 : 1;
        if (b.status != expected || finding_count(&b) != expected ||
            (expected == 1 && (strcmp(text_of(finding(&b, 0), "tap"), rows[i].tap) != 0 ||
                               strcmp(cause(finding(&b, 0), 0), rows[i].cause) != 0))) {
            fail_msg("%s: %s", rows[i].more, shown(&b));
        }
        close_bench(&b);
    }
}

/* A tower in one type and a language model in another: each is held against its own. */
static void test_two_types_in_one_port(void **state)
{
#define FAULTS "--set vision.act=relu --set text.mlp_act=relu"
    (void)state;
    static const struct {
        const char *tower, *text;
        bool large; /* as a model of real size is diagnosed */
    } rows[] = {{"f32", "bf16", false}, {"f16", "bf16", true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench b = open_bench();
        char line[1200];
        snprintf(line, sizeof line, "--dtype %s --numerics hf " FAULTS " --taps vision.layers.*",
                 rows[i].tower);
        assert_true(dump(&b, "plain", NULL, line, "tower/"));
        snprintf(line, sizeof line, "--dtype %s --numerics hf " FAULTS " --taps text.layers.*",
                 rows[i].text);
        assert_true(dump(&b, "plain", NULL, line, "port/"));
        snprintf(line, sizeof line, "mv '%s'/tower/vision.* '%s/port'", b.folder.path,
                 b.folder.path);
        assert_int_equal(system(line), 0);
        if (rows[i].large) {
            assert_int_equal(setenv("LLAVA_DIAGNOSE_AS_LARGE", "1", 1), 0);
        }
        snprintf(line, sizeof line, "%s/", support_path(&b.folder, "port"));
        diagnose(&b, "plain", line, "");
        assert_int_equal(unsetenv("LLAVA_DIAGNOSE_AS_LARGE"), 0);
        if (b.status != 1 || finding_count(&b) != 2 ||
            strcmp(cause(finding(&b, 0), 0), "vision.act=relu") != 0 ||
            strcmp(cause(finding(&b, 1), 0), "text.mlp_act=relu") != 0) {
            fail_msg("%s and %s: %s", rows[i].tower, rows[i].text, shown(&b));
        }
        snprintf(line, sizeof line, "rm -r '%s/tower' '%s/port'", b.folder.path, b.folder.path);
        assert_int_equal(system(line), 0);
        close_bench(&b);
    }
#undef FAULTS
}

/* Steps and masks of four dimensions, where trials are spared. */
static void test_a_large_model_is_diagnosed_alike(void **state)
{
    (void)state;
    static const struct {
        const char *name, *more, *cause;
    } rows[] = {
        {"generate", "--dtype bf16 --set text.mlp_act=relu", "text.mlp_act=relu"},
        {"mask-added", "--dtype bf16 --set text.attn_scale=none", "text.attn_scale=none"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench b = open_bench();
        assert_true(dump(&b, rows[i].name, NULL, rows[i].more, "port.npz"));
        assert_int_equal(setenv("LLAVA_DIAGNOSE_AS_LARGE", "1", 1), 0);
        diagnose(&b, rows[i].name, support_path(&b.folder, "port.npz"), "");
        assert_int_equal(unsetenv("LLAVA_DIAGNOSE_AS_LARGE"), 0);
        if (b.status != 1 || finding_count(&b) != 1 ||
            strcmp(cause(finding(&b, 0), 0), rows[i].cause) != 0) {
            fail_msg("%s: %s", rows[i].name, shown(&b));
        }
        close_bench(&b);
    }
}

/* The runner-up, 0.13 below the chosen one: inside of what rounding to bfloat16 may turn. */
static void test_a_near_tie_is_no_finding(void **state)
{
    (void)state;
    bench b = open_bench();
    ranking r = rank_last_logits(&b);
    diagnose_token(&b, "--dtype bf16 --taps generated_ids", r.second);
    const cJSON *ties = cJSON_GetObjectItemCaseSensitive(b.json, "near_ties");
    const cJSON *first = cJSON_GetObjectItemCaseSensitive(ties, "first");
    if (b.status != 0 || finding_count(&b) != 0 || number_in(ties, "count") != 1 ||
        number_in(first, "actual") != (double)r.second ||
        number_in(first, "expected") != (double)r.best ||
        !(number_in(first, "margin") <= number_in(first, "bound"))) {
        fail_msg("%s", shown(&b));
    }
    diagnose_token(&b, "--dtype bf16 --taps generated_ids", r.best);
    assert_int_equal(b.status, 0);
    ties = cJSON_GetObjectItemCaseSensitive(b.json, "near_ties");
    assert_true(number_in(ties, "count") == 0);
    assert_null(cJSON_GetObjectItemCaseSensitive(ties, "first"));
    close_folders(&b);
}

/* ---- honest ports
 * ------------------------------------------------------------------------------------ */

static void test_every_golden_passes(void **state)
{
    static const char *const dumps[] = {"hf", "true", "bf16", "f32", "f16"};
    (void)state;
    DIR *folder = opendir("golden");
    size_t seen = 0, checked = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL; seen++) {
        char path[600];
        bool demo = strncmp(entry->d_name, "demo", 4) == 0; /* a larger model */
        char folder_of[300];
        snprintf(folder_of, sizeof folder_of, "golden/%s", entry->d_name);
        snprintf(path, sizeof path, "%s/case.json", folder_of);
        bool left_out = seen % support_step(1) != 0 || demo || !llava_file_exists(path) ||
                        !golden_readable(folder_of);
        for (size_t i = 0; i < 5 && !left_out; i++) {
            snprintf(path, sizeof path, "golden/%s/%s.npz", entry->d_name, dumps[i]);
            if (access(path, R_OK) != 0) {
                continue;
            }
            bench b = open_bench();
            diagnose(&b, entry->d_name, path, "");
            if (b.status != 0 || finding_count(&b) != 0) {
                fail_msg("%s: %s", path, shown(&b));
            }
            checked++;
            close_bench(&b);
            left_out = !support_long(); /* one of each */
        }
    }
    closedir(folder);
    assert_true(checked > (support_long() ? 80 : 40 / support_step(1)));
}

/* Padded batches in narrow types, and generations: honest as they come. */
static void test_honest_runs_pass(void **state)
{
    static const struct {
        const char *name, *more;
    } rows[] = {
        {"batch-left", "--dtype bf16 --numerics hf"},
        {"batch-right", "--dtype f16 --numerics hf"},
        {"batch-left", "--positions generate"},
        {"batch-left", "--positions generate --taps text.layers.*.attn.q_rope"},
        {"generate", "--dtype bf16 --numerics hf"},
        {"generate-left-stop", "--dtype f32 --numerics hf"},
        {"generate", "--dtype bf16 --taps generated_ids"}, /* the type stands in __meta__ */
        {"generate", "--taps generated_ids,logits,step.*.logits"},
        {"generate-left-stop", "--dtype f32 --taps generated_ids"},
        {"generate-left-stop", "--dtype f16 --numerics hf --taps generated_ids,step.*.text.norm"},
        {"mistral-left", "--dtype f16 --taps generated_ids"},
        /* islands make NaN of padded samples in float64 */
        {"mistral-left", "--numerics hf --taps generated_ids"},
        {"generate-left-stop", "--numerics hf --taps text.layers.0.output,step.*.text.norm,"
                               "generated_ids"},
        {"qwen2", "--dtype f32 --numerics hf --taps generated_ids"},
        {"rope-longrope-grows", "--dtype bf16 --taps generated_ids,logits,step.*.logits"},
        {"rope-dynamic-grows", "--dtype f16 --taps generated_ids"},
        {"plain", "--dtype bf16 --taps logits"},
        {"grouped-heads", "--dtype f16 --numerics hf --taps " SPARSE},
        /* attention maps and rotary tables alone, by which the type is known then */
        {"generate", "--dtype f16 --numerics hf --taps *.attn.probs,generated_ids"},
        {"plain", "--dtype bf16 --numerics hf --taps *.attn.probs"},
        {"plain", "--dtype f32 --numerics hf --taps *.attn.probs"},
        {"plain", "--numerics hf --taps *.attn.probs"},
        {"plain", "--taps *.attn.probs"},
        {"pixtral", "--dtype bf16 --numerics hf --taps *.rope.*"},
        {"labels", "--dtype bf16 --numerics hf --taps vision.features,loss"}, /* float32's own */
        {"picture-chat", "--dtype bf16 --numerics hf"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i += support_step(1)) {
        bench b = open_bench();
        assert_true(dump(&b, rows[i].name, NULL, rows[i].more, "port.npz"));
        diagnose(&b, rows[i].name, support_path(&b.folder, "port.npz"), "");
        if (b.status != 0 || finding_count(&b) != 0) {
            fail_msg("%s %s: %s", rows[i].name, rows[i].more, shown(&b));
        }
        close_bench(&b);
    }
}

/* Twenty numbers, most of whose error a few roundings of a softmax make: one draw of these is 4.02
 * times less than the honest port's error, of another order of sums, and 5.6 less than the usual.
 */
static void test_one_lucky_draw_of_the_noise_blames_no_honest_step(void **state)
{
    (void)state;
    static const struct {
        double moved; /* the context's second number */
        int status;
    } rows[] = {{0, 0}, {0x1p-6, 1}, {-0x1p-6, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char members[4096];
        bench b = open_bench();
        size_t used = (size_t)snprintf(members, sizeof members, "%s; %s", step_given, step_context);
        for (size_t k = 0; k < sizeof step_context_values / sizeof *step_context_values; k++) {
            used += (size_t)snprintf(members + used, sizeof members - used, " %.9g",
                                     step_context_values[k] + (k == 1 ? rows[i].moved : 0));
        }
        assert_true(used < sizeof members);
        program_write_inputs(&b.folder, "port.npz", members);
        diagnose(&b, "generate", support_path(&b.folder, "port.npz"), "");
        if (b.status != rows[i].status || finding_count(&b) != rows[i].status) {
            fail_msg("moved by %g: %s", rows[i].moved, shown(&b));
        }
        close_bench(&b);
    }
}

/* Where the noise of every span is measured, and not only of those in doubt, the findings are the
 * same to the last digit, and no span has less noise. */
static void test_noise_measured_everywhere_changes_no_finding(void **state)
{
    static const struct {
        const char *name, *more;
    } rows[] = {
        {"plain", "--dtype bf16 --numerics hf"},
        {"plain", "--dtype bf16 --numerics hf --set text.mlp_act=gelu --set vision.act=gelu"},
        {"grouped-heads", "--dtype f32 --set text.kv_groups=interleaved --taps " SPARSE},
        {"grouped-heads", "--dtype f16 --set numerics.kv_cache=bf16"},
        {"plain", "--numerics hf --set text.rope_pairing=interleaved --taps text.*"},
        {"pixtral", "--dtype bf16 --set vision.rope_axes=column-row"},
        {"generate", "--dtype f32 --set cache.position=skipped"},
        {"generate-left-stop", "--dtype f16 --set text.attn_scale=none --taps *logits,text.norm"},
    };
    (void)state;
    size_t more = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i += support_step(2)) {
        bench b = open_bench();
        assert_true(dump(&b, rows[i].name, NULL, rows[i].more, "port.npz"));
        diagnose(&b, rows[i].name, support_path(&b.folder, "port.npz"), "");
        cJSON *lazy = b.json;
        b.json = NULL;
        diagnose(&b, rows[i].name, support_path(&b.folder, "port.npz"), "--all-noise");
        if (!cJSON_Compare(list_of(lazy, "findings"), list_of(b.json, "findings"), true) ||
            !cJSON_Compare(list_of(lazy, "precision"), list_of(b.json, "precision"), true)) {
            fail_msg("%s %s: %s", rows[i].name, rows[i].more, shown(&b));
        }
        const cJSON *least = list_of(lazy, "taps")->child, *all = list_of(b.json, "taps")->child;
        for (; least != NULL && all != NULL; least = least->next, all = all->next) {
            assert_string_equal(text_of(least, "name"), text_of(all, "name"));
            assert_true(list_of(least, "noise")->valuedouble <= list_of(all, "noise")->valuedouble);
            more += list_of(least, "noise")->valuedouble < list_of(all, "noise")->valuedouble;
        }
        assert_true(least == NULL && all == NULL);
        cJSON_Delete(lazy);
        close_bench(&b);
    }
    assert_true(more > 20 / support_step(1)); /* spans that were in no doubt */
}

/* ---- models of real size, whose trials are spared
 * ------------------------------------------------------------------------------------ */

/* A model of more rows than a golden has, and its inputs. */
static void make_rows(bench *b, tiny_model *model)
{
    enum { PIXELS = 3 * 20 * 20, TEXT = 40, PATCHES = 100 };
    tiny_shape shape = tiny_default;
    char *text = malloc(32 * PIXELS);
    size_t used = 0;
    uint64_t seed = 5;
    assert_non_null(text);
    shape.image = 20;
    tiny_open_as(model, &shape);
    used += (size_t)sprintf(text, "input_ids <i8 [1,%d] 1 %zu*%d", 1 + PATCHES + TEXT,
                            shape.vocab - 1, PATCHES);
    for (size_t i = 0; i < TEXT; i++) {
        used += (size_t)sprintf(text + used, " %zu", (size_t)(27 * fabs(support_random(&seed))));
    }
    used += (size_t)sprintf(text + used, "; pixel_values <f4 [1,3,20,20]");
    for (size_t i = 0; i < PIXELS; i++) {
        used += (size_t)sprintf(text + used, " %.3f", support_random(&seed));
    }
    program_write_inputs(&b->folder, "inputs.npz", text);
    free(text);
}

/* One command on them, with these further words. */
static void on_rows(bench *b, const tiny_model *model, const llava_command *c, const char *more)
{
    words w = {.count = 0};
    add(&w, "--model");
    add(&w, model->folder.path);
    add(&w, "--inputs");
    add(&w, support_path(&b->folder, "inputs.npz"));
    add(&w, "--dump");
    add(&w, support_path(&b->folder, "port.npz"));
    add_all(&w, more);
    if (c == &llava_command_diagnose) {
        add(&w, "--json");
        add(&w, support_path(&b->folder, "out.json"));
    }
    command(b, c, w.word, w.count);
    free_words(&w);
    if (c == &llava_command_diagnose) {
        read_json(b, support_path(&b->folder, "out.json"));
    }
}

/* Where a cause is tried at a few rows first, and the noise is left out of a layer that is like the
 * one before, the causes are the same to the last digit. */
static void test_spared_trials_find_the_same(void **state)
{
    static const char *const layers = "--taps vision.layers.*.output,vision.features,projector.out,"
                                      "text.layers.*.output,text.norm,logits ";
    static const struct {
        const char *more;
        bool sparse;
        int findings;
    } rows[] = {
        {"--dtype bf16", true, 0},
        {"--set vision.act=relu", true, 1},
        {"--set vision.attn_scale=width --dtype bf16 --numerics hf", true, 1},
        {"--set text.rope_pairing=interleaved --dtype f16 --numerics hf", true, 1},
        {"--set text.mlp_act=relu --dtype bf16 --numerics hf", false, 1},
        {"--set text.mlp_act=relu --set text.attn_scale=none --dtype f32 --numerics hf", true, 1},
        {"--set vision.act=silu --set text.attn_mask=none --dtype bf16 --numerics hf", true, 2},
        {"--set text.norm_kind=layer --dtype f32 --numerics hf", false, 1},
    };
    (void)state;
    bench b = open_bench();
    tiny_model model;
    make_rows(&b, &model);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i += support_step(3)) {
        char words_of_run[512];
        snprintf(words_of_run, sizeof words_of_run, "%s%s", rows[i].sparse ? layers : "",
                 rows[i].more);
        on_rows(&b, &model, &llava_command_run, words_of_run);
        if (b.status != 0) {
            fail_msg("%s: %s", words_of_run, b.error.text);
        }
        on_rows(&b, &model, &llava_command_diagnose, "");
        cJSON *every = b.json;
        b.json = NULL;
        assert_int_equal(setenv("LLAVA_DIAGNOSE_AS_LARGE", "1", 1), 0);
        on_rows(&b, &model, &llava_command_diagnose, "");
        assert_int_equal(unsetenv("LLAVA_DIAGNOSE_AS_LARGE"), 0);
        if (finding_count(&b) != rows[i].findings ||
            !cJSON_Compare(list_of(every, "findings"), list_of(b.json, "findings"), true) ||
            !cJSON_Compare(list_of(every, "inherited"), list_of(b.json, "inherited"), true)) {
            fail_msg("%s: %s", rows[i].more, shown(&b));
        }
        cJSON_Delete(every);
    }
    tiny_close(&model);
    close_bench(&b);
}

/* Integers are no probabilities and no logits: nothing is computed from them, and that they were
 * not looked at is told. */
static void test_integers_stand_for_no_floating_tensor(void **state)
{
    (void)state;
    bench b = open_bench();
    program_write_inputs(
        &b.folder, "port.npz",
        "text.layers.0.attn.scores <i8 [1,2,12,12] 0*288; text.layers.0.attn.probs "
        "<f8 [1,2,12,12] 0*288; logits <i8 [1,12,61] 1*732; input_ids <i8 [1,12] 1 "
        "35 54 49 46 9 36 26 45 34 49 50");
    diagnose(&b, "text-only", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(b.status, 1);
    assert_int_equal(finding_count(&b), 1);
    assert_string_equal(text_of(finding(&b, 0), "tap"), "text.layers.0.attn.probs");
    assert_int_equal(cJSON_GetArraySize(list_of(finding(&b, 0), "from")), 3); /* not the scores */
    assert_true(number_in(b.json, "not_looked_at") == 2);
    close_bench(&b);
}

/* All of golden/plain but for its ids: image tokens that do not go with the
 * picture stop neither the tower nor the language model from being judged. */
static void test_ids_that_do_not_fit_the_picture_stop_nothing_else(void **state)
{
    (void)state;
    bench b = open_bench();
    char folder[512], path[640];
    snprintf(folder, sizeof folder, "%s", support_path(&b.folder, "port"));
    snprintf(path, sizeof path, "%s/", folder);
    assert_true(
        dump(&b, "plain", NULL, "--set text.rope_theta=1e6 --set vision.act=gelu", "port/"));
    snprintf(path, sizeof path, "%s/input_ids.npy", folder);
    llava_file file;
    llava_error e;
    assert_true(llava_file_map(&file, path, &e));
    uint8_t *bytes = malloc(file.size);
    assert_non_null(bytes);
    memcpy(bytes, file.bytes, file.size);
    assert_int_equal(bytes[128 + 8 * 4], 57); /* an image token less */
    bytes[128 + 8 * 4] = 7;
    FILE *to = fopen(path, "wb");
    size_t size = file.size;
    assert_non_null(to);
    assert_int_equal(fwrite(bytes, 1, size, to), size);
    fclose(to);
    llava_file_unmap(&file);
    free(bytes);
    snprintf(path, sizeof path, "%s/text.embed.npy", folder); /* of the ids before */
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/", folder);
    diagnose(&b, "plain", path, "");
    bool right = b.status == 1 && finding_count(&b) == 3 &&
                 strcmp(text_of(finding(&b, 0), "tap"), "input_ids") == 0 &&
                 strcmp(cause(finding(&b, 1), 0), "vision.act=gelu") == 0 &&
                 strcmp(cause(finding(&b, 2), 0), "text.rope_theta=1e6") == 0;
    if (!right) {
        fail_msg("%s", shown(&b));
    }
    snprintf(path, sizeof path, "rm -r '%s'", folder);
    assert_int_equal(system(path), 0);
    close_bench(&b);
}

/* A dump that says itself what it was made from: other inputs cannot be judged, another model can.
 */
static void test_a_dump_of_other_inputs_cannot_be_judged(void **state)
{
    (void)state;
    bench b = open_bench();
    assert_true(dump(&b, "grouped-heads", NULL, "--taps input_ids", "port.npz"));
    diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(b.status, 2);
    assert_non_null(strstr(b.error.text, "made from other inputs"));
    damage_model(&b, Q1, HALVE_ROW);
    assert_true(dump(&b, "plain", b.folder.path, "--taps input_ids", "port.npz"));
    diagnose(&b, "plain", support_path(&b.folder, "port.npz"), "");
    assert_int_equal(b.status, 0);
    close_bench(&b);
}

static void test_without_a_dump_there_is_nothing_to_judge(void **state)
{
    (void)state;
    bench b = open_bench();
    words w = {.count = 0};
    add_case(&w, "text-only", NULL, false);
    command(&b, &llava_command_diagnose, w.word, w.count);
    assert_int_equal(b.status, 2);
    support_says(&b.error, "--dump PORT is missing");
    free_words(&w);
    close_bench(&b);
}

static void test_a_dump_without_taps_cannot_be_judged(void **state)
{
    (void)state;
    bench b = open_bench();
    diagnose(&b, "plain", "golden/plain/model/model.safetensors", "");
    assert_int_equal(b.status, 2);
    assert_string_equal(text_of(b.json, "verdict"), "cannot-judge");
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_planted_decision_is_named),
        cmocka_unit_test(test_a_permuted_tower_is_named),
        cmocka_unit_test(test_roundings_everywhere_go_to_precision),
        cmocka_unit_test(test_roundings_that_look_alike_are_both_said),
        cmocka_unit_test(test_matrices_left_out_of_a_rounding_are_told),
        cmocka_unit_test(test_a_fault_behind_a_rounding_shows),
        cmocka_unit_test(test_two_faults_in_two_spans_are_two_findings),
        cmocka_unit_test(test_a_resize_by_opencv_is_named),
        cmocka_unit_test(test_what_does_nothing_to_the_picture_is_not_named),
        cmocka_unit_test(test_two_faults_in_one_span_are_a_pair),
        cmocka_unit_test(test_two_faults_that_change_a_shape_are_a_pair),
        cmocka_unit_test(test_a_fault_behind_a_picture_of_another_shape_shows),
        cmocka_unit_test(test_pixels_tell_whether_a_resize_rounds),
        cmocka_unit_test(test_three_faults_in_the_picture_stage),
        cmocka_unit_test(test_inputs_are_judged_and_shown),
        cmocka_unit_test(test_damage_is_located_and_not_guessed_at),
        cmocka_unit_test(test_a_zeroed_head_is_located_and_unknown),
        cmocka_unit_test(test_a_dropped_residual_is_located_and_unknown),
        cmocka_unit_test(test_a_nan_is_found_where_it_is_made),
        cmocka_unit_test(test_a_rounding_in_one_layer_only_is_a_finding),
        cmocka_unit_test(test_a_token_against_its_logits_is_a_finding),
        cmocka_unit_test(test_tokens_are_held_against_logits_that_can_be_read),
        cmocka_unit_test(test_tokens_are_held_against_rows_that_were_computed),
        cmocka_unit_test(test_what_is_there_in_part_is_judged),
        cmocka_unit_test(test_two_types_in_one_port),
        cmocka_unit_test(test_a_large_model_is_diagnosed_alike),
        cmocka_unit_test(test_a_near_tie_is_no_finding),
        cmocka_unit_test(test_every_golden_passes),
        cmocka_unit_test(test_honest_runs_pass),
        cmocka_unit_test(test_one_lucky_draw_of_the_noise_blames_no_honest_step),
        cmocka_unit_test(test_noise_measured_everywhere_changes_no_finding),
        cmocka_unit_test(test_spared_trials_find_the_same),
        cmocka_unit_test(test_integers_stand_for_no_floating_tensor),
        cmocka_unit_test(test_ids_that_do_not_fit_the_picture_stop_nothing_else),
        cmocka_unit_test(test_a_dump_of_other_inputs_cannot_be_judged),
        cmocka_unit_test(test_without_a_dump_there_is_nothing_to_judge),
        cmocka_unit_test(test_a_dump_without_taps_cannot_be_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
