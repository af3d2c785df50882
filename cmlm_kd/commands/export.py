"""``cmlm-kd export``: a checkpoint in the form that other programs load."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.errors import UserError

HELP = "write a checkpoint in the form that other programs load"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="file that fairseq-train wrote (--arch bert_masked_lm or bert_cmlm)",
    )
    parser.add_argument(
        "--to",
        choices=["huggingface", "teacher"],
        default="huggingface",
        help="form: a directory for from_pretrained, or a C-MLM teacher's directory for 'cmlm-kd dump'",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory to write")
    parser.add_argument(
        "--tokenizer",
        help="with --to huggingface: directory or hub name; default: the one the model was trained with",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DATA_BIN", help="with --to teacher: the data-bin it was trained on"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the directory."""
    from cmlm_kd.export import export_teacher, export_to_huggingface

    if arguments.to == "huggingface":
        if arguments.data is not None:
            raise UserError("--data goes with --to teacher; leave it out")
        export_to_huggingface(arguments.checkpoint, arguments.output, arguments.tokenizer)
        print(f"{arguments.output}: written, for AutoModelForMaskedLM.from_pretrained")
    else:
        if arguments.data is None or arguments.tokenizer is not None:
            raise UserError(
                "--to teacher needs --data DATA_BIN, whose tokenizer and dictionary it takes; "
                "it has no --tokenizer"
            )
        export_teacher(arguments.checkpoint, arguments.data, arguments.output)
        print(f"{arguments.output}: written, for 'cmlm-kd dump --teacher'")
