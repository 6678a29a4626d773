/* Byte-pair encoding. */
#include "bpe.h"

#include "unicode.h"

#include <stdlib.h>
#include <string.h>

/* Far above the number of values that a JSON file may have. */
#define MAX_ID 0x7fffffff

bool llava_ids_put(llava_ids *ids, int64_t id, llava_error *e)
{
    if (ids->n == ids->room) {
        size_t room = ids->room + ids->room / 2 + 32;
        int64_t *grown = llava_realloc(e, ids->at, room, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        ids->at = grown;
        ids->room = room;
    }
    ids->at[ids->n++] = id;
    return true;
}

/* ---- Look-up ---- */

static int compare_text(const char *a, size_t an, const char *b, size_t bn)
{
    int order = memcmp(a, b, an < bn ? an : bn);
    return order != 0 ? order : (an > bn) - (an < bn);
}

const llava_bpe_token *llava_bpe_find(const llava_bpe *bpe, const char *text, size_t n)
{
    size_t low = 0, high = bpe->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const llava_bpe_token *token = &bpe->tokens[middle];
        int order = compare_text(token->text, token->n, text, n);
        if (order == 0) {
            return token;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const llava_bpe_token *llava_bpe_token_of(const llava_bpe *bpe, int64_t id)
{
    size_t low = 0, high = bpe->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const llava_bpe_token *token = &bpe->tokens[bpe->by_id[middle]];
        if (token->id == id) {
            return token;
        }
        if (token->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static const llava_bpe_merge *find_merge(const llava_bpe *bpe, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t low = 0, high = bpe->merge_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const llava_bpe_merge *merge = &bpe->merges[middle];
        if (merge->pair == pair) {
            return merge;
        }
        if (merge->pair < pair) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* ---- Reading ---- */

static int by_text(const void *a, const void *b)
{
    const llava_bpe_token *x = a, *y = b;
    return compare_text(x->text, x->n, y->text, y->n);
}

static int by_pair_and_rank(const void *a, const void *b)
{
    const llava_bpe_merge *x = a, *y = b;
    if (x->pair != y->pair) {
        return x->pair < y->pair ? -1 : 1;
    }
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Fills bpe->by_id; refuses an id that two tokens have. */
static bool sort_ids(llava_bpe *bpe, const char *name, llava_error *e)
{
    uint64_t *order = llava_alloc(e, bpe->count, sizeof *order); /* id << 32 | index */
    if (order == NULL) {
        return false;
    }
    for (size_t i = 0; i < bpe->count; i++) {
        order[i] = (uint64_t)bpe->tokens[i].id << 32 | i;
    }
    qsort(order, bpe->count, sizeof *order, by_number);
    bool good = true;
    for (size_t i = 0; i < bpe->count && good; i++) {
        bpe->by_id[i] = (uint32_t)order[i];
        if (i > 0 && order[i] >> 32 == order[i - 1] >> 32) {
            good = llava_fail(e, "%s: two tokens have the id %u (model.vocab: %.60s, %.60s)", name,
                              (unsigned)(order[i] >> 32), bpe->tokens[bpe->by_id[i - 1]].text,
                              bpe->tokens[bpe->by_id[i]].text);
        }
    }
    free(order);
    return good;
}

static bool read_vocab(llava_bpe *bpe, const char *name, const cJSON *vocab, llava_error *e)
{
    size_t bytes = 0, count = 0;
    for (const cJSON *item = vocab->child; item != NULL; item = item->next) {
        bytes += strlen(item->string) + 1; /* all of it is in memory already */
        count++;
    }
    bpe->tokens = llava_alloc(e, count, sizeof *bpe->tokens);
    bpe->by_id = llava_alloc(e, count, sizeof *bpe->by_id);
    bpe->pool = llava_alloc(e, bytes, 1);
    if (bpe->tokens == NULL || bpe->by_id == NULL || bpe->pool == NULL) {
        return llava_fail_in(e, name);
    }
    char *free_place = bpe->pool;
    for (const cJSON *item = vocab->child; item != NULL; item = item->next) {
        int64_t id = 0;
        if (!llava_json_item_int(name, item, "model.vocab", &id, e)) {
            return false;
        }
        if (id < 0 || id > MAX_ID) {
            return llava_fail(e, "%s: the id %lld is out of range (model.vocab: %.60s)", name,
                              (long long)id, item->string);
        }
        size_t n = strlen(item->string);
        memcpy(free_place, item->string, n + 1);
        bpe->tokens[bpe->count++] = (llava_bpe_token){free_place, n, (uint32_t)id};
        free_place += n + 1;
    }
    qsort(bpe->tokens, bpe->count, sizeof *bpe->tokens, by_text);
    return sort_ids(bpe, name, e);
}

/* The two parts of a merge, from "a b" or ["a", "b"]. */
typedef struct {
    const char *left, *right;
    size_t left_n, right_n;
} parts;

/* merges.txt begins with "#version: ..."; tokenizers skips such a line in the list too. */
static bool is_header(const cJSON *item)
{
    return cJSON_IsString(item) && strncmp(item->valuestring, "#version", 8) == 0;
}

static bool split_merge(const cJSON *item, parts *p)
{
    if (cJSON_IsString(item)) {
        const char *blank = strchr(item->valuestring, ' ');
        if (blank == NULL || strchr(blank + 1, ' ') != NULL) {
            return false;
        }
        *p = (parts){item->valuestring, blank + 1, (size_t)(blank - item->valuestring),
                     strlen(blank + 1)};
        return true;
    }
    if (!cJSON_IsArray(item)) {
        return false;
    }
    const cJSON *left = item->child, *right = left == NULL ? NULL : left->next;
    if (right == NULL || right->next != NULL || !cJSON_IsString(left) || !cJSON_IsString(right)) {
        return false;
    }
    *p = (parts){left->valuestring, right->valuestring, strlen(left->valuestring),
                 strlen(right->valuestring)};
    return true;
}

/* Looks up the three tokens of one merge. `joined` is scratch space. */
static bool resolve_merge(const llava_bpe *bpe, const char *name, size_t i, const parts *p,
                          llava_bytes *joined, llava_bpe_merge *merge, llava_error *e)
{
    joined->n = 0;
    if (!llava_bytes_put(joined, p->left, p->left_n, SIZE_MAX / 4, e) ||
        !llava_bytes_put(joined, p->right, p->right_n, SIZE_MAX / 4, e)) {
        return llava_fail_in(e, name);
    }
    const llava_bpe_token *left = llava_bpe_find(bpe, p->left, p->left_n);
    const llava_bpe_token *right = llava_bpe_find(bpe, p->right, p->right_n);
    const llava_bpe_token *whole = llava_bpe_find(bpe, joined->at, joined->n);
    if (left == NULL || right == NULL || whole == NULL) {
        const char *missing = left == NULL    ? "its left part"
                              : right == NULL ? "its right part"
                                              : "its result";
        return llava_fail(e, "%s: %s is not in the vocabulary (model.merges[%zu]: %.*s + %.*s)",
                          name, missing, i, (int)(p->left_n < 60 ? p->left_n : 60), p->left,
                          (int)(p->right_n < 60 ? p->right_n : 60), p->right);
    }
    merge->pair = (uint64_t)left->id << 32 | right->id;
    merge->id = whole->id;
    return true;
}

/* Keeps the last merge of every pair. */
static void drop_earlier_merges(llava_bpe *bpe)
{
    size_t kept = 0;
    for (size_t i = 0; i < bpe->merge_count; i++) {
        if (i + 1 == bpe->merge_count || bpe->merges[i].pair != bpe->merges[i + 1].pair) {
            bpe->merges[kept++] = bpe->merges[i];
        }
    }
    bpe->merge_count = kept;
}

static bool read_merges(llava_bpe *bpe, const char *name, const cJSON *merges, llava_error *e)
{
    size_t count = 0, i = 0;
    for (const cJSON *item = merges->child; item != NULL; item = item->next) {
        count++;
    }
    bpe->merges = llava_alloc(e, count, sizeof *bpe->merges);
    if (bpe->merges == NULL) {
        return llava_fail_in(e, name);
    }
    llava_bytes joined = {0};
    bool good = true;
    for (const cJSON *item = merges->child; item != NULL && good; item = item->next, i++) {
        parts p;
        if (is_header(item)) {
            continue;
        }
        if (item->type != merges->child->type || !split_merge(item, &p)) {
            good = llava_fail(e,
                              "%s: not \"a b\" or [\"a\", \"b\"] as the others are "
                              "(model.merges[%zu])",
                              name, i);
            break;
        }
        llava_bpe_merge *merge = &bpe->merges[bpe->merge_count];
        merge->rank = (uint32_t)bpe->merge_count;
        good = resolve_merge(bpe, name, i, &p, &joined, merge, e);
        bpe->merge_count += good;
    }
    free(joined.at);
    if (good) {
        qsort(bpe->merges, bpe->merge_count, sizeof *bpe->merges, by_pair_and_rank);
        drop_earlier_merges(bpe);
    }
    return good;
}

/* The settings that change what a model computes and that no LLaVA tokenizer uses. */
static bool refuse_unsupported(const char *name, const cJSON *model, llava_error *e)
{
    const char *type = "BPE", *prefix = "", *suffix = "";
    if (!llava_json_string(name, model, "type", &type, e) ||
        !llava_json_string(name, model, "continuing_subword_prefix", &prefix, e) ||
        !llava_json_string(name, model, "end_of_word_suffix", &suffix, e)) {
        return false;
    }
    if (strcmp(type, "BPE") != 0) {
        return llava_fail(e, "%s: model type %.60s is not supported yet (model.type)", name, type);
    }
    if (prefix[0] != '\0' || suffix[0] != '\0') {
        return llava_fail(e, "%s: %s is not supported yet (model)", name,
                          prefix[0] != '\0' ? "continuing_subword_prefix" : "end_of_word_suffix");
    }
    if (llava_json_has(model, "dropout")) {
        return llava_fail(e, "%s: dropout makes the result random (model.dropout)", name);
    }
    return true;
}

static bool read_settings(llava_bpe *bpe, const char *name, const cJSON *model, llava_error *e)
{
    const char *unk = NULL;
    if (!llava_json_bool(name, model, "byte_fallback", &bpe->byte_fallback, e) ||
        !llava_json_bool(name, model, "fuse_unk", &bpe->fuse_unk, e) ||
        !llava_json_bool(name, model, "ignore_merges", &bpe->ignore_merges, e) ||
        !llava_json_string(name, model, "unk_token", &unk, e)) {
        return false;
    }
    if (unk != NULL) {
        const llava_bpe_token *token = llava_bpe_find(bpe, unk, strlen(unk));
        bpe->unk = token == NULL ? -1 : (int64_t)token->id;
        bpe->unk_text = llava_text(e, unk, strlen(unk));
        return bpe->unk_text != NULL || llava_fail_in(e, name);
    }
    return true;
}

static void find_byte_tokens(llava_bpe *bpe)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t byte = 0; byte < 256; byte++) {
        const char text[] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        const llava_bpe_token *token = llava_bpe_find(bpe, text, sizeof text);
        bpe->byte_ids[byte] = token == NULL ? -1 : (int64_t)token->id;
    }
}

bool llava_bpe_read(llava_bpe *bpe, const char *name, const cJSON *model, llava_error *e)
{
    *bpe = (llava_bpe){.unk = -1};
    const cJSON *vocab = NULL, *merges = NULL;
    if (!refuse_unsupported(name, model, e) ||
        !llava_json_object(name, model, "vocab", &vocab, e) ||
        !llava_json_array(name, model, "merges", &merges, e)) {
        return false;
    }
    if (vocab == NULL || merges == NULL) {
        return llava_fail(e, "%s: %s is missing (model)", name, vocab == NULL ? "vocab" : "merges");
    }
    if (!read_vocab(bpe, name, vocab, e) || !read_merges(bpe, name, merges, e) ||
        !read_settings(bpe, name, model, e)) {
        llava_bpe_free(bpe);
        return false;
    }
    find_byte_tokens(bpe);
    return true;
}

void llava_bpe_free(llava_bpe *bpe)
{
    free(bpe->tokens);
    free(bpe->by_id);
    free(bpe->pool);
    free(bpe->merges);
    free(bpe->unk_text);
    *bpe = (llava_bpe){.unk = -1};
}

/* ---- Encoding ---- */

#define NONE    UINT32_MAX
#define REMOVED UINT32_MAX /* no token has this id */

/* A token of the piece, linked to its neighbours. */
typedef struct {
    uint32_t id, before, after;
} symbol;

/* "The pair that begins at symbol `at` may become `id`." */
typedef struct {
    uint32_t rank, at, id;
} candidate;

typedef struct {
    const llava_bpe *bpe;
    symbol *symbols;
    size_t count;
    candidate *heap; /* the smallest (rank, at) first */
    size_t heap_count, heap_room;
    llava_error *e;
} piece;

static bool earlier(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

/* Adds the pair that begins at symbol `at`, if it has a merge. */
static bool push_pair(piece *p, uint32_t at)
{
    uint32_t right = at == NONE ? NONE : p->symbols[at].after;
    if (right == NONE) {
        return true;
    }
    const llava_bpe_merge *merge = find_merge(p->bpe, p->symbols[at].id, p->symbols[right].id);
    if (merge == NULL) {
        return true;
    }
    if (p->heap_count == p->heap_room) {
        size_t room = p->heap_room + p->heap_room / 2 + 32;
        candidate *grown = llava_realloc(p->e, p->heap, room, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        p->heap = grown;
        p->heap_room = room;
    }
    candidate new = {merge->rank, at, merge->id};
    size_t i = p->heap_count++;
    while (i > 0 && earlier(&new, &p->heap[(i - 1) / 2])) {
        p->heap[i] = p->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    p->heap[i] = new;
    return true;
}

static candidate pop(piece *p)
{
    candidate top = p->heap[0], last = p->heap[--p->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < p->heap_count && earlier(&p->heap[child + 1], &p->heap[child])) {
            child++;
        }
        if (child >= p->heap_count || !earlier(&p->heap[child], &last)) {
            break;
        }
        p->heap[i] = p->heap[child];
        i = child;
    }
    p->heap[i] = last;
    return top;
}

/* A candidate is stale when its left symbol is gone, has no right neighbour any more, or the pair
 * that stands there now would not become the same token. */
static bool is_current(const piece *p, const candidate *c)
{
    const symbol *left = &p->symbols[c->at];
    if (left->id == REMOVED || left->after == NONE) {
        return false;
    }
    const llava_bpe_merge *merge = find_merge(p->bpe, left->id, p->symbols[left->after].id);
    return merge != NULL && merge->id == c->id;
}

static bool merge_all(piece *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (!push_pair(p, i)) {
            return false;
        }
    }
    while (p->heap_count > 0) {
        candidate best = pop(p);
        if (!is_current(p, &best)) {
            continue;
        }
        symbol *left = &p->symbols[best.at], *right = &p->symbols[left->after];
        left->id = best.id;
        left->after = right->after;
        right->id = REMOVED;
        if (left->after != NONE) {
            p->symbols[left->after].before = best.at;
        }
        push_pair(p, left->before); /* in the place of the one that was taken: it fits */
        if (!push_pair(p, best.at)) {
            return false;
        }
    }
    return true;
}

static void add_symbol(piece *p, int64_t id)
{
    uint32_t at = (uint32_t)p->count++;
    p->symbols[at] = (symbol){(uint32_t)id, at == 0 ? NONE : at - 1, NONE};
    if (at > 0) {
        p->symbols[at - 1].after = at;
    }
}

/* The tokens of a character's bytes; false where one of them is missing. */
static bool add_bytes(piece *p, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p->bpe->byte_ids[(uint8_t)text[i]] < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < n; i++) {
        add_symbol(p, p->bpe->byte_ids[(uint8_t)text[i]]);
    }
    return true;
}

/* One symbol per character, or per byte. A pending unknown token is written when the next known
 * character comes; bytes do not flush it, so it then stands behind them: a quirk of tokenizers
 * (only seen with an incomplete set of byte tokens), kept. At most one symbol per byte. */
static bool add_characters(piece *p, const char *text, size_t n)
{
    const llava_bpe *bpe = p->bpe;
    bool pending = false;
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t point;
        length = llava_utf8_next(text + i, n - i, &point);
        if (length == 0) {
            return llava_fail(p->e, "the text is not UTF-8");
        }
        const llava_bpe_token *token = llava_bpe_find(bpe, text + i, length);
        if (token == NULL && bpe->byte_fallback && add_bytes(p, text + i, length)) {
            continue;
        }
        if (token == NULL && bpe->unk_text == NULL) {
            continue;
        }
        if (token == NULL && bpe->unk < 0) {
            return llava_fail(p->e, "the unknown token %.60s is not in the vocabulary",
                              bpe->unk_text);
        }
        if (pending && (token != NULL || !bpe->fuse_unk)) {
            add_symbol(p, bpe->unk);
        }
        pending = token == NULL;
        if (token != NULL) {
            add_symbol(p, token->id);
        }
    }
    if (pending) {
        add_symbol(p, bpe->unk);
    }
    return true;
}

static bool put_symbols(const piece *p, llava_ids *ids)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->symbols[i].id != REMOVED && !llava_ids_put(ids, p->symbols[i].id, p->e)) {
            return false;
        }
    }
    return true;
}

bool llava_bpe_encode(const llava_bpe *bpe, const char *text, size_t n, llava_ids *ids,
                      llava_error *e)
{
    const llava_bpe_token *whole = bpe->ignore_merges ? llava_bpe_find(bpe, text, n) : NULL;
    if (n == 0) {
        return true;
    }
    if (whole != NULL) {
        return llava_ids_put(ids, whole->id, e);
    }
    if (n >= NONE / 2) {
        return llava_fail(e, "a piece of text of %zu bytes is too long", n);
    }
    piece p = {.bpe = bpe, .e = e, .symbols = llava_alloc(e, n, sizeof(symbol))};
    bool good =
        p.symbols != NULL && add_characters(&p, text, n) && merge_all(&p) && put_symbols(&p, ids);
    free(p.symbols);
    free(p.heap);
    return good;
}
