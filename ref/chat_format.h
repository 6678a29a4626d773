/* The formats of messages of typed items, which differ only in what stands where: used by the texts
 * of their templates (chat_templates.c) and by what these print (chat_render.c). */
#ifndef LLAVA_CHAT_FORMAT_H
#define LLAVA_CHAT_FORMAT_H

#include "chat.h"

typedef enum {
    LLAVA_HEAD_ROLE,        /* "USER: ", nothing for system */
    LLAVA_HEAD_SYSTEM_TEXT, /* the same, but system's first text */
    LLAVA_HEAD_IM,          /* "<|im_start|>user" and `role_end` */
} llava_chat_head;

typedef struct {
    llava_chat_head head;
    const char *role_end;
    const char *image;          /* for each picture, before all texts */
    const char *before, *after; /* each text */
    const char *end;            /* of a message */
    const char *answer;         /* the place of the answer */
    bool images_before_head;
} llava_chat_format;

/* NULL for formats of another kind. */
const llava_chat_format *llava_chat_format_of(llava_chat chat);

#endif
