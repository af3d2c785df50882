"""What tasks over sentences are to fairseq, whether they train on one corpus or on several."""

from fairseq.tasks import FairseqTask

from fairseq_plugins.tasks.autocast import AutocastMixin


class SentenceTask(AutocastMixin, FairseqTask):
    """A task of sentences and pairs with a class or a score.

    Attributes:
        kd_level: what its criteria sum over.
        max_length: longest input that the user wants, 0 for what the model takes.
    """

    kd_level = "sentences"

    def __init__(self, cfg):
        super().__init__(cfg)
        self.max_length = cfg.max_length
        self._student = None

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Build the task; that a checkpoint is being loaded is seen from its state."""
        return cls(cfg)

    def from_checkpoint(self, key):
        """Return what a checkpoint's task state says, None outside of loading one."""
        return self.state.state_dict.get(key)

    @staticmethod
    def logging_outputs_can_be_summed(criterion):
        """Sums are enough in training; metrics need every worker's predictions."""
        return criterion.training

    def max_positions(self):
        """Return the student's longest input; longer ones were cut."""
        return self._student.max_positions() if self._student is not None else None

    @property
    def source_dictionary(self):
        """There is none: students bring what turns sentences into ids."""
        return None

    @property
    def target_dictionary(self):
        """There is none: targets are classes or scores."""
        return None
