#include "tools/picture_trial.h"

#include "ref/file.h"
#include "ref/picture_file.h"
#include "ref/prompt.h"

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

static bool read_file(const llava_session *s, size_t i, const llava_image_plan *plan,
                      llava_picture *picture, llava_error *e)
{
    llava_file file;
    if (!llava_file_map(&file, s->images[i], e)) {
        return false;
    }
    bool ok = llava_picture_read(picture, s->images[i], file.bytes, file.size, plan, e);
    llava_file_unmap(&file);
    return ok;
}

/* The nearest picture before stage `before`: the port's, else the file's. */
static bool find_start(const llava_session *s, llava_port *port, size_t i, size_t before,
                       const llava_image_plan *plan, llava_picture *picture,
                       llava_image_stage *stage, llava_error *e)
{
    *stage = LLAVA_STAGE_RGB;
    for (size_t j = before; port != NULL && j-- > 0;) {
        char name[LLAVA_TAP_NAME];
        bool is;
        stage_name(i, j, name);
        const llava_port_tensor *t = llava_port_find(port, name);
        if (t == NULL) {
            continue;
        }
        if (!load_picture(port, t, picture, &is, e)) {
            return false;
        }
        if (is) {
            *stage = (llava_image_stage)j;
            return true;
        }
    }
    return read_file(s, i, plan, picture, e);
}

/* ---- one picture -----------------------------------------------------------------------------
 */

/* All stages of picture i behind its start; *made false where the choices refuse it. */
static bool process(const llava_session *s, const llava_choices *choices, llava_port *from,
                    size_t i, size_t before, llava_image_stages *stages, bool *made, llava_error *e)
{
    llava_image_plan plan = llava_session_image_plan(s, choices);
    llava_picture picture;
    llava_image_stage stage;
    llava_error refused;
    if (!find_start(s, from, i, before, &plan, &picture, &stage, e)) {
        return false;
    }
    *made = llava_picture_process_from(&s->processor, &plan, stage, &picture, stages, &refused);
    llava_picture_free(&picture);
    return *made || llava_may_go_on(&refused, e);
}

/* Stage j of picture i as doubles; *made false where it is absent or of another shape. */
static bool stage_values(const llava_session *s, const llava_choices *choices, llava_port *from,
                         size_t i, size_t j, const llava_port_tensor *t, double *values, bool *made,
                         llava_error *e)
{
    llava_image_stages stages;
    if (!process(s, choices, from, i, j, &stages, made, e)) {
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
static bool pixel_values(const llava_session *s, const llava_choices *choices, llava_port *from,
                         const size_t shape[4], double *values, bool *made, llava_error *e)
{
    bool pads = s->processor.images == LLAVA_IMAGES_PIXTRAL && s->processor.do_pad;
    size_t height = 0, width = 0;
    *made = shape[0] == s->image_count && shape[1] == 3;
    for (size_t i = 0; *made && i < shape[0]; i++) {
        llava_image_stages stages;
        if (!process(s, choices, from, i, LLAVA_STAGE_COUNT, &stages, made, e)) {
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
    bool known = inputs->image_sizes != NULL && s->pictures != NULL;
    int64_t *sizes = known ? llava_alloc(e, 2 * s->image_count, sizeof *sizes) : NULL;
    int64_t height = 0, width = 0;
    if (!known || sizes == NULL) {
        return !known;
    }
    for (size_t i = 0; known && i < s->image_count; i++) {
        llava_image_stages stages;
        if (!process(s, &right, port, i, LLAVA_STAGE_COUNT, &stages, &known, e)) {
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
    size_t shape[4] = {in->pictures, 3, in->height, in->width};
    bool made;
    *values = llava_alloc(e, in->pictures * 3 * in->height * in->width, sizeof(double));
    if (*values == NULL || !pixel_values(s, choices, port, shape, *values, &made, e)) {
        free(*values);
        return false;
    }
    if (!made) {
        free(*values);
        *values = NULL;
    }
    return true;
}

bool llava_picture_compare(const llava_session *s, const llava_choices *choices, llava_port *from,
                           llava_port *port, const char *tap, llava_comparison *result, bool *made,
                           llava_error *e)
{
    const llava_port_tensor *t = llava_port_find(port, tap);
    llava_counting none = {0};
    llava_tap_place place;
    double *mine = llava_alloc(e, t->count, sizeof(double)), *theirs = NULL;
    bool ok = mine != NULL;
    *made = false;
    if (ok && strcmp(tap, "pixel_values") == 0) {
        ok = t->rank != 4 || pixel_values(s, choices, from, t->shape, mine, made, e);
    } else if (ok && llava_tap_find(tap, &place) && place.layer < s->image_count) {
        ok = stage_values(s, choices, from, place.layer, place.kind, t, mine, made, e);
    }
    if (ok && *made) {
        ok = llava_port_load(port, t, &theirs, e) &&
             llava_compare(&none, tap, t->rank, t->shape, mine, theirs, result, e);
    }
    free(mine);
    free(theirs);
    return ok;
}
