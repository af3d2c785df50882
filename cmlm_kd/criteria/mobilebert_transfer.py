"""Terms of MobileBERT's knowledge transfer: the comparison of a student's layers with its teacher's (Sun et
al., 2020, section 3.4).

Student and IB-BERT teacher have as many layers, equally wide between them. For one layer, a sentence of l
tokens, feature maps H (l x d) and attention scores A before the softmax (h heads)::

    feature map  = 1/(l d)  sum over tokens and numbers  (H_teacher - H_student)^2
    attention    = 1/(l h)  sum over tokens and heads    KL(softmax A_teacher || softmax A_student)
    mean         = 1/l      sum over tokens              (mean_d H_teacher - mean_d H_student)^2
    variance     = 1/l      sum over tokens              |var_d H_teacher - var_d H_student|

Each is one value per sentence, ``(B,)``; the loss is the mean of each. Two readings, the paper's and that of
the released ``run_pretraining.py``:

=============  ===================================  =====================================================
               ``paper``                            ``original``
=============  ===================================  =====================================================
feature maps   as they are                          each token's after LayerNorm without weight and bias
attention      divergence                           cross entropy: equal gradient, greater by the entropy
                                                    of the teacher's attention
padding        left out                             its tokens count; as keys nothing attends to them
mean, variance compared with the mapped layer's     compared with those of all the teacher's hidden
                                                    states, embeddings included; the mean over them
=============  ===================================  =====================================================

That each student layer is compared with the statistics of *all* teacher layers comes from a list in the
released code where one of its items was meant. There feature maps weigh 100, attention 1, mean 5000 and
variance 5, each divided by the number of layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import Reading, check_same_heads
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import widen

OWNER = "mobilebert_kd"

NORM_EPSILON = 1e-12
"""Of the LayerNorm that ``original`` compares feature maps after."""

MASKED = -1e4
"""Score of a key that is padding; its softmax is 0 in every precision."""


def feature_map_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Reading) -> Tensor:
    """Return the mean squared difference of one layer's feature maps, ``(B,)``.

    Args:
        student: ``(B, L, d)``.
        teacher: ``(B, L, d)``.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    student, teacher = widen(student), widen(teacher)
    if mode == "original":
        # Normalised, feature maps no longer say how large they are: hence the terms of means and variances.
        width = student.shape[-1:]
        student, teacher = (F.layer_norm(states, width, eps=NORM_EPSILON) for states in (student, teacher))
    return _mean_over_tokens((student - teacher).square().mean(2), mask, mode)


def attention_divergence(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Reading) -> Tensor:
    """Return how far one layer's attention is from the teacher's, the mean over queries and heads, ``(B,)``.

    Args:
        student: ``(B, h, L, L)`` scores before the softmax, without or with a mask added.
        teacher: the same of the teacher's layer; as many heads.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    log_student, log_teacher = (F.log_softmax(_masked(scores, mask), -1) for scores in (student, teacher))
    # Each query's attention is a distribution over keys: sum over keys, mean over heads and queries.
    attention = log_teacher.exp()  # (B, h, L, L)
    compared = -log_student if mode == "original" else log_teacher - log_student  # (B, h, L, L)
    return _mean_over_tokens((attention * compared).sum(3).mean(1), mask, mode)


def token_means(states: Iterable[Tensor]) -> Tensor:
    """Return each token's mean over the width, ``(K, B, L)``, of K layers' states ``(B, L, d)``."""
    return torch.stack([widen(each).mean(2) for each in states])


def token_variances(states: Iterable[Tensor]) -> Tensor:
    """Return each token's variance (divided by d) over the width, ``(K, B, L)``, of states ``(B, L, d)``."""
    return torch.stack([widen(each).var(2, unbiased=False) for each in states])


def mean_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Reading) -> Tensor:
    """Return the mean squared difference of the tokens' means over the width, ``(B,)``.

    Args:
        student: ``(B, L, d)``.
        teacher: ``(K, B, L)``, :func:`token_means` of the layers it is compared with.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    difference = teacher - token_means([student])  # (K, B, L)
    return _mean_over_tokens(difference.square().mean(0), mask, mode)


def variance_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Reading) -> Tensor:
    """Return the mean absolute difference of the tokens' variances (divided by d) over the width, ``(B,)``.

    Args:
        student: ``(B, L, d)``.
        teacher: ``(K, B, L)``, :func:`token_variances` of the layers it is compared with.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    difference = teacher - token_variances([student])  # (K, B, L)
    return _mean_over_tokens(difference.abs().mean(0), mask, mode)


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    scores = widen(scores)
    if mask is None:
        return scores
    # Not -inf: a row of padding alone would have a softmax of NaN, and its gradient would spread.
    return scores.masked_fill(~mask.bool()[:, None, None, :], MASKED)


