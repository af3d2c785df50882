"""``--optimizer bert_adamw``: torch's fused AdamW with the settings BERT is fine-tuned with."""

from dataclasses import dataclass, field
from typing import List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II, OmegaConf

from cmlm_kd.errors import UserError

LEARNING_RATE = 5e-5
CLIP_NORM = 1.0
"""Chen et al. (2020), appendix A; the norm is the released code's (``run_cmlm_finetuning.py: FusedAdam``)."""


@dataclass
class BertAdamWConfig(FairseqDataclass):
    """Flags of ``--optimizer bert_adamw``; it also sets the defaults of --lr and --clip-norm."""

    adam_betas: str = field(
        default="(0.9, 0.999)", metadata={"help": "decay rates of the two moments, each in [0, 1)"}
    )
    adam_eps: float = field(default=1e-6, metadata={"help": "added to the root of the second moment, > 0"})
    weight_decay: float = field(
        default=0.01,
        metadata={"help": "decoupled weight decay, >= 0; biases and LayerNorm (one-dimensional) have none"},
    )
    lr: List[float] = field(default=II("optimization.lr"))


@register_optimizer("bert_adamw", dataclass=BertAdamWConfig)
class BertAdamW(FairseqOptimizer):
    """One kernel a step instead of a dozen passes over the weights, and no decay on biases and LayerNorm."""

    def __init__(self, cfg, params):
        super().__init__(cfg)
        betas = _two_rates(cfg.adam_betas)
        for name in ("adam_eps", "weight_decay"):
            if getattr(cfg, name) < 0:
                flag = name.replace("_", "-")
                raise UserError(f"bert_adamw: --{flag} is {getattr(cfg, name)}, it can't be negative")
        parameters = list(params)
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": cfg.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        rates = OmegaConf.to_container(cfg.lr) if OmegaConf.is_config(cfg.lr) else cfg.lr
        rate = rates[0] if isinstance(rates, list) else rates
        self._optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=rate, betas=betas, eps=cfg.adam_eps, fused=True
        )

    @classmethod
    def add_args(cls, parser):
        """Add the flags; --lr and --clip-norm, fairseq's own, get the defaults that suit BERT."""
        super().add_args(parser)
        parser.set_defaults(lr=str(LEARNING_RATE), clip_norm=CLIP_NORM)

    @property
    def optimizer_config(self):
        """What a checkpoint may override on resume."""
        return {"lr": self.get_lr()}


def _two_rates(text):
    """Parse ``--adam-betas``."""
    try:
        betas = tuple(float(value) for value in str(text).strip("()[] ").split(","))
    except ValueError:
        betas = ()
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise UserError(
            f"bert_adamw: --adam-betas is {text!r}, give two numbers in [0, 1), such as (0.9, 0.999)"
        )
    return betas
