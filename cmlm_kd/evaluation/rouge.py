"""ROUGE in the form of a sacreBLEU metric, so that it has a signature and a paired bootstrap too."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.base import Metric, Score, Signature

ROUGE_TYPES = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
"""Shown name -> name in the rouge-score package."""


class RougeSignature(Signature):
    """What a ROUGE number depends on; the version is that of rouge-score, which computes it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.info.update(
            {"stem": "porter", "tok": "a-z0-9", "agg": "mean-f1", "version": version("rouge-score")}
        )


class Rouge(Metric):  # type: ignore[misc]
    """Mean F1 over sentences, 0 to 100; against several references the best one counts.

    The numbers are those of the ``rouge-score`` package with stemming. Its tokenizer keeps the letters a to z
    and digits, so ROUGE means something for English text only.

    Args:
        name: a key of :data:`ROUGE_TYPES`.

    Reference: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004).
    """

    _SIGNATURE_TYPE: type[Signature] = RougeSignature

    def __init__(self, name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name = name
        self._type = ROUGE_TYPES[name]
        self._scorer = RougeScorer([self._type], use_stemmer=True)

    def _preprocess_segment(self, sent: str) -> str:
        return sent

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        return {"references": list(refs)}

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[float]:
        best = self._scorer.score_multi(ref_kwargs["references"], hypothesis)[self._type]
        return [best.fmeasure, 1.0]

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        total, sentences = stats
        return Score(self.name, 100.0 * float(total) / float(sentences))

    def _aggregate_and_compute(self, stats: Sequence[Sequence[float]]) -> Score:
        return self._compute_score_from_stats(np.sum(np.asarray(stats), axis=0))
