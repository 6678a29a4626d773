#include "tools/flow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A page must stay one that opens: more layers or rows than this are counted, not drawn. */
enum { MOST_LAYERS = 128, MOST_STEPS = 64, MOST_CHIPS = 64, MOST_ROWS = 4000, MOST_COLUMNS = 64 };

typedef struct {
    const char *title, *about;
    llava_at from, to; /* the kinds of taps in it */
    bool layers;
} stage;

static const stage stages[] = {
    {"Picture", "the file becomes a square of normalised pixels", LLAVA_AT_IMAGE, LLAVA_AT_IMAGE,
     false},
    {"Tokens", "the prompt becomes ids, every picture a run of placeholders", LLAVA_AT_INPUT,
     LLAVA_AT_INPUT, false},
    {"Patches", "squares of pixels become vectors, each told where it lies", LLAVA_AT_VISION,
     LLAVA_AT_VISION, false},
    {"Vision tower", "layers in which the patches look at each other", LLAVA_AT_VISION_LAYER,
     LLAVA_AT_VISION_LAYER, true},
    {"Projector", "the chosen vision vectors, brought to the language model's width",
     LLAVA_AT_FEATURES, LLAVA_AT_PROJECTOR, false},
    {"Merge", "the picture's vectors take the placeholders' places among the words'",
     LLAVA_AT_EMBED, LLAVA_AT_ROPE, false},
    {"Language model", "layers in which each position looks at those before it",
     LLAVA_AT_TEXT_LAYER, LLAVA_AT_TEXT_LAYER, true},
    {"Answer", "a score for every word that could come next", LLAVA_AT_NORM, LLAVA_AT_ANSWER,
     false},
};

static const struct {
    const char *sign, *class, *word;
} looks[LLAVA_FLOW_STATES] = {
    [LLAVA_FLOW_ABSENT] = {"&#183;", "a", "not supplied"},
    [LLAVA_FLOW_WITHIN] = {"&#10003;", "p", "within rounding"},
    [LLAVA_FLOW_INHERITED] = {"&#8595;", "i", "inherited"},
    [LLAVA_FLOW_DOUBTFUL] = {"!", "d", "further off than the peer"},
    [LLAVA_FLOW_UNJUDGED] = {"?", "u", "cannot judge"},
    [LLAVA_FLOW_OFF] = {"&#8800;", "o", "off"},
    [LLAVA_FLOW_FIRST] = {"&#10007;", "w", "first to differ"},
    [LLAVA_FLOW_WRONG] = {"&#10007;", "w", "wrong here"},
};

/* ---- order
 * ------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const llava_flow_tap *x = a, *y = b;
    if (x->known != y->known) {
        return x->known ? -1 : 1;
    }
    int order = x->known ? llava_tap_compare(&x->place, &y->place) : 0;
    return order != 0 ? order : strcmp(x->name, y->name);
}

void llava_flow_sort(llava_flow_tap *taps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        taps[i].known = llava_tap_find(taps[i].name, &taps[i].place);
    }
    if (count > 1) {
        qsort(taps, count, sizeof *taps, by_place);
    }
}

static llava_at at_of(const llava_flow_tap *t)
{
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    return kinds[t->place.kind].at;
}

/* Is it a tap of a decoding step? The answer itself has its place behind the steps. */
static bool in_step(const llava_flow_tap *t)
{
    return t->known && t->place.step > 0 && at_of(t) != LLAVA_AT_ANSWER;
}

/* ---- one tap
 * ----------------------------------------------------------------------------------- */

/* The darker, the larger: how an inherited or total error shows. */
static int strength(double error)
{
    return !(error < 0.1) ? 3 : error >= 1e-3 ? 2 : 1;
}

static void write_title(llava_html *h, const llava_flow_tap *t, bool local)
{
    llava_html_put(h, " title=\"");
    llava_html_cut(h, t->name, 200);
    llava_html_format(h, ": %s", looks[t->state].word);
    if (!t->exact && t->error >= 0) {
        llava_html_format(h, local ? ", made here %s" : ", error %s", llava_short(t->error).text);
    }
    if (!t->exact && t->allowed >= 0) {
        llava_html_format(h, ", rounding explains %s", llava_short(t->allowed).text);
    }
    if (!t->exact && t->total >= 0) {
        llava_html_format(h, ", in total %s", llava_short(t->total).text);
    }
    if (t->why != NULL) {
        llava_html_put(h, " (");
        llava_html_text(h, t->why);
        llava_html_put(h, ")");
    }
    llava_html_put(h, "\"");
}

