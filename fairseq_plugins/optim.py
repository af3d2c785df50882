"""Optimisers: ``--optimizer bert_adamw`` and ``bert_lamb`` of BERTs, with rates by group of parameters, and
``fused_adam``, fairseq's own Adam in one kernel."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import FairseqAdam
from omegaconf import II, OmegaConf
from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.optim import FusedAdam, Lamb, apply_rate, let_rest, parameter_groups, set_factors
from fairseq_plugins.command_line.configs import PluginConfig


class GroupedOptimizer(FairseqOptimizer):
    """An optimiser whose groups have rates in proportion; a schedule of fairseq's sets the common one.

    Subclasses make ``self._optimizer`` of :func:`cmlm_kd.optim.parameter_groups`.

    Attributes:
        default_lr: the rate where ``--lr`` is not given.
        default_clip_norm: likewise of ``--clip-norm``.
    """

    default_lr: float
    default_clip_norm: float

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self._rate = first_rate(cfg)

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Add the flags; --lr and --clip-norm, fairseq's own, get the defaults that suit BERT."""
        super().add_args(parser)
        parser.set_defaults(lr=str(cls.default_lr), clip_norm=cls.default_clip_norm)

    @property
    def optimizer_config(self) -> dict[str, float]:
        """What a checkpoint may override on resume."""
        return {"lr": self.get_lr()}

    def get_lr(self) -> float:
        """Return the common rate."""
        return self._rate

    def set_lr(self, lr: float) -> None:
        """Set the common rate; each group gets its part of it."""
        self._rate = lr
        apply_rate(self.optimizer, lr)

    def set_factors(self, factors: Mapping[str, float]) -> None:
        """Set what the common rate is multiplied by, for each group that is named."""
        set_factors(self.optimizer, factors)
        apply_rate(self.optimizer, self._rate)

    def step(
        self, closure: Callable[[], float] | None = None, scale: float = 1.0, groups: Any = None
    ) -> None:
        """Change the groups that do not rest."""
        let_rest(self.optimizer)
        super().step(closure, scale, groups)


def set_rate_factors(optimizer: FairseqOptimizer, factors: Mapping[str, float], owner: str) -> None:
    """Give the groups of an optimiser, whatever wraps it for half precision, rates of their own.

    Args:
        optimizer: fairseq's.
        factors: what multiplies the common rate, by the groups' names.
        owner: the criterion that wants it, for messages.

    Raises:
        UserError: if the optimiser has one rate for all, or the student has other groups.
    """
    for wrapped in ("fp32_optimizer", "wrapped_optimizer"):
        optimizer = getattr(optimizer, wrapped, optimizer)
    if not isinstance(optimizer, GroupedOptimizer):
        raise UserError(
            f"{owner}: gives every layer a rate of its own, and {type(optimizer).__name__} has one for all; "
            "pass --optimizer bert_lamb or bert_adamw, or another --kd-strategy"
        )
    try:
        optimizer.set_factors(factors)
    except KeyError as error:
        raise UserError(
            f"{owner}: gives every layer a rate of its own, but the student's parameters are not grouped by "
            f"layers (no group {error}); take --arch mobilebert, or another --kd-strategy"
        ) from None


def first_rate(cfg: Any) -> float:
    """Return the learning rate of the first epoch, whatever form the config gives ``lr``."""
    rates: Any = OmegaConf.to_container(cfg.lr) if OmegaConf.is_config(cfg.lr) else cfg.lr
    rate: float = rates[0] if isinstance(rates, list) else rates
    return rate


def two_rates(text: str, owner: str, flag: str) -> tuple[float, float]:
    """Parse the two decay rates of a flag such as ``--adam-betas``.

    Raises:
        UserError: naming the flag.
    """
    try:
        betas = [float(value) for value in str(text).strip("()[] ").split(",")]
    except ValueError:
        betas = []
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise UserError(f"{owner}: {flag} is {text!r}, give two numbers in [0, 1), such as (0.9, 0.999)")
    return betas[0], betas[1]


def refuse_negative(cfg: FairseqDataclass, owner: str, *names: str) -> None:
    """Refuse settings below 0.

    Raises:
        UserError: naming the flag.
    """
    for name in names:
        if not getattr(cfg, name) >= 0:
            flag = name.replace("_", "-")
            raise UserError(f"{owner}: --{flag} is {getattr(cfg, name)}, it can't be negative")


