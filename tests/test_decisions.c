/* The table of decisions: its form, and that each decision acts where the table says and nowhere
 * else.
 *
 * The second is proved on the models under golden/. A run with a decision taken the wrong way is
 * given, behind each tap, the tensor that the right run had there ("teacher forcing"); so each tap
 * is computed from right inputs, and the taps that differ are those whose own computation the
 * decision changes. Each of them must be in acts[], and each of acts[] must differ for some value
 * on some model. */
#include "ref/jpeg.h"
#include "ref/picture_file.h"
#include "ref/file.h"
#include "ref/prompt.h"
#include "tests/support.h"
#include "tools/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_ACTS = 32, MOST_TAPS = 1024, STEPS = 3 };

static const llava_decision *decision(size_t i)
{
    return llava_decision_at((llava_decision_id)i);
}

/* ---- the table's form ---------------------------------------------------------------------------
 */

static void every_decision_has_its_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = decision(i);
        if (d->name == NULL || d->what == NULL || d->source == NULL || d->ports == NULL) {
            fail_msg("decision %zu is incomplete", i);
        }
        size_t end = strlen(d->what);
        if (strchr(d->name, '.') == NULL || end < 20 || d->what[end - 1] != '.' ||
            strlen(d->source) < 8) {
            fail_msg("%s: a text is missing", d->name);
        }
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(d->name, decision(j)->name);
        }
    }
}

/* "PORT: what (EVIDENCE) LINK; ..." */
static void ports_name_their_evidence(void **state)
{
    (void)state;
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = decision(i);
        const char *at = d->ports;
        if (strcmp(at, "no report known") == 0) {
            continue;
        }
        while (at != NULL) {
            const char *next = strstr(at, "; "), *open = strchr(at, '('), *colon = strchr(at, ':');
            bool good = colon != NULL && open != NULL && colon < open &&
                        (next == NULL || open < next) &&
                        (strchr("RFCX", open[1]) != NULL || strncmp(open + 1, "by ", 3) == 0);
            const char *link = good ? strchr(open, ')') + 1 : NULL;
            good = good && link != (const char *)1 &&
                   (*link == '\0' || link == next || strncmp(link, " https://", 9) == 0);
            if (!good) {
                fail_msg("%s: ports: %.60s", d->name, at);
            }
            at = next == NULL ? NULL : next + 2;
        }
    }
}

static void values_are_unique_and_the_default_comes_first(void **state)
{
    (void)state;
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const llava_decision *d = decision(i);
        size_t count = 0;
        while (count < LLAVA_MAX_VALUES && d->values[count] != NULL) {
            count++;
        }
        assert_in_range(count, 2, LLAVA_MAX_VALUES - 1);
        for (size_t v = 0; v < count; v++) {
            char setting[96];
            llava_choices choices = {{0}};
            llava_error e;
            snprintf(setting, sizeof setting, "%s=%s", d->name, d->values[v]);
            assert_true(llava_choose(&choices, setting, &e));
            assert_int_equal(choices.value[i], v); /* a value named twice would give the first */
        }
        /* where the model folder decides, "config" is the default */
        for (size_t v = 1; v < count; v++) {
            assert_string_not_equal(d->values[v], "config");
        }
    }
}

static void wrong_settings_name_what_there_is(void **state)
{
    (void)state;
    llava_choices choices = {{0}}, untouched = {{0}};
    llava_error e;
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        char setting[96];
        snprintf(setting, sizeof setting, "%s=nonsense", decision(i)->name);
        assert_false(llava_choose(&choices, setting, &e));
        for (size_t v = 0; decision(i)->values[v] != NULL; v++) {
            support_says(&e, decision(i)->values[v]);
        }
    }
    assert_false(llava_choose(&choices, "vision.act", &e));
    support_says(&e, "DECISION=VALUE");
    assert_false(llava_choose(&choices, "vision.acts=gelu", &e));
    support_says(&e, "unknown decision");
    assert_false(llava_choose(&choices, "=gelu", &e));
    assert_false(llava_choose(&choices, "vision.act=", &e));
    assert_false(llava_choose(&choices, "vision.act=gelu ", &e));
    assert_memory_equal(&choices, &untouched, sizeof choices);
}

