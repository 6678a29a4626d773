#include "session.h"

#include "ref/chat.h"
#include "ref/original.h"
#include "ref/file.h"
#include "ref/picture_file.h"
#include "ref/prompt.h"
#include "tools/inputs_file.h"
#include "tools/nearest.h"
#include "tools/needed.h"
#include "tools/sha256.h"
#include "tools/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the request --------------------------------------------------------------------------------
 */

static bool add_image(void *self, const char *word, llava_error *e)
{
    llava_request *q = self;
    const char **images = llava_realloc(e, q->images, q->image_count + 1, sizeof *images);
    if (images == NULL) {
        return false;
    }
    q->images = images;
    images[q->image_count++] = word;
    return true;
}

/* The decision whose name is what stands before "="; LLAVA_DECISION_COUNT: none. */
static size_t decision_of(const char *word)
{
    size_t n = strcspn(word, "="), i = 0;
    for (; i < LLAVA_DECISION_COUNT; i++) {
        const char *name = llava_decision_at((llava_decision_id)i)->name;
        if (strlen(name) == n && strncmp(name, word, n) == 0) {
            break;
        }
    }
    return i;
}

/* The decision, or the value, that a refused NAME=VALUE was probably meant to name. */
static const char *nearest_choice(const char *word)
{
    size_t known = decision_of(word), n = strcspn(word, "=");
    char name[LLAVA_NEAREST + 1];
    const char *best = NULL;
    if (known < LLAVA_DECISION_COUNT && word[n] == '=') {
        return llava_nearest_of(word + n + 1, llava_decision_at((llava_decision_id)known)->values);
    }
    snprintf(name, sizeof name, "%.*s", n > LLAVA_NEAREST ? 0 : (int)n, word);
    llava_nearest nearest = {.word = name};
    for (size_t i = 0; known == LLAVA_DECISION_COUNT && i < LLAVA_DECISION_COUNT; i++) {
        const char *offered = llava_decision_at((llava_decision_id)i)->name;
        best = llava_nearest_offer(&nearest, offered) ? offered : best;
    }
    return best;
}

static bool add_choice(void *self, const char *word, llava_error *e)
{
    llava_request *q = self;
    size_t known = decision_of(word);
    if (known < LLAVA_DECISION_COUNT && q->choices.value[known] != 0) {
        return llava_fail(e, "--set %s: given twice",
                          llava_decision_at((llava_decision_id)known)->name);
    }
    if (llava_choose(&q->choices, word, e)) {
        return true;
    }
    llava_error why = *e;
    char hint[LLAVA_HINT];
    return llava_fail(e, "%s%s", why.text, llava_did_you_mean(nearest_choice(word), hint));
}

void llava_request_spelling(llava_request *q, llava_option *options, size_t *count)
{
    static const char *const profiles[] = {"transformers", "original", NULL};
    const llava_option table[] = {
        {.name = "--profile",
         .kind = LLAVA_OPTION_CHOICE,
         .target = &q->profile,
         .choices = profiles,
         .about =
             "original: as LLaVA's own project runs it (padded pictures, its conversations, its "
             "tokenisation), also from its own checkpoints"},
        {.name = "--vision-tower",
         .kind = LLAVA_OPTION_TEXT,
         .target = &q->vision_tower,
         .word = LLAVA_WORD_FOLDER,
         .value = "DIR",
         .about = "the tower of a checkpoint in the original spelling"},
    };
    _Static_assert(sizeof table / sizeof table[0] == LLAVA_REQUEST_SPELLING, "count them");
    memcpy(options + *count, table, sizeof table);
    *count += LLAVA_REQUEST_SPELLING;
}

