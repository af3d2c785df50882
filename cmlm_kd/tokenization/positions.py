"""The longest input that a Hugging Face encoder takes."""

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


MOST_PIECES = 1_000_000
"""A tokenizer that allows more than this has not been told how many."""


def longest_input(config: Any, tokenizer: Any, name: str) -> int:
    """Return how many tokens a classifier takes; one that counts no positions takes what its tokenizer says.

    Args:
        config: its Hugging Face configuration.
        tokenizer: its tokenizer.
        name: what messages call it.

    Raises:
        UserError: if neither says so.
    """
    counted = (getattr(config, "max_position_embeddings", None) or 0) > 0  # XLNet has -1, T5 none
    if not counted and tokenizer.model_max_length <= MOST_PIECES:
        return int(tokenizer.model_max_length)
    try:
        return usable_positions(config)
    except UserError as error:
        raise UserError(f"{name}: {error}, or as model_max_length in tokenizer_config.json") from error


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
