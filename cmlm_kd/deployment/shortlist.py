"""A shortlist for CTranslate2: of each source token the target tokens that it may be translated with.

The output layer is computed for the tokens of the shortlist alone: those that are frequent, and for each
token of a batch's sources the likeliest translations and, where both languages have it, the token itself,
as names and numbers are copied. The likeliest are found in the training data by fast_align (Dyer et al. 2013)
of SIL's Thot; the form of the file is CTranslate2's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.deployment.student import TranslationStudent
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.models.translators.ctranslate2 import SHORTLIST
from cmlm_kd.tokenization.spelling import SPECIALS

_ITERATIONS = 5
"""Of expectation and maximisation, as fast_align has them."""

_LEAST = 1e-3
"""Probability below which a translation is none."""

_ENTRIES = len(SPECIALS)
"""Of fairseq's own in front of every dictionary; CTranslate2 always has those that it needs."""


@dataclass(frozen=True)
class Shortlist:
    """Target tokens, as they are spelled.

    Attributes:
        size: how many are frequent, and how many translate a token, at most.
        always: the frequent ones, the most frequent first.
        of: source token -> its translations, the likeliest first.
        entries: target tokens that there are.
    """

    size: int
    always: Sequence[str]
    of: Mapping[str, Sequence[str]]
    entries: int

    def among(self, tokens: Iterable[str]) -> int:
        """Return from among how many target tokens a source is translated, if it is alone in its batch."""
        return len(set(self.always).union(*(self.of.get(token, ()) for token in tokens)))

    def write(self, directory: Path) -> None:
        """Write the file into a directory of CTranslate2."""
        rows = {"": self.always, **self.of}  # the empty token stands for all
        lines = (f"{token}\t{' '.join(candidates)}\n" for token, candidates in rows.items() if candidates)
        (directory / SHORTLIST).write_text("".join(lines), encoding="utf-8")


def learn_shortlist(student: TranslationStudent, size: int) -> Shortlist:
    """Make the shortlist of a student from what it was trained on.

    Args:
        student: whose data-bin has the training data.
        size: frequent tokens, and translations of a token, at least 1.

    Raises:
        UserError: the aligner is missing, or the training data are.
    """
    aligner = _fast_align()
    frequencies = np.zeros(len(student.target_symbols), np.int64)  # (V,)
    sources: set[int] = set()
    for source, target in _training_pairs(student):
        ids = np.bincount(target, minlength=len(frequencies))  # (V,)
        frequencies += ids
        sources.update(source.tolist())
        # Ids instead of spellings: some words have a meaning of their own to the aligner.
        aligner.add_sentence_pair([str(i) for i in source], [str(i) for i in target])
    aligner.start_training()
    for _ in range(_ITERATIONS):
        aligner.train()
    aligner.end_training()
    frequencies[:_ENTRIES] = 0
    order = np.argsort(-frequencies, kind="stable")[:size]
    known = set(student.target_symbols[_ENTRIES:])
    candidates: dict[str, Sequence[str]] = {}
    for i in sorted(sources):
        if i >= _ENTRIES:
            spelled = student.source_symbols[i]
            found = [student.target_symbols[j] for j in _translations(aligner, i)[:size]]
            copied = [spelled] if spelled in known and spelled not in found else []
            candidates[spelled] = found + copied
    always = [student.target_symbols[i] for i in order if frequencies[i]]
    return Shortlist(size, always, candidates, len(student.target_symbols))


def _fast_align() -> Any:
    """Return a model that has seen nothing.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from thot.alignment import FastAlignModel
    except ImportError:
        raise UserError(
            "--shortlist needs the aligner of sil-thot, which is not installed; run: pip install "
            "'cmlm-kd[shortlist]', or leave it out"
        ) from None
    return FastAlignModel()


def _translations(aligner: Any, source: int) -> list[int]:
    """Return target entries by their probability given a source entry, the likeliest first."""
    found = []
    for word, probability in aligner.get_translations(aligner.get_src_word_index(str(source)), _LEAST):
        spelled = aligner.get_trg_word(word)
        if spelled.isdecimal() and int(spelled) >= _ENTRIES:  # not one of the aligner's own words
            found.append((-probability, int(spelled)))
    return [entry for _, entry in sorted(found)]


def _training_pairs(student: TranslationStudent) -> Iterable[list[NDArray[np.integer[Any]]]]:
    """Yield source and target of all training pairs without their ends; none with an empty side.

    Raises:
        UserError: the data-bin has none.
    """
    languages = student.languages
    pairs = ("-".join(languages), "-".join(reversed(languages)))
    found = [
        (split, pair)
        for pair in pairs
        for split in sorted(student.data.glob(f"train*.{pair}.{languages[0]}.idx"))
    ]
    if not found:
        raise UserError(
            f"{student.data} has no training data (train.{pairs[0]}.{languages[0]}.bin), of which "
            "--shortlist is made; give the data-bin that it was trained on with --data, or leave it out"
        )
    for index, pair in found:
        split = index.name.split(".")[0]
        sides = [
            Databin.open(student.data / f"{split}.{pair}.{language}", len(symbols))
            for language, symbols in zip(
                languages, (student.source_symbols, student.target_symbols), strict=True
            )
        ]
        if len(sides[0]) != len(sides[1]):
            raise UserError(
                f"{student.data}, {split}: {len(sides[0])} sources but {len(sides[1])} targets; write the "
                "data again with 'cmlm-kd prepare'"
            )
        for source, target in zip(*sides, strict=True):
            if len(source) > 1 and len(target) > 1:
                yield [source[:-1], target[:-1]]
