"""Translation students as ONNX: graphs of encoder and decoder, and the dictionaries of both sides."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from cmlm_kd.deployment.onnx_files import GraphSettings, write_graph
from cmlm_kd.deployment.onnx_lstm import LSTMDecoder, LSTMEncoder, lstm_states
from cmlm_kd.deployment.onnx_transformer import TransformerDecoder, TransformerEncoder
from cmlm_kd.deployment.student import EOS, TranslationStudent
from cmlm_kd.deployment.transformer import transformer_sizes
from cmlm_kd.models.translators.onnx import DECODER, ENCODER, ENTRIES

NEAREST = "decode it with fairseq-generate"
_BATCH, _SOURCE, _TARGET = 3, 5, 4
"""Sizes of the examples that the exporter sees; none is 0 or 1, which it would take for fixed."""


def write_onnx(student: TranslationStudent, directory: Path, settings: GraphSettings) -> None:
    """Write the graphs and the dictionaries.

    Args:
        student: a Transformer, or an LSTM with attention.
        directory: an empty one.
        settings: how the graphs are written.

    Raises:
        UserError: it has something that the graphs know nothing of, or cannot be exported.
    """
    entries = {"source": student.source_symbols, "target": student.target_symbols}
    (directory / ENTRIES).write_text(json.dumps(entries, ensure_ascii=False) + "\n", encoding="utf-8")
    if student.is_recurrent:
        _write_lstm(student, directory, settings)
    else:
        _write_transformer(student, directory, settings)


def _tokens(rows: int, width: int) -> Tensor:
    return torch.full((rows, width), EOS, dtype=torch.long)


@torch.no_grad()
def _write_transformer(student: TranslationStudent, directory: Path, settings: GraphSettings) -> None:
    sizes = transformer_sizes(student, "the ONNX export", NEAREST)
    encoder: nn.Module = TransformerEncoder(student, sizes).eval()
    decoder: nn.Module = TransformerDecoder(student, sizes).eval()
    mask = torch.zeros(_BATCH, _SOURCE)
    tokens = _tokens(_BATCH, _SOURCE)
    write_graph(
        encoder,
        {"tokens": tokens, "mask": mask},
        ("source_keys", "source_values"),
        {name: {0: "batch", 1: "source"} for name in ("tokens", "mask")},
        directory / ENCODER,
        settings,
    )
    keys, values = encoder(tokens, mask)  # (L, B, h, S, d / h)
    cache = keys.new_zeros(sizes.layers[1], _BATCH, sizes.heads[1], _TARGET, sizes.width // sizes.heads[1])
    of_source = {1: "batch", 3: "source"}
    of_target = {1: "batch", 3: "target"}
    write_graph(
        decoder,
        {
            "token": _tokens(_BATCH, 1),
            "position": torch.tensor([3]),
            "mask": mask,
            "source_keys": keys,
            "source_values": values,
            "keys": cache,
            "values": cache.clone(),
        },
        ("logs", "next_keys", "next_values"),
        {
            "token": {0: "batch"},
            "mask": {0: "batch", 1: "source"},
            "source_keys": of_source,
            "source_values": of_source,
            "keys": of_target,
            "values": of_target,
        },
        directory / DECODER,
        settings,
    )


@torch.no_grad()
def _write_lstm(student: TranslationStudent, directory: Path, settings: GraphSettings) -> None:
    encoder: nn.Module = LSTMEncoder(student).eval()
    decoder: nn.Module = LSTMDecoder(student).eval()
    tokens = _tokens(_BATCH, _SOURCE)
    write_graph(
        encoder,
        {"tokens": tokens},
        ("memory", "hidden", "cell", "feed"),
        {"tokens": {0: "batch", 1: "source"}},
        directory / ENCODER,
        settings,
    )
    memory, *states = encoder(tokens)
    named = dict(zip(("hidden", "cell", "feed"), states, strict=True))
    write_graph(
        decoder,
        {"token": _tokens(_BATCH, 1), "memory": memory, **named},
        ("logs", *(f"next_{name}" for name in named)),
        {
            "token": {0: "batch"},
            "memory": {0: "batch", 1: "source"},
            **{name: lstm_states(name) for name in named},
        },
        directory / DECODER,
        settings,
    )
