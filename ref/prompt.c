/* A prompt with pictures to token ids. */
#include "prompt.h"

#include "bpe.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

llava_processor_class llava_processor_class_of(const llava_processor *processor,
                                               const llava_config *config)
{
    if (processor->class != LLAVA_PROCESSOR_UNNAMED) {
        return processor->class;
    }
    return config->vision.tower == LLAVA_TOWER_PIXTRAL ? LLAVA_PROCESSOR_PIXTRAL
                                                       : LLAVA_PROCESSOR_LLAVA;
}

const char *llava_image_text(const llava_processor *processor, const llava_config *config,
                             const llava_tokenizer *tokenizer)
{
    const char *given = processor->image_token[0] != '\0' ? processor->image_token : NULL;
    if (llava_processor_class_of(processor, config) == LLAVA_PROCESSOR_PIXTRAL) {
        return given != NULL ? given : "[IMG]";
    }
    const char *own = llava_tokenizer_image_token(tokenizer);
    return own != NULL ? own : given;
}

const char *llava_image_break_text(const llava_processor *processor)
{
    return processor->image_break_token[0] != '\0' ? processor->image_break_token : "[IMG_BREAK]";
}

const char *llava_image_end_text(const llava_processor *processor)
{
    return processor->image_end_token[0] != '\0' ? processor->image_end_token : "[IMG_END]";
}

/* LlavaProcessor's count before any decision; false where it is none. */
static bool plain_count(const llava_processor *p, const llava_config *config, size_t patches,
                        size_t *count)
{
    bool class_token = config->vision.tower == LLAVA_TOWER_CLIP;
    size_t additional = p->has_processor ? p->additional_tokens : class_token ? 1 : 0;
    llava_select select = p->has_processor ? p->select : config->select;
    size_t dropped = select == LLAVA_SELECT_DEFAULT ? 1 : 0, n;
    if (!llava_add(patches, additional, &n) || n <= dropped) {
        return false;
    }
    *count = n - dropped;
    return true;
}

bool llava_image_token_count(const llava_processor *processor, const llava_config *config,
                             size_t height, size_t width, llava_image_count decision,
                             llava_image_run *run, llava_error *e)
{
    bool own = processor->has_processor;
    bool rows = llava_processor_class_of(processor, config) == LLAVA_PROCESSOR_PIXTRAL;
    size_t patch = own ? processor->patch_size : config->vision.patch_size;
    if (patch == 0) {
        return llava_fail(e, "processor_config.json: patch_size is missing");
    }
    size_t n;
    if (!llava_mul(height / patch, width / patch, &n) || n == SIZE_MAX) {
        return llava_fail(e, "a picture of %zu x %zu is too large", height, width);
    }
    if (!(rows ? n > 0 : plain_count(processor, config, n, &n))) {
        return llava_fail(e, "a picture of %zu x %zu has no patch of %zu x %zu", height, width,
                          patch, patch);
    }
    n = decision == LLAVA_COUNT_ONE_LESS   ? n - 1
        : decision == LLAVA_COUNT_ONE_MORE ? n + 1
        : decision == LLAVA_COUNT_SINGLE   ? 1
                                           : n;
    *run = (llava_image_run){n, rows ? width / patch : 0};
    return true;
}

/* The length of the placeholder at this place, or 0; the longer one where both stand there. */
static size_t placeholder_at(const char *text, const char *image_text)
{
    size_t own = image_text == NULL ? 0 : strlen(image_text);
    size_t general = strlen(LLAVA_PLACEHOLDER);
    bool is_own = own > 0 && strncmp(text, image_text, own) == 0;
    bool is_general = strncmp(text, LLAVA_PLACEHOLDER, general) == 0;
    if (is_own && is_general) {
        return own > general ? own : general;
    }
    return is_own ? own : is_general ? general : 0;
}

size_t llava_prompt_placeholders(const llava_prompt *prompt)
{
    size_t found = 0;
    for (const char *at = prompt->text; *at != '\0';) {
        size_t length = placeholder_at(at, prompt->image_text);
        found += length > 0;
        at += length > 0 ? length : 1;
    }
    return found;
}

