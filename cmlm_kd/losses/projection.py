"""The loss of projected hidden states, without ever holding the (tokens, vocabulary) matrix of logits.

The output layer of a translation model turns N hidden states of d numbers into N * V logits, and a dense loss
keeps several matrices of that size. Here the tokens pass in chunks, each of one matrix product: project a
chunk, let a loss turn its logits into the loss's own gradient (block by block, as many rows as a CPU's cache
holds), multiply that into the gradients of hidden states, weight and bias, forget the chunk.
For a chunk's hidden states h, the weight W and the bias b of the output layer::

    z = h W^T + b       G = d loss / d z       d h = G W       d W += G^T h       d b += sum of G's rows

Three matrix products in all, the least any exact loss can do, and the gradient is ready when the loss is. A
part u of G that is the same for all entries of a row (label smoothing's) is never written into the logits:
it adds ``u (sum of W's rows)`` to d h and, summed over tokens, ``u h`` to every row of d W and ``u`` to every
entry of d b.

The loss is a parameter, :class:`BlockLoss`: it sees a block of rows of logits at a time and knows nothing of
projecting the student. One that compares with a dense teacher projects the teacher's hidden states of the
same chunk (:mod:`cmlm_kd.losses.dense_teacher`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CPU_CHUNK = 240  # float32 tokens per matrix product: more are not faster, and the buffer grows with them
CPU_NARROW_CHUNK = 1024  # the same of bfloat16
CUDA_CHUNK = 1024
CPU_BUFFER_BYTES = 32 << 20  # malloc takes what is larger from the system anew each time, page by page
CPU_NARROW_PART = 256  # bfloat16 tokens projected at once: products outrun memory, so that caches count
CPU_BLOCK_BYTES = 2 << 20  # of logits that a loss gets at once on a CPU: what second-level caches hold
CPU_ADDED_ROWS = 2048  # of the weight's gradient, whose sum over chunks is of another type than a chunk's


class BlockLoss(ABC):
    """A loss that is a sum over tokens, on blocks of rows."""

    def start(self, sums: Callable[[], Tensor]) -> None:  # noqa: B027 - most losses have nothing to do here
        """Get ready, before the first block.

        Args:
            sums: gives the sum of each row's logits, ``(N,)``; costs a pass over the weight, so call it only
                if needed.
        """

    def uniform(self) -> Tensor | None:
        """Return a part of the gradient that is the same for all entries of a row, ``(N,)``, or None.

        Asked for after the last block. Blocks leave it out; here it costs a vector where there it would cost
        a pass over the logits.
        """
        return None

    def mend(self) -> tuple[Tensor, BlockLoss] | None:
        """Return rows whose loss was weighted by a guess that turned out wrong, and what is to be added.

        Asked for after :meth:`uniform`, once all logits were seen: for losses in which a row's weights depend
        on other rows. Those few rows are projected a second time.

        Returns:
            ``(M,)`` rows and the loss of those M rows whose gradient is added; None where nothing is wrong.
            Its value counts in :meth:`total` of this loss, its own is not asked for.
        """
        return None

    def start_chunk(self, rows: slice) -> None:  # noqa: B027 - most losses have nothing to do here
        """Get ready for the blocks of some tokens, which are next to be projected: for losses that project a
        teacher's hidden states beside the student's."""

    def narrow(self, logits: Tensor, rows: slice, again: Callable[[Tensor], Tensor]) -> bool:
        """Do the same as a call, on logits in bfloat16, or say that this loss needs them wider.

        Asked on CPUs, where widening logits and rounding their gradient take as long as a matrix product.

        Args:
            logits: ``(n, V)`` bfloat16, a buffer to work in that must hold the gradient at the end.
            rows: see :meth:`__call__`.
            again: gives the logits ``(M, V)`` of some of the rows anew, by numbers ``(M,)`` from 0 to n - 1.

        Returns:
            False where nothing was done: the loss is then called with float32 blocks.
        """
        return False

    @abstractmethod
    def __call__(self, logits: Tensor, rows: slice, gradient: bool) -> None:
        """Record what the loss needs of these rows and turn ``logits`` into its gradient.

        Args:
            logits: ``(n, V)`` float32 (float64 for float64 features), a buffer to work in. With ``gradient``
                it must hold d loss / d logits at the end, less what :meth:`uniform` returns.
            rows: which of the ``N`` tokens given to :func:`projected_loss` the rows are.
            gradient: whether the gradient is wanted.
        """

    @abstractmethod
    def total(self) -> Tensor:
        """Return the loss, a scalar summed over all tokens seen."""


def projected_loss(
    features: Tensor, weight: Tensor, bias: Tensor | None, loss: BlockLoss, *, chunk: int | None = None
) -> Tensor:
    """Return ``loss(features @ weight.T + bias)``, summed over tokens, without the (N, V) matrix of logits.

    Matrix products run in autocast's type where autocast is on, else in the type of ``features``; logits
    reach the loss in float32 at least, unless it takes bfloat16 (:meth:`BlockLoss.narrow`), and the gradient
    of the weight is added up over chunks in float32 at least.

    Args:
        features: ``(N, d)``, hidden states; N may be 0.
        weight: ``(V, d)``, the output embedding.
        bias: ``(V,)`` or None.
        loss: what turns logits into losses and gradients.
        chunk: tokens per matrix product; by default what suits the device.

    Returns:
        A scalar, differentiable once with respect to ``features``, ``weight`` and ``bias``.
    """
    wanted = tuple(
        torch.is_grad_enabled() and value is not None and value.requires_grad
        for value in (features, weight, bias)
    )
    total: Tensor = _ProjectedLoss.apply(  # type: ignore[no-untyped-call]
        features, weight, bias, loss, chunk, wanted
    )
    return total


class _ProjectedLoss(torch.autograd.Function):
    """Everything happens in the forward of this node; its backward only scales."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        loss: BlockLoss,
        chunk: int | None,
        wanted: tuple[bool, bool, bool],
    ) -> Tensor:
        compute = compute_type(features)
        # The types are chosen above: nothing below is to be cast a second time.
        with torch.autocast(features.device.type, enabled=False):
            total, gradients = _pass_over_chunks(
                features.to(compute), weight.to(compute), bias, loss, chunk, wanted
            )
        ctx.save_for_backward(
            *(
                None if gradient is None or value is None else gradient.to(value.dtype)
                for gradient, value in zip(gradients, (features, weight, bias), strict=True)
            )
        )
        return total

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        # The chain rule: the gradients of this loss are there, what comes from above scales them.
        return (*(_scaled(gradient, scale) for gradient in ctx.saved_tensors), None, None, None)


