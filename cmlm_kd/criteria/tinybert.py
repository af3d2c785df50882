"""``tinybert_kd``: TinyBERT's distillation, general, then task by task in two stages (Jiao et al., 2020,
"TinyBERT: Distilling BERT for Natural Language Understanding").

For a sentence of l tokens, attention scores A before the softmax (h heads), hidden states H (width d, of the
student d') and logits z over C classes, eq. 7-10::

    attention  = sum over layers   1/h sum over heads  MSE(A_student, A_teacher)
    hidden     = sum over layers   MSE(H_student W_h, H_teacher)
    embedding  = MSE(E_student W_e, E_teacher)
    prediction = - sum over classes  softmax(z_teacher / T) log softmax(z_student / T)      no T^2

Stage ``intermediate`` lets the student imitate embeddings, hidden states and attention scores of the layers
that a map pairs: over unlabelled text it is the general distillation, over a task's sentences the first stage
of the task's; stage ``prediction`` then lets it imitate the logits::

    intermediate = w_e embedding + w_h hidden + w_a attention
    prediction   = prediction                    (scores of regression: squared error)

Every term is one value per sentence, ``(B,)``: a sum over the batch divided by B is the loss, and it stays
the same however a batch is cut into micro-batches. Two readings of MSE are available:

=========  ==============================================  ===============================================
           ``paper``                                       ``original`` (``task_distill.py``, lines 903-975)
=========  ==============================================  ===============================================
padding    left out: the mean is over the sentence's own   counted: the mean is over all positions of the
           l x l scores and l x d numbers                  padded batch
scores     as they are                                     those at or below -100, and padding's columns, 0
C classes  summed over                                     divided by C
=========  ==============================================  ===============================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from cmlm_kd.api.criterion import CriterionOutput, SentenceCriterion, Term, hard_label_loss
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ATTENTION_SCORES, ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import Reading, check_same_heads, required
from cmlm_kd.criteria.layers import LayerMap, ProjectionKind, StateProjection, layer_map
from cmlm_kd.criteria.masked_lm_loss import masked_output
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import soft_cross_entropy
from cmlm_kd.losses.layer_terms import attention_term, hidden_term
from cmlm_kd.system.ranges import NOT_NEGATIVE, POSITIVE, check_settings, setting


@dataclass(frozen=True)
class TinyBertConfig:
    """Settings of :class:`TinyBertKD`; the defaults are the paper's.

    Raises:
        UserError: for a value outside its range.
    """

    kd_stage: Literal["intermediate", "prediction"] = field(
        default="intermediate",
        metadata=setting(
            "intermediate: embeddings, hidden states, attention; prediction: logits, afterwards"
        ),
    )
    kd_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata=setting(
            "paper: means over a sentence's own positions; original: the released code's arithmetic, "
            "padding counted, classes divided by, regression on the gold scores"
        ),
    )
    kd_layer_map: str = field(
        default="uniform",
        metadata=setting(
            "uniform, last, a teacher layer for each student layer (3,6,9,12), or pairs (2:6,4:12)"
        ),
    )
    kd_projection: Literal["auto", "shared", "separate", "layerwise", "none"] = field(
        default="auto",
        metadata=setting(
            "from the student's width to the teacher's; auto: separate in paper, shared in original "
            "mode; separate: one for embeddings, one for layers, no bias; none: widths must be equal"
        ),
    )
    kd_embedding_weight: float = field(
        default=1.0, metadata=setting("weight w_e of the embedding term; 0 leaves it out", NOT_NEGATIVE)
    )
    kd_hidden_weight: float = field(
        default=1.0, metadata=setting("weight w_h of the hidden-state term; 0 leaves it out", NOT_NEGATIVE)
    )
    kd_attention_weight: float = field(
        default=1.0,
        metadata=setting(
            "weight w_a of the attention term; 0 leaves it out and lets head counts differ", NOT_NEGATIVE
        ),
    )
    kd_temperature: float = field(
        default=1.0, metadata=setting("temperature of the prediction stage, on both sides; no T^2", POSITIVE)
    )
    kd_teacher_dropout: bool = field(
        default=False,
        metadata=setting(
            "run the teacher with dropout, as the released code does (it never calls eval()); not with "
            "--teacher-cache"
        ),
    )

    def __post_init__(self) -> None:
        weights = {
            "--kd-embedding-weight": self.kd_embedding_weight,
            "--kd-hidden-weight": self.kd_hidden_weight,
            "--kd-attention-weight": self.kd_attention_weight,
        }
        check_settings("tinybert_kd", self)
        if not any(weights.values()) and self.kd_stage == "intermediate":
            raise UserError(
                f"tinybert_kd: {', '.join(weights)} are all 0, so that nothing would be learned; raise one"
            )

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        parts = [f"kd:tinybert|stage:{self.kd_stage}|mode:{self.kd_mode}"]
        if self.kd_stage == "prediction":
            parts.append(f"T:{self.kd_temperature:g}")
        else:
            weights = (self.kd_embedding_weight, self.kd_hidden_weight, self.kd_attention_weight)
            parts.append(f"layers:{self.kd_layer_map}|projection:{self.projection}")
            parts.append("weights:" + ",".join(f"{weight:g}" for weight in weights))
        return "|".join([*parts, f"dropout:{self.kd_teacher_dropout}"])

    @property
    def projection(self) -> ProjectionKind | None:
        """The kind of projection that ``kd_projection`` means, None for none."""
        if self.kd_projection == "none":
            return None
        if self.kd_projection == "auto":
            return "separate" if self.kd_mode == "paper" else "shared"
        return self.kd_projection


def prediction_term(student: Tensor, teacher: Tensor, temperature: float, mode: Reading) -> Tensor:
    """Return the soft cross entropy, ``(B,)``; no T^2 in paper or code.

    Args:
        student: logits ``(B, C)``.
        teacher: probabilities ``(B, C)`` at the same temperature.
        temperature: above 0.
        mode: ``original`` divides by C (``soft_cross_entropy`` of the released code is a mean over B and C).
    """
    # Eq. 10 has one temperature on both sides; the teacher's is in its probabilities already.
    crossed = soft_cross_entropy(student, teacher, temperature)  # (B,)
    return crossed / student.size(-1) if mode == "original" else crossed


@kd_criteria.register("tinybert_kd", config=TinyBertConfig)
class TinyBertKD(SentenceCriterion):
    """TinyBERT's distillation, for unlabelled text and for sentences; equations in the module docstring.

    Reads, in stage ``intermediate``, hidden states and attention scores of the mapped layers of student and
    teacher and the attention mask; in stage ``prediction``, logits of both (for regression in ``original``
    mode the gold scores alone).

    Terms per sentence: ``embedding_loss``, ``hidden_loss`` and ``attention_loss``, or ``prediction_loss``.

    Relation: with the maps and ``prediction_loss`` alone it is plain soft-label distillation without hard
    labels; ``pkd`` compares normalised [CLS] states instead of all positions.

    Smallest command: docs/criteria/tinybert_kd.md.
    """

    config: TinyBertConfig
    citation = """\
