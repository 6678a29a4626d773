#include "rope.h"

#include "elementary.h"

#include <math.h>

static const double two_pi = 6.283185307179586;

/* The result of one tensor operation, or a number that enters one. */
static double single(const llava_numerics *n, double x)
{
    return n->islands ? llava_round(LLAVA_F32, x) : x;
}

/* theta^(2j/d) */
static double wavelength(const llava_numerics *n, double theta, size_t j, size_t d)
{
    double exponent = single(n, (double)(2 * j) / (double)d);
    return single(n, llava_pow(single(n, theta), exponent));
}

/* The base that stretches so that the longest context turns the slowest pair as far as
 * max_positions positions did. transformers keeps it in Python's floats until a context grows
 * beyond that, and in a float32 tensor from then on. */
static double stretched_theta(const llava_numerics *n, const llava_rope *rope, size_t d,
                              double longest)
{
    double exponent = (double)d / (double)(d - 2);
    if (!(longest > rope->max_positions) || rope->choice == LLAVA_TABLE_SHORT) {
        double stretch =
            rope->factor * rope->max_positions / rope->max_positions - (rope->factor - 1);
        return rope->theta * llava_pow(stretch, exponent);
    }
    double stretch = single(n, single(n, rope->factor) * single(n, longest));
    stretch = single(n, stretch / single(n, rope->max_positions));
    stretch = single(n, stretch - single(n, rope->factor - 1));
    return single(n, single(n, rope->theta) * single(n, llava_pow(stretch, single(n, exponent))));
}

/* The pair that turns `rotations` times in the original context, a fraction. */
static double pair_of(const llava_rope *rope, size_t d, double rotations)
{
    return (double)d * llava_log(rope->original_positions / (rotations * two_pi)) /
           (2 * llava_log(rope->theta));
}

/* Pairs up to *low keep their frequency, pairs from *high on are scaled. */
static void yarn_range(const llava_rope *rope, size_t d, double *low, double *high)
{
    *low = pair_of(rope, d, rope->beta_fast);
    *high = pair_of(rope, d, rope->beta_slow);
    if (rope->truncate) {
        *low = floor(*low);
        *high = ceil(*high);
    }
    *low = *low > 0 ? *low : 0;
    *high = *high < (double)(d - 1) ? *high : (double)(d - 1);
    *high += *low == *high ? 0.001 : 0; /* no division by zero */
}

static double yarn(const llava_numerics *n, const llava_rope *rope, size_t d, size_t j)
{
    double low, high, wave = wavelength(n, rope->theta, j, d);
    yarn_range(rope, d, &low, &high);
    double plain = single(n, 1 / wave);
    double scaled = single(n, 1 / single(n, single(n, rope->factor) * wave));
    double ramp = single(n, single(n, (double)j - single(n, low)) / single(n, high - low));
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    if (rope->ramp == LLAVA_RAMP_ALL) {
        return scaled;
    }
    if (rope->ramp == LLAVA_RAMP_ABSENT) {
        return ramp < 1 ? plain : scaled;
    }
    double keep = single(n, 1 - ramp);
    return single(n, single(n, scaled * single(n, 1 - keep)) + single(n, plain * keep));
}

static double llama3(const llava_numerics *n, const llava_rope *rope, size_t d, size_t j)
{
    double plain = single(n, 1 / wavelength(n, rope->theta, j, d));
    double turn = single(n, single(n, two_pi) / plain); /* positions of a whole turn */
    double longest = single(n, rope->original_positions / rope->low_factor);
    double shortest = single(n, rope->original_positions / rope->high_factor);
    double scaled = single(n, plain / single(n, rope->factor));
    if (turn > longest || rope->ramp == LLAVA_RAMP_ALL) {
        return scaled;
    }
    if (turn < shortest || rope->ramp == LLAVA_RAMP_ABSENT) {
        return plain;
    }
    double smooth =
        single(n, single(n, rope->original_positions / turn) - single(n, rope->low_factor));
    smooth = single(n, smooth / single(n, rope->high_factor - rope->low_factor));
    double rest = single(n, single(n, single(n, 1 - smooth) * plain) / single(n, rope->factor));
    return single(n, rest + single(n, smooth * plain));
}

static double longrope(const llava_numerics *n, const llava_rope *rope, size_t d, size_t j,
                       double longest)
{
    bool is_long = rope->choice == LLAVA_TABLE_BY_LENGTH ? longest > rope->original_positions
                                                         : rope->choice == LLAVA_TABLE_LONG;
    double factor = is_long ? rope->long_factor[j] : rope->short_factor[j];
    return single(n, 1 / single(n, single(n, factor) * wavelength(n, rope->theta, j, d)));
}

void llava_rope_frequencies(const llava_numerics *n, const llava_rope *rope, size_t d,
                            double longest, double *frequency)
{
    double theta =
        rope->type == LLAVA_ROPE_DYNAMIC ? stretched_theta(n, rope, d, longest) : rope->theta;
    for (size_t j = 0; j < d / 2; j++) {
        switch (rope->type) {
        case LLAVA_ROPE_LINEAR:
            frequency[j] =
                single(n, single(n, 1 / wavelength(n, theta, j, d)) / single(n, rope->factor));
            break;
        case LLAVA_ROPE_YARN:
            frequency[j] = yarn(n, rope, d, j);
            break;
        case LLAVA_ROPE_LONGROPE:
            frequency[j] = longrope(n, rope, d, j, longest);
            break;
        case LLAVA_ROPE_LLAMA3:
            frequency[j] = llama3(n, rope, d, j);
            break;
        default: /* default, and dynamic with its own theta */
            frequency[j] = single(n, 1 / wavelength(n, theta, j, d));
            break;
        }
    }
}

double llava_rope_attention_factor(const llava_rope *rope)
{
    if (!(rope->factor > 1)) {
        return 1;
    }
    double stretched = llava_log(rope->factor);
    return rope->type == LLAVA_ROPE_YARN ? 0.1 * stretched + 1
           : rope->type == LLAVA_ROPE_LONGROPE
               ? llava_sqrt(1 + stretched / llava_log(rope->original_positions))
               : 1;
}

double llava_rope_remember(const llava_rope *rope, double remembered, double length)
{
    double before = remembered == 0 ? rope->max_positions : remembered;
    if (length < rope->max_positions && before > rope->max_positions) {
        return rope->max_positions;
    }
    return length > before ? length : before;
}
