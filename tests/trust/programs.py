"""Every command that the harness runs, on which files, and what it may write.

A program runs in a copy of its group's folder of the base (:mod:`base`), in which all paths are relative.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Program:
    """One command that succeeds on the base.

    Attributes:
        name: of the program, for the names of cases.
        group: folder of the base it runs in.
        words: ``cmlm-kd`` without its name, or a command of fairseq with its name.
        reads: files whose contents are spoilt.
        writes: files and folders that it makes or changes.
        checked: those of ``reads`` in which a changed byte must be noticed, or must not matter.
        goes_on: where it may leave something that the same command goes on from.
        tuned: flags whose values are spoilt; None: all that stand in ``words``.
    """

    name: str
    group: str
    words: tuple[str, ...]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    goes_on: tuple[str, ...] = ()
    more_flags: tuple[str, ...] = field(default=())

    @property
    def is_training(self) -> bool:
        """Whether it is fairseq-train, whose checkpoints have times in them."""
        return self.words[0] == "fairseq-train"

    @property
    def speaker(self) -> str:
        """What the line of a refusal begins with."""
        name = self.words[0]
        return name if name.startswith("fairseq-") or name.endswith(".py") else f"cmlm-kd {name}"


def program(name: str, group: str, words: str, **more: str) -> Program:
    """Make a program; every value is words separated by spaces."""
    return Program(name, group, tuple(words.split()), **{key: tuple(v.split()) for key, v in more.items()})


# Flags of every training.
SHORT = "--cpu --seed 1 --no-epoch-checkpoints --no-progress-bar --log-format json --log-interval 1"
