/* What `draw` paints: each number in its place and with its colour, and the same numbers in its
 * table; what cannot be drawn is refused, and nothing is left behind. */
#include "ref/file.h"
#include "ref/png.h"
#include "tests/program.h"
#include "tools/canvas.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static support_folder folder;

/* Runs a command that must succeed; its standard output, to be freed. */
static char *said(const char *command)
{
    program_result r = program_run(&folder, command);
    if (r.status != 0) {
        fail_msg("%s\nexits with %d: %s", command, r.status, r.err);
    }
    free(r.err);
    return r.out;
}

static void must_say(const char *command, const char *what)
{
    char *out = said(command);
    if (strstr(out, what) == NULL) {
        fail_msg("%s\nsays\n%s\nwithout %s", command, out, what);
    }
    free(out);
}

static llava_picture drawn(const char *name)
{
    llava_file file;
    llava_error e = {""};
    llava_picture picture = {0};
    int orientation;
    if (!llava_file_map(&file, support_path(&folder, name), &e) ||
        !llava_png_read(&picture, name, file.bytes, file.size, LLAVA_ALPHA_DROP, &orientation,
                        &e)) {
        fail_msg("%s", e.text);
    }
    llava_file_unmap(&file);
    return picture;
}

static uint32_t rgb_at(const llava_picture *p, size_t x, size_t y)
{
    assert_true(x < p->width && y < p->height);
    const uint8_t *at = p->rgb + 3 * (y * p->width + x);
    return (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
}

static uint32_t rgb_of(llava_colour c)
{
    return (uint32_t)c.rgba[0] << 16 | (uint32_t)c.rgba[1] << 8 | c.rgba[2];
}

static int light(uint32_t rgb)
{
    return (int)(299 * (rgb >> 16) + 587 * (rgb >> 8 & 255) + 114 * (rgb & 255));
}

/* ---- colours ---- */

static void a_larger_number_is_brighter(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_true(light(rgb_of(llava_colour_size(i / 100.0))) <
                    light(rgb_of(llava_colour_size((i + 1) / 100.0))));
    }
    assert_int_equal(rgb_of(llava_colour_size(7)), rgb_of(llava_colour_size(1)));
    assert_int_equal(rgb_of(llava_colour_size(-1)), rgb_of(llava_colour_size(0)));
    assert_int_equal(rgb_of(llava_colour_size((double)NAN)), 0x00ff00);
}

static void signs_have_colours_and_zero_is_white(void **state)
{
    (void)state;
    llava_colour below = llava_colour_signed(-1), above = llava_colour_signed(1);
    assert_true(below.rgba[2] > below.rgba[0] + 50 && above.rgba[0] > above.rgba[2] + 50);
    assert_true(light(rgb_of(llava_colour_signed(0))) > 240000);
    assert_int_equal(rgb_of(llava_colour_signed((double)NAN)), 0x00ff00);
    assert_int_equal(rgb_of(llava_colour_signed(2)), rgb_of(above));
}

static void an_angle_has_the_same_colour_a_turn_later(void **state)
{
    (void)state;
    assert_int_equal(rgb_of(llava_colour_angle(1, 0)), rgb_of(llava_colour_angle(2, 0)));
    assert_int_equal(rgb_of(llava_colour_angle(0, 0)), 0x00ff00); /* no direction at all */
    for (int i = 0; i < 8; i++) {
        double a = i * 0.785398, b = (i + 1) * 0.785398;
        uint32_t one = rgb_of(llava_colour_angle(cos(a), sin(a)));
        uint32_t next = rgb_of(llava_colour_angle(cos(b), sin(b)));
        assert_int_not_equal(one, next);
        assert_true(abs(light(one) - light(next)) < 30000); /* of 255000 */
    }
}

/* ---- the demo model ---- */

