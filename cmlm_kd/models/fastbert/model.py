"""An encoder with a classifier on each of its layers (FastBERT, Liu et al., 2020).

The classifier on the last layer is the teacher, those on the others are branches; all have the released
code's form (``run_fastbert.py``): a narrow layer, self-attention over it, the first position, a layer of its
own, the outputs. Training has two stages: ``teacher`` trains the encoder and the teacher classifier on
labels; ``branches`` freezes both and trains the branches on what the teacher classifier says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import EXITS, LOGITS, NOTHING_ELSE, PROBABILITIES, ModelDescription, Needs, Request
from cmlm_kd.criteria.checks import Reading
from cmlm_kd.data.classification.inputs import SentenceInputs
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import FASTBERT
from cmlm_kd.models.classifier import SequenceClassifier, class_names, describe_config
from cmlm_kd.models.encoders.families import encoder_layers
from cmlm_kd.models.encoders.layers import additive_mask, check_layerwise, embed, run_layer
from cmlm_kd.models.encoders.packed_linear import pack_linear_layers
from cmlm_kd.models.encoders.pretrained import config_of
from cmlm_kd.models.fastbert.branch import (
    TYPICAL_ROWS,
    Branch,
    BranchSettings,
    FusedBranch,
    check_number_of_classes,
)
from cmlm_kd.system.transformers_reports import without_reports

ARCHITECTURE = FASTBERT

Stage = Literal["teacher", "branches"]


class FastBERTClassifier(nn.Module):
    """An encoder that can be left after every layer; without being told to, it is its teacher classifier.

    Args:
        config: Hugging Face configuration of the encoder, with the names of the classes.
        tokenizer: of the encoder.
        settings: form of the classifiers.
        max_length: longest input in tokens; 0: what the encoder takes.

    Attributes:
        encoder: the Hugging Face encoder, without pooler.
        classifiers: one :class:`Branch` a layer; the last is the teacher classifier.
        inputs: what turns sentences into the encoder's ids.
        labels: names of the classes in the order of the logits.
        reads_pairs: whether it was trained on pairs of sentences; None where nothing says so.
        stage: ``branches`` once the branches are, or were, trained.
        speed: the threshold that was calibrated for the model, in [0, 1], or None.
        calibration: how it was, as JSON values, or None.
        signature: KD signature of the training of its branches, or None.

    Raises:
        UserError: for an encoder that cannot be run layer by layer, has one layer, or fewer than two classes.
    """

    inputs: SentenceInputs

    def __init__(
        self, config: Any, tokenizer: Any, settings: BranchSettings | None = None, max_length: int = 0
    ) -> None:
        super().__init__()
        from transformers import AutoModelForSequenceClassification

        check_layerwise(config, "fastbert: the encoder")
        check_number_of_classes(config.num_labels)
        if config.num_hidden_layers < 2:
            raise UserError("fastbert: an encoder of one layer has nothing to leave out; take two or more")
        with without_reports():
            model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
        whole = SequenceClassifier(model, tokenizer, "student fastbert", max_length)
        self.settings = settings or BranchSettings()
        self.inputs, self.labels = whole.inputs, class_names(config)
        self.reads_pairs: bool | None = None
        self.encoder: Any = whole.model.base_model
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None
        self.classifiers = nn.ModuleList(
            Branch(config.hidden_size, len(self.labels), self.settings) for _ in self.layers
        )
        self.fused = nn.ModuleList()
        self._attention_for_training: str | None = None  # None: it is the encoder's now
        self.register_load_state_dict_post_hook(_fuse_again)  # type: ignore[no-untyped-call]
        self.speed: float | None = None
        self.calibration: dict[str, Any] | None = None
        self.signature: str | None = None
        self.begin_stage("teacher")

    @property
    def config(self) -> Any:
        """The Hugging Face configuration of the encoder."""
        return self.encoder.config

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The encoder's layers, first to last."""
        return encoder_layers(self.encoder)

    @property
    def teacher(self) -> nn.Module:
        """The teacher classifier."""
        return self.classifiers[-1]

    @property
    def exits(self) -> nn.ModuleList:
        """What gives the logits of each layer: the classifiers, or their fast form for inference."""
        return self.fused if len(self.fused) else self.classifiers

    def _branches(self) -> Iterator[Branch]:
        return (branch for branch in self.classifiers if isinstance(branch, Branch))

    @property
    def description(self) -> ModelDescription:
        """What it can give, as any other classifier."""
        return ModelDescription(
            name=f"student {ARCHITECTURE}",
            provides=frozenset({LOGITS, PROBABILITIES, EXITS}),
            labels=self.labels,
            tokenizer=self.inputs.hash,
        )

    def begin_stage(self, stage: Stage, mode: Reading = "paper") -> None:
        """Say what is trained from here on; the rest is frozen.

        Args:
            stage: ``teacher`` for the encoder and its last classifier, ``branches`` for the others.
            mode: while branches are trained, ``paper`` runs the frozen part without dropout; ``original``
                with it, as the released code does.

        Raises:
            UserError: for another stage or mode.
        """
        for name, value, allowed in (("stage", stage, get_args(Stage)), ("mode", mode, get_args(Reading))):
            if value not in allowed:
                raise UserError(f"fastbert: {name} is {value!r}; allowed are {', '.join(allowed)}")
        self.stage, self.mode = stage, mode
        self.requires_grad_(stage == "branches")
        for part in (self.encoder, self.teacher):
            part.requires_grad_(stage == "teacher")
        self.train(self.training)

    def begin_training(self, needs: Needs) -> None:
        """Begin the stage that a criterion trains: ``branches`` if it reads them, or else ``teacher``.

        A threshold that was calibrated before is forgotten.
        """
        self.speed = self.calibration = self.signature = None
        if needs.student.exits:
            self.begin_stage("branches", "original" if needs.teacher_dropout else "paper")
        else:
            self.begin_stage("teacher")

    def train(self, mode: bool = True) -> FastBERTClassifier:
        """Switch dropout on or off; what is frozen in mode ``paper`` stays without."""
        super().train(mode)  # linear layers drop what is packed
        if mode:
            self.fused = nn.ModuleList()
        if mode and self._attention_for_training is not None:
            self.encoder.set_attn_implementation(self._attention_for_training)
            self._attention_for_training = None
        if self.stage == "branches" and self.mode == "paper":
            for part in (self.encoder, self.teacher):
                part.eval()
        return self

    def for_inference(self) -> FastBERTClassifier:
        """Make it fast until :meth:`train`, in float32; returns itself, in evaluation mode.

        Weights of linear layers are packed for oneDNN (:mod:`cmlm_kd.models.encoders.packed_linear`), those
        of classifiers multiplied together. Encoders that can take torch's fused attention, which on CPUs
        saves some 4 % of long batches, but whose backward is slow. Weights that are loaded later are seen;
        call it again after any other change of them.
        """
        if getattr(self.encoder, "_supports_sdpa", False) and self._attention_for_training is None:
            self._attention_for_training = self.config._attn_implementation
            self.encoder.set_attn_implementation("sdpa")
        self.float().eval()
        pack_linear_layers(self.encoder, TYPICAL_ROWS)
        self.fused = nn.ModuleList(FusedBranch(branch) for branch in self._branches()).eval()
        return self

    def embed(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        padded: bool | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the first layer reads: states ``(B, S, d)`` and the additive mask ``(B, 1, 1, S)``.

        Args:
            input_ids: ``(B, S)``, right-padded.
            attention_mask: ``(B, S)``, 0 on padding.
            token_type_ids: ``(B, S)``.
            padded: whether there is padding; a batch without gets no mask, which attention is faster without.
                None looks, outside of training: the host waits for the answer.
        """
        states = embed(self.encoder, input_ids, token_type_ids)  # (B, S, d)
        if padded is None:
            padded = self.training or not bool(attention_mask.all())
        return states, additive_mask(attention_mask, states.dtype) if padded else None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        request: Request = NOTHING_ELSE,
    ) -> ModelOutput:
        """Return the teacher classifier's logits, ``(B, C)``, and the branches' if they are asked for.

        Args:
            input_ids: ``(B, S)``, right-padded.
            attention_mask: ``(B, S)``, 0 on padding.
            token_type_ids: ``(B, S)``; ignored by encoders without such embeddings.
            request: ``exits`` runs the branches; nothing else can be asked for.
        """
        if request.exits:
            exits = self.all_logits(input_ids, attention_mask, token_type_ids)  # (L, B, C)
            return ModelOutput(logits=exits[-1], exits=exits)
        return ModelOutput(logits=self.last_logits(*self.embed(input_ids, attention_mask, token_type_ids)))

    def last_logits(self, states: Tensor, padding: Tensor | None) -> Tensor:
        """Return the teacher classifier's logits, ``(B, C)``, of what :meth:`embed` returned; no branch
        runs."""
        for layer in self.layers:
            states = run_layer(layer, states, padding)
        return self.exits[-1](states, padding)  # type: ignore[no-any-return]

    def all_logits(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the logits of each layer's classifier, ``(L, B, C)``; the last are the teacher's."""
        states, padding = self.embed(input_ids, attention_mask, token_type_ids)
        logits = []
        for layer, classifier in zip(self.layers, self.exits, strict=True):
            states = run_layer(layer, states, padding)
            logits.append(classifier(states, padding))
        return torch.stack(logits)

    def state_of_architecture(self) -> str:
        """Return, as JSON, what :meth:`from_state` rebuilds it from."""
        own: dict[str, Any] = {"branches": asdict(self.settings), "stage": self.stage, "speed": self.speed}
        own |= {"max_length": self.inputs.max_length, "signature": self.signature}
        own |= {} if self.reads_pairs is None else {"reads_pairs": self.reads_pairs}
        own |= {} if self.calibration is None else {"calibration": self.calibration}
        return json.dumps({**json.loads(describe_config(self.config)), ARCHITECTURE: own})

    @classmethod
    def from_state(cls, described: str, tokenizer: Any) -> FastBERTClassifier:
        """Return the model that :meth:`state_of_architecture` described, with random weights."""
        document = json.loads(described)
        own = document.pop(ARCHITECTURE)
        model = cls(config_of(document), tokenizer, BranchSettings(**own["branches"]), own["max_length"])
        model.begin_stage(own["stage"])
        model.speed, model.calibration = own["speed"], own.get("calibration")
        model.signature, model.reads_pairs = own["signature"], own.get("reads_pairs")
        return model


def _fuse_again(model: nn.Module, _: object) -> None:
    """Let the classifiers' form for inference follow weights that were loaded."""
    if isinstance(model, FastBERTClassifier) and len(model.fused):
        model.for_inference()
