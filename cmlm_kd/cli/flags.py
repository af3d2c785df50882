"""``cmlm-kd flags``: the flags of a criterion, which ``fairseq-train --help`` leaves out."""

import argparse

HELP = "print the flags of a criterion with ranges and defaults, which fairseq-train --help leaves out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("criterion", nargs="?", help="such as soft_target_kd; without it, the names of all")


def run(arguments: argparse.Namespace) -> None:
    """Print a paragraph for each flag, or the names of all criteria."""
    import dataclasses
    import importlib
    import pkgutil
    import textwrap
    import typing

    import cmlm_kd.criteria
    from cmlm_kd.api.registry import kd_criteria

    for module in pkgutil.iter_modules(cmlm_kd.criteria.__path__):
        importlib.import_module(f"{cmlm_kd.criteria.__name__}.{module.name}")  # criteria register themselves
    if arguments.criterion is None:
        print("\n".join(kd_criteria))
        return
    config = kd_criteria.get(arguments.criterion).config
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        flag = f"--{field.name.replace('_', '-')}"
        if typing.get_origin(hints[field.name]) is typing.Literal:
            flag += " {" + ",".join(map(str, typing.get_args(hints[field.name]))) + "}"
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        told = "a switch" if isinstance(default, bool) else f"default: {default}"
        print(flag)
        print(
            textwrap.fill(
                f"{field.metadata.get('help', '')} ({told})",
                100,
                initial_indent="    ",
                subsequent_indent="    ",
            )
        )
