"""A C-MLM among other teachers: its beliefs about every target position, all the others in view.

It predicts no next token but the token at a masked position (:mod:`cmlm_kd.teachers.cover_masks`); a mean
with translators takes both for what they say of the same position.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.api.next_tokens import (
    NamedTeacher,
    NextTokens,
    Pairs,
    TeacherOptions,
    TranslationData,
    next_token_teachers,
)
from cmlm_kd.data.masking.positions import cover_mask, cover_passes
from cmlm_kd.data.translation.pairs import PairFormat, frame_pairs
from cmlm_kd.data.translation.vocabulary import NO_TEACHER_ID
from cmlm_kd.fairseq_files.checkpoint_keys import CMLM_PREFIX, weights_of
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.cmlm_inference import MaskedPredictor
from cmlm_kd.models.cmlm_loading import DESCRIPTION, load_teacher, teacher_hash
from cmlm_kd.store.manifest import C_MLM
from cmlm_kd.tokenization.positions import usable_positions


@next_token_teachers.register("cmlm")
class CMLMTeacher(NamedTeacher):
    """A fine-tuned C-MLM under cover masks.

    Args:
        path: what messages call it.
        model: the teacher.
        pair_format: how it frames a pair.
        options: where and how it runs.
    """

    kind = C_MLM

    def __init__(
        self,
        path: Path,
        model: ConditionalMaskedLM,
        pair_format: PairFormat,
        options: TeacherOptions,
    ) -> None:
        self.path, self.model, self.pair_format, self.stride = path, model, pair_format, options.stride
        device = torch.device(options.device)
        self.predictor = MaskedPredictor(model, device, bf16_autocast=options.bf16_autocast)
        self.max_positions = usable_positions(model.encoder.config)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is a checkpoint of ``--task cmlm`` or an exported teacher."""
        if path.is_dir():
            return (path / DESCRIPTION).is_file()
        if path.suffix == ".gguf":
            return False
        return "projection.weight" in weights_of(read_checkpoint(path), CMLM_PREFIX)

    @classmethod
    def load(cls, path: Path, data: TranslationData, options: TeacherOptions) -> CMLMTeacher:
        """Load it for a data-bin of ``cmlm-kd prepare``; see :meth:`NamedTeacher.load`."""
        model = load_teacher(path, data.directory)
        return cls(path, model, PairFormat.of_databin(data.directory), options)

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @cached_property
    def hash(self) -> str:
        """Hash of its configuration and weights."""
        return teacher_hash(self.model)

    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs fit into its positions, and have no target entry that fills a dictionary up, as
        what a student predicts may have: it has no id for that."""
        ids = self.pair_format.target_ids
        known = [bool((ids[target] != NO_TEACHER_ID).all()) for target in pairs.targets]
        fits = self.pair_format.lengths(*pairs.lengths) <= self.max_positions
        return np.logical_and(fits, known, dtype=bool)

    @torch.inference_mode()
    def next_tokens(self, pairs: Pairs) -> NextTokens:
        """Return what it says of every position, masked once; see :meth:`NextTokenTeacher.next_tokens`."""
        lengths = np.array([len(target) for target in pairs.targets])  # (B,)
        starts = np.cumsum(lengths) - lengths  # (B,)
        passes = [
            (pair, cover_mask(int(length), index, self.stride))
            for pair, length in enumerate(lengths)
            for index in range(cover_passes(int(length), self.stride))
        ]
        found, positions = [], []
        at_once = max(1, len(pairs.targets) // 2)  # a framed pair is about twice as long as a target
        for first in range(0, len(passes), at_once):
            chosen = passes[first : first + at_once]
            batch = frame_pairs(
                [pairs.sources[pair] for pair, _ in chosen],
                [pairs.targets[pair] for pair, _ in chosen],
                [mask for _, mask in chosen],
                self.pair_format,
            )
            found.append(self.predictor.logits(batch))  # (M, V)
            positions += [starts[pair] + np.flatnonzero(mask) for pair, mask in chosen]
        # Each position was masked once: their numbers are a permutation.
        places = torch.from_numpy(np.concatenate(positions)).to(found[0].device)  # (N,)
        return NextTokens(torch.cat(found)[places.argsort()])
