"""What ``--task classification_kd`` refuses: in one line, with status 1 and nothing half-written."""

import logging
import re

import pytest
import torch
from classification_runs import distilling, write_root
from fairseq_cli import train
from fairseq_runs import exit_of, run_train
from tiny_classification import classification, write_bert, write_sst2
from transformers import AutoModelForSequenceClassification

from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("classification"))


def refused(tmp_path, *flags):
    """The message of a run that fails, which must leave neither checkpoints nor a cache."""
    status, errors = exit_of(train, *flags)
    assert status == 1 and "Traceback" not in errors
    assert not (tmp_path / "s").exists() or not list((tmp_path / "s").glob("*.pt"))
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]
    return errors


@pytest.fixture
def spoilt(root, tmp_path):
    """A copy of the corpus, one line of which a test spoils."""
    folder = tmp_path / "spoilt"
    folder.mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text((root / "data" / name).read_text())

    def spoil(name, line):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join([*lines[:2], line, *lines[3:]]) + "\n")
        return folder

    return spoil


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("dev.tsv", "fine\tmaybe", r"dev.tsv, line 3: label 'maybe' is none of '0', '1'"),
        ("train.tsv", "fine", r"train.tsv, line 3: 1 columns instead of 2 .*--skip-malformed-rows"),
        ("train.tsv", '"fine\tfilm"\t1', r"train.tsv, line 3: 3 columns .*quotes are text here"),
    ],
)
def test_files_are_refused_by_line(root, tmp_path, spoilt, name, line, message):
    flags = classification(spoilt(name, line), tmp_path / "s", bert=root / "encoder")
    assert re.search(message, refused(tmp_path, *flags))


def test_an_empty_class_is_refused(root, tmp_path):
    (tmp_path / "train.tsv").write_text("sentence\tlabel\ngood\t1\nfine\t1\n")
    errors = refused(tmp_path, *classification(tmp_path, tmp_path / "s", bert=root / "encoder"))
    assert "no example of class 'negative' (there are 0 of 'negative', 2 of 'positive')" in errors


def test_label_counts_that_differ_are_refused(root, tmp_path):
    write_bert(tmp_path / "three", labels=("a", "b", "c"))
    errors = refused(tmp_path, *distilling(root, tmp_path / "s", teacher=str(tmp_path / "three")))
    assert (
        "three predicts 3 classes ('a', 'b', 'c'), the data have 2 classes ('negative', 'positive')" in errors
    )


def test_a_teacher_that_gives_no_number_is_refused(root, tmp_path):
    folder = write_bert(tmp_path / "nan")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.weight.fill_(3e38)  # finite, but nothing that is multiplied by it is
    model.save_pretrained(folder)
    for flags in ((), ("--teacher-cache", tmp_path / "cache")):
        errors = refused(tmp_path, *distilling(root, tmp_path / "s", *flags, teacher=str(folder)))
        assert re.search(r"teacher .*nan gives \[-?(nan|inf), .* for .*train.tsv, line \d+: ", errors)
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def odd(root, tmp_path_factory):
    """A teacher that gives no number for a word that one short sentence of a corpus has; its student."""
    folder = tmp_path_factory.mktemp("odd")
    write_sst2(folder / "data")
    with (folder / "data" / "train.tsv").open("a") as file:
        file.write("odd\t1\n")
    write_bert(folder / "encoder", labels=None, extra=["odd"])
    teacher = AutoModelForSequenceClassification.from_pretrained(
        write_bert(folder / "teacher", extra=["odd"])
    )
    with torch.no_grad():
        teacher.get_input_embeddings().weight[-1] = 3e38  # finite, but its variance is not
    teacher.save_pretrained(folder / "teacher")
    return folder


def test_a_teacher_that_gives_no_number_in_the_middle_is_told_by_line(odd, tmp_path):
    """The longest examples, asked about before training, are not among those."""
    flags = distilling(odd, tmp_path / "s", "--max-update", 20, "--max-epoch", 1, "--hold-out", 0.05)
    errors = refused(tmp_path, *flags)  # no crash.pt either
    assert re.search(r"teacher .*teacher gives \[nan, .* for .*train.tsv, line 50: ", errors)


