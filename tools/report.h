/* The page of `--html`: one file without scripts and without anything from elsewhere, that opens in
 * any browser, on a telephone and in the dark. The verdict first, in a sentence for somebody who
 * has not seen the program before. */
#ifndef LLAVA_REPORT_H
#define LLAVA_REPORT_H

#include "tools/diagnose.h"
#include "tools/flow.h"
#include "tools/session.h"
#include "tools/view.h"

/* view: the first tensor that differs, or NULL. */
bool llava_report_diff(const llava_diff *diff, const llava_view *view, const char *path,
                       llava_error *e);
/* session: whose taps make up the flow, and how the run can be repeated. view: as above. */
bool llava_report_diagnosis(const llava_diagnosis *d, const llava_session *session,
                            const llava_view *view, const char *path, llava_error *e);

/* ---- parts of both pages
 * ------------------------------------------------------------------------ */

/* Up to the end of the verdict's badge: what follows is the sentence. title: of the page. */
void llava_report_head(llava_html *h, const char *title, llava_verdict verdict);
/* A name in code style, cut at 200 bytes. */
void llava_report_code(llava_html *h, const char *text);
/* Where in a tap it is worst, as terms of a list. */
void llava_report_worst(llava_html *h, const char *name, int rank, const size_t *shape,
                        const llava_comparison *c);
/* The words that the page uses, and its end. */
void llava_report_tail(llava_html *h);

/* "float32", "bfloat16"...: of a floating type. */
const char *llava_report_type(llava_dtype type);

/* "the place of the class row": what a decision is about, as it stands in "this port gets ...
 * wrong". */
const char *llava_report_phrase(llava_decision_id id);

#endif
