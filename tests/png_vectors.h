/* Written by tools/make_test_pictures.py from Pillow 13.0.0, transformers
 * 5.23.0 and torch 2.13.0. The pictures that are resized are picture_of() of
 * tests/test_picture.c. */
/* clang-format off */
typedef struct {
    const char *name;
    size_t height, width;
    const uint8_t *rgb[3]; /* alpha dropped, on white, on black */
} png_vector;
static const uint8_t good_alphas_palette8_drop[] = {238, 35, 88, 44, 97, 150, 79, 132, 185, 238, 35, 88, 9, 62, 115, 141, 194, 247, 79, 132, 185, 141, 194, 247,
        176, 229, 26, 79, 132, 185, 106, 159, 212, 176, 229, 26, 9, 62, 115, 176, 229, 26, 106, 159, 212};
static const uint8_t good_alphas_palette8_white[] = {246, 145, 171, 45, 98, 150, 167, 194, 220, 246, 145, 171, 9, 62, 115, 166, 207, 249, 167, 194, 220, 166, 207, 249,
        255, 255, 254, 167, 194, 220, 106, 159, 212, 255, 255, 254, 9, 62, 115, 255, 255, 254, 106, 159, 212};
static const uint8_t good_alphas_palette8_black[] = {119, 18, 44, 44, 97, 149, 39, 66, 92, 119, 18, 44, 9, 62, 115, 111, 152, 194, 39, 66, 92, 111, 152, 194,
        1, 1, 0, 39, 66, 92, 106, 159, 212, 1, 1, 0, 9, 62, 115, 1, 1, 0, 106, 159, 212};
