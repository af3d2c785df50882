"""BERT as a conditional masked language model (Chen et al., 2020, section 3.1).

The encoder and, where it has one, the transform of its masked-LM head are kept; the output layer is re-dimensioned
to the student's target vocabulary and starts from BERT's own word embeddings.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cmlm_kd.errors import UserError
from cmlm_kd.teachers.pairs import PairBatch
from cmlm_kd.vocabulary import NO_TEACHER_ID


class ConditionalMaskedLM(nn.Module):
    """Predicts masked target pieces, given the source and the rest of the target on both sides.

    Args:
        encoder: a Hugging Face BERT-like encoder, without pooler.
        transform: what stands between the encoder and the vocabulary (dense, activation, LayerNorm), or None.
        vocabulary_size: entries of the student's target dictionary.
    """

    def __init__(self, encoder: nn.Module, transform: nn.Module | None, vocabulary_size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.transform = transform
        self.projection = nn.Linear(encoder.config.hidden_size, vocabulary_size)
        self.has_token_types = getattr(encoder.config, "type_vocab_size", 0) > 1

    @classmethod
    def from_pretrained(cls, name_or_path: str, target_ids: NDArray[np.int32]) -> ConditionalMaskedLM:
        """Start from a pre-trained encoder.

        Args:
            name_or_path: Hugging Face directory or hub name.
            target_ids: the teacher id of each target dictionary entry; entries that share an id share a start,
                padding entries start from the unknown token, as the released code's ``convert_embedding`` has it.

        Raises:
            UserError: if no encoder can be loaded, or it has fewer pieces than the data use.
        """
        model = _load_pretrained(name_or_path)
        encoder, transform = split_masked_lm(model)
        embeddings = cast(nn.Embedding, encoder.get_input_embeddings()).weight
        if int(target_ids.max()) >= len(embeddings):
            raise UserError(
                f"teacher {name_or_path!r} has {len(embeddings)} pieces, the data use piece {int(target_ids.max())}; "
                "prepare the data with this teacher's tokenizer"
            )
        teacher = cls(encoder, transform, len(target_ids))
        unknown = int(target_ids[3])
        rows = torch.from_numpy(np.where(target_ids == NO_TEACHER_ID, unknown, target_ids).astype(np.int64))
        with torch.no_grad():
            teacher.projection.weight.copy_(embeddings[rows])  # (V, d)
            teacher.projection.bias.zero_()
        return teacher

    @classmethod
    def from_config(cls, config: Any, vocabulary_size: int, *, has_transform: bool) -> ConditionalMaskedLM:
        """Build the architecture with random weights, to be filled from a checkpoint."""
        from transformers import AutoModel, AutoModelForMaskedLM

        if has_transform:
            encoder, transform = split_masked_lm(AutoModelForMaskedLM.from_config(config))
        else:
            encoder, transform = split_masked_lm(AutoModel.from_config(config))
        return cls(encoder, transform, vocabulary_size)

    def set_dropout(self, probability: float) -> None:
        """Set every dropout of the encoder, as the released code does (``run_cmlm_finetuning.py``)."""
        for module in self.encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability

    def hidden(self, batch: PairBatch) -> Tensor:
        """Return what the vocabulary layer reads at the masked positions, ``(M, d)``."""
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if self.has_token_types:
            inputs["token_type_ids"] = batch.token_type_ids
        states = self.encoder(**inputs).last_hidden_state  # (B, S, d)
        masked = states.flatten(0, 1).index_select(0, batch.masked_index)  # (M, d)
        return masked if self.transform is None else self.transform(masked)

    def forward(self, batch: PairBatch) -> Tensor:
        """Return logits over the student's target vocabulary at the masked positions, ``(M, V)``."""
        return self.projection(self.hidden(batch))  # type: ignore[no-any-return]


def split_masked_lm(model: Any) -> tuple[nn.Module, nn.Module | None]:
    """Take a Hugging Face model apart into its encoder and its masked-LM head's transform (None if it has no head).

    Raises:
        UserError: if the model has a head of an unknown form.
    """
    encoder = model.base_model
    if encoder is model:
        _drop_pooler(encoder)
        return encoder, None
    _drop_pooler(encoder)
    if hasattr(model, "cls"):  # BERT
        return encoder, model.cls.predictions.transform
    if hasattr(model, "lm_head") and hasattr(model.lm_head, "layer_norm"):  # RoBERTa, XLM-R, CamemBERT
        head = model.lm_head
        return encoder, nn.Sequential(head.dense, nn.GELU(), head.layer_norm)
    if hasattr(model, "vocab_transform"):  # DistilBERT
        return encoder, nn.Sequential(model.vocab_transform, nn.GELU(), model.vocab_layer_norm)
    raise UserError(
        f"{type(model).__name__} has a masked-LM head of an unknown form; "
        "supported are BERT's, RoBERTa's (with XLM-R and CamemBERT) and DistilBERT's"
    )


def _drop_pooler(encoder: Any) -> None:
    if hasattr(encoder, "pooler"):
        encoder.pooler = None  # it reads [CLS] alone and would be a parameter without gradient


def _load_pretrained(name_or_path: str) -> Any:
    """Load with the masked-LM head if the checkpoint has one, else the bare encoder; weights in float32."""
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    try:
        config = AutoConfig.from_pretrained(name_or_path)
        architectures = config.architectures or []
        with_head = any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in architectures)
        loader = AutoModelForMaskedLM if with_head else AutoModel
        return loader.from_pretrained(name_or_path, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"cannot load an encoder from {name_or_path!r}: {str(error).splitlines()[0]}; "
            "give a directory written by save_pretrained, or a hub name that can be reached"
        ) from error
