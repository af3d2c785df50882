"""``cmlm-kd evaluate``: classifiers on a labelled set, teacher and student side by side."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.cli.arguments import (
    add_device,
    add_output,
    check_output,
    chosen_device,
    named_models,
    print_or_write,
)
from cmlm_kd.system.text import comma_separated

if TYPE_CHECKING:
    from cmlm_kd.data.classification import Examples
    from cmlm_kd.evaluation.classification import Candidate

HELP = "measure classifiers: GLUE's metrics, parameters, examples per second, predictions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the corpus")
    parser.add_argument(
        "--corpus", required=True, help="SST-2, RTE, ..., text or huggingface; see docs/classification.md"
    )
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="[NAME=]PATH",
        help="checkpoint of 'fairseq-train --task classification_kd' or 'multitask_kd', or Hugging Face "
        "directory; PATH:PATH is an ensemble",
    )
    parser.add_argument(
        "--split", default="valid", help="train, valid, test, or the name of another file or split"
    )
    parser.add_argument("--file", default="", help="read this file of the folder instead of the split's")
    parser.add_argument("--regression", action="store_true", help="scores (text and huggingface)")
    parser.add_argument(
        "--text-columns", default="", help="columns of the sentences, by commas (huggingface)"
    )
    parser.add_argument(
        "--skip-malformed-rows", action="store_true", help="leave them out instead of refusing the file"
    )
    parser.add_argument(
        "--model-labels",
        default="",
        help="classes of the models' logits, by commas, where they have no names",
    )
    parser.add_argument(
        "--task", metavar="NAME", help="of multitask_bert checkpoints; default: the name of --corpus"
    )
    parser.add_argument("--tokenizer", help="of BERT checkpoints whose --bert directory is gone")
    parser.add_argument(
        "--ensemble", choices=["probabilities", "logits"], default="probabilities", help="what is averaged"
    )
    parser.add_argument("--predictions", type=Path, metavar="DIR", help="write NAME.tsv for each model there")
    parser.add_argument(
        "--corpus-labels",
        action="store_true",
        help="in predictions, call classes as the corpus's files do (0 and 1 for SST-2), not by their names",
    )
    parser.add_argument("--batch-size", type=int, default=32, help="examples at once, 1 or more")
    add_device(parser)
    parser.add_argument("--bf16-autocast", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--no-speed", action="store_true", help="do not measure examples per second")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="what to print")
    add_output(parser)


def run(arguments: argparse.Namespace) -> None:
    """Load, measure, print."""
    import json

    from cmlm_kd.data.classification.corpora import class_names_of
    from cmlm_kd.evaluation.classification import (
        EvaluationSettings,
        evaluate_classifier,
        results_table,
        write_predictions,
    )
    from cmlm_kd.evaluation.glue import usual_metrics
    from cmlm_kd.system.files import check_file_place, written_together
    from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range

    check_output(arguments)
    if arguments.predictions is not None:
        for name, _ in named_models(arguments.model):
            check_file_place(_predictions_of(arguments, name))
    check_range("--batch-size", arguments.batch_size, AT_LEAST_ONE)
    device = chosen_device(arguments)
    candidates = _candidates(arguments, device)
    examples = _examples(arguments, candidates[0].models[0])
    settings = EvaluationSettings(
        metrics=usual_metrics(len(examples.labels)),
        batch_size=arguments.batch_size,
        device=device,
        bfloat16=arguments.bf16_autocast,
        ensembling=arguments.ensemble,
        speed=not arguments.no_speed,
        values=class_names_of(arguments.corpus),
        model_labels=comma_separated(arguments.model_labels),
        several=sum(len(candidate.models) for candidate in candidates) > 1,
    )
    results = [evaluate_classifier(candidate, examples, settings) for candidate in candidates]
    if arguments.format == "json":
        document = {"examples": len(examples), "models": [result.to_document() for result in results]}
        text = json.dumps(document, indent=2) + "\n"
    else:
        text = f"{len(examples):,} examples of {examples.source}\n\n{results_table(results)}"
    with written_together():
        if arguments.predictions is not None:
            values = class_names_of(arguments.corpus) if arguments.corpus_labels else None
            called = {name: value for value, name in (values or {}).items()}
            named = replace(examples, labels=tuple(called.get(name, name) for name in examples.labels))
            for result in results:
                write_predictions(_predictions_of(arguments, result.name), result, named)
        print_or_write(text, arguments)


def _predictions_of(arguments: argparse.Namespace, name: str) -> Path:
    folder: Path = arguments.predictions
    return folder / f"{name}.tsv"


def _candidates(arguments: argparse.Namespace, device: str) -> list[Candidate]:
    from cmlm_kd.evaluation.classification import Candidate
    from cmlm_kd.models.loading import load_student

    task = arguments.task or arguments.corpus

    def load(path: str) -> Any:
        model: Any = load_student(Path(path), arguments.tokenizer, task)
        return model.to(device)

    return [
        Candidate(name, [load(path) for path in paths.split(":")], _signature(Path(paths), task))
        for name, paths in named_models(arguments.model)
    ]


def _signature(path: Path, task: str) -> str | None:
    from cmlm_kd.criteria.signature import signature_by_teachers
    from cmlm_kd.fairseq_files.checkpoints import read_checkpoint

    return signature_by_teachers(read_checkpoint(path), task) if path.is_file() else None


def _examples(arguments: argparse.Namespace, model: Any) -> Examples:
    """Read the data; plain text has the classes of the first model, of which a small set may lack some."""
    from cmlm_kd.data.classification import TEXT, ReadingOptions, read_examples

    labels = (comma_separated(arguments.model_labels) or model.labels) if arguments.corpus == TEXT else ()
    options = ReadingOptions(
        arguments.corpus,
        labels=labels,
        regression=arguments.regression or (arguments.corpus == TEXT and not labels),
        text_columns=comma_separated(arguments.text_columns),
        skip_malformed=arguments.skip_malformed_rows,
        label_optional=True,
        pairs=model.reads_pairs,
    )
    return read_examples(arguments.data, arguments.split, options, arguments.file)
