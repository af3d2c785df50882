"""``--optimizer bert_adamw``: torch's fused AdamW with the settings BERT is fine-tuned with."""

from dataclasses import dataclass, field
from typing import List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II, OmegaConf

from cmlm_kd.errors import UserError


@dataclass
class BertAdamWConfig(FairseqDataclass):
    """Flags of ``--optimizer bert_adamw``."""

    adam_betas: str = field(default="(0.9, 0.999)", metadata={"help": "decay rates of the two moments, each in [0, 1)"})
    adam_eps: float = field(default=1e-6, metadata={"help": "added to the root of the second moment"})
    weight_decay: float = field(
        default=0.01, metadata={"help": "decoupled weight decay; biases and LayerNorm (one-dimensional) have none"}
    )
    lr: List[float] = II("optimization.lr")


@register_optimizer("bert_adamw", dataclass=BertAdamWConfig)
class BertAdamW(FairseqOptimizer):
    """One kernel a step instead of a dozen passes over the weights, and no decay on biases and LayerNorm."""

    def __init__(self, cfg, params):
        super().__init__(cfg)
        betas = tuple(float(value) for value in str(cfg.adam_betas).strip("()[] ").split(","))
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise UserError(f"bert_adamw: --adam-betas is {cfg.adam_betas!r}, give two numbers in [0, 1)")
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

    @property
    def optimizer_config(self):
        """What a checkpoint may override on resume."""
        return {"lr": self.get_lr()}
