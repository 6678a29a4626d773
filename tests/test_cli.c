/* The program as its user runs it: what it takes, what it refuses and with which line, and where
 * its output goes (contract sections 1, 9, 10). Every refusal is one row of a table. */
#include "tests/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUN    "\"$LLAVA\" run --model model --inputs inputs.npz "
#define DEMO   "\"$LLAVA\" run --model \"$GOLDEN\"/demo/model "
#define IDS    "input_ids <i8 [1,11] 1 57*9 4"
#define PIXELS "pixel_values <f4 [1,3,12,12] 0.5*432"
#define BOTH   IDS "; " PIXELS

/* ---- a table of refusals -----------------------------------------------------------------------
 */

/* One bad thing in a copy of golden/plain (or of `from`). */
typedef struct {
    const char *what;
    const char *from;       /* the golden case; NULL: plain */
    const char *before;     /* shell commands that spoil the copy */
    const char *config[2];  /* in model/config.json: this, replaced by that */
    const char *weights[2]; /* the same in the header of model/model.safetensors */
    const char *inputs;     /* another inputs.npz, as program_write_inputs has it */
    const char *command;    /* NULL: RUN */
    const char *says;
} refusal;

/* Copies all of the case but its dumps in narrow types and PROVENANCE.json. */
static void prepare(const support_folder *folder, const refusal *row)
{
    char from[256];
    snprintf(from, sizeof from, "golden/%s", row->from == NULL ? "plain" : row->from);
    support_copy(folder, from, "bfhP");
    if (row->before != NULL) {
        program_result made = program_run(folder, row->before);
        if (made.status != 0) {
            fail_msg("%s: cannot be prepared: %s", row->what, made.err);
        }
        program_free(&made);
    }
    if (row->config[0] != NULL) {
        program_edit(folder, "model/config.json", row->config[0], row->config[1]);
    }
    if (row->weights[0] != NULL) {
        program_edit(folder, "model/model.safetensors", row->weights[0], row->weights[1]);
    }
    if (row->inputs != NULL) {
        program_write_inputs(folder, "inputs.npz", row->inputs);
    }
}

static bool spoils(const refusal *row)
{
    return row->from != NULL || row->before != NULL || row->config[0] != NULL ||
           row->weights[0] != NULL || row->inputs != NULL;
}

/* Runs every row; all that fail are named before the test ends. Rows that spoil nothing share one
 * copy: a refused command leaves nothing behind, either. */
static void check_refusals(const refusal *rows, size_t count)
{
    static const refusal nothing = {0};
    size_t failed = 0;
    support_folder whole = support_folder_new();
    prepare(&whole, &nothing);
    for (size_t i = 0; i < count; i++) {
        support_folder folder = whole;
        if (spoils(&rows[i])) {
            folder = support_folder_new();
            prepare(&folder, &rows[i]);
        }
        program_result r = program_run(&folder, rows[i].command == NULL ? RUN : rows[i].command);
        const char *wrong = program_refusal(&r, rows[i].says);
        if (wrong == NULL && program_leaves(&folder, "llava-ref.tmp")) {
            wrong = "a temporary file is left";
        }
        if (wrong != NULL) {
            print_error("%s: %s; expected '%s', exit status %d, stderr: %s\n", rows[i].what, wrong,
                        rows[i].says, r.status, r.err);
            failed++;
        }
        program_free(&r);
        if (spoils(&rows[i])) {
            support_folder_remove(&folder);
        }
    }
    support_folder_remove(&whole);
    if (failed > 0) {
        fail_msg("%zu of %zu rows", failed, count);
    }
}

#define CHECK(rows) check_refusals(rows, sizeof(rows) / sizeof(rows)[0])

/* ---- bad usage ----------------------------------------------------------------------------------
 */

