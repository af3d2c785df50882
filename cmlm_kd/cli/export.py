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
        help="file that fairseq-train wrote "
        "(--arch bert_masked_lm, mobilebert, ib_bert, bert_classifier, multitask_bert, fastbert, "
        "bilstm_classifier or bert_cmlm)",
    )
    parser.add_argument(
        "--to",
        choices=["huggingface", "teacher", "bilstm"],
        default="huggingface",
        help="form: a directory for from_pretrained (of a FastBERT also for 'cmlm-kd classify'), a C-MLM "
        "teacher's directory for 'cmlm-kd dump', or a BiLSTM's for 'cmlm-kd evaluate'",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory to write")
    parser.add_argument(
        "--tokenizer",
        help="with --to huggingface: directory or hub name; default: the one the model was trained with",
    )
    parser.add_argument(
        "--task",
        metavar="NAME",
        help="with --to huggingface: which of the tasks of a multitask_bert checkpoint",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DATA_BIN", help="with --to teacher: the data-bin it was trained on"
    )
    parser.add_argument(
        "--checksums",
        action="store_true",
        help="write checksums.json as well, for 'cmlm-kd verify DIR'; a C-MLM teacher always has them",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the directory."""
    from cmlm_kd.models.export import (
        export_bilstm,
        export_teacher,
        export_to_huggingface,
    )
    from cmlm_kd.models.export_checksums import note_checksums

    checkpoint, output = arguments.checkpoint, arguments.output
    if arguments.to != "huggingface" and arguments.tokenizer is not None:
        raise UserError(
            f"--tokenizer goes with --to huggingface; --to {arguments.to} has its own: leave it out"
        )
    if arguments.to != "huggingface" and arguments.task is not None:
        raise UserError(f"--task goes with --to huggingface, not with --to {arguments.to}; leave it out")
    if arguments.to != "teacher" and arguments.data is not None:
        raise UserError("--data goes with --to teacher; leave it out")
    if arguments.to == "huggingface":
        loader = export_to_huggingface(checkpoint, output, arguments.tokenizer, arguments.task)
        print(f"{output}: written, for {loader}")
    elif arguments.to == "bilstm":
        export_bilstm(checkpoint, output)
        print(f"{output}: written, for 'cmlm-kd evaluate'")
    else:
        if arguments.data is None:
            raise UserError("--to teacher needs --data DATA_BIN, whose tokenizer and dictionary it takes")
        export_teacher(checkpoint, arguments.data, output)
        print(f"{output}: written, for 'cmlm-kd dump --teacher'")
    if arguments.checksums and arguments.to != "teacher":
        note_checksums(output)
