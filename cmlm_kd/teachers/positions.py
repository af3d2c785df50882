"""How long an input a Hugging Face encoder takes."""

from __future__ import annotations

from typing import Any

from cmlm_kd.errors import UserError

_COUNT_FROM_PADDING = frozenset(
    {
        "camembert",
        "data2vec-text",
        "ibert",
        "longformer",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)


def usable_positions(config: Any) -> int:
    """Return how many positions an encoder really has.

    RoBERTa's relatives count positions from ``pad_token_id + 1``, so that the first rows of the table are
    never used.

    Raises:
        UserError: if the configuration names no number of positions.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        raise UserError(
            f"a {config.model_type} model doesn't say how long an input it takes (max_position_embeddings in "
            "its config.json); take a BERT- or RoBERTa-like encoder, or state the number there"
        )
    if config.model_type in _COUNT_FROM_PADDING:
        positions -= int(config.pad_token_id) + 1
    return positions
