"""The loss of ``soft_target_kd`` for a training loop of one's own: hidden states in, a scalar out.

Nothing here knows of fairseq, or of encoders: any model whose last layer is a matrix product will do, decoder
of a translator or decoder-only language model. Formulas are those of :mod:`cmlm_kd.criteria.soft_target`; how
the (tokens, vocabulary) matrix of logits is avoided is in :mod:`cmlm_kd.losses.projection`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import smoothing_weights
from cmlm_kd.losses.projection import projected_loss
from cmlm_kd.losses.soft_targets import SoftTargetBlocks, TeacherDistribution
from cmlm_kd.losses.sparse_teacher import SparseTeacher, tail_index, teacher_distribution

IGNORED = -100
"""Target of a token that does not count, as in torch and transformers."""


def sparse_kd_loss(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    soft_targets: SparseTeacher | None,
    *,
    alpha: float = 0.5,
    temperature: float = 1.0,
    topk: int | None = None,
    label_smoothing: float = 0.0,
    convention: Literal["teacher", "hinton"] = "teacher",
    tail: Literal["drop", "bucket"] = "drop",
    ignore_index: int = IGNORED,
    reduction: Literal["mean", "sum"] = "mean",
    chunk: int | None = None,
) -> Tensor:
    """Return ``(1 - alpha) NLL(gold entry) + alpha CE(teacher's k best entries, student)``.

    The logits ``features @ weight.T + bias`` are made chunk by chunk and never held together, and neither are
    their gradients. A token without a teacher has its gold entry alone, with full weight.

    Args:
        features: ``(..., d)``, what the output layer would project: of a Hugging Face model the last hidden
            state, normalised as the head gets it.
        weight: ``(V, d)`` of the output layer, often the embeddings'.
        bias: ``(V,)`` or None.
        targets: ``(...)`` gold entries, int64; of a decoder-only model the *next* tokens.
        soft_targets: at the same tokens, ``(..., k)``; None for gold entries alone, whatever alpha.
        alpha: weight of the teacher's term, in [0, 1].
        temperature: T above 0; see ``convention``.
        topk: entries to use, at most k; None for all.
        label_smoothing: epsilon of the gold entry's term, in [0, 1), as fairseq's.
        convention: ``teacher``: T divides the teacher's logits alone (Chen et al., 2020); ``hinton``: both
            sides', and the term is multiplied by T^2 (Hinton et al., 2015, section 2).
        tail: what becomes of the mass outside the k entries; ``drop``: the k entries share it; ``bucket``:
            it is one more class, and the teacher must have the tail at T.
        ignore_index: target of tokens that do not count.
        reduction: ``mean`` over the tokens that count, or ``sum``.
        chunk: tokens per matrix product; None for what suits the device.

    Returns:
        A scalar in nats, differentiable once with respect to features, weight and bias.

    Raises:
        UserError: shapes that do not fit, a value outside its range, a tail that the teacher does not have.
    """
    _check_shapes(features, weight, targets, soft_targets)
    _check_settings(alpha, temperature, label_smoothing, topk, soft_targets)
    vocabulary = weight.size(0)
    counts = targets.ne(ignore_index)  # (...)
    gold = targets[counts]  # (N,)
    hidden = features[counts]  # (N, d)
    dtype = torch.promote_types(features.dtype, torch.float32)
    hard_weight = torch.ones(gold.size(0), dtype=dtype, device=gold.device)  # (N,)
    teacher: TeacherDistribution | None = None
    if soft_targets is not None:
        kept = _Tokens(soft_targets, counts)
        if tail == "bucket" and tail_index(temperature, kept.tail_temperatures) is None:
            raise UserError(
                f"sparse_kd_loss: tail='bucket' needs the teacher's tail at temperature {temperature:g}; it "
                f"has {', '.join(f'{value:g}' for value in kept.tail_temperatures) or 'none'}"
            )
        k = topk or kept.ids.size(-1)
        if tail == "bucket" and k >= vocabulary:
            raise UserError(
                f"sparse_kd_loss: tail='bucket' with {k} entries leaves nothing outside a vocabulary of "
                f"{vocabulary}; pass a smaller topk, or tail='drop'"
            )
        teacher = teacher_distribution(kept, k, temperature, bucket=tail == "bucket", dtype=dtype)
        # A token without a teacher has no second term to share its weight with.
        hard_weight -= alpha * kept.valid.to(dtype)
    blocks = SoftTargetBlocks(
        gold,
        teacher,
        hard_weight,
        smoothing_weights(label_smoothing, vocabulary, "fairseq"),
        vocabulary,
        temperature if convention == "hinton" else 1.0,
    )
    total = projected_loss(hidden, weight, bias, blocks, chunk=chunk)
    return total / max(1, gold.size(0)) if reduction == "mean" else total


class _Tokens:
    """The soft targets of the tokens that count, ``(N, ...)``."""

    def __init__(self, teacher: SparseTeacher, counts: Tensor) -> None:
        self.ids, self.logits = teacher.ids[counts], teacher.logits[counts]  # (N, k)
        self.tail, self.valid = teacher.tail[counts], teacher.valid[counts]  # (N, n), (N,)
        self.tail_temperatures = teacher.tail_temperatures


def _check_shapes(
    features: Tensor, weight: Tensor, targets: Tensor, soft_targets: SparseTeacher | None
) -> None:
    tokens = tuple(features.shape[:-1])
    found = {"targets": tuple(targets.shape)}
    if soft_targets is not None:
        found["soft_targets.valid"] = tuple(soft_targets.valid.shape)
        for name in ("ids", "logits", "tail"):
            found[f"soft_targets.{name}"] = tuple(getattr(soft_targets, name).shape[:-1])
    for name, shape in found.items():
        if shape != tokens:
            raise UserError(f"sparse_kd_loss: {name} is of tokens {shape}, features of {tokens}")
    if features.size(-1) != weight.size(-1):
        raise UserError(
            f"sparse_kd_loss: features have {features.size(-1)} numbers per token, weight "
            f"{tuple(weight.shape)}; pass what the output layer projects, and its (V, d) weight"
        )


def _check_settings(
    alpha: float,
    temperature: float,
    label_smoothing: float,
    topk: int | None,
    soft_targets: SparseTeacher | None,
) -> None:
    most = None if soft_targets is None else soft_targets.ids.size(-1)
    checks = (
        ("alpha", alpha, 0.0 <= alpha <= 1.0, "in [0, 1]"),
        ("temperature", temperature, 0.0 < temperature < float("inf"), "above 0"),
        ("label_smoothing", label_smoothing, 0.0 <= label_smoothing < 1.0, "in [0, 1)"),
        ("topk", topk, topk is None or most is None or 1 <= topk <= most, f"from 1 to the teacher's {most}"),
    )
    for name, value, right, allowed in checks:
        if not right:
            raise UserError(f"sparse_kd_loss: {name} is {value}; it must be {allowed}")
