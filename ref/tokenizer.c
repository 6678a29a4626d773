/* Text to token ids and back. */
#include "nfc.h"
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- Opening ---- */

bool llava_tokenizer_open(llava_tokenizer **tokenizer, const char *folder, llava_error *e)
{
    *tokenizer = llava_alloc(e, 1, sizeof **tokenizer);
    if (*tokenizer == NULL) {
        return false;
    }
    if (!llava_tokenizer_read(*tokenizer, folder, e)) {
        llava_tokenizer_close(*tokenizer);
        *tokenizer = NULL;
        return false;
    }
    return true;
}

static void free_steps(llava_steps *steps)
{
    for (size_t i = 0; i < steps->n; i++) {
        free(steps->at[i].pattern);
        free(steps->at[i].content);
    }
}

void llava_tokenizer_close(llava_tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->added_count; i++) {
        free(t->added[i].pattern);
    }
    llava_bpe_free(&t->bpe);
    llava_matcher_free(t->raw);
    llava_matcher_free(t->normalized);
    free_steps(&t->normalizer);
    free_steps(&t->decoder);
    free(t->pre.metaspace.content);
    free(t->added);
    free(t->added_by_text);
    free(t->added_pool);
    free(t->image_token);
    free(t->bos_token);
    free(t->eos_token);
    free(t->path);
    free(t);
}

/* ---- Looking up ---- */

