#include "tools/picture_trial.h"

#include "ref/file.h"
#include "ref/picture_file.h"
#include "ref/prompt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const stage_names[LLAVA_STAGE_COUNT] = {"rgb", "padded", "resized", "cropped"};

static void stage_name(size_t picture, size_t stage, char name[LLAVA_TAP_NAME])
{
    if (picture == 0) {
        snprintf(name, LLAVA_TAP_NAME, "image.%s", stage_names[stage]);
    } else {
        snprintf(name, LLAVA_TAP_NAME, "image.%zu.%s", picture, stage_names[stage]);
    }
}

/* In levels: float32 weights of a picture of 10000 pixels are off by no more than this. */
#define TIE 0x1p-7

/* ---- where it starts -------------------------------------------------------------------------
 */

/* The port's picture, where the tensor is one: [h, w, 3] of bytes. */
static bool load_picture(llava_port *port, const llava_port_tensor *t, llava_picture *picture,
                         bool *is, llava_error *e)
{
    llava_error small = {""};
    double *values;
    *is = t->rank == 3 && t->shape[2] == 3 && !t->partial &&
          llava_picture_new(picture, t->shape[0], t->shape[1], &small);
    if (!*is) {
        return llava_may_go_on(&small, e);
    }
    if (!llava_port_load(port, t, &values, e)) {
        llava_picture_free(picture);
        return false;
    }
    for (size_t i = 0; i < t->count; i++) {
        *is &= values[i] >= 0 && values[i] <= 255;
        picture->rgb[i] = *is ? (uint8_t)values[i] : 0;
    }
    free(values);
    if (!*is) {
        llava_picture_free(picture);
    }
    return true;
}

/* Does a file read by this plan give the picture that the session has of it? */
static bool reads_alike(const llava_session *s, const llava_image_plan *plan)
{
    llava_image_plan own = llava_session_image_plan(s, &s->request->choices);
    return s->pictures != NULL && own.channel_order == LLAVA_CHANNELS_RGB &&
           own.alpha == plan->alpha && own.exif == plan->exif &&
           own.jpeg_upsampling == plan->jpeg_upsampling && own.jpeg_dct == plan->jpeg_dct;
}

static bool read_file(const llava_session *s, size_t i, const llava_image_plan *plan,
                      llava_picture *picture, llava_error *e)
{
    if (reads_alike(s, plan)) { /* reading it is a third of a trial's time */
        const llava_picture *rgb = &s->pictures[i].stage[LLAVA_STAGE_RGB];
        if (!llava_picture_new(picture, rgb->height, rgb->width, e)) {
            return false;
        }
        memcpy(picture->rgb, rgb->rgb, 3 * rgb->height * rgb->width);
        return true;
    }
    llava_file file;
    if (!llava_file_map(&file, s->images[i], e)) {
        return false;
    }
    bool ok = llava_picture_read(picture, s->images[i], file.bytes, file.size, plan, e);
    llava_file_unmap(&file);
    return ok;
}

/* How pictures are made. */
typedef struct {
    const llava_session *session;
    const llava_choices *choices;
    llava_port *from;             /* whose stages they start with; NULL: with the files */
    double tie;                   /* as llava_image_plan's */
    llava_channel_order channels; /* where red and blue are exchanged, if the choices say so */
} way;

/* The nearest picture before stage `before`: the port's, else the file's. */
static bool find_start(const way *w, size_t i, size_t before, const llava_image_plan *plan,
                       llava_picture *picture, llava_image_stage *stage, llava_error *e)
{
    *stage = LLAVA_STAGE_RGB;
    for (size_t j = before; w->from != NULL && j-- > 0;) {
        char name[LLAVA_TAP_NAME];
        bool is;
        stage_name(i, j, name);
        const llava_port_tensor *t = llava_port_find(w->from, name);
        if (t == NULL) {
            continue;
        }
        if (!load_picture(w->from, t, picture, &is, e)) {
            return false;
        }
        if (is) {
            *stage = (llava_image_stage)j;
            return true;
        }
    }
    return read_file(w->session, i, plan, picture, e);
}