void llava_request_inputs(llava_request *q, llava_option *options, size_t *count)
{
    static const char *const positions[] = {"forward", "generate", NULL};
    static const char *const selects[] = {"default", "full", NULL};
    static const char *const convs[] = {"vicuna_v1", "llava_v1", NULL};
    const llava_option table[] = {
        {.name = "--model",
         .kind = LLAVA_OPTION_TEXT,
         .target = &q->model,
         .word = LLAVA_WORD_FOLDER,
         .value = "DIR",
         .about = "the model: a folder as save_pretrained writes it"},
        {.name = "--inputs",
         .kind = LLAVA_OPTION_TEXT,
         .target = &q->inputs,
         .word = LLAVA_WORD_FILE,
         .value = "IN.npz",
         .about = "the arguments of transformers' forward: input_ids or inputs_embeds, "
                  "attention_mask, position_ids, pixel_values, image_sizes, labels, "
                  "logits_to_keep"},
        {.name = "--image",
         .kind = LLAVA_OPTION_EACH,
         .target = q,
         .each = add_image,
         .word = LLAVA_WORD_FILE,
         .value = "FILE",
         .about = "a picture, PNG or JPEG; repeatable"},
        {.name = "--prompt",
         .kind = LLAVA_OPTION_TEXT,
         .target = &q->prompt,
         .value = "TEXT",
         .about = "the prompt itself, <image> where a picture goes"},
        {.name = "--chat",
         .kind = LLAVA_OPTION_TEXT,
         .target = &q->chat,
         .value = "TEXT",
         .about = "one user turn, its pictures first, in the model's own format"},
        {.name = "--messages",
         .kind = LLAVA_OPTION_TEXT,
         .target = &q->messages,
         .word = LLAVA_WORD_FILE,
         .value = "FILE.json",
         .about = "a conversation: [{\"role\": ..., \"content\": text or items}, ...]; an item "
                  "{\"type\": \"image\"} takes the next --image, or its own \"path\""},
        {.name = "--generate",
         .kind = LLAVA_OPTION_COUNT,
         .target = &q->generate,
         .value = "N",
         .about = "greedy generation of at most N tokens"},
        {.name = "--positions",
         .kind = LLAVA_OPTION_CHOICE,
         .target = &q->positions,
         .choices = positions,
         .said = &q->positions_given,
         .about =
             "position ids where none are given: 0..S-1, or counted from the mask as generate() "
             "does (generate with --generate, else forward)"},
        {.name = "--feature-layer",
         .kind = LLAVA_OPTION_TEXT,
         .target = &q->feature_layer,
         .value = "I[,I...]",
         .about = "hidden states of the tower, in place of config.json's"},
        {.name = "--feature-select",
         .kind = LLAVA_OPTION_TEXT,
         .target = &q->feature_select,
         .choices = selects,
         .about = "drop the tower's first row or keep it, in place of config.json's"},
        {.name = "--conv",
         .kind = LLAVA_OPTION_CHOICE,
         .target = &q->conv,
         .choices = convs,
         .said = &q->conv_given,
         .about = "with --profile original: its conversation for --chat and --messages "
                  "(vicuna_v1)"},
    };
    _Static_assert(LLAVA_CONV_COUNT == 2, "convs has them in their order");
    memcpy(options + *count, table, sizeof table);
    *count += sizeof table / sizeof table[0];
    llava_request_spelling(q, options, count);
}

void llava_request_numbers(llava_request *q, llava_option *options, size_t *count)
{
    static const char *const dtypes[] = {"f64", "f32", "f16", "bf16", NULL};
    static const char *const numerics[] = {"true", "hf", NULL};
    static const char *const paths[] = {"plain", "fast", NULL};
    const llava_option table[] = {
        {.name = "--dtype",
         .kind = LLAVA_OPTION_CHOICE,
         .target = &q->dtype,
         .choices = dtypes,
         .said = &q->dtype_given,
         .about = "storage type of every tensor between operations (f64)"},
        {.name = "--numerics",
         .kind = LLAVA_OPTION_CHOICE,
         .target = &q->numerics,
         .choices = numerics,
         .about = "hf: with transformers' float32 islands (true)"},
        {.name = "--path",
         .kind = LLAVA_OPTION_CHOICE,
         .target = &q->path,
         .choices = paths,
         .about = "fast: the optimized path, in f32 (its default) or bf16; taps between blocks "
                  "only, no --set; last digits depend on the machine"},
        {.name = "--set",
         .kind = LLAVA_OPTION_EACH,
         .target = q,
         .each = add_choice,
         .word = LLAVA_WORD_DECISION,
         .value = "DECISION=VALUE",
         .about = "take a decision the wrong way (llava-ref explain lists them); repeatable"},
    };
    memcpy(options + *count, table, sizeof table);
    *count += sizeof table / sizeof table[0];
}

bool llava_request_read(llava_request *q, int argc, char **argv, llava_option *options,
                        size_t count, llava_error *e)
{
    llava_operands none = {0};
    if (!llava_options_read(argc, argv, options, count, &none, e)) {
        return false;
    }
    /* the fast path has no float64 */
    q->dtype = q->path == 1 && !q->dtype_given ? LLAVA_F32 : q->dtype;
    return true;
}

void llava_request_free(llava_request *q)
{
    free(q->images);
    *q = (llava_request){0};
}

static bool request_check(const llava_request *q, llava_error *e)
{
    if (q->model == NULL) {
        return llava_fail(e, "--model DIR is missing");
    }
    if (q->profile == 0 && q->conv_given) {
        return llava_fail(e, "--conv: goes with --profile original");
    }
    if (q->conv_given && q->chat == NULL && q->messages == NULL) {
        return llava_fail(e, "--conv: shapes --chat and --messages, and neither is given");
    }
    int texts = (q->prompt != NULL) + (q->chat != NULL) + (q->messages != NULL);
    if (q->inputs != NULL && (q->image_count > 0 || texts > 0)) {
        return llava_fail(e, "--inputs stands instead of --image, --prompt, --chat and --messages");
    }
    if (q->inputs == NULL && texts != 1) {
        return llava_fail(e, "one of --inputs, --prompt, --chat and --messages is needed");
    }
    return true;
}

/* ---- pictures and text --------------------------------------------------------------------------
 */

