/* Byte-pair encoding: the model of a tokenizer.json (spec 7.3; tokenizers models/bpe).
 *
 * A piece of text becomes its characters' tokens, then the adjacent pair whose merge has the
 * lowest rank is joined, the leftmost on ties, until no pair has a merge. A heap of candidate
 * pairs makes that O(n log n) for n characters. Look-ups are binary searches in sorted arrays, so
 * no choice of names can make them slow. */
#ifndef LLAVA_BPE_H
#define LLAVA_BPE_H

#include "json.h"

/* One token of the vocabulary. */
typedef struct {
    const char *text; /* NUL-terminated, in the pool */
    size_t n;
    uint32_t id;
} llava_bpe_token;

/* left + right -> id; the lower the rank, the earlier it is applied. */
typedef struct {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank, id;
} llava_bpe_merge;

typedef struct {
    size_t count;
    llava_bpe_token *tokens; /* sorted by text */
    uint32_t *by_id;         /* indices into tokens, sorted by id */
    char *pool;
    size_t merge_count;
    llava_bpe_merge *merges; /* sorted by pair, pairs unique */
    char *unk_text;          /* NULL where the model has none */
    int64_t unk;             /* its id; -1 where there is none or it is not in the vocabulary */
    int64_t byte_ids[256];   /* ids of <0x00> .. <0xFF>; -1 where missing */
    bool byte_fallback, fuse_unk, ignore_merges;
} llava_bpe;

/* Ids that grow. Zero it to start; free(ids.at) when done. */
typedef struct {
    int64_t *at;
    size_t n, room;
} llava_ids;
bool llava_ids_put(llava_ids *ids, int64_t id, llava_error *e);

/* Reads the "model" object. `name` (the file) starts every message. Refused: a type other than
 * BPE, dropout, affixes, ids that are not unique within 0 .. 2^31 - 1, a merge whose parts or
 * result are not in the vocabulary. Of two merges of one pair the later counts, as in tokenizers.
 * On failure nothing is kept. */
bool llava_bpe_read(llava_bpe *bpe, const char *name, const cJSON *model, llava_error *e);
void llava_bpe_free(llava_bpe *bpe);

/* The token with this text / this id, or NULL. */
const llava_bpe_token *llava_bpe_find(const llava_bpe *bpe, const char *text, size_t n);
const llava_bpe_token *llava_bpe_token_of(const llava_bpe *bpe, int64_t id);

/* Appends the ids of n bytes of valid UTF-8, n below 2^31. A character that has no token becomes
 * its bytes' tokens (byte_fallback), else the unknown token, else nothing, as in tokenizers.
 * Errors: the unknown token is needed and not in the vocabulary; memory. */
bool llava_bpe_encode(const llava_bpe *bpe, const char *text, size_t n, llava_ids *ids,
                      llava_error *e);

#endif
