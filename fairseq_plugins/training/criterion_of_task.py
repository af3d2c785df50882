"""A task's own kind of criterion: those of another kind end the first batch in a traceback."""

from __future__ import annotations

from fairseq.criterions import CRITERION_REGISTRY
from fairseq.tasks import FairseqTask

from cmlm_kd.api.criterion import Level
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.errors import UserError
from fairseq_plugins.training.task_origin import is_of_fairseq, is_of_plugin, name_of


def check_kind_of_criterion(task: FairseqTask, level: Level, criterion: str) -> None:
    """Refuse what knows nothing of students that give more than logits: fairseq's own criteria, and ``cmlm``.

    A user's own criterion is left alone.

    Args:
        task: of sentences or text.
        level: what its criteria are losses over.
        criterion: what ``--criterion`` names.

    Raises:
        UserError: naming those that go with the task.
    """
    cls = CRITERION_REGISTRY.get(criterion)
    if cls is None or criterion in kd_criteria or not (is_of_fairseq(cls) or is_of_plugin(cls)):
        return
    fitting = [name for name in kd_criteria if level in kd_criteria.get(name).cls.levels]
    raise UserError(
        f"{criterion}: is no loss over {level}, on which --task {name_of(task)} trains; take one of "
        f"{', '.join(fitting)} (docs/criteria)"
    )