@inproceedings{jiao-etal-2020-tinybert,
    title = {{T}iny{BERT}: Distilling {BERT} for Natural Language Understanding},
    author = {Jiao, Xiaoqi and Yin, Yichun and Shang, Lifeng and Jiang, Xin and Chen, Xiao and Li, Linlin and
        Wang, Fang and Liu, Qun},
    booktitle = {Findings of EMNLP 2020},
    pages = {4163--4174},
    year = {2020},
    url = {https://aclanthology.org/2020.findings-emnlp.372},
}
"""
    levels = ("sentences", "text")
    layers: LayerMap
    projection: StateProjection | None = None

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Return the layers to keep, or the kind of logits to give.

        Raises:
            UserError: naming both models, if depths, widths or heads do not fit.
        """
        config = self.config
        if config.kd_stage == "prediction":
            if student.vocabulary:
                raise UserError(
                    f"tinybert_kd: --kd-stage prediction is about classes, and {student.name} learns from "
                    "unlabelled text; leave it out for the general distillation, or take distilbert_kd"
                )
            return self._prediction_needs(student)
        if teacher is None or not (student.layers and teacher.layers):
            return Needs(Request((0,)), Request((0,)))  # refused as for every criterion
        owner = f"tinybert_kd: {student.name} and {teacher.name}"
        self.layers = layer_map(config.kd_layer_map, student.layers, teacher.layers, owner=owner)
        _refuse_misfits(config, student, teacher)
        embeddings = (0,) if config.kd_embedding_weight else ()
        return Needs(
            student=self._request(embeddings, self.layers.student),
            teacher=self._request(embeddings, tuple(sorted(set(self.layers.teacher)))),
            teacher_dropout=config.kd_teacher_dropout,
            labels=False,
        )

    def _request(self, embeddings: tuple[int, ...], layers: tuple[int, ...]) -> Request:
        config = self.config
        return Request(
            hidden_states=embeddings + (layers if config.kd_hidden_weight else ()),
            attention_scores=layers if config.kd_attention_weight else (),
            predictions="none",
        )

    def _prediction_needs(self, student: ModelDescription) -> Needs:
        if student.is_regression and self.config.kd_mode == "original":
            return Needs()  # the gold scores alone
        return Needs(
            teacher=Request(),
            teacher_values="logits" if student.is_regression else "probabilities",
            teacher_dropout=self.config.kd_teacher_dropout,
            labels=student.is_regression,  # what kind of loss it is, is seen from them
        )

    def build_modules(self, student: ModelDescription, teacher: ModelDescription | None) -> nn.Module | None:
        """Return the projection of the student's states, None where there is nothing to project."""
        kind, config = self.config.projection, self.config
        if config.kd_stage == "prediction" or teacher is None or kind is None:
            return None
        layers = [0] * bool(config.kd_embedding_weight)
        layers += self.layers.student if config.kd_hidden_weight else ()
        if layers:
            self.projection = StateProjection(kind, layers, student.hidden_size, teacher.hidden_size)
        return self.projection

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the loss by which students are compared: of masked tokens, or of hard labels."""
        if student.positions is not None:
            return masked_output(student, target)
        return super().validation_loss(student, target)

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss of the stage, summed over sentences.

        Raises:
            ValueError: if the batch lacks what :meth:`needs` asked of the teacher.
        """
        config = self.config
        if config.kd_stage == "prediction":
            values = {"prediction_loss": self._prediction(student.sentence_logits(), target, teacher)}
        else:
            values = self._intermediate(student, required(teacher, "tinybert_kd"))
        weights = {
            "prediction_loss": 1.0,
            "embedding_loss": config.kd_embedding_weight,
            "hidden_loss": config.kd_hidden_weight,
            "attention_loss": config.kd_attention_weight,
        }
        sentences = len(target) if student.attention_mask is None else len(student.attention_mask)
        size = torch.tensor(sentences, device=target.device)
        terms = {name: Term(value.sum(), size) for name, value in values.items()}
        return CriterionOutput.weighted({name: weights[name] for name in values}, terms, size)

    def _prediction(self, logits: Tensor, target: Tensor, teacher: TeacherSignal | None) -> Tensor:
        """Return the value of each sentence, ``(B,)``."""
        config = self.config
        if target.is_floating_point():
            if config.kd_mode == "original":
                return hard_label_loss(logits, target)
            return hard_label_loss(logits, required(teacher, "tinybert_kd").logits.squeeze(-1))
        probs = required(teacher, "tinybert_kd").probabilities(config.kd_temperature)  # (B, C)
        return prediction_term(logits, probs, config.kd_temperature, config.kd_mode)

    def _intermediate(self, student: ModelOutput, teacher: TeacherSignal) -> dict[str, Tensor]:
        """Return the terms that have a weight, ``(B,)`` each, summed over layers."""
        config, mask = self.config, student.attention_mask
        mode: Reading = config.kd_mode

        def states(m: int, n: int) -> Tensor:
            own = student.hidden_states[m]  # (B, L, d')
            projected = own if self.projection is None else self.projection(own, m)  # (B, L, d)
            return hidden_term(projected, teacher.hidden_states[n], mask, mode)

        values = {}
        if config.kd_embedding_weight:  # eq. 9: layer 0 is the embeddings' output
            values["embedding_loss"] = states(0, 0)
        if config.kd_hidden_weight:  # eq. 8
            values["hidden_loss"] = torch.stack([states(m, n) for m, n in self.layers]).sum(0)  # (B,)
        if config.kd_attention_weight:  # eq. 7
            values["attention_loss"] = torch.stack(
                [
                    attention_term(student.attention_scores[m], teacher.attention_scores[n], mask, mode)
                    for m, n in self.layers
                ]
            ).sum(0)  # (B,)
        return values


def _refuse_misfits(config: TinyBertConfig, student: ModelDescription, teacher: ModelDescription) -> None:
    """Refuse widths and heads that the formula cannot compare, naming both models."""
    if config.kd_attention_weight:
        for model in (student, teacher):
            if ATTENTION_SCORES not in model.provides:
                raise UserError(
                    f"tinybert_kd: reads attention scores, which {model.name} does not give ({student.name}; "
                    f"{teacher.name}); pass --kd-attention-weight 0 to compare hidden states alone, or take "
                    "another model"
                )
        check_same_heads("tinybert_kd", student, teacher)
    compares_states = config.kd_embedding_weight or config.kd_hidden_weight
    if compares_states and config.projection is None and student.hidden_size != teacher.hidden_size:
        raise UserError(
            f"tinybert_kd: {student.name} and {teacher.name} have hidden states of width "
            f"{student.hidden_size} and {teacher.hidden_size}, and --kd-projection none leaves nothing "
            "between them; take shared, separate or layerwise"
        )