def test_a_cache_of_another_teacher_is_refused(root, tmp_path):
    run_train(*distilling(root, tmp_path / "s", "--teacher-cache", tmp_path / "c", "--no-save"))
    errors = refused(
        tmp_path, *distilling(root, tmp_path / "s", "--teacher-cache", tmp_path / "c", teacher="swapped")
    )
    assert "is of another teacher" in errors and "give another --teacher-cache" in errors


def test_positions_of_two_tokenizers_are_refused(root, tmp_path):
    foreign = write_bert(tmp_path / "foreign", extra=["more"])
    flags = distilling(root, tmp_path / "s", criterion="tinybert_kd", teacher=str(foreign))
    errors = refused(tmp_path, *flags)
    assert (
        "tinybert_kd: compares student bert_classifier and teacher" in errors
        and "tokenizers differ" in errors
    )


@pytest.mark.parametrize(
    ("flags", "settings", "message"),
    [
        (
            (),
            {"criterion": "soft_target_kd"},
            "soft_target_kd: is a loss over tokens, but --task classification_kd",
        ),
        (("--max-length", 41), {}, "--max-length is 41"),
        (("--hold-out", 1.5), {}, r"--hold-out is 1.5; it must be in \(0, 1\)"),
        (("--kd-layer-map", "9"), {}, "pkd: layer map '9' .*teacher layer 9 is not in 1 to 4"),
        ((), {"teacher": "teacher:swapped"}, "ensemble of .* has no layers to compare .*--kd-beta 0"),
        ((), {"corpus": "sst"}, "--corpus is 'sst'; did you mean SST-2"),
        ((), {"corpus": "RTE"}, "train.tsv, line 1: there is no column 'sentence1'"),
        (("--dropout", 1.0), {}, r"--dropout is 1.0, it must be in \[0, 1\)"),
    ],
)
def test_settings_are_refused_before_training(root, tmp_path, flags, settings, message):
    assert re.search(message, refused(tmp_path, *distilling(root, tmp_path / "s", *flags, **settings)))


def test_other_classes_than_those_of_the_checkpoint_are_refused(root, tmp_path):
    """fairseq would go on, since there are as many."""
    flags = classification(root / "data", tmp_path / "s", bert=root / "encoder")
    run_train(*flags)
    earlier = tmp_path / "s" / "checkpoint_last.pt"
    for start in ((), ("--save-dir", tmp_path / "new", "--finetune-from-model", earlier)):
        status, errors = exit_of(train, *flags, "--labels", "positive,negative", "--max-update", 4, *start)
        assert status == 1 and f"{earlier} has the classes negative, positive, the data" in errors
    assert number_of_updates(read_checkpoint(earlier)) == 2 and not list(tmp_path.glob("new/*.pt"))


def test_a_criterion_needs_its_teacher(root, tmp_path):
    flags = classification(root / "data", tmp_path / "s", bert=root / "encoder", criterion="pkd")
    assert (
        "pkd: student bert_classifier has no teacher to learn from; name one with --teacher DIR"
        in refused(tmp_path, *flags)
    )
    flags = classification(
        root / "data", tmp_path / "s", "--teacher-cache", tmp_path / "c", bert=root / "encoder"
    )
    assert "--teacher-cache is of no use without --teacher DIR" in refused(tmp_path, *flags)


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        (["--criterion", "pdk"], "no --criterion is named 'pdk'; did you mean 'pkd'?"),
        (["--criterion=pdk"], "no --criterion is named 'pdk'; did you mean 'pkd'?"),
        (["--criterion", "zzzz"], "no --criterion is named 'zzzz'; registered are: "),
        (
            ["--task", "clasification_kd"],
            "no --task is named 'clasification_kd'; did you mean 'classification_kd'",
        ),
        (["--arch", "bert_clasifier"], "no --arch is named 'bert_clasifier'; did you mean 'bert_classifier'"),
        (["--optimizer", "bert_adam"], "no --optimizer is named 'bert_adam'; did you mean 'bert_adamw'"),
    ],
)
def test_an_unknown_name_answers_with_close_ones(root, tmp_path, spelling, message):
    flags = classification(root / "data", tmp_path / "s", *spelling, bert=root / "encoder")
    status, errors = exit_of(train, *flags)
    assert status == 2 and errors.startswith(f"fairseq-train: {message}") and errors.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_teacher_that_is_not_read_is_mentioned(root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run_train(*distilling(root, tmp_path / "s", "--no-save", criterion="sentence_classification"))
    assert "sentence_classification reads no teacher: --teacher is not used" in caplog.text