/* Where in the flow a pattern of acts[] stands, counted from 0. */
/* What acts in decoding steps alone comes behind the prefill. */
static size_t place_of(const char *pattern)
{
    const llava_tap_kind *kinds;
    size_t count = llava_tap_kinds(&kinds);
    for (size_t k = 0; k < count; k++) {
        const bool step = strncmp(pattern, "step.{g}.", 9) == 0;
        if (strcmp(kinds[k].name, step ? pattern + 9 : pattern) == 0) {
            return k + (step ? count : 0);
        }
    }
    fail_msg("%s: not a tap of the table", pattern);
    return 0;
}

static void acts_are_taps_in_the_order_of_the_flow(void **state)
{
    (void)state;
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        const char *const *acts = decision(i)->acts;
        size_t count = 0;
        assert_non_null(acts);
        for (; acts[count] != NULL; count++) {
            assert_true(count == 0 || place_of(acts[count - 1]) < place_of(acts[count]));
            place_of(acts[count]);
        }
        assert_in_range(count, 1, MOST_ACTS);
    }
}

static void patterns_match_the_names_they_stand_for(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"logits", "logits", true},
        {"logits", "step.3.logits", true},
        {"logits", "step.{g}.logits", true},
        {"logits", "step.logits", false},
        {"logits", "step..logits", false},
        {"position_ids", "step.12.position_ids", true},
        {"step.{g}.position_ids", "step.12.position_ids", true},
        {"step.{g}.position_ids", "position_ids", false},
        {"image.rgb", "image.3.rgb", true},
        {"image.rgb", "image.rgb", true},
        {"image.rgb", "image.3.padded", false},
        {"text.layers.{i}.attn.q", "text.layers.0.attn.q", true},
        {"text.layers.{i}.attn.q", "text.layers.i.attn.q", true},
        {"text.layers.{i}.attn.q", "step.1.text.layers.31.attn.q", true},
        {"text.layers.{i}.attn.q", "text.layers.31.attn.q_rope", false},
        {"text.layers.{i}.attn.q", "text.layers..attn.q", false},
        {"text.layers.{i}.attn.q", "text.layers.", false},
        {"text.layers.{i}.attn.q", "vision.layers.0.attn.q", false},
        {"text.layers.{i}.attn.q", "text.layers.{", false},
        {"text.layers.{i}.attn.q", "text.layers.{i", false},
        {"text.layers.{i}.attn.q", "text.layers.{i)attn.q", false},
        {"text.layers.{i}.attn.q", "text.layers.I.attn.q", false},
        {"text.layers.{i}.attn.q", "text.layers.~.attn.q", false},
        {"logits", "step.{", false},
        {"logits", "step.{g", false},
        {"logits", "step.{g)logits", false},
        {"logits", "step.~.logits", false},
        {"logits", "step.3logits", false},
        {"text.norm", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (llava_tap_matches(cases[i].pattern, cases[i].name) != cases[i].matches) {
            fail_msg("%s and %s", cases[i].pattern, cases[i].name);
        }
    }
}

/* ---- where a decision acts: bookkeeping ---------------------------------------------------------
 */

typedef struct {
    const char *const *acts;
    bool seen[MOST_ACTS];
    bool effective[LLAVA_MAX_VALUES]; /* the values that changed something somewhere */
    char unlisted[LLAVA_TAP_NAME];    /* a tap that differs and is not in acts; empty: none */
} evidence;

