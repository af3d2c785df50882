"""Soft targets on disk: one teacher's beliefs about every target token of one binarised corpus.

Write with :class:`StoreWriter` (what several workers wrote: :func:`merge_parts`), read with
:class:`SoftTargetStore`, check with :func:`verify_store`; the format is described in ``docs/store.md``.
"""

from cmlm_kd.store.batches import SentenceTargets, StoredSoftTargets
from cmlm_kd.store.concatenated import ConcatenatedStores, Part
from cmlm_kd.store.corpus import Corpus
from cmlm_kd.store.format import ShardRows
from cmlm_kd.store.manifest import Manifest, ShardPlan, ShardRecord, StoreHeader
from cmlm_kd.store.merging import merge_parts
from cmlm_kd.store.reader import SoftTargetStore
from cmlm_kd.store.statistics import TeacherStatistics, reference_accuracy, teacher_statistics
from cmlm_kd.store.verify import verify_store
from cmlm_kd.store.writer import StoreWriter

__all__ = [
    "ConcatenatedStores",
    "Corpus",
    "Manifest",
    "Part",
    "SentenceTargets",
    "ShardPlan",
    "ShardRecord",
    "ShardRows",
    "SoftTargetStore",
    "StoreHeader",
    "StoreWriter",
    "StoredSoftTargets",
    "TeacherStatistics",
    "merge_parts",
    "reference_accuracy",
    "teacher_statistics",
    "verify_store",
]
