/* Rotary frequencies: a recipe of the configuration, turned into one number for each pair.
 *
 *   default   f_j = theta^(-2j/d),  j = 0 .. d/2 - 1
 *   linear    f_j / factor
 *   dynamic   f_j of theta' = theta (factor L / max - (factor - 1))^(d/(d-2)),
 *             L the longest context so far, at least max
 *   yarn      f_j / factor for slow pairs, f_j for fast ones, a linear ramp between the pairs that
 *             turn beta_slow and beta_fast times in the original context
 *   longrope  f_j / short_factor[j], or / long_factor[j] in a pass beyond the original context
 *   llama3    f_j / factor where a turn takes longer than original / low_factor positions, f_j
 *             where it is shorter than original / high_factor, smoothed between
 *
 * yarn and longrope also multiply cos and sin by the attention factor. Source: transformers
 * modeling_rope_utils.py; spec 4.2. */
#ifndef LLAVA_ROPE_H
#define LLAVA_ROPE_H

#include "config.h"
#include "numerics.h"

/* frequency: [d/2]. longest: for dynamic the longest context seen so far, for longrope this pass's
 * (its highest position + 1). Under islands every operation is rounded to float32. */
void llava_rope_frequencies(const llava_numerics *n, const llava_rope *rope, size_t d,
                            double longest, double *frequency);

/* What yarn and longrope multiply cos and sin by where the file does not say: 0.1 ln(factor) + 1,
 * and sqrt(1 + ln(factor) / ln(original)); 1 for the other types and where nothing is stretched. */
double llava_rope_attention_factor(const llava_rope *rope);

/* What dynamic remembers: the longest context so far, after a pass of `length`. A pass that is
 * short again resets it (transformers dynamic_frequency_update). remembered 0: nothing yet. */
double llava_rope_remember(const llava_rope *rope, double remembered, double length);

#endif
