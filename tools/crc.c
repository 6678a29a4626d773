#include "tools/crc.h"

#if LLAVA_LIBDEFLATE
#include <libdeflate.h>
#else
#include <zlib.h>
#endif

uint32_t llava_crc32(uint32_t crc, const void *bytes, size_t n)
{
#if LLAVA_LIBDEFLATE
    return libdeflate_crc32(crc, bytes, n);
#else
    return (uint32_t)crc32_z(crc, bytes, n);
#endif
}
