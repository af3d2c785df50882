"""``hidden_state_kd``: the inside of a teacher translator beside its soft targets.

The terms are TinyBERT's (Jiao et al., 2020, eq. 7 and 8), taken from encoders to both halves of a
translator. For a pair with S source and T target tokens, hidden states H of layers that a map pairs (width d,
of the student d') and attention scores A before the softmax, over h heads::

    encoder_hidden    = sum over layers   MSE(H_student W, H_teacher)         over the S positions
    decoder_hidden    = sum over layers   MSE(H_student W', H_teacher)        over the T positions
    encoder_attention = sum over layers   1/h sum over heads  MSE(A_student, A_teacher)     S x S
    decoder_attention = the same, of the positions that a token sees          T (T + 1) / 2
    cross_attention   = the same, over the source                             T x S

    loss of a pair    = soft_target_kd + T (w_h (encoder_hidden + decoder_hidden)
                        + w_a (encoder_attention + decoder_attention) + w_c cross_attention)

Each term is one value per pair, and counts as often as the pair has target tokens, as all that fairseq
divides by the number of target tokens. The loss stays the same however a batch is cut into micro-batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cmlm_kd.api.criterion import CriterionOutput, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import (
    ATTENTION_SCORES,
    CROSS_ATTENTION_SCORES,
    HIDDEN_STATES,
    ModelDescription,
    Needs,
    Request,
)
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import required
from cmlm_kd.criteria.layers import LayerMap, StateProjection, layer_map
from cmlm_kd.criteria.soft_target import SoftTargetConfig, SoftTargetKD
from cmlm_kd.errors import UserError
from cmlm_kd.losses.layer_terms import hidden_term, score_term
from cmlm_kd.system.ranges import NOT_NEGATIVE, setting

NO_LAYERS = "none"
"""A layer map that leaves half a translator out."""


@dataclass(frozen=True)
class HiddenStateConfig(SoftTargetConfig):
    """Settings of :class:`HiddenStateKD`: those of ``soft_target_kd`` and these.

    Raises:
        UserError: for a value outside its range.
    """

    criterion: ClassVar[str] = "hidden_state_kd"
    kd_encoder_layer_map: str = field(
        default="uniform",
        metadata=setting(
            "uniform, last, a teacher layer for each student layer (2,4,6), pairs (1:2,3:6), or none"
        ),
    )
    kd_decoder_layer_map: str = field(
        default="uniform", metadata=setting("the same of the decoder, cross-attention among it")
    )
    kd_projection: Literal["separate", "none"] = field(
        default="separate",
        metadata=setting(
            "from the student's width to the teacher's, trained with the student; separate: a linear map of "
            "the encoder and one of the decoder; none: widths must be equal"
        ),
    )
    kd_hidden_weight: float = field(
        default=1.0, metadata=setting("weight w_h of the hidden states; 0 leaves them out", NOT_NEGATIVE)
    )
    kd_attention_weight: float = field(
        default=1.0,
        metadata=setting(
            "weight w_a of self-attention; 0 leaves it out and lets head counts differ", NOT_NEGATIVE
        ),
    )
    kd_cross_attention_weight: float = field(
        default=1.0, metadata=setting("weight w_c of attention over the source; likewise", NOT_NEGATIVE)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = {
            "--kd-hidden-weight": self.kd_hidden_weight,
            "--kd-attention-weight": self.kd_attention_weight,
            "--kd-cross-attention-weight": self.kd_cross_attention_weight,
        }
        maps = {self.kd_encoder_layer_map, self.kd_decoder_layer_map}
        if not any(weights.values()) or maps == {NO_LAYERS}:
            raise UserError(
                f"hidden_state_kd: {', '.join(weights)} are all 0, or both layer maps are {NO_LAYERS}, so "
                "that nothing of the teacher's inside would be learned; raise one, or take soft_target_kd"
            )
        of_encoder = self.kd_hidden_weight or self.kd_attention_weight
        # Attention over the source is the decoder's.
        if self.kd_decoder_layer_map == NO_LAYERS and not of_encoder:
            raise UserError(
                "hidden_state_kd: --kd-cross-attention-weight "
                f"{self.kd_cross_attention_weight:g} alone reads the decoder, and --kd-decoder-layer-map is "
                f"{NO_LAYERS}, so that nothing of the teacher's inside would be learned; map layers of the "
                "decoder, or raise --kd-hidden-weight or --kd-attention-weight"
            )

    def signature(self) -> str:
        """Return the criterion's part of a KD signature; more settings where not the default."""
        weights = (self.kd_hidden_weight, self.kd_attention_weight, self.kd_cross_attention_weight)
        parts = [
            f"kd:hidden_state|layers:{self.kd_encoder_layer_map}/{self.kd_decoder_layer_map}",
            "weights:" + ",".join(f"{weight:g}" for weight in weights),
        ]
        return self._signature(
            "|".join(parts if self.kd_projection == "separate" else [*parts, "unprojected"])
        )


