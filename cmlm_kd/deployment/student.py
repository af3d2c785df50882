"""A translation student as its fairseq checkpoint describes it, read without fairseq."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from cmlm_kd.api.translator import Decoding
from cmlm_kd.data.translation.vocabulary import EOS, PAD, UNK
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import (
    DICTIONARY_HASH,
    SOURCE_DICTIONARY_HASH,
    check_same_entries,
    task_state,
)
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
from cmlm_kd.fairseq_files.databin import dictionary_hash, read_symbols
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import SPECIALS

__all__ = ["EOS", "PAD", "UNK", "TranslationStudent", "is_translator"]

_TASKS = ("translation", "translation_kd")
_MARKERS = (".version", "._float_tensor")
"""Ends of the names of what fairseq saves beside weights."""


@dataclass(frozen=True)
class TranslationStudent:
    """A checkpoint of fairseq's translation task with its dictionaries and its tokenizer.

    Attributes:
        path: of the checkpoint.
        data: the data-bin of its dictionaries.
        languages: source and target.
        state: the checkpoint.
        source_symbols, target_symbols: entries of the dictionaries in their order, specials included.
        pieces: how text becomes symbols.
    """

    path: Path
    data: Path
    languages: tuple[str, str]
    state: Mapping[str, Any]
    source_symbols: list[str]
    target_symbols: list[str]
    pieces: PieceTokenizer

    @classmethod
    def load(cls, path: Path, data: Path | None, languages: tuple[str, str]) -> TranslationStudent:
        """Read a checkpoint.

        Args:
            path: file that fairseq-train wrote, or 'cmlm-kd average'.
            data: its data-bin; None for the one that it was trained on.
            languages: source and target.

        Raises:
            UserError: it is of another task, its dictionaries or its tokenizer are missing, or they are not
                those that it was trained with.
        """
        state = read_checkpoint(path)
        settings = all_settings(state)
        folder = data or Path(str(settings.get("data") or "").split(":")[0])
        for language in languages:
            if not (folder / f"dict.{language}.txt").is_file():
                raise UserError(
                    f"{path} needs the dictionaries that it was trained with, and "
                    f"{folder / f'dict.{language}.txt'} is not there; give its data-bin with --data"
                )
        if not (folder / "teacher").is_dir():
            raise UserError(
                f"{folder} has no tokenizer (the folder 'teacher', which 'cmlm-kd prepare' writes), so that "
                "no text could go into the exported model; name a data-bin with --data that has one"
            )
        hashes = [dictionary_hash(folder / f"dict.{language}.txt") for language in languages]
        check_same_entries(
            str(path),
            task_state(state),
            str(folder),
            {SOURCE_DICTIONARY_HASH: hashes[0], DICTIONARY_HASH: hashes[1]},
            "give the data-bin that it was trained on with --data",
        )
        symbols = [[*SPECIALS, *read_symbols(folder / f"dict.{language}.txt")] for language in languages]
        tokenizer = PieceTokenizer.from_pretrained(str(folder / "teacher"))
        return cls(path, folder, languages, state, symbols[0], symbols[1], tokenizer)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The flags of the model and its task that the checkpoint was trained with."""
        return all_settings(self.state)

    @property
    def architecture(self) -> str:
        """The name that ``--arch`` had."""
        return str(self.settings.get("arch") or self.settings.get("_name"))

    @property
    def is_recurrent(self) -> bool:
        """Whether it is fairseq's LSTM."""
        return any(name.startswith("encoder.lstm.") for name in self.weights)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Name -> tensor in float32, without fairseq's markers."""
        named = self.state["model"].items()
        return {name: tensor.float() for name, tensor in named if not name.endswith(_MARKERS)}

    @property
    def most_source_tokens(self) -> int:
        """The longest source, its end counted."""
        return int(self.settings.get("max_source_positions") or 1024)

    @property
    def most_target_tokens(self) -> int:
        """The longest translation, its end counted."""
        return int(self.settings.get("max_target_positions") or 1024)

    @property
    def usual_target_tokens(self) -> int:
        """Tokens behind which a translation that does not end is cut off, as in fairseq's decoding."""
        return min(Decoding().max_length, self.most_target_tokens - 1)


def all_settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of task and model of a checkpoint, whichever release of fairseq wrote it."""
    old = vars(state.get("args") or Namespace())
    return {**old, **settings_of(state, "task"), **settings_of(state, "model")}


def is_translator(state: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint is of a task that translates."""
    task = settings_of(state, "task").get("_name") or getattr(state.get("args"), "task", None)
    return task in _TASKS