static void write_class(llava_html *h, const llava_flow_tap *t)
{
    llava_html_format(h, " class=\"%s", looks[t->state].class);
    if (t->state == LLAVA_FLOW_INHERITED || t->state == LLAVA_FLOW_OFF) {
        llava_html_format(h, " s%d", strength(t->total >= 0 ? t->total : t->error));
    }
    llava_html_put(h, "\"");
}

static void write_cell(llava_html *h, const llava_flow_tap *t, bool local)
{
    if (t == NULL) {
        llava_html_put(h, "<td></td>");
        return;
    }
    llava_html_put(h, "<td");
    write_class(h, t);
    write_title(h, t, local);
    llava_html_format(h, ">%s</td>", looks[t->state].sign);
}

static void write_chip(llava_html *h, const llava_flow_tap *t, bool local)
{
    llava_html_put(h, "<li");
    write_class(h, t);
    write_title(h, t, local);
    llava_html_format(h, "><b>%s</b> ", looks[t->state].sign);
    llava_html_cut(h, t->name, 80);
    llava_html_put(h, "</li>");
}

/* ---- one stage
 * --------------------------------------------------------------------------------- */

static void write_counts(llava_html *h, const llava_flow_tap *taps, size_t count)
{
    static const llava_flow_state shown[] = {
        LLAVA_FLOW_WRONG,    LLAVA_FLOW_FIRST,     LLAVA_FLOW_OFF,    LLAVA_FLOW_DOUBTFUL,
        LLAVA_FLOW_UNJUDGED, LLAVA_FLOW_INHERITED, LLAVA_FLOW_WITHIN, LLAVA_FLOW_ABSENT};
    size_t numbers[LLAVA_FLOW_STATES] = {0};
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        numbers[taps[i].state]++;
    }
    llava_html_put(h, "<p class=\"counts\">");
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        if (numbers[shown[i]] > 0) {
            llava_html_format(h, "%s<span class=\"n%s\">%zu %s</span>", first ? "" : ", ",
                              looks[shown[i]].class, numbers[shown[i]], looks[shown[i]].word);
            first = false;
        }
    }
    llava_html_put(h, "</p>");
}

static void write_chips(llava_html *h, const llava_flow_tap *taps, size_t count, bool local)
{
    llava_html_put(h, "<ul class=\"chips\">");
    for (size_t i = 0; i < count && i < MOST_CHIPS; i++) {
        write_chip(h, &taps[i], local);
    }
    if (count > MOST_CHIPS) {
        llava_html_format(h, "<li class=\"a\">and %zu more</li>", count - MOST_CHIPS);
    }
    llava_html_put(h, "</ul>");
}

/* The part of a layer's tap behind "text.layers.{i}.". */
static const char *short_name(size_t kind)
{
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    const char *layer = strstr(kinds[kind].name, "{i}.");
    return layer == NULL ? kinds[kind].name : layer + 4;
}

/* The kinds of taps that these hold, in the order of the flow. */
static size_t list_columns(const llava_flow_tap *taps, size_t count, size_t *columns)
{
    const llava_tap_kind *kinds;
    size_t total = llava_tap_kinds(&kinds), found = 0;
    for (size_t k = 0; k < total && found < MOST_COLUMNS; k++) {
        for (size_t i = 0; i < count; i++) {
            if (taps[i].place.kind == k) {
                columns[found++] = k;
                break;
            }
        }
    }
    return found;
}

static void write_head(llava_html *h, const char *corner, const size_t *columns, size_t count)
{
    llava_html_format(h,
                      "<div class=\"scroll\"><table class=\"grid\"><thead><tr><th "
                      "scope=\"col\">%s</th>",
                      corner);
    for (size_t i = 0; i < count; i++) {
        llava_html_format(h, "<th scope=\"col\"><span>%s</span></th>", short_name(columns[i]));
    }
    llava_html_put(h, "</tr></thead><tbody>");
}

