"""``--criterion bert_mlm``: masked language modelling, to train a teacher without a teacher."""

from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass

from fairseq_plugins.criterions.cmlm import CMLMCriterion


@register_criterion("bert_mlm", dataclass=FairseqDataclass)
class BertMLMCriterion(CMLMCriterion):
    """The loss of ``cmlm``, over the tokenizer's own pieces instead of the student's."""
