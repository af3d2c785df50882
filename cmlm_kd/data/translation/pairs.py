"""Pairs as a teacher reads them: ``[CLS] source [SEP] target [SEP]``, some target positions masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.data.translation.manifest import PrepareManifest, load_manifest
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.tokenization.pieces import SpecialIds


@dataclass(frozen=True)
class PairFormat:
    """How one teacher frames a pair.

    Attributes:
        special: ids of ``[CLS]``, ``[SEP]``, ``[MASK]``, ``[PAD]`` and the unknown token.
        separators: ``[SEP]`` tokens between source and target: 1 for BERT, 2 for RoBERTa's relatives.
        source_ids: teacher id of each source dictionary entry, ``(V_source,)``.
        target_ids: teacher id of each target dictionary entry, ``(V_target,)``.
    """

    special: SpecialIds
    separators: int
    source_ids: NDArray[np.int32]
    target_ids: NDArray[np.int32]

    @classmethod
    def of_databin(cls, data: Path, manifest: PrepareManifest | None = None) -> PairFormat:
        """Return how the teacher frames a pair of a prepared data-bin.

        Args:
            data: the data-bin.
            manifest: its manifest, where it has been read.

        Raises:
            UserError: if the directory was not written by ``cmlm-kd prepare``.
        """
        manifest = manifest or load_manifest(data)
        source, target = (Vocabulary.load(data, language).teacher_ids for language in manifest.languages)
        return cls(manifest.tokenizer.special, manifest.tokenizer.separators, source, target)

    def length(self, source_length: int, target_length: int) -> int:
        """Return the teacher's positions for a pair whose lengths count both EOS."""
        return source_length + target_length + self.separators

    def lengths(
        self, source_sizes: NDArray[np.integer[Any]], target_sizes: NDArray[np.integer[Any]]
    ) -> NDArray[np.int64]:
        """Return :meth:`length` of many pairs, ``(rows,)``."""
        return source_sizes.astype(np.int64) + target_sizes + self.separators


@dataclass
class PairBatch:
    """A batch of framed pairs.

    Attributes:
        input_ids: teacher ids, ``(B, S)`` int64, right-padded.
        attention_mask: 1 on real positions, ``(B, S)`` int64.
        token_type_ids: 0 up to the separator, 1 on the target, ``(B, S)`` int64.
        masked_index: where the masked positions are in the flattened batch, row by row and left to right, as
            ``(M,)`` int64.
        labels: target dictionary entries at the masked positions, ``(M,)`` int64.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    masked_index: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> PairBatch:
        """Return the batch on another device."""
        return PairBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def frame_pairs(
    sources: Sequence[NDArray[np.integer]],
    targets: Sequence[NDArray[np.integer]],
    masks: Sequence[NDArray[np.bool_]],
    pair_format: PairFormat,
) -> PairBatch:
    """Frame pairs and mask target positions.

    Args:
        sources: dictionary entries of each source, EOS at the end.
        targets: dictionary entries of each target, EOS at the end; EOS is the teacher's last ``[SEP]``.
        masks: ``(len(target),)`` bool each, True where the input becomes ``[MASK]``.
        pair_format: how the teacher frames pairs.
    """
    special = pair_format.special
    lengths = [pair_format.length(len(s), len(t)) for s, t in zip(sources, targets, strict=True)]
    shape = (len(lengths), max(lengths))
    input_ids = np.full(shape, special.pad, np.int64)  # (B, S)
    attention_mask = np.zeros(shape, np.int64)  # (B, S)
    token_types = np.zeros(shape, np.int64)  # (B, S)
    index, labels = [], []
    for row, (source, target, mask) in enumerate(zip(sources, targets, masks, strict=True)):
        begin = len(source) + pair_format.separators  # [CLS], the source without EOS, the separators
        end = lengths[row]
        input_ids[row, 0] = special.cls
        input_ids[row, 1 : len(source)] = pair_format.source_ids[source[:-1]]
        input_ids[row, len(source) : begin] = special.sep
        input_ids[row, begin:end] = np.where(mask, special.mask, pair_format.target_ids[target])
        attention_mask[row, :end] = 1
        token_types[row, begin:end] = 1
        masked = np.flatnonzero(mask)
        index.append(row * shape[1] + begin + masked)
        labels.append(np.asarray(target)[masked])
    return PairBatch(
        torch.from_numpy(input_ids),
        torch.from_numpy(attention_mask),
        torch.from_numpy(token_types),
        torch.from_numpy(np.concatenate(index).astype(np.int64)),  # (M,)
        torch.from_numpy(np.concatenate(labels).astype(np.int64)),  # (M,)
    )
