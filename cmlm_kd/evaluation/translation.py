"""Corpus scores of translations and summaries, with signatures and a test against a baseline."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import estimate_ci

from cmlm_kd.data.translation.integrity import check_raw
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.evaluation.bleu_notes import notes_on_metrics
from cmlm_kd.evaluation.differences import runs_by_system
from cmlm_kd.evaluation.scores import Evaluation, Score
from cmlm_kd.evaluation.several_runs import evaluate_runs
from cmlm_kd.system.ranges import AT_LEAST_ONE, between
from cmlm_kd.system.text import read_lines

METRICS = ("bleu", "chrf", "ter", "rouge")

_ROUNDING = 1e-5
"""What float32, in which statistics are added up, leaves of equal scores from 0 to 100."""


@dataclass(frozen=True)
class ScoreSettings:
    """How to score.

    Attributes:
        metrics: any of ``bleu``, ``chrf``, ``ter``, ``rouge`` (which stands for ROUGE-1, -2 and -L).
        lowercase: ignore case in BLEU, chrF and TER (ROUGE always does).
        tokenize: sacreBLEU's tokenizer for BLEU.
        chrf_word_order: longest word n-gram in chrF; 2 makes it chrF++.
        bootstrap_samples: resamples of the paired bootstrap, at least 1.
        seed: of the bootstrap, at least 1 (sacreBLEU takes 0 for "a new one every time").
    """

    metrics: tuple[str, ...] = ("bleu", "chrf", "ter")
    lowercase: bool = False
    tokenize: str = "13a"
    chrf_word_order: int = 0
    bootstrap_samples: int = 1000
    seed: int = 12345

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise UserError(f"metrics {list(self.metrics)}: allowed are {', '.join(METRICS)}, at least one")
        if self.tokenize not in BLEU.TOKENIZERS:
            raise UserError(f"tokenizer {self.tokenize!r}: allowed are {', '.join(BLEU.TOKENIZERS)}")
        if not between(0, 10).contains(self.chrf_word_order):
            raise UserError(
                f"chrF word order {self.chrf_word_order}: allowed are 0 (chrF), 2 (chrF++), up to 10"
            )
        if not between(1, 1_000_000).contains(self.bootstrap_samples):
            raise UserError(
                f"{self.bootstrap_samples} bootstrap samples: 1 to 1,000,000 are possible; 1000 is usual"
            )
        if not AT_LEAST_ONE.contains(self.seed):
            raise UserError(
                f"bootstrap seed {self.seed}: it must be at least 1 (sacreBLEU doesn't fix a seed of 0)"
            )


def read_references(paths: Sequence[Path]) -> list[list[str]]:
    """Return the lines of files of references.

    Raises:
        UserError: one is missing or not UTF-8, or lies in a data-bin and is not what was written there.
    """
    for path in paths:
        check_raw(path)
    return [read_lines(path) for path in paths]


def evaluate(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    settings: ScoreSettings,
    baseline: str | None = None,
    clusters: Sequence[str] | None = None,
) -> Evaluation:
    """Score detokenised text; with a baseline, test every other system against it.

    Single runs are tested by sacreBLEU's paired bootstrap over sentences, which says nothing of other seeds.
    Several runs of a system, or clusters of lines, are tested as
    :func:`cmlm_kd.evaluation.differences.difference_of_means` says.

    Args:
        systems: name -> its lines, all in the order of the references. ``NAME@SEED`` is a run of ``NAME``
            where one name has several.
        references: one or more translations of each line: ``references[r][i]`` belongs to line ``i``. An
            empty line means that this reference lacks the sentence.
        settings: metrics and their options.
        baseline: a name among the systems.
        clusters: label of each line; lines with one label are about the same and not independent.

    Raises:
        UserError: nothing to score, line counts differ, a sentence has no reference, the baseline is unknown.
    """
    grouped = runs_by_system(systems)
    several = clusters is not None or any(len(runs) > 1 for runs in grouped.values())
    _check(systems, grouped if several else systems, references, baseline)
    # None is sacreBLEU's "not there", which its annotations do not know.
    streams: list[Any] = [[line if line.strip() else None for line in stream] for stream in references]
    metrics = _build_metrics(settings)
    notes = notes_on_metrics(metrics, systems, references, settings.tokenize)
    if several:
        samples, seed = settings.bootstrap_samples, settings.seed
        return evaluate_runs(systems, streams, metrics, baseline, clusters, samples, seed, notes)
    if baseline is not None and len(systems) > 1 and len(references[0]) == 1:
        # Every resample is that sentence, so that any difference would be found in all of them.
        notes += (f"not tested against {baseline!r}: a single line says nothing of others",)
    elif baseline is not None and len(systems) > 1:
        ordered = [
            (baseline, systems[baseline]),
            *((name, systems[name]) for name in systems if name != baseline),
        ]
        return _paired_bootstrap(ordered, streams, metrics, settings, notes)
    scores = {
        name: {label: Score(metric.corpus_score(lines, streams).score) for label, metric in metrics.items()}
        for name, lines in systems.items()
    }
    signatures = {label: str(metric.get_signature()) for label, metric in metrics.items()}
    return Evaluation(scores, signatures, None, len(references[0]), notes)


def _check(
    systems: Mapping[str, Sequence[str]],
    names: Collection[str],
    references: Sequence[Sequence[str]],
    baseline: str | None,
) -> None:
    if not systems or not references:
        raise UserError("at least one system and one reference are needed")
    if baseline is not None and baseline not in names:
        raise UserError(f"baseline {baseline!r} is not among the systems: {', '.join(map(repr, names))}")
    sentences = len(references[0])
    if sentences == 0:
        raise UserError("reference 1 is empty; give one line for each hypothesis")
    named = [(f"reference {number}", stream) for number, stream in enumerate(references, 1)]
    for name, lines in [*named, *((f"system {name!r}", lines) for name, lines in systems.items())]:
        if len(lines) != sentences:
            raise UserError(
                f"{name} has {len(lines)} lines, reference 1 has {sentences}; they must be of the same text"
            )
    for number, line in enumerate(zip(*references, strict=True), 1):
        if not any(reference.strip() for reference in line):
            raise UserError(
                f"line {number} is empty in every reference; remove it from all files or translate it"
            )


def _build_metrics(settings: ScoreSettings) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    for name in settings.metrics:
        if name == "bleu":
            metrics["BLEU"] = _bleu(settings)
        elif name == "chrf":
            order = settings.chrf_word_order
            metrics["chrF2" + "+" * order] = CHRF(lowercase=settings.lowercase, word_order=order)
        elif name == "ter":
            metrics["TER"] = TER(case_sensitive=not settings.lowercase)
        else:
            from cmlm_kd.evaluation.rouge import ROUGE_TYPES, Rouge

            metrics.update({label: Rouge(label) for label in ROUGE_TYPES})
    return metrics


def _bleu(settings: ScoreSettings) -> BLEU:
    try:
        # force: no warning about periods after a space, the lines are detokenised
        return BLEU(lowercase=settings.lowercase, tokenize=settings.tokenize, force=True)
    except RuntimeError as error:
        if not settings.tokenize.endswith("mecab"):  # of sentencepiece
            raise UserError(
                f"--tokenize {settings.tokenize}: its model in sacreBLEU's folder is damaged "
                f"({first_line(error)}); remove it to have it downloaded again, or choose another"
            ) from error
        # Of tokenizers that are extras of sacreBLEU.
        extra = settings.tokenize.partition("-")[0]
        raise UserError(
            f"--tokenize {settings.tokenize}: its packages are not installed; run: pip install "
            f"'sacrebleu[{extra}]', or choose another tokenizer, such as char"
        ) from error
    except OSError as error:  # of tokenizers whose model sacreBLEU downloads
        raise UserError(
            f"--tokenize {settings.tokenize}: its model is not in sacreBLEU's folder and can't be downloaded "
            f"({error}); download it where there is a network, or choose another tokenizer"
        ) from error


def _paired_bootstrap(
    systems: list[tuple[str, Sequence[str]]],
    references: list[Any],
    metrics: Mapping[str, Metric],
    settings: ScoreSettings,
    notes: tuple[str, ...],
) -> Evaluation:
    """Test as sacreBLEU's ``PairedTest`` does, which does not return the scores of the resamples."""
    (baseline, _), *others = systems
    sentences, samples = len(references[0]), settings.bootstrap_samples
    rows = np.random.default_rng(settings.seed).choice(sentences, (samples, sentences))  # (S, N)
    scores: dict[str, dict[str, Score]] = {name: {} for name, _ in systems}
    signatures = {}
    untested: dict[str, list[str]] = {name: [] for name, _ in others}
    for label, metric in metrics.items():
        resampled = {}
        for name, lines in systems:
            of_lines = metric._extract_corpus_statistics(lines, references)
            value = float(metric._aggregate_and_compute(of_lines).score)
            sums = np.array(of_lines, np.float32)  # (N, number of statistics)
            resampled[name] = np.array(
                [metric._compute_score_from_stats(sums[drawn].sum(0)).score for drawn in rows]
            )  # (S,)
            half = None if _are_alike(resampled[name]) else float(estimate_ci(resampled[name])[1])
            scores[name][label] = Score(value, confidence=half)
        for name, _ in others:
            found = scores[name][label]
            p_value = _p_value(
                found.value, scores[baseline][label].value, resampled[name], resampled[baseline]
            )
            scores[name][label] = replace(found, p_value=p_value)
            if p_value is None:
                untested[name].append(label)
        signature = metric.get_signature()
        signature.update("seed", str(settings.seed))
        signature.update("bs", samples)
        signatures[label] = str(signature)
    notes += tuple(
        f"{name!r} is not tested against {baseline!r} in {', '.join(labels)}: all resamples of the lines "
        "show the same difference, which says nothing of other lines"
        for name, labels in untested.items()
        if labels
    )
    return Evaluation(scores, signatures, baseline, sentences, notes)


def _p_value(
    score: float, baseline: float, resampled: NDArray[np.float64], resampled_baseline: NDArray[np.float64]
) -> float | None:
    """Return sacreBLEU's p-value of a difference; 1 where there is none, None where nothing can be tested.

    sacreBLEU counts the resamples whose difference, less their mean, is *larger* than the difference found.
    Where all resamples are alike (a metric that does not see what differs, lines that are all the same),
    none is larger, and p would be the smallest there is.
    """
    if math.isclose(score, baseline, rel_tol=1e-12, abs_tol=1e-12):
        return 1.0
    differences = np.abs(resampled - resampled_baseline)  # (S,)
    if _are_alike(differences):
        return None
    larger = np.count_nonzero(differences - differences.mean() > abs(score - baseline))
    return (int(larger) + 1) / (len(differences) + 1)


def _are_alike(resampled: NDArray[np.float64]) -> bool:
    """Return whether resamples do not vary, so that they say nothing of chance."""
    return float(np.ptp(resampled)) <= _ROUNDING
