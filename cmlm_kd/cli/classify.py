"""``cmlm-kd classify``: texts through any classifier; through a FastBERT each as deep as it needs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.cli.arguments import add_device, add_output, check_output, chosen_device, print_or_write
from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from cmlm_kd.data.classification.texts import TextPlace
    from cmlm_kd.deployment.loaded import Classification

HELP = "classify texts, with a FastBERT each by as many layers as it needs"

_AT_ONCE = 1024
"""Lines that are read before the first are answered, at most."""

Answer = Callable[[list[str], "list[str] | None", "TextPlace"], Iterator[str]]
"""From texts, second texts and their place to lines."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "texts",
        nargs="?",
        default="-",
        metavar="FILE",
        help="lines of text, or of text<TAB>text, plain or gzipped; -: standard input, answered as it comes",
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="DIR",
        help="what 'cmlm-kd export' wrote of a classifier, its checkpoint, or a Hugging Face directory",
    )
    parser.add_argument(
        "--speed",
        type=float,
        help="of a FastBERT: threshold in [0, 1] of the uncertainty at which a text leaves: 0 runs all "
        "layers, 1 the first alone; default: the calibrated one, or 0.5",
    )
    parser.add_argument("--format", choices=["tsv", "jsonl"], default="tsv", help="lines to write")
    parser.add_argument("--truncate", action="store_true", help="cut texts that are too long for the model")
    parser.add_argument("--batch-size", type=int, default=32, help="texts at once, 1 or more")
    add_device(parser)
    parser.add_argument("--tokenizer", help="of a checkpoint whose --bert directory is gone")
    parser.add_argument("--task", metavar="NAME", help="which of the tasks of a multitask_bert checkpoint")
    add_output(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write a line for each text, in their order."""
    from cmlm_kd.models.fastbert.model import FastBERTClassifier
    from cmlm_kd.models.loading import load_student

    check_output(arguments)
    device = chosen_device(arguments, arguments.model)
    model: Any = load_student(arguments.model, arguments.tokenizer, arguments.task)
    move = getattr(model, "to", None)
    model = move(device) if move is not None else model
    if isinstance(model, FastBERTClassifier):
        answer = _early_exits(model, arguments, device)
    elif arguments.speed is not None:
        raise UserError(
            f"--speed is for early exits, and {arguments.model} has none: it is no FastBERT; leave it out"
        )
    else:
        answer = _all_layers(model, arguments, device)
    lines = _answered(arguments.texts, answer)
    if arguments.output is not None:
        print_or_write("".join(f"{line}\n" for line in lines), arguments)
        return
    for line in lines:
        print(line)


def _answered(texts: str, answer: Answer) -> Iterator[str]:
    """Yield a header, if any, and a line for each text; standard input's as soon as it is there."""
    from cmlm_kd.data.classification.texts import TextPlace, parse_texts
    from cmlm_kd.deployment.stream import answered_in_turn
    from cmlm_kd.system.text import flush_output, lines_as_they_come, read_lines

    if texts != "-":
        first, second = parse_texts(read_lines(Path(texts)), texts)
        yield from answer(first, second, TextPlace(texts))
        return
    place, width = "standard input", None

    def answered(lines: list[str], number: int) -> Iterator[str]:
        nonlocal width
        first, second = parse_texts(lines, place, number, width)
        found = list(answer(first, second, TextPlace(place, number)))
        width = 1 if second is None else 2
        return iter(found)

    number = 1
    for lines in lines_as_they_come(sys.stdin.buffer, place, _AT_ONCE):  # type: ignore[arg-type]
        yield from answered_in_turn(answered, lines, number)
        number += len(lines)
        flush_output()
    if number == 1:
        yield from answer([], None, TextPlace(place))


def _early_exits(model: Any, arguments: argparse.Namespace, device: str) -> Answer:
    from cmlm_kd.early_exit.exits import check_speed
    from cmlm_kd.early_exit.lines import json_lines, tsv_lines
    from cmlm_kd.early_exit.prediction import classify

    if arguments.speed is not None:
        check_speed(model, arguments.speed)  # before waiting for standard input

    def answer(first: list[str], second: list[str] | None, place: TextPlace) -> Iterator[str]:
        classified = classify(
            model,
            first,
            second,
            speed=arguments.speed,
            batch_size=arguments.batch_size,
            truncate=arguments.truncate,
            device=device,
            place=place,
        )
        if arguments.format == "jsonl":
            return json_lines(classified, model.labels)
        return _with_one_header(tsv_lines(classified, model.labels), place)

    return answer


def _all_layers(model: Any, arguments: argparse.Namespace, device: str) -> Answer:
    from cmlm_kd.deployment.loaded import LoadedClassifier

    loaded = LoadedClassifier(model, str(arguments.model), device)

    def answer(first: list[str], second: list[str] | None, place: TextPlace) -> Iterator[str]:
        found = loaded.classify(
            first, second, truncate=arguments.truncate, batch_size=arguments.batch_size, place=place
        )
        if arguments.format == "jsonl":
            return (json.dumps(_as_json(one), ensure_ascii=False) for one in found)
        return _with_one_header(_as_table(found, loaded.labels), place)

    return answer


def _with_one_header(lines: Iterator[str], place: TextPlace) -> Iterator[str]:
    """Leave the header out of all answers but the first."""
    if place.first > 1:
        next(lines)
    return lines


def _as_table(found: Sequence[Classification], labels: Sequence[str]) -> Iterator[str]:
    yield "\t".join(["label", *(f"p({label})" for label in labels)] if labels else ["score"])
    for one in found:
        if one.score is not None:
            yield f"{one.score:.6f}"
        else:
            yield "\t".join([str(one.label), *(f"{value:.6f}" for value in one.probabilities.values())])


def _as_json(one: Classification) -> dict[str, object]:
    if one.score is not None:
        return {"score": round(one.score, 6)}
    rounded = {name: round(value, 6) for name, value in one.probabilities.items()}
    return {"label": one.label, "probabilities": rounded}
