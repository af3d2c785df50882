"""``cmlm-kd report``: the table, the learning curves and the signatures of a run."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cmlm_kd.cli.arguments import (
    add_clusters,
    baseline_among,
    check_not_read,
    chosen_clusters,
    without_lone_seeds,
)
from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from cmlm_kd.evaluation.page.beliefs import ShownStore
    from cmlm_kd.evaluation.report import Report, Student
    from cmlm_kd.evaluation.training_log import Curves

HELP = "compare students: scores with significance, decoding speed, parameters, learning curves, signatures"
FILES = ("report.txt", "report.json", "curves.csv", "curves.png")
SENTENCES = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="folders that 'cmlm-kd run' made: their students, with everything that their own reports were "
        "given. Of several, a student is called RUN:NAME",
    )
    parser.add_argument(
        "--student",
        nargs="+",
        metavar="NAME=CHECKPOINT",
        help="the checkpoints that were decoded; NAME@1=CHECKPOINT NAME@2=CHECKPOINT are runs of one "
        "student that differ in their seed, and have the same names in --generated and --log",
    )
    parser.add_argument(
        "--generated",
        nargs="+",
        metavar="NAME=FILE",
        help="what fairseq-generate printed; its standard error belongs beside it, ending in .log",
    )
    parser.add_argument(
        "--log",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="the --log-file of each training; train.log beside the checkpoint where none is given",
    )
    parser.add_argument(
        "--reference",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="raw references; without RUN these four are needed",
    )
    parser.add_argument("--baseline", metavar="NAME", help="the student to compare with")
    parser.add_argument("--lowercase", action="store_true", help="score without regard to case")
    parser.add_argument("--tokenize", default="13a", help="sacreBLEU's tokenizer for BLEU")
    add_clusters(parser)
    parser.add_argument(
        "--paired-bs-n", type=int, default=1000, metavar="N", help="resamples of the bootstrap"
    )
    parser.add_argument("--seed", type=int, default=12345, help="seed of the bootstrap, at least 1")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"directory for {', '.join(FILES)}; without it the table is printed alone",
    )
    _add_page(parser.add_argument_group("a page for browsers"))


def _add_page(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write one self-contained page: curves, table, translations side by side and, with a "
        "store, what the teacher believed beside what the students believe",
    )
    group.add_argument(
        "--soft-targets", type=Path, metavar="DIR", help="store of 'cmlm-kd dump' to show on the page"
    )
    group.add_argument("--data", type=Path, metavar="DATA_BIN", help="data-bin that the store belongs to")
    group.add_argument("--split", help="split of the data-bin that the store belongs to (default: train)")
    group.add_argument(
        "--source-lang", "-s", help="its source language; default: as the data-bin's file names say"
    )
    group.add_argument(
        "--target-lang", "-t", help="its target language; default: as the data-bin's file names say"
    )
    group.add_argument(
        "--sentences",
        type=int,
        metavar="N",
        help=f"sentences on the page, of the test set and of the store (default: {SENTENCES})",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the four files, and the page if it is wanted, and print the table."""
    import json

    from cmlm_kd.evaluation.report import Student, build_report
    from cmlm_kd.evaluation.training_log import read_validations, shared_measures, write_csv, write_png
    from cmlm_kd.evaluation.translation import ScoreSettings
    from cmlm_kd.system.files import check_file_place, written_aside, written_together

    arguments = _of_runs(arguments) if arguments.runs else arguments
    needed = ("student", "generated", "reference", "baseline")
    missing = [f"--{name}" for name in needed if not getattr(arguments, name)]
    if missing:
        raise UserError(f"nothing says {', '.join(missing)}; give them, or the folder of a run")
    paths = [] if arguments.output is None else [arguments.output / name for name in FILES]
    for path in (*paths, arguments.html):
        check_file_place(path)
    read = (arguments.student, arguments.generated, arguments.log, arguments.reference, [arguments.clusters])
    check_not_read("--html", arguments.html, itertools.chain.from_iterable(read))
    _check_page(arguments, paths)
    checkpoints = _named("--student", arguments.student)
    generated = _named("--generated", arguments.generated, checkpoints)
    logs = {name: path.parent / "train.log" for name, path in checkpoints.items()}
    logs.update(_named("--log", arguments.log))
    if set(logs) != set(checkpoints):
        raise UserError(
            f"--log names {', '.join(sorted(set(logs) - set(checkpoints)))}, which --student does not; "
            "give both the same names"
        )
    checkpoints, generated, logs = map(without_lone_seeds, (checkpoints, generated, logs))
    baseline = baseline_among(checkpoints, arguments.baseline)
    settings = ScoreSettings(
        ("bleu", "chrf"), arguments.lowercase, arguments.tokenize, 0, arguments.paired_bs_n, arguments.seed
    )
    students = [Student(name, path, generated[name]) for name, path in checkpoints.items()]
    curves = {name: read_validations(path) for name, path in logs.items()}
    shared_measures(curves)
    clusters = chosen_clusters(arguments)
    store = _open_store(arguments)
    report = build_report(students, arguments.reference, baseline, settings, clusters)
    html = None if arguments.html is None else _page(arguments, report, students, curves, store)

    contents = json.dumps(report.to_document(), indent=2, ensure_ascii=False) + "\n"
    writers: list[Callable[[Path], object]] = [
        lambda path: path.write_text(report.to_text(), encoding="utf-8"),
        lambda path: path.write_text(contents, encoding="utf-8"),
        lambda path: write_csv(path, curves),
        lambda path: write_png(path, curves),
    ]
    with written_together():
        for path, write in zip(paths, writers, strict=False):  # no paths without --output
            with written_aside(path) as partial:
                write(partial)
        if html is not None:
            with written_aside(arguments.html) as partial:
                partial.write_text(html, encoding="utf-8")
    print(report.to_text(), end="")
    shown = [f"curves: {paths[3]}", f"all numbers: {paths[1]}"] if paths else []
    shown += [f"page: {arguments.html}"] * (html is not None)
    if shown:
        print("\n" + "; ".join(shown))


