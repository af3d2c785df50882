"""``cmlm-kd evaluate-masked-lm``: masked language models on held-out text, with their teacher."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.cli.arguments import (
    add_device,
    add_output,
    check_output,
    chosen_device,
    named_models,
    print_or_write,
)
from cmlm_kd.errors import UserError

HELP = "measure masked language models: accuracy and loss on masked tokens, agreement with a teacher"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "text",
        type=Path,
        metavar="TEXT",
        help="held-out text, plain or gzipped, or a data set saved on disk, whose validation split is read",
    )
    parser.add_argument(
        "--text-column", default="", help="of a saved data set; default: its only column of strings, or text"
    )
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="[NAME=]PATH",
        help="checkpoint of 'fairseq-train --task masked_lm_kd', or Hugging Face directory",
    )
    parser.add_argument("--teacher", metavar="PATH", help="likewise; how often each model agrees with it")
    parser.add_argument(
        "--max-length", type=int, default=128, help="positions of a row, 3 or more; longer lines are parted"
    )
    parser.add_argument(
        "--masking",
        choices=["random", "frequency", "whole-word"],
        default="random",
        help="what to mask: each token alike, rather rare ones (DistilBERT), or words",
    )
    parser.add_argument(
        "--tokenized",
        type=Path,
        metavar="DIR",
        help="that of the training, whose text says what is rare, for --masking frequency",
    )
    parser.add_argument(
        "--mask-smoothing",
        type=float,
        default=0.7,
        help="of --masking frequency: tokens count as count^-x; 0 or more",
    )
    parser.add_argument(
        "--mask-probability", type=float, default=0.15, help="share of the tokens to mask, in (0, 1]"
    )
    parser.add_argument("--mask-seed", type=int, default=1, help="which tokens, 0 or more")
    parser.add_argument("--max-tokens", type=int, default=4096, help="positions of a batch, 1 or more")
    add_device(parser)
    parser.add_argument("--bf16-autocast", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="what to print")
    add_output(parser)


def run(arguments: argparse.Namespace) -> None:
    """Load, mask, measure, print."""
    import json

    from cmlm_kd.data.masking.positions import check_mask_probability, check_smoothing
    from cmlm_kd.evaluation.masked_lm import (
        MaskedModel,
        check_comparable,
        counts_of_training,
        held_out_text,
        load_measured,
        mask_text,
        masked_table,
        measure_masked,
        measured_tokenizer,
    )
    from cmlm_kd.system.ranges import AT_LEAST_ONE, NOT_NEGATIVE, at_least, check_range

    check_output(arguments)
    check_mask_probability("evaluate-masked-lm", arguments.mask_probability)
    check_smoothing("evaluate-masked-lm", arguments.mask_smoothing)
    by_frequency = arguments.masking == "frequency"
    if by_frequency != (arguments.tokenized is not None):
        raise UserError(
            "--masking frequency and --tokenized go together: the training's tokens say what is rare; give "
            "both or neither"
        )
    check_range("--max-length", arguments.max_length, at_least(3))
    check_range("--max-tokens", arguments.max_tokens, AT_LEAST_ONE)
    check_range("--mask-seed", arguments.mask_seed, NOT_NEGATIVE)
    device = chosen_device(arguments)
    named = named_models(arguments.model)
    models = []
    for name, path in named:
        model, signature = load_measured(path)
        models.append(MaskedModel(name, model.to(device), signature))
    teacher = load_measured(arguments.teacher)[0].to(device) if arguments.teacher else None
    others = [] if teacher is None else [teacher]
    check_comparable([*(model.model for model in models), *others], arguments.max_length)
    tokenizer = measured_tokenizer(named[0][1])
    text = mask_text(
        held_out_text(arguments.text, arguments.text_column),
        tokenizer,
        max_length=arguments.max_length,
        masking=arguments.masking,
        counts=counts_of_training(arguments.tokenized, tokenizer) if by_frequency else None,
        smoothing=arguments.mask_smoothing,
        probability=arguments.mask_probability,
        seed=arguments.mask_seed,
        batch_tokens=arguments.max_tokens,
    )
    results = [measure_masked(model, text, teacher, bfloat16=arguments.bf16_autocast) for model in models]
    if arguments.format == "json":
        document = {"hidden_pieces": text.masked, "models": [result.to_document() for result in results]}
        printed = json.dumps(document, indent=2) + "\n"
    else:
        printed = f"{text.masked:,} masked tokens of {arguments.text}\n\n{masked_table(results)}"
    print_or_write(printed, arguments)
