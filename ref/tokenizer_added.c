/* The added tokens of a tokenizer: what tokenizer.json and tokenizer_config.json ask for, and what
 * comes of it (tokenizers AddedVocabulary::add_tokens, transformers TokenizersBackend.__init__). */
#include "tokenizer_parts.h"

#include "file.h"

#include <stdlib.h>
#include <string.h>

/* ---- What is asked for ---- */

/* Where an added token is asked for, in the order in which transformers asks. */
typedef enum {
    FROM_TOKENIZER, /* tokenizer.json, added_tokens */
    FROM_DECODER,   /* tokenizer_config.json, added_tokens_decoder */
    FROM_NAMED,     /* tokenizer_config.json, bos_token and its like */
    FROM_EXTRA,     /* tokenizer_config.json, extra_special_tokens as a list */
} origin;

typedef struct {
    llava_added token; /* content, flags */
    origin from;
    int64_t order;        /* FROM_DECODER: the id it is listed under */
    size_t slot;          /* its place in slots */
    bool free_normalized; /* `normalized` was not written: the opposite of special */
} request;

typedef struct {
    request *at;
    size_t n, room;
    const char *name; /* of the file being read */
    llava_error *e;
} requests;

/* What is known of one content. */
typedef struct {
    const char *content;
    size_t content_n;
    bool named;        /* one of the named special tokens has it */
    bool added;        /* it is an added token, with these flags */
    bool asked;        /* by FROM_DECODER */
    bool ever_special; /* tokenizers never forgets that */
    llava_added token;
} slot;

static bool put_request(requests *all, llava_added token, origin from, int64_t order)
{
    if (all->n == all->room) {
        size_t room = all->room + all->room / 2 + 32;
        request *grown = llava_realloc(all->e, all->at, room, sizeof *grown);
        if (grown == NULL) {
            return llava_fail_in(all->e, all->name);
        }
        all->at = grown;
        all->room = room;
    }
    token.content_n = strlen(token.content);
    all->at[all->n++] = (request){.token = token, .from = from, .order = order};
    return true;
}

/* {"content": ..., "special": ..., "lstrip": ...}. Absent flags are false, but for `normalized`,
 * which is the opposite of special (AddedToken's default). */
static bool read_added(requests *all, const cJSON *object, origin from, int64_t order)
{
    llava_added token = {0};
    if (!cJSON_IsObject(object)) {
        return llava_fail(all->e, "%s: an added token is not an object", all->name);
    }
    if (!llava_json_string(all->name, object, "content", &token.content, all->e) ||
        !llava_json_bool(all->name, object, "special", &token.special, all->e)) {
        return false;
    }
    token.normalized = !token.special;
    if (!llava_json_bool(all->name, object, "lstrip", &token.lstrip, all->e) ||
        !llava_json_bool(all->name, object, "rstrip", &token.rstrip, all->e) ||
        !llava_json_bool(all->name, object, "single_word", &token.single_word, all->e) ||
        !llava_json_bool(all->name, object, "normalized", &token.normalized, all->e)) {
        return false;
    }
    if (token.content == NULL) {
        return llava_fail(all->e, "%s: an added token has no content", all->name);
    }
    if (!put_request(all, token, from, order)) {
        return false;
    }
    all->at[all->n - 1].free_normalized = !llava_json_has(object, "normalized");
    return true;
}

/* A special token as tokenizer_config.json writes it: a text, or an object of AddedToken. Null and
 * false (as in "add_bos_token": false, which ends in _token too) ask for nothing. */
static bool read_special(requests *all, const cJSON *item, origin from)
{
    if (cJSON_IsString(item)) {
        return put_request(all, (llava_added){.content = item->valuestring, .special = true}, from,
                           0);
    }
    return !cJSON_IsObject(item) || read_added(all, item, from, 0);
}

static bool read_tokenizer_tokens(requests *all, const cJSON *root)
{
    const cJSON *tokens = NULL;
    if (!llava_json_array(all->name, root, "added_tokens", &tokens, all->e)) {
        return false;
    }
    for (const cJSON *item = tokens == NULL ? NULL : tokens->child; item != NULL;
         item = item->next) {
        int64_t id = -1;
        if (!read_added(all, item, FROM_TOKENIZER, 0) ||
            !llava_json_int(all->name, item, "id", &id, all->e)) {
            return false;
        }
        if (id < 0 || id > INT32_MAX) {
            return llava_fail(all->e,
                              "%s: the id of %.60s is missing or out of range (added_tokens)",
                              all->name, all->at[all->n - 1].token.content);
        }
    }
    return true;
}

