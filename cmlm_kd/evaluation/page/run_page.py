"""The page of a run: learning curves, the table, translations side by side, soft targets beside beliefs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmlm_kd.evaluation.differences import system_of
from cmlm_kd.evaluation.generation import read_hypotheses, read_sources
from cmlm_kd.evaluation.page.beliefs import Beliefs
from cmlm_kd.evaluation.page.charts import Axis, Chart, Point, Series
from cmlm_kd.evaluation.page.rendering import render
from cmlm_kd.evaluation.page.translations import Example, examples
from cmlm_kd.evaluation.report import Report, Student, StudentRow
from cmlm_kd.evaluation.scores import Score
from cmlm_kd.evaluation.training_log import PANELS, Curves, best_point, shared_measures

NO_BELIEFS = (
    "No soft targets are shown: name the store of 'cmlm-kd dump' with --soft-targets and the data-bin that "
    "it belongs to with --data."
)
"""What stands in the place of beliefs when none were asked for."""


@dataclass(frozen=True)
class ScoreCell:
    """What the table says of one metric of one student.

    Attributes:
        value: with its spread.
        against: the difference from the baseline; empty for the baseline itself.
        significant: whether that is significant; None without a test.
    """

    value: str
    against: str
    significant: bool | None


@dataclass(frozen=True)
class StripRow:
    """The scores of a student as marks on a line, in per cent of it.

    Attributes:
        name: of the student.
        colour: number of its colour.
        runs: place and words of every run.
        mean: of its runs.
        interval: ends of the 95 % interval of a single run's score; None where runs are shown.
    """

    name: str
    colour: int
    runs: Sequence[tuple[float, str]]
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Strip:
    """A metric of all students on one axis."""

    axis: Axis
    rows: Sequence[StripRow]


def run_page(
    report: Report,
    students: Sequence[Student],
    curves: Curves,
    references: Sequence[Sequence[str]],
    beliefs: Beliefs | None,
    most: int,
    *,
    lowercase: bool = False,
) -> str:
    """Return the page as HTML.

    Args:
        report: the table.
        students: every run, in the order of their names.
        curves: run -> its validations.
        references: lines by reference.
        beliefs: of a store; None where none is shown.
        most: sentences of the test set that are shown, at least 1.
        lowercase: scores do not see case, and differences shall not either.

    Raises:
        UserError: a file is missing or does not fit.
    """
    names = [row.name for row in report.rows]
    systems = {student.name: read_hypotheses(student.generated, len(references[0])) for student in students}
    runs: dict[str, list[str]] = {name: [] for name in names}
    for name in systems:
        runs[_student_of(name, names)].append(name)
    shown = examples(systems, references, _sources(students, len(references[0])), most, lowercase=lowercase)
    return render(
        "run",
        title=f"Report: {', '.join(names)}",
        names=names,
        report=report,
        rows=[(row, _cells(report, row)) for row in report.rows],
        strips=[_strip(metric, report.rows) for metric in ("bleu", "chrf")],
        charts=_charts(curves, names),
        examples=shown,
        runs=runs,
        gains=[_mean_scores(example, runs) for example in shown],
        beliefs=beliefs,
        no_beliefs=NO_BELIEFS,
        data={"sentences": [asdict(sentence) for sentence in beliefs.sentences]} if beliefs else None,
        speakers=_speakers(beliefs, names),
    )


def _student_of(run: str, names: Sequence[str]) -> str:
    """Return whose run it is; where runs are not compared, each is a student of its own."""
    return run if run in names else system_of(run)


def _sources(students: Sequence[Student], sentences: int) -> list[str] | None:
    """Return the sources from the first output that has them: all are of the same text."""
    for student in students:
        found = read_sources(student.generated, sentences)
        if found is not None:
            return found
    return None


def _cells(report: Report, row: StudentRow) -> list[ScoreCell]:
    baseline = next(other for other in report.rows if other.name == report.baseline)
    return [
        _cell(row.bleu, baseline.bleu, tested=row is not baseline),
        _cell(row.chrf, baseline.chrf, tested=row is not baseline),
    ]


def _cell(score: Score, baseline: Score, *, tested: bool) -> ScoreCell:
    if not tested:
        return ScoreCell(score.to_cell(), "", None)
    if score.p_value is None:
        return ScoreCell(score.to_cell(), "not tested", None)
    difference, interval = f"{score.value - baseline.value:+.2f}", ""
    if score.difference is not None:
        low, high = score.difference.interval
        interval = f" ({low:+.2f} to {high:+.2f})"
    return ScoreCell(
        score.to_cell(), f"{difference}{interval}, p = {score.p_value:.4f}", score.is_significant
    )


def _strip(metric: str, rows: Sequence[StudentRow]) -> Strip:
    scores: list[Score] = [getattr(row, metric) for row in rows]
    ends = [value for score in scores for value in (score.value, *score.runs.values(), *_interval(score))]
    axis = Axis.around({"bleu": "BLEU", "chrf": "chrF2"}[metric], ends)
    found = []
    for colour, (row, score) in enumerate(zip(rows, scores, strict=True)):
        runs = score.runs or {row.name: score.value}
        marks = [(axis.place(value), f"{name}: {value:.2f}") for name, value in runs.items()]
        interval = _interval(score)
        places = (axis.place(interval[0]), axis.place(interval[1])) if interval else None
        found.append(StripRow(row.name, colour, marks, axis.place(score.value), places))
    return Strip(axis, found)


def _interval(score: Score) -> tuple[float, ...]:
    """Return the 95 % interval of a single run's score, or nothing."""
    if score.runs or score.confidence is None:
        return ()
    return score.value - score.confidence, score.value + score.confidence


def _charts(curves: Curves, names: Sequence[str]) -> list[Chart]:
    charts = []
    for measure in shared_measures(curves):
        label, more_is_better = PANELS[measure]
        series = []
        for run, points in curves.items():
            measured = [point for point in points if measure in point.measures]
            best = best_point(measured, measure, more_is_better)
            dots = [
                Point(
                    point.updates,
                    point.measures[measure],
                    f"{run}: {point.measures[measure]:.4g} after {point.updates:,} updates"
                    + (", its best" if point is best else ""),
                    point is best,
                )
                for point in measured
            ]
            series.append(Series(run, names.index(_student_of(run, names)), dots))
        charts.append(Chart(label, "updates", label, series))
    return charts


def _mean_scores(example: Example, runs: Mapping[str, Sequence[str]]) -> list[float]:
    """Return the mean chrF of each student's runs on a sentence."""
    of_run = {translation.run: translation.chrf for translation in example.translations}
    return [round(sum(of_run[run] for run in own) / len(own), 2) for own in runs.values()]


def _speakers(beliefs: Beliefs | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return name and colour of the teacher and of all students that were asked."""
    if beliefs is None:
        return []
    colours = {run: names.index(_student_of(run, names)) for run in beliefs.speakers}
    return [{"name": "teacher", "colour": None}] + [
        {"name": name, "colour": colour} for name, colour in colours.items()
    ]


def asked_students(students: Sequence[Student], names: Sequence[str]) -> dict[str, Path]:
    """Return the first run of each student, whose beliefs stand for all: name of the run -> checkpoint."""
    found: dict[str, Student] = {}
    for student in students:
        found.setdefault(_student_of(student.name, names), student)
    return {student.name: student.checkpoint for student in found.values()}