def _of_runs(arguments: argparse.Namespace) -> argparse.Namespace:
    """Return the flags of the runs' own reports, where the user has not given others.

    Raises:
        UserError: a folder is none of a run, two have one name, or they translated different texts.
    """
    from cmlm_kd.recipes.finished import recorded_command

    parser = argparse.ArgumentParser(prog="cmlm-kd report")
    add_arguments(parser)
    own = []
    for run in arguments.runs:
        found, unknown = parser.parse_known_args(recorded_command(run, "cmlm-kd report"))
        if unknown:
            raise UserError(f"{run}: its report was of another release ({unknown[0]}); run the recipe again")
        own.append(found)
    names = [run.resolve().name for run in arguments.runs]
    if len({*names}) < len(names):
        raise UserError(f"RUN: folders of equal names ({', '.join(names)}) can't be told apart; rename one")
    for run, other in zip(arguments.runs[1:], own[1:], strict=True):
        if [path.read_bytes() for path in own[0].reference] != [
            path.read_bytes() for path in other.reference
        ]:
            raise UserError(f"{run} has another reference than {arguments.runs[0]}; give runs of one text")
    if len(own) > 1:
        for name, one in zip(names, own, strict=True):
            for flag in ("student", "generated", "log"):
                setattr(one, flag, [f"{name}:{value}" for value in getattr(one, flag)])
            one.baseline = f"{name}:{one.baseline}"
    whole = own[0]
    for flag in ("student", "generated", "log"):
        setattr(whole, flag, list(itertools.chain.from_iterable(getattr(one, flag) for one in own)))
    whole.runs, whole.output, whole.html = [], arguments.output, arguments.html
    if whole.html is None:
        whole.soft_targets = whole.data = whole.split = whole.source_lang = whole.target_lang = None
    for flag, value in vars(arguments).items():
        if flag != "runs" and hasattr(whole, flag) and value != parser.get_default(flag):
            setattr(whole, flag, value)
    return whole


def _check_page(arguments: argparse.Namespace, paths: Sequence[Path]) -> None:
    """Refuse flags of the page that do not go together, before the work."""
    from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range

    given = {
        "--soft-targets": arguments.soft_targets,
        "--data": arguments.data,
        "--split": arguments.split,
        "--source-lang": arguments.source_lang,
        "--target-lang": arguments.target_lang,
        "--sentences": arguments.sentences,
    }
    named = [flag for flag, value in given.items() if value is not None]
    if named and arguments.html is None:
        raise UserError(f"{', '.join(named)}: this is about the page; name it with --html FILE")
    of_store = [flag for flag in named if flag != "--sentences"]
    if of_store and (arguments.soft_targets is None or arguments.data is None):
        raise UserError(
            f"{', '.join(of_store)}: soft targets are shown of a store and the data-bin that it was dumped "
            "for; give both, --soft-targets DIR and --data DATA_BIN"
        )
    if arguments.sentences is not None:
        check_range("--sentences", arguments.sentences, AT_LEAST_ONE)
    if arguments.html is not None and arguments.html.resolve() in [path.resolve() for path in paths]:
        raise UserError(f"--html {arguments.html} is a file of the report's own; give another name")


def _open_store(arguments: argparse.Namespace) -> ShownStore | None:
    if arguments.soft_targets is None:
        return None
    from cmlm_kd.evaluation.page.beliefs import ShownStore

    return ShownStore.open(
        arguments.soft_targets,
        arguments.data,
        arguments.split or "train",
        (arguments.source_lang, arguments.target_lang),
    )


def _page(
    arguments: argparse.Namespace,
    report: Report,
    students: Sequence[Student],
    curves: Curves,
    store: ShownStore | None,
) -> str:
    from cmlm_kd.evaluation.page.run_page import asked_students, run_page
    from cmlm_kd.evaluation.translation import read_references

    most = arguments.sentences or SENTENCES
    asked = asked_students(students, [row.name for row in report.rows])
    beliefs = None if store is None else store.beliefs(asked, most)
    references = read_references(arguments.reference)
    return run_page(report, students, curves, references, beliefs, most, lowercase=arguments.lowercase)


def _named(flag: str, values: list[str], expected: dict[str, Path] | None = None) -> dict[str, Path]:
    """Parse NAME=FILE; with ``expected``, demand the same names."""
    named: dict[str, Path] = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not equals or not name or name in named:
            raise UserError(f"{flag} {value!r}: give NAME=FILE, each name once")
        named[name] = Path(file)
    if expected is not None and set(named) != set(expected):
        raise UserError(
            f"{flag} names {', '.join(named)}, --student names {', '.join(expected)}; they must agree"
        )
    return named
