#include "tools/report.h"

/* Colours by their use, once for light and once for dark; the signs and words beside them say the
 * same, so nothing depends on seeing colours. */
static const char style[] =
    ":root{color-scheme:light dark;--ground:#fbfbfa;--card:#fff;--ink:#1b1f24;--soft:#59626e;"
    "--line:#d5d9de;--pass:#d9eee4;--pass-ink:#0b5a3c;--in1:#fdf1d2;--in2:#fbe0a0;--in3:#f5c766;"
    "--in-ink:#5a3d00;--wrong:#b3261e;--wrong-ink:#fff;--unjudged:#dfe3ea;--accent:#1f4e8c}"
    "@media(prefers-color-scheme:dark){:root{--ground:#14171b;--card:#1c2026;--ink:#e7eaee;"
    "--soft:#9ba6b3;--line:#363d47;--pass:#173a2c;--pass-ink:#8fdcb8;--in1:#3b3116;--in2:#57450f;"
    "--in3:#7a5d07;--in-ink:#ffe3a3;--wrong:#f2685f;--wrong-ink:#1a0503;--unjudged:#343b46;"
    "--accent:#8db8f5}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:75rem;margin:0 auto;padding:1.5rem 1rem 3rem}"
    "h1{font-size:.95rem;font-weight:600;color:var(--soft);margin:0 0 1rem;overflow-wrap:anywhere}"
    "h2{font-size:1.25rem;margin:2.5rem 0 .75rem;overflow-wrap:anywhere}"
    "h3{font-size:1rem;margin:0}p{margin:.5rem 0}"
    "code,pre,.numbers td{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:.9em}"
    "code{overflow-wrap:anywhere}"
    ".verdict{font-size:1.3rem;line-height:1.45;margin:0 0 1rem;text-wrap:pretty}"
    ".badge{display:inline-block;border-radius:.4rem;padding:0 .6rem;margin-right:.3rem;"
    "font-weight:700;font-size:1rem;line-height:1.7;vertical-align:.08em}"
    ".b-pass{background:var(--pass);color:var(--pass-ink)}"
    ".b-warn,.b-cannot-judge{background:var(--in2);color:var(--in-ink)}"
    ".b-differ{background:var(--wrong);color:var(--wrong-ink)}"
    ".facts,.note,.about,.counts{color:var(--soft);font-size:.9rem}"
    ".facts{border-left:3px solid var(--line);padding-left:.75rem}"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;"
    "padding:.75rem 1rem;margin:0 0 .9rem}"
    ".card h3{display:inline;margin-right:.5rem}.counts{display:inline}.about{margin:0}"
    ".flow .about{margin:0 0 .1rem}"
    ".nw,.no{color:var(--wrong);font-weight:600}"
    "ol.flow{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.7rem;"
    "counter-reset:stage}"
    ".flow .card{flex:1 1 17rem;margin:0;min-width:0}.flow .wide{flex-basis:100%}"
    ".flow h3:before{counter-increment:stage;content:counter(stage) '. '}"
    ".chips{list-style:none;display:flex;flex-wrap:wrap;gap:.4rem;margin:.6rem 0 0;padding:0}"
    ".chips li{border-radius:.35rem;padding:.05rem .55rem;font-size:.88rem;"
    "border:1px solid transparent;overflow-wrap:anywhere}"
    ".legend{margin:0 0 1rem}"
    ".scroll{overflow-x:auto;margin-top:.6rem}"
    "table{border-collapse:collapse}"
    ".grid{table-layout:fixed;width:100%;font-size:.85rem}.grid thead th:first-child{width:3.2rem}"
    ".grid "
    "td{min-width:1rem;height:1.3rem;line-height:1;text-align:center;padding:0;"
    "border:1px solid var(--card)}"
    ".grid th{font-weight:500;color:var(--soft);padding:0 .3rem}"
    ".grid thead th{vertical-align:bottom;padding-bottom:.3rem}"
    ".grid thead span{writing-mode:vertical-rl;transform:rotate(180deg)}"
    ".grid [scope=row],.grid thead th:first-child{text-align:right;position:sticky;left:0;"
    "background:var(--card)}"
    ".a{background:var(--ground);color:var(--soft)}li.a{border-color:var(--line)!important}"
    ".p{background:var(--pass);color:var(--pass-ink)}"
    ".i,.o,.d{color:var(--in-ink);background:var(--in1)}"
    ".s2{background:var(--in2)}.s3{background:var(--in3)}"
    ".u{background:var(--unjudged)}"
    ".w{background:var(--wrong);color:var(--wrong-ink);font-weight:700}"
    ".numbers{font-size:.88rem}"
    ".numbers th,.numbers td{padding:.15rem .7rem .15rem 0;text-align:right;"
    "border-bottom:1px solid var(--line);white-space:nowrap}"
    ".numbers th:first-child{text-align:left;font-weight:400;"
    "font-family:ui-monospace,'DejaVu Sans Mono',monospace}"
    ".numbers thead th,.numbers thead th:first-child{color:var(--soft);font-weight:500;"
    "font-family:inherit}"
    ".numbers td:last-child{padding-right:0}"
    ".suspects{width:100%}.suspects th:first-child{white-space:normal;overflow-wrap:anywhere;"
    "min-width:9rem}"
    ".suspects td.bar{width:45%;padding:0 0 0 .3rem}"
    ".bar div{background:linear-gradient(var(--ink),var(--ink)) var(--n) 50%/2px 100% no-repeat;"
    "height:1.1rem;border-left:1px solid var(--line)}"
    ".bar span{display:block;height:.6rem;position:relative;top:.25rem;background:var(--soft);"
    "opacity:.85;border-radius:0 .2rem .2rem 0}"
    ".bar.good span{background:var(--pass-ink)}.bar.bad span{background:var(--wrong)}"
    "tr.good th{font-weight:700}"
    "dl.terms{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.6rem 0}"
    "dl.terms dt{font-weight:600}dl.terms dd{margin:0;min-width:0}"
    "pre{background:var(--ground);border:1px solid var(--line);border-radius:.4rem;padding:.6rem "
    ".8rem;margin:.5rem 0;white-space:pre-wrap;overflow-wrap:anywhere}"
    "details{margin:.8rem 0}summary{cursor:pointer;color:var(--accent)}"
    ".finding ul{margin:.4rem 0;padding-left:1.2rem}"
    ".trio{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));"
    "gap:1.2rem 2rem;align-items:start}"
    ".x{white-space:nowrap}"
    "figure{margin:0;max-width:28rem}figcaption{margin-bottom:.3rem}"
    ".small{max-width:16rem}.frame{position:relative;padding-right:1.1rem;line-height:0}"
    ".frame img{width:100%;image-rendering:pixelated;border:1px solid var(--line)}"
    ".mark{position:absolute;right:0;transform:translateY(-50%);line-height:1;font-size:.9rem;"
    "color:var(--wrong)}"
    ".scale{display:flex;justify-content:space-between;font-size:.8rem;margin:.35rem 1.1rem 0 0;"
    "padding-top:.6rem;background:linear-gradient(90deg,#053061,#67a9cf,#f7f7f7,#ef8a62,#67001f) "
    "top/100% .5rem no-repeat}"
    ".scale.up{background-image:linear-gradient(90deg,#f7f7f7,#ef8a62,#67001f)}"
    "figure .note{margin:.1rem 0 0}"
    "footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.75rem;"
    "color:var(--soft);font-size:.9rem}"
    "@media(max-width:40rem){main{padding:1rem .75rem 2rem}.verdict{font-size:1.12rem}"
    ".card{padding:.6rem .7rem}.grid{font-size:.74rem}.grid th{padding:0}.grid thead "
    "th:first-child{width:2.1rem}.grid [scope=row]{padding-right:.2rem}"
    "dl.terms{grid-template-columns:1fr}dl.terms dd{margin-bottom:.4rem}"
    ".suspects tr{display:grid;grid-template-columns:1fr 4.6rem 5.6rem;"
    "border-bottom:1px solid var(--line)}.suspects th,.suspects td{border:0}"
    ".suspects th:first-child{min-width:0}.suspects thead th:last-child{display:none}"
    ".suspects td.bar{grid-column:1/-1;width:auto;padding:0 0 .3rem}}";

