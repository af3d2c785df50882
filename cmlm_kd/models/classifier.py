"""Any Hugging Face sequence classifier, as a teacher or as what a student is built on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import (
    ATTENTION_SCORES,
    HIDDEN_STATES,
    LOGITS,
    NOTHING_ELSE,
    PROBABILITIES,
    ModelDescription,
    Request,
)
from cmlm_kd.data.classification.inputs import HuggingFaceInputs
from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.layers import attention_scores, gives_attention_scores
from cmlm_kd.models.encoders.pretrained import check_weights, config_of, load_pretrained
from cmlm_kd.tokenization.loading import load_tokenizer
from cmlm_kd.tokenization.positions import longest_input

REQUIRED_TOKENS = ("pad",)


class SequenceClassifier(nn.Module):
    """A Hugging Face ``...ForSequenceClassification`` with its tokenizer.

    Args:
        model: the Hugging Face model; with one output it predicts a score.
        tokenizer: its tokenizer.
        name: what messages call it.
        max_length: longest input in tokens; 0: what the model takes.

    Attributes:
        model: the same.
        name: the same.
        inputs: what turns sentences into its ids.
        labels: names of its classes in the order of its logits; empty for a score.
        reads_pairs: whether it was trained on pairs of sentences; kept in its configuration, so that an
            exported directory says so, too; None where nothing does.

    Raises:
        UserError: if the model does not take inputs of that length, or all of the tokenizer's tokens.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, max_length: int = 0) -> None:
        super().__init__()
        if not torch.cuda.is_available():
            # The fused kernel's backward takes three times as long on CPUs, at the lengths of sentences.
            model.set_attn_implementation("eager")
        self.model = model
        self.name = name
        longest = longest_input(model.config, tokenizer, name)
        if not 0 <= max_length <= longest or 0 < max_length < 3:
            raise UserError(
                f"--max-length is {max_length}; {name} takes 3 to {longest} tokens (0 stands for the most it "
                "takes)"
            )
        self.inputs = HuggingFaceInputs(tokenizer, max_length or longest)
        rows = model.get_input_embeddings().num_embeddings
        if len(tokenizer) > rows:
            raise UserError(
                f"{name}: the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}; give the "
                "model's own tokenizer"
            )
        self.labels = class_names(model.config)

    @property
    def reads_pairs(self) -> bool | None:
        """See the class."""
        return getattr(self.config, "reads_pairs", None)

    @reads_pairs.setter
    def reads_pairs(self, pairs: bool | None) -> None:
        self.config.reads_pairs = pairs

    @property
    def config(self) -> Any:
        """The Hugging Face configuration."""
        return self.model.config

    @property
    def description(self) -> ModelDescription:
        """What it can give."""
        config = self.config
        provides = {LOGITS, PROBABILITIES}
        if not config.is_encoder_decoder:
            provides.add(HIDDEN_STATES)
        if gives_attention_scores(self.model.base_model):
            provides.add(ATTENTION_SCORES)
        return ModelDescription(
            self.name,
            frozenset(provides),
            self.labels,
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads,
            self.inputs.hash,
            first_stands_for_all=not _is_causal(config),
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        request: Request = NOTHING_ELSE,
    ) -> ModelOutput:
        """Return logits ``(B, C)`` and what is asked for.

        Args:
            input_ids: ``(B, S)``, right-padded.
            attention_mask: ``(B, S)``, 0 on padding.
            token_type_ids: ``(B, S)``; ignored by models without such embeddings.
            request: what to keep besides the logits.
        """
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        if getattr(self.config, "type_vocab_size", 0) > 1:
            batch["token_type_ids"] = token_type_ids
        # A list keeps the layers it names and no others.
        with attention_scores(self.model.base_model, request.attention_scores, attention_mask) as scores:
            output = self.model(**batch, output_hidden_states=list(request.hidden_states))
        hidden = {layer: output.hidden_states[layer] for layer in request.hidden_states}
        if request.first_position:
            hidden = {layer: states[:, 0] for layer, states in hidden.items()}  # (B, d)
        return ModelOutput(
            logits=output.logits, hidden_states=hidden, attention_scores=scores, attention_mask=attention_mask
        )


def _is_causal(config: Any) -> bool:
    """Return whether the architecture writes on, as GPT-2 and XLNet, and classifies by the last position."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as causal,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES as masked,
    )

    return config.model_type in causal and config.model_type not in masked


def class_names(config: Any) -> tuple[str, ...]:
    """Return the classes of a Hugging Face configuration in the order of the logits; empty for a score."""
    if config.num_labels == 1:
        return ()
    names = {int(index): str(name) for index, name in config.id2label.items()}
    return tuple(names[index] for index in range(config.num_labels))


def load_classifier(name_or_path: str, max_length: int = 0, role: str = "teacher") -> SequenceClassifier:
    """Load a fine-tuned classifier, weights in float32, in evaluation mode.

    Args:
        name_or_path: Hugging Face directory or hub name.
        max_length: longest input in tokens; 0: what the model takes.
        role: what messages call it.

    Raises:
        UserError: if nothing can be loaded, it has no classification head, its classes do not exclude each
            other, or it has no tokenizer.
    """
    from transformers import AutoModelForSequenceClassification

    model, missing = load_pretrained(AutoModelForSequenceClassification, name_or_path)
    base = model.base_model_prefix + "."
    check_weights(
        f"{role} {name_or_path!r} is no fine-tuned classifier: it",
        (name for name in missing if not name.startswith(base) or "pooler" not in name),
        "; fine-tune it first with --criterion sentence_classification and 'cmlm-kd export'",
    )
    if model.config.problem_type == "multi_label_classification":
        raise UserError(
            f"{role} {name_or_path!r} has the problem_type 'multi_label_classification': any number of its "
            "classes can be right at once, and here exactly one is; give a classifier with one class a text"
        )
    tokenizer = load_tokenizer(name_or_path, REQUIRED_TOKENS)
    return SequenceClassifier(model, tokenizer, f"{role} {name_or_path}", max_length).eval()


def classifier_of_config(
    description: Mapping[str, Any], tokenizer: Any, name: str, max_length: int
) -> SequenceClassifier:
    """Return the architecture that ``config.to_dict()`` described, with random weights."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_config(config_of(description))  # type: ignore[no-untyped-call]
    return SequenceClassifier(model, tokenizer, name, max_length)


def describe_config(config: Any) -> str:
    """Return a configuration as JSON, the form in which checkpoints carry it."""
    return json.dumps(config.to_dict(), default=str)
