"""``--optimizer bert_lamb``: LAMB with the settings MobileBERT is pre-trained with, and rates by group."""

from dataclasses import dataclass, field
from typing import List

from fairseq.dataclass import FairseqDataclass
from fairseq.optim import register_optimizer
from omegaconf import II

from cmlm_kd.optim import Lamb, parameter_groups
from fairseq_plugins.optim.grouped import GroupedOptimizer, refuse_negative, two_rates


@dataclass
class BertLambConfig(FairseqDataclass):
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
    lr: List[float] = field(default=II("optimization.lr"))


@register_optimizer("bert_lamb", dataclass=BertLambConfig)
class BertLamb(GroupedOptimizer):
    """Adapter of :class:`cmlm_kd.optim.Lamb`.

    Defaults: MobileBERT's released command and ``optimization.py``.
    """

    default_lr = 1.5e-3
    default_clip_norm = 1.0

    def __init__(self, cfg, params):
        super().__init__(cfg)
        refuse_negative(cfg, "bert_lamb", "lamb_eps", "weight_decay")
        self._optimizer = Lamb(
            parameter_groups(params, cfg.weight_decay),
            lr=self.get_lr(),
            betas=two_rates(cfg.lamb_betas, "bert_lamb", "--lamb-betas"),
            eps=cfg.lamb_eps,
            bias_correction=not cfg.lamb_without_bias_correction,
        )
