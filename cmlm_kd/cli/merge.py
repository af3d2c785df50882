"""``cmlm-kd merge``: one store of the shards that several workers wrote."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.cli.dump import print_contents

HELP = "make one store of what several 'cmlm-kd dump --shard' wrote"
GOES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "parts",
        type=Path,
        nargs="*",
        metavar="DIR",
        help="what each worker wrote; default: all of OUTPUT.parts, which disappears at the end",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="store to write; an unfinished one is continued"
    )


def run(arguments: argparse.Namespace) -> None:
    """Merge, and say what the store holds."""
    import shutil

    from cmlm_kd.errors import UserError
    from cmlm_kd.store import SoftTargetStore
    from cmlm_kd.store.manifest import MANIFEST_NAME
    from cmlm_kd.store.merging import merge_parts
    from cmlm_kd.system.aside import parts_of
    from cmlm_kd.system.files import check_new_directory

    folder = parts_of(arguments.output)
    parts = arguments.parts or (sorted(folder.iterdir()) if folder.is_dir() else [])
    if not parts and (arguments.output / MANIFEST_NAME).is_file():  # merged before
        return print_contents(arguments.output, SoftTargetStore.open(arguments.output).manifest)
    if not parts:
        raise UserError(
            f"{folder} has no parts of a store; name the directories that 'cmlm-kd dump --shard' wrote"
        )
    check_new_directory(arguments.output, "is a file", "give a directory", in_the_way=lambda entry: False)
    manifest = merge_parts(parts, arguments.output)
    if not arguments.parts:
        shutil.rmtree(folder)
    return print_contents(arguments.output, manifest)
