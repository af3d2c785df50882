"""The report of a run: students side by side, with all that is needed to make the numbers again."""

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmlm_kd.criteria.signature import HASH_DIGITS, UNKNOWN, criterion_part, signature_by_teachers
from cmlm_kd.data.translation.manifest import load_manifest
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.differences import SIGNIFICANCE_LEVEL, runs_by_system
from cmlm_kd.evaluation.generation import DecodingSpeed, read_hypotheses, read_speed
from cmlm_kd.evaluation.scores import Evaluation, Score
from cmlm_kd.evaluation.translation import ScoreSettings, evaluate, read_references
from cmlm_kd.fairseq_files.checkpoints import count_parameters, number_of_updates, read_checkpoint
from cmlm_kd.store.manifest import MANIFEST_NAME, Manifest
from cmlm_kd.system.text import table
from cmlm_kd.version import __version__


def kd_signature(
    criterion: str, teachers: Sequence[str], stores: Sequence[str], version: str = __version__
) -> str:
    """Return ``kd:soft_target|k:8|T:10|alpha:0.5|teacher:3fa9c1|store:77ab02|v:0.1.0``.

    Args:
        criterion: the criterion's part, up to its last setting.
        teachers: hash of each teacher, shortened here; equal ones count once.
        stores: signature of each store of soft targets, in the order of the training sets.
        version: of this toolkit.
    """
    teacher = "+".join(dict.fromkeys(teacher[:HASH_DIGITS] for teacher in teachers)) or UNKNOWN
    store = "+".join(dict.fromkeys(stores)) or UNKNOWN
    return f"{criterion}|teacher:{teacher}|store:{store}|v:{version}"


def signature_of_student(state: Mapping[str, Any], root: Path = Path()) -> str | None:
    """Return the KD signature of a student, whether its teachers answered in training or by stores.

    Args:
        state: the checkpoint, as :func:`cmlm_kd.fairseq_files.checkpoints.read_checkpoint` returns it.
        root: what relative paths in its settings are relative to.

    Returns:
        See :func:`signature_of_checkpoint`.
    """
    settings = state.get("cfg") or {}
    synthetic = _synthetic_sets(settings.get("task") or {}, root)
    return signature_by_teachers(state, data=synthetic) or signature_of_checkpoint(settings, root)


def signature_of_checkpoint(settings: Mapping[str, Any], root: Path = Path()) -> str | None:
    """Return the KD signature of a student, from the settings in its checkpoint and the stores they name.

    Args:
        settings: the checkpoint's ``cfg``.
        root: what relative paths in the settings are relative to.

    Returns:
        The signature, with "unknown" for a store that is gone; training sets that a machine wrote are named,
        also for a student that learnt from them and no store. None for a student that had no teacher.
    """
    paths = _stores_of(settings.get("task") or {})
    part = criterion_part(settings.get("criterion") or {}) if paths else None
    synthetic = _synthetic_sets(settings.get("task") or {}, root)
    if part is None:
        return f"kd:none|{synthetic}|v:{__version__}" if synthetic else None
    teachers, stores = [], []
    for path in paths:
        try:
            manifest = Manifest.read(root / path / MANIFEST_NAME)
        except (UserError, OSError):
            continue
        teachers.append(manifest.header.teacher_hash)
        stores.append(manifest.signature)
    return kd_signature(f"{part}|{synthetic}" if synthetic else part, teachers, stores)


def _synthetic_sets(task: Mapping[str, Any], root: Path) -> str:
    """Return ``synthetic:train1.de=3fa9c1`` for data of which a machine wrote a side; nothing for others."""
    named: dict[str, None] = {}
    for data in filter(None, str(task.get("data") or "").split(":")):
        with contextlib.suppress(UserError, OSError):  # it is gone, or was not written by us
            for split, side in sorted(load_manifest(root / data).synthetic.items()):
                if split.startswith("train"):
                    named[f"{split}.{side.language}={side.model_hash[:HASH_DIGITS]}"] = None
    return f"synthetic:{'+'.join(named)}" if named else ""


