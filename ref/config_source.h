/* A configuration file being read, and the few kinds of values that its keys have. */
#ifndef LLAVA_CONFIG_SOURCE_H
#define LLAVA_CONFIG_SOURCE_H

#include "config.h"
#include "json.h"

/* Above every real size, and small enough that a product of two fits 64 bits. */
#define LLAVA_MAX_SIZE 2147483647u

typedef struct {
    const char *path;
    const cJSON *root;
    llava_error *e;
} llava_source;

/* All of these leave *value, the default, as it is where the key is absent or null, and refuse what
 * they can't take with "path: key: what". A dot in a key descends, as in json.h. */

bool llava_refuse(const llava_source *s, const char *key, const char *what);
/* 1 .. most */
bool llava_read_size(const llava_source *s, const char *key, size_t most, size_t *value);
bool llava_read_positive(const llava_source *s, const char *key, double *value);
bool llava_read_bool(const llava_source *s, const char *key, bool *value);
bool llava_read_act(const llava_source *s, const char *key, llava_act *act);
/* One word of a list that ends with NULL; *index holds the default's. */
bool llava_read_word(const llava_source *s, const char *key, const char *const *words,
                     size_t *index);
/* Is the key there, and null? */
bool llava_is_null(const llava_source *s, const char *key);

/* llava_config_read of an object that stands for the contents of `path`. */
bool llava_config_of(llava_config *config, const char *path, const cJSON *object,
                     const char *folder, llava_error *e);

/* Refuses keys that would change the result and are not supported, and lists those that nobody
 * knows in c->unknown_keys (config_keys.c has the table of keys); the families are read before. */
bool llava_check_keys(const llava_source *s, llava_config *c);

/* vision_config (vision_config.c). */
bool llava_read_vision(const llava_source *s, llava_vision_config *v);

/* "rope_scaling" where PART (text_config, vision_config) has one that is not empty, which hides
 * rope_parameters altogether; else "rope_parameters". */
bool llava_rope_object(const llava_source *s, const char *part, const char **object);

/* text_config (text_config.c), and in it the rotary embedding, whose head width and
 * max_position_embeddings are read before (rope_config.c). */
bool llava_read_text(const llava_source *s, llava_text_config *t);
bool llava_read_rope(const llava_source *s, llava_text_config *t);

#endif
