/* llava-ref draw: pictures of what a dump holds, and of what is wrong with it. */
#include "tools/draw.h"

#include "tools/command.h"
#include "tools/nearest.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/session.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool (*draw)(llava_drawing *d, llava_error *e);
} kinds[] = {
    {"picture", llava_draw_picture}, {"attention", llava_draw_attention},
    {"patches", llava_draw_patches}, {"rows", llava_draw_rows},
    {"drift", llava_draw_drift},     {"angles", llava_draw_angles},
};

enum { KINDS = sizeof kinds / sizeof kinds[0], MOST_WORDS = 64 };

typedef struct {
    const char *png, *json, *map, *taps;
    size_t sample, row, head;
    bool row_said, head_said;
    llava_request model; /* --model, --profile, --vision-tower; nothing else of it */
} draw_options;

/* A number from 0 on. */
static bool read_index(void *target, const char *word, llava_error *e)
{
    size_t *to = target;
    char *end;
    unsigned long value = strtoul(word, &end, 10);
    if (word[0] < '0' || word[0] > '9' || *end != '\0' || value > 1000000) {
        return llava_fail(e, "draw: '%.40s' is no number from 0 to 1000000", word);
    }
    *to = value;
    return true;
}

static size_t list_options(void *self, llava_option *options)
{
    draw_options *o = self;
    const llava_option own[] = {
        {.name = "--png",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->png,
         .word = LLAVA_WORD_OUT,
         .value = "FILE",
         .about = "where the picture goes; - is standard output"},
        llava_option_json(
            &o->json, "the numbers behind the colours for programs, each patch's and row's own too "
                      "(llava-ref.draw/1); - is standard output"),
        {.name = "--model",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->model.model,
         .word = LLAVA_WORD_FOLDER,
         .value = "DIR",
         .about = "says where the patches are: attention and patches need it"},
        llava_option_map(&o->map),
        {.name = "--taps",
         .kind = LLAVA_OPTION_TEXT,
         .target = &o->taps,
         .word = LLAVA_WORD_TAPS,
         .value = "GLOB[,GLOB...]",
         .about = "only these"},
        {.name = "--sample",
         .kind = LLAVA_OPTION_EACH,
         .target = &o->sample,
         .each = read_index,
         .value = "N",
         .about = "another picture, or sample of the batch, than the first, 0"},
        {.name = "--row",
         .kind = LLAVA_OPTION_EACH,
         .target = &o->row,
         .each = read_index,
         .said = &o->row_said,
         .value = "N",
         .about = "whose attention: in place of the last row of a text tap, the first of a vision "
                  "tap"},
        {.name = "--head",
         .kind = LLAVA_OPTION_EACH,
         .target = &o->head,
         .each = read_index,
         .said = &o->head_said,
         .value = "N",
         .about = "in place of the mean of all heads"},
    };
    size_t count = sizeof own / sizeof own[0];
    memcpy(options, own, sizeof own);
    llava_request_spelling(&o->model, options, &count);
    return count;
}

/* What the model folder says. One without an image processor has pixel_values from elsewhere:
 * CLIP's, most likely, and only their colours depend on it. */
static bool read_model(llava_drawing *d, const llava_request *request, llava_error *e)
{
    llava_config config;
    llava_choices right = {0};
    llava_processor processor = {.mean = {0.48145466, 0.4578275, 0.40821073},
                                 .std = {0.26862954, 0.26130258, 0.27577711}};
    llava_error none;
    d->has_plan = request->model != NULL;
    if (d->has_plan && (!llava_request_config(&config, request, e) ||
                        !llava_plan_make(&d->plan, &config, &right, LLAVA_F64, false, e))) {
        return false;
    }
    llava_processor read;
    if (d->has_plan && llava_processor_read(&read, request->model, &none) && read.do_normalize) {
        processor = read;
    }
    memcpy(d->mean, processor.mean, sizeof d->mean);
    memcpy(d->std, processor.std, sizeof d->std);
    return true;
}

static size_t find_kind(const char *word, llava_error *e)
{
    char hint[LLAVA_HINT];
    llava_nearest nearest = {.word = word};
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(word, kinds[i].name) == 0) {
            return i;
        }
        llava_nearest_offer(&nearest, kinds[i].name);
    }
    llava_did_you_mean(nearest.best, hint);
    llava_fail(e, "draw: nothing is called '%.40s'%s", word,
               hint[0] != '\0' ? hint : " (picture, attention, patches, rows, drift, angles)");
    return KINDS;
}

static bool start_json(llava_drawing *d, const char *kind)
{
    d->json = cJSON_CreateObject();
    d->lost = d->json == NULL;
    llava_json_put(&d->lost, d->json, "schema", cJSON_CreateString("llava-ref.draw/1"));
    llava_json_put(&d->lost, d->json, "what", cJSON_CreateString(kind));
    return !d->lost;
}