def _mean_over_tokens(values: Tensor, mask: Tensor | None, mode: Reading) -> Tensor:
    """Return the mean of ``values (B, L)`` over a sentence's tokens, padding among them in ``original``."""
    if mask is None or mode == "original":
        return values.mean(1)
    real = mask.bool()  # (B, L)
    # Selected, not multiplied by 0: what stands on padding may be anything, even not a number.
    return torch.where(real, values, 0.0).sum(1) / real.sum(1).clamp(min=1)


STATISTICS = {"mean_loss": (token_means, mean_term), "variance_loss": (token_variances, variance_term)}
"""Terms of single numbers per token, and how those are computed."""


def transfer_terms(
    student: ModelOutput,
    teacher: TeacherSignal,
    names: Iterable[str],
    pairs: Sequence[tuple[int, int]],
    mode: Reading,
    teacher_states: tuple[int, ...],
) -> dict[str, Tensor]:
    """Return terms by name, before weights, each ``(B,)``: the mean over the layers that learn.

    Args:
        student: with the layers of ``pairs``, and the mask of its sentences.
        teacher: likewise.
        names: of the terms, such as ``feature_map_loss``.
        pairs: one or more student layers, each with its teacher layer.
        mode: see the module docstring.
        teacher_states: of which layers ``original`` compares the statistics with each student layer's.
    """
    compared = _Comparison(student, teacher, mode, teacher_states)
    return {name: torch.stack([compared.term(name, m, n) for m, n in pairs]).mean(0) for name in names}


class _Comparison:
    """Student and teacher on the same sentences. Statistics of the teacher are computed once."""

    def __init__(
        self, student: ModelOutput, teacher: TeacherSignal, mode: Reading, teacher_states: tuple[int, ...]
    ) -> None:
        self._student, self._teacher = student, teacher
        self._mode: Reading = mode
        self._teacher_states = teacher_states
        self._kept: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def term(self, name: str, m: int, n: int) -> Tensor:
        """Return a term of student layer m and teacher layer n, ``(B,)``."""
        student, teacher, mask = self._student, self._teacher, self._student.attention_mask
        if name == "attention_loss":
            return attention_divergence(
                student.attention_scores[m], teacher.attention_scores[n], mask, self._mode
            )
        if name == "feature_map_loss":
            return feature_map_term(student.hidden_states[m], teacher.hidden_states[n], mask, self._mode)
        of_teacher = self._statistic(name, self._teacher_states if self._mode == "original" else (n,))
        return STATISTICS[name][1](student.hidden_states[m], of_teacher, mask, self._mode)

    def _statistic(self, name: str, layers: tuple[int, ...]) -> Tensor:
        """Return the teacher's statistic that a term compares, for some layers, ``(K, B, L)``."""
        if (name, layers) not in self._kept:
            states = (self._teacher.hidden_states[layer] for layer in layers)
            self._kept[name, layers] = STATISTICS[name][0](states)
        return self._kept[name, layers]


def refuse_misfits(
    student: ModelDescription, teacher: ModelDescription, *, attention: bool, states: bool
) -> None:
    """Refuse heads and widths that the transfer cannot compare.

    Args:
        student: what learns.
        teacher: what teaches.
        attention: whether attention is compared.
        states: whether hidden states are.

    Raises:
        UserError: naming both models.
    """
    if attention:
        check_same_heads(OWNER, student, teacher)
    if states and student.hidden_size != teacher.hidden_size:
        raise UserError(
            f"{OWNER}: the feature maps of {student.name} and {teacher.name} are {student.hidden_size} "
            f"and {teacher.hidden_size} wide, and there is no projection between them; give the student "
            f"--hidden-size {teacher.hidden_size} (an IB-BERT's is meant to be small), or take distilbert_kd "
            "or tinybert_kd"
        )