static void bad_usage_is_refused_in_one_line(void **state)
{
    static const refusal rows[] = {
        {"no command", .command = "\"$LLAVA\"", .says = "no command (llava-ref help lists them)"},
        {"unknown command", .command = "\"$LLAVA\" rnu",
         .says = "rnu: unknown command (did you mean run?)"},
        {"a command like none", .command = "\"$LLAVA\" transmogrify",
         .says = "(llava-ref help lists them)"},
        {"help of an unknown command", .command = "\"$LLAVA\" help inspct",
         .says = "(did you mean inspect?)"},
        {"version with a word", .command = "\"$LLAVA\" version x", .says = "x: one word too many"},
        {"a choice like none", .command = RUN "--dtype f23", .says = "(did you mean f32?)"},
        {"set of a decision like none", .command = RUN "--set vision.actt=gelu",
         .says = "lists them) (did you mean vision.act?)"},
        {"set of a value like none", .command = RUN "--set vision.act=gleu_tanh",
         .says = "(did you mean gelu_tanh?)"},
        {"a decision set twice",
         .command = RUN "--set vision.act=gelu --set text.layers=one-less --set vision.act=silu",
         .says = "--set vision.act: given twice"},
        {"taps like none", .command = RUN "--dump o.npz --taps 'logits,vision.layers.*.atn.q'",
         .says = "such a name (did you mean vision.layers.0.attn.q?)"},
        {"a tensor like none", .command = "\"$LLAVA\" inspect true.npz logitz",
         .says = "there is no tensor 'logitz' (did you mean logits?)"},
        {"a weight like none",
         .command = "\"$LLAVA\" inspect model language_model.model.norm.wieght",
         .says = "(did you mean language_model.model.norm.weight?)"},
        {"a map like none", .command = "\"$LLAVA\" diff true.npz true.npz --map transformer",
         .says = "(did you mean transformers?)"},
        {"a map's tap like none", .before = "echo '{\"logits\": {\"tap\": \"logitz\"}}' > map.json",
         .command = "\"$LLAVA\" diff true.npz true.npz --map map.json",
         .says = "there is no tap \"logitz\" (did you mean logits?)"},
        {"help of two commands", .command = "\"$LLAVA\" help run diff",
         .says = "diff: one word too many"},
        {"help in two forms", .command = "\"$LLAVA\" help run --man",
         .says = "help: one of COMMAND, --man and --completion at a time"},
        {"two results in one file",
         .command = "\"$LLAVA\" diff true.npz true.npz --json out --html out",
         .says = "--json and --html: both would be out"},
        {"two results in one file under two names",
         .command = "\"$LLAVA\" diff true.npz true.npz --json out --html ./out",
         .says = "--json and --html: both would be ./out"},
        {"two results in one file by another folder's name", .before = "mkdir -p in; ln -sf in by",
         .command = "\"$LLAVA\" diff true.npz true.npz --json in/out --junit by/../by/out",
         .says = "both would be "},
        {"two results in one file by a link", .before = "echo old > old; ln -sf old linked",
         .command = "\"$LLAVA\" diff true.npz true.npz --json old --html linked",
         .says = "both would be "},
        {"a folder and a file of one name", .command = RUN "--dump out/ --hash out",
         .says = "--dump and --hash: both would be "},
        {"standard output under two names",
         .command = "\"$LLAVA\" diff true.npz true.npz --json - --html /dev/stdout",
         .says = "both would be "},
        {"an empty name of a result", .command = "\"$LLAVA\" diff true.npz true.npz --json ''",
         .says = "--json: an empty name"},
        {"unknown option", .command = "\"$LLAVA\" run --modl model",
         .says = "--modl: unknown option (did you mean --model?)"},
        {"an option longer than any guess", .command = "\"$LLAVA\" run --$(printf '%0200d' 0)",
         .says = "0: unknown option"},
        {"option without value", .command = "\"$LLAVA\" run --model",
         .says = "--model: a value is missing"},
        {"option given twice", .command = RUN "--model model", .says = "--model: given twice"},
        {"positions given twice", .command = RUN "--positions forward --positions forward",
         .says = "--positions: given twice"},
        {"a flag with a value", .command = RUN "--compress=1",
         .says = "--compress: takes no value"},
        {"a word too many", .command = RUN "more", .says = "more: one word too many"},
        {"a word behind --", .command = RUN "-- --generate",
         .says = "--generate: one word too many"},
        {"no model", .command = "\"$LLAVA\" run --inputs inputs.npz",
         .says = "--model DIR is missing"},
        {"no inputs", .command = "\"$LLAVA\" run --model model",
         .says = "one of --inputs, --prompt, --chat and --messages is needed"},
        {"prompt and chat", .command = "\"$LLAVA\" run --model model --prompt a --chat b",
         .says = "one of --inputs, --prompt, --chat and --messages"},
        {"inputs and prompt", .command = RUN "--prompt a", .says = "--inputs stands instead of"},
        {"inputs and image", .command = RUN "--image a.png", .says = "--inputs stands instead of"},
        {"empty model", .command = "\"$LLAVA\" run --model '' --inputs inputs.npz",
         .says = "--model: an empty name"},
        {"empty inputs",
         .command = "\"$LLAVA\" run --model model --inputs=", .says = "--inputs: an empty name"},
        {"generate 0", .command = RUN "--generate 0",
         .says = "--generate 0: not a whole number from 1"},
        {"generate -1", .command = RUN "--generate -1",
         .says = "--generate -1: not a whole number"},
        {"generate 1.5", .command = RUN "--generate 1.5",
         .says = "--generate 1.5: not a whole number"},
        {"generate with what follows the digits",
         .command = RUN "--generate :", .says = "not a whole number"},
        {"generate beyond every number", .command = RUN "--generate 99999999999999999999999",
         .says = "not a whole number"},
        {"a dump of another kind", .command = RUN "--dump out.safetensors",
         .says = "--dump out.safetensors: a dump is written as OUT.npz, or as a folder, OUT/"},
        {"a dump in one array", .command = RUN "--dump out.npy", .says = "out.npy: a dump is"},
        {"generate with a blank", .command = RUN "--generate ' 1'", .says = "not a whole number"},
        {"generate too large", .command = RUN "--generate 18446744073709551617",
         .says = "not a whole number"},
        {"unknown dtype", .command = RUN "--dtype f8", .says = "--dtype f8: not one of f64, f32"},
        {"unknown numerics", .command = RUN "--numerics fast",
         .says = "--numerics fast: not one of true, hf"},
        {"unknown positions", .command = RUN "--positions default",
         .says = "--positions default: not one of forward, generate"},
        {"unknown path", .command = RUN "--path quick",
         .says = "--path quick: not one of plain, fast"},
        {"taps for nobody", .command = RUN "--taps logits", .says = "--taps: "},
        {"taps that match nothing", .command = RUN "--hash - --taps 'logits,vision.layers.9.*'",
         .says = "--taps vision.layers.9.*: no tap of this run"},
        {"an empty glob", .command = RUN "--hash - --taps 'logits,,loss'",
         .says = "--taps: logits,,loss: an empty pattern"},
        {"generated_ids without --generate", .command = RUN "--hash - --taps generated_ids",
         .says = "no tap of this run"},
        {"two outputs on standard output", .command = RUN "--hash - --dump -",
         .says = "--dump and --hash: both would be standard output"},
        {"two outputs of one name", .command = RUN "--hash x --dump x",
         .says = "--dump and --hash: both would be x"},
        {"an output without a name", .command = RUN "--dump ''", .says = "an empty name"},
        {"compress without an archive", .command = RUN "--dump out/ --compress",
         .says = "--compress: packs an archive"},
        {"set without a value", .command = RUN "--set text.layers",
         .says = "--set text.layers: not of the form"},
        {"set of an unknown name", .command = RUN "--set text.layer=one-less",
         .says = "unknown decision"},
        {"set of an unknown value", .command = RUN "--set text.layers=two-less",
         .says = "unknown value (one of: config, one-less)"},
        {"no such layer",
         .config = {"\"vision_feature_layer\": -2", "\"vision_feature_layer\": -1"},
         .command = RUN "--set vision.feature_layer=one-more", .says = "no such layer"},
        {"no effect: biases", .command = RUN "--set text.qkv_bias=absent",
         .says = "no effect here"},
        {"no effect: rotary scaling", .command = RUN "--set text.rope_scaling=none",
         .says = "no effect here"},
        {"no effect: window", .command = RUN "--set text.sliding_window=ignored",
         .says = "no effect here"},
        {"no effect: groups", .command = RUN "--set text.kv_groups=interleaved",
         .says = "no effect here"},
        {"no effect: no picture file", .command = RUN "--set image.channel_order=bgr",
         .says = "no effect here: --inputs holds no picture files"},
        {"no effect: no text", .command = RUN "--set tokens.bos=none",
         .says = "no effect here: --inputs holds no text"},
        {"two sources of words",
         .before = "echo '[{\"role\":\"user\",\"content\":\"a\"}]' > m.json",
         .command = DEMO "--messages m.json --chat hi", .says = "--chat and --messages is needed"},
        {"messages that are no list", .before = "echo 7 > m.json",
         .command = DEMO "--messages m.json", .says = "m.json: neither a list of messages"},
        {"messages in a folder", .command = DEMO "--messages model",
         .says = "model: not a regular"},
        {"a picture of the messages that isn't there",
         .before =
             "echo '[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"path\":\"x.png\"}]}]' "
             "> m.json",
         .command = DEMO "--messages m.json", .says = "x.png: No such file"},
        {"pictures of two sizes for one batch", .from = "picture-short-edge",
         .before = "sed 's/\"do_center_crop\": true/\"do_center_crop\": false/' "
                   "model/processor_config.json > p && cp p model/processor_config.json",
         .command = "\"$LLAVA\" run --model model --image wide.png --image tall.png "
                    "--prompt '<image><image>'",
         .says = "one batch needs one size"},
        {"more pictures than places",
         .before =
             "echo '[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]' > "
             "m.json",
         .command = DEMO "--messages m.json --image \"$GOLDEN\"/demo/pictures/2-red-triangle.png",
         .says = "the prompt has 0 placeholders (<image>) for 1 pictures"},
        {"no effect: a blank anyway",
         .command = DEMO "--chat hi --set tokens.prefix_space=every-segment",
         .says = "no effect here: it is what the tokenizer does"},
        {"no effect: no picture", .command = DEMO "--chat hi --set tokens.image_count=single",
         .says = "no effect here: there is no picture"},
        {"no effect: no decoding", .command = RUN "--set cache.position=repeated",
         .says = "no effect here: there is no --generate"},
        {"explain something unknown", .command = "\"$LLAVA\" explain text.layers.0.attn.z",
         .says = "neither a tap nor a decision"},
        {"explain two things", .command = "\"$LLAVA\" explain logits loss",
         .says = "loss: one word too many"},
        {"inspect nothing", .command = "\"$LLAVA\" inspect", .says = "PATH is missing"},
        {"inspect what is not there", .command = "\"$LLAVA\" inspect nowhere",
         .says = "nowhere: No such file"},
        {"inspect an unknown tensor", .command = "\"$LLAVA\" inspect true.npz logit",
         .says = "true.npz: there is no tensor 'logit'"},
        {"inspect an unknown weight", .command = "\"$LLAVA\" inspect model logit",
         .says = "model: there is no tensor 'logit'"},
        {"a picture of everything", .command = "\"$LLAVA\" inspect true.npz --png t.png",
         .says = "--png needs a dump (or a .safetensors file) and NAME"},
        {"a picture of a model", .command = "\"$LLAVA\" inspect model logits --png t.png",
         .says = "--png needs a dump (or a .safetensors file) and NAME"},
        {"a picture and JSON on standard output",
         .command = "\"$LLAVA\" inspect true.npz logits --png - --json -",
         .says = "--json and --png: both would be standard output"},
    };
    (void)state;
    CHECK(rows);
}