@kd_criteria.register("hidden_state_kd", config=HiddenStateConfig)
class HiddenStateKD(SoftTargetKD):
    """The inside of a teacher translator beside its soft targets; equations in the module docstring.

    Reads hidden states and attention scores of the mapped layers of student and teacher, and with alpha above
    0 the teacher's soft targets, all of one forward pass of a teacher that runs beside the student
    (``--online-teacher``).

    Terms per target token: those of ``soft_target_kd`` and, each divided by its weight,
    ``encoder_hidden_loss``, ``decoder_hidden_loss``, ``encoder_attention_loss``, ``decoder_attention_loss``
    and ``cross_attention_loss``.

    Relation: ``tinybert_kd`` compares encoders by the same functions; without these terms it is
    ``soft_target_kd``.

    Smallest command: docs/criteria/hidden_state_kd.md.
    """

    config: HiddenStateConfig
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
    reads_inside = True
    _maps: tuple[LayerMap, LayerMap]
    _projections: nn.ModuleDict | None = None

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Return the layers to keep of both.

        Raises:
            UserError: naming both models, if they show no inside, or depths, widths or heads do not fit.
        """
        config = self.config
        if teacher is None:
            raise UserError(
                f"hidden_state_kd: reads the inside of a translator that runs beside {student.name}; name "
                "its checkpoint with --online-teacher (a store has soft targets alone)"
            )
        for model in (student, teacher):
            _refuse_closed(config, model, student, teacher)
        halves = []
        for half, text in enumerate((config.kd_encoder_layer_map, config.kd_decoder_layer_map)):
            mine, theirs = (_half(model, half) for model in (student, teacher))
            name = ("encoder", "decoder")[half]
            owner = f"hidden_state_kd: {name}s of {student.name} and {teacher.name}"
            if text == NO_LAYERS:
                halves.append(LayerMap((), ()))
                continue
            halves.append(layer_map(text, mine.layers, theirs.layers, owner=owner))
            if config.kd_attention_weight or (half and config.kd_cross_attention_weight):
                _refuse_heads(mine, theirs)
            widths = (mine.hidden_size, theirs.hidden_size)
            if config.kd_hidden_weight and config.kd_projection == "none" and widths[0] != widths[1]:
                raise UserError(
                    f"{owner} have hidden states of width {widths[0]} and {widths[1]}, and --kd-projection "
                    "none leaves nothing between them; take separate, or --kd-hidden-weight 0"
                )
        self._maps = (halves[0], halves[1])
        predictions: Literal["none", "masked"] = "none" if config.kd_alpha == 0.0 else "masked"
        return Needs(
            student=self._request([pairs.student for pairs in self._maps]),
            teacher=replace(
                self._request([tuple(sorted(set(pairs.teacher))) for pairs in self._maps]),
                predictions=predictions,
            ),
        )

    def check_untaught(self, where: str) -> None:
        """Refuse to train without a teacher, whose inside is read whatever alpha is."""
        raise UserError(
            f"hidden_state_kd: {where} has no teacher; train with --task translation_kd --online-teacher "
            "CHECKPOINT, or without a teacher with --criterion soft_target_kd --kd-alpha 0"
        )

    def _request(self, layers: list[tuple[int, ...]]) -> Request:
        config = self.config
        encoder, decoder = layers
        return Request(
            hidden_states=decoder if config.kd_hidden_weight else (),
            attention_scores=decoder if config.kd_attention_weight else (),
            cross_attention_scores=decoder if config.kd_cross_attention_weight else (),
            encoder=Request(
                hidden_states=encoder if config.kd_hidden_weight else (),
                attention_scores=encoder if config.kd_attention_weight else (),
            ),
        )

    def build_modules(self, student: ModelDescription, teacher: ModelDescription | None) -> nn.Module | None:
        """Return the projections of the student's states, None where there is nothing to project."""
        if teacher is None or self.config.kd_projection == "none" or not self.config.kd_hidden_weight:
            return None
        projections: dict[str, nn.Module] = {}
        for half, name in enumerate(("encoder", "decoder")):
            if self._maps[half].student:
                mine, theirs = (_half(model, half).hidden_size for model in (student, teacher))
                projections[name] = StateProjection("separate", self._maps[half].student, mine, theirs)
        self._projections = nn.ModuleDict(projections)
        return self._projections

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over target tokens.

        Raises:
            ValueError: if the batch lacks what :meth:`needs` asked of the teacher.
            UserError: as ``soft_target_kd``.
        """
        if teacher is None:
            self.check_untaught("the training batch")
        signal = required(teacher, "hidden_state_kd")
        output = super().training_loss(student, target, signal)
        real = target.ne(self.padding_idx)  # (B, T)
        tokens = real.sum(1)  # (B,)
        count, loss = output.terms["nll_loss"].count, output.loss
        config = self.config
        weights = {
            "hidden": config.kd_hidden_weight,
            "attention": config.kd_attention_weight,
            "cross": config.kd_cross_attention_weight,
        }
        terms = dict(output.terms)
        for (name, kind), values in self._inside(student, signal.only_output, real).items():
            total = (tokens * values).sum()
            loss = loss + weights[kind] * total
            terms[f"{name}_loss"] = Term(total.detach(), count)
        return replace(output, loss=loss, terms=terms)

    def _inside(
        self, student: ModelOutput, teacher: ModelOutput, real: Tensor
    ) -> dict[tuple[str, str], Tensor]:
        """Return the terms that have a weight, ``(B,)`` each, summed over layers."""
        config, (encoder, decoder) = self.config, self._maps
        mine, theirs = (
            required(student.encoder, "hidden_state_kd"),
            required(teacher.encoder, "hidden_state_kd"),
        )
        source = real.new_ones(real.size(0), 1) if mine.attention_mask is None else mine.attention_mask.bool()
        seen = real[:, :, None] & real[:, None, :].expand(-1, real.size(1), -1).tril()  # (B, T, T)
        found: dict[tuple[str, str], list[Tensor]] = {}
        if config.kd_hidden_weight:
            found["encoder_hidden", "hidden"] = [
                hidden_term(self._projected("encoder", mine, m), theirs.hidden_states[n], source, "paper")
                for m, n in encoder
            ]
            found["decoder_hidden", "hidden"] = [
                hidden_term(self._projected("decoder", student, m), teacher.hidden_states[n], real, "paper")
                for m, n in decoder
            ]
        if config.kd_attention_weight:
            both = source[:, :, None] & source[:, None, :]  # (B, S, S)
            found["encoder_attention", "attention"] = [
                score_term(mine.attention_scores[m], theirs.attention_scores[n], both) for m, n in encoder
            ]
            found["decoder_attention", "attention"] = [
                score_term(student.attention_scores[m], teacher.attention_scores[n], seen) for m, n in decoder
            ]
        if config.kd_cross_attention_weight:
            over_source = real[:, :, None] & source[:, None, :]  # (B, T, S)
            found["cross_attention", "cross"] = [
                score_term(student.cross_attention_scores[m], teacher.cross_attention_scores[n], over_source)
                for m, n in decoder
            ]
        return {name: torch.stack(values).sum(0) for name, values in found.items() if values}

    def _projected(self, half: str, output: ModelOutput, layer: int) -> Tensor:
        states = output.hidden_states[layer]  # (B, L, d')
        if self._projections is None:
            return states
        projected: Tensor = self._projections[half](states, layer)  # (B, L, d)
        return projected


def _half(model: ModelDescription, half: int) -> ModelDescription:
    """Return the description of a translator's encoder (0) or decoder (1)."""
    if half:
        return model
    return model.encoder or ModelDescription(model.name)


