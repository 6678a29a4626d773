"""The documents as a static site (`make book`).

    python tools/make_book.py [--out build/book]

The documents stay plain Markdown for the repository's own pages; what the site has more is made here: a file of the
tree that a document names in a link or as `path` gets a page with its text, a quotation (```c FILE) says where it
stands, Python sessions are set as such, and the order of the pages is written into the first one. Sphinx then reads them
with warnings for errors, and every link of every page it wrote is followed: into the site it must arrive, out of it only an
`<a>` may lead (no script, style, font or picture comes from elsewhere).
"""

import argparse
import html.parser
import os
import pathlib
import posixpath
import re
import shutil
import subprocess
import sys
import urllib.parse

import pygments
import pygments.formatters
import pygments.lexers
import sphinx.cmd.build

from check_docs import QUOTED, blocks_of, quote_places

TREE = pathlib.Path(__file__).resolve().parent.parent

# The order of the pages: a heading, and documents or patterns of them.
PARTS = {
    "How LLaVA works": ["docs/book/README.md", "docs/book/[0-9]*.md"],
    "Checking a port": ["docs/ci.md", "docs/maps.md", "docs/ports/*.md"],
    "What may be relied on": ["docs/contract.md", "docs/limits.md", "docs/tolerances.md", "docs/bits.md",
                                "SECURITY.md", "tests/attacks/README.md"],
    "What transformers computes": ["docs/spec.md", "docs/port-bugs.md", "docs/mutations.md"],
    "The project": ["docs/architecture.md", "docs/performance.md", "docs/fuzzing.md", "golden/README.md", "golden/demo/README.md",
                    "CONTRIBUTING.md"],
}  # fmt: skip
FIRST = "README.md"


def tracked():
    """The files of the tree, as git lists them, those to be added included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    said = subprocess.run(command, cwd=TREE, stdout=subprocess.PIPE, check=True).stdout
    return set(said.decode().rstrip("\0").split("\0"))


def parts():
    """[(heading, documents)]"""
    return [
        (heading, [str(path.relative_to(TREE)) for name in names for path in sorted(TREE.glob(name))])
        for heading, names in PARTS.items()
    ]


class Site:
    """The documents laid out in `stage`, as Sphinx is to read them."""

    def __init__(self, stage):
        self.stage = stage
        self.files = tracked()
        self.documents = [FIRST] + [name for _, names in parts() for name in names]
        left_out = {name for name in self.files if name.endswith(".md")} - set(self.documents)
        if left_out:
            sys.exit(f"make_book: PARTS does not say where these belong: {', '.join(sorted(left_out))}")
        self.sources = set()  # files of the tree that need a page
        self.pictures = set()

    def target(self, path):
        """Where the site shows a file of the tree; None: nowhere."""
        if path in self.documents:
            return "index.md" if path == FIRST else path
        inside = [name for name in self.documents if name.startswith(path + "/")]
        if inside:  # a folder: its README, else its first document
            return self.target(path + "/README.md" if path + "/README.md" in inside else inside[0])
        if path not in self.files:
            return None
        if path.endswith(".png"):
            self.pictures.add(path)
            return path
        self.sources.add(path)
        return f"source/{path}.md"

    def relative(self, name, target):
        return posixpath.relpath(target, posixpath.dirname("index.md" if name == FIRST else name) or ".")

    def link(self, name, match):
        """[text](path): to where the site shows the file."""
        words, address, anchor = match["words"], match["path"], match["anchor"] or ""
        if "://" in address:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), address))
        target = self.target(path)
        if target is None:
            return match[0]
        to = f"[{words}]({self.relative(name, target)}{anchor})"
        # a picture leads to itself in full size: a telephone shows it small
        return f"[!{to}]({self.relative(name, target)})" if match["picture"] else to

    def mention(self, name, match):
        """`path` of a file of the tree: a link to its page."""
        path = match["path"]
        if path not in self.files or path.endswith((".png", ".npz")):
            return match[0]
        return f"[`{path}`]({self.relative(name, self.target(path))})"

    def prose(self, name, text):
        text = re.sub(r"(?<!\[)`(?P<path>[\w.-]+(?:/[\w.-]+)*\.\w+)`(?!\])", lambda m: self.mention(name, m), text)
        return re.sub(
            r"(?P<picture>!?)\[(?P<words>[^\]]*)\]\((?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)",
            lambda m: self.link(name, m), text,
        )

    def block(self, name, block):
        kind, _, quoted = block.about.partition(" ")
        above = ""
        if kind in QUOTED and quoted:
            (_, place), *_ = quote_places(block, (TREE / quoted).read_text().split("\n"))
            first = place + 1  # docs-check has seen that it is there
            page = self.relative(name, self.target(quoted)).removesuffix(".md")
            above = f'<p class="quoted"><a href="{page}.html#L-{first}">{quoted}, line {first}</a></p>\n\n'
        elif block.lines and block.lines[0].startswith(">>> "):
            kind = "pycon"
        elif any(line.startswith("$ ") for line in block.lines):
            kind = "console"
        return f"{above}```{kind}\n" + "\n".join(block.lines).rstrip() + "\n```\n"

    def document(self, name):
        """The text of a document as the site has it."""
        lines, pieces, at = (TREE / name).read_text().split("\n"), [], 0
        for block in blocks_of("\n".join(lines)):
            fence = 0 if block.indent else 1
            first = block.line - 1 - fence
            pieces.append(self.prose(name, "\n".join(lines[at:first]) + "\n"))
            pieces.append(self.block(name, block) + "\n")
            at = first + len(block.lines) + 2 * fence
        pieces.append(self.prose(name, "\n".join(lines[at:])))
        return "".join(pieces)

    def source(self, path):
        """A page with the text of a file, its lines numbered and to be linked to."""
        text = (TREE / path).read_text()
        lexer = pygments.lexers.find_lexer_class_for_filename(path) or pygments.lexers.TextLexer
        formatter = pygments.formatters.HtmlFormatter(nowrap=True)
        lines = pygments.highlight(text, lexer(stripnl=False), formatter).rstrip("\n").split("\n")
        wide = len(str(len(lines)))
        rows = [f'<a class="line" id="L-{n}" href="#L-{n}">{n:{wide}}</a>{line}' for n, line in enumerate(lines, 1)]
        body = '<div class="highlight"><pre>' + "\n".join(rows) + "\n</pre></div>"
        return f"---\norphan: true\n---\n\n# {path}\n\n````````{{raw}} html\n{body}\n````````\n"

    def write(self, path, text):
        (self.stage / path).parent.mkdir(parents=True, exist_ok=True)
        (self.stage / path).write_text(text)

    def lay_out(self):
        for name in self.documents:
            text = self.document(name)
            if name == FIRST:
                for heading, names in parts():
                    pages = "".join(page.removesuffix(".md") + "\n" for page in names)
                    text += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{pages}```\n"
            self.write(self.target(name), text)
        for path in sorted(self.sources):
            self.write(f"source/{path}.md", self.source(path))
        for path in self.pictures:
            (self.stage / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(TREE / path, self.stage / path)
        self.write("_static/book.css", (TREE / "docs/book.css").read_text())
        self.write("conf.py", (TREE / "docs/conf.py").read_text())


class Page(html.parser.HTMLParser):
    """What a page refers to, and what in it can be referred to."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.leads, self.loads = set(), [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        for name in ("href", "src", "data"):
            if attributes.get(name):
                (self.leads if tag == "a" else self.loads).append(attributes[name])


