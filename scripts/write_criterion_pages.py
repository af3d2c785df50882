"""Writes what the pages of docs/criteria take from the code: tables of settings, and BibTeX.

Run ``python scripts/write_criterion_pages.py`` after a setting was added or changed; ``--check`` writes
nothing and exits with status 1 where a page is out of date. In a page, what it writes stands between
``<!-- written: settings NAME -->``, or ``citation``, and ``<!-- end -->``.
"""

import argparse
import re
import sys
from pathlib import Path

from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.criteria import load_criteria
from cmlm_kd.criteria.description import flags_of

PAGES = Path(__file__).parents[1] / "docs" / "criteria"


def settings_table(name: str) -> str:
    """Return the Markdown table of a criterion's settings."""
    rows = ["| flag | default | allowed | meaning |", "|---|---|---|---|"]
    for flag in flags_of(kd_criteria.get(name).config):
        default = flag.default if flag.default in ("on", "off", "none") else f"`{flag.default}`"
        allowed = ", ".join(f"`{choice}`" for choice in flag.choices) or flag.allowed.removeprefix("in ")
        meaning = flag.meaning.replace("|", "\\|")
        rows.append(f"| `{flag.name}` | {default} | {allowed} | {meaning} |".replace("|  |", "| |"))
    return "\n".join(rows)


def citation(name: str) -> str:
    """Return the BibTeX of the paper that a criterion follows, as Markdown."""
    return f"```bibtex\n{kd_criteria.get(name).cls.citation}```"


WRITERS = {"settings": settings_table, "citation": citation}
PLACE = re.compile(r"(<!-- written: (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def up_to_date(page: str) -> str:
    """Return a page with all that is written from the code as the code is now."""
    return PLACE.sub(lambda place: f"{place[1]}{WRITERS[place[2]](place[3])}\n{place[4]}", page)


def main() -> int:
    """Write or check all pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="name pages that are out of date, write nothing")
    check = parser.parse_args().check
    load_criteria()
    stale = []
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        written = up_to_date(page)
        if written != page:
            stale.append(path.name)
            if not check:
                path.write_text(written, encoding="utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