static bool read_decoder_tokens(requests *all, const cJSON *config)
{
    const cJSON *tokens = NULL;
    if (!llava_json_object(all->name, config, "added_tokens_decoder", &tokens, all->e)) {
        return false;
    }
    for (const cJSON *item = tokens == NULL ? NULL : tokens->child; item != NULL;
         item = item->next) {
        size_t digits = strspn(item->string, "0123456789");
        if (digits == 0 || digits > 10 || item->string[digits] != '\0') {
            return llava_fail(all->e, "%s: %.60s is not an id (added_tokens_decoder)", all->name,
                              item->string);
        }
        if (!read_added(all, item, FROM_DECODER, strtoll(item->string, NULL, 10))) {
            return false;
        }
    }
    return true;
}

static bool is_named_key(const char *key)
{
    size_t n = strlen(key);
    return n > 6 && strcmp(key + n - 6, "_token") == 0;
}

/* The special tokens that have a name: transformers takes the seven of every tokenizer first, then
 * the model's own. */
static bool read_named_tokens(requests *all, const cJSON *config)
{
    static const char *const common[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                         "pad_token", "cls_token", "mask_token"};
    const size_t n = sizeof common / sizeof common[0];
    for (size_t i = 0; i < n; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, common[i]);
        if (!read_special(all, item, FROM_NAMED)) {
            return false;
        }
    }
    for (const cJSON *item = config->child; item != NULL; item = item->next) {
        bool is_common = false;
        for (size_t i = 0; i < n; i++) {
            is_common |= strcmp(item->string, common[i]) == 0;
        }
        if (is_named_key(item->string) && !is_common && !read_special(all, item, FROM_NAMED)) {
            return false;
        }
    }
    return true;
}

/* extra_special_tokens, or its old name: a list, or an object of named ones. */
static bool read_extra_tokens(requests *all, const cJSON *config)
{
    const cJSON *extra = cJSON_GetObjectItemCaseSensitive(config, "extra_special_tokens");
    if (extra == NULL || cJSON_IsNull(extra) || extra->child == NULL) {
        extra = cJSON_GetObjectItemCaseSensitive(config, "additional_special_tokens");
    }
    origin from = cJSON_IsObject(extra) ? FROM_NAMED : FROM_EXTRA;
    for (const cJSON *item = extra == NULL ? NULL : extra->child; item != NULL; item = item->next) {
        if (!read_special(all, item, from)) {
            return false;
        }
    }
    return true;
}

/* Puts the text of a named special token into *text, in new memory; where there is none, *text
 * stays as it is. */
static bool keep_named(const char *name, const cJSON *config, const char *key, char **text,
                       llava_error *e)
{
    const cJSON *extra = cJSON_GetObjectItemCaseSensitive(config, "extra_special_tokens");
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(extra, key);
    if (item == NULL) {
        item = cJSON_GetObjectItemCaseSensitive(config, key);
    }
    if (cJSON_IsObject(item)) {
        item = cJSON_GetObjectItemCaseSensitive(item, "content");
    }
    if (!cJSON_IsString(item)) {
        return true;
    }
    free(*text);
    *text = llava_text(e, item->valuestring, strlen(item->valuestring));
    return *text != NULL || llava_fail_in(e, name);
}

static bool keep_all_named(llava_tokenizer *t, const char *name, const cJSON *config,
                           llava_error *e)
{
    return keep_named(name, config, "image_token", &t->image_token, e) &&
           keep_named(name, config, "bos_token", &t->bos_token, e) &&
           keep_named(name, config, "eos_token", &t->eos_token, e);
}

/* ---- What comes of it ---- */

static int by_content(const void *a, const void *b)
{
    const slot *x = a, *y = b;
    int order =
        memcmp(x->content, y->content, x->content_n < y->content_n ? x->content_n : y->content_n);
    return order != 0 ? order : (x->content_n > y->content_n) - (x->content_n < y->content_n);
}

/* The order in which they take effect: by origin, those of the decoder by id, else as read. qsort
 * is not stable, so the place (kept in `slot` until the slots exist) decides in the end. */