static void record(evidence *found, unsigned v, const char *name)
{
    found->effective[v] = true;
    bool listed = false;
    for (size_t a = 0; found->acts[a] != NULL; a++) {
        if (llava_tap_matches(found->acts[a], name)) {
            found->seen[a] = listed = true;
        }
    }
    if (!listed) {
        snprintf(found->unlisted, sizeof found->unlisted, "%s", name);
    }
}

static evidence all_found[LLAVA_DECISION_COUNT];

/* Fails at once where a decision acted somewhere else. */
static void check_listed(size_t i, unsigned v, const char *where)
{
    if (all_found[i].unlisted[0] != '\0') {
        fail_msg("%s=%s acts on %s (%s), which its acts[] lacks", decision(i)->name,
                 decision(i)->values[v], all_found[i].unlisted, where);
    }
}

static void begin(void)
{
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        all_found[i] = (evidence){.acts = decision(i)->acts};
    }
}

static bool is_of(size_t i, const char *prefix)
{
    return strncmp(decision(i)->name, prefix, strlen(prefix)) == 0;
}

/* ---- the model ----------------------------------------------------------------------------------
 */

typedef struct {
    char name[LLAVA_TAP_NAME];
    llava_tap tap; /* its data in memory of its own */
} kept_tap;

typedef struct {
    kept_tap taps[MOST_TAPS];
    size_t count;
} kept_run;

static bool wants_all(void *self, const char *name)
{
    (void)self;
    (void)name;
    return true;
}

static bool keep(void *self, const llava_tap *tap, llava_error *e)
{
    kept_run *run = self;
    assert_true(run->count < MOST_TAPS);
    assert_int_not_equal(tap->dtype, LLAVA_U8);
    kept_tap *k = &run->taps[run->count++];
    size_t bytes = llava_tap_count(tap) * sizeof(double); /* int64_t is as wide */
    k->tap = *tap;
    snprintf(k->name, sizeof k->name, "%s", tap->name);
    k->tap.data = llava_alloc(e, bytes, 1);
    assert_non_null(k->tap.data);
    memcpy(k->tap.data, tap->data, bytes);
    return true;
}

static void forget(kept_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        free(run->taps[i].tap.data);
    }
    free(run);
}

typedef struct {
    const kept_run *right;
    size_t at;            /* the right run's next tap: both runs have the same ones */
    bool changed[1 << 8]; /* letters of shapes that the decision has changed so far */
    unsigned value;
    evidence *found;
} forcing;

/* Marks the letters of the tap's shape that changed; says whether one did for the first time. A
 * tower without a class row has fewer rows from vision.embed on, but acts there alone. */
static bool new_shape(forcing *f, const llava_tap *tap, const llava_tap *right)
{
    const llava_tap_kind *kinds;
    llava_tap_kinds(&kinds);
    const llava_tap_kind *kind = kinds;
    while (!llava_tap_matches(kind->name, tap->name)) {
        kind++;
    }
    bool first = false;
    int axis = 0;
    for (const char *letter = kind->shape; *letter != '\0'; letter++) {
        if (*letter == ',' || *letter == '\'') {
            continue;
        }
        bool *changed = &f->changed[(unsigned char)*letter];
        if (tap->shape[axis] != right->shape[axis]) {
            first = first || !*changed;
            *changed = true;
        }
        axis++;
    }
    return first;
}

static bool same_numbers(const llava_tap *a, const llava_tap *b)
{
    const double *x = a->data, *y = b->data;
    if (a->dtype == LLAVA_I64) {
        return memcmp(x, y, llava_tap_count(a) * sizeof *x) == 0;
    }
    for (size_t i = 0; i < llava_tap_count(a); i++) {
        if (x[i] != y[i] && (x[i] == x[i] || y[i] == y[i])) {
            return false;
        }
    }
    return true;
}

