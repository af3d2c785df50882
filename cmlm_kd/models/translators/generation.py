"""Search and drawing by transformers' ``generate``, and the scores of what it returns.

``generate`` itself gives scores only if it may keep the distributions of all steps, which is far too much
where vocabularies are large. One forward pass over the hypotheses gives them too, and for samples as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cmlm_kd.api.translator import Decoding
from cmlm_kd.errors import UserError
from cmlm_kd.system.transformers_reports import without_reports

_AT_ONCE = 1 << 26
"""Logits in memory at once while hypotheses are scored: 256 MiB."""


@dataclass(frozen=True)
class Generated:
    """A hypothesis in a model's own entries.

    Attributes:
        entries: without what ends it.
        end: the entry that ended it; None where it was cut off.
        finished: whether it was ended before the greatest length, where some models are made to end.
    """

    entries: list[int]
    end: int | None
    finished: bool


def generate(
    model: Any,
    inputs: dict[str, Any],
    decoding: Decoding,
    *,
    begin: int,
    prefix: int = 0,
    most_tokens: int,
    ends: Sequence[int],
    pad: int,
    **more: Any,
) -> list[Generated]:
    """Return ``decoding.n_best`` hypotheses for each row of a batch, row after row.

    Args:
        model: of transformers.
        inputs: arguments of ``generate``, ``(B, ...)`` each.
        decoding: how; its seed is torch's from here on.
        begin: where in the sequences that ``generate`` returns something new begins.
        prefix: entries there that the model is made to say first, no part of a hypothesis.
        most_tokens: of a hypothesis, its end not counted.
        ends: entries that end a hypothesis.
        pad: entry of padding.
        more: settings of ``generate`` of this kind of model.

    Raises:
        UserError: the model gives no finite numbers, or a temperature without sampling.
    """
    decoding.refuse_temperature_of_search("transformers")
    torch.manual_seed(decoding.seed)
    settings: dict[str, Any] = {
        "num_beams": decoding.beam,
        "do_sample": False,
        "length_penalty": decoding.length_penalty,
        "early_stopping": False,
    }
    if decoding.sampling:
        settings = {
            "num_beams": 1,
            "do_sample": True,
            "temperature": decoding.temperature,
            "top_k": decoding.top_k or 0,
            "top_p": decoding.top_p or 1.0,
        }
    try:
        with without_reports():  # it warns of a max_length of the model's own that we replace
            found = model.generate(
                **inputs,
                **settings,
                **more,
                num_return_sequences=decoding.n_best,
                max_new_tokens=prefix + most_tokens + 1,
                forced_eos_token_id=ends[0],  # as fairseq does: the token after the last that is allowed
                eos_token_id=list(ends),
                pad_token_id=pad,
            )
    except RuntimeError as error:
        if "probability tensor" not in str(error):
            raise
        raise UserError("the model gives no finite numbers; take one that has not diverged") from error
    results = []
    for entries in found[:, begin + prefix :].tolist():
        length = next((i for i, entry in enumerate(entries) if entry in ends), len(entries))
        end = entries[length] if length < len(entries) else None
        results.append(Generated(entries[:length], end, end is not None and length < most_tokens))
    return results


def sequence_scores(
    found: Sequence[Generated],
    logits: Callable[[range, Tensor], Tensor],
    decoding: Decoding,
    *,
    pad: int,
    vocabulary: int,
    prefix: Sequence[int] = (),
    device: torch.device | str = "cpu",
) -> list[float]:
    """Return the score of each hypothesis, as :class:`~cmlm_kd.api.translator.Hypothesis` defines it.

    Args:
        found: hypotheses.
        logits: from rows of ``found`` and their entries ``(N, T)``, padded with ``pad``, to the logits of
            these entries, ``(N, T, V)``.
        decoding: its temperature, of sampling, and its length penalty.
        pad: entry of padding.
        vocabulary: V.
        prefix: entries before each hypothesis that the model was made to say, which have no score.
        device: where the entries go.
    """
    scores: list[float] = []
    temperature = decoding.temperature if decoding.sampling else 1.0
    longest = max(len(entry.entries) for entry in found) + 1 + len(prefix)
    step = max(1, _AT_ONCE // (longest * vocabulary))
    for start in range(0, len(found), step):
        rows = range(start, min(start + step, len(found)))
        ended = [[*found[row].entries, found[row].end] for row in rows]
        said = [[*prefix, *(entry for entry in row if entry is not None)] for row in ended]
        width = max(map(len, said))
        entries = torch.tensor([row + [pad] * (width - len(row)) for row in said], device=device)  # (N, T)
        raw = logits(rows, entries).float() / temperature  # (N, T, V)
        each = raw.gather(-1, entries.unsqueeze(-1)).squeeze(-1) - raw.logsumexp(-1)  # (N, T)
        for row, words in enumerate(said):
            counted = len(words) - len(prefix)
            total = float(each[row, len(prefix) : len(words)].sum())
            scores.append(total / max(1, counted) ** decoding.length_penalty)
    return scores
