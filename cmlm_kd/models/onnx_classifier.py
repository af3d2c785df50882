"""A classifier as an ONNX graph: what 'cmlm-kd export --to onnx' wrote of one, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import LOGITS, PROBABILITIES, ModelDescription
from cmlm_kd.data.classification.inputs import HuggingFaceInputs, SentenceInputs
from cmlm_kd.models.bilstm.model import WordInputs
from cmlm_kd.models.exported import EXPORT_AGAIN, ExportRecord, read_export
from cmlm_kd.models.translators.onnx import session
from cmlm_kd.system.manifests import read_object

GRAPH = "model.onnx"
WORDS = "words.json"
"""The list of words of a BiLSTM; other models have the files of a Hugging Face tokenizer."""


class OnnxClassifier:
    """A graph from ids to logits; a :class:`cmlm_kd.models.prediction.Classifier`.

    Args:
        directory: of the graph and its tokenizer.
        record: its manifest.
    """

    def __init__(self, directory: Path, record: ExportRecord) -> None:
        self.record = record
        self.labels = record.labels
        self.reads_pairs = record.reads_pairs
        self.inputs = _inputs(directory, record)
        self.graph = session(directory / GRAPH)
        self._names = {one.name for one in self.graph.get_inputs()}

    @property
    def description(self) -> ModelDescription:
        """What it can give."""
        return ModelDescription(
            f"ONNX graph of {self.record.architecture}",
            frozenset({LOGITS, PROBABILITIES}),
            self.labels,
            tokenizer=self.inputs.hash,
        )

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> ModelOutput:
        """Return logits ``(B, C)`` of a right-padded batch, on the CPU."""
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        }
        arrays = {name: given[name].cpu().numpy() for name in self._names}
        return ModelOutput(logits=torch.from_numpy(self.graph.run(["logits"], arrays)[0]))

    def train(self, mode: bool = True) -> OnnxClassifier:
        """Do nothing: a graph has no dropout."""
        return self


def is_onnx_classifier(directory: Path) -> bool:
    """Return whether a directory holds such a graph."""
    return (directory / GRAPH).is_file()


def load_onnx_classifier(directory: Path) -> OnnxClassifier:
    """Load an exported directory.

    Raises:
        UserError: it was changed since, or ONNX Runtime cannot read it.
    """
    return OnnxClassifier(directory, read_export(directory))


def _inputs(directory: Path, record: ExportRecord) -> SentenceInputs:
    if (directory / WORDS).is_file():
        fields: dict[str, Any] = read_object(directory / WORDS, EXPORT_AGAIN)
        return WordInputs.from_dict(fields)
    from cmlm_kd.tokenization.loading import load_tokenizer

    return HuggingFaceInputs(load_tokenizer(str(directory), ("pad",)), record.most_source_tokens)
