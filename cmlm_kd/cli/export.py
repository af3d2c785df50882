"""``cmlm-kd export``: a checkpoint in the form that other programs load."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cmlm_kd.errors import UserError

HELP = "write a checkpoint in the form that other programs load"


FORMS = ("huggingface", "ctranslate2", "onnx", "teacher", "bilstm")
"""What ``--to`` can be."""


SHORTLIST_SIZE = 50
"""As in the recipes of the Bergamot project."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="file that fairseq-train wrote: a translation student, or one of --arch bert_masked_lm, "
        "mobilebert, ib_bert, bert_classifier, multitask_bert, fastbert, bilstm_classifier or bert_cmlm",
    )
    parser.add_argument(
        "--to",
        choices=FORMS,
        default="huggingface",
        help="form: a directory for from_pretrained (of a FastBERT also for 'cmlm-kd classify'), for "
        "CTranslate2 or for ONNX Runtime; a C-MLM teacher's directory for 'cmlm-kd dump', "
        "or a BiLSTM's for 'cmlm-kd evaluate'",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory to write")
    parser.add_argument(
        "--tokenizer",
        help="of classifiers and masked language models: directory or hub name; default: the one the model "
        "was trained with",
    )
    parser.add_argument(
        "--task",
        metavar="NAME",
        help="which of the tasks of a multitask_bert checkpoint",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DATA_BIN",
        help="of a translation student or a C-MLM teacher: the data-bin it was trained on",
    )
    parser.add_argument(
        "--checksums",
        action="store_true",
        help="write checksums.json as well, for 'cmlm-kd verify DIR'; a C-MLM teacher always has them, and "
        "export.json has them too",
    )
    _add_check(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("weights, and the comparison with the checkpoint")
    group.add_argument(
        "--quantize",
        choices=["int8"],
        help="type of the weights of --to ctranslate2 and onnx; default: float32",
    )
    group.add_argument(
        "--sentences",
        type=Path,
        metavar="FILE",
        help="text to compare with, one sentence a line; default: the data-bin's or the corpus's own",
    )
    group.add_argument(
        "--references",
        type=Path,
        metavar="FILE",
        help="translations, or classes, of --sentences, for BLEU or accuracy before and after",
    )
    group.add_argument(
        "--shortlist",
        type=int,
        nargs="?",
        const=SHORTLIST_SIZE,
        metavar="N",
        help="of --to ctranslate2: search among the N most frequent target tokens and the N likeliest "
        "translations of each source token, found in the training data; N is at least 1, without a number "
        f"{SHORTLIST_SIZE}",
    )
    group.add_argument(
        "--opset", type=int, metavar="N", help="of --to onnx: version of its operators, 18 to 23; default: 18"
    )
    group.add_argument("--beam", type=int, default=5, help="of the comparison by search, at least 1")
    group.add_argument(
        "--least-equal",
        type=float,
        metavar="SHARE",
        help="share of equal answers below which nothing is written, in [0, 1]; default: 0.99, of int8 "
        "or with a shortlist 0.5",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the directory."""
    from cmlm_kd.deployment.student import is_translator
    from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
    from cmlm_kd.system.files import check_new_directory

    if arguments.to in ("teacher", "bilstm"):
        _export_another(arguments)
        return
    holds_a_model = os.path.exists(arguments.output / "config.json")
    problem = "already holds a model" if holds_a_model else "is not empty"
    check_new_directory(arguments.output, problem, "remove it or give another --output")
    state = read_checkpoint(arguments.checkpoint)
    if is_translator(state):
        _export_translator(arguments)
    elif arguments.to == "onnx" or settings_of(state, "model").get("_name") in _CLASSIFIERS:
        _export_classifier(arguments)
    elif arguments.to == "ctranslate2":
        raise UserError(
            f"--to ctranslate2 takes translation students, and {arguments.checkpoint} is none; export it to "
            "huggingface or onnx"
        )
    else:
        _export_another(arguments)


_CLASSIFIERS = ("bert_classifier", "multitask_bert")
"""Architectures of classifiers that Hugging Face has."""


def _export_classifier(arguments: argparse.Namespace) -> None:
    from cmlm_kd.deployment.classifier import ClassifierExport, export_classifier

    if arguments.to == "ctranslate2":
        raise UserError("--to ctranslate2 takes translation students, not classifiers; export it to onnx")
    if arguments.data is not None:
        raise UserError("--data goes with translation students and --to teacher; leave it out")
    if arguments.shortlist is not None:
        raise UserError("--shortlist goes with translation students and --to ctranslate2; leave it out")
    if arguments.to == "huggingface" and arguments.quantize is not None:
        raise UserError("--quantize goes with --to onnx: directories of transformers hold floating point")
    export = ClassifierExport(
        arguments.checkpoint,
        arguments.to,
        arguments.output,
        arguments.tokenizer,
        arguments.task,
        arguments.quantize,
        arguments.sentences,
        arguments.references,
        arguments.least_equal,
        arguments.opset,
    )
    _tell(export_classifier(export), arguments)


def _export_translator(arguments: argparse.Namespace) -> None:
    from cmlm_kd.deployment.translator import TranslatorExport, export_translator

    for flag in ("tokenizer", "task"):
        if getattr(arguments, flag) is not None:
            raise UserError(f"--{flag} means nothing to a translation student; leave it out")
    export = TranslatorExport(
        arguments.checkpoint,
        arguments.to,
        arguments.output,
        arguments.data,
        arguments.quantize,
        arguments.sentences,
        arguments.references,
        arguments.beam,
        arguments.least_equal,
        arguments.shortlist,
        arguments.opset,
    )
    _tell(export_translator(export), arguments)


def _tell(lines: list[str], arguments: argparse.Namespace) -> None:
    """Print what an export found, and how to publish it."""
    from cmlm_kd.deployment.model_card import publishing
    from cmlm_kd.models.export_checksums import note_checksums

    print("\n".join(lines))
    if arguments.checksums:
        note_checksums(arguments.output)
    print("to publish it, fill in the licence in README.md; then:")
    print("\n".join(f"  {command}" for command in publishing(arguments.output)))


def _export_another(arguments: argparse.Namespace) -> None:
    from cmlm_kd.models.export import (
        export_bilstm,
        export_teacher,
        export_to_huggingface,
    )
    from cmlm_kd.models.export_checksums import note_checksums

    checkpoint, output = arguments.checkpoint, arguments.output
    for flag in ("quantize", "shortlist", "opset", "sentences", "references", "least_equal"):
        if getattr(arguments, flag) is not None:
            raise UserError(
                f"--{flag.replace('_', '-')} goes with translation students and classifiers, to huggingface, "
                "ctranslate2 or onnx; leave it out"
            )
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
