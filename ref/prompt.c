/* A prompt with pictures to token ids. */
#include "prompt.h"

#include "bpe.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

bool llava_image_token_count(const llava_processor *processor, const llava_config *config,
                             size_t height, size_t width, llava_image_count decision, size_t *count,
                             llava_error *e)
{
    bool own = processor->has_processor;
    size_t patch = own ? processor->patch_size : config->vision.patch_size;
    size_t additional = own ? processor->additional_tokens : 1;
    llava_select select = own ? processor->select : config->select;
    if (patch == 0) {
        return llava_fail(e, "processor_config.json: patch_size is missing");
    }
    size_t n;
    if (!llava_mul(height / patch, width / patch, &n) || !llava_add(n, additional, &n)) {
        return llava_fail(e, "a picture of %zu x %zu is too large", height, width);
    }
    size_t dropped = select == LLAVA_SELECT_DEFAULT ? 1 : 0;
    if (n <= dropped) {
        return llava_fail(e, "a picture of %zu x %zu has no patch of %zu x %zu", height, width,
                          patch, patch);
    }
    n -= dropped;
    switch (decision) {
    case LLAVA_COUNT_EXACT:
        break;
    case LLAVA_COUNT_ONE_LESS:
        n -= 1;
        break;
    case LLAVA_COUNT_ONE_MORE:
        n += n < SIZE_MAX ? 1 : 0;
        break;
    case LLAVA_COUNT_SINGLE:
        n = 1;
        break;
    }
    *count = n;
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

static bool put(llava_bytes *out, const char *text, size_t n, llava_error *e)
{
    return llava_bytes_put(out, text, n, LLAVA_TEXT_LIMIT, e);
}

/* The prompt with every placeholder repeated, in the model's own spelling. */
static bool expand(const llava_prompt *prompt, const char *image_text, llava_bytes *out,
                   llava_error *e)
{
    size_t picture = 0;
    const char *done = prompt->text, *at = prompt->text;
    while (*at != '\0') {
        size_t length = placeholder_at(at, prompt->image_text);
        if (length == 0) {
            at++;
            continue;
        }
        if (!put(out, done, (size_t)(at - done), e)) {
            return false;
        }
        size_t times = prompt->pictures == 0 ? 1 : prompt->counts[picture++];
        for (size_t i = 0; i < times; i++) {
            if (!put(out, image_text, strlen(image_text), e)) {
                return false;
            }
        }
        at += length;
        done = at;
    }
    return put(out, done, (size_t)(at - done), e);
}

/* Puts the front ids before the text behind every run of image tokens. */
static bool front_every_segment(const llava_tokenizer *tokenizer, int64_t image_id, int64_t **ids,
                                size_t *n, llava_error *e)
{
    size_t front_n;
    const int64_t *front = llava_tokenizer_front(tokenizer, &front_n);
    llava_ids out = {0};
    bool good = true;
    for (size_t i = 0; i < *n && good; i++) {
        bool begins = i > 0 && (*ids)[i - 1] == image_id && (*ids)[i] != image_id;
        for (size_t k = 0; begins && k < front_n && good; k++) {
            good = llava_ids_put(&out, front[k], e);
        }
        good = good && llava_ids_put(&out, (*ids)[i], e);
    }
    if (!good || out.at == NULL) { /* no ids: nothing to change */
        free(out.at);
        return good;
    }
    free(*ids);
    *ids = out.at;
    *n = out.n;
    return true;
}

/* Do the ids hold the image tokens that were asked for (a placeholder may be torn apart where the
 * tokenizer does not know it as a token)? */
static bool check_count(const llava_prompt *prompt, const int64_t *ids, size_t n, llava_error *e)
{
    size_t wanted = 0, found = 0;
    for (size_t i = 0; i < prompt->pictures; i++) {
        wanted += prompt->counts[i]; /* each was put into a bounded text */
    }
    for (size_t i = 0; i < n; i++) {
        found += ids[i] == prompt->image_id;
    }
    return prompt->pictures == 0 || wanted == found ||
           llava_fail(e, "the prompt gives %zu image tokens, the pictures need %zu", found, wanted);
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
    return true;
}

bool llava_prompt_encode(const llava_tokenizer *tokenizer, const llava_token_plan *plan,
                         const llava_prompt *prompt, int64_t **ids, size_t *n, llava_error *e)
{
    const char *image_text = prompt->image_text == NULL ? LLAVA_PLACEHOLDER : prompt->image_text;
    llava_bytes text = {0};
    *ids = NULL;
    *n = 0;
    bool good = check_prompt(tokenizer, prompt, image_text, e) &&
                expand(prompt, image_text, &text, e) &&
                llava_tokenizer_encode(tokenizer, plan, text.at, text.n, ids, n, e) &&
                check_count(prompt, *ids, *n, e) &&
                (plan->bos != LLAVA_BOS_EVERY_SEGMENT ||
                 front_every_segment(tokenizer, prompt->image_id, ids, n, e));
    free(text.at);
    if (!good) {
        free(*ids);
        *ids = NULL;
        *n = 0;
    }
    return good;
}