/* ---- bad model folders --------------------------------------------------------------------------
 */

static void bad_model_files_are_refused(void **state)
{
    static const refusal rows[] = {
        {"no config", .before = "rm model/config.json", .says = "model/config.json: No such file"},
        {"the model is a file", .command = "\"$LLAVA\" run --model case.json --inputs inputs.npz",
         .says = "case.json/config.json: "},
        {"config is empty", .before = ": > model/config.json", .says = "model/config.json: "},
        {"config is cut off", .before = "head -c 700 model/config.json > c; mv c model/config.json",
         .says = "model/config.json: "},
        {"config with bytes behind", .before = "echo '{}' >> model/config.json",
         .says = "model/config.json: "},
        {"config is a list", .before = "echo '[]' > model/config.json",
         .says = "model/config.json: must be an object"},
        {"generation config is a FIFO",
         .before = "rm model/generation_config.json; mkfifo model/generation_config.json",
         .says = "generation_config.json: not a regular file"},
        {"other decoding", .before = "echo '{\"num_beams\": 2}' > model/generation_config.json",
         .command = RUN "--generate 2", .says = "num_beams"},
        {"no weights", .before = "rm model/model.safetensors",
         .says = "model: holds neither model.safetensors nor model.safetensors.index.json"},
        {"weights are a FIFO",
         .before = "rm model/model.safetensors; mkfifo model/model.safetensors",
         .says = "model/model.safetensors: not a regular file"},
        {"weights are empty", .before = ": > model/model.safetensors",
         .says = "model/model.safetensors: "},
        {"weights are cut off",
         .before = "head -c 60000 model/model.safetensors > w; mv w model/model.safetensors",
         .says = "model/model.safetensors: "},
        {"bytes behind the weights", .before = "echo >> model/model.safetensors",
         .says = "model/model.safetensors: "},
        {"a weight is missing",
         .weights = {"language_model.model.norm.weight", "language_model.model.nurm.weight"},
         .says = "tensor 'language_model.model.norm.weight' is missing"},
        {"a weight has another shape", .weights = {"\"shape\":[61,20]", "\"shape\":[20,61]"},
         .says = "has the shape [20, 61], where config.json means [61, 20]"},
        {"a weight is an integer", .weights = {"\"dtype\":\"F32\"", "\"dtype\":\"I32\""},
         .says = "has the type I32"},
        {"a weight in two spellings",
         .weights = {"language_model.model.norm.weight", "language_model.lm_head.weight"},
         .says = "lm_head.weight"},
        {"more text layers than the config's",
         .config = {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"},
         .says = "text_config.num_hidden_layers: 1"},
        {"fewer text layers than the config's",
         .config = {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"},
         .says = "layers.2.input_layernorm.weight' is missing"},
        {"a shard is missing", .from = "sharded",
         .before = "rm model/model-00002-of-00003.safetensors",
         .says = "model-00002-of-00003.safetensors: No such file"},
        {"the index is a FIFO", .from = "sharded",
         .before = "rm model/*.index.json; mkfifo model/model.safetensors.index.json",
         .says = "index.json: not a regular file"},
        {"no tokenizer", .command = "\"$LLAVA\" run --model model --prompt a",
         .says = "model/tokenizer.json: No such file"},
        {"no template", .command = "\"$LLAVA\" run --model model --chat a", .says = "--prompt"},
        {"no image processor", .command = "\"$LLAVA\" run --model model --image a.png --prompt a",
         .says = "preprocessor_config.json: is missing"},
        {"inspect looks at the config", .before = "echo '[]' > model/config.json",
         .command = "\"$LLAVA\" inspect model", .says = "model/config.json: must be an object"},
    };
    (void)state;
    CHECK(rows);
}

static void impossible_configurations_are_refused(void **state)
{
    static const refusal rows[] = {
        {"unsupported model", .config = {"\"llava\"", "\"llava_next\""},
         .says = "model/config.json: model_type: 'llava_next' is not supported"},
        {"unsupported tower", .config = {"clip_vision_model", "dinov2"},
         .says = "vision_config.model_type: 'dinov2' is not supported"},
        {"unsupported language model", .config = {"\"llama\"", "\"gpt2\""},
         .says = "text_config.model_type: 'gpt2' is not supported"},
        {"unsupported rotary type",
         .config = {"\"rope_type\": \"default\"", "\"rope_type\": \"turned\""},
         .says = "rope_type: 'turned'"},
        {"unknown activation", .config = {"\"silu\"", "\"mish\""},
         .says = "text_config.hidden_act: 'mish'"},
        {"eps 0", .config = {"\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0"},
         .says = "text_config.rms_norm_eps: must be a positive number"},
        {"eps as text", .config = {"\"layer_norm_eps\": 1e-05", "\"layer_norm_eps\": \"1e-05\""},
         .says = "vision_config.layer_norm_eps"},
        {"theta 0", .config = {"\"rope_theta\": 10000.0", "\"rope_theta\": 0"},
         .says = "rope_theta: must be a positive number"},
        {"width 0", .config = {"\"hidden_size\": 20", "\"hidden_size\": 0"},
         .says = "text_config.hidden_size: must be from 1"},
        {"negative width", .config = {"\"hidden_size\": 18", "\"hidden_size\": -18"},
         .says = "vision_config.hidden_size"},
        {"width and a half", .config = {"\"hidden_size\": 18", "\"hidden_size\": 18.5"},
         .says = "vision_config.hidden_size"},
        {"too many layers", .config = {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 10001"},
         .says = "num_hidden_layers: must be from 1 to 10000, not 10001"},
        {"heads that do not divide",
         .config = {"\"num_attention_heads\": 2", "\"num_attention_heads\": 3"},
         .says = "is no multiple of num_attention_heads"},
        {"groups that do not divide",
         .config = {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"},
         .says = "is no multiple of num_key_value_heads"},
        {"odd head", .config = {"\"head_dim\": 10", "\"head_dim\": 9"},
         .says = "text_config.head_dim: must be even"},
        {"patch larger than the picture", .config = {"\"patch_size\": 4", "\"patch_size\": 13"},
         .says = "vision_config.image_size: is smaller than patch_size"},
        {"four channels", .config = {"\"num_channels\": 3", "\"num_channels\": 4"},
         .says = "vision_config.num_channels"},
        {"feature layer 0",
         .config = {"\"vision_feature_layer\": -2", "\"vision_feature_layer\": 0"},
         .says = "vision_feature_layer: 0 is refused"},
        {"feature layer beyond",
         .config = {"\"vision_feature_layer\": -2", "\"vision_feature_layer\": 3"},
         .says = "vision_feature_layer: 3 is out of range"},
        {"unknown row selection",
         .config = {"\"vision_feature_select_strategy\": \"default\"",
                    "\"vision_feature_select_strategy\": \"none\""},
         .says = "vision_feature_select_strategy"},
        {"quantised", .config = {"\"model_type\"", "\"quantization_config\": {}, \"model_type\""},
         .says = "quantization_config"},
        {"an image token beyond the vocabulary",
         .config = {"\"image_token_index\": 57", "\"image_token_index\": 61"},
         .inputs = "inputs_embeds <f8 [1,2,20] 0.5*40; " PIXELS, .says = "61"},
    };
    (void)state;
    CHECK(rows);
}

/* ---- bad inputs ---------------------------------------------------------------------------------
 */

static void bad_inputs_are_refused(void **state)
{
    static const refusal rows[] = {
        {"no such file", .before = "rm inputs.npz", .says = "inputs.npz: No such file"},
        {"a device", .before = "ln -sf /dev/null inputs.npz",
         .says = "inputs.npz: not a regular file"},
        {"empty", .before = ": > inputs.npz", .says = "inputs.npz: "},
        {"cut off", .before = "head -c 1000 inputs.npz > i; mv i inputs.npz",
         .says = "inputs.npz: "},
        {"no archive", .before = "cp case.json inputs.npz",
         .says = "inputs.npz: neither an .npz archive"},
        {"a flipped byte",
         .before = "printf 'X' | dd of=inputs.npz bs=1 seek=300 conv=notrunc 2>/dev/null",
         .says = "inputs.npz: "},
        {"no ids", .inputs = PIXELS, .says = "exactly one of input_ids and inputs_embeds"},
        {"ids and embeddings", .inputs = IDS "; inputs_embeds <f8 [1,11,20] 0*220",
         .says = "exactly one of input_ids and inputs_embeds"},
        {"an unknown member", .inputs = BOTH "; atention_mask <i8 [1,11] 1*11",
         .says = "atention_mask: unknown member"},
        {"no samples", .inputs = "input_ids <i8 [0,3]",
         .says = "inputs.npz: input_ids: it is empty"},
        {"no positions", .inputs = "input_ids <i8 [3,0]",
         .says = "inputs.npz: input_ids: it is empty"},
        {"ids of one axis", .inputs = "input_ids <i8 [3] 1 2 3", .says = "its shape is not [B, S]"},
        {"ids in floating point", .inputs = "input_ids <f8 [1,3] 1 2 3",
         .says = "input_ids: not int64 or int32"},
        {"ids in int16", .inputs = "input_ids <i2 [1,3] 1 2 3",
         .says = "input_ids: not int64 or int32"},
        {"an id beyond the vocabulary", .inputs = "input_ids <i8 [1,3] 1 61 3",
         .says = "input_ids: 61 at [0, 1] is not below the vocabulary's 61"},
        {"a negative id", .inputs = "input_ids <i8 [1,3] 1 -1 3",
         .says = "input_ids: -1 at [0, 1]"},
        {"a mask of another shape", .inputs = BOTH "; attention_mask <i8 [1,10] 1*10",
         .says = "attention_mask: its shape is not [B, S]"},
        {"a mask of 2", .inputs = BOTH "; attention_mask <i8 [1,11] 1*10 2",
         .says = "attention_mask: 2 at [0, 10] is neither 0 nor 1"},
        {"a mask in floating point", .inputs = BOTH "; attention_mask <f4 [1,11] 1*11",
         .says = "attention_mask: not int64"},
        {"a negative position", .inputs = BOTH "; position_ids <i8 [1,11] 0*10 -1",
         .says = "position_ids: -1 at [0, 10] is negative"},
        {"positions of two samples for one", .inputs = BOTH "; position_ids <i8 [2,11] 0*22",
         .says = "position_ids: its shape"},
        {"a label beyond the vocabulary", .inputs = BOTH "; labels <i8 [1,11] 61*11",
         .says = "labels: 61 at [0, 0]"},
        {"too few image tokens", .inputs = "input_ids <i8 [1,9] 1 57*8; " PIXELS,
         .says = "8 image tokens, but 1 picture of 9 rows need 9"},
        {"too many image tokens", .inputs = "input_ids <i8 [1,11] 1 57*10; " PIXELS,
         .says = "10 image tokens, but 1 picture of 9 rows need 9"},
        {"pictures without image tokens", .inputs = "input_ids <i8 [1,3] 1 2 3; " PIXELS,
         .says = "0 image tokens, but 1 picture of 9 rows need 9"},
        {"pictures of another size", .inputs = IDS "; pixel_values <f4 [1,3,12,13] 0*468",
         .says = "pixel_values: 12x13, but the tower takes 12x12"},
        {"pictures of one channel", .inputs = IDS "; pixel_values <f4 [1,1,12,12] 0*144",
         .says = "pixel_values: its shape is not [N, 3, H, W]"},
        {"pictures without a batch", .inputs = IDS "; pixel_values <f4 [3,12,12] 0*432",
         .says = "pixel_values: its shape is not [N, 3, H, W]"},
        {"pictures of bytes", .inputs = IDS "; pixel_values <i2 [1,3,12,12] 0*432",
         .says = "pixel_values: not float32 or float64"},
        {"embeddings of another width", .inputs = "inputs_embeds <f8 [1,2,19] 0*38",
         .says = "inputs_embeds: width 19"},
        {"embeddings of two axes", .inputs = "inputs_embeds <f8 [2,20] 0*40",
         .says = "its shape is not [B, S, H]"},
        {"embeddings with too few places", .inputs = "inputs_embeds <f8 [1,2,20] 0.5*40; " PIXELS,
         .says = "0 image tokens"},
        {"image sizes for CLIP", .inputs = BOTH "; image_sizes <i8 [1,2] 12 12",
         .says = "image_sizes: only a Pixtral tower takes them"},
        {"image sizes of two pictures for one", .inputs = BOTH "; image_sizes <i8 [2,2] 12*4",
         .says = "image_sizes: its shape is not [N, 2] of the pixel_values"},
        {"image sizes in floating point", .inputs = BOTH "; image_sizes <f8 [1,2] 12 12",
         .says = "image_sizes: not int64 or int32"},
        {"image sizes without pictures", .inputs = IDS "; image_sizes <i8 [1,2] 12 12",
         .says = "image_sizes: there are no pixel_values beside it"},
        {"no such picture", .from = "picture-chat",
         .command = "\"$LLAVA\" run --model model --image no.png --chat a",
         .says = "no.png: No such file"},
        {"a picture that is a folder", .from = "picture-chat", .before = "mkdir no.png",
         .command = "\"$LLAVA\" run --model model --image no.png --chat a",
         .says = "no.png: not a regular file"},
        {"a picture of another kind", .from = "picture-chat",
         .command = "\"$LLAVA\" run --model model --image case.json --chat a",
         .says = "case.json: "},
        {"a picture cut off", .from = "picture-chat", .before = "head -c 100 p.png > no.png",
         .command = "\"$LLAVA\" run --model model --image no.png --chat a", .says = "no.png: "},
        {"a filter that OpenCV has not", .from = "picture-prompt",
         .command = "\"$LLAVA\" run --model model --image p.png --prompt '<image>' "
                    "--set image.resize_filter=lanczos --set image.resize_rounding=opencv",
         .says = "p.png: image.resize_rounding=opencv: OpenCV has no Lanczos-3 filter"},
        {"more pictures than places", .from = "picture-prompt",
         .command = "\"$LLAVA\" run --model model --image p.png --image p.png --prompt 'a <image>'",
         .says = "image"},
    };
    (void)state;
    CHECK(rows);
}

/* ---- bad outputs --------------------------------------------------------------------------------
 */

static void outputs_that_cannot_be_written_are_refused(void **state)
{
    static const refusal rows[] = {
        {"a filled folder", .before = "mkdir out; : > out/x", .command = RUN "--dump out/",
         .says = "out/: the folder exists and is not empty"},
        {"a file where a folder is meant", .before = ": > out", .command = RUN "--dump out/",
         .says = "out"},
        {"a full disk (standard output)", .command = RUN "> /dev/full",
         .says = "standard output: cannot"},
        {"a full disk (answer)", .command = RUN "--generate 2 > /dev/full",
         .says = "standard output: cannot"},
        {"a full disk (version)", .command = "\"$LLAVA\" version > /dev/full",
         .says = "standard output: cannot"},
        {"a full disk (help)", .command = "\"$LLAVA\" help > /dev/full",
         .says = "standard output: cannot"},
        {"a full disk (explain)", .command = "\"$LLAVA\" explain > /dev/full",
         .says = "standard output: cannot"},
        {"a full disk (inspect)", .command = "\"$LLAVA\" inspect model > /dev/full",
         .says = "standard output: cannot"},
        {"a closed standard output", .command = RUN ">&-", .says = "standard output: cannot"},
    };
    (void)state;
    CHECK(rows);
}

/* ---- runs that end well -------------------------------------------------------------------------
 */

/* A fresh copy of a golden case. */
static support_folder copy_of(const char *golden)
{
    support_folder folder = support_folder_new();
    refusal row = {.what = golden, .from = golden};
    prepare(&folder, &row);
    return folder;
}

/* Runs a command that must end with status 0. */
static program_result done(const support_folder *folder, const char *command)
{
    program_result r = program_run(folder, command);
    if (r.status != 0) {
        fail_msg("%s: exit status %d: %s", command, r.status, r.err);
    }
    return r;
}

/* The command ends with status 0 and both streams are exactly so (NULL: not looked at). */
static void prints(const char *golden, const char *command, const char *out, const char *err)
{
    support_folder folder = copy_of(golden);
    program_result r = done(&folder, command);
    if (out != NULL) {
        assert_string_equal(r.out, out);
    }
    if (err != NULL) {
        assert_string_equal(r.err, err);
    }
    program_free(&r);
    support_folder_remove(&folder);
}

static void version_and_help_are_words_on_standard_output(void **state)
{
    static const char *const commands[] = {"run", "inspect", "explain", "version", "help"};
    (void)state;
    support_folder folder = support_folder_new();
    program_result v = done(&folder, "\"$LLAVA\" version"),
                   w = done(&folder, "\"$LLAVA\" --version");
    int major, minor, patch, contract, end = 0;
    assert_int_equal(sscanf(v.out, "llava-ref %d.%d.%d\ncontract %d\n%n", &major, &minor, &patch,
                            &contract, &end),
                     4);
    assert_int_equal(v.out[end], '\0');
    assert_string_equal(v.out, w.out);
    program_result h = done(&folder, "\"$LLAVA\" help"), i = done(&folder, "\"$LLAVA\" --help");
    assert_string_equal(h.out, i.out);
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; c++) {
        char command[64], start[64];
        snprintf(command, sizeof command, "\"$LLAVA\" help %s", commands[c]);
        snprintf(start, sizeof start, "llava-ref %s", commands[c]);
        assert_non_null(strstr(h.out, commands[c]));
        program_result one = done(&folder, command);
        assert_memory_equal(one.out, start, strlen(start));
        assert_string_equal(one.err, "");
        snprintf(command, sizeof command, "\"$LLAVA\" %s --help", commands[c]);
        program_result behind = done(&folder, command);
        assert_string_equal(behind.out, one.out);
        program_free(&behind);
        snprintf(command, sizeof command, "\"$LLAVA\" %s --json - -h", commands[c]);
        behind = done(&folder, command);
        assert_string_equal(behind.out, one.out);
        program_free(&behind);
        program_free(&one);
    }
    program_free(&v);
    program_free(&w);
    program_free(&h);
    program_free(&i);
    support_folder_remove(&folder);
}

static void unusual_inputs_run(void **state)
{
    static const struct {
        const char *what, *inputs, *warning;
    } rows[] = {
        {"NaN pixels", IDS "; pixel_values <f4 [1,3,12,12] nan*432", NULL},
        {"infinite pixels", IDS "; pixel_values <f8 [1,3,12,12] inf*432", NULL},
        {"a mask of zeros", BOTH "; attention_mask <i8 [1,11] 0*11", NULL},
        {"int32 ids", "input_ids <i4 [1,11] 1 57*9 4; " PIXELS, NULL},
        {"one position", "input_ids <i8 [1,1] 1", NULL},
        {"positions of one sample for two",
         "input_ids <i8 [2,3] 1 2 3 4 5 6; position_ids <i8 [1,3] 4 5 6", NULL},
        {"labels without any", BOTH "; labels <i8 [1,11] -100*11", NULL},
        {"image tokens without a picture", IDS,
         "llava-ref: warning: image tokens without a picture"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        support_folder folder = copy_of("plain");
        program_write_inputs(&folder, "inputs.npz", rows[i].inputs);
        program_result r = done(&folder, RUN "--hash -");
        assert_true(r.out_size > 0);
        bool warned = strstr(r.err, "warning") != NULL;
        if (warned != (rows[i].warning != NULL) ||
            (warned && strstr(r.err, rows[i].warning) == NULL)) {
            fail_msg("%s: stderr: %s", rows[i].what, r.err);
        }
        program_free(&r);
        support_folder_remove(&folder);
    }
}

static void one_file_wins_over_an_index_with_a_warning(void **state)
{
    (void)state;
    prints("plain", "echo '{' > model/model.safetensors.index.json; " RUN "> /dev/null", "",
           "llava-ref: warning: model/model.safetensors: is read; model.safetensors.index.json "
           "beside it is not\n");
}

/* In float32 the plain path's sums are not those of ports; in 16 bits they do not weigh, and the
 * fast path's are. */
static void a_peer_with_exact_sums_is_told_of(void **state)
{
    static const struct {
        const char *words;
        bool warned;
    } rows[] = {{"--dtype f32", true}, {"--dtype bf16", false}, {"--path fast --dtype f32", false}};
    (void)state;
    support_folder folder = copy_of("plain");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char command[1024];
        snprintf(command, sizeof command,
                 RUN "--taps logits --dump peer.npz %s >/dev/null && \"$LLAVA\" diff peer.npz "
                     "peer.npz --peer peer.npz",
                 rows[i].words);
        program_result r = done(&folder, command);
        bool warned = strstr(r.err, "warning: peer.npz: the plain path adds in float64") != NULL;
        if (warned != rows[i].warned) {
            fail_msg("%s: stderr: %s", rows[i].words, r.err);
        }
        program_free(&r);
    }
    support_folder_remove(&folder);
}

/* ---- where output goes --------------------------------------------------------------------------
 */

static void the_answer_alone_is_on_standard_output(void **state)
{
    (void)state;
    support_folder folder = copy_of("picture-chat");
    static const char command[] =
        "\"$LLAVA\" run --model model --image p.png --chat 'What is it, h\303\251\303\251? "
        "\360\237\230\212' --generate 6";
    program_result r = done(&folder, command);
    assert_string_equal(r.out, "\357\277\275small:\357\277\275\357\277\275\357\277\275\n");
    assert_string_equal(r.err, "");
    program_free(&r);
    support_folder_remove(&folder);
}

static void without_generate_the_top_logits_are_printed(void **state)
{
    (void)state;
    support_folder folder = copy_of("plain");
    program_result r = done(&folder, RUN);
    int id, end = 0;
    double logit;
    assert_int_equal(
        sscanf(r.out, "sample 0: highest logits of the last position\n%d %lf%n", &id, &logit, &end),
        2);
    assert_int_equal(id, 1);
    assert_true(logit > 2.62 && logit < 2.63);
    assert_int_equal(r.out[end], '\n'); /* nothing behind it: there is no tokenizer */
    assert_string_equal(r.err, "");
    program_free(&r);
    support_folder_remove(&folder);
}

static void a_dump_on_standard_output_is_alone_there(void **state)
{
    (void)state;
    support_folder folder = copy_of("plain");
    program_result to_file = done(&folder, RUN "--dump out.npz");
    program_result r = done(&folder, RUN "--dump - > piped.npz && cmp piped.npz out.npz");
    assert_string_equal(r.err, to_file.out); /* the answer */
    program_free(&r);
    r = done(&folder, RUN "--dump out.npz --hash - 2> answer");
    assert_int_equal(strncmp(r.out, "sample", 6) == 0, 0);
    program_free(&r);
    r = done(&folder, "cat answer");
    assert_string_equal(r.out, to_file.out);
    program_free(&r);
    program_free(&to_file);
    support_folder_remove(&folder);
}

static void two_dumps_of_one_run_have_the_same_bytes(void **state)
{
    (void)state;
    prints("plain",
           RUN "--dump a.npz >/dev/null && " RUN
               "--dump b.npz >/dev/null && cmp a.npz b.npz && " RUN
               "--dump c.npz --compress >/dev/null && " RUN
               "--dump d.npz --compress >/dev/null && cmp c.npz d.npz && " RUN
               "--dump a/ >/dev/null && " RUN "--dump b/ >/dev/null && diff -r a b",
           "", "");
}

static void no_temporary_file_is_left_and_permissions_stay(void **state)
{
    (void)state;
    support_folder folder = copy_of("plain");
    program_result r =
        done(&folder, "mkdir empty; : > old.npz; chmod 640 old.npz; " RUN
                      "--dump old.npz --hash sums >/dev/null; " RUN "--dump empty/ >/dev/null; " RUN
                      "--dump new/ >/dev/null; "
                      "ls -l old.npz | cut -c1-10; ls empty | wc -l; diff -r empty new");
    assert_memory_equal(r.out, "-rw-r-----\n", 11);
    assert_false(program_leaves(&folder, "llava-ref.tmp"));
    program_free(&r);
    support_folder_remove(&folder);
}

/* The run fails at the last layer's last weight, long after the dump was begun. */
static void a_failed_run_leaves_the_old_target_untouched(void **state)
{
    (void)state;
    static const char *const targets[] = {"--dump old.npz", "--hash old.npz",
                                          "--dump new.npz --hash old.npz"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        char command[256];
        support_folder folder = copy_of("plain");
        program_edit(&folder, "model/model.safetensors", "language_model.model.norm.weight",
                     "language_model.model.nurm.weight");
        snprintf(command, sizeof command, "echo old > old.npz; %s %s", RUN, targets[i]);
        program_result r = program_run(&folder, command);
        assert_null(program_refusal(&r, "norm.weight' is missing"));
        program_free(&r);
        r = done(&folder, "cat old.npz");
        assert_string_equal(r.out, "old\n");
        assert_false(program_leaves(&folder, "llava-ref.tmp"));
        assert_false(program_leaves(&folder, "new"));
        program_free(&r);
        support_folder_remove(&folder);
    }
}

/* ---- hashes, taps, dumps ------------------------------------------------------------------------
 */

static void hashes_are_in_the_contracts_form(void **state)
{
    (void)state;
    prints(
        "labels",
        RUN "--hash - --taps 'loss,logits,input_ids,pixel_values,vision.layers.0.attn.q' | "
            "sed 's/^[0-9a-f]\\{64\\}  /H  /'",
        "H  pixel_values  <f4  [1,3,8,8]\nH  input_ids  <i8  [1,11]\n"
        "H  vision.layers.0.attn.q  <f8  [1,5,2,9]\nH  logits  <f8  [1,11,61]\nH  loss  <f8  []\n",
        NULL);
    support_folder folder = copy_of("plain");
    program_result r =
        done(&folder, RUN "--taps input_ids --dump d/ && " RUN "--taps input_ids --hash h && "
                          "tail -c 144 d/input_ids.npy | sha256sum | cut -c1-64 && "
                          "cut -c1-64 h");
    assert_int_equal(r.out_size, 130);
    assert_memory_equal(r.out, r.out + 65, 65);
    program_free(&r);
    support_folder_remove(&folder);
}

static void taps_that_need_no_weights_read_none(void **state)
{
    (void)state;
    prints("plain",
           "rm model/model.safetensors; " RUN
           "--hash - --taps input_ids,attention_mask,position_ids,pixel_values | cut -c65-",
           "  pixel_values  <f4  [1,3,12,12]\n  input_ids  <i8  [1,18]\n"
           "  attention_mask  <i8  [1,18]\n  position_ids  <i8  [1,18]\n",
           "");
}

static void types_of_a_dump_are_the_contracts(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"f64", "<f8"}, {"f32", "<f4"}, {"f16", "<f2"}, {"bf16", "<f4"}};
    for (size_t i = 0; i < 4; i++) {
        char command[256], line[64];
        support_folder folder = copy_of("plain");
        snprintf(command, sizeof command,
                 RUN
                 "--taps 'logits' --dtype %s --dump out.npz && \"$LLAVA\" inspect out.npz logits",
                 rows[i][0]);
        snprintf(line, sizeof line, "logits\n  type    %s\n  shape   [1,18,61]\n", rows[i][1]);
        program_result r = done(&folder, command);
        assert_memory_equal(r.out, line, strlen(line));
        program_free(&r);
        support_folder_remove(&folder);
    }
}

static void a_dump_describes_its_run(void **state)
{
    (void)state;
    support_folder folder = copy_of("plain");
    program_result r = done(
        &folder, RUN "--taps logits --dtype bf16 --set text.layers=one-less --dump out.npz && "
                     "sha256sum inputs.npz && \"$LLAVA\" inspect out.npz --json - 2>/dev/null");
    char inputs[100];
    snprintf(inputs, sizeof inputs, "\"inputs\":\"%.64s\"}", r.out);
    static const char *const parts[] = {"\"meta\":{\"contract\":\"1\",\"program\":\"llava-ref ",
                                        "\"model\":\"",
                                        "\"dtype\":\"bf16\"",
                                        "\"numerics\":\"true\"",
                                        "\"path\":\"plain\"",
                                        "\"decisions\":{\"text.layers\":\"one-less\"}",
                                        NULL};
    for (size_t i = 0; parts[i] != NULL; i++) {
        assert_non_null(strstr(r.out, parts[i]));
    }
    assert_non_null(strstr(r.out, inputs));
    program_free(&r);
    support_folder_remove(&folder);
}

/* ---- words --------------------------------------------------------------------------------------
 */

static void control_characters_never_reach_the_terminal(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "\"$LLAVA\" run --model \"$(printf 'a\\033[31m\\nb\\302\\233\\342\\200\\256\\377')\" "
        "--inputs x",
        "\"$LLAVA\" \"$(printf '\\033[2J\\nrun')\"",
        "\"$LLAVA\" explain \"$(printf 'a\\007\\rb')\"",
        "\"$LLAVA\" inspect true.npz \"$(printf 'a\\033\\nb')\"",
        RUN "--taps \"$(printf '\\033\\n')\" --hash -"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        support_folder folder = copy_of("plain");
        program_result r = program_run(&folder, commands[i]);
        const char *wrong = program_refusal(&r, "\\x");
        if (wrong != NULL) {
            fail_msg("%s: %s: %s", commands[i], wrong, r.err);
        }
        for (const char *c = r.err; *c != '\0'; c++) {
            assert_true((*c >= 0x20 && *c < 0x7f) || *c == '\n');
        }
        program_free(&r);
        support_folder_remove(&folder);
    }
}

