"""Any Hugging Face masked language model, its vocabulary applied to masked positions only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import (
    ATTENTION_SCORES,
    HIDDEN_STATES,
    LOGITS,
    PROBABILITIES,
    ModelDescription,
    Request,
)
from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.families import encoder_layers, family_of
from cmlm_kd.models.encoders.heads import has_head, without_output_layer
from cmlm_kd.models.encoders.layers import attention_scores, gives_attention_scores
from cmlm_kd.models.encoders.pretrained import config_of, load_masked_lm
from cmlm_kd.system.ranges import MODEL_SIZE, check_range
from cmlm_kd.tokenization.pieces import PieceTokenizer


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
            check_range(f"--{name.replace('_', '-')}", value, MODEL_SIZE, owner="bert_masked_lm", joint=", ")
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
        model, missing = load_masked_lm(name_or_path, with_reports=not with_head)
        if with_head and not has_head(model, missing):
            raise UserError(
                f"{name_or_path!r} has no masked-LM head, so that what it predicts means nothing; give a "
                "masked language model, or train a head with --task masked_lm_kd --criterion bert_mlm"
            )
        return cls(model)

    @classmethod
    def from_sizes(cls, sizes: BertSizes, tokenizer: PieceTokenizer, vocabulary: int = 0) -> MaskedLM:
        """Make a BERT with random weights for a tokenizer's tokens.

        Args:
            sizes: its shape.
            tokenizer: what turns text into its ids.
            vocabulary: tokens to choose from; 0: as many as the tokenizer has.

        Raises:
            UserError: if the sizes make no model.
        """
        from transformers import BertConfig, BertForMaskedLM

        sizes.check()
        config = BertConfig(
            vocab_size=vocabulary or len(tokenizer),
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
        from transformers import AutoModelForMaskedLM

        return cls(AutoModelForMaskedLM.from_config(config_of(description)))  # type: ignore[no-untyped-call]

    @property
    def config(self) -> Any:
        """The Hugging Face configuration."""
        return self.model.config

    def check_tokenizer(self, tokenizer: PieceTokenizer) -> None:
        """Raise UserError if the tokenizer has tokens that the model has no embedding for."""
        rows = self.model.get_input_embeddings().num_embeddings
        if len(tokenizer) > rows:
            raise UserError(
                f"the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}; "
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
            input_ids: ``(B, S)`` ids with masked tokens.
            attention_mask: ``(B, S)``, 0 on padding.
            masked_index: ``(M,)`` positions to predict, counted over the batch: ``row * S + column``.
            token_type_ids: ``(B, S)``, for models that tell sentences apart; 0 everywhere without it.
        """

        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        with _head_at(self.model.base_model, masked_index):
            output = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        return output.logits.squeeze(0)  # type: ignore[no-any-return]

    def observe(
        self, input_ids: Tensor, attention_mask: Tensor, masked_index: Tensor, request: Request
    ) -> ModelOutput:
        """Return what the model predicts, and what else is asked for, in one pass.

        Where the output layer is a matrix applied last (it is in all known families),
        predictions come as ``features``, ``weight`` and ``bias``, so that a loss may project them chunk by
        chunk; else as logits.

        Args:
            input_ids: ``(B, S)`` ids with masked tokens.
            attention_mask: ``(B, S)``, 0 on padding.
            masked_index: ``(M,)`` positions that are masked, counted over the batch: ``row * S + column``.
            request: where to predict, and which hidden states and attention scores to keep.
        """
        positions = _positions(request, attention_mask, masked_index)  # (N,)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        kept: dict[str, Any] = {"attention_mask": attention_mask, "positions": positions}
        with attention_scores(self.model.base_model, request.attention_scores, attention_mask) as scores:
            # A list keeps the layers it names and no others.
            layers = {"output_hidden_states": list(request.hidden_states)}
            if request.predictions == "none":
                with _no_layer_above(self.model.base_model, request):
                    output = self.model.base_model(**batch, **layers)
            else:
                with (
                    _head_at(self.model.base_model, positions),
                    without_output_layer(self.model) as layer,
                ):
                    output = self.model(**batch, **layers)
                predicted = output.logits.squeeze(0)  # (N, d) or (N, V)
                if layer.asked:
                    kept.update(features=predicted, weight=layer.weight, bias=layer.bias)
                else:
                    kept.update(logits=predicted)
        hidden = {layer: output.hidden_states[layer] for layer in request.hidden_states}
        return ModelOutput(hidden_states=hidden, attention_scores=scores, **kept)

    def describe(self, name: str, tokenizer: str, *, predicts: bool = True) -> ModelDescription:
        """Return what the model can give.

        Args:
            name: what messages call it.
            tokenizer: hash of its tokenizer's vocabulary.
            predicts: whether its head is more than random weights.
        """
        config = self.config
        provides = {HIDDEN_STATES} | ({LOGITS, PROBABILITIES} if predicts else set())
        if gives_attention_scores(self.model.base_model):
            provides.add(ATTENTION_SCORES)
        return ModelDescription(
            name,
            frozenset(provides),
            layers=config.num_hidden_layers,
            hidden_size=config.hidden_size,
            heads=config.num_attention_heads,
            tokenizer=tokenizer,
            vocabulary=config.vocab_size,
        )


def _positions(request: Request, attention_mask: Tensor, masked_index: Tensor) -> Tensor:
    if request.predictions == "masked":
        return masked_index
    if request.predictions == "none":
        return masked_index[:0]
    return attention_mask.flatten().nonzero().squeeze(1)  # (N,)


@contextlib.contextmanager
def _head_at(encoder: nn.Module, positions: Tensor) -> Iterator[None]:
    """Let the head run at some positions of the batch alone, whatever the names of encoder and head."""

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        states = output.last_hidden_state  # (B, S, d)
        output.last_hidden_state = states.flatten(0, 1).index_select(0, positions).unsqueeze(0)  # (1, N, d)
        return output

    handle = encoder.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _no_layer_above(encoder: Any, request: Request) -> Iterator[None]:
    """Let the layers above those asked for pass on what they get, where layers can be skipped."""
    deepest = max((*request.hidden_states, *request.attention_scores), default=0)
    stand_alone = family_of(encoder.config).layers.stand_alone
    skipped = encoder_layers(encoder)[deepest:] if stand_alone else ()
    for layer in skipped:
        layer.forward = _pass_on  # an attribute of the instance hides the method of the class
    try:
        yield
    finally:
        for layer in skipped:
            del layer.forward


def _pass_on(states: Tensor, *_context: Any, **_settings: Any) -> Tensor:
    return states
