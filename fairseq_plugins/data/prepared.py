"""Prepared data-bins (``cmlm-kd prepare``) as fairseq's tasks see them."""

from pathlib import Path

from cmlm_kd.databin import Databin
from cmlm_kd.errors import UserError
from cmlm_kd.prepare import load_manifest
from cmlm_kd.teachers.pairs import PairFormat
from cmlm_kd.tokenizers import SpecialIds
from cmlm_kd.vocabulary import Vocabulary


class PreparedData:
    """One prepared data-bin: its languages, its dictionaries' teacher ids and its splits.

    Raises:
        UserError: if the directory was not written by ``cmlm-kd prepare`` or does not hold the languages asked for.
    """

    def __init__(self, path: str, source_language: str | None = None, target_language: str | None = None) -> None:
        self.path = Path(path)
        self.manifest = load_manifest(self.path)
        self.source_language = self.manifest["source_language"]
        self.target_language = self.manifest["target_language"]
        asked = (source_language or self.source_language, target_language or self.target_language)
        if asked != (self.source_language, self.target_language):
            raise UserError(
                f"{path} was prepared for {self.source_language}-{self.target_language}, not {asked[0]}-{asked[1]}; "
                "prepare the other direction into a directory of its own"
            )

    @property
    def pair_format(self) -> PairFormat:
        """How the teacher frames a pair of this data."""
        tokenizer = self.manifest["tokenizer"]
        return PairFormat(
            SpecialIds(**tokenizer["special"]),
            tokenizer["separators"],
            Vocabulary.load(self.path, self.source_language).teacher_ids,
            Vocabulary.load(self.path, self.target_language).teacher_ids,
        )

    def split(self, split: str) -> tuple[Databin, Databin]:
        """Return source and target of a split."""
        pair = f"{self.source_language}-{self.target_language}"
        source = Databin.open(self.path / f"{split}.{pair}.{self.source_language}")
        target = Databin.open(self.path / f"{split}.{pair}.{self.target_language}")
        if len(source) != len(target):
            raise UserError(f"{self.path}, {split}: {len(source)} sources but {len(target)} targets; prepare again")
        return source, target

    def has_split(self, split: str) -> bool:
        """Tell whether a split is there."""
        pair = f"{self.source_language}-{self.target_language}"
        return (self.path / f"{split}.{pair}.{self.source_language}.idx").is_file()
