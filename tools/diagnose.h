/* The result of a diagnosis (contract section 7), for the text, JSON and HTML. */
#ifndef LLAVA_DIAGNOSE_H
#define LLAVA_DIAGNOSE_H

#include "tools/bounds.h"
#include "tools/diff.h"
#include "tools/near_tie.h"
#include "tools/span.h"

enum { LLAVA_MOST_CHOICES = 5, LLAVA_MOST_CAUSES = 8, LLAVA_MOST_ROUNDINGS = 16 };

/* One or several decisions taken the wrong way, and the error that remains in a span with them. */
typedef struct {
    llava_decision_id id[LLAVA_MOST_CHOICES];
    unsigned char value[LLAVA_MOST_CHOICES];
    size_t count;
    unsigned alike;          /* 1 << value: others of the one decision that explain as much */
    double error, error_max; /* relative L2; max |d| relative to the row's largest */
    double without;          /* the least L2 that is left where one of several is taken back */
} llava_cause;

typedef enum { LLAVA_CERTAIN, LLAVA_LIKELY, LLAVA_UNKNOWN } llava_confidence;

/* One tap that the port supplies, judged on the span that leads to it. */
typedef struct {
    char *name;
    int rank;
    size_t shape[LLAVA_ARRAY_RANK];
    bool exact;              /* integers, pictures */
    llava_dtype type;        /* of the port's values, as measured */
    llava_comparison local;  /* the port's tensor against the span computed from its own */
    double noise, noise_max; /* what honest rounding in the port's type makes of the span */
    bool noise_measured;     /* false: the least that any span of that type has, which sufficed */
    bool noise_complete;     /* it holds what the port's own roundings may do, and chance */
    double total;            /* relative L2 against the plain reference; negative: not known */
    bool other_shape;        /* than the model's, which is this one: nothing was compared */
    int model_rank;
    size_t model_shape[LLAVA_ARRAY_RANK];
    bool wrong;     /* local error above the noise, or another shape */
    bool inherited; /* off only because of what came before */
} llava_judged;

typedef struct {
    size_t judged;                         /* index of the first wrong tap */
    llava_span span;                       /* what it was computed from */
    llava_cause causes[LLAVA_MOST_CAUSES]; /* best first */
    size_t cause_count;                    /* 0: no known cause explains it */
    llava_cause rest[LLAVA_MOST_CAUSES];   /* the best of those that do not explain it */
    size_t rest_count;
    llava_confidence confidence;
    size_t *also; /* further taps that the same cause explains */
    size_t also_count;
    char where[160]; /* localisation in words: row, head */
} llava_finding;

typedef struct {
    const char *port;
    llava_verdict verdict;
    const char *note;                           /* why it cannot be judged, or NULL */
    llava_dtype type;                           /* the port's */
    bool islands;                               /* float32 islands inside float64 */
    llava_cause rounding[LLAVA_MOST_ROUNDINGS]; /* numerics.* decisions that hold everywhere; one
                                                   choice each */
    size_t rounding_count;
    /* The port's tensors that nothing was done with: no tap's name, or a layer that the model has
     * not. */
    size_t unknown_count;
    char unknown[LLAVA_TAP_NAME]; /* the first of them */
    llava_judged *taps;           /* in the order of the flow */
    size_t count;
    llava_finding *findings;
    size_t finding_count;
    size_t near_ties; /* tokens that the reference would not choose, but rounding may */
    llava_flip first_tie;
} llava_diagnosis;

void llava_diagnosis_print(const llava_diagnosis *d, FILE *to);
cJSON *llava_diagnosis_json(const llava_diagnosis *d);
void llava_diagnosis_free(llava_diagnosis *d);

/* "certain", "likely", "unknown". */
const char *llava_confidence_name(llava_confidence confidence);
/* "NAME=VALUE + NAME=VALUE". */
void llava_cause_text(const llava_cause *cause, char *text, size_t size);
/* Of a rounding that the port has everywhere: "NAME=VALUE", and the values that these data cannot
 * tell from it. */
void llava_rounding_text(const llava_cause *rounding, char *text, size_t size);

#endif
