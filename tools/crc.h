/* The CRC-32 of zip archives (zlib's and PNG's polynomial, reflected). */
#ifndef LLAVA_CRC_H
#define LLAVA_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of n more bytes behind those that gave `crc`; 0 before the first. libdeflate's where
 * the program is built with it (some twenty times as fast, by carry-less multiplication), else
 * zlib's. */
uint32_t llava_crc32(uint32_t crc, const void *bytes, size_t n);

#endif
