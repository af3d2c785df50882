"""``--optimizer bert_adamw``: torch's fused AdamW with the settings BERT is fine-tuned with."""

from dataclasses import dataclass, field
from typing import List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import register_optimizer
from omegaconf import II

from cmlm_kd.optim import parameter_groups
from fairseq_plugins.optim.grouped import GroupedOptimizer, refuse_negative, two_rates


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
class BertAdamW(GroupedOptimizer):
    """One kernel a step instead of a dozen passes over the weights, and no decay on biases and LayerNorm.

    Defaults: Chen et al. (2020), appendix A; the norm is the released code's (``run_cmlm_finetuning.py:
    FusedAdam``).
    """

    default_lr = 5e-5
    default_clip_norm = 1.0

    def __init__(self, cfg, params):
        super().__init__(cfg)
        refuse_negative(cfg, "bert_adamw", "adam_eps", "weight_decay")
        self._optimizer = torch.optim.AdamW(
            parameter_groups(params, cfg.weight_decay),
            lr=self.get_lr(),
            betas=two_rates(cfg.adam_betas, "bert_adamw", "--adam-betas"),
            eps=cfg.adam_eps,
            fused=True,
        )
