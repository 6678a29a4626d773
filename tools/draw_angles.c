/* draw angles: the rotary table as hues. */
#include "tools/draw.h"

#include <stdlib.h>

static bool paint_angles(llava_drawing *d, const double *cosine, const double *sine,
                         size_t positions, size_t width, llava_error *e)
{
    enum { WIDE = 720, TALL = 12 };
    size_t cell = positions < WIDE ? WIDE / positions : 1, pairs = width / 2;
    if (!llava_canvas_open(&d->canvas, positions * cell, pairs * TALL, e)) {
        return false;
    }
    for (size_t j = 0; j < pairs; j++) {
        for (size_t i = 0; i < positions; i++) {
            llava_canvas_fill(&d->canvas, i * cell, j * TALL, cell, TALL,
                              llava_colour_angle(cosine[i * width + j], sine[i * width + j]));
        }
    }
    return true;
}

/* [.., positions, width]: those of the text model, or else of the tower. */
bool llava_draw_angles(llava_drawing *d, llava_error *e)
{
    llava_dump *dump;
    if (d->count != 1) {
        return llava_fail(e, "draw angles: DUMP is needed");
    }
    if (!llava_dump_open(&dump, d->words[0], e)) {
        return false;
    }
    bool text = llava_dump_find(dump, "text.rope.cos") != NULL &&
                llava_drawing_wants(d, "text.rope.cos", "*");
    if (!text) {
        llava_drawing_wants(d, "vision.rope.cos", "*"); /* its glob has found what it names */
    }
    const llava_dump_entry *c =
        llava_drawing_entry(dump, text ? "text.rope.cos" : "vision.rope.cos", e);
    const llava_dump_entry *s =
        c == NULL ? NULL : llava_drawing_entry(dump, text ? "text.rope.sin" : "vision.rope.sin", e);
    double *cosine = NULL, *sine = NULL;
    bool ok =
        s != NULL && c->array.rank >= 2 && c->array.count > 0 && c->array.count == s->array.count;
    if (s != NULL && !ok) {
        llava_fail(e, "%s: %s is no table of angles", d->words[0], c->name);
    }
    size_t width = ok ? c->array.shape[c->array.rank - 1] : 0;
    size_t positions = ok ? c->array.shape[c->array.rank - 2] : 0;
    size_t first = d->sample * positions * width;
    if (ok && first >= c->array.count) {
        ok = llava_fail(e, "%s: %s has no sample %zu", d->words[0], c->name, d->sample);
    }
    ok = ok && llava_dump_load(dump, c, &cosine, e) && llava_dump_load(dump, s, &sine, e);
    if (ok) {
        fprintf(d->table, "%s: %zu pairs (down), %zu positions (to the right)\n", c->name,
                width / 2, positions);
        llava_json_put(&d->lost, d->json, "tap", cJSON_CreateString(c->name));
        llava_drawing_count(d, d->json, "pairs", width / 2);
        llava_drawing_count(d, d->json, "positions", positions);
        ok = paint_angles(d, cosine + first, sine + first, positions, width, e);
    }
    free(cosine);
    free(sine);
    llava_dump_close(dump);
    return ok;
}
