/* The known chat templates: the texts that model folders hold, as far as they are needed to tell
 * one from another: comments left out, white space as it is easiest to read. */
#include "chat_format.h"

#include <string.h>

/* ---- Messages of typed items, pictures first ---- */

#define ANSWER_IM "<|im_start|>assistant\n"

/* Sources: LLAVA_1_5, the chat_template.json of llava-hf/llava-1.5-7b-hf (also in the tests of
 * transformers); LLAVA_1_5_OLD, llava-1.5-13b-hf's at one revision; INTERLEAVE,
 * llava-interleave-qwen-*-hf's; INTERLEAVE_DOCS, the form in transformers' documentation, which the
 * onevision folders have; CHATML, the script that converted onevision; CHATML_TIGHT, the prompt of
 * llava-v1.6-34b in transformers' tests; TINYLLAVA and BAKLLAVA, the prompts in these models' own
 * documentation: the text of their templates was not found. */
static const llava_chat_format formats[] = {
    [LLAVA_CHAT_LLAVA_1_5] = {.head = LLAVA_HEAD_ROLE,
                              .image = "<image>\n",
                              .before = "",
                              .after = " ",
                              .end = "",
                              .answer = "ASSISTANT:"},
    [LLAVA_CHAT_LLAVA_1_5_OLD] = {.head = LLAVA_HEAD_SYSTEM_TEXT,
                                  .image = "<image>\n",
                                  .before = "",
                                  .after = " ",
                                  .end = "",
                                  .answer = "ASSISTANT:"},
    [LLAVA_CHAT_TINYLLAVA] = {.head = LLAVA_HEAD_ROLE,
                              .image = "<image>\n",
                              .before = "",
                              .after = "\n",
                              .end = "",
                              .answer = "ASSISTANT:"},
    [LLAVA_CHAT_BAKLLAVA] = {.head = LLAVA_HEAD_ROLE,
                             .image = "<image>\n",
                             .before = "",
                             .after = "\n",
                             .end = "",
                             .answer = "ASSISTANT:",
                             .images_before_head = true},
    [LLAVA_CHAT_INTERLEAVE] = {.head = LLAVA_HEAD_IM,
                               .role_end = "\n",
                               .image = "<image>",
                               .before = "\n",
                               .after = "",
                               .end = "<|im_end|>\n",
                               .answer = ANSWER_IM},
    [LLAVA_CHAT_INTERLEAVE_DOCS] = {.head = LLAVA_HEAD_IM,
                                    .role_end = " ",
                                    .image = "<image>",
                                    .before = "\n",
                                    .after = "",
                                    .end = "<|im_end|>",
                                    .answer = ANSWER_IM},
    [LLAVA_CHAT_CHATML] = {.head = LLAVA_HEAD_IM,
                           .role_end = "\n",
                           .image = "<image>\n",
                           .before = "",
                           .after = "",
                           .end = "<|im_end|>\n",
                           .answer = ANSWER_IM},
    [LLAVA_CHAT_CHATML_TIGHT] = {.head = LLAVA_HEAD_IM,
                                 .role_end = "\n",
                                 .image = "<image>\n",
                                 .before = "",
                                 .after = "",
                                 .end = "<|im_end|>",
                                 .answer = ANSWER_IM},
};

enum { FORMATS = sizeof formats / sizeof formats[0] };

const llava_chat_format *llava_chat_format_of(llava_chat chat)
{
    return (size_t)chat < FORMATS ? &formats[chat] : NULL;
}

/* The spellings in which such a template is found. */
typedef struct {
    size_t texts; /* 0: answers apart, marked with generation tags; 1: apart, not marked; 2: all
                     alike */
    bool video;   /* it could print videos, too */
    bool joined;  /* the line end belongs to the string before it */
} spelling;

typedef struct {
    llava_bytes out;
    bool good;
    llava_error *e;
} builder;

static void put(builder *b, const char *text)
{
    b->good = b->good && llava_bytes_put(&b->out, text, strlen(text), SIZE_MAX / 4, b->e);
}

