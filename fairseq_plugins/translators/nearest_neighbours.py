"""``--teacher knn=CHECKPOINT[:K[:T[:INDEX]]]``: what followed a translator's nearest states."""

from __future__ import annotations

import hashlib
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
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.system.ranges import AT_LEAST_ONE, POSITIVE, check_range
from cmlm_kd.teachers.nearest_neighbours import NeighbourStore
from fairseq_plugins.translators.teacher_forcing import FairseqTeacher

NEIGHBOURS, TEMPERATURE = 64, 100.0
"""The released code's for IWSLT."""

PAIRS_AT_ONCE = 64


@next_token_teachers.register("knn")
class NearestNeighbourTeacher(NamedTeacher):
    """The nearest neighbours of a translator's states in the training set of the data.

    Args:
        translator: gives states.
        store: of the training set.
        vocabulary: entries of the target dictionary.
    """

    kind = "nearest neighbours of a fairseq translator"

    def __init__(self, translator: FairseqTeacher, store: NeighbourStore, vocabulary: int) -> None:
        self.translator, self.store, self.vocabulary = translator, store, vocabulary

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return False: nothing on disk tells that its neighbours are wanted."""
        return False

    @classmethod
    def load(cls, path: Path, data: TranslationData, options: TeacherOptions) -> NearestNeighbourTeacher:
        """Load a checkpoint and run it over the training set; see :meth:`NamedTeacher.load`."""
        checkpoint, neighbours, temperature, index = _parts(str(path))
        translator = FairseqTeacher.load(checkpoint, data, options)
        if not translator.projects_apart:
            raise UserError(
                f"teacher knn={path}: the decoder's states are not what an output layer projects (an "
                "adaptive softmax, say); give a translator with a plain output layer"
            )
        sides = [
            Databin.open(data.directory / f"train.{'-'.join(data.languages)}.{language}")
            for language in data.languages
        ]
        keys, values = [], []
        for first in range(0, len(sides[1]), PAIRS_AT_ONCE):
            rows = range(first, min(first + PAIRS_AT_ONCE, len(sides[1])))
            pairs = Pairs([sides[0][row] for row in rows], [sides[1][row] for row in rows])
            read = np.flatnonzero(translator.readable(pairs)).tolist()
            if read:
                pairs = Pairs([pairs.sources[row] for row in read], [pairs.targets[row] for row in read])
                keys.append(translator.states(pairs))
                values += [torch.from_numpy(target.astype(np.int64)) for target in pairs.targets]
        if not keys:
            raise UserError(f"teacher knn={path}: it can read no pair of {data.directory}")
        store = NeighbourStore(
            torch.cat(keys),
            torch.cat(values).to(translator.device),
            neighbours,
            temperature,
            f"teacher knn={path}",
            index,
        )
        return cls(translator, store, data.vocabulary)

    @property
    def name(self) -> str:
        """Its checkpoint's path, neighbours, temperature and index."""
        index = f":{self.store.index}" if self.store.index else ""
        return f"{self.translator.name}:{self.store.neighbours}:{self.store.temperature:g}{index}"

    @property
    def hash(self) -> str:
        """Hash of the translator, of what it was run over, and of its settings."""
        digest = hashlib.sha256(self.translator.hash.encode())
        digest.update(self.store.values.cpu().numpy().tobytes())
        digest.update(self.store.keys.cpu().numpy().tobytes())
        index = f" {self.store.index}" if self.store.index else ""
        digest.update(f"knn {self.store.neighbours} {self.store.temperature:g}{index}".encode())
        return digest.hexdigest()

    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs the translator reads."""
        return self.translator.readable(pairs)

    @torch.inference_mode()
    def next_tokens(self, pairs: Pairs) -> NextTokens:
        """Return what followed the nearest states; see :meth:`NextTokenTeacher.next_tokens`."""
        return NextTokens(self.store.logits(self.translator.states(pairs), self.vocabulary))


def _parts(text: str) -> tuple[Path, int, float, str | None]:
    """Return checkpoint, neighbours, temperature and index of ``CHECKPOINT[:K[:T[:INDEX]]]``."""
    path, *given = text.split(":")
    try:
        neighbours = int(given[0]) if given else NEIGHBOURS
        temperature = float(given[1]) if len(given) > 1 else TEMPERATURE
        if len(given) > 3:
            raise ValueError
    except ValueError:
        raise UserError(
            f"teacher knn={text}: give knn=CHECKPOINT, or with neighbours and temperature "
            f"knn=CHECKPOINT:{NEIGHBOURS}:{TEMPERATURE:g}, and :IVF4096,PQ64 for an index of faiss"
        ) from None
    owner = f"teacher knn={text}"
    check_range("neighbours", neighbours, AT_LEAST_ONE, owner=owner)
    check_range("temperature", temperature, POSITIVE, owner=owner)
    return Path(path), neighbours, temperature, given[2] if len(given) > 2 else None