const llava_added *llava_added_of(const llava_tokenizer *t, int64_t id)
{
    size_t low = 0, high = t->added_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->added[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < t->added_count && t->added[low].id == id ? &t->added[low] : NULL;
}

const llava_added *llava_added_find(const llava_tokenizer *t, const char *text, size_t n)
{
    size_t low = 0, high = t->added_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const llava_added *added = &t->added[t->added_by_text[middle]];
        int order = memcmp(added->content, text, added->content_n < n ? added->content_n : n);
        if (order == 0 && added->content_n == n) {
            return added;
        }
        if (order < 0 || (order == 0 && added->content_n < n)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

int64_t llava_tokenizer_id_of(const llava_tokenizer *t, const char *text)
{
    const llava_added *added = llava_added_find(t, text, strlen(text));
    if (added != NULL) {
        return added->id;
    }
    const llava_bpe_token *token = llava_bpe_find(&t->bpe, text, strlen(text));
    return token == NULL ? -1 : (int64_t)token->id;
}

const char *llava_tokenizer_text_of(const llava_tokenizer *t, int64_t id)
{
    const llava_added *added = llava_added_of(t, id);
    if (added != NULL) {
        return added->content;
    }
    const llava_bpe_token *token = llava_bpe_token_of(&t->bpe, id);
    return token == NULL ? NULL : token->text;
}

bool llava_tokenizer_is_special(const llava_tokenizer *t, int64_t id)
{
    const llava_added *added = llava_added_of(t, id);
    return added != NULL && added->skipped;
}

int64_t llava_tokenizer_size(const llava_tokenizer *t)
{
    int64_t top = -1;
    if (t->bpe.count > 0) {
        top = t->bpe.tokens[t->bpe.by_id[t->bpe.count - 1]].id;
    }
    if (t->added_count > 0 && t->added[t->added_count - 1].id > top) {
        top = t->added[t->added_count - 1].id;
    }
    return top + 1;
}

const char *llava_tokenizer_image_token(const llava_tokenizer *t)
{
    return t->image_token;
}

const char *llava_tokenizer_bos_token(const llava_tokenizer *t)
{
    return t->bos_token;
}

const char *llava_tokenizer_eos_token(const llava_tokenizer *t)
{
    return t->eos_token;
}

const int64_t *llava_tokenizer_front(const llava_tokenizer *t, size_t *count)
{
    *count = t->front.n;
    return t->front.at;
}

bool llava_tokenizer_bos_acts(const llava_tokenizer *t, llava_bos bos)
{
    return bos != LLAVA_BOS_CONFIG && t->front.n > 0;
}

bool llava_tokenizer_prefix_acts(const llava_tokenizer *t, llava_prefix_space prefix)
{
    bool prepends = false;
    for (size_t i = 0; i < t->normalizer.n; i++) {
        prepends |= t->normalizer.at[i].kind == LLAVA_STEP_PREPEND;
    }
    const llava_pre_tokenizer *pre = &t->pre;
    bool meta = pre->kind == LLAVA_PRE_METASPACE;
    if (prefix == LLAVA_PREFIX_NEVER) {
        return prepends || pre->prefix_space ||
               (meta && pre->metaspace.prepend != LLAVA_PREPEND_NEVER);
    }
    return prefix == LLAVA_PREFIX_EVERY_SEGMENT &&
           ((pre->kind == LLAVA_PRE_BYTE_LEVEL && !pre->prefix_space) ||
            (meta && pre->metaspace.prepend != LLAVA_PREPEND_ALWAYS));
}

/* ---- Normalising ---- */

static bool put(llava_bytes *out, const char *text, size_t n, llava_error *e)
{
    return llava_bytes_put(out, text, n, LLAVA_TEXT_LIMIT, e);
}

bool llava_replace(const char *text, size_t n, const char *pattern, size_t pattern_n,
                   const char *content, size_t content_n, llava_bytes *out, llava_error *e)
{
    size_t done = 0;
    for (size_t i = 0; i + pattern_n <= n;) {
        if (memcmp(text + i, pattern, pattern_n) != 0) {
            i++;
            continue;
        }
        if (!put(out, text + done, i - done, e) || !put(out, content, content_n, e)) {
            return false;
        }
        i += pattern_n;
        done = i;
    }
    return put(out, text + done, n - done, e);
}

bool llava_normalize(const llava_steps *steps, bool prepend, const char *text, size_t n,
                     llava_bytes *out, llava_bytes *scratch, llava_error *e)
{
    out->n = 0;
    if (!put(out, text, n, e)) {
        return false;
    }
    for (size_t i = 0; i < steps->n; i++) {
        const llava_step *step = &steps->at[i];
        bool good = true;
        scratch->n = 0;
        if (step->kind == LLAVA_STEP_REPLACE) {
            good = llava_replace(out->at, out->n, step->pattern, step->pattern_n, step->content,
                                 step->content_n, scratch, e);
        } else if (step->kind == LLAVA_STEP_NFC) {
            good = llava_nfc(out->at, out->n, LLAVA_TEXT_LIMIT, scratch, e);
        } else if (prepend && out->n > 0) {
            good =
                put(scratch, step->content, step->content_n, e) && put(scratch, out->at, out->n, e);
        } else {
            continue;
        }
        if (!good) {
            return false;
        }
        llava_bytes swap = *out;
        *out = *scratch;
        *scratch = swap;
    }
    return true;
}

/* ---- Encoding ---- */

typedef struct {
    const llava_tokenizer *t;
    llava_prefix_space prefix;
    llava_bytes normal, spaced, mapped, scratch;
    llava_ids ids;
    llava_error *e;
} encoder;

/* Metaspace: blanks become its character, which may also be put in front; then, if it splits, a
 * new word begins at every such character. */
static bool encode_metaspace(encoder *c, const char *text, size_t n, bool first)
{
    const llava_step *meta = &c->t->pre.metaspace;
    llava_prepend prepend = c->prefix == LLAVA_PREFIX_NEVER           ? LLAVA_PREPEND_NEVER
                            : c->prefix == LLAVA_PREFIX_EVERY_SEGMENT ? LLAVA_PREPEND_ALWAYS
                                                                      : meta->prepend;
    bool wanted = prepend == LLAVA_PREPEND_ALWAYS || (prepend == LLAVA_PREPEND_FIRST && first);
    bool begins = text[0] == ' ' ||
                  (n >= meta->content_n && memcmp(text, meta->content, meta->content_n) == 0);
    c->spaced.n = 0;
    if ((wanted && !begins && !put(&c->spaced, meta->content, meta->content_n, c->e)) ||
        !llava_replace(text, n, " ", 1, meta->content, meta->content_n, &c->spaced, c->e)) {
        return false;
    }
    const char *all = c->spaced.at;
    size_t from = 0;
    for (size_t i = 1; c->t->pre.metaspace_splits && i + meta->content_n <= c->spaced.n; i++) {
        if (memcmp(all + i, meta->content, meta->content_n) == 0) {
            if (!llava_bpe_encode(&c->t->bpe, all + from, i - from, &c->ids, c->e)) {
                return false;
            }
            from = i;
        }
    }
    return llava_bpe_encode(&c->t->bpe, all + from, c->spaced.n - from, &c->ids, c->e);
}

/* A word's bytes as characters, to their tokens. */
static bool encode_bytes(encoder *c, const char *text, size_t n)
{
    c->mapped.n = 0;
    return llava_byte_level_encode(&c->t->bytes, text, n, LLAVA_TEXT_LIMIT, &c->mapped, c->e) &&
           llava_bpe_encode(&c->t->bpe, c->mapped.at, c->mapped.n, &c->ids, c->e);
}

/* Puts a blank before *text, in *room, unless it begins with one. */
static bool put_blank_before(const char **text, size_t *n, llava_bytes *room, llava_error *e)
{
    if ((*text)[0] == ' ') {
        return true;
    }
    room->n = 0;
    if (!put(room, " ", 1, e) || !put(room, *text, *n, e)) {
        return false;
    }
    *text = room->at;
    *n = room->n;
    return true;
}

/* ByteLevel on one piece: its blank in front, its own pattern. */
static bool encode_byte_level(encoder *c, const char *text, size_t n)
{
    const llava_pre_tokenizer *pre = &c->t->pre;
    if (pre->prefix_space && c->prefix != LLAVA_PREFIX_NEVER &&
        !put_blank_before(&text, &n, &c->spaced, c->e)) {
        return false;
    }
    for (size_t i = 0, length; i < n; i += length) {
        length = pre->byte_split == NULL
                     ? n - i
                     : llava_split_pattern_piece(pre->byte_split, text + i, n - i);
        if (!encode_bytes(c, text + i, length)) {
            return false;
        }
    }
    return true;
}

/* Split, then ByteLevel. */
static bool encode_split(encoder *c, const char *text, size_t n)
{
    const llava_split_pattern *split = c->t->pre.split;
    if (c->prefix == LLAVA_PREFIX_EVERY_SEGMENT &&
        !put_blank_before(&text, &n, &c->scratch, c->e)) {
        return false;
    }
    for (size_t i = 0, length; i < n; i += length) {
        length = split == NULL ? n - i : llava_split_pattern_piece(split, text + i, n - i);
        if (!encode_byte_level(c, text + i, length)) {
            return false;
        }
    }
    return true;
}

/* A piece of normalised text, n > 0; first: it begins where the whole text begins. */
static bool encode_piece(encoder *c, const char *text, size_t n, bool first)
{
    return c->t->pre.kind == LLAVA_PRE_METASPACE ? encode_metaspace(c, text, n, first)
           : c->t->pre.kind == LLAVA_PRE_BYTE_LEVEL
               ? encode_split(c, text, n)
               : llava_bpe_encode(&c->t->bpe, text, n, &c->ids, c->e);
}

/* A piece of the text between two added tokens. */
static bool encode_segment(encoder *c, const char *text, size_t n, bool first)
{
    const llava_tokenizer *t = c->t;
    llava_splits splits = {0};
    bool good =
        llava_normalize(&t->normalizer, c->prefix != LLAVA_PREFIX_NEVER, text, n, &c->normal,
                        &c->scratch, c->e) &&
        llava_matcher_split(t->normalized, t->added, c->normal.at, c->normal.n, &splits, c->e);
    for (size_t i = 0; i < splits.n && good; i++) {
        const llava_split *split = &splits.at[i];
        good = split->token >= 0
                   ? llava_ids_put(&c->ids, t->added[split->token].id, c->e)
                   : encode_piece(c, c->normal.at + split->start, split->end - split->start,
                                  first && split->start == 0);
    }
    free(splits.at);
    return good;
}

static bool encode_text(encoder *c, const char *text, size_t n)
{
    const llava_tokenizer *t = c->t;
    llava_splits splits = {0};
    bool good = llava_matcher_split(t->raw, t->added, text, n, &splits, c->e);
    for (size_t i = 0; i < splits.n && good; i++) {
        const llava_split *split = &splits.at[i];
        good = split->token >= 0 ? llava_ids_put(&c->ids, t->added[split->token].id, c->e)
                                 : encode_segment(c, text + split->start, split->end - split->start,
                                                  split->start == 0);
    }
    free(splits.at);
    return good;
}

static bool put_template(encoder *c, const llava_template_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++) {
        if (!llava_ids_put(&c->ids, ids->at[i], c->e)) {
            return false;
        }
    }
    return true;
}

bool llava_tokenizer_encode(const llava_tokenizer *t, const llava_token_plan *plan,
                            const char *text, size_t n, int64_t **ids, size_t *count,
                            llava_error *e)
{
    static const llava_template_ids none = {.n = 0};
    encoder c = {.t = t, .prefix = plan->prefix_space, .e = e};
    bool good;
    if (n > LLAVA_TEXT_LIMIT) {
        good = llava_fail(e, "the text has %zu bytes (the limit is %zu)", n, LLAVA_TEXT_LIMIT);
    } else if (!llava_utf8_valid(text, n)) {
        good = llava_fail(e, "the text is not UTF-8");
    } else {
        bool front = !plan->no_template && plan->bos != LLAVA_BOS_NONE;
        good = put_template(&c, front ? &t->front : &none) && encode_text(&c, text, n) &&
               put_template(&c, plan->no_template ? &none : &t->back);
    }
    free(c.normal.at);
    free(c.spaced.at);
    free(c.mapped.at);
    free(c.scratch.at);
    *ids = c.ids.at;
    *count = c.ids.n;
    if (good && *ids == NULL) { /* no ids at all: still something to free */
        *ids = llava_alloc(e, 1, sizeof **ids);
        good = *ids != NULL;
    }
    if (!good) {
        free(*ids);
        *ids = NULL;
        return llava_fail_in(e, t->path);
    }
    return true;
}
