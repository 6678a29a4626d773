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

static bool put(llava_bytes *out, const char *text, llava_error *e)
{
    return llava_bytes_put(out, text, strlen(text), LLAVA_TEXT_LIMIT, e);
}

static bool put_pictures(llava_bytes *out, size_t count, bool start_end, llava_error *e)
{
    for (size_t i = 0; i < count; i++) {
        if (!put(out,
                 start_end ? "<im_start>" LLAVA_PLACEHOLDER "<im_end>\n" : LLAVA_PLACEHOLDER "\n",
                 e)) {
            return false;
        }
    }
    return true;
}

static const char *text_of(const llava_chat_item *item)
{
    return item->text != NULL ? item->text : item->content != NULL ? item->content : "";
}

/* Pictures first, then the texts with a blank between them. */
static bool put_content(llava_bytes *out, const llava_chat_message *m, bool start_end,
                        llava_error *e)
{
    size_t pictures = 0, texts = 0;
    if (m->text != NULL) {
        return put(out, m->text, e);
    }
    for (size_t i = 0; i < m->count; i++) {
        pictures += m->items[i].image;
    }
    bool ok = put_pictures(out, pictures, start_end, e);
    for (size_t i = 0; ok && i < m->count; i++) {
        if (!m->items[i].image) {
            ok = (texts++ == 0 || put(out, " ", e)) && put(out, text_of(&m->items[i]), e);
        }
    }
    return ok;
}

/* Message i behind the system's: the user's where i is even. */
static bool put_message(llava_bytes *out, const llava_chat_message *m, size_t i, bool start_end,
                        llava_error *e)
{
    static const char *const roles[] = {"user", "assistant"}, *const said[] = {"USER", "ASSISTANT"},
                             *const behind[] = {" ", "</s>"};
    if (strcmp(m->role, roles[i % 2]) != 0) {
        return llava_fail(e, "message %zu is the %.60s's, where the %s's turn is", i, m->role,
                          roles[i % 2]);
    }
    return put(out, said[i % 2], e) && put(out, ": ", e) && put_content(out, m, start_end, e) &&
           put(out, behind[i % 2], e);
}

bool llava_conv_render(llava_conv conv, const llava_conversation *c, bool start_end, char **prompt,
                       llava_error *e)
{
    llava_bytes out = {0};
    bool own = c->count > 0 && strcmp(c->messages[0].role, "system") == 0;
    bool ok = own ? put_content(&out, &c->messages[0], start_end, e) : put(&out, systems[conv], e);
    ok = ok && put(&out, " ", e);
    for (size_t i = own; ok && i < c->count; i++) {
        ok = put_message(&out, &c->messages[i], i - own, start_end, e);
    }
    if (ok && c->generation) {
        ok = (c->count - own) % 2 == 1 ? put(&out, "ASSISTANT:", e)
                                       : llava_fail(e, "the last message is no user's");
    }
    *prompt = ok ? llava_text(e, out.at, out.n) : NULL;
    free(out.at);
    return *prompt != NULL;
}

bool llava_conv_render_turn(llava_conv conv, const char *user, size_t pictures, bool start_end,
                            char **prompt, llava_error *e)
{
    llava_bytes text = {0};
    bool ok = put_pictures(&text, pictures, start_end, e) &&
              llava_bytes_put(&text, user, strlen(user) + 1, LLAVA_TEXT_LIMIT, e);
    llava_chat_message message = {.role = "user", .text = (const char *)text.at};
    llava_conversation one = {.messages = &message, .count = 1, .generation = true};
    ok = ok && llava_conv_render(conv, &one, start_end, prompt, e);
    free(text.at);
    return ok;
}