static bool force(void *self, const llava_tap *tap, llava_error *e)
{
    (void)e;
    forcing *f = self;
    assert_true(f->at < f->right->count);
    const kept_tap *right = &f->right->taps[f->at++];
    assert_string_equal(tap->name, right->name); /* --set never removes a tap */
    assert_int_equal(tap->rank, right->tap.rank);
    if (memcmp(tap->shape, right->tap.shape, (size_t)tap->rank * sizeof tap->shape[0]) != 0) {
        if (new_shape(f, tap, &right->tap)) {
            record(f->found, f->value, tap->name);
        }
        return true;
    }
    if (!same_numbers(tap, &right->tap)) {
        record(f->found, f->value, tap->name);
        memcpy(tap->data, right->tap.data, llava_tap_count(tap) * sizeof(double));
    }
    return true;
}

/* One run with every tap, `sink` listening. */
static bool run_model(const llava_session *s, const llava_plan *plan, const llava_sink *sink,
                      llava_error *e)
{
    const llava_inputs *in = &s->inputs;
    bool sees = in->pixel_values != NULL;
    llava_goal goal = {.vision = sees,
                       .features = sees,
                       .projector = sees,
                       .vision_layers = s->config.vision.layers,
                       .embed = true,
                       .merge = true,
                       .rope = true,
                       .text = true,
                       .text_layers = s->config.text.layers,
                       .norm = true,
                       .all_logits = true,
                       .loss = in->labels != NULL};
    llava_run run = {.weights = s->weights, .plan = plan, .sink = sink, .prefix = "", .error = e};
    if (s->request->generate > 0) {
        llava_goal step = goal;
        step.vision = step.features = step.projector = false;
        llava_answer answer;
        bool ok = llava_generate(&run, &s->config, &goal, &step, in, s->convention,
                                 s->request->generate, &answer);
        llava_answer_free(&answer);
        return ok;
    }
    int64_t *positions = llava_alloc(e, in->batch * in->length, sizeof *positions);
    assert_non_null(positions);
    llava_outputs out;
    llava_positions(plan, in, s->convention, positions);
    bool ok = llava_forward(&run, &goal, in, positions, NULL, &out);
    free(positions);
    llava_outputs_free(&out);
    return ok;
}

/* One value on one model. False where the plan says that it can't act there. */
static bool try_value(const llava_session *s, const kept_run *right, size_t i, unsigned v,
                      evidence *found)
{
    llava_plan plan;
    llava_choices choices = s->plan.choices;
    llava_error e = {""};
    choices.value[i] = (unsigned char)v;
    if (!llava_plan_make(&plan, &s->config, &choices, LLAVA_F64, false, &e)) {
        support_says(&e, "no effect");
        return false;
    }
    forcing f = {.right = right, .value = v, .found = found};
    llava_sink sink = {.wants = wants_all, .take = force, .self = &f};
    bool done = run_model(s, &plan, &sink, &e);
    if (!done && !f.changed['F']) { /* other rows for the same image tokens: no merge */
        fail_msg("%s=%s: %s", decision(i)->name, decision(i)->values[v], e.text);
    }
    assert_true(!done || f.at == right->count);
    return true;
}

static const char *const models[] = {
    "plain",         "grouped-heads", "batch-right",     "several-pictures",  "feature-layers",
    "full-strategy", "tied",          "odd-sizes",       "no-projector-bias", "generate-left-stop",
    "rope-llama3",   "rope-yarn",     "rope-yarn-given", "rope-longrope",     "rope-longrope-grows",
    "qwen2",         "siglip",        "pixtral",         "pixtral-one",
};

