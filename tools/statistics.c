#include "tools/statistics.h"

#include <math.h>

/* Values whose mean is taken before they join the rest. */
enum { BLOCK = 1024 };

/* Both sums of a block of finite values in two passes: the textbook's one-pass formula
 * sum x^2 - n mean^2 loses every digit where the mean is large. */
static llava_statistics measure(const double *x, size_t n)
{
    llava_statistics s = {.finite = n, .min = x[0], .max = x[0]};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        s.min = x[i] < s.min ? x[i] : s.min;
        s.max = x[i] > s.max ? x[i] : s.max;
    }
    s.mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = x[i] - s.mean;
        s.deviation += d * d;
    }
    return s;
}

/* The statistics of a and b together, from each one's (Chan, Golub, LeVeque 1979):
 * mean = ma + d nb / n, deviation = da + db + d^2 na nb / n, with d = mb - ma. */
static void join(llava_statistics *a, const llava_statistics *b)
{
    if (a->finite == 0) {
        a->finite = b->finite;
        a->min = b->min;
        a->max = b->max;
        a->mean = b->mean;
        a->deviation = b->deviation;
        return;
    }
    double na = (double)a->finite, nb = (double)b->finite, d = b->mean - a->mean;
    a->deviation += b->deviation + d * d * (na / (na + nb) * nb);
    a->mean += d * (nb / (na + nb));
    a->finite += b->finite;
    a->min = b->min < a->min ? b->min : a->min;
    a->max = b->max > a->max ? b->max : a->max;
}

void llava_statistics_add(llava_statistics *s, const double *x, size_t n)
{
    double block[BLOCK];
    for (size_t done = 0; done < n;) {
        size_t held = 0;
        for (; done < n && held < BLOCK; done++) {
            if (isfinite(x[done])) {
                block[held++] = x[done];
            } else if (isnan(x[done])) {
                s->nan++;
            } else {
                s->inf++;
            }
        }
        if (held > 0) {
            llava_statistics part = measure(block, held);
            join(s, &part);
        }
    }
}

double llava_statistics_std(const llava_statistics *s)
{
    return s->finite == 0 ? 0 : sqrt(s->deviation / (double)s->finite);
}

double llava_statistics_rms(const llava_statistics *s)
{
    return s->finite == 0 ? 0 : sqrt(s->mean * s->mean + s->deviation / (double)s->finite);
}
