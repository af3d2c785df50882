"""Any Hugging Face masked language model, its vocabulary applied to masked positions only."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.errors import UserError
from cmlm_kd.teachers.pretrained import has_head, load_masked_lm, without_reports
from cmlm_kd.tokenizers import PieceTokenizer


@dataclass(frozen=True)
class BertSizes:
    """The shape of a BERT that starts from random weights."""

    layers: int = 4
    hidden_size: int = 192
    heads: int = 4
    ffn_size: int = 768
    positions: int = 512

    def check(self) -> None:
        """Raise UserError unless the sizes make a model."""
        for name, value in vars(self).items():
            if value < 1:
                raise UserError(
                    f"bert_masked_lm: --{name.replace('_', '-')} is {value}, it must be at least 1"
                )
        if self.hidden_size % self.heads:
            raise UserError(
                f"bert_masked_lm: --hidden-size {self.hidden_size} is no multiple of --heads {self.heads}; "
                "every head takes an equal part"
            )


class MaskedLM(nn.Module):
    """A masked language model that predicts the masked positions and nothing else.

    Args:
        model: a Hugging Face model with a masked-LM head that works on each position alone (they all do).
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        if not torch.cuda.is_available():
            # The fused kernel's backward takes three times as long on CPUs, at the lengths of sentences.
            model.set_attn_implementation("eager")
        self.model = model

    @classmethod
    def from_pretrained(cls, name_or_path: str, *, with_head: bool = False) -> MaskedLM:
        """Load a Hugging Face directory or hub name, weights in float32.

        Args:
            name_or_path: what to load.
            with_head: refuse an encoder without a masked-LM head, instead of giving it a random one.

        Raises:
            UserError: if no masked language model can be loaded from it.
        """
        with without_reports() if with_head else contextlib.nullcontext():
            model, report = load_masked_lm(name_or_path)
        if with_head and not has_head(model, report["missing_keys"]):
            raise UserError(
                f"{name_or_path!r} has no masked-LM head, so that what it predicts means nothing; give a "
                "masked language model, or train a head with --task masked_lm_kd --criterion bert_mlm"
            )
        return cls(model)

    @classmethod
    def from_sizes(cls, sizes: BertSizes, tokenizer: PieceTokenizer) -> MaskedLM:
        """Make a BERT with random weights for a tokenizer's pieces.

        Raises:
            UserError: if the sizes make no model.
        """
        from transformers import BertConfig, BertForMaskedLM

        sizes.check()
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=sizes.hidden_size,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.ffn_size,
            max_position_embeddings=sizes.positions,
            pad_token_id=tokenizer.special.pad,
        )
        return cls(BertForMaskedLM(config))

    @classmethod
    def from_config(cls, description: dict[str, Any]) -> MaskedLM:
        """Make the architecture that ``config.to_dict()`` described, with random weights."""
        from transformers import AutoConfig, AutoModelForMaskedLM

        settings = {key: value for key, value in description.items() if key != "model_type"}
        config = AutoConfig.for_model(description["model_type"], **settings)
        return cls(AutoModelForMaskedLM.from_config(config))  # type: ignore[no-untyped-call]

    @property
    def config(self) -> Any:
        """The Hugging Face configuration."""
        return self.model.config

    def check_tokenizer(self, tokenizer: PieceTokenizer) -> None:
        """Raise UserError if the tokenizer has pieces that the model has no embedding for."""
        rows = self.model.get_input_embeddings().num_embeddings
        if len(tokenizer) > rows:
            raise UserError(
                f"the tokenizer has {len(tokenizer)} pieces, the model embeds {rows}; "
                "give the model's own tokenizer"
            )

    def set_dropout(self, probability: float) -> None:
        """Set every dropout of the model."""
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        masked_index: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``(M, V)`` at the masked positions.

        Args:
            input_ids: ``(B, S)`` ids with hidden pieces.
            attention_mask: ``(B, S)``, 0 on padding.
            masked_index: ``(M,)`` positions to predict, counted over the batch: ``row * S + column``.
            token_type_ids: ``(B, S)``, for models that tell sentences apart; 0 everywhere without it.
        """

        def keep_masked(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            states = output.last_hidden_state  # (B, S, d)
            output.last_hidden_state = (
                states.flatten(0, 1).index_select(0, masked_index).unsqueeze(0)
            )  # (1, M, d)
            return output

        # Between encoder and head, whatever their names: the head then costs M positions, not B * S.
        handle = self.model.base_model.register_forward_hook(keep_masked)
        try:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            output = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        finally:
            handle.remove()
        return output.logits.squeeze(0)  # type: ignore[no-any-return]
