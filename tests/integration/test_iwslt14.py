"""The IWSLT14 recipe: the corpus from its archive, and every command of the script on a tiny one."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from tiny_teacher import write_bert

from cmlm_kd.data.translation.iwslt14 import TEST_SETS, TRAINING_TEXT, is_clean, prepare_iwslt14
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]
SPLITS = ("train", "valid", "test")
PAIRS = [(f"Satz Nummer {n} , bitte .", f"Sentence number {n} , please .") for n in range(70)]


def training_text(side):
    """A talk's metadata, its title, a pair that is cleaned away, and sentences."""
    title = ("Der Hund", "The dog")[side]
    unbalanced = ("Ja .", "Yes , of course , why not ? .")[side]
    head = ["<url>http://talk</url>", "<keywords>dog, talk</keywords>", "<talkid>1</talkid>"]
    return "\n".join([*head, f"<title>{title}</title>", unbalanced, *(pair[side] for pair in PAIRS), ""])


def evaluation_text(side, number):
    rows = [f'<seg id="{row}"> Test{side} {number}.{row} &amp; it’s </seg>' for row in (1, 2)]
    return "\n".join(['<refset setid="x">', "<doc>", "<title>Not a segment</title>", *rows, "</doc>"])


def write_archive(directory, **changed):
    """Write de-en.tgz; ``changed`` are other contents, file name -> text, None to leave the file out."""
    files = {}
    for side, language in enumerate(("de", "en")):
        files[TRAINING_TEXT.format(language=language)] = training_text(side)
        for number, name in enumerate(TEST_SETS):
            files[name.format(language=language)] = evaluation_text(side, number)
    files.update(changed)
    with tarfile.open(directory / "de-en.tgz", "w:gz") as tar:
        for name, text in files.items():
            if text is not None:
                data = text if isinstance(text, bytes) else text.encode()
                member = tarfile.TarInfo(f"de-en/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return directory / "de-en.tgz"


def read(directory, split, language):
    return (directory / f"{split}.{language}").read_text(encoding="utf-8").splitlines()


def test_the_corpus_of_an_archive(tmp_path):
    counts = prepare_iwslt14(write_archive(tmp_path), tmp_path / "raw")
    assert counts == {"train": 68, "valid": 3, "test": 10}
    kept = [("Der Hund", "The dog"), *PAIRS]
    for side, language in enumerate(("de", "en")):
        sentences = [pair[side] for pair in kept]
        assert read(tmp_path / "raw", "valid", language) == [sentences[22], sentences[45], sentences[68]]
        assert read(tmp_path / "raw", "train", language) == [
            sentence
            for sentence in sentences
            if sentence not in (sentences[22], sentences[45], sentences[68])
        ]
    expected = [f"Test1 {number}.{row} & it's" for number in range(5) for row in (1, 2)]
    assert read(tmp_path / "raw", "test", "en") == expected


def test_lowercase(tmp_path):
    prepare_iwslt14(write_archive(tmp_path), tmp_path / "raw", lowercase=True)
    for split in SPLITS:
        text = (tmp_path / "raw" / f"{split}.de").read_text(encoding="utf-8")
        assert text and text == text.lower()


@pytest.mark.parametrize(
    ("source", "target", "clean"),
    [
        ("a b c", "a b", True),  # exactly 1.5 times
        ("a b c d", "a b", False),
        ("a b.", "a b", True),  # a full stop is a token
        ("a b...", "a, b", True),  # an ellipsis is one
        ("", "a", False),
        ("a " * 175, "a " * 175, True),
        ("a " * 176, "a " * 175, False),
    ],
)
def test_cleaning(source, target, clean):
    assert is_clean(source, target) is clean
    assert is_clean(target, source) is clean


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train.tags.de-en.en": None}, "lacks train.tags.de-en.en; give the de-en.tgz"),
        ({"train.tags.de-en.en": "one line"}, r"train.tags.de-en.\* has 72 German but 1 English sentences"),
        ({"train.tags.de-en.de": b"good\nb\xe4d\n"}, "train.tags.de-en.de, line 2: not UTF-8"),
    ],
)
def test_another_archive(tmp_path, changed, message):
    with pytest.raises(UserError, match=message):
        prepare_iwslt14(write_archive(tmp_path, **changed), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_no_archive(tmp_path):
    with pytest.raises(UserError, match=r"de-en.tgz does not exist; give the path"):
        prepare_iwslt14(tmp_path / "de-en.tgz", tmp_path / "raw")
    write_archive(tmp_path)
    whole = (tmp_path / "de-en.tgz").read_bytes()
    (tmp_path / "de-en.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"de-en.tgz is not a readable tar archive"):
        prepare_iwslt14(tmp_path / "de-en.tgz", tmp_path / "raw")


def test_every_step_of_the_recipe(tmp_path):
    archive = write_archive(tmp_path)
    lines = [sentence.lower() for pair in PAIRS for sentence in pair]
    teacher = write_bert(tmp_path / "bert", lines)
    tiny = ["--encoder-layers", "1", "--decoder-layers", "1"]
    for side in ("encoder", "decoder"):
        tiny += [
            f"--{side}-embed-dim",
            "16",
            f"--{side}-ffn-embed-dim",
            "16",
            f"--{side}-attention-heads",
            "2",
        ]
    done = subprocess.run(
        [
            *("bash", REPOSITORY / "examples" / "translation" / "iwslt14.sh", "--data-dir", archive.parent),
            *("--teacher", teacher, "--output", tmp_path / "out", "--updates", "2", "--", *tiny),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    table = done.stdout[done.stdout.rindex("== score") :]
    assert "alone " in table and "distilled " in table and "case:lc" in table
    for training in ("teacher", "alone", "distilled"):
        state = read_checkpoint(tmp_path / "out" / training / "checkpoint_last.pt")
        assert number_of_updates(state) == 2


@pytest.mark.skipif(not (REPOSITORY / ".venv").is_dir(), reason="'bash scripts/setup.sh' would make .venv")
@pytest.mark.parametrize("present", ["cmlm-kd", "fairseq-train"])
def test_half_an_environment_is_none(tmp_path, present):
    (tmp_path / present).write_text("#!/bin/sh\necho wrong environment >&2\nexit 1\n")
    (tmp_path / present).chmod(0o755)
    script = REPOSITORY / "examples" / "translation" / "iwslt14.sh"
    done = subprocess.run(
        ["bash", script, "--data-dir", tmp_path, "--teacher", "bert"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert "de-en.tgz does not exist" in done.stderr and "wrong environment" not in done.stderr


def test_arguments_of_the_script(tmp_path):
    script = REPOSITORY / "examples" / "translation" / "iwslt14.sh"
    for arguments, message in (
        (["--teacher", "bert"], "--data-dir is missing"),
        (["--data-dir", "x"], "--teacher is missing"),
        (["--data-dir", "x", "--teacher", "bert", "--updates", "0"], "--updates is '0'"),
        (["--data"], "unknown option --data; see --help"),
    ):
        done = subprocess.run(["bash", script, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and message in done.stderr
