"""What a C-MLM teacher believes about every target position of a corpus.

Cover masks (:func:`cmlm_kd.data.masking.positions.cover_mask`) predict each position exactly once in at most
``stride`` passes over a pair. Passes of one shard are sorted by length before they are batched, and the
vocabulary layer runs on the masked positions only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.api.next_tokens import Pairs
from cmlm_kd.data.masking.positions import cover_mask, cover_passes
from cmlm_kd.data.translation.pairs import PairFormat, frame_pairs
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.cmlm_inference import MaskedPredictor
from cmlm_kd.teachers.shards import DumpOptions, ShardDumper, ShardLayout, Summary, summarise
from cmlm_kd.tokenization.positions import usable_positions


class Dumper(ShardDumper):
    """Runs a C-MLM over shards of a corpus; a pair longer than its positions has no soft targets."""

    def __init__(self, teacher: ConditionalMaskedLM, pair_format: PairFormat, options: DumpOptions) -> None:
        super().__init__(options)
        self.predictor = MaskedPredictor(
            teacher, torch.device(options.device), bf16_autocast=options.bf16_autocast
        )
        self.pair_format = pair_format
        self.max_positions = usable_positions(teacher.encoder.config)

    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs fit into the teacher's positions."""
        return self.pair_format.lengths(*pairs.lengths) <= self.max_positions

    def summaries(
        self, source: Databin, target: Databin, layout: ShardLayout, rows: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Summary]]:
        """Yield what the passes predict; see :meth:`ShardDumper.summaries`."""
        shard = slice(layout.first_row, layout.first_row + len(layout.lengths))
        framed = self.pair_format.lengths(source.sizes[shard], target.sizes[shard])  # (rows,)
        lengths = np.zeros_like(layout.lengths)  # (rows,)
        lengths[rows] = layout.lengths[rows]
        for batch in self.batches(framed, lengths):
            masks = [cover_mask(int(lengths[row]), index, self.options.stride) for row, index in batch]
            positions = np.concatenate(
                [
                    layout.starts[row] + np.flatnonzero(mask)
                    for (row, _), mask in zip(batch, masks, strict=True)
                ]
            )  # (M,)
            corpus_rows = [layout.first_row + row for row, _ in batch]
            yield (
                positions,
                self._predict(
                    [source[row] for row in corpus_rows], [target[row] for row in corpus_rows], masks
                ),
            )

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
    ) -> Summary:
        """Return the summary of the masked positions."""
        logits = self.predictor.logits(frame_pairs(sources, targets, masks, self.pair_format))  # (M, V)
        ids, top, tail = summarise(logits, self.options.topk, self.options.tail_temperatures)
        top = top.half()  # (M, k)
        if not top.isfinite().all():
            raise UserError(
                "the teacher's logits are not finite numbers of float16's range: its training has diverged; "
                "take an earlier checkpoint, or train again with a lower --lr"
            )
        return Summary(ids.cpu().numpy(), top.cpu().numpy(), tail.half().cpu().numpy())
