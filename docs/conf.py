"""Sphinx: the documents as a site. `make book` (tools/make_book.py) lays them out and calls it."""

project = "llava-ref"
author = "the llava-ref authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "llava-ref"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_show_copyright = False
html_copy_source = False
html_last_updated_fmt = None
# Blocks are formulas and what programs print; those in a language say so.
highlight_language = "none"
# Headings may be linked to, as on a page of the repository.
myst_heading_anchors = 3
