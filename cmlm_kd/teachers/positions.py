"""How long an input a Hugging Face encoder takes."""

from __future__ import annotations

from typing import Any

_OFFSET_FAMILIES = ("roberta", "camembert", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "data2vec-text")


def usable_positions(config: Any) -> int:
    """Return how many positions an encoder really has.

    RoBERTa's relatives count positions from ``pad_token_id + 1``, so that many of the table's rows are never used.
    """
    positions = int(config.max_position_embeddings)
    if config.model_type in _OFFSET_FAMILIES:
        positions -= int(config.pad_token_id) + 1
    return positions
