"""Which kind of translator a user means, and that kind, imported when it is asked for."""

from __future__ import annotations

import importlib
from dataclasses import fields, replace
from pathlib import Path

from cmlm_kd.api.registry import unknown_name
from cmlm_kd.api.translator import ModelChoice, Translator, translators
from cmlm_kd.errors import UserError
from cmlm_kd.system.hugging_face import is_language_model
from cmlm_kd.system.root_logger import root_logger_kept

ENTRY_POINTS = "cmlm_kd.translators"
"""Group of entry points: name of a kind -> the module of an installed package that registers it."""

FAIRSEQ = "fairseq"
OWN_KINDS = ("encoder_decoder", "language_model", "ctranslate2", "onnx")
"""Kinds of this package; each is the module of that name here."""


def load_translator(model: str, choice: ModelChoice, via: str | None = None) -> Translator:
    """Return the translator that ``--model`` names.

    Args:
        model: ``KIND=PATH`` or a path, whose kind is then found out; several paths are separated by colons.
        choice: all else that the user said; its ``paths`` are taken from ``model``.
        via: another kind to convert it to first: ``ctranslate2``, or None.

    Raises:
        UserError: no such kind, a setting that means nothing to it, or a model that cannot be loaded.
    """
    kind, paths = split_model(model)
    cls = translator_class(kind)
    choice = replace(choice, paths=paths)
    means_nothing = {field.name for field in fields(choice)} - {"paths", "device"} - cls.settings
    names = means_nothing - ({"quantize"} if via else set())
    given = sorted(name for name in names if getattr(choice, name) is not None)
    if given:
        raise UserError(
            f"--{given[0].replace('_', '-')} means nothing to {model}, a model of kind {kind}; leave it out"
        )
    if via is None:
        return cls.load(choice)
    from cmlm_kd.models.translators.ctranslate2 import CTranslate2Translator

    # On its way through CTranslate2 a model needs no place on the GPU itself.
    base = cls.load(replace(choice, device="cpu", quantize=None))
    return CTranslate2Translator.converted(base, choice.device, choice.quantize)


def translator_class(kind: str) -> type[Translator]:
    """Return the class of a kind, imported now if it was not yet.

    Raises:
        UserError: if there is none of that name, or it cannot be imported.
    """
    if kind not in translators:
        if kind in OWN_KINDS:
            importlib.import_module(f"cmlm_kd.models.translators.{kind}")
        else:
            with root_logger_kept():  # fairseq's tasks make it print whatever any library has to say
                translators.load_entry_points(ENTRY_POINTS, only=kind)
    if kind == FAIRSEQ and kind not in translators and kind not in translators.broken:
        raise UserError(
            "fairseq checkpoints are translated by the plug-in of this package, which is not installed; run "
            "'pip install .' (in a checkout 'pip install -e .') again"
        )
    if kind not in translators and kind not in translators.broken:
        raise unknown_name(translators.kind, kind, known := _names(), known)
    return translators.get(kind).cls


def _names() -> list[str]:
    """Return all kinds; a kind is imported when it is named, so that the registry knows few of them."""
    from importlib.metadata import entry_points

    return sorted({*OWN_KINDS, *translators, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def split_model(model: str) -> tuple[str, tuple[str, ...]]:
    """Return kind and paths of ``[KIND=]PATH[:PATH...]``.

    The name of what exists may have both signs in it, as in ``lr=0.1/checkpoint_best.pt``.

    Raises:
        UserError: if the kind cannot be told from the path.
    """
    kind, equals, rest = model.partition("=")
    paths = _paths(model)
    if equals and "/" not in kind and not Path(paths[0]).expanduser().exists():
        return kind, _paths(rest)
    return _kind_of(paths[0]), paths


def _paths(text: str) -> tuple[str, ...]:
    return (text,) if Path(text).expanduser().exists() else tuple(text.split(":"))


def _kind_of(path: str) -> str:
    """Return the kind of a file or directory; a name that is neither is one of the hub."""
    place = Path(path).expanduser()
    if place.suffix == ".pt":
        return FAIRSEQ
    if place.suffix == ".gguf":
        return "language_model"
    if place.is_file():
        raise UserError(
            f"--model {path}: a file that ends neither with .pt (fairseq) nor with .gguf; say its kind: "
            f"--model KIND={path}"
        )
    if (place / "model.bin").is_file() and not (place / "pytorch_model.bin").exists():
        return "ctranslate2"
    if (place / "decoder.onnx").is_file():
        return "onnx"
    if not place.exists() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise UserError(
            f"--model {path} does not exist; give a checkpoint, a model's directory or a hub name"
        )
    return "language_model" if is_language_model(place) else "encoder_decoder"
