"""``cmlm-kd report``: the table, the learning curves and the signatures of a run."""

import argparse
from pathlib import Path

from cmlm_kd.cli.arguments import add_clusters, chosen_clusters, without_lone_seeds
from cmlm_kd.errors import UserError

HELP = "compare students: scores with significance, decoding speed, parameters, learning curves, signatures"
FILES = ("report.txt", "report.json", "curves.csv", "curves.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--student",
        nargs="+",
        required=True,
        metavar="NAME=CHECKPOINT",
        help="the checkpoints that were decoded; NAME@1=CHECKPOINT NAME@2=CHECKPOINT are runs of one "
        "student that differ in their seed, and have the same names in --generated and --log",
    )
    parser.add_argument(
        "--generated",
        nargs="+",
        required=True,
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
        "--reference", nargs="+", type=Path, required=True, metavar="FILE", help="raw references"
    )
    parser.add_argument("--baseline", required=True, metavar="NAME", help="the student to compare with")
    parser.add_argument("--lowercase", action="store_true", help="score without regard to case")
    parser.add_argument("--tokenize", default="13a", help="sacreBLEU's tokenizer for BLEU")
    add_clusters(parser)
    parser.add_argument(
        "--paired-bs-n", type=int, default=1000, metavar="N", help="resamples of the bootstrap"
    )
    parser.add_argument("--seed", type=int, default=12345, help="seed of the bootstrap, at least 1")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help=f"directory for {', '.join(FILES)}"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the four files and print the table."""
    import contextlib
    import json

    from cmlm_kd.evaluation.differences import system_of
    from cmlm_kd.evaluation.report import Student, build_report
    from cmlm_kd.evaluation.training_log import read_validations, shared_measures, write_csv, write_png
    from cmlm_kd.evaluation.translation import ScoreSettings
    from cmlm_kd.system.files import check_file_place, written_aside

    paths = [arguments.output / name for name in FILES]
    for path in paths:
        check_file_place(path)
    checkpoints = _named("--student", arguments.student)
    generated = _named("--generated", arguments.generated, checkpoints)
    logs = {name: path.parent / "train.log" for name, path in checkpoints.items()}
    logs.update(_named("--log", arguments.log))
    if set(logs) != set(checkpoints):
        raise UserError(
            f"--log names {', '.join(sorted(set(logs) - set(checkpoints)))}, which --student does not"
        )
    checkpoints, generated, logs = map(without_lone_seeds, (checkpoints, generated, logs))
    baseline = arguments.baseline if arguments.baseline in checkpoints else system_of(arguments.baseline)
    settings = ScoreSettings(
        ("bleu", "chrf"), arguments.lowercase, arguments.tokenize, 0, arguments.paired_bs_n, arguments.seed
    )
    students = [Student(name, path, generated[name]) for name, path in checkpoints.items()]
    curves = {name: read_validations(path) for name, path in logs.items()}
    shared_measures(curves)
    clusters = chosen_clusters(arguments)
    report = build_report(students, arguments.reference, baseline, settings, clusters)

    with contextlib.ExitStack() as stack:  # all four, or none
        text, document, table, picture = (stack.enter_context(written_aside(path)) for path in paths)
        text.write_text(report.to_text(), encoding="utf-8")
        contents = json.dumps(report.to_document(), indent=2, ensure_ascii=False)
        document.write_text(contents + "\n", encoding="utf-8")
        write_csv(table, curves)
        write_png(picture, curves)
    print(report.to_text(), end="")
    print(f"\ncurves: {paths[3]}; all numbers: {paths[1]}")


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
