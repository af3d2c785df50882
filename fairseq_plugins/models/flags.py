"""Flags that architectures of BERTs have in common, and what makes their values wrong."""

from dataclasses import fields
from typing import Any, NoReturn

from fairseq.dataclass import FairseqDataclass

from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import SHARE_BELOW_ONE, check_range


def check_dropout(dropout: float | None, owner: str) -> None:
    """Refuse a ``--dropout`` that is no probability below 1; None stands for the model's own.

    Raises:
        UserError: naming the architecture.
    """
    if dropout is not None:
        check_range("--dropout", dropout, SHARE_BELOW_ONE, owner=owner, joint=", ")


def check_encoder_given(bert: str, owner: str) -> None:
    """Refuse an architecture without ``--bert`` to start from.

    Raises:
        UserError: naming the architecture.
    """
    if not bert:
        raise UserError(
            f"{owner}: --bert is missing; give the directory or hub name of an encoder to start from"
        )


def given_sizes(cfg: FairseqDataclass, sizes: type[Any], owner: str) -> dict[str, int]:
    """Return the sizes of a new model that are given, by name.

    Args:
        cfg: with ``bert`` and flags for all, or some, of the sizes.
        sizes: the library's dataclass of them.
        owner: the architecture, for messages.

    Raises:
        UserError: if any is, beside ``--bert``.
    """
    every = {size.name: getattr(cfg, size.name, None) for size in fields(sizes)}
    given = {name: value for name, value in every.items() if value is not None}
    if cfg.bert and given:
        refuse_beside_bert(next(iter(given)), owner, "the size of")
    return given


def refuse_beside_bert(name: str, owner: str, what: str = "for") -> NoReturn:
    """Refuse a flag that shapes a new model where one is loaded.

    Raises:
        UserError: naming the flag.
    """
    flag = name.replace("_", "-")
    raise UserError(f"{owner}: --{flag} is {what} a new model; leave it out or leave out --bert")