/* ---- one picture -----------------------------------------------------------------------------
 */

/* All stages of picture i behind its start; *made false where the choices refuse it. */
static bool process(const way *w, size_t i, size_t before, llava_image_stages *stages, bool *made,
                    llava_error *e)
{
    llava_image_plan plan = llava_session_image_plan(w->session, w->choices);
    llava_picture picture;
    llava_image_stage stage;
    llava_error refused;
    plan.tie = w->tie;
    plan.channel_order =
        plan.channel_order == LLAVA_CHANNELS_BGR ? w->channels : LLAVA_CHANNELS_RGB;
    if (!find_start(w, i, before, &plan, &picture, &stage, e)) {
        return false;
    }
    *made = llava_picture_process_from(&w->session->processor, &plan, stage, &picture, stages,
                                       &refused);
    llava_picture_free(&picture);
    return *made || llava_may_go_on(&refused, e);
}

/* Stage j of picture i as doubles; *made false where it is absent or of another shape. */
static bool stage_values(const way *w, size_t i, size_t j, const llava_port_tensor *t,
                         double *values, bool *made, llava_error *e)
{
    llava_image_stages stages;
    if (!process(w, i, j, &stages, made, e)) {
        return false;
    }
    if (!*made) {
        return true;
    }
    const llava_picture *p = &stages.stage[j];
    *made = p->rgb != NULL && t->rank == 3 && p->height == t->shape[0] && p->width == t->shape[1] &&
            t->shape[2] == 3;
    for (size_t k = 0; *made && k < t->count; k++) {
        values[k] = p->rgb[k];
    }
    llava_image_stages_free(&stages);
    return true;
}

/* pixel_values of all pictures, of the given shape [N, 3, h, w]: exactly that of each, or of the
 * largest where Pixtral pads the rest. */
static bool pixel_values(const way *w, const size_t shape[4], double *values, bool *made,
                         llava_error *e)
{
    const llava_session *s = w->session;
    bool pads = s->processor.images == LLAVA_IMAGES_PIXTRAL && s->processor.do_pad;
    size_t height = 0, width = 0;
    *made = shape[0] == s->image_count && shape[1] == 3;
    for (size_t i = 0; *made && i < shape[0]; i++) {
        llava_image_stages stages;
        if (!process(w, i, LLAVA_STAGE_COUNT, &stages, made, e)) {
            return false;
        }
        if (!*made) {
            break;
        }
        *made = stages.height <= shape[2] && stages.width <= shape[3] &&
                (pads || (stages.height == shape[2] && stages.width == shape[3]));
        if (*made) {
            llava_image_stages_put(&stages, shape[2], shape[3],
                                   values + i * 3 * shape[2] * shape[3]);
        }
        height = stages.height > height ? stages.height : height;
        width = stages.width > width ? stages.width : width;
        llava_image_stages_free(&stages);
    }
    *made = *made && height == shape[2] && width == shape[3];
    return true;
}

/* ---- for the diagnosis -----------------------------------------------------------------------
 */

bool llava_picture_sizes(const llava_session *s, llava_port *port, llava_inputs *inputs,
                         llava_error *e)
{
    static const llava_choices right = {0};
    const way w = {s, &right, port, 0, LLAVA_CHANNELS_BGR};
    bool known = inputs->image_sizes != NULL && s->pictures != NULL;
    int64_t *sizes = known ? llava_alloc(e, 2 * s->image_count, sizeof *sizes) : NULL;
    int64_t height = 0, width = 0;
    if (!known || sizes == NULL) {
        return !known;
    }
    for (size_t i = 0; known && i < s->image_count; i++) {
        llava_image_stages stages;
        if (!process(&w, i, LLAVA_STAGE_COUNT, &stages, &known, e)) {
            free(sizes);
            return false;
        }
        if (known) {
            sizes[2 * i] = (int64_t)stages.height;
            sizes[2 * i + 1] = (int64_t)stages.width;
            height = sizes[2 * i] > height ? sizes[2 * i] : height;
            width = sizes[2 * i + 1] > width ? sizes[2 * i + 1] : width;
            llava_image_stages_free(&stages);
        }
    }
    if (known) {
        memcpy(inputs->image_sizes, sizes, 2 * s->image_count * sizeof *sizes);
        inputs->height = (size_t)height;
        inputs->width = (size_t)width;
    }
    free(sizes);
    return true;
}

