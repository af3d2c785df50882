"""The settings of ``mobilebert_kd``; equations: :mod:`cmlm_kd.criteria.mobilebert`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cmlm_kd.criteria.checks import NOT_NEGATIVE, POSITIVE, SHARE, check_settings
from cmlm_kd.criteria.mobilebert_transfer import OWNER, STATISTICS
from cmlm_kd.errors import UserError

STATISTICS_WEIGHTS = {"original": (5000.0, 5.0), "paper": (0.0, 0.0)}
"""Weights of means and variances: the released command's. In ``paper`` mode the feature maps, which are not
normalised there, contain them."""


@dataclass(frozen=True)
class MobileBertConfig:
    """Settings of ``mobilebert_kd``; weights are those of the released command.

    Raises:
        UserError: for a value outside its range.
    """

    kd_strategy: Literal["progressive", "joint", "auxiliary"] = field(
        default="progressive",
        metadata={
            "help": "progressive: transfer layer by layer, then distil; joint: all layers, then distil; "
            "auxiliary: both at once"
        },
    )
    kd_transfer_updates: int | None = field(
        default=None,
        metadata={
            "help": "updates of knowledge transfer before distillation, 0 or more; 0: distillation alone, "
            "for a student that learned the rest before; not with --kd-strategy auxiliary"
        },
    )
    kd_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata={
            "help": "paper: feature maps as they are, means over a sentence's own tokens; original: the "
            "released code's arithmetic: feature maps normalised, their means and variances apart (against "
            "those of all teacher layers), padding counted"
        },
    )
    kd_layer_map: str = field(
        default="uniform",
        metadata={
            "help": "uniform, last, a teacher layer for each student layer (2,4,6), or pairs (1:2,3:6); "
            "equally deep models learn layer from layer"
        },
    )
    kd_feature_map_weight: float = field(
        default=100.0, metadata={"help": "weight of the feature maps, 0 or more; 0 leaves them out"}
    )
    kd_attention_weight: float = field(
        default=1.0,
        metadata={"help": "weight of attention, 0 or more; 0 leaves it out and lets head counts differ"},
    )
    kd_mean_weight: float | None = field(
        default=None,
        metadata={
            "help": "weight of the feature maps' means, 0 or more; default: 5000 in original, 0 in paper mode"
        },
    )
    kd_variance_weight: float | None = field(
        default=None,
        metadata={"help": "weight of their variances, 0 or more; default: 5 in original, 0 in paper mode"},
    )
    kd_hard_share: float = field(
        default=0.5, metadata={"help": "share of the true piece in distillation, in [0, 1]; 1: no teacher"}
    )
    kd_current_rate: float = field(
        default=3.0,
        metadata={"help": "progressive: rate of the layer whose turn it is, times --lr, above 0"},
    )
    kd_finished_rate: float = field(
        default=0.3, metadata={"help": "progressive: rate of the layers below, 0 or more; 0 freezes them"}
    )
    kd_embedding_rate: float = field(
        default=0.0,
        metadata={
            "help": "progressive: rate of embeddings and head during the transfer, 0 or more; 0 for those "
            "that are the teacher's"
        },
    )

    def __post_init__(self) -> None:
        check_settings(
            OWNER,
            self,
            kd_feature_map_weight=NOT_NEGATIVE,
            kd_attention_weight=NOT_NEGATIVE,
            kd_mean_weight=NOT_NEGATIVE,
            kd_variance_weight=NOT_NEGATIVE,
            kd_finished_rate=NOT_NEGATIVE,
            kd_embedding_rate=NOT_NEGATIVE,
            kd_current_rate=POSITIVE,
            kd_hard_share=SHARE,
            kd_transfer_updates=NOT_NEGATIVE,
        )
        if self.kd_strategy == "auxiliary" and self.kd_transfer_updates is not None:
            raise UserError(
                f"{OWNER}: --kd-transfer-updates has no meaning for --kd-strategy auxiliary, which "
                "transfers and distils all the time; leave it out"
            )
        if self.transfers and not any(self.weights.values()):
            raise UserError(
                f"{OWNER}: all weights of the transfer are 0, so that it would teach nothing; raise "
                "one, or pass --kd-strategy joint --kd-transfer-updates 0 for distillation alone"
            )

    @property
    def transfers(self) -> bool:
        """Whether there is knowledge transfer at all."""
        return self.kd_strategy == "auxiliary" or self.kd_transfer_updates != 0

    @property
    def weights(self) -> dict[str, float]:
        """The transfer's terms with their weights."""
        mean, variance = STATISTICS_WEIGHTS[self.kd_mode]
        return {
            "feature_map_loss": self.kd_feature_map_weight,
            "attention_loss": self.kd_attention_weight,
            "mean_loss": mean if self.kd_mean_weight is None else self.kd_mean_weight,
            "variance_loss": variance if self.kd_variance_weight is None else self.kd_variance_weight,
        }

    @property
    def reads_states(self) -> bool:
        """Whether the transfer compares hidden states, and not attention alone."""
        return any(weight for name, weight in self.weights.items() if name != "attention_loss")

    @property
    def compares_all_layers(self) -> bool:
        """Whether statistics are compared with those of all the teacher's hidden states."""
        return self.kd_mode == "original" and any(self.weights[name] for name in STATISTICS)

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        weights = ",".join(f"{weight:g}" for weight in self.weights.values())
        parts = [f"kd:mobilebert|strategy:{self.kd_strategy}|transfer:{self.kd_transfer_updates}"]
        parts.append(f"mode:{self.kd_mode}|layers:{self.kd_layer_map}|weights:{weights}")
        parts.append(f"hard:{self.kd_hard_share:g}")
        if self.kd_strategy == "progressive":
            rates = (self.kd_current_rate, self.kd_finished_rate, self.kd_embedding_rate)
            parts.append("rates:" + ",".join(f"{rate:g}" for rate in rates))
        return "|".join(parts)
