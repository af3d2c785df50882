"""``cmlm-kd flags``: the flags of a criterion, which ``fairseq-train --help`` leaves out, and its paper."""

from __future__ import annotations

import argparse

HELP = "print the flags of a criterion, which fairseq-train --help leaves out, and the paper to cite"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("criterion", nargs="?", help="such as soft_target_kd; without it, the names of all")


def run(arguments: argparse.Namespace) -> None:
    """Print a paragraph for each flag and the paper to cite, or the names of all criteria."""
    import textwrap

    from cmlm_kd.api.registry import kd_criteria
    from cmlm_kd.criteria import load_criteria
    from cmlm_kd.criteria.description import flags_of

    load_criteria()
    if arguments.criterion is None:
        print("\n".join(kd_criteria))
        return
    entry = kd_criteria.get(arguments.criterion)
    for flag in flags_of(entry.config):
        choices = f" {{{','.join(flag.choices)}}}" if flag.choices else ""
        default = {"off": "a switch", "none": "no default"}.get(flag.default, f"default: {flag.default}")
        print(f"{flag.name}{choices}")
        print(textwrap.fill(f"{flag.help} ({default})", 100, initial_indent="    ", subsequent_indent="    "))
    if entry.cls.citation:
        print(f"\nTo cite the method:\n\n{entry.cls.citation}", end="")