/* A string of Jinja's; its last line end apart, where it is spelled so. */
static void put_string(builder *b, const char *text, bool joined)
{
    size_t n = strlen(text);
    put(b, "'");
    for (size_t i = 0; i < n; i++) {
        const char one[] = {text[i], '\0'};
        if (text[i] == '\n' && !joined && i + 1 == n && i > 0) {
            put(b, "' + '");
        }
        put(b, text[i] == '\n' ? "\\n" : one);
    }
    put(b, "'");
}

static void put_loop(builder *b, const char *type)
{
    put(b, "{% for content in message['content'] | selectattr('type', 'equalto', '");
    put(b, type);
    put(b, "') %}");
}

/* Every picture, or video, of a message. */
static void put_media(builder *b, const char *type, const char *mark)
{
    put_loop(b, type);
    put(b, "{{ '<");
    put(b, type);
    put(b, strchr(mark, '\n') == NULL ? ">' }}" : ">\\n' }}");
    put(b, "{% endfor %}");
}

/* Every text of a message. */
static void put_texts(builder *b, const llava_chat_format *f, bool marked)
{
    put_loop(b, "text");
    put(b, marked ? "{% generation %}{{ " : "{{ ");
    if (f->before[0] != '\0') {
        put_string(b, f->before, true);
        put(b, " + ");
    }
    put(b, "content['text']");
    if (f->after[0] != '\0') {
        put(b, " + ");
        put_string(b, f->after, true);
    }
    put(b, marked ? " }}{% endgeneration %}{% endfor %}" : " }}{% endfor %}");
}

static void put_head(builder *b, const llava_chat_format *f)
{
    static const char role[] = "{{ message['role'].upper() + ': ' }}{% endif %}";
    switch (f->head) {
    case LLAVA_HEAD_ROLE:
        put(b, "{% if message['role'] != 'system' %}");
        put(b, role);
        break;
    case LLAVA_HEAD_SYSTEM_TEXT:
        put(b, "{% if message['role'] == 'system' %}{{ message['content'][0]['text'] }}{% else %}");
        put(b, role);
        break;
    case LLAVA_HEAD_IM:
        put(b, "{{ '<|im_start|>' + message['role'] + ");
        put_string(b, f->role_end, true);
        put(b, " }}");
        break;
    }
}

static void build(builder *b, const llava_chat_format *f, spelling s)
{
    put(b, "{% for message in messages %}");
    if (!f->images_before_head) {
        put_head(b, f);
    }
    put_media(b, "image", f->image);
    if (s.video) {
        put_media(b, "video", f->image);
    }
    if (f->images_before_head) {
        put_head(b, f);
    }
    if (s.texts < 2) {
        put(b, "{% if message['role'] != 'assistant' %}");
    }
    put_texts(b, f, false);
    if (s.texts < 2) {
        put(b, "{% else %}");
        put_texts(b, f, s.texts == 0);
        put(b, "{% endif %}");
    }
    if (f->end[0] != '\0') {
        put(b, "{{ ");
        put_string(b, f->end, s.joined);
        put(b, " }}");
    }
    put(b, "{% endfor %}{% if add_generation_prompt %}{{ ");
    put_string(b, f->answer, true);
    put(b, " }}{% endif %}");
}

enum { SPELLINGS = 3 * 2 * 2 };

/* ---- The others ---- */

#define RAISE_ALTERNATE                                                                            \
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('After "   \
    "the optional system message, conversation roles must alternate "                              \
    "user/assistant/user/assistant/...') }}{%- endif %}"
#define RAISE_ROLE                                                                                 \
    "{{- raise_exception('Only user and assistant roles are supported, with the exception of an "  \
    "initial optional system message!') }}"
#define RAISE_TYPE "{{- raise_exception('Unrecognized content type!') }}"
#define SYSTEM_APART                                                                               \
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"  \
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}"        \
    "{%- endif %}{{- bos_token }}{%- for message in loop_messages %}" RAISE_ALTERNATE

