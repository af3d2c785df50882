"""Pairs of student and teacher layers, and the projection of the student's states to the teacher's width.

Layers count from 1; layer 0 is the embeddings' output. A map of layers is written as text, so that it fits on
a command line. For a student of M layers and a teacher of N:

=====================  ===============================================  ==========================
text                   student layer m learns from                      M = 4, N = 12
=====================  ===============================================  ==========================
``uniform``, ``skip``  m N / M, rounded to the nearest layer            3, 6, 9, 12
``last``               m + N - M                                        9, 10, 11, 12
``1,5,9,12``           the m-th of the list                             1, 5, 9, 12
``2:6,4:12``           named pairs; the other layers learn from none    2 from 6, 4 from 12
=====================  ===============================================  ==========================

``uniform`` is TinyBERT's name for the rule (Jiao et al., 2020, section 3.1: g(m) = 3m) and ``skip`` PKD's
(Sun et al., 2019, section 3.1), where the last layer of the student learns from none: ask for M - 1 layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cmlm_kd.errors import UserError

RULES = ("uniform", "skip", "last")

ProjectionKind = Literal["shared", "separate", "layerwise"]

INITIAL_DEVIATION = 0.02
"""Of a projection's weights: BERT's own, with which the released TinyBERT starts its projection."""


@dataclass(frozen=True)
class LayerMap:
    """Pairs of layers, the student's in rising order.

    Attributes:
        student: student layers that learn.
        teacher: the teacher layer each of them learns from, as many.
    """

    student: tuple[int, ...]
    teacher: tuple[int, ...]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (student layer, teacher layer)."""
        return zip(self.student, self.teacher, strict=True)

    def __len__(self) -> int:
        return len(self.student)


def layer_map(
    text: str, student_layers: int, teacher_layers: int, *, learning: int | None = None, owner: str
) -> LayerMap:
    """Return the map that ``text`` describes; see the module docstring.

    Args:
        text: a rule's name, a list or pairs.
        student_layers: depth M of the student.
        teacher_layers: depth N of the teacher.
        learning: how many student layers learn, counted from the first; all M by default.
        owner: the criterion, for messages.

    Raises:
        UserError: naming both depths, if the text is none of these, a rule meets a student deeper than its
            teacher, or a layer doesn't exist.
    """
    learning = student_layers if learning is None else learning
    depths = f"a student of {student_layers} and a teacher of {teacher_layers} layers"
    place = f"{owner}: layer map {text!r} for {depths}"
    if learning < 1:
        raise UserError(f"{place}: no layer of the student would learn; take a deeper student")
    if text in RULES:
        if student_layers > teacher_layers:
            raise UserError(
                f"{place}: the student is deeper than its teacher, so the rule {text!r} has no layer for "
                f"each; list {learning} teacher layers from 1 to {teacher_layers} yourself, such as "
                f"{','.join(str(min(m, teacher_layers)) for m in range(1, learning + 1))}"
            )
        return _follow_rule(text, student_layers, teacher_layers, learning)
    pairs = _parse(text, place)
    if ":" not in text and len(pairs) != learning:
        raise UserError(
            f"{place}: the list names {len(pairs)} teacher layers, {learning} layers of the student learn; "
            "give one teacher layer for each, or pairs such as 2:6"
        )
    _check_range((m for m, _ in pairs), "student", learning, place)
    _check_range((n for _, n in pairs), "teacher", teacher_layers, place)
    if len({m for m, _ in pairs}) < len(pairs):
        raise UserError(f"{place}: a student layer is named twice; name each once")
    return LayerMap(*zip(*sorted(pairs), strict=True))


def _follow_rule(rule: str, student_layers: int, teacher_layers: int, learning: int) -> LayerMap:
    student = tuple(range(1, learning + 1))
    if rule == "last":
        return LayerMap(student, tuple(m + teacher_layers - student_layers for m in student))
    # m N / M to the nearest layer, half up, without floating point; steps are at least 1, so that no teacher
    # layer comes twice.
    return LayerMap(
        student, tuple((2 * m * teacher_layers + student_layers) // (2 * student_layers) for m in student)
    )


def _parse(text: str, place: str) -> list[tuple[int, int]]:
    """Return (student layer, teacher layer) of each entry of a list or of pairs."""
    entries = [entry.strip() for entry in text.strip("[] ").split(",")]
    paired = [":" in entry for entry in entries]
    try:
        if any(paired) and not all(paired):
            raise ValueError
        if any(paired):
            return [(int(m), int(n)) for m, n in (entry.split(":") for entry in entries)]
        return [(m, int(entry)) for m, entry in enumerate(entries, start=1)]
    except ValueError:
        raise UserError(
            f"{place}: cannot be read; give {', '.join(RULES)}, a list of teacher layers such as 3,6,9,12, "
            "or pairs of student and teacher layers such as 2:6,4:12"
        ) from None


def _check_range(layers: Iterable[int], whose: str, most: int, place: str) -> None:
    outside = [layer for layer in layers if not 1 <= layer <= most]
    if outside:
        raise UserError(f"{place}: {whose} layer {outside[0]} is not in 1 to {most}; choose one that is")


class StateProjection(nn.Module):
    """Linear maps of a student's hidden states ``(B, L, d')`` to its teacher's width, ``(B, L, d)``.

    They are trained with the student.

    Args:
        kind: ``shared``: one matrix with bias for embeddings and all layers (TinyBERT's released code and
            first models). ``separate``: one for the embeddings and one for all layers, without bias (its
            paper). ``layerwise``: one with bias for the embeddings and each layer (its second models).
        layers: student layers whose states will be projected; 0 is the embeddings.
        student_width: d'.
        teacher_width: d.
    """

    def __init__(
        self, kind: ProjectionKind, layers: Sequence[int], student_width: int, teacher_width: int
    ) -> None:
        super().__init__()
        self._map_of = {layer: _name_of_map(kind, layer) for layer in layers}
        self.maps = nn.ModuleDict(
            {
                key: nn.Linear(student_width, teacher_width, bias=kind != "separate")
                for key in sorted(set(self._map_of.values()))
            }
        )
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=INITIAL_DEVIATION)

    def forward(self, states: Tensor, layer: int) -> Tensor:
        """Return the states of one layer, projected."""
        linear = self.maps[self._map_of[layer]]
        if not states.is_contiguous() and (by_position := states.transpose(0, 1)).is_contiguous():
            # fairseq's states lie position by position. A product of the other order would copy them, and add
            # its gradient to theirs across memory.
            turned: Tensor = linear(by_position).transpose(0, 1)  # (L, B, d) -> (B, L, d)
            return turned
        projected: Tensor = linear(states)  # (B, L, d)
        return projected


def _name_of_map(kind: ProjectionKind, layer: int) -> str:
    if kind == "shared":
        return "shared"
    if layer == 0:
        return "embeddings"
    return "layers" if kind == "separate" else f"layer{layer}"
