"""``--unlabelled``: texts without labels for every loss over sentences that reads none."""

import pytest
from fairseq_cli import train
from fairseq_runs import exit_of, run_train
from tiny_classification import classification, sentences, write_bert, write_sst2

from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("unlabelled")
    write_sst2(root / "data", train=16, dev=8)
    texts = "".join(f"{text}\n" for text, _ in sentences(16, seed=5))
    (root / "data" / "plain.tsv").write_text("sentence\n" + texts)
    write_bert(root / "teacher", layers=2)
    return root


def flags(root, save_dir, criterion, *more):
    data = ("--unlabelled", "--train-file", "plain.tsv", "--teacher", root / "teacher", "--max-update", 1)
    return classification(root / "data", save_dir, *data, *more, bert=root / "teacher", criterion=criterion)


@pytest.mark.parametrize(
    ("criterion", "more"),
    [
        ("tinybert_kd", ()),
        ("tinybert_kd", ("--kd-stage", "prediction")),
        ("bilstm_kd", ()),
        ("pkd", ("--kd-alpha", 1, "--kd-beta", 0)),
    ],
)
def test_losses_without_labels_train(root, tmp_path, criterion, more):
    run_train(*flags(root, tmp_path, criterion, *more))
    assert number_of_updates(read_checkpoint(tmp_path / "checkpoint_last.pt")) == 1


@pytest.mark.parametrize(
    ("criterion", "more"), [("bilstm_kd", ("--kd-alpha", 0.5)), ("pkd", ()), ("mtdnn_kd", ())]
)
def test_losses_with_labels_are_refused(root, tmp_path, criterion, more):
    status, errors = exit_of(train, *flags(root, tmp_path / "s", criterion, *more))
    line = errors.splitlines()[-1]
    assert status == 1 and "Traceback" not in errors and not list(tmp_path.glob("s/*.pt"))
    assert (
        f"{criterion}: reads the labels of the training set" in line and "bilstm_kd with --kd-alpha 0" in line
    )
