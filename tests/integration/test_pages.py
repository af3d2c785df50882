"""The pages: every link between them leads somewhere, and every decision is in the index."""

import re

import pytest
from documentation import PAGES, REPOSITORY

TOURS = [page for page in PAGES if page.name != "CHANGELOG.md" and page.parent.name != "criteria"]
"""Pages that name modules of today; those of criteria also name files of the released codes."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page):
    """Return the anchors of a page's headings, as code hosts make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for link in LINK.findall(text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / name if name else REPOSITORY / page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"


@pytest.mark.parametrize("page", TOURS, ids=str)
def test_modules_that_a_tour_names_are_there(page):
    named = re.findall(r"`([a-z_0-9]+/[a-z_/0-9]+\.py)`", (REPOSITORY / page).read_text(encoding="utf-8"))
    roots = [REPOSITORY, REPOSITORY / "cmlm_kd", REPOSITORY / "fairseq_plugins"]
    assert [name for name in named if not any((root / name).is_file() for root in roots)] == []


def test_every_decision_is_dated_and_in_the_index():
    folder = REPOSITORY / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for page in folder.glob("*.md"):
        if page.name == "README.md":
            continue
        sections = page.read_text(encoding="utf-8").split("\n## ")[1:]
        for section in sections:
            title, date = re.match(r"(.*)\n\n\*(\d{4}-\d\d-\d\d)\*\n", section).groups()
            assert f"| {date} | [{title}]({page.name}#" in index
