"""A masked language model as a teacher of running text: predictions, hidden states, attention scores."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.api.needs import LOGITS, ModelDescription, Request
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.heads import has_head
from cmlm_kd.models.encoders.pretrained import load_masked_lm, model_hash
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.system.transformers_reports import without_reports
from cmlm_kd.tokenization.loading import load_tokenizer
from cmlm_kd.tokenization.positions import usable_positions


class MaskedLMTeacher(nn.Module):
    """A teacher for running text; see :func:`load_masked_lm_teacher`.

    Args:
        model: the masked language model.
        description: what it can give.

    Attributes:
        model: the same.
        description: the same.
    """

    def __init__(self, model: MaskedLM, description: ModelDescription) -> None:
        super().__init__()
        self.model, self.description = model, description

    @property
    def hash(self) -> str:
        """Of its configuration and weights."""
        return model_hash(self.model.config, self.model.model)

    @property
    def max_length(self) -> int:
        """Positions of the longest input it takes."""
        return usable_positions(self.model.config)

    @property
    def predicts(self) -> bool:
        """Whether it has a trained masked-LM head."""
        return LOGITS in self.description.gives

    @torch.no_grad()
    def signal(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        masked_index: Tensor,
        request: Request,
        *,
        dropout: bool = False,
    ) -> TeacherSignal:
        """Return what it says about a batch, and nothing that is not asked for; no gradients.

        Args:
            input_ids: ``(B, S)`` ids with hidden pieces.
            attention_mask: ``(B, S)``, 0 on padding.
            masked_index: ``(M,)`` positions that were hidden, counted over the batch.
            request: what to compute.
            dropout: run in training mode, as some released code does.
        """
        self.to(input_ids.device).train(dropout)
        output = self.model.observe(input_ids, attention_mask, masked_index, request)
        return TeacherSignal(
            () if output.logits is None else (output.logits,),
            hidden_states=output.hidden_states,
            attention_scores=output.attention_scores,
            features=output.features,
            weight=output.weight,
            bias=output.bias,
        )


def load_masked_lm_teacher(name_or_path: str) -> MaskedLMTeacher:
    """Load a teacher in float32 and evaluation mode.

    Args:
        name_or_path: Hugging Face directory or hub name of a masked language model, or of an encoder without
            head, which then gives hidden states and attention scores alone.

    Raises:
        UserError: if nothing can be loaded, weights of the encoder are missing, or it has no tokenizer.
    """
    with without_reports():
        loaded, report = load_masked_lm(name_or_path)
    missing = set(report["missing_keys"]) | {key for key, *_ in report["mismatched_keys"]}
    prefix = loaded.base_model_prefix + "."
    lost = sorted(name for name in missing if name.startswith(prefix) and "pooler" not in name)
    if lost:
        raise UserError(
            f"teacher {name_or_path!r} has no weights for {len(lost)} tensors of its encoder, such as "
            f"{lost[0]}; give a directory that save_pretrained wrote"
        )
    model = MaskedLM(loaded)
    model.requires_grad_(False)
    tokenizer = vocabulary_hash(load_tokenizer(name_or_path))
    predicts = has_head(loaded, missing)
    return MaskedLMTeacher(
        model, model.describe(f"teacher {name_or_path}", tokenizer, predicts=predicts)
    ).eval()


def vocabulary_hash(tokenizer: Any) -> str:
    """Return a hash of which piece has which id: what teacher and student must have in common."""
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(vocabulary.encode()).hexdigest()
