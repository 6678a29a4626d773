/* What the known chat templates print. */
#include "chat_format.h"

#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const llava_conversation *c;
    llava_parts out;
    llava_error *warning, *e;
} printer;

static void print_n(printer *p, const char *text, size_t n)
{
    llava_parts_put(&p->out, text, n);
}

static void print(printer *p, const char *text)
{
    llava_parts_add(&p->out, text);
}

/* Says once of what the template prints nothing. */
static void warn(printer *p, size_t i, const char *what)
{
    if (p->warning->text[0] == '\0') {
        llava_fail(p->warning, "messages[%zu]: the chat template prints nothing of %s", i, what);
    }
}

static bool is_role(const llava_chat_message *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

/* ---- Messages of typed items, pictures first ---- */

/* message['content'][0]['text'], which is nothing unless there is such a text. */
static bool print_first_text(printer *p, size_t i)
{
    const llava_chat_message *m = &p->c->messages[i];
    if (m->text == NULL ? m->count == 0 : m->text[0] == '\0') {
        return llava_fail(p->e, "messages[%zu]: the chat template needs a first item of content",
                          i);
    }
    if (m->text == NULL && m->items[0].text != NULL) {
        print(p, m->items[0].text);
    }
    return true;
}

static bool print_head(printer *p, const llava_chat_format *f, size_t i)
{
    const llava_chat_message *m = &p->c->messages[i];
    if (f->head == LLAVA_HEAD_IM) {
        print(p, "<|im_start|>");
        print(p, m->role);
        print(p, f->role_end);
        return true;
    }
    if (is_role(m, "system")) {
        return f->head == LLAVA_HEAD_ROLE || print_first_text(p, i);
    }
    print(p, is_role(m, "user") ? "USER: " : "ASSISTANT: ");
    return true;
}

static void print_images(printer *p, const llava_chat_format *f, const llava_chat_message *m)
{
    for (size_t i = 0; i < m->count; i++) {
        print(p, m->items[i].image ? f->image : "");
    }
}

static bool print_texts(printer *p, const llava_chat_format *f, size_t i)
{
    const llava_chat_message *m = &p->c->messages[i];
    if (m->text != NULL && m->text[0] != '\0') {
        warn(p, i, "a content that is a text, not a list of items");
    }
    for (size_t k = 0; k < m->count; k++) {
        const llava_chat_item *item = &m->items[k];
        if (item->image) {
            continue;
        }
        if (item->text == NULL && f->before[0] == '\0' && f->after[0] == '\0') {
            warn(p, i, "an item without \"text\"");
            continue;
        }
        if (item->text == NULL) {
            return llava_fail(p->e, "messages[%zu].content[%zu]: the chat template needs its text",
                              i, k);
        }
        print(p, f->before);
        print(p, item->text);
        print(p, f->after);
    }
    return true;
}

static bool print_items(printer *p, const llava_chat_format *f)
{
    for (size_t i = 0; i < p->c->count; i++) {
        const llava_chat_message *m = &p->c->messages[i];
        if (f->images_before_head) {
            print_images(p, f, m);
        }
        if (!print_head(p, f, i)) {
            return false;
        }
        if (!f->images_before_head) {
            print_images(p, f, m);
        }
        if (!print_texts(p, f, i)) {
            return false;
        }
        print(p, f->end);
    }
    print(p, p->c->generation ? f->answer : "");
    return true;
}

/* ---- Pixtral ---- */

static void print_chunks(printer *p, bool old, size_t i)
{
    const llava_chat_message *m = &p->c->messages[i];
    print(p, m->text == NULL ? "" : m->text);
    for (size_t k = 0; k < m->count; k++) {
        const llava_chat_item *item = &m->items[k];
        const char *text = item->content == NULL && !old ? item->text : item->content;
        if (!item->image && text == NULL) {
            warn(p, i, "an item without \"content\"");
        }
        print(p, item->image ? "[IMG]" : text == NULL ? "" : text);
    }
}

/* [INST], and before the last user's turn the system message. */
static bool print_user_head(printer *p, bool last)
{
    const llava_chat_message *system = &p->c->messages[0];
    bool with_system = last && is_role(system, "system");
    if (with_system && system->text == NULL) {
        return llava_fail(p->e, "messages[0]: the chat template wants the system message's content "
                                "as a text");
    }
    print(p, "[INST]");
    if (with_system) {
        print(p, system->text);
        print(p, "\n\n");
    }
    return true;
}

static bool print_user(printer *p, bool old, size_t i)
{
    if (!print_user_head(p, i + 1 == p->c->count)) {
        return false;
    }
    print_chunks(p, old, i);
    print(p, "[/INST]");
    return true;
}

static bool print_answer(printer *p, bool old, size_t i)
{
    const llava_chat_message *m = &p->c->messages[i];
    if (old && m->text == NULL) {
        return llava_fail(
            p->e, "messages[%zu]: the chat template wants an answer's content as a text", i);
    }
    if (old && p->c->eos == NULL) {
        return llava_fail(p->e, "the chat template needs an eos_token, and tokenizer_config.json "
                                "has none");
    }
    print_chunks(p, old, i);
    print(p, p->c->eos == NULL ? "" : p->c->eos);
    return true;
}

static bool print_pixtral(printer *p, bool old)
{
    const llava_conversation *c = p->c;
    size_t first = is_role(&c->messages[0], "system") ? 1 : 0;
    print(p, c->bos == NULL ? "" : c->bos);
    for (size_t i = first; i < c->count; i++) {
        const llava_chat_message *m = &c->messages[i];
        bool user = is_role(m, "user");
        if (user != ((i - first) % 2 == 0)) {
            return llava_fail(p->e,
                              "messages[%zu]: after the optional system message, roles must "
                              "alternate user, assistant, user, ... (the chat template)",
                              i);
        }
        if (!user && !is_role(m, "assistant")) {
            return llava_fail(p->e,
                              "messages[%zu]: a system message may only be the first (the chat "
                              "template)",
                              i);
        }
        if (!(user ? print_user(p, old, i) : print_answer(p, old, i))) {
            return false;
        }
    }
    return true;
}

/* ---- Messages of plain texts ---- */

/* What Python's str.strip takes for white space: Unicode's, and four separators of ASCII. */
static bool strips(uint32_t point)
{
    return llava_is_space(point) || (point >= 0x1c && point <= 0x1f);
}

/* Where the text begins behind its leading white space. */
static size_t stripped_start(const char *text, size_t n)
{
    size_t at = 0, length;
    uint32_t point;
    while ((length = llava_utf8_next(text + at, n - at, &point)) > 0 && strips(point)) {
        at += length;
    }
    return at;
}

/* Where it ends before its trailing white space. */
static size_t stripped_end(const char *text, size_t n)
{
    while (n > 0) {
        size_t start = n - 1;
        uint32_t point;
        while (start > 0 && ((uint8_t)text[start] & 0xc0) == 0x80) {
            start--;
        }
        if (llava_utf8_next(text + start, n - start, &point) == 0 || !strips(point)) {
            break;
        }
        n = start;
    }
    return n;
}

static void print_trimmed(printer *p, const char *text)
{
    text += stripped_start(text, strlen(text));
    print_n(p, text, stripped_end(text, strlen(text)));
}

/* A template that takes contents for texts prints a list as Python writes it, or fails. */
static bool check_texts(printer *p)
{
    for (size_t i = 0; i < p->c->count; i++) {
        if (p->c->messages[i].text == NULL) {
            return llava_fail(p->e,
                              "messages[%zu]: the chat template wants content as a text, with "
                              "<image> where a picture goes, not a list of items",
                              i);
        }
    }
    return true;
}

static void print_im_texts(printer *p, bool with_system)
{
    const llava_conversation *c = p->c;
    if (with_system && !is_role(&c->messages[0], "system")) {
        print(p, "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n");
    }
    for (size_t i = 0; i < c->count; i++) {
        const llava_chat_message *m = &c->messages[i];
        print(p, "<|im_start|>");
        print(p, m->role);
        print(p, "\n");
        print(p, m->text);
        print(p, "<|im_end|>\n");
    }
    print(p, c->generation ? "<|im_start|>assistant\n" : "");
}

static void print_header(printer *p, const char *role)
{
    print(p, "<|start_header_id|>");
    print(p, role);
    print(p, "<|end_header_id|>\n\n");
}

static void print_llama_turns(printer *p, size_t first)
{
    for (size_t i = first; i < p->c->count; i++) {
        const llava_chat_message *m = &p->c->messages[i];
        print_header(p, m->role);
        print_trimmed(p, m->text);
        print(p, "<|eot_id|>");
    }
}

static bool print_llama_3(printer *p, bool open)
{
    if (p->c->bos == NULL) {
        return llava_fail(p->e, "the chat template needs a bos_token, and tokenizer_config.json "
                                "has none");
    }
    print(p, p->c->bos);
    print_llama_turns(p, 0);
    if (open || p->c->generation) {
        print_header(p, "assistant");
    }
    return true;
}

static void print_llama_3_1(printer *p)
{
    const llava_chat_message *first = &p->c->messages[0];
    size_t system = is_role(first, "system") ? 1 : 0;
    print(p, p->c->bos == NULL ? "" : p->c->bos);
    print_header(p, "system");
    print(p, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
    print_trimmed(p, system == 1 ? first->text : "");
    print(p, "<|eot_id|>");
    print_llama_turns(p, system);
    if (p->c->generation) {
        print_header(p, "assistant");
    }
}

/* The text without its image tokens, and without white space in front. */
static void print_without_images(printer *p, const char *text)
{
    static const char token[] = "<|reserved_special_token_69|>";
    bool leads = true;
    for (const char *end; *text != '\0'; text = end) {
        const char *found = strstr(text, token);
        size_t n = found == NULL ? strlen(text) : (size_t)(found - text);
        size_t start = leads ? stripped_start(text, n) : 0;
        print_n(p, text + start, n - start);
        leads = leads && start == n;
        end = found == NULL ? text + n : found + sizeof token - 1;
    }
}

/* Its `first_user_message` is set to false inside of the loop, where Jinja forgets it: every user's
 * message gets a picture. */
static void print_joycaption(printer *p)
{
    const llava_conversation *c = p->c;
    size_t first = is_role(&c->messages[0], "system") ? 1 : 0;
    print(p, "<|start_header_id|>system<|end_header_id|>");
    print(p, first == 1 ? c->messages[0].text : "");
    print(p, "<|eot_id|>");
    for (size_t i = first; i < c->count; i++) {
        const llava_chat_message *m = &c->messages[i];
        print_header(p, m->role);
        if (is_role(m, "user")) {
            print(p, "<|reserved_special_token_70|><|reserved_special_token_69|>"
                     "<|reserved_special_token_71|>");
            print_without_images(p, m->text);
        } else {
            print(p, m->text);
        }
        print(p, "<|eot_id|>");
    }
    if (c->generation) {
        print_header(p, "assistant");
    }
}

/* ---- All of them ---- */

static bool print_conversation(printer *p, llava_chat chat)
{
    const llava_chat_format *format = llava_chat_format_of(chat);
    if (format != NULL) {
        return print_items(p, format);
    }
    if (chat == LLAVA_CHAT_PIXTRAL || chat == LLAVA_CHAT_PIXTRAL_OLD) {
        return print_pixtral(p, chat == LLAVA_CHAT_PIXTRAL_OLD);
    }
    if (!check_texts(p)) {
        return false;
    }
    switch (chat) {
    case LLAVA_CHAT_CHATML_TEXT:
    case LLAVA_CHAT_QWEN:
        print_im_texts(p, chat == LLAVA_CHAT_QWEN);
        return true;
    case LLAVA_CHAT_LLAMA_3:
    case LLAVA_CHAT_LLAMA_3_OPEN:
        return print_llama_3(p, chat == LLAVA_CHAT_LLAMA_3_OPEN);
    case LLAVA_CHAT_LLAMA_3_1:
        print_llama_3_1(p);
        return true;
    default:
        print_joycaption(p);
        return true;
    }
}

bool llava_chat_render(llava_chat chat, const llava_conversation *conversation, char **prompt,
                       llava_error *warning, llava_error *e)
{
    printer p = {conversation, {.limit = LLAVA_TEXT_LIMIT, .e = e}, warning, e};
    warning->text[0] = '\0';
    bool good = print_conversation(&p, chat);
    print_n(&p, "", 1); /* the NUL */
    good = good && !p.out.failed;
    *prompt = p.out.bytes.at;
    if (!good) {
        free(*prompt);
        *prompt = NULL;
    }
    return good;
}

bool llava_chat_render_turn(llava_chat chat, const char *user, size_t pictures, const char *bos,
                            char **prompt, llava_error *e)
{
    bool lists = llava_chat_format_of(chat) != NULL || chat == LLAVA_CHAT_PIXTRAL ||
                 chat == LLAVA_CHAT_PIXTRAL_OLD;
    llava_parts text = {.limit = LLAVA_TEXT_LIMIT, .e = e};
    llava_error warning;
    llava_chat_message turn = {.role = "user", .count = lists ? pictures + 1 : 0};
    *prompt = NULL;
    turn.items = llava_alloc(e, pictures + 1, sizeof *turn.items);
    if (turn.items == NULL) {
        return false;
    }
    for (size_t i = 0; i < pictures; i++) {
        turn.items[i] = (llava_chat_item){.image = true};
        /* a line for each where the template itself prints none */
        llava_parts_add(&text, chat == LLAVA_CHAT_JOYCAPTION ? "" : "<image>\n");
    }
    turn.items[pictures] = (llava_chat_item){.text = user, .content = user};
    llava_parts_put(&text, user, strlen(user) + 1);
    turn.text = lists ? NULL : text.bytes.at;
    llava_conversation c = {.messages = &turn, .count = 1, .generation = true, .bos = bos};
    bool good = !text.failed && llava_chat_render(chat, &c, prompt, &warning, e);
    free(text.bytes.at);
    free(turn.items);
    return good;
}