#define DEMO "--model \"$GOLDEN/demo/model\""
#define RUN                                                                                        \
    "\"$LLAVA\" run " DEMO " --image \"$GOLDEN/demo/pictures/"                                     \
    "0-red-triangle-red-triangle-yellow-square.png\" --chat 'What is in the picture?' "

static int set_up(void **state)
{
    (void)state;
    folder = support_folder_new();
    free(said(RUN "--generate 8 --dump right.npz"));
    free(said(RUN "--dump f32.npz --dtype f32"));
    free(said(RUN "--dump columns.npz --set vision.patch_order=column-major"));
    free(said(RUN "--dump pairs.npz --set text.rope_pairing=interleaved"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    support_folder_remove(&folder);
    return 0;
}

/* rgb 109 x 160, resized 60 x 88, of which the middle 60 columns are cropped: enlarged 3 times. */
static void a_picture_is_framed_where_it_is_cut(void **state)
{
    (void)state;
    must_say("\"$LLAVA\" draw picture right.npz " DEMO " --png t.png", "image.cropped    60 x 60");
    llava_picture p = drawn("t.png");
    assert_int_equal(p.width, 3 * (160 + 88 + 60) + 2 * 12);
    assert_int_equal(p.height, 3 * 109 + 12 + 3 * 60);
    size_t resized = 3 * 160 + 12, cropped = resized + 3 * 88 + 12;
    assert_int_equal(rgb_at(&p, resized + 3 * 14, 90), 0xffffff); /* 14 columns on each side go */
    assert_int_equal(rgb_at(&p, resized + 3 * 74 - 1, 90), 0xffffff);
    assert_int_not_equal(rgb_at(&p, resized + 3 * 14 - 1, 90), 0xffffff);
    assert_int_equal(rgb_at(&p, cropped + 30, 5), 0xffffff); /* patches of 10 x 10 pixels */
    assert_int_not_equal(rgb_at(&p, cropped + 31, 5), 0xffffff);
    llava_picture_free(&p);
}

/* About to say its first "red" the model looks at the upper triangle, patches (1,0) and (1,1). */
static void attention_lights_what_is_looked_at(void **state)
{
    (void)state;
    const char *draw =
        "\"$LLAVA\" draw attention right.npz step.1.text.layers.3.attn.probs " DEMO " --png t.png";
    must_say(draw, "0.976     0.497  (1,0)");
    llava_picture p = drawn("t.png");
    assert_int_equal(p.width, 2 * 180 + 12);
    size_t panel = 180 + 12, grey = 3; /* the corner of a patch: background */
    int plain = light(rgb_at(&p, grey, 16 + 30 + grey));
    assert_true(abs(light(rgb_at(&p, panel + grey, 16 + 30 + grey)) - plain) < 3000);
    int dark = light(rgb_at(&p, panel + 120 + grey, 16 + 60 + grey));
    assert_true(dark > plain / 5 && dark < plain / 3);
    llava_picture_free(&p);
    /* the prompt's last row, of a head by itself; and the class row of the tower */
    free(said("\"$LLAVA\" draw attention right.npz text.layers.3.attn.probs --head 2 --row 48 " DEMO
              " --png t.png"));
    free(said("\"$LLAVA\" draw attention right.npz vision.layers.2.attn.probs " DEMO
              " --png t.png"));
}

/* Patches on the diagonal stay where they are; all else changes places. */
static void patches_are_wrong_where_they_are_wrong(void **state)
{
    (void)state;
    must_say("\"$LLAVA\" draw patches right.npz columns.npz --taps vision.patch_embed " DEMO
             " --png t.png",
             "1.2e+00   0.0e+00   6.0e+00  (2,5)");
    llava_picture p = drawn("t.png");
    uint32_t dark = rgb_of(llava_colour_size(0));
    assert_int_equal(rgb_at(&p, 5, 16 + 5), dark);
    assert_int_equal(rgb_at(&p, 155, 16 + 155), dark);
    assert_int_not_equal(rgb_at(&p, 35, 16 + 5), dark);
    llava_picture_free(&p);
    /* rows of the text: the picture's among them */
    must_say("\"$LLAVA\" draw patches right.npz columns.npz --taps text.inputs_embeds " DEMO
             " --png t.png",
             "text.inputs_embeds");
}

/* A pair turned by nothing is right however it was paired: position 0. */
static void rows_are_wrong_from_the_first_angle_on(void **state)
{
    (void)state;
    must_say("\"$LLAVA\" draw rows right.npz pairs.npz --taps 'text.layers.0.attn.q*' --png t.png",
             "   2  text.layers.0.attn.q_rope              0.0e+00   1.4e+00  41");
    llava_picture p = drawn("t.png");
    uint32_t dark = rgb_of(llava_colour_size(0)), bright = rgb_of(llava_colour_size(1));
    assert_int_equal(rgb_at(&p, 40 + 7, 7), dark);
    assert_int_equal(rgb_at(&p, 40 + 14 * 41 + 7, 7), dark);
    assert_int_equal(rgb_at(&p, 40 + 7, 14 + 7), dark);
    assert_int_equal(rgb_at(&p, 40 + 14 * 41 + 7, 14 + 7), bright);
    llava_picture_free(&p);
}

/* Its numbers are diff's. */
static void drift_is_what_diff_measures(void **state)
{
    (void)state;
    char *diff = said("\"$LLAVA\" diff right.npz f32.npz --taps projector.out | grep projector");
    char *draw = said("\"$LLAVA\" draw drift right.npz f32.npz --taps projector.out,logits "
                      "--png t.png");
    const char *error = strstr(draw, "e-0");
    assert_non_null(error);
    char number[8] = "";
    memcpy(number, error - 3, 7);
    assert_non_null(strstr(diff, number));
    free(diff);
    free(draw);
    llava_picture p = drawn("t.png");
    size_t coloured = 0;
    const uint32_t curve = rgb_of(llava_colour_curve(0));
    for (size_t i = 0; i < p.height * p.width; i++) {
        coloured += rgb_at(&p, i % p.width, i / p.width) == curve;
    }
    assert_true(coloured > 3 * 600); /* a line across */
    llava_picture_free(&p);
}

static void angles_begin_at_nothing(void **state)
{
    (void)state;
    must_say("\"$LLAVA\" draw angles right.npz --png t.png", "16 pairs (down), 49 positions");
    llava_picture p = drawn("t.png");
    assert_int_equal(p.height, 16 * 12);
    for (size_t pair = 0; pair < 16; pair++) {
        assert_int_equal(rgb_at(&p, 3, pair * 12 + 6), rgb_of(llava_colour_angle(1, 0)));
    }
    assert_int_equal(rgb_at(&p, 14 + 3, 6), rgb_of(llava_colour_angle(0.5403023, 0.8414710)));
    llava_picture_free(&p);
}

/* Where the port's picture is wrong in colour only: its own picture, and its size of error. */
static void pixels_are_wrong_where_they_are_wrong(void **state)
{
    (void)state;
    free(said(RUN "--dump blue.npz --set image.channel_order=bgr --taps pixel_values"));
    must_say("\"$LLAVA\" draw patches right.npz blue.npz --taps pixel_values --png t.png",
             "1.6e+00   0.0e+00   4.6e+00  (54,56)");
    llava_picture p = drawn("t.png");
    assert_int_equal(p.width, 2 * 180 + 12);
    uint32_t square = rgb_at(&p, 3 * 50, 16 + 3 * 50); /* yellow; with channels exchanged cyan */
    assert_true((square >> 16) < 64 && (square & 255) > 192);
    assert_true(light(rgb_at(&p, 192 + 3 * 50, 16 + 3 * 50)) > 150000);
    assert_true(light(rgb_at(&p, 192 + 3 * 30, 16 + 3 * 30)) < 60000);
    llava_picture_free(&p);
}

/* Every family's patches: several pictures in a sequence of the tower or of the text, of one size
 * or not, with the class row or without. The f32 run is wrong by a rounding, in each patch. */
static void patches_of_every_family_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *name, *sample;
    } cases[] = {{"pixtral", "0"},          {"pixtral", "2"},        {"siglip", "1"},
                 {"several-pictures", "2"}, {"full-strategy", "0"},  {"interleave", "1"},
                 {"picture-pixtral", "2"},  {"picture-siglip", "1"}, {"pixtral-12b", "1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char command[1024];
        snprintf(command, sizeof command,
                 "cd \"$GOLDEN/%s\" && d=\"$OLDPWD\" && c=\"--model model --png $d/t.png --sample "
                 "%s\" && "
                 "\"$LLAVA\" draw patches true.npz true.npz $c && "
                 "\"$LLAVA\" draw patches true.npz true.npz $c --taps text.inputs_embeds",
                 cases[i].name, cases[i].sample);
        char *out = said(command);
        assert_non_null(strstr(out, "vision.features"));
        assert_non_null(strstr(out, "0.0e+00   0.0e+00   0.0e+00  (0,0)"));
        free(out);
    }
    must_say("cd \"$GOLDEN/pixtral\" && \"$LLAVA\" draw angles true.npz --taps 'vision.rope.*' "
             "--png \"$OLDPWD/t.png\"",
             "vision.rope.cos");
}

/* ---- the same for programs ---- */

/* Runs `draw` with --json, standard output taken by it; the tree, to be deleted. */
static cJSON *drawn_json(const char *what, char **table)
{
    char command[1024];
    snprintf(command, sizeof command, "\"$LLAVA\" draw %s --png t.png --json -", what);
    program_result r = program_run(&folder, command);
    cJSON *json = cJSON_Parse(r.out);
    if (r.status != 0 || json == NULL) {
        fail_msg("%s\nexits with %d: %s", command, r.status, r.err);
    }
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "schema")),
                        "llava-ref.draw/1");
    *table = r.err;
    free(r.out);
    return json;
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static void json_has_the_tables_numbers(void **state)
{
    (void)state;
    char *table, shown[64];
    cJSON *json =
        drawn_json("drift right.npz f32.npz pairs.npz --taps 'projector.*,logits'", &table);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "taps")), 4);
    const cJSON *curve = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "curves"), 1);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(curve, "dump")), "pairs.npz");
    const cJSON *errors = cJSON_GetObjectItem(curve, "rel_l2");
    assert_int_equal(cJSON_GetArraySize(errors), 4);
    snprintf(shown, sizeof shown, " %.1e\n", cJSON_GetArrayItem(errors, 3)->valuedouble);
    assert_non_null(strstr(table, shown));
    cJSON_Delete(json);
    free(table);

    json = drawn_json("attention right.npz step.1.text.layers.3.attn.probs " DEMO, &table);
    const cJSON *panel = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "panels"), 0), *row, *patch;
    double sum = 0;
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(panel, "patches"))
    {
        assert_int_equal(cJSON_GetArraySize(row), 6);
        cJSON_ArrayForEach(patch, row)
        {
            sum += patch->valuedouble;
        }
    }
    assert_true(fabs(sum - number_of(panel, "on_picture")) < 1e-12);
    assert_true(fabs(number_of(panel, "largest") - 0.497) < 5e-4);
    assert_int_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(panel, "at"), 0)->valueint, 1);
    cJSON_Delete(json);
    free(table);
}

