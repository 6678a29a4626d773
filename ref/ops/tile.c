#include "tile.h"

/* Vectors of 2 doubles are in every x86-64 and aarch64; elsewhere the compiler takes them apart. */
#define TILE_NAME  tile_2
#define TILE_LANES 2
#define TILE_TARGET
#include "tile_block.h"
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
#undef TILE_TARGET

#define TILE_NAME   tile_8
#define TILE_LANES  8
#define TILE_TARGET __attribute__((target("avx512f")))
#include "tile_block.h"
#undef TILE_NAME
#undef TILE_LANES
#undef TILE_TARGET
#endif

size_t llava_tile_all(llava_tile tiles[4])
{
    size_t count = 0;
    tiles[count++] = (llava_tile){4, tile_2};
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        tiles[count++] = (llava_tile){8, tile_4};
    }
    if (__builtin_cpu_supports("avx512f")) {
        tiles[count++] = (llava_tile){16, tile_8};
    }
#endif
    return count;
}

llava_tile llava_tile_best(void)
{
    llava_tile tiles[4];
    return tiles[llava_tile_all(tiles) - 1];
}

enum { F32_OUTPUTS = 16 };

static void tile_f32(double *y, size_t y_stride, const double *const *x, const double *w,
                     size_t inner)
{
    for (size_t r = 0; r < LLAVA_TILE_ROWS; r++) {
        float sum[F32_OUTPUTS];
        for (size_t o = 0; o < F32_OUTPUTS; o++) {
            sum[o] = (float)y[r * y_stride + o];
        }
        for (size_t k = 0; k < inner; k++) {
            float xk = (float)x[r][k];
            for (size_t o = 0; o < F32_OUTPUTS; o++) {
                sum[o] += xk * (float)w[k * F32_OUTPUTS + o];
            }
        }
        for (size_t o = 0; o < F32_OUTPUTS; o++) {
            y[r * y_stride + o] = (double)sum[o];
        }
    }
}

llava_tile llava_tile_f32(void)
{
    return (llava_tile){F32_OUTPUTS, tile_f32};
}
