"""Writes the tables of docs/results.md and the figures beside it from the hypotheses and logs in results/.

Run ``python scripts/write_results.py`` after results were added; ``--check`` writes nothing and exits with
status 1 where the page is out of date. In the page, a table stands between ``<!-- written: NAME -->`` and
``<!-- end -->``; NAME is a folder of results/ with

- ``result.yaml``: ``baseline``, the system that the others are compared with; ``run``, the commands that
  make it all again;
- ``reference.txt``, one line a sentence, and ``clusters.txt``, what each is about, if they repeat;
- ``hypotheses/SYSTEM@SEED.txt``, one line a sentence;
- ``logs/SYSTEM@SEED.log``, the lines of a training's log that are about validation.
"""

import argparse
import re
import sys
from pathlib import Path

import yaml

from cmlm_kd.cli import main as cmlm_kd
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.training_log import read_validations, write_png

RESULTS = Path(__file__).parents[1] / "results"
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
PLACE = re.compile(r"(<!-- written: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(folder: Path, output: Path) -> str:
    """Return the scores of a folder of results, with the commands that make it all again, as Markdown."""
    result = yaml.safe_load((folder / "result.yaml").read_text(encoding="utf-8"))
    hypotheses = sorted((folder / "hypotheses").glob("*.txt"))
    names = [path.stem for path in hypotheses]
    order = sorted(
        range(len(names)), key=lambda i: (names[i].partition("@")[0] != result["baseline"], names[i])
    )
    command = ["score", "--reference", str(folder / "reference.txt"), "--baseline", result["baseline"]]
    command += ["--metrics", "bleu", "chrf", "--output", str(output)]
    if (folder / "clusters.txt").is_file():
        command += ["--clusters", str(folder / "clusters.txt")]
    if cmlm_kd([*command, "--hypothesis", *(f"{names[i]}={hypotheses[i]}" for i in order)]):
        raise UserError(f"{folder}: its hypotheses could not be scored; the reason stands above")
    scores = output.read_text(encoding="utf-8").strip()
    return f"```\n{scores}\n```\n\n```bash\n{result['run'].strip()}\n```\n"


def draw_curves(folder: Path, figure: Path) -> None:
    """Draw the learning curves of a folder of results, where it has logs."""
    logs = sorted((folder / "logs").glob("*.log"))
    if logs:
        write_png(figure, {path.stem: read_validations(path) for path in logs})


def up_to_date(page: str, scratch: Path) -> str:
    """Return the page with every table as the results are now; ``scratch`` is a file to write to."""
    return PLACE.sub(lambda place: f"{place[1]}{table(RESULTS / place[2], scratch)}{place[3]}", page)


def main() -> int:
    """Write or check the page; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="say whether the page is out of date, write nothing"
    )
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    scratch = RESULTS / ".scores.txt"
    try:
        written = up_to_date(page, scratch)
    finally:
        scratch.unlink(missing_ok=True)
    if not check:
        PAGE.write_text(written, encoding="utf-8")
        for place in PLACE.finditer(page):
            draw_curves(RESULTS / place[2], PAGE.parent / f"results_{place[2]}.png")
    stale = written != page
    print(f"{PAGE.name}: {'out of date' if check and stale else 'written' if stale else 'as it was'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