static void json_says_what_every_kind_draws(void **state)
{
    (void)state;
    char *table;
    cJSON *json =
        drawn_json("patches right.npz columns.npz --taps vision.patch_embed " DEMO, &table);
    const cJSON *panel = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "panels"), 0);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(panel, "patches")), 6);
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(panel, "patches"), 0);
    assert_true(cJSON_GetArrayItem(first, 0)->valuedouble == 0); /* on the diagonal */
    assert_true(cJSON_GetArrayItem(first, 1)->valuedouble > 0);
    cJSON_Delete(json);
    free(table);

    program_write_inputs(&folder, "a.npz",
                         "attention_mask <i8 [1,3] 0 1 1; text.norm <f8 [1,3,2] 1*6");
    program_write_inputs(&folder, "b.npz", "text.norm <f8 [1,3,2] 9 9 1 1 2 1");
    json = drawn_json("rows a.npz b.npz", &table);
    const cJSON *line = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "lines"), 0);
    const cJSON *rows = cJSON_GetObjectItem(line, "rows");
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(rows, 0))); /* padding */
    assert_true(cJSON_GetArrayItem(rows, 1)->valuedouble == 0);
    assert_true(fabs(number_of(line, "largest") - 0.70710678) < 1e-6 && number_of(line, "at") == 2);
    cJSON_Delete(json);
    free(table);

    json = drawn_json("picture right.npz", &table);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "steps")), 3);
    assert_true(number_of(cJSON_GetObjectItem(json, "pixel_values"), "width") == 60);
    cJSON_Delete(json);
    free(table);
    json = drawn_json("angles right.npz", &table);
    assert_true(number_of(json, "pairs") == 16 && number_of(json, "positions") == 49);
    cJSON_Delete(json);
    free(table);
}

