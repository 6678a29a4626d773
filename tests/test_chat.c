/* Conversations: which format a folder has, what it prints, messages from a file. */
#include "ref/chat.h"
#include "ref/messages.h"

#include "memory.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- Templates ---- */

/* The pieces of the template between which white space may stand, comments included. */
#define FOR_IMAGES                                                                                 \
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
#define FOR_TEXTS "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
#define HEAD                                                                                       \
    "{% for message in messages %}{% if message['role'] != 'system' %}"                            \
    "{{ message['role'].upper() + ': '}}{% endif %}{# Render all images first #}" FOR_IMAGES
#define REST                                                                                       \
    "{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}" FOR_TEXTS      \
    "{{ content['text'] + ' '}}{% endfor %}{% else %}" FOR_TEXTS                                   \
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}"         \
    "{% endfor %}"
#define LAST      "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
#define LLAVA_1_5 HEAD "{{ '<image>\\n' }}" REST LAST

static bool recognised(const char *text)
{
    llava_chat chat;
    llava_error e;
    if (llava_chat_recognise("chat_template.jinja", text, strlen(text), &chat, &e)) {
        return true;
    }
    support_says(&e, "chat_template.jinja: ");
    support_says(&e, "--prompt");
    return false;
}

static void white_space_that_does_not_show_is_no_difference(void **state)
{
    (void)state;
    const char *same[] = {
        LLAVA_1_5,
        LLAVA_1_5 "\n",
        LLAVA_1_5 "\r",
        "  \t" LLAVA_1_5,
        HEAD "\n\t{{- '<image>\\n' -}}\r" REST LAST,
        HEAD "{{\"<image>\\n\"}}" REST LAST,
        HEAD "{{ '<image>\n' }}" REST LAST,
        HEAD "\n    {{- '<image>\\n' -}}\n  " REST "\n" LAST "\r\n",
        HEAD "{{ '<image>\\n' }}" REST "  \n  {#- the end #}\n   " LAST,
        HEAD "{{ '<image>\\n' }}" REST "\n  {# the end #}\n   " LAST,
        HEAD "{{ '<image>\\n' }}" REST "{%if   add_generation_prompt%}{{'ASSISTANT:'}}{%endif%}",
        HEAD "{{ '<image>\\n' }}" REST "\n{%- if add_generation_prompt -%} {{ 'ASSISTANT:' -}} \n "
             "{% endif %}",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        if (!recognised(same[i])) {
            fail_msg("refused: %s", same[i]);
        }
    }
}

static void what_would_render_differently_is_not_recognised(void **state)
{
    (void)state;
    const char *other[] = {
        "",
        "{",
        "{%",
        "{{ 'ASSISTANT:' }}",
        HEAD "{{ '<image>' }}" REST LAST,
        HEAD "{{ '<image>\\n ' }}" REST LAST,
        HEAD " {{ '<image>\\n' }}" REST LAST,  /* a blank that is printed */
        HEAD "{{ '<image>\\n' }}\n" REST LAST, /* so is a newline behind {{ }} */
        HEAD
        "{{ '<image>\\n' }}  " REST LAST, /* blanks before a tag, but not alone in their line */
        HEAD "{{ '<image>\\n' }}" REST "\n\n" LAST,
        HEAD "{{ '<image>\\n' }}" REST
             "  {%+ if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
        HEAD "{{ '<image>\\n' }}" REST LAST "</s>",
        HEAD "{{ '<image>\\n' }}" REST LAST "\n\n\n", /* two newlines at the end are taken away */
        HEAD "{{ '<image>\\n' }}" REST
             "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}",
        HEAD "{{ '<image>\\n' }}" REST
             "{% if not add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
        HEAD "{{ '<image>\\n' }}" REST "{{ bos_token }}" LAST,
        HEAD "{{ '<image>\\n' }}" REST "\1" LAST,
    };
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        if (recognised(other[i])) {
            fail_msg("taken: %s", other[i]);
        }
    }
}

