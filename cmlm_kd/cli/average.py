"""``cmlm-kd average``: one checkpoint out of several, or a portable one."""

import argparse
from pathlib import Path

from cmlm_kd.cli.arguments import check_not_read
from cmlm_kd.errors import UserError, speaking_of

HELP = "average checkpoints of a training run; --portable: for a fairseq without this plug-in"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--inputs", nargs="+", type=Path, metavar="FILE", help="the checkpoints, one or more")
    source.add_argument("--dir", type=Path, help="the --save-dir of a training run, with --last or --best")
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--last", type=int, metavar="N", help="the N newest checkpoints of --dir")
    number.add_argument("--best", type=int, metavar="N", help="the N best checkpoints of --dir on validation")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the checkpoint to write")
    parser.add_argument(
        "--portable",
        action="store_true",
        help="write stock task, criterion and settings: fairseq-generate reads it without --user-dir",
    )


def run(arguments: argparse.Namespace) -> None:
    """Choose, average, write."""
    from cmlm_kd.fairseq_files.averaging import average_checkpoints, select_checkpoints
    from cmlm_kd.fairseq_files.checkpoints import write_checkpoint
    from cmlm_kd.fairseq_files.portable import make_portable
    from cmlm_kd.system.files import check_file_place

    if arguments.inputs is not None and (arguments.last is not None or arguments.best is not None):
        raise UserError(
            "--last and --best choose among the checkpoints of --dir; they don't go with --inputs"
        )
    check_file_place(arguments.output)
    paths = arguments.inputs or select_checkpoints(arguments.dir, arguments.last, arguments.best)
    check_not_read("--output", arguments.output, paths)
    state = average_checkpoints(paths)
    if arguments.portable:
        with speaking_of(paths[0]):
            state = make_portable(state)
    write_checkpoint(state, arguments.output)
    names = ", ".join(str(path) for path in paths)
    print(
        f"{arguments.output}: mean of {len(paths)} checkpoints ({names}){', portable' * arguments.portable}"
    )
