/* The original project's conversations, in its separator style TWO:
 *
 *   system " " then for each message: role ": " text, " " behind the user's, "</s>" behind answers
 *
 * Source: L llava/conversation.py, get_prompt; llava/eval/run_llava.py for the pictures. */
#include "original.h"

#include "prompt.h"

#include <stdlib.h>
#include <string.h>

/* Their system messages. */
static const char *const systems[LLAVA_CONV_COUNT] = {
    [LLAVA_CONV_VICUNA_V1] =
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions.",
    [LLAVA_CONV_LLAVA_V1] =
        "A chat between a curious human and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the human's questions.",
};

static void put_pictures(llava_parts *out, size_t count, bool start_end)
{
    for (size_t i = 0; i < count; i++) {
        llava_parts_add(out, start_end ? "<im_start>" LLAVA_PLACEHOLDER "<im_end>\n"
                                       : LLAVA_PLACEHOLDER "\n");
    }
}

/* A message's content has one of them (ref/messages.c). */
static const char *text_of(const llava_chat_item *item)
{
    return item->text != NULL ? item->text : item->content;
}

/* Pictures first, then the texts with a blank between them. */
static void put_content(llava_parts *out, const llava_chat_message *m, bool start_end)
{
    size_t pictures = 0, texts = 0;
    if (m->text != NULL) {
        llava_parts_add(out, m->text);
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        pictures += m->items[i].image;
    }
    put_pictures(out, pictures, start_end);
    for (size_t i = 0; i < m->count; i++) {
        if (!m->items[i].image) {
            llava_parts_add(out, texts++ == 0 ? "" : " ");
            llava_parts_add(out, text_of(&m->items[i]));
        }
    }
}

/* Message i behind the system's: the user's where i is even. */
static bool put_message(llava_parts *out, const llava_chat_message *m, size_t i, bool start_end)
{
    static const char *const roles[] = {"user", "assistant"}, *const said[] = {"USER", "ASSISTANT"},
                             *const behind[] = {" ", "</s>"};
    if (strcmp(m->role, roles[i % 2]) != 0) {
        return llava_fail(out->e, "message %zu is the %.60s's, where the %s's turn is", i, m->role,
                          roles[i % 2]);
    }
    llava_parts_add(out, said[i % 2]);
    llava_parts_add(out, ": ");
    put_content(out, m, start_end);
    llava_parts_add(out, behind[i % 2]);
    return true;
}

bool llava_conv_render(llava_conv conv, const llava_conversation *c, bool start_end, char **prompt,
                       llava_error *e)
{
    llava_parts out = {.limit = LLAVA_TEXT_LIMIT, .e = e};
    size_t own = strcmp(c->messages[0].role, "system") == 0 ? 1 : 0;
    if (own == 1) {
        put_content(&out, &c->messages[0], start_end);
    } else {
        llava_parts_add(&out, systems[conv]);
    }
    llava_parts_add(&out, " ");
    bool ok = true;
    for (size_t i = own; ok && i < c->count; i++) {
        ok = put_message(&out, &c->messages[i], i - own, start_end);
    }
    if (ok && c->generation) {
        llava_parts_add(&out, "ASSISTANT:");
        ok = (c->count - own) % 2 == 1 || llava_fail(e, "the last message is no user's");
    }
    llava_parts_put(&out, "", 1); /* the NUL */
    ok = ok && !out.failed;
    *prompt = out.bytes.at;
    if (!ok) {
        free(*prompt);
        *prompt = NULL;
    }
    return ok;
}

bool llava_conv_render_turn(llava_conv conv, const char *user, size_t pictures, bool start_end,
                            char **prompt, llava_error *e)
{
    llava_parts text = {.limit = LLAVA_TEXT_LIMIT, .e = e};
    put_pictures(&text, pictures, start_end);
    llava_parts_put(&text, user, strlen(user) + 1);
    llava_chat_message message = {.role = "user", .text = text.bytes.at};
    llava_conversation one = {.messages = &message, .count = 1, .generation = true};
    *prompt = NULL;
    bool ok = !text.failed && llava_conv_render(conv, &one, start_end, prompt, e);
    free(text.bytes.at);
    return ok;
}
