/* llava-ref inspect: what a model folder, a dump, or one tensor of either holds. */
#include "tools/inspect.h"

#include "ref/file.h"
#include "tools/command.h"
#include "tools/json_out.h"
#include "tools/options.h"

#include <stdlib.h>
#include <string.h>

static bool is_model(const char *path, bool *model, llava_error *e)
{
    char *config = llava_path(e, path, "config.json");
    *model = config != NULL && llava_file_exists(config);
    free(config);
    return config != NULL;
}

static bool look(llava_inspection *of, const char *json, llava_error *e)
{
    bool model;
    if (json != NULL) {
        of->json = cJSON_CreateObject();
        of->out_of_memory = of->json == NULL;
    }
    llava_inspect_put_text(of, of->json, "schema", "llava-ref.inspect/1");
    llava_inspect_put_text(of, of->json, "path", of->path);
    if (!is_model(of->path, &model, e)) {
        return false;
    }
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

static int inspect(int argc, char **argv, llava_error *e)
{
    const char *words[2] = {NULL, NULL}, *json = NULL, *png = NULL;
    llava_operands operands = {.words = words, .most = 2};
    llava_inspection of = {.table = stdout};
    llava_option options[2 + LLAVA_REQUEST_SPELLING] = {
        {.name = "--json", .kind = LLAVA_OPTION_TEXT, .target = &json},
        {.name = "--png", .kind = LLAVA_OPTION_TEXT, .target = &png}};
    llava_request_spelling(&of.request, options + 2);
    if (!llava_options_read(argc, argv, options, 2 + LLAVA_REQUEST_SPELLING, &operands, e)) {
        return LLAVA_CANNOT;
    }
    if (operands.count == 0) {
        llava_fail(e, "inspect: PATH is missing (a model folder or a dump)");
        return LLAVA_CANNOT;
    }
    of.path = words[0];
    of.name = words[1];
    of.png = png;
    bool json_out = json != NULL && strcmp(json, "-") == 0;
    bool png_out = png != NULL && strcmp(png, "-") == 0;
    if (json_out && png_out) {
        llava_fail(e, "inspect: --json and --png cannot both go to standard output");
        return LLAVA_CANNOT;
    }
    if (json_out || png_out) {
        of.table = stderr;
    }
    bool ok = look(&of, json, e);
    cJSON_Delete(of.json);
    return ok ? LLAVA_DONE : LLAVA_CANNOT;
}

const llava_command llava_command_inspect = {
    "inspect", inspect,
    "PATH [NAME] [--json FILE] [--png FILE] [--profile original --vision-tower DIR]",
    "what a model folder, a dump, or one tensor of either holds",
    "\n"
    "  PATH    a model folder: configuration, tensors and which of them the model never reads,\n"
    "          parameters and multiplications of each part;\n"
    "          a dump (.npz, folder of .npy, .safetensors): each tensor's type, shape, statistics\n"
    "  NAME    only this tensor: statistics, first and last values, for a weight as stored\n"
    "  --profile original, --vision-tower DIR  a folder in the original project's spelling\n"
    "  --json FILE  the same for programs (llava-ref.inspect/1); - for standard output\n"
    "  --png FILE   the tensor NAME of a dump as a picture: image.* as it is, else a matrix, blue\n"
    "          below zero and red above, heads side by side; - for standard output\n"
    "\n"
    "examples:\n"
    "  llava-ref inspect golden/plain/model\n"
    "  llava-ref inspect golden/plain/true.npz logits\n"};
