"""What MobileBERT and IB-BERT, its teacher, are to fairseq: BERTs of another width inside a block."""

from dataclasses import field

from cmlm_kd.errors import UserError
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.optim import group_by_layer
from fairseq_plugins.models.bert_masked_lm import BertMaskedLM


class BottleneckMaskedLM(BertMaskedLM):
    """A masked language model whose parameters know their layers, for optimisers with rates by layer."""

    def __init__(self, masked_lm):
        super().__init__(masked_lm)
        group_by_layer(masked_lm.model)


def size_flag(help_, default):
    """Return a flag for one of the sizes of a new model."""
    return field(default=None, metadata={"help": f"{help_}; default: {default}"})


def load_of_type(name, model_type, owner, wanted):
    """Load a masked language model, which must be of the type that an architecture is for.

    Args:
        name: Hugging Face directory or hub name.
        model_type: Hugging Face's name of the type.
        owner: the architecture, for messages.
        wanted: what messages call a model of the type.

    Raises:
        UserError: naming the model and its type.
    """
    masked_lm = MaskedLM.from_pretrained(name)
    if masked_lm.config.model_type != model_type:
        raise UserError(
            f"{owner}: {name!r} is a {masked_lm.config.model_type} model; give {wanted}, or take --arch "
            "bert_masked_lm"
        )
    return masked_lm
