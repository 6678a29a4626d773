/* float16, bfloat16 and float32 are widened in vectors; what does not fill a vector goes to
 * llava_decode, which is the definition. The bytes of a file are taken as they are, so it is for
 * little-endian machines. */
#include "decode.h"

#include "ref/cpu.h"

#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LLAVA_DECODE_IN_VECTORS 1
#else
#define LLAVA_DECODE_IN_VECTORS 0
#endif

/* Decodes whole vectors, returns how many elements that were. */
typedef size_t widen(llava_dtype from, const uint8_t *bytes, size_t n, double *out);

#define WIDEN_NAME  widen_plain
#define WIDEN_LANES 4
#define WIDEN_TARGET
#include "decode_block.h"
#undef WIDEN_NAME
#undef WIDEN_TARGET

#if defined(__x86_64__)
#define WIDEN_NAME   widen_avx2
#define WIDEN_TARGET __attribute__((target("avx2")))
#include "decode_block.h"
#undef WIDEN_NAME
#undef WIDEN_LANES
#undef WIDEN_TARGET

#define WIDEN_NAME   widen_avx512
#define WIDEN_LANES  8
#define WIDEN_TARGET __attribute__((target("avx512f")))
#include "decode_block.h"
#endif

static widen *widest(void)
{
#if defined(__x86_64__)
    llava_cpu here = llava_cpu_here();
    /* LCOV_EXCL_START: one of them, by the processor */
    if (here >= LLAVA_CPU_AVX512) {
        return widen_avx512;
    }
    if (here >= LLAVA_CPU_AVX2) {
        return widen_avx2;
    }
#endif
    return widen_plain;
    /* LCOV_EXCL_STOP */
}

void llava_decode_f64(llava_dtype from, const uint8_t *bytes, size_t n, double *out)
{
    size_t done = LLAVA_DECODE_IN_VECTORS ? widest()(from, bytes, n, out) : 0;
    llava_decode(from, bytes + done * llava_dtype_size(from), n - done, LLAVA_F64, out + done);
}