llava_image_plan llava_image_plan_of(const llava_choices *c)
{
    const unsigned char *v = c->value;
    return (llava_image_plan){
        .channel_order = (llava_channel_order)v[LLAVA_IMAGE_CHANNEL_ORDER],
        .geometry = (llava_geometry)v[LLAVA_IMAGE_GEOMETRY],
        .pad_color = (llava_pad_color)v[LLAVA_IMAGE_PAD_COLOR],
        .pad_align = (llava_pad_align)v[LLAVA_IMAGE_PAD_ALIGN],
        .pad_order = (llava_pad_order)v[LLAVA_IMAGE_PAD_ORDER],
        .resize_filter = (llava_filter)v[LLAVA_IMAGE_RESIZE_FILTER],
        .antialias = (llava_antialias)v[LLAVA_IMAGE_ANTIALIAS],
        .cubic_a = (llava_cubic_a)v[LLAVA_IMAGE_CUBIC_A],
        .resize_rounding = (llava_resize_rounding)v[LLAVA_IMAGE_RESIZE_ROUNDING],
        .resize_grid = (llava_resize_grid)v[LLAVA_IMAGE_RESIZE_GRID],
        .size_rounding = (llava_size_rounding)v[LLAVA_IMAGE_SIZE_ROUNDING],
        .crop_rounding = (llava_crop_rounding)v[LLAVA_IMAGE_CROP_ROUNDING],
        .pass_order = (llava_pass_order)v[LLAVA_IMAGE_PASS_ORDER],
        .alpha = (llava_alpha)v[LLAVA_IMAGE_ALPHA],
        .exif = (llava_exif)v[LLAVA_IMAGE_EXIF],
        .jpeg_upsampling = (llava_jpeg_upsampling)v[LLAVA_IMAGE_JPEG_UPSAMPLING],
        .jpeg_dct = (llava_jpeg_dct)v[LLAVA_IMAGE_JPEG_DCT],
        .rescale = (llava_rescale)v[LLAVA_IMAGE_RESCALE],
        .normalize = (llava_normalize)v[LLAVA_IMAGE_NORMALIZE],
    };
}

llava_image_plan llava_session_image_plan(const llava_session *s, const llava_choices *choices)
{
    llava_image_plan plan = llava_image_plan_of(choices);
    plan.exif = s->request->profile == 1 ? LLAVA_EXIF_IGNORED : plan.exif;
    return plan;
}

llava_token_plan llava_token_plan_of(const llava_choices *c)
{
    const unsigned char *v = c->value;
    return (llava_token_plan){
        .bos = (llava_bos)v[LLAVA_TOKENS_BOS],
        .prefix_space = (llava_prefix_space)v[LLAVA_TOKENS_PREFIX_SPACE],
        .image_count = (llava_image_count)v[LLAVA_TOKENS_IMAGE_COUNT],
        .image_breaks = (llava_image_breaks)v[LLAVA_TOKENS_IMAGE_BREAKS],
    };
}

/* One picture file through all its stages. Its bytes join the inputs' checksum. */
static bool read_picture(llava_session *s, size_t i, llava_sha256 *sha, llava_error *e)
{
    const char *path = s->images[i];
    llava_image_plan plan = llava_session_image_plan(s, &s->request->choices);
    llava_file file;
    llava_picture rgb = {0};
    if (!llava_file_map(&file, path, e)) {
        return false;
    }
    llava_sha256_add(sha, file.bytes, file.size);
    bool ok = llava_picture_read(&rgb, path, file.bytes, file.size, &plan, e);
    llava_file_unmap(&file);
    if (!ok) {
        return false;
    }
    ok = llava_picture_process(&s->processor, &plan, &rgb, &s->pictures[i], e) ||
         llava_fail_in(e, path);
    llava_picture_free(&rgb);
    return ok;
}

/* The size that all processed pictures of the batch get: Pixtral's padding makes one of many, any
 * other processor gives one. */
static bool batch_size(const llava_session *s, size_t *height, size_t *width, llava_error *e)
{
    bool pads = s->processor.images == LLAVA_IMAGES_PIXTRAL && s->processor.do_pad;
    const llava_image_stages *first = &s->pictures[0];
    *height = first->height;
    *width = first->width;
    for (size_t i = 1; i < s->image_count; i++) {
        const llava_image_stages *p = &s->pictures[i];
        if (!pads && (p->height != *height || p->width != *width)) {
            return llava_fail(
                e, "%s: becomes %zux%zu pixels, but %s %zux%zu: one batch needs one size",
                s->images[i], p->height, p->width, s->images[0], *height, *width);
        }
        *height = p->height > *height ? p->height : *height;
        *width = p->width > *width ? p->width : *width;
    }
    return true;
}

/* pixel_values [N, 3, h, w] from the processed pictures, zeros right of and below each; Pixtral's
 * own sizes beside them. */
