#include "tools/stage_clock.h"

#include <string.h>
#include <time.h>

const char *llava_bench_stage_name(llava_bench_stage stage)
{
    static const char *const names[LLAVA_BENCH_STAGES] = {
        "load",        "vision",         "vision.linear", "projector", "text.prefill",
        "text.linear", "text.attention", "logits",        "decode",    "dump",
    };
    return names[stage];
}

static double seconds_of(clockid_t id)
{
    struct timespec t;
    return clock_gettime(id, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : 0;
}

llava_instant llava_instant_now(void)
{
    return (llava_instant){seconds_of(CLOCK_PROCESS_CPUTIME_ID), seconds_of(CLOCK_MONOTONIC)};
}

static void charge(llava_stage_clock *c, llava_bench_stage stage, llava_instant from,
                   llava_instant to)
{
    c->spent[stage].cpu += to.cpu - from.cpu;
    c->spent[stage].wall += to.wall - from.wall;
    c->ran[stage] = true;
}

void llava_stage_clock_add(llava_stage_clock *c, llava_bench_stage stage, llava_instant from)
{
    c->last = c->now();
    charge(c, stage, from, c->last);
}

static bool begins(const char *name, const char *part)
{
    return strncmp(name, part, strlen(part)) == 0;
}

static bool ends_in(const char *name, const char *const *ends)
{
    size_t n = strlen(name);
    for (; *ends != NULL; ends++) {
        size_t m = strlen(*ends);
        if (n >= m && strcmp(name + n - m, *ends) == 0) {
            return true;
        }
    }
    return false;
}

/* Charges the interval that ends with this name to every stage it is part of. */
static void charge_name(llava_stage_clock *c, const char *name, llava_instant to)
{
    static const char *const products[] = {
        "vision.patch_embed", ".attn.q",   ".attn.k", ".attn.v",  ".attn.out",
        ".mlp.fc1",           ".mlp.gate", ".mlp.up", ".mlp.out", NULL,
    };
    static const char *const attention[] = {".attn.context", NULL};
    if (begins(name, "vision.")) {
        charge(c, LLAVA_BENCH_VISION, c->last, to);
        if (ends_in(name, products)) {
            charge(c, LLAVA_BENCH_VISION_LINEAR, c->last, to);
        }
    } else if (begins(name, "projector.")) {
        charge(c, LLAVA_BENCH_PROJECTOR, c->last, to);
    } else if (begins(name, "text.")) {
        charge(c, LLAVA_BENCH_TEXT, c->last, to);
        if (ends_in(name, products)) {
            charge(c, LLAVA_BENCH_TEXT_LINEAR, c->last, to);
        } else if (ends_in(name, attention)) {
            charge(c, LLAVA_BENCH_TEXT_ATTENTION, c->last, to);
        }
    }
}

static bool wants(void *self, const char *name)
{
    static const char *const ahead[] = {".attn.scores", ".attn.probs", NULL};
    static const char *const begin_step[] = {".position_ids", NULL};
    llava_stage_clock *c = self;
    bool step = begins(name, "step.");
    if (!ends_in(name, ahead)) {
        llava_instant to = c->now();
        if (c->decoding) {
            charge(c, LLAVA_BENCH_DECODE, c->last, to);
        } else if (step || strcmp(name, "logits") == 0 || strcmp(name, "generated_ids") == 0) {
            charge(c, LLAVA_BENCH_LOGITS, c->last, to);
        } else {
            charge_name(c, name, to);
        }
        c->decoding = c->decoding || step;
        c->steps += step && ends_in(name, begin_step);
        c->last = to;
    }
    return c->inner != NULL && c->inner->wants(c->inner->self, name);
}

static bool take(void *self, const llava_tap *tap, llava_error *e)
{
    llava_stage_clock *c = self;
    llava_instant from = c->now();
    bool ok = c->inner->take(c->inner->self, tap, e);
    llava_stage_clock_add(c, LLAVA_BENCH_DUMP, from);
    return ok;
}

llava_sink llava_stage_clock_sink(llava_stage_clock *c, llava_instant (*now)(void),
                                  const llava_sink *inner)
{
    *c = (llava_stage_clock){.now = now, .inner = inner, .last = now()};
    return (llava_sink){wants, take, c};
}

void llava_stage_clock_end(llava_stage_clock *c)
{
    llava_stage_clock_add(c, c->decoding ? LLAVA_BENCH_DECODE : LLAVA_BENCH_LOGITS, c->last);
}