/* The folder's format is this one? */
static void has_format(const char *folder, llava_chat wanted)
{
    llava_chat chat;
    llava_error e;
    if (!llava_chat_of(folder, &chat, &e)) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(chat, wanted);
}

static void every_known_template_is_told_from_the_others(void **state)
{
    (void)state;
    llava_bytes text;
    llava_chat chat, found;
    llava_error e;
    bool seen[LLAVA_CHAT_COUNT] = {false};
    for (size_t i = 0; llava_chat_template(i, &text, &chat, &e); i++) {
        assert_true(llava_chat_recognise("t", text.at, text.n, &found, &e));
        assert_int_equal(found, chat);
        seen[chat] = true;
        free(text.at);
    }
    free(text.at);
    for (size_t i = 0; i < LLAVA_CHAT_COUNT; i++) {
        assert_true(seen[i]);
    }
}

/* Templates of no model: read to their end, and not known. */
static void odd_templates_are_none_of_the_known_ones(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "",
        "a",
        "{{}}",
        "{{-}}",
        "{%%}",
        "{%-%}",
        "a{{- x -}}b",
        "{{a|}}",
        "{% if x +%} ",
        "{%+ if %}",
        "{{ 'a\\'b' }}",
        "\t{#",
        "{{ \"a\\\"b\" }}",
        "{{ 'a",
        "a\rb\r\n",
        "{{ 'a\\",
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        assert_false(recognised(odd[i]));
    }
}

static bool recognise(void *self, llava_error *e)
{
    llava_chat chat;
    return llava_chat_recognise("t", self, strlen(self), &chat, e);
}

static bool look(void *self, llava_error *e)
{
    llava_chat chat;
    return llava_chat_of(self, &chat, e);
}

static void memory_that_runs_out_makes_no_template_unknown(void **state)
{
    (void)state;
    static char text[] = LLAVA_1_5;
    assert_true(memory_runs_out(recognise, text) > 10);
    support_folder folder = support_folder_new();
    support_write_text(&folder, "chat_template.jinja", LLAVA_1_5);
    assert_true(memory_runs_out(look, folder.path) > 10);
    support_folder_remove(&folder);
    folder = support_folder_new();
    llava_chat chat;
    llava_error e;
    assert_int_equal(mkdir(support_path(&folder, "chat_template.jinja"), 0700), 0);
    assert_false(llava_chat_of(folder.path, &chat, &e));
    support_says(&e, "chat_template.jinja: not a regular file");
    support_folder_remove(&folder);
}

/* A JSON file whose chat_template is unknown is reported under the file's name. */
static void the_first_of_several_templates_counts(void **state)
{
    (void)state;
    const char *files[] = {"tokenizer_config.json", "chat_template.jinja", "chat_template.json",
                           "processor_config.json"};
    support_folder folder = support_folder_new();
    llava_chat chat;
    llava_error e;
    assert_false(llava_chat_of(folder.path, &chat, &e));
    support_says(&e, "there is no chat template");
    support_says(&e, "--prompt");
    for (size_t i = 0; i < 4; i++) { /* each wins over those before it */
        support_write_text(&folder, files[i], "{\"chat_template\":\"x\"}");
        assert_false(llava_chat_of(folder.path, &chat, &e));
        support_says(&e, files[i]);
        support_says(&e, "none of the known ones");
    }
    support_write_text(&folder, "processor_config.json", "{");
    assert_false(llava_chat_of(folder.path, &chat, &e));
    support_says(&e, "/processor_config.json: a string is missing");
    support_write_text(&folder, "processor_config.json", "{\"chat_template\":null}");
    assert_false(llava_chat_of(folder.path, &chat, &e));
    support_says(&e, "chat_template.json");
    support_write_text(&folder, "processor_config.json",
                       "{\"chat_template\":{\"other\":\"x\",\"default\":\"" HEAD
                       "{{ '<image>\\\\n' }}" REST LAST "\"}}");
    has_format(folder.path, LLAVA_CHAT_LLAVA_1_5);
    support_write_text(&folder, "processor_config.json",
                       "{\"chat_template\":[{\"name\":\"default\",\"template\":\"" HEAD
                       "{{ '<image>\\\\n' }}" REST LAST "\"}]}");
    has_format(folder.path, LLAVA_CHAT_LLAVA_1_5);
    static const char *const others[] = {"7", "[{\"name\":\"other\",\"template\":\"x\"}]",
                                         "[{\"template\":\"x\"}]"};
    for (size_t i = 0; i < 3; i++) {
        char text[100];
        snprintf(text, sizeof text, "{\"chat_template\":%s}", others[i]);
        support_write_text(&folder, "processor_config.json", text);
        assert_false(llava_chat_of(folder.path, &chat, &e));
        support_says(&e, "none of the known ones");
    }
    support_folder_remove(&folder);
}

