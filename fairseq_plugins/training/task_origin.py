"""Where a task comes from: this plug-in, fairseq, or a user; and what the command line calls it."""

from __future__ import annotations

from fairseq.tasks import FairseqTask

_PLUGIN = f"{__name__.partition('.')[0]}."
_FAIRSEQ = f"{FairseqTask.__module__.partition('.')[0]}."


def is_of_plugin(part: object) -> bool:
    """Return whether a task, or the class of a criterion, is one of this plug-in's."""
    return _module_of(part).startswith(_PLUGIN)


def is_of_fairseq(part: object) -> bool:
    """Return whether a task, or the class of a criterion, is one of fairseq's own, not a user's."""
    return _module_of(part).startswith(_FAIRSEQ)


def name_of(task: FairseqTask) -> str:
    """Return what ``--task`` calls a task; older ones of fairseq's have flags and no settings."""
    settings = task.cfg
    return str(task.args.task if settings is None else settings._name)


def _module_of(part: object) -> str:
    return (part if isinstance(part, type) else type(part)).__module__
