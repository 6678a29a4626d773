"""What `make book` refuses in the pages it wrote."""

import pathlib
import tempfile

from make_book import check_site

PAGE = '<html><body id="top"><a href="{}">there</a>{}</body></html>'

RIGHT = [
    PAGE.format("b.html#top", ""),
    PAGE.format("#top", '<img src="data:image/png;base64,AA=="><script src="s.js"></script>'),
    PAGE.format("https://example.org/", ""),
]
WRONG = [
    PAGE.format("c.html", ""),
    PAGE.format("b.html#nowhere", ""),
    PAGE.format("#nowhere", ""),
    PAGE.format("b.html", '<script src="https://example.org/s.js"></script>'),
    PAGE.format("b.html", '<link href="//example.org/s.css">'),
    PAGE.format("b.html", '<img src="missing.png">'),
]
WRONG_STYLES = ["a { background: url(https://example.org/x.png) }", "@import 'missing.css';", "a { src: url(f.woff2) }"]


def wrong_in(page, style=""):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        (out / "a.html").write_text(page)
        (out / "b.html").write_text(PAGE.format("a.html", ""))
        (out / "s.js").write_text("")
        (out / "s.css").write_text(style)
        return check_site(out)[1]


def main():
    for page in RIGHT:
        assert wrong_in(page) == [], page
    for page in WRONG:
        assert len(wrong_in(page)) == 1, page
    for style in WRONG_STYLES:
        assert len(wrong_in(RIGHT[0], style)) == 1, style
    print(f"{len(RIGHT)} pages accepted, {len(WRONG) + len(WRONG_STYLES)} refused")


if __name__ == "__main__":
    main()
