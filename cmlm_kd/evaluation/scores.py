"""Results of an evaluation: scores, their significance, and their table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cmlm_kd.system.text import table

SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class Score:
    """One metric of one system.

    Attributes:
        value: the corpus score, 0 to 100 (TER may exceed 100).
        p_value: probability of a difference from the baseline this large by chance; None without a test.
        confidence: half the width of the bootstrap's 95 % interval; None without a test.
    """

    value: float
    p_value: float | None = None
    confidence: float | None = None

    @property
    def is_significant(self) -> bool:
        """Whether a test was made and found the difference from the baseline significant at 0.05."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE_LEVEL


@dataclass(frozen=True)
class Evaluation:
    """Scores of all systems.

    Attributes:
        systems: system name -> metric name -> score, baseline first when there is one.
        signatures: metric name -> what its number depends on.
        baseline: the system that the others were tested against, if any.
        sentences: lines of each system.
        notes: what to know before the numbers are believed, a sentence each.
    """

    systems: Mapping[str, Mapping[str, Score]]
    signatures: Mapping[str, str]
    baseline: str | None
    sentences: int
    notes: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return what ``--format json`` prints."""
        return {
            "baseline": self.baseline,
            "sentences": self.sentences,
            "signatures": dict(self.signatures),
            "notes": list(self.notes),
            "systems": [
                {
                    "name": system,
                    "scores": {
                        metric: {
                            "score": score.value,
                            "p_value": score.p_value,
                            "confidence": score.confidence,
                        }
                        for metric, score in scores.items()
                    },
                }
                for system, scores in self.systems.items()
            ],
        }

    def to_text(self) -> str:
        """Return a table of all systems with the signatures under it."""
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


def _cell(score: Score) -> str:
    text = f"{score.value:.2f}"
    if score.confidence is not None:
        text += f" ± {score.confidence:.2f}"
    if score.p_value is not None:
        text += f" (p = {score.p_value:.4f}){'*' if score.is_significant else ''}"
    return text
