"""Examples that do not fit into a batch or a model, refused in one line before the first update."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import FairseqTask
from numpy.typing import NDArray

from cmlm_kd.errors import UserError


class LengthsMixin(FairseqTask):
    """Names the longest example where fairseq has an assertion, or leaves examples out behind a warning.

    Attributes:
        leaves_out: whether training examples that are too long may be left out, as in fairseq's translation.
    """

    leaves_out: ClassVar[bool] = False

    def filter_indices_by_size(
        self,
        indices: NDArray[np.int64],
        dataset: FairseqDataset,
        max_positions: Any = None,
        ignore_invalid_inputs: bool = False,
    ) -> NDArray[np.int64]:
        """Return the examples that fit into the model's positions and ``--max-tokens``.

        Raises:
            UserError: naming the longest, where one does not and none may be left out.
        """
        may_leave_out = ignore_invalid_inputs and (self.leaves_out or not _is(self, dataset, "train"))
        _, ignored = dataset.filter_indices_by_size(indices, max_positions)
        if len(ignored) and not may_leave_out:
            raise self._too_long(indices, dataset, f"the {_shown(max_positions)} that it may have")
        return super().filter_indices_by_size(indices, dataset, max_positions, ignore_invalid_inputs)

    def get_batch_iterator(
        self, dataset: FairseqDataset, max_tokens: int | None = None, *more: Any, **named: Any
    ) -> EpochBatchIterator:
        """Return the batches of an epoch.

        Raises:
            UserError: an example has more tokens than ``--max-tokens``.
        """
        try:
            return super().get_batch_iterator(dataset, max_tokens, *more, **named)
        except AssertionError as error:
            if max_tokens is None or "max_tokens" not in str(error):
                raise
            indices = np.arange(len(dataset))
            raise self._too_long(indices, dataset, f"--max-tokens {max_tokens}") from error

    def _too_long(self, indices: NDArray[np.int64], dataset: FairseqDataset, limit: str) -> UserError:
        longest = max(map(int, indices), key=lambda index: np.max(dataset.size(index)))
        split = next((name for name, known in self.datasets.items() if known is dataset), "the data")
        return UserError(
            f"{self.cfg._name}: example {longest} of {split} has {_shown(dataset.size(longest))} tokens, "
            f"more than {limit}; give a higher --max-tokens or a model with more positions, or shorten it"
        )


def _is(task: FairseqTask, dataset: FairseqDataset, kind: str) -> bool:
    return any(known is dataset and name.startswith(kind) for name, known in task.datasets.items())


def _shown(sizes: Any) -> str:
    """Return a size, or those of source and target, in words."""
    return " and ".join(str(int(size)) for size in np.atleast_1d(np.asarray(sizes)))
