/* SHA-256 (FIPS 180-4). */
#ifndef LLAVA_SHA256_H
#define LLAVA_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define LLAVA_SHA256_SIZE 32
#define LLAVA_SHA256_TEXT 65

typedef struct {
    uint32_t state[8];
    uint64_t length; /* bytes taken so far */
    uint8_t block[64];
} llava_sha256;

void llava_sha256_start(llava_sha256 *sha);
void llava_sha256_add(llava_sha256 *sha, const void *bytes, size_t n);
void llava_sha256_end(llava_sha256 *sha, uint8_t digest[LLAVA_SHA256_SIZE]);
/* The end as 64 lower-case hexadecimal digits and a NUL. */
void llava_sha256_end_text(llava_sha256 *sha, char text[LLAVA_SHA256_TEXT]);

#endif