/* ---- dumps made by hand ---- */

static void a_picture_is_drawn_from_what_there_is(void **state)
{
    (void)state;
    program_write_inputs(&folder, "planes.npz", "pixel_values <f4 [2,3,2,4] 0*48");
    must_say("\"$LLAVA\" draw picture planes.npz --sample 1 --png t.png", "3 planes of 2 x 4");
    program_write_inputs(&folder, "bytes.npz",
                         "image.rgb |u1 [3,5,3] 9*45; image.resized |u1 [2,5,3] 7*30;"
                         "image.cropped |u1 [2,3,3] 8*18");
    must_say("\"$LLAVA\" draw picture bytes.npz --png t.png", "image.cropped    2 x 3");
    llava_picture p = drawn("t.png"); /* cropped is nowhere in resized: no frame */
    for (size_t i = 0; i < p.width * p.height; i++) {
        assert_int_not_equal(rgb_at(&p, i % p.width, i / p.width), 0xffffff);
    }
    llava_picture_free(&p);
}

static void long_texts_and_single_taps_are_drawn(void **state)
{
    (void)state;
    program_write_inputs(&folder, "long.npz", "text.norm <f8 [1,800,1] 1*800");
    program_write_inputs(&folder, "long2.npz", "text.norm <f8 [1,800,1] 1*400 1.001*400");
    must_say("\"$LLAVA\" draw rows long.npz long2.npz --png t.png", "1.0e-03");
    must_say("\"$LLAVA\" draw drift long.npz long2.npz --png t.png", "7.1e-04");
    must_say("\"$LLAVA\" draw drift long.npz long.npz --png t.png", "0.0e+00");
    program_write_inputs(&folder, "huge.npz", "text.norm <f8 [1,800,1] 1e300*800");
    must_say("\"$LLAVA\" draw rows long.npz huge.npz --png t.png", "inf");
}

