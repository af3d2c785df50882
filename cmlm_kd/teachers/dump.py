"""Write down what a C-MLM teacher believes about every target position of a corpus.

Cover masks (:func:`cmlm_kd.data.masking.positions.cover_mask`) predict each position exactly once in at most
``stride`` passes over a pair. Passes of one shard are sorted by length before they are batched, and the
vocabulary layer runs on the masked positions only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cmlm_kd.data.masking.positions import COVER_STRIDE, cover_mask, cover_passes
from cmlm_kd.data.translation.integrity import check_corpus, check_databin
from cmlm_kd.data.translation.manifest import PrepareManifest, load_manifest
from cmlm_kd.data.translation.pairs import PairFormat, frame_pairs
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, corpus_hash, dictionary_hash
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.cmlm_inference import MaskedPredictor
from cmlm_kd.models.cmlm_loading import load_teacher, teacher_hash
from cmlm_kd.store import Manifest, ShardPlan, ShardRows, StoreHeader, StoreWriter
from cmlm_kd.system.devices import check_device
from cmlm_kd.system.environment import describe_environment
from cmlm_kd.system.ranges import AT_LEAST_ONE, POSITIVE, check_range
from cmlm_kd.tokenization.positions import usable_positions


@dataclass(frozen=True)
class DumpOptions:
    """How to dump.

    Attributes:
        topk: vocabulary entries kept for each position, at least 1 (the paper trains with 8).
        tail_temperatures: temperatures at which the log-mass outside the ``topk`` entries is kept; at least
            one, each > 0.
        stride: distance of masked positions in a pass, at least 1 (the paper has 7).
        max_tokens: teacher positions a batch, padding included, at least 1.
        bf16_autocast: compute in bfloat16 where that is safe, in float32 elsewhere.
        shard_rows: pairs a shard, at least 1; an interrupted dump loses at most one shard of work.
        device: where the teacher runs, as torch names it.

    Raises:
        UserError: a value is out of its range.
    """

    topk: int = 8
    tail_temperatures: tuple[float, ...] = (1.0, 10.0)
    stride: int = COVER_STRIDE
    max_tokens: int = 4096
    bf16_autocast: bool = False
    shard_rows: int = 4096
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("topk", "stride", "max_tokens", "shard_rows"):
            check_range(f"--{name.replace('_', '-')}", getattr(self, name), AT_LEAST_ONE)
        for temperature in self.tail_temperatures:
            if not POSITIVE.contains(temperature):
                raise UserError(f"--tail-temperatures has {temperature}, each must be positive and finite")
        if not self.tail_temperatures:
            raise UserError("--tail-temperatures is empty, give at least one, such as 1")
        check_device(self.device)


def dump(data: Path, split: str, teacher_path: Path, output: Path, options: DumpOptions) -> Manifest:
    """Write (or go on writing) the store of one split and return its manifest.

    Args:
        data: the data-bin that ``cmlm-kd prepare`` wrote.
        split: such as ``train``.
        teacher_path: what :func:`cmlm_kd.models.cmlm_loading.load_teacher` takes.
        output: the store's directory, new, empty or an unfinished store of the same dump.
        options: how to dump.

    Raises:
        UserError: for data, a teacher or an output directory that do not fit each other, or a full disk; what
            is complete stays and the same command goes on from there.
    """
    manifest = load_manifest(data)
    check_databin(data, manifest, splits=[split])
    source, target = _read_split(data, split, manifest)
    teacher = load_teacher(teacher_path, data)
    dictionary = dictionary_hash(manifest.target_dictionary(data))
    header = _header(dictionary, split, source, target, teacher, options)
    check_corpus(data, manifest, split, header.corpus_hash)
    with StoreWriter.create_or_resume(output, header) as writer:
        plans = writer.pending_shards()
        if plans:
            dumper = Dumper(teacher, PairFormat.of_databin(data, manifest), options)
            with _progress(target, plans) as progress:
                for plan in plans:
                    writer.write_shard(plan, dumper.shard(source, target, plan, progress))
        return writer.finish()


def _read_split(data: Path, split: str, manifest: PrepareManifest) -> tuple[Databin, Databin]:
    source, target = (Databin.open(manifest.file(data, split, name)) for name in manifest.languages)
    if len(source) != len(target):
        raise UserError(
            f"{data}, {split}: {len(source)} sources but {len(target)} targets; "
            "write the data again with 'cmlm-kd prepare'"
        )
    return source, target


def _header(
    dictionary: str,
    split: str,
    source: Databin,
    target: Databin,
    teacher: ConditionalMaskedLM,
    options: DumpOptions,
) -> StoreHeader:
    """Return what the store will say about itself: all that its bytes depend on."""
    vocabulary_size = teacher.projection.out_features
    if options.topk > vocabulary_size:
        raise UserError(
            f"--topk is {options.topk}, the target dictionary has {vocabulary_size} entries; "
            "give at most that many"
        )
    return StoreHeader(
        rows=len(target),
        k=options.topk,
        tail_temperatures=options.tail_temperatures,
        vocabulary_size=vocabulary_size,
        dictionary_hash=dictionary,
        corpus_hash=corpus_hash(source, target),
        teacher_hash=teacher_hash(teacher),
        shard_rows=options.shard_rows,
        settings={
            "stride": options.stride,
            "max_tokens": options.max_tokens,
            "precision": "bfloat16 autocast" if options.bf16_autocast else "float32",
            "split": split,
        },
        environment=describe_environment(options.device),
    )


def _progress(target: Databin, plans: list[ShardPlan]) -> tqdm[None]:
    """Return a bar that counts target tokens; in a log file it is a line each half minute."""
    left = sum(int(target.sizes[plan.first_row : plan.first_row + plan.rows].sum()) for plan in plans)
    total = int(target.sizes.sum())
    return tqdm(
        total=total,
        initial=total - left,
        unit="tok",
        unit_scale=True,
        desc="soft targets",
        mininterval=0.2 if sys.stderr.isatty() else 30,
    )


class Dumper:
    """Runs a teacher over shards of a corpus."""

    def __init__(self, teacher: ConditionalMaskedLM, pair_format: PairFormat, options: DumpOptions) -> None:
        self.predictor = MaskedPredictor(
            teacher, torch.device(options.device), bf16_autocast=options.bf16_autocast
        )
        self.pair_format = pair_format
        self.options = options
        self.max_positions = usable_positions(teacher.encoder.config)

    def shard(
        self, source: Databin, target: Databin, plan: ShardPlan, progress: tqdm[None] | None = None
    ) -> ShardRows:
        """Return the soft targets of one shard; pairs longer than the teacher's positions have none."""
        rows = np.arange(plan.first_row, plan.first_row + plan.rows)
        framed = self.pair_format.lengths(source.sizes[rows], target.sizes[rows])  # (rows,)
        readable = framed <= self.max_positions
        lengths = np.where(readable, target.sizes[rows], 0).astype(np.int32)  # (rows,)
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])  # (rows + 1,)
        total, k, n = int(starts[-1]), self.options.topk, len(self.options.tail_temperatures)
        result = ShardRows(
            lengths,
            np.zeros((total, k), np.int64),
            np.zeros((total, k), np.float16),
            np.zeros((total, n), np.float16),
        )
        for batch in self.batches(framed, lengths):
            masks = [cover_mask(int(lengths[row]), index, self.options.stride) for row, index in batch]
            positions = np.concatenate(
                [starts[row] + np.flatnonzero(mask) for (row, _), mask in zip(batch, masks, strict=True)]
            )  # (M,)
            corpus_rows = [plan.first_row + row for row, _ in batch]
            ids, logits, tail = self._predict(
                [source[row] for row in corpus_rows], [target[row] for row in corpus_rows], masks
            )
            result.ids[positions], result.logits[positions], result.tail[positions] = ids, logits, tail
            if progress is not None:
                progress.update(len(positions))
        if progress is not None:
            progress.update(int(target.sizes[rows][~readable].sum()))
        return result

    def batches(
        self, framed: NDArray[np.int64], lengths: NDArray[np.int32]
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield (row of the shard, pass) by falling length, up to ``max_tokens`` padded positions a batch."""
        order = np.argsort(-framed, kind="stable")
        passes = [
            (int(row), index)
            for row in order
            if lengths[row]
            for index in range(cover_passes(int(lengths[row]), self.options.stride))
        ]
        start = 0
        while start < len(passes):
            longest = int(framed[passes[start][0]])
            size = max(1, self.options.max_tokens // longest)
            yield passes[start : start + size]
            start += size

    @torch.inference_mode()
    def _predict(
        self,
        sources: list[NDArray[np.integer]],
        targets: list[NDArray[np.integer]],
        masks: list[NDArray[np.bool_]],
    ) -> tuple[NDArray[np.int64], NDArray[np.float16], NDArray[np.float16]]:
        """Return :func:`summarise` of the masked positions, in the store's types."""
        logits = self.predictor.logits(frame_pairs(sources, targets, masks, self.pair_format))  # (M, V)
        ids, top, tail = summarise(logits, self.options.topk, self.options.tail_temperatures)
        top = top.half()  # (M, k)
        if not top.isfinite().all():
            raise UserError(
                "the teacher's logits are not finite numbers of float16's range: its training has diverged; "
                "take an earlier checkpoint, or train again with a lower --lr"
            )
        return ids.cpu().numpy(), top.cpu().numpy(), tail.half().cpu().numpy()


def summarise(logits: Tensor, k: int, temperatures: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the top-k of each row and the log-mass of the rest.

    Args:
        logits: ``(M, V)`` float32 or float64; overwritten.
        k: entries to keep, 1 to V.
        temperatures: each > 0.

    Returns:
        ids ``(M, k)`` and logits ``(M, k)``, best first, and for each temperature ``T`` the log-sum-exp of
        all other logits divided by ``T``, ``(M, len(temperatures))`` (``-inf`` if there are none).
    """
    top, ids = logits.topk(k, dim=-1)  # (M, k)
    rest = logits.scatter_(-1, ids, float("-inf"))  # (M, V)
    tail = torch.stack([torch.logsumexp(rest / t if t != 1 else rest, dim=-1) for t in temperatures], dim=-1)
    return ids, top, tail
