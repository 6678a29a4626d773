/* Conversations through a model's own format (spec 7.6).
 *
 * A folder's format is a Jinja template. No template language is interpreted here: the template's
 * text is compared with the known ones, after a normalisation that keeps what it renders, and each
 * known one is rendered by a function that prints what Jinja would. */
#ifndef LLAVA_CHAT_H
#define LLAVA_CHAT_H

#include "unicode.h"

/* What a known template prints. ref/chat_templates.c has their texts and where they come from. */
typedef enum {
    /* messages of typed items, pictures before texts */
    LLAVA_CHAT_LLAVA_1_5,       /* USER: <image>\nWhat? ASSISTANT: */
    LLAVA_CHAT_LLAVA_1_5_OLD,   /* the same; a system message's first text stands there twice */
    LLAVA_CHAT_TINYLLAVA,       /* USER: <image>\nWhat?\nASSISTANT: */
    LLAVA_CHAT_BAKLLAVA,        /* <image>\nUSER: What?\nASSISTANT: */
    LLAVA_CHAT_INTERLEAVE,      /* <|im_start|>user\n<image>\nWhat?<|im_end|>\n... */
    LLAVA_CHAT_INTERLEAVE_DOCS, /* <|im_start|>user <image>\nWhat?<|im_end|>... */
    LLAVA_CHAT_CHATML,          /* <|im_start|>user\n<image>\nWhat?<|im_end|>\n..., no text apart */
    LLAVA_CHAT_CHATML_TIGHT,    /* the same without a line end behind <|im_end|> */
    /* of texts or typed items, in their order */
    LLAVA_CHAT_PIXTRAL,     /* <s>[INST][IMG]What?[/INST]; a text's key is "content" or "text" */
    LLAVA_CHAT_PIXTRAL_OLD, /* the same; the key is "content" alone, answers are plain texts */
    /* of plain texts, with <image> where a picture goes */
    LLAVA_CHAT_CHATML_TEXT,  /* <|im_start|>user\n<image>\nWhat?<|im_end|>\n... */
    LLAVA_CHAT_QWEN,         /* the same, with a system message where there is none */
    LLAVA_CHAT_LLAMA_3,      /* <|start_header_id|>user<|end_header_id|>\n\n...<|eot_id|>... */
    LLAVA_CHAT_LLAMA_3_OPEN, /* the same; the answer's header comes whether asked for or not */
    LLAVA_CHAT_LLAMA_3_1,    /* with a system message that begins with two dates */
    LLAVA_CHAT_JOYCAPTION,   /* a picture before every user's text */
    LLAVA_CHAT_COUNT,
} llava_chat;

/* One item of a message's content: a picture, or a text under one of two names. */
typedef struct {
    bool image;
    const char *text, *content; /* NULL where the item has no such member */
} llava_chat_item;

/* One message: content is a text, or a list of items. */
typedef struct {
    const char *role; /* system, user, assistant */
    const char *text; /* NULL for a list */
    llava_chat_item *items;
    size_t count;
} llava_chat_message;

typedef struct {
    const llava_chat_message *messages;
    size_t count;
    bool generation;       /* add_generation_prompt */
    const char *bos, *eos; /* the tokenizer's; NULL where it has none */
} llava_conversation;

/* Which known format is this template? `name` (its file) starts the message. Two templates are the
 * same here if they differ only in: the form and place of white space inside tags, white space that
 * Jinja takes away (trim_blocks and lstrip_blocks on, as in transformers; "-" in a tag; one newline
 * at the template's end), the kind of quotes, comments. Anything else: refused, pointing to
 * --prompt. */
bool llava_chat_recognise(const char *name, const char *text, size_t n, llava_chat *chat,
                          llava_error *e);

/* The format of the folder's template. Where several files hold one, transformers 5.23's processor
 * takes (measured) processor_config.json's chat_template before chat_template.json before
 * chat_template.jinja; the tokenizer's own, tokenizer_config.json, is taken if there is no other.
 * Of several named templates the one called "default" counts. No template, or one that is not
 * recognised: refused, pointing to --prompt. */
bool llava_chat_of(const char *folder, llava_chat *chat, llava_error *e);

/* The conversation, of at least one message, as the template prints it: *prompt (free() it). What
 * makes the template raise an exception is refused, and so is what it would print as a Python list
 * (a list of items where it wants a text). *warning is empty, or says of what the template prints
 * nothing. */
bool llava_chat_render(llava_chat chat, const llava_conversation *conversation, char **prompt,
                       llava_error *warning, llava_error *e);

/* The same for one user turn, its pictures first, in the form that this template wants, and the
 * place of the answer. */
bool llava_chat_render_turn(llava_chat chat, const char *user, size_t pictures, const char *bos,
                            char **prompt, llava_error *e);

/* The `i`-th known template and its format (for tests: what is rendered here is compared with what
 * Jinja makes of this text). *text: free its `at`. False behind the last one. */
bool llava_chat_template(size_t i, llava_bytes *text, llava_chat *chat, llava_error *e);

#endif