static int by_effect(const void *a, const void *b)
{
    const request *x = a, *y = b;
    if (x->from != y->from) {
        return (x->from > y->from) - (x->from < y->from);
    }
    if (x->order != y->order) {
        return (x->order > y->order) - (x->order < y->order);
    }
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* One slot per different content; every request is told its slot. */
static bool make_slots(requests *all, slot **slots, size_t *count)
{
    slot *made = llava_alloc(all->e, all->n, sizeof *made);
    if (made == NULL) {
        return llava_fail_in(all->e, all->name);
    }
    for (size_t i = 0; i < all->n; i++) {
        all->at[i].slot = i;
        made[i] =
            (slot){.content = all->at[i].token.content, .content_n = all->at[i].token.content_n};
    }
    if (all->n > 0) { /* all->at may be NULL before that, which qsort must not get */
        qsort(all->at, all->n, sizeof *all->at, by_effect);
    }
    qsort(made, all->n, sizeof *made, by_content);
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        if (n == 0 || by_content(&made[n - 1], &made[i]) != 0) {
            made[n++] = made[i];
        }
    }
    for (size_t i = 0; i < all->n; i++) {
        request *r = &all->at[i];
        slot wanted = {.content = r->token.content, .content_n = r->token.content_n};
        r->slot = (size_t)((slot *)bsearch(&wanted, made, n, sizeof *made, by_content) - made);
        made[r->slot].named |= r->from == FROM_NAMED;
    }
    *slots = made;
    *count = n;
    return true;
}

static bool same_flags(const llava_added *a, const llava_added *b)
{
    return a->special == b->special && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
           a->normalized == b->normalized && a->single_word == b->single_word;
}

/* Is this request one that changes anything (TokenizersBackend.__init__)? */
static bool has_effect(const request *r, const slot *s)
{
    switch (r->from) {
    case FROM_TOKENIZER:
        return true;
    case FROM_DECODER:
        return !s->added || !same_flags(&r->token, &s->token);
    default: /* FROM_NAMED, FROM_EXTRA */
        return !s->added;
    }
}

/* The ids given out so far: the next free one, and the highest. */
typedef struct {
    int64_t next, highest;
} id_counter;

/* What add_tokens begins with: the first id behind the vocabulary and all added tokens. */
static int64_t first_free(const llava_tokenizer *t, int64_t highest)
{
    int64_t size = (int64_t)t->bpe.count;
    return highest >= size ? highest + 1 : size;
}

/* The id of a content that is no added token yet: the vocabulary's if it has one. */
static bool give_id(const llava_tokenizer *t, slot *s, id_counter *ids, llava_error *e)
{
    const llava_bpe_token *known = llava_bpe_find(&t->bpe, s->content, s->content_n);
    if (known == NULL &&
        (ids->next > INT32_MAX || llava_bpe_token_of(&t->bpe, ids->next) != NULL)) {
        return llava_fail(e,
                          "%s: the added token %.60s would get the id %lld, which the vocabulary "
                          "uses for another token",
                          t->path, s->content, (long long)ids->next);
    }
    s->token.id = known != NULL ? known->id : (uint32_t)ids->next++;
    ids->highest = s->token.id > ids->highest ? (int64_t)s->token.id : ids->highest;
    return true;
}

/* Lets a request have its effect on its slot: the flags of the last one count, the id stays. */
static bool settle(const llava_tokenizer *t, const requests *all, const request *r, slot *s,
                   id_counter *ids)
{
    if (r->from == FROM_DECODER && s->asked) {
        return llava_fail(all->e, "%s: %.60s is listed twice (added_tokens_decoder)", all->name,
                          r->token.content);
    }
    s->asked = r->from == FROM_DECODER;
    if (!s->added && !give_id(t, s, ids, all->e)) {
        return false;
    }
    uint32_t id = s->token.id;
    s->token = r->token;
    s->token.id = id;
    s->token.special |= r->from != FROM_TOKENIZER && s->named;
    s->token.normalized = r->free_normalized ? !s->token.special : s->token.normalized;
    s->ever_special |= s->token.special;
    s->added = true;
    return true;
}

/* Settles every request, in order. */
static bool apply(const llava_tokenizer *t, const requests *all, slot *slots)
{
    id_counter ids = {.highest = -1};
    ids.next = first_free(t, -1);
    for (size_t i = 0; i < all->n; i++) {
        const request *r = &all->at[i];
        if (i > 0 && r->from != FROM_TOKENIZER && all->at[i - 1].from == FROM_TOKENIZER) {
            ids.next = first_free(t, ids.highest); /* transformers' own call of add_tokens */
        }
        slot *s = &slots[r->slot];
        if (r->token.content_n > 0 && has_effect(r, s) && !settle(t, all, r, s, &ids)) {
            return false;
        }
    }
    return true;
}

