"""Results of an evaluation: scores, their significance, and their table."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cmlm_kd.evaluation.differences import POWER, SIGNIFICANCE_LEVEL, Difference, verdict
from cmlm_kd.system.text import table


@dataclass(frozen=True)
class Score:
    """One metric of one system.

    Attributes:
        value: the corpus score, 0 to 100 (TER may exceed 100); of several runs their mean.
        p_value: probability of a difference from the baseline this large by chance; None without a test.
        confidence: half the width of the bootstrap's 95 % interval; None without a test, and where all
            resamples are alike.
        runs: run -> its score, where runs are compared.
        difference: from the baseline, where runs are compared and there are enough.
    """

    value: float
    p_value: float | None = None
    confidence: float | None = None
    runs: Mapping[str, float] = field(default_factory=dict)
    difference: Difference | None = None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the runs; None for fewer than two."""
        return statistics.stdev(self.runs.values()) if len(self.runs) > 1 else None

    @property
    def is_significant(self) -> bool:
        """Whether a test was made and found the difference from the baseline significant at 0.05."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE_LEVEL

    def to_document(self) -> dict[str, Any]:
        """Return everything but the value, for JSON; what concerns runs only where there are any."""
        document: dict[str, Any] = {"p_value": self.p_value, "confidence": self.confidence}
        if self.runs:
            difference = self.difference.to_document() if self.difference is not None else None
            document |= {"deviation": self.deviation, "runs": dict(self.runs), "difference": difference}
        return document

    def to_cell(self) -> str:
        """Return value and deviation, for a table."""
        return f"{self.value:.2f}" + (f" ± {self.deviation:.2f}" if self.deviation is not None else "")


@dataclass(frozen=True)
class RunsTest:
    """How runs were compared.

    Attributes:
        clusters: how many were resampled.
        named: whether they were given, or are the sentences.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    clusters: int
    named: bool
    resamples: int
    seed: int

    @property
    def unit(self) -> str:
        """What was resampled."""
        return "clusters" if self.named else "sentences"

    def to_document(self) -> dict[str, Any]:
        """Return what the result depends on, for JSON."""
        return {
            "test": "t of runs and clusters",
            self.unit: self.clusters,
            "resamples": self.resamples,
            "seed": self.seed,
            "level": SIGNIFICANCE_LEVEL,
            "power": POWER,
        }

    def to_text(self) -> str:
        """Return the same in a line."""
        return (
            f"test: Student's t, variance of runs and of {self.clusters} {self.unit} "
            f"(bootstrap, {self.resamples} resamples, seed {self.seed})"
        )


@dataclass(frozen=True)
class Evaluation:
    """Scores of all systems.

    Attributes:
        systems: system name -> metric name -> score, baseline first when there is one.
        signatures: metric name -> what its number depends on.
        baseline: the system that the others were tested against, if any.
        sentences: lines of each system.
        notes: what to know before the numbers are believed, a sentence each.
        runs_test: how runs were compared, where they were.
    """

    systems: Mapping[str, Mapping[str, Score]]
    signatures: Mapping[str, str]
    baseline: str | None
    sentences: int
    notes: tuple[str, ...] = ()
    runs_test: RunsTest | None = None

    def to_document(self) -> dict[str, Any]:
        """Return what ``--format json`` prints."""
        return {
            "baseline": self.baseline,
            "sentences": self.sentences,
            "signatures": dict(self.signatures),
            "notes": list(self.notes),
            **({"test": self.runs_test.to_document()} if self.runs_test is not None else {}),
            "systems": [
                {
                    "name": system,
                    "scores": {
                        metric: {"score": score.value, **score.to_document()}
                        for metric, score in scores.items()
                    },
                }
                for system, scores in self.systems.items()
            ],
        }

    def to_text(self) -> str:
        """Return a table of all systems with the signatures under it."""
        if any(score.runs for scores in self.systems.values() for score in scores.values()):
            return self._runs_text()
        metrics = list(self.signatures)
        rows = [["system", *metrics]]
        for system, scores in self.systems.items():
            rows.append([system, *(_cell(scores[metric]) for metric in metrics)])
        lines = [table(rows), ""]
        lines += [f"{metric}|{signature}" for metric, signature in self.signatures.items()]
        if self.baseline is not None:
            lines.append(
                "± half of the 95 % bootstrap interval; "
                f"p of the paired bootstrap against {self.baseline!r}, * where below {SIGNIFICANCE_LEVEL}"
            )
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def _runs_text(self) -> str:
        metrics = list(self.signatures)
        rows = [["system", "runs", *metrics]]
        for system, scores in self.systems.items():
            runs = len(scores[metrics[0]].runs)
            rows.append([system, str(runs), *(scores[metric].to_cell() for metric in metrics)])
        spread = any(score.deviation is not None for own in self.systems.values() for score in own.values())
        lines = [table(rows), "", *(["± standard deviation over the runs"] if spread else [])]
        lines += [*self.verdicts(*metrics), ""]
        lines += [f"{metric}|{signature}" for metric, signature in self.signatures.items()]
        lines += [self.runs_test.to_text()] if self.runs_test is not None else []
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def verdicts(self, *metrics: str) -> list[str]:
        """Return a sentence on each system and metric against the baseline, where runs were compared."""
        if self.runs_test is None or self.baseline is None:
            return []
        return [
            verdict(system, self.baseline, metric, scores[metric].difference, self.runs_test.unit)
            for system, scores in self.systems.items()
            for metric in metrics
            if system != self.baseline
        ]


def _cell(score: Score) -> str:
    text = f"{score.value:.2f}"
    if score.confidence is not None:
        text += f" ± {score.confidence:.2f}"
    if score.p_value is not None:
        text += f" (p = {score.p_value:.4f}){'*' if score.is_significant else ''}"
    return text
