"""The terms of FastBERT (Liu et al., 2020, "FastBERT: a Self-distilling BERT with Adaptive Inference Time").

For an example with the logits t of the teacher classifier, which sits on the last layer, and the logits z_i
of the branch on layer i, over C classes, p = softmax(t), q_i = softmax(z_i) and no temperature::

    forward      loss = sum_i sum_c p[c] (log p[c] - log q_i[c])       as coded (run_fastbert.py)
    reverse      loss = sum_i sum_c q_i[c] (log q_i[c] - log p[c])     as printed (eq. 5)

    uncertainty = - sum_c q_i[c] log q_i[c] / log C                    in [0, 1] (eq. 6)

The forward direction asks a branch to cover every class that the teacher finds likely, the reverse one lets
it settle for one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.losses import entropy, widen

Direction = Literal["forward", "reverse"]


def self_distillation_loss(
    branches: Sequence[Tensor] | Tensor, teacher: Tensor, direction: Direction = "forward"
) -> Tensor:
    """Return the divergence of all branches from the teacher classifier, ``(B,)``, summed over branches.

    Summed over classes too; the mean over the batch is the released code's ``batchmean``. No gradient flows
    to the teacher.

    Args:
        branches: logits ``(B, C)`` of each branch, or ``(L - 1, B, C)``.
        teacher: ``(B, C)`` logits of the teacher classifier.
        direction: see the module docstring.
    """
    if not len(branches):
        return widen(teacher).new_zeros(len(teacher))  # (B,)
    stacked = branches if isinstance(branches, Tensor) else torch.stack(list(branches))
    own = F.log_softmax(widen(stacked), -1)  # (L - 1, B, C)
    wanted = F.log_softmax(widen(teacher.detach()), -1)  # (B, C)
    if direction == "reverse":
        return (own.exp() * (own - wanted)).sum((0, 2))
    return (wanted.exp() * (wanted - own)).sum((0, 2))


def uncertainty(logits: Tensor) -> Tensor:
    """Return the entropy over the largest there can be, in [0, 1]: ``(..., C)`` -> ``(...)``.

    Args:
        logits: of two classes or more.

    Raises:
        UserError: for a single class, of which nothing can be uncertain.
    """
    classes = logits.size(-1)
    check_classes(classes)
    # Rounding may put the entropy of equal probabilities above log C, and no threshold would let it go.
    return (entropy(widen(logits).softmax(-1)) / math.log(classes)).clamp(0.0, 1.0)


def check_classes(classes: int) -> None:
    """Refuse what no uncertainty is defined for.

    Raises:
        UserError: for fewer than two classes.
    """
    if classes < 2:
        raise UserError(
            f"fastbert: the uncertainty of a prediction needs two classes or more, there is {classes}; "
            "a score has no early exit: take bert_classifier"
        )
