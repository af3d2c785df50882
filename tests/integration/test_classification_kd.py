"""``--task classification_kd``: training with and without teachers, resuming."""

import json

import numpy as np
import pytest
import torch
from classification_runs import distilling, fine_tune, logged_run, steps, write_root
from fairseq_runs import build_task, run_train
from tiny_classification import LABELS, classification, sentences, write_bert, write_pairs
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cmlm_kd.cli import main
from cmlm_kd.evaluation.training_log import read_validations
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("classification"))


def test_validation_shows_what_glue_measures(root):
    fine_tune(root)
    (point,) = read_validations(root / "plain.log")
    assert {"loss", "hard_loss", "accuracy", "f1", "matthews"} <= set(point.measures)
    examples = [label for _, label in sentences(16, seed=2)]
    assert point.measures["accuracy"] in {100 * n / len(examples) for n in range(len(examples) + 1)}


def test_scores_are_trained_and_measured(root, tmp_path):
    write_pairs(tmp_path / "sts", "STS-B")
    flags = classification(tmp_path / "sts", tmp_path / "s", bert=root / "encoder", corpus="STS-B")
    logged_run(tmp_path / "log", *flags)
    (point,) = read_validations(tmp_path / "log")
    assert {"loss", "pearson", "spearman"} <= set(point.measures) and "accuracy" not in point.measures
    assert main(["export", str(tmp_path / "s" / "checkpoint_last.pt"), "--output", str(tmp_path / "hf")]) == 0
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["problem_type"] == "regression" and config["id2label"] == {"0": "score"}


def test_cached_and_online_teachers_give_equal_losses(root, tmp_path):
    online = steps(root, tmp_path)
    cached = steps(root, tmp_path, "--teacher-cache", tmp_path / "cache")
    again = steps(root, tmp_path, "--teacher-cache", tmp_path / "cache")
    for name in ("loss", "hard_loss", "kd_loss", "pt_loss", "gnorm"):
        values = [[float(step[name]) for step in run] for run in (online, cached, again)]
        assert len(values[0]) == 3
        assert values[1] == values[2] == pytest.approx(values[0], abs=2e-3)  # logged with three digits
    assert len({step["pt_loss"] for step in online}) > 1


def test_the_terms_are_those_of_the_criterion(root, tmp_path):
    """Half of what the library computes for the same batch, whatever fairseq does around it."""
    whole = steps(root, tmp_path, "--kd-alpha", 0.25, "--kd-beta", 8, updates=1)[0]
    hard = float(whole["hard_loss"]) * np.log(2)
    wanted = 0.75 * hard + 0.25 * float(whole["kd_loss"]) + 8 * float(whole["pt_loss"])
    assert float(whole["loss"]) == pytest.approx(wanted, abs=0.01)


def test_a_teacher_in_another_order_of_classes_teaches_the_same(root, tmp_path):
    """The same weights, with the rows of the output layer and the names swapped."""
    model = AutoModelForSequenceClassification.from_pretrained(root / "teacher")
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight.flip(0).clone())
        model.classifier.bias.copy_(model.classifier.bias.flip(0).clone())
    model.config.id2label = dict(enumerate(LABELS[::-1]))
    model.config.label2id = {name: i for i, name in enumerate(LABELS[::-1])}
    model.save_pretrained(tmp_path / "flipped")
    AutoTokenizer.from_pretrained(root / "teacher").save_pretrained(tmp_path / "flipped")
    straight = steps(root, tmp_path, "--kd-beta", 0)
    flipped = steps(root, tmp_path, "--kd-beta", 0, teacher=str(tmp_path / "flipped"))
    assert [step["kd_loss"] for step in straight] == [step["kd_loss"] for step in flipped]


def test_several_teachers(root, tmp_path):
    flags = ("--kd-beta", 0, "--kd-temperature", 1)
    mean = steps(root, tmp_path, *flags, teacher="teacher:swapped", updates=1)
    logits = steps(root, tmp_path, *flags, "--ensemble", "logits", teacher="teacher:swapped", updates=1)
    assert float(mean[0]["kd_loss"]) != float(logits[0]["kd_loss"])
    assert mean[0]["hard_loss"] == logits[0]["hard_loss"]


