"""``--fold I/N``: a teacher that is kept from a part of the training set, and says so in its checkpoints."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.tasks import FairseqTask

from cmlm_kd.data.translation.folds import Fold
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import FOLD
from fairseq_plugins.training.starting_point import (
    StartingPointConfig,
    starting_checkpoint,
    state_of_start,
)


@dataclass
class FoldConfig(StartingPointConfig):
    """The flag ``--fold``."""

    fold: str | None = field(
        default=None,
        metadata={
            "help": "train without this part of the training set, I/N with I from 0 to N - 1, so that the "
            "teacher can be asked about it ('cmlm-kd dump --folds' with the teachers of all N)"
        },
    )


class FoldMixin(FairseqTask):
    """Keeps a task from a fold, and notes in its checkpoints which."""

    cfg: FoldConfig

    def training_fold(self) -> Fold | None:
        """Return the fold to leave out, None to learn from everything; asked for before the first update.

        Raises:
            UserError: it is none, or the checkpoint to start from has learnt from it.
        """
        text = getattr(self.cfg, "fold", None)  # checkpoints of earlier releases have no such setting
        if text is None:
            return None
        fold = Fold.parse(text)
        start = starting_checkpoint(self.cfg)
        if start is not None and state_of_start(self.cfg).get(FOLD) != str(fold):
            seen = state_of_start(self.cfg).get(FOLD)
            kept = f"was kept from fold {seen}" if seen else "has seen every row"
            raise UserError(
                f"--fold {fold}: the training would go on from {start}, which {kept}; begin anew with "
                "another --save-dir"
            )
        return fold

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint says, but for the fold: what is learnt from now on decides it."""
        super().load_state_dict(state_dict)
        self.note_fold()

    def note_fold(self) -> None:
        """Write the fold into what checkpoints carry; nothing where every row is learnt from."""
        self.state.state_dict.pop(FOLD, None)
        fold = getattr(self.cfg, "fold", None)
        if fold is not None:
            self.state.merge_state_dict({FOLD: fold})
