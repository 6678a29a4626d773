#include "tile.h"

#include "ref/cpu.h"

#include <string.h>

/* Vectors of 2 doubles are in every x86-64 and aarch64; elsewhere the compiler takes them apart. */
#define TILE_NAME    tile_2
#define TILE_LANES   2
#define TILE_VECTORS 2
#define TILE_TARGET
#include "tile_block.h"
#undef TILE_NAME
#undef TILE_LANES
#define TILE_NAME  tile_f32_4
#define TILE_LANES 4
#include "tile_f32_block.h"
#undef TILE_NAME
#undef TILE_LANES
#undef TILE_TARGET

#if defined(__x86_64__)
#define TILE_NAME   tile_4
#define TILE_LANES  4
#define TILE_TARGET __attribute__((target("avx2")))
#include "tile_block.h"
#undef TILE_NAME
#undef TILE_LANES
#define TILE_NAME  tile_f32_8
#define TILE_LANES 8
#include "tile_f32_block.h"
#undef TILE_NAME
#undef TILE_LANES
#undef TILE_TARGET

#define TILE_NAME   tile_8
#define TILE_LANES  8
#define TILE_TARGET __attribute__((target("avx512f")))
#undef TILE_VECTORS
#define TILE_VECTORS 4 /* of 32 registers */
#include "tile_block.h"
#undef TILE_NAME
#undef TILE_LANES
#define TILE_NAME  tile_f32_16
#define TILE_LANES 16
#include "tile_f32_block.h"
#undef TILE_NAME
#undef TILE_LANES
#undef TILE_TARGET
#endif

size_t llava_tile_all(bool sums_f32, llava_tile tiles[4])
{
    size_t count = 0;
    tiles[count++] = sums_f32 ? (llava_tile){8, 4, tile_f32_4} : (llava_tile){4, 8, tile_2};
#if defined(__x86_64__)
    /* LCOV_EXCL_BR_START: the other branch is another processor's */
    if (llava_cpu_here() >= LLAVA_CPU_AVX2) {
        tiles[count++] = sums_f32 ? (llava_tile){16, 4, tile_f32_8} : (llava_tile){8, 8, tile_4};
    }
    if (llava_cpu_here() >= LLAVA_CPU_AVX512) {
        tiles[count++] = sums_f32 ? (llava_tile){64, 4, tile_f32_16} : (llava_tile){32, 8, tile_8};
    }
    /* LCOV_EXCL_BR_STOP */
#endif
    return count;
}

llava_tile llava_tile_best(bool sums_f32)
{
    llava_tile tiles[4];
    return tiles[llava_tile_all(sums_f32, tiles) - 1];
}