def _refuse_closed(
    config: HiddenStateConfig, model: ModelDescription, student: ModelDescription, teacher: ModelDescription
) -> None:
    """Refuse a model that does not show what the terms with a weight read."""
    flags = {
        HIDDEN_STATES: ("--kd-hidden-weight", config.kd_hidden_weight),
        ATTENTION_SCORES: ("--kd-attention-weight", config.kd_attention_weight),
        CROSS_ATTENTION_SCORES: ("--kd-cross-attention-weight", config.kd_cross_attention_weight),
    }
    # The decoder first: a model that shows nothing at all is named as a whole.
    halves = ((1, config.kd_decoder_layer_map), (0, config.kd_encoder_layer_map))
    read = [
        (what, half)
        for what, (_, weight) in flags.items()
        for half, layers in halves
        if weight and layers != NO_LAYERS and (half or what != CROSS_ATTENTION_SCORES)
    ]
    closed = [(what, half) for what, half in read if what not in _half(model, half).provides]
    if not closed:
        return
    what, half = closed[0]
    owner = model.name if half else f"the encoder of {model.name}"
    shown = [_half(model, half) for _, half in closed]
    obstacles = " and ".join(dict.fromkeys(each.obstacle for each in shown if each.obstacle))
    if all(HIDDEN_STATES in each.provides for each in shown):
        # All at once: with one of them left the next refusal would name it.
        others = {flags[what][0]: "0" for what, _ in closed}
        if {what for what, _ in read} == {what for what, _ in closed}:
            others["--kd-hidden-weight"] = "1"
        way = "pass " + " ".join(f"{flag} {value}" for flag, value in others.items())
    else:
        way = "take soft_target_kd" if obstacles else "take one Transformer, or soft_target_kd"
    raise UserError(
        f"hidden_state_kd: reads {what}, which {owner} does not give{obstacles and f' with {obstacles}'} "
        f"({student.name}; {teacher.name}); {obstacles and f'leave out {obstacles}, or '}{way}"
    )


def _refuse_heads(student: ModelDescription, teacher: ModelDescription) -> None:
    if student.heads != teacher.heads:
        raise UserError(
            f"hidden_state_kd: {student.name} and {teacher.name} have {student.heads} and {teacher.heads} "
            f"attention heads, which are compared one by one; give the student {teacher.heads} "
            "(--encoder-attention-heads, --decoder-attention-heads), or leave attention out with "
            "--kd-attention-weight 0 --kd-cross-attention-weight 0"
        )
