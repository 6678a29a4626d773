/* One run as the command line asks for it: the model folder, the plan, what goes in. Shared by
 * every command that runs the model. */
#ifndef LLAVA_SESSION_H
#define LLAVA_SESSION_H

#include "ref/fast/fast.h"
#include "ref/messages.h"
#include "ref/model.h"
#include "ref/picture.h"
#include "ref/taps.h"
#include "ref/tokenizer.h"
#include "tools/options.h"

/* What the command line said. */
typedef struct {
    const char *model, *inputs, *prompt, *chat, *messages;
    const char **images; /* [image_count] */
    size_t image_count;
    size_t generate; /* 0: not asked for */
    size_t dtype;    /* llava_dtype */
    bool dtype_given;
    size_t numerics;  /* 0 true, 1 hf */
    size_t positions; /* 0 forward, 1 generate */
    bool positions_given;
    size_t profile; /* 0 transformers, 1 the original project's */
    size_t conv;    /* llava_conv, with the original profile */
    bool conv_given;
    const char *vision_tower;   /* folder of an original checkpoint's tower; NULL */
    const char *feature_layer;  /* "-2" or "-2,3": in place of the configuration's; NULL */
    const char *feature_select; /* "default" or "full"; NULL: the configuration's */
    size_t path;                /* 0 plain, 1 fast */
    llava_choices choices;
} llava_request;

/* The options that fill a request are written behind the first *count of `options`, which has room
 * for LLAVA_OPTIONS_MOST, and counted: which model, and what goes in; */
void llava_request_inputs(llava_request *request, llava_option *options, size_t *count);
/* in which numbers it is computed, and with which decisions; */
void llava_request_numbers(llava_request *request, llava_option *options, size_t *count);
/* --profile and --vision-tower alone, for commands that read a model folder and run nothing. */
enum { LLAVA_REQUEST_SPELLING = 2 };
void llava_request_spelling(llava_request *request, llava_option *options, size_t *count);
/* Reads them, of a command without operands, and settles what follows from them: the fast path
 * computes in float32 unless --dtype says otherwise. */
bool llava_request_read(llava_request *request, int argc, char **argv, llava_option *options,
                        size_t count, llava_error *e);
void llava_request_free(llava_request *request);

/* The model folder's weights, in whichever spelling the configuration was. */
bool llava_request_weights(const llava_request *request, const llava_config *config,
                           llava_checkpoint **weights, llava_error *e);

/* The model folder's configuration, with what the request chooses in place of it. */
bool llava_request_config(llava_config *config, const llava_request *request, llava_error *e);

typedef struct {
    const llava_request *request;
    llava_config config;
    llava_plan plan;
    llava_processor processor;
    llava_tokenizer *tokenizer; /* NULL where not needed yet */
    llava_checkpoint *weights;  /* NULL until llava_session_weights */
    llava_fast *fast;           /* NULL: the plain path */
    llava_messages messages;    /* --messages; else nothing */
    const char **images;        /* [image_count]: --image, and what the messages name */
    size_t image_count;
    llava_image_stages *pictures; /* [image_count] */
    llava_inputs inputs;
    llava_convention convention;
    char inputs_sha256[65]; /* over what was given: the inputs file, or pictures and text */
} llava_session;

/* Reads everything but the weights: configuration, plan, inputs (pictures processed, text
 * tokenised). */
bool llava_session_open(llava_session *session, const llava_request *request, llava_error *e);
/* The same without asking whether ids and pictures go together. */
bool llava_session_prepare(llava_session *session, const llava_request *request, llava_error *e);
/* Opens the weights, checks that they are as many layers as the configuration says. */
bool llava_session_weights(llava_session *session, llava_error *e);
/* Is every weight that the goal reads there, in the shape that the configuration asks for? Asked
 * before anything is computed: a missing last layer must not show after an hour. */
bool llava_session_check_weights(const llava_session *session, const llava_goal *goal,
                                 llava_error *e);
/* Is there a tokenizer.json? */
bool llava_session_has_tokenizer(const llava_session *session);
/* Opens the tokenizer, if it isn't open yet. */
bool llava_session_tokenizer(llava_session *session, llava_error *e);
void llava_session_close(llava_session *session);

/* Sizes for the tap lists. named: the user named taps, so tower layers that nothing else needs
 * count too. */
llava_tap_sizes llava_session_sizes(const llava_session *session, bool named);

/* The prompt's ids with these choices, [1, n] in new memory, for pictures of these sizes, [N, 2]
 * (NULL: their own). Not with an inputs file. */
bool llava_session_encode(llava_session *session, const llava_choices *choices,
                          const int64_t *sizes, int64_t **ids, size_t *n, llava_error *e);

/* What the choices mean for pictures of this session: the original project does not turn them. */
llava_image_plan llava_session_image_plan(const llava_session *session,
                                          const llava_choices *choices);

/* What the choices mean for pictures and for text. */
llava_image_plan llava_image_plan_of(const llava_choices *choices);
llava_token_plan llava_token_plan_of(const llava_choices *choices);

/* SHA-256 over config.json and the safetensors headers, as 64 digits; over the former alone where
 * there are no weights. Those that nothing else needs are opened for it. */
bool llava_session_model_sha256(llava_session *session, char text[65], llava_error *e);

/* Lists, and puts into a sink, the taps of the picture stage. */
bool llava_session_list_pictures(const llava_session *session,
                                 bool (*each)(void *self, const llava_tap *tap), void *self);
bool llava_session_put_pictures(const llava_session *session, const llava_sink *sink,
                                llava_error *e);

#endif