static void open_model(llava_session *s, llava_request *q, const char *name)
{
    static char model[128], inputs[128];
    llava_error e;
    snprintf(model, sizeof model, "golden/%s/model", name);
    snprintf(inputs, sizeof inputs, "golden/%s/inputs.npz", name);
    *q = (llava_request){.model = model, .inputs = inputs};
    q->generate = strncmp(name, "generate", 8) == 0 || strcmp(name, "qwen2") == 0 ? STEPS : 0;
    if (!llava_session_open(s, q, &e) || !llava_session_weights(s, &e)) {
        fail_msg("%s", e.text);
    }
    if (strcmp(name, "tied") == 0) {
        /* What all goldens have in common would hide a value: tower heads of odd width
         * vision.qk_layout, silu that choice. One head has weights of the same shapes. */
        s->config.vision.heads = 1;
        s->config.text.act = LLAVA_ACT_GELU;
        assert_true(llava_plan_make(&s->plan, &s->config, &q->choices, LLAVA_F64, false, &e));
    }
}

static kept_run *right_run(const llava_session *s)
{
    llava_error e;
    kept_run *right = llava_alloc(&e, 1, sizeof *right);
    assert_non_null(right);
    llava_sink sink = {.wants = wants_all, .take = keep, .self = right};
    if (!run_model(s, &s->plan, &sink, &e)) {
        fail_msg("%s", e.text);
    }
    return right;
}

/* The values of one decision on top of the session's choices. */
static void try_values(const llava_session *s, const kept_run *right, size_t i, const char *name)
{
    for (unsigned v = 1; decision(i)->values[v] != NULL; v++) {
        try_value(s, right, i, v, &all_found[i]);
        check_listed(i, v, name);
    }
}

/* Which matrices stay as they are shows where the others are rounded. */
static void try_kept(llava_session *s, const char *name)
{
    llava_error e;
    llava_choices rounded = {{0}};
    assert_true(llava_choose(&rounded, "numerics.weights=bf16", &e));
    assert_true(llava_plan_make(&s->plan, &s->config, &rounded, LLAVA_F64, false, &e));
    kept_run *right = right_run(s);
    try_values(s, right, LLAVA_NUMERICS_WEIGHTS_KEPT, name);
    forget(right);
}

static void try_models(void)
{
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        llava_session s;
        llava_request q;
        open_model(&s, &q, models[m]);
        kept_run *right = right_run(&s);
        for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
            bool model = !is_of(i, "image.") && !is_of(i, "tokens.");
            if (model) {
                try_values(&s, right, i, models[m]);
            }
        }
        try_kept(&s, models[m]);
        forget(right);
        llava_session_close(&s);
    }
}

/* ---- pictures -----------------------------------------------------------------------------------
 */

/* Noise, so that every pixel matters. */
static llava_picture noise(size_t height, size_t width)
{
    llava_picture p;
    llava_error e;
    uint32_t x = 2463534242U;
    assert_true(llava_picture_new(&p, height, width, &e));
    for (size_t i = 0; i < 3 * height * width; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        p.rgb[i] = (uint8_t)(x >> 11);
    }
    return p;
}

static bool same_picture(const llava_picture *a, const llava_picture *b)
{
    bool both = a->rgb != NULL && b->rgb != NULL;
    return both ? a->height == b->height && a->width == b->width &&
                      memcmp(a->rgb, b->rgb, 3 * a->height * a->width) == 0
                : a->rgb == b->rgb;
}

static bool same_values(const llava_image_stages *a, const llava_image_stages *b)
{
    return a->height == b->height && a->width == b->width &&
           memcmp(a->pixel_values, b->pixel_values, 3 * a->height * a->width * sizeof(float)) == 0;
}

static void process(const llava_processor *p, const llava_image_plan *plan, int from,
                    const llava_picture *picture, llava_image_stages *stages)
{
    llava_error e;
    if (!llava_picture_process_from(p, plan, (llava_image_stage)from, picture, stages, &e)) {
        fail_msg("%s", e.text);
    }
}

