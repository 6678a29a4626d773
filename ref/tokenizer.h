/* Text to token ids and back: a model folder's tokenizer.json (spec 7, tokenizers 0.23).
 *
 *   text -> added tokens cut out -> normaliser -> added tokens of the normalised text cut out
 *        -> pre-tokeniser -> byte-pair encoding -> template (<s> in front)
 *
 * Supported is what the tokenizers of Llama, Mistral and Qwen2 are made of: model BPE; normaliser
 * Prepend, Replace (of a string), NFC, a Sequence of these, or none; pre-tokeniser Metaspace,
 * ByteLevel, Split by a known pattern (ref/split_pattern.h) and then ByteLevel, or none;
 * post-processor TemplateProcessing, ByteLevel (which changes no id), both, or none; decoder
 * Replace, ByteFallback, Fuse, Strip, Metaspace, ByteLevel, a Sequence of these, or none. Anything
 * else is refused by its name, an unknown pattern with its text. Truncation and padding are
 * ignored, as transformers does when it is not asked for them.
 *
 * tokenizer_config.json, as transformers 5.23 reads it beside a tokenizer.json (measured): its
 * add_bos_token and add_eos_token change nothing, the post-processor alone decides; tokens of its
 * added_tokens_decoder that differ from tokenizer.json's replace those (the flags, never the id)
 * or are added; bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token, any
 * other *_token, and extra_special_tokens / additional_special_tokens are added where they are not
 * added tokens yet. A new token takes the vocabulary's id if it has one, else the next free one:
 * the ids that the files write beside added tokens are not looked at, as in tokenizers.
 * added_tokens.json and special_tokens_map.json count where there is no added_tokens_decoder; they
 * are accepted if they ask for nothing new. */
#ifndef LLAVA_TOKENIZER_H
#define LLAVA_TOKENIZER_H

#include "error.h"

#include <stdint.h>

/* No text, as given or as normalised or decoded, may be longer than this many bytes. */
#define LLAVA_TEXT_LIMIT ((size_t)16 << 20)

/* The decisions tokens.* of the plan; the first value of each is what the model's files say. */
typedef enum {
    LLAVA_BOS_CONFIG,
    LLAVA_BOS_NONE,          /* the template's tokens in front are left out */
    LLAVA_BOS_EVERY_SEGMENT, /* they also stand before the text after each picture; that part is
                                done by llava_prompt_encode, which knows the pictures */
} llava_bos;

typedef enum {
    LLAVA_PREFIX_CONFIG,
    LLAVA_PREFIX_NEVER,         /* no Prepend, no Metaspace prefix, no blank of ByteLevel's */
    LLAVA_PREFIX_EVERY_SEGMENT, /* Metaspace "always" instead of "first" or "never"; a blank in
                                   front of every segment of a byte-level tokenizer */
} llava_prefix_space;

typedef enum {
    LLAVA_COUNT_EXACT,
    LLAVA_COUNT_ONE_LESS,
    LLAVA_COUNT_ONE_MORE,
    LLAVA_COUNT_SINGLE, /* one placeholder per picture, not expanded */
} llava_image_count;

typedef enum {
    LLAVA_BREAKS_CONFIG,
    LLAVA_BREAKS_ABSENT,
    LLAVA_BREAKS_NO_END, /* a break where the end belongs */
} llava_image_breaks;    /* of Pixtral's rows */

typedef struct {
    llava_bos bos;
    llava_prefix_space prefix_space;
    llava_image_count image_count;
    llava_image_breaks image_breaks; /* done by llava_prompt_encode */
    bool no_template; /* no decision: the text brings its special tokens along, nothing is put
                         around it (add_special_tokens=False) */
} llava_token_plan;

typedef struct llava_tokenizer llava_tokenizer;

/* Opens FOLDER/tokenizer.json and reads FOLDER/tokenizer_config.json where it is there. */
bool llava_tokenizer_open(llava_tokenizer **tokenizer, const char *folder, llava_error *e);
void llava_tokenizer_close(llava_tokenizer *tokenizer);

/* Encodes n bytes of text. *ids (free() it; never NULL on success) gets *count ids, the template's
 * included. Refused: text that is not UTF-8, or beyond LLAVA_TEXT_LIMIT. */
bool llava_tokenizer_encode(const llava_tokenizer *tokenizer, const llava_token_plan *plan,
                            const char *text, size_t n, int64_t **ids, size_t *count,
                            llava_error *e);

/* Decodes ids to UTF-8 (spec 7.4): *text (free() it) holds *n bytes and a NUL behind them; the text
 * itself may hold NULs. Ids that no token has are left out, as in tokenizers. With skip_special,
 * special tokens are left out. Refused: negative ids, a text beyond LLAVA_TEXT_LIMIT. */
bool llava_tokenizer_decode(const llava_tokenizer *tokenizer, const int64_t *ids, size_t count,
                            bool skip_special, char **text, size_t *n, llava_error *e);

/* The id of the token with exactly this text, or -1. */
int64_t llava_tokenizer_id_of(const llava_tokenizer *tokenizer, const char *text);
/* The token's text as the files have it (an added token's content), or NULL. */
const char *llava_tokenizer_text_of(const llava_tokenizer *tokenizer, int64_t id);
/* Does decoding with skip_special leave it out? False for ids that no token has. */
bool llava_tokenizer_is_special(const llava_tokenizer *tokenizer, int64_t id);
/* The highest id of any token, plus one. */
int64_t llava_tokenizer_size(const llava_tokenizer *tokenizer);
/* tokenizer_config.json's image_token, which wins over the processor's (spec 6.1), or NULL. */
const char *llava_tokenizer_image_token(const llava_tokenizer *tokenizer);
/* bos_token and eos_token of special_tokens_map.json, where that counts, or tokenizer_config.json;
 * or NULL. */
const char *llava_tokenizer_bos_token(const llava_tokenizer *tokenizer);
const char *llava_tokenizer_eos_token(const llava_tokenizer *tokenizer);
/* The ids that the template puts in front of a text (<s>). */
const int64_t *llava_tokenizer_front(const llava_tokenizer *tokenizer, size_t *count);
/* Can this value change anything for this tokenizer? (The config values never do.) */
bool llava_tokenizer_bos_acts(const llava_tokenizer *tokenizer, llava_bos bos);
bool llava_tokenizer_prefix_acts(const llava_tokenizer *tokenizer, llava_prefix_space prefix);

#endif