static void padding_is_left_out_and_nan_is_seen(void **state)
{
    (void)state;
    program_write_inputs(&folder, "a.npz",
                         "attention_mask <i8 [1,3] 0 1 1; text.norm <f8 [1,3,2] 1*6");
    program_write_inputs(&folder, "b.npz", "text.norm <f8 [1,3,2] 9 9 nan 1 1 1");
    must_say("\"$LLAVA\" draw rows a.npz b.npz --png t.png", "nan  1");
    llava_picture p = drawn("t.png");
    size_t cell = 720 / 3;
    assert_int_equal(rgb_at(&p, 40 + 5, 5), 0); /* nothing painted */
    assert_int_equal(rgb_at(&p, 40 + cell + 5, 5), 0x00ff00);
    assert_int_equal(rgb_at(&p, 40 + 2 * cell + 5, 5), rgb_of(llava_colour_size(0)));
    llava_picture_free(&p);
    must_say("\"$LLAVA\" draw drift a.npz b.npz --png t.png", "nan");
}

/* Numbers that no softmax gives. */
static void what_is_odd_is_drawn(void **state)
{
    (void)state;
    program_write_inputs(&folder, "odd.npz",
                         "pixel_values <f4 [1,3,60,60] 0*10800; input_ids <i8 [1,40] 1*4 510*36;"
                         "text.layers.0.attn.probs <f8 [1,1,1,40] -1e300*20 nan*5 2*15");
    free(said("\"$LLAVA\" draw attention odd.npz text.layers.0.attn.probs " DEMO " --png t.png"));
}

