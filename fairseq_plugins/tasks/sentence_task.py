"""The part that tasks over sentences share, whether they train on one corpus or on several."""

from __future__ import annotations

from typing import Any

from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask

from cmlm_kd.data.classification.inputs import SentenceInputs
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import INPUTS_HASH
from cmlm_kd.models.bilstm.model import WordInputs
from fairseq_plugins.tasks.finite_loss import FiniteLossMixin
from fairseq_plugins.training.criterion_of_task import check_kind_of_criterion
from fairseq_plugins.training.precision import AutocastMixin
from fairseq_plugins.training.starting_point import state_of_start


class SentenceTask(AutocastMixin, FiniteLossMixin, FairseqTask):
    """A task of sentences and pairs with a class or a score.

    Attributes:
        kd_level: what its criteria sum over.
        max_length: longest input that the user wants, 0 for what the model takes.
    """

    kd_level = "sentences"

    def __init__(self, cfg: FairseqDataclass) -> None:
        super().__init__(cfg)
        self.max_length = cfg.max_length
        self._student: Any = None  # a model of fairseq_plugins.models, once it is built

    @classmethod
    def setup_task(cls, cfg: FairseqDataclass, **kwargs: Any) -> SentenceTask:
        """Build the task; that a checkpoint is being loaded is seen from its state."""
        return cls(cfg)

    def from_checkpoint(self, key: str) -> Any:
        """Return what a checkpoint's task state says, None outside of loading one."""
        return self.state.state_dict.get(key)

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the student, and note what turns sentences into ids, which must be the loaded checkpoint's.

        Raises:
            UserError: if it is another tokenizer, or other words of a BiLSTM.
        """
        # A checkpoint that is being loaded has left its state; a training that begins may start from one.
        earlier = (self.state.state_dict or state_of_start(self.cfg)).get(INPUTS_HASH)
        model = super().build_model(cfg, from_checkpoint)
        self._keep_inputs(model.inputs, earlier)
        return model

    def build_criterion(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> FairseqCriterion:
        """Build the criterion, one over sentences."""
        check_kind_of_criterion(self, "sentences", cfg._name)
        return super().build_criterion(cfg, from_checkpoint)

    def _keep_inputs(self, inputs: SentenceInputs | WordInputs, earlier: str | None) -> None:
        if earlier not in (None, inputs.hash):
            raise UserError(
                f"{self.cfg._name}: the checkpoint that is to be loaded reads other ids than this student: "
                "its tokenizer, or the list of its words, differs; give the --bert directory that it was "
                "trained with, or for a BiLSTM the training set"
            )
        self.state.merge_state_dict({INPUTS_HASH: inputs.hash})

    @staticmethod
    def logging_outputs_can_be_summed(criterion: FairseqCriterion) -> bool:
        """Sums are enough in training; metrics need every worker's predictions."""
        return criterion.training

    def max_positions(self) -> int | None:
        """Return the student's longest input; longer ones were cut."""
        return self._student.max_positions() if self._student is not None else None

    @property
    def source_dictionary(self) -> None:
        """There is none: students bring what turns sentences into ids."""
        return None

    @property
    def target_dictionary(self) -> None:
        """There is none: targets are classes or scores."""
        return None