static bool stack_pictures(llava_session *s, llava_error *e)
{
    llava_inputs *in = &s->inputs;
    size_t count = s->image_count, plane, all;
    if (!batch_size(s, &in->height, &in->width, e)) {
        return false;
    }
    in->pictures = count;
    in->pixel_type = LLAVA_F32;
    /* LCOV_EXCL_START: each is below LLAVA_MAX_PIXELS, and their paths fit a command line */
    if (!llava_mul(in->height, in->width, &plane) || !llava_mul(plane, 3 * count, &all)) {
        return llava_fail(e, "%zu pictures of %zu x %zu are too large", count, in->height,
                          in->width);
    }
    /* LCOV_EXCL_STOP */
    in->pixel_values = llava_alloc(e, all, sizeof(double));
    if (s->processor.images == LLAVA_IMAGES_PIXTRAL && in->pixel_values != NULL) {
        in->image_sizes = llava_alloc(e, 2 * count, sizeof(int64_t));
    }
    if (in->pixel_values == NULL ||
        (s->processor.images == LLAVA_IMAGES_PIXTRAL && in->image_sizes == NULL)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        llava_image_stages_put(&s->pictures[i], in->height, in->width,
                               in->pixel_values + 3 * i * plane);
        if (in->image_sizes != NULL) {
            in->image_sizes[2 * i] = (int64_t)s->pictures[i].height;
            in->image_sizes[2 * i + 1] = (int64_t)s->pictures[i].width;
        }
    }
    return true;
}

/* The picture files in the order of the prompt: an item of the messages without a path takes the
 * next of --image, and those left over come last (a text may hold placeholders). */
static bool list_images(llava_session *s, llava_error *e)
{
    const llava_request *q = s->request;
    const llava_messages *m = &s->messages;
    size_t given = 0;
    s->images = llava_alloc(e, q->image_count + m->image_count, sizeof *s->images);
    if (s->images == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->image_count; i++) {
        if (m->images[i] != NULL) {
            s->images[s->image_count++] = m->images[i];
        } else if (given < q->image_count) {
            s->images[s->image_count++] = q->images[given++];
        }
    }
    while (given < q->image_count) {
        s->images[s->image_count++] = q->images[given++];
    }
    return true;
}

static bool read_pictures(llava_session *s, llava_sha256 *sha, llava_error *e)
{
    if (s->image_count == 0) {
        return true;
    }
    const llava_request *q = s->request;
    if (!llava_processor_read(&s->processor, s->config.original ? q->vision_tower : q->model, e)) {
        return false;
    }
    if (q->profile == 1) { /* the checkpoint says it where it is the original's; 1.5 pads */
        s->processor.do_pad = !s->config.original || s->config.pad_square;
        s->processor.has_processor = s->processor.has_processor && !s->config.original;
    }
    s->pictures = llava_alloc(e, s->image_count, sizeof *s->pictures);
    if (s->pictures == NULL) {
        return false;
    }
    for (size_t i = 0; i < s->image_count; i++) {
        if (!read_picture(s, i, sha, e)) {
            return false;
        }
    }
    return stack_pictures(s, e);
}

/* The messages as the folder's template prints them. */
static bool render_messages(const llava_session *s, llava_chat chat, char **text, llava_error *e)
{
    llava_error warning;
    const llava_conversation c = {.messages = s->messages.messages,
                                  .count = s->messages.count,
                                  .generation = s->messages.generation,
                                  .bos = llava_tokenizer_bos_token(s->tokenizer),
                                  .eos = llava_tokenizer_eos_token(s->tokenizer)};
    if (!llava_chat_render(chat, &c, text, &warning, e)) {
        return llava_fail_in(e, s->request->messages);
    }
    if (warning.text[0] != '\0') {
        llava_fail_in(&warning, s->request->messages);
        llava_warn(warning.text);
    }
    return true;
}

/* The same through a conversation of the original project. */
static bool original_prompt(const llava_session *s, char **text, llava_error *e)
{
    const llava_request *q = s->request;
    const llava_conversation c = {.messages = s->messages.messages,
                                  .count = s->messages.count,
                                  .generation = s->messages.generation};
    bool start_end = s->config.start_end;
    if (q->messages == NULL) {
        return llava_conv_render_turn((llava_conv)q->conv, q->chat, s->image_count, start_end, text,
                                      e);
    }
    return llava_conv_render((llava_conv)q->conv, &c, start_end, text, e) ||
           llava_fail_in(e, q->messages);
}

/* The prompt that --prompt, --chat or --messages stands for, in new memory. */
static char *prompt_text(const llava_session *s, llava_chat chat, llava_error *e)
{
    const llava_request *q = s->request;
    if (q->prompt != NULL) {
        return llava_text(e, q->prompt, strlen(q->prompt));
    }
    char *text = NULL;
    if (q->profile == 1) {
        return original_prompt(s, &text, e) ? text : NULL;
    }
    bool ok = q->messages != NULL
                  ? render_messages(s, chat, &text, e)
                  : llava_chat_render_turn(chat, q->chat, s->image_count,
                                           llava_tokenizer_bos_token(s->tokenizer), &text, e);
    return ok ? text : NULL;
}

/* A template may print the token in front itself; then nothing is put around the text, as in
 * transformers' apply_chat_template. */
static bool brings_bos(const llava_session *s, const char *text)
{
    const char *bos = llava_tokenizer_bos_token(s->tokenizer);
    return s->request->prompt == NULL && bos != NULL && bos[0] != '\0' &&
           strncmp(text, bos, strlen(bos)) == 0;
}

