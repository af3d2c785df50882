"""The stochastic answer network: an answer for a pair of sentences, reached in several turns.

Liu, Duh and Gao (2018), "Stochastic Answer Networks for Natural Language Inference"; the head that MT-DNN
(Liu et al., 2019, section 3) has for the classification of pairs. With the encoder's states P of the first
sentence and H of the second::

    s_0 = sum_j softmax_j(w . H_j) H_j
    x_k = sum_j softmax_j(s_(k-1) W P_j) P_j        k = 1 .. K turns
    s_k = GRU(s_(k-1), x_k)
    p_k = softmax(V [s_k; x_k; |s_k - x_k|; s_k * x_k])
    p   = mean_k p_k

In training each turn of each pair is left out of the mean with a probability, never all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmlm_kd.system.ranges import AT_LEAST_ONE, SHARE_BELOW_ONE, check_range


@dataclass(frozen=True)
class SANSettings:
    """Settings of :class:`StochasticAnswerNetwork`; the defaults are the released code's.

    Attributes:
        turns: K, 1 or more.
        dropout: probability that a turn is left out in training, in [0, 1).

    Raises:
        UserError: for a value outside its range.
    """

    turns: int = 5
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_range("--san-turns", self.turns, AT_LEAST_ONE, owner="multitask_bert")
        check_range("--san-dropout", self.dropout, SHARE_BELOW_ONE, owner="multitask_bert")


class StochasticAnswerNetwork(nn.Module):
    """Equations in the module docstring.

    Args:
        width: of the encoder's states, d.
        classes: how many answers there are, C.
        settings: turns and dropout.
    """

    def __init__(self, width: int, classes: int, settings: SANSettings) -> None:
        super().__init__()
        self.settings = settings
        self.summary = nn.Linear(width, 1)
        self.query = nn.Linear(width, width, bias=False)
        self.memory = nn.GRUCell(width, width)
        self.answer = nn.Linear(4 * width, classes)

    def forward(self, states: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return log-probabilities ``(B, C)``, which are logits too.

        Args:
            states: ``(B, S, d)``, the encoder's.
            first: ``(B, S)`` bool, True on the first sentence, at least once per row.
            second: ``(B, S)`` bool, True on the second sentence, likewise.
        """
        state = _attend(self.summary(states).squeeze(-1), second, states)  # (B, d)
        turns = []
        for _ in range(self.settings.turns):
            scores = torch.einsum("bd,bsd->bs", self.query(state), states)  # (B, S)
            read = _attend(scores, first, states)  # (B, d)
            state = self.memory(read, state)
            seen = torch.cat([state, read, (state - read).abs(), state * read], -1)  # (B, 4d)
            turns.append(self.answer(seen).float().log_softmax(-1))
        answers = torch.stack(turns, 1)  # (B, K, C)
        kept = self._kept(answers)  # (B, K, 1)
        # The log of the mean of probabilities, without leaving the logarithmic scale.
        return answers.masked_fill(~kept, -torch.inf).logsumexp(1) - kept.sum(1).log()

    def _kept(self, answers: Tensor) -> Tensor:
        """Return which turns count, ``(B, K, 1)`` bool."""
        if not self.training or not self.settings.dropout:
            return torch.ones_like(answers[..., :1], dtype=torch.bool)
        luck = torch.rand_like(answers[..., :1])  # (B, K, 1)
        return (luck >= self.settings.dropout) | (luck == luck.amax(1, keepdim=True))


def _attend(scores: Tensor, mask: Tensor, states: Tensor) -> Tensor:
    """Return the mean of ``states (B, S, d)``, weighted by the softmax of ``scores (B, S)`` in ``mask``."""
    weights = scores.float().masked_fill(~mask, -torch.inf).softmax(-1).to(states.dtype)  # (B, S)
    return torch.einsum("bs,bsd->bd", weights, states)
