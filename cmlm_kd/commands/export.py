"""``cmlm-kd export``: a checkpoint in the form that other programs load."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a checkpoint in the form that other programs load"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="file that fairseq-train wrote (--arch bert_masked_lm)",
    )
    parser.add_argument(
        "--to", choices=["huggingface"], default="huggingface", help="form: a directory for from_pretrained"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory to write")
    parser.add_argument(
        "--tokenizer", help="Hugging Face directory or hub name; default: the one the model was trained with"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the directory."""
    from cmlm_kd.export import export_to_huggingface

    export_to_huggingface(arguments.checkpoint, arguments.output, arguments.tokenizer)
    print(f"{arguments.output}: written, for AutoModelForMaskedLM.from_pretrained")
