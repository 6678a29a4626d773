/* One user turn through a model's conversation format (spec 7.6).
 *
 * A folder's format is a Jinja template. No template language is interpreted here: the template's
 * text is compared with the known ones, after a normalisation that keeps what it renders. */
#ifndef LLAVA_CHAT_H
#define LLAVA_CHAT_H

#include "error.h"

typedef enum {
    LLAVA_CHAT_LLAVA_1_5, /* USER: <image>\nWhat is shown? ASSISTANT: */
} llava_chat;

/* Which known format is this template? `name` (its file) starts the message. Two templates are the
 * same here if they differ only in: the form and place of white space inside tags, white space that
 * Jinja takes away (trim_blocks and lstrip_blocks on, as in transformers; "-" in a tag; one newline
 * at the template's end), the kind of quotes, comments, and {% generation %} tags, which mark the
 * answer and print nothing. Anything else: refused, pointing to --prompt. */
bool llava_chat_recognise(const char *name, const char *text, size_t n, llava_chat *chat,
                          llava_error *e);

/* One user turn with that many pictures, then the place of the answer: *prompt (free() it). */
bool llava_chat_render(llava_chat chat, const char *user, size_t pictures, char **prompt,
                       llava_error *e);

/* Both, for the folder's template. Where several files hold one, transformers 5.23's processor
 * takes (measured) processor_config.json's chat_template before chat_template.json before
 * chat_template.jinja; the tokenizer's own, tokenizer_config.json, is taken if there is no other.
 * Of several named templates the one called "default" counts. No template, or one that is not
 * recognised: refused, pointing to --prompt. */
bool llava_chat_format(const char *folder, const char *user, size_t pictures, char **prompt,
                       llava_error *e);

#endif
