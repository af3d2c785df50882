"""The needs of a criterion: what it reads of student and teacher, and whether they can give it.

A criterion declares its :class:`Needs` before training starts; models compute and keep nothing else. What the
models can give stands in a :class:`ModelDescription`, so that a pair that does not fit is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cmlm_kd.errors import UserError

LOGITS = "logits"
PROBABILITIES = "probabilities"
HIDDEN_STATES = "hidden states"
ATTENTION_SCORES = "attention scores"
CROSS_ATTENTION_SCORES = "cross-attention scores"
EXITS = "early exits"
SOFT_TARGETS = "soft targets"


@dataclass(frozen=True)
class Request:
    """What a model keeps of one forward pass besides its logits.

    Attributes:
        hidden_states: layers whose output is kept: 0 is the embeddings, n the n-th layer.
        first_position: keep hidden states of the first position ([CLS]) alone.
        attention_scores: layers, from 1, whose attention scores before the softmax are kept.
        exits: keep the logits of every layer's own classifier; in validation too, where each is measured.
        predictions: at which positions of unlabelled text a masked language model predicts: those that were
            hidden (``masked``), every one but padding (``real``), or ``none``, so that its head does not run.
            Other models predict what they predict.
        topk: entries per token of soft targets, so that no more are carried than are read; None: all there
            are. The mass of the others is in the tail.
        tail_temperatures: temperatures at which a teacher that runs beside the student gives the mass of the
            others; empty: those of its choice. What is on disk has those that it has.
        cross_attention_scores: layers of a translator's decoder, from 1, whose scores over the source are
            kept; ``hidden_states`` and ``attention_scores`` are then its decoder's.
        encoder: what a translator's encoder keeps; None: nothing.
        whole_distribution: of a translator that teaches, what it says of all entries instead of the k best.
        other_histories: whether it is asked again about the same sources, with other target tokens before
            each position.
    """

    hidden_states: tuple[int, ...] = ()
    first_position: bool = False
    attention_scores: tuple[int, ...] = ()
    exits: bool = False
    predictions: Literal["masked", "real", "none"] = "masked"
    topk: int | None = None
    tail_temperatures: tuple[float, ...] = ()
    cross_attention_scores: tuple[int, ...] = ()
    encoder: Request | None = None
    whole_distribution: bool = False
    other_histories: bool = False

    @property
    def reads_inside(self) -> bool:
        """Whether anything but predictions is kept."""
        own = self.hidden_states or self.attention_scores or self.cross_attention_scores
        return bool(own) or (self.encoder is not None and self.encoder.reads_inside)

    @property
    def in_validation(self) -> Request:
        """What is kept where nothing is trained: predictions, and no more."""
        return Request(exits=self.exits)

    @property
    def compares_positions(self) -> bool:
        """Whether what is kept stands for single positions, so that two tokenizers could not be compared."""
        compared = self.attention_scores or (self.hidden_states and not self.first_position)
        return bool(compared or self.cross_attention_scores) or (
            self.encoder is not None and self.encoder.compares_positions
        )


NOTHING_ELSE = Request()
"""Logits alone."""


@dataclass(frozen=True)
class Needs:
    """What a criterion reads.

    Attributes:
        student: of the student, besides its logits.
        teacher: of the teacher, besides its logits; None for a criterion that reads no teacher.
        teacher_values: ``logits`` if the criterion compares raw logits (or scores), ``probabilities`` if it
            reads distributions alone, as an ensemble that averages probabilities gives them, ``soft targets``
            if the best entries of each token are enough, as a store has them.
        teacher_dropout: whether the teacher runs in training mode, with dropout, as some released code does.
        labels: whether training reads the classes or scores of the data.
    """

    student: Request = NOTHING_ELSE
    teacher: Request | None = None
    teacher_values: Literal["logits", "probabilities", "soft targets"] = "probabilities"
    teacher_dropout: bool = False
    labels: bool = True


@dataclass(frozen=True)
class ModelDescription:
    """What is known of a student or teacher before it runs.

    Attributes:
        name: what messages call it, such as ``student bert_classifier`` or ``teacher models/sst2``.
        provides: any of ``logits``, ``probabilities``, ``hidden states``, ``attention scores``,
            ``cross-attention scores``, ``early exits`` and ``soft targets``.
        labels: names of its classes in the order of its logits; none for regression.
        layers: number of layers, 0 where layers mean nothing.
        hidden_size: width of its hidden states.
        heads: attention heads per layer.
        tokenizer: hash of what turns text into its input ids; equal hashes give equal positions.
        vocabulary: entries that a model chooses from for every token, V; 0 for classifiers.
        first_stands_for_all: whether the hidden states of the first position stand for the whole text, as an
            encoder's do.
        topk: entries per token of its soft targets; 0 without.
        tail_temperatures: temperatures at which they have the log-mass of all other entries.
        encoder: of a translator, whose own fields are its decoder's; None for other models.
        obstacle: flag by which it provides less than it would without, for messages; empty for none.
    """

    name: str
    provides: frozenset[str] = frozenset({LOGITS, PROBABILITIES})
    labels: tuple[str, ...] = ()
    layers: int = 0
    hidden_size: int = 0
    heads: int = 0
    tokenizer: str = ""
    vocabulary: int = 0
    first_stands_for_all: bool = True
    topk: int = 0
    tail_temperatures: tuple[float, ...] = ()
    encoder: ModelDescription | None = None
    obstacle: str = ""

    @property
    def is_regression(self) -> bool:
        """Whether it predicts a score instead of a class."""
        return not self.labels

    @property
    def outputs(self) -> int:
        """How many numbers it predicts for a sentence: classes, or 1 for a score."""
        return len(self.labels) or 1


def check_needs(
    criterion: str, needs: Needs, student: ModelDescription, teacher: ModelDescription | None
) -> None:
    """Refuse a criterion that needs what the student or the teacher cannot give.

    Args:
        criterion: its registered name.
        needs: what it reads.
        student: who learns.
        teacher: who teaches, or None.

    Raises:
        UserError: naming the criterion, both models and what is missing.
    """
    pair = f"({student.name}; {teacher.name if teacher else 'no teacher'})"
    _check_request(criterion, needs.student, student, pair)
    if needs.teacher is None:
        return
    if teacher is None:
        alone = "bert_mlm" if student.vocabulary else "sentence_classification"
        raise UserError(
            f"{criterion}: {student.name} has no teacher to learn from; name one with --teacher DIR, or "
            f"train without a teacher with --criterion {alone}"
        )
    if needs.teacher.predictions != "none":
        _check_predictions(criterion, needs, student, teacher, pair)
    _check_request(criterion, needs.teacher, teacher, pair)
    positions = needs.student.compares_positions or needs.teacher.compares_positions
    if positions and student.tokenizer != teacher.tokenizer:
        raise UserError(
            f"{criterion}: compares {student.name} and {teacher.name} position by position, but their "
            "tokenizers differ; give the student the teacher's tokenizer, or take a criterion that reads "
            "logits alone (docs/criteria)"
        )


def _check_predictions(
    criterion: str, needs: Needs, student: ModelDescription, teacher: ModelDescription, pair: str
) -> None:
    if needs.teacher_values == SOFT_TARGETS:
        if SOFT_TARGETS not in teacher.provides:
            raise UserError(
                f"{criterion}: reads soft targets, which {teacher.name} does not give {pair}; take what "
                "'cmlm-kd dump' wrote, or a model with --online-teacher"
            )
        return
    if not teacher.provides & {LOGITS, PROBABILITIES}:
        raise UserError(
            f"{criterion}: reads what {teacher.name} predicts, which has no masked-LM head {pair}; train one "
            "with --task masked_lm_kd --criterion bert_mlm, or give a masked language model"
        )
    if needs.teacher_values not in teacher.provides:
        raise UserError(
            f"{criterion}: reads the {needs.teacher_values} of a teacher, which {teacher.name} does not give "
            f"{pair}; pass --ensemble logits, or name one teacher"
        )
    if needs.student.predictions != "none" and student.vocabulary != teacher.vocabulary:
        raise UserError(
            f"{criterion}: {student.name} chooses from {student.vocabulary} tokens and {teacher.name} from "
            f"{teacher.vocabulary}; give the student the teacher's tokenizer and vocabulary"
        )


def _check_request(criterion: str, request: Request, model: ModelDescription, pair: str) -> None:
    if request.exits and EXITS not in model.provides:
        raise UserError(
            f"{criterion}: reads a classifier's logits on every layer, which {model.name} does not have "
            f"{pair}; take --arch fastbert, or another criterion (docs/criteria)"
        )
    if request.first_position and request.hidden_states and not model.first_stands_for_all:
        raise UserError(
            f"{criterion}: reads hidden states of the first position, which in {model.name} do not stand for "
            f"the whole text {pair}; take an encoder, or leave them out (for pkd: --kd-beta 0)"
        )
    for what, layers, first in (
        (HIDDEN_STATES, request.hidden_states, 0),
        (ATTENTION_SCORES, request.attention_scores, 1),
        (CROSS_ATTENTION_SCORES, request.cross_attention_scores, 1),
    ):
        if not layers:
            continue
        if what not in model.provides:
            raise UserError(
                f"{criterion}: reads {what}, which {model.name} does not give {pair}; take another model, or "
                "a criterion that reads logits alone (docs/criteria)"
            )
        outside = sorted(layer for layer in layers if not first <= layer <= model.layers)
        if outside:
            raise UserError(
                f"{criterion}: reads {what} of layer {_listed(outside)} of {model.name}, which has layers "
                f"{first} to {model.layers} {pair}; give another layer map"
            )
    if request.encoder is not None and request.encoder.reads_inside:
        _check_request(criterion, request.encoder, model.encoder or ModelDescription(model.name), pair)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