def _stores_of(task: Mapping[str, Any]) -> list[str]:
    """Return the paths in ``--soft-targets``: colons part epochs, commas part training sets."""
    value = str(task.get("soft_targets") or "")
    return [path for path in value.replace(",", ":").split(":") if path and path != "none"]


_BLEU, _CHRF = "BLEU", "chrF2"


@dataclass(frozen=True)
class Student:
    """A trained student and its translations of the test set.

    Attributes:
        name: what the table calls it; ``NAME@SEED`` is one of several runs of ``NAME``.
        checkpoint: the one that was decoded.
        generated: what ``fairseq-generate`` printed. The decoding speed is read from there, or from the file
            of the same name that ends in ``.log`` (what it wrote to standard error).
    """

    name: str
    checkpoint: Path
    generated: Path


@dataclass(frozen=True)
class RunFacts:
    """What is known of one run besides its scores; the fields are those of :class:`StudentRow`."""

    name: str
    speed: DecodingSpeed
    parameters: int
    updates: int
    kd_signature: str | None

    def to_document(self) -> dict[str, Any]:
        """Return them for JSON."""
        return {
            "name": self.name,
            "decoding": vars(self.speed),
            "parameters": self.parameters,
            "updates": self.updates,
            "kd_signature": self.kd_signature,
        }


@dataclass(frozen=True)
class StudentRow:
    """What the table says of one student.

    Attributes:
        name: of the student.
        bleu: corpus BLEU, with the p-value of its difference from the baseline.
        chrf: corpus chrF, likewise.
        speed: while decoding the test set; of several runs the middle one's.
        parameters: of the model, tied ones once.
        updates: optimiser steps until the checkpoint; of several runs their mean.
        kd_signature: what it was distilled from; None for a student without a teacher. Runs that differ
            are parted by a space.
        runs: each run, where runs are compared.
    """

    name: str
    bleu: Score
    chrf: Score
    speed: DecodingSpeed
    parameters: int
    updates: int
    kd_signature: str | None
    runs: Sequence[RunFacts] = ()


@dataclass(frozen=True)
class Report:
    """All rows, baseline first, and the signatures of the scores; ``evaluation`` where runs were compared."""

    rows: Sequence[StudentRow]
    baseline: str
    sentences: int
    signatures: Mapping[str, str]
    evaluation: Evaluation | None = None

    def to_text(self) -> str:
        """Return the table, what it means and the signatures, as Markdown."""
        heading = [_BLEU, "p", _CHRF, "p", "sentences/s", "tokens/s", "parameters", "updates"]
        cells = [["student", *(["runs"] if self.evaluation else []), *heading]]
        for row in self.rows:
            scores = [cell for score in (row.bleu, row.chrf) for cell in (score.to_cell(), _p_value(score))]
            runs = [str(len(row.runs))] if self.evaluation else []
            speed = [f"{row.speed.sentences_per_second:.1f}", f"{row.speed.tokens_per_second:.0f}"]
            cells.append([row.name, *runs, *scores, *speed, f"{row.parameters:,}", f"{row.updates:,}"])
        lines = [table(cells), "", *self.verdicts(), "", *(f"    {line}" for line in self.signature_lines())]
        return "\n".join(lines) + "\n"

    def verdicts(self) -> list[str]:
        """Return in a sentence each how the students compare with the baseline."""
        if self.evaluation is not None:
            return self.evaluation.verdicts(_BLEU, _CHRF)
        return [self.verdict(row) for row in self.rows if row.name != self.baseline]

    def signature_lines(self) -> list[str]:
        """Return a line for each metric, for the test of runs, and for each student that had a teacher."""
        lines = [f"{metric}|{signature}" for metric, signature in self.signatures.items()]
        if self.evaluation is not None and self.evaluation.runs_test is not None:
            lines.append(self.evaluation.runs_test.to_text())
        return lines + [
            f"{row.name}: {row.kd_signature}" for row in self.rows if row.kd_signature is not None
        ]

    def verdict(self, row: StudentRow) -> str:
        """Return in one sentence how a student compares with the baseline in BLEU."""
        baseline = next(other for other in self.rows if other.name == self.baseline)
        difference = row.bleu.value - baseline.bleu.value
        against = f"{row.name}: {difference:+.2f} BLEU against {self.baseline}"
        if row.bleu.p_value is None:
            return f"{against}; not tested, because there is a single line."
        significant = "significant" if row.bleu.is_significant else "not significant"
        return (
            f"{against}; the difference is {significant} "
            f"(p = {_p_value(row.bleu)}, paired bootstrap, level {SIGNIFICANCE_LEVEL})."
        )

    def to_document(self) -> dict[str, Any]:
        """Return what ``report.json`` holds."""
        test = self.evaluation.runs_test if self.evaluation is not None else None
        return {
            "baseline": self.baseline,
            "sentences": self.sentences,
            "signatures": dict(self.signatures),
            **({"test": test.to_document()} if test is not None else {}),
            "students": [
                {
                    "name": row.name,
                    "bleu": {"value": row.bleu.value, **row.bleu.to_document()},
                    "chrf": {"value": row.chrf.value, **row.chrf.to_document()},
                    "decoding": vars(row.speed),
                    "parameters": row.parameters,
                    "updates": row.updates,
                    "kd_signature": row.kd_signature,
                    **({"runs": [run.to_document() for run in row.runs]} if row.runs else {}),
                }
                for row in self.rows
            ],
            "significant": {
                row.name: row.bleu.is_significant for row in self.rows if row.name != self.baseline
            },
        }