/* What each picture's placeholder becomes: LlavaProcessor counts in the batch's size, padding
 * included, PixtralProcessor in the picture's own. sizes: [N, 2], or NULL for those of the
 * pictures as they were read. */
static bool count_tokens(const llava_session *s, llava_image_count decision, const int64_t *sizes,
                         llava_image_run *runs, llava_error *e)
{
    bool own = llava_processor_class_of(&s->processor, &s->config) == LLAVA_PROCESSOR_PIXTRAL;
    size_t largest[2] = {0, 0};
    for (size_t i = 0; i < 2 * s->image_count; i++) { /* twice, so that the largest are known */
        const llava_image_stages *p = &s->pictures[i % s->image_count];
        const int64_t *given = sizes == NULL ? NULL : sizes + 2 * (i % s->image_count);
        size_t height = given == NULL ? p->height : (size_t)given[0];
        size_t width = given == NULL ? p->width : (size_t)given[1];
        largest[0] = height > largest[0] ? height : largest[0];
        largest[1] = width > largest[1] ? width : largest[1];
        if (i >= s->image_count &&
            !llava_image_token_count(&s->processor, &s->config, own ? height : largest[0],
                                     own ? width : largest[1], decision, &runs[i - s->image_count],
                                     e)) {
            return false;
        }
    }
    return true;
}

/* A choice of tokens.* that changes nothing with this tokenizer and these inputs would be taken in
 * vain. */
static bool check_token_choices(const llava_session *s, const llava_choices *choices,
                                const llava_token_plan *plan, llava_error *e)
{
    bool breaks = s->image_count > 0 &&
                  llava_processor_class_of(&s->processor, &s->config) == LLAVA_PROCESSOR_PIXTRAL;
    bool none = plan->no_template && plan->bos == LLAVA_BOS_NONE;
    const llava_tokenizer *t = s->tokenizer;
    const struct {
        llava_decision_id id;
        bool vain;
        const char *why;
    } rows[] = {
        {LLAVA_TOKENS_BOS,
         plan->bos != LLAVA_BOS_CONFIG && !none && !llava_tokenizer_bos_acts(t, plan->bos),
         "the tokenizer puts nothing in front of a text"},
        {LLAVA_TOKENS_PREFIX_SPACE,
         plan->prefix_space != LLAVA_PREFIX_CONFIG &&
             !llava_tokenizer_prefix_acts(t, plan->prefix_space),
         "it is what the tokenizer does"},
        {LLAVA_TOKENS_IMAGE_COUNT, plan->image_count != LLAVA_COUNT_EXACT && s->image_count == 0,
         "there is no picture"},
        {LLAVA_TOKENS_IMAGE_BREAKS, plan->image_breaks != LLAVA_BREAKS_CONFIG && !breaks,
         "there is no picture in rows, as Pixtral has them"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const llava_decision *d = llava_decision_at(rows[i].id);
        if (rows[i].vain) {
            return llava_fail(e, "--set %s=%s: no effect here: %s", d->name,
                              d->values[choices->value[rows[i].id]], rows[i].why);
        }
    }
    return true;
}

bool llava_session_encode(llava_session *s, const llava_choices *choices, const int64_t *sizes,
                          int64_t **ids, size_t *n, llava_error *e)
{
    const llava_request *q = s->request;
    const llava_processor *p = &s->processor;
    llava_token_plan plan = llava_token_plan_of(choices);
    llava_image_run *runs = llava_alloc(e, s->image_count, sizeof *runs);
    llava_chat chat = LLAVA_CHAT_COUNT; /* not asked for with --prompt */
    bool original = q->profile == 1;
    bool ok = runs != NULL &&
              (q->prompt != NULL || original || llava_chat_of(q->model, &chat, e)) &&
              llava_session_tokenizer(s, e);
    char *text = ok ? prompt_text(s, chat, e) : NULL;
    plan.no_template = text != NULL && !original && brings_bos(s, text);
    ok = text != NULL && check_token_choices(s, choices, &plan, e) &&
         count_tokens(s, plan.image_count, sizes, runs, e);
    if (ok) {
        bool cut = plan.no_template && plan.bos == LLAVA_BOS_NONE;
        llava_prompt prompt = {
            .text = text + (cut ? strlen(llava_tokenizer_bos_token(s->tokenizer)) : 0),
            .image_text = llava_image_text(p, &s->config, s->tokenizer),
            .image_id = s->config.image_token,
            .runs = runs,
            .pictures = s->image_count,
            .break_text = llava_image_break_text(p),
            .end_text = llava_image_end_text(p),
        };
        bool (*encode)(const llava_tokenizer *, const llava_token_plan *, const llava_prompt *,
                       int64_t **, size_t *, llava_error *) =
            original ? llava_prompt_encode_pieces : llava_prompt_encode;
        ok = encode(s->tokenizer, &plan, &prompt, ids, n, e);
    }
    free(runs);
    free(text);
    return ok;
}

/* input_ids [1, S] from the prompt. */
static bool read_text(llava_session *s, llava_error *e)
{
    s->inputs.batch = 1;
    return llava_session_encode(s, &s->request->choices, NULL, &s->inputs.input_ids,
                                &s->inputs.length, e);
}

/* A file's bytes join the checksum. */
static bool add_file(llava_sha256 *sha, const char *path, llava_error *e)
{
    llava_file file;
    if (!llava_file_map(&file, path, e)) {
        return false;
    }
    llava_sha256_add(sha, file.bytes, file.size);
    llava_file_unmap(&file);
    return true;
}

/* The words of --prompt, --chat or --messages join the checksum; messages are read. */
static bool open_words(llava_session *s, llava_sha256 *sha, llava_error *e)
{
    const llava_request *q = s->request;
    if (q->messages != NULL) {
        llava_sha256_add(sha, "messages", 8);
        return add_file(sha, q->messages, e) && llava_messages_read(&s->messages, q->messages, e);
    }
    const char *text = q->chat != NULL ? q->chat : q->prompt;
    llava_sha256_add(sha, q->chat != NULL ? "chat" : "prompt", q->chat != NULL ? 4 : 6);
    llava_sha256_add(sha, text, strlen(text) + 1);
    return true;
}

static bool open_inputs(llava_session *s, llava_error *e)
{
    const llava_request *q = s->request;
    llava_sha256 sha;
    llava_sha256_start(&sha);
    bool ok;
    if (q->inputs != NULL) {
        /* mapped first: a folder of .npy, which a dump may be, is no inputs file */
        ok = add_file(&sha, q->inputs, e) && llava_inputs_read(&s->inputs, q->inputs, e);
    } else {
        ok = open_words(s, &sha, e) && list_images(s, e) && read_pictures(s, &sha, e) &&
             read_text(s, e);
    }
    llava_sha256_end_text(&sha, s->inputs_sha256);
    return ok;
}

/* ---- hidden states chosen for this call
 * ----------------------------------------------------------- */

/* "-2", "-2,3,0": whole numbers. */
static bool read_layers(const char *text, int64_t *layers, size_t *count, llava_error *e)
{
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        long value = strtol(at, &end, 10);
        bool digit = at[0] == '-' ? at[1] >= '0' && at[1] <= '9' : at[0] >= '0' && at[0] <= '9';
        if (!digit || errno != 0 || (*end != '\0' && *end != ',')) {
            return llava_fail(e, "--feature-layer %s: not whole numbers between commas", text);
        }
        if (*count == LLAVA_MAX_FEATURE_LAYERS) {
            return llava_fail(e, "--feature-layer: more than %d layers", LLAVA_MAX_FEATURE_LAYERS);
        }
        layers[(*count)++] = value;
        if (*end == '\0') {
            return true;
        }
        at = end;
    }
}

