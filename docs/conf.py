"""The documentation as a site, by ``bash scripts/docs.sh``: Sphinx reads the Markdown files as they are.

The source directory is the repository, so that every relative link leads on the site where it leads on a
code host. Two things are added while a page is read, because their directives would be shown as code there:

- the table of contents: ``README.md`` of the repository lists all pages under ``## All pages``, with a
  heading for each chapter; a ``README.md`` in a folder of ``docs`` lists those of the folder;
- docstrings, in the place of ``<!-- automodule: MODULE -->`` and ``<!-- autofunction: NAME -->``.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # the checkout's docstrings, whatever is installed

from cmlm_kd.version import __version__ as release  # noqa: E402

project = "cmlm-kd"
author = copyright = "the cmlm-kd authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "examples/**.md"]
smartquotes = False  # would make a dash of the two hyphens of a flag
highlight_language = "none"  # of blocks that name no language: outputs, folders, equations

myst_heading_anchors = 3  # levels of headings that links reach, spelled as code hosts spell them

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
maximum_signature_line_length = 100
napoleon_use_ivar = True  # attributes in the text of their class, once

html_theme = "furo"
html_title = f"cmlm-kd {release}"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_copy_source = False

LINK = re.compile(r"\[([^]]+)\]\(([^)#\s:]+)(?:#[^)]*)?\)")
DOCSTRINGS = re.compile(r"<!-- (auto\w+): ([\w.]+) -->")


def pages_in(text: str) -> dict[str, str]:
    """Return the Markdown files that a text links to, in order, each with its name where it comes first."""
    found: dict[str, str] = {}
    for title, target in LINK.findall(text):
        if target.endswith(".md"):
            found.setdefault(target, title)
    return found


def chapters(page: str, text: str) -> list[tuple[str, dict[str, str]]]:
    """Return what a page adds to the table of contents: captions, and the files and titles below each.

    Args:
        page: path without suffix, such as ``docs/criteria/README``.
        text: its Markdown.
    """
    if page == root_doc:
        _, _, listed = text.partition("\n## All pages\n")
        _, *parts = re.split(r"^### (.*)\n", listed, flags=re.MULTILINE)
        return [(caption, pages_in(body)) for caption, body in zip(parts[::2], parts[1::2], strict=True)]
    if re.fullmatch(r"docs/\w+/README", page):
        return [("", {name: title for name, title in pages_in(text).items() if "/" not in name})]
    return []


def without_folders(page: str, text: str) -> str:
    """Return a page whose links to folders are plain text: a code host lists their files, a site cannot."""

    def name(link: re.Match[str]) -> str:
        return link[1] if (REPOSITORY / page).parent.joinpath(link[2]).is_dir() else link[0]

    return LINK.sub(name, text)


def with_directives(page: str, text: str) -> str:
    """Return a page with the directives for its docstrings and its part of the table of contents."""
    text = DOCSTRINGS.sub(r"```{eval-rst}\n.. \1:: \2\n```", text)
    for caption, pages in chapters(page, text):
        options = [":hidden:", f":caption: {caption}"] if caption else [":hidden:"]
        entries = [f"{title} <{name}>" for name, title in pages.items()]
        text += "\n" + "\n".join(["```{toctree}", *options, "", *entries, "```"]) + "\n"
    return text


def read(app: Any, page: str, source: list[str]) -> None:
    """Let Sphinx read a page with what is added to it."""
    source[0] = with_directives(page, without_folders(page, source[0]))


def skip(app: Any, what: str, name: str, found: object, skipped: bool, options: object) -> bool | None:
    """Leave out "Alias for field number 0" of named tuples; their docstrings say what the fields are."""
    return True if type(found).__name__ == "_tuplegetter" else None


def rename(app: Any, document: Any, page: str) -> None:
    """Let docstrings look as the code has them: attributes are called so, and a colon follows each name."""
    from docutils import nodes

    labels = {"Variables": "Attributes", " -- ": ": "}
    for field in document.findall(nodes.field):
        for text in list(field.findall(nodes.Text)):
            if text in labels:
                text.parent.replace(text, nodes.Text(labels[text]))


def finish(app: Any, exception: Exception | None) -> None:
    """Give the site an ``index.html``, which web servers show for a folder."""
    if exception is None and app.builder.format == "html":
        shutil.copy(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Any) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", read)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-resolved", rename)
    app.connect("build-finished", finish)
