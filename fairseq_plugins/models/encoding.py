"""A translator's decoder asked again, with other target tokens before each position and its source encoded
once.

What it reads goes through the model's own forward all the same, or ``DistributedDataParallel`` would not
synchronise: the encoder hands out what it made before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Encoding:
    """What an encoder made of a batch of sources, in one forward of its model.

    Args:
        encoder: of a translator.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self._encoder = encoder
        self._made: Any = None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what the encoder makes in the forward that runs in the ``with`` block."""
        handle = self._encoder.register_forward_hook(lambda _module, _inputs, made: self._keep(made))
        try:
            yield
        finally:
            handle.remove()

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the encoder hand out what was kept instead of running."""
        # An attribute of the instance hides the method of the class.
        self._encoder.forward = lambda *_args, **_named: self._made  # type: ignore[method-assign]
        try:
            yield
        finally:
            del self._encoder.forward

    def _keep(self, made: Any) -> None:
        self._made = made


def with_history(inputs: Mapping[str, Tensor], target: Tensor, padding_idx: int) -> dict[str, Tensor]:
    """Return what a translator reads, with other tokens before each position.

    Args:
        inputs: under the names of its arguments.
        target: ``(B, T)``, the tokens in the place of the target's; padded where that is, on either side.
        padding_idx: of the target.
    """
    before = inputs["prev_output_tokens"]  # (B, T)
    real = before.ne(padding_idx)  # (B, T)
    follows = real & real.roll(1, 1)  # (B, T), all but the first of each row
    follows[:, 0] = False
    shifted = torch.where(follows, target.roll(1, 1), before)  # (B, T)
    return {**inputs, "prev_output_tokens": shifted}
