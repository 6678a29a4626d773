/* Lines for people: names from hostile files can't move the cursor, break a line or colour it. */
#ifndef LLAVA_WORDS_H
#define LLAVA_WORDS_H

#include "ref/config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Bytes of the UTF-8 character at text and its code point; 0 where it is none. */
size_t llava_character(const char *text, uint32_t *code);
/* Does a terminal act on this character (controls, line and direction marks) instead of showing
 * it? All of them are below 0x10000. */
bool llava_character_acts(uint32_t code);

/* Writes text with every control character (C0, DEL, C1), every byte that is not UTF-8 and every
 * Unicode line or direction control shown as \xHH. */
void llava_print_escaped(FILE *to, const char *text);

/* A model's own text: byte for byte, but on a terminal, where what would act on it is shown as
 * above, line feeds and tabs excepted. */
void llava_print_text(FILE *to, const char *text, size_t n);

/* "llava-ref: TEXT" or "llava-ref: warning: TEXT" on stderr, one line. */
void llava_complain(const char *text);
void llava_warn(const char *text);
/* Warns of the configuration's keys that nobody knows, if there are any. folder: the model's. */
void llava_warn_unknown_keys(const llava_config *config, const char *folder);

/* "[1,608,4096]", cut to fit; returns text. */
const char *llava_shape_text(char *text, size_t size, int rank, const size_t *shape);

#endif
