"""BERT as a conditional masked language model (Chen et al., 2020, section 3.1).

The encoder and, where it has one, the transform of its masked-LM head are kept; the output layer is
re-dimensioned to the student's target vocabulary and starts from BERT's own word embeddings.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cmlm_kd.data.translation.pairs import PairBatch
from cmlm_kd.data.translation.vocabulary import NO_TEACHER_ID, UNK
from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.heads import split_masked_lm
from cmlm_kd.models.encoders.pretrained import load_encoder_and_transform


class ConditionalMaskedLM(nn.Module):
    """Predicts masked target tokens, given the source and the rest of the target on both sides.

    Args:
        encoder: a Hugging Face BERT-like encoder, without pooler.
        transform: what stands between the encoder and the vocabulary (dense, activation, LayerNorm), or None.
        vocabulary_size: entries of the student's target dictionary.
        output_size: what the output layer reads: the transform's output, or the encoder's hidden size.
    """

    def __init__(
        self, encoder: nn.Module, transform: nn.Module | None, vocabulary_size: int, output_size: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.transform = transform
        self.projection = nn.Linear(output_size, vocabulary_size)
        self.has_token_types = getattr(encoder.config, "type_vocab_size", 0) > 1

    @classmethod
    def from_pretrained(cls, name_or_path: str, target_ids: NDArray[np.int32]) -> ConditionalMaskedLM:
        """Start from a pre-trained encoder.

        Args:
            name_or_path: Hugging Face directory or hub name.
            target_ids: the teacher id of each target dictionary entry, ``(V,)``; entries that share an id
                share a start, padding entries start from the unknown token, as the released code's
                ``convert_embedding`` (``cmlm/model.py``) has it.

        Raises:
            UserError: if no encoder can be loaded, it has fewer tokens than the data use, or its word
                embeddings can not start an output layer.
        """
        encoder, transform = load_encoder_and_transform(name_or_path)
        embeddings = cast(Any, encoder).get_input_embeddings().weight  # (tokens, e)
        if int(target_ids.max()) >= len(embeddings):
            raise UserError(
                f"teacher {name_or_path!r} has {len(embeddings)} tokens, the data use token "
                f"{int(target_ids.max())}; prepare the data with this teacher's tokenizer"
            )
        size = _output_size(encoder, transform)
        if embeddings.shape[1] != size:
            raise UserError(
                f"teacher {name_or_path!r} has word embeddings of size {embeddings.shape[1]} but predicts "
                f"from vectors of size {size}, so its output layer can't start from the embeddings; take a "
                "model whose masked-LM head leads from the one to the other, or whose sizes are equal"
            )
        teacher = cls(encoder, transform, len(target_ids), size)
        pieces = np.where(target_ids == NO_TEACHER_ID, target_ids[UNK], target_ids)  # (V,)
        with torch.no_grad():
            teacher.projection.weight.copy_(embeddings[torch.from_numpy(pieces.astype(np.int64))])  # (V, e)
            teacher.projection.bias.zero_()
        return teacher

    @classmethod
    def from_config(cls, config: Any, vocabulary_size: int, *, has_transform: bool) -> ConditionalMaskedLM:
        """Build the architecture with random weights, to be filled from a checkpoint."""
        from transformers import AutoModelForMaskedLM

        model = AutoModelForMaskedLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
        encoder, transform = split_masked_lm(model, has_head=has_transform)
        return cls(encoder, transform, vocabulary_size, _output_size(encoder, transform))

    def set_dropout(self, probability: float) -> None:
        """Set every dropout of the encoder, as the released code does (``run_cmlm_finetuning.py``)."""
        for module in self.encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability
            elif isinstance(getattr(module, "attention_dropout", None), float):
                module.attention_dropout = probability  # type: ignore[assignment]

    def encode(self, batch: PairBatch) -> Tensor:
        """Return the encoder's states, ``(B, S, d)``."""
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if self.has_token_types:
            inputs["token_type_ids"] = batch.token_type_ids
        return self.encoder(**inputs).last_hidden_state  # type: ignore[no-any-return]

    def predict(self, states: Tensor) -> Tensor:
        """Return logits over the student's target vocabulary ``(M, V)`` for states ``(M, d)``."""
        if self.transform is not None:
            states = self.transform(states)  # (M, e)
        return self.projection(states)  # type: ignore[no-any-return]

    def forward(self, batch: PairBatch) -> Tensor:
        """Return logits over the student's target vocabulary at the masked positions, ``(M, V)``."""
        states = self.encode(batch).flatten(0, 1)  # (B * S, d)
        return self.predict(states.index_select(0, batch.masked_index))


def _output_size(encoder: nn.Module, transform: nn.Module | None) -> int:
    """Return the size of the vectors that the output layer reads: the width of the transform's last layer."""
    if transform is None:
        return int(cast(Any, encoder).config.hidden_size)
    return [parameter.shape[0] for parameter in transform.parameters()][-1]
