"""IB-BERT, the teacher that MobileBERT learns from (Sun et al., 2020, table 1; 293M parameters by default).

A BERT whose layers pass on narrow states (512) and work in wide ones (1024): every block begins by widening
and ends by narrowing, so that its feature maps have the width of MobileBERT's, which does the opposite. The
rest is transformers' MobileBERT with BERT's own parts: LayerNorm, GELU, one feed-forward network, dropout.
There is one thing it has no setting for: queries and keys, like values, are projections of the block's narrow
input, as in the released ``modeling.py`` when neither way of sharing bottlenecks is asked for.

Importing this module makes transformers' Auto classes know ``ib-bert``, so that a saved teacher loads without
anything else of this library::

    import cmlm_kd.models.encoders.ib_bert
    model = AutoModelForMaskedLM.from_pretrained("ib-bert")
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    MobileBertConfig,
    MobileBertForMaskedLM,
    MobileBertForSequenceClassification,
    MobileBertModel,
)

MODEL_TYPE = "ib-bert"


class IBBertConfig(MobileBertConfig):  # type: ignore[no-untyped-call]
    """Configuration of an IB-BERT; fields and meanings are those of ``MobileBertConfig``."""

    model_type = MODEL_TYPE

    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    intermediate_size: int = 4096
    intra_bottleneck_size: int = 1024
    key_query_shared_bottleneck: bool = False
    normalization_type: str = "layer_norm"
    num_feedforward_networks: int = 1


class IBBertModel(MobileBertModel):  # type: ignore[no-untyped-call]
    """The encoder."""

    config_class = IBBertConfig

    def __init__(self, config: Any, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer)
        _read_block_input(self, config)


class IBBertForMaskedLM(MobileBertForMaskedLM):  # type: ignore[no-untyped-call]
    """The encoder under its masked-LM head."""

    config_class = IBBertConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        _read_block_input(self, config)


class IBBertForSequenceClassification(MobileBertForSequenceClassification):  # type: ignore[no-untyped-call]
    """The encoder under a classification head."""

    config_class = IBBertConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        _read_block_input(self, config)


def _read_block_input(model: nn.Module, config: Any) -> None:
    """Let queries and keys project the block's input; transformers has room for its widened form alone."""
    for module in model.modules():
        if hasattr(module, "query") and hasattr(module, "key"):
            for name in ("query", "key"):
                projection = nn.Linear(config.hidden_size, getattr(module, name).out_features)
                projection.weight.data.normal_(0.0, config.initializer_range)
                projection.bias.data.zero_()
                setattr(module, name, projection)


AutoConfig.register(MODEL_TYPE, IBBertConfig)
AutoModel.register(IBBertConfig, IBBertModel)
AutoModelForMaskedLM.register(IBBertConfig, IBBertForMaskedLM)
AutoModelForSequenceClassification.register(IBBertConfig, IBBertForSequenceClassification)