/* Each stage computed by both plans from what `teacher` has before it. */
static void compare_stages(const llava_processor *p, const llava_image_plan *right,
                           const llava_image_plan *wrong, const llava_image_stages *teacher,
                           unsigned v, evidence *found)
{
    static const char *const names[] = {"image.rgb", "image.padded", "image.resized",
                                        "image.cropped", "pixel_values"};
    const llava_picture *before = &teacher->stage[0];
    for (int t = 0; t <= LLAVA_STAGE_COUNT; t++) {
        llava_image_stages a, b;
        int from = t == 0 ? 0 : t - 1;
        process(p, right, from, before, &a);
        process(p, wrong, from, before, &b);
        bool same =
            t == LLAVA_STAGE_COUNT ? same_values(&a, &b) : same_picture(&a.stage[t], &b.stage[t]);
        if (!same) {
            record(found, v, names[t]);
        }
        llava_image_stages_free(&a);
        llava_image_stages_free(&b);
        if (t < LLAVA_STAGE_COUNT && teacher->stage[t].rgb != NULL) {
            before = &teacher->stage[t];
        }
    }
}

/* One value together with the choices of `base`, on one picture: the stages computed from the right
 * run's and from the wrong run's. */
static void try_picture(const llava_processor *p, const llava_choices *base, size_t i, unsigned v,
                        const llava_picture *picture)
{
    llava_choices choices = *base;
    choices.value[i] = (unsigned char)v;
    llava_image_plan right = llava_image_plan_of(base), wrong = llava_image_plan_of(&choices);
    llava_image_stages teacher;
    process(p, &right, 0, picture, &teacher);
    compare_stages(p, &right, &wrong, &teacher, v, &all_found[i]);
    llava_image_stages_free(&teacher);
    process(p, &wrong, 0, picture, &teacher);
    compare_stages(p, &right, &wrong, &teacher, v, &all_found[i]);
    llava_image_stages_free(&teacher);
}

/* lack: the crop is larger than the picture by so much. combined: each decision also together with
 * other choices. */
static void try_folder(const char *folder, const llava_picture *picture, size_t lack, bool combined)
{
    static const char *const bases[][2] = {
        {NULL, NULL},
        {"image.geometry=pad", NULL},
        {"image.geometry=pad", "image.pad_order=resize-first"},
    };
    llava_processor p;
    llava_error e;
    if (!llava_processor_read(&p, folder, &e)) {
        fail_msg("%s", e.text);
    }
    if (strstr(folder, "stretch") != NULL) {
        p.resample = LLAVA_RESAMPLE_BILINEAR; /* all goldens say bicubic */
    }
    p.crop_height += lack;
    for (size_t b = 0; b < (combined ? sizeof bases / sizeof bases[0] : 1); b++) {
        llava_choices base = {{0}};
        for (size_t k = 0; k < 2 && bases[b][k] != NULL; k++) {
            assert_true(llava_choose(&base, bases[b][k], &e));
        }
        for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
            for (unsigned v = 1; is_of(i, "image.") && decision(i)->values[v] != NULL; v++) {
                try_picture(&p, &base, i, v, picture);
                check_listed(i, v, folder);
            }
        }
    }
}

/* Decisions that act when the file is read. */
static void try_file(const char *path, size_t decision, llava_image_plan wrong_plan)
{
    llava_file file;
    llava_error e = {""};
    llava_picture right, wrong;
    llava_image_plan plan = {0};
    if (!llava_file_map(&file, path, &e) ||
        !llava_picture_read(&right, path, file.bytes, file.size, &plan, &e) ||
        !llava_picture_read(&wrong, path, file.bytes, file.size, &wrong_plan, &e)) {
        fail_msg("%s", e.text);
    }
    unsigned v = decision == LLAVA_IMAGE_ALPHA ? wrong_plan.alpha : 1;
    if (!same_picture(&right, &wrong)) {
        record(&all_found[decision], v, "image.rgb");
    }
    llava_picture_free(&wrong);
    llava_picture_free(&right);
    llava_file_unmap(&file);
}

