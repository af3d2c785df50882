"""The ``cmlm-kd`` command and its sub-commands, one per module."""

from cmlm_kd.cli.command_line import build_parser, entry_point, main

__all__ = ["build_parser", "entry_point", "main"]