static void the_locale_changes_nothing(void **state)
{
    (void)state;
    prints("plain",
           "for l in C de_DE.UTF-8 tr_TR.UTF-8 C.UTF-8 nonsense; do export LC_ALL=$l LANG=$l; " RUN
           "--hash $l > $l.out; \"$LLAVA\" inspect true.npz --json $l.json > /dev/null; "
           "cmp C $l; cmp C.out $l.out; cmp C.json $l.json; done",
           "", "");
}

/* ---- inspect ------------------------------------------------------------------------------------
 */

static void inspect_lists_what_the_model_never_reads(void **state)
{
    (void)state;
    prints("plain",
           "\"$LLAVA\" inspect model | grep -c ' used$'; \"$LLAVA\" inspect model | grep '\\] "
           "*unused$' | "
           "cut -d' ' -f1 | sed 's/.[a-z0-9]*$//' | sed 's/layers.1.*/layers.1/' | sort -u; "
           "\"$LLAVA\" inspect model | grep -e '^total' -e '^vision ' -e 'image tokens'",
           "46\nvision_tower.encoder.layers.1\nvision_tower.post_layernorm\n"
           "vision      clip_vision_model, 2 layers (1 needed), width 18, 2 heads of 9, MLP 26 "
           "quick_gelu\n"
           "            9 image tokens per picture\n"
           "vision                 5974             2456\ntotal                 16114             "
           "2456\n"
           "total                            503836\n",
           "");
}