/* What stands for one picture: its placeholders, Pixtral's in rows. */
static void put_run(const llava_prompt *prompt, const llava_image_run *run, const char *image_text,
                    llava_image_breaks breaks, llava_parts *out)
{
    bool rows = run->columns > 0 && breaks != LLAVA_BREAKS_ABSENT;
    for (size_t i = 0; i < run->count && !out->failed; i++) {
        bool row_ends = rows && (i + 1) % run->columns == 0 && i + 1 < run->count;
        llava_parts_add(out, image_text);
        llava_parts_add(out, row_ends ? prompt->break_text : "");
    }
    const char *end = breaks == LLAVA_BREAKS_NO_END ? prompt->break_text : prompt->end_text;
    llava_parts_add(out, rows ? end : "");
}

/* The prompt with every placeholder repeated, in the model's own spelling. */
static bool expand(const llava_prompt *prompt, const char *image_text, llava_image_breaks breaks,
                   llava_parts *out)
{
    static const llava_image_run itself = {.count = 1};
    size_t picture = 0;
    const char *done = prompt->text, *at = prompt->text;
    while (*at != '\0') {
        size_t length = placeholder_at(at, prompt->image_text);
        if (length == 0) {
            at++;
            continue;
        }
        llava_parts_put(out, done, (size_t)(at - done));
        const llava_image_run *run = prompt->pictures == 0 ? &itself : &prompt->runs[picture++];
        put_run(prompt, run, image_text, breaks, out);
        at += length;
        done = at;
    }
    llava_parts_put(out, done, (size_t)(at - done));
    return !out->failed;
}

/* An image token, or one that ends a row of them. */
static bool of_picture(const llava_tokenizer *tokenizer, const llava_prompt *prompt, int64_t id)
{
    return id == prompt->image_id ||
           (prompt->break_text != NULL &&
            id == llava_tokenizer_id_of(tokenizer, prompt->break_text)) ||
           (prompt->end_text != NULL && id == llava_tokenizer_id_of(tokenizer, prompt->end_text));
}

/* Does the text behind a picture begin with ids[i]? */
static bool begins_segment(const llava_tokenizer *tokenizer, const llava_prompt *prompt,
                           const int64_t *ids, size_t i)
{
    return i > 0 && of_picture(tokenizer, prompt, ids[i - 1]) &&
           !of_picture(tokenizer, prompt, ids[i]);
}

/* Puts the front ids before the text behind every picture. */
static bool front_every_segment(const llava_tokenizer *tokenizer, const llava_prompt *prompt,
                                int64_t **ids, size_t *n, llava_error *e)
{
    size_t front_n, count = 0, at = 0;
    const int64_t *front = llava_tokenizer_front(tokenizer, &front_n);
    for (size_t i = 0; i < *n; i++) {
        count += begins_segment(tokenizer, prompt, *ids, i) ? 1 + front_n : 1;
    }
    int64_t *out = llava_alloc(e, count, sizeof *out);
    if (out == NULL) {
        return false;
    }
    for (size_t i = 0; i < *n; i++) {
        if (begins_segment(tokenizer, prompt, *ids, i)) {
            memcpy(out + at, front, front_n * sizeof *out);
            at += front_n;
        }
        out[at++] = (*ids)[i];
    }
    free(*ids);
    *ids = out;
    *n = count;
    return true;
}

/* Do the ids hold the image tokens that were asked for (a placeholder may be torn apart where the
 * tokenizer does not know it as a token)? */
static bool check_count(const llava_prompt *prompt, const int64_t *ids, size_t n, llava_error *e)
{
    size_t wanted = 0, found = 0;
    for (size_t i = 0; i < prompt->pictures; i++) {
        wanted += prompt->runs[i].count; /* each was put into a bounded text */
    }
    for (size_t i = 0; i < n; i++) {
        found += ids[i] == prompt->image_id;
    }
    return prompt->pictures == 0 || wanted == found ||
           llava_fail(e, "the prompt gives %zu image tokens, the pictures need %zu", found, wanted);
}

/* Breaks that the tokenizer does not know as one token would be torn apart silently. */
static bool check_breaks(const llava_tokenizer *tokenizer, const llava_prompt *prompt,
                         llava_error *e)
{
    bool rows = false;
    for (size_t i = 0; i < prompt->pictures; i++) {
        rows = rows || prompt->runs[i].columns > 0;
    }
    const char *texts[] = {prompt->break_text, prompt->end_text};
    for (size_t i = 0; rows && i < 2; i++) {
        if (llava_tokenizer_id_of(tokenizer, texts[i]) < 0) {
            return llava_fail(e,
                              "tokenizer.json: there is no token %.60s, which ends a row of a "
                              "picture's patches",
                              texts[i]);
        }
    }
    return true;
}