/* Draws, and only then writes: a failure leaves neither a file nor half a table. */
static bool draw_kind(llava_drawing *d, size_t kind, const draw_options *o, llava_error *e)
{
    char *table = NULL;
    size_t size;
    d->table = open_memstream(&table, &size);
    if (d->table == NULL) {
        return llava_fail(e, "draw: out of memory");
    }
    llava_progress_begin();
    bool ok = start_json(d, kinds[kind].name) ? kinds[kind].draw(d, e)
                                              : llava_fail(e, "draw: out of memory (JSON)");
    llava_progress_end();
    const char *unmatched = ok ? llava_globs_unmatched(&d->taps) : NULL;
    if (unmatched != NULL) {
        char what[256];
        snprintf(what, sizeof what, "--taps '%.200s' matches nothing that can be drawn", unmatched);
        ok = llava_drawing_none(d, "draw", what, e);
    }
    /* without memory for the text's last piece fclose is content, and there is no text */
    bool whole = fclose(d->table) == 0 && table != NULL;
    ok = ok && (whole || llava_fail(e, "draw: out of memory")) &&
         (o->json == NULL || llava_json_write(d->lost ? NULL : d->json, o->json, e)) &&
         llava_canvas_write(&d->canvas, o->png, e);
    if (ok) {
        bool taken = strcmp(o->png, "-") == 0 || (o->json != NULL && strcmp(o->json, "-") == 0);
        fputs(table, taken ? stderr : stdout);
    }
    free(table);
    cJSON_Delete(d->json);
    llava_canvas_close(&d->canvas);
    return ok;
}

static bool draw_words(const draw_options *o, const llava_operands *operands, llava_error *e)
{
    if (operands->count == 0) {
        return llava_fail(
            e, "draw: WHAT is missing (picture, attention, patches, rows, drift, angles)");
    }
    size_t kind = find_kind(operands->words[0], e);
    if (kind == KINDS) {
        return false;
    }
    if (o->png == NULL) {
        return llava_fail(e, "draw: --png FILE is missing");
    }
    llava_drawing d = {.words = operands->words + 1,
                       .count = operands->count - 1,
                       .map = o->map,
                       .nearest = {.word = o->taps},
                       .sample = o->sample,
                       .row = o->row_said ? o->row : SIZE_MAX,
                       .head = o->head_said ? o->head : SIZE_MAX};
    bool ok = (o->taps == NULL || llava_globs_parse(&d.taps, o->taps, e)) &&
              read_model(&d, &o->model, e) && draw_kind(&d, kind, o, e);
    llava_globs_free(&d.taps);
    return ok;
}

static int draw(int argc, char **argv, llava_error *e)
{
    const char *words[MOST_WORDS];
    draw_options o = {0};
    llava_operands operands = {.words = words, .most = MOST_WORDS};
    llava_option options[LLAVA_OPTIONS_MOST];
    size_t count = list_options(&o, options);
    bool ok = llava_options_read(argc, argv, options, count, &operands, e) &&
              draw_words(&o, &operands, e);
    return ok ? LLAVA_DONE : LLAVA_CANNOT;
}

static const char *const synopsis[] = {
    "picture DUMP --png FILE [OPTION]...",
    "attention DUMP TAP... --model DIR --png FILE [OPTION]...",
    "patches EXPECTED ACTUAL... --model DIR --png FILE [OPTION]...",
    "rows EXPECTED ACTUAL --png FILE [OPTION]...",
    "drift EXPECTED ACTUAL... --png FILE [OPTION]...",
    "angles DUMP --png FILE [OPTION]...",
    NULL,
};

static const llava_operand operands_of_draw[] = {
    {"picture",
     "the steps from the file to the tower side by side, what is cut out framed, the last one in "
     "patches (--model); below, the three planes of pixel_values",
     LLAVA_WORD_ITSELF},
    {"attention", "where a row of an attn.probs looks: the picture, lit there", LLAVA_WORD_ITSELF},
    {"patches",
     "how wrong each patch is in vision.features, or in the tap of --taps; for pixel_values: "
     "ACTUAL's picture, and how wrong each pixel is",
     LLAVA_WORD_ITSELF},
    {"rows", "how wrong each token (to the right) is in each tap (down)", LLAVA_WORD_ITSELF},
    {"drift", "the relative L2 error from tap to tap, a curve for each ACTUAL", LLAVA_WORD_ITSELF},
    {"angles", "rotary angles as hues: pairs down, positions to the right", LLAVA_WORD_ITSELF},
    {"DUMP...", "what is drawn: the right one first, where there are several", LLAVA_WORD_DUMP},
    {NULL, NULL, LLAVA_WORD_ANY},
};

static const llava_example examples[] = {
    {"llava-ref run --model golden/plain/model --inputs golden/plain/inputs.npz --dump f64.npz",
     LLAVA_DONE},
    {"llava-ref run --model golden/plain/model --inputs golden/plain/inputs.npz --dtype bf16 "
     "--dump bf16.npz",
     LLAVA_DONE},
    {"llava-ref draw drift f64.npz bf16.npz --png drift.png", LLAVA_DONE},
    {NULL, 0},
};

const llava_command llava_command_draw = {
    .name = "draw",
    .run = draw,
    .about = "pictures of what a dump holds and of what is wrong with it",
    .synopsis = synopsis,
    .operands = operands_of_draw,
    .room = sizeof(draw_options),
    .options = list_options,
    .details = "What the colours mean is printed. A brighter colour is a larger number; each panel "
               "of patches goes from 0 to its own largest; green is NaN. An error of 0 stands on "
               "the lowest line of drift.",
    .examples = examples,
};
