"""``--teacher-cache`` of ``translation_kd``: the inside of an online teacher, asked for once."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.api.needs import Request
from cmlm_kd.api.sources import SignalSource, TeacherBatch
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import finish_interrupted
from cmlm_kd.teachers.cached_arrays import CACHE_MANIFEST
from cmlm_kd.teachers.online import OnlineTeacher
from cmlm_kd.teachers.shards import DumpOptions
from cmlm_kd.teachers.state_cache import StateCache, open_states
from cmlm_kd.teachers.state_files import StatesIdentity
from cmlm_kd.teachers.state_writer import TrainingPairs, write_states
from fairseq_plugins.training.processes import by_first_worker

logger = logging.getLogger(__name__)


def check_cacheable(source: SignalSource, request: Request, directories: Sequence[str]) -> OnlineTeacher:
    """Return the teacher whose inside is to be kept on disk.

    Args:
        source: what ``--soft-targets`` or ``--online-teacher`` names.
        request: what the criterion reads.
        directories: data-bins, one for each epoch in turn.

    Raises:
        UserError: it is no model beside the student, nothing of its inside is read, or all that it says, or
            there are several training sets.
    """
    if not isinstance(source, OnlineTeacher):
        raise UserError(
            f"translation_kd: --teacher-cache is of no use with {source.description.name}, which is no "
            "model; leave it out, or name a model with --online-teacher"
        )
    if request.whole_distribution:
        raise UserError(
            "translation_kd: --teacher-cache keeps the inside of a teacher and its best entries, and this "
            "criterion reads what it says of all entries; leave --teacher-cache out"
        )
    if not request.reads_inside:
        raise UserError(
            "translation_kd: --teacher-cache keeps the inside of a teacher, of which this criterion reads "
            "soft targets alone; leave it out, run 'cmlm-kd dump' and give its store with --soft-targets"
        )
    if len(directories) > 1:
        raise UserError(
            f"translation_kd: --teacher-cache is of one training set, and there are {len(directories)} data "
            f"directories ({':'.join(directories)}); give one, or leave out --teacher-cache"
        )
    return source


def cached_states(
    path: Path, teacher: OnlineTeacher, pairs: Any, request: Request, *, reads_tail: bool, bfloat16: bool
) -> StateCache:
    """Open the cache of a training set; the first worker writes it where there is none.

    Args:
        path: its directory.
        teacher: who is asked.
        pairs: the training set, a :class:`~fairseq.data.LanguagePairDataset` or several in one.
        request: what the criterion reads.
        reads_tail: whether it reads the mass outside the k entries.
        bfloat16: whether the teacher computes in bfloat16.

    Raises:
        UserError: as :func:`write_states` and :func:`open_states`.
    """
    asked = _training_pairs(pairs, teacher)
    topk = min(request.topk or DumpOptions.topk, teacher.vocabulary)
    precision = "bfloat16" if bfloat16 else "float32"

    def identity(temperatures: tuple[float, ...]) -> StatesIdentity:
        read = replace(request, tail_temperatures=temperatures)
        return StatesIdentity.of(
            asked.digest, len(asked.readable), teacher.teacher.hash, precision, read, topk
        )

    def write() -> None:
        finish_interrupted(path)
        if not (path / CACHE_MANIFEST).exists():
            logger.info(
                "asking %s about %d pairs, for %s", teacher.description.name, len(asked.readable), path
            )
            write_states(path, teacher, asked, request, identity(teacher.tail_temperatures))

    by_first_worker(write)
    return open_states(path, identity(request.tail_temperatures if reads_tail else ()))


def _training_pairs(pairs: Any, teacher: OnlineTeacher) -> TrainingPairs:
    padding = pairs.tgt_dict.pad()

    def read() -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        for row in range(len(pairs)):
            sample = pairs[row]
            source, target = (sample[side].numpy() for side in ("source", "target"))
            yield source[source != padding], target[target != padding]  # buckets are padded to one length

    def collate(rows: Sequence[int]) -> TeacherBatch:
        batch = pairs.collater([pairs[row] for row in rows])
        return TeacherBatch(batch["id"], batch["net_input"], batch["target"], padding)

    return TrainingPairs.of(read(), teacher.teacher.readable, collate)