@dataclass
class BertAdamWConfig(PluginConfig):
    """Flags of ``--optimizer bert_adamw``; it also sets the defaults of --lr and --clip-norm."""

    adam_betas: str = field(
        default="(0.9, 0.999)", metadata={"help": "decay rates of the two moments, each in [0, 1)"}
    )
    adam_eps: float = field(default=1e-6, metadata={"help": "added to the root of the second moment, > 0"})
    weight_decay: float = field(
        default=0.01,
        metadata={"help": "decoupled weight decay, >= 0; biases and LayerNorm (one-dimensional) have none"},
    )
    lr: list[float] = field(default=II("optimization.lr"))


@register_optimizer("bert_adamw", dataclass=BertAdamWConfig)
class BertAdamW(GroupedOptimizer):
    """One kernel a step instead of a dozen passes over the weights, and no decay on biases and LayerNorm.

    Defaults: Chen et al. (2020), appendix A; the norm is the released code's (``run_cmlm_finetuning.py:
    FusedAdam``).
    """

    default_lr = 5e-5
    default_clip_norm = 1.0

    def __init__(self, cfg: BertAdamWConfig, params: Iterable[Tensor]) -> None:
        super().__init__(cfg)
        refuse_negative(cfg, "bert_adamw", "adam_eps", "weight_decay")
        self._optimizer = torch.optim.AdamW(
            parameter_groups(params, cfg.weight_decay),
            lr=self.get_lr(),
            betas=two_rates(cfg.adam_betas, "bert_adamw", "--adam-betas"),
            eps=cfg.adam_eps,
            fused=True,
        )


@dataclass
class BertLambConfig(PluginConfig):
    """Flags of ``--optimizer bert_lamb``; it also sets the defaults of --lr and --clip-norm."""

    lamb_betas: str = field(
        default="(0.9, 0.999)", metadata={"help": "decay rates of the two moments, each in [0, 1)"}
    )
    lamb_eps: float = field(default=1e-6, metadata={"help": "added to the root of the second moment, > 0"})
    weight_decay: float = field(
        default=0.01, metadata={"help": "weight decay, >= 0; biases and normalisations have none"}
    )
    lamb_without_bias_correction: bool = field(
        default=False,
        metadata={"help": "take the moments as they are, as the code released with MobileBERT does"},
    )
    lr: list[float] = field(default=II("optimization.lr"))


@register_optimizer("bert_lamb", dataclass=BertLambConfig)
class BertLamb(GroupedOptimizer):
    """Adapter of :class:`cmlm_kd.optim.Lamb`.

    Defaults: MobileBERT's released command and ``optimization.py``.
    """

    default_lr = 1.5e-3
    default_clip_norm = 1.0

    def __init__(self, cfg: BertLambConfig, params: Iterable[Tensor]) -> None:
        super().__init__(cfg)
        refuse_negative(cfg, "bert_lamb", "lamb_eps", "weight_decay")
        self._optimizer = Lamb(
            parameter_groups(params, cfg.weight_decay),
            lr=self.get_lr(),
            betas=two_rates(cfg.lamb_betas, "bert_lamb", "--lamb-betas"),
            eps=cfg.lamb_eps,
            bias_correction=not cfg.lamb_without_bias_correction,
        )


@dataclass
class FusedAdamConfig(PluginConfig):
    """Flags of ``--optimizer fused_adam``, with the defaults of fairseq's ``adam``."""

    adam_betas: str = field(
        default="(0.9, 0.999)", metadata={"help": "decay rates of the two moments, each in [0, 1)"}
    )
    adam_eps: float = field(default=1e-8, metadata={"help": "added to the root of the second moment, >= 0"})
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled weight decay, >= 0"})
    lr: list[float] = field(default=II("optimization.lr"))


@register_optimizer("fused_adam", dataclass=FusedAdamConfig)
class FairseqFusedAdam(FairseqOptimizer):
    """Adapter of :class:`cmlm_kd.optim.FusedAdam`: ``--optimizer adam`` by another name, and quicker."""

    def __init__(self, cfg: FusedAdamConfig, params: Iterable[Tensor]) -> None:
        super().__init__(cfg)
        refuse_negative(cfg, "fused_adam", "adam_eps", "weight_decay")
        self._optimizer = FusedAdam(params, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """What a checkpoint may override on resume."""
        return {
            "lr": first_rate(self.cfg),
            "betas": two_rates(self.cfg.adam_betas, "fused_adam", "--adam-betas"),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }


# fairseq resumes what an optimizer of the same class name has saved. The states are the same, so either of
# the two may go on where the other stopped; the registry above wants names of its own.
FairseqFusedAdam.__name__ = FairseqAdam.__name__