static const uint8_t good_exif_1_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 40, 111, 182, 56, 127, 198, 94, 165, 236};
static const uint8_t good_exif_2_drop[] = {47, 118, 189, 14, 85, 156, 3, 74, 145, 94, 165, 236, 56, 127, 198, 40, 111, 182};
static const uint8_t good_exif_3_drop[] = {94, 165, 236, 56, 127, 198, 40, 111, 182, 47, 118, 189, 14, 85, 156, 3, 74, 145};
static const uint8_t good_exif_4_drop[] = {40, 111, 182, 56, 127, 198, 94, 165, 236, 3, 74, 145, 14, 85, 156, 47, 118, 189};
static const uint8_t good_exif_5_drop[] = {3, 74, 145, 40, 111, 182, 14, 85, 156, 56, 127, 198, 47, 118, 189, 94, 165, 236};
static const uint8_t good_exif_6_drop[] = {40, 111, 182, 3, 74, 145, 56, 127, 198, 14, 85, 156, 94, 165, 236, 47, 118, 189};
static const uint8_t good_exif_7_drop[] = {94, 165, 236, 47, 118, 189, 56, 127, 198, 14, 85, 156, 40, 111, 182, 3, 74, 145};
static const uint8_t good_exif_8_drop[] = {47, 118, 189, 94, 165, 236, 14, 85, 156, 56, 127, 198, 3, 74, 145, 40, 111, 182};
static const uint8_t good_exif_behind_data_drop[] = {40, 111, 182, 3, 74, 145, 56, 127, 198, 14, 85, 156, 94, 165, 236, 47, 118, 189};
static const uint8_t good_exif_raw_profile_drop[] = {47, 118, 189, 94, 165, 236, 14, 85, 156, 56, 127, 198, 3, 74, 145, 40, 111, 182};
static const uint8_t good_exif_xmp_drop[] = {94, 165, 236, 56, 127, 198, 40, 111, 182, 47, 118, 189, 14, 85, 156, 3, 74, 145};
static const uint8_t good_grey1_drop[] = {255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255};
static const uint8_t good_grey16_drop[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
static const uint8_t good_grey16_clip_drop[] = {0, 0, 0, 5, 5, 5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
static const uint8_t good_grey2_drop[] = {255, 255, 255, 170, 170, 170, 255, 255, 255, 170, 170, 170, 255, 255, 255, 0, 0, 0, 0, 0, 0, 170, 170, 170,
        170, 170, 170, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255};
static const uint8_t good_grey4_drop[] = {51, 51, 51, 238, 238, 238, 255, 255, 255, 102, 102, 102, 51, 51, 51, 136, 136, 136, 136, 136, 136, 238, 238, 238,
        170, 170, 170, 204, 204, 204, 119, 119, 119, 204, 204, 204, 119, 119, 119, 136, 136, 136, 255, 255, 255};
static const uint8_t good_grey8_drop[] = {3, 3, 3, 14, 14, 14, 47, 47, 47, 102, 102, 102, 179, 179, 179, 40, 40, 40, 56, 56, 56, 94, 94, 94,
        154, 154, 154, 236, 236, 236, 151, 151, 151, 172, 172, 172, 215, 215, 215, 24, 24, 24, 111, 111, 111};
static const uint8_t good_greyalpha16_drop[] = {3, 3, 3, 17, 17, 17, 57, 57, 57, 123, 123, 123, 217, 217, 217, 48, 48, 48, 68, 68, 68, 114, 114, 114,
        187, 187, 187, 30, 30, 30, 183, 183, 183, 208, 208, 208, 5, 5, 5, 84, 84, 84, 189, 189, 189};
static const uint8_t good_greyalpha16_white[] = {167, 167, 167, 159, 159, 159, 144, 144, 144, 146, 146, 146, 248, 248, 248, 146, 146, 146, 142, 142, 142, 144, 144, 144,
        250, 250, 250, 153, 153, 153, 251, 251, 251, 248, 248, 248, 166, 166, 166, 141, 141, 141, 250, 250, 250};
static const uint8_t good_greyalpha16_black[] = {1, 1, 1, 7, 7, 7, 32, 32, 32, 101, 101, 101, 40, 40, 40, 25, 25, 25, 41, 41, 41, 89, 89, 89,
        12, 12, 12, 14, 14, 14, 9, 9, 9, 32, 32, 32, 2, 2, 2, 56, 56, 56, 15, 15, 15};
static const uint8_t good_greyalpha8_drop[] = {3, 3, 3, 14, 14, 14, 47, 47, 47, 102, 102, 102, 179, 179, 179, 40, 40, 40, 56, 56, 56, 94, 94, 94,
        154, 154, 154, 236, 236, 236, 151, 151, 151, 172, 172, 172, 215, 215, 215, 24, 24, 24, 111, 111, 111};
static const uint8_t good_greyalpha8_white[] = {182, 182, 182, 175, 175, 175, 159, 159, 159, 151, 151, 151, 180, 180, 180, 161, 161, 161, 156, 156, 156, 151, 151, 151,
        166, 166, 166, 251, 251, 251, 164, 164, 164, 176, 176, 176, 250, 250, 250, 169, 169, 169, 152, 152, 152};
static const uint8_t good_greyalpha8_black[] = {1, 1, 1, 5, 5, 5, 22, 22, 22, 69, 69, 69, 175, 175, 175, 17, 17, 17, 28, 28, 28, 61, 61, 61,
        136, 136, 136, 47, 47, 47, 131, 131, 131, 164, 164, 164, 25, 25, 25, 9, 9, 9, 79, 79, 79};
static const uint8_t good_interlaced_flat_drop[] = {238, 35, 88, 195, 248, 45, 98, 151, 204, 203, 0, 53, 238, 35, 88, 203, 0, 53, 98, 151, 204, 9, 62, 115,
        9, 62, 115, 195, 248, 45, 71, 124, 177, 133, 186, 239, 141, 194, 247, 79, 132, 185};
static const uint8_t good_interlaced_grey1_drop[] = {255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0,
        255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0,
        255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0,
        255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0, 0,
        255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0,
        255, 255, 255};
static const uint8_t good_interlaced_narrow_drop[] = {3, 74, 145, 14, 85, 156, 40, 111, 182, 56, 127, 198, 151, 222, 37, 172, 243, 58, 80, 151, 222, 106, 177, 248,
        83, 154, 225, 114, 185, 0, 160, 231, 46, 196, 11, 82, 55, 126, 197, 96, 167, 238};
static const uint8_t good_interlaced_rgb8_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 102, 173, 244, 179, 250, 65, 22, 93, 164, 143, 214, 29, 30, 101, 172,
        195, 10, 81, 40, 111, 182, 56, 127, 198, 94, 165, 236, 154, 225, 40, 236, 51, 122, 84, 155, 226, 210, 25, 96,
        102, 173, 244, 16, 87, 158, 151, 222, 37, 172, 243, 58, 215, 30, 101, 24, 95, 166, 111, 182, 253, 220, 35, 106,
        95, 166, 237, 248, 63, 134, 167, 238, 53, 80, 151, 222, 106, 177, 248, 154, 225, 40, 224, 39, 110, 60, 131, 202,
        174, 245, 60, 54, 125, 196, 212, 27, 98, 136, 207, 22, 83, 154, 225, 114, 185, 0, 167, 238, 53, 242, 57, 128,
        83, 154, 225, 202, 17, 88, 87, 158, 229, 250, 65, 136, 179, 250, 65, 160, 231, 46, 196, 11, 82, 254, 69, 140,
        78, 149, 220, 180, 251, 66, 48, 119, 190, 194, 9, 80, 106, 177, 248, 40, 111, 182, 55, 126, 197, 96, 167, 238,
        159, 230, 45, 244, 59, 130, 95, 166, 237, 224, 39, 110, 119, 190, 5, 36, 107, 178, 231, 46, 117, 24, 95, 166,
        70, 141, 212, 138, 209, 24, 228, 43, 114, 84, 155, 226, 218, 33, 104, 118, 189, 4, 40, 111, 182, 240, 55, 126,
        67, 138, 209, 118, 189, 4, 191, 6, 77, 30, 101, 172, 147, 218, 33, 30, 101, 172, 191, 6, 77, 118, 189, 4,
        67, 138, 209};
static const uint8_t good_key_grey1_drop[] = {255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255};
static const uint8_t good_key_grey1_black[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t good_key_grey16_drop[] = {0, 0, 0, 5, 5, 5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
static const uint8_t good_key_grey16_white[] = {0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
static const uint8_t good_key_grey16_black[] = {0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
static const uint8_t good_key_grey4_drop[] = {51, 51, 51, 238, 238, 238, 255, 255, 255, 102, 102, 102, 51, 51, 51, 136, 136, 136, 136, 136, 136, 238, 238, 238,
        170, 170, 170, 204, 204, 204, 119, 119, 119, 204, 204, 204, 119, 119, 119, 136, 136, 136, 255, 255, 255};
static const uint8_t good_key_grey4_white[] = {255, 255, 255, 238, 238, 238, 255, 255, 255, 102, 102, 102, 255, 255, 255, 136, 136, 136, 136, 136, 136, 238, 238, 238,
        170, 170, 170, 204, 204, 204, 119, 119, 119, 204, 204, 204, 119, 119, 119, 136, 136, 136, 255, 255, 255};
static const uint8_t good_key_grey4_black[] = {0, 0, 0, 238, 238, 238, 255, 255, 255, 102, 102, 102, 0, 0, 0, 136, 136, 136, 136, 136, 136, 238, 238, 238,
        170, 170, 170, 204, 204, 204, 119, 119, 119, 204, 204, 204, 119, 119, 119, 136, 136, 136, 255, 255, 255};
static const uint8_t good_key_grey8_drop[] = {3, 3, 3, 14, 14, 14, 47, 47, 47, 102, 102, 102, 179, 179, 179, 40, 40, 40, 56, 56, 56, 94, 94, 94,
        154, 154, 154, 236, 236, 236, 151, 151, 151, 172, 172, 172, 215, 215, 215, 24, 24, 24, 111, 111, 111};
static const uint8_t good_key_grey8_white[] = {255, 255, 255, 14, 14, 14, 47, 47, 47, 102, 102, 102, 179, 179, 179, 40, 40, 40, 56, 56, 56, 94, 94, 94,
        154, 154, 154, 236, 236, 236, 151, 151, 151, 172, 172, 172, 215, 215, 215, 24, 24, 24, 111, 111, 111};
static const uint8_t good_key_grey8_black[] = {0, 0, 0, 14, 14, 14, 47, 47, 47, 102, 102, 102, 179, 179, 179, 40, 40, 40, 56, 56, 56, 94, 94, 94,
        154, 154, 154, 236, 236, 236, 151, 151, 151, 172, 172, 172, 215, 215, 215, 24, 24, 24, 111, 111, 111};
static const uint8_t good_key_rgb16_drop[] = {3, 89, 176, 17, 103, 189, 57, 143, 229, 123, 210, 40, 217, 47, 133, 48, 134, 221, 68, 154, 240, 114, 200, 30,
        187, 17, 103, 30, 116, 203, 183, 13, 99, 208, 39, 125, 5, 91, 177, 84, 170, 0, 189, 20, 106};
static const uint8_t good_key_rgb8_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 102, 173, 244, 179, 250, 65, 40, 111, 182, 56, 127, 198, 94, 165, 236,
        154, 225, 40, 236, 51, 122, 151, 222, 37, 172, 243, 58, 215, 30, 101, 24, 95, 166, 111, 182, 253};
static const uint8_t good_key_rgb8_white[] = {255, 255, 255, 14, 85, 156, 47, 118, 189, 102, 173, 244, 179, 250, 65, 40, 111, 182, 56, 127, 198, 94, 165, 236,
        154, 225, 40, 236, 51, 122, 151, 222, 37, 172, 243, 58, 215, 30, 101, 24, 95, 166, 111, 182, 253};
static const uint8_t good_key_rgb8_black[] = {0, 0, 0, 14, 85, 156, 47, 118, 189, 102, 173, 244, 179, 250, 65, 40, 111, 182, 56, 127, 198, 94, 165, 236,
        154, 225, 40, 236, 51, 122, 151, 222, 37, 172, 243, 58, 215, 30, 101, 24, 95, 166, 111, 182, 253};
static const uint8_t good_one_clear_palette8_drop[] = {238, 35, 88, 44, 97, 150, 79, 132, 185, 238, 35, 88, 9, 62, 115, 141, 194, 247, 79, 132, 185, 141, 194, 247,
        176, 229, 26, 79, 132, 185, 106, 159, 212, 176, 229, 26, 9, 62, 115, 176, 229, 26, 106, 159, 212};
static const uint8_t good_one_clear_palette8_white[] = {255, 255, 255, 44, 97, 150, 79, 132, 185, 255, 255, 255, 9, 62, 115, 141, 194, 247, 79, 132, 185, 141, 194, 247,
        176, 229, 26, 79, 132, 185, 106, 159, 212, 176, 229, 26, 9, 62, 115, 176, 229, 26, 106, 159, 212};
static const uint8_t good_one_clear_palette8_black[] = {0, 0, 0, 44, 97, 150, 79, 132, 185, 0, 0, 0, 9, 62, 115, 141, 194, 247, 79, 132, 185, 141, 194, 247,
        176, 229, 26, 79, 132, 185, 106, 159, 212, 176, 229, 26, 9, 62, 115, 176, 229, 26, 106, 159, 212};
static const uint8_t good_palette1_drop[] = {176, 229, 26, 17, 70, 123, 176, 229, 26, 17, 70, 123, 176, 229, 26, 17, 70, 123, 17, 70, 123, 17, 70, 123,
        17, 70, 123, 17, 70, 123, 176, 229, 26, 17, 70, 123, 176, 229, 26, 17, 70, 123, 176, 229, 26};
static const uint8_t good_palette2_drop[] = {238, 35, 88, 79, 132, 185, 238, 35, 88, 79, 132, 185, 238, 35, 88, 17, 70, 123, 17, 70, 123, 79, 132, 185,
        79, 132, 185, 17, 70, 123, 238, 35, 88, 17, 70, 123, 238, 35, 88, 17, 70, 123, 238, 35, 88};
static const uint8_t good_palette4_drop[] = {238, 35, 88, 195, 248, 45, 98, 151, 204, 203, 0, 53, 238, 35, 88, 9, 62, 115, 9, 62, 115, 195, 248, 45,
        71, 124, 177, 133, 186, 239, 106, 159, 212, 133, 186, 239, 106, 159, 212, 9, 62, 115, 98, 151, 204};
static const uint8_t good_palette8_drop[] = {238, 35, 88, 195, 248, 45, 106, 159, 212, 79, 132, 185, 222, 19, 72, 17, 70, 123, 1, 54, 107, 195, 248, 45,
        195, 248, 45, 1, 54, 107, 230, 27, 80, 133, 186, 239, 98, 151, 204, 141, 194, 247, 230, 27, 80};
static const uint8_t good_rgb16_drop[] = {3, 89, 176, 17, 103, 189, 57, 143, 229, 123, 210, 40, 217, 47, 133, 48, 134, 221, 68, 154, 240, 114, 200, 30,
        187, 17, 103, 30, 116, 203, 183, 13, 99, 208, 39, 125, 5, 91, 177, 84, 170, 0, 189, 20, 106};
static const uint8_t good_rgb8_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 102, 173, 244, 179, 250, 65, 40, 111, 182, 56, 127, 198, 94, 165, 236,
        154, 225, 40, 236, 51, 122, 151, 222, 37, 172, 243, 58, 215, 30, 101, 24, 95, 166, 111, 182, 253};
static const uint8_t good_rgba16_drop[] = {3, 89, 176, 17, 103, 189, 57, 143, 229, 123, 210, 40, 217, 47, 133, 48, 134, 221, 68, 154, 240, 114, 200, 30,
        187, 17, 103, 30, 116, 203, 183, 13, 99, 208, 39, 125, 5, 91, 177, 84, 170, 0, 189, 20, 106};
static const uint8_t good_rgba16_white[] = {249, 251, 253, 237, 244, 250, 209, 229, 249, 190, 233, 149, 222, 76, 150, 214, 231, 248, 204, 227, 251, 191, 230, 153,
        205, 79, 142, 226, 237, 248, 202, 78, 141, 216, 76, 147, 248, 250, 253, 197, 226, 169, 205, 78, 143};
static const uint8_t good_rgba16_black[] = {0, 2, 4, 1, 8, 14, 13, 33, 53, 61, 104, 20, 187, 41, 115, 10, 27, 44, 19, 42, 66, 52, 91, 14,
        139, 13, 76, 4, 15, 26, 133, 9, 72, 172, 32, 103, 0, 2, 5, 28, 57, 0, 142, 15, 80};
static const uint8_t good_rgba8_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 102, 173, 244, 179, 250, 65, 40, 111, 182, 56, 127, 198, 94, 165, 236,
        154, 225, 40, 236, 51, 122, 151, 222, 37, 172, 243, 58, 215, 30, 101, 24, 95, 166, 111, 182, 253};
static const uint8_t good_rgba8_white[] = {42, 102, 162, 40, 104, 167, 252, 253, 254, 220, 236, 252, 214, 252, 154, 42, 112, 183, 245, 248, 252, 223, 237, 251,
        211, 242, 161, 241, 101, 154, 211, 241, 163, 213, 249, 155, 228, 103, 151, 40, 106, 172, 217, 236, 254};
static const uint8_t good_rgba8_black[] = {3, 63, 123, 12, 76, 139, 1, 2, 3, 24, 40, 56, 95, 133, 35, 40, 110, 181, 3, 6, 10, 19, 33, 47,
        67, 98, 17, 179, 39, 92, 64, 94, 16, 87, 123, 29, 145, 20, 68, 22, 88, 154, 30, 49, 67};
static const uint8_t good_split_data_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 102, 173, 244, 179, 250, 65, 40, 111, 182, 56, 127, 198, 94, 165, 236,
        154, 225, 40, 236, 51, 122, 151, 222, 37, 172, 243, 58, 215, 30, 101, 24, 95, 166, 111, 182, 253};
static const uint8_t odd_adler_drop[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t odd_end_cut_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 40, 111, 182, 56, 127, 198, 94, 165, 236};
static const uint8_t odd_exif_broken_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 40, 111, 182, 56, 127, 198, 94, 165, 236};
static const uint8_t odd_no_end_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 40, 111, 182, 56, 127, 198, 94, 165, 236};
static const uint8_t odd_palette_short_drop[] = {238, 35, 88, 0, 0, 0, 79, 132, 185, 238, 35, 88, 0, 0, 0, 0, 0, 0, 79, 132, 185, 0, 0, 0,
        176, 229, 26, 79, 132, 185, 0, 0, 0, 176, 229, 26, 0, 0, 0, 176, 229, 26, 0, 0, 0};
