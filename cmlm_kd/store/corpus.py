"""The data-bin that a store belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, corpus_hash, dictionary_hash
from cmlm_kd.system.files import finish_interrupted


@dataclass(frozen=True)
class Corpus:
    """What a store must agree with.

    Attributes:
        corpus_hash: of source and target.
        dictionary_hash: of the target dictionary.
        target_lengths: ``(rows,)`` tokens of each target sentence, end of sentence included.
    """

    corpus_hash: str
    dictionary_hash: str
    target_lengths: NDArray[Any]

    @classmethod
    def of_databin(
        cls,
        data: Path | str,
        split: str,
        source_language: str,
        target_language: str,
        dictionary: Path | None = None,
    ) -> Corpus:
        """Read one split of a data-bin, whichever direction its file names give.

        Args:
            data: the directory.
            split: such as ``train``.
            source_language: suffix of the source files.
            target_language: suffix of the target files.
            dictionary: the target dictionary, where it is not the directory's own.

        Raises:
            UserError: the split is not there, or is damaged.
        """
        pair = open_pair(data, split, source_language, target_language)
        return cls.of_pair(*pair, dictionary or Path(data) / f"dict.{target_language}.txt")

    @classmethod
    def of_pair(cls, source: Databin, target: Databin, dictionary: Path) -> Corpus:
        """Read both sides of a split.

        Args:
            source, target: as :func:`open_pair` returns them.
            dictionary: of the target.
        """
        return cls(corpus_hash(source, target), dictionary_hash(dictionary), target.sizes)


def open_pair(
    data: Path | str, split: str, source_language: str, target_language: str
) -> tuple[Databin, Databin]:
    """Return source and target of one split of a data-bin, whichever direction its file names give.

    Raises:
        UserError: the split is not there, or is damaged.
    """
    data = Path(data)
    pairs = (f"{source_language}-{target_language}", f"{target_language}-{source_language}")
    pair = next((name for name in pairs if _index(data, split, name, target_language).is_file()), None)
    if pair is None:
        raise UserError(
            f"store: {data} has no {split} split of {pairs[0]}; check the directory and the languages"
        )
    source = Databin.open(data / f"{split}.{pair}.{source_language}")
    target = Databin.open(data / f"{split}.{pair}.{target_language}")
    return source, target


def chosen_languages(data: Path, split: str, source: str | None, target: str | None) -> tuple[str, str]:
    """Return source and target language: those given, or as the file names of a data-bin say.

    What an interrupted ``cmlm-kd prepare`` had begun to move is moved first.

    Raises:
        UserError: one of the two alone is given; no such split, or of several language pairs.
    """
    finish_interrupted(data)
    if source is not None and target is not None:
        return source, target
    if source is not None or target is not None:
        raise UserError(
            f"--{'source' if source else 'target'}-lang is {source or target} and the other one is not "
            "given; give both, or none"
        )
    return infer_languages(data, split)


def infer_languages(data: Path | str, split: str) -> tuple[str, str]:
    """Return source and target language as the file names of a data-bin give them.

    Raises:
        UserError: no such split, or of several language pairs.
    """
    pairs = sorted({file.name.split(".")[1] for file in Path(data).glob(f"{split}.*-*.*.idx")})
    if len(pairs) != 1 or pairs[0].count("-") != 1:
        raise UserError(
            f"store: {data} has {len(pairs) or 'no'} language pairs for split {split} ({', '.join(pairs)}); "
            "name one with --source-lang and --target-lang"
        )
    source_language, target_language = pairs[0].split("-")
    return source_language, target_language


def _index(data: Path, split: str, pair: str, language: str) -> Path:
    return data / f"{split}.{pair}.{language}.idx"
