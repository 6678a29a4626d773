/* A conversation in a JSON file, in the usual role/content form:
 *
 *   [{"role": "system", "content": "Be brief."},
 *    {"role": "user", "content": [{"type": "image", "path": "cat.png"}, {"type": "image"},
 *                                 {"type": "text", "text": "What is different?"}]}]
 *
 * or {"messages": [...], "add_generation_prompt": false}. A picture's path is taken from the file's
 * folder on; an item without one stands for a picture that is given elsewhere. */
#ifndef LLAVA_MESSAGES_H
#define LLAVA_MESSAGES_H

#include "chat.h"
#include "json.h"

typedef struct {
    llava_chat_message *messages; /* [count] */
    size_t count;
    bool generation; /* add_generation_prompt; true where it isn't said */
    char **images;   /* [image_count]: of every image item in turn, its path or NULL */
    size_t image_count;
    cJSON *root;            /* the texts are its */
    llava_chat_item *items; /* of all messages */
} llava_messages;

/* Refused: roles other than system, user and assistant, content that is neither a text nor a list,
 * items of other types than text and image, pictures by address (url, base64, http: and the like),
 * tool calls, no message at all; whatever strict JSON refuses. Other keys are ignored. */
bool llava_messages_read(llava_messages *m, const char *path, llava_error *e);
void llava_messages_free(llava_messages *m);

#endif