def build_report(
    students: Sequence[Student],
    references: Sequence[Path],
    baseline: str,
    settings: ScoreSettings,
    clusters: Sequence[str] | None = None,
) -> Report:
    """Score the students' translations and read the rest from their checkpoints and logs.

    Args:
        students: two or more of them, or of their runs, with different names.
        references: files of raw references.
        baseline: name of the student that the others are compared with.
        settings: of the scores; BLEU and chrF are computed whatever its metrics are.
        clusters: label of each line of the test set; see :func:`cmlm_kd.evaluation.translation.evaluate`.

    Raises:
        UserError: a file is missing or does not fit, names repeat, or the baseline is unknown.
    """
    names = [student.name for student in students]
    if len(set(names)) < len(names) or len(names) < 2:
        raise UserError(f"students {names}: two or more are needed, each with a name of its own")
    texts = read_references(references)
    systems = {student.name: read_hypotheses(student.generated, len(texts[0])) for student in students}
    evaluation = evaluate(systems, texts, settings, baseline, clusters)
    facts = {student.name: _facts(student) for student in students}
    compared = evaluation if evaluation.runs_test is not None else None
    grouped = runs_by_system(names) if compared is not None else {name: [name] for name in names}
    rows = [
        _row(name, scores, [facts[run] for run in grouped[name]], compared is not None)
        for name, scores in evaluation.systems.items()
    ]
    return Report(rows, baseline, evaluation.sentences, evaluation.signatures, compared)


def _facts(student: Student) -> RunFacts:
    state = read_checkpoint(student.checkpoint)
    log = student.generated.with_suffix(".log")
    return RunFacts(
        name=student.name,
        speed=read_speed(log if log.is_file() else student.generated),
        parameters=count_parameters(state),
        updates=number_of_updates(state),
        kd_signature=signature_of_student(state),
    )


def _row(name: str, scores: Mapping[str, Score], runs: Sequence[RunFacts], compared: bool) -> StudentRow:
    by_speed = sorted((run.speed for run in runs), key=lambda speed: speed.sentences_per_second)
    signatures = dict.fromkeys(run.kd_signature for run in runs if run.kd_signature is not None)
    return StudentRow(
        name=name,
        bleu=scores[_BLEU],
        chrf=scores[_CHRF],
        speed=by_speed[len(by_speed) // 2],
        parameters=max(run.parameters for run in runs),
        updates=round(statistics.fmean(run.updates for run in runs)),
        kd_signature=" ".join(signatures) or None,
        runs=runs if compared else (),
    )


def _p_value(score: Score) -> str:
    return "" if score.p_value is None else f"{score.p_value:.4f}"