/* One picture's rows in ids from *at on: the ends of its rows are breaks, the last one the end. */
static bool grid_at(const int64_t *ids, size_t n, const int64_t tokens[3], size_t *at, size_t *rows,
                    size_t *columns)
{
    size_t run = 0;
    *rows = *columns = 0;
    for (; *at < n; ++*at) {
        if (ids[*at] == tokens[0]) {
            run++;
        } else if (ids[*at] == tokens[1] || ids[*at] == tokens[2]) {
            *columns = *rows == 0 ? run : *columns;
            if (run == 0 || run != *columns) {
                return false;
            }
            ++*rows;
            run = 0;
            if (ids[(*at)++] == tokens[2]) {
                return true;
            }
            --*at;
        } else if (run > 0 || *rows > 0) {
            return false;
        }
    }
    return false;
}

bool llava_picture_sizes_of_ids(const llava_session *s, const int64_t *ids, size_t n, size_t height,
                                size_t width, llava_inputs *inputs)
{
    const llava_processor *p = &s->processor;
    if (s->pictures == NULL || inputs->image_sizes == NULL || s->tokenizer == NULL ||
        llava_processor_class_of(p, &s->config) != LLAVA_PROCESSOR_PIXTRAL) {
        return false;
    }
    size_t patch = p->has_processor ? p->patch_size : s->config.vision.patch_size;
    const int64_t tokens[3] = {
        s->config.image_token,
        llava_tokenizer_id_of(s->tokenizer, llava_image_break_text(p)),
        llava_tokenizer_id_of(s->tokenizer, llava_image_end_text(p)),
    };
    int64_t *sizes = llava_alloc(NULL, 2 * s->image_count, sizeof *sizes);
    size_t at = 0, largest[2] = {0, 0}, grid[2];
    bool ok = sizes != NULL;
    for (size_t i = 0; ok && i < s->image_count; i++) {
        ok = grid_at(ids, n, tokens, &at, &grid[0], &grid[1]) && grid[0] <= height / patch &&
             grid[1] <= width / patch;
        for (size_t k = 0; ok && k < 2; k++) {
            sizes[2 * i + k] = (int64_t)(grid[k] * patch);
            largest[k] = grid[k] * patch > largest[k] ? grid[k] * patch : largest[k];
        }
    }
    ok = ok && largest[0] == height / patch * patch && largest[1] == width / patch * patch;
    if (ok) {
        memcpy(inputs->image_sizes, sizes, 2 * s->image_count * sizeof *sizes);
        inputs->height = height;
        inputs->width = width;
    }
    free(sizes);
    return ok;
}

bool llava_picture_values(const llava_session *s, const llava_inputs *in,
                          const llava_choices *choices, llava_port *port, double **values,
                          llava_error *e)
{
    const way w = {s, choices, port, 0, LLAVA_CHANNELS_BGR};
    size_t shape[4] = {in->pictures, 3, in->height, in->width};
    bool made;
    *values = llava_alloc(e, in->pictures * 3 * in->height * in->width, sizeof(double));
    if (*values == NULL || !pixel_values(&w, shape, *values, &made, e)) {
        free(*values);
        return false;
    }
    if (!made) {
        free(*values);
        *values = NULL;
    }
    return true;
}

/* The values of a tap; *made false where this way makes none, or of another shape. */
static bool values_of(const way *w, const llava_port_tensor *t, double *values, bool *made,
                      llava_error *e)
{
    llava_tap_place place;
    *made = false;
    if (strcmp(t->name, "pixel_values") == 0) {
        return t->rank != 4 || pixel_values(w, t->shape, values, made, e);
    }
    bool picture = llava_tap_find(t->name, &place) && place.layer < w->session->image_count;
    return !picture || stage_values(w, place.layer, place.kind, t, values, made, e);
}