static void inspect_names_what_a_run_would_refuse(void **state)
{
    (void)state;
    support_folder folder = copy_of("plain");
    program_edit(&folder, "model/model.safetensors", "language_model.model.norm.weight",
                 "a\\u001b[31m.norm.weight");
    program_result r = done(&folder, "\"$LLAVA\" inspect model --json out.json && cat out.json");
    assert_non_null(strstr(r.out, "problem: model/model.safetensors: tensor "
                                  "'language_model.model.norm.weight' is missing\n"));
    assert_non_null(strstr(r.out, "a\\x1b[31m.norm.weight"));
    assert_non_null(strstr(r.out, "\"name\":\"a\\u001b[31m.norm.weight\""));
    assert_null(strchr(r.out, 0x1b));
    program_free(&r);
    support_folder_remove(&folder);
}

static void inspect_tables_fit_a_hundred_columns(void **state)
{
    (void)state;
    prints(
        "generate",
        "\"$LLAVA\" inspect true.npz > a; \"$LLAVA\" inspect model > b; \"$LLAVA\" inspect model "
        "language_model.lm_head.weight > c; \"$LLAVA\" help > d; for h in run inspect explain; do "
        "\"$LLAVA\" help $h >> d; done; cat a b c d | awk 'length($0) > 100'",
        "", "");
}