/* ---- What they print ---- */

static void a_turn_has_its_pictures_first(void **state)
{
    (void)state;
    static const struct {
        llava_chat chat;
        const char *wanted;
    } rows[] = {
        {LLAVA_CHAT_LLAVA_1_5, "USER: <image>\n<image>\nWhat? ASSISTANT:"},
        {LLAVA_CHAT_LLAVA_1_5_OLD, "USER: <image>\n<image>\nWhat? ASSISTANT:"},
        {LLAVA_CHAT_TINYLLAVA, "USER: <image>\n<image>\nWhat?\nASSISTANT:"},
        {LLAVA_CHAT_BAKLLAVA, "<image>\n<image>\nUSER: What?\nASSISTANT:"},
        {LLAVA_CHAT_INTERLEAVE,
         "<|im_start|>user\n<image><image>\nWhat?<|im_end|>\n<|im_start|>assistant\n"},
        {LLAVA_CHAT_INTERLEAVE_DOCS,
         "<|im_start|>user <image><image>\nWhat?<|im_end|><|im_start|>assistant\n"},
        {LLAVA_CHAT_CHATML,
         "<|im_start|>user\n<image>\n<image>\nWhat?<|im_end|>\n<|im_start|>assistant\n"},
        {LLAVA_CHAT_CHATML_TIGHT,
         "<|im_start|>user\n<image>\n<image>\nWhat?<|im_end|><|im_start|>assistant\n"},
        {LLAVA_CHAT_PIXTRAL, "<s>[INST][IMG][IMG]What?[/INST]"},
        {LLAVA_CHAT_PIXTRAL_OLD, "<s>[INST][IMG][IMG]What?[/INST]"},
        {LLAVA_CHAT_CHATML_TEXT,
         "<|im_start|>user\n<image>\n<image>\nWhat?<|im_end|>\n<|im_start|>assistant\n"},
        {LLAVA_CHAT_QWEN,
         "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\n"
         "<image>\nWhat?<|im_end|>\n<|im_start|>assistant\n"},
        {LLAVA_CHAT_LLAMA_3,
         "<s><|start_header_id|>user<|end_header_id|>\n\n<image>\n<image>\nWhat?<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n"},
        {LLAVA_CHAT_LLAMA_3_OPEN,
         "<s><|start_header_id|>user<|end_header_id|>\n\n<image>\n<image>\nWhat?<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n"},
        {LLAVA_CHAT_LLAMA_3_1,
         "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
         "Today Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
         "<image>\n<image>\nWhat?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
        {LLAVA_CHAT_JOYCAPTION,
         "<|start_header_id|>system<|end_header_id|><|eot_id|><|start_header_id|>user"
         "<|end_header_id|>\n\n<|reserved_special_token_70|><|reserved_special_token_69|>"
         "<|reserved_special_token_71|>What?<|eot_id|><|start_header_id|>assistant"
         "<|end_header_id|>\n\n"},
    };
    assert_int_equal(sizeof rows / sizeof rows[0], LLAVA_CHAT_COUNT);
    for (size_t i = 0; i < LLAVA_CHAT_COUNT; i++) {
        char *prompt;
        llava_error e;
        assert_true(llava_chat_render_turn(rows[i].chat, "What?", 2, "<s>", &prompt, &e));
        assert_string_equal(prompt, rows[i].wanted);
        free(prompt);
    }
}

static bool render(const llava_messages *m, llava_chat chat, const char *bos, const char *eos,
                   char **prompt, llava_error *warning, llava_error *e)
{
    const llava_conversation c = {m->messages, m->count, m->generation, bos, eos};
    return llava_chat_render(chat, &c, prompt, warning, e);
}

static const char *word_of(const cJSON *item, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, key));
}

