"""fairseq's Transformer as two graphs: an encoder, and a decoder that takes one token and its cache.

The encoder gives keys and values of the source for every layer of the decoder, so that they are computed
once. The decoder gives log-probabilities of the next token, and its own keys and values with those of the
token behind them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cmlm_kd.deployment.student import TranslationStudent
from cmlm_kd.deployment.transformer import TransformerSizes, positions

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "gelu_new": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "tanh": torch.tanh,
}


def embedding_of(weight: Tensor) -> nn.Embedding:
    """Return an embedding with a matrix ``(V, d)``."""
    return nn.Embedding(weight.size(0), weight.size(1), _weight=weight.clone())


class _Layer(nn.Module):
    """Weights of one layer of either side, and its parts."""

    def __init__(self, student: TranslationStudent, sizes: TransformerSizes, prefix: str, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.pre_norm = sizes.pre_norm
        self.activation = _ACTIVATIONS[sizes.activation]
        found = {
            name.removeprefix(prefix): tensor
            for name, tensor in student.weights.items()
            if name.startswith(prefix)
        }
        parts = {name.rpartition(".")[0] for name in found}
        self.maps = nn.ModuleDict()
        for part in sorted(parts):
            weight, bias = found[f"{part}.weight"], found[f"{part}.bias"]
            module = (
                nn.LayerNorm(len(weight)) if "norm" in part else nn.Linear(weight.size(1), weight.size(0))
            )
            module.load_state_dict({"weight": weight, "bias": bias})
            self.maps[part.replace(".", "-")] = module

    def split(self, name: str, states: Tensor) -> Tensor:
        """Return what a projection makes of states ``(B, T, d)``, by head: ``(B, h, T, d / h)``."""
        found: Tensor = self.maps[name](states)
        width = found.size(2) // self.heads
        return found.reshape(found.size(0), found.size(1), self.heads, width).transpose(1, 2)

    def attend(self, name: str, states: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return attention of states ``(B, T, d)`` over keys and values ``(B, h, S, d / h)``.

        ``mask`` is added to the scores, ``(B, 1, 1, S)``.
        """
        queries = self.split(f"{name}-q_proj", states)  # (B, h, T, d / h)
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.size(-1))  # (B, h, T, S)
        scores = scores if mask is None else scores + mask
        context = (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)  # (B, T, d)
        found: Tensor = self.maps[f"{name}-out_proj"](context)
        return found

    def before(self, norm: str, states: Tensor) -> Tensor:
        """Normalise the input of a part, where the layer normalises inputs."""
        return self._normed(norm, states) if self.pre_norm else states

    def after(self, norm: str, states: Tensor) -> Tensor:
        """Normalise the output of a part, where the layer normalises outputs."""
        return states if self.pre_norm else self._normed(norm, states)

    def _normed(self, norm: str, states: Tensor) -> Tensor:
        found: Tensor = self.maps[norm](states)
        return found

    def feed_forward(self, states: Tensor) -> Tensor:
        """Return the layer's output of what its attention returned, ``(B, T, d)``."""
        inner = self.activation(self.maps["fc1"](self.before("final_layer_norm", states)))
        return self.after("final_layer_norm", states + self.maps["fc2"](inner))


class _Side(nn.Module):
    """Embeddings, layers and last normalisation of one side."""

    positions: Tensor

    def __init__(self, student: TranslationStudent, sizes: TransformerSizes, side: str) -> None:
        super().__init__()
        number = 0 if side == "encoder" else 1
        self.scale = sizes.scale
        self.embedding = embedding_of(student.weights[f"{side}.embed_tokens.weight"])
        self.register_buffer("positions", positions(student, side, sizes.positions[number]))
        self.each = tuple(
            _Layer(student, sizes, f"{side}.layers.{i}.", sizes.heads[number])
            for i in range(sizes.layers[number])
        )
        self.layers = nn.ModuleList(self.each)
        self.norm = nn.LayerNorm(sizes.width) if sizes.pre_norm else nn.Identity()
        if sizes.pre_norm:
            self.norm.load_state_dict(
                {name: student.weights[f"{side}.layer_norm.{name}"] for name in ("weight", "bias")}
            )