static const char *verdict_word(llava_verdict verdict)
{
    static const char *const words[] = {"Passes", "Doubtful", "Cannot judge", "Differs"};
    return words[verdict];
}

const char *llava_report_type(llava_dtype type)
{
    static const char *const words[] = {[LLAVA_F64] = "float64",
                                        [LLAVA_F32] = "float32",
                                        [LLAVA_F16] = "float16",
                                        [LLAVA_BF16] = "bfloat16"};
    return words[type];
}

void llava_report_code(llava_html *h, const char *text)
{
    llava_html_put(h, "<code>");
    llava_html_cut(h, text, 200);
    llava_html_put(h, "</code>");
}

void llava_report_head(llava_html *h, const char *title, llava_verdict verdict)
{
    llava_html_put(h, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                      "img-src data:; style-src 'unsafe-inline'\"><title>");
    llava_html_format(h, "%s: ", verdict_word(verdict));
    llava_html_cut(h, title, 200);
    llava_html_put(h, "</title><style>");
    llava_html_put(h, style);
    llava_html_put(h, "</style></head>\n<body><main><header><h1>");
    llava_html_cut(h, title, 400);
    llava_html_format(h, "</h1><p class=\"verdict\"><strong class=\"badge b-%s\">%s</strong> ",
                      llava_verdict_name(verdict), verdict_word(verdict));
}