static void write_tail(llava_html *h, size_t left_out, const char *what)
{
    llava_html_put(h, "</tbody></table></div>");
    if (left_out > 0) {
        llava_html_format(h, "<p class=\"note\">%zu more %s are not drawn.</p>", left_out, what);
    }
}

/* One row per layer, the taps of a layer standing together. */
static void write_layers(llava_html *h, const llava_flow_tap *taps, size_t count, bool local)
{
    size_t columns[MOST_COLUMNS], width = list_columns(taps, count, columns), drawn = 0, left = 0;
    write_head(h, "layer", columns, width);
    for (size_t i = 0; i < count;) {
        size_t layer = taps[i].place.layer;
        bool draws = drawn < MOST_LAYERS;
        if (draws) {
            llava_html_format(h, "<tr><th scope=\"row\">%zu</th>", layer);
        }
        for (size_t c = 0; c < width; c++) {
            bool here =
                i < count && taps[i].place.layer == layer && taps[i].place.kind == columns[c];
            if (draws) {
                write_cell(h, here ? &taps[i] : NULL, local);
            }
            i += here;
        }
        for (; i < count && taps[i].place.layer == layer; i++) {
        } /* the same tap twice cannot be; columns left out can */
        if (draws) {
            llava_html_put(h, "</tr>");
        }
        drawn += draws;
        left += !draws;
    }
    write_tail(h, left, "layers");
}

/* One row per decoding step; a cell is the worst of its kind over the layers. */
static void write_steps(llava_html *h, const llava_flow_tap *taps, size_t count, bool local)
{
    size_t columns[MOST_COLUMNS], width = list_columns(taps, count, columns), drawn = 0, left = 0;
    write_head(h, "step", columns, width);
    for (size_t i = 0; i < count;) {
        const llava_flow_tap *worst[MOST_COLUMNS] = {NULL};
        size_t step = taps[i].place.step;
        for (; i < count && taps[i].place.step == step; i++) {
            size_t c = 0;
            while (c < width && columns[c] != taps[i].place.kind) {
                c++;
            }
            if (c < width && (worst[c] == NULL || taps[i].state > worst[c]->state)) {
                worst[c] = &taps[i];
            }
        }
        if (drawn == MOST_STEPS) {
            left++;
            continue;
        }
        llava_html_format(h, "<tr><th scope=\"row\">%zu</th>", step);
        for (size_t c = 0; c < width; c++) {
            write_cell(h, worst[c], local);
        }
        llava_html_put(h, "</tr>");
        drawn++;
    }
    write_tail(h, left, "steps");
}

static bool of_stage(const llava_flow_tap *t, const stage *s)
{
    return t->known && !in_step(t) && at_of(t) >= s->from && at_of(t) <= s->to;
}

static void write_card(llava_html *h, const char *title, const char *about, bool wide,
                       const llava_flow_tap *taps, size_t count)
{
    llava_html_format(h, "<li class=\"card%s\"><h3>%s</h3><p class=\"about\">%s</p>",
                      wide ? " wide" : "", title, about);
    write_counts(h, taps, count);
}

/* Nothing but taps within rounding, or none supplied? Such a stage need not fill the page. */
static bool is_calm(const llava_flow_tap *taps, size_t count)
{
    enum { FEW = 100 };
    for (size_t i = 0; i < count; i++) {
        if (taps[i].state > LLAVA_FLOW_WITHIN) {
            return false;
        }
    }
    return count > FEW;
}

static void write_table(llava_html *h,
                        void (*table)(llava_html *h, const llava_flow_tap *taps, size_t count,
                                      bool local),
                        const llava_flow_tap *taps, size_t count, bool local)
{
    bool calm = is_calm(taps, count);
    llava_html_put(h, calm ? "<details><summary>Layer by layer</summary>" : "");
    table(h, taps, count, local);
    llava_html_put(h, calm ? "</details>" : "");
}

static void write_legend(llava_html *h, const llava_flow_tap *taps, size_t count)
{
    bool used[LLAVA_FLOW_STATES] = {false};
    for (size_t i = 0; i < count; i++) {
        used[taps[i].state] = true;
    }
    llava_html_put(h, "<ul class=\"chips legend\">");
    for (size_t s = LLAVA_FLOW_STATES; s-- > 0;) {
        if (used[s]) {
            bool graded = s == LLAVA_FLOW_INHERITED || s == LLAVA_FLOW_OFF;
            llava_html_format(h, "<li class=\"%s%s\"><b>%s</b> %s%s</li>", looks[s].class,
                              graded ? " s2" : "", looks[s].sign, looks[s].word,
                              graded ? " (the darker, the more)" : "");
        }
    }
    llava_html_put(h, "</ul>");
}