/* --feature-layer and --feature-select, as the arguments of forward win over the configuration. */
static bool choose_features(llava_config *c, const llava_request *q, llava_error *e)
{
    int64_t layers[LLAVA_MAX_FEATURE_LAYERS];
    size_t count = 0;
    if (q->feature_select != NULL) {
        c->select =
            strcmp(q->feature_select, "full") == 0 ? LLAVA_SELECT_FULL : LLAVA_SELECT_DEFAULT;
        if (c->select == LLAVA_SELECT_DEFAULT && strcmp(q->feature_select, "default") != 0) {
            return llava_fail(e, "--feature-select %s: not one of default, full",
                              q->feature_select);
        }
    }
    return q->feature_layer == NULL ||
           (read_layers(q->feature_layer, layers, &count, e) &&
            llava_config_feature_layers(c, "--feature-layer", layers, count, e));
}

/* The configuration in whichever spelling the folder has it. */
static bool read_config(llava_config *c, const llava_request *q, llava_error *e)
{
    const char *lacks = q->profile == 1 ? llava_original_lacks(q->model) : NULL;
    if (lacks != NULL) {
        return llava_fail(e, "%s: %s", q->model, lacks);
    }
    if (q->profile == 0 && q->vision_tower != NULL) {
        return llava_fail(e, "--vision-tower: goes with --profile original");
    }
    if (q->profile == 0 || !llava_original_is(q->model)) {
        return q->vision_tower == NULL
                   ? llava_config_read(c, q->model, e)
                   : llava_fail(e, "--vision-tower: %s/config.json has no mm_vision_tower",
                                q->model);
    }
    return q->vision_tower != NULL
               ? llava_original_config(c, q->model, q->vision_tower, e)
               : llava_fail(e,
                            "%s/config.json: mm_vision_tower: give its folder (config.json, "
                            "preprocessor_config.json, model.safetensors) as --vision-tower DIR",
                            q->model);
}

bool llava_request_config(llava_config *c, const llava_request *q, llava_error *e)
{
    return read_config(c, q, e) && choose_features(c, q, e);
}

/* ---- the session --------------------------------------------------------------------------------
 */

/* With a mask of four dimensions nothing can be counted from it, and generate() takes none. */
static bool square_mask_goes(const llava_request *q, const llava_inputs *in, llava_error *e)
{
    if (q->generate > 0) {
        return llava_fail(e, "%s: attention_mask: --generate takes [B, S], as generate() does",
                          q->inputs);
    }
    return in->position_ids != NULL || !q->positions_given || q->positions == 0 ||
           llava_fail(e, "%s: attention_mask: --positions generate counts [B, S], not [B, 1, S, S]",
                      q->inputs);
}

