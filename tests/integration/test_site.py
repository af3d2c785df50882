"""The documentation as a site: its table of contents has every page, its reference every public name.

``bash scripts/docs.sh`` builds it, with warnings as errors; here is what needs no Sphinx.
"""

import importlib
import re
from itertools import pairwise
from types import FunctionType

import pytest
from documentation import PAGES, REPOSITORY, load_script

import cmlm_kd.api

REFERENCE = sorted((REPOSITORY / "docs" / "reference").glob("*.md"))


@pytest.fixture(scope="module")
def conf():
    return load_script("docs/conf.py")


def text_of(page):
    return (REPOSITORY / page).read_text(encoding="utf-8")


def test_every_page_is_in_the_table_of_contents_once(conf):
    listed = []
    for page in PAGES:
        for _, names in conf.chapters(str(page.with_suffix("")), text_of(page)):
            listed += [page.parent / name for name in names]
    assert sorted([*map(str, listed), "README.md"]) == sorted(map(str, PAGES))


def test_the_table_of_contents_is_read_from_the_pages(conf):
    pages = "### Begin\n\n[b](docs/b.md#c), [b](docs/b.md)\n\n### End\n[d](D.md)\n"
    readme = f"# a\n[x](docs/x.md)\n\n## All pages\n\n{pages}"
    assert conf.chapters("README", readme) == [("Begin", {"docs/b.md": "b"}), ("End", {"D.md": "d"})]
    folder = "[a](a.md) [up](../data.md) [b](b.md) [out](https://example.org/c.md)\n"
    assert conf.chapters("docs/criteria/README", folder) == [("", {"a.md": "a", "b.md": "b"})]
    assert conf.chapters("docs/data", folder) == conf.chapters("examples/translation/README", folder) == []
    read = conf.with_directives("README", readme + "\n<!-- automodule: cmlm_kd.errors -->\n")
    assert "```{toctree}\n:hidden:\n:caption: Begin\n\nb <docs/b.md>\n```\n" in read
    assert conf.without_folders("docs/data", "[f](site), [c](conf.py)") == "f, [c](conf.py)"
    assert "```{eval-rst}\n.. automodule:: cmlm_kd.errors\n```\n" in read


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_pages_have_no_directive_that_a_code_host_shows_as_code(page):
    assert not re.search(r"^[ \t]*(```+|:::+)\{", text_of(page), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_has_one_title_and_skips_no_level(page):
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def documented(conf):
    """Return every name that the pages of the reference take docstrings of: modules, and names in them."""
    found = set()
    for page in REFERENCE:
        for directive, name in conf.DOCSTRINGS.findall(page.read_text(encoding="utf-8")):
            found.add(name)
            if directive == "automodule":
                module = importlib.import_module(name)
                names = getattr(module, "__all__", None) or [
                    own
                    for own, value in vars(module).items()
                    if not isinstance(value, (type, FunctionType)) or value.__module__ == name
                ]
                found |= {f"{name}.{own}" for own in names}
            else:
                parent, _, own = name.rpartition(".")
                value = getattr(importlib.import_module(parent), own)
                found.add(f"{value.__module__}.{value.__qualname__}")
    return found


def test_the_reference_has_what_is_public(conf):
    _, _, table = text_of("docs/api.md").partition("**Public**")
    rows = re.findall(r"^\| (`cmlm_kd\..*?) \|", table.partition("**Private**")[0], re.MULTILINE)
    assert len(rows) > 5
    public = set()
    for row in rows:
        modules, _, names = row.partition(": ")
        first = re.match(r"`([\w.]+)`", modules)[1]
        for module in re.findall(r"`([\w.]+)`", modules):
            whole = first.rpartition(".")[0] + module if module.startswith(".") else module
            public |= {f"{whole}.{name}" for name in re.findall(r"`(\w+)`", names)} or {whole}
    assert public - documented(conf) == set()


def test_the_reference_has_the_whole_interface_for_extensions(conf):
    page, found = text_of("docs/reference/extensions.md"), documented(conf)
    for name in cmlm_kd.api.__all__:
        has_docstring = isinstance(getattr(cmlm_kd.api, name), (type, FunctionType))
        assert f"cmlm_kd.api.{name}" in found if has_docstring else f"`{name}`" in page, name