/* tests/data/chat/renderings.json: conversations as files have them, what Jinja made of them
 * (null: an exception), for every format. */
static void prompts_are_jinjas(void **state)
{
    (void)state;
    llava_error e, warning;
    cJSON *cases = llava_json_read("tests/data/chat/renderings.json", &e);
    if (cases == NULL) {
        fail_msg("%s", e.text);
    }
    support_folder folder = support_folder_new();
    size_t total = 0, raised = 0;
    bool seen[LLAVA_CHAT_COUNT] = {false};
    for (const cJSON *item = cases->child; item != NULL; item = item->next, total++) {
        int64_t chat = -1;
        assert_true(llava_json_int("renderings.json", item, "format", &chat, &e));
        char *text = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(item, "file"));
        support_write_text(&folder, "messages.json", text);
        llava_messages m;
        if (!llava_messages_read(&m, support_path(&folder, "messages.json"), &e)) {
            fail_msg("%s", e.text);
        }
        const char *wanted = word_of(item, "prompt");
        char *prompt;
        bool good = render(&m, (llava_chat)chat, word_of(item, "bos"), word_of(item, "eos"),
                           &prompt, &warning, &e);
        if (good != (wanted != NULL) || (good && strcmp(prompt, wanted) != 0)) {
            fail_msg("format %d, %s: %s", (int)chat, text, good ? prompt : e.text);
        }
        raised += !good;
        seen[chat] = true;
        free(prompt);
        cJSON_free(text);
        llava_messages_free(&m);
    }
    for (size_t i = 0; i < LLAVA_CHAT_COUNT; i++) {
        assert_true(seen[i]);
    }
    assert_true(total > 150);
    assert_true(raised > 10);
    support_folder_remove(&folder);
    cJSON_Delete(cases);
}

/* ---- Messages ---- */

/* Reads a file of this text. */
static bool read_text(const char *text, llava_messages *m, llava_error *e)
{
    support_folder folder = support_folder_new();
    support_write_text(&folder, "messages.json", text);
    bool good = llava_messages_read(m, support_path(&folder, "messages.json"), e);
    support_folder_remove(&folder);
    return good;
}

#define USER(content) "[{\"role\":\"user\",\"content\":" content "}]"

static void pictures_of_messages_are_found_beside_the_file(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    support_write_text(
        &folder, "messages.json",
        "{\"messages\":" USER(
            "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image\",\"path\":\"b/c.png\"},{"
            "\"type\":\"image\"},{\"type\":\"image\",\"image\":\"/d.png\"}]") ","
                                                                              "\"add_generation_"
                                                                              "prompt\":false,"
                                                                              "\"other\":[]}");
    llava_messages m;
    llava_error e;
    assert_true(llava_messages_read(&m, support_path(&folder, "messages.json"), &e));
    assert_int_equal(m.count, 1);
    assert_int_equal(m.messages[0].count, 4);
    assert_int_equal(m.image_count, 3);
    assert_string_equal(m.images[0], support_path(&folder, "b/c.png"));
    assert_null(m.images[1]);
    assert_string_equal(m.images[2], "/d.png");
    assert_false(m.generation);
    llava_messages_free(&m);
    support_folder_remove(&folder);
}