/* LLAVA_FAST_WIDTH: narrower vectors than the machine's, for tests and comparisons. */
static bool open_fast(llava_session *s, llava_error *e)
{
    return llava_fast_check(&s->plan, e) &&
           llava_fast_open(&s->fast, s->plan.numerics.storage, getenv("LLAVA_FAST_WIDTH"), e);
}

bool llava_session_prepare(llava_session *s, const llava_request *q, llava_error *e)
{
    *s = (llava_session){.request = q};
    bool ok = request_check(q, e) && llava_request_config(&s->config, q, e) &&
              llava_plan_make(&s->plan, &s->config, &q->choices, (llava_dtype)q->dtype,
                              q->numerics == 1, e) &&
              (q->path == 0 || open_fast(s, e)) && open_inputs(s, e);
    if (ok && !llava_image_sizes_check(&s->inputs, &s->plan, e)) {
        ok = llava_fail_in(e, q->inputs != NULL ? q->inputs : q->model);
    }
    if (ok && q->generate > 0 && s->config.unsupported_generation[0] != '\0') {
        ok = llava_fail(e, "%s/generation_config.json: %s: only plain greedy decoding is supported",
                        q->model, s->config.unsupported_generation);
    }
    if (ok && s->inputs.sees != NULL) {
        ok = square_mask_goes(q, &s->inputs, e);
    }
    bool cumulative = q->positions_given ? q->positions == 1 : q->generate > 0;
    s->convention = cumulative ? LLAVA_POSITIONS_GENERATE : LLAVA_POSITIONS_FORWARD;
    if (!ok) {
        llava_session_close(s);
    }
    return ok;
}

bool llava_session_open(llava_session *s, const llava_request *q, llava_error *e)
{
    if (!llava_session_prepare(s, q, e)) {
        return false;
    }
    if (!llava_inputs_check(&s->inputs, &s->plan, e)) {
        llava_fail_in(e, q->inputs != NULL ? q->inputs : q->model);
        llava_session_close(s);
        return false;
    }
    if (s->inputs.pixel_values == NULL && llava_count_image_tokens(&s->inputs, &s->plan) > 0) {
        llava_warn("image tokens without a picture: they keep their token rows");
    }
    return true;
}

void llava_session_close(llava_session *s)
{
    llava_tokenizer_close(s->tokenizer);
    llava_fast_close(s->fast);
    llava_checkpoint_close(s->weights);
    for (size_t i = 0; s->pictures != NULL && i < s->image_count; i++) {
        llava_image_stages_free(&s->pictures[i]);
    }
    free(s->pictures);
    free(s->images);
    llava_messages_free(&s->messages);
    llava_inputs_free(&s->inputs);
    *s = (llava_session){0};
}

bool llava_session_has_tokenizer(const llava_session *s)
{
    return llava_file_in(s->request->model, "tokenizer.json");
}

bool llava_session_tokenizer(llava_session *s, llava_error *e)
{
    return s->tokenizer != NULL || llava_tokenizer_open(&s->tokenizer, s->request->model, e);
}

/* Is layer i of the language model or the tower among the weights? */
static bool has_layer(const llava_checkpoint *weights, const char *format, size_t i)
{
    char name[160];
    snprintf(name, sizeof name, format, i);
    return llava_checkpoint_find(weights, name) != NULL;
}

bool llava_request_weights(const llava_request *q, const llava_config *config,
                           llava_checkpoint **weights, llava_error *e)
{
    llava_error warning = {""};
    const char *lacks = llava_original_lacks(q->model);
    if (lacks != NULL) {
        return llava_fail(e, "%s: %s", q->model, lacks);
    }
    if (config->original
            ? !llava_checkpoint_open_original(weights, q->model, q->vision_tower, &warning, e)
            : !llava_checkpoint_open(weights, q->model, &warning, e)) {
        return false;
    }
    if (warning.text[0] != '\0') {
        llava_warn(warning.text);
    }
    return true;
}

bool llava_session_weights(llava_session *s, llava_error *e)
{
    static const char text[] = "language_model.model.layers.%zu.input_layernorm.weight";
    if (s->weights != NULL) {
        return true;
    }
    if (!llava_request_weights(s->request, &s->config, &s->weights, e)) {
        return false;
    }
    if (has_layer(s->weights, text, s->config.text.layers)) {
        return llava_fail(e,
                          "%s/config.json: text_config.num_hidden_layers: %zu, but the weights "
                          "hold a layer %zu",
                          s->request->model, s->config.text.layers, s->config.text.layers);
    }
    return true;
}

typedef struct {
    const llava_session *session;
    const llava_goal *goal;
    llava_error *e;
} checking;

