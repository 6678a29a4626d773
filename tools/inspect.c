/* llava-ref inspect: what a model folder, a dump, or one tensor of either holds. */
#include "tools/inspect.h"

#include "ref/file.h"
#include "tools/command.h"
#include "tools/json_out.h"
#include "tools/options.h"

#include <stdlib.h>
#include <string.h>

bool llava_inspect_no_tensor(const llava_inspection *of, const llava_nearest *nearest,
                             llava_error *e)
{
    char hint[LLAVA_HINT];
    llava_did_you_mean(nearest->best, hint);
    return llava_fail(e, "%s: there is no tensor '%.200s'%s", of->path, of->name,
                      hint[0] != '\0' ? hint : " (inspect without a name lists them)");
}

static bool look(llava_inspection *of, const char *json, llava_error *e)
{
    bool model = llava_file_in(of->path, "config.json");
    if (json != NULL) {
        of->json = cJSON_CreateObject();
        of->out_of_memory = of->json == NULL;
    }
    llava_inspect_put_text(of, of->json, "schema", "llava-ref.inspect/1");
    llava_inspect_put_text(of, of->json, "path", of->path);
    if (of->png != NULL && (model || of->name == NULL)) {
        return llava_fail(e, "inspect: --png needs a dump (or a .safetensors file) and NAME");
    }
    if (!model && (of->request.profile != 0 || of->request.vision_tower != NULL)) {
        return llava_fail(e, "inspect: --profile and --vision-tower go with a model folder");
    }
    of->request.model = of->path;
    if (!(model ? llava_inspect_model(of, e) : llava_inspect_dump(of, e))) {
        return false;
    }
    if (of->out_of_memory) {
        return llava_fail(e, "%s: out of memory (JSON)", json);
    }
    return json == NULL || llava_json_write(of->json, json, e);
}

typedef struct {
    const char *json, *png;
    llava_request request;
} inspect_options;

static size_t list_options(void *self, llava_option *options)
{
    inspect_options *o = self;
    const llava_option own[] = {
        llava_option_json(&o->json,
                          "the same for programs (llava-ref.inspect/1); - is standard output"),
        {.name = "--png",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->png,
         .word = LLAVA_WORD_OUT,
         .value = "FILE",
         .about = "the tensor NAME of a dump as a picture: image.* as it is, else a matrix, blue "
                  "below zero and red above, heads side by side; - is standard output"},
    };
    size_t count = sizeof own / sizeof own[0];
    memcpy(options, own, sizeof own);
    llava_request_spelling(&o->request, options, &count);
    return count;
}

static int inspect(int argc, char **argv, llava_error *e)
{
    const char *words[2] = {NULL, NULL};
    inspect_options o = {0};
    llava_operands operands = {.words = words, .most = 2};
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count = list_options(&o, options);
    if (!llava_options_read(argc, argv, options, count, &operands, e)) {
        return LLAVA_CANNOT;
    }
    if (operands.count == 0) {
        llava_fail(e, "inspect: PATH is missing (a model folder or a dump)");
        return LLAVA_CANNOT;
    }
    bool taken =
        (o.json != NULL && strcmp(o.json, "-") == 0) || (o.png != NULL && strcmp(o.png, "-") == 0);
    llava_inspection of = {.path = words[0],
                           .name = words[1],
                           .png = o.png,
                           .request = o.request,
                           .table = taken ? stderr : stdout};
    bool ok = look(&of, o.json, e);
    cJSON_Delete(of.json);
    return ok ? LLAVA_DONE : LLAVA_CANNOT;
}

static const char *const synopsis[] = {"PATH [NAME] [OPTION]...", NULL};

static const llava_operand operands_of_inspect[] = {
    {"PATH",
     "a model folder: configuration, tensors and which of them the model never reads, parameters "
     "and multiplications of each part; or a dump (.npz, folder of .npy, .safetensors): each "
     "tensor's type, shape, statistics",
     LLAVA_WORD_DUMP},
    {"NAME", "only this tensor: statistics, first and last values, for a weight as stored",
     LLAVA_WORD_ANY},
    {NULL, NULL, LLAVA_WORD_ANY},
};

static const llava_example examples[] = {
    {"llava-ref inspect golden/plain/model", LLAVA_DONE},
    {"llava-ref inspect golden/plain/true.npz logits --png logits.png", LLAVA_DONE},
    {NULL, 0},
};

const llava_command llava_command_inspect = {
    .name = "inspect",
    .run = inspect,
    .about = "what a model folder, a dump, or one tensor of either holds",
    .synopsis = synopsis,
    .operands = operands_of_inspect,
    .room = sizeof(inspect_options),
    .options = list_options,
    .examples = examples,
};