static bool read_messages(void *self, llava_error *e)
{
    llava_messages m;
    bool ok = llava_messages_read(&m, self, e);
    llava_messages_free(&m);
    return ok;
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    support_folder folder = support_folder_new();
    char path[512];
    support_write_text(
        &folder, "messages.json",
        USER("[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image\",\"path\":\"b.png\"}]"));
    snprintf(path, sizeof path, "%s", support_path(&folder, "messages.json"));
    assert_true(memory_runs_out(read_messages, path) > 10);
    support_folder_remove(&folder);
}

static void messages_that_are_not_understood_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"[]", "there are no messages"},
        {"7", "neither a list of messages nor an object with one"},
        {"{\"message\":[]}", "messages is missing"},
        {"{\"messages\":{}}", "messages"},
        {"{\"messages\":[],\"tools\":[1]}", "tools is not supported"},
        {"{\"messages\":[],\"continue_final_message\":true}", "continue_final_message"},
        {"{\"messages\":[],\"add_generation_prompt\":1}", "add_generation_prompt"},
        {"[7]", "messages[0]: not an object"},
        {"[{\"content\":\"a\"}]", "messages[0]: its role is none of"},
        {"[{\"role\":\"tool\",\"content\":\"a\"}]", "its role is none of system, user, assistant"},
        {"[{\"role\":\"user\",\"content\":\"a\"},{\"role\":7,\"content\":\"a\"}]", "role"},
        {"[{\"role\":\"user\"}]", "messages[0]: its content is neither a text nor a list"},
        {USER("null"), "neither a text nor a list"},
        {USER("{\"type\":\"text\"}"), "neither a text nor a list"},
        {"[{\"role\":\"user\",\"content\":\"a\",\"tool_calls\":[{}]}]", "tool_calls"},
        {USER("[\"a\"]"), "messages[0].content[0]: not an object"},
        {USER("[{\"text\":\"a\"}]"), "its type is neither text nor image"},
        {USER("[{\"type\":\"video\"}]"), "its type is neither text nor image"},
        {USER("[{\"type\":\"image_url\",\"image_url\":{}}]"), "neither text nor image"},
        {USER("[{\"type\":\"text\"}]"), "a text item without text"},
        {USER("[{\"type\":\"text\",\"text\":7}]"), "text: must be a string"},
        {USER("[{\"type\":\"text\",\"content\":7}]"), "content: must be a string"},
        {USER("[{\"type\":7}]"), "type: must be a string"},
        {USER("[{\"type\":\"image\",\"path\":7}]"), "path: must be a string"},
        {USER("[{\"type\":\"image\",\"url\":\"https://x/y.png\"}]"), "nothing is fetched"},
        {USER("[{\"type\":\"image\",\"base64\":\"eA==\"}]"), "nothing is fetched or decoded"},
        {USER("[{\"type\":\"image\",\"image\":\"https://x/y.png\"}]"), "nothing is fetched"},
        {USER("[{\"type\":\"image\",\"path\":\"data:image/png\"}]"), "nothing is fetched"},
        {USER("[{\"type\":\"image\",\"path\":\"\"}]"), "an empty path"},
        {USER("[{\"type\":\"image\",\"path\":\"a\",\"image\":\"a\"}]"), "both path and image"},
        {USER("\"a\"") " ", ""},
        {USER("\"a\"") "]", "messages.json"},
        {"[{\"role\":\"user\",\"role\":\"user\",\"content\":\"a\"}]", "role"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_messages m;
        llava_error e;
        bool good = read_text(rows[i].text, &m, &e);
        if (good != (rows[i].says[0] == '\0')) {
            fail_msg("%s: %s", rows[i].text, good ? "taken" : e.text);
        }
        if (good) {
            llava_messages_free(&m);
        } else {
            support_says(&e, rows[i].says);
        }
    }
}