void llava_report_worst(llava_html *h, const char *name, int rank, const size_t *shape,
                        const llava_comparison *c)
{
    llava_view_layout layout = llava_view_lay_out(name, rank, shape);
    llava_view_place place = llava_view_place_of(&layout, c->worst_row);
    llava_html_format(h, "<dt>worst row</dt><dd>%zu", place.row);
    if (layout.heads > 1) {
        llava_html_format(h, " of %s %zu", layout.kind == LLAVA_VIEW_PLANES ? "colour" : "head",
                          place.head);
    }
    if (layout.samples > 1) {
        llava_html_format(h, " of sample %zu", place.sample);
    }
    llava_html_format(h, ": error <span class=\"x\">%s</span></dd>",
                      llava_short(c->worst_row_l2).text);
    if (c->worst_head_l2 > 0) {
        llava_html_format(h, "<dt>worst head</dt><dd>%zu: error <span class=\"x\">%s</span></dd>",
                          c->worst_head, llava_short(c->worst_head_l2).text);
    }
}

void llava_report_tail(llava_html *h)
{
    llava_html_put(
        h,
        "<details><summary>The words on this page</summary><dl class=\"terms\">"
        "<dt>tap</dt><dd>one named tensor at one defined point of the model; "
        "<code>llava-ref explain NAME</code> gives its formula</dd>"
        "<dt>error</dt><dd>relative L2: the length of the difference, divided by the length of "
        "what was expected; 1e-7 is the rounding of float32, 1 means nothing in common</dd>"
        "<dt>made here</dt><dd>the error that is left when the step is computed anew from the "
        "port's own tensors before it</dd>"
        "<dt>inherited</dt><dd>off only because something before it is wrong</dd>"
        "<dt>rounding explains</dt><dd>how far an honest implementation of the same number type "
        "comes out</dd>"
        "<dt>decision</dt><dd>one of the places where ports are known to go wrong, with its right "
        "and wrong values; <code>llava-ref explain</code> lists them</dd>"
        "</dl></details><footer>Made by llava-ref. This page is one file, without scripts, and "
        "loads nothing.</footer></main></body></html>\n");
}
