"""Dataclasses as fairseq's configs, whose fields become flags of the command line.

fairseq reads configs with a parser of its own that knows few types, and what it does not know it gets wrong
in silence. Each such case is translated or refused here, in the library's plain dataclasses
(:func:`fairseq_dataclass`) and, as far as types go, in the plug-in's own (:class:`PluginConfig`):

=====================================  ============================================================
a field                                what happens
=====================================  ============================================================
string annotation                      resolved to the type it names
``Literal["a", "b"]``                  choices
``list`` of int, float or str          ``typing.List``, given as ``1,2,3``; other spellings would be
                                       read character by character
``X | None``                           ``typing.Optional``
``bool`` that defaults to True         refused: its flag would switch it *off*
no default, any other type             refused
name of an existing flag               refused: the other flag's default would be used
=====================================  ============================================================
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import MISSING, Field
from typing import TYPE_CHECKING, Any, TypeVar

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.dataclass.configs import FairseqConfig
from fairseq.registry import REGISTRIES

from cmlm_kd.errors import UserError

SCALARS = (int, float, str, bool)
POSITIONAL = "data"  # fairseq turns a field of this name into a positional argument

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigT = TypeVar("ConfigT", bound="DataclassInstance")


class PluginConfig(FairseqDataclass):
    """Base of the configs of the plug-in's tasks, models, optimisers and encoders of text.

    Raises:
        UserError: for a subclass with a field of a type that fairseq cannot read.
    """

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        # @dataclass comes later and makes its fields of the annotations that it finds.
        cls.__annotations__ = {
            name: _translate(f"field {name!r} of {cls.__name__}", kind)
            for name, kind in inspect.get_annotations(cls, eval_str=True).items()
        }


def fairseq_dataclass(config: type, owner: str, extra: Mapping[str, tuple[Any, Any]] | None = None) -> type:
    """Return a ``FairseqDataclass`` with the fields of the plain dataclass ``config``.

    Args:
        config: the plain dataclass.
        owner: what the config belongs to, for messages.
        extra: further fields, name to (type, default), which are interpolations of settings that exist
            elsewhere.

    Raises:
        UserError: for a field that fairseq cannot carry, naming it and what to do.
    """
    hints = typing.get_type_hints(config)
    taken = _flags_of_fairseq()
    fields: list[tuple[str, Any, Field[Any]]] = []
    for field in dataclasses.fields(config):
        place = f"{owner}: field {field.name!r} of {config.__name__}"
        if field.name in taken or field.name == POSITIONAL or field.name.startswith("_"):
            raise UserError(
                f"{place} has the name of a setting of fairseq; rename it, with a prefix such as kd_"
            )
        _refuse_default(place, field, hints[field.name])
        fields.append((field.name, _translate(place, hints[field.name]), _copied(field)))
    for name, (kind, default) in (extra or {}).items():
        fields.append((name, kind, dataclasses.field(default=default)))
    return dataclasses.make_dataclass(config.__name__, fields, bases=(FairseqDataclass,))


def plain_config(config: type[ConfigT], values: object) -> ConfigT:
    """Return the plain dataclass ``config`` filled from fairseq's config object.

    Raises:
        UserError: from the dataclass itself, for a value outside its range.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(values, field.name)
        if isinstance(value, SCALARS) or value is None:
            found[field.name] = value
        elif hasattr(value, "value"):
            found[field.name] = str(value.value)  # a choice
        else:
            found[field.name] = list(value)
    return config(**found)


def refuse_collisions(parser: ArgumentParser, config: type, owner: str) -> None:
    """Refuse a config one of whose flags the chosen task or architecture already has.

    Raises:
        UserError: naming the flag.
    """
    for field in dataclasses.fields(config):
        flag = "--" + field.name.replace("_", "-")
        if flag in parser._option_string_actions:
            raise UserError(
                f"{owner}: flag {flag} also belongs to the task or the architecture, whose default fairseq "
                f"would use; rename the field {field.name!r} of {config.__name__}, with a prefix such as kd_"
            )


def _flags_of_fairseq() -> set[str]:
    """Return the names that every run of fairseq has, whatever its task, architecture and criterion."""
    sections = [field.type for field in dataclasses.fields(FairseqConfig)]
    for name, registry in REGISTRIES.items():
        if name != "criterion":
            sections.extend(registry["dataclass_registry"].values())
    names = set(REGISTRIES) | {"task", "arch"}
    for section in sections:
        if dataclasses.is_dataclass(section):
            names.update(field.name for field in dataclasses.fields(section))
    return names


def _refuse_default(place: str, field: Field[Any], kind: object) -> None:
    if field.default is MISSING and field.default_factory is MISSING:
        raise UserError(f"{place} has no default; give it one")
    if kind is bool and field.default is True:
        raise UserError(
            f"{place} is a bool that defaults to True, so that its flag would switch it off; "
            "turn its meaning round and let it default to False"
        )


def _copied(field: Field[Any]) -> Field[Any]:
    if field.default_factory is not MISSING:
        return dataclasses.field(default_factory=field.default_factory, metadata=field.metadata)
    return dataclasses.field(default=field.default, metadata=field.metadata)


def _translate(place: str, kind: Any) -> Any:
    """Return the type in fairseq's spelling."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in SCALARS:
        return kind
    if origin is typing.Literal and all(isinstance(choice, str) for choice in arguments):
        return ChoiceEnum(list(arguments))
    if origin is list and arguments[0] in (int, float, str):
        return typing.List[arguments[0]]  # type: ignore[valid-type]
    if origin in (typing.Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        inner = next(argument for argument in arguments if argument is not type(None))
        if inner is not bool:  # its flag could not say None
            return typing.Optional[_translate(place, inner)]
    raise UserError(
        f"{place} has type {kind}, which fairseq cannot read from a command line; use int, float, str, bool, "
        "a Literal of strings, a list of int, float or str, or one of these or None"
    )