/* mistral-community/pixtral-12b, as the script that converts Mistral 3 repeats it. */
static const char pixtral[] = SYSTEM_APART
    "{%- if message['role'] == 'user' %}{%- if loop.last and system_message is defined %}"
    "{{- '[INST]' + system_message + '\\n\\n' }}{%- else %}{{ '[INST]' }}{%- endif %}{%- endif %}"
    "{%- if message['content'] is not string %}{%- for chunk in message['content'] %}"
    "{%- if chunk['type'] == 'text' %}{%- if 'content' in chunk %}{{- chunk['content'] }}"
    "{%- elif 'text' in chunk %}{{- chunk['text'] }}{%- endif %}"
    "{%- elif chunk['type'] == 'image' %}{{- '[IMG]' }}{%- else %}" RAISE_TYPE "{%- endif %}"
    "{%- endfor %}{%- else %}{{- message['content'] }}{%- endif %}"
    "{%- if message['role'] == 'user' %}{{- '[/INST]' }}{%- elif message['role'] == 'assistant' %}"
    "{{- eos_token }}{%- else %}" RAISE_ROLE "{%- endif %}{%- endfor %}";

/* Pixtral's first one, as vLLM's tests had it. */
static const char pixtral_old[] = SYSTEM_APART
    "{%- if message['role'] == 'user' %}{%- if loop.last and system_message is defined %}"
    "{{- '[INST]' + system_message + '\\n\\n' }}{%- else %}{{- '[INST]' }}{%- endif %}"
    "{%- if message['content'] is not string %}{%- for chunk in message['content'] %}"
    "{%- if chunk['type'] == 'text' %}{{- chunk['content'] }}"
    "{%- elif chunk['type'] == 'image' %}{{- '[IMG]' }}{%- else %}" RAISE_TYPE "{%- endif %}"
    "{%- endfor %}{%- else %}{{- message['content'] }}{%- endif %}{{- '[/INST]' }}"
    "{%- elif message['role'] == 'assistant' %}{{- message['content'] + eos_token}}"
    "{%- else %}" RAISE_ROLE "{%- endif %}{%- endfor %}";

#define IM_TURN                                                                                    \
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
#define IM_ANSWER "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

/* tokenizer_config.json of many ChatML models. */
static const char chatml_text[] = "{% for message in messages %}" IM_TURN "{% endfor %}" IM_ANSWER;

/* tokenizer_config.json of Qwen1.5 and Qwen2, from which the interleave folders are made. */
static const char qwen[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}" IM_TURN
    "{% endfor %}" IM_ANSWER;

#define LLAMA_TURNS                                                                                \
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "        \
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | "   \
    "trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"       \
    "{% endif %}{{ content }}{% endfor %}"
#define LLAMA_ANSWER "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"

/* tokenizer_config.json of Meta-Llama-3-8B-Instruct, from which xtuner's folder is made; at first
 * without the condition. */
static const char llama_3[] =
    LLAMA_TURNS "{% if add_generation_prompt %}" LLAMA_ANSWER "{% endif %}";
static const char llama_3_open[] = LLAMA_TURNS LLAMA_ANSWER;

#define TOOL_FORM                                                                                  \
    "{{- 'Respond in the format {\"name\": function name, \"parameters\": dictionary of argument " \
    "name and its value}.' }}{{- 'Do not use variables.\\n\\n' }}{%- for t in tools %}"            \
    "{{- t | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}"