/* Statistics count NaN and infinities apart; JSON holds no bare NaN. */
static void inspect_counts_what_is_not_finite(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    program_write_inputs(
        &folder, "x.npz",
        "a <f4 [2,3] 1 2 nan 3 inf -inf; b <f8 [2] nan*2; c <i8 [] 9007199254740993");
    program_result r = done(&folder, "\"$LLAVA\" inspect x.npz --json - 2>/dev/null");
    assert_non_null(strstr(
        r.out, "{\"name\":\"a\",\"dtype\":\"<f4\",\"shape\":[2,3],\"count\":6,\"nan\":1,\"inf\":2,"
               "\"min\":1,\"max\":3,\"mean\":2,\"std\":0.8164965809277"));
    assert_non_null(strstr(
        r.out,
        "\"nan\":2,\"inf\":0,\"min\":null,\"max\":null,\"mean\":null,\"std\":null,\"rms\":null,"
        "\"stored\":true,\"offset\":"));
    program_free(&r);
    r = done(&folder, "\"$LLAVA\" inspect x.npz a --json - 2>/dev/null");
    assert_non_null(strstr(r.out, "\"first\":[1,2,null,3,null,null],\"last\":[]}\n"));
    program_free(&r);
    support_folder_remove(&folder);
}

static void inspect_shows_a_weight_as_stored(void **state)
{
    (void)state;
    support_folder folder = copy_of("stored-bf16");
    program_result r =
        done(&folder, "\"$LLAVA\" inspect model vision_tower.vision_model.post_layernorm.weight");
    assert_non_null(strstr(r.out, "\n  type    BF16\n"));
    assert_non_null(strstr(r.out, "\n  not used by the model\n"));
    unsigned bits;
    float value;
    const char *line = strstr(r.out, "             0  ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, " 0 %f 0x%x", &value, &bits), 2);
    bits <<= 16;
    assert_memory_equal(&value, &bits, 4);
    program_free(&r);
    support_folder_remove(&folder);
}

/* Pictures and ids need no weights, but what model a dump of them is from is told by those too. */
static void a_dump_of_inputs_alone_knows_its_model(void **state)
{
    (void)state;
    support_folder folder = copy_of("plain");
    static const char command[] =
        "\"$LLAVA\" diagnose --model model --inputs inputs.npz --dump p.npz";
    program_result r = done(&folder, "\"$LLAVA\" run --model model --inputs inputs.npz --taps "
                                     "input_ids,pixel_values --dump p.npz");
    program_free(&r);
    r = done(&folder, command);
    assert_string_equal(r.err, "");
    program_free(&r);
    program_edit(&folder, "model/config.json", "\"rms_norm_eps\": 1e-05",
                 "\"rms_norm_eps\": 1e-06");
    r = done(&folder, command);
    assert_string_equal(r.err, "llava-ref: warning: p.npz: made with another model than model\n");
    program_free(&r);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dump_of_inputs_alone_knows_its_model),
        cmocka_unit_test(bad_usage_is_refused_in_one_line),
        cmocka_unit_test(bad_model_files_are_refused),
        cmocka_unit_test(impossible_configurations_are_refused),
        cmocka_unit_test(bad_inputs_are_refused),
        cmocka_unit_test(outputs_that_cannot_be_written_are_refused),
        cmocka_unit_test(version_and_help_are_words_on_standard_output),
        cmocka_unit_test(unusual_inputs_run),
        cmocka_unit_test(one_file_wins_over_an_index_with_a_warning),
        cmocka_unit_test(a_peer_with_exact_sums_is_told_of),
        cmocka_unit_test(the_answer_alone_is_on_standard_output),
        cmocka_unit_test(without_generate_the_top_logits_are_printed),
        cmocka_unit_test(a_dump_on_standard_output_is_alone_there),
        cmocka_unit_test(two_dumps_of_one_run_have_the_same_bytes),
        cmocka_unit_test(no_temporary_file_is_left_and_permissions_stay),
        cmocka_unit_test(a_failed_run_leaves_the_old_target_untouched),
        cmocka_unit_test(hashes_are_in_the_contracts_form),
        cmocka_unit_test(taps_that_need_no_weights_read_none),
        cmocka_unit_test(types_of_a_dump_are_the_contracts),
        cmocka_unit_test(a_dump_describes_its_run),
        cmocka_unit_test(control_characters_never_reach_the_terminal),
        cmocka_unit_test(the_locale_changes_nothing),
        cmocka_unit_test(inspect_lists_what_the_model_never_reads),
        cmocka_unit_test(inspect_names_what_a_run_would_refuse),
        cmocka_unit_test(inspect_tables_fit_a_hundred_columns),
        cmocka_unit_test(inspect_counts_what_is_not_finite),
        cmocka_unit_test(inspect_shows_a_weight_as_stored),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