static int by_id(const void *a, const void *b)
{
    const llava_added *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Copies the added tokens out of the slots, with contents of their own. */
static bool keep_added(llava_tokenizer *t, const slot *slots, size_t n, llava_error *e)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += slots[i].content_n + 1;
    }
    t->added = llava_alloc(e, n, sizeof *t->added);
    t->added_by_text = llava_alloc(e, n, sizeof *t->added_by_text);
    t->added_pool = llava_alloc(e, bytes, 1);
    if (t->added == NULL || t->added_by_text == NULL || t->added_pool == NULL) {
        return llava_fail_in(e, t->path);
    }
    char *place = t->added_pool;
    for (size_t i = 0; i < n; i++) {
        if (slots[i].added) {
            llava_added *added = &t->added[t->added_count++];
            *added = slots[i].token;
            memcpy(place, slots[i].content, slots[i].content_n + 1);
            added->content = place;
            place += slots[i].content_n + 1;
        }
    }
    /* slots are sorted by content: so is `added` until it is sorted by id */
    uint64_t *order = llava_alloc(e, t->added_count, sizeof *order);
    if (order == NULL) {
        return llava_fail_in(e, t->path);
    }
    for (size_t i = 0; i < t->added_count; i++) {
        order[i] = t->added[i].id;
    }
    qsort(t->added, t->added_count, sizeof *t->added, by_id);
    for (size_t i = 0; i < t->added_count; i++) {
        const llava_added *found = llava_added_of(t, (int64_t)order[i]);
        t->added_by_text[i] = (uint32_t)(found - t->added);
    }
    free(order);
    return true;
}

/* The pattern of every added token, and whether decoding skips it. */
static bool make_patterns(llava_tokenizer *t, const slot *slots, size_t n, llava_error *e)
{
    llava_bytes out = {0}, scratch = {0};
    bool good = true;
    for (size_t i = 0; i < t->added_count && good; i++) {
        llava_added *added = &t->added[i];
        const char *text = added->content;
        size_t length = added->content_n;
        if (added->normalized) {
            good = llava_normalize(&t->normalizer, true, text, length, &out, &scratch, e);
            text = out.at;
            length = out.n;
        }
        if (good) {
            added->pattern = llava_text(e, text, length);
            added->pattern_n = length;
            good = added->pattern != NULL;
        }
        if (good) {
            slot wanted = {.content = added->pattern, .content_n = length};
            const slot *same = bsearch(&wanted, slots, n, sizeof *slots, by_content);
            added->skipped = same != NULL && same->ever_special;
        }
    }
    free(out.at);
    free(scratch.at);
    return (good && llava_matcher_build(&t->raw, t->added, t->added_count, false, e) &&
            llava_matcher_build(&t->normalized, t->added, t->added_count, true, e)) ||
           llava_fail_in(e, t->path);
}

bool llava_tokenizer_read_added(llava_tokenizer *t, const cJSON *root, const char *config_name,
                                const cJSON *config, llava_error *e)
{
    requests all = {.name = t->path, .e = e};
    slot *slots = NULL;
    size_t count = 0;
    bool good = read_tokenizer_tokens(&all, root);
    if (good && config != NULL) {
        all.name = config_name;
        good = read_decoder_tokens(&all, config) && read_named_tokens(&all, config) &&
               read_extra_tokens(&all, config) && keep_all_named(t, config_name, config, e);
    }
    good = good && make_slots(&all, &slots, &count) && apply(t, &all, slots) &&
           keep_added(t, slots, count, e) && make_patterns(t, slots, count, e);
    free(slots);
    free(all.at);
    return good;
}

/* ---- The files of older transformers ---- */

/* Every text in FOLDER/NAME (special_tokens_map.json: values; added_tokens.json: keys) must be an
 * added token already. transformers reads these files where tokenizer_config.json has no
 * added_tokens_decoder, and would add the tokens that are missing; the named tokens of the first
 * win over tokenizer_config.json's (measured). */
static bool check_legacy(llava_tokenizer *t, const char *folder, const char *file, bool keys,
                         llava_error *e)
{
    char *path = llava_path(e, folder, file);
    cJSON *root = NULL;
    bool good = path != NULL;
    if (good && llava_file_exists(path)) {
        root = llava_json_read(path, e);
        good = root != NULL;
    }
    for (const cJSON *item = root == NULL ? NULL : root->child; item != NULL && good;
         item = item->next) {
        const cJSON *content = cJSON_GetObjectItemCaseSensitive(item, "content");
        const char *text =
            keys ? item->string : cJSON_GetStringValue(content != NULL ? content : item);
        if (text != NULL && llava_added_find(t, text, strlen(text)) == NULL) {
            good = llava_fail(e,
                              "%s: the token %.60s, which tokenizer.json does not add, is not "
                              "supported yet",
                              path, text);
        }
    }
    good = good && (keys || root == NULL || keep_all_named(t, path, root, e));
    cJSON_Delete(root);
    free(path);
    return good;
}

bool llava_tokenizer_check_legacy(llava_tokenizer *t, const char *folder, llava_error *e)
{
    return check_legacy(t, folder, "added_tokens.json", true, e) &&
           check_legacy(t, folder, "special_tokens_map.json", false, e);
}
