"""Size, quality and speed of translators on the same text, one beside the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cmlm_kd.api.translator import Decoding
from cmlm_kd.deployment.loaded import Loaded
from cmlm_kd.evaluation.scores import Evaluation
from cmlm_kd.evaluation.translation import ScoreSettings, evaluate
from cmlm_kd.models.exported import CARD, EXPORT_MANIFEST

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Measured:
    """What was measured of translators, by name.

    Attributes:
        sentences: how many were translated.
        bytes: on disk.
        scores: BLEU and chrF, tested against the first.
        seconds: of each round, all sentences.
    """

    sentences: int
    bytes: Mapping[str, int]
    scores: Evaluation
    seconds: Mapping[str, Sequence[float]]

    def rate(self, name: str) -> float:
        """Return sentences a second, of the median round."""
        return self.sentences / median(self.seconds[name])

    def times_as_fast(self, name: str) -> tuple[float, float, float]:
        """Return how many times as fast as the first it is: median of the rounds, smallest and largest."""
        first = next(iter(self.seconds.values()))
        ratios = [a / b for a, b in zip(first, self.seconds[name], strict=True)]
        return median(ratios), min(ratios), max(ratios)


def disk_bytes(place: Path) -> int:
    """Return the size of a checkpoint, or of a directory without its model card and its manifest."""
    if place.is_file():
        return place.stat().st_size
    files = (path for path in place.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if path.name not in (CARD, EXPORT_MANIFEST))


def measure(
    models: Mapping[str, tuple[Path, Loaded]],
    sources: Sequence[str],
    references: Sequence[str],
    decoding: Decoding,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Translate with every model in turn, round by round, so that what else the machine does meets them all.

    A round before those that count warms up; scores are of the last.

    Args:
        models: name -> its place and itself; the first is what the others are compared with.
        sources: sentences.
        references: the translation of each.
        decoding: how.
        rounds: that count, at least 1.
        clock: in seconds.

    Raises:
        UserError: a sentence is too long for a model, or there are not as many references.
    """
    seconds: dict[str, list[float]] = {name: [] for name in models}
    said: dict[str, list[str]] = {}
    for number in range(rounds + 1):
        for name in models if number % 2 else reversed(list(models)):
            start = clock()
            said[name] = models[name][1].translate(sources, decoding)
            if number:
                seconds[name].append(clock() - start)
    settings = ScoreSettings(metrics=("bleu", "chrf"))
    first = next(iter(models))
    scores = evaluate({name: said[name] for name in models}, [list(references)], settings, first)
    sizes = {name: disk_bytes(place) for name, (place, _) in models.items()}
    return Measured(len(sources), sizes, scores, seconds)


def markdown(measured: Measured) -> str:
    """Return the table, one model a row, with the signatures below it."""
    labels = list(measured.scores.signatures)
    first = next(iter(measured.seconds))
    lines = [
        f"| model | MB on disk | {' | '.join(labels)} | sentences/s | times as fast as {first} |",
        "|---|" + "---:|" * (len(labels) + 3),
    ]
    for name in measured.seconds:
        cells = [f"{measured.bytes[name] / _MEGABYTE:.2f}"]
        for label in labels:
            score = measured.scores.systems[name][label]
            cells.append(f"{score.value:.2f}{'*' if score.is_significant else ''}")
        middle, least, most = measured.times_as_fast(name)
        cells += [f"{measured.rate(name):,.0f}", f"{middle:.2f} ({least:.2f}-{most:.2f})"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"\\* differs from {first}, p < 0.05 of the paired bootstrap", ""]
    lines += [f"{label}|{signature}" for label, signature in measured.scores.signatures.items()]
    return "\n".join(lines) + "\n"