/* Length of the run of taps from `first` on for which the stage holds (steps: stage NULL). */
static size_t run_of(const llava_flow_tap *taps, size_t count, size_t first, const stage *s)
{
    size_t i = first;
    while (i < count && (s == NULL ? in_step(&taps[i]) : of_stage(&taps[i], s))) {
        i++;
    }
    return i - first;
}

static void write_stage(llava_html *h, const stage *s, const llava_flow_tap *taps, size_t count,
                        bool local)
{
    write_card(h, s->title, s->about, s->layers, taps, count);
    if (s->layers) {
        write_table(h, write_layers, taps, count, local);
    } else {
        write_chips(h, taps, count, local);
    }
    llava_html_put(h, "</li>");
}

void llava_flow_write(llava_html *h, const llava_flow_tap *taps, size_t count, bool local)
{
    write_legend(h, taps, count);
    llava_html_put(h, "<ol class=\"flow\">");
    for (size_t i = 0; i < count;) {
        size_t n = 0;
        for (size_t s = 0; n == 0 && s < sizeof stages / sizeof stages[0]; s++) {
            n = run_of(taps, count, i, &stages[s]);
            if (n > 0) {
                write_stage(h, &stages[s], taps + i, n, local);
            }
        }
        if (n == 0 && (n = run_of(taps, count, i, NULL)) > 0) {
            write_card(h, "Decoding steps",
                       "one token each; a cell is the worst of its kind over the layers", true,
                       taps + i, n);
            write_table(h, write_steps, taps + i, n, local);
            llava_html_put(h, "</li>");
        }
        if (n == 0) {
            n = count - i;
            write_card(h, "Other tensors", "names that are no taps", true, taps + i, n);
            write_chips(h, taps + i, n, local);
            llava_html_put(h, "</li>");
        }
        i += n;
    }
    llava_html_put(h, "</ol>");
}

/* ---- numbers
 * ----------------------------------------------------------------------------------- */

static void write_number(llava_html *h, const llava_flow_tap *t, double value)
{
    llava_html_format(h, "<td>%s</td>", t->exact || value < 0 ? "" : llava_short(value).text);
}

static void write_shape(llava_html *h, const llava_flow_tap *t)
{
    llava_html_put(h, "<td>");
    for (int i = 0; i < t->rank; i++) {
        llava_html_format(h, "%s%zu", i == 0 ? "" : "&#215;", t->shape[i]);
    }
    llava_html_put(h, "</td>");
}

void llava_flow_numbers(llava_html *h, const llava_flow_tap *taps, size_t count, bool local)
{
    size_t drawn = 0, left = 0;
    llava_html_format(h,
                      "<div class=\"scroll\"><table class=\"numbers\"><thead><tr><th "
                      "scope=\"col\">tap</th><th scope=\"col\">shape</th><th scope=\"col\">%s</th>"
                      "<th scope=\"col\">rounding explains</th>%s<th "
                      "scope=\"col\">state</th></tr></thead><tbody>",
                      local ? "made here" : "error",
                      local ? "<th scope=\"col\">in total</th>" : "");
    for (size_t i = 0; i < count; i++) {
        const llava_flow_tap *t = &taps[i];
        if (t->state == LLAVA_FLOW_ABSENT || drawn == MOST_ROWS) {
            left += t->state != LLAVA_FLOW_ABSENT;
            continue;
        }
        llava_html_put(h, "<tr><th scope=\"row\">");
        llava_html_cut(h, t->name, 120);
        llava_html_put(h, "</th>");
        write_shape(h, t);
        write_number(h, t, t->error);
        write_number(h, t, t->allowed);
        if (local) {
            write_number(h, t, t->total);
        }
        llava_html_format(h, "<td class=\"n%s\">%s</td></tr>", looks[t->state].class,
                          looks[t->state].word);
        drawn++;
    }
    write_tail(h, left, "rows");
}