static const uint8_t odd_tail_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 40, 111, 182, 56, 127, 198, 94, 165, 236};
static const uint8_t odd_text_cut_drop[] = {3, 74, 145, 14, 85, 156, 47, 118, 189, 40, 111, 182, 56, 127, 198, 94, 165, 236};
static const png_vector png_vectors[] = {
    {"good-alphas-palette8", 3, 5, {good_alphas_palette8_drop, good_alphas_palette8_white, good_alphas_palette8_black}},
    {"good-exif-1", 2, 3, {good_exif_1_drop, good_exif_1_drop, good_exif_1_drop}},
    {"good-exif-2", 2, 3, {good_exif_2_drop, good_exif_2_drop, good_exif_2_drop}},
    {"good-exif-3", 2, 3, {good_exif_3_drop, good_exif_3_drop, good_exif_3_drop}},
    {"good-exif-4", 2, 3, {good_exif_4_drop, good_exif_4_drop, good_exif_4_drop}},
    {"good-exif-5", 3, 2, {good_exif_5_drop, good_exif_5_drop, good_exif_5_drop}},
    {"good-exif-6", 3, 2, {good_exif_6_drop, good_exif_6_drop, good_exif_6_drop}},
    {"good-exif-7", 3, 2, {good_exif_7_drop, good_exif_7_drop, good_exif_7_drop}},
    {"good-exif-8", 3, 2, {good_exif_8_drop, good_exif_8_drop, good_exif_8_drop}},
    {"good-exif-behind-data", 3, 2, {good_exif_behind_data_drop, good_exif_behind_data_drop, good_exif_behind_data_drop}},
    {"good-exif-raw-profile", 3, 2, {good_exif_raw_profile_drop, good_exif_raw_profile_drop, good_exif_raw_profile_drop}},
    {"good-exif-xmp", 2, 3, {good_exif_xmp_drop, good_exif_xmp_drop, good_exif_xmp_drop}},
    {"good-grey1", 3, 5, {good_grey1_drop, good_grey1_drop, good_grey1_drop}},
    {"good-grey16", 3, 5, {good_grey16_drop, good_grey16_drop, good_grey16_drop}},
    {"good-grey16-clip", 1, 7, {good_grey16_clip_drop, good_grey16_clip_drop, good_grey16_clip_drop}},
    {"good-grey2", 3, 5, {good_grey2_drop, good_grey2_drop, good_grey2_drop}},
    {"good-grey4", 3, 5, {good_grey4_drop, good_grey4_drop, good_grey4_drop}},
    {"good-grey8", 3, 5, {good_grey8_drop, good_grey8_drop, good_grey8_drop}},
    {"good-greyalpha16", 3, 5, {good_greyalpha16_drop, good_greyalpha16_white, good_greyalpha16_black}},
    {"good-greyalpha8", 3, 5, {good_greyalpha8_drop, good_greyalpha8_white, good_greyalpha8_black}},
    {"good-interlaced-flat", 2, 7, {good_interlaced_flat_drop, good_interlaced_flat_drop, good_interlaced_flat_drop}},
    {"good-interlaced-grey1", 9, 9, {good_interlaced_grey1_drop, good_interlaced_grey1_drop, good_interlaced_grey1_drop}},
    {"good-interlaced-narrow", 7, 2, {good_interlaced_narrow_drop, good_interlaced_narrow_drop, good_interlaced_narrow_drop}},
    {"good-interlaced-rgb8", 9, 9, {good_interlaced_rgb8_drop, good_interlaced_rgb8_drop, good_interlaced_rgb8_drop}},
    {"good-key-grey1", 3, 5, {good_key_grey1_drop, good_key_grey1_drop, good_key_grey1_black}},
    {"good-key-grey16", 1, 7, {good_key_grey16_drop, good_key_grey16_white, good_key_grey16_black}},
    {"good-key-grey4", 3, 5, {good_key_grey4_drop, good_key_grey4_white, good_key_grey4_black}},
    {"good-key-grey8", 3, 5, {good_key_grey8_drop, good_key_grey8_white, good_key_grey8_black}},
    {"good-key-rgb16", 3, 5, {good_key_rgb16_drop, good_key_rgb16_drop, good_key_rgb16_drop}},
    {"good-key-rgb8", 3, 5, {good_key_rgb8_drop, good_key_rgb8_white, good_key_rgb8_black}},
    {"good-one-clear-palette8", 3, 5, {good_one_clear_palette8_drop, good_one_clear_palette8_white, good_one_clear_palette8_black}},
    {"good-palette1", 3, 5, {good_palette1_drop, good_palette1_drop, good_palette1_drop}},
    {"good-palette2", 3, 5, {good_palette2_drop, good_palette2_drop, good_palette2_drop}},
    {"good-palette4", 3, 5, {good_palette4_drop, good_palette4_drop, good_palette4_drop}},
    {"good-palette8", 3, 5, {good_palette8_drop, good_palette8_drop, good_palette8_drop}},
    {"good-rgb16", 3, 5, {good_rgb16_drop, good_rgb16_drop, good_rgb16_drop}},
    {"good-rgb8", 3, 5, {good_rgb8_drop, good_rgb8_drop, good_rgb8_drop}},
    {"good-rgba16", 3, 5, {good_rgba16_drop, good_rgba16_white, good_rgba16_black}},
    {"good-rgba8", 3, 5, {good_rgba8_drop, good_rgba8_white, good_rgba8_black}},
    {"good-split-data", 3, 5, {good_split_data_drop, good_split_data_drop, good_split_data_drop}},
    {"odd-adler", 1, 3, {odd_adler_drop, odd_adler_drop, odd_adler_drop}},
    {"odd-end-cut", 2, 3, {odd_end_cut_drop, odd_end_cut_drop, odd_end_cut_drop}},
    {"odd-exif-broken", 2, 3, {odd_exif_broken_drop, odd_exif_broken_drop, odd_exif_broken_drop}},
    {"odd-no-end", 2, 3, {odd_no_end_drop, odd_no_end_drop, odd_no_end_drop}},
    {"odd-palette-short", 3, 5, {odd_palette_short_drop, odd_palette_short_drop, odd_palette_short_drop}},
    {"odd-tail", 2, 3, {odd_tail_drop, odd_tail_drop, odd_tail_drop}},
    {"odd-text-cut", 2, 3, {odd_text_cut_drop, odd_text_cut_drop, odd_text_cut_drop}}};
static const char *const bad_pngs[] = {
    "crc-header",
    "crc-data",
    "crc-palette",
    "crc-end",
    "crc-text-before-data",
    "cut-header",
    "cut-before-data",
    "cut-in-data",
    "cut-in-crc",
    "data-short",
    "data-none",
    "data-not-deflate",
    "data-filter",
    "critical",
    "critical-behind-data",
    "palette-absent",
    "palette-behind-data",
    "palette-behind-rgb",
    "palette-twice",
    "palette-in-grey",
    "palette-length",
    "palette-empty",
    "key-short",
    "zero-width",
    "zero-height",
    "too-many-pixels",
    "huge",
    "depth",
    "color-type",
    "interlace",
    "header-second",
    "header-not-first",
    "chunk-name",
    "chunk-length",
    "text",
    "empty"};