/* Is this weight there, in its shape, if the goal reads its part? */
static bool check_weight(void *self, const llava_needed *weight)
{
    const checking *c = self;
    const llava_goal *g = c->goal;
    bool pictures = c->session->inputs.pictures > 0;
    bool read = (weight->part == LLAVA_PART_VISION && pictures && g->vision) ||
                (weight->part == LLAVA_PART_PROJECTOR && pictures && g->projector) ||
                (weight->part == LLAVA_PART_TEXT && g->text);
    llava_weight found;
    return !read || weight->optional ||
           llava_checkpoint_need(c->session->weights, &found, weight->name, weight->rank,
                                 weight->shape, c->e);
}

bool llava_session_check_weights(const llava_session *s, const llava_goal *goal, llava_error *e)
{
    checking c = {s, goal, e};
    return llava_needed_list(&s->plan, check_weight, &c);
}

/* Tower layers that the weights hold. */
static size_t tower_layers(const llava_session *s)
{
    static const char encoder[] = "vision_tower.vision_model.encoder.layers.%zu.layer_norm1.weight";
    static const char pixtral[] = "vision_tower.transformer.layers.%zu.attention_norm.weight";
    const char *tower = s->config.vision.tower == LLAVA_TOWER_PIXTRAL ? pixtral : encoder;
    size_t count = 0;
    while (s->weights != NULL && count < s->config.vision.layers &&
           has_layer(s->weights, tower, count)) {
        count++;
    }
    return count;
}

llava_tap_sizes llava_session_sizes(const llava_session *s, bool named)
{
    const llava_inputs *in = &s->inputs;
    return (llava_tap_sizes){
        .batch = in->batch,
        .length = in->length,
        .pictures = in->pictures,
        .height = in->height,
        .width = in->width,
        .tower = llava_tower_shape_of(&s->plan, in),
        .embeds_given = in->inputs_embeds != NULL,
        .labels = in->labels != NULL,
        .logit_rows = llava_logit_rows(in),
        .square_mask = in->sees != NULL,
        .mask_type = in->mask_bias == NULL ? LLAVA_I64 : in->mask_type,
        .generates = s->request->generate > 0,
        .steps = s->request->generate > 0 ? s->request->generate - 1 : 0,
        .pixel_type = in->pixel_type,
        .all_vision_layers = named,
        .vision_layers_there = tower_layers(s),
    };
}

bool llava_session_model_sha256(llava_session *s, char text[65], llava_error *e)
{
    llava_sha256 sha;
    llava_file file;
    char *path = llava_path(e, s->request->model, "config.json");
    bool ok = path != NULL && llava_file_map(&file, path, e);
    free(path);
    if (!ok) {
        return false;
    }
    llava_sha256_start(&sha);
    llava_sha256_add(&sha, file.bytes, file.size);
    llava_file_unmap(&file);
    llava_checkpoint *weights = s->weights;
    llava_error none;
    if (weights == NULL && !llava_request_weights(s->request, &s->config, &weights, &none)) {
        weights = NULL;
    }
    for (size_t i = 0; weights != NULL && i < llava_checkpoint_files(weights); i++) {
        const char *name;
        const uint8_t *bytes;
        size_t n;
        llava_checkpoint_header(weights, i, &name, &bytes, &n);
        llava_sha256_add(&sha, bytes, n);
    }
    if (weights != s->weights) {
        llava_checkpoint_close(weights);
    }
    llava_sha256_end_text(&sha, text);
    return true;
}

/* ---- taps of the picture stage -----------------------------------------------------------------
 */

/* Stage j of picture i as a tap; its name in `name`. */
static llava_tap picture_tap(const llava_session *s, size_t i, size_t j, char name[LLAVA_TAP_NAME])
{
    static const char *const stages[] = {"rgb", "padded", "resized", "cropped"};
    const llava_picture *p = &s->pictures[i].stage[j];
    if (i == 0) {
        snprintf(name, LLAVA_TAP_NAME, "image.%s", stages[j]);
    } else {
        snprintf(name, LLAVA_TAP_NAME, "image.%zu.%s", i, stages[j]);
    }
    return (llava_tap){.name = name,
                       .dtype = LLAVA_U8,
                       .rank = 3,
                       .shape = {p->height, p->width, 3},
                       .data = p->rgb};
}

bool llava_session_list_pictures(const llava_session *s,
                                 bool (*each)(void *self, const llava_tap *tap), void *self)
{
    for (size_t i = 0; s->pictures != NULL && i < s->image_count; i++) {
        for (size_t j = 0; j < LLAVA_STAGE_COUNT; j++) {
            char name[LLAVA_TAP_NAME];
            llava_tap tap = picture_tap(s, i, j, name);
            if (tap.data != NULL && !each(self, &tap)) {
                return false;
            }
        }
    }
    return true;
}

typedef struct {
    const llava_sink *sink;
    llava_error *e;
} putting;

static bool put_one(void *self, const llava_tap *tap)
{
    putting *p = self;
    return !p->sink->wants(p->sink->self, tap->name) || p->sink->take(p->sink->self, tap, p->e);
}

bool llava_session_put_pictures(const llava_session *s, const llava_sink *sink, llava_error *e)
{
    putting p = {sink, e};
    return sink == NULL || llava_session_list_pictures(s, put_one, &p);
}