/* Pictures and placeholders must match, and so must the image token's id. */
static bool check_prompt(const llava_tokenizer *tokenizer, const llava_prompt *prompt,
                         const char *image_text, llava_error *e)
{
    size_t places = llava_prompt_placeholders(prompt);
    if (prompt->pictures > 0 && places != prompt->pictures) {
        return llava_fail(e, "the prompt has %zu placeholders (%.60s) for %zu pictures", places,
                          image_text, prompt->pictures);
    }
    int64_t id = llava_tokenizer_id_of(tokenizer, image_text);
    if (places > 0 && id != prompt->image_id) {
        return llava_fail(e,
                          "tokenizer.json: the image token %.60s has the id %lld, but config.json "
                          "says %lld (image_token_index)",
                          image_text, (long long)id, (long long)prompt->image_id);
    }
    return check_breaks(tokenizer, prompt, e);
}

bool llava_prompt_encode(const llava_tokenizer *tokenizer, const llava_token_plan *plan,
                         const llava_prompt *prompt, int64_t **ids, size_t *n, llava_error *e)
{
    const char *image_text = prompt->image_text == NULL ? LLAVA_PLACEHOLDER : prompt->image_text;
    llava_parts text = {.limit = LLAVA_TEXT_LIMIT, .e = e};
    *ids = NULL;
    *n = 0;
    bool good =
        check_prompt(tokenizer, prompt, image_text, e) &&
        expand(prompt, image_text, plan->image_breaks, &text) &&
        llava_tokenizer_encode(tokenizer, plan, text.bytes.at, text.bytes.n, ids, n, e) &&
        check_count(prompt, *ids, *n, e) &&
        (plan->bos != LLAVA_BOS_EVERY_SEGMENT || front_every_segment(tokenizer, prompt, ids, n, e));
    free(text.bytes.at);
    if (!good) {
        free(*ids);
        *ids = NULL;
        *n = 0;
    }
    return good;
}

/* ---- the original project's way
 * ------------------------------------------------------------------- */

/* One piece of the text; all but the first lose what the tokenizer puts in front. */
static bool put_piece(const llava_tokenizer *tokenizer, const llava_token_plan *plan,
                      const char *text, size_t length, bool first, llava_ids *out, llava_error *e)
{
    int64_t *ids;
    size_t n, front;
    const int64_t *fronts = llava_tokenizer_front(tokenizer, &front);
    if (!llava_tokenizer_encode(tokenizer, plan, text, length, &ids, &n, e)) {
        return false;
    }
    bool leads = !first && n >= front && plan->bos != LLAVA_BOS_EVERY_SEGMENT;
    for (size_t i = 0; leads && i < front; i++) {
        leads = ids[i] == fronts[i];
    }
    bool ok = true;
    for (size_t i = leads ? front : 0; ok && i < n; i++) {
        ok = llava_ids_put(out, ids[i], e);
    }
    free(ids);
    return ok;
}

bool llava_prompt_encode_pieces(const llava_tokenizer *tokenizer, const llava_token_plan *plan,
                                const llava_prompt *prompt, int64_t **ids, size_t *n,
                                llava_error *e)
{
    size_t places = 0;
    const char *piece = prompt->text, *place;
    llava_ids out = {0};
    bool ok = prompt->pictures == 0 || prompt->runs[0].columns == 0 ||
              llava_fail(e, "--profile original: it has no Pixtral");
    while (ok && (place = strstr(piece, LLAVA_PLACEHOLDER)) != NULL) {
        size_t times = places < prompt->pictures ? prompt->runs[places].count : 1;
        ok = put_piece(tokenizer, plan, piece, (size_t)(place - piece), places == 0, &out, e);
        for (size_t i = 0; ok && i < times; i++) {
            ok = llava_ids_put(&out, prompt->image_id, e);
        }
        places++;
        piece = place + strlen(LLAVA_PLACEHOLDER);
    }
    ok = ok && put_piece(tokenizer, plan, piece, strlen(piece), places == 0, &out, e);
    bool alone = prompt->pictures == 0 && prompt->image_id >= 0;
    if (ok && places != prompt->pictures && !alone) {
        ok = llava_fail(e, "the prompt has %zu placeholders (%s) for %zu pictures", places,
                        LLAVA_PLACEHOLDER, prompt->pictures);
    }
    *ids = ok ? out.at : NULL;
    *n = ok ? out.n : 0;
    if (!ok) {
        free(out.at);
    }
    return ok;
}