/* Where float levels become bytes, one near the middle of two goes either way, by the port's rule
 * for ties and by the last bits of its weights: such a value is taken as the port has it. */
static bool turn_ties(way w, const llava_port_tensor *t, double *mine, const double *theirs,
                      llava_error *e)
{
    double *other = llava_alloc(e, t->count, sizeof(double));
    bool made, ok = other != NULL;
    w.tie = -w.tie;
    ok = ok && values_of(&w, t, other, &made, e);
    for (size_t i = 0; ok && made && i < t->count; i++) {
        bool nearer = fabs(theirs[i] - other[i]) < fabs(theirs[i] - mine[i]);
        mine[i] = nearer ? other[i] : mine[i];
    }
    free(other);
    return ok;
}

void llava_cast_pixels(double *mine, const double *theirs, size_t n)
{
    const llava_dtype type = llava_narrowest(theirs, n);
    /* what is cast is a float32 number, a few units off; a 64th of the cast's own */
    const double slack = llava_unit(type) / 64;
    for (size_t i = 0; i < n && (type == LLAVA_BF16 || type == LLAVA_F16); i++) {
        double off = slack * (1 + fabs(mine[i]));
        bool rounds = llava_round(type, mine[i] - off) <= theirs[i] &&
                      theirs[i] <= llava_round(type, mine[i] + off);
        mine[i] = rounds ? theirs[i] : mine[i];
    }
}

static bool compare(way w, llava_port *port, const char *tap, llava_comparison *result, bool *made,
                    llava_error *e)
{
    const llava_port_tensor *t = llava_port_find(port, tap);
    llava_counting none = {0};
    const unsigned char rounding = w.choices->value[LLAVA_IMAGE_RESIZE_ROUNDING];
    bool floats = rounding == LLAVA_RESIZE_ONCE || rounding == LLAVA_RESIZE_OPENCV ||
                  (rounding == LLAVA_RESIZE_FLOAT && strcmp(tap, "pixel_values") != 0);
    double *mine = llava_alloc(e, t->count, sizeof(double)), *theirs = NULL;
    w.tie = floats ? TIE : 0;
    bool ok = mine != NULL && values_of(&w, t, mine, made, e);
    if (ok && *made) {
        ok = llava_port_load(port, t, &theirs, e) && (!floats || turn_ties(w, t, mine, theirs, e));
    }
    if (ok && *made) {
        if (strcmp(tap, "pixel_values") == 0) {
            llava_cast_pixels(mine, theirs, t->count);
        }
        ok = llava_compare(&none, tap, t->rank, t->shape, mine, theirs, result, e);
    }
    free(mine);
    free(theirs);
    return ok;
}

bool llava_picture_shows_stage(const llava_session *s, llava_port *port)
{
    char name[LLAVA_TAP_NAME];
    for (size_t i = 0; i < s->image_count; i++) {
        for (size_t stage = 0; stage < LLAVA_STAGE_COUNT; stage++) {
            stage_name(i, stage, name);
            if (llava_port_find(port, name) != NULL) {
                return true;
            }
        }
    }
    return false;
}

bool llava_picture_compare(const llava_session *s, const llava_choices *choices, llava_port *from,
                           llava_port *port, const char *tap, llava_comparison *result, bool *made,
                           llava_error *e)
{
    way w = {s, choices, from, 0, LLAVA_CHANNELS_BGR};
    bool places = strcmp(tap, "pixel_values") == 0 &&
                  choices->value[LLAVA_IMAGE_CHANNEL_ORDER] == LLAVA_CHANNELS_BGR;
    if (!compare(w, port, tap, result, made, e)) {
        return false;
    }
    while (places && *made && w.channels < LLAVA_CHANNELS_BGR_LAST) {
        llava_comparison other;
        w.channels++;
        if (!compare(w, port, tap, &other, made, e)) {
            return false;
        }
        *result = other.rel_l2 < result->rel_l2 ? other : *result;
    }
    return true;
}
