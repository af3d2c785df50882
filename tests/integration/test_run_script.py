"""examples/translation/run.sh from its first line to its last, with two updates a training.

Only the text and its tokenizer are smaller than a user's: they lie where the script's first steps would have
put them, with the notes that these steps leave.
"""

import gzip
import json
import os
import re
import subprocess
import sys

import pytest
from documentation import REPOSITORY
from tiny_teacher import write_bert

from cmlm_kd.data.numbers import CorpusSizes, build_corpus, write_corpus
from cmlm_kd.data.translation.multi30k import MULTI30K_SHA256
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint
from cmlm_kd.tokenization.training import (
    TokenizerOptions,
    read_training_text,
    save_tokenizer,
    train_tokenizer,
)

SCRIPT = REPOSITORY / "examples" / "translation" / "run.sh"
ENVIRONMENT = REPOSITORY / ".venv"
STUDENTS = ("alone", "distilled")

pytestmark = pytest.mark.skipif(
    os.path.realpath(sys.prefix) != os.path.realpath(ENVIRONMENT),
    reason=f"run.sh works in {ENVIRONMENT}; 'bash scripts/test.sh' makes it and runs the tests in it",
)


def run(*arguments):
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def note_step(output, name, *command):
    """Let the script take a step's output for its own."""
    (output / ".steps").mkdir(parents=True, exist_ok=True)
    (output / ".steps" / name).write_text(" ".join(map(str, command)) + "\n")


def follow(output, *arguments):
    """Run the road twice, the second time over what is there already; returns the table and what follows."""
    first = run("--output", output, "--updates", 2, *arguments)
    assert first.returncode == 0, first.stdout[-1000:] + first.stderr[-3000:]
    checkpoints = [output / name / "checkpoint_last.pt" for name in ("teacher", *STUDENTS)]
    assert [number_of_updates(read_checkpoint(path)) for path in checkpoints] == [2, 2, 2]
    before = [path.stat().st_mtime_ns for path in checkpoints]
    second = run("--output", output, "--updates", 2, *arguments)
    assert second.returncode == 0, second.stderr[-3000:]
    assert [path.stat().st_mtime_ns for path in checkpoints] == before
    # Students may be trained side by side, one of them with its name before each line.
    steps = len(re.findall(r"^(?:distilled: )?== ", first.stdout, re.MULTILINE))
    assert second.stdout.count(": already there") == steps - 1  # all but the table
    table = first.stdout[first.stdout.index("== The result") :]
    assert table == second.stdout[second.stdout.index("== The result") :]
    assert (output / "report" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((output / "report" / "report.json").read_text())
    return table


def test_the_embedded_corpus(tmp_path):
    output = tmp_path / "run"
    text, tokenizer = output / "corpus", output / "tokenizer"
    write_corpus(text, 1, CorpusSizes(pairs=60, valid=8, test=6, monolingual=300))
    note_step(output, "corpus", "cmlm-kd", "numbers-corpus", text)
    files = [text / name for name in ("train.de", "train.en", "mono.en")]
    save_tokenizer(train_tokenizer(read_training_text(files), TokenizerOptions(300)), tokenizer)
    flags = ("--vocab-size", 1500, "--split-digits", "--input", *files, "--output", tokenizer)
    note_step(output, "tokenizer", "cmlm-kd", "train-tokenizer", *flags)
    table = follow(output)
    for name in (*STUDENTS, "BLEU|nrefs:1", "kd:soft_target|k:8", "p = "):
        assert name in table
    assert number_of_updates(read_checkpoint(output / "bert" / "checkpoint_last.pt")) == 2


def test_captions_and_a_recurrent_student(tmp_path):
    output, given = tmp_path / "run", tmp_path / "captions"
    corpus = build_corpus(1, CorpusSizes(pairs=40, valid=6, test=6, monolingual=1)).parallel
    (output / "corpus").mkdir(parents=True)
    given.mkdir()
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr")):
        for side, language in enumerate(("de", "en")):
            text = "".join(f"{pair[side]}\n" for pair in corpus[split])
            assert f"{name}.{language}.gz" in MULTI30K_SHA256
            (output / "corpus" / f"{name}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    note_step(output, "corpus", "cmlm-kd", "fetch-multi30k", output / "corpus", "--from", given)
    teacher = write_bert(tmp_path / "bert", [text for pair in corpus["train"] for text in pair])
    road = ("--data", "multi30k", "--teacher", teacher, "--data-dir", given, "--student", "lstm")
    table = follow(output, *road, "--temperature", 3, "--alpha", 0.25)
    assert all(name in table for name in STUDENTS) and "|T:3|" in table and "|alpha:0.25|" in table
    assert "decoder.fc_out.weight" in read_checkpoint(output / "distilled" / "checkpoint_best.pt")["model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "wmt"], "--data is 'wmt'; it must be numbers or multi30k"),
        (["--student", "gru"], "--student is 'gru'; it must be transformer or lstm"),
        (["--data", "multi30k"], "--data multi30k needs --teacher DIR_OR_HUB_NAME"),
        (["--teacher", "bert"], "--teacher and --data-dir go with --data multi30k"),
        (["--seed", "one"], "--seed is 'one'; it must be a whole number"),
        (["--updates", "0"], "--updates is '0'; it must be a whole number above 0"),
        (["--temperature", "0"], "--temperature is '0'; it must be a number above 0"),
        (["--temperature", "hot"], "--temperature is 'hot'; it must be a number above 0"),
        (["--alpha", "1.5"], "--alpha is '1.5'; it must be a number in [0, 1]"),
        (["--alpha", "-0.5"], "--alpha is '-0.5'; it must be a number in [0, 1]"),
        (["--output"], "--output needs a value"),
        (["--epochs", "3"], "unknown option --epochs"),
    ],
)
def test_arguments(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2 and message in done.stderr and not done.stdout