static void what_cannot_be_drawn_is_refused(void **state)
{
    (void)state;
    program_write_inputs(&folder, "small.npz", "text.norm <f8 [1,3,2] 1*6; logits <f8 [1,3,2] 1*6");
    program_write_inputs(&folder, "other.npz", "text.norm <f8 [1,2,2] 1*4");
    program_write_inputs(&folder, "flat.npz",
                         "vision.features <f8 [4] 1*4; pixel_values <f4 [1,2,2,2] 1*8;"
                         "text.rope.cos <f8 [2] 1*2; text.rope.sin <f8 [2] 1*2");
    /* the picture's tokens end the first sample and begin the second: the last one's key is there
     */
    program_write_inputs(
        &folder, "narrow.npz",
        "pixel_values <f4 [1,3,60,60] 0*10800; input_ids <i8 [2,40] 1*20 510*36 1*24;"
        "text.layers.0.attn.probs <f8 [2,1,1,16] 0*32");
    program_write_inputs(
        &folder, "no-picture.npz",
        "vision.features <f8 [1,36,2] 1*72; input_ids <i8 [1,2] 1 1; image.rgb |u1 [4,4] 1*16;"
        "text.layers.0.attn.probs <f8 [1,1,2,2] 1*4");
    program_write_inputs(&folder, "tiny.npz",
                         "image.rgb |u1 [3,3,3] 1*27; vision.features <f8 [1,1,2] 1*2");
    program_write_inputs(&folder, "few.npz",
                         "image.rgb |u1 [60,60,3] 1*10800; input_ids <i8 [1,2] 1 1;"
                         "text.norm <f8 [1,2,1] 1*2");
    program_write_inputs(&folder, "unlike.npz",
                         "image.rgb |u1 [60,60,3] 1*10800; input_ids <i8 [1,40] 1*4 510*36;"
                         "text.norm <f8 [1,2,1] 1*2");
    program_write_inputs(&folder, "line.npz",
                         "image.rgb |u1 [60,3,3] 1*540; vision.features <f8 [1,1,2] 1*2");
    program_write_inputs(&folder, "second.npz",
                         "image.1.rgb |u1 [60,60,3] 1*10800; input_ids <i8 [1,40] 1*4 510*36;"
                         "pixel_values <f4 [3,60,60] 0*10800; text.norm <f8 [1,40,1] 1*40;"
                         "vision.features <f8 [1,36,1] 1*36; image.rgb |u1 [60,60,1] 1*3600");
    program_write_inputs(&folder, "one-axis.npz",
                         "image.rgb |u1 [60,60,3] 1*10800; input_ids <i8 [40] 1*4 510*36;"
                         "text.norm <f8 [1,40,1] 1*40");
    program_write_inputs(&folder, "two-samples.npz",
                         "image.rgb |u1 [60,60,3] 1*10800; input_ids <i8 [2,40] 1*4 510*36 1*40;"
                         "text.norm <f8 [1,40,1] 1*40");
    program_write_inputs(&folder, "sizes.npz",
                         "__meta__ |u1 [17] 123 34 105 109 97 103 101 95 115 105 122 101 115 34 58 "
                         "51 125; image.rgb |u1 [9,9,3] 1*243; vision.features <f8 [1,4,1] 1*4");
    program_write_inputs(&folder, "long-picture.npz", "image.rgb |u1 [1,20000,3] 1*60000");
    static const struct {
        const char *command, *says;
    } refused[] = {
        {"draw patches no-picture.npz no-picture.npz " DEMO " --png no.png", "picture 0 is needed"},
        {"draw attention no-picture.npz text.layers.0.attn.probs " DEMO " --png no.png",
         "picture 0 is needed"},
        {"draw patches tiny.npz tiny.npz " DEMO " --png no.png", "smaller than a patch"},
        {"draw patches line.npz line.npz " DEMO " --png no.png", "smaller than a patch"},
        {"draw patches second.npz second.npz --sample 1 --taps text.norm " DEMO " --png no.png",
         "picture 0 is needed"},
        {"draw patches second.npz second.npz --sample 1 --taps vision.features --png no.png "
         "--model \"$GOLDEN/pixtral/model\"",
         "picture 0 is needed"},
        {"draw patches one-axis.npz one-axis.npz --taps text.norm " DEMO " --png no.png",
         "input_ids has another shape"},
        {"draw patches two-samples.npz two-samples.npz --taps text.norm " DEMO " --png no.png",
         "input_ids has another shape"},
        {"draw patches sizes.npz sizes.npz --png no.png --model \"$GOLDEN/pixtral/model\"",
         "image_sizes: must be"},
        {"draw patches few.npz few.npz --taps text.norm " DEMO " --png no.png",
         "too few image tokens for picture 0"},
        {"draw patches unlike.npz unlike.npz --taps text.norm " DEMO " --png no.png",
         "input_ids has another shape"},
        {"draw patches \"$GOLDEN/pixtral/true.npz\" \"$GOLDEN/pixtral/true.npz\" --sample 9 "
         "--model \"$GOLDEN/pixtral/model\" --png no.png",
         "picture 9 is needed"},
        {"draw picture right.npz f32.npz --png no.png", "DUMP is needed"},
        {"draw angles --png no.png", "DUMP is needed"},
        {"draw rows right.npz --png no.png", "EXPECTED and ACTUAL"},
        {"draw patches right.npz --png no.png", "EXPECTED and ACTUAL"},
        {"draw picture long-picture.npz --png no.png", "the limit is 16384"},
        {"draw attention narrow.npz text.layers.0.attn.probs " DEMO " --png no.png", "16 keys"},
        {"draw", "draw: WHAT is missing"},
        {"draw drifts a.npz b.npz --png no.png", "nothing is called 'drifts' (did you mean drift"},
        {"draw drift right.npz f32.npz", "--png FILE is missing"},
        {"draw drift right.npz --png no.png", "EXPECTED and ACTUAL"},
        {"draw drift right.npz none.npz --png no.png", "none.npz"},
        {"draw drift small.npz other.npz --png no.png", "text.norm has another shape"},
        {"draw drift small.npz other.npz --taps logits --png no.png", "no tensor 'logits'"},
        {"draw drift small.npz f32.npz --taps no.such --png no.png", "no tap of numbers"},
        {"draw drift right.npz f32.npz --taps logit --png no.png",
         "no tap of numbers to draw (did you mean logits?)"},
        {"draw attention right.npz text.layers.0.attn.prob --png no.png",
         "(did you mean text.layers.0.attn.probs?)"},
        {"draw drift right.npz f32.npz --taps logits,no.such --png no.png", "'no.such' matches"},
        {"draw rows right.npz f32.npz --taps logits,pixel_values --png no.png",
         "'pixel_values' matches nothing that can be drawn"},
        {"draw rows right.npz f32.npz --sample 1 --png no.png", "has no sample 1"},
        {"draw rows right.npz f32.npz --sample x --png no.png", "no number"},
        {"draw rows right.npz f32.npz --sample : --png no.png", "no number"},
        {"draw rows right.npz f32.npz --sample 99999999999999999999999 --png no.png", "no number"},
        {"draw rows right.npz f32.npz --sample=-1 --png no.png", "no number"},
        {"draw rows right.npz f32.npz --sample 1x --png no.png", "no number"},
        {"draw rows right.npz f32.npz --sample 1000001 --png no.png", "no number"},
        {"draw zzzzzzzzzz a.npz --png no.png", "(picture, attention, patches, rows"},
        {"draw rows flat.npz flat.npz --png no.png", "no tap with a row"},
        {"draw picture small.npz --png no.png", "picture 0 is needed"},
        {"draw picture flat.npz --png no.png", "picture 0 is needed"},
        {"draw picture right.npz --sample 1 --png no.png", "picture 1 is needed"},
        {"draw angles small.npz --png no.png", "no tensor 'vision.rope.cos'"},
        {"draw angles flat.npz --png no.png", "no table of angles"},
        {"draw angles right.npz --sample 1 --png no.png", "has no sample 1"},
        {"draw attention right.npz " DEMO " --png no.png", "DUMP and TAP"},
        {"draw attention right.npz logits " DEMO " --png no.png", "is no tap"},
        {"draw attention right.npz text.layers.9.attn.probs " DEMO " --png no.png", "no tensor"},
        {"draw attention right.npz text.layers.0.attn.probs --png no.png", "--model DIR is needed"},
        {"draw attention right.npz text.layers.0.attn.probs --head 4 " DEMO " --png no.png",
         "4 heads"},
        {"draw attention right.npz text.layers.0.attn.probs --row 49 " DEMO " --png no.png",
         "49 rows"},
        {"draw patches flat.npz flat.npz " DEMO " --png no.png", "no tap to draw"},
        {"draw patches right.npz f32.npz --png no.png", "--model DIR is needed"},
        {"draw patches right.npz f32.npz --taps 'projector.*' " DEMO " --png no.png",
         "one tap at a time"},
        {"draw patches right.npz f32.npz --model none --png no.png", "none/config.json"},
        {"draw patches right.npz f32.npz --model \"$GOLDEN/plain/model\" --png no.png",
         "do not fit"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char command[512];
        snprintf(command, sizeof command, "\"$LLAVA\" %s", refused[i].command);
        program_result r = program_run(&folder, command);
        const char *wrong = program_refusal(&r, refused[i].says);
        if (wrong != NULL || program_leaves(&folder, "no.png")) {
            fail_msg("%s: %s\n%s", command, wrong != NULL ? wrong : "leaves a file", r.err);
        }
        program_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_larger_number_is_brighter),
        cmocka_unit_test(signs_have_colours_and_zero_is_white),
        cmocka_unit_test(an_angle_has_the_same_colour_a_turn_later),
        cmocka_unit_test(a_picture_is_framed_where_it_is_cut),
        cmocka_unit_test(attention_lights_what_is_looked_at),
        cmocka_unit_test(patches_are_wrong_where_they_are_wrong),
        cmocka_unit_test(rows_are_wrong_from_the_first_angle_on),
        cmocka_unit_test(drift_is_what_diff_measures),
        cmocka_unit_test(angles_begin_at_nothing),
        cmocka_unit_test(pixels_are_wrong_where_they_are_wrong),
        cmocka_unit_test(patches_of_every_family_are_found),
        cmocka_unit_test(json_has_the_tables_numbers),
        cmocka_unit_test(json_says_what_every_kind_draws),
        cmocka_unit_test(a_picture_is_drawn_from_what_there_is),
        cmocka_unit_test(long_texts_and_single_taps_are_drawn),
        cmocka_unit_test(padding_is_left_out_and_nan_is_seen),
        cmocka_unit_test(what_is_odd_is_drawn),
        cmocka_unit_test(what_cannot_be_drawn_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
