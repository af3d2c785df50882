"""A masked language model as a teacher of unlabelled text: predictions, hidden states, attention scores."""

from __future__ import annotations

import torch
from torch import nn

from cmlm_kd.api.needs import LOGITS, NOTHING_ELSE, ModelDescription, Request
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.api.sources import SignalSource, TeacherBatch
from cmlm_kd.models.encoders.heads import has_head
from cmlm_kd.models.encoders.pretrained import check_weights, load_masked_lm, model_hash, of_encoder
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.tokenization.loading import load_tokenizer, vocabulary_hash
from cmlm_kd.tokenization.positions import usable_positions


class MaskedLMTeacher(nn.Module, SignalSource):
    """A teacher for unlabelled text; see :func:`load_masked_lm_teacher`.

    Args:
        model: the masked language model.
        description: what it can give.

    Attributes:
        model: the same.
    """

    def __init__(self, model: MaskedLM, description: ModelDescription) -> None:
        super().__init__()
        self.model, self._description = model, description

    @property
    def description(self) -> ModelDescription:
        """What it can give."""
        return self._description

    @property
    def hashes(self) -> list[str]:
        """Of its configuration and weights."""
        return [model_hash(self.model.config, self.model.model)]

    @property
    def max_length(self) -> int:
        """Positions of the longest input it takes."""
        return usable_positions(self.model.config)

    @property
    def predicts(self) -> bool:
        """Whether it has a trained masked-LM head."""
        return LOGITS in self.description.provides

    @torch.no_grad()
    def signal(
        self, batch: TeacherBatch, request: Request = NOTHING_ELSE, *, dropout: bool = False
    ) -> TeacherSignal:
        """Return its output for a batch, and nothing that is not asked for; see :meth:`SignalSource.signal`.

        Args:
            batch: of its inputs are read ``input_ids`` and ``attention_mask``, ``(B, S)`` with masked tokens,
                and ``masked_index``, ``(M,)`` the masked positions, counted over the batch.
            request: what to compute.
            dropout: run in training mode, as some released code does.
        """
        ids = batch.inputs["input_ids"]
        self.to(ids.device).train(dropout)
        return TeacherSignal(
            (self.model.observe(ids, batch.inputs["attention_mask"], batch.inputs["masked_index"], request),)
        )


def load_masked_lm_teacher(name_or_path: str) -> MaskedLMTeacher:
    """Load a teacher in float32 and evaluation mode.

    Args:
        name_or_path: Hugging Face directory or hub name of a masked language model, or of an encoder without
            head, which then gives hidden states and attention scores alone.

    Raises:
        UserError: if nothing can be loaded, weights of the encoder are missing, or it has no tokenizer.
    """
    loaded, missing = load_masked_lm(name_or_path)
    check_weights(
        f"teacher {name_or_path!r}",
        of_encoder(loaded, missing),
        "; give a directory that save_pretrained wrote",
        tensors="tensors of its encoder",
    )
    model = MaskedLM(loaded)
    model.requires_grad_(False)
    tokenizer = vocabulary_hash(load_tokenizer(name_or_path))
    predicts = has_head(loaded, missing)
    return MaskedLMTeacher(
        model, model.describe(f"teacher {name_or_path}", tokenizer, predicts=predicts)
    ).eval()
