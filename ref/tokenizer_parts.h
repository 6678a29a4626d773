/* What a tokenizer is made of; tokenizer.c and tokenizer_decode.c use it, tokenizer_read.c and
 * tokenizer_added.c read it from the files. */
#ifndef LLAVA_TOKENIZER_PARTS_H
#define LLAVA_TOKENIZER_PARTS_H

#include "added.h"
#include "bpe.h"
#include "byte_level.h"
#include "split_pattern.h"
#include "tokenizer.h"

/* Steps in one normaliser or decoder, tokens in one template, bytes of a pattern to replace: the
 * work per byte of text stays bounded. */
#define LLAVA_MAX_STEPS    16
#define LLAVA_MAX_TEMPLATE 64
#define LLAVA_MAX_PATTERN  64

typedef enum {
    LLAVA_STEP_PREPEND, /* content in front of a text that is not empty */
    LLAVA_STEP_REPLACE, /* every pattern becomes content, from the left, not overlapping */
    LLAVA_STEP_NFC,
    LLAVA_STEP_BYTE_FALLBACK,
    LLAVA_STEP_FUSE,
    LLAVA_STEP_STRIP,      /* content (one character) off the ends of every token */
    LLAVA_STEP_METASPACE,  /* content (one character) becomes a blank; gone in the first token */
    LLAVA_STEP_BYTE_LEVEL, /* characters that stand for bytes become these, as UTF-8 */
} llava_step_kind;

typedef enum { LLAVA_PREPEND_ALWAYS, LLAVA_PREPEND_FIRST, LLAVA_PREPEND_NEVER } llava_prepend;

typedef struct {
    llava_step_kind kind;
    char *pattern, *content; /* NULL where the kind has none */
    size_t pattern_n, content_n;
    size_t strip_start, strip_end;
    llava_prepend prepend;
} llava_step;

typedef struct {
    llava_step at[LLAVA_MAX_STEPS];
    size_t n;
} llava_steps;

typedef struct {
    int64_t at[LLAVA_MAX_TEMPLATE];
    size_t n;
} llava_template_ids;

typedef enum { LLAVA_PRE_NONE, LLAVA_PRE_METASPACE, LLAVA_PRE_BYTE_LEVEL } llava_pre_kind;

/* The pre-tokeniser: what makes words of a piece of text. */
typedef struct {
    llava_pre_kind kind;
    llava_step metaspace; /* LLAVA_PRE_METASPACE: its character, where it stands in front */
    bool metaspace_splits;
    /* LLAVA_PRE_BYTE_LEVEL: Split (NULL where there is none), then ByteLevel: its blank in front,
     * its own pattern (NULL without use_regex) */
    const llava_split_pattern *split, *byte_split;
    bool prefix_space;
} llava_pre_tokenizer;

struct llava_tokenizer {
    char *path; /* of tokenizer.json, for messages */
    llava_bpe bpe;
    llava_added *added; /* sorted by id */
    size_t added_count;
    uint32_t *added_by_text; /* indices into added, sorted by content */
    char *added_pool;        /* their contents */
    llava_matcher *raw, *normalized;
    llava_steps normalizer;
    llava_pre_tokenizer pre;
    llava_byte_level bytes;
    llava_template_ids front, back;
    bool has_decoder;
    llava_steps decoder;
    char *image_token, *bos_token, *eos_token; /* NULL where tokenizer_config.json has none */
};

/* Fills a zeroed tokenizer from the folder. On failure the caller closes it. */
bool llava_tokenizer_read(llava_tokenizer *t, const char *folder, llava_error *e);

/* Reads the added tokens and makes their patterns, once the normaliser and the model are read.
 * `config` is tokenizer_config.json, or NULL where there is none. */
bool llava_tokenizer_read_added(llava_tokenizer *t, const cJSON *root, const char *config_name,
                                const cJSON *config, llava_error *e);

/* Refuses added_tokens.json and special_tokens_map.json if they ask for tokens that are new; takes
 * the latter's named tokens. */
bool llava_tokenizer_check_legacy(llava_tokenizer *t, const char *folder, llava_error *e);

/* Appends the text with every pattern replaced, from the left, not overlapping. */
bool llava_replace(const char *text, size_t n, const char *pattern, size_t pattern_n,
                   const char *content, size_t content_n, llava_bytes *out, llava_error *e);

/* The normaliser's steps over n bytes, into *out (cleared first). prepend false leaves Prepend out.
 * Scratch and out are swapped at will. */
bool llava_normalize(const llava_steps *steps, bool prepend, const char *text, size_t n,
                     llava_bytes *out, llava_bytes *scratch, llava_error *e);

/* The added token with this id / this content, or NULL. */
const llava_added *llava_added_of(const llava_tokenizer *t, int64_t id);
const llava_added *llava_added_find(const llava_tokenizer *t, const char *text, size_t n);

#endif
