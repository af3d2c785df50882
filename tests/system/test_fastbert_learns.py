"""A FastBERT of random weights learns in two stages, and leaves early without losing accuracy."""

import json

import numpy as np
import pytest
from fairseq_runs import run_train
from tiny_classification import classification, write_bert, write_sst2

from cmlm_kd.cli import main
from cmlm_kd.data.classification import ReadingOptions, read_examples
from cmlm_kd.early_exit.prediction import classify, classify_at_every_layer
from cmlm_kd.models.fastbert.directory import load_fastbert
from cmlm_kd.models.loading import load_student

UPDATES = {"sentence_classification": 120, "fastbert_kd": 80}


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A corpus whose classes one word decides, the two stages, and the model calibrated on held-out texts."""
    folder = tmp_path_factory.mktemp("fastbert")
    write_sst2(folder / "SST-2", train=400, dev=100)
    write_bert(folder / "encoder", labels=None, layers=3, width=32)
    stage(folder, "fine-tuned", "sentence_classification", "--lr", 3e-3)
    start = folder / "fine-tuned" / "checkpoint_last.pt"
    stage(folder, "distilled", "fastbert_kd", "--lr", 1e-2, "--finetune-from-model", start)
    checkpoint = str(folder / "distilled" / "checkpoint_last.pt")
    assert main(["export", checkpoint, "--output", str(folder / "model")]) == 0
    words = ["calibrate", str(folder / "model"), str(folder / "SST-2"), "--corpus", "SST-2"]
    assert main([*words, "--target-speedup", "1.5", "--plot", str(folder / "calibration.png")]) == 0
    return folder


def stage(folder, name, criterion, *flags):
    updates = UPDATES[criterion]
    run_train(
        *classification(folder / "SST-2", folder / name, bert=folder / "encoder", criterion=criterion),
        *("--arch", "fastbert", "--branch-size", 16, "--batch-size", 32, "--max-update", updates),
        *("--hold-out", 0.1, "--disable-validation", *flags),
    )


def accuracies(model, examples):
    """Share of examples that each layer's classifier gets right, ``(L,)``."""
    return (classify_at_every_layer(model, examples).predictions == examples.target[:, None]).mean(0)


def test_branches_learn_what_the_teacher_classifier_knows(road):
    model = load_fastbert(road / "model")
    examples = read_examples(road / "SST-2", "valid", ReadingOptions("SST-2"))
    untrained = load_student(road / "fine-tuned" / "checkpoint_last.pt")
    untrained.begin_stage("branches")  # as if they had been trained
    before, after = accuracies(untrained.for_inference(), examples), accuracies(model, examples)
    assert after[-1] == before[-1] > 0.95  # frozen
    assert after[:-1].min() > 0.9 and (after[:-1] > before[:-1] + 0.1).all()


def test_leaving_early_costs_no_accuracy(road):
    model = load_fastbert(road / "model")
    examples = read_examples(road / "SST-2", "valid", ReadingOptions("SST-2"))
    noted = json.loads((road / "model" / "config.json").read_text())["fastbert"]
    early, all_layers = classify(model, examples.first), classify(model, examples.first, speed=0)
    assert model.speed == noted["speed"] > 0 and noted["calibration"]["speedup"] >= 1.5
    assert early.exit_layer.mean() < 2.5 and set(all_layers.exit_layer) == {3}
    names = np.array(model.labels)[examples.target]  # (N,)
    right = [float((np.array(found.labels) == names).mean()) for found in (early, all_layers)]
    assert right[0] >= right[1] - 0.03
