"""Soft targets on disk: one teacher's beliefs about every target token of one binarised corpus.

Write with :class:`StoreWriter`, read with :class:`SoftTargetStore`, check with :func:`verify_store`; the
format is described in ``docs/store.md``.
"""

from cmlm_kd.store.environment import describe_environment
from cmlm_kd.store.format import ShardRows
from cmlm_kd.store.manifest import Manifest, ShardPlan, ShardRecord, StoreHeader
from cmlm_kd.store.reader import SentenceTargets, SoftTargetStore
from cmlm_kd.store.verify import Corpus, verify_store
from cmlm_kd.store.writer import StoreWriter

__all__ = [
    "Corpus",
    "Manifest",
    "SentenceTargets",
    "ShardPlan",
    "ShardRecord",
    "ShardRows",
    "SoftTargetStore",
    "StoreHeader",
    "StoreWriter",
    "describe_environment",
    "verify_store",
]