static void try_files(void)
{
    const char *rgba = "golden/picture-modes/1-rgba.png";
    const char *turned = "tests/data/png/good-exif-6.png";
    const char *jpeg = "tests/data/jpeg/good-420.jpg";
    try_file(rgba, LLAVA_IMAGE_ALPHA, (llava_image_plan){.alpha = LLAVA_ALPHA_WHITE});
    try_file(rgba, LLAVA_IMAGE_ALPHA, (llava_image_plan){.alpha = LLAVA_ALPHA_BLACK});
    try_file(turned, LLAVA_IMAGE_EXIF, (llava_image_plan){.exif = LLAVA_EXIF_IGNORED});
    if (!llava_jpeg_available()) { /* nothing to see */
        record(&all_found[LLAVA_IMAGE_JPEG_UPSAMPLING], 1, "image.rgb");
        record(&all_found[LLAVA_IMAGE_JPEG_DCT], 1, "image.rgb");
        return;
    }
    try_file(jpeg, LLAVA_IMAGE_JPEG_UPSAMPLING,
             (llava_image_plan){.jpeg_upsampling = LLAVA_UPSAMPLING_PLAIN});
    try_file(jpeg, LLAVA_IMAGE_JPEG_DCT, (llava_image_plan){.jpeg_dct = LLAVA_DCT_IFAST});
}

static void try_pictures(void)
{
    /* 30 x 55 to 21 x 38.5: a fraction that rounds up, and an odd number of spare columns. 90 x 29
     * goes vertically first. */
    static const size_t sizes[][2] = {{30, 55}, {90, 29}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        llava_picture picture = noise(sizes[k][0], sizes[k][1]);
        try_folder("golden/picture-prompt/model", &picture, 0, k == 0);
        try_folder("golden/picture-pad/model", &picture, 0, k == 0);
        try_folder("golden/picture-stretch/model", &picture, 0, k == 0);
        try_folder("golden/picture-prompt/model", &picture, 5, false);
        try_folder("golden/picture-siglip/model", &picture, 0, false);
        try_folder("golden/picture-pixtral/model", &picture, 0, false);
        llava_picture_free(&picture);
    }
    try_files();
}

/* ---- tokens -------------------------------------------------------------------------------------
 */

static void encode(const llava_tokenizer *t, const llava_processor *p, const llava_config *c,
                   const llava_choices *choices, int64_t **ids, size_t *n)
{
    llava_error e;
    llava_image_run run;
    llava_token_plan plan = llava_token_plan_of(choices);
    if (!llava_image_token_count(p, c, c->vision.image_size, c->vision.image_size, plan.image_count,
                                 &run, &e)) {
        fail_msg("%s", e.text);
    }
    const char *image = llava_image_text(p, c, t);
    llava_prompt prompt = {"a <image>b",  image,      c->image_token, &run, 1,
                           "[IMG_BREAK]", "[IMG_END]"};
    if (!llava_prompt_encode(t, &plan, &prompt, ids, n, &e)) {
        fail_msg("%s", e.text);
    }
}

static void try_tokenizer(const char *folder, const llava_processor *p, const llava_config *c)
{
    llava_tokenizer *t;
    llava_error e;
    llava_choices none = {{0}};
    int64_t *right, *wrong;
    size_t n, m;
    if (!llava_tokenizer_open(&t, folder, &e)) {
        fail_msg("%s", e.text);
    }
    encode(t, p, c, &none, &right, &n);
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        for (unsigned v = 1; is_of(i, "tokens.") && decision(i)->values[v] != NULL; v++) {
            llava_choices choices = none;
            choices.value[i] = (unsigned char)v;
            encode(t, p, c, &choices, &wrong, &m);
            if (n != m || memcmp(right, wrong, n * sizeof *right) != 0) {
                record(&all_found[i], v, "input_ids");
            }
            check_listed(i, v, folder);
            free(wrong);
        }
    }
    free(right);
    llava_tokenizer_close(t);
}

