"""A C-MLM teacher made ready to predict: the same distributions for less work."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmlm_kd.data.translation.pairs import PairBatch
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.encoders.families import encoder_layers, family_of
from cmlm_kd.models.encoders.packed_linear import pack_linear_layers
from cmlm_kd.models.encoders.unpadded import RealPositions, UnpaddedLayers
from cmlm_kd.system.devices import bfloat16_autocast


class MaskedPredictor:
    """Predicts masked positions with a teacher that no longer learns.

    Under autocast the matrices are converted to bfloat16 once instead of in every batch (on a CPU also packed
    for oneDNN, see :mod:`cmlm_kd.models.encoders.packed_linear`). The last layer's queries and feed-forward
    block, which serve nothing but the vocabulary layer, run at the masked positions only, and on a CPU no
    layer sees padding (:mod:`cmlm_kd.models.encoders.unpadded`). None of it changes the result (beyond
    rounding).

    Args:
        teacher: stays as it is; a copy of it runs.
        device: where it runs.
        bf16_autocast: compute in bfloat16 where that is safe, in float32 elsewhere.
    """

    def __init__(
        self, teacher: ConditionalMaskedLM, device: torch.device, *, bf16_autocast: bool = False
    ) -> None:
        self.device = device
        self.bf16_autocast = bf16_autocast
        self.teacher = copy.deepcopy(teacher).eval().to(device)
        self.layers = _prepared_layers(self.teacher.encoder, device)
        if bf16_autocast:
            for module in self.teacher.modules():
                if isinstance(module, nn.Linear):
                    module.to(torch.bfloat16)
            if device.type == "cpu":
                pack_linear_layers(self.teacher)

    @torch.inference_mode()
    def logits(self, batch: PairBatch) -> Tensor:
        """Return logits over the student's target vocabulary at the masked positions, ``(M, V)`` float32."""
        batch = batch.to(self.device)
        with bfloat16_autocast(self.bf16_autocast, self.device):
            if self.layers is None:
                return self.teacher(batch).float()  # type: ignore[no-any-return]
            if isinstance(self.layers, UnpaddedLayers):
                self.layers.look_at(RealPositions.of(batch.attention_mask, batch.masked_index))
            else:
                self.layers.masked_index = batch.masked_index
            states = self.teacher.encode(batch).squeeze(0)  # (M, d)
            return self.teacher.predict(states).float()


class _LastLayer(nn.Module):
    """A BERT layer that returns its states at the masked positions and nothing else, ``(1, M, d)``.

    It takes the place of the encoder's last layer and has its signature.

    Attributes:
        masked_index: ``(M,)`` positions in the flattened batch, row by row; set before each batch.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.masked_index = torch.empty(0, dtype=torch.long)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any
    ) -> Tensor:
        attention = self.layer.attention.self
        batch, length, size = hidden_states.shape
        masked = hidden_states.flatten(0, 1).index_select(0, self.masked_index)  # (M, d)
        row = self.masked_index // length  # (M,)
        counts = torch.bincount(row, minlength=batch)  # (B,)
        place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]  # (M,)
        queries = masked.new_zeros(batch, int(counts.max()), size)  # (B, m, d), filled from the left
        queries[row, place] = masked

        def heads(states: Tensor) -> Tensor:
            shape = (*states.shape[:2], -1, attention.attention_head_size)
            return states.view(shape).transpose(1, 2)  # (B, H, m or S, d / H)

        context = F.scaled_dot_product_attention(
            heads(attention.query(queries)),
            heads(attention.key(hidden_states)),
            heads(attention.value(hidden_states)),
            # It hides padding, so that it is the same for every query.
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
        )  # (B, H, m, d / H)
        context = context.transpose(1, 2).flatten(2)[row, place]  # (M, d)
        states = self.layer.attention.output(context, masked)  # (M, d)
        return self.layer.output(self.layer.intermediate(states), states).unsqueeze(0)  # type: ignore[no-any-return]


def replace_last_layer(encoder: Any) -> _LastLayer | None:
    """Let the encoder's last layer run at the masked positions only, where it is one we understand.

    Args:
        encoder: a Hugging Face encoder, which is changed.

    Returns:
        the layer, whose ``masked_index`` is to be set before each batch; None where nothing was changed.
    """
    if not _has_known_layers(encoder):
        return None
    layers: Any = encoder_layers(encoder)
    layers[-1] = _LastLayer(layers[-1])
    return layers[-1]  # type: ignore[no-any-return]


def _prepared_layers(encoder: Any, device: torch.device) -> _LastLayer | UnpaddedLayers | None:
    """Let the encoder's layers leave out what nobody asks for, where they are ones that we understand.

    On a GPU that is the last layer's alone: groups of rows would be many small kernels there.
    """
    if device.type == "cpu" and _has_known_layers(encoder):
        return UnpaddedLayers(cast(nn.ModuleList, encoder_layers(encoder)))
    return replace_last_layer(encoder)


def _has_known_layers(encoder: Any) -> bool:
    config = encoder.config
    known = family_of(config).layers.masked_last and config._attn_implementation == "sdpa"
    return known and not config.is_decoder
