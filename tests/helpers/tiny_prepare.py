"""Four pairs, a teacher of their words, and ``cmlm-kd prepare`` on them."""

import json
import re

from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset
from tiny_tokenizers import training_lines, write_wordpiece

from cmlm_kd.cli import main

GERMAN = ["Zwei Männer.", "Der Mann hat 3 Euro.", "Wie spät ist es?", "Ein Mann."]
ENGLISH = ["Two men.", "The man has $3.", "What's the time?", "A man."]


def write_text(prefix, german, english):
    for language, lines in (("de", german), ("en", english)):
        prefix.with_name(f"{prefix.name}.{language}").write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8"
        )


def write_corpus(folder):
    """Write four pairs to train on and two to validate on, in which there is an unknown character."""
    write_text(folder / "train", GERMAN, ENGLISH)
    write_text(folder / "valid", ["Drei Männer ☃.", "Wie?"], ["Three men ☃.", "What?"])
    return folder


def write_teacher(folder):
    return write_wordpiece(folder / "bert", training_lines(), lowercase=False)


def flags(text, teacher, *more):
    named = ["--teacher", teacher, "-s", "de", "-t", "en", "--trainpref", text / "train"]
    return ["prepare", *map(str, [*named, "--destdir", text / "data", *more])]


def run(text, teacher, *more):
    assert main(flags(text, teacher, "--validpref", text / "valid", *more)) == 0
    return text / "data"


def forget_checksums(data):
    """Let a data-bin be one of an earlier release, whose files may be exchanged."""
    manifest = json.loads((data / "prepare.json").read_text())
    del manifest["checksums"], manifest["manifest_sha256"]
    (data / "prepare.json").write_text(json.dumps(manifest))
    return data


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def symbols_of(data, split, language):
    dictionary = Dictionary.load(str(data / f"dict.{language}.txt"))
    rows = MMapIndexedDataset(str(data / f"{split}.de-en.{language}"))
    return [[dictionary[i] for i in row] for row in rows]


def refuse(text, teacher, message, capsys, more=()):
    before = contents(text)
    capsys.readouterr()
    assert main(flags(text, teacher, "--validpref", text / "valid", *more)) == 2
    printed = capsys.readouterr()
    assert re.search(message.replace("(", r"\(").replace(")", r"\)"), printed.err), printed.err
    assert printed.err.startswith("cmlm-kd prepare: ") and printed.err.count("\n") == 1
    assert contents(text) == before
