"""Cases of malformed arguments: odd values behind every flag, and in the place of every argument."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cases import Case, Place, chance_of
from catalogue import PROGRAMS
from contents import VALUES
from programs import Program
from verdicts import changed, wrong_refusal, wrong_success

OURS = frozenset(
    [
        "--task",
        "--criterion",
        "--arch",
        "--bert",
        "--soft-targets",
        "--online-teacher",
        "--kd-iterations",
        "--kd-topk",
        "--kd-alpha",
        "--kd-temperature",
        "--teacher",
        "--teacher-cache",
        "--layers",
        "--word-vectors",
        "--corpus",
        "--corpora",
        "--san-heads",
        "--tokenized",
        "--branch-size",
        "--hidden-size",
        "--fc-size",
        "--heads",
        "--ffn-size",
        "--positions",
        "--bert-tokenizer",
        "--teacher-tokenizer",
        "--masking",
        "--mask-probability",
        "--fold",
        "--hold-out",
    ]
)
"""Flags of fairseq's commands that the plug-in answers for."""

MORE: dict[str, str] = {
    "dump": "--stride --split --weights --tail-temperatures --device",
    "translate": "--n-best --top-k --top-p --temperature --seed --length-penalty --max-length-ratio --pick "
    "--filter --shard --quantize --prompt --examples",
    "score": "--seed --tokenize --chrf-word-order",
    "train a student": "--kd-alpha --kd-temperature --fold",
    "train with cached states": "--kd-encoder-layer-map --kd-hidden-weight",
    "train a masked LM": "--mask-probability --masking",
    "train with a cache": "--hold-out",
    "augment": "--mask --ngram --longest-ngram --mask-word --tagger --replace --seed --train-file",
    "augment by a masked language model": "--candidates --mode --max-tokens",
    "exits": "--speed --plain --split --batch-size",
    "calibrate": "--hold-out --hold-out-seed --split --batch-size",
    "evaluate": "--split --batch-size",
    "evaluate-masked-lm": "--mask-smoothing --mask-probability --mask-seed --max-tokens --text-column",
    "train-tokenizer": "--character-coverage",
    "split": "--hold-out --hold-out-seed --train-file",
    "split of a dataset": "--text-columns",
    "run": "--set --until --lanes",
    "choose": "--best",
    "verify a store": "--split --valid-store --valid-split --source-lang",
    "average --dir": "--last",
    "compare-seeds": "--metric",
    "prepare": "--dictionaries --trainpref",
}
"""More flags, which are added with the value."""

OF_EACH = 7
"""Values of each flag."""

OUTPUTS = frozenset(["--output", "--save-dir", "--log-file", "--plot", "--predictions", "--destdir"])


def malformed_values(base: Path, seed: int) -> Iterator[Case]:
    """Yield the cases."""
    del base
    for program in PROGRAMS:
        for flag, words in _variants(program):
            for value in chance_of(seed, program.name, flag).sample(VALUES, OF_EACH):
                filled = tuple(value if word is None else word for word in words)
                name = f"values/{program.name}/{flag}/{value[:20]!r}"
                yield Case(name.replace("\n", " "), partial(_try, program, filled, flag, value))


def _variants(program: Program) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """Yield a flag, and the words with None in the place of its value."""
    words = program.words
    for place in range(1, len(words)):
        flag = words[place - 1]
        if words[place].startswith("-"):
            continue
        if not flag.startswith("-"):
            flag = f"argument {place}"
        elif program.speaker.startswith("fairseq-") and flag not in OURS:
            continue
        yield flag, (*words[:place], None, *words[place + 1 :])
    for flag in MORE.get(program.name, "").split():
        yield flag, (*words, flag, None)


def _try(program: Program, words: tuple[str, ...], flag: str, value: str, place: Place) -> str | None:
    place.fresh(program)
    before = place.files()
    ended = place.run(program, words)
    after = place.files()
    if ended.status:
        shown = [
            value[:12].replace("\n", "\\n"),
            value[:12].replace("\n", " "),
            flag.lstrip("-"),
            value.strip() and repr(value)[1:12],
            value.rpartition("=")[2][:12],
            *_as_number(value),
            *program.writes,  # such as a cache that no longer fits
        ]
        return wrong_refusal(ended, program, before, after, shown if value.strip(" ./") else ())
    wrong = wrong_success(ended, program, before, after)
    if wrong is not None and flag.startswith(("--output", "--", "argument")):
        # Another place was asked for, and is there.
        strange = [
            name for name in changed(before, after) if name.split("/")[0] not in _roots(program, value)
        ]
        wrong = f"{wrong} ({strange[:3]})" if strange else None
    left = place.left_in_tmp()
    return wrong or (f"leaves {left[:5]} among temporary files" if left else None)


def _as_number(value: str) -> list[str]:
    """Return how a value is said that was read as a number."""
    try:
        return [repr(float(value))]
    except ValueError:
        return []


def _roots(program: Program, value: str) -> set[str]:
    return {
        place.split("/")[0]
        for place in (*program.writes, value, f"{value}.parts", f"{value}.json", value.strip())
    }