def check_site(out):
    """(links followed, what is wrong)."""
    pages = {path: Page(path) for path in sorted(out.rglob("*.html"))}
    count, wrong = 0, []
    for path, page in pages.items():
        for address in page.leads + page.loads:
            url = urllib.parse.urlsplit(address)
            if url.scheme == "data" or (address in page.leads and url.scheme in ("http", "https", "mailto")):
                continue
            count += 1
            to = pathlib.Path(os.path.normpath(path.parent / urllib.parse.unquote(url.path))) if url.path else path
            inside = not url.scheme and not url.netloc and to.is_file()
            if not inside or (url.fragment and to in pages and url.fragment not in pages[to].anchors):
                wrong.append(f"{path.relative_to(out)}: {address} leads nowhere, or elsewhere")
    for path in sorted(out.rglob("*.css")):
        for address in re.findall(r"""(?:@import\s*["']|url\(\s*["']?)(?!data:)([^"')]+)""", path.read_text()):
            count += 1
            if "//" in address or not (path.parent / re.split("[?#]", address)[0]).is_file():
                wrong.append(f"{path.relative_to(out)}: {address} leads nowhere, or elsewhere")
    return count, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=TREE / "build/book")
    out = parser.parse_args().out.resolve()
    stage = out.with_name(out.name + "-pages")
    for folder in (stage, out):
        shutil.rmtree(folder, ignore_errors=True)
    stage.mkdir(parents=True)
    Site(stage).lay_out()
    if sphinx.cmd.build.main(["-q", "-n", "-W", "--keep-going", "-b", "html", str(stage), str(out)]) != 0:
        return 1
    shutil.rmtree(out / ".doctrees")
    for path in out.rglob("*.html"):  # a picture is looked at, not saved
        path.write_text(re.sub(r' download="" (href="[^"]*\.png")', r" \1", path.read_text()))
    count, wrong = check_site(out)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{out}: {len(list(out.rglob('*.html')))} pages, {count} links within the site, {len(wrong)} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
