"""Writes what the pages of docs/criteria take from the code: tables of settings, and BibTeX.

``python scripts/write_criterion_pages.py`` after a setting was added or changed; ``--check`` writes nothing and
exits with status 1 where a page is out of date.
"""

import argparse
import sys
from pathlib import Path

from cmlm_kd.criteria import load_criteria
from cmlm_kd.criteria.description import with_written_parts

PAGES = Path(__file__).parents[1] / "docs" / "criteria"


def main() -> int:
    """Write or check all pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="name pages that are out of date, write nothing")
    check = parser.parse_args().check
    load_criteria()
    stale = []
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        written = with_written_parts(page)
        if written != page:
            stale.append(path.name)
            if not check:
                path.write_text(written, encoding="utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