/* tokenizer_config.json of Llama-3.1-8B-Instruct, from which JoyCaption is made. */
static const char llama_3_1[] =
    "{{- bos_token }}{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}"
    "{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}"
    "{%- endif %}{%- if not date_string is defined %}{%- set date_string = '26 Jul 2024' %}"
    "{%- endif %}{%- if not tools is defined %}{%- set tools = none %}{%- endif %}"
    "{%- if messages[0]['role'] == 'system' %}"
    "{%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}"
    "{%- else %}{%- set system_message = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}"
    "{%- if builtin_tools is defined or tools is not none %}{{- 'Environment: ipython\\n' }}"
    "{%- endif %}{%- if builtin_tools is defined %}{{- 'Tools: ' + builtin_tools | "
    "reject('equalto', 'code_interpreter') | join(', ') + '\\n\\n'}}{%- endif %}"
    "{{- 'Cutting Knowledge Date: December 2023\\n' }}"
    "{{- 'Today Date: ' + date_string + '\\n\\n' }}"
    "{%- if tools is not none and not tools_in_user_message %}"
    "{{- 'You have access to the following functions. To call a function, please respond with JSON "
    "for a function call.' }}" TOOL_FORM "{%- endif %}{{- system_message }}{{- '<|eot_id|>' }}"
    "{%- if tools_in_user_message and not tools is none %}{%- if messages | length != 0 %}"
    "{%- set first_user_message = messages[0]['content']|trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{{- raise_exception(\"Cannot put tools in the "
    "first user message when there's no first user message!\") }}{%- endif %}"
    "{{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}"
    "{{- 'Given the following functions, please respond with a JSON for a function call ' }}"
    "{{- 'with its proper arguments that best answers the given prompt.\\n\\n' }}" TOOL_FORM
    "{{- first_user_message + '<|eot_id|>'}}{%- endif %}{%- for message in messages %}"
    "{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | "
    "trim + '<|eot_id|>' }}{%- elif 'tool_calls' in message %}"
    "{%- if not message.tool_calls|length == 1 %}{{- raise_exception('This model only supports "
    "single tool-calls at once!') }}{%- endif %}"
    "{%- set tool_call = message.tool_calls[0].function %}"
    "{%- if builtin_tools is defined and tool_call.name in builtin_tools %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}"
    "{{- '<|python_tag|>' + tool_call.name + '.call(' }}"
    "{%- for arg_name, arg_val in tool_call.arguments | items %}"
    "{{- arg_name + '=\"' + arg_val + '\"' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}"
    "{%- endfor %}{{- ')' }}{%- else  %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}"
    "{{- '{\"name\": \"' + tool_call.name + '\", ' }}{{- '\"parameters\": ' }}"
    "{{- tool_call.arguments | tojson }}{{- '}' }}{%- endif %}"
    "{%- if builtin_tools is defined %}{{- '<|eom_id|>' }}{%- else %}{{- '<|eot_id|>' }}"
    "{%- endif %}{%- elif message.role == 'tool' or message.role == 'ipython' %}"
    "{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}"
    "{%- if message.content is mapping or message.content is iterable %}"
    "{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}"
    "{{- '<|eot_id|>' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}";

/* fancyfeast/llama-joycaption-beta-one-hf-llava, as found in copies. */
static const char joycaption[] =
    "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system_message = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>' }}{{- system_message }}{{- '<|eot_id|>' }}"
    "{%- set first_user_message = True %}{%- for message in messages %}"
    "{%- if first_user_message and message['role'] == 'user' %}"
    "{%- set first_user_message = False %}{{- '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n<|reserved_special_token_70|><|reserved_special_token_69|>"
    "<|reserved_special_token_71|>'+ message['content'].replace('<|reserved_special_token_69|>', "
    "'').lstrip() + '<|eot_id|>' }}{%- else %}{{- '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n'+ message['content'] + '<|eot_id|>' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{%- endif %}";

static const struct {
    const char *text;
    llava_chat chat;
} others[] = {
    {pixtral, LLAVA_CHAT_PIXTRAL},         {pixtral_old, LLAVA_CHAT_PIXTRAL_OLD},
    {chatml_text, LLAVA_CHAT_CHATML_TEXT}, {qwen, LLAVA_CHAT_QWEN},
    {llama_3, LLAVA_CHAT_LLAMA_3},         {llama_3_open, LLAVA_CHAT_LLAMA_3_OPEN},
    {llama_3_1, LLAVA_CHAT_LLAMA_3_1},     {joycaption, LLAVA_CHAT_JOYCAPTION},
};

bool llava_chat_template(size_t i, llava_bytes *text, llava_chat *chat, llava_error *e)
{
    builder b = {.good = true, .e = e};
    if (i < (size_t)FORMATS * SPELLINGS) {
        size_t s = i % SPELLINGS;
        *chat = (llava_chat)(i / SPELLINGS);
        build(&b, &formats[*chat], (spelling){s / 4, s / 2 % 2 == 1, s % 2 == 1});
    } else if (i - (size_t)FORMATS * SPELLINGS < sizeof others / sizeof others[0]) {
        *chat = others[i - (size_t)FORMATS * SPELLINGS].chat;
        put(&b, others[i - (size_t)FORMATS * SPELLINGS].text);
    } else {
        llava_fail(e, "there is no further known template");
        b.good = false;
    }
    *text = b.out;
    return b.good;
}
