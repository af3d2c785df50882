"""The folder in which everything is as it should be, from the fixtures' inputs by today's commands."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import catalogue
from children import REPOSITORY, import_what_it_needed, run

FORMATS = REPOSITORY / "tests" / "fixtures" / "formats"
INPUTS = {
    "translation": ("text", "bert"),
    "classification": ("glue", "teacher", "encoder", "vectors.txt", "texts.txt"),
    "pretraining": ("text", "teacher"),
}
"""Of the fixtures' archives, what was given to the commands that made the rest."""

RECIPE = """name: trust
output: runs/trust
settings:
  word: {default: hello, varies: true}
steps:
  first:
    title: Write a word
    run: echo {{ word }} > {{ run }}/first
    outputs: [first]
  second:
    title: Write it twice
    inputs: [first]
    run: cat {{ run }}/first {{ run }}/first > {{ run }}/second
    outputs: [second]
"""


class BaseError(Exception):
    """A command that makes the base, or runs on it, does not succeed."""


def warm_up() -> None:
    """Import what all commands need."""
    import fairseq_cli.generate
    import fairseq_cli.interactive
    import fairseq_cli.train
    import torch
    import transformers

    import cmlm_kd.cli

    _ = (fairseq_cli, torch, transformers, cmlm_kd)


def build(root: Path, streams: Path, groups: tuple[str, ...] = tuple(INPUTS)) -> None:
    """Build the base, unless it is there.

    Args:
        root: folder to write.
        streams: scratch space of :func:`children.run`.
        groups: what to build.
    """
    for group in groups:
        if not (root / group / "complete").exists():
            shutil.rmtree(root / group, ignore_errors=True)
            _unpack(root, group)
            _write_more(root, group)
            for made in (step for step in catalogue.BASE if step.group == group):
                ended = run(made.words, root / group, streams, 300)
                if ended.status:
                    raise BaseError(f"{made.name}: status {ended.status}: {ended.err[-2000:]}")
                import_what_it_needed(streams)
            if group == "translation":
                _generate(root, streams)
            (root / group / "complete").touch()


def _unpack(root: Path, group: str) -> None:
    with tarfile.open(FORMATS / f"{group}.tar.xz") as archive:
        members = [
            member
            for member in archive.getmembers()
            if any(member.name.startswith(f"{group}/{name}") for name in INPUTS[group])
        ]
        archive.extractall(root, members, filter="data")


def _write_more(root: Path, group: str) -> None:
    """Write inputs that the fixtures lack."""
    folder = root / group
    if group == "translation":
        (folder / "recipe.yaml").write_text(RECIPE)
        lines = (folder / "text" / "test.en").read_text().splitlines()
        (folder / "clusters.txt").write_text("".join(f"{index // 2}\n" for index in range(len(lines))))
    if group == "classification":
        from datasets import Dataset, DatasetDict
        from transformers import BertConfig, BertForMaskedLM

        rows = [line.split("\t") for line in (folder / "glue/SST-2/train.tsv").read_text().splitlines()[1:]]
        columns = {"text": [text for text, _ in rows], "label": [int(label) for _, label in rows]}
        DatasetDict(train=Dataset.from_dict(columns)).save_to_disk(folder / "dataset")
        (folder / "own").mkdir()
        names = ("negative", "positive")
        for name in ("train", "dev"):
            found = (folder / f"glue/SST-2/{name}.tsv").read_text().splitlines()[1:]
            text = "".join(f"{line[:-1]}{names[int(line[-1])]}\n" for line in found)
            (folder / "own" / f"{name}.tsv").write_text(text)
        shutil.copytree(folder / "encoder", folder / "mlm")
        BertForMaskedLM(BertConfig.from_pretrained(folder / "mlm")).save_pretrained(folder / "mlm")


def _generate(root: Path, streams: Path) -> None:
    words = tuple(catalogue.GENERATE.split())
    ended = run(words, root / "translation", streams, 300)
    if ended.status:
        raise BaseError(f"fairseq-generate: status {ended.status}: {ended.err[-2000:]}")
    import_what_it_needed(streams)
    (root / "translation" / "generated.txt").write_text(ended.out)
    (root / "translation" / "generated.log").write_text(ended.err)
