"""fairseq's beam search in NumPy, over any decoder that gives log-probabilities of the next token.

As ``fairseq/sequence_generator.py`` has it: twice as many candidates as hypotheses are followed; those that
end among the best ``beam`` are finished; a sentence is finished with ``beam`` of them, or at the greatest
length, where every hypothesis must end. Padding is never said, and no hypothesis is empty.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.api.translator import Decoding
from cmlm_kd.errors import UserError

Found = tuple[list[int], float]
"""A hypothesis without its end, and its score."""


class Step(Protocol):
    """A decoder that goes one step."""

    def __call__(
        self, tokens: NDArray[np.int64], rows: NDArray[np.int64], sentences: NDArray[np.int64], position: int
    ) -> NDArray[np.float32]:
        """Return log-probabilities ``(N, V)`` of what follows ``tokens``."""


def search(
    step: Step, sentences: int, decoding: Decoding, most: int, vocabulary: int, *, pad: int, end: int
) -> list[list[Found]]:
    """Return up to ``decoding.beam`` hypotheses of each sentence, best first.

    Args:
        step: the decoder; its first call is with one row for each sentence.
        sentences: how many, at least 1.
        decoding: its beam, temperature and length penalty.
        most: tokens of a hypothesis, its end not counted.
        vocabulary: V.
        pad: entry that is never said.
        end: entry that begins and ends hypotheses.

    Raises:
        UserError: the model gives no finite numbers.
    """
    beam = min(decoding.beam, vocabulary - 2)
    finished: list[list[Found]] = [[] for _ in range(sentences)]
    alive = np.arange(sentences)  # (n,) sentences that are searched
    histories: list[list[int]] = [[] for _ in range(sentences)]
    scores = np.zeros((sentences, 1))  # (n, 1), then (n, beam)
    tokens, rows = np.full(sentences, end), np.arange(sentences)
    for length in range(most + 1):
        width = scores.shape[1]
        logs = step(tokens, rows, np.repeat(alive, width), length).astype(np.float64)  # (n * width, V)
        _allow(logs, decoding.temperature, length, most, pad, end)
        candidates = _best(logs, scores, 2 * beam)
        kept, going = [], []
        for i, sentence in enumerate(alive):
            ended, following = _sorted_out(candidates[i], i * width, vocabulary, beam, end)
            room = beam - len(finished[sentence])
            finished[sentence] += [
                (histories[row], score / (length + 1) ** decoding.length_penalty)
                for row, score in ended[:room]
            ]
            if len(finished[sentence]) < beam and following:
                kept.append(i)
                going += following
        if not kept:
            break
        alive = alive[kept]
        rows, tokens = (np.array([one[part] for one in going]) for part in (0, 1))
        histories = [[*histories[row], token] for row, token, _ in going]
        scores = np.array([score for _, _, score in going]).reshape(len(alive), beam)
    return [sorted(found, key=lambda one: -one[1]) for found in finished]


def _allow(logs: NDArray[np.float64], temperature: float, length: int, most: int, pad: int, end: int) -> None:
    """Take from log-probabilities ``(N, V)``, in place, what must not be said after ``length`` tokens.

    Raises:
        UserError: they are no numbers.
    """
    if np.isnan(logs).any():
        raise UserError(
            "the model gives no finite numbers: its training has diverged; take an earlier checkpoint"
        )
    if temperature != 1.0:
        logs /= temperature
        logs -= np.log(np.exp(logs).sum(1, keepdims=True))
    logs[:, pad] = -np.inf
    if length == 0:
        logs[:, end] = -np.inf
    if length == most:
        ending = logs[:, end].copy()
        logs[:] = -np.inf
        logs[:, end] = ending


def _best(
    logs: NDArray[np.float64], scores: NDArray[np.float64], count: int
) -> list[list[tuple[int, float]]]:
    """Return, for each sentence, the best continuations, best first: (hypothesis * V + token, score).

    Args:
        logs: ``(n * width, V)``, of the next token.
        scores: ``(n, width)``, of the hypotheses.
        count: how many.
    """
    n, width = scores.shape
    total = (logs.reshape(n, width, -1) + scores[:, :, None]).reshape(n, -1)  # (n, width * V)
    count = min(count, total.shape[1])
    cells = np.argpartition(-total, count - 1, axis=1)[:, :count]  # (n, count)
    values = np.take_along_axis(total, cells, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    cells = np.take_along_axis(cells, order, 1)
    values = np.take_along_axis(values, order, 1)
    return [
        [(int(cell), float(value)) for cell, value in zip(*row, strict=True) if value > -np.inf]
        for row in zip(cells, values, strict=True)
    ]


def _sorted_out(
    candidates: list[tuple[int, float]], first: int, vocabulary: int, beam: int, end: int
) -> tuple[list[tuple[int, float]], list[tuple[int, int, float]]]:
    """Return which hypotheses of a sentence end, and which go on.

    Args:
        candidates: see :func:`_best`.
        first: row of the sentence's first hypothesis.
        vocabulary: V.
        beam: hypotheses that go on, as many as that.
        end: the entry that ends one.

    Returns:
        (row, score) of those that end among the best, and (row, token, score) of those that go on; where
        there are too few, the last is there again without a chance. None go on where all must end.
    """
    ended, going = [], []
    for rank, (cell, score) in enumerate(candidates):
        row, token = first + cell // vocabulary, cell % vocabulary
        if token != end:
            going.append((row, token, score))
        elif rank < beam:
            ended.append((row, score))
    going = going[:beam]
    if going:
        going += [(*going[-1][:2], -np.inf)] * (beam - len(going))
    return ended, going
