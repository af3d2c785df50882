"""Writes the tables of docs/results.md and the figures beside it from the hypotheses and logs in results/.

``python scripts/write_results.py --take RUN NAME`` puts what a recipe's run has made into results/NAME
(``--only SYSTEM ...``: what these have made), and
``python scripts/write_results.py`` writes the page; ``--check`` writes nothing and exits with status 1 where
the page is out of date. In the page, a table stands between ``<!-- written: NAME -->`` and
``<!-- end -->``; NAME is a folder of results/ with

- ``result.yaml``: ``baseline``, the system that the others are compared with; ``run``, the commands that
  make it all again; ``metrics``, if not ``bleu`` and ``chrf``; where a licence keeps the test set out of here
  ``reference``, the name of its file, and ``sha256`` of its lines, if they could become other ones: name the
  folder where it lies with ``--references``, or such tables stay as they are;
- ``reference.txt``, one line a sentence, and ``clusters.txt``, what each is about, if they repeat;
- ``times.txt``, how long each step of the recipe took;
- ``hypotheses/SYSTEM@SEED.txt``, one line a sentence;
- ``logs/SYSTEM@SEED.log``, the lines of a training's log that are about validation.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from cmlm_kd.cli import main as cmlm_kd
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.generation import read_hypotheses
from cmlm_kd.evaluation.training_log import read_validations, write_png
from cmlm_kd.system.text import read_lines

RESULTS = Path(__file__).parents[1] / "results"
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
PLACE = re.compile(r"(<!-- written: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

VALIDATION = " | valid on '"
"""In a line of fairseq's log that is about validation, and in no other."""


def settings_of(folder: Path) -> dict[str, Any]:
    """Return what ``result.yaml`` says of a folder of results; nothing where there is none."""
    file = folder / "result.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}


def checksum(path: Path) -> str:
    """Return the SHA-256 of a text's lines, plain or gzipped."""
    return hashlib.sha256("".join(f"{line}\n" for line in read_lines(path)).encode()).hexdigest()


def reference_of(folder: Path, places: Sequence[Path]) -> Path | None:
    """Return the test set of a folder of results; None where it is in none of the places.

    Raises:
        UserError: a file of its name is there, with other lines.
    """
    settings = settings_of(folder)
    name, wanted = settings.get("reference"), settings.get("sha256")
    if name is None:
        return folder / "reference.txt"
    found = [place / name for place in places if (place / name).is_file()]
    fitting = [path for path in found if wanted in (None, checksum(path))]
    if found and not fitting:
        raise UserError(
            f"{found[0]} is not the test set of {folder}, whose lines have the SHA-256 {wanted}; make it as "
            "its result.yaml says, or leave its folder out of --references"
        )
    return fitting[0] if fitting else None


def table(folder: Path, reference: Path, scratch: Path) -> str:
    """Return the scores of a folder of results, with the commands that make it all again, as Markdown."""
    result, output = settings_of(folder), scratch / "scores.txt"
    hypotheses = sorted((folder / "hypotheses").glob("*.txt"))
    names = [path.stem for path in hypotheses]
    order = sorted(
        range(len(names)), key=lambda i: (names[i].partition("@")[0] != result["baseline"], names[i])
    )
    command = ["score", "--reference", str(reference), "--baseline", result["baseline"]]
    metrics = result.get("metrics", ["bleu", "chrf"])
    command += ["--metrics", *(name for name in metrics if name != "rouge"), "--output", str(output)]
    command += ["--rouge"] if "rouge" in metrics else []
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


def up_to_date(page: str, places: Sequence[Path] = ()) -> str:
    """Return the page with every table as the results are now.

    Args:
        page: docs/results.md.
        places: folders of test sets; a table whose test set is nowhere stays as it is.
    """

    def written(place: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            folder = RESULTS / place[2]
            reference = reference_of(folder, places)
            if reference is None:
                return place[0]
            return f"{place[1]}{table(folder, reference, Path(scratch))}{place[3]}"

    return PLACE.sub(written, page)


def take(run: Path, folder: Path, only: Collection[str] = ()) -> None:
    """Put the hypotheses and validations of a translation recipe's run into a folder of results.

    Args:
        run: its folder.
        folder: of results.
        only: systems, or their names with a seed; all where there are none.

    Raises:
        UserError: the run has no translations yet, or what it has cannot be read.
    """
    generated = sorted((run / "generated").glob("*.txt"))
    if not generated:
        raise UserError(f"{run} has no translations in generated/; give the folder of a run that is done")
    known = {path.stem for path in generated} | {path.stem.partition("@")[0] for path in generated}
    if not known.issuperset(only):
        absent = sorted(set(only) - known)
        raise UserError(
            f"{run} has no translations of {absent[0]!r}; it has those of {', '.join(sorted(known))}"
        )
    if only:
        generated = [path for path in generated if {path.stem, path.stem.partition("@")[0]} & set(only)]
    target = json.loads((run / "data-bin" / "prepare.json").read_text(encoding="utf-8"))["target_language"]
    reference = read_lines(run / "data-bin" / "raw" / f"test.{target}")
    validations = {
        path.stem: [line for line in read_lines(run / path.stem / "train.log") if VALIDATION in line]
        for path in generated
    }
    hypotheses = {path.stem: read_hypotheses(path, len(reference)) for path in generated}
    for part in ("hypotheses", "logs"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir(parents=True)
    for name, lines in hypotheses.items():
        write_lines(folder / "hypotheses" / f"{name}.txt", lines)
        write_lines(folder / "logs" / f"{name}.log", validations[name])
    if "reference" not in settings_of(folder):
        write_lines(folder / "reference.txt", reference)
    for name, kept in (("corpus/test.clauses", "clusters.txt"), ("times.txt", "times.txt")):
        if (run / name).is_file():
            write_lines(folder / kept, read_lines(run / name))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write text, a line each."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main() -> int:
    """Write or check the page; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--take", nargs=2, metavar=("RUN", "NAME"), help="put a run into results/NAME")
    parser.add_argument("--only", nargs="+", default=(), metavar="SYSTEM", help="take these alone")
    parser.add_argument(
        "--references",
        nargs="+",
        type=Path,
        default=(),
        metavar="DIR",
        help="where test sets are that are not here",
    )
    parser.add_argument(
        "--check", action="store_true", help="say whether the page is out of date, write nothing"
    )
    arguments = parser.parse_args()
    if arguments.take:
        run, name = arguments.take
        take(Path(run), RESULTS / name, arguments.only)
        return 0
    check = arguments.check
    page = PAGE.read_text(encoding="utf-8")
    written = up_to_date(page, arguments.references)
    if not check:
        PAGE.write_text(written, encoding="utf-8")
        for place in PLACE.finditer(page):
            draw_curves(RESULTS / place[2], PAGE.parent / f"results_{place[2]}.png")
    stale = written != page
    print(f"{PAGE.name}: {'out of date' if check and stale else 'written' if stale else 'as it was'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
