"""Classifiers as ONNX graphs: Hugging Face's, BiLSTMs, and one task of a student of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.deployment.onnx_files import GraphSettings, write_graph
from cmlm_kd.models.bilstm.model import BiLSTMClassifier, compared_states
from cmlm_kd.models.onnx_classifier import GRAPH, WORDS
from cmlm_kd.tokenization.saving import write_tokenizer
from cmlm_kd.tokenization.words import WORD_PATTERN

_BATCH, _LENGTH = 3, 7
"""Sizes of the example that the exporter sees; none is 0 or 1, which it would take for fixed."""


@torch.no_grad()
def write_classifier_graph(model: Any, directory: Path, settings: GraphSettings) -> None:
    """Write the graph of a classifier, and what turns text into its ids.

    Args:
        model: a :class:`cmlm_kd.models.prediction.Classifier` that is a module.
        directory: an empty one.
        settings: how the graph is written.

    Raises:
        UserError: torch cannot export it.
    """
    # A pair has two words of each sentence at least; the second stands right behind the first.
    ids = torch.ones(_BATCH, _LENGTH, dtype=torch.long)
    types = torch.zeros_like(ids)
    types[:, _LENGTH // 2 :] = 1
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
    graph: nn.Module = _BiLSTM(model) if isinstance(model, BiLSTMClassifier) else _Logits(model)
    if isinstance(model, BiLSTMClassifier):
        words = json.dumps({**model.inputs.to_dict(), "pattern": WORD_PATTERN}, ensure_ascii=False)
        (directory / WORDS).write_text(words + "\n", encoding="utf-8")
    else:
        config = getattr(getattr(model, "model", None), "config", None)  # of several tasks' student: none
        write_tokenizer(model.inputs.tokenizer, directory, config)
    free = {name: {0: "batch", 1: "length"} for name in inputs}
    write_graph(graph.eval(), inputs, ("logits",), free, directory / GRAPH, settings)


class _Logits(nn.Module):
    """A classifier that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return logits ``(B, C)``."""
        logits: Tensor = self.model(input_ids, attention_mask, token_type_ids).logits
        return logits


class _BiLSTM(nn.Module):
    """A BiLSTM without packing: each direction is a LSTM of its own over sentences padded on the right.

    The backward one reads each sentence from its own last word, so that padding comes behind the first one
    in both; the state at a sentence's last place is the one that packing gives.
    """

    def __init__(self, model: BiLSTMClassifier) -> None:
        super().__init__()
        self.model = model
        lstm = model.lstm
        self.ways = nn.ModuleList()
        for suffix in ("", "_reverse"):
            way = nn.LSTM(lstm.input_size, lstm.hidden_size, batch_first=True)
            way.load_state_dict({name: getattr(lstm, name + suffix) for name in way.state_dict()})
            self.ways.append(way)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return logits ``(B, C)``."""
        if self.model.config.pair:
            first = attention_mask * (1 - token_type_ids)  # (B, S)
            ends = first.sum(1)  # (B,)
            lengths = attention_mask.sum(1) - ends
            columns = torch.arange(input_ids.size(1))
            index = ends.unsqueeze(1) + columns  # (B, S)
            # Beyond a pair's end stands anything. clamp() would make the length a constant of the graph.
            index = torch.where(index < input_ids.size(1), index, 0)
            sentence = compared_states(
                self._sentence(input_ids, ends), self._sentence(input_ids.gather(1, index), lengths)
            )
        else:
            sentence = self._sentence(input_ids, attention_mask.sum(1))
        logits: Tensor = self.model.output(torch.relu(self.model.fc(sentence)))
        return logits

    def _sentence(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Return the last state of both directions, ``(B, 2h)``."""
        embedded = torch.cat([channel(words) for channel in self.model.embeddings.values()], -1)  # (B, L, e)
        last = (lengths - 1).unsqueeze(1)  # (B, 1)
        backward = (last - torch.arange(words.size(1))).clamp(min=0)  # (B, L)
        turned = embedded.gather(1, backward.unsqueeze(2).expand_as(embedded))
        found = []
        for way, states in zip(self.ways, (embedded, turned), strict=True):
            outputs, _ = way(states)  # (B, L, h)
            place = last.unsqueeze(2).expand(-1, -1, outputs.size(2))  # (B, 1, h)
            found.append(outputs.gather(1, place).squeeze(1))
        return torch.cat(found, -1)