def compute_type(features: Tensor) -> torch.dtype:
    """Return the type of matrix products here: autocast's where it is on, else that of ``features``."""
    device_type = features.device.type
    if torch.is_autocast_enabled(device_type) and features.dtype != torch.float64:
        return torch.get_autocast_dtype(device_type)
    return features.dtype


def _scaled(gradient: Tensor | None, scale: Tensor) -> Tensor | None:
    # A loss is usually the root of the graph: asking whether the scale is 1 saves a pass over (V, d).
    if gradient is None or (scale.device.type == "cpu" and scale.item() == 1.0):
        return gradient
    return gradient * scale.to(gradient.dtype)


def _pass_over_chunks(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    loss: BlockLoss,
    chunk: int | None,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Return the summed loss and the gradients of features, weight and bias where wanted."""
    tokens, vocabulary = features.size(0), weight.size(0)
    wide = torch.promote_types(features.dtype, torch.float32)
    size = _even_chunk(tokens, chunk or _default_chunk(features))
    held = _buffer_size(features, size, vocabulary)
    step = _part_size(features, held)
    buffers = [
        features.new_empty(piece.stop - piece.start, vocabulary)  # (h, V), the only ones of their kind
        for piece in _slices(0, size, held)
    ]
    for_features = torch.empty_like(features) if wanted[0] else None  # (N, d)
    for_weight: Tensor | None = None  # (V, d)
    for_bias = features.new_zeros(vocabulary, dtype=wide) if wanted[2] else None  # (V,)

    # sum_v z[v] = h . sum_v W[v] + sum_v b[v]: a vector product instead of a pass over the logits.
    weight_sum = cache(lambda: _sum_of_rows(weight, wide))  # () -> (d,)
    loss.start(lambda: _row_sums(features, weight_sum(), bias))
    for rows in _slices(0, tokens, size):
        pieces = list(_slices(rows.start, rows.stop, held))
        for buffer, piece in zip(buffers, pieces, strict=False):
            for part in _slices(piece.start, piece.stop, step):
                logits = buffer[part.start - piece.start : part.stop - piece.start]  # (n, V)
                hidden = features[part]  # (n, d)
                torch.mm(hidden, weight.t(), out=logits)  # z = h W^T
                loss.start_chunk(part)
                # From here on they hold G.
                if bias is not None or not _try_narrow(logits, hidden, weight, loss, part):
                    _run_blocks(logits, bias, loss, part.start, any(wanted), for_bias)
                if for_features is not None:
                    torch.mm(logits, weight, out=for_features[part])  # d h = G W
        if wanted[1]:
            factors = [
                (buffer[: piece.stop - piece.start].t(), features[piece])  # (V, h), (h, d)
                for buffer, piece in zip(buffers, pieces, strict=False)
            ]
            for_weight = _add_products(for_weight, factors)
    if wanted[1] and for_weight is None:  # there were no tokens
        for_weight = torch.zeros_like(weight, dtype=wide)  # (V, d)
    uniform = loss.uniform()  # (N,)
    if uniform is not None:
        _add_uniform(uniform, features, weight_sum(), for_features, for_weight, for_bias)
    mended = loss.mend()
    if mended is not None and any(wanted):
        again, lacking = mended  # (M,)
        _, more = _pass_over_chunks(features[again], weight, bias, lacking, chunk, wanted)
        if for_features is not None and more[0] is not None:
            for_features.index_add_(0, again, more[0])
        for total, addend in zip((for_weight, for_bias), more[1:], strict=True):
            if total is not None and addend is not None:
                total.add_(addend)
    return loss.total(), (for_features, for_weight, for_bias)


def _row_sums(features: Tensor, weight_sum: Tensor, bias: Tensor | None) -> Tensor:
    """Return the sum of each row's logits, ``(N,)``."""
    sums = features.to(weight_sum.dtype) @ weight_sum  # (N,)
    return sums if bias is None else sums + bias.sum(dtype=sums.dtype)


def _add_uniform(
    uniform: Tensor,
    features: Tensor,
    weight_sum: Tensor,
    for_features: Tensor | None,
    for_weight: Tensor | None,
    for_bias: Tensor | None,
) -> None:
    """Add what a gradient of ``uniform (N,)`` at every logit of a row comes to."""
    # G has u in every entry of a row, so that a product with G is one with u.
    if for_features is not None:
        for_features.add_(torch.outer(uniform, weight_sum))
    if for_weight is not None:
        for_weight.add_(uniform @ features.to(uniform.dtype))
    if for_bias is not None:
        for_bias.add_(uniform.sum())


def _try_narrow(logits: Tensor, hidden: Tensor, weight: Tensor, loss: BlockLoss, part: slice) -> bool:
    """Let the loss work on half-precision logits ``(n, V)`` themselves, if they are such and if it can."""
    if not _is_narrow(logits):
        return False
    return loss.narrow(logits, part, lambda rows: torch.mm(hidden[rows], weight.t()))


def _run_blocks(
    logits: Tensor, bias: Tensor | None, loss: BlockLoss, start: int, gradient: bool, for_bias: Tensor | None
) -> None:
    """Turn logits into their gradient, in blocks that stay in the cache."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    rows = _block_rows(logits, wide.itemsize)
    scratch = None if logits.dtype == wide else logits.new_empty(rows, logits.size(1), dtype=wide)  # (r, V)
    for part in _slices(0, logits.size(0), rows):
        # A softmax over a whole vocabulary in half precision loses its tail: the loss works in float32.
        block = narrow = logits[part]  # (r, V)
        if scratch is not None:
            block = scratch[: narrow.size(0)].copy_(narrow)  # (r, V)
        if bias is not None:
            block.add_(bias)
        loss(block, slice(start + part.start, start + part.stop), gradient)
        if not gradient:
            continue
        if for_bias is not None:
            for_bias.add_(block.sum(0))  # d b, before rounding
        if scratch is not None:
            narrow.copy_(block)


def _add_products(for_weight: Tensor | None, factors: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return ``for_weight (V, d)``, None before the first chunk, with the products of some factors added.

    Chunks are added up in float32 at least: in half precision a chunk would vanish beside the sum so far.

    Args:
        for_weight: the sum so far.
        factors: ``(V, h)`` and ``(h, d)``, of one chunk.
    """
    gradient, hidden = factors[0]
    wide = torch.promote_types(hidden.dtype, torch.float32)
    first = for_weight is None
    if for_weight is None:
        for_weight = hidden.new_empty(gradient.size(0), hidden.size(1), dtype=wide)  # (V, d)
    if hidden.dtype == wide:
        for gradient, hidden in factors:
            for_weight.addmm_(gradient, hidden, beta=0 if first else 1)
            first = False
        return for_weight
    for part in _slices(0, gradient.size(0), _added_rows(gradient)):
        product = torch.mm(gradient[part], hidden)  # (v, d)
        for more, others in factors[1:]:
            product.addmm_(more[part], others)
        if first:
            for_weight[part].copy_(product)
        else:
            for_weight[part].add_(product)
    return for_weight


def _sum_of_rows(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the sum of the rows of ``weight (V, d)`` in a type at least as wide, ``(d,)``."""
    total = weight.new_zeros(weight.size(1), dtype=dtype)  # (d,)
    for part in _slices(0, weight.size(0), _added_rows(weight)):  # never a wide copy of the whole
        total.add_(weight[part].to(dtype).sum(0))
    return total


def _default_chunk(features: Tensor) -> int:
    if features.device.type != "cpu":
        return CUDA_CHUNK
    # Each half-precision chunk is added to a sum in float32, which costs more than what a chunk needs less.
    return CPU_NARROW_CHUNK if _is_narrow(features) else CPU_CHUNK


def _buffer_size(features: Tensor, chunk: int, vocabulary: int) -> int:
    """Return how many tokens of a chunk share one buffer of logits."""
    if not _is_narrow(features):
        return chunk
    most = CPU_BUFFER_BYTES // (vocabulary * features.dtype.itemsize)
    return _even_chunk(chunk, max(CPU_NARROW_PART, most))


def _part_size(features: Tensor, held: int) -> int:
    """Return how many of the tokens that share a buffer are projected at once."""
    return _even_chunk(held, CPU_NARROW_PART) if _is_narrow(features) else held


def _added_rows(values: Tensor) -> int:
    """Return how many rows of a weight or of its gradient are brought to another type at once."""
    return CPU_ADDED_ROWS if values.device.type == "cpu" else values.size(0)


def _is_narrow(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype == torch.bfloat16


def _even_chunk(tokens: int, chunk: int) -> int:
    """Return a chunk size that needs no more chunks and leaves no small rest."""
    chunks = max(1, -(-tokens // chunk))
    return -(-tokens // chunks)


def _block_rows(logits: Tensor, itemsize: int) -> int:
    """Return how many rows a loss gets at once: a GPU takes the chunk, a CPU what its caches hold."""
    if logits.device.type != "cpu":
        return max(1, logits.size(0))
    return max(1, CPU_BLOCK_BYTES // (logits.size(1) * itemsize))


def _slices(start: int, stop: int, step: int) -> Iterator[slice]:
    for begin in range(start, stop, max(1, step)):
        yield slice(begin, min(begin + step, stop))