/* Two conversations of which a template makes the same. */
static void what_a_template_leaves_out_makes_no_difference(void **state)
{
    (void)state;
#define JOY "<|reserved_special_token_69|>"
    static const struct {
        const char *one, *other, *eos;
        llava_chat chat;
    } rows[] = {
        {USER("\" " JOY " \\n" JOY " a " JOY "b\""), USER("\"a b\""), NULL, LLAVA_CHAT_JOYCAPTION},
        {USER("\"" JOY "\""), USER("\"\""), NULL, LLAVA_CHAT_JOYCAPTION},
        {"[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]",
         "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]", "",
         LLAVA_CHAT_PIXTRAL}, /* no eos_token and an empty one */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_messages one, other;
        llava_error e, warning;
        char *a, *b;
        assert_true(read_text(rows[i].one, &one, &e) && read_text(rows[i].other, &other, &e));
        assert_true(render(&one, rows[i].chat, "<s>", NULL, &a, &warning, &e));
        assert_true(render(&other, rows[i].chat, "<s>", rows[i].eos, &b, &warning, &e));
        assert_string_equal(a, b);
        free(a);
        free(b);
        llava_messages_free(&one);
        llava_messages_free(&other);
    }
}

static void what_a_template_cannot_print_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        llava_chat chat;
        const char *says, *warns; /* NULL: not refused */
    } rows[] = {
        {USER("\"Hi\""), LLAVA_CHAT_LLAVA_1_5, NULL, "prints nothing of a content that is a text"},
        {USER("[{\"type\":\"text\",\"text\":\"Hi\"}]"), LLAVA_CHAT_PIXTRAL_OLD, NULL,
         "prints nothing of an item without"},
        {USER("[{\"type\":\"text\",\"text\":\"Hi\"}]"), LLAVA_CHAT_LLAMA_3,
         "wants content as a text, with <image>", ""},
        {USER("[{\"type\":\"text\",\"content\":\"Hi\"}]"), LLAVA_CHAT_LLAVA_1_5,
         "messages[0].content[0]: the chat template needs its text", ""},
        {"[{\"role\":\"assistant\",\"content\":\"a\"}]", LLAVA_CHAT_PIXTRAL,
         "messages[0]: after the optional system message, roles must alternate", ""},
        {"[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"b\"}]",
         LLAVA_CHAT_PIXTRAL, "messages[1]: a system message may only be the first", ""},
        {USER("\"Hi\""), LLAVA_CHAT_LLAMA_3, "needs a bos_token", ""},
        {"[{\"role\":\"system\",\"content\":[]}]", LLAVA_CHAT_LLAVA_1_5_OLD,
         "messages[0]: the chat template needs a first item of content", ""},
        {"[{\"role\":\"system\",\"content\":\"\"}]", LLAVA_CHAT_LLAVA_1_5_OLD,
         "messages[0]: the chat template needs a first item of content", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llava_messages m;
        llava_error e, warning;
        char *prompt;
        assert_true(read_text(rows[i].text, &m, &e));
        bool good = render(&m, rows[i].chat, NULL, NULL, &prompt, &warning, &e);
        assert_true(good == (rows[i].says == NULL));
        if (good) {
            support_says(&warning, rows[i].warns);
        } else {
            support_says(&e, rows[i].says);
        }
        free(prompt);
        llava_messages_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(white_space_that_does_not_show_is_no_difference),
        cmocka_unit_test(what_would_render_differently_is_not_recognised),
        cmocka_unit_test(every_known_template_is_told_from_the_others),
        cmocka_unit_test(odd_templates_are_none_of_the_known_ones),
        cmocka_unit_test(memory_that_runs_out_makes_no_template_unknown),
        cmocka_unit_test(the_first_of_several_templates_counts),
        cmocka_unit_test(a_turn_has_its_pictures_first),
        cmocka_unit_test(prompts_are_jinjas),
        cmocka_unit_test(pictures_of_messages_are_found_beside_the_file),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(messages_that_are_not_understood_are_refused),
        cmocka_unit_test(what_a_template_leaves_out_makes_no_difference),
        cmocka_unit_test(what_a_template_cannot_print_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
