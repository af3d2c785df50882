"""fairseq's LSTM with attention (``fairseq/models/lstm.py``) as graphs of encoder and decoder.

The encoder reads sentences of one length at a time: the graph has no place for padding, which fairseq's own
encoder leaves out by packing. The decoder takes a token and three states: those of its cells, and what the
attention said last, which is fed in with the next token (Luong et al. 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cmlm_kd.deployment.onnx_transformer import embedding_of
from cmlm_kd.deployment.student import TranslationStudent
from cmlm_kd.errors import UserError

_NEAREST = "decode it with fairseq-generate"


class LSTMEncoder(nn.Module):
    """See the module.

    Args:
        student: whose weights it has.

    Raises:
        UserError: it has weights that the graphs know nothing of.
    """

    def __init__(self, student: TranslationStudent) -> None:
        super().__init__()
        _check(student)
        weights = student.weights
        self.embedding = embedding_of(weights["encoder.embed_tokens.weight"])
        named = _below(weights, "encoder.lstm.")
        self.layers = 1 + max(int(name.split("_l")[1].split("_")[0]) for name in named)
        self.two_ways = any(name.endswith("_reverse") for name in named)
        self.units = named["weight_hh_l0"].size(1)
        self.lstm = nn.LSTM(
            self.embedding.embedding_dim,
            self.units,
            self.layers,
            bidirectional=self.two_ways,
            batch_first=True,
        )
        self.lstm.load_state_dict(named)
        self.to_hidden = _linear(weights, "decoder.encoder_hidden_proj")
        self.to_cell = _linear(weights, "decoder.encoder_cell_proj")
        self.decoder_layers = _decoder_layers(weights)
        self.decoder_units = weights["decoder.layers.0.weight_hh"].size(1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return outputs ``(B, S, e)`` and the decoder's first states: of its cells ``(L, B, d)`` twice, and
        what is fed in first, zeros ``(B, d)``.

        Args:
            tokens: ``(B, S)``, without padding.
        """
        outputs, (hidden, cell) = self.lstm(self.embedding(tokens))
        hidden, cell = self._together(hidden), self._together(cell)  # (L, B, e)
        if self.to_hidden is not None and self.to_cell is not None:
            hidden, cell = self.to_hidden(hidden), self.to_cell(cell)
        # A product with zeros, so that the batch's size is seen to come from the tokens.
        feed = hidden[0] * 0.0
        return outputs, hidden[: self.decoder_layers], cell[: self.decoder_layers], feed

    def _together(self, states: Tensor) -> Tensor:
        """Return last states of both ways side by side, ``(L, B, e)``."""
        if not self.two_ways:
            return states
        forward, backward = states[0::2], states[1::2]  # (L, B, units) each
        return torch.cat([forward, backward], -1)


class LSTMDecoder(nn.Module):
    """See the module.

    Args:
        student: whose weights it has.
    """

    def __init__(self, student: TranslationStudent) -> None:
        super().__init__()
        weights = student.weights
        self.embedding = embedding_of(weights["decoder.embed_tokens.weight"])
        self.cells = nn.ModuleList()
        for i in range(_decoder_layers(weights)):
            named = _below(weights, f"decoder.layers.{i}.")
            cell = nn.LSTMCell(named["weight_ih"].size(1), named["weight_hh"].size(1))
            cell.load_state_dict(named)
            self.cells.append(cell)
        self.query = _linear(weights, "decoder.attention.input_proj")
        self.mix = _linear(weights, "decoder.attention.output_proj")
        self.narrow = _linear(weights, "decoder.additional_fc")
        self.output = _linear(weights, "decoder.fc_out")
        if self.output is None:
            rows, width = self.embedding.weight.shape
            self.output = nn.Linear(width, rows, bias=False)
            self.output.load_state_dict({"weight": self.embedding.weight})

    def forward(
        self, token: Tensor, memory: Tensor, hidden: Tensor, cell: Tensor, feed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log-probabilities of the next token ``(B, V)`` and the states behind this one.

        Args:
            token: ``(B, 1)``, the one before.
            memory: ``(B, S, e)``, what the encoder returned.
            hidden, cell: ``(L, B, d)``.
            feed: ``(B, d)``.
        """
        states = torch.cat([self.embedding(token[:, 0]), feed], 1)
        hiddens, cells = [], []
        for i, layer in enumerate(self.cells):
            h, c = layer(states, (hidden[i], cell[i]))  # (B, d) each
            states = h
            hiddens.append(h)
            cells.append(c)
        found = states
        if self.query is not None and self.mix is not None:
            scores = (memory @ self.query(states).unsqueeze(2)).squeeze(2)  # (B, S)
            context = (scores.softmax(1).unsqueeze(1) @ memory).squeeze(1)  # (B, e)
            found = torch.tanh(self.mix(torch.cat([context, states], 1)))  # (B, d)
        narrow = found if self.narrow is None else self.narrow(found)
        logits: Tensor = self.output(narrow)  # type: ignore[misc]  # (B, V)
        return logits.log_softmax(-1), torch.stack(hiddens), torch.stack(cells), found


def lstm_states(name: str) -> dict[int, str]:
    """Return which axis of a state is the batch's."""
    return {0: "batch"} if name == "feed" else {1: "batch"}


def _check(student: TranslationStudent) -> None:
    parts = (
        *("encoder.embed_tokens.", "encoder.lstm.", "decoder.embed_tokens.", "decoder.layers."),
        *("decoder.encoder_hidden_proj.", "decoder.encoder_cell_proj.", "decoder.attention."),
        *("decoder.additional_fc.", "decoder.fc_out."),
    )
    left = sorted(name for name in student.weights if not name.startswith(parts))
    if left:
        raise UserError(f"{student.path} has {left[0]}, which the ONNX export knows nothing of; {_NEAREST}")


def _below(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def _linear(weights: dict[str, Tensor], name: str) -> nn.Linear | None:
    """Return a map of that name; None where the student has none."""
    named = _below(weights, f"{name}.")
    if not named:
        return None
    rows, width = named["weight"].shape
    module = nn.Linear(width, rows, bias="bias" in named)
    module.load_state_dict(named)
    return module


def _decoder_layers(weights: dict[str, Tensor]) -> int:
    return len({name.split(".")[2] for name in weights if name.startswith("decoder.layers.")})
