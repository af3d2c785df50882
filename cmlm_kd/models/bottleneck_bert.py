"""MobileBERT, the student, and IB-BERT, its teacher, of any size (Sun et al., 2020, table 1).

Both pass states of one width (``hidden_size``) from block to block and work in another inside
(``bottleneck_size``): the student's is narrower, the teacher's wider. So their feature maps can be compared
as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cmlm_kd.errors import UserError
from cmlm_kd.optim import LAYER_PREFIX
from cmlm_kd.system.ranges import MODEL_SIZE, check_range

if TYPE_CHECKING:
    from transformers import MobileBertForMaskedLM

    from cmlm_kd.models.encoders.ib_bert import IBBertForMaskedLM


"""Name of the group of parameters that belong to no layer."""


@dataclass(frozen=True)
class BottleneckSizes:
    """The shape of a bottleneck BERT; the defaults are MobileBERT's, :data:`IB_BERT` has its teacher's.

    Attributes:
        layers: blocks.
        hidden_size: width of the states between blocks, of feature maps.
        bottleneck_size: width inside a block; a multiple of ``heads``.
        heads: attention heads.
        ffn_size: width inside a feed-forward network.
        feed_forward_networks: how many of them follow each other in a block.
        embedding_size: width of word embeddings, at most ``hidden_size``; three neighbours enter together.
        positions: longest input in tokens.
    """

    layers: int = 24
    hidden_size: int = 512
    bottleneck_size: int = 128
    heads: int = 4
    ffn_size: int = 512
    feed_forward_networks: int = 4
    embedding_size: int = 128
    positions: int = 512

    def check(self, owner: str) -> None:
        """Raise UserError, in the name of ``owner``, unless the sizes make a model."""
        for name, value in vars(self).items():
            check_range(f"--{name.replace('_', '-')}", value, MODEL_SIZE, owner=owner, joint=", ")
        if self.bottleneck_size % self.heads:
            raise UserError(
                f"{owner}: --bottleneck-size {self.bottleneck_size} is no multiple of --heads {self.heads}; "
                "every head takes an equal part"
            )
        if self.embedding_size > self.hidden_size:
            raise UserError(
                f"{owner}: --embedding-size {self.embedding_size} exceeds --hidden-size {self.hidden_size}; "
                "the embeddings are a part of the head's matrix, which is as wide as the hidden states"
            )

    def settings(self) -> dict[str, int]:
        """Return the sizes under the names of ``MobileBertConfig``."""
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden_size,
            "intra_bottleneck_size": self.bottleneck_size,
            "num_attention_heads": self.heads,
            "intermediate_size": self.ffn_size,
            "num_feedforward_networks": self.feed_forward_networks,
            "embedding_size": self.embedding_size,
            "max_position_embeddings": self.positions,
        }


MOBILEBERT = BottleneckSizes()
IB_BERT = BottleneckSizes(bottleneck_size=1024, ffn_size=4096, feed_forward_networks=1)


def new_mobilebert(
    sizes: BottleneckSizes,
    vocabulary: int,
    padding: int,
    *,
    bottleneck_attention: bool = False,
    layer_norm: bool = False,
) -> MobileBertForMaskedLM:
    """Make a MobileBERT with random weights.

    Args:
        sizes: its shape.
        vocabulary: how many tokens it has.
        padding: id of the padding token.
        bottleneck_attention: queries, keys and values all read the block's narrowed input (MobileBERT-tiny).
        layer_norm: LayerNorm and GELU instead of NoNorm and ReLU (the paper's "w/o OPT").

    Raises:
        UserError: if the sizes make no model.
    """
    from transformers import MobileBertConfig, MobileBertForMaskedLM

    sizes.check("mobilebert")
    config = MobileBertConfig(
        vocab_size=vocabulary,
        pad_token_id=padding,
        use_bottleneck_attention=bottleneck_attention,
        key_query_shared_bottleneck=not bottleneck_attention,  # else it would be made and not used
        normalization_type="layer_norm" if layer_norm else "no_norm",
        hidden_act="gelu" if layer_norm else "relu",
        classifier_activation=False,  # as released: nothing is learned between [CLS] and a classifier
        **sizes.settings(),  # type: ignore[arg-type]
    )
    return MobileBertForMaskedLM(config)


def new_ib_bert(sizes: BottleneckSizes, vocabulary: int, padding: int) -> IBBertForMaskedLM:
    """Make an IB-BERT with random weights; arguments and errors as for :func:`new_mobilebert`."""
    from cmlm_kd.models.encoders.ib_bert import IBBertConfig, IBBertForMaskedLM

    sizes.check("ib_bert")
    config = IBBertConfig(vocab_size=vocabulary, pad_token_id=padding, **sizes.settings())  # type: ignore[arg-type]
    return IBBertForMaskedLM(config)


def inherit_embeddings_and_head(student: nn.Module, teacher: nn.Module) -> int:
    """Start a student with its teacher's embeddings and masked-LM head, as the released code does.

    What belongs to no layer is copied where names and shapes agree; the normalisation of the embeddings only
    where both have the same, because the weights of a LayerNorm mean nothing to a NoNorm.

    Args:
        student: a Hugging Face masked language model, changed in place.
        teacher: another; left as it is.

    Returns:
        how many tensors were copied; 0 where the two have no such thing in common.
    """
    same_norm = _normalization(student) == _normalization(teacher)
    found = teacher.state_dict()
    copied = 0
    with torch.no_grad():
        for name, value in student.state_dict().items():
            norm = name.endswith(("embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"))
            other = found.get(name)
            if (
                LAYER_PREFIX in name
                or other is None
                or other.shape != value.shape
                or (norm and not same_norm)
            ):
                continue
            value.copy_(other)
            copied += 1
    return copied


def _normalization(model: Any) -> str:
    return str(getattr(model.config, "normalization_type", "layer_norm"))