class TransformerEncoder(_Side):
    """See the module.

    Args:
        student: whose weights it has.
        sizes: of it.
    """

    def __init__(self, student: TranslationStudent, sizes: TransformerSizes) -> None:
        super().__init__(student, sizes, "encoder")
        self.of_decoder = tuple(
            _Layer(student, sizes, f"decoder.layers.{i}.", sizes.heads[1]) for i in range(sizes.layers[1])
        )
        self.decoder_layers = nn.ModuleList(self.of_decoder)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of the source for the decoder's layers, ``(L, B, h, S, d / h)`` each.

        Args:
            tokens: ``(B, S)``, right-padded.
            mask: ``(B, S)``, 0 on tokens, a large negative number on padding.
        """
        added = mask[:, None, None, :]  # (B, 1, 1, S)
        states = self.embedding(tokens) * self.scale + self.positions[: tokens.size(1)]  # (B, S, d)
        for layer in self.each:
            inputs = layer.before("self_attn_layer_norm", states)
            keys, values = layer.split("self_attn-k_proj", inputs), layer.split("self_attn-v_proj", inputs)
            states = states + layer.attend("self_attn", inputs, keys, values, added)
            states = layer.feed_forward(layer.after("self_attn_layer_norm", states))
        states = self.norm(states)
        all_keys = [layer.split("encoder_attn-k_proj", states) for layer in self.of_decoder]
        all_values = [layer.split("encoder_attn-v_proj", states) for layer in self.of_decoder]
        return torch.stack(all_keys), torch.stack(all_values)


class TransformerDecoder(_Side):
    """See the module.

    Args:
        student: whose weights it has.
        sizes: of it.
    """

    def __init__(self, student: TranslationStudent, sizes: TransformerSizes) -> None:
        super().__init__(student, sizes, "decoder")
        output = student.weights.get("decoder.output_projection.weight")
        self.output = nn.Linear(sizes.width, len(self.embedding.weight), bias=False)
        self.output.load_state_dict({"weight": self.embedding.weight if output is None else output})

    def forward(
        self,
        token: Tensor,
        position: Tensor,
        mask: Tensor,
        source_keys: Tensor,
        source_values: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probabilities of the next token ``(B, V)``, and keys and values with the token's own.

        Args:
            token: ``(B, 1)``, the one before.
            position: ``(1,)``, where it stands, from 0.
            mask: ``(B, S)``, of the source; see :class:`TransformerEncoder`.
            source_keys, source_values: ``(L, B, h, S, d / h)``.
            keys, values: ``(L, B, h, T, d / h)``, of the tokens before; T is at least 1, and the first of
                them is empty: it is masked.
        """
        over_source = mask[:, None, None, :]  # (B, 1, 1, S)
        # The first place is empty, so that no tensor ever has a size of 0.
        first = torch.arange(keys.size(3) + 1) == 0  # (T + 1,)
        over_target = torch.where(first, -1e9, 0.0)[None, None, None, :]
        states = self.embedding(token) * self.scale + self.positions[position]  # (B, 1, d)
        all_keys, all_values = [], []
        for i, layer in enumerate(self.each):
            inputs = layer.before("self_attn_layer_norm", states)
            k = torch.cat([keys[i], layer.split("self_attn-k_proj", inputs)], 2)  # (B, h, T + 1, d / h)
            v = torch.cat([values[i], layer.split("self_attn-v_proj", inputs)], 2)
            all_keys.append(k)
            all_values.append(v)
            states = states + layer.attend("self_attn", inputs, k, v, over_target)
            states = layer.after("self_attn_layer_norm", states)
            inputs = layer.before("encoder_attn_layer_norm", states)
            states = states + layer.attend(
                "encoder_attn", inputs, source_keys[i], source_values[i], over_source
            )
            states = layer.feed_forward(layer.after("encoder_attn_layer_norm", states))
        logits = self.output(self.norm(states)[:, 0])  # (B, V)
        return logits.log_softmax(-1), torch.stack(all_keys), torch.stack(all_values)
