"""What students over sentences are to fairseq, whatever classifier of the library they adapt."""

from fairseq.models import BaseFairseqModel

from cmlm_kd.api.needs import NOTHING_ELSE


class SentenceClassifierModel(BaseFairseqModel):
    """Adapter of a :class:`cmlm_kd.models.prediction.Classifier`.

    Args:
        classifier: the library's model.
    """

    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier

    @property
    def description(self):
        """What it can give."""
        return self.classifier.description

    @property
    def inputs(self):
        """What turns sentences into its ids."""
        return self.classifier.inputs

    def forward(self, input_ids, attention_mask, token_type_ids, request=NOTHING_ELSE):
        """Return logits ``(B, C)`` and what is asked for."""
        return self.classifier(input_ids, attention_mask, token_type_ids, request)

    def max_positions(self):
        """Return the longest input; longer ones are cut before."""
        return self.inputs.max_length