/* The goldens' tokenizer puts a space before every segment, this one before the first only. */
static void write_metaspace_tokenizer(const support_folder *folder, int64_t image_token)
{
    static const char format[] =
        "{\"added_tokens\":[{\"id\":%lld,\"content\":\"<image>\",\"special\":true}],"
        "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\","
        "\"prepend_scheme\":\"first\",\"split\":false},\"model\":{\"vocab\":{\"<unk>\":0,"
        "\"\xe2\x96\x81\":1,\"a\":2,\"b\":3,\"<image>\":%lld},\"merges\":[]}}";
    char text[1024];
    snprintf(text, sizeof text, format, (long long)image_token, (long long)image_token);
    support_write_text(folder, "tokenizer.json", text);
}

static void try_tokens(void)
{
    const char *folder = "golden/picture-prompt/model";
    llava_processor p;
    llava_config c;
    llava_error e;
    support_folder own = support_folder_new();
    assert_true(llava_processor_read(&p, folder, &e) && llava_config_read(&c, folder, &e));
    write_metaspace_tokenizer(&own, c.image_token);
    try_tokenizer(folder, &p, &c);
    try_tokenizer(own.path, &p, &c);
    support_folder_remove(&own);
    folder = "golden/picture-pixtral/model";
    assert_true(llava_processor_read(&p, folder, &e) && llava_config_read(&c, folder, &e));
    try_tokenizer(folder, &p, &c);
}

/* ---- all ----------------------------------------------------------------------------------------
 */

static void decisions_act_where_the_table_says_and_nowhere_else(void **state)
{
    (void)state;
    begin();
    try_models();
    try_pictures();
    try_tokens();
    for (size_t i = 0; i < LLAVA_DECISION_COUNT; i++) {
        for (size_t a = 0; decision(i)->acts[a] != NULL; a++) {
            if (!all_found[i].seen[a]) {
                fail_msg("%s: %s in its acts[], but it differs nowhere", decision(i)->name,
                         decision(i)->acts[a]);
            }
        }
        for (unsigned v = 1; decision(i)->values[v] != NULL; v++) {
            if (!all_found[i].effective[v]) {
                fail_msg("%s=%s changes nothing on any model", decision(i)->name,
                         decision(i)->values[v]);
            }
        }
    }
}

/* The proof itself notices a tap that a list lacks, and one too many. */
static void proof_notices_a_wrong_list(void **state)
{
    (void)state;
    static const char *const lacking[] = {"vision.pre_norm", "vision.layers.{i}.norm1", NULL};
    static const char *const surplus[] = {"vision.pre_norm", "vision.layers.{i}.norm1",
                                          "vision.layers.{i}.norm2", "text.norm", NULL};
    llava_session s;
    llava_request q;
    open_model(&s, &q, "plain");
    kept_run *right = right_run(&s);
    evidence found = {.acts = lacking};
    assert_true(try_value(&s, right, LLAVA_VISION_NORM_EPS, 4, &found));
    assert_true(llava_tap_matches("vision.layers.{i}.norm2", found.unlisted));
    found = (evidence){.acts = surplus};
    assert_true(try_value(&s, right, LLAVA_VISION_NORM_EPS, 4, &found));
    assert_string_equal(found.unlisted, "");
    assert_true(found.seen[0] && found.seen[1] && found.seen[2] && !found.seen[3]);
    forget(right);
    llava_session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_decision_has_its_texts),
        cmocka_unit_test(ports_name_their_evidence),
        cmocka_unit_test(values_are_unique_and_the_default_comes_first),
        cmocka_unit_test(wrong_settings_name_what_there_is),
        cmocka_unit_test(acts_are_taps_in_the_order_of_the_flow),
        cmocka_unit_test(patterns_match_the_names_they_stand_for),
        cmocka_unit_test(decisions_act_where_the_table_says_and_nowhere_else),
        cmocka_unit_test(proof_notices_a_wrong_list),
    };
    return cmocka_run_group_tests_name("decisions", tests, NULL, NULL);
}
