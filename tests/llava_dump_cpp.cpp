// tools/llava_dump.h as C++: writes a tensor of every type into the folder argv[1].
// tests/check_cpp.sh compiles this text as C++ and as C; both must write the same bytes.
#include "tools/llava_dump.h"

int main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }
    const size_t shape[] = {2, 1, 3};
    const double f64[] = {0, -1.5, 1e300, 0.1, -0.0, 3};
    const float f32[] = {0, -1.5F, 1e30F, 0.1F, -0.0F, 3};
    const uint16_t halves[] = {0x0000, 0xbe00, 0x7bff, 0x0001, 0x8000, 0x4200};
    const int64_t i64[] = {0, -1, INT64_MAX, INT64_MIN, 5, 6};
    const int32_t i32[] = {0, -1, INT32_MAX, INT32_MIN, 5, 6};
    const uint8_t u8[] = {0, 1, 255, 128, 5, 6};
    int bad = llava_dump_f64(argv[1], "f64", f64, 3, shape);
    bad |= llava_dump_f32(argv[1], "f32", f32, 3, shape);
    bad |= llava_dump_f16(argv[1], "f16", halves, 3, shape);
    bad |= llava_dump_bf16(argv[1], "bf16", halves, 3, shape);
    bad |= llava_dump_i64(argv[1], "i64", i64, 3, shape);
    bad |= llava_dump_i32(argv[1], "i32", i32, 3, shape);
    bad |= llava_dump_u8(argv[1], "u8", u8, 3, shape);
    char name[LLAVA_DUMP_NAME];
    bad |=
        llava_dump_f32(argv[1], llava_dump_layer(name, "text.layers", 7, "attn.q"), f32, 0, NULL);
    return bad == LLAVA_DUMP_OK ? 0 : 1;
}
