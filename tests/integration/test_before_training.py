"""What fairseq says after an epoch, or in an assertion: in one line, before the first update."""

import re

import pytest
from classification_runs import write_root
from fairseq_cli import train
from fairseq_runs import TINY_STUDENT, exit_of
from tiny_classification import classification
from tiny_corpus import write_split


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = write_root(tmp_path_factory.mktemp("before"))
    for split, longest in (("train", 12), ("valid", 6)):
        write_split(root / "bin", split, 8, seed=1, max_length=longest)
    return root


def refused(root, tmp_path, flags, message):
    status, errors = exit_of(train, *flags)
    assert status == 1 and "Traceback" not in errors, errors
    assert re.search(message, errors.splitlines()[-1]), errors
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--batch-size", 2, "--best-checkpoint-metric", "bleu"),
            "translation_kd: --best-checkpoint-metric bleu is not measured in validation; pass --eval-bleu",
        ),
        (
            ("--max-tokens", 3),
            r"translation_kd: example \d+ of valid has \d+ and \d+ tokens, more than --max-tokens 3; give",
        ),
        (
            ("--batch-size", 2, "--max-source-positions", 3),
            r"translation_kd: example \d+ of valid has \d+ and \d+ tokens, more than the 3 and 1024 that it",
        ),
    ],
)
def test_translation(root, tmp_path, more, message):
    flags = (root / "bin", "--task", "translation_kd", "--soft-targets", "none", *TINY_STUDENT)
    refused(root, tmp_path, (*flags, "--save-dir", tmp_path / "s", "--max-update", 1, *more), message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--best-checkpoint-metric", "pearson"),
            "classification_kd: --best-checkpoint-metric pearson is not measured in validation; give acc",
        ),
        (
            ("--max-tokens-valid", 3),
            r"classification_kd: example \d+ of valid has \d+ tokens, more than --max-tokens 3; give a",
        ),
        (
            ("--max-tokens", 3),
            r"classification_kd: example \d+ of train has \d+ tokens, more than the 3 that it may have; give",
        ),
    ],
)
def test_classification(root, tmp_path, more, message):
    flags = classification(root / "data", tmp_path / "s", bert=root / "encoder")
    refused(root, tmp_path, (*flags, *more), message)