def test_a_teacher_with_another_tokenizer_may_teach_logits(root, tmp_path):
    write_bert(tmp_path / "foreign", extra=["more", "words"])
    flags = ("--kd-beta", 0)
    online = steps(root, tmp_path, *flags, teacher=str(tmp_path / "foreign"))
    cached = steps(
        root, tmp_path, *flags, "--teacher-cache", tmp_path / "c", teacher=str(tmp_path / "foreign")
    )
    assert [step["kd_loss"] for step in online] == [step["kd_loss"] for step in cached]


def test_training_goes_on_as_if_never_interrupted(root, tmp_path):
    """With dropout, new batches every epoch and a teacher cache."""
    common = (
        "--max-epoch",
        3,
        "--teacher-cache",
        tmp_path / "cache",
        "--lr",
        0.001,
        "--save-interval-updates",
        4,
    )
    run_train(*distilling(root, tmp_path / "whole", *common, "--max-update", 11))
    run_train(*distilling(root, tmp_path / "parts", *common, "--max-update", 4))
    run_train(*distilling(root, tmp_path / "parts", *common, "--max-update", 11))
    whole, parts = (read_checkpoint(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "parts"))
    assert number_of_updates(whole) == number_of_updates(parts) == 11
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], tensor, msg=name)


def test_batches_hold_like_lengths_and_change_with_the_epoch(root):
    task, whole = build_task(*classification(root / "data", root / "unused", bert=root / "encoder"))
    task.build_model(whole.model)
    task.load_dataset("train")
    dataset = task.datasets["train"]
    first, second = (
        task.get_batch_iterator(dataset, max_sentences=8, epoch=epoch).frozen_batches for epoch in (1, 2)
    )
    assert sorted(row for batch in first for row in batch) == list(range(48))
    assert sorted(map(tuple, first)) != sorted(map(tuple, second))
    spread = [dataset.sizes[batch].max() - dataset.sizes[batch].min() for batch in first]
    assert np.mean(spread) < 5 < dataset.sizes.max() - dataset.sizes.min()


def test_every_example_is_in_a_batch(root):
    """fairseq leaves out the last ones of a set whose size is no multiple of 8, which would falsify
    metrics."""
    task, whole = build_task(*classification(root / "data", root / "unused", bert=root / "encoder"))
    task.build_model(whole.model)
    task.load_dataset("valid")
    iterator = task.get_batch_iterator(
        task.datasets["valid"], max_sentences=7, required_batch_size_multiple=8
    )
    assert sum(len(batch) for batch in iterator.frozen_batches) == 16


def test_a_held_out_share_takes_the_place_of_dev(root):
    flags = ("--hold-out", 0.25, "--hold-out-seed", 3)
    task, whole = build_task(*classification(root / "data", root / "unused", *flags, bert=root / "encoder"))
    task.build_model(whole.model)
    task.load_dataset("valid")
    task.load_dataset("train")
    train_texts, held = (task.datasets[name].examples.first for name in ("train", "valid"))
    everything = [text for text, _ in sentences(48, seed=1)]
    assert len(held) == 12 and sorted(train_texts + held) == sorted(everything)


def test_bfloat16(root, tmp_path):
    plain = steps(root, tmp_path, updates=1)
    narrow = steps(root, tmp_path, "--bf16-autocast", updates=1)
    assert float(narrow[0]["loss"]) == pytest.approx(float(plain[0]["loss"]), rel=0.05)
    assert narrow[0]["loss"] != plain[0]["loss"]


def test_an_augmented_training_file(root, tmp_path):
    (root / "data" / "aug.tsv").write_text("sentence\tlabel\ngood\t1\nbad\t0\n")
    task, _ = build_task(
        *classification(root / "data", tmp_path, "--train-file", "aug.tsv", bert=root / "encoder")
    )
    assert len(task.training_examples()) == 2
